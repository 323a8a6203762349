"""From mentions with gold and rankings to numbers: metrics, intervals, breakdowns, causes of errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.causes import CAUSES, OUTCOMES, Missed, missed
from xnorm.config import StrictModel
from xnorm.corpus import Corpus
from xnorm.errors import ConfigError
from xnorm.labels import BREAKDOWNS, NameIndex, labels_of
from xnorm.matching import LinkedSpan, match_spans
from xnorm.metrics import Ints, Measured, Metric, parse_metric
from xnorm.ranking import Judged, judge, measure
from xnorm.resampling import Interval, bootstrap, breakdown, compare
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = [
    "Evaluation",
    "IntervalConfig",
    "Ranked",
    "Rankings",
    "cases",
    "check_metrics",
    "concept_ids",
    "default_metrics",
    "evaluate",
    "gold_numbers",
    "rounded",
]


_BEYOND = 1 << 30
"""More characters than a document or a mention has."""


class IntervalConfig(StrictModel):
    """Confidence intervals."""

    resamples: int = Field(default=1000, ge=1)
    """How often documents are drawn anew."""
    level: float = Field(default=0.95, gt=0, lt=1)
    """Confidence level."""
    seed: int = Field(default=0, ge=0)
    """Seed of the random numbers."""


@dataclass(frozen=True)
class Ranked:
    """Rankings of all mentions after one step."""

    concepts: npt.NDArray[np.int32]
    """Shape (n, k), best first: a concept's row, from `len(terminology)` on a number that `Rankings.others` explains;
    -1 is padding at the end."""
    scores: npt.NDArray[np.float32] | None = None
    """Shape (n, k); None where the system gives none."""


@dataclass(frozen=True)
class Rankings:
    """What a system says of the judged mentions."""

    stages: dict[str, Ranked]
    """Step -> rankings; the last is what the system says."""
    matched: list[str]
    """Of each mention, the name by which its first candidate was found; empty if that is not known."""
    others: list[str] = field(default_factory=list)
    """Concept ids outside the terminology, numbered from `len(terminology)`."""
    predicted: list[Mention] | None = None
    """Where a system finds the mentions itself: its mentions, with what it proposes as `gold`, best first."""
    found: list[str] | None = None
    """Then, of each judged mention: `exact` if it was found, `overlap` if its characters are others, else empty."""

    @property
    def final(self) -> Ranked:
        """The last step."""
        return self.stages[next(reversed(self.stages))]


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured."""

    results: dict[str, Any]
    """Plain data: `metrics`, `ks`, `stages`, `reranking`, `breakdowns`, `errors`, `risk_coverage`."""
    mentions: dict[str, Measured]
    """Metric -> its rows, one a mention."""
    documents: dict[str, Measured]
    """Metric -> its rows, one a document."""
    document_ids: tuple[str, ...]
    labels: dict[str, list[Any]]
    """Breakdown -> the label of each mention; a tuple of several."""
    ranks: dict[str, Ints]
    """Step -> the rank of each mention's gold from 1; 0 where it was not there."""
    missed: Missed


def evaluate(
    corpus: Corpus,
    rankings: Rankings,
    terminology: Terminology,
    *,
    metrics: Sequence[str] = (),
    breakdowns: Sequence[str] = tuple(BREAKDOWNS),
    interval: IntervalConfig | None = None,
) -> Evaluation:
    """Judge rankings.

    Args:
        corpus: n mentions, after the clean-up.
        rankings: of the same mentions, in the same order.
        metrics: as `xnorm.metrics.parse_metric` reads them; default: `default_metrics`.
        breakdowns: keys of `xnorm.labels.BREAKDOWNS`.

    Raises:
        ConfigError: an unknown metric or breakdown, or a metric that looks at more candidates than there are.
    """
    interval = interval or IntervalConfig()
    draw: dict[str, Any] = {"resamples": interval.resamples, "level": interval.level, "seed": interval.seed}
    mentions, units = corpus.mentions, corpus.units
    gold, inside = gold_numbers(mentions, terminology, rankings.others)
    composite = [m.composite for m in mentions]
    judged = {step: judge(ranked.concepts, gold, composite=composite) for step, ranked in rankings.stages.items()}
    final, width = judged[next(reversed(judged))], rankings.final.concepts.shape[1]
    chosen = check_metrics(metrics or default_metrics(mentions, rankings), width)
    by_mention = [measure(m, final) for m in chosen if not m.is_matching]
    documents, by_document = _match(corpus, rankings, terminology, [m for m in chosen if m.is_matching])
    records = _records(by_mention, bootstrap(by_mention, units, **draw))
    records += _records(by_document, bootstrap(by_document, **draw))
    ranks = {step: j.ranks for step, j in judged.items()}
    names = NameIndex([*mentions, *map(Mention, dict.fromkeys(filter(None, rankings.matched)))], terminology)
    misses = missed(
        mentions, final, gold=inside, first=_first(rankings.final, terminology), first_names=rankings.matched,
        ranks=ranks, names=names, terminology=terminology, found=rankings.found,
    )  # fmt: skip
    labels = labels_of(corpus, inside, names, breakdowns)
    ks, order = _cut_offs(width), [str(m) for m in chosen]
    results = {
        "metrics": sorted(records, key=lambda record: order.index(record["metric"])),
        "ks": ks,
        "stages": [_stage(step, j, ks, units, draw) for step, j in judged.items()],
        "reranking": _reranking(judged, units, draw),
        "breakdowns": _breakdowns(by_mention, labels, units, draw),
        "errors": {"outcomes": _outcomes(misses)},
        "risk_coverage": _risk_coverage(final, rankings.final.scores),
    }
    return Evaluation(
        results,
        {str(m.metric): m for m in by_mention},
        {str(m.metric): m for m in by_document},
        documents,
        labels,
        ranks,
        misses,
    )


def check_metrics(metrics: Sequence[str], width: int) -> list[Metric]:
    """Return metrics, each once.

    Raises:
        ConfigError: an unknown one, or one that looks at more candidates than the `width` of the rankings.
    """
    chosen = list(dict.fromkeys(parse_metric(m) for m in metrics))
    for metric in chosen:
        if metric.k is not None and metric.k > width:
            raise ConfigError(f"metric '{metric}' looks at more than the {width} candidates that are asked for (top_k)")
    return chosen


def _first(ranked: Ranked, terminology: Terminology) -> Ints:
    """Return the row of each first candidate; -1 for none, or one outside the terminology."""
    first = ranked.concepts[:, 0].astype(np.int64)
    return np.where(first < len(terminology), first, -1)


def default_metrics(mentions: Sequence[Mention], rankings: Rankings) -> list[str]:
    """Return the metrics that are taken where none are asked for."""
    k = rankings.final.concepts.shape[1]
    names = ["accuracy", *[f"recall@{n}" for n in dict.fromkeys((min(5, k), k)) if n > 1]]
    names += ["mrr", f"ndcg@{min(10, k)}", "mean_rank"]
    if rankings.predicted is not None:
        names += [f"{name}[{how}]" for how in ("strict", "partial", "loose") for name in ("precision", "recall", "f1")]
    if any(not m.gold for m in mentions):
        names += ["nil_precision", "nil_recall", "nil_f1"]
    return names


def gold_numbers(
    mentions: Sequence[Mention], terminology: Terminology, others: Sequence[str] = ()
) -> tuple[list[list[int]], list[list[int]]]:
    """Return the gold of each mention as numbers (-2: neither in the terminology nor proposed by anybody), and those
    of them that are in the terminology; none of a composite that is not all there."""
    ids = list(dict.fromkeys(i for m in mentions for i in m.gold))
    number = dict(zip(ids, terminology.rows(ids).tolist(), strict=True))
    beyond = {i: n for n, i in enumerate(others, len(terminology))}
    number = {i: n if n >= 0 else beyond.get(i, -2) for i, n in number.items()}
    gold = [[number[i] for i in m.gold] for m in mentions]
    inside = [[n for n in rows if 0 <= n < len(terminology)] for rows in gold]
    whole = (not m.composite or len(own) == len(rows) for m, own, rows in zip(mentions, inside, gold, strict=True))
    return gold, [own if right else [] for own, right in zip(inside, whole, strict=True)]


def _match(
    corpus: Corpus, rankings: Rankings, terminology: Terminology, metrics: list[Metric]
) -> tuple[tuple[str, ...], list[Measured]]:
    """Take the metrics that compare annotations; a mention that stands in no document is one of its own."""
    if not metrics:
        return (), []
    mentions, units = corpus.mentions, corpus.units
    gold = [_linked(m, unit, m.gold, n, m.composite) for n, (m, unit) in enumerate(zip(mentions, units, strict=True))]
    if rankings.predicted is not None:
        predicted = [_linked(m, m.document or "", m.gold, 0, m.composite) for m in rankings.predicted]
    else:
        most = max(metric.k or 1 for metric in metrics)
        ids = concept_ids(rankings.final.concepts[:, :most], rankings.others, terminology)
        rows = enumerate(zip(mentions, units, ids, strict=True))
        predicted = [_linked(m, unit, own, n, False) for n, (m, unit, own) in rows]
    documents = sorted({*units, *(f"{part}/{i}" for part, ids in corpus.documents.items() for i in ids)})
    matched = match_spans(gold, predicted, metrics, documents=documents)
    return matched.documents, list(matched.results)


def _linked(mention: Mention, document: str, ids: Sequence[str], number: int, composite: bool) -> LinkedSpan:
    """Return an annotation; a mention that has no characters in the document gets some that no other has."""
    spans = tuple(span for span in mention.spans if span[0] < span[1])
    spans = spans or ((_BEYOND * (number + 1), _BEYOND * (number + 1) + max(1, len(mention.text))),)
    return LinkedSpan(document, spans, tuple(ids), "|".join(mention.types) or None, composite)


def concept_ids(concepts: npt.NDArray[np.int32], others: Sequence[str], terminology: Terminology) -> list[list[str]]:
    """Return concept ids of numbered rankings."""
    inside = (concepts >= 0) & (concepts < len(terminology))
    known = iter(terminology.take("concepts", "id", concepts[inside]))
    return [
        [next(known) if n < len(terminology) else others[n - len(terminology)] for n in row if n >= 0]
        for row in concepts.tolist()
    ]


def _cut_offs(width: int) -> list[int]:
    """Return 1, 2, 4, ... and the number of candidates itself."""
    return [*(1 << i for i in range(width.bit_length()) if 1 << i < width), width] if width else []


def _stage(step: str, judged: Judged, ks: list[int], units: list[str], draw: dict[str, Any]) -> dict[str, Any]:
    measured = [measure(name, judged) for name in ["accuracy", *(f"recall@{k}" for k in ks), "mrr", "mean_rank"]]
    records = _records(measured, bootstrap(measured, units, **draw))
    return {"stage": step, "recall": [r["value"] for r in records[1 : 1 + len(ks)]], "metrics": records}


def _reranking(judged: Mapping[str, Judged], units: list[str], draw: dict[str, Any]) -> dict[str, Any] | None:
    """Return what the reranker gains in accuracy over the candidates' order, if there is one."""
    steps = list(judged)
    if "reranker" not in steps[1:]:
        return None
    before = steps[steps.index("reranker") - 1]
    found = compare(measure("accuracy", judged["reranker"]), measure("accuracy", judged[before]), units, **draw)
    return {
        "before": before,
        **_values("accuracy", found.difference, len(judged["reranker"])),
        "p_value": rounded(found.p_value),
    }


def _breakdowns(
    measured: Iterable[Measured], labels: dict[str, list[Any]], units: list[str], draw: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the metrics of each part of the breakdowns that tell some mentions from others."""
    labels = {by: column for by, column in labels.items() if by == "part" or len(set(column)) > 1}
    kept = [m for m in measured if m.metric.name in ("accuracy", "recall", "mrr")]
    grouped: dict[tuple[str, str], dict[str, Any]] = {}
    for part in breakdown(kept, labels, units, **draw):
        entry = grouped.setdefault(
            (part.by, part.part), {"by": part.by, "part": part.part, "rows": part.rows, "metrics": []}
        )
        name = str(kept[len(entry["metrics"])].metric)
        entry["metrics"].append(_values(name, part.interval, part.defined))
    return list(grouped.values())


def _records(measured: Sequence[Measured], intervals: Sequence[Interval]) -> list[dict[str, Any]]:
    return [_values(str(m.metric), i, m.defined) for m, i in zip(measured, intervals, strict=True)]


def _values(name: str, interval: Interval, rows: int) -> dict[str, Any]:
    value, low, high = (rounded(v) for v in (interval.value, interval.low, interval.high))
    return {"metric": name, "value": value, "low": low, "high": high, "rows": rows, "units": interval.units}


def rounded(value: float) -> float | None:
    """Return a number with 6 decimals; None for what is not defined."""
    return None if math.isnan(value) else round(value, 6)


def _outcomes(misses: Missed) -> list[dict[str, Any]]:
    n = len(misses.outcomes)
    counts = {outcome: misses.outcomes.count(outcome) for outcome in OUTCOMES}
    return [
        {"outcome": outcome, "mentions": count, "share": rounded(count / n), "means": OUTCOMES[outcome]}
        for outcome, count in counts.items()
        if count
    ]


def cases(misses: Missed) -> list[tuple[str, str | None, list[int]]]:
    """Return (outcome, cause, positions of the mentions) of what was missed, in the order of the two tables."""
    at: dict[tuple[str, str | None], list[int]] = {}
    for i, key in enumerate(zip(misses.outcomes, misses.causes, strict=True)):
        at.setdefault(key, []).append(i)
    order: list[str | None] = [*CAUSES, None]
    keys = [(o, c) for o in OUTCOMES if o != "right" for c in order if (o, c) in at]
    return [(outcome, cause, at[outcome, cause]) for outcome, cause in keys]


def _risk_coverage(judged: Judged, scores: npt.NDArray[np.float32] | None, points: int = 100) -> dict[str, Any] | None:
    """Return the share of wrong first candidates among the mentions with the highest scores, for growing shares.

    Mentions with equal scores are accepted together. Empty rankings come last. The area under the curve is the mean
    risk over all coverages. Source: Geifman and El-Yaniv 2017, Selective classification for deep neural networks.
    """
    if scores is None or not scores.size:
        return None
    best = np.where(judged.sizes > 0, scores[:, 0], -np.inf)
    wrong = 1 - measure("accuracy", judged).values
    order = np.argsort(-best, kind="stable")
    best, wrong = best[order], wrong[order]
    ends = np.flatnonzero(np.append(best[1:] != best[:-1], True))  # the last mention of each score
    risk = np.cumsum(wrong)[ends] / (ends + 1)
    weight = np.diff(np.append(-1, ends)) / len(best)
    at = np.unique(np.searchsorted(ends + 1, np.arange(1, points + 1) / points * len(best) - 1e-9))
    curve = [
        {
            "coverage": rounded((int(ends[i]) + 1) / len(best)),
            "risk": rounded(float(risk[i])),
            "threshold": rounded(float(best[ends[i]])) if np.isfinite(best[ends[i]]) else None,
        }
        for i in at
    ]
    return {"points": curve, "aurc": rounded(float((risk * weight).sum()))}
