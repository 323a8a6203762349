"""Learned fusion: weights recovered from simulated choices, fitted on names, kept in files; languages of encoders."""

from __future__ import annotations

import hashlib
import json
import math
import warnings

import numpy as np
import pytest
from conftest import HashConfig, HashEncoder
from scipy.optimize import minimize
from test_candidates import CONFIGS, MENTIONS, few, make, masks

from xnorm.candidates._fitting import fit_on_names
from xnorm.candidates.base import Allowed
from xnorm.encoders.base import Encoder
from xnorm.encoders.use import UseConfig, UseEncoder
from xnorm.errors import ArtifactError, ConfigError, DataError, XnormWarning
from xnorm.fusion import (
    GROUP_RIDGE,
    RIDGE,
    FusionConfig,
    FusionModel,
    features,
    fit_shown,
    fit_weights,
    groups_of,
)
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Mention

__all__ = ["few"]


class NoiseEncoder(Encoder):
    """A random direction for each text."""

    config_class = HashConfig
    identity = "noise"
    dim = 16

    def encode(self, texts):
        seeds = [int.from_bytes(hashlib.blake2b(t.encode(), digest_size=4).digest(), "big") for t in texts]
        out = np.array([np.random.default_rng(s).standard_normal(16) for s in seeds], np.float32).reshape(-1, 16)
        return out / np.linalg.norm(out, axis=1, keepdims=True)


HASH = {"type": "dense", "cache": False, "encoder": {"type": "conftest:HashEncoder"}}
NOISE = {"type": "dense", "cache": False, "encoder": {"type": "test_fusion:NoiseEncoder", "dim": 16}}
TFIDF = {"type": "tfidf", "ngrams": [3, 4]}


# --- the fit itself, on numbers -----------------------------------------------------------------------------------


def simulate(rng, n, k, weights, groups):
    """Draw features, and the candidate that a conditional logit with known weights chooses."""
    x = rng.standard_normal((n, k, len(next(iter(weights.values()))))) * [1.0, 0.3, 5.0][: len(weights["all"])]
    valid = rng.random((n, k)) < 0.9
    valid[:, :2] = True
    gold = np.zeros((n, k), bool)
    for row in range(n):
        w = np.array(weights["all"]) + sum(np.array(weights[g]) for g in groups[row] if g in weights)
        z = np.where(valid[row], x[row] @ w, -np.inf)
        p = np.exp(z - z.max())
        gold[row, rng.choice(k, p=p / p.sum())] = True
    return x, gold, valid


def test_known_weights_are_recovered():
    rng = np.random.default_rng(0)
    groups = [("g:a",) if i % 2 else ("g:b",) for i in range(6000)]
    x, gold, valid = simulate(rng, 6000, 8, {"all": [1.0, -2.0, 0.3], "g:a": [0.5, 0, 0], "g:b": [-0.5, 0, 0]}, groups)
    shared, more = fit_weights(x, gold, valid, groups)
    np.testing.assert_allclose(shared + more["g:a"], [1.5, -2.0, 0.3], rtol=0.1, atol=0.03)
    np.testing.assert_allclose(shared + more["g:b"], [0.5, -2.0, 0.3], rtol=0.1, atol=0.03)


def test_the_fit_is_the_minimum_that_another_optimiser_finds():
    rng = np.random.default_rng(1)
    groups = [("g:a", "h:x") if i < 40 else ("g:b",) if i < 100 else ("rare",) if i < 110 else () for i in range(150)]
    x, gold, valid = simulate(rng, 150, 5, {"all": [1.0, 0.5, -0.2], "g:a": [1.0, 0, 0]}, groups)
    gold[5, :] = False  # says nothing
    gold[7, :2] = True  # two right ones
    shared, more = fit_weights(x, gold, valid, groups)
    assert set(more) == {"g:a", "g:b", "h:x"}
    telling = [i for i in range(150) if (gold[i] & valid[i]).any() and (~gold[i] & valid[i]).any()]
    spread = np.concatenate([x[i][valid[i]] for i in telling]).std(axis=0)

    def loss(flat):
        w = dict(zip(["", "g:a", "g:b", "h:x"], flat.reshape(4, 3), strict=True))
        total = sum((GROUP_RIDGE if key else RIDGE) / 2 * (v**2).sum() for key, v in w.items())
        for i in telling:
            own = w[""] + sum((w[g] for g in groups[i] if g in w), np.zeros(3))
            z = {c: float(x[i, c] / spread @ own) for c in range(5) if valid[i, c]}
            norm = math.log(sum(math.exp(v) for v in z.values()))
            right = [c for c in z if gold[i, c]]
            total -= sum(z[c] - norm for c in right) / len(right)
        return total

    found = minimize(loss, np.zeros(12), method="BFGS", options={"gtol": 1e-5}).x.reshape(4, 3) / spread
    np.testing.assert_allclose(shared, found[0], atol=2e-3)
    for key, wanted in zip(["g:a", "g:b", "h:x"], found[1:], strict=True):
        np.testing.assert_allclose(more[key], wanted, atol=2e-3)


def test_a_member_that_is_noise_in_one_script_gets_nothing_there():
    rng = np.random.default_rng(2)
    n, k = 1200, 20
    groups = [("script:han",) if i % 3 == 0 else ("script:latin",) for i in range(n)]
    gold = np.zeros((n, k), bool)
    gold[np.arange(n), rng.integers(k, size=n)] = True
    x = rng.standard_normal((n, k, 2))
    x[:, :, 0] += gold  # the first member knows both scripts, the second Latin alone
    x[:, :, 1] += 2 * gold * np.array([g == ("script:latin",) for g in groups])[:, None]
    shared, more = fit_weights(x, gold, np.ones((n, k), bool), groups)
    latin, han = shared + more["script:latin"], shared + more["script:han"]
    assert latin[1] > 1.5
    assert abs(han[1]) < 0.15
    assert han[0] == pytest.approx(latin[0], abs=0.25)


def test_a_fit_without_data_or_spread():
    shared, more = fit_weights(np.zeros((0, 3, 2)), np.zeros((0, 3), bool), np.zeros((0, 3), bool), [])
    assert shared.tolist() == [0, 0]
    assert more == {}
    gold = np.array([[True, False]] * 4)
    shared, _ = fit_weights(np.ones((4, 2, 2)), gold, np.ones((4, 2), bool), [()] * 4)
    assert shared.tolist() == [0, 0]


def test_what_is_shown_is_about_a_probability():
    rng = np.random.default_rng(3)
    z = rng.normal(40, 6, 4000)
    right = rng.random(4000) < 1 / (1 + np.exp(-(z - 40) / 2))
    slope, offset = fit_shown(z, right)
    model = model_of({"a": (1, 0, 0)}, slope=slope, offset=offset)
    shown = model.shown(z)
    for low, high in ((0.1, 0.3), (0.3, 0.7), (0.7, 0.9)):
        at = (shown > low) & (shown < high)
        assert right[at].mean() == pytest.approx(shown[at].mean(), abs=0.1)
    every = model.shown(np.linspace(-200, 100, 3001))
    assert (np.diff(np.round(every, 6)) > 0).all()
    assert 0 < every[0] < every[-1] < 1
    for none in (np.zeros(5, bool), np.ones(5, bool)):
        assert np.isfinite(fit_shown(np.arange(5.0), none)).all()
    assert np.isfinite(fit_shown(np.empty(0), np.empty(0, bool))).all()


def model_of(weights, groups=None, depth=100, slope=1.0, offset=0.0, kinds=None):
    kinds = kinds or dict.fromkeys(weights, "dense")
    return FusionModel(members=kinds, depth=depth, weights=weights, groups=groups or {}, slope=slope, offset=offset)


def test_features_and_parts_by_hand():
    x = features(np.array([[0.5, -0.5, 0.0]]), np.array([[1, 4, 0]]), 3)
    assert x[0].tolist() == [[0.5, 0.25, 1.0], [-0.5, -0.25, 0.0], [0.0, 0.0, 0.0]]
    model = model_of({"a": (2, 0, 0), "b": (4, 2, 2)}, {"script:han": {"a": (0, 0, 1), "b": (-4, -2, -2)}})
    said = {"a": features(np.array([[0.5], [0.5], [0.5]]), np.array([[1], [1], [1]]), 10)}
    said["b"] = said["a"]
    groups = [("script:latin",), ("script:han", "lang:zh"), ("script:latin",)]
    parts = model.parts(said, groups, np.array([[True, True], [True, True], [True, False]]))
    assert parts["a"][:, 0].tolist() == [1.0, 2.0, 5.0]  # the last one speaks for both: (2 + 8) / 2
    assert parts["b"][:, 0].tolist() == [4.5, 0.0, 0.0]


def test_groups():
    assert groups_of("Herz", None) == ("script:latin",)
    assert groups_of("心", "ja") == ("script:han", "lang:ja")


# --- files --------------------------------------------------------------------------------------------------------


def test_written_and_read_again(tmp_path):
    model = model_of({"a": (0.1, -2.5e-7, 3)}, {"lang:de": {"a": (1, 2, 3)}}, slope=0.25)
    model.write(tmp_path / "f.json")
    assert FusionModel.read(tmp_path / "f.json") == model


def test_bad_files(tmp_path):
    path = tmp_path / "f.json"
    good = model_of({"a": (1, 2, 3)}).model_dump(mode="json")
    with pytest.raises(DataError, match=r"f\.json"):
        FusionModel.read(path)
    for wrong, problem in (
        ("[1]", "expected a JSON object"),
        ("{", "not valid JSON"),
        ("{}", "is no fitted fusion: members"),
        (json.dumps({**good, "weights": {"b": [1, 2, 3]}}), "weights: expected the members a"),
        (json.dumps({**good, "groups": {"lang:de": {}}}), "lang:de: expected the members a"),
        (json.dumps({**good, "weights": {"a": [1, 2]}}), "is no fitted fusion: weights.a"),
        (json.dumps({**good, "slope": math.nan}), "slope"),
        (json.dumps({**good, "slope": -1}), "slope"),
        (json.dumps({**good, "weights": {"a": [1e300, 2, 3]}}), "is no fitted fusion: weights.a"),
        (json.dumps({**good, "version": 2}), "version"),
        (json.dumps({**good, "more": 1}), "unknown key 'more'"),
    ):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(DataError, match=problem):
            FusionModel.read(path)


def test_members_must_be_those_it_was_fitted_for(terminology, tmp_path):
    path = tmp_path / "f.json"
    spec = {"type": "ensemble", "method": "learned", "fusion": {"path": str(path)}, "members": {"a": HASH, "b": TFIDF}}
    with pytest.raises(DataError, match=r"f\.json"):
        make(terminology, **spec)
    kind = make(terminology, **HASH).kind
    model_of({"a": (1, 0, 0), "c": (1, 0, 0)}, kinds={"a": kind, "c": "tfidf"}).write(path)
    with pytest.raises(ConfigError, match=r"was fitted for the members a \(dense\), c \(tfidf\), found a \(dense\), b"):
        make(terminology, **spec)
    model_of({"a": (1, 0, 0), "b": (1, 0, 0)}, kinds={"a": "tfidf", "b": "tfidf"}).write(path)
    with pytest.raises(ConfigError, match="fit it with `xnorm fuse`"):
        make(terminology, **spec)
    model_of({"a": (1, 0, 0), "b": (1, 0, 0)}, kinds={"a": "dense/other", "b": "tfidf"}).write(path)
    with pytest.warns(XnormWarning, match="was fitted when the member 'a' was dense/other"):
        make(terminology, **spec)


def test_config_errors():
    members = {"a": TFIDF}
    for wrong, problem in (
        ({"method": "learned"}, "learned needs fusion"),
        ({"method": "learned", "fusion": {}}, "either fit: true or a path"),
        ({"fusion": {"fit": True, "path": "f.json"}}, "either fit: true or a path"),
        ({"fusion": {"fit": True, "queries": 1}}, "greater than or equal to 100"),
        ({"unknown_languages": "forget"}, "'drop' or 'keep'"),
    ):
        with pytest.raises(ValueError, match=problem):
            make(None, type="ensemble", members=members, **wrong)


# --- in an ensemble, against brute force --------------------------------------------------------------------------


@pytest.fixture
def learned(terminology, tmp_path):
    """An ensemble with given weights, and what its scores should be."""
    weights = {"b": (1.5, 0.5, 0.4), "a": (2.0, -0.3, 0.2)}  # in another order than the members
    groups = {"script:han": {"a": (1, 0, 0), "b": (-1, 0, 0.1)}, "lang:zh": {"a": (0.5, 0, 0), "b": (0, 0, 0)}}
    kinds = {"b": "tfidf", "a": make(terminology, **HASH).kind}
    model = model_of(weights, groups, depth=12, slope=0.7, offset=-0.4, kinds=kinds)
    model.write(tmp_path / "f.json")
    return make(
        terminology,
        type="ensemble",
        method="learned",
        fusion={"path": str(tmp_path / "f.json")},
        depth=12,
        members={"a": HASH, "b": TFIDF},
    )


def by_hand(generator, mentions, allowed=None):
    """Return {concept: score} for each mention, from what the members say by themselves."""
    model, z = generator.fusion, [dict.fromkeys(range(12), 0.0) for _ in mentions]
    for name, member in generator.members.items():
        own = member if allowed is None else member.restrict(allowed)
        found = own.generate(list(map(Mention, mentions)), 12)
        for row, mention in enumerate(mentions):
            columns = zip(found.scores[row].tolist(), range(1, 13), strict=True)
            said = dict(zip(found.concepts[row].tolist(), columns, strict=True))
            w = np.array(model.weights[name])
            if mention in "糖尿病 心不全 急性心不全":
                w = w + np.array(model.groups["script:han"][name]) + np.array(model.groups["lang:zh"][name])
            for concept in range(12):
                s, rank = said.get(concept, (0.0, 0))
                z[row][concept] += w[0] * s + w[1] * s * abs(s) + (w[2] / rank if rank else 0)
    return [{c: (1 + (0.7 * v - 0.4) / (1 + abs(0.7 * v - 0.4))) / 2 for c, v in own.items()} for own in z]


@pytest.mark.usefixtures("few")
def test_learned_scores_are_what_brute_force_says(learned, terminology):
    mentions = list(map(Mention, MENTIONS))
    everything = np.tile(np.arange(12, dtype=np.int32), (len(mentions), 1))
    for mask in [None, *masks(terminology, 4)]:
        allowed = None if mask is None else Allowed(terminology, mask)
        part = learned if allowed is None else learned.restrict(allowed)
        found = part.generate(mentions, 12)
        rated, _ = part.score(mentions, everything)
        for row, wanted in enumerate(by_hand(learned, MENTIONS, allowed)):
            wanted = {c: s for c, s in wanted.items() if allowed is None or allowed.concepts[c]}
            size = int((found.concepts[row] >= 0).sum())
            assert size == len(wanted)  # the encoder proposes them all
            for concept, score in zip(found.concepts[row, :size].tolist(), found.scores[row].tolist(), strict=False):
                assert score == pytest.approx(wanted[concept], abs=3e-6)
                assert rated[row, concept] == pytest.approx(score, abs=3e-6)
            assert (np.diff(found.scores[row, :size]) <= 0).all()


@pytest.mark.usefixtures("few")
def test_scores_depend_on_the_depth_of_the_weights_alone(learned, terminology):
    mentions = list(map(Mention, MENTIONS))
    wanted = learned.generate(mentions, 12)
    learned.config = learned.config.model_copy(update={"depth": 2})
    for k in (1, 3, 12):
        found = learned.generate(mentions, k)
        np.testing.assert_array_equal(found.concepts, wanted.concepts[:, :k])
        np.testing.assert_allclose(found.scores, wanted.scores[:, :k], atol=1e-6)
    rated, _ = learned.score(mentions, wanted.concepts[:, :2])
    np.testing.assert_allclose(rated, wanted.scores[:, :2], atol=3e-6)


def test_an_index_that_was_fitted_with_other_settings(fitted, translated, tmp_path):
    fitted.save(tmp_path)

    def load(**settings):
        changed = fitted.config.fusion.model_copy(update=settings)
        config = fitted.config.model_copy(update={"fusion": changed})
        return type(fitted).load(config, translated, tmp_path).fusion

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load() == fitted.fusion
    with pytest.warns(XnormWarning, match="was fitted with other settings; `xnorm index --overwrite` fits it again"):
        load(queries=901)


def test_a_saved_ensemble_keeps_its_weights(learned, terminology, tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    learned.save(folder)
    mentions = list(map(Mention, MENTIONS))
    wanted = learned.generate(mentions, 5).scores
    path = tmp_path / "f.json"
    path.unlink()  # an index is whole by itself
    loaded = type(learned).load(learned.config, terminology, folder)
    np.testing.assert_array_equal(loaded.generate(mentions, 5).scores, wanted)
    learned.fusion.model_copy(update={"offset": 3.0}).write(path)  # but the file counts where there is one
    assert type(learned).load(learned.config, terminology, folder).fusion.offset == 3.0
    fitted = learned.config.model_copy(update={"fusion": FusionConfig(fit=True)})
    (folder / "fusion.json").unlink()
    with pytest.raises(ArtifactError, match="was built without a fusion"):
        type(learned).load(fitted, terminology, folder)


# --- fitted on names ----------------------------------------------------------------------------------------------


def words(n, seed):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("bcdfghklmnprstvwaeiou"), 9)) for _ in range(n)]


@pytest.fixture(scope="module")
def translated(tmp_path_factory):
    """English names, German ones with the same letters in other places, French ones with the same beginning."""
    path = tmp_path_factory.mktemp("translated") / "t.jsonl"
    rng = np.random.default_rng(5)
    with path.open("w", encoding="utf-8") as f:
        for i, word in enumerate(words(400, 4)):
            german = "".join(rng.permutation(list(word)))
            synonyms = [
                {"name": german, "lang": "de", "scope": "exact"},
                {"name": word[:6] + "x", "lang": "fr", "scope": "exact"},
            ]
            synonyms += [{"name": f"{word} syndrome", "lang": "en", "scope": "exact"}] if i % 2 else []
            f.write(json.dumps({"id": f"T:{i:04}", "name": word, "synonyms": synonyms}) + "\n")
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]


SPEC = {"type": "ensemble", "depth": 20, "members": {"letters": HASH, "noise": NOISE, "ngrams": TFIDF}}


@pytest.fixture(scope="module")
def fitted(translated):
    fusion = {"fit": True, "queries": 900, "index_langs": ["en"]}
    return make(translated, **SPEC, method="learned", fusion=fusion)


def test_a_fit_on_names_helps_on_held_out_concepts(fitted):
    held = fitted.fusion.fitted["held_out"]
    assert set(held) == {"all", "de", "en", "fr"}
    for lang in ("all", "de"):
        told = held[lang]["recall@1"]
        assert told["after"][0] > told["before"][0] + 0.05, lang
        assert told["difference"][1] > 0
        assert told["before"][1] <= told["before"][0] <= told["before"][2]
        assert told["p"] < 0.05
    weights = fitted.fusion.weights
    worth = {name: w[0] * 0.8 + w[1] * 0.64 + w[2] for name, w in weights.items()}  # a score of 0.8, proposed first
    assert abs(worth["noise"]) < worth["letters"] / 5


def test_the_fit_does_not_depend_on_chance(fitted, translated):
    again = fit_on_names(fitted, translated, fitted.config.fusion)
    assert again == fitted.fusion


def test_queries_never_find_themselves(translated, monkeypatch):
    """No name in the language of a query is looked up, nor, in the index's own language, the query itself."""
    from xnorm.candidates import _fitting

    seen = []
    real = _fitting._block
    monkeypatch.setattr(
        _fitting, "_block", lambda part, *rest: seen.append((part._allowed.names, rest)) or real(part, *rest)
    )
    langs = np.array(translated.names.column("lang").to_pylist())
    for index_langs in (None, ["en"]):
        seen.clear()
        make(translated, **SPEC, fusion={"fit": True, "queries": 300, "index_langs": index_langs})
        assert {rest[1] for _, rest in seen} == {"de", "en", "fr"}
        for names, (_, lang, rows, _) in seen:
            assert (langs[rows] == lang).all()
            assert not names[rows].any()
            if index_langs:
                assert (langs[names] == "en").all()
            elif lang != "en":
                assert not (langs[names] == lang).any()
            else:
                assert (langs[names] != "en").any()
            concepts = translated.name_concept
            assert np.isin(concepts[rows], concepts[names]).all()
            assert len(set(concepts[rows].tolist())) == len(rows)


def test_an_index_without_translations_is_fitted_on_synonyms(tmp_path):
    path = tmp_path / "t.jsonl"
    with path.open("w", encoding="utf-8") as f:
        for i, word in enumerate(words(200, 6)):
            synonyms = [{"name": n, "lang": "en", "scope": "exact"} for n in (f"{word[:7]}q", f"{word[2:]}q")]
            f.write(json.dumps({"id": f"T:{i:04}", "name": word, "synonyms": synonyms}) + "\n")
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    made = make(terminology, **SPEC, method="learned", fusion={"fit": True, "queries": 200})
    assert set(made.fusion.fitted["held_out"]) == {"all", "en"}
    assert made.fusion.fitted["held_out"]["en"]["recall@1"]["after"][0] > 0.5


def test_too_little_to_fit_on(terminology, translated, tmp_path):
    with pytest.raises(DataError, match=r"the fusion has \d+ names to be fitted on, expected 50 or more; add transl"):
        make(terminology, **SPEC, fusion={"fit": True})
    with pytest.raises(DataError, match=r"no names in the languages of the index \(ja\)"):
        make(translated, **SPEC, fusion={"fit": True, "index_langs": ["ja"]})
    path = tmp_path / "t.jsonl"
    path.write_text('{"id": "T:1", "name": "one"}\n{"id": "T:2", "name": "two"}\n', encoding="utf-8")
    bare = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    with pytest.raises(DataError, match="the fusion has 0 names"):
        make(bare, **SPEC, fusion={"fit": True})


@pytest.mark.parametrize("index_langs", [None, ["en"]])
def test_a_fit_on_some_concepts_alone(translated, tmp_path, monkeypatch, index_langs):
    """As of encoders that were trained on the others: neither fitted on nor judged by any other concept."""
    from xnorm.candidates import _fitting

    path = tmp_path / "held_out.txt"
    path.write_text("# held out\n" + "".join(f"T:{i:04}\n" for i in range(150, 270)), encoding="utf-8")
    judged = []
    real = _fitting._judge
    monkeypatch.setattr(_fitting, "_judge", lambda *given: judged.append(real(*given)) or judged[-1])
    fusion = {"fit": True, "queries": 900, "index_langs": index_langs, "only_concepts": {"path": str(path)}}
    made = make(translated, **SPEC, method="learned", fusion=fusion)
    assert set(judged[0].owners.tolist()) == set(range(150, 270))
    assert {*judged[0].langs} == {"de", "en", "fr"}
    assert (judged[0].concepts >= 270).any()  # all concepts are looked up
    fitted = made.fusion.fitted
    assert fitted["queries"] + fitted["held_out"]["all"]["queries"] == len(judged[0].owners)
    assert fitted["settings"]["only_concepts"]["file"] == "held_out.txt"
    listed = {**fusion, "only_concepts": [f"T:{i:04}" for i in range(150, 270)]}
    assert make(translated, **SPEC, fusion=listed).fusion.weights == made.fusion.weights
    every = make(translated, **SPEC, fusion={**fusion, "only_concepts": None}).fusion
    assert every.weights != made.fusion.weights
    assert "only_concepts" not in every.fitted["settings"]


def test_concepts_to_fit_on_that_will_not_do(translated, tmp_path):
    def refused(error, message, **only):
        with pytest.raises(error, match=message):
            make(translated, **SPEC, fusion={"fit": True, "only_concepts": only})

    refused(DataError, r"held_out\.txt: no such file", path=str(tmp_path / "held_out.txt"))
    refused(DataError, "expected 50 or more, of only_concepts alone; name more concepts", ids=["T:0001", "T:0002"])
    (tmp_path / "held_out.txt").write_text("\n\n")
    refused(DataError, "holds no id", path=str(tmp_path / "held_out.txt"))
    refused(ConfigError, "fusion.only_concepts.value_set: none of its 2 ids is in the terminology", ids=["X:1", "X:2"])


def test_weights_fitted_elsewhere_serve_an_english_index(fitted, translated, tmp_path):
    path = tmp_path / "fusion.json"
    fitted.fusion.write(path)
    source = tmp_path / "en.jsonl"
    rows = zip(translated.concepts["id"].to_pylist(), translated.concepts["name"].to_pylist(), strict=True)
    source.write_text("".join(json.dumps({"id": i, "name": n}) + "\n" for i, n in rows), encoding="utf-8")
    english = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(source)}]))[0]
    german = [
        n for n, lang in zip(translated.name_texts(), translated.names["lang"].to_pylist(), strict=True) if lang == "de"
    ]
    mentions = [Mention(n, lang="de") for n in german]
    hits = {}
    for more in ({}, {"method": "learned", "fusion": {"path": str(path)}}):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = make(english, **SPEC, **more).generate(mentions, 1)
        hits[more.get("method", "sum")] = float((found.concepts[:, 0] == np.arange(400)).mean())
    assert hits["learned"] > hits["sum"] + 0.05


# --- encoders and their languages ---------------------------------------------------------------------------------


def test_languages_of_encoders():
    assert {"de", "zh", "th", "en"} < UseEncoder(UseConfig()).languages
    assert not {"vi", "el", "zh-tw"} & UseEncoder(UseConfig()).languages
    assert UseEncoder(UseConfig(languages=["GER", "pt_BR"])).languages == {"de", "pt"}
    assert HashEncoder(HashConfig()).languages is None


def languages(*codes):
    return {**HASH, "encoder": {**HASH["encoder"], "languages": list(codes)}}


def test_a_member_that_does_not_know_the_language_counts_for_nothing(terminology):
    members = {"knows": NOISE, "lacks": languages("en", "de"), "ngrams": TFIDF}
    weights = {"knows": 0.5, "lacks": 3.0, "ngrams": 0.25}
    whole = make(terminology, type="ensemble", members=members, weights=weights, depth=12)
    without = {name: members[name] for name in ("knows", "ngrams")}
    part = make(terminology, type="ensemble", members=without, weights={"knows": 0.5, "ngrams": 0.25}, depth=12)
    keep = make(terminology, type="ensemble", members=members, weights=weights, depth=12, unknown_languages="keep")
    unknown = [Mention("cœur", lang="fr"), Mention("Viêm họng"), Mention("καρδιά"), Mention("heart", lang="FRE")]
    known = [
        Mention("Herz", lang="de-AT"),
        Mention("cœur"),
        Mention("Viêm họng", lang="en"),
        Mention("heart", lang="und"),
    ]
    for method in ("sum", "rrf", "max"):
        for generator in (whole, part, keep):
            generator.config = generator.config.model_copy(update={"method": method})
        together, alone = whole.generate(unknown + known, 12), part.generate(unknown, 12)
        np.testing.assert_array_equal(together.concepts[:4], alone.concepts)
        np.testing.assert_array_equal(together.scores[:4], alone.scores)
        np.testing.assert_array_equal(together.names[:4], alone.names)
        assert (together.members["lacks"].ranks[:4] == 0).all()
        assert np.isfinite(together.members["lacks"].scores[:4][together.concepts[:4] >= 0]).all()
        np.testing.assert_array_equal(together.scores[4:], keep.generate(known, 12).scores)
        rated, _ = whole.score(unknown, alone.concepts)
        np.testing.assert_allclose(rated, alone.scores, atol=1e-6)
    steps = whole.stages(whole.represent(unknown), 3)
    np.testing.assert_array_equal(steps["lacks"].concepts, whole.members["lacks"].generate(unknown, 3).concepts)


def test_what_a_dropped_member_proposes_is_no_candidate(terminology):
    members = {"knows": NOISE, "lacks": languages("en")}
    whole = make(terminology, type="ensemble", members=members, depth=2)
    part = make(terminology, type="ensemble", members={"knows": NOISE}, depth=2)
    mentions = [Mention(m, lang="fr") for m in MENTIONS]
    found, alone = whole.generate(mentions, 2), part.generate(mentions, 2)
    np.testing.assert_array_equal(found.concepts, alone.concepts)
    lacks = whole.members["lacks"].generate(mentions, 2)
    assert (lacks.concepts != alone.concepts).any()
    assert (whole.propose(whole.represent(mentions), 2)["lacks"].concepts == lacks.concepts).all()
    union = whole.union(whole.represent(mentions), whole.propose(whole.represent(mentions), 2))
    np.testing.assert_array_equal(union, np.sort(alone.concepts, axis=1))


def test_no_member_is_dropped_where_no_other_encoder_knows_the_language(terminology):
    mentions = [Mention("cœur", lang="fr"), Mention("Viêm họng")]
    for members in (
        {"a": languages("en"), "ngrams": TFIDF},
        {"a": languages("en"), "b": languages("de"), "ngrams": TFIDF},
    ):
        made = [
            make(terminology, type="ensemble", members=members, unknown_languages=how).generate(mentions, 5)
            for how in ("drop", "keep")
        ]
        np.testing.assert_array_equal(made[0].concepts, made[1].concepts)
        np.testing.assert_array_equal(made[0].scores, made[1].scores)


def test_what_a_generator_knows(terminology):
    assert make(terminology, **TFIDF).knows("de") is None
    assert make(terminology, **HASH).knows("de") is True
    assert make(terminology, **languages("en")).knows("de") is False
    for members, wanted in (
        ({"a": TFIDF}, None),
        ({"a": TFIDF, "b": languages("en")}, False),
        ({"a": languages("en"), "b": languages("de")}, True),
    ):
        assert make(terminology, type="ensemble", members=members).knows("de") is wanted


def test_scores_of_the_usual_ensemble_are_as_they_were(terminology):
    mentions = list(map(Mention, MENTIONS))
    generator = make(terminology, **CONFIGS["ensemble"])
    found = generator.generate(mentions, 5)
    keep = make(terminology, **CONFIGS["ensemble"], unknown_languages="keep").generate(mentions, 5)
    np.testing.assert_array_equal(found.scores, keep.scores)


# --- the command --------------------------------------------------------------------------------------------------


def test_fuse_on_the_command_line(translated, tmp_path):
    from typer.testing import CliRunner

    from xnorm.cli import app
    from xnorm.linker import Linker

    config = {
        "name": "t",
        "terminology": {"sources": [{"type": "jsonl", "path": str(tmp_path / "t.jsonl")}]},
        "candidates": {**SPEC, "members": {"letters": HASH, "ngrams": TFIDF}},
    }
    lines = [
        {
            "id": c.id,
            "name": c.name,
            "synonyms": [{"name": n.text, "lang": n.lang, "scope": "exact"} for n in c.names[1:]],
        }
        for c in map(translated.__getitem__, range(len(translated)))
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    linker = Linker.build(config)
    linker.save(tmp_path / "index")
    command = ["fuse", str(tmp_path / "index"), "--output", str(tmp_path / "fusion.json"), "--index-langs", "en"]
    done = CliRunner().invoke(app, [*command, "--queries", "400", "--quiet", "--trust"])
    assert done.exit_code == 0, done.output
    assert "names of other concepts" in done.stdout
    assert "recall@1" in done.stdout
    assert set(FusionModel.read(tmp_path / "fusion.json").members) == {"letters", "ngrams"}
    again = CliRunner().invoke(app, [*command, "--quiet"])
    assert again.exit_code == 2
    assert "exists already; pass --overwrite" in again.output
    (tmp_path / "ids.txt").write_text("".join(f"T:{i:04}\n" for i in range(200)))
    some = CliRunner().invoke(
        app, [*command, "--overwrite", "--only-concepts", str(tmp_path / "ids.txt"), "--quiet", "--trust"]
    )
    assert some.exit_code == 0, some.output
    assert FusionModel.read(tmp_path / "fusion.json").fitted["settings"]["only_concepts"]["file"] == "ids.txt"
    none = CliRunner().invoke(app, [*command, "--overwrite", "--only-concepts", str(tmp_path / "no.txt"), "--trust"])
    assert none.exit_code == 2
    assert "no.txt: no such file" in none.output
    few_queries = CliRunner().invoke(app, [*command, "--overwrite", "--queries", "3"])
    assert few_queries.exit_code == 2
    assert "queries" in few_queries.output
    # a query-time setting: the same index, with learned weights
    learned = {**config["candidates"], "method": "learned", "fusion": {"path": str(tmp_path / "fusion.json")}}
    found = Linker.load(tmp_path / "index", overrides={"candidates": learned}).link(["zzz", lines[0]["name"]], top_k=2)
    assert found[1][0].concept_id == lines[0]["id"]
    assert 0 < found[1][1].score < found[1][0].score < 1
    Linker.build({**config, "candidates": TFIDF}).save(tmp_path / "plain")
    refused = CliRunner().invoke(app, ["fuse", str(tmp_path / "plain"), "--output", str(tmp_path / "g.json")])
    assert refused.exit_code == 2
    assert "expected an ensemble of two or more, found 'tfidf'" in refused.output


def test_fusion_and_languages_need_no_new_index(terminology):
    from xnorm.linking import _of_the_generator

    usual = make(terminology, type="ensemble", members={"a": HASH, "b": TFIDF}).config
    more = {"fusion": {"fit": True}, "unknown_languages": "keep", "weights": {"a": 2.0}}
    members = {"a": {**languages("en"), "scale": [0.5, 1]}, "b": TFIDF}
    other = usual.model_validate({"type": "ensemble", "members": members, "method": "learned", **more})
    third = usual.model_validate({"type": "ensemble", "members": {"a": {**HASH, "center": "all"}, "b": TFIDF}})
    plain = [_of_the_generator(config.model_dump(mode="json")) for config in (usual, other, third)]
    assert plain[0] == plain[1] != plain[2]


@pytest.mark.parametrize(
    ("queries", "difference", "verdict"),
    [
        (29, [0.2, 0.1, 0.3], "29 names are too few to say whether it helps"),
        (30, [0.2, 0.1, 0.3], "recall@1: it helped"),
        (30, [-0.2, -0.3, -0.1], "recall@1: it harmed; method: sum is better"),
        (30, [0.1, 0.0, 0.2], "recall@1: no gain that can be told from chance"),
    ],
)
def test_the_verdict(queries, difference, verdict):
    told = {"recall@1": {"before": [0.5], "after": [0.7], "difference": difference, "p": 0.01}, "queries": queries}
    fusion = FusionModel.model_construct(fitted={"held_out": {"all": told}})
    assert fusion.in_words()[-1] == verdict
