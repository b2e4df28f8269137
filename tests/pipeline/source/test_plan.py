"""Laws of reading source shards, on a disk and in an object store."""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.source.plan import Chunk, SourcePlan, around, expand_shards, plan, read_chunk
from pipeline.source.ranged import MAX_GAP, READ_AHEAD
from pipeline.source.shards import scan_shard
from pipeline.storage.store import Store
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

    def counted(
        self: Store,
        path: str,
        offset: int = 0,
        size: int | None = None,
        version: str | None = None,
    ) -> bytes:
        data = read(self, path, offset, size, version)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(Store, "read", counted)
    yield sizes


def source_plan(store: Store, chunk_size: int = 2, digest: str = "d") -> SourcePlan:
    source = SOURCE.model_copy(update={"shards": (store.at("*.tar"),)})
    return plan(source, chunk_size, digest)


def planned(store: Store, chunk_size: int = 2, digest: str = "d") -> list[Chunk]:
    return list(source_plan(store, chunk_size, digest).chunks)


def test_a_scan_finds_the_samples_and_their_members(store: Store) -> None:
    data = tar_of(FILES)
    store.create("a.tar", data)
    scan = scan_shard(store.at("a.tar"), SOURCE)
    shard, samples = scan.shard, scan.samples
    assert (shard.url, shard.size, scan.findings) == (store.at("a.tar"), len(data), ())
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
    assert len(scan_shard(store.at("a.tar"), SOURCE).samples) == 9
    assert sum(reads) < 3 * READ_AHEAD
    assert len(reads) < 10


def test_content_names_the_bytes_and_not_the_place(tmp_path: Path) -> None:
    data = tar_of(FILES)
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "c.tar").write_bytes(tar_of(FILES[:3]))
    a, b, c = (scan_shard(str(tmp_path / f"{n}.tar"), SOURCE).shard.content for n in "abc")
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
    chunks = plan(source, 64, "d").chunks
    assert [chunk.samples[0].key for chunk in chunks] == ["b", "a"]


def test_of_two_shards_of_the_same_content_one_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.tar").write_bytes(tar_of(FILES))
    found = source_plan(Store(str(tmp_path)))
    assert [chunk.shard.url for chunk in found.chunks] == [f"{tmp_path}/a.tar"] * 3
    (finding,) = found.findings
    assert (finding.shard, finding.slug) == (f"{tmp_path}/b.tar", "same_content")
    assert f"{tmp_path}/a.tar" in finding.detail


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"'.*x-\*\.tar' matches no file"):
        expand_shards([f"{tmp_path}/x-*.tar"])
    with pytest.raises(SourceError, match="none of file, s3, gs, az"):
        scan_shard("ftp://lab/a.tar", SOURCE)


def test_a_missing_shard_is_named(store: Store) -> None:
    with pytest.raises(SourceError, match=r"no\.tar: no such shard"):
        scan_shard(store.at("no.tar"), SOURCE)


def test_a_damaged_shard_is_a_finding_and_the_rest_of_it_comes_through(store: Store) -> None:
    data = tar_of(FILES)
    store.create("a.tar", data[:2048] + b"\xff" * 512 + data[2560:])
    found = source_plan(store)
    samples = [sample for chunk in found.chunks for sample in read_chunk(chunk, SOURCE)]
    assert [sample.key for sample in samples] == ["s0", "s1", "s2", "s3", "s4"]
    assert samples[0].labels is None
    assert [s.labels for s in samples[1:]] == [data for name, data in FILES[4::3]]
    (finding,) = found.findings
    assert str(finding).startswith(f"{store.at('a.tar')}: at byte 2048: damaged_header: not a tar")
    with pytest.raises(SourceError, match="leave the shard out, or mend it"):
        found.undamaged()


def test_a_source_without_one_sample_says_what_was_found(store: Store) -> None:
    store.create("a.tar", b"no tar" * 1000)
    store.create("b.tar", tar_of([("a.txt", b"1"), ("b.pickle", b"2")]))
    with pytest.raises(SourceError, match=r"(?s)not one sample .*not_a_tar.*1 \.pickle, 1 \.txt"):
        source_plan(store)


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
    store.create("b.tar", tar_of([("a.json", b"1"), ("a.npy", b"2")]))
    with pytest.raises(SourceError, match=r"(?s)no image .*1 \.cls, 1 \.npy.*jpg, jpeg, png, webp"):
        source_plan(store)


def test_what_the_recipe_does_not_name_is_counted_and_is_no_sample(store: Store) -> None:
    names = ["a.png", "a.pickle", "b.pth", "b.pyd", "c.pth", "d/.hidden.png", "README", "c.json"]
    store.create("a.tar", tar_of([(name, name.encode()) for name in names]))
    found = source_plan(store)
    (chunk,) = found.chunks
    assert [[m.name for m in sample.members] for sample in chunk.samples] == [["a.png"], ["c.json"]]
    (finding,) = found.findings
    assert (finding.slug, finding.offset, finding.harmless) == ("unknown_members", 1536, True)
    counted = "2 .pth, 1 .pickle, 1 .pyd, 1 hidden files, 1 without a suffix"
    assert finding.detail == counted


def test_members_of_a_sample_may_lie_anywhere_in_the_shard(store: Store) -> None:
    store.create("a.tar", tar_of([FILES[i] for i in (0, 3, 6, 1, 8, 7, 2, 4, 5)]))
    found = source_plan(store)
    samples = [sample for chunk in found.chunks for sample in read_chunk(chunk, SOURCE)]
    assert [file for s in samples for file in (s.image, s.labels, s.segmentation)] == [
        data for _, data in FILES[:9]
    ]
    assert (found.findings, {s.problem for s in samples}) == ((), {None})


@pytest.mark.parametrize("twin", ["a.png", "a.PNG"])
def test_the_same_suffix_twice_fails_its_sample_alone(store: Store, twin: str) -> None:
    names = ["a.png", "b.png", twin, twin, "c.png"]
    store.create("a.tar", tar_of([(name, b"1") for name in names]))
    scan = scan_shard(store.at("a.tar"), SOURCE)
    assert [len(sample.members) for sample in scan.samples] == [2, 1, 1]
    problems = [s.problem for chunk in planned(store) for s in read_chunk(chunk, SOURCE)]
    assert problems == [("duplicate_member", "more than one .png"), None, None]


def test_the_same_key_in_two_shards_is_read_twice_and_noted(store: Store) -> None:
    for name, size in (("a", 24), ("b", 32)):
        store.create(f"{name}.tar", tar_of([*sample_files("same", height=size), *FILES[:3]]))
    found = source_plan(store)
    assert [[s.key for s in chunk.samples] for chunk in found.chunks] == [["same", "s0"]] * 2
    assert [(f.slug, f.harmless) for f in found.findings] == [("same_keys", True)]
    assert found.undamaged() == found.chunks


def test_keys_of_the_same_hash_are_not_the_same_keys(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.source.plan.hashes_of", lambda keys: np.zeros(len(keys), np.int64)
    )
    for name in "abc":
        store.create(f"{name}.tar", tar_of([*sample_files(f"same-{name}"), *sample_files(name)]))
    store.create("d.tar", tar_of([*sample_files("d"), *sample_files("b"), *sample_files("same-a")]))
    details = [finding.detail for finding in source_plan(store).findings]
    assert details == [f"2, the first is 'b', also in {store.at('b.tar')}"]


def test_a_chunk_is_cut_by_bytes_too_and_found_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.source.plan.MAX_CHUNK", 1000)
    sizes = [400, 600, 1, 3000, 1000, 500, 500, 500]
    store.create("a.tar", tar_of([(f"s{i}.png", bytes(n)) for i, n in enumerate(sizes)]))
    chunks = planned(store, chunk_size=3)
    keys = [[sample.key for sample in chunk.samples] for chunk in chunks]
    assert keys == [["s0", "s1"], ["s2"], ["s3"], ["s4"], ["s5", "s6"], ["s7"]]
    samples = scan_shard(store.at("a.tar"), SOURCE).samples
    for chunk in chunks:
        assert {around(samples, s.key, 3) for s in chunk.samples} == {chunk.samples}
    assert around(samples, "none", 3) == ()


def test_findings_are_bounded_and_the_others_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.source.shards.MAX_FINDINGS", 2)
    monkeypatch.setattr("pipeline.source.shards.MAX_MEMBERS", 2)
    outside = [(f"../{'x' * 300}{i}.png", b"") for i in range(5)]
    store.create("a.tar", tar_of([*FILES[:3], *outside], tarfile.PAX_FORMAT))
    scan = scan_shard(store.at("a.tar"), SOURCE)
    slugs = [finding.slug for finding in scan.findings]
    assert slugs == ["outside_name", "outside_name", "more_findings", "too_many_members"]
    assert scan.findings[2].detail == "3 outside_name"
    assert [len(sample.members) for sample in scan.samples] == [2]


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
    monkeypatch.setattr("pipeline.source.pick.MAX_IMAGE", 5000)
    store.create("a.tar", tar_of([("a.png", bytes(5001)), ("b.png", b"1")]))
    (chunk,) = planned(store)
    reads.clear()
    a, b = read_chunk(chunk, SOURCE)
    assert a.problem is not None
    assert a.problem[0] == "member_too_large"
    assert b.image == b"1"
    assert sum(reads) == 1
