"""Where a model lies: a local folder, or a repository at a full commit in the local cache."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants

from pipeline.adapters.diffusers.hub import Place, is_repository, place_of
from schemas.errors import ModelError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds one commit of lab/painter, as the hub's client lays it out."""
    root = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    repo = root / "models--lab--painter"
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    monkeypatch.chdir(tmp_path)
    return root


def refusal(repo: str, revision: str | None) -> str:
    with pytest.raises(ModelError) as caught:
        place_of(repo, revision)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_repository_at_its_commit_is_the_snapshot_in_the_cache(cache: Path) -> None:
    snapshot = cache / "models--lab--painter" / "snapshots" / COMMIT
    assert place_of("lab/painter", COMMIT) == Place(snapshot, f"lab/painter@{COMMIT}")
    assert is_repository("lab/painter")


def test_a_folder_that_is_here_wins_over_a_repository_of_its_name(cache: Path) -> None:
    Path("lab/painter").mkdir(parents=True)
    assert place_of("lab/painter", None) == Place(Path("lab/painter"))
    assert not is_repository("lab/painter")
    assert "leave it out" in refusal("lab/painter", COMMIT)


@pytest.mark.parametrize("revision", [None, "main", COMMIT[:12], COMMIT.upper(), "a" * 41])
def test_what_is_no_full_commit_is_refused_with_the_one_that_the_cache_holds(
    cache: Path, revision: str | None
) -> None:
    said = refusal("lab/painter", revision)
    assert "revision: <full commit" in said
    assert f"the local cache holds {COMMIT}" in said


def test_of_a_repository_that_is_not_there_nothing_is_said_to_be_held(cache: Path) -> None:
    assert "holds" not in refusal("lab/other", None)


def test_a_commit_that_is_not_in_the_cache_says_what_to_run(cache: Path) -> None:
    said = refusal("lab/painter", OTHER)
    assert OTHER in said
    assert "noiseloom models fetch" in said
    assert str(cache) in said


@pytest.mark.parametrize("name", ["weights", "./lab/painter", "a/b/c", "../x/y", "/x", "a/ b"])
def test_what_is_neither_a_folder_nor_a_repository_says_so(cache: Path, name: str) -> None:
    assert "no such folder" in refusal(name, None)


def test_a_reference_cannot_lead_out_of_the_cache(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("planted")
    assert "planted" not in refusal("lab/painter", "../../../secret")
