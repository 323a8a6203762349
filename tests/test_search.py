"""Concepts looked up by id and by name, from the library and from the command line."""

from __future__ import annotations

import json

import pytest
from terminology_data import NEW, OLD, error, make, make_index, works, write

from xnorm.errors import ConfigError
from xnorm.filters import QueryFilters
from xnorm.search import MOST, as_data, search


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return make(tmp_path_factory.mktemp("old") / "old.jsonl", OLD)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_index(tmp_path_factory.mktemp("index") / "old", OLD)


def hits(terminology, text, **options):
    """Return (id, why, name found) of each hit."""
    found = as_data(terminology, text, search(terminology, text, **options))
    assert found["total"] >= len(found["hits"])
    return [(h["id"], h["reason"], h["matched"] and h["matched"]["name"]) for h in found["hits"]]


@pytest.mark.parametrize("text", ["K:3", "k:3", " K:3 ", "3", "K_3", "http://purl.obolibrary.org/obo/K_3"], ids=str)
def test_an_id_in_any_form(old, text):
    assert hits(old, text) == [("K:3", "id", None)]


def test_a_code_of_two_prefixes(tmp_path):
    two = make(
        tmp_path / "t.jsonl", [{"id": "A:x1", "name": "a"}, {"id": "B:X1", "name": "b"}, {"id": "X1", "name": "c"}]
    )
    assert hits(two, "x1") == [("A:x1", "id", None), ("B:X1", "id", None), ("X1", "id", None)]
    assert hits(two, "a:X1") == [("A:x1", "id", None)]


def test_a_code_of_mixed_case(tmp_path):
    lines = [{"id": "Z:AbC", "name": "a"}, {"id": "qRs", "name": "b"}, {"id": "Z:xAbC", "name": "c"},
             {"id": "Z:OlD", "name": "d", "retired": True, "replaced_by": ["qRs"]}]  # fmt: skip
    mixed = make(tmp_path / "t.jsonl", lines)
    for text in ("abc", "ABC", "aBc", "z:abc", "Z:ABC", "z_ABC"):
        assert hits(mixed, text) == [("Z:AbC", "id", None)], text
    assert hits(mixed, "QrS") == [("qRs", "id", None)]
    assert hits(mixed, "old") == [("qRs", "replaces Z:OlD (obsolete)", None)]


def test_retired_ids_lead_on(old):
    assert hits(old, "K:10") == [("K:1", "replaces K:10 (merged)", None)]
    assert hits(old, "81") == [("K:7", "replaces K:81 (obsolete)", None)]  # by way of K:80, which is retired, too
    found = search(old, "K:82")
    assert (found.hits, found.total) == ([], 0)
    (gone,) = found.retired
    assert (gone.id, gone.name, gone.reason, gone.replaced_by) == ("K:82", "Grippe", "obsolete", [])


def test_names_best_first(old):
    assert hits(old, "cold") == [
        ("K:1", "name", "Cold"),
        ("K:2", "name", "cold"),
    ]  # one hit a concept, by the best of its names
    assert hits(old, "heart failure") == [
        ("K:3", "name", "Heart failure"),
        ("K:4", "part of a name", "Left heart failure"),
    ]
    assert hits(old, "failure heart") == [
        ("K:3", "name", "Failure, heart"),
        ("K:4", "words of a name", "Left heart failure"),
    ]
    assert hits(old, "heart fail") == [
        ("K:3", "beginning of a name", "Heart failure"),
        ("K:4", "part of a name", "Left heart failure"),
    ]
    assert hits(old, "fail lef") == [("K:4", "words of a name", "Left heart failure")]
    assert hits(old, "ail lef") == []  # a word may be cut at its end alone
    assert hits(old, "ailure") == [
        ("K:3", "part of a name", "Heart failure"),
        ("K:4", "part of a name", "Left heart failure"),
    ]
    assert hits(old, "zzz") == []


def test_how(old):
    assert hits(old, "cold", how="exact") == [("K:1", "name", "Cold"), ("K:2", "name", "cold")]
    assert hits(old, "col", how="exact") == []
    assert hits(old, "common c", how="prefix") == [("K:1", "beginning of a name", "Common cold")]
    assert hits(old, "heart", how="prefix") == [("K:3", "beginning of a name", "Heart failure")]
    assert [h[:2] for h in hits(old, "k:", how="prefix", limit=3)] == [
        (f"K:{n}", "beginning of the id") for n in (1, 2, 3)
    ]
    assert search(old, "k:", how="prefix", limit=3).total == 8


def test_accents_case_and_scripts(old):
    for text in ("SJOGRENS disease", "sjögren's", "Sjo\u0308gren’s"):
        assert [h[0] for h in hits(old, text.replace("SJOGRENS", "SJOGREN S"))] == ["K:6"], text
    assert hits(old, "kaltegefuhl") == [("K:2", "name", "Kältegefühl")]
    assert hits(old, "ΞΗΡΟΤΗΤΑ") == [("K:6", "name", "Ξηρότητα")]


def test_letters_for_two_and_other_scripts(tmp_path):
    names = ["Straße", "Æther", "Łódź", "καρδιά", "Ёлка", "cardia", "心不全", "ปวดหัว", "C++", "a|b"]
    some = make(tmp_path / "t.jsonl", [{"id": f"N:{i}", "name": name} for i, name in enumerate(names)])
    found = {
        "strasse": "Straße", "STRAẞE": "Straße", "aether": "Æther", "lodz": "Łódź", "ΚΑΡΔΙΑ": "καρδιά", "елка": "Ёлка",
        "不全": "心不全", "หัว": "ปวดหัว", "+": "C++", "a b": "a|b", "(a.b": "a|b",
    }  # fmt: skip
    for text, name in found.items():
        assert hits(some, text)[0][2] == name, text
    # a text in another script is looked for in Latin letters, too
    assert [h[2] for h in hits(some, "καρδία")] == ["καρδιά", "cardia"]


DISGUISED = [
    "Ａ型肝炎",
    "Ⅱ型糖尿病",
    "ｲﾝﾌﾙｴﾝｻﾞ",
    "CO₂ retention",
    "ﬁbrosis",
    "Ⅷ. eﬃgy",
    "㎎ ①",
    "µg",
    "m² area",
    "€ five",
]


@pytest.mark.parametrize("name", DISGUISED)
def test_signs_that_stand_for_others_are_found_as_they_are(tmp_path, name):
    some = make(tmp_path / "t.jsonl", [{"id": f"N:{i}", "name": n} for i, n in enumerate(DISGUISED)])
    for how in ("any", "exact", "prefix"):
        assert [h[1:] for h in hits(some, name, how=how)] == [("name", name)]
    assert name in [h[2] for h in hits(some, name[:2], how="prefix")]
    assert name in [h[2] for h in hits(some, name[1:])]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fibrosis", "ﬁbrosis"), ("brosis", "ﬁbrosis"), ("A型肝炎", "Ａ型肝炎"), ("ii型糖尿病", "Ⅱ型糖尿病"),
        ("インフルエンザ", "ｲﾝﾌﾙｴﾝｻﾞ"), ("エンザ", "ｲﾝﾌﾙｴﾝｻﾞ"),
        ("co2", "CO₂ retention"), ("viii effigy", "Ⅷ. eﬃgy"), ("m2", "m² area"),
    ],
)  # fmt: skip
def test_signs_are_found_by_what_they_stand_for(tmp_path, text, name):
    some = make(tmp_path / "t.jsonl", [{"id": f"N:{i}", "name": n} for i, n in enumerate(DISGUISED)])
    assert [h[2] for h in hits(some, text)] == [name]


def test_filters(old):
    assert hits(old, "cold", filters=QueryFilters(types=["sensation"])) == [("K:2", "name", "cold")]
    assert hits(old, "gefühl", filters=QueryFilters(langs=["de"])) == [("K:2", "part of a name", "Kältegefühl")]
    assert hits(old, "cold", filters=QueryFilters(langs=["de"])) == []
    assert [h[0] for h in hits(old, "failure", filters=QueryFilters(branches=["K:3"]))] == ["K:3", "K:4"]
    assert [h[0] for h in hits(old, "K:", how="prefix", filters=QueryFilters(langs=["de"]))] == ["K:1", "K:2", "K:9"]
    assert hits(old, "K:4", filters=QueryFilters(langs=["de"])) == [("K:4", "id", None)]  # an id is an id
    with pytest.raises(ConfigError, match="no name is in the language 'fr'; known: de, el, en"):
        search(old, "x", filters=QueryFilters(langs=["fr"]))


def test_limit(old):
    found = search(old, "failure", limit=1)
    assert (len(found.hits), found.total) == (1, 2)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "the text to search is empty"),
        (" \t", {}, "the text to search is empty"),
        ("x" * (MOST + 1), {}, "has 301 characters; give at most 300"),
        ("x", {"limit": 0}, "limit: expected 1 or more, found 0"),
    ],
)
def test_bad_input(old, text, options, message):
    with pytest.raises(ConfigError, match=message):
        search(old, text, **options)


def test_the_longest_text(old, tmp_path):
    long = make(tmp_path / "t.jsonl", [{"id": "L:1", "name": "é ss" * (MOST // 4)}])
    assert hits(long, "E ß" * (MOST // 4), how="exact")[0][:2] == ("L:1", "name")
    for sign in ("ffi", "viii", "ザ", "ッ", "ﬃ", "㎎"):
        assert hits(long, sign * (MOST // len(sign))) == []


# --- the command line -------------------------------------------------------------------------------------------------


def test_one_concept_is_shown_in_full(index):
    assert works("search", index, "K:1") == (
        "id            K:1\n"
        "name          Cold\n"
        "found by      id\n"
        "en preferred  Cold\n"
        "en exact      Common cold\n"
        "de preferred  Schnupfen\n"
        "types         disease\n"
        "parent        K:9  Finding\n"
        "children      0\n"
        "xrefs         M:1\n"
        "definition    Swelling of the nose | and a cough\n"
        "source        old\n"
    )
    out = works("search", index, "beriberi")
    assert "parent        K:9  Finding\nparent        K:77  (not there)\n" in out
    out = works("search", index, "81")
    assert out.startswith("K:81 Older fever is retired (obsolete): replaced by K:80\nid            K:7\n")
    assert "found by      replaces K:81 (obsolete)\n" in out
    assert works("search", index, "K:82") == (
        "K:82 Grippe is retired (obsolete): nothing replaces it\nno concept of this index took its place\n"
    )
    assert "children      4\n" in works("search", index, "Befund")


def test_several_are_a_table(index):
    assert works("search", index, "cold", "--limit", 1) == (
        "id   name  found by  name found\nK:1  Cold  name\n1 of 2 concepts; --limit shows more\n"
    )
    assert "found by      beginning of a name: Failure, heart (en)\n" in works("search", index, "failure", "--prefix")
    out = works("search", index, "gefühl", "--lang", "de,el", "--full")
    assert "found by      part of a name: Kältegefühl (de)\n" in out
    assert works("search", index, "zzz") == "no concept has such an id or name\n"
    assert works("search", index, "cold", "--full").count("\nid ") == 1  # the second; an empty line stands between


def test_json(index):
    found = json.loads(works("search", index, "Kältegefuhl", "--json"))
    assert found == {
        "text": "Kältegefuhl",
        "total": 1,
        "retired": [],
        "hits": [
            {
                "id": "K:2",
                "name": "cold",
                "reason": "name",
                "matched": {"name": "Kältegefühl", "lang": "de", "scope": "exact", "source": "old"},
            }
        ],
        "concepts": [
            {
                "id": "K:2",
                "name": "cold",
                "names": [
                    {"name": "cold", "lang": "en", "scope": "preferred", "source": "old"},
                    {"name": "Feeling cold", "lang": "en", "scope": "exact", "source": "old"},
                    {"name": "Kältegefühl", "lang": "de", "scope": "exact", "source": "old"},
                ],
                "types": ["sensation"],
                "parents": [{"id": "K:9", "name": "Finding"}],
                "children": 0,
                "xrefs": [],
                "definition": None,
                "source": "old",
            }
        ],
    }
    retired = json.loads(works("search", index, "K:82", "--json"))["retired"]
    assert retired == [{"id": "K:82", "name": "Grippe", "reason": "obsolete", "replaced_by": []}]


def test_what_cannot_be_searched(index, tmp_path):
    assert "no such index; `xnorm index CONFIG --output" in error("search", tmp_path / "nope", "x")
    assert "the text to search is empty" in error("search", index, "")
    assert "--prefix and --exact were both given" in error("search", index, "x", "--prefix", "--exact")
    assert "no concept has the type 'Q'; known: disease, sensation" in error("search", index, "x", "--type", "Q")
    assert "known: old" in error("search", index, "x", "--source", "HPO")
    (tmp_path / "empty").mkdir()
    assert "empty" in error("search", tmp_path / "empty", "x")


def test_a_config_needs_no_index(index, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "new.yaml"
    write(tmp_path / "new.jsonl", NEW)
    config.write_text(
        "name: new\nterminology:\n  sources: [{type: jsonl, path: new.jsonl}]\ncandidates: {type: exact}\n"
    )
    assert "Systolic failure" in works("search", config, "K:11")
    assert not (tmp_path / "index").exists()


def test_tables_without_an_index_around_them(tmp_path):
    (tmp_path / "tables").mkdir()
    make(tmp_path / "new.jsonl", NEW).save(tmp_path / "tables")
    assert "Systolic failure" in works("search", tmp_path / "tables", "K:11")
