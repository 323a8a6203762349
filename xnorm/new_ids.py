"""What becomes of concept ids, in a newer release or in another terminology: what files of ids are rewritten by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

__all__ = ["IdLookup", "NewIds"]


class NewIds(NamedTuple):
    """What becomes of one id."""

    status: str
    """In a word: `same`, `replaced`, `mapped`, ..."""
    ids: tuple[str, ...] | None
    """What takes its place, the best first; none if it is left out. None if it stays as it is."""
    names: tuple[str, ...] | None = None
    """What the concepts of `ids` are called, if that is known."""
    reason: str | None = None
    """More than the status says."""


class IdLookup(Protocol):
    """Looks many ids up at once: `xnorm.replacements.Replacements` and `xnorm.mapping.Mapping` do."""

    def look_up(self, ids: Sequence[str]) -> Sequence[NewIds]:
        """Return what becomes of each id; none is given twice."""
        ...
