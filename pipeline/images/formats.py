"""Image files to pixels: JPEG, PNG, WebP and TIFF, by their first bytes.

The one decoder is Pillow. It passes over damage that changes pixels, with a warning or without a
word; what it passes over is looked for before and after (`png.py`, `jpeg.py`, `tiff.py`; WebP's
decoder is strict itself, as far as a format without a checksum can be), and sizes are bounded by
the header before anything is allocated. Metadata may be damaged, since nothing of it is used but
EXIF's orientation, which is 1 where it cannot be read; it may not be a bomb.

Pixels become RGB of 8 bits: gray and palette images are spread over the three channels, alpha is
dropped, as OpenCV and torchvision do; CMYK and YCCK by the plain formula R = (1 - C)(1 - K),
without a colour profile. Gray of 16 bits stays as it is, (h, w, 1). What would lose bits is
refused. The orientation that EXIF gives is applied, and told, so that labels can follow.

    unknown_format       none of the four by its first bytes: no other decoder is tried
    too_many_pixels      more than 2^26, by the header, before any pixel is decoded; in a WebP of
                         more than 50 MB fewer, for the memory that its decoder takes
    too_many_scans       a JPEG whose scans would take minutes
    metadata_too_large   text, a profile or EXIF of more than 1 MiB, or as much in a TIFF's tags
    truncated_image      ends early
    broken_image         anything else that the decoder refuses
    many_pages           a TIFF of several pages, an animated PNG or WebP: which one is meant?
    deep_image           more than 16 bits per gray pixel, or with a sign
    deep_colour          16 bits per channel of more than one
    float_image          floating-point pixels: no rule says what is white
    unknown_colours      a colour space that needs a profile (CIE Lab)
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from pipeline.images.jpeg import check_jpeg, check_tail
from pipeline.images.orientation import upright
from pipeline.images.png import check_png, is_png
from pipeline.images.tiff import check_tiff, is_tiff
from schemas.errors import SampleError
from schemas.sample import ByteArray, DeepArray, ImageArray

MAX_PIXELS: Final = 2**26
MAX_EXIF: Final = 2**20
MAX_WEBP_MEMORY: Final = 1200 * 2**20

# Pillow tells of odd metadata, which is not used here; filters per call are not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

_DECODER_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError),
    *(struct.error, zlib.error, NotImplementedError),
)
_REFUSED: Final = {
    "F": ("float_image", "floating-point pixels; store 8 or 16 bits"),
    "I": ("deep_image", "gray of 32 bits; 16 at most"),
    "LAB": ("unknown_colours", "CIE Lab; store RGB"),
}
_BAND: Final = 2**20
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF


@dataclass(frozen=True, eq=False)
class Picture:
    """The pixels of a file, upright; `orientation` is the EXIF number that made them so."""

    image_hwc: ImageArray
    orientation: int = 1

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width, upright."""
        return self.image_hwc.shape[0], self.image_hwc.shape[1]


def read_picture(data: bytes) -> Picture:
    """An image file as pixels."""
    image, orientation = load(data)
    pixels = _pixels(image)
    if isinstance(image, TiffImageFile):  # its plugin turns the image itself
        return Picture(pixels, orientation)
    return Picture(upright(pixels, orientation), orientation)


def load(data: bytes) -> tuple[ImageFile.ImageFile, int]:
    """A decoded image in its own mode, and its orientation, which only TIFF's plugin applies."""
    plugin = _plugin(data)
    shaping = check_tiff(data, MAX_PIXELS) if plugin is TiffImageFile else frozenset()
    try:
        image = plugin(io.BytesIO(data))
        if isinstance(image, TiffImageFile) and not shaping <= image.tag_v2.keys():
            raise SampleError("broken_image", "a tag that shapes the picture cannot be read")
        _check(image, len(data))
        # TIFF forgets it when it turns the image; PNG may only say it after the pixels.
        before = _orientation(image) if plugin is TiffImageFile else 1
        image.load()
        orientation = before if plugin is TiffImageFile else _orientation(image)
        if plugin is JpegImageFile:
            check_tail(image, data)
    except Image.DecompressionBombError as error:
        raise SampleError("too_many_pixels", f"{error}; {MAX_PIXELS} at most") from error
    except _DECODER_ERRORS as error:
        raise SampleError(_slug(str(error)), str(error).partition("\n")[0]) from error
    return image, orientation


def _slug(message: str) -> str:
    if "MAX_TEXT" in message:
        return "metadata_too_large"
    return "truncated_image" if "truncated" in message else "broken_image"


def _plugin(data: bytes) -> type[ImageFile.ImageFile]:
    """Who reads this file, which was looked at as far as that can be done without reading it."""
    if is_png(data):
        check_png(data, MAX_PIXELS)
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        check_jpeg(data, MAX_PIXELS)
        return JpegImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile
    if is_tiff(data):
        return TiffImageFile
    says = f"neither JPEG, PNG, WebP nor TIFF: begins with {data[:8].hex(' ')}"
    raise SampleError("unknown_format", says)


def _check(image: ImageFile.ImageFile, size: int) -> None:
    """What the header tells of a file of this size."""
    if image.width * image.height > MAX_PIXELS:
        raise SampleError("too_many_pixels", f"{image.width}x{image.height}; {MAX_PIXELS} at most")
    if isinstance(image, TiffImageFile):
        bits = max(image.tag_v2.get(_BITS, (1,)))
        if bits > 8 and image.mode[0] not in "IF":
            raise SampleError("deep_colour", f"a TIFF of {bits} bits per channel; 8, or gray of 16")
        if 2 in image.tag_v2.get(_SAMPLE_FORMAT, (1,)):
            raise SampleError("deep_image", "gray with a sign; store 16 bits without one")
    elif int(getattr(image, "n_frames", 1)) > 1:
        raise SampleError("many_pages", "more than one image in the file; split it")
    if isinstance(image, WebPImageFile) and _webp_memory(image, size) > MAX_WEBP_MEMORY:
        says = f"{image.width}x{image.height} in a WebP of {size} bytes; store it as PNG"
        raise SampleError("too_many_pixels", says)
    if image.mode in _REFUSED:
        raise SampleError(*_REFUSED[image.mode])


def _webp_memory(image: WebPImageFile, size: int) -> int:
    """Bytes that its decoder takes: two canvases, the pixels, Pillow's pixels, and the file thrice
    (measured).
    """
    return 16 * image.width * image.height + 3 * size


def _orientation(image: ImageFile.ImageFile) -> int:
    if len(image.info.get("exif", b"")) > MAX_EXIF:
        raise SampleError("metadata_too_large", f"EXIF of more than {MAX_EXIF} bytes")
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DECODER_ERRORS:
        return 1
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _pixels(image: Image.Image) -> ImageArray:
    """RGB, or deep gray. Band by band: conversions of the whole image would lie in memory beside it
    and its pixels, each of them 256 MB for the largest that is read.
    """
    if image.mode.startswith("I;16"):
        return _deep(image)
    width, height = image.size
    pixels_hwc: ByteArray = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        pixels_hwc[top : top + rows] = np.asarray(_rgb(band))
    return pixels_hwc


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode in ("La", "RGBa"):  # colours that were multiplied by their alpha
        image = image.convert(image.mode.upper())
    return image.convert("RGB")


def _deep(image: Image.Image) -> DeepArray:
    gray_hw = np.array(image).astype(np.uint16)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC, 0) == 0:
        gray_hw = 65535 - gray_hw  # 0 is white, which the plugin minds in 8 bits only
    return gray_hw[:, :, None]
