"""What a gate is: it judges finished samples, kept or not, with a fixed reason and a score that is
always written.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from pipeline.model import Job, Models
from schemas.sample import Sample
from schemas.spec import Spec


@dataclass(frozen=True)
class Verdict:
    """What a gate says of one sample. `reason` is a fixed slug, None where it is kept; `scores` by
    name.
    """

    kept: bool
    reason: str | None
    scores: dict[str, float]


@dataclass(frozen=True)
class GateContext:
    """What a gate is told besides the samples.

    `seg_classes`: the names of class ids, by id; empty where the recipe names none. `aligned`: per
    sample, whether its pixels have their counterparts in the source at the same places; not where
    an op moved the geometry or made another picture.
    """

    seg_classes: tuple[str, ...]
    aligned: tuple[bool, ...]


class Gate(Spec):
    """One judge. Subclasses add a literal `kind` and their thresholds; see `pipeline/gates`."""

    kind: str

    compares_pictures: ClassVar[bool] = False
    """Whether it holds a sample's pixels against its source's: it is not asked where an op made
    another picture (`Op.new_picture`), and such a sample is kept, without a score."""

    jobs: ClassVar[tuple[Job, ...]] = ()
    """What its model must be able to do; one of them is enough."""

    @property
    def model_name(self) -> str | None:
        """The name under `models:` of the model that it uses."""
        return getattr(self, "model", None)

    @abstractmethod
    def judge(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Verdict]:
        """One verdict per sample; `sources` are what they were made from, in the same order."""
