"""A text cut into sentences, none of which ends inside a span that must stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from xnorm.text import trimmed

__all__ = ["cut_sentences"]

Span = tuple[int, int]

_END = re.compile(
    # a stop, what closes after it, white space, and something that may begin a sentence
    r"""(?:[.!?…؟।](?:["'”’»)\]]*))(?=\s+["'“‘«(\[¿¡]*[^\W_])|[。！？｡](?:[”’」』）]*)|\n+"""
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[^\W\d_]|e\.g|i\.e|vs|etc|cf|ca|al|approx|fig|figs|tab|dr|drs|prof|mr|mrs|ms|st|no|vol|spp|sp|var|resp"
    r"|z\.b|u\.a|d\.h|bzw|ggf|evtl|p\.ej|ej|sr|sra|dra|env|p\.ex)\Z",
    re.IGNORECASE,
)
_WIDE_ENOUGH = 12
"""Characters before a full stop in which an abbreviation is looked for."""


def cut_sentences(text: str, whole: Sequence[Span] = (), *, longest: int = 2000) -> list[Span]:
    """Return the sentences of a text as spans without white space at their ends, in order.

    Sentences end at line ends and at stops before something that may begin a sentence, common abbreviations and
    initials aside. Where a sentence would end inside one of the spans, the two are one.

    Args:
        whole: spans that must not be cut.
        longest: characters of a sentence; what is longer is cut at white space, if there is some outside the spans.
    """
    barred = _union(whole)
    ends = [at for at in _ends(text) if 0 < at < len(text)]
    sentences: list[Span] = []
    start = 0
    for end in (*_outside(ends, barred), len(text)):
        sentences += _shortened(text, start, end, barred, longest)
        start = end
    return [span for span in (trimmed(text, *s) for s in sentences) if span[0] < span[1]]


def _ends(text: str) -> Iterator[int]:
    for match in _END.finditer(text):
        stop = match.start()
        if text[stop] == "." and _ABBREVIATION.search(text[max(0, stop - _WIDE_ENOUGH) : stop]):
            continue
        if text[stop] == "." and _next_is_lower(text, match.end()):
            continue
        yield match.end()


def _next_is_lower(text: str, at: int) -> bool:
    """Return whether the first letter or digit after a stop is a small letter, so that no sentence begins there."""
    found = re.compile(r"[^\W_]").search(text, at)
    return found is not None and found[0].islower()


def _union(spans: Sequence[Span]) -> list[Span]:
    """Return overlapping spans as one, in order."""
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _outside(places: Sequence[int], barred: Sequence[Span]) -> Iterator[int]:
    """Yield the places, ascending, that lie inside none of the spans, ascending; their borders are outside."""
    at = 0
    for place in places:
        while at < len(barred) and barred[at][1] <= place:
            at += 1
        if at == len(barred) or place <= barred[at][0]:
            yield place


def _shortened(text: str, start: int, end: int, barred: Sequence[Span], longest: int) -> Iterator[Span]:
    """Yield a sentence, or the parts of one that is too long."""
    if end - start <= longest:
        yield start, end
        return
    spaces = [m.start() for m in re.compile(r"\s").finditer(text, start, end)]
    last = start
    for place in _outside(spaces, barred):
        if place - start > longest and last > start:
            yield start, last
            start = last
        last = place
    if end - start > longest and last > start:
        yield start, last
        start = last
    yield start, end
