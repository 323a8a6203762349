"""ICD-10 in the text files of WHO, BfArM and CMS: codes, alphabets, order files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from xnorm.config import validate
from xnorm.errors import DataError
from xnorm.registry import find_component
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName, SourceReport

# invented diseases in the layout of the published files
WHO = """\
3;N;X;01;A00;A00.-;A00;A00;Pet pox;Pet pox;;;001;4-002;3-003;2-001;1-002
4;T;X;01;A00;A00.0;A00.0;A000;Pet pox of cats;Pet pox;Of cats;;001;4-002;3-003;2-001;1-002
4;T;X;01;A00;A00.9*;A00.9;A009;Pet pox, unspecified;Pet pox;Pet pox, unspecified;;001;4-002;3-003;2-001;1-002
3;T;X;02;C16;C16;C16;C16;Lump;Lump;;;001;4-002;3-003;2-001;1-002
3;T;X;22;U07;U07!;U07;U07;New pox;New pox;;;001;4-002;3-003;2-001;1-002
"""
GROUPS = (
    "A00;A09;01;Pox; of pets\nC00;C97;02;Lumps\nC00;C75;02;Solid lumps\nC15;C26;02;Lumps of the belly\nU00;U49;22;New\n"
)
CHAPTERS = "01;Pox and other; things\n02;Lumps\n22;Codes for special purposes\n"
GM = "5;T;S;04;E10;E10.01;E10.01;E1001;Sugar: With coma: Off the rails;Sugar;Sugar: With coma;Off the rails;P;P"
ALPHABET = """\
1|1|1|A00.0||||Katzenpocken
0|2|1|||||Pocken - s.a. Katzenpocken
2|3|0|A00.0+|A00.9*|||Katzenpocken im Kopf
3|4|1|A00.-||U07!|C16|Neue Pocken mit Beule
1|5|1|A00.9||||
1|6|1|||||Nichts
"""
ORDER = (
    "00001 A00     0 Pet pox                                                      Pet pox\n"
    "00002 A000    1 Pet pox of cats                                              Pet pox of cats and kittens\n"
    "00003 T36     0 Poison                                                       Poison by food\n"
    "00004 T360    0 Poison, dish                                                 Poison by a dish\n"
    "00005 T360X1A 1 Poison, dish, first                                          Poison by a dish, first time\n"
    "00006 U07     1 Ménière pox                                                  Ménière pox\n"
)


def written(tmp_path: Path, text: str | bytes, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def parse(kind: str, path: Path, **options: object) -> tuple[list[RawConcept], SourceReport]:
    report, parser = SourceReport("icd", str(path)), find_component("terminology", kind)
    config = validate(parser.config_class, {"type": kind, "path": path, **options}, where="test")
    return list(parser(config).read(report)), report


def message(kind: str, path: Path, **options: object) -> str:
    with pytest.raises(DataError) as e:
        parse(kind, path, **options)
    return str(e.value)


@pytest.fixture
def who(tmp_path):
    written(tmp_path, GROUPS, "icd102019syst_groups.txt")
    written(tmp_path, CHAPTERS, "icd102019syst_chapters.txt")
    return written(tmp_path, WHO.replace("\n", "\r\n"), "icd102019syst_codes.txt")


# codes


def test_lines_with_another_number_of_fields(tmp_path):
    path = written(tmp_path, WHO.replace("Of cats;", "Of; cats;"), "icd102019syst_codes.txt")
    concepts, report = parse("icd10_codes", path, headings=False)
    assert len(concepts) == 5
    assert report.skipped == {"line with another number of fields than the first, kept": 1}
    assert report.examples == {"line with another number of fields than the first, kept": ["line 2"]}


def concept(code: str, title: str, types: list[str], parent: str | None, line: int, lang: str = "en") -> RawConcept:
    parents = [] if parent is None else [f"ICD10:{parent}"]
    return RawConcept(f"ICD10:{code}", [RawName(title, lang, "preferred")], types, parents=parents, line=line)


def test_every_code(who):
    concepts, report = parse("icd10_codes", who, prefix="ICD10")
    assert concepts == [
        concept("I", "Pox and other; things", ["chapter"], None, 1),
        concept("II", "Lumps", ["chapter"], None, 2),
        concept("XXII", "Codes for special purposes", ["chapter"], None, 3),
        concept("A00-A09", "Pox; of pets", ["block"], "I", 1),
        concept("C00-C97", "Lumps", ["block"], "II", 2),
        concept("C00-C75", "Solid lumps", ["block"], "C00-C97", 3),
        concept("C15-C26", "Lumps of the belly", ["block"], "C00-C75", 4),
        concept("U00-U49", "New", ["block"], "XXII", 5),
        concept("A00", "Pet pox", ["category"], "A00-A09", 1),
        concept("A00.0", "Pet pox of cats", ["category", "terminal"], "A00", 2),
        concept("A00.9", "Pet pox, unspecified", ["category", "aster", "terminal"], "A00", 3),
        concept("C16", "Lump", ["category", "terminal"], "C15-C26", 4),
        concept("U07", "New pox", ["category", "optional", "terminal"], "U00-U49", 5),
    ]
    assert report.skipped == {}


def test_codes_of_bfarm(tmp_path):
    rest = ";001;002;003;004;005;9;9;9999;9999;9;N;{};N;N\n"
    rows = (
        "3;N;X;04;E10;E10.-;E10;E10;Sugar;Sugar;;;V;V",
        "4;N;S;04;E10;E10.0-;E10.0;E100;Sugar: With coma;Sugar;Sugar: With coma;;V;V",
        GM,
        "4;T;X;04;E10;E10.8;E10.8;E108;Not used;Sugar;Not used;;V;V",
    )
    text = "".join(row + rest.format("N" if "Not used" in row else "J") for row in rows)
    path = written(tmp_path, gzip.compress(text.encode()), "icd10gm2026syst_kodes.txt.gz")
    concepts, report = parse("icd10_codes", path, prefix="ICD10", headings=False)
    assert concepts == [
        concept("E10", "Sugar", ["category"], None, 1, "de"),
        concept("E10.0", "Sugar: With coma", ["category"], "E10", 2, "de"),
        concept("E10.01", "Sugar: With coma: Off the rails", ["category", "terminal"], "E10.0", 3, "de"),
    ]
    assert report.skipped == {"code without content": 1}
    assert report.examples == {"code without content": ["E10.8"]}
    assert parse("icd10_codes", path, headings=False, lang="gsw")[0][0].names[0].lang == "gsw"


def test_files_beside_the_codes(tmp_path, who):
    missing = tmp_path / "icd10gm2026syst_gruppen.txt"
    path = written(tmp_path, WHO, "icd10gm2026syst_kodes.txt")
    assert message("icd10_codes", path) == f"{missing}: no such file"
    written(tmp_path, CHAPTERS, "icd10gm2026syst_kapitel.txt")
    written(tmp_path, GROUPS, "icd10gm2026syst_gruppen.txt")
    assert len(parse("icd10_codes", path)[0]) == 13
    path = written(tmp_path, WHO, "icd.txt")
    assert message("icd10_codes", path) == (
        f"{path}: its name holds neither 'codes' nor 'kodes', so that the files of groups and chapters cannot be found"
        "; call it as it was published, or set `headings: false`"
    )
    assert len(parse("icd10_codes", path, headings=False)[0]) == 5


def test_bad_codes(tmp_path, who):
    def told(text: str | bytes) -> str:
        return message("icd10_codes", written(tmp_path, text, who.name)).removeprefix(f"{who}")

    assert told("3;N;X;01\n") == ":1: has 4 fields, expected 12 with a semicolon between them"
    assert told("\n" + CHAPTERS.replace(";", ";" * 12)) == (
        ":2: level: expected 3, 4 or 5, found '01'; is it the file of codes (`*syst_codes.txt`, `*syst_kodes.txt`)?"
    )
    assert told(WHO.encode() + b"3;N;X;01;A01;A01;A01;A01;M\xe9ni;;;") == (
        ":6: is not UTF-8 (byte 0xe9); convert it to UTF-8"
    )
    assert told("") == ": is empty"
    assert told(gzip.compress((WHO * 50).encode())[:90]).startswith(": is a damaged gzip file")
    written(tmp_path, "A00;A09;01\n", "icd102019syst_groups.txt")
    assert told(WHO).endswith("icd102019syst_groups.txt:1: has 3 fields, expected 4 with a semicolon between them")


def test_codes_without_a_title_are_counted(tmp_path):
    path = written(tmp_path, "3;N;X;01;A00;A00;A00;A00;;;;\n3;N;X;01;A00;;;;x;;;\n", "codes.txt")
    concepts, report = parse("icd10_codes", path, headings=False)
    assert (concepts, report.skipped) == ([], {"code without a title": 1, "line without a code": 1})


# alphabets


def test_an_alphabet(tmp_path):
    path = written(tmp_path, b"\xef\xbb\xbf" + ALPHABET.encode(), "icd10gm2026alpha_edvtxt_20250926.txt")
    concepts, report = parse("icd10_alphabet", path, prefix="ICD10GM")
    assert concepts == [
        RawConcept("ICD10GM:A00.0", [RawName("Katzenpocken", "de", "exact")], line=1),
        RawConcept("ICD10GM:A00.0", [RawName("Katzenpocken im Kopf", "de", "exact")], line=3),
        RawConcept("ICD10GM:A00", [RawName("Neue Pocken mit Beule", "de", "exact")], line=4),
    ]
    assert report.skipped == {
        "line that is not valid or refers to others": 1, "further code of a text": 2, "line without a text": 1,
        "line without a code": 1,
    }  # fmt: skip
    concepts, _ = parse("icd10_alphabet", path, codes="all")
    assert [(c.id, c.names[0].scope) for c in concepts[1:]] == [
        ("A00.0", "exact"), ("A00.9", "related"), ("A00", "exact"), ("U07", "related"), ("C16", "related"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("1|17|1|A00.0+|B01.1*||x", ["A00.0", "B01.1"]),  # ICD-10-WHO
        ("1|99|5-820.00||x", ["5-820.00"]),  # OPS
        ("1|99|1-20a.10|8-98f.0|x", ["1-20a.10", "8-98f.0"]),
        ("1|I123|A00.0||||558|x", ["A00.0"]),  # Alpha-ID-SE: the last one is an ORPHAcode
        ("1|7|1|A00.0+|B01.1*||A00.0|x", ["A00.0", "B01.1"]),
        ("0|I124|A00.0||||558|x", []),
    ],
)
def test_layouts_of_alphabets(tmp_path, line, codes):
    concepts, _ = parse("icd10_alphabet", written(tmp_path, line + "\r\n\r\n", "a.txt"), codes="all")
    assert [c.id for c in concepts] == codes
    assert all(c.names[0].text == "x" for c in concepts)


def test_an_alphabet_over_its_codes(tmp_path, who):
    path = written(tmp_path, ALPHABET, "icd10gm2026alpha_edvtxt_20250926.txt")
    sources = [
        {"type": "icd10_codes", "path": who, "lang": "de"},
        {"type": "icd10_alphabet", "path": path, "name": "EDV"},
    ]
    terminology, _ = read_terminology(validate(TerminologyConfig, {"sources": sources}, where="test"))
    assert [(n.text, n.scope, n.source) for n in terminology["A00.0"].names] == [
        ("Pet pox of cats", "preferred", "icd102019syst_codes"),
        ("Katzenpocken", "exact", "EDV"),
        ("Katzenpocken im Kopf", "exact", "EDV"),
    ]


def test_bad_alphabets(tmp_path):
    path = written(tmp_path, WHO, "a.txt")
    assert message("icd10_alphabet", path) == (
        f"{path}:1: has 1 fields, expected at least 5 with '|' between them; is it an alphabet in the EDV-Fassung "
        "(`*alpha_edvtxt*.txt`)?"
    )
    path = written(tmp_path, ALPHABET.encode() + "1|1|1|A00||||Kätzchen".encode("latin-1"), "b.txt")
    assert message("icd10_alphabet", path) == f"{path}:7: is not UTF-8 (byte 0xe4); convert it to UTF-8"


# order files of CMS


def test_an_order_file(tmp_path):
    concepts, report = parse("icd10cm_order", written(tmp_path, ORDER.replace("\n", "\r\n"), "icd10cm_order_2026.txt"))
    assert concepts == [
        RawConcept("ICD10CM:A00", [RawName("Pet pox", "en", "preferred")], ["header"], line=1),
        RawConcept(
            "ICD10CM:A00.0",
            [RawName("Pet pox of cats and kittens", "en", "preferred"), RawName("Pet pox of cats", "en", "exact")],
            ["billable"],
            parents=["ICD10CM:A00"],
            line=2,
        ),
        RawConcept(
            "ICD10CM:T36",
            [RawName("Poison by food", "en", "preferred"), RawName("Poison", "en", "exact")],
            ["header"],
            line=3,
        ),
        RawConcept(
            "ICD10CM:T36.0",
            [RawName("Poison by a dish", "en", "preferred"), RawName("Poison, dish", "en", "exact")],
            ["header"],
            parents=["ICD10CM:T36"],
            line=4,
        ),
        RawConcept(
            "ICD10CM:T36.0X1A",
            [RawName("Poison by a dish, first time", "en", "preferred"), RawName("Poison, dish, first", "en", "exact")],
            ["billable"],
            parents=["ICD10CM:T36.0"],
            line=5,
        ),
        RawConcept("ICD10CM:U07", [RawName("Ménière pox", "en", "preferred")], ["billable"], line=6),
    ]
    assert report.skipped == {}
    concepts, _ = parse("icd10cm_order", tmp_path / "icd10cm_order_2026.txt", short_titles=False, prefix="CM")
    assert [c.id for c in concepts][:2] == ["CM:A00", "CM:A00.0"]
    assert all(len(c.names) == 1 for c in concepts)


def test_an_order_file_of_procedures(tmp_path):
    text = "00001 001     0 Bypass                                                       Bypass of a pipe\n"
    text += "00002 0016070 1 Bypass x                                                     Bypass of a pipe with x\n\n"
    concepts, _ = parse("icd10cm_order", written(tmp_path, text, "icd10pcs_order_2026.txt"), system="ICD10PCS")
    assert [(c.id, c.parents) for c in concepts] == [("ICD10PCS:001", []), ("ICD10PCS:0016070", ["ICD10PCS:001"])]


@pytest.mark.parametrize(
    "line",
    [
        "A000    Pet pox of cats",  # icd10cm_codes_2026.txt
        "00001 A00 0 Pet pox",
        "00001 A00     2 Pet pox",
        "1;A00;0;Pet pox",
        "00001 a00     0 Pet pox",
    ],
)
def test_lines_of_another_form(tmp_path, line):
    path = written(tmp_path, ORDER + line + "\n", "order.txt")
    assert message("icd10cm_order", path) == (
        f"{path}:7: expected an order number, a code, 0 or 1, and titles in their columns, found {line!r:.60}; is it "
        "an order file (icd10cm_order_*.txt), as CMS has it?"
    )


def test_bad_order_files(tmp_path):
    path = written(tmp_path, ORDER.encode("latin-1"), "order.txt")
    assert message("icd10cm_order", path) == f"{path}:6: is not UTF-8 (byte 0xe9); convert it to UTF-8"
    path = written(tmp_path, "", "order.txt")
    assert message("icd10cm_order", path) == f"{path}: is empty"
    path = written(tmp_path, gzip.compress((ORDER * 50).encode())[:90], "order.txt.gz")
    assert message("icd10cm_order", path).startswith(f"{path}: is a damaged gzip file")
    assert len(parse("icd10cm_order", written(tmp_path, "00001 A00     1 Short", "order.txt"))[0]) == 1
