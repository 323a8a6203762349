"""Precision, recall and F1 of annotations against scikit-learn, plain loops, and what xMEN itself said."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from xnorm.errors import ConfigError, DataError
from xnorm.matching import LinkedSpan, match_spans
from xnorm.overlap import merge_spans, pair_off, shared_characters


@st.composite
def records(draw, composite=True, bounds=12):
    spans = []
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(0, bounds))
        spans.append((start, start + draw(st.integers(1, 5))))
    return LinkedSpan(
        draw(st.sampled_from(["a", "b"])),
        tuple(spans),
        tuple(draw(st.lists(st.sampled_from(["A", "B", "C"]), max_size=3))),
        draw(st.sampled_from(["X", "Y", None])),
        composite and draw(st.booleans()),
    )


@st.composite
def sides(draw, bounds=12):
    """Gold, and predictions of which some are gold with other ids."""
    gold = draw(st.lists(records(bounds=bounds), max_size=4))
    copied = draw(st.lists(st.sampled_from(gold), max_size=3)) if gold else []
    other = [replace(r, ids=draw(st.permutations(r.ids)), composite=draw(st.booleans())) for r in copied]
    return gold, [*other, *draw(st.lists(records(bounds=bounds), max_size=3))]


def score(gold, predicted, *names):
    return [m.value for m in match_spans(gold, predicted, names).results]


def counts(gold, predicted, options, k=1):
    return match_spans(gold, predicted, [f"f1[{options}]@{k}"]).results[0].parts.sum(axis=0)


# loops over sets of characters


def characters(record):
    return frozenset(c for start, end in record.spans for c in range(start, end))


def slow_annotations(gold, predicted, options, k):
    """All annotations of both sides, as (place, concepts that fulfil it) and (place, concept)."""
    place = {
        "strict": lambda r: (r.document, characters(r)),
        "partial": lambda r: (r.document, characters(r)),
        "loose": lambda r: (r.document,),
    }[options[0]]
    key = (lambda r: (*place(r), r.type)) if "type" in options else place
    if "nil" in options:
        gold, predicted = ([replace(r, ids=("nil",)) for r in side if not r.ids] for side in (gold, predicted))
    wanted = []
    for r in gold:
        each = [{i} for i in dict.fromkeys(r.ids)] if r.composite else [set(r.ids)]
        wanted += [(key(r), frozenset(any_of)) for any_of in each if any_of]
    said = [(key(r), i) for r in predicted for i in dict.fromkeys(r.ids if r.composite else r.ids[:k])]
    return wanted, said


def slow_credit(said, wanted, options):
    """What a prediction and a gold annotation earn by each other."""
    (place, concept), (other, any_of) = said, wanted
    if concept not in any_of:
        return 0.0, 0.0
    if options[0] != "partial":
        return (1.0, 1.0) if place == other else (0.0, 0.0)
    if place[0] != other[0] or place[2:] != other[2:]:
        return 0.0, 0.0
    shared = len(place[1] & other[1])
    return shared / len(place[1]), shared / len(other[1])


def slow_counts(gold, predicted, options, k):
    wanted, said = slow_annotations(gold, predicted, options, k)
    wanted, said = list(dict.fromkeys(wanted)), list(dict.fromkeys(said))
    earned = sum(max((slow_credit(s, w, options)[0] for w in wanted), default=0) for s in said)
    found = sum(max((slow_credit(s, w, options)[1] for s in said), default=0) for w in wanted)
    return [earned, len(said), found, len(wanted)]


SETS = ["strict", "strict,type", "strict,nil", "strict,type,nil", "partial", "partial,type", "partial,nil", "loose"]


@pytest.mark.parametrize("options", [*SETS, "loose,type"])
@settings(max_examples=150, deadline=None)
@given(case=sides(), k=st.integers(1, 4))
def test_counts_agree_with_loops(options, case, k):
    np.testing.assert_allclose(counts(*case, options, k), slow_counts(*case, options.split(","), k))


def most_pairs(said, wanted, options):
    """The size of the largest pairing, by trying everything."""
    if not said:
        return 0
    first, rest = said[0], said[1:]
    best = most_pairs(rest, wanted, options)
    for i, w in enumerate(wanted):
        if slow_credit(first, w, options)[0]:
            best = max(best, 1 + most_pairs(rest, wanted[:i] + wanted[i + 1 :], options))
    return best


@pytest.mark.parametrize("options", ["strict,bag", "strict,type,bag", "strict,bag,nil", "loose,bag", "loose,type,bag"])
@settings(max_examples=100, deadline=None)
@given(case=sides(bounds=1), k=st.integers(1, 3))
def test_bags_agree_with_trying_every_pairing(options, case, k):
    wanted, said = slow_annotations(*case, options.split(","), k)
    pairs = most_pairs(said, wanted, options.split(","))
    assert counts(*case, options, k).tolist() == [pairs, len(said), pairs, len(wanted)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), unique=True, max_size=9), st.data())
def test_pairs_are_chosen_for_the_greatest_total(links, data):
    weight = data.draw(st.lists(st.integers(1, 5), min_size=len(links), max_size=len(links)))
    left, right = np.array(links, np.int64).reshape(-1, 2).T
    chosen = pair_off(left, right, np.array(weight, float))
    assert max(Counter(left[chosen]).values(), default=1) == max(Counter(right[chosen]).values(), default=1) == 1
    totals = [0]
    for size in range(1, len(links) + 1):
        for some in itertools.combinations(range(len(links)), size):
            if all(len({links[i][side] for i in some}) == size for side in (0, 1)):
                totals.append(sum(weight[i] for i in some))
    assert sum(w for w, c in zip(weight, chosen, strict=True) if c) == max(totals)


@given(records(), records())
def test_shared_characters_are_those_of_the_sets(one, two):
    merged = merge_spans(one.spans), merge_spans(two.spans)
    assert shared_characters([merged[0]], [merged[1]]).tolist() == [len(characters(one) & characters(two))]
    assert characters(one) == characters(replace(one, spans=merged[0]))
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(merged[0]))


# scikit-learn: annotations are the samples, a side says of each whether it has it


@pytest.mark.parametrize("matching", ["strict", "loose", "strict,type", "loose,type"])
@pytest.mark.parametrize("seed", range(3))
def test_sets_agree_with_scikit_learn(matching, seed):
    rng = np.random.default_rng(seed)

    def some(n):
        rows = zip(
            rng.integers(0, 3, n), rng.integers(0, 9, n), rng.integers(0, 4, n), rng.integers(0, 2, n), strict=True
        )
        return [LinkedSpan(f"d{d}", ((int(s), int(s) + 2),), (f"C{c}",), f"T{t}") for d, s, c, t in rows]

    def keys(side):
        return {(r.document, r.ids, "strict" in matching and r.spans, "type" in matching and r.type) for r in side}

    gold, predicted = some(60), some(50)
    every = sorted(keys(gold) | keys(predicted), key=str)
    membership = [[a in keys(side) for a in every] for side in (gold, predicted)]
    expected = precision_recall_fscore_support(*membership, average="binary")[:3]
    got = score(gold, predicted, *(f"{name}[{matching}]" for name in ("precision", "recall", "f1")))
    assert got == pytest.approx(expected)


# on paper


def span(start, end, *ids, document="d", **other):
    return LinkedSpan(document, ((start, end),), ids, **other)


def test_several_gold_concepts_are_alternatives_and_count_once():
    gold = [span(0, 5, "A", "B"), span(6, 9, "C")]
    assert score(gold, [span(0, 5, "B"), span(6, 9, "D")], "precision[strict]", "recall[strict]") == [0.5, 0.5]
    assert counts(gold, [span(0, 5, "B"), span(0, 5, "A")], "strict").tolist() == [2, 2, 1, 2]
    assert counts(gold, [span(0, 5, "B"), span(0, 5, "A")], "strict,bag").tolist() == [1, 2, 1, 2]


def test_all_concepts_of_a_composite_are_wanted():
    gold = [span(0, 5, "A", "B", composite=True)]
    assert counts(gold, [span(0, 5, "A", "B")], "strict").tolist() == [1, 1, 1, 2]
    assert counts(gold, [span(0, 5, "A", "B")], "strict", k=2).tolist() == [2, 2, 2, 2]
    assert counts(gold, [span(0, 5, "A", "B", composite=True)], "strict").tolist() == [2, 2, 2, 2]


def test_duplicates_count_once_unless_in_a_bag():
    gold, predicted = [span(0, 5, "A")] * 2, [span(0, 5, "A")] * 3
    assert counts(gold, predicted, "strict").tolist() == [1, 1, 1, 1]
    assert counts(gold, predicted, "strict,bag").tolist() == [2, 3, 2, 2]
    assert counts([span(0, 5, "A", "A")], [span(0, 5, "A", "A")], "strict,bag", k=2).tolist() == [1, 1, 1, 1]


def test_ends_are_half_open():
    assert counts([span(0, 5, "A")], [span(5, 9, "A")], "partial").tolist() == [0, 1, 0, 1]
    assert counts([span(0, 10, "A")], [span(5, 9, "A")], "partial").tolist() == [1, 1, 0.4, 1]


def test_touching_parts_are_one_place():
    gold = [LinkedSpan("d", ((3, 5), (0, 3)), ("A",))]
    assert score(gold, [span(0, 5, "A")], "f1[strict]") == [1.0]
    apart = [LinkedSpan("d", ((0, 2), (4, 6)), ("A",))]
    assert score(apart, [span(0, 6, "A")], "f1[strict]", "f1[strict,xmen]") == [0.0, 1.0]
    assert counts(apart, [span(0, 6, "A")], "partial").tolist() == [pytest.approx(4 / 6), 1, 1, 1]


def test_one_prediction_over_two_gold_mentions():
    gold, predicted = [span(0, 4, "A"), span(6, 10, "A")], [span(0, 10, "A")]
    assert counts(gold, predicted, "partial").tolist() == [0.4, 1, 2, 2]
    assert counts(gold, predicted, "partial,bag").tolist() == [0.4, 1, 1, 2]


def test_the_best_pairs_are_not_the_greedy_ones():
    gold, predicted = [span(0, 10, "A"), span(10, 16, "A")], [span(2, 12, "A"), span(0, 5, "A")]
    # (2, 12) and (0, 10) fit best, 16/20; but 4/16 and 10/15 are more together
    assert counts(gold, predicted, "partial,bag").tolist() == pytest.approx([2 / 10 + 5 / 5, 2, 2 / 6 + 5 / 10, 2])
    # of (0, 2), wholly inside, and (0, 15), the second fits better: 4/12 and 20/25
    gold, predicted = [span(0, 10, "A")], [span(0, 2, "A"), span(0, 15, "A")]
    assert counts(gold, predicted, "partial,bag").tolist() == pytest.approx([10 / 15, 2, 1, 1])


def test_nil_is_scored_on_its_own():
    gold = [span(0, 2), span(3, 5), span(6, 8, "A"), span(9, 11, "B")]
    predicted = [span(0, 2), span(3, 5, "A"), span(6, 8), span(9, 11, "B")]
    assert counts(gold, predicted, "strict,nil").tolist() == [1, 2, 1, 2]
    assert counts(gold, predicted, "strict").tolist() == [1, 2, 1, 2]
    # an id that is spelled so is an id
    assert counts([span(0, 2, "NIL")], [span(0, 2, "NIL"), span(3, 5)], "strict").tolist() == [1, 1, 1, 1]


def test_nothing_is_undefined_except_for_xmen():
    assert all(math.isnan(v) for v in score([], [], "precision[strict]", "recall[partial]", "f1[loose,bag]"))
    assert score([], [], "precision[strict,xmen]", "f1[partial,xmen]", "f1[strict,xmen,by_document]") == [0, 0, 0]
    assert math.isnan(score([span(0, 1, "A")], [], "precision[strict]")[0])
    assert score([span(0, 1, "A")], [], "f1[strict]") == [0]


def test_rows_are_documents():
    gold = [span(0, 5, "A", document="x"), span(0, 5, "A", document="z")]
    predicted = [span(0, 5, "A", document="y"), span(0, 5, "A", document="z")]
    matched = match_spans(gold, predicted, ["f1[strict]", "recall[strict]"], documents=["z", "y", "x", "empty"])
    assert matched.documents == ("empty", "x", "y", "z")
    assert matched.results[0].parts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]]
    assert matched.results[0].value == 0.5
    assert matched.results[1].defined == 2
    assert matched.results[1].macro(matched.documents).value == 0.5
    with pytest.raises(DataError, match="1 documents outside the corpus, for instance 'y'"):
        match_spans(gold, predicted, ["f1[strict]"], documents=["x", "z"])


@pytest.mark.parametrize("spans", [(), ((3, 3),), ((5, 2),), ((-1, 2),), ((0, 2), (4, 4))])
def test_spans_without_characters_are_refused(spans):
    with pytest.raises(DataError, match=r"document 'd7'.*half-open"):
        LinkedSpan("d7", spans)


def test_metrics_of_rankings_are_refused():
    with pytest.raises(ConfigError, match="give it to measure"):
        match_spans([], [], ["f1[strict]", "recall@5"])


# xMEN

RECORDED = [
    # allow_multiple_gold_candidates, top_k_predictions, gold, predicted, precision, recall and F1 by xMEN (f863e20)
    (False, 1, [([(1, 6), (2, 3)], ["NIL1", "NIL"]), ([(0, 4)], ["C0", "NIL1", "NIL1"]), ([(1, 4)], [])],
     [([(1, 6), (2, 3)], ["NIL1", "NIL"])],
     {"strict": [1, 0.333333, 0.5], "partial": [1, 0.56, 0.717949], "loose": [1, 0.5, 0.666667]}),
    (False, 4, [([(3, 10)], ["NIL1", "NIL"]), ([(0, 7)], ["C0"])], [([(0, 7)], ["C0"]), ([(3, 9)], ["NIL", "NIL1"])],
     {"strict": [0.5, 0.5, 0.5], "partial": [1, 0.625, 0.769231], "loose": [1, 1, 1]}),
    (False, 2, [([(4, 10)], ["C0", "C1", "NIL"])], [([(4, 10)], ["C1", "C0", "NIL"])],
     {"strict": [1, 0.666667, 0.8], "partial": [1, 0.666667, 0.8], "loose": [1, 0.666667, 0.8]}),
    (False, 1, [([(24, 28), (27, 33)], ["C4", "C1", "C0"])], [([(24, 28), (27, 33)], ["C0", "C1", "C4"])],
     {"strict": [1, 0.333333, 0.5], "partial": [1, 0.333333, 0.5], "loose": [1, 0.333333, 0.5]}),
    (True, 4, [([(11, 19), (33, 36)], ["NIL1", "C1"]), ([(30, 34)], ["NIL", "C0", "C0"])],
     [([(11, 19), (33, 36)], ["NIL1", "C1"]), ([(35, 38)], ["C0", "NIL", "NIL1"])],
     {"strict": [0.25, 0.5, 0.333333], "partial": [0.2, 1, 0.333333], "loose": [0.333333, 1, 0.5]}),
    (True, 4, [([(2, 7)], ["C0"])],
     [([(2, 7)], ["C0"]), ([(2, 6)], ["NIL1", "NIL"]), ([(1, 8)], ["C0"]), ([(0, 3), (3, 9)], [])],
     {"strict": [0.333333, 1, 0.5], "partial": [0.25, 1, 0.4], "loose": [0.5, 1, 0.666667]}),
    (True, 1, [([(10, 15)], ["C0", "NIL"]), ([(1, 4), (10, 17)], ["C1", "C0"])], [([(10, 15)], ["C0", "NIL"])],
     {"strict": [1, 0.5, 0.666667], "partial": [1, 0.676471, 0.807018], "loose": [1, 1, 1]}),
]  # fmt: skip


@pytest.mark.parametrize(("by_document", "k", "gold", "predicted", "expected"), RECORDED)
def test_xmen_is_reproduced(by_document, k, gold, predicted, expected):
    gold, predicted = ([LinkedSpan("d", tuple(s), tuple(ids)) for s, ids in side] for side in (gold, predicted))
    for matching, values in expected.items():
        options = f"[{matching},xmen{',by_document' if by_document else ''}]@{k}"
        assert score(gold, predicted, *(m + options for m in ("precision", "recall", "f1"))) == pytest.approx(
            values, abs=1e-6
        )


@settings(max_examples=150, deadline=None)
@given(sides(), st.integers(1, 4))
def test_xmen_counts_sets_of_bounds_and_concepts(case, k):
    gold, predicted = case

    def keys(side, depth, loose):
        return {
            (r.document, loose or (min(s for s, _ in r.spans), max(e for _, e in r.spans)), i)
            for r in side
            for i in r.ids[:depth]
        }

    for matching in ("strict", "loose"):
        wanted, said = keys(gold, None, matching == "loose"), keys(predicted, k, matching == "loose")
        both = len(wanted & said)
        assert counts(gold, predicted, f"{matching},xmen", k).tolist() == [both, len(said), both, len(wanted)]


def test_xmen_chooses_among_gold_concepts_by_document():
    gold = [
        span(0, 2, "A", "B"),
        span(5, 9, "A"),
        span(5, 8, "D", "C", document="e"),
        span(0, 2, "Y", "Z", document="e"),
    ]
    predicted = [span(0, 2, "B"), span(5, 9, "A"), span(5, 8, "C", document="e")]
    # the first mention is linked rightly to B, but keeps A, which is predicted elsewhere in the document
    assert counts(gold, predicted, "strict,xmen,by_document").tolist() == [2, 3, 2, 4]
    assert counts(gold, predicted, "strict").tolist() == [3, 3, 3, 4]
    # and looks at the first k predictions alone
    gold, predicted = [span(0, 2, "A", "B"), span(0, 2, "A")], [span(0, 2, "C", "B")]
    assert counts(gold, predicted, "strict,xmen,by_document", k=1).tolist() == [0, 1, 0, 1]
    assert counts(gold, predicted, "strict,xmen,by_document", k=2).tolist() == [1, 2, 1, 2]


def test_known_errors_of_xmen_are_off_by_default():
    gold, other_type = [span(0, 5, "A", type="X")], [span(0, 5, "A", type="Y")]
    assert score(gold, other_type, "f1[strict,type]", "f1[strict,xmen]") == [0, 1]
    assert score([span(0, 5, "A", "B")], [span(0, 5, "A")], "recall[strict]", "recall[strict,xmen]") == [1, 0.5]
    assert score([span(0, 5, "A")], [span(5, 9, "A")], "recall[partial]", "recall[partial,xmen]") == [0, 1 / 6]
    # under nested predictions, one that overlaps is passed over
    nested, gold = [span(0, 100, "A"), span(50, 60, "A")], [span(55, 58, "A")]
    assert counts(gold, nested, "partial")[0] == pytest.approx(3 / 100 + 3 / 10)
    assert counts(gold, nested, "partial,xmen")[0] == pytest.approx(4 / 11)
