"""Concepts of different sources that are the same, found by their xrefs and made one.

Two concepts of different sources are linked if one has the other's id among its xrefs, if both share an xref of a given
prefix, or if a mapping says so. What hangs together by links is a group. A group with two concepts of one source is a
conflict: the source itself holds them apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from xnorm.config import MappingSpec, StrictModel
from xnorm.mapping import as_array, read_mapping
from xnorm.mappings.base import MappingConfig
from xnorm.tables import Terminology, ranges
from xnorm.tally import as_plain
from xnorm.terminology.base import MERGED
from xnorm.uniting import decoded_tags, ranks, unite

__all__ = ["MergeConfig", "MergeReport", "living_rows", "merge_equivalent"]

EXAMPLES = 10
"""Conflicts of a kind that are told of."""
_SHOWN = 6
"""Concepts of a conflict that are told of."""

_Rows = npt.NDArray[np.int64]


class MergeConfig(StrictModel):
    """By what equivalent concepts of different sources are known."""

    direct: bool = True
    """Whether an xref that is the id of a concept of another source links the two."""
    prefixes: list[str] = Field(default_factory=list)
    """CURIE prefixes of xrefs that link the concepts that share one, as in `[UMLS]`; default: none."""
    mappings: list[MappingSpec] = Field(default_factory=list)
    """Mapping tables whose rows link concepts."""
    conflicts: Literal["skip", "trim"] = "skip"
    """What to do where a source would have two of its concepts made one: leave the whole group as it is (`skip`), or
    first leave out the links of a concept to several concepts of one source, and see what is left (`trim`)."""

    @model_validator(mode="after")
    def _check(self) -> MergeConfig:
        if not (self.direct or self.prefixes or self.mappings):
            raise ValueError("nothing says which concepts are the same; set `direct`, `prefixes` or `mappings`")
        return self


@dataclass(slots=True)
class MergeReport:
    """What was merged, and what was not."""

    concepts_before: int = 0
    concepts: int = 0
    names_before: int = 0
    names: int = 0
    groups: int = 0
    """Groups of concepts that became one."""
    by_sources: Counter[str] = field(default_factory=Counter)
    """Groups by the sources that their concepts are of."""
    direct_links: int = 0
    """Pairs of concepts that are linked by an xref to one another's id, or by a mapping."""
    shared_links: int = 0
    """Xrefs that concepts of different sources share."""
    conflicts: int = 0
    """Groups that were left as they are."""
    conflicting_concepts: int = 0
    """Concepts in these groups."""
    largest_conflict: int = 0
    """Concepts in the largest of them."""
    several_targets: int = 0
    """Concepts that are linked to several concepts of one source, counted once for each such source."""
    several_owners: int = 0
    """Shared xrefs that several concepts of one source have, counted once for each such source."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """First cases of each kind: merged, conflict, several targets, several owners."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return as_plain(self)


def merge_equivalent(
    terminology: Terminology, settings: MergeConfig, order: Sequence[str] = ()
) -> tuple[Terminology, MergeReport]:
    """Return a terminology in which equivalent concepts of different sources are one, and a report.

    The concept of the source that comes first keeps its id; `xnorm.uniting.unite` says what becomes of names and the
    rest. Concepts of one source (by its name) are never made one.

    Args:
        order: names of the sources, in order of precedence.

    Raises:
        DataError: a mapping cannot be read.
    """
    work = _Work(terminology, settings, order)
    into, report = work.groups(), work.report
    merged = unite(terminology, into, order) if report.groups else terminology
    report.concepts_before, report.concepts = len(terminology), len(merged)
    report.names_before, report.names = terminology.n_names, merged.n_names
    return merged, report


class _Work:
    """Links between rows of concepts, and the groups they make."""

    def __init__(self, terminology: Terminology, settings: MergeConfig, order: Sequence[str]) -> None:
        self.terminology, self.settings, self.order = terminology, settings, order
        self.report = MergeReport()
        self.source, self.labels = decoded_tags(terminology.concepts.column("source"))
        self.n = len(terminology)

    def groups(self) -> _Rows:
        """Return the row that each concept becomes part of, of shape (concepts,)."""
        owner, xrefs = self._xrefs()
        pairs = self._direct(owner, xrefs)
        key, holder, words = self._shared(owner, xrefs)
        clear = self._single(key, holder, words)
        linked = self._pairs(np.concatenate([pairs, _expanded(key[clear], holder[clear])]))
        simple = self._to_one(linked)
        if self.settings.conflicts == "trim":
            component = self._components(linked[simple], key[:0], holder[:0])
        else:
            component = self._components(pairs, key, holder)
        return self._settle(component)

    def _xrefs(self) -> tuple[_Rows, pa.Array]:
        """Return the row of the concept and the value of each xref."""
        lists = as_array(self.terminology.concepts.column("xrefs"))
        owner = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        return owner, pc.list_flatten(lists)

    def _direct(self, owner: _Rows, xrefs: pa.Array) -> _Rows:
        """Return linked rows, smaller one first, of shape (pairs, 2)."""
        found = [np.empty((0, 2), np.int64)]
        if self.settings.direct:
            found.append(np.stack([owner, living_rows(self.terminology, xrefs)], axis=1))
        for config in self.settings.mappings:
            assert isinstance(config, MappingConfig)
            rows = read_mapping(config).rows
            ends = (living_rows(self.terminology, rows.column(c)) for c in ("source", "target"))
            found.append(np.stack([*ends], axis=1))
        pairs = self._pairs(np.concatenate(found))
        self.report.direct_links = len(pairs)
        return pairs

    def _pairs(self, pairs: _Rows) -> _Rows:
        """Return distinct pairs of concepts of different sources, sorted."""
        pairs = pairs[(pairs >= 0).all(axis=1)]
        pairs = pairs[self.source[pairs[:, 0]] != self.source[pairs[:, 1]]]
        pairs = np.sort(pairs, axis=1)
        return np.stack(np.divmod(_distinct(pairs[:, 0] * self.n + pairs[:, 1]), max(1, self.n)), axis=1)

    def _shared(self, owner: _Rows, xrefs: pa.Array) -> tuple[_Rows, _Rows, pa.Array]:
        """Return xrefs (by number) and the rows that have them, sorted, and the xrefs; those of one source are out."""
        wanted = pa.array(np.zeros(len(xrefs), bool))
        for prefix in self.settings.prefixes:
            wanted = pc.or_(wanted, pc.starts_with(xrefs, f"{prefix}:"))
        words = xrefs.filter(wanted).dictionary_encode()
        key, holder = _numpy(words.indices).astype(np.int64), owner[_numpy(wanted)]
        key, holder = np.divmod(_distinct(key * self.n + holder), max(1, self.n))
        spread = _distinct(key * len(self.labels) + self.source[holder]) // max(1, len(self.labels))
        several = np.bincount(spread, minlength=len(words.dictionary)) > 1
        self.report.shared_links = int(several.sum())
        return key[several[key]], holder[several[key]], words.dictionary

    def _single(self, key: _Rows, holder: _Rows, words: pa.Array) -> npt.NDArray[np.bool_]:
        """Return which holders are the only one of their source; count the others."""
        _, same, count = np.unique(
            key * len(self.labels) + self.source[holder], return_inverse=True, return_counts=True
        )
        self.report.several_owners = int((count > 1).sum())
        for number in np.flatnonzero(count > 1)[:EXAMPLES]:
            at = np.flatnonzero(same == number)
            self._tell("several owners", f"{words[int(key[at[0]])].as_py()}: {self._shown(holder[at])}")
        return np.asarray(count[same] == 1)

    def _to_one(self, pairs: _Rows) -> npt.NDArray[np.bool_]:
        """Return which pairs link concepts that have no other link to the other's source; count the others."""
        both = np.concatenate([pairs, pairs[:, ::-1]])
        _, same, count = np.unique(
            both[:, 0] * len(self.labels) + self.source[both[:, 1]], return_inverse=True, return_counts=True
        )
        self.report.several_targets = int((count > 1).sum())
        for number in np.flatnonzero(count > 1)[:EXAMPLES]:
            at = np.flatnonzero(same == number)
            self._tell("several targets", f"{self._shown(both[at[:1], 0])}: {self._shown(both[at, 1])}")
        single = (count[same] == 1).reshape(2, -1)
        return np.asarray(single.all(axis=0))

    def _components(self, pairs: _Rows, key: _Rows, holder: _Rows) -> _Rows:
        """Return the number of the group of each concept."""
        keys, number = np.unique(key, return_inverse=True)
        left, right = np.append(pairs[:, 0], holder), np.append(pairs[:, 1], self.n + number)
        size = self.n + len(keys)
        graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        return np.asarray(component[: self.n], np.int64)

    def _settle(self, component: _Rows) -> _Rows:
        """Return the row that each concept becomes part of, and count groups and conflicts."""
        _, component, size = np.unique(component, return_inverse=True, return_counts=True)
        kinds, copies = np.unique(component * len(self.labels) + self.source, return_counts=True)
        conflict = np.zeros(len(size), bool)
        conflict[kinds[copies > 1] // max(1, len(self.labels))] = True
        report = self.report
        report.conflicts, report.conflicting_concepts = int(conflict.sum()), int(size[conflict].sum())
        report.largest_conflict = int(size[conflict].max(initial=0))
        good = (size > 1) & ~conflict
        report.groups = int(good.sum())
        into, rank = np.arange(self.n), ranks(self.labels, self.order)[self.source]
        members = np.flatnonzero(good[component])
        ordered = members[np.lexsort((members, rank[members], component[members]))]
        begin = np.flatnonzero(np.diff(component[ordered], prepend=-1))
        counts = np.diff(np.append(begin, len(ordered)))
        into[ordered] = np.repeat(ordered[begin], counts)
        self._count_by_sources(ordered, counts)
        for kind, chosen in (("merged", good), ("conflict", conflict)):
            for number in np.flatnonzero(chosen)[:EXAMPLES]:
                self._tell(kind, self._shown(np.flatnonzero(component == number)))
        return into

    def _count_by_sources(self, ordered: _Rows, counts: _Rows) -> None:
        text = [self.labels[s] for s in self.source[ordered].tolist()]
        at = 0
        for count in counts.tolist():
            self.report.by_sources[" + ".join(text[at : at + count])] += 1
            at += count

    def _shown(self, rows: _Rows) -> str:
        ids, names = (self.terminology.take("concepts", c, rows[:_SHOWN]) for c in ("id", "name"))
        shown = ", ".join(f"{i} {name!r:.80}" for i, name in zip(ids, names, strict=True))
        return shown if len(rows) <= _SHOWN else f"{shown}, and {len(rows) - _SHOWN} more"

    def _tell(self, kind: str, case: str) -> None:
        self.report.examples.setdefault(kind, []).append(case)


def living_rows(terminology: Terminology, ids: pa.Array | pa.ChunkedArray) -> _Rows:
    """Return the row of each id, or of the concept that it has become part of; -1 for none."""
    retired = terminology.retired
    old = retired.filter(
        pc.and_(
            pc.equal(retired.column("reason"), MERGED),
            pc.equal(pc.list_value_length(retired.column("replaced_by")), 1),
        )
    )
    replaced = terminology.rows(as_array(pc.list_flatten(old.column("replaced_by"))))
    known = pa.concat_arrays([as_array(terminology.concepts.column("id")), as_array(old.column("id"))])
    row_of = np.concatenate([np.arange(len(terminology)), replaced, [-1]])
    found = pc.fill_null(pc.index_in(ids, value_set=known), -1)
    return np.asarray(row_of[found.to_numpy() if isinstance(found, pa.ChunkedArray) else _numpy(found)], np.int64)


def _expanded(key: _Rows, holder: _Rows) -> _Rows:
    """Return all pairs of holders of one key, of shape (pairs, 2); keys are sorted."""
    end = np.searchsorted(key, key, "right")
    after = end - np.arange(len(key)) - 1
    right = ranges(np.arange(len(key)) + 1, after)
    return np.stack([np.repeat(holder, after), holder[right]], axis=1)


def _distinct(values: _Rows) -> _Rows:
    """Return the distinct values, ascending, by sorting: `np.unique` hashes them, which is slow for millions."""
    values = np.sort(values)
    return np.asarray(values[np.append(True, values[1:] != values[:-1])[: len(values)]])


def _numpy(array: pa.Array) -> npt.NDArray[Any]:
    return np.asarray(array.to_numpy(zero_copy_only=False))
