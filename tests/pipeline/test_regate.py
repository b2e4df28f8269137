"""Laws of verdicts from stored scores: what a gate asks for, what may be asked, what is decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from pipeline.gate import Gate
from pipeline.gates import AnyGate
from pipeline.index.files import index_file, published_path
from pipeline.regate import (
    Lacking,
    asked_by,
    check_gates,
    judged_again,
    load_gates,
    regated_index,
    scores_there,
)
from pipeline.sink.publication import current_runs, publish_again
from pipeline.sink.slots import Slot, add_slot, read_slots
from pipeline.storage.store import Store
from schemas.errors import RecipeError
from schemas.index import IndexRow, Score, Status, rows_to_table, table_to_rows
from tests.pipeline.gates.test_laws import EXAMPLES
from tests.pipeline.rows import row
from tests.pipeline.turns import interleaved

FIDELITY = {"kind": "fidelity", "ssim": [0.5, 1]}
AGREEMENT = {"kind": "label_agreement", "model": "detector"}


def gate(**given: object) -> Gate:
    made: Gate = TypeAdapter(AnyGate).validate_python(given)
    return made


def scored(key: str, status: Status = "kept", *, stored: bool = True, **scores: float) -> IndexRow:
    """A row with these scores; `a__b` stands for a.b."""
    named = tuple(Score(name.replace("__", "."), value) for name, value in scores.items())
    made = replace(row(key, status), scores=named)
    return replace(made, shard="shards/c0.00000000.tar", key=key) if stored else made


def again(rows: Sequence[IndexRow], *gates: Gate) -> list[tuple[str, str | None, str | None]]:
    (batch,) = rows_to_table(rows).to_batches()
    judged = table_to_rows(pa.table(judged_again(batch, gates, "new")))
    assert {row.run for row in judged} == {"new"}
    return [(row.status, row.reason, row.detail) for row in judged]


def sink_with(rows: Sequence[IndexRow], name: str) -> Store:
    store = Store(f"memory://{name}")
    store.create(published_path("r"), index_file([rows_to_table(rows)]))
    add_slot(store, read_slots(store), Slot(run="r", chunks=("c0",)))
    return store


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda spec: str(spec["kind"]))
def test_every_gate_tells_what_it_asks_for_and_keeps_what_has_no_score(
    spec: dict[str, object],
) -> None:
    one = gate(**spec)
    assert asked_by(one)
    assert all(name.startswith(f"{one.kind}.") for name in asked_by(one))
    assert again([scored("a")], one) == [("kept", None, None)]


@pytest.mark.parametrize("spec", EXAMPLES, ids=lambda spec: str(spec["kind"]))
def test_what_shapes_the_scores_of_a_gate_are_fields_of_it(spec: dict[str, object]) -> None:
    one = gate(**spec)
    assert {*one.measures_with} <= set(type(one).model_fields)


def test_the_first_gate_that_rejects_gives_the_reason() -> None:
    rows = [
        scored("a", fidelity__ssim=0.9),
        scored("b", "rejected", fidelity__ssim=0.9, label_agreement__agreed=1.0),
        scored("c", fidelity__ssim=0.1, label_agreement__agreed=0.5),
        scored("d", label_agreement__agreed=0.5),
        scored("e", "rejected", stored=False, fidelity__ssim=0.9),
        scored("f", "failed", stored=False),
    ]
    assert again(rows, gate(**FIDELITY), gate(**AGREEMENT)) == [
        ("kept", None, None),
        ("kept", None, None),
        ("rejected", "object_lost", "label_agreement"),  # one that mends is asked first
        ("rejected", "object_lost", "label_agreement"),
        ("rejected", "not_stored", "these gates keep it, but its bytes were not stored"),
        ("failed", "too_small", "3 px"),
    ]


def checked(store: Store, text: str, before: Sequence[Gate], folder: Path) -> list[Lacking]:
    (folder / "gates.yaml").write_text(text)
    document, gates = load_gates(folder / "gates.yaml")
    return check_gates(document, gates.gates, before, scores_there(store, "r"))


def test_rows_without_a_score_are_counted_by_its_name(tmp_path: Path) -> None:
    rows = [scored("a", fidelity__ssim=0.9, fidelity__psnr=20.0), scored("b", fidelity__psnr=20.0)]
    store = sink_with([*rows, scored("c"), scored("d", "failed")], "lacking")
    text = "gates: [{kind: fidelity, ssim: [0, 1], psnr: [0, 99]}]"
    assert checked(store, text, [], tmp_path) == [
        Lacking("fidelity.psnr", 1, 3),
        Lacking("fidelity.ssim", 2, 3),
    ]


def test_all_that_cannot_be_judged_is_said_at_once_with_its_place(tmp_path: Path) -> None:
    rows = [scored("a", fidelity__psnr=20.0, label_agreement__agreed=1.0)]
    text = (
        "gates:\n- {kind: fidelity, ssim: [0, 1]}\n"
        "- {kind: label_agreement, model: other, min_iou: 0.9, min_agreed: 0.5}\n"
    )
    with pytest.raises(RecipeError) as error:
        checked(sink_with(rows, "impossible"), text, [gate(**AGREEMENT)], tmp_path)
    said = str(error.value)
    assert "3 mistakes" in said
    assert "line 2, gates[0]: no copy of r has the score fidelity.ssim" in said
    assert 'line 3, gates[1].model: is "other"; the scores were measured with "detector"' in said
    assert "line 3, gates[1].min_iou: is 0.9; the scores were measured with 0.5" in said


def test_a_score_that_two_gates_measured_otherwise_is_not_guessed(tmp_path: Path) -> None:
    same = (Score("fidelity.psnr", 20.0), Score("fidelity.psnr", 20.0))
    text = "gates: [{kind: fidelity, psnr: [0, 30]}]"
    rows = [replace(scored("a"), scores=same), scored("b")]
    told = checked(sink_with(rows, "twice-same"), text, [], tmp_path)
    assert told == [Lacking("fidelity.psnr", 1, 2)]
    other = replace(rows[0], scores=(same[0], Score("fidelity.psnr", 21.0)))
    with pytest.raises(RecipeError, match="was measured by two gates of r"):
        checked(sink_with([other], "twice-other"), text, [], tmp_path)


@pytest.mark.parametrize("seed", [1, 4, 9, 16])
def test_two_that_judge_at_once_leave_one_current_run(seed: int) -> None:
    rows = [scored(key, fidelity__ssim=0.9) for key in "abc"]
    store = sink_with(rows, f"at-once-{seed}")

    def judge(name: str) -> None:
        make = regated_index(store, "r", [gate(**FIDELITY)], name)
        publish_again(store, name, "r", lambda: make)

    interleaved(seed, [lambda: judge("x"), lambda: judge("x"), lambda: judge("y")])
    current = current_runs(store)
    assert current in (["x"], ["y"])
    assert [slot.run for slot in read_slots(store)][-1] == current[0]
