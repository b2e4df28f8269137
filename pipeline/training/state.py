"""Everything that a training must remember: weights, their moving average, the optimiser's moments,
the step.

A checkpoint is one safetensors file. Crops, noise and times are functions of the step, so a
training that is continued from it takes the same steps as one that was never stopped.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.training.config import TrainConfig

CHECKPOINT_FILE = "checkpoint.safetensors"


class TrainState:
    """A network in training, AdamW, and an exponential moving average of the weights."""

    def __init__(self, net: nn.Module, config: TrainConfig) -> None:
        self.net, self.config, self.step = net, config, 0
        self.average = copy.deepcopy(net).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=0.01
        )

    def learning_rate(self) -> float:
        """Linear warm-up, then half a cosine down to 1 % at the last step."""
        config = self.config
        if self.step < config.warmup:
            return config.lr * (self.step + 1) / config.warmup
        done = (self.step - config.warmup) / max(config.steps - config.warmup, 1)
        return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))

    def update(self, loss: Tensor) -> float:
        """One optimiser step on this loss; returns the gradient's norm before clipping."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        # a short memory at first, or the random start would stay in it for thousands of steps
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return float(norm)

    def save(self, folder: Path) -> None:
        """Writes the checkpoint into a folder."""
        tensors = {f"net/{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adamw/{i}/{k}": v for k, v in moments.items()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        save_file(tensors, folder / CHECKPOINT_FILE, metadata={"step": str(self.step)})

    def load(self, folder: Path) -> None:
        """Continues from a checkpoint made by `save`."""
        parts: dict[str, dict[str, Tensor]] = {"net": {}, "average": {}, "adamw": {}}
        with safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, _, key = name.partition("/")
                parts[part][key] = file.get_tensor(name)
        self.net.load_state_dict(parts["net"])
        self.average.load_state_dict(parts["average"])
        state = self.optimizer.state_dict()
        state["state"] = {}
        for key, value in parts["adamw"].items():
            i, _, name = key.partition("/")
            state["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(state)
