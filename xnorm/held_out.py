"""Whether an encoder learnt anything that holds for concepts it was not trained on.

Some groups of concepts (`xnorm.alignment`) are held out whole: none of their names is trained on. The best weights are
chosen by a third of them, and what these are worth is told by the others. One name in each language then has to find
its group among the group's other names and the names of other concepts. The pool holds names in the main language
alone, where a group has one, so that a query of another language is never helped by a name in its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.alignment import AlignedNames
from xnorm.config import StrictModel
from xnorm.encoders.base import Vectors
from xnorm.errors import DataError
from xnorm.metrics import Measured, Metric
from xnorm.resampling import bootstrap, compare
from xnorm.text import fold_case

__all__ = ["Encode", "HeldOut", "HeldOutConfig", "Retrieval", "Spread", "compare_retrieval", "spread"]

Ints = npt.NDArray[np.int64]
Encode = Callable[[Sequence[str]], Vectors]

BLOCK = 256
"""Queries compared with the pool at a time."""
DECIMALS = 6
"""Cosines are rounded to this many decimals before they are ranked."""
LARGEST = 8
"""Groups of more concepts are left to the training: they are held together by names such as `other`."""
FEWEST = 4
"""Groups with two names that there must be, to hold one out and to have some left."""
SAMPLE = 4096
"""Vectors whose spread is measured."""


class HeldOutConfig(StrictModel):
    """What is held out of the training, and how it is measured."""

    share: float = Field(default=0.05, gt=0, le=0.5)
    """Share of the groups of concepts with two names or more; those with several languages are taken first."""
    most: int = Field(default=1000, ge=1)
    """Groups, at most."""
    queries: int = Field(default=300, ge=1)
    """Names of a language that are looked up before and after the training."""
    pool: int = Field(default=20_000, ge=0)
    """Other concepts whose names stand in the way."""
    drawn_queries: int = Field(default=150, ge=1)
    """Names of a language that are looked up during the training, to choose the best weights by and to stop by."""
    drawn_pool: int = Field(default=2000, ge=0)
    """Other concepts whose names stand in the way of those."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How vectors fill their space; when a training collapses, all become alike."""

    mean_cosine: float
    """Of two vectors. 1: all are alike."""
    effective_rank: float
    """Dimensions that are in use: (sum of the covariance's eigenvalues)² / sum of their squares. 0: all are alike."""


def spread(vectors: Vectors) -> Spread:
    """Return the spread of vectors of unit length, of shape (n, dim).

    Source of the participation ratio: Gao et al. 2017, A theory of multineuronal dimensionality.
    """
    some = vectors[:: max(1, len(vectors) // SAMPLE)].astype(np.float64)
    n = len(some)
    if n < 2:
        return Spread(math.nan, math.nan)
    total = some.sum(axis=0)
    cosine = (float(total @ total) - float((some * some).sum())) / (n * (n - 1))
    centred = some - total / n
    covariance = centred.T @ centred / n
    trace, squares = float(np.trace(covariance)), float((covariance * covariance).sum())
    return Spread(cosine, trace * trace / squares if trace > 1e-9 else 0.0)


@dataclass(frozen=True)
class Retrieval:
    """How well queries found their groups."""

    ranks: Ints
    """Shape (queries,): place of the right group among those of the pool, from 1; of equal scores the right one comes
    last, so that vectors that are all alike find nothing."""
    langs: list[str]
    """Language of each query."""
    units: Ints
    """Shape (queries,): group of each query; queries of one group are no independent draws."""
    spread: Spread
    """Of the pool's vectors."""

    def measured(self, k: int) -> Measured:
        """Return recall@k as rows that add up."""
        return Measured(Metric("recall", k=k), np.stack([self.ranks <= k, np.ones(len(self.ranks))], axis=1))

    def recall(self, k: int) -> float:
        """Return the share of queries whose group is among the first k."""
        return self.measured(k).value

    @property
    def mrr(self) -> float:
        """Mean of 1 / rank."""
        return float((1 / self.ranks).mean())

    def take(self, rows: Ints) -> Retrieval:
        """Return some of the queries."""
        return Retrieval(self.ranks[rows], [self.langs[i] for i in rows.tolist()], self.units[rows], self.spread)

    def by_lang(self) -> dict[str, Retrieval]:
        """Return the queries of each language, in the order in which they come."""
        langs = np.array(self.langs)
        return {lang: self.take(np.flatnonzero(langs == lang)) for lang in dict.fromkeys(self.langs)}

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        own = {"queries": len(self.ranks), "recall@1": round(self.recall(1), 6), "recall@64": round(self.recall(64), 6)}
        found = {"mean_cosine": self.spread.mean_cosine, "effective_rank": self.spread.effective_rank}
        known = {key: round(value, 6) if math.isfinite(value) else None for key, value in found.items()}
        return {**own, "mrr": round(self.mrr, 6), "spread": known}


def compare_retrieval(before: Retrieval | None, after: Retrieval, ks: Sequence[int] = (1, 64)) -> list[dict[str, Any]]:
    """Return rows (language, k) with the recall after the training and, where there is one before, their difference,
    its 95 % interval by resampling groups, and the p-value of a paired randomisation test.

    The first rows are of all queries, with `lang` None.
    """
    rows = []
    earlier = [] if before is None else [(None, before), *before.by_lang().items()]
    before_by: dict[str | None, Retrieval] = dict(earlier)
    for lang, now in [(None, after), *after.by_lang().items()]:
        for k in ks:
            row: dict[str, Any] = {"lang": lang, "metric": f"recall@{k}", "queries": len(now.ranks)}
            if (old := before_by.get(lang)) is None:
                own = bootstrap([now.measured(k)], now.units)[0]
                row |= {"before": None, "after": round(now.recall(k), 6), "difference": None, "p_value": None}
                row |= {"low": _finite(own.low), "high": _finite(own.high)}
            else:
                found = compare(now.measured(k), old.measured(k), now.units)
                row |= {"before": round(old.recall(k), 6), "after": round(now.recall(k), 6)}
                row |= {"difference": _finite(found.difference.value), "p_value": _finite(found.p_value)}
                row |= {"low": _finite(found.difference.low), "high": _finite(found.difference.high)}
            rows.append(row)
    return rows


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


@dataclass(frozen=True)
class HeldOut:
    """Queries of held-out groups, and the names among which each has to find its own."""

    queries: list[str]
    langs: list[str]
    """Language of each query."""
    wanted: Ints
    """Shape (queries,): group of each."""
    pool: list[str]
    """Names of one group stand together."""
    pool_groups: Ints
    """Shape (pool,): group of each name, ascending."""
    concepts: Ints
    """Rows of the concepts that are held out, ascending."""
    drawn: HeldOut | None = field(default=None, repr=False)
    """What is measured during the training, and is quick enough for that: of other groups, where three or more are held
    out."""

    @classmethod
    def choose(cls, names: AlignedNames, config: HeldOutConfig, *, seed: int = 0) -> tuple[AlignedNames, HeldOut]:
        """Return the names that are left for the training, and what is held out.

        Raises:
            DataError: too few concepts have two names.
        """
        plain = names.take(names.weights >= 1)  # what is not sure to mean its concept is no measure
        groups = _draw_groups(plain, config, np.random.default_rng([seed, 0]))
        every, left = (plain.take(np.isin(plain.groups, groups, invert=other)) for other in (False, True))
        choosing = np.isin(every.groups, groups[::3])
        # figures of names that the best weights were chosen by would flatter them
        some, others = (every.take(choosing), every.take(~choosing)) if len(groups) > 2 else (every, every)
        drawn = _task(some, left, config.drawn_queries, config.drawn_pool, np.random.default_rng([seed, 1]))
        whole = _task(others, left, config.queries, config.pool, np.random.default_rng([seed, 2]), drawn)
        whole = replace(whole, concepts=np.unique(every.concepts).astype(np.int64))
        return whole.without(names), whole

    def without(self, names: AlignedNames) -> AlignedNames:
        """Return the texts of groups that no held-out concept is in: none of them is a text of one, case aside."""
        held = names.groups[np.isin(names.concepts, self.concepts)]
        return names.take(~np.isin(names.groups, held))

    @property
    def n_texts(self) -> int:
        """Texts that a measurement encodes."""
        return len(self.queries) + len(self.pool)

    def measure(self, encode: Encode, encode_mentions: Encode | None = None) -> Retrieval:
        """Return how well an encoder finds the groups.

        Args:
            encode: returns unit vectors of names, float32 of shape (texts, dim).
            encode_mentions: the same of queries, where they are encoded otherwise; default: as names.
        """
        names, found = encode(self.pool), (encode_mentions or encode)(self.queries)
        starts = np.flatnonzero(np.append(True, np.diff(self.pool_groups) != 0))
        at = np.searchsorted(self.pool_groups[starts], self.wanted)
        ranks = np.empty(len(self.queries), np.int64)
        for start in range(0, len(ranks), BLOCK):
            part = slice(start, start + BLOCK)
            scores = np.round(np.maximum.reduceat(found[part] @ names.T, starts, axis=1), DECIMALS)
            right = np.take_along_axis(scores, at[part, None], axis=1)
            # what is not a number counts as better
            ranks[part] = (~(scores < right)).sum(axis=1)
        return Retrieval(ranks, self.langs, self.wanted, spread(names))


def _draw_groups(names: AlignedNames, config: HeldOutConfig, rng: np.random.Generator) -> Ints:
    """Return the groups to hold out: those of several languages first, of more languages more often."""
    groups, inverse, sizes = np.unique(names.groups, return_inverse=True, return_counts=True)
    n_langs = max(1, len(names.languages))
    cells = np.unique(inverse.astype(np.int64) * n_langs + names.langs)
    languages = np.bincount(cells // n_langs, minlength=len(groups))
    span = np.int64(names.concepts.max(initial=0)) + 1
    members = np.bincount(np.unique(inverse * span + names.concepts) // span, minlength=len(groups))
    # a group of several concepts may have its two names in two of them
    good = np.flatnonzero((sizes > 1) & (members <= LARGEST) & (sizes > members))
    if len(good) < FEWEST:
        raise DataError(
            f"{len(good):,} concepts have two names that differ; expected at least {FEWEST}, of which some are held "
            "out to tell whether the training helps",
            fix="add a source with synonyms or translations",
        )
    wanted = min(max(1, round(config.share * len(good))), config.most)
    wait = rng.standard_exponential(len(good)) / np.maximum(languages[good] - 1, 1e-9)
    return np.asarray(groups[good[np.argsort(wait, kind="stable")[:wanted]]])


def _task(
    held: AlignedNames,
    left: AlignedNames,
    queries: int,
    pool: int,
    rng: np.random.Generator,
    drawn: HeldOut | None = None,
) -> HeldOut:
    """Return queries and their pool."""
    main = _least_lang(held)
    of_pool, asked = held.langs == main, _one_each(held, main, rng)
    chosen = [rows[:queries] for rows in asked.values()]
    rows = np.concatenate([np.empty(0, np.int64), *chosen])
    of_pool[rows] = False
    inside = np.flatnonzero(of_pool)
    others = _first_in_main(left)
    others = others[np.sort(rng.permutation(len(others))[:pool])]
    texts = [held.texts[i] for i in inside.tolist()] + [left.texts[i] for i in others.tolist()]
    groups = np.concatenate([held.groups[inside], left.groups[others]]).astype(np.int64)
    order = np.argsort(groups, kind="stable")
    known = {(g, fold_case(held.texts[i])) for i, g in zip(inside.tolist(), held.groups[inside].tolist(), strict=True)}
    answered = set(held.groups[inside].tolist())
    rows = np.array(
        [i for i in rows.tolist()
         if (g := int(held.groups[i])) in answered and (g, fold_case(held.texts[i])) not in known],
        np.int64,
    )  # fmt: skip
    return HeldOut(
        [held.texts[i] for i in rows.tolist()],
        [held.languages[i] for i in held.langs[rows].tolist()],
        held.groups[rows].astype(np.int64),
        [texts[i] for i in order.tolist()],
        groups[order],
        np.unique(held.concepts).astype(np.int64),
        drawn,
    )


def _least_lang(names: AlignedNames) -> npt.NDArray[np.int16]:
    """Return, for each row, the language of its group that is the most frequent of all."""
    groups, inverse = np.unique(names.groups, return_inverse=True)
    least = np.full(len(groups), np.iinfo(np.int16).max, np.int16)
    np.minimum.at(least, inverse, names.langs)
    return least[inverse]


def _one_each(names: AlignedNames, main: npt.NDArray[np.int16], rng: np.random.Generator) -> dict[int, Ints]:
    """Return, by language, one row of each group in random order; in the group's main language never its first."""
    first = np.zeros(len(names), bool)
    own = np.flatnonzero(names.langs == main)
    first[own[np.unique(names.groups[own], return_index=True)[1]]] = True
    shuffled = rng.permutation(np.flatnonzero(~first))
    key = names.langs[shuffled].astype(np.int64) * (np.int64(names.groups.max(initial=0)) + 1) + names.groups[shuffled]
    shuffled = shuffled[np.sort(np.unique(key, return_index=True)[1])]
    langs = names.langs[shuffled]
    return {lang: shuffled[langs == lang] for lang in np.unique(langs).tolist()}


def _first_in_main(names: AlignedNames) -> Ints:
    """Return the row of the first text of each concept in the main language."""
    rows = np.flatnonzero(names.langs == 0)
    return np.asarray(rows[np.unique(names.concepts[rows], return_index=True)[1]])
