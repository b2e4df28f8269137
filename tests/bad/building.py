"""What bad shards are built of: raw tar entries, good samples around them, and what must follow.

Headers are made by hand, because no honest writer makes these. A `Case` is some shards, and as data
what the reader has to make of them: who comes through, who fails by which slug, what is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from schemas.recipe import Source
from tests.pipeline.shards import sample_files

BLOCK = 512
END = bytes(2 * BLOCK)
BEFORE, AFTER = ("g0", "g1"), ("g2", "g3")
GOOD = BEFORE + AFTER
"""The good samples of every bad shard: two before the bad part, and two after it."""

Files = Iterable[tuple[str, bytes]]


Shard = bytes | tuple[bytes | int, ...]
"""A file: its bytes, or pieces of it, where a number is a hole of so many zeros."""


@dataclass(frozen=True)
class Case:
    """Some shards by name, and what must follow from them.

    `failed`: key -> the slugs, one of which it fails by. `findings`: one of these is found; where
    there are none, nothing is. `legal`: keys that come through though they look odd. `either`: keys
    that may come through, fail, or be among what is found. `good` come through bit-identical.
    """

    shards: Mapping[str, Shard]
    failed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    legal: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    good: tuple[str, ...] = GOOD
    source: Mapping[str, object] = field(default_factory=dict)

    def layout(self, shards: tuple[str, ...]) -> Source:
        """The source of a recipe that reads it."""
        usual: dict[str, object] = {"segmentation": "seg.png", "classes": ("cell",)}
        return Source.model_validate({**usual, **self.source, "shards": shards})


Kind = Callable[[], Case]
Kinds = Mapping[str, Kind]


def header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
) -> bytes:
    """One header block with a right checksum; `size` as bytes is written as it is."""
    number = size if isinstance(size, bytes) else b"%011o\0" % size
    front = name[:100].ljust(100, b"\0") + b"0000644\0" + bytes(16) + number.ljust(12, b"\0")
    back = kind + link.ljust(100, b"\0") + magic + bytes(64 + 16) + prefix.ljust(155, b"\0")
    block = (front + bytes(12) + b" " * 8 + back).ljust(BLOCK, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    """Up to the next block."""
    return data + bytes(-len(data) % BLOCK)


def entry(name: str | bytes, data: bytes = b"", kind: bytes = b"0") -> bytes:
    """One member that is as it should be, whatever its name."""
    raw = name.encode() if isinstance(name, str) else name
    assert len(raw) <= 100
    return header(raw, len(data), kind) + padded(data)


def entries(files: Files) -> bytes:
    """Members one after the other, without an end mark."""
    return b"".join(entry(name, data) for name, data in files)


def good(*keys: str) -> bytes:
    """Good samples, each of another size."""
    return b"".join(entries(sample_files(key, width=32 + int(key[1:]))) for key in keys)


def sample(key: str, **members: bytes | None) -> bytes:
    """A sample of which some members (png, json, seg_png, more) are as given; None: left out."""
    files = dict(sample_files(key))
    for suffix, data in members.items():
        name = f"{key}.{suffix.replace('_', '.')}"
        if data is None:
            del files[name]
        else:
            files[name] = data
    return entries(files.items())


def pax(*records: tuple[str, str | bytes]) -> bytes:
    """The data of a PAX header; each record counts its own length."""
    return b"".join(_record(name.encode(), value) for name, value in records)


def _record(name: bytes, value: str | bytes) -> bytes:
    body = b" " + name + b"=" + (value.encode() if isinstance(value, str) else value) + b"\n"
    length = len(body)
    while len(b"%d" % length) + len(body) != length:
        length = len(b"%d" % length) + len(body)
    return b"%d" % length + body


def shard(*bad: bytes) -> bytes:
    """Good samples, the bad part, good samples, and the end."""
    return b"".join([good(*BEFORE), *bad, good(*AFTER), END])


def case(
    *bad: bytes,
    failed: Mapping[str, str | tuple[str, ...]] | None = None,
    findings: tuple[str, ...] = (),
    legal: tuple[str, ...] = (),
    either: tuple[str, ...] = (),
    **source: object,
) -> Case:
    """One shard with this in its middle."""
    slugs = {k: (v,) if isinstance(v, str) else v for k, v in (failed or {}).items()}
    return Case({"a.tar": shard(*bad)}, slugs, findings, legal, either, source=source)


def beside(data: bytes, *findings: str, name: str = "b.tar") -> Case:
    """A shard that is bad altogether, beside a good one."""
    return Case({"a.tar": shard(), name: data}, findings=findings)
