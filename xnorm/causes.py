"""Why a mention was missed: what became of its gold concept, and the likely cause."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xnorm.labels import NameIndex, words_in
from xnorm.metrics import Ints
from xnorm.ranking import Judged
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["CAUSES", "OUTCOMES", "Missed", "looks_abbreviated", "missed"]

OUTCOMES = {
    "right": "the gold concept comes first; or NIL, and nothing was proposed",
    "ranked below": "the gold concept was proposed, but another one comes first",
    "lost": "a step proposed the gold concept, but it is not among the final candidates",
    "not retrieved": "no step proposed the gold concept",
    "said NIL": "nothing was proposed at all, although there is a gold concept",
    "missed NIL": "the mention is NIL, and a concept was proposed",
    "outside terminology": "no gold concept is in the terminology, so nothing could be right",
    "boundary": "a predicted mention overlaps, with other characters",
    "not found": "no predicted mention overlaps",
}
"""What became of the gold concept -> what it means. One a mention; the last two only where a system finds mentions."""

CAUSES = {
    "homonym": "the first candidate has the mention, or the name it was found by, in common with the gold concept",
    "wrong type": "the first candidate has no type in common with the gold concepts",
    "abbreviation": "the mention is one word of up to 8 characters with two capitals, or a capital and a digit",
    "complex mention": "the mention has three words or more, is discontinuous, or has several parts",
    "other": "none of these",
}
"""Cause of a miss -> when it is told. The first that applies is told; of a concept that was not proposed at all, what
the mention is like comes before what the first candidate is like."""


@dataclass(frozen=True)
class Missed:
    """What became of each mention."""

    outcomes: list[str]
    causes: list[str | None]
    """None where nothing was missed, or the outcome says it all."""


def missed(
    mentions: Sequence[Mention],
    judged: Judged,
    *,
    gold: Sequence[Sequence[int]],
    first: Ints,
    first_names: Sequence[str],
    ranks: Mapping[str, Ints],
    names: NameIndex,
    terminology: Terminology,
    found: Sequence[str] | None = None,
) -> Missed:
    """Tell the outcome and the cause of each mention.

    Args:
        judged: the final rankings with their gold.
        gold: of each mention, the rows of its gold concepts that are in the terminology; none for a composite that is
            not all there.
        first: shape (n,), the row of the first candidate; -1 for none or one outside the terminology.
        first_names: the name by which the first candidate was found; empty if none was.
        ranks: step -> shape (n,), rank of the gold after it from 1, 0 where it was not there.
        names: knows the mentions' texts and `first_names`.
        found: where a system finds mentions: `exact`, `overlap` or an empty string for each.
    """
    right = np.where(judged.n_gold == 0, judged.sizes == 0, judged.ranks == judged.needed)
    somewhere = np.zeros(len(judged), np.bool_)
    for step in ranks.values():
        somewhere |= step > 0
    types = _TypesOf(terminology)
    outcomes: list[str] = []
    causes: list[str | None] = []
    for i, mention in enumerate(mentions):
        outcome = _outcome(i, judged, bool(right[i]), bool(somewhere[i]), bool(gold[i]), found)
        outcomes.append(outcome)
        if outcome in ("ranked below", "lost", "not retrieved", "said NIL"):
            by_mention = _by_mention(mention)
            by_first = _by_first(mention, gold[i], int(first[i]), first_names[i], names, types)
            told = (by_first, by_mention) if outcome == "ranked below" else (by_mention, by_first)
            causes.append(told[0] or told[1] or "other")
        else:
            causes.append(None)
    return Missed(outcomes, causes)


def _outcome(i: int, judged: Judged, right: bool, somewhere: bool, inside: bool, found: Sequence[str] | None) -> str:
    if right:
        return "right"
    if judged.n_gold[i] == 0:
        return "missed NIL"
    if found is not None and found[i] != "exact":
        return "boundary" if found[i] else "not found"
    if judged.ranks[i] > 0:
        return "ranked below"
    if not inside:
        return "outside terminology"
    if somewhere:
        return "lost"
    return "not retrieved" if judged.sizes[i] else "said NIL"


def _by_first(
    mention: Mention, gold: Sequence[int], first: int, first_name: str, names: NameIndex, types: _TypesOf
) -> str | None:
    if first >= 0:
        for text in (mention.text, first_name):
            having = names.concepts(text)
            if first not in gold and first in having and having & set(gold):
                return "homonym"
        own, wanted = types[first], {t for row in gold for t in types[row]}
        if own and wanted and not wanted & own:
            return "wrong type"
    return None


def _by_mention(mention: Mention) -> str | None:
    if looks_abbreviated(mention.text):
        return "abbreviation"
    if words_in(mention.text) > 2 or len(mention.spans) > 1 or mention.composite:
        return "complex mention"
    return None


class _TypesOf:
    """The types of concepts, looked up once each."""

    def __init__(self, terminology: Terminology) -> None:
        self._column = terminology.concepts.column("types")
        self._known: dict[int, frozenset[str]] = {}

    def __getitem__(self, row: int) -> frozenset[str]:
        if row not in self._known:
            self._known[row] = frozenset(self._column[row].as_py() or ())
        return self._known[row]


_ONE_WORD = re.compile(r"[^\W_][^\s]{0,6}[^\W_]")


def looks_abbreviated(text: str) -> bool:
    """Return whether a text is written like an abbreviation: COPD, mRNA, T2DM, β2M, H.I.V."""
    text = text.strip().rstrip(".")
    if not _ONE_WORD.fullmatch(text):
        return False
    capitals = sum(c.isupper() for c in text)
    return capitals > 1 or (capitals == 1 and any(c.isdigit() for c in text))
