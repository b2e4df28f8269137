"""`where`: which rows of an index are meant, as SQL would say it. Parsed, never evaluated as code.

    ssim > 0.4 and op = 'inpaint'
    not (op in ('restyle', 'synthesize')) and objects between 1 and 50
    strength.noise_denoise <= 0.5 and label = 'WBC' and score.ssim is not null

Columns are those of the index that hold one value (`ssim`, `source_key`, `copy`, `width`, ...), and

    op, model        the kinds of the ops that were applied, the digests of their models
    strength         their strengths; `strength.inpaint`: those of this kind only
    label            the classes of the objects
    objects          how many objects there are
    score.<gate>     what a gate measured; null where it did not

Of those with several values in a row, a comparison holds where it holds for any of them, and `!=`
and `not in` where no value is the one. A comparison with null holds neither way, as in SQL: both
`ssim > 0.4` and `not (ssim > 0.4)` leave out rows whose ssim is null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pipeline.index.conditions import (
    COLUMNS,
    COMPARE,
    DOTTED,
    LISTS,
    SINGLE,
    Column,
    Comparison,
    Joined,
    Not,
    Value,
    Where,
)
from pipeline.problems import listed, nearest, shown
from schemas.errors import RecipeError

MAX_LENGTH: Final = 4000
MAX_DEPTH: Final = 50

_SAME: Final = {"==": "=", "<>": "!="}
_WORDS: Final = ("and", "or", "not", "in", "is", "null", "between")
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<text>'(?:[^']|'')*')"
    r"|(?P<name>[A-Za-z_][\w-]*(?:\.[A-Za-z_][\w-]*)*)|(?P<sign><=|>=|<>|!=|==|[=<>(),]))"
)


def parse(text: str) -> Where:
    """The expression; RecipeError that says where it is wrong, and what is legal there."""
    if len(text) > MAX_LENGTH:
        raise RecipeError(f"where: {len(text)} characters, {MAX_LENGTH} at most")
    parser = _Parser(text, _tokens(text))
    found = parser.either(0)
    if parser.kind:
        raise parser.error("and, or, or the end")
    return found


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            at = place + len(text[place:]) - len(text[place:].lstrip())
            hint = "; text stands between single quotes" if text[at] in "\"'" else ""
            raise _wrong(text, at, f"{shown(text[at : at + 12])} is no part of an expression{hint}")
        kind = str(match.lastgroup)
        word = match[kind]
        if kind == "name" and word.lower() in _WORDS:
            kind = word = word.lower()
        found.append(_Token(kind, _SAME.get(word, word), match.start(str(match.lastgroup))))
        place = match.end()
    return found


def _wrong(text: str, place: int, says: str, hints: Sequence[str] = ()) -> RecipeError:
    return RecipeError("; ".join((f"where: {shown(text)}, character {place + 1}: {says}", *hints)))


class _Parser:
    """Recursive descent: either -> both -> one -> test."""

    def __init__(self, text: str, tokens: Sequence[_Token]) -> None:
        self._text, self._tokens, self._next = text, tokens, 0

    @property
    def kind(self) -> str:
        """Of the next token; nothing at the end."""
        return self._tokens[self._next].kind if self._next < len(self._tokens) else ""

    def error(self, wanted: str) -> RecipeError:
        if not self.kind:
            return _wrong(self._text, len(self._text), f"ends where {wanted} should follow")
        token = self._tokens[self._next]
        return _wrong(self._text, token.place, f"{shown(token.text)} where {wanted} should stand")

    def either(self, depth: int) -> Where:
        parts = [self._both(depth)]
        while self._take("or"):
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Joined("or", tuple(parts))

    def _both(self, depth: int) -> Where:
        parts = [self._one(depth)]
        while self._take("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Joined("and", tuple(parts))

    def _one(self, depth: int) -> Where:
        if depth > MAX_DEPTH:
            raise _wrong(self._text, 0, f"more than {MAX_DEPTH} parentheses and nots in each other")
        if self._take("not"):
            return Not(self._one(depth + 1))
        if self._take("sign", "("):
            inner = self.either(depth + 1)
            self._need("sign", ")")
            return inner
        return self._test(self._column())

    def _test(self, column: Column) -> Where:
        if self._take("is"):
            negative = self._take("not") is not None
            self._need("null", "null")
            test = Comparison(column, "null")
            return Not(test) if negative else test
        if self._take("not"):
            self._need("in", "in")
            return Not(Comparison(column, "in", self._values(column)))
        if self._take("in"):
            return Comparison(column, "in", self._values(column))
        if self._take("between"):
            low = self._value(column)
            self._need("and", "and")
            return Joined(
                "and",
                (
                    Comparison(column, ">=", (low,)),
                    Comparison(column, "<=", (self._value(column),)),
                ),
            )
        sign = self._tokens[self._next].text if self.kind == "sign" else ""
        if sign not in COMPARE:
            raise self.error("one of = != < <= > >= in between is")
        self._next += 1
        return Comparison(column, sign, (self._value(column),))  # type: ignore[arg-type]

    def _column(self) -> Column:
        token = self._need("name", "a column")
        name, _, part = token.text.partition(".")
        if part and name in DOTTED:
            return Column(name, part)
        if not part and name in (*SINGLE, *LISTS, "objects"):
            return Column(name)
        hints = (*nearest(token.text, COLUMNS), f"columns: {listed(COLUMNS)}")
        raise _wrong(self._text, token.place, f"there is no column {shown(token.text)}", hints)

    def _values(self, column: Column) -> tuple[Value, ...]:
        self._need("sign", "(")
        found = [self._value(column)]
        while self._take("sign", ","):
            found.append(self._value(column))
        self._need("sign", ")")
        return tuple(found)

    def _value(self, column: Column) -> Value:
        if column.textual:
            return self._need("text", "text in single quotes").text[1:-1].replace("''", "'")
        return float(self._need("number", "a number").text)

    def _take(self, kind: str, text: str | None = None) -> _Token | None:
        if self.kind != kind or text not in (None, self._tokens[self._next].text):
            return None
        self._next += 1
        return self._tokens[self._next - 1]

    def _need(self, kind: str, wanted: str) -> _Token:
        token = self._take(kind, wanted if kind == "sign" else None)
        if token is None:
            raise self.error(wanted)
        return token
