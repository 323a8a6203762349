"""Filters at query time: which concepts may be proposed for a mention, and by which of their names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from xnorm.artifact import sha256_file, sha256_text
from xnorm.config import InputPath, StrictModel, validate
from xnorm.errors import ConfigError, DataError, XnormWarning
from xnorm.files import open_text, read_json_lines, read_table, suffix
from xnorm.terminology.base import SourceReport
from xnorm.terminology.fhir import FhirConfig, FhirParser

__all__ = ["QueryFilters", "ValueSet", "as_filters", "checksums", "from_options"]

Values = Annotated[list[str], Field(min_length=1)]

ID_COLUMNS = ("concept_id", "id", "code")
SINGULAR = {"types": "type", "langs": "lang", "sources": "source", "branches": "branch"}


class ValueSet(StrictModel):
    """Concept ids, in a file or as they are."""

    path: InputPath | None = None
    """The file: an id a line, or, by its ending, a column of CSV or TSV, a key of JSON Lines, or the codes of a FHIR
    ValueSet or CodeSystem (`.json`); plain or gzip."""
    ids: Values | None = None
    """The ids themselves; a plain list stands for them."""
    column: str | None = None
    """Column or key of the ids; default: the one of `concept_id`, `id`, `code` that is there, or the only column."""
    prefix: str | None = None
    """CURIE prefix put before ids that have none: with `ICD10`, `I50` becomes `ICD10:I50`."""
    systems: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by `system` URL of FHIR, as the `fhir` parser takes it."""

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if isinstance(data, str):
            raise ValueError(f"expected a list of ids or `path: FILE`, found '{data}'")
        return {"ids": data} if isinstance(data, list | tuple) else {"path": data} if isinstance(data, Path) else data

    @model_validator(mode="after")
    def _check(self) -> ValueSet:
        if (self.path is None) == (self.ids is None):
            raise ValueError("expected either path or ids")
        return self

    def read(self) -> list[str]:
        """Return the distinct ids in their order. What could not be read of a FHIR resource is a warning.

        Raises:
            DataError: the file cannot be read, or holds no id.
        """
        found = self.ids if self.path is None else list(self._ids_in(self.path))
        ids = dict.fromkeys(i.strip() for i in found or () if i.strip())
        if not ids:
            raise DataError("holds no id", path=self.path, fix="expected the ids of concepts")
        return [i if self.prefix is None or ":" in i else f"{self.prefix}:{i}" for i in ids]

    def about(self) -> dict[str, Any]:
        """Return what tells it from another one, in few words: the checksum of its file or its ids."""
        said = self.model_dump(mode="json", exclude_defaults=True, exclude={"path", "ids"})
        if self.path is None:
            return {**said, "ids": len(self.ids or ()), "sha256": sha256_text("\n".join(self.ids or ()))}
        return {**said, "file": self.path.name, "sha256": sha256_file(self.path)}

    def _ids_in(self, path: Path) -> Iterable[str]:
        if suffix(path) != ".json":
            return _ids_in(path, self.column)
        report = SourceReport(path.name, str(path))
        parser = FhirParser(FhirConfig(type="fhir", path=path, prefix=self.prefix, systems=self.systems))
        ids = list(parser.ids(report))
        if report.skipped:
            lost = ", ".join(f"{reason} ({n:,})" for reason, n in report.skipped.items())
            warnings.warn(f"value set {path}: not read: {lost}", XnormWarning, stacklevel=2)
        return ids


class QueryFilters(StrictModel):
    """What may be proposed. All that are given hold together, and one with several values takes each of them."""

    types: Values | None = None
    """Types of concepts; a semantic group or type of UMLS (`DISO`, `Disease or Syndrome`) stands for the types that the
    terminology has of it."""
    langs: Values | None = None
    """Languages of the names that a mention is compared with; `pt` takes `pt-br` too."""
    sources: Values | None = None
    """Sources of the names that a mention is compared with; not of their concepts."""
    branches: Values | None = None
    """Concept ids; these and all that lies below them by `parents`."""
    value_set: ValueSet | None = None
    """The concepts of a list: their ids, or `path: FILE`."""

    @property
    def empty(self) -> bool:
        """Whether nothing is filtered."""
        return self == QueryFilters()

    def about(self) -> dict[str, Any]:
        """Return the filters as plain data in few words: of a value set, the checksum of its file or ids."""
        said = self.model_dump(mode="json", exclude_none=True, exclude={"value_set"})
        if self.value_set is not None:
            said["value_set"] = self.value_set.about()
        return said


def as_filters(filters: QueryFilters | Mapping[str, Any] | None) -> QueryFilters | None:
    """Return filters, or their plain data, as a model; None and what filters nothing as None.

    Raises:
        ConfigError: an unknown key or a value of the wrong kind.
    """
    if filters is not None and not isinstance(filters, QueryFilters):
        if not isinstance(filters, Mapping):
            raise ConfigError(f"filters: expected QueryFilters or a mapping, found {type(filters).__name__}")
        filters = validate(QueryFilters, filters, where="filters")
    return None if filters is None or filters.empty else filters


def from_options(value_set: Path | None, **values: Sequence[str] | None) -> QueryFilters | None:
    """Return the filters that options of the command line say, each of which may be given again.

    Args:
        values: by key of `QueryFilters`, with commas between values; a comma with a space after it is part of a value.

    Raises:
        ConfigError: an option that holds no value.
    """
    plain: dict[str, Any] = {}
    for key, given in values.items():
        if given:
            plain[key] = [v for option in given for v in re.split(r",(?! )", option) if v.strip()]
            if not plain[key]:
                options = f"--only-{key} (--{SINGULAR.get(key, key)} of `xnorm search`)"
                raise ConfigError(f"{options}: expected values with commas between them, found '{given[0]}'")
    return as_filters({**plain, **({"value_set": value_set} if value_set is not None else {})})


def checksums(filters: Iterable[QueryFilters | None]) -> list[str]:
    """Return the SHA-256 of each file that filters read."""
    sets = [f.value_set for f in filters if f is not None and f.value_set is not None]
    return [sha256_file(s.path) for s in sets if s.path is not None and s.path.is_file()]


def _ids_in(path: Path, column: str | None) -> Iterable[str]:
    kind = suffix(path)
    if kind in (".csv", ".tsv"):
        for line, row in read_table(path, columns=[column] if column else ()):
            key = column or next(iter([c for c in ID_COLUMNS if c in row] or (row if len(row) == 1 else ())), None)
            if key is None:
                raise _no_ids("column", row, path, line)
            yield row[key]
    elif kind in (".jsonl", ".ndjson"):
        for line, record in read_json_lines(path):
            key = next((c for c in ([column] if column else ID_COLUMNS) if isinstance(record.get(c), str)), None)
            if key is None:
                raise _no_ids("key", [column] if column else record, path, line)
            yield record[key]
    else:
        with open_text(path) as file:
            for text in file:
                if not text.startswith("#"):
                    yield text


def _no_ids(what: str, found: Iterable[str], path: Path, line: int) -> DataError:
    names = ", ".join(map(str, found))
    return DataError(
        f"no {what} holds an id (found {names})", path=path, line=line, fix="set `column` of the value set"
    )
