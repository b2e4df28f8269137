"""A run with `budget.rare`, from its plan to its check, without Ray."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run.counts import check_conserved, count_run
from jobs.run.plan import RunPlan, make_plan
from jobs.run.sheet import write_sheet
from jobs.run.summary import print_plan
from jobs.verify.sink import verify
from pipeline.index.files import read_index
from schemas.errors import RecipeError
from tests.jobs.sinks import CLASSIC, finish, planned_run, weave
from tests.models import tiny_denoiser
from tests.pipeline.shards import sample_files, tar_of

BUDGET = "budget: {failed: 1, rare: 1, most: 2.5}\n"


def rare_run(folder: Path, ops: str = CLASSIC, models: str = "{}") -> RunPlan:
    """Eight samples: one whose image is none, one with the rare class."""
    base = planned_run(folder, ops, models)
    files = [
        (name, _with_rod(data) if name == "s11.json" else data)
        for n in range(4)
        for name, data in sample_files(f"s1{n}")
    ]
    (folder / "train-1.tar").write_bytes(tar_of(files))
    text = base.file.read_text().replace("classes: [cell]", "classes: [cell, rod]")
    base.file.write_text(text + BUDGET)
    return make_plan(base.file)


@pytest.fixture
def planned(tmp_path: Path) -> RunPlan:
    return rare_run(tmp_path)


def _with_rod(data: bytes) -> bytes:
    return json.dumps({**json.loads(data), "labels": ["cell", "rod"]}).encode()


def said(planned: RunPlan) -> str:
    out = io.StringIO()
    print_plan(planned, set(), Console(file=out, width=100))
    return out.getvalue()


def test_a_run_makes_the_planned_copies_and_its_sink_verifies(planned: RunPlan) -> None:
    assert planned.attempts == 7 * 2 + 5
    weave(planned)
    index = read_index(planned.store, [planned.run], pending=True)
    check_conserved(planned, count_run(planned.store, planned.run))
    copies = Counter(index["source_key"].to_pylist())
    assert copies.pop("s11") == 5
    assert set(copies.values()) == {2} and len(copies) == 7
    finish(planned)
    assert write_sheet(planned, 19) is not None
    assert verify(planned.recipe.sink, 18, Console(quiet=True)) == 0


def test_an_op_that_looks_at_its_peers_replays_from_a_chunk_with_more_copies(
    tmp_path: Path,
) -> None:
    tiny_denoiser(tmp_path / "m", ("cell", "rod"), ("back", "cell"))
    ops = "- {kind: restyle, model: d, steps: 1, guidance: 1}\n"
    ops += "- {kind: noise_denoise, model: d, steps: 1, guidance: 1, strength: adaptive}"
    planned = rare_run(tmp_path, ops, f"{{d: {{native: {tmp_path}/m}}}}")
    weave(planned)
    finish(planned)
    index = read_index(planned.store, [planned.run])
    strengths = [ops[1]["strength"] for ops in index["ops"].to_pylist() if len(ops) == 2]
    assert strengths and all(0.1 <= strength <= 0.8 for strength in strengths)
    assert verify(planned.recipe.sink, 3, Console(quiet=True)) == 0


def test_verify_misses_rows_of_a_chunk_with_more_copies(planned: RunPlan) -> None:
    path = f"{planned.recipe.sink}/{planned.path}"
    weave(planned)
    finish(planned)
    record = json.loads(Path(path).read_text())
    (more,) = [chunk for chunk in record["chunks"] if "copies" in chunk]
    assert more["copies"] == [2, 5, 2]
    more["copies"] = [2, 7, 2]
    Path(path).write_text(json.dumps(record))
    assert verify(planned.recipe.sink, 0, Console(quiet=True)) == 1


def test_a_resumed_run_takes_its_plan_and_reads_no_labels_again(
    planned: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    weave(planned)

    def read_again(*args: object) -> None:
        raise AssertionError("the labels were read again")

    monkeypatch.setattr("jobs.run.rare.read_classes", read_again)
    again = make_plan(planned.file)
    assert (again.chunks, again.rarity, again.run) == (planned.chunks, planned.rarity, planned.run)
    assert again.to_json() == planned.to_json()


def test_it_is_another_run_than_one_without_but_made_of_the_same_copies(planned: RunPlan) -> None:
    planned.file.write_text(planned.file.read_text().replace(BUDGET, ""))
    without = make_plan(planned.file)
    assert without.run != planned.run
    assert without.digest == planned.digest
    same = [a.id == b.id for a, b in zip(planned.chunks, without.chunks, strict=True)]
    assert same.count(False) == 1
    assert b'"copies": [' not in without.to_json()


def test_a_dry_run_shows_every_class_and_its_copies(planned: RunPlan) -> None:
    lines = said(planned).splitlines()
    (rod,) = [line.split() for line in lines if " rod " in line]
    (cell,) = [line.split() for line in lines if " cell " in line]
    assert rod == ["rod", "1", "1", "2.50", "2", "5"]
    assert cell[1:4] == ["8", "15", "1.00"]
    assert "2 each, more with rare classes, 19 in all" in said(planned)


def test_without_labels_there_is_nothing_to_count(planned: RunPlan) -> None:
    text = planned.file.read_text().replace("source: {", "source: {labels: null, ")
    planned.file.write_text(text)
    with pytest.raises(RecipeError, match=r"budget\.rare: counts the classes"):
        make_plan(planned.file)
