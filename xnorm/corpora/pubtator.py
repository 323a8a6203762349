"""PubTator: title and abstract lines, annotation lines, a blank line between documents.

    6794356|t|Tricuspid valve regurgitation and lithium carbonate toxicity.
    6794356|a|A newborn with massive tricuspid regurgitation ...
    6794356	0	29	Tricuspid valve regurgitation	Disease	D014262
    6794356	CID	D016651	D014262

Offsets count from the start of the title; one character stands between title and abstract. Relation lines, whose
second cell is a word, are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from xnorm.corpora.base import Annotation, ReaderConfig, ReadReport, SpanReader, SpanReaderConfig
from xnorm.errors import DataError
from xnorm.files import open_text
from xnorm.types import Document

__all__ = ["PubtatorConfig", "PubtatorReader"]

_TEXT = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_FIRST = re.compile(r"\w*\d\|t\|")
_OFFSET = re.compile(r"[0-9]{1,12}")
_SEPARATOR = re.compile(r"[|;,+]")
_NO_ID = {"", "-", "-1"}


class PubtatorConfig(SpanReaderConfig):
    """How gold ids are written."""

    prefix: str | None = None
    """CURIE prefix put before gold ids that have none: with `MESH`, `D003924` becomes `MESH:D003924`."""


@dataclass(slots=True)
class _Draft:
    """A document while its lines come in."""

    id: str
    line: int
    texts: dict[str, str] = field(default_factory=dict)
    """`t` -> title, `a` -> abstract."""
    annotations: list[Annotation] = field(default_factory=list)


class PubtatorReader(SpanReader):
    """Reads documents with their annotations; a mention's id is the document's, a slash and its place from 1."""

    config_class: ClassVar[type[ReaderConfig]] = PubtatorConfig
    extensions: ClassVar[tuple[str, ...]] = (".pubtator",)
    shared_extensions: ClassVar[tuple[str, ...]] = (".txt",)
    config: PubtatorConfig

    @classmethod
    def recognizes(cls, first_line: str) -> bool:
        """Return whether the line is a title line, as `123|t|`."""
        return _FIRST.match(first_line) is not None

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield the documents in the file's order. One whose id came before is left out and counted.

        Raises:
            DataError: a line is of no known kind or belongs to another document, a document has no title, a span lies
                outside the text, or as `xnorm.files.open_text`.
        """
        seen: set[str] = set()
        for draft in self._drafts():
            if draft.id in seen:
                report.skip("document is given twice", f"document '{draft.id}', line {draft.line}")
                continue
            seen.add(draft.id)
            text = "\n".join(draft.texts[kind] for kind in ("t", "a") if kind in draft.texts)
            yield self.make_document(draft.id, text, draft.annotations, report, path=self.config.path)

    def _drafts(self) -> Iterator[_Draft]:
        draft: _Draft | None = None
        with open_text(self.config.path) as file:
            for number, line in enumerate(file, 1):
                line = line.removesuffix("\n")
                if match := _TEXT.fullmatch(line):
                    identifier, kind, text = match.groups()
                    if draft is None or draft.id != identifier or kind in draft.texts:
                        if draft is not None:
                            yield self._complete(draft)
                        draft = _Draft(identifier, number)
                    draft.texts[kind] = text
                elif line.strip():
                    self._annotate(draft, line, number)
                elif draft is not None:
                    yield self._complete(draft)
                    draft = None
        if draft is not None:
            yield self._complete(draft)

    def _complete(self, draft: _Draft) -> _Draft:
        if "t" not in draft.texts:
            problem = f"document '{draft.id}' has no title line ({draft.id}|t|...)"
            raise DataError(problem, path=self.config.path, line=draft.line)
        return draft

    def _annotate(self, draft: _Draft | None, line: str, number: int) -> None:
        """Add what an annotation line says to its document."""
        cells = line.split("\t")
        if len(cells) in (4, 5) and cells[1][:1].isalpha():  # a relation; the fifth cell says whether it is new
            return
        if len(cells) < 5 or not (_OFFSET.fullmatch(cells[1]) and _OFFSET.fullmatch(cells[2])):
            raise self._broken(f"not a PubTator line: {line[:60]!r}", number)
        if draft is None or cells[0] != draft.id:
            problem = f"the annotation of document '{cells[0]}' does not follow its title and abstract"
            raise self._broken(problem, number)
        draft.annotations.append(
            Annotation(
                id=f"{draft.id}/{len(draft.annotations) + 1}",
                spans=((int(cells[1]), int(cells[2])),),
                line=number,
                text=cells[3],
                types=(cells[4],) if cells[4] else (),
                gold=self._gold(cells[5]) if len(cells) > 5 else (),
            )
        )

    def _broken(self, problem: str, number: int) -> DataError:
        return DataError(
            problem,
            path=self.config.path,
            line=number,
            fix="expected ID|t|TITLE, ID|a|ABSTRACT or ID, START, END, TEXT, TYPE, CONCEPT separated by tabs",
        )

    def _gold(self, cell: str) -> tuple[str, ...]:
        # a tmVar id has bars inside: tmVar:p|SUB|R|273|H
        parts = [cell] if cell.startswith("tmVar:") else _SEPARATOR.split(cell)
        prefix = self.config.prefix
        found = (part.strip() for part in parts)
        return tuple(
            dict.fromkeys(
                identifier if prefix is None or ":" in identifier else f"{prefix}:{identifier}"
                for identifier in found
                if identifier not in _NO_ID
            )
        )
