"""Batches of pairs of names: two names of one concept each, told from those of the other pairs.

An encoder is aligned with a terminology by pulling the names of one concept together and pushing those of others
apart. A batch holds one pair a concept, and never two concepts of a group (`xnorm.alignment`).

Sources: Liu et al. 2021, Self-alignment pretraining for biomedical entity representations (SapBERT); Liu et al. 2021,
Learning domain-specialised representations for cross-lingual biomedical entity linking; drawing by least waiting times,
Efraimidis and Spirakis 2006, Weighted random sampling with a reservoir.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.alignment import AlignedNames
from xnorm.config import StrictModel
from xnorm.errors import DataError
from xnorm.tables import ranges

__all__ = ["Batch", "BatchSampler", "SamplingConfig"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ROUNDS = 8
"""How often a batch that is not full is filled up; one that still is not is smaller, as in a tiny terminology."""
LAST = 1e30
"""A waiting time longer than any that is drawn."""


class SamplingConfig(StrictModel):
    """How pairs of names are drawn."""

    batch: int = Field(default=128, ge=2)
    """Concepts of a batch, each with a pair of its names. More make the task harder, and the encoder better."""
    cross_lingual: float = Field(default=0.85, ge=0, le=1)
    """Share of pairs across languages, of the concepts that have pairs of either kind."""
    through_main: float = Field(default=0.8, ge=0, le=1)
    """Share of the pairs across languages with one name in the terminology's most frequent language, where a concept
    has others beside it and each other."""
    balance: float = Field(default=0.5, ge=0, le=1)
    """How often a language is drawn: as the number of its names to this power. 1 is as they come, 0 all alike."""
    size: float = Field(default=0.0, ge=0, le=1)
    """How often a concept is drawn: as the number of its names to this power. 0 is all alike."""
    monolingual: float = Field(default=0.25, ge=0, le=1)
    """Share of the drawn concepts that have names in one language only, where there are both kinds."""
    neighbours: int = Field(default=3, ge=0, le=64)
    """Concepts put into the batch beside each drawn one, from those that are hardest to tell from it."""
    nearest: int = Field(default=10, ge=1, le=256)
    """How many of those there are to draw from."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs of texts, each of one concept, no two of one group."""

    left: Ints
    """Shape (b,): rows of the aligned names."""
    right: Ints
    """Shape (b,): texts that differ from those on the left, case aside."""


class BatchSampler:
    """Draws batches; what the batch of a step holds depends on the seed, the step and the neighbours alone.

    Args:
        neighbours: shape (highest concept number + 1 or more, k), for each concept others that are hard to tell from
            it, -1 for none; None draws concepts at random.

    Raises:
        DataError: no concept has two texts, or they are all of one group, so that there is nothing to tell apart.
    """

    def __init__(
        self,
        names: AlignedNames,
        config: SamplingConfig,
        *,
        neighbours: npt.NDArray[np.int32] | None = None,
        seed: int = 0,
    ) -> None:
        self.names = names
        self.config = config
        self.seed = seed
        self._neighbours = neighbours
        self._count_cells()
        self.concepts = np.flatnonzero(self._n_texts > 1)
        """Concepts that pairs can be drawn of, ascending."""
        across = self._n_cells[self.concepts] > 1
        self._pools = [self._pool(self.concepts[across]), self._pool(self.concepts[~across])]
        if len(np.unique(self._group[self.concepts])) < 2:
            raise DataError(
                f"all {len(self.concepts):,} concepts that have two names share one with each other, so there is "
                "nothing to tell apart",
                fix="take a terminology of several concepts",
            )

    def _count_cells(self) -> None:
        """Find the texts of each concept and language: a cell, a run of `_rows`."""
        names, concepts = self.names, self.names.concepts.astype(np.int64)
        n_langs, size = max(1, len(names.languages)), int(concepts.max(initial=-1)) + 1
        key = concepts * n_langs + names.langs
        self._rows = np.argsort(key, kind="stable")
        cells, self._cell_start, self._cell_size = np.unique(key[self._rows], return_index=True, return_counts=True)
        self._cell_lang = cells % n_langs
        by_lang = np.bincount(names.langs, minlength=n_langs).astype(float)
        self._cell_weight = (np.maximum(by_lang, 1) ** (self.config.balance - 1))[self._cell_lang]
        self._n_cells = np.bincount(cells // n_langs, minlength=size)
        self._first_cell = np.cumsum(self._n_cells) - self._n_cells
        self._n_texts = np.bincount(concepts, minlength=size)
        self._group = np.zeros(size, np.int64)
        self._group[concepts] = names.groups

    def _pool(self, concepts: Ints) -> tuple[Ints, Floats]:
        """Return concepts, and the sums of their weights up to each."""
        return concepts, np.cumsum(self._n_texts[concepts].astype(float) ** self.config.size)

    def replace_neighbours(self, neighbours: npt.NDArray[np.int32]) -> None:
        """Take other neighbours from now on; shape as in the constructor."""
        self._neighbours = neighbours

    def batch(self, step: int) -> Batch:
        """Return the pairs of a step; fewer than asked for only where the terminology has no more groups."""
        rng = np.random.default_rng([self.seed, step])
        chosen = np.empty(0, np.int64)
        for _ in range(ROUNDS):
            chosen = np.concatenate([chosen, self._with_neighbours(self._draw(rng), rng)])
            _, first = np.unique(self._group[chosen], return_index=True)
            chosen = chosen[np.sort(first)][: self.config.batch]
            if len(chosen) == self.config.batch:
                break
        return Batch(*self._pairs(chosen, rng))

    def _draw(self, rng: np.random.Generator) -> Ints:
        """Return as many concepts as a batch has at most, from those with and without a translation."""
        n = self.config.batch
        there = [len(concepts) > 0 for concepts, _ in self._pools]
        alone = rng.random(n) < self.config.monolingual if all(there) else np.full(n, not there[0])
        out = np.empty(n, np.int64)
        for which, (concepts, sums) in enumerate(self._pools):
            at = np.flatnonzero(alone == bool(which))
            if len(at):
                drawn = np.searchsorted(sums, rng.random(len(at)) * sums[-1], side="right")
                out[at] = concepts[np.minimum(drawn, len(concepts) - 1)]
        return out

    def _with_neighbours(self, concepts: Ints, rng: np.random.Generator) -> Ints:
        """Return each concept followed by some of its neighbours."""
        if self._neighbours is None or not self.config.neighbours:
            return concepts
        near = self._neighbours[concepts, : self.config.nearest].astype(np.int64)
        near = np.where((near >= 0) & (near < len(self._n_texts)), near, -1)
        near = np.where((near >= 0) & (self._n_texts[near] > 1), near, -1)
        keys = np.where(near >= 0, rng.random(near.shape), 2.0)
        picked = np.argsort(keys, axis=1, kind="stable")[:, : self.config.neighbours]
        both = np.concatenate([concepts[:, None], np.take_along_axis(near, picked, axis=1)], axis=1).ravel()
        return both[both >= 0]

    def _pairs(self, concepts: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return the rows of a pair of each concept."""
        counts = self._n_cells[concepts]
        cells = ranges(self._first_cell[concepts], counts)
        owner = np.repeat(np.arange(len(concepts)), counts)
        # the smallest of exponential variates with rates w is the i-th with probability w_i / sum of w
        wait = rng.standard_exponential(len(cells)) / self._cell_weight[cells]
        several = self._cell_size[cells] > 1
        could = np.bincount(owner, several, minlength=len(concepts)) > 0
        across = (counts > 1) & (~could | (rng.random(len(concepts)) < self.config.cross_lingual))
        through = rng.random(len(concepts)) < self.config.through_main
        main = self._cell_lang[cells] == 0
        # the main language comes last among those on the left; on the right it comes first or last, as `through` says
        left = np.where(across[owner], wait + np.where(main, LAST, 0), np.where(several, wait, np.inf))
        one = _least(left, owner)
        taken = np.zeros(len(cells), bool)
        taken[one] = True
        right = np.where(main, np.where(through[owner], -1.0, LAST), wait)
        other = np.where(across, _least(np.where(taken, np.inf, right), owner), one)
        return self._texts(cells[one], cells[other], rng)

    def _texts(self, one: Ints, other: Ints, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Return a text of each of two cells, two different ones where both are the same cell."""
        sizes, others = self._cell_size[one], self._cell_size[other]
        first = (rng.random(len(one)) * sizes).astype(np.int64)
        draw = rng.random(len(one))
        second = (draw * others).astype(np.int64)
        step = 1 + (draw * np.maximum(sizes - 1, 1)).astype(np.int64)
        second = np.where(one == other, (first + step) % sizes, second)
        return self._rows[self._cell_start[one] + first], self._rows[self._cell_start[other] + second]


def _least(values: Floats, owner: Ints) -> Ints:
    """Return the position of the least value of each owner; owners are ascending, and each has a value."""
    order = np.lexsort((values, owner))
    return order[np.flatnonzero(np.append(True, np.diff(owner) > 0))]
