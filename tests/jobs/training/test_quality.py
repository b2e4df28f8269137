"""`noiseloom quality` on painted shards, with tiny models: whole, resumed, and into the card."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from jobs.training.quality import OF_DENOISER, Settings, quality
from pipeline.detection.config import Schooling
from pipeline.detection.network import DetectorConfig
from pipeline.detection.training import train_detector
from pipeline.samples import load_samples
from schemas.errors import RecipeError
from schemas.recipe import Source
from tests.models import tiny_denoiser, tiny_upscaler
from tests.pipeline.shards import sample_files, tar_of

IMAGES = 1
SETTINGS = Settings(images=IMAGES, pairs=2, steps=2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards, a training configuration, a denoiser, an upscaler and a detector."""
    folder = tmp_path_factory.mktemp("quality")
    files = [file for i in range(2) for file in sample_files(f"s{i}", 48, 48 + 2 * i)]
    shard = folder / "val.tar"
    shard.write_bytes(tar_of(files))
    source = {
        "shards": str(shard),
        "segmentation": "seg.png",
        "classes": ["cell"],
        "seg_classes": ["background", "cell"],
    }
    config = {"data": source, "validation": source, "out": "model", "licence": "CC0"}
    (folder / "train.yaml").write_text(json.dumps(config))  # JSON is YAML
    tiny_denoiser(folder / "m" / "denoiser", ("cell",), ("background", "cell"))
    (folder / "m" / "denoiser" / "README.md").write_text("# a denoiser\n")
    tiny_upscaler(folder / "m" / "upscaler")
    samples, _ = load_samples(Source.model_validate(source))
    net = DetectorConfig(classes=("cell",), widths=(8, 8, 16), head_convs=1, stride=8)
    train_detector(samples, net, Schooling(steps=2, batch=2, crop=32)).save(
        folder / "m" / "detector"
    )
    return folder


def measured(place: Path, model: str, data: str, settings: Settings) -> str:
    said = io.StringIO()
    quality(place / "m" / model, str(place / data), settings, Console(file=said, width=150))
    return said.getvalue()


@pytest.fixture(scope="module")
def whole(place: Path) -> str:
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.quality.strength.STRENGTHS", (0.2, 0.5))
        return measured(place, "denoiser", "train.yaml", SETTINGS)


def test_every_part_of_a_denoiser_has_its_table_and_its_pictures(place: Path, whole: str) -> None:
    folder = place / "m" / "denoiser" / "quality"
    record = json.loads((folder / "quality.json").read_bytes())
    assert [table["part"] for table in record["tables"]] == list(OF_DENOISER)
    page = (folder / "README.md").read_text()
    for table in record["tables"]:
        assert table["rows"] and table["checks"]
        assert table["title"] in page and table["title"] in whole
        assert any(row["values"][0]["n"] > 0 for row in table["rows"])
    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == len(OF_DENOISER) + 1  # noise has two: a chart and a sheet
    for picture in pictures:
        assert picture.name in page
        Image.open(picture).load()


def test_the_numbers_are_in_the_model_card_once(place: Path, whole: str) -> None:
    card = place / "m" / "denoiser" / "README.md"
    measured(place, "denoiser", "train.yaml", SETTINGS)
    text = card.read_text()
    assert text.startswith("# a denoiser\n")
    assert text.count("## Quality") == 1
    assert "quality/fill-1.png" in text and "PSNR" in text


def test_a_part_is_not_measured_again_until_something_changes(
    place: Path, whole: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.training.quality import _Bench

    asked: list[str] = []
    original = _Bench._experiment
    monkeypatch.setattr(
        _Bench, "_experiment", lambda self, part: asked.append(part) or original(self, part)
    )
    measured(place, "denoiser", "train.yaml", SETTINGS)
    assert asked == []
    other = Settings(images=IMAGES, pairs=2, steps=2, seed=1, only=("fill",), out=place / "other")
    measured(place, "denoiser", "train.yaml", other)
    measured(place, "denoiser", "train.yaml", other)
    assert asked == ["fill"]


def test_what_cannot_be_measured_is_said_and_left_out(place: Path, tmp_path: Path) -> None:
    lonely = tmp_path / "denoiser"
    tiny_denoiser(lonely, ("cell",), ("background", "cell"))
    said = io.StringIO()
    settings = Settings(images=1, only=("remove", "fill", "synthesize"))
    quality(lonely, str(place / "val.tar"), settings, Console(file=said, width=150))
    assert "remove: left out, it needs --detector" in said.getvalue()
    record = json.loads((lonely / "quality" / "quality.json").read_bytes())
    assert [table["part"] for table in record["tables"]] == ["fill"]


def test_an_upscaler_is_held_against_bicubic(place: Path) -> None:
    measured(place, "upscaler", "val.tar", SETTINGS)
    record = json.loads((place / "m" / "upscaler" / "quality" / "quality.json").read_bytes())
    (table,) = record["tables"]
    assert [row["name"] for row in table["rows"]] == [
        "×2 bicubic",
        "×2 noiseloom",
        "×4 bicubic",
        "×4 noiseloom",
    ]
    assert len(table["checks"]) == 6


def test_a_part_that_does_not_exist_is_named_with_those_that_do(place: Path) -> None:
    with pytest.raises(RecipeError, match=r"fil.*fill, background"):
        measured(place, "denoiser", "val.tar", Settings(only=("fil",)))
