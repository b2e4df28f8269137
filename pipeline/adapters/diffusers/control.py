"""What a ControlNet is shown of a sample: its class-id map or objects in colours, the edges of its
image, or its depth.

Colours are those of PASCAL VOC: an id of a class-id map has the colour of its number, an object
that of its class there, or, where VOC has no such class, one that its name alone decides. `palette`
says otherwise, by the class name of an object or the number of an id ("1").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.adapters.diffusers.errors import WRONG, first_line
from pipeline.adapters.diffusers.hub import folder_of
from pipeline.labels.geometry import areas, touched
from schemas.errors import ModelError
from schemas.models import ControlNet, HubModel
from schemas.sample import BoolArray, ByteArray, Sample

if TYPE_CHECKING:
    from pathlib import Path

Colour = tuple[int, int, int]
Palette = Mapping[str, Colour]

CANNY: Final = (100, 200)
"""Thresholds of the edges, as the ControlNets for them were trained."""

_VOC = """
background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse
motorbike person pottedplant sheep sofa train tvmonitor
"""
VOC: Final = _VOC.split()


class Shown:
    """Makes a ControlNet's picture of a sample."""

    def __init__(self, spec: ControlNet, device: str) -> None:
        self._spec = spec
        self._palette: Palette = spec.palette or {}
        self._depth = None if spec.depth_model is None else Depth(spec.depth_model, device)

    def of(self, sample: Sample) -> ByteArray:
        """(h, w, 3) of the sample's size."""
        if self._spec.shows == "segmentation":
            return segmentation(sample, self._palette)
        if self._depth is not None:
            return self._depth.of(sample.rgb_hwc)
        return canny(sample.rgb_hwc)


def segmentation(sample: Sample, palette: Palette) -> ByteArray:
    """Every class in its colour: of the class-id map where there is one, else of the objects, the
    smaller in front.
    """
    if sample.class_map_hw is not None:
        colours = np.array(
            [palette.get(str(number), voc_colour(number)) for number in range(256)], np.uint8
        )
        return colours[sample.class_map_hw]
    ground = palette.get("background", palette.get("0", voc_colour(0)))
    image: ByteArray = np.full((sample.height, sample.width, 3), ground, np.uint8)
    objects = sample.objects
    for i in np.argsort(-areas(objects.boxes_n4), kind="stable"):
        label = objects.labels[i]
        where: BoolArray | tuple[slice, slice] = (
            touched(objects.boxes_n4[i]) if objects.masks_nhw is None else objects.masks_nhw[i]
        )
        image[where] = palette.get(label, colour_of(label))
    return image


def colour_of(name: str) -> Colour:
    """VOC's colour of a class; of one that VOC does not have, that of a number from its name."""
    if name in VOC:
        return voc_colour(VOC.index(name))
    beyond = 255 - len(VOC)
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return voc_colour(len(VOC) + int.from_bytes(digest) % beyond)


def voc_colour(number: int) -> Colour:
    """The colour of a class's number in PASCAL VOC: its bits, spread over the three channels."""
    channels = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            channels[channel] |= (number >> (3 * place + channel) & 1) << (7 - place)
    return channels[0], channels[1], channels[2]


def canny(image_hwc: ByteArray) -> ByteArray:
    """White edges on black, (h, w, 3)."""
    edges = cv2.Canny(cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY), *CANNY)
    return np.repeat(np.asarray(edges, np.uint8)[:, :, None], 3, axis=2)


class Depth:
    """A depth estimator of transformers, one image at a time."""

    def __init__(self, spec: HubModel, device: str) -> None:
        from transformers import AutoImageProcessor, AutoModelForDepthEstimation

        folder: Path = folder_of(spec.repo, spec.revision)
        try:
            processor_of: Any = AutoImageProcessor
            self._processor: Any = processor_of.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            model: Any = AutoModelForDepthEstimation.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
            )
        except WRONG as error:
            raise ModelError(
                f"{folder}: not a depth estimator that loads: {first_line(error)}"
            ) from error
        self._model = model.to(device).eval().requires_grad_(False)

    @torch.inference_mode()
    def of(self, image_hwc: ByteArray) -> ByteArray:
        """What is near is white, over the range that this image has; (h, w, 3)."""
        inputs = self._processor(images=image_hwc, return_tensors="pt").to(self._model.device)
        values: NDArray[np.float32] = self._model(**inputs).predicted_depth[0].float().cpu().numpy()
        height, width = image_hwc.shape[:2]
        resized = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
        low, high = float(resized.min()), float(resized.max())
        grey = np.round((resized - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
        return np.repeat(grey.reshape(height, width, 1), 3, axis=2)
