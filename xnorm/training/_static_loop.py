"""The loop that trains a static encoder.

What a step does depends on the seed, its number and the weights alone, and a checkpoint is one file, so that a killed
run ends with the bytes of one that was not.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from xnorm.alignment import AlignedNames
from xnorm.encoders.base import Vectors
from xnorm.encoders.static import CHUNK, TextRows
from xnorm.errors import DataError
from xnorm.held_out import Encode, Retrieval
from xnorm.progress import Progress, Say
from xnorm.sampling import Batch
from xnorm.tables import ranges
from xnorm.training._schedule import ALIKE, Schedule, State
from xnorm.training._static_model import StaticModel, align_loss, distil_loss

__all__ = ["Draws", "DroppingSchedule", "Objectives", "StaticLoop", "Teacher", "TextTable"]

CHECKPOINT = "checkpoint.safetensors"
SECONDS = 300.0
"""Between two checkpoints, at most; there is one at each measurement, too."""

Ints = npt.NDArray[np.int64]


class Draws(Protocol):
    """What gives the pairs of each step: a `BatchSampler`."""

    def batch(self, step: int) -> Batch: ...


@dataclass(frozen=True)
class Teacher:
    """Names and the vectors that another encoder gives them."""

    rows: Ints
    """Shape (n,): rows of the names."""
    vectors: Vectors
    """Shape (n, dim): unit length, as many dimensions as the one that is trained."""


@dataclass(frozen=True)
class Objectives:
    """What is minimised."""

    align: float
    """Weight of the contrastive loss of pairs; 0: none."""
    temperature: float
    distil: float
    """Weight of the distance to the teacher; 0: none."""
    batch: int
    """Names of a step whose distance to the teacher is measured."""


@dataclass(frozen=True)
class DroppingSchedule(Schedule):
    """When what is done, and how much of a text is left out."""

    dropout: float = 0.0
    """Share of a text's rows that a step leaves out."""


class TextTable:
    """The rows of the encoder's table that names are made of, cut once.

    Args:
        texts: the names; at most some millions, for 4 bytes a row are kept, and a name has about twenty.
    """

    def __init__(self, texts: Sequence[str], text_rows: TextRows, progress: Progress) -> None:
        size = text_rows.card.rows
        parts, counts = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
        self.names_with = np.zeros(size, np.int64)
        """In how many names each row of the encoder's table occurs."""
        for start in range(0, len(texts), CHUNK):
            owners, rows = text_rows(texts[start : start + CHUNK])
            parts.append(rows[np.argsort(owners, kind="stable")].astype(np.int32))
            counts.append(np.bincount(owners, minlength=min(CHUNK, len(texts) - start)))
            self.names_with += np.bincount(np.unique(owners * size + rows) % size, minlength=size)
            progress("cutting names", min(start + CHUNK, len(texts)), len(texts))
        self.rows, self.counts = np.concatenate(parts), np.concatenate(counts)
        self._starts = np.cumsum(self.counts) - self.counts

    def take(self, names: Ints) -> tuple[Ints, Ints]:
        """Return (owners, rows) of some names, as `TextRows` does."""
        counts = self.counts[names]
        return np.repeat(np.arange(len(names)), counts), self.rows[ranges(self._starts[names], counts)].astype(np.int64)


class StaticLoop:
    """A training.

    Args:
        cut: of the texts of `names`.
        measure: looks held-out names up with the vectors that an encoder gives.
        work: folder of the checkpoint.
    """

    def __init__(
        self,
        model: StaticModel,
        text_rows: TextRows,
        cut: TextTable,
        names: AlignedNames,
        sampler: Draws,
        teacher: Teacher | None,
        objectives: Objectives,
        schedule: DroppingSchedule,
        *,
        measure: Callable[[Encode], Retrieval],
        work: Path,
        progress: Progress,
        say: Say,
    ) -> None:
        self.model, self._text_rows, self.cut, self._names = model, text_rows, cut, names
        self._sampler, self._teacher, self._objectives, self.schedule = sampler, teacher, objectives, schedule
        self._measure, self._work, self._progress, self._say = measure, work, progress, say
        self.state = State(losses=[0.0, 0])
        self._best = (model.table.copy(), model.gains.copy())

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return vectors by the weights as they are."""
        vectors = np.empty((len(texts), self.model.table.shape[1]), np.float32)
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            vectors[start : start + CHUNK] = self.model.forward(*self._text_rows(chunk), len(chunk)).vectors
        return vectors

    def run(self) -> str:
        """Train from the last checkpoint on, if there is one, and take the best weights; return why it ended.

        Raises:
            DataError: numbers are not finite, or the vectors became all alike, before anything was better than the
                start.
        """
        checkpoint = self._work / CHECKPOINT
        if checkpoint.is_file():
            self._best, about = self.model.load(checkpoint)
            self.state = State(**json.loads(about["state"]))
            self._say(f"going on from step {self.state.step:,} of {self.schedule.steps:,}")
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # told by the loss
                stopped = self._train()
        except DataError as e:
            if not self.state.best:
                raise
            self._say(f"{e}; keeping the weights of step {self.state.best:,}")
            stopped = str(e)
        if not self.state.best:
            self._say("no measurement was better than that of the start; the weights are those of the start")
        self.model.table, self.model.gains = self._best
        return stopped

    def _train(self) -> str:
        s, saved = self.state, time.perf_counter()
        if not s.history:
            self._measured()
        while s.step < self.schedule.steps and not s.is_out(self.schedule.patience):
            self.step()
            self._progress("training", s.step, self.schedule.steps)
            if self.schedule.measures(s.step):
                self._measured()
            elif time.perf_counter() - saved < SECONDS:
                continue
            self._save()
            saved = time.perf_counter()
        return "ran to its end" if s.step >= self.schedule.steps else "no better any more"

    def step(self) -> None:
        """Make one update of the weights.

        Raises:
            DataError: the loss is not finite; the weights are as they were.
        """
        start, o, s = time.perf_counter(), self._objectives, self.state
        rng = np.random.default_rng([self.schedule.seed, s.step, 1])
        pairs = np.empty(0, np.int64)
        if o.align:
            batch = self._sampler.batch(s.step)
            pairs = np.concatenate([batch.left, batch.right])
        drawn = np.empty(0, np.int64)
        if self._teacher is not None:
            drawn = rng.choice(len(self._teacher.rows), min(o.batch, len(self._teacher.rows)), replace=False)
        chosen = pairs if self._teacher is None else np.concatenate([pairs, self._teacher.rows[drawn]])
        owners, rows = self.cut.take(chosen)
        if self.schedule.dropout:
            kept = rng.random(len(owners)) >= self.schedule.dropout
            owners, rows = owners[kept], rows[kept]
        forward = self.model.forward(owners, rows, len(chosen))
        loss, gradient = self._loss(forward.vectors, pairs, drawn)
        if not np.isfinite(loss):
            raise DataError(f"the loss of step {s.step + 1:,} is not finite ({loss:g})", fix="lower learning_rate")
        self.model.update(forward, gradient, self.schedule.rate(s.step))
        s.step += 1
        s.losses = [s.losses[0] + loss, s.losses[1] + 1]
        s.seconds += time.perf_counter() - start

    def _loss(self, vectors: Vectors, pairs: Ints, drawn: Ints) -> tuple[float, Vectors]:
        """Return the weighted loss of a step and its gradient by the vectors: of pairs first, of the teacher's last."""
        o, half, total = self._objectives, len(pairs) // 2, 0.0
        gradient = np.zeros_like(vectors)
        if half:
            weights = self._names.weights[pairs]
            weights = np.minimum(weights[:half], weights[half:])
            groups = self._names.groups[pairs[:half]]
            loss, part = align_loss(vectors[: len(pairs)], groups, weights, o.temperature)
            total += o.align * loss
            gradient[: len(pairs)] = np.float32(o.align) * part
        if self._teacher is not None:
            own = self._names.weights[self._teacher.rows[drawn]]
            loss, part = distil_loss(vectors[len(pairs) :], self._teacher.vectors[drawn], own)
            total += o.distil * loss
            gradient[len(pairs) :] = np.float32(o.distil) * part
        return total, gradient

    def _measured(self) -> None:
        s = self.state
        found = self._measure(self.encode)
        entry = {"step": s.step, "recall": round(found.recall(1), 6), "mrr": round(found.mrr, 6)}
        if s.losses[1]:
            entry["loss"] = round(s.losses[0] / s.losses[1], 6)
        self._say(
            f"step {s.step:,} of {self.schedule.steps:,}: held-out recall@1 {entry['recall']:.3f}"
            + (f", loss {entry['loss']:.4f}" if "loss" in entry else "")
        )
        if s.step and found.spread.mean_cosine > ALIKE:
            raise DataError(
                f"the vectors became all alike (mean cosine {found.spread.mean_cosine:.4f} at step {s.step:,})",
                fix="lower learning_rate, or raise the weight of align",
            )
        if s.is_best(entry["mrr"]):
            s.best, self._best = s.step, (self.model.table.copy(), self.model.gains.copy())
        s.history.append(entry)
        s.losses = [0.0, 0]

    def _save(self) -> None:
        self._work.mkdir(parents=True, exist_ok=True)
        self.model.save(self._work / CHECKPOINT, self._best, {"state": json.dumps(asdict(self.state))})
