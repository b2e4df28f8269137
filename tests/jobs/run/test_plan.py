"""A run's name, its plan, its counts and its picture, without Ray."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from rich.console import Console

from jobs.run.counts import check_conserved, counts_of
from jobs.run.live import Pace
from jobs.run.plan import RunPlan, make_plan, write_plan
from jobs.run.record import Cost, write_record
from jobs.run.sheet import sheet_path, write_sheet
from jobs.run.summary import finding_lines, print_plan, print_summary
from pipeline.index.files import index_file, published_path, read_index
from pipeline.sink.run_files import record_path
from pipeline.sink.slots import Slot, add_slot
from pipeline.source.shards import ShardFinding
from schemas.errors import RecipeError, RunError, SourceError
from schemas.index import rows_to_table
from tests.jobs.sinks import finish, planned_run, weave
from tests.pipeline.rows import row
from tests.pipeline.shards import sample_files, tar_of


@pytest.fixture
def planned(tmp_path: Path) -> RunPlan:
    return planned_run(tmp_path)


def changed(planned: RunPlan, old: str, new: str) -> RunPlan:
    text = planned.file.read_text()
    assert old in text
    planned.file.write_text(text.replace(old, new))
    return make_plan(planned.file)


def test_a_run_is_named_by_its_recipe_and_what_shapes_the_output(planned: RunPlan) -> None:
    assert planned.run.startswith("cells-")
    assert make_plan(planned.file).run == planned.run
    assert changed(planned, "seed: 3", "seed: 4").run != planned.run


def test_where_it_is_written_and_how_fast_do_not_change_its_name(planned: RunPlan) -> None:
    other = changed(planned, "seed: 3", "seed: 3\nresources: {pool: [2, 2]}\nbudget: {failed: 1}")
    assert other.run == planned.run


def test_another_source_is_another_run(planned: RunPlan) -> None:
    (planned.file.parent / "train-2.tar").write_bytes(tar_of(sample_files("new")))
    assert make_plan(planned.file).run != planned.run


def test_the_plan_is_written_once_and_names_every_chunk_and_shard(planned: RunPlan) -> None:
    write_plan(planned)
    write_plan(planned)
    record = json.loads(planned.store.read(planned.path))
    assert [chunk["id"] for chunk in record["chunks"]] == [chunk.id for chunk in planned.chunks]
    assert [shard["content"] for shard in record["source"]] == [s.content for s in planned.shards]
    assert "tracking" not in record["recipe"]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("train-2.tar", b"not a tar at all" * 100, "train-2.tar: not_a_tar, at byte 0"),
        ("train-2.tar", tar_of([("a.[b].txt", b"x")]), "1 .[b].txt"),
        ("train-2.tar", tar_of(sample_files("a"))[:2000], "train-2.tar: no_end_mark"),
    ],
)
def test_what_is_wrong_with_a_shard_is_told_before_and_after_and_kept(
    planned: RunPlan, name: str, data: bytes, said: str
) -> None:
    (planned.file.parent / name).write_bytes(data)
    found = make_plan(planned.file)
    assert any(said in line for line in finding_lines(found.findings, 5))
    console = Console(file=io.StringIO(), width=400)
    print_plan(found, set(), console)
    print_summary(found, counts_of([]), Pace(0, 0.0), console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count(said) == 2
    record = json.loads(found.to_json())
    assert [ShardFinding(**one) for one in record["findings"]] == list(found.findings)


def test_the_record_of_a_run_holds_the_findings(planned: RunPlan) -> None:
    (planned.file.parent / "train-2.tar").write_bytes(b"no tar")
    found = make_plan(planned.file)
    write_record(found, counts_of([]), Pace(0, 0.0), Cost(0, 0.0, 0.0), None)
    record = json.loads(found.store.read(record_path(found.run)))
    assert [one["slug"] for one in record["findings"]] == ["not_a_tar", "no_samples"]


def test_many_findings_are_counted_and_damages_come_first(planned: RunPlan) -> None:
    slugs = ["unknown_members", "link", "link", "no_end_mark", "pipe"]
    findings = [ShardFinding("a.tar", i, slug, "so") for i, slug in enumerate(slugs)]
    assert finding_lines(findings, 2) == [
        "a.tar: link, at byte 1: so (and 1 more)",
        "a.tar: no_end_mark, at byte 3: so",
        "2 more, all in the run's plan file",
    ]


def test_a_missing_shard_is_named_by_its_pattern(planned: RunPlan) -> None:
    with pytest.raises(SourceError, match=r"gone-\*\.tar' matches no file"):
        changed(planned, "train-*", "gone-*")


def test_an_impossible_sink_is_a_mistake_in_the_recipe(planned: RunPlan) -> None:
    with pytest.raises(RecipeError, match="sink: ftp://"):
        changed(planned, f"sink: {planned.file.parent}/out", "sink: ftp://host/out")


def test_counts_are_conserved_and_name_reasons_and_ops(planned: RunPlan) -> None:
    weave(planned)
    index = read_index(planned.store, [planned.run], pending=True)
    counts = counts_of(index.to_batches())
    assert (counts.attempted, counts.kept, counts.rejected, counts.failed) == (14, 12, 0, 2)
    assert counts.reasons_text("failed") == "unknown_format 2"
    assert counts.ops == {"classic": 12}
    assert counts.figures()["reason.unknown_format"] == 2
    check_conserved(planned, counts)
    with pytest.raises(RunError, match="rows, expected 6"):
        check_conserved(planned, counts_of(index.slice(1).to_batches()))
    place = index.schema.get_field_index("chunk")
    renamed = pc.binary_join_element_wise(index["chunk"], "x", "")
    stranger = index.set_column(place, "chunk", renamed)
    with pytest.raises(RunError, match="not planned"):
        check_conserved(planned, counts_of(pa.concat_tables([index, stranger]).to_batches()))
    with pytest.raises(RunError, match="0 rows, expected 6"):
        check_conserved(planned, counts_of(index.slice(6).to_batches()))


def test_a_chunk_without_rows_must_be_published_by_another_run(planned: RunPlan) -> None:
    weave(planned)
    index = read_index(planned.store, [planned.run], pending=True)
    other = Slot(run="other", chunks=(index["chunk"][0].as_py(),))
    assert add_slot(planned.store, [], other)
    check_conserved(planned, counts_of(index.slice(6).to_batches()))


def test_the_contact_sheet_is_made_from_what_was_written(planned: RunPlan) -> None:
    weave(planned)
    finish(planned)
    sheet = write_sheet(planned, 12)
    assert sheet is not None
    assert planned.store.read(sheet_path(planned.run)) == sheet
    assert write_sheet(planned, 12) == sheet


def test_a_run_that_kept_nothing_has_no_contact_sheet(planned: RunPlan) -> None:
    table = rows_to_table([row("a", "rejected")])
    planned.store.create(published_path(planned.run), index_file([table]))
    assert write_sheet(planned, 0) is None
