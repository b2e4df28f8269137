"""What a student is shown at each step."""

from __future__ import annotations

import numpy as np

from pipeline.lift.feed import Feed, Showing, cut, resized
from pipeline.ops.classic import Classic
from schemas.sample import IGNORE_ID
from tests.pipeline.lift.discs import SIDE, disc_sample

REAL = [disc_sample(n) for n in range(4)]
MADE = [disc_sample(n) for n in range(100, 103)]


def feed(
    share: tuple[float, float] = (0.5, 0.5), made: bool = True, classic: Classic | None = None
) -> Feed:
    showing = Showing(32, 1.0, None, classic)
    return Feed(REAL, MADE if made else [], share, showing, steps=20, batch=4, seed=3)


def made_at(feed: Feed, step: int) -> int:
    return sum(int(crop.sample.key[1:]) >= 100 for crop in feed.at(step))


def test_every_batch_is_full_and_has_its_share_of_augmented_images() -> None:
    counts = [made_at(feed((0.5, 0.5)), step) for step in range(20)]
    assert counts == [2] * 20
    assert all(len(feed().at(step)) == 4 for step in (0, 19))


def test_a_share_that_is_no_whole_number_of_crops_is_right_over_the_steps() -> None:
    assert sum(made_at(feed((0.3, 0.3)), step) for step in range(20)) == 24


def test_a_falling_share_falls_in_a_line() -> None:
    counts = [made_at(feed((1.0, 0.0)), step) for step in range(20)]
    assert counts[0] == 4 and counts[-1] == 0 and sum(counts) == 40
    assert sum(counts[:10]) > 2 * sum(counts[10:])


def test_the_labelled_crops_are_the_same_in_every_arm() -> None:
    alone = [crop for step in range(10) for crop in feed(made=False).at(step)]
    beside = [c for s in range(20) for c in feed().at(s) if int(c.sample.key[1:]) < 100]
    assert len(alone) == len(beside)
    for a, b in zip(alone, beside, strict=True):
        np.testing.assert_array_equal(a.values_hwc, b.values_hwc)


def test_every_image_comes_once_before_one_comes_again() -> None:
    keys = [crop.sample.key for crop in feed(made=False).at(5)]
    assert sorted(keys) == sorted(sample.key for sample in REAL)


def test_a_step_depends_on_its_number_alone() -> None:
    classic = Classic(transforms=({"D4": {}}, {"RandomGamma": {"p": 1.0}}))
    once, again = feed(classic=classic), feed(classic=classic)
    once.at(0)
    for a, b in zip(once.at(7), again.at(7), strict=True):
        np.testing.assert_array_equal(a.values_hwc, b.values_hwc)


def test_labels_move_with_the_transforms() -> None:
    classic = Classic(transforms=({"D4": {"p": 1.0}},))
    for step in range(5):
        for crop in feed(classic=classic).at(step):
            assert crop.sample.class_map_hw is not None
            bright = crop.sample.rgb_hwc[:, :, 0] > 120
            assert (bright == (crop.sample.class_map_hw == 1)).mean() > 0.99


def test_a_window_beyond_a_small_image_is_unlabelled() -> None:
    window = cut(REAL[0], 8, 0, SIDE)
    assert window.image_hwc.shape == (SIDE, SIDE, 3)
    assert window.class_map_hw is not None
    assert (window.class_map_hw[SIDE - 8 :] == IGNORE_ID).all()


def test_boxes_stay_on_their_discs_when_a_crop_is_cut_and_enlarged() -> None:
    for sample in REAL:
        window = resized(cut(sample, 4, 6, 40), 80, 80)
        for x0, y0, x1, y1 in window.objects.boxes_n4:
            assert window.rgb_hwc[int(y0 + y1) // 2, int(x0 + x1) // 2, 0] > 120
