"""When a training of an encoder does what, and how far it is: what the loops of all kinds of encoders share."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ALIKE", "Schedule", "State"]

WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
ALIKE = 0.999
"""Vectors are all alike if two of them have a higher cosine on average."""


@dataclass(frozen=True)
class Schedule:
    """When what is done."""

    steps: int
    learning_rate: float
    """Highest one; warms up over a twentieth of the steps, then falls linearly to zero."""
    evaluations: int
    """Measurements, evenly spread, the last one at the end; one more is made before the first step."""
    patience: int
    """The training ends after so many measurements without a better one."""
    seed: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = max(1, int(self.steps * WARM_UP))
        falling = (self.steps - step) / max(1, self.steps - warm)
        return self.learning_rate * min((step + 1) / warm, max(0.0, falling))

    def measures(self, done: int) -> bool:
        """Return whether a measurement comes after so many steps."""
        share = min(self.evaluations, self.steps)
        return done * share // self.steps > (done - 1) * share // self.steps


@dataclass
class State:
    """How far a training is: what a checkpoint says in words."""

    step: int = 0
    """Steps made."""
    seconds: float = 0.0
    """Of these, without the measurements between them."""
    losses: list[float] = field(default_factory=list)
    """Since the last measurement: sums of what a loop adds up, and last of how many steps."""
    history: list[dict[str, float]] = field(default_factory=list)
    """Of each measurement: `step`, `mrr` (what the best is chosen by), `recall` (at 1), and `loss` (mean of the steps
    since the one before)."""
    best: int = 0
    """Step of the best measurement; 0: none is better than the one before the first step."""

    def is_best(self, mrr: float) -> bool:
        """Return whether no measurement before was as good."""
        return all(mrr > entry["mrr"] for entry in self.history)

    def is_out(self, patience: int) -> bool:
        """Return whether the last measurements, as many as `patience`, were no better than one before them."""
        found = [entry["mrr"] for entry in self.history]
        return bool(found) and len(found) - 1 - found.index(max(found)) >= patience
