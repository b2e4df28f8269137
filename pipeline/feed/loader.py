"""Epoch after epoch of a stream, through worker processes, from where a checkpoint left off.

    loader = Loader(Stream(data, batch_size=4, seed=7, rank=rank, ranks=ranks), workers=2)
    loader.load_state_dict(checkpoint["feed"])      # when going on
    while loader.epoch < EPOCHS:
        for images, targets in loader:              # the rest of this epoch
            step(images, targets)
            save(model, feed=loader.state_dict())

What counts are the batches that were handed out, not those that workers have read ahead.

Workers are forked where all samples are on this machine's disk. An object store is read by threads
that a fork leaves behind: then workers come from a fork server, with the environment of now, so
transforms must be importable, and a script needs its `if __name__ == "__main__":`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping
from functools import partial
from multiprocessing.context import BaseContext
from typing import Final, Generic, TypeVar

import torch
from torch.utils.data import DataLoader

from pipeline.feed.stream import Batch, Stream
from schemas.errors import RecipeError

TargetT = TypeVar("TargetT")
State = dict[str, int | str]

PRELOADED: Final = ["pipeline.feed"]
"""What the fork server imports, torch with it: once, and not in every worker."""


class Loader(Generic[TargetT]):
    """Iterating gives the batches of an epoch that are left; after them comes the next epoch."""

    def __init__(
        self, stream: Stream[TargetT], *, workers: int = 0, pin_memory: bool = False
    ) -> None:
        self._stream, self._workers, self._pin_memory = stream, workers, pin_memory
        self.epoch, self.done = 0, 0

    def __len__(self) -> int:
        """Batches of the epoch, those done included."""
        self._stream.epoch = self.epoch
        return len(self._stream)

    def __iter__(self) -> Iterator[Batch[TargetT]]:
        self._stream.epoch, self._stream.first = self.epoch, self.done
        batches: DataLoader[Batch[TargetT]] = DataLoader(
            self._stream,
            batch_size=None,  # the stream makes batches
            num_workers=self._workers,
            collate_fn=_as_it_is,  # type: ignore[arg-type]  # it is given one batch
            pin_memory=self._pin_memory,
            multiprocessing_context=self._context(),
            worker_init_fn=partial(_in_environment, dict(os.environ)),
            generator=torch.Generator(),  # the global one stays as it is
        )
        for batch in batches:
            self.done += 1
            yield batch
        self.epoch, self.done = self.epoch + 1, 0

    def _context(self) -> BaseContext | None:
        if not self._workers or self._stream.data.local:
            return None
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        return context

    def state_dict(self) -> State:
        """Where it is, after the batch handed out last: plain numbers and text."""
        return {"epoch": self.epoch, "done": self.done, **self._fixed()}

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Goes on from there; RecipeError where the epoch would not be the same any more."""
        for name, value in self._fixed().items():
            if state.get(name) != value:
                raise RecipeError(
                    f"feed: {name} was {state.get(name)} and is {value}: the epoch would go on "
                    "with other batches; start from an epoch's beginning (set `epoch`), or undo it"
                )
        self.epoch, self.done = int(state["epoch"]), int(state["done"])

    def _fixed(self) -> State:
        stream = self._stream
        return {
            "seed": stream.seed,
            "batch_size": stream.batch_size,
            "rank": stream.rank,
            "ranks": stream.ranks,
            "uneven": stream.uneven,
            "data": stream.data.digest,
        }


def _in_environment(variables: Mapping[str, str], worker: int) -> None:
    """A fork server has that of its start: perhaps no credentials, or those of yesterday."""
    os.environ.update(variables)


def _as_it_is(batch: Batch[TargetT]) -> Batch[TargetT]:
    return batch
