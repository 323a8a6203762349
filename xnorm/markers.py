"""Markers around parts of a text that survive a translation: written with numbers, read back, and never guessed.

As in Y. Chen et al. 2023, Frustratingly Easy Label Projection for Cross-lingual Transfer, the parts are numbered; here
a number is bound to its part from writing to reading, and what comes back bent is dropped with a reason.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from xnorm.text import trimmed

__all__ = ["STYLES", "Marked", "Style", "Unmarked", "mark", "nesting_pieces", "unmark"]

Span = tuple[int, int]

MOST_PIECES = 4
"""Pieces that a span may be cut into by others that cross it; more would make the text unreadable to a translator."""


@dataclass(frozen=True)
class Style:
    """A way to write markers, and to find them again however a translator has spaced or dressed them."""

    opening: str
    closing: str
    pattern: re.Pattern[str]
    """The group `number`, and a slash before or after it, in the group `before` or `after`, closes."""


def _style(opening: str, closing: str, begins: str, ends: str) -> Style:
    slash = r"\s*(?:(?P<{}>[/／\\])\s*)?"  # white space can be read in one way only, so that long runs cost no time
    middle = (
        slash.format("before")
        + ("[mMмМｍ]\\s*" if "m" in opening else "")
        + r"(?P<number>\d{1,6})"
        + slash.format("after")
    )
    return Style(opening, closing, re.compile(f"(?:{begins}){middle}(?:{ends})"))


STYLES = {
    "brackets": _style("[{}]", "[/{}]", r"[\[［【〔]", r"[\]］】〕]"),
    "tags": _style("<m{}>", "</m{}>", "[<＜‹«〈《]|&lt;", "[>＞›»〉》]|&gt;"),
    "braces": _style("{{{}}}", "{{/{}}}", "[{｛]", "[}｝]"),
}
"""By name; the order is the one in which they are tried unless the user says otherwise."""


def nesting_pieces(spans: Sequence[Span]) -> list[list[Span]]:
    """Return the pieces that each span is marked as, so that no two pieces cross.

    A span that another one crosses which begins before it is cut where that one ends. One that would fall into more
    than `MOST_PIECES` gets none.

    Args:
        spans: not empty, in any order, equal ones allowed.
    """
    distinct = sorted(set(spans), key=_outer_first)
    pieces: dict[Span, list[Span]] = {span: [] for span in distinct}
    # (start, -end, span that the rest belongs to): a rest of a span comes up again where it begins
    waiting = [(start, -end, (start, end)) for start, end in distinct]
    heapq.heapify(waiting)
    enclosing: list[int] = []  # ends of the pieces that are open, the innermost last
    given_up: set[Span] = set()
    while waiting:
        start, minus_end, owner = heapq.heappop(waiting)
        end = -minus_end
        if owner in given_up:
            continue
        while enclosing and enclosing[-1] <= start:
            enclosing.pop()
        if enclosing and enclosing[-1] < end:
            if len(pieces[owner]) + 2 > MOST_PIECES:
                given_up.add(owner)
                continue
            heapq.heappush(waiting, (enclosing[-1], -end, owner))
            end = enclosing[-1]
        pieces[owner].append((start, end))
        enclosing.append(end)
    return [[] if span in given_up else pieces[span] for span in spans]


def _outer_first(span: Span) -> tuple[int, int]:
    return span[0], -span[1]


@dataclass(frozen=True)
class Marked:
    """A text with markers in it."""

    text: str
    style: Style
    numbers: dict[int, Span]
    """Number of a marker -> the piece that it stands around."""
    parents: dict[int, int | None]
    """Number -> that of the innermost piece around it."""
    inside_words: frozenset[tuple[int, bool]]
    """(number, whether closing) of markers that stand inside a word."""


def mark(text: str, pieces: Sequence[Span], style: Style) -> Marked:
    """Return a text with its pieces between markers.

    Numbers that the text itself has in something that looks like a marker are not used, so that what is not ours stays
    text when the translation is read.

    Args:
        pieces: not empty, none of which crosses another; equal ones share a marker.
    """
    taken = {int(match["number"]) for match in style.pattern.finditer(text)}
    free = (n for n in count(1) if n not in taken)
    out: list[str] = []
    numbers: dict[int, Span] = {}
    parents: dict[int, int | None] = {}
    inside: set[tuple[int, bool]] = set()
    open_: list[tuple[int, int]] = []  # (number, end)
    at = 0

    def close_until(start: int) -> int:
        here = at
        while open_ and open_[-1][1] <= start:
            number, end = open_.pop()
            out.extend((text[here:end], style.closing.format(number)))
            if _inside_word(text, end):
                inside.add((number, True))
            here = end
        return here

    for start, end in sorted(set(pieces), key=_outer_first):
        at = close_until(start)
        number = next(free)
        numbers[number], parents[number] = (start, end), open_[-1][0] if open_ else None
        out.extend((text[at:start], style.opening.format(number)))
        if _inside_word(text, start):
            inside.add((number, False))
        open_.append((number, end))
        at = start
    at = close_until(len(text))
    out.append(text[at:])
    return Marked("".join(out), style, numbers, parents, frozenset(inside))


def _inside_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and text[at - 1].isalnum() and text[at].isalnum()


@dataclass(frozen=True)
class _Found:
    """A marker in a translation."""

    start: int
    end: int
    closes: bool
    number: int

    @property
    def key(self) -> tuple[int, bool]:
        return self.number, self.closes


@dataclass(frozen=True)
class Unmarked:
    """A translation without its markers."""

    text: str
    spans: dict[Span, Span]
    """Piece of the source -> where it is in the translation."""
    lost: dict[Span, str]
    """Piece of the source -> why it has no place."""


def unmark(translation: str, marked: Marked) -> Unmarked:
    """Return a translation without markers, and where the pieces are in it.

    A piece has a place if its two markers came back once each, in order, around something, and in the same nest as in
    the source; every other one is lost, with a reason.
    """
    found = [
        _Found(match.start(), match.end(), bool(match["before"] or match["after"]), int(match["number"]))
        for match in marked.style.pattern.finditer(translation)
        if int(match["number"]) in marked.numbers
    ]
    sides: dict[tuple[int, bool], list[int]] = {}
    for place, marker in enumerate(found):
        sides.setdefault(marker.key, []).append(place)
    reasons: dict[int, str] = {}
    for number in marked.numbers:
        opened, closed = sides.get((number, False), []), sides.get((number, True), [])
        if reason := _broken(opened, closed):
            reasons[number] = reason
    whole = [marker for marker in found if marker.number not in reasons]
    entangled = _entangled(whole, marked.parents, reasons)
    reasons |= dict.fromkeys(entangled, "markers came back entangled")
    text, places = _strip(translation, found, marked.inside_words)
    spans: dict[Span, Span] = {}
    for number, piece in marked.numbers.items():
        if number in reasons:
            continue
        start, end = trimmed(text, places[number, False], places[number, True])
        if start >= end:
            reasons[number] = "nothing is left between its markers"
        else:
            spans[piece] = (start, end)
    return Unmarked(text, spans, {marked.numbers[number]: reason for number, reason in reasons.items()})


def _broken(opened: list[int], closed: list[int]) -> str | None:
    """Return what is wrong with the markers of one number."""
    if not opened and not closed:
        return "both markers are lost"
    if not opened or not closed:
        return "one of its markers is lost"
    if len(opened) > 1 or len(closed) > 1:
        return "a marker came back more than once"
    return "its markers came back in reverse" if opened[0] > closed[0] else None


def _entangled(found: Sequence[_Found], parents: dict[int, int | None], lost: dict[int, str]) -> set[int]:
    """Return the numbers that are not nested as they were.

    Args:
        found: in the order of the translation; each number opens once and closes after it.
        parents: number -> the innermost one around it in the source.
        lost: numbers that are no longer there, so that what was in them now is in what was around them.
    """
    bad: set[int] = set()
    around: dict[int, int | None] = {}
    open_: list[int] = []
    for marker in found:
        number = marker.number
        if not marker.closes:
            around[number] = open_[-1] if open_ else None
            open_.append(number)
        elif open_[-1] == number:
            open_.pop()
        else:  # what was opened later closes later: they cross
            bad.update(open_[open_.index(number) :])
            open_.remove(number)
    for number, now in around.items():
        before = parents[number]
        while before is not None and before in lost:
            before = parents[before]
        if now != before:
            bad.update(n for n in (number, now, before) if n is not None)
    return bad


_OPENS, _ENDS = "([{«“‘¿¡„", ".,;:!?)]}»”’%、。，；：！？）"


def _strip(
    translation: str, found: Sequence[_Found], inside_words: frozenset[tuple[int, bool]]
) -> tuple[str, dict[tuple[int, bool], int]]:
    """Return the text without markers, and where each (number, whether closing) was in it.

    White space that stands on both sides of a marker is kept on one side; what a translator put between a marker and
    the word or the full stop beside it goes; where it ate the spaces around both markers of a piece, they are put back.
    Nothing is changed where a translator changed nothing.
    """
    glued = _glued(translation, found, inside_words)
    out: list[str] = []
    size, at = 0, 0
    places: dict[tuple[int, bool], int] = {}
    here: list[tuple[int, bool]] = []  # markers since the last text
    for marker in (*found, None):
        piece = translation[at : marker.start if marker else None]
        last = out[-1][-1] if out else ""
        if here:
            closes = here[-1][1]
            if not last or last.isspace() or (not closes and last in _OPENS):
                piece = piece.lstrip()
            if closes and out and piece[:1] and piece[0] in _ENDS and last.isspace():
                size -= len(out[-1]) - len(out[-1].rstrip())
                out[-1] = out[-1].rstrip()
                places.update({key: size for key in here if places[key] > size})
                out = out if out[-1] else out[:-1]
        if piece:
            out.append(piece)
            size += len(piece)
            here = []
        if marker is None:
            break
        if marker.key in glued and out and not out[-1][-1].isspace():
            out.append(" ")
            size += 1
        places[marker.key] = size
        here.append(marker.key)
        at = marker.end
    return "".join(out), places


def _glued(
    translation: str, found: Sequence[_Found], inside_words: frozenset[tuple[int, bool]]
) -> set[tuple[int, bool]]:
    """Return the markers that need a space, for they stand between letters of one word, the other one of their number
    does, too, and neither did so in the source."""
    between: dict[int, set[bool]] = {}
    run: list[_Found] = []
    for marker, following in zip(found, (*found[1:], None), strict=False):
        run.append(marker)
        if following is not None and following.start == marker.end:
            continue
        if _joins(translation[run[0].start - 1 : run[0].start], translation[marker.end : marker.end + 1]):
            for each in run:
                if each.key not in inside_words:
                    between.setdefault(each.number, set()).add(each.closes)
        run = []
    return {(number, closes) for number, both in between.items() if len(both) == 2 for closes in both}


def _joins(left: str, right: str) -> bool:
    """Return whether two characters are letters of scripts whose words stand apart and take no particles."""
    return bool(left and right) and all(
        c.isalpha() and unicodedata.name(c, "").startswith(("LATIN", "GREEK", "CYRILLIC")) for c in (left, right)
    )
