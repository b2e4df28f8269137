"""One scenario with one seed: the fault, reruns until it is done, the result before the laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from typer.testing import CliRunner

from tests.chaos.arena import Arena
from tests.chaos.laws import Terms, Verdict, judge, left_over, published
from tests.chaos.reader import reading
from tests.chaos.stage import Kind, Stage

TRIES: Final = 4
"""Reruns after the fault. One has to be enough; more are counted, and then it is a failure."""

USUAL: Final = Kind()

Cause = Callable[[Arena, Stage, Random], Terms]


@dataclass(frozen=True)
class Scenario:
    """A fault, and where it happens. `number` is the one that the issue gives it."""

    name: str
    number: int
    cause: Cause
    kind: Kind = USUAL
    tracked: bool = False


@dataclass(frozen=True)
class Case:
    """What came of one scenario with one seed."""

    scenario: str
    seed: int
    runs: int
    faults: int
    verdict: Verdict
    added_s: float
    said: str = ""

    @property
    def green(self) -> bool:
        """The fault really happened, and no law is broken."""
        return self.verdict.green and self.faults > 0


def play(arena: Arena, scenario: Scenario, seed: int) -> Case:
    """From an empty sink to the verdict."""
    undisturbed, usual_s = arena.undisturbed(scenario.kind)
    rng = Random(f"{scenario.name} {seed}")
    name = f"{scenario.name}-{seed}"
    tracking = f"'{arena.mlflow.uri}', experiment: {name}" if scenario.tracked else "null"
    with arena.stage(scenario.kind, name, tracking) as stage:
        with reading(stage.view) as reader:
            terms = scenario.cause(arena, stage, rng)
            stage.orders.withdraw()
            if stage.proxy is not None:
                stage.proxy.clear()
            _finish(stage)
            found = published(stage.view)
            verdict = judge(found, undisturbed, reader, terms)
            wrong = [*stage.wrong, *verdict.wrong, *_checked(stage)]
        wrong += left_over(stage.view.names(), undisturbed.names, terms)
        added = stage.seconds - usual_s
        return Case(
            scenario.name,
            seed,
            stage.runs,
            stage.faults,
            replace(verdict, wrong=tuple(wrong)),
            added,
            "\n".join(stage.said),
        )


def _finish(stage: Stage) -> None:
    """The command again, until it ends well."""
    for _ in range(TRIES):
        ended = stage.run()
        if ended.code == 0:
            return
        stage.wrong.append(f"a rerun without any fault ended with {ended.code}")


def _checked(stage: Stage) -> list[str]:
    """`noiseloom gc`, then `noiseloom verify`."""
    wrong = []
    for command in ("gc", "verify"):
        code, text = command_line(command, stage.sink)
        stage.said.append(f"--- noiseloom {command}: {code}\n{text}")
        if code != 0:
            wrong.append(f"noiseloom {command} ended with {code}")
        if "run_unfinished" in text or "unreferenced_shard" in text:
            wrong.append(f"noiseloom {command} found something unfinished")
    return wrong


def command_line(*arguments: str) -> tuple[int, str]:
    """A command in this process: it loads what a process of its own would load again each time."""
    from jobs.cli.main import app

    done = CliRunner().invoke(app, list(arguments))
    error = (
        "" if done.exception is None or isinstance(done.exception, SystemExit) else done.exception
    )
    return done.exit_code, f"{done.output}{error}"
