"""A tiny terminology with types, and makers of corpora and rankings, for the tests of evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from xnorm.corpus import Corpus, CorpusConfig, read_corpus
from xnorm.evaluation import Ranked, Rankings
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Mention

# id -> row in the terminology is the last digit minus 1, for rows are sorted by id
CONCEPTS = [
    ("T:001", "Heart failure", ["Cardiac insufficiency", "HF"], ["Disease"]),
    ("T:002", "Headache", ["Cephalalgia"], ["Symptom"]),
    ("T:003", "Cold", ["Common cold"], ["Disease"]),
    ("T:004", "Cold", ["Chilliness"], ["Symptom"]),
    ("T:005", "Chronic obstructive pulmonary disease", ["COPD"], ["Disease"]),
    ("T:006", "Breast cancer", [], ["Disease"]),
    ("T:007", "Ovarian cancer", [], ["Disease"]),
    ("T:008", "Thing", [], []),
]
HF, HEADACHE, COLD, CHILL, COPD, BREAST, OVARY, THING = range(8)
N = len(CONCEPTS)


def ident(row):
    return f"T:{row + 1:03}"


def write_lines(path: Path, records) -> Path:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text(text, encoding="utf-8")
    return path


def write_concepts(path: Path) -> Path:
    keys = ("id", "name", "synonyms", "types")
    return write_lines(path, [dict(zip(keys, concept, strict=True)) for concept in CONCEPTS])


def make_terminology(folder: Path):
    source = write_concepts(folder / "concepts.jsonl")
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(source)}]))[0]


def corpus_config(parts, **more):
    """Return a config of JSON Lines files by part."""
    return CorpusConfig(parts={name: {"type": "jsonl", "path": str(path)} for name, path in parts.items()}, **more)


def read_parts(parts, **more):
    return read_corpus(corpus_config(parts, **more))


def make_corpus(mentions, training=(), documents=(), part="test"):
    """Return a corpus of one part, without a file."""
    mentions = [m if isinstance(m, Mention) else mention(*m) for m in mentions]
    named = dict.fromkeys([*(m.document for m in mentions if m.document is not None), *documents])
    about = {"parts": {}, "training": {}, "skipped": {}, "noted": {}, "examples": {}, "expected": None}
    trained = {"train": list(training)} if training else {}
    return Corpus({part: mentions}, trained, {part: list(named)}, {part: []}, about, [])


_numbers = iter(range(10**9))


def mention(text, gold=(), **more):
    gold = (gold,) if isinstance(gold, int | str) else gold
    ids = tuple(g if isinstance(g, str) else ident(g) for g in gold)
    return Mention(text, more.pop("id", f"m{next(_numbers)}"), gold=ids, **more)


def padded(rows, k, fill=-1):
    return np.array([[*row, *[fill] * (k - len(row))] for row in rows]).reshape(len(rows), k)


def make_rankings(rows, k=4, *, scores=None, steps=None, matched=None, **more):
    """Return rankings from lists of concept rows; `steps` are rankings that come before."""
    stages = {name: Ranked(padded(own, k).astype(np.int32)) for name, own in (steps or {}).items()}
    kept = None if scores is None else padded(scores, k, -np.inf).astype(np.float32)
    stages["last"] = Ranked(padded(rows, k).astype(np.int32), kept)
    return Rankings(stages, matched or [""] * len(rows), **more)
