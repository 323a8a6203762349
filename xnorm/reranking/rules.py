"""Candidates ordered by rules that a person can read."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from xnorm.candidates.base import Candidates, MemberScores, Scores
from xnorm.config import StrictModel
from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean
from xnorm.reranking.base import Reranker, RerankerConfig
from xnorm.semantic_types import expand_types, spellings
from xnorm.tables import Terminology, ranges
from xnorm.text import clean, fold, fold_case, main_lang
from xnorm.types import Mention

__all__ = ["Rule", "RulesConfig", "RulesReranker"]

Keys = npt.NDArray[np.integer[Any] | np.bool_]
"""Shape (mentions, k); the smaller comes first."""


@dataclass(slots=True)
class Batch:
    """What rules are asked about."""

    facts: Facts
    mentions: Sequence[Mention]
    found: Candidates
    wanted: npt.NDArray[np.bool_]
    """Shape (mentions, k), which candidates are to be sorted; keys of others are not looked at."""


class Rule(StrictModel):
    """What every rule has."""

    rule: str
    """Which rule it is."""

    def check(self, facts: Facts) -> None:
        """Raise `ConfigError` where the rule does not fit the terminology."""

    def keeps(self, batch: Batch) -> npt.NDArray[np.bool_] | None:
        """Return which candidates stay, shape (mentions, k); None if all do."""
        return None

    @abstractmethod
    def keys(self, batch: Batch) -> Keys:
        """Return what candidates are sorted by."""


class ExactRule(Rule):
    """Candidates that have the mention itself as a name first: as written, then but for case and Unicode form, then but
    for accents, spelling variants and punctuation, then but for word order (the levels of the generator `exact`)."""

    rule: Literal["exact"]

    def keys(self, batch: Batch) -> Keys:
        return batch.facts.equality.levels([m.text for m in batch.mentions], batch.found.concepts, batch.wanted)


class TypeRule(Rule):
    """Candidates that are of a type of the mention first, then those without a type, then all others.

    A mention without types is left alone.
    """

    rule: Literal["type"]
    map: dict[str, Annotated[list[str], Field(min_length=1)]] = Field(default={})
    """Type of a mention -> types of concepts that agree with it; one that is not here agrees with itself."""
    umls: bool = False
    """Whether types are of UMLS: a semantic group (`DISO`) stands for its types, by id and by name."""
    effect: Literal["first", "drop"] = "first"
    """`drop` removes candidates that are of other types, wherever they stand, and leaves the order alone."""

    @model_validator(mode="after")
    def _check(self) -> TypeRule:
        for entity_type, types in self.map.items() if self.umls else ():
            try:
                expand_types(types)
            except ConfigError as e:
                raise ValueError(f"map.{entity_type}: {e}") from e
        return self

    def check(self, facts: Facts) -> None:
        known = {t for types in facts.types[1] for t in types}
        if not known:
            raise ConfigError("rule type: the concepts of this terminology have no types")
        for types in self.map.values():
            for word in () if self.umls else types:
                if word not in known:
                    raise ConfigError(f"rule type: no concept has the type '{word}'; {did_you_mean(word, known)}")

    def keeps(self, batch: Batch) -> npt.NDArray[np.bool_] | None:
        return self._levels(batch) < 2 if self.effect == "drop" else None

    def keys(self, batch: Batch) -> Keys:
        return self._levels(batch) if self.effect == "first" else np.zeros(batch.wanted.shape, np.int8)

    def _levels(self, batch: Batch) -> npt.NDArray[np.int8]:
        """Return 0 where types agree or the mention has none, 1 where the concept has none, else 2."""
        codes, sets = batch.facts.types
        position: dict[tuple[str, ...], int] = {}
        which = np.array([position.setdefault(m.types, len(position)) for m in batch.mentions], np.int64)
        wanted = [self._agreeing(types) for types in position]
        table = np.array(
            [[0 if not w or not w.isdisjoint(s) else 1 if not s else 2 for s in sets] for w in wanted], np.int8
        )
        return np.asarray(table[which[:, None], codes[batch.found.concepts]])

    def _agreeing(self, types: tuple[str, ...]) -> frozenset[str]:
        words = frozenset(word for t in types for word in self.map.get(t, (t,)))
        return frozenset().union(*map(_spelt, words)) if self.umls else words


class SourceRule(Rule):
    """Candidates of the sources named first, in their order; then those of all others."""

    rule: Literal["source"]
    order: list[str] = Field(min_length=1)
    """Sources of concepts."""

    def check(self, facts: Facts) -> None:
        known = facts.terminology.count_by("concepts", "source")
        for source in self.order:
            if source not in known:
                raise ConfigError(f"rule source: no concept is of '{source}'; {did_you_mean(source, known)}")

    def keys(self, batch: Batch) -> Keys:
        codes, sources = batch.facts.tags("concepts", "source")
        places = [self.order.index(s) if s in self.order else len(self.order) for s in sources]
        return np.array([*places, len(self.order)])[codes[batch.found.concepts]]


class LanguageRule(Rule):
    """Candidates whose matched name is in the mention's language first. A mention without language is left alone."""

    rule: Literal["language"]

    def keys(self, batch: Batch) -> Keys:
        codes, langs = batch.facts.tags("names", "lang")
        position: dict[str, int] = {}
        which = np.array([position.setdefault(main_lang(m.lang), len(position)) for m in batch.mentions], np.int64)
        # one more column, which is the last, for a candidate without a matched name
        table = np.array([[bool(p) and p != main_lang(lang) for lang in [*langs, None]] for p in position])
        return np.asarray(table[which[:, None], np.where(batch.found.names >= 0, codes[batch.found.names], -1)])


class PreferredRule(Rule):
    """Candidates whose matched name is the preferred one of its concept, in whatever language, first."""

    rule: Literal["preferred"]

    def keys(self, batch: Batch) -> Keys:
        codes, scopes = batch.facts.tags("names", "scope")
        others = np.array([*(s != "preferred" for s in scopes), True])
        return np.asarray(others[np.where(batch.found.names >= 0, codes[batch.found.names], -1)])


RULES: dict[str, type[Rule]] = {
    "exact": ExactRule, "type": TypeRule, "source": SourceRule, "language": LanguageRule, "preferred": PreferredRule
}  # fmt: skip


def _resolve(data: Any) -> Any:
    """Make a rule of its name, or of a mapping that has its name under `rule`."""
    if isinstance(data, Rule):
        return data
    if isinstance(data, str):
        data = {"rule": data}
    if not isinstance(data, Mapping) or "rule" not in data:
        raise ValueError(f"expected the name of a rule or a mapping with a 'rule', found {data!r}")
    if (name := str(data["rule"])) not in RULES:
        raise ValueError(f"unknown rule '{name}'; {did_you_mean(name, RULES)}")
    return RULES[name].model_validate(data)


class RulesConfig(RerankerConfig):
    """Which rules, in which order."""

    type: str = "rules"
    rules: list[Annotated[SerializeAsAny[Rule], BeforeValidator(_resolve)]] = Field(min_length=1)
    """An earlier rule outranks a later one; what is equal by all of them keeps its old order. Each is `exact`, `type`,
    `source`, `language` or `preferred`: its name, or a mapping of its settings with the name under `rule`."""


class RulesReranker(Reranker):
    """Sorts candidates by rules.

    The scores stay where they are: the candidate that comes first takes the score that the generator gave to its first,
    and so on. So scores still fall from left to right, and a threshold leaves as many candidates as it did before.
    """

    config_class: ClassVar[type[RerankerConfig]] = RulesConfig
    config: RulesConfig

    def __init__(self, config: RulesConfig, terminology: Terminology) -> None:
        self.config = config
        self._facts = Facts(terminology)
        for rule in config.rules:
            rule.check(self._facts)

    @classmethod
    def load(cls, config: RerankerConfig, terminology: Terminology) -> RulesReranker:
        """Raise `ConfigError` for types and sources that no concept has."""
        assert isinstance(config, RulesConfig)
        return cls(config, terminology)

    def score(self, mentions: Sequence[Mention], candidates: Candidates, wanted: npt.NDArray[np.bool_]) -> Scores:
        """Return minus the place, from 0, that each candidate comes to."""
        batch = Batch(self._facts, mentions, candidates, wanted)
        order = np.lexsort((*reversed([rule.keys(batch) for rule in self.config.rules]), ~wanted), axis=1)
        scores = np.empty(wanted.shape, np.float32)
        np.put_along_axis(scores, order, -np.arange(wanted.shape[1], dtype=np.float32)[None], axis=1)
        return scores

    def rerank(self, mentions: Sequence[Mention], candidates: Candidates) -> Candidates:
        """Return the candidates that the rules leave, in the order of the rules."""
        if not (candidates.concepts >= 0).any():
            return candidates
        for rule in self.config.rules:
            kept = rule.keeps(Batch(self._facts, mentions, candidates, candidates.concepts >= 0))
            candidates = candidates if kept is None else _keep(candidates, kept)
        out = super().rerank(mentions, candidates)
        return Candidates(out.concepts, candidates.scores.copy(), out.names, out.members)


def _keep(found: Candidates, kept: npt.NDArray[np.bool_]) -> Candidates:
    """Remove candidates; the others close up."""
    kept = kept & (found.concepts >= 0)
    order = np.argsort(~kept, axis=1, kind="stable")

    def move(array: npt.NDArray[Any], nothing: float) -> npt.NDArray[Any]:
        return np.take_along_axis(np.where(kept, array, array.dtype.type(nothing)), order, axis=1)

    members = {n: MemberScores(move(m.scores, np.nan), move(m.ranks, 0)) for n, m in found.members.items()}
    return Candidates(move(found.concepts, -1), move(found.scores, -np.inf), move(found.names, -1), members)


def _spelt(word: str) -> frozenset[str]:
    """Return a type of a mention in all spellings of UMLS, or as it is if it is none of UMLS."""
    try:
        return spellings([word])
    except ConfigError:
        return frozenset([word])


class Facts:
    """What rules ask of a terminology, read when first asked for."""

    def __init__(self, terminology: Terminology) -> None:
        self.terminology = terminology
        self.equality = Equality(terminology)
        self._tags: dict[tuple[str, str], tuple[npt.NDArray[np.int32], list[str]]] = {}

    @cached_property
    def types(self) -> tuple[npt.NDArray[np.int32], list[frozenset[str]]]:
        """For each concept the position of its types among the distinct sets of types, and those."""
        lists = self.terminology.concepts.column("types").combine_chunks()
        codes, joined = _encode(pc.binary_join(pc.fill_null(lists, []), "\0"))
        return codes, [frozenset(j.split("\0")) - {""} for j in joined]

    def tags(self, table: str, column: str) -> tuple[npt.NDArray[np.int32], list[str]]:
        """Return, for each row, the position of its value among the values of a tag column, and those."""
        if (table, column) not in self._tags:
            self._tags[table, column] = _encode(getattr(self.terminology, table).column(column).combine_chunks())
        return self._tags[table, column]


def _encode(array: pa.Array) -> tuple[npt.NDArray[np.int32], list[str]]:
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes: npt.NDArray[np.int32] = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False)
    return codes, array.dictionary.to_pylist()


class Equality:
    """Tells how equal a mention and the best of a concept's names are; folds names when their concept first comes."""

    def __init__(self, terminology: Terminology) -> None:
        self._terminology = terminology
        self._hashes = np.zeros(terminology.n_names, np.int64)
        self._known = np.zeros(len(terminology), bool)

    def levels(self, texts: Sequence[str], concepts: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_]) -> Keys:
        """Return 0 as written, 1 but for case, 2 but for accents and punctuation, 3 but for word order, 4 not equal."""
        out = np.full(concepts.shape, 4, np.int8)
        # forms of a text are nested: what is equal as written is equal in the loosest form, so that comes first
        hashes = {t: hash(_sorted_words(t)) for t in set(texts)}
        distinct, which = np.unique(np.array([hashes[t] for t in texts]), return_inverse=True)
        names, loosest = self._names_like(np.unique(concepts[wanted]), distinct)
        width = np.int64(len(self._terminology))
        code = loosest * width + self._terminology.name_concept[names]
        order = np.argsort(code, kind="stable")
        code, names = code[order], names[order]
        mention, column = np.nonzero(wanted & np.isin(which, loosest)[:, None])
        asked = which[mention] * width + concepts[mention, column]
        start, end = np.searchsorted(code, asked, "left"), np.searchsorted(code, asked, "right")
        hit = end > start
        mention, column, start, counts = mention[hit], column[hit], start[hit], (end - start)[hit]
        mine = [texts[i] for i in np.repeat(mention, counts).tolist()]
        theirs = self._terminology.take("names", "text", names[ranges(start, counts)])
        level = np.fromiter(map(_closeness, mine, theirs), np.int8, len(mine))
        out[mention, column] = np.minimum.reduceat(level, np.cumsum(counts) - counts) if len(level) else 4
        return out

    def _names_like(
        self, concepts: npt.NDArray[np.int32], wanted: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the names of concepts whose hash is one of those wanted (sorted), and the position of that."""
        first = self._terminology.first_name
        for_new = concepts[~self._known[concepts]]
        new = ranges(first[for_new], first[for_new + 1] - first[for_new])
        texts = self._terminology.take("names", "text", new)
        self._hashes[new] = np.fromiter((hash(_sorted_words(t)) for t in texts), np.int64, len(new))
        self._known[for_new] = True
        names = ranges(first[concepts], first[concepts + 1] - first[concepts])
        hashes = self._hashes[names]
        at = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        same = wanted[at] == hashes
        return names[same], at[same]


def _closeness(a: str, b: str) -> int:
    return 0 if a == b else next((i for i, form in enumerate((clean, fold_case, fold)) if form(a) == form(b)), 3)


def _sorted_words(text: str) -> str:
    return " ".join(sorted(fold(text).split(" ")))
