"""What docs/training.md shows must work as it stands there, the loop for Ray Train included."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from jobs.run.plan import RunPlan
from pipeline.index.where import parse
from tests.jobs.sinks import finish, planned_run, weave

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "training.md").read_text()
RUN = "cells-3f2a91c0"

BEFORE = """
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

def make_model():
    body = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU())
    body.out_channels = 4
    anchors = AnchorGenerator(sizes=((8,),), aspect_ratios=((1.0,),))
    return FasterRCNN(
        body, 2, min_size=24, max_size=40, rpn_anchor_generator=anchors,
        rpn_pre_nms_top_n_train=20, rpn_post_nms_top_n_train=10,
    ).train()

torch.set_num_threads(1)
model = make_model()
"""

RAY = """
import sys
SINK = sys.argv[1]
import ray.train.torch
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer
"""


def script(run: RunPlan) -> str:
    """All blocks in one. Without workers, Ray Train runs the loop in this process: no cluster."""
    plain, state, ray = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    told = 'print("said:", loader.epoch, trainer.fit().metrics["epoch"])'
    text = "\n".join((BEFORE, plain, state, RAY, ray, told)).replace(RUN, run.run)
    return text.replace("num_workers=2", "num_workers=0")


def test_the_examples_run(tmp_path: Path) -> None:
    planned = planned_run(tmp_path)
    weave(planned)
    finish(planned)
    (tmp_path / "cells").mkdir()
    shutil.copy(tmp_path / "train-1.tar", tmp_path / "cells" / "train-1.tar")
    (tmp_path / "out").rename(tmp_path / "cells-woven")
    (tmp_path / "out").mkdir()
    (tmp_path / "cells-woven").rename(tmp_path / "out" / "cells")
    (tmp_path / "script.py").write_text(script(planned))
    done = subprocess.run(
        [sys.executable, "script.py", str(tmp_path / "out" / "cells")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "said: 2 1" in done.stdout


def test_every_expression_that_is_shown_is_one() -> None:
    (block,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
    assert [parse(line) for line in block.splitlines()]
