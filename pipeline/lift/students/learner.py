"""What a student is to the test: a network, its loss on a batch, its answers on whole images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from pipeline.lift.evidence import Matches, Overlaps
from pipeline.lift.feed import Crop
from schemas.sample import Sample


class Learner(Protocol):
    """A student. `net` is what the optimiser trains."""

    net: nn.Module

    def loss(self, crops: Sequence[Crop]) -> Tensor:
        """Of one batch, in training mode."""

    def answers(self, samples: Sequence[Sample]) -> Overlaps | Matches:
        """Whole images, one at a time, held against their labels."""
