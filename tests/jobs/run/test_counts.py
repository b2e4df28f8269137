"""What is counted of an index."""

from __future__ import annotations

from dataclasses import replace

from jobs.run.counts import counted, counts_of
from schemas.index import Repair, rows_to_table
from tests.pipeline.rows import row

CLIPPED = Repair("box_out_of_range", "clip", "box 0: [0, 0, 9, 99]")
DROPPED = Repair("box_empty", "drop_box", "box 1: [3, 3, 3, 3]")


def test_a_repair_of_a_source_is_counted_once_whatever_became_of_its_copies() -> None:
    mended = (CLIPPED, DROPPED, DROPPED)
    rows = [
        replace(row("a", copy=0), repairs=mended),
        replace(row("a", "rejected", copy=1), repairs=mended),
        replace(row("b", "failed"), repairs=(CLIPPED,)),
        replace(row("a"), source_shard="in/b.tar", repairs=(CLIPPED,)),
        row("c"),
    ]
    counts = counts_of(rows_to_table(rows).to_batches(max_chunksize=1))
    assert counts.repairs == {("box_empty", "drop_box"): 2, ("box_out_of_range", "clip"): 3}
    assert counts.repairs_text() == "box_empty drop_box 2, box_out_of_range clip 3"
    assert counts.figures()["repair.box_empty.drop_box"] == 2


def test_one_is_not_plural() -> None:
    assert [counted(n, "chunk") for n in (0, 1, 2)] == ["0 chunks", "1 chunk", "2 chunks"]
