"""Where retired ids lead: to the concepts that took their place, however many releases and steps ago.

Replacements are edges of a graph, as arrays; many ids follow them at once, each over the fewest steps to every concept
that it leads to. Reasons are free text, whatever a source says (`merged`, `obsolete`, `DUPLICATE`, ...).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.columns import codes
from xnorm.new_ids import NewIds
from xnorm.tables import Terminology, ranges

__all__ = ["STATUSES", "Followed", "Replacements"]

STATUSES = ("same", "replaced", "split", "retired", "unknown")
"""What became of an id: it is in the terminology; one concept took its place; several did; it is retired, and nothing
in the terminology took its place; nobody knows it."""
ELSEWHERE = "what took its place is not in this terminology"
"""Added to the reason of a retired id that others replaced, none of which is there: left out by a filter, or gone."""
MOST_STEPS = 256
"""Steps after which a chain of replacements is given up: real ones have a handful."""

Ints = npt.NDArray[np.int64]
_EDGES = pa.schema({"from": pa.string(), "to": pa.string(), "reason": pa.string()})


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of some ids."""

    terminology: Terminology
    ids: pa.Array
    status: npt.NDArray[np.int8]
    """Shape (ids,): place in `STATUSES`."""
    gone: pa.Array
    """Shape (ids,): why an id is retired; null for all that are not."""
    origin: Ints
    """Shape (successors,): place in `ids`, ascending; the nearest successors come first, then as listed."""
    row: Ints
    """Shape (successors,): the concept that took the id's place."""
    way: Ints
    """Shape (successors,): place in `ways`."""
    ways: list[tuple[str, ...]]
    """Reasons of the steps from an id to a successor."""

    def successors(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return the successors of every id that is not in the terminology, each with the reasons on the way there."""
        found: dict[str, dict[str, tuple[str, ...]]] = {
            i: {} for i, status in zip(self.ids.to_pylist(), self.status.tolist(), strict=True) if status
        }
        old = self.ids.take(pa.array(self.origin)).to_pylist()
        new = self.terminology.take("concepts", "id", self.row)
        for a, b, way in zip(old, new, self.way.tolist(), strict=True):
            found[a][b] = self.ways[way]
        return found

    def as_table(self) -> pa.Table:
        """Return the columns `id`, `status`, `replaced_by` (ids in the terminology; none where it is the same) and
        `reason`, one row an id; the reason of a replacement are those of all its steps, each once."""
        n = len(self.ids)
        bounds = np.searchsorted(self.origin, np.arange(n + 1)).astype(np.int32)
        new = self.terminology.concepts.column("id").take(pa.array(self.row)).combine_chunks()
        reasons = self.gone.to_pylist()
        words = [", ".join(dict.fromkeys(way)) for way in self.ways]
        ways = self.way.tolist()
        for at in np.flatnonzero(np.diff(bounds)).tolist():
            mine = ways[bounds[at] : bounds[at + 1]]
            several = (reason for way in mine for reason in self.ways[way])
            reasons[at] = words[mine[0]] if len(mine) == 1 else ", ".join(dict.fromkeys(several))
        return pa.table(
            {
                "id": self.ids,
                "status": pa.DictionaryArray.from_arrays(pa.array(self.status, pa.int8()), pa.array(STATUSES)),
                "replaced_by": pa.ListArray.from_arrays(pa.array(bounds), new),
                "reason": pa.array(reasons, pa.string()),
            }
        )


class Replacements:
    """Which ids took the place of others.

    Args:
        terminology: the one whose concepts count; of several releases the newest.
        own: whether its own retired ids are looked up.
        releases: earlier releases, the latest first, for what the newer ones have forgotten: their retired ids count
            where no newer release knows the id.
        further: (old id, new id, reason), after all others of that id.
    """

    def __init__(
        self,
        terminology: Terminology,
        *,
        own: bool = True,
        releases: Sequence[Terminology] = (),
        further: Iterable[tuple[str, str, str]] = (),
    ) -> None:
        self.terminology = terminology
        retired = _without_repeated([t.retired for t in [*([terminology] if own else []), *releases]])
        self._retired, self._why = retired.column("id").combine_chunks(), retired.column("reason").combine_chunks()
        rows = list(zip(*further, strict=True)) or [(), (), ()]
        more = pa.table([pa.array(c, pa.string()) for c in rows], schema=_EDGES)
        edges = pa.concat_tables([_edges(retired), more]).combine_chunks()
        self._nodes = pc.unique(edges["from"])
        source = _places(edges["from"], self._nodes)
        edges = edges.take(pa.array(order := np.argsort(source, kind="stable")))
        self._first = np.searchsorted(source[order], np.arange(len(self._nodes) + 1))
        self._next = _places(edges["to"], self._nodes)
        self._row = terminology.rows(edges["to"].combine_chunks()).astype(np.int64)
        reasons = edges["reason"].combine_chunks().dictionary_encode()
        self._reason = reasons.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        self._reasons: list[str] = reasons.dictionary.to_pylist()

    def follow(self, ids: Sequence[str] | pa.Array) -> Followed:
        """Say what became of ids; each should be given once. A circle of replacements leads nowhere."""
        old = pa.array(ids, pa.string())
        live = self.terminology.rows(old) >= 0
        node = _places(old, self._nodes)
        origin = np.flatnonzero(~live & (node >= 0))
        node, way = node[origin], np.zeros(len(origin), np.int64)
        ways: dict[tuple[str, ...], int] = {(): 0}
        met, found = _Met(origin, node), _Met()
        steps: list[tuple[Ints, Ints, Ints]] = []
        lost = np.zeros(len(old), bool)
        for _ in range(MOST_STEPS):
            counts = self._first[node + 1] - self._first[node]
            edge = ranges(self._first[node], counts)
            origin, way = np.repeat(origin, counts), self._lengthen(np.repeat(way, counts), edge, ways)
            row, node = self._row[edge], self._next[edge]
            there = found.new(origin, row, row >= 0)
            steps.append((origin[there], row[there], way[there]))
            lost[origin[(row < 0) & (node < 0)]] = True
            on = met.new(origin, node, (row < 0) & (node >= 0))
            origin, node, way = origin[on], node[on], way[on]
            if not len(origin):
                break
        origin, row, way = (np.concatenate(parts) for parts in zip(*steps, strict=True))
        order = np.argsort(origin, kind="stable")
        origin, row, way = origin[order], row[order], way[order]
        place = _places(old, self._retired)
        number = np.bincount(origin, minlength=len(old))
        status = np.select([live, number == 1, number > 1, place >= 0], [0, 1, 2, 3], 4)
        # an id that only a list knows is known, too
        status[(status == 4) & (_places(old, self._nodes) >= 0)] = 3
        gone = self._why.take(pa.array(np.where((place >= 0) & ~live, place, 0), mask=(place < 0) | live))
        gone = pc.if_else(pa.array(lost & (status == 3)), pc.binary_join_element_wise(gone, ELSEWHERE, "; "), gone)
        return Followed(self.terminology, old, status.astype(np.int8), gone, origin, row, way, list(ways))

    def look_up(self, ids: Sequence[str]) -> list[NewIds]:
        """Return what takes the place of ids and what it is called, for `xnorm.id_files`; ids whose place nothing takes
        stay. The statuses are `STATUSES`."""
        table = self.follow(ids).as_table().to_pydict()
        live = [i for to in table["replaced_by"] for i in to]
        names = iter(self.terminology.take("concepts", "name", self.terminology.rows(live)))
        return [
            NewIds(status, tuple(to) or None, tuple(next(names) for _ in to) or None, reason)
            for status, to, reason in zip(*(table[c] for c in ("status", "replaced_by", "reason")), strict=True)
        ]

    def _lengthen(self, way: Ints, edge: Ints, ways: dict[tuple[str, ...], int]) -> Ints:
        """Return the ways with one more step; there are few different ones."""
        known = list(ways)
        pairs, at = np.unique(way * len(self._reasons) + self._reason[edge], return_inverse=True)
        longer = []
        for pair in pairs.tolist():
            old, reason = divmod(pair, len(self._reasons))
            longer.append(ways.setdefault((*known[old], self._reasons[reason]), len(ways)))
        return np.array(longer, np.int64)[at]


class _Met:
    """Pairs of numbers that have been met."""

    def __init__(self, a: Ints | None = None, b: Ints | None = None) -> None:
        self._keys: Ints = np.empty(0, np.int64)
        if a is not None and b is not None:
            self._keys = np.sort(a << 32 | b)

    def new(self, a: Ints, b: Ints, wanted: npt.NDArray[np.bool_]) -> Ints:
        """Return the places, ascending, of the wanted pairs that come for the first time; they have been met now."""
        at = np.flatnonzero(wanted)
        keys, first = np.unique(a[at] << 32 | b[at], return_index=True)
        fresh = ~np.isin(keys, self._keys, assume_unique=True)
        self._keys = np.concatenate([self._keys, keys[fresh]])
        return np.asarray(at[np.sort(first[fresh])])


def _without_repeated(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of some tables of retired ids; an id is taken from the first that has it."""
    kept: list[pa.Table] = []
    for table in tables:
        for earlier in kept:
            table = table.filter(pc.invert(pc.is_in(table["id"], value_set=earlier["id"].combine_chunks())))
        kept.append(
            pa.table(
                {
                    "id": table["id"],
                    "replaced_by": table["replaced_by"].cast(pa.list_(pa.string())),
                    "reason": pc.fill_null(table["reason"], "retired"),
                }
            )
        )
    none = pa.schema({"id": pa.string(), "replaced_by": pa.list_(pa.string()), "reason": pa.string()}).empty_table()
    return pa.concat_tables(kept) if kept else none


def _edges(retired: pa.Table) -> pa.Table:
    """Return a row for each replacement of retired ids."""
    lists = retired["replaced_by"].combine_chunks()
    of = pc.list_parent_indices(lists)
    return pa.table([retired["id"].take(of), lists.flatten(), retired["reason"].take(of)], schema=_EDGES)


def _places(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Ints:
    """Return where each value stands among others; -1 for what is not there."""
    return codes(values, among).astype(np.int64)
