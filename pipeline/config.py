"""YAML file -> typed model: how recipes and training configs are read.

Nothing but plain data is accepted: no tags, no anchors, no duplicate keys, a bounded size. All
mistakes are reported at once, each with its line, its place (`ops[1].strength[0]`), the value, what
is legal there, and the nearest match.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.problems import MAX_PROBLEMS, Place, Problem, problems_of
from schemas.errors import RecipeError

ConfigT = TypeVar("ConfigT", bound=BaseModel)

_COUNT: Final = re.compile(r"0|[1-9][0-9]{0,8}")

MAX_BYTES: Final = 256 * 1024
MAX_VALUES: Final = 10_000
"""Keys and values in one file: what is checked one by one, by code that is not made for speed."""
MAX_NUMBER: Final = 100
"""Characters of one number. YAML has numbers to the base of 60, and Python reads them in quadratic
time: 200 kB of one took 4 s, and cannot be shown in an error."""
MAX_SHOWN: Final = 12
"""Problems in one report: more do not fit on a screen."""

_PLAIN: Final = {
    f"tag:yaml.org,2002:{t}" for t in ("map", "seq", "str", "int", "float", "bool", "null")
}


@dataclass(frozen=True)
class Document:
    """A parsed file: its plain data, and the line of every place in it."""

    name: str
    data: object
    lines: dict[Place, int]


def load_config(path: str | Path, model: type[ConfigT]) -> ConfigT:
    """The file as a `model`; RecipeError with every mistake in it."""
    return validate(read_document(path), model)


def validate(document: Document, model: type[ConfigT]) -> ConfigT:
    """The document as a `model`; RecipeError with every mistake in it."""
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        problems = problems_of(error, document.data, model)
        raise RecipeError(report(document.name, problems, document.lines)) from None


def report(name: str, problems: Sequence[Problem], lines: dict[Place, int] | None = None) -> str:
    """One screen: the file, then every problem with its line and its place."""
    known = lines or {}
    shown = sorted(problems, key=lambda problem: _line(problem.place, known))[:MAX_SHOWN]
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    count = f"{count} or more" if len(problems) >= MAX_PROBLEMS else count
    text = [f"{name}: {count}"]
    for problem in shown:
        line = _line(problem.place, known)
        where = f"line {line}, " if line else ""
        text.append(f"  {where}{problem.place_text}: {problem.says}")
        hints = [f"      {hint}" for hint in problem.hints]
        # Said once: a file of another kind has a dozen keys that are not legal here.
        text.extend(hint for hint in hints if "legal keys: " not in hint or hint not in text)
    if len(problems) > len(shown):
        text.append(f"  ... and {len(problems) - len(shown)} more")
    return "\n".join(text)


def read_document(path: str | Path) -> Document:
    """The plain data of a YAML file; RecipeError where it is something else."""
    name = str(path)
    text = _read_text(Path(path), name)
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise RecipeError(f"{name}: the file is empty")
        lines: dict[Place, int] = {}
        _check(node, (), lines, set(), name)
        return Document(name, loader.construct_document(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise RecipeError(f"{name}: {where}not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise RecipeError(f"{name}: nested too deeply") from None
    except (
        ValueError
    ) as error:  # a date such as 2026-13-45 passes the syntax and fails in construction
        raise RecipeError(f"{name}: not YAML: {error}") from None


def _read_text(path: Path, name: str) -> str:
    if not path.exists():
        raise RecipeError(f"{name}: there is no such file")
    if not path.is_file():
        raise RecipeError(f"{name}: not a file")
    if path.stat().st_size > MAX_BYTES:
        raise RecipeError(f"{name}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {error.strerror}") from None


def _check(
    node: yaml.Node, place: Place, lines: dict[Place, int], seen: set[int], name: str
) -> None:
    """Walk the nodes: remember lines; refuse tags, anchors in use, and duplicate keys."""
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise RecipeError(f"{name}: line {line}: anchors and aliases are refused; write it out")
    if node.tag not in _PLAIN:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        raise RecipeError(
            f"{name}: line {line}: the YAML type {tag!r} is refused; quote it if it is text"
        )
    if isinstance(node, yaml.ScalarNode):
        _check_number(node, line, name)
    seen.add(id(node))
    if len(seen) > MAX_VALUES:
        raise RecipeError(f"{name}: line {line}: more than {MAX_VALUES} values in one file")
    lines.setdefault(place, line)
    if isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            _check(item, (*place, i), lines, seen, name)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _check_key(key, place, lines, name)
            lines[(*place, key.value)] = key.start_mark.line + 1
            _check(value, (*place, key.value), lines, seen, name)


def _check_number(node: yaml.ScalarNode, line: int, name: str) -> None:
    number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    if number and len(node.value) > MAX_NUMBER:
        says = f"a number of {len(node.value)} characters; {MAX_NUMBER} at most"
        raise RecipeError(f"{name}: line {line}: {says}")


def _check_key(key: yaml.Node, place: Place, lines: dict[Place, int], name: str) -> None:
    line = key.start_mark.line + 1
    if isinstance(key, yaml.ScalarNode) and _COUNT.fullmatch(key.value):
        key.tag = "tag:yaml.org,2002:str"  # the number of a class, as text like every other key
    if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
        raise RecipeError(f"{name}: line {line}: keys are plain text; quote it")
    if (*place, key.value) in lines:
        first = lines[(*place, key.value)]
        raise RecipeError(
            f"{name}: line {line}: the key {key.value!r} stands twice; first on line {first}"
        )


def _line(place: Place, lines: dict[Place, int]) -> int:
    """The line of a place, or of the nearest place above it; 0 where lines are not known."""
    while place not in lines and place:
        place = place[:-1]
    return lines.get(place, 0)
