"""Training: crops by number, shares of a batch, a continued training takes the same steps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipeline.config import load_config
from pipeline.diffusion.config import DenoiserConfig
from pipeline.diffusion.native import build
from pipeline.diffusion.schedule import alpha_sigma
from pipeline.training.config import CONFIGS, DenoiserTraining
from pipeline.training.crops import CropSet, cut, pad_to, turned
from pipeline.training.denoising import (
    DenoiserTask,
    make_batch,
    v_loss,
)
from pipeline.training.state import TrainState
from schemas.errors import RecipeError
from schemas.recipe import Source
from schemas.sample import Instances, Sample
from tests.models import TINY_NET

DATA = Path(__file__).parents[3] / "data" / "nuclei" / "train-000000.tar"
SOURCE = {
    "shards": str(DATA),
    "segmentation": "seg.png",
    "classes": ["nucleus"],
    "seg_classes": ["background", "nucleus"],
}


def config(**changes: object) -> DenoiserTraining:
    settings: dict[str, object] = {
        "data": SOURCE,
        "out": "unused",
        "licence": "CC0",
        "net": {"patch": 2, "widths": [16, 32], "blocks": 1},
        "crop": 32,
        "batch": 4,
        "steps": 8,
        "warmup": 2,
        "lr": 1e-3,
    }
    return DenoiserTraining.model_validate(settings | changes)


def crops(seed: int = 0) -> CropSet:
    return CropSet(Source.model_validate(SOURCE), 32, True, "sqrt", seed)


def test_a_crop_is_the_same_by_its_number_whoever_asks_in_whatever_order() -> None:
    one, other = crops(), crops()
    forwards = [one.crop(k)[0].image_hwc for k in range(5)]
    backwards = [other.crop(k)[0].image_hwc for k in reversed(range(5))][::-1]
    assert all((a == b).all() for a, b in zip(forwards, backwards, strict=True))
    assert any(
        (a != b).any()
        for a, b in zip(forwards, (crops(1).crop(k)[0].image_hwc for k in range(5)), strict=True)
    )


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_boxes_and_class_ids_turn_with_the_paint_under_them(
    quarter_turns: int, mirror: bool
) -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[2:5, 7:15] = 200
    sample = Sample(
        "k",
        image,
        Instances(np.array([[7.0, 2, 15, 5]]), ("a",)),
        (image[:, :, 0] > 0).astype(np.uint8),
    )
    out = turned(sample, quarter_turns, mirror)
    x0, y0, x1, y1 = out.objects.boxes_n4[0].astype(int)
    painted = np.zeros((16, 16), bool)
    painted[y0:y1, x0:x1] = True
    assert ((out.image_hwc[:, :, 0] == 200) == painted).all()
    assert out.class_map_hw is not None and ((out.class_map_hw == 1) == painted).all()


def test_a_cut_keeps_the_whole_extent_of_boxes_and_drops_those_outside() -> None:
    sample = Sample(
        "k",
        np.zeros((40, 40, 3), np.uint8),
        Instances(np.array([[5.0, 5, 25, 25], [30, 30, 38, 38]]), ("a", "b")),
        None,
    )
    out = cut(sample, 10, 10, 16)
    assert out.objects.labels == ("a",)
    assert out.objects.boxes_n4.tolist() == [[-5, -5, 15, 15]]


def test_an_image_smaller_than_a_crop_is_reflected_with_its_class_ids() -> None:
    sample = Sample("k", np.full((3, 5, 3), 7, np.uint8), None, np.ones((3, 5), np.uint8))
    out = pad_to(sample, 16)
    assert (
        out.image_hwc.shape == (16, 16, 3)
        and out.class_map_hw is not None
        and (out.class_map_hw == 1).all()
    )


def test_the_shares_of_two_workers_are_the_batch_of_one() -> None:
    task = DenoiserTask(config(), crops())
    whole = make_batch(crops(), task, range(8, 12), 4)
    halves = [make_batch(crops(), task, part, 4) for part in (range(8, 10), range(10, 12))]
    for name in ("x0_bchw", "condition_bchw", "t_b", "noise_bchw"):
        torch.testing.assert_close(
            getattr(whole, name),
            torch.cat([getattr(half, name) for half in halves]),
            rtol=0,
            atol=0,
        )
    assert whole.t_b.sort().values.tolist() == whole.t_b.tolist(), (
        "times are stratified over the batch"
    )


def test_a_network_that_knows_the_answer_has_no_loss() -> None:
    batch = make_batch(crops(), DenoiserTask(config(), crops()), range(4), 4)
    alpha, sigma = alpha_sigma(batch.t_b, 2.0)
    v = alpha * batch.noise_bchw - sigma * batch.x0_bchw

    class Oracle(torch.nn.Module):
        def forward(self, *_: object) -> torch.Tensor:
            return v

    assert float(v_loss(Oracle(), batch, 2.0)) == 0


def test_labels_are_dropped_at_the_configured_share() -> None:
    given = make_batch(
        crops(), DenoiserTask(config(label_dropout=0), crops()), range(16), 16
    ).condition_bchw
    assert (given[:, -1] == 1).all()
    dropped = make_batch(
        crops(), DenoiserTask(config(label_dropout=1), crops()), range(4), 4
    ).condition_bchw
    assert (dropped == 0).all()
    mixed = (
        make_batch(crops(), DenoiserTask(config(label_dropout=0.5), crops()), range(64), 64)
        .condition_bchw[:, -1]
        .mean((1, 2))
    )
    assert 16 < int((mixed == 0).sum()) < 48


def trained(steps: int, state: TrainState, task: DenoiserTask, data: CropSet) -> list[float]:
    losses = []
    while state.step < steps:
        batch = make_batch(data, task, range(state.step * 4, state.step * 4 + 4), 4)
        loss = v_loss(state.net, batch, 2.0)
        state.update([loss])
        losses.append(float(loss.detach()))
    return losses


def fresh() -> TrainState:
    torch.manual_seed(0)
    return TrainState(
        build(
            DenoiserConfig(
                net=TINY_NET,
                shift=2.0,
                curve="sqrt",
                classes=("nucleus",),
                seg_classes=("background", "nucleus"),
            )
        ),
        config(),
    )


def test_a_training_continued_from_a_checkpoint_takes_the_same_steps(tmp_path: Path) -> None:
    task, data = DenoiserTask(config(), crops()), crops()
    undisturbed = fresh()
    expected = trained(8, undisturbed, task, data)
    first = fresh()
    losses = trained(5, first, task, data)
    first.save(tmp_path)
    second = fresh()
    second.load(tmp_path)
    losses += trained(8, second, task, crops())
    assert losses == expected
    for a, b in zip(undisturbed.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    state = fresh()
    rates = []
    for state.step in range(9):
        rates.append(state.learning_rate())
    assert rates[:2] == [0.5e-3, 1e-3]
    assert rates[2] == 1e-3
    assert all(a > b for a, b in pairwise(rates[2:]))
    assert abs(rates[8] - 1e-5) < 1e-12


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": 33}, "no multiple of 4"),
        ({"workers": 3}, "does not divide among 3 workers"),
        ({"batch": 4, "workers": 2, "accumulate": 4}, "2 workers of 4 micro-batches"),
        ({"patience": 1}, "needs data under `validation`"),
        ({"balance": 0.5, "data": {**SOURCE, "classes": []}}, "balance: is of classes"),
        ({"latent": {"vae": "x"}}, "net.patch: is 2; with latent it must be 1"),
        ({"scales": [0.5, 2]}, "less than or equal to 1"),
        ({"data": {"shards": "x.tar"}}, "data.classes"),
    ],
)
def test_a_configuration_that_cannot_work_says_why(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**changes)


def digest(**changes: object) -> str:
    return config(**changes).digest()


def test_a_digest_covers_what_shapes_the_weights_and_not_who_computes_them() -> None:
    same = (
        {"out": "elsewhere"},
        {"workers": 2},
        {"accumulate": 2},
        {"gpus": 1},
        {"checkpoint_every": 3},
    )
    assert {digest(**changes) for changes in same} == {digest()}
    others: list[dict[str, object]] = [
        {"scales": [0.5, 1.0]},
        {"balance": 0.5},
        {"weighting": "min_snr"},
        {"precision": "bf16"},
        {"validation": SOURCE, "patience": 2},
        {"validation": SOURCE, "patience": 2, "checkpoint_every": 3},
    ]
    assert len({digest(), *(digest(**changes) for changes in others)}) == len(others) + 1


def test_fields_that_contradict_each_other_are_said_with_their_place(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(
        "data: {shards: x.tar, classes: [a]}\nout: x\nlicence: CC0\ncrop: 100\n"
        "net: {patch: 4, widths: [16, 32, 48, 64]}\n"
    )
    with pytest.raises(RecipeError, match=r"line 4, crop: 100 is no multiple of 32"):
        load_config(path, CONFIGS["denoiser"])
