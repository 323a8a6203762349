"""Several sources into one terminology."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xnorm.config import validate
from xnorm.errors import ArtifactError, ConfigError, DataError
from xnorm.sources import Report, TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.types import Concept, Name

CAT = {
    "id": "PET:2",
    "name": "cat",
    "synonyms": ["kitty", {"name": "chat", "lang": "fra", "scope": "label"}, {"name": "tabby", "scope": "narrow"}],
    "types": ["mammal"],
    "xrefs": ["UMLS:C1"],
    "parents": ["PET:1"],
    "alt_ids": ["PET:20"],
}
ANIMAL = {"id": "PET:1", "name": "animal", "definition": "It lives.", "types": ["group"]}
DOG = {"id": "PET:3", "name": "obsolete  dog", "retired": True, "replaced_by": ["PET:1"]}
PETS = [CAT, ANIMAL, DOG]


class Files:
    """Writes sources to a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, stem: str, records: list[dict[str, Any]], /, **options: object) -> dict[str, object]:
        path = self.folder / f"{stem}.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
        return {"type": "jsonl", "path": path, **options}


@pytest.fixture
def source(tmp_path):
    return Files(tmp_path)


def join(*sources: dict[str, object], **filters: object) -> tuple[Terminology, Report]:
    return read_terminology(validate(TerminologyConfig, {"sources": sources, "filters": filters}, where="test"))


def names(terminology: Terminology, concept: str) -> list[tuple[str, str, str, str]]:
    return [(n.text, n.lang, n.scope, n.source) for n in terminology[concept].names]


def test_one_source(source):
    terminology, report = join(source("pets", PETS))
    assert [c["id"] for c in terminology.concepts.to_pylist()] == ["PET:1", "PET:2"]
    assert terminology["PET:1"] == Concept(
        "PET:1",
        "animal",
        (Name("animal", "en", "preferred", "pets"),),
        types=("group",),
        definition="It lives.",
        source="pets",
    )
    assert terminology["PET:2"] == Concept(
        "PET:2",
        "cat",
        (
            Name("cat", "en", "preferred", "pets"),
            Name("kitty", "en", "exact", "pets"),
            Name("chat", "fr", "preferred", "pets"),
            Name("tabby", "en", "narrow", "pets"),
        ),
        types=("mammal",),
        xrefs=("UMLS:C1",),
        parents=("PET:1",),
        source="pets",
    )
    assert (report.concepts, report.names, report.retired) == (2, 5, 2)
    (counts,) = report.sources
    assert (counts.source, counts.read, counts.concepts, counts.names) == ("pets", 3, 2, 5)
    assert report.as_dict()["sources"][0]["path"].endswith("pets.jsonl")


def test_lookups(source):
    terminology, _ = join(source("pets", PETS))
    assert len(terminology) == 2
    assert terminology.n_names == 5
    assert "PET:2" in terminology
    assert "PET:20" not in terminology
    assert terminology.rows(["PET:2", "PET:3", "PET:1"]).tolist() == [1, -1, 0]
    assert terminology.first_name.tolist() == [0, 1, 5]
    assert terminology.name_concept.tolist() == [0, 1, 1, 1, 1]
    assert terminology.name_texts() == ["animal", "cat", "kitty", "chat", "tabby"]
    assert terminology.count_by("names", "lang") == {"en": 4, "fr": 1}
    assert terminology.count_by("concepts", "types") == {"group": 1, "mammal": 1}
    with pytest.raises(KeyError):
        terminology["PET:3"]


def test_retired_and_merged_ids(source):
    chain = {"id": "PET:0", "retired": True, "replaced_by": ["PET:3", "PET:20", "PET:404"]}
    loop = [{"id": f"PET:{a}", "retired": True, "replaced_by": [f"PET:{b}"]} for a, b in ((7, 8), (8, 7))]
    terminology, report = join(source("pets", [*PETS, chain, *loop]))
    assert terminology.resolve("PET:2") == ("PET:2",)
    assert terminology.resolve("PET:3") == ("PET:1",)
    assert terminology.resolve("PET:20") == ("PET:2",)
    assert terminology.resolve("PET:0") == ("PET:1", "PET:2")
    assert terminology.resolve("PET:7") == ()
    assert terminology.resolve("nothing") == ()
    assert terminology.retired.to_pylist()[1:3] == [
        {"id": "PET:20", "replaced_by": ["PET:2"], "name": None, "reason": "merged"},
        {"id": "PET:3", "replaced_by": ["PET:1"], "name": "obsolete dog", "reason": "obsolete"},
    ]
    assert report.retired == 5


def test_an_id_that_lives_in_another_source_is_not_retired(source):
    terminology, _ = join(source("pets", PETS), source("dogs", [{"id": "PET:3", "name": "dog"}]))
    assert terminology.resolve("PET:3") == ("PET:3",)
    assert "PET:3" not in terminology.retired.column("id").to_pylist()


def test_two_sources_of_one_concept(source):
    more = {
        "id": "PET:2",
        "name": "Felis catus",
        "synonyms": ["kitty", "mouser"],
        "types": ["species", "mammal"],
        "xrefs": ["UMLS:C1", "WIKI:cat"],
        "definition": "Says meow.",
    }
    terminology, report = join(source("pets", PETS), source("zoo", [more, {"id": "ZOO:1", "name": "lion"}], name="Zoo"))
    cat = terminology["PET:2"]
    assert (cat.name, cat.source, cat.definition) == ("cat", "pets", "Says meow.")
    assert (cat.types, cat.xrefs, cat.parents) == (("mammal", "species"), ("UMLS:C1", "WIKI:cat"), ("PET:1",))
    assert names(terminology, "PET:2")[4:] == [("Felis catus", "en", "exact", "Zoo"), ("mouser", "en", "exact", "Zoo")]
    assert terminology["ZOO:1"].source == "Zoo"
    assert (report.merged_concepts, report.duplicate_names) == (1, 1)
    assert [c.concepts for c in report.sources] == [2, 1]


def test_order_of_sources_is_precedence(source):
    zoo = source("zoo", [{"id": "PET:2", "name": "Felis catus"}])
    assert join(zoo, source("pets", PETS))[0]["PET:2"].name == "Felis catus"
    assert join(source("pets", PETS), zoo)[0]["PET:2"].name == "cat"


def test_overlay(source):
    records = [
        {"id": "PET:2", "name": "Katze", "synonyms": ["Mieze"], "types": ["Tier"], "xrefs": ["X:1"]},
        {"id": "PET:3", "name": "Hund"},
        {"id": "PET:20", "name": "Kater"},
        {"id": "PET:404", "name": "niemand"},
    ]
    terminology, report = join(source("pets", PETS), source("de", records, lang="de", overlay=True))
    assert names(terminology, "PET:2")[4:] == [
        ("Katze", "de", "preferred", "de"),
        ("Mieze", "de", "exact", "de"),
        ("Kater", "de", "exact", "de"),
    ]
    # a name for a retired id goes to what replaced it, and is no main name there
    assert names(terminology, "PET:1")[1:] == [("Hund", "de", "exact", "de")]
    assert (terminology["PET:2"].types, terminology["PET:2"].xrefs) == (("mammal",), ("UMLS:C1", "X:1"))
    assert report.sources[1].skipped == {"names for an id that no earlier source has": 1}
    assert report.sources[1].examples == {"names for an id that no earlier source has": ["PET:404"]}


def test_duplicate_ids(source):
    records = [CAT, ANIMAL, {"id": "PET:2", "name": "kit", "synonyms": ["mouser"]}]
    given = source("pets", records)
    with pytest.raises(DataError) as e:
        join(given)
    assert str(e.value) == (
        f"{given['path']}:3: duplicate id 'PET:2': named 'kit' here and 'cat' before (line 1); "
        "mend the file, or set `duplicates: merge` to keep the second as a further name"
    )
    terminology, _ = join(given | {"duplicates": "merge"})
    assert names(terminology, "PET:2")[4:] == [("kit", "en", "exact", "pets"), ("mouser", "en", "exact", "pets")]


def test_sources_of_one_name_are_still_two(source, tmp_path):
    first = source("pets", PETS)
    (tmp_path / "more").mkdir()
    second = Files(tmp_path / "more")("pets", [{"id": "PET:2", "name": "Felis catus"}])
    assert names(join(first, second)[0], "PET:2")[-1] == ("Felis catus", "en", "exact", "pets")


def test_one_name_is_kept_once(source):
    record = {"id": "A:1", "name": "Cat ", "synonyms": ["Cat", "C\u0327at\u00a0 x", "\u00c7at x", "cat", "\u200b "]}
    terminology, report = join(source("pets", [record]))
    assert [n[0] for n in names(terminology, "A:1")] == ["Cat", "Çat x", "cat"]
    assert report.duplicate_names == 2
    assert report.sources[0].skipped == {"empty name": 1}
    assert report.sources[0].examples == {"empty name": ["line 1"]}


def test_language_filters(source):
    brazil = {
        "id": "A:1",
        "name": "cat",
        "synonyms": [{"name": "gato", "lang": "pt_BR"}, {"name": "Katze", "lang": "de"}],
    }
    given = source("pets", [brazil])
    assert [n[0] for n in names(join(given, langs=["por"])[0], "A:1")] == ["gato"]
    terminology, report = join(given | {"langs": ["de"]}, langs=["pt", "de"])
    assert names(terminology, "A:1") == [("Katze", "de", "exact", "pets")]
    assert terminology["A:1"].name == "Katze"
    assert report.sources[0].skipped == {"name filtered out": 2}


def test_scope_type_and_source_filters(source):
    given = source("pets", PETS)
    assert [n[0] for n in names(join(given, scopes=["narrow", "exact"])[0], "PET:2")] == ["kitty", "tabby"]
    terminology, report = join(given, scopes=["narrow"])
    assert (len(terminology), report.without_names) == (1, 1)
    assert [n[0] for n in names(join(given | {"scopes": ["preferred"]})[0], "PET:2")] == ["cat", "chat"]
    terminology, report = join(given, types=["mammal"])
    assert [c["id"] for c in terminology.concepts.to_pylist()] == ["PET:2"]
    assert report.sources[0].skipped == {"concept of another type": 1}
    assert "PET:1" not in join(given | {"types": ["mammal"]})[0]
    zoo = source("zoo", [{"id": "PET:2", "name": "Felis catus"}])
    assert names(join(given, zoo, sources=["zoo"])[0], "PET:2") == [("Felis catus", "en", "preferred", "zoo")]


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        (
            {"scopes": ["exat"]},
            "terminology.filters.scopes: unknown 'exat'; known: preferred, exact, narrow, broad, related, alias",
        ),
        ({"sources": ["zoo"]}, "terminology.filters.sources: unknown 'zoo'; known: pets"),
        ({"lang": ["de"]}, "test: filters: unknown key 'lang'; did you mean 'langs'?"),
    ],
)
def test_bad_filters(source, filters, problem):
    with pytest.raises(ConfigError) as e:
        join(source("pets", PETS), **filters)
    assert str(e.value) == problem


def test_nothing_to_read_or_left(source):
    with pytest.raises(ConfigError, match=r"^terminology.sources: expected at least one source, found none$"):
        join()
    given = source("pets", PETS)
    with pytest.raises(DataError) as e:
        join(given, langs=["el"])
    assert str(e.value) == (
        f"no concept with a name is left of {given['path']}; look at the filters and the languages"
    )  # fmt: skip
    given = source("blank", [{"id": "A:1"}])
    with pytest.raises(DataError) as e:
        join(given)
    assert str(e.value) == f"{given['path']}: holds no concept; is it a file of this type, and whole?"


def test_record_without_an_id_is_counted(source):
    _, report = join(source("pets", [*PETS, {"id": " ", "name": "nobody"}]))
    assert report.sources[0].skipped == {"record without an id": 1}
    assert report.sources[0].examples == {"record without an id": ["line 4"]}


def test_fingerprint_is_of_the_content(source, tmp_path):
    terminology, _ = join(source("pets", PETS))
    same, _ = join(source("pets", [ANIMAL, DOG, CAT]))
    assert terminology.fingerprint == same.fingerprint
    table = tmp_path / "pets.tsv"
    table.write_text("id\tname\nA:1\tcat\n")
    as_table, _ = join({"type": "table", "path": table})
    as_lines, _ = join(source("pets", [{"id": "A:1", "name": "cat"}]))
    assert as_table.fingerprint == as_lines.fingerprint


def test_fingerprint_differs_on_any_change(source):
    changes: list[dict[str, Any]] = [
        {"id": "PET:4"},
        {"name": "cats"},
        {"synonyms": ["kitty", {"name": "chat", "lang": "fra", "scope": "label"}]},
        {"synonyms": [CAT["synonyms"][1], CAT["synonyms"][0], CAT["synonyms"][2]]},
        {"synonyms": ["kitty", {"name": "chat", "lang": "oc", "scope": "label"}, CAT["synonyms"][2]]},
        {"synonyms": ["kitty", CAT["synonyms"][1], {"name": "tabby", "scope": "broad"}]},
        {"types": []},
        {"types": ["mammal", "pet"]},
        {"xrefs": ["UMLS:C2"]},
        {"parents": []},
        {"definition": "Says meow."},
        {"alt_ids": []},
    ]
    prints = {join(source("pets", PETS))[0].fingerprint, join(source("pets", PETS, name="zoo"))[0].fingerprint}
    prints |= {join(source("pets", [CAT | change, ANIMAL, DOG]))[0].fingerprint for change in changes}
    prints.add(join(source("pets", [CAT, ANIMAL, DOG | {"replaced_by": []}]))[0].fingerprint)
    prints.add(join(source("pets", [CAT, ANIMAL, DOG | {"name": "obsolete hound"}]))[0].fingerprint)
    assert len(prints) == len(changes) + 4


def test_save_and_open(source, tmp_path):
    terminology, _ = join(source("pets", PETS))
    folder = tmp_path / "saved"
    folder.mkdir()
    terminology.save(folder)
    again = Terminology.open(folder)
    assert again.fingerprint == terminology.fingerprint
    for table in ("concepts", "names", "retired"):
        assert getattr(again, table).to_pylist() == getattr(terminology, table).to_pylist()
    assert again["PET:2"] == terminology["PET:2"]
    assert again.resolve("PET:20") == ("PET:2",)


def test_open_refuses_what_is_damaged(source, tmp_path):
    folder = tmp_path / "saved"
    folder.mkdir()
    join(source("pets", PETS))[0].save(folder)
    names_file, concepts_file = folder / "names.arrow", folder / "concepts.arrow"
    whole = names_file.read_bytes()
    names_file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"names\.arrow: cannot be read: "):
        Terminology.open(folder)
    names_file.write_bytes(concepts_file.read_bytes())
    with pytest.raises(ArtifactError, match=r"names\.arrow: has other columns than this xnorm writes$"):
        Terminology.open(folder)
    names_file.unlink()
    with pytest.raises(ArtifactError, match=r"names\.arrow: cannot be read: "):
        Terminology.open(folder)


def test_names_for_an_id_that_was_replaced_twice_reach_the_living_concept(source):
    chain = [{"id": "PET:00", "retired": True, "replaced_by": ["PET:0"]}]
    chain += [{"id": "PET:0", "retired": True, "replaced_by": ["PET:2"]}]
    given = source("pets", [*PETS, *chain])
    laid = source("french", [{"id": "PET:00", "name": "minou"}]) | {"overlay": True, "lang": "fr"}
    terminology, report = join(given, laid)
    assert ("minou", "fr", "exact", "french") in names(terminology, "PET:2")
    assert not report.sources[1].skipped


def test_ids_that_collide_are_counted(source):
    others = [{"id": "PET:2", "name": "Catapult"}, {"id": "PET:3", "name": "Bird"}]
    terminology, report = join(source("pets", PETS), source("siege", others))
    assert terminology["PET:2"].name == "cat"
    assert (report.merged_concepts, report.named_differently) == (1, 1)
    assert report.named_differently_examples == ["PET:2: 'cat', 'Catapult'"]
    _, report = join(source("pets", PETS), source("siege", others, overlay=True))
    assert report.named_differently == 0


def test_ids_are_translated_by_a_mapping(source, tmp_path):
    (tmp_path / "map.csv").write_text("theirs,ours\nK:1,PET:2\n", encoding="utf-8")
    records = [{"id": "K:1", "name": "Katze", "parents": ["K:2"]}, {"id": "K:2", "name": "Hund"}]
    mapping = {"type": "table", "path": str(tmp_path / "map.csv"), "columns": {"source": "theirs", "target": "ours"}}
    terminology, report = join(source("pets", PETS), source("katzen", records, lang="de", overlay=True, map=mapping))
    assert ("Katze", "de", "preferred", "katzen") in names(terminology, "PET:2")
    assert terminology["PET:2"].xrefs == ("UMLS:C1", "K:1")
    assert report.sources[1].skipped == {"concept without a target in the mapping": 1}
    assert report.sources[1].mapping["rows"] == 1
    assert str(tmp_path / "map.csv") in report.sources[1].files


def test_equivalent_concepts_are_merged_if_wanted(source):
    other = [{"id": "ZOO:7", "name": "Felis", "xrefs": ["PET:2"]}]
    sources = [source("pets", PETS), source("zoo", other)]
    assert len(join(*sources)[0]) == 3
    terminology, report = read_terminology(TerminologyConfig(sources=sources, merge={}))
    assert len(terminology) == 2
    assert ("Felis", "en", "exact", "zoo") in names(terminology, "PET:2")
    assert terminology.resolve("ZOO:7") == ("PET:2",)
    assert report.merge.groups == 1
    assert report.as_dict()["merge"]["by_sources"] == {"pets + zoo": 1}


def test_homonyms_are_told_apart_if_wanted(source):
    records = [
        {"id": "X:1", "name": "Cold", "types": ["disease"]},
        {"id": "X:2", "name": "Cold", "types": ["sensation"]},
    ]
    terminology, _ = read_terminology(TerminologyConfig(sources=[source("colds", records)], homonyms="qualify"))
    assert [terminology[i].name for i in ("X:1", "X:2")] == ["Cold (disease)", "Cold (sensation)"]
    assert [n[0] for n in names(terminology, "X:1")] == ["Cold (disease)", "Cold"]
