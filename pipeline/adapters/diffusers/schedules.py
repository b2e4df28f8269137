"""Steps and noise levels as diffusers' users know them, and schedulers by their names.

`steps` is the whole schedule; a strength s runs the last k = max(1, round(s * steps)) of it. The
pipelines turn a strength into k in two ways, `int(n * s)` and `n - int(n - n * s)`, both of floats:
`strength_for` looks for the one for which a pipeline's own `get_timesteps` gives exactly k.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from math import nextafter
from typing import TYPE_CHECKING, Any, Final

from pipeline.adapters.diffusers.errors import first_line
from schemas.errors import ModelError
from schemas.models import Scheduler

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline, SchedulerMixin

FOREIGN_NOISE: Final = frozenset({"DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler"})
"""They draw noise of their own (a Brownian tree), which is not each sample's."""


def steps_of(strength: float, steps: int) -> int:
    """How many of the steps a strength runs."""
    return min(steps, max(1, round(strength * steps)))


def strength_for(pipeline: type[DiffusionPipeline], steps: int, run: int) -> float:
    """A strength for which this pipeline runs exactly the last `run` of its steps."""
    for strength in candidates(steps, run):
        if timesteps_run(pipeline, steps, strength) == run:
            return strength
    raise ValueError(f"{pipeline.__name__}: no strength runs {run} of {steps} steps")


def candidates(steps: int, run: int) -> Sequence[float]:
    """k/n and the floats beside it; 1 for all steps."""
    if run == steps:
        return (1.0,)
    exact = run / steps
    up, down = nextafter(exact, 1), nextafter(exact, 0)
    return (exact, up, down, nextafter(up, 1), nextafter(down, 0), (run + 0.5) / steps)


class _Clock:
    """As much of a pipeline and its scheduler as `get_timesteps` reads."""

    order = 1
    config: Final[dict[str, int]] = {}

    def __init__(self, steps: int) -> None:
        self.timesteps = range(steps)
        self.scheduler = self


def timesteps_run(pipeline: type[DiffusionPipeline], steps: int, strength: float) -> int:
    """How many steps a pipeline runs at a strength, by its own reckoning."""
    timesteps: Sequence[int]
    timesteps, _ = pipeline.get_timesteps(_Clock(steps), steps, strength, None)
    return len(timesteps)


def check_scheduler(scheduler: Scheduler, own: str) -> None:
    """ModelError where diffusers has none of this name, it draws noise that is not the sample's
    own, has no such setting, or cannot take the place of the pipeline's `own`, a class's name.
    """
    import diffusers
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

    if scheduler.name in FOREIGN_NOISE or scheduler.settings.get("stochastic_sampling"):
        raise ModelError(
            f"scheduler: {scheduler.name} draws noise that is not each sample's own, so that no "
            "sample could be made again; take another one"
        )
    found = getattr(diffusers, scheduler.name, None)
    if not (inspect.isclass(found) and issubclass(found, SchedulerMixin)):
        names = [name for name in dir(diffusers) if name.endswith("Scheduler")]
        near = difflib.get_close_matches(scheduler.name, names, 1, 0.3)
        hint = f"; did you mean {near[0]}?" if near and near != [scheduler.name] else ""
        raise ModelError(f"scheduler: diffusers has none called {scheduler.name} here{hint}")
    if scheduler.name.startswith("FlowMatch") != own.startswith("FlowMatch"):
        raise ModelError(
            f"scheduler: {scheduler.name} cannot take the place of {own}: one is for models of "
            "flow matching, the other is not"
        )
    known = inspect.signature(found.__init__).parameters
    for name in scheduler.settings:
        if name not in known:
            near = difflib.get_close_matches(name, list(known), 1, 0.3)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ModelError(f"scheduler: {scheduler.name} has no setting {name}{hint}")


def scheduler_of(scheduler: Scheduler, own: SchedulerMixin) -> SchedulerMixin:
    """The named scheduler with the configuration of the pipeline's own and these settings."""
    import diffusers

    check_scheduler(scheduler, type(own).__name__)
    config: dict[str, Any] = dict(own.config) | scheduler.settings
    try:
        made = getattr(diffusers, scheduler.name).from_config(config)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelError(f"scheduler: {scheduler.name}: {first_line(error)}") from None
    return made


@contextmanager
def shifted_as(scheduler: SchedulerMixin, tokens: int) -> Iterator[None]:
    """While this lasts a schedule is shifted towards noise no further than for a picture of this
    many tokens: Flux shifts by the size of the picture, of which its windows see a part.
    """
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        yield
        return
    small, large = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    low, high = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    most = low + (high - low) * (tokens - small) / (large - small)
    set_timesteps = scheduler.set_timesteps

    @wraps(set_timesteps)
    def bounded(*given: object, **named: Any) -> None:
        if named.get("mu") is not None:
            named["mu"] = min(named["mu"], most)
        set_timesteps(*given, **named)

    scheduler.set_timesteps = bounded
    try:
        yield
    finally:
        scheduler.set_timesteps = set_timesteps
