"""What is recorded of a run, as plain values: what MLflow is to hold, not how it gets there.

    Begun      a session starts: title and parameters    Text, Picture   artifacts
    Dataset    what was read, and what was written       Ended           how the session ended
    Metrics    numbers at a step, with their time        Tags            words about the run

Every record holds its own time, step or name, so that sending it twice, or years later, leaves the
same run. A picture is named by its place in the store, not held. `cleaned` is the door: no secret
is in a record that has passed it. A parcel is what one file of the outbox holds, as JSON.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, PlainSerializer, TypeAdapter

from pipeline.storage.secrets import without_secrets
from schemas.recipe import digest_of

Status = Literal["FINISHED", "FAILED", "KILLED"]

# JSON has no NaN, and a loss can be one
Number = Annotated[float, PlainSerializer(lambda x: x if math.isfinite(x) else str(x))]


def now_ms() -> int:
    """The time, as MLflow counts it."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Begun:
    """A session of a run starts."""

    title: str
    params: dict[str, str]
    time_ms: int = field(default_factory=now_ms)
    kind: Literal["begun"] = "begun"


@dataclass(frozen=True)
class Text:
    """A text file among the artifacts."""

    name: str
    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Picture:
    """A picture among the artifacts; `path` is its place in the store."""

    name: str
    path: str
    kind: Literal["picture"] = "picture"


@dataclass(frozen=True)
class Dataset:
    """A dataset that the run reads or writes, by its URL and a digest of its content."""

    url: str
    digest: str
    context: str
    kind: Literal["dataset"] = "dataset"


@dataclass(frozen=True)
class Metrics:
    """Numbers at one step."""

    values: dict[str, Number]
    step: int
    time_ms: int = field(default_factory=now_ms)
    kind: Literal["metrics"] = "metrics"


@dataclass(frozen=True)
class Tags:
    """Words about the run, to search for."""

    values: dict[str, str]
    kind: Literal["tags"] = "tags"


@dataclass(frozen=True)
class Ended:
    """A session of a run ends."""

    status: Status
    time_ms: int = field(default_factory=now_ms)
    kind: Literal["ended"] = "ended"


Record: TypeAlias = Begun | Text | Picture | Dataset | Metrics | Tags | Ended


@dataclass(frozen=True)
class Parcel:
    """Records of one run that go to one MLflow, in order."""

    experiment: str
    run: str
    records: tuple[Annotated[Record, Field(discriminator="kind")], ...]

    def to_json(self) -> bytes:
        """As the outbox keeps it."""
        return _PARCEL.dump_json(self, indent=1) + b"\n"

    @staticmethod
    def from_json(data: bytes) -> Parcel:
        """Raises ValueError where this is no parcel."""
        return _PARCEL.validate_json(data)


_PARCEL: Final = TypeAdapter(Parcel)


def cleaned(record: Record) -> Record:
    """The record without secrets, in whichever of its parts a user could have put one."""
    match record:
        case Begun():
            params = {name: without_secrets(value) for name, value in record.params.items()}
            return replace(record, title=without_secrets(record.title), params=params)
        case Text():
            return replace(record, text=without_secrets(record.text))
        case Dataset():
            return replace(record, url=without_secrets(record.url))
        case Tags():
            values = {name: without_secrets(value) for name, value in record.values.items()}
            return replace(record, values=values)
        case _:
            return record


def metrics(values: Mapping[str, float], step: int) -> Metrics:
    """Numbers as of now."""
    return Metrics({name: float(value) for name, value in values.items()}, step)


def target_of(uri: str) -> str:
    """8 hex digits that name an MLflow without telling its address. Who signs in does not matter:
    with another password it is the same MLflow.
    """
    place = without_secrets(uri)
    scheme, separator, path = place.partition(":///")
    if scheme in ("sqlite", "file") and separator:
        place = f"{scheme}:///{Path(path).absolute()}"
    return digest_of(place)[:8]
