"""Names that several concepts of a terminology share, and how to tell such concepts apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.semantic_types import TYPE_NAMES
from xnorm.tables import CONCEPTS, NAMES, Terminology

__all__ = ["Homonyms", "find_homonyms", "main_names", "qualify_homonyms"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Homonyms:
    """Names of one language, equal but for case, of several concepts."""

    rows: Ints
    """Shape (names,): name rows; those of one text are neighbours, one row a concept, the smaller concept first."""
    starts: Ints
    """Shape (texts + 1,): where the rows of each text begin."""

    def __len__(self) -> int:
        return len(self.starts) - 1


def find_homonyms(terminology: Terminology, among: Ints | None = None) -> Homonyms:
    """Find the names that several concepts have in one language.

    Args:
        among: name rows to look at, ascending; default: all.
    """
    rows = np.arange(terminology.n_names) if among is None else among
    key = _codes_of_texts(terminology, among)
    langs = terminology.names.column("lang").combine_chunks()
    lang = langs.indices.to_numpy(zero_copy_only=False)[rows]
    key = key * (len(langs.dictionary) + 1) + lang
    order = np.argsort(key, kind="stable")  # rows are ascending by concept, and stay so within a key
    key, rows = key[order], rows[order]
    concept = terminology.name_concept[rows]
    new_key = np.append(True, key[1:] != key[:-1])[: len(key)]
    first = new_key | np.append(True, concept[1:] != concept[:-1])[: len(key)]
    rows, new_key = rows[first], new_key[first]
    begin = np.flatnonzero(new_key)
    size = np.diff(np.append(begin, len(rows)))
    shared = np.repeat(size > 1, size)
    return Homonyms(rows[shared], np.append(0, np.cumsum(size[size > 1])).astype(np.int64))


def _codes_of_texts(terminology: Terminology, among: Ints | None) -> Ints:
    """Return a number for each name, equal for texts that are equal but for case."""
    texts = terminology.names.column("text")
    texts = texts if among is None else texts.take(pa.array(among))
    # one array, one dictionary: chunks would have their own
    lower = pc.utf8_lower(texts).combine_chunks()
    return np.asarray(lower.dictionary_encode().indices.to_numpy(zero_copy_only=False)).astype(np.int64)


def main_names(terminology: Terminology) -> tuple[Ints, Ints]:
    """Return the name rows that concepts are called by: preferred names, and the row of each concept's own name.

    Returns:
        The rows, ascending, and the row of each concept's own name, shape (concepts,): the first preferred one, or the
        first where there is none.
    """
    scopes = terminology.names.column("scope").combine_chunks()
    preferred = pc.equal(scopes.dictionary, "preferred").to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(np.append(preferred, False)[pc.fill_null(scopes.indices, -1).to_numpy(zero_copy_only=False)])
    own = terminology.first_name[:-1].copy()
    own[terminology.name_concept[rows[::-1]]] = rows[::-1]
    return np.union1d(rows, own), own


def qualify_homonyms(terminology: Terminology) -> Terminology:
    """Return a terminology in which concepts of one name are told apart: `Cold (disease)` and `Cold (sensation)`.

    Of the names that concepts are called by (`main_names`), those that several concepts have in one language get a
    qualifier: the first of type, parent's name, source and id that the others of that name do not have. The name with
    the qualifier is added as the preferred one, and the bare name stays as an exact one right behind it, so that a
    mention of the bare name still finds every concept that has it, and shows which is which. Other names that are
    shared, synonyms for instance, are left alone: the concept's own name tells them apart.

    A concept whose own name is not shared stays as it is; done twice, nothing changes.
    """
    among, own = main_names(terminology)
    found = find_homonyms(terminology, among)
    if not len(found):
        return terminology
    order = np.argsort(found.rows)
    rows, texts = found.rows[order], np.array(_qualified(terminology, found), object)[order]
    there = _where(terminology, rows, texts)
    names = _with_names(terminology, rows, texts, there)
    is_own = own[terminology.name_concept[rows]] == rows
    concepts = _renamed(terminology, rows[is_own], texts[is_own], rows[there < 0])
    return Terminology(concepts, names, terminology.retired)


def _qualified(terminology: Terminology, found: Homonyms) -> list[str]:
    """Return each name of the homonyms with its qualifier."""
    concepts = terminology.name_concept[found.rows].astype(np.int64)
    bare: list[str] = terminology.take("names", "text", found.rows)
    langs: list[str] = terminology.take("names", "lang", found.rows)
    ids: list[str] = terminology.take("concepts", "id", concepts)
    types = [[TYPE_NAMES.get(t, t) for t in of or ()] for of in terminology.take("concepts", "types", concepts)]
    sources = [[source] for source in terminology.take("concepts", "source", concepts)]
    facts = (types, _parents(terminology, concepts, langs), sources)
    texts: list[str] = []
    for start, end in zip(found.starts[:-1].tolist(), found.starts[1:].tolist(), strict=True):
        left = dict.fromkeys(range(start, end))
        chosen: dict[int, str] = {}
        for fact in facts:
            counts = Counter(value for i in range(start, end) for value in {v.casefold() for v in fact[i]})
            for i in list(left):
                own = (v for v in fact[i] if v and counts[v.casefold()] == 1 and v.casefold() != bare[i].casefold())
                if (value := next(own, None)) is not None:
                    chosen[i] = value
                    del left[i]
        texts += [f"{bare[i]} ({chosen.get(i, ids[i])})" for i in range(start, end)]
    taken = _taken(terminology, texts, langs, concepts)
    return [f"{bare[i]} ({ids[i]})" if i in taken else text for i, text in enumerate(texts)]


def _parents(terminology: Terminology, concepts: Ints, langs: list[str]) -> list[list[str]]:
    """Return the names of the parents of each concept, in a language where they have one, in the parents' order."""
    lists = terminology.concepts.column("parents").take(pa.array(concepts)).combine_chunks()
    of = pc.list_parent_indices(lists).to_numpy()
    rows = terminology.rows(lists.flatten())
    of, rows = of[rows >= 0], rows[rows >= 0]
    own = terminology.take("concepts", "name", rows)
    names: list[list[str]] = [[] for _ in concepts]
    known: dict[int, dict[str, str]] = {}
    for i, row, name in zip(of.tolist(), rows.tolist(), own, strict=True):
        if row not in known:
            known[row] = {n.lang: n.text for n in reversed(terminology[row].names) if n.scope == "preferred"}
        names[i].append(known[row].get(langs[i], name))
    return names


def _taken(terminology: Terminology, texts: list[str], langs: list[str], concepts: Ints) -> set[int]:
    """Return the places of texts that another concept has as a name in that language already."""
    lower = [text.lower() for text in texts]
    others = pc.is_in(pc.utf8_lower(terminology.names.column("text")), value_set=pa.array(lower, pa.large_string()))
    rows = np.flatnonzero(others.to_numpy())
    columns = (terminology.take("names", column, rows) for column in ("text", "lang", "concept"))
    owners: dict[tuple[str, str], set[int]] = {}
    for text, lang, concept in zip(*columns, strict=True):
        owners.setdefault((text.lower(), lang), set()).add(concept)
    keys = zip(lower, langs, concepts.tolist(), strict=True)
    return {i for i, (text, lang, concept) in enumerate(keys) if owners.get((text, lang), set()) - {concept}}


def _where(terminology: Terminology, rows: Ints, texts: npt.NDArray[np.object_]) -> Ints:
    """Return the name row at which the concept of a name row has a text in the same language; -1 where it has not."""
    found = pc.is_in(terminology.names.column("text"), value_set=pa.array(texts, pa.large_string()))
    at = np.flatnonzero(found.to_numpy())
    keys = zip(
        terminology.name_concept[at].tolist(),
        *(terminology.take("names", c, at) for c in ("lang", "text")),
        strict=True,
    )
    known = dict(zip(keys, at.tolist(), strict=True))
    wanted = zip(terminology.name_concept[rows].tolist(), terminology.take("names", "lang", rows), texts, strict=True)
    return np.array([known.get(key, -1) for key in wanted], np.int64)


def _with_names(terminology: Terminology, rows: Ints, texts: npt.NDArray[np.object_], there: Ints) -> pa.Table:
    """Return the names, with texts as preferred names before the rows that they qualify, which become exact ones."""
    names = terminology.names
    scopes = names.column("scope").combine_chunks()
    words = scopes.dictionary.to_pylist()
    words += [word for word in ("preferred", "exact") if word not in words]
    codes = scopes.indices.to_numpy(zero_copy_only=False).copy()
    codes[rows], codes[there[there >= 0]] = words.index("exact"), words.index("preferred")
    new = rows[there < 0]
    codes = np.insert(codes, new, words.index("preferred"))
    # the row behind an added one is the one that it qualifies
    added = names.take(pa.array(new)).set_column(1, NAMES.field("text"), pa.array(texts[there < 0], pa.large_string()))
    order = np.insert(np.arange(len(names)), new, len(names) + np.arange(len(new)))
    whole = pa.concat_tables([names, added]).unify_dictionaries().take(pa.array(order))
    scope = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(words, pa.string()))
    return whole.set_column(NAMES.get_field_index("scope"), NAMES.field("scope"), scope)


def _renamed(terminology: Terminology, own: Ints, texts: npt.NDArray[np.object_], added: Ints) -> pa.Table:
    """Return the concepts, called by new texts where they were called by these names, and where their names begin."""
    concepts = terminology.concepts
    rows = terminology.name_concept[own]
    as_named = np.array(terminology.take("names", "text", own), object) == np.array(
        terminology.take("concepts", "name", rows), object
    )
    mask = np.zeros(len(concepts), bool)
    mask[rows[as_named]] = True
    # concepts are in the order of their names
    name = pc.replace_with_mask(
        concepts.column("name").combine_chunks(), mask, pa.array(texts[as_named], pa.large_string())
    )
    first = terminology.first_name[:-1]
    first = first + np.searchsorted(added, first)
    columns = {"name": name, "first_name": pa.array(first, pa.int64())}
    for column, values in columns.items():
        concepts = concepts.set_column(CONCEPTS.get_field_index(column), CONCEPTS.field(column), values)
    return concepts
