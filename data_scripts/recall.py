"""Cross-lingual recall of an index: names of a terminology in other languages as mentions, its ids as gold.

    python data_scripts/recall.py INDEX TERMINOLOGY [--langs de es ...] [-n 1000] [--seed 0]

TERMINOLOGY is a JSON Lines file of xnorm, or a config with a `terminology` (say, HPO with its Babelon tables laid
over). Mentions are its preferred names in a language that differ, case aside, from every English name of the concept,
unless the concept's English name is shared by several concepts. A seeded random sample is drawn for each language.
Printed: R@1, R@5, R@64 over concepts with a 95 % bootstrap interval (1,000 resamples of mentions), the share of gold
ids that the index has at all, and mentions a second (one warm pass; best compared within one run).
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import xnorm
from xnorm.config import read_yaml, validate
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology

KS = (1, 5, 64)


def read(path: Path) -> Terminology:
    """Return the terminology of a JSON Lines file or of a config."""
    if path.suffix in (".yaml", ".yml"):
        data: Any = read_yaml(path)["terminology"]
    else:
        data = {"sources": [{"type": "jsonl", "path": str(path)}]}
    return read_terminology(validate(TerminologyConfig, data, where=str(path)))[0]


def mentions_by_lang(terminology: Terminology) -> dict[str, list[tuple[str, str]]]:
    """Return (mention, concept id) pairs by language, sorted."""
    names = terminology.names.to_pydict()
    ids = terminology.concepts.column("id").to_pylist()
    english: dict[int, set[str]] = {}
    label: dict[int, str] = {}
    for concept, text, lang, scope in zip(names["concept"], names["text"], names["lang"], names["scope"], strict=True):
        if lang == "en":
            english.setdefault(concept, set()).add(text.lower())
            if scope == "preferred":
                label[concept] = text.lower()
    shared = Counter(label.values())
    found: dict[str, set[tuple[str, str]]] = {}
    for concept, text, lang, scope in zip(names["concept"], names["text"], names["lang"], names["scope"], strict=True):
        own = english.get(concept, set())
        if lang != "en" and scope == "preferred" and text.lower() not in own and shared[label.get(concept, "")] < 2:
            found.setdefault(lang, set()).add((text, ids[concept]))
    return {lang: sorted(pairs) for lang, pairs in found.items()}


def interval(hits: np.ndarray[Any, Any], rng: np.random.Generator) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a share, resampling mentions."""
    means = hits[rng.integers(0, len(hits), (1000, len(hits)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def measure(linker: Any, pairs: list[tuple[str, str]]) -> tuple[np.ndarray[Any, Any], float]:
    """Return the rank of the gold from 1 (0: not among the first 64) of each mention, and the seconds it took."""
    start = time.perf_counter()
    mentions = [xnorm.Mention(text) for text, _ in pairs]
    found = [candidates for _, candidates in linker.batches(mentions, top_k=max(KS))]
    seconds = time.perf_counter() - start
    concepts = np.concatenate([f.concepts for f in found])
    gold = linker.terminology.rows([identifier for _, identifier in pairs])
    hit = (concepts == gold[:, None]) & (gold[:, None] >= 0)
    return np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("terminology", type=Path)
    parser.add_argument("--langs", nargs="+", help="default: all of the terminology")
    parser.add_argument("-n", type=int, default=1000, help="mentions a language")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    linker = xnorm.Linker.load(args.index)
    linker.link(["warm-up"])
    rows: list[dict[str, Any]] = []
    pairs_by_lang = mentions_by_lang(read(args.terminology))
    print(f"{'lang':6}{'n':>6}  " + "  ".join(f"{'R@' + str(k):<20}" for k in KS) + "  in index  mentions/s")
    for lang in args.langs or sorted(pairs_by_lang):
        pairs = pairs_by_lang.get(lang, [])
        random.Random(args.seed).shuffle(pairs)
        pairs = pairs[: args.n]
        if not pairs:
            print(f"{lang:6}{0:>6}  no such names")
            continue
        ranks, seconds = measure(linker, pairs)
        rng = np.random.default_rng(args.seed)
        row: dict[str, Any] = {"lang": lang, "n": len(pairs)}
        cells = []
        for k in KS:
            hits = (ranks > 0) & (ranks <= k)
            low, high = interval(hits, rng)
            row[f"R@{k}"] = [float(hits.mean()), low, high]
            cells.append(f"{hits.mean():.3f} [{low:.3f}-{high:.3f}]")
        known = float(np.mean(linker.terminology.rows([i for _, i in pairs]) >= 0))
        rows.append({**row, "in_index": known, "mentions_per_second": len(pairs) / seconds})
        print(
            f"{lang:6}{len(pairs):>6}  "
            + "  ".join(f"{c:<20}" for c in cells)
            + f"  {known:.3f}     {len(pairs) / seconds:,.0f}",
            flush=True,
        )
    means = [float(np.mean([row[f"R@{k}"][0] for row in rows])) for k in KS]
    print(f"{'mean':6}{'':6}  " + "  ".join(f"{m:<20.3f}" for m in means))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
