"""All ops. A new one is one file here and one name in `AnyOp`.

The laws in tests/pipeline/ops/test_laws.py are tested over this union, so that they hold it, too.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipeline.ops.classic import Classic
from pipeline.ops.copy_paste import CopyPaste
from pipeline.ops.inpaint import Inpaint
from pipeline.ops.noise_denoise import NoiseDenoise
from pipeline.ops.restyle import Restyle
from pipeline.ops.super_resolve import SuperResolve
from pipeline.ops.synthesize import Synthesize

AnyOp = Annotated[
    Classic | NoiseDenoise | Restyle | Inpaint | SuperResolve | CopyPaste | Synthesize,
    Field(discriminator="kind"),
]

__all__ = [
    "AnyOp",
    "Classic",
    "CopyPaste",
    "Inpaint",
    "NoiseDenoise",
    "Restyle",
    "SuperResolve",
    "Synthesize",
]
