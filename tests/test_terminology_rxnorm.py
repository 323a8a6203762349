"""RxNorm in its own RRF files."""

from __future__ import annotations

import pytest
from rrf_data import write_release

from xnorm.errors import DataError
from xnorm.sources import TerminologyConfig, read_terminology

DRUGS = {
    "RXNCONSO": [
        {"RXCUI": "10", "LAT": "ENG", "SAB": "RXNORM", "TTY": "IN", "CODE": "10", "STR": "petamol"},
        {"RXCUI": "10", "LAT": "ENG", "SAB": "RXNORM", "TTY": "TMSY", "CODE": "10", "STR": "petAMOL"},
        {"RXCUI": "10", "LAT": "ENG", "SAB": "ATC", "TTY": "IN", "CODE": "P01", "STR": "petamolum"},
        {"RXCUI": "11", "LAT": "ENG", "SAB": "RXNORM", "TTY": "PSN", "CODE": "11", "STR": "petamol 5 MG tablet"},
        {"RXCUI": "11", "LAT": "ENG", "SAB": "RXNORM", "TTY": "SCD", "CODE": "11", "STR": "petamol 5 MG Oral Tablet"},
        {"RXCUI": "12", "LAT": "ENG", "SAB": "RXNORM", "TTY": "SCDG", "CODE": "12", "STR": "petamol Pill"},
        {"RXCUI": "13", "LAT": "ENG", "SAB": "RXNORM", "TTY": "BN", "CODE": "13", "STR": "Purrex", "SUPPRESS": "O"},
        {"RXCUI": "14", "LAT": "ENG", "SAB": "MTHSPL", "TTY": "SU", "CODE": "X", "STR": "water"},
    ],
    "RXNSTY": [{"RXCUI": "10", "TUI": "T121"}, {"RXCUI": "13", "TUI": "T121"}],
    "RXNREL": [
        {"RXCUI1": "12", "REL": "RN", "RXCUI2": "11", "RELA": "isa", "SUPPRESS": ""},
        {"RXCUI1": "11", "REL": "RB", "RXCUI2": "12", "RELA": "inverse_isa", "SUPPRESS": ""},
        {"RXCUI1": "10", "REL": "RO", "RXCUI2": "11", "RELA": "has_ingredient", "SUPPRESS": ""},
        {"RXCUI1": "13", "REL": "RN", "RXCUI2": "11", "RELA": "isa", "SUPPRESS": ""},
    ],
    "RXNCUI": [
        {"CUI1": "20", "CARDINALITY": "1", "CUI2": "10"},
        {"CUI1": "21", "CARDINALITY": "2", "CUI2": "10"},
        {"CUI1": "21", "CARDINALITY": "2", "CUI2": "11"},
        {"CUI1": "22", "CARDINALITY": "1", "CUI2": "22"},
        {"CUI1": "10", "CARDINALITY": "1", "CUI2": "11"},
    ],
}


@pytest.fixture
def release(tmp_path):
    return write_release(tmp_path / "RxNorm_full" / "rrf", DRUGS).parent


def read(path, **options):
    return read_terminology(
        TerminologyConfig(sources=[{"type": "rxnorm", "path": str(path), "name": "RxNorm", **options}])
    )


def test_every_field(release):
    terminology, report = read(release)
    assert terminology.concepts.column("id").to_pylist() == ["RXNORM:10", "RXNORM:11", "RXNORM:12"]
    drug, tablet = terminology["RXNORM:10"], terminology["RXNORM:11"]
    assert [(n.text, n.lang, n.scope, n.source) for n in drug.names] == [
        ("petamol", "en", "preferred", "RXNORM"),
        ("petAMOL", "en", "exact", "RXNORM"),
    ]
    assert (drug.name, drug.types, drug.parents, drug.source) == ("petamol", ("IN", "T121"), (), "RxNorm")
    assert [(n.text, n.scope) for n in tablet.names] == [
        ("petamol 5 MG tablet", "exact"),
        ("petamol 5 MG Oral Tablet", "preferred"),
    ]
    assert (tablet.name, tablet.types, tablet.parents) == ("petamol 5 MG Oral Tablet", ("SCD",), ("RXNORM:12",))
    assert terminology.retired.to_pylist() == [
        {"id": "RXNORM:20", "replaced_by": ["RXNORM:10"], "name": None, "reason": "merged"},
        {"id": "RXNORM:21", "replaced_by": ["RXNORM:10", "RXNORM:11"], "name": None, "reason": "split"},
        {"id": "RXNORM:22", "replaced_by": [], "name": None, "reason": "obsolete"},
    ]
    source = report.sources[0]
    assert (source.read, source.concepts, source.names) == (5, 3, 5)
    assert source.skipped == {"suppressed name": 1, "name of another vocabulary": 2}


def test_settings(release):
    terminology, _ = read(release, vocabularies=["RXNORM", "ATC"], types=["IN"])
    assert [(n.text, n.scope, n.source) for n in terminology["RXNORM:10"].names][2] == ("petamolum", "exact", "ATC")
    assert len(terminology) == 1
    assert len(read(release, types=["T121"])[0]) == 1
    assert read(release, parents=["has_ingredient"])[0]["RXNORM:11"].parents == ("RXNORM:10",)
    terminology, _ = read(release, suppressed=["N", "O"], prefix=None)
    assert terminology["13"].types == ("BN", "T121")
    assert terminology["11"].parents == ("12", "13")


def test_bad_releases(release, tmp_path):
    with pytest.raises(DataError, match=r"has no RXNCONSO.RRF, which has the names; it has: MRSTY"):
        read(write_release(tmp_path / "umls", {"MRSTY": [{"CUI": "C0000001"}]}))
    names = release / "rrf" / "RXNCONSO.RRF"
    names.write_text(names.read_text() + "15|ENG|\n|ENG" + "|" * 17 + "\n")
    _, report = read(release)
    assert report.sources[0].skipped["row with 2 columns, expected 18"] == 1
    assert report.sources[0].examples["row with 2 columns, expected 18"] == ["RXNCONSO.RRF:9"]
    assert report.sources[0].skipped["row without an RXCUI"] == 1
