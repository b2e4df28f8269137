"""`python -m tests.chaos --seeds 20`: every fault of the matrix, really caused, with every seed.

    --only NAME[,NAME]   these scenarios alone         --first N   the first seed (0)
    --keep               leave the sinks behind, and say where they are

At the end a table; exit code 1 where a law is broken or a fault did not happen with any seed. A
failure is repeated by `--only NAME --first SEED --seeds 1`.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from tests.chaos.arena import Arena
from tests.chaos.matrix import SCENARIOS
from tests.chaos.scenario import Case, Scenario, play

COLUMNS = ("scenario", "fault", "seeds", "runs", "faults", "lost", "doubled", "partial", "added s")


def main() -> int:
    """The whole matrix."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", default=",".join(names), help=", ".join(names))
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",")
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"no scenario {', '.join(unknown)}; there are: {', '.join(names)}")
    chosen = [scenario for scenario in SCENARIOS if scenario.name in wanted]
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no Ray stays behind
    console = Console(file=sys.stderr)  # fixed: commands are run in this process, and captured
    folder = Path(tempfile.mkdtemp(prefix="noiseloom-chaos-"))
    cases: list[Case] = []
    try:
        cases += run(folder, chosen, seeds, console)
    finally:
        if arguments.keep:
            console.print(f"left behind: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    for case in cases:
        _explain(case, console)
    Console(width=140).print(table(chosen, cases))
    return 0 if all(_green(scenario, cases) for scenario in chosen) else 1


def run(
    folder: Path, chosen: Sequence[Scenario], seeds: Sequence[int], console: Console
) -> list[Case]:
    """Every scenario with every seed, one after the other."""
    cases: list[Case] = []
    columns = (
        TextColumn("{task.description}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Arena(folder) as arena, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=len(chosen) * len(seeds))
        for scenario in chosen:
            for seed in seeds:
                progress.update(task, description=f"{scenario.name} {seed}")
                case = play(arena, scenario, seed)
                cases.append(case)
                progress.advance(task)
                progress.console.print(_line(case), highlight=False, soft_wrap=True)
    return cases


def _line(case: Case) -> str:
    said = "holds" if case.verdict.green else f"broken: {case.verdict.wrong[:3]}"
    counts = f"{case.runs} runs, {case.faults} faults, {case.added_s:+.0f} s"
    return f"{case.scenario} {case.seed}: {counts}, {said}"


def table(chosen: Sequence[Scenario], cases: Sequence[Case]) -> Table:
    """A line per scenario, and one for all."""
    result = Table(box=box.SIMPLE_HEAD)
    for name in (*COLUMNS, "verdict"):
        result.add_column(name, justify="left" if name in ("scenario", "verdict") else "right")
    for scenario in chosen:
        its = [case for case in cases if case.scenario == scenario.name]
        result.add_row(scenario.name, str(scenario.number), *_figures(its), _said(scenario, cases))
    result.add_section()
    result.add_row("all", "", *_figures(cases), "")
    return result


def _figures(cases: Sequence[Case]) -> list[str]:
    added = sorted(case.added_s for case in cases)
    sums = (
        len(cases),
        sum(case.runs for case in cases),
        sum(case.faults for case in cases),
        sum(case.verdict.lost for case in cases),
        sum(case.verdict.doubled for case in cases),
        sum(case.verdict.partial for case in cases),
    )
    return [*map(str, sums), f"{added[len(added) // 2]:.1f}" if added else "-"]


def _said(scenario: Scenario, cases: Sequence[Case]) -> Text:
    if _green(scenario, cases):
        return Text("holds", "green")
    its = [case for case in cases if case.scenario == scenario.name]
    broken = [str(case.seed) for case in its if not case.verdict.green]
    told = f"broken: seeds {', '.join(broken)}" if broken else "the fault never happened"
    return Text(told, "red")


def _green(scenario: Scenario, cases: Sequence[Case]) -> bool:
    its = [case for case in cases if case.scenario == scenario.name]
    return all(case.verdict.green for case in its) and any(case.faults for case in its)


def _explain(case: Case, console: Console) -> None:
    if case.verdict.green:
        return
    console.rule(f"{case.scenario} {case.seed}", style="red")
    console.print(case.said, markup=False, highlight=False)
    for line in case.verdict.wrong[:20]:
        console.print(line, style="red", markup=False, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
