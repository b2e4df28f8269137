"""Whole runs as a person starts them: a folder, processes of their own, a real Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.models import tiny_denoiser, tiny_upscaler
from tests.pipeline.shards import sample_files, tar_of

ROOT = Path(__file__).parents[2]
SAMPLES, COPIES, CHUNKS = 36, 2, 12

CLASSIC = "- {kind: classic, transforms: [{HorizontalFlip: {p: 0.5}}]}"
OPS = f"""
{CLASSIC}
- {{kind: noise_denoise, model: denoiser, strength: [0.2, 0.4], steps: 3, p: 0.6}}
- {{kind: inpaint, model: denoiser, region: background, steps: 3, p: 0.3}}
- {{kind: super_resolve, model: upscaler, scale: 2, then: keep, p: 0.3}}
"""


@dataclass(frozen=True)
class Workplace:
    """A folder with one recipe in it. `environment` is that of its processes, beside the usual."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def sink(self) -> Path:
        return self.folder / "out"

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.command("run", "cells.yaml", **environment)

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Any command of noiseloom, to its end."""
        return subprocess.run(
            _command(*arguments),
            cwd=self.folder,
            env=self._environment(environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """In a session of its own, so that it can be killed with all that it has started."""
        with self._said.open("w") as said:
            return subprocess.Popen(
                _command("run", "cells.yaml"),
                cwd=self.folder,
                env=self._environment(environment),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the process that was started has printed."""
        return self._said.read_text()

    def wait_for_commits(self, process: subprocess.Popen[bytes], chunks: int) -> None:
        """Until so many chunks are committed; the process must not end before."""
        while self.pending() < chunks:
            assert process.poll() is None, self.said()
            time.sleep(0.005)

    def pending(self) -> int:
        return len(list(self.sink.glob("index/_pending/*/*.parquet")))

    def left(self) -> dict[str, bytes]:
        """Every file of the result that holds no time: shards and published index."""
        files = [*self.sink.glob("shards/*.tar"), *self.sink.glob("index/*.parquet")]
        return {path.name: path.read_bytes() for path in sorted(files)}

    def record(self) -> Any:
        (path,) = (p for p in self.sink.glob("runs/*.json") if not p.name.endswith(".plan.json"))
        record = json.loads(path.read_bytes())
        return record

    @property
    def _said(self) -> Path:
        return self.folder / "said.txt"

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
        return {**os.environ, **own, **self.environment, **more}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from jobs.cli.main import main; main()", *arguments]


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL of a started run and of everything that it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def write_source(folder: Path) -> Path:
    """Two shards of 18 samples, and tiny models."""
    for number in range(2):
        keys = [f"s{number}{n:02d}" for n in range(SAMPLES // 2)]
        sizes = {key: 96 + 8 * (i % 3) for i, key in enumerate(keys)}
        files = [file for key in keys for file in sample_files(key, sizes[key], width=128)]
        (folder / f"train-{number}.tar").write_bytes(tar_of(files))
    tiny_denoiser(folder / "denoiser", classes=("cell",))
    tiny_upscaler(folder / "upscaler")
    return folder


def workplace(
    folder: Path,
    source: Path | str,
    ops: str = OPS,
    pool: str = "[1, 1]",
    tracking: str = "null",
    sink: str = "out",
    more: str = "",
    environment: Mapping[str, str] | None = None,
) -> Workplace:
    """By default a recipe of all ops, with models that are tiny and know nothing. `more`: lines of
    the recipe.
    """
    folder.mkdir(exist_ok=True)
    models = ", ".join(
        f"{name}: {{native: '{source}/{name}'}}" for name in ("denoiser", "upscaler")
    )
    models = models if "model:" in ops else ""
    text = (
        f"source: {{shards: '{source}/train-*.tar', segmentation: seg.png}}\n"
        f"sink: {sink}\nseed: 7\ncopies: {COPIES}\nchunk_size: 3\n"
        f"resources: {{pool: {pool}}}\ntracking: {{uri: {tracking}}}\n"
        f"models: {{{models}}}\nops:\n{ops}\n{more}\n"
    )
    (folder / "cells.yaml").write_text(text)
    return Workplace(folder, environment or {})
