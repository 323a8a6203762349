"""Nearest names in the vector space of an encoder, exactly, through FAISS."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import faiss
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.candidates._vectors import Means, hubness, main_langs
from xnorm.candidates.base import (
    DECIMALS,
    Allowed,
    CandidateGenerator,
    Candidates,
    GeneratorConfig,
    Rows,
    Scores,
    best_concepts,
    names_for,
    score_by_names,
    ties_beyond,
)
from xnorm.config import EncoderSpec, InputPath, StrictModel
from xnorm.embedding import VectorCache, cache_folder, encode_unique
from xnorm.encoders.base import Encoder, Vectors
from xnorm.errors import ArtifactError, DataError
from xnorm.progress import Progress, no_progress
from xnorm.registry import find_component
from xnorm.system import processors
from xnorm.tables import Terminology
from xnorm.text import lang_of
from xnorm.types import Mention

__all__ = ["DenseConfig", "DenseGenerator", "HubnessConfig"]

# FAISS has a path for few queries that is ten times slower than the matrix product from a hundred of them on
faiss.cvar.distance_compute_blas_threshold = 1

GPU_LIMIT = 2048
"""Longest list that FAISS gives on a GPU; longer ones are made on the CPU."""
MEANS = "means.json"
PAIRS = 1 << 13
"""(mention, name) pairs scored at a time; bounds memory."""


Finite = Annotated[float, Field(allow_inf_nan=False)]


class HubnessConfig(StrictModel):
    """How names that are near to everything are corrected for: score = cosine - strength * (r - mean of all r), where r
    is a name's mean cosine to its nearest stand-ins for mentions."""

    neighbours: int = Field(default=10, ge=1)
    """Stand-ins that r is the mean of."""
    strength: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    """How much of it counts."""


class DenseConfig(GeneratorConfig):
    """Settings of the dense generator."""

    at_query: ClassVar[frozenset[str]] = frozenset({"scale"})

    type: str = "dense"
    encoder: EncoderSpec
    """The encoder: its type, or a mapping with its settings."""
    storage: Literal["float32", "float16", "int8"] = "float32"
    """How vectors are kept: 4, 2 or 1 byte a dimension. Less is slower to search on a CPU."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """Where to search; `auto` takes a GPU when FAISS sees one."""
    cache: bool = True
    """Keep the vectors of names in `$XNORM_CACHE` (default `~/.cache/xnorm`), so that a rebuild or a killed run does
    not encode again."""
    center: Literal["none", "language", "all"] = "none"
    """Mean vector that is taken from vectors before they are compared: `language`, that of the text's language, in the
    index's names; `all`, that of all names."""
    means: InputPath | None = None
    """`center: language` only: the `means.json` of another index with the same encoder, for mentions in languages that
    this index has no names in."""
    hubness: HubnessConfig | None = None
    """Correct for names that are near to everything; default: do not."""
    scale: tuple[Finite, Finite] | None = None
    """Low and high: a similarity c scores (c - low) / (high - low), and one of low or less is no match at all. For
    encoders whose cosines lie close together, as those of e5 between 0.7 and 1; default: the similarity itself."""

    @model_validator(mode="after")
    def _check_settings(self) -> DenseConfig:
        if self.scale is not None and self.scale[0] >= self.scale[1]:
            raise ValueError(f"scale: expected the low end first, found {list(self.scale)}")
        if self.means is not None and self.center != "language":
            raise ValueError("means: are for center: language")
        return self


class DenseGenerator(CandidateGenerator):
    """Score: cosine similarity of mention and name, from -1 to 1, corrected and stretched as the config says, times the
    weight of the name.

    It is one inner product, so that search stays exact: a name is w * (x, r, 1) with its weight w, its vector x and its
    hubness r; a mention is (q, -strength, -low). Numbers that nothing needs are left out of both.
    """

    config_class: ClassVar[type[GeneratorConfig]] = DenseConfig
    config: DenseConfig

    def __init__(
        self, config: DenseConfig, terminology: Terminology, encoder: Encoder, index: Any, means: Means | None = None
    ) -> None:
        self.config = config
        self.terminology = terminology
        self.encoder = encoder
        self.means = means
        """What is taken from the vectors of mentions; None: nothing."""
        self._index = index
        self._weighted = terminology.name_weights is not None
        self._searched = index
        """The index itself, or one of the few names that filters allow."""

    @classmethod
    def build(
        cls, config: GeneratorConfig, terminology: Terminology, *, progress: Progress = no_progress
    ) -> DenseGenerator:
        assert isinstance(config, DenseConfig)
        encoder = _encoder(config)
        cache = VectorCache(cache_folder(), encoder) if config.cache else None
        vectors = encode_unique(encoder, terminology.name_texts(), cache=cache, progress=progress)
        means = None
        if config.center != "none":
            means = Means.measure(vectors, terminology, encoder.identity, by_lang=config.center == "language")
            langs, place = main_langs(terminology)
            vectors = means.centre(vectors, [langs[at] for at in place])
        if config.means is not None and means is not None:
            means = means.with_others(Means.read(config.means, encoder.identity, encoder.dim))
        vectors = _widened(vectors, terminology, config)
        index = _empty_index(config.storage, vectors.shape[1])
        if config.storage == "int8":
            index.train(vectors)
        index.add(vectors)
        return cls(config, terminology, encoder, index, means)

    def save(self, folder: Path) -> None:
        try:
            faiss.write_index(self._index, str(folder / "names.faiss"))
        except RuntimeError as e:  # how FAISS says that the disk is full
            raise OSError(f"names.faiss: {' '.join(str(e).split())[-120:]}") from e
        if self.means is not None:
            self.means.write(folder / MEANS)
        about = {"encoder": self.encoder.identity, "dim": self.encoder.dim, "storage": self.config.storage}
        (folder / "dense.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, config: GeneratorConfig, terminology: Terminology, folder: Path) -> DenseGenerator:
        assert isinstance(config, DenseConfig)
        encoder = _encoder(config)
        try:
            about = json.loads((folder / "dense.json").read_text(encoding="utf-8"))
            index = faiss.read_index(str(folder / "names.faiss"))
        except (OSError, ValueError, RuntimeError) as e:
            raise ArtifactError(f"{folder}: cannot be read: {e}") from e
        if about.get("encoder") != encoder.identity:
            raise ArtifactError(
                f"{folder}: was made with the encoder '{about.get('encoder')}', the configured one is "
                f"'{encoder.identity}'; build it again with `xnorm index --overwrite`"
            )
        if (index.ntotal, about.get("dim")) != (terminology.n_names, encoder.dim):
            raise ArtifactError(f"{folder}: holds {index.ntotal} vectors, the terminology {terminology.n_names} names")
        more = (config.hubness is not None) + (terminology.name_weights is not None)
        if index.d != encoder.dim + more:
            raise ArtifactError(
                f"{folder}: holds vectors of {index.d} numbers, expected {encoder.dim + more} (one for hubness, one "
                "for weights of names); build it again with `xnorm index --overwrite`"
            )
        try:
            centred = config.center != "none"
            means = Means.read(folder / MEANS, encoder.identity, encoder.dim) if centred else None
        except DataError as e:
            raise ArtifactError(f"{folder}: cannot be read: {e}; build it again with `xnorm index --overwrite`") from e
        return cls(config, terminology, encoder, index, means)

    @property
    def kind(self) -> str:
        c = self.config
        hubness = None if c.hubness is None else c.hubness.model_dump()
        settings = {"center": c.center, "hubness": hubness, "scale": c.scale and list(c.scale)}
        return f"{c.type}/{self.encoder.identity}/{json.dumps(settings)}"

    def knows(self, lang: str) -> bool:
        return self.encoder.languages is None or lang in self.encoder.languages

    def _search(self, queries: Vectors, m: int) -> tuple[Scores, Rows]:
        """Return the scores and rows of the m best names, both of shape (queries, m)."""
        if self._searcher is not self._searched and m <= GPU_LIMIT:
            scores, names = self._searcher.search(queries, m)
            return scores, names.astype(np.int32)

        def search(part: slice) -> tuple[Scores, Rows]:
            faiss.omp_set_num_threads(1)  # holds for the calling thread alone
            scores, names = self._searched.search(queries[part], m)
            return scores, names.astype(np.int32)

        # our own threads, since those of BLAS and OpenMP wait for one another when the machine is busy
        size = max(64, -(-len(queries) // processors()))
        with ThreadPoolExecutor(processors()) as pool:
            parts = list(pool.map(search, (slice(i, i + size) for i in range(0, len(queries), size))))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    @cached_property
    def _searcher(self) -> Any:
        gpus = getattr(faiss, "get_num_gpus", lambda: 0)()
        if self.config.device == "gpu" and not gpus:
            raise ArtifactError("device: gpu was asked for, but FAISS sees none; pip install 'xnorm[gpu]', or set cpu")
        return faiss.index_cpu_to_all_gpus(self._searched) if gpus and self.config.device != "cpu" else self._searched

    def represent(self, mentions: Sequence[Mention]) -> Vectors:
        """Return vectors of shape (mentions, dim of the index), the product of which with those of names is the
        score but for its stretching."""
        vectors = self.encoder.encode_mentions([m.text for m in mentions])
        if self.means is not None:
            vectors = self.means.centre(vectors, [lang_of(m.text, m.lang) for m in mentions])
        more = [] if self.config.hubness is None else [-self.config.hubness.strength]
        more += [-self._low] if self._weighted else []
        return np.hstack([vectors, np.tile(np.array(more, np.float32), (len(vectors), 1))]) if more else vectors

    @property
    def _low(self) -> float:
        return 0.0 if self.config.scale is None else self.config.scale[0]

    def _stretched(self, products: Scores) -> Scores:
        """Return the scores that inner products of `represent` and stored vectors mean; 0 and less is no match where
        there is a scale."""
        if self.config.scale is None:
            return products
        low, high = self.config.scale
        return np.asarray((products - np.float32(0 if self._weighted else low)) / np.float32(high - low))

    def restrict(self, allowed: Allowed) -> DenseGenerator:
        part = copy(self)
        part._allowed = allowed
        if allowed.few:
            part._searched = _copied(self._index, _empty_index(self.config.storage, self._index.d), allowed.rows)
            part.__dict__.pop("_searcher", None)
        return part

    def nearest(self, queries: Vectors, k: int) -> Candidates:
        out = Candidates.empty(len(queries), k)
        n_names = self._searched.ntotal
        todo = np.arange(len(queries) if n_names else 0)
        wanted = 2 * names_for(k, self.terminology, self._allowed)  # a second search costs more than longer lists
        while len(todo):
            wanted = min(wanted, n_names)
            scores, names = self._search(queries[todo], wanted)
            scores, names = self._stretched(scores), self._pick(names)
            matched = _matches(scores) if self.config.scale else np.ones(scores.shape, bool)
            found = best_concepts(np.where(matched, names, -1), scores, self.terminology.name_concept, k)
            out.concepts[todo], out.scores[todo], out.names[todo] = found.concepts, found.scores, found.names
            # a mention is done when it has k concepts, none of which ties with a name beyond those fetched
            more = (found.concepts[:, k - 1] < 0) | ties_beyond(found, scores[:, -1])
            todo = todo[more & (wanted < n_names) & matched[:, -1]]
            wanted *= 4
        return out

    def _pick(self, found: Rows) -> Rows:
        """Return name rows for what a search found, shape (queries, m), with -1 for those that filters do not allow."""
        if self._allowed is None:
            return found
        if self._allowed.few:
            return self._allowed.rows[found]
        return np.where(self._allowed.names[found], found, np.int32(-1))

    def rate(self, queries: Vectors, concepts: Rows) -> tuple[Scores, Rows]:
        def pairs(mention: npt.NDArray[np.int64], names: npt.NDArray[np.int64]) -> Scores:
            def products(start: int) -> Scores:
                part = slice(start, start + PAIRS)
                found = np.einsum("ij,ij->i", queries[mention[part]], self._vectors(names[part]))
                return self._stretched(np.asarray(found))

            # fetching vectors from all over memory is most of the work, and threads share it
            with ThreadPoolExecutor(processors()) as pool:
                return np.concatenate(list(pool.map(products, range(0, len(names), PAIRS))))

        scores, names = score_by_names(concepts, self.terminology.first_name, pairs, self._allowed)
        if self.config.scale:
            none = np.isfinite(scores) & ~_matches(scores)
            scores[none], names[none] = 0, -1
        return scores, names

    def _vectors(self, names: npt.NDArray[np.int64]) -> Vectors:
        if self._flat is not None:
            return self._flat[names]
        vectors: Vectors = self._index.reconstruct_batch(names)
        return vectors

    @cached_property
    def _flat(self) -> Vectors | None:
        """The stored vectors themselves, where they are stored as float32."""
        if self.config.storage != "float32":
            return None
        flat: Vectors = faiss.rev_swig_ptr(self._index.get_xb(), self._index.ntotal * self._index.d)
        return flat.reshape(self._index.ntotal, self._index.d)


def _encoder(config: DenseConfig) -> Encoder:
    encoder: Encoder = find_component("encoders", config.encoder.type)(config.encoder)
    return encoder


def _widened(vectors: Vectors, terminology: Terminology, config: DenseConfig) -> Vectors:
    """Return the vectors of names with what corrects them, each times the weight of its name."""
    weights = terminology.name_weights
    parts = [vectors]
    if config.hubness is not None:
        parts.append(hubness(vectors, terminology, config.hubness.neighbours)[:, None])
    if weights is not None:
        parts.append(np.ones((len(vectors), 1), np.float32))
    wide = np.hstack(parts) if len(parts) > 1 else vectors
    return wide if weights is None else wide * weights[:, None]


def _matches(scores: Scores) -> npt.NDArray[np.bool_]:
    return np.asarray(np.round(scores, DECIMALS) > 0)


def _empty_index(storage: str, dim: int) -> Any:
    if storage == "float32":
        return faiss.IndexFlatIP(dim)
    kind = faiss.ScalarQuantizer.QT_fp16 if storage == "float16" else faiss.ScalarQuantizer.QT_8bit
    return faiss.IndexScalarQuantizer(dim, kind, faiss.METRIC_INNER_PRODUCT)


def _copied(index: Any, part: Any, rows: Rows) -> Any:
    """Put the vectors of some rows, as they are stored, into an empty index of the same kind."""
    if isinstance(index, faiss.IndexScalarQuantizer):
        part.sq, part.is_trained = index.sq, True
    codes = faiss.rev_swig_ptr(index.codes.data(), index.ntotal * index.code_size).reshape(-1, index.code_size)
    part.add_sa_codes(codes[rows])
    return part
