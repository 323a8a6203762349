"""Where the entities of a sentence are in its translation: by their markers, or else by their own translations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from xnorm.markers import Marked, Style, mark, nesting_pieces, unmark
from xnorm.text import fold_case, unspaced_letters

__all__ = ["TOO_CROSSED", "Entity", "Placed", "Unit", "place_by_markers", "place_by_text", "swapped"]

Span = tuple[int, int]

TOO_CROSSED = "too many other entities cross it"
MOST_SEARCHED = 20_000
"""Characters of a sentence in which entities are looked for by their text."""
MOST_LOOKED_FOR = 200
"""Distinct texts that are looked for in one sentence."""


@dataclass(frozen=True)
class Entity:
    """A mention in a sentence."""

    number: int
    """Which mention of its document it is."""
    text: str
    fragments: tuple[Span, ...]
    """In the sentence, ascending, not overlapping, without white space at their ends."""
    gold: tuple[str, ...]


@dataclass
class Unit:
    """A sentence, or what is left whole for the sake of an entity that crosses sentences."""

    start: int
    """Where it begins in the document."""
    text: str
    entities: list[Entity] = field(default_factory=list)

    @cached_property
    def pieces(self) -> dict[Span, list[Span]]:
        """Fragment of an entity -> pieces that it is marked as; none if others cross it too often."""
        fragments = [f for entity in self.entities for f in entity.fragments]
        return dict(zip(fragments, nesting_pieces(fragments), strict=True))

    def marked(self, style: Style) -> Marked:
        """Return the sentence with its entities in markers."""
        return mark(self.text, [piece for pieces in self.pieces.values() for piece in pieces], style)


@dataclass
class Placed:
    """A translation of a sentence, and where its entities are."""

    text: str
    spans: dict[int, tuple[Span, ...]] = field(default_factory=dict)
    """Place of the entity in `Unit.entities` -> its fragments in the translation, ascending."""
    lost: dict[int, str] = field(default_factory=dict)
    """Place of the entity -> why it has no span."""
    by_text: set[int] = field(default_factory=set)
    """Places of entities that were found without their markers."""
    fault: str | None = None
    """What is wrong with the translation as a whole."""

    def surface(self, place: int) -> str:
        """Return the text of an entity, its fragments joined by one space."""
        return " ".join(self.text[start:end] for start, end in self.spans[place])

    def drop(self, place: int, reason: str) -> None:
        """Take an entity back."""
        del self.spans[place]
        self.by_text.discard(place)
        self.lost[place] = reason


def place_by_markers(unit: Unit, marked: Marked, translation: str) -> Placed:
    """Return a translation without its markers, with the entities whose markers all came back whole."""
    found = unmark(translation, marked)
    placed = Placed(found.text)
    for place, entity in enumerate(unit.entities):
        spans = []
        for fragment in entity.fragments:
            pieces = unit.pieces[fragment]
            lost = [found.lost[piece] for piece in pieces if piece in found.lost]
            if not pieces or lost:
                placed.lost[place] = lost[0] if lost else TOO_CROSSED
                break
            joined = _hull(found.text, [found.spans[piece] for piece in pieces])
            if joined is None:
                placed.lost[place] = "its parts came apart"
                break
            spans.append(joined)
        else:
            placed.spans[place] = tuple(sorted(spans))
    return placed


def _hull(text: str, spans: Sequence[Span]) -> Span | None:
    """Return the span of several that follow one another, None if there is something between them."""
    ordered = sorted(spans)
    for (_, end), (start, _) in pairwise(ordered):
        if start < end or text[end:start].strip():
            return None
    return ordered[0][0], ordered[-1][1]


def place_by_text(unit: Unit, placed: Placed, alone: Mapping[str, str]) -> Placed:
    """Return a copy in which lost entities are looked for by their own translations.

    An entity is found if the sentence's translation holds the entity's translation just as often as the sentence holds
    the entity, and all of them are annotated, with the same gold ids: then none can be mistaken for another.

    Args:
        placed: a translation, some of whose entities may have their places.
        alone: text of an entity -> its translation by itself.
    """
    found = Placed(placed.text, dict(placed.spans), dict(placed.lost), set(placed.by_text), placed.fault)
    if not found.lost or max(len(unit.text), len(found.text)) > MOST_SEARCHED:
        return found
    groups: dict[str, list[int]] = {}
    for place, entity in enumerate(unit.entities):
        groups.setdefault(fold_case(alone.get(entity.text, "")), []).append(place)
    wanted = {key: places for key, places in groups.items() if any(place in found.lost for place in places)}
    for key, places in list(wanted.items())[:MOST_LOOKED_FOR]:
        entities = [unit.entities[place] for place in places]
        if not _can_be_found(key) or len({e.gold for e in entities}) > 1 or any(len(e.fragments) > 1 for e in entities):
            continue
        in_source = Counter(e.text for e in entities)
        if any(len(_occurrences(unit.text, text)) != n for text, n in in_source.items()):
            continue
        spans = _occurrences(found.text, alone[entities[0].text])
        if len(spans) != len(places) or len({e.fragments for e in entities}) != len(entities):
            continue
        taken = {found.spans[place][0] for place in places if place in found.spans}
        rest = [span for span in spans if span not in taken]
        lost = sorted((p for p in places if p in found.lost), key=lambda p: unit.entities[p].fragments)
        if len(rest) != len(lost):
            continue
        for place, span in zip(lost, rest, strict=True):
            found.spans[place] = (span,)
            found.by_text.add(place)
            del found.lost[place]
    for place in _colliding(unit, found):
        found.drop(place, "its text was found in another entity")
    return found


def _colliding(unit: Unit, placed: Placed) -> list[int]:
    """Return the entities found by their text that share a part of the translation with one which they share none of
    the sentence with: one word may stand in the translations of both."""
    if not placed.by_text:
        return []
    spans = sorted((span, place) for place, fragments in placed.spans.items() for span in fragments)
    wrong: set[int] = set()
    open_: list[tuple[Span, int]] = []
    for span, place in spans:
        open_ = [(other, at) for other, at in open_ if other[1] > span[0]]
        for _, at in open_:
            if at != place and not _meet(unit.entities[place], unit.entities[at]):
                wrong |= {place, at} & placed.by_text
        open_.append((span, place))
    return sorted(wrong)


def _can_be_found(text: str) -> bool:
    """Return whether a text is long enough to be found by itself."""
    return len(text) + unspaced_letters(text) >= 3 and any(c.isalpha() for c in text)


def _occurrences(text: str, wanted: str) -> list[Span]:
    """Return where a text stands in another as words of their own, case and the kind of white space aside."""
    words = r"\s+".join(re.escape(word) for word in wanted.split())
    before = r"(?<!\w)" if wanted[:1].isalnum() and not unspaced_letters(wanted[:1]) else ""
    after = r"(?!\w)" if wanted[-1:].isalnum() and not unspaced_letters(wanted[-1:]) else ""
    return [m.span() for m in re.finditer(before + words + after, text, re.IGNORECASE)] if words else []


def swapped(unit: Unit, placed: Placed, alone: Mapping[str, str]) -> list[int]:
    """Return the entities that have words of another one's translation and none of their own: their markers, or those
    of the other, came back around the wrong words. An entity is compared only with those of other gold ids
    that stand elsewhere.

    Args:
        alone: text of an entity -> its translation by itself.
    """
    words = {place: _words(placed.surface(place)) for place in placed.spans}
    own = {place: _words(alone.get(unit.entities[place].text, "")) for place in placed.spans}
    holders: dict[str, set[int]] = {}
    for place, theirs in own.items():
        for word in theirs:
            holders.setdefault(word, set()).add(place)
    wrong = []
    for place, here in words.items():
        if here & own[place] or not own[place]:
            continue
        others: Counter[int] = Counter(other for word in here for other in list(holders.get(word, ()))[:50])
        entity = unit.entities[place]
        for other, n in others.items():
            if (
                n == len(own[other])
                and unit.entities[other].gold != entity.gold
                and not _meet(entity, unit.entities[other])
            ):
                wrong.append(place)
                break
    return wrong


def _meet(one: Entity, other: Entity) -> bool:
    """Return whether two entities share a part of the sentence, so that they may share words of its translation."""
    return any(a < d and c < b for a, b in one.fragments for c, d in other.fragments)


def _words(text: str) -> set[str]:
    """Return the words of a text; the characters, where words do not stand apart."""
    folded = fold_case(text)
    return set(folded.replace(" ", "")) if unspaced_letters(folded) else set(re.findall(r"\w+", folded))
