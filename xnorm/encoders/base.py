"""The contract of an encoder: strings in, unit vectors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import field_validator

from xnorm.artifact import MANIFEST
from xnorm.config import ComponentConfig
from xnorm.errors import ConfigError
from xnorm.text import lang_code, main_lang

__all__ = ["BESIDE_THE_MODEL", "HELD_OUT_IDS", "Encoder", "EncoderConfig", "Vectors", "unit_rows"]

Vectors = npt.NDArray[np.float32]

HELD_OUT_IDS = "held_out.txt"
"""In the folder of a trained encoder: ids of the concepts that it was not trained on, one a line."""
BESIDE_THE_MODEL = frozenset({MANIFEST, HELD_OUT_IDS})
"""Files of such a folder that say things of the model; no vector depends on them."""


class EncoderConfig(ComponentConfig):
    """What every encoder has."""

    seam: ClassVar[str] = "encoders"
    at_query: ClassVar[frozenset[str]] = frozenset({"languages"})
    """Keys that vectors do not depend on, so that they may change without a new index."""

    languages: list[str] | None = None
    """Languages that the encoder knows, for ensembles (`unknown_languages`); default: what it says of itself."""

    @field_validator("languages")
    @classmethod
    def _in_one_form(cls, languages: list[str] | None) -> list[str] | None:
        return None if languages is None else sorted({main_lang(lang_code(lang)) for lang in languages})


class Encoder(ABC):
    """Turns texts into vectors. The model is loaded when first needed, not when the object is made."""

    config_class: ClassVar[type[EncoderConfig]] = EncoderConfig
    own_languages: ClassVar[frozenset[str] | None] = None
    """What `languages` is where the config does not say."""

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def identity(self) -> str:
        """Name, revision and every setting that the vectors depend on: equal identities give equal vectors.

        It is stored with an index, compared when the index is opened, and is the key of the vector cache.
        """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Number of dimensions."""

    @property
    def languages(self) -> frozenset[str] | None:
        """Main codes of the languages that the encoder knows; None: any, or nobody has said."""
        return self.own_languages if self.config.languages is None else frozenset(self.config.languages)

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of names: float32 of shape (texts, dim) with unit length (L2).

        A row does not depend on its neighbours beyond rounding. Callers hand in texts that are not empty, in any
        order; the variant batches them.

        Raises:
            MissingExtraError: a package that the encoder needs is not installed.
            ConfigError: the model cannot be found or loaded.
        """

    def encode_mentions(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of mentions, comparable with those of names; the same as `encode` unless a variant has two
        views, as models with a query prefix do."""
        return self.encode(texts)


def unit_rows(vectors: Vectors, texts: Sequence[str], *, what: str, fix: str, detail: str = "") -> Vectors:
    """Return vectors scaled to unit length (L2).

    Args:
        vectors: shape (texts, dim).
        what: the encoder, for the error.
        fix: what the user can do about a vector that is not finite.
        detail: put after "is not finite".

    Raises:
        ConfigError: a vector holds a NaN or an infinity; the message names its text.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        text = texts[int(np.flatnonzero(~np.isfinite(norms))[0])]
        raise ConfigError(f"{what}: the vector of {text[:80]!r} is not finite{detail}; {fix}")
    return np.asarray(vectors / np.maximum(norms, np.float32(1e-12)))
