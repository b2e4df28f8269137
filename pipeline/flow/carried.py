"""Errors with a message for the user on their way from a worker to the driver, through Ray.

Ray pickles what a task raises and writes advice about itself into it. `carried` packs our errors
up in the worker, so that the driver finds in them exactly what was raised.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import NoiseloomError


class CarriedError(Exception):
    """An error with a message for the user on its way to the driver.

    Ray appends advice about itself to the first argument of what a task raises: this one has none.
    """

    def __init__(self, error: NoiseloomError) -> None:
        super().__init__()
        self.error = error

    def __reduce__(self) -> tuple[type[CarriedError], tuple[NoiseloomError]]:
        return CarriedError, (self.error,)


@contextmanager
def carried() -> Iterator[None]:
    """An error with a message for the user leaves the block as one that Ray carries unchanged."""
    try:
        yield
    except NoiseloomError as error:
        raise CarriedError(error) from None
