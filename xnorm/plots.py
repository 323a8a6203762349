"""Plots of a report as SVG, to stand inside of a page: curves, dots with intervals, bars.

Marks differ in shape and dash, not in colour alone. Colours are the page's custom properties (`--accent`, `--muted`,
`--rule`, `--paper`) over `currentColor`, so that light, dark and print are the page's business. Each plot is 360 units
wide, which is a phone: on a wide page two stand side by side and grow a little.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from xnorm.text import clean

__all__ = [
    "MOST",
    "NONE",
    "WIDTH",
    "Figure",
    "cause_bars",
    "count",
    "forest",
    "known",
    "number",
    "outcome_bars",
    "recall_curves",
    "risk_coverage",
    "shown",
    "ticks",
]

WIDTH = 360.0
MOST = 20
"""Parts in a plot; a table may fold the others."""
NONE = "–"
"""What is written for an undefined number."""
Figure = tuple[str, str]
"""SVG and caption."""
Record = Mapping[str, Any]
"""As in `metrics.json`."""
_SIZE = 11.5
_ACCENT, _MUTED, _RULE = "var(--accent, currentColor)", "var(--muted, currentColor)", "var(--rule, currentColor)"
_DASHES = ("5 3", "1.5 2.5", "8 3 1.5 3", "10 3")
_UNSEEN = re.compile("[\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class _Dot:
    """A row of a forest plot; None is undefined."""

    label: str
    value: float | None
    interval: tuple[float, float] | None
    n: int


@dataclass(frozen=True, slots=True)
class _Scale:
    """Values to units: `low` lies at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def shown(text: str, most: int = 120) -> str:
    """Return a text from outside on one line, without what reorders its surroundings, cut with an ellipsis."""
    text = clean(_UNSEEN.sub("", str(text)))
    if len(text) <= most:
        return text
    end = most - 1
    while end > 0 and unicodedata.combining(text[end]):
        end -= 1
    return text[:end].rstrip() + "…"


def known(value: Any) -> float | None:
    """Return a number, or None for what is undefined."""
    return None if value is None or math.isnan(value) else float(value)


def number(value: Any) -> str:
    """Return a number with three decimals."""
    return NONE if known(value) is None else f"{value:.3f}"


def count(value: int | None) -> str:
    """Return a count with its thousands apart."""
    return NONE if value is None else f"{value:,}"


def ticks(values: Iterable[float], *, zero: bool = False) -> list[float]:
    """Return the ticks of an axis within 0 and 1 that closely holds the values: four to six, at round numbers.

    Args:
        zero: begin at 0.
    """
    inside = [min(1.0, max(0.0, v)) for v in values] or [0.0, 1.0]
    low, high = 0.0 if zero else min(inside), max(inside)
    for step in (2, 5, 10, 20):  # hundredths
        first, last = math.floor(low * 100 / step + 1e-9), math.ceil(high * 100 / step - 1e-9)
        if last - first <= 5:
            break
    while last - first < 3:
        first, last = (first - 1, last) if first > 0 else (first, last + 1)
    return [i * step / 100 for i in range(first, last + 1)]


def recall_curves(ks: Sequence[int], stages: Sequence[tuple[str, Sequence[float | None]]]) -> str:
    """Draw recall within the first k, a line a stage; the last stage stands out."""
    names = [_fit(name, 100) for name, _ in stages]
    height = max(232.0, 70 + 15.0 * len(stages))
    right = WIDTH - 14 - max((_width(n) for n in names), default=0)
    marks = ticks(v for _, recall in stages for v in recall if v is not None)
    y = _Scale(marks[0], marks[-1], height - 40, 24)
    ends = (math.log2(ks[0]), math.log2(ks[-1])) if ks[0] < ks[-1] else (math.log2(ks[0]) - 1, math.log2(ks[0]) + 1)
    x = _Scale(*ends, 40, right)
    final = ", ".join(f"{n} {number(r[-1])}" for n, r in stages)
    svg = _svg("recall", height, "Recall by number of candidates", f"A line a stage; recall at {ks[-1]}: {final}.")
    _axis_y(svg, y, marks, right, "recall@k")
    _axis_x(
        svg, [(x(math.log2(k)), f"{k:,}") for k in ks], y.start, (40 + right) / 2, "k, candidates looked at (log scale)"
    )
    tips = []
    for i, (_, recall) in enumerate(stages):
        behind = len(stages) - 1 - i
        points = [(x(math.log2(k)), y(v)) for k, v in zip(ks, recall, strict=True) if v is not None]
        colour, dashes = (_MUTED, _DASHES[(behind - 1) % 4]) if behind else (_ACCENT, "none")
        group = _add(svg, "g", class_="series", stroke=colour, fill=colour)
        _line(group, points, "line", stroke_width=1.75, stroke_dasharray=dashes)
        for point in points:
            _marker(group, behind, *point)
        tips.append(points[-1] if points else (right, y.start))
    for i, at in enumerate(_apart([tip[1] for tip in tips], 14, 24, y.start)):
        last = i == len(stages) - 1
        if abs(at - tips[i][1]) > 2:
            _line(svg, [(tips[i][0] + 4, tips[i][1]), (right + 9, at)], stroke=_MUTED, stroke_width=0.75)
        label = _text(svg, right + 11, at + 4, names[i], fill=_ACCENT if last else _MUTED, weight="600" if last else "")
        _tip(label, stages[i][0], names[i])
    return tostring(svg, "unicode")


def forest(by: str, parts: Sequence[Record], overall: Sequence[Record] = ()) -> Figure | None:
    """Draw the first metric that is a share, of the most frequent parts: dots on their intervals, the best on top.

    Nothing is drawn where fewer than two parts have the metric.

    Args:
        by: what tells the parts apart: lang, type.
        parts: entries of `breakdowns`.
        overall: the metrics of all mentions, for a line.
    """
    metric = next((m["metric"] for m in parts[0]["metrics"] if m["metric"] != "mean_rank"), None)
    dots = []
    for part in sorted(parts, key=lambda p: (-p["rows"], str(p["part"])))[:MOST]:
        record: Record = next((m for m in part["metrics"] if m["metric"] == metric), {})
        value, low, high = (known(record.get(key)) for key in ("value", "low", "high"))
        interval = None if low is None or high is None else (low, high)
        dots.append(_Dot(str(part["part"]), value, interval, part["rows"]))
    if metric is None or sum(dot.value is not None for dot in dots) < 2:
        return None
    dots.sort(key=lambda dot: (dot.value is None, -(dot.value or 0.0), dot.label))
    title = f"{shown(metric)} by {'language' if by == 'lang' else shown(by)}"
    more = f"; the {MOST} most frequent, {len(parts) - MOST} more in the table" if len(parts) > MOST else ""
    hollow = "; hollow: no interval" if any(d.value is not None and d.interval is None for d in dots) else ""
    line = next((known(m["value"]) for m in overall if m["metric"] == metric), None)
    return _draw_forest(by, title, metric, dots, line), title + more + hollow


def outcome_bars(outcomes: Sequence[Record]) -> Figure:
    """Draw what became of the gold concepts."""
    title = "What became of the gold concepts"
    return _bars("outcomes", title, [(o["outcome"], o) for o in outcomes], strong="right"), f"{title}, mentions"


def cause_bars(causes: Sequence[Record]) -> Figure:
    """Draw the causes of errors, the most frequent on top."""
    most = sorted(causes, key=lambda c: -c["mentions"])[:MOST]
    rows = [(f"{c['outcome']}: {c['cause']}" if c["cause"] else c["outcome"], c) for c in most]
    return _bars("causes", "Causes of errors", rows), "Causes of errors, mentions"


def risk_coverage(points: Sequence[Record], marked: Sequence[Record] = ()) -> str:
    """Draw risk against coverage, by rising coverage, with a number at some points."""
    height = 232.0
    marks = ticks((p["risk"] for p in points), zero=True)
    x, y = _Scale(0, 1, 40, WIDTH - 16), _Scale(marks[0], marks[-1], height - 40, 24)
    words = ", ".join(f"{number(p['risk'])} at {100 * p['coverage']:.0f} % coverage" for p in marked)
    svg = _svg("risk", height, "Risk against coverage", f"Share of wrong answers: {words or 'see the table'}.")
    _axis_y(svg, y, marks, x.end, "risk (share wrong)")
    at = [(x(i / 5), f"{20 * i} %") for i in range(6)]
    _axis_x(svg, at, y.start, (x.start + x.end) / 2, "coverage (share answered, surest first)")
    group = _add(svg, "g", class_="series", stroke=_ACCENT, fill=_ACCENT)
    _line(group, [(x(p["coverage"]), y(p["risk"])) for p in points], "line", stroke_width=1.75)
    free = WIDTH
    for point in sorted(marked, key=lambda p: -float(p["coverage"])):
        left, risk = x(point["coverage"]), f"{point['risk']:.2f}"
        _marker(group, 0, left, y(point["risk"]))
        if left + 3 <= free:
            label = _text(svg, max(left + 3, x(0) + _width(risk)), y(point["risk"]) - 8, risk, "end")
            label.set("style", "paint-order:stroke;stroke:var(--paper, none);stroke-width:3px")
            free = left - _width(risk)
    return tostring(svg, "unicode")


def _draw_forest(name: str, title: str, metric: str, dots: Sequence[_Dot], overall: float | None) -> str:
    row, top = 19.0, 24.0
    names, counts = [_fit(d.label, 128) for d in dots], [f"{d.n:,}" for d in dots]
    left = max(map(_width, names)) + 12
    value_at = WIDTH - max(map(_width, [*counts, "n"])) - 10
    bottom = top + row * len(dots) + 4
    spread = [v for d in dots for v in (d.value, *(d.interval or ())) if v is not None]
    marks = ticks(spread if overall is None else [*spread, overall])
    x = _Scale(marks[0], marks[-1], left, value_at - 44)
    svg = _svg(name, bottom + 36, title, f"{title}: {', '.join(f'{d.label} {number(d.value)}' for d in dots)}.")
    _axis_x(
        svg, [(x(m), _tick(m, marks)) for m in marks], bottom, (x.start + x.end) / 2, _titled(metric, marks), top=top
    )
    _text(svg, WIDTH, 12, "n", "end", _MUTED)
    if overall is not None:
        _line(svg, [(x(overall), top - 6), (x(overall), bottom)], "overall", stroke=_MUTED, stroke_dasharray="3 3")
        half = _width(words := f"all {overall:.3f}") / 2
        _text(svg, min(max(x(overall), half), WIDTH - 20 - half), 12, words, "middle", _MUTED)
    for i, dot in enumerate(dots):
        y = top + row * (i + 0.5)
        _tip(_text(svg, 0, y + 4, names[i]), dot.label, names[i])
        _text(svg, value_at, y + 4, number(dot.value), "end")
        _text(svg, WIDTH, y + 4, counts[i], "end", _MUTED)
        _draw_dot(svg, dot, x, y)
    return tostring(svg, "unicode")


def _draw_dot(svg: Element, dot: _Dot, x: _Scale, y: float) -> None:
    fill = "var(--paper, none)"
    if dot.interval:
        fill = _ACCENT
        _line(svg, [(x(end), y) for end in dot.interval], "interval", stroke="currentColor", stroke_width=1.5)
    if dot.value is not None:
        _add(svg, "circle", class_="dot", cx=x(dot.value), cy=y, r=3, fill=fill, stroke=_ACCENT, stroke_width=1.5)


def _bars(name: str, title: str, rows: Sequence[tuple[str, Record]], *, strong: str | None = None) -> str:
    """Draw counts as bars from 0, each under its label and its number."""
    high, most = 32.0, max((r["mentions"] for _, r in rows), default=0)
    svg = _svg(name, high * len(rows), title, ", ".join(f"{label} {r['mentions']:,}" for label, r in rows) + ".")
    for i, (label, record) in enumerate(rows):
        y, share = high * i + 11, known(record["share"])
        words = count(record["mentions"]) + ("" if share is None else f" ({100 * share:.1f} %)")
        name_ = _fit(label, WIDTH - _width(words) - 12)
        _tip(_text(svg, 0, y, name_), label, name_)
        _text(svg, WIDTH, y, words, "end", _MUTED)
        _add(svg, "rect", x=0, y=y + 5, width=WIDTH, height=7, fill=_RULE, opacity=0.5)
        length, colour = WIDTH * record["mentions"] / max(most, 1), _ACCENT if label == strong else _MUTED
        _add(svg, "rect", class_="bar", x=0, y=y + 5, width=length, height=7, fill=colour)
    return tostring(svg, "unicode")


def _svg(name: str, height: float, title: str, description: str) -> Element:
    svg = Element("svg", {"viewBox": f"0 0 {_n(WIDTH)} {_n(height)}", "role": "img", "font-size": _n(_SIZE)})
    svg.set("aria-labelledby", f"{name}-title {name}-desc")
    _add(svg, "title", shown(title, 300), id=f"{name}-title")
    _add(svg, "desc", shown(description, 2000), id=f"{name}-desc")
    return svg


def _axis_y(svg: Element, y: _Scale, marks: Sequence[float], right: float, title: str) -> None:
    for mark in marks:
        _line(svg, [(40, y(mark)), (right, y(mark))], "grid", stroke=_RULE)
        _text(svg, 33, y(mark) + 4, _tick(mark, marks), "end", _MUTED)
    _text(svg, 0, 11, _titled(title, marks), fill=_MUTED)


def _axis_x(
    svg: Element, at: Sequence[tuple[float, str]], bottom: float, middle: float, title: str, *, top: float | None = None
) -> None:
    """Draw an axis below a plot, with grid lines up to `top`; labels that would touch are left out."""
    taken = -math.inf
    for x, label in at:
        ends = (bottom, bottom + 4) if top is None else (top, bottom)
        _line(svg, [(x, end) for end in ends], "grid", stroke=_RULE)
        if x - _width(label) / 2 > taken + 4:
            _text(svg, x, bottom + 16, label, "middle", _MUTED)
            taken = x + _width(label) / 2
    half = _width(title) / 2
    _text(svg, min(max(middle, half), WIDTH - half), bottom + 32, title, "middle", _MUTED)


def _titled(title: str, marks: Sequence[float]) -> str:
    """Name an axis, and say so if it begins elsewhere than at 0."""
    return title if marks[0] == 0 else f"{title}, axis from {_tick(marks[0], marks)}"


def _tick(mark: float, marks: Sequence[float]) -> str:
    return f"{mark:.1f}" if all(round(10 * m, 6).is_integer() for m in marks) else f"{mark:.2f}"


def _line(
    parent: Element, points: Sequence[tuple[float, float]], class_: str = "leader", **attributes: float | str
) -> None:
    if len(points) > 1:
        _add(parent, "path", None, class_=class_, d=_path(points), fill="none", **attributes)


def _marker(group: Element, shape: int, x: float, y: float) -> None:
    """Draw a disc, or for other series a square, triangle, diamond or cross."""
    r = 3.4
    corners = {
        1: ((-3.0, -3.0), (3.0, -3.0), (3.0, 3.0), (-3.0, 3.0)),
        2: ((0.0, -4.0), (4.0, 3.0), (-4.0, 3.0)),
        3: ((0.0, -4.4), (4.4, 0.0), (0.0, 4.4), (-4.4, 0.0)),
    }.get(shape % 5, ())
    if corners:
        _add(group, "path", class_="mark", d=_path([(x + dx, y + dy) for dx, dy in corners]) + "Z", stroke="none")
    elif shape % 5 == 4:
        d = _path([(x - r, y - r), (x + r, y + r)]) + _path([(x - r, y + r), (x + r, y - r)])
        _add(group, "path", class_="mark", d=d, fill="none", stroke_width=1.75)
    else:
        _add(group, "circle", class_="mark", cx=x, cy=y, r=r, stroke="none")


def _apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move labels as little as need be, so that no two are closer than `gap`; in the order given."""
    order = sorted(range(len(places)), key=lambda i: (places[i], -i))
    moved = [places[i] for i in order]
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], high if i == len(moved) - 1 else moved[i + 1] - gap)
    for i in range(len(moved)):
        moved[i] = max(moved[i], low if i == 0 else moved[i - 1] + gap)
    return [moved[order.index(i)] for i in range(len(places))]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _text(
    parent: Element, x: float, y: float, text: str, anchor: str = "start", fill: str = "currentColor", weight: str = ""
) -> Element:
    element = _add(parent, "text", text, x=x, y=y, fill=fill)
    if anchor != "start":
        element.set("text-anchor", anchor)
    if weight:
        element.set("font-weight", weight)
    return element


def _tip(label: Element, whole: str, cut: str) -> None:
    """Let a label that was cut be read whole."""
    if shown(whole) != cut:
        _add(label, "title", shown(whole))


def _add(parent: Element, tag: str, text: str | None = None, **attributes: float | str) -> Element:
    named = {key.rstrip("_").replace("_", "-"): v if isinstance(v, str) else _n(v) for key, v in attributes.items()}
    element = SubElement(parent, tag, named)
    element.text = text
    return element


def _fit(text: str, width: float) -> str:
    """Cut a text to a width in units."""
    whole = shown(text)
    for most in range(len(whole), 0, -1):
        if _width(cut := shown(whole, most)) <= width:
            return cut
    return "…"


def _width(text: str) -> float:
    """Estimate the width of a text in units, rather too wide than too narrow."""
    return sum(_advance(character) for character in text) * _SIZE


def _advance(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.0
    return (
        0.86 if character in "MWmw@%…" else 0.68 if character.isupper() else 0.3 if character in "ijlt.,:;|' " else 0.57
    )


def _n(value: float) -> str:
    """Return a number as short text: two decimals at most."""
    return f"{round(value, 2) + 0.0:g}"
