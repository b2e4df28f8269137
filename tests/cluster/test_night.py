"""A night on a real cluster: its folder as a pod has it, handed in as KubeRay hands it in.

KubeRay (1.6) is not here, but what it does is one command line in the submitter's pod, which is run
here against two nodes. The chunks are woven beforehand; Ray is asked for the students of the lift
test, on whichever node, which read the recipe of their arm from the folder.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from jobs.history import nights
from jobs.run.plan import make_plan
from jobs.scheduling.kubernetes import render_kubernetes
from pipeline.storage.store import Store
from tests.cluster.nodes import Cluster, two_nodes
from tests.jobs.scheduling.lift_recipes import in_pod, job_of, write
from tests.jobs.scheduling.nights import cloud, night
from tests.jobs.sinks import weave
from tests.pipeline.lift.discs import write_discs
from tests.s3.server import FOREIGN, S3

PATIENCE_S = 900
COMMAND = (
    "if ! ray job status --address {address} {job} >/dev/null 2>&1 ; then "
    "ray job submit --address {address} --no-wait --runtime-env-json {environment} "
    "--metadata-json {metadata} --submission-id {job} -- {entrypoint} ; fi ; "
    "ray job logs --address {address} --follow {job}"
)


def submitted(spec: dict[str, object], folder: Path, address: str) -> str:
    """The submitter's command. `folder` is in the place of the one that a pod mounts."""
    environment = yaml.safe_load(str(spec["runtimeEnvYAML"])) | {"working_dir": str(folder)}
    return COMMAND.format(
        address=address,
        job="night",
        environment=shlex.quote(json.dumps(environment)),
        metadata=shlex.quote(json.dumps(spec["metadata"])),
        entrypoint=spec["entrypoint"],
    )


def ran(command: str, cluster: Cluster, folder: Path) -> tuple[int, str]:
    """How it ended, and what it said."""
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    with (folder / "said.txt").open("w") as said:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd="/",
            env={**os.environ, **cluster.variables, "PATH": scripts},
            stdout=said,
            stderr=subprocess.STDOUT,
            timeout=PATIENCE_S,
            check=False,
        )
    return done.returncode, (folder / "said.txt").read_text()


def test_students_on_any_node_find_their_arms_recipe_and_the_night_has_its_verdict(
    tmp_path: Path, s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    bucket = s3_server.bucket()
    for name, numbers in {"train": range(8), "val": range(900, 905)}.items():
        Store(bucket).create(f"{name}.tar", write_discs(Path("made.tar"), numbers).read_bytes())
    files = render_kubernetes(night(write(tmp_path, bucket)), cloud())
    planned = make_plan("cells.yaml")
    weave(planned)
    folder = in_pod(files, tmp_path / "pod")
    with two_nodes(s3_server.environment()) as cluster:
        code, said = ran(submitted(job_of(files), folder, cluster.address), cluster, tmp_path)
    assert code == 0, said
    assert "4 of 4: " in said, said
    (one,) = nights(planned.store)
    assert (one.state, one.run) == ("finished", planned.run), said
    assert one.verdict in ("helps", "no difference shown")
