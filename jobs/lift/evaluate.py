"""`noiseloom evaluate LIFT.yaml`: does it help? The lift test, and its verdicts.

First the validation images are held against everything that the students and the models have seen;
a leak stops the test by name. Then every arm is trained with every seed, spread over Ray, one core
(or the GPUs that the file says) each. A result is written once, when it comes: start the command
again after a kill, and it goes on; add an arm, and the others are not trained again. It ends with

    <out>/<digest>/report.md, lift.json, lift.png     the table, for programs, and the plot
    <out>/trials/, <out>/woven/                       results, and copies of the labelled images
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from jobs.lift.leaks import check_leaks
from jobs.ray_session import ray_session
from jobs.stopping import stoppable
from jobs.tracking.run import Tracker, deliver_waiting, ended, open_tracker
from jobs.training.progress import training_progress
from pipeline.config import load_config
from pipeline.index.files import sink_errors
from pipeline.lift.config import LiftConfig
from pipeline.lift.report import PLOT, as_json, columns, figures, markdown, rows
from pipeline.lift.subset import pool_of
from pipeline.lift.trial import Result, Trial, judged_on, trials
from pipeline.storage.store import Store
from schemas.errors import NoiseloomError, RunError, SinkError

if TYPE_CHECKING:
    from pipeline.lift.verdict import Finding


@dataclass(frozen=True)
class LiftPlan:
    """A lift test that has passed its checks. `notes`: what the leak check looked at."""

    file: Path
    config: LiftConfig
    trials: tuple[Trial, ...]
    images: int
    notes: tuple[str, ...]

    @property
    def store(self) -> Store:
        """Where everything is kept."""
        return Store(self.config.out)

    @property
    def digest(self) -> str:
        """Of all that shapes the report."""
        return self.config.digest([[trial.id for trial in self.trials], self.notes])

    @property
    def report(self) -> str:
        """Where the page is."""
        return self.store.at(f"{self.digest}/report.md")

    @property
    def run(self) -> str:
        """The test's name in MLflow."""
        return f"lift-{self.file.stem}-{self.digest}"


def evaluate(path: str | Path, console: Console) -> None:
    """Runs, or resumes, this lift test."""
    with stoppable():
        planned = make_lift_plan(path, load_config(path, LiftConfig), console)
        show(tested(planned, console), planned, console)


def dry_run(path: str | Path, console: Console) -> None:
    """Checks everything, the leaks too, and says what there is to do."""
    planned = make_lift_plan(path, load_config(path, LiftConfig), console)
    missing = len(_missing(planned))
    many = len(planned.trials)
    console.print(f"{planned.run}: {missing} of {many} trainings to do", highlight=False)


def tested(planned: LiftPlan, console: Console) -> list[Finding]:
    """The findings of a lift test, from what was done before, and from what is done now."""
    missing = _missing(planned)
    if not missing and planned.store.exists(f"{planned.digest}/report.md"):
        console.print(f"{planned.run}: nothing to do, all {len(planned.trials)} trainings are done")
        deliver_waiting(planned.config.tracking, planned.run, planned.store, console)
        return _findings(planned, console)
    many, config = len(planned.trials), planned.config
    console.print(
        f"{planned.run}: {len(config.arms)} arms, {config.seeds} seeds, {len(missing)} of {many} "
        "trainings to do",
        highlight=False,
    )
    tracker = open_tracker(config.tracking, planned.run, planned.store, console, "lift test")
    tracker.begin(planned.run, _params(config), planned.file.name, planned.file.read_text())
    with ended(tracker):
        if missing:
            _train(planned, missing, tracker, console)
        findings = _findings(planned, console)
        _write(planned, findings, tracker)
    return findings


def make_lift_plan(path: str | Path, config: LiftConfig, console: Console) -> LiftPlan:
    """Everything that can be checked before the first training; RunError where there is a leak.
    `path` is the file that the configuration is from.
    """
    if config.student.kind == "torchvision":
        from pipeline.lift.students import check_student

        check_student(config)
    data, validation = pool_of(config.data), pool_of(config.validation)
    planned = tuple(trials(config, data, validation))
    judged = judged_on(validation, config)
    notes = check_leaks(config, data, judged, console)
    unread = len(validation.places) - len(judged) - len(config.leave_out)
    if unread:
        notes.append(f"not judged on: {unread} validation images that cannot be used")
        console.print(notes[-1])
    return LiftPlan(Path(path), config, planned, len(judged), tuple(notes))


def _missing(planned: LiftPlan) -> list[Trial]:
    with sink_errors(planned.store):
        there = set(planned.store.list("trials"))
    return [trial for trial in planned.trials if trial.path not in there]


def _train(planned: LiftPlan, missing: Sequence[Trial], tracker: Tracker, console: Console) -> None:
    """The missing trials, each written when it comes."""
    console.print("starting Ray ...")
    many = len(planned.trials)
    with ray_session(), training_progress(console) as progress:
        bar = progress.add_task("trainings", total=many, completed=many - len(missing), loss="")
        for done, result in enumerate(_results(planned.config, missing), many - len(missing) + 1):
            with sink_errors(planned.store):
                data = result.model_dump_json(indent=1).encode() + b"\n"
                planned.store.create(result.trial.path, data)
            score = _score(result, planned.config)
            arm, seed = result.trial.arm, result.trial.seed
            tracker.metrics({f"trial/{arm}": score}, seed)
            progress.update(bar, completed=done)
            console.print(
                f"{done} of {many}: {arm}, seed {seed}: {100 * score:.1f} % "
                f"(loss {result.loss:.3f}, {result.augmented} augmented images)",
                highlight=False,
            )


def _results(config: LiftConfig, missing: Sequence[Trial]) -> Iterator[Result]:
    """In the order in which they are done. RunError where a training fails."""
    import ray
    from ray.exceptions import RayError

    task = ray.remote(num_cpus=1, num_gpus=config.gpus)(_task)
    waiting = [task.remote(config.model_dump_json(), trial.model_dump_json()) for trial in missing]
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=1)
        try:
            text = ray.get(ready[0])
        except RayError as error:
            raise _cause(error) from error
        yield Result.model_validate_json(text)


def _task(config: str, trial: str) -> str:
    from pipeline.lift.trial import run_trial

    done = run_trial(LiftConfig.model_validate_json(config), Trial.model_validate_json(trial))
    return done.model_dump_json()


def _cause(error: BaseException) -> NoiseloomError:
    """Our own message as it is; of anything else its type and what it says."""
    cause = getattr(error, "cause", None) or error
    if isinstance(cause, NoiseloomError):
        return cause
    lines = [line for line in str(cause).splitlines() if line.strip()]
    says = f"{type(cause).__name__}: {lines[-1] if lines else ''}"
    return RunError(f"a training stopped: {says}; start the same command again to go on")


def _score(result: Result, config: LiftConfig) -> float:
    scores = result.evidence.scores(np.ones(result.evidence.images))
    wanted = scores[[config.classes.index(name) for name in config.deciding]]
    return float(np.nanmean(wanted)) if np.isfinite(wanted).any() else 0.0


def _findings(planned: LiftPlan, console: Console) -> list[Finding]:
    from pipeline.lift.verdict import judge

    config = planned.config
    found = {trial.id: _read(planned.store, trial) for trial in planned.trials}
    answers = {
        arm: [found[trial.id].evidence for trial in planned.trials if trial.arm == arm]
        for arm in config.arms
    }
    with console.status(f"{config.resamples} resamples of seeds and images"):
        return judge(answers, config.baseline, config.classes, config.deciding, config.resamples)


def _read(store: Store, trial: Trial) -> Result:
    try:
        with sink_errors(store):
            return Result.model_validate_json(store.read(trial.path))
    except ValidationError:
        says = "not a result of this version; delete it, and it is made again"
        raise SinkError(f"{store.at(trial.path)}: {says}") from None


def _write(planned: LiftPlan, findings: Sequence[Finding], tracker: Tracker) -> None:
    from pipeline.lift.plot import plot

    config, store, folder = planned.config, planned.store, planned.digest
    buffer = io.BytesIO()
    plot(findings, config.baseline, config.metric).save(buffer, "png")
    page = markdown(planned.file.stem, findings, config, planned.images, planned.notes)
    files = {
        PLOT: buffer.getvalue(),
        "lift.json": as_json(findings, config, planned.images, planned.notes),
        "report.md": page.encode(),  # last: it says that all is there
    }
    with sink_errors(store):
        for name, data in files.items():
            store.create(f"{folder}/{name}", data)
    tracker.summary(figures(findings))
    tracker.picture(PLOT, f"{folder}/{PLOT}")
    tracker.text("report.md", page)


def _params(config: LiftConfig) -> dict[str, str]:
    shape = config.model_dump(mode="json", exclude={"tracking", "arms"})
    return {name: str(value) for name, value in shape.items()} | {
        f"arm.{name}": str(arm.model_dump(mode="json", exclude_defaults=True))
        for name, arm in config.arms.items()
    }


def show(findings: Sequence[Finding], planned: LiftPlan, console: Console) -> None:
    """The table, and where the report is."""
    table = Table(*columns(planned.config))
    for row in rows(findings, planned.config):
        table.add_row(*row)
    console.print(table)
    console.print(f"report: [bold]{planned.report}[/]", soft_wrap=True)
