"""A cross-encoder: a transformer that reads a mention in its context and a concept together, and scores the pair.

Source: Nogueira and Cho 2019, Passage re-ranking with BERT; for concepts, Borchert et al. 2025 (xMEN).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.artifact import open_folder
from xnorm.calibration import Calibration, Floats, probabilities
from xnorm.candidates.base import Candidates, Scores
from xnorm.config import InputPath, validate
from xnorm.errors import ArtifactError, ConfigError
from xnorm.loading import first_device, position_limit, quiet, random_weights
from xnorm.memory import Chunks, longest_first
from xnorm.pairs import PairsConfig, PairWriter, add_markers, token_limit
from xnorm.registry import require
from xnorm.reranking.base import USUAL_TOP, Reranker, RerankerConfig
from xnorm.scoring import logits_of
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["KIND", "CrossEncoderConfig", "CrossEncoderReranker", "open_model", "pair_logits"]

KIND = "reranker"
MODEL = "model"
"""Folder of the transformer in a model folder."""
NO_TOKENIZER = "has no tokenizer; save it beside the weights: tokenizer.save_pretrained(FOLDER)"
ENCODERS = "take an encoder, such as a BERT or an XLM-R"


class CrossEncoderConfig(RerankerConfig):
    """Settings of the cross-encoder."""

    type: str = "cross_encoder"
    path: InputPath | None = None
    """Folder that `xnorm train` wrote. Either this or `model`."""
    model: str | None = None
    """A cross-encoder of the Hugging Face hub (`phlobo/xmen-de-ce-medmentions`) or a folder, with one output."""
    revision: str | None = None
    """With `model`: branch, tag or commit."""
    pairs: PairsConfig | None = None
    """With `model`: the texts that it was trained on; a folder of `xnorm train` says so itself."""
    nil: bool = True
    """Whether a mention is NIL where the model prefers that to every candidate; if it was trained with that choice."""
    calibration: Calibration | None = None
    """How logits become probabilities; default: as a folder of `xnorm train` says, and as they are with `model`."""
    batch_size: int = Field(default=64, ge=1)
    """Pairs in a forward pass."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the first accelerator there is."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format; `auto` is bfloat16 on a GPU, float32 elsewhere."""

    @model_validator(mode="after")
    def _check_source(self) -> CrossEncoderConfig:
        if (self.path is None) == (self.model is None):
            raise ValueError("expected either path or model")
        if self.path is not None and (self.pairs is not None or self.revision is not None):
            raise ValueError("pairs and revision go with model; a folder of `xnorm train` has its own")
        return self


class CrossEncoderReranker(Reranker):
    """Scores are probabilities: the softmax, calibrated on validation data, over the candidates
    of a mention that were looked at and, where the model knows it, NIL."""

    config_class: ClassVar[type[RerankerConfig]] = CrossEncoderConfig
    config: CrossEncoderConfig

    def __init__(
        self,
        config: CrossEncoderConfig,
        terminology: Terminology,
        pairs: PairsConfig,
        calibration: Calibration,
        usual_top: int = USUAL_TOP,
    ) -> None:
        self.config, self.pairs, self.calibration = config, pairs, config.calibration or calibration
        self.writer = PairWriter(terminology, pairs)
        self.chunks = Chunks(config.batch_size)
        self.usual_top = usual_top
        self._lock = Lock()

    @classmethod
    def load(cls, config: RerankerConfig, terminology: Terminology) -> CrossEncoderReranker:
        assert isinstance(config, CrossEncoderConfig)
        if config.path is None:
            return cls(config, terminology, config.pairs or PairsConfig(), Calibration())
        about = open_folder(config.path, kind=KIND)
        where = f"{config.path}/manifest.json"
        pairs = validate(PairsConfig, about.get("pairs") or {}, where=where)
        if "calibration" not in about or "pairs" not in about:
            raise ArtifactError(f"{where}: does not say how the model is used; train it with this xnorm")
        calibration = validate(Calibration, about["calibration"], where=where)
        return cls(config, terminology, pairs, calibration, int(about.get("top", USUAL_TOP)))

    @cached_property
    def model(self) -> Any:
        """The loaded `CrossEncoder`."""
        c = self.config
        source = str(c.path / MODEL) if c.path is not None else str(c.model)
        return open_model(source, self.pairs, revision=c.revision, device=c.device, dtype=c.dtype)

    def score(self, mentions: Sequence[Mention], candidates: Candidates, wanted: npt.NDArray[np.bool_]) -> Scores:
        with self._lock:  # neither the writer nor the tokenizer can serve two threads
            logits, nil = pair_logits(self.model, self.writer, mentions, candidates, wanted, self.chunks)
        return probabilities(
            logits, nil, candidates.scores, wanted, calibration=self.calibration, allow_nil=self.config.nil
        )


def open_model(
    source: str,
    pairs: PairsConfig,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    fresh: bool = False,
) -> Any:
    """Open a `CrossEncoder` whose tokenizer knows the markers, and which cuts the concept and never the mention.

    Args:
        source: folder or name on the hub.
        fresh: whether it may be a plain transformer, to be trained: then it gets an output and rows for the markers.

    Raises:
        ConfigError: it cannot be loaded, has several outputs or no tokenizer, does not know the markers, or
            cannot be trained, since it has a decoder.
        MissingExtraError: without the extra `torch`.
    """
    what = f"the cross-encoder {source}"
    torch = require("torch", extra="torch", what=what)
    library = require("sentence_transformers", extra="torch", what=what)
    device = first_device(device, what)
    half = dtype if dtype != "auto" else "bfloat16" if device.startswith("cuda") and not fresh else "float32"
    try:
        with quiet() as heard:
            model = library.CrossEncoder(
                source, num_labels=1 if fresh else None, device=device, revision=revision, trust_remote_code=False,
                model_kwargs={"use_safetensors": True, "torch_dtype": getattr(torch, half)},
            )  # fmt: skip
    except Exception as e:  # several libraries are at work
        raise ConfigError(f"{what}: {_reason(e)}") from e
    _check_kind(model, pairs, what, fresh)
    if (made_up := random_weights(heard)) and not fresh:
        raise ConfigError(f"{what}: its files lack weights ({', '.join(made_up[:3])}); is it a cross-encoder?")
    if model.num_labels != 1:
        raise ConfigError(f"{what}: has {model.num_labels} outputs, expected one")
    missing = add_markers(model.tokenizer, pairs)
    if missing and not fresh:
        raise ConfigError(f"{what}: does not know {missing} of the markers {', '.join(pairs.tokens)}; look at `pairs`")
    if missing:
        model[0].model.resize_token_embeddings(len(model.tokenizer), mean_resizing=False)
    if limit := position_limit(model[0].model):
        model.tokenizer.model_max_length = min(model.tokenizer.model_max_length, limit)
    text = {"padding": True, "truncation": pairs.truncation, "max_length": token_limit(model.tokenizer, pairs)}
    model[0].processing_kwargs = {**(model[0].processing_kwargs or {}), "text": text}
    return model


def _reason(error: Exception) -> str:
    """Say why a model could not be opened."""
    text = " ".join(str(error).split())
    if "Unrecognized processing class" in text:
        return NO_TOKENIZER
    if "AutoModelForSequenceClassification" in text:
        kind = re.search(r"configuration class <class '(?:\w+\.)*(\w+?)(?:Config)?'>", text)
        return f"transformers has no classifier of texts of the kind {kind[1] if kind else 'it is'}; {ENCODERS}"
    return f"cannot be loaded: {text[:300]}"


def _check_kind(model: Any, pairs: PairsConfig, what: str, fresh: bool) -> None:
    """Refuse what the libraries open without a word, and what can only fail later, or learn nothing."""
    if fresh and getattr(model.config, "is_encoder_decoder", False):
        raise ConfigError(f"{what}: is an encoder with a decoder ({model.config.model_type}); {ENCODERS}")
    tokenizer = model.tokenizer
    # for a folder without one the library makes one that knows special tokens only
    if tokenizer is None or set(tokenizer.get_vocab()) <= {*tokenizer.all_special_tokens, *pairs.tokens}:
        raise ConfigError(f"{what}: {NO_TOKENIZER}")


def pair_logits(
    model: Any,
    writer: PairWriter,
    mentions: Sequence[Mention],
    candidates: Candidates,
    wanted: npt.NDArray[np.bool_],
    chunks: Chunks,
) -> tuple[Floats, Floats]:
    """Return the logits that a `CrossEncoder` gives, as `logits_of`; the longest pairs first, so that little padding is
    computed, and what needs most memory is tried first."""
    torch = require("torch", extra="torch", what="the cross-encoder")

    def predict(pairs: Sequence[tuple[str, str]]) -> Floats:
        rest = longest_first(pairs)
        found = np.empty(len(pairs))

        def longest(size: int) -> Floats:
            logits: Floats = model.predict(
                [list(pairs[i]) for i in rest[:size]], batch_size=size, show_progress_bar=False,
                activation_fn=torch.nn.Identity(), convert_to_numpy=True,
            ).astype(np.float64).reshape(-1)  # fmt: skip
            return logits

        while rest:
            logits = chunks.run(longest, of=len(rest))
            found[rest[: len(logits)]] = logits
            rest = rest[len(logits) :]
        return found

    return logits_of(predict, model.tokenizer, writer, mentions, candidates, wanted)
