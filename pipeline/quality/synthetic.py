"""`synthesize`: what a detector learns from made pairs alone, against as many real ones.

The pairs are made from the layouts and tones of the real samples, with the op as a recipe gets it,
and kept in a folder, so that a killed run goes on. Both detectors have the same network, the same
steps and the same seed; both are judged on the same validation samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from pipeline.codec import decode_image, encode_png
from pipeline.detection.config import Schooling
from pipeline.detection.detector import Detector
from pipeline.detection.mean_ap import Scores, mean_ap
from pipeline.detection.network import DetectorConfig
from pipeline.detection.training import train_detector
from pipeline.labels.files import labels_json, read_labels
from pipeline.model import Model
from pipeline.ops.synthesize import Synthesize
from pipeline.pictures.drawing import Frame, Tile, contact_sheet, draw_labels
from pipeline.quality.apply import NAME, applied
from pipeline.quality.table import Result, Row, Table, Track, Value, at_least
from schemas.sample import Sample

SHOWN: Final = 6
SCHOOLING: Final = Schooling(steps=400, crop=128)
"""As many steps as take a detector to four fifths of its best average precision."""


def synthetic_experiment(
    model: Model,
    real: Sequence[Sample],
    validation: Sequence[Sample],
    net: DetectorConfig,
    folder: Path,
    seed: int,
    track: Track,
    schooling: Schooling = SCHOOLING,
) -> Result:
    """The table, and some of the pairs."""
    made = made_pairs(model, real, folder, seed, track)
    sets = {"real": list(real), "synthesized": made}
    scores = {name: _judged(pairs, validation, net, schooling) for name, pairs in sets.items()}
    return Result(
        _table(scores, len(made), len(validation), schooling), {"synthesize": _sheet(made)}
    )


def made_pairs(
    model: Model, real: Sequence[Sample], folder: Path, seed: int, track: Track
) -> list[Sample]:
    """One pair per real sample; those that lie in the folder already are read, not made."""
    folder.mkdir(parents=True, exist_ok=True)
    peers = {sample.key: sample for sample in real}
    op = Synthesize(model=NAME)
    made = []
    for i, sample in enumerate(track(real, "synthesize")):
        name = f"{i:04d}-{model.digest}-{seed}"
        pair = _read(folder, name) or _make(op, sample, model, seed, peers)
        if pair is not None:
            _write(folder, name, pair)
            made.append(pair)
    return made


def _make(
    op: Synthesize, sample: Sample, model: Model, seed: int, peers: Mapping[str, Sample]
) -> Sample | None:
    done = applied(op, sample, model, seed, 0, peers)
    return None if done is None else done[1]


def _write(folder: Path, name: str, pair: Sample) -> None:
    """The labels last: a pair is there when they are."""
    (folder / f"{name}.png").write_bytes(encode_png(pair.rgb_hwc))
    (folder / f"{name}.json").write_bytes(labels_json(replace(pair, extra=())))


def _read(folder: Path, name: str) -> Sample | None:
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    image = decode_image((folder / f"{name}.png").read_bytes())
    found = read_labels(path.read_bytes(), (image.shape[0], image.shape[1]))
    return Sample(name, image, found.instances, None)


def _judged(
    pairs: Sequence[Sample],
    validation: Sequence[Sample],
    net: DetectorConfig,
    schooling: Schooling,
) -> Scores:
    detector: Detector = train_detector(pairs, net, schooling)
    return mean_ap(validation, detector.detect([s.rgb_hwc for s in validation]), net.classes)


def _table(scores: Mapping[str, Scores], pairs: int, n: int, schooling: Schooling) -> Table:
    classes = sorted({name for score in scores.values() for name in score.classes})
    rows = tuple(
        Row(
            name=name,
            values=(
                Value(mean=score.ap, n=n),
                Value(mean=score.ap50, n=n),
                *(Value(mean=score.classes[c].ap, n=score.classes[c].n) for c in classes),
            ),
        )
        for name, score in scores.items()
    )
    share = scores["synthesized"].ap / max(scores["real"].ap, 1e-9)
    op = Synthesize(model=NAME)
    return Table(
        part="synthesize",
        title="synthesize: detectors trained on made pairs alone",
        note=(
            f"{pairs} pairs each ({op.native_steps} steps, guidance {op.native_guidance:g}), "
            f"detectors of {schooling.steps} steps of {schooling.batch} crops of {schooling.crop} "
            f"pixels, judged on {n} real validation images: mAP, AP50, and AP per class."
        ),
        columns=("mAP", "AP50", *(f"AP {name}" for name in classes)),
        rows=rows,
        checks=(at_least("mAP relative to that of the real ones:", share, 0.6),),
    )


def _sheet(made: Sequence[Sample]) -> Image.Image:
    shown = made[:: max(1, len(made) // SHOWN)][:SHOWN]
    bare = [Tile(np.asarray(pair.rgb_hwc)) for pair in shown]
    labelled = [Tile(draw_labels(replace(pair, class_map_hw=None))) for pair in shown]
    half = (len(shown) + 1) // 2
    rows = [
        [tile for pair in zip(bare[i:j], labelled[i:j], strict=True) for tile in pair]
        for i, j in ((0, half), (half, len(shown)))
        if i < j
    ]
    return contact_sheet(rows, Frame(columns=("made", "its labels") * half))
