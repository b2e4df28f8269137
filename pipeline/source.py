"""Source shards: which there are, what is in them, and the bytes of a chunk.

Three steps. `expand_shards` turns the recipe's patterns into URLs. `scan_shard` walks the headers
of one shard strictly and names its content: on a disk the whole file is hashed in the same pass, in
an object store only headers are fetched and the store's etag stands for the content. `read_chunk`
fetches the members of one chunk: one ranged read where they lie together.

A shard that cannot be read as it is, or is no longer what the plan names, is a SourceError with its
file, the offset and the reason. What is wrong with one sample (no image, two images, too large) is
left in its `problem`, and fails that sample alone when it is decoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache

from pipeline.patterns import expand
from pipeline.ranged import ForwardReader, read_members
from pipeline.store import Store, split_url
from pipeline.tar import TarError, walk
from schemas.errors import SourceError
from schemas.index import Member
from schemas.members import split_name
from schemas.recipe import Source, digest_of

MAX_MEMBER = 256 * 1024 * 1024  # an image of 64 million pixels, uncompressed, is 192 MB
SCANNERS = 8


@dataclass(frozen=True)
class Shard:
    """One source tar. `content` names its bytes; `version` shows whether they may have changed."""

    url: str
    size: int
    content: str
    version: str = field(default="", compare=False)


@dataclass(frozen=True)
class SampleRef:
    """One sample of a shard: the members with the same key. `copies`: the numbers of those that are
    made of it, where not the recipe says how many.
    """

    key: str
    members: tuple[Member, ...]
    copies: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Chunk:
    """Consecutive samples of one shard: the unit of work. `id` covers content and recipe."""

    shard: Shard
    ordinal: int
    samples: tuple[SampleRef, ...]
    id: str

    def copies(self, usual: int) -> tuple[int, ...]:
        """How many are made of each sample; `usual` is what the recipe says."""
        return tuple(usual if one.copies is None else len(one.copies) for one in self.samples)

    def attempts(self, usual: int) -> int:
        """How many copies are made of all its samples."""
        return sum(self.copies(usual))


@dataclass(frozen=True)
class EncodedSample:
    """One sample as bytes. `problem` is (slug, detail) of what the shard already shows wrong;
    `copies` the numbers of those that are made of it, where not the recipe says how many.
    """

    key: str
    image: bytes
    image_suffix: str
    labels: bytes | None
    segmentation: bytes | None
    content: str
    shard: str
    problem: tuple[str, str] | None = None
    copies: tuple[int, ...] | None = None


def expand_shards(patterns: Sequence[str]) -> list[str]:
    """The URLs that the patterns name, each once; SourceError names one that matches nothing."""
    urls: dict[str, None] = {}
    for pattern in patterns:
        try:
            found = expand(pattern)
        except (OSError, ValueError) as error:
            raise SourceError(f"source.shards: {pattern!r}: {error}") from error
        if not found:
            raise SourceError(f"source.shards: {pattern!r} matches no file")
        urls |= dict.fromkeys(found)
    return list(urls)


def scan_shard(url: str, source: Source) -> tuple[Shard, tuple[SampleRef, ...]]:
    """What is in a shard, by its headers alone."""
    try:
        folder, name = split_url(url)
        store = Store(folder)
        stat = store.stat(name)
        reader = ForwardReader(store, name, stat.size)
        members = list(walk(reader.read_at, stat.size))
        local = store.local is not None
        content = reader.digest() if local else digest_of([stat.size, stat.version])
        changed = store.stat(name) != stat
    except FileNotFoundError as error:
        raise SourceError(f"{url}: no such shard") from error
    except TarError as error:
        raise SourceError(f"{url}: {error}") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{url}: cannot be read: {error}") from error
    if changed:
        raise SourceError(f"{url}: changed while it was read; wait until it is finished")
    samples = _group(url, members)
    _check_images(url, samples, source)
    return Shard(url, stat.size, content, stat.version), samples


def plan(source: Source, chunk_size: int, digest: str) -> list[Chunk]:
    """All chunks of all shards, in the order of the recipe. `digest` is the recipe's."""
    urls = expand_shards(source.shards)
    with ThreadPoolExecutor(SCANNERS) as pool:
        scanned = list(pool.map(lambda url: scan_shard(url, source), urls))
    seen: dict[str, str] = {}
    for shard, _ in scanned:
        twin = seen.setdefault(shard.content, shard.url)
        if twin != shard.url:
            raise SourceError(f"{shard.url}: the same content as {twin}; name one of them only")
    return [
        chunk for shard, samples in scanned for chunk in _chunks(shard, samples, chunk_size, digest)
    ]


def around(samples: Sequence[SampleRef], key: str, chunk_size: int) -> tuple[SampleRef, ...]:
    """The chunk of a shard's samples that holds this key; empty where no sample has it."""
    place = next((i for i, sample in enumerate(samples) if sample.key == key), None)
    if place is None:
        return ()
    first = place // chunk_size * chunk_size
    return tuple(samples[first : first + chunk_size])


def read_chunk(chunk: Chunk, source: Source) -> list[EncodedSample]:
    """The bytes of a chunk's samples, in order; SourceError where the shard has changed."""
    shard = chunk.shard
    folder, name = split_url(shard.url)
    store = Store(folder)
    picks = [_pick(sample, source) for sample in chunk.samples]
    try:
        data = read_members(store, name, [m for pick in picks for m in pick.members.values()])
        _check_unchanged(store, name, shard)
    except OSError as error:
        raise SourceError(f"{shard.url}: cannot be read: {error}") from error
    encoded = (_encoded(pick, data, shard.url) for pick in picks)
    return [
        replace(item, copies=sample.copies)
        for item, sample in zip(encoded, chunk.samples, strict=True)
    ]


def read_label_files(chunk: Chunk, source: Source) -> list[bytes | None]:
    """The labels files of a chunk's samples, None where there is none to read; nothing else."""
    folder, name = split_url(chunk.shard.url)
    store = Store(folder)
    members = [_pick(sample, source).labels_member for sample in chunk.samples]
    try:
        data = read_members(store, name, [member for member in members if member is not None])
        _check_unchanged(store, name, chunk.shard)
    except OSError as error:
        raise SourceError(f"{chunk.shard.url}: cannot be read: {error}") from error
    return [None if member is None else data[member] for member in members]


def with_copies(chunk: Chunk, copies: tuple[int, ...], usual: int) -> Chunk:
    """The chunk with so many copies of each sample. It is another chunk where they are not all as
    usual: what is committed under the old id is not this.
    """
    if all(n == usual for n in copies):
        return chunk
    samples = zip(chunk.samples, copies, strict=True)
    return replace(
        chunk,
        samples=tuple(replace(sample, copies=tuple(range(n))) for sample, n in samples),
        id=digest_of([chunk.id, list(copies)]),
    )


def _chunks(
    shard: Shard, samples: Sequence[SampleRef], chunk_size: int, digest: str
) -> Iterator[Chunk]:
    for ordinal, start in enumerate(range(0, len(samples), chunk_size)):
        part = tuple(samples[start : start + chunk_size])
        keys = [sample.key for sample in part]
        yield Chunk(shard, ordinal, part, digest_of([shard.content, ordinal, keys, digest]))


def _group(url: str, members: Sequence[Member]) -> tuple[SampleRef, ...]:
    """Members by key. As in WebDataset, names without a suffix and hidden files are no samples."""
    grouped: dict[str, list[Member]] = {}
    last = None
    for member in members:
        key, suffix = split_name(member.name)
        if not suffix or not key.rpartition("/")[2]:
            continue
        if key in grouped and (key != last or _suffix(member) in map(_suffix, grouped[key])):
            what = "the same suffix twice" if key == last else "its sample began earlier"
            raise SourceError(f"{url}: at byte {member.offset}: {member.name!r}: {what}")
        grouped.setdefault(key, []).append(member)
        last = key
    return tuple(SampleRef(key, tuple(found)) for key, found in grouped.items())


def _check_images(url: str, samples: Sequence[SampleRef], source: Source) -> None:
    found = {_suffix(member) for sample in samples for member in sample.members}
    if samples and not found.intersection(source.image):
        wanted, there = ", ".join(source.image), ", ".join(sorted(found)[:8])
        raise SourceError(f"{url}: no member is an image (source.image: {wanted}); it has: {there}")


def _suffix(member: Member) -> str:
    """In small letters, as WebDataset reads it."""
    return split_name(member.name)[1].lower()


@dataclass(frozen=True)
class _Pick:
    """The members of one sample that are read, by their suffix."""

    key: str
    members: dict[str, Member]
    image: str | None
    labels: str | None
    segmentation: str | None
    problem: tuple[str, str] | None

    @property
    def labels_member(self) -> Member | None:
        """Where the labels file lies."""
        return None if self.labels is None else self.members.get(self.labels)


def _pick(sample: SampleRef, source: Source) -> _Pick:
    by_suffix = {_suffix(member): member for member in sample.members}
    others = source.labels, source.segmentation
    images = [suffix for suffix in source.image if suffix in by_suffix and suffix not in others]
    labels, segmentation = (suffix if suffix in by_suffix else None for suffix in others)
    wanted = [*images[:1], *(suffix for suffix in (labels, segmentation) if suffix is not None)]
    members = {suffix: by_suffix[suffix] for suffix in wanted}
    large = next((m for m in members.values() if m.size > MAX_MEMBER), None)
    problem = None
    if large is not None:
        members = {}
        problem = ("member_too_large", f"{large.name}: {large.size} bytes, {MAX_MEMBER} at most")
    elif len(images) != 1:
        slug = "two_images" if images else "missing_image"
        problem = (slug, f"has {', '.join(sorted(by_suffix))}; one of {', '.join(source.image)}")
    return _Pick(sample.key, members, images[0] if images else None, labels, segmentation, problem)


def _encoded(pick: _Pick, data: dict[Member, bytes], url: str) -> EncodedSample:
    hashed = hashlib.blake2b(digest_size=16)
    found = {suffix: data[member] for suffix, member in pick.members.items()}
    hashed.update(b"" if found else pick.key.encode())
    for suffix, part in found.items():
        hashed.update(f"{suffix}\0{len(part)}\0".encode())
        hashed.update(part)
    return EncodedSample(
        key=pick.key,
        image=found.get(pick.image or "", b""),
        image_suffix=pick.image or "",
        labels=found.get(pick.labels or ""),
        segmentation=found.get(pick.segmentation or ""),
        content=hashed.hexdigest(),
        shard=url,
        problem=pick.problem,
    )


def _check_unchanged(store: Store, name: str, shard: Shard) -> None:
    """After the reading, so that what was read is what was planned."""
    stat = store.stat(name)
    if (stat.size, stat.version) == (shard.size, shard.version):
        return
    # A local copy on another machine has other times: its bytes decide, hashed once per process.
    same_size = stat.size == shard.size and store.local is not None
    if same_size and _hash_file(store, name, stat.size, stat.version) == shard.content:
        return
    raise SourceError(f"{shard.url}: has changed since the run was planned; start the run again")


@lru_cache(maxsize=1024)
def _hash_file(store: Store, name: str, size: int, version: str) -> str:
    return ForwardReader(store, name, size).digest()
