"""Files of concept ids, written again with other ids: those of a newer release, or of another terminology.

A file is what `xnorm link` wrote, or any JSON Lines or table with ids in it. What becomes of an id is said by who looks
it up (`xnorm.new_ids`). Beside each column or key with ids stand two more: `..._before` with the ids as they were, and
`..._reason` with the status of each and more, as in `replaced: merged` or `mapped: exact`.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from xnorm.corpora.table import LIST_SEPARATOR
from xnorm.errors import ConfigError, DataError
from xnorm.files import read_json_lines, read_table, suffix
from xnorm.new_ids import IdLookup
from xnorm.output import open_output
from xnorm.progress import Progress, no_progress
from xnorm.tally import Tally, as_plain
from xnorm.text import clean, encodable

__all__ = ["IdCounts", "rewrite_ids"]

BATCH = 10_000
"""Records at a time."""
_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
_LINKED = ("candidates.concept_id", "concept_id")
"""Columns and keys of what `xnorm link` writes; a table has `others`, too."""


@dataclass(slots=True)
class IdCounts(Tally):
    """What became of the ids of a file."""

    records: int = 0
    ids: Counter[str] = field(default_factory=Counter)
    """How many there are of each status, every occurrence counted."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first three different ids of each status but `same`, with what took their place."""
    left_out: int = 0
    """Ids that are left out, and their candidates with them, for nothing takes their place."""
    without: int = 0
    """Records that have no id in any of the columns."""
    joined: int = 0
    """Candidates that were left out, for an earlier one of the mention has become the same concept."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return as_plain(self)


class _New(NamedTuple):
    """What is written for an id."""

    ids: tuple[str, ...]
    changed: bool
    names: Sequence[str | None]
    """Of each of the ids; None where the name that stands there stays."""
    status: str
    reason: str
    """The status, and more if there is more to say."""


def rewrite_ids(
    path: Path,
    output: Path | None,
    lookup: IdLookup,
    *,
    columns: Sequence[str] = (),
    delimiter: str | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> IdCounts:
    """Write a file again with what becomes of its concept ids.

    Several ids in the place of one stand beside one another in its cell or list; objects in a list, as candidates are,
    become several. An id that is left out leaves its cell empty, its key null, and its object out of the list.

    Args:
        path: JSON Lines, CSV or TSV, by its ending; plain or gzip.
        output: the file to write, with the same ending; None is standard output.
        lookup: says what becomes of the ids.
        columns: columns of a table, whose cells may hold several ids with `|` between them; or keys of JSON Lines,
            whose values are an id or a list of ids, and which may lie deeper: `candidates.concept_id`. Default: those
            that `xnorm link` writes.
        delimiter: of a table; default: by the ending.

    Raises:
        ConfigError: an ending that says no format, or two files of different formats.
        DataError: a record cannot be read, has no such column, or was rewritten before.
        ArtifactError: the output exists, or cannot be written.
    """
    format = _format_of(path, output, delimiter)
    columns = list(dict.fromkeys(columns))
    counts = IdCounts()
    known = _Known(lookup, counts)
    with open_output(output, overwrite=overwrite) as out:
        if format == "jsonl":
            written = _json_lines(path, out.file, known, columns)
        else:
            written = _table(path, out.file, known, columns, delimiter or ("," if format == "csv" else "\t"))
        for n in written:
            counts.records += n
            progress("mapping ids", counts.records, -1)
        if not counts.records:
            raise DataError("holds no record", path=path)
    return counts


def _format_of(path: Path, output: Path | None, delimiter: str | None) -> str:
    format = _FORMATS.get(suffix(path))
    known = ", ".join(_FORMATS)
    if format is None:
        raise ConfigError(f"{path}: no format goes with '{suffix(path)}'; expected one of {known}")
    if output is not None and _FORMATS.get(output.suffix.lower()) != format:
        raise ConfigError(f"--output {output}: is written as {path.name} is, so its name must end in .{format}")
    if delimiter is not None and (format == "jsonl" or len(delimiter) != 1 or delimiter in '"\r\n|'):
        raise ConfigError(f"--delimiter: expected one character between the cells of a table, found {delimiter!r}")
    return format


class _Known:
    """Ids to what is written for them, each looked up once."""

    def __init__(self, lookup: IdLookup, counts: IdCounts) -> None:
        self.lookup, self.counts = lookup, counts
        self._known: dict[str, _New] = {}

    def learn(self, ids: Iterable[str]) -> None:
        """Look up the ids that are about to be asked for."""
        # ids that differ in half a character are one when they are written
        written = {i: encodable(i) for i in ids if i not in self._known}
        asked = list(dict.fromkeys(written.values()))
        found = dict(zip(asked, self.lookup.look_up(asked), strict=True)) if asked else {}
        for old, identifier in written.items():
            new = found[identifier]
            ids_now = (identifier,) if new.ids is None else tuple(map(clean, new.ids))  # a tab would end a cell
            self._known[old] = _New(
                ids_now,
                ids_now != (identifier,),
                new.names or (None,) * len(ids_now),
                new.status,
                f"{new.status}: {reason}" if (reason := clean(new.reason or "")) else new.status,
            )

    def __call__(self, identifier: str) -> _New:
        new = self._known[identifier]
        self.counts.ids[new.status] += 1
        self.counts.left_out += not new.ids
        if new.status != "same":
            became = f" -> {', '.join(new.ids)}" if new.changed and new.ids else ""
            self.counts.show(new.status, (identifier + became,))
        return new


# --- tables -----------------------------------------------------------------------------------------------------------


def _table(path: Path, file: TextIO, known: _Known, columns: Sequence[str], delimiter: str) -> Iterator[int]:
    """Write a table again; yield how many rows were written."""
    rows = read_table(path, delimiter=delimiter, columns=columns)
    write: Callable[[Sequence[str]], Any] | None = None
    while block := list(islice(rows, BATCH)):
        if write is None:
            header = list(block[0][1])
            columns = columns or _linked_columns(header, path)
            if taken := [c for c in header if any(c in (f"{k}_before", f"{k}_reason") for k in columns)]:
                fix = "it was written by an earlier run: take the file that that run read, or drop the column"
                raise DataError(f"has a column '{taken[0]}' already", path=path, line=1, fix=fix)
            write = _row_writer(file, delimiter)
            write([cell for c in header for cell in ([c, f"{c}_before", f"{c}_reason"] if c in columns else [c])])
        known.learn(i for _, row in block for c in columns for i in _cells(row[c]))
        for _, row in block:
            write(_new_row(row, columns, known))
        yield len(block)


def _row_writer(file: TextIO, delimiter: str) -> Callable[[Sequence[str]], Any]:
    if delimiter == "\t":  # as such a table is read: a quote is an ordinary character
        return csv.writer(
            file, delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        ).writerow
    return csv.writer(file, delimiter=delimiter, lineterminator="\n").writerow


def _linked_columns(header: Sequence[str], path: Path) -> list[str]:
    found = [c for c in ("concept_id", "others") if c in header]
    if "concept_id" not in found:
        raise DataError(
            f"has no column 'concept_id'; the columns are: {', '.join(header)}",
            path=path,
            line=1,
            fix="name it with --column NAME",
        )
    return found


def _cells(cell: str) -> list[str]:
    return [part for part in map(str.strip, cell.split(LIST_SEPARATOR)) if part]


def _new_row(row: dict[str, str], columns: Sequence[str], known: _Known) -> list[str]:
    cells = {column: [cell] for column, cell in row.items()}
    for column in columns:
        new = [known(i) for i in _cells(row[column])]
        ids = LIST_SEPARATOR.join(dict.fromkeys(i for n in new for i in n.ids))
        cells[column] = [ids if new else row[column], row[column], LIST_SEPARATOR.join(n.reason for n in new)]
        if column == "concept_id" and "name" in row and len(new) == 1:
            names = [name for name in new[0].names if name is not None]
            cells["name"] = [LIST_SEPARATOR.join(names) if names else row["name"]]
    known.counts.without += not any(cells[column][2] for column in columns)
    return [cell for parts in cells.values() for cell in parts]


# --- JSON Lines -------------------------------------------------------------------------------------------------------


def _json_lines(path: Path, file: TextIO, known: _Known, columns: Sequence[str]) -> Iterator[int]:
    """Write JSON Lines again; yield how many were written."""
    lines = read_json_lines(path)
    met: set[str] = set()
    while block := list(islice(lines, BATCH)):
        columns = columns or [_linked_key(*block[0], path)]
        for line, record in block:
            try:
                found = {c: list(_ids_in(record, _keys(record, c))) for c in columns}
            except ValueError as e:
                raise DataError(str(e), path=path, line=line) from None
            met.update(c for c in columns if _has(record, _keys(record, c)))
            known.counts.without += not any(found.values())
            known.learn(i for ids in found.values() for i in ids)
        for _, record in block:
            for column in columns:
                record = _rewritten(record, _keys(record, column), known)
            file.write(encodable(json.dumps(record, ensure_ascii=False)) + "\n")
        yield len(block)
    if lost := [c for c in columns if c not in met]:
        raise DataError(f"no record has '{lost[0]}'", path=path, fix="name the key of the ids with --column")


def _linked_key(line: int, record: dict[str, Any], path: Path) -> str:
    for column in _LINKED:
        if column.partition(".")[0] in record:
            return column
    raise DataError(
        f"has neither 'candidates' nor 'concept_id'; the keys are: {', '.join(record)[:200]}",
        path=path,
        line=line,
        fix="name the key of the ids with --column, as in gold or mentions.gold",
    )


def _keys(record: dict[str, Any], column: str) -> list[str]:
    return [column] if column in record else column.split(".")


def _has(value: Any, keys: Sequence[str]) -> bool:
    """Return whether there is such a key, be it that a list on the way is empty."""
    for key in keys:
        if isinstance(value, list):
            if not value:
                return True
            value = next((v for v in value if isinstance(v, dict) and key in v), value[0])
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _ids_in(value: dict[str, Any], keys: Sequence[str]) -> Iterator[str]:
    """Yield the ids under a path of keys; raise `ValueError` if something else stands there."""
    key, rest = keys[0], keys[1:]
    inner = value.get(key)
    if inner is None:
        return
    items = inner if isinstance(inner, list) else [inner]
    expected = dict if rest else str
    if not all(isinstance(item, expected) for item in items):
        wanted = "an object or a list of objects" if rest else "an id (a string) or a list of ids"
        raise ValueError(f"'{key}': expected {wanted}, found {json.dumps(inner)[:60]}")
    for new in (f"{key}_before", f"{key}_reason") if not rest else ():
        if new in value:
            raise ValueError(
                f"has a key '{new}' already; it was written by an earlier run: take the file which that read"
            )
    for item in items:
        if rest:
            yield from _ids_in(item, rest)
        else:
            yield item


def _rewritten(value: dict[str, Any], keys: Sequence[str], known: _Known) -> dict[str, Any]:
    """Return an object with new ids under a path of keys."""
    key, rest = keys[0], keys[1:]
    inner = value.get(key)
    if inner is None:
        return value
    if rest and isinstance(inner, list):
        items = _spread(inner, rest[0], known) if len(rest) == 1 else [_rewritten(i, rest, known) for i in inner]
        return {**value, key: items}
    if rest:
        return {**value, key: _rewritten(inner, rest, known)}
    new = [known(i) for i in (inner if isinstance(inner, list) else [inner])]
    ids, reasons = list(dict.fromkeys(i for n in new for i in n.ids)), [n.reason for n in new]
    if isinstance(inner, list):
        return _with(value, key, ids, reasons)
    names = [name for name in new[0].names if name is not None]
    return _with(value, key, _one(ids), reasons[0], _one(names))


def _spread(items: list[dict[str, Any]], key: str, known: _Known) -> list[dict[str, Any]]:
    """Return objects with their new ids: one for each id that takes the place of an old one, and none for an id that
    stands before it already."""
    kept: list[dict[str, Any]] = []
    seen: set[str] = set()
    brought: set[str] = set()
    for item in items:
        if not isinstance(item.get(key), str):
            kept.append(_rewritten(item, [key], known))
            continue
        new = known(item[key])
        for i, name in zip(new.ids, new.names, strict=True):
            if i in seen and (new.changed or i in brought):
                known.counts.joined += 1
                continue
            seen.add(i)
            brought |= {i} if new.changed else set()
            kept.append(_with(item, key, i, new.reason, name))
    return kept


def _with(value: dict[str, Any], key: str, new: Any, reason: Any, name: Any = None) -> dict[str, Any]:
    """Return an object with new ids, the old ones and the reason behind them, and the name of the new concept if the
    object is a candidate."""
    plain: dict[str, Any] = {}
    for k, v in value.items():
        plain |= {k: new, f"{key}_before": v, f"{key}_reason": reason} if k == key else {k: v}
    if key == "concept_id" and name is not None and "name" in plain:
        plain["name"] = name
    return plain


def _one(values: Sequence[str]) -> str | list[str] | None:
    return (values[0] if len(values) == 1 else list(values)) if values else None
