"""What filters allow in one terminology, as masks over its names."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from xnorm.branches import rows_below
from xnorm.errors import ConfigError, XnormWarning
from xnorm.filters import QueryFilters, ValueSet
from xnorm.hierarchy import children
from xnorm.registry import did_you_mean
from xnorm.semantic_types import spellings
from xnorm.tables import Terminology
from xnorm.text import LangFilter, encodable

__all__ = ["Restriction", "Restrictions"]

Mask = npt.NDArray[np.bool_]

LOOKED_UP = 1000
"""Up to so many ids are looked up one by one; more are compared with all of the terminology, which takes seconds for
millions."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """Filters whose words are all known in a terminology; equal ones allow the same."""

    types: frozenset[str] | None = None
    langs: frozenset[str] | None = None
    sources: frozenset[str] | None = None
    branches: bytes | None = None
    """Concept rows (int32), ascending."""
    value_set: bytes | None = None
    """Concept rows (int32), ascending."""


class Restrictions:
    """Filters of one terminology: looks up what they name, and makes masks of them."""

    def __init__(self, terminology: Terminology) -> None:
        self.terminology = terminology

    def resolve(self, filters: QueryFilters, where: str = "filters") -> Restriction:
        """Look up what filters name; retired ids stand for what replaced them.

        A value set may have ids that the terminology has not: they are counted in a warning.

        Args:
            where: what to call the filters in an error.

        Raises:
            ConfigError: a type, language or source that no concept or name has, a branch that is no concept, or a value
                set without any concept.
            DataError: the file of a value set cannot be read.
        """
        types = self._known(filters.types, self._types, f"{where}.types: no concept has the type", _spelt)
        langs = self._known(filters.langs, self._tags("lang"), f"{where}.langs: no name is in the language", _of_lang)
        sources = self._known(filters.sources, self._tags("source"), f"{where}.sources: no name is from", _same)
        branches, value_set = None, None
        if filters.branches is not None:
            rows, unknown = self._rows(filters.branches)
            if unknown:
                raise ConfigError(f"{where}.branches: no concept has the id '{unknown[0]}'; {self._near(unknown[0])}")
            branches = rows.tobytes()
        if filters.value_set is not None:
            value_set = self._listed(filters.value_set, f"{where}.value_set").tobytes()
        return Restriction(types, langs, sources, branches, value_set)

    def names(self, restriction: Restriction) -> Mask:
        """Return which names a restriction allows, shape (names of the terminology,)."""
        concepts = np.ones(len(self.terminology), bool)
        if restriction.types is not None:
            concepts &= self._of_types(restriction.types)
        if restriction.branches is not None:
            concepts &= rows_below(np.frombuffer(restriction.branches, np.int32), self._children)
        if restriction.value_set is not None:
            listed = np.zeros(len(concepts), bool)
            listed[np.frombuffer(restriction.value_set, np.int32)] = True
            concepts &= listed
        mask: Mask = concepts[self.terminology.name_concept]
        for column, wanted in (("lang", restriction.langs), ("source", restriction.sources)):
            if wanted is not None:
                tags = self.terminology.names.column(column).combine_chunks()
                table = np.array([*(tag in wanted for tag in tags.dictionary.to_pylist()), False])
                mask &= table[pc.fill_null(tags.indices, -1).to_numpy(zero_copy_only=False)]
        return mask

    @cached_property
    def _types(self) -> list[str]:
        lists = self.terminology.concepts.column("types")
        return [t for t in pc.unique(pc.list_flatten(lists)).to_pylist() if t is not None]

    def _tags(self, column: str) -> list[str]:
        tags: list[str] = self.terminology.names.column(column).combine_chunks().dictionary.to_pylist()
        return tags

    def _known(
        self, words: Sequence[str] | None, known: Sequence[str], problem: str, spelt: Any
    ) -> frozenset[str] | None:
        """Return the known values that words stand for."""
        found: set[str] = set()
        for word in words or ():
            values = spelt(word, known)
            if not values:
                hint = did_you_mean(word, known) if known else "the terminology has none"
                raise ConfigError(f"{problem} '{word}'; {hint}")
            found |= values
        return None if words is None else frozenset(found)

    def _rows(self, ids: Sequence[str]) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Return the rows that ids stand for, ascending, and the ids that stand for none."""
        ids = [encodable(i) for i in ids]
        rows = self._find(ids)
        lost = pa.array([i for i, row in zip(ids, rows.tolist(), strict=True) if row < 0], pa.string())
        retired = pc.is_in(lost, value_set=self.terminology.retired.column("id"))
        live = {i: self.terminology.resolve(i) for i in lost.filter(retired).to_pylist()}
        moved = self._find([new for found in live.values() for new in found])
        return np.unique(np.concatenate([rows[rows >= 0], moved])), [i for i in lost.to_pylist() if not live.get(i)]

    def _find(self, ids: Sequence[str]) -> npt.NDArray[np.int32]:
        """Return the row of each id, -1 for those that are not there."""
        if len(ids) > LOOKED_UP:
            return self.terminology.rows(ids)
        found = [self.terminology.row(i) for i in ids]
        return np.array([-1 if row is None else row for row in found], np.int32)

    def _listed(self, value_set: ValueSet, where: str) -> npt.NDArray[np.int32]:
        """Return the concept rows of a value set."""
        ids = value_set.read()
        rows, unknown = self._rows(ids)
        source = f"{where}: " + ("" if value_set.path is None else f"{value_set.path}: ")
        if not len(rows):
            raise ConfigError(f"{source}none of its {len(ids):,} ids is in the terminology; {self._near(unknown[0])}")
        if unknown:
            problem = f"{len(unknown):,} of {len(ids):,} ids are not in the terminology, for instance '{unknown[0]}'"
            warnings.warn(f"{source}{problem}", XnormWarning, stacklevel=2)
        return rows

    def _near(self, wrong: str) -> str:
        """Return a hint with the id that looks most like a wrong one, or an id as it should look."""
        ids = self.terminology.concepts.column("id").chunk(0)
        first: str = ids[0].as_py()
        tries = [wrong, wrong.upper(), *([] if ":" in wrong else [f"{first.partition(':')[0]}:{wrong}"])]
        near: dict[str, None] = {}
        for text in tries:
            if text in self.terminology:
                return f"did you mean '{text}'?"
            # ids that begin alike are neighbours
            at = int(pc.sum(pc.less(ids, text)).as_py())
            near.update(dict.fromkeys(ids.slice(max(0, at - 8), 16).to_pylist()))
        found = difflib.get_close_matches(wrong, near, n=1, cutoff=0.8)
        return did_you_mean(wrong, found) if found else f"ids of the terminology are like '{first}'"

    def _of_types(self, types: frozenset[str]) -> Mask:
        """Return which concepts have one of some types."""
        lists = self.terminology.concepts.column("types").combine_chunks()
        hits = pc.is_in(pc.list_flatten(lists), value_set=pa.array(sorted(types), pa.string()))
        mask = np.zeros(len(self.terminology), bool)
        mask[pc.list_parent_indices(lists).filter(hits).to_numpy()] = True
        return mask

    @cached_property
    def _children(self) -> sp.csr_matrix:
        return children(self.terminology)[0]


def _spelt(word: str, known: Sequence[str]) -> set[str]:
    """Return the known types that a word stands for."""
    if word in known:
        return {word}
    try:
        return set(spellings([word])).intersection(known)
    except ConfigError:
        return set()


def _of_lang(word: str, known: Sequence[str]) -> set[str]:
    return set(filter(LangFilter([word]), known))


def _same(word: str, known: Sequence[str]) -> set[str]:
    return {word}.intersection(known)
