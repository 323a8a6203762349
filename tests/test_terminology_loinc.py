"""LOINC's tables and their linguistic variants."""

from __future__ import annotations

import csv
import gzip
import io
from typing import Any

import pytest
from parsing import tools

from xnorm.config import validate
from xnorm.errors import ConfigError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName
from xnorm.terminology.loinc import LoincConfig

CORE = (
    "LOINC_NUM", "COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP", "CLASS", "CLASSTYPE",
    "LONG_COMMON_NAME", "SHORTNAME", "EXTERNAL_COPYRIGHT_NOTICE", "STATUS", "VersionFirstReleased",
    "VersionLastChanged",
)  # fmt: skip
FULL = (*CORE, "DefinitionDescription", "CONSUMER_NAME", "RELATEDNAMES2", "DisplayName")
VARIANT = (
    "LOINC_NUM", "COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP", "CLASS", "SHORTNAME",
    "LONG_COMMON_NAME", "RELATEDNAMES2", "LinguisticVariantDisplayName",
)  # fmt: skip
PURR = {
    "LOINC_NUM": "1-8", "COMPONENT": "Purring", "PROPERTY": "NRat", "TIME_ASPCT": "Pt", "SYSTEM": "Cat",
    "SCALE_TYP": "Qn", "METHOD_TYP": "Ear", "CLASS": "CHEM", "CLASSTYPE": "1",
    "LONG_COMMON_NAME": 'Purring [#/time] in Cat by "Ear"', "SHORTNAME": "Purr Cat-nRate", "STATUS": "ACTIVE",
    "VersionLastChanged": "2.9", "DefinitionDescription": "How often\nit purrs.", "CONSUMER_NAME": "Purring, Cat",
    "RELATEDNAMES2": "Purrs; Point in time; ; Quan", "DisplayName": "Purring by ear (Cat) [#/Time]",
}  # fmt: skip
BARK = {
    "LOINC_NUM": "2-6", "COMPONENT": "Barking", "CLASS": "SURVEY.PET", "CLASSTYPE": "4", "LONG_COMMON_NAME": "Barking",
    "STATUS": "TRIAL", "VersionLastChanged": "2.10",
}  # fmt: skip
MOO = {"LOINC_NUM": "3-4", "COMPONENT": "Mooing", "LONG_COMMON_NAME": "Mooing", "STATUS": "DEPRECATED"}
BAA = {"LOINC_NUM": "4-2", "COMPONENT": "Bleating", "LONG_COMMON_NAME": "Bleating", "STATUS": "DISCOURAGED"}
MAP_TO = "LOINC,MAP_TO,COMMENT\n3-4,1-8,\n3-4,2-6,of dogs\n4-2,2-6,\n"


def table(columns: tuple[str, ...], *rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({c: v for c, v in row.items() if c in columns} for row in rows)
    return out.getvalue()


written, parse, message = tools("loinc", "Loinc.csv")


def test_every_field(tmp_path):
    written(tmp_path, MAP_TO, "MapTo.csv")
    concepts, report = parse(written(tmp_path, table(FULL, PURR, BARK, MOO, BAA)))
    assert concepts == [
        RawConcept(
            "LOINC:1-8",
            [
                RawName('Purring [#/time] in Cat by "Ear"', "en", "preferred"),
                RawName("Purring by ear (Cat) [#/Time]", "en", "exact"),
                RawName("Purr Cat-nRate", "en", "exact"),
                RawName("Purring, Cat", "en", "broad"),
            ],
            types=["CHEM", "laboratory"],
            definition="How often\nit purrs.",
            line=3,
        ),
        RawConcept("LOINC:2-6", [RawName("Barking", "en", "preferred")], types=["SURVEY.PET", "survey"], line=4),
        RawConcept(
            "LOINC:3-4", [RawName("Mooing", "en", "preferred")], line=5, retired=True,
            replaced_by=["LOINC:1-8", "LOINC:2-6"],
        ),
        RawConcept("LOINC:4-2", [RawName("Bleating", "en", "preferred")], line=6),
    ]  # fmt: skip
    assert report.skipped == {}
    assert report.version == "2.10"


def test_the_core_table_has_fewer_names(tmp_path):
    concepts, report = parse(written(tmp_path, table(CORE, PURR), "LoincTableCore.csv"))
    assert [n.text for n in concepts[0].names] == ['Purring [#/time] in Cat by "Ear"', "Purr Cat-nRate"]
    assert concepts[0].definition is None
    assert report.skipped == {"table of replacements that is not there": 1}
    assert report.examples == {"table of replacements that is not there": ["MapTo.csv"]}


def test_options(tmp_path):
    mapping = written(tmp_path, MAP_TO, "changes.csv")
    path = written(tmp_path, table(FULL, PURR, BAA))
    concepts, report = parse(
        path, related_names=True, formal_names=True, discouraged="retire", map_to=mapping, consumer_scope="related"
    )
    assert concepts[0].names[2:] == [
        RawName("Purring:NRat:Pt:Cat:Qn:Ear", "en", "exact"),
        RawName("Purr Cat-nRate", "en", "exact"),
        RawName("Purring, Cat", "en", "related"),
        RawName("Purrs", "en", "related"),
        RawName("Point in time", "en", "related"),
        RawName("Quan", "en", "related"),
    ]
    assert (concepts[1].retired, concepts[1].replaced_by) == (True, ["LOINC:2-6"])
    assert report.skipped == {}
    assert parse(path, prefix="LNC", lang="fr")[0][0].names[0].lang == "fr"
    assert parse(path, prefix="LNC")[0][0].id == "LNC:1-8"
    with pytest.raises(ConfigError, match="discouraged: Input should be 'keep' or 'retire'"):
        parse(path, discouraged="drop")


def test_rows_without_code_or_name(tmp_path):
    rows = ({"COMPONENT": "x"}, {"LOINC_NUM": "9-1", "STATUS": "ACTIVE"})
    concepts, report = parse(written(tmp_path, table(CORE, *rows)))
    assert concepts == []
    assert (report.skipped["row without a code"], report.skipped["row without a name"]) == (1, 1)


def test_a_linguistic_variant(tmp_path):
    rows = (
        {**PURR, "COMPONENT": "Schnurren", "SYSTEM": "Katze", "LONG_COMMON_NAME": "", "SHORTNAME": "Schnurr"},
        {
            **PURR, "LOINC_NUM": "2-6", "LONG_COMMON_NAME": "Bellen", "LinguisticVariantDisplayName": "Gebell",
            "SHORTNAME": "",
        },
        {"LOINC_NUM": "3-4"},
    )  # fmt: skip
    path = written(tmp_path, gzip.compress(table(VARIANT, *rows).encode()), "deDE15LinguisticVariant.csv.gz")
    concepts, report = parse(path)
    assert concepts == [
        RawConcept(
            "LOINC:1-8",
            [RawName("Schnurren:NRat:Pt:Katze:Qn:Ear", "de-DE", "preferred"), RawName("Schnurr", "de-DE", "exact")],
            types=["CHEM"],
            line=2,
        ),
        RawConcept(
            "LOINC:2-6",
            [RawName("Bellen", "de-DE", "preferred"), RawName("Gebell", "de-DE", "exact")],
            types=["CHEM"],
            line=3,
        ),
    ]
    assert report.skipped == {"row without a name": 1}
    assert parse(path, lang="de")[0][0].names[0].lang == "de"


def test_a_variant_is_laid_over(tmp_path):
    english = {"type": "loinc", "path": written(tmp_path, table(FULL, PURR, BARK)), "name": "LOINC"}
    rows = (
        {**PURR, "LONG_COMMON_NAME": "Schnurren"},
        {"LOINC_NUM": "7-7", "LONG_COMMON_NAME": "nichts", "COMPONENT": "n"},
    )
    german: dict[str, Any] = {
        "type": "loinc",
        "path": written(tmp_path, table(VARIANT, *rows), "deAT24LinguisticVariant.csv"),
    }
    terminology, report = read_terminology(
        validate(TerminologyConfig, {"sources": [english, german], "filters": {"langs": ["de"]}}, where="test")
    )
    assert [(n.text, n.lang, n.scope) for n in terminology["LOINC:1-8"].names] == [
        ("Schnurren", "de-at", "preferred"),
        ("Purr Cat-nRate", "de-at", "exact"),
    ]
    assert report.sources[1].skipped["names for an id that no earlier source has"] == 1
    assert validate(LoincConfig, {**german, "overlay": False}, where="test").overlay is False
    assert validate(LoincConfig, english, where="test").overlay is False


def test_bad_tables(tmp_path):
    path = written(tmp_path, table(tuple(c for c in CORE if c != "LONG_COMMON_NAME"), PURR))
    assert message(path).startswith(f"{path}:1: has no column 'LONG_COMMON_NAME'")
    path = written(tmp_path, table(CORE, PURR).replace('"1-8",', '"1-8,'))
    assert "not a valid table" in message(path)
    path = written(tmp_path, table(CORE, PURR).encode() + b'"x\xff"')
    assert message(path) == f"{path}:3: is not UTF-8 (byte 0xff); convert it to UTF-8"
    path = written(tmp_path, gzip.compress(table(CORE, *[PURR] * 99).encode())[:150], "Loinc.csv.gz")
    assert message(path).startswith(f"{path}: is a damaged gzip file")
    path = written(tmp_path, "")
    assert message(path) == f"{path}: is empty"
    path = written(tmp_path, table(CORE, PURR))
    bad = written(tmp_path, "LOINC,MAPTO\n", "MapTo.csv")
    assert message(path) == f"{bad}:1: has no column 'MAP_TO'; did you mean 'MAPTO'?"
    assert message(path, map_to=tmp_path / "none.csv") == f"{tmp_path / 'none.csv'}: no such file"


def test_versions_that_are_no_numbers(tmp_path):
    _, report = parse(written(tmp_path, table(FULL, BARK, {**PURR, "VersionLastChanged": "2.²"})))
    assert report.version == "2.10"
