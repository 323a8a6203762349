"""Concepts looked up by id or by name in a terminology, without any generator: the columns are searched as they lie.

Names are compared whatever their case, accents and punctuation, in the script that they are written in; a text in
Greek, Cyrillic or kana is looked for in Latin letters, too.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.curies import Namespaces
from xnorm.errors import ConfigError
from xnorm.filters import QueryFilters
from xnorm.replacements import Replacements
from xnorm.restriction import Restrictions
from xnorm.tables import Terminology
from xnorm.text import clean, encodable, fold, unspaced_letters, without_accents
from xnorm.types import SCOPES, Name

__all__ = ["Found", "Hit", "RetiredId", "as_data", "search"]

REASONS = ("name", "beginning of a name", "part of a name", "words of a name")
"""How a name goes with the text: it is the text; it begins with it; holds it; has words that begin with its words."""
MOST = 300
"""The longest text that is searched, in characters: a regular expression of the names grows with it."""

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hit:
    """A concept that was found."""

    row: int
    reason: str
    """`id`, `beginning of the id`, `replaces OLD (why)`, or one of `REASONS`."""
    name: int | None = None
    """Row of the name that was found."""


@dataclass(frozen=True, slots=True)
class RetiredId:
    """An id that was looked up and is no longer in use."""

    id: str
    name: str | None
    reason: str
    replaced_by: list[str]
    """Ids that the source names; they need not be in the terminology."""


@dataclass(slots=True)
class Found:
    """What was found: the first hits, best first, and how many concepts there are in all."""

    hits: list[Hit] = field(default_factory=list)
    total: int = 0
    retired: list[RetiredId] = field(default_factory=list)


def search(
    terminology: Terminology,
    text: str,
    *,
    how: str = "any",
    filters: QueryFilters | None = None,
    limit: int = 20,
) -> Found:
    """Look concepts up by a text.

    An id (a CURIE, a bare code, an IRI, in any case) ends the search, a retired one with what took its place. Else the
    concepts are found by their names: those that are the text, then those that begin with it, hold it, hold its words;
    shorter names first.

    Args:
        how: `any`; `exact` for whole names and ids alone; `prefix` for those that begin with the text.
        filters: which names are searched, as for linking. A whole id is found whatever they say.
        limit: the most hits; of an id there are few, and all of them are told.

    Raises:
        ConfigError: nothing to look for, or as `xnorm.restriction.Restrictions.resolve`.
    """
    text = clean(text)
    if not text:
        raise ConfigError("the text to search is empty; give an id, a name or a part of one")
    if len(text) > MOST:
        raise ConfigError(f"the text to search has {len(text):,} characters; give at most {MOST}, say its first words")
    if limit < 1:
        raise ConfigError(f"limit: expected 1 or more, found {limit}")
    allowed = None if filters is None else _allowed(terminology, filters)
    found = _by_id(terminology, text)
    if found.hits or found.retired:
        return found
    ids = _begin_with(terminology, text, allowed) if how == "prefix" else np.empty(0, np.int64)
    rows, names, stages = _by_name(terminology, text, how, allowed)
    other = ~np.isin(rows, ids)
    rows, names, stages = rows[other], names[other], stages[other]
    found.total = len(ids) + len(rows)
    found.hits = [Hit(row, "beginning of the id") for row in ids[:limit].tolist()]
    best = zip(rows[:limit].tolist(), names[:limit].tolist(), stages[:limit].tolist(), strict=True)
    found.hits += [Hit(row, REASONS[stage], name) for row, name, stage in best][: limit - len(found.hits)]
    return found


def _allowed(terminology: Terminology, filters: QueryFilters) -> Mask:
    """Return which names filters allow."""
    restrictions = Restrictions(terminology)
    return restrictions.names(restrictions.resolve(filters))


# --- by id ------------------------------------------------------------------------------------------------------------


def _by_id(terminology: Terminology, text: str) -> Found:
    """Return the concepts whose id, or code without its prefix, is the text, and retired ids with their successors."""
    words = dict.fromkeys([text, Namespaces({}).curie(text), re.sub(r"^([A-Za-z]\w*?)_(?=\w+$)", r"\1:", text)])
    for word in words:
        rows = _with_id(terminology.concepts.column("id"), word)
        retired = terminology.retired.take(pa.array(_with_id(terminology.retired.column("id"), word))).to_pylist()
        if not len(rows) + len(retired):
            continue
        found = Found([Hit(row, "id") for row in rows.tolist()])
        found.retired = [
            RetiredId(r["id"], r["name"], r["reason"] or "retired", r["replaced_by"] or []) for r in retired
        ]
        successors = Replacements(terminology).follow([r["id"] for r in retired]).successors() if retired else {}
        for old, new in successors.items():
            for identifier, way in new.items():
                row = terminology.row(identifier)
                assert row is not None
                found.hits.append(Hit(row, f"replaces {old} ({', '.join(dict.fromkeys(way))})"))
        found.total = len(found.hits)
        return found
    return Found()


def _with_id(ids: pa.ChunkedArray, text: str) -> Rows:
    """Return the rows of ids that are the text in any case, or whose code behind the last colon is."""
    if " " in text:
        return np.empty(0, np.int64)
    code = text.rpartition(":")[2]
    rows = np.empty(0, np.int64)
    # in small letters, of which Arrow makes those of ASCII fast; the few ids that end so are looked at one by one
    lower = ids if code.upper() == code.lower() else pc.ascii_lower(ids)
    for spelling in {pc.ascii_lower(s).as_py() for s in map(pa.scalar, (code, code.upper(), code.lower()))}:
        ends = pc.or_(pc.ends_with(lower, f":{spelling}"), pc.equal(lower, spelling))
        rows = np.union1d(rows, np.flatnonzero(ends.to_numpy()))
    found = ids.take(pa.array(rows)).to_pylist()
    same = [i.casefold() == text.casefold() or i.rpartition(":")[2].casefold() == text.casefold() for i in found]
    return np.asarray(rows[np.array(same, bool)])


def _begin_with(terminology: Terminology, text: str, allowed: Mask | None) -> Rows:
    """Return the concepts whose id, or code without its prefix, begins with the text."""
    rows = _matching(terminology.concepts.column("id"), f"(?i)^([^:]*:)?{_literal(text)}")
    if allowed is None:
        return rows
    with_name = np.zeros(len(terminology), bool)
    with_name[terminology.name_concept[allowed]] = True
    return rows[with_name[rows]]


def _literal(text: str) -> str:
    return re.sub(r"([!-/:-@\[-^`{-~])", r"\\\1", text)  # RE2 takes no backslash before a sign beyond ASCII


def _matching(column: pa.Array | pa.ChunkedArray, pattern: str) -> Rows:
    """Return the rows of a text column that match a regular expression; one of RE2, so in linear time."""
    found = pc.fill_null(pc.match_substring_regex(column, pattern), False)
    flags = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    return np.flatnonzero(flags.to_numpy(zero_copy_only=False))


# --- by name ----------------------------------------------------------------------------------------------------------

_GAP = r"[^\pL\pN\pM]"


def _by_name(
    terminology: Terminology, text: str, how: str, allowed: Mask | None
) -> tuple[Rows, Rows, npt.NDArray[np.int64]]:
    """Return concept rows, best first, the name row of each that was found, and its place in `REASONS`."""
    rows: list[Rows] = []
    stages: list[npt.NDArray[np.int64]] = []
    for words in _spellings(text):
        at, stage = _names_with(terminology, words, how, allowed)
        rows.append(at)
        stages.append(stage)
    name, stage = np.concatenate(rows), np.concatenate(stages)
    length = pc.utf8_length(terminology.names.column("text").take(pa.array(name))).to_numpy()
    scopes = terminology.names.column("scope").combine_chunks()
    trust = np.array([SCOPES.index(s) for s in scopes.dictionary.to_pylist()], np.int64)[
        scopes.indices.take(pa.array(name)).to_numpy(zero_copy_only=False)
    ]
    order = np.lexsort((name, trust, length, stage))
    name, stage = name[order], stage[order]
    concept = terminology.name_concept[name].astype(np.int64)
    first = np.sort(np.unique(concept, return_index=True)[1])
    return concept[first], name[first], stage[first]


def _names_with(
    terminology: Terminology, words: list[str], how: str, allowed: Mask | None
) -> tuple[Rows, npt.NDArray[np.int64]]:
    """Return the name rows in which words stand, and how, as places in `REASONS`."""
    phrase = f"{_GAP}+".join(words)
    whole, beginning = f"(?i)^{_GAP}*{phrase}{_GAP}*$", f"(?i)^{_GAP}*{phrase}"
    texts = terminology.names.column("text")
    rows: Rows | None = None
    if allowed is not None:
        rows = np.flatnonzero(allowed)
        texts = texts.take(pa.array(rows))
    longest = sorted((f"(?i){word}" for word in words), key=len, reverse=True)
    for pattern in [*longest, *{"exact": [whole], "prefix": [beginning]}.get(how, [])]:
        at = _matching(texts, pattern)
        texts, rows = texts.take(pa.array(at)), at if rows is None else rows[at]
    assert rows is not None
    stages = np.full(len(rows), -1)
    apart = rows[:0]
    if how == "any":
        apart = functools.reduce(np.intersect1d, [_matching(texts, _at_a_beginning(word)) for word in words])
    stages[apart] = REASONS.index("words of a name")
    for stage, pattern in ((2, f"(?i){phrase}"), (1, beginning), (0, whole)):
        stages[_matching(texts, pattern)] = stage
    return rows[stages >= 0], stages[stages >= 0]


def _at_a_beginning(word: str) -> str:
    """Return a regular expression for a word, or in a script without spaces a part of one, that begins so."""
    return f"(?i){word}" if unspaced_letters(word) else f"(?i)(^|{_GAP}){word}"


def _spellings(text: str) -> list[list[str]]:
    """Return the words of a text as regular expressions: in its own script, in Latin letters if it is in another that
    `fold` can romanise, and as it stands if it holds signs that are others in disguise (`㎎`, `①`)."""
    compatible = unicodedata.normalize("NFKC", text)
    plain = without_accents(compatible.casefold())
    folded = fold(text)
    texts = [plain] if plain.isascii() or not folded.isascii() else [plain, folded]
    if compatible != text:
        texts.append(without_accents(text.lower()))
    return [[_loose(word) for word in _words(t)] or [_literal(t)] for t in texts]


def _words(text: str) -> list[str]:
    # marks are the vowels of Thai or Devanagari, so they are letters here
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text).split()


def _loose(word: str) -> str:
    """Return a regular expression for a word with any accents."""
    bases, written = _variants()
    word = "".join(bases.get(c, c) for c in word)
    parts, at = [], 0
    while at < len(word):
        pieces = (word[at : at + n] for n in (4, 3, 2))
        several = next((piece for piece in pieces if len(piece) > 1 and piece in written), "")
        if several:
            parts.append(f"(?:{_letter(several[0])}{_loose(several[1:])}|[{written[several]}])")
        else:
            parts.append(_letter(word[at]))
        at += len(several) or 1
    return "".join(parts)


def _letter(letter: str) -> str:
    others = _variants()[1].get(letter)
    one = (f"[{letter}{others}]" if others else letter) + (r"\pM*" if letter.isalpha() else "")
    return f"(?:{one}|{_HALF_WIDTH[letter]})" if letter in _HALF_WIDTH else one


_KANA = re.compile("[ぁ-ゖァ-ヺー]")
_HALF_WIDTH = {
    unicodedata.normalize("NFKC", kana + mark): kana + mark
    for kana in map(chr, range(0xFF66, 0xFF9E))
    for mark in "ﾞﾟ"
    if len(unicodedata.normalize("NFKC", kana + mark)) == 1
}
"""Voiced kana as two characters of half the width: `ザ` is `ｻﾞ`."""


@functools.lru_cache(maxsize=1)
def _variants() -> tuple[dict[str, str], dict[str, str]]:
    """Return what letters of Latin script are without accents (`é` e, `ß` ss), and which letters of Latin, Greek and
    Cyrillic stand for a plain one, or for two; besides, which signs stand for ASCII letters and digits or for a kana:
    those of another width (`Ａ`), raised and lowered ones (`₂`), Roman numbers (`Ⅷ`), ligatures (`ﬁ`)."""
    bases: dict[str, str] = {}
    written: dict[str, str] = defaultdict(str)
    for start, end in ((0xC0, 0x250), (0x1E00, 0x1F00), (0x370, 0x530), (0x1F00, 0x2000)):
        for letter in map(chr, range(start, end)):
            latin = "LATIN" in unicodedata.name(letter, "")
            base = fold(letter) if latin else without_accents(letter.casefold())
            if letter.isalpha() and base.isalpha() and base != letter.lower():
                written[base] += letter
                if latin:
                    bases[letter] = base
    ranges = (0xB2, 0xB4), (0xB9, 0xBA), (0x2070, 0x20A0), (0x2150, 0x2190), (0xFB00, 0xFB07), (0xFF00, 0xFFF0)
    for start, end in ranges:
        for sign in map(chr, range(start, end)):
            base = unicodedata.normalize("NFKC", sign).casefold()
            if base != sign and ((base.isascii() and base.isalnum()) or _KANA.fullmatch(base)):
                written[base] += sign
    return bases, written


# --- what a concept is ------------------------------------------------------------------------------------------------


def as_data(terminology: Terminology, text: str, found: Found) -> dict[str, Any]:
    """Return what was found for a text as plain data for JSON: `total`, `retired`, `hits` with their reason and the
    name that was found, and all of each concept under `concepts`, in the same order."""
    rows = [hit.row for hit in found.hits]
    concepts = _described(terminology, rows)
    at = [hit.name for hit in found.hits if hit.name is not None]
    names = iter([_name_as_data(name) for name in terminology.names_at(at)])
    hits = [
        {
            "id": concept["id"],
            "name": concept["name"],
            "reason": hit.reason,
            "matched": None if hit.name is None else next(names),
        }
        for hit, concept in zip(found.hits, concepts, strict=True)
    ]
    retired = [asdict(old) for old in found.retired]
    return {"text": encodable(text), "total": found.total, "retired": retired, "hits": hits, "concepts": concepts}


def _name_as_data(name: Name) -> dict[str, Any]:
    """Return a name with all that is known of it; a weight only where it is not 1."""
    about: dict[str, Any] = {"name": name.text, "lang": name.lang, "scope": name.scope, "source": name.source}
    return about if name.weight == 1 else {**about, "weight": name.weight}


def _described(terminology: Terminology, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Return all that is known of concepts: `parents` with their names, `children` as their number."""
    ids = terminology.take("concepts", "id", rows)
    parents = pc.list_flatten(terminology.concepts.column("parents"))
    mine = pc.value_counts(parents.filter(pc.is_in(parents, value_set=pa.array(ids, pa.string()))))
    children = {count["values"]: count["counts"] for count in mine.to_pylist()}
    concepts = [terminology[int(row)] for row in rows]
    above = list(dict.fromkeys(parent for concept in concepts for parent in concept.parents))
    known = {parent: row for parent in above if (row := terminology.row(parent)) is not None}
    names = dict(zip(known, terminology.take("concepts", "name", list(known.values())), strict=True))
    return [
        {
            "id": concept.id,
            "name": concept.name,
            "names": [_name_as_data(name) for name in concept.names],
            "types": list(concept.types),
            "parents": [{"id": parent, "name": names.get(parent)} for parent in concept.parents],
            "children": children.get(concept.id, 0),
            "xrefs": list(concept.xrefs),
            "definition": concept.definition,
            "source": concept.source,
        }
        for concept in concepts
    ]
