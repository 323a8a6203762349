"""Intervals and tests against scipy, against full enumeration, and on data whose truth is known."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorm.errors import ConfigError
from xnorm.matching import LinkedSpan, match_spans
from xnorm.metrics import Measured, parse_metric
from xnorm.resampling import bootstrap, breakdown, compare, mcnemar

ACCURACY, RANK = parse_metric("accuracy"), parse_metric("mean_rank")


def of_values(values, metric=ACCURACY):
    """Rows of weight 1, or none where the value is NaN."""
    values = np.asarray(values, float)
    known = ~np.isnan(values)
    return Measured(metric, np.stack([np.where(known, values, 0), known], axis=1).astype(float))


def clustered(rng, documents, rate=0.7, spread=0.15):
    """Right or wrong for mentions of documents, some of which are harder; and the document of each."""
    units = np.repeat(np.arange(documents), rng.integers(1, 12, documents))
    chance = np.clip(rate + rng.uniform(-spread, spread, documents), 0, 1)[units]
    return (rng.random(len(units)) < chance).astype(float), units


# intervals


def test_bootstrap_agrees_with_scipy():
    rng = np.random.default_rng(0)
    values, units = clustered(rng, 60)
    right, size = np.bincount(units, values), np.bincount(units)
    theirs = scipy.stats.bootstrap(
        (right, size), lambda r, s, axis: r.sum(axis) / s.sum(axis), paired=True, vectorized=True, n_resamples=20_000,
        method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    [ours] = bootstrap([of_values(values)], units, resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    assert ours.value == values.mean()
    assert ours.units == 60


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    by_document = by_mention = 0
    for seed in range(300):
        values, units = clustered(rng, 40, spread=0.3)
        for i, u in enumerate((units, None)):
            [interval] = bootstrap([of_values(values)], u, resamples=300, seed=seed)
            hit = interval.low <= 0.7 <= interval.high
            by_document, by_mention = (by_document + hit, by_mention) if i == 0 else (by_document, by_mention + hit)
    assert 0.90 <= by_document / 300 <= 0.98
    # as if mentions of a document were independent: too sure
    assert by_mention < by_document - 10


def test_more_confidence_is_wider_and_contains_less():
    values, units = clustered(np.random.default_rng(2), 50)
    one, two = (bootstrap([of_values(values)], units, level=level)[0] for level in (0.8, 0.99))
    assert two.low < one.low < one.value < one.high < two.high


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, math.nan]), st.sampled_from("abcd")), max_size=12), st.randoms())
@settings(max_examples=60, deadline=None)
def test_only_data_and_seed_matter(rows, random):
    def run(rows, seed=3):
        measured = of_values([v for v, _ in rows])
        return bootstrap([measured, replace(measured, metric=RANK)], [u for _, u in rows], resamples=50, seed=seed)

    shuffled = list(rows)
    random.shuffle(shuffled)
    one, two, three = run(rows), run(rows), run(shuffled)
    assert repr(one) == repr(two)
    for a, b in zip(one, three, strict=True):
        assert [a.low, a.high] == pytest.approx([b.low, b.high], nan_ok=True)
    if len({u for _, u in rows}) < 2 or all(v != v for v, _ in rows):
        assert math.isnan(one[0].low)
    else:
        assert 0 <= one[0].low <= one[0].high <= 1


def test_another_seed_is_another_draw():
    values, units = clustered(np.random.default_rng(3), 80)
    assert bootstrap([of_values(values)], units)[0] != bootstrap([of_values(values)], units, seed=1)[0]


def test_intervals_of_annotations_resample_documents():
    rng = np.random.default_rng(4)
    gold = [LinkedSpan(f"d{d}", ((i, i + 1),), (f"C{rng.integers(3)}",)) for d in range(30) for i in range(d % 7)]
    predicted = [replace(r, ids=(f"C{rng.integers(3)}",)) for r in gold if rng.random() < 0.8]
    matched = match_spans(gold, predicted, ["precision[strict]", "recall[strict]", "f1[strict]"])
    precision, recall, f1 = bootstrap(matched.results)
    assert f1.value == pytest.approx(2 * precision.value * recall.value / (precision.value + recall.value))
    assert f1.low < f1.value < f1.high
    drawn = np.random.default_rng(0).integers(0, len(matched.documents), (1000, len(matched.documents)))
    sums = matched.results[2].parts[drawn].sum(axis=1)
    slow = np.quantile(2 * sums[:, 0] / (sums[:, 1] + sums[:, 3]), [0.025, 0.975])
    assert (f1.low, f1.high) == pytest.approx(tuple(slow))


# paired tests


def enumerated(a, b, units, measured=of_values):
    """The p-value by swapping the runs of documents in every possible way."""
    labels = sorted(set(units))
    observed, count, units = abs(measured(a).value - measured(b).value), 0, np.array(units)
    for swaps in itertools.product((False, True), repeat=len(labels)):
        swap = np.isin(units, [x for x, s in zip(labels, swaps, strict=True) if s])
        x, y = np.where(swap, b, a), np.where(swap, a, b)
        difference = abs(measured(x).value - measured(y).value)
        count += not difference < observed - 1e-9
    return count / 2 ** len(labels)


values = st.sampled_from([0.0, 0.5, 1.0, math.nan])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(values, values, st.sampled_from("abcde")), min_size=1, max_size=10))
def test_p_values_of_few_documents_are_exact(rows):
    a, b, units = (list(column) for column in zip(*rows, strict=True))
    result = compare(of_values(a), of_values(b), units)
    assert result.exact
    if math.isnan(result.difference.value):
        assert math.isnan(result.p_value)
    else:
        assert result.p_value == pytest.approx(enumerated(a, b, units))


def test_p_values_agree_with_scipy():
    rng = np.random.default_rng(5)
    a, b = rng.integers(0, 3, 12) / 2, rng.integers(0, 3, 12) / 2
    theirs = scipy.stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert compare(of_values(a), of_values(b)).p_value == pytest.approx(theirs.pvalue)


def test_drawn_p_values_come_near_the_exact_one():
    rng = np.random.default_rng(6)
    for _ in range(5):
        a, b = rng.random(14), rng.random(14) + 0.15
        exact = compare(of_values(a), of_values(b), permutations=1 << 14)
        drawn = compare(of_values(a), of_values(b), permutations=10_000)
        assert exact.exact
        assert not drawn.exact
        error = math.sqrt(exact.p_value * (1 - exact.p_value) / 10_000)
        assert abs(drawn.p_value - exact.p_value) < 5 * error + 1e-4
        assert drawn.p_value >= 1 / 10_001


def test_runs_that_are_alike_seldom_differ_significantly():
    rng = np.random.default_rng(7)
    p = []
    for _ in range(300):
        a, units = clustered(rng, 9)
        difficulty = rng.random(9)[units]
        a, b = ((rng.random(len(units)) < difficulty).astype(float) for _ in range(2))
        p.append(compare(of_values(a), of_values(b), units, resamples=1).p_value)
    assert np.mean(np.array(p) <= 0.05) < 0.09
    assert np.mean(np.array(p) <= 0.5) < 0.6


def test_a_run_compared_with_itself():
    a, units = clustered(np.random.default_rng(8), 20)
    result = compare(of_values(a), of_values(a), units)
    assert (result.p_value, result.difference.value, result.difference.low, result.differing) == (1, 0, 0, 0)
    assert mcnemar(of_values(a), of_values(a)).p_value == 1


def test_a_better_run_is_better_and_a_swap_changes_the_sign():
    rng = np.random.default_rng(9)
    a, units = clustered(rng, 200)
    b = np.where(rng.random(len(a)) < 0.1, 0, a)
    one, two = compare(of_values(a), of_values(b), units), compare(of_values(b), of_values(a), units)
    assert one.p_value == two.p_value == pytest.approx(1 / 10_001)
    assert 0 < one.difference.low < one.difference.value < one.difference.high
    assert (one.difference.low, one.difference.high) == pytest.approx((-two.difference.high, -two.difference.low))
    assert compare(of_values(a), of_values(b), units) == one


def test_annotations_of_two_runs_are_compared_by_document():
    gold = [LinkedSpan(f"d{i}", ((0, 2),), ("A",)) for i in range(8)]
    runs = [[replace(r, ids=("A" if i < n else "B",)) for i, r in enumerate(gold)] for n in (7, 4)]
    a, b = (match_spans(gold, run, ["f1[strict]"]).results[0] for run in runs)
    result = compare(a, b)
    assert result.difference.value == pytest.approx(3 / 8)
    assert result.p_value == 2 / 2**3
    assert result.differing == 3


def test_mcnemar_against_the_binomial_distribution():
    a, b = [1] * 9 + [0] * 2 + [1, 0, math.nan], [0] * 9 + [1] * 2 + [1, 0, 1]
    result = mcnemar(of_values(a), of_values(b))
    assert (result.first_only, result.second_only) == (9, 2)
    tail = sum(math.comb(11, i) for i in range(3)) / 2**11
    assert result.p_value == pytest.approx(2 * tail)
    assert mcnemar(of_values([1, 0]), of_values([0, 1])).p_value == 1


# breakdown


def test_breakdown_takes_each_part_by_itself():
    values, units = clustered(np.random.default_rng(10), 60)
    lang = np.array(["de", "fr", "en"])[np.arange(len(values)) % 3]
    types = [("drug", "chemical") if i % 4 == 0 else ("disorder",) if i % 4 == 1 else () for i in range(len(values))]
    table = breakdown([of_values(values), of_values(values * 2, RANK)], {"lang": lang, "type": types}, units)
    assert [(p.by, p.part) for p in table[::2]] == [
        ("lang", "de"), ("lang", "en"), ("lang", "fr"), ("type", "chemical"), ("type", "disorder"), ("type", "drug"),
    ]  # fmt: skip
    german = table[0]
    assert german.interval.value == pytest.approx(values[lang == "de"].mean())
    assert german.rows == german.defined == (lang == "de").sum()
    assert german.interval.units == len(set(units[lang == "de"]))
    assert german.interval == bootstrap([of_values(values[lang == "de"])], units[lang == "de"])[0]
    assert table[6].interval == table[10].interval
    assert sum(p.rows for p in table[:6:2]) == len(values)


def test_breakdown_counts_what_is_undefined():
    table = breakdown([of_values([1, math.nan, math.nan])], {"seen": [True, True, False]})
    assert [(p.part, p.rows, p.defined) for p in table] == [("False", 1, 0), ("True", 2, 1)]
    assert math.isnan(table[0].interval.value)


# what is refused


def test_what_cannot_be_compared_is_refused():
    one, two = of_values([1, 0]), of_values([1, 0, 1])
    for call in (lambda: bootstrap([one, two]), lambda: compare(one, two), lambda: mcnemar(one, two)):
        with pytest.raises(ConfigError, match="expected the same rows"):
            call()
    for test in (compare, mcnemar):
        with pytest.raises(ConfigError, match="cannot be compared"):
            test(one, of_values([1, 0], RANK))
    with pytest.raises(ConfigError, match="is not right or wrong"):
        mcnemar(of_values([0.5, 1]), one)
    for wrong in ({"level": 1.0}, {"level": 0}, {"resamples": 0}):
        with pytest.raises(ConfigError, match="level between 0 and 1"):
            bootstrap([one], **wrong)
    with pytest.raises(ConfigError, match="labels of 'type'"):
        breakdown([one], {"type": ["a"]})
    assert bootstrap([]) == breakdown([], {}) == []
