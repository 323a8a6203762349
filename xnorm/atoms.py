"""The names of UMLS, which it calls atoms, into names of concepts: which of them, under which ids, which is preferred.

Concepts are known here by the numbers of their CUIs, for a comparison of whole numbers is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.columns import Codes, Facts, Mask, Vocabulary, among, chosen, facts, indices
from xnorm.text import LangFilter, lang_code

__all__ = ["Atoms", "Choice", "cui_ids", "cui_numbers"]

CUIS = 10_000_000
"""A CUI is a C and seven digits."""


@dataclass(frozen=True)
class Choice:
    """Which atoms become names."""

    langs: LangFilter
    vocabularies: Collection[str] | None
    term_types: Collection[str] | None
    suppressed: Collection[str]
    """Values of SUPPRESS that are kept."""
    ranks: Mapping[tuple[str, str], int]
    """(vocabulary, term type) -> rank; the higher, the better. Empty where the release has none."""
    cui_prefix: str
    """With its colon."""
    xrefs: Mapping[str, str]
    """Vocabulary -> CURIE prefix of its codes, with its colon."""
    ids: str | None
    """Vocabulary whose codes are the ids; None: CUIs."""
    code_column: str
    code_prefix: str
    extend: bool
    """Whether a code has all names of its CUIs."""


class Atoms:
    """Takes blocks of MRCONSO that hold concepts whole, and remembers which concepts are there."""

    def __init__(self, choice: Choice, skip: Callable[[str, int], None], wanted: Mask | None) -> None:
        """
        Args:
            skip: called with a reason and how many names or concepts were left out for it.
            wanted: by CUI number, whether its types are asked for; None: all are.
        """
        self.choice, self.skip, self.wanted = choice, skip, wanted
        self.read = 0
        """Concepts read."""
        self.there = np.zeros(CUIS + 1, bool)
        """By CUI number, whether a name of it was kept; the last element is False and stands for no CUI."""
        self._codes = Vocabulary()
        self._links: list[npt.NDArray[np.int64]] = []

    def facts(self, block: pa.Table) -> Facts:
        """Return the concepts, names and xrefs of a block of MRCONSO."""
        cui = cui_numbers(block.column("CUI"))
        distinct = np.unique(cui)
        self.read += int((distinct >= 0).sum())
        if self.wanted is not None:
            fits = self.wanted[distinct]
            self.skip("concept of another type", int((~fits & (distinct >= 0)).sum()))
        of_type = (cui >= 0) if self.wanted is None else self.wanted[cui]
        current = of_type & self._pass(
            "suppressed name", of_type, among(block.column("SUPPRESS"), self.choice.suppressed)
        )
        passes = self._passing(block, current)
        if self.choice.ids is None:
            rows, concept, ids = np.flatnonzero(passes), *self._by_cui(cui[passes])
        else:
            rows, concept, ids = self._by_code(block, cui, current, passes)
        self.there[cui[rows]] = True
        batch: Facts = {"concepts": facts("concepts", id=ids), "names": self._names(block, rows, concept, ids)}
        if self.choice.xrefs or self.choice.ids is not None:
            batch["xrefs"] = self._xrefs(block, cui, current)
        return batch

    def _pass(self, reason: str, before: Mask, mask: Mask) -> Mask:
        """Count what a filter leaves out of what was there before it."""
        self.skip(reason, int((before & ~mask).sum()))
        return mask

    def _passing(self, block: pa.Table, passes: Mask) -> Mask:
        choice = self.choice
        for reason, column, wanted in (
            ("name of another vocabulary", "SAB", choice.vocabularies),
            ("name of another term type", "TTY", choice.term_types),
        ):
            if wanted is not None:
                passes = passes & self._pass(reason, passes, among(block.column(column), wanted))
        if choice.langs.wanted is None:
            return passes
        wanted_lang = chosen(block.column("LAT"), lambda word: choice.langs(lang_code(word)))
        return passes & self._pass("name filtered out", passes, wanted_lang)

    def _by_cui(self, cui: Codes) -> tuple[Codes, pa.DictionaryArray]:
        distinct, concept = np.unique(cui, return_inverse=True)
        return concept.astype(np.int32), cui_ids(distinct, self.choice.cui_prefix).dictionary_encode()

    def _by_code(
        self, block: pa.Table, cui: Codes, current: Mask, passes: Mask
    ) -> tuple[npt.NDArray[np.int64], Codes, pa.DictionaryArray]:
        """Return rows of names (a row as often as it names a code), the place of each one's code, and the codes."""
        choice = self.choice
        codes = block.column(choice.code_column).combine_chunks().dictionary_encode()
        place, has_code = indices(codes), pc.not_equal(codes.cast(pa.string()), "").to_numpy(zero_copy_only=False)
        own = current & among(block.column("SAB"), [str(choice.ids)]) & has_code
        links = np.unique(cui[own].astype(np.int64) << 32 | place[own])
        words = codes.dictionary.to_pylist()
        numbers = np.array([self._codes.number(words[at]) for at in (links & 0xFFFFFFFF).tolist()], np.int64)
        self._links.append((links >> 32) << 32 | numbers)
        if choice.extend:
            rows, places = _joined(np.flatnonzero(passes), cui, links)
        else:
            rows = np.flatnonzero(passes & own)
            places = place[rows]
        distinct, concept = np.unique(places, return_inverse=True)
        ids = _prefixed(choice.code_prefix, codes.dictionary.take(pa.array(distinct)))
        return rows, concept.astype(np.int32), ids.dictionary_encode()

    def _names(self, block: pa.Table, rows: npt.NDArray[np.int64], concept: Codes, ids: pa.DictionaryArray) -> pa.Table:
        atoms = block.take(pa.array(rows)) if len(rows) < block.num_rows or self.choice.extend else block
        best = self._best(atoms, concept)
        scope = pa.DictionaryArray.from_arrays(pa.array((~best).astype(np.int32)), pa.array(["preferred", "exact"]))
        own = pa.DictionaryArray.from_arrays(pa.array(concept), ids.dictionary) if len(ids) else ids
        return facts(
            "names",
            id=own,
            text=atoms.column("STR"),
            lang=atoms.column("LAT"),
            scope=scope,
            source=atoms.column("SAB"),
        )

    def _best(self, atoms: pa.Table, concept: Codes) -> Mask:
        """Return which atom is the preferred one of its concept in its language.

        The one that UMLS marks so (TS P, STT PF, ISPREF Y) if it is there, else the one of the best vocabulary and term
        type (MRRANK), of these the one with most such marks, of these the first. Where codes are the ids, an atom of
        their own vocabulary goes before all others, and marks, which are of CUIs, count less than ranks.
        """
        langs = Vocabulary().codes(atoms.column("LAT"), lang_code)
        marks = [among(atoms.column(c), [value]) for c, value in (("TS", "P"), ("STT", "PF"), ("ISPREF", "Y"))]
        key = self._ranks(atoms) * 8 + marks[0] * 4 + marks[1] * 2 + marks[2]
        if self.choice.ids is None:
            key += (marks[0] & marks[1] & marks[2]) * np.int64(1 << 40)
        else:
            key += among(atoms.column("SAB"), [self.choice.ids]) * np.int64(1 << 40)
        group = concept.astype(np.int64) * (int(langs.max(initial=0)) + 1) + langs
        order = np.lexsort((-key, group))
        best = np.zeros(len(group), bool)
        best[order[np.append(True, np.diff(group[order]) != 0)[: len(order)]]] = True
        return best

    def _ranks(self, atoms: pa.Table) -> npt.NDArray[np.int64]:
        vocabularies, types = Vocabulary(), Vocabulary()
        v, t = vocabularies.codes(atoms.column("SAB")), types.codes(atoms.column("TTY"))
        if not len(v) or not self.choice.ranks:
            return np.zeros(len(v), np.int64)
        table = [[self.choice.ranks.get((sab, tty), 0) for tty in types.values] for sab in vocabularies.values]
        return np.asarray(np.array(table, np.int64)[v, t])

    def _xrefs(self, block: pa.Table, cui: Codes, current: Mask) -> pa.Table:
        """Return the codes of wanted vocabularies, and the CUIs where codes are the ids."""
        tables = []
        for vocabulary, prefix in self.choice.xrefs.items():
            rows = np.flatnonzero(current & among(block.column("SAB"), [vocabulary]))
            ids, at = self.ids_of(cui[rows])
            codes = block.column("CODE").take(pa.array(rows[at]))
            tables.append(facts("xrefs", id=ids, value=_prefixed(prefix, codes)))
        if self.choice.ids is not None:
            numbers = np.unique(cui[current])
            ids, at = self.ids_of(numbers)
            tables.append(facts("xrefs", id=ids, value=cui_ids(numbers[at], self.choice.cui_prefix)))
        return pa.concat_tables(tables)

    def ids_of(self, cui: Codes) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """Return the ids of CUI numbers, and for each id its place in `cui`: a CUI may have several codes, or none."""
        if self.choice.ids is None:
            return cui_ids(cui, self.choice.cui_prefix), np.arange(len(cui))
        links = np.unique(np.concatenate([np.empty(0, np.int64), *self._links]))
        self._links = [links]
        at, number = _joined(np.arange(len(cui)), cui, links)
        codes = self._codes.column(number.astype(np.int32)).cast(pa.string())
        return _prefixed(self.choice.code_prefix, codes), at


def _joined(
    rows: npt.NDArray[np.int64], cui: Codes, links: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows as often as their CUI has a code, and these codes; links are CUI << 32 | code, sorted."""
    of_link = links >> 32
    first = np.searchsorted(of_link, cui[rows], "left")
    counts = np.searchsorted(of_link, cui[rows], "right") - first
    begin = np.repeat(first - (np.cumsum(counts) - counts), counts)
    return np.repeat(rows, counts), links[begin + np.arange(counts.sum())] & 0xFFFFFFFF


def _prefixed(prefix: str, codes: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return CURIEs; a code that has a colon is one."""
    codes = codes.cast(pa.string())
    return pc.if_else(pc.match_substring(codes, ":"), codes, pc.binary_join_element_wise(prefix, codes, ""))


def cui_numbers(column: pa.ChunkedArray) -> Codes:
    """Return the number in each CUI (strings, or a dictionary of them); -1 for what is no CUI."""
    if pa.types.is_dictionary(column.type):
        parts = [np.empty(0, np.int32)]
        for chunk in column.chunks:
            words = cui_numbers(pa.chunked_array([chunk.dictionary]))
            parts.append(np.append(words, np.int32(-1))[indices(chunk)])
        return np.concatenate(parts)
    fits = pc.match_substring_regex(column, r"^C[0-9]{7}$")
    digits = pc.if_else(fits, pc.utf8_slice_codeunits(column, 1), "-1")
    numbers: Codes = digits.cast(pa.int32()).to_numpy()
    return numbers


def cui_ids(numbers: Sequence[int] | Codes, prefix: str) -> pa.Array:
    """Return `prefix` and the CUI of each number."""
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), 7, "0")
    return pc.binary_join_element_wise(prefix + "C", digits, "")
