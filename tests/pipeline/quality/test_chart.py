"""A chart shows every line in its colour, inside its frame."""

from __future__ import annotations

import numpy as np

from pipeline.quality.chart import SIZE, Line, chart


def test_a_rising_line_goes_from_the_lower_left_to_the_upper_right() -> None:
    picture = np.asarray(chart([Line("rising", [(0.0, 0.0), (1.0, 1.0)])], "x"))
    assert picture.shape == (SIZE[1], SIZE[0], 3)
    plot = picture[20:340, 56:620].astype(int)
    blue = (plot[:, :, 2] - plot[:, :, 0]) > 100
    rows, columns = np.nonzero(blue)
    assert np.corrcoef(rows, columns)[0, 1] < -0.99


def test_the_band_is_shaded_and_the_rest_is_white() -> None:
    picture = np.asarray(chart([], "x", (0.2, 0.5)))
    middle = picture[50]
    assert (middle[56 + int(0.35 * 564)] < 250).any()
    assert (middle[56 + int(0.7 * 564)] == 255).all()
