"""Mistakes in the words of their reader, over models of every shape that configurations have."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.problems import Problem, problems_of


class Dog(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["dog"] = "dog"
    legs: int = Field(4, ge=0, lt=5)


class Cat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    kind: Literal["cat"] = "cat"
    mood: Literal["calm", "cross"] = "calm"
    name: str

    @field_validator("name")
    @classmethod
    def _not_a_dog(cls, name: str) -> str:
        if name == "Rex":
            raise ValueError("that is a dog's name")
        return name


class Zoo(BaseModel):
    model_config = ConfigDict(extra="forbid")
    animals: tuple[Annotated[Dog | Cat, Field(discriminator="kind")], ...] = ()
    keeper: Dog | None = None
    size: tuple[int, float] = (1, 2.0)
    prices: dict[str, Annotated[float, Field(gt=0)]] = {}
    open: bool = True
    rank: Literal["low"] | Annotated[int, Field(ge=1)] = 1


def said(data: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Zoo.model_validate(data)
    return [f"{p.place_text}: {p.says}" for p in problems_of(caught.value, data, Zoo)]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"animals": [{"kind": "cow"}]}, 'animals[0].kind: there is no kind "cow"'),
        ({"animals": [{"legs": 3}]}, "animals[0].kind: is missing"),
        (
            {"animals": [{"kind": "dog", "legs": 5}]},
            "animals[0].legs: is 5; it must be a whole number, at least 0 and below 5",
        ),
        ({"animals": [{"kind": "cat"}]}, "animals[0].name: is missing; it is text"),
        (
            {"animals": [{"kind": "cat", "name": "Rex"}]},
            'animals[0].name: is "Rex": that is a dog\'s name',
        ),
        (
            {"animals": 3},
            "animals: is 3; it must be a list of any number, each a mapping with a kind: cat, dog",
        ),
        ({"animals": ["dog"]}, 'animals[0]: is "dog"; it must be a mapping with a kind: cat, dog'),
        (
            {"keeper": {"legs": -1}},
            "keeper.legs: is -1; it must be a whole number, at least 0 and below 5",
        ),
        ({"keeper": {"paws": 1}}, "keeper.paws: there is no such key"),
        ({"size": [1]}, "size[1]: is missing; it is a number"),
        ({"size": ["x", 1]}, 'size[0]: is "x"; it must be a whole number'),
        ({"size": 1}, "size: is 1; it must be a list of 2: a whole number; a number"),
        ({"prices": {"a": 0}}, "prices.a: is 0; it must be a number, above 0"),
        ({"open": "maybe"}, 'open: is "maybe"; it must be true or false'),
        ({"rank": 0}, 'rank: is 0; it must be "low" or a whole number, at least 1'),
        (
            3,
            "the file: is 3; it must be a mapping with the keys "
            "animals, keeper, open, prices, rank, size",
        ),
    ],
)
def test_a_mistake_is_one_line_with_place_value_and_what_is_legal(
    data: object, problem: str
) -> None:
    assert said(data) == [problem]


def test_a_misspelt_key_that_is_required_is_one_mistake_not_two() -> None:
    data = {"animals": [{"kind": "cat", "nam": "Tom"}]}
    assert said(data) == ["animals[0].nam: there is no such key"]


def test_a_place_reads_like_a_path() -> None:
    assert Problem(("ops", 1, "strength", 0), "").place_text == "ops[1].strength[0]"
