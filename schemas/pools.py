"""What the actors of one pool ask for: of the recipe as a whole, and of an op that has its own."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from schemas.spec import Spec

_UNITS: Final = {"MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(MiB|GiB|TiB)")


def _size(text: str) -> str:
    found = _SIZE.fullmatch(text)
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no size; write 8GiB or 900MiB")
    return text


Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$")]
"""The value of a label, or the name of an accelerator."""

LabelName = Annotated[
    str, StringConstraints(pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})$")
]


class PoolSpec(Spec):
    """What the actors that run ops ask for: GPUs (fractions, too), CPUs and memory each, the type
    of their accelerator, labels of their nodes; and how many of them there are, `[min, max]`.
    """

    gpus: float = Field(0, ge=0)
    cpus: float = Field(1, gt=0)
    memory: Annotated[str, AfterValidator(_size)] | None = Field(None, description="8GiB, 900MiB")
    accelerator: Word | None = Field(None, description="as Ray calls it: L4, A100, H100")
    labels: dict[LabelName, Word] = Field(default_factory=dict, description="of Ray's nodes")
    pool: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = (1, 2)

    @model_validator(mode="after")
    def _possible(self) -> PoolSpec:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus is {self.gpus:g}: above 1 there are whole GPUs only")
        if self.accelerator is not None and not self.gpus:
            raise ValueError(f"accelerator is {self.accelerator}, and gpus is 0: say how many")
        return self

    @property
    def memory_bytes(self) -> int:
        """What one actor reserves; 0 where the recipe does not say."""
        found = _SIZE.fullmatch(self.memory or "")
        return int(float(found[1]) * _UNITS[found[2]]) if found else 0
