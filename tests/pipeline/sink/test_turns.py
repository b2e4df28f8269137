"""Laws of starts that take turns. What they do between is in tests/jobs/run/test_nights.py."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipeline.sink import turns
from pipeline.sink.turns import beats, turn
from pipeline.storage.store import Store


def test_who_waits_for_long_is_not_taken_for_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two wait longer than the patience with one that is silent; then a fourth comes."""
    monkeypatch.setattr(turns, "POLL_S", 0.02)
    monkeypatch.setattr(turns, "BEAT_S", 0.05)
    monkeypatch.setattr(turns, "PATIENCE_S", 2.0)
    store = Store(str(tmp_path))
    works, most, lock = [0], [0], threading.Lock()
    second = threading.Event()

    def start() -> None:
        with turn(store, "cells", lambda _: None):
            with lock:
                works[0] += 1
                most[0] = max(most[0], works[0])
            if most_begun() == 3:
                second.set()
            threading.Event().wait(0.5)
            with lock:
                works[0] -= 1

    begun: list[int] = []

    def most_begun() -> int:
        begun.append(1)
        return len(begun)

    threads = [threading.Thread(target=start) for _ in range(3)]
    with turn(store, "cells", lambda _: None):
        most_begun()
        for thread in threads[:2]:
            thread.start()
        threading.Event().wait(3.0)
    assert second.wait(60)  # of the two that have waited, the second is at work
    threads[2].start()
    for thread in threads:
        thread.join(60)
    assert most == [1]


def test_who_was_silent_and_has_ended_meanwhile_is_no_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "POLL_S", 0.02)
    monkeypatch.setattr(turns, "PATIENCE_S", 0.1)
    store = Store(str(tmp_path))
    beat = "sessions/cells/elsewhere.1.aa.7.json"
    store.create(beat, b"{}")
    create = Store.create

    def begins(self: Store, path: str, data: bytes) -> bool:
        if ".w" not in path:
            self.delete(beat)
        return create(self, path, data)

    monkeypatch.setattr(Store, "create", begins)
    with turn(store, "cells", lambda _: None) as mine:
        assert mine.waited


def test_a_start_that_came_to_no_run_leaves_nothing(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with turn(store, "cells", lambda _: None):
        pass
    assert beats(store, "sessions/cells") == []


def test_one_that_was_taken_for_dead_and_lives_says_no_more(tmp_path: Path) -> None:
    """Whoever went on in its place has forgotten it with the end of the run."""
    store = Store(str(tmp_path))
    with turn(store, "cells", lambda _: None) as mine:
        mine.plan("cells-1")
        (beat,) = beats(store, "sessions/cells")
        store.delete(beat.path)
        mine.plan("cells-1")
        assert beats(store, "sessions/cells") == []
    assert beats(store, "sessions/cells") == []
