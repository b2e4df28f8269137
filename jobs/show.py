"""`noiseloom show`: the whole history of one sample, from the index alone, and its picture.

The key may be that of a source sample, that of an output, or a sample id; told is of all copies of
the source sample, in every run of the sink. The picture shows each copy beside its source, as far
as both can still be read.
"""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobs.picture_file import save_picture
from jobs.run.sheet import written
from jobs.run.verdict import RunVerdict, verdicts_on
from pipeline.index.files import read_index, sink_there
from pipeline.pictures.sheet import Pair, before_after, readable
from pipeline.sink.publication import current_runs
from pipeline.sink.run_files import plan_path
from pipeline.source.plan import Chunk, read_chunk
from pipeline.source.shards import scan_shard
from pipeline.storage.store import Store
from schemas.errors import SinkError, SourceError
from schemas.index import AppliedOp, IndexRow, table_to_rows
from schemas.recipe import Source
from schemas.sample import Sample

PICTURED: Final = 16
"""Copies on the picture; the text tells of all."""


def show(sink: str, key: str, console: Console) -> Path:
    """Prints the history and writes `<key>-history.png` right here; returns its path."""
    store = sink_there(sink)
    rows = _history(sink, read_index(store, current_runs(store, pending=True), pending=True), key)
    first = rows[0]
    plans = {run: _plan(store, run) for run in {row.run for row in rows}}
    console.print(Text(f"{first.source_key}  {len(rows)} copies", "bold"))
    console.print(Text(f"from {first.source_shard}, content {first.source_hash}"), soft_wrap=True)
    for row in rows:
        console.print(_table(row, plans[row.run]))
    pairs, note = _pairs(store, rows[:PICTURED], plans)
    names = plans[first.run].source.seg_classes or ()
    target = Path(f"{first.source_key.replace('/', '-')}-history.png")
    save_picture(before_after(pairs, f"{first.source_key} in {sink}", note, names), target)
    console.print(Text(f"its picture: {target}"), soft_wrap=True)
    return target


@dataclass(frozen=True)
class _Plan:
    """What a run's recipe said: how a sample is read, and its ops as plain values; and what lift
    tests said of the run.
    """

    source: Source
    ops: Sequence[Mapping[str, object]]
    verdicts: Sequence[RunVerdict]


def _plan(store: Store, run: str) -> _Plan:
    """From the plan that the sink keeps."""
    path = plan_path(run)
    try:
        recipe = json.loads(store.read(path))["recipe"]
    except OSError as error:
        raise SinkError(f"{store.at(path)}: the plan of the run cannot be read: {error}") from None
    return _Plan(Source.model_validate(recipe["source"]), recipe["ops"], verdicts_on(store, run))


def _history(sink: str, index: pa.Table, key: str) -> list[IndexRow]:
    """All copies of the source sample that the key names, by run and copy."""
    if not index.num_rows:
        raise SinkError(f"{sink}: there is no index; no run has committed anything here")
    columns = ("source_key", "key", "sample_id")
    named = [pc.fill_null(pc.equal(index[column], key), False) for column in columns]
    found = index.filter(pc.or_(pc.or_(named[0], named[1]), named[2]))
    if not found.num_rows:
        known = {str(k) for column in columns[:2] for k in index[column].unique().to_pylist() if k}
        near = difflib.get_close_matches(key, known, n=3, cutoff=0.3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SinkError(f"{sink}: no sample {key!r} among {index.num_rows} copies{hint}")
    source_key, content = found["source_key"][0], found["source_hash"][0]
    same = pc.and_(
        pc.equal(index["source_key"], source_key), pc.equal(index["source_hash"], content)
    )
    rows = table_to_rows(index.filter(same))
    return sorted(rows, key=lambda row: (row.run, row.copy))


def _table(row: IndexRow, plan: _Plan) -> Table:
    """As Text: what stands in the data is never taken for markup."""
    title = Text(f"copy {row.copy}: {_status(row)}")
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _facts(row, plan):
        table.add_row(Text(name), Text(value))
    return table


def _facts(row: IndexRow, plan: _Plan) -> list[tuple[str, str]]:
    facts = [("sample", row.sample_id)]
    if row.key is not None:
        facts.append(("key", row.key))
    if row.width is not None:
        facts.append(("image", f"{row.width} x {row.height}"))
        counted = Counter(row.labels)
        objects = ", ".join(f"{n} {label}" for label, n in sorted(counted.items()))
        facts.append(("objects", objects or "none"))
    facts += [(op.step, _op(op, plan)) for op in row.ops] or [("ops", "none was taken")]
    facts += [(name, f"{value:.4g}") for name, value in _scores(row)]
    if row.shard is not None:
        facts.append(("shard", row.shard))
        facts += [
            (m.name.removeprefix(f"{row.key}."), _place(m.offset, m.size)) for m in row.members
        ]
    facts += [("chunk", row.chunk), ("run", row.run)]
    facts += [("verdict", f"{one.says}, by {one.lift}") for one in plan.verdicts]
    facts.append(("recipe", f"{row.recipe}, seed {row.seed}"))
    return facts


def _status(row: IndexRow) -> str:
    detail = f" ({row.detail})" if row.detail else ""
    return row.status if row.reason is None else f"{row.status}, {row.reason}{detail}"


def _op(op: AppliedOp, plan: _Plan) -> str:
    """Every draw, one to a line, then the model, then what the recipe set."""
    draws: dict[str, object] = json.loads(op.draw)
    lines = [f"{name}: {json.dumps(value)}" for name, value in draws.items()]
    lines += [f"model {op.model}"] if op.model else []
    settings = plan.ops[int(op.step.rpartition("#")[2])]
    said = [f"{name} {json.dumps(v)}" for name, v in settings.items() if name != "kind"]
    return "\n".join([*lines, f"set to {', '.join(said)}"])


def _scores(row: IndexRow) -> list[tuple[str, float]]:
    likeness = [("psnr", row.psnr), ("ssim", row.ssim)]
    scores = [(score.gate, score.score) for score in row.scores]
    return [(name, value) for name, value in likeness if value is not None] + scores


def _place(offset: int, size: int) -> str:
    return f"{size} bytes at {offset}"


def _pairs(
    store: Store, rows: Sequence[IndexRow], plans: Mapping[str, _Plan]
) -> tuple[list[Pair], str]:
    """What is to be drawn, and a note of what could not be read any more."""
    source, note = _source(rows[0], plans[rows[0].run].source)
    pairs: list[Pair] = []
    for row in rows:
        plan = plans[row.run]
        encoded = written(store, row, plan.source) if row.shard else None
        woven = readable(encoded, plan.source) if encoded else None
        pairs.append(Pair(row, source, woven, ops=plan.ops))
    return pairs, note


def _source(row: IndexRow, layout: Source) -> tuple[Sample | None, str]:
    try:
        scan = scan_shard(row.source_shard, layout)
        refs = tuple(ref for ref in scan.samples if ref.key == row.source_key)
        chunk = Chunk(scan.shard, 0, refs, row.chunk)
        encoded = read_chunk(chunk, layout)
    except SourceError as error:
        return None, str(error)
    if not encoded or encoded[0].content != row.source_hash:
        return None, f"{row.source_shard}: the source sample has changed since"
    return readable(encoded[0], layout), ""
