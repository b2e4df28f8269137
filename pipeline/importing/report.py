"""What was found, counted; and that nothing was lost on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.importing.findings import SLUGS, Fate, Finding
from pipeline.importing.packing import Packed
from pipeline.importing.records import Dataset
from schemas.errors import RunError


@dataclass(frozen=True)
class Row:
    """One slug with one fate: how often, where first, at most by how many pixels."""

    slug: str
    fate: Fate
    count: int
    place: str
    detail: str
    images: int
    annotations: int
    worst_px: float

    @property
    def says(self) -> str:
        """What is wrong."""
        return SLUGS[self.slug]


@dataclass(frozen=True)
class Counts:
    """Where they went: read = kept + repaired + all that was dropped, by slug."""

    read: int
    kept: int
    repaired: int
    dropped: dict[str, int]

    def check(self, what: str) -> None:
        """RunError where some are lost or doubled."""
        lost = self.read - self.kept - self.repaired - sum(self.dropped.values())
        if lost:
            raise RunError(
                f"{abs(lost)} of {self.read} {what} {'lost' if lost > 0 else 'too many'} in the "
                "import: a mistake in noiseloom; please report it with the annotation file"
            )


class Report:
    """Findings and samples, added up as they come."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._rows: dict[tuple[str, Fate], Row] = {}
        self._kept = self._mended = self._images = 0
        self.add(dataset.findings)

    def add(self, findings: Iterable[Finding]) -> None:
        """More findings."""
        for f in findings:
            key = (f.slug, f.fate)
            row = self._rows.get(key) or Row(f.slug, f.fate, 0, f.place, f.detail, 0, 0, 0.0)
            # a reader counts an image that it drops, and whoever packs one that is left out
            self._rows[key] = replace(
                row,
                count=row.count + 1,
                images=row.images + f.images,
                annotations=row.annotations + f.annotations,
                worst_px=max(row.worst_px, f.px),
            )

    def add_sample(self, packed: Packed) -> None:
        """One sample, written or not."""
        self.add(packed.findings)
        self._images += bool(packed.members)
        self._kept += packed.kept
        self._mended += packed.repaired

    @property
    def rows(self) -> Sequence[Row]:
        """What was lost first, then what was changed; each by its number."""
        order = {"dropped": 0, "repaired": 1, "noted": 2}
        return sorted(self._rows.values(), key=lambda r: (order[r.fate], -r.count, r.slug))

    def images(self) -> Counts:
        """The images of the dataset."""
        dropped = Counter({row.slug: row.images for row in self.rows if row.images})
        return Counts(self._dataset.images, self._images, 0, dict(sorted(dropped.items())))

    def annotations(self) -> Counts:
        """Its annotations."""
        dropped = Counter({r.slug: r.annotations for r in self.rows if r.annotations})
        count = self._dataset.annotations
        return Counts(count, self._kept, self._mended, dict(sorted(dropped.items())))

    def check(self) -> None:
        """RunError where an image or an annotation went nowhere."""
        self.images().check("images")
        self.annotations().check("annotations")

    def record(self) -> dict[str, object]:
        """As plain data, for a file."""
        return {
            "images": _counts(self.images()),
            "annotations": _counts(self.annotations()),
            "findings": [_row(row) for row in self.rows],
        }


def _counts(counts: Counts) -> dict[str, object]:
    return {
        "read": counts.read,
        "kept": counts.kept,
        "repaired": counts.repaired,
        "dropped": counts.dropped,
    }


def _row(row: Row) -> dict[str, object]:
    record: dict[str, object] = {
        "slug": row.slug,
        "fate": row.fate,
        "count": row.count,
        "says": row.says,
        "first": row.place,
        "detail": row.detail,
    }
    lost = {"images": row.images, "annotations": row.annotations}
    record |= {name: n for name, n in lost.items() if n}
    return record | ({"worst_px": round(row.worst_px, 2)} if row.worst_px else {})
