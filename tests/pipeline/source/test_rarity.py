"""`budget.rare`: factors by the classes' shares, and copies by the factors."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.source.plan import Chunk, plan
from pipeline.source.rarity import class_factors, copies_of, read_classes, with_rare_copies
from schemas.recipe import Budget, Source
from tests.pipeline.shards import sample_files, tar_of

COMMON, RARE = ("cell", "cell"), ("cell", "rare")


def chunks_of(
    folder: Path, labels: Sequence[object], chunk_size: int = 2
) -> tuple[list[Chunk], Source]:
    """A shard with a sample for each of these: class names, bytes of a labels file, or None."""
    files = []
    for i, wanted in enumerate(labels):
        for name, data in sample_files(f"s{i}"):
            if name.endswith(".json"):
                files += [] if wanted is None else [(name, _labelled(data, wanted))]
            else:
                files.append((name, data))
    (folder / "a.tar").write_bytes(tar_of(files))
    source = Source(shards=(str(folder / "a.tar"),), classes=("cell", "rare"))
    return list(plan(source, chunk_size, "digest").chunks), source


def _labelled(data: bytes, wanted: object) -> bytes:
    if isinstance(wanted, bytes):
        return wanted
    return json.dumps({**json.loads(data), "labels": wanted}).encode()


def test_a_class_below_the_share_gets_the_root_of_how_much_it_is_below() -> None:
    names = [RARE] + [COMMON] * 15
    factors = class_factors(names, Budget(rare=0.25, most=9))
    assert factors == {"rare": pytest.approx(math.sqrt(0.25 * 16)), "cell": 1.0}
    assert list(factors) == ["rare", "cell"]
    assert class_factors(names, Budget(rare=0.25, most=1.5))["rare"] == 1.5


def test_boxes_of_a_class_in_one_image_count_as_one_image() -> None:
    often = class_factors([("rare",) * 50, *[("cell",)] * 15], Budget(rare=1, most=9))
    assert often["rare"] == pytest.approx(4)


def test_copies_are_on_average_what_the_factor_says_and_never_fewer_than_its_whole() -> None:
    copies = [copies_of(1.3, 2, 7, f"k{i}") for i in range(2000)]
    assert set(copies) == {2, 3}
    assert sum(copies) / 2000 == pytest.approx(2.6, abs=0.04)
    assert copies == [copies_of(1.3, 2, 7, f"k{i}") for i in range(2000)]
    assert copies != [copies_of(1.3, 2, 8, f"k{i}") for i in range(2000)]
    assert {copies_of(1.0, 3, 7, f"k{i}") for i in range(50)} == {3}
    assert copies_of(100, 1000, 7, "k") == 1000


def test_the_classes_of_every_sample_are_read_and_bad_labels_are_nobodys(tmp_path: Path) -> None:
    unknown = {"boxes": [[1, 1, 2, 2]], "labels": ["alien"]}
    labels = [RARE, b"no json", None, COMMON, json.dumps(unknown).encode()]
    chunks, source = chunks_of(tmp_path, labels)
    told: list[int] = []
    names = read_classes(chunks, source, told.append)
    assert names == [[RARE, None], [(), COMMON], [None]]
    assert told == [1, 2, 3]


def test_only_chunks_whose_copies_differ_from_the_usual_are_other_chunks(tmp_path: Path) -> None:
    chunks, source = chunks_of(tmp_path, [COMMON, RARE, COMMON, COMMON, None, b"{"])
    names = read_classes(chunks, source, lambda n: None)
    shared, rarity = with_rare_copies(chunks, names, 2, 3, Budget(rare=0.8, most=9))
    assert [chunk.copies(2) for chunk in shared] == [(2, 4), (2, 2), (2, 2)]
    assert [chunk.attempts(2) for chunk in shared] == [6, 4, 4]
    assert [a.id == b.id for a, b in zip(chunks, shared, strict=True)] == [False, True, True]
    more, _ = with_rare_copies(chunks, names, 2, 3, Budget(rare=0.8, most=1.5))
    assert len({chunks[0].id, shared[0].id, more[0].id}) == 3
    assert (rarity.images, rarity.unreadable) == (5, 1)
    rare, cell = rarity.classes
    assert (rare.name, rare.images, rare.boxes, rare.before, rare.after) == ("rare", 1, 1, 2, 4)
    assert (cell.images, cell.boxes, cell.before, cell.after) == (4, 7, 8, 10)
