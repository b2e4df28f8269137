"""A whole sink in other formats: woven, verified, made again, shown, with every kind of source."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from jobs.run.plan import RunPlan, make_plan
from jobs.run.sheet import write_sheet
from jobs.run.summary import print_plan
from jobs.show import show
from jobs.verify.sink import verify
from pipeline.index.files import published_path, read_index
from pipeline.ops import Inpaint, NoiseDenoise
from schemas.errors import RecipeError
from schemas.index import IndexRow, table_to_rows
from schemas.members import image_among, split_name
from schemas.recipe import Output
from tests.jobs.sinks import CLASSIC, finish, weave
from tests.pipeline.shards import labels, painted, png, tar_of

BOXES = [(4, 5, 12, 13), (16, 8, 30, 20)]
FLIP = "- {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}"


def source_file(format: str) -> bytes:
    image = painted(24, 32, BOXES)
    if format == "deep":
        return png(image[:, :, 0].astype(np.uint16) * 200)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format, exif=exif)
    return buffer.getvalue()


def planned(
    folder: Path,
    output: str,
    formats: Sequence[str],
    ops: str = CLASSIC,
    ids_suffix: str = "seg.png",
) -> RunPlan:
    """A sample of each format."""
    ids = np.zeros((24, 32), np.uint8)
    for x0, y0, x1, y1 in BOXES:
        ids[y0:y1, x0:x1] = 1
    files = []
    for format in formats:
        files += [
            (f"{format}.jpg", source_file(format)),
            (f"{format}.json", labels(24, 32, BOXES)),
            (f"{format}.{ids_suffix}", png(ids)),
        ]
    (folder / "train.tar").write_bytes(tar_of(files))
    recipe = folder / "cells.yaml"
    recipe.write_text(
        f"source: {{shards: {folder}/train.tar, segmentation: {ids_suffix}}}\n"
        f"sink: {folder}/out\ncopies: 2\nchunk_size: 3\noutput: {output}\n"
        f"tracking: {{uri: null}}\nops:\n{ops}\n"
    )
    return make_plan(recipe)


def rows_of(run: RunPlan) -> list[IndexRow]:
    return table_to_rows(read_index(run.store, [run.run]))


@pytest.mark.parametrize(
    ("output", "suffix"),
    [
        ("{format: png}", "png"),
        ("{format: jpeg, quality: 80, subsampling: 4:2:0}", "jpg"),
        ("{format: webp, quality: 60}", "webp"),
        ("{format: webp, lossless: true}", "webp"),
    ],
)
def test_a_sink_of_any_format_is_verified_made_again_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, suffix: str
) -> None:
    run = planned(tmp_path, output, ["png", "jpeg", "webp", "tiff"])
    weave(run)
    finish(run)
    rows = rows_of(run)
    assert {row.status for row in rows} == {"kept"}
    for row in rows:
        suffixes = [split_name(member.name)[1] for member in row.members]
        assert suffixes == [suffix, "json", "seg.png"]
        assert (row.width, row.height) == (24, 32)  # EXIF has turned them
    text = io.StringIO()
    assert verify(run.recipe.sink, 8, Console(file=text, width=200)) == 0, text.getvalue()
    assert write_sheet(run, 1) is not None
    monkeypatch.chdir(tmp_path)
    picture = show(run.recipe.sink, "tiff", Console(file=text))
    assert np.asarray(Image.open(picture)).std() > 10
    assert run.store.read(published_path(run.run))


@pytest.mark.parametrize("output", ["{format: jpeg}", "{format: webp}"])
def test_class_ids_in_a_member_called_png_are_not_taken_for_the_image(
    tmp_path: Path, output: str
) -> None:
    run = planned(tmp_path, output, ["jpeg"], ids_suffix="png")
    weave(run)
    finish(run)
    text = io.StringIO()
    assert verify(run.recipe.sink, 2, Console(file=text, width=200)) == 0, text.getvalue()
    assert write_sheet(run, 1) is not None
    with pytest.raises(RecipeError, match=r"\.png, which source\.segmentation names"):
        planned(tmp_path, "{}", ["jpeg"], ids_suffix="png")


def test_the_format_is_part_of_the_name_of_a_run(tmp_path: Path) -> None:
    names = {
        planned(tmp_path, output, ["png"]).run
        for output in ("{}", "{format: jpeg}", "{format: jpeg, quality: 50}")
    }
    assert len(names) == 3


def test_deep_gray_goes_through_a_run_as_png_and_fails_by_name_in_other_formats(
    tmp_path: Path,
) -> None:
    for output, status in (("{}", "kept"), ("{format: webp, lossless: true}", "failed")):
        run = planned(tmp_path, output, ["deep", "png"], FLIP)
        weave(run)
        finish(run)
        found = {row.source_key: row for row in rows_of(run)}
        assert (found["deep"].status, found["png"].status) == (status, "kept")
        assert found["deep"].reason == (None if status == "kept" else "deep_image")
        text = io.StringIO()
        assert verify(run.recipe.sink, 8, Console(file=text, width=200)) == 0, text.getvalue()
        assert write_sheet(run, 1) is not None


def told(run: RunPlan) -> str:
    text = io.StringIO()
    print_plan(run, set(), Console(file=text, width=200))
    return text.getvalue()


def test_a_dry_run_warns_where_a_lossy_format_breaks_what_an_op_keeps(tmp_path: Path) -> None:
    lossy = planned(tmp_path, "{format: jpeg}", ["png"])
    assert "jpeg, quality 90, subsampling 4:4:4" in told(lossy)
    assert "warning" not in told(lossy)
    exact = (
        NoiseDenoise(model="m"),
        NoiseDenoise(model="m", protect="objects"),
        Inpaint(model="m", region="redraw"),
    )
    recipe = lossy.recipe.model_copy(update={"ops": exact})
    assert "also those that noise_denoise#1, inpaint#2 keep bit-identical" in told(
        replace(lossy, recipe=recipe)
    )
    lossless = recipe.model_copy(update={"output": Output(format="webp", lossless=True)})
    assert "warning" not in told(replace(lossy, recipe=lossless))


def test_the_image_of_a_sample_is_not_what_its_labels_are_called() -> None:
    assert image_among(["png", "jpg", "json"], ("json", "png")) == "jpg"
    assert image_among(["json", "seg.png", "webp"], ("json", "seg.png")) == "webp"
    assert image_among(["json"], ("json", None)) is None
