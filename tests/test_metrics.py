"""Names of metrics, and ranking metrics against ir-measures, scikit-learn and loops in plain Python."""

from __future__ import annotations

import itertools
import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from xnorm.errors import ConfigError
from xnorm.metrics import METRICS, OPTIONS, Measured, Metric, parse_metric
from xnorm.ranking import judge, measure

RANKING = ["accuracy", "recall@1", "recall@3", "mrr", "mrr@2", "ndcg", "ndcg@1", "ndcg@3", "mean_rank", "ceiling"]
NIL = ["nil_precision", "nil_recall", "nil_f1"]

# names


@pytest.mark.parametrize(
    "text",
    [*RANKING, *NIL, "recall@64", "precision[strict]", "f1[strict,type]", "f1[partial,bag]", "f1[loose,type,bag]",
     "recall[strict,xmen]@8", "f1[partial,xmen,by_document]", "f1[strict,nil]"],
)  # fmt: skip
def test_a_name_parses_and_prints_itself(text):
    assert str(parse_metric(text)) == text
    assert parse_metric(str(parse_metric(text))) == parse_metric(text)


@given(
    st.sampled_from(["precision", "recall", "f1"]),
    st.sampled_from(["strict", "partial", "loose"]),
    st.sets(st.sampled_from(["type", "bag"])),
    st.none() | st.integers(1, 999),
)
def test_every_metric_of_annotations_survives_printing(name, matching, flags, k):
    metric = Metric(name, (*sorted(flags), matching), k)
    assert parse_metric(str(metric)) == metric


def test_one_meaning_has_one_spelling():
    assert str(parse_metric(" f1[ type , strict ]@1 ")) == "f1[strict,type]"
    assert str(parse_metric("recall@064")) == "recall@64"
    assert parse_metric("recall@64").k == 64
    assert parse_metric("f1[strict]").is_matching
    assert not parse_metric("recall@1").is_matching
    assert [m for m in METRICS if m not in ("precision", "recall", "f1") and not Metric(m).higher_is_better] == [
        "mean_rank"
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acuracy", "did you mean 'accuracy'"),
        ("Recall@5", "did you mean 'recall'"),
        ("xyz", "known: accuracy"),
        ("", "unknown metric"),
        ("recall", "needs a cut-off"),
        ("recall@", "expected a whole number"),
        ("recall@0", "expected 1 or more"),
        ("recall@-1", "expected a whole number"),
        ("recall@1.5", "expected a whole number"),
        ("recall@٣", "expected a whole number"),
        ("recall@1@2", "has not the form"),
        ("recall@5[strict]", "has not the form"),
        ("f1[strict", "has not the form"),
        ("accuracy@1", "takes no @k"),
        ("ceiling@64", "takes no @k"),
        ("f1", "needs a matching"),
        ("precision@5", "needs a matching"),
        ("f1[]", "unknown option ''"),
        ("f1[strikt]", "did you mean 'strict'"),
        ("f1[type]", "needs one of strict, partial, loose"),
        ("f1[strict,loose]", "needs one of"),
        ("f1[strict,type,type]", "each option once"),
        ("mrr[strict]", "takes no options"),
        ("f1[strict,xmen,type]", "xMEN has no type"),
        ("f1[strict,by_document]", "add 'xmen'"),
        ("f1[loose,nil]", "use strict or partial"),
    ],
)
def test_what_is_no_metric_is_refused_with_a_reason(text, says):
    with pytest.raises(ConfigError) as e:
        parse_metric(text)
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_every_name_and_option_is_explained():
    assert all(METRICS.values())
    assert all(OPTIONS.values())


# ranking metrics by loops


@st.composite
def rankings(draw):
    """Rankings of few concepts, so that ties of ids, repetitions, gold outside, NIL and composites abound."""
    k = draw(st.integers(0, 5))
    n = draw(st.integers(0, 7))
    concept = st.integers(-2, 5).filter(lambda c: c != -1)
    ranked = [draw(st.lists(concept, max_size=k)) for _ in range(n)]
    gold = [draw(st.lists(concept, max_size=4)) for _ in range(n)]
    composite = [draw(st.booleans()) for _ in range(n)]
    return k, ranked, gold, composite


def as_array(ranked, k):
    return np.array([[*r, *[-1] * (k - len(r))] for r in ranked], np.int32).reshape(len(ranked), k)


def by_hand(name, ranked, gold, composite):
    """One mention's value, or None where it has none; written from the definitions, with sets and slices."""
    metric, _, cut = name.partition("@")
    top = ranked[: int(cut)] if cut else ranked
    inside = {g for g in gold if g >= 0}
    outside = sum(g < 0 for g in gold)
    total = len(inside) + outside
    if metric == "accuracy" and not total:
        return float(not ranked)
    if metric.startswith("nil_"):
        return None if (ranked if metric == "nil_precision" else total) else float(not total and not ranked)
    if not total:
        return None
    if composite:
        complete = [r for r in range(1, len(ranked) + 1) if not outside and inside <= set(ranked[:r])]
        rank, first = (complete[0] if complete else None), total
    else:
        places = [r for r, c in enumerate(ranked, 1) if c in inside]
        rank, first = (places[0] if places else None), 1
    within = rank is not None and rank <= len(top)
    if metric in ("recall", "ceiling"):
        return float(within)
    if metric == "accuracy":
        return float(rank == first)
    if metric == "mrr":
        return 1 / (rank - first + 1) if within else 0.0
    if metric == "mean_rank":
        return None if rank is None else float(rank - first + 1)
    gain = sum(1 / math.log2(r + 1) for r, c in enumerate(top, 1) if c in inside and c not in top[: r - 1])
    ideal = sum(1 / math.log2(r + 1) for r in range(1, min(total, int(cut) if cut else total) + 1))
    return gain / ideal


@settings(max_examples=400, deadline=None)
@given(rankings())
def test_ranking_metrics_agree_with_loops(case):
    k, ranked, gold, composite = case
    judged = judge(as_array(ranked, k), gold, composite=composite)
    for name in [*RANKING, "ndcg@9", "nil_precision", "nil_recall"]:
        expected = [by_hand(name, *mention) for mention in zip(ranked, gold, composite, strict=True)]
        measured = measure(name, judged)
        np.testing.assert_allclose(measured.values, [math.nan if v is None else v for v in expected], err_msg=name)
        known = [v for v in expected if v is not None]
        assert measured.value == pytest.approx(sum(known) / len(known) if known else math.nan, nan_ok=True), name
        assert measured.defined == len(known)


@settings(max_examples=200, deadline=None)
@given(rankings())
def test_ranking_metrics_fit_together(case):
    k, ranked, gold, composite = case
    judged = judge(as_array(ranked, k), gold, composite=composite)
    some = judged.n_gold > 0
    values = {name: measure(name, judged).values[some] for name in [*RANKING, "recall@2", "recall@99", "mrr@99"]}
    assert (values["mrr"] >= values["accuracy"]).all()
    assert ((values["mrr@2"] > 0) == (values["recall@2"] == 1)).all()
    assert (values["recall@1"] <= values["recall@2"]).all()
    assert (values["recall@99"] == values["ceiling"]).all()
    assert (values["mrr@99"] == values["mrr"]).all()
    assert (np.isnan(values["mean_rank"]) == (values["ceiling"] == 0)).all()
    assert (values["ndcg"] <= 1 + 1e-12).all()


@settings(max_examples=100, deadline=None)
@given(rankings())
def test_flat_gold_is_the_same_gold(case):
    k, ranked, gold, composite = case
    flat, offsets = np.array([g for gs in gold for g in gs], np.int32), np.cumsum([0, *map(len, gold)])
    one = judge(as_array(ranked, k), gold, composite=composite)
    two = judge(as_array(ranked, k), flat, offsets=offsets, composite=composite)
    for field in ("hits", "n_gold", "sizes", "composite"):
        assert (getattr(one, field) == getattr(two, field)).all()


def test_cases_worked_out_on_paper():
    concepts = np.array([[7, 3, 9], [4, 5, 6], [5, 4, 6], [1, 5, 4], [-1, -1, -1], [2, -1, -1], [8, -1, -1]])
    gold = [[3, 9], [4, 5], [4, 5], [4, 5], [], [], [-2]]
    judged = judge(concepts, gold, composite=[False, True, True, True, False, False, False])
    assert judged.ranks.tolist() == [2, 2, 2, 3, 0, 0, 0]
    assert measure("accuracy", judged).values.tolist() == [0, 1, 1, 0, 1, 0, 0]
    assert measure("mrr", judged).values[:4].tolist() == [0.5, 1, 1, 0.5]
    assert measure("recall@2", judged).value == 3 / 5
    assert measure("ceiling", judged).value == 4 / 5
    assert measure("mean_rank", judged).value == (2 + 1 + 1 + 2) / 4
    ndcg = (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3))
    assert measure("ndcg@3", judged).values[0] == pytest.approx(ndcg)
    assert [measure(m, judged).value for m in NIL] == [1.0, 0.5, pytest.approx(2 / 3)]


# ranking metrics by other packages


def random_rankings(seed, n=250, k=12, concepts=40, repeat=False):
    rng = np.random.default_rng(seed)
    ranked = [rng.choice(concepts, rng.integers(0, k + 1), replace=repeat).tolist() for _ in range(n)]
    # some gold is nowhere among the concepts that are ranked
    gold = [rng.choice(concepts + 15, rng.integers(1, 5), replace=False).tolist() for _ in range(n)]
    return ranked, gold


@pytest.mark.parametrize("seed", range(4))
def test_agreement_with_ir_measures(seed):
    ranked, gold = random_rankings(seed)
    judged = judge(as_array(ranked, 12), gold)
    theirs = {"recall@1": "Success@1", "recall@5": "Success@5", "mrr": "RR", "mrr@10": "RR@10", "ndcg": "nDCG",
              "ndcg@3": "nDCG@3", "ndcg@10": "nDCG@10"}  # fmt: skip
    qrels = [ir_measures.Qrel(f"q{i}", f"c{c}", 1) for i, gs in enumerate(gold) for c in gs]
    run = [ir_measures.ScoredDoc(f"q{i}", f"c{c}", -r) for i, cs in enumerate(ranked) for r, c in enumerate(cs)]
    wanted = [ir_measures.parse_measure(m) for m in theirs.values()]
    values = {(str(m.measure), m.query_id): m.value for m in ir_measures.iter_calc(wanted, qrels, run)}
    for ours, other in theirs.items():
        expected = [values[str(ir_measures.parse_measure(other)), f"q{i}"] for i in range(len(gold))]
        np.testing.assert_allclose(measure(ours, judged).values, expected, atol=1e-6, err_msg=ours)


@pytest.mark.parametrize("seed", range(3))
def test_agreement_with_scikit_learn_on_nil(seed):
    rng = np.random.default_rng(seed)
    sizes, n_gold = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    concepts = np.where(np.arange(2) < sizes[:, None], [1, 2], -1)
    judged = judge(concepts, [[1, 5][:g] for g in n_gold])
    said, true = sizes == 0, n_gold == 0
    assert measure("nil_precision", judged).value == pytest.approx(precision_score(true, said))
    assert measure("nil_recall", judged).value == pytest.approx(recall_score(true, said))
    assert measure("nil_f1", judged).value == pytest.approx(f1_score(true, said))


# averages


@settings(max_examples=200, deadline=None)
@given(rankings(), st.data())
def test_macro_is_the_mean_of_the_groups(case, data):
    k, ranked, gold, composite = case
    groups = data.draw(st.lists(st.sampled_from("abc"), min_size=len(gold), max_size=len(gold)))
    judged = judge(as_array(ranked, k), gold, composite=composite)
    for name in ("accuracy", "recall@3", "mean_rank", "ndcg@3"):
        measured = measure(name, judged)
        by_group = [[v for v, g in zip(measured.values, groups, strict=True) if g == x and v == v] for x in "abc"]
        means = [sum(vs) / len(vs) for vs in by_group if vs]
        expected = sum(means) / len(means) if means else math.nan
        assert measured.macro(groups).value == pytest.approx(expected, nan_ok=True)


def test_macro_f1_takes_each_group_by_itself():
    judged = judge(np.array([[-1], [-1], [3], [-1]]), [[], [1], [], []])
    assert measure("nil_f1", judged).value == pytest.approx(2 * 2 / (3 + 3))
    assert measure("nil_f1", judged).macro([0, 0, 1, 1]).values == pytest.approx([2 / 3, 2 / 3])


def test_labels_may_be_anything_that_prints():
    measured = measure("accuracy", judge(np.array([[1], [1], [2]]), [[1], [1], [1]]))
    assert measured.macro(["a", None, "a"]).values.tolist() == [1.0, 0.5]
    assert measured.take(np.array([True, False, True])).value == 0.5
    with pytest.raises(ConfigError, match="3 rows, but group labels of shape"):
        measured.macro(["a", "b"])


def test_nothing_gives_no_number():
    judged = judge(np.zeros((0, 4), np.int32), [])
    assert all(math.isnan(measure(m, judged).value) for m in [*RANKING, *NIL])
    only_nil = judge(np.full((2, 3), -1), [[], []])
    assert math.isnan(measure("recall@3", only_nil).value)
    assert measure("accuracy", only_nil).value == 1
    assert math.isnan(measure("nil_precision", judge(np.array([[4]]), [[]])).value)


def test_numbers_are_the_same_in_any_number_of_blocks():
    rng = np.random.default_rng(0)
    concepts, gold = rng.integers(0, 9, (70_000, 3)), rng.integers(0, 9, 70_000)
    judged = judge(concepts, gold, offsets=np.arange(70_001))
    assert measure("recall@3", judged).value == (concepts == gold[:, None]).any(axis=1).mean()


# what is refused


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([1, 2], [[1]]), "expected (mentions, k)"),
        (([[1], [2]], [[1]]), "2 rankings, gold of 1 mentions"),
        (([[1, -1, 2]], [[1]]), "ranking 0 has padding (-1) before a candidate"),
    ],
)
def test_shapes_that_do_not_agree_are_refused(arguments, says):
    with pytest.raises(ConfigError) as e:
        judge(np.array(arguments[0]), arguments[1])
    assert says in str(e.value)


def test_more_shapes_that_do_not_agree_are_refused():
    concepts = np.array([[1], [2]])
    for offsets in ([0, 1], [0, 2, 1], [1, 1, 1], [0, 1, 2], []):
        with pytest.raises(ConfigError):
            judge(concepts, np.array([5]), offsets=np.array(offsets))
    with pytest.raises(ConfigError, match="composite flags of 1"):
        judge(concepts, [[1], [2]], composite=[True])
    with pytest.raises(ConfigError, match="give it to match_spans"):
        measure("f1[strict]", judge(concepts, [[1], [2]]))


def test_harmonic_mean_of_parts():
    metric = Metric("f1", ("strict",))
    for tp, said, found, there in itertools.product((0, 1, 2), (2, 4), (0, 2), (2, 3)):
        p, r = tp / said, found / there
        expected = 2 * p * r / (p + r) if p + r else 0.0
        assert Measured(metric, np.array([[tp, said, found, there]], float)).value == pytest.approx(expected)
    assert Measured(metric, np.array([[0.0, 0, 0, 3]])).value == 0
    assert math.isnan(Measured(metric, np.zeros((1, 4))).value)
    assert Measured(metric, np.zeros((1, 4)), 0.0).value == 0
