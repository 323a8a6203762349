"""When a training does what; what loops of all kinds of encoders share."""

from itertools import pairwise

import pytest

from xnorm.training._schedule import Schedule, State


def test_the_rate_warms_up_and_falls():
    schedule = Schedule(100, 1.0, 4, 3, 0)
    assert [schedule.rate(i) for i in (0, 1, 4)] == pytest.approx([0.2, 0.4, 1])
    assert [schedule.rate(i) for i in (5, 50, 99)] == pytest.approx([1, 50 / 95, 1 / 95])
    rates = [schedule.rate(step) for step in range(100)]
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert Schedule(1, 0.5, 1, 1, 0).rate(0) == 0.5


def test_measurements_are_spread_evenly():
    assert [done for done in range(1, 101) if Schedule(100, 1.0, 4, 3, 0).measures(done)] == [25, 50, 75, 100]
    for steps, evaluations in ((7, 3), (3, 5), (1, 1)):
        found = [i for i in range(1, steps + 1) if Schedule(steps, 1.0, evaluations, 3, 0).measures(i)]
        assert len(found) == min(steps, evaluations)
        assert found[-1] == steps


def test_when_a_training_is_at_its_best_and_when_it_is_out():
    history = [{"mrr": m} for m in (0.1, 0.5, 0.4, 0.5)]
    assert [State(history=history[:n]).is_out(2) for n in range(5)] == [False, False, False, False, True]
    assert not State(history=history).is_out(3)
    assert not State().is_out(1)
    assert [State(history=history[:n]).is_best(history[n]["mrr"]) for n in range(4)] == [True, True, False, False]
