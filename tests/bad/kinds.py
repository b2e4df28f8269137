"""All kinds of bad shards, by name."""

from __future__ import annotations

from typing import Final

from tests.bad import annotations, archives, code, heavy, naming, packed, pictures
from tests.bad.building import Kinds

_PARTS: Final = (archives, naming, code, pictures, annotations, packed, heavy)

KINDS: Final[Kinds] = {name: kind for part in _PARTS for name, kind in part.KINDS.items()}
"""What the tests read."""

EVERY: Final[Kinds] = KINDS | heavy.HEAVIER
"""With those that take minutes."""
