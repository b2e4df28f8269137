"""A cluster's job server in memory: what `Jobs` promises, and nothing of Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobs.cluster.api import Job, JobState, Order
from schemas.errors import ClusterError


@dataclass
class FakeJobs:
    """Jobs run until they are told what became of them (`end`). As with Ray, an id is never taken
    twice; `rivals` are called before a submission is looked at, as somebody else at that moment.
    """

    address: str = "http://head:8265"
    known: dict[str, Job] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    files: dict[str, list[str]] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)
    rivals: list[Callable[[FakeJobs], None]] = field(default_factory=list)
    breaks: int = 0
    """So many connections that follow a log break after its first piece."""

    def submit(self, order: Order) -> bool:
        if self.rivals:
            self.rivals.pop(0)(self)
        if order.id in self.known:
            return False
        self.known[order.id] = Job(order.id, "RUNNING", metadata=dict(order.metadata))
        self.orders.append(order)
        names = [p for p in sorted(order.folder.rglob("*")) if p.is_file()]
        self.files[order.id] = [p.relative_to(order.folder).as_posix() for p in names]
        return True

    def all(self) -> list[Job]:
        return list(self.known.values())

    def stop(self, job: str) -> None:
        self.end(job, "STOPPED")

    def log(self, job: str) -> str:
        return "".join(self.said.get(job, []))

    def tail(self, job: str) -> Iterator[str]:
        for i, text in enumerate(self.said.get(job, [])):
            if i and self.breaks:
                self.breaks -= 1
                raise ClusterError(f"{self.address}: connection reset")
            yield text
        yield ""

    def end(self, job: str, state: JobState, message: str = "", code: int | None = None) -> None:
        self.known[job] = replace(self.known[job], state=state, message=message, exit_code=code)


RECIPE = """
source: {shards: "s3://lab/cells/train-{000000..000003}.tar", classes: [cell]}
sink: s3://lab/woven
copies: 2
ops:
  - {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}
tracking: {uri: "https://mlflow.example.com"}
"""


def recipe_file(folder: Path, text: str = RECIPE, name: str = "cells.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path
