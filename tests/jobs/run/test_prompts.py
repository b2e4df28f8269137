"""`run --dry-run` renders prompts on real labels, and finds a template that fails on one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from jobs.run.plan import RunPlan, make_plan
from jobs.run.prompts import LOOKED_AT, prompt_table, prompts_said
from schemas.errors import RecipeError
from tests.jobs.sinks import planned_run

PASTE = "- {{kind: copy_paste, harmonise: 0, prompt: {prompt}, negative_prompt: blurry}}"


def plan_with(folder: Path, prompt: str) -> RunPlan:
    """A real source, and an op that says something. It needs no model to be asked."""
    return make_plan(planned_run(folder, PASTE.format(prompt=prompt), "{}").file)


def test_a_few_prompts_are_rendered_on_samples_from_all_over_the_source(tmp_path: Path) -> None:
    said = prompts_said(plan_with(tmp_path, "'{{ counts.cell }} cells in {{ key }}'"))
    keys = [one.key for one in said]
    assert 0 < len(keys) <= LOOKED_AT
    assert len(set(keys)) == len(keys)
    assert all(one.prompt.endswith(f"cells in {one.key}") for one in said)
    assert {one.negative_prompt for one in said} == {"blurry"}
    assert {one.step for one in said} == {"copy_paste#0"}


def test_the_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    out = io.StringIO()
    said = prompts_said(plan_with(tmp_path, "'[red]cells of {{ key }}[/red]'"))
    Console(file=out, width=120).print(prompt_table(said))
    assert f"[red]cells of {said[0].key}[/red]" in out.getvalue()


def test_a_template_that_fails_on_a_label_is_a_mistake_of_the_recipe(tmp_path: Path) -> None:
    planned = plan_with(tmp_path, "['fine', 'a {{ stain }} stain']")
    with pytest.raises(RecipeError) as caught:
        prompts_said(planned)
    said = str(caught.value)
    assert "ops[0].prompt[1]: fails on " in said
    assert "'stain' is undefined" in said
    assert "a template sees classes, counts, height, key, labels, source, width" in said


def test_a_recipe_without_prompts_reads_no_sample(tmp_path: Path) -> None:
    planned = planned_run(tmp_path)
    for shard in tmp_path.glob("*.tar"):
        shard.unlink()
    assert prompts_said(planned) == []
