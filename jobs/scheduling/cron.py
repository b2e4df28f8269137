"""Cron expressions, read strictly: only what Kubernetes, cron and systemd all mean the same by.

Five fields, `*`, numbers, names (`mon`, `jan`), ranges, lists and steps; Sunday is 0 or 7. An
extension that one of them does not know (`@daily`, `L`, `#`, `?`, seconds, `22-2`, `5/10`) is
refused by name. So is a step over days (`*/2`) beside the other day field: cron and Kubernetes
disagree whether either day or both must fit. Where both day fields are given without such a step,
either is enough, everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from pipeline.problems import listed, nearest
from schemas.errors import RecipeError

MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

_ITEM: Final = re.compile(r"(\*|[0-9]{1,4}|[a-z]{3})(?:-([0-9]{1,4}|[a-z]{3}))?(?:/([0-9]{1,4}))?")
_MACROS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_YEARS: Final = (date(2024, 1, 1), date(2032, 1, 1))
"""Two leap years, and every date on several weekdays."""

DST: Final = 3600
"""Seconds that the day is shorter on which summer time begins."""


@dataclass(frozen=True)
class _Kind:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def number(self, word: str, item: str) -> int:
        """A number or a name; RecipeError where it is none of this field."""
        if not word.isdigit():
            if word not in self.names:
                known = (*nearest(word, self.names), f"names: {listed(self.names)}")
                hint = "; ".join(known) if self.names else "this field has numbers only"
                raise RecipeError(f"--cron: {self.name}: {item!r}: there is no {word!r}; {hint}")
            return self.names.index(word) + self.least
        if not self.least <= int(word) <= self.most:
            raise RecipeError(
                f"--cron: {self.name}: {item!r}: {word} is not in {self.least} to {self.most}"
            )
        return int(word)


_KINDS: Final = (
    _Kind("minute", 0, 59),
    _Kind("hour", 0, 23),
    _Kind("day of month", 1, 31),
    _Kind("month", 1, 12, MONTHS),
    _Kind("day of week", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True)
class Field:
    """One field: its values, in order, and how all targets write it. `star`: it restricts nothing;
    `step`: it has a `*/`.
    """

    values: tuple[int, ...]
    text: str
    star: bool
    step: bool


@dataclass(frozen=True)
class Cron:
    """A schedule. `text` is how it is written for cron and Kubernetes: numbers only."""

    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field

    @property
    def text(self) -> str:
        """The five fields."""
        fields = (self.minute, self.hour, self.day, self.month, self.weekday)
        return " ".join(field.text for field in fields)

    @property
    def either_day(self) -> bool:
        """Both day fields are given: a day fits if either does."""
        return not self.day.star and not self.weekday.star

    def fits(self, day: date) -> bool:
        """Whether there is a night on this day."""
        if day.month not in self.month.values:
            return False
        monthday = day.day in self.day.values
        weekday = day.isoweekday() % 7 in self.weekday.values
        return (monthday or weekday) if self.either_day else (monthday and weekday)

    def shortest_gap_s(self) -> int:
        """Seconds between two starts, at the least; an hour less where the clocks may go forward
        between them.
        """
        moments = sorted(60 * h + m for h in self.hour.values for m in self.minute.values)
        within = [later - sooner for sooner, later in pairwise(moments)]
        over_night = [(gap * 1440) + moments[0] - moments[-1] for gap in self._days_between()]
        gap = 60 * min((*within, *over_night))
        return gap - DST if gap > DST else gap

    def _days_between(self) -> set[int]:
        days = list(self._days())
        return {(later - sooner).days for sooner, later in pairwise(days)}

    def _days(self) -> Iterator[date]:
        day, end = _YEARS
        while day < end:
            if self.fits(day):
                yield day
            day += timedelta(days=1)


def parse_cron(text: str) -> Cron:
    """The schedule; RecipeError, in one line, where one of the targets would not take it."""
    words = text.lower().split()
    if text.strip().startswith("@"):
        known = _MACROS.get(text.strip().lower())
        hint = f"write {known!r}" if known else "write its five fields"
        raise RecipeError(f"--cron: {text!r}: systemd has no such word; {hint}")
    if len(words) != len(_KINDS):
        says = "minute, hour, day of month, month, day of week"
        raise RecipeError(f"--cron: {text!r} has {len(words)} fields; there are five: {says}")
    cron = Cron(*(_field(kind, word) for kind, word in zip(_KINDS, words, strict=True)))
    if cron.either_day and (cron.day.step or cron.weekday.step):
        step = cron.day.text if cron.day.step else cron.weekday.text
        raise RecipeError(
            f"--cron: {text!r}: {step} beside the other day field: cron runs where both fit, "
            "Kubernetes where either does; write the days out, as 1,3,5"
        )
    if not any(True for _ in cron._days()):
        raise RecipeError(f"--cron: {text!r}: there is no such day: it would never run")
    return cron


def _field(kind: _Kind, word: str) -> Field:
    items = word.split(",")
    spans = [_span(kind, item) for item in items]
    if "*" in items or "*/1" in items:
        return Field(_distinct(kind, [range(kind.least, kind.most + 1)]), "*", True, False)
    values, step = _distinct(kind, spans), any(item.startswith("*/") for item in items)
    return Field(values, word if step and len(items) == 1 else _listed(values), False, step)


def _distinct(kind: _Kind, spans: list[range]) -> tuple[int, ...]:
    weekday = kind.names == WEEKDAYS  # Sunday is 0 and 7
    return tuple(sorted({value % 7 if weekday else value for span in spans for value in span}))


def _span(kind: _Kind, item: str) -> range:
    """The values of one item of a list."""
    found = _ITEM.fullmatch(item)
    if found is None or (found[1] == "*" and found[2]):
        says = "numbers, names, *, ranges as 1-5 and steps as */15 or 0-30/10, with commas between"
        raise RecipeError(f"--cron: {kind.name}: {item!r} is not one of: {says}")
    first, last, step = found[1], found[2], found[3]
    if first == "*":
        most = 6 if kind.names == WEEKDAYS else kind.most
        start, end = kind.least, most
    else:
        start = kind.number(first, item)
        end = kind.number(last, item) if last else start
        if step and not last:
            says = f"a step needs a range, as {first}-{kind.most}/{step} or */{step}"
            raise RecipeError(f"--cron: {kind.name}: {item!r}: {says}")
    if end < start and last == "sun":
        end = 7
    if end < start:
        says = f"is backwards; write {first}-{kind.most},{kind.least}-{last}"
        raise RecipeError(f"--cron: {kind.name}: {item!r} {says}")
    if step and not 1 <= int(step) <= kind.most:
        raise RecipeError(f"--cron: {kind.name}: {item!r}: no step of {step} in 1 to {kind.most}")
    return range(start, end + 1, int(step or 1))


def runs(values: tuple[int, ...]) -> list[tuple[int, int]]:
    """`(1, 2, 3, 7)` -> `[(1, 3), (7, 7)]`; two in a row stay two."""
    found: list[tuple[int, int]] = []
    for value in values:
        if found and value == found[-1][1] + 1:
            found[-1] = (found[-1][0], value)
        else:
            found.append((value, value))
    return [
        part
        for first, last in found
        for part in ([(first, first), (last, last)] if last == first + 1 else [(first, last)])
    ]


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs(values))
