"""Label agreement in a whole recipe, with every make of model, on real blood cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.random import Generator
from safetensors.torch import save_file
from torchvision.models import get_model

from pipeline.chain.weave import RunContext, weave_chunk
from pipeline.model_check import check_models
from pipeline.models import load_models
from pipeline.op import Draw, LabelContract, Models, Op, Outcome, Peers
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample, plan, read_chunk
from schemas.errors import RecipeError
from schemas.sample import Sample
from tests.models import tiny_upscaler
from tests.pipeline.adapters.exported import exported_detector
from tests.pipeline.adapters.graphs import paint_segmenter
from tests.pipeline.ops.examples import PAINTS
from tests.pipeline.shards import labels, png

ROOT = Path(__file__).parents[3]
NATIVE = {"native": str(ROOT / "weights/bccd/detector")}
CELLS = ("RBC", "WBC", "Platelets")
CONTEXT = RunContext("run-1", "recipe-1", "chunk-1")
UNCHANGED = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 0}}]}


class Wipe(Op):
    """Paints over one object, and leaves its label: copy k loses object k - 1, copy 0 none."""

    kind: Literal["wipe"] = "wipe"

    @property
    def labels(self) -> LabelContract:
        return "kept"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        copy = sample.lineage.copy
        return {"object": copy - 1} if copy else None

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        return [self._wiped(*pair) for pair in zip(samples, draws, strict=True)]

    def _wiped(self, sample: Sample, draw: Draw) -> Sample:
        image = sample.image_hwc.copy()
        x0, y0, x1, y1 = sample.objects.boxes_n4[draw["object"]].round().astype(int)
        image[y0:y1, x0:x1] = (205, 200, 195)  # the ground of a smear
        return replace(sample, image_hwc=image)


def recipe_of(
    source: Mapping[str, Any], model: Mapping[str, Any], copies: int = 1, **gate: float
) -> FullRecipe:
    return FullRecipe.model_validate(
        {
            "source": source,
            "sink": "out",
            "copies": copies,
            "ops": [UNCHANGED],
            "gates": [{"kind": "label_agreement", "model": "judge", **gate}],
            "models": {"judge": model},
        }
    )


def cells(model: Mapping[str, Any], copies: int = 1, **gate: float) -> FullRecipe:
    source = {"shards": str(ROOT / "data/bccd/val-000000.tar"), "classes": CELLS}
    return recipe_of(source, model, copies, **gate)


def some_cells(recipe: FullRecipe, count: int) -> list[EncodedSample]:
    (chunk,) = plan(recipe.source, 4096, "run-1").undamaged()
    return list(read_chunk(replace(chunk, samples=chunk.samples[:count]), recipe.source))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("onnx") / "cells.onnx"
    exported_detector(Path(NATIVE["native"]), path, (480, 640))
    # The shipped one has a threshold for each class, from 0.58 to 0.64.
    return {"onnx": str(path), "classes": dict(enumerate(CELLS)), "threshold": 0.6}


@pytest.mark.parametrize("make", ["native", "onnx"])
def test_a_wiped_cell_is_caught_and_an_untouched_image_passes(
    make: str, exported: dict[str, Any]
) -> None:
    torch.set_num_threads(1)
    recipe = cells(NATIVE if make == "native" else exported, copies=4, revert=False)
    assert set(check_models(recipe)["judge"].classes) == set(CELLS)
    models = load_models(recipe.models, "cpu")
    wiping = recipe.model_copy(update={"ops": (Wipe(),)})
    rows = [one.row for one in weave_chunk(some_cells(recipe, 2), wiping, models, CONTEXT)]
    assert len(rows) == 8
    for row in rows:
        scores = {score.gate: score.score for score in row.scores}
        assert set(scores) == {"label_agreement.agreed", "label_agreement.invented"}
        if row.copy == 0:
            assert (row.status, scores["label_agreement.agreed"]) == ("kept", 1)
    lost = [row for row in rows if row.copy and row.reason == "object_lost"]
    assert len(lost) >= 5  # of 6: a cell that the detector did not see before cannot be lost


def test_a_wiped_cell_is_put_back_and_a_replay_makes_the_same_copy() -> None:
    torch.set_num_threads(1)
    recipe = cells(NATIVE, copies=4)
    models = load_models(recipe.models, "cpu")
    wiping = recipe.model_copy(update={"ops": (Wipe(),)})
    encoded = some_cells(recipe, 1)
    copies = weave_chunk(encoded, wiping, models, CONTEXT)
    scores = [{one.gate: one.score for one in copy.row.scores} for copy in copies]
    assert scores[0]["label_agreement.reverted"] == 0
    mended = [i for i, one in enumerate(scores) if one["label_agreement.reverted"]]
    assert len(mended) >= 2  # of 3: a cell that the detector did not see before cannot be lost
    for i in mended:
        assert (copies[i].row.status, scores[i]["label_agreement.agreed"]) == ("kept", 1)
        assert copies[i].row.psnr is not None
        assert copies[i].row.psnr > 30  # of what is stored; 20 to 25 as it was wiped
    key = copies[0].row.source_key
    (again,) = weave_chunk(encoded, wiping, models, CONTEXT, only=[(key, mended[0])])
    assert (again.row, again.members) == (copies[mended[0]].row, copies[mended[0]].members)


def painted_cells(key: str) -> EncodedSample:
    """A disc and a rod, by their paints."""
    image = np.full((48, 64, 3), 100, np.uint8)
    ids = np.zeros((48, 64), np.uint8)
    boxes = [(8, 10, 24, 30), (36, 12, 56, 40)]
    for number, (x0, y0, x1, y1) in enumerate(boxes):
        image[y0:y1, x0:x1] = PAINTS[number]
        ids[y0:y1, x0:x1] = number + 1
    record = labels(48, 64, boxes, labels=["disc", "rod"])
    return EncodedSample(key, png(image), "png", record, png(ids), f"hash-{key}", "in.tar")


PAINTED = {
    "shards": "in.tar",
    "segmentation": "seg.png",
    "classes": ["disc", "rod"],
    "seg_classes": ["background", "disc", "rod"],
}


def torchvision_model(name: str, folder: Path, classes: Mapping[int, str]) -> dict[str, Any]:
    """Random weights of three classes."""
    path = folder / f"{name}.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = get_model(name, weights=None, weights_backbone=None, num_classes=3)
        save_file(net.state_dict(), path)
    return {"torchvision": name, "weights": str(path), "classes": dict(classes), "threshold": 0.2}


SEG = {0: "background", 1: "disc", 2: "rod"}
RANDOM = {
    "ssdlite320_mobilenet_v3_large": (
        {1: "disc", 2: "rod"},
        {"agreed", "invented", "reverted", "reverted_share"},
    ),
    "lraspp_mobilenet_v3_large": (SEG, {"miou"}),
}


@pytest.mark.parametrize("name", RANDOM)
def test_torchvisions_networks_find_in_an_untouched_image_what_its_source_has(
    name: str, tmp_path: Path
) -> None:
    classes, expected = RANDOM[name]
    recipe = recipe_of(PAINTED, torchvision_model(name, tmp_path, classes))
    check_models(recipe)
    models = load_models(recipe.models, "cpu")
    (copy,) = weave_chunk([painted_cells("a")], recipe, models, CONTEXT)
    assert copy.row.status == "kept"
    scores = {score.gate.partition(".")[2]: score.score for score in copy.row.scores}
    assert set(scores) == expected
    assert scores.get("miou", 1) == scores.get("agreed", 1) == 1


def test_a_segmenter_as_onnx_catches_a_wiped_object(tmp_path: Path) -> None:
    classes = {0: "background", 1: "disc", 2: "rod", 3: "disc", 4: "rod"}
    path = paint_segmenter(tmp_path / "paint.onnx")
    recipe = recipe_of(PAINTED, {"onnx": str(path), "classes": classes}, copies=2)
    assert check_models(recipe)["judge"].does == {"segment"}
    models = load_models(recipe.models, "cpu")
    wiping = recipe.model_copy(update={"ops": (Wipe(),)})
    kept, lost = (c.row for c in weave_chunk([painted_cells("a")], wiping, models, CONTEXT))
    assert (kept.status, lost.reason) == ("kept", "class_map_differs")
    assert [score.score for score in kept.scores] == [1.0]


def test_a_model_that_cannot_judge_is_refused_before_anything_starts(tmp_path: Path) -> None:
    tiny_upscaler(tmp_path / "upscaler")
    path = str(paint_segmenter(tmp_path / "paint.onnx"))
    segmenter = {"onnx": path, "classes": SEG}
    no_maps = {key: value for key, value in PAINTED.items() if key != "segmentation"}
    no_names = {key: value for key, value in PAINTED.items() if key != "seg_classes"}
    cases = [
        (PAINTED, {"native": str(tmp_path / "upscaler")}, "cannot detect or segment"),
        (PAINTED, {"onnx": path, "classes": {1: "disc"}}, "knows no class background, rod"),
        (no_maps, segmenter, "there are no class-id maps"),
        (no_names, segmenter, "the ids of the maps have none"),
        ({**PAINTED, "labels": None}, NATIVE, "finds objects, and source.labels is null"),
        (PAINTED, NATIVE, "knows no class disc, rod"),
        (PAINTED, {**segmenter, "onnx": "cells.pt"}, "pickles"),
    ]
    for source, model, said in cases:
        with pytest.raises(RecipeError, match=said):
            check_models(recipe_of(source, model))
