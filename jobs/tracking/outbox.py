"""Tracking records that could not be sent, kept in the sink until a command reaches MLflow again.

    tracking/<run>/<n>.<target>.<records in it>.json     created, never replaced; deleted once sent

A run's parcels are sent in the order of their numbers. `target` names the MLflow that they are for
(`target_of`), so that commands of other recipes send them too, but never to the wrong place.
Trouble with the sink is said once, and costs the records, not the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from jobs.tracking.records import Parcel, Picture, Record
from pipeline.storage.secrets import without_secrets
from pipeline.storage.store import Store

FOLDER = "tracking"

_NAME = re.compile(r"(\d+)\.([0-9a-f]{8})\.(\d+)\.json")


@dataclass
class Outbox:
    """The waiting records for one MLflow in one store. `say` tells the user something."""

    store: Store
    target: str
    say: Callable[[str], None]
    _troubled: bool = field(default=False, init=False)

    def runs(self) -> list[str]:
        """The runs for which something waits here for this MLflow."""
        return sorted({path.split("/")[1] for path in self.all_waiting()})

    def waiting(self, run: str) -> list[str]:
        """The paths of a run's parcels, in the order in which they are to be sent."""
        return sorted(self._all(run), key=lambda path: (_number(path), path))

    def all_waiting(self) -> list[str]:
        """The paths of all parcels for this MLflow."""
        return self._all("")

    def keep(self, parcel: Parcel) -> str | None:
        """Writes the parcel behind the others of its run; None where the sink does not take it."""
        folder = f"{FOLDER}/{parcel.run}"
        data = parcel.to_json()
        try:
            number = max(map(_number, self.store.list(folder)), default=0) + 1
            while not self.store.create(path := self._path(parcel, number), data):
                number += 1
        except OSError as error:
            self._trouble(error)
            return None
        return path

    def keep_picture(self, run: str, name: str, png: bytes) -> str | None:
        """Puts a picture that has no place of its own yet where `Picture` can name it."""
        path = f"{FOLDER}/{run}/{name.replace('/', '-')}"
        try:
            self.store.create(path, png)
        except OSError as error:
            self._trouble(error)
            return None
        return path

    def read(self, path: str) -> Parcel | None:
        """A parcel; None where it is gone or cannot be read, which is said."""
        try:
            return Parcel.from_json(self.store.read(path))
        except FileNotFoundError:
            return None  # another command has sent it
        except OSError as error:
            self._trouble(error)
        except ValueError:
            self.say(f"{without_secrets(self.store.at(path))}: no tracking records; delete it")
        return None

    def sent(self, records: Iterable[Record], path: str | None = None) -> None:
        """Deletes a parcel whose records have been sent, and pictures that waited with them."""
        held = [record.path for record in records if isinstance(record, Picture)]
        try:
            for name in [*([] if path is None else [path]), *held]:
                if name.startswith(f"{FOLDER}/"):
                    self.store.delete(name)
        except OSError as error:
            self._trouble(error)

    def _path(self, parcel: Parcel, number: int) -> str:
        name = f"{number:06d}.{self.target}.{len(parcel.records)}.json"
        return f"{FOLDER}/{parcel.run}/{name}"

    def _all(self, run: str) -> list[str]:
        try:
            names = self.store.list(f"{FOLDER}/{run}".rstrip("/"))
        except OSError as error:
            self._trouble(error)
            return []
        found = [(name, _NAME.fullmatch(name.rpartition("/")[2])) for name in names]
        return [name for name, match in found if match and match[2] == self.target]

    def _trouble(self, error: OSError) -> None:
        if not self._troubled:
            self._troubled = True
            place = without_secrets(self.store.at(FOLDER))
            self.say(f"{place}: tracking records cannot be kept: {without_secrets(str(error))}")


def records_in(path: str) -> int:
    """How many records a parcel holds, by its name."""
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return int(match[3]) if match else 0


def _number(path: str) -> int:
    match = _NAME.fullmatch(path.rpartition("/")[2])
    return int(match[1]) if match else 0
