"""Names of several concepts: found, and told apart."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest
from terminology_data import make, write

from xnorm.homonyms import find_homonyms, main_names, qualify_homonyms
from xnorm.linker import LinkerConfig
from xnorm.registry import find_component
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Mention

CONCEPTS = [
    {"id": "K:1", "name": "Cold", "types": ["T047"], "synonyms": ["Common cold", "Mole"]},
    {"id": "K:2", "name": "cold", "types": ["T184"],
     "synonyms": ["Common Cold", {"name": "Kalt", "lang": "de", "scope": "label"}]},
    {"id": "K:3", "name": "Sensation", "synonyms": ["COLD", {"name": "Gefühl", "lang": "de", "scope": "label"}]},
    {"id": "K:4", "name": "Mole", "types": ["x"], "parents": ["K:9", "K:3"]},
    {"id": "K:5", "name": "Mole", "types": ["x"], "parents": ["K:9", "K:1"]},
    {"id": "K:6", "name": "Mole", "types": ["x"], "parents": ["K:9"]},
    {"id": "K:7", "name": "Mole", "types": ["x"], "synonyms": ["Mole (K:7)"]},
    {"id": "K:8", "name": "Warm", "synonyms": [{"name": "Kalt", "lang": "de", "scope": "label"}], "parents": ["K:3"]},
    {"id": "K:9", "name": "Thing", "synonyms": [{"name": "Cold", "lang": "nl"}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    return make(tmp_path_factory.mktemp("kb") / "kb.jsonl", CONCEPTS)


def groups(terminology, found):
    texts = terminology.take("names", "text", found.rows)
    ids = terminology.take("concepts", "id", terminology.name_concept[found.rows])
    bounds = found.starts.tolist()
    return sorted(list(zip(ids, texts, strict=True))[a:b] for a, b in itertools.pairwise(bounds))


def names(terminology, concept):
    return [(n.text, n.lang, n.scope) for n in terminology[concept].names]


def test_found_in_one_language_but_for_case(kb):
    found = find_homonyms(kb)
    assert len(found) == 4
    assert groups(kb, found) == [
        [("K:1", "Cold"), ("K:2", "cold"), ("K:3", "COLD")],  # not K:9, whose name is Dutch
        [("K:1", "Common cold"), ("K:2", "Common Cold")],
        [("K:1", "Mole"), ("K:4", "Mole"), ("K:5", "Mole"), ("K:6", "Mole"), ("K:7", "Mole")],
        [("K:2", "Kalt"), ("K:8", "Kalt")],
    ]


def test_found_among_what_concepts_are_called_by(kb):
    rows, own = main_names(kb)
    assert [kb.take("names", "text", [row])[0] for row in own.tolist()] == [c["name"] for c in CONCEPTS]
    assert kb.take("names", "text", rows) == [
        "Cold", "cold", "Kalt", "Sensation", "Gefühl", "Mole", "Mole", "Mole", "Mole", "Warm", "Kalt", "Thing",
    ]  # fmt: skip
    assert [len(group) for group in groups(kb, find_homonyms(kb, rows))] == [2, 2, 4]


def test_none(tmp_path):
    one = make(tmp_path / "t.jsonl", [{"id": "A:1", "name": "a", "synonyms": ["A", "b"]}])
    assert len(find_homonyms(one)) == 0  # twice of one concept is no homonym
    assert qualify_homonyms(one) is one


def test_told_apart(kb):
    told = qualify_homonyms(kb)
    # by the first that differs: type (by its name), a parent that the others have not, source, id
    assert {c: told[c].name for c in (f"K:{n}" for n in range(1, 10))} == {
        "K:1": "Cold (Disease or Syndrome)",
        "K:2": "cold (Sign or Symptom)",
        "K:3": "Sensation",
        "K:4": "Mole (Sensation)",
        "K:5": "Mole (Cold)",
        "K:6": "Mole (K:6)",
        "K:7": "Mole (K:7)",
        "K:8": "Warm",
        "K:9": "Thing",
    }
    # the bare name stays behind the new one; a synonym that others share, Mole of K:1, is left alone
    assert names(told, "K:1") == [
        ("Cold (Disease or Syndrome)", "en", "preferred"),
        ("Cold", "en", "exact"),
        ("Common cold", "en", "exact"),
        ("Mole", "en", "exact"),
    ]
    assert names(told, "K:2") == [
        ("cold (Sign or Symptom)", "en", "preferred"),
        ("cold", "en", "exact"),
        ("Common Cold", "en", "exact"),
        ("Kalt (Sign or Symptom)", "de", "preferred"),
        ("Kalt", "de", "exact"),
    ]
    # a parent's name in the language of the name
    assert names(told, "K:8")[1:] == [("Kalt (Gefühl)", "de", "preferred"), ("Kalt", "de", "exact")]
    # one that the concept has already is made the preferred one
    assert names(told, "K:7") == [("Mole", "en", "exact"), ("Mole (K:7)", "en", "preferred")]
    assert told["K:3"] == kb["K:3"]


def test_the_tables_stay_whole(kb):
    told = qualify_homonyms(kb)
    assert (told.concepts.schema, told.names.schema) == (kb.concepts.schema, kb.names.schema)
    assert told.n_names == kb.n_names + 7
    assert told.first_name.tolist() == [0, 4, 9, 12, 14, 16, 18, 20, 23, 25]
    assert told.name_concept.tolist() == sorted(told.name_concept.tolist())
    assert told.retired.equals(kb.retired)
    assert kb["K:1"].name == "Cold"  # the one that was given is as it was
    again = qualify_homonyms(told)
    assert again.fingerprint == told.fingerprint


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_bytes_in_every_run(tmp_path, seed):
    """The scopes of a table without preferred names are added in one order, however strings are hashed."""
    program = """
import pyarrow as pa
from xnorm.homonyms import qualify_homonyms
from xnorm.tables import CONCEPTS, NAMES, RETIRED, Terminology
concepts = [{"id": i, "name": "cold", "source": i, "first_name": n} for n, i in enumerate("AB")]
names = [{"concept": n, "text": "cold", "lang": "en", "scope": "related", "source": "S"} for n in range(2)]
kb = Terminology(*map(pa.Table.from_pylist, (concepts, names, []), (CONCEPTS, NAMES, RETIRED)))
told = qualify_homonyms(kb)
print(told.take("names", "text", range(4)), told.names.column("scope").combine_chunks().dictionary.to_pylist())
"""
    environment = {**os.environ, "PYTHONHASHSEED": str(seed)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "['cold (A)', 'cold', 'cold (B)', 'cold'] ['related', 'preferred', 'exact']\n"


def test_a_bare_name_still_finds_them_all(kb):
    told = qualify_homonyms(kb)
    config = LinkerConfig.model_validate(
        {"name": "t", "terminology": {"sources": []}, "candidates": {"type": "exact"}}
    ).candidates
    generator = find_component("candidates", "exact").build(config, told)
    found = generator.nearest(generator.represent([Mention("Cold"), Mention("cold (sign or symptom)")]), 5)
    rows = [[told[int(row)].id for row in mention if row >= 0] for mention in found.concepts]
    assert sorted(rows[0]) == ["K:1", "K:2", "K:3", "K:9"]
    assert rows[1] == ["K:2"]


def test_a_qualified_name_that_another_concept_has(tmp_path):
    kb = make(
        tmp_path / "t.jsonl",
        [
            {"id": "A:1", "name": "Cold", "types": ["disease"]},
            {"id": "A:2", "name": "Cold", "types": ["weather"]},
            {"id": "A:3", "name": "COLD (disease)"},
        ],
    )
    told = qualify_homonyms(kb)
    assert [told[i].name for i in range(3)] == ["Cold (A:1)", "Cold (weather)", "COLD (disease)"]


def test_by_source(tmp_path):
    paths = [write(tmp_path / f"{s}.jsonl", [{"id": f"{s}:1", "name": "Cold", "types": ["x"]}]) for s in ("A", "B")]
    config = TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)} for path in paths])
    told = qualify_homonyms(read_terminology(config)[0])
    assert [told[i].name for i in range(2)] == ["Cold (A)", "Cold (B)"]
