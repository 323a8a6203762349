"""The contract of a terminology parser: a source in, raw concepts and a report out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from xnorm.config import ComponentConfig, InputPath
from xnorm.registry import did_you_mean
from xnorm.types import SCOPES

__all__ = ["Parser", "RawConcept", "RawName", "SourceConfig", "SourceReport", "scope_of"]

_SCOPE_WORDS = {
    **{scope: scope for scope in SCOPES},
    # a translated main label; names of sources that tell main names from others, and no more
    "label": "preferred", "synonym": "exact", "entry": "exact", "inclusion": "exact",
}  # fmt: skip


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
    """Only lay names over concepts of earlier sources; add no concepts."""
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
class SourceReport:
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
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, where: str | int | None = None) -> None:
        """Count something that was left out.

        Args:
            reason: why, in words that fit "N skipped: ...".
            where: a line number or an id; the first three of each reason are kept.
        """
        self.skipped[reason] += 1
        places = self.examples.setdefault(reason, [])
        if where is not None and len(places) < 3:
            places.append(f"line {where}" if isinstance(where, int) else where)


class Parser(ABC):
    """Reads one source. A variant says how to read it in `read`, and declares its parameters in `config_class`."""

    config_class: ClassVar[type[SourceConfig]] = SourceConfig

    def __init__(self, config: SourceConfig) -> None:
        self.config = config

    @abstractmethod
    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the concepts in the source's order; count in `report.skip` what is left out.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a record that cannot be understood.
        """

    def curie(self, identifier: str) -> str:
        """Return an id with the configured prefix, unless it has one."""
        prefix = self.config.prefix
        return identifier if prefix is None or ":" in identifier else f"{prefix}:{identifier}"


def scope_of(word: str) -> str:
    """Return the scope that a source's word means, in any case: `label` is preferred, `synonym` is exact.

    Raises:
        ValueError: no such scope; the message tells the known ones.
    """
    scope = _SCOPE_WORDS.get(word) or _SCOPE_WORDS.get(word.strip().lower())
    if scope is None:
        raise ValueError(f"unknown scope '{word}'; {did_you_mean(word.lower(), _SCOPE_WORDS)}")
    return scope
