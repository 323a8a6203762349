"""Speed of the evaluation: 100,000 mentions with 64 candidates each, as a ratio to ranx in the same run.

    pip install ranx                                            # the peer
    python data_scripts/speed_evaluation.py [--mentions 100000] [--no-ranx]

Rankings and gold are random. ranx is timed on what both compute (success at seven k, MRR, nDCG), once it is compiled
and has its own data structures, and the values are compared; what its data structures cost is printed, too. xnorm is
also timed on everything that a run of `xnorm evaluate` computes: metrics of three steps, breakdowns, outcomes and
causes of errors, risk against coverage, and bootstrap intervals of 1,000 resamples.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from xnorm.corpus import Corpus
from xnorm.evaluation import Ranked, Rankings, evaluate
from xnorm.ranking import judge, measure
from xnorm.sources import read_terminology
from xnorm.tables import Terminology
from xnorm.types import Mention

KS = (1, 2, 4, 8, 16, 32, 64)
METRICS = [*(f"recall@{k}" for k in KS), "mrr", "ndcg@10"]
CONCEPTS = 50_000


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the least wall time of three runs, in seconds, and the last result."""
    least = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        result = work()
        least = min(least, time.perf_counter() - start)
    return least, result


def make(n: int) -> tuple[Any, list[list[int]]]:
    """Return concepts, shape (n, 64), and the gold of each mention: somewhere in the ranking for nine of ten."""
    rng = np.random.default_rng(0)
    concepts = np.stack([rng.permutation(CONCEPTS)[:64] for _ in range(1000)]).astype(np.int32)
    concepts = (concepts[np.arange(n) % 1000] + np.arange(n)[:, None]) % CONCEPTS
    place = np.minimum(rng.geometric(0.3, n) - 1, 63)
    gold = np.where(rng.random(n) < 0.9, concepts[np.arange(n), place], rng.integers(0, CONCEPTS, n))
    return concepts.astype(np.int32), [[int(g)] for g in gold]


def on_arrays(concepts: Any, gold: list[list[int]]) -> dict[str, float]:
    """Take the metrics that ranx takes, too."""
    judged = judge(concepts, gold)
    return {name: measure(name, judged).value for name in METRICS}


def with_ranx(concepts: Any, gold: list[list[int]]) -> None:
    """Time ranx, and compare the values."""
    from ranx import Qrels, Run
    from ranx import evaluate as theirs

    def convert() -> tuple[Any, Any]:
        ids = [f"q{i}" for i in range(len(gold))]
        qrels = {i: {str(g): 1 for g in own} for i, own in zip(ids, gold, strict=True)}
        run = {i: {str(c): 64.0 - r for r, c in enumerate(row)} for i, row in zip(ids, concepts.tolist(), strict=True)}
        return Qrels(qrels), Run(run)

    names = [*(f"hit_rate@{k}" for k in KS), "mrr", "ndcg@10"]
    start = time.perf_counter()
    qrels, run = convert()
    converted = time.perf_counter() - start
    seconds, values = timed(lambda: theirs(qrels, run, names))
    ours_seconds, ours = timed(lambda: on_arrays(concepts, gold))
    worst = max(abs(values[theirs_name] - ours[name]) for theirs_name, name in zip(names, METRICS, strict=True))
    print(f"nine metrics    xnorm {ours_seconds:.2f} s   ranx {seconds:.2f} s   ratio {seconds / ours_seconds:.1f}")
    print(f"                ranx's own data structures {converted:.1f} s more; values differ by at most {worst:.1e}")


def whole(concepts: Any, gold: list[list[int]], terminology: Terminology) -> None:
    """Time everything that a run computes."""
    ids = terminology.concepts.column("id").to_pylist()
    types = ("Disease", "Symptom", "Drug")
    mentions = [
        Mention(f"mention {i}", str(i), "es", (types[i % 3],), gold=(ids[own[0]],), document=f"d{i // 20}")
        for i, own in enumerate(gold)
    ]
    corpus = Corpus({"test": mentions}, {}, {"test": []}, {"test": []}, {}, [])
    scores = np.broadcast_to(np.linspace(1, 0, 64, dtype=np.float32), concepts.shape)
    stages = {step: Ranked(concepts, scores) for step in ("tfidf", "dense", "ensemble")}
    rankings = Rankings(stages, [""] * len(mentions))
    start = time.perf_counter()
    evaluate(corpus, rankings, terminology)
    print(f"all of a run    xnorm {time.perf_counter() - start:.1f} s")


def small_terminology() -> Terminology:
    """Return concepts with a name each."""
    import json
    import tempfile
    from pathlib import Path

    from xnorm.config import validate
    from xnorm.sources import TerminologyConfig

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.jsonl"
        lines = (json.dumps({"id": f"X:{i:06}", "name": f"name {i}", "types": ["Disease"]}) for i in range(CONCEPTS))
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        data = {"sources": [{"type": "jsonl", "path": str(path)}]}
        return read_terminology(validate(TerminologyConfig, data, where="speed"))[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mentions", type=int, default=100_000)
    parser.add_argument("--no-ranx", action="store_true")
    args = parser.parse_args()
    concepts, gold = make(args.mentions)
    if not args.no_ranx:
        with_ranx(concepts, gold)
    whole(concepts, gold, small_terminology())


if __name__ == "__main__":
    main()
