"""Randomness by name: a draw depends on nothing but the run's seed, the sample's key, the copy and
the step.

Not on the worker, the batch or the order. Noise tensors come from a seed that an op's draw holds,
so that a row of the index is all that is needed to make a sample again.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray


def rng_for(seed: int, key: str, copy: int, step: str) -> Generator:
    """The generator of one step on one copy of one sample."""
    name = f"{seed}\x1f{key}\x1f{copy}\x1f{step}".encode()
    return Generator(
        Philox(key=int.from_bytes(hashlib.blake2b(name, digest_size=16).digest(), "little"))
    )


def noise_seed(rng: Generator) -> int:
    """A seed to put into a draw; 53 bits, so that it survives any JSON reader."""
    return int(rng.integers(2**53))


def gaussian(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal noise of this seed, float32."""
    return Generator(Philox(key=seed)).standard_normal(shape, dtype=np.float32)
