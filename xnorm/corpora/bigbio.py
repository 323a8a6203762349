"""The BigBIO knowledge-base schema as JSON Lines, a document a line.

Schema: J. Fries et al., BigBIO: A Framework for Data-Centric Biomedical NLP, NeurIPS Datasets and Benchmarks 2022.
Of a line, `id`, `document_id`, `language`, `passages` and `entities` are read; events and relations are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from xnorm.corpora.base import (
    Annotation,
    ReaderConfig,
    ReadReport,
    SpanReader,
    SpanReaderConfig,
    claim,
)
from xnorm.errors import DataError
from xnorm.files import read_json_lines
from xnorm.records import JsonId, JsonRecord, JsonStrings, JsonText, parse_record
from xnorm.types import Document

__all__ = ["BigbioConfig", "BigbioReader"]

MAX_GAP = 1_000_000
"""Characters of a document that no passage covers; more is a wrong offset, and filling it would eat the memory."""

Span = Annotated[list[int], Field(min_length=2, max_length=2)]


class _Normalized(JsonRecord):
    db_name: JsonText | None = None
    db_id: JsonId | None = None


class _Passage(JsonRecord):
    text: JsonStrings
    offsets: list[Span]


class _Entity(JsonRecord):
    id: JsonId | None = None
    type: JsonStrings = Field(default_factory=list)
    text: JsonStrings = Field(default_factory=list)
    offsets: Annotated[list[Span], Field(min_length=1)]
    normalized: list[_Normalized] | None = None


class _Line(JsonRecord):
    id: JsonId | None = None
    document_id: JsonId | None = None
    language: JsonText | None = None
    passages: list[_Passage]
    entities: list[_Entity]


class BigbioConfig(SpanReaderConfig):
    """How gold ids are written."""

    db_prefix: dict[str, str] = Field(default_factory=dict)
    """`db_name` -> CURIE prefix of the gold ids, as in `HPO: HP`; default: the `db_name` itself."""


class BigbioReader(SpanReader):
    """Reads documents whose text is given as passages with offsets, and whose entities may be discontinuous."""

    config_class: ClassVar[type[ReaderConfig]] = BigbioConfig
    shared_extensions: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    config: BigbioConfig

    @classmethod
    def recognizes(cls, first_line: str) -> bool:
        """Return whether the line is a JSON object with passages and entities."""
        try:
            record = json.loads(first_line)
        except (ValueError, RecursionError):  # the reader of the ending's own format says what is wrong
            return False
        return isinstance(record, dict) and "passages" in record and "entities" in record

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a line, with the entities as mentions; each keeps the id that the file gives.

        Raises:
            DataError: a line is not of the schema, passages overlap, an entity lies outside the text, an id is used
                twice, or as `xnorm.files.read_json_lines`.
        """
        taken: set[str] = set()
        for line, record in read_json_lines(self.config.path):
            yield self._document(record, line, taken, report)

    def _document(self, record: dict[str, Any], line: int, taken: set[str], report: ReadReport) -> Document:
        path = self.config.path
        parsed = parse_record(_Line, record, path=path, line=line)
        identifier = parsed.document_id or parsed.id or str(line)
        annotations = [
            Annotation(
                id=claim(f"{identifier}/{n}" if entity.id is None else entity.id, taken, path=path, line=line),
                spans=tuple((start, end) for start, end in entity.offsets),
                line=line,
                text=" ".join(filter(None, entity.text)) if entity.text else None,
                types=tuple(entity.type),
                gold=self._gold(entity),
            )
            for n, entity in enumerate(parsed.entities, 1)
        ]
        text = self._text(parsed.passages, identifier, line, report)
        return self.make_document(identifier, text, annotations, report, path=path, lang=parsed.language)

    def _text(self, passages: list[_Passage], identifier: str, line: int, report: ReadReport) -> str:
        """Lay the passages at their offsets; a gap between two becomes spaces and a line end."""
        pieces: list[tuple[int, int, str]] = []
        for passage in passages:
            if len(passage.text) != len(passage.offsets):
                problem = f"a passage has {len(passage.text)} texts and {len(passage.offsets)} offsets"
                raise self._bad(problem, identifier, line)
            pieces += [(start, end, piece) for (start, end), piece in zip(passage.offsets, passage.text, strict=True)]
        text, filled = "", 0
        for start, end, piece in sorted(pieces, key=lambda p: p[:2]):
            gap = start - len(text)
            if gap < 0:
                problem = f"the passage at {start} starts inside the one before it, which ends at {len(text)}"
                raise self._bad(problem, identifier, line)
            filled += gap
            if filled > MAX_GAP:
                problem = f"at the passage at {start}, more than {MAX_GAP} characters are covered by no passage"
                raise self._bad(problem, identifier, line)
            if end - start != len(piece):
                report.note("passage is longer or shorter than its offsets", f"document '{identifier}', line {line}")
            text += (" " * (gap - 1) + "\n" if gap and text else " " * gap) + piece
        return text

    def _bad(self, problem: str, identifier: str, line: int) -> DataError:
        return DataError(
            f"document '{identifier}': {problem}", path=self.config.path, line=line, fix="mend the passages' offsets"
        )

    def _gold(self, entity: _Entity) -> tuple[str, ...]:
        found = (self._curie(n.db_name or "", n.db_id.strip()) for n in entity.normalized or [] if n.db_id)
        return tuple(dict.fromkeys(curie for curie in found if curie))

    def _curie(self, db_name: str, identifier: str) -> str:
        """Return an id with its prefix; one that it has already is not doubled."""
        identifier = identifier.removeprefix(f"{db_name}:") if db_name else identifier
        prefix = self.config.db_prefix.get(db_name, db_name)
        return identifier if not identifier or not prefix or ":" in identifier else f"{prefix}:{identifier}"
