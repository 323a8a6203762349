"""What sources say of concepts, into tables: sorted, each name once, one preferred name in a language.

Names are settled in blocks of whole concepts, so that 17 million of them need their columns twice in memory, no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.columns import Codes, Vocabulary, codes, one_dictionary
from xnorm.errors import DataError
from xnorm.tables import CONCEPTS, NAMES, RETIRED, Terminology
from xnorm.terminology.base import Filters, SourceConfig, SourceReport
from xnorm.text import lang_code
from xnorm.types import SCOPES

__all__ = ["EXACT", "EXAMPLES", "PREFERRED", "Names", "Outcome", "Part", "Settler", "Words"]

BLOCK = 1 << 21
"""Names settled at a time."""
EXAMPLES = 3
"""Places or ids told of what is counted."""

PREFERRED, EXACT = SCOPES.index("preferred"), SCOPES.index("exact")


@dataclass(slots=True)
class Outcome:
    """What joining found; the keys are those of `xnorm.sources.Report`."""

    merged_concepts: int = 0
    duplicate_names: int = 0
    without_names: int = 0
    named_differently: int = 0
    named_differently_examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Words:
    """The languages of names, and where names are from."""

    langs: Vocabulary = field(default_factory=Vocabulary)
    sources: Vocabulary = field(default_factory=Vocabulary)


@dataclass(slots=True)
class Names:
    """Names as columns, all of one length; `concept` numbers ids of a part, later of the terminology."""

    concept: Codes
    text: pa.ChunkedArray
    lang: Codes
    scope: npt.NDArray[np.int8]
    source: Codes
    part: Codes
    """Number of the source in the config."""
    rank: npt.NDArray[np.int64] | None
    line: npt.NDArray[np.int64] | None
    record: npt.NDArray[np.int64] | None

    def rows(self, rows: npt.NDArray[np.int64] | slice) -> Names:
        """Return some rows."""
        if isinstance(rows, slice):
            text = self.text.slice(rows.start, rows.stop - rows.start)
        else:
            text = self.text.take(pa.array(rows))
        some = (None if a is None else a[rows] for a in (self.rank, self.line, self.record))
        rest = (self.lang[rows], self.scope[rows], self.source[rows], self.part[rows])
        return Names(self.concept[rows], text, *rest, *some)

    @classmethod
    def concat(cls, parts: Sequence[Names]) -> Names:
        """Join columns; lines and records that some lack are -1 there."""
        if not parts:
            none = np.empty(0, np.int32)
            text = pa.chunked_array([], pa.large_string())
            return cls(none, text, none, none.astype(np.int8), none, none, None, None, None)
        concept, lang, scope, source, part = (
            np.concatenate([getattr(p, column) for p in parts])
            for column in ("concept", "lang", "scope", "source", "part")
        )
        text = pa.chunked_array([chunk for p in parts for chunk in p.text.chunks], pa.large_string())
        some = (_concat_some(parts, column) for column in ("rank", "line", "record"))
        return cls(concept, text, lang, scope, source, part, *some)


def _concat_some(parts: Sequence[Names], column: str) -> npt.NDArray[np.int64] | None:
    if all(getattr(p, column) is None for p in parts):
        return None
    missing = (np.full(len(p.lang), -1, np.int64) for p in parts)
    return np.concatenate(
        [m if (own := getattr(p, column)) is None else own for p, m in zip(parts, missing, strict=True)]
    )


@dataclass(slots=True)
class Part:
    """What a source gave; numbers are places in `ids`."""

    ids: pa.Array
    """Distinct ids of its concepts; where it is laid over others, those of the concepts that are there."""
    names: Names
    values: dict[str, tuple[Codes, pa.ChunkedArray]]
    """types, xrefs, parents, definitions"""


class Settler:
    """Makes the tables."""

    def __init__(
        self,
        sources: Sequence[tuple[SourceConfig, SourceReport]],
        parts: list[Part],
        defined: Sequence[tuple[pa.Array, int]],
        wanted: Filters,
        words: Words,
    ) -> None:
        """
        Args:
            sources: configs and reports, in order of precedence.
            parts: what each gave; emptied on the way, for memory.
            defined: ids that a source was the first to define, and the source's number.
            words: languages and sources of names by number.
        """
        self.sources, self.words = sources, words
        self.outcome = Outcome()
        everything = pa.concat_arrays([pa.array([], pa.string()), *(ids for ids, _ in defined)])
        self.ids = _sorted(everything)
        self.parts = parts
        self.ranks = [codes(part.ids, self.ids) for part in parts]
        self.owner = np.empty(len(self.ids), np.int32)
        for ids, source in defined:
            self.owner[codes(ids, self.ids)] = source
        self.allowed = np.array(
            [
                [all(s is None or scope in s for s in (wanted.scopes, source.scopes)) for scope in SCOPES]
                for source, _ in sources
            ]
        )
        langs = words.langs.values
        self.main_lang = np.array([langs.get(lang_code(source.lang), -1) for source, _ in sources], np.int32)

    def terminology(self, retired: pa.Table) -> Terminology:
        """Return the terminology.

        Raises:
            DataError: one id comes with two preferred names in one source.
        """
        names: list[pa.Table] = []
        shown, kept = [pa.array([], pa.large_string())], [np.empty(0, np.int32)]
        starts, n = [np.empty(0, np.int64)], 0
        for block in self._blocks():
            settled = self._settle(block)
            begin = _begins(settled.concept)
            shown.append(self._display_names(settled, begin))
            starts.append(begin + n)
            row = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(settled.concept)))) + sum(
                map(len, kept)
            )
            kept.append(settled.concept[begin])
            names.append(self._table(settled, row.astype(np.int32)))
            n += len(settled.concept)
        rows = np.concatenate(kept)
        self.outcome.without_names = len(self.ids) - len(rows)
        concepts = self._concepts(rows, pa.chunked_array(shown), np.concatenate(starts))
        return Terminology(concepts, pa.concat_tables([NAMES.empty_table(), *names]), self._retired(retired))

    def _blocks(self) -> Iterator[Names]:
        """Yield the names in the order of their concepts, and of a concept in the order of their sources."""
        for part, ranks in zip(self.parts, self.ranks, strict=True):
            part.names.concept = ranks[part.names.concept]
        names = Names.concat([part.names for part in self.parts])
        for part in self.parts:
            part.names = Names.concat([])
        ordered = bool((np.diff(names.concept) >= 0).all())
        order = None if ordered else np.argsort(names.concept, kind="stable")
        concept = names.concept if order is None else names.concept[order]
        start = 0
        while start < len(concept):
            end = min(start + BLOCK, len(concept))
            end = int(np.searchsorted(concept, concept[end - 1], "right"))
            yield names.rows(slice(start, end) if order is None else order[start:end])
            start = end

    def _settle(self, names: Names) -> Names:
        """Keep one preferred name of a concept in a language, wanted scopes, and each name once."""
        text = names.text.combine_chunks()
        scope = names.scope.copy()
        # a source none of whose scopes are wanted has no say in which name is the preferred one
        main = np.flatnonzero((scope == PREFERRED) & np.any(self.allowed[names.part], axis=1))
        if len(main):
            key = names.concept[main].astype(np.int64) * len(self.words.langs.values) + names.lang[main]
            if names.rank is not None:  # of a source's own names; those of other sources stay where they are
                rank = names.rank[main]
                order = np.lexsort((-rank, names.part[main], key))
                main, key = main[order], key[order]
            _, first, group = np.unique(key, return_index=True, return_inverse=True)
            winner = main[first][group]
            other = pc.not_equal(text.take(pa.array(main)), text.take(pa.array(winner))).to_numpy(zero_copy_only=False)
            self._look_at(names, text, main[other], winner[other])
            scope[main[other]] = EXACT
        passes = self.allowed[names.part, scope]
        for part, count in enumerate(np.bincount(names.part[~passes], minlength=len(self.sources)).tolist()):
            self.sources[part][1].skip("name filtered out", count=count)
        kept, scope = self._once(names, text, scope, np.flatnonzero(passes))
        for part, count in enumerate(np.bincount(names.part[kept], minlength=len(self.sources)).tolist()):
            self.sources[part][1].names += count
        out = names if len(kept) == len(scope) else names.rows(kept)
        out.scope = scope[kept]
        return out

    def _once(
        self, names: Names, text: pa.Array, scope: npt.NDArray[np.int8], rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        """Return the rows without names that came before, and the scopes: what is preferred once stays so."""
        if not len(rows):
            return rows, scope
        words = text.dictionary_encode()
        key = (names.concept[rows] - names.concept[rows[0]]).astype(np.int64)
        key = key * len(self.words.langs.values) + names.lang[rows]
        key = key * len(words.dictionary) + words.indices.to_numpy()[rows]
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        self.outcome.duplicate_names += len(rows) - len(first)
        preferred = np.bincount(group[scope[rows] == PREFERRED], minlength=len(first)) > 0
        scope[rows[first[preferred]]] = PREFERRED
        return rows[np.sort(first)], scope

    def _look_at(
        self, names: Names, text: pa.Array, others: npt.NDArray[np.int64], winners: npt.NDArray[np.int64]
    ) -> None:
        """Refuse two main names of one id in two records of a source; count those of two sources."""
        foreign = names.part[others] != names.part[winners]
        defines = np.array([not source.overlay for source, _ in self.sources])[names.part]
        for at in np.flatnonzero(foreign & defines[others] & defines[winners]).tolist():
            self.outcome.named_differently += 1
            if len(self.outcome.named_differently_examples) < EXAMPLES:
                identifier = self.ids[int(names.concept[others[at]])].as_py()
                old, new = text[int(winners[at])].as_py(), text[int(others[at])].as_py()
                self.outcome.named_differently_examples.append(f"{identifier}: {old!r}, {new!r}")
        if names.record is None:
            return
        strict = np.array([s.duplicates == "error" and not s.overlay for s, _ in self.sources])[names.part[others]]
        twice = strict & ~foreign & (names.record[others] != names.record[winners]) & (names.record[others] >= 0)
        for at in np.flatnonzero(twice)[:1].tolist():
            self._refuse(names, text, int(others[at]), int(winners[at]))

    def _refuse(self, names: Names, text: pa.Array, new: int, old: int) -> None:
        lines = [None if names.line is None or (n := int(names.line[at])) < 0 else n for at in (new, old)]
        at = "" if lines[1] is None else f" (line {lines[1]})"
        raise DataError(
            f"duplicate id '{self.ids[int(names.concept[new])].as_py()}': named {text[new].as_py()!r} here and "
            f"{text[old].as_py()!r} before{at}",
            path=self.sources[int(names.part[new])][0].path,
            line=lines[0],
            fix="mend the file, or set `duplicates: merge` to keep the second as a further name",
        )

    def _display_names(self, names: Names, begin: npt.NDArray[np.int64]) -> pa.Array:
        """Return the name that shows each concept: the preferred one in its source's language, or what is next."""
        own = self.main_lang[self.owner[names.concept]] == names.lang
        main = names.scope == PREFERRED
        key = np.where(main & own, 0, np.where(main, 1, 2)) * len(own) + np.arange(len(own))
        best = np.minimum.reduceat(key, begin) % max(1, len(own)) if len(begin) else begin
        return names.text.take(pa.array(best)).combine_chunks()

    def _table(self, names: Names, row: Codes) -> pa.Table:
        scope = pa.DictionaryArray.from_arrays(pa.array(names.scope.astype(np.int32)), pa.array(SCOPES, pa.string()))
        lang, source = self.words.langs.column(names.lang), self.words.sources.column(names.source)
        weight = pa.repeat(pa.scalar(1, pa.float32()), len(row))
        columns = (pa.array(row), names.text, lang, scope, source, weight)
        return pa.table(dict(zip(NAMES.names, columns, strict=True)), NAMES)

    def _concepts(self, rows: Codes, shown: pa.ChunkedArray, starts: npt.NDArray[np.int64]) -> pa.Table:
        row_of = np.full(len(self.ids) + 1, -1, np.int32)
        row_of[rows] = np.arange(len(rows), dtype=np.int32)
        labels = pa.array([source.label for source, _ in self.sources], pa.string())
        return pa.table(
            {
                "id": self.ids.take(pa.array(rows)),
                "name": shown,
                **{kind: self._lists(kind, row_of, len(rows)) for kind in ("types", "xrefs", "parents")},
                "definition": self._definitions(row_of, len(rows)),
                "source": pa.DictionaryArray.from_arrays(pa.array(self.owner[rows]), labels),
                "first_name": pa.array(starts),
            },
            CONCEPTS,
        )

    def _values(self, kind: str) -> list[tuple[tuple[Codes, pa.ChunkedArray], Codes]]:
        """Return what each source says of a kind, and the numbers among all ids of its own ids."""
        both = zip(self.parts, self.ranks, strict=True)
        return [(part.values[kind], ranks) for part, ranks in both if kind in part.values]

    def _definitions(self, row_of: Codes, n: int) -> pa.ChunkedArray:
        """Return the first definition of each concept."""
        there = self._values("definitions")
        own = [row_of[ranks[numbers]] for (numbers, _), ranks in there]
        texts = pa.chunked_array([c for (_, column), _ in there for c in column.chunks], pa.large_string())
        concept, first = np.unique(np.concatenate([np.empty(0, np.int32), *own]), return_index=True)
        at = np.full(n + 1, -1, np.int64)
        at[concept] = first
        return texts.take(pa.array(at[:n], mask=at[:n] < 0))

    def _lists(self, kind: str, row_of: Codes, n: int) -> pa.ListArray:
        """Return the distinct values of each concept, in the order in which they came."""
        there = self._values(kind)
        concept = np.concatenate([np.empty(0, np.int32), *(row_of[ranks[own]] for (own, _), ranks in there)])
        words, numbers = one_dictionary([c for (_, column), _ in there for c in column.chunks])
        inside = concept >= 0
        concept, numbers = concept[inside], numbers[inside]
        _, first = np.unique(concept.astype(np.int64) * max(1, len(words)) + numbers, return_index=True)
        first.sort()
        order = first[np.argsort(concept[first], kind="stable")]
        offsets = np.append(0, np.cumsum(np.bincount(concept[order], minlength=n))).astype(np.int32)
        values = pa.DictionaryArray.from_arrays(pa.array(numbers[order]), words)
        return pa.ListArray.from_arrays(pa.array(offsets), values)

    def _retired(self, retired: pa.Table) -> pa.Table:
        """Return the first fact of each retired id that is no concept."""
        column = retired.column("id")
        distinct = pc.unique(column.cast(pa.string()))
        gone = distinct.filter(pc.invert(pc.is_in(distinct, value_set=self.ids)))
        number = codes(column, ids := _sorted(gone))
        known, first = np.unique(number, return_index=True)
        rows = retired.take(pa.array(first[known >= 0]))
        return rows.set_column(0, "id", ids).cast(RETIRED)


def _begins(concept: Codes) -> npt.NDArray[np.int64]:
    """Return where each concept's names begin."""
    return np.flatnonzero(np.append(True, concept[1:] != concept[:-1])[: len(concept)])


def _sorted(ids: pa.Array) -> pa.Array:
    """Return strings in the order of their bytes."""
    if len(ids) < 2 or pc.all(pc.less(ids[:-1], ids[1:])).as_py():
        return ids
    return ids.take(pc.sort_indices(ids))
