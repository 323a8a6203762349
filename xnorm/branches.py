"""What lies below some concepts: by their ids, as a parser of records has them, or by rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order

__all__ = ["below", "rows_below"]


def below(roots: Iterable[str], parents: Iterable[tuple[str, Iterable[str]]]) -> set[str]:
    """Return the ids at and below these roots; circles do no harm.

    Args:
        parents: ids, and the ids of their parents.
    """
    children: dict[str, list[str]] = defaultdict(list)
    for child, above in parents:
        for parent in above:
            children[parent].append(child)
    todo, kept = list(roots), set[str]()
    while todo:
        if (current := todo.pop()) not in kept:
            kept.add(current)
            todo.extend(children.get(current, ()))
    return kept


def rows_below(roots: npt.NDArray[np.integer], children: sp.csr_matrix) -> npt.NDArray[np.bool_]:
    """Return which rows are among the roots or below them, shape (rows,); circles do no harm.

    Args:
        children: which row stands right above which, shape (rows, rows).
    """
    n = children.shape[0]
    # one node above the roots, from which everything is reached
    indptr = np.append(children.indptr, children.nnz + len(roots))
    indices = np.concatenate([children.indices, roots])
    graph = sp.csr_matrix((np.ones(len(indices), np.float64), indices, indptr), shape=(n + 1, n + 1))
    mask = np.zeros(n + 1, bool)
    mask[breadth_first_order(graph, n, directed=True, return_predecessors=False)] = True
    return mask[:n]
