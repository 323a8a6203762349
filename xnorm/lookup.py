"""Mentions to candidates: each distinct mention once, those that the same filters hold for together."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.candidates.base import Allowed, CandidateGenerator, Candidates
from xnorm.errors import DataError
from xnorm.filters import QueryFilters, as_filters
from xnorm.restriction import Restriction, Restrictions
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Ask", "Lookup"]

KEPT_NAMES = 2
"""Restricted generators are kept for reuse until they hold copies of this many times the names of the terminology.
Where the types of one call alone need more, the widest are not copied: each would push out the next one to be asked."""
WIDE = 1 / 8
"""What allows less of the names is always copied: to pick it from what the whole index proposes takes too long."""
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
    """Asks a generator for what filters allow; several threads may ask at once.

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
        """The one that was asked last stands last."""
        self._lock = Lock()
        """Held wherever `_kept` is read or written."""

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
        for group in self._kept_first(groups):
            position = groups[group]
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

    def _kept_first(self, groups: Iterable[_Group]) -> list[_Group]:
        """Return groups in the order to ask them: a new one may push out what is kept, so those come last."""
        with self._lock:
            return sorted(groups, key=lambda group: group not in self._kept)

    def _restricted(self, group: _Group) -> tuple[CandidateGenerator, Allowed]:
        """Return the generator for a group, and what it may propose; kept from the last time if possible."""
        with self._lock:
            if group in self._kept:
                self._kept.move_to_end(group)
                return self._kept[group]
        names = np.ones(self.terminology.n_names, bool)
        for restriction in group.general:
            names &= self._restrictions.names(restriction)
        if group.by_type:
            names &= reduce(np.logical_or, map(self._restrictions.names, group.by_type))
        allowed = Allowed(self.terminology, names)
        with self._lock:
            allowed.few = allowed.few and self._worth_a_copy(group, allowed.n_names)
        # not under the lock, for it may take seconds: two threads may build the same, and the later one is kept
        made = self.generator.restrict(allowed), allowed
        with self._lock:
            self._kept[group] = made
            self._kept.move_to_end(group)
            self._make_room(group)
        return made

    def _worth_a_copy(self, group: _Group, n_names: int) -> bool:
        """Return whether a new group is to be copied; let go of wider ones that the same calls ask for, if there is no
        room for all. Those are not copied when they come again, for they are the widest then."""
        while n_names >= WIDE * self.terminology.n_names:
            copied = {g: own.n_names for g, (_, own) in self._kept.items() if own.few and g.general == group.general}
            if sum(copied.values()) + n_names <= KEPT_NAMES * self.terminology.n_names:
                return True
            widest = max(copied, key=lambda g: copied[g])
            if copied[widest] <= n_names:
                return False
            del self._kept[widest]
        return True

    def _make_room(self, group: _Group) -> None:
        """Let go of what was not asked for the longest time; first of what other calls asked for."""
        most = KEPT_NAMES * self.terminology.n_names
        while len(self._kept) > KEPT or (
            len(self._kept) > 1 and sum(own.n_names * own.few for _, own in self._kept.values()) > most
        ):
            other = (g for g in self._kept if g.general != group.general)
            del self._kept[next(other, next(iter(self._kept)))]


def resolve_all(
    restrictions: Restrictions, filters: QueryFilters | None, by_type: Mapping[str, QueryFilters]
) -> tuple[frozenset[Restriction], dict[str, Restriction]]:
    """Look up the filters of a config: those for any mention, and those by the type of a mention.

    Raises:
        ConfigError, DataError: see `Restrictions.resolve`.
    """
    every = {"filters": filters, **{f"filters_by_type.{kind}": f for kind, f in by_type.items()}}
    for key, f in every.items():
        # an index keeps the path of a value set, not the file
        path = f.value_set.path if f is not None and f.value_set is not None else None
        if path is not None and not path.exists():
            without = '{"filters": None}' if key == "filters" else '{"filters_by_type": {}}'
            fix = f"put it back, or open the index in Python with overrides={without}"
            raise DataError(f"no such file, which {key}.value_set names", path=path, fix=fix)
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
