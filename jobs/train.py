"""`noiseloom train denoiser|upscaler CONFIG.yaml`: a native model from shards, through Ray Train.

Start it again after a kill: it continues from its newest checkpoint in `<out>/.training`, with the
same losses as if it had never been stopped. A changed configuration starts anew. It ends with a
model folder: weights, configuration, model card, and a picture of what it can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jobs.model_card import write_card
from jobs.ray_session import ray_session
from jobs.train_log import TrainLog, train_log
from pipeline.config import load_config
from pipeline.source import expand_shards
from pipeline.store import Store, split_url
from pipeline.training.config import CONFIGS, TrainConfig
from schemas.errors import NoiseloomError, RunError, SourceError
from schemas.recipe import Source

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue
    from rich.progress import TaskID

Kind = Literal["denoiser", "upscaler"]


def train(kind: Kind, config_path: str | Path, console: Console) -> None:
    """Trains, or continues, the model that this configuration describes. Raises RunError where a
    worker fails.
    """
    config = load_config(config_path, CONFIGS[kind])
    out = Path(config.out).absolute()
    out.mkdir(parents=True, exist_ok=True)
    console.print(
        f"{kind} from {', '.join(config.data.shards)}: "
        f"{config.steps} steps of {config.batch} crops -> {out}"
    )
    placed = _absolute(config)
    with (
        ray_session(num_cpus=config.workers * config.threads + 2),
        train_log(config, kind, config_path, console) as log,
    ):
        history = _fit(kind, placed, log, console)
    if not history.losses:
        console.print(f"nothing to do: {out} is trained to its last step")
        return
    if history.picture:
        (out / "samples.png").write_bytes(history.picture)
    write_card(out, kind, config, history.final_loss(), history.validation)
    console.print(
        f"model folder: [bold]{out}[/] (model.safetensors, config.json, README.md, samples.png)"
    )


def _absolute(config: TrainConfig) -> TrainConfig:
    """With absolute paths, for Ray's workers have a working directory of their own; a missing shard
    is found here.
    """
    paths: dict[str, object] = {"out": str(Path(config.out).absolute())}
    for name in ("data", "validation"):
        source: Source | None = getattr(config, name)
        if source is not None:
            urls = expand_shards(source.shards)
            _check_there(urls)
            shards = tuple(url if "://" in url else str(Path(url).absolute()) for url in urls)
            paths[name] = source.model_copy(update={"shards": shards})
    return config.model_copy(update=paths)


def _check_there(urls: Sequence[str]) -> None:
    """A numbered pattern may name shards that are not there; workers would find out late."""
    for url in urls:
        folder, name = split_url(url)
        if not Store(folder).exists(name):
            raise SourceError(f"{url}: no such shard")


@dataclass
class History:
    """What was reported by this process's share of a training."""

    losses: list[float] = field(default_factory=list)
    validation: dict[int, float] = field(default_factory=dict)
    picture: bytes | None = None

    def final_loss(self) -> float | None:
        """Mean over the last 200 steps that were seen."""
        tail = self.losses[-200:]
        return sum(tail) / len(tail) if tail else None


def _fit(kind: Kind, config: TrainConfig, log: TrainLog, console: Console) -> History:
    """Ray Train in a thread, and what its worker 0 reports shown and logged here."""
    from ray.exceptions import RayError
    from ray.train import TrainingFailedError
    from ray.util.queue import Empty, Queue

    queue = Queue(actor_options={"num_cpus": 0})
    trainer = _trainer(kind, config, queue)
    history = History()
    with ThreadPoolExecutor(1) as pool, _progress(console) as progress:
        bar = progress.add_task("training", total=config.steps, loss="")
        fitting = pool.submit(trainer.fit)
        while not fitting.done() or not queue.empty():
            try:
                _take(queue.get(timeout=0.5), history, log, progress, bar)
            except Empty:
                continue
    try:
        fitting.result()
    except (RayError, TrainingFailedError) as error:
        raise RunError(
            f"training stopped: {_cause(error)}; start the same command again to continue"
        ) from error
    return history


def _take(report: object, history: History, log: TrainLog, progress: Progress, bar: TaskID) -> None:
    from jobs.train_worker import CheckpointReport, StepReport

    if isinstance(report, StepReport):
        history.losses.append(report.loss)
        recent = history.losses[-50:]
        progress.update(bar, completed=report.step, loss=f"loss {sum(recent) / len(recent):.4f}")
        log.step(report)
    elif isinstance(report, CheckpointReport):
        history.picture = report.picture
        if report.validation_loss is not None:
            history.validation[report.step] = report.validation_loss
        log.checkpoint(report)


def _trainer(kind: Kind, config: TrainConfig, queue: Queue) -> TorchTrainer:
    from ray.train import CheckpointConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from jobs.train_worker import train_worker

    resources = {"CPU": float(config.threads)} | ({"GPU": config.gpus} if config.gpus else {})
    return TorchTrainer(
        train_worker,
        train_loop_config={
            "config": config.model_dump(mode="json"),
            "kind": kind,
            "queue": queue,
        },
        scaling_config=ScalingConfig(
            num_workers=config.workers, use_gpu=config.gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=config.digest(),  # another configuration is another training
            storage_path=str(Path(config.out) / ".training"),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )


def _cause(error: BaseException) -> str:
    """The message of the innermost cause: ours as it is, others with their type."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    if isinstance(error, NoiseloomError):
        return str(error)
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
    )
