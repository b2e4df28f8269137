"""What a run shows while it goes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from jobs.run import live
from jobs.run.live import Pace, Tally, line, live_view
from pipeline.sink.commit import Receipt

RECEIPT = Receipt("c", kept=6, rejected=1, failed=1, bytes=100, images=8)


def test_a_tally_adds_receipts() -> None:
    tally = Tally(chunks=4, copies=32).plus(RECEIPT).plus(RECEIPT)
    assert (tally.committed, tally.kept, tally.rejected, tally.failed) == (2, 12, 2, 2)
    assert tally.attempted == 16


def test_a_line_says_chunks_pace_counts_and_the_time_left() -> None:
    tally = Tally(chunks=4, copies=32).plus(RECEIPT)
    assert line(tally, Pace(8, 2.0)) == (
        "1/4 chunks · 4.0 img/s · kept 6 · rejected 1 · failed 1 · 0:06 left"
    )
    assert line(tally, Pace(8, 8000.0)).endswith("6:40:00 left")


def test_before_the_first_chunk_no_time_is_guessed() -> None:
    assert line(Tally(chunks=4, copies=32), Pace(0, 0.0)) == "0/4 chunks · waiting for the first"
    resumed = Tally(chunks=4, copies=32).plus(RECEIPT)
    assert "kept 6" in line(resumed, Pace(0, 0.0))
    assert "waiting" in line(resumed, Pace(0, 0.0))


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_of_the_line_is_cut_off_on_a_terminal(width: int) -> None:
    out = io.StringIO()
    tally = Tally(chunks=2500, copies=20000).plus(RECEIPT)
    with live_view(Console(file=out, force_terminal=True, width=width), tally) as show:
        show(tally.plus(RECEIPT), Pace(8, 1.0))
    told = out.getvalue()
    assert "…" not in told
    assert "41:38 left" in told
    assert ("━" in told) == (width == 120)


def test_where_stderr_is_a_file_there_are_few_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: clock[0])
    out = io.StringIO()
    tally = Tally(chunks=12, copies=96)
    with live_view(Console(file=out, width=60), tally) as show:
        for _ in range(12):
            tally = tally.plus(RECEIPT)
            show(tally, Pace(tally.attempted, 1.0))
            clock[0] += 1.0
    lines = out.getvalue().splitlines()
    assert [text.split()[0] for text in lines] == ["0/12", "1/12", "6/12", "11/12", "12/12"]
    assert "\x1b" not in out.getvalue()


def test_on_a_terminal_the_view_leaves_nothing_behind() -> None:
    out = io.StringIO()
    tally = Tally(chunks=2, copies=16)
    with live_view(Console(file=out, force_terminal=True, width=120), tally) as show:
        show(tally.plus(RECEIPT), Pace(8, 1.0))
    assert "1/2 chunks" in out.getvalue()
    assert out.getvalue().rstrip().endswith("\x1b[2K")
