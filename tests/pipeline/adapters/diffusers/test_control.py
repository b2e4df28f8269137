"""What ControlNets are shown, and that it matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

from pipeline.adapters.diffusers import describe
from pipeline.adapters.diffusers.control import (
    VOC,
    Depth,
    canny,
    colour_of,
    segmentation,
    voc_colour,
)
from schemas.errors import ModelError
from schemas.models import DiffusersModel, HubModel
from schemas.sample import IGNORE_ID, Sample
from tests import tiny_pipelines as tiny
from tests.pipeline.adapters.diffusers.looking import again, images, job
from tests.pipeline.ops.examples import SEG_CLASSES, painted


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("control")
    makers = {
        "sd": tiny.stable_diffusion,
        "inpaint": tiny.stable_diffusion_inpaint,
        "net": tiny.controlnet,
        "flux": tiny.flux,
        "flux-net": tiny.flux_controlnet,
        "depth": depth_estimator,
    }
    for name, make in makers.items():
        tiny.saved(folder / name, make)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "depth")
    return {name: folder / name for name in makers}


def depth_estimator() -> Any:
    """A tiny DPT with a plain vision transformer."""
    model = DPTForDepthEstimation(
        DPTConfig(
            hidden_size=16,
            num_hidden_layers=4,
            num_attention_heads=2,
            intermediate_size=16,
            image_size=32,
            patch_size=8,
            backbone_out_indices=[0, 1, 2, 3],
            neck_hidden_sizes=[4, 4, 4, 4],
            fusion_hidden_size=8,
            is_hybrid=False,
        )
    )
    convolutions = [part for part in model.head.modules() if isinstance(part, torch.nn.Conv2d)]
    convolutions[-1].bias.data.fill_(5.0)  # its depth is never negative, and mostly 0 otherwise
    return model


def controlled(folders: dict[str, Path], base: str = "sd", *nets: dict[str, Any]) -> Any:
    """A painter with these ControlNets."""
    net = str(folders["flux-net" if base == "flux" else "net"])
    specs = [{"controlnet": net, **one} for one in nets]
    return again(folders[base], controlnet=specs)


def without_labels(sample: Sample) -> Sample:
    """The same picture, with nothing in it."""
    ids = sample.class_map_hw
    return replace(sample, instances=None, class_map_hw=None if ids is None else ids * 0)


@pytest.fixture(params=["sd", "inpaint", "flux"])
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def test_the_labels_that_are_wanted_decide_what_comes_out(
    folders: dict[str, Path], base: str
) -> None:
    painter = controlled(folders, base, {"shows": "segmentation"})
    for size in ((48, 60), (90, 150)):
        labelled = job(*size)
        bare = job(*size, wanted=without_labels(labelled.sample))
        one, same, other = images(painter, [labelled, labelled, bare], steps=2)
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def test_a_scale_of_nothing_holds_nothing(folders: dict[str, Path]) -> None:
    painter = controlled(folders, "sd", {"shows": "segmentation", "scale": 0.0})
    labelled = job()
    bare = job(wanted=without_labels(labelled.sample))
    one, other = images(painter, [labelled, bare], steps=2)
    assert np.array_equal(one, other)


def test_several_controlnets_hold_together(folders: dict[str, Path]) -> None:
    depth = {"shows": "depth", "depth_model": str(folders["depth"])}
    both = controlled(folders, "sd", {"shows": "segmentation"}, depth)
    one = controlled(folders, "sd", {"shows": "segmentation"})
    jobs = [job(), job(90, 150)]
    for a, b in zip(images(both, jobs, steps=2), images(one, jobs, steps=2), strict=True):
        assert not np.array_equal(a, b)


def test_a_controlnet_of_another_family_is_refused_in_one_line(folders: dict[str, Path]) -> None:
    for base, net in (("flux", "net"), ("sd", "flux-net")):
        control = {"controlnet": str(folders[net]), "shows": "canny"}
        with pytest.raises(ModelError, match="it is for another family") as caught:
            again(folders[base], controlnet=control)
        assert "\n" not in str(caught.value)


def test_only_a_segmentation_lets_a_pipeline_synthesize(folders: dict[str, Path]) -> None:
    for shows, able in (("segmentation", True), ("canny", False)):
        spec = DiffusersModel.model_validate(
            {
                "diffusers": str(folders["sd"]),
                "controlnet": {"controlnet": str(folders["net"]), "shows": shows},
            }
        )
        assert ("synthesize" in describe(spec).does) == able


def test_ids_have_the_colours_of_voc_unless_the_palette_says_otherwise() -> None:
    sample = painted(20, 30, class_map=True)
    assert sample.class_map_hw is not None
    ids = sample.class_map_hw.copy()
    ids[0, 0] = IGNORE_ID
    shown = segmentation(replace(sample, class_map_hw=ids), {"1": (9, 8, 7)})
    assert shown.shape == (20, 30, 3)
    assert tuple(shown[0, 0]) == (224, 224, 192)
    assert {tuple(colour) for colour in shown[ids == 1]} == {(9, 8, 7)}
    assert {tuple(colour) for colour in shown[ids == 2]} == {(0, 128, 0)}
    assert SEG_CLASSES[1] == "disc"


def test_objects_are_painted_by_their_class_the_smaller_in_front() -> None:
    sample = painted(40, 64, 1, class_map=False)
    large = sample.objects.boxes_n4[0]
    boxes = np.array([large + np.array([6, 2, -6, -2]), large])
    both = replace(sample, instances=type(sample.objects)(boxes, ("disc", "person")))
    shown = segmentation(both, {"disc": (1, 2, 3)})
    x0, y0, x1, y1 = boxes[0].astype(int)
    assert (shown[y0:y1, x0:x1] == (1, 2, 3)).all()
    x0, y0 = boxes[1][:2].astype(int)
    assert tuple(shown[y0, x0]) == voc_colour(15) == (192, 128, 128)
    assert tuple(shown[0, 0]) == (0, 0, 0)


def test_masks_are_painted_rather_than_their_boxes() -> None:
    sample = painted(40, 64, 2, masks=True, class_map=False)
    masks = sample.objects.masks_nhw
    assert masks is not None
    masks = masks.copy()
    masks[0] = False
    masks[0, 20, 20] = True
    objects = type(sample.objects)(sample.objects.boxes_n4, sample.objects.labels, masks)
    shown = segmentation(replace(sample, instances=objects), {})
    assert np.array_equal(shown.any(axis=2), masks.any(axis=0))


def test_every_name_has_one_colour_of_its_own() -> None:
    assert len(VOC) == 21
    assert [colour_of(name) for name in ("background", "aeroplane")] == [(0, 0, 0), (128, 0, 0)]
    assert colour_of("red blood cell") == colour_of("red blood cell") != colour_of("platelet")
    assert len({voc_colour(number) for number in range(256)}) == 256


def test_edges_are_white_where_the_picture_changes() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    image[10:20, 10:30] = 200
    shown = canny(image)
    assert shown.shape == image.shape
    assert shown[8:12, 15:25].any()
    assert not shown[14:16, 15:25].any()


def test_depth_takes_the_whole_range_and_nothing_of_torchs_random_state(
    folders: dict[str, Path],
) -> None:
    depth = Depth(HubModel(repo=str(folders["depth"])), "cpu")
    torch.manual_seed(1)
    shown = depth.of(painted(37, 53).rgb_hwc)
    assert shown.shape == (37, 53, 3)
    assert (shown.min(), shown.max()) == (0, 255)
    torch.manual_seed(2)
    assert np.array_equal(shown, depth.of(painted(37, 53).rgb_hwc))
