"""OWL terminologies."""

from __future__ import annotations

from pathlib import Path

import pytest
from parsing import tools

from xnorm.errors import ConfigError, DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName, SourceReport
from xnorm.terminology.obo import OboConfig, OboParser

# laid out as ROBOT writes it, with the entities that Protégé declares; the terms are ours
PETS = """\
<?xml version="1.0"?>
<!DOCTYPE rdf:RDF [
    <!ENTITY obo "http://purl.obolibrary.org/obo/" >
    <!ENTITY owl "http://www.w3.org/2002/07/owl#" >
]>
<rdf:RDF xmlns="http://purl.obolibrary.org/obo/pet.owl#"
     xml:base="http://purl.obolibrary.org/obo/pet.owl"
     xmlns:efo="http://www.ebi.ac.uk/efo/"
     xmlns:obo="http://purl.obolibrary.org/obo/"
     xmlns:oboInOwl="http://www.geneontology.org/formats/oboInOwl#"
     xmlns:owl="http://www.w3.org/2002/07/owl#"
     xmlns:pet="http://purl.obolibrary.org/obo/pet#"
     xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
     xmlns:rdfs="http://www.w3.org/2000/01/rdf-schema#"
     xmlns:skos="http://www.w3.org/2004/02/skos/core#">
    <owl:Ontology rdf:about="http://purl.obolibrary.org/obo/pet.owl">
        <owl:versionIRI rdf:resource="http://purl.obolibrary.org/obo/pet/releases/2026-02-16/pet.owl"/>
        <owl:versionInfo>2026-02-16</owl:versionInfo>
        <owl:imports rdf:resource="http://example.invalid/imported.owl"/>
        <rdfs:label>Pets</rdfs:label>
    </owl:Ontology>

    <owl:AnnotationProperty rdf:about="&obo;IAO_0000115"><rdfs:label>definition</rdfs:label></owl:AnnotationProperty>
    <owl:ObjectProperty rdf:about="&obo;BFO_0000050"><rdfs:label>part of</rdfs:label></owl:ObjectProperty>

    <owl:Class rdf:about="&obo;PET_0000001">
        <rdfs:subClassOf rdf:resource="&owl;Thing"/>
        <rdfs:label xml:lang="en">animal</rdfs:label>
    </owl:Class>

    <owl:Class rdf:about="&obo;PET_0000002">
        <owl:equivalentClass>
            <owl:Class>
                <owl:intersectionOf rdf:parseType="Collection">
                    <rdf:Description rdf:about="&obo;PET_0000001"/>
                    <owl:Restriction>
                        <owl:onProperty rdf:resource="&obo;BFO_0000050"/>
                        <owl:someValuesFrom rdf:resource="&obo;PET_0000005"/>
                    </owl:Restriction>
                </owl:intersectionOf>
            </owl:Class>
        </owl:equivalentClass>
        <owl:equivalentClass rdf:resource="&obo;NCBITaxon_9685"/>
        <rdfs:subClassOf rdf:resource="&obo;PET_0000001"/>
        <rdfs:subClassOf>
            <owl:Restriction>
                <owl:onProperty rdf:resource="&obo;RO_0002162"/>
                <owl:someValuesFrom rdf:resource="&obo;NCBITaxon_9685"/>
            </owl:Restriction>
        </rdfs:subClassOf>
        <rdfs:subClassOf>
            <owl:Restriction>
                <owl:onProperty rdf:resource="&obo;RO_0002162"/>
                <owl:someValuesFrom>
                    <owl:Class><owl:complementOf rdf:resource="&obo;PET_0000005"/></owl:Class>
                </owl:someValuesFrom>
            </owl:Restriction>
        </rdfs:subClassOf>
        <obo:IAO_0000115 xml:lang="de">Sagt "miau", schläft.</obo:IAO_0000115>
        <obo:IAO_0000115>Says "meow", sleeps.</obo:IAO_0000115>
        <efo:alternative_term>mouser</efo:alternative_term>
        <oboInOwl:hasAlternativeId>PET:0000009</oboInOwl:hasAlternativeId>
        <oboInOwl:hasBroadSynonym>pet</oboInOwl:hasBroadSynonym>
        <oboInOwl:hasDbXref>UMLS:C0007450</oboInOwl:hasDbXref>
        <oboInOwl:hasDbXref>UMLS:C0007450</oboInOwl:hasDbXref>
        <oboInOwl:hasExactSynonym>Felis catus</oboInOwl:hasExactSynonym>
        <oboInOwl:hasExactSynonym>kitty</oboInOwl:hasExactSynonym>
        <oboInOwl:hasExactSynonym xml:lang="fr">chat domestique</oboInOwl:hasExactSynonym>
        <oboInOwl:hasNarrowSynonym>tabby</oboInOwl:hasNarrowSynonym>
        <oboInOwl:hasOBONamespace>mammals</oboInOwl:hasOBONamespace>
        <oboInOwl:hasRelatedSynonym>F. c.</oboInOwl:hasRelatedSynonym>
        <oboInOwl:id>PET:0000002</oboInOwl:id>
        <oboInOwl:inSubset rdf:resource="http://purl.obolibrary.org/obo/pet#slim"/>
        <pet:nickname xml:lang="en">puss</pet:nickname>
        <rdfs:comment>Not a dog.</rdfs:comment>
        <rdfs:label xml:lang="en">cat</rdfs:label>
        <rdfs:label xml:lang="fr">chat</rdfs:label>
        <skos:exactMatch rdf:resource="http://www.orpha.net/ORDO/Orphanet_77"/>
        <skos:hiddenLabel>catt</skos:hiddenLabel>
        <skos:prefLabel xml:lang="de">Katze</skos:prefLabel>
        <skos:prefLabel xml:lang="en">domestic cat</skos:prefLabel>
    </owl:Class>
    <owl:Axiom>
        <owl:annotatedSource rdf:resource="&obo;PET_0000002"/>
        <owl:annotatedProperty rdf:resource="http://www.geneontology.org/formats/oboInOwl#hasExactSynonym"/>
        <owl:annotatedTarget>kitty</owl:annotatedTarget>
        <oboInOwl:hasDbXref>PMID:1</oboInOwl:hasDbXref>
        <oboInOwl:hasSynonymType rdf:resource="http://purl.obolibrary.org/obo/pet#layperson"/>
    </owl:Axiom>
    <owl:Axiom>
        <owl:annotatedSource rdf:resource="&obo;PET_0000002"/>
        <owl:annotatedProperty rdf:resource="http://www.geneontology.org/formats/oboInOwl#hasRelatedSynonym"/>
        <owl:annotatedTarget>F. c.</owl:annotatedTarget>
        <oboInOwl:hasSynonymType rdf:resource="&obo;OMO_0003000"/>
    </owl:Axiom>
    <owl:Axiom>
        <owl:annotatedSource rdf:resource="&obo;PET_0000002"/>
        <owl:annotatedProperty rdf:resource="http://www.geneontology.org/formats/oboInOwl#hasNarrowSynonym"/>
        <owl:annotatedTarget>kitty</owl:annotatedTarget>
        <oboInOwl:hasSynonymType rdf:resource="&obo;OMO_0003000"/>
    </owl:Axiom>

    <owl:Class rdf:about="&obo;PET_0000003">
        <obo:IAO_0100001 rdf:resource="&obo;PET_0000001"/>
        <oboInOwl:consider>PET:0000002</oboInOwl:consider>
        <rdfs:label>obsolete dog</rdfs:label>
        <owl:deprecated rdf:datatype="http://www.w3.org/2001/XMLSchema#boolean">true</owl:deprecated>
    </owl:Class>
    <owl:Class rdf:about="&obo;PET_0000004"/>
    <owl:Class rdf:about="&obo;PET_0000005">
        <rdfs:label>paw</rdfs:label>
        <owl:deprecated rdf:datatype="http://www.w3.org/2001/XMLSchema#boolean">false</owl:deprecated>
        <rdfs:subClassOf rdf:resource="&obo;UBERON_0002102"/>
        <rdfs:subClassOf>
            <owl:Restriction>
                <owl:onProperty rdf:resource="&obo;BFO_0000050"/>
                <owl:someValuesFrom rdf:resource="&obo;PET_0000002"/>
            </owl:Restriction>
        </rdfs:subClassOf>
        <skos:prefLabel rdf:resource="&obo;PET_0000002"/>
    </owl:Class>
    <owl:Class rdf:about="&obo;UBERON_0002102"><rdfs:label>forelimb</rdfs:label></owl:Class>
    <owl:DeprecatedClass rdf:about="&obo;PET_0000006"/>
    <rdf:Description rdf:about="&obo;PET_0000007"><rdfs:label>undeclared</rdfs:label></rdf:Description>
    <owl:NamedIndividual rdf:about="&obo;PET_0000008"><rdfs:label>Garfield</rdfs:label></owl:NamedIndividual>
    <owl:Class rdf:about="http://example.org/pets/kennel">
        <rdfs:subClassOf rdf:resource="http://example.org/pets/kennel"/>
        <rdfs:label>kennel</rdfs:label>
    </owl:Class>
</rdf:RDF>
"""
CAT = RawConcept(
    id="PET:0000002",
    names=[
        RawName("cat", "en", "preferred"),
        RawName("chat", "fr", "preferred"),
        RawName("Katze", "de", "preferred"),
        RawName("domestic cat", "en", "preferred"),
        RawName("mouser", "en", "exact"),
        RawName("pet", "en", "broad"),
        RawName("Felis catus", "en", "exact"),
        RawName("kitty", "en", "exact"),
        RawName("chat domestique", "fr", "exact"),
        RawName("tabby", "en", "narrow"),
        RawName("F. c.", "en", "related"),
    ],
    types=["mammals"],
    xrefs=["UMLS:C0007450", "Orphanet:77"],
    parents=["PET:0000001"],
    definition='Says "meow", sleeps.',
    alt_ids=["PET:0000009"],
)
TURTLE = """\
@prefix : <http://purl.obolibrary.org/obo/PET_> . @prefix owl: <http://www.w3.org/2002/07/owl#> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> . @prefix obo: <http://purl.obolibrary.org/obo/> .
@prefix skos: <http://www.w3.org/2004/02/skos/core#> . @prefix o: <http://www.geneontology.org/formats/oboInOwl#> .
"""


written, parse, message = tools("owl", "pets.owl")


def turtle(tmp_path: Path, content: str) -> Path:
    return written(tmp_path, TURTLE + content, "pets.ttl")


def refused(path: Path, error: type[Exception], **options: object) -> str:
    return message(path, error, **options).removeprefix(f"{path}: ")


def test_every_field(tmp_path):
    concepts, report = parse(written(tmp_path, PETS))
    assert concepts == [
        RawConcept("PET:0000001", [RawName("animal", "en", "preferred")]),
        CAT,
        RawConcept(
            "PET:0000003", [RawName("obsolete dog", "en", "preferred")], retired=True, replaced_by=["PET:0000001"]
        ),
        RawConcept("PET:0000005", [RawName("paw", "en", "preferred")], parents=["UBERON:0002102"]),
        RawConcept("UBERON:0002102", [RawName("forelimb", "en", "preferred")]),
        RawConcept("PET:0000006", retired=True),
        RawConcept("http://example.org/pets/kennel", [RawName("kennel", "en", "preferred")]),
    ]
    assert report.version == "http://purl.obolibrary.org/obo/pet/releases/2026-02-16/pet.owl"
    assert report.examples == {
        "imported ontology, which is not fetched": ["http://example.invalid/imported.owl"],
        "named node that is not declared as a class": ["PET:0000007"],
        "class that is its own parent": ["http://example.org/pets/kennel"],
        "hidden name": ["PET:0000002"],
        "equivalent class, which is no xref": ["PET:0000002 NCBITaxon:9685"],
        "class without a name": ["PET:0000004"],
        "name that is no text": ["PET:0000005"],
    }
    assert set(report.skipped.values()) == {1}


def test_into_a_terminology(tmp_path):
    path = written(tmp_path, PETS)
    terminology, _ = read_terminology(TerminologyConfig(sources=[{"type": "owl", "path": path}]))
    assert terminology.concepts["id"].to_pylist() == [
        "PET:0000001", "PET:0000002", "PET:0000005", "UBERON:0002102", "http://example.org/pets/kennel",
    ]  # fmt: skip
    cat = terminology["PET:0000002"]
    assert [(n.text, n.lang, n.scope) for n in cat.names[:4]] == [
        ("cat", "en", "preferred"), ("chat", "fr", "preferred"), ("Katze", "de", "preferred"),
        ("domestic cat", "en", "exact"),
    ]  # fmt: skip
    assert [tuple(row.values())[:3] for row in terminology.retired.to_pylist()] == [
        ("PET:0000003", ["PET:0000001"], "obsolete dog"),
        ("PET:0000006", [], None),
        ("PET:0000009", ["PET:0000002"], None),
    ]


def test_the_same_as_from_obo(tmp_path):
    obo = tmp_path / "pets.obo"
    obo.write_text(
        "format-version: 1.2\n\n[Term]\nid: PET:0000002\nname: cat\nnamespace: mammals\nalt_id: PET:0000009\n"
        'def: "Says \\"meow\\", sleeps." [PMID:1]\nsynonym: "pet" BROAD []\nsynonym: "Felis catus" EXACT []\n'
        'synonym: "kitty" EXACT layperson []\nsynonym: "tabby" NARROW []\nsynonym: "F. c." RELATED OMO:0003000 []\n'
        "xref: UMLS:C0007450\nxref: Orphanet:77\nis_a: PET:0000001\n"
    )
    (old,) = OboParser(OboConfig(type="obo", path=obo)).read(SourceReport("pets", str(obo)))
    new = parse(written(tmp_path, PETS), langs=["en"])[0][1]
    new.names = [name for name in new.names if name.lang == "en" and name.text not in ("domestic cat", "mouser")]
    old.line = None
    assert new == old


def test_relations_that_are_parents(tmp_path):
    path = written(tmp_path, PETS)
    for relation in ("part_of", "BFO:0000050", "http://purl.obolibrary.org/obo/BFO_0000050"):
        parents = {c.id: c.parents for c in parse(path, parents=[relation])[0]}
        assert (parents["PET:0000002"], parents["PET:0000005"]) == ([], ["PET:0000002"])
    parents = {c.id: c.parents for c in parse(path, parents=["is_a", "RO:0002162", "part_of"])[0]}
    assert parents["PET:0000002"] == ["PET:0000001", "NCBITaxon:9685"]
    assert parents["PET:0000005"] == ["UBERON:0002102", "PET:0000002"]
    problem = "parents: no class has the relation 'part-of'; known: BFO:0000050, RO:0002162, is_a"
    assert refused(path, ConfigError, parents=["part-of"]) == problem


def test_properties_that_are_parents(tmp_path):
    path = turtle(
        tmp_path, ":1 a owl:Class ; rdfs:label 'a' . :2 a owl:Class ; rdfs:label 'b' ; skos:broader :1 , :2 ."
    )
    concepts, report = parse(path, parents=["skos:broader"])
    assert [c.parents for c in concepts] == [[], ["PET:1"]]
    assert report.examples["class that is its own parent"] == ["PET:2"]


def test_prefixes_leave_imported_classes_out(tmp_path):
    concepts, report = parse(written(tmp_path, PETS), prefixes=["UBERON:", "NONE"])
    assert [c.id for c in concepts] == ["UBERON:0002102"]
    assert report.skipped["class with another prefix"] == 7


def test_namespaces_and_prefix(tmp_path):
    path = turtle(
        tmp_path, "<http://example.org/pets/kennel> a owl:Class ; rdfs:label 'k' . <7> a owl:Class ; rdfs:label 'x' ."
    )
    concepts = parse(path, namespaces={"http://example.org/pets/": "PET"}, prefix="P")[0]
    assert [c.id for c in concepts] == ["PET:kennel", "P:7"]


def test_roots(tmp_path):
    path = written(tmp_path, PETS)
    concepts, report = parse(path, roots=["http://purl.obolibrary.org/obo/PET_0000001"])
    assert [c.id for c in concepts] == [
        "PET:0000001",
        "PET:0000002",
        "PET:0000003",
    ]  # the last one is replaced by the first
    assert report.examples["class outside the roots"] == ["PET:0000004", "PET:0000005", "UBERON:0002102"]
    concepts, _ = parse(path, roots=["PET:0000002"], parents=["is_a", "part_of"])
    assert [c.id for c in concepts] == ["PET:0000002", "PET:0000005"]
    for option in ("roots", "retired_roots"):
        problem = f"has no class 'PET:1'; look at `{option}` in the config"
        assert refused(path, DataError, **{option: ["PET:1"]}) == problem


def test_retired_roots(tmp_path):
    concepts, _ = parse(written(tmp_path, PETS), retired_roots=["PET:0000001"])
    assert [c.id for c in concepts if c.retired] == ["PET:0000001", "PET:0000002", "PET:0000003", "PET:0000006"]


def test_circles_of_parents(tmp_path):
    ring = " ".join(f":{n} a owl:Class ; rdfs:label '{n}' ; rdfs:subClassOf :{(n + 1) % 3} ." for n in range(3))
    concepts, _ = parse(turtle(tmp_path, ring), roots=["PET:1"])
    assert [(c.id, c.parents) for c in concepts] == [("PET:0", ["PET:1"]), ("PET:1", ["PET:2"]), ("PET:2", ["PET:0"])]


@pytest.mark.parametrize("kind", ["layperson", "http://purl.obolibrary.org/obo/pet#layperson"])
def test_synonym_types_to_skip(tmp_path, kind):
    concepts, report = parse(written(tmp_path, PETS), skip_synonym_types=[kind, "OMO:0003000"])
    # the third axiom is of a synonym that is not there
    assert concepts[1].names == [name for name in CAT.names if name.text not in ("kitty", "F. c.")]
    assert (
        report.examples["synonym of type layperson"]
        == report.examples["synonym of type OMO:0003000"]
        == ["PET:0000002"]
    )


def test_unknown_synonym_type(tmp_path):
    problem = "skip_synonym_types: no synonym has the type 'lay person'; did you mean 'layperson'?"
    assert refused(written(tmp_path, PETS), ConfigError, skip_synonym_types=["lay person"]) == problem


def test_properties(tmp_path):
    path = written(tmp_path, PETS)
    nickname = "http://purl.obolibrary.org/obo/pet#nickname"
    said = {
        "skos:hiddenLabel": "related", nickname: "preferred", "rdfs:comment": "definition", "IAO:0000115": "none",
        "oboInOwl:inSubset": "types", "oboInOwl:consider": "replaced_by", "oboInOwl:hasExactSynonym": "broad",
    }  # fmt: skip
    concepts, report = parse(path, properties=said)
    cat = concepts[1]
    assert cat.names == [
        RawName("puss", "en", "preferred"),
        *CAT.names[:6],
        RawName("Felis catus", "en", "broad"),
        RawName("kitty", "en", "broad"),
        RawName("chat domestique", "fr", "broad"),
        RawName("tabby", "en", "narrow"),
        RawName("F. c.", "en", "related"),
        RawName("catt", "en", "related"),
    ]
    assert cat.definition == "Not a dog."
    assert cat.types == ["mammals", "http://purl.obolibrary.org/obo/pet#slim"]
    assert concepts[2].replaced_by == ["PET:0000001", "PET:0000002"]
    assert "hidden name" not in report.skipped
    concepts, _ = parse(
        path, namespaces={"http://purl.obolibrary.org/obo/pet#": "pet"}, properties={"pet:nickname": "exact"}
    )
    assert concepts[1].names[-1] == RawName("puss", "en", "exact")
    problem = refused(path, ConfigError, properties={"rdfs:coment": "definition"})
    assert problem == "properties: no triple has the property 'rdfs:coment'; did you mean 'rdfs:comment'?"


def test_flags(tmp_path):
    """What has another value than `false` says when or why."""
    text = " ".join(
        f":{n} a owl:Class ; rdfs:label 'x' ; obo:OUT_1 {value} ."
        for n, value in enumerate("false 0 '' '2.1' true".split())
    )
    assert [c.retired for c in parse(turtle(tmp_path, text), properties={"OUT:1": "retired"})[0]] == [False] * 3 + [
        True
    ] * 2


@pytest.mark.parametrize(("lang", "text"), [("en", "first"), ("de", "Erste"), ("pt", "primeira"), ("fr", "Erste")])
def test_language_of_the_definition(tmp_path, lang, text):
    path = turtle(
        tmp_path,
        ":1 a owl:Class ; rdfs:label 'x' ; skos:definition 'un'@fr ; "
        "obo:IAO_0000115 'Erste'@de , 'first'@en , 'primeira'@pt-BR , '  '@fr .",
    )
    assert parse(path, lang=lang)[0][0].definition == text


def test_synonyms_as_nodes(tmp_path):
    """As ontologies had them before OBO 1.4."""
    path = turtle(
        tmp_path,
        ":1 a owl:Class ; rdfs:label 'cat' ; o:hasExactSynonym [ a o:Synonym ; rdfs:label 'puss' , 'Mieze'@de ] ; "
        "o:hasNarrowSynonym [ a o:Synonym ] ; "
        "skos:definition [ <http://www.w3.org/1999/02/22-rdf-syntax-ns#value> 'd' ] .",
    )
    (concept,), report = parse(path)
    assert concept.names[1:] == [RawName("puss", "en", "exact"), RawName("Mieze", "de", "exact")]
    assert (concept.definition, report.examples) == ("d", {"name that is no text": ["PET:1"]})


def test_version_without_an_iri(tmp_path):
    path = turtle(
        tmp_path,
        "<urn:o> a owl:Ontology ; owl:versionInfo '4.5' . :1 a rdfs:Class ; rdfs:label 'x' ; owl:versionInfo '1' .",
    )
    concepts, report = parse(path)
    assert (report.version, [c.id for c in concepts]) == ("4.5", ["PET:1"])


def test_folder(tmp_path):
    turtle(tmp_path, ":1 a owl:Class .")
    written(
        tmp_path,
        TURTLE
        + ":1 rdfs:label 'x'@de . :2 a owl:Class ; rdfs:subClassOf [ owl:onProperty :r ; owl:someValuesFrom :1 ] .",
        "q.ttl",
    )
    terminology, report = read_terminology(
        TerminologyConfig(sources=[{"type": "owl", "path": tmp_path, "parents": ["PET:r"]}])
    )
    assert terminology["PET:1"].name == "x"
    assert sorted(Path(name).name for name in report.sources[0].files) == ["pets.ttl", "q.ttl"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "holds no named class; is it an ontology in OWL?"),
        ("[] a owl:Class ; rdfs:label 'x' .", "holds no named class; is it an ontology in OWL?"),
        (":1 a skos:Concept .", "holds no named class; it has 1 of SKOS: read it with `type: skos`"),
    ],
)
def test_no_class(tmp_path, text, problem):
    assert refused(turtle(tmp_path, text), DataError) == problem


def test_file_that_was_cut_off(tmp_path):
    path = written(tmp_path, PETS[: PETS.index('    <owl:Class rdf:about="&obo;PET_0000003')])
    assert refused(path, DataError).endswith("ends before </rdf:RDF>; the file was cut off, fetch it again")
