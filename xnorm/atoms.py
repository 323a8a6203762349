"""The names of UMLS, which it calls atoms, into names of concepts: which of them, under which ids, which is preferred.

Concepts are known here by the numbers of their CUIs, for a comparison of whole numbers is quick.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.columns import FACTS, Codes, Facts, Mask, Vocabulary, among, chosen, facts, indices
from xnorm.text import LangFilter, lang_code

__all__ = ["Atoms", "Choice", "cui_ids", "cui_numbers"]

CUIS = 10_000_000
"""A CUI is a C and seven digits."""
_MARKS = (("TS", "P"), ("STT", "PF"), ("ISPREF", "Y"))
"""Columns that mark a name, together, as the one that UMLS prefers in its language."""
_FIRST = np.int64(1 << 40)
"""More than any rank and marks weigh."""
_LOW = 0xFFFFFFFF
"""The code in a link, which is CUI << 32 | code."""


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


@dataclass(frozen=True)
class _Named:
    """Names of concepts in a block."""

    rows: npt.NDArray[np.int64]
    """Rows of the block, as often as they name a concept."""
    concept: npt.NDArray[np.int64]
    """Place in `ids` for each of them."""
    ids: pa.Array
    first: npt.NDArray[np.int64] | None = None
    """What counts before ranks and marks where names compete for being preferred; None: what UMLS prefers."""


class Atoms:
    """Takes blocks of MRCONSO that hold concepts whole, and remembers which concepts are there."""

    def __init__(self, choice: Choice, skip: Callable[[str, int], None], wanted: Mask | None) -> None:
        """
        Args:
            skip: called with a reason and how many names or concepts were left out for it.
            wanted: by CUI number, whether its types are asked for; None: all are.
        """
        self.choice, self.skip, self.wanted = choice, skip, wanted
        self.read = np.zeros(CUIS + 1, bool)
        """By CUI number, whether it was read."""
        self.there = np.zeros(CUIS + 1, bool)
        """By CUI number, whether a name of it was kept. The last element of both is False, and stands for no CUI."""
        self._codes = Vocabulary()
        self._links: list[npt.NDArray[np.int64]] = []

    def facts(self, block: pa.Table) -> Facts:
        """Return the concepts, names and xrefs of a block of MRCONSO."""
        cui = cui_numbers(block.column("CUI"))
        distinct = np.unique(cui)
        self.read[distinct] = True
        of_type = np.ones(len(cui), bool)
        if self.wanted is not None:
            of_type = self.wanted[cui]
            self.skip("concept of another type", int((~self.wanted[distinct]).sum()))
        marked = among(block.column("SUPPRESS"), self.choice.suppressed)
        current = of_type & self._pass("suppressed name", of_type, marked)
        passes = self._passing(block, current)
        if self.choice.ids is None:
            named, xrefs = self._by_cui(cui, passes), self._xrefs(block, cui, current, None)
        else:
            named, xrefs = self._by_code(block, cui, current, passes)
        self.there[cui[named.rows]] = True
        return {"concepts": facts("concepts", id=named.ids), "names": self._names(block, named), "xrefs": xrefs}

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

    def _by_cui(self, cui: Codes, passes: Mask) -> _Named:
        distinct, concept = np.unique(cui[passes], return_inverse=True)
        return _Named(np.flatnonzero(passes), concept, cui_ids(distinct, self.choice.cui_prefix))

    def _by_code(self, block: pa.Table, cui: Codes, current: Mask, passes: Mask) -> tuple[_Named, pa.Table]:
        """Return the names of codes, and their xrefs; a row is named as often as its CUI has a code."""
        choice = self.choice
        codes = block.column(choice.code_column).combine_chunks().dictionary_encode()
        place, of_vocabulary = indices(codes), among(block.column("SAB"), [str(choice.ids)])
        coded = _are_codes(codes)
        self.skip("name without a code", int((current & of_vocabulary & ~coded).sum()))
        own = current & of_vocabulary & coded
        links = np.unique(cui[own].astype(np.int64) << 32 | place[own])
        self._remember(links, codes.dictionary)
        if choice.extend:
            rows, places = _joined(np.flatnonzero(passes), cui, links)
            reached = np.zeros(len(cui), bool)
            reached[rows] = True
            self._pass(f"name of a concept without a code of {choice.ids}", passes, reached)
        else:
            self._pass("name of another vocabulary", passes, of_vocabulary)
            rows = np.flatnonzero(passes & own)
            places = place[rows]
        distinct, concept = np.unique(places, return_inverse=True)
        ids = _prefixed(choice.code_prefix, codes.dictionary)
        # the code's own names go before those of other codes of its CUI
        first = of_vocabulary[rows] * _FIRST * (1 + (place[rows] == places))
        named = _Named(rows, concept, ids.take(pa.array(distinct)), first)
        return named, self._xrefs(block, cui, current, (links, ids))

    def _remember(self, links: npt.NDArray[np.int64], words: pa.Array) -> None:
        """Keep the codes of CUIs for what is read after the names."""
        distinct, at = np.unique(links & _LOW, return_inverse=True)
        numbers = [self._codes.number(word) for word in words.take(pa.array(distinct)).to_pylist()]
        self._links.append((links >> 32) << 32 | np.array(numbers, np.int64)[at])

    def _names(self, block: pa.Table, named: _Named) -> pa.Table:
        whole = len(named.rows) == block.num_rows and self.choice.ids is None
        atoms = block if whole else block.take(pa.array(named.rows))
        best, key = self._best(atoms, named)
        scope = pa.DictionaryArray.from_arrays(pa.array((~best).astype(np.int32)), pa.array(["preferred", "exact"]))
        return facts(
            "names",
            id=pa.DictionaryArray.from_arrays(pa.array(named.concept, pa.int32()), named.ids),
            text=atoms.column("STR"),
            lang=atoms.column("LAT"),
            scope=scope,
            source=atoms.column("SAB"),
            # a code may have names in several blocks
            rank=None if self.choice.ids is None else key,
        )

    def _best(self, atoms: pa.Table, named: _Named) -> tuple[Mask, npt.NDArray[np.int64]]:
        """Return which atom is the preferred one of its concept in its language, and the keys by which it is.

        What goes first is the one that UMLS marks so (TS P, STT PF, ISPREF Y), or where codes are the ids one with that
        code; then the one of the best vocabulary and term type (MRRANK), of these the one with most such marks, of
        these the first.
        """
        langs = Vocabulary().codes(atoms.column("LAT"), lang_code)
        marks = [among(atoms.column(c), [value]) for c, value in _MARKS]
        first = (marks[0] & marks[1] & marks[2]) * _FIRST if named.first is None else named.first
        key = first + self._ranks(atoms) * 8 + marks[0] * 4 + marks[1] * 2 + marks[2]
        group = named.concept.astype(np.int64) * (int(langs.max(initial=0)) + 1) + langs
        order = np.lexsort((-key, group))
        best = np.zeros(len(group), bool)
        best[order[np.append(True, np.diff(group[order]) != 0)[: len(order)]]] = True
        return best, key

    def _ranks(self, atoms: pa.Table) -> npt.NDArray[np.int64]:
        vocabularies, types = Vocabulary(), Vocabulary()
        v, t = vocabularies.codes(atoms.column("SAB")), types.codes(atoms.column("TTY"))
        if not len(v) or not self.choice.ranks:
            return np.zeros(len(v), np.int64)
        table = [[self.choice.ranks.get((sab, tty), 0) for tty in types.values] for sab in vocabularies.values]
        return np.asarray(np.array(table, np.int64)[v, t])

    def _xrefs(
        self, block: pa.Table, cui: Codes, current: Mask, codes: tuple[npt.NDArray[np.int64], pa.Array] | None
    ) -> pa.Table:
        """Return the codes of wanted vocabularies, and the CUIs of codes where these are the ids.

        Args:
            codes: links of the block, sorted, and the ids that they lead to; None where CUIs are the ids.
        """

        def ids_of(numbers: Codes) -> tuple[pa.Array, npt.NDArray[np.int64]]:
            if codes is None:
                return cui_ids(numbers, self.choice.cui_prefix), np.arange(len(numbers))
            at, place = _joined(np.arange(len(numbers)), numbers, codes[0])
            return codes[1].take(pa.array(place)), at

        tables = [FACTS["xrefs"].empty_table()]
        for vocabulary, prefix in self.choice.xrefs.items():
            of_vocabulary = current & among(block.column("SAB"), [vocabulary])
            rows = np.flatnonzero(of_vocabulary & _are_codes(block.column("CODE")))
            ids, at = ids_of(cui[rows])
            values = block.column("CODE").take(pa.array(rows[at]))
            tables.append(facts("xrefs", id=ids, value=_prefixed(prefix, values)))
        if codes is not None:
            distinct = np.unique(cui[current])
            ids, at = ids_of(distinct)
            tables.append(facts("xrefs", id=ids, value=cui_ids(distinct[at], self.choice.cui_prefix)))
        return pa.concat_tables(tables)

    def ids_of(self, cui: Codes) -> tuple[pa.Array, npt.NDArray[np.int64]]:
        """Return the ids of CUI numbers, and for each id its place in `cui`: a CUI may have several codes, or none.

        To be asked when all blocks have been read.
        """
        if self.choice.ids is None:
            return cui_ids(cui, self.choice.cui_prefix), np.arange(len(cui))
        links, words = self._all_codes
        at, number = _joined(np.arange(len(cui)), cui, links)
        return words.take(pa.array(number)), at

    @cached_property
    def _all_codes(self) -> tuple[npt.NDArray[np.int64], pa.Array]:
        links = np.unique(np.concatenate([np.empty(0, np.int64), *self._links]))
        return links, _prefixed(self.choice.code_prefix, pa.array(list(self._codes.values), pa.string()))


def _are_codes(codes: pa.Array | pa.ChunkedArray) -> Mask:
    """Return which strings are codes: UMLS writes NOCODE where there is none."""
    nothing = pc.is_in(codes.cast(pa.string()), value_set=pa.array(["", "NOCODE"]))
    mask: Mask = pc.invert(nothing).to_numpy(zero_copy_only=False)
    return mask


def _joined(
    rows: npt.NDArray[np.int64], cui: Codes, links: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return rows as often as their CUI has a code, and these codes; links are CUI << 32 | code, sorted."""
    of_link = links >> 32
    first = np.searchsorted(of_link, cui[rows], "left")
    counts = np.searchsorted(of_link, cui[rows], "right") - first
    begin = np.repeat(first - (np.cumsum(counts) - counts), counts)
    return np.repeat(rows, counts), links[begin + np.arange(counts.sum())] & _LOW


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
