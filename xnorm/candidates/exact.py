"""Normalised string lookup, and a memory of training mentions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from xnorm.candidates.base import (
    Allowed,
    CandidateGenerator,
    Candidates,
    GeneratorConfig,
    Rows,
    Scores,
    loose_candidates,
)
from xnorm.config import InputPath
from xnorm.errors import ArtifactError, DataError
from xnorm.files import read_table
from xnorm.progress import Progress, no_progress
from xnorm.tables import Terminology
from xnorm.text import clean, fold, fold_case
from xnorm.types import Mention

__all__ = ["ExactConfig", "ExactGenerator"]


Hashes = npt.NDArray[np.uint64]


class ExactConfig(GeneratorConfig):
    """Settings of the exact lookup."""

    type: str = "exact"
    path: InputPath | None = None
    """A CSV or TSV file of training mentions with the columns `text` and `concept_id`, looked up beside the names.
    A text with several concepts prefers the more frequent one."""


class ExactGenerator(CandidateGenerator):
    """Finds the concepts that have the mention itself as a name.

    The score says how equal: 1.0 as written, 0.99 but for case and Unicode form, 0.97 but for accents, spelling
    variants and punctuation, 0.95 but for word order; times the weight of the name. Anything else scores 0.
    """

    config_class: ClassVar[type[GeneratorConfig]] = ExactConfig
    config: ExactConfig

    def __init__(self, config: ExactConfig, terminology: Terminology, arrays: dict[str, npt.NDArray[Any]]) -> None:
        self.config = config
        self.terminology = terminology
        self._arrays = arrays
        weights = terminology.name_weights
        # a training mention is no name: -1, which is the last
        self._weights = None if weights is None else np.append(weights, np.float32(1))

    @classmethod
    def build(
        cls, config: GeneratorConfig, terminology: Terminology, *, progress: Progress = no_progress
    ) -> ExactGenerator:
        assert isinstance(config, ExactConfig)
        texts = terminology.name_texts()
        concepts: Rows = terminology.name_concept
        names = np.arange(len(texts), dtype=np.int32)
        shares = np.ones(len(texts), np.float32)
        if config.path is not None:
            extra_texts, extra_concepts, extra_shares = _read_pairs(config.path, terminology)
            texts = texts + extra_texts
            concepts = np.concatenate([concepts, extra_concepts])
            names = np.concatenate([names, np.full(len(extra_texts), -1, np.int32)])
            shares = np.concatenate([shares, extra_shares])
        arrays: dict[str, npt.NDArray[Any]] = {"concepts": concepts, "names": names, "shares": shares}
        for level, (_, form) in enumerate(_LEVELS):
            progress("indexing exact names", level, len(_LEVELS))
            hashes = _hashes(form(t) for t in texts)
            order = np.argsort(hashes, kind="stable")
            arrays[f"hashes{level}"], arrays[f"order{level}"] = hashes[order], order.astype(np.int32)
        return cls(config, terminology, arrays)

    def save(self, folder: Path) -> None:
        for name, array in self._arrays.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    @classmethod
    def load(cls, config: GeneratorConfig, terminology: Terminology, folder: Path) -> ExactGenerator:
        assert isinstance(config, ExactConfig)
        names = ["concepts", "names", "shares"]
        names += [f"{kind}{level}" for kind in ("hashes", "order") for level in range(len(_LEVELS))]
        try:
            arrays = {n: np.load(folder / f"{n}.npy", mmap_mode="r", allow_pickle=False) for n in names}
        except (OSError, ValueError) as e:
            raise ArtifactError(f"{folder}: cannot be read: {e}") from e
        return cls(config, terminology, arrays)

    def represent(self, mentions: Sequence[Mention]) -> list[Hashes]:
        """Return the hashes of the mentions at each level, each of shape (mentions,)."""
        return [_hashes(form(m.text) for m in mentions) for _, form in _LEVELS]

    def nearest(self, queries: list[Hashes], k: int) -> Candidates:
        mention, concepts, scores, names = self._matches(queries)
        return loose_candidates(mention, concepts, scores, names, len(queries[0]), k)

    def restrict(self, allowed: Allowed) -> ExactGenerator:
        part = copy(self)
        part._allowed = allowed
        return part

    def rate(self, queries: list[Hashes], concepts: Rows) -> tuple[Scores, Rows]:
        concepts = concepts if self._allowed is None else self._allowed.only(concepts)
        mention, matched, worths, matched_names = self._matches(queries)
        widest = max(1, int(np.bincount(mention, minlength=1).max()))
        found = loose_candidates(mention, matched, worths, matched_names, len(queries[0]), widest)
        scores = np.where(concepts >= 0, 0.0, -np.inf).astype(np.float32)
        names = np.full(concepts.shape, -1, np.int32)
        for column in range(found.concepts.shape[1]):
            hit = (concepts == found.concepts[:, column, None]) & (concepts >= 0)
            scores = np.where(hit, found.scores[:, column, None], scores)
            names = np.where(hit, found.names[:, column, None], names)
        return scores, names

    def _matches(self, queries: list[Hashes]) -> tuple[npt.NDArray[np.int64], Rows, Scores, Rows]:
        """Return (mention, concept, score, name) of every match at every level; one may come at several levels."""
        parts: list[tuple[npt.NDArray[np.int64], Rows, Scores]] = []
        for level, (worth, _) in enumerate(_LEVELS):
            hashes, order = self._arrays[f"hashes{level}"], self._arrays[f"order{level}"]
            start = np.searchsorted(hashes, queries[level], "left")
            counts = np.searchsorted(hashes, queries[level], "right") - start
            mention = np.repeat(np.arange(len(counts)), counts)
            within = np.arange(len(mention)) - np.repeat(np.cumsum(counts) - counts, counts)
            entry = order[np.repeat(start, counts) + within]
            scores = np.float32(worth) - np.float32(0.01) * (1 - self._arrays["shares"][entry])
            if self._weights is not None:
                scores = scores * self._weights[self._arrays["names"][entry]]
            parts.append((mention, entry, scores.astype(np.float32)))
        mention, entry, scores = (np.concatenate(column) for column in zip(*parts, strict=True))
        concepts, names = self._arrays["concepts"][entry], self._arrays["names"][entry]
        if self._allowed is not None:  # a training mention is no name, so it asks for no more than an allowed concept
            kept = np.where(names >= 0, self._allowed.names[names], self._allowed.concepts[concepts])
            mention, concepts, scores, names = mention[kept], concepts[kept], scores[kept], names[kept]
        return mention, concepts, scores, names


def _sorted_words(text: str) -> str:
    return " ".join(sorted(fold(text).split(" ")))


_LEVELS = ((1.0, clean), (0.99, fold_case), (0.97, fold), (0.95, _sorted_words))


def _hashes(texts: Iterable[str]) -> Hashes:
    """Return 64-bit hashes; two of a hundred million different texts collide with probability 0.0003."""
    joined = b"".join(hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=8).digest() for t in texts)
    return np.frombuffer(joined, np.dtype("<u8"))


def _read_pairs(path: Path, terminology: Terminology) -> tuple[list[str], Rows, Scores]:
    """Return texts, concept rows and the share that each concept has of its text's mentions."""
    counts: Counter[tuple[str, str]] = Counter()
    for line, row in read_table(path, columns=("text", "concept_id")):
        text, concept_id = clean(row["text"]), row["concept_id"].strip()
        live = terminology.resolve(concept_id)
        if not text:
            raise DataError("empty text", path=path, line=line)
        if not live:
            raise DataError(f"concept '{concept_id}' is not in the terminology", path=path, line=line)
        counts.update((text, new) for new in live)
    totals: Counter[str] = Counter()
    for (text, _), n in counts.items():
        totals[text] += n
    shares = np.array([n / totals[text] for (text, _), n in counts.items()], np.float32)
    return [text for text, _ in counts], terminology.rows([c for _, c in counts]), shares
