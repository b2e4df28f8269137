"""Makes data/bccd and data/nuclei from the full data sets: a varied part of each, in small shards.

    python data/make_samples.py FOLDER

FOLDER holds bccd/ and nuclei/ as WebDataset shards with a dataset.json each. Members keep their
bytes. Samples are picked farthest first: the one in the middle, then always the one least like
those already picked, by the measures below; and dealt to the shards in that order, so that each
shard is varied too. The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.tars.tar import walk, write_tar
from schemas.index import Member
from schemas.members import split_name

Members = dict[str, bytes]
Samples = dict[str, Members]

# One smear seen twice, in train and in val: left out of both.
TWINS = {"bccd_00037", "bccd_00038"}


@dataclass(frozen=True)
class Pick:
    """How many samples of one kind go into each shard."""

    fits: Callable[[Members], bool]
    measures: Callable[[Members], list[float]]
    per_shard: int


@dataclass(frozen=True)
class Split:
    """One split: its shards, and what each of them holds."""

    name: str
    shards: int
    picks: Sequence[Pick]


def main(full: Path, here: Path) -> None:
    """Writes the shards and the dataset.json of both data sets."""
    for name, splits in {"bccd": bccd(), "nuclei": nuclei()}.items():
        card = json.loads((full / name / "dataset.json").read_text())
        made = {split.name: make(full / name, here / name, split) for split in splits}
        card["splits"] = made
        (here / name / "dataset.json").write_text(json.dumps(card, indent=1) + "\n")


def bccd() -> list[Split]:
    """At least 8 red cells and a white one: some images have hardly any of theirs labelled."""

    def fits(members: Members) -> bool:
        count = Counter(json.loads(members["json"])["labels"])
        return count["RBC"] >= 8 and count["WBC"] >= 1

    def measures(members: Members) -> list[float]:
        count = Counter(json.loads(members["json"])["labels"])
        colour = pixels(members["jpg"]).mean(axis=(0, 1))
        return [*colour, count["RBC"], 2 * min(count["Platelets"], 3), *_box_spread(members)]

    return [
        Split("train", 3, [Pick(fits, measures, 16)]),
        Split("val", 1, [Pick(fits, measures, 12)]),
    ]


def nuclei() -> list[Split]:
    """Both sizes, dim and bright, sparse and crowded."""

    def measures(members: Members) -> list[float]:
        image, inside = pixels(members["png"])[..., 0], pixels(members["seg.png"]) == 1
        boxes = json.loads(members["json"])["boxes"]
        light = [math.log(image[inside].mean()), math.log(image[~inside].mean())]
        return [*light, math.log(inside.mean() + 1e-3), math.log(len(boxes)), image[inside].std()]

    def of(width: int) -> Callable[[Members], bool]:
        return lambda members: bool(json.loads(members["json"])["width"] == width)

    train = [Pick(of(256), measures, 6), Pick(of(360), measures, 2)]
    val = [Pick(of(256), measures, 4), Pick(of(360), measures, 2)]
    return [Split("train", 3, train), Split("val", 1, val)]


def make(source: Path, target: Path, split: Split) -> dict[str, object]:
    """Writes the shards of one split, and returns its entry in dataset.json."""
    samples = read(source, split.name)
    shards: list[list[str]] = [[] for _ in range(split.shards)]
    for pick in split.picks:
        chosen = farthest_first(samples, pick, pick.per_shard * split.shards)
        for i, key in enumerate(chosen):
            shards[i % split.shards].append(key)
    target.mkdir(exist_ok=True)
    entries = []
    for number, keys in enumerate(shards):
        files = [(f"{key}.{s}", data) for key in sorted(keys) for s, data in samples[key].items()]
        data, _ = write_tar(files)
        name = f"{split.name}-{number:06d}.tar"
        (target / name).write_bytes(data)
        check = hashlib.sha256(data).hexdigest()
        entries.append({"file": name, "samples": len(keys), "bytes": len(data), "sha256": check})
    picked = [samples[key] for keys in shards for key in keys]
    return {**counts(picked), "shards": entries}


def read(folder: Path, split: str) -> Samples:
    """All samples of a split, members by suffix."""
    samples: Samples = {}
    for path in sorted(folder.glob(f"{split}-*.tar")):
        data = path.read_bytes()
        for member in members_of(data):
            key, suffix = split_name(member.name)
            samples.setdefault(key, {})[suffix] = data[member.offset :][: member.size]
    return samples


def members_of(data: bytes) -> Iterator[Member]:
    """The members of an archive in memory."""
    return walk(lambda offset, size: data[offset : offset + size], len(data))


def farthest_first(samples: Samples, pick: Pick, count: int) -> list[str]:
    """Keys in the order in which they are picked."""
    keys = [key for key in samples if key not in TWINS and pick.fits(samples[key])]
    raw = np.array([pick.measures(samples[key]) for key in keys])
    # Cut at two deviations: variety, not the oddest images there are.
    scaled = np.clip((raw - np.median(raw, axis=0)) / raw.std(axis=0), -2, 2)
    chosen = [int(np.linalg.norm(scaled, axis=1).argmin())]
    nearest = np.full(len(keys), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return [keys[i] for i in chosen]


def counts(picked: Sequence[Members]) -> dict[str, object]:
    """Samples, boxes and pixel shares, as in the full data set's dataset.json."""
    labels = Counter(label for m in picked for label in json.loads(m["json"])["labels"])
    pixel_counts: Counter[int] = Counter()
    for members in picked:
        if "seg.png" in members:
            ids, many = np.unique(pixels(members["seg.png"]), return_counts=True)
            pixel_counts.update(dict(zip(ids.tolist(), many.tolist(), strict=True)))
    total = sum(pixel_counts.values())
    return {
        "samples": len(picked),
        "boxes": sum(labels.values()),
        "boxes_per_class": dict(sorted(labels.items())),
        "seg_pixel_fraction": {
            str(i): round(n / total, 5) for i, n in sorted(pixel_counts.items())
        },
    }


def pixels(data: bytes) -> np.ndarray:
    """An image as it is stored."""
    return np.asarray(Image.open(io.BytesIO(data)))


def _box_spread(members: Members) -> list[float]:
    boxes = np.array(json.loads(members["json"])["boxes"], float)
    sides = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    return [float(sides.mean()), float(sides.std())]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(__file__).parent)
