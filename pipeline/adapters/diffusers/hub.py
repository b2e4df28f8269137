"""Where a model of diffusers or transformers lies: a local folder, or a snapshot of a repository in
the local cache, at a full commit.

Nothing is fetched here, and no network is asked: what a run loads was there before it started, on
every machine (`noiseloom models fetch`). A branch or a tag names other weights tomorrow, so a
repository without a full commit is refused, with the commit that the cache holds, if it does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.errors import ModelError

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_REPO: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Place:
    """A folder of files, and the repository and commit that pin it, where something does."""

    folder: Path
    pinned: str | None = None


def place_of(repo: str, revision: str | None) -> Place:
    """Where this model lies. ModelError where it is not there, or not pinned."""
    folder = Path(repo)
    if folder.is_dir():
        if revision is not None:
            raise ModelError(f"{repo}: is a local folder, which has no revision; leave it out")
        return Place(folder)
    if not _REPO.fullmatch(repo):
        raise ModelError(f"{folder.absolute()}: no such folder, and not a repository's id")
    snapshot = _cached(repo) / "snapshots" / commit_of(repo, revision)
    if not snapshot.is_dir():
        raise ModelError(
            f"{repo} at {revision}: not in the local cache ({_cache()}); run "
            "`noiseloom models fetch RECIPE.yaml` where there is a network"
        )
    return Place(snapshot, f"{repo}@{revision}")


def commit_of(repo: str, revision: str | None) -> str:
    """The full commit that pins a repository; ModelError where it is none."""
    if revision is None or not _COMMIT.fullmatch(revision):
        raise ModelError(_not_pinned(repo, revision))
    return revision


def folder_of(repo: str, revision: str | None) -> Path:
    """The folder of `place_of`."""
    return place_of(repo, revision).folder


def is_repository(repo: str) -> bool:
    """Whether this names a repository and no folder that is here."""
    return not Path(repo).is_dir() and _REPO.fullmatch(repo) is not None


def _not_pinned(repo: str, revision: str | None) -> str:
    asked = "no such folder; a repository" if revision is None else f"{revision!r} is not a commit;"
    says = f"{repo}: {asked} needs revision: <full commit of 40 hex digits>"
    held = _held(repo, revision or "main")
    return f"{says}; the local cache holds {held}" if held else says


def _held(repo: str, reference: str) -> str | None:
    """The commit that the cache has under this branch or tag, or any one."""
    cached = _cached(repo)
    named = cached / "refs" / reference
    if re.fullmatch(r"[\w.-]+", reference) and named.is_file():
        return named.read_text().strip()
    snapshots = sorted(cached.glob("snapshots/*"), key=lambda path: path.stat().st_mtime)
    return snapshots[-1].name if snapshots else None


def _cached(repo: str) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return _cache() / repo_folder_name(repo_id=repo, repo_type="model")


def _cache() -> Path:
    """HF_HUB_CACHE, or `hub` in HF_HOME."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)
