"""Labels drawn over an image: where the lines are, and in which colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.pictures.overlay import PALETTE, Look, draw, look_for
from schemas.sample import Instances, Sample
from tests.pipeline.ops.examples import painted

GREEN = (60, 220, 90)


def grey(boxes: list[list[float]], height: int = 60, width: int = 80) -> Sample:
    image = np.full((height, width, 3), 128, np.uint8)
    labels = tuple("disc" for _ in boxes)
    return Sample("k", image, Instances(np.array(boxes, float).reshape(-1, 4), labels), None)


def near(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a picture has about this colour."""
    return np.abs(np.asarray(picture).astype(int) - colour).sum(axis=-1) < 60


def test_the_lines_of_a_box_lie_on_its_edges() -> None:
    lines = near(draw(grey([[20, 10, 60, 40]]), Look({"disc": GREEN}), 2), GREEN)
    rows, columns = np.flatnonzero(lines.any(axis=1)), np.flatnonzero(lines.any(axis=0))
    assert [columns[0], rows[0], columns[-1], rows[-1]] == pytest.approx([40, 20, 120, 80], abs=2)
    assert not lines[24:76, 44:116].any()


def test_a_box_on_the_border_keeps_all_its_lines() -> None:
    lines = near(draw(grey([[0, 0, 80, 60]]), Look({"disc": GREEN})), GREEN)
    for edge in (lines[:2], lines[-2:], lines[:, :2], lines[:, -2:]):
        assert edge.any(axis=0 if edge.shape[0] == 2 else 1).mean() > 0.9


def test_a_class_has_one_colour_on_all_pictures() -> None:
    one, two = painted(count=1), painted(count=2)
    look = look_for([one, two])
    assert look.colours == {
        "class 1": PALETTE[0],
        "class 2": PALETTE[1],
        "disc": PALETTE[2],
        "rod": PALETTE[3],
    }
    assert look.colour("unknown") not in PALETTE


def test_class_ids_go_by_their_names_and_share_the_colours_of_boxes() -> None:
    look = look_for([painted()], ("background", "disc", "rod"))
    assert sorted(look.colours) == ["disc", "rod"]


def test_pixels_outside_all_labels_stay_as_they_are() -> None:
    sample = painted(60, 90, count=1, masks=True)
    far = np.ones((60, 90), bool)
    x0, y0, x1, y1 = sample.objects.boxes_n4[0].astype(int)
    far[y0 - 4 : y1 + 4, max(0, x0 - 4) : x1 + 4] = False
    drawn = np.asarray(draw(sample, look_for([sample])))
    assert np.array_equal(drawn[far], sample.image_hwc[far])
    assert not np.array_equal(drawn, sample.image_hwc)


def test_instance_masks_and_class_regions_are_tinted_in_their_colour() -> None:
    shape = np.zeros((60, 80), bool)
    shape[20:40, 20:60] = True
    plain = grey([])
    look = Look({"disc": GREEN}, ("background", "disc"))
    with_mask = replace(
        grey([[20, 20, 60, 40]]),
        instances=Instances(np.array([[20.0, 20, 60, 40]]), ("disc",), shape[None]),
    )
    with_map = replace(plain, class_map_hw=shape.astype(np.uint8))
    for sample in (with_mask, with_map):
        drawn = np.asarray(draw(sample, look)).astype(int)
        inside = drawn[25:35, 25:55]
        assert (inside[..., 1] > inside[..., 0] + 5).all()
        assert (drawn[:10] == 128).all()


def test_any_size_can_be_drawn() -> None:
    for hw in ((1, 1), (2, 300), (16, 16)):
        sample = painted(*hw)
        assert draw(sample, look_for([sample]), 3).size == (hw[1] * 3, hw[0] * 3)
