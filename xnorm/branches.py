"""Branches of a hierarchy that is still a list of parents by id, as a parser has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

__all__ = ["below"]


def below(roots: Iterable[str], parents: Iterable[tuple[str, Iterable[str]]]) -> set[str]:
    """Return the ids at and below these roots; circles do no harm.

    Args:
        parents: ids, and the ids of their parents.
    """
    children: dict[str, list[str]] = defaultdict(list)
    for child, above in parents:
        for parent in above:
            children[parent].append(child)
    todo, kept = list(roots), set[str]()
    while todo:
        if (current := todo.pop()) not in kept:
            kept.add(current)
            todo.extend(children.get(current, ()))
    return kept
