"""Laws of labels files."""

import json

import numpy as np
import pytest

from pipeline.labels import MAX_BYTES, labels_json, read_labels
from schemas.errors import SampleError
from schemas.sample import Instances, Sample

HW = (6, 8)
MASK = {"size": [6, 8], "counts": [7, 2, 39]}


def file(**fields: object) -> bytes:
    record = {"width": 8, "height": 6, "boxes": [[1, 1, 3, 4]], "labels": ["cell"]}
    return json.dumps({**record, **fields}).encode()


def written(instances: Instances | None, extra: tuple[tuple[str, str], ...] = ()) -> bytes:
    return labels_json(Sample("k", np.zeros((*HW, 3), np.uint8), instances, None, extra=extra))


def slug(data: bytes, classes: tuple[str, ...] | None = None) -> str:
    with pytest.raises(SampleError) as caught:
        read_labels(data, HW, classes)
    return caught.value.slug


def test_what_is_read_is_written_back_as_it_was() -> None:
    data = file(boxes=[[1, 1, 3, 4.25]], masks=[MASK], source="a.tif", scan={"nm": [1.5, None]})
    instances, extra = read_labels(data, HW)
    assert json.loads(written(instances, extra)) == json.loads(data)
    assert read_labels(written(instances, extra), HW)[1] == extra


def test_the_same_sample_gives_the_same_bytes() -> None:
    instances, extra = read_labels(file(source="ü"), HW)
    assert written(instances, extra) == (
        b'{"width":8,"height":6,"boxes":[[1,1,3,4]],"labels":["cell"],"source":"\\u00fc"}'
    )


def test_no_objects_and_no_annotation_are_two_things() -> None:
    none, _ = read_labels(file(boxes=[], labels=[]), HW)
    absent, _ = read_labels(b'{"width": 8, "height": 6}', HW)
    assert none is not None
    assert len(none) == 0
    assert absent is None
    assert json.loads(written(none))["boxes"] == []
    assert "boxes" not in json.loads(written(absent))


def test_boxes_that_are_missing_are_those_of_the_masks() -> None:
    instances, _ = read_labels(file(boxes=None, masks=[MASK]), HW)
    assert instances is not None
    assert instances.boxes_n4.tolist() == [[1, 1, 2, 3]]


def test_up_to_one_pixel_outside_is_cut_off() -> None:
    instances, _ = read_labels(file(boxes=[[-1, 0, 9, 6.5]]), HW)
    assert instances is not None
    assert instances.boxes_n4.tolist() == [[0, 0, 8, 6]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "bad_labels"),
        (b"{", "bad_labels"),
        (b"[]", "bad_labels"),
        (b"\xff", "bad_labels"),
        (b"[" * 100_000, "bad_labels"),
        (b'{"x": ' + b"9" * 5000 + b"}", "bad_labels"),
        (b" " * (MAX_BYTES + 1), "labels_too_large"),
        (file(width=9), "size_mismatch"),
        (file(boxes={}), "bad_labels"),
        (file(boxes=[[1, 2, 3]]), "bad_labels"),
        (file(boxes=[[1, 2, 3, "4"]]), "bad_labels"),
        (file(boxes=[[1, 2, 3, True]]), "bad_labels"),
        (file(labels=[1]), "bad_labels"),
        (file(labels=["\ud800"]), "bad_labels"),
        (file(labels=None), "bad_labels"),
        (file(labels=[]), "count_mismatch"),
        (file(masks=[]), "count_mismatch"),
        (file(note=float("nan")), "bad_labels"),
        (file(boxes=[[1, 1, float("nan"), 4]]), "box_not_finite"),
        (file(boxes=[[1, 1, 3, float("inf")]]), "box_not_finite"),
        (file(boxes=[[1, 1, 3, 10**400]]), "box_not_finite"),
        (file(boxes=[[3, 1, 1, 4]]), "box_reversed"),
        (file(boxes=[[1, 1, 1, 4]]), "box_empty"),
        (file(boxes=[[8, 1, 9, 4]]), "box_empty"),
        (file(boxes=[[1, 1, 9.5, 4]]), "box_out_of_range"),
        (file(masks=[{"size": [8, 6], "counts": [48]}]), "bad_mask"),
        (file(masks=[{"size": [6, 8], "counts": [47]}]), "bad_mask"),
        (file(masks=[{"size": [6, 8], "counts": "47"}]), "bad_mask"),
        (file(masks=[{"size": [6, 8], "counts": [40, 8.0]}]), "bad_mask"),
        (file(masks=[{"size": [6, 8], "counts": [48]}]), "bad_mask"),
        (file(masks=["x"]), "bad_mask"),
    ],
)
def test_what_is_wrong_has_a_slug(data: bytes, expected: str) -> None:
    assert slug(data) == expected


def test_classes_are_those_of_the_recipe() -> None:
    assert read_labels(file(), HW, ("cell",))[0] is not None
    assert slug(file(), ("nucleus",)) == "unknown_class"


def test_masks_are_bounded_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.labels.MAX_MASK_PIXELS", 95)
    assert slug(file(masks=[MASK, MASK])) == "labels_too_large"
