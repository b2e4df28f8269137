"""A trial: one arm, one seed. The unit of work of a lift test, and of its resuming.

A trial is named by a digest of everything that shapes it, so that what was done before is known
again, also after another arm was added to the file; and a changed student is another trial. Where
an arm is a run, the labelled images of all arms are drawn from those that the run has had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from pipeline.lift.arms import augmented, run_copies, run_rows, weaving_of
from pipeline.lift.config import LiftConfig
from pipeline.lift.evidence import Evidence
from pipeline.lift.feed import Feed, Showing
from pipeline.lift.leak import Watch, said
from pipeline.lift.subset import Pool, drawn, pool_of
from pipeline.ops.classic import Classic
from schemas.errors import RunError, SourceError
from schemas.recipe import digest_of
from schemas.sample import Sample
from schemas.spec import Spec

VERSION = 2
"""Of how a trial is made: raised where the same configuration gives another result."""


class Trial(Spec):
    """Which arm, with which seed; `id` covers all that shapes it. `labelled`: the contents of its
    labelled images, in the order drawn.
    """

    arm: str
    seed: int
    id: str
    labelled: tuple[str, ...]

    @property
    def path(self) -> str:
        """Where its result is, below `out`."""
        return f"trials/{self.id}.json"


class Result(Spec):
    """What a student of an arm knew in the end."""

    trial: Trial
    labelled: tuple[str, ...]
    augmented: int
    loss: float
    evidence: Evidence


def trials(config: LiftConfig, data: Pool, validation: Pool) -> list[Trial]:
    """All of them, seed by seed, so that arms can be compared before all is done. SourceError where
    there are not enough images to draw from.
    """
    shapes = {name: _shape(config, name, validation) for name in config.arms}
    found = {name: run_rows(arm) for name, arm in config.arms.items()}
    runs = {name: table for name, table in found.items() if table is not None}
    had = [set(table["source_hash"].to_pylist()) for table in runs.values()]
    among = set.intersection(*had) if had else None
    planned = []
    for seed in range(config.seed, config.seed + config.seeds):
        labelled = drawn(data, config.images, seed, among).contents
        for name in config.arms:
            parts = [shapes[name], seed, labelled, _copies(runs, name, labelled)]
            planned.append(Trial(arm=name, seed=seed, id=digest_of(parts), labelled=labelled))
    return planned


def _copies(
    runs: Mapping[str, pa.Table], name: str, labelled: Sequence[str]
) -> list[tuple[str | None, str | None]]:
    """What names the copies that a run has of the labelled images: shards are named by content."""
    if name not in runs:
        return []
    return [(row.key, row.shard) for row in run_copies(runs[name], name, labelled)]


def _shape(config: LiftConfig, name: str, validation: Pool) -> object:
    arm, weaving = config.arms[name], weaving_of(config, name)
    return {
        "version": VERSION,
        "data": config.data.model_dump(mode="json", exclude={"shards"}),
        "validation": validation.content,
        "leave_out": sorted(config.leave_out),
        "student": config.student.model_dump(mode="json"),
        "schooling": config.schooling.model_dump(mode="json"),
        "classes": config.classes,
        "transforms": list(config.transforms_of(name)),
        "woven": None if weaving is None else weaving.digest,
        "share": list(arm.share) if arm.augmented else None,
    }


def judged_on(validation: Pool, config: LiftConfig) -> list[Sample]:
    """The validation images; SourceError where one has no labels to judge by."""
    every = list(validation.samples())
    unknown = sorted(set(config.leave_out) - {sample.key for sample in every})
    if unknown:
        raise SourceError(f"leave_out: there is no validation image {', '.join(unknown)}")
    samples = [sample for sample in every if sample.key not in config.leave_out]
    if not samples:
        raise SourceError(f"{', '.join(validation.source.shards)}: not one sample can be used")
    if config.task == "segment" and any(sample.class_map_hw is None for sample in samples):
        raise SourceError("validation: a segmenter is judged by class-id maps: `segmentation`")
    return samples


def run_trial(config: LiftConfig, trial: Trial) -> Result:
    """Draws, weaves, trains, judges. RunError where an augmented image is a validation image."""
    import torch

    from pipeline.lift.students import learner
    from pipeline.lift.students.training import train

    device = "cuda" if config.gpus else "cpu"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(bool(config.gpus), warn_only=True)
    labelled = drawn(pool_of(config.data), config.images, trial.seed, trial.labelled)
    judged = judged_on(pool_of(config.validation), config)
    made = augmented(config, trial.arm, labelled, trial.seed, device)
    _check(Watch(judged), made, trial.arm)
    feed = _feed(config, trial, labelled.samples, made)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(trial.seed)
        student = learner(config, device)
        loss = train(student, feed, config.schooling)
    return Result(
        trial=trial,
        labelled=tuple(sorted(sample.key for sample in labelled.samples)),
        augmented=len(made),
        loss=loss,
        evidence=student.answers(judged),
    )


def _check(watch: Watch, made: Sequence[Sample], arm: str) -> None:
    leaks = list(watch.leaks(made, f"what arm {arm} made"))
    if leaks:
        raise RunError(f"leak: validation images were shown to the student\n{said(leaks)}")


def _feed(
    config: LiftConfig, trial: Trial, labelled: Sequence[Sample], made: Sequence[Sample]
) -> Feed:
    schooling, transforms = config.schooling, config.transforms_of(trial.arm)
    showing = Showing(
        schooling.crop,
        config.student.scale,
        config.student.tone,
        Classic(transforms=transforms) if transforms else None,
    )
    return Feed(
        real=labelled,
        augmented=made,
        share=config.arms[trial.arm].share,
        showing=showing,
        steps=schooling.steps,
        batch=schooling.batch,
        seed=trial.seed,
    )
