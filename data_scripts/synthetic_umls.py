"""Write a synthetic release of the UMLS Metathesaurus: the real layout and size, invented content.

    python data_scripts/synthetic_umls.py FOLDER         # 17 million names, 4 million concepts, 25 languages
    python data_scripts/synthetic_umls.py FOLDER --rows 20000 --concepts 5000 --gzip

For measuring readers of UMLS where the licensed files cannot go. Written to FOLDER/META, in Rich Release Format (UTF-8,
`|` after each column, no header, no quoting, sorted by bytes): MRCONSO, MRSTY, MRDEF, MRSAB, MRCUI, MRREL, MRRANK,
MRFILES and release.dat. Like the real one: languages and about 200 vocabularies with skewed shares, their term types
and ways of writing codes; one name with TS=P, STT=PF and ISPREF=Y for each concept and language; about a quarter of
the names repeat one that the concept has already; suppressed and obsolete names; a tail of names over 500 letters;
names with quotation marks; hierarchies without cycles.

Unlike it: no name means anything; numbers of strings (SUI) and terms (LUI) tell names apart within a block of concepts,
so that one name of two distant concepts can have two numbers; the codes of SNOMED CT have no valid check digit.

The same arguments write the same bytes, with one version of numpy.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from synthetic_umls_files import COLUMNS, Table, fixed, letters, pick
from synthetic_umls_names import ENGLISH, LANGUAGES, MOST_WORDS, Lexicon, Numbers, Wording, join
from synthetic_umls_plan import InputError, Plan
from synthetic_umls_sources import HIERARCHIES, THEMES, Vocabularies

from xnorm.semantic_types import TYPE_NAMES

RELEASE = "2099AA"
BLOCK = 100_000
"""Concepts written at a time."""
TREE = dict(
    pair.split()
    for pair in """
    T002 A1.1.3.3;T004 A1.1.3.2;T005 A1.1.4;T007 A1.1.2;T012 A1.1.3.1.1.2;T013 A1.1.3.1.1.3;T014 A1.1.3.1.1.5;
    T015 A1.1.3.1.1.4;T019 A1.2.2.1;T020 A1.2.2.2;T023 A1.2.3.1;T024 A1.2.3.2;T025 A1.2.3.3;T026 A1.2.3.4;T028 A1.2.3.5;
    T029 A2.1.5.2;T033 A2.2;T034 A2.2.1;T037 B2.3;T046 B2.2.1.2;T047 B2.2.1.2.1;T048 B2.2.1.2.1.1;T049 B2.2.1.2.2;
    T050 B2.2.1.2.3;T058 B1.3.1;T059 B1.3.1.1;T060 B1.3.1.2;T061 B1.3.1.3;T063 B1.3.2.1;T073 A1.3;T074 A1.3.1;T078 A2.1;
    T079 A2.1.1;T080 A2.1.2;T081 A2.1.3;T082 A2.1.5;T086 A2.1.5.3.1;T109 A1.4.1.2.1;T116 A1.4.1.2.1.7;T121 A1.4.1.1.1;
    T122 A1.4.1.1.2;T123 A1.4.1.1.3;T126 A1.4.1.1.3.3;T129 A1.4.1.1.3.5;T130 A1.4.1.1.4;T131 A1.4.1.1.5;T168 A1.4.3;
    T170 A2.4;T184 A2.2.2;T190 A1.2.2;T191 B2.2.1.2.1.2;T194 A1.1.1;T195 A1.4.1.1.1.1;T197 A1.4.1.2.2;T200 A1.3.3;
    T201 A2.3.1;T204 A1.1.3
    """.replace("\n", "").split(";")
)
"""Semantic type -> its number in the tree of the Semantic Network."""
DEFINED = {
    "NCI": 0.5, "MSH": 0.12, "GO": 0.9, "HPO": 0.6, "FMA": 0.05, "MEDLINEPLUS": 0.5, "CSP": 0.5, "SNOMEDCT_US": 0.02,
    "NCI_NCI-GLOSS": 0.6, "MSHSPA": 0.3, "MSHFRE": 0.3, "MSHCZE": 0.3, "MSHPOR": 0.3, "MSHNOR": 0.3,
}  # fmt: skip
"""Vocabulary -> share of its concepts that it defines."""
LEAST_CONCEPTS, MOST_CONCEPTS, MOST_ROWS = 2_000, 7_000_000, 80_000_000
_FIRST = 10_000_000
"""Numbers of names, terms, strings and relations have eight digits."""


@dataclass
class Counters:
    """Numbers given out so far, and what is collected for the files that are written last."""

    aui: int = _FIRST
    lui: int = _FIRST
    sui: int = _FIRST
    atui: int = _FIRST
    rows: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    """By vocabulary."""
    concepts: Numbers = field(default_factory=lambda: np.zeros(0, np.int64))
    nodes: dict[str, list[tuple[Numbers, Numbers]]] = field(default_factory=lambda: {name: [] for name in HIERARCHIES})
    """Vocabulary with a hierarchy -> (concepts, their AUIs) of each block."""


@dataclass
class Rows:
    """Names of a block of concepts, before and after they are numbered; one element a row of MRCONSO."""

    group: Numbers
    concept: Numbers
    language: Numbers
    string: Numbers
    """The row whose string this row has."""
    kind: Numbers
    suppressed: Numbers
    """0 no, 1 suppressible, 2 obsolete, 3 by an editor."""
    aui: Numbers


def roots(parent: Numbers) -> Numbers:
    """Return for each row the first of its chain of parents; a row without a parent is its own."""
    while True:
        up = parent[parent]
        if (up == parent).all():
            return parent
        parent = up


class Release:
    """Writes a release."""

    def __init__(self, folder: Path, *, rows: int, concepts: int, seed: int, compress: bool) -> None:
        self.vocabularies = Vocabularies()
        self.reserved = 2 * len(self.vocabularies.names)
        self.folder, self.compress, self.seed = folder, compress, seed
        self.plan = Plan.draw(np.random.default_rng([seed, 1]), rows - self.reserved, concepts, self.reserved)
        self.lexicons = [Lexicon(language, seed) for language in LANGUAGES]
        self.counters = Counters()
        self.counters.rows = np.zeros(len(self.vocabularies.names), np.int64)
        self.counters.concepts = self.counters.rows.copy()
        self.written: list[Table] = []

    def table(self, name: str) -> Table:
        """Return a file to write to."""
        table = Table(self.folder, name, compress=self.compress)
        self.written.append(table)
        return table

    def write(self) -> None:
        """Write all files."""
        with self.table("MRCONSO") as names, self.table("MRSTY") as types, self.table("MRDEF") as definitions:
            n = len(self.plan.cui) - self.reserved
            for start in range(0, n, BLOCK):
                self._block(start, min(n, start + BLOCK), names, types, definitions)
            self._own_concepts(names, types)
        self._retired()
        self._relations()
        self._about()

    # names, types and definitions, block by block

    def _block(self, start: int, end: int, names: Table, types: Table, definitions: Table) -> None:
        rng = np.random.default_rng([self.seed, 2, start])
        rows = self._draw(rng, start, end)
        text, term, form = self._texts(rng, rows)
        lui, sui = self._number(rows, text, term)
        order, status = self._order(rows, form, lui, sui)
        vocabulary = self.vocabularies.kind_vocabulary[rows.kind]
        before, code = self.vocabularies.codes(vocabulary, rows.concept, rows.aui)
        kinds = [f"{self.vocabularies.names[v]}|{tty}|" for v, tty, _ in self.vocabularies.kinds]
        level = np.array([self.vocabularies.level(v) for v in range(len(self.vocabularies.names))])[vocabulary]
        view = np.where((rng.random(len(lui)) < 0.08) & (rows.suppressed == 0), rng.integers(1, 3, len(lui)), 0)
        ends = [f"|{v}|{s}|{f}|\n" for v in range(10) for s in "NYOE" for f in ("", "256", "4352")]
        at = pa.array(order)
        line = join(
            self._prefix(rows, lui, sui, status, order),
            before.take(at),
            pick(kinds, rows.kind[order]),
            code.take(at),
            pa.scalar("|"),
            text.take(at),
            pick(ends, (level * 12 + rows.suppressed * 3 + view)[order]),
        )
        names.write(line)
        self._count(rows, vocabulary)
        self._types(rng, start, end, types)
        self._definitions(rng, rows, vocabulary, definitions)

    def _draw(self, rng: np.random.Generator, start: int, end: int) -> Rows:
        plan, vocabularies = self.plan, self.vocabularies
        first, last = np.searchsorted(plan.concept, [start, end])
        count = plan.count[first:last].astype(np.int64)
        group = np.repeat(np.arange(last - first), count)
        begin = np.repeat(np.cumsum(count) - count, count)
        n, row = len(group), np.arange(len(group))
        concept, language = plan.concept[first:last][group].astype(np.int64), plan.language[first:last][group]
        # a name repeats an earlier one of its group, or is a new one
        earlier = begin + (rng.random(n) * (row - begin)).astype(np.int64)
        string = roots(np.where((rng.random(n) < 0.36) & (row > begin), earlier, row))
        vocabulary = vocabularies.choose(rng, plan.theme[concept], language.astype(np.int64), ENGLISH)
        _, first_rows = np.unique(group * 1024 + vocabulary, return_index=True)
        further = np.ones(n, bool)
        further[first_rows] = False
        kind = vocabularies.choose_kinds(rng, vocabulary, further)
        gone = rng.random(end - start) < 0.05  # all names of an obsolete concept are
        obsolete = (vocabularies.kind_suppressed[kind] == 2) | gone[concept - start] | (rng.random(n) < 0.03)
        suppressed = np.where(obsolete, 2, vocabularies.kind_suppressed[kind])
        suppressed[rng.random(n) < 0.0015] = 3
        aui = self.counters.aui + rng.permutation(n)
        self.counters.aui += n
        return Rows(group, concept, language.astype(np.int64), string, kind, suppressed, aui)

    def _texts(
        self, rng: np.random.Generator, rows: Rows
    ) -> tuple[pa.Array, npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Return the string of each row, the key of its term and its form (see `Wording`)."""
        own = np.flatnonzero(rows.string == np.arange(len(rows.string)))
        wording = self._wording(rng, rows, own)
        parts, places = [], []
        for language in np.unique(rows.language):
            at = np.flatnonzero(rows.language[own] == language)
            parts.append(self.lexicons[language].names(wording.take(at)))
            places.append(at)
        order = np.concatenate(places)
        place = np.zeros(len(rows.string), np.int64)
        place[own[order]] = np.arange(len(order))
        place = place[rows.string]
        return (
            pa.concat_arrays(parts).take(pa.array(place)),
            wording.term_key()[order][place],
            wording.form[order][place],
        )

    def _wording(self, rng: np.random.Generator, rows: Rows, own: Numbers) -> Wording:
        """Draw the words of the rows that have a string of their own."""
        n, group = len(own), rows.group[own]
        concept = rows.concept[own]
        base = concept[0]
        size = int(concept[-1] - base) + 1
        # what the names of a concept have in common; a few concepts share it with the one before
        head = np.arange(base, base + size)
        twin = np.flatnonzero(rng.random(size) < 0.04)
        head[twin] = head[np.maximum(twin - 1, 0)]
        common = (20000 * rng.random((size, MOST_WORDS)) ** 2.5).astype(np.int64)
        lengths = rng.choice(MOST_WORDS + 1, size, p=[0.07, 0.13, 0.18, 0.18, 0.14, 0.11, 0.08, 0.05, 0.04, 0.02])
        common[twin], lengths[twin] = common[np.maximum(twin - 1, 0)], lengths[np.maximum(twin - 1, 0)]
        main = np.concatenate([[True], group[1:] != group[:-1]])  # the first name of a concept in a language
        # a name is a form of an earlier term of its group, or a term of its own
        row, begin = np.arange(n), np.maximum.accumulate(np.where(main, np.arange(n), 0))
        earlier = begin + (rng.random(n) * (row - begin)).astype(np.int64)
        term = roots(np.where((rng.random(n) < 0.2) & ~main, earlier, row))
        local = concept - base
        fresh = (20000 * rng.random((n, MOST_WORDS)) ** 2.5).astype(np.int64)
        keep = (rng.random((n, MOST_WORDS)) < 0.6) | main[:, None]
        n_words = np.clip(lengths[local] + np.where(main, 0, rng.integers(-1, 2, n)), 0, MOST_WORDS)
        other = np.where(main, 0, np.maximum(0, rng.integers(-6, 4, n)))
        heads = (head[local] + other * len(self.plan.cui)) * 7_368_787 % Lexicon.n_heads()
        kind = self.vocabularies.kinds
        tagged = np.array([tty == "FN" for _, tty, _ in kind])[rows.kind[own]] & (rows.language[own] == ENGLISH)
        n_qualifiers = np.array([lexicon.n_qualifiers for lexicon in self.lexicons])[rows.language[own]]
        n_phrases = np.array([lexicon.n_phrases for lexicon in self.lexicons])[rows.language[own]]
        wording = Wording(
            head=heads,
            words=np.where(keep, common[local], fresh),
            n_words=n_words,
            qualifier=np.where(rng.random(n) < 0.12, rng.integers(0, n_qualifiers), -1),
            phrase=np.where(rng.random(n) < 0.02, rng.integers(0, n_phrases), -1),
            tag=np.where(tagged, self.plan.theme[concept], -1),
            style=rng.choice(4, n, p=[0.7, 0.22, 0.06, 0.02]),
            form=np.zeros(n, np.int64),
        ).take(term)
        wording.form = np.where(term == row, 0, rng.integers(1, 4, n))
        return wording

    def _number(self, rows: Rows, text: pa.Array, term: npt.NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
        """Return LUI and SUI: one number for a string of a language, one for a term whatever its case and order."""
        lui, sui = np.empty(len(text), np.int64), np.empty(len(text), np.int64)
        for language in np.unique(rows.language):
            at = np.flatnonzero(rows.language == language)
            codes = text.take(pa.array(at)).dictionary_encode()
            number = codes.indices.to_numpy().astype(np.int64)
            _, first = np.unique(number, return_index=True)
            found, terms = np.unique(term[at[first]], return_inverse=True)
            lui[at], sui[at] = self.counters.lui + terms[number], self.counters.sui + number
            self.counters.lui += len(found)
            self.counters.sui += len(first)
        return lui, sui

    def _order(self, rows: Rows, form: Numbers, lui: Numbers, sui: Numbers) -> tuple[Numbers, dict[str, Numbers]]:
        """Return the rows in the order of the file, and their TS, STT and ISPREF as numbers.

        The precedence of a row's kind, then the smaller AUI decide; suppressed rows come after the others.
        """
        hidden, rank = rows.suppressed > 0, self.vocabularies.rank[rows.kind]
        first = np.argsort((((rows.group << 1) | hidden) << 40) - (rank << 28) + (rows.aui - _FIRST))
        group, term, string = rows.group[first], lui[first], sui[first]
        _, at = np.unique(group, return_index=True)
        secondary = term != term[at][group]
        _, at, back = np.unique((group << 28) | term, return_index=True, return_inverse=True)
        variant = string != string[at][back]
        _, at = np.unique((group << 28) | string, return_index=True)
        preferred = np.zeros(len(group), np.int64)
        preferred[at] = 1
        status = {name: np.empty(len(group), np.int64) for name in ("ts", "stt", "ispref")}
        status["ts"][first], status["ispref"][first] = secondary, preferred
        status["stt"][first] = np.where(variant, np.array([2, 1, 3, 2])[form[first]], 0)
        major = (rows.group << 29) | (status["ts"] << 28) | lui
        minor = (((status["stt"] << 28 | sui) << 1 | status["ispref"]) << 28) | rows.aui
        return np.lexsort((minor, major)), status

    def _prefix(self, rows: Rows, lui: Numbers, sui: Numbers, status: dict[str, Numbers], order: Numbers) -> pa.Array:
        ts, stt, ispref = (status[name][order] for name in ("ts", "stt", "ispref"))
        return fixed(
            ("C", self.plan.cui[rows.concept[order]], 7), "|",
            letters(LANGUAGES)[rows.language[order]], "|",
            letters("PS")[ts], "|",
            ("L", lui[order], 8), "|",
            letters(("PF", "VC", "VO", "VW"))[stt], "|",
            ("S", sui[order], 8), "|",
            letters("NY")[ispref], "|",
            ("A", rows.aui[order], 8), "|",
        )  # fmt: skip

    def _count(self, rows: Rows, vocabulary: Numbers) -> None:
        size = len(self.vocabularies.names)
        self.counters.rows += np.bincount(vocabulary, minlength=size)
        pairs, first = np.unique(rows.concept * size + vocabulary, return_index=True)
        self.counters.concepts += np.bincount(pairs % size, minlength=size)
        for name, blocks in self.counters.nodes.items():
            at = first[pairs % size == self.vocabularies.names.index(name)]
            blocks.append((rows.concept[at], rows.aui[at]))

    def _types(self, rng: np.random.Generator, start: int, end: int, out: Table) -> None:
        theme = self.plan.theme[start:end]
        tuis = sorted(TREE)
        drawn = np.empty((2, end - start), np.int64)
        for at, about in enumerate(THEMES):
            mine = np.flatnonzero(theme == at)
            numbers = np.array([tuis.index(tui) for tui in about.types])
            share = np.array(list(about.types.values()))
            drawn[:, mine] = rng.choice(numbers, (2, len(mine)), p=share / share.sum())
        two = np.flatnonzero((drawn[0] != drawn[1]) & (rng.random(end - start) < 0.2))
        concept = np.concatenate([np.arange(start, end), two + start])
        tui = np.concatenate([drawn[0], drawn[1, two]])
        order = np.lexsort((tui, concept))
        self._write_types(concept[order], pick([_type(t) for t in tuis], tui[order]), out)

    def _write_types(self, concept: Numbers, types: pa.Array, out: Table) -> None:
        atui = self.counters.atui + np.arange(len(concept))
        self.counters.atui += len(concept)
        out.write(join(fixed(("C", self.plan.cui[concept], 7), "|"), types, fixed(("T", atui, 8), "||\n")))

    def _definitions(self, rng: np.random.Generator, rows: Rows, vocabulary: Numbers, out: Table) -> None:
        share = np.array([DEFINED.get(name, 0) for name in self.vocabularies.names])[vocabulary]
        _, first = np.unique(rows.group * 1024 + vocabulary, return_index=True)
        at = first[rng.random(len(first)) < share[first]]
        at = at[np.lexsort((rows.aui[at], rows.concept[at]))]
        texts, places = [pa.array([], pa.string())], [np.zeros(0, np.int64)]
        for language in np.unique(rows.language[at]):
            places.append(np.flatnonzero(rows.language[at] == language))
            texts.append(self.lexicons[language].definitions(rng, len(places[-1])))
        atui = self.counters.atui + np.arange(len(at))
        self.counters.atui += len(at)
        ends = ["|N||\n", "|O||\n"]
        out.write(
            join(
                fixed(
                    ("C", self.plan.cui[rows.concept[at]], 7), "|", ("A", rows.aui[at], 8), "|A", ("T", atui, 8), "||"
                ),
                pick([f"{name}|" for name in self.vocabularies.names], vocabulary[at]),
                pa.concat_arrays(texts).take(pa.array(np.argsort(np.concatenate(places)))),
                pick(ends, (rng.random(len(at)) < 0.03).astype(np.int64)),
            )
        )

    def _own_concepts(self, names: Table, types: Table) -> None:
        """Write the concepts that stand for the vocabularies: two each, as such and in its version."""
        c, n = self.counters, len(self.plan.cui) - self.reserved
        lines = []
        for number, cui in enumerate(self.plan.cui[n:].tolist()):
            name, version = self.vocabularies.names[number // 2], f"_{RELEASE}" if number % 2 else ""
            lines.append(
                f"C{cui:07}|ENG|P|L{c.lui:08}|PF|S{c.sui:08}|Y|A{c.aui:08}||||SRC|{'VPT' if version else 'RPT'}|"
                f"V-{name}{version}|Synthetic {name}{version and f', {RELEASE}'}|0|N||"
            )
            c.lui, c.sui, c.aui = c.lui + 1, c.sui + 1, c.aui + 1
        names.write_lines(lines)
        source = self.vocabularies.names.index("SRC")
        c.rows[source] += len(lines)
        c.concepts[source] += len(lines)
        self._write_types(np.arange(n, n + len(lines)), pa.array([_type("T170")] * len(lines)), types)

    # what is written once

    def _retired(self) -> None:
        """Write MRCUI: ids that are no longer in use, merged into others (SY), deleted, or near others."""
        rng = np.random.default_rng([self.seed, 3])
        free = np.ones(10_000_000, bool)
        free[self.plan.cui] = free[0] = False
        n = int(0.3 * len(self.plan.cui))
        old = np.sort(rng.choice(np.flatnonzero(free), n, replace=False))
        what = rng.choice(5, n, p=[0.45, 0.35, 0.08, 0.06, 0.06])
        many = np.where(what < 2, 1, rng.integers(1, 4, n))
        old, what = np.repeat(old, many), np.repeat(what, many)
        new = self.plan.cui[rng.integers(0, len(self.plan.cui) - self.reserved, len(old))]
        versions = [f"|{year}{half}|" for year in range(2080, 2099) for half in ("AA", "AB")]
        to = pc.if_else(pa.array(what == 1), pa.scalar("|||||\n"), fixed("|||", ("C", new, 7), "|Y|\n"))
        version = np.repeat(rng.integers(0, len(versions), n), many)
        rows = join(fixed(("C", old, 7)), pick(versions, version), pick(("SY", "DEL", "RO", "RB", "RN"), what), to)
        with self.table("MRCUI") as out:
            out.write(rows.take(pc.array_sort_indices(rows)))

    def _relations(self) -> None:
        """Write MRREL: hierarchies, each relation in both directions, and other relations between their concepts."""
        rng = np.random.default_rng([self.seed, 4])
        rank = rng.random(len(self.plan.cui))  # a parent's is smaller, in all hierarchies: no cycle over several
        parts = []
        for number, blocks in enumerate(self.counters.nodes.values()):
            concept, aui = (np.concatenate(column) for column in zip(*blocks, strict=True))
            order = np.argsort(rank[concept])
            concept, aui = concept[order], aui[order]
            child = np.concatenate([np.arange(1, len(concept)), np.flatnonzero(rng.random(len(concept)) < 0.3)])
            child = child[child > 0]
            parent = (child * rng.random(len(child)) ** 1.5).astype(np.int64)
            edges = np.unique(np.stack([child, parent]), axis=1)
            other = rng.integers(0, max(1, len(concept)), (2, len(concept) // 8))
            other = np.unique(other[:, other[0] != other[1]], axis=1)
            for (low, high), label in ((edges, 0), (other, 2)):
                for one, two, up in ((low, high, 1), (high, low, 0)):
                    what = np.full(len(one), number * 3 + (label or up))
                    parts.append(
                        np.stack([self.plan.cui[concept[one]], aui[one], self.plan.cui[concept[two]], aui[two], what])
                    )
        cui1, aui1, cui2, aui2, what = np.concatenate(parts, axis=1)
        order = np.lexsort((aui2, cui2, what, aui1, cui1))  # as bytes: CHD, PAR, RO
        rui = _FIRST + rng.permutation(len(order))
        firsts, seconds, ends = self._relation_labels()
        with self.table("MRREL") as out:
            for start in range(0, len(order), 500_000):
                at = order[start : start + 500_000]
                out.write(
                    join(
                        fixed(("C", cui1[at], 7), "|", ("A", aui1[at], 8), "|"),
                        pick(firsts, what[at]),
                        fixed(("C", cui2[at], 7), "|", ("A", aui2[at], 8), "|"),
                        pick(seconds, what[at]),
                        fixed(("R", rui[start : start + 500_000], 8), "||"),
                        pick(ends, what[at] // 3 * 10 + (rng.random(len(at)) * 10).astype(np.int64)),
                    )
                )

    @staticmethod
    def _relation_labels() -> tuple[list[str], list[str], list[str]]:
        """Return the constant parts of rows: before the second concept, before RUI, and after it (ten a vocabulary)."""
        firsts, seconds, ends = [], [], []
        for name, (rela, kind) in HIERARCHIES.items():
            isa, inverse = (rela, f"inverse_{rela}") if rela else ("", "")
            # REL and RELA say what the second is to the first
            for rel, attribute in (("CHD", isa), ("PAR", inverse), ("RO", "related_to")):
                firsts.append(f"{kind}|{rel}|")
                seconds.append(f"{kind}|{attribute}|")
            ends += [f"{name}|{name}|{'1' if n == 1 else ''}||{'O' if n == 0 else 'N'}||\n" for n in range(10)]
        return firsts, seconds, ends

    def _about(self) -> None:
        names = self.vocabularies.names
        with self.table("MRRANK") as out:
            out.write_lines(self.vocabularies.rank_rows())
        first = len(self.plan.cui) - self.reserved
        kinds: dict[int, dict[str, None]] = {}
        for at, tty, _ in self.vocabularies.kinds:
            kinds.setdefault(at, {})[tty] = None
        rows, contact = [], ";;;;;;;;;;|;;;;;;;;;;"
        for at, name in enumerate(names):
            root, versioned = (f"C{cui:07}" for cui in self.plan.cui[first + 2 * at :][:2])
            about = f"{self.vocabularies.level(at)}|{self.counters.rows[at]}|{self.counters.concepts[at]}|"
            end = f"{','.join(kinds[at])}||{self.vocabularies.languages[at]}|UTF-8|"
            tree = "FULL" if name in HIERARCHIES else ""
            family = self.vocabularies.family(at)
            for current in (True, False) if at % 3 == 0 else (True,):
                year = RELEASE if current else "2098AA"
                rows.append(
                    f"{versioned if current else ''}|{root}|{name}_{year}|{name}|Synthetic {name}, {year}|{family}|"
                    f"{year}||{'' if current else '2099_01_01'}|2090AA|{'' if current else RELEASE}|{contact}|"
                    f"{about if current else '0|||'}{tree}|{end}{'Y|Y' if current else 'N|N'}|Synthetic {name}|"
                    f";;Synthetic {name};;;;;;;;;;;;|"
                )
        with self.table("MRSAB") as out:
            out.write_lines(sorted(rows))
        described = [
            f"{t.name}.RRF|Synthetic {t.name}|{COLUMNS[t.name]}|{COLUMNS[t.name].count(',') + 1}|{t.rows}|{t.bytes}|"
            for t in sorted(self.written, key=lambda t: t.name)
        ]
        with self.table("MRFILES") as out:
            out.write_lines(described)
        about = f"umls.release.date=20990501\numls.release.description=Synthetic release\numls.release.name={RELEASE}\n"
        (self.folder / "release.dat").write_text(about, encoding="utf-8", newline="\n")


def _type(tui: str) -> str:
    return f"{tui}|{TREE[tui]}|{TYPE_NAMES[tui]}|A"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 2 when the arguments cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="META is written into it; it may not exist there yet")
    parser.add_argument("--rows", type=int, default=17_000_000, help="of MRCONSO; default: 17 million")
    parser.add_argument("--concepts", type=int, default=4_000_000, help="default: 4 million")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gzip", action="store_true", help="compress each file")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    try:
        if not LEAST_CONCEPTS <= options.concepts <= MOST_CONCEPTS:
            raise InputError(f"--concepts {options.concepts}: expected {LEAST_CONCEPTS:,} to {MOST_CONCEPTS:,}")
        if not 2 * options.concepts <= options.rows <= MOST_ROWS:
            raise InputError(
                f"--rows {options.rows}: expected {2 * options.concepts:,} (twice the concepts) to {MOST_ROWS:,}"
            )
        if options.seed < 0:
            raise InputError(f"--seed {options.seed}: expected 0 or more")
        meta = options.folder / "META"
        if meta.exists():
            raise InputError(f"{meta} is there already; name another folder, or remove it")
        meta.mkdir(parents=True)
        release = Release(meta, rows=options.rows, concepts=options.concepts, seed=options.seed, compress=options.gzip)
        release.write()
    except (InputError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    for table in release.written:
        print(f"{table.name + '.RRF':12} {table.rows:11,} rows {table.bytes / 1e6:9,.1f} MB")
    print(f"wrote {meta} in {time.perf_counter() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
