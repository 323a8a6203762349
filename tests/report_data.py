"""Made-up results of an evaluation, as `metrics.json` and `manifest.json` hold them, with hostile and awkward texts."""

from __future__ import annotations

from typing import Any

KS = [1, 2, 4, 8, 16, 32, 64]
LANGS = {"de": 210, "en": 190, "es": 160, "fr": 120, "ja": 90, "zh": 70, "ar": 49, "vi": 1}
TYPES = ["Disease or Syndrome", "Sign or Symptom", "Neoplastic Process", "Injury or Poisoning", "Finding"]


def score(metric: str, value: float | None, rows: int, units: int, spread: float = 0.034) -> dict[str, Any]:
    wide = value is not None and units > 1
    low = round(max(0.0, value - spread), 6) if wide and value is not None else None
    high = round(min(1.0, value + spread), 6) if wide and value is not None else None
    return {"metric": metric, "value": value, "low": low, "high": high, "rows": rows, "units": units}


def stage(name: str, recall: list[float | None]) -> dict[str, Any]:
    each = [score(f"recall@{k}", v, 878, 100) for k, v in zip(KS, recall, strict=True)]
    first = score("accuracy", recall[0], 890, 100)
    return {"stage": name, "recall": recall, "metrics": [first, *each, score("mrr", 0.61234, 878, 100)]}


def part(by: str, name: str, rows: int, value: float | None) -> dict[str, Any]:
    units, spread = max(1, rows // 4), 0.5 / max(1, rows) ** 0.5
    more = [
        ("accuracy", value),
        ("recall@5", value and min(1.0, value + 0.12)),
        ("recall@64", value and min(1.0, value + 0.2)),
    ]
    scores = [
        score(m, v if v is None else round(v, 4), rows, units, spread)
        for m, v in [*more, ("mrr", value and value + 0.05)]
    ]
    return {"by": by, "part": name, "rows": rows, "metrics": scores}


def example(mention: str, lang: str | None = "en", context: str | None = None, **more: Any) -> dict[str, Any]:
    case = {
        "id": "d17/T4",
        "part": "test",
        "lang": lang,
        "mention": mention,
        "context": context,
        "gold": [{"id": "I50.0", "name": "Congestive heart failure"}],
        "predicted": {
            "concept_id": "I50.9",
            "name": "Heart failure, unspecified",
            "matched_name": "cardiac failure",
            "score": 0.98765,
        },
        "ranks": {"tfidf": 3, "dense": None, "ensemble": 2},
    }
    return case | more


def cause(outcome: str, name: str | None, mentions: int, *examples: dict[str, Any]) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "cause": name,
        "mentions": mentions,
        "share": round(mentions / 890, 6),
        "examples": list(examples),
    }


def outcome(name: str, mentions: int, means: str) -> dict[str, Any]:
    return {"outcome": name, "mentions": mentions, "share": round(mentions / 890, 6), "means": means}


def curve() -> dict[str, Any]:
    points = [
        {"coverage": i / 100, "risk": round(0.29 * (i / 100) ** 1.7 + 0.004, 6), "threshold": round(1 - 0.006 * i, 6)}
        for i in range(1, 101)
    ]
    return {"points": points, "aurc": 0.111404}


def protocol() -> dict[str, Any]:
    return {
        "statements": [
            "Mentions are given; their spans are the annotators'.",
            "A mention counts as right if the first candidate is a gold concept; a composite needs all of its own.",
            "Gold concepts outside the terminology count as missed.",
        ],
        "terminology": {
            "name": "icd10-who",
            "fingerprint": "9f" * 32,
            "concepts": 14416,
            "names": 14416,
            "langs": {"en": 14416},
            "sources": [{"source": "jsonl", "version": "2019", "sha256": "ab" * 32, "path": "data/icd10-who.jsonl.gz"}],
        },
        "corpus": {
            "parts": {
                "test": {
                    "format": "bigbio",
                    "documents": 103,
                    "mentions": 960,
                    "gold_ids": 200,
                    "sha256": "cd" * 32,
                    "revision": None,
                }
            },
            "skipped": {"record without a text": 2},
            "noted": {},
            "expected": {"met": False, "differences": ["part test: expected 970 mentions, found 960"]},
        },
        "cleanup": [
            {
                "stage": "types",
                "mentions": 900,
                "dropped": {"type Chemical": 60},
                "changed": {},
                "examples": {"type Chemical": ["aspirin", "ibuprofen"]},
            },
            {
                "stage": "retired",
                "mentions": 900,
                "dropped": {},
                "changed": {"id replaced": 4, "id split": 2},
                "examples": {},
            },
            {"stage": "duplicates", "mentions": 890, "dropped": {"same span twice": 10}, "changed": {}, "examples": {}},
        ],
        "judged": {
            "mentions": 890,
            "documents": 100,
            "gold_ids": 180,
            "several": 15,
            "composite": 14,
            "nil": 0,
            "outside": 12,
        },
        "top_k": 64,
        "threshold": None,
        "training": {"mentions": 5011, "documents": 800},
        "interval": {"method": "percentile bootstrap over documents", "resamples": 1000, "level": 0.95, "seed": 0},
    }


def metrics() -> dict[str, Any]:
    """Return a fresh `metrics.json`."""
    shares = [0.81, 0.786, 0.733, 0.72, 0.412, 0.388, 0.301, 1.0]
    long = "acute on chronic " * 30 + "heart failure"
    return {
        "benchmark": "icd10-multi",
        "about": "Discharge letters in eight languages, made up; WHO ICD-10 with English names.",
        "system": "icd10-who",
        "protocol": protocol(),
        "metrics": [
            score("accuracy", 0.674157, 890, 100),
            score("recall@5", 0.801234, 878, 100),
            score("recall@64", 0.921412, 878, 100),
            score("mrr", 0.7302, 878, 100),
            {**score("mean_rank", None, 820, 100), "value": 2.4183, "low": 2.1027, "high": 2.7951},
            score("f1[strict]", 0.66112, 100, 100),
            score("nil_f1", None, 0, 100),
        ],
        "ks": KS,
        "stages": [
            stage("tfidf", [0.521, 0.6, 0.662, 0.711, 0.75, 0.781, 0.801]),
            stage("dense", [0.553, 0.64, 0.712, 0.77, 0.82, 0.858, 0.887]),
            stage("ensemble", [0.674157, 0.741, 0.792, 0.838, 0.872, 0.901, 0.921412]),
        ],
        "breakdowns": [
            *[part("lang", lang, n, v) for (lang, n), v in zip(LANGS.items(), shares, strict=True)],
            *[part("type", name, 400 - 70 * i, 0.79 - 0.06 * i) for i, name in enumerate(TYPES)],
            part("type", "Congenital malformations, deformations and chromosomal abnormalities", 31, 0.58),
            part("type", "先天性疾患", 3, None),
            *[part("length", n, rows, v) for n, rows, v in (("1", 402, 0.74), ("2", 301, 0.66), ("5+", 47, 0.4))],
            *[part("exact", n, rows, v) for n, rows, v in (("no", 640, 0.55), ("yes", 250, 0.98))],
        ],
        "errors": {
            "outcomes": [
                outcome("right", 600, "the gold concept comes first; or NIL, and nothing was proposed"),
                outcome("ranked below", 220, "the gold concept was proposed, but another one comes first"),
                outcome("not retrieved", 58, "no step proposed the gold concept"),
                outcome("outside terminology", 12, "no gold concept is in the terminology, so nothing could be right"),
            ],
            "causes": [
                cause(
                    "ranked below", "homonym", 81,
                    example("HF", context="admitted with worsening [HF] and oedema of both legs, started on"),
                    example("فشل القلب", "ar", "تم إدخال المريض بسبب [فشل القلب] الاحتقاني مع ضيق في التنفس"),
                    example("心不全", "ja", "患者は[心不全]の増悪のため入院となった。", predicted=None),
                ),
                cause("ranked below", "abbreviation", 74, example("<b>HF</b>", context="see [<b>HF</b>] | `x` ")),
                cause("ranked below", "other", 65, example(long, "de", f"Befund: [{long}], sonst nichts.")),
                cause("not retrieved", "complex mention", 44, example("=HYPERLINK(\"http://evil.example\")", None)),
                cause("not retrieved", "other", 14),
                cause("outside terminology", None, 12, example("pain", gold=[{"id": "R52.X", "name": None}])),
            ],
        },
        "risk_coverage": curve(),
    }  # fmt: skip


def manifest() -> dict[str, Any]:
    """Return a fresh `manifest.json`."""
    return {
        "xnorm_version": "0.2.0",
        "created": "2026-11-21T10:00:00Z",
        "command": "xnorm evaluate icd10-multi --output results/icd10-multi",
        "config": {
            "name": "icd10-multi",
            "linker": {"candidates": {"type": "ensemble", "weights": {"dense": 1.0, "tfidf": 0.6}}},
        },
        "config_sha256": "ef" * 32,
        "seeds": {"interval": 0},
        "packages": {"numpy": "2.4.6", "scipy": "1.17.0", "faiss-cpu": "1.15.1", "pyarrow": "24.0.0"},
        "machine": {
            "system": "Linux 6.1",
            "processors": 2,
            "memory_gib": 23.4,
            "processor": "x86_64",
            "python": "3.11.7",
        },
        "seconds": {"index": 3.12, "corpus": 0.2, "link": 12.04, "score": 1.1},
    }


def many_types(n: int = 60) -> dict[str, Any]:
    """Return metrics with many types."""
    found = metrics()
    found["breakdowns"] = [
        part("type", f"Semantic type {i:02}", 500 - 7 * i, round(0.2 + 0.79 * (i * 37 % 60) / 60, 4)) for i in range(n)
    ]
    return found


def smallest() -> dict[str, Any]:
    """Return metrics of one stage, one language, no errors, one candidate, nothing else."""
    found = metrics()
    found |= {"about": None, "system": None, "ks": [1], "risk_coverage": None}
    found["stages"] = [{"stage": "exact", "recall": [1.0], "metrics": [score("accuracy", 1.0, 3, 1)]}]
    found["metrics"] = [score("accuracy", 1.0, 3, 1)]
    found["breakdowns"] = [part("lang", "en", 3, 1.0)]
    found["errors"] = {"outcomes": [{"outcome": "right", "mentions": 3, "share": 1.0}], "causes": []}
    found["protocol"] |= {"terminology": None, "training": None, "cleanup": []}
    found["protocol"]["corpus"] = {"parts": {"all": {"mentions": 3}}, "skipped": {}, "noted": {}, "expected": None}
    return found
