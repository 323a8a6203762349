"""From texts of pairs to scores: what every reranker that reads mention and concept together does alike.

What reads them is a function from pairs of texts to logits: a transformer in torch, or its exported graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.candidates.base import Candidates, Scores
from xnorm.pairs import PairWriter, fit
from xnorm.types import Mention

__all__ = ["Floats", "Predict", "logits_of", "probabilities", "softmax"]

Floats = npt.NDArray[np.float64]
Predict = Callable[[Sequence[tuple[str, str]]], Floats]
"""Texts of mention and concept, never none, to a logit for each."""


def logits_of(
    predict: Predict,
    tokenizer: Any,
    writer: PairWriter,
    mentions: Sequence[Mention],
    candidates: Candidates,
    wanted: npt.NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Return the logits of the wanted candidates, shape (mentions, k), and of NIL, (mentions,); -inf where there is
    none. Pairs of equal texts are scored once.

    Args:
        tokenizer: what `fit` needs, with the markers added.
    """
    lefts, rights = writer.write(mentions, candidates, wanted)
    lefts = fit(lefts, tokenizer, writer.config)
    number: dict[tuple[str, str], int] = {}
    rows = [[number.setdefault((a, b), len(number)) for b in own] for a, own in zip(lefts, rights, strict=True)]
    logits, nil = np.full(wanted.shape, -np.inf), np.full(len(wanted), -np.inf)
    if number:
        found = predict(list(number))
        for i, own in enumerate(rows):
            n = int(wanted[i].sum())
            logits[i, np.flatnonzero(wanted[i])] = found[own[:n]]
            if len(own) > n:
                nil[i] = found[own[n]]
    return logits, nil


def softmax(logits: Floats, nil: Floats) -> tuple[Floats, Floats]:
    """Return the shares of candidates, shape (mentions, k), and of NIL, (mentions,); 0 where the logit is -inf."""
    both = np.concatenate([logits, nil[:, None]], axis=1)
    highest = both.max(axis=1, keepdims=True)
    power = np.exp(both - np.where(np.isfinite(highest), highest, 0.0))
    shares = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-300)
    return shares[:, :-1], shares[:, -1]


def probabilities(
    logits: Floats, nil: Floats, wanted: npt.NDArray[np.bool_], *, temperature: float, allow_nil: bool
) -> Scores:
    """Return what `Reranker.score` returns: shares by a temperature, NaN for the first candidate of a mention that is
    NIL, which is one whose NIL has a larger share than each candidate."""
    if not allow_nil:
        nil = np.full_like(nil, -np.inf)
    shares, none = softmax(logits / temperature, nil / temperature)
    best = np.where(wanted, shares, -np.inf).max(axis=1, initial=-np.inf)
    shares[(none > best) & wanted.any(axis=1), 0] = np.nan  # says NIL
    return shares.astype(np.float32)
