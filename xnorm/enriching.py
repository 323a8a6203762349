"""Aliases put into a terminology: which of the proposed names are added to it, and what each costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.aliases.base import ALIASES, AliasMaker, AliasReport, ReadSources
from xnorm.columns import clean_column
from xnorm.mapping import as_array
from xnorm.tables import CONCEPTS, NAMES, Terminology
from xnorm.tally import EXAMPLES
from xnorm.text import LangFilter, fold, lang_code, main_lang

__all__ = ["add_aliases"]

BLOCK = 1 << 18
"""Texts that are folded at a time."""

_Rows = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


def add_aliases(
    terminology: Terminology, makers: Sequence[AliasMaker], read: ReadSources, langs: Sequence[str] | None = None
) -> tuple[Terminology, list[AliasReport]]:
    """Return a terminology with the names that makers propose, behind each concept's own, and a report a maker.

    Makers come one after the other, and each sees the names that those before it added. Texts are compared folded
    (`xnorm.text.fold`). A name is left out if its concept has it in that language already; if another concept has it in
    any language, unless the maker's config says `shared`; if it is proposed for several concepts, and `ambiguous` is
    `none`; and beyond `most` names a concept.

    Args:
        langs: languages that may be added; default: all.

    Raises:
        ConfigError, DataError: a maker's files cannot be used.
    """
    reports = []
    for maker in makers:
        report = AliasReport(maker.config.label)
        proposed = pa.concat_tables([ALIASES.empty_table(), *maker.make(terminology, read, report)])
        terminology = _Proposals(terminology, proposed, maker, report).added(langs)
        reports.append(report)
    return terminology, reports


class _Proposals:
    """Names that are proposed; rows that are left out are counted and gone."""

    def __init__(self, terminology: Terminology, names: pa.Table, maker: AliasMaker, report: AliasReport) -> None:
        self.terminology, self.config, self.report = terminology, maker.config, report
        text = names.schema.get_field_index("text")
        codes = as_array(names.column("lang")).dictionary_encode()
        words = [lang_code(lang) for lang in codes.dictionary.to_pylist()]
        lang = pa.array(words, pa.string()).take(codes.indices)
        names = names.set_column(text, ALIASES.field(text), clean_column(names.column("text")))
        self.names = names.set_column(names.schema.get_field_index("lang"), ALIASES.field("lang"), lang)

    def added(self, langs: Sequence[str] | None) -> Terminology:
        """Return the terminology with the names that are good."""
        self._drop(pc.equal(self.names.column("text"), "").to_numpy(), "empty name")
        self._drop(~self._spoken(langs), "name in another language")
        if len(self.names):
            self._drop_known()
        if len(self.names):
            self._drop_beyond()
        self._count()
        return self._inserted() if len(self.names) else self.terminology

    def _spoken(self, langs: Sequence[str] | None) -> _Mask:
        filters = [LangFilter(langs), LangFilter(self.config.langs)]
        codes = as_array(self.names.column("lang")).dictionary_encode()
        passes = [all(wanted(lang) for wanted in filters) for lang in codes.dictionary.to_pylist()]
        return np.asarray(np.array([*passes, False], bool)[codes.indices.to_numpy()])

    def _drop_known(self) -> None:
        """Leave out what the concept itself or another one has, what is proposed twice, and what is ambiguous."""
        known = self.terminology.names
        text, lang, concept = self._keys(known)
        n, own = len(known), np.zeros(len(self.names), bool)
        # the first of equal names of a concept in a language is the one that stays
        key = (text * (lang.max() + 1) + lang) * len(self.terminology) + concept
        _, first = np.unique(key, return_index=True)
        own[:] = True
        own[first[first >= n] - n] = False
        text, concept = text[n:], concept[n:]
        holder = self._other_holder(known, text, concept)
        others = ~own & (holder >= 0)
        if self.config.shared:
            others[:] = False
        several = np.zeros(len(own), bool)
        if self.config.ambiguous == "none":
            good = np.flatnonzero(~own & ~others)
            _, at = np.unique(text[good], return_inverse=True)
            pairs = np.unique(at * len(self.terminology) + concept[good])
            several[good] = np.bincount(pairs // len(self.terminology), minlength=1)[at] > 1
        for mask, reason in (
            (own, "name that the concept has already"),
            (others, "name that another concept has"),
            (several, "name that several concepts would get"),
        ):
            self._tell(mask, reason, holder if mask is others else None)
        self.names = self.names.filter(pa.array(~(own | others | several)))

    def _keys(self, known: pa.Table) -> tuple[_Rows, _Rows, _Rows]:
        """Return numbers of folded texts and languages, and concepts, of the known names and then of the proposed."""
        both = pa.chunked_array(
            [chunk for table in (known, self.names) for chunk in table.column("text").chunks], pa.large_string()
        )
        texts = as_array(both).dictionary_encode()
        distinct = texts.dictionary
        blocks = (distinct[start : start + BLOCK].to_pylist() for start in range(0, len(distinct), BLOCK))
        forms = [pa.array([fold(text) for text in block], pa.large_string()) for block in blocks]
        folded = pa.concat_arrays(forms).dictionary_encode()
        text = folded.indices.to_numpy().astype(np.int64)[texts.indices.to_numpy()]
        spoken = pa.chunked_array([as_array(t.column("lang").cast(pa.string())) for t in (known, self.names)])
        langs = as_array(spoken).dictionary_encode()
        main = pa.array([main_lang(lang) for lang in langs.dictionary.to_pylist()], pa.string()).dictionary_encode()
        lang = main.indices.to_numpy().astype(np.int64)[langs.indices.to_numpy()]
        concept = np.concatenate([t.column("concept").to_numpy() for t in (known, self.names)]).astype(np.int64)
        self._known_text, self._known_concept = text[: len(known)], concept[: len(known)]
        return text, lang, concept

    def _other_holder(self, known: pa.Table, text: _Rows, concept: _Rows) -> _Rows:
        """Return a concept that has each text, other than the one that it is proposed for; -1 for none."""
        size = int(max(self._known_text.max(initial=-1), text.max())) + 1
        least, most = np.full(size, len(self.terminology)), np.full(size, -1)
        # names are sorted by concept
        most[self._known_text] = self._known_concept
        least[self._known_text[::-1]] = self._known_concept[::-1]
        other = np.where(least[text] != concept, least[text], most[text])
        return np.where((most[text] < 0) | (other == concept), -1, other)

    def _drop_beyond(self) -> None:
        """Leave out what is more than a concept may get."""
        concept = self.names.column("concept").to_numpy()
        order = np.argsort(concept, kind="stable")
        ordered = concept[order]
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        self._drop(rank >= self.config.most, f"name beyond {self.config.most} of a concept")

    def _drop(self, mask: _Mask, reason: str) -> None:
        self._tell(mask, reason)
        if mask.any():
            self.names = self.names.filter(pa.array(~mask))

    def _tell(self, mask: _Mask, reason: str, holder: _Rows | None = None) -> None:
        """Count rows that are left out, and show the first; of names of another concept, with its id."""
        at = np.flatnonzero(mask)
        cases = self._shown(at[:EXAMPLES])
        if holder is not None:
            ids = self.terminology.take("concepts", "id", holder[at[:EXAMPLES]])
            cases = [f"{case} of {identifier}" for case, identifier in zip(cases, ids, strict=True)]
        self.report.leave(reason, len(at), cases)

    def _shown(self, at: _Rows) -> list[str]:
        rows = self.names.take(pa.array(at))
        ids = self.terminology.take("concepts", "id", rows.column("concept").to_numpy())
        return [f"{i}: {text!r:.80}" for i, text in zip(ids, rows.column("text").to_pylist(), strict=True)]

    def _count(self) -> None:
        report = self.report
        report.added = len(self.names)
        report.concepts = len(pc.unique(self.names.column("concept")))
        for count in pc.value_counts(as_array(self.names.column("source"))).to_pylist():
            report.by_source[count["values"]] += count["counts"]
        report.show("added", self._shown(np.arange(min(EXAMPLES, len(self.names)))))

    def _inserted(self) -> Terminology:
        """Return the terminology with the names behind those of their concepts."""
        scope = pa.repeat(pa.scalar(self.config.scope), len(self.names))
        weight = pc.fill_null(self.names.column("weight"), self.config.weight)
        columns = {c: self.names.column(c) for c in ("concept", "text", "lang", "source")} | {"weight": weight}
        new = pa.table({"scope": scope.dictionary_encode(), **columns}).select(NAMES.names).cast(NAMES)
        both = pa.concat_tables([self.terminology.names, new]).unify_dictionaries()
        order = np.argsort(both.column("concept").to_numpy(), kind="stable")
        names = both.take(pa.array(order))
        counts = np.bincount(names.column("concept").to_numpy(), minlength=len(self.terminology))
        at = CONCEPTS.get_field_index("first_name")
        first = pa.array(np.cumsum(counts) - counts, pa.int64())
        concepts = self.terminology.concepts.set_column(at, CONCEPTS.field(at), first)
        return Terminology(concepts, names, self.terminology.retired)
