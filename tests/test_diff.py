"""What changed between two releases: every row against the two releases as they are written down."""

from __future__ import annotations

import csv
import io
import json

import pytest
from terminology_data import NEW, OLD, error, invoke, make, make_index, works

import xnorm.diff
from xnorm.diff import CHANGES, diff

COLUMNS = ["id", "change", "name", "lang", "old", "new", "reason"]
CHANGED = [
    ("K:1", "renamed", "Nasopharyngitis", None, "Cold", "Nasopharyngitis", None),
    ("K:1", "name added", "Nasopharyngitis", "en", None, "Nasopharyngitis", None),
    ("K:1", "scope changed", "Nasopharyngitis", "en", "Cold", "Cold", "preferred to exact"),
    ("K:1", "type added", "Nasopharyngitis", None, None, "infection", None),
    ("K:1", "parent added", "Nasopharyngitis", None, None, "K:5", None),
    ("K:1", "parent removed", "Nasopharyngitis", None, "K:9", None, None),
    ("K:1", "xref added", "Nasopharyngitis", None, None, "M:2", None),
    ("K:1", "xref removed", "Nasopharyngitis", None, "M:1", None, None),
    (
        "K:1",
        "redefined",
        "Nasopharyngitis",
        None,
        "Swelling of the nose | and a cough",
        "Swelling of the nose",
        None,
    ),
    ("K:11", "added", "Systolic failure", None, None, None, None),
    ("K:2", "name added", "cold", "fr", None, "Feeling cold", None),  # it is French now: one is gone, one is new
    ("K:2", "name removed", "cold", "en", "Feeling cold", None, None),
    ("K:2", "scope changed", "cold", "de", "Kältegefühl", "Kältegefühl", "exact to related"),
    # K:3 has its names in another order, which is no change
    ("K:4", "replaced", "Left heart failure", None, None, "K:3|K:11", "obsolete"),
    ("K:5", "retired", "Beriberi", None, None, None, "obsolete"),
    ("K:6", "removed", "Sjögren's disease", None, None, None, None),
    ("K:7", "replaced", "Cough", None, None, "K:3", "merged"),
    ("K:80", "redirected", "Old fever", None, "K:7", "K:3", "obsolete"),
    ("K:81", "forgotten", "Older fever", None, "K:80", None, "obsolete"),
    ("K:82", "restored", "Grippe", None, None, None, None),
]


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    return make(folder / "old.jsonl", OLD), make(folder / "new.jsonl", NEW)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes")
    return make_index(folder / "old", OLD), make_index(folder / "new", NEW)


def rows(found):
    assert found.changes.column_names == COLUMNS
    return [tuple(row.values()) for row in found.changes.to_pylist()]


def test_every_change(releases):
    assert rows(diff(*releases)) == CHANGED


@pytest.mark.parametrize("block", [1, 2])
def test_blocks_of_concepts(releases, block, monkeypatch):
    monkeypatch.setattr(xnorm.diff, "BLOCK", block)
    assert rows(diff(*releases)) == CHANGED


def test_backwards(releases):
    back = rows(diff(*releases[::-1]))
    counted = {change: sum(row[1] == change for row in back) for change in CHANGES}
    assert {change: n for change, n in counted.items() if n} == {
        "added": 1,  # K:6; the newer release does not know it
        "restored": 3,  # K:4, K:5, K:7
        "retired": 1,  # K:82
        "removed": 1,  # K:11
        "redirected": 1,
        "renamed": 1,
        "name added": 1,
        "name removed": 2,
        "scope changed": 2,
        "type removed": 1,
        "parent added": 1,
        "parent removed": 1,
        "xref added": 1,
        "xref removed": 1,
        "redefined": 1,
    }
    assert ("K:4", "restored", "Left heart failure", None, None, None, None) in back
    assert ("K:80", "redirected", "Old fever", None, "K:3", "K:7", "obsolete") in back


def test_summary(releases):
    about = diff(*releases).summary()
    assert (about["old"]["concepts"], about["old"]["names"], about["old"]["retired"]) == (8, 16, 4)
    assert (about["new"]["concepts"], about["new"]["names"], about["new"]["retired"]) == (6, 14, 5)
    assert about["old"]["fingerprint"] == releases[0].fingerprint
    assert (about["same"], about["changed"], about["moved"]) == (False, 2, 1)
    assert list(about["changes"]) == list(CHANGES)
    assert about["changes"]["replaced"] == {"changes": 2, "concepts": 2, "examples": ["K:4", "K:7"]}
    assert about["changes"]["type removed"] == {"changes": 0, "concepts": 0, "examples": []}
    assert sum(n["changes"] for n in about["changes"].values()) == len(CHANGED)


def test_nothing_changed(releases, tmp_path):
    again = make(tmp_path / "old.jsonl", OLD)
    found = diff(releases[0], again)
    assert rows(found) == []
    assert found.summary()["same"]


def test_only_a_source_has_another_name(releases, tmp_path):
    """Other tables, and yet no change that counts."""
    again = make(tmp_path / "renamed.jsonl", OLD)
    assert again.fingerprint != releases[0].fingerprint
    assert rows(diff(releases[0], again)) == []


def test_nothing_in_common(tmp_path):
    a = make(tmp_path / "a.jsonl", [{"id": "A:1", "name": "a"}])
    b = make(tmp_path / "b.jsonl", [{"id": "B:1", "name": "b"}])
    assert rows(diff(a, b)) == [
        ("A:1", "removed", "a", None, None, None, None),
        ("B:1", "added", "b", None, None, None, None),
    ]


def test_replaced_by_way_of_another_and_in_a_circle(tmp_path):
    a = make(tmp_path / "a.jsonl", [{"id": f"A:{n}", "name": str(n)} for n in range(5)])
    b = make(
        tmp_path / "b.jsonl",
        [
            {"id": "A:0", "name": "0"},
            {"id": "A:1", "retired": True, "replaced_by": ["A:9"]},
            {"id": "A:9", "retired": True, "replaced_by": ["A:0"]},
            {"id": "A:2", "retired": True, "replaced_by": ["A:3"]},
            {"id": "A:3", "retired": True, "replaced_by": ["A:2"]},
            {"id": "A:4", "retired": True, "replaced_by": ["A:77"]},
        ],
    )
    assert [row[:2] + row[5:] for row in rows(diff(a, b))] == [
        ("A:1", "replaced", "A:0", "obsolete"),
        ("A:2", "retired", None, "obsolete"),
        ("A:3", "retired", None, "obsolete"),
        # a filter may have left it out
        ("A:4", "retired", None, "obsolete; what took its place is not in this terminology"),
    ]


# --- the command line -------------------------------------------------------------------------------------------------


def test_what_a_person_sees(indexes):
    out = works("diff", *indexes).splitlines()
    assert out[:2] == ["old: 8 concepts, 16 names, 4 retired ids", "new: 6 concepts, 14 names, 5 retired ids"]
    assert out[2].split() == ["change", "how", "often", "concepts", "for", "instance"]
    assert out[3] == "added                   1         1  K:11"
    assert "replaced                2         2  K:4, K:7" in out
    assert out[-1] == "concepts of both that changed: 2, 1 of them with other parents"
    assert works("diff", indexes[0], indexes[0]).splitlines()[2:] == ["nothing changed"]


def test_json(indexes):
    found = json.loads(works("diff", *indexes, "--json"))
    assert [tuple(row[c] for c in COLUMNS) for row in found["changes"]] == CHANGED
    assert found["summary"]["changes"]["added"]["examples"] == ["K:11"]
    assert json.loads(works("diff", indexes[0], indexes[0], "--json"))["changes"] == []


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_tables(indexes, tmp_path, ending):
    path = tmp_path / f"d.{ending}"
    works("diff", *indexes, "--output", path)
    text = path.read_text(encoding="utf-8")
    lines = list(csv.reader(io.StringIO(text))) if ending == "csv" else [x.split("\t") for x in text.splitlines()]
    assert lines[0] == COLUMNS
    assert [tuple(line) for line in lines[1:]] == [tuple(cell or "" for cell in row) for row in CHANGED]
    assert "exists already" in error("diff", *indexes, "--output", path)
    works("diff", *indexes, "--output", path, "--overwrite")


def test_markdown(indexes, tmp_path):
    path = tmp_path / "d.md"
    works("diff", *indexes, "--output", path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:6] == [
        "# What changed",
        "",
        "| release | concepts | names | retired ids |",
        "| --- | ---: | ---: | ---: |",
        "| old | 8 | 16 | 4 |",
        "| new | 6 | 14 | 5 |",
    ]
    assert "| replaced | 2 | 2 |" in lines
    assert r"| K:4 | replaced | Left heart failure |  |  | K:3\|K:11 | obsolete |" in lines
    assert r"Swelling of the nose \| and a cough" in path.read_text(encoding="utf-8")
    works("diff", indexes[0], indexes[0], "--output", path, "--overwrite")
    assert path.read_text(encoding="utf-8").endswith("\n\nNothing changed.\n")


def test_cells_of_a_table_hold_one_line(tmp_path):
    a = make(tmp_path / "a.jsonl", [{"id": "A:1", "name": "a", "definition": "one\ttwo\nthree"}])
    b = make(tmp_path / "b.jsonl", [{"id": "A:1", "name": "a", "definition": 'so "called"'}])
    xnorm.diff.write_diff(diff(a, b), tmp_path / "d.tsv")
    (line,) = (tmp_path / "d.tsv").read_text().splitlines()[1:]
    assert line.split("\t")[4:6] == ["one two three", 'so "called"']


def test_bad_input(indexes, tmp_path):
    assert "no such index" in error("diff", tmp_path / "nope", indexes[1])
    for name, hint in (("d.txt", "known: csv, md, tsv"), ("d.tsv.gz", "known: csv, md, tsv"), ("d", "known: csv")):
        message = error("diff", *indexes, "--output", tmp_path / name)
        assert "is written as CSV, TSV or Markdown, by its ending" in message, name
        assert hint in message or "did you mean" in message
    assert "create" in error("diff", *indexes, "--output", tmp_path / "no" / "d.tsv")
    assert invoke("diff", indexes[0]).exit_code == 2
    assert not list(tmp_path.iterdir())
