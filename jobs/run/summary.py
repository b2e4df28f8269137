"""What a run says before it starts and after it ends, as tables on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.run.counts import Counts, counted
from jobs.run.live import Pace
from jobs.run.plan import RunPlan
from jobs.run.rare import rare_table
from jobs.run.sheet import sheet_path
from jobs.tracking.run import look_command
from pipeline.index.files import published_path
from pipeline.recipe import FullRecipe
from pipeline.sink.run_files import record_path
from pipeline.source.shards import ShardFinding
from pipeline.storage.secrets import without_secrets

SHOWN_BEFORE: Final = 20
"""Lines of findings in the table of a dry run."""

SHOWN_AFTER: Final = 5


def print_plan(planned: RunPlan, done: AbstractSet[str], console: Console) -> None:
    """What would be done."""
    recipe = planned.recipe
    table = _table(f"{planned.run} (dry run)")
    table.add_row("digest", planned.digest)
    for shard in planned.shards:
        chunks = [chunk for chunk in planned.chunks if chunk.shard == shard]
        samples = sum(len(chunk.samples) for chunk in chunks)
        many = f"{counted(samples, 'sample')}, {counted(len(chunks), 'chunk')}"
        table.add_row("source", escape(f"{shard.url}: {many}"))
    for line in finding_lines(planned.findings, SHOWN_BEFORE):
        table.add_row("[yellow]finding[/yellow]", escape(line))
    for name, card in planned.cards.items():
        table.add_row("model", escape(f"{name}: {card.about} ({card.digest})"))
    for i, op in enumerate(recipe.ops):
        table.add_row(
            "op", f"{op.kind}#{i}, p={op.p:g}" + (f", {op.model_name}" if op.model_name else "")
        )
    for gate in recipe.gates:
        table.add_row("gate", gate.kind)
    more = "" if planned.rarity is None else ", more with rare classes"
    table.add_row("copies", f"{recipe.copies} each{more}, {planned.attempts} in all")
    there = sum(chunk.id in done for chunk in planned.due)
    table.add_row("chunks", f"{len(planned.due)}, {there} of them committed")
    if recipe.publish is not None:
        words = f"only if {recipe.publish.require}, by {recipe.publish.lift}"
        table.add_row("publish", escape(words))
    table.add_row("sink", escape(recipe.sink))
    for name, text in _output_rows(recipe):
        table.add_row(name, text)
    console.print(table)
    if planned.rarity is not None:
        console.print(rare_table(planned.rarity))


def finding_lines(findings: Sequence[ShardFinding], most: int) -> list[str]:
    """What is wrong with the source's shards, one line for each shard and slug; what is more than
    so many lines is counted, and is in the plan.
    """
    grouped: dict[tuple[str, str], list[ShardFinding]] = {}
    for finding in sorted(findings, key=lambda one: one.harmless):
        grouped.setdefault((finding.shard, finding.slug), []).append(finding)
    lines = [
        f"{first.shard}: {slug}, at byte {first.offset}: {first.detail}"
        + (f" (and {len(others)} more)" if others else "")
        for (_, slug), (first, *others) in grouped.items()
    ]
    hidden = len(lines) - most
    return lines if hidden <= 0 else [*lines[:most], f"{hidden} more, all in the run's plan file"]


def _output_rows(recipe: FullRecipe) -> Iterator[tuple[str, str]]:
    """How images are written, and what a lossy format takes from whom."""
    settings = [f"{name} {value}" for name, value in recipe.output.settings().items()]
    yield "output", ", ".join([recipe.output.format, *settings])
    exact = [f"{op.kind}#{i}" for i, op in enumerate(recipe.ops) if op.keeps_pixels]
    if recipe.output.lossy and exact:
        yield (
            "[yellow]warning[/yellow]",
            f"{recipe.output.format} changes every pixel a little, also those that "
            f"{', '.join(exact)} keep bit-identical; png does not",
        )


def print_summary(planned: RunPlan, counts: Counts, pace: Pace, console: Console) -> None:
    """What came of it, and where to look."""
    store, run = planned.store, planned.run
    table = _table(run)
    rejected, failed = counts.reasons_text("rejected"), counts.reasons_text("failed")
    table.add_row("kept", f"{counts.kept} of {counts.attempted} copies")
    table.add_row("rejected", f"{counts.rejected}" + (f" ({rejected})" if rejected else ""))
    table.add_row("failed", f"{counts.failed}" + (f" ({failed})" if failed else ""))
    table.add_row("ops", ", ".join(f"{kind} {n}" for kind, n in sorted(counts.ops.items())))
    if counts.repairs:
        table.add_row("repaired", f"{counts.repairs_text()} (objects of the source)")
    if pace.images:
        table.add_row("pace", f"{pace.rate:.1f} images/s, {pace.images} in {pace.seconds:.0f} s")
    for line in finding_lines(planned.findings, SHOWN_AFTER):
        table.add_row("[yellow]finding[/yellow]", escape(line))
    table.add_row("shards", escape(store.at("shards")))
    table.add_row("index", escape(store.at(published_path(run))))
    table.add_row("record", escape(store.at(record_path(run))))
    table.add_row("pictures", escape(store.at(sheet_path(run))))
    tracking = planned.recipe.tracking
    if tracking.uri is not None:
        table.add_row("MLflow", look_command(tracking) or without_secrets(tracking.uri))
    table.add_row("check", escape(f"noiseloom verify {planned.recipe.sink} --replay 8"))
    console.print(table)


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    table.show_header = False
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    return table
