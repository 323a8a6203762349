"""Mentions to candidates: each distinct mention once, those that the same filters hold for together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.candidates.base import Allowed, CandidateGenerator, Candidates
from xnorm.filters import QueryFilters, as_filters
from xnorm.restriction import Restriction, Restrictions
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Ask", "Lookup"]

KEPT_NAMES = 2
"""Restricted generators are kept for reuse until they hold copies of this many times the names of the terminology."""
KEPT = 32
"""The most restricted generators that are kept."""

Ask = Callable[[CandidateGenerator, Any, int], dict[str, Candidates]]
"""A generator, what it made of mentions, and k, to candidates after each step."""


@dataclass(frozen=True, slots=True)
class _Group:
    """What holds for some mentions: all of `general`, and at least one of `by_type` if there are any."""

    general: frozenset[Restriction] = frozenset()
    by_type: frozenset[Restriction] = frozenset()


class Lookup:
    """Asks a generator for what filters allow.

    Args:
        filters: what may be proposed for any mention.
        by_type: besides, what may be proposed for mentions of a type.

    Raises:
        ConfigError, DataError: the filters name what the terminology has not; see `Restrictions.resolve`.
    """

    def __init__(
        self,
        generator: CandidateGenerator,
        terminology: Terminology,
        filters: QueryFilters | None,
        by_type: Mapping[str, QueryFilters],
    ) -> None:
        self.generator = generator
        self.terminology = terminology
        self._restrictions = Restrictions(terminology)
        self._general, self._by_type = resolve_all(self._restrictions, filters, by_type)
        self._kept: OrderedDict[_Group, tuple[CandidateGenerator, Allowed]] = OrderedDict()

    def resolve(self, filters: QueryFilters | Mapping[str, Any] | None) -> frozenset[Restriction]:
        """Return what is to hold besides the filters that are there already.

        Raises:
            ConfigError, DataError: as the class.
        """
        own = as_filters(filters)
        return frozenset() if own is None else frozenset([self._restrictions.resolve(own)])

    def __call__(
        self, mentions: Sequence[Mention], texts: Sequence[str], k: int, ask: Ask, more: frozenset[Restriction]
    ) -> dict[str, Candidates]:
        """Return the candidates of mentions after each step, each of shape (mentions, k).

        Args:
            texts: what mentions are looked up by; an empty one gets no candidate.
            more: from `resolve`.
        """
        general = self._general | more
        of_types: dict[tuple[str, ...], _Group] = {}
        groups: dict[_Group, dict[tuple[str, str | None], int]] = {}
        places: list[tuple[_Group, int] | None] = []
        for text, mention in zip(texts, mentions, strict=True):
            if not text:
                places.append(None)
                continue
            if mention.types not in of_types:
                of_types[mention.types] = _Group(general, self._any_of(mention.types))
            group = of_types[mention.types]
            position = groups.setdefault(group, {})
            places.append((group, position.setdefault((text, mention.lang), len(position))))
        if not groups:  # a stand-in where all mentions are empty, for the steps must have their names then, too
            groups[_Group(general)] = {("-", None): 0}
        parts, starts, n = [], dict[_Group, int](), 0
        for group, position in groups.items():
            parts.append(self._ask(group, [Mention(text, lang=lang) for text, lang in position], k, ask))
            starts[group], n = n, n + len(position)
        rows = np.array([-1 if place is None else starts[place[0]] + place[1] for place in places], np.int64)
        return {
            step: _spread(Candidates.stack([part[step] for part in parts], members=True), rows) for step in parts[0]
        }

    def _any_of(self, types: Sequence[str]) -> frozenset[Restriction]:
        found = frozenset(self._by_type[kind] for kind in types if kind in self._by_type)
        return frozenset() if Restriction() in found else found  # what is anything or something is anything

    def _ask(self, group: _Group, mentions: Sequence[Mention], k: int, ask: Ask) -> dict[str, Candidates]:
        if not group.general and not group.by_type:
            return ask(self.generator, self.generator.represent(mentions), k)
        generator, allowed = self._restricted(group)
        steps = ask(generator, generator.represent(mentions), k)
        return {step: _named(found, allowed, self.terminology) for step, found in steps.items()}

    def _restricted(self, group: _Group) -> tuple[CandidateGenerator, Allowed]:
        """Return the generator for a group, and what it may propose; kept from the last time if possible."""
        if group not in self._kept:
            names = np.ones(self.terminology.n_names, bool)
            for restriction in group.general:
                names &= self._restrictions.names(restriction)
            if group.by_type:
                names &= reduce(np.logical_or, map(self._restrictions.names, group.by_type))
            allowed = Allowed(self.terminology, names)
            self._kept[group] = self.generator.restrict(allowed), allowed
        self._kept.move_to_end(group)
        copied = [own.n_names * own.few for _, own in self._kept.values()]
        while len(copied) > KEPT or (len(copied) > 1 and sum(copied) > KEPT_NAMES * self.terminology.n_names):
            self._kept.popitem(last=False)
            del copied[0]
        return self._kept[group]


def resolve_all(
    restrictions: Restrictions, filters: QueryFilters | None, by_type: Mapping[str, QueryFilters]
) -> tuple[frozenset[Restriction], dict[str, Restriction]]:
    """Look up the filters of a config: those for any mention, and those by the type of a mention.

    Raises:
        ConfigError, DataError: see `Restrictions.resolve`.
    """
    own = as_filters(filters)
    general = frozenset() if own is None else frozenset([restrictions.resolve(own)])
    return general, {kind: restrictions.resolve(f, f"filters_by_type.{kind}") for kind, f in by_type.items()}


def _named(found: Candidates, allowed: Allowed, terminology: Terminology) -> Candidates:
    """Give candidates that no name won the first name that their concept may be proposed by, for that is shown."""
    none = (found.concepts >= 0) & (found.names < 0)
    if none.any():
        first = np.searchsorted(allowed.rows, terminology.first_name[found.concepts[none]])
        found.names[none] = allowed.rows[first]
    return found


def _spread(found: Candidates, rows: npt.NDArray[np.int64]) -> Candidates:
    """Give each mention the candidates of its text; -1 in `rows` is an empty mention."""
    out = found.take(np.maximum(rows, 0))
    none = rows < 0
    out.concepts[none], out.names[none], out.scores[none] = -1, -1, -np.inf
    return out
