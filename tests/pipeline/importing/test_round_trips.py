"""Real samples, written in each format by other code, imported, and compared."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from pipeline.importing.coco import read_coco
from pipeline.importing.converting import Imported, convert
from pipeline.importing.labelme import read_labelme
from pipeline.importing.masks import read_masks
from pipeline.importing.voc import read_voc
from pipeline.importing.yolo import read_yolo
from pipeline.labels.files import labels_json
from schemas.sample import Sample
from tests.pipeline.importing.exports import (
    CLASSES,
    Truth,
    export_coco,
    export_labelme,
    export_masks,
    export_voc,
    export_yolo,
    read_back,
    truths,
)

FORMATS = ("coco", "coco-runs", "coco-text", "voc", "yolo", "labelme")


def imported(format: str, name: str, tmp_path: Path) -> Imported:
    truth, classes, folder = truths(name), CLASSES[name], tmp_path / "in"
    kind, _, masks = format.partition("-")
    if kind == "coco":
        file = export_coco(
            folder, truth, classes, masks or ("outlines" if truth[0].masks else "none")
        )
        dataset = read_coco(file, folder / "images", split="train", keep_crowds=False)
    elif kind == "voc":
        dataset = read_voc(export_voc(folder, truth))
    elif kind == "yolo":
        dataset = read_yolo(export_yolo(folder, truth, classes))
    else:
        dataset = read_labelme(export_labelme(folder, truth))
    return convert(dataset, tmp_path / "out", shard_size=3)


def by_webdataset(shards: list[str]) -> dict[str, dict[str, bytes]]:
    with warnings.catch_warnings():  # it leaves its files open
        warnings.simplefilter("ignore", ResourceWarning)
        read = {s["__key__"]: s for s in wds.WebDataset(shards, shardshuffle=False)}
        gc.collect()
    return read


def by_name(samples: dict[str, Sample], truth: Sequence[Truth]) -> list[tuple[Sample, Truth]]:
    last = {key.rpartition("/")[2]: sample for key, sample in samples.items()}
    assert last.keys() == {t.key for t in truth}
    return [(last[t.key], t) for t in truth]


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "labelme"])
def test_boxes_come_back_exactly(format: str, tmp_path: Path) -> None:
    done = imported(format, "bccd", tmp_path)
    assert [row.slug for row in done.report.rows] == []
    # 6 decimals of a share of 640 pixels, for the middle and for half of the side
    rounding = 0.001 if format == "yolo" else 0.0
    for sample, truth in by_name(read_back(done.out), truths("bccd")):
        assert sample.objects.labels == tuple(truth.labels)
        assert np.abs(sample.objects.boxes_n4 - truth.boxes).max() <= rounding
        assert sample.objects.masks_nhw is None
        assert json.loads(dict(sample.extra)["source"]).endswith(f"{truth.key}.jpg")


@pytest.mark.parametrize("format", FORMATS)
def test_masks_come_back_to_the_pixel(format: str, tmp_path: Path) -> None:
    done = imported(format, "nuclei", tmp_path)
    assert [row.slug for row in done.report.rows] == []
    assert sum(len(truth.masks) for truth in truths("nuclei")) > 20
    for sample, truth in by_name(read_back(done.out), truths("nuclei")):
        assert sample.objects.masks_nhw is not None
        assert np.array_equal(sample.objects.masks_nhw, np.array(truth.masks))
        assert np.array_equal(sample.objects.boxes_n4, truth.boxes)


@pytest.mark.parametrize("palette", [False, True])
def test_class_id_maps_come_back_to_the_pixel(palette: bool, tmp_path: Path) -> None:
    pair = export_masks(tmp_path / "in", truths("nuclei"), palette)
    done = convert(read_masks(*pair), tmp_path / "out")
    assert [row.slug for row in done.report.rows] == []
    for sample, truth in by_name(read_back(done.out, segmentation=True), truths("nuclei")):
        assert sample.instances is None
        assert sample.class_map_hw is not None
        assert np.array_equal(sample.class_map_hw, truth.ids)


def test_a_voc_folder_has_both_maps(tmp_path: Path) -> None:
    done = imported("voc", "nuclei", tmp_path)
    for sample, truth in by_name(read_back(done.out, segmentation=True), truths("nuclei")):
        assert sample.class_map_hw is not None
        assert np.array_equal(sample.class_map_hw, truth.ids)


def test_webdataset_reads_the_shards_with_the_bytes_of_the_images(tmp_path: Path) -> None:
    done = imported("yolo", "bccd", tmp_path)
    shards = sorted(map(str, done.out.glob("*.tar")))
    assert [Path(shard).name for shard in shards] == ["train-000000.tar", "val-000000.tar"]
    read = by_webdataset(shards)
    for i, truth in enumerate(truths("bccd")):
        sample = read[f"{'train' if i < 2 else 'val'}/{truth.key}"]
        assert sample["jpg"] == truth.image
        assert json.loads(sample["json"])["labels"] == truth.labels


def test_labels_are_written_as_a_run_writes_them(tmp_path: Path) -> None:
    done = imported("coco-runs", "nuclei", tmp_path)
    shards = sorted(map(str, done.out.glob("*.tar")))
    read = by_webdataset(shards)
    for key, sample in read_back(done.out).items():
        assert labels_json(sample) == read[key]["json"]


def test_shards_are_cut_at_their_size_and_named_in_the_card(tmp_path: Path) -> None:
    done = imported("coco", "bccd", tmp_path)
    card = json.loads((done.out / "dataset.json").read_text())
    shards = card["splits"]["train"]["shards"]
    assert [(shard["file"], shard["samples"]) for shard in shards] == [
        ("train-000000.tar", 3),
        ("train-000001.tar", 1),
    ]
    assert [shard["bytes"] for shard in shards] == [
        (done.out / shard["file"]).stat().st_size for shard in shards
    ]
    assert card["splits"]["train"]["boxes"] == sum(len(t.boxes) for t in truths("bccd"))


@pytest.mark.parametrize("format", ["coco-text", "voc", "yolo", "labelme"])
def test_the_same_dataset_gives_the_same_bytes(format: str, tmp_path: Path) -> None:
    def files(folder: Path) -> dict[str, bytes]:
        out = imported(format, "nuclei", folder).out
        return {path.name: path.read_bytes() for path in out.iterdir()}

    one, two = files(tmp_path / "a"), files(tmp_path / "b")
    assert one == two
    assert {"train-000000.tar", "dataset.json", "report.json", "README.md"} <= one.keys()
