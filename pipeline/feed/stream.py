"""The batches of an epoch, as an IterableDataset: over ranks and workers, shuffled, from any batch.

Each rank has a stretch of the epoch's order and cuts it into batches; its workers take these in
turn, and torch's loader gives them out in turn. So a training loop sees the same batches in the
same order however many workers there are, and an epoch can go on from any batch. A batch is a list
of images and a list of targets, as torchvision's detectors take them: sizes may differ.

Random transforms of torch draw from a generator that is seeded for each sample by seed, epoch and
place: what comes out does not depend on workers or on a restart either. The global generator is
left as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from pipeline.feed.mix import Numbered
from pipeline.feed.order import Order, Uneven, places
from pipeline.seeds import noise_seed, rng_for
from schemas.errors import RecipeError

TargetT = TypeVar("TargetT")
Batch = tuple[list[Tensor], list[TargetT]]


class Stream(IterableDataset[Batch[TargetT]], Generic[TargetT]):
    """Batches of this rank's samples. `uneven`: what becomes of samples that do not fill a batch on
    every rank: `keep` (every sample once; ranks may differ by a batch, which torch's
    DistributedDataParallel only takes within `join()`), `repeat` some, or `drop` them.

    `epoch` and `first` (batch) say what the next iteration gives; `Loader` keeps them.
    """

    def __init__(
        self,
        data: Numbered[TargetT],
        batch_size: int,
        *,
        seed: int = 0,
        rank: int = 0,
        ranks: int = 1,
        uneven: Uneven = "keep",
    ) -> None:
        if batch_size < 1 or not 0 <= rank < ranks:
            raise RecipeError(f"stream: batch_size {batch_size}, rank {rank} of {ranks}")
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.rank, self.ranks, self.uneven = rank, ranks, uneven
        self.epoch, self.first = 0, 0

    def __len__(self) -> int:
        return len(self._batches(self._order()))

    def __iter__(self) -> Iterator[Batch[TargetT]]:
        order = self._order()
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        for batch in self._batches(order)[self.first + worker :: workers]:
            items = [self._item(order, int(place)) for place in batch]
            yield [image for image, _ in items], [target for _, target in items]

    def _order(self) -> Order:
        return self.data.order(self.seed, self.epoch)

    def _batches(self, order: Order) -> list[Order]:
        """All of this rank's, by their places in the order."""
        mine = places(len(order), self.rank, self.ranks, self.batch_size, self.uneven)
        return [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]

    def _item(self, order: Order, place: int) -> tuple[Tensor, TargetT]:
        rng = rng_for(self.seed, str(place), self.epoch, "transforms")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise_seed(rng))
            return self.data[int(order[place % len(order)])]
