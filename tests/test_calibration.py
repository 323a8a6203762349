"""Calibration: values by hand, and the fit against scipy's minimum of the likelihood written out anew."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from xnorm.calibration import Calibration, fit_calibration, probabilities, softmax
from xnorm.errors import ConfigError

TRUE = Calibration(temperature=2.0, prior=6.0, nil=-1.0)


def drawn(n=150, k=6, *, nil=False, seed=5, true=TRUE):
    """Return logits, nil, scores, hits and is_nil, the gold drawn by the true calibration."""
    rng = np.random.default_rng(seed)
    logits, scores = rng.normal(size=(n, k)) * 3, rng.uniform(0.3, 1, size=(n, k))
    none = rng.normal(size=n) if nil else np.full(n, -np.inf)
    logits[20:40, 4:] = -np.inf
    scores[20:40, 4:] = -np.inf
    shares, other = softmax(*true.apply(logits, none, np.where(np.isfinite(scores), scores, 0)))
    gold = [rng.choice(k + 1, p=p / p.sum()) for p in np.concatenate([shares, other[:, None]], axis=1)]
    hits = np.arange(k) == np.array(gold)[:, None]
    return logits, none, scores, hits, ~hits.any(axis=1)


def nll(numbers, logits, nil, scores, hits, is_nil):
    """Return the negative log-likelihood, mention by mention."""
    scale, prior, offset = numbers
    total = 0.0
    for z, none, s, hit, says in zip(logits, nil, scores, hits, is_nil, strict=True):
        row = [scale * a + prior * b for a, b in zip(z, s, strict=True) if np.isfinite(a)]
        gold = [i for i, h in enumerate(hit[np.isfinite(z)]) if h]
        if np.isfinite(none):
            row.append(scale * none + offset)
            gold = gold or ([len(row) - 1] if says else [])
        if gold and len(row) > 1:
            whole = math.log(sum(math.exp(x - max(row)) for x in row)) + max(row)
            total += whole - sum(row[i] for i in gold) / len(gold)
    return total


@pytest.mark.parametrize("nil", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_fit_is_the_minimum_that_scipy_finds(nil, seed):
    data = drawn(nil=nil, seed=seed)
    found = fit_calibration(*data)
    best = minimize(nll, [1.0, 0.0, 0.0], args=data, method="Nelder-Mead", options={"maxiter": 4000, "xatol": 1e-6})
    ours = nll([1 / found.temperature, found.prior / found.temperature, found.nil / found.temperature], *data)
    assert ours == pytest.approx(best.fun, abs=0.02)  # the ridge is in ours alone
    assert found.temperature == pytest.approx(1 / best.x[0], rel=0.03)
    assert found.prior == pytest.approx(best.x[1] / best.x[0], rel=0.03)
    if nil:
        assert found.nil == pytest.approx(best.x[2] / best.x[0], abs=0.1)
    else:
        assert found.nil == 0
    assert found.temperature == pytest.approx(TRUE.temperature, rel=0.5)
    assert found.prior == pytest.approx(TRUE.prior, rel=0.6)


def test_several_gold_candidates_share_the_target():
    logits, none, scores, hits, is_nil = drawn()
    hits[:50, :2] = True
    found = fit_calibration(logits, none, scores, hits, is_nil)
    numbers = [1 / found.temperature, found.prior / found.temperature, 0.0]
    here = nll(numbers, logits, none, scores, hits, is_nil)
    for i in (0, 1):
        for step in (-0.05, 0.05):
            near = [x + step * (j == i) for j, x in enumerate(numbers)]
            assert nll(near, logits, none, scores, hits, is_nil) >= here - 0.02


def test_a_prior_that_would_count_against_a_candidate_is_left_out():
    logits, none, scores, hits, is_nil = drawn()
    found = fit_calibration(logits, none, -scores, hits, is_nil)
    assert found.prior == 0
    assert found.temperature == pytest.approx(
        fit_calibration(logits, none, np.zeros_like(scores), hits, is_nil).temperature, rel=1e-3
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_logits_without_or_against_the_truth_stay_in_range(sign):
    hits = np.eye(4, dtype=bool)[[0, 1, 2, 3] * 5]
    logits = sign * np.where(hits, 5.0, 0.0)  # without errors, or always wrong: the likelihood has no bound
    found = fit_calibration(logits, np.full(20, -np.inf), np.zeros((20, 4)), hits, np.zeros(20, bool))
    assert 0.05 <= found.temperature <= 20


@pytest.mark.parametrize(
    ("logits", "hits"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), bool)),
        (np.ones((2, 3)), np.zeros((2, 3), bool)),
        (np.array([[1.0, -np.inf]] * 2), np.array([[True, False]] * 2)),
    ],
)
def test_where_nothing_tells_nothing_changes(logits, hits):
    n = len(logits)
    assert fit_calibration(logits, np.full(n, -np.inf), np.ones_like(logits), hits, ~hits.any(axis=1)) == Calibration()


def test_probabilities_by_hand():
    calibration = Calibration(temperature=2.0, prior=4.0, nil=1.0)
    logits = np.array([[2.0, 0.0, -np.inf], [0.0, 0.0, -np.inf]])
    scores = np.array([[0.5, 1.0, -np.inf], [0.0, 0.0, -np.inf]])
    wanted = np.isfinite(logits)
    out = probabilities(logits, np.array([1.0, 3.0]), scores, wanted, calibration=calibration, allow_nil=True)
    power = [math.exp((2 + 2) / 2), math.exp((0 + 4) / 2), math.exp((1 + 1) / 2)]
    np.testing.assert_allclose(out[0], [power[0] / sum(power), power[1] / sum(power), 0], rtol=1e-6)
    assert np.isnan(out[1, 0])
    never = probabilities(logits, np.array([1.0, 3.0]), scores, wanted, calibration=calibration, allow_nil=False)
    np.testing.assert_allclose(never, [[0.5, 0.5, 0]] * 2, rtol=1e-6)


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"prior": -1}, {"nil": float("nan")}, {"temperature": "x"}])
def test_numbers_that_make_no_sense(settings):
    with pytest.raises((ConfigError, ValueError), match=next(iter(settings))):
        Calibration(**settings)
