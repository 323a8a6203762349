"""Mapping tables: each format, what is used of it, ids mapped in columns and sources."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from xnorm.config import validate
from xnorm.errors import ConfigError, DataError
from xnorm.mapped_sources import map_facts
from xnorm.mapping import Mapping, mapping_config, read_mapping
from xnorm.mappings.base import MappingConfig, MappingReport, MappingRow, predicate_of
from xnorm.new_ids import NewIds
from xnorm.registry import find_component, list_components
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName, SourceReport, in_columns

FORMATS = ["concept_map", "rf2_map", "sssom", "table"]
SSSOM = """\
#curie_map:
#  HP: http://purl.obolibrary.org/obo/HP_
#  mesh: http://id.nlm.nih.gov/mesh/
#  PET: https://pets.example.org/
#mapping_set_version: "2026-02-30"
#comment: kept\t\t
subject_id\tsubject_label\tpredicate_id\tpredicate_modifier\tobject_id\tconfidence
PET:1\tcat\tskos:exactMatch\t\tmesh:D000001\t0.9
PET:1\tcat\tskos:broadMatch\t\tHP:0000001\t
PET:2\t"dog, ""big"" or\tsmall"\tskos:closeMatch\t\tmesh:D000002\t0.4
PET:3\tcow\tskos:exactMatch\tNot\tmesh:D000003\t1
PET:4\tgnu\tskos:exactMatch\t\tsssom:NoTermFound\t1
PET:5\tyak\toboInOwl:hasDbXref\t\tmesh:D000005\t
PET:6\tox\tzoo:eats\t\tmesh:D000006\t
\tliteral\tskos:exactMatch\t\tmesh:D000007\t
PET:8\tmule\thttp://www.w3.org/2004/02/skos/core#narrowMatch\t\tmesh:D000008\t
"""
CONCEPT_MAP = {
    "resourceType": "ConceptMap",
    "version": "4",
    "group": [
        {
            "source": "https://pets.example.org/ward",
            "target": "http://snomed.info/sct",
            "element": [
                {
                    "code": "A",
                    "target": [
                        {"code": "11", "equivalence": "equivalent", "dependsOn": [{"property": "age", "value": "1"}]},
                        {"code": "12", "equivalence": "wider"},
                        {"equivalence": "unmatched"},
                    ],
                },
                {"code": "B", "target": [{"code": "13", "equivalence": "disjoint"}]},
                {"code": "C"},
                {"code": "D", "noMap": True},
                {"target": [{"code": "14", "equivalence": "equal"}]},
                {"code": "E", "target": [{"equivalence": "equal"}, {"code": "15"}]},
            ],
            "unmapped": {"mode": "fixed", "code": "99"},
        },
        {
            "source": "http://loinc.org|2.82",
            "target": "http://snomed.info/sct",
            "element": [
                {"code": "1-8", "target": [{"code": "21", "relationship": "source-is-broader-than-target"}]},
                {"code": "2-6", "target": [{"code": "22", "relationship": "not-related-to"}]},
                {"code": "3-4", "target": [{"code": "23", "relationship": "related-to"}]},
            ],
        },
    ],
}
RF2 = "\t".join(
    "id effectiveTime active moduleId refsetId referencedComponentId mapGroup mapPriority mapRule mapAdvice mapTarget "
    "correlationId mapCategoryId".split()
)
EXTENDED = [RF2] + [
    "\t".join(row.split(","))
    for row in (
        "u1,20260101,1,m,447562003,101,1,1,TRUE,ALWAYS A10,A10.0,447561005,447637006",
        "u2,20260101,1,m,447562003,102,1,1,IFA 248152002 | Female |,IF FEMALE,A11.0,447561005,447639009",
        "u3,20250101,1,m,447562003,102,1,2,OTHERWISE TRUE,ALWAYS A12,A12,447561005,447637006",
        "u4,20260101,0,m,447562003,103,1,1,TRUE,ALWAYS A13,A13,447561005,447637006",
        "u5,20260101,1,m,447562003,104,2,1,TRUE,ALWAYS B10,B10,447561005,447637006",
        "u6,20260101,1,m,447562003,105,1,1,TRUE,CANNOT BE CLASSIFIED,,447561005,447638001",
        "u7,20260101,1,m,6011000124106,106,1,1,TRUE,ALWAYS C10,C10.1,447557004,447637006",
        "u8,20260101,1,m,447562003,107,1,1,TRUE,ALWAYS C11,C11,447556008,447637006",
        "u9,20260101,1,m,447562003,108,1,1,TRUE,ALWAYS C12,C12,447559001,447637006",
    )
]


def written(tmp_path: Path, text: str | bytes, name: str) -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def config(path: Path, **options: object) -> MappingConfig:
    kind = str(options.pop("type", "table"))
    return validate(
        find_component("mappings", kind).config_class, {"type": kind, "path": path, **options}, where="test"
    )


def rows(path: Path, **options: object) -> tuple[list[MappingRow], MappingReport]:
    """Return what the reader yields, before anything is left out."""
    about, report = config(path, **options), MappingReport(str(path))
    return list(find_component("mappings", about.type)(about).read(report)), report


def read(path: Path, **options: object) -> Mapping:
    return read_mapping(config(path, **options))


def pairs(mapping: Mapping) -> list[tuple[str, str, str]]:
    return [(r["source"], r["target"], r["predicate"]) for r in mapping.rows.to_pylist()]


def message(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as e:
        read(path, **options)
    return str(e.value)


@pytest.fixture
def table(tmp_path):
    """Writes a table, and reads it."""

    def make(*lines: str, name: str = "pets.csv", **options: object) -> Mapping:
        return read(written(tmp_path, "\n".join(lines) + "\n", name), **options)

    return make


def test_the_formats():
    assert list_components("mappings") == FORMATS


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("skos:exactMatch", "exact"),
        ("http://www.w3.org/2004/02/skos/core#closeMatch", "close"),
        ("BROAD", "broad"),
        ("owl:equivalentClass", "exact"),
        ("rdfs:subClassOf", "broad"),
        ("oboInOwl:hasDbXref", "related"),
        ("subsumes", "broad"),
        ("specializes", "narrow"),
        ("inexact", "related"),
    ],
)
def test_what_predicates_mean(word, meaning):
    assert predicate_of(word) == meaning


def test_an_unknown_predicate_is_told_with_its_neighbour():
    with pytest.raises(ValueError, match=r"unknown predicate 'skos:exactMatsch'; did you mean 'exactmatch'\?"):
        predicate_of("skos:exactMatsch")


# tables


def test_a_table(tmp_path):
    text = "from;to;how;sure\r\nA:1;B:1 | B:2;exact;0.5\r\n\r\n;B:3;;\r\nA:4; ;;\r\nA:5;B:5;;\r\n"
    path = written(tmp_path, b"\xef\xbb\xbf" + text.encode(), "pets.csv")
    columns = {"source": "from", "target": "to", "predicate": "how", "confidence": "sure"}
    found, report = rows(path, columns=columns, delimiter=";", separator="|")
    assert found == [
        MappingRow("A:1", "B:1", "exact", 0.5, 2),
        MappingRow("A:1", "B:2", "exact", 0.5, 2),
        MappingRow("A:5", "B:5", "exact", None, 6),
    ]
    assert report.skipped == {"row without a source": 1, "row without a target": 1}
    assert report.examples == {"row without a source": ["line 4"], "row without a target": ["line 5"]}


def test_bad_tables(tmp_path):
    path = written(tmp_path, "source,targte\nA:1,B:1\n", "a.csv")
    assert message(path) == f"{path}:1: has no column 'target'; did you mean 'targte'?"
    path = written(tmp_path, "source,target,p,c\nA:1,B:1,exactly,1\n", "b.csv")
    assert message(path, columns={"predicate": "p"}) == (
        f"{path}:2: unknown predicate 'exactly'; did you mean 'exact'?"
    )
    path = written(tmp_path, "source,target,c\nA:1,B:1,1\nA:2,B:2,90%\n", "c.csv")
    assert message(path, columns={"confidence": "c"}) == (
        f"{path}:3: confidence: expected a number from 0 to 1, found '90%'"
    )
    path = written(tmp_path, "source,target,c\nA:1,B:1,nan\n", "d.csv")
    assert "expected a number from 0 to 1, found 'nan'" in message(path, columns={"confidence": "c"})
    path = written(tmp_path, "", "e.csv")
    assert message(path) == f"{path}: is empty"
    path = written(tmp_path, "source,target\nA:1,Käse\n".encode("latin-1"), "f.csv")
    assert message(path) == f"{path}:2: is not UTF-8 (byte 0xe4); convert it to UTF-8"
    path = written(tmp_path, gzip.compress(b"source,target\n" + b"A:1,B:1\n" * 999)[:40], "g.csv.gz")
    assert message(path).startswith(f"{path}: is a damaged gzip file")
    path = written(tmp_path, "source,target\nA:1,1\n", "h.csv")
    assert message(path) == f"{path}:2: the target id '1' has no prefix; set `target_prefix`"
    path = tmp_path / "none.csv"
    assert message(path) == f"{path}: no such file; look at the mapping's `path`"
    assert message(path, hint="ask Rex for it") == f"{path}: no such file; ask Rex for it"


def test_bad_settings(tmp_path):
    for options, problem in (
        ({"predicates": []}, "predicates: List should have at least 1 item"),
        ({"predicates": ["same"]}, "predicates.0: Input should be 'exact', 'close', 'narrow', 'broad' or 'related'"),
        ({"min_confidence": 90}, "min_confidence: Input should be less than or equal to 1"),
        ({"columns": {"sources": "a"}}, r"unknown key 'sources'; did you mean 'source'\?"),
    ):
        with pytest.raises(ConfigError, match=problem):
            config(tmp_path / "a.csv", **options)


# SSSOM


def test_every_row_of_sssom(tmp_path):
    found, report = rows(written(tmp_path, SSSOM, "pets.sssom.tsv"), type="sssom")
    assert found == [
        MappingRow("PET:1", "MESH:D000001", "exact", 0.9, 8),
        MappingRow("PET:1", "HP:0000001", "broad", None, 9),
        MappingRow("PET:2", "MESH:D000002", "close", 0.4, 10),
        MappingRow("PET:5", "MESH:D000005", "related", None, 13),
        MappingRow("PET:8", "MESH:D000008", "narrow", None, 16),
    ]
    assert report.skipped == {
        "negated row": 1, "row that says that there is no term": 1, "row with the predicate zoo:eats": 1,
        "row without an id": 1,
    }  # fmt: skip
    assert report.examples["negated row"] == ["line 11"]
    assert report.version == "2026-02-30"


def test_own_predicates_and_namespaces_of_sssom(tmp_path):
    path = written(tmp_path, SSSOM.replace("\n", "\r\n"), "pets.sssom.tsv")
    meanings = {"oboInOwl:hasDbXref": "exact", "zoo:eats": "close"}
    found, _ = rows(path, type="sssom", predicate_ids=meanings, namespaces={"https://pets.example.org/": "ANIMAL"})
    assert [(r.source, r.target, r.predicate) for r in found if r.source in ("ANIMAL:5", "ANIMAL:6")] == [
        ("ANIMAL:5", "MESH:D000005", "exact"),
        ("ANIMAL:6", "MESH:D000006", "close"),
    ]


def test_sssom_block_in_a_file_beside(tmp_path):
    block = "".join(line.lstrip("#") + "\n" for line in SSSOM.splitlines() if line.startswith("#")).replace("\t", "")
    rest = "\n".join(line for line in SSSOM.splitlines() if not line.startswith("#"))
    path = written(tmp_path, gzip.compress(rest.encode()), "pets.sssom.tsv.gz")
    assert rows(path, type="sssom")[0][0] == MappingRow("PET:1", "mesh:D000001", "exact", 0.9, 2)
    written(tmp_path, block, "pets.sssom.yml")
    assert rows(path, type="sssom")[0][0] == MappingRow("PET:1", "MESH:D000001", "exact", 0.9, 2)


def test_bad_sssom(tmp_path):
    path = written(tmp_path, SSSOM.replace("object_id", "objects"), "a.tsv")
    assert message(path, type="sssom") == f"{path}:7: has no column 'object_id'; did you mean 'subject_id'?"
    path = written(tmp_path, SSSOM.replace("#curie_map:", "#curie_map: ["), "b.tsv")
    assert message(path, type="sssom").startswith(f"{path}:3: the block before the table is not valid YAML: ")
    path = written(tmp_path, "#- a\n#- b\n" + SSSOM.partition("kept\t\t\n")[2], "c.tsv")
    assert message(path, type="sssom") == f"{path}: the block before the table is not YAML of keys and values"
    path = written(tmp_path, SSSOM.replace("#curie_map:", "#curie_map: 5\n#other:"), "d.tsv")
    assert message(path, type="sssom") == f"{path}: curie_map: expected an IRI by prefix"
    path = written(tmp_path, "#a: " + "[" * 5000 + "\n" + SSSOM, "e.tsv")
    assert message(path, type="sssom").startswith(f"{path}: the block before the table is not valid YAML: nested too")
    path = written(tmp_path, SSSOM.replace("0.9", "-1"), "f.tsv")
    assert message(path, type="sssom") == f"{path}:8: confidence: expected a number from 0 to 1, found '-1'"
    path = written(tmp_path, SSSOM.replace('small"', "small"), "g.tsv")
    assert "not a valid table" in message(path, type="sssom")
    path = written(tmp_path, SSSOM + "PET:9\n", "i.tsv")
    assert message(path, type="sssom") == f"{path}:17: has 1 cells, the header has 6"
    path = written(tmp_path, "#a: b\n", "h.tsv")
    assert message(path, type="sssom").startswith(f"{path}:2: has no column 'subject_id'")


def test_an_alias_bomb_in_the_block_costs_nothing(tmp_path):
    bomb = "#a: &a [x,x]\n" + "".join(
        f"#{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefghi", "bcdefghij", strict=True)
    )
    assert len(rows(written(tmp_path, bomb + SSSOM, "a.tsv"), type="sssom")[0]) == 5


# FHIR ConceptMap


def test_every_target_of_a_concept_map(tmp_path):
    path = written(tmp_path, json.dumps(CONCEPT_MAP), "map.json")
    found, report = rows(path, type="concept_map")
    assert found == [
        MappingRow("ward:A", "SNOMEDCT:11", "exact"),
        MappingRow("ward:A", "SNOMEDCT:12", "broad"),
        MappingRow("LOINC:1-8", "SNOMEDCT:21", "narrow"),
        MappingRow("LOINC:3-4", "SNOMEDCT:23", "related"),
    ]
    assert report.skipped == {
        "condition of a target, which is used all the same (dependsOn)": 1, "target that does not match": 3,
        "code without a target": 1, "code that is said to have no target": 1, "element without a code": 1,
        "target without a code": 1, "target without a relationship": 1, "rule for unmapped codes (fixed)": 1,
    }  # fmt: skip
    assert report.version == "4"
    found, _ = rows(path, type="concept_map", systems={"https://pets.example.org/ward": "WARD"})
    assert found[0].source == "WARD:A"


def test_concept_maps_in_bundles_and_lines(tmp_path):
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": CONCEPT_MAP}, {"resource": {"resourceType": "Patient", "id": "p"}}],
    }
    found, report = rows(written(tmp_path, json.dumps(bundle), "map.json"), type="concept_map")
    assert (len(found), report.skipped["resource of type Patient"]) == (4, 1)
    page = {**bundle, "id": "b", "link": [{"relation": "next", "url": "http://pets.example.org?page=2"}]}
    found, report = rows(written(tmp_path, json.dumps(page), "map.json"), type="concept_map")
    assert (len(found), report.examples["bundle that is one page of several"]) == (4, ["b"])
    lines = json.dumps(bundle) + "\n\n" + json.dumps({**CONCEPT_MAP, "version": "5"}) + "\n"
    found, report = rows(written(tmp_path, gzip.compress(lines.encode()), "map.ndjson.gz"), type="concept_map")
    assert [r.line for r in found] == [1, 1, 1, 1, 3, 3, 3, 3]
    assert report.version is None


def test_bad_concept_maps(tmp_path):
    def told(value: Any) -> str:
        path = written(tmp_path, json.dumps(value) if not isinstance(value, str) else value, "map.json")
        return message(path, type="concept_map").removeprefix(f"{path}: ")

    def one(element: Any, **group: Any) -> Any:
        group = {"source": "urn:a:pets", "target": "urn:b:zoo", **group}
        return {"resourceType": "ConceptMap", "group": [{**group, "element": [element]}]}

    same = {"code": "1", "equivalence": "equal"}
    assert told(one({"code": "A", "target": [{"code": "1", "equivalence": "same"}]})) == (
        "group[0].element[0].target[0]: unknown predicate 'same'; did you mean 'sameas'?"
    )
    assert told(one({"code": 5})) == "group[0].element[0].code: expected a string, found a number"
    assert told(one({"code": "A", "target": [same]}, source=None)) == (
        "group[0].element[0]: the code 'A' has no system; set `source_prefix` or `target_prefix`"
    )
    assert told({"resourceType": "ConceptMap"}) == (
        "holds no mapping to use; rows by predicate: none; `predicates` asks for exact"
    )
    assert told({"group": []}) == "has no 'resourceType'; is it a FHIR resource?"
    assert told("[" * 100_000).startswith("not valid JSON: nested too deep")
    assert told("{").startswith(f"{tmp_path / 'map.json'}:1: not valid JSON")


# RF2


def test_an_extended_map(tmp_path):
    path = written(tmp_path, "\r\n".join(EXTENDED) + "\r\n", "der2_iisssccRefset_ExtendedMapSnapshot_INT_20260101.txt")
    found, report = rows(path, type="rf2_map")
    assert found == [
        MappingRow("101", "ICD10:A10.0", "broad", None, 2),
        MappingRow("102", "ICD10:A12", "broad", None, 4),
        MappingRow("106", "ICD10CM:C10.1", "exact", None, 8),
        MappingRow("108", "ICD10:C12", "narrow", None, 10),
    ]
    assert report.skipped == {
        "target under a condition (map rule)": 1, "inactive row": 1, "row without a target": 1,
        "target that goes with another one (map group 2 and above)": 1, "row that is said not to be mappable": 1,
    }  # fmt: skip
    assert report.version == "20260101"
    found, _ = rows(path, type="rf2_map", conditional=True, groups=True, refsets=["447562003"], unspecified="close")
    assert [(r.source, r.target, r.predicate) for r in found] == [
        ("101", "ICD10:A10.0", "close"),
        ("102", "ICD10:A11.0", "close"),
        ("102", "ICD10:A12", "close"),
        ("104", "ICD10:B10", "close"),
        ("108", "ICD10:C12", "narrow"),
    ]
    assert pairs(read(path, type="rf2_map")) == [("SNOMEDCT:106", "ICD10CM:C10.1", "exact")]
    assert message(path, type="rf2_map", predicates=["close"]) == (
        f"{path}: holds no mapping to use; rows by predicate: broad: 2, exact: 1, narrow: 1; "
        "`predicates` asks for close"
    )


def test_a_simple_map(tmp_path):
    head = "id\teffectiveTime\tactive\tmoduleId\trefsetId\treferencedComponentId\tmapTarget\n"
    text = head + "u1\t20260101\t1\tm\t446608001\t101\tC80.9\nu2\t20260101\t1\tm\t77\t102\tX1\n"
    path = written(tmp_path, text, "der2_sRefset_SimpleMapSnapshot_INT_20260101.txt")
    assert message(path, type="rf2_map") == (
        f"{path}:3: no prefix is known for the targets of the reference set '77'; set `target_prefix`, and `refsets` "
        "to those whose targets have it"
    )
    assert pairs(read(path, type="rf2_map", refsets=["446608001"])) == [("SNOMEDCT:101", "ICDO:C80.9", "exact")]
    assert pairs(read(path, type="rf2_map", refsets=["77"], target_prefix="ZOO")) == [
        ("SNOMEDCT:102", "ZOO:X1", "exact")
    ]
    path = written(tmp_path, text + "u1\t20200101\t1\tm\t446608001\t101\tC80\n", "full.txt")
    assert message(path, type="rf2_map", target_prefix="ICDO") == (
        f"{path}:4: member 'u1' for the second time; take the file of the Snapshot, not of the Full release"
    )
    path = written(tmp_path, head.replace("mapTarget", "target"), "bad.txt")
    assert message(path, type="rf2_map").startswith(f"{path}:1: has no column 'mapTarget'")


# what is used


def test_predicates_confidence_and_direction(table):
    lines = ("source,target,p,c", "A:1,B:1,exact,0.9", "A:2,B:2,narrow,", "A:3,B:3,exact,0.1", "A:4,B:4,broad,1")
    columns = {"columns": {"predicate": "p", "confidence": "c"}}
    mapping = table(*lines, **columns, min_confidence=0.5)
    assert pairs(mapping) == [("A:1", "B:1", "exact")]
    assert mapping.report.as_dict() == {
        "path": str(mapping.config.path), "version": None, "read": 4, "rows": 1, "sources": 1, "targets": 1,
        "several": 0, "predicates": {"exact": 2, "narrow": 1, "broad": 1},
        "skipped": {
            "row of the predicate narrow": 1, "row of too little confidence": 1, "row of the predicate broad": 1,
        },
        "examples": {
            "row of the predicate narrow": ["line 3"], "row of too little confidence": ["line 4"],
            "row of the predicate broad": ["line 5"],
        },
    }  # fmt: skip
    mapping = table(*lines, **columns, inverse=True, predicates=["exact", "narrow"])
    assert pairs(mapping) == [("B:1", "A:1", "exact"), ("B:3", "A:3", "exact"), ("B:4", "A:4", "narrow")]


def test_prefixes(table):
    lines = ("source,target", "1,x", "zoo:2,mesh:y")
    options = {"source_prefix": "A", "target_prefix": "mesh", "rename_prefixes": {"mesh": "MESH", "zoo": "ZOO"}}
    assert pairs(table(*lines, **options)) == [("A:1", "MESH:x", "exact"), ("ZOO:2", "MESH:y", "exact")]
    assert pairs(table(*lines, **options, inverse=True)) == [("MESH:x", "A:1", "exact"), ("MESH:y", "ZOO:2", "exact")]


def test_targets_stand_in_the_order_of_trust(table):
    lines = (
        "source,target,p,c", "A:1,B:5,related,1", "A:1,B:4,exact,", "A:1,B:3,exact,0.2", "A:1,B:2,exact,0.8",
        "A:1,B:1,close,1", "A:1,B:0,exact,0.2", "A:1,B:4,close,", "A:0,B:9,exact,",
    )  # fmt: skip
    columns = {"predicate": "p", "confidence": "c"}
    mapping = table(*lines, columns=columns, predicates=["related", "exact", "close"])
    assert pairs(mapping) == [
        ("A:0", "B:9", "exact"), ("A:1", "B:2", "exact"), ("A:1", "B:3", "exact"), ("A:1", "B:0", "exact"),
        ("A:1", "B:4", "exact"), ("A:1", "B:1", "close"), ("A:1", "B:5", "related"),
    ]  # fmt: skip
    assert mapping.report.skipped == {"row with the same two ids as another one": 1}
    assert mapping.report.examples == {"row with the same two ids as another one": ["line 8"]}
    assert (mapping.report.rows, mapping.report.sources, mapping.report.targets, mapping.report.several) == (7, 2, 7, 1)


@pytest.mark.parametrize(
    ("several", "targets"), [("all", ["B:1", "B:2"]), ("first", ["B:1"]), ("skip", None)]
)  # fmt: skip
def test_ids_are_mapped(table, several, targets):
    mapping = table("source,target", "A:2,B:1", "A:2,B:2", "A:1,B:2", several=several)
    ids = ["A:2", "A:3", None, "A:1", "A:2", ""]
    expected = [targets, None, None, ["B:2"], targets, None]
    assert mapping.map_ids(ids).to_pylist() == expected
    array = pa.array(ids)
    for column in (
        array,
        array.dictionary_encode(),
        pa.chunked_array([array[:2], array[2:]]),
        array.cast("large_string"),
    ):
        assert mapping.map_ids(column).to_pylist() == expected
    assert mapping.map_ids([]).to_pylist() == []
    assert mapping.map_ids([]).type == pa.list_(pa.string())


@pytest.mark.parametrize(
    ("options", "first", "second"),
    [
        ({}, NewIds("several", ("B:2", "B:1"), reason="exact, close"), NewIds("unmapped", ())),
        ({"several": "first"}, NewIds("mapped", ("B:2",), reason="exact"), NewIds("unmapped", ())),
        ({"several": "skip"}, NewIds("unmapped", (), reason="several targets"), NewIds("unmapped", ())),
        (
            {"several": "skip", "unmapped": "keep"},
            NewIds("unmapped", None, reason="several targets"),
            NewIds("unmapped", None),
        ),
    ],
)
def test_what_becomes_of_ids(table, options, first, second):
    lines = ("source,target,p", "A:2,B:1,close", "A:2,B:2,exact", "A:1,B:2,close")
    mapping = table(*lines, columns={"predicate": "p"}, predicates=["exact", "close"], **options)
    assert mapping.look_up(["A:2", "A:3", "A:1"]) == [first, second, NewIds("mapped", ("B:2",), reason="close")]
    assert mapping.look_up([]) == []


# the type of a file


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.csv", "subject_id,object_id\n", "table"),
        ("a.TSV", "source\ttarget\n", "table"),
        ("a.sssom.tsv", SSSOM, "sssom"),
        ("a.tsv", "subject_id\tpredicate_id\tobject_id\n", "sssom"),
        ("a.json", "", "concept_map"),
        ("a.ndjson", "", "concept_map"),
        ("der2_iisssccRefset_ExtendedMapSnapshot_INT_20260101.txt", RF2 + "\r\n", "rf2_map"),
        ("a.tsv.gz", gzip.compress(RF2.encode() + b"\n"), "rf2_map"),
    ],
)
def test_the_type_of_a_file(tmp_path, name, text, kind):
    found = mapping_config(written(tmp_path, text, name), options={"several": "first", "rename_prefixes": {"a": "b"}})
    assert (found.type, found.several, found.rename_prefixes) == (kind, "first", {"a": "b"})
    assert found.path == tmp_path / name


def test_a_mapping_described_in_yaml(tmp_path):
    written(tmp_path, "s;target\nA:1;B:1\n", "a.txt")
    text = "type: table\npath: a.txt\ndelimiter: ;\nseveral: first\ncolumns: {source: s, target: t}\n"
    path = written(tmp_path, text, "a.yaml")
    found = mapping_config(path, options={"several": "skip", "columns": {"target": "target"}})
    assert (found.path, found.several) == (tmp_path / "a.txt", "skip")
    assert pairs(read_mapping(found)) == [("A:1", "B:1", "exact")]


@pytest.mark.parametrize(
    ("name", "text", "arguments", "problem"),
    [
        ("a.txt", "source\ttarget\n", {}, "its name does not tell what type of mapping it is; set --type; known: "),
        ("a.xlsx", "x", {}, "its name does not tell what type"),
        ("a.csv", "x", {"type": "tables"}, "unknown type 'tables' of mappings; did you mean 'table'?"),
        ("a.csv", "x", {"options": {"type": "sssom"}}, "--option type: use --type"),
        ("a.csv", "x", {"options": {"path": "b.csv"}}, "--option path: is the MAPPING itself"),
        ("a.csv", "x", {"options": {"systems": {}}}, "a.csv: unknown key 'systems'; known: "),
        ("a.yaml", "path: a.csv\n", {}, "a.yaml: has no `type`; known: concept_map, rf2_map, sssom, table"),
        ("a.yaml", "type: {a: b}\n", {}, "a.yaml: has no `type`"),
        ("a.yaml", "type: table\n", {}, "a.yaml: path: Field required"),
        ("a.yml", "type: table\npath: a\n", {"type": "sssom"}, "--type sssom: a.yml has a `type` of its own"),
        ("a.yaml", "- type\n", {}, "expected a mapping of keys to values, found list"),
    ],
)
def test_files_that_are_no_mapping(tmp_path, name, text, arguments, problem):
    with pytest.raises(ConfigError) as e:
        mapping_config(written(tmp_path, text, name), **arguments)
    assert problem in str(e.value)
    with pytest.raises(DataError, match=r"none\.tsv: no such file$"):
        mapping_config(tmp_path / "none.tsv")


# sources


def facts_of(records: list[RawConcept], mapping: Mapping) -> tuple[dict[str, list[dict[str, Any]]], SourceReport]:
    report = SourceReport("pets", "pets.obo")
    batches = list(map_facts(in_columns(iter(records), report), mapping, report))
    return {kind: pa.concat_tables([b[kind] for b in batches]).to_pylist() for kind in batches[0]}, report


def test_a_source_is_translated(table):
    mapping = table("source,target", "A:1,B:1", "A:2,B:1", "A:3,B:3", "A:3,B:4")
    one = RawConcept(
        "A:1", [RawName("cat", "en", "preferred")], ["t"], ["X:1"], ["A:3", "A:9"], "It lives.", 1, ["A:0"]
    )
    two = RawConcept("A:2", [RawName("puss", "en", "preferred"), RawName("kitty", "en")], line=2)
    three = RawConcept("A:3", [RawName("pet", "en", "preferred")], line=3, alt_ids=["A:33"])
    lost = RawConcept("A:9", [RawName("gnu", "en", "preferred")], line=4, alt_ids=["A:99"])
    old = RawConcept("A:5", [RawName("ox", "en")], line=5, retired=True, replaced_by=["A:3", "A:9"])
    found, report = facts_of([one, two, three, lost, old], mapping)
    assert [(c["id"], c["line"]) for c in found["concepts"]] == [("B:1", 1), ("B:1", 2), ("B:3", 3), ("B:4", 3)]
    assert found["definitions"] == [{"id": "B:1", "value": "It lives."}]
    assert [(n["id"], n["text"], n["scope"], n["record"]) for n in found["names"]] == [
        ("B:1", "cat", "preferred", None), ("B:1", "puss", "preferred", None), ("B:1", "kitty", "exact", None),
        ("B:3", "pet", "preferred", None), ("B:4", "pet", "preferred", None),
    ]  # fmt: skip
    assert found["types"] == [{"id": "B:1", "value": "t"}]
    assert [(x["id"], x["value"]) for x in found["xrefs"]] == [
        ("B:1", "X:1"), ("B:1", "A:1"), ("B:1", "A:2"), ("B:3", "A:3"), ("B:4", "A:3"),
    ]  # fmt: skip
    assert [(p["id"], p["value"]) for p in found["parents"]] == [("B:1", "B:3"), ("B:1", "B:4")]
    assert found["retired"] == [
        {"id": "A:0", "replaced_by": ["B:1"], "name": None, "reason": "merged"},
        {"id": "A:33", "replaced_by": ["B:3", "B:4"], "name": None, "reason": "merged"},
        {"id": "A:5", "replaced_by": ["B:3", "B:4"], "name": "ox", "reason": "obsolete"},
    ]
    assert report.skipped == {"concept without a target in the mapping": 1}
    assert report.examples == {"concept without a target in the mapping": ["A:9"]}


def test_ids_without_a_target_stay_if_that_is_wanted(table):
    mapping = table("source,target", "A:1,B:1", "A:2,B:2", "A:2,B:3", unmapped="keep", several="skip")
    records = [RawConcept(f"A:{n}", [RawName("x", "en")], parents=["A:2"], alt_ids=[f"A:{n}0"]) for n in (2, 1)]
    found, report = facts_of(records, mapping)
    assert [c["id"] for c in found["concepts"]] == ["A:2", "B:1"]
    assert [(p["id"], p["value"]) for p in found["parents"]] == [("A:2", "A:2"), ("B:1", "A:2")]
    assert [(x["id"], x["value"]) for x in found["xrefs"]] == [("B:1", "A:1")]
    assert [r["replaced_by"] for r in found["retired"]] == [["A:2"], ["B:1"]]
    assert report.skipped == {}
    mapping = table("source,target", "A:1,B:1", "A:2,B:2", "A:2,B:3", several="skip")
    assert facts_of(records, mapping)[1].skipped == {"concept without a single target in the mapping": 1}


@pytest.mark.parametrize(
    ("predicate", "scopes"),
    [
        ("exact", ["preferred", "exact", "narrow", "broad", "related"]),
        ("close", ["exact", "exact", "narrow", "broad", "related"]),
        ("broad", ["narrow", "narrow", "narrow", "related", "related"]),
        ("narrow", ["broad", "broad", "related", "broad", "related"]),
        ("related", ["related", "related", "related", "related", "related"]),
    ],
)
def test_what_a_name_is_to_the_target(table, predicate, scopes):
    mapping = table("source,target,p", f"A:1,B:1,{predicate}", columns={"predicate": "p"}, predicates=[predicate])
    names = [RawName(s, "en", s) for s in ("preferred", "exact", "narrow", "broad", "related")]
    found, _ = facts_of([RawConcept("A:1", names)], mapping)
    assert [n["scope"] for n in found["names"]] == scopes
    assert [x["value"] for x in found["xrefs"]] == (["A:1"] if predicate == "exact" else [])


def test_a_source_without_any_target(table):
    found, report = facts_of([RawConcept("Z:1", [RawName("x", "en")])], table("source,target", "A:1,B:1"))
    assert {kind: len(found[kind]) for kind in found} == dict.fromkeys(found, 0)
    assert report.skipped == {"concept without a target in the mapping": 1}


def test_names_of_one_terminology_over_another(table, tmp_path):
    """The whole way: German names of Z laid over concepts of PET."""
    pets = tmp_path / "pets.jsonl"
    pets.write_text('{"id": "PET:1", "name": "cat"}\n{"id": "PET:2", "name": "dog"}\n')
    zoo = tmp_path / "zoo.jsonl"
    records = [{"id": "Z:1", "name": "Katze"}, {"id": "Z:2", "name": "Kater"}, {"id": "Z:3", "name": "Gnu"}]
    zoo.write_text("".join(json.dumps(r) + "\n" for r in records))
    mapping = table("source,target", "Z:1,PET:1", "Z:2,PET:1", name="map.csv").config
    config = validate(
        TerminologyConfig,
        {
            "sources": [
                {"type": "jsonl", "path": pets},
                {"type": "jsonl", "path": zoo, "lang": "de", "overlay": True, "map": mapping.model_dump()},
            ]
        },
        where="test",
    )
    terminology, report = read_terminology(config)
    assert [(n.text, n.lang, n.scope) for n in terminology["PET:1"].names] == [
        ("cat", "en", "preferred"), ("Katze", "de", "preferred"), ("Kater", "de", "exact"),
    ]  # fmt: skip
    assert terminology["PET:1"].xrefs == ("Z:1", "Z:2")
    assert report.sources[1].skipped["concept without a target in the mapping"] == 1
