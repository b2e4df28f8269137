"""Laws of ranged reads."""

import hashlib
from pathlib import Path

import pytest

from pipeline.source.ranged import MAX_GAP, READ_AHEAD, ForwardReader, read_members
from pipeline.storage.store import Store
from schemas.index import Member

DATA = bytes(range(251)) * 4000


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    store = Store(str(tmp_path) if request.param == "disk" else f"memory://{tmp_path.name}")
    store.create("a", DATA)
    return store


@pytest.mark.parametrize(
    "places",
    [
        [(0, 512), (512, 512), (1024, 40)],
        [(7, 100), (READ_AHEAD - 5, 10), (READ_AHEAD + 5, 0)],
        [(0, 10), (3 * READ_AHEAD + 1, 700)],
        [(len(DATA) - 512, 512)],
        [(0, len(DATA))],
    ],
)
def test_reading_forward_gives_the_bytes_at_every_place(
    store: Store, places: list[tuple[int, int]]
) -> None:
    reader = ForwardReader(store, "a", len(DATA))
    for offset, size in places:
        assert reader.read_at(offset, size) == DATA[offset : offset + size]


def test_a_read_past_the_end_gives_what_there_is_and_looking_back_works(store: Store) -> None:
    reader = ForwardReader(store, "a", len(DATA))
    assert reader.read_at(len(DATA) - 5, 512) == DATA[-5:]
    assert reader.read_at(len(DATA), 1) == reader.read_at(len(DATA) + 512, 512) == b""
    assert reader.read_at(100, 50) == DATA[100:150]
    assert reader.reaches(len(DATA))
    assert not reader.reaches(len(DATA) + 1)
    if store.local is not None:
        assert reader.digest() == hashlib.blake2b(DATA, digest_size=16).hexdigest()


def test_the_digest_on_a_disk_covers_what_was_skipped(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(DATA)
    reader = ForwardReader(Store(str(tmp_path)), "a", len(DATA))
    reader.read_at(600_000, 10)
    assert reader.digest() == hashlib.blake2b(DATA, digest_size=16).hexdigest()


def test_members_come_back_in_any_order_with_gaps_and_empty_ones(store: Store) -> None:
    places = [(900_000, 5), (0, 3), (3, 0), (MAX_GAP + 4, 9), (MAX_GAP + 513, 1)]
    members = [Member(f"m{i}", *place) for i, place in enumerate(places)]
    found = read_members(store, "a", members)
    assert found == {m: DATA[m.offset : m.offset + m.size] for m in members}


def test_one_read_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.source.ranged.MAX_READ", 1000)
    sizes: list[int] = []
    read = Store.read

    def counted(
        self: Store, path: str, offset: int = 0, size: int | None = None, version: str | None = None
    ) -> bytes:
        sizes.append(size or 0)
        return read(self, path, offset, size, version)

    monkeypatch.setattr(Store, "read", counted)
    members = [Member(f"m{n}", n * 400, 400) for n in range(5)]
    assert len(read_members(store, "a", members)) == 5
    assert sizes == [800, 800, 400]
