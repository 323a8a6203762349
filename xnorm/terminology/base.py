"""The contract of a terminology parser: a source in, raw concepts and a report out."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TextIO

from xnorm.config import ComponentConfig, InputPath
from xnorm.errors import DataError

__all__ = ["Parser", "RawConcept", "RawName", "SourceConfig", "SourceReport", "open_text"]


class SourceConfig(ComponentConfig):
    """What every source has."""

    seam: ClassVar[str] = "terminology"

    path: InputPath
    """The file to read; gzip (`.gz`) is unpacked on the way."""
    name: str | None = None
    """What the source is called in results; default: the file name without its endings."""
    lang: str = "en"
    """Language of names that carry none of their own."""
    prefix: str | None = None
    """CURIE prefix put before ids that have none: with `ICD10`, `I50` becomes `ICD10:I50`."""
    langs: list[str] | None = None
    """Keep only names in these languages; default: all."""
    scopes: list[Literal["preferred", "exact", "narrow", "broad", "related"]] | None = None
    """Keep only names of these scopes; default: all."""
    types: list[str] | None = None
    """Keep only concepts with one of these types; default: all."""
    overlay: bool = False
    """Only lay names over concepts of earlier sources; add no concepts."""
    duplicates: Literal["error", "merge"] = "error"
    """What to do when one id comes with two preferred names in one language: refuse, or keep the first as preferred
    and the other as an exact name."""

    @property
    def label(self) -> str:
        """The source's name in results."""
        return self.name or self.path.name.partition(".")[0]


@dataclass(slots=True)
class RawName:
    """A name as the source has it."""

    text: str
    lang: str
    scope: str = "exact"


@dataclass(slots=True)
class RawConcept:
    """A concept as the source has it; `line` is where it stands in the file, for errors."""

    id: str
    names: list[RawName] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    xrefs: list[str] = field(default_factory=list)
    parents: list[str] = field(default_factory=list)
    definition: str | None = None
    line: int | None = None
    alt_ids: list[str] = field(default_factory=list)
    """Older ids that were merged into this one."""
    retired: bool = False
    """Whether the source has withdrawn the concept: its names are not indexed, its id is resolved to `replaced_by`."""
    replaced_by: list[str] = field(default_factory=list)


@dataclass(slots=True)
class SourceReport:
    """What was read from one source, and what was not, with the first places of each reason."""

    source: str
    path: str
    version: str | None = None
    read: int = 0
    concepts: int = 0
    names: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, reason: str, where: str | int | None = None, count: int = 1) -> None:
        """Count something that was left out.

        Args:
            reason: why, in words that fit "N skipped: ...".
            where: a line number or an id; the first three of each reason are kept.
        """
        self.skipped[reason] += count
        places = self.examples.setdefault(reason, [])
        if where is not None and len(places) < 3:
            places.append(f"line {where}" if isinstance(where, int) else where)


class Parser(ABC):
    """Reads one source. A variant says how to read it in `read`, and declares its parameters in `config_class`."""

    config_class: ClassVar[type[SourceConfig]] = SourceConfig

    def __init__(self, config: SourceConfig) -> None:
        self.config = config

    @abstractmethod
    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the concepts in the source's order; count in `report.skip` what is left out.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a record that cannot be understood.
        """

    def curie(self, identifier: str) -> str:
        """Return an id with the configured prefix, unless it has one."""
        prefix = self.config.prefix
        return identifier if prefix is None or ":" in identifier else f"{prefix}:{identifier}"


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file, gzip or plain, with or without a byte order mark, with universal line ends.

    Raises:
        DataError: missing, a folder, empty, not UTF-8 (with the line), or a damaged gzip file. Errors that arise
            while the caller reads are turned into a `DataError`, too.
    """
    try:
        if path.is_dir():
            raise DataError("is a folder, expected a file", path=path)
        with path.open("rb") as raw:
            head = raw.read(4)
            if not head:
                raise DataError("is empty", path=path)
            raw.seek(0)
            plain = gzip.GzipFile(fileobj=raw) if head[:2] == b"\x1f\x8b" else raw
            if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise DataError("is UTF-16", path=path, fix="convert it to UTF-8 (iconv -f utf-16 -t utf-8)")
            yield io.TextIOWrapper(plain, encoding="utf-8-sig", newline=None)  # type: ignore[type-var]
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
    with path.open("rb") as raw:
        plain = gzip.GzipFile(fileobj=raw) if raw.read(2) == b"\x1f\x8b" else raw
        raw.seek(0)
        for number, line in enumerate(plain, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None
