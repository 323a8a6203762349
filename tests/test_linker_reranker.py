"""A reranker in the linker: its place among the stages, what it sees, and that no index depends on it. No torch."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import xnorm
from xnorm.config import validate
from xnorm.errors import ConfigError, XnormError
from xnorm.linker import BATCH, LinkCounts, Linker, LinkerConfig
from xnorm.linking import find_or_build, open_linker
from xnorm.reranking.base import Reranker, RerankerConfig
from xnorm.types import Mention

RULES = {"type": "rules", "rules": ["exact", "language"]}
SPY = {"type": "test_linker_reranker:SpyReranker"}


class SpyConfig(RerankerConfig):
    type: str = "test_linker_reranker:SpyReranker"
    nil_word: str = "nothing"


class SpyReranker(Reranker):
    """Puts the concepts that the context names first; NIL where it says "nothing". Remembers what it saw."""

    config_class = SpyConfig

    def __init__(self, config, terminology):
        self.config, self.terminology, self.seen = config, terminology, []

    @classmethod
    def load(cls, config, terminology):
        return cls(config, terminology)

    def score(self, mentions, candidates, wanted):
        self.seen += mentions
        out = np.zeros(candidates.concepts.shape, np.float32)
        ids = self.terminology.concepts.column("id").to_pylist()
        for i, mention in enumerate(mentions):
            named = re.findall(r"T:\d+", f"{mention.left} {mention.right}")
            for j in np.flatnonzero(wanted[i]):
                out[i, j] = 0.9 if ids[candidates.concepts[i, j]] in named else 0.1
            if self.config.nil_word in mention.right:
                out[i, 0] = np.nan
        return out


@pytest.fixture
def with_reranker(config):
    def make(reranker=SPY, **keys):
        return Linker.build({**config, "reranker": reranker, **keys})

    return make


def ids(ranking):
    return [c.concept_id for c in ranking]


def same(a, b):
    for name in ("concepts", "scores", "names"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


MENTIONS = [
    Mention("cold", right=" as in T:006"),
    Mention("cold", right=" as in T:005"),
    Mention("  \u200b "),
    Mention("Herzinsuffizienz", lang="de"),
    Mention("cold", right=" is nothing"),
    Mention("cold"),
    Mention("cold", lang="ja", left="T:006 "),
]


def test_the_stages_end_with_the_reranker_and_are_what_link_gives(config, with_reranker):
    linker = with_reranker(RULES)
    plain = Linker.build(config)
    steps = linker.stages(MENTIONS, 5)
    assert list(steps) == ["exact", "tfidf", "dense", "ensemble", "reranker"]
    same(steps["ensemble"], plain.stages(MENTIONS, 5)["ensemble"])
    same(steps["reranker"], linker.candidates(MENTIONS, 5))
    assert [ids(r) for r in linker.link(MENTIONS, top_k=5)] == [ids(r) for r in linker.views(steps["reranker"])]
    # the same concepts in another order
    np.testing.assert_array_equal(np.sort(steps["ensemble"].concepts), np.sort(steps["reranker"].concepts))
    assert isinstance(linker.reranker, Reranker)
    assert plain.reranker is None


def test_the_threshold_is_of_the_new_scores(with_reranker):
    linker = with_reranker(decision={"threshold": 0.5})
    steps = linker.stages(MENTIONS, 5)
    assert list(steps)[-2:] == ["reranker", "threshold"]
    assert [ids(r) for r in linker.link(MENTIONS, top_k=5)] == [["T:006"], ["T:005"], [], [], [], [], ["T:006"]]
    assert steps["reranker"].sizes().tolist() == [5, 5, 0, 5, 0, 5, 5]
    assert linker.link(MENTIONS[:1], top_k=5)[0][0].score == pytest.approx(0.9)


def test_equal_texts_with_other_contexts_are_ranked_each_by_its_own(with_reranker):
    linker = with_reranker()
    together = linker.link(MENTIONS, top_k=4)
    assert [r[0].concept_id if len(r) else None for r in together[:2]] == ["T:006", "T:005"]
    assert ids(together[5]) == ids(linker.link(["cold"], top_k=4)[0])
    for order in (list(range(len(MENTIONS)))[::-1], [3, 0, 6, 2, 5, 1, 4]):
        for i, ranking in zip(order, linker.link([MENTIONS[i] for i in order], top_k=4), strict=True):
            assert ids(ranking) == ids(together[i])
            assert [c.score for c in ranking] == [c.score for c in together[i]]
    for i, mention in enumerate(MENTIONS):
        assert ids(linker.link([mention], top_k=4)[0]) == ids(together[i])


def test_the_candidates_of_one_mention_do_not_change_with_those_of_its_twin(with_reranker):
    # NIL of one must not empty the shared row of the other
    linker = with_reranker()
    nil, kept = linker.link([MENTIONS[4], MENTIONS[5]], top_k=3)
    assert nil.is_nil
    assert len(kept) == 3
    assert all(c.members["exact"] for c in kept)


def test_the_reranker_sees_all_of_a_mention_and_its_text_cleaned(with_reranker):
    linker = with_reranker(max_chars=6)
    own = Mention("  co\u200bld\n ", id="m1", lang="en", types=("T047",), left="a ", right=" b", document="d")
    long = Mention("heart failure", gold=("T:001",), right=" c")
    counts = LinkCounts()
    linker.link([own, Mention(""), long], top_k=3, lang="de", counts=counts)
    seen = linker.reranker.seen
    assert seen[0] == replace(own, text=xnorm.text.clean(own.text))
    assert seen[-1] == replace(long, text="heart ", lang="de")
    assert (counts.mentions, counts.empty, counts.cut, counts.nil) == (3, 1, 1, 1)


def test_nil_of_the_reranker_is_counted(with_reranker):
    counts = LinkCounts()
    rankings = with_reranker().link(MENTIONS, top_k=2, counts=counts)
    assert [r.is_nil for r in rankings] == [False, False, True, False, True, False, False]
    assert (counts.mentions, counts.empty, counts.nil) == (7, 1, 2)


@pytest.mark.parametrize("reranker", [RULES, SPY])
@pytest.mark.parametrize("mentions", [[], [""], ["", "\t", "\u200b"]])
def test_nothing_but_empty_mentions(with_reranker, reranker, mentions):
    linker = with_reranker(reranker, decision={"threshold": 0.0})
    found = [Mention(m) for m in mentions]
    assert [len(r) for r in linker.link(found, top_k=3)] == [0] * len(mentions)
    steps = linker.stages(found, 3)
    assert list(steps)[-2:] == ["reranker", "threshold"]
    assert all(step.concepts.shape == (len(mentions), 3) for step in steps.values())


def test_batches_give_what_one_mention_at_a_time_gives(with_reranker):
    linker = with_reranker()
    rng = np.random.default_rng(0)
    many = [MENTIONS[i] for i in rng.integers(0, len(MENTIONS), BATCH + 37)]
    many[BATCH - 1 : BATCH + 1] = [MENTIONS[2], MENTIONS[2]]
    alone = {m: ids(linker.link([m], top_k=3)[0]) for m in MENTIONS}
    found = linker.link(many, top_k=3)
    assert [ids(r) for r in found] == [alone[m] for m in many]
    assert [len(b) for b, _ in linker.batches(iter(many), top_k=3)] == [BATCH, 37]


@pytest.mark.parametrize("k", [1, 2, 1000])
def test_any_number_of_candidates(with_reranker, k):
    linker = with_reranker()
    ranking = linker.link([MENTIONS[0]], top_k=k)[0]
    assert len(ranking) == min(k, 12)
    scores = [c.score for c in ranking]
    assert scores == sorted(scores, reverse=True)


def test_top_leaves_those_below_below(with_reranker):
    far = Mention("cold", right=" " + " ".join(f"T:{i:03}" for i in range(1, 13) if i not in (5, 6)))
    before = ids(with_reranker({**SPY, "top": 1}).link([far], top_k=12)[0])
    assert before[:2] == ["T:005", "T:006"]
    after = ids(with_reranker({**SPY, "top": 3}).link([far], top_k=12)[0])
    assert after == [before[2], *before[:2], *before[3:]]


# --- the index folder ---------------------------------------------------------------------------------------------


def test_save_and_load_keep_the_reranker(with_reranker, tmp_path):
    linker = with_reranker({**RULES, "top": 7, "margin": 0.4}, decision={"threshold": 0.01})
    linker.save(tmp_path / "index")
    again = Linker.load(tmp_path / "index")
    assert again.config == linker.config
    assert again.config.reranker.margin == 0.4
    same(again.candidates(MENTIONS, 6), linker.candidates(MENTIONS, 6))
    none = Linker.load(tmp_path / "index", overrides={"reranker": None})
    assert list(none.stages(MENTIONS, 3))[-2:] == ["ensemble", "threshold"]
    other = Linker.load(tmp_path / "index", overrides={"reranker": SPY})
    assert isinstance(other.reranker, SpyReranker)
    assert json.loads((tmp_path / "index" / "manifest.json").read_text())["config"]["reranker"]["top"] == 7


def test_an_index_is_not_built_again_for_another_reranker_or_threshold(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def ask(**keys):
        settings = validate(LinkerConfig, {**config, **keys}, where="test")
        said = []
        linker = find_or_build(settings, say=said.append)
        assert said == []
        return linker, (tmp_path / "index" / "tiny" / "manifest.json").stat().st_mtime_ns

    linker, first = ask()
    assert list(linker.stages(MENTIONS, 3))[-1] == "ensemble"
    for keys in (
        {"reranker": RULES},
        {"reranker": {**RULES, "top": 2}},
        {"reranker": SPY, "decision": {"threshold": 0.5}},
        {"decision": {"threshold": 0.5}, "max_chars": 9},
    ):
        linker, built = ask(**keys)
        assert built == first
        assert linker.config == validate(LinkerConfig, {**config, **keys}, where="test")
        assert list(linker.stages(MENTIONS, 3))[4:] == [
            *(["reranker"] if "reranker" in keys else []), *(["threshold"] if "decision" in keys else [])
        ]  # fmt: skip
    assert [p.name for p in (tmp_path / "index").iterdir()] == ["tiny"]


def test_an_index_that_was_built_with_a_reranker_serves_a_config_without(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Linker.build({**config, "reranker": RULES}).save(tmp_path / "index" / "tiny")
    (tmp_path / "tiny.yaml").write_text(json.dumps(config))
    assert open_linker("tiny.yaml").reranker is None
    (tmp_path / "tiny.yaml").write_text(json.dumps({**config, "reranker": SPY}))
    linker = open_linker("tiny.yaml", threshold=0.5)
    assert ids(linker.link(MENTIONS[:1])[0]) == ["T:006"]
    assert open_linker("index/tiny").reranker is not None


@pytest.mark.parametrize(
    ("reranker", "message"),
    [
        ({"type": "ruels"}, "reranker.*'ruels'.*rules"),
        ({"rules": ["exact"]}, "reranker: expected a mapping with a 'type'"),
        ({"type": "rules", "rules": ["exact"], "topp": 3}, "unknown key 'topp'; did you mean 'top'"),
        ({"type": "rules", "rules": [{"rule": "type"}]}, "have no types"),
        ({"type": "cross_encoder"}, "expected either path or model"),
        ({"type": "cross_encoder", "path": "a", "model": "b"}, "expected either path or model"),
        ({"type": "cross_encoder", "path": "a", "pairs": {}}, "pairs and revision go with model"),
        ({"type": "cross_encoder", "path": "no/such"}, r"no/such: no such reranker; `xnorm train"),
    ],
)
def test_rerankers_that_are_refused(config, reranker, message):
    with pytest.raises(XnormError, match=message) as e:
        Linker.build({**config, "reranker": reranker})
    assert "\n" not in str(e.value)


def test_code_of_strangers_in_a_saved_reranker_is_refused(with_reranker, tmp_path, monkeypatch):
    import sys

    with_reranker().save(tmp_path / "index")
    monkeypatch.delitem(sys.modules, "test_linker_reranker")
    with pytest.raises(XnormError, match=r"asks for the code of 'test_linker_reranker:SpyReranker'.*--trust"):
        Linker.load(tmp_path / "index")


def test_a_bad_k_is_refused_before_the_reranker(with_reranker):
    linker = with_reranker()
    with pytest.raises(ConfigError, match="top_k"):
        linker.link(["cold"], top_k=0)
    assert linker.reranker.seen == []
