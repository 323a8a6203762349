"""Clean-up stages: what is dropped, changed and counted, value by value."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cleanup_data import gold, refused, run, run_parts, stage, typed
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorm.cleanup.base import Parts, StageReport, gold_rows, with_gold
from xnorm.errors import ConfigError
from xnorm.registry import find_component, list_components
from xnorm.semantic_types import GROUPS, TYPE_NAMES, WITHDRAWN, expand_types, spellings
from xnorm.types import Mention

# what the contract needs of each variant: settings under which it has something to do
OPTIONS: dict[str, dict[str, Any]] = {
    "types": {"map": {"DISO": ["T047", "T033"]}, "drop": ["GEOG"]},
    "concept_types": {"types": ["DISO"], "umls": True, "outside": "drop"},
    "retired": {},
    "xrefs": {},
    "merge_duplicates": {},
    "without_gold": {"no_text": True},
    "outside_terminology": {"trim": True},
    "sample": {"mentions": 0.5},
    "languages": {"langs": ["en"]},
    "name_overlap": {},
}


def some_parts() -> dict[str, list[Mention]]:
    """Return mentions of all kinds, some of them twice."""
    rng = random.Random(7)
    ids = ["K:1", "K:2", "K:3", "K:4", "K:5", "K:20", "K:90", "K:92", "K:93", "M:1", "M:2", "M:4", "X1"]
    parts: dict[str, list[Mention]] = {"dev": [], "test": [], "empty": []}
    for n in range(300):
        chosen = tuple(rng.sample(ids, rng.choice((0, 1, 1, 1, 2))))
        start = rng.randrange(3)
        parts[rng.choice(("dev", "test"))].append(
            Mention(
                text=rng.choice(("Cold", "Herz", "fever", "")),
                id=f"m{n}",
                lang=rng.choice(("en", "en-gb", "de", None)),
                types=tuple(rng.sample(("DISO", "GEOG", "CHEM"), rng.choice((0, 1, 2)))),
                spans=rng.choice(((), ((start, start + 4),))),
                gold=chosen,
                composite=len(chosen) > 1 and rng.random() < 0.3,
                document=rng.choice((None, "d1", "d2")),
            )
        )
    return parts


@pytest.mark.parametrize("type_name", list_components("cleanup"))
def test_contract(kb, type_name):
    assert type_name in OPTIONS, "a new stage needs a row in OPTIONS"
    parts = some_parts()
    before = copy.deepcopy(parts)
    left, report = run_parts(kb, parts, type_name, **OPTIONS[type_name])
    assert parts == before
    assert list(left) == list(parts)
    assert left["empty"] == []
    assert report.dropped or report.changed
    for part, mentions in left.items():
        places = {m.id: at for at, m in enumerate(parts[part])}
        order = [places[m.id] for m in mentions]
        assert order == sorted(set(order))
        assert mentions is not parts[part]
        assert all(m.composite <= (len(m.gold) > 1) for m in mentions)
    # once more, and through a YAML-like round trip of its config
    again = StageReport(type_name)
    config = stage(type_name, **OPTIONS[type_name]).config
    settings = config.model_dump(mode="json")
    assert stage(settings.pop("type"), **settings).apply(parts, kb, again) == left
    assert again.as_dict() == report.as_dict()
    assert json.loads(json.dumps(report.as_dict()))["dropped"] == dict(report.dropped)
    # nothing comes of nothing
    assert run_parts(kb, {}, type_name, **OPTIONS[type_name])[0] == {}


@pytest.mark.parametrize("type_name", list_components("cleanup"))
def test_every_parameter_is_described(type_name):
    for name, field in find_component("cleanup", type_name).config_class.model_fields.items():
        assert field.description or name == "type", f"{type_name}.{name}"


def test_helpers(kb):
    assert gold_rows({"a": [gold("K:3", "K:90")], "b": [gold("K:1", "K:3")]}, kb) == {"K:3": 2, "K:1": 0}
    both = gold("A", "B", composite=True)
    assert with_gold(both, ["A", "B"]) is both
    assert with_gold(both, ["C", "D"]) == gold("C", "D", composite=True)
    assert with_gold(both, ["C", "C"]) == gold("C")


# --- semantic types ---------------------------------------------------------------------------------------------------


def test_semantic_network_is_the_published_one():
    sizes = "ACTI9 ANAT11 CHEM26 CONC12 DEVI3 DISO12 GENE5 GEOG1 LIVB21 OBJC5 OCCU2 ORGA4 PHEN6 PHYS9 PROC7"
    assert " ".join(f"{group}{len(types)}" for group, types in GROUPS.items()) == sizes
    assert len(TYPE_NAMES) == len(set(TYPE_NAMES.values())) == 133
    assert len(TYPE_NAMES.keys() - WITHDRAWN) == 127
    assert set(GROUPS["CHEM"]) > WITHDRAWN
    assert TYPE_NAMES["T116"] == "Amino Acid, Peptide, or Protein"
    # of the sorted `group|id|name` of SemGroups.txt, v03 (with the withdrawn types) and v04
    for without, digest in (
        (frozenset(), "e25e90ca58aad0ae8eee10e3081c1bec0cab6d1176c6f7276c7c3df95a485cce"),
        (WITHDRAWN, "3170e22fd1164f6c28132d1df286a4de41a0ba7df2d774ae0d789ba59db6090d"),
    ):
        lines = [f"{g}|{t}|{TYPE_NAMES[t]}" for g, types in GROUPS.items() for t in types if t not in without]
        assert hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest() == digest


def test_expand_types():
    words = ["GEOG", "OCCU", "T047", "Finding"]
    assert expand_types(words) == {"T083", "T090", "T091", "T047", "T033"}
    assert expand_types([]) == frozenset()
    assert spellings(["GEOG", "T047", "Finding"]) == {
        "GEOG", "T083", "Geographic Area", "T047", "Disease or Syndrome", "T033", "Finding",
    }  # fmt: skip
    assert words == ["GEOG", "OCCU", "T047", "Finding"]
    for wrong, hint in (
        ("DISSO", "did you mean 'DISO'?"),
        ("Disease or Syndrom", "did you mean 'Disease or Syndrome'?"),
        ("T999", "did you mean 'T099'?"),
        ("qqq", "known: ACTI, ANAT, CHEM"),
    ):
        with pytest.raises(ConfigError, match=f"'{wrong}' is no semantic group or type of UMLS; ") as caught:
            expand_types(["DISO", wrong])
        assert hint in str(caught.value)


# --- types ------------------------------------------------------------------------------------------------------------


def test_types_keeps_and_drops(kb):
    mentions = [typed("a"), typed("b"), typed("c", "a"), typed(), typed("b", "c"), typed("c")]
    left, report = run(kb, mentions, "types", keep=["a", "b"], drop=["b"])
    assert left == [typed("a"), typed("a")]
    assert report.dropped == {"type b": 1, "without a type": 1, "type b, c": 1, "type c": 1}
    assert report.changed == {"type c taken off a mention with other types": 1}
    left, report = run(kb, mentions, "types", drop=["c"])
    assert left == [typed("a"), typed("b"), typed("a"), typed(), typed("b")]
    assert report.dropped == {"type c": 1}


def test_types_maps(kb):
    mentions = [typed("Chemical"), typed("Disease", "Chemical"), typed("Gene"), typed("Disease", "Gene")]
    mapping = {"Chemical": "T103", "Disease": ["T047", "T103", "T033"], "Speces": "T001"}
    left, report = run(kb, mentions, "types", map=mapping)
    assert [m.types for m in left] == [("T103",), ("T047", "T103", "T033"), ("Gene",), ("T047", "T103", "T033", "Gene")]
    assert report.changed == {
        "entity type in the settings that no mention has": 1,
        "type Chemical mapped to T103": 2,
        "type Disease mapped to T047, T103, T033": 2,
    }
    assert report.examples["entity type in the settings that no mention has"] == ["Speces"]
    left, report = run(kb, mentions, "types", map=mapping, unmapped="drop")
    assert [m.types for m in left] == [("T103",), ("T047", "T103", "T033"), ("T047", "T103", "T033")]
    assert report.dropped == {"type Gene": 1}
    with pytest.raises(ConfigError, match="no entry for the entity type 'Gene' of 2 mentions; known: Chemical"):
        run(kb, mentions, "types", map=mapping, unmapped="error")
    # what is not kept needs no entry
    assert len(run(kb, mentions, "types", map=mapping, unmapped="error", drop=["Gene"])[0]) == 3


def test_types_of_umls(kb):
    mentions = [typed("DISO"), typed("T047"), typed("Disease or Syndrome"), typed("T033"), typed("Finding"), typed("X")]
    left, report = run(kb, mentions, "types", umls=True, keep=["DISO"], drop=["T033"])
    assert [m.types[0] for m in left] == ["DISO", "T047", "Disease or Syndrome"]
    assert report.dropped == {"type T033": 1, "type Finding": 1, "type X": 1}
    # the group itself is not among the types that a type stands for
    left, _ = run(kb, mentions, "types", umls=True, keep=["T047"])
    assert [m.types[0] for m in left] == ["T047", "Disease or Syndrome"]
    left, report = run(kb, mentions[:1], "types", umls=True, map={"DISO": ["OCCU", "Geographic Area", "T001"]})
    assert left == [typed("T001", "T083", "T090", "T091")]
    assert report.changed == {"type DISO mapped to T001, T083, T090 and 1 more": 1}


def test_types_refuses():
    assert "nothing to do" in refused("types")
    assert "map.A: expected a concept type" in refused("types", map={"A": []})
    assert "keep: 'DISSO' is no semantic group" in refused("types", keep=["DISSO"], umls=True)
    assert "drop: 'T999'" in refused("types", drop=["T999"], umls=True)
    assert "Entity: 'diso'" in refused("types", map={"Entity": "diso"}, umls=True)
    assert stage("types", keep=["DISSO"])


# --- concept_types ----------------------------------------------------------------------------------------------------


def test_concept_types(kb):
    mentions = [
        gold("K:1"),
        gold("K:3"),
        gold("K:3", "K:4"),
        gold("K:1", "K:3", composite=True),
        gold("K:1", "K:2", composite=True),
        gold("K:5"),
        gold("X:1", "K:3"),
        gold("X:1"),
        gold(),
    ]
    # K:1 by T047, K:2 by T033, K:4 by name
    left, report = run(kb, mentions, "concept_types", types=["DISO"], umls=True)
    assert left == [mentions[n] for n in (0, 2, 4, 7, 8)]
    assert report.dropped == {"concept type T023": 3, "concept without a type": 1}
    assert report.changed == {"gold outside the terminology": 1, "without gold": 1}
    assert report.examples["concept type T023"] == ["K:3", "K:1, K:3"]
    left, report = run(kb, mentions, "concept_types", types=["fever"], outside="drop")
    assert left == [mentions[2]]
    assert report.dropped == {
        "concept type T047": 1, "concept type T023": 2, "concept type T023, T047": 1, "concept type T033, T047": 1,
        "concept without a type": 1, "gold outside the terminology": 1, "without gold": 1,
    }  # fmt: skip


def test_concept_types_refuses(kb, terminology):
    assert "types: 'DISOO' is no semantic group" in refused("concept_types", types=["DISOO"], umls=True)
    assert "types" in refused("concept_types", types=[])
    with pytest.raises(ConfigError, match=r"no concept has the type 'T04'; did you mean 'T047'\?"):
        run(kb, [], "concept_types", types=["T04"])
    with pytest.raises(
        ConfigError, match="no concept of the terminology is of GEOG, T001; its types are Sign or Symptom, T023"
    ):
        run(kb, [], "concept_types", types=["GEOG", "T001"], umls=True)
    with pytest.raises(ConfigError, match="have no types"):
        run(terminology, [], "concept_types", types=["DISO"], umls=True)


# --- without_gold, outside_terminology, languages ---------------------------------------------------------------------


def test_without_gold(kb):
    mentions = [gold("K:1"), gold(), Mention(" ", id="7", gold=("K:1",)), Mention("")]
    left, report = run(kb, mentions, "without_gold")
    assert left == [mentions[0], mentions[2]]
    assert report.dropped == {"without gold": 2}
    left, report = run(kb, mentions, "without_gold", no_text=True)
    assert left == mentions[:1]
    assert report.dropped == {"without gold": 2, "without text": 1}
    assert report.examples["without text"] == ["7"]


def test_outside_terminology(kb):
    mentions = [
        gold("K:1"),
        gold("X:1"),
        gold("X:2", "K:1", "Y:1", "K:3"),
        gold("K:1", "Y:1", composite=True),
        gold("K:1", "K:3", composite=True),
        gold("Y:1", "K:90", "bare"),
        gold(),
    ]
    left, report = run(kb, mentions, "outside_terminology")
    assert left == [mentions[n] for n in (0, 2, 4, 6)]
    assert report.dropped == {
        "gold outside the terminology (X)": 1,
        "gold outside the terminology (Y)": 1,
        "gold outside the terminology (K, Y, no prefix)": 1,
    }
    assert report.examples["gold outside the terminology (K, Y, no prefix)"] == ["Y:1, K:90, bare"]
    assert not report.changed
    left, report = run(kb, mentions, "outside_terminology", trim=True, policy="keep")
    assert left == [*mentions[:2], gold("K:1", "K:3"), *mentions[3:]]
    assert not report.dropped
    assert report.changed == {
        "gold outside the terminology (X)": 1,
        "alternative outside the terminology taken off (X)": 1,
        "alternative outside the terminology taken off (Y)": 1,
        "gold outside the terminology (Y)": 1,
        "gold outside the terminology (K, Y, no prefix)": 1,
    }


def test_languages(kb):
    langs = ["pt", "pt-br", "de", None, "ptx", "en", "PT_BR"]
    mentions = [Mention("text", lang=lang) for lang in langs]
    left, report = run(kb, mentions, "languages", langs=["por", "it"])
    assert left == [mentions[0], mentions[1], mentions[6]]
    assert report.dropped == {"language de": 1, "without a language": 1, "language ptx": 1, "language en": 1}
    assert report.examples["language in the settings that no mention has"] == ["it"]
    assert run(kb, mentions, "languages", langs=["pt-BR"])[0] == [mentions[1], mentions[6]]
    assert "langs" in refused("languages", langs=[])


# --- name_overlap -----------------------------------------------------------------------------------------------------


def test_name_overlap(kb):
    mentions = [
        Mention("COMMON  cold", gold=("K:1",)),
        Mention("ＨＥＲＺ", gold=("K:3",)),
        Mention("Herz", gold=("K:4",)),
        Mention("Schnupfen", gold=("K:1",)),
        Mention("Fieber", gold=("K:4", "K:2")),
        Mention("Fieber", gold=("X:1", "K:4")),
        Mention("Fieber", gold=("X:1",)),
        Mention("Fieber"),
    ]
    left, report = run(kb, mentions, "name_overlap")
    assert left == [mentions[n] for n in (2, 5, 6, 7)]
    assert report.dropped == {"equal to a name of its concept": 2, "preferred name shared by several concepts": 2}
    assert report.examples["preferred name shared by several concepts"] == ["Schnupfen (K:1)", "Fieber (K:4, K:2)"]
    assert run(kb, mentions, "name_overlap", shared_names="keep")[0] == mentions[2:]
    assert run(kb, mentions, "name_overlap", equal_to_gold="keep")[0] == [mentions[n] for n in (1, 2, 5, 6, 7)]
    assert "nothing to do" in refused("name_overlap", equal_to_gold="keep", shared_names="keep")


# --- sample -----------------------------------------------------------------------------------------------------------


def corpus(n: int) -> dict[str, list[Mention]]:
    return {
        part: [Mention(f"t{i}", id=f"{part}{i}", document=f"d{i % 7}", lang=("en", "de")[i % 2]) for i in range(size)]
        for part, size in (("dev", n), ("test", 2 * n))
    }


def ids(parts: Parts) -> list[str | None]:
    return [m.id for mentions in parts.values() for m in mentions]


def test_sample_is_pinned(kb):
    """The numbers of a sample that was drawn once: another Python or numpy must draw it again."""
    left, report = run_parts(kb, corpus(20), "sample", mentions=4, seed=3)
    assert ids(left) == ["dev7", "dev13", "dev17", "dev18", "test1", "test10", "test24", "test39"]
    assert report.dropped == {"not in the sample": 52}
    assert not report.changed
    other = run_parts(kb, corpus(20), "sample", mentions=4, seed=4)[0]
    assert ids(other) != ids(left)
    assert not find_component("cleanup", "sample").mends_gold


def test_sample_does_not_depend_on_the_hash_seed():
    code = (
        "import test_cleanup as t; from xnorm.cleanup.base import StageReport;"
        "print(t.ids(t.stage('sample', mentions=4, per=['lang', 'type']).apply(t.corpus(20), None, StageReport(''))))"
    )
    out = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(out) == 1
    assert out.pop().count("'") == 16


def test_sample_strata(kb):
    parts = corpus(20)
    left, _ = run_parts(kb, parts, "sample", mentions=3)
    assert [len(m) for m in left.values()] == [3, 3]
    left, _ = run_parts(kb, parts, "sample", mentions=3, per=["part", "lang"])
    for mentions in left.values():
        assert sorted(m.lang for m in mentions) == ["de"] * 3 + ["en"] * 3
    assert len(ids(run_parts(kb, parts, "sample", mentions=3, per="lang")[0])) == 6
    for per in ("none", None, []):
        assert len(ids(run_parts(kb, parts, "sample", mentions=3, per=per)[0])) == 3
    mentions = [typed("a", "b"), typed("b", "a"), typed("a"), typed()]
    left, report = run(kb, mentions, "sample", mentions=2, per=["type"])
    assert left == mentions
    assert report.examples == {"stratum of fewer than 2 mentions, kept whole": ["a (1)", "none (1)"]}
    left, report = run(kb, mentions, "sample", mentions=5, per="none")
    assert report.examples == {"stratum of fewer than 5 mentions, kept whole": ["all (4)"]}


def test_sample_fractions(kb):
    left, report = run_parts(kb, {**corpus(21), "tiny": [Mention("x", id="x")]}, "sample", mentions=0.1)
    assert [len(m) for m in left.values()] == [2, 4, 1]
    assert not report.changed


def test_sample_documents(kb):
    parts = corpus(20)
    left, report = run_parts(kb, parts, "sample", documents=2)
    for part, mentions in left.items():
        documents = {m.document for m in mentions}
        assert len(documents) == 2
        assert mentions == [m for m in parts[part] if m.document in documents]
    left, report = run_parts(kb, parts, "sample", documents=9, per="part")
    assert left == parts
    assert report.examples["stratum of fewer than 9 documents, kept whole"] == ["dev (7)", "test (7)"]
    # a document with mentions in two languages is of a stratum of its own
    _, report = run_parts(kb, parts, "sample", documents=99, per="lang")
    assert report.examples["stratum of fewer than 99 documents, kept whole"] == ["de+en (14)"]
    with pytest.raises(ConfigError, match="mentions of part 'test' stand in no document; set `mentions`"):
        run(kb, [gold("K:1")], "sample", documents=1)


def test_sample_of_mentions_without_ids(kb):
    left, _ = run(kb, [gold("K:1")] * 10, "sample", mentions=4)
    assert len(left) == 4


def test_sample_refuses():
    assert "set one of `mentions` and `documents`" in refused("sample")
    assert "set one of `mentions` and `documents`" in refused("sample", mentions=1, documents=1)
    for wrong in (0, -1, 1.5, 0.0):
        assert "expected a whole number from 1, or a fraction between 0 and 1" in refused("sample", mentions=wrong)
    assert "per" in refused("sample", mentions=1, per=["language"])
    assert "documents have no type" in refused("sample", documents=1, per="type")


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 30), k=st.integers(1, 12), seed=st.integers(0, 5), rng=st.randoms(use_true_random=False))
def test_sample_depends_on_nothing_else(n, k, seed, rng):
    parts = corpus(n)
    draw = stage("sample", mentions=k, per=["part", "lang"], seed=seed)
    left = draw.apply(parts, None, StageReport(""))
    shuffled = {part: rng.sample(parts[part], len(parts[part])) for part in reversed(list(parts))}
    again = draw.apply(shuffled, None, StageReport(""))
    assert list(again) == list(shuffled)
    assert set(ids(again)) == set(ids(left))
    assert all([m for m in shuffled[p] if m in again[p]] == again[p] for p in again)
    # a part more changes nothing in the others, and a greater sample holds the smaller
    more = draw.apply({"new": parts["dev"], **parts}, None, StageReport(""))
    assert {part: more[part] for part in parts} == left
    greater = stage("sample", mentions=k + 1, per=["part", "lang"], seed=seed).apply(parts, None, StageReport(""))
    assert set(ids(left)) <= set(ids(greater))
