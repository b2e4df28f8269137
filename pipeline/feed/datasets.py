"""Map-style datasets of torch over a catalog: tv_tensors, ready for `torchvision.transforms.v2`.

`DetectionDataset` gives an image and the target dict of torchvision's detection references:

    boxes     BoundingBoxes float32 (n, 4), xyxy     image_id  int, the sample's number
    labels    int64 (n,), from 1; 0 is background    area      float32 (n,), of the boxes
    masks     Mask uint8 (n, h, w), where there are  iscrowd   int64 (n,), 0

`SegmentationDataset` gives an image and its class-id map, a Mask int64 (h, w), 255 where nobody
labelled (`ignore_index=255`). Images are Image uint8 (3, h, w), or uint16 (1, h, w) where they are
deep. Classes are numbered in the order of `classes`, by default that of the source's recipe; a
class that is not among them is a SampleError, as it would turn into background.

`transforms` takes image and target, and gives both back: any transform of v2. One that drops boxes
needs to be told what goes with them: `v2.SanitizeBoundingBoxes(labels_getter=per_box)`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors

from pipeline.catalog import Catalog
from pipeline.feed.order import shuffled
from pipeline.labels.geometry import areas
from schemas.errors import RecipeError, SampleError
from schemas.sample import IGNORE_ID, Sample

Target = dict[str, Tensor | int]
"""What torchvision's detection models are trained with."""

Detection = tuple[Tensor, Target]
Segmentation = tuple[Tensor, Tensor]
ItemT = TypeVar("ItemT")


class _OfCatalog(Dataset[ItemT]):
    """What both have."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __len__(self) -> int:
        return len(self.catalog)

    @property
    def local(self) -> bool:
        """Whether all is on this machine's disk."""
        return self.catalog.local

    @property
    def digest(self) -> str:
        """Of what is in it, and in which order."""
        return self.catalog.digest

    def order(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """The samples of an epoch: every one, once."""
        return shuffled(len(self), seed, epoch)


class DetectionDataset(_OfCatalog[Detection]):
    """Images with boxes, and with instance masks where the samples have them."""

    def __init__(
        self,
        catalog: Catalog,
        classes: Sequence[str] | None = None,
        transforms: Callable[[Tensor, Target], Detection] | None = None,
    ) -> None:
        if catalog.layout.labels is None:
            raise RecipeError("source.labels is null: there are no boxes to train on")
        super().__init__(catalog)
        self.transforms = transforms
        self.classes = _named(classes, catalog.layout.classes, "classes")
        self._numbers = {name: i + 1 for i, name in enumerate(self.classes)}

    def __getitem__(self, i: int) -> Detection:
        item = detection(self.catalog.sample(i), self._numbers, i)
        return item if self.transforms is None else self.transforms(*item)


class SegmentationDataset(_OfCatalog[Segmentation]):
    """Images with class-id maps. `classes` may stand in another order than the source's: then the
    maps are renumbered.
    """

    def __init__(
        self,
        catalog: Catalog,
        classes: Sequence[str] | None = None,
        transforms: Callable[[Tensor, Tensor], Segmentation] | None = None,
    ) -> None:
        layout = catalog.layout
        if layout.segmentation is None:
            raise RecipeError("source.segmentation is null: there are no class-id maps to train on")
        super().__init__(catalog)
        self.transforms = transforms
        self.classes = _named(classes, layout.seg_classes, "seg_classes")
        self._table = _renumbering(layout.seg_classes or self.classes, self.classes)

    def __getitem__(self, i: int) -> Segmentation:
        sample = self.catalog.sample(i)
        if sample.class_map_hw is None:  # decode refuses a sample without
            raise AssertionError("no class-id map")
        ids_hw = self._table[sample.class_map_hw]
        if int(ids_hw.min(initial=0)) < 0:
            top = int(sample.class_map_hw[ids_hw < 0].max())
            where = f"{self.catalog.tar(i)}: sample {sample.key!r}"
            raise SampleError("unknown_class_id", f"{top}; classes: {self.classes} ({where})")
        item = image_of(sample), tv_tensors.Mask(torch.from_numpy(ids_hw))
        return item if self.transforms is None else self.transforms(*item)


def detection(sample: Sample, numbers: dict[str, int], image_id: int) -> Detection:
    """A sample as torchvision's detectors take it."""
    objects = sample.objects
    unknown = [name for name in objects.labels if name not in numbers]
    if unknown:
        where = f"{sample.lineage.shard}: sample {sample.key!r}"
        says = f"{unknown[0]!r}; classes: {', '.join(numbers)} ({where})"
        raise SampleError("unknown_class", says)
    boxes_n4 = torch.from_numpy(objects.boxes_n4.astype(np.float32).reshape(-1, 4))
    canvas = (sample.height, sample.width)
    target: Target = {
        "boxes": tv_tensors.BoundingBoxes(boxes_n4, format="XYXY", canvas_size=canvas),
        "labels": torch.tensor([numbers[name] for name in objects.labels], dtype=torch.int64),
        "image_id": image_id,
        "area": torch.from_numpy(areas(objects.boxes_n4).astype(np.float32)),
        "iscrowd": torch.zeros(len(objects), dtype=torch.int64),
    }
    if objects.masks_nhw is not None:
        target["masks"] = tv_tensors.Mask(torch.from_numpy(objects.masks_nhw.astype(np.uint8)))
    return image_of(sample), target


def per_box(inputs: Detection) -> list[Tensor | int]:
    """What `v2.SanitizeBoundingBoxes` must thin out together with the boxes."""
    return [inputs[1][name] for name in ("labels", "area", "iscrowd")]


def image_of(sample: Sample) -> Tensor:
    """The pixels, channels first."""
    chw = np.ascontiguousarray(sample.image_hwc.transpose(2, 0, 1))
    image: Tensor = tv_tensors.Image(torch.from_numpy(chw))
    return image


def _named(given: Sequence[str] | None, known: Sequence[str] | None, name: str) -> tuple[str, ...]:
    classes = tuple(given or known or ())
    if not classes:
        raise RecipeError(f"the source names no {name}: give `classes`, in the order of their ids")
    if len(set(classes)) < len(classes):
        raise RecipeError(f"classes: one stands twice in {', '.join(classes)}")
    return classes


def _renumbering(stored: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """The id in `classes` by the id in the maps; -1 for one that no class has."""
    unknown = [name for name in stored if name not in classes]
    if unknown:
        says = f"the maps have the class {unknown[0]!r} too"
        raise RecipeError(f"classes: {', '.join(classes)}: {says}")
    table = np.full(256, -1, np.int64)
    table[: len(stored)] = [classes.index(name) for name in stored]
    table[IGNORE_ID] = IGNORE_ID
    return table
