"""The protocol of a number: what was judged, against what, by which rules; as data and in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xnorm.artifact import sha256_text
from xnorm.corpus import Corpus
from xnorm.evaluation import Evaluation, IntervalConfig, Rankings, gold_numbers
from xnorm.filters import QueryFilters
from xnorm.linker import LinkerConfig
from xnorm.tables import Terminology

__all__ = ["protocol"]

SHOWN = 10
"""Values of a filter that a sentence names."""


def protocol(
    corpus: Corpus,
    rankings: Rankings,
    evaluation: Evaluation,
    terminology: Terminology,
    *,
    name: str,
    sources: Sequence[Mapping[str, Any]],
    top_k: int,
    linker: LinkerConfig | None,
    interval: IntervalConfig,
    notes: Mapping[str, int],
) -> dict[str, Any]:
    """Return everything that must be known of a number before it is compared with another one, as plain data.

    Args:
        name: of the index.
        sources: of the terminology: `source`, `version`, `path`, `sha256` and more.
        linker: the settings of the linker that ranked; None for another system's predictions.
        notes: counts of what happened to the mentions on the way.
    """
    mentions = corpus.mentions
    threshold = None if linker is None else linker.decision.threshold
    filters = None if linker is None else _filters(linker)
    _, inside = gold_numbers(mentions, terminology)
    judged = {
        "mentions": len(mentions),
        "documents": len(set(corpus.units)),
        "gold_ids": len({i for m in mentions for i in m.gold}),
        "several": sum(len(m.gold) > 1 and not m.composite for m in mentions),
        "composite": sum(m.composite for m in mentions),
        "nil": sum(not m.gold for m in mentions),
        "outside": sum(bool(m.gold) and not rows for m, rows in zip(mentions, inside, strict=True)),
        "sha256": _mentions_sha256(corpus),
        "notes": dict(notes),
    }
    return {
        "mentions": "given" if rankings.predicted is None else "found by the system",
        "statements": _statements(corpus, rankings, evaluation, judged, top_k, threshold, filters, interval),
        "terminology": {"name": name, **_terminology(terminology, sources)},
        "corpus": {key: corpus.about[key] for key in ("parts", "skipped", "noted", "examples", "expected")},
        "cleanup": [report.as_dict() for report in corpus.cleanup],
        "judged": judged,
        "training": _training(corpus),
        "top_k": top_k,
        "threshold": threshold,
        "filters": filters,
        "interval": {"method": "percentile bootstrap over documents", **interval.model_dump()},
    }


def _mentions_sha256(corpus: Corpus) -> str:
    """Return what tells one set of judged mentions with gold from another."""
    lines = [
        f"{part}\t{m.id}\t{m.text}\t{m.composite}\t{'|'.join(m.gold)}" for part, ms in corpus.parts.items() for m in ms
    ]
    return sha256_text("\n".join(lines))


def _terminology(terminology: Terminology, sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "fingerprint": terminology.fingerprint,
        "concepts": len(terminology),
        "names": terminology.n_names,
        "langs": terminology.count_by("names", "lang"),
        "sources": [
            {
                "source": s["source"],
                "version": s["version"],
                "sha256": s["sha256"],
                "path": str(s["path"]).rpartition("/")[2],
            }
            for s in sources
        ],
    }


def _training(corpus: Corpus) -> dict[str, Any] | None:
    mentions = [m for part in corpus.training.values() for m in part]
    if not mentions:
        return None
    gold = {i for m in mentions for i in m.gold}
    return {"parts": corpus.about["training"], "mentions": len(mentions), "gold_ids": len(gold)}


def _filters(linker: LinkerConfig) -> dict[str, Any] | None:
    """Return the filters at query time, value sets with the checksum of what they list; None if there are none."""
    own = linker.filters or QueryFilters()
    if own.empty and not linker.filters_by_type:
        return None
    return {"all": own.about(), "by_type": {kind: f.about() for kind, f in linker.filters_by_type.items()}}


def _in_words(filters: Mapping[str, Any]) -> str:
    said = []
    for key, values in filters.items():
        if key == "value_set":
            which = values.get("file") or f"of ids: {values['ids']:,}"
            said.append(f"{key} {which} (sha256 {values['sha256'][:16]})")
        else:
            more = f" and {len(values) - SHOWN:,} more" if len(values) > SHOWN else ""
            said.append(f"{key} {', '.join(values[:SHOWN])}{more}")
    return "; ".join(said) or "none"


def _statements(
    corpus: Corpus,
    rankings: Rankings,
    evaluation: Evaluation,
    judged: Mapping[str, Any],
    top_k: int,
    threshold: float | None,
    filters: Mapping[str, Any] | None,
    interval: IntervalConfig,
) -> list[str]:
    """Say in sentences what the numbers mean, and only what holds for these."""
    said, mentions = [], corpus.mentions
    if rankings.predicted is None:
        spans = ", with the spans that the annotators chose" if any(m.spans for m in mentions) else ""
        said.append(f"The mentions are given{spans}; only their concepts are judged.")
    else:
        said.append(
            f"The system finds the mentions itself: {len(rankings.predicted):,} of them. A gold mention that it did "
            "not find with the same characters has an empty ranking."
        )
    said.append(f"Each ranking has at most {top_k} concepts; equal scores are ordered by concept id.")
    if threshold is not None:
        said.append(f"Candidates that score below {threshold:g} are dropped.")
    if filters is not None:
        said.append(f"Filters of what is proposed for all mentions: {_in_words(filters['all'])}.")
        said += [
            f"Filters of what is proposed for mentions of the type {kind}: {_in_words(own)}."
            for kind, own in filters["by_type"].items()
        ]
    if judged["several"]:
        said.append(f"{judged['several']:,} mentions have several gold concepts of which any one is right.")
    if judged["composite"]:
        said.append(
            f"{judged['composite']:,} mentions are composites: right only if all their concepts, and no other, come "
            "first."
        )
    if judged["outside"]:
        said.append(
            f"{judged['outside']:,} mentions have no gold concept inside the terminology; they are judged and count as "
            "wrong."
        )
    if judged["nil"]:
        said.append(
            f"{judged['nil']:,} mentions are NIL: right in accuracy if nothing is proposed, and outside of recall, MRR "
            "and nDCG."
        )
    if any("xmen" in m.metric.options for m in evaluation.documents.values()):
        said.append(
            "Metrics with [xmen] repeat xMEN's counting, its known errors included, for comparison with its figures."
        )
    said.append(
        f"Intervals: {100 * interval.level:g} %, percentile bootstrap of {interval.resamples:,} resamples of documents "
        "(or of mentions that stand in none), micro average."
    )
    return said
