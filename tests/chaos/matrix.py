"""All scenarios, by the number that issue 4 gives to each fault; 0: two at a time on one sink."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.chaos import disks, kills, races, sick_models, storage, tracking
from tests.chaos.scenario import Scenario
from tests.chaos.stage import Kind

EMBEDDED: Final = Kind(embedded=True)
S3: Final = Kind(store="s3")
SMALL: Final = Kind(store="small")
MODELS: Final = Kind(ops="models")
THREE_SHARDS: Final = Kind(shards=("train-*", "other-0"))
TWO_NODES: Final = Kind(store="s3", pool="[2, 2]", second_node=True)
FULL_NODES: Final = replace(TWO_NODES, pool="[5, 5]")  # more than the CPUs of the node that is left

SELECTION: Final = (("s3_storm_and_kill", 3),)
"""What `make test` does of it, with which seeds: what no other test causes. Overlapping plans and
kills in the publishing are in test_two_runs.py and test_commit_faults.py, without whole runs.
"""

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario("kill_driver", 1, kills.kill_driver_by_commits),
    Scenario("kill_driver_embedded", 1, kills.kill_driver_by_commits, EMBEDDED),
    Scenario("kill_driver_by_time", 1, kills.kill_driver_by_time),
    Scenario("kill_in_publishing", 1, kills.kill_in_the_publishing),
    Scenario("kill_writer", 1, kills.kill_writer),
    Scenario("kill_actor", 1, kills.kill_actor),
    Scenario("kill_node", 1, kills.kill_node, TWO_NODES),
    Scenario("kill_node_full_pool", 1, kills.kill_node, FULL_NODES),
    Scenario("kill_raylet", 1, kills.kill_raylet, EMBEDDED),
    Scenario("crash_at_step", 2, kills.crash_at_a_step),
    Scenario("zombie_writer", 3, races.zombie_writer, EMBEDDED),
    Scenario("zombie_writer_s3", 3, races.zombie_on_s3, replace(S3, embedded=True)),
    Scenario("zombie_driver", 3, races.zombie_driver),
    Scenario("s3_storm", 4, storage.storm, S3),
    Scenario("s3_storm_and_kill", 4, storage.storm_and_kill, S3),
    Scenario("s3_lost_puts", 4, storage.lost_puts, S3),
    Scenario("s3_outage", 4, storage.outage, S3),
    Scenario("full_disk", 5, disks.full_disk, SMALL),
    Scenario("full_spill_disk", 5, disks.full_spill_disk, Kind(small_spill=True)),
    Scenario("mlflow_refused", 6, tracking.refused, tracked=True),
    Scenario("mlflow_hung", 6, tracking.hung, tracked=True),
    Scenario("mlflow_gone", 6, tracking.gone, tracked=True),
    Scenario("killer_sample", 7, kills.killer_sample),
    Scenario("out_of_memory", 8, sick_models.out_of_memory, MODELS),
    Scenario("no_memory_at_all", 8, sick_models.no_memory_at_all, MODELS),
    Scenario("not_a_number", 8, sick_models.not_a_number, MODELS),
    Scenario("black_output", 8, sick_models.black, MODELS),
    Scenario("terminate", 9, kills.terminate),
    Scenario("read_only_sink", 10, disks.read_only_sink, SMALL),
    Scenario("s3_refusal", 10, storage.refusal, S3),
    Scenario("jumping_clock", 10, races.jumping_clock),
    Scenario("same_plan_twice", 0, races.same_plan_twice),
    Scenario("overlapping_plans", 0, races.overlapping_plans, THREE_SHARDS),
    Scenario("gc_during_a_run", 0, races.gc_during_a_run),
)
