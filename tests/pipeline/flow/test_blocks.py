"""What travels between stages arrives as it was sent."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from pipeline.flow.blocks import (
    ENCODED,
    WOVEN,
    encoded_block,
    encoded_samples,
    woven_block,
    woven_copies,
)
from pipeline.source.plan import EncodedSample
from tests.pipeline.rows import woven

SAMPLE = EncodedSample("k", b"\x00png", "png", b"{}", None, "c0ffee", "in.tar")
BROKEN = replace(SAMPLE, key="l", image=b"", labels=None, problem=("missing_image", "has json"))


def test_encoded_samples_come_back() -> None:
    block = encoded_block("chunk-1", [SAMPLE, BROKEN])
    assert block.schema == ENCODED
    assert encoded_samples(block) == ("chunk-1", [SAMPLE, BROKEN])


def test_woven_copies_come_back() -> None:
    copies = woven()
    block = woven_block(copies, attempted=7, seconds=(1.5, 0.25))
    assert block.schema == WOVEN
    assert woven_copies(block) == (copies, 7, (1.5, 0.25))


def test_a_block_in_several_pieces_is_the_same_block() -> None:
    copies = woven()
    whole = woven_block(copies, 5, (1.0,))
    pieces = pa.concat_tables([whole.slice(0, 2), whole.slice(2)])
    assert woven_copies(pieces)[0] == copies


def test_bytes_are_counted_at_their_size() -> None:
    large = replace(SAMPLE, image=b"x" * 1_000_000)
    assert encoded_block("c", [large, large]).nbytes >= 2_000_000
