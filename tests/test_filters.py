"""Filters at query time: what they name, what they allow, and what the linker makes of them."""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from threading import Barrier

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_cli import fails, records
from typer.testing import CliRunner

import xnorm
from xnorm.artifact import sha256_file, sha256_text
from xnorm.benchmark import BenchmarkConfig, run_benchmark
from xnorm.candidates.base import Allowed
from xnorm.candidates.tfidf import TfidfGenerator
from xnorm.cli import app
from xnorm.config import validate
from xnorm.errors import ConfigError, DataError, XnormWarning
from xnorm.filters import QueryFilters, ValueSet, from_options
from xnorm.linker import LinkerConfig
from xnorm.linking import find_or_build, job_key, link_file
from xnorm.lookup import KEPT
from xnorm.restriction import Restrictions
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Mention

# id, name, names, types, parents; Z:6 and Z:7 stand above one another
ZOO = [
    ("Z:1", "Animal", [("Tier", "de")], ["kingdom"], []),
    ("Z:2", "Mammal", [("Säugetier", "de")], ["class"], ["Z:1"]),
    ("Z:3", "Dog", [("Hund", "de"), ("cachorro", "pt-br"), ("hound", "en")], ["species", "pet"], ["Z:2"]),
    ("Z:4", "Cat", [("Katze", "de"), ("gato", "pt")], ["species", "pet"], ["Z:2"]),
    ("Z:5", "Bird", [("Vogel", "de")], ["class"], ["Z:1"]),
    ("Z:6", "Duck", [("Ente", "de")], ["species"], ["Z:5", "Z:7"]),
    ("Z:7", "Drake", [("Erpel", "de")], ["species"], ["Z:6"]),
    ("Z:8", "Stone", [("Stein", "de")], [], ["Z:nowhere"]),
]
KEEPERS = [("Z:3", "Doggo"), ("Z:4", "Kitty"), ("Z:6", "Quack")]


def write(path, lines):
    path.write_text("".join(json.dumps(x, ensure_ascii=False) + "\n" for x in lines), encoding="utf-8")
    return str(path)


@pytest.fixture
def sources(tmp_path):
    zoo = [
        {"id": i, "name": name, "types": types, "parents": parents,
         "synonyms": [{"name": n, "lang": lang} for n, lang in names]}
        for i, name, names, types, parents in ZOO
    ]  # fmt: skip
    zoo.append({"id": "Z:30", "name": "Hunt", "retired": True, "replaced_by": ["Z:3"]})
    zoo.append({"id": "Z:31", "name": "Gone", "retired": True, "replaced_by": []})
    keepers = [{"id": i, "synonyms": [{"name": n, "lang": "en"}]} for i, n in KEEPERS]
    return [
        {"type": "jsonl", "path": write(tmp_path / "zoo.jsonl", zoo)},
        {"type": "jsonl", "path": write(tmp_path / "keepers.jsonl", keepers), "overlay": True},
    ]


@pytest.fixture
def terminology(sources):
    return read_terminology(TerminologyConfig(sources=sources))[0]


@pytest.fixture
def config(sources):
    return {
        "name": "zoo",
        "terminology": {"sources": sources},
        "candidates": {
            "type": "ensemble",
            "members": {
                "exact": {"type": "exact"},
                "tfidf": {"type": "tfidf", "ngrams": [2, 4]},
                "dense": {"type": "dense", "encoder": {"type": "conftest:HashEncoder"}},
            },
        },
    }


@pytest.fixture
def linker(config):
    return xnorm.Linker.build(config)


def allowed(terminology, filters):
    """Return the names that filters allow, as text."""
    restrictions = Restrictions(terminology)
    mask = restrictions.names(restrictions.resolve(validate(QueryFilters, filters, where="test")))
    return [text for text, take in zip(terminology.name_texts(), mask.tolist(), strict=True) if take]


DUCKS = ["Duck", "Ente", "Quack", "Drake", "Erpel"]


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, None),
        ({"types": ["class"]}, ["Mammal", "Säugetier", "Bird", "Vogel"]),
        ({"types": ["kingdom", "class"]}, ["Animal", "Tier", "Mammal", "Säugetier", "Bird", "Vogel"]),
        ({"types": ["pet"], "langs": ["de"]}, ["Hund", "Katze"]),
        ({"langs": ["pt"]}, ["cachorro", "gato"]),
        ({"langs": ["PT_br"]}, ["cachorro"]),
        ({"langs": ["por", "deu"], "branches": ["Z:4"]}, ["Katze", "gato"]),
        ({"sources": ["keepers"]}, ["Doggo", "Kitty", "Quack"]),
        ({"sources": ["keepers"], "branches": ["Z:2"]}, ["Doggo", "Kitty"]),
        ({"branches": ["Z:7"]}, DUCKS),
        ({"branches": ["Z:5", "Z:8"]}, ["Bird", "Vogel", *DUCKS, "Stone", "Stein"]),
        ({"branches": ["Z:30"], "langs": ["de"]}, ["Hund"]),
        ({"value_set": ["Z:8", "Z:30", "Z:8"], "langs": ["de"]}, ["Hund", "Stein"]),
        ({"value_set": {"ids": ["8"], "prefix": "Z"}}, ["Stone", "Stein"]),
        ({"branches": ["Z:2"], "value_set": ["Z:8"]}, []),
    ],
)
def test_what_filters_allow(terminology, filters, names):
    assert allowed(terminology, filters) == (terminology.name_texts() if names is None else names)


@pytest.mark.parametrize(
    ("name", "content", "more"),
    [
        ("ids.txt", "# pets\nZ:3\n\n Z:4 \n", {}),
        ("ids", "\ufeffZ:3\r\nZ:4\r\n", {}),
        ("ids.csv", "name,code\nDog,Z:3\nCat,Z:4\n", {}),
        ("ids.csv", "whatever\nZ:3\nZ:4\n", {}),
        ("ids.tsv", "id\tnumber\nx\t3\ny\t4\n", {"column": "number", "prefix": "Z"}),
        ("ids.jsonl", '{"id": "Z:3", "name": "Dog"}\n{"concept_id": "Z:4", "id": "4"}\n', {}),
        ("ids.jsonl", '{"it": "Z:3"}\n{"it": "Z:4"}\n', {"column": "it"}),
    ],
)
def test_value_sets_in_files(terminology, tmp_path, name, content, more):
    (tmp_path / name).write_text(content, encoding="utf-8")
    given = {"path": str(tmp_path / name), **more}
    assert validate(ValueSet, given, where="test").read() == ["Z:3", "Z:4"]
    assert allowed(terminology, {"value_set": given, "langs": ["de"]}) == ["Hund", "Katze"]


PETS = "http://pets.example.org/cs"


def value_set(**values):
    return json.dumps({"resourceType": "ValueSet", "url": "http://pets.example.org/vs", **values})


def compose(*parts):
    return value_set(compose={"include": parts})


@pytest.mark.parametrize(
    ("content", "more"),
    [
        (compose({"system": PETS, "concept": [{"code": "3"}, {"code": "4", "display": "Cat"}]}), {"prefix": "Z"}),
        (compose({"system": PETS, "concept": [{"code": "3"}, {"code": "4"}]}), {"systems": {PETS: "Z"}}),
        (
            value_set(
                expansion={
                    "contains": [
                        {"display": "Pets", "contains": [{"system": PETS, "code": "Z:3", "inactive": True}]},
                        {"system": PETS, "code": "Z:4"},
                    ]
                }
            ),
            {},
        ),
        (
            json.dumps({"resourceType": "CodeSystem", "url": "http://z.example.org/Z", "content": "complete",
                        "concept": [{"code": "3", "concept": [{"code": "4"}]}]}),
            {},
        ),
    ],
)  # fmt: skip
def test_value_sets_of_fhir(terminology, tmp_path, content, more):
    (tmp_path / "pets.json").write_text(content, encoding="utf-8")
    given = {"path": str(tmp_path / "pets.json"), **more}
    assert validate(ValueSet, given, where="test").read() == ["Z:3", "Z:4"]
    assert allowed(terminology, {"value_set": given, "langs": ["de"]}) == ["Hund", "Katze"]


def test_what_is_not_read_of_a_value_set_of_fhir_is_a_warning(tmp_path):
    path = tmp_path / "pets.json"
    rule = {"system": PETS, "filter": [{"property": "concept", "op": "is-a", "value": "2"}]}
    path.write_text(compose({"system": PETS, "concept": [{"code": "3"}]}, rule), encoding="utf-8")
    with pytest.warns(XnormWarning) as told:
        assert ValueSet(path=path, prefix="Z").read() == ["Z:3"]
    assert [str(w.message) for w in told] == [
        f"value set {path}: not read: value set that includes codes by filter (1)"
    ]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"types": ["spezies"]}, "filters.types: no concept has the type 'spezies'; did you mean 'species'?"),
        ({"types": ["x"]}, "no concept has the type 'x'; known: class, kingdom, pet, species"),
        ({"langs": ["fr"]}, "filters.langs: no name is in the language 'fr'; known: de, en, pt, pt-br"),
        ({"sources": ["keeper"]}, "filters.sources: no name is from 'keeper'; did you mean 'keepers'?"),
        ({"branches": ["Z:33"]}, "filters.branches: no concept has the id 'Z:33'; did you mean 'Z:3'?"),
        ({"branches": ["z:3"]}, "no concept has the id 'z:3'; did you mean 'Z:3'?"),
        ({"branches": ["3"]}, "no concept has the id '3'; did you mean 'Z:3'?"),
        ({"branches": ["HP:0000118"]}, "no concept has the id 'HP:0000118'; ids of the terminology are like 'Z:1'"),
        ({"branches": ["Z:31"]}, "no concept has the id 'Z:31'"),
        ({"branches": ["\ud83d"]}, "no concept has the id '?'"),
        ({"value_set": ["3", "4"]}, "filters.value_set: none of its 2 ids is in the terminology; did you mean 'Z:3'?"),
        ({"value_set": "ids.txt"}, "filters: value_set: expected a list of ids or `path: FILE`, found 'ids.txt'"),
        ({"value_set": {"column": "id"}}, "filters: value_set: expected either path or ids"),
        ({"value_set": []}, "filters: value_set.ids: List should have at least 1 item"),
        ({"types": []}, "filters: types: List should have at least 1 item"),
        ({"type": ["pet"]}, "filters: unknown key 'type'; did you mean 'types'?"),
        (["pet"], "filters: expected QueryFilters or a mapping, found list"),
    ],
)
def test_bad_filters(linker, filters, problem):
    with pytest.raises(ConfigError) as e:
        linker.link(["dog"], filters=filters)
    assert problem in str(e.value)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("ids.txt", "", "ids.txt: is empty"),
        ("ids.txt", "# nothing\n\n", "ids.txt: holds no id; expected the ids of concepts"),
        ("ids.csv", "a,b\n1,2\n", "ids.csv:2: no column holds an id (found a, b); set `column` of the value set"),
        ("ids.jsonl", '{"number": 3}\n', "ids.jsonl:1: no key holds an id (found number); set `column`"),
        ("ids.jsonl", '{"id": 3}\n', "ids.jsonl:1: no key holds an id (found id)"),
        ("ids.jsonl", '["Z:3"]\n', "ids.jsonl:1: expected a JSON object, found list"),
        ("no.txt", None, "no.txt: no such file"),
        ("ids.json", '["Z:3"]', "ids.json: expected a JSON object, found list"),
        ("ids.json", '{"ids": ["Z:3"]}', "ids.json: has no 'resourceType'; is it a FHIR resource?"),
        ("ids.json", compose({"system": PETS}), "holds no code to read: value set that includes codes by a whole code"),
        ("ids.json", compose({"concept": [{"code": "3"}]}), "the code '3' has no system; set `prefix`"),
    ],
)
def test_bad_value_sets(linker, tmp_path, name, content, problem):
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as e:
        linker.link(["dog"], filters={"value_set": tmp_path / name})
    assert problem in str(e.value)


def test_ids_of_a_value_set_that_the_terminology_has_not_are_a_warning(linker):
    with pytest.warns(
        XnormWarning, match="filters.value_set: 2 of 3 ids are not in the terminology, for instance 'X:1'"
    ):
        (ranking,) = linker.link(["dog"], filters={"value_set": ["Z:4", "X:1", "Z:31"]})
    assert [c.concept_id for c in ranking] == ["Z:4"]


def test_umls_words_for_types(tmp_path):
    lines = [{"id": f"C:{n}", "name": f"name {n}", "types": [t]} for n, t in enumerate(["T047", "T184", "T121"])]
    source = {"type": "jsonl", "path": write(tmp_path / "umls.jsonl", lines)}
    terminology = read_terminology(TerminologyConfig(sources=[source]))[0]
    assert allowed(terminology, {"types": ["DISO"]}) == ["name 0", "name 1"]
    assert allowed(terminology, {"types": ["Disease or Syndrome", "T121"]}) == ["name 0", "name 2"]
    with pytest.raises(ConfigError, match="no concept has the type 'ANAT'"):
        allowed(terminology, {"types": ["ANAT"]})


def test_a_terminology_without_types(tmp_path):
    source = {"type": "jsonl", "path": write(tmp_path / "plain.jsonl", [{"id": "C:1", "name": "one"}])}
    terminology = read_terminology(TerminologyConfig(sources=[source]))[0]
    assert allowed(terminology, {"branches": ["C:1"]}) == ["one"]
    with pytest.raises(ConfigError, match="no concept has the type 'x'; the terminology has none"):
        allowed(terminology, {"types": ["x"]})


# --- random terminologies with cycles, against plain Python -------------------------------------------------------

KINDS = ["a", "b", "c"]
CONCEPTS = st.lists(
    st.fixed_dictionaries({
        "types": st.lists(st.sampled_from(KINDS), max_size=2, unique=True),
        "parents": st.lists(st.integers(0, 14), max_size=3),
        "synonyms": st.lists(st.sampled_from(["de", "en", "pt", "pt-br"]), min_size=1, max_size=3),
    }),
    min_size=1, max_size=12,
)  # fmt: skip


def below(root, records):
    """Return a concept and all that is below it, by walking up from each."""

    def reaches(at, seen):
        if at == root:
            return True
        return at not in seen and any(reaches(p, seen | {at}) for p in records.get(at, ()))

    return {at for at in records if reaches(at, frozenset())}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONCEPTS, st.data())
def test_masks_are_what_plain_python_says(tmp_path, drawn, data):
    lines = [
        {
            "id": f"R:{n:02}",
            "types": c["types"],
            "parents": [f"R:{p:02}" for p in c["parents"]],
            "synonyms": [{"name": f"{n} {m}", "lang": lang} for m, lang in enumerate(c["synonyms"])],
        }
        for n, c in enumerate(drawn)
    ]
    source = {"type": "jsonl", "path": write(tmp_path / "random.jsonl", lines)}
    terminology = read_terminology(TerminologyConfig(sources=[source]))[0]
    known = {
        "types": sorted({t for c in drawn for t in c["types"]}),
        "langs": sorted({lang for c in drawn for lang in c["synonyms"]}),
        "branches": [x["id"] for x in lines],
        "value_set": [x["id"] for x in lines],
    }
    filters = {}
    for key, values in known.items():
        if values and data.draw(st.booleans(), label=key):
            filters[key] = data.draw(st.lists(st.sampled_from(values), min_size=1, max_size=3), label=key)
    parents = {x["id"]: x["parents"] for x in lines}
    wanted = []
    for line in lines:
        if "types" in filters and not set(filters["types"]) & set(line["types"]):
            continue
        if "value_set" in filters and line["id"] not in filters["value_set"]:
            continue
        if "branches" in filters and not any(line["id"] in below(b, parents) for b in filters["branches"]):
            continue
        langs = {*filters.get("langs", ()), *(["pt-br"] if "pt" in filters.get("langs", ()) else ())}
        wanted += [s["name"] for s in line["synonyms"] if "langs" not in filters or s["lang"] in langs]
    assert allowed(terminology, filters) == wanted


def test_a_long_value_set(tmp_path):
    lines = [{"id": f"L:{i:04}", "name": f"n{i}", "alt_ids": [f"L:old{i}"]} for i in range(3000)]
    source = {"type": "jsonl", "path": write(tmp_path / "long.jsonl", lines)}
    terminology = read_terminology(TerminologyConfig(sources=[source]))[0]
    ids = [f"L:{i:04}" for i in range(0, 3000, 2)] + [f"L:old{i}" for i in range(0, 3000, 3)]
    wanted = [f"n{i}" for i in range(3000) if i % 2 == 0 or i % 3 == 0]
    assert allowed(terminology, {"value_set": ids}) == wanted


def test_a_deep_hierarchy(tmp_path):
    n = 30_000
    lines = [{"id": f"D:{i:06}", "name": f"n{i}", "parents": [f"D:{(i - 1) % n:06}"]} for i in range(n)]
    source = {"type": "jsonl", "path": write(tmp_path / "deep.jsonl", lines)}
    terminology = read_terminology(TerminologyConfig(sources=[source]))[0]
    assert len(allowed(terminology, {"branches": ["D:000017"]})) == n


# --- the linker ---------------------------------------------------------------------------------------------------


def top(rankings):
    return [r[0].concept_id if r else None for r in rankings]


def test_link_proposes_by_allowed_names_alone(linker):
    mentions = ["Hund", "dog", "Doggo", "quack", ""]
    (dog, *_), *_ = linker.link(mentions)
    assert (dog.concept_id, dog.matched_name, dog.score) == ("Z:3", "Hund", pytest.approx(1, abs=1e-6))
    for filters in ({"langs": ["en"]}, QueryFilters(langs=["en"])):
        rankings = linker.link(mentions, filters=filters)
        assert {c.lang for r in rankings for c in r} == {"en"}
        assert {len(r) for r in rankings[:4]} == {8}
    rankings = linker.link(mentions, filters={"sources": ["keepers"]})
    assert [[c.matched_name for c in r][:1] for r in rankings[1:]] == [["Doggo"], ["Doggo"], ["Quack"], []]
    assert {c.source for r in rankings for c in r} == {"keepers"}
    assert {len(r) for r in rankings[:4]} == {3}
    assert set(rankings[0][0].members) == {"exact", "tfidf", "dense"}


def test_nothing_allowed_is_nil(linker):
    counts = xnorm.linker.LinkCounts()
    rankings = linker.link(["dog", "", "cat"], filters={"branches": ["Z:2"], "value_set": ["Z:8"]}, counts=counts)
    assert [r.is_nil for r in rankings] == [True] * 3
    assert (counts.nil, counts.empty) == (3, 1)


def test_filters_of_the_config_and_of_the_call_hold_together(config):
    linker = xnorm.Linker.build({**config, "filters": {"types": ["species"]}})
    assert {c.concept_id for c in linker.link(["dog"])[0]} == {"Z:3", "Z:4", "Z:6", "Z:7"}
    rankings = linker.link(["dog", "Erpel"], filters={"branches": ["Z:5"], "langs": ["de"]})
    assert [{c.matched_name for c in r} for r in rankings] == [{"Ente", "Erpel"}] * 2
    assert top(rankings)[1] == "Z:7"


BY_TYPE = {"Pet": {"types": ["pet"]}, "Wild": {"branches": ["Z:5"]}, "Any": {}, "Never": {"value_set": ["Z:8"]}}


def test_filters_by_the_type_of_a_mention(config):
    linker = xnorm.Linker.build({**config, "filters": {"langs": ["de"]}, "filters_by_type": BY_TYPE})
    pets, birds, everything = {"Z:3", "Z:4"}, {"Z:5", "Z:6", "Z:7"}, {f"Z:{n}" for n in range(1, 9)}
    cases = [
        (("Pet",), pets),
        (("Wild",), birds),
        (("Pet", "Wild"), pets | birds),
        (("Wild", "Pet"), pets | birds),
        (("Other",), everything),
        (("Other", "Pet"), pets),
        ((), everything),
        (("Any", "Pet"), everything),
        (("Never",), {"Z:8"}),
    ]
    mentions = [Mention("Ente", types=types) for types, _ in cases] * 2
    rankings = linker.link(mentions)
    assert [{c.concept_id for c in r} for r in rankings] == [ids for _, ids in cases] * 2
    assert {c.lang for r in rankings for c in r} == {"de"}
    alone = [linker.link([m])[0] for m in mentions[: len(cases)]]
    assert [list(r) for r in rankings[: len(cases)]] == [list(r) for r in alone]
    both = linker.link(mentions, filters={"types": ["species"]})
    species = {"Z:3", "Z:4", "Z:6", "Z:7"}
    assert [{c.concept_id for c in r} for r in both] == [ids & species for _, ids in cases] * 2


def test_equal_mentions_of_equal_filters_are_looked_up_once(config, monkeypatch):
    linker = xnorm.Linker.build(
        {
            **config,
            "candidates": {"type": "tfidf"},
            "filters_by_type": {"A": {"types": ["pet"]}, "B": {"types": ["pet"]}},
        }
    )
    asked = []
    real = TfidfGenerator.nearest
    monkeypatch.setattr(TfidfGenerator, "nearest", lambda self, q, k: asked.append(q[0]) or real(self, q, k))
    kinds = [("A",), ("B",), (), ("A", "B"), ("C",), ("A",)]
    assert len(linker.link([Mention("dog", types=kind) for kind in kinds])) == 6
    assert asked == [["dog"], ["dog"]]


def test_restricted_generators_are_kept_but_not_without_end(linker):
    names = [n for n in range(1, 9) if linker.link(["dog"], filters={"value_set": [f"Z:{n}"]})]
    kept = linker._lookup._kept
    assert len(kept) == len(names) == 8
    first = next(iter(kept.values()))
    linker.link(["dog"], filters={"value_set": ["Z:1"]})
    assert len(kept) == 8
    assert list(kept.values())[-1] is first
    for a in range(1, 9):
        for b in range(1, 9):
            linker.link(["dog"], filters={"value_set": sorted({f"Z:{a}", f"Z:{b}"})})
    assert len(kept) <= KEPT
    assert sum(own.n_names * own.few for _, own in kept.values()) <= 2 * linker.terminology.n_names


@pytest.fixture
def restricted(monkeypatch):
    """Counts how often a tf-idf generator is restricted, by whether the names are copied."""
    counts = Counter()
    real = TfidfGenerator.restrict
    monkeypatch.setattr(
        TfidfGenerator, "restrict", lambda self, allowed: counts.update([allowed.few]) or real(self, allowed)
    )
    return counts


def wide(config):
    """Return a linker with five types, each of which may be five of the eight concepts."""
    ids = [f"Z:{n}" for n in range(1, 9)]
    by_type = {str(n): {"value_set": [*ids[n:], *ids[:n]][:5]} for n in range(5)}
    return xnorm.Linker.build({**config, "candidates": {"type": "tfidf"}, "filters_by_type": by_type})


def test_wide_filters_by_type_are_not_copied_for_every_batch(config, restricted):
    linker = wide(config)
    mentions = [Mention(text, types=(str(n),)) for n in range(5) for text in ("dog", "Ente", "Stein")]
    first = [list(r) for r in linker.link(mentions)]
    for _ in range(9):
        assert [list(r) for r in linker.link(mentions)] == first
    assert restricted.total() <= 10  # a copy that was given up for a smaller one is one more
    assert restricted[True] >= 2
    assert restricted[False] >= 1
    kept = [own for _, own in linker._lookup._kept.values()]
    assert len(kept) == 5
    assert sum(own.n_names * own.few for own in kept) <= 2 * linker.terminology.n_names
    before = restricted.total()
    linker.link(mentions)
    assert restricted.total() == before
    plain = xnorm.Linker.build({**config, "candidates": {"type": "tfidf"}})
    for mention, ranking in zip(mentions, first, strict=True):
        ids = linker.config.filters_by_type[mention.types[0]].value_set.ids
        (alone,) = plain.link([mention.text], filters={"value_set": ids})
        assert [(c.concept_id, c.matched_name) for c in ranking] == [(c.concept_id, c.matched_name) for c in alone]


def test_what_other_calls_asked_for_goes_first(config, restricted):
    linker = wide(config)
    mentions = [Mention("dog", types=(str(n),)) for n in range(5)]
    for _ in range(3):
        linker.link(mentions)
    for n in range(4):
        linker.link(["dog"], filters={"value_set": [f"Z:{m}" for m in range(1 + n, 6 + n)]})
    for _ in range(2):
        linker.link(mentions)
    before = restricted.total()
    linker.link(mentions)
    assert restricted.total() == before


def test_threads_ask_with_many_filters(config):
    linker = xnorm.Linker.build({**config, "candidates": {"type": "tfidf"}})
    pairs = list(combinations([f"Z:{n}" for n in range(1, 9)], 3))[:40]
    wanted = [[list(r) for r in linker.link(["dog", "Ente"], filters={"value_set": list(ids)})] for ids in pairs]
    start = Barrier(8)

    def work(n):
        start.wait()
        turned = [*range(n * 5, 40), *range(n * 5)] * 3
        return [
            (i, [list(r) for r in linker.link(["dog", "Ente"], filters={"value_set": list(pairs[i])})]) for i in turned
        ]

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for found in threads.map(work, range(8)):
                assert all(rankings == wanted[i] for i, rankings in found)
    finally:
        sys.setswitchinterval(before)
    assert len(linker._lookup._kept) <= KEPT


def test_ranks_that_are_fused_are_those_among_what_is_allowed(config):
    members = {
        "tfidf": {"type": "tfidf", "ngrams": [2, 4]},
        "dense": {"type": "dense", "encoder": {"type": "conftest:HashEncoder"}},
    }
    linker = xnorm.Linker.build({**config, "candidates": {"type": "ensemble", "method": "rrf", "members": members}})
    (all_,), (some,) = linker.link(["duck"]), linker.link(["duck"], filters={"value_set": ["Z:7", "Z:8"]})
    in_all = {c.concept_id: c.score for c in all_}
    assert all_[0].concept_id == "Z:6"
    assert some[0].concept_id == "Z:7"
    assert some[0].score == pytest.approx(all_[0].score)  # the first of both, as the duck is of all
    assert some[0].score > in_all["Z:7"]


def test_a_training_mention_shows_an_allowed_name(config, tmp_path):
    (tmp_path / "pairs.tsv").write_text("text\tconcept_id\nwoofer\tZ:3\nmiaow\tZ:4\n", encoding="utf-8")
    memory = {"type": "exact", "path": str(tmp_path / "pairs.tsv")}
    linker = xnorm.Linker.build({**config, "candidates": memory})
    assert linker.link(["woofer"])[0][0].matched_name == "Dog"
    (dog,), none = linker.link(["woofer", "miaow"], filters={"langs": ["de"], "branches": ["Z:3"]})
    assert (dog.concept_id, dog.matched_name, dog.lang) == ("Z:3", "Hund", "de")
    assert none.is_nil
    assert linker.link(["miaow"], filters={"sources": ["keepers"]})[0][0].matched_name == "Kitty"


def test_a_reranker_sees_what_is_allowed(config):
    rules = {"type": "rules", "rules": ["exact"]}
    linker = xnorm.Linker.build({**config, "reranker": rules, "filters_by_type": BY_TYPE})
    mentions = [Mention("Hund", types=("Wild",)), Mention("Hund", types=("Pet",)), Mention("Hund")]
    steps = linker.stages(mentions, 8)
    assert list(steps) == ["exact", "tfidf", "dense", "ensemble", "reranker"]
    for step in steps.values():
        assert set(step.concepts[0].tolist()) <= {4, 5, 6, -1}
        assert set(step.concepts[1].tolist()) <= {2, 3, -1}
    np.testing.assert_array_equal(steps["reranker"].concepts, linker.candidates(mentions, 8).concepts)
    assert steps["reranker"].sizes().tolist() == [3, 2, 8]


def test_filters_are_settings_of_the_query(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = validate(LinkerConfig, config, where="test")
    find_or_build(plain)
    before = (tmp_path / "index" / "zoo" / "manifest.json").stat().st_mtime_ns
    filtered = validate(LinkerConfig, {**config, "filters": {"types": ["pet"]}}, where="test")
    assert {c.concept_id for c in find_or_build(filtered).link(["duck"])[0]} == {"Z:3", "Z:4"}
    assert (tmp_path / "index" / "zoo" / "manifest.json").stat().st_mtime_ns == before
    xnorm.Linker.build(filtered).save(tmp_path / "own")
    assert {c.concept_id for c in xnorm.Linker.load(tmp_path / "own").link(["duck"])[0]} == {"Z:3", "Z:4"}
    free = xnorm.Linker.load(tmp_path / "own", overrides={"filters": None})
    assert top(free.link(["duck"])) == ["Z:6"]


def test_bad_filters_end_a_build_before_its_work(config, monkeypatch):
    monkeypatch.setattr(TfidfGenerator, "build", lambda *_, **__: pytest.fail("was built"))
    with pytest.raises(ConfigError, match=r"filters_by_type\.Pet\.types: no concept has the type 'pets'; did you mean"):
        xnorm.Linker.build({**config, "filters_by_type": {"Pet": {"types": ["pets"]}}})


@pytest.mark.parametrize(
    ("key", "where", "without"),
    [
        ("filters", "filters.value_set", {"filters": None}),
        ("filters_by_type", "filters_by_type.Pet.value_set", {"filters_by_type": {}}),
    ],
)
def test_an_index_whose_value_set_is_gone(config, tmp_path, key, where, without):
    path = tmp_path / "pets.txt"
    path.write_text("Z:4\n")
    given = {"value_set": {"path": str(path)}}
    xnorm.Linker.build({**config, key: given if key == "filters" else {"Pet": given}}).save(tmp_path / "own")
    path.unlink()
    with pytest.raises(DataError) as e:
        xnorm.Linker.load(tmp_path / "own")
    assert f"pets.txt: no such file, which {where} names; put it back, or open the index in Python" in str(e.value)
    assert str(e.value).endswith(f"with overrides={json.dumps(without).replace('null', 'None')}")
    free = xnorm.Linker.load(tmp_path / "own", overrides=without)
    assert top(free.link([Mention("dog", types=("Pet",))])) == ["Z:3"]


def test_a_value_set_stands_beside_its_config(config, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "pets.txt").write_text("Z:4\n")
    path = tmp_path / "here" / "zoo.yaml"
    path.write_text(yaml.safe_dump({**config, "filters": {"value_set": {"path": "pets.txt"}}}))
    monkeypatch.chdir(tmp_path)
    assert top(xnorm.Linker.build(path).link(["dog"])) == ["Z:4"]


def test_jobs_differ_by_their_filters(config, tmp_path):
    linker = xnorm.Linker.build(config)
    (tmp_path / "m.txt").write_text("dog\n")
    (tmp_path / "ids.txt").write_text("Z:3\n")
    by_file = validate(QueryFilters, {"value_set": tmp_path / "ids.txt"}, where="test")
    given = [None, QueryFilters(types=["pet"]), QueryFilters(types=["species"]), by_file]
    keys = [job_key(linker, tmp_path / "m.txt", filters=f, top_k=3) for f in given]
    assert keys == [job_key(linker, tmp_path / "m.txt", filters=f, top_k=3) for f in given]
    (tmp_path / "ids.txt").write_text("Z:4\n")
    keys.append(job_key(linker, tmp_path / "m.txt", filters=by_file, top_k=3))
    linker = xnorm.Linker.build(
        {**config, "filters_by_type": {"Pet": {"value_set": {"path": str(tmp_path / "ids.txt")}}}}
    )
    keys.append(job_key(linker, tmp_path / "m.txt", top_k=3))
    (tmp_path / "ids.txt").write_text("Z:5\n")
    keys.append(job_key(linker, tmp_path / "m.txt", top_k=3))
    assert len(set(keys)) == 7


def test_random_filters_are_filter_then_rank(linker):
    """What the linker proposes is what the generator proposes over names that plain Python has chosen."""
    terminology, rng = linker.terminology, np.random.default_rng(5)
    names = terminology.names.to_pylist()
    concepts = [terminology[row] for row in range(len(terminology))]
    mentions = [Mention(n["text"]) for n in names] + [Mention(t) for t in ("doggie", "catfish", "steinig", "x")]
    for _ in range(40):
        types = rng.choice(["pet", "species", "class", "kingdom"], rng.integers(1, 3), replace=False).tolist()
        langs = rng.choice(["de", "en", "pt"], rng.integers(1, 3), replace=False).tolist()
        ids = [f"Z:{n}" for n in rng.choice(np.arange(1, 9), rng.integers(1, 8), replace=False)]
        given = {"types": types, "langs": langs, "sources": [str(rng.choice(["zoo", "keepers"]))], "value_set": ids}
        filters = {key: value for key, value in given.items() if rng.random() < 0.6}
        mask = np.array([
            ("types" not in filters or bool(set(concepts[n["concept"]].types) & set(types)))
            and ("langs" not in filters or n["lang"] in langs or n["lang"].partition("-")[0] in langs)
            and ("sources" not in filters or n["source"] in filters["sources"])
            and ("value_set" not in filters or concepts[n["concept"]].id in ids)
            for n in names
        ])  # fmt: skip
        part = linker.generator.restrict(Allowed(terminology, mask))
        for k in (1, 4, 8):
            wanted, found = part.generate(mentions, k), linker.candidates(mentions, k, filters=filters)
            np.testing.assert_array_equal(found.concepts, wanted.concepts)
            np.testing.assert_array_equal(found.names, wanted.names)
            np.testing.assert_allclose(found.scores, wanted.scores, atol=2e-6)


# --- the command line and benchmarks ------------------------------------------------------------------------------


@pytest.fixture
def run(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return lambda *arguments: CliRunner().invoke(app, ["link", "zoo.yaml", "--quiet", *map(str, arguments)])


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--only-types", "pet"], ["Z:3", "Z:4"]),
        (["--only-types", "pet,class"], ["Z:2", "Z:3", "Z:4", "Z:5"]),
        (["--only-types", "pet", "--only-types", "class"], ["Z:2", "Z:3", "Z:4", "Z:5"]),
        (["--only-langs", "pt"], ["Z:3", "Z:4"]),
        (["--only-sources", "keepers", "--only-branches", "Z:5,Z:3"], ["Z:3", "Z:6"]),
        (["--only-value-set", "ids.txt"], ["Z:1", "Z:8"]),
        (["--only-value-set", "ids.txt", "--only-branches", "Z:1"], ["Z:1"]),
        (["--only-value-set", "ids.txt", "--only-types", "pet"], []),
    ],
)
def test_options(run, tmp_path, options, ids):
    (tmp_path / "ids.txt").write_text("Z:1\nZ:8\n")
    result = run("--text", "dog", *options)
    assert result.exit_code == 0, result.stderr
    assert sorted(c["concept_id"] for c in records(result.stdout)[0]["candidates"]) == ids


def test_bad_options(run):
    assert fails(run("--text", "dog", "--only-types", "pets"), "filters.types", "did you mean 'pet'?")
    assert fails(run("--text", "dog", "--only-value-set", "none.txt"), "none.txt: no such file")
    assert fails(run("--text", "dog", "--only-branches", "Q:1"), "filters.branches: no concept has the id 'Q:1'")


def test_commas_in_options():
    found = from_options(None, types=["Body Part, Organ,T047", "pet"], langs=["de,en"], sources=None)
    assert found == QueryFilters(types=["Body Part, Organ", "T047", "pet"], langs=["de", "en"])
    assert from_options(None, types=None, langs=[]) is None
    assert from_options(None, types=["", "pet,"]) == QueryFilters(types=["pet"])


@pytest.mark.parametrize("given", ["", ",", " "])
def test_an_option_without_a_value(run, given):
    for option, other in {"types": "type", "langs": "lang", "sources": "source", "branches": "branch"}.items():
        problem = f"--only-{option} (--{other} of `xnorm search`): expected values with commas between them"
        assert fails(run("--text", "dog", f"--only-{option}", given), problem, f"found '{given}'")


def test_a_job_is_taken_up_with_its_filters(linker, tmp_path):
    filters = QueryFilters(types=["pet"])
    mentions = [Mention(text) for text in ("dog", "duck")]
    link_file(linker, mentions, tmp_path / "out.jsonl", filters=filters)
    lines = records((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert [{c["concept_id"] for c in line["candidates"]} for line in lines] == [{"Z:3", "Z:4"}] * 2


def test_a_benchmark_obeys_filters_by_type(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        {"id": "1", "mention": "Hund", "types": ["Pet"], "gold": ["Z:3"]},
        {"id": "2", "mention": "Hund", "types": ["Wild"], "gold": ["Z:3"]},
        {"id": "3", "mention": "Hund", "gold": ["Z:3"]},
    ]
    write(tmp_path / "m.jsonl", lines)
    bench = {
        "name": "bench",
        "linker": {**config, "filters_by_type": BY_TYPE},
        "corpus": {"parts": {"test": {"type": "jsonl", "path": str(tmp_path / "m.jsonl")}}},
        "top_k": 8,
        "interval": {"resamples": 20},
    }
    metrics = run_benchmark(validate(BenchmarkConfig, bench, where="test"), tmp_path / "out")
    assert [s["stage"] for s in metrics["stages"]] == ["exact", "tfidf", "dense", "ensemble"]
    lines = records((tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8"))
    ids = [{c["concept_id"] for c in line["candidates"]} for line in lines]
    assert ids == [{"Z:3", "Z:4"}, {"Z:5", "Z:6", "Z:7"}, {f"Z:{n}" for n in range(1, 9)}]
    assert [line["ranks"]["dense"] is None for line in lines] == [False, True, False]
    protocol = metrics["protocol"]
    assert protocol["filters"] == {"all": {}, "by_type": {
        "Pet": {"types": ["pet"]}, "Wild": {"branches": ["Z:5"]}, "Any": {},
        "Never": {"value_set": {"ids": 1, "sha256": sha256_text("Z:8")}},
    }}  # fmt: skip
    assert [line for line in protocol["statements"] if "ilter" in line] == [
        "Filters of what is proposed for all mentions: none.",
        "Filters of what is proposed for mentions of the type Pet: types pet.",
        "Filters of what is proposed for mentions of the type Wild: branches Z:5.",
        "Filters of what is proposed for mentions of the type Any: none.",
        "Filters of what is proposed for mentions of the type Never: value_set of ids: 1 "
        f"(sha256 {sha256_text('Z:8')[:16]}).",
    ]


def test_the_protocol_says_which_filters_held(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m.jsonl", [{"id": "1", "mention": "Hund", "gold": ["Z:3"]}])
    pets = tmp_path / "pets.csv"
    pets.write_text("code\n3\n", encoding="utf-8")
    branches = [f"Z:{n}" for n in range(1, 9)] + ["Z:30", "Z:3", "Z:4", "Z:5"]

    def told(filters):
        bench = {
            "name": "bench",
            "linker": {**config, "filters": filters},
            "corpus": {"parts": {"test": {"type": "jsonl", "path": str(tmp_path / "m.jsonl")}}},
            "top_k": 8,
            "interval": {"resamples": 20},
        }
        about = run_benchmark(validate(BenchmarkConfig, bench, where="test"), tmp_path / "out", overwrite=True)
        report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
        said = [line for line in about["protocol"]["statements"] if "ilters" in line]
        assert [line.removeprefix("- ") for line in report.splitlines() if line.startswith("- Filters of")] == said
        return about["protocol"]["filters"], said

    assert told(None) == told({}) == (None, [])
    data, said = told(
        {"langs": ["de", "en"], "branches": branches, "value_set": {"path": str(pets), "column": "code", "prefix": "Z"}}
    )
    digest = sha256_file(pets)
    assert data == {
        "all": {
            "langs": ["de", "en"],
            "branches": branches,
            "value_set": {"column": "code", "prefix": "Z", "file": "pets.csv", "sha256": digest},
        },
        "by_type": {},
    }
    assert said == [
        "Filters of what is proposed for all mentions: langs de, en; branches Z:1, Z:2, Z:3, Z:4, Z:5, Z:6, Z:7, Z:8, "
        f"Z:30, Z:3 and 2 more; value_set pets.csv (sha256 {digest[:16]})."
    ]


def test_no_filter_is_no_warning(linker):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert top(linker.link(["dog"], filters={})) == top(linker.link(["dog"], filters=None)) == ["Z:3"]
