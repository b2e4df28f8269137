"""The sample data is what its cards say, and every sample of it passes the checks of the codec."""

import hashlib
import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.codec import decode
from pipeline.source.plan import plan, read_chunk
from schemas.recipe import Source
from schemas.sample import Sample

DATA = Path(__file__).parents[2] / "data"
SETS = ("bccd", "nuclei")


def card(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((DATA / name / "dataset.json").read_text())
    return found


def samples(name: str, split: str) -> list[Sample]:
    source = Source(
        shards=(str(DATA / name / f"{split}*.tar"),),
        segmentation="seg.png" if name == "nuclei" else None,
        classes=tuple(card(name)["classes"]),  # type: ignore[arg-type]
        seg_classes=tuple(card(name)["seg_classes"]) or None,  # type: ignore[arg-type]
    )
    chunks = plan(source, 64, "").chunks
    return [decode(item, source) for chunk in chunks for item in read_chunk(chunk, source)]


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("name", SETS)
def test_every_sample_is_read_and_counted_as_its_card_says(name: str, split: str) -> None:
    expected = card(name)["splits"][split]  # type: ignore[index]
    found = samples(name, split)
    labels = Counter(label for sample in found for label in sample.objects.labels)
    assert len(found) == expected["samples"]
    assert labels == expected["boxes_per_class"]


@pytest.mark.parametrize("name", SETS)
def test_the_shards_are_those_of_the_card(name: str) -> None:
    splits = card(name)["splits"]
    shards = [shard for split in splits.values() for shard in split["shards"]]  # type: ignore[attr-defined]
    assert sorted(shard["file"] for shard in shards) == [
        path.name for path in sorted((DATA / name).glob("*.tar"))
    ]
    for shard in shards:
        data = (DATA / name / shard["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard["sha256"]


def test_every_shard_of_bccd_has_every_class() -> None:
    for path in sorted((DATA / "bccd").glob("*.tar")):
        names = {name for s in samples("bccd", path.stem) for name in s.objects.labels}
        assert names == {"RBC", "WBC", "Platelets"}


def test_every_shard_of_nuclei_has_both_sizes() -> None:
    for path in sorted((DATA / "nuclei").glob("*.tar")):
        assert {sample.width for sample in samples("nuclei", path.stem)} == {256, 360}


@pytest.mark.parametrize("name", SETS)
def test_licence_and_card_are_there(name: str) -> None:
    assert (DATA / name / "LICENSE.txt").stat().st_size > 1000
    assert "Licence" in (DATA / name / "README.md").read_text()
