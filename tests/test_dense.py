"""Centring, hubness, scale and weights of the dense generator, against brute force in plain Python."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from conftest import HashConfig, HashEncoder
from test_candidates import CONFIGS, MENTIONS, few, make, masks, weighted

from xnorm.candidates import _vectors
from xnorm.candidates.base import Allowed
from xnorm.errors import ArtifactError, DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.text import lang_of
from xnorm.types import Mention

__all__ = ["few"]

QUERIES = [*map(Mention, MENTIONS), Mention("Herzinsuffizienz", lang="de"), Mention("Kopfschmerz", lang="de-AT"),
           Mention("dor de cabeça", lang="pt"), Mention("Viêm họng")]  # fmt: skip

VARIANTS = {
    "language": {"center": "language"},
    "all": {"center": "all"},
    "hubs": {"hubness": {"neighbours": 3, "strength": 0.7}},
    "many neighbours": {"hubness": {"neighbours": 500, "strength": 1.0}},
    "scale": {"scale": [0.3, 0.9]},
    "low scale": {"scale": [-2.0, 1.0]},
    "high scale": {"scale": [0.9, 1.0]},
    "everything": {"center": "language", "hubness": {"neighbours": 2}, "scale": [0.05, 0.6]},
}


def dense(terminology, **more):
    return make(terminology, **CONFIGS["dense"], **more)


def unit(vector):
    norm = math.sqrt(sum(v * v for v in vector))
    return [v / norm for v in vector] if norm > 1e-6 else [0.0] * len(vector)


def mean(vectors):
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def less(vector, other):
    return unit([v - o for v, o in zip(vector, other, strict=True)])


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


class Oracle:
    """Scores of names by the formulas of the docs, one by one."""

    def __init__(self, terminology, center="none", hubness=None, scale=None, stand_ins=None):
        self.encoder = HashEncoder(HashConfig())
        self.terminology, self.hubness, self.scale = terminology, hubness, scale
        vectors = [list(map(float, v)) for v in self.encoder.encode(terminology.name_texts())]
        langs = [lang.partition("-")[0] for lang in terminology.names.column("lang").to_pylist()]
        every = mean(vectors)
        self.means, self.other = {}, [0.0] * len(every)
        if center == "all":
            self.other = every
        if center == "language":
            for lang in set(langs):
                own = [v for v, other in zip(vectors, langs, strict=True) if other == lang]
                self.means[lang] = [
                    (len(own) * m + 50 * e) / (len(own) + 50) for m, e in zip(mean(own), every, strict=True)
                ]
            self.other = mean(list(self.means.values()))
        self.vectors = vectors
        if center != "none":
            self.vectors = [less(v, self.means.get(g, self.other)) for v, g in zip(vectors, langs, strict=True)]
        self.center = center
        self.hubs = self._hubs() if hubness else [0.0] * len(vectors)
        self.weights = terminology.names.column("weight").to_pylist()

    def _hubs(self):
        concepts = self.terminology.name_concept.tolist()
        near = []
        for v, own in zip(self.vectors, concepts, strict=True):
            # the terminology has fewer names than are drawn, so that all of them are stand-ins
            others = sorted((dot(v, o) for o, c in zip(self.vectors, concepts, strict=True) if c != own), reverse=True)[
                : self.hubness["neighbours"]
            ]
            near.append(sum(others) / len(others))
        return [r - sum(near) / len(near) for r in near]

    def scores(self, mention):
        q = list(map(float, self.encoder.encode_mentions([mention.text])[0]))
        if self.center != "none":
            q = less(q, self.means.get(lang_of(mention.text, mention.lang), self.other))
        strength = self.hubness.get("strength", 0.3) if self.hubness else 0.0
        out = []
        for v, r, w in zip(self.vectors, self.hubs, self.weights, strict=True):
            score = dot(q, v) - strength * r
            if self.scale:
                score = (score - self.scale[0]) / (self.scale[1] - self.scale[0])
            score *= w
            out.append(None if self.scale and round(score, 6) <= 0 else score)
        return out

    def by_concept(self, mention, allowed=None):
        best = {}
        for name, score in enumerate(self.scores(mention)):
            concept = int(self.terminology.name_concept[name])
            if score is not None and (allowed is None or allowed[name]):
                best[concept] = max(best.get(concept, -math.inf), score)
        return best


def check(oracle, generator, k, allowed=None):
    found = generator.generate(QUERIES, k)
    everything = np.tile(np.arange(len(oracle.terminology), dtype=np.int32), (len(QUERIES), 1))
    rated, _ = generator.score(QUERIES, everything)
    for row, mention in enumerate(QUERIES):
        wanted = oracle.by_concept(mention, allowed)
        ranked = sorted(wanted.items(), key=lambda item: (-round(item[1], 6), item[0]))[:k]
        size = int((found.concepts[row] >= 0).sum())
        assert size == len(ranked), mention
        np.testing.assert_allclose(found.scores[row, :size], [s for _, s in ranked], atol=4e-6, err_msg=mention.text)
        for (concept, score), mine, name in zip(ranked, found.concepts[row], found.names[row], strict=False):
            assert concept == mine or abs(wanted[int(mine)] - score) < 4e-6
            assert oracle.terminology.name_concept[name] == mine
            assert allowed is None or allowed[name]
        for concept in range(len(oracle.terminology)):
            if np.isfinite(rated[row, concept]):
                assert rated[row, concept] == pytest.approx(wanted.get(concept, 0.0), abs=4e-6)
            else:
                assert concept not in wanted


@pytest.mark.parametrize("variant", VARIANTS)
def test_search_and_rating_are_what_brute_force_says(variant, terminology):
    settings = VARIANTS[variant]
    generator, oracle = dense(terminology, **settings), Oracle(terminology, **settings)
    for k in (1, 4, 12):
        check(oracle, generator, k)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("variant", VARIANTS)
def test_filters(variant, terminology):
    settings = VARIANTS[variant]
    generator, oracle = dense(terminology, **settings), Oracle(terminology, **settings)
    for allowed in masks(terminology, 3):
        check(oracle, generator.restrict(Allowed(terminology, allowed)), 3, allowed)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("variant", VARIANTS)
def test_weights(variant, terminology):
    own = weighted(terminology, np.random.default_rng(1).uniform(0.2, 1, terminology.n_names))
    settings = VARIANTS[variant]
    generator, oracle = dense(own, **settings), Oracle(own, **settings)
    check(oracle, generator, 4)
    for allowed in masks(own, 5):
        check(oracle, generator.restrict(Allowed(own, allowed)), 4, allowed)


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_saved_and_loaded_it_says_the_same(variant, storage, terminology, tmp_path):
    own = weighted(terminology, np.random.default_rng(2).uniform(0.5, 1, terminology.n_names))
    generator = dense(own, storage=storage, **VARIANTS[variant])
    generator.save(tmp_path)
    loaded = type(generator).load(generator.config, own, tmp_path)
    before, after = generator.generate(QUERIES, 5), loaded.generate(QUERIES, 5)
    np.testing.assert_array_equal(before.concepts, after.concepts)
    np.testing.assert_array_equal(before.scores, after.scores)
    rated, _ = loaded.score(QUERIES, after.concepts)
    known = after.concepts >= 0
    np.testing.assert_allclose(rated[known], after.scores[known], atol=1e-5 if storage == "float32" else 5e-3)
    steep = 1 / np.subtract(*reversed(VARIANTS[variant].get("scale", (0, 1))))
    if storage != "float32" and steep < 10:
        exact = dense(own, **VARIANTS[variant])
        rated, _ = exact.score(QUERIES, after.concepts)
        np.testing.assert_allclose(rated[known], after.scores[known], atol=0.03 * max(1, steep))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_mention_does_not_depend_on_its_neighbours(variant, terminology):
    generator = dense(terminology, **VARIANTS[variant])
    together = generator.generate(QUERIES, 4)
    for row, mention in enumerate(QUERIES):
        alone = generator.generate([mention], 4)
        np.testing.assert_array_equal(together.concepts[row], alone.concepts[0])
        known = alone.concepts[0] >= 0
        np.testing.assert_allclose(together.scores[row, known], alone.scores[0, known], atol=2e-4)


def test_scale_may_change_without_a_new_index(terminology, tmp_path):
    own = weighted(terminology, np.random.default_rng(3).uniform(0.5, 1, terminology.n_names))
    plain = dense(own, hubness={"neighbours": 3})
    plain.save(tmp_path)
    config = plain.config.model_copy(update={"scale": (0.2, 0.8)})
    assert "scale" in type(config).at_query
    check(Oracle(own, hubness={"neighbours": 3}, scale=(0.2, 0.8)), type(plain).load(config, own, tmp_path), 5)


def test_a_language_centred_index_undoes_the_shift_of_a_language(tmp_path):
    """Letters shared by all names of a language are what its mean takes away."""
    path = tmp_path / "names.jsonl"
    words = ["abc", "bdf", "cgh", "dka", "ehl", "fim"]
    lines = [{"id": f"T:{i}", "name": w, "synonyms": [{"name": f"{w}zzzz", "lang": "xx", "scope": "exact"}]}
             for i, w in enumerate(words)]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    monkey = pytest.MonkeyPatch()
    monkey.setattr(_vectors, "SHRINK", 0)
    langs = np.array(terminology.names.column("lang").to_pylist())
    english = Allowed(terminology, langs == "en")
    mentions = [Mention(f"{w}zzzz", lang="xx") for w in words]
    hits = {}
    for center in ("none", "language"):
        found = dense(terminology, center=center).restrict(english).generate(mentions, 1)
        hits[center] = int((found.concepts[:, 0] == np.arange(6)).sum())
    monkey.undo()
    assert hits["language"] == 6
    assert hits["none"] < 6


def test_means_of_another_index(terminology, tmp_path):
    full = dense(terminology, center="language")
    (tmp_path / "full").mkdir()
    full.save(tmp_path / "full")
    path = tmp_path / "english.jsonl"
    path.write_text(json.dumps({"id": "T:1", "name": "Heart failure"}) + "\n" + json.dumps({"id": "T:2", "name": "B"}))
    english = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    alone = dense(english, center="language")
    means = str(tmp_path / "full" / "means.json")
    helped = dense(english, center="language", means=means)
    assert set(alone.means.by_lang) == {"en"}
    np.testing.assert_array_equal(helped.means.by_lang["en"], alone.means.by_lang["en"])
    np.testing.assert_array_equal(helped.means.by_lang["de"], full.means.by_lang["de"])
    np.testing.assert_array_equal(alone.means.other, alone.means.by_lang["en"])
    (tmp_path / "own").mkdir()
    helped.save(tmp_path / "own")
    (tmp_path / "full" / "means.json").unlink()
    loaded = type(helped).load(helped.config, english, tmp_path / "own")
    np.testing.assert_array_equal(loaded.means.by_lang["de"], full.means.by_lang["de"])


def test_bad_means(terminology, tmp_path):
    path = tmp_path / "means.json"
    settings = {"center": "language", "means": str(path)}
    with pytest.raises(DataError, match=r"means\.json"):
        dense(terminology, **settings)
    good = {"encoder": "hash/1", "other": [0.0] * 16, "means": {"de": [0.0] * 16}}
    for wrong, problem in (
        ("{", "not valid JSON"),
        ("{}", "no file of mean vectors"),
        (json.dumps({**good, "means": {"de": "x"}}), "no file of mean vectors"),
        (json.dumps({**good, "encoder": "other"}), "is for the encoder 'other', expected 'hash/1'"),
        (json.dumps({**good, "means": {"de": [0.0]}}), "expected means of 16 finite numbers"),
        (json.dumps({**good, "other": [math.nan] * 16}), "expected means of 16 finite numbers"),
    ):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(DataError, match=problem):
            dense(terminology, **settings)
    path.write_text(json.dumps(good), encoding="utf-8")
    dense(terminology, **settings)


def test_bad_settings(terminology, tmp_path):
    for wrong, problem in (
        ({"scale": [0.9, 0.2]}, "low end first"),
        ({"scale": [0.5, 0.5]}, "low end first"),
        ({"scale": [0.5, math.inf]}, "finite"),
        ({"means": "x.json"}, "are for center: language"),
        ({"hubness": {"neighbours": 0}}, "greater than or equal to 1"),
        ({"hubness": {"strength": -1}}, "greater than or equal to 0"),
        ({"center": "lang"}, "'none', 'language' or 'all'"),
    ):
        with pytest.raises(ValueError, match=problem):
            dense(terminology, **wrong)
    plain = dense(terminology)
    plain.save(tmp_path)
    for other in ({"hubness": {"neighbours": 2}}, {"center": "all"}):
        config = dense(terminology, **other).config
        with pytest.raises(ArtifactError, match="--overwrite"):
            type(plain).load(config, terminology, tmp_path)


def test_stand_ins_are_translations_first_and_drawn_with_a_seed(terminology, monkeypatch):
    langs = np.array(terminology.names.column("lang").to_pylist())
    translated = np.flatnonzero(langs != "en")
    monkeypatch.setattr(_vectors, "STAND_INS", len(translated) - 2)
    some = _vectors._stand_ins(terminology)
    assert set(some) < set(translated)
    np.testing.assert_array_equal(some, _vectors._stand_ins(terminology))
    monkeypatch.setattr(_vectors, "STAND_INS", len(translated) + 3)
    more = _vectors._stand_ins(terminology)
    assert set(translated) < set(more)
    assert len(more) == len(translated) + 3


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("scale", [[-1.0, 1.0], [0.5, 1.0], [0.97, 1.0]])
def test_names_are_fetched_until_there_are_enough_concepts_or_no_more_matches(scale, tmp_path):
    """One concept has hundreds of names that are nearer than all others; many concepts are called the same."""
    path = tmp_path / "names.jsonl"
    hub = [{"name": f"abcd{'e' * (i % 20)}{'abcd'[i % 4]}{i}", "lang": "en", "scope": "exact"} for i in range(400)]
    lines = [{"id": "T:000", "name": "abcd", "synonyms": hub}]
    lines += [{"id": f"T:{i:03}", "name": "abcdxyz" if i % 2 else f"qrst{i}"} for i in range(1, 60)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    generator = dense(terminology, scale=scale, hubness={"neighbours": 5})
    everything = np.arange(60, dtype=np.int32)[None]
    whole = np.ones(terminology.n_names, bool)
    for mask in (whole, terminology.name_concept % 3 != 1, np.arange(terminology.n_names) % 2 == 0):
        part = generator.restrict(Allowed(terminology, mask))
        scores, _ = part.score([Mention("abcd")], everything)
        rated = [(-s, c) for c, s in enumerate(scores[0].tolist()) if s > (0 if scale[0] >= 0 else -math.inf)]
        for k in (2, 20, 60):
            found = part.generate([Mention("abcd")], k)
            wanted = [c for _, c in sorted(rated)][:k]
            assert found.concepts[0].tolist() == wanted + [-1] * (k - len(wanted))
