"""`publish: {require, lift}` in a recipe: a run is published only on the verdict of a lift test.

When all chunks are committed, the test is run with two arms: its baseline, and the same with this
run's own copies for copies. (Where an op looks at other images, those would show the student what
it must not know: then it is the recipe that is tested, on the labelled images alone.) The verdict
is written once, to `runs/<run>.verdict-<digest>.json`, and is there for the next start; the digest
covers the test's file and its data, so that a changed file is another test.

A run that is refused ends as an error, and stays as it is: its chunks pending, its verdict beside
its plan. It can be published by a test that is changed, or given up, by `noiseloom gc --abandon`. A
retry makes again what failed in a published run, and is not tested.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.console import Console

from jobs.lift.evaluate import make_lift_plan, show, tested
from jobs.run.plan import RunPlan
from jobs.tracking.run import Tracker
from pipeline.config import load_config
from pipeline.index.files import sink_errors
from pipeline.lift.config import Arm, LiftConfig
from pipeline.lift.subset import pool_of
from pipeline.lift.verdict import Verdict
from pipeline.recipe import needs_peers
from pipeline.sink.slots import read_slots, slot_of
from pipeline.storage.store import Store
from schemas.errors import RunError, SinkError
from schemas.recipe import Publish, Requirement
from schemas.spec import Spec

_ENOUGH: Final[Mapping[Requirement, tuple[Verdict, ...]]] = {
    "not_hurting": ("helps", "no difference shown"),
    "helping": ("helps",),
}


class RunVerdict(Spec):
    """What a lift test said of a run: in words, and where its report is."""

    run: str
    lift: str
    digest: str
    verdict: Verdict
    says: str
    report: str

    @property
    def path(self) -> str:
        """Where the sink keeps it."""
        return _path(self.run, self.digest)

    def enough(self, asked: Publish) -> bool:
        """Whether the run may be published."""
        return self.verdict in _ENOUGH[asked.require]


def check_not_refused(planned: RunPlan) -> None:
    """RunError where this run has been tested before, and refused."""
    test = lift_test(planned)
    if test is not None and not _decided(planned):
        verdict = _known(planned, test)
        if verdict is not None:
            _check(planned, verdict)


def verdict_of(planned: RunPlan, tracker: Tracker, console: Console) -> RunVerdict | None:
    """The verdict on which a run that is committed may be published, from before or from now; None
    where its recipe asks for none. RunError where it may not.
    """
    asked, test = planned.recipe.publish, lift_test(planned)
    if asked is None or test is None:
        return None
    verdict = _known(planned, test)
    if _decided(planned):
        return verdict
    if verdict is None:
        verdict = _tested(planned, test, Path(asked.lift), console)
        with sink_errors(planned.store):
            planned.store.create(verdict.path, verdict.model_dump_json(indent=1).encode() + b"\n")
    tracker.tags({"noiseloom.verdict": verdict.verdict, "noiseloom.verdict_says": verdict.says})
    _check(planned, verdict)
    return verdict


def verdicts_on(store: Store, run: str) -> list[RunVerdict]:
    """All that was ever said of a run."""
    with sink_errors(store):
        names = [n for n in store.entries("runs") if n.startswith(f"{run}.verdict-")]
        return [_read(store, f"runs/{name}") for name in sorted(names)]


def _decided(planned: RunPlan) -> bool:
    """The run has its slot: it is published, or would be but for a kill."""
    with sink_errors(planned.store):
        return slot_of(read_slots(planned.store), planned.run) is not None


def _check(planned: RunPlan, verdict: RunVerdict) -> None:
    asked = planned.recipe.publish
    if asked is not None and not verdict.enough(asked):
        raise RunError(
            f"{planned.run}: not published: {verdict.says}; publish.require is {asked.require}\n"
            f"The report: {verdict.report}. What is committed stays: change {asked.lift} to test "
            f"it anew, or give it up: noiseloom gc {planned.recipe.sink} --abandon {planned.run}"
        )


def lift_test(planned: RunPlan) -> LiftConfig | None:
    """The lift test of this run: the baseline, and the baseline with the run's copies for its."""
    asked = planned.recipe.publish
    if asked is None or planned.retry is not None:
        return None
    config = load_config(asked.lift, LiftConfig)
    baseline = config.arms[config.baseline]
    transforms = config.transforms_of(config.baseline)
    if needs_peers(planned.recipe):
        copies = {"recipe": str(planned.file)}
    else:
        copies = {"sink": planned.recipe.sink, "run": planned.run}
    arms = {
        config.baseline: baseline.model_copy(update={"over": None, "transforms": transforms}),
        _arm(config): Arm(transforms=transforms, share=baseline.share).model_copy(update=copies),
    }
    return config.model_copy(update={"arms": arms})


def _arm(config: LiftConfig) -> str:
    return "run" if config.baseline != "run" else "this-run"


def _digest(test: LiftConfig) -> str:
    return test.digest([pool_of(test.data).content, pool_of(test.validation).content])


def _path(run: str, digest: str) -> str:
    return f"runs/{run}.verdict-{digest}.json"


def _known(planned: RunPlan, test: LiftConfig) -> RunVerdict | None:
    path = _path(planned.run, _digest(test))
    with sink_errors(planned.store):
        return _read(planned.store, path) if planned.store.exists(path) else None


def _read(store: Store, path: str) -> RunVerdict:
    try:
        return RunVerdict.model_validate_json(store.read(path))
    except ValidationError:
        raise SinkError(f"{store.at(path)}: not a verdict; delete it to test again") from None


def _tested(planned: RunPlan, test: LiftConfig, file: Path, console: Console) -> RunVerdict:
    lift = make_lift_plan(file, test, console)
    findings = tested(lift, console)
    show(findings, lift, console)
    (finding,) = [one for one in findings if one.arm == _arm(test)]
    assert finding.verdict is not None, "it is not the baseline"
    points = f"{finding.difference} points of {test.metric} against {test.baseline}"
    return RunVerdict(
        run=planned.run,
        lift=str(file),
        digest=_digest(test),
        verdict=finding.verdict,
        says=f"{finding.verdict}, {points}",
        report=lift.report,
    )
