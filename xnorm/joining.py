"""Sources, read as columns: filtered, cleaned, laid over one another; then settled into one terminology.

Ids are compared once a source; from there on a fact has the number of its concept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.columns import FACTS, Codes, Facts, clean_column, codes, indices
from xnorm.errors import DataError
from xnorm.semantic_types import with_types
from xnorm.settling import EXACT, EXAMPLES, PREFERRED, Names, Outcome, Part, Settler, Words
from xnorm.tables import Terminology
from xnorm.terminology.base import MERGED, Filters, SourceConfig, SourceReport
from xnorm.text import LangFilter, lang_code
from xnorm.types import SCOPES

__all__ = ["Joiner"]

STEPS = 256
"""The most replacements of an id that are followed; circles end there."""


class Joiner:
    """Takes batches source by source, and makes a terminology of them."""

    def __init__(self, wanted: Filters) -> None:
        self.wanted = wanted
        self._merged = [pa.array([], pa.string())]
        self.words = Words()
        self._sources: list[tuple[SourceConfig, SourceReport]] = []
        self._parts: list[Part] = []
        self._retired: list[pa.Table] = []
        self._defined: list[tuple[pa.Array, int]] = []
        """Ids, and number of the source that defined them first."""
        self._known = pa.array([], pa.string())

    def start(self, source: SourceConfig, counts: SourceReport, *, types: list[list[str] | None]) -> None:
        """Begin with a source, of each of whose lists of types its concepts must have one."""
        self._types = types
        self._sources.append((source, counts))
        self.source, self.counts = source, counts
        self._batches: dict[str, list[pa.Table]] = {kind: [] for kind in FACTS}
        self._names: list[tuple[pa.ChunkedArray, Names]] = []
        self._keep_lang = [LangFilter(wanted) for wanted in (self.wanted.langs, source.langs)]

    def add(self, batch: Facts) -> None:
        """Take a batch of the source."""
        for kind, table in batch.items():
            if kind != "names":
                self._batches[kind].append(table)
            elif table.num_rows:
                self._add_names(table)

    def _add_names(self, table: pa.Table) -> None:
        """Leave out what no filter would let pass, and clean the texts of the rest."""
        label = self.source.label
        langs = self.words.langs.codes(table.column("lang"), lang_code)
        known = list(self.words.langs.values)
        passes = np.array([all(keep(lang) for keep in self._keep_lang) for lang in known], bool)[langs]
        sources = self.words.sources.codes(table.column("source"))
        own = self.words.sources.number(label)
        sources = np.where(sources < 0, own, sources)
        if self.wanted.sources is not None:
            allowed = [s in self.wanted.sources or label in self.wanted.sources for s in self.words.sources.values]
            passes &= np.array(allowed, bool)[sources]
        if not passes.all():
            self.counts.skip("name filtered out", count=int((~passes).sum()))
            table, langs, sources = table.filter(pa.array(passes)), langs[passes], sources[passes]
        texts = clean_column(table.column("text"))
        empty = pc.equal(texts, "").to_numpy()
        if empty.any():
            self._count_empty(table.filter(pa.array(empty)))
            full = pa.array(~empty)
            table, texts, langs, sources = table.filter(full), texts.filter(full), langs[~empty], sources[~empty]
        scopes = _scope_codes(table.column("scope"))
        part = np.full(len(langs), len(self._sources) - 1, np.int32)
        rank, line, record = (_numbers(table.column(n)) for n in ("rank", "line", "record"))
        names = Names(np.empty(0, np.int32), texts, langs, scopes, sources, part, rank, line, record)
        self._names.append((table.column("id"), names))

    def _count_empty(self, empty: pa.Table) -> None:
        for row in empty.select(["line", "id"]).slice(0, EXAMPLES).to_pylist():
            self.counts.skip("empty name", row["id"] if row["line"] is None else row["line"])
        self.counts.skip("empty name", count=max(0, empty.num_rows - EXAMPLES))

    def finish(self) -> None:
        """End with a source.

        Raises:
            DataError: it holds no concept.
        """
        # a table of translations may hold none yet
        if not self.counts.read and not (self.source.overlay and self.counts.skipped):
            raise DataError("holds no concept", path=self.source.path, fix="is it a file of this type, and whole?")
        tables = {kind: pa.concat_tables(t or [FACTS[kind].empty_table()]) for kind, t in self._batches.items()}
        concepts = tables["concepts"].column("id")
        ids = pc.unique(concepts.cast(pa.string()))
        ids = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        rows = codes(concepts, ids)
        kept = self._of_wanted_type(tables["types"], ids)
        self._count_left("concept of another type", ids, kept, rows)
        targets, replaced = ids, np.zeros(len(ids), bool)
        if self.source.overlay:
            targets, kept, replaced = self._laid_over(ids, kept, rows)
        else:
            self._define(ids, kept, tables["retired"])
        # number of an id among those that stay
        number = np.append(np.where(kept, np.cumsum(kept) - 1, -1), -1).astype(np.int32)
        names = self._own_names(ids, number, np.append(replaced, False))
        values = {}
        for kind in ("types", "xrefs", "parents", "definitions"):
            if not self.source.overlay or kind == "xrefs":
                own = number[codes(tables[kind].column("id"), ids)]
                values[kind] = (own[own >= 0], tables[kind].column("value").filter(pa.array(own >= 0)))
        self._parts.append(Part(targets.filter(pa.array(kept)), names, values))
        del self._batches, self._names

    def _of_wanted_type(self, types: pa.Table, ids: pa.Array) -> npt.NDArray[np.bool_]:
        kept = np.ones(len(ids), bool)
        if self.source.overlay:  # it is the concepts' own types that count
            return kept
        for allowed in self._types:
            if allowed is not None:
                words = pa.array(sorted(with_types(allowed)), pa.string())
                fits = pc.is_in(types.column("value").cast(pa.string()), value_set=words)
                has = np.zeros(len(ids) + 1, bool)
                has[codes(types.filter(fits).column("id"), ids)] = True
                kept &= has[:-1]
        return kept

    def _count_left(self, reason: str, ids: pa.Array, kept: npt.NDArray[np.bool_], rows: Codes) -> None:
        """Count the records of concepts that are not kept."""
        left = np.flatnonzero(~kept[rows])
        for at in left[:EXAMPLES]:
            self.counts.skip(reason, ids[int(rows[at])].as_py())
        self.counts.skip(reason, count=max(0, len(left) - EXAMPLES))

    def _define(self, ids: pa.Array, kept: npt.NDArray[np.bool_], retired: pa.Table) -> None:
        known = pc.is_in(ids, value_set=self._known).to_numpy(zero_copy_only=False)
        self.counts.concepts = int((kept & ~known).sum())
        if (kept & known).any():
            self._count_merged(ids.filter(pa.array(kept & known)))
        new = ids.filter(pa.array(kept & ~known))
        self._defined.append((new, len(self._sources) - 1))
        self._known = pa.concat_arrays([self._known, new])
        # an id that became part of a concept which is left out leads nowhere
        single = pc.equal(pc.list_value_length(retired.column("replaced_by")), 1)
        merged = pc.and_(pc.equal(retired.column("reason"), MERGED), single).to_numpy()
        into = pc.list_flatten(retired.column("replaced_by").filter(pa.array(merged)))
        merged[merged] = pc.is_in(into, value_set=ids.filter(pa.array(~kept))).to_numpy()
        self._retired.append(retired.filter(pa.array(~merged)))

    def _count_merged(self, ids: pa.Array) -> None:
        for defined, source in self._defined:
            if self._sources[source][0].label != self.source.label:
                self._merged.append(defined.filter(pc.is_in(defined, value_set=ids)))

    def _laid_over(
        self, ids: pa.Array, kept: npt.NDArray[np.bool_], rows: Codes
    ) -> tuple[pa.Array, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return the concept that each id stands for, whether it stands for one, and whether as what it replaced."""
        there = pc.is_in(ids, value_set=self._known).to_numpy(zero_copy_only=False)
        replaced = np.zeros(len(ids), bool)
        lost = np.flatnonzero(kept & ~there)
        if len(lost) and self._retired:
            found = self._successors(ids.take(pa.array(lost)))
            if found:
                new = ids.to_pylist()
                for at in lost.tolist():
                    if new[at] in found:
                        new[at], replaced[at] = found[new[at]], True
                ids = pa.array(new, pa.string())
        self._count_left("names for an id that no earlier source has", ids, ~kept | there | replaced, rows)
        return ids, kept & (there | replaced), replaced

    def _successors(self, ids: pa.Array) -> dict[str, str]:
        """Return the living concept behind each retired id that one id has replaced."""
        retired = pa.concat_tables(self._retired)
        old = retired.column("id").cast(pa.string()).combine_chunks()
        counts = pc.list_value_length(retired.column("replaced_by")).to_numpy()
        new = pc.list_flatten(retired.column("replaced_by")).combine_chunks()
        begins, counts = np.append(np.cumsum(counts) - counts, 0), np.append(counts, 0)
        current, moving = ids, np.ones(len(ids), bool)
        for _ in range(STEPS):
            at = codes(current, old)
            moving &= (at >= 0) & (counts[at] == 1)
            if not moving.any():
                break
            current = pc.if_else(pa.array(moving), new.take(pa.array(np.where(moving, begins[at], 0))), current)
            moving &= ~pc.is_in(current, value_set=self._known).to_numpy(zero_copy_only=False)
        alive = pc.is_in(current, value_set=self._known).to_pylist()
        pairs = zip(ids.to_pylist(), current.to_pylist(), alive, strict=True)
        return {before: after for before, after, lives in pairs if lives}

    def _own_names(self, ids: pa.Array, number: Codes, replaced: npt.NDArray[np.bool_]) -> Names:
        """Return the names of the source's concepts."""
        columns = pa.chunked_array(
            [chunk for column, _ in self._names for chunk in column.chunks], FACTS["names"].field("id").type
        )
        rows = codes(columns, ids)
        names = Names.concat([own for _, own in self._names])
        names.concept = number[rows]
        demoted = replaced[rows] & (names.scope == PREFERRED)
        names.scope[demoted] = EXACT  # another concept's main name
        return names if (names.concept >= 0).all() else names.rows(np.flatnonzero(names.concept >= 0))

    def build(self) -> tuple[Terminology, Outcome]:
        """Return the terminology, and what was found on the way.

        Raises:
            DataError: one id comes with two preferred names in one source.
        """
        retired = pa.concat_tables(self._retired or [FACTS["retired"].empty_table()])
        settler = Settler(self._sources, self._parts, self._defined, self.wanted, self.words)
        settler.outcome.merged_concepts = len(pc.unique(pa.concat_arrays(self._merged)))
        return settler.terminology(retired), settler.outcome


def _scope_codes(column: pa.ChunkedArray) -> npt.NDArray[np.int8]:
    """Return the place of each scope in `SCOPES`.

    Raises:
        KeyError: a parser wrote another word.
    """
    known = {scope: n for n, scope in enumerate(SCOPES)}
    parts = [np.empty(0, np.int8)]
    for chunk in column.chunks:
        numbers = np.array([known[w] for w in chunk.dictionary.to_pylist()] or [0], np.int8)
        parts.append(numbers[indices(chunk)])
    return np.concatenate(parts)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.int64] | None:
    """Return whole numbers, -1 for null; None if all are null."""
    return None if column.null_count == len(column) else pc.fill_null(column, -1).to_numpy()
