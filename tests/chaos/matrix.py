"""All scenarios, by the number that issue 4 gives to each fault."""

from __future__ import annotations

from typing import Final

from tests.chaos import kills
from tests.chaos.arena import Kind
from tests.chaos.scenario import Scenario

EMBEDDED: Final = Kind(embedded=True)

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario("kill_driver", 1, kills.kill_driver_by_commits),
    Scenario("kill_driver_embedded", 1, kills.kill_driver_by_commits, EMBEDDED),
    Scenario("kill_driver_by_time", 1, kills.kill_driver_by_time),
    Scenario("kill_in_publishing", 1, kills.kill_in_the_publishing),
    Scenario("kill_writer", 1, kills.kill_writer),
    Scenario("kill_actor", 1, kills.kill_actor),
    Scenario("crash_at_step", 2, kills.crash_at_a_step),
    Scenario("killer_sample", 7, kills.killer_sample),
    Scenario("terminate", 9, kills.terminate),
)
