"""The contract of a corpus reader: a file in, documents or bare mentions and a report out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from xnorm.config import ComponentConfig, InputPath
from xnorm.types import Document, Mention

__all__ = ["ReadReport", "Reader", "ReaderConfig"]


class ReaderConfig(ComponentConfig):
    """What every reader has."""

    seam: ClassVar[str] = "corpora"

    path: InputPath
    """The file or folder to read; gzip (`.gz`) is unpacked on the way; `-` is standard input."""
    lang: str | None = None
    """Language of mentions that carry none of their own."""


@dataclass(slots=True)
class ReadReport:
    """What was read and what was left out, with the first places of each reason."""

    documents: int = 0
    mentions: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, where: str | None = None) -> None:
        """Count a record that was left out; the first three places of each reason are kept."""
        self.skipped[reason] += 1
        places = self.examples.setdefault(reason, [])
        if where is not None and len(places) < 3:
            places.append(where)


class Reader(ABC):
    """Reads one corpus or list of mentions, streaming."""

    config_class: ClassVar[type[ReaderConfig]] = ReaderConfig
    extensions: ClassVar[tuple[str, ...]] = ()
    """File endings (after `.gz` is taken off) that this reader is chosen for when the user names none."""

    def __init__(self, config: ReaderConfig) -> None:
        self.config = config

    @abstractmethod
    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield documents in the file's order. Formats without documents yield one for each mention.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a record that cannot be understood.
        """

    def mentions(self, report: ReadReport) -> Iterator[Mention]:
        """Yield the mentions of all documents in order, each with an id that is unique in the file."""
        for document in self.documents(report):
            yield from document.mentions
