"""A terminology's own names in other languages as mentions, with their concepts as gold.

The corpus that every terminology with translations brings along: no annotator, no context, any size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator

from xnorm.corpora._terminology import source_files, terminology_at
from xnorm.corpora.base import Reader, ReaderConfig, ReadReport, lone_document
from xnorm.errors import DataError
from xnorm.sources import read_terminology
from xnorm.text import lang_code
from xnorm.types import Document, Mention

__all__ = ["NamesConfig", "NamesReader"]


class NamesConfig(ReaderConfig):
    """Which names are mentions."""

    langs: list[Annotated[str, AfterValidator(lang_code)]]
    """Languages whose names are taken."""
    scopes: tuple[Literal["preferred", "exact", "narrow", "broad", "related"], ...] = ("preferred",)
    """Scopes of the names that are taken; default the preferred ones, one a concept and language."""


class NamesReader(Reader):
    """Reads a terminology in JSON Lines, or the `terminology` of a config (`.yaml`), and yields names.

    A mention's id is the concept's and the language (`ICD10:I50@de`, further ones `ICD10:I50@de/2`), its types are the
    concept's, and its document is the concept, so that the names of one concept count as one draw.
    """

    config_class: ClassVar[type[ReaderConfig]] = NamesConfig
    config: NamesConfig

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a name, by language in the order asked for, then by concept id.

        Raises:
            ConfigError, DataError: the terminology cannot be read, or has no name in a language.
        """
        for mention in self.mentions(report):
            yield lone_document(mention)

    def mentions(self, report: ReadReport) -> Iterator[Mention]:
        """Yield a mention a name, in the order of `documents`."""
        terminology, _ = read_terminology(terminology_at(self.config.path))
        names: dict[str, list[Any]] = terminology.names.to_pydict()
        ids = terminology.concepts.column("id").to_pylist()
        types = terminology.concepts.column("types").to_pylist()
        rows: dict[str, list[int]] = {lang: [] for lang in self.config.langs}
        for row, (lang, scope) in enumerate(zip(names["lang"], names["scope"], strict=True)):
            if lang in rows and scope in self.config.scopes:
                rows[lang].append(row)
        for lang, taken in rows.items():
            if not taken:
                raise DataError(f"has no name in '{lang}'", path=self.config.path, fix="look at `langs` and `scopes`")
            counts: Counter[int] = Counter()
            for row in taken:
                concept = names["concept"][row]
                counts[concept] += 1
                nth = "" if counts[concept] == 1 else f"/{counts[concept]}"
                report.mentions += 1
                yield Mention(
                    names["text"][row],
                    f"{ids[concept]}@{lang}{nth}",
                    lang,
                    types=tuple(types[concept] or ()),
                    gold=(ids[concept],),
                    document=ids[concept],
                )

    def files(self) -> list[Path]:
        """Return the files of the terminology's sources."""
        return source_files(terminology_at(self.config.path))
