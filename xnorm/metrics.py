"""Metrics as values that print and parse (`recall@64`), and what measuring one gives.

A name has the form NAME[OPTIONS]@K, the last two where they apply. Names without options judge the ranking of each
given mention (`xnorm.ranking`); `precision`, `recall` and `f1` with options compare predicted mentions with gold ones
(`xnorm.matching`). `METRICS` and `OPTIONS` list and explain them all.

A measured metric is rows that add up (`Measured`), one a mention or one a document, so that averages, intervals and
tests (`xnorm.resampling`) need only sums.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean

__all__ = ["METRICS", "OPTIONS", "Measured", "Metric", "group_rows", "parse_metric", "reranking_in_words", "sum_rows"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Labels = Sequence[Any] | npt.NDArray[Any]

METRICS = {
    "accuracy": "share of mentions whose first candidate is gold; a NIL mention is right if its ranking is empty",
    "recall": "recall@k: share of mentions with gold found among the first k candidates (hit rate); "
    "recall[...]: share of gold annotations that were predicted",
    "mrr": "mean of 1 / rank of the first gold candidate, 0 where none is found (mrr@k: among the first k)",
    "ndcg": "discounted gain of the gold candidates over that of a perfect ranking (ndcg@k: of the first k)",
    "mean_rank": "mean rank of the first gold candidate, over the mentions where it was found",
    "ceiling": "share of mentions with gold anywhere among their candidates: the best a reranker can do",
    "nil_precision": "share of empty rankings whose mention is NIL",
    "nil_recall": "share of NIL mentions whose ranking is empty",
    "nil_f1": "harmonic mean of nil_precision and nil_recall",
    "precision": "precision[...]: share of predicted annotations that are gold",
    "f1": "f1[...]: harmonic mean of precision and recall",
}
"""Name -> what it says."""

OPTIONS = {
    "strict": "same characters and same concept",
    "partial": "same concept and shared characters; credit is the share of characters",
    "loose": "same concept anywhere in the document",
    "type": "the entity type must agree, too",
    "bag": "annotations that occur twice count twice, and pair off one to one",
    "nil": "NIL mentions alone",
    "xmen": "as xMEN counts, errors included",
    "by_document": "with xmen: one gold concept a mention, chosen as allow_multiple_gold_candidates does",
}
"""Option of precision, recall and f1 -> what it says. One of the first three is required."""

_MATCHINGS = ("strict", "partial", "loose")
_FAMILY = ("precision", "recall", "f1")
_FORM = re.compile(r"(?P<name>[^\[\]@]*)(?:\[(?P<options>[^\[\]@]*)\])?(?:@(?P<k>[^\[\]@]*))?")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric with its settings: what `parse_metric` reads and `str` prints.

    Raises:
        ConfigError: no such metric, or an option or cut-off that it does not take.
    """

    name: str
    options: tuple[str, ...] = ()
    """In the order of `OPTIONS`, whatever order they are given in; empty for a ranking metric."""
    k: int | None = None
    """How many candidates of each ranking are looked at. None: all, or for a matching metric the first one."""

    def __post_init__(self) -> None:
        if self.name not in METRICS:
            raise ConfigError(f"unknown metric '{self}'; {did_you_mean(self.name, METRICS)}")
        if self.k is not None and self.k < 1:
            raise ConfigError(f"metric '{self}' looks at {self.k} candidates; expected 1 or more after the @")
        if self.options:
            self._check_options()
            object.__setattr__(self, "options", tuple(o for o in OPTIONS if o in self.options))
            if self.k == 1:
                object.__setattr__(self, "k", None)
        elif self.name in {"precision", "f1"}:
            raise ConfigError(f"metric '{self}' needs a matching: {self.name}[strict], [partial] or [loose]")
        elif self.name == "recall" and self.k is None:
            raise ConfigError("metric 'recall' needs a cut-off (recall@64) or a matching (recall[strict])")
        elif self.name not in {"recall", "mrr", "ndcg"} and self.k is not None:
            raise ConfigError(f"metric '{self}': {self.name} takes no @k; recall, mrr and ndcg do")

    def _check_options(self) -> None:
        if self.name not in _FAMILY:
            raise ConfigError(f"metric '{self}': {self.name} takes no options; {', '.join(_FAMILY)} do")
        for option in self.options:
            if option not in OPTIONS:
                raise ConfigError(f"metric '{self}': unknown option '{option}'; {did_you_mean(option, OPTIONS)}")
        given = set(self.options)
        if len(given & set(_MATCHINGS)) != 1 or len(given) != len(self.options):
            raise ConfigError(f"metric '{self}' needs one of {', '.join(_MATCHINGS)}, and each option once")
        if "xmen" in given and given & {"type", "bag", "nil"}:
            raise ConfigError(f"metric '{self}': xMEN has no type, bag or nil; drop them, or 'xmen'")
        if "by_document" in given and "xmen" not in given:
            raise ConfigError(f"metric '{self}': by_document is an error of xMEN; add 'xmen' or drop it")
        if {"nil", "loose"} <= given:
            raise ConfigError(f"metric '{self}': NIL has no concept to find elsewhere; use strict or partial with nil")

    @property
    def is_matching(self) -> bool:
        """Whether it compares annotations (`xnorm.matching`) and not rankings."""
        return bool(self.options)

    @property
    def higher_is_better(self) -> bool:
        """False for ranks alone."""
        return self.name != "mean_rank"

    def __str__(self) -> str:
        options = f"[{','.join(self.options)}]" if self.options else ""
        return f"{self.name}{options}{'' if self.k is None else f'@{self.k}'}"


def parse_metric(text: str) -> Metric:
    """Return the metric of a text such as `recall@64`, `ndcg@10` or `f1[strict,type]`; `str` is the way back.

    Raises:
        ConfigError: it is no metric.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ConfigError(f"metric '{text}' has not the form NAME[OPTIONS]@K, as recall@64 or f1[strict,type]")
    name, options, k = found["name"].strip(), found["options"], found["k"]
    if k is not None and re.fullmatch("[0-9]{1,9}", k) is None:
        raise ConfigError(f"metric '{text}' has '{k}' after the @; expected a whole number such as {name}@10")
    chosen = () if options is None else tuple(o.strip() for o in options.split(","))
    return Metric(name, chosen, None if k is None else int(k))


@dataclass(frozen=True)
class Measured:
    """A metric's rows, which add up: one a mention (`measure`), a document (`match_spans`) or a group (`macro`)."""

    metric: Metric
    parts: Floats
    """Shape (n, 2): numerator and denominator; (n, 4) for f1[...]: those of precision, then those of recall."""
    undefined: float = float("nan")
    """What 0 / 0 is: not a number, except where another tool's numbers are reproduced."""

    def __len__(self) -> int:
        return len(self.parts)

    def statistic(self, sums: Floats) -> Floats:
        """Return the metric of summed rows: shape (..., 2 or 4) to shape (...)."""
        if sums.shape[-1] == 2:
            return _ratio(sums[..., 0], sums[..., 1], self.undefined)
        precision, recall = (_ratio(sums[..., i], sums[..., i + 1], 0.0) for i in (0, 2))
        f1 = _ratio(2 * precision * recall, precision + recall, 0.0)
        return np.where(sums[..., 1] + sums[..., 3] > 0, f1, self.undefined)

    @cached_property
    def values(self) -> Floats:
        """Shape (n,): the metric of each row by itself, NaN where undefined."""
        return self.statistic(self.parts)

    @property
    def value(self) -> float:
        """The metric over all rows together (micro), NaN if it is defined for none."""
        return float(self.statistic(self.parts.sum(axis=0)))

    @property
    def defined(self) -> int:
        """The number of rows that count."""
        return int((self.parts[:, 1::2] > 0).any(axis=1).sum())

    def take(self, rows: Ints | Bools) -> Measured:
        """Return some of the rows, by number or by mask."""
        return replace(self, parts=self.parts[rows])

    def macro(self, groups: Labels) -> Measured:
        """Return one row a group (a document, a gold concept), each of weight 1: its `value` is the macro average.

        Args:
            groups: shape (n,), the group of each row. Groups for which the metric is undefined have no weight.

        Raises:
            ConfigError: another number of groups than of rows.
        """
        codes, names = group_rows(groups, len(self))
        values = self.statistic(sum_rows(self.parts, codes, len(names)))
        known = ~np.isnan(values)
        return replace(self, parts=np.stack([np.where(known, values, 0.0), known], axis=1).astype(np.float64))


def _ratio(numerator: Floats, denominator: Floats, undefined: float) -> Floats:
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1.0), undefined)


def group_rows(groups: Labels | None, n: int) -> tuple[Ints, npt.NDArray[Any]]:
    """Return the group number of each row, shape (n,), and the sorted labels; without groups each row is its own.

    Raises:
        ConfigError: another number of labels than n.
    """
    if groups is None:
        return np.arange(n), np.arange(n)
    labels = np.asarray(groups)
    labels = labels.astype(str) if labels.dtype == object else labels
    if labels.shape != (n,):
        raise ConfigError(f"{n} rows, but group labels of shape {labels.shape}; expected one label a row")
    names, codes = np.unique(labels, return_inverse=True)
    return codes.astype(np.int64), names


def sum_rows(parts: Floats, codes: Ints, n_groups: int) -> Floats:
    """Return the sum of the rows of each group: (n, c) to (groups, c)."""
    return np.stack([np.bincount(codes, column, n_groups) for column in parts.T], axis=1)


def reranking_in_words(found: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence of what `xnorm.evaluation.evaluate` says under `reranking`; none where there is no reranker."""
    if found is None:
        return []
    p, interval = found["p_value"], ""
    if found["low"] is not None:
        interval = f" [{found['low']:+.3f}, {found['high']:+.3f}]"
    tested = "" if p is None else ", p <0.001" if p < 0.001 else f", p {p:.3f}"
    return [f"accuracy of the reranker less that of {found['before']}: {found['value']:+.3f}{interval}{tested}"]
