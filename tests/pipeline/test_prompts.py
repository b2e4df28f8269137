"""Prompts: what a template sees, what it may not do, and that a draw depends on its name alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline.ops import NoiseDenoise
from pipeline.prompts import Prompt, Prompts, drawn_prompts, rendered, words_of
from pipeline.seeds import rng_for
from schemas.errors import SampleError
from tests.pipeline.ops.examples import painted

PROMPTS: TypeAdapter[tuple[Prompt, ...]] = TypeAdapter(Prompts)
SAMPLE = replace(painted(), key="a/b", extra=(("stain", '"giemsa"'), ("labels", '"mine"')))


def said(text: str) -> str:
    return rendered(Prompt(text=text), words_of(SAMPLE))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("cells", "cells"),
        ("{{ labels | join(', ') }}", "disc, rod, disc"),
        ("{{ classes | join(' and ') }}", "disc and rod"),
        ("{{ counts.disc }} discs, {{ counts.rod }} rod", "2 discs, 1 rod"),
        ("{{ counts.WBC or 'no' }} white cells", "no white cells"),
        ("{{ counts['a b'] }}", "0"),
        ("{{ key }} of {{ width }}x{{ height }}", "a/b of 64x48"),
        ("{{ stain }} stain", "giemsa stain"),
        ("  two \n words ", "two words"),
        ("{% for name in classes %}{{ name }}s {% endfor %}", "discs rods"),
        ("{{ 2 * counts.disc }}", "4"),
    ],
)
def test_a_template_sees_the_labels_and_the_fields_of_its_sample(template: str, text: str) -> None:
    assert said(template) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ stian }}",
        "{{ counts.a.b }}",
        "{{ 1 / 0 }}",
        "{{ labels[9] }}",
        "{{ 'x' * 1000000000 }}",
        "{{ labels * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ labels.append('x') }}",
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ range(100000000) | list }}",
        "{% for i in range(5000) %}x{% endfor %}",
        "{{ labels | attr('__class__') }}",
    ],
)
def test_a_template_that_asks_for_what_is_not_there_or_not_its_own_fails_by_name(
    template: str,
) -> None:
    with pytest.raises(SampleError) as caught:
        said(template)
    assert caught.value.slug == "no_prompt"
    assert template in caught.value.detail or repr(template) in caught.value.detail


def test_a_prompt_may_be_a_text_a_list_with_weights_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("# what cells look like\none {{ key }}\n\n  two\n")
    assert PROMPTS.validate_python("one") == (Prompt(text="one"),)
    both = ["one", {"text": "two", "weight": 3}]
    assert PROMPTS.validate_python(both) == (Prompt(text="one"), Prompt(text="two", weight=3))
    read = PROMPTS.validate_python({"file": str(file)})
    assert [prompt.text for prompt in read] == ["one {{ key }}", "two"]


def test_what_was_in_a_file_travels_with_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("one\ntwo\n")
    op = NoiseDenoise.model_validate({"model": "a", "prompt": {"file": str(file)}})
    file.unlink()
    assert NoiseDenoise.model_validate_json(op.model_dump_json()) == op


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("{{ a", "no template"),
        ("{% nope %}", "no template"),
        ({"file": "missing.txt"}, "No such file"),
        ([], None),
        ([{"text": "a", "weight": 0}], "greater than 0"),
        ({"fiel": "a"}, "valid"),
    ],
)
def test_a_mistake_is_found_when_the_recipe_is_read(
    wrong: object, says: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if says is None:
        assert PROMPTS.validate_python(wrong) == ()
        return
    with pytest.raises(ValidationError, match=says):
        PROMPTS.validate_python(wrong)


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"\xff\xfe", b"x" * 300_000])
def test_a_file_that_holds_no_prompts_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_bytes(content)
    with pytest.raises(ValidationError, match=r"prompts\.txt"):
        PROMPTS.validate_python({"file": str(file)})


def test_a_list_is_drawn_from_by_its_weights_and_the_same_name_draws_the_same() -> None:
    prompts = PROMPTS.validate_python(["rare", {"text": "often", "weight": 9}])
    drawn = [
        drawn_prompts(prompts, (), SAMPLE, rng_for(7, SAMPLE.key, copy, "op#0"))["prompt"]
        for copy in range(400)
    ]
    assert 20 < drawn.count("rare") < 70  # 40 are expected, with a deviation of 6
    again = drawn_prompts(prompts, (), SAMPLE, rng_for(7, SAMPLE.key, 3, "op#0"))
    assert again == {"prompt": drawn[3]}


def test_an_op_without_prompts_draws_what_it_drew_before_there_were_any() -> None:
    silent = NoiseDenoise.model_validate({"model": "a"})
    saying = NoiseDenoise.model_validate({"model": "a", "prompt": ["a", "b"]})
    peers = {SAMPLE.key: SAMPLE}
    plain = silent.draw(SAMPLE, rng_for(7, "a", 0, "op#0"), peers)
    told = saying.draw(SAMPLE, rng_for(7, "a", 0, "op#0"), peers)
    assert plain is not None
    assert told is not None
    assert "prompt" not in plain
    assert {name: value for name, value in told.items() if name != "prompt"} == plain
