"""Babelon tables and the synonym tables that go with them."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from parsing import tools

from xnorm.config import validate
from xnorm.errors import ConfigError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.babelon import BabelonConfig
from xnorm.terminology.base import RawConcept, RawName

BABELON = '''\
source_language\tsource_value\tsubject_id\tpredicate_id\ttranslation_language\ttranslation_value\ttranslation_status
en\tcat\tPET:2\trdfs:label\tfr\tchat\tOFFICIAL
en\tsays meow\tPET:2\tIAO:0000115\tfr\tdit miaou\tOFFICIAL
en\tkitty\tPET:2\toboInOwl:hasExactSynonym\tfr\tminou\tCANDIDATE
en\ttabby\tPET:2\toio:narrowSynonym\tfr\tchat tigré\tUNDER_REVIEW
en\tpet\tPET:2\thttp://www.geneontology.org/formats/oboInOwl#hasBroadSynonym\tfr\tanimal | ami\tOFFICIAL
en\tmeower\tPET:2\toboInOwl:hasRelatedSynonym\tfr\tmiauleur\tOFFICIAL
en\tkitten\tPET:4\trdfs:label\tfr\tkitten\tNOT_TRANSLATED
en\tkitten\tPET:4\trdfs:label\tfr\t \tOFFICIAL
en\tbarn cat\tPET:6\trdfs:label\tfr\t"chat ""de ferme"""\tOFFICIAL
en\tcat\tPET:2\tdc:title\tfr\tle chat\tOFFICIAL
en\tchat\tPET:7\trdfs:label\tfr\tchat\tCANDIDATE
'''
ENGLISH = """\
subject_id\ttranslation_language\tpredicate_id\ttranslation_value
PET:2\ten\trdfs:label\tcat
PET:4\ten\trdfs:label\tkitten
"""


written, parse, message = tools("babelon", "pets-fr.babelon.tsv")


def names(tmp_path: Path, text: str, **options: object) -> list[str]:
    return [n.text for c in parse(written(tmp_path, text), **options)[0] for n in c.names]


def test_every_row(tmp_path):
    concepts, report = parse(written(tmp_path, BABELON))
    assert concepts == [
        RawConcept("PET:2", [RawName("chat", "fr", "preferred")], line=2),
        RawConcept("PET:2", [RawName("minou", "fr", "exact")], line=4),
        RawConcept("PET:2", [RawName("chat tigré", "fr", "narrow")], line=5),
        RawConcept("PET:2", [RawName("animal | ami", "fr", "broad")], line=6),
        RawConcept("PET:2", [RawName("miauleur", "fr", "related")], line=7),
        RawConcept("PET:6", [RawName('chat "de ferme"', "fr", "preferred")], line=10),
        RawConcept("PET:7", [RawName("chat", "fr", "preferred")], line=12),
    ]
    assert report.skipped == {
        "definition": 1, "not translated": 1, "empty translation": 1, "value of the predicate dc:title": 1,
    }  # fmt: skip
    assert report.examples == {
        "definition": ["line 3"], "not translated": ["line 8"], "empty translation": ["line 9"],
        "value of the predicate dc:title": ["line 11"],
    }  # fmt: skip


def test_statuses_to_keep(tmp_path):
    concepts, report = parse(written(tmp_path, BABELON), statuses=["CANDIDATE"])
    assert [n.text for c in concepts for n in c.names] == ["minou", "chat"]
    assert report.skipped["translation of status OFFICIAL"] == 5
    assert report.skipped["translation of status UNDER_REVIEW"] == 1
    _, report = parse(written(tmp_path, ENGLISH), statuses=["OFFICIAL"])
    assert report.skipped == {"translation without a status": 2}


def test_unknown_status():
    with pytest.raises(ConfigError, match=r"statuses.0: Input should be 'OFFICIAL', 'UNDER_REVIEW' or 'CANDIDATE'"):
        validate(BabelonConfig, {"type": "babelon", "path": "a.tsv", "statuses": ["OFICIAL"]}, where="pets.yaml")


def test_synonym_table_with_its_template(tmp_path):
    text = (
        "translation_value\tsubject_id\tsynonym_type\n"
        "AL oboInOwl:hasNarrowSynonym@de SPLIT=;\tID\t>AI oboInOwl:hasSynonymType\n"
        "Mieze; Kätzchen;\tPET:2\t\n"
        "A|B\tPET:4\t\n"
    )
    concepts, report = parse(written(tmp_path, text))
    assert concepts == [
        RawConcept("PET:2", [RawName("Mieze", "de", "narrow"), RawName("Kätzchen", "de", "narrow")], line=3),
        RawConcept("PET:4", [RawName("A|B", "de", "narrow")], line=4),
    ]
    assert report.skipped == {"template row": 1}


def test_synonym_table_lists_without_a_split_in_the_template(tmp_path):
    text = "subject_id\ttranslation_value\nID\tAL oboInOwl:hasExactSynonym@fr\nPET:2\tminou|minette | \n"
    assert names(tmp_path, text) == ["minou", "minette"]


def test_status_of_synonym_tables(tmp_path):
    head = "subject_id\ttranslation_value\tcomment\tStatus\nID\tAL oboInOwl:hasExactSynonym@nl\t\t\n"
    rows = "PET:2\tcat\tNOT_TRANSLATED\t\nPET:2\tpoes\tsynonyms of PET:2\tCANDIDATE\nPET:4\tkitten\t\tNOT_TRANSLATED\n"
    concepts, report = parse(written(tmp_path, head + rows))
    assert concepts == [RawConcept("PET:2", [RawName("poes", "nl", "exact")], line=4)]
    assert report.skipped == {"template row": 1, "not translated": 2}
    assert names(tmp_path, head + rows, statuses=["CANDIDATE"]) == ["poes"]


def test_language_of_the_config_goes_before_the_templates(tmp_path):
    text = "subject_id\ttranslation_value\nID\tAL oboInOwl:hasExactSynonym@tr\nPET:2\tagyinamoa\n"
    concepts, _ = parse(written(tmp_path, text), lang="tw")
    assert concepts[0].names == [RawName("agyinamoa", "tw", "exact")]


def test_no_language(tmp_path):
    path = written(tmp_path, "subject_id\ttranslation_value\nPET:2\tchat\n")
    assert message(path) == f"{path}:2: says no language; set `lang` of this source"
    assert parse(path, lang="fr")[0][0].names == [RawName("chat", "fr", "exact")]


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("quot;chat, petitquot;", "chat, petit"),
        ("&quot;chat&quot; gris", '"chat" gris'),
        ("quot;chat quot;quot;grosquot;quot; grisquot;", 'chat "gros" gris'),
        ("pointes-ondes (lt;2.5 Hz)", "pointes-ondes (<2.5 Hz)"),
        ("a &gt; b &amp; c", "a > b & c"),
        ("l&apos;ami", "l'ami"),
        ("malt;", "malt;"),
        ('"chat"', "chat"),
        ('"a" ou "b"', '"a" ou "b"'),
        ("chat  \xa0 gris", "chat gris"),
        ('"', '"'),
    ],
)
def test_names_are_restored(tmp_path, cell, name):
    text = f"subject_id\ttranslation_value\nID\tAL oboInOwl:hasExactSynonym@fr\nPET:2\t{cell}\n"
    assert names(tmp_path, text) == [name]


def test_laid_over_a_terminology(tmp_path):
    english = {"type": "babelon", "path": written(tmp_path, ENGLISH, "en.tsv"), "overlay": False}
    french = {"type": "babelon", "path": written(tmp_path, BABELON, "fr.tsv.gz")}
    french["path"].write_bytes(gzip.compress(BABELON.encode()))
    nothing = "subject_id\ttranslation_value\nID\tAL oboInOwl:hasExactSynonym@es\n"
    spanish = {"type": "babelon", "path": written(tmp_path, nothing, "es.tsv")}
    terminology, report = read_terminology(TerminologyConfig(sources=[english, french, spanish]))
    assert [(n.text, n.lang, n.scope, n.source) for n in terminology["PET:2"].names] == [
        ("cat", "en", "preferred", "en"),
        ("chat", "fr", "preferred", "fr"),
        ("minou", "fr", "exact", "fr"),
        ("chat tigré", "fr", "narrow", "fr"),
        ("animal | ami", "fr", "broad", "fr"),
        ("miauleur", "fr", "related", "fr"),
    ]
    assert "PET:6" not in terminology
    assert report.sources[1].skipped["names for an id that no earlier source has"] == 2
    assert (report.sources[2].read, report.sources[2].skipped) == (0, {"template row": 1})


def test_bad_tables(tmp_path):
    path = written(tmp_path, BABELON.replace("translation_value", "translation_values"))
    assert message(path) == f"{path}:1: has no column 'translation_value'; did you mean 'translation_values'?"
    path = written(tmp_path, BABELON + "en\tdog\tPET:8\n")
    assert message(path) == f"{path}:13: has 3 cells, the header has 7"
    path = written(tmp_path, BABELON.encode().replace("tigré".encode(), b"tigr\xe9"))
    assert message(path) == f"{path}:5: is not UTF-8 (byte 0xe9); convert it to UTF-8"
    path = written(tmp_path, "")
    assert message(path) == f"{path}: is empty"
    path = written(tmp_path, BABELON.encode("utf-16"))
    assert message(path) == f"{path}: is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"
    missing = tmp_path / "none.tsv"
    assert message(missing) == f"{missing}: no such file"
