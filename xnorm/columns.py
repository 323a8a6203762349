"""A source of a terminology as columns: batches of facts, each row one fact about one concept id.

concepts   id, line, record                          every record of a concept
names      id, text, lang, scope, source, rank, line, record
types, xrefs, parents                                id, value
definitions                                          id, value; the first of a concept counts
retired    id, replaced_by, name, reason

`lang` is as the source writes it; `source` is null for names of the source itself, and says which vocabulary a name is
from in a source that has several. `line` is where it stands in the file, for errors; `record` numbers records where two
preferred names from two records are worth an error. `rank` says which of a concept's preferred names in a language is
the one, the highest, where that is not the first. These four may be null, and so may the names of retired ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.text import clean

__all__ = [
    "FACTS",
    "Codes",
    "Facts",
    "Mask",
    "Vocabulary",
    "among",
    "chosen",
    "clean_column",
    "codes",
    "facts",
    "indices",
    "one_dictionary",
]

Codes = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

PLAIN = (
    r" -~\x{a1}-\x{2ff}\x{388}-\x{3ce}\x{400}-\x{482}\x{48a}-\x{52f}\x{5d0}-\x{5ea}\x{621}-\x{63a}\x{641}-\x{64a}"
    r"\x{2010}-\x{2027}\x{3041}-\x{3096}\x{30a1}-\x{30fc}\x{4e00}-\x{9fff}\x{ac00}-\x{d7a3}"
)
"""Characters, as ranges of RE2, that are in the normal form NFC beside whatever stands before them."""
_UNCLEAN = rf"[^{PLAIN}]|  |^ | $"
"""What `xnorm.text.clean` may change."""

_TEXT = pa.large_string()
_TAG = pa.dictionary(pa.int32(), pa.string())

FACTS: dict[str, pa.Schema] = {
    "concepts": pa.schema({"id": _TAG, "line": pa.int64(), "record": pa.int64()}),
    "definitions": pa.schema({"id": _TAG, "value": _TEXT}),
    "names": pa.schema(
        {
            "id": _TAG,
            "text": _TEXT,
            "lang": _TAG,
            "scope": _TAG,
            "source": _TAG,
            "rank": pa.int64(),
            "line": pa.int64(),
            "record": pa.int64(),
        }
    ),
    **{kind: pa.schema({"id": _TAG, "value": _TAG}) for kind in ("types", "xrefs", "parents")},
    "retired": pa.schema({"id": _TAG, "replaced_by": pa.list_(pa.string()), "name": _TEXT, "reason": pa.string()}),
}
"""Kind of fact -> its columns."""

_NULLABLE = {"source", "rank", "line", "record", "name"}

Facts = dict[str, pa.Table]
"""A batch: tables by their kind; kinds may be missing."""


def facts(kind: str, **columns: Any) -> pa.Table:
    """Return a table of one kind from arrays, lists, or single values that hold for all rows (strings).

    Columns that are not given are null, where they may be; strings become what the schema asks for.

    Raises:
        KeyError: no such kind or column.
        ValueError: a column that may not is null.
    """
    schema = FACTS[kind]
    if unknown := columns.keys() - set(schema.names):
        raise KeyError(f"{kind} has no column {sorted(unknown)[0]}")
    n = next(len(c) for c in columns.values() if not isinstance(c, str))
    table = pa.table({field.name: _column(columns.get(field.name), field.type, n) for field in schema}, schema)
    if missing := [name for name in schema.names if name not in _NULLABLE and table.column(name).null_count]:
        raise ValueError(f"{kind}: the column '{missing[0]}' has nulls")
    return table


def _column(values: Any, kind: pa.DataType, n: int) -> pa.Array | pa.ChunkedArray:
    if values is None:
        return pa.nulls(n, kind)
    if isinstance(values, str):
        # one value in the dictionary, n times
        return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), n), pa.array([values]))
    if not isinstance(values, pa.Array | pa.ChunkedArray):
        values = pa.array(values, pa.string() if pa.types.is_dictionary(kind) else kind)
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(values.type):
        values = values.cast(pa.string()).dictionary_encode()
    return values if values.type == kind else values.cast(kind)


def clean_column(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return strings as `xnorm.text.clean` returns each; a null stays null."""
    odd = pc.match_substring_regex(texts, _UNCLEAN)
    if not pc.any(odd).as_py():
        return texts
    cleaned = pa.array([clean(text) for text in texts.filter(odd).to_pylist()], texts.type)
    return pc.replace_with_mask(texts, odd.combine_chunks(), cleaned)


class Vocabulary:
    """Few distinct strings, and a number for each."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}

    def number(self, word: str) -> int:
        """Return the number of a word, a new one if need be."""
        return self.values.setdefault(word, len(self.values))

    def codes(self, column: pa.ChunkedArray, form: Callable[[str], str] = str) -> Codes:
        """Return the number of each value of a dictionary column; -1 for null."""
        parts = [np.empty(0, np.int32)]
        for chunk in column.chunks:
            numbers = np.array([*(self.number(form(w)) for w in chunk.dictionary.to_pylist()), -1], np.int32)
            parts.append(numbers[indices(chunk)])
        return np.concatenate(parts)

    def column(self, numbers: Codes) -> pa.DictionaryArray:
        """Return the words of numbers; the dictionary holds those that occur."""
        used, places = np.unique(numbers, return_inverse=True)
        words = pa.array(list(self.values), pa.string()).take(pa.array(used))
        return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), words)


def indices(chunk: pa.DictionaryArray) -> npt.NDArray[np.int64]:
    """Return the places of values in the dictionary of their array; -1 for null."""
    places: npt.NDArray[np.int64] = pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False)
    return places


def codes(column: pa.Array | pa.ChunkedArray, ids: pa.Array) -> Codes:
    """Return the place of each value (strings, or a dictionary of them) in `ids`; -1 where it has none."""
    if not pa.types.is_dictionary(column.type):
        found = pc.fill_null(pc.index_in(column, value_set=ids), -1)
        if isinstance(found, pa.ChunkedArray):
            return np.asarray(found.to_numpy(), np.int32)
        return np.asarray(found.to_numpy(zero_copy_only=False), np.int32)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    # one look at `ids` for all chunks, for that is what takes time
    words = codes(pa.concat_arrays([pa.array([], pa.string()), *(chunk.dictionary for chunk in chunks)]), ids)
    parts, start = [np.empty(0, np.int32)], 0
    for chunk in chunks:
        end = start + len(chunk.dictionary)
        parts.append(np.append(words[start:end], np.int32(-1))[indices(chunk)])
        start = end
    return np.concatenate(parts)


def one_dictionary(chunks: Sequence[pa.DictionaryArray]) -> tuple[pa.Array, Codes]:
    """Return the distinct values of dictionary arrays, and the number of each value."""
    all_words = pa.concat_arrays([pa.array([], pa.string()), *(chunk.dictionary for chunk in chunks)])
    words = pc.unique(all_words)
    return words, codes(pa.chunked_array(chunks, pa.dictionary(pa.int32(), pa.string())), words)


def among(column: pa.ChunkedArray, words: Collection[str]) -> Mask:
    """Return which values of a dictionary column are one of some words."""
    wanted = set(words)
    return chosen(column, lambda word: word in wanted)


def chosen(column: pa.ChunkedArray, wanted: Callable[[str], bool]) -> Mask:
    """Return which values of a dictionary column are wanted."""
    parts = [np.empty(0, bool)]
    for chunk in column.chunks:
        parts.append(np.array([*(wanted(w) for w in chunk.dictionary.to_pylist()), False], bool)[indices(chunk)])
    return np.concatenate(parts)
