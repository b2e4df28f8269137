"""Laws of mixing: the share is what was asked for, in every batch, and nothing is favoured."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from jobs.run.plan import RunPlan
from pipeline.catalog import real, woven
from pipeline.feed import DetectionDataset, Loader, Mix, Stream
from pipeline.feed.datasets import Target
from pipeline.feed.order import dealt
from schemas.errors import RecipeError
from schemas.recipe import Source


@pytest.fixture(scope="module")
def pair(planned: RunPlan, masked: Source) -> tuple[DetectionDataset, DetectionDataset]:
    """Five real samples, twelve augmented ones."""
    sink = woven(planned.recipe.sink, runs=[planned.run])
    return DetectionDataset(real(masked)), DetectionDataset(sink)


Pair = tuple[DetectionDataset, DetectionDataset]


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 1.0])
def test_every_batch_has_about_the_share(pair: Pair, ratio: float) -> None:
    mix = Mix(*pair, ratio, length=40)
    for epoch in range(3):
        is_augmented = mix.order(1, epoch) >= 5
        assert is_augmented.sum() == round(40 * ratio)
        per_batch = is_augmented.reshape(5, 8).sum(axis=1)
        assert np.abs(per_batch - 8 * ratio).max() < 1


def test_a_share_falls_from_the_first_epoch_to_the_last(pair: Pair) -> None:
    for schedule in ("linear", "cosine"):
        mix = Mix(*pair, 0.8, schedule, epochs=5, end=0.2, length=100)
        counts = [int((mix.order(1, epoch) >= 5).sum()) for epoch in range(7)]
        assert (counts[0], counts[2], counts[4]) == (80, 50, 20)
        assert counts[4:] == [20, 20, 20]
        assert counts == sorted(counts, reverse=True)


def test_every_sample_comes_once_before_one_comes_again(pair: Pair) -> None:
    mix = Mix(*pair, 0.6, "linear", epochs=9, end=0.1, length=7)
    orders = [mix.order(3, epoch) for epoch in range(40)]
    seen = Counter(int(i) for order in orders for i in order)
    for numbers in (range(5), range(5, 17)):
        counts = [seen[i] for i in numbers]
        assert max(counts) - min(counts) <= 1


@given(n=st.integers(1, 9), first=st.integers(0, 40), count=st.integers(0, 40))
def test_a_part_of_the_dealt_cards_is_a_part_of_all(n: int, first: int, count: int) -> None:
    whole = dealt(n, 0, 90, 7, "x")
    assert np.array_equal(dealt(n, first, count, 7, "x"), whole[first : first + count])
    assert all(sorted(whole[i : i + n]) == list(range(n)) for i in range(0, 90 - n, n))


def test_a_mix_streams_real_and_augmented_samples(pair: Pair) -> None:
    mix = Mix(*pair, 0.5, length=8)
    assert (len(mix), mix.classes) == (17, ("cell",))
    batches: list[tuple[list[Tensor], list[Target]]] = list(Loader(Stream(mix, 4)))
    # only the real ones here have masks
    assert [sum("masks" in target for target in targets) for _, targets in batches] == [2, 2]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda a, b: Mix(a, b, 1.5), "shares, from 0 to 1"),
        (lambda a, b: Mix(a, b, 0.5, "linear"), "goes over `epochs`"),
        (lambda a, b: Mix(a, DetectionDataset(b.catalog.take([])), 0.5), "no augmented samples"),
        (lambda a, b: Mix(DetectionDataset(a.catalog, ["cell", "x"]), b, 0.5), "differently"),
    ],
)
def test_an_impossible_mix_is_refused(pair: Pair, make, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RecipeError, match=says):
        make(*pair)
