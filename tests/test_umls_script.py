"""The scripts that write a synthetic UMLS release and time its readers, at a small size."""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from xnorm.semantic_types import TYPE_NAMES

SCRIPTS = Path(__file__).parent.parent / "data_scripts"
ROWS, CONCEPTS = 30_000, 7_000
COLUMNS = {
    "MRCONSO": 18, "MRSTY": 6, "MRDEF": 8, "MRSAB": 25, "MRCUI": 7, "MRREL": 16, "MRRANK": 4, "MRFILES": 6,
}  # fmt: skip
SORTED = ("MRCONSO", "MRSTY", "MRDEF", "MRCUI", "MRREL")


def make(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "synthetic_umls.py"), str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def sized(*options: str) -> list[str]:
    return ["--rows", str(ROWS), "--concepts", str(CONCEPTS), *options]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("umls")
    done = make(folder, *sized())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def tables(folder) -> dict[str, list[list[str]]]:
    """The rows of each file, without the empty column after the last bar."""
    out = {}
    for name in COLUMNS:
        lines = (folder / "META" / f"{name}.RRF").read_bytes().decode("utf-8").split("\n")
        assert lines.pop() == ""
        out[name] = [line.split("|")[:-1] for line in lines]
    return out


@pytest.fixture(scope="module")
def names(tables) -> list[dict[str, str]]:
    columns = "CUI LAT TS LUI STT SUI ISPREF AUI SAUI SCUI SDUI SAB TTY CODE STR SRL SUPPRESS CVF".split()
    return [dict(zip(columns, row, strict=True)) for row in tables["MRCONSO"]]


def grouped(rows, *columns):
    groups = defaultdict(list)
    for row in rows:
        groups[tuple(row[c] for c in columns)].append(row)
    return groups


def test_files_have_the_layout_of_the_published_ones(folder, tables):
    for name, columns in COLUMNS.items():
        data = (folder / "META" / f"{name}.RRF").read_bytes()
        lines = data.decode("utf-8").split("\n")[:-1]
        assert b"\r" not in data
        assert lines
        assert all(line.endswith("|") and line.count("|") == columns for line in lines), name
        if name in SORTED:
            assert sorted(line.encode() for line in lines) == [line.encode() for line in lines], name
    assert len(tables["MRCONSO"]) == ROWS
    described = {row[0]: (int(row[3]), int(row[4]), int(row[5])) for row in tables["MRFILES"]}
    for name in set(COLUMNS) - {"MRFILES"}:
        size = (folder / "META" / f"{name}.RRF").stat().st_size
        assert described[f"{name}.RRF"] == (COLUMNS[name], len(tables[name]), size)
    assert "umls.release.name=2099AA\n" in (folder / "META" / "release.dat").read_text(encoding="utf-8")


def test_every_value_of_a_name_is_of_its_kind(names):
    kinds = {
        "CUI": r"C\d{7}", "LAT": "[A-Z]{3}", "TS": "[PS]", "LUI": r"L\d{8}", "STT": "PF|VC|VO|VW", "SUI": r"S\d{8}",
        "ISPREF": "[NY]", "AUI": r"A\d{8}", "SAUI": r"\d*", "SCUI": r"[\w.:-]*", "SDUI": r"[\w.:-]*",
        "SAB": r"[A-Z0-9][\w.-]{1,19}", "TTY": "[A-Z0-9]{2,5}", "CODE": r"[\w.:-]+", "STR": r"\S|\S.*\S", "SRL": r"\d",
        "SUPPRESS": "[NOYE]", "CVF": "|256|4352",
    }  # fmt: skip
    for column, pattern in kinds.items():
        wrong = [row[column] for row in names if not re.fullmatch(pattern, row[column])]
        assert wrong == [], column
    assert len({row["CUI"] for row in names}) == CONCEPTS
    assert len({row["AUI"] for row in names}) == ROWS


def test_one_name_of_a_concept_and_language_is_preferred(names, tables):
    rank = {(sab, tty): int(rank) for rank, sab, tty, _ in tables["MRRANK"]}
    for rows in grouped(names, "CUI", "LAT").values():
        (best,) = [row for row in rows if (row["TS"], row["STT"], row["ISPREF"]) == ("P", "PF", "Y")]
        order = [(row["SUPPRESS"] != "N", -rank.get((row["SAB"], row["TTY"]), 9999), row["AUI"]) for row in rows]
        assert rows[order.index(min(order))] is best or best["SAB"] == "SRC"
        assert {row["LUI"] for row in rows if row["TS"] == "P"} == {best["LUI"]}
    for rows in grouped(names, "CUI", "LUI").values():
        assert len({row["SUI"] for row in rows if row["STT"] == "PF"}) == 1
    for rows in grouped(names, "CUI", "SUI").values():
        assert [row["ISPREF"] for row in rows].count("Y") == 1


def test_strings_and_terms_have_numbers_of_their_own(names):
    assert all(len({row["SUI"] for row in rows}) == 1 for rows in grouped(names, "LAT", "STR").values())
    assert all(len({(r["LAT"], r["STR"]) for r in rows}) == 1 for rows in grouped(names, "SUI").values())
    assert all(len({row["LUI"] for row in rows}) == 1 for rows in grouped(names, "SUI").values())
    cases = [{row["STR"] for row in rows} for rows in grouped(names, "LUI").values()]
    assert any(len(strings) > 1 and len({s.lower() for s in strings}) == 1 for strings in cases)


def test_shares_are_like_those_of_the_real_release(names):
    langs = Counter(row["LAT"] for row in names)
    assert len(langs) >= 23  # the smallest two have less than a name in 2000
    assert 0.67 < langs["ENG"] / ROWS < 0.74
    assert 0.07 < langs["SPA"] / ROWS < 0.12
    marks = Counter(row["SUPPRESS"] for row in names)
    assert 0.8 < marks["N"] / ROWS < 0.9
    assert marks["O"] > marks["Y"] > marks["E"] > 0
    assert len({row["SAB"] for row in names}) > 150
    distinct = len({(row["CUI"], row["LAT"], row["STR"]) for row in names}) / ROWS
    assert 0.7 < distinct < 0.85
    lengths = [len(row["STR"]) for row in names]
    assert 33 < sum(lengths) / ROWS < 41
    assert max(lengths) > 500
    assert any('"' in row["STR"] for row in names)
    scripts = {
        "RUS": "[а-яё]",
        "GRE": "[α-ω]",
        "CHI": "[\u4e00-\u9fff]",
        "JPN": "[ァ-ヺ]",
        "KOR": "[가-힣]",
        "GER": "[äöü]",
    }
    for lang, letter in scripts.items():
        assert sum(bool(re.search(letter, row["STR"])) for row in names if row["LAT"] == lang) > langs[lang] / 4, lang


def test_codes_follow_their_vocabulary(names):
    patterns = {
        "SNOMEDCT_US": r"(\d+01\d)\|(\d+00\d)\|\|\2",
        "MSH": r"\|M\d{7}\|(D\d{6,7})\|\1", "RXNORM": r"\d{8}\|(\d+)\|\|\1",
        "NCI": r"\|(C\d+)\|\|\1", "LNC": r"\|(\d+-\d)\|\|\1", "MDR": r"\|\|(1\d{7})\|\1", "GO": r"\|\|(GO:\d{7})\|\1",
        "ICD10CM": r"\|\|([A-Z]\d\d\.\d+)\|\1", "NCBI": r"\|\|\|\d+", "MTH": r"\|\|\|NOCODE",
    }  # fmt: skip
    rows = [row for row in names if row["SAB"] in patterns]
    assert {row["SAB"] for row in rows} == set(patterns)
    for row in rows:
        text = "|".join(row[column] for column in ("SAUI", "SCUI", "SDUI", "CODE"))
        assert re.fullmatch(patterns[row["SAB"]], text), row
    # one code is of one concept; a translation has the codes of what it translates
    mesh = [row for row in names if row["SAB"] in ("MSH", "MSHGER", "MSHFRE")]
    assert all(len({row["CUI"] for row in rows}) == 1 for rows in grouped(mesh, "CODE").values())
    assert all(len({row["CODE"] for row in rows}) == 1 for rows in grouped(mesh, "CUI").values())


def test_every_concept_has_a_type_and_definitions_belong_to_names(names, tables):
    cuis = {row["CUI"] for row in names}
    assert {row[0] for row in tables["MRSTY"]} == cuis
    assert all(TYPE_NAMES[tui] == name for _, tui, _, name, _, _ in tables["MRSTY"])
    assert len({(row[0], row[1]) for row in tables["MRSTY"]}) == len(tables["MRSTY"]) > len(cuis)
    own = {row["AUI"]: (row["CUI"], row["SAB"]) for row in names}
    assert all(own[aui] == (cui, sab) for cui, aui, _, _, sab, *_ in tables["MRDEF"])
    assert all(len(text) > 10 for *_, text, _, _ in tables["MRDEF"])
    numbers = [row[4] for row in tables["MRSTY"]] + [row[2] for row in tables["MRDEF"]]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"AT\d{8}", number) for number in numbers)


def test_vocabularies_are_described(names, tables):
    current = {row[3]: row for row in tables["MRSAB"] if row[21] == "Y"}
    rows, concepts = Counter(row["SAB"] for row in names), defaultdict(set)
    for row in names:
        concepts[row["SAB"]].add(row["CUI"])
        assert row["LAT"] == current[row["SAB"]][19]
        assert row["TTY"] in current[row["SAB"]][17].split(",")
        assert row["SRL"] == current[row["SAB"]][13]
    assert {sab: (int(row[14]), int(row[15])) for sab, row in current.items() if sab in rows} == {
        sab: (n, len(concepts[sab])) for sab, n in rows.items()
    }
    assert current["MSHGER"][5] == "MSH"
    sources = {row["CUI"] for row in names if row["SAB"] == "SRC"}
    assert {cui for row in tables["MRSAB"] for cui in row[:2] if cui} == sources
    ranks = [int(row[0]) for row in tables["MRRANK"]]
    assert ranks == sorted(ranks, reverse=True)
    assert {(row["SAB"], row["TTY"]) for row in names} <= {(sab, tty) for _, sab, tty, _ in tables["MRRANK"]}


def test_retired_concepts_are_gone_and_lead_to_live_ones(names, tables):
    cuis = {row["CUI"] for row in names}
    assert not {row[0] for row in tables["MRCUI"]} & cuis
    assert {row[2] for row in tables["MRCUI"]} == {"SY", "DEL", "RO", "RB", "RN"}
    for _, _, rel, _, _, new, mapped in tables["MRCUI"]:
        assert (new == "" and mapped == "") if rel == "DEL" else (new in cuis and mapped == "Y")


def test_hierarchies_have_both_directions_and_no_cycle(names, tables):
    own = {row["AUI"]: (row["CUI"], row["SAB"]) for row in names}
    edges = defaultdict(set)
    for cui1, aui1, _, rel, cui2, aui2, _, rela, _, _, sab, *_ in tables["MRREL"]:
        assert own[aui1] == (cui1, sab)
        assert own[aui2] == (cui2, sab)
        edges[rel].add((sab, cui1, cui2))
        assert (rel, rela) in {
            ("PAR", "inverse_isa"), ("PAR", ""), ("CHD", "isa"), ("CHD", ""), ("RO", "related_to"),
        }  # fmt: skip
    assert edges["CHD"] == {(sab, parent, child) for sab, child, parent in edges["PAR"]}
    assert {sab for sab, _, _ in edges["PAR"]} == {"SNOMEDCT_US", "MSH", "NCI", "NCBI", "GO"}
    parents = defaultdict(set)
    for _, child, parent in edges["PAR"]:
        parents[child].add(parent)
    assert max(map(len, parents.values())) > 1
    left = {cui for pair in edges["PAR"] for cui in pair[1:]}
    while left:  # take away what has no parent any more
        free = {cui for cui in left if not parents[cui] & left}
        assert free, "a cycle"
        left -= free
    numbers = [row[8] for row in tables["MRREL"]]
    assert len(set(numbers)) == len(numbers)


def test_the_same_seed_writes_the_same_bytes_compressed_or_not(folder, tmp_path):
    for name, options in (("again", ["--gzip"]), ("other", ["--gzip", "--seed", "1"])):
        assert make(tmp_path / name, *sized(*options)).returncode == 0
    for name in COLUMNS:
        again = (tmp_path / "again" / "META" / f"{name}.RRF.gz").read_bytes()
        assert again[3:8] == bytes(5)  # neither a name nor a time in the header
        assert gzip.decompress(again) == (folder / "META" / f"{name}.RRF").read_bytes()
    other = gzip.decompress((tmp_path / "other" / "META" / "MRCONSO.RRF.gz").read_bytes())
    assert other != (folder / "META" / "MRCONSO.RRF").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--concepts", "1999"], "--concepts 1999: expected 2,000"),
        (["--concepts", "2000", "--rows", "3999"], "--rows 3999: expected 4,000"),
        (["--seed", "-1", *sized()], "--seed -1"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, options, message):
    done = make(tmp_path / "umls", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "umls").exists()


def test_a_release_is_not_overwritten(folder):
    done = make(folder, *sized())
    assert done.returncode == 2
    assert "is there already" in done.stderr


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import speed_umls

    return speed_umls


def task(folder: Path, subset: str, **more) -> argparse.Namespace:
    return argparse.Namespace(folder=folder, subset=subset, tables=folder / "tables", sample=10**9, **more)


def test_plain_python_and_xmens_pattern_find_what_is_there(folder, names, tables, speed):
    types = {"T019", "T020", "T033", "T037", "T046", "T047", "T048", "T049", "T050", "T184", "T190", "T191"}
    disorders = {row[0] for row in tables["MRSTY"] if row[1] in types}
    wanted = [
        row for row in names
        if row["SUPPRESS"] == "N" and row["SAB"] in ("MSHGER", "MDRGER") and row["CUI"] in disorders
    ]  # fmt: skip
    found = speed.plain_python(task(folder, "German MSH and MDR, disorders"))
    assert (found["concepts"], found["names"]) == (len({row["CUI"] for row in wanted}), len(wanted))
    concepts: dict[str, dict[str, object]] = {}
    conso = speed.Sample(folder / "META" / "MRCONSO.RRF", speed.CONSO, ROWS)
    assert conso.share == 1
    speed.add_names(concepts, conso, "MSHGER", "GER")
    own = grouped([row for row in names if row["SAB"] == "MSHGER" and row["SUPPRESS"] == "N"], "CUI")
    assert {cui for (cui,) in own} == set(concepts)
    for (cui,), rows in own.items():
        kept = [
            *concepts[cui]["aliases"],
            *([concepts[cui]["canonical_name"]] if "canonical_name" in concepts[cui] else []),
        ]
        assert sorted(kept) == sorted(row["STR"] for row in rows)
    result = speed.xmen(task(folder, "English, 18 vocabularies"))
    assert result["note"].startswith("18 passes")
    assert result["seconds"] > 0


def test_xnorm_keeps_the_concepts_that_plain_python_keeps(folder, names, speed):
    for subset in (speed.WHOLE, *speed.SUBSETS):
        assert speed.read(task(folder, subset))["concepts"] == speed.plain_python(task(folder, subset))["concepts"]
    opened = speed.open_tables(task(folder, speed.WHOLE))
    assert opened["concepts"] == len({row["CUI"] for row in names if row["SUPPRESS"] == "N"})
    distinct = {(row["CUI"], row["LAT"], row["STR"]) for row in names if row["SUPPRESS"] == "N"}
    assert opened["names"] == len(distinct)


def test_the_table_says_what_failed_and_compares_what_did_not(folder, tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "speed_umls.py"),
        str(folder),
        "--sample",
        "2000",
        "--tables",
        str(tmp_path),
    ]
    done = subprocess.run([*command, "--parts", "open,xmen"], capture_output=True, text=True, check=True)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| x")]
    assert "failed: " in rows[0]
    assert [line.count("|") for line in rows] == [9] * 5
    assert "| ~" in rows[1]
    assert "of its bytes" in rows[1]
