"""Laws of the tar walker and writer; Python's tarfile is the other opinion."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tars.tar import RECORD, TarError, walk, write_tar
from schemas.index import Member
from tests.pipeline.shards import tar_of

LONG = "folder/" + "x" * 300 + ".png"
FILES = [("a.png", b"1" * 700), ("ä/b.json", b""), (LONG, b"22"), ("c.cls", b"3" * 512)]


def members_of(data: bytes) -> list[Member]:
    return list(walk(lambda offset, size: data[offset : offset + size], len(data)))


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_walker_finds_what_tarfile_wrote(format: int) -> None:
    data = tar_of(FILES, format)
    found = [(m.name, data[m.offset : m.offset + m.size]) for m in members_of(data)]
    assert found == FILES


def test_a_ustar_prefix_is_part_of_the_name() -> None:
    name = "d" * 90 + "/" + "f" * 60 + ".png"
    assert members_of(tar_of([(name, b"1")]))[0].name == name


def test_tarfile_finds_what_the_writer_wrote() -> None:
    data, members = write_tar(FILES)
    assert len(data) % RECORD == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        infos = tar.getmembers()
        assert [(i.name, tar.extractfile(i).read()) for i in infos] == FILES  # type: ignore[union-attr]
        assert {(i.mtime, i.uid, i.gid, i.uname, i.mode) for i in infos} == {(0, 0, 0, "", 0o644)}
    assert members == members_of(data)


def test_an_archive_of_nothing_is_empty() -> None:
    data, members = write_tar([])
    assert members == members_of(data) == []


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150),
        st.binary(max_size=1500),
        max_size=4,
    )
)
def test_what_is_written_is_walked_back(files: dict[str, bytes]) -> None:
    files = {f"k{name}": data for name, data in files.items()}
    data, members = write_tar(files.items())
    assert members_of(data) == members
    assert {m.name: data[m.offset : m.offset + m.size] for m in members} == files


def test_folders_are_passed_over() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        folder = tarfile.TarInfo("d")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        info = tarfile.TarInfo("d/a.png")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"1"))
    assert [m.name for m in members_of(buffer.getvalue())] == ["d/a.png"]


def test_a_size_in_base_256_is_read() -> None:
    info = tarfile.TarInfo("a.bin")
    info.size = 9 * 2**30
    header = info.tobuf(tarfile.GNU_FORMAT)
    with pytest.raises(TarError, match=f"{9 * 2**30} bytes, more than follow"):
        members_of(header + bytes(2048))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.FIFOTYPE, "pipe"),
        (tarfile.GNUTYPE_SPARSE, "sparse"),
        (b"Z", "unknown type"),
    ],
)
def test_everything_but_files_and_folders_is_refused(kind: bytes, says: str) -> None:
    info = tarfile.TarInfo("x")
    info.type = kind
    info.linkname = "/etc/passwd"
    with pytest.raises(TarError, match=says):
        members_of(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@pytest.mark.parametrize("name", ["/etc/passwd", "../x.png", "a/../../x.png"])
def test_names_that_point_outside_are_refused(name: str) -> None:
    with pytest.raises(TarError, match="outside"):
        members_of(tarfile.TarInfo(name).tobuf(tarfile.PAX_FORMAT) + bytes(1024))


def test_every_cut_is_noticed() -> None:
    data = tar_of(FILES, tarfile.PAX_FORMAT)
    end = max(m.offset + m.size for m in members_of(data))
    for cut in [0, 1, 511, 512, 1024, 1600, *range(2048, end + 512, 512), end + 1, end + 900]:
        with pytest.raises(TarError):
            members_of(data[:cut])


def test_every_damaged_header_byte_is_noticed() -> None:
    data = tar_of([("a.png", b"1")])
    for place in range(500):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(TarError):
            members_of(bytes(damaged))


def test_joined_archives_are_refused() -> None:
    data = tar_of([("a.png", b"1")])
    with pytest.raises(TarError, match="after the end mark"):
        members_of(data + data)


@pytest.mark.parametrize(("start", "says"), [(b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")])
def test_a_compressed_archive_is_named(start: bytes, says: str) -> None:
    with pytest.raises(TarError, match=says):
        members_of(start + bytes(2000))


def test_an_extended_header_is_bounded_before_it_is_read() -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = 2**31
    with pytest.raises(TarError, match="65536 at most"):
        members_of(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))


@pytest.mark.parametrize(
    "record", [b"7 path=\n", b"99 path=x\n", b"x path=x\n", b"9 path=x", b"0 path=x\n"]
)
def test_a_damaged_pax_header_is_refused(record: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = len(record)
    body = record + bytes(512 - len(record))
    after = tarfile.TarInfo("y").tobuf(tarfile.USTAR_FORMAT) + bytes(1024)
    with pytest.raises(TarError):
        members_of(info.tobuf(tarfile.USTAR_FORMAT) + body + after)


def test_an_error_says_where() -> None:
    data = tar_of([("a.png", b"1")])
    with pytest.raises(TarError) as caught:
        members_of(data[:1024] + b"\xff" * 512 + data[1536:])
    assert caught.value.offset == 1024
