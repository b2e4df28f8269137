"""Bad names: paths that point elsewhere, bytes that are no text, long names and PAX headers that
bomb, and members that come twice, apart, or not at all.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from tests.bad.building import (
    END,
    Case,
    Kinds,
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
from tests.pipeline.shards import sample_files

NAMES = ("bad_name", "outside_name", "name_not_utf8")
EXTENSION = (
    *("long_extension", "damaged_extension", "global_rename", "long_name", "bad_size"),
    *("size_beyond_file", "wrong_size"),
    *NAMES,
)
WITHOUT = sample("bad", png=None)
PICTURE = sample_files("bad")[0][1]


def named(name: str | bytes) -> Case:
    """One member that nobody may write to such a place; whole samples lie around it."""
    return case(entry(name, PICTURE), findings=NAMES)


def odd_key(key: str) -> Case:
    """A strange name that is one all the same: it comes through, and nothing is made of it."""
    return case(long_sample(key), legal=(key,))


def long_sample(key: str) -> bytes:
    """A sample of any name, in PAX."""
    files = sample_files("bad")
    names = [name.replace("bad", key, 1) for name, _ in files]
    return b"".join(
        entry("x", pax(("path", name)), b"x") + entry("short.bin", data)
        for name, (_, data) in zip(names, files, strict=True)
    )


def extended(kind: bytes, data: bytes, size: int | bytes | None = None) -> Case:
    """An extended header with this in it, before the image of a sample."""
    block = header(b"x", len(data) if size is None else size, kind) + padded(data)
    return case(block, entry("bad.png", PICTURE), WITHOUT, either=("bad",), findings=EXTENSION)


def harmless(kind: bytes, data: bytes) -> Case:
    """An extended header that says nothing of names and sizes."""
    return case(entry("x", data, kind), sample("bad"), legal=("bad",))


def chain(kind: bytes, data: bytes) -> Case:
    """Two thousand extended headers in a row, before one member; the last one counts."""
    last = entry("x", b"bad.png\0" if kind == b"L" else data, kind)
    return case(entry("x", data, kind) * 2000, last, sample("bad"), legal=("bad",))


def stray(kind: bytes, data: bytes) -> Case:
    """An extended header, and no member behind it."""
    return Case({"a.tar": shard()[: -len(END)] + entry("x", data, kind) + END}, findings=EXTENSION)


def apart() -> Case:
    """The members of a sample lie all over the shard."""
    image, labels, classes = (entries([file]) for file in sample_files("bad"))
    data = labels + good("g0", "g1") + classes + good("g2", "g3") + image + END
    return Case({"a.tar": data}, legal=("bad",))


def twice(suffix: str, other: str | None = None) -> Case:
    """A member comes twice: which one is meant?"""
    files = dict(sample_files("bad"))
    again = entry(f"bad.{other or suffix}", files[f"bad.{suffix}"])
    return case(sample("bad"), again, failed={"bad": TWICE})


TWICE = ("duplicate_member",)


def sample_twice() -> Case:
    """The same key again, some samples later: two samples under one name."""
    first, second = entries(sample_files("bad")), entries(sample_files("bad", width=40))
    data = first + good("g0", "g1", "g2", "g3") + second + END
    return Case({"a.tar": data}, {"bad": TWICE})


def in_two_shards() -> Case:
    """The same key in two shards: both are samples, of their shards."""
    other = entries(sample_files("bad", width=44)) + END
    return Case(
        {"a.tar": shard(sample("bad")), "b.tar": other},
        either=("bad",),
        findings=("same_keys",),
    )


def lacking(suffix: str, slug: str) -> Case:
    """A member is not there."""
    return case(sample("bad", **{suffix: None}), failed={"bad": slug})


def more() -> Case:
    """Members that nobody asked for are passed over."""
    files = {"txt": b"a note", "npy": b"\x93NUMPY", "cls": b"3", "mp4": bytes(5000)}
    return case(sample("bad", **files), legal=("bad",), findings=("unknown_members",))


def hidden() -> Case:
    """What macOS and others leave in archives."""
    names = ("._bad.png", "d/._bad.json", ".DS_Store", "d/.gitignore", "README", "@LongLink")
    blocks = [entry(name, b"x") for name in names]
    return case(*blocks, sample("bad"), legal=("bad",), findings=("unknown_members",))


def capital() -> Case:
    """Suffixes are read in small letters, as WebDataset does."""
    files = [(name.upper().replace("BAD", "bad"), data) for name, data in sample_files("bad")]
    return case(entries(files), legal=("bad",))


KINDS: Final[Kinds] = {
    "path_absolute": partial(named, "/etc/bad.png"),
    "path_up": partial(named, "../bad.png"),
    "path_up_inside": partial(named, "a/../../bad.png"),
    "path_backslash": partial(named, "..\\..\\bad.png"),
    "path_drive": partial(named, "C:\\bad.png"),
    "name_empty": partial(named, b""),
    "name_not_utf8": partial(named, b"\xff\xfe\x80.png"),
    "name_latin1": partial(named, "m\xfcller.png".encode("latin-1")),
    "name_surrogates": partial(named, b"\xed\xa0\x80.png"),
    "name_newline": partial(named, "a\nb.png"),
    "name_escape": partial(named, "\x1b[2J\x1b[31mbad.png"),
    "name_bell": partial(named, "bad\x07.png"),
    "name_right_to_left": partial(named, "bad\u202egnp.png"),
    "name_space": partial(odd_key, "a b  c"),
    "name_markup": partial(odd_key, "[red]bad[/red]"),
    "name_shell": partial(odd_key, "$(touch noiseloom-canary)`;|&"),
    "name_format": partial(odd_key, "%s%n{0}"),
    "name_unicode": partial(odd_key, "\u00e4\u6f22\U0001f600"),
    "name_combined": partial(odd_key, "a\u0308"),
    "name_long": partial(odd_key, "d/" + "x" * 200),
    "name_here": partial(odd_key, "./sub/bad"),
    "name_many_folders": partial(odd_key, "d/" * 100 + "bad"),
    "name_of_4000": partial(extended, b"L", b"y" * 4000 + b".png"),
    "name_of_60000": partial(extended, b"L", b"y" * 60_000 + b".png"),
    "long_name_of_4_gib": partial(extended, b"L", b"bad.png", 2**32),
    "long_name_cut": partial(extended, b"L", b"bad.png", 100_000),
    "long_name_not_utf8": partial(extended, b"L", b"\xff\xfe.png\0"),
    "long_name_up": partial(extended, b"L", b"../../bad.png\0"),
    "long_name_chain": partial(chain, b"L", b"y" * 400),
    "long_link_name": partial(harmless, b"K", b"/etc/passwd\0"),
    "pax_comment": partial(harmless, b"x", pax(("comment", "hello"), ("mtime", "1.5"))),
    "pax_global_comment": partial(harmless, b"g", pax(("comment", "hello"))),
    "pax_global_path": partial(extended, b"g", pax(("path", "evil.png"))),
    "pax_global_size": partial(extended, b"g", pax(("size", "1"))),
    "pax_of_a_terabyte": partial(extended, b"x", b"", b"\x80" + (2**40).to_bytes(11, "big")),
    "pax_negative": partial(extended, b"x", b"", b"\xff" * 12),
    "pax_bomb": partial(extended, b"x", pax(*[(f"k{i}", "v" * 90) for i in range(20_000)])),
    "pax_many_records": partial(extended, b"x", pax(*[("path", "/a")] * 5000)),
    "pax_length_zero": partial(extended, b"x", b"0 path=x\n" * 4),
    "pax_length_negative": partial(extended, b"x", b"-9 path=x\n"),
    "pax_length_too_long": partial(extended, b"x", b"99 path=x\n"),
    "pax_length_of_digits": partial(extended, b"x", b"9" * 5000 + b" path=x\n"),
    "pax_without_equals": partial(extended, b"x", b"9 path:x\n"),
    "pax_noise": partial(extended, b"x", bytes(range(1, 256)) * 4),
    "pax_size_negative": partial(extended, b"x", pax(("size", "-512"))),
    "pax_size_huge": partial(extended, b"x", pax(("size", "9" * 18))),
    "pax_size_of_digits": partial(extended, b"x", pax(("size", "9" * 4000))),
    "pax_size_no_number": partial(extended, b"x", pax(("size", "1e9"))),
    "pax_path_nul": partial(extended, b"x", pax(("path", "bad.png\0.txt"))),
    "pax_path_up": partial(extended, b"x", pax(("path", "../../bad.png"))),
    "pax_path_not_utf8": partial(extended, b"x", pax(("path", b"\xff\xfe.png"))),
    "pax_chain": partial(chain, b"x", pax(("comment", "c" * 400))),
    "pax_stray": partial(stray, b"x", pax(("path", "bad.png"))),
    "long_name_stray": partial(stray, b"L", b"bad.png\0"),
    "members_apart": apart,
    "image_twice": partial(twice, "png"),
    "image_twice_in_capitals": partial(twice, "png", "PNG"),
    "labels_twice": partial(twice, "json"),
    "sample_twice": sample_twice,
    "key_in_two_shards": in_two_shards,
    "no_image": partial(lacking, "png", "missing_image"),
    "no_labels": partial(lacking, "json", "missing_labels"),
    "no_class_map": partial(lacking, "seg_png", "missing_segmentation"),
    "two_images": lambda: case(sample("bad", jpg=PICTURE), failed={"bad": "two_images"}),
    "more_members": more,
    "hidden_files": hidden,
    "suffixes_in_capitals": capital,
}
