"""Annotation files, read without trusting them: plain JSON, XML without entities, sorted folders.

A file that cannot be read is a ValueError with its reason: the reader of the format decides whether
that ends the import (there is one such file) or is one finding among others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from xml.etree import ElementTree

from schemas.errors import SourceError

SUFFIXES: Final = {
    "JPEG": ("jpg", "jpeg"),
    "PNG": ("png",),
    "WEBP": ("webp",),
    "TIFF": ("tif", "tiff"),
}
OTHERS: Final = ("bmp", "gif", "jp2", "avif", "heic", "ppm", "pgm")
"""Images as well, but none that a shard may hold: found, and reported."""
IMAGE_SUFFIXES: Final = frozenset(s for known in (*SUFFIXES.values(), OTHERS) for s in known)


class UnsafeXmlError(ValueError):
    """XML that defines something, instead of only saying it."""


def read_json(path: Path) -> object:
    """Any JSON value."""
    try:
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file; DOCTYPE and ENTITY are refused before the parser sees them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if b"\0" in data:  # UTF-16 would hide what is looked for below
        raise ValueError("not UTF-8 text")
    for word in (b"<!DOCTYPE", b"<!ENTITY"):
        if word in data.upper():
            raise UnsafeXmlError(f"holds {word.decode()}, which annotations have no use for")
    try:
        return ElementTree.fromstring(data)  # noqa: S314 - it can define nothing, see above
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"not XML: {error}") from None


def read_text(path: Path) -> str:
    """A text file."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text (byte {error.start})") from None


def need_folder(path: Path, what: str) -> Path:
    """The folder itself; SourceError where it is none."""
    if path.is_dir():
        return path
    there = "a file, no folder" if path.exists() else f"not there; {beside(path)}"
    raise SourceError(f"{path}: {there}. Looked for: {what}")


def beside(path: Path) -> str:
    """What there is where something was looked for, in a few words."""
    parent = path.parent
    return f"{parent} holds: {listing(parent)}" if parent.is_dir() else f"nor is {parent}"


def listing(folder: Path, most: int = 8) -> str:
    """The first names in a folder."""
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in folder.iterdir())
    return some([name for name in names if not name.startswith(".")], most)


def some(names: Sequence[str], most: int = 8) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "nothing"


def files_below(folder: Path, suffixes: Iterable[str]) -> list[str]:
    """Paths of all files with these suffixes, relative, with slashes, sorted; none hidden."""
    wanted = {f".{suffix}" for suffix in suffixes}
    found: list[str] = []
    for at, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        base = Path(at).relative_to(folder)
        found += [
            (base / name).as_posix()
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in wanted  # noqa: PTH122 - a Path per file costs
        ]
    return sorted(found)


def stem_of(name: str) -> str:
    """`"a/b.jpg"` -> `"a/b"`."""
    return str(PurePosixPath(name).with_suffix(""))


def inside(folder: Path, name: str) -> Path | None:
    """The file of this name in a folder; None where the name leads out of it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or "\0" in name:
        return None
    whole = os.path.normpath(path.as_posix())
    return None if whole.startswith("..") else folder / whole
