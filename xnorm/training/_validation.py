"""How good a cross-encoder is on validation mentions: what a training chooses by, and calibrates with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.calibration import Calibration, Floats, fit_calibration
from xnorm.memory import Chunks
from xnorm.pairs import PairWriter
from xnorm.progress import Say
from xnorm.ranking import measure
from xnorm.registry import require
from xnorm.reranking.cross_encoder import pair_logits
from xnorm.scoring import NoNumbersError
from xnorm.training.base import Examples

__all__ = ["VALIDATION", "Found", "Validation"]

VALIDATION = "validation.jsonl"
"""File of a model folder: which mentions of the validation the model gets right."""
FIX = "a lower learning rate, or precision bfloat16 in place of float16, helps most often"


@dataclass(frozen=True)
class Found:
    """What a validation finds out about a model."""

    accuracy: float
    """Share of the mentions whose gold comes first, by the calibrated scores."""
    right: npt.NDArray[np.bool_]
    """Which these are, shape (mentions,)."""
    alone: npt.NDArray[np.bool_]
    """Which would be right by the logits of the candidates alone, without the generator's scores and without NIL."""
    by_top: dict[str, float]
    """The same, if only so many candidates are looked at."""
    calibration: Calibration


class Validation:
    """Accuracy of a model on some mentions.

    Args:
        writer: of the texts.
        examples: the mentions, and their candidates with the gold laid over them.
        most: how many candidates of each mention are looked at.
        chunks: how many pairs are scored at a time.
    """

    def __init__(self, writer: PairWriter, examples: Examples, most: int, chunks: Chunks) -> None:
        self.writer, self.chunks = writer, chunks
        self.mentions = examples.mentions
        self.candidates = examples.candidates.first(most)
        self.hits = examples.judged.hits[:, :most]
        self.is_nil, self.needed = examples.judged.n_gold == 0, examples.judged.needed
        self.right_before = measure("accuracy", examples.judged).values > 0
        self.before = float(self.right_before.mean())

    def measure(self, model: Any) -> Found:
        """Score, calibrate, and count the mentions whose gold comes first.

        Raises:
            NotFiniteError: the weights or the logits are not finite.
        """
        logits, nil = self._logits(model)
        alone = self._right(logits, np.full_like(nil, -np.inf))
        # NIL is right where no candidate is gold, as the training has it, and not only where there is no gold at all
        missed = np.asarray(~self.hits.any(axis=1))
        calibration = fit_calibration(logits, nil, self.candidates.scores, self.hits, missed)
        logits, nil = calibration.apply(logits, nil, self.candidates.scores)
        tops = [n for n in (2, 4, 8, 16, 32, 64) if n < logits.shape[1]] + [logits.shape[1]]
        by_top = {str(n): round(float(self._right(logits[:, :n], nil).mean()), 6) for n in tops}
        right = self._right(logits, nil)
        return Found(float(right.mean()), right, alone, by_top, calibration)

    def _logits(self, model: Any) -> tuple[Floats, Floats]:
        from xnorm.losses import NotFiniteError

        if bad := sum(int((~p.isfinite()).sum()) for p in model.parameters()):
            raise NotFiniteError(f"{bad:,} weights are not finite", fix=FIX)
        wanted = self.candidates.concepts >= 0
        try:
            return pair_logits(model, self.writer, self.mentions, self.candidates, wanted, self.chunks)
        except NoNumbersError as e:
            raise NotFiniteError(str(e), fix=FIX) from None

    def _right(self, logits: Floats, nil: Floats) -> npt.NDArray[np.bool_]:
        order, rows = np.argsort(-logits, axis=1, kind="stable"), np.arange(len(logits))
        says_nil = ~np.isfinite(logits).any(axis=1) | (nil > logits[rows, order[:, 0]])
        found = np.take_along_axis(self.hits, order, axis=1).cumsum(axis=1)
        gold_first = found[rows, np.minimum(self.needed, logits.shape[1]) - 1] == self.needed
        return np.asarray(np.where(self.is_nil, says_nil, gold_first & ~says_nil))

    def write(self, path: Path, found: Found) -> None:
        """Write which mentions were right before and after, so that models can be compared mention by mention."""
        with path.open("w", encoding="utf-8") as file:
            columns = (self.right_before.tolist(), found.alone.tolist(), found.right.tolist())
            for mention, *right in zip(self.mentions, *columns, strict=True):
                line = {"id": mention.id, "document": mention.document}
                line |= dict(zip(("before", "alone", "after"), right, strict=True))
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def evaluator(self, say: Say) -> Any:
        """Return what the trainer calls."""
        base = require("sentence_transformers.evaluation", extra="torch", what="training").SentenceEvaluator
        own = self

        class Accuracy(base):  # type: ignore[misc, valid-type]
            primary_metric = "accuracy"
            name = ""

            def __call__(self, model: Any, output_path: Any = None, epoch: float = -1, steps: int = -1) -> Any:
                accuracy = own.measure(model).accuracy
                say(f"epoch {epoch:.2f}, step {steps}: accuracy {accuracy:.4f} (before: {own.before:.4f})")
                return {"accuracy": accuracy}

        return Accuracy()
