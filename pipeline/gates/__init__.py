"""All gates. A new one is one file here and one name in `AnyGate`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.gates.fidelity import Fidelity

AnyGate = Annotated[Fidelity, Field(discriminator="kind")]

__all__ = ["AnyGate", "Fidelity"]
