"""Exported transformers on ONNX Runtime: no torch, no transformers, quick on processors.

Reads the folders that `xnorm.export` writes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from xnorm.artifact import open_folder
from xnorm.config import StrictModel, validate
from xnorm.encoders.base import Encoder, EncoderConfig, Vectors, unit_rows
from xnorm.errors import ConfigError
from xnorm.graphs import batches, open_session, pad
from xnorm.registry import require
from xnorm.text import encodable

__all__ = ["CARD", "MODEL_FILES", "EncoderCard", "OnnxConfig", "OnnxEncoder", "OnnxModel"]

CARD = "encoder.json"
TOKENIZER = "tokenizer.json"
MODEL_FILES = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
"""Precision -> the graph's file in the folder."""


class EncoderCard(StrictModel):
    """What the folder says of its encoder: the content of encoder.json."""

    source: str
    """Identity of the encoder that was exported."""
    dim: int
    """Number of dimensions."""
    max_length: int
    """Tokens of a text that are read, the special ones included."""
    pad_id: int
    """Id of the padding token."""
    lower: bool
    """Whether texts are put in lower case before they are cut into tokens."""
    prefix: str
    """Put before each name."""
    mention_prefix: str
    """Put before each mention."""


class OnnxConfig(EncoderConfig):
    """Settings of an exported encoder."""

    type: str = "onnx"
    model: str
    """Folder that `xnorm.export.export_encoder` wrote."""
    precision: Literal["fp32", "int8"] = "fp32"
    """`int8` is two to three times quicker and a quarter of the size, with a cosine of about 0.999 to `fp32`."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of the runtime; default: the processors available."""
    batch_size: int = Field(default=128, ge=1)
    """Texts a forward pass at most; long texts are passed in smaller batches."""


class OnnxEncoder(Encoder):
    """An exported transformer; on a GPU where `onnxruntime-gpu` is installed, save for int8."""

    config_class: ClassVar[type[EncoderConfig]] = OnnxConfig
    config: OnnxConfig

    @property
    def identity(self) -> str:
        digest = self._manifest["files"][self._file]["sha256"]
        return f"onnx/{self.config.precision}/{digest[:32]}/{self._card.source}"

    @property
    def dim(self) -> int:
        return self._card.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, self._card.prefix)

    def encode_mentions(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, self._card.mention_prefix)

    def _encode(self, texts: Sequence[str], prefix: str) -> Vectors:
        if not texts:
            return np.empty((0, self.dim), np.float32)
        return self._model.encode([prefix + text for text in texts], self.config.batch_size)

    @property
    def _folder(self) -> Path:
        return Path(self.config.model).expanduser()

    @cached_property
    def _manifest(self) -> dict[str, Any]:
        if not self._folder.is_dir():
            raise ConfigError(f"model {self._folder}: no such folder; export_encoder of xnorm.export writes one")
        return open_folder(self._folder, kind="encoder")

    @cached_property
    def _file(self) -> str:
        file = MODEL_FILES[self.config.precision]
        if file not in self._manifest["files"]:
            raise ConfigError(
                f"model {self._folder}: has no {file}; use precision: fp32, or export it again with int8=True"
            )
        return file

    @cached_property
    def _card(self) -> EncoderCard:
        _ = self._manifest
        path = self._folder / CARD
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise ConfigError(f"{path}: cannot be read as JSON; export the encoder again") from None
        return validate(EncoderCard, data, where=str(path))

    @cached_property
    def _model(self) -> OnnxModel:
        return OnnxModel(self._folder, self._card, self._file, threads=self.config.threads)


class OnnxModel:
    """A graph, its tokenizer and how to feed them.

    Args:
        folder: where the files are; it need not be a finished artifact.
        card: how texts are prepared.
        file: the graph's name in the folder.
        threads: threads of the runtime; None: the processors available.

    Raises:
        MissingExtraError: onnxruntime or tokenizers is not installed.
        ConfigError: a file cannot be loaded; a graph with weights outside of the folder is refused by the runtime.
    """

    def __init__(self, folder: Path, card: EncoderCard, file: str, *, threads: int | None = None) -> None:
        runtime = require("onnxruntime", extra="onnx", what="encoder onnx")
        tokenizers = require("tokenizers", extra="onnx", what="encoder onnx")
        self.card = card
        providers: list[Any] = ["CPUExecutionProvider"]
        if "CUDAExecutionProvider" in runtime.get_available_providers() and file == MODEL_FILES["fp32"]:
            # TF32 keeps 10 bits of each factor: vectors would differ from those of a processor
            providers.insert(0, ("CUDAExecutionProvider", {"use_tf32": "0"}))
        try:
            self._session = open_session(runtime, folder / file, threads=threads, providers=providers)
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(card.max_length)
        except Exception as e:  # neither library has a base class for its errors
            raise ConfigError(f"model {folder}: cannot be loaded: {' '.join(str(e).split())[:300]}") from e

    def encode(self, texts: Sequence[str], batch_size: int) -> Vectors:
        """Return unit vectors, float32 of shape (texts, dim)."""
        clean = [encodable(text) for text in texts]
        if self.card.lower:
            clean = [text.lower() for text in clean]
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(clean)]
        vectors = np.empty((len(texts), self.card.dim), np.float32)
        for rows in batches([len(ids) for ids in tokens], batch_size):
            ids = pad([tokens[i] for i in rows], self.card.pad_id)
            mask = pad([[1] * len(tokens[i]) for i in rows], 0)
            vectors[rows] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return unit_rows(vectors, texts, what="encoder onnx", fix="export the encoder again")
