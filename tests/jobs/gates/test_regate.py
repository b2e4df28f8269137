"""Laws of `noiseloom regate`: other verdicts from the same scores, and nothing else changes."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.gates.regate import regate
from jobs.gc import gc
from jobs.retry import retries
from jobs.run.plan import RunPlan, make_plan
from pipeline.index.files import published_path, published_runs, read_index
from pipeline.sink.publication import current_runs
from schemas.errors import RecipeError, SinkError
from schemas.index import IndexRow, table_to_rows
from tests.jobs.sinks import CLASSIC, finish, in_sink, planned_run, verified, weave

STRICT, LOOSE = "- {kind: fidelity, ssim: [0.999, 1]}", "- {kind: fidelity, psnr: [1, 100]}"
QUIET = Console(quiet=True)


def planned_with(folder: Path, gates: str, output: str) -> RunPlan:
    """Two copies of seven samples, half of them noisy."""
    plan = planned_run(folder)
    text = plan.file.read_text()
    assert CLASSIC in text
    text = text.replace(CLASSIC, "- {kind: classic, transforms: [{GaussNoise: {p: 0.5}}]}")
    plan.file.write_text(f"{text}gates:\n{gates}\noutput: {output}\n")
    return make_plan(plan.file)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """A published run that has stored what its gate rejected."""
    return woven(tmp_path_factory.mktemp("stored"), "{rejected: store}")


@pytest.fixture(scope="module")
def dropped(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """The same, and it has not."""
    return woven(tmp_path_factory.mktemp("dropped"), "{}")


def woven(folder: Path, output: str) -> RunPlan:
    planned = planned_with(folder, STRICT, output)
    weave(planned)
    finish(planned)
    return planned


def copied(planned: RunPlan, folder: Path) -> RunPlan:
    """The same run in a sink of this test's own."""
    shutil.copytree(planned.recipe.sink, folder / "out")
    return in_sink(planned, str(folder / "out"))


def judged(planned: RunPlan, gates: str, run: str = "all") -> tuple[str, str]:
    """The current run after `regate` with these gates, and what it said."""
    text, file = io.StringIO(), Path(planned.recipe.sink).with_name("gates.yaml")
    file.write_text(f"gates:\n{gates}\n" if gates else "gates: []\n")
    regate(planned.recipe.sink, file, run, Console(file=text, width=200))
    (current,) = current_runs(planned.store)
    return current, text.getvalue()


def rows_of(planned: RunPlan, run: str | None = None) -> list[IndexRow]:
    return table_to_rows(read_index(planned.store, [run or planned.run]))


def statuses(rows: list[IndexRow]) -> Counter[str]:
    return Counter(row.status for row in rows)


def test_what_was_rejected_and_stored_is_brought_back(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    before = rows_of(planned)
    assert statuses(before) == {"kept": 6, "rejected": 6, "failed": 2}
    assert {str(row.shard).partition("/")[0] for row in before if row.status == "rejected"} == {
        "rejected"
    }
    run, said = judged(planned, LOOSE)
    after = rows_of(planned, run)
    assert statuses(after) == {"kept": 12, "failed": 2}
    assert "6 brought back, 0 taken out" in said
    changed = {"run", "status", "reason", "detail"}
    for old, new in zip(before, after, strict=True):
        assert replace(new, **{name: getattr(old, name) for name in changed}) == old
    assert "2 runs (1 of them superseded since), 14 copies (12 kept, 0 rejected, 2 failed)" in (
        verified(planned.recipe.sink, replay=12)
    )


def test_what_is_taken_out_keeps_its_bytes_and_can_be_had_again(
    stored: RunPlan, tmp_path: Path
) -> None:
    planned = copied(stored, tmp_path)
    nothing, said = judged(planned, "- {kind: fidelity, psnr: [0, 1]}")
    assert statuses(rows_of(planned, nothing)) == {"rejected": 12, "failed": 2}
    assert "0 brought back, 6 taken out" in said
    files = set(planned.store.list(""))
    gc(planned.recipe.sink, None, QUIET)
    assert set(planned.store.list("")) == files
    verified(planned.recipe.sink)
    everything, _ = judged(planned, "", run=nothing)
    assert everything.startswith(f"{planned.run}-gates-")
    assert statuses(rows_of(planned, everything)) == {"kept": 12, "failed": 2}
    verified(planned.recipe.sink, replay=3)


def test_what_was_not_stored_stays_rejected_and_is_told(dropped: RunPlan, tmp_path: Path) -> None:
    planned = copied(dropped, tmp_path)
    run, said = judged(planned, LOOSE)
    reasons = Counter((row.status, row.reason) for row in rows_of(planned, run))
    assert reasons["kept", None] == reasons["rejected", "not_stored"] == 6
    assert "6 copies are kept by these gates and were not stored" in " ".join(said.split())
    verified(planned.recipe.sink)


def test_the_gates_of_the_recipe_give_the_verdicts_of_the_run(
    stored: RunPlan, tmp_path: Path
) -> None:
    planned = copied(stored, tmp_path)
    run, _ = judged(planned, STRICT)
    assert [replace(row, run=planned.run) for row in rows_of(planned, run)] == rows_of(planned)


def test_the_same_command_again_does_nothing(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    run, _ = judged(planned, LOOSE)
    files = {name: planned.store.read(name) for name in planned.store.list("")}
    again, said = judged(planned, LOOSE)
    assert (again, "nothing to do" in said) == (run, True)
    assert {name: planned.store.read(name) for name in planned.store.list("")} == files


def test_the_last_judgement_is_current_and_no_sample_is_read_twice(
    stored: RunPlan, tmp_path: Path
) -> None:
    planned = copied(stored, tmp_path)
    assert current_runs(planned.store) == [planned.run]
    first, _ = judged(planned, LOOSE)
    second, _ = judged(planned, STRICT)
    assert len({planned.run, first, second}) == 3 == len(published_runs(planned.store))
    ids = read_index(planned.store, current_runs(planned.store))["sample_id"].to_pylist()
    assert len(ids) == len(set(ids)) == 14
    back, _ = judged(planned, LOOSE)
    assert back == first
    verified(planned.recipe.sink)


@pytest.mark.parametrize("last", ["plan", "slot", "index"])
def test_a_kill_leaves_the_origin_current_and_the_same_command_goes_on(
    stored: RunPlan, tmp_path: Path, last: str
) -> None:
    planned = copied(stored, tmp_path)
    run, _ = judged(planned, LOOSE)
    whole = {name: planned.store.read(name) for name in planned.store.list("index")}
    gone = [f"runs/{run}.json", published_path(run), f"index/_order/{2:06d}.json"]
    for path in gone[: {"index": 1, "slot": 2, "plan": 3}[last]]:
        planned.store.delete(path)
    if last != "index":
        assert current_runs(planned.store) == [planned.run]
        gc(planned.recipe.sink, None, QUIET)
        verified(planned.recipe.sink)
    assert judged(planned, LOOSE)[0] == run
    assert {name: planned.store.read(name) for name in planned.store.list("index")} == whole
    verified(planned.recipe.sink)


def test_a_retry_is_that_of_the_origin(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    run, _ = judged(planned, LOOSE)
    for named in (None, run, planned.run):
        assert [one.run for one in retries(planned.store, named, QUIET)] == [
            f"{planned.run}-retry-1"
        ]


def test_a_regated_run_cannot_be_given_up(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    run, _ = judged(planned, LOOSE)
    with pytest.raises(SinkError, match="it is published"):
        gc(planned.recipe.sink, run, QUIET)


def test_a_verdict_that_the_gates_do_not_give_is_found(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    run, _ = judged(planned, LOOSE)
    forged, _ = judged(planned, STRICT)
    table = read_index(planned.store, [run])
    column = table.column_names.index("run")
    other = table.set_column(column, table.field(column), [[forged] * len(table)])
    from jobs.verify.sink import verify
    from pipeline.index.files import index_file

    planned.store.delete(published_path(forged))
    planned.store.create(published_path(forged), index_file([other]))
    text = io.StringIO()
    assert verify(planned.recipe.sink, 0, Console(file=text, width=200)) == 1
    assert "regate_differs 1" in text.getvalue()


def test_what_no_copy_was_asked_is_refused_with_its_place(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    before = planned.store.list("")
    with pytest.raises(RecipeError) as error:
        judged(planned, f"{LOOSE}\n- {{kind: label_agreement, model: detector}}")
    said = str(error.value)
    assert f"gates[1].kind: no copy of {planned.run} has a score of this gate" in said
    assert "fidelity.psnr, fidelity.ssim" in said
    with pytest.raises(RecipeError, match="there is no kind"):
        judged(planned, "- {kind: fidelty, psnr: [1, 2]}")
    with pytest.raises(SinkError, match=f"no run x is published; there are: {planned.run}"):
        judged(planned, LOOSE, run="x")
    assert planned.store.list("") == before


def test_the_record_says_from_which_run_and_which_gates(stored: RunPlan, tmp_path: Path) -> None:
    planned = copied(stored, tmp_path)
    file = tmp_path / "gates.yaml"
    file.write_text(f"gates:\n{LOOSE}\n")
    done = CliRunner().invoke(app, ["regate", planned.recipe.sink, str(file), "--run", planned.run])
    assert done.exit_code == 0, done.output
    (run,) = current_runs(planned.store)
    record = json.loads(planned.store.read(f"runs/{run}.json"))
    assert record["regate"]["run"] == planned.run
    assert record["regate"]["gates"][0]["psnr"] == [1, 100]
    assert record["counts"] == {
        "attempted": 14, "kept": 12, "rejected": 0, "failed": 2, "reasons": {"unknown_format": 2}
    }  # fmt: skip
    assert record["changes"] == {"brought_back": 6, "taken_out": 0, "not_stored": 0}
