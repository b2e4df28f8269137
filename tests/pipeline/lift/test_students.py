"""Students learn, and the same seed gives the same student."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.lift.config import LiftConfig, Schooling
from pipeline.lift.feed import Feed, Showing
from pipeline.lift.students import check_student, learner
from pipeline.lift.students.training import train
from pipeline.lift.students.unet import UNet
from schemas.errors import RecipeError
from schemas.sample import FloatArray
from tests.pipeline.lift.discs import disc_sample

LABELLED = [disc_sample(n) for n in range(6)]
JUDGED = [disc_sample(n) for n in range(700, 706)]
UNET = {"kind": "unet", "widths": [8, 16], "tone": "linear"}
FCOS = {"kind": "fcos", "widths": [8, 16, 32], "stride": 4}


def config(student: dict[str, object]) -> LiftConfig:
    source = {
        "shards": "x.tar",
        "segmentation": "seg.png",
        "classes": ["disc"],
        "seg_classes": ["ground", "disc"],
    }
    return LiftConfig.model_validate(
        {
            "data": source,
            "validation": source,
            "out": "out",
            "images": 6,
            "student": student,
            "baseline": "real",
            "arms": {"real": {}, "other": {}},
        }
    )


def scores(student: dict[str, object], steps: int, seed: int = 0, lr: float = 5e-3) -> FloatArray:
    one = config(student)
    schooling = Schooling(steps=steps, batch=4, crop=32, lr=lr, warmup=5)
    showing = Showing(32, 1.0, one.student.tone, None)
    feed = Feed(LABELLED, [], (0, 0), showing, steps, 4, seed)
    torch.manual_seed(seed)
    mine = learner(one, "cpu")
    train(mine, feed, schooling)
    return mine.answers(JUDGED).scores(np.ones(len(JUDGED)))


def test_a_u_net_learns_discs_in_some_dozen_steps() -> None:
    assert scores(UNET, 1)[1] < 0.4 < 0.6 < scores(UNET, 60)[1]


def test_a_detector_learns_discs_in_some_dozen_steps() -> None:
    assert scores(FCOS, 1)[0] < 0.05 < 0.2 < scores(FCOS, 60)[0]


@pytest.mark.parametrize("student", [UNET, FCOS])
def test_the_same_seed_gives_the_same_student_and_another_another(
    student: dict[str, object],
) -> None:
    first, again, other = (scores(student, 4, seed, 2e-2) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert student is FCOS or not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("task", "builder"),
    [("segment", "lraspp_mobilenet_v3_large"), ("detect", "ssdlite320_mobilenet_v3_large")],
)
def test_a_network_of_torchvision_is_a_student(task: str, builder: str) -> None:
    student = {"kind": "torchvision", "task": task, "builder": builder}
    check_student(config(student))
    found = scores(student, 1)
    assert len(found) == (2 if task == "segment" else 1) and (found < 0.9).all()


def test_a_builder_that_is_not_there_is_named_with_those_that_are() -> None:
    student = {"kind": "torchvision", "task": "segment", "builder": "fcn_resnet51"}
    with pytest.raises(RecipeError, match=r"'fcn_resnet51' to segment; it has .*fcn_resnet50"):
        check_student(config(student))


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (5, 7)])
def test_a_u_net_takes_any_size(size: tuple[int, int]) -> None:
    with torch.inference_mode():
        assert UNet((4, 8, 8), 3)(torch.zeros(1, 3, *size)).shape == (1, 3, *size)
