"""The model card of a trained native model: data, steps, loss, licence, and the picture of its
samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pipeline.training.config import DenoiserTraining, TrainConfig

if TYPE_CHECKING:
    from jobs.training.worker import EndReport


def write_card(
    out: Path, kind: str, config: TrainConfig, loss: float | None, end: EndReport
) -> None:
    """Writes `README.md` beside the weights."""
    megabytes = (out / "model.safetensors").stat().st_size / 1e6
    shown = config.model_dump(mode="json", exclude={"out", "tracking"}, exclude_defaults=True)
    rows = [
        ("Data", ", ".join(f"`{shard}`" for shard in config.data.shards)),
        ("Licence of the data", config.licence),
        ("Steps", f"{end.step} of {config.batch} crops of {config.crop}x{config.crop} pixels"),
        ("Weights", _which(config, end)),
        ("Precision", end.precision),
        (
            "Training loss",
            "not seen by the last start"
            if loss is None
            else f"{loss:.4f} ({_error_of(kind, config)}, last 200 steps)",
        ),
        ("Validation loss", _validation(end)),
        ("Size", f"{megabytes:.1f} MB, fp16"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    (out / "README.md").write_text(
        f"# {out.parent.name} {kind}\n\n"
        f"A native noiseloom {kind}, made by `noiseloom train {kind}`.\n\n"
        f"| | |\n|---|---|\n{table}\n\n{_levels(end)}"
        f"![samples](samples.png)\n\n{_CAPTION[kind]}\n\n"
        f"## Configuration\n\n```yaml\n{yaml.safe_dump(shown, sort_keys=False, width=100)}```\n"
    )


_PREDICTED = {
    "denoiser": "v",
    "upscaler": "what bicubic misses, per factor in units of its deviation",
}

_CAPTION = {
    "denoiser": (
        "Columns: image, label map, noise_denoise at strength 0.3 and 0.6, and from pure noise by "
        "the labels alone (guidance 1.5)."
    ),
    "upscaler": (
        "Columns: nearest neighbour, bicubic, the model, original; rows alternate between "
        "factors 2 and 4. The small images were made with Pillow's antialiased bicubic."
    ),
}


def _error_of(kind: str, config: TrainConfig) -> str:
    weighted = isinstance(config, DenoiserTraining) and config.weighting == "min_snr"
    return f"mean squared error of {_PREDICTED[kind]}" + (", min-SNR weighted" if weighted else "")


def _which(config: TrainConfig, end: EndReport) -> str:
    if config.patience is None:
        return "averaged over the last steps"
    early = f"; stopped early at step {end.step}" if end.step < config.steps else ""
    return f"averaged, of step {end.best}: the best validation loss{early}"


def _validation(end: EndReport) -> str:
    found = end.validation.get(end.best)
    if found is None:
        return "none: the configuration names no validation data"
    return f"{found.loss:.4f} at step {end.best}, averaged weights"


def _levels(end: EndReport) -> str:
    """The error per noise level, as a table of one row."""
    found = end.validation.get(end.best)
    if found is None or not found.levels:
        return ""
    n = len(found.levels)
    header = " | ".join(f"{i / n:g} to {(i + 1) / n:g}" for i in range(n))
    values = " | ".join(f"{value:.3f}" for value in found.levels)
    return (
        "Validation: mean squared error of v per noise level (the `strength` of a recipe).\n\n"
        f"| t | {header} |\n|---|{'---|' * n}\n| error | {values} |\n\n"
    )
