"""Numbers of an evaluation: by hand on tiny rankings, by brute force, and against ir_measures on random ones."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from evaluation_data import (
    BREAST,
    CHILL,
    COLD,
    COPD,
    HEADACHE,
    HF,
    OVARY,
    THING,
    N,
    ident,
    make_corpus,
    make_rankings,
    make_terminology,
    mention,
)

from xnorm.errors import ConfigError
from xnorm.evaluation import IntervalConfig, concept_ids, evaluate, rounded
from xnorm.metrics import reranking_in_words

FEW = IntervalConfig(resamples=20)
NDCG_7 = (1 + 1 / math.log2(4)) / (1 + 1 / math.log2(3))

# text, gold, ranking, scores, composite
CASES = [
    ("cold", [COLD], [COLD, CHILL], [0.9, 0.8], False),
    ("Kopfweh", [HEADACHE], [COLD, HEADACHE], [0.8, 0.7], False),
    ("HF", [HF], [], [], False),
    ("zzz", [], [], [], False),
    ("yyy", [], [THING], [0.8], False),
    ("chill", [COLD, CHILL], [CHILL, COLD], [0.5, 0.5], False),
    ("breast and ovarian cancer", [BREAST, OVARY], [OVARY, BREAST], [0.4, 0.1], True),
    ("breast/ovarian", [BREAST, OVARY], [OVARY, COPD, BREAST], [0.3, 0.2, 0.1], True),
]
BY_HAND = {  # value, rows that count
    "accuracy": (4 / 8, 8),
    "recall@1": (2 / 6, 6),
    "recall@2": (4 / 6, 6),
    "recall@4": (5 / 6, 6),
    "mrr": ((1 + 1 / 2 + 0 + 1 + 1 + 1 / 2) / 6, 6),
    "mrr@2": ((1 + 1 / 2 + 0 + 1 + 1 + 0) / 6, 6),
    "ndcg@4": ((1 + 1 / math.log2(3) + 0 + 1 + 1 + NDCG_7) / 6, 6),
    "mean_rank": ((1 + 2 + 1 + 1 + 2) / 5, 5),
    "ceiling": (5 / 6, 6),
    "nil_precision": (1 / 2, 2),
    "nil_recall": (1 / 2, 2),
    "nil_f1": (1 / 2, 3),
}


@pytest.fixture(scope="module")
def terminology(tmp_path_factory):
    return make_terminology(tmp_path_factory.mktemp("terminology"))


def cases(rows=CASES, **more):
    corpus = make_corpus([mention(text, gold, composite=c) for text, gold, _, _, c in rows])
    return corpus, make_rankings([r for _, _, r, _, _ in rows], scores=[s for _, _, _, s, _ in rows], **more)


def judge(corpus, rankings, terminology, **options):
    return evaluate(corpus, rankings, terminology, **{"interval": FEW, **options})


def by_name(records):
    return {r["metric"]: r for r in records}


def test_metrics_by_hand(terminology):
    found = judge(*cases(), terminology, metrics=list(BY_HAND)).results["metrics"]
    assert [r["metric"] for r in found] == list(BY_HAND)
    for record in found:
        value, rows = BY_HAND[record["metric"]]
        assert record["value"] == pytest.approx(value, abs=1e-6), record["metric"]
        assert (record["rows"], record["units"]) == (rows, 8), record["metric"]
        assert record["low"] <= record["value"] <= record["high"]


def test_default_metrics(terminology):
    corpus, rankings = cases()
    nil = ["nil_precision", "nil_recall", "nil_f1"]
    plain = ["accuracy", "recall@4", "mrr", "ndcg@4", "mean_rank"]
    assert list(by_name(judge(corpus, rankings, terminology).results["metrics"])) == plain + nil
    linked = cases([case for case in CASES if case[1]], k=20)
    wanted = ["accuracy", "recall@5", "recall@20", "mrr", "ndcg@10", "mean_rank"]
    assert list(by_name(judge(*linked, terminology).results["metrics"])) == wanted
    one = make_corpus([mention("cold", COLD)]), make_rankings([[COLD]], k=1)
    assert list(by_name(judge(*one, terminology).results["metrics"])) == ["accuracy", "mrr", "ndcg@1", "mean_rank"]


def test_alternatives_and_composites(terminology):
    """Accuracy and rank of one ranking under either reading of two gold ids."""
    both = [BREAST, OVARY]
    expected = {  # ranking: (alternatives: right, first rank), (composite: right, rank of the last part)
        (BREAST,): ((1, 1), (0, 0)),
        (OVARY, BREAST): ((1, 1), (1, 2)),
        (BREAST, COLD, OVARY): ((1, 1), (0, 3)),
        (COLD, BREAST, OVARY): ((0, 2), (0, 3)),
        (COLD,): ((0, 0), (0, 0)),
        (): ((0, 0), (0, 0)),
    }
    for composite in (False, True):
        corpus = make_corpus([mention("x", both, composite=composite) for _ in expected])
        found = judge(corpus, make_rankings([list(r) for r in expected]), terminology)
        right = found.mentions["accuracy"].values.tolist()
        assert list(zip(right, found.ranks["last"].tolist(), strict=True)) == [e[composite] for e in expected.values()]


def test_stages(terminology):
    corpus, rankings = cases(steps={"exact": [[COLD], [], [HF], [], [], [], [OVARY, BREAST], []]})
    found = judge(corpus, rankings, terminology).results
    assert found["ks"] == [1, 2, 4]
    exact, last = found["stages"]
    assert (exact["stage"], last["stage"]) == ("exact", "last")
    assert exact["recall"] == [rounded(2 / 6), rounded(3 / 6), rounded(3 / 6)]
    assert last["recall"] == [rounded(2 / 6), rounded(4 / 6), rounded(5 / 6)]
    names = ["accuracy", "recall@1", "recall@2", "recall@4", "mrr", "mean_rank"]
    assert [r["metric"] for r in exact["metrics"]] == names
    assert by_name(exact["metrics"])["accuracy"]["value"] == 5 / 8  # cold, HF, the composite, and both NIL are empty
    assert by_name(last["metrics"])["mrr"]["value"] == rounded(4 / 6)


@pytest.mark.parametrize("after", [[], ["threshold"]])
def test_what_a_reranker_gains_is_a_paired_difference(terminology, after):
    gold = [COLD, HF, OVARY, BREAST, COLD, HF]
    corpus = make_corpus([mention("x", g) for g in gold])
    before = [[g, CHILL] if i == 0 else [CHILL, g] for i, g in enumerate(gold)]
    reranked = [[g, CHILL] if i < 5 else [CHILL, g] for i, g in enumerate(gold)]
    steps = {"a": [[]] * 6, "tfidf": before, "reranker": reranked, **{name: [[]] * 6 for name in after}}
    rankings = make_rankings([[]] * 6, steps=steps)
    del rankings.stages["last"]
    found = judge(corpus, rankings, terminology).results["reranking"]
    assert (found["before"], found["metric"], found["value"]) == ("tfidf", "accuracy", rounded(4 / 6))
    assert found["p_value"] == rounded(2 / 2**4)  # of the sign flips of four differing mentions, those of the same size
    assert 0 < found["low"] < found["value"] < found["high"] <= 1
    (line,) = reranking_in_words(found)
    assert line.startswith("accuracy of the reranker less that of tfidf: +0.667 [+0.")
    assert line.endswith(", p 0.125")


def test_without_a_reranker_there_is_nothing_to_say(terminology):
    found = judge(*cases(), terminology).results["reranking"]
    assert found is None
    assert reranking_in_words(found) == []
    lone = {"before": "a", "value": 0.0, "low": None, "high": None, "p_value": None}
    assert reranking_in_words(lone) == ["accuracy of the reranker less that of a: +0.000"]


@pytest.mark.parametrize(("k", "ks"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (9, [1, 2, 4, 8, 9])])
def test_cut_offs(terminology, k, ks):
    corpus = make_corpus([mention("cold", COLD)])
    assert judge(corpus, make_rankings([[COLD]], k=k), terminology).results["ks"] == ks


def test_breakdowns_by_hand(terminology):
    training = [mention("COLD", CHILL), mention("x", [HEADACHE, "X:1"])]
    corpus = make_corpus(
        [
            mention("cold", [CHILL, COLD], lang="de", types=("A", "B")),  # exact, ambiguous, seen both ways
            mention("headache bad", [HEADACHE], lang="de", types=("B",)),  # seen concept
            mention("heart FAILURE", [HF], lang="fr"),  # exact
            mention("心不全", [HF]),  # 2 words
            mention("a very long name of something", [], types=("A",)),
        ],
        training=training,
    )
    rankings = make_rankings([[COLD], [COLD], [HF], [], []])
    found = judge(corpus, rankings, terminology).results["breakdowns"]
    table = {}
    for entry in found:
        value = by_name(entry["metrics"])["accuracy"]["value"]
        table.setdefault(entry["by"], {})[entry["part"]] = (entry["rows"], value)
    assert table == {
        "part": {"test": (5, 3 / 5)},
        "lang": {"de": (2, 1 / 2), "fr": (1, 1.0)},
        "type": {"A": (2, 1.0), "B": (2, 1 / 2)},
        "length": {"1 word": (1, 1.0), "2 words": (3, rounded(1 / 3)), "5 or more words": (1, 1.0)},
        "exact": {"yes": (2, 1.0), "no": (3, rounded(1 / 3))},
        "ambiguous": {"yes": (1, 1.0), "no": (4, 1 / 2)},
        "seen_concept": {"yes": (2, 1 / 2), "no": (3, rounded(2 / 3))},
        "seen_mention": {"yes": (1, 1.0), "no": (4, 1 / 2)},
    }
    (part,) = [e for e in found if e["by"] == "part"]
    assert [m["metric"] for m in part["metrics"]] == ["accuracy", "recall@4", "mrr"]
    nil = next(e for e in found if e["part"] == "5 or more words")
    assert by_name(nil["metrics"])["mrr"] == {
        "metric": "mrr", "value": None, "low": None, "high": None, "rows": 0, "units": 1,
    }  # fmt: skip


def test_breakdowns_that_say_nothing_are_left_out(terminology):
    found = judge(*cases(), terminology, breakdowns=["type", "lang", "seen_mention", "part"]).results["breakdowns"]
    assert {entry["by"] for entry in found} == {"part"}
    assert judge(*cases(), terminology, metrics=["mean_rank"]).results["breakdowns"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": ["acuracy"]}, r"unknown metric 'acuracy'; did you mean 'accuracy'\?"),
        ({"metrics": ["recall@5"]}, r"metric 'recall@5' looks at more than the 4 candidates .*top_k"),
        ({"metrics": ["f1[strict]@5"]}, "looks at more than the 4 candidates"),
        ({"metrics": ["recall"]}, "needs a cut-off"),
        ({"breakdowns": ["langs"]}, r"breakdowns: unknown 'langs'; did you mean 'lang'\?"),
    ],
)
def test_what_cannot_be_measured(terminology, options, message):
    with pytest.raises(ConfigError, match=message):
        judge(*cases(), terminology, **options)


def test_ids_outside_the_terminology(terminology):
    others = ["X:1", "X:2"]
    gold = [["X:1"], ["X:1"], ["X:9"], ["X:9", COLD], ["X:9"]]
    corpus = make_corpus([mention("x", g) for g in gold])
    rankings = make_rankings([[N], [N + 1, N], [N], [N + 1, COLD], []], others=others)
    found = judge(corpus, rankings, terminology, metrics=["accuracy", "recall@4", "ndcg@4"])
    assert found.ranks["last"].tolist() == [1, 2, 0, 2, 0]
    assert by_name(found.results["metrics"])["accuracy"]["value"] == 1 / 5
    ndcg = (1 + 1 / math.log2(3) + (1 / math.log2(3)) / (1 + 1 / math.log2(3))) / 5
    assert by_name(found.results["metrics"])["ndcg@4"]["value"] == rounded(ndcg)
    wanted = ["right", "ranked below", "outside terminology", "ranked below", "outside terminology"]
    assert found.missed.outcomes == wanted
    assert concept_ids(rankings.final.concepts, others, terminology) == [
        ["X:1"], ["X:2", "X:1"], ["X:1"], ["X:2", ident(COLD)], []
    ]  # fmt: skip


def brute_force_risks(best, wrong):
    """Return the risk of each mention's place: among all that score as high as it does, or higher."""
    return [Fraction(sum(w for b, w in zip(best, wrong, strict=True) if b >= own),
                     sum(b >= own for b in best)) for own in best]  # fmt: skip


def test_risk_and_coverage_by_hand(terminology):
    found = judge(*cases(), terminology).results["risk_coverage"]
    # .9 right; .8 wrong twice; .5 right; .4 right; .3 wrong; the empty ones: wrong (HF) and right (NIL)
    assert found["points"] == [
        {"coverage": 0.125, "risk": 0.0, "threshold": 0.9},
        {"coverage": 0.375, "risk": rounded(2 / 3), "threshold": 0.8},
        {"coverage": 0.5, "risk": 0.5, "threshold": 0.5},
        {"coverage": 0.625, "risk": 0.4, "threshold": 0.4},
        {"coverage": 0.75, "risk": 0.5, "threshold": 0.3},
        {"coverage": 1.0, "risk": 0.5, "threshold": None},
    ]
    aurc = (0 + 2 * 2 / 3 + 0.5 + 0.4 + 0.5 + 2 * 0.5) / 8
    assert found["aurc"] == rounded(aurc)


@pytest.mark.parametrize("seed", range(8))
def test_risk_and_coverage_by_brute_force(terminology, seed):
    rng = np.random.default_rng(seed)
    n = [1, 2, 7, 50, 99, 100, 101, 350][seed]
    rows, scores, mentions = [], [], []
    for _ in range(n):
        size = int(rng.integers(0, 4))
        rows.append(rng.permutation(N)[:size].tolist())
        scores.append(sorted((rng.integers(0, 6, size) / 8).tolist(), reverse=True))
        mentions.append(mention("x", rng.permutation(N)[: int(rng.integers(0, 3))].tolist()))
    corpus = make_corpus(mentions)
    found = judge(corpus, make_rankings(rows, scores=scores), terminology)
    right = [m.gold == () if not r else ident(r[0]) in m.gold for m, r in zip(mentions, rows, strict=True)]
    best = [s[0] if s else -1.0 for s in scores]
    risks = brute_force_risks(best, [not r for r in right])
    curve = found.results["risk_coverage"]
    assert curve["aurc"] == rounded(float(sum(risks) / n))
    levels = {Fraction(sum(b >= own for b in best), n): risk for own, risk in zip(best, risks, strict=True)}
    shown = {}
    for point in curve["points"]:
        (level,) = [c for c in levels if rounded(float(c)) == point["coverage"]]
        shown[level] = point["risk"]
        assert point["risk"] == rounded(float(levels[level]))
    # with few scores nothing is thinned out
    assert len(shown) == len(levels)
    assert list(shown) == sorted(shown)
    assert max(shown) == 1
    assert found.results["metrics"][0]["value"] == rounded(sum(right) / n)


def test_risk_and_coverage_without_scores_or_candidates(terminology):
    corpus = make_corpus([mention("x", COLD), mention("y", [])])
    assert judge(corpus, make_rankings([[COLD], []]), terminology).results["risk_coverage"] is None
    found = judge(corpus, make_rankings([[], []], scores=[[], []]), terminology).results["risk_coverage"]
    assert found == {"points": [{"coverage": 1.0, "risk": 0.5, "threshold": None}], "aurc": 0.5}


def test_curves_of_many_scores_are_thinned_but_their_area_is_not(terminology):
    n = 1000
    corpus = make_corpus([mention("x", COLD) for _ in range(n)])
    rows = [[COLD] if i % 3 else [HF] for i in range(n)]
    scores = [[1 - i / n] for i in range(n)]
    found = judge(corpus, make_rankings(rows, scores=scores), terminology).results["risk_coverage"]
    assert [p["coverage"] for p in found["points"]] == [rounded(i / 100) for i in range(1, 101)]
    risks = np.cumsum([i % 3 == 0 for i in range(n)]) / np.arange(1, n + 1)
    assert found["aurc"] == rounded(float(risks.mean()))


def test_intervals_draw_documents(terminology):
    marks = [("d1", COLD), ("d1", COLD), ("d2", HF), ("d2", HF)]
    corpus = make_corpus([mention("x", gold, document=d) for d, gold in marks], documents=["d3"])
    found = judge(corpus, make_rankings([[COLD]] * 4), terminology, metrics=["accuracy"]).results["metrics"][0]
    assert (found["value"], found["rows"], found["units"]) == (0.5, 4, 2)
    assert {found["low"], found["high"]} <= {0.0, 0.5, 1.0}  # whole documents or nothing
    one = make_corpus([mention("x", gold, document="d") for _, gold in marks])
    found = judge(one, make_rankings([[COLD]] * 4), terminology, metrics=["accuracy"]).results["metrics"][0]
    assert (found["low"], found["high"], found["units"]) == (None, None, 1)


def test_the_same_seed_gives_the_same_numbers(terminology):
    first, second = (judge(*cases(), terminology).results for _ in range(2))
    assert first == second


def spans(*rows):
    return make_corpus([mention("x" * (e - s), g, spans=((s, e),), document=d) for d, s, e, g in rows])


def test_matching_metrics_of_given_mentions(terminology):
    corpus = spans(("d", 0, 4, COLD), ("d", 5, 9, HF), ("e", 0, 4, COPD))
    rankings = make_rankings([[COLD], [COPD, HF], []])
    found = judge(corpus, rankings, terminology, metrics=["precision[strict]", "recall[strict]", "recall[strict]@2"])
    values = {r["metric"]: r["value"] for r in found.results["metrics"]}
    assert values == {"precision[strict]": 0.5, "recall[strict]": rounded(1 / 3), "recall[strict]@2": rounded(2 / 3)}
    assert found.document_ids == ("test/d", "test/e")


def test_a_metric_does_not_depend_on_which_others_are_asked_for(terminology):
    corpus = make_corpus([mention("x", [BREAST, OVARY], composite=True, spans=((0, 1),), document="d")])
    rankings = make_rankings([[BREAST, OVARY, COLD, HF]])
    alone = judge(corpus, rankings, terminology, metrics=["precision[strict]"]).results["metrics"]
    beside = judge(corpus, rankings, terminology, metrics=["precision[strict]", "recall[strict]@4"]).results["metrics"]
    assert beside[0]["value"] == alone[0]["value"]


def test_mentions_of_a_document_without_spans_are_not_mixed_up(terminology):
    corpus = make_corpus([mention("cold", COLD, document="d"), mention("ache", HEADACHE, document="d")])
    found = judge(corpus, make_rankings([[HEADACHE], [COLD]]), terminology, metrics=["precision[strict]"])
    assert found.results["metrics"][0]["value"] == 0


@pytest.mark.parametrize("seed", range(4))
def test_against_ir_measures(terminology, seed):
    ir = pytest.importorskip("ir_measures")
    rng = np.random.default_rng(seed)
    k, n = 6, 40
    rows, mentions = [], []
    for _ in range(n):
        rows.append(rng.permutation(N)[: int(rng.integers(0, k + 1))].tolist())
        gold = rng.permutation(N)[: int(rng.integers(1, 4))].tolist()
        mentions.append(mention("x", [*gold, *(["X:9"] if rng.random() < 0.2 else [])]))
    scores = [[0.5] * len(row) for row in rows]  # ties: the order that is given holds
    names = ["accuracy", "recall@1", "recall@3", "recall@6", "mrr", "mrr@2", "ndcg@3", "ndcg@6", "ceiling"]
    found = judge(make_corpus(mentions), make_rankings(rows, k, scores=scores), terminology, metrics=names).results
    qrels = [ir.Qrel(m.id, g, 1) for m in mentions for g in m.gold]
    run = [ir.ScoredDoc(m.id, ident(c), float(-place)) for m, row in zip(mentions, rows, strict=True)
           for place, c in enumerate(row)]  # fmt: skip
    theirs = [ir.P @ 1, ir.Success @ 1, ir.Success @ 3, ir.Success @ 6, ir.RR, ir.RR @ 2, ir.nDCG @ 3, ir.nDCG @ 6,
              ir.Success @ k]  # fmt: skip
    values = ir.calc_aggregate(theirs, qrels, run)
    for name, measure, record in zip(names, theirs, found["metrics"], strict=True):
        assert record["value"] == pytest.approx(values[measure], abs=1e-6), name
