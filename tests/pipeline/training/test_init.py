"""Training from a model: its weights at first, and only for the same network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training.config import DenoiserTraining
from pipeline.training.session import Session
from schemas.errors import ModelError
from schemas.recipe import Source
from tests.models import tiny_denoiser

SOURCE = Source(shards=("data/bccd/train-000000.tar",), classes=("RBC", "WBC", "Platelets"))


def session(folder: Path, **changes: object) -> Session:
    settings = {
        "data": SOURCE,
        "out": "unused",
        "licence": "MIT",
        "init": str(folder),
        "net": {"patch": 2, "widths": (16, 32), "blocks": 1},
        "crop": 16,
    }
    config = DenoiserTraining.model_validate(settings | changes)
    return Session(config, "denoiser", torch.device("cpu"))


def test_the_first_weights_are_those_of_the_model(tmp_path: Path) -> None:
    model = tiny_denoiser(tmp_path, ("RBC", "WBC", "Platelets"), seed=5)
    begun = session(tmp_path).state
    for net in (begun.net, begun.average):
        for mine, theirs in zip(net.parameters(), model._net.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_another_network_is_refused_with_both_configurations(tmp_path: Path) -> None:
    tiny_denoiser(tmp_path, ("RBC", "WBC", "Platelets"))
    with pytest.raises(ModelError, match=r"config\.json: another configuration: .*wanted"):
        session(tmp_path, net={"patch": 2, "widths": (16, 32), "blocks": 2})
