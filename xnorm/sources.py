"""Several sources into one terminology: read, lay over, filter, merge, report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from xnorm.artifact import sha256_file
from xnorm.config import SourceSpec, StrictModel
from xnorm.errors import ConfigError, DataError
from xnorm.registry import find_component
from xnorm.tables import CONCEPTS, NAMES, RETIRED, Terminology
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport
from xnorm.text import clean, lang_code, main_lang
from xnorm.types import SCOPES

__all__ = ["Filters", "Report", "TerminologyConfig", "read_terminology"]


class Filters(StrictModel):
    """What to keep of all sources together; an absent filter keeps everything."""

    langs: list[str] | None = None
    """Languages of names; `pt` keeps `pt-br` too."""
    types: list[str] | None = None
    """Concept types; a concept with one of them stays."""
    scopes: list[str] | None = None
    """Scopes of names: preferred, exact, narrow, broad, related."""
    sources: list[str] | None = None
    """Names of sources whose names stay."""


class TerminologyConfig(StrictModel):
    """The sources of a terminology, in order of precedence, and what to keep of them."""

    sources: list[SourceSpec]
    """Earlier sources win: their preferred names, definitions and name order come first."""
    filters: Filters = Filters()
    """Filters over all sources."""


@dataclass(slots=True)
class Report:
    """What became of the sources."""

    sources: list[SourceReport] = field(default_factory=list)
    concepts: int = 0
    names: int = 0
    retired: int = 0
    merged_concepts: int = 0
    """Concepts that more than one source defines."""
    duplicate_names: int = 0
    """Names that a concept already had in that language."""
    without_names: int = 0
    """Concepts left out because the filters left them no name."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        # asdict takes a Counter apart wrongly: it counts the pairs
        plain = asdict(self)
        for own, source in zip(plain["sources"], self.sources, strict=True):
            own["skipped"] = dict(source.skipped)
        return plain


def read_terminology(config: TerminologyConfig) -> tuple[Terminology, Report]:
    """Read all sources and join them.

    Names keep the order of their sources; one name of a concept in one language is kept once, where it came first.

    Raises:
        ConfigError: no source, or a filter that names an unknown scope or source.
        DataError: a source cannot be read, one id comes with two preferred names in one source, or nothing is left.
    """
    _check(config)
    report = Report()
    builder = _Builder(config.filters, report)
    for source in config.sources:
        assert isinstance(source, SourceConfig)
        parser: Parser = find_component("terminology", source.type)(source)
        counts = _count_for(source)
        report.sources.append(counts)
        builder.start(source, counts)
        for raw in parser.read(counts):
            builder.add(raw)
        builder.finish()
    terminology = builder.build()
    if not len(terminology):
        paths = ", ".join(counts.path for counts in report.sources)
        raise DataError(f"no concept with a name is left of {paths}", fix="look at the filters and the languages")
    report.concepts, report.names = len(terminology), terminology.n_names
    report.retired = terminology.retired.num_rows
    return terminology, report


def _count_for(source: SourceConfig) -> SourceReport:
    """Return the report of a source, with what its file can be known by again.

    Raises:
        DataError: there is no such file.
    """
    if not source.path.exists():
        raise DataError("no such file", path=source.path, fix=source.hint or "look at the source's `path`")
    about = SourceReport(source=source.label, path=str(source.path))
    if source.path.is_file():
        about.bytes, about.sha256 = source.path.stat().st_size, sha256_file(source.path)
    return about


def _check(config: TerminologyConfig) -> None:
    if not config.sources:
        raise ConfigError("terminology.sources: expected at least one source, found none")
    labels = [s.label for s in config.sources if isinstance(s, SourceConfig)]
    for wanted, known, key in (
        (config.filters.scopes, SCOPES, "scopes"),
        (config.filters.sources, labels, "sources"),
    ):
        for value in wanted or ():
            if value not in known:
                raise ConfigError(f"terminology.filters.{key}: unknown '{value}'; known: {', '.join(known)}")


class _LangFilter:
    """Whether a language is wanted: `pt` takes `pt-br` too."""

    def __init__(self, wanted: Sequence[str] | None) -> None:
        self.wanted = None if wanted is None else {lang_code(w) for w in wanted}

    def __call__(self, lang: str) -> bool:
        return self.wanted is None or lang in self.wanted or main_lang(lang) in self.wanted


class _Preferred(NamedTuple):
    """A preferred name, and where it came from."""

    text: str
    source: int
    """Place of the source in the config; two sources may have one label."""
    record: int
    """Place of the record in the source."""
    line: int | None


@dataclass(slots=True)
class _Concept:
    """A concept while it is put together."""

    source: str
    types: dict[str, None] = field(default_factory=dict)
    xrefs: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    definition: str | None = None
    names: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(text, lang, scope, source)"""
    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    """(text, lang) -> place in `names`"""
    preferred: dict[str, _Preferred] = field(default_factory=dict)
    """By language."""

    @property
    def display_name(self) -> str:
        return next((text for text, _, scope, _ in self.names if scope == "preferred"), self.names[0][0])


class _Builder:
    """Collects raw concepts source by source."""

    def __init__(self, filters: Filters, report: Report) -> None:
        self.filters = filters
        self.report = report
        self.concepts: dict[str, _Concept] = {}
        self.retired: dict[str, tuple[list[str], str | None, str]] = {}
        self._merged: set[str] = set()
        self._keep_lang = _LangFilter(filters.langs)
        self._keep_scope = set(filters.scopes or SCOPES)

    def start(self, source: SourceConfig, counts: SourceReport) -> None:
        self.source, self.counts = source, counts
        self._langs = _LangFilter(source.langs)
        self._scopes = self._keep_scope & set(source.scopes or SCOPES)
        if self.filters.sources is not None and source.label not in self.filters.sources:
            self._scopes = set()

    def finish(self) -> None:
        # a table of translations may hold none yet
        if not self.counts.read and not (self.source.overlay and self.counts.skipped):
            raise DataError("holds no concept", path=self.source.path, fix="is it a file of this type, and whole?")

    def add(self, raw: RawConcept) -> None:
        self.counts.read += 1
        if not raw.id.strip():
            self.counts.skip("record without an id", raw.line)
            return
        if raw.retired:
            self._retire(raw)
            return
        concept = self._overlaid(raw) if self.source.overlay else self._defined(raw)
        if concept is not None:
            for name in raw.names:
                self._add_name(concept, raw, name)

    def _retire(self, raw: RawConcept) -> None:
        if not self.source.overlay:
            name = clean(raw.names[0].text) if raw.names else None
            self.retired.setdefault(raw.id, (raw.replaced_by, name, "obsolete"))

    def _overlaid(self, raw: RawConcept) -> _Concept | None:
        concept = self.concepts.get(raw.id)
        if concept is None and raw.id in self.retired:
            current, seen = raw.id, set[str]()
            while current in self.retired and current not in seen and len(self.retired[current][0]) == 1:
                seen.add(current)
                current = self.retired[current][0][0]
            concept = self.concepts.get(current)
            if concept is not None:
                raw.names = [RawName(n.text, n.lang, "exact" if n.scope == "preferred" else n.scope) for n in raw.names]
        if concept is None:
            self.counts.skip("names for an id that no earlier source has", raw.id)
        return concept

    def _defined(self, raw: RawConcept) -> _Concept | None:
        for allowed in (self.source.types, self.filters.types):
            if allowed is not None and not set(allowed) & set(raw.types):
                self.counts.skip("concept of another type", raw.id)
                return None
        concept = self.concepts.get(raw.id)
        if concept is None:
            concept = self.concepts[raw.id] = _Concept(self.source.label)
            self.counts.concepts += 1
        elif concept.source != self.source.label:
            self._merged.add(raw.id)
        for own, new in ((concept.types, raw.types), (concept.xrefs, raw.xrefs), (concept.parents, raw.parents)):
            own.update(dict.fromkeys(new))
        concept.definition = concept.definition or raw.definition
        for old in raw.alt_ids:
            self.retired.setdefault(old, ([raw.id], None, "merged"))
        return concept

    def _add_name(self, concept: _Concept, raw: RawConcept, name: RawName) -> None:
        text, lang, scope = clean(name.text), lang_code(name.lang), name.scope
        if not text:
            self.counts.skip("empty name", raw.line if raw.line is not None else raw.id)
            return
        wanted = self._scopes and self._keep_lang(lang) and self._langs(lang)
        if wanted and scope == "preferred":  # a name that is filtered out anyway does not take the place of a later one
            scope = self._preferred(concept, raw, text, lang)
        if not wanted or scope not in self._scopes:
            self.counts.skip("name filtered out")
            return
        at = concept.seen.setdefault((text, lang), len(concept.names))
        if at < len(concept.names):
            self.report.duplicate_names += 1
            if scope == "preferred":
                concept.names[at] = (text, lang, scope, concept.names[at][3])
            return
        concept.names.append((text, lang, scope, self.source.label))
        self.counts.names += 1

    def _preferred(self, concept: _Concept, raw: RawConcept, text: str, lang: str) -> str:
        """Return the scope of a preferred name: a concept has one in a language, the first."""
        new = _Preferred(text, len(self.report.sources), self.counts.read, raw.line)
        old = concept.preferred.setdefault(lang, new)
        if old.text == text:
            return "preferred"
        # one record may have two main labels in a language, two records of a source may not
        duplicate = old.source == new.source and old.record != new.record
        if duplicate and not self.source.overlay and self.source.duplicates == "error":
            at = "" if old.line is None else f" (line {old.line})"
            raise DataError(
                f"duplicate id '{raw.id}': named {text!r} here and {old.text!r} before{at}",
                path=self.source.path,
                line=raw.line,
                fix="mend the file, or set `duplicates: merge` to keep the second as a further name",
            )
        return "exact"

    def build(self) -> Terminology:
        ids = sorted((i for i, c in self.concepts.items() if c.names), key=str.encode)
        self.report.merged_concepts = len(self._merged)
        self.report.without_names = len(self.concepts) - len(ids)
        kept = [self.concepts[i] for i in ids]
        columns: dict[str, list[Any]] = defaultdict(list)
        names: dict[str, list[Any]] = {column: [] for column in NAMES.names}
        for row, (identifier, concept) in enumerate(zip(ids, kept, strict=True)):
            columns["id"].append(identifier)
            columns["name"].append(concept.display_name)
            columns["first_name"].append(len(names["text"]))
            for column in ("types", "xrefs", "parents"):
                columns[column].append(list(getattr(concept, column)))
            columns["definition"].append(concept.definition)
            columns["source"].append(concept.source)
            for text, lang, scope, source in concept.names:
                for column, value in zip(NAMES.names, (row, text, lang, scope, source), strict=True):
                    names[column].append(value)
        retired = sorted((i for i in self.retired if i not in self.concepts), key=str.encode)
        rows = [(i, *self.retired[i]) for i in retired]
        return Terminology(
            pa.table({c: pa.array(columns[c], CONCEPTS.field(c).type) for c in CONCEPTS.names}, CONCEPTS),
            pa.table({c: pa.array(names[c], NAMES.field(c).type) for c in NAMES.names}, NAMES),
            pa.table(
                {c: pa.array([r[n] for r in rows], RETIRED.field(c).type) for n, c in enumerate(RETIRED.names)}, RETIRED
            ),
        )
