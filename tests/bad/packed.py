"""Compressed shards: whole ones are read, and of damaged ones what can be unpacked."""

from __future__ import annotations

import gzip
import struct
import zlib
from functools import partial
from typing import Final

import pyarrow as pa

from tests.bad.building import BLOCK, END, GOOD, Case, Kinds, good, header, padded, sample, shard

PACKED = ("damaged_stream", "truncated", "not_a_tar", "no_end_mark")
MEGABYTE: Final = 2**20


def zipped(data: bytes, suffix: str) -> bytes:
    """As gzip or zstd, and always the same bytes."""
    return gzip.compress(data, 6, mtime=0) if suffix == "gz" else _zstd(data)


def _zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def whole(suffix: str, name: str = "a.tar") -> Case:
    """A compressed shard, with good samples and one bad one."""
    data = zipped(shard(sample("bad", png=None)), suffix)
    return Case({name: data}, {"bad": ("missing_image",)})


def beside(data: bytes, suffix: str) -> Case:
    """A damaged one beside a good one; of its samples those before the damage may come through."""
    keys = tuple(f"k{n}" for n in range(8))
    return Case({"a.tar": shard(), f"b.tar.{suffix}": data}, findings=PACKED, either=keys)


def long(suffix: str) -> bytes:
    """Eight samples, compressed."""
    return zipped(b"".join(sample(f"k{n}") for n in range(8)) + END, suffix)


def cut(suffix: str, share: float) -> Case:
    """It ends early."""
    data = long(suffix)
    return beside(data[: int(len(data) * share)], suffix)


def flipped(suffix: str, share: float) -> Case:
    """A byte of it is another."""
    data = bytearray(long(suffix))
    data[int(len(data) * share)] ^= 0xFF
    return beside(bytes(data), suffix)


def wrong_sum(suffix: str) -> Case:
    """Everything is there, but the checksum at the end is another."""
    data = long(suffix)
    return beside(data[:-8] + bytes(4) + data[-4:], suffix)


def joined(suffix: str) -> Case:
    """Two compressed streams, one archive: as gzip and zstd allow it."""
    data = shard(sample("bad", png=None))
    half = len(data) // 2
    packed = zipped(data[:half], suffix) + zipped(data[half:], suffix)
    return Case({f"a.tar.{suffix}": packed}, {"bad": ("missing_image",)})


def bomb(megabytes: int) -> bytes:
    """A gzip of good samples and a member of so many megabytes of zeros, packed a thousandfold."""
    size = megabytes * MEGABYTE
    head = good(*GOOD) + header(b"bomb.png", size)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(END) + packer.flush()
    check = zlib.crc32(head)
    for _ in range(megabytes // 16):
        check = zlib.crc32(ZEROS, check)
    total = len(head) + size + len(END)
    tail = struct.pack("<II", zlib.crc32(END, check), total % 2**32)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + start + block * megabytes + end + tail


ZEROS: Final = bytes(16 * MEGABYTE)


def gzip_bomb(megabytes: int) -> Case:
    """A member that unpacks to more than is read: too large to be a sample, and passed over."""
    return Case({"a.tar.gz": bomb(megabytes)}, {"bomb": ("member_too_large",)})


def zstd_bomb(megabytes: int) -> Case:
    """The same, ten thousandfold."""
    size = megabytes * MEGABYTE
    data = _zstd(good(*GOOD) + header(b"bomb.png", size) + bytes(size) + END)
    return Case({"a.tar.zst": data}, {"bomb": ("member_too_large",)})


def wide_window() -> bytes:
    """A zstd frame whose header asks for a window of 2 GiB, and a member of nothing behind it."""
    window = (31 - 10) << 3
    block = (1 << 3 | 1).to_bytes(3, "little")  # the last block, raw, of one byte
    return b"\x28\xb5\x2f\xfd" + bytes([0x00, window]) + block + b"#"


def nested(suffix: str) -> Case:
    """Compressed twice."""
    return beside(zipped(long(suffix), suffix), suffix)


def wrong_name() -> Case:
    """A plain tar that calls itself compressed."""
    return Case({"a.tar.gz": shard(sample("bad"))}, legal=("bad",))


KINDS: Final[Kinds] = {
    **{
        f"{suffix}_{what}": partial(made, suffix)
        for suffix in ("gz", "zst")
        for what, made in (
            ("whole_named_tar", whole),
            ("whole", partial(whole, name=f"a.tar.{suffix}")),
            ("cut_at_once", partial(cut, share=0.001)),
            ("cut_early", partial(cut, share=0.1)),
            ("cut_late", partial(cut, share=0.99)),
            ("flipped", partial(flipped, share=0.5)),
            ("wrong_sum", wrong_sum),
            ("joined", joined),
            ("nested", nested),
        )
    },
    "gz_of_nothing": lambda: Case(
        {"a.tar": shard(), "b.tar.gz": zipped(b"", "gz")}, findings=("empty_file",)
    ),
    "gz_trailing_garbage": lambda: Case(
        {"a.tar.gz": zipped(shard(), "gz") + b"#" * 100}, findings=(*PACKED, "data_after_end")
    ),
    "gz_padded_with_zeros": lambda: Case(
        {"a.tar.gz": zipped(shard(), "gz") + bytes(512)}, findings=("damaged_stream",)
    ),
    "gz_bomb": partial(gzip_bomb, 208),
    "zst_bomb": partial(zstd_bomb, 208),
    "zst_window_of_2_gib": partial(beside, wide_window(), "zst"),
    "plain_named_gz": wrong_name,
    "gz_in_blocks": lambda: Case(
        {"a.tar.gz": b"".join(zipped(padded(part), "gz") for part in _blocks(shard()))}
    ),
}


def _blocks(data: bytes) -> list[bytes]:
    """As bgzip and pigz do: many small streams."""
    return [data[i : i + 4 * BLOCK] for i in range(0, len(data), 4 * BLOCK)]
