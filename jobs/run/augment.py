"""`noiseloom run RECIPE.yaml`: the whole way, from source shards to a published run.

Start it again after a kill: what is committed is not done again, and the result is that of an
undisturbed run, also where the source has changed meanwhile. Where nothing is left to do, neither
Ray nor a model is started. Two starts of a recipe on one sink take turns (`pipeline.sink.turns`). A
run whose share of failed copies passes its budget stops, unpublished; with a larger budget it goes
on from there. So does one that is stopped: by Ctrl-C, by SIGTERM (`jobs.stopping`), by a full disk.
One whose recipe says `publish:` is published on the verdict of a lift test alone
(`jobs.run.verdict`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.machines import cores
from jobs.run.counts import check_conserved, count_run, counted
from jobs.run.fingerprints import make_fingerprints
from jobs.run.follow import follow, to_follow
from jobs.run.live import Pace, Tally, live_view
from jobs.run.plan import RunPlan, check_recipe, make_plan, write_plan
from jobs.run.plan_file import PlanFile
from jobs.run.prompts import prompt_table, prompts_said
from jobs.run.record import Cost, record_exists, spent_in, versions, write_record
from jobs.run.sample_check import check_samples
from jobs.run.sheet import sheet_path, write_sheet
from jobs.run.stages import check_pools, print_stages, widths_here
from jobs.run.summary import print_plan, print_summary
from jobs.run.unchanged import remember, state_of, unchanged
from jobs.run.unrecorded import record_unrecorded, unrecorded
from jobs.run.verdict import check_not_refused, verdict_of
from jobs.stopping import stoppable
from jobs.tracking.run import Tracker, deliver_waiting, tracked
from pipeline.chain.attempts import excuse
from pipeline.codec import decode
from pipeline.flow.fingerprinting import journal_of
from pipeline.index.croissant import describe
from pipeline.index.files import pending_runs, published_path, published_runs
from pipeline.models import is_long
from pipeline.recipe import FullRecipe
from pipeline.sink.adoption import adopt, drop_adopted
from pipeline.sink.made import keep_made
from pipeline.sink.publication import committed, publish, unmade
from pipeline.sink.run_files import plan_path, run_file_if_sound
from pipeline.sink.slots import slots_taken
from pipeline.sink.turns import Turn, turn
from pipeline.source.plan import Chunk
from pipeline.storage.store import Store
from schemas.errors import NoiseloomError, RunError

ENOUGH: Final = 20
"""Copies before a share of failures means something; at the end of a run any number does."""

CHECKING: Final = "checking the recipe and its models"
"""Shown while that lasts, on a terminal: albumentations or diffusers alone take seconds to load."""


def dry_run(path: str | Path, console: Console) -> None:
    """Validates everything, prints the plan and the digest; loads no model and writes nothing."""
    with console.status(CHECKING):
        planned = make_plan(path, console)
        failing = check_samples(planned, decode)
        said = prompts_said(planned)
    done = committed(planned.store, planned.run)
    print_plan(planned, done, console)
    print_stages(planned, len(planned.chunks) - len(done), console)
    if said:
        console.print(prompt_table(said))
    for line in failing:
        text = f"a sample that will fail: {line}"
        console.print(text, style="yellow", soft_wrap=True, markup=False, highlight=False)


def augment(path: str | Path, console: Console) -> None:
    """Runs, or resumes, this recipe. Where the source is as it was when it was last done with, it
    is not even planned (`jobs.run.unchanged`).
    """
    with console.status(CHECKING):
        checked = check_recipe(path)
        run = unchanged(checked)
    if run is not None:
        _say_nothing_to_do(run, "the source has not changed", checked.recipe, console)
        return
    with console.status("reading the headers of the source"):
        state = state_of(checked)
        planned = make_plan(path, console, checked)
    if augment_plan(planned, console) is planned:  # else the source was looked at again since
        remember(planned, checked, state)


def augment_plan(planned: RunPlan, console: Console) -> RunPlan:
    """Runs, or resumes, what is planned: a recipe's run, or another run's retry. A recipe is
    planned anew where another start had to be waited for, or anybody has published since.
    """
    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    with stoppable():
        if _nothing_to_do(planned, console):
            return planned
        with turn(planned.store, planned.file.stem, say) as mine:
            late = mine.waited or slots_taken(planned.store) != planned.slots
            if late and planned.retry is None:
                planned = make_plan(planned.file, console)
            if not late or not _nothing_to_do(planned, console):
                mine.plan(planned.run)
                _augment(planned, mine, console)
    return planned


def _nothing_to_do(planned: RunPlan, console: Console) -> bool:
    check_not_refused(planned)
    if _missing(planned) or _unfinished(planned) or to_follow(planned):
        return False
    if planned.retry is None and unrecorded(planned.store, planned.file.stem):
        return False
    keep_made(planned.store, planned.made)
    many = f"all {len(planned.due)} chunks are published"
    _say_nothing_to_do(planned.run, many, planned.recipe, console)
    return True


def _say_nothing_to_do(run: str, why: str, recipe: FullRecipe, console: Console) -> None:
    console.print(f"{run}: nothing to do, {why}", highlight=False, soft_wrap=True)
    deliver_waiting(recipe.tracking, run, Store(recipe.sink), console)


def _missing(planned: RunPlan) -> list[Chunk]:
    done = committed(planned.store, planned.run)
    return [chunk for chunk in planned.due if chunk.id not in done]


def _augment(planned: RunPlan, mine: Turn, console: Console) -> None:
    missing = _missing(planned)
    if not missing and not _unfinished(planned):
        keep_made(planned.store, planned.made)
        _settle(planned, mine, console)
        return
    if missing and planned.retry is None:
        check_samples(planned)
    check_pools(planned)
    write_plan(planned)
    ours = [chunk.id for chunk in missing]
    taken = adopt(planned.store, planned.run, ours, partial(_alike, planned))
    mine.take_over(taken)
    missing = _missing(planned)
    console.print(_opening(planned, len(missing)), highlight=False)
    for run, chunks in taken.items():
        console.print(f"{chunks} chunks are taken over from {run}, which was not finished")
    with tracked(planned.recipe.tracking, planned, versions(), console) as tracker:
        pace = _weave(planned, missing, mine, tracker, console) if missing else Pace(0, 0.0)
        _finish(planned, pace, mine, tracker, console)


def _alike(planned: RunPlan, other: str) -> bool:
    """Whether another run's copies are to the bit what this one's would be."""
    theirs = run_file_if_sound(planned.store, plan_path(other), PlanFile)
    if theirs is None or theirs.known != planned.known:
        return False
    return not planned.models or is_long(theirs.attempts) == is_long(planned.attempts)


def _unfinished(planned: RunPlan) -> bool:
    """All chunks are there, but a kill came before, in or after the publishing."""
    store, run = planned.store, planned.run
    if run in pending_runs(store) or any(slot.run == run for slot in unmade(store)):
        return True
    return run in published_runs(store) and not record_exists(store, run)


def _opening(planned: RunPlan, missing: int) -> str:
    chunks, copies = len(planned.due), planned.attempts
    found = f", {chunks - missing} of them committed before" if missing < chunks else ""
    many = counted(chunks, "chunk")
    return f"{planned.run}: {planned.samples} samples, {copies} copies, {many}{found}"


def _weave(
    planned: RunPlan, missing: Sequence[Chunk], mine: Turn, tracker: Tracker, console: Console
) -> Pace:
    """The missing chunks, woven and committed; the pace of this session."""
    from jobs.ray_session import ray_session

    tally = found = _tally(planned, missing)
    session = secrets.token_hex(8)
    under_way = {chunk.id for chunk in missing} | {journal_of(path) for path in planned.known}
    with ExitStack() as stack:
        stack.enter_context(_excused(planned, under_way))  # first: it ends when Ray is down
        console.print("starting Ray ...")
        stack.enter_context(ray_session(num_cpus=cores() + 1))
        from pipeline.flow.graph import run_flow

        widths = widths_here(planned, len(missing), console)
        show = stack.enter_context(live_view(console, tally))
        make_fingerprints(planned, session, console)
        recipe, attempts, known = planned.recipe, planned.attempts, planned.known
        flow = run_flow(
            missing, recipe, planned.run, planned.digest, session, attempts, widths, known
        )
        pace, start = Pace(0, 0.0, (0.0,) * len(widths)), 0.0
        for receipt in stack.enter_context(closing(flow)):
            # Actors and models start once: the clock runs from where the first chunk's ops began.
            start = start or time.monotonic() - receipt.seconds
            mine.spend(spent_in(planned.recipe, receipt.stages))
            tally = tally.plus(receipt)
            under_way.discard(receipt.chunk)
            stages = tuple(a + b for a, b in zip(pace.stages, receipt.stages, strict=True))
            pace = Pace(tally.attempted - found.attempted, time.monotonic() - start, stages)
            show(tally, pace)
            tracker.progress(tally, pace)
            if tally.attempted >= ENOUGH:
                _check_budget(planned, tally.failed, tally.attempted)
    return pace


@contextmanager
def _excused(planned: RunPlan, under_way: Collection[str]) -> Iterator[None]:
    """Whatever ends the block in order has killed nobody: the journal of attempts learns of it."""
    try:
        yield
    except BaseException:
        with suppress(NoiseloomError):  # a full disk, a store that is away: it costs time at most
            excuse(planned.store, planned.run, under_way)
        raise


def _finish(planned: RunPlan, pace: Pace, mine: Turn, tracker: Tracker, console: Console) -> None:
    """Publishes, if the verdict allows it, and leaves the pictures and the record; a step may find
    itself done already.
    """
    store, run = planned.store, planned.run
    counts = count_run(store, run)
    check_conserved(planned, counts)
    _check_budget(planned, counts.failed, counts.attempted)
    verdict = verdict_of(planned, tracker, console)
    order = [chunk.id for chunk in planned.due]
    publish(store, run, order)
    drop_adopted(store, run, order)
    counts = count_run(store, run)  # without the chunks that another run published meanwhile
    check_conserved(planned, counts)
    sheet = write_sheet(planned, counts.kept)
    tracker.summary(counts.figures())
    if sheet is not None:
        tracker.picture("contact_sheet.png", sheet_path(planned.run))
    tracker.output(store.at(published_path(run)), describe(store, run))
    cost = Cost.of(planned, counts.chunks, mine.spent())
    write_record(planned, counts, pace, cost, tracker.run_id, verdict)
    print_summary(planned, counts, pace, console)
    _settle(planned, mine, console)


def _settle(planned: RunPlan, mine: Turn, console: Console) -> None:
    """What is left to do for the recipe, other than its copies."""
    follow(planned, console)
    if planned.retry is None:
        record_unrecorded(planned.store, planned.file.stem, mine, console)
    mine.finish()


def _tally(planned: RunPlan, missing: Sequence[Chunk]) -> Tally:
    """Where this session starts. Chunks that another run has published are not this run's."""
    counts = count_run(planned.store, planned.run)
    mine = len(counts.chunks)
    ahead = sum(chunk.attempts(planned.recipe.copies) for chunk in missing)
    return Tally(
        chunks=mine + len(missing),
        copies=counts.attempted + ahead,
        committed=mine,
        kept=counts.kept,
        rejected=counts.rejected,
        failed=counts.failed,
    )


def _check_budget(planned: RunPlan, failed: int, attempted: int) -> None:
    allowed = planned.recipe.budget.failed
    if not attempted or failed / attempted <= allowed:
        return
    reasons = count_run(planned.store, planned.run).reasons_text("failed")
    raise RunError(
        f"{planned.run}: {failed} of {attempted} copies failed ({reasons}); budget.failed allows "
        f"{allowed:.0%}\nNothing is published. What is committed stays: raise budget.failed in "
        f"{planned.file} and start the run again to go on."
    )
