"""The prompts of a recipe on the real labels, before a run: every template on a few samples, and a
few of the texts for a person to read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from rich import box
from rich.markup import escape
from rich.table import Table

from jobs.run.plan import RunPlan
from pipeline.codec import decode
from pipeline.config import report
from pipeline.ops.sampled import SampledOp
from pipeline.problems import Place, Problem
from pipeline.prompts import Prompt, drawn_prompts, rendered, words_of
from pipeline.seeds import rng_for
from pipeline.source.plan import Chunk, read_chunk
from schemas.errors import RecipeError, SampleError
from schemas.sample import Sample

LOOKED_AT: Final = 5
"""Samples, spread over the source."""

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """What an op would say to its model about a sample."""

    step: str
    key: str
    prompt: str
    negative_prompt: str


def prompts_said(planned: RunPlan) -> list[Said]:
    """`LOOKED_AT` rendered prompts of every op that has some. RecipeError where a template fails on
    one of these samples.
    """
    ops = [(i, op) for i, op in enumerate(planned.recipe.ops) if isinstance(op, SampledOp)]
    asked = [(i, op) for i, op in ops if op.prompt or op.negative_prompt]
    if not asked:
        return []
    samples = list(_samples(planned))
    problems = [problem for i, op in asked for problem in _failing(i, op, samples)]
    if problems:
        raise RecipeError(report(planned.file.name, problems))
    return [_said(planned, i, op, sample) for i, op in asked for sample in samples]


def prompt_table(said: Sequence[Said]) -> Table:
    """The texts, as a dry run shows them."""
    table = Table(title="prompts", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for name in ("op", "sample", "prompt", "negative prompt"):
        table.add_column(name, overflow="fold")
    for one in said:
        table.add_row(*map(escape, (one.step, one.key, one.prompt, one.negative_prompt)))
    return table


def _samples(planned: RunPlan) -> Iterator[Sample]:
    """A few that can be read; what is wrong with others is told in their rows."""
    source = planned.recipe.source
    for one in _chosen(planned.chunks, _spread(range(planned.samples))):
        (encoded,) = read_chunk(one, source)
        try:
            yield decode(encoded, source)
        except SampleError:
            continue


def _chosen(chunks: Sequence[Chunk], numbers: Sequence[int]) -> Iterator[Chunk]:
    """The samples of these numbers in the whole source, each as a chunk of its own."""
    start = 0
    for chunk in chunks:
        end = start + len(chunk.samples)
        for place in (number - start for number in numbers if start <= number < end):
            yield Chunk(chunk.shard, 0, (chunk.samples[place],), "prompts")
        start = end


def _spread(items: Sequence[T]) -> list[T]:
    count = min(LOOKED_AT, len(items))
    return [items[(2 * i + 1) * len(items) // (2 * count)] for i in range(count)]


def _failing(position: int, op: SampledOp, samples: Sequence[Sample]) -> Iterator[Problem]:
    """Each template that fails, once, with the first sample that it fails on."""
    for field in ("prompt", "negative_prompt"):
        choice: Sequence[Prompt] = getattr(op, field)
        for j, prompt in enumerate(choice):
            place: Place = ("ops", position, field, *((j,) if len(choice) > 1 else ()))
            yield from _first_failure(place, prompt, samples)


def _first_failure(place: Place, prompt: Prompt, samples: Sequence[Sample]) -> Iterator[Problem]:
    for sample in samples:
        words = words_of(sample)
        try:
            rendered(prompt, words)
        except SampleError as error:
            hint = f"a template sees {', '.join(sorted(words))}"
            yield Problem(place, f"fails on {sample.key}: {error.detail}", (hint,))
            return


def _said(planned: RunPlan, position: int, op: SampledOp, sample: Sample) -> Said:
    step = f"{op.kind}#{position}"
    rng = rng_for(planned.recipe.seed, sample.key, 0, f"{step} in words")
    texts = drawn_prompts(op.prompt, op.negative_prompt, sample, rng)
    return Said(step, sample.key, texts.get("prompt", ""), texts.get("negative_prompt", ""))
