"""Bad archives: members that are no files, sizes that lie, damage, cuts, and what is no tar."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from typing import Final

from tests.bad.building import (
    AFTER,
    BEFORE,
    BLOCK,
    END,
    GOOD,
    Case,
    Kinds,
    beside,
    case,
    entries,
    entry,
    good,
    header,
    padded,
    pax,
    sample,
    shard,
)
from tests.pipeline.shards import painted, png, sample_files

TERABYTE: Final = 2**40
WITHOUT = sample("bad", png=None)
"""A sample whose image is what the bad member should have been."""


def special(kind: bytes, slug: str, size: int = 0) -> Case:
    """A member that is no regular file, where an image should be."""
    block = header(b"bad.png", size, kind, link=b"/etc/passwd")
    return case(block, WITHOUT, failed={"bad": "missing_image"}, findings=(slug,))


def sized(size: int | bytes, *, data: bytes = b"") -> Case:
    """An image whose header says another size than it has; its sample is told of, or found."""
    block = header(b"bad.png", size) + data
    return case(block, WITHOUT, either=("bad",), findings=DAMAGE)


AFTER_END = ("joined_archives", "data_after_end")
CUT = ("truncated", "no_end_mark")
DAMAGE = ("damaged_header", "bad_size", "size_beyond_file", "wrong_size", "truncated")


def folders() -> Case:
    """Folders, also one that claims a size, hold nothing, and are passed over."""
    blocks = [header(b"d/", 0, b"5"), header(b"e/", 5000, b"5"), header(b"f", 0, b"5")]
    return case(*blocks, sample("bad"), legal=("bad",))


def contiguous() -> Case:
    """Type 7 is a regular file that some old disk keeps together."""
    files = sample_files("bad")
    return case(*(entry(name, data, b"7") for name, data in files), legal=("bad",))


def old_tar(magic: bytes) -> Case:
    """A tar from before ustar has no magic."""
    blocks = [header(n.encode(), len(d), magic=magic) + padded(d) for n, d in sample_files("bad")]
    return case(*blocks, either=("bad",), findings=("old_format", *DAMAGE))


def sparse_pax() -> Case:
    """GNU's sparse files in PAX: a map in front of the data, and any size that it likes."""
    records = pax(
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "bad.png"),
        ("GNU.sparse.realsize", str(TERABYTE)),
    )
    block = entry("x", records, b"x") + entry("GNUSparseFile.0/bad.png", b"1\n0\n1\n".ljust(BLOCK))
    return case(block, WITHOUT, failed={"bad": "missing_image"}, findings=("sparse_file",))


def cut_at(place: str) -> Case:
    """A shard that ends early: what was whole before it comes through."""
    head, tail = good(*GOOD), sample_files("bad")
    name, data = tail[0]
    places = {
        "header": 300,
        "data": BLOCK + len(data) // 2,
        "last_byte": BLOCK + len(data) - 1,
        "padding": BLOCK + len(data) + 1,
        "between_members": len(entry(name, data)),
        "second_header": len(entry(name, data)) + 100,
        "no_end_mark": len(entries(tail)),
        "half_an_end_mark": len(entries(tail)) + BLOCK,
    }
    data = (head + entries(tail) + END)[: len(head) + places[place]]
    return Case({"a.tar": data}, findings=CUT, either=("bad",))


def cut_in_pax() -> Case:
    """The data of a PAX header ends with the file."""
    block = entry("x", pax(("path", "bad.png")), b"x")
    return Case({"a.tar": good(*GOOD) + block[:BLOCK]}, findings=CUT)


def joined() -> Case:
    """`cat a.tar b.tar`: an end mark in the middle."""
    data = good(*BEFORE) + END + bytes(8 * BLOCK) + good(*AFTER) + END
    return Case({"a.tar": data}, findings=AFTER_END)


def after_the_end(rest: bytes) -> Case:
    """Something behind the end mark that is no tar."""
    return Case({"a.tar": good(*GOOD) + END + rest}, findings=AFTER_END)


def zeros_between(blocks: int) -> Case:
    """A block of zeros or more where a header should be, and the archive goes on."""
    return case(bytes(blocks * BLOCK), findings=AFTER_END)


def damaged(start: int, stop: int, byte: bytes) -> Case:
    """The first header of a sample, overwritten."""
    data = bytearray(sample("bad"))
    data[start:stop] = byte * (stop - start)
    return case(bytes(data), either=("bad",), findings=DAMAGE)


def shifted(extra: int) -> Case:
    """Bytes put in or taken out: nothing lies at a multiple of 512 any more."""
    data = sample("bad")
    middle = len(data) // 2
    data = data[:middle] + (b"#" * extra if extra > 0 else b"") + data[middle + max(0, -extra) :]
    return case(data, either=("bad", *AFTER), findings=DAMAGE)


def empty_archive() -> Case:
    """An archive of nothing holds no sample."""
    return beside(bytes(20 * BLOCK), "no_samples")


def zip_archive() -> bytes:
    """Another kind of archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in sample_files("bad"):
            file.writestr(name, data)
    return buffer.getvalue()


NOT_A_TAR = ("not_a_tar",)
HTML = b"<html><body>403 Forbidden: your session has ended</body></html>\n"

KINDS: Final[Kinds] = {
    "hard_link": partial(special, b"1", "link"),
    "symbolic_link": partial(special, b"2", "link"),
    "character_device": partial(special, b"3", "device"),
    "block_device": partial(special, b"4", "device"),
    "fifo": partial(special, b"6", "pipe"),
    "sparse_gnu": partial(special, b"S", "sparse_file"),
    "sparse_pax": sparse_pax,
    "multi_volume": partial(special, b"M", "unknown_type"),
    "incremental_dump": partial(special, b"D", "unknown_type"),
    "unknown_type": partial(special, b"Z", "unknown_type"),
    "contiguous_file": contiguous,
    "folders": folders,
    "no_magic": partial(old_tar, bytes(8)),
    "foreign_magic": partial(old_tar, b"rats\0\0\0\0"),
    "size_a_terabyte": partial(sized, b"\x80" + TERABYTE.to_bytes(11, "big")),
    "size_beyond_64_bits": partial(sized, b"\x80" + b"\xff" * 11),
    "size_negative": partial(sized, b"-0000000010\0"),
    "size_negative_base_256": partial(sized, b"\xff" * 12),
    "size_back_to_the_start": partial(sized, b"\xff" * 10 + b"\xf0\x00"),
    "size_octal_8_gib": partial(sized, b"777777777777"),
    "size_beyond_end": partial(sized, 200_000),
    "size_no_number": partial(sized, b"0000x000010\0"),
    "size_too_large_by_a_block": partial(sized, BLOCK + 1, data=bytes(BLOCK)),
    "size_too_small": partial(sized, 1, data=b"#" * 3 * BLOCK),
    "size_zero": partial(sized, 0, data=b"#" * 3 * BLOCK),
    **{
        f"cut_{place}": partial(cut_at, place)
        for place in (
            *("header", "data", "last_byte", "padding", "between_members", "second_header"),
            *("no_end_mark", "half_an_end_mark"),
        )
    },
    "cut_in_pax": cut_in_pax,
    "joined": joined,
    "garbage_after_the_end": partial(after_the_end, b"#" * 3000),
    "one_byte_after_the_end": partial(after_the_end, bytes(4000) + b"#"),
    "one_zero_block_between": partial(zeros_between, 1),
    "two_zero_blocks_between": partial(zeros_between, 2),
    "many_zero_blocks_between": partial(zeros_between, 50),
    "wrong_checksum": partial(damaged, 148, 154, b"7"),
    "header_of_zeros": partial(damaged, 0, BLOCK, b"\0"),
    "header_of_noise": partial(damaged, 0, BLOCK, b"\xaa"),
    "bytes_put_in": partial(shifted, 7),
    "bytes_taken_out": partial(shifted, -7),
    "a_block_put_in": partial(shifted, BLOCK),
    "a_block_taken_out": partial(shifted, -BLOCK),
    "empty_file": partial(beside, b"", "empty_file"),
    "empty_archive": empty_archive,
    "one_block": partial(beside, bytes(BLOCK), "no_end_mark", "no_samples"),
    "text": partial(beside, HTML, *NOT_A_TAR),
    "long_text": partial(beside, HTML * 300, *NOT_A_TAR),
    "picture": partial(beside, png(painted(60, 60, [])), *NOT_A_TAR),
    "zip": partial(beside, zip_archive(), *NOT_A_TAR),
    "bzip2": partial(beside, b"BZh91AY&SY" + b"\x5a" * 3000, *NOT_A_TAR),
    "xz": partial(beside, b"\xfd7zXZ\0" + b"\x5a" * 3000, *NOT_A_TAR),
    "no_sample_at_all": partial(
        beside, entries([("x.npy", b"1"), ("x.cls", b"2")]) + END, "no_samples"
    ),
    "no_image_at_all": lambda: Case(
        {"a.tar": shard(), "b.tar": WITHOUT + END}, {"bad": ("missing_image",)}, ("no_images",)
    ),
    "same_shard_twice": partial(beside, shard(), "same_content"),
}
