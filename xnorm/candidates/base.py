"""The contract of a candidate generator: mentions in, the best concepts of a terminology out, as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from xnorm.config import ComponentConfig
from xnorm.progress import Progress, no_progress
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = [
    "CandidateGenerator",
    "Candidates",
    "GeneratorConfig",
    "MemberScores",
    "Rows",
    "Scores",
    "best_concepts",
    "top_k",
]

Rows = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

DECIMALS = 6
"""Scores are rounded to this many decimals, so that the last bits of a matrix product never decide a tie."""


@dataclass(slots=True)
class MemberScores:
    """What one member of an ensemble said of each candidate."""

    scores: Scores
    """Shape (mentions, k); NaN for padding."""
    ranks: Rows
    """Shape (mentions, k); from 1; 0 where the member did not propose the candidate."""


@dataclass(slots=True)
class Candidates:
    """A batch of candidates, best first: three aligned arrays of shape (mentions, k).

    Padding is -1 in `concepts` and `names` and -inf in `scores`. Ties are ordered by concept row, which is by id.
    """

    concepts: Rows
    scores: Scores
    names: Rows
    """Row of the name that won the concept its score; -1 if no name did."""
    members: dict[str, MemberScores] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.concepts)

    def sizes(self) -> npt.NDArray[np.int64]:
        """Return the number of candidates of each mention."""
        return (self.concepts >= 0).sum(axis=1)

    @classmethod
    def empty(cls, n: int, k: int) -> Candidates:
        """Return n empty rankings of width k."""
        shape = (n, k)
        return cls(np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32))

    def take(self, rows: npt.NDArray[np.int64]) -> Candidates:
        """Return the candidates of some mentions, in the order given; rows may repeat."""
        members = {n: MemberScores(m.scores[rows], m.ranks[rows]) for n, m in self.members.items()}
        return Candidates(self.concepts[rows], self.scores[rows], self.names[rows], members)


class GeneratorConfig(ComponentConfig):
    """What every generator has."""

    seam: ClassVar[str] = "candidates"


class CandidateGenerator(ABC):
    """Proposes concepts. A concept's score is the best of its names' scores; higher is better.

    A variant is made by `build` (from a terminology) or `load` (from what `save` wrote).
    """

    config_class: ClassVar[type[GeneratorConfig]] = GeneratorConfig

    @classmethod
    @abstractmethod
    def build(
        cls, config: GeneratorConfig, terminology: Terminology, *, progress: Progress = no_progress
    ) -> CandidateGenerator:
        """Index the names of a terminology."""

    @classmethod
    @abstractmethod
    def load(cls, config: GeneratorConfig, terminology: Terminology, folder: Path) -> CandidateGenerator:
        """Open what `save` wrote for the same config and terminology.

        Raises:
            ArtifactError: the folder does not fit the config.
        """

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the index into an existing, empty folder; never as pickle."""

    @abstractmethod
    def generate(self, mentions: Sequence[Mention], k: int) -> Candidates:
        """Return the k best concepts of each mention, exactly, among those with a name that matches at all.

        Args:
            mentions: their texts are not empty.
            k: from 1 to the number of concepts.
        """

    @abstractmethod
    def score(self, mentions: Sequence[Mention], concepts: Rows) -> tuple[Scores, Rows]:
        """Return what `generate` would say of given concepts.

        Args:
            concepts: shape (mentions, m), concept rows; -1 for padding.

        Returns:
            Scores and the names that won them, both of shape (mentions, m). Where nothing matches the score is that of
            the generator's zero and the name -1; padding gets -inf and -1.
        """


def best_concepts(names: Rows, scores: Scores, name_concept: Rows, k: int) -> Candidates:
    """Turn scored names into ranked concepts: each concept once, with its best name.

    Args:
        names: shape (mentions, m), name rows; -1 for padding.
        scores: shape (mentions, m).
        name_concept: shape (names of the terminology,), the concept of each name.

    Returns:
        Candidates of width k. Of equal names of a concept the first in the source's order wins.
    """
    n, m = names.shape
    if m == 0:
        return Candidates.empty(n, k)
    concepts = np.where(names >= 0, name_concept[np.maximum(names, 0)], -1)
    scores = np.where(names >= 0, np.round(scores, DECIMALS), -np.inf).astype(np.float32)
    mention = np.repeat(np.arange(n), m)
    order = np.lexsort((names.ravel(), -scores.ravel(), concepts.ravel(), mention))
    sorted_concepts = concepts.ravel()[order]
    # keep the first name of each (mention, concept)
    first = np.ones(n * m, bool)
    first[1:] = (sorted_concepts[1:] != sorted_concepts[:-1]) | (mention[1:] != mention[:-1])
    keep = order[first & (sorted_concepts >= 0)]
    return _ragged(mention[keep], concepts.ravel()[keep], scores.ravel()[keep], names.ravel()[keep], n, k)


def _ragged(mention: npt.NDArray[np.int64], concepts: Rows, scores: Scores, names: Rows, n: int, k: int) -> Candidates:
    """Sort loose (mention, concept, score, name) rows by mention, score and concept; cut each mention to k."""
    order = np.lexsort((concepts, -scores, mention))
    mention, concepts, scores, names = mention[order], concepts[order], scores[order], names[order]
    starts = np.searchsorted(mention, np.arange(n))
    rank = np.arange(len(mention)) - starts[mention]
    inside = rank < k
    out = Candidates.empty(n, k)
    at = (mention[inside], rank[inside])
    out.concepts[at], out.scores[at], out.names[at] = concepts[inside], scores[inside], names[inside]
    return out


def top_k(concepts: Rows, scores: Scores, names: Rows, k: int) -> tuple[Candidates, npt.NDArray[np.int64]]:
    """Rank given concepts (each once a mention) and cut to k.

    Returns:
        The candidates, and the column that each came from, shape (mentions, k), -1 for padding.
    """
    n, m = concepts.shape
    scores = np.where(concepts >= 0, np.round(scores, DECIMALS), -np.inf).astype(np.float32)
    order = np.lexsort((concepts, -scores), axis=1)[:, :k]
    rows = np.arange(n)[:, None]
    out = Candidates.empty(n, k)
    width = order.shape[1]
    out.concepts[:, :width], out.scores[:, :width] = concepts[rows, order], scores[rows, order]
    out.names[:, :width] = names[rows, order]
    columns = np.full((n, k), -1, np.int64)
    columns[:, :width] = np.where(out.concepts[:, :width] >= 0, order, -1)
    return out, columns
