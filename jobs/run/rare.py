"""`budget.rare` in a plan: counted once, kept in the plan file, and the same when a run is resumed.

What is counted depends on the source's labels alone, so a resumed run would count the same; it
takes its plan's numbers all the same, and does not read the labels again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.recipe import FullRecipe
from pipeline.source.plan import Chunk, with_copies
from pipeline.source.rarity import Rarity, read_classes, with_rare_copies
from pipeline.storage.store import Store


class _Planned(BaseModel):
    samples: int
    copies: tuple[int, ...] | None = None
    whole: tuple[int, ...] | None = None


class _Kept(BaseModel):
    chunks: tuple[_Planned, ...]
    rare: Rarity


def share_copies(
    chunks: Sequence[Chunk],
    recipe: FullRecipe,
    store: Store,
    path: str,
    console: Console | None,
) -> tuple[tuple[Chunk, ...], Rarity]:
    """The chunks with the copies of each sample: those of the plan at `path`, else counted."""
    kept = _kept(store, path)
    if kept is not None and [p.samples for p in kept.chunks] == [len(c.samples) for c in chunks]:
        return _as_planned(chunks, kept, recipe.copies)
    say = (console or Console(quiet=True)).status("reading the labels for budget.rare")
    with say as status:
        names = read_classes(
            chunks,
            recipe.source,
            lambda n: status.update(f"reading the labels for budget.rare: {n} of {len(chunks)}"),
        )
    shared, rarity = with_rare_copies(chunks, names, recipe.copies, recipe.seed, recipe.budget)
    return tuple(shared), rarity


def rare_table(rarity: Rarity) -> Table:
    """The classes, the rarest first, and what the budget gives them."""
    unreadable = f", {rarity.unreadable} with labels not readable" if rarity.unreadable else ""
    table = Table(
        title=f"budget.rare, of {rarity.images} images{unreadable}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("class", style="cyan", overflow="fold")
    for name in ("images", "boxes", "factor", "copies before", "after"):
        table.add_column(name, justify="right")
    for one in rarity.classes:
        counts = f"{one.images}", f"{one.boxes}", f"{one.factor:.2f}", f"{one.before}"
        table.add_row(Text(one.name), *counts, f"{one.after}")
    return table


def _kept(store: Store, path: str) -> _Kept | None:
    try:
        return _Kept.model_validate(json.loads(store.read(path)))
    except (OSError, ValueError, ValidationError):
        return None


def _as_planned(
    chunks: Sequence[Chunk], kept: _Kept, copies: int
) -> tuple[tuple[Chunk, ...], Rarity]:
    shared = tuple(
        with_copies(chunk, plan.whole or plan.copies or (copies,) * plan.samples, copies)
        for chunk, plan in zip(chunks, kept.chunks, strict=True)
    )
    return shared, kept.rare
