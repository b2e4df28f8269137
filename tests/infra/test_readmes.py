"""The READMEs of infra/: what they link to and what their commands name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.jobs.workplace import ROOT

INFRA = ROOT / "infra"
FOLDERS = sorted(path for path in INFRA.iterdir() if path.is_dir())
READMES = sorted(INFRA.rglob("README.md"))


def test_every_folder_has_one_and_the_table_of_ways_to_run_names_it() -> None:
    table = (INFRA / "README.md").read_text()
    for folder in FOLDERS:
        assert (folder / "README.md").exists()
        assert f"({folder.name}/README.md" in table


@pytest.mark.parametrize("path", READMES, ids=lambda path: str(path.relative_to(INFRA)))
def test_what_a_readme_links_to_or_names_is_there(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", text)
    assert [link for link in links if not (path.parent / link).exists()] == []
    named = set(re.findall(r"(?<![\w/.])infra/[\w./-]*\w", text))
    made = {name for name in named if name.startswith("infra/compose/secrets/")}
    made |= {"infra/compose/secrets", "infra/compose/.env"}
    assert [name for name in sorted(named - made) if not (ROOT / name).exists()] == []
