"""A few cases of the matrix that `python -m tests.chaos` goes through, in whole runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.arena import Arena
from tests.chaos.laws import Verdict
from tests.chaos.matrix import SCENARIOS, SELECTION
from tests.chaos.scenario import play


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    """One Ray, one S3 server and one set of undisturbed results for all."""
    with Arena(tmp_path_factory.mktemp("arena")) as arena:
        yield arena


@pytest.mark.parametrize(("name", "seed"), SELECTION)
def test_whatever_happens_nothing_is_lost_and_nothing_is_twice(
    arena: Arena, name: str, seed: int
) -> None:
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    case = play(arena, scenario, seed)
    assert case.faults > 0, f"the fault did not happen\n{case.said}"
    assert case.verdict == Verdict(), case.said
