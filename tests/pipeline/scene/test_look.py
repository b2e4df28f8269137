"""The look of an image, measured and given to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.diffusion.tone import Curve
from pipeline.scene.look import look_of, restyled
from schemas.sample import ByteArray, FloatArray, ImageArray, Instances, Sample

CELLS = ((10, 10, 30, 30), (50, 14, 74, 38), (20, 44, 44, 64))


def scene(
    cells: Sequence[tuple[int, int, int, int]] = CELLS,
    ground: Sequence[float] = (200, 205, 190),
    cell: Sequence[float] = (150, 90, 110),
    labelled: int = 99,
) -> Sample:
    """Cells on a ground, with a grain of a gray level; the first few of them labelled."""
    image = np.broadcast_to(np.array(ground, float), (80, 96, 3)).copy()
    rows, columns = np.mgrid[:80, :96]
    for x0, y0, x1, y1 in cells:
        x, y = (columns + 0.5 - (x0 + x1) / 2) / (x1 - x0), (rows + 0.5 - (y0 + y1) / 2) / (y1 - y0)
        image[x**2 + y**2 <= 0.25] = cell
    image += np.random.default_rng(0).normal(0, 1, (80, 96, 1))
    boxes = np.array(cells[:labelled], float).reshape(-1, 4)
    return Sample("k", pixels(image), Instances(boxes, ("cell",) * len(boxes)), None)


def pixels(image: FloatArray) -> ByteArray:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def apart(a: ImageArray, b: ImageArray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


CURVES = pytest.mark.parametrize("curve", ["linear", "sqrt"])


@CURVES
def test_in_its_own_look_an_image_stays_as_it_is(curve: Curve) -> None:
    assert apart(restyled(scene(), scene(), curve), scene().image_hwc) < 0.5


@CURVES
def test_ground_and_objects_take_the_donors_colours(curve: Curve) -> None:
    donor = scene(cells=CELLS[:1], ground=(170, 160, 190), cell=(120, 50, 100))
    wanted = scene(ground=(170, 160, 190), cell=(120, 50, 100))
    assert apart(restyled(scene(), donor, curve), wanted.image_hwc) < 4
    assert apart(scene().image_hwc, wanted.image_hwc) > 20


def test_a_dim_gray_picture_gets_bright_and_stays_gray() -> None:
    dim, bright = scene(ground=(5,) * 3, cell=(22,) * 3), scene(ground=(30,) * 3, cell=(180,) * 3)
    made = restyled(dim, bright, "sqrt")
    assert (made == made[:, :, :1]).all()
    assert np.median(made[:8, :8]) == pytest.approx(30, abs=4)
    assert np.median(made[16:24, 16:24]) == pytest.approx(180, abs=12)


def test_how_many_objects_a_donor_has_changes_nothing() -> None:
    made = restyled(scene(), scene(cells=CELLS[1:2]), "linear")
    assert apart(made, scene().image_hwc) < 1.5


def test_objects_without_a_label_are_not_taken_for_ground() -> None:
    look = look_of(scene(labelled=1), "linear")
    assert look.ground_c * 255 == pytest.approx([200, 205, 190], abs=2)
    assert np.abs(look.light_hwc).max() * 255 < 3


def test_light_that_falls_from_one_side_is_carried_over() -> None:
    slope = np.linspace(-20, 20, 96)[None, :, None]
    plain = scene()
    lit = Sample("l", pixels(plain.image_hwc + slope), plain.instances, None)
    made = restyled(plain, lit, "linear").astype(float)
    assert made[:, -10:].mean() - made[:, :10].mean() > 12
    back = restyled(lit, plain, "linear").astype(float)
    assert abs(back[:5, -10:].mean() - back[:5, :10].mean()) < 20  # of 36


def test_without_labels_only_the_ground_is_matched() -> None:
    bare = Sample("b", scene().image_hwc, None, None)
    donor = scene(ground=(180, 185, 170))
    made = restyled(bare, donor, "linear").astype(int)
    assert np.abs(made - scene().image_hwc + 20).mean() < 2


def test_the_further_the_colours_the_more_different_the_looks() -> None:
    own = look_of(scene(), "sqrt")
    greys = [look_of(scene(ground=(200 - d, 205 - d, 190 - d)), "sqrt") for d in (0, 15, 60)]
    distances = [own.distance(other) for other in greys]
    assert distances == sorted(distances)
    assert distances[0] < 0.01
    assert own.distance(look_of(scene(cell=(60, 10, 20)), "sqrt")) > 0.05


@pytest.mark.parametrize("hw", [(1, 1), (2, 30), (9, 7)])
def test_any_size_can_be_given_a_look(hw: tuple[int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
    boxes = Instances(np.array([[0.0, 0, hw[1], hw[0]]]), ("cell",))
    small = Sample("s", image, boxes, None)
    for pair in [(small, scene()), (scene(), small)]:
        assert restyled(*pair, "sqrt").shape == pair[0].image_hwc.shape
