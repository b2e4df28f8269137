"""Networks of torchvision with weights of one's own: what they find, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import JsonValue
from safetensors.torch import load_file, save_file
from torchvision.models import get_model

from pipeline.adapters.torchvision.building import count_in, expected_shapes
from pipeline.model import Detector, Segmenter
from pipeline.models import describe, load_models
from schemas.errors import ModelError
from schemas.models import TorchvisionModel
from schemas.sample import IGNORE_ID, ByteArray

DETECTOR, SEGMENTER = "ssdlite320_mobilenet_v3_large", "lraspp_mobilenet_v3_large"
NAMES = {1: "disc", 3: "rod"}
SEG_NAMES = {0: "background", 2: "disc"}


@dataclass(frozen=True)
class Weights:
    detector: str
    segmenter: str
    folder: Path


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Random weights of four and of three classes, as a user saves them."""
    folder = tmp_path_factory.mktemp("torchvision")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for name, count in ((DETECTOR, 4), (SEGMENTER, 3)):
            net = get_model(name, weights=None, weights_backbone=None, num_classes=count)
            if name == DETECTOR:
                for last in net.head.classification_head.module_list:
                    torch.nn.init.normal_(last[1].bias)  # fresh ones score everything alike
            save_file(net.state_dict(), folder / f"{name}.safetensors")
    paths = (str(folder / f"{name}.safetensors") for name in (DETECTOR, SEGMENTER))
    return Weights(*paths, folder)


def detector_spec(weights: Weights, **settings: JsonValue) -> TorchvisionModel:
    return TorchvisionModel(
        torchvision=DETECTOR,
        weights=weights.detector,
        classes=NAMES,
        threshold=0.3,
        settings={"detections_per_img": 40, **settings},
    )


def segmenter_spec(weights: Weights) -> TorchvisionModel:
    return TorchvisionModel(torchvision=SEGMENTER, weights=weights.segmenter, classes=SEG_NAMES)


@pytest.fixture(scope="module")
def detector(weights: Weights) -> Detector:
    model = load_models({"it": detector_spec(weights)}, "cpu")["it"]
    assert isinstance(model, Detector) and not isinstance(model, Segmenter)
    return model


@pytest.fixture(scope="module")
def segmenter(weights: Weights) -> Segmenter:
    model = load_models({"it": segmenter_spec(weights)}, "cpu")["it"]
    assert isinstance(model, Segmenter) and not isinstance(model, Detector)
    return model


def picture(height: int = 40, width: int = 56, seed: int = 1) -> ByteArray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def values(image_hwc: ByteArray) -> torch.Tensor:
    return torch.tensor(image_hwc).permute(2, 0, 1).float() / 255


def test_a_card_says_what_the_network_does_by_the_datasets_names(weights: Weights) -> None:
    card = describe(detector_spec(weights))
    assert (card.does, card.classes, card.seg_classes) == ({"detect"}, ("disc", "rod"), ())
    card = describe(segmenter_spec(weights))
    assert (card.does, card.classes, card.seg_classes) == ({"segment"}, (), ("background", "disc"))


def test_a_detector_finds_what_its_network_finds(weights: Weights, detector: Detector) -> None:
    net = get_model(
        DETECTOR, weights=None, weights_backbone=None, num_classes=4, detections_per_img=40
    )
    net.load_state_dict(load_file(weights.detector))
    with torch.inference_mode():
        (out,) = net.eval()([values(picture())])
    sure = [
        (NAMES[int(number)], float(score), box.tolist())
        for number, score, box in zip(out["labels"], out["scores"], out["boxes"], strict=True)
        if int(number) in NAMES and score >= 0.3
    ]
    (found,) = detector.sure([picture()])
    assert len(found) == len(sure) > 3
    assert list(found.labels) == [name for name, _, _ in sure]
    assert found.scores_n.tolist() == [score for _, score, _ in sure]
    assert np.allclose(found.boxes_n4, [box for _, _, box in sure])
    assert (np.diff(found.scores_n) <= 0).all()
    assert (found.boxes_n4 >= 0).all() and (found.boxes_n4 <= [56, 40, 56, 40]).all()


def test_a_segmenter_sees_the_class_with_the_largest_logit(
    weights: Weights, segmenter: Segmenter
) -> None:
    net = get_model(SEGMENTER, weights=None, weights_backbone=None, num_classes=3)
    net.load_state_dict(load_file(weights.segmenter))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = (values(picture()) - mean[:, None, None]) / deviation[:, None, None]
    with torch.inference_mode():
        numbers = net.eval()(x[None])["out"][0].argmax(0).numpy()
    (seen,) = segmenter.segment([picture()])
    assert seen.names == ("background", "disc")
    assert np.array_equal(seen.ids_hw, np.array([0, IGNORE_ID, 1])[numbers])


def test_what_is_seen_does_not_depend_on_the_neighbours(
    detector: Detector, segmenter: Segmenter
) -> None:
    images = [picture(40, 56), picture(61, 33, 2), picture(1, 1, 3), picture(3, 90, 4)]
    together, alone = detector.sure(images), [detector.sure([image])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        assert a.labels == b.labels and np.array_equal(a.boxes_n4, b.boxes_n4)
    for image, a, b in zip(
        images,
        segmenter.segment(images[::-1])[::-1],
        map(segmenter.segment, [[i] for i in images]),
        strict=True,
    ):
        assert np.array_equal(a.ids_hw, b[0].ids_hw)
        assert a.ids_hw.shape == image.shape[:2]


def test_loading_leaves_torchs_generator_alone(weights: Weights) -> None:
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    load_models({"it": segmenter_spec(weights)}, "cpu")
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "name",
    [
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "maskrcnn_resnet50_fpn",
        "retinanet_resnet50_fpn",
        "fcos_resnet50_fpn",
        "ssd300_vgg16",
        "deeplabv3_mobilenet_v3_large",
    ],
)
def test_the_weights_say_how_many_classes_there_are(name: str) -> None:
    spec = TorchvisionModel(torchvision=name, weights="a.safetensors", classes={1: "disc"})
    assert count_in(expected_shapes(spec, 7), spec) == 7


def test_what_only_training_uses_may_be_there_or_not(weights: Weights, tmp_path: Path) -> None:
    frozen = {
        name: tensor
        for name, tensor in load_file(weights.segmenter).items()
        if not name.endswith("num_batches_tracked")
    }
    path = tmp_path / "frozen.safetensors"
    save_file({**frozen, "aux_classifier.0.weight": torch.zeros(2, 2)}, path)
    describe(segmenter_spec(weights).model_copy(update={"weights": str(path)}))


def test_the_digest_covers_all_that_changes_what_is_found(weights: Weights, tmp_path: Path) -> None:
    spec = detector_spec(weights)
    others = [
        {"classes": {1: "disc"}},
        {"threshold": 0.4},
        {"settings": {}},
        {"mean": (0.5, 0.4, 0.5)},
        {"weights": str(tmp_path / "b.safetensors")},
    ]
    changed = load_file(weights.detector)
    next(iter(changed.values())).view(-1)[0] += 1
    save_file(changed, tmp_path / "b.safetensors")
    digests = {describe(spec.model_copy(update=other)).digest for other in others}
    assert len({*digests, describe(spec).digest}) == 6
    (tmp_path / "c.safetensors").write_bytes(Path(weights.detector).read_bytes())
    moved = spec.model_copy(update={"weights": str(tmp_path / "c.safetensors")})
    assert describe(moved).digest == describe(spec).digest


REFUSED = {
    "no such network": ({"torchvision": "ssdlite320_mobilenet"}, f"did you mean {DETECTOR}"),
    "classifier": ({"torchvision": "resnet18"}, "resnet18 neither detects nor segments"),
    "other network": (
        {"torchvision": SEGMENTER, "settings": {}},
        f"does not fit {SEGMENTER}: the tensor",
    ),
    "pickle": ({"weights": "cells.pth"}, "pickles, which run code"),
    "no file": ({"weights": "nowhere.safetensors"}, "no such file"),
    "no such class": ({"classes": {4: "rod"}}, 'no class 4: "rod"; its classes are 1 to 3'),
    "background": ({"classes": {0: "disc"}}, "0 is its background"),
    "fetching": ({"settings": {"weights_backbone": "DEFAULT"}}, "never fetched"),
    "counting": ({"settings": {"num_classes": 9}}, "is read from the weights"),
    "forgotten setting": (
        {"torchvision": SEGMENTER, "settings": {"low_channels": 9}},
        "settings: there is no low_channels",
    ),
    "unknown setting": ({"settings": {"min_sise": 3}}, "settings: .*min_sise"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_said_in_one_line(case: str, weights: Weights) -> None:
    changes, said = REFUSED[case]
    with pytest.raises(ModelError, match=said) as caught:
        describe(detector_spec(weights).model_copy(update=changes))
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_named_with_both_shapes(
    weights: Weights, tmp_path: Path
) -> None:
    tensors = load_file(weights.segmenter)
    tensors["classifier.cbr.0.weight"] = torch.zeros(64, 960, 1, 1)
    path = tmp_path / "wrong.safetensors"
    save_file(tensors, path)
    said = r"classifier.cbr.0.weight is \[64, 960, 1, 1\], the network's \[128, 960, 1, 1\]"
    with pytest.raises(ModelError, match=said):
        describe(segmenter_spec(weights).model_copy(update={"weights": str(path)}))
    path.write_bytes(Path(weights.segmenter).read_bytes()[:50_000])
    with pytest.raises(ModelError, match="not safetensors, or damaged"):
        describe(segmenter_spec(weights).model_copy(update={"weights": str(path)}))
