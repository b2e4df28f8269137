"""Carries tracking records to MLflow in a thread of its own, so that nothing ever waits for it.

`put` only appends to a list. The thread sends what is in it, in order; after two failures in a row
it says once that MLflow is away, moves what waits into the outbox, and tries again with growing
pauses. First it sends what the outbox holds from earlier commands: this run's before its new
records, others' after the first of them. `close` gives it a bounded time for the rest, and what
takes longer than a moment is in the outbox before it is waited for. A thread that hangs in a call
is left behind: it is a daemon, and what it may still send is sent again by the next command, which
does no harm. It says nothing itself: `put` and `close` do, in the thread that calls them (while Ray
starts, stderr is held back, and what was said then would be lost).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console

from jobs.tracking.mlflow_runs import MlflowRuns, be_quiet, reason, root_cause
from jobs.tracking.outbox import FOLDER, Outbox, records_in
from jobs.tracking.records import Parcel, Record, cleaned, target_of
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import Store

END_S: Final = 25.0
"""What a run waits at its end, at most. A server that hangs costs the time of one request, 10 s."""

STOP_S: Final = 5.0
"""The same where the user or the system wants the process to end."""

_MOMENT_S: Final = 2.0
_PAUSES_S: Final = (1.0, 5.0, 15.0, 60.0)
_FAILING_RUNS: Final = 3
"""Other runs that MLflow does not take; then they are left to the next command."""


@dataclass
class Courier:
    """Sends the records of one run to one MLflow. `what` goes on without it: "run"; "" if nothing
    does.
    """

    uri: str
    experiment: str
    run: str
    store: Store
    console: Console
    what: str = "run"

    runs: MlflowRuns = field(init=False)
    outbox: Outbox = field(init=False)
    _fresh: list[Record] = field(default_factory=list, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _closing: bool = field(default=False, init=False)
    _left: bool = field(default=False, init=False)
    _all_sent: bool = field(default=False, init=False)
    _away: bool = field(default=False, init=False)
    _unsaid: list[str] = field(default_factory=list, init=False)
    _failures: int = field(default=0, init=False)
    _late: int = field(default=0, init=False)
    _done: set[str] = field(default_factory=set, init=False)
    _precaution: set[str] = field(default_factory=set, init=False)
    _keeping: threading.Lock = field(default_factory=threading.Lock, init=False)
    _others_seen: bool = field(default=False, init=False)
    _behind: bool = field(default=False, init=False)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        be_quiet()
        self.runs = MlflowRuns(self.uri, self.store, self._say)
        self.outbox = Outbox(self.store, target_of(self.uri), self._say)
        self._thread = threading.Thread(target=self._work, name="mlflow courier", daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str | None:
        """MLflow's name for the run; None until it is known."""
        return self.runs.run_id(self.experiment, self.run)

    def put(self, record: Record) -> None:
        """Never waits."""
        with self._changed:
            self._fresh.append(cleaned(record))
            self._changed.notify()
        self._speak()

    def close(self, seconds: float) -> None:
        """Waits for the rest to be sent, so long at most, and says what could not be."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        try:
            self._thread.join(_MOMENT_S)
            if self._thread.is_alive():
                self._keep()
                self._thread.join(seconds - _MOMENT_S)
        finally:
            with self._changed:
                self._left = self._thread.is_alive()
            if self._all_sent:  # these too, but after the thread's last look at the outbox
                for path in self._precaution - self._done:
                    self.outbox.sent((), path)
            self._keep()
            self._tell()

    def _work(self) -> None:
        while True:
            last = self._closing
            try:
                self._send_kept(self.run)
                self._send_fresh()
            except Exception as error:  # noqa: BLE001 - stores for artifacts raise what they like
                self._failures += 1
                if self._failures > 1 or last:
                    self._say_away(error)
                    self._keep()
                if last or self._left:
                    return
                self._rest(_PAUSES_S[min(self._failures, len(_PAUSES_S)) - 1])
            else:
                self._all_sent = not self._left
                return

    def _send_fresh(self) -> None:
        """Until the courier is closed and nothing is left."""
        while records := self._next():
            self.runs.deliver(Parcel(self.experiment, self.run, records))
            self._failures = 0
            with self._changed:
                if self._left:
                    return
                del self._fresh[: len(records)]
            self.outbox.sent(records)
            self._send_others()
        self._send_others()
        if self._precaution - self._done:
            self._send_kept(self.run)

    def _next(self) -> tuple[Record, ...]:
        """What is to be sent; nothing at the end. It stays in the list until it is sent."""
        with self._changed:
            self._changed.wait_for(lambda: self._fresh or self._closing)
            return tuple(self._fresh)

    def _send_kept(self, run: str) -> None:
        for path in self.outbox.waiting(run):
            parcel = None if path in self._done else self.outbox.read(path)
            if parcel is None or self._left:
                continue
            self.runs.deliver(parcel)
            self._done.add(path)
            if self._away or path not in self._precaution:
                self._late += len(parcel.records)
            self.outbox.sent(parcel.records, path)

    def _send_others(self) -> None:
        """Once, what earlier commands have left of other runs."""
        if self._others_seen:
            return
        self._others_seen = True
        failing = 0
        for run in self.outbox.runs():
            if run == self.run or failing == _FAILING_RUNS:
                continue
            try:
                self._send_kept(run)
            except Exception as error:  # noqa: BLE001 - as above
                failing += 1
                self._behind = True
                self._say(f"MLflow does not take what waits of {run}: {reason(error)}")

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _keep(self) -> None:
        """Moves what is not sent into the outbox; where that fails it stays in memory."""
        with self._keeping:
            records = tuple(self._fresh)
            path = None
            if records:
                path = self.outbox.keep(Parcel(self.experiment, self.run, records))
            if path is None:
                return
            if self._closing:
                self._precaution.add(path)
            with self._changed:
                del self._fresh[: len(records)]

    def _say(self, text: str) -> None:
        with self._changed:
            if not (self._left and threading.current_thread() is self._thread):
                self._unsaid.append(text)

    def _speak(self) -> None:
        with self._changed:
            texts, self._unsaid = self._unsaid, []
        for text in texts:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _say_away(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            effect = f", the {self.what} goes on without it" if self.what else ""
            place = without_secrets(self.uri)
            self._say(f"MLflow is away{effect}: {place}: {reason(root_cause(error))}")

    def _tell(self) -> None:
        """At the end: what became of records that could not be sent at once."""
        if self._left and not self._away:
            self._say("MLflow does not answer in time")
        if self._late:
            self._say(f"MLflow: {_records(self._late)} that had waited sent")
        if self._left or self._away or self._behind:
            paths = set(self.outbox.all_waiting()) - self._done
            if waiting := sum(map(records_in, paths)):
                place = without_secrets(self.store.at(FOLDER))
                self._say(
                    f"MLflow: {_records(waiting)} waiting in {place}; the next command here that "
                    "reaches MLflow sends them"
                )
        if self._fresh:
            self._say(f"MLflow: {_records(len(self._fresh))} lost")
        self._speak()


def _records(count: int) -> str:
    return f"{count} record" if count == 1 else f"{count} records"
