"""The contract of a terminology parser: a source in, raw concepts and a report out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa

from xnorm.columns import FACTS, Facts, facts
from xnorm.config import ComponentConfig, InputPath, MappingSpec, StrictModel
from xnorm.registry import did_you_mean
from xnorm.tally import Tally
from xnorm.text import clean, encodable
from xnorm.types import SCOPES

__all__ = [
    "MERGED",
    "SYNONYMS",
    "ColumnParser",
    "Filters",
    "Parser",
    "RawConcept",
    "RawName",
    "SourceConfig",
    "SourceReport",
    "predicate_scope",
    "scope_of",
]

MERGED = "merged"
"""Reason for which an id that became part of a living concept is retired."""
RECORDS = 50_000
"""Records that are put into columns at a time."""

SYNONYMS: dict[str, Literal["exact", "narrow", "broad", "related"]] = {
    "oboInOwl:hasExactSynonym": "exact",
    "oboInOwl:hasNarrowSynonym": "narrow",
    "oboInOwl:hasBroadSynonym": "broad",
    "oboInOwl:hasRelatedSynonym": "related",
}
"""Property of an ontology -> scope of the names that it gives."""
_PREDICATES = {"label": "preferred"} | {
    f"{has}{scope}synonym": scope for scope in SYNONYMS.values() for has in ("", "has")
}

_SCOPE_WORDS = {
    **{scope: scope for scope in SCOPES},
    # a translated main label; names of sources that tell main names from others, and no more
    "label": "preferred", "synonym": "exact", "entry": "exact", "inclusion": "exact",
}  # fmt: skip


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


class SourceConfig(ComponentConfig):
    """What every source has."""

    seam: ClassVar[str] = "terminology"

    path: InputPath
    """The file to read; gzip (`.gz`) is unpacked on the way."""
    hint: str | None = None
    """Where the file comes from; said when it is missing."""
    name: str | None = None
    """What the source is called in results; default: the file name without its endings."""
    lang: str = "en"
    """Language of names that carry none of their own."""
    prefix: str | None = None
    """CURIE prefix put before ids that have none: with `ICD10`, `I50` becomes `ICD10:I50`."""
    langs: list[str] | None = None
    """Keep only names in these languages; default: all."""
    scopes: list[Literal["preferred", "exact", "narrow", "broad", "related"]] | None = None
    """Keep only names of these scopes; default: all."""
    types: list[str] | None = None
    """Keep only concepts with one of these types; default: all."""
    overlay: bool = False
    """Only lay names and xrefs over concepts of earlier sources; add no concepts."""
    map: MappingSpec | None = None
    """A mapping that translates the ids of the source, to lay its names over concepts of another, for instance."""
    duplicates: Literal["error", "merge"] = "error"
    """What to do when one id comes with two preferred names in one language: refuse, or keep the first as preferred
    and the other as an exact name."""

    @property
    def label(self) -> str:
        """The source's name in results."""
        return self.name or self.path.name.partition(".")[0]


@dataclass(slots=True)
class RawName:
    """A name as the source has it."""

    text: str
    lang: str
    scope: str = "exact"


@dataclass(slots=True)
class RawConcept:
    """A concept as the source has it; `line` is where it stands in the file, for errors."""

    id: str
    names: list[RawName] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    xrefs: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    definition: str | None = None
    line: int | None = None
    alt_ids: list[str] = field(default_factory=list)
    """Older ids that were merged into this one."""
    retired: bool = False
    """Whether the source has withdrawn the concept: its names are not indexed, its id is resolved to `replaced_by`."""
    replaced_by: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SourceReport(Tally):
    """What was read from one source, and what was not, with the first places of each reason."""

    source: str
    path: str
    version: str | None = None
    read: int = 0
    concepts: int = 0
    names: int = 0
    bytes: int | None = None
    """Size of the file as it was read."""
    sha256: str | None = None
    """Its checksum."""
    files: dict[str, dict[str, int | str]] = field(default_factory=dict)
    """The same by path, of further files and of those in a folder."""
    mapping: dict[str, Any] | None = None
    """What was read of the mapping of its ids."""
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, where: str | int | None = None, count: int = 1) -> None:
        """Count something that was left out, with its place, as `Tally.count` says."""
        self.count(self.skipped, reason, where, count)


class ColumnParser(ABC):
    """Reads one source as columns (`xnorm.columns`), for sources of millions of names.

    A variant declares its parameters in `config_class`, and says how to read in `columns`. Every concept must stand in
    a table `concepts` of some batch; whatever else is said of an id that is none is left out.
    """

    config_class: ClassVar[type[SourceConfig]] = SourceConfig
    filters_types: ClassVar[bool] = False
    """Whether the parser itself leaves out concepts that are not of the source's `types`."""

    def __init__(self, config: SourceConfig) -> None:
        self.config = config

    @abstractmethod
    def columns(self, report: SourceReport) -> Iterator[Facts]:
        """Yield batches in the source's order; count in `report.read` what was read, in `report.skip` what is left out.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a record that cannot be understood.
        """

    def paths(self) -> list[Path]:
        """Return the files that were read beside `path`, or inside of it; their checksums go into the report."""
        return []

    def curie(self, identifier: str) -> str:
        """Return an id with the configured prefix, unless it has one."""
        prefix = self.config.prefix
        return identifier if prefix is None or ":" in identifier else f"{prefix}:{identifier}"


class Parser(ColumnParser):
    """Reads one source record by record: a variant says how in `read`."""

    @abstractmethod
    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the concepts in the source's order; count in `report.skip` what is left out.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a record that cannot be understood.
        """

    def columns(self, report: SourceReport) -> Iterator[Facts]:
        return in_columns(self.read(report), report)


def scope_of(word: str) -> str:
    """Return the scope that a source's word means, in any case: `label` is preferred, `synonym` is exact.

    Raises:
        ValueError: no such scope; the message tells the known ones.
    """
    scope = _SCOPE_WORDS.get(word) or _SCOPE_WORDS.get(word.strip().lower())
    if scope is None:
        raise ValueError(f"unknown scope '{word}'; {did_you_mean(word.lower(), _SCOPE_WORDS)}")
    return scope


def predicate_scope(predicate: str) -> str | None:
    """Return the scope that a predicate means, whatever its namespace and case: `rdfs:label` is preferred,
    `oboInOwl:hasExactSynonym` exact; None for others."""
    return _PREDICATES.get(re.split("[:#/]", predicate.strip())[-1].lower())


def in_columns(records: Iterator[RawConcept], report: SourceReport) -> Iterator[Facts]:
    """Yield records as columns, many at a time; those without an id are counted in the report and left out."""
    while block := list(islice(records, RECORDS)):
        first = report.read
        report.read += len(block)
        for raw in block:
            if not raw.id.strip():
                report.skip("record without an id", raw.line)
        numbered = [(n, raw) for n, raw in enumerate(block, first) if raw.id.strip()]
        live = [(n, raw) for n, raw in numbered if not raw.retired]
        named = [(n, raw, name) for n, raw in live for name in raw.names]
        # in the order of records: what comes first counts
        retired = [row for _, raw in numbered for row in _retired(raw)]
        yield {
            "concepts": facts(
                "concepts",
                id=[raw.id for _, raw in live],
                line=[raw.line for _, raw in live],
                record=[n for n, _ in live],
            ),
            "names": facts(
                "names",
                id=[raw.id for _, raw, _ in named],
                text=[clean(name.text) for _, _, name in named],
                lang=[name.lang for _, _, name in named],
                scope=[name.scope for _, _, name in named],
                line=[raw.line for _, raw, _ in named],
                record=[n for n, _, _ in named],
            ),
            "definitions": facts(
                "definitions",
                id=[raw.id for _, raw in live if raw.definition],
                value=[encodable(raw.definition) for _, raw in live if raw.definition],
            ),
            **{kind: _values(live, kind) for kind in ("types", "xrefs", "parents")},
            "retired": facts(
                "retired", **{c: [row[at] for row in retired] for at, c in enumerate(FACTS["retired"].names)}
            ),
        }


def _values(live: list[tuple[int, RawConcept]], kind: str) -> pa.Table:
    values = [(raw.id, value) for _, raw in live for value in getattr(raw, kind)]
    return facts(kind, id=[i for i, _ in values], value=[v for _, v in values])


def _retired(raw: RawConcept) -> list[tuple[str, list[str], str | None, str]]:
    if raw.retired:
        name = clean(raw.names[0].text) if raw.names else None
        return [(raw.id, raw.replaced_by, name, "obsolete")]
    return [(old, [raw.id], None, MERGED) for old in raw.alt_ids]
