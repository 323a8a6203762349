"""Descriptions of SNOMED CT, and which of a concept's is its name in a language, by language reference sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.rf2 import Ids, Skip, rows_of
from xnorm.text import lang_code, main_lang

__all__ = ["DEFINITION", "FSN", "NEVER", "SYNONYM", "Descriptions", "Ranking", "rank_names"]

FSN, SYNONYM, DEFINITION = 900000000000003001, 900000000000013009, 900000000000550004
_PREFERRED, _ACCEPTABLE = 900000000000548007, 900000000000549004
_US_ENGLISH = 900000000000509007
FALLBACK, NEVER = 1 << 20, 1 << 21
"""Ranks of a fully specified name, which is preferred if no other name is, and of a name that is not preferred."""
_TAGGED = r"^(?P<name>.*\S)\s*[(（](?P<tag>[^()（）]+)[)）]\s*$"
"""A fully specified name, as `Heart failure (disorder)`."""


@dataclass(slots=True)
class Descriptions:
    """The descriptions of a release, sorted by id; all arrays are of one length."""

    ids: Ids
    concept: Ids
    """Row of the concept, -1 for none."""
    kind: Ids
    """`FSN`, `SYNONYM`, `DEFINITION`, or another id."""
    lang: Ids
    """Place in `langs`."""
    langs: list[str]
    """The main language first."""
    term: pa.Array
    usable: npt.NDArray[np.bool_]
    """Active, of a concept that is there, and not filtered out."""

    @classmethod
    def of(cls, rows: pa.Table, concept: Ids, usable: npt.NDArray[np.bool_], main: str) -> Descriptions:
        """Return the descriptions in the rows of a release, whose concepts stand in these rows."""
        words = rows.column("languageCode").combine_chunks()
        codes = [lang_code(word) for word in words.dictionary.to_pylist()]
        langs = sorted(set(codes), key=lambda code: (code != main, main_lang(code) != main_lang(main), code))
        lang = np.array([langs.index(code) for code in codes], np.int64)[words.indices.to_numpy()]
        ids, kind = (rows.column(column).to_numpy() for column in ("id", "typeId"))
        return cls(ids, concept, kind, lang, langs, rows.column("term").combine_chunks(), usable)

    def of_kind(self, kind: int) -> Ids:
        """Return the places of the usable descriptions of a kind."""
        return np.flatnonzero(self.usable & (self.kind == kind))

    def texts(self, places: Ids) -> pa.Array:
        """Return the terms at these places; null at -1."""
        return self.term.take(pa.array(places, mask=places < 0))

    def first_of_concept(self, places: Ids, *keys: Ids) -> Ids:
        """Return the place of the first description of each concept, by keys that come before the id."""
        order = places[np.lexsort((places, *(key[places] for key in reversed(keys)), self.concept[places]))]
        return np.asarray(order[np.diff(self.concept[order], prepend=-1) != 0])

    def split_tags(self, *, strip: bool) -> tuple[Ids, pa.Array]:
        """Return concepts and their semantic tags, `disorder` of `Heart failure (disorder)`, null for none.

        Args:
            strip: whether to take the tags off the terms.
        """
        places = self.of_kind(FSN)
        parts = pc.extract_regex(self.term.take(pa.array(places)), _TAGGED)
        if strip:
            tagged = np.zeros(len(self.ids), bool)
            tagged[places] = pc.is_valid(parts).to_numpy(zero_copy_only=False)
            names = pc.struct_field(parts.drop_null(), "name")
            self.term = pc.replace_with_mask(self.term, pa.array(tagged), names)
        # tags of one language for all concepts, so that types can be told apart
        english = self.langs.index("en") if "en" in self.langs else 0
        chosen = self.first_of_concept(places, np.where(self.lang == english, -1, self.lang))
        return self.concept[chosen], pc.struct_field(parts, "tag").take(pa.array(np.searchsorted(places, chosen)))


@dataclass(slots=True)
class Ranking:
    """What language reference sets say; arrays over descriptions."""

    rank: Ids
    """Place of the first reference set in which it is preferred, `FALLBACK` or `NEVER`."""
    listed: npt.NDArray[np.bool_]
    """Whether it stands in a wanted reference set; where its language has none, whether it is usable."""


def rank_names(found: Descriptions, members: pa.Table, wanted: Mapping[str, Sequence[int]], skip: Skip) -> Ranking:
    """Return what language reference sets say of descriptions.

    Args:
        members: rows of the language reference sets.
        wanted: reference sets by language, first ones before; a language that is missing here has all of them.

    Raises:
        ValueError: a language or a reference set is wanted that is not there.
    """
    members = members.filter(pc.equal(members.column("active"), 1))
    refset, component, value = (
        members.column(column).to_numpy() for column in ("refsetId", "referencedComponentId", "acceptabilityId")
    )
    at = rows_of(component, found.ids)
    skip("member of a language reference set for a description that is missing", count=int((at < 0).sum()))
    told = np.isin(value, (_PREFERRED, _ACCEPTABLE))
    skip("member of a language reference set of another acceptability", count=int((~told).sum()))
    fits = told & np.append(found.usable, False)[at]
    at, preferred = at[fits], value[fits] == _PREFERRED
    refsets = np.unique(refset[fits])
    which = np.searchsorted(refsets, refset[fits])
    places = _places(found, refsets, which, at, preferred, wanted)
    place = places[which, found.lang[at]]
    rank = np.full(len(found.ids), NEVER)
    np.minimum.at(rank, at[preferred], place[preferred])
    rank[found.kind == FSN] = FALLBACK
    listed = np.zeros(len(found.ids), bool)
    listed[at[place < NEVER]] = True
    for number, lang in enumerate(found.langs):
        own = found.usable & (found.lang == number)
        if own.any() and (places[:, number] == NEVER).all():
            skip("language without a language reference set", lang)
            listed |= own
    return Ranking(rank, listed)


def _places(
    found: Descriptions,
    refsets: Ids,
    which: Ids,
    at: Ids,
    preferred: npt.NDArray[np.bool_],
    wanted: Mapping[str, Sequence[int]],
) -> Ids:
    """Return the place of each reference set among those of each language, `NEVER` for none.

    Args:
        which: number of the reference set of each member, `at` its description, `preferred` what it is there.
    """
    places = np.full((len(refsets), len(found.langs)), NEVER)
    main = preferred & (found.kind[at] == SYNONYM)
    cell = which * len(found.langs) + found.lang[at]
    members = np.bincount(cell, minlength=places.size).reshape(places.shape)
    mains = np.bincount(cell[main], minlength=places.size).reshape(places.shape)
    chosen = {lang_code(lang): own for lang, own in wanted.items()}
    langs = {*found.langs, *map(main_lang, found.langs)}
    if missing := [lang for lang in chosen if lang not in langs]:
        raise ValueError(f"no description is in '{missing[0]}'; languages: {', '.join(found.langs)}")
    for number, lang in enumerate(found.langs):
        own = chosen.get(lang, chosen.get(main_lang(lang)))
        if own is None:
            # others are of patients' words and the like
            large = mains[:, number] * 2 >= mains[:, number].max(initial=0)
            core = refsets // 10 % 100 < 10  # the partition of an id: whether it is of the international edition
            keys = (refsets, refsets != _US_ENGLISH, core, ~large)
            order = [one for one in np.lexsort(keys).tolist() if members[one, number]]
        else:
            order = rows_of(np.array(own, np.int64), refsets).tolist()
            if -1 in order:
                known = ", ".join(map(str, refsets.tolist())) or "none"
                raise ValueError(f"no language reference set {own[order.index(-1)]} has members; found: {known}")
        places[order, number] = np.arange(len(order))
    return places
