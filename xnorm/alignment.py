"""The names of a terminology as what an encoder learns from: which mean the same, and which are never opposed.

Concepts that share a name, in whatever language, form one group, and so on through further names that they share: an
encoder sees texts alone, so it cannot tell equal ones apart and is never asked to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from xnorm.config import StrictModel
from xnorm.errors import ConfigError, DataError
from xnorm.tables import Terminology
from xnorm.text import LangFilter, clean, fold_case, main_lang
from xnorm.types import SCOPES

__all__ = ["AlignedNames", "Extra", "NamesConfig"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class NamesConfig(StrictModel):
    """Which names an encoder learns from."""

    languages: list[str] | None = None
    """Languages; default: all. A region counts as its language: `pt` takes names in `pt-br`, too."""
    scopes: list[str] = Field(default=["preferred", "exact"], min_length=1)
    """Scopes of names that mean the concept itself."""

    @field_validator("scopes")
    @classmethod
    def _check_scopes(cls, scopes: list[str]) -> list[str]:
        for scope in scopes:
            if scope not in SCOPES:
                raise ValueError(f"unknown scope '{scope}'; known: {', '.join(SCOPES)}")
        return scopes


@dataclass(frozen=True, slots=True)
class Extra:
    """A text that means a concept without being one of its names: a mention with gold, for instance."""

    text: str
    concept: str
    """Id."""
    lang: str
    weight: float = 1.0


@dataclass(frozen=True)
class AlignedNames:
    """Texts and what concept each means, as columns. No concept has a text twice, case aside."""

    texts: list[str]
    concepts: npt.NDArray[np.int32]
    """Shape (n,), ascending: rows of the terminology's concepts."""
    groups: npt.NDArray[np.int32]
    """Shape (n,): concepts that share a text, case aside, have one number, directly or through others. Texts of one
    group are never negatives of each other."""
    langs: npt.NDArray[np.int16]
    """Shape (n,): index into `languages`."""
    languages: list[str]
    """Codes without regions, the most frequent first, which is the main language."""
    weights: npt.NDArray[np.float32]
    """Shape (n,): how much a text counts in the loss; 1, or less for aliases and weak supervision."""

    @classmethod
    def of(
        cls, terminology: Terminology, config: NamesConfig | None = None, extra: Sequence[Extra] = ()
    ) -> AlignedNames:
        """Return the names of a terminology and further texts.

        Args:
            extra: in addition; those whose concept is not in the terminology, or whose language is known and not
                wanted, are left out.

        Raises:
            ConfigError: a language is asked for that has no names.
            DataError: there is nothing to align, for no concept has two texts.
        """
        config = config or NamesConfig()
        rows = _wanted(terminology, config)
        texts = [clean(text) for text in terminology.take("names", "text", rows)]
        langs = [main_lang(lang) for lang in terminology.take("names", "lang", rows)]
        concepts = terminology.name_concept[rows].astype(np.int64)
        known = terminology.name_weights
        weights = np.ones(len(rows), np.float32) if known is None else np.asarray(known, np.float32)[rows]
        if extra:
            of = terminology.rows([e.concept for e in extra]).astype(np.int64)
            asked = LangFilter(config.languages)
            kept = [
                i for i, e in enumerate(extra) if of[i] >= 0 and (e.lang == "und" or asked(e.lang)) and clean(e.text)
            ]
            texts += [clean(extra[i].text) for i in kept]
            langs += [main_lang(extra[i].lang) for i in kept]
            concepts = np.concatenate([concepts, of[kept]])
            weights = np.concatenate([weights, np.array([extra[i].weight for i in kept], np.float32)])
        names = _columns(texts, langs, concepts, weights)
        _refuse_nothing(names, terminology)
        return names

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Ints | Bools) -> AlignedNames:
        """Return some of the texts, by ascending number or by mask; groups and languages keep their numbers."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        texts = [self.texts[i] for i in rows.tolist()]
        concepts, groups, langs = self.concepts[rows], self.groups[rows], self.langs[rows]
        return AlignedNames(texts, concepts, groups, langs, self.languages, self.weights[rows])

    @cached_property
    def n_concepts(self) -> int:
        """Number of concepts that have a text."""
        return len(np.unique(self.concepts))

    def counts(self) -> dict[str, Any]:
        """Return what there is, as plain data."""
        _, sizes = np.unique(self.concepts, return_counts=True)
        firsts = np.flatnonzero(np.append(True, self.concepts[1:] != self.concepts[:-1])[: len(self)])
        _, members = np.unique(self.groups[firsts], return_counts=True)
        by_lang = np.bincount(self.langs, minlength=len(self.languages)).tolist()
        return {
            "names": len(self),
            "concepts": self.n_concepts,
            "with_two_names": int((sizes > 1).sum()),
            "groups": len(members),
            "largest_group": int(members.max(initial=0)),
            "names_by_lang": dict(zip(self.languages, by_lang, strict=True)),
        }


def _wanted(terminology: Terminology, config: NamesConfig) -> Ints:
    """Return the name rows of wanted languages and scopes."""
    masks = []
    asked = LangFilter(config.languages)
    for column, wanted in (("lang", asked), ("scope", set(config.scopes).__contains__)):
        tags = terminology.names.column(column).combine_chunks()
        good = np.array([bool(wanted(tag or "")) for tag in tags.dictionary.to_pylist()] + [False])
        masks.append(good[pc.fill_null(tags.indices, -1).to_numpy(zero_copy_only=False)])
    if config.languages is not None:
        tags = terminology.names.column("lang").filter(pa.array(masks[1])).unique().to_pylist()
        found = {main_lang(tag or "") for tag in tags} - {""}
        for lang in sorted({main_lang(code) for code in asked.wanted or ()} - found):
            raise ConfigError(
                f"languages: the terminology has no {' or '.join(config.scopes)} names in '{lang}'; it has some in "
                f"{', '.join(sorted(found)) or 'no language'}"
            )
    return np.flatnonzero(masks[0] & masks[1])


def _columns(texts: list[str], langs: list[str], concepts: Ints, weights: npt.NDArray[np.float32]) -> AlignedNames:
    """Return aligned columns of rows in any order; of equal texts of a concept the first counts."""
    folded = pa.array([fold_case(text) for text in texts], pa.large_string()).dictionary_encode()
    codes = folded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    groups = _groups(concepts, codes, len(folded.dictionary))
    _, first = np.unique(concepts * (len(folded.dictionary) + 1) + codes, return_index=True)
    rows = np.sort(first)
    rows = rows[np.argsort(concepts[rows], kind="stable")]
    tags = pa.array([langs[i] for i in rows.tolist()], pa.string()).dictionary_encode()
    known: list[str] = tags.dictionary.to_pylist()
    numbers = tags.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(numbers, minlength=len(known)).tolist()
    order = sorted(range(len(known)), key=lambda i: (-counts[i], known[i]))
    place = np.argsort(np.array(order, np.int64)).astype(np.int16)
    return AlignedNames(
        [texts[i] for i in rows.tolist()],
        concepts[rows].astype(np.int32),
        groups[rows],
        place[numbers] if len(rows) else np.empty(0, np.int16),
        [known[i] for i in order],
        weights[rows],
    )


def _groups(concepts: Ints, codes: Ints, n_texts: int) -> npt.NDArray[np.int32]:
    """Return the group of each row: components of the graph of concepts and texts."""
    if not len(concepts):
        return np.empty(0, np.int32)
    numbers, own = np.unique(concepts, return_inverse=True)
    size = len(numbers) + n_texts
    edges = coo_matrix((np.ones(len(own), np.int8), (own, codes + len(numbers))), shape=(size, size))
    return np.asarray(connected_components(edges, directed=False)[1][own], np.int32)


def _refuse_nothing(names: AlignedNames, terminology: Terminology) -> None:
    _, sizes = np.unique(names.concepts, return_counts=True)
    if not (sizes > 1).any():
        raise DataError(
            f"nothing to align: 0 of {len(terminology):,} concepts have two names that differ ({len(names):,} names "
            "of the wanted languages and scopes)",
            fix="add a source with synonyms or translations, or take more languages or scopes (names.languages, "
            "names.scopes)",
        )
