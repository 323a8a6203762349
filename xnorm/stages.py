"""Linking a corpus for its evaluation: the candidates after each step, kept block by block so that a run can resume."""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.artifact import claim_work, sha256_text
from xnorm.bundle import model_checksum
from xnorm.candidates.base import Candidates
from xnorm.corpus import Corpus
from xnorm.errors import ArtifactError
from xnorm.evaluation import Ranked, Rankings
from xnorm.filters import checksums
from xnorm.linker import BATCH, Linker
from xnorm.progress import Progress, Say, no_progress
from xnorm.text import clean
from xnorm.types import Mention

__all__ = ["forget", "rank"]

BLOCK = 4096
"""Mentions linked between two states that a run can resume from."""

Blocks = dict[str, Candidates]


def rank(
    linker: Linker,
    corpus: Corpus,
    top_k: int,
    *,
    beside: Path,
    notes: dict[str, int],
    progress: Progress = no_progress,
    say: Say = lambda line: None,
) -> Rankings:
    """Return the rankings of a corpus after each step.

    Args:
        beside: the results folder to be; the work lies in a hidden folder beside it until `forget` is called.
        notes: counts of what happened to the mentions are added here.
        say: called with a line that the user should read.

    Raises:
        ArtifactError: another run is at work for the same results folder, or the disk refuses.
    """
    mentions = corpus.mentions
    work = _work(beside)
    claim_work(work, _key(linker, mentions, top_k))
    if done := sum(
        min(BLOCK, len(mentions) - start)
        for start in range(0, len(mentions), BLOCK)
        if (work / f"{start}.npz").exists()
    ):
        say(f"going on after {done:,} mentions that a run which was stopped had linked")
    blocks = []
    for start in range(0, len(mentions), BLOCK):
        progress("linking", start, len(mentions))
        block = mentions[start : start + BLOCK]
        blocks.append(_block(work / f"{start}.npz", linker, block, top_k))
    progress("linking", len(mentions), len(mentions))
    lengths = [len(clean(m.text)) for m in mentions]
    if empty := lengths.count(0):
        notes["mentions without a text, with an empty ranking"] = empty
    if cut := sum(length > linker.config.max_chars for length in lengths):
        notes["mentions cut to max_chars"] = cut
    return _joined(blocks, linker, top_k)


def forget(beside: Path) -> None:
    """Remove the work folder of a results folder: the results are written."""
    shutil.rmtree(_work(beside), ignore_errors=True)


def _work(beside: Path) -> Path:
    return beside.parent / f".{beside.name}.work"


def _key(linker: Linker, mentions: Sequence[Mention], top_k: int) -> str:
    """Return what tells one linking from another."""
    texts = json.dumps([(m.text, m.lang, m.left, m.right, m.types) for m in mentions])
    files = [model_checksum(linker.config.reranker), *checksums(linker.config.all_filters)]
    settings = [linker.config.model_dump(mode="json"), *files]
    return sha256_text(json.dumps([linker.terminology.fingerprint, settings, top_k, version("xnorm"), texts]))


def _block(file: Path, linker: Linker, mentions: Sequence[Mention], top_k: int) -> Blocks:
    """Return the candidates of a block of mentions by step: from its file, or linked and put there."""
    if file.exists():
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # cut off: link it again
            return _read(file)
    # in the batches of `xnorm link`, for the last bits of a matrix product depend on its size
    parts = [linker.stages(mentions[i : i + BATCH], top_k) for i in range(0, len(mentions), BATCH)]
    steps = {step: Candidates.stack([part[step] for part in parts]) for step in parts[0]}
    part = file.with_suffix(".part.npz")
    columns = ("concepts", "scores", "names")
    arrays = {f"{step}/{column}": getattr(found, column) for step, found in steps.items() for column in columns}
    try:
        np.savez(part, **arrays)
        part.replace(file)
    except OSError as e:
        raise ArtifactError(f"{file}: cannot be written: {e.strerror or e}") from e
    return steps


def _read(file: Path) -> Blocks:
    with np.load(file, allow_pickle=False) as arrays:
        steps = list(dict.fromkeys(key.rpartition("/")[0] for key in arrays.files))
        return {
            step: Candidates(arrays[f"{step}/concepts"], arrays[f"{step}/scores"], arrays[f"{step}/names"])
            for step in steps
        }


def _joined(blocks: Sequence[Blocks], linker: Linker, top_k: int) -> Rankings:
    """Join blocks, and pad them where the terminology has fewer than `top_k` concepts."""
    last = next(reversed(blocks[0]))
    stages = {
        step: Ranked(
            _padded([block[step].concepts for block in blocks], top_k, -1),
            _padded([block[step].scores for block in blocks], top_k, -np.inf) if step == last else None,
        )
        for step in blocks[0]
    }
    names = np.concatenate([block[last].names[:, 0] for block in blocks])
    known = names >= 0
    texts = iter(linker.terminology.take("names", "text", names[known]))
    return Rankings(stages, [next(texts) if k else "" for k in known.tolist()])


def _padded(arrays: Sequence[npt.NDArray[Any]], width: int, padding: float) -> npt.NDArray[Any]:
    joined = np.concatenate(arrays)
    return np.pad(joined, ((0, 0), (0, width - joined.shape[1])), constant_values=padding)
