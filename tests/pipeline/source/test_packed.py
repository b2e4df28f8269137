"""Packed samples are as the tuple of them."""

from __future__ import annotations

import pickle

import pytest

from pipeline.source.packed import PackedSamples, copies_of
from pipeline.source.shards import SampleRef
from schemas.index import Member


def sample(key: str, *suffixes: str, copies: tuple[int, ...] | None = None) -> SampleRef:
    members = tuple(Member(f"{key}.{s}", 2**40 + n, n) for n, s in enumerate(suffixes))
    return SampleRef(key, members, copies)


SAMPLES = (
    sample("a", "png", "json"),
    sample('d/ä"\\\n\U0001f600', "png", copies=(0, 2)),
    sample("c"),
    sample("a b.", "PNG", "png", copies=()),
)


@pytest.mark.parametrize("samples", [(), SAMPLES, SAMPLES[:1]])
def test_packed_samples_are_as_their_tuple(samples: tuple[SampleRef, ...]) -> None:
    packed = PackedSamples.of(samples)
    assert (tuple(packed), len(packed), repr(packed)) == (samples, len(samples), repr(samples))
    assert packed == samples
    assert samples == packed
    assert {packed, samples} == {samples}
    assert [packed[place] for place in range(len(samples))] == list(samples)
    assert packed[1:] == samples[1:]
    assert pickle.loads(pickle.dumps(packed)) == packed
    assert list(copies_of(packed)) == list(copies_of(samples))


def test_packed_samples_differ_where_their_tuples_do() -> None:
    packed = PackedSamples.of(SAMPLES)
    assert packed != PackedSamples.of(SAMPLES[:3])
    assert packed != SAMPLES[:3]
    assert packed != PackedSamples.of(SAMPLES).with_copies([(0,)] * 4)


def test_other_copies_of_the_same_samples() -> None:
    packed = PackedSamples.of(SAMPLES).with_copies([(0, 1), (), (3,), (0, 1)])
    assert [one.copies for one in packed] == [(0, 1), (), (3,), (0, 1)]
    assert [one.members for one in packed] == [one.members for one in SAMPLES]
    assert packed.copies[0] is packed.copies[3]  # held once


def test_a_sample_takes_some_thirty_bytes() -> None:
    samples = [sample(f"train/{n:08d}", "jpg", "json") for n in range(64)]
    assert len(pickle.dumps(PackedSamples.of(samples))) < 40 * len(samples)
