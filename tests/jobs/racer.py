"""`python -m tests.jobs.racer FOLDER NUMBER`: one of several that track at the same moment."""

from __future__ import annotations

import sys
from pathlib import Path

import mlflow  # noqa: F401 - before the start: importing it takes longer than the race
from rich.console import Console

from jobs.tracking.run import open_tracker
from pipeline.storage.store import Store
from schemas.recipe import Tracking
from tests.jobs.mlflow_look import until


def main(folder: Path, number: str) -> None:
    """Says that it is ready, and starts when the file `go` is there."""
    (folder / f"ready-{number}").touch()
    until((folder / "go").exists)
    tracking = Tracking(uri=f"sqlite:///{folder}/mlflow.db")
    store = Store(str(folder / f"out-{number}"))
    tracker = open_tracker(tracking, "cells-1", store, Console())
    tracker.begin("cells-1", {"racer": number}, "recipe.yaml", "seed: 1\n")
    tracker.summary({f"kept-{number}": 1})
    assert tracker.courier is not None
    tracker.courier.close(300)


main(Path(sys.argv[1]), sys.argv[2])
