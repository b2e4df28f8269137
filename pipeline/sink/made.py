"""What of a source was made before, under another shard: a sample is its key and its bytes.

A chunk's id is of its whole shard: one changed sample, and all chunks of the shard are new. Their
samples are not. So before a run is planned, the keys in chunks that nobody has committed are looked
up in the published index; where there are any, the bytes of these chunks are read and hashed, and
copies that were made of the same bytes, under the same recipe, are not planned again. They stay in
their chunk to be looked at by the others (`SampleRef.copies`).

    made/<digest of the shard's chunks>.json    {key: {"content": hash, "copies": [numbers]}}

What was found is written once for each such shard (`keep_made`), and whoever plans it later reads
that: the plan of a run that is resumed is the same, and no night reads these bytes again. It is
written with the plan, and not before: until then another start may publish more. Nothing is read,
nor written, of a source whose chunks are all committed, or whose keys are all new.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, RootModel, ValidationError

from pipeline.chain.woven import sample_id
from pipeline.index.files import index_batches, sink_errors
from pipeline.sink.publication import current_runs, origins
from pipeline.source.packed import PackedSamples
from pipeline.source.pick import PROBLEMS
from pipeline.source.plan import Chunk, read_chunk
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError
from schemas.recipe import Source, digest_of

FOLDER: Final = "made"

HASHERS: Final = 4
"""Chunks in memory at once, of at most 128 MB each (`source.MAX_CHUNK`)."""

COLUMNS: Final = ("sample_id", "source_key", "copy", "recipe", "reason")


class MadeSample(BaseModel):
    """One sample that was made before: the hash of its bytes, and the numbers of its copies."""

    content: str
    copies: tuple[int, ...]

    def ids(self, digest: str) -> Iterator[str]:
        """The ids of these copies in the index, under the recipe of this digest."""
        yield from (sample_id(self.content, copy, digest) for copy in self.copies)


Made = Mapping[str, MadeSample]
"""Of one shard, by key."""


@dataclass(frozen=True)
class Usual:
    """What a recipe makes of a sample: under its digest, so many copies. `follows`: with
    `follow_deletions`, what had left with its source is made, too, and comes back with it.
    """

    digest: str
    copies: int
    follows: bool = False


@dataclass(frozen=True)
class _Published:
    """A published copy. `problem`: what its shard showed wrong with the sample, if it failed of
    that: what is read of a mended one may be the same bytes.
    """

    id: str
    copy: int
    problem: str | None


class _MadeFile(RootModel[dict[str, MadeSample]]):
    pass


def without_made(
    chunks: Sequence[Chunk],
    store: Store,
    source: Source,
    usual: Usual,
    done: Collection[str],
) -> tuple[tuple[Chunk, ...], dict[str, Made]]:
    """The chunks, without the copies that were made before, and what was found of shards that
    nobody had looked at, by their names. `done`: chunks that are committed, which stay as they are.
    A chunk of which nothing is left to make stays, too, without copies.
    """
    shards = by_shard(chunks)
    new = {name: its for name, its in shards.items() if any(c.id not in done for c in its)}
    if not new:
        return tuple(chunks), {}
    known = {name: made_of(store, name) for name in new.keys() & _known(store)}
    unknown = {name: [c for c in its if c.id not in done] for name, its in new.items()}
    unknown = {name: its for name, its in unknown.items() if name not in known}
    found = _looked_up(unknown, store, source, usual)
    left = {
        chunk.id: _without(chunk, made, usual.copies)
        for name, made in (known | found).items()
        for chunk in shards[name]
        if chunk.id not in done
    }
    return tuple(left.get(chunk.id, chunk) for chunk in chunks), found


def keep_made(store: Store, found: Mapping[str, Made]) -> None:
    """Writes down what was found; RunError where somebody else has found something else."""
    for name, made in found.items():
        text = _MadeFile(dict(made)).model_dump_json() + "\n"
        with sink_errors(store):
            mine = store.create(_path(name), text.encode())
        if not mine and made_of(store, name) != made:
            raise RunError(
                f"{store.at(_path(name))}: another start has planned this shard, with other copies "
                "made before; start the run again"
            )


def by_shard(chunks: Iterable[Chunk]) -> dict[str, list[Chunk]]:
    """The chunks of each shard, by the name of the shard's file here."""
    of: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in chunks:
        of[chunk.shard.content].append(chunk)
    return {digest_of([chunk.id for chunk in its]): its for its in of.values()}


def made_of(store: Store, name: str) -> Made:
    """What was found of a shard; SinkError where the file is something else."""
    path = _path(name)
    with sink_errors(store):
        data = store.read(path)
    try:
        return _MadeFile.model_validate_json(data).root
    except ValidationError:
        raise SinkError(
            f"{store.at(path)}: not what was made before of a shard; delete it to look again"
        ) from None


def known_of(store: Store, chunks: Iterable[Chunk]) -> list[Made]:
    """What was found of all these shards, those of which nothing was left out."""
    there = _known(store)
    with ThreadPoolExecutor(HASHERS) as pool:
        return list(pool.map(lambda n: made_of(store, n), sorted(by_shard(chunks).keys() & there)))


def _known(store: Store) -> set[str]:
    with sink_errors(store):
        return {name.removesuffix(".json") for name in store.entries(FOLDER)}


def _path(name: str) -> str:
    return f"{FOLDER}/{name}.json"


def _looked_up(
    shards: Mapping[str, list[Chunk]], store: Store, source: Source, usual: Usual
) -> dict[str, Made]:
    """Of those of these shards that hold a published key: what was made before, if anything."""
    published = _published(store, shards, usual)
    found: dict[str, Made] = {}
    for name, its in shards.items():
        hit = [c for c in its if any(sample.key in published for sample in c.samples)]
        if hit:
            found[name] = _compared(hit, source, published, usual.digest)
    return found


def _published(
    store: Store, shards: Mapping[str, list[Chunk]], usual: Usual
) -> Mapping[str, Collection[_Published]]:
    """The published copies of these shards' keys, under this recipe; a row group at a time."""
    runs = origins(store) if usual.follows else current_runs(store)
    found = defaultdict[str, set[_Published]](set)
    if not (runs and shards):
        return found
    wanted = pa.concat_arrays([_keys(its) for its in shards.values()])
    for run in runs:
        for batch in index_batches(store, run, COLUMNS):
            mine = pc.equal(batch.column("recipe"), usual.digest)
            its = batch.filter(pc.and_(mine, pc.is_in(batch.column("source_key"), wanted)))
            columns = (its[n].to_pylist() for n in ("source_key", "sample_id", "copy", "reason"))
            for key, one, copy, reason in zip(*columns, strict=True):
                found[key].add(_Published(one, copy, reason if reason in PROBLEMS else None))
    return found


def _keys(chunks: Sequence[Chunk]) -> pa.StringArray:
    return pa.array([sample.key for chunk in chunks for sample in chunk.samples], pa.string())


def _compared(
    chunks: Sequence[Chunk],
    source: Source,
    published: Mapping[str, Collection[_Published]],
    digest: str,
) -> dict[str, MadeSample]:
    """The samples of these chunks whose bytes are those of published copies."""

    def of(chunk: Chunk) -> dict[str, MadeSample]:
        found = {}
        for encoded in read_chunk(chunk, source):
            problem = None if encoded.problem is None else encoded.problem[0]
            its = (one for one in published.get(encoded.key, ()) if one.problem == problem)
            content = encoded.content
            copies = {one.copy for one in its if one.id == sample_id(content, one.copy, digest)}
            if copies:
                found[encoded.key] = MadeSample(content=content, copies=tuple(sorted(copies)))
        return found

    with ThreadPoolExecutor(HASHERS) as pool:
        return {key: made for its in pool.map(of, chunks) for key, made in its.items()}


def _without(chunk: Chunk, made: Made, usual: int) -> Chunk:
    """The chunk with what is left to make; another one, with another id, where that is less."""
    samples = PackedSamples.of(chunk.samples)
    before = [tuple(range(usual)) if one is None else one for one in samples.copies]
    gone = [made[s.key].copies if s.key in made else () for s in samples]
    left = [
        tuple(n for n in numbers if n not in made)
        for numbers, made in zip(before, gone, strict=True)
    ]
    if left == before:
        return chunk
    return replace(chunk, samples=samples.with_copies(left), id=digest_of([chunk.id, "left", left]))
