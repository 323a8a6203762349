"""Files in Rich Release Format, written in blocks of rows that are built column by column."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from synthetic_umls_names import Numbers

__all__ = ["COLUMNS", "Table", "fixed", "letters", "pick"]

COLUMNS = {
    "MRCONSO": "CUI,LAT,TS,LUI,STT,SUI,ISPREF,AUI,SAUI,SCUI,SDUI,SAB,TTY,CODE,STR,SRL,SUPPRESS,CVF",
    "MRSTY": "CUI,TUI,STN,STY,ATUI,CVF",
    "MRDEF": "CUI,AUI,ATUI,SATUI,SAB,DEF,SUPPRESS,CVF",
    "MRSAB": "VCUI,RCUI,VSAB,RSAB,SON,SF,SVER,VSTART,VEND,IMETA,RMETA,SLC,SCC,SRL,TFR,CFR,CXTY,TTYL,ATNL,LAT,CENC,"
    "CURVER,SABIN,SSN,SCIT",
    "MRCUI": "CUI1,VER,REL,RELA,MAPREASON,CUI2,MAPIN",
    "MRREL": "CUI1,AUI1,STYPE1,REL,CUI2,AUI2,STYPE2,RELA,RUI,SRUI,SAB,SL,RG,DIR,SUPPRESS,CVF",
    "MRRANK": "RANK,SAB,TTY,SUPPRESS",
    "MRFILES": "FIL,DES,FMT,CLS,RWS,BTS",
}
"""Name of a file -> its columns."""


class Table:
    """A file of the release while it is written; counts its rows and bytes."""

    def __init__(self, folder: Path, name: str, *, compress: bool) -> None:
        self.name, self.rows, self.bytes = name, 0, 0
        self._raw = (folder / f"{name}.RRF{'.gz' if compress else ''}").open("wb")
        # neither name nor time of the file, so that the same rows are the same bytes
        self._out: BinaryIO = gzip.GzipFile("", "wb", 5, self._raw, mtime=0) if compress else self._raw  # type: ignore[assignment]

    def __enter__(self) -> Table:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._out.close()
        self._raw.close()

    def write(self, rows: pa.Array) -> None:
        """Write rows that end in a line feed."""
        if len(rows):
            start, *_, end = np.frombuffer(rows.buffers()[1], np.int32)[[rows.offset, rows.offset + len(rows)]]
            self._put(memoryview(rows.buffers()[2])[start:end], len(rows))

    def write_lines(self, rows: Sequence[str]) -> None:
        """Write rows without their line feeds."""
        self._put("".join(f"{row}\n" for row in rows).encode(), len(rows))

    def _put(self, data: Any, rows: int) -> None:
        self._out.write(data)
        self.rows += rows
        self.bytes += len(data)


def fixed(*parts: str | tuple[str, Numbers, int] | npt.NDArray[np.uint8]) -> pa.Array:
    """Return strings of one length, put together of constants, (letter, numbers, digits) and ASCII letters a row."""
    n = next(len(p[1] if isinstance(p, tuple) else p) for p in parts if not isinstance(p, str))
    columns: list[npt.NDArray[np.uint8]] = []
    for part in parts:
        if isinstance(part, str):
            columns.append(np.broadcast_to(np.frombuffer(part.encode(), np.uint8), (n, len(part))))
        elif isinstance(part, tuple):
            letter, rest, digits = part
            block = np.empty((n, digits + 1), np.uint8)
            block[:, 0] = ord(letter)
            for place in range(digits, 0, -1):
                rest, digit = np.divmod(rest, 10)
                block[:, place] = digit + 48
            columns.append(block)
        else:
            columns.append(part.reshape(n, -1))
    table = np.concatenate(columns, axis=1)
    offsets = np.arange(n + 1, dtype=np.int32) * table.shape[1]
    return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(table))


def pick(texts: Sequence[str], numbers: npt.NDArray[Any]) -> pa.Array:
    """Return the texts with some numbers."""
    return pa.array(texts, pa.string()).take(pa.array(numbers))


def letters(texts: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return equally long ASCII texts as rows of letters."""
    return np.array([list(text.encode()) for text in texts], np.uint8)
