"""UMLS in RRF: every field, every setting, bad releases."""

from __future__ import annotations

import pytest
from rrf_data import PETS, rrf, write_release

import xnorm.delimited
from xnorm.config import validate
from xnorm.errors import ConfigError, DataError
from xnorm.sources import TerminologyConfig, read_terminology


@pytest.fixture
def release(tmp_path):
    folder = write_release(tmp_path / "2099AA" / "META", PETS).parent
    (folder / "META" / "release.dat").write_text("umls.release.name=2099AA\n")
    return folder


def read(path, filters=None, **options):
    settings = {"sources": [{"type": "umls", "path": str(path), "name": "UMLS", **options}], "filters": filters or {}}
    return read_terminology(validate(TerminologyConfig, settings, where="config"))


def names(terminology, identifier):
    return [(n.text, n.lang, n.scope, n.source) for n in terminology[identifier].names]


def test_every_field(release):
    terminology, report = read(release)
    assert terminology.concepts.column("id").to_pylist() == [f"UMLS:C000000{n}" for n in range(1, 6)]
    cat = terminology["UMLS:C0000001"]
    assert (cat.name, cat.types, cat.xrefs, cat.parents) == ("Cat", ("T015", "T008"), (), ())
    assert (cat.definition, cat.source) == ("A small carnivore.", "UMLS")
    assert names(terminology, "UMLS:C0000001") == [
        ("Felis catus", "en", "exact", "ZOO"),
        ("Cat", "en", "preferred", "PET"),
        ("Kitty", "en", "exact", "PET"),
        ("Katze", "de", "preferred", "PETGER"),
    ]
    assert names(terminology, "UMLS:C0000002") == [
        ("Dog (canine)", "en", "preferred", "PET"),
        ("Köter", "de", "exact", "PETGER"),
        ("Hund", "de", "preferred", "PETGER"),
    ]
    assert terminology["UMLS:C0000005"].name == "熱"
    assert terminology["UMLS:C0000002"].definition is None
    source = report.sources[0]
    assert (source.version, source.read, source.concepts, source.names) == ("2099AA", 5, 5, 10)
    assert source.skipped == {"suppressed name": 1}
    assert report.duplicate_names == 1
    assert {p.rpartition("/")[2] for p in source.files} == {
        "MRCONSO.RRF", "MRSTY.RRF", "MRDEF.RRF", "MRSAB.RRF", "MRRANK.RRF", "MRCUI.RRF"
    }  # fmt: skip


def test_what_is_gone(release):
    terminology, _ = read(release)
    assert terminology.retired.to_pylist() == [
        {"id": "UMLS:C0000010", "replaced_by": ["UMLS:C0000001"], "name": None, "reason": "merged"},
        {"id": "UMLS:C0000011", "replaced_by": [], "name": None, "reason": "deleted"},
        {"id": "UMLS:C0000012", "replaced_by": [], "name": None, "reason": "broader"},
        {"id": "UMLS:C0000013", "replaced_by": ["UMLS:C0000010"], "name": None, "reason": "merged"},
    ]
    assert terminology.resolve("UMLS:C0000013") == ("UMLS:C0000001",)
    terminology, _ = read(release, replaced_by=["SY", "RB", "RO", "RN"])
    retired = {row["id"]: (row["replaced_by"], row["reason"]) for row in terminology.retired.to_pylist()}
    assert retired["UMLS:C0000012"] == (["UMLS:C0000003", "UMLS:C0000002"], "broader")
    assert retired["UMLS:C0000013"] == (["UMLS:C0000010", "UMLS:C0000002"], "merged")


@pytest.mark.parametrize("langs", [{"langs": ["de"]}, {"filters": {"langs": ["ger"]}}, {"langs": ["GER"]}])
def test_german_alone(release, langs):
    terminology, report = read(release, **langs)
    assert [names(terminology, c) for c in ("UMLS:C0000001", "UMLS:C0000002")] == [
        [("Katze", "de", "preferred", "PETGER")],
        [("Köter", "de", "exact", "PETGER"), ("Hund", "de", "preferred", "PETGER")],
    ]
    assert len(terminology) == 2
    # nothing else is there to filter by
    assert terminology.names.column("lang").chunk(0).dictionary.to_pylist() == ["de"]
    assert terminology["UMLS:C0000002"].name == "Hund"
    assert report.sources[0].skipped == {"suppressed name": 1, "name filtered out": 8}


@pytest.mark.parametrize("types", [["LIVB"], ["T015", "T008"], ["Mammal", "Animal"]])
def test_types_and_groups(release, types):
    terminology, report = read(release, types=types)
    assert terminology.concepts.column("id").to_pylist() == [f"UMLS:C000000{n}" for n in range(1, 5)]
    assert report.sources[0].skipped == {"concept of another type": 1, "suppressed name": 1}
    assert len(read(release, types=["T008"])[0]) == 2
    assert len(read(release, types=["T008"], subtypes=True)[0]) == 4
    assert len(read(release, types=["T184", "T015"], subtypes=True)[0]) == 4
    with pytest.raises(ConfigError, match=r"subtypes: no concept of the release has the type T001"):
        read(release, types=["T001"], subtypes=True)
    # the same for filters over all sources
    assert len(read(release, filters={"types": types})[0]) == 4
    assert len(read(release, filters={"types": ["T008"]}, subtypes=True)[0]) == 4
    assert len(read(release, types=["LIVB"], filters={"types": ["T008"]})[0]) == 2
    with pytest.raises(ConfigError, match=r"'Mamal' is no semantic group or type of UMLS; did you mean 'Mammal'\?"):
        read(release, types=["Mamal"])


def test_vocabularies_families_and_term_types(release):
    terminology, report = read(release, vocabularies=["ZOO"])
    # the name that UMLS prefers is of another vocabulary: the best of those left is ranked by vocabulary and term type
    assert names(terminology, "UMLS:C0000001") == [
        ("Felis catus", "en", "preferred", "ZOO"),
        ("Cat", "en", "exact", "ZOO"),
    ]
    assert report.sources[0].skipped == {"suppressed name": 1, "name of another vocabulary": 8}
    terminology, _ = read(release, families=["PET"])
    assert terminology.count_by("names", "source") == {"PET": 4, "PETGER": 3, "PETJPN": 1}
    terminology, report = read(release, families=["PET"], vocabularies=["ZOO"], term_types=["SY", "ET"])
    assert terminology.name_texts() == ["Felis catus", "Kitty", "Köter"]
    assert report.sources[0].skipped["name of another term type"] == 8
    for key, value, problem in (
        ("vocabularies", "PETS", r"vocabularies: the release has no 'PETS'; did you mean 'PET'\?"),
        ("families", "PETGER", r"families: the release has no 'PETGER'; did you mean 'PET'\?"),
        ("hierarchy", "ZO", r"hierarchy: the release has no 'ZO'; did you mean 'ZOO'\?"),
        ("xrefs", "ZO", r"xrefs: the release has no 'ZO'"),
        ("definitions", "ZO", r"definitions: the release has no 'ZO'"),
    ):
        with pytest.raises(ConfigError, match=problem):
            read(release, **{key: [value]})
    with pytest.raises(ConfigError, match=r"ids: the release has no 'PETS'; did you mean 'PET'"):
        read(release, ids="PETS")
    with pytest.raises(ConfigError, match=r"`extend` and `code_column` are for codes as ids"):
        read(release, extend=True)


def test_suppressed_names_if_wanted(release):
    terminology, report = read(release, suppressed=["N", "O"])
    assert ("Mouser", "en", "exact", "PET") in names(terminology, "UMLS:C0000001")
    assert terminology["UMLS:C0000002"].definition == "It barked."
    assert not report.sources[0].skipped


def test_hierarchy_and_xrefs(release):
    terminology, _ = read(release, hierarchy=["ZOO"], xrefs=["PET", "ZOO"])
    assert terminology["UMLS:C0000001"].parents == ("UMLS:C0000003",)
    assert terminology["UMLS:C0000002"].parents == ()
    assert terminology["UMLS:C0000001"].xrefs == ("PET:17", "ZOO:Z1")
    terminology, _ = read(release, hierarchy=["ZOO", "PET"], suppressed=["N", "O"])
    assert terminology["UMLS:C0000002"].parents == ("UMLS:C0000003", "UMLS:C0000001")


def test_definitions(release):
    assert read(release, definitions=["PET", "ZOO"])[0]["UMLS:C0000001"].definition == "It purrs."
    assert read(release, definitions=["PETGER"])[0]["UMLS:C0000001"].definition is None
    assert read(release, definitions=False)[0]["UMLS:C0000001"].definition is None


def test_codes_of_a_vocabulary_as_ids(release):
    terminology, report = read(release, ids="PET", hierarchy=["PET", "ZOO"])
    assert terminology.concepts.column("id").to_pylist() == ["PET:17", "PET:18"]
    cat = terminology["PET:17"]
    # two CUIs have this code
    assert names(terminology, "PET:17") == [
        ("Cat", "en", "preferred", "PET"),
        ("Kitty", "en", "exact", "PET"),
        ("Cat, domestic", "en", "exact", "PET"),
    ]
    assert (cat.name, cat.types, cat.definition) == ("Cat", ("T015", "T008"), "A small carnivore.")
    assert cat.xrefs == ("UMLS:C0000001", "UMLS:C0000004")
    assert terminology.retired.num_rows == 0
    assert report.sources[0].names == 4


def test_codes_with_all_names_of_their_concepts(release):
    terminology, _ = read(release, ids="PET", extend=True, prefix="P", langs=["de", "en"])
    assert names(terminology, "P:17") == [
        ("Felis catus", "en", "exact", "ZOO"),
        ("Cat", "en", "preferred", "PET"),
        ("Kitty", "en", "exact", "PET"),
        ("Katze", "de", "preferred", "PETGER"),
        ("Cat, domestic", "en", "exact", "PET"),
    ]
    assert names(terminology, "P:18")[1:] == [
        ("Köter", "de", "exact", "PETGER"),
        ("Hund", "de", "preferred", "PETGER"),
    ]
    with pytest.raises(DataError, match=r"no name is left of 5 concepts; look at `ids`"):
        read(release, langs=["fr"])


def test_hierarchy_of_codes(release):
    write_release(release / "META", {"MRREL": [{"CUI1": "C0000002", "REL": "PAR", "CUI2": "C0000001", "SAB": "PET"}]})
    terminology, _ = read(release, ids="PET", hierarchy=["PET"])
    assert terminology["PET:18"].parents == ("PET:17",)


@pytest.mark.parametrize("block", [40, 130, 400])
def test_blocks_of_any_size_give_the_same(release, monkeypatch, block):
    whole = [read(release, **options)[0].fingerprint for options in ({}, {"ids": "PET", "extend": True})]
    monkeypatch.setattr(xnorm.delimited, "BLOCK", block)
    assert [read(release, **options)[0].fingerprint for options in ({}, {"ids": "PET", "extend": True})] == whole


def test_where_the_release_may_be(release, tmp_path):
    expected = read(release)[0].fingerprint
    assert read(release / "META")[0].fingerprint == expected
    assert read(release / "META" / "MRCONSO.RRF")[0].fingerprint == expected
    assert read(write_release(tmp_path / "packed", PETS, packed=True))[0].fingerprint == expected
    dos = tmp_path / "dos"
    dos.mkdir()
    for name, rows in PETS.items():
        (dos / f"{name}.rrf").write_bytes(b"\xef\xbb\xbf" + rrf(name, rows).replace("\n", "\r\n").encode())
    assert read(dos)[0].fingerprint == expected


def test_names_alone(tmp_path):
    folder = write_release(tmp_path / "level0", {"MRCONSO": PETS["MRCONSO"]})
    terminology, report = read(folder)
    assert terminology["UMLS:C0000001"].types == ()
    assert report.sources[0].skipped["all semantic types, for there is no MRSTY.RRF"] == 1
    with pytest.raises(
        DataError, match=r"has no MRSTY.RRF, which has the semantic types that `types` asks for; it has: MRCONSO"
    ):
        read(folder, types=["DISO"])
    with pytest.raises(DataError, match=r"has no MRREL.RRF, which has the hierarchy; it has: MRCONSO"):
        read(folder, hierarchy=["ZOO"])
    with pytest.raises(DataError, match=r"has no MRSAB.RRF, which tells the families of vocabularies"):
        read(folder, families=["PET"])
    with pytest.raises(DataError, match=r"has no MRDEF.RRF"):
        read(folder, definitions=["PET"])


def test_bad_rows_are_counted_with_their_places(release):
    path = release / "META" / "MRCONSO.RRF"
    lines = path.read_bytes().splitlines()
    lines[1:1] = [
        b"C0000001|ENG|",
        b"\xff".join([lines[0][:-5], lines[0][-5:]]),
        b"",
        b"X|" + lines[0].split(b"|", 1)[1],
    ]
    lines[8] = lines[8].replace(b"Dog", b"D\xffg")
    path.write_bytes(b"\n".join(lines))
    terminology, report = read(release)
    assert report.sources[0].skipped == {
        "suppressed name": 1,
        "row with 2 columns, expected 18": 1,
        "row that is not UTF-8": 1,
        "row without a CUI": 1,
    }
    assert report.sources[0].examples["row with 2 columns, expected 18"] == ["MRCONSO.RRF:2"]
    assert names(terminology, "UMLS:C0000001")[0][0] == "Felis catus"


def test_bad_releases(tmp_path, release):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"holds no file like MRCONSO.RRF or RXNCONSO.RRF; unpack the release"):
        read(empty)
    write_release(empty, {"MRSTY": PETS["MRSTY"]})
    with pytest.raises(DataError, match=r"has no MRCONSO.RRF, which has the names; it has: MRSTY"):
        read(empty)
    packed = write_release(tmp_path / "packed", PETS, packed=True) / "MRCONSO.RRF.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"MRCONSO.RRF.gz: is a damaged gzip file: .*; fetch it again"):
        read(packed.parent)
    (release / "META" / "MRCONSO.RRF").write_text("a\tb\tc\n" * 30)
    with pytest.raises(DataError, match=r"MRCONSO.RRF:1: row with 1 columns, expected 18, and 30 rows like it"):
        read(release)
    (release / "META" / "MRCONSO.RRF").write_bytes(b"")
    with pytest.raises(DataError, match=r"MRCONSO.RRF: is empty"):
        read(release)


def atom(cui, vocabulary, term_type, code, text, **more):
    marks = {"LAT": "ENG", "TS": "S", "STT": "PF", "ISPREF": "Y"}
    return {"CUI": cui, "SAB": vocabulary, "TTY": term_type, "CODE": code, "STR": text, **marks, **more}


@pytest.mark.parametrize("block", [60, 10_000])
def test_a_code_is_called_by_its_own_best_name(tmp_path, monkeypatch, block):
    """Of two codes of one CUI, and of one code in two CUIs, wherever blocks end."""
    monkeypatch.setattr(xnorm.delimited, "BLOCK", block)
    rows = [
        atom("C0000001", "PET", "SY", "17", "Moggy", TS="P"),
        atom("C0000001", "PET", "PT", "99", "Feline"),
        atom("C0000001", "ZOO", "PT", "Z1", "Felis"),
        atom("C0000009", "PET", "PT", "17", "Cat"),
        atom("C0000009", "PET", "PT", "NOCODE", "Nothing"),
        atom("C0000010", "ZOO", "PT", "Z2", "Dog"),
    ]
    ranks = [{"RANK": rank, "SAB": "PET", "TTY": tty} for rank, tty in (("9", "PT"), ("1", "SY"))]
    ranks.append({"RANK": "8", "SAB": "ZOO", "TTY": "PT"})
    folder = write_release(tmp_path / "release", {"MRCONSO": rows, "MRRANK": ranks})
    terminology, report = read(folder, ids="PET", extend=True, xrefs=["ZOO", "PET"])
    assert {c: terminology[c].name for c in ("PET:17", "PET:99")} == {"PET:17": "Cat", "PET:99": "Feline"}
    assert names(terminology, "PET:17") == [
        ("Moggy", "en", "exact", "PET"),
        ("Feline", "en", "exact", "PET"),
        ("Felis", "en", "exact", "ZOO"),
        ("Cat", "en", "preferred", "PET"),
        ("Nothing", "en", "exact", "PET"),
    ]
    assert set(terminology["PET:17"].xrefs) == {"ZOO:Z1", "PET:17", "PET:99", "UMLS:C0000001", "UMLS:C0000009"}
    assert len(terminology) == 2
    skipped = report.sources[0].skipped
    assert (skipped["name without a code"], skipped["name of a concept without a code of PET"]) == (1, 1)
    terminology, report = read(folder, ids="PET")
    assert names(terminology, "PET:17") == [("Moggy", "en", "exact", "PET"), ("Cat", "en", "preferred", "PET")]
    assert report.sources[0].skipped["name of another vocabulary"] == 2


def test_a_release_out_of_order_is_refused(release):
    path = release / "META" / "MRCONSO.RRF"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines, lines[0]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"MRCONSO.RRF:13: is not sorted by CUI, as releases are; sort it: LC_ALL=C"):
        read(release)


def test_empty_files_of_a_subset(release):
    for name in ("MRSTY", "MRDEF", "MRRANK", "MRCUI", "MRREL"):
        (release / "META" / f"{name}.RRF").write_text("")
    terminology, _ = read(release, hierarchy=["ZOO"])
    assert (len(terminology), terminology.retired.num_rows, terminology["UMLS:C0000001"].types) == (5, 0, ())


def test_definitions_are_no_records(release):
    terminology, report = read(release, vocabularies=["ZOO"], filters={"scopes": ["exact"]})
    assert (report.sources[0].concepts, report.without_names, len(terminology)) == (2, 1, 1)


def test_a_file_that_is_none_of_a_release(release):
    other = release / "META" / "MRCONSO_GER.RRF"
    other.write_text("")
    with pytest.raises(DataError, match=r"MRCONSO_GER.RRF: is no file of a release; name MRCONSO.RRF"):
        read(other)


def test_one_pair_for_several_versions(release):
    path = release / "META" / "MRCUI.RRF"
    again = [{"CUI1": "C0000010", "VER": "2097AA", "REL": "SY", "CUI2": "C0000001"}]
    path.write_text(path.read_text() + rrf("MRCUI", again))
    assert read(release)[0].retired.to_pylist()[0]["replaced_by"] == ["UMLS:C0000001"]
    # what a filter leaves out is not gone from the release
    assert "UMLS:C0000002" not in read(release, types=["T184"])[0].retired.column("id").to_pylist()


def test_a_file_that_was_cut_off(release):
    names = release / "META" / "MRCONSO.RRF"
    size = names.stat().st_size
    listed = [{"FIL": "MRCONSO.RRF", "RWS": "12", "BTS": str(size)}, {"FIL": "MRSTY.RRF", "RWS": "?", "BTS": ""}]
    write_release(release / "META", {"MRFILES": listed})
    assert len(read(release)[0]) == 5
    names.write_bytes(names.read_bytes()[:-300])
    with pytest.raises(
        DataError, match=rf"MRCONSO.RRF: has {size - 300} bytes where MRFILES.RRF says {size}: it was cut"
    ):
        read(release)
