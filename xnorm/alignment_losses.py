"""Losses that pull the names of one concept together, and the module that trains with them.

For one batch of n texts, let v be their unit vectors, S = v vᵀ, c the concept of a text and g its group: concepts that
share a name have one group, and texts of one group are never negatives of each other. Of text i the positives P_i are
the others of its concept, the negatives N_i those of other groups.

    contrastive         L_i = -log( e^(S_ip / t) / (e^(S_ip / t) + Σ_{k in N_i} e^(S_ik / t)) ), p the text's pair
    multi_similarity    L_i = 1/a log(1 + Σ_{k in P_i} e^(-a (S_ik - m))) + 1/b log(1 + Σ_{k in N_i} e^(b (S_ik - m)))

The loss of a batch is Σ w_i L_i / Σ w_i, where w_i is the weight of text i times that of its positives, their mean if
it has several: a doubtful name counts little, whichever side of a pair it is.

With a margin d, multi_similarity sums over hard pairs alone. Let D be Euclidean distances. A positive p and a negative
k of i are kept if there is a triplet of them with D_ip + d > D_ik; a text without such a triplet has L_i = 0.

With several dimensions (Matryoshka) the loss is the mean over vectors that are cut to each and scaled to unit length.

Sources: contrastive, van den Oord et al. 2018 (InfoNCE, arXiv 1807.03748), over all 2b texts as in Chen et al. 2020
(arXiv 2002.05709); multi_similarity, Wang et al. 2019 (arXiv 1904.06627), its equation 6, with a = 2, b = 50, m = 0.5;
hard pairs and the use on names of concepts, Liu et al. 2021 (SapBERT, arXiv 2010.11784); Matryoshka, Kusupati et al.
2022 (arXiv 2205.13147).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xnorm.errors import ConfigError

__all__ = ["AlignmentLoss", "Targets", "contrastive_loss", "cut", "multi_similarity_loss", "uniform_loss"]

FAR = -1e9
"""A logit that counts as none; finite, so that a row without any other has a gradient."""


@dataclass(frozen=True)
class Targets:
    """What a batch of b pairs says of its 2b texts: first the left ones, then the right ones."""

    concepts: Tensor
    """Shape (2b,): the same number for texts of one concept."""
    groups: Tensor
    """Shape (2b,): the same number for concepts that share a name."""
    weights: Tensor
    """Shape (2b,), at least 0."""

    def to(self, device: Any) -> Targets:
        """Return the same on a device."""
        return Targets(self.concepts.to(device), self.groups.to(device), self.weights.to(device))


def contrastive_loss(vectors: Tensor, targets: Targets, *, temperature: float = 0.03) -> Tensor:
    """Return the contrastive loss; formulas are at the module's head.

    Args:
        vectors: shape (2b, dim), unit length; row i and row i + b are a pair.

    Returns:
        Scalar; 0 where every weight is 0.
    """
    pair = _pairs(len(vectors), vectors.device)
    logits = (vectors @ vectors.T / temperature).masked_fill(~_allowed(targets, pair), FAR)
    losses = torch.nn.functional.cross_entropy(logits, pair, reduction="none")
    return _mean(losses, targets.weights * targets.weights[pair])


def uniform_loss(targets: Targets) -> float:
    """Return the contrastive loss of vectors that are all alike: with no shared groups, log(2b - 1)."""
    allowed = _allowed(targets, _pairs(len(targets.groups), targets.groups.device)).sum(dim=1).float()
    return float(allowed.log().mean())


def multi_similarity_loss(
    vectors: Tensor,
    targets: Targets,
    *,
    alpha: float = 2,
    beta: float = 50,
    base: float = 0.5,
    margin: float | None = 0.2,
) -> Tensor:
    """Return the multi-similarity loss; formulas are at the module's head.

    Args:
        vectors: shape (n, dim), unit length.
        margin: d; None: all pairs count.

    Returns:
        Scalar; 0 where every weight is 0.
    """
    similar = vectors @ vectors.T
    alike = targets.concepts[:, None] == targets.concepts
    alike.fill_diagonal_(False)
    apart = targets.groups[:, None] != targets.groups
    weights = targets.weights * _mean_of(targets.weights, alike)
    if margin is not None:
        alike, apart = _hard(similar.detach(), alike, apart, margin)
    near = _log_one_plus(-alpha * (similar - base), alike) / alpha
    far = _log_one_plus(beta * (similar - base), apart) / beta
    return _mean(near + far, weights)


def cut(vectors: Tensor, dimension: int) -> Tensor:
    """Return the first dimensions of vectors, scaled to unit length (L2)."""
    return torch.nn.functional.normalize(vectors[:, :dimension], dim=1)


def _pairs(n: int, device: Any) -> Tensor:
    """Return the row of each row's pair."""
    return torch.arange(n, device=device).roll(-(n // 2))


def _allowed(targets: Targets, pair: Tensor) -> Tensor:
    """Return, shape (2b, 2b), what stands below the fraction of a row: its pair and its negatives."""
    return (targets.groups[:, None] != targets.groups).scatter(1, pair[:, None], True)


def _mean_of(weights: Tensor, among: Tensor) -> Tensor:
    """Return the mean weight of a row's positives, 1 where there are none."""
    count = among.sum(dim=1)
    return torch.where(count > 0, (among * weights).sum(dim=1) / count.clamp(min=1), 1.0)


def _hard(similar: Tensor, alike: Tensor, apart: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    distance = (2 - 2 * similar).clamp(min=0).sqrt()
    nearest = distance.masked_fill(~apart, math.inf).min(dim=1, keepdim=True).values
    farthest = distance.masked_fill(~alike, -math.inf).max(dim=1, keepdim=True).values
    return alike & (distance + margin > nearest), apart & (farthest + margin > distance)


def _log_one_plus(logits: Tensor, among: Tensor) -> Tensor:
    """Return log(1 + the sum of e^x over some of each row)."""
    rows = torch.nn.functional.pad(logits.masked_fill(~among, FAR), (1, 0))
    return torch.logsumexp(rows, dim=1)


def _mean(losses: Tensor, weights: Tensor) -> Tensor:
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)


class AlignmentLoss(torch.nn.Module):  # type: ignore[misc]
    """`contrastive_loss` or `multi_similarity_loss`, also for the trainer of sentence-transformers 6.

    Args:
        model: a `SentenceTransformer`; None if only `of_vectors` is called.
        multi_similarity: which of the two.
        dimensions: cuts of the vectors; default: the whole vectors alone.
        settings: those of the loss.

    Raises:
        ConfigError: a setting of the loss that makes no sense.
    """

    def __init__(
        self, model: Any, *, multi_similarity: bool = False, dimensions: Sequence[int] = (), **settings: float | None
    ) -> None:
        super().__init__()
        for name, value in settings.items():
            # `margin` may be none, and 0; `base` is a cosine
            if value is not None and not (math.isfinite(value) and (value > 0 or name in ("margin", "base"))):
                raise ConfigError(f"{name} {value}; expected a finite number above 0")
        if any(d < 1 for d in dimensions):
            raise ConfigError(f"dimensions {list(dimensions)}; expected each to be 1 or more")
        self.model, self.multi_similarity = model, multi_similarity
        self.dimensions, self.settings = tuple(dimensions), settings

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card lists."""
        return {"multi_similarity": self.multi_similarity, "dimensions": list(self.dimensions), **self.settings}

    def forward(self, sentence_features: Sequence[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of two columns of b texts.

        Args:
            sentence_features: the two columns, as the model's `preprocess` gives them.
            labels: shape (b,), a number for each pair: that of its concept, which is its group too. Default: all pairs
                are of concepts of their own.

        Raises:
            ConfigError: other columns than two.
        """
        columns = [self.model(features)["sentence_embedding"] for features in sentence_features]
        if len(columns) != 2:
            raise ConfigError(f"the loss got {len(columns)} columns of texts; expected two, names of one concept")
        vectors = torch.cat(columns)
        own = torch.arange(len(vectors) // 2, device=vectors.device) if labels is None else labels.to(vectors.device)
        both = own.view(-1).repeat(2)
        return self.of_vectors(vectors, Targets(both, both, vectors.new_ones(len(both))))

    def of_vectors(self, vectors: Tensor, targets: Targets) -> Tensor:
        """Return the loss of vectors of any length, shape (2b, dim): first the left texts of the pairs, then the right
        ones."""
        loss: Any = multi_similarity_loss if self.multi_similarity else contrastive_loss
        dimensions = self.dimensions or (vectors.shape[1],)
        targets, vectors = targets.to(vectors.device), vectors.float()
        found = [loss(cut(vectors, dimension), targets, **self.settings) for dimension in dimensions]
        return torch.stack(found).mean()
