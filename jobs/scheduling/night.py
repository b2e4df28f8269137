"""What every target needs to know of a night: the recipe, when, for how long, how often again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import available_timezones

from jobs.scheduling.cron import Cron, parse_cron
from pipeline.problems import nearest
from pipeline.recipe import FullRecipe, load_recipe
from schemas.errors import RecipeError

Files = dict[str, str]
"""The names of files, and what is in them."""

RETRY_AFTER_S: Final = 300
"""Between two attempts of one night."""

_UNITS: Final = {"m": 60, "h": 3600, "d": 86400}
_DURATION: Final = re.compile(r"([1-9][0-9]{0,5})([mhd])")
_LONGEST_NAME: Final = 40
"""KubeRay takes RayJobs of 47 characters, and its RayCronJob adds six to its own name."""


@dataclass(frozen=True)
class Night:
    """A recipe, and when it runs. `deadline_s` is for one attempt; after a failure there are
    `retries` more. What the last one leaves undone is the next night's.
    """

    file: Path
    recipe: FullRecipe
    cron: Cron
    timezone: str
    deadline_s: int
    retries: int

    @property
    def name(self) -> str:
        """What it is called wherever it runs: lower case, digits and hyphens."""
        stem = self.file.stem
        slug = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
        short = f"noiseloom-{slug}"[:_LONGEST_NAME].rstrip("-")
        if short == f"noiseloom-{stem}":
            return short
        mark = hashlib.blake2b(stem.encode(), digest_size=3).hexdigest()
        return f"{short[: _LONGEST_NAME - 7].rstrip('-')}-{mark}"

    @property
    def longest_s(self) -> int:
        """Seconds that a night may take with all its attempts."""
        return (self.retries + 1) * self.deadline_s + self.retries * RETRY_AFTER_S


def make_night(file: Path, cron: str, timezone: str, deadline: str, retries: int) -> Night:
    """The night; RecipeError where the recipe or one of these is not right."""
    recipe = load_recipe(file)
    return Night(
        file, recipe, parse_cron(cron), _zone(timezone), seconds_of(deadline, "--deadline"), retries
    )


def seconds_of(text: str, option: str) -> int:
    """`90m`, `6h`, `1d`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise RecipeError(f"{option}: {text!r} is no duration; write 90m, 6h or 1d")
    return int(found[1]) * _UNITS[found[2]]


def duration_of(seconds: int) -> str:
    """The other way round, in the largest unit that it is whole in."""
    for unit in ("d", "h", "m"):
        if seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds} s"


def _zone(name: str) -> str:
    zones = available_timezones()
    if name not in zones:
        hint = " ".join(nearest(name, zones)) or "names are those of the IANA database"
        raise RecipeError(f"--timezone: there is no zone {name!r}; {hint}, as Europe/Berlin or UTC")
    return name
