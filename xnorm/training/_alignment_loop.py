"""The loop that aligns an encoder with a terminology's names.

What a step does depends on the seed, its number, the neighbours and the weights alone; a checkpoint holds weights,
optimizer and neighbours, so that a killed run ends with the weights of one that was not.

Steps are those of AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on gradients of a norm of 1 at most; the
learning rate warms up over a twentieth of the steps, then falls linearly to zero.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from xnorm.alignment import AlignedNames
from xnorm.alignment_losses import AlignmentLoss, Targets, uniform_loss
from xnorm.errors import DataError
from xnorm.held_out import Encode, Retrieval
from xnorm.lora import load_trained, save_trained
from xnorm.losses import NotFiniteError
from xnorm.progress import Progress, Say
from xnorm.registry import require
from xnorm.sampling import BatchSampler
from xnorm.training._passes import LOWER_RATE, Passes
from xnorm.training._schedule import ALIKE, Schedule, State

__all__ = ["CollapseError", "Loop", "MinedSchedule", "TorchState"]

STATE = "state.json"
"""The file of a checkpoint that is written last."""
OPTIMIZER = "optimizer.safetensors"
NEIGHBOURS = "neighbours.npy"
SECONDS = 600.0
"""Between two checkpoints, at most; there is one at each measurement, too."""
UNIFORM = 0.99
"""Nothing is learnt if the mean loss between measurements is at least so much of that of vectors all alike, twice
running: a model that was never trained may begin there."""
SETTLED = 50
"""Steps between measurements, of which that is to be said at all."""

Neighbours = npt.NDArray[np.int32]


class CollapseError(DataError):
    """The vectors became all alike; the weights that gave them are not to be kept."""


@dataclass(frozen=True)
class MinedSchedule(Schedule):
    """When what is done, the search for hard negatives among it."""

    refresh: int = 0
    """Steps after which neighbours are looked for anew; 0: never."""


@dataclass
class TorchState(State):
    """How far a training is; losses are the sum of them, the sum of those of vectors all alike, and how many."""

    texts_at_once: int = 0


class Loop:
    """A training.

    Args:
        passes: the model, and how texts go through it.
        measure: looks held-out names up with the vectors that an encoder gives.
        nearest: gives, for each concept number, the nearest other ones.
        work: where checkpoints are.
    """

    def __init__(
        self,
        passes: Passes,
        loss: AlignmentLoss,
        names: AlignedNames,
        sampler: BatchSampler,
        schedule: MinedSchedule,
        *,
        measure: Callable[[Encode], Retrieval],
        nearest: Callable[[Encode], Neighbours],
        work: Path,
        progress: Progress,
        say: Say,
    ) -> None:
        self.passes, self.loss, self.names, self.sampler, self.schedule = passes, loss, names, sampler, schedule
        self._measure, self._nearest, self.work, self._progress, self._say = measure, nearest, work, progress, say
        self.state = TorchState()
        self._files = require("safetensors.torch", extra="torch", what="training")
        self._neighbours: Neighbours | None = None
        self._parameters = {name: p for name, p in passes.model.named_parameters() if p.requires_grad}
        rate = schedule.learning_rate
        self._optimizer = torch.optim.AdamW(list(self._parameters.values()), lr=rate, weight_decay=0.01)

    @property
    def n_weights(self) -> int:
        """How many weights are trained."""
        return sum(p.numel() for p in self._parameters.values())

    def run(self) -> str:
        """Train from the last checkpoint on, if there is one, and take the best weights; return why it ended.

        Raises:
            NotFiniteError, CollapseError: before any measurement was better than that of the start.
        """
        self._resume()
        try:
            stopped = self._train()
        except (NotFiniteError, CollapseError) as e:
            if not self.state.best:
                raise
            self._say(f"{e}; keeping the weights of step {self.state.best:,}")
            stopped = "the vectors became all alike" if isinstance(e, CollapseError) else "numbers were not finite"
        if self.state.best:
            load_trained(self.passes.model, self.work / f"best-{self.state.best}")
        else:
            self._say("no measurement was better than that of the start; the weights are those of the start")
            load_trained(self.passes.model, self.work / "best-0")
        self.passes.model.eval()
        return stopped

    def _train(self) -> str:
        if not self.state.history:
            self._measured()
        saved = time.perf_counter()
        while self.state.step < self.schedule.steps and not self.state.is_out(self.schedule.patience):
            done = self.state.step
            if self.schedule.refresh and done and done % self.schedule.refresh == 0:
                self._neighbours = self._nearest(self.passes.encode)
                self.sampler.replace_neighbours(self._neighbours)
            self.step()
            self._progress("training", self.state.step, self.schedule.steps)
            if self.schedule.measures(self.state.step):
                self._measured()
            elif time.perf_counter() - saved < SECONDS:
                continue
            self._save()
            saved = time.perf_counter()
        return "ran to its end" if self.state.step >= self.schedule.steps else "no better any more"

    def step(self) -> None:
        """Make one update of the weights.

        Raises:
            NotFiniteError: the loss or its gradient is not finite; the weights are as they were.
        """
        start, step = time.perf_counter(), self.state.step
        batch = self.sampler.batch(step)
        rows = np.concatenate([batch.left, batch.right])
        own = (self.names.concepts, self.names.groups, self.names.weights)
        targets = Targets(*(torch.tensor(column[rows]) for column in own))
        texts = [self.names.texts[i] for i in rows.tolist()]
        seed = int(np.random.SeedSequence([self.schedule.seed, step]).generate_state(1)[0])
        value = self.passes.backward(texts, lambda vectors: self.loss.of_vectors(vectors, targets), seed=seed)
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters.values(), 1.0))
        if not np.isfinite(norm):
            raise NotFiniteError(f"the gradient of step {step + 1:,} is not finite (loss {value:g})", fix=LOWER_RATE)
        for group in self._optimizer.param_groups:
            group["lr"] = self.schedule.rate(step)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.state.step += 1
        self.state.seconds += time.perf_counter() - start
        found = (value, uniform_loss(targets), 1.0)
        self.state.losses = [a + b for a, b in zip(self.state.losses or [0.0] * 3, found, strict=True)]

    def _measured(self) -> None:
        """Measure, say it, keep the weights if they are the best ones, and see whether anything is learnt at all."""
        state, found = self.state, self._measure(self.passes.encode)
        recall, mrr = found.recall(1), found.mrr
        total, uniform, n = state.losses or (0.0, 0.0, 0.0)
        state.losses = []
        entry = {"step": state.step, "recall": round(recall, 6), "mrr": round(mrr, 6)}
        if n:
            entry["loss"] = round(total / n, 6)
            self._refuse_collapse(found.spread.mean_cosine)
            if n >= SETTLED:
                self._refuse_standstill(total / n, uniform / n)
        start = f"step {state.step:,} of {self.schedule.steps:,}: loss {total / n:.4f}" if n else "before the training"
        self._say(f"{start}; held-out concepts: recall@1 {recall:.4f}, mean reciprocal rank {mrr:.4f}")
        if state.is_best(entry["mrr"]):
            state.best = state.step
            save_trained(self.passes.model, self.work / f"best-{state.step}")
        state.history.append(entry)
        if not state.step:
            self._save()

    def _refuse_collapse(self, cosine: float) -> None:
        if cosine > ALIKE:
            raise CollapseError(
                f"the vectors are all alike after step {self.state.step:,} (names have a cosine of {cosine:.5f} on "
                "average)",
                fix=LOWER_RATE,
            )

    def _refuse_standstill(self, loss: float, uniform: float) -> None:
        last = self.state.history[-1].get("loss", 0.0)
        if not self.loss.multi_similarity and min(loss, last) >= UNIFORM * uniform:
            raise CollapseError(
                f"nothing is learnt: the loss is {loss:.3f} on average up to step {self.state.step:,}, that of vectors "
                f"all alike {uniform:.3f}",
                fix="another learning_rate, or a higher temperature, helps most often",
            )

    def _save(self) -> None:
        """Write a checkpoint whole, then remove those before it."""
        name = f"checkpoint-{self.state.step}"
        new = self.work / f".{name}"
        shutil.rmtree(new, ignore_errors=True)
        save_trained(self.passes.model, new)
        names = {id(p): name for name, p in self._parameters.items()}
        moments = {
            f"{names[id(p)]}/{key}": torch.as_tensor(value).cpu().contiguous()
            for p, own in self._optimizer.state.items()
            for key, value in own.items()
        }
        self._files.save_file(moments, new / OPTIMIZER)
        if self._neighbours is not None:
            np.save(new / NEIGHBOURS, self._neighbours)
        self.state.texts_at_once = self.passes.chunks.size
        (new / STATE).write_text(json.dumps(asdict(self.state)), encoding="utf-8")
        shutil.rmtree(self.work / name, ignore_errors=True)
        new.rename(self.work / name)
        for path in self.work.glob("checkpoint-*"):
            if path.name != name:
                shutil.rmtree(path)
        for path in self.work.glob("best-*"):
            if path.name != f"best-{self.state.best}":
                shutil.rmtree(path)

    def _resume(self) -> None:
        """Go on from the last checkpoint; without one, from nothing."""
        self.work.mkdir(parents=True, exist_ok=True)
        found = sorted(self.work.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
        if not found:
            return
        last = found[-1]
        self.state = TorchState(**json.loads((last / STATE).read_text(encoding="utf-8")))
        self._say(f"going on from step {self.state.step:,} of a run that was stopped")
        load_trained(self.passes.model, last)
        moments = self._files.load_file(last / OPTIMIZER)
        for name, p in self._parameters.items():
            own = {
                key: moments[f"{name}/{key}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{name}/{key}" in moments
            }
            if own:  # the number of steps stays on the processor, as the library has it
                self._optimizer.state[p] = {k: x if k == "step" else x.to(p.device) for k, x in own.items()}
        if (last / NEIGHBOURS).is_file():
            self._neighbours = np.load(last / NEIGHBOURS, allow_pickle=False)
            self.sampler.replace_neighbours(self._neighbours)
        self.passes.chunks.size = self.state.texts_at_once
