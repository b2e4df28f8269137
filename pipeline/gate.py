"""What a gate is: it judges finished samples, kept or not, with a fixed reason and scores that are
always written.

It has two halves. `measure` looks at the pictures, with models if it has any, and writes down
scores; `decide` holds the scores of one sample against the thresholds, and knows nothing else: so
other thresholds can be applied later to what the index holds, without a picture or a model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

from pipeline.known.images import Known
from pipeline.model import Job, Models
from schemas.sample import Sample
from schemas.spec import Spec


@dataclass(frozen=True)
class Measured:
    """What a gate found out about one sample: scores by name, whatever the thresholds are, and the
    sample as it goes on where the gate mended it.
    """

    scores: dict[str, float]
    mended: Sample | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Verdict:
    """What a gate says of one sample. `reason` is a fixed slug, None where it is kept."""

    reason: str | None
    scores: dict[str, float]
    mended: Sample | None = field(default=None, compare=False)

    @property
    def kept(self) -> bool:
        """Whether the gate lets the sample through."""
        return self.reason is None


@dataclass(frozen=True)
class GateContext:
    """What a gate is told besides the samples.

    `seg_classes`: the names of class ids, by id; empty where the recipe names none. `aligned`: per
    sample, whether its pixels have their counterparts in the source at the same places; not where
    an op moved the geometry or made another picture. `known`: all images of the source, where a
    gate asks for them (`Gate.needs_known`) and they could be had. `new_pictures`: per sample,
    whether an op made another picture, to which the source is no yardstick; empty where none did.
    """

    seg_classes: tuple[str, ...]
    aligned: tuple[bool, ...]
    known: Known | None = None
    new_pictures: tuple[bool, ...] = ()

    def new_picture(self, i: int) -> bool:
        """Whether sample `i` is another picture than its source."""
        return bool(self.new_pictures) and self.new_pictures[i]


class Gate(Spec):
    """One judge. Subclasses add a literal `kind` and their thresholds; see `pipeline/gates`."""

    kind: str

    compares_pictures: ClassVar[bool] = False
    """Whether it holds a sample's pixels against its source's: it is not asked where an op made
    another picture (`Op.new_picture`), and such a sample is kept, without a score."""

    mends: ClassVar[bool] = False
    """Whether it may hand a sample on changed: such gates are asked first, so that the scores of
    the others are those of what is stored."""

    measures_with: ClassVar[tuple[str, ...]] = ()
    """The fields that shape its scores, besides `model`. All others are thresholds: they can be
    changed without the pictures (`noiseloom regate`)."""

    jobs: ClassVar[tuple[Job, ...]] = ()
    """What its model must be able to do; one of them is enough."""

    @property
    def model_name(self) -> str | None:
        """The name under `models:` of the model that it uses."""
        return getattr(self, "model", None)

    @property
    def needs_known(self) -> bool:
        """Whether it holds samples against all images of the source: their fingerprints are then
        made before a run, and kept in its sink.
        """
        return False

    def judge(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Verdict]:
        """One verdict per sample; `sources` are what they were made from, in the same order."""
        return [
            Verdict(self.decide(one.scores), one.scores, one.mended)
            for one in self.measure(sources, samples, models, context)
        ]

    @abstractmethod
    def measure(
        self,
        sources: Sequence[Sample],
        samples: Sequence[Sample],
        models: Models,
        context: GateContext,
    ) -> list[Measured]:
        """The scores of each sample. What cannot be measured on a sample is left out."""

    @abstractmethod
    def decide(self, scores: Mapping[str, float]) -> str | None:
        """The slug of the first threshold that these scores do not meet; None where they meet all.
        A score that is not there is not judged.
        """


GateT = TypeVar("GateT", bound=Gate)


def in_order(gates: Iterable[GateT]) -> list[GateT]:
    """As they are asked: those that mend first. The first that rejects gives the reason."""
    return sorted(gates, key=lambda gate: not gate.mends)
