"""Synthetic mentions: exact places in every sentence, the same every time, and never another concept's name."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml
from conftest import write_terminology

from xnorm.artifact import place_of
from xnorm.config import validate
from xnorm.corpora._templates import SHIPPED, read_templates
from xnorm.corpora.base import ReadReport
from xnorm.corpora.synthetic import SyntheticConfig, SyntheticReader, how_made
from xnorm.corpus import CorpusConfig, missing_files, read_corpus
from xnorm.errors import ConfigError, DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.text import fold, main_lang

ALL_CORRUPTED = {"typo": 0.5, "abbreviation": 0.2, "dropped_word": 0.1, "word_order": 0.1, "case": 0.1}


def make(source, **keys):
    config = validate(SyntheticConfig, {"type": "synthetic", "path": str(source), **keys}, where="test")
    report = ReadReport()
    return list(SyntheticReader(config).documents(report)), report


def mentions(source, **keys):
    return [m for d in make(source, **keys)[0] for m in d.mentions]


def concepts_file(path, *rows):
    """Concepts with names as (text, lang) or English texts."""
    with path.open("w", encoding="utf-8") as f:
        for identifier, name, *others in rows:
            synonyms = [
                {"name": o, "lang": "en"} if isinstance(o, str) else {"name": o[0], "lang": o[1]} for o in others
            ]
            f.write(json.dumps({"id": identifier, "name": name, "synonyms": synonyms}, ensure_ascii=False) + "\n")
    return path


@pytest.mark.parametrize("lang", sorted(read_templates()))
def test_offsets_are_exact_in_every_sentence_of_every_language(tmp_path, lang):
    name = {"zh": "心力衰竭", "ja": "心不全"}.get(lang, "abcd efgh")
    path = concepts_file(tmp_path / "t.jsonl", ("T:1", "other"), ("T:2", "another", (name, lang)))
    documents, _ = make(path, mentions=600, filters={"langs": [lang]}, corruptions={}, sentences=1)
    (document,) = documents if lang != "en" else [d for d in documents if d.id == "T:2"]
    found = [m for m in document.mentions if m.text == name]
    # each sentence that comes with xnorm is found, with the name in its place
    wanted = [s.replace("{mention}", name) for s in yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))[lang]]
    assert sorted(m.left + m.text + m.right for m in found) == sorted(wanted)
    lines = document.text.split("\n")
    for m in document.mentions:
        ((start, end),) = m.spans
        assert document.text[start:end] == m.text
        assert m.left + m.text + m.right in lines
        assert document.text[start - len(m.left) : start] == m.left
        assert document.text[end : end + len(m.right)] == m.right
        assert (m.lang, m.gold, m.document) == (lang, (document.id,), document.id)


def test_the_languages_asked_for_have_sentences():
    templates = read_templates()
    assert {"en", "de", "es", "fr", "it", "nl", "pt", "zh", "ja"} <= set(templates)
    for lang, sentences in templates.items():
        assert len(sentences) == len(set(sentences)) > 5
        assert all("{" not in left + right for left, right in sentences)
        unspaced = any(not left.endswith((" ", "„", "«", "“", "\xa0")) and left for left, _ in sentences)
        assert not unspaced or lang in ("zh", "ja")


def test_one_setting_gives_the_same_mentions_and_another_seed_others(source):
    keys = {"mentions": 40, "corruptions": ALL_CORRUPTED}
    first = make(source, **keys)
    assert make(source, **keys) == first
    assert make(source, **keys, seed=1)[0] != first[0]
    documents, report = first
    assert (report.documents, report.mentions) == (len(documents), 40)
    ids = [m.id for d in documents for m in d.mentions]
    assert len(set(ids)) == 40
    assert [d.id for d in documents] == sorted({d.id for d in documents})
    # a greater corpus has other mentions only where there were none
    more = {(m.text, m.left, m.gold) for m in mentions(source, **keys | {"mentions": 60})}
    assert {(m.text, m.left, m.gold) for d in documents for m in d.mentions} <= more


def test_no_mention_is_a_name_of_another_concept(tmp_path):
    # dropping a letter of one gives the other; both are called `cold`; `Chronic foot` is left of another by a word
    path = concepts_file(
        tmp_path / "t.jsonl",
        ("T:1", "abcd", ("cold", "en")),
        ("T:2", "abd", ("Cóld", "de")),
        ("T:3", "acd"),
        ("T:4", "Chronic painful foot"),
        ("T:5", "chronic-foot"),
    )
    documents, report = make(path, mentions=500, corruptions={"typo": 0.5, "dropped_word": 0.5}, sentences=0)
    terminology, _ = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))
    owners = {}
    for text, concept in zip(terminology.name_texts(), terminology.name_concept.tolist(), strict=True):
        owners.setdefault(fold(text), set()).add(f"T:{concept + 1}")
    made = [m for d in documents for m in d.mentions]
    for m in made:
        assert owners.get(fold(m.text), set(m.gold)) == set(m.gold)
    texts = {m.text for m in made}
    assert "abcd" in texts
    assert not texts & {"cold", "Cóld", "Chronic foot"}
    assert {"abdc", "acbd", "painful foot", "Chronic painful"} <= texts
    assert report.skipped["name of several concepts"] > 0
    assert report.skipped["corrupted name that another concept has"] > 0
    assert set(report.examples["name of several concepts"]) == {"cold", "Cóld"}
    # exhausted: said, and no error
    assert any(reason.startswith(f"made {len(made)} mentions of 500") for reason in report.noted)


def test_mentions_say_how_they_were_made(source):
    made = mentions(source, mentions=80, corruptions=ALL_CORRUPTED, filters={"langs": ["en"]})
    names = {n for m in made for n in [m.text] if how_made(m) == "plain"}
    terminology, _ = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(source)}]))
    assert names
    assert names <= set(terminology.name_texts())
    kinds = Counter((how_made(m) or "").partition("-")[0] for m in made)
    assert kinds["typo"] > 10
    assert set(kinds) <= {*ALL_CORRUPTED, "plain"}
    for m in made:
        assert m.id.startswith(f"{m.gold[0]}@en/{how_made(m)}/")
        assert how_made(m) == "plain" or m.text not in terminology.name_texts()[: 0 if "case" in how_made(m) else None]
    (other,) = (m for m in [made[0].__class__("x", id="T:1@de/2")])
    assert how_made(other) is None


def test_the_shares_of_corruptions_are_kept(tmp_path):
    rows = [(f"T:{i:04}", f"disorder{chr(97 + i % 26)}{chr(97 + i // 26)} of something") for i in range(600)]
    path = concepts_file(tmp_path / "t.jsonl", *rows)
    made = mentions(path, mentions=600, corruptions={"typo": 0.3, "case": 0.2}, sentences=0.7)
    kinds = Counter(how_made(m).partition("-")[0] for m in made)
    assert kinds["typo"] == pytest.approx(180, abs=45)
    assert kinds["case"] == pytest.approx(120, abs=40)
    assert kinds["plain"] == 600 - kinds["typo"] - kinds["case"]
    assert sum(1 for m in made if not m.left + m.right) == pytest.approx(180, abs=45)


def test_languages_and_concepts_are_balanced(tmp_path):
    rows = [
        (f"T:{i:02}", f"name {chr(97 + i)}{chr(97 + i)}", *([(f"Wort{chr(97 + i)}", "de")] * (i < 3)))
        for i in range(12)
    ]
    path = concepts_file(tmp_path / "t.jsonl", *rows)
    made = mentions(path, mentions=30, corruptions={})
    assert Counter(m.lang for m in made) == {"en": 15, "de": 15}
    by_concept = Counter(m.gold for m in made if m.lang == "en")
    assert set(by_concept.values()) == {1, 2}
    assert len(by_concept) == 12
    assert set(Counter(m.gold for m in made if m.lang == "de").values()) == {5}
    # the few names of German give no more than their sentences; English gives the rest
    made = mentions(path, mentions=100, corruptions={}, sentences=1)
    n = len(read_templates()["de"])
    assert Counter(m.lang for m in made) == {"de": 3 * n, "en": 100 - 3 * n}


def test_regions_of_a_language_share_its_sentences(tmp_path):
    path = concepts_file(tmp_path / "t.jsonl", ("T:1", "x-ray"), ("T:2", "other", ("dor", "pt-br"), ("rzz", "xx")))
    made = {m.lang: m for m in mentions(path, mentions=3, corruptions={}, sentences=1)}
    assert (made["pt-br"].left, made["pt-br"].right) in read_templates()["pt"]
    assert made["xx"].left == made["xx"].right == ""
    assert make(path, mentions=3, sentences=1)[1].noted == {"mention without a sentence: there is none in 'xx'": 1}


def test_filters_scopes_and_lengths(tmp_path):
    file = tmp_path / "t.jsonl"
    rows = [
        {
            "id": "T:1",
            "name": "aaaa",
            "types": ["D"],
            "synonyms": [{"name": "related", "lang": "en", "scope": "related"}],
        },
        {"id": "T:2", "name": "bbbb", "types": ["D"], "parents": ["T:1"]},
        {"id": "T:3", "name": "cccc", "types": ["E"], "parents": ["T:2"]},
        {"id": "T:4", "name": "d" * 90, "types": ["D"]},
        {"id": "T:5", "name": "12 %", "types": ["D"]},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def golds(**keys):
        return {m.gold[0] for m in mentions(file, mentions=50, corruptions={}, **keys)}

    assert golds() == {"T:1", "T:2", "T:3", "T:4"}
    assert golds(longest=20) == {"T:1", "T:2", "T:3"}
    assert golds(filters={"types": ["E"]}) == {"T:3"}
    assert golds(filters={"branches": ["T:2"]}) == {"T:2", "T:3"}
    assert {m.text for m in mentions(file, mentions=50, corruptions={}, scopes=["related"])} == {"related"}
    with pytest.raises(ConfigError, match="no concept has the type 'X'"):
        golds(filters={"types": ["X"]})
    with pytest.raises(DataError, match="no name is left"):
        golds(scopes=["broad"])


def test_concepts_to_be_judged_on_are_left_out(tmp_path, source):
    gold = tmp_path / "dev.jsonl"
    gold.write_text(
        json.dumps({"id": "m", "mention": "x", "gold": ["T:001", "T:003", "T:999"]}) + "\n", encoding="utf-8"
    )
    exclude = {"gold": {"dev": {"type": "jsonl", "path": str(gold)}}, "value_set": ["T:004"]}
    config = {"type": "synthetic", "path": str(source), "mentions": 100, "exclude": exclude}
    documents, report = make(source, mentions=100, exclude=exclude)
    assert {d.id for d in documents} >= {"T:002", "T:008", "T:012"}
    assert not {d.id for d in documents} & {"T:001", "T:003", "T:004"}
    assert report.skipped["name of an excluded concept"] == 13
    assert gold in SyntheticReader(validate(SyntheticConfig, config, where="test")).files()
    # shares have no concept in common and miss none
    low = {d.id for d in make(source, mentions=400, exclude={"share": [0, 0.5]})[0]}
    high = {d.id for d in make(source, mentions=400, exclude={"share": [0.5, 1]})[0]}
    assert low | high == {d.id for d in make(source, mentions=400)[0]}
    assert not low & high
    assert all(place_of(i) >= 0.5 for i in low)
    with pytest.raises(DataError, match=r"none of the 1 ids to be excluded is in the terminology, such as '001'"):
        make(source, exclude={"value_set": ["001"]})


def test_retired_gold_stands_for_what_replaced_it(tmp_path):
    file = tmp_path / "t.jsonl"
    rows = [{"id": "T:1", "name": "aaaa", "alt_ids": ["T:0"]}, {"id": "T:2", "name": "bbbb"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert {m.gold for m in mentions(file, mentions=20, exclude={"value_set": ["T:0"]})} == {("T:2",)}


def test_names_that_may_be_wrong_are_not_taken(source, monkeypatch):
    import numpy as np

    from xnorm.corpora import synthetic

    def with_weights(config):
        terminology, report = read_terminology(config)
        weights = np.array([0.5 if t.startswith("Card") else 1 for t in terminology.name_texts()], np.float32)
        terminology.__dict__["name_weights"] = weights
        return terminology, report

    monkeypatch.setattr(synthetic, "read_terminology", with_weights)
    texts = {m.text for m in mentions(source, mentions=200, corruptions={})}
    assert "Heart failure" in texts
    assert not [t for t in texts if t.startswith("Card")]


def test_sentences_of_ones_own(tmp_path, source):
    own = tmp_path / "own.yaml"
    own.write_text('en: ["<<{mention}>>"]\nno: ["Om {mention}."]\n', encoding="utf-8")
    made = mentions(source, mentions=60, templates={"path": str(own)}, sentences=1)
    assert {(m.left, m.right) for m in made if m.lang == "en"} == {("<<", ">>")}
    assert {(m.left, m.right) for m in made if m.lang == "de"} <= set(read_templates()["de"])
    assert read_templates(own)["no"] == [("Om ", ".")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("en: x", r"own.yaml: en: expected a list of sentences, found 'x'"),
        ("en: []", r"en: expected a list of sentences"),
        ("en: [without]", r"en: expected a sentence with \{mention\} once, found 'without'"),
        ("en: ['{mention} and {mention}']", r"once, found"),
        ("en: [1]", r"once, found 1"),
        ("- x", r"expected a mapping"),
        ("en: [!!python/object/apply:os.system ['true']]", r"not valid YAML"),
    ],
)
def test_sentences_that_cannot_be_used(tmp_path, source, text, message):
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        make(source, templates={"path": str(own)})


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"corruptions": {"typos": 0.1}}, "unknown kind 'typos'; did you mean 'typo'"),
        ({"corruptions": {"typo": -0.1}}, "typo: expected a share from 0 to 1, found -0.1"),
        ({"corruptions": {"typo": 0.6, "case": 0.5}}, "the shares sum to 1.1"),
        ({"exclude": {"share": [0.5, 0.2]}}, "expected two numbers that rise"),
        ({"mentions": 0}, "mentions"),
        ({"sentences": 2}, "sentences"),
        ({"terminology": {"sources": [{"type": "jsonl", "path": "other.jsonl"}]}}, "expected either `path` or"),
    ],
)
def test_settings_that_cannot_be_used(source, keys, message):
    with pytest.raises(ConfigError, match=message):
        make(source, **keys)
    with pytest.raises(ConfigError, match="expected `path` or `terminology`"):
        validate(SyntheticConfig, {"type": "synthetic"}, where="test")


def test_a_terminology_inline_or_of_a_config(tmp_path, source):
    terminology = {"sources": [{"type": "jsonl", "path": str(source)}]}
    config = tmp_path / "index.yaml"
    config.write_text(yaml.safe_dump({"name": "x", "terminology": terminology}), encoding="utf-8")
    expected = make(source, mentions=30)
    assert make(config, mentions=30) == expected
    inline = validate(SyntheticConfig, {"type": "synthetic", "terminology": terminology, "mentions": 30}, where="test")
    assert list(SyntheticReader(inline).documents(ReadReport())) == expected[0]
    assert validate(SyntheticConfig, inline.model_dump(mode="json"), where="again") == inline
    assert SyntheticReader(inline).files() == [source]


def test_as_a_part_of_a_corpus(tmp_path, source):
    part = {"type": "synthetic", "terminology": {"sources": [{"type": "jsonl", "path": str(source)}]}, "mentions": 20}
    config = validate(CorpusConfig, {"parts": {"made": part}, "weights": {"made": 0.3}}, where="test")
    corpus = read_corpus(config)
    assert len(corpus.mentions) == 20
    about = corpus.about["parts"]["made"]
    assert (about["format"], about["mentions"], about["file"]) == ("synthetic", 20, "tiny.jsonl")
    assert set(corpus.units) == {f"made/{m.gold[0]}" for m in corpus.mentions}
    assert {main_lang(m.lang) for m in corpus.mentions} >= {"en", "de", "ja"}
    assert config.strong == []
    source.unlink()
    assert missing_files(config) == [f"part 'made': {source}"]


def test_corpus_weights_are_checked(tmp_path):
    write_terminology(tmp_path / "t.jsonl")
    text = {"type": "text", "path": "x.txt"}
    parts = {"train": text, "more": text, "made": {"type": "synthetic", "path": "t.jsonl"}}
    config = validate(CorpusConfig, {"parts": parts, "weights": {"more": 0.5}}, where="test")
    assert config.strong == ["train"]
    assert validate(CorpusConfig, {"parts": parts, "weights": {"more": 2}}, where="t").strong == ["train", "more"]
    for weights, message in [
        ({"mad": 1}, "weights: there is no part 'mad'; did you mean 'made'"),
        ({"made": 0}, "greater than 0"),
        ({"made": float("inf")}, "finite"),
    ]:
        with pytest.raises(ConfigError, match=message):
            validate(CorpusConfig, {"parts": parts, "weights": weights}, where="test")
