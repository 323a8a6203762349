"""An invented terminology of many concepts in several languages, some of which share names."""

from __future__ import annotations

import json
import random

from xnorm.sources import TerminologyConfig, read_terminology

PARTS = ("bar", "col", "dor", "fen", "gal", "hum", "kir", "lam", "mot", "nus", "pel", "rin", "sol", "tav", "ved", "zor")
ENDS = {"en": "ia", "de": "ie", "fr": "ite", "zh": "病"}


def records(n=60, *, seed=0, shared=True):
    """Return concepts of an English name and, at random, synonyms and translations; a few share one."""
    rng = random.Random(seed)
    made = []
    for i in range(n):
        stem = PARTS[i % 16] + PARTS[i // 16 % 16]
        synonyms = [
            {"name": f"{stem}{ENDS[lang]}", "lang": lang, "scope": "exact"}
            for lang in ("de", "fr", "zh")
            if rng.random() < 0.6
        ]
        synonyms += [
            {"name": f"{stem} kind {k}", "lang": "en", "scope": rng.choice(["exact", "exact", "broad"])}
            for k in range(rng.randrange(3))
        ]
        if shared and rng.random() < 0.15:
            synonyms.append({"name": f"{PARTS[rng.randrange(4)].title()} syndrome", "lang": "en", "scope": "exact"})
        made.append({"id": f"X:{i:04d}", "name": f"{stem}ia", "synonyms": synonyms})
    return made


def write_names(path, made=None):
    lines = [json.dumps(record, ensure_ascii=False) for record in (records() if made is None else made)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_names(path, made=None):
    source = {"type": "jsonl", "path": str(write_names(path, made)), "name": "X"}
    return read_terminology(TerminologyConfig(sources=[source]))[0]


def concept(number, *names):
    """Return a concept whose names are (text, language) or English; the first is preferred."""
    pairs = [(n, "en") if isinstance(n, str) else n for n in names]
    synonyms = [
        {"name": text, "lang": lang, "scope": "exact" if i else "label"} for i, (text, lang) in enumerate(pairs)
    ]
    return {"id": f"X:{number:04d}", "name": None, "synonyms": synonyms}
