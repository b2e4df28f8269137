"""`noiseloom train denoiser|upscaler CONFIG.yaml`: a native model from shards, through Ray Train.

Before the first step it says how long it will take on this machine, from a few steps that are
measured and thrown away; `--dry-run` says only that, and checks configuration and data, without
starting Ray. Start it again after a kill: it continues from its newest checkpoint in
`<out>/.training`, with the same losses as if it had never been stopped. A changed configuration
starts anew. SIGTERM stops it in order (`jobs.stopping`). It ends with a model folder: weights,
configuration, model card, and a picture of what it can do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, track

from jobs.ray_session import ray_session
from jobs.stopping import stoppable
from jobs.tracking.train_log import TrainLog, train_log
from jobs.training.model_card import write_card
from jobs.training.progress import training_progress
from pipeline.config import load_config
from pipeline.models import describe
from pipeline.source.plan import expand_shards
from pipeline.storage.store import Store, split_url
from pipeline.training.config import CONFIGS, DenoiserTraining, Kind, LatentSpec, TrainConfig
from schemas.errors import NoiseloomError, RecipeError, RunError, SourceError
from schemas.models import NativeModel
from schemas.recipe import Source

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue
    from rich.progress import TaskID

    from jobs.training.worker import EndReport
    from pipeline.training.mixed import AnyCrops

MAX_SHOWN = 10
"""Images that cannot be read: more do not fit on a screen."""


def train(kind: Kind, config_path: str | Path, console: Console) -> None:
    """Trains, or continues, the model that this configuration describes. Raises RunError where a
    worker fails.
    """
    config, placed = _read(kind, config_path, console)
    out = Path(placed.out)
    out.mkdir(parents=True, exist_ok=True)
    with (
        stoppable(),
        ray_session(num_cpus=config.workers * config.threads + 2),
        train_log(config, kind, config_path, console) as log,
    ):
        history = _fit(kind, placed, log, console)
    if history.end is None or (not history.losses and (out / "README.md").exists()):
        console.print(f"nothing to do: {out} is trained to its last step")
        return
    if history.end.step < config.steps:
        console.print(
            f"stopped early at step {history.end.step}: the best validation loss was that of "
            f"step {history.end.best}, whose weights are kept"
        )
    if history.picture:
        (out / "samples.png").write_bytes(history.picture)
    write_card(out, kind, config, history.final_loss(), history.end)
    console.print(
        f"model folder: [bold]{out}[/] (model.safetensors, config.json, README.md, samples.png)"
    )


def dry_run(kind: Kind, config_path: str | Path, console: Console) -> None:
    """Checks configuration and data, every image of it, and says how long the training would take
    here. Raises SourceError where an image cannot be read.
    """
    config, placed = _read(kind, config_path, console)
    import torch  # after the checks: it takes seconds

    from pipeline.training.pace import measure_pace
    from pipeline.training.session import Session

    if config.gpus and not torch.cuda.is_available():
        raise RunError("gpus: this machine has none; the time cannot be measured here")
    torch.set_num_threads(config.threads)
    device = torch.device("cuda" if config.gpus else "cpu")
    share = placed.model_copy(update={"batch": config.batch // config.workers, "workers": 1})
    session = Session(share, kind, device)
    for name, crops in (("data", session.crops), ("validation", session.held_out)):
        if crops is not None:
            _check_images(name, crops, console)
    alone = f", on each of {config.workers} workers" if config.workers > 1 else ""
    console.print(f"{measure_pace(session)}{alone}", highlight=False)


def _check_images(name: str, crops: AnyCrops, console: Console) -> None:
    wrong = [
        mistake
        for mistake in track(crops.mistakes(), name, total=len(crops), console=console)
        if mistake is not None
    ]
    if wrong:
        shown = "\n  ".join(wrong[:MAX_SHOWN])
        raise SourceError(f"{name}: {len(wrong)} of {len(crops)} images cannot be read\n  {shown}")
    console.print(f"{name}: {crops}", highlight=False)


def _read(kind: Kind, config_path: str | Path, console: Console) -> tuple[TrainConfig, TrainConfig]:
    """The configuration as it is, and with absolute paths; what it names is there."""
    config = load_config(config_path, CONFIGS[kind])
    placed = _absolute(config)
    console.print(
        f"{kind} from {', '.join(config.data.shards)}: "
        f"{config.steps} steps of {config.batch} crops -> {placed.out}"
    )
    return config, placed


def _absolute(config: TrainConfig) -> TrainConfig:
    """With absolute paths, for Ray's workers have a working directory of their own; a missing shard
    is found here.
    """
    paths: dict[str, object] = {"out": str(Path(config.out).absolute())}
    for name in ("data", "validation", "unlabelled"):
        source: Source | None = getattr(config, name, None)
        if source is not None:
            urls = expand_shards(source.shards)
            _check_there(urls)
            shards = tuple(url if "://" in url else str(Path(url).absolute()) for url in urls)
            paths[name] = source.model_copy(update={"shards": shards})
    if config.init is not None:
        describe(NativeModel(native=config.init))  # ModelError where it is not one
        paths["init"] = str(Path(config.init).absolute())
    if isinstance(config, DenoiserTraining) and config.latent is not None:
        paths["latent"] = _checked_latent(config, config.latent)
    return config.model_copy(update=paths)


def _check_there(urls: Sequence[str]) -> None:
    """A numbered pattern may name shards that are not there; workers would find out late."""
    for url in urls:
        folder, name = split_url(url)
        if not Store(folder).exists(name):
            raise SourceError(f"{url}: no such shard")


def _checked_latent(config: DenoiserTraining, latent: LatentSpec) -> LatentSpec:
    """The autoencoder is there, and crops fit its grid."""
    from pipeline.diffusion.latent import check_vae

    multiple = check_vae(Path(latent.vae)) * config.net.multiple
    if config.crop % multiple:
        raise RecipeError(
            f"crop: is {config.crop}; with the autoencoder {latent.vae} it must be a multiple of "
            f"{multiple}"
        )
    return LatentSpec(vae=str(Path(latent.vae).absolute()))


@dataclass
class History:
    """What was reported by this process's share of a training."""

    losses: list[float] = field(default_factory=list)
    picture: bytes | None = None
    end: EndReport | None = None

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
    fitting: Future[object] = Future()
    # A daemon: whoever stops the training goes, and does not wait for the last step.
    Thread(target=_settle, args=(fitting, trainer.fit), daemon=True).start()
    with training_progress(console) as progress:
        bar = progress.add_task("training", total=config.steps, loss="")
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


def _settle(future: Future[object], task: Callable[[], object]) -> None:
    """What the task returns or raises, as the future's result."""
    try:
        future.set_result(task())
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
        future.set_exception(error)


def _take(report: object, history: History, log: TrainLog, progress: Progress, bar: TaskID) -> None:
    from jobs.training.worker import CheckpointReport, EndReport
    from pipeline.training.pace import PaceReport
    from pipeline.training.session import StepReport

    if isinstance(report, StepReport):
        history.losses.append(report.loss)
        recent = history.losses[-50:]
        progress.update(bar, completed=report.step, loss=f"loss {sum(recent) / len(recent):.4f}")
        log.step(report)
    elif isinstance(report, PaceReport):
        progress.console.print(str(report), highlight=False)
    elif isinstance(report, CheckpointReport):
        history.picture = report.picture
        log.checkpoint(report)
    elif isinstance(report, EndReport):
        history.end, history.picture = report, report.picture or history.picture


def _trainer(kind: Kind, config: TrainConfig, queue: Queue) -> TorchTrainer:
    from ray.train import CheckpointConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from jobs.training.worker import train_worker

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
