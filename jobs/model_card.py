"""The model card of a trained native model: data, steps, loss, licence, and the picture of its
samples.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.training.config import TrainConfig


def write_card(
    out: Path, kind: str, config: TrainConfig, loss: float | None, validation: dict[int, float]
) -> None:
    """Writes `README.md` beside the weights."""
    megabytes = (out / "model.safetensors").stat().st_size / 1e6
    shown = config.model_dump(mode="json", exclude={"out", "tracking"}, exclude_defaults=True)
    rows = [
        ("Data", ", ".join(f"`{shard}`" for shard in config.data.shards)),
        ("Licence of the data", config.licence),
        ("Steps", f"{config.steps} of {config.batch} crops of {config.crop}x{config.crop} pixels"),
        (
            "Training loss",
            "not seen by the last start"
            if loss is None
            else f"{loss:.4f} (mean squared error of {_PREDICTED[kind]}, last 200 steps)",
        ),
        ("Validation loss", _last(validation)),
        ("Size", f"{megabytes:.1f} MB, fp16"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    (out / "README.md").write_text(
        f"# {out.parent.name} {kind}\n\n"
        f"A native noiseloom {kind}, made by `noiseloom train {kind}`.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
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


def _last(validation: dict[int, float]) -> str:
    if not validation:
        return "none: the configuration names no validation data"
    step = max(validation)
    return f"{validation[step]:.4f} at step {step}, averaged weights"
