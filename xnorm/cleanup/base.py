"""The contract of a clean-up stage: mentions in, fewer or mended mentions and a count of what became of them out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from xnorm.config import ComponentConfig
from xnorm.tables import Terminology
from xnorm.tally import Tally
from xnorm.types import Mention

__all__ = ["Cleanup", "CleanupConfig", "Parts", "StageReport", "each", "gold_rows", "with_gold"]

Parts = Mapping[str, list[Mention]]
"""Part of the corpus (test, medline, ...) -> its mentions, in the corpus' order."""


class CleanupConfig(ComponentConfig):
    """What every stage has."""

    seam: ClassVar[str] = "cleanup"


@dataclass(slots=True)
class StageReport(Tally):
    """What a stage did, for the protocol of a number."""

    stage: str
    mentions: int = 0
    """Mentions that are left."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Mentions that were dropped, by reason."""
    changed: Counter[str] = field(default_factory=Counter)
    """Mentions or gold ids that were changed, by what was done; and what else is worth a count."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first three cases of each reason."""

    def drop(self, reason: str, what: str | None = None) -> None:
        """Count a mention that is dropped."""
        self.count(self.dropped, reason, what)

    def change(self, reason: str, what: str | None = None) -> None:
        """Count something that is changed or worth a note."""
        self.count(self.changed, reason, what)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "stage": self.stage,
            "mentions": self.mentions,
            "dropped": dict(self.dropped),
            "changed": dict(self.changed),
            "examples": {reason: shown for reason, shown in self.examples.items() if shown},
        }


class Cleanup(ABC):
    """One step between a corpus as it was read and the mentions that are judged."""

    config_class: ClassVar[type[CleanupConfig]] = CleanupConfig
    mends_gold: ClassVar[bool] = False
    """Whether it writes gold ids anew. Then the training parts go through it, too, so that seen concepts are known;
    stages that choose what is judged leave those parts alone."""

    def __init__(self, config: CleanupConfig) -> None:
        self.config = config

    @abstractmethod
    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        """Return the mentions that are left, part by part, in their order; what is done is counted.

        Args:
            terminology: the one that is linked to.

        Raises:
            ConfigError, DataError: the settings do not fit the corpus, or a file cannot be used.
        """


def each(parts: Parts, change: Callable[[Mention], Mention | None]) -> dict[str, list[Mention]]:
    """Return the parts with every mention changed, or dropped where None comes back."""
    return {part: [m for m in map(change, mentions) if m is not None] for part, mentions in parts.items()}


def gold_rows(parts: Parts, terminology: Terminology) -> dict[str, int]:
    """Return the row of every concept that is the gold of a mention; ids outside the terminology are not in it."""
    ids = list(dict.fromkeys(i for mentions in parts.values() for m in mentions for i in m.gold))
    return {i: row for i, row in zip(ids, terminology.rows(ids).tolist(), strict=True) if row >= 0}


def with_gold(mention: Mention, gold: Iterable[str]) -> Mention:
    """Return a mention with other gold ids, each of them once; what one id is left of is no composite."""
    ids = tuple(dict.fromkeys(gold))
    return mention if ids == mention.gold else replace(mention, gold=ids, composite=mention.composite and len(ids) > 1)
