"""A run before it starts: the recipe, its models and digest, the chunks of its source, its name.

The name is the recipe file's and a digest over what shapes the output and the source's content: the
same recipe on the same data is the same run, and starting it again resumes it. With `budget.rare`
it is another run than without: other samples get more copies.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console

from jobs.run.rare import share_copies
from pipeline.index.files import open_sink, sink_errors
from pipeline.known.images import known_path
from pipeline.model import ModelCard
from pipeline.model_check import check_models, digests
from pipeline.recipe import FullRecipe, load_recipe, needs_known
from pipeline.sink.adoption import committed_elsewhere
from pipeline.sink.claim import wait_for_gc
from pipeline.sink.made import Made, Usual, keep_made, without_made
from pipeline.sink.publication import committed
from pipeline.sink.run_files import plan_path
from pipeline.sink.slots import read_slots, slot_of, slots_taken
from pipeline.source.packed import copies_of
from pipeline.source.plan import Chunk, Shard, ShardFinding, plan
from pipeline.source.rarity import Rarity
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import Store
from schemas.errors import RecipeError
from schemas.recipe import digest_of

_NAME: Final = re.compile(r"\w[\w .+()-]{0,99}")


@dataclass(frozen=True)
class Retry:
    """What makes a run a retry: whose failed copies it makes again, and for which time."""

    run: str
    number: int


@dataclass(frozen=True)
class RunPlan:
    """Everything that is known before the first chunk is read. `known`: where the sink keeps the
    fingerprints of all images of the source, where a gate asks for them. `whole`: the chunks with
    all their copies, where some of these were made before (`pipeline.sink.made`), `made`: what was
    found of that and is not written down yet, `slots`: how many were taken in the sink by then.
    """

    file: Path
    recipe: FullRecipe
    cards: dict[str, ModelCard]
    digest: str
    chunks: tuple[Chunk, ...]
    rarity: Rarity | None = None
    findings: tuple[ShardFinding, ...] = ()
    retry: Retry | None = None
    known: tuple[str, ...] = ()
    whole: tuple[Chunk, ...] = ()
    made: Mapping[str, Made] = field(default_factory=dict)
    slots: int = 0

    @property
    def due(self) -> list[Chunk]:
        """The chunks of which there is anything to make, in this run or an earlier one."""
        return [chunk for chunk in self.chunks if chunk.attempts(self.recipe.copies)]

    @property
    def models(self) -> dict[str, str]:
        """The digest of every model, by its name in the recipe."""
        return digests(self.cards)

    @property
    def run(self) -> str:
        """The run's name."""
        if self.retry is not None:
            return f"{self.retry.run}-retry-{self.retry.number}"
        named: list[object] = [self.digest, [shard.content for shard in self.shards]]
        budget = self.recipe.budget
        if budget.rare is not None:
            named.append([budget.rare, budget.most])
        return f"{self.file.stem}-{digest_of(named)[:8]}"

    @property
    def store(self) -> Store:
        """The sink."""
        return Store(self.recipe.sink)

    @property
    def shards(self) -> list[Shard]:
        """The source shards that hold samples, in order."""
        return list({chunk.shard.content: chunk.shard for chunk in self.chunks}.values())

    @property
    def samples(self) -> int:
        """Source samples in all chunks."""
        return sum(len(chunk.samples) for chunk in self.chunks)

    @property
    def attempts(self) -> int:
        """Copies of all samples together."""
        return sum(chunk.attempts(self.recipe.copies) for chunk in self.chunks)

    @property
    def path(self) -> str:
        """Where the sink keeps this plan."""
        return plan_path(self.run)

    def recipe_text(self) -> str:
        """The recipe as the user wrote it; for a retry, as its run's plan names it."""
        if self.retry is None:
            return self.file.read_text()
        return self.recipe.model_dump_json(indent=1, exclude={"tracking"})

    def to_json(self) -> bytes:
        """The plan as the sink keeps it; of the tracking, for a retry, without secrets."""
        tracking = self.recipe.tracking
        record = {
            "run": self.run,
            "digest": self.digest,
            "recipe": self.recipe.model_dump(mode="json", exclude={"tracking"}),
            "models": self.models,
            "source": [asdict(shard) for shard in self.shards],
            "chunks": [
                _chunk_json(*pair)
                for pair in zip(self.chunks, self.whole or self.chunks, strict=True)
            ],
            "findings": [asdict(finding) for finding in self.findings],
            "tracking": {
                "uri": None if tracking.uri is None else without_secrets(tracking.uri),
                "experiment": tracking.experiment,
            },
        }
        if self.rarity is not None:
            record["rare"] = asdict(self.rarity)
        if self.known:
            record["known"] = list(self.known)
        if self.retry is not None:
            record["retry"] = asdict(self.retry)
        return (json.dumps(record, indent=1, sort_keys=True) + "\n").encode()


def _chunk_json(chunk: Chunk, whole: Chunk) -> dict[str, object]:
    """`whole`: how many copies it would have, had none been made before."""
    place: dict[str, object] = {"id": chunk.id, "shard": chunk.shard.url, "ordinal": chunk.ordinal}
    record = place | {"samples": len(chunk.samples)}
    if chunk.id != whole.id:
        record["whole"] = _named_copies(whole)
    copies = _named_copies(chunk)
    return record if copies is None else record | {"copies": copies}


def _named_copies(chunk: Chunk) -> list[int] | None:
    """How many copies are made of each sample; None where the recipe says it for all."""
    named = [copies for copies in copies_of(chunk.samples) if copies is not None]
    return [len(copies) for copies in named] if len(named) == len(chunk.samples) else None


@dataclass(frozen=True)
class Checked:
    """A recipe that is right, with its models' cards and its digest; nothing of its source."""

    file: Path
    recipe: FullRecipe
    cards: dict[str, ModelCard]
    digest: str


def check_recipe(path: str | Path) -> Checked:
    """Reads and checks the recipe and the models' cards."""
    _check_name(Path(path))
    recipe = load_recipe(path)
    _check_sink(path, recipe.sink)
    cards = check_models(recipe)
    return Checked(Path(path), recipe, cards, recipe.digest(digests(cards)))


def _check_sink(path: str | Path, sink: str) -> None:
    try:
        Store(sink)
    except ValueError as error:
        raise RecipeError(f"{path}: sink: {error}") from None
    open_sink(sink)


def make_plan(
    path: str | Path,
    console: Console | None = None,
    checked: Checked | None = None,
) -> RunPlan:
    """Checks the recipe, unless it is `checked`, and the headers of every source shard; reads the
    labels for `budget.rare`, unless the sink holds the plan already, and the bytes of samples that
    may have been made before. Nothing is written.
    """
    of = checked or check_recipe(path)
    recipe, digest = of.recipe, of.digest
    slots = slots_taken(Store(recipe.sink))
    source = plan(recipe.source, recipe.chunk_size, digest)
    planned = RunPlan(
        of.file, recipe, of.cards, digest, source.chunks, findings=source.findings, slots=slots
    )
    if needs_known(recipe):
        planned = replace(planned, known=_known(planned))
    if recipe.budget.rare is not None:
        shared, rarity = share_copies(source.chunks, recipe, planned.store, planned.path, console)
        planned = replace(planned, chunks=shared, rarity=rarity)
    return _without_made(planned)


def _without_made(planned: RunPlan) -> RunPlan:
    """The plan without copies that were made before. A chunk that is committed, or stands in the
    plan of this very run, stays as it was planned.
    """
    store, recipe = planned.store, planned.recipe
    done = {*committed(store, planned.run), *committed_elsewhere(store, planned.run)}
    done |= _planned_before(store, planned.path)
    usual = Usual(planned.digest, recipe.copies, recipe.follow_deletions)
    left, made = without_made(planned.chunks, store, recipe.source, usual, done)
    whole = () if left == planned.chunks else planned.chunks
    return replace(planned, chunks=left, whole=whole, made=made)


def _planned_before(store: Store, path: str) -> set[str]:
    with sink_errors(store):
        try:
            return {str(chunk["id"]) for chunk in json.loads(store.read(path))["chunks"]}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return set()


def _known(planned: RunPlan) -> tuple[str, ...]:
    return tuple(known_path(shard, planned.recipe.source) for shard in planned.shards)


def _check_name(file: Path) -> None:
    """The run is called after its recipe, and files, folders and queries after the run."""
    if not _NAME.fullmatch(file.stem):
        says = "letters, digits, spaces and _ . + - ( ) between them, 100 at most"
        raise RecipeError(f"{file}: the run is called after this file; rename it: {says}")


def write_plan(planned: RunPlan) -> None:
    """Create-only: who resumes a run finds its plan there. Then it waits for a gc that may have
    missed the plan (`pipeline.sink.claim`).
    """
    slot_of(read_slots(planned.store), planned.run)  # it may be being given up
    keep_made(planned.store, planned.made)
    with sink_errors(planned.store):
        planned.store.create(planned.path, planned.to_json())
        wait_for_gc(planned.store)
