"""From a network's class numbers to the dataset's names: what detectors and segmenters of every
make share.

Several numbers may have one name. A number without a name is something that the dataset does not
know: a detection of it is left out, a pixel of it has the id `IGNORE_ID`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.labels.geometry import areas, clip
from pipeline.model import ClassMap, Detections
from pipeline.problems import shown
from schemas.errors import ModelError
from schemas.sample import IGNORE_ID, ByteArray, FloatArray

Classes = Mapping[int, str]
Numbers = NDArray[np.int64]


def names_of(classes: Classes) -> tuple[str, ...]:
    """The dataset's names, each once, in the order of their numbers."""
    return tuple(dict.fromkeys(classes[number] for number in sorted(classes)))


def check_numbers(where: str | Path, classes: Classes, legal: range) -> None:
    """ModelError where `classes` names a number that the network does not have."""
    odd = [number for number in sorted(classes) if number not in legal]
    if odd:
        meant = f"{odd[0]}: {shown(classes[odd[0]])}"
        background = "; 0 is its background" if legal.start == 1 and odd[0] == 0 else ""
        raise ModelError(
            f"{where}: classes: there is no class {meant}; "
            f"its classes are {legal.start} to {legal.stop - 1}{background}"
        )
    if len(names_of(classes)) > IGNORE_ID:
        raise ModelError(f"{where}: classes: more than {IGNORE_ID} names")


def named_detections(
    boxes_n4: FloatArray,
    scores_n: FloatArray,
    numbers_n: Numbers,
    classes: Classes,
    least: float,
    hw: tuple[int, int],
) -> Detections:
    """Those with a name and a score of `least` or more, best first, cut at the image's border. What
    has no area there, or is no number, is none.
    """
    cut = clip(boxes_n4, *hw)
    known = np.isin(numbers_n, list(classes))
    finite = np.isfinite(boxes_n4).all(axis=1) & np.isfinite(scores_n)
    kept = np.flatnonzero(known & finite & (scores_n >= least) & (areas(cut) > 0))
    best_first = kept[np.argsort(-scores_n[kept], kind="stable")]
    labels = tuple(classes[int(number)] for number in numbers_n[best_first])
    return Detections(cut[best_first], scores_n[best_first], labels)


def named_map(numbers_hw: Numbers, classes: Classes) -> ClassMap:
    """Class numbers of pixels as positions in the names."""
    names = names_of(classes)
    ids: ByteArray = np.full(numbers_hw.shape, IGNORE_ID, np.uint8)
    for number, name in classes.items():
        ids[numbers_hw == number] = names.index(name)
    return ClassMap(ids, names)
