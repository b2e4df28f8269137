"""Everything that a training must remember: weights, their moving average, the optimiser's moments,
the step, what validation said, the best averaged weights so far, and the precision that was chosen.

A checkpoint is one safetensors file. Crops, noise and times are functions of the step, so a
training that is continued from it takes the same steps as one that was never stopped.

Workers that share a batch sum their gradients in one flat all-reduce; the same state in each of
them stays the same, so only one needs to save it.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.distributed
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pipeline.training.config import Precision, TrainConfig
from pipeline.training.stopping import Stopping

CHECKPOINT_FILE = "checkpoint.safetensors"
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Validation:
    """The loss of the averaged weights on held-out crops, in all and per noise level, from low to
    high; a model without noise levels has none.
    """

    loss: float
    levels: tuple[float, ...] = ()


class TrainState:
    """A network in training, AdamW, and an exponential moving average of the weights."""

    def __init__(self, net: nn.Module, config: TrainConfig) -> None:
        self.net, self.config, self.step = net, config, 0
        self.precision: Precision = config.precision
        self.validation: dict[int, Validation] = {}
        self.stopping = Stopping()
        self.best: Weights = {}
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

    @property
    def over(self) -> bool:
        """Whether this was the last step."""
        return self.step >= self.config.steps or self.stopping.over(self.config.patience)

    def update(self, losses: Iterable[Tensor], workers: int = 1) -> tuple[float, float]:
        """One optimiser step on the sum of these losses, which are made and forgotten one by one
        (micro-batches), and on those of the other workers. Returns that sum, and the gradient's
        norm before clipping.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros(())
        for loss in losses:
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach().float().cpu()
        if workers > 1:
            total = self._sum_of_workers(total)
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip)
        self.optimizer.step()
        self.step += 1
        # a short memory at first, or the random start would stay in it for thousands of steps
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for mean, value in zip(self.average.parameters(), self.net.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        return float(total), float(norm)

    def _sum_of_workers(self, loss: Tensor) -> Tensor:
        """Gradients and loss, summed over all workers; a parameter without a gradient counts 0."""
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.net.parameters()]
        flat = torch.cat([*(part.flatten() for part in parts), loss.to(parts[0].device).view(1)])
        torch.distributed.all_reduce(flat)
        sums = torch.split(flat[:-1], [part.numel() for part in parts])
        for p, part, values in zip(self.net.parameters(), parts, sums, strict=True):
            p.grad = part.copy_(values.view_as(part))
        return flat[-1].cpu()

    def validated(self, found: Validation) -> None:
        """Remembers a validation at this step, and the weights if they are the best so far."""
        self.validation[self.step] = found
        self.stopping = self.stopping.seen(self.step, found.loss, self.config.improvement)
        if self.config.patience is not None and self.stopping.best_step == self.step:
            self.best = {k: v.detach().clone() for k, v in self.average.state_dict().items()}

    def result(self) -> Weights:
        """The weights that the training ends with: the averaged ones, with `patience` those of the
        best validation.
        """
        return self.best or self.average.state_dict()

    def save(self, folder: Path) -> None:
        """Writes the checkpoint into a folder."""
        tensors = {f"net/{k}": v for k, v in self.net.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        tensors |= {f"best/{k}": v for k, v in self.best.items()}
        for i, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adamw/{i}/{k}": v for k, v in moments.items()}
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        told = {
            "precision": self.precision,
            "validation": [[step, v.loss, v.levels] for step, v in self.validation.items()],
            "stopping": asdict(self.stopping),
        }
        metadata = {"step": str(self.step), "told": json.dumps(told)}
        save_file(tensors, folder / CHECKPOINT_FILE, metadata=metadata)

    def load(self, folder: Path) -> None:
        """Continues from a checkpoint made by `save`."""
        parts: dict[str, Weights] = {"net": {}, "average": {}, "best": {}, "adamw": {}}
        with safe_open(folder / CHECKPOINT_FILE, framework="pt") as file:
            metadata = file.metadata()
            for name in file.keys():  # noqa: SIM118 - not a dict
                part, _, key = name.partition("/")
                parts[part][key] = file.get_tensor(name)
        told = json.loads(metadata["told"])
        self.step, self.precision = int(metadata["step"]), told["precision"]
        self.validation = {s: Validation(loss, tuple(at)) for s, loss, at in told["validation"]}
        self.stopping = Stopping(**told["stopping"])
        self.net.load_state_dict(parts["net"])
        self.average.load_state_dict(parts["average"])
        self.best = parts["best"]
        state = self.optimizer.state_dict()
        state["state"] = {}
        for key, value in parts["adamw"].items():
            i, _, name = key.partition("/")
            state["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(state)
