"""Laws of `noiseloom gates`: the scores in tables, and a page that stands alone."""

from __future__ import annotations

import io
import json
import re
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from jobs.cli.main import app
from jobs.gates.scores import gates
from jobs.run.plan import RunPlan
from schemas.errors import SinkError
from tests.jobs.gates.test_regate import woven


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    return woven(tmp_path_factory.mktemp("run"), "{rejected: store}")


@pytest.fixture(scope="module")
def told(planned: RunPlan, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What is printed, and the page."""
    text, folder = io.StringIO(), tmp_path_factory.mktemp("page")
    page = gates(planned.recipe.sink, None, None, folder, Console(file=text, width=160))
    return text.getvalue(), page.read_text()


def test_every_score_has_a_line_and_the_verdicts_are_counted(told: tuple[str, str]) -> None:
    said, _ = told
    assert "14 copies" in said
    assert re.search(r"rejected +ssim_out_of_range +fidelity +6 +42.9%", said)
    for name in ("fidelity.psnr", "fidelity.ssim"):
        assert re.search(rf"{name} +12 ", said)
    assert "--score fidelity.patches" in said
    assert len(said.splitlines()) < 24, "what a terminal shows at once"


def test_a_score_or_a_gate_is_told_with_what_a_threshold_keeps(
    planned: RunPlan, tmp_path: Path
) -> None:
    text = io.StringIO()
    gates(planned.recipe.sink, None, "fidelity", tmp_path, Console(file=text, width=160))
    said = text.getvalue()
    for name in ("fidelity.psnr", "fidelity.ssim"):
        assert f"{name}: 12 of 14 copies have it" in said
    assert re.search(r"class cell +12 ", said) and re.search(r"op classic +12 ", said)
    assert re.search(r"100 +50.0% +100.0%", said)


def test_the_page_holds_its_pictures_and_asks_nobody(told: tuple[str, str]) -> None:
    _, page = told
    assert re.findall(r"""(?:src|href)=["'](?!data:)""", page) == []
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(pictures) == 36  # of three scores, six kept and six rejected copies
    import base64

    with Image.open(io.BytesIO(base64.b64decode(pictures[0]))) as picture:
        assert picture.width > 2 * picture.height * 0.9  # two beside each other
    for what in ("kept", "rejected"):
        assert page.count(f"{what}: source and copy") == 3


def test_the_slider_knows_what_every_threshold_keeps(told: tuple[str, str]) -> None:
    sliders = [json.loads(unescape(one)) for one in re.findall(r'data-at="([^"]+)"', told[1])]
    assert len(sliders) == 3
    for slider in sliders:
        everyone = slider["groups"][0]
        assert (everyone["name"], everyone["n"]) == ("all", 12)
        assert (everyone["least"][0], everyone["most"][-1]) == (12, 12)
        assert len(slider["values"]) == len(everyone["least"]) == len(everyone["most"])


def test_names_from_the_data_are_text(tmp_path: Path) -> None:
    from dataclasses import replace

    from jobs.gates.page import write_page
    from pipeline.index.files import index_file, published_path
    from pipeline.index.spread import spread_of
    from pipeline.storage.store import Store
    from schemas.index import rows_to_table
    from tests.pipeline.test_regate import scored

    store = Store(str(tmp_path / "out"))
    bad = replace(scored("a", g__x=1.0), labels=("<script>alert(1)</script>\"'",))
    store.create(published_path("r"), index_file([rows_to_table([bad])]))
    page = write_page(tmp_path / "page", store, ["r"], spread_of(store, ["r"])).read_text()
    assert "<script>alert" not in page
    (slider,) = re.findall(r'data-at="([^"]+)"', page)
    names = [group["name"] for group in json.loads(unescape(slider))["groups"]]
    assert "class <script>alert(1)</script>\"'" in names


def test_a_score_that_is_not_there_is_named(planned: RunPlan, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"--score fid: there are: fidelity\.patches, "):
        gates(planned.recipe.sink, None, "fid", tmp_path, Console(quiet=True))


def test_a_run_that_is_not_there_is_named(planned: RunPlan, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=f"no run x is published; there are: {planned.run}"):
        gates(planned.recipe.sink, "x", None, tmp_path, Console(quiet=True))


def test_the_command_writes_below_out_by_default(
    planned: RunPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["gates", planned.recipe.sink, "--run", planned.run])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "gates-out" / "index.html").is_file()


def test_no_number_of_the_overview_is_cut_off_on_80_columns(
    planned: RunPlan, tmp_path: Path
) -> None:
    text = io.StringIO()
    gates(planned.recipe.sink, None, None, tmp_path, Console(file=text, width=80))
    table = text.getvalue().partition("scores")[2]
    heads = next(line for line in table.splitlines() if "copies" in line)
    assert heads.split() == ["copies", "least", "5%", "median", "95%", "most", "low", "to", "high"]
    lines = [line for line in table.splitlines() if line.startswith(" fidelity.")]
    assert lines and not [line for line in lines if "…" in line[:63]]
