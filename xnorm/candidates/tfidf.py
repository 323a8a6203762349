"""Character n-grams weighted by TF-IDF, cosine similarity, exact top-k by a sparse matrix product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from pydantic import Field, model_validator
from sparse_dot_topn import sp_matmul_topn

from xnorm.candidates.base import (
    Allowed,
    CandidateGenerator,
    Candidates,
    GeneratorConfig,
    Rows,
    Scores,
    loose_candidates,
    names_for,
    score_by_names,
    ties_beyond,
)
from xnorm.errors import ArtifactError
from xnorm.progress import Progress, no_progress
from xnorm.system import processors
from xnorm.tables import Terminology
from xnorm.text import cognate, fold, fold_case, hash_ngrams
from xnorm.types import Mention

__all__ = ["TfidfConfig", "TfidfGenerator"]

BLOCK = 1 << 16
"""Names analysed at a time; bounds memory while building."""
PAIRS = 1 << 20
"""(mention, name) pairs scored at a time."""
FIRST_LOOK = 0.1
"""Names with a lower score are passed over at first; a mention that then lacks concepts is looked up again without."""
ALIKE = 0.9999
"""Highest score of a name that is not written as the mention is: so a name comes first for its own text."""


class TfidfConfig(GeneratorConfig):
    """Settings of the TF-IDF generator."""

    type: str = "tfidf"
    ngrams: tuple[Annotated[int, Field(ge=1, le=8)], Annotated[int, Field(ge=1, le=8)]] = (4, 4)
    """Least and greatest number of characters of an n-gram, 1 to 8. Words are padded with a space; scripts without
    spaces always have n-grams of 1 to 3. `[3, 3]` forgives more typing errors at a fourth of the speed."""
    cognates: bool = True
    """Compare words in a spelling that European languages share (`kardiomiopati`); Greek, Cyrillic and kana are
    transliterated either way."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the matrix product; default: the processors available."""

    @model_validator(mode="after")
    def _check_ngrams(self) -> TfidfConfig:
        if self.ngrams[0] > self.ngrams[1]:
            raise ValueError(f"ngrams: expected the least size first, found {list(self.ngrams)}")
        return self


class TfidfGenerator(CandidateGenerator):
    """Weight of an n-gram: (1 + ln tf) * (1 + ln((1 + N) / (1 + df))), rows scaled to unit length (L2): scikit-learn's
    `TfidfVectorizer(sublinear_tf=True)`. Every n-gram counts, however rare; n-grams that no name has are left out of
    the mention's length. The score is the cosine, times the weight of the name."""

    config_class: ClassVar[type[GeneratorConfig]] = TfidfConfig
    config: TfidfConfig

    def __init__(
        self,
        config: TfidfConfig,
        terminology: Terminology,
        vocabulary: npt.NDArray[np.uint64],
        idf: Scores,
        names: sp.csr_matrix,
    ) -> None:
        self.config = config
        self.terminology = terminology
        self._vocabulary = vocabulary
        self._idf = idf
        self._names = names
        self._weights = terminology.name_weights
        self._by_ngram = self._transposed(np.arange(terminology.n_names))
        """Its columns are all names, or the few that filters allow; each times the weight of its name."""

    @classmethod
    def build(
        cls, config: GeneratorConfig, terminology: Terminology, *, progress: Progress = no_progress
    ) -> TfidfGenerator:
        assert isinstance(config, TfidfConfig)
        texts = terminology.name_texts()
        blocks = []
        for start in range(0, len(texts), BLOCK):
            blocks.append(_count(texts[start : start + BLOCK], config))
            progress("counting n-grams", min(start + BLOCK, len(texts)), len(texts))
        vocabulary = np.unique(np.concatenate([hashes for _, hashes, _ in blocks]))
        columns = [np.searchsorted(vocabulary, hashes).astype(np.int32) for _, hashes, _ in blocks]
        df = np.bincount(np.concatenate(columns), minlength=len(vocabulary))
        idf = (1 + np.log((1 + len(texts)) / (1 + df))).astype(np.float32)
        rows = [
            _weigh(row, column, tf, idf, min(BLOCK, len(texts) - at * BLOCK))
            for at, ((row, _, tf), column) in enumerate(zip(blocks, columns, strict=True))
        ]
        return cls(config, terminology, vocabulary, idf, sp.vstack(rows, format="csr"))

    def save(self, folder: Path) -> None:
        for name, array in self._files().items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)

    def _files(self) -> dict[str, npt.NDArray[Any]]:
        names = self._names
        return {
            "vocabulary": self._vocabulary,
            "idf": self._idf,
            "indptr": names.indptr,
            "indices": names.indices,
            "data": names.data,
        }

    @classmethod
    def load(cls, config: GeneratorConfig, terminology: Terminology, folder: Path) -> TfidfGenerator:
        assert isinstance(config, TfidfConfig)
        try:
            files = ("vocabulary", "idf", "indptr", "indices", "data")
            arrays = {f: np.load(folder / f"{f}.npy", allow_pickle=False) for f in files}
            shape = (terminology.n_names, len(arrays["vocabulary"]))
            names = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape)
            names.check_format(full_check=True)
        except (OSError, ValueError) as e:
            raise ArtifactError(f"{folder}: cannot be read: {e}") from e
        return cls(config, terminology, arrays["vocabulary"], arrays["idf"], names)

    def vectors(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Return TF-IDF rows of shape (texts, n-grams of the index), float32, of unit length (L2) or empty."""
        row, hashes, tf = _count(texts, self.config)
        column = np.minimum(np.searchsorted(self._vocabulary, hashes), len(self._vocabulary) - 1)
        known = self._vocabulary[column] == hashes
        return _weigh(row[known], column[known].astype(np.int32), tf[known], self._idf, len(texts))

    def represent(self, mentions: Sequence[Mention]) -> tuple[list[str], sp.csr_matrix]:
        """Return the texts and their rows, (mentions, n-grams of the index)."""
        texts = [m.text for m in mentions]
        return texts, self.vectors(texts)

    def restrict(self, allowed: Allowed) -> TfidfGenerator:
        part = copy(self)
        part._allowed = allowed
        if allowed.few:
            part._by_ngram = self._transposed(allowed.rows)
        return part

    def _transposed(self, rows: npt.NDArray[Any]) -> sp.csr_matrix:
        """Return the rows of some names as columns, each times the weight of its name."""
        whole = len(rows) == self._names.shape[0]
        columns = (self._names if whole else self._names[rows]).T.tocsr()
        if self._weights is not None:
            columns.data *= self._weights[rows][columns.indices]
        return columns

    def nearest(self, queries: tuple[list[str], sp.csr_matrix], k: int) -> Candidates:
        texts, vectors = queries
        out = Candidates.empty(len(texts), k)
        n_names = self._by_ngram.shape[1]
        todo = np.arange(len(texts) if n_names else 0)
        wanted = names_for(k, self.terminology, self._allowed)
        threshold = FIRST_LOOK if wanted < n_names else 0.0
        while len(todo):
            wanted = min(wanted, n_names)
            best = sp_matmul_topn(
                vectors[todo],
                self._by_ngram,
                wanted,
                threshold=threshold,
                n_threads=self.config.threads or processors(),
            )
            counts = np.diff(best.indptr)
            mention, names, scores = self._pick(np.repeat(np.arange(len(todo)), counts), best.indices, best.data)
            scores = self._lower_lookalikes(texts, todo[mention], names, scores)
            found = loose_candidates(mention, self.terminology.name_concept[names], scores, names, len(todo), k)
            out.concepts[todo], out.scores[todo], out.names[todo] = found.concepts, found.scores, found.names
            # a mention is done when it has k concepts, none of which ties with a name beyond those fetched, or when no
            # further name matches
            cut = (counts == wanted) & (wanted < n_names)
            lowest = np.zeros(len(todo), np.float32)
            lowest[counts > 0] = np.minimum.reduceat(best.data, best.indptr[:-1][counts > 0]) if best.nnz else 0
            short = found.concepts[:, k - 1] < 0
            todo = todo[(short & (threshold > 0)) | (cut & (short | ties_beyond(found, lowest)))]
            wanted, threshold = 4 * wanted, 0.0
        return out

    def _pick(
        self, mention: npt.NDArray[np.int64], columns: Rows, scores: Scores
    ) -> tuple[npt.NDArray[np.int64], Rows, Scores]:
        """Return what was found, all of shape (rows,), with name rows for columns, without what is not allowed."""
        if self._allowed is None:
            return mention, columns, scores
        if self._allowed.few:
            return mention, self._allowed.rows[columns], scores
        kept = self._allowed.names[columns]
        return mention[kept], columns[kept], scores[kept]

    def _lower_lookalikes(
        self, texts: Sequence[str], mention: npt.NDArray[np.int64], names: npt.NDArray[Any], scores: Scores
    ) -> Scores:
        """Give names that share all n-grams with the mention but are written otherwise a score just below 1, or just
        below their weight.

        Args:
            mention: shape (rows,), the position of each row's text in `texts`.
            names: shape (rows,), name rows.
            scores: shape (rows,), cosines times weights.
        """
        highest = np.float32(1) if self._weights is None else self._weights[names]
        scores = np.minimum(scores, highest)
        alike = np.flatnonzero(scores > np.float32(ALIKE) * highest)
        written = self.terminology.take("names", "text", names[alike])
        for at, text, name in zip(alike.tolist(), mention[alike].tolist(), written, strict=True):
            if fold_case(name) != fold_case(texts[text]):
                scores[at] = ALIKE * (1 if self._weights is None else self._weights[names[at]])
        return np.asarray(scores)

    def rate(self, queries: tuple[list[str], sp.csr_matrix], concepts: Rows) -> tuple[Scores, Rows]:
        texts, vectors = queries

        def pairs(mention: npt.NDArray[np.int64], names: npt.NDArray[np.int64]) -> Scores:
            scores = np.empty(len(names), np.float32)
            for part in _parts(len(names), PAIRS):
                products = vectors[mention[part]].multiply(self._names[names[part]])
                scores[part] = np.asarray(products.sum(axis=1)).ravel()
            if self._weights is not None:
                scores *= self._weights[names]
            return self._lower_lookalikes(texts, mention, names, scores)

        scores, winners = score_by_names(concepts, self.terminology.first_name, pairs, self._allowed)
        winners[scores <= 0] = -1
        return scores, winners


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, n, size))


def _count(
    texts: Sequence[str], config: TfidfConfig
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return (text, n-gram hash, occurrences), each pair once, ordered by text and hash."""
    folded = [cognate(fold(t)) if config.cognates else fold(t) for t in texts]
    row, hashes = hash_ngrams(folded, config.ngrams)
    if not len(row):
        return row, hashes, np.empty(0, np.int64)
    order = np.lexsort((hashes, row))
    row, hashes = row[order], hashes[order]
    first = np.append(True, (row[1:] != row[:-1]) | (hashes[1:] != hashes[:-1]))
    starts = np.flatnonzero(first)
    return row[starts], hashes[starts], np.diff(np.append(starts, len(row)))


def _weigh(
    row: npt.NDArray[np.int64], column: npt.NDArray[np.int32], tf: npt.NDArray[np.int64], idf: Scores, n: int
) -> sp.csr_matrix:
    """Return (n, n-grams) rows of unit length from counts that are ordered by row."""
    weights = ((1 + np.log(tf)) * idf[column]).astype(np.float32)
    norms = np.sqrt(np.bincount(row, weights.astype(np.float64) ** 2, minlength=n))
    weights /= norms[row].astype(np.float32)
    indptr = np.append(0, np.cumsum(np.bincount(row, minlength=n))).astype(np.int32)
    return sp.csr_matrix((weights, column, indptr), shape=(n, len(idf)))
