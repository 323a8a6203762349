"""The contracts of trainers: what is to be learnt from in, the files of a model out.

A `MentionTrainer` learns from mentions with gold and their candidates (rerankers), an `EncoderTrainer` from the names
of a terminology. `xnorm train` takes either; which one a config's trainer is decides what else the config holds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.alignment import AlignedNames
from xnorm.candidates.base import Candidates
from xnorm.config import ComponentConfig
from xnorm.encoders.base import Encoder, Vectors
from xnorm.held_out import HeldOut
from xnorm.progress import Progress, Say, no_progress
from xnorm.ranking import Judged
from xnorm.sampling import BatchSampler
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["EncoderTrainer", "Estimate", "Examples", "MentionTrainer", "Trainer", "TrainerConfig"]


class TrainerConfig(ComponentConfig):
    """What every trainer has."""

    seam: ClassVar[str] = "training"

    seed: int = Field(default=0, ge=0)
    """Seed of everything that is drawn: candidates, order, dropout, new weights."""


@dataclass(frozen=True)
class Examples:
    """Mentions to learn from, or to choose a model by."""

    mentions: Sequence[Mention]
    candidates: Candidates
    """Shape (mentions, k), as the generator ranks them."""
    judged: Judged
    """The gold laid over the candidates."""
    weights: npt.NDArray[np.float32] | None = None
    """Shape (mentions,): how much each counts in the loss, above 0; None: all alike. No measurement looks at them."""

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """Return some of them."""
        j = self.judged
        some = Judged(j.hits[rows], j.n_gold[rows], j.sizes[rows], j.composite[rows])
        weights = None if self.weights is None else self.weights[rows]
        return Examples([self.mentions[i] for i in rows.tolist()], self.candidates.take(rows), some, weights)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will cost, from a few of its steps that were made on a copy and thrown away."""

    steps: int
    """Updates of the weights, at most."""
    pairs: int
    """Pairs of texts of an update."""
    seconds: float
    """For all updates and the measurements between them."""
    bytes: int
    """Memory of the process at most, that of the accelerator where there is one."""
    device: str = "cpu"
    """What it was measured on."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"steps": self.steps, "pairs": self.pairs, "seconds": round(self.seconds, 1), "bytes": self.bytes,
                "device": self.device}  # fmt: skip


class Trainer(ABC):
    """Fits a model. What it learns from is said by `MentionTrainer` and `EncoderTrainer`."""

    config_class: ClassVar[type[TrainerConfig]] = TrainerConfig

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config

    def check(self) -> None:  # noqa: B027  (most have nothing to refuse)
        """Refuse early what cannot work: a package or a folder that is missing.

        Raises:
            MissingExtraError, ConfigError: what is missing.
        """

    def checksum(self) -> str | None:
        """Return what tells apart files that the settings name alike, so that a killed run goes on with the same ones
        only; None if they name none."""
        return None

    @abstractmethod
    def forget(self, work: Path) -> None:
        """Remove the checkpoints: the model folder is written."""


class MentionTrainer(Trainer):
    """Fits a model to annotated mentions."""

    @abstractmethod
    def train(
        self,
        training: Examples,
        validation: Examples,
        terminology: Terminology,
        *,
        work: Path,
        folder: Path,
        progress: Progress = no_progress,
        say: Say = lambda line: None,
    ) -> dict[str, Any]:
        """Train, and write the model's files.

        Args:
            work: a folder for checkpoints, from which a killed run of the same settings goes on.
            folder: an existing, empty folder for the model.
            progress: called after each update of the weights.
            say: called with a line that the user should read.

        Returns:
            What the model folder's manifest is to say: how to use the model, and how well it did on the validation.

        Raises:
            DataError: there is nothing to learn from.
        """


class EncoderTrainer(Trainer):
    """Fits an encoder to the names of a terminology."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of the encoder that the training starts from, float32 of shape (texts, dim), of unit length:
        what the trained one is compared with."""

    @abstractmethod
    def open(self, folder: Path) -> Encoder:
        """Return the encoder that `train` wrote into a folder, with the settings that a config needs for it."""

    @abstractmethod
    def estimate(self, names: AlignedNames, held_out: HeldOut, *, sampler: BatchSampler) -> Estimate:
        """Return what `train` with the same arguments will cost; nothing stays of it in memory or on disk."""

    @abstractmethod
    def train(
        self,
        names: AlignedNames,
        held_out: HeldOut,
        *,
        sampler: BatchSampler,
        work: Path,
        folder: Path,
        progress: Progress = no_progress,
        say: Say = lambda line: None,
    ) -> dict[str, Any]:
        """Train, and write the encoder's files into `folder`.

        Args:
            names: what to learn from; no concept of `held_out` is among them.
            held_out: what to choose the best weights by, and to stop by: `held_out.drawn.measure(encode)`.
            sampler: gives the pairs of each step; its neighbours may be replaced on the way.
            work: a folder for checkpoints, from which a killed run of the same settings goes on.
            folder: an existing, empty folder for the model.
            progress: called after each update of the weights.
            say: called with a line that the user should read.

        Returns:
            What the model folder's manifest is to say, with the keys `stopped` (why it ended), `trained` (a mapping
            with `steps` and `seconds`) and whatever else the variant has to say.

        Raises:
            DataError: there is nothing to learn from, or the vectors became all alike.
        """
