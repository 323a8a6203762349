"""Speed of scoring pairs: a trained reranker in torch (fp32) against its exported graphs, on the processors there are.

    python data_scripts/speed_reranking.py models/ncbi-disease models/ncbi-disease-onnx --index index/mesh

Pairs are made of an index: mentions of two random names in a context of others, and random concepts. The rounds of the
three alternate, so that a change of the machine's speed meets all; the ratio is that of their total times. Logits are
compared, too.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xnorm.artifact import open_folder
from xnorm.candidates.base import Candidates
from xnorm.memory import Chunks
from xnorm.pairs import PairWriter
from xnorm.reranking.cross_encoder import MODEL, open_model, pair_logits
from xnorm.reranking.onnx import MODEL_FILES, OnnxPairModel, RerankerCard
from xnorm.scoring import logits_of
from xnorm.system import machine
from xnorm.tables import Terminology
from xnorm.types import Mention


def make(terminology: Terminology, n: int, k: int) -> tuple[list[Mention], Candidates]:
    """Return n mentions with k random candidates each."""
    rng = random.Random(0)
    rows = np.array([[rng.randrange(len(terminology)) for _ in range(k)] for _ in range(n)], np.int32)
    drawn = np.array([rng.randrange(terminology.n_names) for _ in range(12 * n)])
    names = [str(name) for name in terminology.take("names", "text", drawn)]
    mentions = [
        Mention(
            text=" ".join(names[12 * i : 12 * i + 2]),
            left=" ".join(names[12 * i + 2 : 12 * i + 7])[-128:],
            right=" ".join(names[12 * i + 7 : 12 * i + 12])[:128],
        )
        for i in range(n)
    ]
    scores = np.tile(np.linspace(1, 0.5, k, dtype=np.float32), (n, 1))
    return mentions, Candidates(rows, scores, np.full_like(rows, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--mentions", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    terminology = Terminology.open(options.index / "terminology")
    about = open_folder(options.exported, kind="reranker-onnx")
    card = RerankerCard.model_validate({key: about[key] for key in RerankerCard.model_fields if key in about})
    mentions, candidates = make(terminology, options.mentions, options.candidates)
    wanted, writer = candidates.concepts >= 0, PairWriter(terminology, card.pairs)
    model = open_model(str(options.trained / MODEL), card.pairs, device="cpu", dtype="float32")
    graphs = {name: OnnxPairModel(options.exported, card, file) for name, file in MODEL_FILES.items()}
    work: dict[str, Callable[[], Any]] = {
        "torch fp32": lambda: pair_logits(model, writer, mentions, candidates, wanted, Chunks(64))[0]
    }
    for name, graph in graphs.items():
        work[f"onnx {name}"] = lambda graph=graph: logits_of(  # type: ignore[misc]
            graph.predict, graph.tokenizer, writer, mentions, candidates, wanted
        )[0]
    seconds, found = dict.fromkeys(work, 0.0), {name: run() for name, run in work.items()}
    for _ in range(options.rounds):
        for name, run in work.items():
            start = time.perf_counter()
            run()
            seconds[name] += time.perf_counter() - start
    print(machine())
    first, pairs = next(iter(work)), wanted.sum() * options.rounds
    for name, spent in seconds.items():
        alike = np.corrcoef(found[name][wanted], found[first][wanted])[0, 1]
        print(
            f"{name}: {pairs / spent:.0f} pairs a second, {seconds[first] / spent:.2f} times, correlation {alike:.4f}"
        )


if __name__ == "__main__":
    main()
