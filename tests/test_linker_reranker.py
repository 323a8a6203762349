"""A reranker in the linker: its place among the stages, what it sees, and that no index depends on it. No torch."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import xnorm
from xnorm import artifact, bundle
from xnorm.artifact import open_folder, write_folder
from xnorm.cli import app
from xnorm.config import validate
from xnorm.errors import ArtifactError, ConfigError, XnormError
from xnorm.linker import BATCH, LinkCounts, Linker, LinkerConfig
from xnorm.linking import describe, find_or_build, job_key, open_linker
from xnorm.reranking import cross_encoder, onnx
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


@pytest.mark.parametrize("k", [1, 2, 3])
def test_fewer_candidates_are_the_first_of_more(with_reranker, k):
    linker = with_reranker()
    whole = linker.link(MENTIONS, top_k=64)
    for few, many in zip(linker.link(MENTIONS, top_k=k), whole, strict=True):
        assert [(c.concept_id, c.score) for c in few] == [(c.concept_id, c.score) for c in many][:k]
    steps = linker.stages(MENTIONS, k)
    assert {step.concepts.shape[1] for step in steps.values()} == {k}


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
    with_reranker().save(tmp_path / "index")
    monkeypatch.delitem(sys.modules, "test_linker_reranker")
    with pytest.raises(XnormError, match=r"asks for the code of 'test_linker_reranker:SpyReranker'.*--trust"):
        Linker.load(tmp_path / "index")


def test_a_bad_k_is_refused_before_the_reranker(with_reranker):
    linker = with_reranker()
    with pytest.raises(ConfigError, match="top_k"):
        linker.link(["cold"], top_k=0)
    assert linker.reranker.seen == []


# --- a model folder in the index folder -----------------------------------------------------------------------------


CARD = {"temperature": 1.5, "calibration": {"temperature": 1.5}, "max_length": 48, "pad_id": 0, "inputs": ["input_ids"]}


def write_model(path, kind="reranker", context=16, name="mine", **about):
    """Write a folder that can be opened as a reranker, though not asked: `context` tells it from others."""
    files = ["model/config.json", "model/model.safetensors"] if kind == "reranker" else ["model.onnx", "tokenizer.json"]
    head = {"name": name, "about": "pets"} if kind == "reranker" else {"source": {"name": name, "about": "pets"}}
    with write_folder(path, kind=kind, about={**head, **CARD, "pairs": {"context": context}, **about}) as folder:
        for file in files:
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(f"{file} of {name} with {context}")
    return path


def put(model, index):
    shutil.copytree(model, index / "reranker")


def which(linker):
    """Return what a linker's reranker is: type, what tells its model, and where that is."""
    if linker.reranker is None:
        return None
    config, own = linker.config.reranker, linker.reranker
    pairs = own.card.pairs if config.type == "onnx" else own.pairs
    return config.type, pairs.context, str(config.path)


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / "models" / "mine")


@pytest.fixture
def model_of_another(tmp_path):
    return write_model(tmp_path / "models" / "other", context=32, name="other")


@pytest.fixture
def plain(config, tmp_path):
    """An index folder without a reranker."""
    Linker.build(config).save(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def packed(config, model, tmp_path):
    """An index folder that was saved with a reranker whose model is not there any more, at another place."""
    settings = {"type": "cross_encoder", "path": str(model), "top": 9, "nil": False, "device": "cpu"}
    Linker.build({**config, "reranker": settings}).save(tmp_path / "saved")
    shutil.rmtree(model)
    return (tmp_path / "saved").rename(tmp_path / "moved")


def fails(call, *words):
    """Check that a call fails with one line that has these words."""
    with pytest.raises(XnormError) as e:
        call()
    assert "\n" not in str(e.value)
    for word in words:
        assert str(word) in str(e.value), str(e.value)
    return True


def test_the_kinds_are_those_of_the_rerankers():
    assert {cross_encoder.KIND: "cross_encoder", onnx.KIND: "onnx"} == bundle.TYPES


def test_a_moved_index_has_its_reranker_with_it(packed, tmp_path, monkeypatch):
    linker = Linker.load(packed, verify=True)
    assert which(linker) == ("cross_encoder", 16, str(packed / "reranker"))
    kept = linker.config.reranker
    assert (kept.top, kept.nil, kept.device) == (9, False, "cpu")
    manifest = open_folder(packed, kind="index", verify=True)
    assert not [name for name in manifest["files"] if name.startswith("reranker")]
    assert manifest["config"]["reranker"]["path"] == str(tmp_path / "models" / "mine")
    # a relative path outlives a change of the folder; an open linker can be saved elsewhere, and over itself
    monkeypatch.chdir(tmp_path)
    linker = Linker.load("moved")
    monkeypatch.chdir("/")
    linker.save(tmp_path / "again")
    linker.save(packed, overwrite=True)
    for folder in (packed, tmp_path / "again"):
        assert which(Linker.load(folder, verify=True)) == ("cross_encoder", 16, str(folder / "reranker"))


def test_each_reranker_of_an_index_by_every_way_to_name_one(packed, model_of_another, config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "index").mkdir()
    packed.rename("index/tiny")
    there = str(tmp_path / "index" / "tiny" / "reranker")
    other = {"type": "cross_encoder", "path": str(model_of_another)}
    relative = {"type": "cross_encoder", "path": "index/tiny/reranker"}
    for overrides, found in (
        (None, ("cross_encoder", 16, there)),
        ({}, ("cross_encoder", 16, there)),
        ({"decision": {"threshold": 0.1}}, ("cross_encoder", 16, there)),
        ({"reranker": None}, None),
        ({"reranker": other}, ("cross_encoder", 32, str(model_of_another))),
        ({"reranker": relative}, ("cross_encoder", 16, "index/tiny/reranker")),
    ):
        linker = Linker.load("index/tiny", overrides=overrides)
        assert which(linker) == found
        assert linker.config.decision.threshold == (0.1 if overrides and "decision" in overrides else None)
    assert isinstance(Linker.load("index/tiny", overrides={"reranker": RULES}).reranker, Reranker)
    assert fails(lambda: Linker.load("index/tiny", overrides={"reranker": {**other, "path": "no"}}), "no: no such")
    assert which(open_linker("index/tiny")) == which(open_linker("index/tiny", threshold=0.5)) == (
        "cross_encoder", 16, there,
    )  # fmt: skip
    # a config decides by itself, relative to its file, and nothing is built again
    built = Path("index/tiny/manifest.json").stat().st_mtime_ns
    (tmp_path / "configs").mkdir()
    for reranker, found in (
        (None, None),
        ({"type": "cross_encoder", "path": "../models/other"}, ("cross_encoder", 32, str(model_of_another))),
        ({"type": "cross_encoder", "path": "../index/tiny/reranker"}, ("cross_encoder", 16, there)),
    ):
        Path("configs/tiny.yaml").write_text(json.dumps({**config, "reranker": reranker}))
        assert which(open_linker("configs/tiny.yaml")) == found
        assert which(find_or_build(LinkerConfig.read("configs/tiny.yaml"))) == found
    assert Path("index/tiny/manifest.json").stat().st_mtime_ns == built


def test_what_builds_an_index_copies_the_reranker_into_it(config, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"type": "cross_encoder", "path": "models/mine"}
    (tmp_path / "tiny.yaml").write_text(json.dumps({**config, "reranker": settings}))
    run = CliRunner().invoke(app, ["index", "tiny.yaml", "--output", "by-index"])
    assert run.exit_code == 0, run.output
    assert describe("by-index")["reranker"]["from"] == f"{model}, copied with the index"
    assert which(open_linker("tiny.yaml")) == ("cross_encoder", 16, str(model))
    Path("index/tiny").rename("by-link")
    find_or_build(LinkerConfig.read("tiny.yaml"))
    shutil.rmtree(model)
    for folder in ("by-index", "by-link", "index/tiny"):
        assert which(Linker.load(folder)) == ("cross_encoder", 16, str(tmp_path / folder / "reranker"))


@pytest.mark.parametrize("kind", ["reranker", "reranker-onnx"])
def test_a_model_that_is_put_into_an_index_is_used(plain, tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Linker.load("plain").reranker is None
    put(write_model(tmp_path / "models" / "mine", kind), plain)
    linker = Linker.load("plain")
    assert which(linker) == (bundle.TYPES[kind], 16, str(plain / "reranker"))
    assert (linker.config.reranker.top, linker.reranker.usual_top) == (None, 64)
    assert Linker.load("plain", overrides={"reranker": None}).reranker is None
    about = describe(plain)["reranker"]
    assert (about["name"], about["kind"], about["about"]) == ("mine", kind, "pets")
    text = CliRunner().invoke(app, ["info", "plain"]).output
    assert f"{bundle.TYPES[kind]} mine (plain/reranker, put there later; pets)" in text
    linker.save(tmp_path / "packed")
    assert which(Linker.load(tmp_path / "packed", verify=True))[:2] == which(linker)[:2]


def test_a_model_that_replaces_another_is_used_as_its_kind_says(packed, tmp_path):
    shutil.rmtree(packed / "reranker")
    put(write_model(tmp_path / "other", "reranker-onnx", context=32), packed)
    linker = Linker.load(packed, verify=True)
    assert which(linker) == ("onnx", 32, str(packed / "reranker"))
    assert (linker.config.reranker.top, linker.config.reranker.nil) == (9, True)
    # one of the same kind: what was set for the old model, but for `top`, is not for the new one
    shutil.rmtree(packed / "reranker")
    put(write_model(tmp_path / "third", context=64), packed)
    linker = Linker.load(packed, verify=True)
    assert which(linker) == ("cross_encoder", 64, str(packed / "reranker"))
    assert (linker.config.reranker.top, linker.config.reranker.nil, linker.config.reranker.device) == (9, True, "auto")
    assert "put there later" in describe(packed)["reranker"]["from"]


def test_a_model_put_into_an_index_with_rules_takes_their_place(with_reranker, model, tmp_path):
    with_reranker({**RULES, "top": 5, "margin": 0.5}).save(tmp_path / "index")
    assert describe(tmp_path / "index")["reranker"]["type"] == "rules"
    assert not (tmp_path / "index" / "reranker").exists()
    put(model, tmp_path / "index")
    kept = Linker.load(tmp_path / "index").config.reranker
    assert (kept.type, kept.top, kept.margin) == ("cross_encoder", 5, 0.5)


def test_a_reranker_of_ones_own_keeps_its_path(config, tmp_path):
    (tmp_path / "file").write_text("a list of words")
    own = {"type": "test_linker_reranker:PathReranker", "path": str(tmp_path / "file")}
    Linker.build({**config, "reranker": own}).save(tmp_path / "index")
    assert not (tmp_path / "index" / "reranker").exists()
    (tmp_path / "file").unlink()
    assert Linker.load(tmp_path / "index").config.reranker.path == str(tmp_path / "file")
    assert describe(tmp_path / "index")["reranker"]["from"] == str(tmp_path / "file")


class PathConfig(SpyConfig):
    type: str = "test_linker_reranker:PathReranker"
    path: str


class PathReranker(SpyReranker):
    config_class = PathConfig


def test_an_index_whose_reranker_is_nowhere_says_what_to_do(packed, tmp_path):
    shutil.rmtree(packed / "reranker")
    gone = tmp_path / "models" / "mine"
    for call in (lambda: Linker.load(packed), lambda: open_linker(packed)):
        assert fails(call, f"{packed}: its reranker {gone} is not there", f"to {packed / 'reranker'}", "overrides=")
    run = CliRunner().invoke(app, ["link", str(packed), "--text", "cold"])
    assert (run.exit_code, run.stdout, len(run.stderr.splitlines())) == (2, "", 1)
    assert Linker.load(packed, overrides={"reranker": None}).reranker is None
    assert describe(packed)["reranker"]["from"] == f"{gone}, which is not there"
    assert "which is not there" in CliRunner().invoke(app, ["info", str(packed)]).output
    # an index of an older xnorm: the path of its config, as ever
    write_model(gone, context=8)
    assert which(Linker.load(packed)) == ("cross_encoder", 8, str(gone))


def _without_manifest(inner):
    (inner / "manifest.json").unlink()


def _edited_manifest(inner):
    text = (inner / "manifest.json").read_text()
    (inner / "manifest.json").write_text(text.replace('"pets"', '"cats"'))


def _shorter(inner):
    (inner / "model" / "model.safetensors").write_text("")


def _other_bytes(inner):
    file = inner / "model" / "model.safetensors"
    file.write_bytes(file.read_bytes()[::-1])


def _file_less(inner):
    (inner / "model" / "config.json").unlink()


def _another_kind(inner):
    shutil.rmtree(inner)
    with write_folder(inner, kind="encoder", about={}) as folder:
        (folder / "model.onnx").write_text("x")


def _a_file(inner):
    shutil.rmtree(inner)
    inner.write_text("models/mine")


def _a_link_to_nothing(inner):
    shutil.rmtree(inner)
    inner.symlink_to(inner.parent / "nothing")


def _empty(inner):
    shutil.rmtree(inner)
    inner.mkdir()


def _a_copy_inside(inner):
    shutil.copytree(inner, inner.parent / "mine")
    shutil.move(inner.parent / "mine", inner / "mine")


def _a_file_outside(inner):
    manifest = json.loads((inner / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["files"]["../../secret"] = {"bytes": 1, "sha256": "0" * 64}
    (inner / "manifest.json").write_text(json.dumps({**manifest, "sha256": artifact._digest(manifest)}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without_manifest, "no folder with a readable manifest"),
        (_edited_manifest, "its manifest.json is damaged"),
        (_shorter, "model/model.safetensors has 0 bytes"),
        (_other_bytes, "model/model.safetensors is damaged"),
        (_file_less, "model/config.json is missing"),
        (_another_kind, "a folder of kind encoder"),
        (_a_file, "no folder with a readable manifest"),
        (_a_link_to_nothing, "no folder with a readable manifest"),
        (_empty, "no folder with a readable manifest"),
        (_a_copy_inside, "reranker/mine: was copied into another model folder"),
        (_a_file_outside, "a file outside of it"),
    ],
)
def test_a_damaged_reranker_in_an_index_is_refused(packed, damage, message):
    damage(packed / "reranker")
    assert fails(lambda: Linker.load(packed), packed / "reranker", message)
    assert fails(lambda: Linker.load(packed, verify=True), message)
    assert fails(lambda: describe(packed), message)
    run = CliRunner().invoke(app, ["info", str(packed)])
    assert (run.exit_code, len(run.stderr.splitlines())) == (2, 1)
    assert Linker.load(packed, overrides={"reranker": None}).reranker is None  # which is not looked at


def test_links_in_a_model_folder_become_files(config, tmp_path):
    # as the cache of the hub has them
    model = write_model(tmp_path / "models" / "mine")
    blob = (model / "model" / "model.safetensors").rename(tmp_path / "blob")
    (model / "model" / "model.safetensors").symlink_to(blob)
    (model / "stray").symlink_to("/")
    (tmp_path / "linked").symlink_to(model)
    settings = {"type": "cross_encoder", "path": str(tmp_path / "linked")}
    Linker.build({**config, "reranker": settings}).save(tmp_path / "i")
    blob.unlink()
    shutil.rmtree(model)
    inner = tmp_path / "i" / "reranker"
    assert not [p for p in inner.rglob("*") if p.is_symlink()]
    assert not (inner / "stray").exists()
    assert which(Linker.load(tmp_path / "i", verify=True)) == ("cross_encoder", 16, str(inner))


def test_a_link_in_place_of_the_folder_is_followed(plain, model):
    (plain / "reranker").symlink_to(model)
    assert which(Linker.load(plain, verify=True)) == ("cross_encoder", 16, str(plain / "reranker"))


def test_a_model_that_is_gone_or_damaged_when_the_index_is_saved(config, model, tmp_path, monkeypatch):
    linker = Linker.build({**config, "reranker": {"type": "cross_encoder", "path": str(model)}})
    linker.save(tmp_path / "index")
    before = (tmp_path / "index" / "manifest.json").read_bytes()
    _other_bytes(model)
    monkeypatch.setattr(artifact, "VERIFY_UP_TO", 0)  # as it is for large files
    save = lambda: linker.save(tmp_path / "index", overwrite=True)  # noqa: E731
    assert fails(save, f"{model}: cannot be copied into the index: it is damaged")
    shutil.rmtree(model)
    assert fails(save, f"{model}: no such reranker")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index", "models", "tiny.jsonl"]
    assert (tmp_path / "index" / "manifest.json").read_bytes() == before
    assert which(Linker.load(tmp_path / "index", verify=True))[:2] == ("cross_encoder", 16)


KILLED = """
import os, sys
from xnorm import Linker, bundle, artifact
at = sys.argv[2]
module = {"copyfile": bundle.shutil, "_write_manifest": artifact, "_swap": artifact}[at]
real, calls = getattr(module, at), []
def dying(*args, **kwargs):
    calls.append(1)
    if len(calls) == (2 if at == "copyfile" else 1):
        os._exit(9)
    return real(*args, **kwargs)
linker = Linker.load(sys.argv[1], trust=True)
setattr(module, at, dying)
linker.save(sys.argv[1], overwrite=True)
"""


@pytest.mark.parametrize("at", ["copyfile", "_write_manifest", "_swap"])
def test_a_kill_while_the_reranker_is_copied_leaves_the_old_index(packed, at):
    before = {p: p.read_bytes() for p in packed.rglob("*") if p.is_file()}
    here = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    run = subprocess.run([sys.executable, "-c", KILLED, str(packed), at], env=here, check=False)
    assert run.returncode == 9
    assert {p: p.read_bytes() for p in packed.rglob("*") if p.is_file()} == before
    linker = Linker.load(packed, verify=True)
    assert which(linker)[:2] == ("cross_encoder", 16)
    linker.save(packed, overwrite=True)
    assert [p.name for p in packed.parent.glob(".*")] == []


def test_a_kill_between_the_two_renames_of_the_inner_folder_is_undone(packed):
    # as `xnorm train --output INDEX/reranker --overwrite` leaves it
    (packed / "reranker").rename(packed / ".reranker.old")
    assert which(Linker.load(packed))[:2] == ("cross_encoder", 16)


def test_a_model_of_another_training_is_another_job(packed, tmp_path):
    (tmp_path / "notes.txt").write_text("cold\n")
    first = job_key(Linker.load(packed), tmp_path / "notes.txt")
    assert first == job_key(Linker.load(packed), tmp_path / "notes.txt")
    shutil.rmtree(packed / "reranker")
    put(write_model(tmp_path / "other", name="other"), packed)
    second = job_key(Linker.load(packed), tmp_path / "notes.txt")
    shutil.rmtree(packed / "reranker")
    put(write_model(tmp_path / "third", name="third"), packed)
    assert len({first, second, job_key(Linker.load(packed), tmp_path / "notes.txt")}) == 3


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_transformer_in_a_moved_index_ranks_as_before(config, tmp_path):
    tiny = pytest.importorskip("tiny_transformers", reason="needs the extra torch", exc_type=ImportError)
    from test_reranking_cross_encoder import write_model as write_transformer

    about = {**CARD, "pairs": {"layout": "xmen"}, "name": "tiny"}
    pairs = xnorm.pairs.PairsConfig(layout="xmen")
    with write_folder(tmp_path / "model", kind="reranker", about=about) as folder:
        write_transformer(folder / "model", pairs=pairs)
    settings = {"type": "cross_encoder", "path": str(tmp_path / "model"), "device": "cpu", "top": 5}
    linker = Linker.build({**config, "reranker": settings})
    tiny.torch.set_num_threads(1)
    linker.save(tmp_path / "saved")
    found = linker.candidates(MENTIONS, 6)
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "saved").rename(tmp_path / "moved")
    same(Linker.load(tmp_path / "moved").candidates(MENTIONS, 6), found)


@pytest.mark.parametrize("stale", [False, True])  # the second: another index of that name is there, to be renewed
@pytest.mark.parametrize("when", ["while it is built", "while it is written"])
def test_two_processes_that_build_one_index(config, tmp_path, monkeypatch, stale, when):
    monkeypatch.chdir(tmp_path)
    settings = validate(LinkerConfig, config, where="test")
    if stale:
        Linker.build({**config, "candidates": {"type": "exact"}}).save("index/tiny")
        find_or_build(settings)
        folder = next(Path("index").glob("tiny-*"))
        shutil.rmtree(folder)
    else:
        folder = Path("index/tiny")
    real, built = {"build": Linker.build, "save": Linker.save}, []

    def build(own, **keys):
        linker = real["build"](own, **keys)
        if when == "while it is built":
            real["save"](linker, folder)
            built.append((folder / "manifest.json").stat().st_ino)
        return linker

    def save(self, path, **keys):
        if not built:
            real["save"](self, folder)
            built.append((folder / "manifest.json").stat().st_ino)
            raise ArtifactError(f"{path}: cannot be written: Directory not empty; nothing was changed")
        return real["save"](self, path, **keys)

    monkeypatch.setattr(Linker, "build", build)
    monkeypatch.setattr(Linker, "save", save)
    assert ids(find_or_build(settings).link(["cold"])[0])
    assert built == [(folder / "manifest.json").stat().st_ino]


def test_an_index_that_cannot_be_written_is_an_error(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def save(self, path, **keys):
        raise ArtifactError(f"{path}: cannot be written: No space left on device; nothing was changed")

    monkeypatch.setattr(Linker, "save", save)
    with pytest.raises(ArtifactError, match="No space left"):
        find_or_build(validate(LinkerConfig, config, where="test"))
