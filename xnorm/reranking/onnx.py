"""An exported cross-encoder on ONNX Runtime: no torch, no transformers, quick on processors.

Reads the folders that `xnorm.export_reranker` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.artifact import open_folder
from xnorm.calibration import Calibration, Floats, probabilities
from xnorm.candidates.base import Candidates, Scores
from xnorm.config import InputPath, StrictModel, validate
from xnorm.errors import ConfigError
from xnorm.graphs import batches, open_session, pad
from xnorm.pairs import PairsConfig, PairWriter
from xnorm.registry import require
from xnorm.reranking.base import USUAL_TOP, Reranker, RerankerConfig
from xnorm.scoring import logits_of
from xnorm.system import processors
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = [
    "INPUTS",
    "KIND",
    "MODEL_FILES",
    "TOKENIZER",
    "OnnxPairModel",
    "OnnxReranker",
    "OnnxRerankerConfig",
    "PairTokenizer",
    "RerankerCard",
]

KIND = "reranker-onnx"
MODEL_FILES = {"fp32": "model.onnx", "int8": "model_int8.onnx"}
"""Precision -> the graph's file in the folder."""
TOKENIZER = "tokenizer.json"
Input = Literal["input_ids", "attention_mask", "token_type_ids"]
INPUTS: tuple[Input, ...] = get_args(Input)
"""What a graph may be fed, in this order; models of the RoBERTa family have no types of tokens."""


class RerankerCard(StrictModel):
    """What the manifest says of the model."""

    pairs: PairsConfig
    """The texts that it reads."""
    calibration: Calibration
    """By which its logits become probabilities."""
    top: int = Field(default=USUAL_TOP, ge=1)
    """How many candidates of a mention it was calibrated on."""
    max_length: int = Field(ge=1)
    """Tokens of a pair that are read, the special ones included."""
    pad_id: int = Field(ge=0)
    """Id of the padding token."""
    inputs: list[Input]
    """What the graph is fed."""


class OnnxRerankerConfig(RerankerConfig):
    """Settings of an exported cross-encoder."""

    type: str = "onnx"
    path: InputPath
    """Folder that `xnorm export` wrote of a folder of `xnorm train`."""
    precision: Literal["fp32", "int8"] = "fp32"
    """`int8` is quicker and a quarter of the size; the folder's manifest says how near it is to `fp32`."""
    nil: bool = True
    """Whether a mention is NIL where the model prefers that to every candidate; if it was trained with that choice."""
    calibration: Calibration | None = None
    """Other numbers than the folder's."""
    threads: int | None = Field(default=None, ge=1)
    """Batches that are computed at a time, each on one processor; default: the processors available."""
    batch_size: int = Field(default=64, ge=1)
    """Pairs a forward pass at most; long pairs are passed in smaller batches."""


class OnnxReranker(Reranker):
    """Scores are probabilities, as those of `cross_encoder`."""

    config_class: ClassVar[type[RerankerConfig]] = OnnxRerankerConfig
    config: OnnxRerankerConfig

    def __init__(self, config: OnnxRerankerConfig, terminology: Terminology, card: RerankerCard) -> None:
        self.config, self.card, self.usual_top = config, card, card.top
        self.writer = PairWriter(terminology, card.pairs)
        self._lock = Lock()

    @classmethod
    def load(cls, config: RerankerConfig, terminology: Terminology) -> OnnxReranker:
        assert isinstance(config, OnnxRerankerConfig)
        if not config.path.is_dir():
            raise ConfigError(f"reranker {config.path}: no such folder; `xnorm export MODEL_FOLDER` writes one")
        about = open_folder(config.path, kind=KIND)
        if (file := MODEL_FILES[config.precision]) not in about["files"]:
            raise ConfigError(
                f"reranker {config.path}: has no {file}; use precision: fp32, or export it again with --int8"
            )
        known = {name: about[name] for name in RerankerCard.model_fields if name in about}
        return cls(config, terminology, validate(RerankerCard, known, where=str(config.path)))

    @cached_property
    def model(self) -> OnnxPairModel:
        """The loaded graph and tokenizer."""
        c = self.config
        return OnnxPairModel(c.path, self.card, MODEL_FILES[c.precision], threads=c.threads, batch_size=c.batch_size)

    def score(self, mentions: Sequence[Mention], candidates: Candidates, wanted: npt.NDArray[np.bool_]) -> Scores:
        with self._lock:  # neither the writer nor the tokenizer can serve two threads
            model = self.model
            logits, nil = logits_of(model.predict, model.tokenizer, self.writer, mentions, candidates, wanted)
        calibration = self.config.calibration or self.card.calibration
        return probabilities(logits, nil, candidates.scores, wanted, calibration=calibration, allow_nil=self.config.nil)


class PairTokenizer:
    """A `tokenizers.Tokenizer` that answers what `xnorm.pairs` asks one of `transformers`, and encodes pairs."""

    def __init__(self, tokenizer: Any, card: RerankerCard) -> None:
        self._tokenizer = tokenizer
        self._truncation = card.pairs.truncation
        self.model_max_length = card.max_length
        tokenizer.no_padding()
        if unknown := [token for token in card.pairs.tokens if tokenizer.token_to_id(token) is None]:
            raise ValueError(f"its tokenizer does not know the markers {', '.join(unknown)}")

    def __call__(
        self, texts: list[str], *, add_special_tokens: bool, truncation: bool = False, verbose: bool = False
    ) -> dict[str, list[list[int]]]:
        """Return the ids of whole texts; `truncation` and `verbose` are there for the likeness."""
        self._tokenizer.no_truncation()
        found = self._tokenizer.encode_batch_fast(texts, add_special_tokens=add_special_tokens)
        return {"input_ids": [encoding.ids for encoding in found]}

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return how many tokens frame a pair, or a text."""
        return int(self._tokenizer.num_special_tokens_to_add(pair))

    def encode_pairs(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[list[int]], list[list[int]]]:
        """Return ids and types of the tokens of each pair, cut to the model's length."""
        self._tokenizer.enable_truncation(self.model_max_length, strategy=self._truncation)
        found = self._tokenizer.encode_batch_fast(list(pairs))
        return [encoding.ids for encoding in found], [encoding.type_ids for encoding in found]


class OnnxPairModel:
    """A graph, its tokenizer and how to feed them.

    Args:
        folder: where the files are; it need not be a finished artifact.
        card: what the manifest says.
        file: the graph's name in the folder.
        threads: batches at a time, each on one processor, which keeps them busier than a batch on several does; None:
            the processors available.
        batch_size: pairs a forward pass at most.

    Raises:
        MissingExtraError: onnxruntime or tokenizers is not installed.
        ConfigError: a file cannot be loaded; a graph with weights outside of the folder is refused by the runtime.
    """

    def __init__(
        self, folder: Path, card: RerankerCard, file: str, *, threads: int | None = None, batch_size: int = 64
    ) -> None:
        runtime = require("onnxruntime", extra="onnx", what="reranker onnx")
        tokenizers = require("tokenizers", extra="onnx", what="reranker onnx")
        self.card, self.folder, self.batch_size = card, folder, batch_size
        self.threads = threads or processors()
        try:
            self._session = open_session(runtime, folder / file, threads=1, providers=["CPUExecutionProvider"])
            if {i.name for i in self._session.get_inputs()} != set(card.inputs):
                raise ValueError("its graph takes other inputs than its manifest says")
            self.tokenizer = PairTokenizer(tokenizers.Tokenizer.from_file(str(folder / TOKENIZER)), card)
        except Exception as e:  # neither library has a base class for its errors
            raise ConfigError(f"reranker {folder}: cannot be loaded: {' '.join(str(e).split())[:300]}") from e

    def predict(self, pairs: Sequence[tuple[str, str]]) -> Floats:
        """Return the logits of pairs of texts."""
        ids, types = self.tokenizer.encode_pairs(pairs)
        out = np.empty(len(pairs), np.float64)

        def run(rows: npt.NDArray[np.int64]) -> None:
            feed = {
                "input_ids": pad([ids[i] for i in rows], self.card.pad_id),
                "attention_mask": pad([[1] * len(ids[i]) for i in rows], 0),
                "token_type_ids": pad([types[i] for i in rows], 0),
            }
            out[rows] = self._session.run(None, {name: feed[name] for name in self.card.inputs})[0]

        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(run, batches([len(own) for own in ids], self.batch_size)))
        if not np.isfinite(out).all():
            raise ConfigError(f"reranker {self.folder}: gives scores that are no numbers; export it again")
        return out
