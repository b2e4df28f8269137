"""All gates. A new one is one file here and one name in `AnyGate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.gates.fidelity import Fidelity
from pipeline.gates.label_agreement import LabelAgreement

AnyGate = Annotated[Fidelity | LabelAgreement, Field(discriminator="kind")]

__all__ = ["AnyGate", "Fidelity", "LabelAgreement"]
