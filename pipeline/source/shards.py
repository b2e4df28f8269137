"""One source shard: what is in it, by its headers alone, and what is wrong with it.

`scan_shard` walks a shard tolerantly and names its content: on a disk the whole file is hashed, in
an object store only headers are fetched and the store's etag stands for the content. gzip and zstd
are known by their first bytes, whatever the file is called.

Members are matched to samples by an allow-list, the suffixes that the recipe's source names; all
others are counted, and never read. A sample is the members with the same key, wherever they lie.
What is wrong with the shard is a finding, and everything else comes through. Only a shard that is
not there, cannot be reached or is being written is an error. Slugs of findings, besides those of
`pipeline/tars/salvage.py`:

    damaged_stream, decompression_bomb    a packed shard ends there
    unknown_members     members that are no sample's, by suffix
    too_many_members    what comes after the first 500,000, or 64 MiB of names
    more_findings       what comes after the first 100
    no_images           samples, but no image among them
    no_samples          nothing that the recipe's source names
    same_content        another shard has the same bytes, and is read instead
    same_keys           keys that another shard has too: legal, and all are read
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Final

from pipeline.source.ranged import ForwardReader
from pipeline.storage.store import Store, split_url
from pipeline.storage.trouble import storage_error
from pipeline.tars.header import PACKED
from pipeline.tars.salvage import Damage, salvage
from pipeline.tars.unpack import Unpacked
from schemas.errors import SourceError
from schemas.index import Member
from schemas.members import split_name
from schemas.recipe import Source, digest_of

MAX_MEMBERS: Final = 500_000
"""Of one shard; some 300 bytes of memory each."""

MAX_NAMES: Final = 64 * 1024 * 1024
"""Bytes of all their names."""

MAX_FINDINGS: Final = 100
MAX_DETAIL: Final = 400

MAX_SUFFIXES: Final = 64
"""Unknown suffixes that are counted one by one; the others are counted together."""

HARMLESS: Final = frozenset({"unknown_members", "same_keys", "no_samples", "joined_archives"})
"""Slugs that only say what there is: no member that a sample could miss was passed over."""

_UNPACKING = BoundedSemaphore(2)  # a zstd window takes up to 128 MiB


@dataclass(frozen=True)
class Shard:
    """One source tar. `content` names its bytes; `version` shows whether they may have changed.
    `packing` is gzip, zstd or nothing: then offsets are of what is inside.
    """

    url: str
    size: int
    content: str
    version: str = field(default="", compare=False)
    packing: str = ""


@dataclass(frozen=True)
class SampleRef:
    """One sample of a shard: the members with the same key. `copies`: the numbers of those that are
    made of it, where not the recipe says how many.
    """

    key: str
    members: tuple[Member, ...]
    copies: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ShardFinding:
    """One thing about a source shard that a user should know."""

    shard: str
    offset: int
    slug: str
    detail: str

    @property
    def harmless(self) -> bool:
        """Whether nothing was passed over because of it that a sample could miss."""
        return self.slug in HARMLESS

    def __str__(self) -> str:
        return f"{self.shard}: at byte {self.offset}: {self.slug}: {self.detail}"


@dataclass(frozen=True)
class Scan:
    """What is in one shard, in the order in which the keys appear."""

    shard: Shard
    samples: tuple[SampleRef, ...]
    findings: tuple[ShardFinding, ...]


def scan_shard(url: str, source: Source) -> Scan:
    """What is in a shard; SourceError where it is missing, or changes meanwhile."""
    try:
        folder, name = split_url(url)
        store = Store(folder)
        stat = store.stat(name)
        reader = ForwardReader(store, name, stat.size)
        packing = _packing(reader.read_at(0, 4))
        sorter = _Sorter(source)
        if packing:
            with _UNPACKING:
                _scan_packed(Unpacked(store, name, stat.size, packing), sorter)
        else:
            sorter.take(salvage(reader))
        content = digest_of([stat.size, stat.version]) if store.local is None else reader.digest()
        changed = store.stat(name) != stat
    except FileNotFoundError as error:
        raise SourceError(f"{url}: no such shard") from error
    except ValueError as error:
        raise SourceError(f"{url}: cannot be read: {error}") from error
    except OSError as error:
        raise storage_error(error, f"{url}: cannot be read", SourceError) from error
    if changed:
        raise SourceError(f"{url}: changed while it was read; wait until it is finished")
    findings = tuple(ShardFinding(url, d.offset, d.slug, d.detail) for d in sorter.damages())
    shard = Shard(url, stat.size, content, stat.version, packing)
    return Scan(shard, sorter.samples(), findings)


def _packing(start: bytes) -> str:
    found = next((name for magic, name in PACKED.items() if start.startswith(magic)), "")
    return found if found in ("gzip", "zstd") else ""


def _scan_packed(stream: Unpacked, sorter: _Sorter) -> None:
    items = salvage(stream)
    if not stream.reaches(1) and stream.trouble is not None:
        items = iter(())  # not empty: its first bytes cannot be unpacked
    sorter.take(items)
    if stream.trouble is not None:
        sorter.note(stream.trouble)


def suffix_of(member: Member) -> str:
    """In small letters, as WebDataset reads it."""
    return split_name(member.name)[1].lower()


class _Sorter:
    """Members by sample, and damages, both bounded."""

    def __init__(self, source: Source) -> None:
        self._source = source
        others = {s for s in (source.labels, source.segmentation) if s is not None}
        self._images = frozenset(source.image) - others
        self._wanted = self._images | others
        self._samples: dict[str, list[Member]] = {}
        self._count, self._names, self._left = 0, 0, 0
        self._has_image = False
        self._unknown: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._damages: list[Damage] = []
        self._more: Counter[str] = Counter()

    def take(self, items: Iterable[Member | Damage]) -> None:
        """All that a walk finds."""
        for item in items:
            if isinstance(item, Damage):
                self.note(item)
            else:
                self._member(item)

    def note(self, damage: Damage) -> None:
        """One damage, with a detail that fits a line."""
        if len(self._damages) >= MAX_FINDINGS:
            self._more[damage.slug] += 1
            return
        detail = damage.detail
        if len(detail) > MAX_DETAIL:
            detail = f"{detail[: MAX_DETAIL // 2]} ... {detail[-MAX_DETAIL // 2 :]}"
        self._damages.append(Damage(damage.offset, damage.slug, detail))

    def _member(self, member: Member) -> None:
        key, suffix = split_name(member.name)
        suffix = suffix.lower()
        # As in WebDataset, names without a suffix and hidden files are no samples.
        if suffix not in self._wanted or not key or key[-1] == "/":
            self._pass_over(member, key, suffix)
            return
        if self._count >= MAX_MEMBERS or self._names + len(member.name) > MAX_NAMES:
            self._first.setdefault("too_many", member.offset)
            self._left += 1
            return
        self._count += 1
        self._names += len(member.name)
        self._has_image = self._has_image or suffix in self._images
        mine = self._samples.setdefault(key, [])
        if len(mine) < 2 or sum(suffix_of(m) == suffix for m in mine) < 2:
            mine.append(member)  # the second of a suffix shows that there are two

    def _pass_over(self, member: Member, key: str, suffix: str) -> None:
        self._first.setdefault("unknown", member.offset)
        name = f".{suffix[:40]}" if suffix else "without a suffix"
        name = "hidden files" if suffix and (not key or key[-1] == "/") else name
        if name not in self._unknown and len(self._unknown) >= MAX_SUFFIXES:
            name = "others"
        self._unknown[name] += 1

    def samples(self) -> tuple[SampleRef, ...]:
        """In the order in which their first members lie."""
        return tuple(SampleRef(key, tuple(members)) for key, members in self._samples.items())

    def damages(self) -> Iterator[Damage]:
        """What was noted, and what the shard as a whole is like."""
        yield from self._damages
        if self._more:
            yield Damage(self._damages[-1].offset, "more_findings", _counted(self._more))
        if self._left:
            detail = f"{self._left} members after the first {self._count}: passed over"
            yield Damage(self._first["too_many"], "too_many_members", detail)
        if self._unknown:
            yield Damage(self._first["unknown"], "unknown_members", _counted(self._unknown))
        if not self._samples:
            yield Damage(0, "no_samples", f"no member is one of {', '.join(sorted(self._wanted))}")
        elif not self._has_image:
            wanted = ", ".join(self._source.image)
            yield Damage(0, "no_images", f"no member is an image (source.image: {wanted})")


def _counted(counter: Counter[str]) -> str:
    """`"12 .txt, 3 .pickle"`, the commonest first, not too many."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{n} {name}" for name, n in ordered[:12])
    rest = sum(n for _, n in ordered[12:])
    return f"{text}, {rest} of other kinds" if rest else text
