"""RRF, the Rich Release Format of UMLS and RxNorm: which files a release has, and their columns.

As described in the UMLS Reference Manual, chapter 3 (Metathesaurus: Rich Release Format), and in the RxNorm Technical
Documentation. Rows end in a delimiter; there is no header, no quoting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from xnorm.delimited import read_blocks
from xnorm.errors import DataError

__all__ = ["COLUMNS", "Release"]

_CONSO = "LAT TS LUI STT SUI ISPREF {0}AUI SAUI SCUI SDUI SAB TTY CODE STR SRL SUPPRESS CVF"
_REL = "{0}CUI1 {0}AUI1 STYPE1 REL {0}CUI2 {0}AUI2 STYPE2 RELA RUI SRUI SAB SL {1} SUPPRESS CVF"
_SAB = (
    "VCUI RCUI VSAB RSAB SON SF SVER VSTART VEND IMETA RMETA SLC SCC SRL TFR CFR CXTY TTYL ATNL LAT CENC CURVER SABIN "
    "SSN SCIT"
)

COLUMNS = {
    name: columns.split()
    for name, columns in {
        "MRCONSO": "CUI " + _CONSO.format(""),
        "MRSTY": "CUI TUI STN STY ATUI CVF",
        "MRDEF": "CUI AUI ATUI SATUI SAB DEF SUPPRESS CVF",
        "MRSAB": _SAB,
        "MRCUI": "CUI1 VER REL RELA MAPREASON CUI2 MAPIN",
        "MRREL": _REL.format("", "RG DIR"),
        "MRRANK": "RANK SAB TTY SUPPRESS",
        "MRFILES": "FIL DES FMT CLS RWS BTS",
        "RXNCONSO": "RXCUI " + _CONSO.format("RX"),
        "RXNSTY": "RXCUI TUI STN STY ATUI CVF",
        "RXNREL": _REL.format("RX", "DIR RG"),
        "RXNCUI": "CUI1 VER_START VER_END CARDINALITY CUI2",
    }.items()
}
"""File -> its columns, in order."""

_VERSION = re.compile(r"release\.name\s*=\s*(\S+)|^(\d{4}[A-Z]{2})\b", re.MULTILINE)


class Release:
    """The files of a release: a folder, the folder with META or rrf in it, or one of the files."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            DataError: it holds no file of a release.
        """
        self.path = path
        self._read: set[Path] = set()
        self.folder = self._folder(path)
        self._files = {p.name.upper().removesuffix(".GZ").removesuffix(".RRF"): p for p in self._rrf(self.folder)}
        if path.is_file():
            name = path.name.upper().removesuffix(".GZ").removesuffix(".RRF")
            if name not in COLUMNS:
                raise DataError("is no file of a release", path=path, fix="name MRCONSO.RRF, or the folder it is in")
            self._files[name] = path
        if not self._files:
            raise DataError("holds no file like MRCONSO.RRF or RXNCONSO.RRF", path=path, fix=_UNPACK)

    @staticmethod
    def _rrf(folder: Path) -> list[Path]:
        found = (p for p in folder.iterdir() if p.is_file())
        return sorted((p for p in found if p.name.upper().removesuffix(".GZ").endswith(".RRF")), reverse=True)

    @classmethod
    def _folder(cls, path: Path) -> Path:
        if path.is_file():
            return path.parent
        inside = [path, *(p for p in sorted(path.iterdir()) if p.is_dir() and p.name.lower() in ("meta", "rrf"))]
        return next((folder for folder in inside if cls._rrf(folder)), path)

    def paths(self) -> list[Path]:
        """Return the files that were read."""
        return sorted(self._read)

    def find(self, name: str) -> Path | None:
        """Return a file, `MRSTY`, or None."""
        return self._files.get(name)

    def need(self, name: str, why: str) -> Path:
        """Return a file.

        Raises:
            DataError: it is not there; the message says what needs it.
        """
        path = self.find(name)
        if path is None:
            there = ", ".join(sorted(self._files)[:12])
            raise DataError(
                f"has no {name}.RRF, which {why}; it has: {there}", path=self.folder,
                fix="put the file there, plain or gzip, or take the setting out",
            )  # fmt: skip
        return path

    def rows(
        self, name: str, keep: dict[str, pa.DataType], *, why: str, skip: Callable[[str, str], None]
    ) -> Iterator[pa.Table]:
        """Yield the rows of a file as `xnorm.delimited.read_blocks` does.

        Args:
            skip: called with a reason and the place of each row that cannot be read.
        """
        path = self.need(name, why)
        self._check_length(path)
        self._read.add(path)
        return read_blocks(
            path,
            COLUMNS[name],
            keep,
            skip=lambda reason, line: skip(reason, f"{path.name}:{line}"),
            empty_ok=not name.endswith("CONSO"),
        )

    def _check_length(self, path: Path) -> None:
        """Refuse a file that is shorter than the release says; of one that is packed nobody says how long it is."""
        found, size = path.stat().st_size, self._sizes.get(path.name, 0)
        if found < size and path.suffix.lower() != ".gz":
            raise DataError(
                f"has {found:,} bytes where MRFILES.RRF says {size:,}: it was cut off",
                path=path,
                fix="unpack the release again; if it is a part on purpose, take MRFILES.RRF away",
            )

    @cached_property
    def _sizes(self) -> dict[str, int]:
        """Bytes of each file, as far as the release says."""
        listed = self.find("MRFILES")
        if listed is None:
            return {}
        columns = {"FIL": pa.string(), "BTS": pa.string()}
        tables = read_blocks(listed, COLUMNS["MRFILES"], columns, skip=lambda *_: None, empty_ok=True)
        rows = (row for table in tables for row in table.to_pylist())
        return {row["FIL"]: int(row["BTS"]) for row in rows if row["BTS"].isdecimal()}

    def version(self) -> str | None:
        """Return the name of the release, `2026AA`, where a file `release.dat` tells it."""
        for folder in (self.folder, self.folder.parent):
            file = folder / "release.dat"
            if file.is_file() and (found := _VERSION.search(file.read_text(encoding="utf-8", errors="replace")[:4096])):
                return found[1] or found[2]
        return None


_UNPACK = "unpack the release, and name its folder or the folder META in it"
