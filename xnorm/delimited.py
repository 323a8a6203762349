"""Large delimited files (RRF, RF2) as Arrow tables, block by block; bad rows are counted with their lines."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from xnorm.errors import DataError
from xnorm.system import processors

__all__ = ["TAG", "read_blocks"]

TAG = pa.dictionary(pa.int32(), pa.string())
"""Type of a column with few distinct values."""
BLOCK = 1 << 25
"""Bytes of a block, which is made longer if a row does not fit."""
LONGEST = 10**8
"""Bytes of the longest row."""
Bad = tuple[str, int]
"""What is wrong with a row, and its line."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is written."""

    path: Path
    columns: Sequence[str]
    """All columns of a row, in order."""
    keep: dict[str, pa.DataType]
    """Columns to read, and their types: strings, or `TAG`."""
    delimiter: str
    trailing: bool
    """Whether a row ends with a delimiter, too."""


def read_blocks(
    path: Path,
    columns: Sequence[str],
    keep: dict[str, pa.DataType],
    *,
    skip: Callable[[str, int], None],
    delimiter: str = "|",
    header: bool = False,
    trailing: bool | None = None,
    empty_ok: bool = False,
) -> Iterator[pa.Table]:
    """Yield the rows of a UTF-8 file without quotes or escapes, plain or gzip, with line feeds or CRLF.

    Args:
        columns: all columns of a row, in their order. Where there is a header, it must name these, among others, in any
            order.
        keep: columns wanted -> type: `pa.string()`, or `TAG` for few distinct values.
        skip: called with a reason and a line for each row that has too few or too many columns, or is not UTF-8.
        header: whether the first line names the columns.
        trailing: whether rows end in a delimiter, too; None: as most of the first ones do.
        empty_ok: whether an empty file is one without rows and not an error.

    Yields:
        Tables with the columns of `keep` in that order, and `line` (int64, from 1).

    Raises:
        DataError: missing, empty, UTF-16, damaged gzip, another header, or most rows of a block are bad.
    """
    yield pa.schema([*keep.items(), ("line", pa.int64())]).empty_table()
    if empty_ok and path.is_file() and not path.stat().st_size:
        return
    with _opened(path) as file:
        blocks = _blocks(file, path)
        number, first = next(blocks, (1, b""))
        if first[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise DataError("is UTF-16", path=path, fix="convert it to UTF-8 (iconv -f utf-16 -t utf-8)")
        first = first.removeprefix(codecs.BOM_UTF8)
        if header:
            line, _, first = first.partition(b"\n")
            columns, number = _header(line, columns, delimiter, path), 2
        # any line may be a bad one, the first, too
        counts = Counter(line.count(delimiter.encode()) for line in first.split(b"\n", 1000)[:1000])
        if trailing is None:
            trailing = counts[len(columns)] > counts[len(columns) - 1]
        layout = Layout(path, columns, keep, delimiter, trailing)
        # a file may end with its header
        for table, bad in _parsed(_chain((number, first), blocks) if first else blocks, layout):
            for reason, line_number in bad:
                skip(reason, line_number)
            yield table


def _chain(first: tuple[int, bytes], rest: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield first
    yield from rest


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked on the way."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except OSError as e:
        raise DataError(f"cannot be read: {e.strerror or e}", path=path) from None
    with file:
        head = file.peek(2)[:2]
        if not head:
            raise DataError("is empty", path=path)
        if head == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as plain:
                yield cast(BinaryIO, plain)
        else:
            yield file


def _blocks(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines, with the number of their first line."""
    number, rest = 1, b""
    while True:
        try:
            read = file.read(BLOCK)
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise DataError(f"is a damaged gzip file: {e}", path=path, fix="fetch it again") from None
        except OSError as e:
            raise DataError(f"cannot be read: {e.strerror or e}", path=path) from None
        if not read:
            if rest:
                yield number, rest + b"\n"
            return
        end = read.rfind(b"\n") + 1
        if not end:
            rest += read
            if len(rest) > LONGEST:
                raise DataError("has a line of more than 100 MB", path=path, line=number, fix="is it a text file?")
            continue
        block, rest = rest + read[:end], read[end:]
        yield number, block
        number += block.count(b"\n")


def _parsed(blocks: Iterator[tuple[int, bytes]], layout: Layout) -> Iterator[tuple[pa.Table, list[Bad]]]:
    """Parse blocks in threads, in their order, a few ahead."""
    with ThreadPoolExecutor(processors()) as pool:
        ahead: list[Future[tuple[pa.Table, list[Bad]]]] = []
        for number, block in blocks:
            ahead.append(pool.submit(_parse, block, number, layout))
            if len(ahead) > processors():
                yield ahead.pop(0).result()
        while ahead:
            yield ahead.pop(0).result()


def _parse(block: bytes, number: int, layout: Layout) -> tuple[pa.Table, list[Bad]]:
    """Return the rows of a block, and what is wrong with the others; a line without any text is no row."""
    if block.count(b"\r") != block.count(b"\r\n"):
        block = re.sub(rb"\r(?!\n)", b" ", block)  # a line end for Arrow, but not for us
    lines = np.arange(number, number + block.count(b"\n"))
    bad: list[Bad] = []
    if block[:1] in (b"\n", b"\r") or b"\n\n" in block or b"\n\r\n" in block or not _is_utf8(block):
        texts = block.split(b"\n")[:-1]
        broken = [not _is_utf8(text) for text in texts]
        bad = [("row that is not UTF-8", number + at) for at in np.flatnonzero(broken).tolist()]
        kept = [bool(text.strip(b"\r")) and not wrong for text, wrong in zip(texts, broken, strict=True)]
        lines, block = lines[kept], b"".join(text + b"\n" for text, keep in zip(texts, kept, strict=True) if keep)
    table, wrong_rows = _read(block, lines, layout)
    bad = sorted([*bad, *wrong_rows], key=lambda found: found[1])
    if len(bad) > 10 + table.num_rows:
        reason, line = bad[0]
        raise DataError(f"{reason}, and {len(bad):,} rows like it", path=layout.path, line=line)
    return table, bad


def _read(block: bytes, lines: npt.NDArray[np.int64], layout: Layout) -> tuple[pa.Table, list[Bad]]:
    """Parse rows; `lines` has the line of each."""
    bad: list[Bad] = []
    skipped: list[int] = []
    if not len(lines):
        return pa.schema([*layout.keep.items(), ("line", pa.int64())]).empty_table(), bad

    def wrong(row: csv.InvalidRow) -> str:
        found = row.actual_columns - layout.trailing
        bad.append((f"row with {found} columns, expected {len(layout.columns)}", int(lines[row.number - 1])))
        skipped.append(row.number - 1)
        return "skip"

    names = [*layout.columns, *([""] if layout.trailing else [])]
    try:
        table = csv.read_csv(
            pa.BufferReader(block),
            read_options=csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1),
            parse_options=csv.ParseOptions(
                delimiter=layout.delimiter,
                quote_char=False,
                double_quote=False,
                escape_char=False,
                ignore_empty_lines=False,
                invalid_row_handler=wrong,
            ),
            convert_options=csv.ConvertOptions(include_columns=list(layout.keep), column_types=layout.keep),
        )
    except pa.ArrowInvalid as e:
        raise DataError(f"cannot be read: {e}", path=layout.path, line=int(lines[0])) from None
    return table.append_column("line", pa.array(np.delete(lines, skipped), pa.int64())), bad


def _is_utf8(text: bytes) -> bool:
    try:
        pa.array([text], pa.large_binary()).cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _header(line: bytes, columns: Sequence[str], delimiter: str, path: Path) -> list[str]:
    """Return the columns in the header's order."""
    found = line.decode("utf-8", "replace").rstrip("\r").split(delimiter)
    if missing := [c for c in columns if c not in found]:
        raise DataError(
            f"has no column '{missing[0]}'; its columns are: {', '.join(found)[:200]}", path=path, line=1,
            fix="is it a file of this kind?",
        )  # fmt: skip
    return found
