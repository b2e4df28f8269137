"""The chain, without Ray: one chunk of encoded samples in, one row for every attempted copy out.

`weave_chunk` is all of it, for a preview, a replay and the tests. A run carries it out stage by
stage (`pipeline.stages`): `weave_part` some of the ops, `weave_rest` the last ones and the gates;
in one stage or in several, the rows and bytes are the same. It promises that a copy depends
on nothing but the source sample, the recipe and the models (where an op looks at its peers, also on
the other source samples of its chunk; whether it is kept, where a gate asks for them, also on the
other copies of its source, or on all images of the source, `context.known`): not on the worker, the
batch, or the number of threads. A
sample that fails becomes a row with a slug, and keeps the bytes that it was read from for the
quarantine (`woven.py`); anything else that is raised ends the run. What a model makes of a picture
fails by name, `black_output`, where it is black all over.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from pipeline import metering
from pipeline.chain.under_way import UnderWay, begun, copies_of
from pipeline.chain.woven import Copy, Judged, RunContext, WovenCopy, finished, once_each
from pipeline.codec import decode
from pipeline.gate import GateContext, Verdict, in_order
from pipeline.model import Models
from pipeline.op import Draw, Op, Outcome, Peers
from pipeline.recipe import FullRecipe
from pipeline.seeds import rng_for
from pipeline.source.plan import EncodedSample
from schemas.errors import SampleError
from schemas.index import AppliedOp, Score
from schemas.recipe import Source
from schemas.sample import Sample

__all__ = ["RunContext", "WovenCopy", "weave_chunk", "weave_part", "weave_rest"]

CODEC_THREADS: Final = 2
"""Threads that decode and encode: the codecs release the GIL, and two hide each other's waits."""


def weave_chunk(
    encoded: Sequence[EncodedSample],
    recipe: FullRecipe,
    models: Models,
    context: RunContext,
    only: Collection[tuple[str, int]] | None = None,
) -> list[WovenCopy]:
    """Every copy of every sample, in order; each op is applied to all that take it at once.

    A replay or a preview names the (key, copy) pairs that it wants `only`; the others of the chunk
    are there to be looked at.
    """
    items = begun(encoded, recipe, only)
    return weave_rest(items, range(len(recipe.ops)), recipe, models, context)


def weave_part(
    items: Sequence[UnderWay], ops: range, recipe: FullRecipe, models: Models
) -> list[Copy]:
    """These ops of the recipe, by their positions, on all copies, which come out in order."""
    with ThreadPoolExecutor(CODEC_THREADS) as threads:
        return _carried_on(items, ops, recipe, models, threads)


def weave_rest(
    items: Sequence[UnderWay], ops: range, recipe: FullRecipe, models: Models, context: RunContext
) -> list[WovenCopy]:
    """The last ops, the gates, and what is stored: every copy, in order."""
    with ThreadPoolExecutor(CODEC_THREADS) as threads:
        copies = _carried_on(items, ops, recipe, models, threads)
        copies, judged = _judge(copies, recipe, models, context)
        finish = partial(finished, recipe=recipe, context=context)
        return once_each(list(threads.map(finish, copies, judged)))


def _carried_on(
    items: Sequence[UnderWay],
    ops: range,
    recipe: FullRecipe,
    models: Models,
    threads: ThreadPoolExecutor,
) -> list[Copy]:
    decoding = partial(_decode, layout=recipe.source)
    sources = list(threads.map(decoding, [item.encoded for item in items]))
    peers = {source.key: source for source in sources if isinstance(source, Sample)}
    copies = copies_of(items, sources)
    for position in ops:
        op = recipe.ops[position]
        step = _Step(op, f"{op.kind}#{position}", recipe.seed, models, peers)
        copies = _apply(step, copies)
    return copies


def _decode(encoded: EncodedSample, layout: Source) -> Outcome:
    try:
        return decode(encoded, layout)
    except SampleError as error:
        return error


@dataclass(frozen=True)
class _Step:
    """One op of the recipe on one chunk; its name is part of every draw's."""

    op: Op
    name: str
    seed: int
    models: Models
    peers: Peers


def _apply(step: _Step, copies: list[Copy]) -> list[Copy]:
    """One op on the copies that take it; the others stay in their place as they are."""
    out = list(copies)
    taking: list[tuple[int, Sample, Draw]] = []
    for i, copy in enumerate(copies):
        if isinstance(copy.now, SampleError):
            continue
        drawn = _draw(step, copy.now, copy)
        if isinstance(drawn, SampleError):
            out[i] = replace(copy, now=drawn)
        elif drawn is not None:
            taking.append((i, copy.now, drawn))
    if not taking:
        return out
    places, samples, draws = zip(*taking, strict=True)
    op = step.op
    model = step.models[op.model_name].digest if op.model_name is not None else None
    with metering.working(op.kind, op.model_name, len(samples)):
        outcomes = op.apply(samples, draws, step.models, step.peers)
    if model is not None:
        outcomes = [_seen(*pair) for pair in zip(samples, outcomes, strict=True)]
    for i, draw, outcome in zip(places, draws, outcomes, strict=True):
        if isinstance(outcome, SampleError):
            out[i] = replace(copies[i], now=_named(outcome, step.name))
            continue
        applied = AppliedOp(step.name, op.kind, model, _strength(draw), _text(draw))
        moved = copies[i].moved or op.labels == "moved"
        new = copies[i].new_picture or op.new_picture
        ops = (*copies[i].ops, applied)
        out[i] = replace(copies[i], now=_laid_out(outcome), ops=ops, moved=moved, new_picture=new)
    return out


def _laid_out(sample: Sample) -> Sample:
    """The sample with its arrays in C order, as they are behind a stage boundary: sums of floats
    depend on the order in memory.
    """
    image, classes, instances = sample.image_hwc, sample.class_map_hw, sample.instances
    if instances is not None:
        masks = instances.masks_nhw
        boxes_n4 = np.ascontiguousarray(instances.boxes_n4)
        masks = None if masks is None else np.ascontiguousarray(masks)
        instances = replace(instances, boxes_n4=boxes_n4, masks_nhw=masks)
    classes = None if classes is None else np.ascontiguousarray(classes)
    image = np.ascontiguousarray(image)
    return replace(sample, image_hwc=image, class_map_hw=classes, instances=instances)


def _seen(before: Sample, after: Outcome) -> Outcome:
    """What a model made, unless it is black where there was a picture: numbers that ran out of
    range, or a safety filter, end like that, and no label shows it.
    """
    if isinstance(after, Sample) and not after.image_hwc.any() and before.image_hwc.any():
        return SampleError("black_output", "the model returned an image that is black all over")
    return after


def _draw(step: _Step, sample: Sample, copy: Copy) -> Draw | SampleError | None:
    """The op's choices for this copy; None where it does not take the op."""
    rng = rng_for(step.seed, copy.encoded.key, copy.copy, step.name)
    if rng.random() >= step.op.p:
        return None
    if sample.deep and not step.op.deep:
        return _named(SampleError("deep_image", "takes 8-bit images only"), step.name)
    try:
        drawn = step.op.draw(sample, rng, step.peers)
    except SampleError as error:
        return _named(error, step.name)
    if drawn is None:
        return None
    draw: Draw = json.loads(_text(drawn))  # what a replay will read from the row
    return draw


def _text(draw: Draw) -> str:
    return json.dumps(draw, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _strength(draw: Draw) -> float | None:
    return float(draw["strength"]) if "strength" in draw else None


def _named(error: SampleError, step: str) -> SampleError:
    return SampleError(error.slug, f"{step}: {error.detail}" if error.detail else step)


def _judge(
    copies: Sequence[Copy], recipe: FullRecipe, models: Models, run: RunContext
) -> tuple[list[Copy], list[Judged]]:
    """Every gate judges every finished sample: its score is written whatever the others say. One
    that compares pictures is not asked where an op made another.
    """
    out, judged = list(copies), [Judged()] * len(copies)
    for gate in in_order(recipe.gates):
        its = [
            (i, copy.source, copy.now)
            for i, copy in enumerate(out)
            if isinstance(copy.source, Sample) and isinstance(copy.now, Sample)
            if not (gate.compares_pictures and copy.new_picture)
        ]
        if not its:
            continue
        places, sources, samples = zip(*its, strict=True)
        aligned = tuple(out[i].aligned for i in places)
        new = tuple(out[i].new_picture for i in places)
        context = GateContext(recipe.source.seg_classes or (), aligned, run.known, new)
        with metering.working(gate.kind, gate.model_name, len(samples)):
            verdicts = gate.judge(sources, samples, models, context)
        for i, verdict in zip(places, verdicts, strict=True):
            judged[i] = _and(judged[i], gate.kind, verdict)
            out[i] = replace(out[i], now=verdict.mended or out[i].now)
    return out, judged


def _and(before: Judged, gate: str, verdict: Verdict) -> Judged:
    scores = tuple(Score(f"{gate}.{name}", score) for name, score in verdict.scores.items())
    rejects = before.reason is None and not verdict.kept
    return Judged(
        reason=verdict.reason if rejects else before.reason,
        gate=gate if rejects else before.gate,
        scores=(*before.scores, *scores),
    )
