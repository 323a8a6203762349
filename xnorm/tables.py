"""A terminology as three memory-mapped Arrow tables.

concepts   id, name, types, xrefs, parents, definition, source, first_name     one row a concept, sorted by id
names      concept, text, lang, scope, source, weight                          sorted by concept, source order within
retired    id, replaced_by, name, reason                                       sorted by id

Concept rows are sorted by id, so the smaller row is the smaller id: that is how ties are broken everywhere.
The names of concept `c` are the rows `first_name[c]` up to `first_name[c + 1]`.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.errors import ArtifactError
from xnorm.types import Concept, Name

__all__ = ["CONCEPTS", "NAMES", "RETIRED", "Terminology", "ranges"]

_TAG = pa.dictionary(pa.int32(), pa.string())
_TAGS = pa.list_(pa.string())

CONCEPTS = pa.schema(
    {
        "id": pa.string(),
        "name": pa.large_string(),
        "types": _TAGS,
        "xrefs": _TAGS,
        "parents": _TAGS,
        "definition": pa.large_string(),
        "source": _TAG,
        "first_name": pa.int64(),
    }
)
NAMES = pa.schema(
    {
        "concept": pa.int32(),
        "text": pa.large_string(),
        "lang": _TAG,
        "scope": _TAG,
        "source": _TAG,
        "weight": pa.float32(),
    }
)
RETIRED = pa.schema({"id": pa.string(), "replaced_by": _TAGS, "name": pa.large_string(), "reason": pa.string()})
_TABLES = {"concepts": CONCEPTS, "names": NAMES, "retired": RETIRED}
_WITHOUT_WEIGHTS = NAMES.remove(NAMES.get_field_index("weight"))
"""Names as earlier releases wrote them."""


def ranges(starts: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the numbers from each start on, as many as its count, one range after the other.

    With `first_name` these are the name rows of some concepts.
    """
    begin = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(starts - begin, counts))


class Terminology:
    """Concepts and their names, as columns.

    `len(terminology)` is the number of concepts; `"HP:0001635" in terminology` and `terminology["HP:0001635"]` look
    one up. Make one with `xnorm.sources.read_terminology` or `Terminology.open`.
    """

    def __init__(self, concepts: pa.Table, names: pa.Table, retired: pa.Table) -> None:
        self.concepts = concepts.combine_chunks()
        self.names = _with_weights(names).combine_chunks()
        self.retired = retired.combine_chunks()

    @classmethod
    def open(cls, folder: Path) -> Terminology:
        """Map the tables of a folder into memory.

        Raises:
            ArtifactError: a table is missing, unreadable, has other columns, or weights that are none.
        """
        tables = {}
        for name, schema in _TABLES.items():
            try:
                with pa.memory_map(str(folder / f"{name}.arrow")) as source:
                    tables[name] = pa.ipc.open_file(source).read_all()
            except (OSError, pa.ArrowInvalid) as e:
                raise ArtifactError(f"{folder / name}.arrow: cannot be read: {e}") from e
            if tables[name].schema != schema and not (name == "names" and tables[name].schema == _WITHOUT_WEIGHTS):
                raise ArtifactError(f"{folder / name}.arrow: has other columns than this xnorm writes")
        terminology = cls(**tables)
        weights = terminology.name_weights
        if weights is not None and not ((weights > 0) & (weights <= 1)).all():
            raise ArtifactError(f"{folder / 'names'}.arrow: has weights that are not above 0 and at most 1")
        return terminology

    def save(self, folder: Path) -> None:
        """Write the tables into an existing folder as Arrow IPC files."""
        for name, schema in _TABLES.items():
            table: pa.Table = getattr(self, name)
            with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                writer.write_table(table, max_chunksize=max(1, table.num_rows))

    def __len__(self) -> int:
        return int(self.concepts.num_rows)

    @property
    def n_names(self) -> int:
        """Number of names."""
        return int(self.names.num_rows)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the contents of the tables: equal for equal terminologies, whatever file they came from. Weights
        that are all 1 do not count, so that a folder without them is the same terminology."""
        digest = hashlib.sha256()
        for name in _TABLES:
            table: pa.Table = getattr(self, name)
            columns = [c for c in table.column_names if c != "weight" or self.name_weights is not None]
            for column in map(table.column, columns):
                _hash_array(digest, column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
        return digest.hexdigest()

    @cached_property
    def first_name(self) -> npt.NDArray[np.int64]:
        """Shape (concepts + 1,): where the names of each concept begin."""
        starts = self.concepts.column("first_name").to_numpy()
        return np.append(starts, np.int64(self.n_names))

    @cached_property
    def name_concept(self) -> npt.NDArray[np.int32]:
        """Shape (names,): the concept row of each name row."""
        rows: npt.NDArray[np.int32] = self.names.column("concept").to_numpy()
        return rows

    @cached_property
    def name_weights(self) -> npt.NDArray[np.float32] | None:
        """Shape (names,): what generators multiply the score of each name by, above 0 and at most 1; None if all are
        1."""
        weights: npt.NDArray[np.float32] = self.names.column("weight").to_numpy()
        return None if (weights == 1).all() else weights

    @cached_property
    def _ids(self) -> pa.Array:
        column = self.concepts.column("id")
        return column.chunk(0) if column.num_chunks else pa.array([], pa.string())

    def row(self, concept_id: str) -> int | None:
        """Return the row of a concept id, or None."""
        at = bisect_left(_Column(self._ids), concept_id.encode())
        return at if at < len(self) and self._ids[at].as_py() == concept_id else None

    def rows(self, concept_ids: Sequence[str] | pa.Array) -> npt.NDArray[np.int32]:
        """Return the rows of many concept ids; -1 for those that are not there."""
        found = pc.index_in(pa.array(concept_ids, pa.string()), value_set=self._ids)
        rows: npt.NDArray[np.int32] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int32)
        return rows

    def resolve(self, concept_id: str) -> tuple[str, ...]:
        """Return the live ids that an id stands for: itself, what replaced it, or nothing."""
        if self.row(concept_id) is not None:
            return (concept_id,)
        ids = self.retired.column("id")
        live: list[str] = []
        seen, todo = {concept_id}, [concept_id]
        while todo:
            at = bisect_left(_Column(ids), (current := todo.pop(0)).encode())
            if at == len(ids) or ids[at].as_py() != current:
                continue
            for new in self.retired.column("replaced_by")[at].as_py():
                if new not in seen:
                    seen.add(new)
                    (todo if self.row(new) is None else live).append(new)
        return tuple(live)

    def __contains__(self, concept_id: object) -> bool:
        return isinstance(concept_id, str) and self.row(concept_id) is not None

    def __getitem__(self, concept: str | int) -> Concept:
        row = self.row(concept) if isinstance(concept, str) else concept
        if row is None or not 0 <= row < len(self):
            raise KeyError(concept)
        fields: dict[str, Any] = {name: self.concepts.column(name)[row].as_py() for name in CONCEPTS.names}
        start, end = fields.pop("first_name"), int(self.first_name[row + 1])
        names = self.names_at(np.arange(start, end))
        for column in ("types", "xrefs", "parents"):
            fields[column] = tuple(fields[column] or ())
        return Concept(names=tuple(names), **fields)

    def names_at(self, rows: Sequence[int] | npt.NDArray[Any]) -> list[Name]:
        """Return the names of many name rows."""
        names = self.names.take(pa.array(rows, pa.int64())).drop_columns("concept").to_pylist()
        return [Name(**{**name, "weight": round(name["weight"], 6)}) for name in names]

    def name_texts(self) -> list[str]:
        """Return the text of every name, in row order."""
        texts: list[str] = self.names.column("text").to_pylist()
        return texts

    def take(self, table: str, column: str, rows: Iterable[int] | npt.NDArray[Any]) -> list[Any]:
        """Return the values of one column ("concepts" or "names") at many rows."""
        values: list[Any] = getattr(self, table).column(column).take(pa.array(rows, pa.int64())).to_pylist()
        return values

    def count_by(self, table: str, column: str) -> dict[str, int]:
        """Return how often each value of a tag column occurs, most frequent first."""
        values = getattr(self, table).column(column)
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
        counts = {c["values"]: c["counts"] for c in pc.value_counts(values).to_pylist()}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


class _Column(Sequence[bytes]):
    """An Arrow string column as a sorted sequence of bytes, for binary search (Arrow sorts strings by their bytes)."""

    def __init__(self, array: pa.Array) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, at: Any) -> Any:
        return self.array[at].as_py().encode()


def _with_weights(names: pa.Table) -> pa.Table:
    """Return names with a weight each: 1 where none is given."""
    if "weight" not in names.column_names:
        return names.append_column(NAMES.field("weight"), pa.repeat(pa.scalar(1, pa.float32()), len(names)))
    if not names.column("weight").null_count:
        return names
    at = names.schema.get_field_index("weight")
    return names.set_column(at, NAMES.field(at), pc.fill_null(names.column("weight"), 1.0))


def _hash_array(digest: Any, array: pa.Array) -> None:
    """Hash the logical content of an array: lengths, validity and values, whatever its buffers look like."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    digest.update(f"{len(array)},{array.null_count};".encode())
    if array.null_count:
        digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_list(array.type):
        digest.update(pc.fill_null(pc.list_value_length(array), -1).to_numpy(zero_copy_only=False).tobytes())
        _hash_array(digest, pc.list_flatten(array))
    elif pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        filled = pc.fill_null(array, "").cast(pa.large_string())
        lengths = pc.binary_length(filled).to_numpy(zero_copy_only=False)
        digest.update(lengths.astype(np.int64).tobytes())
        offset, data = filled.offset, filled.buffers()
        if len(filled):
            bounds = np.frombuffer(data[1], np.int64)[offset : offset + len(filled) + 1]
            digest.update(memoryview(data[2])[int(bounds[0]) : int(bounds[-1])] if data[2] else b"")
    else:
        digest.update(array.to_numpy(zero_copy_only=False).tobytes())
