"""A finished run in a sink, by the real parts but without Ray and MLflow."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from jobs.run.counts import count_run
from jobs.run.live import Pace
from jobs.run.plan import RunPlan, make_plan, write_plan
from jobs.run.record import Cost, write_record
from jobs.verify.sink import verify
from pipeline.chain.under_way import attempted, begun
from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.flow.fingerprinting import make_known, shard_images
from pipeline.known.images import Known, load_known
from pipeline.models import load_models
from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import publish
from pipeline.sink.turns import Spent
from pipeline.source.plan import read_chunk
from tests.pipeline.rows import Woven
from tests.pipeline.shards import sample_files, tar_of
from tests.pipeline.steps import Work

CLASSIC = "- {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}, {GaussNoise: {p: 1.0}}]}"


def planned_run(folder: Path, ops: str = CLASSIC, models: str = "{}") -> RunPlan:
    """Seven samples in two shards, one of them broken, and a recipe for two copies of each."""
    for number in range(2):
        files = [f for n in range(4 - number) for f in sample_files(f"s{number}{n}", width=32 + n)]
        if number == 0:
            files[0] = (files[0][0], b"no image")
        (folder / f"train-{number}.tar").write_bytes(tar_of(files))
    recipe = folder / "cells.yaml"
    recipe.write_text(
        f"source: {{shards: '{folder}/train-*.tar', segmentation: seg.png, classes: [cell]}}\n"
        f"sink: {folder}/out\nseed: 3\ncopies: 2\nchunk_size: 3\nmodels: {models}\n"
        f"tracking: {{uri: null}}\nops:\n{ops}\n"
    )
    return make_plan(recipe)


def woven_chunks(planned: RunPlan, only: int | None = None) -> tuple[tuple[str, Woven, int], ...]:
    """Every chunk, or `only` the one with this number, woven, and how many copies were attempted;
    nothing is written but the fingerprints that a gate asks for.
    """
    models = load_models(planned.recipe.models, "cpu") if planned.models else {}
    known = known_of(planned)
    chunks = []
    for chunk in planned.chunks if only is None else planned.chunks[only : only + 1]:
        encoded = read_chunk(chunk, planned.recipe.source)
        context = RunContext(planned.run, planned.digest, chunk.id, known)
        woven = weave_chunk(encoded, planned.recipe, models, context)
        rows = [(copy.row, copy.members) for copy in woven]
        chunks.append((chunk.id, rows, attempted(begun(encoded, planned.recipe))))
    return tuple(chunks)


def known_of(planned: RunPlan) -> Known | None:
    """The images of the source, by the fingerprints in the sink, which are made if need be."""
    if not planned.known:
        return None
    for images in shard_images(planned.chunks):
        make_known(planned.store, images, planned.recipe.source)
    return load_known(planned.store, planned.known)


def weave(planned: RunPlan) -> None:
    """Weaves and commits every chunk."""
    write_plan(planned)
    for chunk_id, rows, planned_copies in woven_chunks(planned):
        commit_chunk(planned.store, planned.run, chunk_id, rows, planned_copies)


def finish(planned: RunPlan) -> None:
    """Publishes, and writes the record."""
    publish(planned.store, planned.run, [chunk.id for chunk in planned.due])
    counts = count_run(planned.store, planned.run)
    made = {chunk.id for chunk in planned.due}
    write_record(planned, counts, Pace(14, 1.0), Cost.of(planned, made, Spent(1.0)), None)


def in_sink(planned: RunPlan, url: str) -> RunPlan:
    """The same run in another sink."""
    return replace(planned, recipe=planned.recipe.model_copy(update={"sink": url}))


def work_of(planned: RunPlan, chunks: tuple[tuple[str, Woven, int], ...]) -> Work:
    """What is between the plan, which is written here, and the record."""
    write_plan(planned)
    return Work(planned.recipe.sink, planned.run, chunks)


def verified(sink: str, replay: int = 0) -> str:
    """What verify says of a sink in which it finds no fault."""
    text = io.StringIO()
    code = verify(sink, replay, Console(file=text, width=200))
    assert code == 0, text.getvalue()
    return text.getvalue()
