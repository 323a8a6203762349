"""Aliases of one's own: a CSV or TSV file with a name a row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from xnorm.aliases.base import ALIASES, AliasConfig, AliasMaker, AliasReport, ReadSources
from xnorm.config import InputPath, StrictModel
from xnorm.errors import DataError
from xnorm.files import read_table
from xnorm.tables import Terminology

__all__ = ["Columns", "TableConfig", "TableMaker"]


class Columns(StrictModel):
    """The header of each column that is read; the others are passed over."""

    id: str = "id"
    """Ids of concepts."""
    name: str = "name"
    """Names."""
    lang: str | None = None
    """Languages of the names; an empty cell, or no such column: that of the table."""
    weight: str | None = None
    """Weights of the names; an empty cell, or no such column: that of the table."""

    def wanted(self) -> list[str]:
        """Return the headers that the table must have."""
        return [column for _, column in self if column is not None]


class TableConfig(AliasConfig):
    """A table and what its columns mean."""

    path: InputPath
    """The file to read; gzip (`.gz`) is unpacked on the way."""
    columns: Columns = Columns()
    """Header of each column that is read; default: `id` and `name`, and nothing else."""
    weight: float = Field(default=1.0, gt=0, le=1)
    """What generators multiply the score of a name by that has no weight of its own, above 0 and at most 1."""
    lang: str = "en"
    """Language of names that carry none of their own."""
    prefix: str | None = None
    """CURIE prefix put before ids that have none."""
    ambiguous: Literal["none", "each"] = "each"
    """Which concepts get a name that is meant for several: none of them, or each."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between cells; default: a comma for `.csv`, a tab for everything else."""


class TableMaker(AliasMaker):
    """Reads a table. An id that was replaced by one other stands for that one."""

    config_class: ClassVar[type[AliasConfig]] = TableConfig
    config: TableConfig

    def make(self, terminology: Terminology, read: ReadSources, report: AliasReport) -> Iterator[pa.Table]:
        """Yield the names in the order of the table.

        Raises:
            DataError: there is no such file, a weight is no number above 0 and at most 1, no row is left, or as
                `xnorm.files.read_table`.
        """
        config, columns = self.config, self.config.columns
        if not config.path.exists():
            raise DataError("no such file", path=config.path, fix="look at the `path` of the aliases")
        ids: list[str] = []
        lines: list[int] = []
        values: dict[str, list[object]] = {name: [] for name in ALIASES.names if name != "concept"}
        for line, row in read_table(config.path, delimiter=config.delimiter, columns=columns.wanted()):
            identifier, text = row[columns.id].strip(), row[columns.name].strip()
            if not identifier or not text:
                report.leave("row without a name" if identifier else "row without an id", 1, [f"line {line}"])
                continue
            ids.append(f"{config.prefix}:{identifier}" if config.prefix and ":" not in identifier else identifier)
            lines.append(line)
            lang = row[columns.lang].strip() if columns.lang else ""
            weight = self._weight(row[columns.weight], line) if columns.weight else config.weight
            for column, value in zip(values.values(), (text, lang or config.lang, config.label, weight), strict=True):
                column.append(value)
        rows = terminology.rows(ids)
        for at in np.flatnonzero(rows < 0).tolist():
            found = terminology.resolve(ids[at])
            if len(found) == 1:
                rows[at] = terminology.rows(found)[0]
            else:
                reason = "row with an id that " + ("has become several" if found else "is not there")
                report.leave(reason, 1, [f"line {lines[at]}: {ids[at]}"])
        if not (rows >= 0).any():
            skipped = "; ".join(f"{n:,} {reason}" for reason, n in report.left_out.items())
            raise DataError(
                "holds no name of a concept of the terminology" + (f": {skipped}" if skipped else ""),
                path=config.path,
                fix="look at its ids, and at `prefix`",
            )
        yield pa.table({"concept": rows, **values}, ALIASES).filter(pa.array(rows >= 0))

    def _weight(self, cell: str, line: int) -> float:
        if not cell.strip():
            return self.config.weight
        try:
            weight = float(cell)
        except ValueError:
            weight = -1.0
        if not 0 < weight <= 1:
            raise DataError(
                f"weight: expected a number above 0 and at most 1, found {cell.strip()!r:.60}",
                path=self.config.path,
                line=line,
            )
        return weight

    def paths(self) -> list[Path]:
        return [self.config.path]
