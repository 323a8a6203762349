"""Ranking metrics on arrays: gold laid over rankings once (`judge`), then any number of metrics (`measure`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.errors import ConfigError
from xnorm.metrics import Bools, Ints, Measured, Metric, parse_metric

__all__ = ["Judged", "judge", "measure"]


@dataclass(frozen=True)
class Judged:
    """Rankings with their gold laid over them; what the ranking metrics read."""

    hits: Bools
    """Shape (n, k): whether candidate j is a gold concept of mention i. A concept named twice hits the first time."""
    n_gold: Ints
    """Shape (n,): number of distinct gold concepts, those outside the terminology included; 0 is NIL."""
    sizes: Ints
    """Shape (n,): number of candidates; 0 is a ranking that says NIL."""
    composite: Bools
    """Shape (n,): whether all gold concepts are required. Otherwise any one is right."""

    def __len__(self) -> int:
        return len(self.hits)

    @cached_property
    def ranks(self) -> Ints:
        """Shape (n,): place, from 1, by which the gold is found; 0 where it is not, and for NIL.

        That is the first gold candidate's, or for a composite the last one's if all are there.
        """
        n, k = self.hits.shape
        if k == 0:
            return np.zeros(n, np.int64)
        found = np.where(self.composite, self.hits.sum(axis=1) == self.n_gold, self.hits.any(axis=1))
        place = np.where(self.composite, k - self.hits[:, ::-1].argmax(axis=1), self.hits.argmax(axis=1) + 1)
        return np.where(found & (self.n_gold > 0), place, 0)

    @cached_property
    def needed(self) -> Ints:
        """Shape (n,): the best possible of `ranks`: 1, or the number of parts of a composite."""
        return np.where(self.composite, np.maximum(self.n_gold, 1), 1)


def judge(
    concepts: npt.NDArray[np.integer[Any]],
    gold: Sequence[Sequence[int] | npt.NDArray[np.integer[Any]]] | npt.NDArray[np.integer[Any]],
    *,
    offsets: npt.NDArray[np.integer[Any]] | None = None,
    composite: Sequence[bool] | Bools | None = None,
) -> Judged:
    """Lay gold concepts over rankings.

    Args:
        concepts: shape (n, k), concept rows, best first; -1 is padding, and stands only at the end. Another negative
            number is a candidate outside the terminology: it takes its place and is never gold.
        gold: concept rows of each mention; a negative row is a gold concept outside the terminology, never found but
            counted, so there is no padding; none is NIL. Repetitions count once. With `offsets`, one flat array.
        offsets: shape (n + 1,); the gold of mention i is `gold[offsets[i]:offsets[i + 1]]`.
        composite: shape (n,), whether all the gold concepts of a mention are required; default none.

    Raises:
        ConfigError: shapes that do not agree, or padding before a candidate.
    """
    ranked = np.asarray(concepts)
    if ranked.ndim != 2:
        raise ConfigError(f"concepts of rankings have shape {ranked.shape}; expected (mentions, k)")
    n = len(ranked)
    flat, bounds = _flatten(gold, offsets)
    all_of = np.zeros(n, np.bool_) if composite is None else np.asarray(composite, np.bool_)
    if len(bounds) != n + 1 or all_of.shape != (n,):
        raise ConfigError(f"{n} rankings, gold of {len(bounds) - 1} mentions, composite flags of {all_of.size}")
    padding = ranked == -1
    if (holes := (padding[:, :-1] & ~padding[:, 1:]).any(axis=1)).any():
        raise ConfigError(f"ranking {int(holes.argmax())} has padding (-1) before a candidate; move it to the end")
    mention, known = np.repeat(np.arange(n), np.diff(bounds)), flat >= 0
    pairs = np.unique((mention[known] << 32) | flat[known])
    n_gold = np.bincount(pairs >> 32, minlength=n) + np.bincount(mention[~known], minlength=n)
    hits = _first_hits(ranked, pairs >> 32, pairs & 0xFFFFFFFF)
    return Judged(hits, n_gold, np.asarray((~padding).sum(axis=1)), all_of)


def _flatten(gold: Any, offsets: npt.NDArray[np.integer[Any]] | None) -> tuple[Ints, Ints]:
    if offsets is None:
        bounds = np.concatenate([[0], np.cumsum([len(g) for g in gold])]).astype(np.int64)
        return (np.concatenate([np.asarray(g, np.int64) for g in gold]) if len(gold) else np.zeros(0, np.int64)), bounds
    flat, bounds = np.asarray(gold, np.int64), np.asarray(offsets, np.int64)
    if bounds.ndim != 1 or not len(bounds) or bounds[0] != 0 or bounds[-1] != len(flat) or (np.diff(bounds) < 0).any():
        raise ConfigError(f"offsets of gold must rise from 0 to its length, {len(flat)}")
    return flat, bounds


def _first_hits(ranked: npt.NDArray[np.integer[Any]], mention: Ints, row: Ints, block: int = 1 << 16) -> Bools:
    """Mark where each (mention, gold row) first stands; in blocks, for the comparison is (pairs, k)."""
    hits = np.zeros(ranked.shape, np.bool_)
    if hits.size:
        for start in range(0, len(mention), block):
            at = mention[start : start + block]
            same = ranked[at] == row[start : start + block, None]
            found = same.any(axis=1)
            hits[at[found], same.argmax(axis=1)[found]] = True
    return hits


def measure(metric: Metric | str, judged: Judged) -> Measured:
    """Take a ranking metric: one row a mention.

    NIL mentions (without gold) count in `accuracy` and `nil_*` alone. A ranking shorter than k is a ranking that found
    no more. For a composite, the rank in `mrr` and `mean_rank` counts from its best possible place, so that a perfect
    ranking has 1.

    Raises:
        ConfigError: the name is no metric, or one that compares annotations (see `xnorm.matching`).
    """
    metric = parse_metric(metric) if isinstance(metric, str) else metric
    if metric.is_matching:
        raise ConfigError(f"metric '{metric}' compares annotations, not rankings; give it to match_spans")
    k = np.iinfo(np.int32).max if metric.k is None else metric.k
    numerator, denominator = _FORMULAS[metric.name](judged, k)
    return Measured(metric, np.stack([numerator, denominator], axis=1).astype(np.float64))


def _accuracy(judged: Judged, k: int) -> tuple[Any, Any]:
    """Right at rank 1, a composite at rank = its size: then the first candidates are its parts and nothing else.

    Source: accuracy at 1 of gold mentions, as in Sung et al. 2020, Biomedical entity representations (BioSyn).
    """
    right = np.where(judged.n_gold == 0, judged.sizes == 0, judged.ranks == judged.needed)
    return right, np.ones(len(judged))


def _recall(judged: Judged, k: int) -> tuple[Any, Any]:
    """Found within k; Success@k of TREC. Equals set recall at k where each mention has one gold concept."""
    return (judged.ranks > 0) & (judged.ranks <= k), judged.n_gold > 0


def _mrr(judged: Judged, k: int) -> tuple[Any, Any]:
    """1 / rank. Source: Voorhees 1999, The TREC-8 question answering track report."""
    found, _ = _recall(judged, k)
    return found / np.maximum(judged.ranks - judged.needed + 1, 1), judged.n_gold > 0


def _ndcg(judged: Judged, k: int) -> tuple[Any, Any]:
    """Gain 1 a gold candidate over log2(1 + rank), over the gain of all gold concepts in front.

    Source: Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, with the discount of
    Burges et al. 2005, which trec_eval uses.
    """
    k = min(k, max(judged.hits.shape[1], int(judged.n_gold.max(initial=0))))
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(judged.n_gold, k)]
    width = min(k, judged.hits.shape[1])
    gain = np.einsum("nk,k->n", judged.hits[:, :width], discount[:width])
    return gain / np.where(ideal > 0, ideal, 1), judged.n_gold > 0


def _mean_rank(judged: Judged, k: int) -> tuple[Any, Any]:
    """Unfound gold has no rank and no weight, so read it beside `ceiling`, which says how many those are."""
    found = judged.ranks > 0
    return np.where(found, judged.ranks - judged.needed + 1, 0), found


def _nil(judged: Judged, k: int) -> tuple[Bools, Bools]:
    """Which mentions are NIL, and which rankings say so. Source: Ji et al. 2010, TAC knowledge base population."""
    return judged.n_gold == 0, judged.sizes == 0


def _nil_precision(judged: Judged, k: int) -> tuple[Any, Any]:
    gold, said = _nil(judged, k)
    return gold & said, said


def _nil_recall(judged: Judged, k: int) -> tuple[Any, Any]:
    gold, said = _nil(judged, k)
    return gold & said, gold


def _nil_f1(judged: Judged, k: int) -> tuple[Any, Any]:
    """2 tp / (said + gold). Source: van Rijsbergen 1979, Information retrieval, chapter 7, with beta 1."""
    gold, said = _nil(judged, k)
    return 2 * (gold & said), gold.astype(np.int64) + said


_FORMULAS: dict[str, Callable[[Judged, int], tuple[Any, Any]]] = {
    "accuracy": _accuracy,
    "recall": _recall,
    "mrr": _mrr,
    "ndcg": _ndcg,
    "mean_rank": _mean_rank,
    "ceiling": _recall,
    "nil_precision": _nil_precision,
    "nil_recall": _nil_recall,
    "nil_f1": _nil_f1,
}
