"""Gates that look beyond their sample, in the chain without Ray: at the other copies, and at all
images of the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.random import Generator

from pipeline.chain.weave import WovenCopy, weave_chunk
from pipeline.gate import Gate
from pipeline.gates import Diversity, NearDuplicate
from pipeline.model import Models
from pipeline.op import Draw, LabelContract, Op, Outcome, Peers
from pipeline.source.plan import EncodedSample
from schemas.sample import ImageArray, Sample
from tests.pipeline.chain.test_weave import CONTEXT, recipe
from tests.pipeline.gates.test_planted import FIELDS
from tests.pipeline.known_images import known_images
from tests.pipeline.shards import labels, png


class Memory(Op):
    """What a network does that has learnt one image by heart: copy 1 is that image. The others are
    noise on their source; copy 3 is copy 2 again.
    """

    kind: Literal["memory"] = "memory"
    image: int = 5

    @property
    def labels(self) -> LabelContract:
        return "kept"

    def draw(self, sample: Sample, rng: Generator, peers: Peers) -> Draw:
        return {"seed": min(sample.lineage.copy, 2)}

    def apply(
        self, samples: Sequence[Sample], draws: Sequence[Draw], models: Models, peers: Peers
    ) -> list[Outcome]:
        return [self._made(*pair) for pair in zip(samples, draws, strict=True)]

    def _made(self, sample: Sample, draw: Draw) -> Sample:
        if draw["seed"] == 1:
            return replace(sample, image_hwc=FIELDS[self.image])
        noise = np.random.default_rng(draw["seed"]).normal(0, 12, sample.image_hwc.shape)
        image = np.clip(sample.image_hwc + noise, 0, 255).astype(np.uint8)
        return replace(sample, image_hwc=image)


def encoded(key: str, image: ImageArray) -> EncodedSample:
    record = labels(96, 128, [(4, 5, 40, 45)])
    ids = png(np.zeros((96, 128), np.uint8))
    return EncodedSample(key, png(image.astype(np.uint8)), "png", record, ids, key, "in.tar")


SOURCES = [encoded("a", FIELDS[0]), encoded("b", FIELDS[1])]


def woven(
    gate: Gate,
    samples: Sequence[EncodedSample] = SOURCES,
    only: list[tuple[str, int]] | None = None,
) -> list[WovenCopy]:
    context = replace(CONTEXT, known=known_images(FIELDS))
    return weave_chunk(samples, recipe([Memory()], [gate], copies=4), {}, context, only)


def reasons(copies: Sequence[WovenCopy]) -> list[str | None]:
    return [copy.row.reason for copy in copies]


def test_a_memorised_image_and_an_equal_copy_are_rejected() -> None:
    copies = woven(NearDuplicate())
    assert reasons(copies) == [None, "like_other_source", None, "like_copy"] * 2
    assert reasons(woven(Diversity())) == [None, None, None, "too_alike"] * 2
    names = [{score.gate.partition(".")[2] for score in copy.row.scores} for copy in copies]
    assert names == [{"source", "others"}, *[{"source", "others", "copies"}] * 3] * 2


def test_a_copy_is_judged_alike_whatever_the_chunk_around_its_source_holds() -> None:
    together, alone = woven(NearDuplicate()), woven(NearDuplicate(), SOURCES[1:])
    assert [copy.row for copy in together[4:]] == [copy.row for copy in alone]


def test_what_was_kept_is_kept_when_it_is_made_alone() -> None:
    for gate in (NearDuplicate(), Diversity()):
        for copy in woven(gate):
            if copy.row.status == "kept":
                (again,) = woven(gate, only=[(copy.row.source_key, copy.row.copy)])
                assert (again.row.status, again.members) == ("kept", copy.members)
