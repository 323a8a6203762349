"""Tables (CSV, TSV) with a header: one concept a row, or one name a row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from xnorm.config import StrictModel
from xnorm.errors import DataError
from xnorm.files import read_table
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport, scope_of
from xnorm.text import clean, lang_code

__all__ = ["Columns", "TableConfig", "TableParser"]


class Columns(StrictModel):
    """The header of each column that is read; the others are passed over."""

    id: str = "id"
    """Concept ids."""
    name: str = "name"
    """Names: the preferred name of the concept, or one of its names when a row is a name."""
    synonyms: str | None = None
    """Further names, a list in the cell; exact, in the language of the row."""
    lang: str | None = None
    """Language of the row's names; an empty cell is the `lang` of the source."""
    scope: str | None = None
    """Scope of the row's name: preferred, exact, narrow, broad, related, or another word for one of these (label,
    synonym, entry, inclusion); an empty cell is as if there were no such column."""
    types: str | None = None
    """Concept types, a list in the cell."""
    definition: str | None = None
    """Definitions."""
    parents: str | None = None
    """Ids of broader concepts, a list in the cell."""
    xrefs: str | None = None
    """Ids of the same concept elsewhere, a list in the cell."""

    def wanted(self) -> list[str]:
        """Return the headers that the table must have."""
        return [column for _, column in self if column is not None]


class TableConfig(SourceConfig):
    """A table and what its columns mean."""

    columns: Columns = Columns()
    """Header of each column that is read; default: `id` and `name`, and nothing else."""
    rows: Literal["concept", "name"] = "concept"
    """What a row is. `concept`: all of a concept; a second row with its id and another name is refused. `name`: one
    name; the first of an id in a language is the preferred one, unless the scope column says otherwise."""
    separator: Annotated[str, Field(min_length=1)] = "|"
    """What stands between the items of a list in a cell."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Character between cells; default: a comma for `.csv`, a tab for everything else."""


class TableParser(Parser):
    """Reads a table of concepts or names. Rows with an empty id or name are left out and counted."""

    config_class: ClassVar[type[SourceConfig]] = TableConfig
    config: TableConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a row; rows of one id are joined later.

        Raises:
            DataError: a column is missing, a scope is unknown, one id has two names where a row is a concept, or as
                `xnorm.files.read_table`.
        """
        config, columns = self.config, self.config.columns
        first: dict[str, tuple[str, int]] = {}
        named: set[tuple[str, str]] = set()
        for line, row in read_table(config.path, delimiter=config.delimiter, columns=columns.wanted()):
            identifier, name = row[columns.id].strip(), clean(row[columns.name])
            if not identifier or not name:
                report.skip("row without a name" if identifier else "row without an id", line)
                continue
            identifier = self.curie(identifier)
            if config.rows == "concept":
                self._refuse_duplicate(identifier, name, line, first)
            lang = lang_code(self._cell(row, columns.lang) or config.lang)
            # a concept's name is preferred; where a row is a name, the first of an id in a language is
            preferred = config.rows == "concept" or (identifier, lang) not in named
            named.add((identifier, lang))
            scope = self._scope(row, line) or ("preferred" if preferred else "exact")
            names = [RawName(name, lang, scope)]
            names.extend(RawName(synonym, lang) for synonym in self._items(row, columns.synonyms))
            yield RawConcept(
                identifier,
                names,
                types=self._items(row, columns.types),
                xrefs=self._items(row, columns.xrefs),
                parents=[self.curie(parent) for parent in self._items(row, columns.parents)],
                definition=self._cell(row, columns.definition) or None,
                line=line,
            )

    def _refuse_duplicate(self, identifier: str, name: str, line: int, first: dict[str, tuple[str, int]]) -> None:
        old, old_line = first.setdefault(identifier, (name, line))
        if old != name and self.config.duplicates == "error" and not self.config.overlay:
            raise DataError(
                f"duplicate id '{identifier}': named {name!r} here and {old!r} before (line {old_line})",
                path=self.config.path,
                line=line,
                fix="mend the file, or set `rows: name` if a row is a name, or `duplicates: merge` to keep the second "
                "as a further name",
            )

    def _scope(self, row: dict[str, str], line: int) -> str | None:
        word = self._cell(row, self.config.columns.scope)
        try:
            return scope_of(word) if word else None
        except ValueError as e:
            raise DataError(str(e), path=self.config.path, line=line) from None

    def _cell(self, row: dict[str, str], column: str | None) -> str:
        return "" if column is None else row[column].strip()

    def _items(self, row: dict[str, str], column: str | None) -> list[str]:
        """Return the items of a list in a cell, empty ones left out."""
        items = (item.strip() for item in self._cell(row, column).split(self.config.separator))
        return [item for item in items if item]
