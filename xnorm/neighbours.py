"""Which concepts are hard to tell from each other: by the letters of their names, or by an encoder's own vectors."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sparse_dot_topn import sp_matmul_topn

from xnorm.alignment import AlignedNames
from xnorm.progress import Progress, no_progress
from xnorm.system import processors
from xnorm.text import fold, hash_ngrams

__all__ = ["first_texts", "nearest_by_letters", "nearest_concepts"]

Ints = npt.NDArray[np.int64]
Neighbours = npt.NDArray[np.int32]

SIZES = (3, 4)
"""Characters of an n-gram."""
COMMON = 0.02
"""N-grams in a larger share of the names say little, and cost most of the time."""
RARE, FREQUENT = 50, 2000
"""N-grams in so few names are never too common, and those in more always."""
BLOCK = 4096
"""Names compared at a time."""


def first_texts(names: AlignedNames) -> Ints:
    """Return the row of one text of each concept that pairs can be drawn of, which has two texts or more: the first in
    the most frequent language that it has."""
    order = np.lexsort((np.arange(len(names)), names.langs, names.concepts))
    _, first, sizes = np.unique(names.concepts[order], return_index=True, return_counts=True)
    return np.asarray(order[first[sizes > 1]])


def nearest_by_letters(names: AlignedNames, k: int, *, progress: Progress = no_progress) -> Neighbours:
    """Return the concepts whose first texts share most n-grams of letters, by the cosine of TF-IDF.

    Returns:
        Shape (highest concept number + 1, k), best first, -1 where there are no more. No concept of the same group is
        among them.
    """
    rows = first_texts(names)
    vectors = _tf_idf([names.texts[i] for i in rows.tolist()])
    by_ngram = vectors.T.tocsr()
    near, scores = np.full((len(rows), 2 * k + 1), -1, np.int64), np.zeros((len(rows), 2 * k + 1), np.float32)
    for start in range(0, len(rows), BLOCK):
        block = vectors[start : start + BLOCK]
        best = sp_matmul_topn(block, by_ngram, 2 * k + 1, sort=True, n_threads=processors())
        counts = np.diff(best.indptr)
        at = np.repeat(np.arange(block.shape[0]), counts) + start
        column = np.arange(len(best.indices)) - np.repeat(best.indptr[:-1], counts)
        near[at, column], scores[at, column] = best.indices, best.data
        progress("finding neighbours", min(start + BLOCK, len(rows)), len(rows))
    return _by_concept(names, rows, near, k)


def nearest_concepts(vectors: npt.NDArray[np.float32], names: AlignedNames, rows: Ints, k: int) -> Neighbours:
    """Return the concepts whose texts have the nearest vectors, exactly.

    Args:
        vectors: shape (rows, dim), of unit length: those of the texts `rows`, one a concept.
        rows: shape (rows,), as `first_texts` returns them, or some of them.

    Returns:
        As `nearest_by_letters`; concepts that are not among `rows` have none.
    """
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, np.float32))
    near = np.empty((len(rows), min(2 * k + 1, len(rows))), np.int64)
    for start in range(0, len(rows), BLOCK):
        near[start : start + BLOCK] = index.search(vectors[start : start + BLOCK], near.shape[1])[1]
    return _by_concept(names, rows, near, k)


def _by_concept(names: AlignedNames, rows: Ints, near: Ints, k: int) -> Neighbours:
    """Return concept numbers for positions in `rows`, by concept, without those of the same group.

    Args:
        near: shape (rows, m), best first, -1 for none.
    """
    concepts, groups = names.concepts[rows], names.groups[rows]
    good = (near >= 0) & (groups[near] != groups[:, None])
    order = np.argsort(~good, axis=1, kind="stable")[:, :k]
    found = np.where(np.take_along_axis(good, order, axis=1), concepts[np.take_along_axis(near, order, axis=1)], -1)
    out = np.full((int(names.concepts.max(initial=-1)) + 1, k), -1, np.int32)
    out[concepts, : found.shape[1]] = found
    return out


def _tf_idf(texts: Sequence[str]) -> sp.csr_matrix:
    """Return rows of unit length, or empty, without n-grams that are too common; shape (texts, n-grams)."""
    row, hashes = hash_ngrams([fold(text) for text in texts], SIZES)
    _, column = np.unique(hashes, return_inverse=True)
    shape = (len(texts), int(column.max(initial=-1)) + 1)
    counts = sp.csr_matrix((np.ones(len(row), np.float32), (row, column)), shape=shape)  # adds up what occurs twice
    df = np.bincount(counts.indices, minlength=shape[1])
    told = df <= max(RARE, min(FREQUENT, COMMON * len(texts)))
    idf = np.where(told, 1 + np.log((1 + len(texts)) / (1 + df)), 0).astype(np.float32)
    counts.data = (1 + np.log(counts.data)) * idf[counts.indices]
    counts.eliminate_zeros()
    norms = np.sqrt(counts.multiply(counts).sum(axis=1)).A1
    return sp.csr_matrix(sp.diags((1 / np.maximum(norms, 1e-12)).astype(np.float32)) @ counts, dtype=np.float32)
