"""The files of a results folder: predictions mention by mention, rows for comparisons, examples of errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xnorm.corpus import Corpus
from xnorm.evaluation import Evaluation, Rankings, cases, concept_ids, rounded
from xnorm.metrics import Measured
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["error_cases", "write_predictions", "write_rows"]

BLOCK = 1024
"""Mentions written at a time."""
SHOWN = 3
"""Examples of each cause."""
CONTEXT = 60
"""Characters of context on either side in an example."""


def write_predictions(
    path: Path, corpus: Corpus, rankings: Rankings, evaluation: Evaluation, terminology: Terminology
) -> None:
    """Write a line of JSON for each judged mention, with its gold, its ranks, what became of it and its candidates."""
    mentions, parts = corpus.mentions, corpus.part_of
    with path.open("w", encoding="utf-8") as file:
        for start in range(0, len(mentions), BLOCK):
            rows = slice(start, start + BLOCK)
            for i, ranked in enumerate(_ranked(rankings, rows, terminology), start):
                record = _about(mentions[i], parts[i]) | {
                    "ranks": _ranks(evaluation, i),
                    "outcome": evaluation.missed.outcomes[i],
                    "cause": evaluation.missed.causes[i],
                    "matched_name": rankings.matched[i] or None,
                    "candidates": ranked,
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_rows(folder: Path, corpus: Corpus, evaluation: Evaluation) -> None:
    """Write what `xnorm compare` needs: each metric's numerators and denominators, by mention and by document."""
    mentions = corpus.mentions
    columns: dict[str, Any] = {
        "id": [m.id for m in mentions],
        "unit": corpus.units,
        "gold": [("+" if m.composite else "|").join(m.gold) for m in mentions],
    }
    for name, labels in evaluation.labels.items():
        many = any(isinstance(label, tuple) for label in labels)
        columns[f"by:{name}"] = pa.array(
            [[label] if isinstance(label, str) else list(label) for label in labels] if many else labels,
            pa.list_(pa.string()) if many else pa.string(),
        )
    pq.write_table(pa.table(columns | _parts(evaluation.mentions)), folder / "rows-mentions.parquet")
    if evaluation.documents:
        columns = {"id": list(evaluation.document_ids)}
        pq.write_table(pa.table(columns | _parts(evaluation.documents)), folder / "rows-documents.parquet")


def error_cases(
    corpus: Corpus, rankings: Rankings, evaluation: Evaluation, terminology: Terminology
) -> list[dict[str, Any]]:
    """Return outcome, cause, number and some examples of what was missed."""
    mentions, parts = corpus.mentions, corpus.part_of
    listed = []
    for outcome, cause, at in cases(evaluation.missed):
        shown = [at[(2 * n + 1) * len(at) // (2 * SHOWN)] for n in range(SHOWN)] if len(at) > SHOWN else at
        listed.append(
            {
                "outcome": outcome,
                "cause": cause,
                "mentions": len(at),
                "share": rounded(len(at) / len(mentions)),
                "examples": [_example(mentions[i], parts[i], i, rankings, evaluation, terminology) for i in shown],
            }
        )
    return listed


def _example(
    mention: Mention, part: str, i: int, rankings: Rankings, evaluation: Evaluation, terminology: Terminology
) -> dict[str, Any]:
    (ranked,) = _ranked(rankings, slice(i, i + 1), terminology, most=1)
    best = ranked[0] if ranked else None
    if best is not None:
        best = {**best, "name": _name(best["concept_id"], terminology), "matched_name": rankings.matched[i] or None}
    left, right = mention.left[-CONTEXT:], mention.right[:CONTEXT]
    return {
        "id": mention.id,
        "part": part,
        "lang": mention.lang,
        "mention": mention.text,
        "context": f"{left}[{mention.text}]{right}" if left or right else None,
        "gold": [{"id": i, "name": _name(i, terminology)} for i in mention.gold],
        "predicted": best,
        "ranks": _ranks(evaluation, i),
    }


def _about(mention: Mention, part: str) -> dict[str, Any]:
    return {
        "id": mention.id,
        "part": part,
        "document": mention.document,
        "mention": mention.text,
        "lang": mention.lang,
        "types": list(mention.types),
        "gold": list(mention.gold),
        "composite": mention.composite,
    }


def _ranks(evaluation: Evaluation, i: int) -> dict[str, int | None]:
    return {step: int(ranks[i]) or None for step, ranks in evaluation.ranks.items()}


def _name(concept_id: str, terminology: Terminology) -> str | None:
    row = terminology.row(concept_id)
    return None if row is None else str(terminology.take("concepts", "name", [row])[0])


def _ranked(
    rankings: Rankings, rows: slice, terminology: Terminology, most: int | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Yield the candidates of some mentions: concept id, and score where there is one."""
    final = rankings.final
    ids = concept_ids(final.concepts[rows, :most], rankings.others, terminology)
    if final.scores is None:
        yield from ([{"concept_id": i} for i in own] for own in ids)
        return
    for own, scores in zip(ids, final.scores[rows].tolist(), strict=True):
        yield [{"concept_id": i, "score": round(s, 6)} for i, s in zip(own, scores, strict=False)]


def _parts(measured: dict[str, Measured]) -> dict[str, Any]:
    return {f"metric:{name}:{c}": m.parts[:, c] for name, m in measured.items() for c in range(m.parts.shape[1])}
