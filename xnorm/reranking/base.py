"""The contract of a reranker: mentions with their candidates in, the same candidates in a better order out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.candidates.base import Candidates, Scores
from xnorm.config import ComponentConfig
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Reranker", "RerankerConfig", "reorder", "within_reach"]


USUAL_TOP = 64
"""How many candidates are looked at where nothing else is said."""


class RerankerConfig(ComponentConfig):
    """What every reranker has."""

    seam: ClassVar[str] = "reranking"

    top: int | None = Field(default=None, ge=1)
    """How many of the best candidates are looked at; those below keep their order and stay below. Default: as many as a
    trained model was calibrated on, else 64."""
    margin: float | None = Field(default=None, ge=0)
    """Candidates that score more than this below the first one are not looked at, and a mention that has no other
    within it is left as it is, its scores too, so that a `threshold` does not go with it; in the generator's scores.
    Default: all of the `top` are."""


class Reranker(ABC):
    """Gives candidates new scores; higher is better."""

    config_class: ClassVar[type[RerankerConfig]] = RerankerConfig
    config: RerankerConfig
    usual_top: int = USUAL_TOP
    """`top` where the config has none."""

    @property
    def top(self) -> int:
        """How many of the best candidates are looked at."""
        return self.config.top or self.usual_top

    @classmethod
    @abstractmethod
    def load(cls, config: RerankerConfig, terminology: Terminology) -> Reranker:
        """Make a reranker for the candidates of one terminology.

        Raises:
            ArtifactError, ConfigError: a model that the config names is missing or does not fit.
        """

    @abstractmethod
    def score(self, mentions: Sequence[Mention], candidates: Candidates, wanted: npt.NDArray[np.bool_]) -> Scores:
        """Return new scores.

        Args:
            mentions: with context and types, where they have them.
            candidates: shape (mentions, k).
            wanted: shape (mentions, k), which candidates are to be scored: the first few of a mention, but for those
                whose concept the terminology does not have.

        Returns:
            Shape (mentions, k); what stands where nothing is wanted is not looked at. NaN says that the mention is NIL
            where it is the score of the first wanted candidate.
        """

    def rerank(self, mentions: Sequence[Mention], candidates: Candidates) -> Candidates:
        """Return the candidates in the order of their new scores. Equal ones keep their old order."""
        wanted = within_reach(candidates, self.top, self.config.margin)
        if not wanted.any():
            return candidates
        return reorder(candidates, self.score(mentions, candidates, wanted), wanted)


def within_reach(candidates: Candidates, top: int, margin: float | None = None) -> npt.NDArray[np.bool_]:
    """Return which candidates a reranker looks at, shape (mentions, k); arguments as in `RerankerConfig`."""
    wanted = candidates.concepts >= 0  # below are padding, and concepts that the terminology has no more
    wanted[:, top:] = False
    if margin is not None and wanted.shape[1]:
        wanted &= candidates.scores >= candidates.scores[:, :1] - np.float32(margin)
        wanted[wanted.sum(axis=1) < 2] = False
    return np.asarray(wanted)


def reorder(candidates: Candidates, scores: Scores, wanted: npt.NDArray[np.bool_]) -> Candidates:
    """Sort the wanted candidates of each mention by new scores, which they take; the others stay behind them.

    Args:
        scores: shape (mentions, k).
        wanted: shape (mentions, k), which candidates were scored.

    Returns:
        New candidates. Those that were not scored keep the score that they had, but no more than the lowest new one, so
        that a ranking falls from left to right. A mention whose first wanted candidate has NaN is left with none.
    """
    nil = (wanted & (wanted.cumsum(axis=1) == 1) & np.isnan(scores)).any(axis=1)
    scores = np.where(np.isnan(scores), np.float32(-np.inf), scores)
    key = np.where(wanted, -scores.astype(np.float64), np.inf)
    order = np.argsort(key, axis=1, kind="stable")
    rows = np.arange(len(order))[:, None]
    lowest = np.where(wanted.any(axis=1), np.where(wanted, scores, np.inf).min(axis=1, initial=np.inf), np.inf)
    mixed = np.where(wanted, scores, np.minimum(candidates.scores, lowest[:, None]))
    out = Candidates(
        candidates.concepts[rows, order],
        mixed[rows, order].astype(np.float32),
        candidates.names[rows, order],
        {
            name: type(member)(member.scores[rows, order], member.ranks[rows, order])
            for name, member in candidates.members.items()
        },
    )
    out.concepts[nil], out.names[nil] = -1, -1
    for member in out.members.values():
        member.scores[nil], member.ranks[nil] = np.nan, 0
    out.scores[out.concepts < 0] = -np.inf
    return out
