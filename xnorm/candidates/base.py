"""The contract of a candidate generator: mentions in, the best concepts of a terminology out, as arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xnorm.config import ComponentConfig
from xnorm.errors import ConfigError
from xnorm.progress import Progress, no_progress
from xnorm.tables import Terminology, ranges
from xnorm.types import Mention

__all__ = [
    "Allowed",
    "CandidateGenerator",
    "Candidates",
    "GeneratorConfig",
    "MemberScores",
    "Rows",
    "Scores",
    "best_concepts",
    "loose_candidates",
    "names_for",
    "score_by_names",
    "ties_beyond",
    "top_k",
]

Rows = npt.NDArray[np.int32]
Scores = npt.NDArray[np.float32]

DECIMALS = 6
"""Scores are rounded to this many decimals, so that the last bits of a matrix product never decide a tie."""


FEW = 0.75
"""Up to this share of the names, those that filters allow are copied into a smaller index; else they are picked from
what the whole index proposes."""


class Allowed:
    """The names that filters allow to be proposed, and with them their concepts.

    Args:
        names: shape (names of the terminology,), which ones.
    """

    def __init__(self, terminology: Terminology, names: npt.NDArray[np.bool_]) -> None:
        self.names = names
        self.n_names = int(names.sum())
        self.concepts: npt.NDArray[np.bool_] = np.zeros(len(terminology), bool)
        """Shape (concepts of the terminology,): those with an allowed name."""
        self.concepts[terminology.name_concept[names]] = True
        self.few = self.n_names <= FEW * len(names)
        """Whether they are to be copied."""

    @cached_property
    def rows(self) -> Rows:
        """The rows of the allowed names, ascending."""
        return np.flatnonzero(self.names).astype(np.int32)

    def only(self, concepts: Rows) -> Rows:
        """Return concept rows of any shape with -1 in place of those that have no allowed name."""
        return np.where((concepts >= 0) & self.concepts[concepts], concepts, np.int32(-1))


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
        return np.asarray((self.concepts >= 0).sum(axis=1))

    @classmethod
    def empty(cls, n: int, k: int) -> Candidates:
        """Return n empty rankings of width k."""
        shape = (n, k)
        return cls(np.full(shape, -1, np.int32), np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int32))

    @classmethod
    def stack(cls, parts: Sequence[Candidates], *, members: bool = False) -> Candidates:
        """Join batches of one width.

        Args:
            members: whether to keep what members said, which must be the same ones in all batches.
        """
        columns = [(part.concepts, part.scores, part.names) for part in parts]
        concepts, scores, names = (np.concatenate(column) for column in zip(*columns, strict=True))
        said = {name: [part.members[name] for part in parts] for name in parts[0].members if members}
        return cls(concepts, scores, names, {
            name: MemberScores(np.concatenate([m.scores for m in own]), np.concatenate([m.ranks for m in own]))
            for name, own in said.items()
        })  # fmt: skip

    def first(self, k: int) -> Candidates:
        """Return the k best candidates of each mention."""
        members = {n: MemberScores(m.scores[:, :k], m.ranks[:, :k]) for n, m in self.members.items()}
        return Candidates(self.concepts[:, :k], self.scores[:, :k], self.names[:, :k], members)

    def take(self, rows: npt.NDArray[np.int64]) -> Candidates:
        """Return the candidates of some mentions, in the order given; rows may repeat."""
        members = {n: MemberScores(m.scores[rows], m.ranks[rows]) for n, m in self.members.items()}
        return Candidates(self.concepts[rows], self.scores[rows], self.names[rows], members)


class GeneratorConfig(ComponentConfig):
    """What every generator has."""

    seam: ClassVar[str] = "candidates"
    at_query: ClassVar[frozenset[str]] = frozenset()
    """Keys that what is saved does not depend on, so that they may change without a new index."""


class CandidateGenerator(ABC):
    """Proposes concepts. A concept's score is the best of its names' scores; higher is better. The score of a name is
    multiplied by its weight (`Terminology.name_weights`).

    A variant is made by `build` (from a terminology) or `load` (from what `save` wrote).
    """

    config_class: ClassVar[type[GeneratorConfig]] = GeneratorConfig
    config: GeneratorConfig
    _allowed: Allowed | None = None
    """What may be proposed; None is everything."""

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
    def represent(self, mentions: Sequence[Mention]) -> Any:
        """Return mentions in the form that this generator compares with names: hashes, sparse rows, vectors.

        Args:
            mentions: their texts are not empty.
        """

    @abstractmethod
    def nearest(self, queries: Any, k: int) -> Candidates:
        """Return the k best concepts for what `represent` returned, exactly, among those that match at all.

        Args:
            k: from 1 to the number of concepts.
        """

    @abstractmethod
    def rate(self, queries: Any, concepts: Rows) -> tuple[Scores, Rows]:
        """Return what `nearest` would say of given concepts.

        Args:
            concepts: shape (mentions, m), concept rows; -1 for padding.

        Returns:
            Scores and the names that won them, both of shape (mentions, m). Where nothing matches the score is the
            generator's zero and the name -1; padding, and what filters do not allow, gets -inf and -1.
        """

    @property
    def kind(self) -> str:
        """What the generator is: its type, and after a slash what else its scores are like for."""
        return self.config.type

    def knows(self, lang: str) -> bool | None:
        """Return whether the generator understands a language: what an encoder says, True if it says nothing; None for
        generators that compare letters, whatever the language.

        Args:
            lang: main code.
        """
        return None

    def restrict(self, allowed: Allowed) -> CandidateGenerator:
        """Return this generator, which is whole, over the allowed names alone: a concept's score is the best of its
        allowed names, a concept without any is as if it were not there, and the scores of names are as they were.

        Raises:
            ConfigError: the generator has no filters.
        """
        raise ConfigError(f"filters: generators of the type '{self.config.type}' have none; its class lacks `restrict`")

    def stages(self, queries: Any, k: int) -> dict[str, Candidates]:
        """Return what there is after each step on the way to what `nearest` returns, which is the last one."""
        return {self.config.type: self.nearest(queries, k)}

    def generate(self, mentions: Sequence[Mention], k: int) -> Candidates:
        """Return the k best concepts of each mention."""
        return self.nearest(self.represent(mentions), k)

    def score(self, mentions: Sequence[Mention], concepts: Rows) -> tuple[Scores, Rows]:
        """Return the scores of given concepts, and the names that won them."""
        return self.rate(self.represent(mentions), concepts)


def names_for(k: int, terminology: Terminology, allowed: Allowed | None = None) -> int:
    """Return how many names to fetch first so that k distinct concepts are likely among them.

    Args:
        allowed: names that may be proposed, default all; if they are few, nothing but them is fetched.
    """
    if allowed is None:
        return int(k * terminology.n_names / len(terminology)) + 16
    wanted = k * allowed.n_names / max(1, int(allowed.concepts.sum())) + 16
    return int(wanted if allowed.few else wanted * terminology.n_names / allowed.n_names)


def ties_beyond(found: Candidates, lowest: Scores) -> npt.NDArray[np.bool_]:
    """Return which mentions have a last candidate that scores no more than the lowest name fetched.

    Then a name that was not fetched may tie with it, and its concept have a smaller id.

    Args:
        found: candidates of width k, shape (mentions, k).
        lowest: shape (mentions,).
    """
    return np.asarray(found.scores[:, -1] <= np.round(lowest, DECIMALS))


def best_concepts(names: Rows, scores: Scores, name_concept: Rows, k: int) -> Candidates:
    """Turn scored names into ranked concepts: each concept once, with its best name.

    Args:
        names: shape (mentions, m), name rows; -1 for padding.
        scores: shape (mentions, m).
        name_concept: shape (names of the terminology,), the concept of each name.

    Returns:
        Candidates of width k. Of equal names of a concept the first in the source's order wins.
    """
    mention, column = np.nonzero(names >= 0)
    found = names[mention, column]
    return loose_candidates(mention, name_concept[found], scores[mention, column], found, len(names), k)


def loose_candidates(
    mention: npt.NDArray[np.int64], concepts: Rows, scores: Scores, names: Rows, n: int, k: int
) -> Candidates:
    """Rank loose (mention, concept, score, name) rows: each concept of a mention once with its best row, cut to k.

    Args:
        mention, concepts, scores, names: shape (rows,), in any order.
        n: number of mentions.
    """
    if not len(mention):
        return Candidates.empty(n, k)
    # one row for each (mention, concept): the best score, and of the names that reach it the first
    order = np.argsort(mention * (np.int64(concepts.max()) + 1) + concepts, kind="stable")
    mention, concepts, names = mention[order], concepts[order], names[order]
    points = np.rint(scores[order].astype(np.float64) * 10**DECIMALS).astype(np.int64)
    first = np.append(True, (concepts[1:] != concepts[:-1]) | (mention[1:] != mention[:-1]))
    starts = np.flatnonzero(first)
    best = np.maximum.reduceat(points, starts)
    wins = points == best[np.cumsum(first) - 1]
    names = np.minimum.reduceat(np.where(wins, names, np.iinfo(np.int32).max), starts)
    mention, concepts = mention[starts], concepts[starts]
    # by mention and falling score; the sort is stable, so ties stay ordered by concept
    span = np.int64(best.max() - best.min() + 1)
    order = np.argsort(mention * span + (best.max() - best), kind="stable")
    mention, concepts, best, names = mention[order], concepts[order], best[order], names[order]
    rank = np.arange(len(mention)) - np.searchsorted(mention, np.arange(n))[mention]
    inside = rank < k
    out = Candidates.empty(n, k)
    at = (mention[inside], rank[inside])
    out.concepts[at], out.names[at] = concepts[inside], names[inside]
    out.scores[at] = best[inside] / 10**DECIMALS
    return out


def score_by_names(
    concepts: Rows,
    first_name: npt.NDArray[np.int64],
    score_pairs: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Scores],
    allowed: Allowed | None = None,
) -> tuple[Scores, Rows]:
    """Score given concepts by the best of their names, or of those that are allowed.

    Args:
        concepts: shape (mentions, m), concept rows; -1 for padding.
        first_name: shape (concepts + 1,), where the names of each concept begin.
        score_pairs: given mention positions and name rows, both of shape (pairs,), returns their scores.

    Returns:
        Scores and winning names, both of shape (mentions, m); -inf and -1 for padding and for concepts without an
        allowed name.
    """
    concepts = concepts if allowed is None else allowed.only(concepts)
    scores = np.full(concepts.shape, -np.inf, np.float32)
    winners = np.full(concepts.shape, -1, np.int32)
    mention, column = np.nonzero(concepts >= 0)
    if len(mention):
        rows = concepts[mention, column]
        starts = first_name[rows]
        counts = first_name[rows + 1] - starts
        names = ranges(starts, counts)
        if allowed is not None:
            kept = allowed.names[names]
            names, counts = names[kept], np.add.reduceat(kept, np.cumsum(counts) - counts, dtype=np.int64)
        begin = np.cumsum(counts) - counts
        pairs = np.round(score_pairs(np.repeat(mention, counts), names), DECIMALS)
        best = np.maximum.reduceat(pairs, begin)
        # the first name that reaches the best score
        at = np.flatnonzero(pairs == np.repeat(best, counts))
        owner = np.searchsorted(begin, at, "right") - 1
        _, firsts = np.unique(owner, return_index=True)
        scores[mention, column], winners[mention, column] = best, names[at[firsts]]
    return scores, winners


def top_k(concepts: Rows, scores: Scores, names: Rows, k: int) -> tuple[Candidates, npt.NDArray[np.int64]]:
    """Rank given concepts (each once a mention) and cut to k.

    Returns:
        The candidates, and the column that each came from, shape (mentions, k), -1 for padding.
    """
    n = len(concepts)
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
