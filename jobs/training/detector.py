"""`noiseloom train detector CONFIG.yaml`: a small detector from shards, in this process.

It takes minutes on one core, so a killed training simply starts again. It ends with a model folder:
weights, configuration, a card with its average precision, and a picture of what it finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import yaml
from rich.console import Console

from jobs.training.progress import training_progress
from pipeline.config import load_config
from pipeline.detection.config import DetectorTraining
from pipeline.samples import evenly, load_samples
from schemas.errors import SourceError
from schemas.recipe import Source
from schemas.sample import Instances, Sample

if TYPE_CHECKING:
    from pipeline.detection.detector import Detector
    from pipeline.detection.mean_ap import Scores

SHOWN: Final = 6


def train_detector_job(config_path: str | Path, console: Console) -> None:
    """Trains the detector that this configuration describes."""
    import torch

    from pipeline.detection.mean_ap import mean_ap

    config = load_config(config_path, DetectorTraining)
    samples = _load(config.data, console)
    judged = _load(config.validation, console) if config.validation else samples
    torch.set_num_threads(config.threads)
    detector = _fit(config, samples, judged, console)
    out = Path(config.out)
    detector.save(out)
    scores = mean_ap(judged, detector.detect([s.rgb_hwc for s in judged]), detector.config.classes)
    _picture(detector, judged, out / "detections.png")
    _card(config, detector, scores, len(judged), out)
    for name, score in scores.classes.items():
        console.print(f"{name}: AP {score.ap:.3f}, AP50 {score.ap50:.3f} ({score.n} labels)")
    console.print(f"model folder: [bold]{out.absolute()}[/]", soft_wrap=True)


def _load(source: Source, console: Console) -> list[Sample]:
    samples, problems = load_samples(source)
    for problem in problems:
        console.print(f"left out: {problem}", markup=False)
    if not samples:
        raise SourceError(f"{', '.join(source.shards)}: not one sample can be used")
    return samples


def _fit(
    config: DetectorTraining,
    samples: Sequence[Sample],
    judged: Sequence[Sample],
    console: Console,
) -> Detector:
    """Trained, and with the thresholds at which it is right most often."""
    from pipeline.detection.agreement import pick_thresholds
    from pipeline.detection.network import DetectorConfig
    from pipeline.detection.training import train_detector

    net = DetectorConfig(classes=config.data.classes or (), **config.net.model_dump())
    with training_progress(console) as progress:
        bar = progress.add_task("training", total=config.schooling.steps, loss="")

        def watch(step: int, loss: float) -> None:
            progress.update(bar, completed=step, loss=f"loss {loss:.3f}")

        detector = train_detector(samples, net, config.schooling, watch)
    return detector.with_thresholds(pick_thresholds(detector, judged))


def _picture(detector: Detector, samples: Sequence[Sample], path: Path) -> None:
    """Labels on the left, what is found on the right."""
    from pipeline.pictures.drawing import Frame, Tile, contact_sheet, draw_labels
    from pipeline.pictures.overlay import look_for

    look = look_for(samples)
    rows = []
    for sample in evenly(samples, SHOWN):
        (found,) = detector.sure([sample.rgb_hwc])
        mine = replace(sample, instances=Instances(found.boxes_n4, found.labels), class_map_hw=None)
        rows.append(
            [
                Tile(draw_labels(replace(sample, class_map_hw=None), look), sample.key),
                Tile(draw_labels(mine, look), f"{len(found)} found"),
            ]
        )
    frame = Frame(columns=("labels", "detections"), legend=look.colours)
    contact_sheet(rows, frame).quantize(256).save(path)


def _card(config: DetectorTraining, detector: Detector, scores: Scores, n: int, out: Path) -> None:
    schooling = config.schooling
    judged_on = config.validation or config.data
    megabytes = (out / "model.safetensors").stat().st_size / 1e6
    rows = [
        ("Data", _shards(config.data)),
        ("Licence of the data", config.licence),
        (
            "Steps",
            f"{schooling.steps} of {schooling.batch} crops of {schooling.crop}x{schooling.crop} "
            f"pixels at scale {config.net.scale:g}, seed {schooling.seed}",
        ),
        ("mAP", f"{scores.ap:.3f} ({n} images of {_shards(judged_on)})"),
        ("Size", f"{megabytes:.1f} MB, fp16"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    least = detector.thresholds
    classes = "\n".join(
        f"| {name} | {score.ap:.3f} | {score.ap50:.3f} | {score.n} | {least[name]:.2f} |"
        for name, score in scores.classes.items()
    )
    shown = config.model_dump(mode="json", exclude={"out"}, exclude_defaults=True)
    (out / "README.md").write_text(
        f"# {out.parent.name} detector\n\n"
        "A small detector (FCOS on a backbone of its own, trained from scratch), made by "
        "`noiseloom train detector`.\n\n"
        f"| | |\n|---|---|\n{table}\n\n"
        f"| class | AP | AP50 | labels | threshold |\n|---|---|---|---|---|\n{classes}\n\n"
        "AP as COCO defines it, with nothing ignored: an object that nobody labelled counts "
        "against the detector. From its threshold on, where F1 is highest on the same images, a "
        "detection counts as found.\n\n"
        "![detections](detections.png)\n\nLeft the labels, right what it finds.\n\n"
        f"## Configuration\n\n```yaml\n{yaml.safe_dump(shown, sort_keys=False, width=100)}```\n"
    )


def _shards(source: Source) -> str:
    return ", ".join(f"`{shard}`" for shard in source.shards)
