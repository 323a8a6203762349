"""The contract of a mapping reader: a table of pairs of ids in, rows and a report out."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from xnorm.config import ComponentConfig, InputPath
from xnorm.errors import DataError
from xnorm.registry import did_you_mean
from xnorm.tally import Tally, as_plain

__all__ = [
    "PREDICATES",
    "MappingConfig",
    "MappingReader",
    "MappingReport",
    "MappingRow",
    "Predicate",
    "inverse",
    "predicate_of",
]

Predicate = Literal["exact", "close", "narrow", "broad", "related"]
PREDICATES: tuple[Predicate, ...] = ("exact", "close", "narrow", "broad", "related")
"""What the target is to the source: the same, nearly the same, narrower, broader, something else; best one first."""

_INVERSE: dict[Predicate, Predicate] = {"narrow": "broad", "broad": "narrow"}
_WORDS: dict[str, Predicate] = {
    **{p: p for p in PREDICATES},
    "exactmatch": "exact", "closematch": "close", "narrowmatch": "narrow", "broadmatch": "broad",
    "relatedmatch": "related",
    "equivalentclass": "exact", "equivalentproperty": "exact", "sameas": "exact", "subclassof": "broad",
    "hasdbxref": "related", "seealso": "related",
    # relationships of FHIR R5, equivalences of FHIR R4, as seen from the source
    "equivalent": "exact", "source-is-narrower-than-target": "broad", "source-is-broader-than-target": "narrow",
    "related-to": "related",
    "equal": "exact", "wider": "broad", "subsumes": "broad", "narrower": "narrow", "specializes": "narrow",
    "inexact": "related", "relatedto": "related",
}  # fmt: skip
"""Local part of a predicate in lower case -> what it means. An xref says no more than that there is a relation."""


class MappingConfig(ComponentConfig):
    """What every mapping has."""

    seam: ClassVar[str] = "mappings"

    path: InputPath
    """The file to read; gzip (`.gz`) is unpacked on the way."""
    hint: str | None = None
    """Where the file comes from; said when it is missing."""
    predicates: list[Predicate] = Field(default=["exact"], min_length=1)
    """Which rows are used: those whose target is the same as the source (`exact`), nearly the same (`close`), narrower
    or broader than the source, or `related`."""
    min_confidence: float = Field(default=0.0, ge=0, le=1)
    """Leave out rows with less confidence; a row without any stays."""
    inverse: bool = False
    """Map targets to sources. `predicates` are then of that direction: what is narrower turns into what is broader."""
    source_prefix: str | None = None
    """CURIE prefix of the file's source ids that have none."""
    target_prefix: str | None = None
    """CURIE prefix of the file's target ids that have none."""
    rename_prefixes: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix in the terminology by prefix in the file: `{mesh: MESH}`."""
    unmapped: Literal["skip", "keep"] = "skip"
    """What becomes of ids that have no target: left out, or kept as they are."""
    several: Literal["all", "first", "skip"] = "all"
    """What becomes of ids that have several targets: all are taken, the first (the most exact, then the most confident,
    then the first in the file), or the id is as one without a target."""


class MappingRow(NamedTuple):
    """One row as the file has it."""

    source: str
    target: str
    predicate: Predicate = "exact"
    confidence: float | None = None
    """From 0 to 1; None where the file says none."""
    line: int | None = None


@dataclass(slots=True)
class MappingReport(Tally):
    """What was read from a mapping, and what was not, with the first places of each reason."""

    path: str
    version: str | None = None
    read: int = 0
    """Rows of the file that say something of two ids."""
    rows: int = 0
    """Rows that are used."""
    sources: int = 0
    """Distinct ids that are mapped."""
    targets: int = 0
    """Distinct ids that they are mapped to."""
    several: int = 0
    """Ids that have several targets."""
    predicates: Counter[str] = field(default_factory=Counter)
    """Rows that were read, by predicate."""
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, where: str | int | None = None) -> None:
        """Count something that was left out, with its place, as `Tally.count` says."""
        self.count(self.skipped, reason, where)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return as_plain(self)


class MappingReader(ABC):
    """Reads one mapping. A variant says how in `read`, and declares its parameters in `config_class`."""

    config_class: ClassVar[type[MappingConfig]] = MappingConfig

    def __init__(self, config: MappingConfig) -> None:
        self.config = config

    @abstractmethod
    def read(self, report: MappingReport) -> Iterator[MappingRow]:
        """Yield the rows in the file's order and direction, ids as the file has them; count in `report.skip` what says
        nothing of two ids. Prefixes, `predicates`, `min_confidence` and `inverse` are seen to by who calls.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a row that cannot be understood.
        """

    def confidence(self, cell: str, line: int) -> float | None:
        """Return the confidence that a cell holds, None for an empty one.

        Raises:
            DataError: it is no number from 0 to 1.
        """
        if not cell.strip():
            return None
        try:
            value = float(cell)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise DataError(
                f"confidence: expected a number from 0 to 1, found {cell.strip()!r:.60}",
                path=self.config.path,
                line=line,
            )
        return value


def predicate_of(word: str) -> Predicate:
    """Return what a predicate means: `skos:exactMatch`, its IRI, `exact`, and the words of FHIR are known.

    Raises:
        ValueError: no such predicate; the message tells the known ones.
    """
    local = re.split("[:#/]", word.strip())[-1].lower()
    if local not in _WORDS:
        raise ValueError(f"unknown predicate '{word.strip()[:60]}'; {did_you_mean(local, _WORDS)}")
    return _WORDS[local]


def inverse(predicate: Predicate) -> Predicate:
    """Return what the source is to the target."""
    return _INVERSE.get(predicate, predicate)
