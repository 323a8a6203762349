"""Equivalent concepts of different sources made one, against a plain-Python oracle."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from xnorm.config import validate
from xnorm.errors import ConfigError, DataError
from xnorm.merging import MergeConfig, MergeReport, merge_equivalent
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import NAMES, Terminology
from xnorm.types import Concept, Name

PETS = [
    {
        "id": "PET:1", "name": "cat", "synonyms": ["kitty", {"name": "chat", "lang": "fr", "scope": "label"}],
        "types": ["pet"], "xrefs": ["ZOO:10", "UMLS:C1"], "parents": ["PET:9"], "alt_ids": ["PET:11"],
    },
    {"id": "PET:2", "name": "dog", "xrefs": ["UMLS:C2"]},
    {"id": "PET:9", "name": "pet", "xrefs": ["UMLS:C9"], "definition": "At home."},
]  # fmt: skip
ZOO = [
    {
        "id": "ZOO:10", "name": "Felis catus",
        "synonyms": [
            "mouser", {"name": "kitty", "scope": "related"}, {"name": "minou", "lang": "fr", "scope": "label"},
            {"name": "gato", "lang": "es", "scope": "label"},
        ],
        "types": ["animal", "pet"], "xrefs": ["UMLS:C1", "WIKI:cat"], "parents": ["ZOO:90", "ZOO:91"],
        "definition": "Says meow.",
    },
    {"id": "ZOO:20", "name": "dog", "xrefs": ["UMLS:C2"], "parents": ["ZOO:90"]},
    {"id": "ZOO:30", "name": "gnu", "xrefs": ["PET:11"], "parents": ["ZOO:10"]},
    {"id": "ZOO:90", "name": "animal", "xrefs": ["UMLS:C9"], "parents": ["ZOO:30"], "definition": "It lives."},
    {"id": "ZOO:91", "name": "thing"},
]  # fmt: skip


def source(tmp_path: Path, name: str, records: list[dict[str, Any]], **options: object) -> dict[str, Any]:
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return {"type": "jsonl", "path": path, "name": name, **options}


def joined(*sources: dict[str, Any]) -> Terminology:
    return read_terminology(validate(TerminologyConfig, {"sources": sources}, where="test"))[0]


def with_vocabularies(terminology: Terminology, vocabularies: dict[tuple[str, str], str]) -> Terminology:
    """Return a terminology whose names of a source and a text have a vocabulary for a source, as those of UMLS do."""
    names = terminology.names
    pairs = zip(*(names.column(c).to_pylist() for c in ("source", "text")), strict=True)
    tags = pa.array([vocabularies.get(pair, pair[0]) for pair in pairs]).cast(NAMES.field("source").type)
    names = names.set_column(NAMES.get_field_index("source"), NAMES.field("source"), tags)
    return Terminology(terminology.concepts, names, terminology.retired)


def settings(**options: object) -> MergeConfig:
    return validate(MergeConfig, options, where="test")


def concepts(terminology: Terminology) -> list[Concept]:
    return [terminology[row] for row in range(len(terminology))]


def test_two_concepts_become_one(tmp_path):
    french = source(tmp_path, "fr", [{"id": "PET:1", "name": "mistigri"}], lang="fr", overlay=True)
    pets = joined(source(tmp_path, "Pets", PETS[:1]), french, source(tmp_path, "Zoo", ZOO[:1]))
    merged, report = merge_equivalent(pets, settings(), ["Pets", "fr", "Zoo"])
    assert concepts(merged) == [
        Concept(
            "PET:1",
            "cat",
            (
                Name("cat", "en", "preferred", "Pets"),
                Name("kitty", "en", "exact", "Pets"),
                Name("chat", "fr", "preferred", "Pets"),
                Name("mistigri", "fr", "exact", "fr"),
                Name("Felis catus", "en", "exact", "Zoo"),
                Name("mouser", "en", "exact", "Zoo"),
                Name("minou", "fr", "exact", "Zoo"),
                Name("gato", "es", "preferred", "Zoo"),
            ),
            types=("pet", "animal"),
            xrefs=("ZOO:10", "UMLS:C1", "WIKI:cat"),
            parents=("PET:9", "ZOO:90", "ZOO:91"),
            definition="Says meow.",
            source="Pets",
        )
    ]
    assert merged.retired.to_pylist() == [
        {"id": "PET:11", "replaced_by": ["PET:1"], "name": None, "reason": "merged"},
        {"id": "ZOO:10", "replaced_by": ["PET:1"], "name": "Felis catus", "reason": "merged"},
    ]
    assert merged.resolve("ZOO:10") == ("PET:1",)
    assert (report.groups, report.by_sources, report.direct_links) == (1, {"Pets + Zoo": 1}, 1)
    assert (report.concepts_before, report.concepts, report.names_before, report.names) == (2, 1, 9, 8)
    assert report.examples == {"merged": ["PET:1 'cat', ZOO:10 'Felis catus'"]}


def test_a_later_source_may_come_first(tmp_path):
    pets = joined(source(tmp_path, "Pets", PETS[:1]), source(tmp_path, "Zoo", ZOO[:1]))
    merged, _ = merge_equivalent(pets, settings(), ["Zoo", "Pets"])
    (cat,) = concepts(merged)
    assert (cat.id, cat.name, cat.source, cat.types) == ("ZOO:10", "Felis catus", "Zoo", ("animal", "pet"))
    assert [n.text for n in cat.names] == ["Felis catus", "mouser", "kitty", "minou", "gato", "cat", "chat"]
    # the second copy of a name does not change the scope of the first, unless it is preferred
    assert cat.names[2] == Name("kitty", "en", "related", "Zoo")
    assert merged.resolve("PET:11") == ("ZOO:10",)


CAT = [{"id": "UMLS:C1", "name": "Cat", "synonyms": ["Kitty", {"name": "Chat", "lang": "fr", "scope": "label"}]}]
FELIS = [
    {
        "id": "HP:1", "name": "Felis", "synonyms": ["Kitty", {"name": "Minet", "lang": "fr", "scope": "label"}],
        "xrefs": ["UMLS:C1", "HP:1", "MSH:1"],
    }
]  # fmt: skip


@pytest.mark.parametrize(
    "vocabularies",
    [
        {},
        {"Cat": "ZZ", "Kitty": "AA", "Chat": "MSHFRE"},
        # vocabularies that sources are called by; that of the last name is none
        {"Cat": "HPO", "Kitty": "fr", "Chat": "MSHFRE"},
    ],
)
def test_names_that_have_a_vocabulary_for_a_source(tmp_path, vocabularies):
    """They come where their concept's source comes, and those laid over where theirs comes."""
    order = ["UMLS", "Pets", "HPO", "fr"]
    french = source(tmp_path, "fr", [{"id": "UMLS:C1", "name": "Mistigri"}], lang="fr", overlay=True)
    pets = source(tmp_path, "Pets", [{"id": "PET:1", "name": "pet", "xrefs": ["UMLS:C1"]}])
    terminology = joined(source(tmp_path, "UMLS", CAT), pets, source(tmp_path, "HPO", FELIS), french)
    terminology = with_vocabularies(terminology, {("UMLS", text): v for text, v in vocabularies.items()})
    merged, _ = merge_equivalent(terminology, settings(), order)
    (cat,) = concepts(merged)
    assert (cat.id, cat.name, cat.source) == ("UMLS:C1", "Cat", "UMLS")
    own = {text: vocabularies.get(text, "UMLS") for text in ("Cat", "Kitty", "Chat")}
    assert cat.names == (
        Name("Cat", "en", "preferred", own["Cat"]),
        Name("Kitty", "en", "exact", own["Kitty"]),
        Name("Chat", "fr", "preferred", own["Chat"]),
        Name("pet", "en", "exact", "Pets"),
        Name("Felis", "en", "exact", "HPO"),
        Name("Minet", "fr", "exact", "HPO"),
        Name("Mistigri", "fr", "exact", "fr"),
    )


def test_a_vocabulary_of_a_later_source(tmp_path):
    terminology = joined(source(tmp_path, "HPO", FELIS), source(tmp_path, "UMLS", CAT))
    terminology = with_vocabularies(terminology, {("UMLS", "Cat"): "AA", ("HPO", "Felis"): "ZZ"})
    merged, _ = merge_equivalent(terminology, settings(), ["HPO", "UMLS"])
    (cat,) = concepts(merged)
    assert [(n.text, n.scope) for n in cat.names] == [
        ("Felis", "preferred"), ("Kitty", "exact"), ("Minet", "preferred"), ("Cat", "exact"), ("Chat", "exact"),
    ]  # fmt: skip


def test_an_xref_to_the_concept_itself(tmp_path):
    """It goes with the merge; one to an id that became part of the concept stays, and so does what was not merged."""
    zoo = [{"id": "ZOO:1", "name": "gnu", "xrefs": ["ZOO:1"]}]
    sources = (source(tmp_path, n, r) for n, r in (("UMLS", CAT), ("HPO", FELIS), ("Zoo", zoo)))
    merged, _ = merge_equivalent(joined(*sources), settings(), ["UMLS", "HPO", "Zoo"])
    assert {c.id: c.xrefs for c in concepts(merged)} == {"UMLS:C1": ("HP:1", "MSH:1"), "ZOO:1": ("ZOO:1",)}


def test_shared_xrefs_and_parents(tmp_path):
    pets = joined(source(tmp_path, "Pets", PETS), source(tmp_path, "Zoo", ZOO))
    merged, report = merge_equivalent(pets, settings(direct=False, prefixes=["UMLS"]), ["Pets", "Zoo"])
    assert [c.id for c in concepts(merged)] == ["PET:1", "PET:2", "PET:9", "ZOO:30", "ZOO:91"]
    assert {c.id: c.parents for c in concepts(merged)} == {
        "PET:1": ("PET:9", "ZOO:91"),  # PET:9, and ZOO:90, which is PET:9 now
        "PET:2": ("PET:9",),
        "PET:9": ("ZOO:30",),
        "ZOO:30": ("PET:1",),
        "ZOO:91": (),
    }
    assert merged["PET:9"].definition == "At home."
    assert [(n.text, n.source) for n in merged["PET:2"].names] == [("dog", "Pets")]
    assert (report.groups, report.shared_links, report.direct_links, report.conflicts) == (3, 3, 0, 0)


def test_an_id_that_became_part_of_a_concept_links_to_it(tmp_path):
    pets = joined(source(tmp_path, "Pets", PETS[:1]), source(tmp_path, "Zoo", ZOO[2:3]))
    merged, _ = merge_equivalent(pets, settings(), ["Pets", "Zoo"])
    assert [c.id for c in concepts(merged)] == ["PET:1"]
    assert merged["PET:1"].parents == ("PET:9", "ZOO:10")


def test_conflicts_are_left_and_told(tmp_path):
    # ZOO:30 is PET:1 by its old id, and so is ZOO:10
    pets = joined(source(tmp_path, "Pets", PETS), source(tmp_path, "Zoo", ZOO))
    merged, report = merge_equivalent(pets, settings(prefixes=["UMLS"]), ["Pets", "Zoo"])
    assert [c.id for c in concepts(merged)] == ["PET:1", "PET:2", "PET:9", "ZOO:10", "ZOO:30", "ZOO:91"]
    assert concepts(merged)[3] == replace(pets["ZOO:10"], parents=("PET:9", "ZOO:91"))
    assert report.as_dict() == {
        "concepts_before": 8, "concepts": 6, "names_before": 14, "names": 13, "groups": 2,
        "by_sources": {"Pets + Zoo": 2}, "direct_links": 2, "shared_links": 3, "conflicts": 1,
        "conflicting_concepts": 3, "largest_conflict": 3, "several_targets": 1, "several_owners": 0,
        "examples": {
            "several targets": ["PET:1 'cat': ZOO:10 'Felis catus', ZOO:30 'gnu'"],
            "merged": ["PET:2 'dog', ZOO:20 'dog'", "PET:9 'pet', ZOO:90 'animal'"],
            "conflict": ["PET:1 'cat', ZOO:10 'Felis catus', ZOO:30 'gnu'"],
        },
    }  # fmt: skip


def test_an_xref_that_a_source_has_twice(tmp_path):
    pets = [{"id": f"PET:{n}", "name": f"pet {n}", "xrefs": ["UMLS:C1"]} for n in range(9)]
    zoo, farm = ([{"id": f"{p}:1", "name": p, "xrefs": ["UMLS:C1"]}] for p in ("ZOO", "FARM"))
    terminology = joined(*(source(tmp_path, n, r) for n, r in (("Pets", pets), ("Zoo", zoo), ("Farm", farm))))
    merged, report = merge_equivalent(terminology, settings(prefixes=["UMLS"]), ["Pets", "Zoo", "Farm"])
    assert (len(merged), report.conflicts, report.several_owners, report.several_targets) == (11, 1, 1, 0)
    # `trim` leaves out what is not clear, and keeps the rest
    trimmed, report = merge_equivalent(
        terminology, settings(prefixes=["UMLS"], conflicts="trim"), ["Pets", "Zoo", "Farm"]
    )
    assert (len(trimmed), report.conflicts, report.groups) == (10, 0, 1)
    assert "FARM:1" not in trimmed
    (told,) = report.examples["several owners"]
    assert told.startswith("UMLS:C1: PET:0 'pet 0', PET:1 'pet 1', ")
    assert told.endswith(", PET:5 'pet 5', and 3 more")


def test_links_of_one_source_are_none(tmp_path):
    pets = [
        {"id": "PET:1", "name": "a", "xrefs": ["PET:2", "UMLS:C1"]},
        {"id": "PET:2", "name": "b", "xrefs": ["UMLS:C1"]},
    ]
    terminology = joined(source(tmp_path, "Pets", pets), source(tmp_path, "Zoo", ZOO[4:]))
    merged, report = merge_equivalent(terminology, settings(prefixes=["UMLS"]), ["Pets", "Zoo"])
    assert merged.fingerprint == terminology.fingerprint
    assert report == MergeReport(concepts_before=3, concepts=3, names_before=3, names=3)


def test_trimming_leaves_what_is_chained(tmp_path):
    """A is B, B is C, and C is another concept of A's source: every link is clear, the group is not."""
    a = [{"id": "A:1", "name": "a", "xrefs": ["B:1"]}, {"id": "A:2", "name": "aa"}]
    b, c = [{"id": "B:1", "name": "b", "xrefs": ["C:1"]}], [{"id": "C:1", "name": "c", "xrefs": ["A:2"]}]
    terminology = joined(*(source(tmp_path, n, r) for n, r in (("A", a), ("B", b), ("C", c))))
    for conflicts in ("skip", "trim"):
        merged, report = merge_equivalent(terminology, settings(conflicts=conflicts), ["A", "B", "C"])
        assert (len(merged), report.conflicts, report.largest_conflict) == (4, 1, 4)


def test_mappings_link(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("source,target,p\nZOO:91,PET:2,exact\nZOO:10,PET:2,broad\nZOO:20,PET:404,exact\n")
    mapping = {"type": "table", "path": path, "columns": {"predicate": "p"}}
    terminology = joined(source(tmp_path, "Pets", PETS), source(tmp_path, "Zoo", ZOO))
    merged, report = merge_equivalent(terminology, settings(direct=False, mappings=[mapping]), ["Pets", "Zoo"])
    assert (report.groups, report.direct_links) == (1, 1)
    assert [n.text for n in merged["PET:2"].names] == ["dog", "thing"]
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        merge_equivalent(terminology, settings(mappings=[mapping]), [])


def test_settings():
    with pytest.raises(ConfigError, match="nothing says which concepts are the same"):
        settings(direct=False)
    with pytest.raises(ConfigError, match="conflicts: Input should be 'skip' or 'trim'"):
        settings(conflicts="merge")


def test_saved_and_opened_again(tmp_path):
    terminology = joined(source(tmp_path, "Pets", PETS), source(tmp_path, "Zoo", ZOO))
    merged, _ = merge_equivalent(terminology, settings(prefixes=["UMLS"]), ["Pets", "Zoo"])
    merged.save(tmp_path)
    opened = Terminology.open(tmp_path)
    assert opened.fingerprint == merged.fingerprint
    again, report = merge_equivalent(opened, settings(direct=False, prefixes=["UMLS"]), ["Pets", "Zoo"])
    assert report.groups == 1  # ZOO:10 and PET:1, without the old id between them and ZOO:30
    assert again.resolve("ZOO:20") == ("PET:2",)


# the oracle


def made_up(seed: int) -> dict[str, list[dict[str, Any]]]:
    """Three sources whose concepts share names, xrefs and one another's ids at random, and names laid over two."""
    rng = random.Random(seed)
    ids = {s: [f"{s}:{n}" for n in range(rng.randint(1, 12))] for s in "ABC"}
    everything = [i for own in ids.values() for i in own]
    found: dict[str, list[dict[str, Any]]] = {}
    for s, own in ids.items():
        found[s] = [
            {
                "id": i,
                "name": rng.choice("xyz"),
                "synonyms": some_names(rng),
                "types": rng.choices("pqr", k=rng.randint(0, 2)),
                "xrefs": rng.sample([*everything, *(f"U:{n}" for n in range(9)), "V:1"], rng.choice([0, 0, 1, 2])),
                "parents": rng.sample(sorted({*everything, "Z:1"} - {i}), rng.randint(0, 3)),
                "definition": rng.choice([None, f"It is {i}."]),
            }
            for i in own
        ]
    # no preferred names: which one of several was laid over is forgotten
    over = [i for i in ids["C"] + ids["A"] if rng.random() < 0.5]
    found["over"] = [{"id": i, "synonyms": some_names(rng, "narrow related exact".split())} for i in over]
    return found


def some_names(
    rng: random.Random, scopes: Sequence[str] = ("label", "exact", "narrow", "broad", "related")
) -> list[dict[str, str]]:
    return [
        {"name": rng.choice("xyzuvw"), "lang": rng.choice(["en", "fr"]), "scope": rng.choice(scopes)}
        for _ in range(rng.randint(0, 4))
    ]


def groups_of(terminology: Terminology, conflicts: str, prefixes: tuple[str, ...]) -> dict[str, str]:
    """Return what each id becomes part of, in plain Python."""
    everything = {c.id: c for c in concepts(terminology)}
    source_of = {i: c.source for i, c in everything.items()}
    links: set[frozenset[str]] = set()
    for i, c in everything.items():
        links |= {frozenset((i, x)) for x in c.xrefs if x in everything and source_of[x] != c.source}
    holders: dict[str, list[str]] = defaultdict(list)
    for i, c in everything.items():
        for x in c.xrefs:
            if x.startswith(prefixes):
                holders[x].append(i)
    for owners in holders.values():
        if len({source_of[o] for o in owners}) < 2:
            continue
        per_source = Counter(source_of[o] for o in owners)
        if conflicts == "trim":
            owners = [o for o in owners if per_source[source_of[o]] == 1]
            links |= {frozenset(pair) for pair in combinations(owners, 2)}
        else:  # all hang together, those of one source too
            links |= {frozenset((owners[0], o)) for o in owners[1:]}
    if conflicts == "trim":
        partners = Counter((i, source_of[o]) for link in links for i, o in (tuple(link), tuple(link)[::-1]))
        links = {k for k in links if all(partners[i, source_of[o]] == 1 for i, o in (tuple(k), tuple(k)[::-1]))}
    group = {i: {i} for i in everything}
    for link in links:
        a, b = link
        union = group[a] | group[b]
        for i in union:
            group[i] = union
    into = {}
    for i, members in group.items():
        clear = len({source_of[m] for m in members}) == len(members)
        into[i] = min(members, key=lambda m: "CAB".index(source_of[m])) if clear else i
    return into


@pytest.mark.parametrize("conflicts", ["skip", "trim"])
@pytest.mark.parametrize("seed", range(40))
def test_as_if_they_had_had_one_id(tmp_path, conflicts, seed):
    """Merging gives what reading gives if the sources call the concepts by one id."""
    records = made_up(seed)
    order = ["C", "A", "over", "B"]

    def sources() -> list[dict[str, Any]]:
        return [source(tmp_path, s, records[s], overlay=s == "over") for s in order]

    # names of overlays keep their source, which tells that they were laid over
    drawn = random.Random(seed)
    vocabularies = {(s, t): v for s in "ABC" for t in "xyzuvw" if (v := drawn.choice(["", "0", "Bb", "z"]))}
    terminology = with_vocabularies(joined(*sources()), vocabularies)
    merged, report = merge_equivalent(terminology, settings(prefixes=["U"], conflicts=conflicts), order)
    into = groups_of(terminology, conflicts, ("U:",))
    size = Counter(into.values())
    for own in records.values():
        for r in own:
            r["id"] = into[r["id"]]
            parents = dict.fromkeys(into.get(p, p) for p in r.get("parents", ()))
            r["parents"] = [p for p in parents if p != r["id"]]
            r["xrefs"] = [x for x in r.get("xrefs", ()) if x != r["id"] or size[x] == 1]
    expected = with_vocabularies(joined(*sources()), vocabularies)
    assert concepts(merged) == concepts(expected)
    gone = sorted(i for i in into if into[i] != i)
    assert [(r["id"], r["replaced_by"], r["reason"]) for r in merged.retired.to_pylist()] == [
        (i, [into[i]], "merged") for i in gone
    ]
    assert report.groups == len({into[i] for i in gone})
    assert report.concepts == len(into) - len(gone)
    assert merged.first_name.tolist() == expected.first_name.tolist()
    assert merged.name_concept.tolist() == expected.name_concept.tolist()
