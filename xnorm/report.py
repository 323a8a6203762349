"""The report of an evaluation: the same content as Markdown and as one HTML page with plots, from plain data.

Texts from corpora and terminologies are anybody's: each is cut and put on one line (`shown`), then escaped by the
writer of its format. Nothing here computes a result; every number stands in `metrics.json` or `manifest.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from xnorm import plots
from xnorm.errors import ConfigError
from xnorm.markdown import escaped, one_line
from xnorm.metrics import METRICS, OPTIONS, parse_metric, reranking_in_words
from xnorm.plots import NONE, count, known, number, shown

__all__ = ["html", "markdown"]

_COLUMNS = 5
_LANG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_BY = {
    "part": "Part of the corpus",
    "lang": "Language",
    "type": "Type",
    "length": "Length of the mention",
    "exact": "Mention equals a name",
    "ambiguous": "Mention is ambiguous",
    "seen_concept": "Concept seen in training",
    "seen_mention": "Mention seen in training",
}
_COUNTED = {"several": "with several gold concepts", "nil": "NIL", "outside": "outside the terminology"}
Data = Mapping[str, Any]


class Score(NamedTuple):
    """A cell with a value and its interval."""

    value: str
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


class Items(NamedTuple):
    """A list of sentences."""

    items: list[str]


class Table(NamedTuple):
    """Rows of cells: `texts` columns of text, then numbers."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Score]]
    texts: int = 1
    note: str = ""


class Figures(NamedTuple):
    """Plots, each SVG with its caption; Markdown has their tables alone."""

    figures: list[plots.Figure]


class Example(NamedTuple):
    """A mention between its left and right context, its language (or nothing), and labels with pieces of text."""

    context: tuple[str, str, str]
    lang: str
    facts: list[tuple[str, list[str]]]


class Examples(NamedTuple):
    """Mentions of one cause of error."""

    title: str
    examples: list[Example]


class Code(NamedTuple):
    """Text to be shown as it is; a page folds it if it is long."""

    title: str
    text: str


Block = Items | Table | Figures | Examples | Code


def markdown(metrics: Data, manifest: Data) -> str:
    """Return the report as Markdown (CommonMark with tables), from what `metrics.json` and `manifest.json` hold."""
    parts = [f"# {one_line(_title(metrics))}", *(one_line(text, 4000) for text in _lead(metrics, manifest))]
    for title, blocks in _sections(metrics, manifest):
        parts += [f"## {title}", *(_markdown(block) for block in blocks)]
    return "\n\n".join(filter(None, parts)) + "\n"


def html(metrics: Data, manifest: Data) -> str:
    """Return the report as one HTML file that loads nothing and runs nothing, from the same data."""
    lead, sections = _lead(metrics, manifest), _sections(metrics, manifest)
    return _template().render(title=_title(metrics), lead=lead, sections=sections, most=plots.MOST)


@lru_cache(maxsize=1)
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    jinja = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    jinja.filters.update(shown=shown, kind=lambda block: type(block).__name__)
    return jinja.get_template("report.html.jinja")


def _title(metrics: Data) -> str:
    benchmark, system = str(metrics["benchmark"]), str(metrics.get("system") or "")
    return benchmark if system in ("", benchmark) else f"{benchmark}: {system}"


def _lead(metrics: Data, manifest: Data) -> list[str]:
    """Return what to read first: the main number, what is measured, and what is wrong with the corpus."""
    said, judged = [], metrics["protocol"].get("judged") or {}
    if metrics["metrics"]:
        first = metrics["metrics"][0]
        among = f" on {judged['mentions']:,} mentions" if "mentions" in judged else ""
        among += f" of {judged['documents']:,} documents" if judged.get("documents") else ""
        said.append(f"{first['metric']} {_score(first)}{among}.")
    if metrics.get("about"):
        said.append(str(metrics["about"]))
    expected = (metrics["protocol"].get("corpus") or {}).get("expected")
    if expected and not expected["met"]:
        said.append(f"Warning: this is not the corpus that was expected: {'; '.join(expected['differences'])}.")
    return [*said, f"Made {manifest['created']} by xnorm {manifest['xnorm_version']}."]


def _sections(metrics: Data, manifest: Data) -> list[tuple[str, list[Block]]]:
    """Return title and content of the parts of the report that have something to say."""
    sections = [
        ("Results", _results(metrics)),
        ("Stages", _stages(metrics)),
        ("Breakdowns", _breakdowns(metrics)),
        ("Protocol", _protocol(metrics["protocol"])),
        ("Errors", _errors(metrics.get("errors") or {})),
        ("Risk and coverage", _risk(metrics.get("risk_coverage") or {})),
        ("What it depends on", _origin(metrics["protocol"], manifest)),
    ]
    return [(title, blocks) for title, blocks in sections if blocks]


def _results(metrics: Data) -> list[Block]:
    level = (metrics["protocol"].get("interval") or {}).get("level")
    value = f"value [{100 * level:g} % interval]" if level else "value"
    rows = [(m["metric"], _score(m), count(m["rows"]), count(m["units"])) for m in metrics["metrics"]]
    note = "n: mentions (documents, where annotations are compared) for which the metric is defined."
    alike: dict[str, list[str]] = {}
    for m in metrics["metrics"]:
        alike.setdefault(_meaning(m["metric"]), []).append(m["metric"])
    words = [f"{', '.join(names)}: {meaning}." for meaning, names in alike.items() if meaning]
    return [Table("Main results", ("metric", value, "n", "documents"), rows, note=note), Items(words)]


def _meaning(name: str) -> str:
    """Say in words what a metric is; nothing for one that nobody knows."""
    try:
        metric = parse_metric(name)
    except ConfigError:
        return ""
    start = metric.name + ("[" if metric.options else "@")
    form = next((f for f in METRICS[metric.name].split("; ") if f.startswith(start)), None)
    said = METRICS[metric.name] if form is None else form.partition(": ")[2]
    return "; ".join([said, *(OPTIONS[option] for option in metric.options)])


def _stages(metrics: Data) -> list[Block]:
    stages, ks = metrics.get("stages") or [], metrics.get("ks") or []
    if not stages:
        return []
    elsewhere = {f"recall@{k}" for k in ks[:-1]}
    rows = [(s["stage"], None, [m for m in s["metrics"] if m["metric"] not in elsewhere]) for s in stages]
    table = _score_table("Metrics by stage", "stage", rows)
    table = table._replace(note=" ".join([*reranking_in_words(metrics.get("reranking")), table.note]).strip())
    if len(ks) < 2:
        return [table]
    curves = [(s["stage"], [known(v) for v in s["recall"]]) for s in stages]
    figure = (plots.recall_curves(ks, curves), "Recall among the first k candidates")
    rows_of_ks = [(name, *map(number, recall)) for name, recall in curves]
    return [Figures([figure]), Table("Recall by stage", ["stage", *(f"@{k:,}" for k in ks)], rows_of_ks), table]


def _breakdowns(metrics: Data) -> list[Block]:
    by: dict[str, list[Data]] = {}
    for part in metrics.get("breakdowns") or []:
        by.setdefault(part["by"], []).append(part)
    drawn = [plots.forest(key, by[key], metrics["metrics"]) for key in ("lang", "type") if key in by]
    figures = [figure for figure in drawn if figure]
    blocks: list[Block] = [Figures(figures)] if figures else []
    for key, parts in by.items():
        if key == "type":
            parts = sorted(parts, key=lambda p: (-p["rows"], str(p["part"])))
        rows = [(str(p["part"]), p["rows"], p["metrics"]) for p in parts]
        blocks.append(_score_table(_BY.get(key, key), key.replace("_", " "), rows))
    return blocks


def _score_table(caption: str, label: str, rows: Sequence[tuple[str, int | None, Sequence[Data]]]) -> Table:
    """Return rows of metrics with intervals; the first few metrics, for a table must fit a page."""
    names = list(dict.fromkeys(m["metric"] for _, _, metrics in rows for m in metrics))
    most, counted = names[:_COLUMNS], any(n is not None for _, n, _ in rows)
    body: list[list[str | Score]] = []
    for part, n, metrics in rows:
        found = {m["metric"]: _score(m) for m in metrics}
        body.append([part, *([count(n)] if counted else []), *(found.get(name, Score(NONE)) for name in most)])
    more = f"{', '.join(names[_COLUMNS:])}: see metrics.json." if names[_COLUMNS:] else ""
    return Table(caption, [label, *(["n"] if counted else []), *most], body, note=more)


def _protocol(protocol: Data) -> list[Block]:
    said = [*protocol.get("statements", [])]
    if training := protocol.get("training"):
        said.append(f"Training parts, which tell seen from unseen alone: {_counts({**training, 'parts': None})}.")
    said += [f"{count(n)} {what}." for what, n in ((protocol.get("judged") or {}).get("notes") or {}).items()]
    corpus = protocol.get("corpus") or {}
    for verb in ("skipped", "noted"):
        for reason, n in (corpus.get(verb) or {}).items():
            places = "; ".join((corpus.get("examples") or {}).get(reason, []))
            said.append(f"Corpus, {verb} {count(n)}: {reason}" + (f" ({places})." if places else "."))
    if expected := corpus.get("expected"):
        differences = f"not as expected: {'; '.join(expected['differences'])}"
        said.append(f"The numbers of the corpus are {'as expected' if expected['met'] else differences}.")
    blocks: list[Block] = [Items(said)]
    if terminology := protocol.get("terminology"):
        rows = [("name", str(terminology["name"])), ("concepts", count(terminology["concepts"]))]
        rows += [("names", f"{count(terminology['names'])} ({_words(terminology.get('langs') or {})})")]
        for s in terminology.get("sources") or []:
            version = f" {s['version']}" if s.get("version") else ""
            rows.append(("source", f"{s['source']}{version}: {s['path']}, SHA-256 {str(s['sha256'])[:16]}…"))
        blocks.append(Table("Terminology", ("what", "is"), rows, texts=2))
    return [*blocks, _flow(protocol, corpus.get("parts") or {})]


def _flow(protocol: Data, parts: Mapping[str, Data]) -> Table:
    """Return how many mentions each step took and left, from the files to what is judged."""
    rows = []
    for part, about in parts.items():
        said = _counts({key: about.get(key) for key in ("documents", "gold_ids", "format")})
        rows.append(("read", f"part {part} ({said})", "", count(about.get("mentions"))))
    for stage in protocol.get("cleanup") or []:
        done = [(verb, why, n) for verb in ("dropped", "changed") for why, n in (stage.get(verb) or {}).items()]
        for i, (verb, why, n) in enumerate(done := done or [("nothing", "to do", 0)], 1):
            examples = "; ".join(shown(e, 40) for e in (stage.get("examples") or {}).get(why, []))
            what = f"{verb}: {why}" + (f" (such as {examples})" if examples else "")
            rows.append((stage["stage"], what, count(n), count(stage["mentions"]) if i == len(done) else ""))
    judged = {**(protocol.get("judged") or {}), "sha256": None, "notes": None}
    mentions = count(judged.pop("mentions", None))
    rows.append(("judged", _counts(judged), "", mentions))
    head = ("step", "what", "count", "mentions left")
    return Table("From the files to the judged mentions", head, rows, texts=2)


def _errors(errors: Data) -> list[Block]:
    outcomes, causes = errors.get("outcomes") or [], errors.get("causes") or []
    if not outcomes:
        return []
    rows = [(o["outcome"], o.get("means") or "", count(o["mentions"]), number(o["share"])) for o in outcomes]
    head = ("outcome", "meaning", "mentions", "share")
    table, outcome_bars = Table("What became of the gold concepts", head, rows, texts=2), plots.outcome_bars(outcomes)
    if not causes:
        return [Figures([outcome_bars]), table, Items(["There are no errors."])]
    why = [(c["outcome"], c["cause"] or NONE, count(c["mentions"]), number(c["share"])) for c in causes]
    by_cause = Table("Causes of errors", ("outcome", "cause", "mentions", "share"), why, texts=2)
    titles = [f"{c['outcome']}: {c['cause']}" if c["cause"] else str(c["outcome"]) for c in causes]
    listed = [Examples(t, [_example(e) for e in c["examples"][:3]]) for t, c in zip(titles, causes, strict=True)]
    return [Figures([outcome_bars, plots.cause_bars(causes)]), table, by_cause, *(e for e in listed if e.examples)]


def _example(case: Data) -> Example:
    mention, lang = str(case["mention"]), str(case.get("lang") or "")
    left, found, right = str(case.get("context") or "").partition(f"[{mention}]")
    facts = [("gold", [_concept(gold["id"], gold.get("name")) for gold in case["gold"]] or ["NIL"])]
    first = ["NIL"]
    if best := case.get("predicted"):
        first, by = [_concept(best["concept_id"], best.get("name"))], best.get("matched_name")
        first += [f"by the name {by}"] if by and by != best.get("name") else []
        first += [f"score {number(best['score'])}"] if known(best.get("score")) is not None else []
    ranks = [f"{stage} {count(rank)}" for stage, rank in (case.get("ranks") or {}).items()]
    facts += [("predicted", first), ("rank of gold", ranks)]
    facts.append(("from", [str(case[key]) for key in ("id", "part", "lang") if case.get(key)]))
    context = _window(left, mention, right) if found else ("", shown(mention, 80), "")
    return Example(context, lang if _LANG.fullmatch(lang) else "", [fact for fact in facts if fact[1]])


def _window(left: str, mention: str, right: str, most: int = 60) -> tuple[str, str, str]:
    """Return a mention and what stands near it, cut at both ends, with the spaces between."""
    before, after = shown(left, 4000), shown(right, most)
    before = "…" + before[1 - most :].lstrip() if len(before) > most else before
    return before + " " * left[-1:].isspace(), shown(mention, 80), " " * right[:1].isspace() + after


def _concept(identifier: Any, name: Any) -> str:
    return f"{identifier} {name or ''}".rstrip()


def _risk(curve: Data) -> list[Block]:
    points = [p for p in curve.get("points") or [] if known(p["coverage"]) is not None and known(p["risk"]) is not None]
    if not points:
        return []
    marked = [next((p for p in points if p["coverage"] >= c - 1e-9), points[-1]) for c in (1.0, 0.9, 0.8, 0.5)]
    rows = [
        (f"{100 * p['coverage']:.1f} %", number(1 - p["risk"]), number(p["risk"]), number(p.get("threshold")))
        for p in marked
    ]
    svg, caption = plots.risk_coverage(points, marked), "Risk when the least sure answers are left out"
    note = f"Area under the curve of risk: {number(curve.get('aurc'))}."
    head = ("coverage", "accuracy", "risk", "lowest score")
    return [Figures([(svg, caption)]), Table("Accuracy of the surest answers", head, rows, note=note)]


def _origin(protocol: Data, manifest: Data) -> list[Block]:
    prints = [("config", str(manifest.get("config_sha256") or NONE))]
    if terminology := protocol.get("terminology"):
        prints.append(("terminology", str(terminology["fingerprint"])))
    for part, about in ((protocol.get("corpus") or {}).get("parts") or {}).items():
        prints.append((f"corpus, part {part}", _words({key: about.get(key) for key in ("sha256", "revision")})))
    config = json.dumps(manifest.get("config") or {}, indent=1, ensure_ascii=False)
    blocks: list[Block] = [Code("Command", shown(manifest.get("command") or NONE, 4000))]
    blocks.append(Table("Fingerprints", ("of", "is"), prints, texts=2))
    for key in ("machine", "packages", "seeds", "files"):
        if rows := list(_flat(manifest.get(key) or {})):
            blocks.append(Table(key.title(), ("what", "is"), rows, texts=2))
    if seconds := manifest.get("seconds"):
        blocks.append(Table("Seconds", ("step", "seconds"), [(step, f"{s:,.1f}") for step, s in seconds.items()]))
    return [*blocks, Code("Config", re.sub(r"\S.*", lambda line: shown(line[0], 4000), config))]


def _score(metric: Data) -> Score:
    low, high = known(metric.get("low")), known(metric.get("high"))
    return Score(number(metric["value"]), "" if low is None or high is None else f"[{low:.3f}-{high:.3f}]")


def _flat(data: Data, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield what nested data hold as (label, text)."""
    for key, value in data.items():
        label = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, f"{label} ")
        elif value is not None:
            yield label, f"{value:,}" if type(value) is int else str(value)


def _words(data: Data) -> str:
    return ", ".join(f"{label} {text}" for label, text in _flat(data))


def _counts(data: Data) -> str:
    parts = {_COUNTED.get(key, key): value for key, value in data.items()}
    return ", ".join(f"{text} {label}" if text[0].isdigit() else f"{label} {text}" for label, text in _flat(parts))


def _markdown(block: Block) -> str:
    if isinstance(block, Items):
        return "\n".join(f"- {one_line(item, 1000)}" for item in block.items)
    if isinstance(block, Table):
        rule = [*["---"] * block.texts, *["---:"] * (len(block.head) - block.texts)]
        rows = [[str(cell) if isinstance(cell, Score) else one_line(cell, 300) for cell in row] for row in block.rows]
        lines = [f"| {' | '.join(row)} |" for row in [[one_line(h) for h in block.head], rule, *rows]]
        lines += ["", one_line(block.note, 1000)] if block.note else []
        return f"**{one_line(block.caption)}**\n\n" + "\n".join(lines)
    if isinstance(block, Examples):
        lines = [f"**{one_line(block.title)}**", ""]
        for example in block.examples:
            left, mention, right = map(escaped, example.context)
            lines.append(f"- {left}\\[{mention}\\]{right}")
            lines += [f"  - {label}: {', '.join(map(one_line, texts))}" for label, texts in example.facts]
        return "\n".join(lines)
    if isinstance(block, Code):
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
        return f"**{one_line(block.title)}**\n\n{fence}\n{block.text}\n{fence}"
    return ""
