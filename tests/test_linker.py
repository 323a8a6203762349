"""The linker: built, saved, loaded, asked, through the public names."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import xnorm
from xnorm.linker import LinkCounts
from xnorm.linking import describe


@pytest.fixture
def linker(config):
    return xnorm.Linker.build(config)


@pytest.fixture
def index(linker, tmp_path):
    linker.save(tmp_path / "index")
    return tmp_path / "index"


def test_link_gives_ranked_explained_candidates(linker):
    rankings = linker.link(["Herzinsuffizienz", "headache", "cold"], top_k=3)
    assert [r[0].concept_id for r in rankings] == ["T:001", "T:002", "T:005"]
    best = rankings[0][0]
    assert (best.name, best.matched_name, best.lang, best.source) == ("Heart failure", "Herzinsuffizienz", "de", "tiny")
    assert best.score == pytest.approx(1.0, abs=1e-6)
    assert set(best.members) == {"exact", "tfidf", "dense"}
    assert best.members["exact"] == xnorm.MemberScore(score=1.0, rank=1)
    for ranking in rankings:
        scores = [c.score for c in ranking]
        assert len(ranking) == 3
        assert scores == sorted(scores, reverse=True)
        assert len({c.concept_id for c in ranking}) == 3


def test_a_ranking_is_a_sequence(linker):
    ranking = linker.link(["cold"], top_k=4)[0]
    assert [c.concept_id for c in ranking][:2] == ["T:005", "T:006"]
    assert [c.concept_id for c in ranking[:2]] == ["T:005", "T:006"]
    assert not ranking.is_nil
    assert "T:005" in repr(ranking)
    assert ranking.mention.text == "cold"


@pytest.mark.parametrize("empty", ["", "   ", "\t\n", "\x00\x07", "\u200b"])
def test_an_empty_mention_gets_an_empty_ranking_and_is_counted(linker, empty):
    counts = LinkCounts()
    rankings = linker.link(["headache", empty], top_k=2, counts=counts)
    assert len(rankings[1]) == 0
    assert rankings[1].is_nil
    assert (counts.mentions, counts.empty, counts.nil, counts.cut) == (2, 1, 1, 0)


def test_only_empty_mentions(linker):
    assert [len(r) for r in linker.link(["", " "], top_k=3)] == [0, 0]
    assert linker.link([]) == []


def test_a_mention_of_100_000_characters_is_cut_and_counted(linker):
    counts = LinkCounts()
    ranking = linker.link(["headache " * 11_112], top_k=2, counts=counts)[0]
    assert ranking[0].concept_id == "T:002"
    assert counts.cut == 1


def test_control_characters_do_not_matter(linker):
    assert linker.link(["head\x00ache\x1b", "head ache"], top_k=3)[0][0].score == pytest.approx(
        linker.link(["head ache"], top_k=3)[0][0].score
    )


@pytest.mark.parametrize("k", [0, -1])
def test_top_k_below_one_is_refused(linker, k):
    with pytest.raises(xnorm.ConfigError, match=f"top_k: expected 1 or more, found {k}"):
        linker.link(["headache"], top_k=k)


def test_a_bare_string_is_refused(linker):
    with pytest.raises(xnorm.ConfigError, match="expected a list of strings or Mention objects, found one string"):
        linker.link("headache")
    with pytest.raises(xnorm.ConfigError, match=r"expected 1 or more, found 2\.5"):
        linker.link(["headache"], top_k=2.5)


def test_top_k_beyond_the_terminology_is_all_of_it(linker):
    assert len(linker.link(["headache"], top_k=10_000)[0]) == len(linker.terminology)


def test_mention_objects_and_wrong_types(linker):
    mention = xnorm.Mention("headache", id="m1", left="complains of ")
    ranking = linker.link([mention], lang="en")[0]
    assert (ranking.mention.id, ranking.mention.lang) == ("m1", "en")
    with pytest.raises(xnorm.ConfigError, match="found int"):
        linker.link([3])


def test_equal_mentions_get_equal_rankings_whatever_the_batch(linker):
    many = linker.link(["headache", "cold"] * 1500, top_k=2)
    assert len(many) == 3000
    assert {tuple(c.concept_id for c in r) for r in many[::2]} == {tuple(c.concept_id for c in many[0])}


def test_threshold_makes_nil(config):
    linker = xnorm.Linker.build({**config, "decision": {"threshold": 0.9}})
    known, unknown = linker.link(["Headache", "zzz"], top_k=5)
    assert [c.concept_id for c in known] == ["T:002"]
    assert unknown.is_nil


def test_saved_and_loaded_it_links_the_same(linker, index):
    loaded = xnorm.Linker.load(index)
    mentions = ["Herzinsuffizienz", "mal de tete", "心不全", "anaemia", ""]
    for before, after in zip(linker.link(mentions, top_k=4), loaded.link(mentions, top_k=4), strict=True):
        assert list(before) == list(after)
    assert loaded.terminology.fingerprint == linker.terminology.fingerprint


def test_an_index_is_built_the_same_twice(config, tmp_path):
    for name in ("a", "b"):
        xnorm.Linker.build(config).save(tmp_path / name)
    files = [
        {p.relative_to(tmp_path / name): p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("a", "b")
    ]
    assert files[0] == files[1]


def test_no_pickle_in_an_index(index):
    files = [p for p in index.rglob("*") if p.is_file()]
    assert files
    assert not [p for p in files if p.suffix not in {".arrow", ".npy", ".faiss", ".json", ".yaml"}]
    for path in files:
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)


def test_a_flipped_byte_anywhere_is_refused(index):
    for path in sorted(p for p in index.rglob("*") if p.is_file()):
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        with pytest.raises(xnorm.ArtifactError, match=r"damaged|no readable manifest|format version|is what `xnorm"):
            xnorm.Linker.load(index)
        path.write_bytes(good)
    xnorm.Linker.load(index)


def test_a_missing_or_shortened_file_is_refused(index):
    path = index / "terminology" / "names.arrow"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(xnorm.ArtifactError, match=r"names.arrow has \d+ bytes, expected \d+"):
        xnorm.Linker.load(index)
    path.unlink()
    with pytest.raises(xnorm.ArtifactError, match=r"names.arrow is missing; build it again"):
        xnorm.Linker.load(index)


def test_another_format_version_is_refused(index):
    path = index / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**manifest, "format_version": 99}), encoding="utf-8")
    with pytest.raises(xnorm.ArtifactError, match=r"format version 99, this xnorm reads 1; build it again"):
        xnorm.Linker.load(index)


def test_another_encoder_is_refused(index):
    other = {"type": "dense", "encoder": {"type": "conftest:HashEncoder", "revision": "2"}}
    config = json.loads((index / "manifest.json").read_text(encoding="utf-8"))["config"]["candidates"]
    config["members"]["dense"] = other
    with pytest.raises(xnorm.ArtifactError, match="made with the encoder 'hash/1'"):
        xnorm.Linker.load(index, overrides={"candidates": config})


def test_not_an_index(tmp_path):
    with pytest.raises(xnorm.ArtifactError, match=r"no such index; `xnorm index CONFIG --output"):
        xnorm.Linker.load(tmp_path / "nothing")
    with pytest.raises(xnorm.ArtifactError, match="is no index written by xnorm"):
        xnorm.Linker.load(tmp_path)


def test_describe(index, linker):
    about = describe(index)
    assert about["concepts"] == 12
    assert about["names_by_lang"]["en"] == linker.terminology.n_names - about_others(about)
    assert about["names_by_scope"]["preferred"] == 12
    assert about["report"]["sources"][0]["source"] == "tiny"


def test_what_was_left_out_is_counted_in_the_index(config, tmp_path):
    config["terminology"]["filters"] = {"langs": ["en"]}
    xnorm.Linker.build(config).save(tmp_path / "english")
    about = describe(tmp_path / "english")
    assert list(about["names_by_lang"]) == ["en"]
    assert about["report"]["sources"][0]["skipped"] == {"name filtered out": 12}
    assert xnorm.Linker.load(tmp_path / "english").link(["Herzinsuffizienz"], top_k=1)[0][0].lang == "en"


def about_others(about):
    return sum(n for lang, n in about["names_by_lang"].items() if lang != "en")


def test_an_index_can_be_moved(index, tmp_path):
    shutil.move(index, tmp_path / "elsewhere")
    (tmp_path / "tiny.jsonl").unlink()
    assert xnorm.Linker.load(tmp_path / "elsewhere").link(["cold"])[0][0].concept_id == "T:005"
