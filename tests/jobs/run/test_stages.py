"""What is said of the stages of a run before it starts, without Ray."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from jobs.machines import grows
from jobs.run import stages as stage_plan
from jobs.run.augment import dry_run
from jobs.run.plan import RunPlan, make_plan
from jobs.run.stages import Load, check_pools, passes, said, stage_records
from pipeline.flow.pools import Cluster, Node, Width
from schemas.errors import RecipeError
from tests.jobs.sinks import planned_run
from tests.models import tiny_denoiser, tiny_upscaler

OPS = """\
- {kind: noise_denoise, model: d, strength: 0.3, steps: 4, p: 0.5, resources: {cpus: 2}}
- {kind: super_resolve, model: u, scale: 2}
"""
TWO = Node(cpus=4, memory=2**33)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    folder = tmp_path_factory.mktemp("planned")
    tiny_denoiser(folder / "d", classes=("cell",))
    tiny_upscaler(folder / "u")
    return planned_run(folder, OPS, f"{{d: {{native: {folder}/d}}, u: {{native: {folder}/u}}}}")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(stage_plan, "this_machine", lambda: Cluster((TWO,), (TWO,)))


def dry(planned: RunPlan) -> str:
    console = Console(file=io.StringIO(), width=120)
    dry_run(planned.file, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.usefixtures("machine")
def test_a_dry_run_says_what_each_stage_asks_for_and_invents_no_seconds(planned: RunPlan) -> None:
    text = dry(planned)
    for words in (
        "noise_denoise#0   2 CPUs",
        "1 to 2",
        "2 network passes, unmeasured",
        "1 network passes, unmeasured",
        "on 1 x (4 CPUs, 0 GPUs, 8.0 GiB)",
        "bottleneck: noise_denoise#0, if a pass costs the same everywhere; unmeasured",
    ):
        assert words in text


@pytest.mark.usefixtures("machine")
def test_what_a_run_has_measured_is_what_the_next_is_told(planned: RunPlan) -> None:
    record = {"finished": "2026-01-01", "stages": stage_records(planned, 14, (1.4, 7.0))}
    planned.store.create("runs/cells-1.json", json.dumps(record).encode())
    text = dry(planned)
    assert "2 network passes, 0.1 s" in text
    assert "bottleneck: super_resolve#1, 4 copies/s at first, as measured in this sink" in text
    path = Path(planned.file.with_name("other.yaml"))
    path.write_text(planned.file.read_text().replace("steps: 4", "steps: 5"))
    text = dry(make_plan(path))  # another op is not measured by it
    assert "2.5 network passes, unmeasured" in text
    assert "1 network passes, 0.5 s" in text


@pytest.mark.usefixtures("machine")
def test_of_many_records_the_newest_are_read(planned: RunPlan) -> None:
    for number in range(stage_plan.RECORDS):
        planned.store.create(f"runs/cells-2{number:02d}.json", b'{"finished": "2026-02-01"}')
    record = {"finished": "2026-03-01", "stages": stage_records(planned, 14, (2.8, 7.0))}
    planned.store.create("runs/cells-3.json", json.dumps(record).encode())
    newest = Path(planned.recipe.sink) / "runs/cells-3.json"
    os.utime(newest, (newest.stat().st_mtime + 10,) * 2)
    assert "2 network passes, 0.2 s" in dry(planned)


@pytest.mark.usefixtures("machine")
def test_what_this_machine_cannot_hold_ends_before_ray_starts(planned: RunPlan) -> None:
    path = planned.file.with_name("large.yaml")
    path.write_text(planned.file.read_text().replace("cpus: 2", "cpus: 2, memory: 9GiB"))
    large = make_plan(path)
    with pytest.raises(RecipeError, match=r"large.yaml: ops\[0\].resources: no machine can hold"):
        check_pools(large)
    with pytest.raises(RecipeError, match=r"no machine has more than 8\.0GiB of memory"):
        dry(large)
    assert RecipeError.exit_code == 2


def test_a_wide_pool_is_no_bottleneck(planned: RunPlan) -> None:
    loads = [Load(2, 4.0), Load(1, 1.5)]
    assert "noise_denoise#0" in said(planned.recipe, [Width(1, 2, 2), Width(1, 2, 2)], loads)
    assert "super_resolve#1" in said(planned.recipe, [Width(1, 4, 4), Width(1, 1, 1)], loads)


def test_passes_are_steps_times_share(planned: RunPlan) -> None:
    assert [passes(op) for op in planned.recipe.ops] == [2.0, 1.0]


def test_nodes_that_somebody_started_by_hand_are_all_there_will_be() -> None:
    def status(*types: str) -> bytes:
        return json.dumps({"autoscaler_report": {"active_nodes": dict.fromkeys(types, 1)}}).encode()

    by_hand = f"node_{'0a' * 28}"
    assert not grows([{}], False, None)
    assert not grows([{}], False, status(by_hand, f"node_{'1b' * 28}"))
    assert grows([{}], False, status("ray.head.default"))
    assert grows([{}], True, None)
    assert grows([{"ray.io/node-group": "gpu"}], False, None)
