"""Laws of `noiseloom verify`: all well is told as such, and every kind of damage is named."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.run.plan import RunPlan
from jobs.verify.sink import verify
from pipeline.codec import encode_png
from pipeline.index.files import published_path
from pipeline.sink.commit import shard_path
from pipeline.storage.store import Store
from pipeline.tars.tar import write_tar
from schemas.errors import SinkError
from schemas.index import IndexRow, rows_to_table, table_to_rows
from tests.jobs.sinks import finish, planned_run, weave
from tests.pipeline.shards import painted, tar_of


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    planned = planned_run(tmp_path_factory.mktemp("run"))
    weave(planned)
    finish(planned)
    return planned


@pytest.fixture
def out(pristine: RunPlan, tmp_path: Path) -> Path:
    """A copy of the finished sink, to be damaged."""
    shutil.copytree(pristine.recipe.sink, tmp_path / "out")
    return tmp_path / "out"


def said(sink: Path, replay: int = 0) -> tuple[int, str]:
    text = io.StringIO()
    code = verify(str(sink), replay, Console(file=text, width=240))
    return code, text.getvalue()


def rows_of(out: Path) -> list[IndexRow]:
    (path,) = out.glob("index/*.parquet")
    return table_to_rows(pq.read_table(path))


def rewrite(out: Path, change: Callable[[IndexRow], IndexRow | None]) -> None:
    """The published index with every row changed; None drops it."""
    (path,) = out.glob("index/*.parquet")
    rows = [change(row) for row in rows_of(out)]
    pq.write_table(rows_to_table([row for row in rows if row is not None]), path)


def first_kept(out: Path) -> IndexRow:
    return next(row for row in rows_of(out) if row.status == "kept")


def test_a_sound_sink_is_told_as_such(out: Path) -> None:
    code, text = said(out, replay=5)
    assert (code, "everything is as the index says" in text) == (0, True)
    assert "1 runs, 14 copies (12 kept, 0 rejected, 2 failed), 4 tars, 5 made again" in text


def test_a_file_is_told_what_is_being_checked_before_it_is(out: Path) -> None:
    _, text = said(out)
    assert text.startswith(f"{out}: checking 4 tars of 14 copies\n")


def test_an_empty_sink_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="no run has committed"):
        said(tmp_path)


def test_a_changed_byte_is_found(out: Path) -> None:
    row = first_kept(out)
    path = out / str(row.shard)
    data = bytearray(path.read_bytes())
    data[row.members[0].offset + row.members[0].size - 30] ^= 1
    path.write_bytes(bytes(data))
    code, text = said(out)
    assert (code, "shard_changed" in text) == (1, True)


def test_a_lost_shard_is_found(out: Path) -> None:
    (out / str(first_kept(out).shard)).unlink()
    code, text = said(out)
    assert (code, "shard_missing 1" in text) == (1, True)


def test_a_cut_shard_is_found(out: Path) -> None:
    path = out / str(first_kept(out).shard)
    path.write_bytes(path.read_bytes()[:1500])
    code, text = said(out)
    assert code == 1
    assert "shard_damaged 1" in text
    assert "not_decodable" in text


def test_a_wrong_offset_is_found(out: Path) -> None:
    def shifted(row: IndexRow) -> IndexRow:
        members = tuple(replace(member, offset=member.offset + 512) for member in row.members)
        return replace(row, members=members)

    rewrite(out, shifted)
    code, text = said(out)
    assert code == 1
    assert "member_misplaced 36" in text
    assert "member_unclaimed 36" in text


def test_a_lost_row_is_found(out: Path) -> None:
    gone = first_kept(out)
    rewrite(out, lambda row: None if row == gone else row)
    code, text = said(out)
    assert code == 1
    for slug in ("chunk_incomplete 1", "counts_differ 1", "member_unclaimed 3"):
        assert slug in text


def test_a_doubled_row_is_found(out: Path) -> None:
    rows = rows_of(out)
    (path,) = out.glob("index/*.parquet")
    pq.write_table(rows_to_table([*rows, rows[-1]]), path)
    code, text = said(out)
    assert (code, "copy_twice 1" in text) == (1, True)


def test_a_chunk_that_is_in_no_run_is_found(out: Path) -> None:
    chunk = rows_of(out)[-1].chunk
    rewrite(out, lambda row: None if row.chunk == chunk else row)
    code, text = said(out)
    assert (code, "chunk_missing 1" in text) == (1, True)
    assert "unreferenced_shard" in text


@pytest.mark.parametrize(
    ("change", "slug"),
    [
        (lambda row: replace(row, width=31), "size_differs"),
        (lambda row: replace(row, boxes=((0.0, 0.0, 99.0, 9.0), *row.boxes[1:])), "box_outside"),
        (lambda row: replace(row, boxes=row.boxes[::-1]), "labels_differ"),
        (lambda row: replace(row, labels=("cell", "call")), "labels_differ"),
        (lambda row: replace(row, key="other"), "row_inconsistent"),
    ],
)
def test_a_row_that_does_not_describe_its_sample_is_found(
    out: Path, change: Callable[[IndexRow], IndexRow], slug: str
) -> None:
    rewrite(out, lambda row: change(row) if row.status == "kept" else row)
    code, text = said(out)
    assert (code, f"{slug} 12" in text) == (1, True)


def test_a_missing_record_or_plan_is_found(out: Path) -> None:
    for path in out.glob("runs/*.json"):
        path.unlink()
    code, text = said(out, replay=1)
    assert code == 1
    for slug in ("no_plan 1", "no_record 1", "replay_impossible 1"):
        assert slug in text


def test_a_damaged_index_does_not_hide_the_rest(out: Path) -> None:
    (out / "index" / "other.parquet").write_bytes(b"PAR1")
    code, text = said(out)
    assert code == 1
    assert "1 findings: unreadable_index 1" in text


def test_a_tar_that_nothing_names_is_told_and_no_fault(out: Path) -> None:
    (out / "shards" / "0000000000000000.00000000.tar").write_bytes(tar_of([]))
    code, text = said(out)
    assert code == 0
    assert "unreferenced_shard" in text


def test_a_run_under_way_is_checked_as_far_as_it_is(tmp_path: Path) -> None:
    planned = planned_run(tmp_path)
    weave(planned)
    planned.store.delete(f"index/_pending/{planned.run}/{planned.chunks[0].id}.parquet")
    code, text = said(tmp_path / "out", replay=2)
    assert code == 0
    for note in ("run_unfinished", "unreferenced_shard", "8 copies"):
        assert note in text


def test_a_replay_finds_pixels_that_the_row_does_not_give(out: Path) -> None:
    """The whole chain is consistent, hash and all, but one image is another one."""
    row = first_kept(out)
    store = Store(str(out))
    mates = [other for other in rows_of(out) if other.shard == row.shard]
    data = store.read(str(row.shard))
    image = encode_png(painted(24, row.width or 0, []))
    files = [
        (member.name, data[member.offset :][: member.size])
        for mate in mates
        for member in mate.members
    ]
    files = [(name, image if name == f"{row.key}.png" else old) for name, old in files]
    forged, members = write_tar(files)
    path = shard_path(row.chunk, forged)
    store.create(path, forged)
    store.delete(str(row.shard))
    place = {member.name: member for member in members}

    def moved(old: IndexRow) -> IndexRow:
        if old.shard != row.shard:
            return old
        return replace(old, shard=path, members=tuple(place[m.name] for m in old.members))

    rewrite(out, moved)
    assert said(out)[0] == 0
    code, text = said(out, replay=12)
    assert (code, "replay_differs 1" in text) == (1, True)
    assert "pixels differ, by" in text


def test_a_replay_without_its_source_is_impossible(tmp_path: Path) -> None:
    planned = planned_run(tmp_path)
    weave(planned)
    finish(planned)
    (tmp_path / "train-1.tar").unlink()
    code, text = said(tmp_path / "out", replay=12)
    assert code == 1
    assert "replay_impossible 6" in text
    assert "no such shard" in text


def test_a_change_of_versions_is_named_with_a_difference(out: Path) -> None:
    (path,) = [path for path in out.glob("runs/*.json") if "plan" not in path.name]
    record = json.loads(path.read_text())
    record["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(record))
    row = first_kept(out)
    rewrite(out, lambda other: replace(other, ops=()) if other == row else other)
    _, text = said(out, replay=12)
    assert "other ops, or other draws (made with numpy 1.0)" in text


def test_samples_of_a_model_come_out_the_same_alone_as_in_their_chunk(tmp_path: Path) -> None:
    from tests.models import tiny_denoiser

    tiny_denoiser(tmp_path / "model", classes=("cell",))
    op = "- {kind: noise_denoise, model: denoiser, strength: [0.2, 0.6], steps: 2}"
    planned = planned_run(tmp_path, op, f"{{denoiser: {{native: {tmp_path}/model}}}}")
    weave(planned)
    finish(planned)
    code, text = said(tmp_path / "out", replay=4)
    assert (code, "4 made again" in text) == (0, True), text


def test_the_published_index_has_the_name_of_its_run(pristine: RunPlan) -> None:
    assert pristine.store.exists(published_path(pristine.run))
