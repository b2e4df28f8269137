"""The leak check of a lift test: validation images against all that students and models have seen.

Against every image of the data, drawn or not, for the models of the arms may know them; against
what those models were trained on, as far as their cards say and the shards are here; and in each
training against the images that its arm was given. What could not be looked at is said, in the
report too: a verdict is worth no more than this check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from rich.console import Console
from rich.progress import track

from pipeline.lift.config import LiftConfig
from pipeline.lift.leak import Leak, Watch, said
from pipeline.lift.seen import Seen, models_of_run, seen_by
from pipeline.lift.subset import Pool, pool_of
from pipeline.recipe import load_recipe
from schemas.errors import RunError, SourceError
from schemas.models import AnyModel, NativeModel
from schemas.sample import Sample


def check_leaks(
    config: LiftConfig, data: Pool, judged: Sequence[Sample], console: Console
) -> list[str]:
    """What was looked at, and what could not be, in words; RunError names the leaks."""
    watch = Watch(judged)
    leaks: list[Leak] = []
    notes: list[str] = []
    shards = ", ".join(config.data.shards)
    leaks += watch.leaks(_looked_at(data, console), shards)
    notes.append(f"all {len(data.places)} images of {shards}")
    for seen in _seen(config):
        found, note = _held(watch, seen, console)
        leaks += found
        notes.append(note)
    if leaks:
        raise RunError(
            f"leak: {len(leaks)} images that were seen are validation images; nothing is tested\n"
            f"{said(leaks)}\nTake them out of what was learnt, or name them under leave_out"
        )
    for note in notes:
        console.print(f"no leak: {note}" if "not checked" not in note else note, markup=False)
    return notes


def _seen(config: LiftConfig) -> Iterator[Seen]:
    """Of all models of all arms, each once; and the same images of a model once."""
    told: set[object] = set()
    unlabelled = (
        Seen(name, training.unlabelled)
        for name, training in config.denoisers.items()
        if training.unlabelled is not None
    )
    for seen in chain(unlabelled, *(seen_by(models) for models in _models(config))):
        of = seen.source
        what = str(seen) if of is None else (seen.model, of.shards, of.image)
        if what not in told:
            told.add(what)
            yield seen


def _models(config: LiftConfig) -> Iterator[dict[str, AnyModel]]:
    yield config.models
    yield {
        name: NativeModel(native=training.init)
        for name, training in config.denoisers.items()
        if training.init is not None
    }
    for arm in config.arms.values():
        if arm.recipe is not None:
            yield load_recipe(arm.recipe).models
        elif arm.sink is not None and arm.run is not None:
            yield models_of_run(arm.sink, arm.run)


def _looked_at(pool: Pool, console: Console) -> Iterator[Sample]:
    many, quiet = len(pool.places), not console.is_terminal
    yield from track(
        pool.samples(), "looking for leaks", many, console=console, transient=True, disable=quiet
    )


def _held(watch: Watch, seen: Seen, console: Console) -> tuple[list[Leak], str]:
    if seen.source is None:
        return [], f"not checked: {seen.where}: {seen.detail}"
    try:
        pool = pool_of(seen.source)
    except SourceError as error:
        return [], f"not checked: {seen.where}: {error}"
    leaks = list(watch.leaks(_looked_at(pool, console), seen.where))
    return leaks, f"{seen.where}: {len(pool.places)} images"
