"""Early stopping: when the validation loss no longer falls, and which weights were the best.

Counted in checkpoints, remembered in them: a training that is killed and continued stops at the
same step, with the same weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Stopping:
    """What validation has seen so far. `misses`: checkpoints since the best one."""

    best_step: int = 0
    best_loss: float | None = None
    misses: int = 0

    def seen(self, step: int, loss: float, improvement: float) -> Stopping:
        """With one more validation. Better is lower than the best by at least `improvement`, a
        share of it; a loss that is no number never is.
        """
        if self.best_loss is None:
            better = math.isfinite(loss)
        else:
            better = loss < self.best_loss and loss <= self.best_loss * (1 - improvement)
        if better:
            return Stopping(step, loss, 0)
        return replace(self, misses=self.misses + 1)

    def over(self, patience: int | None) -> bool:
        """Whether the training ends here."""
        return patience is not None and self.misses >= patience
