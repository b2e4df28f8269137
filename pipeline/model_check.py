"""Whether the models of a recipe can do what its ops and gates ask of them, before anything starts.

Every mistake at once, each with its place: a model that is missing or damaged, one that cannot do
the job, an upscaler of another factor, a prompt for a model that does not listen, classes that a
model does not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pipeline.config import report
from pipeline.gate import Gate
from pipeline.model import Job, ModelCard
from pipeline.models import describe
from pipeline.op import Op
from pipeline.problems import Place, Problem, listed, shown
from pipeline.recipe import FullRecipe
from schemas.errors import ModelError, RecipeError

_FILLS_ONLY: Final = (
    "it fills holes from what is around them: objects would vanish whose labels stay; it is good "
    "for region: remove, background, and regions with protect: objects"
)


def check_models(recipe: FullRecipe) -> dict[str, ModelCard]:
    """The card of every model, by its name; RecipeError with everything that does not fit."""
    problems: list[Problem] = []
    cards: dict[str, ModelCard] = {}
    for name, spec in recipe.models.items():
        try:
            cards[name] = describe(spec)
        except ModelError as error:
            problems.append(Problem(("models", name), str(error)))
    steps: list[tuple[Place, Op | Gate]] = [
        *((("ops", i), op) for i, op in enumerate(recipe.ops)),
        *((("gates", i), gate) for i, gate in enumerate(recipe.gates)),
    ]
    for place, step in steps:
        card = cards.get(step.model_name or "")
        if card is not None:
            problems += _misfits(place, step, card, cards, recipe)
    if problems:
        raise RecipeError(report("models", problems))
    return cards


def digests(cards: Mapping[str, ModelCard]) -> dict[str, str]:
    """The digest of every model, by its name."""
    return {name: card.digest for name, card in cards.items()}


def _misfits(
    place: Place,
    step: Op | Gate,
    card: ModelCard,
    cards: Mapping[str, ModelCard],
    recipe: FullRecipe,
) -> Iterator[Problem]:
    """Everything in which this model does not fit this op or gate."""
    name = shown(step.model_name)
    needed: Sequence[Job] = step.jobs
    if needed and not card.does.intersection(needed):
        able = listed(other for other in cards if cards[other].does.intersection(needed))
        says = f"the model {name} cannot {' or '.join(needed)}; it can {listed(card.does)}"
        hints = [f"models here that can: {able}"]
        if "redraw" in needed and "inpaint" in card.does:
            hints.append(_FILLS_ONLY)
        yield Problem((*place, "model"), says, tuple(hints))
        return
    scale = getattr(step, "scale", None)
    if scale is not None and card.scales is not None and scale not in card.scales:
        legal = " or ".join(str(factor) for factor in sorted(card.scales))
        yield Problem((*place, "scale"), f"is {scale}; the model {name} enlarges {legal} times")
    for field in ("prompt", "negative_prompt"):
        if getattr(step, field, ()) and not card.prompted:
            yield Problem((*place, field), f"the model {name} takes no text; leave it out")
    yield from _unknown_classes((*place, "model"), name, card, recipe)
    if isinstance(step, Gate):
        yield from _nothing_to_judge((*place, "model"), name, card, recipe)


def _nothing_to_judge(
    place: Place, name: str, card: ModelCard, recipe: FullRecipe
) -> Iterator[Problem]:
    """A judge of labels that the source does not have, or whose names it does not tell."""
    source = recipe.source
    if "detect" in card.does and source.labels is None:
        yield Problem(place, f"the model {name} finds objects, and source.labels is null")
    if "segment" in card.does and source.segmentation is None:
        says = f"the model {name} tells the class of every pixel, and there are no class-id maps"
        yield Problem(place, says, ("source.segmentation names their suffix: seg.png",))
    elif "segment" in card.does and source.seg_classes is None:
        says = f"the model {name} tells classes by name, and the ids of the maps have none"
        yield Problem(place, says, ("source.seg_classes lists the names, by id",))


def _unknown_classes(
    place: Place, name: str, card: ModelCard, recipe: FullRecipe
) -> Iterator[Problem]:
    """Classes of the source that a model cannot tell: every sample with one would fail, or be
    judged wrongly. A model of class maps is asked for those, one of boxes for the others.
    """
    source = recipe.source
    asked = [("classes", card.classes, source.classes)]
    if source.segmentation is not None:
        asked.append(("seg_classes", card.seg_classes, source.seg_classes))
    for field, known, wanted in asked:
        missing = [one for one in wanted or () if known and one not in known]
        if missing:
            says = f"the model {name} knows no class {listed(missing)} of source.{field}"
            yield Problem(place, says, (f"it knows {listed(known)}",))
