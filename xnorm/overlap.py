"""Arithmetic of spans: which characters two mentions share, and which of them are paired off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["Spans", "merge_spans", "pair_off", "shared_characters", "sweep"]

Spans = tuple[tuple[int, int], ...]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def merge_spans(spans: Sequence[tuple[int, int]]) -> Spans:
    """Return the same set of characters as sorted, disjoint, non-touching half-open spans."""
    if len(spans) < 2:
        return tuple(spans)
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def shared_characters(left: Sequence[Spans], right: Sequence[Spans]) -> Ints:
    """Return how many characters the pairs share, shape (pairs,); spans as `merge_spans` gives them."""
    hull = np.array([(a[0][0], a[-1][1], b[0][0], b[-1][1]) for a, b in zip(left, right, strict=True)], np.int64)
    start_a, end_a, start_b, end_b = hull.reshape(-1, 4).T
    shared: Ints = np.maximum(np.minimum(end_a, end_b) - np.maximum(start_a, start_b), 0)
    for i in np.flatnonzero(shared).tolist():
        if len(left[i]) > 1 or len(right[i]) > 1:
            shared[i] = sum(max(min(e, g) - max(s, f), 0) for s, e in left[i] for f, g in right[i])
    return shared


def pair_off(left: Ints, right: Ints, weight: Floats) -> Bools:
    """Choose among pairs so that nothing is in two of them and the total weight is greatest.

    Args:
        left: shape (pairs,), a number of each pair's left side; no pair occurs twice.
        right: shape (pairs,), the same for the right side.
        weight: shape (pairs,), above 0.

    Returns:
        Shape (pairs,), whether a pair is chosen. Each connected group of pairs is an assignment problem of its own
        (Kuhn 1955, solved as by Crouse 2016 in scipy).
    """
    if not len(left):
        return np.zeros(0, np.bool_)
    from scipy.optimize import linear_sum_assignment
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    chosen = np.ones(len(left), np.bool_)
    a, b = (np.unique(side, return_inverse=True)[1] for side in (left, right))
    n, m = int(a.max()) + 1, int(b.max()) + 1
    links = coo_matrix((np.ones(len(a)), (a, b + n)), shape=(n + m, n + m))
    group = connected_components(links, directed=False)[1][a]
    order = np.argsort(group, kind="stable")
    for pairs in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if len(pairs) < 2:
            continue
        (rows, i), (columns, j) = (np.unique(side[pairs], return_inverse=True) for side in (a, b))
        gain = np.zeros((len(rows), len(columns)))
        gain[i, j] = weight[pairs]
        best = np.full(len(rows), -1)
        took, given = linear_sum_assignment(gain, maximize=True)
        best[took] = given
        chosen[pairs] = best[i] == j
    return chosen


def sweep(left: Ints, right: Ints, group: Ints, left_hull: Ints, right_hull: Ints) -> Bools:
    """Choose the pairs that neleval's search for overlaps visits and finds to overlap, its ends being inclusive.

    It compares the last annotation of either side and drops the later one (by start, then the shorter), so it misses
    overlaps under nested annotations. For the reproduction of xMEN alone.

    Args:
        left: shape (pairs,), number of the predicted annotation; every pair of a group is there.
        right: shape (pairs,), number of the gold annotation.
        group: shape (pairs,), rising; annotations of one document and concept.
        left_hull: shape (pairs, 2), start and end of the predicted annotation.
        right_hull: shape (pairs, 2), start and end of the gold annotation.
    """
    chosen = np.zeros(len(left), np.bool_)
    overlapping = (left_hull[:, 0] <= right_hull[:, 1]) & (left_hull[:, 1] >= right_hull[:, 0])
    for pairs in np.split(np.arange(len(group)), np.flatnonzero(np.diff(group)) + 1):
        if len(pairs) < 2:
            chosen[pairs] = overlapping[pairs]
            continue
        at: dict[tuple[int, int], int] = {(int(left[p]), int(right[p])): int(p) for p in pairs}
        a, b = (_in_order(side, hull, pairs) for side, hull in ((left, left_hull), (right, right_hull)))
        while a and b:
            p = at[a[-1][2], b[-1][2]]
            chosen[p] = overlapping[p]
            (a if a[-1][:2] > b[-1][:2] else b).pop()
    return chosen


def _in_order(side: Ints, hull: Ints, pairs: Ints) -> list[tuple[int, int, int]]:
    """Return start, minus end and number of the annotations of one side, in neleval's order."""
    seen: dict[int, tuple[int, int]] = {}
    for p in pairs:
        seen[int(side[p])] = (int(hull[p, 0]), -int(hull[p, 1]))
    return sorted((*key, number) for number, key in seen.items())
