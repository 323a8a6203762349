"""Concepts of a terminology made one: their names, types, xrefs and parents joined, on columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.mapping import as_array
from xnorm.tables import CONCEPTS, NAMES, RETIRED, Terminology, ranges
from xnorm.terminology.base import MERGED

__all__ = ["decoded_tags", "ranks", "unite"]

_Rows = npt.NDArray[np.int64]


def unite(terminology: Terminology, into: _Rows, order: Sequence[str]) -> Terminology:
    """Return a terminology in which every concept has become part of the one that `into` says.

    It is what reading the sources would have given, had they called these concepts by one id: names in the order of
    their sources, each once, with one preferred name a language, the first; what is preferred later is exact. Types,
    xrefs and parents are united, parents lead to the new ids, neither parents nor xrefs lead to the concept itself, and
    the first definition stays. The ids that are gone are retired, for the reason `merged`.

    Args:
        into: shape (concepts,), row of a concept that stays (its own `into` is itself).
        order: sources in order of precedence; others come after them.
    """
    concepts = terminology.concepts
    stays = into == np.arange(len(into))
    group = (np.cumsum(stays) - 1)[into]
    tags, labels = decoded_tags(concepts.column("source"))
    # concepts of one group are neighbours, in order of precedence
    rank = ranks(labels, order)[tags]
    members = np.lexsort((np.arange(len(into)), rank, group))
    names, first_name = _names(terminology, members, group, order, rank)
    ids = as_array(concepts.column("id"))
    new_ids, own = ids.take(pa.array(into)), ids.filter(pa.array(stays))
    columns = {
        "id": own,
        "name": as_array(concepts.column("name")).filter(pa.array(stays)),
        "types": _lists(concepts.column("types"), members, group),
        "xrefs": _lists(concepts.column("xrefs"), members, group, own),
        "parents": _lists(concepts.column("parents"), members, group, own, (ids, new_ids)),
        "definition": _definitions(concepts.column("definition"), members, group),
        "source": as_array(concepts.column("source")).filter(pa.array(stays)),
        "first_name": pa.array(first_name),
    }
    tables = pa.table({c: columns[c] for c in CONCEPTS.names}, CONCEPTS), names, _retired(terminology, stays, new_ids)
    return Terminology(*tables)


def decoded_tags(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the numbers of a dictionary column's values, and the values."""
    tags = as_array(column.unify_dictionaries())
    return tags.indices.to_numpy(zero_copy_only=False).astype(np.int64), tags.dictionary.to_pylist()


def ranks(labels: Sequence[str], order: Sequence[str]) -> _Rows:
    """Return the place of each source in the order of precedence; those that are not in it come last, by name."""
    rank = {label: n for n, label in reversed(list(enumerate(order)))}
    others = sorted(set(labels) - rank.keys(), key=str.encode)
    rank.update({label: len(order) + n for n, label in enumerate(others)})
    return np.array([rank[label] for label in labels], np.int64)


def _names(
    terminology: Terminology, members: _Rows, group: _Rows, order: Sequence[str], rank: _Rows
) -> tuple[pa.Table, _Rows]:
    """Return the names of the groups, and where those of each begin.

    Args:
        rank: shape (concepts,), place of each concept's source.
    """
    names, counts = terminology.names, np.diff(terminology.first_name)
    rows = ranges(terminology.first_name[members], counts[members])
    owner = np.repeat(group[members], counts[members])
    joined = (np.bincount(group) > 1)[owner]
    scope, scopes = decoded_tags(names.column("scope"))
    kept = np.ones(len(rows), bool)
    if joined.any():
        at = np.flatnonzero(joined)
        concept = np.repeat(members, counts[members])[at]
        rows[at] = rows[at[np.lexsort((at, _name_ranks(names, rows[at], concept, order, rank), owner[at]))]]
        kept[at], scope[rows[at]] = _settled(names, rows[at], owner[at], scope[rows[at]], scopes)
    out = names.take(pa.array(rows[kept]))
    words = pa.DictionaryArray.from_arrays(pa.array(scope[rows[kept]], pa.int32()), pa.array(scopes, pa.string()))
    columns = {c: out.column(c) for c in NAMES.names} | {"concept": pa.array(owner[kept], pa.int32()), "scope": words}
    first = np.searchsorted(owner[kept], np.arange(int(group.max(initial=-1)) + 1))
    return pa.table({c: columns[c] for c in NAMES.names}, NAMES), first.astype(np.int64)


def _name_ranks(names: pa.Table, rows: _Rows, concept: _Rows, order: Sequence[str], rank: _Rows) -> _Rows:
    """Return the place of each name's source.

    A name that was laid over a concept comes where its source comes. A name whose source is not in the order, as in
    UMLS, where it is a vocabulary, comes where the source of its concept comes; and so do the names before it, even if
    a source is called as their vocabulary is, for the names of a concept are in the order of their sources.

    Args:
        rows: rows of names; those of a concept are neighbours, in their order.
        concept: row of the concept of each.
    """
    tags, labels = decoded_tags(names.column("source"))
    known = np.array([label in order for label in labels], bool)[tags[rows]]
    own = np.where(known, ranks(labels, order)[tags[rows]], rank[concept])
    # the smallest rank from behind; a step larger than any rank keeps each concept to itself
    step = np.cumsum(np.diff(concept, prepend=-1) != 0) * (int(own.max(initial=0)) + 1)
    return np.asarray(np.minimum.accumulate((own + step)[::-1])[::-1] - step, np.int64)


def _settled(
    names: pa.Table, rows: _Rows, owner: _Rows, scope: _Rows, scopes: list[str]
) -> tuple[npt.NDArray[np.bool_], _Rows]:
    """Return which names of joined concepts stay, and their scopes; a name is preferred if one of its copies is."""
    if "exact" not in scopes:
        scopes.append("exact")
    exact, preferred = scopes.index("exact"), scopes.index("preferred") if "preferred" in scopes else -1
    langs, _ = decoded_tags(names.column("lang").take(pa.array(rows)))
    text = as_array(names.column("text").take(pa.array(rows))).dictionary_encode().indices.to_numpy().astype(np.int64)
    spoken = owner * (langs.max() + 1) + langs
    _, spoken = np.unique(spoken, return_inverse=True)
    scope, main = scope.copy(), np.flatnonzero(scope == preferred)
    _, first, same = np.unique(spoken[main], return_index=True, return_inverse=True)
    scope[main[text[main] != text[main[first]][same]]] = exact
    _, first, copy = np.unique(spoken * (text.max() + 1) + text, return_index=True, return_inverse=True)
    best = np.bincount(copy[scope == preferred], minlength=len(first)) > 0
    scope[first[best]] = preferred
    kept = np.zeros(len(rows), bool)
    kept[first] = True
    return kept, scope


def _lists(
    column: pa.ChunkedArray,
    members: _Rows,
    group: _Rows,
    own: pa.Array | None = None,
    renamed: tuple[pa.Array, pa.Array] | None = None,
) -> pa.ListArray:
    """Return the distinct values of each group, in the order of its members.

    Args:
        own: id of each group, left out of its values where something was joined or renamed.
        renamed: ids of the concepts, and what they are called now.
    """
    lists = as_array(column).take(pa.array(members))
    owner = group[members][pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)]
    values = pc.list_flatten(lists)
    kept = np.ones(len(values), bool)
    touched = np.bincount(group) > 1
    if renamed is not None:
        new = renamed[1].take(pc.index_in(values, value_set=renamed[0]))
        touched[owner[pc.fill_null(pc.not_equal(new, values), False).to_numpy(zero_copy_only=False)]] = True
        values = pc.coalesce(new, values)
    # where nothing was joined or renamed, values are distinct as they are
    again = np.flatnonzero(touched[owner])
    if own is not None:
        other = pc.not_equal(values.take(pa.array(again)), own.take(pa.array(owner[again])))
        kept[again] = other.to_numpy(zero_copy_only=False)
        again = again[kept[again]]
    words = values.take(pa.array(again)).dictionary_encode()
    key = owner[again] * max(1, len(words.dictionary)) + words.indices.to_numpy(zero_copy_only=False)
    kept[again] = False
    kept[again[np.unique(key, return_index=True)[1]]] = True
    counts = np.bincount(owner[kept], minlength=int(group.max(initial=-1)) + 1)
    offsets = pa.array(np.append(0, np.cumsum(counts)), pa.int32())
    return pa.ListArray.from_arrays(offsets, values.filter(pa.array(kept)))


def _definitions(column: pa.ChunkedArray, members: _Rows, group: _Rows) -> pa.Array:
    """Return the first definition of each group."""
    definitions = as_array(column)
    given = members[pc.is_valid(definitions).to_numpy(zero_copy_only=False)[members]]
    row = np.full(int(group.max(initial=-1)) + 1, -1, np.int64)
    row[group[given[::-1]]] = given[::-1]
    return definitions.take(pa.array(row, mask=row < 0))


def _retired(terminology: Terminology, stays: npt.NDArray[np.bool_], new_ids: pa.Array) -> pa.Table:
    """Return the retired ids with those that are gone now."""
    gone = pa.array(~stays)
    ids = as_array(terminology.concepts.column("id")).filter(gone)
    offsets = pa.array(np.arange(len(ids) + 1), pa.int32())
    columns = {
        "id": ids,
        "replaced_by": pa.ListArray.from_arrays(offsets, new_ids.filter(gone)),
        "name": as_array(terminology.concepts.column("name")).filter(gone),
        "reason": pa.array([MERGED] * len(ids), pa.string()),
    }
    both = pa.concat_tables([terminology.retired, pa.table(columns, RETIRED)]).combine_chunks()
    return both.take(pc.sort_indices(both, sort_keys=[("id", "ascending")]))
