"""Whatever stands in a recipe, or in its name: one clear message, exit code 2, and no traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobs.cli.main import main
from tests.bad.code import CANARY
from tests.pipeline.shards import sample_files, tar_of

SOURCE = "source: {shards: a.tar, segmentation: seg.png}\n"
SINK = "sink: out\n"
TRACKING = "tracking: {uri: null}\n"
OPS = "ops: [{kind: classic, transforms: [{HorizontalFlip: {}}]}]\n"
GOOD = SOURCE + SINK + TRACKING + OPS

LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"
CALL = f"!!python/object/apply:builtins.open [{CANARY}, w]"


def other(**parts: str) -> str:
    """The good recipe with some of its lines otherwise."""
    usual = {"source": SOURCE, "sink": SINK, "tracking": TRACKING, "ops": OPS}
    return "".join({**usual, **{k: f"{k}: {v}\n" for k, v in parts.items()}}.values())


RECIPES = {
    "laughs": (LAUGHS + GOOD, "anchors and aliases"),
    "merge": (GOOD + "budget: &b {failed: 1}\nresources: {<<: *b}\n", "keys are plain text"),
    "ring": ("a: &a [*a]\n" + GOOD, "anchors and aliases"),
    "call": (GOOD + f"seed: {CALL}\n", "YAML type 'python/object"),
    "call_as_key": (GOOD + f"{CALL}: 1\n", "keys are plain text"),
    "module": (GOOD + "seed: !!python/module:os\n", "YAML type"),
    "name": (GOOD + "seed: !!python/name:os.system\n", "YAML type"),
    "new": (GOOD + "seed: !!python/object/new:os.system [ls]\n", "YAML type"),
    "own_tag": (GOOD + "seed: !env HOME\n", "YAML type '!env'"),
    "binary": (GOOD + "seed: !!binary aGVsbG8=\n", "YAML type 'binary'"),
    "set": (GOOD + "seed: !!set {a, b}\n", "YAML type 'set'"),
    "deep": (GOOD + "gates: " + "[" * 3000 + "]" * 3000, "nested too deeply"),
    "deep_mapping": (GOOD + "gates: " + "{a: " * 2000 + "1" + "}" * 2000, "nested too deeply"),
    "huge": (GOOD + "# " + "x" * 300_000, "bytes; at most"),
    "many_values": (GOOD + "gates: [" + "1," * 10_001 + "]\n", "more than 10000 values"),
    "many_mistakes": (GOOD + "gates: [" + "{},", "not YAML"),
    "all_mistakes": (GOOD + "gates: [" + "{}," * 3000 + "]\n", "200 mistakes or more"),
    "number_of_digits": (GOOD + "seed: " + "9" * 5000 + "\n", "a number of 5000 characters"),
    "number_to_base_60": (GOOD + "seed: 1" + ":1" * 50_000 + "\n", "a number of 100001"),
    "number_to_base_16": (GOOD + "seed: 0x" + "f" * 5000 + "\n", "a number of 5002"),
    "infinite": (GOOD + "budget: {failed: .inf}\n", "budget.failed: is"),
    "not_a_number": (GOOD + "budget: {failed: .nan}\n", "budget.failed: is"),
    "key_twice": (GOOD + "seed: 1\nseed: 2\n", "stands twice"),
    "unknown_key": (GOOD + "copys: 3\n", "did you mean copies"),
    "magic_key": (GOOD + "__class__: {__init__: 1}\n", "there is no such key"),
    "unknown_kind": (other(ops="[{kind: ../../os}]"), "there is no kind"),
    "unknown_transform": (
        other(ops="[{kind: classic, transforms: [{__import__: {name: os}}]}]"),
        "has no transform",
    ),
    "lambda": (
        other(ops="[{kind: classic, transforms: [{Lambda: {image: os.system}}]}]"),
        "Lambda",
    ),
    "two_documents": (GOOD + "---\n" + GOOD, "another document"),
    "no_mapping": ("[1, 2]", "must be a mapping"),
    "control": (GOOD + "# \x07\n", "not YAML"),
    "not_utf8": (GOOD + "# \udcff\n", "not UTF-8"),
    "suffix_up": (other(source="{shards: a.tar, labels: ../../json}"), "no suffix"),
    "suffix_empty": (other(source="{shards: a.tar, labels: ''}"), "no suffix"),
    "suffix_nul": (other(source='{shards: a.tar, segmentation: "p\\0ng"}'), "no suffix"),
    "suffix_of_images": (other(source="{shards: a.tar, image: [png, /etc/x]}"), "no suffix"),
    "model_up": (GOOD + "models: {../../x: {native: w}}\n", "not the name of a model"),
    "model_escape": (GOOD + 'models: {"\\e[2Jx": {native: w}}\n', "not the name of a model"),
    "model_that_is_none": (GOOD + "models: {x: {native: ../../../etc}}\n", "no such file"),
    "model_nul": (GOOD + 'models: {x: {native: "w\\0"}}\n', "no such file"),
    "shards_of_a_shell": (other(source=f"{{shards: 'pipe:touch {CANARY}'}}"), "no such shard"),
    "shards_by_http": (other(source="{shards: 'http://lab/a.tar'}"), "'http' is none of"),
    "shards_nul": (other(source='{shards: "a\\0.tar"}'), "characters that no name has"),
    "shards_beyond_counting": (other(source="{shards: 'a{0..99999999999}.tar'}"), "1000000"),
    "shards_counted_often": (
        other(source="{shards: '" + "{0..9}" * 40 + "'}"),
        "more than 1000000 shards",
    ),
    "shards_signed": (other(source="{shards: 's3://lab/a.tar?sig=1'}"), "may be a signature"),
    "sink_signed": (other(sink="az://lab/x?sig=1"), "may be a signature"),
    "sink_by_http": (other(sink="http://lab/x"), "'http' is none of"),
    "sink_nul": (other(sink='"out\\0"'), "characters that no name has"),
}


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command line says of a mistake."""
    monkeypatch.setattr(sys, "argv", ["noiseloom", *words])
    with pytest.raises(SystemExit) as caught:
        main()
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, ""), err
    assert "Traceback" not in err
    assert len(err) < 4000
    assert all(char.isprintable() or char == "\n" for char in err)
    assert not Path(CANARY).exists()
    return err


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good shard in it, where the command runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "a.tar").write_bytes(tar_of(sample_files("k")))
    return tmp_path


@pytest.mark.parametrize("name", RECIPES)
def test_a_bad_recipe_is_one_message_and_exit_code_2(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, says = RECIPES[name]
    (here / "cells.yaml").write_bytes(text.encode("utf-8", "surrogateescape"))
    err = said(monkeypatch, capsys, "run", "--dry-run", "cells.yaml")
    assert says in err
    assert sorted(path.name for path in here.iterdir()) == ["a.tar", "cells.yaml"]


@pytest.mark.parametrize(
    "name",
    [
        "it's.yaml",
        "a\nb.yaml",
        "\x1b[31m.yaml",
        ".yaml",
        "a`b.yaml",
        "{a}.yaml",
        "a" * 120 + ".yaml",
    ],
)
def test_a_run_is_not_called_after_an_odd_file(
    here: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / name).write_text(GOOD)
    assert "rename it" in said(monkeypatch, capsys, "run", "--dry-run", name)
