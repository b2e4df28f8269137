"""`noiseloom import` from outside: what it prints, what it writes, and what it says of mistakes."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from jobs.import_data import import_data
from pipeline.importing.coco import read_coco
from pipeline.importing.labelme import read_labelme
from pipeline.importing.masks import parse_ids, read_masks
from pipeline.importing.records import Dataset
from pipeline.importing.voc import read_voc
from pipeline.importing.yolo import read_yolo
from pipeline.source.plan import plan
from schemas.errors import NoiseloomError
from schemas.recipe import Source
from tests.jobs.cli.test_main import noiseloom
from tests.pipeline.importing.broken import coco, one, picture
from tests.pipeline.importing.exports import export_voc, put, truths


def test_an_import_ends_with_its_report_and_a_source_that_a_recipe_can_use(tmp_path: Path) -> None:
    put(tmp_path / "in/images/good.png", picture())
    coco(tmp_path / "in", one([14, 3, 9, 5]), one(category_id=77))
    arguments = ["coco", "in/a.json", "in/images", "out", "--split", "val", "--shard-size", "1"]
    done = noiseloom("import", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    for said in ("box_clipped", "unknown_category", "repaired", "classes: cell 2"):
        assert said in done.stderr
    assert "annotations: 3 read · kept 1 · repaired 1 · left out 1" in done.stderr
    block = yaml.safe_load("source:" + done.stderr.rpartition("source:")[2])["source"]
    source = Source.model_validate(block)
    assert source.classes == ("cell",)
    assert source.shards == ("out/val-{000000..000001}.tar",)
    here = source.model_copy(update={"shards": (f"{tmp_path}/{source.shards[0]}",)})
    assert sum(len(chunk.samples) for chunk in plan(here, 8, "digest").chunks) == 2
    again = noiseloom("import", *arguments, cwd=tmp_path)
    assert again.returncode == 3
    assert again.stderr.startswith("out: is not empty")


def test_maps_and_their_classes_are_in_the_source_where_every_sample_has_one(
    tmp_path: Path,
) -> None:
    folder = export_voc(tmp_path / "in", truths("nuclei", 2))
    put(folder / "labelmap.txt", "# label:colour\nbackground:0,0,0::\nnucleus:255,0,0::\n")
    said = told(lambda: read_voc(folder), tmp_path / "out")
    block = yaml.safe_load("source:" + said.rpartition("source:")[2])["source"]
    assert block["segmentation"] == "seg.png"
    assert block["seg_classes"] == ["background", "nucleus"]


def told(read: Callable[[], Dataset], out: Path) -> str:
    console = Console(file=io.StringIO(), width=120)
    import_data(read, out, 1000, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_sees_a_bar(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    import_data(lambda: coco(tmp_path / "in"), tmp_path / "out", 1000, console)
    assert isinstance(console.file, io.StringIO)
    assert "2/2" in console.file.getvalue()


def test_names_from_a_dataset_are_no_markup(tmp_path: Path) -> None:
    said = told(lambda: coco(tmp_path / "in", one(), names=("[red]cell",)), tmp_path / "out")
    assert "classes: [red]cell 2" in said


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a json that is not there": (
        lambda at: read_coco(at / "b.json", at, split="train", keep_crowds=False),
        r"b\.json: no such file; .* holds: full/. Looked for: a COCO json",
    ),
    "a folder for a json": (
        lambda at: read_coco(at / "full", at, split="train", keep_crowds=False),
        "is a folder",
    ),
    "images that are elsewhere": (
        lambda at: read_coco(_no_images(at), at / "full", split="train", keep_crowds=False),
        r"not one of its 1 images is in .*full. Looked for: x\.png; .*full holds: a\.txt",
    ),
    "a json of another kind": (
        lambda at: read_coco(
            put(at / "c.json", '{"shapes": []}'), at / "full", split="train", keep_crowds=False
        ),
        "no list of images and annotations and categories.*this one has: shapes",
    ),
    "no json": (
        lambda at: read_coco(put(at / "c.json", "{"), at, split="train", keep_crowds=False),
        r"c\.json: not JSON",
    ),
    "no VOC folder": (lambda at: read_voc(at / "full"), "no folder Annotations and JPEGImages"),
    "a folder too high": (lambda at: read_voc(_high(at)), "Did you mean .*VOC2012?"),
    "a split that is not there": (
        lambda at: read_voc(_high(at) / "VOC2012", splits=["dev"]),
        r"no dev\.txt; there are: nothing",
    ),
    "no data.yaml": (lambda at: read_yolo(at / "full"), r"Looked for: data\.yaml.* holds: a\.txt"),
    "a data.yaml without names": (
        lambda at: read_yolo(put(at / "data.yaml", "train: images\n")),
        "names: no list",
    ),
    "images that data.yaml names": (
        lambda at: read_yolo(put(at / "data.yaml", "train: gone/images\nnames: [a]\n")),
        "train: gone/images: not there. Looked for",
    ),
    "a YOLO split": (
        lambda at: read_yolo(put(at / "data.yaml", "val: full\nnames: [a]\n"), splits=["train"]),
        "no split train; it has: val",
    ),
    "a tag in data.yaml": (
        lambda at: read_yolo(put(at / "data.yaml", "names: !!python/name:os.system\n")),
        "not YAML",
    ),
    "keypoints": (
        lambda at: read_yolo(put(at / "data.yaml", "kpt_shape: [17, 3]\nnames: [a]\n")),
        "keypoints are not read",
    ),
    "no LabelMe file": (lambda at: read_labelme(at / "full"), "no json file"),
    "a folder that is not there": (
        lambda at: read_labelme(at / "ful"),
        "not there; .* holds: full/",
    ),
    "masks by other names": (lambda at: read_masks(*_pair(at)), "Try --mask-suffix _L"),
    "a class without a name": (lambda at: parse_ids(["3"]), "--class 3: it must be ID=NAME"),
    "a class beyond 255": (lambda at: parse_ids(["300=a"]), "--class 300=a"),
}


def _no_images(at: Path) -> Path:
    image = {"id": 1, "file_name": "x.png", "width": 4, "height": 4}
    record = {"images": [image], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    return put(at / "a.json", json.dumps(record))


def _high(at: Path) -> Path:
    put(at / "kit/VOC2012/Annotations/a.xml", "<annotation/>")
    put(at / "kit/VOC2012/JPEGImages/a.png", picture())
    return at / "kit"


def _pair(at: Path) -> tuple[Path, Path]:
    put(at / "m/a_L.png", picture())
    return put(at / "i/a.png", picture()).parent, at / "m"


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_the_place_and_what_was_looked_for(mistake: str, tmp_path: Path) -> None:
    put(tmp_path / "full/a.txt", "")
    read, said = MISTAKES[mistake]
    with pytest.raises(NoiseloomError, match=said):
        read(tmp_path)


def test_a_mistake_is_one_message_without_a_traceback(tmp_path: Path) -> None:
    done = noiseloom("import", "voc", "gone", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("gone: not there")
    assert len(done.stderr.splitlines()) == 1


def test_help_of_every_format_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom jobs.cli.main import app\n"
        "for name in ('coco', 'voc', 'yolo', 'labelme', 'masks'):\n"
        "    done = CliRunner().invoke(app, ['import', name, '--help'])\n"
        "    assert done.exit_code == 0, done.output\n"
        "    assert f'noiseloom import {name}' in done.output\n"
        "heavy = ('torch', 'ray', 'mlflow', 'numpy', 'pyarrow', 'faster_coco_eval')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
