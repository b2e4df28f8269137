"""Contact sheets: tiles in their place, never distorted, and captions that fit."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.pictures.drawing import (
    TILE_HEIGHT,
    TILE_WIDTH,
    Frame,
    Tile,
    contact_sheet,
    draw_labels,
    tile_scale,
)
from schemas.sample import ByteArray
from tests.pipeline.ops.examples import painted


def flat(height: int, width: int, colour: tuple[int, int, int]) -> ByteArray:
    return np.full((height, width, 3), colour, np.uint8)


def extent(sheet: ByteArray, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Height and width of what has exactly this colour."""
    found = (sheet == colour).all(axis=-1)
    rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
    return int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1)


@pytest.mark.parametrize("hw", [(60, 60), (480, 640), (2000, 500), (50, 900), (16, 16)])
def test_a_tile_is_never_distorted(hw: tuple[int, int]) -> None:
    sheet = np.asarray(contact_sheet([[Tile(flat(*hw, (200, 30, 30)))]]))
    height, width = extent(sheet, (200, 30, 30))
    assert height <= TILE_HEIGHT and width <= TILE_WIDTH
    assert height == TILE_HEIGHT or width == TILE_WIDTH
    assert height / width == pytest.approx(hw[0] / hw[1], rel=0.06)
    assert tile_scale(*hw) == pytest.approx(height / hw[0], rel=0.06)


def test_small_images_are_enlarged_pixel_by_pixel() -> None:
    board = np.zeros((8, 8, 3), np.uint8)
    board[::2, ::2] = 255
    sheet = np.asarray(contact_sheet([[Tile(board)]]))
    assert set(np.unique(sheet).tolist()) == {0, 255}


def test_every_tile_of_ragged_rows_is_on_the_sheet() -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    rows = [[Tile(flat(40, 60, colours[0]))], [Tile(flat(60, 40, c)) for c in colours[1:]]]
    sheet = np.asarray(contact_sheet(rows, Frame("title", "note", ("a", "b"), ("one", "two"))))
    for colour in colours:
        assert (sheet == colour).all(axis=-1).sum() > 10_000


def test_captions_and_a_legend_take_their_room_and_change_no_tile() -> None:
    tile = flat(40, 60, (10, 120, 200))
    bare = contact_sheet([[Tile(tile)]])
    said = contact_sheet(
        [
            [
                Tile(
                    tile,
                    "a caption that is far too long for one line\nand a second\n" + "word " * 80,
                )
            ]
        ],
        Frame("title", "note", (), ("header",), {f"class {i}": (i, 9, 9) for i in range(30)}),
    )
    assert said.height > bare.height + 60
    assert extent(np.asarray(said), (10, 120, 200)) == extent(np.asarray(bare), (10, 120, 200))


def test_a_sheet_without_rows_is_still_a_picture() -> None:
    assert contact_sheet([], Frame("nothing to show")).height > 0


def test_labels_are_drawn_at_the_size_of_the_image() -> None:
    sample = painted(60, 90)
    drawn = draw_labels(sample)
    assert drawn.shape == sample.image_hwc.shape
    assert not np.array_equal(drawn, sample.image_hwc)
