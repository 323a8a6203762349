"""The shape of a terminology's hierarchy: roots, depth, circles, parents that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from xnorm.tables import Terminology, ranges

__all__ = ["children", "hierarchy"]

MOST_LEVELS = 1000
"""Levels that are counted; no terminology is that deep."""
EXAMPLES = 5

Ints = npt.NDArray[np.int64]


def hierarchy(terminology: Terminology) -> dict[str, Any]:
    """Say what shape the hierarchy has, as plain data for JSON.

    `edges` are the parents that concepts have; `alone` are concepts without parents and children, `roots` those with
    children alone. `levels` is the number of concepts by the fewest steps from a root, those alone left out;
    `unreached` have no root above them, and stand in a circle or below one. `circles` are sets of concepts of which
    each stands above each, `in_circles` their concepts. `missing` are ids of parents that no concept has,
    `missing_retired` those of them that are retired.
    """
    n = len(terminology)
    graph, missing = children(terminology)
    above = np.bincount(graph.indices, minlength=n)
    below = np.diff(graph.indptr)
    roots = np.flatnonzero((above == 0) & (below > 0))
    alone = np.flatnonzero((above == 0) & (below == 0))
    levels, reached = _levels(graph, roots)
    circles, in_circles = _circles(graph)
    absent = pc.value_counts(missing)
    ids, counts = absent.field("values"), absent.field("counts").to_numpy()
    most = np.argsort(-counts, kind="stable")[:EXAMPLES]
    retired = pc.is_in(ids, value_set=terminology.retired.column("id"))
    return {
        "edges": graph.nnz + len(missing),
        "roots": len(roots),
        "root_examples": _shown(terminology, roots[np.argsort(-below[roots], kind="stable")]),
        "alone": len(alone),
        "depth": len(levels) - 1 if levels else 0,
        "levels": levels,
        "unreached": n - reached - len(alone),
        "circles": len(circles),
        "in_circles": in_circles,
        "circle_examples": [_shown(terminology, circle) for circle in circles[:EXAMPLES]],
        "missing": len(ids),
        "missing_retired": int(pc.sum(retired).as_py() or 0),
        "missing_examples": [
            {"id": i, "children": c}
            for i, c in zip(ids.take(pa.array(most)).to_pylist(), counts[most].tolist(), strict=True)
        ],
    }


def children(terminology: Terminology) -> tuple[sp.csr_matrix, pa.Array]:
    """Return which concept stands right above which, of shape (concepts, concepts), and the ids of parents that are not
    there."""
    lists = terminology.concepts.column("parents").combine_chunks()
    ids = pc.list_flatten(lists)
    parent = terminology.rows(ids)
    there = parent >= 0
    child = pc.list_parent_indices(lists).to_numpy()[there]
    shape = (len(terminology), len(terminology))
    graph = sp.csr_matrix((np.ones(len(child), bool), (parent[there], child)), shape=shape)
    return graph, ids.filter(pa.array(~there)).drop_null()


def _levels(graph: sp.csr_matrix, roots: Ints) -> tuple[list[int], int]:
    """Return how many concepts are at each number of steps below the roots, and how many there are in all."""
    met = np.zeros(graph.shape[0], bool)
    level = roots
    sizes: list[int] = []
    while len(level) and len(sizes) < MOST_LEVELS:
        met[level] = True
        sizes.append(len(level))
        starts = graph.indptr[level].astype(np.int64)
        below = graph.indices[ranges(starts, graph.indptr[level + 1] - starts)]
        level = np.unique(below[~met[below]]).astype(np.int64)
    return sizes, int(met.sum())


def _circles(graph: sp.csr_matrix) -> tuple[list[Ints], int]:
    """Return the concepts of each circle, small circles first, and how many concepts are in one."""
    _, of = connected_components(graph, directed=True, connection="strong")
    own = graph.diagonal()
    sizes = np.bincount(of, minlength=1)
    rows = np.flatnonzero((sizes[of] > 1) | own)
    rows = rows[np.lexsort((rows, of[rows], sizes[of[rows]]))]
    starts = np.flatnonzero(np.diff(of[rows], prepend=-1))
    return np.split(rows, starts[1:]) if len(rows) else [], len(rows)


def _shown(terminology: Terminology, rows: Ints) -> list[dict[str, str]]:
    """Return the first concepts by id and name."""
    some = rows[:EXAMPLES]
    ids, names = (terminology.take("concepts", column, some) for column in ("id", "name"))
    return [{"id": i, "name": n} for i, n in zip(ids, names, strict=True)]
