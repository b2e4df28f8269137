"""Pictures of single copies beside their sources, labels drawn, for the page of `noiseloom gates`.

Of the sink and of the source only the members of these samples are read, by byte range; of a source
shard also its headers, once. What cannot be read any more is left out.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from PIL import Image

from jobs.run.plan_file import PlanFile
from jobs.run.sheet import written
from pipeline.index.files import rows_at, sink_errors
from pipeline.pictures.overlay import PALETTE, Look, draw
from pipeline.pictures.sheet import Pair, readable, same_levels
from pipeline.sink.quarantine import path_in_sink
from pipeline.sink.run_files import plan_path, run_file_if_sound
from pipeline.source.plan import Chunk, read_chunk
from pipeline.source.shards import Scan, scan_shard
from pipeline.storage.store import Store
from schemas.errors import SourceError
from schemas.index import IndexRow
from schemas.sample import Sample

HEIGHT: Final = 170
WIDTH: Final = 240
QUALITY: Final = 88


@dataclass
class Gallery:
    """Pictures of copies in these runs, each made once. `begins`: the number of each run's first
    copy.
    """

    store: Store
    begins: Mapping[str, int]
    look: Look
    plans: dict[str, PlanFile | None] = field(default_factory=dict)
    _scans: dict[str, Scan] = field(default_factory=dict)
    _made: dict[int, tuple[IndexRow, str]] = field(default_factory=dict)

    def show(self, numbers: Sequence[int]) -> dict[int, tuple[IndexRow, str]]:
        """The row and a data URL of each of these copies that can be read."""
        missing = [number for number in numbers if number not in self._made]
        for run, start in reversed(list(self.begins.items())):
            its = [number - start for number in missing if number >= start]
            missing = [number for number in missing if number < start]
            with sink_errors(self.store):
                rows = rows_at(self.store, run, its) if its else {}
                for number, row in rows.items():
                    picture = self._picture(row)
                    if picture is not None:
                        self._made[number + start] = row, _data_url(picture)
        return {number: self._made[number] for number in numbers if number in self._made}

    def _picture(self, row: IndexRow) -> Image.Image | None:
        plan = self.plan(row.run)
        if plan is None:
            return None
        layout = plan.recipe.source
        copy = readable(written(self.store, row, layout), layout)
        pair = same_levels(Pair(row, self._source(row, plan), copy))
        drawn = [_drawn(sample, self.look) for sample in (pair.source, pair.woven) if sample]
        return _beside(drawn) if copy is not None else None

    def plan(self, run: str) -> PlanFile | None:
        if run not in self.plans:
            self.plans[run] = run_file_if_sound(self.store, plan_path(run), PlanFile)
        return self.plans[run]

    def _source(self, row: IndexRow, plan: PlanFile) -> Sample | None:
        """None where it is gone or has changed. That of a retry is in the sink."""
        layout, url = plan.recipe.source, row.source_shard
        if plan.retry is not None:
            url = self.store.at(path_in_sink(url))
        try:
            if url not in self._scans:
                self._scans[url] = scan_shard(url, layout)
            scan = self._scans[url]
            refs = tuple(ref for ref in scan.samples if ref.key == row.source_key)
            found = read_chunk(Chunk(scan.shard, 0, refs, row.chunk), layout) if refs else []
        except SourceError:
            return None
        same = [encoded for encoded in found if encoded.content == row.source_hash]
        return readable(same[0], layout) if same else None


def look_of(names: Sequence[str], id_names: Sequence[str]) -> Look:
    """One colour for each class on the whole page."""
    order = sorted({*names, *id_names})
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(order)}
    return Look(colours, tuple(id_names))


def _drawn(sample: Sample, look: Look) -> Image.Image:
    return draw(sample, look, min(HEIGHT / sample.height, WIDTH / sample.width))


def _beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Source on the left, copy on the right."""
    gap = 6
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    sheet = Image.new("RGB", (width, max(picture.height for picture in pictures)), "white")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, 0))
        x += picture.width + gap
    return sheet


def _data_url(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
