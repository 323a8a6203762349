"""FHIR code systems, value sets, bundles and NDJSON."""

from __future__ import annotations

import gzip
import json
import time

import pytest
from parsing import tools

from xnorm.errors import DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName

SCT = "http://snomed.info/sct"
PROPERTIES = "http://hl7.org/fhir/concept-properties#"
# laid out as terminology.hl7.org publishes code systems; the codes are ours
PETS = """\
{
  "resourceType" : "CodeSystem",
  "id" : "pets",
  "meta" : {"lastUpdated" : "2026-02-16T00:00:00.000+00:00"},
  "language" : "en",
  "text" : {"status" : "generated", "div" : "<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><p>Pets</p></div>"},
  "url" : "http://example.org/CodeSystem/pets",
  "version" : "3.0.0",
  "name" : "Pets",
  "status" : "active",
  "caseSensitive" : true,
  "hierarchyMeaning" : "is-a",
  "content" : "complete",
  "property" : [{
    "code" : "notSelectable",
    "uri" : "http://hl7.org/fhir/concept-properties#notSelectable",
    "type" : "boolean"
  },
  {
    "code" : "subsumedBy",
    "uri" : "http://hl7.org/fhir/concept-properties#parent",
    "type" : "code"
  },
  {
    "code" : "child",
    "uri" : "http://hl7.org/fhir/concept-properties#child",
    "type" : "code"
  },
  {
    "code" : "status",
    "uri" : "http://hl7.org/fhir/concept-properties#status",
    "type" : "code"
  },
  {
    "code" : "replacedBy",
    "type" : "code"
  },
  {
    "code" : "kind",
    "type" : "string"
  },
  {
    "code" : "umls",
    "type" : "Coding"
  }],
  "concept" : [{
    "code" : "_Animal",
    "display" : "animal",
    "property" : [{"code" : "notSelectable", "valueBoolean" : true}, {"code" : "child", "valueCode" : "ferret"}],
    "concept" : [{
      "code" : "cat",
      "display" : "Cat",
      "definition" : "Says \\"meow\\", sleeps.",
      "designation" : [{
        "language" : "en",
        "use" : {"system" : "http://snomed.info/sct", "code" : "900000000000003001", "display" : "FSN"},
        "value" : "Cat (animal)"
      },
      {
        "language" : "en",
        "use" : {"system" : "http://snomed.info/sct", "code" : "900000000000013009", "display" : "Synonym"},
        "value" : "Felis catus"
      },
      {
        "language" : "de",
        "use" : {"system" : "http://terminology.hl7.org/CodeSystem/designation-usage", "code" : "display"},
        "value" : "Katze"
      },
      {
        "language" : "fr",
        "use" : {"system" : "http://snomed.info/sct", "code" : "900000000000003001"},
        "value" : "chat (animal)"
      },
      {
        "language" : "es",
        "use" : {"code" : "900000000000013009"},
        "additionalUse" : [{
          "system" : "http://terminology.hl7.org/CodeSystem/hl7TermMaintInfra",
          "code" : "preferredForLanguage"
        }],
        "value" : "gato"
      },
      {
        "use" : {"system" : "http://example.org/uses", "code" : "SHORTNAME"},
        "value" : "F cat"
      },
      {
        "value" : "kitty"
      },
      {
        "language" : "de",
        "use" : {"code" : "definition"},
        "value" : "Sagt miau."
      }],
      "property" : [{"code" : "status", "valueCode" : "active"}, {"code" : "kind", "valueString" : "mammal"},
        {"code" : "umls", "valueCoding" : {"system" : "http://www.nlm.nih.gov/research/umls", "code" : "C0007450"}}],
      "concept" : [{
        "code" : "tabby",
        "display" : "Tabby",
        "property" : [{"code" : "subsumedBy", "valueCode" : "striped"}, {"code" : "subsumedBy", "valueCode" : "cat"}]
      }]
    }]
  },
  {
    "code" : "ferret",
    "display" : "Ferret"
  },
  {
    "code" : "striped",
    "display" : "Striped"
  },
  {
    "code" : "dog",
    "display" : "Dog",
    "property" : [{"code" : "status", "valueCode" : "retired"}, {"code" : "replacedBy", "valueCode" : "_Animal"}]
  },
  {
    "code" : "nameless"
  }]
}
"""
CONCEPTS = [
    RawConcept("pets:_Animal", [RawName("animal", "en", "preferred")]),
    RawConcept(
        id="pets:cat",
        names=[
            RawName("Cat", "en", "preferred"),
            RawName("Cat (animal)", "en", "exact"),
            RawName("Felis catus", "en", "exact"),
            RawName("Katze", "de", "preferred"),
            RawName("chat (animal)", "fr", "preferred"),
            RawName("gato", "es", "preferred"),
            RawName("F cat", "en", "exact"),
            RawName("kitty", "en", "exact"),
        ],
        types=["mammal"],
        xrefs=["UMLS:C0007450"],
        parents=["pets:_Animal"],
        definition='Says "meow", sleeps.',
    ),
    RawConcept("pets:tabby", [RawName("Tabby", "en", "preferred")], parents=["pets:cat", "pets:striped"]),
    RawConcept("pets:ferret", [RawName("Ferret", "en", "preferred")], parents=["pets:_Animal"]),
    RawConcept("pets:striped", [RawName("Striped", "en", "preferred")]),
    RawConcept("pets:dog", [RawName("Dog", "en", "preferred")], retired=True, replaced_by=["pets:_Animal"]),
]
ROLES = {"kind": "types", "umls": "xrefs"}

# as a server answers $expand
EXPANSION = {
    "resourceType": "ValueSet",
    "language": "en",
    "url": "http://example.org/ValueSet/heart",
    "version": "2026",
    "status": "active",
    "compose": {"include": [{"system": SCT, "filter": [{"property": "concept", "op": "is-a", "value": "49601007"}]}]},
    "expansion": {
        "identifier": "urn:uuid:1",
        "timestamp": "2026-02-16T00:00:00Z",
        "total": 5,
        "parameter": [{"name": "displayLanguage", "valueCode": "de-DE,en;q=0.5"}, {"name": "count", "valueInteger": 9}],
        "property": [{"code": "superior", "uri": PROPERTIES + "parent"}],
        "contains": [
            {
                "abstract": True,
                "display": "Heart",
                "contains": [
                    {
                        "system": SCT,
                        "version": "http://snomed.info/sct/900000000000207008/version/20260101",
                        "code": "84114007",
                        "display": "Herzinsuffizienz",
                        "designation": [{"language": "en", "use": {"code": "display"}, "value": "Heart failure"}],
                        "contains": [{"system": SCT, "code": "42343007", "display": "Stauungsherzinsuffizienz"}],
                    },
                    {"system": SCT, "code": "155374007", "display": "Alt", "inactive": True},
                ],
            },
            {
                "abstract": True,
                "system": "http://hl7.org/fhir/sid/icd-10",
                "code": "I50",
                "display": "Herzinsuffizienz",
                "property": [{"code": "superior", "valueCode": "I30-I52"}],
            },
        ],
    },
}
EXPANDED = [
    RawConcept(
        "SNOMEDCT:84114007",
        [RawName("Herzinsuffizienz", "de-DE", "preferred"), RawName("Heart failure", "en", "preferred")],
    ),
    RawConcept(
        "SNOMEDCT:42343007",
        [RawName("Stauungsherzinsuffizienz", "de-DE", "preferred")],
        parents=["SNOMEDCT:84114007"],
    ),
    RawConcept("SNOMEDCT:155374007", [RawName("Alt", "de-DE", "preferred")], retired=True),
    RawConcept("ICD10:I50", [RawName("Herzinsuffizienz", "de-DE", "preferred")], parents=["ICD10:I30-I52"]),
]


written, parse, message = tools("fhir", "pets.json")


def system(*concepts: object, **values: object) -> dict[str, object]:
    return {"resourceType": "CodeSystem", "url": SCT, "content": "complete", "concept": list(concepts)} | values


def include(*parts: object, **values: object) -> dict[str, object]:
    return {"resourceType": "ValueSet", "url": "http://x.org/vs", "compose": {"include": list(parts), **values}}


def bundle(*resources: object, **values: object) -> dict[str, object]:
    entries = [{"fullUrl": "urn:uuid:1", "resource": resource} for resource in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries} | values


def test_every_field_of_a_code_system(tmp_path):
    concepts, report = parse(written(tmp_path, PETS), properties=ROLES)
    assert concepts == CONCEPTS
    assert report.version == "3.0.0"
    assert report.skipped == {"further definition": 1, "code without a name": 1}
    assert report.examples == {
        "further definition": ["concept[0].concept[0].designation"],
        "code without a name": ["pets:nameless"],
    }


def test_into_a_terminology(tmp_path):
    source = {"type": "fhir", "path": written(tmp_path, PETS), "langs": ["de", "en"]}
    terminology, _ = read_terminology(TerminologyConfig(sources=[source]))
    assert terminology.concepts["id"].to_pylist() == [
        "pets:_Animal", "pets:cat", "pets:ferret", "pets:striped", "pets:tabby",
    ]  # fmt: skip
    assert [(n.text, n.lang, n.scope) for n in terminology["pets:cat"].names] == [
        ("Cat", "en", "preferred"),
        ("Cat (animal)", "en", "exact"),
        ("Felis catus", "en", "exact"),
        ("Katze", "de", "preferred"),
        ("F cat", "en", "exact"),
        ("kitty", "en", "exact"),
    ]
    assert terminology.resolve("pets:dog") == ("pets:_Animal",)


def test_every_field_of_an_expansion(tmp_path):
    concepts, report = parse(written(tmp_path, EXPANSION))
    assert concepts == EXPANDED
    assert report.version == "2026"
    assert report.skipped == {"heading without a code": 1}
    assert report.examples == {"heading without a code": ["expansion.contains[0]"]}


def test_abstract_codes_can_be_left_out(tmp_path):
    concepts, report = parse(written(tmp_path, bundle(json.loads(PETS), EXPANSION)), abstract=False, properties=ROLES)
    assert concepts == CONCEPTS[1:] + EXPANDED[:3]
    assert report.examples["code that only groups others"] == ["pets:_Animal", "ICD10:I50"]


def test_cut_off_expansion_is_counted(tmp_path):
    whole = {"identifier": "urn:uuid:1", "total": 3}
    pages = [[{"system": SCT, "code": str(n), "display": "x"} for n in page] for page in ([1, 2], [3])]
    sets = [include() | {"expansion": whole | {"contains": page}} for page in pages]
    concepts, report = parse(written(tmp_path, bundle(*sets)))
    assert (len(concepts), report.skipped) == (3, {})
    concepts, report = parse(written(tmp_path, sets[0]))
    assert len(concepts) == 2
    assert report.examples == {"value set whose expansion is cut off": ["http://x.org/vs (2 of 3 codes)"]}


def test_codes_that_a_value_set_lists(tmp_path):
    named = {"code": "1-8", "display": "Acyclovir", "designation": [{"language": "fr", "value": "aciclovir"}]}
    listed = include(
        {"system": "http://loinc.org", "version": "2.78", "concept": [named, {"code": "2-6", "display": "x"}]},
        {"system": "urn:oid:1.2.3", "concept": [{"code": "a", "display": "A"}]},
        {"system": SCT, "filter": [{"property": "concept", "op": "is-a", "value": "404684003"}]},
        {"valueSet": ["http://x.org/other"]},
        {"system": "http://unitsofmeasure.org"},
        exclude=[{"system": "http://loinc.org", "concept": [{"code": "2-6"}]}, {"system": SCT}],
    )
    concepts, report = parse(written(tmp_path, listed), lang="en")
    assert concepts == [
        RawConcept("LOINC:1-8", [RawName("Acyclovir", "en", "preferred"), RawName("aciclovir", "fr", "exact")]),
        RawConcept("1.2.3:a", [RawName("A", "en", "preferred")]),
    ]
    assert report.skipped == {
        "value set that includes codes by filter": 1,
        "value set that includes codes by valueSet": 1,
        "value set that includes codes by a whole code system": 1,
        "exclusion from a value set by a rule": 1,
    }


def test_what_holds_no_codes(tmp_path):
    expand = "; expand it on a terminology server ($expand) and read the answer"
    path = written(tmp_path, include({"system": SCT, "filter": [{"property": "x"}]}))
    what = "value set that includes codes by filter (http://x.org/vs)"
    assert message(path) == f"{path}: holds no code to read: {what}{expand}"
    written(tmp_path, {"resourceType": "ValueSet", "id": "empty"})
    assert message(path) == f"{path}: holds no code to read: value set without codes (empty){expand}"
    written(tmp_path, system(content="not-present"))
    what = f"code system without codes (content: not-present) ({SCT})"
    assert message(path) == f"{path}: holds no code to read: {what}"
    written(tmp_path, {"resourceType": "ConceptMap", "url": "http://x.org/map"})
    assert message(path) == f"{path}: holds no code to read: resource of type ConceptMap (http://x.org/map)"
    written(tmp_path, include({"system": SCT, "concept": [{"code": "7"}]}))
    assert message(path) == f"{path}: holds no code to read: no code has a display or a designation{expand}"
    with pytest.raises(DataError, match="holds no concept; is it a file of this type"):
        read_terminology(TerminologyConfig(sources=[{"type": "fhir", "path": written(tmp_path, bundle())}]))


def test_bundle_in_a_bundle(tmp_path):
    other = {"resourceType": "NamingSystem", "id": "n"}
    both = bundle(bundle(EXPANSION), other, json.loads(PETS), link=[{"relation": "next", "url": "http://x.org/2"}])
    concepts, report = parse(written(tmp_path, both), properties=ROLES)
    assert concepts == EXPANDED + CONCEPTS
    assert report.version is None
    assert report.skipped["bundle that is one page of several"] == 1
    assert report.examples["resource of type NamingSystem"] == ["n"]


@pytest.mark.parametrize("name", ["pets.ndjson", "pets.jsonl", "pets.ndjson.gz"])
def test_ndjson(tmp_path, name):
    lines = "".join(json.dumps(r) + "\n\n" for r in (json.loads(PETS), system({"code": "7", "display": "x"})))
    path = written(tmp_path, gzip.compress(lines.encode()) if name.endswith(".gz") else lines, name)
    concepts, _ = parse(path, properties=ROLES)
    assert [(c.id, c.line) for c in concepts] == [(c.id, 1) for c in CONCEPTS] + [("SNOMEDCT:7", 3)]
    written(tmp_path, json.dumps(system({"code": "7"}, {"code": 7})) + "\n", name.removesuffix(".gz"))
    path = path.with_suffix("") if name.endswith(".gz") else path
    assert message(path) == f"{path}:1: concept[1].code: expected a string, found a number"


def test_supplement_lays_names_over_the_system_that_it_supplements(tmp_path):
    german = {"language": "de", "value": "Mieze"}
    supplement = system(
        {"code": "cat", "designation": [german]}, {"code": "emu", "designation": [german]},
        url="http://example.org/CodeSystem/pets-de", content="supplement",
        supplements="http://example.org/CodeSystem/pets|3.0.0",
    )  # fmt: skip
    sources = [
        {"type": "fhir", "path": written(tmp_path, PETS)},
        {"type": "fhir", "path": written(tmp_path, supplement, "de.json"), "overlay": True},
    ]
    terminology, report = read_terminology(TerminologyConfig(sources=sources))
    assert [n.text for n in terminology["pets:cat"].names if n.lang == "de"] == ["Katze", "Mieze"]
    assert report.sources[1].examples == {"names for an id that no earlier source has": ["pets:emu"]}


@pytest.mark.parametrize(
    ("properties", "retired"),
    [
        ([("inactive", "valueBoolean", True)], (True, True)),
        ([("inactive", "valueBoolean", False)], (False, False)),
        ([("Inactive", "valueString", "true")], (True, True)),
        ([("inactive", "valueCode", "false")], (False, False)),
        ([("retirementDate", "valueDateTime", "2020-01-01")], (True, True)),
        ([("status", "valueCode", "retired")], (True, True)),
        ([("status", "valueCoding", {"code": "inactive"})], (True, True)),
        ([("STATUS", "valueString", "ACTIVE")], (False, False)),
        ([("STATUS", "valueString", "DEPRECATED")], (True, False)),
        ([("deprecated", "valueBoolean", True)], (True, False)),
        ([("deprecated", "valueBoolean", False)], (False, False)),
        ([("deprecated", "valueDateTime", "2024-05-01")], (True, False)),
        ([("deprecationDate", "valueDateTime", "2024")], (True, False)),
        ([("deprecated", "valueBoolean", True), ("inactive", "valueBoolean", True)], (True, True)),
        ([("effectiveTime", "valueString", "20020131")], (False, False)),
    ],
)
def test_what_makes_a_code_retired(tmp_path, properties, retired):
    said = [{"code": code, key: value} for code, key, value in properties]
    path = written(tmp_path, system({"code": "7", "display": "x", "property": said}))
    assert (parse(path)[0][0].retired, parse(path, deprecated="keep")[0][0].retired) == retired


def test_replacements_and_other_codes(tmp_path):
    said = [
        {"code": "MAP_TO", "valueCoding": {"system": "http://loinc.org", "code": "1-8"}},
        {"code": "replaced-by", "valueString": "2-6"},
        {"code": "synonymCode", "valueCode": "3-4"},
        {"code": "parent", "valueCode": "LP7"},
        {"code": "parent", "valueInteger": 7},
        {"code": "STATUS", "valueString": "DEPRECATED"},
    ]
    about = {"url": "http://loinc.org", "language": "en"}
    concept = parse(written(tmp_path, system({"code": "9-1", "property": said}, **about)))[0][0]
    assert concept == RawConcept(
        "LOINC:9-1", parents=["LOINC:LP7"], alt_ids=["LOINC:3-4"], retired=True, replaced_by=["LOINC:1-8", "LOINC:2-6"]
    )


def test_uses_of_designations(tmp_path):
    uses = ["LONG_COMMON_NAME", "SHORTNAME", "900000000000550004"]
    designations = [{"use": {"code": use}, "value": use.lower()} for use in uses]
    path = written(tmp_path, system({"code": "7", "designation": designations}))
    concept = parse(path, lang="pt")[0][0]
    assert concept.names == [RawName("long_common_name", "pt", "exact"), RawName("shortname", "pt", "exact")]
    assert concept.definition == "900000000000550004"
    concepts, report = parse(path, uses={"LONG_COMMON_NAME": "preferred"}, skip_uses=["SHORTNAME"])
    assert concepts[0].names == [RawName("long_common_name", "en", "preferred")]
    assert report.examples == {"designation with the use SHORTNAME": ["concept[0].designation"]}


@pytest.mark.parametrize(
    ("url", "code", "options", "curie"),
    [
        (SCT, "84114007", {}, "SNOMEDCT:84114007"),
        (SCT, "73211009:42752001=1", {}, "SNOMEDCT:73211009:42752001=1"),
        ("http://loinc.org/", "1-8", {}, "LOINC:1-8"),
        ("http://hl7.org/fhir/sid/icd-10", "I50", {}, "ICD10:I50"),
        ("http://hl7.org/fhir/sid/icd-10-cm", "I50.9", {}, "ICD10CM:I50.9"),
        ("http://fhir.de/CodeSystem/bfarm/icd-10-gm", "I50.9", {}, "ICD10GM:I50.9"),
        ("http://www.nlm.nih.gov/research/umls/rxnorm", "7052", {}, "RXNORM:7052"),
        ("http://unitsofmeasure.org", "mg/dL", {}, "UCUM:mg/dL"),
        ("http://www.whocc.no/atc", "C07AB02", {}, "ATC:C07AB02"),
        ("http://human-phenotype-ontology.org", "HP:0001635", {}, "HP:0001635"),
        ("http://purl.obolibrary.org/obo/hp.owl", "0001635", {}, "HP:0001635"),
        ("http://id.nlm.nih.gov/mesh", "D006333", {}, "MESH:D006333"),
        ("http://example.org/CodeSystem/pets|1.0", "cat", {}, "pets:cat"),
        ("http://purl.obolibrary.org/obo/doid.owl", "cat", {}, "doid:cat"),
        ("urn:oid:2.16.840.1", "cat", {}, "2.16.840.1:cat"),
        (SCT, "7", {"systems": {SCT: "SCTID"}}, "SCTID:7"),
        (SCT, "7", {"prefix": "X"}, "SNOMEDCT:7"),
        ("http://x.org/unknown", "7", {"prefix": "X"}, "X:7"),
        (SCT, "7", {"prefix": "X", "systems": {SCT + "/": "SCTID"}}, "SCTID:7"),
        (None, "7", {"prefix": "PET"}, "PET:7"),
    ],
)
def test_prefixes_of_systems(tmp_path, url, code, options, curie):
    path = written(tmp_path, system({"code": f" {code} ", "display": "x"}, url=url))
    assert parse(path, **options)[0][0].id == curie


def test_systems_that_cannot_be_told_apart(tmp_path):
    one, two = (f"http://{host}.org/CodeSystem/status" for host in "ab")
    path = written(tmp_path, bundle(*(system({"code": "7", "display": "x"}, url=url) for url in (one, two))))
    assert message(path) == (
        f"{path}: entry[1].resource.concept[0]: no prefix is known for the system '{two}', "
        f"and 'status' is the prefix of '{one}'; set `systems: {{{two}: PREFIX}}`"
    )
    assert [c.id for c in parse(path, systems={two: "B"})[0]] == ["status:7", "B:7"]
    written(tmp_path, system({"code": "7"}, url=None))
    assert message(path) == f"{path}: concept[0]: the code '7' has no system; set `prefix`"


def test_repeated_codes_are_joined(tmp_path):
    cat = {"code": "cat", "display": "Cat"}
    twice = system({"code": "a", "display": "a", "concept": [cat]}, {"code": "b", "display": "b", "concept": [cat]})
    source = {"type": "fhir", "path": written(tmp_path, twice)}
    terminology, _ = read_terminology(TerminologyConfig(sources=[source]))
    assert terminology["SNOMEDCT:cat"].parents == ("SNOMEDCT:a", "SNOMEDCT:b")


def test_gzip_byte_order_mark_and_line_ends(tmp_path):
    data = gzip.compress(b"\xef\xbb\xbf" + PETS.replace("\n", "\r\n").encode())
    assert parse(written(tmp_path, data, "pets.json.gz"), properties=ROLES)[0] == CONCEPTS


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"code": None}, "concept[1]: has no 'code'"),
        ({"code": ["cat"]}, "concept[1].code: expected a string, found a list"),
        ({"display": 7}, "concept[1].display: expected a string, found a number"),
        ({"definition": {}}, "concept[1].definition: expected a string, found an object"),
        ({"concept": {}}, "concept[1].concept: expected a list, found an object"),
        ({"concept": ["x"]}, "concept[1].concept[0]: expected an object, found a string"),
        ({"designation": [{}]}, "concept[1].designation[0]: has no 'value'"),
        (
            {"designation": [{"value": "x", "use": "display"}]},
            "concept[1].designation[0].use: expected an object, found a string",
        ),
        (
            {"designation": [{"value": "x", "language": True}]},
            "concept[1].designation[0].language: expected a string, found a boolean",
        ),
        ({"property": [{"valueCode": "x"}]}, "concept[1].property[0]: has no 'code'"),
        (
            {"property": [{"code": "inactive", "valueBoolean": "x"}]},
            "concept[1].property[0].valueBoolean: expected true or false, found a string",
        ),
        (
            {"property": [{"code": "parent", "valueCoding": {"system": SCT}}]},
            "concept[1].property[0].valueCoding: has no 'code'",
        ),
        ({"display": "half \ud83d"}, "concept[1].display: half of a surrogate pair (\\ud83d)"),
    ],
)
def test_values_of_the_wrong_kind(tmp_path, change, problem):
    good = {"code": "7", "display": "x"}
    path = written(tmp_path, system(good, good | change))
    assert message(path) == f"{path}: {problem}"


def test_broken_resources(tmp_path):
    path = written(tmp_path, {"graphs": []})
    assert message(path) == f"{path}: has no 'resourceType'; is it a FHIR resource?"
    written(tmp_path, bundle({"url": SCT}))
    assert message(path) == f"{path}: entry[0].resource: has no 'resourceType'; is it a FHIR resource?"
    written(tmp_path, system(property=[{"uri": "x"}]) | {"concept": [{"code": "7"}]})
    assert message(path) == f"{path}: property[0]: has no 'code'"
    written(tmp_path, include() | {"expansion": {"contains": [{"code": "7"}]}})
    assert message(path) == f"{path}: expansion.contains[0]: the code '7' has no system; set `prefix`"
    written(tmp_path, include() | {"expansion": {"total": "7", "contains": [{"system": SCT, "code": "7"}]}})
    assert message(path) == f"{path}: expansion.total: expected a number, found a string"


def test_deep_nesting(tmp_path):
    path = written(tmp_path, '{"resourceType": "CodeSystem", "concept": ' + '[{"code": "7", "concept": ' * 50_000)
    assert message(path) == f"{path}: not valid JSON: nested too deep"
    written(tmp_path, '{"concept":' * 100_000 + "\n", "pets.ndjson")
    path = tmp_path / "pets.ndjson"
    assert message(path) == f"{path}:1: not valid JSON: nested too deep"


def test_a_tree_of_codes_as_deep_as_json_can_be_read(tmp_path):
    deep: dict[str, object] = {"code": "0", "display": "x"}
    for n in range(1, 300):
        deep = {"code": str(n), "display": "x", "concept": [deep]}
    concepts = parse(written(tmp_path, system(deep)))[0]
    assert [c.parents for c in concepts[:2]] == [[], ["SNOMEDCT:299"]]
    assert len(concepts) == 300


def test_broken_json(tmp_path):
    fix = "mend it; if it is the last line, the file was cut off: fetch it again"
    path = written(tmp_path, PETS[: PETS.index("Felis") - 2])
    assert message(path) == f"{path}:62: not valid JSON: Expecting value (column 18); {fix}"
    written(tmp_path, '{"resourceType": "CodeSystem", "url": "a", "url": "b"}')
    twice = "key 'url' more than once in one object, with the values 'a' and 'b'"
    assert message(path) == f"{path}: not valid JSON: {twice}"
    path = written(tmp_path, '\n{"resourceType": "CodeSystem", "url": "a", "url": "b"}', "pets.ndjson")
    assert message(path) == f"{path}:2: not valid JSON: {twice}"


def test_bad_files(tmp_path):
    missing = tmp_path / "none.json"
    assert message(missing) == f"{missing}: no such file"
    path = written(tmp_path, b"")
    assert message(path) == f"{path}: is empty"
    written(tmp_path, PETS.replace("Katze", "Kätzchen").encode("latin-1"))
    assert message(path) == f"{path}:67: is not UTF-8 (byte 0xe4); convert it to UTF-8"
    written(tmp_path, gzip.compress(PETS.encode())[:-20])
    text = message(path)
    assert text.startswith(f"{path}: is a damaged gzip file: ")
    assert text.endswith("; fetch it again")


def test_known_systems_keep_their_prefix(tmp_path):
    umls = {"code": "umls", "valueCoding": {"system": "http://www.nlm.nih.gov/research/umls", "code": "C1"}}
    named = {"code": "7", "display": "x", "property": [umls]}
    one, two = (f"http://{host}.org/pets" for host in "ab")
    path = written(tmp_path, system(named, url=one))
    concepts, _ = parse(path, prefix="PET", properties={"umls": "xrefs"})
    assert [(c.id, c.xrefs) for c in concepts] == [("PET:7", ["UMLS:C1"])]
    written(tmp_path, bundle(system(named, url=one), system(named, url=two)))
    assert message(path, prefix="PET") == (
        f"{path}: entry[1].resource.concept[0]: no prefix is known for the system '{two}', "
        f"and 'PET' is the prefix of '{one}'; set `systems: {{{two}: PREFIX}}`"
    )


@pytest.mark.parametrize(
    "urls", [("http://x.org/LOINC", "http://loinc.org"), ("http://loinc.org", "http://x.org/LOINC")]
)
def test_guessed_prefix_that_is_a_known_one(tmp_path, urls):
    path = written(tmp_path, bundle(*(system({"code": "7", "display": "x"}, url=url) for url in urls)))
    assert message(path) == (
        f"{path}: entry[1].resource.concept[0]: no prefix is known for the system 'http://x.org/LOINC', "
        "and 'LOINC' is the prefix of 'http://loinc.org'; set `systems: {http://x.org/LOINC: PREFIX}`"
    )


def test_values_of_properties(tmp_path):
    values = [{"valueInteger": 3}, {"valueDecimal": 0.5}, {"valueString": " "}, {"valueBoolean": True}]
    properties = [{"code": "p", **value} for value in values] + [{"code": "replacedBy", "valueCode": ""}]
    path = written(tmp_path, system({"code": "7", "display": "x", "property": properties}))
    concepts, report = parse(path, properties={"p": "types"})
    assert concepts == [RawConcept("SNOMEDCT:7", [RawName("x", "en", "preferred")], types=["3", "0.5"])]
    assert report.skipped == {"property without a value that xnorm reads": 3}
    assert report.examples["property without a value that xnorm reads"][0] == "concept[0].property[2]"
    written(tmp_path, system({"code": "7", "property": [{"code": "p", "valueInteger": True}]}))
    problem = "concept[0].property[0].valueInteger: expected a number, found a boolean"
    assert message(path, properties={"p": "types"}) == f"{path}: {problem}"


def test_what_is_not_whole_is_counted(tmp_path):
    child = {"code": "child", "valueCode": "8"}
    uses = [{"use": {"code": "definition"}, "language": "en", "value": "second"}]
    one = {"code": "7", "display": "x", "definition": "first", "designation": uses, "property": [child]}
    concepts, report = parse(written(tmp_path, system(one, content="fragment")))
    assert concepts[0].definition == "first"
    assert report.skipped == {
        "code system that is not complete": 1,
        "further definition": 1,
        "child named by a property that no code system declares": 1,
    }


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "A\nB", "url": "a\nb"},
        {"resourceType": "CodeSystem", "url": "a\nb", "content": "x\ny"},
        {"resourceType": "CodeSystem", "concept": [{"code": "a\nb"}]},
        {"resourceType": "CodeSystem", "url": "a\nb/ ", "concept": [{"code": "1"}]},
    ],
)
def test_message_is_one_line(tmp_path, resource):
    assert "\n" not in message(written(tmp_path, resource))


def test_key_twice_among_many(tmp_path):
    keys = "".join(f'"{n}":0,' for n in range(50_000))
    path = written(tmp_path, f'{{{keys}"last":1,"last":2}}')
    start = time.process_time()
    assert "key 'last' more than once in one object, with the values 1 and 2" in message(path)
    assert time.process_time() - start < 5
