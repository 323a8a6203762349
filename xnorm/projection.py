"""Documents carried into another language with their entities: cut, marked, translated, found again, checked.

Every entity keeps its id and gold ids with the exact place of its translation, or is dropped with a reason. An entity
is known by its number from the first step to the last, so that one which is dropped never lends its label to another.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from pydantic import Field, model_validator

from xnorm.config import StrictModel
from xnorm.markers import STYLES
from xnorm.plausibility import effective_length, unchanged
from xnorm.realignment import TOO_CROSSED, Entity, Placed, Unit, place_by_markers, place_by_text, swapped
from xnorm.registry import did_you_mean
from xnorm.sentences import cut_sentences
from xnorm.text import trimmed, unspaced_letters
from xnorm.translation_audit import OTHER_CONCEPT, Lexicon, TranslationAudit
from xnorm.translation_checks import NOT_WHOLE, ChecksConfig, Judge, Knows
from xnorm.types import Document, Mention

__all__ = ["ProjectionConfig", "Work", "finish", "prepare", "project"]

CONTEXT = 128
"""Characters of context on either side of a translated mention, as readers cut it."""
FINAL = frozenset({NOT_WHOLE, TOO_CROSSED})
"""Reasons that no other markers would mend."""

Translate = Callable[[Sequence[str]], Sequence[str]]


class ProjectionConfig(StrictModel):
    """How entities are carried into another language."""

    markers: list[str] = Field(default_factory=lambda: list(STYLES))
    """Styles of markers, tried in this order for a sentence until all its entities come back: `brackets` (`[1] [/1]`),
    `tags` (`<m1> </m1>`), `braces` (`{1} {/1}`)."""
    find_by_text: bool = True
    """Whether entities whose markers are lost are looked for by their own translations."""
    longest_sentence: int = Field(default=1000, ge=50)
    """Characters of a sentence; a longer one is cut at white space, and an entity that reaches further is dropped."""
    checks: ChecksConfig = ChecksConfig()
    """What an entity that came back must be like."""

    @model_validator(mode="after")
    def _check_markers(self) -> ProjectionConfig:
        for style in self.markers:
            if style not in STYLES:
                raise ValueError(f"markers: unknown style '{style}'; {did_you_mean(style, STYLES)}")
        if len(set(self.markers)) < len(self.markers):
            raise ValueError("markers: a style is named twice")
        if not self.markers and not self.find_by_text:
            raise ValueError("markers: expected at least one style, or find_by_text")
        return self


@dataclass
class Work:
    """A document on its way."""

    document: Document
    units: list[Unit]
    placed: list[Placed] = field(default_factory=list)
    """One a unit, when all are translated."""


def prepare(document: Document, config: ProjectionConfig, audit: TranslationAudit) -> Work:
    """Return a document cut into sentences that hold its entities; those that cannot be carried are dropped."""
    fragments = {}
    for number, mention in enumerate(document.mentions):
        spans = _fragments(mention, document, config.longest_sentence)
        if isinstance(spans, str):
            audit.drop(replace(mention, document=mention.document or document.id), spans)
        else:
            fragments[number] = spans
    text = document.text
    whole = [(spans[0][0], spans[-1][1]) for spans in fragments.values()]
    plain = len(cut_sentences(text, longest=config.longest_sentence))
    cuts = cut_sentences(text, whole, longest=config.longest_sentence)
    audit.joined += max(0, plain - len(cuts))
    # line ends and tabs become spaces, one for one: translators take them for ends of texts
    units = [Unit(start, "".join(" " if c.isspace() else c for c in text[start:end])) for start, end in cuts]
    starts = [unit.start for unit in units]
    for number, spans in fragments.items():
        unit = units[bisect_right(starts, spans[0][0]) - 1]
        inner = tuple((start - unit.start, end - unit.start) for start, end in spans)
        surface = " ".join(unit.text[start:end] for start, end in inner)
        unit.entities.append(Entity(number, surface, inner, document.mentions[number].gold))
    audit.documents += 1
    return Work(document, units)


def _fragments(mention: Mention, document: Document, longest: int) -> tuple[tuple[int, int], ...] | str:
    """Return the fragments of a mention, ascending and trimmed, or why it cannot be carried."""
    text, spans = document.text, sorted(mention.spans)
    if not spans and len(document.mentions) == 1 and text == mention.left + mention.text + mention.right:
        spans = [(len(mention.left), len(mention.left) + len(mention.text))]  # a row of a list
    if not spans:
        return "it has no place in the source"
    kept: list[tuple[int, int]] = []
    for start, end in (trimmed(text, *span) for span in spans):
        if start < end and kept and start < kept[-1][1]:
            kept[-1] = (kept[-1][0], max(end, kept[-1][1]))
        elif start < end:
            kept.append((start, end))
    if not kept:
        return "it is empty in the source"
    surface = " ".join(text[start:end] for start, end in mention.spans) if mention.spans else mention.text
    if surface.split() != mention.text.split():
        return "its text is not what stands at its offsets in the source"
    if kept[-1][1] - kept[0][0] > longest:
        return f"it reaches over more than {longest:,} characters"
    return tuple(kept)


def project(
    works: Sequence[Work],
    translate: Translate,
    config: ProjectionConfig,
    *,
    source: str,
    target: str,
    knows: Knows | None = None,
) -> None:
    """Translate the sentences of documents and place their entities.

    Args:
        works: as `prepare` returns them; their `placed` is filled.
        translate: texts to their translations, as many; an empty one says that there is none.
        source: language code.
        target: the same.
        knows: of a partial translator; a text that comes back as it was is no fault then.
    """
    units = [unit for work in works for unit in work.units]
    texts = [entity.text for unit in units for entity in unit.entities]
    alone = _alone(texts, translate) if config.checks.alone or knows is not None else {}
    judge = Judge(config.checks, source, target, knows, alone)
    best = _plain(units, translate, judge)
    for style in config.markers:
        todo = [n for n, unit in enumerate(units) if unit.entities and _missing(best[n])]
        marked = [units[n].marked(STYLES[style]) for n in todo]
        for n, m, text in zip(todo, marked, translate([m.text for m in marked]), strict=True):
            best[n] = _better(best[n], judge.check(units[n], place_by_markers(units[n], m, text)))
    open_ = [n for n, unit in enumerate(units) if unit.entities and _missing(best[n])]
    if config.find_by_text and open_:
        alone |= _alone([e.text for n in open_ for e in units[n].entities if e.text not in alone], translate)
        for n, text in zip(open_, translate([units[n].text for n in open_]), strict=True):
            best[n] = _by_text(units[n], best[n], text, alone, judge)
    if config.checks.alone:
        for unit, placed in zip(units, best, strict=True):
            assert placed is not None
            for place in swapped(unit, placed, alone):
                placed.drop(place, "another entity's words came back in its place")
    at = iter(best)
    for work in works:
        work.placed = [p for p in (next(at) for _ in work.units) if p is not None]
        assert len(work.placed) == len(work.units)


def _plain(units: Sequence[Unit], translate: Translate, judge: Judge) -> list[Placed | None]:
    """Return the translations of the sentences without entities; sentences without letters stay as they are."""
    best: list[Placed | None] = [None] * len(units)
    empty = [n for n, unit in enumerate(units) if not unit.entities]
    todo = [n for n in empty if any(c.isalpha() for c in units[n].text)]
    for n in empty:
        best[n] = Placed(units[n].text)
    for n, text in zip(todo, translate([units[n].text for n in todo]), strict=True):
        best[n] = judge.check(units[n], Placed(text))
    return best


def _missing(placed: Placed | None) -> bool:
    """Return whether another try may keep more."""
    return placed is None or placed.fault is not None or any(r not in FINAL for r in placed.lost.values())


def _better(one: Placed | None, other: Placed) -> Placed:
    """Return what keeps more entities, the first of two that keep as many; a whole fault weighs most."""
    if one is None:
        return other
    return other if (other.fault is None, len(other.spans)) > (one.fault is None, len(one.spans)) else one


def _by_text(unit: Unit, best: Placed | None, plain: str, alone: Mapping[str, str], judge: Judge) -> Placed:
    """Return the better of two translations with those entities that are found by their own translations.

    Args:
        best: what markers gave; it is taken only if it keeps more than the plain one where it has no entity by itself,
            for its text may hold what is left of the markers.
        plain: the translation of the sentence without markers.
    """
    reasons = {} if best is None or best.fault is not None else best.lost
    lost = {place: reasons.get(place, "it was not found by its text") for place in range(len(unit.entities))}
    tries = [placed for placed in (best, Placed(plain, {}, lost)) if placed is not None]
    if not tries[0].spans:
        tries.reverse()
    chosen: Placed | None = best if tries[0] is best else None
    for placed in tries:
        chosen = _better(chosen, judge.check(unit, place_by_text(unit, placed, alone)))
    assert chosen is not None
    return chosen


def _alone(texts: Iterable[str], translate: Translate) -> dict[str, str]:
    """Return the translation of each text by itself, without a full stop that the text does not have."""
    distinct = list(dict.fromkeys(texts))
    return {
        text: found.strip() if text[-1:] in ".。" else found.strip().rstrip(".。 ")
        for text, found in zip(distinct, translate(distinct), strict=True)
    }


def finish(
    work: Work,
    target: str,
    audit: TranslationAudit,
    *,
    lexicon: Lexicon | None = None,
    drop_contradicted: bool = False,
    draw: Random | None = None,
    samples: int = 0,
) -> Document:
    """Return the translated document, and count what became of its entities.

    Args:
        audit: added to; every entity that `prepare` let pass is counted once.
        lexicon: names by which kept entities are looked up.
        drop_contradicted: whether an entity is dropped whose translation the lexicon has for other concepts alone.
        draw: with `samples`, what draws them.
        samples: how many kept entities the audit shall show; each has the same chance.
    """
    source, out, size = work.document, list[str](), 0
    places: dict[int, tuple[tuple[int, int], ...]] = {}
    at = 0
    for unit, placed in zip(work.units, work.placed, strict=True):
        between = source.text[at : unit.start]
        text = placed.text.strip()
        shift = size + len(between) - (len(placed.text) - len(placed.text.lstrip()))
        if placed.fault is not None:
            text = ""
            audit.count(audit.left_out, placed.fault, f"document '{source.id}': {unit.text[:60]}")
        how = "left out" if placed.fault else "translated" if any(c.isalpha() for c in unit.text) else "without letters"
        audit.sentences[how] += 1
        out += [between, text]
        size += len(between) + len(text)
        at = unit.start + len(unit.text)
        for place, entity in enumerate(unit.entities):
            mention = source.mentions[entity.number]
            mention = replace(mention, document=mention.document or source.id)
            if place in placed.lost:
                audit.drop(mention, placed.lost[place])
                continue
            if lexicon is not None:
                verdict = lexicon.judge(placed.surface(place), entity.gold)
                audit.lexicon[verdict] += 1
                if drop_contradicted and verdict == OTHER_CONCEPT:
                    audit.drop(mention, f"its translation {OTHER_CONCEPT}")
                    continue
            places[entity.number] = tuple((start + shift, end + shift) for start, end in placed.spans[place])
            _count(mention, unit, placed, place, audit, draw, samples)
    out.append(source.text[at:])
    text = "".join(out)
    return Document(source.id, text, tuple(_mentions(source, text, places, target)), target)


def _mentions(
    source: Document, text: str, places: dict[int, tuple[tuple[int, int], ...]], target: str
) -> Iterable[Mention]:
    for number, spans in sorted(places.items()):
        start, end = spans[0][0], max(end for _, end in spans)
        surface = " ".join(text[a:b] for a, b in spans)
        assert surface.strip() == surface != ""
        assert end <= len(text)
        yield replace(
            source.mentions[number], text=surface, spans=spans, lang=target,
            left=text[max(0, start - CONTEXT) : start], right=text[end : end + CONTEXT],
        )  # fmt: skip


def _count(
    mention: Mention,
    unit: Unit,
    placed: Placed,
    place: int,
    audit: TranslationAudit,
    draw: Random | None,
    samples: int,
) -> None:
    """Count an entity that is kept, and perhaps show it."""
    entity, surface = unit.entities[place], placed.surface(place)
    audit.keep(mention, "found by their text" if place in placed.by_text else "by their markers")
    audit.ratios.append(effective_length(surface) / effective_length(entity.text))
    where = f"document '{mention.document}', mention '{mention.id}': {surface[:60]}"
    if unchanged(entity.text, surface, words=1, letters=1):
        audit.count(audit.noted, "is the same as in the source", where)
    start, end = placed.spans[place][0][0], placed.spans[place][-1][1]
    around = placed.text[max(0, start - 1) : start] + placed.text[end : end + 1]
    if any(c.isalpha() for c in around) and not unspaced_letters(surface + around):
        audit.count(audit.noted, "is a part of a word", where)
    if draw is None or not samples:
        return
    sample = {"id": mention.id or "", "gold": "|".join(mention.gold), "entity": entity.text, "translation": surface,
              "sentence": unit.text[:400], "translated": placed.text[:400]}  # fmt: skip
    if len(audit.samples) < samples:
        audit.samples.append(sample)
    elif (chosen := draw.randrange(audit.kept.total())) < samples:
        audit.samples[chosen] = sample
