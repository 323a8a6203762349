"""Tables (CSV, TSV) with a header, one mention a row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from xnorm.corpora.base import Reader, ReaderConfig, ReadReport, claim, lone_document
from xnorm.errors import DataError
from xnorm.files import read_table
from xnorm.text import lang_code
from xnorm.types import Document, Mention

__all__ = ["TableConfig", "TableReader"]

MENTION_COLUMNS = ("mention", "text", "name", "term")
LIST_SEPARATOR = "|"


def _one_delimiter(value: str) -> str:
    value = "\t" if value == "\\t" else value  # what a shell makes of delimiter=\t
    if len(value) != 1 or value in '"\r\n':
        raise ValueError(f"expected one character, such as ',' or ';' or '\\t', found {value!r}")
    return value


class TableConfig(ReaderConfig):
    """Which column holds what."""

    column: str | None = None
    """Column of the mention text; default: the one of `mention`, `text`, `name`, `term` that is there, or the only
    column."""
    id_column: str | None = None
    """Column of the mention's id, unique in the file; default: `id` if there is one, else the row number from 1 (the
    header and blank lines not counted)."""
    lang_column: str | None = None
    """Column of the mention's language; default: `lang` if there is one. An empty cell takes `lang`."""
    gold_column: str | None = None
    """Column of the gold concept ids, several separated by `|`; default: `gold` if there is one."""
    type_column: str | None = None
    """Column of the mention's types, several separated by `|`; default: `type` if there is one."""
    left_column: str | None = None
    """Column of the text before the mention, with the space between them; default: `left` if there is one."""
    right_column: str | None = None
    """Column of the text after the mention, with the space between them; default: `right` if there is one."""
    document_column: str | None = None
    """Column of the document that the mention stands in; default: `document` if there is one."""
    delimiter: Annotated[str, AfterValidator(_one_delimiter)] | None = None
    """Character between cells; default: comma for `.csv`, tab for all else."""


class TableReader(Reader):
    """Reads a mention from each row of a table."""

    config_class: ClassVar[type[ReaderConfig]] = TableConfig
    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv")
    config: TableConfig

    def mentions(self, report: ReadReport) -> Iterator[Mention]:
        """Yield a mention a row.

        Raises:
            DataError: no column holds the mention text, an id is empty or used twice, or as `xnorm.files.read_table`.
        """
        config, path = self.config, self.config.path
        named = (config.column, config.id_column, config.lang_column, config.gold_column, config.type_column,
                 config.left_column, config.right_column, config.document_column)  # fmt: skip
        make: Callable[[int, int, dict[str, str]], Mention] | None = None
        rows = read_table(path, delimiter=config.delimiter, columns=[c for c in named if c is not None])
        for number, (line, row) in enumerate(rows, 1):
            make = make or self._maker(row.keys())
            report.mentions += 1
            yield make(number, line, row)

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a row, as `mentions`."""
        return map(lone_document, self.mentions(report))

    def _maker(self, columns: Collection[str]) -> Callable[[int, int, dict[str, str]], Mention]:
        """Return what makes a mention of (row number, line, row); which column holds what is settled here, once."""
        config = self.config

        def chosen(column: str | None, default: str) -> str | None:
            return column or (default if default in columns else None)

        text_column = config.column or self._text_column(columns)
        id_column = chosen(config.id_column, "id")
        lang_column = chosen(config.lang_column, "lang")
        gold_column = chosen(config.gold_column, "gold")
        type_column = chosen(config.type_column, "type")
        left_column = chosen(config.left_column, "left")
        right_column = chosen(config.right_column, "right")
        document_column = chosen(config.document_column, "document")
        taken: set[str] = set()

        def make(number: int, line: int, row: dict[str, str]) -> Mention:
            lang = row[lang_column].strip() if lang_column else ""
            gold = _cells(row[gold_column]) if gold_column else ()
            return Mention(
                row[text_column],
                self._row_id(row[id_column], line, taken) if id_column else str(number),
                lang_code(lang) if lang else config.lang,
                types=_cells(row[type_column]) if type_column else (),
                left=row[left_column] if left_column else "",
                right=row[right_column] if right_column else "",
                gold=gold,
                composite=self.is_composite(gold),
                document=(row[document_column].strip() or None) if document_column else None,
            )

        return make

    def _text_column(self, columns: Collection[str]) -> str:
        found = [c for c in MENTION_COLUMNS if c in columns]
        if len(found) == 1:
            return found[0]
        if len(columns) == 1:
            (only,) = columns
            if other := next((d for d in ";\t|," if d in only), None):
                raise DataError(
                    f"the header {only!r} looks like several columns", path=self.config.path, line=1,
                    fix=f"name the delimiter with --option 'delimiter=\"{other}\"'",
                )  # fmt: skip
            return only
        which = f"several columns ({', '.join(found)})" if found else "none of the columns"
        raise DataError(
            f"{which} may hold the mention text; the columns are: {', '.join(columns)}",
            path=self.config.path,
            line=1,
            fix="name it with --column NAME",
        )

    def _row_id(self, cell: str, line: int, taken: set[str]) -> str:
        cell = cell.strip()
        if not cell:
            raise DataError(
                "the row has an empty id", path=self.config.path, line=line, fix="give each mention its own"
            )
        return claim(cell, taken, path=self.config.path, line=line)


def _cells(cell: str) -> tuple[str, ...]:
    """Split a cell that holds a list; empty parts are dropped."""
    return tuple(dict.fromkeys(part for part in map(str.strip, cell.split(LIST_SEPARATOR)) if part))
