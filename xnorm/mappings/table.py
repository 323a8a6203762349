"""Tables (CSV, TSV) with a header: a pair of ids a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from pydantic import Field

from xnorm.config import StrictModel
from xnorm.errors import DataError
from xnorm.files import read_table
from xnorm.mappings.base import MappingConfig, MappingReader, MappingReport, MappingRow, Predicate, predicate_of

__all__ = ["Columns", "TableConfig", "TableReader"]


class Columns(StrictModel):
    """The header of each column that is read; the others are passed over."""

    source: str = "source"
    """Ids that are mapped."""
    target: str = "target"
    """Ids that they are mapped to."""
    predicate: str | None = None
    """What the target is to the source, as in `exact` or `skos:exactMatch`; an empty cell, or no such column: exact."""
    confidence: str | None = None
    """Confidence from 0 to 1; an empty cell says none."""

    def wanted(self) -> list[str]:
        """Return the headers that the table must have."""
        return [column for _, column in self if column is not None]


class TableConfig(MappingConfig):
    """A table and what its columns mean."""

    columns: Columns = Columns()
    """Header of each column that is read; default: `source` and `target`, and nothing else."""
    separator: Annotated[str, Field(min_length=1)] | None = None
    """What stands between several target ids in a cell; default: a cell holds one."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between cells; default: a comma for `.csv`, a tab for everything else."""


class TableReader(MappingReader):
    """Reads a table. Rows with an empty id are left out and counted."""

    config_class: ClassVar[type[MappingConfig]] = TableConfig
    config: TableConfig

    def read(self, report: MappingReport) -> Iterator[MappingRow]:
        """Yield a row a pair.

        Raises:
            DataError: a column is missing, a predicate is unknown, a confidence is no number from 0 to 1, or as
                `xnorm.files.read_table`.
        """
        config, columns = self.config, self.config.columns
        for line, row in read_table(config.path, delimiter=config.delimiter, columns=columns.wanted()):
            source, cell = row[columns.source].strip(), row[columns.target].strip()
            parts = [cell] if config.separator is None else [part.strip() for part in cell.split(config.separator)]
            targets = [part for part in parts if part]
            if not source or not targets:
                report.skip("row without a target" if source else "row without a source", line)
                continue
            predicate = self._predicate(row[columns.predicate], line) if columns.predicate else "exact"
            confidence = self.confidence(row[columns.confidence], line) if columns.confidence else None
            for target in targets:
                yield MappingRow(source, target, predicate, confidence, line)

    def _predicate(self, word: str, line: int) -> Predicate:
        try:
            return predicate_of(word) if word.strip() else "exact"
        except ValueError as e:
            raise DataError(str(e), path=self.config.path, line=line) from None
