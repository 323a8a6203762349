"""Text files from outside: opened safely, read line by line, every error with its place."""

from __future__ import annotations

import codecs
import csv
import gc
import gzip
import io
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from xnorm.errors import DataError
from xnorm.registry import did_you_mean

__all__ = ["lies_below", "open_text", "read_json", "read_json_lines", "read_table", "suffix"]


def suffix(path: Path) -> str:
    """Return the ending of a file name in lower case, `.gz` taken off: `.jsonl` for `a.JSONL.gz`."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def lies_below(path: Path, folder: Path) -> bool:
    """Return whether a file lies in a folder or below it, whatever links lead to them."""
    return path.resolve().is_relative_to(folder.resolve())


@contextmanager
def open_text(path: Path, *, newline: str | None = None, empty_ok: bool = False) -> Iterator[TextIO]:
    """Open a UTF-8 text file, gzip or plain, with or without a byte order mark, with universal line ends.

    The path `-` is standard input.

    Args:
        newline: as of `open`: None makes every line end a line feed, an empty string leaves them as they are.
        empty_ok: whether an empty file is a file without lines and not an error.

    Raises:
        DataError: missing, a folder, empty, not UTF-8 (with the line), or a damaged gzip file. Errors that arise
            while the caller reads are turned into a `DataError`, too.
    """
    try:
        if str(path) == "-":
            yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline=newline)
            return
        if path.is_dir():
            raise DataError("is a folder, expected a file", path=path)
        with path.open("rb") as raw:
            head = raw.peek(4)  # not read and sought back: the path may be a pipe
            if not head and not empty_ok:
                raise DataError("is empty", path=path)
            plain = gzip.GzipFile(fileobj=raw) if head[:2] == b"\x1f\x8b" else raw
            if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise DataError("is UTF-16", path=path, fix="convert it to UTF-8 (iconv -f utf-16 -t utf-8)")
            yield io.TextIOWrapper(plain, encoding="utf-8-sig", newline=newline)
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except UnicodeDecodeError as e:
        line = _bad_line(path)
        raise DataError(
            f"is not UTF-8 (byte 0x{e.object[e.start]:02x})", path=path, line=line, fix="convert it to UTF-8"
        ) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as e:
        raise DataError(f"is a damaged gzip file: {e}", path=path, fix="fetch it again") from None
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", path=path) from e


def _bad_line(path: Path) -> int | None:
    """Return the first line that is not UTF-8, counted from 1."""
    if not path.is_file():  # standard input or a pipe cannot be read again
        return None
    with path.open("rb") as raw:
        plain = gzip.GzipFile(fileobj=raw) if raw.read(2) == b"\x1f\x8b" else raw
        raw.seek(0)
        for number, line in enumerate(plain, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds, all of it in memory: some five times the size of the file.

    Raises:
        DataError: not JSON, nested too deep, a key twice in one object, not an object, or as `open_text`.
    """
    with open_text(path) as file:
        text = file.read()
    collects = gc.isenabled()
    gc.disable()  # nothing read is garbage yet; looking for some again and again takes more time than the reading
    try:
        return _json_object(text, path)
    finally:
        if collects:
            gc.enable()


def read_json_lines(path: Path, *, unique_keys: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) of a JSON Lines file; blank lines are passed over.

    Args:
        unique_keys: whether a key twice in one object is an error; otherwise the last one counts.

    Raises:
        DataError: a line is not JSON or not an object, or as `open_text`.
    """
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, _json_object(line, path, number, unique_keys=unique_keys)


def _json_object(text: str, path: Path, line: int | None = None, *, unique_keys: bool = True) -> dict[str, Any]:
    """Return the object that a text spells; `line` is the text's, if it is one line of a file."""
    try:
        found = json.loads(text, object_pairs_hook=_unique if unique_keys else None)
    except json.JSONDecodeError as e:
        if line is not None:
            raise DataError(f"not valid JSON: {e}", path=path, line=line) from None
        fix = "mend it; if it is the last line, the file was cut off: fetch it again"
        if e.msg == "Extra data":
            fix = "a file with an object on each line is to be named .ndjson or .jsonl"
        raise DataError(f"not valid JSON: {e.msg} (column {e.colno})", path=path, line=e.lineno, fix=fix) from None
    except (ValueError, RecursionError) as e:
        problem = "nested too deep" if isinstance(e, RecursionError) else e
        raise DataError(f"not valid JSON: {problem}", path=path, line=line) from None
    if not isinstance(found, dict):
        raise DataError(f"expected a JSON object, found {type(found).__name__}", path=path, line=line)
    return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; no key may come twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        values = " and ".join(f"{value!r:.40}" for k, value in pairs if k == key)
        raise ValueError(f"key {key!r:.60} more than once in one object, with the values {values:.120}")
    return found


def read_table(
    path: Path,
    *,
    delimiter: str | None = None,
    columns: Sequence[str] = (),
    quotes: bool | None = None,
    comments: list[str] | None = None,
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number from 1, row) of a CSV or TSV file with a header; blank lines are passed over.

    Args:
        delimiter: default is by the file's ending: comma for `.csv`, tab for all else.
        columns: columns that the header must have.
        quotes: whether cells may be quoted; default: not where the delimiter is a tab.
        comments: where lines that begin with `#` may stand before the header, the list that takes them, without `#`.

    Raises:
        DataError: a wanted column is missing, a header is given twice, a row has fewer or more cells than the header,
            a quote is never closed, or as `open_text`.
    """
    csv.field_size_limit(1 << 27)  # its default of 131,072 characters would end the reading at one long cell
    delimiter = delimiter or ("," if suffix(path) == ".csv" else "\t")
    with open_text(path) as file:
        lines: Iterator[str] = file
        if comments is not None:
            first = next(file, "")
            while first.startswith("#"):
                comments.append(first[1:])
                first = next(file, "")
            lines = chain([first], file)
        before = len(comments or ())
        if quotes if quotes is not None else delimiter != "\t":
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
        else:  # in TSV a quote is an ordinary character
            rows = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        try:
            header = [cell.strip() for cell in next(rows, [])]
            _check_header(header, columns, path, delimiter, before + 1)
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"has {len(row)} cells, the header has {len(header)}",
                        path=path,
                        line=before + rows.line_num,
                        fix=f"a cell that holds {delimiter!r} must be quoted" if delimiter != "\t" else None,
                    )
                yield before + rows.line_num, dict(zip(header, row, strict=True))
        except csv.Error as e:
            raise DataError(f"not a valid table: {e}", path=path, line=before + rows.line_num) from None


def _check_header(header: list[str], columns: Sequence[str], path: Path, delimiter: str, line: int) -> None:
    for column in columns:
        if column not in header:
            hint = (
                did_you_mean(column, header)
                if len(header) > 1
                else f"the delimiter is taken to be {delimiter!r}; set `delimiter`"
            )
            raise DataError(f"has no column '{column}'", path=path, line=line, fix=hint)
    for column in header:
        if header.count(column) > 1:
            raise DataError(f"has two columns '{column}'", path=path, line=line)
