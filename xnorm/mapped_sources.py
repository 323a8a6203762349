"""A source whose ids are translated by a mapping while it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.columns import FACTS, Facts
from xnorm.mapping import Mapping, as_array
from xnorm.tables import ranges
from xnorm.terminology.base import MERGED, SourceReport

__all__ = ["map_facts"]

_SCOPES: dict[str, dict[str, str]] = {
    "close": {"preferred": "exact"},
    "broad": {"preferred": "narrow", "exact": "narrow", "broad": "related"},
    "narrow": {"preferred": "broad", "exact": "broad", "narrow": "related"},
    "related": {"preferred": "related", "exact": "related", "narrow": "related", "broad": "related"},
}
"""What the target is to the concept -> scope of a name for the concept -> its scope for the target."""


def map_facts(batches: Iterable[Facts], mapping: Mapping, report: SourceReport) -> Iterator[Facts]:
    """Yield a source's batches with its ids, and the ids of parents and replacements, translated by a mapping.

    A concept whose id has several targets says the same of each of them; what is known of several concepts with one
    target is joined. A name of a concept whose target is broader is a narrow name of the target, and so on; names have
    no record any more, for two main names of one target are no mistake. Ids that are translated become xrefs of their
    targets if these are the same (`exact`). Concepts without a target are left out and counted, or stay as they are if
    the mapping says `unmapped: keep`. Retired ids stay, and lead to the targets of what replaced them.

    Args:
        report: the source's, in which is counted what is left out.
    """
    for batch in batches:
        out: Facts = {}
        for kind, table in batch.items():
            if kind == "retired":
                out[kind] = _with_replacements(table, mapping)
                continue
            ids = _Translated(table.column("id"), mapping)
            out[kind] = ids.apply(table)
            if kind == "concepts":
                ids.count_lost(report)
                xrefs = ids.as_xrefs()
            elif kind == "names":
                out[kind] = _with_scopes(out[kind], ids)
            elif kind == "parents":
                out[kind] = _Translated(out[kind].column("value"), mapping).apply(out[kind], "value")
        if "concepts" in batch:
            out["xrefs"] = pa.concat_tables([*([out["xrefs"]] if "xrefs" in out else []), xrefs])
        yield out


class _Translated:
    """A dictionary column of ids, and what becomes of each of its rows."""

    def __init__(self, column: pa.ChunkedArray, mapping: Mapping) -> None:
        self.mapping = mapping
        self.old: pa.DictionaryArray = as_array(column.unify_dictionaries())
        words = self.old.dictionary
        position, rows = mapping.rows_of(words)
        self._lost = np.bincount(position, minlength=len(words)) == 0
        if mapping.config.unmapped == "keep":
            kept = np.flatnonzero(self._lost)
            position, rows = np.append(position, kept), np.append(rows, len(mapping) + kept)
            order = np.argsort(position, kind="stable")
            position, rows = position[order], rows[order]
        counts = np.bincount(position, minlength=len(words))
        self._at = self.old.indices.to_numpy(zero_copy_only=False)
        self.origin = np.repeat(np.arange(len(self._at)), counts[self._at])
        """Row of the column that each new row is made of."""
        self.rows = rows[ranges((np.cumsum(counts) - counts)[self._at], counts[self._at])]
        """Row of the mapping that each new row is made by; beyond its end for an id that stays."""
        targets = as_array(mapping.rows.column("target"))
        self.new = pa.concat_arrays([targets, words]).take(pa.array(self.rows))
        """The new ids."""
        predicates = as_array(mapping.rows.column("predicate").cast(pa.string()))
        known = pa.array(self.rows, mask=self.rows >= len(mapping))
        self.predicates = pc.fill_null(predicates.take(known), "")
        """What the new ids are to the old ones; empty for an id that stays."""

    def apply(self, table: pa.Table, column: str = "id") -> pa.Table:
        """Return the table with the ids translated."""
        return _replaced(table.take(pa.array(self.origin)), column, self.new.dictionary_encode())

    def as_xrefs(self) -> pa.Table:
        """Return the translated ids as xrefs of their targets."""
        exact = pc.equal(self.predicates, "exact")
        old = self.old.take(pa.array(self.origin)).filter(exact)
        return pa.table([self.new.filter(exact).dictionary_encode(), old], FACTS["xrefs"])

    def count_lost(self, report: SourceReport) -> None:
        """Count the rows whose id has no target."""
        if self.mapping.config.unmapped == "skip":
            single = " single" if self.mapping.config.several == "skip" else ""
            reason = f"concept without a{single} target in the mapping"
            lost = np.flatnonzero(self._lost[self._at])
            for row in lost[:3].tolist():
                report.skip(reason, self.old[row].as_py())
            report.skip(reason, count=max(0, len(lost) - 3))


def _replaced(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), values)


def _with_scopes(names: pa.Table, ids: _Translated) -> pa.Table:
    """Return names with the scopes that the predicates leave them, and without records."""
    before = scope = as_array(names.column("scope").cast(pa.string()))
    for predicate, changes in _SCOPES.items():
        of_kind = pc.equal(ids.predicates, predicate)
        for old, new in changes.items():
            scope = pc.if_else(pc.and_(of_kind, pc.equal(before, old)), new, scope)
    names = _replaced(names, "scope", scope.dictionary_encode())
    return _replaced(names, "record", pa.nulls(names.num_rows, pa.int64()))


def _with_replacements(table: pa.Table, mapping: Mapping) -> pa.Table:
    """Return retired ids with their replacements translated; what became part of a lost concept leads nowhere."""
    lists = as_array(table.column("replaced_by"))
    owner = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    new = _Translated(pa.chunked_array([pc.list_flatten(lists).dictionary_encode()]), mapping)
    counts = np.bincount(owner[new.origin], minlength=len(lists))
    offsets = pa.array(np.append(0, np.cumsum(counts)), pa.int32())
    leads = pc.or_(pc.not_equal(table.column("reason"), MERGED), pa.array(counts > 0))
    return _replaced(table, "replaced_by", pa.ListArray.from_arrays(offsets, new.new)).filter(leads)
