"""What is installed is what was locked, by hash, and never older than the security fixes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
FLOORS = {"ray": "2.56", "torch": "2.10", "diffusers": "0.42.1"}


def locked() -> dict[str, tuple[list[str], list[str]]]:
    """Package -> the versions that are locked, and their hashes."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for entry in LOCK.replace("\\\n", " ").splitlines():
        if entry.strip():
            requirement = Requirement(entry.partition("--hash")[0])
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", entry
            versions, hashes = found.setdefault(requirement.name.lower(), ([], []))
            versions.append(specifier.version)
            hashes += re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry) or [""]
    return found


def test_every_entry_of_the_lock_has_a_hash() -> None:
    entries = locked()
    assert len(entries) > 100
    assert [name for name, (_, hashes) in entries.items() if not all(hashes)] == []


def test_the_lock_names_no_index_and_no_address() -> None:
    assert re.findall(r"://|--index|--extra|--find-links|--trusted|@ ", LOCK) == []


def test_an_installation_checks_the_hashes() -> None:
    (sync,) = re.findall(r"^.*pip sync .*$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert "--require-hashes requirements.lock" in sync


@pytest.mark.parametrize("name", FLOORS)
def test_the_floors_hold_in_the_lock_and_in_the_package(name: str) -> None:
    floor = Version(FLOORS[name])
    assert all(Version(version) >= floor for version in locked()[name][0])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = (r for r in map(Requirement, project["dependencies"]) if r.name == name)
    below = [
        Version(v) for v in ("0.1", "1.0", "2.0", "2.9", "2.55.1", "0.42.0") if Version(v) < floor
    ]
    assert [version for version in below if version in wanted.specifier] == []
