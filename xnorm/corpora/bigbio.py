"""The BigBIO knowledge-base schema: JSON Lines or Parquet, a folder of `datasets`, or a dataset of the hub.

Schema: J. Fries et al., BigBIO: A Framework for Data-Centric Biomedical NLP, NeurIPS Datasets and Benchmarks 2022.
Of a row, `id`, `document_id`, `language`, `passages` and `entities` are read; events and relations are passed over.
Loading scripts are never run here: `data_scripts/bigbio.py` makes Parquet of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from xnorm.artifact import kind_of
from xnorm.config import InputPath
from xnorm.corpora.base import (
    Annotation,
    ReaderConfig,
    ReadReport,
    SpanReader,
    SpanReaderConfig,
    claim,
)
from xnorm.errors import DataError
from xnorm.records import JsonId, JsonRecord, JsonStrings, JsonText, parse_record
from xnorm.rows import is_rows_folder, read_hub, read_rows, row_files
from xnorm.types import Document

__all__ = ["TRANSLATION", "BigbioConfig", "BigbioReader"]

TRANSLATION = "translation"
"""Kind of the folders that `xnorm translate` writes."""

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
    """Where the rows are, and how gold ids are written."""

    path: InputPath = Path("-")
    """A JSON Lines or Parquet file, a folder of Parquet files, or a folder that `datasets` saved; needed without
    `hub`."""
    hub: str | None = Field(default=None, pattern=r"^\w[\w.-]*/\w[\w.-]*$")
    """Instead of `path`: a dataset of the Hugging Face hub in data files, `OWNER/NAME`; needs the `torch` extra."""
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    """With `hub`, needed: the commit to read, 40 hexadecimal digits, so that a run can be repeated."""
    subset: str | None = None
    """With `hub`: the dataset's configuration, such as `mantra_gsc_de_emea_bigbio_kb`."""
    split: str | None = None
    """Of a folder or a dataset of the hub with several splits: the one to read."""
    db_prefix: dict[str, str] = Field(default_factory=dict)
    """`db_name` -> CURIE prefix of the gold ids, as in `HPO: HP`; default: the `db_name` itself."""
    databases: list[str] | None = None
    """Gold ids of these databases (`db_name`) alone are read, others counted; default: all."""

    @model_validator(mode="after")
    def _check_place(self) -> BigbioConfig:
        if ("path" in self.model_fields_set) == (self.hub is not None):
            raise ValueError("expected either path or hub")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("hub and revision go together: pin the commit that you mean")
        return self

    @property
    def weak(self) -> bool:
        """Whether the file stands in a folder that `xnorm translate` wrote, with its manifest."""
        if self.hub is not None or self.path == Path("-"):
            return False
        return kind_of(self.path if self.path.is_dir() else self.path.parent) == TRANSLATION


class BigbioReader(SpanReader):
    """Reads documents whose text is given as passages with offsets, and whose entities may be discontinuous."""

    config_class: ClassVar[type[ReaderConfig]] = BigbioConfig
    extensions: ClassVar[tuple[str, ...]] = (".parquet",)
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

    @classmethod
    def recognizes_folder(cls, path: Path) -> bool:
        """Return whether the folder holds rows: Parquet files, or what `datasets` saves."""
        return is_rows_folder(path)

    def files(self) -> list[Path]:
        """Return the data files of a folder, without what else lies in it."""
        path = self.config.path
        return sorted(row_files(path, self.config.split)) if path.is_dir() else [path]

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a row, with the entities as mentions; each keeps the id that the file gives.

        Raises:
            DataError: a row is not of the schema, passages overlap, an entity lies outside the text, an id is used
                twice, or as `xnorm.rows.read_rows`.
            MissingExtraError: `hub` without the package `datasets`.
        """
        taken: set[str] = set()
        for line, record in self._rows():
            yield self.document(record, line, taken, report)

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.config
        if config.hub is not None and config.revision is not None:
            return read_hub(config.hub, config.revision, subset=config.subset, split=config.split)
        return read_rows(config.path, split=config.split)

    def document(self, record: dict[str, Any], line: int, taken: set[str], report: ReadReport) -> Document:
        """Return the document of one row.

        Args:
            line: the row's number from 1, for errors.
            taken: ids of mentions that came before; added to.
            report: added to.

        Raises:
            DataError: as `documents`.
        """
        path = self.config.path
        parsed = parse_record(_Line, record, path=path, line=line)
        identifier = parsed.document_id or parsed.id or str(line)
        annotations = [
            Annotation(
                id=claim(f"{identifier}/{n}" if entity.id is None else entity.id, taken, path=path, line=line),
                spans=tuple((start, end) for start, end in entity.offsets),
                line=line,
                text=" ".join(filter(None, entity.text)) if entity.text else None,
                types=tuple(filter(None, (t for cell in entity.type for t in cell.split("|")))),
                gold=self._gold(entity, f"document '{identifier}', line {line}", report),
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

    def _gold(self, entity: _Entity, where: str, report: ReadReport) -> tuple[str, ...]:
        found = []
        for link in entity.normalized or []:
            if self.config.databases is not None and link.db_name not in self.config.databases:
                report.note(f"gold id of the database '{link.db_name}', which is not asked for, was left out", where)
            elif link.db_id:
                found.append(self._curie(link.db_name or "", link.db_id.strip()))
        return tuple(dict.fromkeys(curie for curie in found if curie))

    def _curie(self, db_name: str, identifier: str) -> str:
        """Return an id with its prefix; one that it has already is not doubled."""
        identifier = identifier.removeprefix(f"{db_name}:") if db_name else identifier
        prefix = self.config.db_prefix.get(db_name, db_name)
        return identifier if not identifier or not prefix or ":" in identifier else f"{prefix}:{identifier}"
