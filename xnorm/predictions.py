"""Rankings as files: what other systems say of a corpus, and what a run writes for others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from xnorm.artifact import sha256_text
from xnorm.config import CorpusSpec, InputPath, StrictModel
from xnorm.corpora.base import Reader, ReadReport
from xnorm.corpus import Corpus
from xnorm.errors import ConfigError, DataError
from xnorm.evaluation import Ranked, Rankings
from xnorm.files import read_json_lines, read_table, suffix
from xnorm.overlap import merge_spans
from xnorm.records import JsonId, JsonRecord, JsonText, parse_record
from xnorm.registry import find_component
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["PredictionsConfig", "missing_predictions", "read_predictions"]


class PredictionsConfig(StrictModel):
    """Predictions of another system, to be judged instead of xnorm's own; either of the two."""

    path: InputPath | None = None
    """Rankings of the corpus' mentions: JSON Lines with `id` and `candidates` (concept ids, or objects with
    `concept_id` and perhaps `score`, as `xnorm link` writes them), or CSV/TSV with the columns `id` and `concept_id`
    (several ids separated by `|`, or the others in a column `others`)."""
    mentions: CorpusSpec | None = None
    """A reader (`type: brat`, ...) of documents in which the system has found the mentions itself; the ids of its
    mentions are its concepts, best first."""
    missing: Literal["error", "empty"] = "error"
    """With `path`: a judged mention without prediction is an error, or has an empty ranking and is counted."""

    @model_validator(mode="after")
    def _check_source(self) -> PredictionsConfig:
        if (self.path is None) == (self.mentions is None):
            raise ValueError("expected either path or mentions")
        return self


def _an_object(value: Any) -> Any:
    return {"concept_id": value} if isinstance(value, str) else value


class _Candidate(JsonRecord):
    concept_id: Annotated[JsonText, Field(pattern=r"\S")]
    score: Annotated[float, Field(allow_inf_nan=False, gt=-1e38, lt=1e38)] | None = None


class _Line(JsonRecord):
    id: JsonId
    candidates: list[Annotated[_Candidate, BeforeValidator(_an_object)]]


def missing_predictions(config: PredictionsConfig) -> list[str]:
    """Return a line for the file of predictions if it is not there."""
    path = config.path if config.path is not None else getattr(config.mentions, "path", None)
    hint = getattr(config.mentions, "hint", None)
    gone = isinstance(path, Path) and not path.exists() and getattr(config.mentions, "hub", None) is None
    return [f"predictions: {path}" + (f" ({hint})" if hint else "")] if gone else []


def read_predictions(
    config: PredictionsConfig,
    corpus: Corpus,
    terminology: Terminology,
    *,
    top_k: int,
    notes: dict[str, int],
    forward: bool = False,
) -> Rankings:
    """Read another system's predictions for the mentions of a corpus.

    Args:
        top_k: longer rankings are cut.
        notes: counts of what was left out are added here.
        forward: whether ids that the terminology has replaced are taken for what replaced them, as those of the gold
            are; where that is one concept.

    Raises:
        DataError: predictions for mentions or documents that the corpus does not have, two for one mention, none for
            one of them (unless `missing` says so), or a file that cannot be read.
    """
    if config.mentions is not None:
        return _found_mentions(config.mentions, corpus, terminology, top_k, notes, forward)
    assert config.path is not None
    path, mentions = config.path, corpus.mentions
    by_id: dict[str, tuple[list[str], list[float]]] = {}
    for line, identifier, ids, scores in _lines(path):
        if identifier in by_id:
            raise DataError(f"has a second prediction for the mention '{identifier}'", path=path, line=line)
        by_id[identifier] = ids, scores
    known = corpus.known_ids
    strange = [i for i in by_id if i not in known]
    if strange:
        raise DataError(
            f"has predictions for {len(strange):,} mentions that the corpus does not have, for instance '{strange[0]}'",
            path=path,
            fix=f"the ids of the corpus are like '{mentions[0].id}'",
        )
    missing = [str(m.id) for m in mentions if m.id not in by_id]
    if missing and config.missing == "error":
        raise DataError(
            f"has no prediction for {len(missing):,} of {len(mentions):,} mentions, for instance '{missing[0]}'",
            path=path,
            fix="set predictions.missing=empty to take them as empty rankings",
        )
    if missing:
        notes["mentions without a prediction, taken as an empty ranking"] = len(missing)
    if unused := len(by_id) + len(missing) - len(mentions):
        notes["predictions for mentions that the clean-up has dropped"] = unused
    rows = [by_id.get(str(m.id), ([], [])) for m in mentions]
    live = _live([ids for ids, _ in rows], corpus, terminology, notes, forward)
    return _rankings(live, [scores for _, scores in rows], terminology, top_k)


def _lines(path: Path) -> Iterator[tuple[int, str, list[str], list[float]]]:
    """Yield (line, mention id, concept ids, scores or nothing)."""
    if suffix(path) in (".csv", ".tsv"):
        for line, row in read_table(path, columns=("id", "concept_id")):
            ids = [i.strip() for cell in (row["concept_id"], row.get("others", "")) for i in cell.split("|")]
            yield line, row["id"].strip(), list(dict.fromkeys(filter(None, ids))), []
        return
    for line, record in read_json_lines(path):
        parsed = parse_record(_Line, record, path=path, line=line)
        ids = [candidate.concept_id for candidate in parsed.candidates]
        scores = [candidate.score for candidate in parsed.candidates if candidate.score is not None]
        yield line, parsed.id, ids, scores


def _live(
    rankings: Sequence[list[str]], corpus: Corpus, terminology: Terminology, notes: dict[str, int], forward: bool
) -> list[list[str]]:
    """Return rankings with replaced ids mapped forward, if that is asked for.

    Raises:
        DataError: no predicted id is in the terminology or among the gold, so that the number would be meaningless.
    """
    distinct = list(dict.fromkeys(i for ids in rankings for i in ids))
    known = dict(zip(distinct, (terminology.rows(distinct) >= 0).tolist(), strict=True))
    new = {i: terminology.resolve(i) for i in distinct if not known[i]} if forward else {}
    moved = {i: live[0] for i, live in new.items() if len(live) == 1}
    if moved:
        notes["predicted ids that the terminology has replaced, taken for what replaced them"] = len(moved)
    gold = {i for m in corpus.mentions for i in m.gold}
    if distinct and not moved and not any(known.values()) and gold.isdisjoint(distinct):
        ours = terminology.concepts.column("id")[0].as_py()
        raise DataError(
            f"none of the {len(distinct):,} predicted ids is in the terminology: they are like '{distinct[0]}', the "
            f"terminology's like '{ours}'",
            fix="write the ids with the terminology's prefix",
        )
    return [[moved.get(i, i) for i in ids] for ids in rankings]


def _rankings(
    ids: Sequence[list[str]], scores: Sequence[list[float]], terminology: Terminology, top_k: int, **more: Any
) -> Rankings:
    """Turn rankings of ids into arrays; repeated concepts of a ranking keep their first place."""
    distinct = list(dict.fromkeys(i for ranking in ids for i in ranking))
    rows = terminology.rows(distinct).tolist()
    others = [i for i, row in zip(distinct, rows, strict=True) if row < 0]
    number = dict(zip(distinct, rows, strict=True)) | {i: n for n, i in enumerate(others, len(terminology))}
    concepts = np.full((len(ids), top_k), -1, np.int32)
    kept = np.full((len(ids), top_k), -np.inf, np.float32)
    with_scores = all(len(s) == len(i) for s, i in zip(scores, ids, strict=True))
    for at, ranking in enumerate(ids):
        first = {number[i]: place for place, i in reversed(list(enumerate(ranking)))}
        places = sorted(first.values())[:top_k]
        concepts[at, : len(places)] = [number[ranking[place]] for place in places]
        if with_scores:
            kept[at, : len(places)] = [scores[at][place] for place in places]
    ranked = Ranked(concepts, kept if with_scores and any(scores) else None)
    return Rankings({"predictions": ranked}, [""] * len(ids), others, **more)


def _found_mentions(
    spec: Any, corpus: Corpus, terminology: Terminology, top_k: int, notes: dict[str, int], forward: bool
) -> Rankings:
    """Read mentions that a system has found, and lay them over the judged ones: same characters, or some of them."""
    predicted = _judged_predictions(spec, corpus, notes)
    live = _live([list(m.gold) for m in predicted], corpus, terminology, notes, forward)
    predicted = [replace(m, gold=tuple(ids)) for m, ids in zip(predicted, live, strict=True)]
    by_unit: dict[str, list[Mention]] = {}
    for mention in predicted:
        by_unit.setdefault(mention.document or "", []).append(mention)
    ids: list[list[str]] = []
    found: list[str] = []
    for mention, unit in zip(corpus.mentions, corpus.units, strict=True):
        spans = merge_spans(mention.spans)
        same = [m for m in by_unit.get(unit, []) if merge_spans(m.spans) == spans]
        ids.append(list(dict.fromkeys(i for m in same for i in m.gold)))
        touching = any(_touch(spans, m.spans) for m in by_unit.get(unit, []))
        found.append("exact" if same else "overlap" if touching else "")
    return _rankings(ids, [[] for _ in ids], terminology, top_k, predicted=predicted, found=found)


def _judged_predictions(spec: Any, corpus: Corpus, notes: dict[str, int]) -> list[Mention]:
    """Return the mentions that a system has found, their document being the unit, but for those that answer to what the
    clean-up has dropped: they are neither right nor wrong, and counted.

    Raises:
        DataError: a document that the corpus does not have.
    """
    reader: Reader = find_component("corpora", spec.type)(spec)
    unit_of = _documents(corpus)
    judged = {(unit, merge_spans(m.spans)) for m, unit in zip(corpus.mentions, corpus.units, strict=True)}
    dropped = {
        (f"{part}/{m.document}", merge_spans(m.spans)) for part, mentions in corpus.dropped.items() for m in mentions
    }
    emptied = {m.document for mentions in corpus.dropped.values() for m in mentions} - unit_of.keys()
    predicted: list[Mention] = []
    ignored, seen = 0, set[str]()
    for document in reader.documents(ReadReport()):
        if document.id in emptied:
            ignored += len(document.mentions)
            continue
        if document.id not in unit_of:
            raise DataError(f"has the document '{document.id}', which the corpus does not have", path=spec.path)
        seen.add(document.id)
        digest = corpus.digests.get(unit_of[document.id])
        if digest and document.text and digest != sha256_text(document.text):
            raise DataError(f"the document '{document.id}' has another text than in the corpus", path=spec.path)
        for mention in document.mentions:
            place = unit_of[document.id], merge_spans(mention.spans)
            if place in dropped and place not in judged:
                ignored += 1
            else:
                predicted.append(replace(mention, document=unit_of[document.id]))
    if absent := len(unit_of) - len(seen):
        notes["documents of the corpus that the predictions do not have"] = absent
    if ignored:
        notes["predicted mentions in place of what the clean-up has dropped, not judged"] = ignored
    return predicted


def _documents(corpus: Corpus) -> dict[str, str]:
    """Return the unit of each document of the corpus by its id.

    Raises:
        ConfigError: two parts have a document of one id, or mentions stand in no document.
    """
    if not all(m.spans and m.document is not None for m in corpus.mentions):
        raise ConfigError("predictions.mentions: the corpus is a list of mentions, not of documents; use path")
    unit_of: dict[str, str] = {}
    for part, documents in corpus.documents.items():
        for document in documents:
            if document in unit_of:
                raise ConfigError(f"predictions.mentions: two parts have a document '{document}'; judge them apart")
            unit_of[document] = f"{part}/{document}"
    return unit_of


def _touch(spans: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]) -> bool:
    return any(start < end2 and start2 < end for start, end in spans for start2, end2 in others)
