"""Other gates over the rows of a published run: new verdicts from the stored scores alone.

A gate's `decide` knows nothing but scores, and the index holds those of every copy that was made,
kept or rejected: so thresholds can be chosen again without a model, a picture or the source.

    gates:                                     # GATES.yaml: as in a recipe
      - {kind: fidelity, ssim: [0.4, 0.98]}

Gates that the file does not name apply no more. A score that a row does not have is not judged, as
ever. What is kept must lie in a tar: a copy that was rejected and not stored (`output: {rejected:
store}`) stays rejected, as `not_stored`. Failed copies stay failed. Nothing else of a row changes:
not its id, nor where its bytes lie, whatever becomes of it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config import Document, read_document, report, validate
from pipeline.gate import Gate, in_order
from pipeline.gates import AnyGate
from pipeline.index.files import index_batches
from pipeline.index.score_columns import ScoreColumn, names_in, score_column
from pipeline.problems import Problem, listed, shown
from pipeline.storage.store import Store
from schemas.errors import RecipeError
from schemas.index import INDEX_SCHEMA
from schemas.recipe import digest_of
from schemas.spec import Spec

NOT_STORED: Final = "not_stored"
NOT_STORED_DETAIL: Final = "these gates keep it, but its bytes were not stored"


class GatesFile(Spec):
    """What GATES.yaml holds."""

    gates: tuple[AnyGate, ...]

    @property
    def digest(self) -> str:
        """8 hex digits."""
        return digest_of([gate.model_dump(mode="json") for gate in self.gates])[:8]


@dataclass(frozen=True)
class Lacking:
    """Of a run's copies that did not fail, how many do not have a score that a gate asks for."""

    score: str
    rows: int
    of: int


def load_gates(path: str | Path) -> tuple[Document, GatesFile]:
    """The file and the gates in it; RecipeError with every mistake."""
    document = read_document(path)
    return document, validate(document, GatesFile)


def check_gates(
    document: Document, gates: Sequence[Gate], before: Sequence[Gate], scores: ScoresThere
) -> list[Lacking]:
    """What the gates ask for and some rows do not have; RecipeError where no row has it, or where
    it was measured otherwise than they say. `before` are the gates of the run's recipe.
    """
    problems = [
        problem for i, gate in enumerate(gates) for problem in _problems(i, gate, before, scores)
    ]
    if problems and scores.rows:
        raise RecipeError(report(document.name, problems, document.lines))
    asked = sorted({name for gate in gates for name in asked_by(gate)})
    lacking = [
        Lacking(name, scores.rows - scores.times.get(name, 0), scores.rows) for name in asked
    ]
    return [one for one in lacking if one.rows]


@dataclass(frozen=True)
class ScoresThere:
    """The scores in a run: in how many rows each is, of those that did not fail; and those that
    two gates of one kind measured with different results.
    """

    run: str
    rows: int
    times: Mapping[str, int]
    unclear: frozenset[str] = frozenset()


def scores_there(store: Store, run: str) -> ScoresThere:
    """Counted over the run's index."""
    rows, times, unclear = 0, dict[str, int](), set[str]()
    for batch in index_batches(store, run, ["status", "scores"]):
        alive = batch.filter(pc.not_equal(batch.column("status"), "failed"))
        rows += len(alive)
        column = score_column(alive.column("scores"))
        for name, (count, clear) in names_in(column).items():
            times[name] = times.get(name, 0) + count
            unclear |= set() if clear else {name}
    return ScoresThere(run, rows, times, frozenset(unclear))


def asked_by(gate: Gate) -> tuple[str, ...]:
    """The names, as in the index, of the scores that the gate's verdict can depend on: those that
    it asks for when there is none.
    """
    asked = _Asked()
    gate.decide(asked)
    return tuple(f"{gate.kind}.{name}" for name in dict.fromkeys(asked.names))


@dataclass
class _Asked(Mapping[str, float]):
    """No scores; remembers which were asked for."""

    names: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> float:
        self.names.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _problems(i: int, gate: Gate, before: Sequence[Gate], scores: ScoresThere) -> Iterator[Problem]:
    there = {name for name in scores.times if name.startswith(f"{gate.kind}.")}
    hint = f"scores of {scores.run}: {listed(scores.times)}"
    if not there:
        says = f"no copy of {scores.run} has a score of this gate; run the recipe with it"
        yield Problem(("gates", i, "kind"), says, (hint,))
        return
    for name in sorted(set(asked_by(gate)) - set(asked_by(_plain(gate))) - there):
        says = f"no copy of {scores.run} has the score {name}; run the recipe with this gate"
        yield Problem(("gates", i), says, (hint,))
    for name in sorted(there & scores.unclear):
        says = f"{name} was measured by two gates of {scores.run}, and differs between them"
        yield Problem(("gates", i), says, ("nothing says which one is meant: leave it out",))
    its = [other for other in before if other.kind == gate.kind]
    for name in ("model", *gate.measures_with):
        measured = [getattr(other, name) for other in its if hasattr(other, name)]
        if hasattr(gate, name) and measured and getattr(gate, name) not in measured:
            known = " or ".join(dict.fromkeys(map(shown, measured)))
            says = f"is {shown(getattr(gate, name))}; the scores were measured with {known}"
            yield Problem(("gates", i, name), says, ("other scores need a run of the recipe",))


def _plain(gate: Gate) -> Gate:
    """The gate with nothing but what must be given: what this asks for, it asks for always."""
    fields = type(gate).model_fields
    given = {name: getattr(gate, name) for name, info in fields.items() if info.is_required()}
    return type(gate).model_construct(**given)


def regated_index(store: Store, origin: str, gates: Sequence[Gate], run: str) -> bytes:
    """The index file of `run`: the rows of `origin`, judged again, in their order."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, INDEX_SCHEMA, compression="zstd") as writer:
        for batch in index_batches(store, origin):
            writer.write_batch(judged_again(batch, gates, run))
    return buffer.getvalue()


def judged_again(rows: pa.RecordBatch, gates: Sequence[Gate], run: str) -> pa.RecordBatch:
    """These rows as rows of `run`, judged by these gates and no others."""
    names = ("status", "reason", "detail", "shard")
    columns = [rows.column(name).to_pylist() for name in names]
    scores, ordered = score_column(rows.column("scores")), in_order(gates)
    judged = []
    for i, (status, reason, detail, shard) in enumerate(zip(*columns, strict=True)):
        if status == "failed":
            judged.append((status, reason, detail))
        else:
            judged.append(_verdict(ordered, scores, i, stored=shard is not None))
    fresh = [pa.array(values, pa.string()) for values in zip(*judged, strict=True)]
    for name, values in zip(names[:3], fresh, strict=False):
        rows = rows.set_column(INDEX_SCHEMA.names.index(name), INDEX_SCHEMA.field(name), values)
    named = pa.array([run] * len(rows), pa.string())
    return rows.set_column(INDEX_SCHEMA.names.index("run"), INDEX_SCHEMA.field("run"), named)


def _verdict(
    gates: Sequence[Gate], scores: ScoreColumn, i: int, *, stored: bool
) -> tuple[str, str | None, str | None]:
    """Status, reason and detail of a copy that did not fail."""
    for gate in gates:
        reason = gate.decide(scores.of_gate(i, gate.kind))
        if reason is not None:
            return "rejected", reason, gate.kind
    return ("kept", None, None) if stored else ("rejected", NOT_STORED, NOT_STORED_DETAIL)
