"""A worker's session: micro-batches, precision, noise levels, and the time that is stated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from pipeline.diffusion.schedule import alpha_sigma
from pipeline.training import pace
from pipeline.training.config import Precision
from pipeline.training.denoising import DenoiserTask, make_batch, min_snr, v_loss
from pipeline.training.pace import PaceReport, measure_pace, span
from pipeline.training.session import Session
from pipeline.training.state import TrainState
from schemas.errors import RunError
from tests.pipeline.training.test_training import SOURCE, config

CPU = torch.device("cpu")


def session(**changes: object) -> Session:
    return Session(config(**{"precision": "fp32", **changes}), "denoiser", CPU)


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_micro_batches_make_the_step_of_the_whole_batch_to_rounding() -> None:
    whole, pieces = session(batch=8, warmup=0), session(batch=8, warmup=0, accumulate=4)
    for _ in range(2):
        assert whole.step().loss == pytest.approx(pieces.step().loss, rel=1e-5)
    # Adam divides a gradient by its size: that of a bias before a normalisation is 0 but for
    # rounding, and moves it all the same; what the network makes does not notice
    a, b = weights(whole.state.net), weights(pieces.state.net)
    assert 0 < float((a - b).norm() / a.norm()) < 1e-3
    assert isinstance(whole.task, DenoiserTask)
    batch = make_batch(whole.crops, whole.task, range(100, 104), 4)
    with torch.inference_mode():
        made = [
            one.state.net(batch.x0_bchw, batch.t_b, batch.condition_bchw) for one in (whole, pieces)
        ]
    assert float((made[0] - made[1]).norm() / made[0].norm()) < 1e-4


def test_min_snr_weighs_the_error_of_v_as_published() -> None:
    t = torch.tensor([0.01, 0.2, 0.5, 0.8, 0.99])
    alpha, sigma = (part.flatten() for part in alpha_sigma(t, 2.0))
    snr = (alpha / sigma) ** 2
    torch.testing.assert_close(min_snr(t, 2.0, 5.0), snr.clamp(max=5) / (snr + 1))
    assert float(min_snr(torch.zeros(1), 2.0, 5.0)) == 0


def test_a_weighted_loss_is_the_mean_of_weighted_errors() -> None:
    plain, weighted = session(), session(weighting="min_snr", gamma=3.0)
    assert isinstance(plain.task, DenoiserTask)
    batch = make_batch(plain.crops, plain.task, range(4), 4)
    net = plain.state.net
    each = torch.stack(
        [v_loss(net, make_batch(plain.crops, plain.task, [k], 4), 2.0) for k in range(4)]
    )
    expected = (each * min_snr(batch.t_b, 2.0, 3.0)).mean()
    loss = weighted.task.loss(net, weighted.crops, range(4), 4, CPU)
    torch.testing.assert_close(loss, expected)


def test_validation_is_the_same_every_time_and_tells_noise_levels_apart() -> None:
    one = session(validation=SOURCE)
    first = one.validate()
    assert first is not None
    assert first == one.validate()
    assert len(first.levels) == 8
    assert sum(first.levels) / 8 == pytest.approx(first.loss, rel=1e-5), "8 crops of each level"

    class Blind(nn.Module):
        """Fails at the highest level alone."""

        def forward(self, x: torch.Tensor, t: torch.Tensor, _: object) -> torch.Tensor:
            return torch.where(t.view(-1, 1, 1, 1) >= 7 / 8, 100.0, 0.0).expand_as(x)

    assert one.held_out is not None
    levels = one.task.validation(Blind(), one.held_out, CPU).levels
    assert levels[7] > 1000 > 10 * max(levels[:7])


def test_measuring_the_pace_changes_nothing_but_the_precision() -> None:
    one, other = session(), session()
    before = weights(one.state.net).clone()
    found = measure_pace(one)
    assert torch.equal(weights(one.state.net), before)
    assert one.state.step == 0
    assert found.precision == "fp32"
    assert found.seconds.keys() == {"fp32"}
    assert one.step().loss == other.step().loss


@pytest.mark.parametrize("faster", ["fp32", "bf16"])
def test_auto_takes_the_precision_that_was_measured_to_be_faster(
    faster: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = {"fp32": 2.0, "bf16": 2.0} | {faster: 1.5}
    monkeypatch.setattr(pace, "_seconds", lambda _, kind: times[kind])
    one = session(precision="auto")
    found = measure_pace(one)
    assert one.state.precision == found.precision == faster
    assert "fp32 " in str(found) and "bf16 " in str(found), "both numbers are said"
    assert measure_pace(one).seconds.keys() == {faster}, "what is chosen is not asked again"


def test_the_chosen_precision_is_in_the_checkpoint(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("checkpoint")
    one, other = session(precision="auto"), session(precision="auto")
    one.state.precision = "bf16"
    one.state.save(folder)
    other.state.load(folder)
    assert other.state.precision == "bf16"


def test_the_time_is_said_in_words() -> None:
    assert str(PaceReport("fp32", {"fp32": 0.7}, 4000)) == (
        "about 47 min for 4,000 steps of 0.70 s (measured, fp32)"
    )
    assert [span(s) for s in (0.2, 80, 100, 7000, 3e6)] == [
        "1 s",
        "80 s",
        "2 min",
        "1.9 h",
        "34.7 days",
    ]


def test_a_loss_that_is_no_number_ends_the_training_with_advice() -> None:
    one = session()

    def nothing(*_: object) -> Iterator[torch.Tensor]:
        yield (one.state.net.unet.conv_in.weight.sum() * float("nan"))

    one._losses = nothing  # type: ignore[method-assign]
    with pytest.raises(RunError, match="step 1: the loss is nan; a smaller `lr`"):
        one.step()


def test_a_state_takes_the_sum_of_the_losses_it_is_given() -> None:
    nets = [nn.Linear(2, 1) for _ in range(2)]
    nets[1].load_state_dict(nets[0].state_dict())
    states = [TrainState(net, config(warmup=0)) for net in nets]
    x = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    states[0].update([nets[0](x).square().mean()])
    total, _ = states[1].update(nets[1](part).square().mean() / 2 for part in x.split(1))
    torch.testing.assert_close(weights(nets[0]), weights(nets[1]))
    assert total > 0
