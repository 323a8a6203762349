"""What a person sees: progress on a terminal or in a log, and what an index holds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from xnorm.corpora.base import ReadReport
from xnorm.encoder_card import duration, languages, measures, verdict
from xnorm.linker import LinkCounts
from xnorm.metrics import reranking_in_words

__all__ = [
    "Reporter",
    "comparison_summary",
    "counts_in_words",
    "encoder_model_summary",
    "encoder_summary",
    "reranker_summary",
    "results_summary",
    "summary",
    "training_summary",
]

EVERY = 5.0
"""Seconds between two lines in a log."""


class Reporter:
    """A `Progress` that draws a bar on a terminal, and writes plain lines to a log.

    Work that ends within half a second is not mentioned on a terminal.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.live = sys.stderr.isatty()
        self._started: dict[str, tuple[float, int]] = {}
        self._said: dict[str, float] = {}
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Take a report; a total of -1 is not known."""
        if self.quiet:
            return
        now = time.monotonic()
        started, first = self._started.setdefault(what, (now, done))
        if self.live:
            if now - started > 0.5 or what in self._tasks:
                self._draw(what, done, total)
        elif now - self._said.get(what, started) > EVERY or (done == total and now - started > EVERY):
            self._said[what] = now
            rate = f", {_rate(done - first, total - first, now - started)}" if done > first else ""
            share = f"{done:,}" if total < 0 else f"{done:,} of {total:,}"
            sys.stderr.write(f"{what}: {share}{rate}\n")
            sys.stderr.flush()

    def _draw(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            times = (TimeElapsedColumn(), TextColumn("left:"), TimeRemainingColumn())
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *times)
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(what, total=None if total < 0 else total)
        self._bar.update(self._tasks[what], completed=done)


def _rate(done: int, total: int, seconds: float) -> str:
    """Return how fast it goes; where that is slowly, how long it will still take."""
    if done >= seconds or total <= done:
        return f"{done / seconds:,.1f} a second" if done < seconds else f"{done / seconds:,.0f} a second"
    return f"about {max(1, round((total - done) * seconds / done / 60)):,} min left"


def counts_in_words(counts: LinkCounts, report: ReadReport) -> list[str]:
    """Return what the user should know of the mentions; nothing if all went well."""
    lines = []
    if counts.empty:
        lines.append(f"{counts.empty:,} of {counts.mentions:,} mentions were empty and got an empty ranking")
    if counts.cut:
        lines.append(f"{counts.cut:,} of {counts.mentions:,} mentions were too long and were cut (max_chars)")
    for verb, reasons in (("skipped", report.skipped), ("noted", report.noted)):
        for reason, n in reasons.items():
            lines.append(_counted(verb, n, reason, report.examples))
    return lines


def _counted(verb: str, n: int, reason: str, examples: Mapping[str, Sequence[str]]) -> str:
    """Say how many records a reason has, and the first places."""
    places = ", ".join(examples.get(reason, []))
    return f"{verb} {n:,}: {reason}" + (f" ({places}{', ...' if n > 3 else ''})" if places else "")


def summary(about: dict[str, Any], *, err: bool = False) -> None:
    """Print what `xnorm.linking.describe` found, for people."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(stderr=err, highlight=False, soft_wrap=True)
    table = Table.grid(padding=(0, 2))
    for label, value in _lines(about):
        table.add_row(Text(label), Text(value))  # as it is: names of types are no markup
    console.print(table)


def _lines(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (label, value) rows."""
    lines = [
        ("index", f"{about['index']}  ({about['bytes'] / 1e6:,.1f} MB, made by xnorm {about['xnorm_version']})"),
        ("concepts", f"{about['concepts']:,}"),
        ("names", f"{about['names']:,}: {_counts(about['names_by_lang'])}"),
        ("scopes", _counts(about["names_by_scope"])),
    ]
    if about["concepts_by_type"]:
        lines.append(("types", _counts(about["concepts_by_type"])))
    if len(about["concepts_by_lang"]) > 1:
        shares = {lang: f"{100 * n / about['concepts']:.1f} %" for lang, n in about["concepts_by_lang"].items()}
        lines.append(("with a name in", ", ".join(f"{lang} {share}" for lang, share in list(shares.items())[:8])))
    if about["retired"]:
        lines.append(("retired ids", f"{about['retired']:,}: {_counts(about['retired_by_reason'])}"))
    for source in about["report"]["sources"]:
        version = f", {source['version']}" if source["version"] else ""
        lines.append(
            ("source", f"{source['source']}{version}: {source['concepts']:,} concepts, {source['names']:,} names")
        )
        for reason, n in source["skipped"].items():
            lines.append(("", _counted("skipped", n, reason, source["examples"])))
    lines += _joined(about["report"])
    lines.append(("candidates", _component(about["config"]["candidates"])))
    lines += _filters(about["config"])
    if about["reranker"]:
        lines.append(("reranker", _reranker(about["reranker"])))
    lines.append(("fingerprint", about["fingerprint"][:16]))
    return lines


def _filters(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the filters that hold whenever the index is asked."""
    by = {"": config.get("filters"), **{f"for {t}: ": f for t, f in (config.get("filters_by_type") or {}).items()}}
    told = [
        who + "; ".join(f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in own.items() if value)
        for who, own in by.items()
        if own
    ]
    return [("filters" if at == 0 else "", line) for at, line in enumerate(told)]


def _joined(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what sources have in common; an index of an earlier xnorm does not say all of it."""
    lines = []
    if report.get("named_differently"):
        reason, n = "names of an id that differ by source", report["named_differently"]
        lines.append(("", _counted("found", n, reason, {reason: report["named_differently_examples"]})))
    if merge := report.get("merge"):
        told = f"{merge['groups']:,} groups of equivalent concepts"
        left = f"; {merge['conflicts']:,} groups left, for they hold several concepts of one source"
        lines.append(("merged", told + (left if merge["conflicts"] else "")))
    for maker in report.get("aliases", []):
        of = f" of {_counts(maker['by_source'])}" if [*maker["by_source"]] != [maker["maker"]] else ""
        shown = {"added": maker["examples"].get("added", [])}
        lines.append(("aliases", f"{maker['maker']}: {maker['concepts']:,} concepts"))
        lines.append(("", _counted("added", maker["added"], f"names{of}", {f"names{of}": shown["added"]})))
        lines += [("", _counted("left out", n, reason, maker["examples"])) for reason, n in maker["left_out"].items()]
    return lines


def _counts(counts: dict[str, int], most: int = 8) -> str:
    shown = [f"{key} {n:,}" for key, n in list(counts.items())[:most]]
    return ", ".join(shown) + (f" and {len(counts) - most} more" if len(counts) > most else "")


def _component(config: dict[str, Any]) -> str:
    """Return a component and its parts in a few words: ensemble(tfidf, dense(use))."""
    inner = [_component(member) for member in config.get("members", {}).values()]
    if "encoder" in config:
        inner.append(
            _component(config["encoder"]) + (f" {config['encoder']['model']}" if "model" in config["encoder"] else "")
        )
    return str(config["type"]) + (f"({', '.join(inner)})" if inner else "")


def _reranker(about: Mapping[str, Any]) -> str:
    """Return which reranker an index has and where it is from: cross_encoder my-reranker (models/x, ...)."""
    parts = [about[key] for key in ("from", "about") if about[key]]
    return " ".join([about["type"], *filter(None, [about["name"]])]) + (f" ({'; '.join(parts)})" if parts else "")


def training_summary(about: Mapping[str, Any]) -> list[str]:
    """Return what a trained reranker is worth, as its manifest says."""
    found = about["validation"]
    before, alone, after = (found[key] for key in ("accuracy_before", "accuracy_without_prior", "accuracy"))
    lines = [
        f"training: {about['stopped']}, {about['trained']['mentions']:,} mentions, "
        f"{about['trained']['seconds'] / 60:,.1f} min of updates",
        f"accuracy on {found['mentions']:,} mentions, {found['candidates']} candidates of each: {after:.4f}, before "
        f"{before:.4f} (the model alone: {alone:.4f})",
    ]
    if after <= before:
        lines.append(
            "no better than the generator's order: it wants more mentions, epochs or a higher trainer.learning_rate"
        )
    return lines


def encoder_summary(about: Mapping[str, Any]) -> list[str]:
    """Return what a trained encoder is worth, as its manifest says: by language, and whether the training helped."""
    training, counts = about["training"], about["names"]
    lines = [
        f"training: {training['stopped']}, {counts['names']:,} names of {counts['concepts']:,} concepts, "
        f"{training['trained']['steps']:,} updates in {duration(training['trained']['seconds'])}"
    ]
    rows = [("", "metric", "names", "before", "after", "difference"), *measures(about)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, verdict(about), languages(about)]


def encoder_model_summary(about: Mapping[str, Any]) -> list[str]:
    """Return what the manifest of a trained encoder says: what it is, of what, and how good."""
    size = sum(entry["bytes"] for entry in about["files"].values()) / 1e6
    trainer, encoder = about["config"]["trainer"], about["encoder"]
    return [
        f"{about['kind']} {about['name']}  ({size:,.1f} MB, made by xnorm {about['xnorm_version']})",
        *([about["about"]] if about["about"] else []),
        f"trainer: {trainer['type']} {trainer.get('model') or ''}".rstrip() + f"; encoder: {encoder['type']}",
        f"names: {_counts(about['names']['names_by_lang'])}; sources: {_counts(about['sources'])}",
        *encoder_summary(about),
    ]


def reranker_summary(about: Mapping[str, Any]) -> list[str]:
    """Return what the manifest of a trained or exported reranker says: what it is, of what, and how good."""
    source = about.get("source") or about  # an exported one says what it was made of
    size = sum(entry["bytes"] for entry in about["files"].values()) / 1e6
    lines = [f"{about['kind']} {source['name']}  ({size:,.1f} MB, made by xnorm {source['xnorm_version']})"]
    lines += [source["about"]] if source["about"] else []
    if "config" in about:
        config = about["config"]
        parts = ", ".join(f"{part} ({n['mentions']:,} mentions)" for part, n in about["corpus"]["parts"].items())
        lines += [f"base model: {config['trainer'].get('model')}; candidates of: {config['linker']['name']}"]
        lines += [f"corpus: {parts}"]
    lines += training_summary(source) if "trained" in source else []
    if "int8_max_difference" in about:
        differs, alike = about["int8_max_difference"], about["int8_rank_correlation"]
        lines += [f"int8: logits differ by up to {differs:.2g} from those of fp32, rank correlation {alike:.4f}"]
    return lines


def results_summary(metrics: Mapping[str, Any]) -> None:
    """Print what an evaluation found, for people: metrics with intervals, recall by step, and by part or language."""
    console = _console()
    judged = metrics["protocol"]["judged"]
    level = metrics["protocol"]["interval"]["level"]
    console.print(
        f"{metrics['benchmark']}: {judged['mentions']:,} mentions, {judged['documents']:,} documents, "
        f"{judged['gold_ids']:,} gold ids; {100 * level:g} % intervals",
        markup=False,
    )
    for line in _what_was_left_out(metrics["protocol"]):
        console.print(line, markup=False)
    columns = [m["metric"] for m in metrics["metrics"]]
    rows = [("all", judged["mentions"], metrics["metrics"])]
    for by in ("part", "lang"):
        parts = [(b["part"], b["rows"], b["metrics"]) for b in metrics["breakdowns"] if b["by"] == by]
        rows += parts if len(parts) > 1 else []
    _print_rows(console, columns[:4], rows)
    steps = [(s["stage"], judged["mentions"], s["metrics"]) for s in metrics["stages"]]
    if len(steps) > 1:
        _print_rows(console, ["accuracy", *(f"recall@{k}" for k in metrics["ks"] if k in (5, 8, 64))], steps)
    for line in reranking_in_words(metrics.get("reranking")):
        console.print(line, markup=False)


def _what_was_left_out(protocol: Mapping[str, Any]) -> list[str]:
    """Return what the readers and the clean-up did to the mentions, in a few words."""
    corpus = protocol["corpus"]
    lines = []
    for verb in ("skipped", "noted"):
        for reason, n in corpus[verb].items():
            lines.append(_counted(verb, n, reason, corpus["examples"]))
    read = sum(part["mentions"] for part in corpus["parts"].values())
    if dropped := [f"{n:,} {why}" for stage in protocol["cleanup"] for why, n in stage["dropped"].items()]:
        lines.append(f"of {read:,} mentions read, dropped: {'; '.join(dropped)}")
    lines += [f"{n:,} {what}" for what, n in protocol["judged"]["notes"].items()]
    return lines


def _print_rows(console: Any, columns: list[str], rows: Sequence[tuple[str, int, Sequence[Mapping[str, Any]]]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    for column in columns:
        table.add_column(Text(column), no_wrap=True)
    for name, n, measured in rows:
        values = {m["metric"]: m for m in measured}
        table.add_row(Text(name), f"{n:,}", *(_interval(values.get(column)) for column in columns))
    console.print(table)


def comparison_summary(found: Mapping[str, Any]) -> None:
    """Print what a comparison of runs found, for people."""
    from rich.table import Table
    from rich.text import Text

    console = _console()
    console.print(f"{found['mentions']:,} mentions; baseline {found['baseline']}", markup=False)
    rows = [*found["metrics"], *found["breakdowns"]]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "run", "metric", "baseline", "run", "difference", "p"):
        table.add_column(heading, no_wrap=True)
    for row in rows:
        p = row["p_value"] if row["p_holm"] is None else row["p_holm"]
        difference = {"value": row["difference"], "low": row["low"], "high": row["high"]}
        table.add_row(
            Text(f"{row['by'].replace('_', ' ')} {row['part']}" if row["part"] else "all"),
            Text(row["run"]),
            Text(row["metric"]),
            *("-" if row[key] is None else f"{row[key]:.3f}" for key in ("baseline", "value")),
            _interval(difference, sign="+"),
            "-" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}",
        )
    console.print(table)
    notes = [
        f"left out of {run}: {n:,} {what}" for run, left in found["dropped"].items() for what, n in left.items() if n
    ]
    if any(row["p_holm"] is not None for row in rows):
        notes.append("p is adjusted for the number of comparisons of a metric (Holm)")
    for note in (*notes, *found["differences"]):
        console.print(f"- {note}", markup=False)


def _console() -> Any:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)


def _interval(m: Mapping[str, Any] | None, *, sign: str = "") -> str:
    if m is None or m["value"] is None:
        return "-"
    low_high = "" if m["low"] is None else f" [{m['low']:{sign}.3f}, {m['high']:{sign}.3f}]"
    return f"{m['value']:{sign}.3f}{low_high}"
