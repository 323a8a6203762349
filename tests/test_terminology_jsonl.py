"""JSON Lines terminologies."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from parsing import tools

from xnorm.errors import DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName

CAT = {
    "id": "PET:2",
    "name": "cat",
    "synonyms": [
        "kitty",
        {"name": "chat", "lang": "fr", "scope": "label", "status": "OFFICIAL"},
        {"name": "minou", "lang": "fr", "scope": "synonym"},
        {"name": "tabby", "scope": "NARROW"},
        {"name": "pet", "lang": None, "scope": "broad"},
        {"name": "meower", "lang": "en", "scope": "related"},
        {"name": "mouser", "lang": "en", "scope": "entry"},
        {"name": "cats", "lang": "en", "scope": "inclusion"},
        {"name": "felid", "lang": "en", "scope": None},
    ],
    "types": ["mammal"],
    "xrefs": ["UMLS:C0007450"],
    "definition": "Says meow.",
    "parents": ["PET:1"],
    "alt_ids": ["PET:9"],
}
DOG = {"id": "PET:3", "name": "dog", "retired": True, "replaced_by": ["PET:1"]}
XMEN = {
    "concept_id": "C1",
    "canonical_name": "cat",
    "aliases": ["kitty"],
    "types": ["T015"],
    "definition": None,
}


_, parse, message = tools("jsonl", "pets.jsonl")


def written(tmp_path: Path, *records: object) -> Path:
    path = tmp_path / "pets.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def test_every_field(tmp_path):
    concepts, report = parse(written(tmp_path, CAT, DOG))
    assert concepts == [
        RawConcept(
            id="PET:2",
            names=[
                RawName("cat", "en", "preferred"),
                RawName("kitty", "en", "exact"),
                RawName("chat", "fr", "preferred"),
                RawName("minou", "fr", "exact"),
                RawName("tabby", "en", "narrow"),
                RawName("pet", "en", "broad"),
                RawName("meower", "en", "related"),
                RawName("mouser", "en", "exact"),
                RawName("cats", "en", "exact"),
                RawName("felid", "en", "exact"),
            ],
            types=["mammal"],
            xrefs=["UMLS:C0007450"],
            parents=["PET:1"],
            definition="Says meow.",
            line=1,
            alt_ids=["PET:9"],
        ),
        RawConcept("PET:3", [RawName("dog", "en", "preferred")], line=2, retired=True, replaced_by=["PET:1"]),
    ]
    assert not report.skipped


def test_xmen_and_own_records_in_one_file(tmp_path):
    concepts, report = parse(written(tmp_path, XMEN, {"id": "C2", "name": "Hund"}), prefix="UMLS", lang="de")
    assert concepts == [
        RawConcept(
            "UMLS:C1", [RawName("cat", "de", "preferred"), RawName("kitty", "de", "exact")], types=["T015"], line=1
        ),
        RawConcept("UMLS:C2", [RawName("Hund", "de", "preferred")], line=2),
    ]
    assert not report.skipped


def test_prefix_goes_before_every_id_but_xrefs(tmp_path):
    record = {"id": "2", "name": "cat", "parents": ["1"], "alt_ids": ["9"], "replaced_by": ["X:1"], "xrefs": ["C7"]}
    concept = parse(written(tmp_path, record), prefix="PET")[0][0]
    assert (concept.id, concept.parents, concept.alt_ids) == ("PET:2", ["PET:1"], ["PET:9"])
    assert (concept.replaced_by, concept.xrefs) == (["X:1"], ["C7"])


def test_missing_and_null_values(tmp_path):
    null = dict.fromkeys(CAT) | {"id": "PET:2", "synonyms": ["cat"]}
    concepts, _ = parse(written(tmp_path, null, {"id": "PET:3", "name": "dog"}, {"id": " ", "name": "x"}))
    assert concepts == [
        RawConcept("PET:2", [RawName("cat", "en", "exact")], line=1),
        RawConcept("PET:3", [RawName("dog", "en", "preferred")], line=2),
        RawConcept("", [RawName("x", "en", "preferred")], line=3),
    ]


def test_what_is_left_out_is_counted(tmp_path):
    concepts, report = parse(written(tmp_path, CAT | {"synonims": ["kitty"]}, {"id": "PET:5"}, {"id": "", "name": "x"}))
    assert [c.id for c in concepts] == ["PET:2", ""]
    assert report.skipped == {"key 'synonims', which xnorm does not read": 1, "record without a name": 1}
    assert report.examples["record without a name"] == ["line 2"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": 7}, "id: expected a string, found a number"),
        ({"id": None, "name": ["cat"]}, "name: expected a string, found a list"),
        ({"synonyms": "kitty"}, "synonyms: expected a list, found a string"),
        ({"synonyms": ["kitty", 7]}, "synonyms[1]: expected a string or an object with a 'name', found a number"),
        ({"synonyms": [{"x": 1}]}, "synonyms[0]: expected a string or an object with a 'name', found an object"),
        ({"synonyms": [{"name": None}]}, "synonyms[0].name: expected a string, found null"),
        ({"synonyms": [{"name": "x", "lang": ["fr"]}]}, "synonyms[0].lang: expected a string, found a list"),
        (
            {"synonyms": [{"name": "x", "scope": "exat"}]},
            "synonyms[0].scope: unknown scope 'exat'; did you mean 'exact'?",
        ),
        ({"types": {"T": 1}}, "types: expected a list, found an object"),
        ({"xrefs": [["UMLS", "C1"]]}, "xrefs[0]: expected a string, found a list"),
        ({"parents": [None]}, "parents[0]: expected a string, found null"),
        ({"alt_ids": [1.5]}, "alt_ids[0]: expected a string, found a number"),
        ({"replaced_by": "PET:1"}, "replaced_by: expected a list, found a string"),
        ({"retired": "yes"}, "retired: expected true or false, found a string"),
        ({"definition": True}, "definition: expected a string, found a boolean"),
        ({"definition": "half \ud83d"}, "definition: half of a surrogate pair (\\ud83d)"),
        ({"types": ["\udc00"]}, "types[0]: half of a surrogate pair (\\udc00)"),
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind(tmp_path, change, problem):
    path = written(tmp_path, DOG, CAT | change)
    assert message(path) == f"{path}:2: {problem}"


def test_record_without_an_id_key(tmp_path):
    path = written(tmp_path, {"identifier": "PET:2", "name": "cat"})
    assert message(path) == f"{path}:1: has no key 'id' (or 'concept_id'); the keys are: identifier, name"


def test_bad_lines(tmp_path):
    path = tmp_path / "pets.jsonl"
    good = json.dumps(CAT) + "\n\n"
    path.write_text(good + '{"id": "PET:3", "na')
    assert message(path).startswith(f"{path}:3: not valid JSON: Unterminated string")
    path.write_text(good + '["PET:3"]\n')
    assert message(path) == f"{path}:3: expected a JSON object, found list"
    path.write_text(good + '{"id": ' + "[" * 100_000 + "\n")
    assert message(path).startswith(f"{path}:3: not valid JSON: ")
    path.write_bytes(good.encode() + b'{"id": "PET:3", "name": "caf\xe9"}\n')
    assert message(path) == f"{path}:3: is not UTF-8 (byte 0xe9); convert it to UTF-8"


def test_bad_files(tmp_path):
    missing = tmp_path / "none.jsonl"
    assert message(missing) == f"{missing}: no such file"
    path = tmp_path / "pets.jsonl"
    path.write_bytes(b"")
    assert message(path) == f"{path}: is empty"
    path.write_bytes(json.dumps(CAT).encode("utf-16"))
    assert message(path) == f"{path}: is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"
    path.write_bytes(gzip.compress(json.dumps(CAT).encode())[:-9])
    text = message(path)
    assert text.startswith(f"{path}: is a damaged gzip file: ")
    assert text.endswith("; fetch it again")


def test_two_labels_in_one_record_and_in_two(tmp_path):
    labels = [{"name": "chat", "lang": "fr", "scope": "label"}, {"name": "matou", "lang": "fr", "scope": "label"}]
    path = written(tmp_path, {"id": "PET:2", "name": "cat", "synonyms": labels})
    terminology, _ = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": path}]))
    assert [(n.text, n.scope) for n in terminology["PET:2"].names] == [
        ("cat", "preferred"),
        ("chat", "preferred"),
        ("matou", "exact"),
    ]
    path = written(tmp_path, CAT, DOG, {"id": "PET:2", "name": "dog"})
    with pytest.raises(DataError) as e:
        read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": path}]))
    assert str(e.value) == (
        f"{path}:3: duplicate id 'PET:2': named 'dog' here and 'cat' before (line 1); "
        "mend the file, or set `duplicates: merge` to keep the second as a further name"
    )
