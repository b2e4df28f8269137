"""Small shards for tests: samples that paint a rectangle under each of their boxes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from schemas.sample import ByteArray

Files = Iterable[tuple[str, bytes]]


def tar_of(files: Files, format: int = tarfile.USTAR_FORMAT) -> bytes:
    """An archive by Python's tarfile: another writer than our own."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def painted(
    height: int, width: int, boxes: Sequence[Sequence[int]], background: int = 30
) -> ByteArray:
    """A textured background with a bright rectangle under each box."""
    rng = np.random.default_rng(height * 1000 + width)
    image = rng.integers(background, background + 20, (height, width, 3), dtype=np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 200
    return image


def png(image: ByteArray) -> bytes:
    """Any array that Pillow knows, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()


def labels(height: int, width: int, boxes: Sequence[Sequence[float]], **extra: object) -> bytes:
    """A labels file: every box is a `cell`."""
    record = {"width": width, "height": height, "boxes": [list(box) for box in boxes]}
    return json.dumps({**record, "labels": ["cell"] * len(boxes), **extra}).encode()


def sample_files(key: str, height: int = 24, width: int = 32) -> list[tuple[str, bytes]]:
    """One whole sample: image, labels and class-id map."""
    boxes = [(4, 5, 12, 13), (16, 8, 30, 20)]
    classes = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in boxes:
        classes[y0:y1, x0:x1] = 1
    return [
        (f"{key}.png", png(painted(height, width, boxes))),
        (f"{key}.json", labels(height, width, boxes, source=f"{key}.tif")),
        (f"{key}.seg.png", png(classes)),
    ]
