"""A few real samples, read before a run: whether `source:` of the recipe is that of its data.

A recipe for another dataset, classes by other names, maps with more ids: the file alone does not
show such a mistake, and every copy would fail. Where all samples that are looked at fail for one
such reason, it is said before anything starts. A bad sample among good ones fails alone, later.

A dry run decodes them. A run looks at members and labels alone: an image may take the process that
decodes it with it, and this one is the driver (`pipeline/chain/attempts.py` is for workers).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final

from jobs.run.plan import RunPlan
from pipeline.codec import check_members
from pipeline.labels.strict_json import read_object
from pipeline.problems import listed
from pipeline.source.plan import Chunk, EncodedSample, SampleRef, Shard, read_chunk
from schemas.errors import RecipeError, SampleError
from schemas.recipe import Source

Look = Callable[[EncodedSample, Source], object]
"""Raises SampleError where something is wrong with a sample."""

LOOKED_AT: Final = 5
"""Samples: the first ones of as many shards. In a packed shard nothing has to be skipped."""

MISFIT: Final[Mapping[str, str]] = {
    "missing_image": "source.image lists the suffixes of images",
    "missing_labels": "source.labels is the suffix of the labels",
    "missing_segmentation": "source.segmentation is the suffix of the class-id maps",
    "bad_labels": "source.labels is the suffix of the labels",
    "bad_class_map": "source.segmentation is the suffix of the class-id maps",
    "unknown_class": "source.classes lists all classes of the labels",
    "unknown_class_id": "source.seg_classes lists the names of all ids, from 0",
}
"""What shows in each sample where the recipe is for other data, and the key that is wrong then."""


@dataclass(frozen=True)
class _Failed:
    """A sample that cannot be used."""

    sample: EncodedSample
    error: SampleError


def check_samples(planned: RunPlan, look: Look = check_members) -> list[str]:
    """What is wrong with the samples that were looked at, a line each. RecipeError where `source:`
    does not fit any of them, unless the budget lets all copies fail.
    """
    seen = list(_looked_at(planned, look))
    failed = [one for one in seen if isinstance(one, _Failed)]
    slugs = {one.error.slug for one in failed}
    told = [f"{one.sample.key}: {one.error}" for one in failed]
    misfit = len(seen) > 1 and len(failed) == len(seen) and len(slugs) == 1 and slugs <= {*MISFIT}
    if misfit and planned.recipe.budget.failed < 1:
        hints = [MISFIT[failed[0].error.slug], *_classes(failed)]
        says = f"does not fit the data: all {len(seen)} samples that were looked at fail"
        lines = [f"  {told[0]}", *(f"      {hint}" for hint in hints)]
        raise RecipeError("\n".join([f"{planned.file}: source: {says}", *lines]))
    return told


def _looked_at(planned: RunPlan, look: Look) -> Iterator[EncodedSample | _Failed]:
    source = planned.recipe.source
    for shard, ref in islice(_first(planned), LOOKED_AT):
        (encoded,) = read_chunk(Chunk(shard, 0, (ref,), "looked at"), source)
        try:
            look(encoded, source)
        except SampleError as error:
            yield _Failed(encoded, error)
        else:
            yield encoded


def _first(planned: RunPlan) -> Iterator[tuple[Shard, SampleRef]]:
    """The first sample of every shard, then the second of every shard, and so on."""
    heads: dict[str, list[tuple[Shard, SampleRef]]] = {}
    for chunk in planned.chunks:
        head = heads.setdefault(chunk.shard.content, [])
        head += [(chunk.shard, ref) for ref in chunk.samples[: LOOKED_AT - len(head)]]
    for number in range(LOOKED_AT):
        for head in heads.values():
            yield from head[number : number + 1]


def _classes(failed: list[_Failed]) -> Iterator[str]:
    """The classes that the labels name, where that is what does not fit."""
    if failed[0].error.slug != "unknown_class":
        return
    names: set[str] = set()
    for one in failed:
        labels = read_object(one.sample.labels or b"{}").get("labels")
        names |= set(map(str, labels)) if isinstance(labels, list) else set()
    yield f"these samples have {listed(names)}"
