"""Every slug: it is found, with the fate that is promised, and nothing is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.importing.converting import Imported, convert
from pipeline.importing.findings import SLUGS, Finding
from pipeline.importing.masks import read_masks
from schemas.errors import RunError, SourceError
from tests.pipeline.importing.broken import (
    PATCH,
    SCENARIOS,
    TRIANGLE,
    H,
    W,
    annotated,
    coco,
    labelme,
    one,
    picture,
    rle,
    shape,
    yolo,
)
from tests.pipeline.importing.exports import png, put, read_back


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    yield
    PATCH.undo()


def test_there_is_a_scenario_for_every_slug() -> None:
    assert SCENARIOS.keys() == SLUGS.keys()


@pytest.mark.parametrize("slug", SCENARIOS)
def test_a_mistake_is_found_and_nothing_is_lost(slug: str, tmp_path: Path) -> None:
    fate, scenario = SCENARIOS[slug]
    done = convert(scenario(tmp_path / "in"), tmp_path / "out")
    rows = {(row.slug, row.fate): row for row in done.report.rows}
    assert (slug, fate) in rows, rows.keys()
    assert rows[slug, fate].place
    for counts in (done.report.images(), done.report.annotations()):
        assert counts.read == counts.kept + counts.repaired + sum(counts.dropped.values())
    samples = read_back(done.out)  # what is written can be read
    assert len(samples) == done.report.images().kept
    boxes = sum(len(sample.objects) for sample in samples.values())
    assert boxes == done.report.annotations().kept + done.report.annotations().repaired
    record = json.loads((done.out / "report.json").read_text())
    assert slug in {row["slug"] for row in record["findings"]}


def written(done: Imported, key: str = "a") -> dict[str, object]:
    (sample,) = [s for k, s in read_back(done.out).items() if k == key]
    masks_nhw = sample.objects.masks_nhw
    return {
        "boxes": sample.objects.boxes_n4.tolist(),
        "areas": None if masks_nhw is None else masks_nhw.sum(axis=(1, 2)).tolist(),
    }


def test_a_box_is_cut_at_the_border_and_the_report_says_by_how_much(tmp_path: Path) -> None:
    broken = annotated(one([W - 2, 3, 7, 5]), one([W - 1, 3, 3, 5], id=10))
    done = convert(broken(tmp_path / "in"), tmp_path / "out")
    assert written(done)["boxes"] == [[14, 3, 16, 8], [15, 3, 16, 8]]
    (row,) = done.report.rows
    assert (row.count, row.worst_px) == (2, 5.0)


def test_one_broken_mask_leaves_the_boxes_of_its_image(tmp_path: Path) -> None:
    broken = annotated(one(segmentation=rle(1, 2)), one([8, 2, 4, 4], [[8, 2, 12, 2, 12, 6, 8, 6]]))
    done = convert(broken(tmp_path / "in"), tmp_path / "out")
    assert written(done) == {"boxes": [[2, 3, 6, 8], [8, 2, 12, 6]], "areas": None}
    assert done.report.annotations().repaired == 2


def test_a_mask_without_a_usable_box_gives_its_own(tmp_path: Path) -> None:
    broken = annotated(one([float("nan")] * 4, [[2, 3, 6, 3, 6, 8, 2, 8]]))
    done = convert(broken(tmp_path / "in"), tmp_path / "out")
    assert written(done) == {"boxes": [[2, 3, 6, 8]], "areas": [20]}


def test_a_crowd_is_an_object_where_it_is_asked_for(tmp_path: Path) -> None:
    crowd = one([0, 10, 2, 2], rle(10, 5, W * H - 15), iscrowd=1)
    done = convert(coco(tmp_path / "in", crowd, keep_crowds=True), tmp_path / "out")
    assert written(done)["areas"] == [5]


def test_shapes_of_one_group_are_one_object(tmp_path: Path) -> None:
    parts = [shape("polygon", (x, 2), (x + 3, 2), (x + 3, 4), (x, 4), group_id=1) for x in (2, 8)]
    done = convert(
        labelme(tmp_path / "in", *parts, {**TRIANGLE, "group_id": None}), tmp_path / "out"
    )
    assert written(done)["boxes"][0] == [2, 2, 11, 4]  # type: ignore[index]
    assert written(done)["areas"][0] == 12  # type: ignore[index]
    assert done.report.annotations().kept == 3


def test_a_circle_has_the_area_of_a_circle(tmp_path: Path) -> None:
    done = convert(labelme(tmp_path / "in", shape("circle", (8, 6), (12, 6))), tmp_path / "out")
    (area,) = written(done)["areas"]  # type: ignore[misc]
    assert abs(area - 3.1416 * 16) < 4


def test_black_and_white_masks_are_refused_until_their_numbers_have_names(tmp_path: Path) -> None:
    white = np.zeros((H, W), np.uint8)
    white[3:6] = 255
    images = put(tmp_path / "images/a.png", picture()).parent
    maps = put(tmp_path / "masks/a.png", png(white)).parent
    with pytest.raises(SourceError, match="--class 255="):
        read_masks(images, maps)
    dataset = read_masks(images, maps, ids={0: "background", 255: "cell"})
    assert dataset.seg_classes == ("background", "cell")
    done = convert(dataset, tmp_path / "out")
    map_hw = read_back(done.out, segmentation=True)["a"].class_map_hw
    assert map_hw is not None
    assert np.array_equal(map_hw, white // 255)


def test_an_import_that_loses_an_annotation_stops_and_leaves_nothing(tmp_path: Path) -> None:
    dataset = coco(tmp_path / "in", one())
    with pytest.raises(RunError, match="1 of 3 annotations lost"):
        convert(replace(dataset, annotations=3), tmp_path / "out")
    with pytest.raises(RunError, match="1 of 1 images too many"):
        convert(replace(dataset, images=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_slug_that_is_not_in_the_list_cannot_be_reported() -> None:
    with pytest.raises(ValueError, match="no slug"):
        Finding("oops", "noted", "here")


def test_an_image_without_a_label_file_is_one_without_objects(tmp_path: Path) -> None:
    done = convert(yolo(tmp_path / "in", None), tmp_path / "out")
    assert written(done)["boxes"] == []
