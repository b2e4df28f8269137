"""`noiseloom preview`: what a recipe does, as a contact sheet, in seconds.

The first rows are samples spread over the source, made just as the run makes their first copy: the
same draws, ops and gates. A gate that asks for all source images is shown what the sink knows of
the opened shards, or else some of their images. Then every op of the recipe has a row to itself,
applied for certain, so that also one with a small `p` is seen. No Ray, nothing in the sink, and of
the source at most `SHARDS` shards are opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from PIL.Image import Image
from rich.console import Console

from jobs.picture_file import check_picture, save_picture
from pipeline.chain.weave import RunContext, WovenCopy, weave_chunk
from pipeline.flow.fingerprinting import fingerprints
from pipeline.index.files import open_sink
from pipeline.known.images import Known, known_path, missing_of, read_fingerprints
from pipeline.model import Models
from pipeline.model_check import check_models, digests
from pipeline.pictures.sheet import Pair, before_after, readable, title
from pipeline.recipe import FullRecipe, load_recipe, needs_known, needs_peers
from pipeline.source.plan import (
    Chunk,
    EncodedSample,
    around,
    expand_shards,
    read_chunk,
    scan_shard,
)
from pipeline.source.shards import Scan
from pipeline.stages import load_models_of
from schemas.errors import RecipeError
from schemas.index import IndexRow

SHARDS: Final = 4

KNOWN: Final = 64
"""Images of a shard that a gate is shown, where the sink has no fingerprints of all of them."""

OFFERED: Final = 4
"""Samples that a sheet of one op may choose from, for each that it shows."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Seen:
    """One sample that is shown, and how to read the chunk that a run would make it in."""

    encoded: EncodedSample
    chunk: Callable[[], list[EncodedSample]]


@dataclass(frozen=True)
class _Loom:
    """A recipe that makes one copy of each sample, with its models loaded."""

    recipe: FullRecipe
    models: Models
    context: RunContext

    def weave(self, seen: Sequence[_Seen]) -> list[WovenCopy]:
        if not needs_peers(self.recipe):
            return weave_chunk(
                [one.encoded for one in seen], self.recipe, self.models, self.context
            )
        woven = []
        for one in seen:
            only = [(one.encoded.key, 0)]
            woven += weave_chunk(one.chunk(), self.recipe, self.models, self.context, only)
        return woven

    def alone(self, position: int) -> _Loom:
        """One op of the recipe, applied for certain, and no gate."""
        op = self.recipe.ops[position].model_copy(update={"p": 1.0})
        return replace(self, recipe=self.recipe.model_copy(update={"ops": (op,), "gates": ()}))


def preview(recipe_path: str | Path, n: int, out: Path | None, console: Console) -> Path:
    """The sheet of `n` samples, written to `out`, or to `<recipe>-preview.png` right here."""
    path = Path(recipe_path)
    target = check_picture(out or Path(f"{path.stem}-preview.png"))
    recipe = load_recipe(path)
    with console.status("reading the source"):
        scans, seen, said = _spread(recipe, n)
    loom = _loom(recipe, console)
    if needs_known(recipe):
        loom = replace(loom, context=replace(loom.context, known=_known(recipe, scans)))
        said += f"; held against {len(loom.context.known or ())} source images"
    digest = loom.context.recipe_digest
    with console.status(f"weaving {len(seen)} samples"):
        woven = loom.weave(seen)
        pairs = [*_pairs(woven, seen, recipe), *_alone(loom, seen)]
    note = f"{said}; seed {recipe.seed}, recipe {digest}"
    picture = before_after(pairs, path.name, note, recipe.source.seg_classes or ())
    save_picture(picture, target)
    console.print(f"{said}: {target}", soft_wrap=True, markup=False, highlight=False)
    _tell_failed([copy.row for copy in woven if copy.row.status == "failed"], console)
    return target


def _tell_failed(rows: Sequence[IndexRow], console: Console) -> None:
    if rows:
        first = rows[0]
        why = ": ".join(filter(None, (first.source_key, first.reason, first.detail)))
        text = f"{len(rows)} of them failed; {why}"
        console.print(text, style="yellow", soft_wrap=True, markup=False, highlight=False)


def op_sheets(recipe_path: str | Path, n: int, console: Console) -> Iterator[tuple[str, Image]]:
    """(name, sheet) of every op of the recipe, applied alone to `n` samples that it can take."""
    path = Path(recipe_path)
    recipe = load_recipe(path)
    _, seen, _ = _spread(recipe, OFFERED * n)
    loom = _loom(recipe, console)
    for position, op in enumerate(recipe.ops):
        name, alone = title(op.model_dump()), loom.alone(position)
        with console.status(f"{name}: weaving {n} samples"):
            pairs = list(islice(_taken(alone, seen), n))
        sheet = before_after(pairs, f"{path.stem}: {name}", "", recipe.source.seg_classes or ())
        yield name.replace(" ", "-"), sheet


def _taken(loom: _Loom, seen: Sequence[_Seen]) -> Iterator[Pair]:
    """One by one, those in which the op found something to do."""
    for one in seen:
        woven = loom.weave([one])
        if woven[0].row.ops:
            yield from _pairs(woven, [one], loom.recipe)


def _loom(recipe: FullRecipe, console: Console) -> _Loom:
    digest = recipe.digest(digests(check_models(recipe)))
    with console.status("loading the models"):
        models = load_models_of(recipe)
    once = recipe.model_copy(update={"copies": 1})
    return _Loom(once, models, RunContext("preview", digest, "preview"))


def _alone(loom: _Loom, seen: Sequence[_Seen]) -> Iterator[Pair]:
    """A row for every op, on the next sample that it can be applied to."""
    ops = loom.recipe.ops
    if len(ops) == 1 and ops[0].p == 1:
        return
    for position, op in enumerate(ops):
        turned = [*seen[position % len(seen) :], *seen[: position % len(seen)]]
        loom_alone = loom.alone(position)
        woven: list[WovenCopy] = []
        for item in turned:
            woven = loom_alone.weave([item])
            if woven[0].row.status == "kept" and woven[0].row.ops:
                break
        header = f"{title(op.model_dump())} alone"
        yield from _pairs(woven, [item], loom_alone.recipe, header)


def _pairs(
    woven: Sequence[WovenCopy],
    seen: Sequence[_Seen],
    recipe: FullRecipe,
    header: str = "",
) -> Iterator[Pair]:
    ops = [op.model_dump() for op in recipe.ops]
    for copy, one in zip(woven, seen, strict=True):
        yield Pair(copy.row, readable(one.encoded, recipe.source), copy.sample, header, ops)


def _known(recipe: FullRecipe, scans: Sequence[Scan]) -> Known:
    """The images of these shards; some of them, where the sink has no fingerprints."""
    store, source = open_sink(recipe.sink), recipe.source
    paths = [known_path(scan.shard, source) for scan in scans]
    missing = missing_of(store, paths)
    tables = []
    for path, scan in zip(paths, scans, strict=True):
        if path in missing:
            some = _evenly(scan.samples, KNOWN)
            chunks = [Chunk(scan.shard, 0, (ref,), "preview") for ref in some]
            tables.append(fingerprints(chunks, source))
        else:
            tables.append(read_fingerprints(store, path))
    return Known.of(tables)


def _spread(recipe: FullRecipe, n: int) -> tuple[list[Scan], list[_Seen], str]:
    """The opened shards, samples from the beginning to the end of the source, and how many of what
    they are.
    """
    source = recipe.source
    urls = expand_shards(source.shards)
    scanned = [scan_shard(url, source) for url in _evenly(urls, min(n, SHARDS))]
    places = [(scan, ref) for scan in scanned for ref in scan.samples]
    if not places:
        found = "".join(f"\n  {finding}" for scan in scanned for finding in scan.findings[:1])
        raise RecipeError(f"source.shards: there is not one sample in these shards{found}")
    seen: list[_Seen] = []
    for scan, ref in _evenly(places, n):
        (encoded,) = read_chunk(Chunk(scan.shard, 0, (ref,), "preview"), source)
        near = Chunk(scan.shard, 0, around(scan.samples, ref.key, recipe.chunk_size), "preview")
        seen.append(_Seen(encoded, partial(read_chunk, near, source)))
    opened = len({one.encoded.shard for one in seen})
    damages = sum(not finding.harmless for scan in scanned for finding in scan.findings)
    more = f"; {damages} damages in them, see run --dry-run" if damages else ""
    return scanned, seen, f"{len(seen)} samples from {opened} of {len(urls)} shards{more}"


def _evenly(items: Sequence[T], n: int) -> list[T]:
    """At most `n` of them, from the first to the last."""
    if len(items) <= n:
        return list(items)
    return [items[i * (len(items) - 1) // max(1, n - 1)] for i in range(n)]
