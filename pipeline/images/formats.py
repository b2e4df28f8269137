"""Image files to pixels: JPEG, PNG, WebP and TIFF, by their first bytes.

Pixels become RGB of 8 bits: gray and palette images are spread over the three channels, alpha is
dropped, as OpenCV and torchvision do; CMYK and YCCK by the plain formula R = (1 - C)(1 - K),
without a colour profile. Gray of 16 bits stays as it is, (h, w, 1). What would lose bits is
refused. The orientation that EXIF gives is applied, and told, so that labels can follow.

    unknown_format       none of the four by its first bytes: no other decoder is tried
    too_many_pixels      more than 2^26, by the header, before any pixel is decoded
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

from pipeline.images.orientation import upright
from schemas.errors import SampleError
from schemas.sample import DeepArray, ImageArray

MAX_PIXELS: Final = 2**26

# Pillow tells of odd metadata, which is not used here; filters per call are not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())

_DECODER_ERRORS: Final = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, ArithmeticError),
    *(struct.error, zlib.error, NotImplementedError),
)
_BIT_DEPTHS: Final = frozenset({1, 2, 4, 8, 16})
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
    try:
        image = plugin(io.BytesIO(data))
        _check(image)
        # TIFF forgets it when it turns the image; PNG may only say it after the pixels.
        before = _orientation(image) if plugin is TiffImageFile else 1
        image.load()
        orientation = before if plugin is TiffImageFile else _orientation(image)
    except Image.DecompressionBombError as error:
        raise SampleError("too_many_pixels", f"{error}; {MAX_PIXELS} at most") from error
    except _DECODER_ERRORS as error:
        slug = "truncated_image" if "truncated" in str(error) else "broken_image"
        raise SampleError(slug, str(error).partition("\n")[0]) from error
    return image, orientation


def is_png(data: bytes) -> bool:
    """Whether this is a PNG, with a header that can be read."""
    return data.startswith(b"\x89PNG\r\n\x1a\n")


def png_bits(data: bytes) -> int:
    """Bits per channel of a PNG: byte 24, in the header, which must come first."""
    if data[12:16] != b"IHDR" or len(data) < 26 or data[24] not in _BIT_DEPTHS:
        raise SampleError("broken_image", "a PNG that does not begin with its header")
    return data[24]


def _plugin(data: bytes) -> type[ImageFile.ImageFile]:
    if is_png(data):
        if png_bits(data) == 16 and data[25] != 0:
            raise SampleError("deep_colour", "a PNG of 16 bits per channel; 8, or gray of 16")
        return PngImageFile
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return TiffImageFile
    says = f"neither JPEG, PNG, WebP nor TIFF: begins with {data[:8].hex(' ')}"
    raise SampleError("unknown_format", says)


def _check(image: ImageFile.ImageFile) -> None:
    """What the header tells."""
    if image.width * image.height > MAX_PIXELS:
        raise SampleError("too_many_pixels", f"{image.width}x{image.height}; {MAX_PIXELS} at most")
    if isinstance(image, TiffImageFile):
        bits = max(image.tag_v2.get(_BITS, (1,)))
        if bits > 8 and image.mode[0] not in "IF":
            raise SampleError("deep_colour", f"a TIFF of {bits} bits per channel; 8, or gray of 16")
        if 2 in image.tag_v2.get(_SAMPLE_FORMAT, (1,)):
            raise SampleError("deep_image", "gray with a sign; store 16 bits without one")
    if _has_another_page(image):
        raise SampleError("many_pages", "more than one image in the file; split it")


def _has_another_page(image: ImageFile.ImageFile) -> bool:
    """TIFF is asked for its second page alone: counting a million of them takes its time."""
    if not isinstance(image, TiffImageFile):
        return int(getattr(image, "n_frames", 1)) > 1
    try:
        image.seek(1)
    except EOFError:
        return False
    return True


def _orientation(image: ImageFile.ImageFile) -> int:
    value = image.getexif().get(ExifTags.Base.Orientation, 1)
    return value if isinstance(value, int) and value in range(1, 9) else 1


def _pixels(image: Image.Image) -> ImageArray:
    mode = image.mode
    if mode.startswith("I;16"):
        return _deep(image)
    if mode == "F":
        raise SampleError("float_image", "floating-point pixels; store 8 or 16 bits")
    if mode == "I":
        raise SampleError("deep_image", "gray of 32 bits; 16 at most")
    if mode == "LAB":
        raise SampleError("unknown_colours", "CIE Lab; store RGB")
    if mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    if mode in ("La", "RGBa"):  # colours that were multiplied by their alpha
        image = image.convert(mode.upper())
    return np.array(image.convert("RGB"))


def _deep(image: Image.Image) -> DeepArray:
    gray_hw = np.array(image).astype(np.uint16)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC, 0) == 0:
        gray_hw = 65535 - gray_hw  # 0 is white, which the plugin minds in 8 bits only
    return gray_hw[:, :, None]
