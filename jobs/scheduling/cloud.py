"""What a cluster is told besides the recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from schemas.errors import RecipeError

_IMAGE: Final = re.compile(r"[a-z0-9][a-zA-Z0-9._:/-]*@sha256:[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SIZE: Final = re.compile(r"[1-9][0-9]{0,5}(Mi|Gi)")
_LABEL: Final = re.compile(
    r"(?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?"
    r"=[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?"
)


@dataclass(frozen=True)
class Cloud:
    """Facts of the cluster that no recipe knows. `nodes` and `spot` are labels, `name=value`, of
    the nodes that workers run on; `memory` is one worker's.
    """

    image: str
    namespace: str = "noiseloom"
    secrets: tuple[str, ...] = ()
    models_claim: str = "noiseloom-models"
    nodes: str | None = None
    spot: str | None = None
    memory: str | None = None

    def __post_init__(self) -> None:
        if not _IMAGE.fullmatch(self.image):
            raise RecipeError(
                f"--image: {self.image!r}: a tag is another image tomorrow; name it by its digest, "
                "as registry/noiseloom@sha256:... (docker buildx imagetools inspect tells it)"
            )
        named = [
            ("--namespace", self.namespace, _SPACE),
            ("--models-claim", self.models_claim, _NAME),
            *(("--secret", name, _NAME) for name in self.secrets),
        ]
        for option, name, legal in named:
            if not legal.fullmatch(name):
                raise RecipeError(f"{option}: {name!r} is no name: lower case, digits and hyphens")
        for option, label in (("--nodes", self.nodes), ("--spot", self.spot)):
            if label is not None and not _LABEL.fullmatch(label):
                raise RecipeError(f"{option}: {label!r} is no label of nodes; write name=value")
        if self.memory is not None and not _SIZE.fullmatch(self.memory):
            raise RecipeError(f"--memory: {self.memory!r} is no size; write 24Gi or 900Mi")
