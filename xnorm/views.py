"""Candidates as objects that people hold in their hands, made when asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from xnorm.candidates.base import Candidates
from xnorm.tables import Terminology
from xnorm.types import Candidate, MemberScore

__all__ = ["Maker", "views"]


def views(terminology: Terminology, candidates: Candidates, rows: slice = slice(None)) -> list[list[Candidate]]:
    """Return the candidates of some mentions (default: all), best first."""
    part = candidates.concepts[rows]
    at = np.nonzero(part >= 0)
    concept, name = part[at], candidates.names[rows][at]
    shown = np.where(name >= 0, name, terminology.first_name[concept])
    columns = [terminology.take("concepts", c, concept) for c in ("id", "name")]
    columns += [terminology.take("names", c, shown) for c in ("text", "lang", "source")]
    scores = candidates.scores[rows][at].tolist()
    members = _member_views(candidates, rows, at)
    out: list[list[Candidate]] = [[] for _ in range(len(part))]
    for row, score, parts, cells in zip(at[0].tolist(), scores, members, zip(*columns, strict=True), strict=True):
        identifier, preferred, matched, lang, source = cells
        out[row].append(Candidate(identifier, preferred, round(score, 6), matched, lang, source, parts))
    return out


class Maker:
    """Makes the candidates of one ranking when asked."""

    __slots__ = ("candidates", "row", "terminology")

    def __init__(self, terminology: Terminology, candidates: Candidates, row: int) -> None:
        self.terminology, self.candidates, self.row = terminology, candidates, row

    def __call__(self) -> list[Candidate]:
        return views(self.terminology, self.candidates, slice(self.row, self.row + 1))[0]


def _member_views(candidates: Candidates, rows: slice, at: Any) -> list[dict[str, MemberScore]]:
    """Return, for each candidate at the given positions, what each member said of it."""
    views: list[dict[str, MemberScore]] = [{} for _ in range(len(at[0]))]
    for name, member in candidates.members.items():
        scores, ranks = member.scores[rows][at].tolist(), member.ranks[rows][at].tolist()
        for view, score, rank in zip(views, scores, ranks, strict=True):
            view[name] = MemberScore(round(score, 6), rank or None)
    return views
