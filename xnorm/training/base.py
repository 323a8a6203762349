"""The contract of a trainer: mentions with gold and their candidates in, a model folder out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.candidates.base import Candidates
from xnorm.config import ComponentConfig
from xnorm.progress import Progress, Say, no_progress
from xnorm.ranking import Judged
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Examples", "Trainer", "TrainerConfig"]


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

    def take(self, rows: npt.NDArray[np.int64]) -> Examples:
        """Return some of them."""
        j = self.judged
        some = Judged(j.hits[rows], j.n_gold[rows], j.sizes[rows], j.composite[rows])
        return Examples([self.mentions[i] for i in rows.tolist()], self.candidates.take(rows), some)


class Trainer(ABC):
    """Fits a model."""

    config_class: ClassVar[type[TrainerConfig]] = TrainerConfig

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config

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

    def checksum(self) -> str | None:
        """Return what tells apart files that the settings name alike, so that a killed run goes on with the same ones
        only; None if they name none."""
        return None

    @abstractmethod
    def forget(self, work: Path) -> None:
        """Remove the checkpoints: the model folder is written."""
