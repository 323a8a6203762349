"""The nouns: document, mention, concept, name, candidate, ranking.

These are what people hold in their hands. Bulk data never takes this form: a terminology is Arrow tables
(`xnorm.tables`), a batch of candidates is three aligned arrays (`xnorm.candidates.base`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import overload

__all__ = ["SCOPES", "Candidate", "Concept", "Document", "MemberScore", "Mention", "Name", "Ranking"]

SCOPES = ("preferred", "exact", "narrow", "broad", "related", "alias")
"""How a name relates to its concept; the order is the order of trust. An alias is a name that no source of the
terminology gives to the concept: `xnorm.aliases` added it."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A string to be linked, with what is known about it."""

    text: str
    id: str | None = None
    lang: str | None = None
    """Language as an ISO 639-1 code (or 639-3 where there is none), lower case."""
    types: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    """Half-open character offsets in the document; several for a discontinuous mention."""
    left: str = ""
    """Context before the mention."""
    right: str = ""
    """Context after the mention."""
    gold: tuple[str, ...] = ()
    """Concept ids that an annotator gave."""
    composite: bool = False
    """Whether all gold ids hold together (`breast and ovarian cancer`); otherwise any one of them is right."""
    document: str | None = None
    """Id of the document that the mention stands in; None for one of a list."""


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its mentions."""

    id: str
    text: str
    mentions: tuple[Mention, ...] = ()
    lang: str | None = None


@dataclass(frozen=True, slots=True)
class Name:
    """One string of a concept."""

    text: str
    lang: str
    scope: str
    source: str
    weight: float = 1.0
    """What generators multiply the name's score by; less than 1 for a name that is trusted less."""


@dataclass(frozen=True, slots=True)
class Concept:
    """A view of one row of a terminology."""

    id: str
    name: str
    names: tuple[Name, ...]
    types: tuple[str, ...] = ()
    xrefs: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    definition: str | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class MemberScore:
    """What one member of an ensemble said of a candidate: its own score, and its rank from 1 (None: not proposed)."""

    score: float
    rank: int | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One proposed concept for one mention."""

    concept_id: str
    name: str
    """The concept's preferred name."""
    score: float
    matched_name: str
    """The name of the concept that won it its score."""
    lang: str
    """Language of the matched name."""
    source: str
    """Source of the matched name."""
    members: dict[str, MemberScore] = field(default_factory=dict)
    """By member of an ensemble; empty for a single generator."""


class Ranking(Sequence[Candidate]):
    """The candidates of one mention, best first. Empty means NIL: no concept of the terminology.

    Candidates are made when first asked for, so a batch of rankings costs no more than its arrays.
    """

    __slots__ = ("_candidates", "_make", "_size", "mention")

    def __init__(self, mention: Mention, size: int, make: Callable[[], list[Candidate]]) -> None:
        self.mention = mention
        self._size = size
        self._make = make
        self._candidates: list[Candidate] | None = None

    def _all(self) -> list[Candidate]:
        if self._candidates is None:
            self._candidates = self._make()
        return self._candidates

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> list[Candidate]: ...
    def __getitem__(self, index: int | slice) -> Candidate | list[Candidate]:
        return self._all()[index]

    @property
    def is_nil(self) -> bool:
        """Whether no concept was proposed."""
        return self._size == 0

    def __repr__(self) -> str:
        best = f"{self[0].concept_id} {self[0].name!r} {self[0].score:.3f}" if self._size else "NIL"
        return f"Ranking({self.mention.text!r}: {best}, {self._size} candidates)"
