"""All gates. A new one is one file here and one name in `AnyGate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.gates.box_area import BoxArea
from pipeline.gates.diversity import Diversity
from pipeline.gates.exposure import Exposure
from pipeline.gates.fidelity import Fidelity
from pipeline.gates.label_agreement import LabelAgreement
from pipeline.gates.near_duplicate import NearDuplicate
from pipeline.gates.sharpness import Sharpness

AnyGate = Annotated[
    BoxArea | Diversity | Exposure | Fidelity | LabelAgreement | NearDuplicate | Sharpness,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyGate",
    "BoxArea",
    "Diversity",
    "Exposure",
    "Fidelity",
    "LabelAgreement",
    "NearDuplicate",
    "Sharpness",
]
