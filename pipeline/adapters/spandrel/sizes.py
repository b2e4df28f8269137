"""What sizes of images a network takes, met by reflection: every window of the padded image is one
that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.diffusion.buckets import Shape

if TYPE_CHECKING:
    from spandrel import SizeRequirements


def legal_tile(sizes: SizeRequirements, wanted: int) -> int:
    """The tile of about this side that the network takes; one for square images of one size takes
    no other.
    """
    more: int = sizes.get_padding(wanted, wanted)[0]
    return int(sizes.minimum) if sizes.square else wanted + more


def padded(shape: Shape, tile: int, sizes: SizeRequirements) -> Shape:
    """The size to pad an image to: where a side is longer than the tile only windows of it, as long
    as the tile, are looked at.
    """
    height, width = (min(side, tile) for side in shape)
    right, bottom = sizes.get_padding(width, height)
    return max(shape[0], height + bottom), max(shape[1], width + right)
