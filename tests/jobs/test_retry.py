"""Laws of `noiseloom retry`: what failed is made again, nothing else is, and as if it had not."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from jobs.retry import retries, retry
from jobs.run.plan import RunPlan, write_plan
from pipeline.chain import weave as weaving
from pipeline.codec import decode
from pipeline.index.files import read_index
from pipeline.sink.commit import commit_chunk
from pipeline.sink.publication import publish
from pipeline.source.plan import EncodedSample
from pipeline.storage.store import Store
from schemas.errors import ModelError, SampleError, SinkError
from schemas.index import IndexRow, table_to_rows
from schemas.recipe import Source
from schemas.sample import Sample
from tests.jobs.sinks import finish, in_sink, planned_run, verified, weave, woven_chunks
from tests.jobs.workplace import Workplace

SICK = ("s02", "s11")
QUIET = Console(quiet=True)


def sick_decode(encoded: EncodedSample, layout: Source) -> Sample:
    """A decoder with a fault that a later version has not."""
    if encoded.key in SICK:
        raise SampleError("sick", "a fault of the program: https://me:hush@host/x?sig=hush")
    return decode(encoded, layout)


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlan:
    """A published run in which two good samples failed, beside the one that is broken."""
    planned = planned_run(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(weaving, "decode", sick_decode)
        weave(planned)
    finish(planned)
    return planned


def rows_of(store: Store, *runs: str) -> list[IndexRow]:
    return table_to_rows(read_index(store, runs or None))


def due(planned: RunPlan, run: str | None = None) -> list[RunPlan]:
    return list(retries(planned.store, run, QUIET))


def made(planned: RunPlan) -> RunPlan:
    """The next retry, done."""
    (again,) = due(planned)
    weave(again)
    finish(again)
    return again


def test_what_failed_is_made_as_if_it_had_not(planned: RunPlan, tmp_path: Path) -> None:
    undisturbed = in_sink(planned, str(tmp_path / "undisturbed"))
    weave(undisturbed)
    finish(undisturbed)
    for shard in tmp_path.glob("train-*.tar"):
        shard.rename(f"{shard}-away")  # the sources need not be there any more
    again = made(planned)
    for shard in tmp_path.glob("train-*.tar-away"):
        shard.rename(str(shard).removesuffix("-away"))
    assert again.run == f"{planned.run}-retry-1"
    assert (again.samples, again.attempts) == (3, 6)

    before = {(r.source_key, r.copy): r for r in rows_of(planned.store, planned.run)}
    expected = {(r.source_key, r.copy): r for r in rows_of(undisturbed.store)}
    rows = rows_of(planned.store, again.run)
    assert Counter(row.status for row in rows) == {"kept": 4, "failed": 2}
    for row in rows:
        good = expected[row.source_key, row.copy]
        assert row.sample_id == good.sample_id == before[row.source_key, row.copy].sample_id
        assert (row.key, row.ops, row.boxes) == (good.key, good.ops, good.boxes)
        assert members(planned.store, row) == members(undisturbed.store, good)
    assert "12 made again" in verified(planned.recipe.sink, replay=99)


def members(store: Store, row: IndexRow) -> list[bytes]:
    return [store.read(row.shard or "", m.offset, m.size) for m in row.members]


def test_what_fails_again_is_taken_by_the_next_retry(planned: RunPlan) -> None:
    first, second = made(planned), made(planned)
    assert second.run == f"{planned.run}-retry-2"
    assert [sample.key for chunk in second.chunks for sample in chunk.samples] == ["s00"]
    assert {chunk.id for chunk in first.chunks}.isdisjoint(chunk.id for chunk in second.chunks)
    assert due(planned, second.run)[0].run == f"{planned.run}-retry-3"
    verified(planned.recipe.sink)


def test_only_the_copies_that_failed_are_made(planned: RunPlan, tmp_path: Path) -> None:
    """One copy of two: its number, and so its draws and its key, are its own."""
    other = in_sink(planned, str(tmp_path / "other"))
    (again,) = due(planned)
    chunk = next(c for c in again.chunks if any(s.key == "s11" for s in c.samples))
    only = tuple(replace(s, copies=(1,)) for s in chunk.samples)
    one = replace(in_sink(again, other.recipe.sink), chunks=(replace(chunk, samples=only),))
    weave(one)
    finish(one)
    (row,) = rows_of(other.store)
    assert (row.key, row.copy) == ("s11-001", 1)


def test_a_retry_that_was_cut_off_goes_on_as_the_same_run(planned: RunPlan) -> None:
    (begun,) = due(planned)
    write_plan(begun)
    chunk_id, woven, attempted = woven_chunks(begun)[0]
    commit_chunk(begun.store, begun.run, chunk_id, woven, attempted)
    (resumed,) = due(planned)
    assert (resumed.run, resumed.to_json()) == (begun.run, begun.to_json())
    weave(resumed)
    publish(resumed.store, resumed.run, [chunk.id for chunk in resumed.chunks])
    (unrecorded,) = due(planned)
    assert unrecorded.to_json() == begun.to_json()
    finish(unrecorded)
    verified(planned.recipe.sink)


def test_a_run_without_failures_has_nothing_to_retry(planned: RunPlan, tmp_path: Path) -> None:
    text = io.StringIO()
    clean = in_sink(planned, str(tmp_path / "clean"))
    clean = replace(clean, chunks=clean.chunks[1:])
    weave(clean)
    finish(clean)
    retry(clean.recipe.sink, None, Console(file=text, width=200))
    assert "nothing to retry" in text.getvalue()
    assert read_index(clean.store)["run"].unique().to_pylist() == [clean.run]


def test_a_retry_is_refused_with_other_models_and_of_unknown_runs(planned: RunPlan) -> None:
    with pytest.raises(SinkError, match=f"no run x is published; there are: {planned.run}"):
        due(planned, "x")
    path = Path(planned.recipe.sink) / planned.path
    path.write_text(path.read_text().replace(f'"digest": "{planned.digest}"', '"digest": "0"'))
    with pytest.raises(ModelError, match="not those that the run was made with"):
        due(planned)


def test_a_person_finds_the_source_and_the_reason_in_quarantine(planned: RunPlan) -> None:
    store = planned.store
    row = next(row for row in rows_of(store) if row.source_key == "s02")
    assert row.status == "failed" and row.quarantine is not None
    with tarfile.open(fileobj=io.BytesIO(store.read(row.quarantine))) as tar:
        files = {info.name: (tar.extractfile(info) or io.BytesIO()).read() for info in tar}
    names = [f"{key}.{end}" for key in ("s00", "s02") for end in SUFFIXES]
    assert list(files) == names
    source = Path(planned.file.parent / "train-0.tar").read_bytes()
    assert files["s02.png"] in source
    error = json.loads(files["s02.error.json"])
    assert (error["slug"], [copy["copy"] for copy in error["copies"]]) == ("sick", [0, 1])
    assert error["source"]["shard"].endswith("train-0.tar")
    assert "hush" not in files["s02.error.json"].decode()


SUFFIXES = ("error.json", "json", "png", "seg.png")


def test_the_command_retries_and_says_so_where_there_is_nothing_left(
    planned: RunPlan, tmp_path: Path
) -> None:
    """From the shell, with a real Ray; from another folder than the recipe's."""
    place = Workplace(tmp_path)
    done = place.command("retry", "out")
    assert done.returncode == 0, done.stderr
    assert f"{planned.run}-retry-1" in done.stderr
    assert "4 of 6 copies" in done.stderr
    assert "12 made again" in verified(planned.recipe.sink, replay=99)
    clean = place.command("gc", "out")
    assert (clean.returncode, "nothing to remove" in clean.stderr) == (0, True)
    unknown = place.command("retry", "out", "x")
    assert (unknown.returncode, len(unknown.stderr.splitlines())) == (3, 1)
    odd = place.command("gc", "ftp://host/out")
    assert (odd.returncode, "'ftp' is none of" in odd.stderr) == (3, True)
