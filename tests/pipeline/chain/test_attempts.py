"""The journal of attempts. A death is an exception that nobody catches: as with a real one, what
was written before is all that is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline import codec
from pipeline.chain import attempts, weave
from pipeline.chain.attempts import DEATHS, TRIES, begin, excuse, weave_attempt
from pipeline.chain.under_way import begun
from pipeline.chain.woven import RunContext, WovenCopy
from pipeline.recipe import FullRecipe
from pipeline.source.plan import EncodedSample
from pipeline.stages import stages_of
from pipeline.storage.store import Store
from schemas.errors import FullError, RunError
from schemas.sample import Sample
from tests.pipeline.shards import sample_files

CONTEXT = RunContext("run", "digest", "chunk")
FLIP = {"kind": "classic", "transforms": [{"HorizontalFlip": {"p": 0.5}}]}
PASTE = {"kind": "copy_paste", "harmonise": 0, "count": [1, 2]}
KEYS = [f"k{n}" for n in range(6)]


class Death(BaseException):
    """SIGKILL."""


def recipe(*ops: dict[str, Any]) -> FullRecipe:
    source = {"shards": "a.tar", "segmentation": "seg.png"}
    return FullRecipe.model_validate({"source": source, "sink": "o", "copies": 2, "ops": list(ops)})


def encoded(key: str, **changes: Any) -> EncodedSample:
    image, labels, classes = (data for _, data in sample_files(key, 40 + int(key[1]), 48))
    values = {"key": key, "image": image, "labels": labels, "segmentation": classes}
    values |= {"image_suffix": "png", "content": f"of {key}", "shard": "a.tar"}
    return EncodedSample(**(values | changes))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


CHUNK = [
    encoded("k0"),
    encoded("k1", image=b"no image"),
    encoded("k2", copies=(1, 4)),
    encoded("k3"),
    encoded("k4", copies=()),
    encoded("k5"),
    encoded("k1", problem=("duplicate_key", "the second of this name")),
]


def attempt(store: Store, chosen: FullRecipe, session: str = "s") -> list[WovenCopy]:
    (stage,) = stages_of(chosen)
    begun_chunk = begun(CHUNK, chosen)
    attempt = begin(store, "run", "chunk", session)
    return weave_attempt(attempt, begun_chunk, stage, chosen, {}, CONTEXT)


def told(woven: list[WovenCopy]) -> list[object]:
    return [(copy.row, copy.members) for copy in woven]


def kills(monkeypatch: pytest.MonkeyPatch, deadly: str) -> None:
    """The decoder, in both places that call it."""

    def decode(encoded: EncodedSample, *args: Any) -> Sample:
        if encoded.key == deadly and encoded.problem is None:
            raise Death
        return codec.decode(encoded, *args)

    monkeypatch.setattr(weave, "decode", decode)
    monkeypatch.setattr(attempts, "decode", decode)


def die(store: Store, chosen: FullRecipe, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Death):
            attempt(store, chosen)


def test_where_nobody_dies_an_attempt_costs_one_file(store: Store) -> None:
    attempt(store, recipe(FLIP))
    assert store.list("") == ["attempts/run/chunk/0.json"]


@pytest.mark.parametrize("ops", [[FLIP], [FLIP, PASTE]], ids=["alone", "peers"])
def test_a_careful_attempt_makes_the_same_as_any_other(
    store: Store, ops: list[dict[str, Any]]
) -> None:
    usual = attempt(store, recipe(*ops))
    careful = attempt(store, recipe(*ops))
    assert len(store.list("")) > len(CHUNK)
    assert {copy.row.status for copy in usual} == {"kept", "failed"}
    assert told(careful) == told(usual)


@pytest.mark.parametrize("deadly", ["k0", "k5"])
@pytest.mark.parametrize("ops", [[FLIP], [FLIP, PASTE]], ids=["alone", "peers"])
def test_the_sample_that_kills_is_left_out_and_the_others_are_as_without_it(
    store: Store, monkeypatch: pytest.MonkeyPatch, ops: list[dict[str, Any]], deadly: str
) -> None:
    broken = [encoded(item.key, image=b"?") if item.key == deadly else item for item in CHUNK]
    expected = weave.weave_chunk(broken, recipe(*ops), {}, CONTEXT)
    kills(monkeypatch, deadly)
    die(store, recipe(*ops), times=1 + TRIES)
    woven = attempt(store, recipe(*ops))
    failed = [copy for copy in woven if copy.row.source_key == deadly]
    assert {copy.row.reason for copy in failed} == {"killed_worker"}
    assert failed[0].members["png"] == next(i.image for i in CHUNK if i.key == deadly)
    others = [copy for copy in woven if copy.row.source_key != deadly]
    assert told(others) == told([copy for copy in expected if copy.row.source_key != deadly])


def test_one_death_less_is_not_enough_to_leave_a_sample_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = attempt(Store(f"{store.url}/other"), recipe(FLIP))
    with monkeypatch.context() as deadly:
        kills(deadly, "k3")
        die(store, recipe(FLIP), times=TRIES)
    assert told(attempt(store, recipe(FLIP))) == told(usual)


def test_whoever_was_stopped_has_not_died(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(1 + TRIES):
        with monkeypatch.context() as deadly:
            kills(deadly, "k3")
            die(store, recipe(FLIP), times=1)
        excuse(store, "run", ["chunk", "not begun"])
    written = len(store.list(""))
    attempt(store, recipe(FLIP))
    assert len(store.list("")) == written + 1, "it was not careful"


def test_deaths_that_no_sample_explains_stop_the_session_and_not_the_next(store: Store) -> None:
    for _ in range(DEATHS):
        begin(store, "run", "chunk", "s")  # and the models are loaded, say
    with pytest.raises(RunError, match=r"chunk: 5 workers died .* Take a smaller chunk_size"):
        begin(store, "run", "chunk", "s")
    assert begin(store, "run", "chunk", "another").careful


def test_a_sample_that_kills_untouched_stops_the_session(store: Store) -> None:
    begin(store, "run", "chunk", "s")
    for _ in range(TRIES + DEATHS):
        begin(store, "run", "chunk", "s").in_hand(1, "k0")
    with pytest.raises(RunError, match="no one sample is to blame"):
        begin(store, "run", "chunk", "s")


def test_a_full_disk_is_told_as_such(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "create", full)
    with pytest.raises(FullError):
        begin(store, "run", "chunk", "s")
