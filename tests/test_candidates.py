"""The contract of every registered generator, against brute force."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections import Counter, defaultdict

import numpy as np
import pyarrow as pa
import pytest
from conftest import HashConfig, HashEncoder

from xnorm.candidates import base
from xnorm.candidates.base import Allowed, CandidateGenerator, best_concepts, loose_candidates, score_by_names, top_k
from xnorm.config import CandidatesSpec, StrictModel
from xnorm.errors import ArtifactError, ConfigError, DataError
from xnorm.registry import find_component, list_components
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import NAMES, Terminology
from xnorm.text import clean, cognate, fold, fold_case
from xnorm.types import Mention

MENTIONS = [
    "heart failure", "Herzinsuffizienz", "HEADACHE", "mal de tete", "kardiomiopatia", "miocardiopatía", "anaemia",
    "Anemia", "cold", "common  cold", "b", "B", "T2DM", "type 2 diabetes", "diabetes mellitus type 1", "糖", "糖尿病",
    "心不全", "急性心不全", "ปวดหัว", "β thalassaemia", "+", "?", "ventricular septum", "x", "headach", "بطيني", "ch",
]  # fmt: skip


class Holder(StrictModel):
    candidates: CandidatesSpec


def make(terminology, **config):
    spec = Holder(candidates=config).candidates
    return find_component("candidates", spec.type).build(spec, terminology)


CONFIGS = {
    "exact": {"type": "exact"},
    "tfidf": {"type": "tfidf", "ngrams": [3, 4]},
    "dense": {"type": "dense", "encoder": {"type": "conftest:HashEncoder"}},
    "ensemble": {
        "type": "ensemble",
        "weights": {"a": 1.0, "b": 0.6},
        "depth": 3,
        "members": {
            "a": {"type": "dense", "encoder": {"type": "conftest:HashEncoder"}},
            "b": {"type": "tfidf", "ngrams": [3, 4]},
        },
    },
}


def test_every_registered_generator_is_under_contract():
    assert sorted(CONFIGS) == list_components("candidates")


# --- brute force: score of every name for a mention, in plain Python ---------------------------------------------


def oracle_exact(mention, names):
    levels = [
        (1.0, clean),
        (0.99, fold_case),
        (0.97, fold),
        (0.95, lambda t: " ".join(sorted(fold(t).split(" ")))),
    ]
    return [max((s for s, form in levels if form(mention) == form(n)), default=None) for n in names]


WIDE = re.compile(r"[\u0e00-\u0eff\u3400-\u9fff]")


def ngrams(text):
    grams = []
    for word in cognate(fold(text)).split(" "):
        padded = f" {word} "
        for n in (1, 2, 3, 4):
            for i in range(len(padded) - n + 1):
                gram = padded[i : i + n]
                wide = bool(WIDE.search(gram))
                if gram.strip() and ((n >= 3 and not wide) or (n <= 3 and wide)):
                    grams.append(gram)
    return Counter(grams)


def oracle_tfidf(mention, names):
    bags = [ngrams(n) for n in names]
    df = Counter(g for bag in bags for g in bag)
    idf = {g: 1 + math.log((1 + len(names)) / (1 + d)) for g, d in df.items()}

    def weigh(bag):
        weights = {g: (1 + math.log(tf)) * idf[g] for g, tf in bag.items() if g in idf}
        norm = math.sqrt(sum(w * w for w in weights.values()))
        return {g: w / norm for g, w in weights.items()}

    query = weigh(ngrams(mention))
    scores = []
    for name, bag in zip(names, bags, strict=True):
        vector = weigh(bag)
        score = sum(w * vector.get(g, 0) for g, w in query.items())
        if score > 0.9999 and fold_case(name) != fold_case(mention):
            score = 0.9999
        scores.append(score if score > 0 else None)
    return scores


def oracle_dense(mention, names):
    encoder = HashEncoder(HashConfig())
    return list(map(float, encoder.encode(names) @ encoder.encode([mention])[0]))


def by_concept(scores, terminology, allowed=None):
    best = defaultdict(lambda: -math.inf)
    weights = terminology.names.column("weight").to_pylist()
    scores = [None if score is None else score * weight for score, weight in zip(scores, weights, strict=True)]
    for name, (concept, score) in enumerate(zip(terminology.name_concept.tolist(), scores, strict=True)):
        if score is not None and (allowed is None or allowed[name]):
            best[concept] = max(best[concept], score)
    return dict(best)


@functools.cache
def name_scores(kind, mention, names):
    return {"exact": oracle_exact, "tfidf": oracle_tfidf, "dense": oracle_dense}[kind](mention, names)


def oracle(kind, mention, terminology, allowed=None):
    """Return {concept row: score} of all concepts that match by one of their allowed names (default: all)."""
    names = tuple(terminology.name_texts())
    if kind == "ensemble":
        dense = by_concept(name_scores("dense", mention, names), terminology, allowed)
        tfidf = by_concept(name_scores("tfidf", mention, names), terminology, allowed)
        return {c: (dense[c] + 0.6 * tfidf.get(c, 0.0)) / 1.6 for c in dense}
    return by_concept(name_scores(kind, mention, names), terminology, allowed)


def check(kind, terminology, generator, k, allowed=None):
    found = generator.generate([Mention(m) for m in MENTIONS], k)
    assert found.concepts.shape == found.scores.shape == found.names.shape == (len(MENTIONS), k)
    for row, mention in enumerate(MENTIONS):
        wanted = oracle(kind, mention, terminology, allowed)
        ranked = sorted(wanted.items(), key=lambda item: (-round(item[1], 6), item[0]))[:k]
        size = int((found.concepts[row] >= 0).sum())
        assert size == len(ranked), mention
        np.testing.assert_allclose(found.scores[row, :size], [s for _, s in ranked], atol=3e-6, err_msg=mention)
        # where scores differ by more than rounding the order is the oracle's
        for (concept, score), mine in zip(ranked, found.concepts[row].tolist(), strict=False):
            assert concept == mine or abs(wanted[mine] - score) < 3e-6, mention
        assert (found.concepts[row, size:] == -1).all()
        assert (found.names[row, size:] == -1).all()
        assert np.isneginf(found.scores[row, size:]).all()
        for concept, name in zip(found.concepts[row, :size], found.names[row, :size], strict=True):
            assert terminology.name_concept[name] == concept
            assert allowed is None or allowed[name]
            if kind != "ensemble":
                own = name_scores(kind, mention, tuple(terminology.name_texts()))[name]
                own *= terminology.names.column("weight")[name].as_py()
                assert own == pytest.approx(wanted[concept], abs=3e-6), mention


@pytest.mark.parametrize("kind", [k for k in CONFIGS if k != "ensemble"])
@pytest.mark.parametrize("k", [1, 3, 12])
def test_generate_is_what_brute_force_says(kind, k, terminology):
    check(kind, terminology, make(terminology, **CONFIGS[kind]), k)


def test_ensemble_is_what_brute_force_says(terminology):
    # with all concepts as depth the union is complete, so the fused ranking is exact at every k
    generator = make(terminology, **{**CONFIGS["ensemble"], "depth": 12})
    check("ensemble", terminology, generator, 12)
    check("ensemble", terminology, generator, 2)


# --- weights: the same brute force, times the weight of each name ------------------------------------------------


def weighted(terminology, weights):
    """Return a terminology with a weight for each name."""
    at = NAMES.get_field_index("weight")
    names = terminology.names.set_column(at, NAMES.field(at), pa.array(weights, pa.float32()))
    return Terminology(terminology.concepts, names, terminology.retired)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("seed", range(3))
def test_weights_are_what_brute_force_says(kind, seed, terminology):
    rng = np.random.default_rng(seed)
    n = terminology.n_names
    some = [rng.uniform(0.01, 1, n), np.where(rng.random(n) < 0.3, 0.9, 1), np.full(n, 0.5)][seed]
    own = weighted(terminology, some)
    more = {"depth": 12} if kind == "ensemble" else {}
    generator = make(own, **{**CONFIGS[kind], **more})
    for k in (1, 3, 12):
        check(kind, own, generator, k)
    for allowed in masks(own, seed):
        check(kind, own, generator.restrict(Allowed(own, allowed)), 3, allowed)


@pytest.mark.parametrize("kind", CONFIGS)
def test_weights_reach_given_concepts_and_saved_indexes(kind, terminology, tmp_path):
    own = weighted(terminology, np.random.default_rng(5).uniform(0.3, 1, terminology.n_names))
    generator = make(own, **CONFIGS[kind])
    generator.save(tmp_path)
    mentions = [Mention(m) for m in MENTIONS]
    everything = np.tile(np.arange(len(own), dtype=np.int32), (len(MENTIONS), 1))
    for same in (generator, type(generator).load(generator.config, own, tmp_path)):
        scores, _ = same.score(mentions, everything)
        for row, mention in enumerate(MENTIONS):
            wanted = oracle(kind, mention, own)
            for concept, score in enumerate(scores[row].tolist()):
                assert score == pytest.approx(wanted.get(concept, 0.0), abs=3e-6), (mention, concept)


def test_training_mentions_have_no_weight(terminology, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("text\tconcept_id\npump failure\tT:001\n", encoding="utf-8")
    own = weighted(terminology, np.full(terminology.n_names, 0.5))
    found = make(own, type="exact", path=str(path)).generate([Mention("pump failure"), Mention("headache")], 1)
    assert found.scores[:, 0].tolist() == pytest.approx([1.0, 0.495])


# --- filters: the same brute force, over the allowed names alone -------------------------------------------------


def masks(terminology, seed):
    """Yield arrays of allowed names: at random, of random concepts, of one concept, one name, none and all."""
    rng = np.random.default_rng(seed)
    yield rng.random(terminology.n_names) < rng.random()
    yield (rng.random(len(terminology)) < rng.random())[terminology.name_concept]
    yield terminology.name_concept == rng.integers(len(terminology))
    yield np.arange(terminology.n_names) == rng.integers(terminology.n_names)
    yield np.zeros(terminology.n_names, bool)
    yield np.ones(terminology.n_names, bool)


@pytest.fixture(params=["as it is", "copied", "picked"])
def few(request, monkeypatch):
    """Filters in all ways: by a copy of what is allowed, out of the whole, and as their width suggests."""
    shares = {"as it is": base.FEW, "copied": 1.0, "picked": 0.0}
    monkeypatch.setattr(base, "FEW", shares[request.param])


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("seed", range(4))
def test_filters_are_what_brute_force_says(kind, seed, terminology):
    more = {"depth": 12} if kind == "ensemble" else {}
    generator = make(terminology, **{**CONFIGS[kind], **more})
    for allowed in masks(terminology, seed):
        part = generator.restrict(Allowed(terminology, allowed))
        for k in (1, 3, 12):
            check(kind, terminology, part, k, allowed)
    check(kind, terminology, generator, 3)  # which is as it was


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", CONFIGS)
def test_scores_of_given_concepts_obey_filters(kind, terminology):
    generator = make(terminology, **CONFIGS[kind])
    mentions = [Mention(m) for m in MENTIONS]
    everything = np.tile(np.arange(len(terminology), dtype=np.int32), (len(MENTIONS), 1))
    everything[:, ::5] = -1
    for allowed in masks(terminology, 7):
        scores, names = generator.restrict(Allowed(terminology, allowed)).score(mentions, everything)
        has_name = np.isin(np.arange(len(terminology)), terminology.name_concept[allowed])
        for row, mention in enumerate(MENTIONS):
            wanted = oracle(kind, mention, terminology, allowed)
            for concept in range(len(terminology)):
                score, name = scores[row, concept], names[row, concept]
                if concept % 5 == 0 or not has_name[concept]:
                    assert (score, name) == (-math.inf, -1)
                else:
                    assert score == pytest.approx(wanted.get(concept, 0.0), abs=3e-6), (mention, concept)
                    assert name == -1 or (allowed[name] and terminology.name_concept[name] == concept)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", CONFIGS)
def test_steps_obey_filters(kind, terminology):
    generator = make(terminology, **CONFIGS[kind])
    allowed = np.arange(terminology.n_names) % 3 > 0
    part = generator.restrict(Allowed(terminology, allowed))
    mentions = [Mention(m) for m in MENTIONS]
    steps = part.stages(part.represent(mentions), 5)
    assert list(steps) == list(generator.stages(generator.represent(mentions), 5))
    for step in steps.values():
        assert allowed[step.names[step.names >= 0]].all()
    last = part.generate(mentions, 5)
    np.testing.assert_array_equal(steps[kind].concepts, last.concepts)
    np.testing.assert_array_equal(steps[kind].scores, last.scores)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kind", CONFIGS)
def test_ties_among_hundreds_of_allowed_concepts(kind, tmp_path):
    path = tmp_path / "home.jsonl"
    path.write_text("".join(json.dumps({"id": f"T:{i:04}", "name": "Home"}) + "\n" for i in range(400)))
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    generator = make(terminology, **CONFIGS[kind])
    for step in (2, 7, 399):
        part = generator.restrict(Allowed(terminology, np.arange(400) % step == 1))
        wanted = list(range(1, 400, step))
        for k in (1, 5, 300):
            found = part.generate([Mention("Home")], k).concepts[0].tolist()
            assert found == (wanted + [-1] * k)[:k]


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_filters_leave_stored_vectors_as_they_are(storage, terminology, tmp_path):
    generator = make(terminology, **CONFIGS["dense"], storage=storage)
    generator.save(tmp_path)
    generator = type(generator).load(generator.config, terminology, tmp_path)
    mentions = [Mention(m) for m in MENTIONS]
    whole = generator.generate(mentions, 12)
    for concept in range(12):
        part = generator.restrict(Allowed(terminology, terminology.name_concept == concept)).generate(mentions, 2)
        np.testing.assert_allclose(part.scores[:, 0], whole.scores[whole.concepts == concept], atol=2e-6)
        assert (part.concepts[:, 0] == concept).all()
        assert (part.concepts[:, 1] == -1).all()


def test_training_mentions_ask_for_an_allowed_concept_and_no_name(terminology, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("text\tconcept_id\npump failure\tT:001\npump failure\tT:003\n", encoding="utf-8")
    generator = make(terminology, type="exact", path=str(path))
    german = np.array([lang == "de" for lang in terminology.names.column("lang").to_pylist()])
    german &= terminology.name_concept == 2
    part = generator.restrict(Allowed(terminology, german))
    found = part.generate([Mention("pump failure"), Mention("Cardiomyopathy"), Mention("Kardiomyopathie")], 2)
    assert found.concepts.tolist() == [[2, -1], [-1, -1], [2, -1]]
    assert found.names[0, 0] == -1
    scores, _ = part.score([Mention("pump failure")], np.array([[0, 2]], np.int32))
    assert scores.tolist() == [[-math.inf, found.scores[0, 0]]]


def test_a_generator_without_filters_says_so(terminology):
    class Own(type(make(terminology, type="exact"))):
        restrict = CandidateGenerator.restrict

    own = Own.build(Holder(candidates={"type": "exact"}).candidates, terminology)
    with pytest.raises(ConfigError, match="filters: generators of the type 'exact' have none; its class lacks"):
        own.restrict(Allowed(terminology, np.ones(terminology.n_names, bool)))


@pytest.mark.parametrize("kind", CONFIGS)
def test_score_agrees_with_generate(kind, terminology):
    generator = make(terminology, **CONFIGS[kind])
    mentions = [Mention(m) for m in MENTIONS]
    everything = np.tile(np.arange(len(terminology), dtype=np.int32), (len(MENTIONS), 1))
    everything[:, ::5] = -1
    scores, names = generator.score(mentions, everything)
    assert np.isneginf(scores[:, ::5]).all()
    assert (names[:, ::5] == -1).all()
    for row, mention in enumerate(MENTIONS):
        wanted = oracle(kind, mention, terminology)
        for column, concept in enumerate(everything[row].tolist()):
            if concept >= 0:
                assert scores[row, column] == pytest.approx(wanted.get(concept, 0.0), abs=3e-6), (mention, concept)
                assert names[row, column] == -1 or terminology.name_concept[names[row, column]] == concept


@pytest.mark.parametrize("kind", CONFIGS)
def test_saved_and_loaded_it_says_the_same(kind, terminology, tmp_path):
    generator = make(terminology, **CONFIGS[kind])
    mentions = [Mention(m) for m in MENTIONS]
    generator.save(tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in {".pkl", ".pickle", ".joblib"}]
    loaded = type(generator).load(generator.config, terminology, tmp_path)
    before, after = generator.generate(mentions, 5), loaded.generate(mentions, 5)
    np.testing.assert_array_equal(before.concepts, after.concepts)
    np.testing.assert_array_equal(before.scores, after.scores)
    np.testing.assert_array_equal(before.names, after.names)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_missing_file_is_an_artifact_error(kind, terminology, tmp_path):
    generator = make(terminology, **CONFIGS[kind])
    generator.save(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        type(generator).load(generator.config, terminology, tmp_path)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_mention_does_not_depend_on_its_neighbours(kind, terminology):
    generator = make(terminology, **CONFIGS[kind])
    together = generator.generate([Mention(m) for m in MENTIONS], 4)
    for row, mention in enumerate(MENTIONS):
        alone = generator.generate([Mention(mention)], 4)
        np.testing.assert_array_equal(together.concepts[row], alone.concepts[0])
        np.testing.assert_allclose(together.scores[row], alone.scores[0], atol=1e-6)


@pytest.mark.parametrize("kind", ["exact", "tfidf"])
def test_a_name_comes_first_for_its_own_text(kind, terminology):
    generator = make(terminology, **CONFIGS[kind])
    names = terminology.name_texts()
    found = generator.generate([Mention(n) for n in names], 1)
    for row, name in enumerate(names):
        won = names[found.names[row, 0]]
        assert won == name, f"{name!r} found {won!r}"


def test_ties_break_by_concept_id(terminology):
    for kind in CONFIGS:
        found = make(terminology, **CONFIGS[kind]).generate([Mention("Cold")], 2)
        assert terminology.take("concepts", "id", found.concepts[0]) == ["T:005", "T:006"], kind


@pytest.mark.parametrize("kind", CONFIGS)
def test_hundreds_of_concepts_with_one_name(kind, tmp_path):
    path = tmp_path / "home.jsonl"
    records = [{"id": f"T:{i:04}", "name": "Home"} for i in range(400)] + [{"id": "T:9999", "name": "School"}]
    path.write_text("".join(json.dumps(r) + "\n" for r in reversed(records)))
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    generator = make(terminology, **CONFIGS[kind])
    for mention in ("Home", "home"):
        for k in (1, 5, 300):
            found = generator.generate([Mention(mention), Mention("School")], k)
            assert found.concepts[0].tolist() == list(range(k))
            assert found.concepts[1, 0] == 400


@pytest.mark.parametrize("k", [1, 2, 5])
def test_a_name_comes_first_among_all_orders_of_its_words(k, tmp_path):
    names = [" ".join(order) for order in itertools.permutations(["alpha", "bravo", "carol", "delta"])] * 2
    path = tmp_path / "orders.jsonl"
    path.write_text("".join(json.dumps({"id": f"T:{i:03}", "name": n}) + "\n" for i, n in enumerate(names)))
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    found = make(terminology, **CONFIGS["tfidf"]).generate([Mention(n) for n in names[:24]], k)
    assert found.concepts[:, 0].tolist() == list(range(24))
    assert k == 1 or found.concepts[:, 1].tolist() == list(range(24, 48))


def test_no_mention_gets_an_empty_vector_for_lack_of_ngrams(terminology):
    for ngrams in ([1, 2], [3, 4], [4, 4], [5, 8]):
        generator = make(terminology, type="tfidf", ngrams=ngrams)
        for name in terminology.name_texts():
            assert generator.vectors([name]).nnz > 0, (name, ngrams)
            assert generator.generate([Mention(name)], 1).names[0, 0] >= 0


def test_tfidf_equals_scikit_learn(tmp_path):
    from sklearn.feature_extraction.text import TfidfVectorizer

    names = ["Heart failure", "Heart attack", "Kidney failure, acute", "A", "Herz-Kreislauf", "Pain in the the head"]
    path = tmp_path / "names.jsonl"
    path.write_text("".join(json.dumps({"id": f"T:{i}", "name": n}) + "\n" for i, n in enumerate(names)))
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    mine = make(terminology, type="tfidf", ngrams=[2, 4]).vectors([*names, "acute heart"])
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, lowercase=False)
    theirs.fit([cognate(fold(n)) for n in names])
    theirs = theirs.transform([cognate(fold(n)) for n in [*names, "acute heart"]])
    np.testing.assert_allclose((mine @ mine.T).toarray(), (theirs @ theirs.T).toarray(), atol=1e-5)


@pytest.mark.parametrize(("storage", "tolerance"), [("float32", 1e-6), ("float16", 2e-3), ("int8", 2e-2)])
def test_dense_storage_keeps_scores(storage, tolerance, terminology, tmp_path):
    generator = make(terminology, **CONFIGS["dense"], storage=storage)
    generator.save(tmp_path)
    generator = type(generator).load(generator.config, terminology, tmp_path)
    mentions = [Mention(m) for m in MENTIONS]
    found = generator.generate(mentions, 4)
    rated, _ = generator.score(mentions, found.concepts)
    np.testing.assert_allclose(rated, found.scores, atol=2e-3)
    for row, mention in enumerate(MENTIONS):
        wanted = oracle("dense", mention, terminology)
        for concept, score in zip(found.concepts[row].tolist(), found.scores[row].tolist(), strict=True):
            assert score == pytest.approx(wanted[concept], abs=tolerance)


def test_dense_refuses_another_encoder(terminology, tmp_path):
    generator = make(terminology, **CONFIGS["dense"])
    generator.save(tmp_path)
    other = Holder(candidates={"type": "dense", "encoder": {"type": "conftest:HashEncoder", "revision": "2"}})
    with pytest.raises(ArtifactError, match=r"made with the encoder 'hash/1'.*configured one is 'hash/2'.*--overwrite"):
        type(generator).load(other.candidates, terminology, tmp_path)


def test_rrf_and_max_by_hand(terminology):
    members = CONFIGS["ensemble"]["members"]
    a, b = make(terminology, **members["a"]), make(terminology, **members["b"])
    mention = [Mention("type 2 diabetes")]
    first, second = a.generate(mention, 12), b.generate(mention, 12)
    ranks_a = {c: r for r, c in enumerate(first.concepts[0].tolist(), 1)}
    ranks_b = {c: r for r, c in enumerate(second.concepts[0].tolist(), 1) if c >= 0}
    rrf = {c: 1 / (60 + ranks_a[c]) + (0.5 / (60 + ranks_b[c]) if c in ranks_b else 0) for c in ranks_a}
    found = make(terminology, type="ensemble", method="rrf", weights={"b": 0.5}, depth=12, members=members).generate(
        mention, 12
    )
    assert dict(zip(found.concepts[0].tolist(), found.scores[0].tolist(), strict=True)) == pytest.approx(rrf, abs=1e-6)
    scores_a = dict(zip(first.concepts[0].tolist(), first.scores[0].tolist(), strict=True))
    scores_b = dict(zip(second.concepts[0].tolist(), second.scores[0].tolist(), strict=True))
    highest = {c: max(scores_a[c], 0.5 * scores_b.get(c, -math.inf)) for c in scores_a}
    found = make(terminology, type="ensemble", method="max", weights={"b": 0.5}, depth=12, members=members).generate(
        mention, 12
    )
    assert dict(zip(found.concepts[0].tolist(), found.scores[0].tolist(), strict=True)) == pytest.approx(
        highest, abs=1e-6
    )


def test_an_ensemble_keeps_what_its_members_said(terminology):
    generator = make(terminology, **CONFIGS["ensemble"])
    found = generator.generate([Mention("heart failure"), Mention("糖")], 5)
    alone = {n: m.generate([Mention("heart failure"), Mention("糖")], 5) for n, m in generator.members.items()}
    for name, member in found.members.items():
        for row in range(2):
            ranks = {c: r for r, c in enumerate(alone[name].concepts[row].tolist(), 1) if c >= 0}
            for concept, rank, score in zip(
                found.concepts[row].tolist(), member.ranks[row].tolist(), member.scores[row].tolist(), strict=True
            ):
                if 0 < rank <= 5:
                    assert ranks[concept] == rank
                if concept >= 0:
                    assert not math.isnan(score)


def test_ensemble_config_errors():
    tfidf = {"type": "tfidf"}
    with pytest.raises(ValueError, match=r"unknown member 'tfdif'; did you mean 'tfidf'\?"):
        Holder(candidates={"type": "ensemble", "members": {"tfidf": tfidf}, "weights": {"tfdif": 1}})
    with pytest.raises(ValueError, match="expected at least one"):
        Holder(candidates={"type": "ensemble", "members": {}})
    with pytest.raises(ValueError, match="folder name"):
        Holder(candidates={"type": "ensemble", "members": {"../x": tfidf}})


def test_tfidf_config_errors():
    for wrong, message in (
        ([4, 3], "least size first"),
        ([0, 3], "greater than or equal to 1"),
        ([3, 9], "equal to 8"),
    ):
        with pytest.raises(ValueError, match=message):
            Holder(candidates={"type": "tfidf", "ngrams": wrong})


def test_training_mentions(terminology, tmp_path):
    path = tmp_path / "pairs.tsv"
    rows = ["text\tconcept_id", "pump failure\tT:001", "pump failure\tT:001", "pump failure\tT:003"]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    generator = make(terminology, type="exact", path=str(path))
    found = generator.generate([Mention("Pump failure"), Mention("Headache")], 3)
    assert terminology.take("concepts", "id", found.concepts[0, :2]) == ["T:001", "T:003"]
    assert found.concepts[0, 2] == -1
    np.testing.assert_allclose(found.scores[0, :2], [0.99 - 0.01 / 3, 0.99 - 0.02 / 3], atol=1e-6)
    assert found.names[0, 0] == -1
    path.write_text("text\tconcept_id\npump failure\tT:999\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"pairs.tsv:2: concept 'T:999' is not in the terminology"):
        make(terminology, type="exact", path=str(path))


def test_array_helpers_by_hand():
    owner = np.array([0, 0, 1, 2], np.int32)
    names = np.array([[1, 0, 2, -1], [3, -1, -1, -1]], np.int32)
    scores = np.array([[0.9, 0.9, 0.5, 9.0], [0.1, 0, 0, 0]], np.float32)
    found = best_concepts(names, scores, owner, 2)
    assert found.concepts.tolist() == [[0, 1], [2, -1]]
    assert found.names.tolist() == [[0, 2], [3, -1]]
    empty = loose_candidates(*(np.empty(0, t) for t in (np.int64, np.int32, np.float32, np.int32)), 2, 3)
    assert empty.sizes().tolist() == [0, 0]
    ranked, columns = top_k(
        np.array([[5, 3, -1]], np.int32), np.array([[0.5, 0.5, 7]], np.float32), np.array([[1, 2, 3]], np.int32), 4
    )
    assert ranked.concepts.tolist() == [[3, 5, -1, -1]]
    assert columns.tolist() == [[1, 0, -1, -1]]
    scored, winners = score_by_names(
        np.array([[1, -1, 0]], np.int32), np.array([0, 2, 3]), lambda mention, name: name.astype(np.float32)
    )
    assert scored.tolist() == [[2.0, -math.inf, 1.0]]
    assert winners.tolist() == [[2, -1, 1]]


def test_unknown_component_and_own_class():
    with pytest.raises(ValueError, match=r"unknown type 'tdidf' of candidates; did you mean 'tfidf'\?"):
        Holder(candidates={"type": "tdidf"})
    with pytest.raises(ConfigError, match="cannot be imported"):
        find_component("candidates", "no_such_module:Thing")
    with pytest.raises(ConfigError, match="not a subclass"):
        find_component("candidates", "conftest:HashEncoder")
