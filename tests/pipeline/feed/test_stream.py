"""Laws of streams: every sample once, the same batches however many workers, on from any batch."""

from __future__ import annotations

import pickle
from collections import Counter
from itertools import islice

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from jobs.run.plan import RunPlan
from pipeline.catalog import real, woven
from pipeline.feed import DetectionDataset, Loader, Stream
from pipeline.feed.datasets import Target
from pipeline.feed.order import Uneven, places, shuffled
from schemas.errors import RecipeError
from schemas.recipe import Source

Batches = list[tuple[list[Tensor], list[Target]]]


@pytest.fixture(scope="module")
def data(planned: RunPlan) -> DetectionDataset:
    """Twelve samples that are flipped, turned pale or dark, and cut at random."""
    transform = v2.Compose(
        [v2.RandomHorizontalFlip(), v2.ColorJitter(0.5), v2.RandomCrop((16, 20))]
    )
    return DetectionDataset(woven(planned.recipe.sink, runs=[planned.run]), transforms=transform)


def ids(batches: Batches) -> list[list[int]]:
    return [[int(target["image_id"]) for target in targets] for _, targets in batches]


def same(one: Batches, two: Batches) -> bool:
    return ids(one) == ids(two) and all(
        torch.equal(a, b)
        for (images, _), (others, _) in zip(one, two, strict=True)
        for a, b in zip(images, others, strict=True)
    )


def test_two_ranks_with_two_workers_see_every_sample_exactly_once(data: DetectionDataset) -> None:
    seen: Counter[int] = Counter()
    for rank in range(2):
        stream = Stream(data, 5, seed=1, rank=rank, ranks=2)
        for batch in ids(list(Loader(stream, workers=2))):
            seen.update(batch)
    assert seen == Counter(range(len(data)))


def test_the_batches_are_the_same_however_many_workers_make_them(data: DetectionDataset) -> None:
    alone, others = (list(Loader(Stream(data, 5, seed=2), workers=n)) for n in (0, 2))
    assert [len(images) for images, _ in alone] == [5, 5, 2]
    assert same(alone, others)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_goes_on_in_its_middle_as_if_nothing_had_been(
    data: DetectionDataset, workers: int
) -> None:
    whole = Loader(Stream(data, 3, seed=3))
    expected = [*whole, *whole]
    stopped = Loader(Stream(data, 3, seed=3), workers=workers)
    before = [*stopped, *islice(stopped, 2)]
    state = pickle.loads(pickle.dumps(stopped.state_dict()))
    resumed = Loader(Stream(data, 3, seed=3), workers=2 - workers)
    resumed.load_state_dict(state)
    assert (resumed.epoch, resumed.done, len(resumed)) == (1, 2, 4)
    assert same(expected, [*before, *resumed])
    assert (resumed.epoch, resumed.done) == (2, 0)


def test_each_epoch_has_an_order_of_its_own_and_each_seed(data: DetectionDataset) -> None:
    orders = {tuple(shuffled(12, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    loader = Loader(Stream(data, 4, seed=4))
    assert ids(list(loader)) != ids(list(loader))


def test_a_stream_leaves_the_global_generator_alone(data: DetectionDataset) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    list(Loader(Stream(data, 4)))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("n", [0, 1, 7, 12, 13, 24])
@pytest.mark.parametrize("uneven", ["keep", "repeat", "drop"])
def test_ranks_share_an_epoch_as_they_are_told(n: int, uneven: Uneven) -> None:
    shares = [places(n, rank, 3, 4, uneven).tolist() for rank in range(3)]
    flat = [place for share in shares for place in share]
    assert flat == list(range(len(flat)))
    if uneven == "keep":
        assert len(flat) == n
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        return
    assert len({len(share) for share in shares}) == 1
    assert len(flat) % 12 == 0
    assert (len(flat) >= n) if uneven == "repeat" else (len(flat) <= n)
    assert abs(len(flat) - n) < 12


def test_repeated_places_are_samples_again_under_other_transforms(masked: Source) -> None:
    data = DetectionDataset(real(masked), transforms=v2.ColorJitter(0.5))
    batches = list(Stream(data, 4, uneven="repeat"))
    assert [len(images) for images, _ in batches] == [4, 4]
    flat = [(i, image) for batch in batches for i, image in zip(*_pair(batch), strict=True)]
    first = dict(flat[:5])
    assert set(first) == set(range(5))
    assert all(not torch.equal(image, first[i]) for i, image in flat[5:])


def _pair(batch: tuple[list[Tensor], list[Target]]) -> tuple[list[int], list[Tensor]]:
    return ids([batch])[0], batch[0]


def test_a_state_of_another_stream_is_refused(data: DetectionDataset, masked: Source) -> None:
    state = Loader(Stream(data, 4, seed=1)).state_dict()
    for stream, says in (
        (Stream(data, 3, seed=1), "batch_size was 4 and is 3"),
        (Stream(data, 4, seed=2), "seed was 1 and is 2"),
        (Stream(data, 4, seed=1, ranks=2), "ranks was 1 and is 2"),
        (Stream(DetectionDataset(real(masked)), 4, seed=1), "data was"),
    ):
        with pytest.raises(RecipeError, match=says):
            Loader(stream).load_state_dict(state)


def test_a_rank_that_cannot_be_is_refused(data: DetectionDataset) -> None:
    with pytest.raises(RecipeError, match="rank 2 of 2"):
        Stream(data, 4, rank=2, ranks=2)
