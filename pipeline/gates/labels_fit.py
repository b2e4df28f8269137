"""Labels held against what a denoiser expects under them, object by object: a judge for those who
have no detector.

The image is noised, and a network that was trained with labels predicts it from there, told its own
labels and others: nothing is there, and every object is of another class. An object fits where
none of the others explains its pixels as well (`pipeline/diffusion/fit.py`). All objects change at
once, so that a sample costs as many looks as there are annotations, however many objects it has.

An object is the ellipse in its box, its mask where it has one; without boxes every connected piece
of the class-id map with an id other than 0 (background) and 255. The source, with the same noise,
is the yardstick as it is for a detector: an object that does not fit there is not expected to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from pipeline.gates.objects_seen import Seen, held_against
from pipeline.gates.once import once_each
from pipeline.model import Detections, FitJob, Fitter, Misfits
from pipeline.scene.recombine import without_objects
from pipeline.scene.shape import Shape, ellipse_in
from pipeline.seeds import noise_seed, rng_for
from schemas.errors import SampleError
from schemas.sample import IGNORE_ID, BoolArray, ByteArray, Instances, Sample

OTHER_CLASSES: Final = 2
"""Of how many other classes every object is said to be, one after the other."""
LEAST_PIECE: Final = 16
"""Pixels of a piece of a class-id map that counts as an object."""
NOTHING: Final = Detections(np.zeros((0, 4)), np.zeros(0), ())

Fits = BoolArray | SampleError
"""Per object of a sample, whether it fits; or why the model cannot tell."""


class FittersEye:
    """A denoiser that has looked at the sources."""

    def __init__(self, sources: Sequence[Sample], aligned: Sequence[bool], model: Fitter) -> None:
        fits = once_each(sources, lambda different: _fits(different, model))
        self._sources = list(zip((_objects(source) for source in sources), fits, strict=True))
        self._aligned, self._model = aligned, model

    def see(self, places: Sequence[int], samples: Sequence[Sample]) -> list[Seen]:
        """The samples at these places, each against its source; `blind` where the model cannot
        carry one of the two.
        """
        fits = _fits(samples, self._model)
        return [self._seen(*one) for one in zip(places, samples, fits, strict=True)]

    def _seen(self, place: int, sample: Sample, fits: Fits) -> Seen:
        before, fitted = self._sources[place]
        if isinstance(fits, SampleError) or isinstance(fitted, SampleError):
            return Seen((), NOTHING, aligned=False, blind=True)
        aligned = self._aligned[place]
        seen = held_against((before, fitted), (_objects(sample), fits), aligned)
        return Seen(seen, NOTHING, aligned=aligned and sample.instances is not None)


def _fits(samples: Sequence[Sample], model: Fitter) -> list[Fits]:
    objects = [_objects(sample) for sample in samples]
    asked = [i for i in range(len(samples)) if len(objects[i])]
    jobs = [_job(samples[i], model) for i in asked]
    misfits = dict(zip(asked, model.misfits(jobs) if jobs else [], strict=True))
    out: list[Fits] = []
    for i, sample in enumerate(samples):
        errors = misfits.get(i)
        if isinstance(errors, SampleError):
            out.append(errors)
        elif errors is None:
            out.append(np.zeros(0, bool))
        else:
            out.append(_fitting(_shapes(objects[i], sample), errors))
    return out


def _job(sample: Sample, model: Fitter) -> FitJob:
    """The same noise for a source and all its copies: what differs is the picture."""
    noise = noise_seed(rng_for(0, sample.key, 0, "labels_fit"))
    return FitJob(sample.image_hwc, (sample, *_others(sample, model)), noise)


def _fitting(shapes: Sequence[Shape], misfits: Misfits) -> BoolArray:
    """Per shape, whether the first claim makes the smallest error there."""
    fits = np.zeros(len(shapes), bool)
    for i, shape in enumerate(shapes):
        if shape.area:
            there = misfits[:, *shape.window][:, shape.mask_hw].mean(axis=1, dtype=np.float64)
            fits[i] = bool((there[1:] > there[0]).all())
    return fits


def _others(sample: Sample, model: Fitter) -> list[Sample]:
    """Annotations that are wrong for every object: that it is not there, that it is another's."""
    if sample.instances is not None:
        turns = range(1, min(OTHER_CLASSES, len(model.classes) - 1) + 1)
        return [without_objects(sample), *(_renamed(sample, model, by) for by in turns)]
    ids = sample.class_map_hw
    assert ids is not None
    count = len(model.seg_classes) - 1
    tables = [np.where(_things(), np.uint8(0), np.arange(256))]
    for by in range(1, min(OTHER_CLASSES, count - 1) + 1):
        turned = np.arange(256)
        turned[1 : count + 1] = (np.arange(count) + by) % count + 1
        tables.append(turned)
    return [replace(sample, class_map_hw=table.astype(np.uint8)[ids]) for table in tables]


def _renamed(sample: Sample, model: Fitter, by: int) -> Sample:
    """Every object of the class that comes so many places later; in the class-id map, too, where
    it has both names.
    """
    names = model.classes
    other = {name: names[(i + by) % len(names)] for i, name in enumerate(names)}
    objects, ids = sample.objects, sample.class_map_hw
    if ids is not None:
        table = np.arange(256, dtype=np.uint8)
        for old, new in other.items():
            if old in model.seg_classes and new in model.seg_classes:
                table[model.seg_classes.index(old)] = model.seg_classes.index(new)
        ids = table[ids]
    labels = tuple(other.get(label, label) for label in objects.labels)
    return replace(sample, instances=replace(objects, labels=labels), class_map_hw=ids)


def _objects(sample: Sample) -> Instances:
    """What is judged: the instances, or the pieces of the class-id map, named by their ids."""
    if sample.instances is not None or sample.class_map_hw is None:
        return sample.objects
    boxes, labels, masks = [], [], []
    for number in np.unique(sample.class_map_hw[_things()[sample.class_map_hw]]).tolist():
        for piece in _pieces(sample.class_map_hw == number):
            boxes.append(piece.box)
            labels.append(str(number))
            masks.append(piece.drawn(sample.height, sample.width))
    stacked = np.stack(masks) if masks else np.zeros((0, sample.height, sample.width), bool)
    return Instances(np.array(boxes, np.float64).reshape(-1, 4), tuple(labels), stacked)


def _pieces(mask_hw: BoolArray) -> list[Shape]:
    count, numbers_hw, stats, _ = cv2.connectedComponentsWithStats(mask_hw.astype(np.uint8))
    big = [i for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= LEAST_PIECE]
    return [Shape.of(numbers_hw == i) for i in big]


def _things() -> BoolArray:
    """Per class id, whether its pixels are an object's."""
    ids: ByteArray = np.arange(256, dtype=np.uint8)
    return ~np.isin(ids, (0, IGNORE_ID))


def _shapes(objects: Instances, sample: Sample) -> list[Shape]:
    if objects.masks_nhw is not None:
        return [Shape.of(mask) for mask in objects.masks_nhw]
    return [ellipse_in(box, sample.height, sample.width) for box in objects.boxes_n4]
