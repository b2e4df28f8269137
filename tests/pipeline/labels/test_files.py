"""Laws of labels files."""

import json

import numpy as np
import pytest

from pipeline.labels.files import Labels, Rules, labels_json, read_labels, read_names
from pipeline.labels.geometry import boxes_from_masks
from pipeline.labels.strict_json import MAX_BYTES, MAX_DEPTH, MAX_THINGS
from schemas.errors import SampleError
from schemas.recipe import RepairPolicies
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
        read_labels(data, HW, Rules(classes))
    return caught.value.slug


def test_what_is_read_is_written_back_as_it_was() -> None:
    data = file(boxes=[[1, 1, 3, 4.25]], masks=[MASK], source="a.tif", scan={"nm": [1.5, None]})
    found = read_labels(data, HW)
    assert json.loads(written(found.instances, found.extra)) == json.loads(data)
    assert read_labels(written(found.instances, found.extra), HW).extra == found.extra


def test_the_same_sample_gives_the_same_bytes() -> None:
    found = read_labels(file(source="ü"), HW)
    assert written(found.instances, found.extra) == (
        b'{"width":8,"height":6,"boxes":[[1,1,3,4]],"labels":["cell"],"source":"\\u00fc"}'
    )


def test_no_objects_and_no_annotation_are_two_things() -> None:
    none = read_labels(file(boxes=[], labels=[]), HW).instances
    absent = read_labels(b'{"width": 8, "height": 6}', HW).instances
    assert none is not None
    assert len(none) == 0
    assert absent is None
    assert json.loads(written(none))["boxes"] == []
    assert "boxes" not in json.loads(written(absent))


def test_boxes_that_are_missing_are_those_of_the_masks() -> None:
    instances = read_labels(file(boxes=None, masks=[MASK]), HW).instances
    assert instances is not None
    assert instances.boxes_n4.tolist() == [[1, 1, 2, 3]]


def test_up_to_one_pixel_outside_is_cut_off() -> None:
    instances = read_labels(file(boxes=[[-1, 0, 9, 6.5]]), HW).instances
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
        (b"[" * (MAX_THINGS + 1), "labels_too_large"),
        (b'{"boxes": [], "boxes": []}', "bad_labels"),
        (b'{"x": {"y": 1, "y": 1}}', "bad_labels"),
        (b'{"x": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}", "bad_labels"),
        (file(width=9), "size_mismatch"),
        (file(width=[]), "size_mismatch"),
        (file(width=float("nan")), "size_mismatch"),
        (file(height=10**4000), "size_mismatch"),
        (file(boxes={}), "bad_labels"),
        (file(boxes=[[1, 2, 3]]), "bad_labels"),
        (file(boxes=[[1, 2, 3, "4"]]), "bad_labels"),
        (file(boxes=[[1, 2, 3, True]]), "bad_labels"),
        (file(labels=[1]), "bad_labels"),
        (file(labels=["\ud800"]), "bad_labels"),
        (file(labels=[""]), "bad_labels"),
        (file(labels=["x" * 257]), "bad_labels"),
        (file(note=float("-inf")), "bad_labels"),
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


def test_a_message_stays_short_whatever_the_file_holds() -> None:
    for data in (file(height=10**4000), file(labels=["é" * 10**5]), file(masks=["x" * 10**5])):
        with pytest.raises(SampleError) as caught:
            read_labels(data, HW)
        assert len(caught.value.detail) < 200


def test_what_is_as_deep_as_it_may_be_is_carried_along() -> None:
    value = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    found = read_labels(f'{{"note":{value}}}'.encode(), HW)
    assert found.extra == (("note", value),)
    assert f'"note":{value}'.encode() in written(None, found.extra)


def test_classes_are_those_of_the_recipe() -> None:
    assert read_labels(file(), HW, Rules(("cell",))).instances is not None
    assert slug(file(), ("nucleus",)) == "unknown_class"


def mended(data: bytes, classes: tuple[str, ...] | None = None, **policies: str) -> Labels:
    return read_labels(data, HW, Rules(classes, RepairPolicies.model_validate(policies)))


def done(found: Labels) -> list[tuple[str, str, str]]:
    return [(repair.slug, repair.policy, repair.detail) for repair in found.repairs]


GOOD_BOX, GOOD_MASK = [1, 1, 3, 4], MASK


@pytest.mark.parametrize(
    ("slug_", "box", "mask", "label"),
    [
        ("box_not_finite", [1, 1, float("nan"), 4], GOOD_MASK, "cell"),
        ("box_reversed", [3, 1, 1, 4], GOOD_MASK, "cell"),
        ("box_empty", [1, 1, 1, 4], GOOD_MASK, "cell"),
        ("box_out_of_range", [1, 1, 30, 4], GOOD_MASK, "cell"),
        ("bad_mask", GOOD_BOX, {"size": [8, 6], "counts": [7, 2, 39]}, "cell"),
        ("bad_mask", GOOD_BOX, {"size": [6, 8], "counts": [48]}, "cell"),
        ("bad_mask", GOOD_BOX, None, "cell"),
        ("unknown_class", GOOD_BOX, GOOD_MASK, "dot"),
    ],
)
def test_an_object_with_a_fault_is_left_out_where_the_recipe_says_so(
    slug_: str, box: list[float], mask: object, label: str
) -> None:
    first, last = {"size": [6, 8], "counts": [0, 1, 47]}, {"size": [6, 8], "counts": [47, 1]}
    data = file(
        boxes=[[0, 0, 1, 1], box, [7, 5, 8, 6]],
        labels=["cell", label, "nucleus"],
        masks=[first, mask, last],
    )
    classes = ("cell", "nucleus")
    with pytest.raises(SampleError, match=slug_):
        mended(data, classes)
    found = mended(data, classes, **{slug_: "drop_box"})
    assert found.instances is not None
    assert found.instances.boxes_n4.tolist() == [[0, 0, 1, 1], [7, 5, 8, 6]]
    assert found.instances.labels == ("cell", "nucleus")
    assert found.instances.masks_nhw is not None
    assert np.argwhere(found.instances.masks_nhw).tolist() == [[0, 0, 0], [1, 5, 7]]
    ((done_slug, policy, detail),) = done(found)
    assert (done_slug, policy) == (slug_, "drop_box")
    assert " 1: " in detail
    others = {name: "drop_box" for name in RepairPolicies.model_fields if name != slug_}
    with pytest.raises(SampleError, match=slug_):
        mended(data, classes, **others)


def test_a_box_is_clipped_and_what_is_left_of_it_is_held_against_the_rest() -> None:
    data = file(boxes=[[1, 1, 30, 4], [-9, 1, -3, 4]], labels=["a", "b"])
    with pytest.raises(SampleError, match="box_empty"):
        mended(data, box_out_of_range="clip")
    found = mended(data, box_out_of_range="clip", box_empty="drop_box")
    assert found.instances is not None
    assert found.instances.boxes_n4.tolist() == [[1, 1, 8, 4]]
    assert found.instances.labels == ("a",)
    assert done(found) == [
        ("box_out_of_range", "clip", "box 0: [1.0, 1.0, 30.0, 4.0]"),
        ("box_empty", "drop_box", "box 1: [-9.0, 1.0, -3.0, 4.0]"),
    ]


def test_the_class_of_an_object_is_looked_at_before_its_box() -> None:
    data = file(boxes=[[3, 1, 1, 4]], labels=["crowd"])
    found = mended(data, ("cell",), unknown_class="drop_box")
    assert found.instances is not None
    assert (len(found.instances), found.instances.boxes_n4.shape) == (0, (0, 4))
    assert read_names(data, Rules(("cell",), RepairPolicies(unknown_class="drop_box"))) == ()
    with pytest.raises(SampleError, match="unknown_class"):
        read_names(data, Rules(("cell",)))


def test_a_bad_mask_without_a_box_goes_with_its_object() -> None:
    masks = [{"size": [6, 8], "counts": [48]}, MASK]
    found = mended(file(boxes=None, labels=["a", "b"], masks=masks), bad_mask="drop_box")
    assert found.instances is not None
    assert found.instances.boxes_n4.tolist() == [[1, 1, 2, 3]]
    assert found.instances.labels == ("b",)


def test_labels_of_the_stored_frame_come_out_upright() -> None:
    masks = [{"size": [6, 8], "counts": [48]}, MASK]
    data = file(boxes=[[0, 0, 1, 1], [1, 1, 2, 3]], labels=["a", "b"], masks=masks)
    found = read_labels(data, HW, Rules(None, RepairPolicies(bad_mask="drop_box")), 6).instances
    assert found is not None and found.masks_nhw is not None
    assert found.masks_nhw.shape == (1, 8, 6)
    assert boxes_from_masks(found.masks_nhw).tolist() == found.boxes_n4.tolist() == [[3, 1, 5, 2]]


def test_masks_are_bounded_before_they_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.labels.files.MAX_MASK_PIXELS", 95)
    data = file(boxes=[[1, 1, 3, 4]] * 2, labels=["a", "b"], masks=[MASK, MASK])
    assert slug(data) == "labels_too_large"
