"""Plain text, one mention a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from xnorm.corpora.base import Reader, ReaderConfig, ReadReport, lone_document
from xnorm.files import open_text
from xnorm.types import Document, Mention

__all__ = ["TextConfig", "TextReader"]


class TextConfig(ReaderConfig):
    """Nothing beyond the path and the language."""


class TextReader(Reader):
    """Reads a mention from each line; its id is the line number.

    An empty line is a mention with an empty text, so that the n-th result belongs to the n-th line.
    """

    config_class: ClassVar[type[ReaderConfig]] = TextConfig
    extensions: ClassVar[tuple[str, ...]] = (".txt",)

    def mentions(self, report: ReadReport) -> Iterator[Mention]:
        """Yield a mention a line.

        Raises:
            DataError: as `xnorm.files.open_text`.
        """
        lang = self.config.lang
        with open_text(self.config.path) as file:
            for number, line in enumerate(file, 1):
                report.mentions += 1
                yield Mention(line.removesuffix("\n"), str(number), lang)

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a line, as `mentions`."""
        return map(lone_document, self.mentions(report))
