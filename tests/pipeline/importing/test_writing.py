"""Shards appear all at once or not at all, and keys are such that they can be read back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.importing.converting import convert
from pipeline.importing.keys import key_of, with_keys
from pipeline.importing.packing import Packed
from pipeline.importing.records import Item
from pipeline.importing.writing import new_folder, write_shards
from schemas.errors import RecipeError, SinkError, SourceError
from schemas.members import split_name
from tests.pipeline.importing.broken import annotated, coco, one, picture


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(SinkError, match=r"out: is not empty; it holds: mine\.txt"):
        convert(coco(tmp_path / "in"), out)
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file: is a file"):
        convert(coco(tmp_path / "in"), tmp_path / "file")
    (tmp_path / "new.importing").mkdir()
    (tmp_path / "new.importing" / "notes.txt").write_text("mine")
    with pytest.raises(SinkError, match=r"holds notes\.txt"):
        convert(coco(tmp_path / "in"), tmp_path / "new")
    assert (tmp_path / "new.importing" / "notes.txt").exists()


def test_an_empty_folder_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert(coco(tmp_path / "in"), tmp_path / "out")
    assert (tmp_path / "out" / "dataset.json").exists()
    assert not (tmp_path / "out.importing").exists()


def test_a_killed_import_leaves_no_folder_and_the_next_one_begins_anew(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from pipeline.importing.writing import new_folder, write_file\n"
        "with new_folder(Path(sys.argv[1])) as folder:\n"
        "    write_file(folder / 'train-000007.tar', b'half')\n"
        "    print('there', flush=True); time.sleep(60)\n"
    )
    out = tmp_path / "out"
    root = str(Path(__file__).parents[3])
    with subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": root},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        with pytest.raises(SinkError, match="another import is writing"):
            convert(coco(tmp_path / "in"), out)
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    convert(coco(tmp_path / "in"), out)
    assert sorted(path.name for path in out.glob("*.tar")) == ["train-000000.tar"]


def test_an_import_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "out") as folder:
        (folder / "train-000000.tar").write_bytes(b"")
        raise ZeroDivisionError
    assert not (tmp_path / "out").exists()


def test_where_no_image_can_be_read_the_first_reason_is_told(tmp_path: Path) -> None:
    dataset = coco(tmp_path / "in", one(), image=b"GIF89a")
    (tmp_path / "in/images/good.png").write_bytes(b"")
    with pytest.raises(SourceError, match="not one of 2 images can be imported"):
        convert(dataset, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_split_is_named_so_that_a_pattern_can_name_it(tmp_path: Path) -> None:
    from dataclasses import replace

    dataset = coco(tmp_path / "in")
    items = tuple(replace(item, split="../x") for item in dataset.items)
    with pytest.raises(RecipeError, match="letters, digits"):
        convert(replace(dataset, items=items), tmp_path / "out")


def test_a_shard_ends_before_it_is_too_large_to_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.importing.writing.MAX_BYTES", 1000)
    samples = [Packed(f"k{i}", "train", {"png": bytes(400)}, ()) for i in range(5)]
    tally = write_shards(samples, tmp_path, shard_size=100)["train"]
    assert [shard["samples"] for shard in tally.shards] == [2, 2, 1]


@given(st.lists(st.text(st.sampled_from("ab./\\ \n\u00e9-2"), min_size=1, max_size=8), max_size=8))
def test_every_image_has_a_key_of_its_own_that_reads_back(names: list[str]) -> None:
    items = [Item("train", f"{name}.png", "here", b"") for name in names]
    keys = [key for key, _ in with_keys(items)]
    assert len(set(keys)) == len(names)
    assert keys == sorted(keys)
    for key in keys:
        assert split_name(f"{key}.seg.png") == (key, "seg.png")
        assert key.isprintable()
        assert not key.startswith("/")
        assert ".." not in key.split("/")


def test_a_plain_name_is_its_own_key() -> None:
    assert key_of("val/000000 (1)") == "val/000000 (1)"
    assert key_of("a.b") == "a_b"


def test_an_image_keeps_its_bytes_and_its_suffix(tmp_path: Path) -> None:
    data = picture("webp")
    done = convert(annotated(image=data, file_name="A.WEBP")(tmp_path / "in"), tmp_path / "out")
    assert done.tallies["train"].suffixes == {"webp": 1, "png": 1}
    assert data in (done.out / "train-000000.tar").read_bytes()
