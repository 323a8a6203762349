"""From texts of pairs to logits: what every reranker that reads mention and concept together does alike.

What reads them is a function from pairs of texts to logits: a transformer in torch, or its exported graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.calibration import Floats
from xnorm.candidates.base import Candidates
from xnorm.errors import ConfigError
from xnorm.pairs import PairWriter, fit
from xnorm.types import Mention

__all__ = ["NoNumbersError", "Predict", "logits_of"]

Predict = Callable[[Sequence[tuple[str, str]]], Floats]
"""Texts of mention and concept, never none, to a logit for each."""


class NoNumbersError(ConfigError):
    """A model gives logits that are NaN or infinite, which would be read as NIL, or as the best of all."""


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

    Raises:
        NoNumbersError: a logit is not finite.
    """
    lefts, rights = writer.write(mentions, candidates, wanted)
    lefts = fit(lefts, tokenizer, writer.config)
    number: dict[tuple[str, str], int] = {}
    rows = [[number.setdefault((a, b), len(number)) for b in own] for a, own in zip(lefts, rights, strict=True)]
    logits, nil = np.full(wanted.shape, -np.inf), np.full(len(wanted), -np.inf)
    if number:
        found = predict(list(number))
        if bad := int((~np.isfinite(found)).sum()):
            name = f"the reranker {getattr(tokenizer, 'name_or_path', '')}".rstrip()
            raise NoNumbersError(
                f"{name}: gives scores that are no numbers ({bad:,} of {len(found):,} pairs); its weights are "
                "damaged, or its number format is too small for them"
            )
        for i, own in enumerate(rows):
            n = int(wanted[i].sum())
            logits[i, np.flatnonzero(wanted[i])] = found[own[:n]]
            if len(own) > n:
                nil[i] = found[own[n]]
    return logits, nil
