"""Fingerprints of a source: made once for each shard, and the same whenever they are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.chain.attempts import TRIES, begin
from pipeline.flow.fingerprinting import fingerprints, make_known, shard_images
from pipeline.known.fingerprint import looks, small_gray
from pipeline.known.images import Known, known_path, load_known, missing_of, read_fingerprints
from pipeline.source.plan import plan
from pipeline.storage.store import Store
from schemas.errors import SinkError, SourceError
from schemas.recipe import Source
from tests.pipeline.known_images import known_images
from tests.pipeline.shards import sample_files, tar_of


def source_in(folder: Path) -> Source:
    """Two shards; one image of the first is none."""
    for number in range(2):
        files = [f for n in range(3) for f in sample_files(f"s{number}{n}", 24 + 8 * n)]
        files[0] = (files[0][0], b"no image" if number == 0 else files[0][1])
        (folder / f"train-{number}.tar").write_bytes(tar_of(files))
    return Source(shards=(f"{folder}/train-*.tar",), segmentation="seg.png")


def made(source: Source, store: Store, chunk_size: int = 2) -> list[str]:
    """The paths of the fingerprints of all shards, which are there now."""
    shards = shard_images(plan(source, chunk_size, "recipe").chunks)
    for one in shards:
        make_known(store, one, source)
    return [known_path(one.shard, source) for one in shards]


def test_every_image_that_can_be_read_has_one(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "out"))
    paths = made(source_in(tmp_path), store)
    keys = [read_fingerprints(store, path)["key"].to_pylist() for path in paths]
    assert keys == [["s01", "s02"], ["s10", "s11", "s12"]]
    known = load_known(store, paths)
    assert len(known) == 5
    assert known.grays_n.nbytes + known.hashes_n.nbytes == 5 * 4104


def test_they_depend_on_the_shard_alone_and_are_never_replaced(tmp_path: Path) -> None:
    source, store, other = source_in(tmp_path), Store(f"{tmp_path}/out"), Store(f"{tmp_path}/two")
    paths = made(source, store, chunk_size=1)
    assert made(source, other, chunk_size=3) == paths
    assert [store.read(path) for path in paths] == [other.read(path) for path in paths]
    before = [store.stat(path) for path in paths]
    made(source, store)
    assert [store.stat(path) for path in paths] == before


def test_a_new_shard_is_all_that_is_missing_later(tmp_path: Path) -> None:
    source, store = source_in(tmp_path), Store(f"{tmp_path}/out")
    paths = made(source, store)
    assert missing_of(store, paths) == []
    (tmp_path / "train-9.tar").write_bytes(tar_of(sample_files("s90", 40)))
    shards = shard_images(plan(source, 2, "recipe").chunks)
    new = [known_path(one.shard, source) for one in shards]
    assert missing_of(store, new) == [new[2]]
    assert new[:2] == paths


def test_another_layout_has_files_of_its_own(tmp_path: Path) -> None:
    source = source_in(tmp_path)
    (shard, *_) = (one.shard for one in shard_images(plan(source, 2, "recipe").chunks))
    assert known_path(shard, source) != known_path(shard, source.model_copy(update={"image": ()}))


def test_a_shard_that_cannot_be_read_is_the_usual_error(tmp_path: Path) -> None:
    source = source_in(tmp_path)
    (first, *_) = shard_images(plan(source, 2, "recipe").chunks)
    (tmp_path / "train-0.tar").unlink()
    with pytest.raises(SourceError, match="is gone since the run was planned"):
        make_known(Store(f"{tmp_path}/out"), first, source)


def test_an_image_that_kills_its_process_is_left_out_after_some_deaths(tmp_path: Path) -> None:
    source, store = source_in(tmp_path), Store(f"{tmp_path}/out")
    shard = shard_images(plan(source, 2, "recipe").chunks)[1]
    for _ in range(TRIES + 1):  # of the first death nobody knows what was in hand
        dying = begin(store, "run", "fingerprints-1", "session")
        if dying.careful:
            dying.in_hand(1, "s11")
    careful = begin(store, "run", "fingerprints-1", "session")
    table = fingerprints(shard.chunks, source, careful)
    assert table["key"].to_pylist() == ["s10", "s12"]
    whole = fingerprints(shard.chunks, source)
    assert whole.filter([True, False, True]) == table  # the others are as ever


def test_a_file_that_is_missing_or_something_else_is_named(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(SinkError, match=r"fingerprints/a\.parquet"):
        load_known(store, ["fingerprints/a.parquet"])
    store.create("fingerprints/a.parquet", b"no parquet")
    with pytest.raises(SinkError, match=r"a\.parquet: not fingerprints"):
        load_known(store, ["fingerprints/a.parquet"])


def test_nothing_is_known_of_no_image() -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    eight = looks(small_gray(image))
    assert Known.of([]).reproduced(eight, eight) == 0
    other = looks(small_gray(255 - image))
    assert known_images([image]).reproduced(eight, other) == pytest.approx(1, abs=1e-3)
    assert known_images([image]).reproduced(eight, eight) == 0
