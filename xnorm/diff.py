"""What changed from one release of a terminology to the next, as a table with a row for each change.

Concepts and names are compared as sorted columns of numbers; ids are looked up once, names in blocks of concepts, so
that two releases of 17 million names can be compared.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.errors import ConfigError
from xnorm.files import suffix
from xnorm.markdown import table as markdown_table
from xnorm.output import open_output
from xnorm.registry import did_you_mean
from xnorm.replacements import Replacements
from xnorm.tables import Terminology, ranges

__all__ = ["CHANGES", "Diff", "check_output", "diff", "write_diff", "write_json"]

CHANGES = (
    "added",
    "restored",
    "replaced",
    "retired",
    "removed",
    "redirected",
    "forgotten",
    "renamed",
    "name added",
    "name removed",
    "scope changed",
    "type added",
    "type removed",
    "parent added",
    "parent removed",
    "xref added",
    "xref removed",
    "redefined",
)
"""What can happen. A new concept is `added`, or `restored` if its id was retired before. One that is no more is
`replaced` by concepts of the new release, `retired` without any, or `removed` without a trace. `redirected` is an id
that was retired before and leads elsewhere now, `forgotten` one that the new release knows no more. All else is of
concepts that both releases have."""
BLOCK = 1 << 18
"""Concepts whose names are compared at a time."""
EXAMPLES = 3

Ints = npt.NDArray[np.int64]
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "change": pa.dictionary(pa.int8(), pa.string()),
        "name": pa.large_string(),
        "lang": pa.string(),
        "old": pa.large_string(),
        "new": pa.large_string(),
        "reason": pa.string(),
    }
)


@dataclass(frozen=True, slots=True)
class Diff:
    """What changed."""

    changes: pa.Table
    """One row a change, sorted by id and then by the order of `CHANGES`: `id`; `change`; `name`, what the concept is
    called (in the new release, if it is there); `lang` of a name; what it was (`old`) and is (`new`): names, types,
    parents, xrefs, definitions, or the ids that replace it, joined by `|`; `reason` of a retirement, or which scope
    of a name became which."""
    old: Terminology
    new: Terminology

    def summary(self) -> dict[str, Any]:
        """Return plain data for JSON: the sizes of both, and for each change its number, its concepts and the first
        ids. `changed` are the concepts of both releases in which anything changed, `moved` those with other parents."""
        codes, ids = self.changes["change"].combine_chunks().indices.to_numpy(), self.changes["id"].combine_chunks()
        number = ids.dictionary_encode().indices.to_numpy() if len(ids) else np.empty(0, np.int32)
        counts: dict[str, dict[str, Any]] = {}
        for code, change in enumerate(CHANGES):
            rows = np.flatnonzero(codes == code)
            first = rows[np.unique(number[rows], return_index=True)[1]]
            shown = ids.take(pa.array(np.sort(first)[:EXAMPLES])).to_pylist()
            counts[change] = {"changes": len(rows), "concepts": len(first), "examples": shown}
        moved = np.isin(codes, [CHANGES.index("parent added"), CHANGES.index("parent removed")])
        return {
            "old": _about(self.old),
            "new": _about(self.new),
            "same": not len(codes),
            "changed": len(np.unique(number[codes >= CHANGES.index("renamed")])),
            "moved": len(np.unique(number[moved])),
            "changes": counts,
        }


def _about(terminology: Terminology) -> dict[str, Any]:
    return {
        "concepts": len(terminology),
        "names": terminology.n_names,
        "retired": terminology.retired.num_rows,
        "fingerprint": terminology.fingerprint,
    }


def diff(old: Terminology, new: Terminology) -> Diff:
    """Compare two releases of a terminology."""
    if old.fingerprint == new.fingerprint:
        return Diff(_SCHEMA.empty_table(), old, new)
    at = new.rows(_ids(old)).astype(np.int64)
    kept = np.flatnonzero(at >= 0)
    pairs = _Pairs(old, new, kept, at[kept])
    tables = [
        _arrived(old, new),
        _left(old, new, np.flatnonzero(at < 0)),
        _redirected(old, new),
        _forgotten(old, new),
        pairs.texts("renamed", "name"),
        *pairs.names(),
        *(pairs.lists(f"{column[:-1]}", column) for column in ("types", "parents", "xrefs")),
        pairs.texts("redefined", "definition"),
    ]
    changes = pa.concat_tables([table for table in tables if len(table)] or [_SCHEMA.empty_table()])
    changes = changes.unify_dictionaries().combine_chunks()
    keys = pa.table(
        {"id": changes["id"], "change": changes["change"].combine_chunks().indices, "at": np.arange(len(changes))}
    )
    order = pc.sort_indices(keys, sort_keys=[("id", "ascending"), ("change", "ascending"), ("at", "ascending")])
    return Diff(changes.take(order).combine_chunks(), old, new)


def _ids(terminology: Terminology, rows: Ints | None = None) -> pa.Array:
    ids = terminology.concepts.column("id").combine_chunks()
    return ids if rows is None else ids.take(pa.array(rows))


def _rows(change: str | npt.NDArray[np.int8], ids: pa.Array, **columns: Any) -> pa.Table:
    """Return rows of the table of changes."""
    codes = np.full(len(ids), CHANGES.index(change), np.int8) if isinstance(change, str) else change
    columns |= {"id": ids, "change": pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(CHANGES))}
    arrays = [columns.get(field.name, pa.nulls(len(ids), field.type)) for field in _SCHEMA]
    return pa.table(
        [a if a.type == f.type else a.cast(f.type) for a, f in zip(arrays, _SCHEMA, strict=True)], schema=_SCHEMA
    )


def _arrived(old: Terminology, new: Terminology) -> pa.Table:
    """Return the concepts that only the new release has."""
    rows = np.flatnonzero(old.rows(_ids(new)) < 0)
    ids = _ids(new, rows)
    was_retired = pc.is_in(ids, value_set=old.retired.column("id").combine_chunks()).to_numpy(zero_copy_only=False)
    codes = np.where(was_retired, CHANGES.index("restored"), CHANGES.index("added")).astype(np.int8)
    return _rows(codes, ids, name=new.concepts.column("name").take(pa.array(rows)).combine_chunks())


def _left(old: Terminology, new: Terminology, rows: Ints) -> pa.Table:
    """Return the concepts that only the old release has, and what became of them."""
    followed = Replacements(new).follow(_ids(old, rows)).as_table()
    status = followed["status"].cast(pa.string()).combine_chunks()
    codes = np.full(len(rows), CHANGES.index("removed"), np.int8)
    codes[pc.is_in(status, value_set=pa.array(["replaced", "split"])).to_numpy(zero_copy_only=False)] = CHANGES.index(
        "replaced"
    )
    codes[pc.equal(status, "retired").to_numpy(zero_copy_only=False)] = CHANGES.index("retired")
    replaced = pc.binary_join(followed["replaced_by"].combine_chunks(), "|")
    return _rows(
        codes,
        followed["id"].combine_chunks(),
        name=old.concepts.column("name").take(pa.array(rows)).combine_chunks(),
        new=pc.if_else(pc.equal(replaced, ""), pa.scalar(None, pa.string()), replaced),
        reason=followed["reason"].combine_chunks(),
    )


def _redirected(old: Terminology, new: Terminology) -> pa.Table:
    """Return the ids that both releases have retired, and that lead elsewhere now."""
    before, after = (
        pa.table({"id": t.retired["id"], "to": pc.binary_join(pc.fill_null(t.retired["replaced_by"], []), "|"), **rest})
        for t, rest in ((old, {}), (new, {"name": new.retired["name"], "reason": new.retired["reason"]}))
    )
    at = pc.index_in(after["id"], value_set=before["id"].combine_chunks())
    both = after.filter(pc.is_valid(at)).combine_chunks()
    was = before["to"].take(at.drop_null()).combine_chunks()
    differ = pc.not_equal(was, both["to"].combine_chunks())
    both, was = both.filter(differ).combine_chunks(), was.filter(differ)
    columns = {c: both[c].combine_chunks() for c in ("id", "name", "to", "reason")}
    return _rows(
        "redirected", columns["id"], name=columns["name"], old=was, new=columns["to"], reason=columns["reason"]
    )


def _forgotten(old: Terminology, new: Terminology) -> pa.Table:
    """Return the ids that the old release has retired, and that the new one does not know."""
    gone = old.retired.filter(pc.invert(pc.is_in(old.retired["id"], value_set=new.retired["id"].combine_chunks())))
    gone = gone.filter(pa.array(new.rows(gone["id"].combine_chunks()) < 0)).combine_chunks()
    was = pc.binary_join(pc.fill_null(gone["replaced_by"], []), "|")
    columns = {"name": gone["name"], "old": was, "reason": gone["reason"]}
    return _rows("forgotten", gone["id"].combine_chunks(), **{c: a.combine_chunks() for c, a in columns.items()})


class _Pairs:
    """The concepts that both releases have.

    Args:
        here: their rows in the old release, ascending.
        there: their rows in the new one; ascending, too, for both are sorted by id.
    """

    def __init__(self, old: Terminology, new: Terminology, here: Ints, there: Ints) -> None:
        self.old, self.new, self.here, self.there = old, new, here, there

    def _rows(self, change: str | npt.NDArray[np.int8], pairs: Ints, **columns: Any) -> pa.Table:
        """Return rows about some of the concepts."""
        rows = pa.array(self.there[pairs])
        name = self.new.concepts.column("name").take(rows).combine_chunks()
        return _rows(change, _ids(self.new, self.there[pairs]), name=name, **columns)

    def texts(self, change: str, column: str) -> pa.Table:
        """Return the concepts whose text in a column is another one."""
        before = self.old.concepts.column(column).take(pa.array(self.here)).combine_chunks()
        after = self.new.concepts.column(column).take(pa.array(self.there)).combine_chunks()
        differ = pc.not_equal(pc.fill_null(before, ""), pc.fill_null(after, ""))
        pairs = np.flatnonzero(differ.to_numpy(zero_copy_only=False))
        return self._rows(change, pairs, old=before.filter(differ), new=after.filter(differ))

    def lists(self, what: str, column: str) -> pa.Table:
        """Return the values of a list column that concepts have gained or lost."""
        keys: list[Ints] = []
        sides = []
        for terminology, rows in ((self.old, self.here), (self.new, self.there)):
            lists = terminology.concepts.column(column).take(pa.array(rows)).combine_chunks()
            sides.append((pc.list_parent_indices(lists).to_numpy().astype(np.int64), lists.flatten()))
        values = pa.chunked_array([pc.cast(v, pa.string()) for _, v in sides]).combine_chunks().dictionary_encode()
        codes = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        ends = len(sides[0][0])
        for (of, _), code in zip(sides, (codes[:ends], codes[ends:]), strict=True):
            keys.append(np.unique(of << 32 | code))
        lost, gained = (np.setdiff1d(a, b, assume_unique=True) for a, b in (keys, keys[::-1]))
        tables = []
        for verb, side, key in (("added", "new", gained), ("removed", "old", lost)):
            text = values.dictionary.take(pa.array(key & 0xFFFFFFFF))
            tables.append(self._rows(f"{what} {verb}", key >> 32, **{side: text}))
        return pa.concat_tables(tables)

    def names(self) -> Iterator[pa.Table]:
        """Yield the names that concepts have gained and lost, and those whose scope changed."""
        for start in range(0, len(self.here), BLOCK):
            yield from self._names(np.arange(start, min(start + BLOCK, len(self.here))))

    def _names(self, pairs: Ints) -> Iterator[pa.Table]:
        sides = []
        for terminology, rows in ((self.old, self.here[pairs]), (self.new, self.there[pairs])):
            counts = terminology.first_name[rows + 1] - terminology.first_name[rows]
            names = terminology.names.take(pa.array(ranges(terminology.first_name[rows], counts)))
            sides.append(names.append_column("pair", pa.array(np.repeat(pairs, counts))))
        both = pa.concat_tables([s.select(["text", "lang", "scope", "pair"]) for s in sides])
        codes = {
            c: both[c].cast(pa.large_string()).combine_chunks().dictionary_encode() for c in ("text", "lang", "scope")
        }
        text, lang, scope = (codes[c].indices.to_numpy().astype(np.int64) for c in codes)
        pair = both["pair"].to_numpy()
        _, key = np.unique(text * len(codes["lang"].dictionary) + lang, return_inverse=True)
        key = (pair - pairs[0]) << 40 | key
        n = len(sides[0])
        before, after = ({"key": key[part], "scope": scope[part]} for part in (slice(0, n), slice(n, None)))
        lost = np.flatnonzero(~np.isin(before["key"], after["key"]))
        gained = n + np.flatnonzero(~np.isin(after["key"], before["key"]))
        for change, side, rows in (("name added", "new", gained), ("name removed", "old", lost)):
            columns = {side: both["text"].take(pa.array(rows)).combine_chunks(), "lang": _plain(both["lang"], rows)}
            yield self._rows(change, pair[rows], **columns)
        _, here, there = np.intersect1d(before["key"], after["key"], return_indices=True)
        differ = np.flatnonzero(before["scope"][here] != after["scope"][there])
        differ = differ[np.argsort(there[differ])]
        words = codes["scope"].dictionary
        scopes = (words.take(pa.array(s)) for s in (before["scope"][here[differ]], after["scope"][there[differ]]))
        rows = n + there[differ]
        text = both["text"].take(pa.array(rows)).combine_chunks()
        reason = pc.binary_join_element_wise(*(scope.cast(pa.string()) for scope in scopes), " to ")
        yield self._rows(
            "scope changed", pair[rows], lang=_plain(both["lang"], rows), old=text, new=text, reason=reason
        )


def _plain(column: pa.ChunkedArray, rows: Ints) -> pa.Array:
    return column.take(pa.array(rows)).combine_chunks().cast(pa.string())


# --- to files ---------------------------------------------------------------------------------------------------------

_FORMATS = ("csv", "tsv", "md")
_COLUMNS = tuple(_SCHEMA.names)
_BATCH = 10_000


def check_output(path: Path) -> str:
    """Return the format that a file's ending says: csv, tsv or md.

    Raises:
        ConfigError: another ending.
    """
    ending = suffix(path)[1:]
    if ending not in _FORMATS or path.suffix.lower() == ".gz":
        hint = did_you_mean(ending, _FORMATS) if ending else f"known: {', '.join(_FORMATS)}"
        raise ConfigError(f"--output {path}: is written as CSV, TSV or Markdown, by its ending; {hint}")
    return ending


def write_diff(found: Diff, path: Path, *, overwrite: bool = False) -> None:
    """Write the changes to a file, as its ending says: a row each, in Markdown below a summary.

    Raises:
        ConfigError: an ending that says no format.
        ArtifactError: the file exists and may not be replaced, or cannot be written.
    """
    format = check_output(path)
    with open_output(path, overwrite=overwrite) as out:
        (_write_markdown if format == "md" else _write_rows)(found, out.file, format)


def write_json(found: Diff, file: TextIO) -> None:
    """Write the summary and all changes as one JSON object, streaming."""
    file.write(json.dumps({"summary": found.summary()}, ensure_ascii=False)[:-1] + ', "changes": [')
    before = "\n"
    for row in _records(found):
        file.write(before + json.dumps(row, ensure_ascii=False))
        before = ",\n"
    file.write("\n]}\n" if before != "\n" else "]}\n")


def _records(found: Diff) -> Iterator[dict[str, Any]]:
    for batch in found.changes.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def _write_rows(found: Diff, file: TextIO, format: str) -> None:
    if format == "csv":
        write = csv.writer(file, lineterminator="\n").writerow
    else:  # a cell of a TSV file holds neither tabs nor line ends, and a quote is an ordinary character in it
        write = csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None).writerow
    write(_COLUMNS)
    for record in _records(found):
        write([" ".join((record[c] or "").split()) for c in _COLUMNS])


def _write_markdown(found: Diff, file: TextIO, format: str) -> None:
    about = found.summary()
    sizes = [
        (which, about[which]["concepts"], about[which]["names"], about[which]["retired"]) for which in ("old", "new")
    ]
    counts = [(change, n["changes"], n["concepts"]) for change, n in about["changes"].items() if n["changes"]]
    blocks = [["# What changed"], markdown_table(("release", "concepts", "names", "retired ids"), sizes)]
    blocks += [markdown_table(("change", "how often", "concepts"), counts)] if counts else [["Nothing changed."]]
    file.write("\n\n".join("\n".join(block) for block in blocks) + "\n")
    head: list[str] = []
    for batch in found.changes.to_batches(max_chunksize=_BATCH):
        lines = markdown_table(_COLUMNS, [[row[c] or "" for c in _COLUMNS] for row in batch.to_pylist()])
        file.write("\n" * (not head) + "\n".join(lines if not head else lines[2:]) + "\n")
        head = lines[:2]
