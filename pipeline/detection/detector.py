"""A detector on disk (`config.json`, fp16 `model.safetensors`) and in use: images in, boxes out.

It looks at one image at a time, so what it says of an image does not depend on the others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from pydantic import ValidationError

from pipeline.adapters.files import digest_of_files
from pipeline.detection.crops import resized
from pipeline.detection.network import DetectorConfig, build
from pipeline.diffusion.folder import CONFIG_FILE, WEIGHTS_FILE, load_weights, write_model
from pipeline.diffusion.tone import Tone
from pipeline.labels.geometry import clip
from pipeline.model import Detections
from schemas.errors import ModelError
from schemas.sample import ByteArray

if TYPE_CHECKING:
    from torchvision.models.detection import FCOS

MIN_SCORE: Final = 0.05
"""Below this nothing is reported: it moves no average precision by a thousandth."""


class Detector:
    """A loaded or freshly trained detector. `digest` is that of its files."""

    def __init__(self, config: DetectorConfig, net: FCOS, digest: str, device: str = "cpu") -> None:
        self.config, self.digest = config, digest
        self.device = torch.device(device)
        self._net = net.to(self.device).eval().requires_grad_(False)

    def detect(self, images: Sequence[ByteArray]) -> list[Detections]:
        """Everything with a score of `MIN_SCORE` or more."""
        return [self._look(image) for image in images]

    def sure(self, images: Sequence[ByteArray]) -> list[Detections]:
        """What counts as found: from the threshold of its class on."""
        least = self.thresholds
        return [
            found.take(
                [i for i, name in enumerate(found.labels) if found.scores_n[i] >= least[name]]
            )
            for found in self.detect(images)
        ]

    @property
    def thresholds(self) -> dict[str, float]:
        """From which score on a detection counts, per class; 0.5 where nobody measured it."""
        classes = self.config.classes
        return dict(zip(classes, self.config.thresholds or (0.5,) * len(classes), strict=True))

    def with_thresholds(self, thresholds: tuple[float, ...]) -> Detector:
        """The same network with other thresholds; saved anew, it has another digest."""
        config = self.config.model_copy(update={"thresholds": thresholds})
        return Detector(config, self._net, self.digest, str(self.device))

    @torch.inference_mode()
    def _look(self, image_hwc: ByteArray) -> Detections:
        height, width = image_hwc.shape[:2]
        hw = tuple(max(1, round(side * self.config.scale)) for side in (height, width))
        tone = Tone.of(image_hwc, self.config.curve)
        seen = tone.encode(resized(image_hwc, (hw[0], hw[1])))
        x = torch.from_numpy(seen).permute(2, 0, 1).to(self.device)
        (out,) = self._net([x])
        zoom = np.array([width / hw[1], height / hw[0]] * 2)
        boxes = out["boxes"].cpu().numpy().astype(np.float64) * zoom
        names = tuple(self.config.classes[int(i)] for i in out["labels"])
        scores = out["scores"].cpu().numpy().astype(np.float64)
        return Detections(clip(boxes, height, width), scores, names)

    def save(self, folder: Path) -> None:
        """`config.json` and fp16 weights."""
        write_model(folder, self.config, self._net.state_dict())


def load_detector(folder: Path, device: str = "cpu") -> Detector:
    """Loads a detector's folder. Raises ModelError where it is not one."""
    digest = digest_of_files([folder / CONFIG_FILE, folder / WEIGHTS_FILE])
    path = folder / CONFIG_FILE
    try:
        config = DetectorConfig.model_validate(json.loads(path.read_bytes()))
    except (ValidationError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a detector's configuration: {error}") from None
    net = build(config, MIN_SCORE)
    load_weights(folder, net)
    return Detector(config, net, digest, device)
