"""Prompts out of labels: jinja2 templates over a sample, for models that listen to text.

    prompt: "a microscope image of {{ counts.RBC or 'no' }} red blood cells"
    prompt: ["a sunny street", {text: "a street with {{ labels | join(', ') }}", weight: 3}]
    prompt: {file: prompts.txt}        one template a line; # begins a comment

A template sees `labels` (class names of the objects, in order), `classes` (each once), `counts`
(how many of each; 0 of others), `key`, `width`, `height`, and every other field of the sample's
JSON by its name. A name that is not there is an error, never an empty word: `no_prompt` in a run,
and before it a mistake of the recipe that `--dry-run` finds on real labels.

Templates run in jinja2's immutable sandbox: they call nothing that acts. Products of texts and
powers, the short ways to fill a memory, are refused, too. A file is read with the recipe, so that
what is in it is part of the run's digest and travels to every worker.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from jinja2 import StrictUndefined, TemplateError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from numpy.random import Generator
from pydantic import AfterValidator, BeforeValidator, Field

from schemas.errors import SampleError
from schemas.sample import Sample
from schemas.spec import Spec

if TYPE_CHECKING:
    from jinja2 import Template

MAX_FILE_BYTES: Final = 256 * 1024
MAX_TEXT: Final = 4000
"""Characters of a rendered prompt; the longest text encoders read 512 tokens."""


class Prompt(Spec):
    """One template, and how often it is taken beside the others."""

    text: str
    weight: float = Field(1.0, gt=0, le=1e6)


def _listed(value: object) -> object:
    """What a recipe may say instead of a list of prompts with weights."""
    if isinstance(value, str):
        return [{"text": value}]
    if isinstance(value, dict) and set(value) == {"file"}:
        return [{"text": line} for line in _lines(value["file"])]
    if isinstance(value, list | tuple):
        return [{"text": one} if isinstance(one, str) else one for one in value]
    return value


def _lines(name: object) -> list[str]:
    path = Path(str(name))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ValueError(f"{path.absolute()}: {reason}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{path.absolute()}: more than {MAX_FILE_BYTES} bytes")
    lines = [line.strip() for line in text.splitlines()]
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise ValueError(f"{path.absolute()}: there is no prompt in it")
    return found


def _parsed(prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
    for prompt in prompts:
        try:
            _template(prompt.text)
        except TemplateError as error:
            raise ValueError(f"{prompt.text!r} is no template: {error}") from None
    return prompts


Prompts = Annotated[
    tuple[Prompt, ...],
    BeforeValidator(_listed),
    AfterValidator(_parsed),
    Field(description="jinja2 over the labels: a text, a list with weights, or {file: ...}"),
]
"""What an op may say to a model that listens; empty where it says nothing."""


class _Sandbox(ImmutableSandboxedEnvironment):
    """Nothing can be called that changes anything, and no operator makes much out of little."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "*" and all(isinstance(side, int | float) for side in (left, right)):
            return left * right
        raise SecurityError(f"{operator} is for numbers here, and ** for nothing")


@lru_cache(maxsize=4096)
def _template(text: str) -> Template:
    return _SANDBOX.from_string(text)


_SANDBOX: Final = _Sandbox(undefined=StrictUndefined, autoescape=False)


class _Counts(Counter[str]):
    """How many objects of each class; a class that is not there is there 0 times."""

    def __getattr__(self, name: str) -> int:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]


def words_of(sample: Sample) -> dict[str, Any]:
    """What a template sees of a sample. The names above win over fields of the same name."""
    labels = list(sample.objects.labels)
    fields = {name: json.loads(text) for name, text in sample.extra}
    return fields | {
        "labels": labels,
        "classes": list(dict.fromkeys(labels)),
        "counts": _Counts(labels),
        "key": sample.key,
        "width": sample.width,
        "height": sample.height,
    }


def rendered(prompt: Prompt, words: Mapping[str, Any]) -> str:
    """The text for a sample, with its white space made single. SampleError `no_prompt` where a
    name is missing, or the template fails.
    """
    try:
        text = " ".join(_template(prompt.text).render(words).split())
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise SampleError("no_prompt", f"{prompt.text!r}: {error}") from None
    if len(text) > MAX_TEXT:
        raise SampleError("no_prompt", f"{prompt.text!r}: {len(text)} characters")
    return text


def drawn_prompts(
    prompts: Prompts, negative_prompts: Prompts, sample: Sample, rng: Generator
) -> dict[str, str]:
    """One of the prompts by their weights, and one of the negative ones, rendered for the sample:
    what an op adds to its draw. Nothing where it has no prompts.
    """
    draw: dict[str, str] = {}
    for name, choice in (("prompt", prompts), ("negative_prompt", negative_prompts)):
        if choice:
            weights = [prompt.weight for prompt in choice]
            at = int(rng.choice(len(choice), p=[w / sum(weights) for w in weights]))
            draw[name] = rendered(choice[at], words_of(sample))
    return draw
