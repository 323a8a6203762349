"""The weights of a static encoder while it is trained: forward, losses and their gradients, updates. numpy alone.

A text's vector is the unit vector of the sum of weight times vector over the rows it is made of; weights are kept as
logarithms. Updates are Adagrad's with one sum of squares a row, so that only the rows of a batch are touched.

Sources: van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding (the loss of `align`);
Duchi et al. 2011, Adaptive Subgradient Methods (Adagrad).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from xnorm.encoders.base import Vectors
from xnorm.registry import require

__all__ = ["Forward", "StaticModel", "align_loss", "distil_loss"]

Ints = npt.NDArray[np.int64]


@dataclass
class Forward:
    """Vectors of texts, and what their gradient needs."""

    used: Ints
    """Rows of the table, ascending, each once."""
    counts: csr_array
    """(texts, used): weight of a row times its occurrences."""
    lengths: Vectors
    """(texts, 1): of the sums, 1 for a sum of zeros."""
    vectors: Vectors
    """(texts, dim), unit length."""


class StaticModel:
    """Table, logarithms of weights, and Adagrad's sums.

    Args:
        table: float32 of shape (rows, dim).
        weights: float32 of shape (rows,), positive.
    """

    def __init__(self, table: Vectors, weights: Vectors) -> None:
        self.table, self.gains = table, np.log(weights)
        self.squares = np.zeros((2, len(table)), np.float32)

    def forward(self, owners: Ints, rows: Ints, n: int) -> Forward:
        """Return the vectors of `n` texts that are made of rows of the table, as `TextRows` gives them."""
        used, at = np.unique(rows, return_inverse=True)
        counts = csr_array((np.exp(self.gains[rows]), (owners, at)), shape=(n, len(used)))
        sums = counts @ self.table[used]
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        lengths[lengths < 1e-6] = 1  # nothing is left of a text, so that it learns nothing
        return Forward(used, counts, lengths, sums / lengths)

    def gradients(self, forward: Forward, gradient: Vectors) -> tuple[Vectors, Vectors]:
        """Return the gradients of a loss by the used rows of the table, (used, dim), and by the logarithms of their
        weights, (used,).

        Args:
            gradient: of the loss by the vectors, (texts, dim).
        """
        v = forward.vectors
        by_sums = (gradient - v * np.einsum("ij,ij->i", v, gradient)[:, None]) / forward.lengths
        by_table = forward.counts.T.tocsr() @ by_sums
        # a row enters a sum as exp(gain) times itself
        return by_table, np.einsum("ij,ij->i", self.table[forward.used], by_table)

    def update(self, forward: Forward, gradient: Vectors, rate: float) -> None:
        """Move against the gradient of a loss.

        Args:
            gradient: of the loss by the vectors, (texts, dim).
            rate: about how far a row moves.
        """
        used = forward.used
        by_table, by_gains = self.gradients(forward, gradient)
        self.squares[0, used] += np.einsum("ij,ij->i", by_table, by_table)
        self.squares[1, used] += by_gains**2
        scale = np.float32(rate) / np.sqrt(self.squares[:, used] + np.float32(1e-12))
        self.table[used] -= by_table * scale[0][:, None]
        self.gains[used] -= by_gains * scale[1]

    def save(self, path: Path, best: tuple[Vectors, Vectors], about: dict[str, str]) -> None:
        """Write all that a killed run needs, whole or not at all."""
        library = require("safetensors.numpy", extra="static", what="training")
        part = path.with_suffix(".part")
        tensors = {"table": self.table, "gains": self.gains, "squares": self.squares}
        library.save_file(tensors | {"best_table": best[0], "best_gains": best[1]}, str(part), metadata=about)
        part.replace(path)

    def load(self, path: Path) -> tuple[tuple[Vectors, Vectors], dict[str, str]]:
        """Take up what `save` wrote; return the best weights so far, and what was said about them."""
        library = require("safetensors", extra="static", what="training")
        with library.safe_open(str(path), framework="numpy") as f:
            found: dict[str, Any] = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118  (not a dict)
            about: dict[str, str] = f.metadata()
        self.table, self.gains, self.squares = found["table"], found["gains"], found["squares"]
        return (found["best_table"], found["best_gains"]), about


def align_loss(
    vectors: Vectors, groups: npt.NDArray[np.int32], weights: Vectors, temperature: float
) -> tuple[float, Vectors]:
    """Return the loss of a batch of pairs, and its gradient by the vectors.

    Each text is to find the other one of its pair among all texts of the batch: cross-entropy over the cosines by the
    temperature. Texts of one group are never negatives of each other.

    Args:
        vectors: (2 pairs, dim), first the left sides, then the right ones.
        groups: (pairs,)
        weights: (pairs,), how much a pair counts.
    """
    n, pairs = len(vectors), len(groups)
    scores = vectors @ vectors.T / np.float32(temperature)
    rows, other = np.arange(n), (np.arange(n) + pairs) % n
    both = np.concatenate([groups, groups])
    masked = both[:, None] == both[None]
    masked[rows, other] = False
    scores[masked] = -np.inf
    scores -= scores.max(axis=1, keepdims=True)
    right = scores[rows, other]
    shares = np.exp(scores, out=scores)
    total = shares.sum(axis=1)
    counts = np.concatenate([weights, weights])
    counts = counts / max(float(counts.sum()), 1e-12)
    loss = float((counts * (np.log(total) - right)).sum())
    shares /= total[:, None]
    shares[rows, other] -= 1
    shares *= (counts / np.float32(temperature))[:, None]
    return loss, shares @ vectors + shares.T @ vectors


def distil_loss(vectors: Vectors, teacher: Vectors, weights: Vectors) -> tuple[float, Vectors]:
    """Return the mean of 1 - cosine to a teacher's unit vectors, and its gradient by the vectors."""
    counts = weights / max(float(weights.sum()), 1e-12)
    loss = float((counts * (1 - np.einsum("ij,ij->i", vectors, teacher))).sum())
    return loss, -teacher * counts[:, None]
