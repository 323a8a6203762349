"""How sure a number is: bootstrap intervals, paired tests between two runs, and breakdowns with intervals.

Mentions of one document are no independent draws, so documents are what is resampled and flipped: give them as
`units`. Without, each row is a unit. Everything is a function of the data and the seed; the order of rows is nothing to
it but the last bits of sums. NumPy may change its random streams between versions, and with them the last digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xnorm.errors import ConfigError
from xnorm.metrics import Floats, Ints, Labels, Measured, group_rows, sum_rows

__all__ = ["Comparison", "Interval", "McNemar", "Part", "bootstrap", "breakdown", "compare", "holm", "mcnemar"]

_BLOCK = 1 << 20
"""Random numbers drawn at a time, which bounds memory to some tens of MB."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with its confidence interval."""

    value: float
    low: float
    """NaN, as `high`, where there are fewer than two units, for then nothing is known of their spread."""
    high: float
    level: float
    units: int
    """The number of documents (or of what was resampled)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The difference between two runs on the same rows."""

    difference: Interval
    """The first run's value minus the second's."""
    p_value: float
    """Two-sided; NaN where the difference is undefined."""
    exact: bool
    """Whether all sign flips were enumerated. Otherwise they were drawn."""
    differing: int
    """The number of units in which the runs differ at all."""


@dataclass(frozen=True, slots=True)
class McNemar:
    """Mentions that one run alone gets right, and the exact test that both are as likely."""

    first_only: int
    second_only: int
    p_value: float
    """Two-sided; 1 where the runs agree everywhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """One metric on one part of the rows."""

    by: str
    part: str
    rows: int
    """The number of rows in the part."""
    defined: int
    """The number of those for which the metric is defined."""
    interval: Interval


def bootstrap(
    measured: Sequence[Measured],
    units: Labels | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Return percentile bootstrap intervals of metrics on the same rows, from the same resamples.

    Args:
        measured: metrics with n rows each.
        units: shape (n,), the document of each row; documents are drawn with replacement, with all their rows.
        resamples: how many times; default 1,000.
        level: confidence; default 0.95.
        seed: of the random numbers.

    Source: Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13; of whole clusters, Field and Welsh
    2007, Bootstrapping clustered data. Resamples in which a metric is undefined are left out of its percentiles.

    Raises:
        ConfigError: metrics or units with different numbers of rows, or settings out of range.
    """
    _check(measured, level=level, draws=resamples)
    if not measured:
        return []
    sums, n_units = _unit_sums(measured, units)
    drawn = _resample(sums, resamples, seed)
    values = [m.statistic(drawn[:, at]) for m, at in _columns(measured)]
    return [_interval(m.value, v, level, n_units) for m, v in zip(measured, values, strict=True)]


def compare(
    first: Measured,
    second: Measured,
    units: Labels | None = None,
    *,
    permutations: int = 10_000,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two runs by one metric on the same rows: difference, bootstrap interval, paired randomisation test.

    If the runs were alike, each document's two results could as well be swapped. The p-value is the share of swaps
    whose difference is at least the observed one in size: of all swaps if there are no more than `permutations`,
    otherwise of as many random ones, the observed one included. A swap with an undefined difference counts as larger.

    Sources: Fisher 1935, The design of experiments, section 21; Smucker, Allan and Carterette 2007, A comparison of
    statistical significance tests for information retrieval evaluation; Phipson and Smyth 2010, Permutation p-values
    should never be zero.

    Raises:
        ConfigError: different metrics or numbers of rows, or settings out of range.
    """
    if first.metric != second.metric:
        raise ConfigError(f"'{first.metric}' of one run and '{second.metric}' of the other cannot be compared")
    both = (first, second)
    _check(both, level=level, draws=min(permutations, resamples))
    sums, n_units = _unit_sums(both, units)
    width = first.parts.shape[1]
    a, b = sums[:, :width], sums[:, width:]
    drawn = _resample(sums, resamples, seed)
    differences = first.statistic(drawn[:, :width]) - second.statistic(drawn[:, width:])
    observed = first.value - second.value
    gap = (a - b)[(a != b).any(axis=1)]
    exact = len(gap) < 63 and 1 << len(gap) <= permutations
    flips = _product(_all_signs(len(gap)), gap) if exact else _random_signs(gap, permutations, seed)
    total = sums[:, :width].sum(axis=0) + sums[:, width:].sum(axis=0)
    swapped = first.statistic((total + flips) / 2) - second.statistic((total - flips) / 2)
    # differences that are equal on paper may differ in their last bits
    as_large = int((~(np.abs(swapped) < abs(observed) - 1e-12 * max(1.0, abs(observed)))).sum())
    p = as_large / len(swapped) if exact else (as_large + 1) / (len(swapped) + 1)
    interval = _interval(observed, differences, level, n_units)
    return Comparison(interval, math.nan if math.isnan(observed) else p, exact, len(gap))


def mcnemar(first: Measured, second: Measured) -> McNemar:
    """Test two runs by a metric of right and wrong (accuracy, recall@k) on the same mentions, as if independent.

    Source: McNemar 1947, Note on the sampling error of the difference between correlated proportions; the exact
    binomial form as in Fagerland, Lydersen and Laake 2013. `compare` respects documents, this does not.

    Raises:
        ConfigError: different metrics or numbers of rows, or values other than 0 and 1.
    """
    from scipy.stats import binomtest

    _check((first, second))
    if first.metric != second.metric:
        raise ConfigError(f"'{first.metric}' of one run and '{second.metric}' of the other cannot be compared")
    known = ~np.isnan(first.values) & ~np.isnan(second.values)
    a, b = first.values[known], second.values[known]
    if not np.isin([*a, *b], (0, 1)).all():
        raise ConfigError(f"metric '{first.metric}' is not right or wrong for each row; use compare")
    first_only, second_only = int((a > b).sum()), int((b > a).sum())
    n = first_only + second_only
    return McNemar(first_only, second_only, float(binomtest(first_only, n).pvalue) if n else 1.0)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's method, in the same order; NaN is no test and stays NaN."""
    adjusted, highest = list(p_values), 0.0
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def breakdown(
    measured: Sequence[Measured],
    labels: Mapping[str, Labels],
    units: Labels | None = None,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> list[Part]:
    """Return every metric on every part of the rows, with intervals from the documents that have rows in the part.

    Args:
        measured: metrics with n rows each.
        labels: name (type, language, ...) -> the label of each row, shape (n,). A tuple puts the row into each of its
            labels' parts, an empty one into none.
        units: as in `bootstrap`.

    Returns:
        Rows in the order of `labels`, then of sorted part, then of `measured`.

    Raises:
        ConfigError: as in `bootstrap`.
    """
    _check(measured, level=level, draws=resamples)
    if not measured:
        return []
    n = len(measured[0])
    codes, _ = group_rows(units, n)
    parts: list[Part] = []
    for by, column in labels.items():
        if len(column) != n:
            raise ConfigError(f"{n} rows, but {len(column)} labels of '{by}'; expected one a row")
        for part, rows in _members(column).items():
            of_part = [m.take(rows) for m in measured]
            intervals = bootstrap(of_part, codes[rows], resamples=resamples, level=level, seed=seed)
            parts += [Part(by, part, len(rows), m.defined, i) for m, i in zip(of_part, intervals, strict=True)]
    return parts


def _members(column: Labels) -> dict[str, Ints]:
    """Return the rows of each label, sorted by label."""
    rows: dict[str, list[int]] = {}
    for i, label in enumerate(column.tolist() if isinstance(column, np.ndarray) else column):
        for part in dict.fromkeys(label) if isinstance(label, tuple) else (label,):
            rows.setdefault(str(part), []).append(i)
    return {part: np.array(rows[part], np.int64) for part in sorted(rows)}


def _check(measured: Sequence[Measured], *, level: float = 0.95, draws: int = 1) -> None:
    if len({len(m) for m in measured}) > 1:
        raise ConfigError(f"metrics with {', '.join(str(len(m)) for m in measured)} rows; expected the same rows")
    if not 0 < level < 1 or draws < 1:
        raise ConfigError(
            f"confidence level {level} and {draws} draws; expected a level between 0 and 1, 1 or more draws"
        )


def _columns(measured: Sequence[Measured]) -> list[tuple[Measured, slice]]:
    """Return where the parts of each metric stand when they are set side by side."""
    ends = np.cumsum([m.parts.shape[1] for m in measured]).tolist()
    return [(m, slice(end - m.parts.shape[1], end)) for m, end in zip(measured, ends, strict=True)]


def _unit_sums(measured: Sequence[Measured], units: Labels | None) -> tuple[Floats, int]:
    codes, names = group_rows(units, len(measured[0]))
    return sum_rows(np.concatenate([m.parts for m in measured], axis=1), codes, len(names)), len(names)


def _resample(sums: Floats, resamples: int, seed: int) -> Floats:
    """Return the sum over as many random units as there are, drawn with replacement: (units, c) to (resamples, c)."""
    n = len(sums)
    if n == 0:
        return np.zeros((resamples, sums.shape[1]))
    rng, drawn = np.random.default_rng(seed), []
    for start in range(0, resamples, block := max(1, _BLOCK // n)):
        size = min(block, resamples - start)
        picked = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        times = np.bincount(picked.ravel(), minlength=size * n).astype(np.float64)
        drawn.append(_product(times.reshape(size, n), sums))
    return np.concatenate(drawn)


def _interval(value: float, resampled: Floats, level: float, units: int) -> Interval:
    known = resampled[~np.isnan(resampled)]
    if units < 2 or not len(known):
        return Interval(value, math.nan, math.nan, level, units)
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high), level, units)


def _product(left: Floats, right: Floats) -> Floats:
    """Return the matrix product without BLAS, whose threads change the last bits, and stall on a busy machine."""
    return np.asarray(np.einsum("in,nc->ic", left, right))


def _all_signs(n: int) -> Floats:
    """Return every combination of n signs: (2 ** n, n)."""
    bits = np.arange(1 << n)[:, None] >> np.arange(n) & 1
    return 1.0 - 2.0 * bits.astype(np.float64)


def _random_signs(gap: Floats, permutations: int, seed: int) -> Floats:
    """Return the sum of the rows under random signs: (units, c) to (permutations, c)."""
    rng, n, flips = np.random.default_rng(seed), len(gap), []
    for start in range(0, permutations, block := max(1, _BLOCK // n)):
        size = min(block, permutations - start)
        bits = np.unpackbits(rng.integers(0, 256, (size, (n + 7) // 8), np.uint8), axis=1, count=n)
        flips.append(gap.sum(axis=0) - 2.0 * _product(bits.astype(np.float64), gap))
    return np.concatenate(flips)
