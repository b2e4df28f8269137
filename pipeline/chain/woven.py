"""One copy of a source sample on its way through the chain, and what is left of it at the end: its
index row, and the bytes that are stored.

A kept copy leaves its members; so does a rejected one with `output: {rejected: store}`. A failed
one leaves those of its source as they were read, for the quarantine; `once_each` sees to it that
they are there once for each sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline import metrics
from pipeline.codec import encode
from pipeline.known.images import Known
from pipeline.op import Outcome
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.index import AppliedOp, IndexRow, Score
from schemas.members import copy_key
from schemas.recipe import Source, digest_of
from schemas.sample import Sample


@dataclass(frozen=True)
class RunContext:
    """What a row says of the run that made it; and `known`, the images of the run's source, where a
    gate asks for them (`needs_known`).
    """

    run: str
    recipe_digest: str
    chunk_id: str
    known: Known | None = field(default=None, compare=False)


@dataclass(frozen=True)
class WovenCopy:
    """One attempted copy: its row (no shard, no members yet), its members by suffix, its pixels.

    `members` of a kept or a rejected copy are what is stored of it. Those of a failed one are its
    source's, as they were read: at the first of each sample that failed, and only where bytes were
    read. `sample` is None where it failed.
    """

    row: IndexRow
    members: dict[str, bytes]
    sample: Sample | None


@dataclass(frozen=True)
class Copy:
    """A copy under way: what it comes from, what it is now, and the ops that made it so."""

    encoded: EncodedSample
    copy: int
    source: Outcome
    now: Outcome
    ops: tuple[AppliedOp, ...] = ()
    moved: bool = False
    new_picture: bool = False

    @property
    def aligned(self) -> bool:
        """Whether every pixel has its counterpart in the source at the same place."""
        source, now = self.source, self.now
        if not isinstance(source, Sample) or not isinstance(now, Sample):
            return False
        same_shape = source.image_hwc.shape == now.image_hwc.shape
        return same_shape and not self.moved and not self.new_picture


@dataclass(frozen=True)
class Judged:
    """All gates together: the first reason to reject, by which gate, and every score."""

    reason: str | None = None
    gate: str | None = None
    scores: tuple[Score, ...] = ()


def sample_id(content: str, copy: int, digest: str) -> str:
    """What the index calls a copy: the hash of its source's bytes, its number, the recipe's digest:
    the same id is the same sample, made again.
    """
    return digest_of([content, copy, digest])


def finished(copy: Copy, judged: Judged, recipe: FullRecipe, context: RunContext) -> WovenCopy:
    """The row of a copy that went all the way, or failed on it, and its members."""
    row = IndexRow(
        sample_id=sample_id(copy.encoded.content, copy.copy, context.recipe_digest),
        status="failed",
        reason=None,
        detail=None,
        quarantine=None,
        repairs=copy.source.repairs if isinstance(copy.source, Sample) else (),
        source_shard=copy.encoded.shard,
        source_key=copy.encoded.key,
        source_hash=copy.encoded.content,
        copy=copy.copy,
        chunk=context.chunk_id,
        shard=None,
        key=None,
        members=(),
        width=None,
        height=None,
        boxes=(),
        labels=(),
        ops=copy.ops,
        psnr=None,
        ssim=None,
        scores=judged.scores,
        seed=recipe.seed,
        run=context.run,
        recipe=context.recipe_digest,
    )
    if isinstance(copy.now, SampleError):
        return _failed(row, copy.now, copy.encoded, recipe.source)
    psnr, ssim = _likeness(copy)
    row = replace(_described(row, copy.now), psnr=psnr, ssim=ssim)
    if judged.reason is None:
        row = replace(row, status="kept")
    else:
        row = replace(row, status="rejected", reason=judged.reason, detail=judged.gate)
        if recipe.output.rejected == "drop":
            return WovenCopy(row, {}, copy.now)
    try:
        members = encode(copy.now, recipe.source, recipe.output)
    except SampleError as error:
        return _failed(row, error, copy.encoded, recipe.source)
    return WovenCopy(replace(row, key=copy_key(copy.encoded.key, copy.copy)), members, copy.now)


def once_each(copies: Sequence[WovenCopy]) -> list[WovenCopy]:
    """The copies, without the source's bytes where an earlier one of the same sample has them."""
    seen: set[str] = set()
    out = []
    for copy in copies:
        if copy.row.status == "failed":
            again = copy.row.source_key in seen
            seen.add(copy.row.source_key)
            copy = replace(copy, members={}) if again else copy  # noqa: PLW2901
        out.append(copy)
    return out


def _failed(row: IndexRow, error: SampleError, encoded: EncodedSample, layout: Source) -> WovenCopy:
    row = replace(row, status="failed", reason=error.slug, detail=error.detail or None)
    return WovenCopy(row, _raw(encoded, layout), None)


def _raw(encoded: EncodedSample, layout: Source) -> dict[str, bytes]:
    """The source's members that were read, by suffix. Where the shard shows a problem, no bytes are
    no member; otherwise they are one that is empty.
    """
    image = encoded.image if encoded.image or encoded.problem is None else None
    read = (
        (encoded.image_suffix, image),
        (layout.labels, encoded.labels),
        (layout.segmentation, encoded.segmentation),
    )
    return {suffix: data for suffix, data in read if suffix and data is not None}


def _described(row: IndexRow, sample: Sample) -> IndexRow:
    objects = sample.objects
    boxes = tuple(tuple(float(x) for x in box) for box in objects.boxes_n4)
    return replace(
        row, width=sample.width, height=sample.height, boxes=boxes, labels=objects.labels
    )


def _likeness(copy: Copy) -> tuple[float | None, float | None]:
    """PSNR and SSIM to the source; None where the geometry moved or the picture is another: pixels
    have no counterpart.
    """
    source, now = copy.source, copy.now
    if not isinstance(source, Sample) or not isinstance(now, Sample):
        return None, None
    if not copy.aligned:
        return None, None
    images = source.image_hwc, now.image_hwc
    return metrics.psnr(*images), metrics.ssim(*images)
