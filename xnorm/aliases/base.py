"""The contract of a maker of aliases: a terminology in, further names of its concepts out, as columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from xnorm.config import ComponentConfig
from xnorm.tables import Terminology
from xnorm.tally import Tally, as_plain
from xnorm.terminology.base import Filters, SourceConfig

__all__ = ["ALIASES", "AliasConfig", "AliasMaker", "AliasReport", "ReadSources"]

ALIASES = pa.schema(
    {
        "concept": pa.int32(),
        "text": pa.large_string(),
        "lang": pa.string(),
        "source": pa.string(),
        "weight": pa.float32(),
    }
)
"""Columns of what a maker proposes: concept row, name, language, where the name is from, and its weight."""

ReadSources = Callable[[Sequence[SourceConfig], Filters], Terminology]
"""Reads further sources into a terminology of their own."""


class AliasConfig(ComponentConfig):
    """What every maker of aliases has."""

    seam: ClassVar[str] = "aliases"

    name: str | None = None
    """What the maker is called in results; default: its type."""
    scope: Literal["alias", "exact", "narrow", "broad", "related"] = "alias"
    """Scope of the names that are added."""
    weight: float = Field(default=0.95, gt=0, le=1)
    """What generators multiply the score of an added name by, above 0 and at most 1."""
    langs: list[str] | None = None
    """Languages of the names that are added; default: those that the filters of the terminology let pass."""
    most: int = Field(default=20, ge=1)
    """The most names that are added to a concept; the first ones."""
    ambiguous: Literal["none", "each"] = "none"
    """Which concepts get a name that is meant for several: none of them, or each."""
    shared: bool = False
    """Whether a concept gets a name that another concept of the terminology has."""

    @property
    def label(self) -> str:
        """The maker's name in results."""
        return self.name or self.type


@dataclass(slots=True)
class AliasReport(Tally):
    """What a maker added, and what was left out, with the first cases of each."""

    maker: str
    added: int = 0
    concepts: int = 0
    """Concepts that got a name."""
    by_source: Counter[str] = field(default_factory=Counter)
    """Added names by where they are from."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Names, or what else was not used, by reason."""
    examples: dict[str, list[str]] = field(default_factory=dict)

    def leave(self, reason: str, number: int = 1, cases: Iterable[str] = ()) -> None:
        """Count what is left out for a reason, and keep the first cases."""
        if number:
            self.count(self.left_out, reason, number=number)
            self.show(reason, cases)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return as_plain(self)


class AliasMaker(ABC):
    """Proposes names. A variant says how in `make`, and declares its parameters in `config_class`.

    Cleaning, languages, names that are there already, ambiguous ones and `most` are seen to by who calls
    (`xnorm.enriching`).
    """

    config_class: ClassVar[type[AliasConfig]] = AliasConfig

    def __init__(self, config: AliasConfig) -> None:
        self.config = config

    @abstractmethod
    def make(self, terminology: Terminology, read: ReadSources, report: AliasReport) -> Iterator[pa.Table]:
        """Yield tables with the columns of `ALIASES`, in the order in which names of a concept are to be added.

        Args:
            terminology: what names are for; with the aliases of the makers before this one.
            read: for makers that have sources of their own.
            report: counts what cannot be used.

        Raises:
            ConfigError, DataError: a file cannot be used.
        """

    def paths(self) -> list[Path]:
        """Return the files that are read, but those of sources."""
        return []
