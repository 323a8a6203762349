"""The order of new scores, and the rules: against hand-made rankings and plain Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import CONCEPTS

from xnorm.candidates.base import Candidates, MemberScores
from xnorm.candidates.exact import ExactConfig, ExactGenerator
from xnorm.config import RerankerSpec, StrictModel, validate
from xnorm.errors import ConfigError
from xnorm.registry import find_component
from xnorm.reranking.base import reorder, within_reach
from xnorm.reranking.rules import RulesConfig, RulesReranker
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.text import clean, fold, fold_case
from xnorm.types import Mention


class Holder(StrictModel):
    reranker: RerankerSpec


def found_of(concepts, scores=None, names=None, members=None):
    """Candidates of plain lists, whose scores fall from 0.9 in tenths where none are given."""
    concepts = np.array(concepts, np.int32)
    default = np.tile(0.9 - 0.1 * np.arange(concepts.shape[1]), (len(concepts), 1))
    scores = np.where(concepts >= 0, default if scores is None else np.array(scores), -np.inf).astype(np.float32)
    names = np.where(concepts >= 0, 7, -1) if names is None else np.array(names)
    return Candidates(concepts, scores, names.astype(np.int32), members or {})


def matched(terminology, concepts, nth=0):
    """The row of the nth name of each concept (the last, if there are not so many)."""
    concepts = np.array(concepts)
    first, last = terminology.first_name[concepts], terminology.first_name[concepts + 1]
    return np.where(concepts >= 0, np.minimum(first + nth, last - 1), -1)


def rank(terminology, rules, mentions, found, **settings):
    config = RulesConfig.model_validate({"rules": rules, **settings})
    return RulesReranker.load(config, terminology).rerank(mentions, found)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Six concepts of three sources with types, names in several languages."""
    folder = tmp_path_factory.mktemp("sources")
    records = {
        "HPO": [("H:1", "Fever", [], ["T184"]), ("H:2", "Migraine", [("Migräne", "de")], [])],
        "MONDO": [("M:1", "Influenza", [("Grippe", "fr")], ["T047"]), ("M:2", "Fever", [("Fieber", "de")], ["T047"])],
        "NCBI": [("N:1", "Bison", [], ["T015"]), ("N:2", "Fever bird", [], ["T012", "T015"])],
    }
    specs = []
    for name, concepts in records.items():
        lines = [
            {"id": i, "name": n, "types": t, "synonyms": [{"name": s, "lang": lang, "scope": "exact"} for s, lang in o]}
            for i, n, o, t in concepts
        ]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        specs.append({"type": "jsonl", "path": str(path), "name": name})
    return read_terminology(TerminologyConfig(sources=specs))[0]


# --- the contract: within_reach and reorder ----------------------------------------------------------------------


def test_within_reach():
    found = found_of(
        [[4, 2, 0, 1], [3, 1, -1, -1], [-1, -1, -1, -1]], [[0.9, 0.8, 0.5, 0.1], [0.7, 0.2, 0, 0], [0] * 4]
    )
    assert within_reach(found, 64).tolist() == [
        [True] * 4,
        [True, True, False, False],
        [False] * 4,
    ]
    assert within_reach(found, 1).sum(axis=1).tolist() == [1, 1, 0]
    # a mention with nothing else within the margin is left as it is
    assert within_reach(found, 64, 0.4).sum(axis=1).tolist() == [3, 0, 0]
    assert within_reach(found, 2, 0.4).sum(axis=1).tolist() == [2, 0, 0]
    assert within_reach(found, 64, 0.0).sum() == 0
    assert found.concepts[0].tolist() == [4, 2, 0, 1]
    for n, k in ((0, 3), (2, 0), (0, 0)):
        assert within_reach(Candidates.empty(n, k), 64, 0.1).shape == (n, k)


def test_reorder_by_hand():
    member = MemberScores(np.array([[1, 2, 3, 4]], np.float32), np.array([[4, 3, 2, 0]], np.int32))
    found = found_of([[5, 6, 7, 8]], [[0.9, 0.8, 0.7, 0.6]], [[1, 2, 3, 4]], {"a": member})
    wanted = np.array([[True, True, True, False]])
    out = reorder(found, np.array([[-2.0, 3.0, -1.0, 99.0]], np.float32), wanted)
    assert out.concepts.tolist() == [[6, 7, 5, 8]]
    assert out.names.tolist() == [[2, 3, 1, 4]]
    # what was not scored has its own score, but none above what stands before it
    np.testing.assert_array_equal(out.scores, np.array([[3.0, -1.0, -2.0, -2.0]], np.float32))
    assert out.members["a"].scores.tolist() == [[2, 3, 1, 4]]
    assert out.members["a"].ranks.tolist() == [[3, 2, 4, 0]]
    assert found.concepts.tolist() == [[5, 6, 7, 8]]
    high = reorder(found, np.array([[8.0, 9.0, 7.0, 0.0]], np.float32), wanted)
    np.testing.assert_allclose(high.scores, [[9, 8, 7, 0.6]], rtol=1e-6)


def test_reorder_keeps_ties_and_padding():
    found = found_of([[5, 6, 7], [4, 3, -1], [-1, -1, -1]])
    out = reorder(found, np.array([[1, 2, 1], [0, 0, 5], [0, 0, 0]], np.float32), found.concepts >= 0)
    assert out.concepts.tolist() == [[6, 5, 7], [4, 3, -1], [-1, -1, -1]]
    np.testing.assert_array_equal(out.scores, np.array([[2, 1, 1], [0, 0, -np.inf], [-np.inf] * 3], np.float32))
    for n, k in ((0, 3), (2, 0)):
        assert reorder(Candidates.empty(n, k), np.zeros((n, k), np.float32), np.zeros((n, k), bool)).scores.shape == (
            n,
            k,
        )


def test_reorder_makes_nil_of_nan_for_the_first():
    member = MemberScores(np.ones((3, 2), np.float32), np.ones((3, 2), np.int32))
    found = found_of([[5, 6], [4, 3], [2, -1]], members={"a": member})
    scores = np.array([[np.nan, 1], [1, np.nan], [0.5, np.nan]], np.float32)
    out = reorder(found, scores, found.concepts >= 0)
    assert out.concepts.tolist() == [[-1, -1], [4, 3], [2, -1]]
    assert out.names.tolist() == [[-1, -1], [7, 7], [7, -1]]
    assert out.sizes().tolist() == [0, 2, 1]
    assert np.isneginf(out.scores[0]).all()
    assert out.scores[:, 0].tolist()[1:] == [1.0, 0.5]
    assert out.members["a"].ranks.tolist() == [[0, 0], [1, 1], [1, 1]]
    assert np.isnan(out.members["a"].scores[0]).all()
    # padding that was not scored may hold anything
    kept = reorder(found_of([[5, -1]]), np.array([[1.0, np.nan]], np.float32), np.array([[True, False]]))
    assert kept.concepts.tolist() == [[5, -1]]


# --- each rule by hand ------------------------------------------------------------------------------------------------


def test_exact_comes_first_level_by_level(tmp_path):
    names = ["Fever", "FEVER", "Fèver", "Fever of hay", "Hay fever", "of hay, fever", "Fevers", "hay-fever"]
    path = tmp_path / "names.jsonl"
    path.write_text("".join(json.dumps({"id": f"T:{i}", "name": n}) + "\n" for i, n in enumerate(names)))
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    found = found_of([[6, 2, 1, 0, 3], [0, 5, 3, 4, 6], [4, 7, 3, 5, 0]])
    mentions = [Mention("Fever"), Mention("fever of hay"), Mention("fever, hay")]
    out = rank(terminology, ["exact"], mentions, found)
    assert out.concepts.tolist() == [[0, 1, 2, 6, 3], [3, 5, 0, 4, 6], [4, 7, 3, 5, 0]]
    np.testing.assert_array_equal(out.scores, found.scores)


def test_exact_levels_are_those_of_the_generator(terminology):
    generator = ExactGenerator.build(ExactConfig(), terminology)
    texts = [n for _, name, others in CONCEPTS for n in [name, *(o if isinstance(o, str) else o[0] for o in others)]]
    texts += [t.upper() for t in texts] + ["diabetes type 2 mellitus", "Anamie", "x", "", "糖 ", "-"]
    mentions = [Mention(t) for t in texts]
    everything = np.tile(np.arange(len(terminology), dtype=np.int32), (len(texts), 1))
    everything[:, ::4] = -1
    scores, _ = generator.score(mentions, everything)
    facts = RulesReranker(RulesConfig(rules=["exact"]), terminology)._facts
    levels = facts.equality.levels(texts, everything, everything >= 0)
    worth = np.array([1.0, 0.99, 0.97, 0.95, 0.0], np.float32)[levels]
    np.testing.assert_allclose(worth[everything >= 0], scores[everything >= 0], atol=1e-6)
    assert set(levels[everything >= 0].tolist()) == {0, 1, 2, 3, 4}
    for row, text in enumerate(texts):  # and by plain Python
        for concept in everything[row][everything[row] >= 0].tolist():
            own = [n.text for n in terminology[concept].names]
            forms = (clean, fold_case, fold, lambda t: sorted(fold(t).split()))
            wanted = min((i for i, form in enumerate(forms) for n in own if form(n) == form(text)), default=4)
            assert levels[row, concept] == wanted, (text, own)


def test_type_first(sources):
    h1, h2, m1, _, n1, n2 = range(6)
    found = found_of([[n1, h2, m1, n2]] * 4)
    mentions = [
        Mention("x", types=("DISO",)),
        Mention("x"),
        Mention("x", types=("T012",)),
        Mention("x", types=("Strange",)),
    ]
    rule = {"rule": "type", "map": {"DISO": ["T047", "T184"]}}
    out = rank(sources, [rule], mentions, found)
    # agreeing, then untyped, then the others, each in the old order; without types as it was
    assert out.concepts.tolist() == [[m1, h2, n1, n2], [n1, h2, m1, n2], [n2, h2, n1, m1], [h2, n1, m1, n2]]
    assert h1 == 0


def test_type_drop(sources):
    h1, h2, m1, _, n1, n2 = range(6)
    member = MemberScores(np.array([[1, 2, 3, 4]] * 3, np.float32), np.array([[1, 2, 3, 4]] * 3, np.int32))
    found = found_of([[n1, h2, m1, n2], [n1, h2, m1, n2], [n1, n2, -1, -1]], members={"a": member})
    mentions = [Mention("x", types=("DISO",)), Mention("x"), Mention("x", types=("DISO",))]
    rule = {"rule": "type", "map": {"DISO": ["T047"]}, "effect": "drop"}
    out = rank(sources, [rule], mentions, found)
    assert out.concepts.tolist() == [[h2, m1, -1, -1], [n1, h2, m1, n2], [-1, -1, -1, -1]]
    np.testing.assert_allclose(out.scores[0, :2], [0.8, 0.7], rtol=1e-6)
    assert np.isneginf(out.scores[0, 2:]).all()
    assert out.names[0].tolist() == [7, 7, -1, -1]
    assert out.sizes().tolist() == [2, 4, 0]
    assert out.members["a"].ranks[0].tolist() == [2, 3, 0, 0]
    assert np.isnan(out.members["a"].scores[0, 2:]).all()
    # below `top`, too; and what is left is sorted by the other rules
    out = rank(sources, [{"rule": "source", "order": ["MONDO"]}, rule], mentions, found, top=2)
    assert out.concepts.tolist() == [[m1, h2, -1, -1], [n1, h2, m1, n2], [-1, -1, -1, -1]]
    np.testing.assert_allclose(out.scores[0, :2], [0.8, 0.7], rtol=1e-6)
    assert h1 == 0


def test_type_by_umls(sources):
    h1, _, m1, _, n1, _ = range(6)
    found = found_of([[n1, m1, h1]] * 3)
    mentions = [Mention("x", types=("DISO",)), Mention("x", types=("Sign or Symptom",)), Mention("x", types=("mine",))]
    out = rank(sources, [{"rule": "type", "umls": True}], mentions, found)
    assert out.concepts.tolist() == [[m1, h1, n1], [h1, n1, m1], [n1, m1, h1]]
    out = rank(sources, [{"rule": "type", "umls": True, "map": {"mine": ["LIVB"]}}], mentions[2:], found_of([[h1, n1]]))
    assert out.concepts.tolist() == [[n1, h1]]


def test_source(sources):
    found = found_of([[4, 2, 0, 5, 3, 1], [0, 2, -1, -1, -1, -1]])
    out = rank(sources, [{"rule": "source", "order": ["MONDO", "HPO"]}], [Mention("x")] * 2, found)
    assert out.concepts.tolist() == [[2, 3, 0, 1, 4, 5], [2, 0, -1, -1, -1, -1]]


def test_language_and_preferred(sources):
    _, h2, m1, m2, _, _ = range(6)
    texts = sources.name_texts()
    concepts = [[m1, h2, m2]] * 4
    names = [[texts.index("Influenza"), texts.index("Migräne"), texts.index("Fieber")]] * 3 + [[-1, -1, 0]]
    found = found_of(concepts, names=names)
    mentions = [Mention("x", lang="de"), Mention("x"), Mention("x", lang="en-gb"), Mention("x", lang="en")]
    out = rank(sources, ["language"], mentions, found)
    assert out.concepts.tolist() == [[h2, m2, m1], [m1, h2, m2], [m1, h2, m2], [m2, m1, h2]]
    assert [texts[i] for i in out.names[0]] == ["Migräne", "Fieber", "Influenza"]
    names = [[texts.index("Grippe"), texts.index("Migraine"), texts.index("Fieber")], [-1, -1, 0]]
    out = rank(sources, ["preferred"], mentions[:2], found_of(concepts[:2], names=names))
    assert out.concepts.tolist() == [[h2, m1, m2], [m2, m1, h2]]


def test_an_earlier_rule_outranks_a_later_one(sources):
    h1, h2, m1, m2, n1, n2 = range(6)
    found = found_of([[n2, m2, h2, h1, n1, m1]], names=matched(sources, [[n2, m2, h2, h1, n1, m1]]))
    mention = [Mention("fever", types=("T047",))]
    by_source = {"rule": "source", "order": ["HPO", "MONDO"]}
    by_type = {"rule": "type"}
    cases = {
        ("exact",): [m2, h1, n2, h2, n1, m1],
        ("exact", "source"): [h1, m2, h2, m1, n2, n1],
        ("exact", "type"): [m2, h1, m1, h2, n2, n1],
        ("source", "exact"): [h1, h2, m2, m1, n2, n1],
        ("type", "source"): [m2, m1, h2, h1, n2, n1],
        ("source", "type"): [h2, h1, m2, m1, n2, n1],
    }
    for rules, wanted in cases.items():
        spelt = [{"source": by_source, "type": by_type}.get(r, r) for r in rules]
        out = rank(sources, spelt, mention, found)
        assert out.concepts[0].tolist() == wanted, rules
        np.testing.assert_array_equal(out.scores, found.scores)
        assert sources.name_concept[out.names[0]].tolist() == wanted


def test_random_rankings_against_plain_python(sources):
    rng = np.random.default_rng(5)
    concepts = np.array([rng.permutation(6) for _ in range(200)], np.int32)
    concepts[np.arange(6)[None] >= rng.integers(0, 7, 200)[:, None]] = -1
    names = np.where(concepts >= 0, matched(sources, concepts, 1), -1)
    names[rng.random(names.shape) < 0.2] = -1
    found = found_of(concepts, names=names)
    mentions = [
        Mention(text, lang=lang, types=types)
        for text, lang, types in zip(
            rng.choice(["fever", "Fever", "Migräne", "grippe", "zzz"], 200).tolist(),
            rng.choice(["de", "fr", ""], 200).tolist(),
            [[(), ("T047",), ("T015", "T184")][i] for i in rng.integers(0, 3, 200)],
            strict=True,
        )
    ]
    rules = ["language", "exact", {"rule": "type"}, {"rule": "source", "order": ["NCBI"]}, "preferred"]
    out = rank(sources, rules, mentions, found, top=4)

    def key(mention, concept, name):
        view = sources[int(concept)]
        own = [n.text for n in view.names]
        forms = (clean, fold_case, fold)
        exact = min((i for i, form in enumerate(forms) for n in own if form(n) == form(mention.text)), default=4)
        match = [n for i, n in enumerate(view.names, int(sources.first_name[concept])) if i == name]
        wrong = bool(mention.lang) and [n.lang for n in match] != [mention.lang]
        types = 0 if not mention.types or set(view.types) & set(mention.types) else 2 if view.types else 1
        return wrong, exact, types, view.source != "NCBI", [n.scope for n in match] != ["preferred"]

    for row, mention in enumerate(mentions):
        pairs = [(c, n) for c, n in zip(concepts[row].tolist(), names[row].tolist(), strict=True) if c >= 0]
        wanted = sorted(pairs[:4], key=lambda pair: key(mention, *pair)) + pairs[4:]
        size = len(wanted)
        assert list(zip(out.concepts[row, :size].tolist(), out.names[row, :size].tolist(), strict=True)) == wanted
        assert (out.concepts[row, size:] == -1).all()
    np.testing.assert_array_equal(out.scores, found.scores)


def test_top_margin_and_score(sources):
    found = found_of([[4, 2, 0, 1]], [[0.9, 0.8, 0.79, 0.1]])
    rule = [{"rule": "source", "order": ["HPO"]}]
    assert rank(sources, rule, [Mention("x")], found, top=3).concepts.tolist() == [[0, 4, 2, 1]]
    assert rank(sources, rule, [Mention("x")], found, margin=0.15).concepts.tolist() == [[0, 4, 2, 1]]
    assert rank(sources, rule, [Mention("x")], found, margin=0.05).concepts.tolist() == [[4, 2, 0, 1]]
    reranker = RulesReranker.load(RulesConfig(rules=rule), sources)
    assert reranker.score([Mention("x")], found, found.concepts >= 0).tolist() == [[-2, -3, 0, -1]]


def test_nothing_to_rank(sources):
    rules = ["exact", "language", "preferred", {"rule": "type", "effect": "drop"}, {"rule": "source", "order": ["HPO"]}]
    assert rank(sources, rules, [], Candidates.empty(0, 4)).concepts.shape == (0, 4)
    assert rank(sources, rules, [Mention("x")], Candidates.empty(1, 4)).sizes().tolist() == [0]
    out = rank(sources, rules, [Mention("", types=("none",)), Mention("x")], found_of([[0, 1], [-1, -1]]))
    assert out.concepts.tolist() == [[1, -1], [-1, -1]]


def test_many_mentions_in_one_call_are_as_one_by_one(terminology):
    rng = np.random.default_rng(0)
    texts = terminology.name_texts()
    mentions = [Mention(texts[i], lang="de") for i in rng.integers(0, len(texts), 100)]
    concepts = np.array([rng.permutation(12)[:7] for _ in mentions], np.int32)
    found = found_of(concepts, names=matched(terminology, concepts, 2))
    reranker = RulesReranker.load(RulesConfig(rules=["exact", "language"]), terminology)
    together = reranker.rerank(mentions, found)
    for row in reversed(range(len(mentions))):
        alone = reranker.rerank(mentions[row : row + 1], found.take(np.array([row])))
        np.testing.assert_array_equal(alone.concepts[0], together.concepts[row])


# --- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rules": []}, "at least 1 item"),
        ({}, "rules: Field required"),
        ({"rules": ["exat"]}, r"unknown rule 'exat'; did you mean 'exact'\?"),
        ({"rules": [{"rule": "zzz"}]}, "unknown rule 'zzz'; known: exact, language, preferred, source, type"),
        ({"rules": [{"rule": ["exact"]}]}, "unknown rule"),
        ({"rules": [{"order": ["HPO"]}]}, "a mapping with a 'rule', found"),
        ({"rules": [3]}, "expected the name of a rule"),
        ({"rules": ["source"]}, "order: Field required"),
        ({"rules": [{"rule": "source", "order": []}]}, "at least 1 item"),
        ({"rules": [{"rule": "exact", "order": ["HPO"]}]}, "unknown key 'order'"),
        ({"rules": [{"rule": "type", "efect": "drop"}]}, r"unknown key 'efect'; did you mean 'effect'\?"),
        ({"rules": [{"rule": "type", "effect": "last"}]}, "effect: .*'first' or 'drop'"),
        ({"rules": [{"rule": "type", "map": {"DISO": []}}]}, "at least 1 item"),
        ({"rules": [{"rule": "type", "umls": True, "map": {"x": ["T0"]}}]}, r"map.x: 'T0' is no semantic group"),
        ({"rules": ["exact"], "top": 0}, "top"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        validate(Holder, {"reranker": {"type": "rules", **settings}}, where="test")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"rule": "source", "order": ["HPO", "MONDOO"]}, r"no concept is of 'MONDOO'; did you mean 'MONDO'\?"),
        ({"rule": "type", "map": {"DISO": ["T074"]}}, r"no concept has the type 'T074'; did you mean 'T047'\?"),
    ],
)
def test_rules_that_do_not_fit_the_terminology(rule, message, sources):
    with pytest.raises(ConfigError, match=message):
        RulesReranker.load(RulesConfig(rules=[rule]), sources)


def test_types_need_a_terminology_with_types(terminology):
    with pytest.raises(ConfigError, match="the concepts of this terminology have no types"):
        RulesReranker.load(RulesConfig(rules=["type"]), terminology)


def test_settings_survive_json(sources):
    plain = [
        "exact",
        {"rule": "type", "map": {"DISO": ["T047"]}, "effect": "drop"},
        {"rule": "source", "order": ["HPO"]},
    ]
    config = Holder(reranker={"type": "rules", "rules": plain, "top": 10})
    again = Holder.model_validate_json(config.model_dump_json())
    assert again == config
    assert config.model_dump(mode="json")["reranker"]["rules"][1]["map"] == {"DISO": ["T047"]}
    assert find_component("reranking", "rules") is RulesReranker
    assert [r.rule for r in again.reranker.rules] == ["exact", "type", "source"]
