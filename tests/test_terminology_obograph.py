"""OBO Graphs JSON terminologies."""

from __future__ import annotations

import gzip

import pytest
from parsing import tools

from xnorm.errors import ConfigError, DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName, SourceReport
from xnorm.terminology.obo import OboConfig, OboParser

# laid out as ROBOT writes it; the terms are ours
PETS = """\
{
  "graphs" : [ {
    "id" : "http://purl.obolibrary.org/obo/pet.owl",
    "meta" : {
      "basicPropertyValues" : [ {
        "pred" : "http://purl.org/dc/terms/license",
        "val" : "https://creativecommons.org/licenses/by/4.0/"
      } ],
      "version" : "http://purl.obolibrary.org/obo/pet/releases/2026-02-16/pet.json"
    },
    "nodes" : [ {
      "id" : "http://purl.obolibrary.org/obo/PET_0000001",
      "lbl" : "animal",
      "type" : "CLASS"
    }, {
      "id" : "http://purl.obolibrary.org/obo/PET_0000002",
      "lbl" : "cat",
      "type" : "CLASS",
      "meta" : {
        "definition" : {
          "val" : "Says \\"meow\\", sleeps.",
          "xrefs" : [ "PMID:1" ]
        },
        "comments" : [ "Not a dog." ],
        "subsets" : [ "http://purl.obolibrary.org/obo/pet#slim" ],
        "synonyms" : [ {
          "pred" : "hasExactSynonym",
          "val" : "Felis catus",
          "xrefs" : [ "NCBITaxon:9685" ]
        }, {
          "synonymType" : "http://purl.obolibrary.org/obo/pet#layperson",
          "pred" : "hasExactSynonym",
          "val" : "kitty"
        }, {
          "pred" : "hasNarrowSynonym",
          "val" : "tabby"
        }, {
          "pred" : "hasBroadSynonym",
          "val" : "pet"
        }, {
          "synonymType" : "http://purl.obolibrary.org/obo/OMO_0003000",
          "pred" : "hasRelatedSynonym",
          "val" : "F. c."
        }, {
          "pred" : "hasExactSynonym",
          "val" : "chat domestique",
          "lang" : "fr"
        } ],
        "xrefs" : [ {
          "val" : "UMLS:C0007450"
        }, {
          "val" : "http://www.orpha.net/ORDO/Orphanet_77"
        } ],
        "basicPropertyValues" : [ {
          "pred" : "http://www.geneontology.org/formats/oboInOwl#hasAlternativeId",
          "val" : "PET:0000009"
        }, {
          "pred" : "http://www.geneontology.org/formats/oboInOwl#hasOBONamespace",
          "val" : "mammals"
        }, {
          "pred" : "http://www.w3.org/2000/01/rdf-schema#label",
          "val" : "chat",
          "lang" : "fr"
        }, {
          "pred" : "http://www.w3.org/2004/02/skos/core#exactMatch",
          "val" : "http://identifiers.org/mesh/D002415"
        } ]
      }
    }, {
      "id" : "http://purl.obolibrary.org/obo/PET_0000003",
      "lbl" : "obsolete dog",
      "type" : "CLASS",
      "meta" : {
        "basicPropertyValues" : [ {
          "pred" : "http://purl.obolibrary.org/obo/IAO_0100001",
          "val" : "http://purl.obolibrary.org/obo/PET_0000001"
        }, {
          "pred" : "http://www.geneontology.org/formats/oboInOwl#consider",
          "val" : "PET:0000002"
        } ],
        "deprecated" : true
      }
    }, {
      "id" : "http://purl.obolibrary.org/obo/PET_0000009",
      "type" : "CLASS",
      "meta" : {
        "basicPropertyValues" : [ {
          "pred" : "http://purl.obolibrary.org/obo/IAO_0000231",
          "val" : "http://purl.obolibrary.org/obo/IAO_0000227"
        }, {
          "pred" : "http://purl.obolibrary.org/obo/IAO_0100001",
          "val" : "PET:0000002"
        } ],
        "deprecated" : true
      }
    }, {
      "id" : "http://purl.obolibrary.org/obo/UBERON_0002102",
      "lbl" : "forelimb",
      "type" : "CLASS"
    }, {
      "id" : "http://purl.obolibrary.org/obo/NCBITaxon_9685"
    }, {
      "id" : "http://example.org/pets/kennel",
      "type" : "CLASS",
      "lbl" : "kennel"
    }, {
      "id" : "http://purl.obolibrary.org/obo/PET_0000004",
      "type" : "CLASS"
    }, {
      "id" : "http://purl.obolibrary.org/obo/BFO_0000050",
      "lbl" : "part of",
      "type" : "PROPERTY",
      "propertyType" : "OBJECT"
    }, {
      "id" : "http://purl.obolibrary.org/obo/PET_0000005",
      "lbl" : "Garfield",
      "type" : "INDIVIDUAL"
    } ],
    "edges" : [ {
      "sub" : "http://purl.obolibrary.org/obo/PET_0000002",
      "pred" : "is_a",
      "obj" : "http://purl.obolibrary.org/obo/PET_0000001"
    }, {
      "sub" : "http://purl.obolibrary.org/obo/UBERON_0002102",
      "pred" : "http://purl.obolibrary.org/obo/BFO_0000050",
      "obj" : "http://purl.obolibrary.org/obo/PET_0000001"
    }, {
      "sub" : "http://purl.obolibrary.org/obo/PET_0000002",
      "pred" : "http://purl.obolibrary.org/obo/RO_0002162",
      "obj" : "http://purl.obolibrary.org/obo/NCBITaxon_9685"
    } ],
    "equivalentNodesSets" : [ ],
    "logicalDefinitionAxioms" : [ {
      "definedClassId" : "http://purl.obolibrary.org/obo/PET_0000002",
      "genusIds" : [ "http://purl.obolibrary.org/obo/UBERON_0002102" ],
      "restrictions" : [ ]
    } ],
    "domainRangeAxioms" : [ ],
    "propertyChainAxioms" : [ ]
  } ]
}
"""
CAT = RawConcept(
    id="PET:0000002",
    names=[
        RawName("cat", "en", "preferred"),
        RawName("Felis catus", "en", "exact"),
        RawName("kitty", "en", "exact"),
        RawName("tabby", "en", "narrow"),
        RawName("pet", "en", "broad"),
        RawName("F. c.", "en", "related"),
        RawName("chat domestique", "fr", "exact"),
        RawName("chat", "fr", "preferred"),
    ],
    types=["mammals"],
    xrefs=["UMLS:C0007450", "Orphanet:77"],
    parents=["PET:0000001"],
    definition='Says "meow", sleeps.',
    alt_ids=["PET:0000009"],
)


written, parse, message = tools("obograph", "pets.json")


def graph(*nodes: object, edges: object = ()) -> dict[str, object]:
    return {"graphs": [{"id": "g", "nodes": list(nodes), "edges": list(edges)}]}


def test_every_field(tmp_path):
    concepts, report = parse(written(tmp_path, PETS))
    assert concepts == [
        RawConcept("PET:0000001", [RawName("animal", "en", "preferred")]),
        CAT,
        RawConcept(
            "PET:0000003", [RawName("obsolete dog", "en", "preferred")], retired=True, replaced_by=["PET:0000001"]
        ),
        RawConcept("PET:0000009", retired=True, replaced_by=["PET:0000002"]),
        RawConcept("UBERON:0002102", [RawName("forelimb", "en", "preferred")]),
        RawConcept("http://example.org/pets/kennel", [RawName("kennel", "en", "preferred")]),
    ]
    assert report.version == "http://purl.obolibrary.org/obo/pet/releases/2026-02-16/pet.json"
    assert report.skipped == {"node without a type": 1, "class without a name": 1}
    assert report.examples == {
        "node without a type": ["http://purl.obolibrary.org/obo/NCBITaxon_9685"],
        "class without a name": ["PET:0000004"],
    }


def test_into_a_terminology(tmp_path):
    path = written(tmp_path, PETS)
    terminology, report = read_terminology(TerminologyConfig(sources=[{"type": "obograph", "path": path}]))
    assert terminology.concepts["id"].to_pylist() == [
        "PET:0000001", "PET:0000002", "UBERON:0002102", "http://example.org/pets/kennel",
    ]  # fmt: skip
    assert terminology["PET:0000002"].parents == ("PET:0000001",)
    rows = terminology.retired.to_pylist()
    assert [tuple(row.values())[:3] for row in rows] == [
        ("PET:0000003", ["PET:0000001"], "obsolete dog"),
        ("PET:0000009", ["PET:0000002"], None),
    ]
    assert report.retired == 2


def test_the_same_as_from_obo(tmp_path):
    obo = tmp_path / "pets.obo"
    obo.write_text(
        "format-version: 1.2\n\n[Term]\nid: PET:0000002\nname: cat\nnamespace: mammals\nalt_id: PET:0000009\n"
        'def: "Says \\"meow\\", sleeps." [PMID:1]\nsynonym: "Felis catus" EXACT [NCBITaxon:9685]\n'
        'synonym: "kitty" EXACT layperson []\nsynonym: "tabby" NARROW []\nsynonym: "pet" BROAD []\n'
        'synonym: "F. c." RELATED OMO:0003000 []\nxref: UMLS:C0007450\nxref: Orphanet:77\nis_a: PET:0000001\n'
    )
    (old,) = OboParser(OboConfig(type="obo", path=obo)).read(SourceReport("pets", str(obo)))
    new = next(c for c in parse(written(tmp_path, PETS))[0] if c.id == "PET:0000002")
    new.names = [name for name in new.names if name.lang == "en"]
    old.line = None
    assert new == old


def test_relations_that_are_parents(tmp_path):
    path = written(tmp_path, PETS)
    for relation in ("part_of", "BFO:0000050", "http://purl.obolibrary.org/obo/BFO_0000050"):
        parents = {c.id: c.parents for c in parse(path, parents=[relation])[0]}
        assert (parents["PET:0000002"], parents["UBERON:0002102"]) == ([], ["PET:0000001"])
    parents = {c.id: c.parents for c in parse(path, parents=["is_a", "RO:0002162"])[0]}
    assert parents["PET:0000002"] == ["PET:0000001", "NCBITaxon:9685"]
    with pytest.raises(ConfigError) as e:
        parse(path, parents=["part-of"])
    known = "known: BFO:0000050, RO:0002162, is_a"
    assert str(e.value) == f"{path}: parents: no edge has the relation 'part-of'; {known}"


def test_prefixes_leave_imported_classes_out(tmp_path):
    concepts, report = parse(written(tmp_path, PETS), prefixes=["PET:"])
    assert [c.id for c in concepts] == ["PET:0000001", "PET:0000002", "PET:0000003", "PET:0000009"]
    assert report.examples["class with another prefix"] == ["UBERON:0002102", "http://example.org/pets/kennel"]


@pytest.mark.parametrize("kind", ["layperson", "http://purl.obolibrary.org/obo/pet#layperson"])
def test_synonym_types_to_skip(tmp_path, kind):
    concepts, report = parse(written(tmp_path, PETS), skip_synonym_types=[kind, "OMO:0003000"])
    assert [n.text for n in concepts[1].names] == ["cat", "Felis catus", "tabby", "pet", "chat domestique", "chat"]
    assert report.skipped["synonym of type layperson"] == report.skipped["synonym of type OMO:0003000"] == 1
    assert report.examples["synonym of type layperson"] == ["PET:0000002"]


def test_unknown_synonym_type(tmp_path):
    path = written(tmp_path, PETS)
    with pytest.raises(ConfigError) as e:
        parse(path, skip_synonym_types=["lay person"])
    assert str(e.value) == (
        f"{path}: skip_synonym_types: no synonym has the type 'lay person'; did you mean 'layperson'?"
    )


@pytest.mark.parametrize(
    ("iri", "curie"),
    [
        ("http://purl.obolibrary.org/obo/HP_0000118", "HP:0000118"),
        ("https://purl.obolibrary.org/obo/MONDO_0005148", "MONDO:0005148"),
        ("http://purl.obolibrary.org/obo/APOLLO_SV_00000032", "APOLLO_SV:00000032"),
        ("http://purl.obolibrary.org/obo/NCIT_C3262", "NCIT:C3262"),
        ("http://purl.obolibrary.org/obo/hp.owl", "http://purl.obolibrary.org/obo/hp.owl"),
        ("http://www.ebi.ac.uk/efo/EFO_0000408", "EFO:0000408"),
        ("http://identifiers.org/hgnc/12029", "HGNC:12029"),
        ("http://example.org/pets/7", "PET:7"),
        ("http://example.org/pets/dog/7", "DOG:7"),
        ("http://example.org/other/7", "http://example.org/other/7"),
        ("HP:0000118", "HP:0000118"),
        ("0000118", "HP:0000118"),
    ],
)
def test_iris_to_curies(tmp_path, iri, curie):
    path = written(tmp_path, graph({"id": iri, "type": "CLASS", "lbl": "x"}))
    namespaces = {"http://example.org/pets/": "PET", "http://example.org/pets/dog/": "DOG"}
    assert parse(path, namespaces=namespaces, prefix="HP")[0][0].id == curie


def test_edges_and_nodes_in_several_graphs(tmp_path):
    cat = {"id": "PET:2", "type": "CLASS", "lbl": "Katze"}
    edge = {"sub": "PET:2", "pred": "is_a", "obj": "PET:1"}
    both = {"graphs": [{"nodes": [cat]}, {"meta": {"version": "v2"}, "edges": [edge, edge], "nodes": [cat]}]}
    concepts, report = parse(written(tmp_path, both), lang="de")
    assert concepts == [RawConcept("PET:2", [RawName("Katze", "de", "preferred")], parents=["PET:1"])] * 2
    assert report.version == "v2"


def test_synonym_of_an_unknown_kind_is_counted(tmp_path):
    synonyms = [{"pred": "oboInOwl:hasExactSynonym", "val": "kitty"}, {"pred": "hasOtherSynonym", "val": "puss"}]
    node = {"id": "PET:2", "type": "CLASS", "lbl": None, "meta": {"synonyms": synonyms, "xrefs": None}}
    concepts, report = parse(written(tmp_path, graph(node)))
    assert concepts == [RawConcept("PET:2", [RawName("kitty", "en", "exact")])]
    assert report.skipped == {"synonym with the predicate hasOtherSynonym": 1}


def test_gzip_byte_order_mark_and_line_ends(tmp_path):
    path = tmp_path / "pets.json.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + PETS.replace("\n", "\r\n").encode()))
    assert parse(path)[0] == parse(written(tmp_path, PETS))[0]


@pytest.mark.parametrize(
    ("meta", "problem"),
    [
        ("x", "meta: expected an object, found a string"),
        ({"definition": "x"}, "meta.definition: expected an object, found a string"),
        ({"definition": {"val": 7}}, "meta.definition.val: expected a string, found a number"),
        ({"deprecated": "true"}, "meta.deprecated: expected true or false, found a string"),
        ({"synonyms": {}}, "meta.synonyms: expected a list, found an object"),
        ({"synonyms": ["x"]}, "meta.synonyms[0]: expected an object, found a string"),
        ({"synonyms": [{"pred": "hasExactSynonym"}]}, "meta.synonyms[0]: has no 'val'"),
        ({"synonyms": [{"pred": True, "val": "x"}]}, "meta.synonyms[0].pred: expected a string, found a boolean"),
        ({"xrefs": [{"val": "A:1"}, {"val": None}]}, "meta.xrefs[1]: has no 'val'"),
        ({"basicPropertyValues": [{"val": "x"}]}, "meta.basicPropertyValues[0]: has no 'pred'"),
        ({"definition": {"val": "half \ud83d"}}, "meta.definition.val: half of a surrogate pair (\\ud83d)"),
    ],
)
def test_values_of_the_wrong_kind(tmp_path, meta, problem):
    node = {"id": "PET:2", "type": "CLASS", "lbl": "cat"}
    path = written(tmp_path, graph(node, node | {"meta": meta}))
    assert message(path) == f"{path}: graphs[0].nodes[1].{problem}"


def test_broken_graphs(tmp_path):
    path = written(tmp_path, {"nodes": [], "edges": []})
    assert message(path) == f"{path}: has no key 'graphs'; is it OBO Graphs JSON, as in hp.json or mondo.json?"
    written(tmp_path, {"graphs": {}})
    assert message(path) == f"{path}: graphs: expected a list, found an object"
    written(tmp_path, graph({"type": "CLASS", "lbl": "cat"}))
    assert message(path) == f"{path}: graphs[0].nodes[0]: has no 'id'"
    written(tmp_path, graph(edges=[{"sub": "PET:2", "pred": "is_a"}]))
    assert message(path) == f"{path}: graphs[0].edges[0]: has no 'obj'"
    with pytest.raises(DataError, match="holds no concept; is it a file of this type"):
        read_terminology(TerminologyConfig(sources=[{"type": "obograph", "path": written(tmp_path, graph())}]))


def test_broken_json(tmp_path):
    fix = "mend it; if it is the last line, the file was cut off: fetch it again"
    path = written(tmp_path, PETS[: PETS.index("Felis") + 3])
    assert message(path) == f"{path}:28: not valid JSON: Unterminated string starting at (column 19); {fix}"
    written(tmp_path, "<html>not found</html>")
    assert message(path) == f"{path}:1: not valid JSON: Expecting value (column 1); {fix}"
    written(tmp_path, '{"graphs": []}\n{"graphs": []}\n')
    named = "a file with an object on each line is to be named .ndjson or .jsonl"
    assert message(path) == f"{path}:2: not valid JSON: Extra data (column 1); {named}"
    written(tmp_path, "[]")
    assert message(path) == f"{path}: expected a JSON object, found list"
    for opening in ("[", '{"graphs":'):
        written(tmp_path, opening * 100_000)
        assert message(path) == f"{path}: not valid JSON: nested too deep"
    written(tmp_path, '{"graphs": [{"nodes": [{"id": "A:1", "lbl": "cat", "lbl": "dog"}]}]}')
    twice = "key 'lbl' more than once in one object, with the values 'cat' and 'dog'"
    assert message(path) == f"{path}: not valid JSON: {twice}"


def test_bad_files(tmp_path):
    missing = tmp_path / "none.json"
    assert message(missing) == f"{missing}: no such file"
    path = written(tmp_path, b"")
    assert message(path) == f"{path}: is empty"
    written(tmp_path, PETS.encode("utf-16"))
    assert message(path) == f"{path}: is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"
    written(tmp_path, PETS.encode().replace(b"tabby", b"t\xe4bby"))
    assert message(path) == f"{path}:36: is not UTF-8 (byte 0xe4); convert it to UTF-8"
    written(tmp_path, gzip.compress(PETS.encode())[:-20])
    text = message(path)
    assert text.startswith(f"{path}: is a damaged gzip file: ")
    assert text.endswith("; fetch it again")


def test_ids_that_are_empty_and_unknown_types(tmp_path):
    values = [{"pred": "http://www.geneontology.org/formats/oboInOwl#hasAlternativeId", "val": " "}]
    nodes = [
        {"id": " ", "type": "CLASS", "lbl": "x"},
        {"id": "PET:1", "type": "KLASS", "lbl": "y"},
        {"id": "PET:2", "type": "CLASS", "lbl": "z", "meta": {"basicPropertyValues": values}},
    ]
    path = written(tmp_path, graph(*nodes, edges=[{"sub": "PET:2", "pred": "is_a", "obj": " "}]))
    concepts, report = parse(path, prefix="PET")
    assert concepts == [RawConcept("PET:2", [RawName("z", "en", "preferred")])]
    assert report.skipped == {"class without an id": 1, "node of an unknown type": 1}
    assert report.examples == {"class without an id": ["graphs[0].nodes[0]"], "node of an unknown type": ["PET:1"]}


def test_relation_that_is_not_one_line(tmp_path):
    path = written(tmp_path, graph(edges=[{"sub": "a", "obj": "b", "pred": "a\npart"}]))
    with pytest.raises(ConfigError, match=r"known: a part, is_a$|did you mean 'a part'\?$") as e:
        parse(path, parents=["apart"])
    assert "\n" not in str(e.value)
