"""Speed of xnorm's generators, as ratios to their peers in the same run.

    pip install nmslib==2.1.2 scikit-learn     # the peer: what xMEN and scispaCy index names with
    python data_scripts/speed.py [CONFIG] [--no-nmslib] [--mentions 2000] [--parts tfidf,ensemble,ngrams,start]

CONFIG (default: hpo) names the terminology. Mentions are names of it with two random edits each. Printed:
  tfidf     build and query of xnorm's TF-IDF against an nmslib HNSW index over character 3-gram TF-IDF
            (M=100, efConstruction=2000, efSearch=200, as xMEN and scispaCy set it), top 64, all processors
  ensemble  time to build the whole index without a vector cache, and mentions linked a second
  ngrams    how often TF-IDF alone finds the concept of a misspelt name, by n-gram sizes, and the postings a query reads
  start     wall time of `import xnorm` and of a warm `xnorm link` of one mention, best of five
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xnorm.config import CandidatesSpec, StrictModel
from xnorm.linker import Linker, LinkerConfig
from xnorm.registry import find_component
from xnorm.sources import read_terminology
from xnorm.system import processors
from xnorm.types import Mention


class Spec(StrictModel):
    """Holds one generator's config."""

    candidates: CandidatesSpec


def timed(work: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """Return the least wall time of some runs, in seconds, and the last result."""
    least = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        result = work()
        least = min(least, time.perf_counter() - start)
    return least, result


def peak() -> float:
    """Return the most memory this process has had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)


def misspelt(names: list[str], n: int) -> dict[str, int]:
    """Return n distinct names with two random edits each, and the rows they come from."""
    rng = random.Random(0)
    out: dict[str, int] = {}
    while len(out) < n:
        row = rng.randrange(len(names))
        letters = list(names[row])
        for _ in range(2):
            at = rng.randrange(len(letters) + 1)
            letters[at : at + rng.randrange(2)] = rng.choice(["", "a", "e", "n", "x"])
        if text := "".join(letters).strip():
            out.setdefault(text, row)
    return out


def tfidf(terminology: Any, mentions: list[str], nmslib: bool) -> None:
    """Print build and query times of TF-IDF, and of nmslib if asked."""
    config = Spec(candidates={"type": "tfidf"}).candidates  # type: ignore[arg-type]
    build, generator = timed(lambda: find_component("candidates", "tfidf").build(config, terminology), 3)
    objects = [Mention(m) for m in mentions]
    query, _ = timed(lambda: [generator.generate(objects[i : i + 1024], 64) for i in range(0, len(objects), 1024)], 3)
    rate = len(mentions) / query
    print(f"tfidf     xnorm   build {build:8.2f} s   query {rate:9,.0f} mentions/s   ({terminology.n_names:,} names)")
    if nmslib:
        peer_build, peer_rate = nmslib_peer(terminology.name_texts(), mentions)
        print(f"          nmslib  build {peer_build:8.2f} s   query {peer_rate:9,.0f} mentions/s")
        print(f"          ratio   build {peer_build / build:8.0f} x   query {rate / peer_rate:9.1f} x", flush=True)
    print(f"          peak memory of the process so far {peak():.2f} GiB", flush=True)


def nmslib_peer(names: list[str], mentions: list[str]) -> tuple[float, float]:
    """Return the build time in seconds and the queries a second of the index that xMEN and scispaCy make."""
    import nmslib
    from sklearn.feature_extraction.text import TfidfVectorizer

    def build() -> tuple[Any, Any]:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32)
        rows = vectorizer.fit_transform(names)
        index = nmslib.init(method="hnsw", space="cosinesimil_sparse", data_type=nmslib.DataType.SPARSE_VECTOR)
        index.addDataPointBatch(rows)
        index.createIndex({"M": 100, "efConstruction": 2000, "post": 0, "indexThreadQty": processors()})
        index.setQueryTimeParams({"efSearch": 200})
        return vectorizer, index

    seconds, (vectorizer, index) = timed(build)

    def query() -> None:
        for i in range(0, len(mentions), 1024):
            rows = vectorizer.transform(mentions[i : i + 1024])
            index.knnQueryBatch(rows, k=64, num_threads=processors())

    return seconds, len(mentions) / timed(query, 2)[0]


def ngrams(terminology: Any, mentions: list[str], gold: list[int]) -> None:
    """Print recall of misspelt names by n-gram sizes."""
    for sizes in ((3, 3), (3, 4), (4, 4)):
        config = Spec(candidates={"type": "tfidf", "ngrams": sizes}).candidates  # type: ignore[arg-type]
        generator = find_component("candidates", "tfidf").build(config, terminology)
        found = generator.generate([Mention(m) for m in mentions], 64).concepts == np.array(gold)[:, None]
        postings = np.diff(generator._by_ngram.indptr)[generator.vectors(mentions).indices].sum() / len(mentions)
        shares = f"R@1 {found[:, 0].mean():.3f}   R@64 {found.any(axis=1).mean():.3f}"
        print(f"ngrams    {sizes}   {shares}   {postings:,.0f} postings a query", flush=True)


def ensemble(config: LinkerConfig, mentions: list[str]) -> None:
    """Print the time of a whole build, and of linking."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XNORM_CACHE"] = folder
        build, linker = timed(lambda: Linker.build(config))
        save, _ = timed(lambda: linker.save(Path(folder) / "index"))
        link, _ = timed(lambda: linker.link(mentions, top_k=64), 3)
    print(f"ensemble  build and save {build + save:6.1f} s   link {len(mentions) / link:9,.0f} mentions/s", end="")
    print(f"   peak {peak():.2f} GiB", flush=True)


def start(config: LinkerConfig) -> None:
    """Print how long a user waits for the first answer."""
    with tempfile.TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        Linker.build(config).save(index)
        link = [sys.executable, "-m", "xnorm", "link", index, "--text", "Herzinsuffizienz"]
        answer, _ = timed(lambda: subprocess.run(link, check=True, capture_output=True), 5)
    empty, _ = timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), 5)
    both, _ = timed(lambda: subprocess.run([sys.executable, "-c", "import xnorm"], check=True), 5)
    print(f"start     import xnorm {both - empty:.2f} s   xnorm link of one mention {answer:.2f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", default="hpo")
    parser.add_argument("--mentions", type=int, default=2000)
    parser.add_argument("--parts", default="tfidf,ensemble,start")
    parser.add_argument("--no-nmslib", action="store_true")
    args = parser.parse_args()
    config = LinkerConfig.read(args.config)
    parts = args.parts.split(",")
    seconds, (terminology, _) = timed(lambda: read_terminology(config.terminology))
    print(f"reading   {seconds:.1f} s   {len(terminology):,} concepts, {terminology.n_names:,} names", flush=True)
    edited = misspelt(terminology.name_texts(), args.mentions)
    mentions = list(edited)
    if "tfidf" in parts:
        tfidf(terminology, mentions, not args.no_nmslib)
    if "ngrams" in parts:
        ngrams(terminology, mentions, terminology.name_concept[list(edited.values())].tolist())
    if "ensemble" in parts:
        ensemble(config, mentions)
    if "start" in parts:
        start(config)


if __name__ == "__main__":
    main()
