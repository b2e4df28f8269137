"""A new layout for a sample: its instances and its class-id map, made of its kin's instances.

As many objects of each class as one of its kin has, each with the shape of some instance of its
class, at places drawn by the statistics (`scene/layout.py`). Where the dataset has masks or a
class-id map, a shape is a donor's, later objects lie behind earlier ones, and boxes are tight to
what is seen; with boxes alone an object is a box, turned like the ellipse in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from pipeline.op import Peers
from pipeline.scene.cutout import cutout, object_id
from pipeline.scene.layout import Kin, Limits, Placed, place, scale_for, scene, turned_box
from pipeline.scene.shape import Shape
from pipeline.scene.warp import warped_shape
from schemas.sample import (
    IGNORE_ID,
    NO_INSTANCES,
    BoolArray,
    ByteArray,
    FloatArray,
    Instances,
    Sample,
)

MOST_BEHIND: Final = 0.1
"""Share of a shape that may lie behind others: masks in the data do not overlap, boxes do."""
LEAST_SEEN: Final = 4
"""Pixels of an object in the image."""


def draw_layout(sample: Sample, kin: Kin, rng: Generator) -> list[Placed]:
    """Which objects, where; fewer than were wanted where there is no place for them."""
    limits, peers = kin.limits(), {peer.key: peer for peer in kin.samples}
    model = kin.one(rng)
    share = sample.height * sample.width / (model.height * model.width)
    count = max(1, round(len(model.objects) * share))
    labels = [model.objects.labels[i % len(model.objects)] for i in range(count)]
    canvas = _Canvas(sample)
    placed: list[Placed] = []
    for label in rng.permutation(np.array(labels)):
        one = canvas.placed(limits[str(label)], peers, rng)
        if one is not None:
            placed.append(one)
    return placed


class _Canvas:
    """What is taken so far, while a layout is drawn."""

    def __init__(self, sample: Sample) -> None:
        self._hw = sample.height, sample.width
        self._shaped = is_shaped(sample)
        self._taken = np.zeros(self._hw, bool)
        self._boxes: list[FloatArray] = []

    def placed(self, limits: Limits, peers: Peers, rng: Generator) -> Placed | None:
        """One more object of a class, and its place taken."""
        key, i = self._donor(limits, peers, rng)
        donor = peers[key]
        scale = scale_for(float(scene(donor).size_n[i]), limits, rng)
        angle = float(rng.uniform(-limits.turn, limits.turn))
        one = Placed(key, i, 0.0, 0.0, round(scale, 3), round(angle, 1), bool(rng.integers(2)))

        def cost(x: float, y: float) -> float:
            shape, whole = self._shape(one._replace(x=x, y=y), donor)
            seen = shape.area
            behind = int(self._taken[shape.window][shape.mask_hw].sum()) if self._shaped else 0
            legal = seen >= max(LEAST_SEEN, 0.3 * whole) and behind <= MOST_BEHIND * seen
            return 0.0 if legal else np.inf

        there = np.array(self._boxes).reshape(-1, 4)
        sides = turned_box(donor.objects.boxes_n4[i], one.scale, one.angle)
        at = place(limits, sides, self._hw, there, rng, cost, more_come=True)
        if at is None:
            return None
        one = one._replace(x=at[0], y=at[1])
        shape, _ = self._shape(one, donor)
        self._taken[shape.window] |= shape.mask_hw
        self._boxes.append(shape.box)
        return one

    def _shape(self, one: Placed, donor: Sample) -> tuple[Shape, int]:
        shape = placed_shape(one, donor, self._shaped)
        return shape.inside(*self._hw), shape.area

    def _donor(self, limits: Limits, peers: Peers, rng: Generator) -> tuple[str, int]:
        for _ in range(8):
            key, i = limits.donor(rng)
            if not self._shaped or cutout(peers[key], i).clean:
                break
        return key, i


def is_shaped(sample: Sample) -> bool:
    """Whether its labels hold more of an object than its box."""
    return sample.objects.masks_nhw is not None or sample.class_map_hw is not None


def placed_shape(one: Placed, donor: Sample, shaped: bool) -> Shape:
    """A donor's shape at its new place, also what lies outside the image; its box, filled, where
    only boxes count.
    """
    box = donor.objects.boxes_n4[one.i]
    if not shaped:
        half = np.maximum(turned_box(box, one.scale, one.angle) / 2, 0.5)
        centre = np.array([one.x, one.y])
        x0, y0 = np.round(centre - half).astype(int)
        x1, y1 = np.round(centre + half).astype(int)
        return Shape(np.ones((max(y1 - y0, 1), max(x1 - x0, 1)), bool), int(y0), int(x0))
    shape = cutout(donor, one.i).shape
    return warped_shape(shape, (box[:2] + box[2:]) / 2, one)


def with_layout(sample: Sample, layout: list[Placed], peers: Peers) -> Sample:
    """The sample with this layout for labels; its image as it was."""
    hw, shaped = (sample.height, sample.width), is_shaped(sample)
    ids = None if sample.class_map_hw is None else ground_ids(sample)
    taken, boxes, labels = np.zeros(hw, bool), [], []
    masks: list[BoolArray] = []
    for one in layout:
        donor = peers[one.key]
        shape = placed_shape(one, donor, shaped).inside(*hw)
        if shaped:
            shape = Shape.of(shape.mask_hw & ~taken[shape.window], shape.top, shape.left)
        if shape.area == 0:
            continue
        taken[shape.window] |= shape.mask_hw
        boxes.append(shape.box)
        labels.append(donor.objects.labels[one.i])
        if sample.objects.masks_nhw is not None:
            masks.append(shape.drawn(*hw))
        if ids is not None:
            own = object_id(donor, cutout(donor, one.i).shape)
            ids[shape.window][shape.mask_hw] = IGNORE_ID if own is None else own
    stacked = np.stack(masks) if masks else np.zeros((0, *hw), bool)
    instances = Instances(
        np.array(boxes, np.float64).reshape(-1, 4),
        tuple(labels),
        stacked if sample.objects.masks_nhw is not None else None,
    )
    return replace(sample, instances=instances, class_map_hw=ids)


def ground_ids(sample: Sample) -> ByteArray:
    """The class-id map without its objects: each of their pixels takes the nearest other id."""
    ids = sample.class_map_hw
    assert ids is not None
    objects = np.zeros(ids.shape, bool)
    for i, box in enumerate(sample.objects.boxes_n4):
        own = object_id(sample, cutout(sample, i).shape)
        x0, y0 = np.floor(box[:2]).astype(int)
        x1, y1 = np.ceil(box[2:]).astype(int)
        if own is not None:
            objects[y0:y1, x0:x1] |= ids[y0:y1, x0:x1] == own
    if not objects.any() or objects.all():
        return np.where(objects, np.uint8(0), ids)
    _, nearest = cv2.distanceTransformWithLabels(
        objects.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros(int(nearest.max()) + 1, np.uint8)
    table[nearest[~objects]] = ids[~objects]
    filled: ByteArray = table[nearest]
    return filled


def without_objects(sample: Sample) -> Sample:
    """The sample with nothing in it."""
    ids = None if sample.class_map_hw is None else ground_ids(sample)
    instances = None if sample.instances is None else NO_INSTANCES
    if sample.objects.masks_nhw is not None:
        none = np.zeros((0, sample.height, sample.width), bool)
        instances = Instances(np.zeros((0, 4)), (), none)
    return replace(sample, instances=instances, class_map_hw=ids)
