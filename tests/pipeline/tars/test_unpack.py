"""Laws of packed shards: everything before a damage, and bounded work."""

from __future__ import annotations

import gzip
import random
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.source.plan import plan, read_chunk
from pipeline.source.shards import scan_shard
from pipeline.storage.store import Store
from pipeline.tars import unpack
from pipeline.tars.unpack import Unpacked, read_unpacked
from schemas.errors import SourceError
from schemas.index import Member
from schemas.recipe import Source
from tests.pipeline.shards import sample_files, tar_of

SOURCE = Source(shards="unused", segmentation="seg.png")  # type: ignore[arg-type]
FILES = [file for n in range(6) for file in sample_files(f"s{n}", width=32 + n)]
NOISE = random.Random(4).randbytes(1_500_000)
KINDS = pytest.mark.parametrize("kind", ["gzip", "zstd"])


def packed(data: bytes, kind: str) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return bytes(pa.Codec("zstd").compress(data))


def opened(store: Store, data: bytes, kind: str) -> Unpacked:
    store.create("a", data)
    return Unpacked(store, "a", len(data), kind)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path) if request.param == "disk" else f"memory://{tmp_path.name}")


@KINDS
def test_any_place_can_be_read_forward_and_back(store: Store, kind: str) -> None:
    stream = opened(store, packed(NOISE, kind), kind)
    places = [(0, 4), (0, 600_000), (600_001, 7), (2, 9), (1_499_990, 100), (1_600_000, 5)]
    for offset, size in places:
        assert stream.read_at(offset, size) == NOISE[offset : offset + size]
    assert stream.reaches(len(NOISE))
    assert not stream.reaches(len(NOISE) + 1)
    assert stream.trouble is None


@KINDS
def test_a_packed_shard_gives_the_samples_of_the_plain_one(store: Store, kind: str) -> None:
    first, second = tar_of(FILES[:9]), tar_of(FILES[9:])
    store.create("a.tar", packed(first, kind) + packed(second, kind))
    source = SOURCE.model_copy(update={"shards": (store.at("a.tar"),)})
    planned = plan(source, 2, "d")
    assert [finding.slug for finding in planned.findings] == ["joined_archives"]
    assert planned.chunks[0].shard.packing == kind
    chunks = [planned.chunks[i] for i in (1, 2, 0)]
    samples = sorted((s for c in chunks for s in read_chunk(c, source)), key=lambda s: s.key)
    assert [file for s in samples for file in (s.image, s.labels, s.segmentation)] == [
        data for _, data in FILES
    ]


@KINDS
@pytest.mark.parametrize("what", ["cut", "broken", "trailing"])
def test_everything_before_a_damage_comes_through(tmp_path: Path, kind: str, what: str) -> None:
    text = NOISE.hex().encode()  # packs to half its size
    files = [(f"s{i:03d}.png", text[i * 2048 : i * 2048 + 1536]) for i in range(500)]
    data = packed(tar_of(files), kind)
    place = len(data) * 7 // 10
    damaged = {
        "cut": data[:place],
        "broken": data[:place] + b"\xff" * 5000 + data[place + 5000 :],
        "trailing": data + b"rest",
    }[what]
    (tmp_path / "a.tgz").write_bytes(damaged)
    scan = scan_shard(str(tmp_path / "a.tgz"), SOURCE)
    assert "damaged_stream" in [finding.slug for finding in scan.findings]
    members = [member for sample in scan.samples for member in sample.members]
    # A zstd block is 128 kB, 64 members, and comes as a whole or not.
    least = 500 if what == "trailing" else 348 - (64 if kind == "zstd" else 0)
    assert len(members) >= least
    store, names = Store(str(tmp_path)), dict(files)
    version = store.stat("a.tgz").version
    found = read_unpacked(store, "a.tgz", len(damaged), version, kind, members)
    assert sum(names[member.name] == data for member, data in found.items()) >= least


@KINDS
def test_a_shard_that_cannot_be_unpacked_at_all_is_damaged_and_not_empty(
    tmp_path: Path, kind: str
) -> None:
    (tmp_path / "a.tar").write_bytes(packed(tar_of(FILES), kind)[:7])
    findings = scan_shard(str(tmp_path / "a.tar"), SOURCE).findings
    assert [finding.slug for finding in findings] == ["damaged_stream", "no_samples"]


@KINDS
def test_a_bomb_is_refused_at_its_limit(tmp_path: Path, kind: str) -> None:
    head = tar_of(FILES[:3])[:-9000]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "FREE", 2_000_000)
        patch.setattr(unpack, "MAX_RATIO", 10)
        (tmp_path / "a.tar").write_bytes(packed(head + bytes(8_000_000), kind))
        scan = scan_shard(str(tmp_path / "a.tar"), SOURCE)
    assert [sample.key for sample in scan.samples] == ["s0"]
    assert [finding.slug for finding in scan.findings] == ["decompression_bomb"]


def test_a_lying_size_is_found_out(store: Store) -> None:
    liar = tarfile.TarInfo("liar.png")
    liar.size = 2**33 - 1
    store.create("a", packed(liar.tobuf() + tar_of(FILES), "gzip"))
    scan = scan_shard(store.at("a"), SOURCE)
    assert [sample.key for sample in scan.samples] == [f"s{n}" for n in range(6)]
    assert [finding.slug for finding in scan.findings] == ["size_beyond_file"]


def test_searches_that_start_again_are_few(tmp_path: Path) -> None:
    stream = opened(Store(str(tmp_path)), packed(NOISE, "gzip"), "gzip")
    for _ in range(unpack.MAX_REWINDS):
        assert stream.read_at(1_400_000, 1)
        assert stream.back_to(5) == 5
        assert stream.read_at(5, 1) == NOISE[5:6]
    assert stream.read_at(1_400_000, 1)
    assert stream.back_to(5) > 1_000_000


def test_the_next_chunk_goes_on_where_the_last_one_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, data = Store(str(tmp_path)), packed(NOISE, "zstd")
    store.create("a", data)
    read: list[int] = []
    plain = Store.read

    def counted(self: Store, path: str, offset: int = 0, size: int | None = None) -> bytes:
        read.append(offset)
        return plain(self, path, offset, size)

    monkeypatch.setattr(Store, "read", counted)
    for offset in range(0, 1_400_000, 200_000):
        member = Member("m", offset, 1000)
        found = read_unpacked(store, "a", len(data), "v", "zstd", [member])
        assert found[member] == NOISE[offset : offset + 1000]
    assert sorted(read) == read
    assert len(set(read)) == len(read)


def test_a_packed_shard_that_changes_under_the_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(packed(tar_of(FILES), "gzip"))
    source = SOURCE.model_copy(update={"shards": (str(tmp_path / "a.tar"),)})
    chunks = plan(source, 2, "d").chunks
    assert len(read_chunk(chunks[0], source)) == 2
    (tmp_path / "a.tar").write_bytes(packed(tar_of(FILES[3:]), "gzip"))
    with pytest.raises(SourceError, match="has changed since the run was planned"):
        read_chunk(chunks[1], source)


def test_an_error_of_the_store_is_not_taken_for_damage(tmp_path: Path) -> None:
    data = packed(tar_of(FILES), "gzip")
    (tmp_path / "a.tar").write_bytes(data)
    source = SOURCE.model_copy(update={"shards": (str(tmp_path / "a.tar"),)})
    (chunk,) = plan(source, 64, "d").chunks
    (tmp_path / "a.tar").unlink()
    with pytest.raises(SourceError, match="is gone since the run was planned"):
        read_chunk(chunk, source)
    stream = Unpacked(Store(str(tmp_path)), "a.tar", len(data), "gzip")
    with pytest.raises(FileNotFoundError):
        stream.read_at(0, 1)
    assert stream.trouble is None
