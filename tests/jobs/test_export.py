"""Laws of `noiseloom export`: independent readers, and our own import, find what was woven."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import yaml
from pycocotools.coco import COCO
from rich.console import Console
from torchvision.datasets import VOCDetection

from jobs.export import Choice, export_data
from jobs.run.plan import RunPlan, make_plan
from pipeline.catalog import woven
from pipeline.exporting.export import Format, export
from pipeline.exporting.folder import MARK, FileNames, new_folder
from pipeline.exporting.writer import ClassNames
from pipeline.importing.coco import read_coco
from pipeline.importing.converting import convert
from pipeline.importing.masks import parse_ids, read_masks
from pipeline.importing.records import Dataset
from pipeline.importing.voc import read_voc
from pipeline.importing.yolo import read_yolo
from schemas.errors import NoiseloomError, RecipeError, SinkError
from schemas.sample import Sample
from tests.jobs.cli.test_main import noiseloom
from tests.jobs.sinks import finish, weave
from tests.pipeline.importing.exports import read_back
from tests.pipeline.woven_sets import write_masked

ROTATE = "- {kind: classic, transforms: [{Affine: {rotate: [10, 30], scale: 1.1, p: 1.0}}]}"
"""Boxes become tight boxes of turned masks, or fractional where there are none."""

WIDE = Console(file=io.StringIO(), width=300)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """Ten copies of five samples with boxes, masks and maps, each turned and mirrored."""
    folder = tmp_path_factory.mktemp("woven")
    source = write_masked(folder)
    (folder / "cells.yaml").write_text(
        f"source: {source.model_dump_json(exclude={'repair'})}\nsink: {folder}/out\ncopies: 2\n"
        f"tracking: {{uri: null}}\nops:\n{ROTATE}\n"
    )
    planned = make_plan(folder / "cells.yaml")
    weave(planned)
    finish(planned)
    return planned


@pytest.fixture(scope="module")
def truth(planned: RunPlan) -> dict[str, Sample]:
    """What was woven, by the name of its file."""
    catalog = woven(planned.recipe.sink, runs=[planned.run])
    return {catalog.key(i): catalog.sample(i) for i in range(len(catalog))}


def exported(planned: RunPlan, format: Format, out: Path, **choice: object) -> tuple[Path, str]:
    said = Console(file=io.StringIO(), width=300)
    usual = Choice((), None, (), "train")
    export_data(format, planned.recipe.sink, out, replace(usual, **choice), said)  # type: ignore[arg-type]
    return out, said.file.getvalue()  # type: ignore[attr-defined]


def apart(boxes: object, sample: Sample) -> float:
    """By how many pixels the worst side of a box is off."""
    read = np.asarray(boxes, np.float64).reshape(-1, 4)
    assert read.shape == sample.objects.boxes_n4.shape
    return float(np.abs(read - sample.objects.boxes_n4).max(initial=0))


# pycocotools 2.0 under numpy 2.4, in its run lengths
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn:DeprecationWarning:pycocotools")
def test_pycocotools_finds_the_boxes_masks_and_classes(
    planned: RunPlan, truth: dict[str, Sample], tmp_path: Path
) -> None:
    out, _ = exported(planned, "coco", tmp_path / "out")
    with redirect_stdout(io.StringIO()):
        api = COCO(str(out / "instances_train.json"))
    assert {c["id"]: c["name"] for c in api.loadCats(api.getCatIds())} == {1: "cell"}
    images = api.loadImgs(api.getImgIds())
    assert {Path(image["file_name"]).stem for image in images} == truth.keys()
    for image in images:
        sample = truth[Path(image["file_name"]).stem]
        assert (image["width"], image["height"]) == (sample.width, sample.height)
        entries = api.loadAnns(api.getAnnIds(image["id"]))
        boxes = [(x, y, x + w, y + h) for x, y, w, h in (entry["bbox"] for entry in entries)]
        assert apart(boxes, sample) < 1e-9
        assert sample.objects.masks_nhw is not None
        for entry, mask in zip(entries, sample.objects.masks_nhw, strict=True):
            assert np.array_equal(api.annToMask(entry), mask)
            assert entry["area"] == mask.sum()


@pytest.mark.parametrize("format", ["coco", "yolo", "voc"])
def test_supervision_finds_the_boxes(
    planned: RunPlan, truth: dict[str, Sample], tmp_path: Path, format: Format
) -> None:
    out, _ = exported(planned, format, tmp_path / "out")
    read = {
        "coco": lambda: sv.DetectionDataset.from_coco(
            str(out / "train"), str(out / "instances_train.json")
        ),
        "yolo": lambda: sv.DetectionDataset.from_yolo(
            str(out / "images/train"), str(out / "labels/train"), str(out / "data.yaml")
        ),
        "voc": lambda: sv.DetectionDataset.from_pascal_voc(
            str(out / "JPEGImages"), str(out / "Annotations")
        ),
    }[format]()
    rounding = {"coco": 1e-4, "yolo": 1e-4, "voc": 0.5}[format]  # supervision keeps float32
    assert read.classes == ["cell"]
    assert len(read) == len(truth)
    for path, pixels, found in read:
        sample = truth[Path(path).stem]
        assert np.array_equal(pixels[:, :, ::-1], sample.image_hwc)
        assert apart(found.xyxy, sample) <= rounding
        assert set(np.asarray(found.class_id).tolist()) <= {0}


def test_torchvision_finds_the_voc_images_and_their_numbers(
    planned: RunPlan, truth: dict[str, Sample], tmp_path: Path
) -> None:
    out, _ = exported(planned, "voc", tmp_path / "VOCdevkit/VOC2012")
    for name in truth:  # it insists on jpg
        shutil.copy(out / "JPEGImages" / f"{name}.png", out / "JPEGImages" / f"{name}.jpg")
    read = VOCDetection(str(tmp_path), year="2012", image_set="train")
    assert len(read) == len(truth)
    for image, record in read:
        found = record["annotation"]
        sample = truth[Path(found["filename"]).stem]
        assert image.size == (sample.width, sample.height)
        frames = [one["bndbox"] for one in found["object"]]
        boxes = [
            (int(f["xmin"]) - 1, int(f["ymin"]) - 1, int(f["xmax"]), int(f["ymax"])) for f in frames
        ]
        assert apart(boxes, sample) <= 0.5


READ: dict[Format, Callable[[Path], Dataset]] = {
    "coco": lambda out: read_coco(
        out / "instances_train.json", out / "train", split="train", keep_crowds=False
    ),
    "yolo": read_yolo,
    "voc": read_voc,
    "masks": lambda out: read_masks(
        out / "images", out / "masks", ids=parse_ids((out / "classes.txt").read_text().split())
    ),
}


@pytest.mark.parametrize("format", ["coco", "yolo", "voc", "masks"])
def test_our_own_import_finds_what_was_woven(
    planned: RunPlan, truth: dict[str, Sample], tmp_path: Path, format: Format
) -> None:
    out, _ = exported(planned, format, tmp_path / "out")
    done = convert(READ[format](out), tmp_path / "in")
    assert [row.slug for row in done.report.rows] == []
    maps = format in ("voc", "masks")
    back = read_back(done.out, segmentation=maps)
    assert {key.rpartition("/")[2] for key in back} == truth.keys()
    for key, sample in back.items():
        wanted = truth[key.rpartition("/")[2]]
        assert np.array_equal(sample.image_hwc, wanted.image_hwc)
        if maps:
            assert np.array_equal(np.asarray(sample.class_map_hw), np.asarray(wanted.class_map_hw))
        if format == "masks":
            assert done.dataset.seg_classes == ("background", "cell")
            continue
        assert sample.objects.labels == wanted.objects.labels
        assert apart(sample.objects.boxes_n4, wanted) < 1e-4
        if format != "yolo":
            assert np.array_equal(
                np.asarray(sample.objects.masks_nhw), np.asarray(wanted.objects.masks_nhw)
            )


@pytest.mark.parametrize("format", ["coco", "yolo", "voc"])
def test_fractional_boxes_are_off_by_no_more_than_the_formats_rounding(
    tmp_path: Path, format: Format
) -> None:
    from pipeline.catalog import real
    from schemas.recipe import Source
    from tests.pipeline.shards import labels, png, tar_of

    rng = np.random.default_rng(1)
    low = rng.uniform(0, [39.0, 29.0], (40, 2))
    high = low + rng.uniform(0.05, 1, (40, 2)) * ([40.0, 30.0] - low)
    boxes = np.concatenate([low, high], axis=1)
    files = [
        ("a.png", png(np.zeros((30, 40, 3), np.uint8))),
        ("a.json", labels(30, 40, boxes.tolist())),
    ]
    (tmp_path / "a.tar").write_bytes(tar_of(files))
    names = ClassNames(("x", "cell"), (), "train")
    export(real(Source(shards=(f"{tmp_path}/a.tar",))), format, names, tmp_path / "out", {})
    done = convert(READ[format](tmp_path / "out"), tmp_path / "in")
    (back,) = read_back(done.out).values()
    if format != "voc":
        assert len(back.objects) == 40
        assert np.abs(back.objects.boxes_n4 - boxes).max() < 6e-5  # import writes 4 decimals
        return
    # whole pixels: half of one, and a box of less than a pixel becomes one; the same box is one
    for box in back.objects.boxes_n4:
        off = np.abs(boxes - box).max(axis=1)
        assert off.min() <= 1
        sides = boxes[off.argmin(), 2:] - boxes[off.argmin(), :2]
        assert off.min() <= 0.5 or sides.min() < 1


def test_classes_stand_in_the_order_that_is_asked_for(planned: RunPlan, tmp_path: Path) -> None:
    order = ("nothing", "cell")
    out, said = exported(planned, "yolo", tmp_path / "y", classes=order, split="val")
    config = yaml.safe_load((out / "data.yaml").read_text())
    assert config == {"val": "images/val", "names": {0: "nothing", 1: "cell"}}
    lines = {
        line.split()[0]
        for p in (out / "labels/val").iterdir()
        for line in p.read_text().splitlines()
    }
    assert lines == {"1"}
    assert "left out of 10 images: instance masks: only boxes are written" in said
    record = json.loads((out / "export.json").read_text())
    assert record["classes"] == ["nothing", "cell"]
    assert (record["runs"], record["images"]) == ([planned.run], 10)


def test_only_the_samples_that_are_asked_for_are_written(planned: RunPlan, tmp_path: Path) -> None:
    where = "source_key = 'm3' or copy = 1 and source_key = 'm0'"
    out, _ = exported(planned, "masks", tmp_path / "m", where=where, runs=(planned.run,))
    assert sorted(p.stem for p in (out / "masks").iterdir()) == ["m0-001", "m3-000", "m3-001"]
    assert json.loads((out / "export.json").read_text())["where"] == where


def test_the_same_export_gives_the_same_bytes(planned: RunPlan, tmp_path: Path) -> None:
    for format in ("coco", "yolo", "voc", "masks"):
        one, two = (exported(planned, format, tmp_path / f"{format}{n}")[0] for n in range(2))
        files = [
            {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
            for folder in (one, two)
        ]
        assert files[0] == files[1]
        assert not any(path.name.startswith(".") for path in files[0])


@pytest.mark.parametrize(
    ("format", "choice", "error", "says"),
    [
        ("coco", {"runs": ("r",)}, SinkError, "no run r is published; there are: cells-"),
        ("coco", {"where": "ssim >"}, RecipeError, "character 7: ends where a number"),
        ("yolo", {"where": "width > 999"}, SinkError, "no kept sample for which width > 999"),
        ("voc", {"classes": ("dog",)}, SinkError, "class 'cell' is none of dog"),
        ("masks", {"classes": ("background",)}, SinkError, "id 1 has no name in background"),
        ("yolo", {"split": "../x"}, RecipeError, "--split ../x: letters"),
    ],
)
def test_a_mistake_is_told_in_one_line_and_leaves_no_folder(
    planned: RunPlan,
    tmp_path: Path,
    format: Format,
    choice: dict[str, object],
    error: type[NoiseloomError],
    says: str,
) -> None:
    with pytest.raises(error) as told:
        exported(planned, format, tmp_path / "out", **choice)
    assert says in str(told.value)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


def test_runs_without_class_names_are_told_what_there_is(planned: RunPlan, tmp_path: Path) -> None:
    shutil.copytree(planned.recipe.sink, tmp_path / "sink")
    plan = tmp_path / "sink" / planned.path
    record = json.loads(plan.read_bytes())
    record["recipe"]["source"] |= {"classes": None, "seg_classes": None}
    plan.write_text(json.dumps(record))
    usual = Choice((), None, (), "train")
    with pytest.raises(RecipeError, match=r"give --class for each.*found: cell"):
        export_data("coco", str(tmp_path / "sink"), tmp_path / "out", usual, WIDE)
    with pytest.raises(RecipeError, match="give --class, in order of the ids"):
        export_data("masks", str(tmp_path / "sink"), tmp_path / "out", usual, WIDE)


def test_a_folder_that_holds_something_is_left_alone(planned: RunPlan, tmp_path: Path) -> None:
    for name in ("out", "out.exporting"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").write_text("mine")
        with pytest.raises(SinkError, match=r"is not empty|no export has left it there"):
            exported(planned, "coco", tmp_path / "out")
        assert (tmp_path / name / "mine.txt").read_text() == "mine"
        shutil.rmtree(tmp_path / name)


def test_an_export_that_was_killed_is_begun_anew_and_one_under_way_is_not(tmp_path: Path) -> None:
    building = tmp_path / "out.exporting"
    (building / "images").mkdir(parents=True)
    (building / "images" / "half.png").touch()
    (building / MARK).touch()
    with new_folder(tmp_path / "out") as folder:
        assert [p.name for p in folder.iterdir()] == [MARK]
        with pytest.raises(SinkError, match="another export"), new_folder(tmp_path / "out"):
            pass
        (folder / "a").touch()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a"]


def test_files_of_several_runs_and_folders_have_names_of_their_own() -> None:
    names = FileNames()
    keys = ["train/a b-000", "train/a b-000", "train_a_b-000-2", "v1.2/ä-000"]
    assert [names.of(key) for key in keys] == [
        "train_a_b-000", "train_a_b-000-2", "train_a_b-000-2-2", "v1_2_ä-000",
    ]  # fmt: skip


def test_the_command_says_what_it_wrote_and_how_to_read_it_back(
    planned: RunPlan, tmp_path: Path
) -> None:
    done = noiseloom("export", "coco", planned.recipe.sink, "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"out: 10 images of {planned.run}" in done.stderr
    back = done.stderr.rpartition("read back with: noiseloom ")[2].split()
    assert noiseloom(*back, cwd=tmp_path).returncode == 0
    again = noiseloom("export", "coco", planned.recipe.sink, "out", cwd=tmp_path)
    assert again.returncode == 3
    assert again.stderr.startswith("out: is not empty")
