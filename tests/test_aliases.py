"""Aliases: what each maker proposes, what is added, and what a wrong one costs; all by hand."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from xnorm.aliases._variants import VariantMaker
from xnorm.aliases.base import AliasReport
from xnorm.cli import app
from xnorm.config import validate
from xnorm.errors import ArtifactError, ConfigError, DataError
from xnorm.linker import Linker, LinkerConfig
from xnorm.linking import missing_sources, open_terminology
from xnorm.registry import find_component, list_components
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import NAMES, Terminology
from xnorm.text import fold
from xnorm.types import Mention, Name

OURS: list[dict[str, Any]] = [
    {"id": "K:1", "name": "Grumps", "xrefs": ["ZOO:1", "UMLS:C1"]},
    {"id": "K:2", "name": "Sneezles", "synonyms": ["Wheezles"], "xrefs": ["UMLS:C2"]},
    {"id": "K:3", "name": "Wobble", "xrefs": ["UMLS:C3"]},
    {"id": "K:4", "name": "Blue tail", "xrefs": ["UMLS:C9"]},
    {"id": "K:5", "name": "Red tail", "xrefs": ["UMLS:C9"]},
]
ZOO: list[dict[str, Any]] = [
    {"id": "ZOO:1", "name": "grumpiness", "xrefs": ["FARM:1"], "alt_ids": ["ZOO:99"],
     "synonyms": [{"name": "sulks", "scope": "related"}, {"name": "Griesgram", "lang": "de"}, "GRUMPS"]},
    {"id": "ZOO:2", "name": "sneeze", "xrefs": ["UMLS:C2", "ZOO:3"]},
    {"id": "ZOO:3", "name": "not linked"},
    {"id": "ZOO:4", "name": "coloured tail", "xrefs": ["UMLS:C9", "K:4", "K:5"]},
]  # fmt: skip
FARM: list[dict[str, Any]] = [
    {"id": "FARM:1", "name": "crossness", "xrefs": ["BARN:1", "ZOO:1"]},
    {"id": "FARM:2", "name": "wobble", "synonyms": ["sneezles", "shakes"], "xrefs": ["K:3"]},
]
BARN: list[dict[str, Any]] = [
    {"id": "BARN:1", "name": "bad temper", "synonyms": ["crossness"], "xrefs": ["FARM:1", "ZOO:99"]},
    {"id": "BARN:2", "name": "nobody's"},
]


def source(tmp_path: Path, name: str, records: list[dict[str, Any]], **options: object) -> dict[str, Any]:
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return {"type": "jsonl", "path": str(path), "name": name, **options}


def enriched(
    tmp_path: Path, *aliases: dict[str, Any], ours: list[dict[str, Any]] = OURS, **settings: object
) -> tuple[Terminology, list[AliasReport]]:
    data = {"sources": [source(tmp_path, "Ours", ours)], "aliases": aliases, **settings}
    terminology, report = read_terminology(validate(TerminologyConfig, data, where="test"))
    check(terminology)
    return terminology, report.aliases


def check(terminology: Terminology) -> None:
    """Names are sorted by concept, first names point at them, own names come before aliases."""
    concept = terminology.name_concept
    assert (np.diff(concept) >= 0).all()
    assert terminology.first_name.tolist() == np.searchsorted(concept, np.arange(len(terminology) + 1)).tolist()
    assert terminology.names.schema == NAMES
    for row in range(len(terminology)):
        added = [name.scope == "alias" for name in terminology[row].names]
        assert added == sorted(added)


def added(terminology: Terminology) -> dict[str, list[tuple[str, str, str, float]]]:
    """Return what concepts got: text, language, source and weight."""
    found = {}
    for row in range(len(terminology)):
        concept = terminology[row]
        if names := [(n.text, n.lang, n.source, n.weight) for n in concept.names if n.scope == "alias"]:
            found[concept.id] = names
    return found


def zoo(tmp_path: Path) -> list[dict[str, Any]]:
    return [source(tmp_path, name, r) for name, r in (("Zoo", ZOO), ("Farm", FARM), ("Barn", BARN))]


def variants(kind: str, text: str, lang: str = "en", **options: object) -> list[str]:
    maker_class = find_component("aliases", kind)
    maker = maker_class(validate(maker_class.config_class, {"type": kind, **options}, where="test"))
    assert isinstance(maker, VariantMaker)
    return list(maker.variants(text, lang))


# --- xrefs ------------------------------------------------------------------------------------------------------------


def test_names_over_one_hop(tmp_path):
    kb, [report] = enriched(tmp_path, {"type": "xrefs", "sources": zoo(tmp_path), "prefixes": ["UMLS"]})
    assert added(kb) == {
        "K:1": [("grumpiness", "en", "Zoo", 0.97), ("Griesgram", "de", "Zoo", 0.97)],
        "K:2": [("sneeze", "en", "Zoo", 0.97)],
        "K:3": [("shakes", "en", "Farm", 0.97)],
    }
    assert kb["K:1"].names[0] == Name("Grumps", "en", "preferred", "Ours")
    assert (report.maker, report.added, report.concepts) == ("xrefs", 4, 3)
    assert report.by_source == {"Zoo": 3, "Farm": 1}
    assert report.left_out == {
        "xref that several concepts of one source share": 1,
        "concept that several of ours lead to": 1,
        "name that the concept has already": 2,
        "name that another concept has": 1,
    }
    assert report.examples == {
        "xref that several concepts of one source share": ["UMLS:C9"],
        "concept that several of ours lead to": ["ZOO:4"],
        "name that the concept has already": ["K:1: 'GRUMPS'", "K:3: 'wobble'"],
        "name that another concept has": ["K:3: 'sneezles' of K:2"],
        "added": ["K:1: 'grumpiness'", "K:1: 'Griesgram'", "K:2: 'sneeze'"],
    }


def test_names_over_several_hops_weigh_less(tmp_path):
    sources = zoo(tmp_path)
    second, third = round(0.9**2, 6), round(0.9**3, 6)
    for hops, wanted in (
        (1, [("grumpiness", 0.9), ("Griesgram", 0.9)]),
        # ZOO:99 is an older id of ZOO:1, so the barn is no farther than the farm
        (2, [("grumpiness", 0.9), ("Griesgram", 0.9), ("crossness", second), ("bad temper", second)]),
        (8, [("grumpiness", 0.9), ("Griesgram", 0.9), ("crossness", second), ("bad temper", second)]),
    ):
        kb, _ = enriched(tmp_path, {"type": "xrefs", "sources": sources, "hops": hops, "weight": 0.9})
        assert [(text, weight) for text, _, _, weight in added(kb)["K:1"]] == wanted
    chain = [sources[0], sources[1], source(tmp_path, "Barn", [{**BARN[0], "xrefs": []}])]
    kb, _ = enriched(tmp_path, {"type": "xrefs", "sources": chain, "hops": 3, "weight": 0.9, "langs": ["en"]})
    assert added(kb)["K:1"] == [
        ("grumpiness", "en", "Zoo", 0.9),
        ("crossness", "en", "Farm", pytest.approx(second)),
        ("bad temper", "en", "Barn", pytest.approx(third)),
    ]


def test_scopes_and_languages_of_what_is_taken(tmp_path):
    xrefs = {"type": "xrefs", "sources": zoo(tmp_path)}
    kb, _ = enriched(tmp_path, {**xrefs, "scopes": ["related"], "scope": "broad"})
    assert kb["K:1"].names[1:] == (Name("sulks", "en", "broad", "Zoo", 0.97),)
    kb, [report] = enriched(tmp_path, xrefs, filters={"langs": ["en"]})
    assert added(kb)["K:1"] == [("grumpiness", "en", "Zoo", 0.97)]
    assert report.left_out["name in another language"] == 1
    kb, _ = enriched(tmp_path, {**xrefs, "langs": ["deu"]})
    assert added(kb) == {"K:1": [("Griesgram", "de", "Zoo", 0.97)]}


def test_ambiguous_concepts_give_to_none_or_to_each(tmp_path):
    ours = [{"id": f"K:{n}", "name": f"tail {n}", "xrefs": ["ZOO:4"]} for n in range(1, 10)]
    xrefs = {"type": "xrefs", "sources": [source(tmp_path, "Zoo", [{"id": "ZOO:4", "name": "tail"}])]}
    for several in (2, 8):
        kb, [report] = enriched(tmp_path, xrefs, ours=ours[:several])
        assert (added(kb), report.left_out) == ({}, {"concept that several of ours lead to": 1})
        kb, _ = enriched(tmp_path, {**xrefs, "ambiguous": "each"}, ours=ours[:several])
        assert added(kb) == {f"K:{n}": [("tail", "en", "Zoo", 0.97)] for n in range(1, several + 1)}
    kb, [report] = enriched(tmp_path, {**xrefs, "ambiguous": "each"}, ours=ours)  # which is a class, no synonym
    assert (added(kb), report.left_out) == ({}, {"concept that several of ours lead to": 1})


def test_what_lies_behind_an_ambiguous_concept_is_ambiguous(tmp_path):
    ours = [{"id": f"K:{n}", "name": f"tail {n}", "xrefs": ["ZOO:4"]} for n in (1, 2)]
    ours.append({"id": "K:3", "name": "plume", "xrefs": ["ZOO:5"]})
    sources = [
        source(tmp_path, "Zoo", [{"id": "ZOO:4", "name": "tail", "xrefs": ["FARM:4"]}, {"id": "ZOO:5", "name": "fan"}]),
        # reached from two of ours over ZOO:4, and from a third in as many steps
        source(tmp_path, "Farm", [{"id": "FARM:4", "name": "rear", "xrefs": ["ZOO:5"]}]),
    ]
    kb, [report] = enriched(tmp_path, {"type": "xrefs", "sources": sources, "hops": 2}, ours=ours)
    assert added(kb) == {"K:3": [("fan", "en", "Zoo", 0.97)]}
    assert report.examples["concept that several of ours lead to"] == ["ZOO:4", "FARM:4"]


def test_the_nearest_of_a_source_alone(tmp_path):
    ours = [{"id": "K:1", "name": "tail", "xrefs": ["ZOO:1"]}]
    sources = [
        source(
            tmp_path, "Zoo", [{"id": "ZOO:1", "name": "brush", "xrefs": ["FARM:1"]}, {"id": "ZOO:2", "name": "dog"}]
        ),
        source(tmp_path, "Farm", [{"id": "FARM:1", "name": "rear", "xrefs": ["ZOO:2"]}]),
    ]
    kb, [report] = enriched(tmp_path, {"type": "xrefs", "sources": sources, "hops": 3}, ours=ours)
    assert [name[0] for name in added(kb)["K:1"]] == ["brush", "rear"]
    assert report.left_out == {"concept of a source of which a nearer one was reached": 1}


def test_what_others_call_a_concept_comes_before_what_they_also_call_it(tmp_path):
    ours = [{"id": "K:1", "name": "tail", "xrefs": ["ZOO:1", "FARM:1"]}]
    sources = [
        source(tmp_path, "Zoo", [{"id": "ZOO:1", "name": "brush", "synonyms": ["fan", "rudder"]}]),
        source(tmp_path, "Farm", [{"id": "FARM:1", "name": "rear", "synonyms": ["end"]}]),
    ]
    kb, _ = enriched(tmp_path, {"type": "xrefs", "sources": sources, "most": 3}, ours=ours)
    assert [name[0] for name in added(kb)["K:1"]] == ["brush", "rear", "fan"]
    kb, _ = enriched(tmp_path, {"type": "xrefs", "sources": sources[::-1], "most": 3}, ours=ours)
    assert [name[0] for name in added(kb)["K:1"]] == ["rear", "brush", "end"]


def test_a_circle_of_xrefs_and_ones_own_id_elsewhere(tmp_path):
    ours = [{"id": "K:1", "name": "tail", "xrefs": ["A:1", "K:1"]}, {"id": "K:2", "name": "dog", "xrefs": ["K:1"]}]
    ring = [
        source(tmp_path, "A", [{"id": "A:1", "name": "a", "xrefs": ["B:1", "K:1"]}]),
        source(tmp_path, "B", [{"id": "B:1", "name": "b", "xrefs": ["C:1", "A:1"]}]),
        source(tmp_path, "C", [{"id": "C:1", "name": "c", "xrefs": ["A:1", "K:1"]}, {"id": "K:2", "name": "hound"}]),
    ]
    kb, _ = enriched(tmp_path, {"type": "xrefs", "sources": ring, "hops": 8}, ours=ours)
    assert {i: [n[0] for n in names] for i, names in added(kb).items()} == {"K:1": ["a", "c", "b"], "K:2": ["hound"]}


def reach_by_hand(
    ours: list[dict[str, Any]], foreign: dict[str, list[dict[str, Any]]], hops: int
) -> dict[str, dict[str, int]]:
    """Return {our id: {foreign id: steps}}, by sets in plain Python; only direct xrefs, `ambiguous: none`."""
    of = {r["id"]: s for s, records in foreign.items() for r in records}
    links: dict[str, set[str]] = defaultdict(set)
    for record in [*ours, *(r for records in foreign.values() for r in records)]:
        for xref in record["xrefs"]:
            if of.get(record["id"]) != of.get(xref):
                links[record["id"]].add(xref)
                links[xref].add(record["id"])
    owners: dict[str, set[str]] = {r["id"]: {r["id"]} for r in ours}
    result: dict[str, dict[str, int]] = defaultdict(dict)
    reached, front = set(owners), set(owners)
    for hop in range(1, hops + 1):
        found: dict[str, set[str]] = defaultdict(set)
        for at in front:
            for to in links[at] - reached:
                if to in of:
                    near = {o for o in owners[at] if any(of[i] == of[to] for i in result[o])}
                    found[to] |= owners[at] - near
        found = {to: own for to, own in found.items() if own}
        for to, own in found.items():
            owners[to] = {"several"} if len(own) > 1 or "several" in own else own
        for to in found:
            for own in owners[to] - {"several"}:
                result[own][to] = hop
        reached |= set(found)
        front = set(found)
    return {own: found for own, found in result.items() if found}


@pytest.mark.parametrize("seed", range(30))
def test_random_graphs_are_reached_as_by_hand(tmp_path, seed):
    rng = random.Random(seed)
    ids = {s: [f"{s}:{n}" for n in range(rng.randint(2, 8))] for s in ("K", "A", "B", "C")}
    every = [i for own in ids.values() for i in own]
    records = {
        s: [{"id": i, "name": f"name {i}", "xrefs": rng.sample(every, rng.choice([0, 1, 1, 2]))} for i in own]
        for s, own in ids.items()
    }
    ours = records.pop("K")
    wanted = reach_by_hand(ours, records, 3)
    sources = [source(tmp_path, s, own) for s, own in records.items()]
    alias = {"type": "xrefs", "sources": sources, "hops": 3, "weight": 0.5, "most": 99}
    if not wanted and not any(x[0] != "K" for r in ours for x in r["xrefs"]):
        return
    kb, _ = enriched(tmp_path, alias, ours=ours)
    got = {i: {text.removeprefix("name "): weight for text, _, _, weight in n} for i, n in added(kb).items()}
    assert got == {own: {to: 0.5**hop for to, hop in found.items()} for own, found in wanted.items()}


def test_names_from_an_index_and_from_tables(tmp_path, terminology):
    sources = [source(tmp_path, "Zoo", ZOO)]
    config = {"name": "zoo", "terminology": {"sources": sources}, "candidates": {"type": "exact"}}
    Linker.build(validate(LinkerConfig, config, where="test")).save(tmp_path / "index")
    wanted, _ = enriched(tmp_path, {"type": "xrefs", "sources": sources})
    for path in (tmp_path / "index", tmp_path / "index" / "terminology"):
        kb, _ = enriched(tmp_path, {"type": "xrefs", "path": str(path)})
        assert added(kb) == added(wanted) != {}
    with pytest.raises(ConfigError, match="expected the folder of an index, or of the tables of a terminology"):
        enriched(tmp_path, {"type": "xrefs", "path": str(tmp_path)})


# --- mapping, table ---------------------------------------------------------------------------------------------------


def test_names_by_a_mapping(tmp_path):
    table = tmp_path / "map.csv"
    table.write_text("source,target\nZOO:1,K:2\nZOO:2,K:1\nZOO:2,K:3\nZOO:3,K:77\nZOO:4,K:4\nGNU:1,K:5\n")
    maker = {
        "type": "mapping",
        "sources": [source(tmp_path, "Zoo", ZOO)],
        "mapping": {"type": "table", "path": str(table)},
        "langs": ["en"],
    }
    kb, [report] = enriched(tmp_path, maker)
    assert added(kb) == {
        "K:2": [("grumpiness", "en", "Zoo", 0.97)],
        "K:4": [("coloured tail", "en", "Zoo", 0.97)],
    }
    assert report.left_out == {
        "pair whose target is no concept of the terminology": 1,
        "concept that is mapped to several of ours": 1,
        "name that another concept has": 1,
    }
    assert report.examples["concept that is mapped to several of ours"] == ["ZOO:2"]
    kb, _ = enriched(tmp_path, {**maker, "ambiguous": "each", "shared": True})
    assert [n[0] for n in added(kb)["K:2"]] == ["grumpiness", "GRUMPS"]
    assert [n[0] for i in ("K:1", "K:3") for n in added(kb)[i]] == ["sneeze", "sneeze"]
    table.write_text("source,target\nGNU:1,K:1\n")
    with pytest.raises(DataError, match=r"map.csv: leads from no concept of the sources to one of the terminology"):
        enriched(tmp_path, maker)


def test_names_of_ones_own(tmp_path):
    table = tmp_path / "own.tsv"
    rows = [
        "1\tgrouch\ten\t0.5",
        "K:2\tHatschi\tde\t",
        "K:2\thatschi\tger\t0.7",
        "K:9\tx\ten\t",
        "\ty\ten\t",
        "K:3\t\t\t",
    ]
    table.write_text("\n".join(["id\tname\tl\tw", *rows, "K:1\tWheezles\t\t"]) + "\n", encoding="utf-8")
    maker = {"type": "table", "path": str(table), "prefix": "K", "columns": {"lang": "l", "weight": "w"}, "name": "own"}
    kb, [report] = enriched(tmp_path, maker)
    assert added(kb) == {"K:1": [("grouch", "en", "own", 0.5)], "K:2": [("Hatschi", "de", "own", 1.0)]}
    assert report.left_out == {
        "row with an id that is not there": 1,
        "row without an id": 1,
        "row without a name": 1,
        "name that the concept has already": 1,
        "name that another concept has": 1,
    }
    assert report.examples["row with an id that is not there"] == ["line 5: K:9"]
    assert report.examples["row without a name"] == ["line 7"]
    kb, _ = enriched(tmp_path, {**maker, "weight": 0.8, "shared": True, "scope": "related"})
    assert [(n.text, n.scope, n.weight) for n in kb["K:1"].names[1:]] == [
        ("grouch", "related", 0.5),
        ("Wheezles", "related", 0.8),
    ]


def test_a_row_with_an_older_id_is_for_what_replaced_it(tmp_path):
    ours = [{"id": "K:1", "name": "one", "alt_ids": ["K:8"]}, {"id": "K:2", "name": "two"},
            {"id": "K:9", "name": "old", "retired": True, "replaced_by": ["K:1", "K:2"]}]  # fmt: skip
    table = tmp_path / "own.csv"
    table.write_text("id,name\nK:8,first\nK:9,either\n")
    kb, [report] = enriched(tmp_path, {"type": "table", "path": str(table)}, ours=ours)
    assert added(kb) == {"K:1": [("first", "en", "table", 1.0)]}
    assert report.left_out == {"row with an id that has become several": 1}


# --- word order, inflection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lang", "wanted"),
    [
        ("Failure, Heart", "en", ["Heart Failure"]),
        ("Anemia, aplastic", "en", ["aplastic anemia"]),
        ("Diabetes mellitus, type 2", "en", ["type 2 diabetes mellitus"]),
        ("IgA deficiency, selective", "en", ["selective IgA deficiency"]),
        ("Herzinsuffizienz, akute", "de", ["akute Herzinsuffizienz"]),
        ("Hartfalen, acuut", "nl", ["acuut hartfalen"]),
        ("Insuffisance cardiaque, aiguë", "fr", ["Insuffisance cardiaque aiguë"]),
        ("Neoplasm of lung", "en", ["lung neoplasm"]),
        ("Malignant neoplasm of the lung", "en", ["Malignant lung neoplasm"]),
        ("lung neoplasm", "en", ["neoplasm of lung"]),
        # lists, negations, numbers, brackets: left alone
        ("Lung, heart", "en", []),
        ("Lung, heart and liver", "en", []),
        ("Lung, heart, liver", "en", []),
        ("Anemia, not specified", "en", []),
        ("Anemia, with fever", "en", []),
        ("Deafness, recessive 1", "en", []),
        ("Anemia (aplastic), rare", "en", []),
        ("Anemia,aplastic", "en", []),
        ("Anemia, ", "en", []),
        (", aplastic", "en", []),
        ("Fear of lung", "en", []),
        ("Neoplasm of Crohn", "en", []),
        ("common cold", "en", []),
        ("", "en", []),
    ],
)
def test_orders_of_words(text, lang, wanted):
    assert variants("word_order", text, lang) == wanted


def test_orders_of_an_index_of_words():
    assert variants("word_order", "Heart failure", inverted=True) == ["failure of heart", "failure, heart"]
    assert variants("word_order", "T2 failure", inverted=True) == []


INFLECTED = {
    "en": {
        "Heart failure": "Heart failures", "seizures": "seizure", "Biopsy": "Biopsies", "abnormalities": "abnormality",
        "Thrombosis": "Thromboses", "Fibroses": "Fibrosis", "metastases": "metastasis", "diseases": "disease",
        "abscess": "abscesses", "abscesses": "abscess", "headaches": "headache", "viruses": "virus",
        "Small hands": "Small hand", "Abnormality of the eye": "Abnormalities of the eye", "kidney": "kidneys",
        "X-linked cysts": "X-linked cyst", "Corneal opacity": "Corneal opacities", "deformities": "deformity",
        "Autoimmunity": None, "Obesity": None, "Joint laxity": None, "Delayed puberty": None,
        "Anemia": None, "Hepatitis": None, "diabetes": None, "sickness": None, "bleeding": None, "T2DM": None,
        "cyst, renal": None, "HIV": None, "": None, "of lung": None, "thrombus": None, "cyst (2)": None,
    },
    "de": {
        "Herzinsuffizienz": "Herzinsuffizienzen", "Frakturen": "Fraktur", "Niere": "Nieren", "Karzinom": "Karzinome",
        "Fraktur des Beins": "Frakturen des Beins", "Gastritis": None, "Nagel": None, "akut": None,
    },
    "es": {
        "insuficiencia cardíaca": "insuficiencias cardíacas", "lesión renal": "lesiones renales", "riñón": "riñones",
        "lesiones renales": "lesión renal", "enfermedad de Crohn": "enfermedades de Crohn", "voces": "voz",
        "hepatitis": None, "lesiones renal": None, "tos Ferina": None,
    },
    "fr": {
        "insuffisance cardiaque": "insuffisances cardiaques", "cancer du poumon": "cancers du poumon",
        "maladies rénales": "maladie rénale", "canaux": "canal", "insuffisance d'organe": "insuffisances d'organe",
        "virus": None, "os": None,
    },
    "it": {
        "insufficienza renale": "insufficienze renali", "malattie croniche": "malattia cronica",
        "lesione": "lesioni", "patologia cardiaca": "patologie cardiache", "fibrosi": None, "cardiaco": None,
    },
    "nl": {
        "aandoening": "aandoeningen", "operaties": "operatie", "stoornis": "stoornissen", "carcinoom": "carcinomen",
        "ziekte van Crohn": "ziekten van Crohn", "hartfalen": None,
    },
    "pt": {
        "insuficiência cardíaca": "insuficiências cardíacas", "lesões renais": "lesão renal", "tumor": "tumores",
        "hospital": "hospitais", "pulmões": "pulmão", "hepatite viral": "hepatites virais", "lápis": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("lang", INFLECTED)
def test_numbers(lang):
    for text, wanted in INFLECTED[lang].items():
        assert variants("inflection", text, lang) == ([] if wanted is None else [wanted]), text


def test_cases_of_german_adjectives():
    wanted = ["akute Insuffizienzen", "akuten Insuffizienz", "akuter Insuffizienz"]
    assert variants("inflection", "akute Insuffizienz", "de") == wanted
    assert variants("inflection", "Akutes Ödem", "de") == ["Akuten Ödem", "Akutem Ödem"]
    assert variants("inflection", "starker Schmerz", "de") == ["starken Schmerz", "starkem Schmerz"]
    assert variants("inflection", "akute starker Schmerz", "de") == []


def test_variants_of_variants_and_what_they_weigh(tmp_path):
    ours = [{"id": "K:1", "name": "Neoplasm of lung", "synonyms": [{"name": "lumps", "scope": "related"}]}]
    kb, reports = enriched(tmp_path, {"type": "word_order", "weight": 0.9}, {"type": "inflection"}, ours=ours)
    assert added(kb)["K:1"] == [
        ("lung neoplasm", "en", "word_order", 0.9),
        ("Neoplasms of lung", "en", "inflection", 0.95),
        ("lung neoplasms", "en", "inflection", 0.855),
    ]
    assert [report.added for report in reports] == [1, 2]
    kb, _ = enriched(tmp_path, {"type": "inflection", "scopes": ["related"], "name": "forms"}, ours=ours)
    assert added(kb)["K:1"] == [("lump", "en", "forms", 0.95)]
    kb, _ = enriched(tmp_path, {"type": "inflection", "langs": ["de"]}, ours=ours)
    assert added(kb) == {}


def test_homonyms_share_their_variants(tmp_path):
    ours = [{"id": "K:1", "name": "Cyst"}, {"id": "K:2", "name": "cyst"}, {"id": "K:3", "name": "Cysts"}]
    kb, [report] = enriched(tmp_path, {"type": "inflection"}, ours=ours)
    assert (added(kb), report.left_out) == ({}, {"name that another concept has": 3})
    assert report.examples["name that another concept has"] == [
        "K:1: 'Cysts' of K:3", "K:2: 'cysts' of K:3", "K:3: 'Cyst' of K:1",
    ]  # fmt: skip
    kb, _ = enriched(tmp_path, {"type": "inflection"}, ours=ours[:2])
    assert {i: n[0][0] for i, n in added(kb).items()} == {"K:1": "Cysts", "K:2": "cysts"}
    kb, [report] = enriched(tmp_path, {"type": "inflection", "ambiguous": "none"}, ours=ours[:2])
    assert (added(kb), report.left_out) == ({}, {"name that several concepts would get": 2})


def test_the_most_names_of_a_concept(tmp_path):
    table = tmp_path / "own.csv"
    table.write_text("id,name\n" + "".join(f"K:{1 + n % 2},new {n}\n" for n in range(10)))
    kb, [report] = enriched(tmp_path, {"type": "table", "path": str(table), "most": 2})
    assert {i: [n[0] for n in names] for i, names in added(kb).items()} == {
        "K:1": ["new 0", "new 2"],
        "K:2": ["new 1", "new 3"],
    }
    assert report.left_out == {"name beyond 2 of a concept": 6}


# --- in a terminology, an index, a search -----------------------------------------------------------------------------


def test_a_wrong_alias_costs_little(tmp_path):
    """An alias of another concept, as similar as a name is, comes behind it; one that nothing else is like is found."""
    table = tmp_path / "wrong.csv"
    table.write_text("id,name\nK:1,sneezles & wheezles\nK:3,grouch\n")
    maker = {"type": "table", "path": str(table), "weight": 0.9}
    ours = [*OURS, {"id": "K:6", "name": "Wheezles sneezles"}]
    for kind in ("exact", "tfidf"):
        data = {"sources": [source(tmp_path, "Ours", ours)], "aliases": [maker], "homonyms": "qualify"}
        config = {"name": "x", "terminology": data, "candidates": {"type": kind}}
        linker = Linker.build(validate(LinkerConfig, config, where="test"))
        found = linker.link([Mention("Sneezles Wheezles"), Mention("grouch")], top_k=2)
        assert [c.concept_id for c in found[0]][:2] == ["K:6", "K:1"], kind
        assert (found[1][0].concept_id, found[1][0].score) == ("K:3", pytest.approx(0.9))
        assert found[1][0].source == "table"


def test_from_config_to_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    zoo(tmp_path)
    source(tmp_path, "ours", OURS)
    (tmp_path / "ours.yaml").write_text(
        "name: ours\nterminology:\n  sources: [{type: jsonl, path: ours.jsonl}]\n  aliases:\n"
        "    - {type: xrefs, sources: [{type: jsonl, path: Zoo.jsonl, name: Zoo}]}\n    - inflection\n"
        "candidates: tfidf\n"
    )
    runner = CliRunner()
    built = runner.invoke(app, ["index", "ours.yaml"])
    assert built.exit_code == 0, built.output
    about = runner.invoke(app, ["info", "index/ours"]).output
    assert "aliases      xrefs: 1 concepts" in about.replace("aliases         ", "aliases      ")
    assert "added 2: names of Zoo 2 (K:1: 'grumpiness', K:1: 'Griesgram')" in about
    assert "left out 1: concept that several of ours lead to (ZOO:4)" in about
    assert "scopes          alias 8, preferred 5, exact 1" in about
    shown = runner.invoke(app, ["search", "index/ours", "grumpiness"]).output
    assert "grumpiness (x 0.97)" in shown
    told = json.loads(runner.invoke(app, ["search", "index/ours", "K:2", "--json"]).output)
    names = told["concepts"][0]["names"]
    assert names[0] == {"name": "Sneezles", "lang": "en", "scope": "preferred", "source": "ours"}
    assert names[2] == {"name": "Sneezle", "lang": "en", "scope": "alias", "source": "inflection", "weight": 0.95}
    config = LinkerConfig.read(tmp_path / "ours.yaml")
    assert missing_sources(config.terminology) == []
    # another zoo, another index
    assert len(open_terminology("ours.yaml")["K:1"].names) == 4
    source(tmp_path, "Zoo", [{"id": "ZOO:1", "name": "moodiness"}])
    assert [n.text for n in open_terminology("ours.yaml")["K:1"].names] == ["Grumps", "moodiness", "Grump"]
    (tmp_path / "Zoo.jsonl").unlink()
    assert missing_sources(config.terminology) == [f"terminology: {tmp_path / 'Zoo.jsonl'}"]


def test_weights_are_saved_and_older_folders_are_read(tmp_path):
    plain, _ = enriched(tmp_path, {"type": "inflection", "weight": 1.0})
    assert plain.name_weights is None
    kb, _ = enriched(tmp_path, {"type": "inflection"})
    assert plain.fingerprint != kb.fingerprint
    kb.save(tmp_path)
    again = Terminology.open(tmp_path)
    assert again.fingerprint == kb.fingerprint
    assert again.name_weights is not None
    assert again.name_weights.tolist() == kb.names.column("weight").to_pylist()
    old = Terminology(plain.concepts, plain.names.drop_columns("weight"), plain.retired)
    assert (old.fingerprint, old.names.schema) == (plain.fingerprint, NAMES)
    # as an earlier release wrote it
    with pa.OSFile(str(tmp_path / "names.arrow"), "wb") as sink:
        table = plain.names.drop_columns("weight")
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    assert Terminology.open(tmp_path).fingerprint == plain.fingerprint
    for wrong in (0.0, -1.0, 1.5, float("nan"), float("inf")):
        weights = pa.array([wrong] + [1.0] * (plain.n_names - 1), pa.float32())
        at = NAMES.get_field_index("weight")
        Terminology(plain.concepts, plain.names.set_column(at, NAMES.field(at), weights), plain.retired).save(tmp_path)
        with pytest.raises(ArtifactError, match=r"names.arrow: has weights that are not above 0 and at most 1"):
            Terminology.open(tmp_path)


def test_aliases_of_merged_and_of_qualified_concepts(tmp_path):
    sources = [source(tmp_path, "Ours", OURS), source(tmp_path, "Zoo", ZOO[:1])]
    data = {"sources": sources, "merge": {}, "homonyms": "qualify", "aliases": ["inflection"]}
    kb, report = read_terminology(validate(TerminologyConfig, data, where="test"))
    check(kb)
    assert [n[0] for n in added(kb)["K:1"]] == ["Grump"]
    assert "ZOO:1" not in kb
    assert report.names == kb.n_names
    assert json.loads(json.dumps(report.as_dict()))["aliases"][0]["added"] == report.aliases[0].added


# --- bad input --------------------------------------------------------------------------------------------------------


def test_bad_settings(tmp_path):
    some = source(tmp_path, "Zoo", ZOO)
    for maker, message in (
        ({"type": "xref"}, r"unknown type 'xref' of aliases; did you mean 'xrefs'\?"),
        ({"type": "xrefs"}, "expected either `sources` or `path`"),
        ({"type": "xrefs", "sources": [some], "path": "x"}, "expected either `sources` or `path`"),
        ({"type": "xrefs", "sources": [some], "direct": False}, "nothing is a step; set `direct` or `prefixes`"),
        ({"type": "xrefs", "sources": [some], "hops": 0}, "greater than or equal to 1"),
        ({"type": "xrefs", "sources": [{"type": "jsnol", "path": "x"}]}, "did you mean 'jsonl'"),
        ({"type": "inflection", "weight": 0}, "greater than 0"),
        ({"type": "inflection", "weight": 1.01}, "less than or equal to 1"),
        ({"type": "inflection", "most": 0}, "greater than or equal to 1"),
        ({"type": "inflection", "wieght": 1}, "unknown key 'wieght'; did you mean 'weight'"),
        ({"type": "inflection", "scope": "preferred"}, "'exact'"),
    ):
        with pytest.raises(ConfigError, match=message):
            enriched(tmp_path, maker)


def test_bad_files(tmp_path):
    lost = {"type": "xrefs", "sources": [{"type": "jsonl", "path": str(tmp_path / "no.jsonl")}]}
    with pytest.raises(DataError, match=r"no.jsonl: no such file"):
        enriched(tmp_path, lost)
    with pytest.raises(DataError, match=r"empty.jsonl: "):
        enriched(tmp_path, {"type": "xrefs", "sources": [source(tmp_path, "empty", [])]})
    with pytest.raises(DataError, match=r"aliases: xrefs: no xref links a concept with one of these sources"):
        enriched(tmp_path, {"type": "xrefs", "sources": [source(tmp_path, "Barn", BARN[1:])], "prefixes": ["UMLS"]})
    table = tmp_path / "own.csv"
    maker = {"type": "table", "path": str(table), "columns": {"weight": "weight"}}
    with pytest.raises(DataError, match=r"own.csv: no such file"):
        enriched(tmp_path, maker)
    for weight in ("0", "1.5", "-0.1", "heavy", "nan"):
        table.write_text(f"id,name,weight\nK:1,x,{weight}\n")
        with pytest.raises(DataError, match=r"own.csv:2: weight: expected a number above 0 and at most 1"):
            enriched(tmp_path, maker)
    table.write_text("id,name,weight\nX:1,x,1\n")
    with pytest.raises(DataError, match=r"holds no name of a concept of the terminology: 1 row with an id that is not"):
        enriched(tmp_path, maker)
    table.write_text("")
    with pytest.raises(DataError, match=r"own.csv"):
        enriched(tmp_path, maker)


def test_every_registered_maker_is_tested():
    assert list_components("aliases") == ["inflection", "mapping", "table", "word_order", "xrefs"]


def test_no_alias_is_a_name_that_the_concept_or_another_has(tmp_path):
    """Whatever makers propose: brute force over a terminology of few words, so that much collides."""
    rng = random.Random(3)
    words = ["cyst", "cysts", "lung", "neoplasm", "of", "lungs", "pain", "heart"]
    ours = [
        {"id": f"K:{n}", "name": " ".join(rng.sample(words, 2)), "synonyms": [" ".join(rng.sample(words, 3))]}
        for n in range(60)
    ]
    kb, reports = enriched(tmp_path, {"type": "word_order"}, {"type": "inflection"}, ours=ours)
    plain, _ = enriched(tmp_path, ours=ours)
    own = {concept.id: {fold(n.text) for n in concept.names} for concept in (plain[r] for r in range(len(plain)))}
    assert sum(report.added for report in reports) == kb.n_names - plain.n_names > 0
    for identifier, names in added(kb).items():
        texts = [fold(text) for text, *_ in names]
        assert len(set(texts)) == len(texts)
        assert not set(texts) & {text for texts in own.values() for text in texts}
        assert not set(texts) & own[identifier]
