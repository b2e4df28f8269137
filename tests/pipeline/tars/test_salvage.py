"""Laws of the tolerant walk: nothing good is lost, and nothing makes it slow."""

from __future__ import annotations

import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.tars.header import BLOCK
from pipeline.tars.resync import WINDOW, find_header
from pipeline.tars.salvage import MAX_NAME, Damage, salvage
from pipeline.tars.tar import RECORD, walk
from schemas.index import Member
from tests.pipeline.shards import tar_of

FILES = [(f"s{i}.png", random.Random(i).randbytes(300 + 400 * i)) for i in range(6)]
TAR = tar_of(FILES)


class InMemory:
    """Bytes that count how many of them are asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.read = data, 0

    def read_at(self, offset: int, size: int) -> bytes:
        self.read += size
        return self.data[offset : offset + size]

    def reaches(self, end: int) -> bool:
        return end <= len(self.data)

    def back_to(self, offset: int) -> int:
        return offset


def salvaged(data: bytes) -> tuple[list[Member], list[Damage]]:
    found = list(salvage(InMemory(data)))
    members = [item for item in found if isinstance(item, Member)]
    return members, [item for item in found if isinstance(item, Damage)]


def names(data: bytes) -> list[str]:
    return [member.name for member in salvaged(data)[0]]


def slugs(data: bytes) -> list[str]:
    return [damage.slug for damage in salvaged(data)[1]]


def header(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.PAX_FORMAT)


def places() -> list[int]:
    """Where the headers of TAR are."""
    return [member.offset - BLOCK for member in salvaged(TAR)[0]]


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_of_a_good_archive_it_finds_what_the_strict_walk_finds(format: int) -> None:
    data = tar_of([*FILES, ("x" * 300 + ".png", b"2"), ("ä.json", b""), ("b.png", b"")], format)
    strict = list(walk(lambda offset, size: data[offset : offset + size], len(data)))
    assert salvaged(data) == (strict, [])


@pytest.mark.parametrize("which", range(6))
def test_a_damaged_header_loses_its_own_member_alone(which: int) -> None:
    place = places()[which]
    data = TAR[:place] + bytes([TAR[place] ^ 255]) + TAR[place + 1 :]
    assert names(data) == [f"s{i}.png" for i in range(6) if i != which]
    assert [(d.offset, d.slug) for d in salvaged(data)[1]] == [(place, "damaged_header")]


@pytest.mark.parametrize("change", [-700, -1, 1, 77, 512, 5000])
def test_bytes_lost_or_put_in_lose_at_most_the_member_there(change: int) -> None:
    middle = places()[4] + BLOCK + 800
    data = TAR[: middle + min(0, change)] + b"\1" * max(0, change) + TAR[middle:]
    found, damages = salvaged(data)
    assert [m.name for m in found] in ([f"s{i}.png" for i in range(6) if i != 4], names(TAR))
    assert [d.slug for d in damages] in (["wrong_size"], ["damaged_header"])
    (last,) = (m for m in found if m.name == "s5.png")
    assert data[last.offset :][: last.size] == FILES[5][1]


def test_a_member_that_would_swallow_others_is_passed_over_and_they_are_found() -> None:
    data = header("liar.png", 2000) + TAR
    assert names(data) == names(TAR)
    assert [(d.offset, d.slug) for d in salvaged(data)[1]] == [(BLOCK, "wrong_size")]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=3000), st.integers(0, len(TAR)), st.integers(0, 3000))
def test_members_never_overlap_whatever_is_done_to_an_archive(
    put: bytes, place: int, cut: int
) -> None:
    data = TAR[:place] + put + TAR[place + cut :]
    end = 0
    for member in salvaged(data)[0]:
        assert member.offset - BLOCK >= end
        end = member.offset + member.size
        assert end <= len(data)


def test_three_hundred_flips_lose_at_most_one_member_each_and_never_in_silence() -> None:
    data = tar_of([*FILES, ("ö" * 90 + ".png", b"9" * 600)], tarfile.PAX_FORMAT)
    strict = set(salvaged(data)[0])
    rng = random.Random(0)
    for _ in range(300):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        members, damages = salvaged(bytes(flipped))
        lost = strict - set(members)
        assert len(lost) <= 1
        renamed = {(m.offset, m.size) for m in members} == {(m.offset, m.size) for m in strict}
        assert not lost or damages or renamed  # a PAX header has no checksum of its own


@pytest.mark.parametrize(
    ("kind", "slug"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.FIFOTYPE, "pipe"),
        (b"Z", "unknown_type"),
    ],
)
def test_what_is_no_file_is_passed_over(kind: bytes, slug: str) -> None:
    lying = 0 if kind == b"Z" else 1700  # a link has no data, whatever its header states
    data = header("x.png", lying, kind) + TAR
    assert (names(data), slugs(data)) == (names(TAR), [slug])


def test_a_sparse_file_is_passed_over_with_its_map() -> None:
    sparse = bytearray(header("x.png", 700, b"S"))
    sparse[482] = 1
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    more, last = bytearray(BLOCK), bytearray(BLOCK)
    more[504] = 1
    data = bytes(sparse + more + last) + b"7" * 1024 + TAR
    assert (names(data), slugs(data)) == (names(TAR), ["sparse_file"])


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("/etc/passwd", "outside_name"),
        ("a/../../x.png", "outside_name"),
        ("..\\x.png", "outside_name"),
        ("C:\\x.png", "outside_name"),
        ("a\nb.png", "bad_name"),
        ("a\u202egnp.exe.png", "bad_name"),
        ("x" * MAX_NAME + ".png", "long_name"),
        ("\udcff.png", "name_not_utf8"),
    ],
)
def test_a_name_that_no_file_should_have_is_passed_over(name: str, slug: str) -> None:
    info = tarfile.TarInfo(name)
    start = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    assert (names(start + TAR), slugs(start + TAR)) == (names(TAR), [slug])


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize(
    ("body", "slug"), [(b"9" * 100_000, "long_extension"), (b"\xff9", "extension")]
)
def test_a_member_whose_extended_header_cannot_be_used_is_passed_over(
    kind: bytes, body: bytes, slug: str
) -> None:
    padding = bytes(-len(body) % BLOCK)
    data = header("x", len(body), kind) + body + padding + header("a.png") + TAR
    slug = {b"x": "damaged_extension", b"L": "name_not_utf8"}[kind] if slug == "extension" else slug
    assert (names(data), slugs(data)) == (names(TAR), [slug])


def test_a_claimed_size_beyond_the_file_costs_its_member_alone() -> None:
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, b"S"):
        data = header("x.png", 2**33 - 1, kind) + TAR
        assert (names(data), slugs(data)[-1:]) == (names(TAR), ["size_beyond_file"])


def test_joined_archives_are_read_through() -> None:
    other = tar_of([("t.png", b"1")])
    assert names(TAR + other) == [*names(TAR), "t.png"]
    assert slugs(TAR + other) == ["joined_archives"]
    assert names(TAR + b"junk" * 99 + other) == [*names(TAR), "t.png"]
    assert slugs(TAR + b"junk" * 99 + other) == ["data_after_end"]


def test_every_cut_keeps_all_whole_members_and_is_noticed() -> None:
    whole = {m.offset + m.size: i + 1 for i, m in enumerate(salvaged(TAR)[0])}
    for cut in range(0, max(whole) + 2 * BLOCK, 100):
        kept = max((n for end, n in whole.items() if end <= cut), default=0)
        assert len(names(TAR[:cut])) == kept
        assert len(slugs(TAR[:cut])) == 1, cut


def test_what_is_no_tar_is_called_so() -> None:
    assert slugs(b"") == ["empty_file"]
    assert slugs(b"text") == slugs(b"text" * 1000) == ["not_a_tar"]
    assert "xz data" in salvaged(b"\xfd7zXZ" + bytes(5000))[1][0].detail
    assert salvaged(bytes(RECORD)) == ([], [])


def test_a_header_is_found_at_every_byte_also_across_windows() -> None:
    wanted = header("a.png")
    for place in [0, 1, 511, 4096 - 300, 4096 + WINDOW - 511, 4096 + WINDOW - 257, 3 * WINDOW]:
        assert find_header(InMemory(b"u" * place + wanted), 0) == place
    assert find_header(InMemory(b"u" * WINDOW + wanted[:511]), 0) is None
    decoys = (b"ustar" + b"00012345" + bytes(6)) * 40
    assert find_header(InMemory(decoys + wanted), 0) == len(decoys)


@pytest.mark.parametrize(
    "data",
    [
        b"ustar" * 400_000,
        (b"ustar" + b"00012345" + bytes(6)) * 100_000,
        header("x.png", 2**33 - 1) * 4000,
        header("x.png", 700, b"S") * 4000,
        header("x", 10, tarfile.XHDTYPE) * 4000,
        b"".join(header("x.png", BLOCK * (4000 - i) - 3) for i in range(4000)),
        (header("x.png", 1000) + b"damage") * 3000,
        (header("x.png") + bytes(BLOCK)) * 3000,
    ],
    ids=["magic", "sums", "sizes", "sparse", "extensions", "nested", "short", "ends"],
)
def test_the_work_is_linear_in_the_size_whatever_is_in_it(data: bytes) -> None:
    memory = InMemory(data)
    assert len(list(salvage(memory))) <= len(data) // BLOCK + 1
    assert memory.read < 20 * len(data) + WINDOW
