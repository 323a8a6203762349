"""From logits of candidates to probabilities, fitted on validation data.

The probability of candidate i of a mention, with logits z of the cross-encoder and scores s of the generator, is

    p_i = softmax((z + prior * s) / temperature)_i,    NIL as one more choice with (z_NIL + nil) / temperature

The generator's score stays in, because the two err differently: a model that has learnt a corpus by heart is no judge
of concepts that it never met, while the likeness of names is as good for them as for others. `fit_calibration` takes
the three numbers that give the gold of validation mentions the greatest likelihood: a conditional logit. Without NIL as
a choice, a probability is one given that the gold is among the candidates; how often it is not, recall tells.

Sources: temperature, Guo et al. 2017, On calibration of modern neural networks; conditional logit, McFadden 1974.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.candidates.base import Scores
from xnorm.config import StrictModel

__all__ = ["Calibration", "Floats", "fit_calibration", "probabilities", "softmax"]

Floats = npt.NDArray[np.float64]

RANGE = (0.05, 20.0)
"""Temperatures lie between these, also where the validation cannot tell."""
RIDGE = 0.1
"""Pull towards temperature 1 and no prior, in standard units of the features: it decides where a small validation has
no errors, and is nothing beside some hundred mentions."""


class Calibration(StrictModel):
    """How the logits of a cross-encoder become probabilities."""

    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What they are divided by."""
    prior: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Weight of the generator's score, which is added to a candidate's logit."""
    nil: float = Field(default=0.0, allow_inf_nan=False)
    """Added to the logit of NIL."""

    def apply(self, logits: Floats, nil: Floats, scores: npt.NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Return what the softmax is taken of: shape (mentions, k), and for NIL (mentions,); -inf where the logit is.

        Args:
            logits, scores: shape (mentions, k); a score matters only where the logit is finite.
            nil: shape (mentions,).
        """
        known = np.where(np.isfinite(logits), scores, 0.0)
        return (logits + self.prior * known) / self.temperature, (nil + self.nil) / self.temperature


def softmax(logits: Floats, nil: Floats) -> tuple[Floats, Floats]:
    """Return the shares of candidates, shape (mentions, k), and of NIL, (mentions,); 0 where the logit is -inf."""
    both = np.concatenate([logits, nil[:, None]], axis=1)
    highest = both.max(axis=1, keepdims=True)
    power = np.exp(both - np.where(np.isfinite(highest), highest, 0.0))
    shares = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-300)
    return shares[:, :-1], shares[:, -1]


def probabilities(
    logits: Floats,
    nil: Floats,
    scores: npt.NDArray[np.floating],
    wanted: npt.NDArray[np.bool_],
    *,
    calibration: Calibration,
    allow_nil: bool,
) -> Scores:
    """Return what `Reranker.score` returns: shares, and NaN for the first scored candidate of a mention that is NIL,
    which is one whose NIL has a larger share than each candidate.

    Args:
        logits, nil, scores: as for `Calibration.apply`.
        wanted: shape (mentions, k), which candidates were scored.
        allow_nil: false takes NIL away.
    """
    if not allow_nil:
        nil = np.full_like(nil, -np.inf)
    shares, none = softmax(*calibration.apply(logits, nil, scores))
    best = np.where(wanted, shares, -np.inf).max(axis=1, initial=-np.inf)
    shares[(none > best)[:, None] & wanted & (wanted.cumsum(axis=1) == 1)] = np.nan  # says NIL
    return shares.astype(np.float32)


def fit_calibration(
    logits: Floats,
    nil: Floats,
    scores: npt.NDArray[np.floating],
    hits: npt.NDArray[np.bool_],
    is_nil: npt.NDArray[np.bool_],
) -> Calibration:
    """Return the calibration by which the gold has the greatest likelihood; that of no change where nothing tells.

    Several gold candidates share the target. A prior that would be below 0 is left out, for a better score can never
    count against a candidate.

    Args:
        logits, scores, hits: shape (mentions, k).
        nil: shape (mentions,); -inf where the model has no such choice.
        is_nil: shape (mentions,), for which mentions NIL is right: no candidate that was looked at is gold.
    """
    gold = hits & np.isfinite(logits)
    target = np.concatenate([gold, (is_nil & np.isfinite(nil) & ~gold.any(axis=1))[:, None]], axis=1).astype(float)
    both = np.concatenate([logits, nil[:, None]], axis=1)
    known = target.any(axis=1) & (np.isfinite(both).sum(axis=1) > 1)
    if not known.any():
        return Calibration()
    target = target[known] / target[known].sum(axis=1, keepdims=True)
    valid = np.isfinite(both[known])
    features = np.zeros((*target.shape, 3))
    features[:, :, 0] = np.where(valid, both[known], 0.0)
    features[:, :-1, 1] = np.where(valid[:, :-1], scores[known], 0.0)
    features[:, -1, 2] = 1.0
    used = [True, True, bool(valid[:, -1].any())]
    scale, prior, offset = _conditional_logit(features, target, valid, used)
    if prior < 0:
        scale, prior, offset = _conditional_logit(features, target, valid, [True, False, used[2]])
    scale = float(np.clip(scale, 1 / RANGE[1], 1 / RANGE[0]))
    return Calibration(
        temperature=round(1 / scale, 6), prior=round(max(prior, 0.0) / scale, 6), nil=round(offset / scale, 6)
    )


def _conditional_logit(
    features: Floats, target: Floats, valid: npt.NDArray[np.bool_], used: list[bool]
) -> tuple[float, float, float]:
    """Return the weights of the features by Newton's method, halving steps that do not descend."""
    at = np.flatnonzero(used)
    x = features[:, :, at]
    spread = np.maximum(x[valid].std(axis=0), 1e-9)  # in standard units the ridge means the same for each
    x = x / spread
    start = np.array([1.0, 0.0, 0.0])[at] * spread
    weights = start.copy()

    def loss(w: Floats) -> tuple[float, Floats]:
        z = np.where(valid, x @ w, -np.inf)
        z -= z.max(axis=1, keepdims=True)
        total = np.exp(z).sum(axis=1, keepdims=True)
        value = (np.log(total) - (target * np.where(valid, z, 0.0)).sum(axis=1, keepdims=True)).sum()
        return float(value + RIDGE / 2 * ((w - start) ** 2).sum()), np.exp(z) / total

    value, shares = loss(weights)
    for _ in range(100):
        mean = np.einsum("nk,nkf->nf", shares, x)
        slope = (mean - np.einsum("nk,nkf->nf", target, x)).sum(axis=0) + RIDGE * (weights - start)
        curve = np.einsum("nk,nkf,nkg->fg", shares, x, x) - mean.T @ mean + RIDGE * np.eye(len(at))
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-8 and (new := loss(weights - size * step))[0] > value:
            size /= 2
        if size <= 1e-8 or value - new[0] < 1e-10 * max(1.0, value):
            break
        weights, (value, shares) = weights - size * step, new
    full = np.zeros(3)
    full[at] = weights / spread
    return float(full[0]), float(full[1]), float(full[2])
