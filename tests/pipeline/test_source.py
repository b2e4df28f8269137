"""Laws of reading source shards, on a disk and in an object store."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ranged import MAX_GAP, READ_AHEAD
from pipeline.source import (
    Chunk,
    expand_shards,
    plan,
    read_chunk,
    scan_shard,
)
from pipeline.store import Store
from schemas.errors import SourceError
from schemas.recipe import Source
from tests.pipeline.shards import sample_files, tar_of

SOURCE = Source(shards="unused", segmentation="seg.png")  # type: ignore[arg-type]
FILES = [file for n in range(5) for file in sample_files(f"s{n}", width=32 + n)]


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(str(tmp_path) if request.param == "disk" else f"memory://{tmp_path.name}")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The sizes of all reads."""
    sizes: list[int] = []
    read = Store.read

    def counted(self: Store, path: str, offset: int = 0, size: int | None = None) -> bytes:
        data = read(self, path, offset, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(Store, "read", counted)
    yield sizes


def planned(store: Store, chunk_size: int = 2, digest: str = "d") -> list[Chunk]:
    source = SOURCE.model_copy(update={"shards": (store.at("*.tar"),)})
    return plan(source, chunk_size, digest)


def test_a_scan_finds_the_samples_and_their_members(store: Store) -> None:
    data = tar_of(FILES)
    store.create("a.tar", data)
    shard, samples = scan_shard(store.at("a.tar"), SOURCE)
    assert (shard.url, shard.size) == (store.at("a.tar"), len(data))
    assert [sample.key for sample in samples] == ["s0", "s1", "s2", "s3", "s4"]
    found = [(m.name, data[m.offset :][: m.size]) for sample in samples for m in sample.members]
    assert found == FILES


def test_a_chunk_is_read_byte_for_byte(store: Store) -> None:
    store.create("a.tar", tar_of(FILES, tarfile.PAX_FORMAT))
    samples = [sample for chunk in planned(store) for sample in read_chunk(chunk, SOURCE)]
    assert [file for s in samples for file in (s.image, s.labels, s.segmentation)] == [
        data for _, data in FILES
    ]
    assert {(s.image_suffix, s.shard, s.problem) for s in samples} == {
        ("png", store.at("a.tar"), None)
    }
    assert len({s.content for s in samples}) == 5


def test_a_chunk_whose_members_lie_together_is_one_read(store: Store, reads: list[int]) -> None:
    store.create("a.tar", tar_of(FILES))
    (chunk,) = planned(store, chunk_size=64)
    reads.clear()
    read_chunk(chunk, SOURCE)
    assert len(reads) == 1


def test_members_that_nobody_wants_are_not_read(store: Store, reads: list[int]) -> None:
    films = [(f"s{n}.avi", bytes(MAX_GAP + 1)) for n in range(2)]
    store.create("a.tar", tar_of([*sample_files("s0"), films[0], *sample_files("s1"), films[1]]))
    (chunk,) = planned(store)
    reads.clear()
    assert len(read_chunk(chunk, SOURCE)) == 2
    assert len(reads) == 2
    assert sum(reads) < MAX_GAP


def test_a_local_scan_reads_the_file_once(tmp_path: Path, reads: list[int]) -> None:
    data = tar_of([("a.png", bytes(3 * READ_AHEAD)), *FILES])
    (tmp_path / "a.tar").write_bytes(data)
    scan_shard(str(tmp_path / "a.tar"), SOURCE)
    assert sum(reads) == len(data)


def test_a_remote_scan_passes_over_large_members(tmp_path: Path, reads: list[int]) -> None:
    large = [(f"l{n}.png", bytes(4 * READ_AHEAD)) for n in range(4)]
    store = Store(f"memory://{tmp_path.name}")
    store.create("a.tar", tar_of([*large, *FILES]))
    _, samples = scan_shard(store.at("a.tar"), SOURCE)
    assert len(samples) == 9
    assert sum(reads) < 3 * READ_AHEAD
    assert len(reads) < 10


def test_content_names_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    data = tar_of(FILES)
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.tar").write_bytes(tar_of(FILES[:3]))
    a, b, c = (scan_shard(str(tmp_path / f"{n}.tar"), SOURCE)[0].content for n in "abc")
    assert a == b != c


def test_a_chunk_id_depends_on_content_place_and_recipe(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("a.tar", tar_of(FILES))
    ids = [chunk.id for chunk in planned(store)]
    assert len(set(ids)) == 3
    assert ids == [chunk.id for chunk in planned(store)]
    assert all(len(name) == 16 for name in ids)
    assert not set(ids) & {chunk.id for chunk in planned(store, digest="other")}
    assert not set(ids) & {chunk.id for chunk in planned(store, chunk_size=3)}


def test_the_plan_follows_the_order_of_the_recipe(store: Store) -> None:
    for name in ("b", "a"):
        store.create(f"{name}.tar", tar_of(sample_files(name)))
    source = SOURCE.model_copy(update={"shards": (store.at("b.tar"), store.at("*.tar"))})
    chunks = plan(source, 64, "d")
    assert [chunk.samples[0].key for chunk in chunks] == ["b", "a"]


def test_two_shards_of_the_same_content_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes(tar_of(FILES))
    with pytest.raises(SourceError, match=r"b\.tar: the same content as .*a\.tar"):
        planned(Store(str(tmp_path)))


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'.*x-\*\.tar' matches no file"):
        expand_shards([f"{tmp_path}/x-*.tar"])
    with pytest.raises(SourceError, match="none of file, s3, gs, az"):
        scan_shard("ftp://lab/a.tar", SOURCE)


def test_a_missing_shard_is_named(store: Store) -> None:
    with pytest.raises(SourceError, match=r"no\.tar: no such shard"):
        scan_shard(store.at("no.tar"), SOURCE)


def test_a_damaged_shard_is_named_with_offset_and_reason(store: Store) -> None:
    store.create("a.tar", tar_of(FILES)[:2000])
    with pytest.raises(SourceError, match=r"a\.tar: at byte \d+: .*truncated"):
        scan_shard(store.at("a.tar"), SOURCE)


def test_a_shard_that_changes_between_plan_and_reading_is_named(store: Store) -> None:
    store.create("a.tar", tar_of(FILES))
    chunk = planned(store)[0]
    store.delete("a.tar")
    altered = [(name, data.replace(b"cell", b"bell")) for name, data in FILES]
    store.create("a.tar", tar_of(altered))
    with pytest.raises(SourceError, match=r"a\.tar: has changed"):
        read_chunk(chunk, SOURCE)


def test_a_copy_with_another_time_is_the_same_shard(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(FILES))
    chunk = planned(Store(str(tmp_path)))[0]
    os.utime(path, (1, 1))
    assert len(read_chunk(chunk, SOURCE)) == 2


def test_a_shard_without_images_says_what_it_has(store: Store) -> None:
    store.create("a.tar", tar_of([("a.npy", b"1"), ("a.cls", b"2")]))
    with pytest.raises(SourceError, match=r"jpg, jpeg, png, webp.*cls, npy"):
        scan_shard(store.at("a.tar"), SOURCE)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["a.png", "a.png"], "the same suffix twice"),
        (["a.png", "a.PNG"], "the same suffix twice"),
        (["a.png", "b.png", "a.json"], "its sample began earlier"),
    ],
)
def test_a_sample_in_pieces_is_refused(store: Store, names: list[str], says: str) -> None:
    store.create("a.tar", tar_of([(name, b"1") for name in names]))
    with pytest.raises(SourceError, match=says):
        scan_shard(store.at("a.tar"), SOURCE)


def test_names_without_a_suffix_and_hidden_files_are_no_samples(store: Store) -> None:
    store.create("a.tar", tar_of([("README", b"1"), ("d/._a.png", b"2"), ("d/a.PNG", b"3")]))
    (chunk,) = planned(store)
    (sample,) = read_chunk(chunk, SOURCE)
    assert (sample.key, sample.image, sample.image_suffix) == ("d/a", b"3", "png")


def test_a_sample_with_no_image_or_two_fails_alone(store: Store) -> None:
    names = ["a.png", "a.json", "b.json", "c.png", "c.jpg", "c.json"]
    store.create("a.tar", tar_of([(name, name.encode()) for name in names]))
    (chunk,) = planned(store, chunk_size=64)
    a, b, c = read_chunk(chunk, SOURCE)
    assert a.problem is None
    assert b.problem is not None
    assert b.problem[0] == "missing_image"
    assert c.problem is not None
    assert c.problem[0] == "two_images"


def test_a_member_beyond_the_limit_is_not_read(
    store: Store, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.source.MAX_MEMBER", 5000)
    store.create("a.tar", tar_of([("a.png", bytes(5001)), ("b.png", b"1")]))
    (chunk,) = planned(store)
    reads.clear()
    a, b = read_chunk(chunk, SOURCE)
    assert a.problem is not None
    assert a.problem[0] == "member_too_large"
    assert b.image == b"1"
    assert sum(reads) == 1
