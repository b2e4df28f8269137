"""Laws of which samples are made again; what comes of it is tested with `verify`."""

from jobs.verify.replay import spread
from tests.pipeline.rows import row

ROWS = [row(f"s{n}") for n in range(10)]


def test_the_choice_is_spread_evenly_and_always_the_same() -> None:
    assert [r.source_key for r in spread(ROWS, 2)] == ["s2", "s7"]
    assert [r.source_key for r in spread(ROWS, 1)] == ["s5"]
    assert spread(ROWS, 3) == spread(ROWS, 3)


def test_no_row_is_chosen_twice() -> None:
    for count in range(11):
        assert len({r.source_key for r in spread(ROWS, count)}) == count


def test_more_than_there_are_is_all_of_them() -> None:
    assert spread(ROWS, 99) == ROWS
    assert spread([], 3) == []
