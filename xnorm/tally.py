"""Counts of a report by reason, with the first places of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

__all__ = ["Tally"]

EXAMPLES = 3


class Tally:
    """What reports that count by reason have in common."""

    __slots__ = ()

    examples: dict[str, list[str]]
    """The first three places of each reason."""

    def count(self, counts: Counter[str], reason: str, where: str | int | None = None, number: int = 1) -> None:
        """Count something.

        Args:
            reason: why, in words that fit "N skipped: ...".
            where: a line number, an id or other words for the place; the first three of each reason are kept.
            number: how many; nothing is noted of none.
        """
        if number:
            counts[reason] += number
            self.show(reason, () if where is None else (f"line {where}" if isinstance(where, int) else where,))

    def show(self, reason: str, places: Iterable[str]) -> None:
        """Keep places of a reason, as long as there is room for them; each of them once."""
        shown = self.examples.setdefault(reason, [])
        for place in places:
            if len(shown) < EXAMPLES and place not in shown:
                shown.append(place)
