"""EXIF: however an image is stored, its paint is under its labels when a run has read it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.importing.coco import read_coco
from pipeline.importing.converting import convert
from pipeline.importing.labelme import read_labelme
from pipeline.importing.masks import read_masks
from schemas.sample import BoolArray, ByteArray
from tests.pipeline.importing.exports import outline, png, put, read_back, runs, tight

H, W = 20, 28
STORED = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}
"""How a camera stores an upright picture under each orientation."""


def mask() -> BoolArray:
    """No symmetry: an L near a corner."""
    mask_hw = np.zeros((H, W), np.bool_)
    mask_hw[2:9, 3:7] = True
    mask_hw[6:9, 7:15] = True
    return mask_hw


def stored(upright: ByteArray, orientation: int) -> ByteArray:
    image = Image.fromarray(upright)
    for step in STORED[orientation]:
        image = image.transpose(step)
    return np.asarray(image)


def picture(orientation: int) -> tuple[bytes, int, int]:
    """White under the mask; its bytes, width and height as stored."""
    upright = np.repeat((mask() * 255).astype(np.uint8)[..., None], 3, -1)
    image = Image.fromarray(stored(upright, orientation))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, "png", exif=exif)
    return buffer.getvalue(), image.width, image.height


def check_paint(out: Path) -> None:
    (sample,) = read_back(out).values()
    assert sample.objects.masks_nhw is not None
    assert np.array_equal(sample.objects.masks_nhw[0], sample.image_hwc[..., 0] > 0)
    assert np.array_equal(sample.objects.masks_nhw[0], mask())
    assert sample.objects.boxes_n4.tolist() == [tight(mask())]


def coco(folder: Path, orientation: int, mask_hw: BoolArray) -> Path:
    data, *_ = picture(orientation)
    put(folder / "images/a.png", data)
    x0, y0, x1, y1 = tight(mask_hw)
    size = list(mask_hw.shape)
    one = {"image_id": 1, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    one |= {"segmentation": {"size": size, "counts": runs(mask_hw)}}
    image = {"id": 1, "file_name": "a.png", "width": size[1], "height": size[0]}
    record = {"images": [image], "annotations": [one], "categories": [{"id": 1, "name": "a"}]}
    return put(folder / "a.json", json.dumps(record))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_the_turned_image_are_turned_back(orientation: int, tmp_path: Path) -> None:
    file = coco(tmp_path, orientation, mask())
    dataset = read_coco(file, tmp_path / "images", split="train", keep_crowds=False)
    done = convert(dataset, tmp_path / "out")
    assert [row.slug for row in done.report.rows] == ["exif_turned"]
    check_paint(done.out)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_of_the_stored_image_stay(orientation: int, tmp_path: Path) -> None:
    file = coco(tmp_path, orientation, stored(mask(), orientation))
    dataset = read_coco(file, tmp_path / "images", split="train", keep_crowds=False)
    done = convert(dataset, tmp_path / "out")
    # where both have one size, it is said what was assumed
    unsure = ["exif_unsure"] if orientation in (2, 3, 4) else []
    assert [row.slug for row in done.report.rows] == unsure
    check_paint(done.out)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labelme_shows_images_upright(orientation: int, tmp_path: Path) -> None:
    put(tmp_path / "in/a.png", picture(orientation)[0])
    shape = {"label": "a", "points": outline(mask()), "shape_type": "polygon"}
    record = {"shapes": [shape], "imagePath": "a.png", "imageWidth": W, "imageHeight": H}
    put(tmp_path / "in/a.json", json.dumps(record))
    check_paint(convert(read_labelme(tmp_path / "in"), tmp_path / "out").out)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_class_id_map_is_turned_back_with_its_image(orientation: int, tmp_path: Path) -> None:
    put(tmp_path / "images/a.png", picture(orientation)[0])
    put(tmp_path / "masks/a.png", png(mask().astype(np.uint8)))
    dataset = read_masks(tmp_path / "images", tmp_path / "masks")
    done = convert(dataset, tmp_path / "out")
    assert [row.slug for row in done.report.rows] == ["class_map_rewritten"]
    (sample,) = read_back(done.out, segmentation=True).values()
    assert sample.class_map_hw is not None
    assert np.array_equal(sample.class_map_hw, mask())
