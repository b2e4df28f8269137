"""What an op is: one augmentation, frozen and typed, in two halves.

`draw` makes every random choice for one sample, as plain JSON; `apply` carries the draws out on a
whole batch, deterministically. An op never imports another op, never uses global random state, and
never touches what its `protect` or its mask forbids. A sample that it cannot carry becomes a
`SampleError` in its place, never a guess.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from numpy.random import Generator
from pydantic import Field

from pipeline.model import Job, Models
from schemas.errors import SampleError
from schemas.pools import PoolSpec
from schemas.sample import Sample
from schemas.spec import Spec

Draw = dict[str, Any]
"""Every random choice of one op on one sample, as plain JSON; `strength` and `noise` mean the same
in every op."""

LabelContract = Literal["kept", "moved", "edited"]
"""kept: geometry does not move. moved: one map moves all labels. edited: instances come or go."""

Outcome = Sample | SampleError

Peers = Mapping[str, Sample]
"""The source samples of the chunk by key, in their order, decoded and untouched; the sample itself
is among them. One that failed to decode is not."""


class Op(Spec):
    """One augmentation. Subclasses add a literal `kind` and their fields; see `pipeline/ops`."""

    kind: str
    p: float = Field(1.0, ge=0, le=1, description="share of the copies that it is applied to")
    resources: PoolSpec | None = Field(
        None, description="a pool of its own", exclude_if=lambda pool: pool is None
    )
    """Left out: it runs in the recipe's pool. No part of what an op is: no digest holds it."""

    needs: ClassVar[Job | None] = None
    """The job that its `model` must be able to do, or None for an op without a model."""

    deep: ClassVar[bool] = False
    """Whether it carries gray images of 16 bits, (h, w, 1) uint16. For one that does not, such a
    sample fails by name, `deep_image`, before anything is drawn."""

    needs_peers: ClassVar[bool] = False
    """Whether it looks at other samples of the chunk. A replay reads the whole chunk for it; an op
    that does not say so may find its sample alone."""

    new_picture: ClassVar[bool] = False
    """Whether nothing of the picture remains: how like its source it is says nothing then."""

    @property
    @abstractmethod
    def labels(self) -> LabelContract:
        """What it does to boxes, masks and class-id map, with the fields that it has."""

    @property
    def keeps_pixels(self) -> bool:
        """Whether it promises that some pixels come out bit-identical: a lossy output breaks it."""
        return getattr(self, "protect", "none") != "none" or bool(getattr(self, "classes", None))

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What its model must be able to do; one of them is enough."""
        return () if self.needs is None else (self.needs,)

    @property
    def model_name(self) -> str | None:
        """The name under `models:` of the model that it uses."""
        return getattr(self, "model", None)

    @abstractmethod
    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw | None:
        """Every random choice for this sample; None where there is nothing for the op to do (no
        object to remove, say).

        Raises SampleError where the op cannot carry the sample.
        """

    @abstractmethod
    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        """The draws carried out: one outcome per sample, in order, and the same every time."""
