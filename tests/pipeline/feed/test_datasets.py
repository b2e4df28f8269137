"""Laws of the datasets: torchvision's target dict, labels over their pixels, any transform."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from jobs.run.plan import RunPlan
from pipeline.catalog import real, woven
from pipeline.feed import DetectionDataset, SegmentationDataset
from pipeline.feed.datasets import Detection, per_box
from schemas.errors import RecipeError, SampleError
from schemas.recipe import Source
from tests.pipeline.shards import labels, png, tar_of
from tests.pipeline.woven_sets import BOXES

FLIP = v2.RandomHorizontalFlip(p=1.0)


def paint_is_under(item: Detection) -> bool:
    """Each box of the painted samples, and each mask, covers bright pixels and no others."""
    image, target = item
    bright = image.amin(dim=0) > 150
    under = torch.zeros_like(bright)
    for x0, y0, x1, y1 in torch.as_tensor(target["boxes"]).round().int().tolist():
        under[y0:y1, x0:x1] = True
    masks = torch.as_tensor(target["masks"]).any(dim=0)
    return bool(torch.equal(bright, under) and torch.equal(bright, masks))


def test_a_target_is_what_torchvisions_detection_references_take(masked: Source) -> None:
    image, target = DetectionDataset(real(masked))[3]
    assert isinstance(image, tv_tensors.Image)
    assert (image.shape, image.dtype) == ((3, 27, 39), torch.uint8)
    assert target.keys() == {"boxes", "labels", "masks", "image_id", "area", "iscrowd"}
    boxes, masks = target["boxes"], target["masks"]
    assert isinstance(boxes, tv_tensors.BoundingBoxes)
    assert (boxes.format, boxes.canvas_size) == (tv_tensors.BoundingBoxFormat.XYXY, (27, 39))
    assert boxes.dtype == torch.float32
    assert boxes.tolist() == [list(box) for box in BOXES]
    assert isinstance(masks, tv_tensors.Mask)
    assert (masks.shape, masks.dtype) == ((2, 27, 39), torch.uint8)
    same = {"labels": [1, 1], "area": [64.0, 168.0], "iscrowd": [0, 0]}
    for name, values in same.items():
        assert torch.as_tensor(target[name]).tolist() == values
    kinds = [torch.as_tensor(target[name]).dtype for name in same]
    assert kinds == [torch.int64, torch.float32, torch.int64]
    assert target["image_id"] == 3


@pytest.mark.parametrize(
    "transform",
    [
        FLIP,
        v2.Compose([FLIP, v2.RandomVerticalFlip(p=1.0)]),
        v2.Compose([v2.RandomCrop((14, 20)), v2.SanitizeBoundingBoxes(labels_getter=per_box)]),
        v2.Resize((54, 78), interpolation=v2.InterpolationMode.NEAREST),
    ],
    ids=["flip", "flips", "crop", "resize"],
)
def test_after_a_transform_labels_are_over_the_pixels_that_they_are_of(
    masked: Source, transform: v2.Transform
) -> None:
    data = DetectionDataset(real(masked), transforms=transform)
    plain = DetectionDataset(real(masked))
    assert all(paint_is_under(plain[i]) for i in range(len(plain)))
    torch.manual_seed(3)
    items = [data[i] for i in (3, 3, 3)]
    assert all(paint_is_under(item) for item in items)
    for _, target in items:
        counts = {len(torch.as_tensor(v)) for k, v in target.items() if k != "image_id"}
        assert len(counts) == 1


def test_a_map_keeps_its_ids_and_its_unlabelled_pixels(masked: Source) -> None:
    image, ids = SegmentationDataset(real(masked))[1]
    assert isinstance(ids, tv_tensors.Mask)
    assert (ids.shape, ids.dtype) == (image.shape[1:], torch.int64)
    assert bool((ids[0] == 255).all())
    assert bool(((image.amin(dim=0) > 150)[1:] == (ids == 1)[1:]).all())


def test_classes_in_another_order_renumber_the_map(masked: Source) -> None:
    plain = SegmentationDataset(real(masked))[0][1]
    other = SegmentationDataset(real(masked), classes=("cell", "dirt", "background"))[0][1]
    table = torch.arange(256)
    table[:2] = torch.tensor([2, 0])
    assert torch.equal(torch.as_tensor(other), table[torch.as_tensor(plain)])


def test_woven_samples_are_read_like_real_ones(planned: RunPlan) -> None:
    catalog = woven(planned.recipe.sink, runs=[planned.run])
    data, maps = DetectionDataset(catalog), SegmentationDataset(catalog, ("background", "cell"))
    assert (len(data), data.classes) == (12, ("cell",))
    for i in range(len(data)):
        (image, target), (_, ids) = data[i], maps[i]
        assert image.shape[1:] == ids.shape
        assert torch.as_tensor(target["labels"]).tolist() == [1, 1]


def test_deep_images_keep_their_16_bits(tmp_path: Path) -> None:
    deep = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32) * 80
    files = [("a.png", png(deep)), ("a.json", labels(24, 32, BOXES))]
    (tmp_path / "a.tar").write_bytes(tar_of(files))
    image, _ = DetectionDataset(real(Source(shards=(f"{tmp_path}/a.tar",))), ["cell"])[0]
    assert (image.shape, image.dtype) == ((1, 24, 32), torch.uint16)
    assert np.array_equal(image.numpy()[0], deep)


def test_an_image_without_objects_has_empty_tensors_of_the_same_kinds(tmp_path: Path) -> None:
    files = [("a.png", png(np.zeros((6, 7, 3), np.uint8))), ("a.json", labels(6, 7, [], masks=[]))]
    (tmp_path / "a.tar").write_bytes(tar_of(files))
    _, target = DetectionDataset(real(Source(shards=(f"{tmp_path}/a.tar",))), ["cell"])[0]
    shapes = {k: tuple(torch.as_tensor(v).shape) for k, v in target.items()}
    one = (0,)
    assert shapes == {"boxes": (0, 4), "labels": one, "area": one, "iscrowd": one,
                      "masks": (0, 6, 7), "image_id": ()}  # fmt: skip


def test_what_cannot_be_numbered_is_refused_by_name(masked: Source) -> None:
    catalog = real(masked)
    with pytest.raises(SampleError, match=r"unknown_class: 'cell'.*train-0.tar.*'m0'"):
        DetectionDataset(catalog, ["nucleus"])[0]
    with pytest.raises(RecipeError, match="the class 'cell' too"):
        SegmentationDataset(catalog, ["background"])
    nameless = real(masked.model_copy(update={"classes": None, "labels": "json"}))
    with pytest.raises(RecipeError, match="give `classes`"):
        DetectionDataset(nameless)
    with pytest.raises(RecipeError, match="twice"):
        DetectionDataset(nameless, ["cell", "cell"])
    with pytest.raises(RecipeError, match="segmentation is null"):
        SegmentationDataset(real(masked.model_copy(update={"segmentation": None})))


def test_a_dataset_travels_to_a_worker(masked: Source) -> None:
    data = DetectionDataset(real(masked), transforms=FLIP)
    other = pickle.loads(pickle.dumps(data))
    assert torch.equal(other[4][0], data[4][0])
    assert other.digest == data.digest
