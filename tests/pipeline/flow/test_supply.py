"""A run of any length keeps so many chunks under way, and no more."""

from __future__ import annotations

import pytest

from pipeline.flow.supply import LEAST_AHEAD, Supply, ahead_of
from pipeline.source.plan import Chunk
from pipeline.source.shards import Shard

SHARD = Shard("s.tar", 1, "0")


def supply(many: int, ahead: int) -> Supply[str]:
    chunks = [Chunk(SHARD, number, (), f"c{number}") for number in range(many)]
    return Supply(chunks, ahead, lambda chunk: f"held {chunk.id}")


def test_chunks_come_in_order_and_never_more_than_may_be_under_way() -> None:
    three = supply(3, ahead=2)
    assert [three.take(), three.take()] == ["held c0", "held c1"]
    assert not three.has_next()
    assert not three.exhausted
    with pytest.raises(RuntimeError, match="2 are under way"):
        three.take()


def test_a_chunk_that_is_done_makes_room_for_another() -> None:
    three = supply(3, ahead=1)
    taken = []
    for chunk in ("c0", "c1", "c2"):
        taken.append(three.take())
        assert not three.has_next()
        three.done(chunk)
    assert taken == ["held c0", "held c1", "held c2"]
    assert three.exhausted
    assert not three.has_next()


def test_what_is_under_way_is_kept_and_what_is_done_is_dropped() -> None:
    kept: list[object] = []

    class Held:
        def __del__(self) -> None:
            kept.remove(id(self))

    def hold(chunk: Chunk) -> Held:
        kept.append(id(held := Held()))
        return held

    chunks = [Chunk(SHARD, number, (), f"c{number}") for number in range(100)]
    hundred = Supply(chunks, 5, hold)
    most = 0
    for number in range(100):
        hundred.take()
        most = max(most, len(kept))
        if number >= 4:
            hundred.done(f"c{number - 4}")
    assert most == 5
    assert len(kept) == 4  # nobody has said that they are done


def test_what_was_never_taken_or_is_done_twice_does_no_harm() -> None:
    two = supply(2, ahead=1)
    two.take()
    for chunk in ("c1", "c0", "c0"):
        two.done(chunk)
    assert two.take() == "held c1"


def test_nothing_to_hand_out_is_exhausted_from_the_start() -> None:
    assert supply(0, ahead=1).exhausted
    assert not supply(0, ahead=1).has_next()


def test_wide_pools_and_many_readers_have_more_chunks_under_way() -> None:
    assert ahead_of(1, 1) == LEAST_AHEAD
    assert ahead_of(100, 512) >= 100 + 2 * 512 + 100  # read, in actors, written: all at once
