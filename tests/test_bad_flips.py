"""A byte that flips, anywhere in a shard, loses no sample in silence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.bad.flips import fuzz


def test_accidents_of_all_kinds_hang_nothing_raise_nothing_and_lose_nothing_in_silence(
    tmp_path: Path,
) -> None:
    fates = list(fuzz(300, seed=20, folder=tmp_path))
    wrong = [(n, fate) for n, fate in enumerate(fates) if fate.complaints]
    assert wrong == []
    became = sum((fate.became for fate in fates), Counter[str]())
    assert became.total() == 5 * 300
    assert all(became[name] > 20 for name in ("identical", "failed", "found"))
    assert len({(fate.packing, fate.accident) for fate in fates}) > 15
