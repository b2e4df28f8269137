"""ONNX files: how their layouts are told, and that what they say arrives at the right pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from pipeline.adapters.onnx.files import files_of
from pipeline.adapters.onnx.layout import Port, Ports, plan_of
from pipeline.model import ClassMap, Detections, Detector, Segmenter
from pipeline.models import describe, load_models
from schemas.errors import ModelError
from schemas.models import OnnxModel
from schemas.sample import IGNORE_ID, ByteArray
from tests.pipeline.adapters.graphs import (
    BYTES,
    FLOAT,
    HALF,
    bright,
    paint_segmenter,
    saved,
    says,
)
from tests.pipeline.ops.examples import painted

CLASSES = {0: "disc", 1: "rod", 3: "disc"}
PAINT_CLASSES = {0: "background", 1: "disc", 2: "rod", 3: "disc", 4: "rod"}
FIXED = (1, 3, 64, 64)


def found_by(path: Path, image: ByteArray, threshold: float = 0.5) -> Detections:
    spec = OnnxModel(onnx=str(path), classes=CLASSES, threshold=threshold)
    model = load_models({"it": spec}, "cpu")["it"]
    assert isinstance(model, Detector) and describe(spec).classes == ("disc", "rod")
    return model.sure([image])[0]


def seen_by(spec: OnnxModel, image: ByteArray) -> ClassMap:
    model = load_models({"it": spec}, "cpu")["it"]
    assert isinstance(model, Segmenter) and not isinstance(model, Detector)
    return model.segment([image])[0]


WIDE = np.zeros((40, 80, 3), np.uint8)
"""In a network of 64 x 64 it is 32 high, and lies 16 below the top: 0.8 of its size."""


def test_torchvisions_export_is_known_by_its_names(tmp_path: Path) -> None:
    path = says(
        tmp_path / "a.onnx",
        ("scores", [0.6, 0.9, 0.4, 0.8]),
        ("labels", [0, 1, 0, 7]),
        ("boxes", [[1.0, 2, 30, 20], [70, 30, 99, 50], [0, 0, 9, 9], [0, 0, 9, 9]]),
        takes=(3, "h", "w"),
    )
    found = found_by(path, WIDE)
    assert found.labels == ("rod", "disc")
    assert found.boxes_n4.tolist() == [[70, 30, 80, 40], [1, 2, 30, 20]]
    assert found.scores_n == pytest.approx([0.9, 0.6])


def test_torchvisions_export_is_known_by_types_and_shapes(tmp_path: Path) -> None:
    path = says(tmp_path / "a.onnx", ("1", [[0.6]]), ("2", [[[1.0, 2, 30, 20]]]), ("3", [[1]]))
    assert found_by(path, WIDE).boxes_n4.tolist() == [[1, 2, 30, 20]]


def test_rows_come_back_out_of_the_letterbox(tmp_path: Path) -> None:
    rows = [[[8.0, 24, 24, 40, 0.9, 1.0], [8, 0, 20, 15, 0.8, 0], [0, 0, 0, 0, 0, 0]]]
    found = found_by(says(tmp_path / "a.onnx", ("rows", rows), takes=FIXED), WIDE, 0.0)
    assert found.labels == ("rod",)  # the second lies above the image, the third is padding
    assert found.boxes_n4.ravel() == pytest.approx([10, 10, 30, 30])


def test_a_raw_network_says_each_object_once(tmp_path: Path) -> None:
    boxes = [[16.0, 32, 16, 16], [17, 32, 16, 16], [16, 32, 16, 17], [48, 32, 8, 8]]
    scores = [[0.7, 0, 0, 0], [0, 0.6, 0, 0.1], [0, 0, 0.0, 0], [0, 0, 0.9, 0.2]]
    many = [[1.0, 1, 1, 1]] * 9
    raw = np.concatenate(
        [np.array(boxes + many).T, np.array([[*row, *[0.0] * 9] for row in scores])]
    )
    found = found_by(says(tmp_path / "a.onnx", ("raw", [raw.tolist()]), takes=FIXED), WIDE)
    # numbers 0 and 3 are both discs: the third is the first again; the second is a rod
    assert found.labels == ("disc", "rod")
    assert found.scores_n == pytest.approx([0.9, 0.6])
    assert found.boxes_n4[0] == pytest.approx([10, 9.375, 30, 30.625])


@pytest.mark.parametrize("takes", [(1, 3, "h", "w"), FIXED], ids=["any size", "64x64"])
@pytest.mark.parametrize("ids", [False, True], ids=["logits", "ids"])
@pytest.mark.parametrize("hw", [(48, 90), (37, 111), (130, 70)], ids=str)
def test_a_segmenters_classes_lie_on_their_paint(
    takes: tuple[int | str, ...], ids: bool, hw: tuple[int, int], tmp_path: Path
) -> None:
    path = paint_segmenter(tmp_path / "a.onnx", takes, ids=ids)
    sample = painted(*hw)
    seen = seen_by(OnnxModel(onnx=str(path), classes=PAINT_CLASSES), sample.rgb_hwc)
    assert seen.names == ("background", "disc", "rod")
    assert sample.class_map_hw is not None
    right = (seen.ids_hw == sample.class_map_hw).mean()
    assert right == 1 if takes != FIXED else right > 0.95  # less than a pixel around each


def test_what_the_dataset_does_not_know_has_no_name(tmp_path: Path) -> None:
    path = paint_segmenter(tmp_path / "a.onnx")
    sample = painted()
    seen = seen_by(OnnxModel(onnx=str(path), classes={1: "disc", 3: "disc"}), sample.rgb_hwc)
    assert np.array_equal(seen.ids_hw, np.where(sample.class_map_hw == 1, 0, IGNORE_ID))


@pytest.mark.parametrize(
    ("type_", "level", "mean", "deviation", "last", "batched"),
    [
        (FLOAT, 0.5, 0.0, 1.0, False, True),
        (FLOAT, 0.0, 0.5, 0.25, False, False),
        (FLOAT, 127.5, 0.0, 1 / 255, True, True),
        (HALF, 0.5, 0.0, 1.0, False, True),
        (BYTES, 127.5, 0.0, 1.0, True, True),
        (BYTES, 127.5, 0.0, 1.0, False, False),
    ],
)
def test_pixels_go_in_as_the_file_and_the_recipe_say(
    type_: int,
    level: float,
    mean: float,
    deviation: float,
    last: bool,
    batched: bool,
    tmp_path: Path,
) -> None:
    path = bright(tmp_path / "a.onnx", type_, level, last=last, batched=batched)
    image = np.random.default_rng(1).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    spec = OnnxModel(
        onnx=str(path),
        classes={0: "dark", 1: "bright"},
        mean=(mean,) * 3,
        deviation=(deviation,) * 3,
    )
    assert np.array_equal(seen_by(spec, image).ids_hw, image[:, :, 0] > 127)


def test_an_image_is_seen_alone(tmp_path: Path) -> None:
    spec = OnnxModel(onnx=str(paint_segmenter(tmp_path / "a.onnx")), classes=PAINT_CLASSES)
    model = load_models({"it": spec}, "cpu")["it"]
    assert isinstance(model, Segmenter)
    images = [painted(48, 90).rgb_hwc, painted(1, 1).rgb_hwc, painted(3, 70).rgb_hwc]
    for image, seen in zip(images, model.segment(images), strict=True):
        assert seen.ids_hw.shape == image.shape[:2]
        assert np.array_equal(seen.ids_hw, model.segment([image])[0].ids_hw)


IMAGE = Port("image", "tensor(float)", (1, 3, None, None))


def floats(*shape: int | None) -> Port:
    return Port(f"of{len(shape)}", "tensor(float)", shape)


UNCLEAR = {
    "objectness": ((floats(1, 25200, 85),), r"of3: float \[1, 25200, 85\], which can be no labels"),
    "two heads": ((floats(1, 84, 8400), floats(1, 32, 160, 160)), "legal are boxes"),
    "one channel": ((floats(1, 1, 64, 64),), "which can be no labels"),
    "a classifier": ((floats(1, 1000),), "which can be no labels"),
    "a batch": ((floats(4, 21, 64, 64),), "which can be no labels"),
    "seven columns": ((floats(None, 7),), "which can be no labels"),
}


@pytest.mark.parametrize("case", UNCLEAR)
def test_what_cannot_be_told_is_refused_with_what_was_found(case: str) -> None:
    outputs, said = UNCLEAR[case]
    spec = OnnxModel(onnx="a.onnx", classes={0: "disc"})
    with pytest.raises(ModelError, match=said) as caught:
        plan_of(spec, Ports((IMAGE,), outputs))
    assert "\n" not in str(caught.value)


INPUTS = {
    "two": ((IMAGE, floats(1, 2)), {}, "takes image: float"),
    "gray": ((Port("image", "tensor(float)", (1, 1, 64, 64)),), {}, "legal is one image"),
    "text": ((Port("image", "tensor(string)", (1, 3, 64, 64)),), {}, "legal is one image"),
    "a batch": ((Port("image", "tensor(float)", (4, 3, 64, 64)),), {}, "for a batch of 1"),
    "half open": ((Port("image", "tensor(float)", (1, 3, 64, None)),), {}, "give size:"),
    "another size": (
        (Port("image", "tensor(float)", (1, 3, 64, 64)),),
        {"size": (64, 96)},
        r"size: is \[64, 96\]; the file fixes \[64, 64\]",
    ),
    "bytes": (
        (Port("image", "tensor(uint8)", (1, 3, 64, 64)),),
        {"mean": (0.5, 0.5, 0.5)},
        "leave mean and deviation out",
    ),
}


@pytest.mark.parametrize("case", INPUTS)
def test_an_input_that_is_not_one_image_is_refused(case: str) -> None:
    inputs, fields, said = INPUTS[case]
    spec = OnnxModel(onnx="a.onnx", classes={0: "disc"}).model_copy(update=fields)
    with pytest.raises(ModelError, match=said):
        plan_of(spec, Ports(inputs, (floats(1, 21, None, None),)))


def test_a_file_that_was_made_for_another_task_is_refused() -> None:
    spec = OnnxModel(onnx="a.onnx", classes={0: "disc"})
    with pytest.raises(ModelError, match="was made for pose"):
        plan_of(spec, Ports((IMAGE,), (floats(1, 56, 8400),), "pose"))


def test_files_that_are_none_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(np.random.default_rng(0).bytes(500))
    (tmp_path / "empty.onnx").write_bytes(b"")
    node = helper.make_node("MyOp", ["image"], ["ids"], domain="my.ops")
    saved(tmp_path / "custom.onnx", [node], [("ids", FLOAT, (1, 3, "h", "w"))])
    paint_segmenter(tmp_path / "paint.onnx")
    cases = {
        "noise.onnx": "not ONNX, or damaged|onnxruntime cannot run it",
        "empty.onnx": "is empty",
        "custom.onnx": "onnxruntime cannot run it",
        "nowhere.onnx": "no such file",
        "cells.pth": "pickles, which run code",
        "cells.safetensors": "must be a .onnx file",
        "paint.onnx": 'no class 9: "rod"; its classes are 0 to 4',
    }
    for name, said in cases.items():
        with pytest.raises(ModelError, match=said) as caught:
            describe(OnnxModel(onnx=str(tmp_path / name), classes={9: "rod"}))
        assert "\n" not in str(caught.value)


def test_the_digest_covers_external_data_and_all_that_the_recipe_says(tmp_path: Path) -> None:
    path, data = tmp_path / "paint.onnx", tmp_path / "paint.onnx.data"
    model = onnx.load(paint_segmenter(path))
    onnx.save(model, path, save_as_external_data=True, location=data.name, size_threshold=0)
    assert files_of(path) == [path, data]
    spec = OnnxModel(onnx=str(path), classes=PAINT_CLASSES)
    others = ({"classes": {0: "disc"}}, {"threshold": 0.1}, {"mean": (0.1, 0, 0)})
    digests = {describe(spec.model_copy(update=other)).digest for other in ({}, *others)}
    changed = bytearray(data.read_bytes())
    changed[3] ^= 1
    data.write_bytes(changed)
    assert len({*digests, describe(spec).digest}) == 5
    data.unlink()
    with pytest.raises(ModelError, match=r"paint.onnx.data: no such file"):
        describe(spec)


def test_external_data_outside_of_the_models_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "paint.onnx"
    model = onnx.load(paint_segmenter(path))
    onnx.save(model, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    loose = onnx.load(path, load_external_data=False)
    for weight in loose.graph.initializer:
        for entry in weight.external_data:
            if entry.key == "location":
                entry.value = "../weights.data"
    path.write_bytes(loose.SerializeToString())
    with pytest.raises(ModelError, match="outside of its folder"):
        describe(OnnxModel(onnx=str(path), classes=PAINT_CLASSES))
