"""A run in MLflow: what it was made of, how it goes, what it looks like.

    parameters   digest, seed, copies, models, versions     inputs    source and output as datasets
    metrics      counts and images/s, by chunks committed   artifacts recipe.yaml, contact sheet
    tags         the verdict that publishing asked for

MLflow never holds a run up, and loses nothing of it: what is recorded is plain values
(`records`), which a thread carries over (`courier`, `mlflow_runs`); what MLflow does not
take is kept in the sink (`outbox`) until the next command that reaches it. At its end a run waits
25 s for it at most. Secrets do not get there: they are cut out of every record
(`pipeline/storage/secrets.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from jobs.run.live import Pace, Tally
from jobs.run.plan import RunPlan
from jobs.tracking.courier import END_S, STOP_S, Courier
from jobs.tracking.outbox import Outbox
from jobs.tracking.records import (
    Begun,
    Dataset,
    Ended,
    Picture,
    Record,
    Status,
    Tags,
    Text,
    metrics,
    target_of,
)
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import Store
from schemas.recipe import Tracking, digest_of


@dataclass(frozen=True)
class Tracker:
    """Records one MLflow run, or nothing where tracking is off. No method waits for MLflow."""

    courier: Courier | None = None

    @property
    def run_id(self) -> str | None:
        """MLflow's name for the run; None until it is known."""
        return None if self.courier is None else self.courier.run_id

    def progress(self, tally: Tally, pace: Pace) -> None:
        """Counts and throughput, at this number of committed chunks."""
        values = {
            "kept": tally.kept,
            "rejected": tally.rejected,
            "failed": tally.failed,
            "images_per_second": pace.rate,
        }
        self.metrics(values, tally.committed)

    def summary(self, values: Mapping[str, float]) -> None:
        """Figures of the whole run."""
        self.metrics(values, 0)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at one step."""
        self._put(metrics(values, step))

    def picture(self, name: str, path: str) -> None:
        """A picture that is in the store already, among the run's artifacts."""
        self._put(Picture(name, path))

    def new_picture(self, name: str, png: bytes) -> None:
        """A picture that is nowhere else: it is in the store until it is sent."""
        if self.courier is not None:
            path = self.courier.outbox.keep_picture(self.courier.run, name, png)
            if path is not None:
                self._put(Picture(name, path))

    def text(self, name: str, text: str) -> None:
        """A text file among the run's artifacts."""
        self._put(Text(name, text))

    def tags(self, values: Mapping[str, str]) -> None:
        """Words about the run, to search for."""
        self._put(Tags(values=dict(values)))

    def output(self, url: str, digest: str) -> None:
        """The published index as a dataset."""
        self._put(Dataset(url, digest, "output"))

    def begin(self, title: str, params: Mapping[str, str], name: str, text: str) -> None:
        """What the run is made of: `text` is the file that says so, `name` its name."""
        self._put(Begun(title, dict(params)))
        self._put(Text(name, text))

    def end(self, status: Status) -> None:
        """The run ends; what is not sent within seconds is kept."""
        self._put(Ended(status))
        if self.courier is not None:
            self.courier.close(STOP_S if status == "KILLED" else END_S)

    def _put(self, record: Record) -> None:
        if self.courier is not None:
            self.courier.put(record)


@contextmanager
def tracked(
    tracking: Tracking, planned: RunPlan, versions: Mapping[str, str], console: Console
) -> Iterator[Tracker]:
    """The run's tracker; the MLflow run ends with the block, however that ends."""
    tracker = open_tracker(tracking, planned.run, planned.store, console)
    if tracker.courier is not None:
        text = planned.recipe_text()
        tracker.begin(planned.run, _params(planned, versions), "recipe.yaml", text)
        contents = digest_of([shard.content for shard in planned.shards])
        shards = ", ".join(planned.recipe.source.shards)
        tracker._put(Dataset(shards, contents, "source"))
    with ended(tracker):
        yield tracker


def open_tracker(
    tracking: Tracking, run: str, store: Store, console: Console, what: str = "run"
) -> Tracker:
    """A tracker that keeps in `store` what MLflow does not take."""
    if tracking.uri is None:
        return Tracker()
    return Tracker(Courier(tracking.uri, tracking.experiment, run, store, console, what))


@contextmanager
def ended(tracker: Tracker) -> Iterator[None]:
    """The MLflow run ends with the block, as the block does."""
    status: Status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        tracker.end(status)


def deliver_waiting(tracking: Tracking, run: str, store: Store, console: Console) -> None:
    """Sends what earlier commands have kept, this run's first, where there is any."""
    uri = tracking.uri
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    if uri is not None and Outbox(store, target_of(uri), say).all_waiting():
        Courier(uri, tracking.experiment, run, store, console, what="").close(END_S)


def look_command(tracking: Tracking) -> str | None:
    """How to look at the runs; None where a server shows them, or there are none."""
    uri = tracking.uri
    if uri is None or uri.startswith(("http://", "https://")):
        return None
    return f"mlflow ui --backend-store-uri {without_secrets(uri)}"


def _params(planned: RunPlan, versions: Mapping[str, str]) -> dict[str, str]:
    recipe = planned.recipe
    return {
        "recipe": planned.digest,
        "seed": str(recipe.seed),
        "copies": str(recipe.copies),
        "chunk_size": str(recipe.chunk_size),
        "ops": " > ".join(op.kind for op in recipe.ops),
        "sink": recipe.sink,
        **{f"model.{name}": digest for name, digest in planned.models.items()},
        **{f"version.{name}": version for name, version in versions.items()},
    }
