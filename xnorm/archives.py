"""Files in a zip archive from outside, read where they are: nothing is unpacked to disk."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from xnorm.errors import DataError

__all__ = ["Member", "list_members"]

RATIO = 200
"""What a zip archive packs more than this many times smaller is no data, but made to fill the memory."""
LARGEST = 1 << 35
"""Bytes of a file, unpacked."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip archive; to be opened and shown like a `Path`."""

    archive: Path
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """Name without its folder."""
        return PurePosixPath(self.info.filename.replace("\\", "/")).name

    def __str__(self) -> str:
        return f"{self.archive}/{self.info.filename}"

    def open(self, _mode: str = "rb") -> MemberFile:
        """Open the file for reading bytes.

        Raises:
            DataError: it is encrypted, unpacks to more than is likely, or is packed in a way that Python does not know.
        """
        size, packed = self.info.file_size, self.info.compress_size
        if size > LARGEST or size > RATIO * max(packed, 1 << 16):
            problem = f"unpacks from {packed:,} to {size:,} bytes, which is not likely to be data"
            raise DataError(problem, path=str(self), fix="do not trust the archive, or unpack it yourself")
        try:
            with zipfile.ZipFile(self.archive) as archive:  # the open file outlives it
                return MemberFile(archive.open(self.info), self)
        except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as e:
            raise DataError(f"cannot be unpacked: {e}", path=str(self), fix="unpack it to a folder yourself") from None


class MemberFile:
    """A file of an archive while it is read: no further than the size that was checked; damage is a `DataError`."""

    def __init__(self, file: IO[bytes], member: Member) -> None:
        self._file, self._member = file, member

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except (zipfile.BadZipFile, zlib.error, EOFError) as e:
            raise DataError(f"is damaged: {e}", path=str(self._member), fix="fetch the zip archive again") from None

    def peek(self, size: int = 1) -> bytes:
        """Return the next bytes without moving on."""
        try:
            return bytes(getattr(self._file, "peek")(size))  # noqa: B009
        except (zipfile.BadZipFile, zlib.error, EOFError) as e:
            raise DataError(f"is damaged: {e}", path=str(self._member), fix="fetch the zip archive again") from None

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> MemberFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def list_members(path: Path) -> Iterator[Member]:
    """Yield the files of a zip archive; what macOS puts beside them is passed over.

    Raises:
        DataError: not a zip archive, cut off, or it holds a name that leads outside.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (OSError, zipfile.BadZipFile, NotImplementedError) as e:
        fix = "if it is one, it was cut off: fetch it again"
        raise DataError(f"cannot be read as a zip archive: {e}", path=path, fix=fix) from None
    for info in infos:
        parts = info.filename.replace("\\", "/").split("/")
        if ".." in parts or not parts[0] or parts[0].endswith(":"):
            raise DataError(
                f"holds a name that leads outside: {info.filename[:80]!r}", path=path, fix="do not trust it"
            )
        if not info.is_dir() and parts[0] != "__MACOSX" and not parts[-1].startswith("."):
            yield Member(path, info)
