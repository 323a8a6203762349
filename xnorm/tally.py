"""Counts of a report by reason, with the first places of each, and reports as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["EXAMPLES", "Tally", "as_plain"]

EXAMPLES = 3
"""Places of a reason that are kept."""


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


def as_plain(report: Any) -> dict[str, Any]:
    """Return the fields of a report (a dataclass) as plain data for JSON, and so with reports and counts within it.

    `dataclasses.asdict` takes a Counter apart wrongly: it counts the pairs.
    """
    return {f.name: _plain(getattr(report, f.name)) for f in fields(report)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return as_plain(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
