"""Releases of SNOMED CT in Release Format 2: their files, in a folder or a zip archive, as columns of ids.

The format is SNOMED International's (SNOMED CT Release File Specifications, https://docs.snomed.org). Files are
named `sct2_Description_Snapshot-en_INT_20260101.txt`: content, kind (Full has every state of a row, Snapshot the last,
Delta the changes), language, edition, date. A row is the state of a component since its `effectiveTime`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.archives import Member, list_members
from xnorm.delimited import TAG, read_blocks
from xnorm.errors import DataError
from xnorm.files import lies_below

__all__ = ["CONTENTS", "Ids", "ReleaseFile", "Skip", "find_files", "read_rows", "rows_of", "wrong_check_digit"]

Ids = npt.NDArray[np.int64]
"""SNOMED CT ids: whole numbers of at most 18 digits."""
Kind = Literal["Full", "Snapshot", "Delta"]

_ROW = ("id", "effectiveTime", "active")
_TERM = (*_ROW, "moduleId", "conceptId", "languageCode", "typeId", "term")
_MEMBER = (*_ROW, "refsetId", "referencedComponentId")
CONTENTS: Mapping[str, Sequence[str]] = {
    "Concept": (*_ROW, "moduleId"),
    "Description": _TERM,
    "TextDefinition": _TERM,
    "Relationship": (*_ROW, "sourceId", "destinationId", "typeId"),
    "Language": (*_MEMBER, "acceptabilityId"),
    "Association": (*_MEMBER, "targetComponentId"),
    "AttributeValue": (*_MEMBER, "valueId"),
}
"""Content of a file -> the columns that are read."""
_FEW = {"effectiveTime", "active", "moduleId", "languageCode", "typeId", "refsetId", "acceptabilityId", "valueId"}
"""Columns with few distinct values."""

_NAME = re.compile(r"x?(?:sct2|der2)_(Concept|Description|TextDefinition|Relationship|cRefset)_(.+)\.txt(?:\.gz)?")
_REFSET = re.compile("(Language|Association|AttributeValue)(?:Reference)?")
_KIND = re.compile("Full|Snapshot|Delta")
_DATE = re.compile(r"_?(\d{8})(?:T\d*Z?)?$")


class Skip(Protocol):
    """Counts what is left out, as `SourceReport.skip` does."""

    def __call__(self, reason: str, where: str | None = None, count: int = 1) -> None: ...


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file of a release, and what its name says."""

    file: Path | Member
    content: str
    """A key of `CONTENTS`."""
    kind: Kind
    stem: str
    """What files of one content, edition and language have in common, whatever their kind and date."""
    edition: str
    """As in `INT`, `DE1000274`."""
    date: str
    """YYYYMMDD; empty where the name has none."""


def find_files(
    path: Path, kind: Literal["Full", "Snapshot"], *, fallback: bool, skip: Skip | None = None
) -> list[ReleaseFile]:
    """Return the files of a release whose content is known, those of the international edition first.

    Args:
        path: an unpacked release, or its zip archive; several editions may lie in one folder.
        kind: of the files to take.
        fallback: whether to take the other kind where an edition has none of these.
        skip: counts links that lead out of the folder, which are left out.

    Raises:
        DataError: no such folder, no such file in it, two releases of one edition, or as `list_members`.
    """
    everything: list[Path | Member] = list(list_members(path) if path.is_file() else _list_folder(path, skip))
    known = sorted(
        (one for file in everything if (one := _parse_name(file))),
        key=lambda one: (not one.edition.endswith("INT"), one.edition, one.stem, str(one.file)),
    )
    found: dict[tuple[str, Kind], ReleaseFile] = {}
    for one in known:
        other = found.setdefault((one.stem, one.kind), one)
        if other is not one:
            problem = f"holds two files of one kind: {other.file} and {one.file}"
            raise DataError(problem, path=path, fix="give the folder of one release as `path`")
    kinds: list[Kind] = [kind, "Full" if kind == "Snapshot" else "Snapshot"] if fallback else [kind]
    stems = dict.fromkeys(one.stem for one in known)
    files = [next((found[stem, k] for k in kinds if (stem, k) in found), None) for stem in stems]
    if not any(files):
        only = " and ".join(sorted({one.kind for one in known}))
        raise DataError(
            f"has no {' or '.join(kinds)} files of SNOMED CT, such as sct2_Concept_{kind}_INT_20260101.txt; "
            f"found {f'only {only} files' if only else _some_names(everything)}",
            path=path, fix="give the folder of an unpacked RF2 release, or its zip archive",
        )  # fmt: skip
    return [one for one in files if one is not None]


def _list_folder(folder: Path, skip: Skip | None) -> Iterator[Path]:
    if not folder.is_dir():
        raise DataError("no such file or folder", path=folder)
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        if lies_below(path, folder):
            yield path
        elif skip is not None:
            skip("link that leads out of the folder", path.name)


def _some_names(files: Sequence[Path | Member]) -> str:
    names = sorted({file.name for file in files})
    return (", ".join(names[:5]) or "no files") + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _parse_name(file: Path | Member) -> ReleaseFile | None:
    match = _NAME.fullmatch(file.name)
    kind = _KIND.search(match[2]) if match else None
    if match is None or kind is None:
        return None
    content, rest = match[1], match[2]
    date = _DATE.search(rest)
    plain = rest[: date.start()] if date else rest
    subset, after = plain[: kind.start()], plain[kind.end() :]
    if content == "cRefset":
        refset = _REFSET.search(subset)
        if refset is None:
            return None
        content, subset = refset[1], subset.replace(refset[0], "")
    edition = f"{subset.strip('_')} {after.rpartition('_')[2]}".strip()
    stem = f"{content}_{subset}_{after}"
    return ReleaseFile(file, content, cast(Kind, kind[0]), stem, edition, date[1] if date else "")


def read_rows(
    files: Sequence[ReleaseFile],
    *contents: str,
    skip: Skip,
    only: Mapping[str, int] | None = None,
    until: int | None = None,
) -> pa.Table:
    """Return the newest row of each id, sorted by id if that is one of SNOMED CT; of two as new the one read later.

    Args:
        files: of a release, and of its extensions after it.
        contents: which of them to read, of the same columns.
        only: columns, and the id that rows must have there; one that never changes while a component lives.
        until: leave out what came later, YYYYMMDD.

    Returns:
        The columns of the content: ids, `effectiveTime` and `active` (0 or 1) as int64, `term` as large strings,
        `languageCode` in one dictionary. Members of reference sets have the halves of a UUID as `id` and `id_low`.

    Raises:
        DataError: most rows of a block have no ids where they should, or as `read_blocks`.
    """
    tables = [_no_rows(contents[0])]
    tables += [_newest_of_file(file, skip, only or {}, until) for file in files if file.content in contents]
    table = pa.concat_tables(tables).unify_dictionaries()
    return (table if len(tables) == 2 else _newest(table)).combine_chunks()


def _no_rows(content: str) -> pa.Table:
    keep = {c: TAG if c in _FEW else pa.string() for c in CONTENTS[content]}
    empty = pa.table({c: pa.array([], t) for c, t in keep.items()})
    return _convert(empty, ReleaseFile(Path(), content, "Snapshot", "", "", ""), lambda *_: None)


def _newest_of_file(file: ReleaseFile, skip: Skip, only: Mapping[str, int], until: int | None) -> pa.Table:
    columns = CONTENTS[file.content]
    keep = {c: TAG if c in _FEW else pa.string() for c in columns}
    path = cast(Path, file.file)  # a member opens like one

    def bad_row(reason: str, line: int) -> None:
        skip(reason, f"{path.name}:{line}")

    tables = [_no_rows(file.content)]
    for block in read_blocks(path, columns, keep, skip=bad_row, delimiter="\t", header=True):
        table = _convert(block, file, bad_row)
        conditions = [pc.equal(table.column(column), value) for column, value in only.items()]
        if until is not None:
            conditions.append(pc.less_equal(table.column("effectiveTime"), until))
        tables.append(table.filter(reduce(pc.and_, conditions)) if conditions else table)
    table = pa.concat_tables(tables).unify_dictionaries()
    newest = _newest(table)
    if file.kind == "Snapshot":
        skip("older row of an id in a Snapshot file", path.name, table.num_rows - newest.num_rows)
    return newest


def _convert(block: pa.Table, file: ReleaseFile, bad_row: Callable[[str, int], None]) -> pa.Table:
    """Return a block with numbers in the place of ids; rows without some are counted.

    Raises:
        DataError: most rows are such.
    """
    columns: dict[str, Any] = {}
    good = np.ones(block.num_rows, bool)
    for name in CONTENTS[file.content]:
        column = block.column(name)
        if name in ("term", "languageCode"):
            columns[name] = column.cast(pa.large_string()) if name == "term" else column
            continue
        if name == "id" and "refsetId" in block.column_names:
            columns["id"], columns["id_low"], fits = _uuids(column)
        else:
            columns[name] = numbers = _integers(column, dated=name == "effectiveTime")
            fits = (numbers >= 0) & (numbers <= 1) if name == "active" else numbers >= 0
        bad = np.flatnonzero(good & ~fits).tolist()
        reason = f"row with a bad value of {name}"
        if len(bad) > 10 + len(good) / 2:
            found, line = column[bad[0]].as_py(), block.column("line")[bad[0]].as_py()
            problem = f"bad value of {name}: {found[:40]!r}, and {len(bad):,} rows like it"
            raise DataError(problem, path=str(file.file), line=line)
        for at in bad:
            bad_row(reason, block.column("line")[at].as_py())
        good &= fits
    table = pa.table(columns)
    return table if good.all() else table.filter(pa.array(good))


def _newest(table: pa.Table) -> pa.Table:
    """Return the newest row of each id: sorted by SNOMED CT id, or members of reference sets in their order."""
    identifier = table.column("id").to_numpy()
    member = "id_low" in table.column_names
    if (identifier[1:] > identifier[:-1]).all():
        return table
    if member and (np.diff(np.sort(identifier)) != 0).all():
        return table
    keys = [identifier, *([table.column("id_low").to_numpy()] if member else [])]
    order = np.lexsort((table.column("effectiveTime").to_numpy(), *keys))
    last = np.ones(len(order), bool)
    last[:-1] = reduce(np.logical_or, [np.diff(key[order]) != 0 for key in keys])
    return table.take(np.sort(order[last]) if member else order[last])


def _integers(column: pa.ChunkedArray, *, dated: bool = False) -> Ids:
    """Return numbers of at most 18 digits, and -1 for what is none; of times the date."""
    parts = [np.empty(0, np.int64)]
    for chunk in column.chunks:
        few = pa.types.is_dictionary(chunk.type)
        words = chunk.dictionary if few else chunk
        if dated:
            words = pc.replace_substring_regex(words, r"^(\d{8})T\d{6}Z$", r"\1")
        try:
            numbers = words.cast(pa.int64()).to_numpy(zero_copy_only=False)
        except pa.ArrowInvalid:
            good = pc.match_substring_regex(words, r"^\d{1,18}$")
            numbers = pc.if_else(good, words, "-1").cast(pa.int64()).to_numpy(zero_copy_only=False)
        least, most = (10**7, 10**8) if dated else (0, 10**18)
        numbers = np.where((numbers >= least) & (numbers < most), numbers, -1)
        parts.append(numbers[chunk.indices.to_numpy(zero_copy_only=False)] if few else numbers)
    return np.concatenate(parts)


_HEX = np.full(256, 255, np.uint8)
_HEX[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_HEX[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
_HYPHENS = [8, 13, 18, 23]
_DIGITS = [at for at in range(36) if at not in _HYPHENS]
"""Where a UUID has hyphens, and where digits."""


def _uuids(column: pa.ChunkedArray) -> tuple[Ids, Ids, npt.NDArray[np.bool_]]:
    """Return both halves of UUIDs, and which are some."""
    right = pc.equal(pc.binary_length(column), 36)
    if not pc.all(right).as_py():
        column = pc.if_else(right, column, "-" * 36)
    letters = np.concatenate([np.empty((0, 36), np.uint8), *(_letters(chunk) for chunk in column.chunks)])
    digits = _HEX[letters[:, _DIGITS]]
    halves = np.ascontiguousarray((digits[:, 0::2] << 4) | digits[:, 1::2]).view(">i8").astype(np.int64)
    fits = (digits < 16).all(axis=1) & (letters[:, _HYPHENS] == ord("-")).all(axis=1)
    return halves[:, 0], halves[:, 1], fits


def _letters(chunk: pa.StringArray) -> npt.NDArray[np.uint8]:
    """Return the bytes of strings of 36 bytes, shape (strings, 36)."""
    _, offsets, data = chunk.buffers()
    if not len(chunk):
        return np.empty((0, 36), np.uint8)
    start = int(np.frombuffer(offsets, np.int32)[chunk.offset])
    return np.frombuffer(data, np.uint8)[start : start + 36 * len(chunk)].reshape(-1, 36)


def rows_of(wanted: Ids, ids: Ids) -> Ids:
    """Return the place of each wanted id among sorted ids, or -1."""
    if not len(ids):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)


def _dihedral() -> npt.NDArray[np.int8]:
    """Return the multiplication table of the symmetries of a pentagon: 0 to 4 turn it, 5 to 9 turn it over."""
    j, k = np.indices((10, 10))
    turned = np.where(j < 5, j + k, j - k) % 5
    return np.asarray(turned + 5 * ((j >= 5) ^ (k >= 5)), np.int8)


_PRODUCT = _dihedral()
_STEP = np.array([1, 5, 7, 6, 2, 8, 3, 0, 9, 4], np.int8)


def wrong_check_digit(ids: Ids) -> npt.NDArray[np.bool_]:
    """Return which of sorted ids have a last digit that does not follow from the others by Verhoeff's method.

    J. Verhoeff, Error Detecting Decimal Codes, 1969.
    """
    check, place = np.zeros(len(ids), np.int8), np.arange(10, dtype=np.int8)
    rest, start = ids, 0
    while len(rest):
        rest, digits = np.divmod(rest, 10)
        check[start:] = _PRODUCT[check[start:], place[digits]]
        place = _STEP[place]
        more = int(np.searchsorted(rest, 1))
        rest, start = rest[more:], start + more
    return np.asarray(check != 0)
