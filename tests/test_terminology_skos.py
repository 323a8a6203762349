"""SKOS terminologies."""

from __future__ import annotations

from pathlib import Path

import pytest
from parsing import tools

from xnorm.errors import ConfigError, DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName

PREFIXES = """\
@prefix : <http://example.org/pets/> . @prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix skosxl: <http://www.w3.org/2008/05/skos-xl#> .
@prefix dct: <http://purl.org/dc/terms/> . @prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
"""
PETS = (
    PREFIXES
    + """
:scheme a skos:ConceptScheme ; skos:prefLabel "Pets"@en ; owl:versionInfo "2026-02" ; skos:hasTopConcept :c1 .
:things a skos:ConceptScheme .
:c1 a skos:Concept ; skos:prefLabel "animal"@en , "Tier"@de ; skos:narrower :c2 ; skos:notation "A" .
:c2 a skos:Concept , :Species , owl:NamedIndividual ;
    skos:altLabel "Felis catus"@la , "moggy" ;
    skos:prefLabel "cat"@en , "chat"@fr ;
    skosxl:prefLabel :label1 ; skosxl:altLabel :label2 , [ a skosxl:Label ; skosxl:literalForm "mouser"@en ] ;
    skos:hiddenLabel "catt"@en ; skosxl:hiddenLabel :label3 ;
    skos:broader :c1 ; skos:related :c3 ; skos:inScheme :scheme ;
    skos:exactMatch <http://id.nlm.nih.gov/mesh/D002415> ; skos:closeMatch <http://example.org/other/7> ;
    skos:scopeNote "The domestic one."@en ;
    skos:definition [ rdf:value "Schläft."@de ] , [ rdf:value "Sleeps."@en ] ;
    skos:notation "A.1" , "0007" ; dct:replaces :c9 , :c5 .
:label1 a skosxl:Label ; skosxl:literalForm "Katze"@de .
:label2 a skosxl:Label ; skosxl:literalForm "puss"@en-GB ; skos:notation "L2" .
:label3 a skosxl:Label ; skosxl:literalForm "kat"@en .
:c3 a skos:Concept ; skos:prefLabel "dog"@en ; skos:topConceptOf :things ; skos:broader :c3 ; skos:scopeNote "Barks." .
:c4 a skos:Concept ; skos:prefLabel "hound"@en ; owl:deprecated true ; dct:isReplacedBy :c3 ; skos:inScheme :things .
:c5 a skos:Concept ; skos:prefLabel "feline"@en .
:c6 a skos:Concept ; owl:deprecated false ; skos:inScheme :scheme .
:c7 skos:prefLabel "undeclared"@en .
:group a skos:Collection ; skos:prefLabel "house pets"@en ; skos:member :c2 , :c3 .
"""
)
ID = "http://example.org/pets/"
EXPECTED = [
    RawConcept(
        "PET:c1", [RawName("animal", "en", "preferred"), RawName("Tier", "de", "preferred")],
    ),
    RawConcept(
        "PET:c2",
        [
            RawName("cat", "en", "preferred"),
            RawName("chat", "fr", "preferred"),
            RawName("Katze", "de", "preferred"),
            RawName("Felis catus", "la", "exact"),
            RawName("moggy", "en", "exact"),
            RawName("puss", "en-gb", "exact"),
            RawName("mouser", "en", "exact"),
        ],
        types=["PET:Species"],
        xrefs=["MESH:D002415"],
        parents=["PET:c1"],
        definition="Sleeps.",
        alt_ids=["PET:c9"],
    ),
    RawConcept("PET:c3", [RawName("dog", "en", "preferred")], definition="Barks."),
    RawConcept("PET:c4", [RawName("hound", "en", "preferred")], retired=True, replaced_by=["PET:c3"]),
    RawConcept("PET:c5", [RawName("feline", "en", "preferred")], retired=True, replaced_by=["PET:c2"]),
]  # fmt: skip


written, parse, message = tools("skos", "pets.ttl", namespaces={ID: "PET"})


def refused(path: Path, error: type[Exception], **options: object) -> str:
    return message(path, error, **options).removeprefix(f"{path}: ")


def test_every_field(tmp_path):
    concepts, report = parse(written(tmp_path, PETS))
    assert concepts == EXPECTED
    assert report.version == "2026-02"
    assert report.skipped["hidden name"] == 2
    assert {reason: sorted(set(places)) for reason, places in report.examples.items()} == {
        "named node that is not declared as a concept": ["PET:c7"],
        "collection": ["PET:group"],
        "hidden name": ["PET:c2"],
        "concept that is broader than itself": ["PET:c3"],
        "concept without a name": ["PET:c6"],
    }


XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns:skos="http://www.w3.org/2004/02/skos/core#">
  <skos:Concept rdf:about="http://example.org/pets/c1">
    <skos:prefLabel xml:lang="de">Tier</skos:prefLabel>
    <skos:narrower>
      <skos:Concept rdf:about="http://example.org/pets/c2">
        <skos:prefLabel xml:lang="de">Katze</skos:prefLabel>
      </skos:Concept>
    </skos:narrower>
  </skos:Concept>
</rdf:RDF>
"""
JSON = """\
{"@context": {"skos": "http://www.w3.org/2004/02/skos/core#", "id": "@id", "type": "@type",
              "prefLabel": {"@id": "skos:prefLabel", "@container": "@language"},
              "broader": {"@id": "skos:broader", "@type": "@id"}},
 "@graph": [{"id": "http://example.org/pets/c1", "type": "skos:Concept", "prefLabel": {"de": "Tier"}},
            {"id": "http://example.org/pets/c2", "type": "skos:Concept", "prefLabel": {"de": "Katze"},
             "broader": "http://example.org/pets/c1"}]}
"""
LINES = """\
<http://example.org/pets/c1> <TYPE> <SKOS#Concept> .
<http://example.org/pets/c2> <SKOS#broader> <http://example.org/pets/c1> .
<http://example.org/pets/c2> <SKOS#prefLabel> "Katze"@de .
<http://example.org/pets/c2> <TYPE> <SKOS#Concept> .
<http://example.org/pets/c1> <SKOS#prefLabel> "Tier"@de .
"""
LINES = LINES.replace("TYPE", "http://www.w3.org/1999/02/22-rdf-syntax-ns#type")
LINES = LINES.replace("SKOS", "http://www.w3.org/2004/02/skos/core")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pets.rdf", XML),
        ("pets.jsonld", JSON),
        ("pets.nt", LINES),
        ("pets.nq", LINES.replace(" .\n", " <urn:graph> .\n")),
        ("pets.trig", f"<urn:graph> {{ {LINES} }}"),
        ("pets.ttl", LINES),
    ],
)
def test_every_syntax(tmp_path, name, content):
    concepts, _ = parse(written(tmp_path, content, name))
    assert sorted(concepts, key=lambda c: c.id) == [
        RawConcept("PET:c1", [RawName("Tier", "de", "preferred")]),
        RawConcept("PET:c2", [RawName("Katze", "de", "preferred")], parents=["PET:c1"]),
    ]


def test_into_a_terminology(tmp_path):
    source = {"type": "skos", "path": written(tmp_path, PETS), "namespaces": {ID: "PET"}, "langs": ["en"]}
    terminology, report = read_terminology(TerminologyConfig(sources=[source]))
    assert terminology.concepts["id"].to_pylist() == ["PET:c1", "PET:c2", "PET:c3"]
    assert [n.text for n in terminology["PET:c2"].names] == ["cat", "moggy", "puss", "mouser"]
    assert [tuple(row.values())[:2] for row in terminology.retired.to_pylist()] == [
        ("PET:c4", ["PET:c3"]), ("PET:c5", ["PET:c2"]), ("PET:c9", ["PET:c2"]),
    ]  # fmt: skip
    assert report.sources[0].version == "2026-02"


def test_iris_without_a_namespace(tmp_path):
    concepts, _ = parse(written(tmp_path, PETS), namespaces={})
    assert concepts[1].id == "http://example.org/pets/c2"
    assert concepts[1].parents == ["http://example.org/pets/c1"]


def test_ids_from_a_property(tmp_path):
    path = written(tmp_path, PETS)
    for source in ("skos:notation", "http://www.w3.org/2004/02/skos/core#notation"):
        concepts, report = parse(path, ids=source, prefix="P")
        assert [(c.id, c.parents) for c in concepts] == [("P:A", []), ("P:A.1", ["P:A"])]
        assert concepts[1].alt_ids == ["PET:c9", "PET:c5"]  # neither has a notation
        assert report.skipped[f"concept without {source}"] == 4
        assert report.examples[f"further {source} of a concept"] == ["P:A.1 0007"]
    concepts, _ = parse(path, ids="skos:notation", prefix="P", roots=["P:A.1"])
    assert [c.id for c in concepts] == ["P:A.1"]
    assert refused(path, ConfigError, ids="skos:notatoin") == (
        "ids: no triple has the property 'skos:notatoin'; did you mean 'skos:notation'?"
    )


@pytest.mark.parametrize(
    ("schemes", "ids"),
    [
        (["PET:scheme"], ["PET:c1", "PET:c2"]),
        (["http://example.org/pets/things"], ["PET:c3", "PET:c4"]),
        (["PET:scheme", "PET:things"], ["PET:c1", "PET:c2", "PET:c3", "PET:c4"]),
    ],
)
def test_schemes(tmp_path, schemes, ids):
    concepts, report = parse(written(tmp_path, PETS), schemes=schemes)
    assert [c.id for c in concepts] == ids
    assert report.skipped["concept of another scheme"] == 6 - len(ids) - ("PET:scheme" in schemes)


def test_unknown_scheme(tmp_path):
    problem = "schemes: no concept is in the scheme 'PET:thing'; did you mean 'PET:things'?"
    assert refused(written(tmp_path, PETS), ConfigError, schemes=["PET:thing"]) == problem


def test_roots(tmp_path):
    path = written(tmp_path, PETS)
    concepts, report = parse(path, roots=["PET:c1"])
    assert [c.id for c in concepts] == ["PET:c1", "PET:c2", "PET:c5"]  # the last one is replaced by the second
    assert report.examples["concept outside the roots"] == ["PET:c3", "PET:c4", "PET:c6"]
    assert refused(path, DataError, roots=["PET:1"]) == "has no concept 'PET:1'; look at `roots` in the config"


def test_circles(tmp_path):
    ring = " ".join(f":{n} a skos:Concept ; skos:prefLabel '{n}' ; skos:broader :{(n + 1) % 3} ." for n in range(3))
    concepts, _ = parse(written(tmp_path, PREFIXES + ring), roots=["PET:1"])
    assert [(c.id, c.parents) for c in concepts] == [("PET:0", ["PET:1"]), ("PET:1", ["PET:2"]), ("PET:2", ["PET:0"])]


def test_properties(tmp_path):
    said = {
        "skos:hiddenLabel": "exact", "skosxl:hiddenLabel": "related", "skos:closeMatch": "xrefs",
        "skos:exactMatch": "none", "skos:related": "parents", "skos:scopeNote": "definition",
        "dcterms:replaces": "none", "dcterms:isReplacedBy": "none", "skos:notation": "types",
    }  # fmt: skip
    concepts, report = parse(written(tmp_path, PETS), properties=said)
    cat = concepts[1]
    assert cat.names == [*EXPECTED[1].names, RawName("catt", "en", "exact"), RawName("kat", "en", "related")]
    assert (cat.xrefs, cat.parents) == (["http://example.org/other/7"], ["PET:c1", "PET:c3"])
    assert (cat.definition, cat.alt_ids, cat.types) == ("The domestic one.", [], ["PET:Species", "A.1", "0007"])
    assert [(c.id, c.replaced_by) for c in concepts if c.retired] == [("PET:c4", [])]
    assert "hidden name" not in report.skipped
    problem = refused(written(tmp_path, PETS), ConfigError, properties={"skos:note": "definition"})
    assert problem.startswith("properties: no triple has the property 'skos:note'; did you mean 'skos:")


def test_inverse_relations_of_the_user(tmp_path):
    text = (
        PREFIXES
        + """
    :1 a skos:Concept ; rdfs:label 'one' ; :part :2 . :2 a skos:Concept ; rdfs:label 'two'@de ; :old :1 , :0 ."""
    )
    said = {f"{ID}part": "children", f"{ID}old": "replaces", "rdfs:label": "preferred"}
    assert parse(written(tmp_path, text), properties=said)[0] == [
        RawConcept("PET:1", [RawName("one", "en", "preferred")], retired=True, replaced_by=["PET:2"]),
        RawConcept("PET:2", [RawName("two", "de", "preferred")], parents=["PET:1"], alt_ids=["PET:0"]),
    ]


@pytest.mark.parametrize(("lang", "text"), [("en", "Sleeps."), ("de", "Schläft."), ("fr", "Schläft.")])
def test_language_of_the_definition(tmp_path, lang, text):
    assert parse(written(tmp_path, PETS), lang=lang)[0][1].definition == text


def test_folder(tmp_path):
    written(tmp_path, PREFIXES + ":1 a skos:Concept ; skosxl:prefLabel _:x .", "concepts.ttl")
    written(
        tmp_path, PREFIXES + "_:x skosxl:literalForm 'not of the other file' . :1 skos:altLabel 'y'@de .", "names.ttl"
    )
    (concept,), report = parse(tmp_path)
    assert concept.names == [RawName("y", "de", "exact")]
    assert report.skipped == {"name that is no text": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no skos:Concept with an IRI; is it a SKOS vocabulary?"),
        ("[] a skos:Concept ; skos:prefLabel 'x' .", "holds no skos:Concept with an IRI; is it a SKOS vocabulary?"),
        (":1 a owl:Class .", "holds no skos:Concept with an IRI; it has 1 classes of OWL: read it with `type: owl`"),
    ],
)
def test_no_concept(tmp_path, text, problem):
    assert refused(written(tmp_path, PREFIXES + text), DataError) == problem


def test_two_concepts_with_one_notation(tmp_path):
    text = "".join(f":{n} a skos:Concept ; skos:prefLabel '{n}' ; skos:notation 'A' . " for n in ("one", "two"))
    source = {"type": "skos", "path": written(tmp_path, PREFIXES + text), "ids": "skos:notation"}
    with pytest.raises(DataError, match=r"duplicate id 'A': named 'two' here and 'one' before"):
        read_terminology(TerminologyConfig(sources=[source]))
