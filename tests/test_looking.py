"""A whole terminology looked at: every figure counted by hand."""

from __future__ import annotations

import json

import pytest
from terminology_data import OLD, error, invoke, make, make_index, works

import xnorm.hierarchy
from xnorm.hierarchy import hierarchy
from xnorm.looking import look
from xnorm.markdown import escaped, one_line, table


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return look(make(tmp_path_factory.mktemp("old") / "old.jsonl", OLD))


def test_counts(found):
    assert (found["concepts"], found["names"]) == (8, 16)
    assert found["types"] == {"disease": 1, "sensation": 1}
    assert found["without_type"] == 6
    assert found["sources"] == [{"source": "old", "concepts": 8, "names": 16}]
    assert found["scopes"] == {"preferred": 10, "exact": 6}


def test_languages(found):
    keys = ("lang", "names", "preferred", "concepts", "without", "without_examples")
    assert [tuple(row[k] for k in keys) for row in found["languages"]] == [
        ("en", 12, 8, 8, 0, []),
        ("de", 3, 2, 3, 5, ["K:3", "K:4", "K:5"]),
        ("el", 1, 0, 1, 7, ["K:1", "K:2", "K:3"]),
    ]


def test_homonyms(found):
    assert found["homonyms"] == {
        "texts": 1,
        "concepts": 2,
        "by_lang": {"en": 1},
        "preferred": {"texts": 1, "concepts": 2},
        "most_shared": [{"text": "Cold", "lang": "en", "concepts": 2, "ids": ["K:1", "K:2"]}],
    }


def test_retired(found):
    assert found["retired"] == [
        {"reason": "obsolete", "ids": 3, "without_replacement": 1},  # K:81 leads to K:7 by way of K:80
        {"reason": "merged", "ids": 1, "without_replacement": 0},
    ]


def test_lengths(found):
    lengths = found["lengths"]
    # 4 4 5 6 7 8 9 9 11 11 12 13 14 17 18 21
    assert (lengths["median"], lengths["p90"], lengths["p99"]) == (9, 18, 21)
    assert lengths["longest"] == [
        {"id": "K:3", "text": "Cardiac insufficiency", "lang": "en", "characters": 21},
        {"id": "K:4", "text": "Left heart failure", "lang": "en", "characters": 18},
        {"id": "K:6", "text": "Sjögren's disease", "lang": "en", "characters": 17},
    ]
    assert [row["text"] for row in lengths["shortest"]] == ["Cold", "cold", "Cough"]
    assert found["names_a_concept"] == {
        "mean": 2.0,
        "median": 2,
        "one": 3,
        "most": [
            {"id": "K:1", "name": "Cold", "names": 3},
            {"id": "K:2", "name": "cold", "names": 3},
            {"id": "K:3", "name": "Heart failure", "names": 3},
        ],
    }


# --- hierarchy --------------------------------------------------------------------------------------------------------


def test_the_shape(found):
    assert found["hierarchy"] == {
        "edges": 6,
        "roots": 1,
        "root_examples": [{"id": "K:9", "name": "Finding"}],
        "alone": 2,
        "depth": 2,
        "levels": [1, 4, 1],
        "unreached": 0,
        "circles": 0,
        "in_circles": 0,
        "circle_examples": [],
        "missing": 1,
        "missing_retired": 0,
        "missing_examples": [{"id": "K:77", "children": 1}],
    }


def shape(tmp_path, parents, **retired):
    """Return the shape of concepts that are given by their parents."""
    concepts = [{"id": i, "name": i, "parents": list(above)} for i, above in parents.items()]
    gone = [{"id": i, "retired": True, "replaced_by": list(to)} for i, to in retired.items()]
    return hierarchy(make(tmp_path / "t.jsonl", [*concepts, *gone]))


def test_circles(tmp_path):
    found = shape(
        tmp_path,
        {"r": "", "a": "rb", "b": "a", "s": "s", "x": "z", "y": "x", "z": "y", "below": "x"},
    )
    assert (found["roots"], found["alone"], found["levels"]) == (1, 0, [1, 1, 1])
    assert found["unreached"] == 5  # s, x, y, z, and what lies below them
    assert (found["circles"], found["in_circles"]) == (3, 6)
    assert [[c["id"] for c in circle] for circle in found["circle_examples"]] == [["s"], ["a", "b"], ["x", "y", "z"]]


def test_parents_that_are_not_there(tmp_path):
    found = shape(tmp_path, {"a": "xy", "b": "x", "c": "a"}, x="a")
    assert (found["edges"], found["missing"], found["missing_retired"]) == (4, 2, 1)
    assert found["missing_examples"] == [{"id": "x", "children": 2}, {"id": "y", "children": 1}]
    # a concept whose parents are all missing is a root, or alone
    assert (found["roots"], found["alone"], found["levels"]) == (1, 1, [1, 1])


def test_the_fewest_steps(tmp_path):
    found = shape(tmp_path, {"r": "", "a": "r", "b": "a", "c": "br"})
    assert (found["depth"], found["levels"]) == (2, [1, 2, 1])


def test_a_very_deep_one(tmp_path, monkeypatch):
    monkeypatch.setattr(xnorm.hierarchy, "MOST_LEVELS", 3)
    assert shape(tmp_path, {"a": "", "b": "a", "c": "b", "d": "c"})["levels"] == [1, 1, 1]


def test_no_hierarchy(tmp_path):
    found = shape(tmp_path, {"a": "", "b": ""})
    assert (found["edges"], found["roots"], found["alone"], found["depth"], found["levels"]) == (0, 0, 2, 0, [])


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    odd = {"id": "K:99", "name": "a | b [x](y) <b>_c_</b>\u2028`d`", "types": ["t|u"], "parents": ["no|where"]}
    return make_index(
        tmp_path_factory.mktemp("index") / "odd_index", [*OLD, odd, {"id": "", "name": "x"}, {**odd, "x": 1}]
    )


def test_report(index, tmp_path):
    path = tmp_path / "report.md"
    result = invoke("info", index, "--report", path)
    assert result.exit_code == 0
    assert result.stderr == f"report: {path}\n"
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[0] == "# odd_index"
    assert lines[2].startswith("9 concepts with 17 names (1.89 a concept), 4 retired ids. Fingerprint ")
    assert "| de | 3 | 2 | 3 | 33.3 % | 6 | K:3, K:4, K:5, ... |" in lines
    assert r"| t\|u | 1 |" in lines
    assert "Concepts without a type: 6." in lines
    assert "| odd_index | 9 | 17 |" in lines
    assert "| odd_index | record without an id | 1 | line 13 |" in lines
    assert "| Cold | en | 2 | K:1, K:2 |" in lines
    assert "| obsolete | 3 | 1 |" in lines
    assert r"- parents that are no concepts: 2, 0 of them retired (K:77 of 1; no\|where of 1)" in lines
    assert r"| a \| b \[x\](y) \<b\>\_c\_\</b\> \`d\` | en | 27 | K:99 |" in lines
    # every row of a table has as many cells as its head
    bars = 0
    for line in lines:
        if not line.startswith("|"):
            bars = 0
            continue
        n = line.count("|") - line.count(r"\|")
        assert bars in (0, n), line
        bars = n


def test_report_and_json(index, tmp_path):
    found = json.loads(works("info", index, "--report", tmp_path / "r.md", "--json"))
    assert found["terminology"]["hierarchy"]["missing"] == 2
    assert found["concepts_by_lang"] == {"en": 9, "de": 3, "el": 1}
    assert found["retired_by_reason"] == {"obsolete": 3, "merged": 1}
    assert found["concepts_by_source"] == {"odd_index": 9}
    assert "terminology" not in json.loads(works("info", index, "--json"))


def test_summary(index):
    out = works("info", index)
    assert "with a name in  en 100.0 %, de 33.3 %, el 11.1 %" in out
    assert "retired ids     4: obsolete 3, merged 1" in out


def test_a_terminology_with_next_to_nothing(tmp_path):
    index = make_index(tmp_path / "one", [{"id": "A", "name": "a"}])
    works("info", index, "--report", tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text()
    for said in (
        "No name belongs to several concepts.",
        "No concept has a parent.",
        "| en | 1 | 1 | 1 | 100.0 % | 0 |  |",
    ):
        assert said in text
    for unsaid in ("## Types", "## Retired ids", "Left out"):
        assert unsaid not in text


def test_bad_input(index, tmp_path):
    assert "choose a name that ends in .md" in error("info", index, "--report", tmp_path / "r.txt")
    (tmp_path / "r.md").write_text("mine")
    assert "exists already" in error("info", index, "--report", tmp_path / "r.md")
    assert (tmp_path / "r.md").read_text() == "mine"
    works("info", index, "--report", tmp_path / "r.md", "--overwrite")
    assert "create" in error("info", index, "--report", tmp_path / "no" / "r.md")
    assert "nope" in error("info", tmp_path / "nope", "--report", tmp_path / "x.md")


# --- Markdown ---------------------------------------------------------------------------------------------------------


def test_markdown():
    assert table(("a|b", "n", "x"), [("1. c", 1234, "y"), ("d\ne", 2.5, "z")]) == [
        r"| a\|b | n | x |",
        "| --- | ---: | --- |",
        r"| 1\. c | 1,234 | y |",
        "| d e | 2.5 | z |",
    ]
    assert table(("a",), []) == ["| a |", "| --- |"]
    assert one_line("x" * 130) == "x" * 119 + "…"
    assert escaped("# a_b *c* recall_a@64") == r"\# a_b \*c\* recall_a@64"
