"""Joining columns, against a plain reading of the rules record by record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xnorm.settling
import xnorm.terminology.base
from xnorm.errors import DataError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig
from xnorm.text import LangFilter, clean, lang_code
from xnorm.types import SCOPES


class GivenConfig(SourceConfig):
    type: str = "test_joining:Given"
    number: int = 0


class Given(Parser):
    """Yields the records of a test."""

    config_class = GivenConfig
    records: ClassVar[list[list[RawConcept]]] = []

    def read(self, report) -> Iterator[RawConcept]:
        yield from self.records[self.config.number]


IDS = ["A:1", "A:2", "B:1", "é:1", "Z"]
ids = st.sampled_from(IDS)
words = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2)
raw_names = st.builds(
    RawName,
    st.sampled_from(["cold", "Cold", " cold ", "fever", "", "\u0301e"]),
    st.sampled_from(["en", "eng", "de", "pt-BR", "pt"]),
    st.sampled_from(["preferred", "preferred", *SCOPES]),
)
records = st.builds(
    RawConcept,
    ids | st.just(" "),
    st.lists(raw_names, max_size=4),
    types=words,
    xrefs=words,
    parents=words,
    definition=st.none() | st.sampled_from(["one", "two"]),
    alt_ids=st.lists(ids, max_size=1),
    retired=st.sampled_from([False, False, True]),
    replaced_by=st.lists(ids, max_size=2),
)
sources = st.fixed_dictionaries(
    {"name": st.sampled_from(["one", "two"]), "lang": st.sampled_from(["en", "de"])},
    optional={
        "overlay": st.just(True),
        "langs": st.sampled_from([["en"], ["pt", "de"]]),
        "scopes": st.sampled_from([["preferred"], ["exact", "narrow"]]),
        "types": st.just(["x"]),
    },
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "langs": st.sampled_from([["en", "pt"]]),
        "types": st.just(["x", "y"]),
        "scopes": st.sampled_from([["preferred", "exact"], ["preferred"]]),
    },
)


def by_hand(config: TerminologyConfig, given: list[list[RawConcept]]) -> dict[str, list[tuple]]:
    """Join as the documentation says, one record after the other."""
    concepts: dict[str, dict] = {}
    retired: dict[str, tuple] = {}
    wanted = config.filters
    for source, found in zip(config.sources, given, strict=True):
        found = [raw for raw in found if raw.id.strip()]
        kinds: dict[str, set[str]] = {}
        for raw in found:
            if not raw.retired:
                kinds.setdefault(raw.id, set()).update(raw.types)
        wants = [] if source.overlay else [set(a) for a in (source.types, wanted.types) if a is not None]
        fits = {i for i, own in kinds.items() if all(a & own for a in wants)}
        gone: dict[str, tuple] = {}
        for raw in found if not source.overlay else ():
            if raw.retired:
                name = clean(raw.names[0].text) if raw.names else None
                gone.setdefault(raw.id, (raw.replaced_by, name, "obsolete"))
            for old in () if raw.retired else raw.alt_ids:
                if raw.id in fits:
                    gone.setdefault(old, ([raw.id], None, "merged"))
        known = set(concepts)
        for raw in found:
            if raw.retired or raw.id not in fits:
                continue
            target, replaced = raw.id, False
            if source.overlay:
                target, replaced = successor(raw.id, known, retired)
                if target not in known:
                    continue
            new = {"source": source.label, "lang": lang_code(source.lang), "names": [], "main": {}, "definition": None}
            concept = concepts.setdefault(target, new | {"types": {}, "xrefs": {}, "parents": {}})
            for key in ("xrefs",) if source.overlay else ("types", "xrefs", "parents"):
                concept[key].update(dict.fromkeys(getattr(raw, key)))
            if not source.overlay:
                concept["definition"] = concept["definition"] or raw.definition
            for name in raw.names:
                add_name(concept, name, replaced, source, wanted)
        for old, fact in gone.items():
            retired.setdefault(old, fact)
    kept = sorted((i for i, c in concepts.items() if c["names"]), key=str.encode)
    return {
        "concepts": [
            (
                i,
                shown(c := concepts[i]),
                *(list(c[key]) for key in ("types", "xrefs", "parents")),
                c["definition"],
                c["source"],
            )
            for i in kept
        ],
        "names": [(row, *name, 1.0) for row, i in enumerate(kept) for name in concepts[i]["names"]],
        "retired": [(i, *retired[i]) for i in sorted(retired, key=str.encode) if i not in concepts],
    }


def successor(identifier: str, known: set[str], retired: dict[str, tuple]) -> tuple[str, bool]:
    current, seen = identifier, set()
    while current not in known and current in retired and current not in seen and len(retired[current][0]) == 1:
        seen.add(current)
        current = retired[current][0][0]
    return current, current != identifier


def add_name(concept: dict, name: RawName, replaced: bool, source: SourceConfig, wanted) -> None:
    text, lang, scope = clean(name.text), lang_code(name.lang), name.scope
    if not text or not LangFilter(source.langs)(lang) or not LangFilter(wanted.langs)(lang):
        return
    wants = [set(a) for a in (source.scopes, wanted.scopes) if a is not None]
    if wants and not set.intersection(*wants):
        return
    if replaced and scope == "preferred":
        scope = "exact"
    if scope == "preferred" and concept["main"].setdefault(lang, text) != text:
        scope = "exact"
    if any(scope not in allowed for allowed in wants):
        return
    for at, (old, old_lang, _, label) in enumerate(concept["names"]):
        if (old, old_lang) == (text, lang):
            if scope == "preferred":
                concept["names"][at] = (text, lang, scope, label)
            return
    concept["names"].append((text, lang, scope, source.label))


def shown(concept: dict) -> str:
    main = [(text, lang) for text, lang, scope, _ in concept["names"] if scope == "preferred"]
    own = [text for text, lang in main if lang == concept["lang"]]
    return (own or [text for text, _ in main] or [concept["names"][0][0]])[0]


def rows(terminology: Terminology) -> dict[str, list[tuple]]:
    concepts = terminology.concepts.drop_columns("first_name").to_pylist()
    return {
        "concepts": [tuple(row.values()) for row in concepts],
        "names": [tuple(row.values()) for row in terminology.names.to_pylist()],
        "retired": [tuple(row.values()) for row in terminology.retired.to_pylist()],
    }


@pytest.mark.parametrize("size", [1, 2, 1000])
@settings(max_examples=80, deadline=None)
@given(given_=st.lists(st.tuples(sources, st.lists(records, max_size=6)), min_size=1, max_size=3), wanted=filters)
def test_joined_as_by_hand(size, given_, wanted):
    Given.records = [found for _, found in given_]
    config = TerminologyConfig(
        sources=[
            GivenConfig(path=Path(__file__), number=n, duplicates="merge", **keys) for n, (keys, _) in enumerate(given_)
        ],
        filters=wanted,
    )
    expected = by_hand(config, Given.records)
    with pytest.MonkeyPatch.context() as patch:  # columns and blocks of any size give the same
        patch.setattr(xnorm.terminology.base, "RECORDS", size)
        patch.setattr(xnorm.settling, "BLOCK", size)
        if not all(given_[n][1] for n in range(len(given_))) or not expected["concepts"]:
            with pytest.raises(DataError, match=r"holds no concept|no concept with a name is left"):
                read_terminology(config)
            return
        terminology, report = read_terminology(config)
    assert rows(terminology) == expected
    first = [
        i for i in range(terminology.n_names) if not i or terminology.name_concept[i] != terminology.name_concept[i - 1]
    ]
    assert terminology.first_name.tolist() == [*first, terminology.n_names]
    assert report.names == terminology.n_names == sum(source.names for source in report.sources)
