"""Running exported graphs on ONNX Runtime: sessions, batches with little padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.system import processors

__all__ = ["BATCH_TOKENS", "batches", "open_session", "pad"]

BATCH_TOKENS = 512
"""Tokens a forward pass, padding included: enough to fill the matrix kernels, few enough to stay in the cache."""

Ids = npt.NDArray[np.int64]


def open_session(runtime: Any, path: Path, *, threads: int | None, providers: Sequence[Any]) -> Any:
    """Open a graph.

    Args:
        runtime: the package `onnxruntime`.
        threads: threads of the runtime; None: the processors available.
    """
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or processors()
    options.log_severity_level = 3
    return runtime.InferenceSession(str(path), options, providers=list(providers))


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[Ids]:
    """Yield positions of texts, shortest first, so that a batch has little padding and at most BATCH_TOKENS tokens."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end < len(order) and end - start < batch_size and (end - start + 1) * lengths[order[end]] <= BATCH_TOKENS:
            continue
        yield order[start:end]
        start = end


def pad(tokens: Sequence[Sequence[int]], filler: int) -> Ids:
    """Return an array of shape (texts, longest)."""
    out = np.full((len(tokens), max(map(len, tokens))), filler, np.int64)
    for row, own in enumerate(tokens):
        out[row, : len(own)] = own
    return out
