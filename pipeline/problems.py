"""What is wrong with a configuration, in the words of its reader.

pydantic says what failed; the JSON schema of the same model says what is legal there. Together they
make one line with the place, the value and the legal values, and a hint with the nearest match.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from schemas.models import MODEL_KINDS, TAG

MAX_PROBLEMS: Final = 200
"""Problems that are put into words: a screen shows a dozen, and a file may have thousands."""

Place = tuple[str | int, ...]
Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One mistake: where, what, and what to do."""

    place: Place
    says: str
    hints: tuple[str, ...] = ()

    @property
    def place_text(self) -> str:
        """`("ops", 1, "strength", 0)` -> `ops[1].strength[0]`."""
        parts = [f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.place]
        return "".join(parts).removeprefix(".") or "the file"


def problems_of(error: ValidationError, data: object, model: type[BaseModel]) -> list[Problem]:
    """Every mistake once, in the order of pydantic; of more than `MAX_PROBLEMS` the first."""
    root = model.model_json_schema()
    found: dict[Place, Problem] = {}
    for detail in islice(error.errors(include_url=False), MAX_PROBLEMS):
        problem = _problem(detail, data, root)
        found.setdefault(problem.place, problem)
    return [p for p in found.values() if not _is_consequence(p, list(found.values()))]


def nearest(word: str, legal: Iterable[str]) -> tuple[str, ...]:
    """The hint of the nearest match, if one is near."""
    matches = difflib.get_close_matches(word, list(legal), n=3, cutoff=0.5)
    # of "copys", ops is nearer than copies; but the first letter is seldom the wrong one
    matches.sort(key=lambda match: match[0] != word[:1])
    return (f"did you mean {matches[0]}?",) if matches else ()


def listed(words: Iterable[str]) -> str:
    """Words in one line."""
    return ", ".join(sorted(words)) or "none"


def shown(value: object) -> str:
    """A value, short enough for a line."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _problem(detail: ErrorDetails, data: object, root: Schema) -> Problem:
    place, schema = _locate(detail["loc"], data, root)
    match detail["type"]:
        case "extra_forbidden":
            _, parent = _locate(detail["loc"][:-1], data, root)
            keys = list(parent.get("properties", {}))
            hints = (*nearest(str(place[-1]), keys), f"legal keys: {listed(keys)}")
            return Problem(place, "there is no such key", hints)
        case "union_tag_invalid" | "union_tag_not_found":
            return _wrong_kind(place, detail, schema)
        case "missing":
            return Problem(place, f"is missing; it is {_legal(schema, root)}")
        case "value_error" | "assertion_error":
            reason = detail["msg"].partition(", ")[2]
            return _broken_rule(place, reason, detail["input"], schema)
    legal = _legal(schema, root)
    if not legal:
        return Problem(place, f"is {shown(detail['input'])}: {detail['msg']}")
    words = [str(word) for word in _words(schema, root)]
    hints = nearest(detail["input"], words) if isinstance(detail["input"], str) else ()
    return Problem(place, f"is {shown(detail['input'])}; it must be {legal}", hints)


def _broken_rule(place: Place, reason: str, value: object, schema: Schema) -> Problem:
    """What a validator says. Where fields contradict each other, `crop: 33 is not ...` has its
    place in front.
    """
    if not isinstance(value, dict):
        return Problem(place, f"is {shown(value)}: {reason}")
    name, colon, rest = reason.partition(": ")
    field = tuple(name.split("."))
    if colon and field[0] in schema.get("properties", {}):
        return Problem((*place, *field), rest)
    return Problem(place, reason)


def _wrong_kind(place: Place, detail: ErrorDetails, schema: Schema) -> Problem:
    if "discriminator" not in schema:
        return _wrong_model(place, detail["input"])
    kinds = list(schema.get("discriminator", {}).get("mapping", {}))
    value = detail["input"]
    kind = value.get("kind") if isinstance(value, dict) else None
    if kind is None:
        return Problem((*place, "kind"), "is missing", (f"legal kinds: {listed(kinds)}",))
    hints = (*nearest(str(kind), kinds), f"legal kinds: {listed(kinds)}")
    return Problem((*place, "kind"), f"there is no kind {shown(kind)}", hints)


def _wrong_model(place: Place, value: object) -> Problem:
    """A model is a mapping, and one of its keys says of what kind it is."""
    legal = f"a model is a mapping with one of the keys {listed(MODEL_KINDS)}"
    if not isinstance(value, dict):
        return Problem(place, f"is {shown(value)}; {legal}")
    for key in value:
        if hints := nearest(str(key), MODEL_KINDS):
            return Problem((*place, str(key)), "there is no such key", (*hints, legal))
    return Problem(place, "does not say of what kind it is", (legal,))


def _is_consequence(problem: Problem, others: Sequence[Problem]) -> bool:
    """Said better elsewhere: something below is wrong, or it is missing because misspelt."""
    place = problem.place
    below = any(len(o.place) > len(place) and o.place[: len(place)] == place for o in others)
    hint = f"did you mean {place[-1] if place else ''}?"
    misspelt = any(
        o.place[:-1] == place[:-1] and hint in o.hints and o is not problem for o in others
    )
    return below or (misspelt and problem.says.startswith("is missing"))


def _locate(loc: Sequence[str | int], data: object, root: Schema) -> tuple[Place, Schema]:
    """The place without pydantic's union tags, and the schema there (empty where it is lost)."""
    place: Place = ()
    value, schema = data, _resolve(root, root, data)
    steps = [step for step in loc if not str(step).startswith(TAG)]
    for i, step in enumerate(steps):
        last = i == len(steps) - 1
        if isinstance(value, dict) and isinstance(step, str) and (step in value or last):
            if step == value.get("kind") and step not in schema.get("properties", {}):
                continue
            value = value.get(step)
            properties = schema.get("properties", {})
            schema = properties.get(step) or schema.get("additionalProperties") or {}
        elif isinstance(step, int) and isinstance(value, dict) and "items" in schema:
            schema = _resolve(schema["items"], root, value)  # one alone, written without a list
            continue
        elif isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
            prefix = schema.get("prefixItems", [])
            schema = prefix[step] if step < len(prefix) else schema.get("items", {})
        else:
            continue  # the name of a branch of a union, not a place in the file
        place = (*place, step)
        schema = _resolve(schema if isinstance(schema, Mapping) else {}, root, value)
    return place, schema


def _resolve(schema: Schema, root: Schema, value: object) -> Schema:
    """Follow references; of a union take the branch that fits the value, if one does."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return _resolve(cast(Schema, root["$defs"][name]), root, value)
    if "discriminator" in schema and isinstance(value, dict):
        target = schema["discriminator"]["mapping"].get(value.get("kind"))
        return schema if target is None else _resolve({"$ref": target}, root, value)
    for branch in schema.get("oneOf", []):
        target = _resolve(branch, root, value)
        if isinstance(value, dict) and any(
            kind in value and kind in target.get("properties", {}) for kind in MODEL_KINDS
        ):
            return target
    wanted = "array" if isinstance(value, list) else "object" if isinstance(value, dict) else None
    branches = [_resolve(branch, root, value) for branch in schema.get("anyOf", [])]
    fitting = [branch for branch in branches if wanted and branch.get("type") == wanted]
    return fitting[0] if len(fitting) == 1 else schema


def _words(schema: Schema, root: Schema) -> list[object]:
    """The values that can be listed one by one."""
    if "const" in schema:
        return [schema["const"]]
    branches = [_resolve(branch, root, None) for branch in schema.get("anyOf", [])]
    return list(schema.get("enum", [])) or [w for b in branches for w in _words(b, root)]


def _legal(schema: Schema, root: Schema) -> str:
    """What may stand here, in words; empty where the schema does not say."""
    if "anyOf" in schema:
        branches = [_legal(_resolve(branch, root, None), root) for branch in schema["anyOf"]]
        return " or ".join(branch for branch in branches if branch)
    if "const" in schema or "enum" in schema:
        return " or ".join(shown(word) for word in _words(schema, root))
    match schema.get("type"):
        case "integer" | "number":
            return _number(schema)
        case "array":
            return _list(schema, root)
    return _plain(schema)


def _plain(schema: Schema) -> str:
    if "discriminator" in schema:
        return f"a mapping with a kind: {listed(schema['discriminator']['mapping'])}"
    if "properties" in schema:
        return f"a mapping with the keys {listed(schema['properties'])}"
    names = {"object": "a mapping", "boolean": "true or false", "null": "null", "string": "text"}
    return names.get(schema.get("type", ""), "") + (", not empty" if "minLength" in schema else "")


def _number(schema: Schema) -> str:
    noun = "a whole number" if schema["type"] == "integer" else "a number"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    bounds = [f"{word} {schema[key]}" for key, word in words.items() if key in schema]
    return f"{noun}, {' and '.join(bounds)}" if bounds else noun


def _list(schema: Schema, root: Schema) -> str:
    if "prefixItems" in schema:
        items = [_legal(_resolve(item, root, None), root) for item in schema["prefixItems"]]
        same = len(set(items)) == 1
        return f"a list of {len(items)}: " + (f"each {items[0]}" if same else "; ".join(items))
    item = _legal(_resolve(schema.get("items", {}), root, None), root)
    count = schema.get("minItems", schema.get("minLength"))  # the latter behind a validator
    least = f"{count} or more" if count else "any number"
    return f"a list of {least}" + (f", each {item}" if item else "")
