"""Tar member names and sample fields: which file of a WebDataset sample is what.

A member is `<key>.<suffix>`; as in WebDataset, the key ends at the first dot after the last slash.
Images are JPEG, PNG, WebP or TIFF; what a file is, its first bytes say, not its suffix. Ours are
`jpg`, `png` or `webp`, as the recipe's `output` says.

The labels file is JSON: `{"width", "height", "boxes": [[x0, y0, x1, y1], ...], "labels": [...]}`
and, where the dataset has instance masks, `"masks": [{"size": [h, w], "counts": [...]}, ...]` in
COCO's uncompressed RLE. Other keys are carried along as they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

IMAGE_SUFFIXES: Final = ("jpg", "jpeg", "png", "webp", "tif", "tiff")


def split_name(name: str) -> tuple[str, str]:
    """`"a/b.seg.png"` -> `("a/b", "seg.png")`; the suffix is empty where there is no dot."""
    slash = name.rfind("/") + 1
    dot = name.find(".", slash)
    return (name, "") if dot < 0 else (name[:dot], name[dot + 1 :])


def copy_key(key: str, copy: int) -> str:
    """The key of copy number `copy` of a source sample."""
    return f"{key}-{copy:03d}"


def image_among(suffixes: Iterable[str], others: Iterable[str | None]) -> str | None:
    """The first of these suffixes that is an image's, and not that of another member."""
    taken = set(others)
    return next((s for s in suffixes if s in IMAGE_SUFFIXES and s not in taken), None)
