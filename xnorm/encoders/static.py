"""Static encoders: no transformer at run time, a text is the weighted mean of the vectors of its pieces and n-grams.

What a text is made of: the pieces that a tokenizer cuts it into, and below them its character n-grams, hashed into a
fixed number of rows, so that no script and no spelling is out of vocabulary. Reads the folders that the trainer
`static` writes.

Sources: Bojanowski et al. 2017, Enriching Word Vectors with Subword Information (hashed n-grams beside words); Arora et
al. 2017, A Simple but Tough-to-Beat Baseline for Sentence Embeddings (weighted means).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.sparse import csr_array

from xnorm.artifact import sha256_file, sha256_text
from xnorm.config import StrictModel, validate
from xnorm.encoders.base import Encoder, EncoderConfig, Vectors, unit_rows
from xnorm.errors import ConfigError
from xnorm.registry import require
from xnorm.text import cognate, encodable, fold, hash_ngrams

__all__ = ["CARD", "TABLE", "TOKENIZER", "Pieces", "StaticCard", "StaticConfig", "StaticEncoder", "TextRows",
           "pack_table", "write_static"]  # fmt: skip

CARD = "static.json"
TABLE = "static.safetensors"
TOKENIZER = "tokenizer.json"
CHUNK = 4096
"""Texts that are put together at a time."""

Rows = npt.NDArray[np.int64]


class StaticCard(StrictModel):
    """What the folder says of its encoder: the content of static.json."""

    dim: int = Field(ge=1, le=4096)
    """Number of dimensions."""
    ngrams: tuple[int, int]
    """The least and the greatest number of characters of an n-gram, from 1 to 8."""
    buckets: int = Field(ge=1, le=1 << 24)
    """Rows that n-grams are hashed into."""
    spelling: Literal["cognate", "folded"]
    """What n-grams are cut from: `xnorm.text.cognate` or `xnorm.text.fold` of the text."""
    pieces: int = Field(ge=0)
    """Rows that belong to pieces of the tokenizer; without any there is no tokenizer."""
    source: str = ""
    """What the training started from."""

    @property
    def rows(self) -> int:
        """Rows of the table: pieces, buckets, and one for texts that have neither."""
        return self.pieces + self.buckets + 1


class StaticConfig(EncoderConfig):
    """Settings of a static encoder."""

    type: str = "static"
    model: str
    """Folder that `xnorm train` wrote with the trainer `static`."""


class StaticEncoder(Encoder):
    """The mean of learnt vectors; tens of thousands of names a second."""

    config_class: ClassVar[type[EncoderConfig]] = StaticConfig
    config: StaticConfig

    @property
    def identity(self) -> str:
        """The hash of the files, so that a folder may move."""
        files = [CARD, TABLE] + [TOKENIZER] * (self._card.pieces > 0)
        self._check(files)
        return f"static/{sha256_text(' '.join(sha256_file(self._folder / file) for file in files))[:32]}"

    @property
    def dim(self) -> int:
        return self._card.dim

    def encode(self, texts: Sequence[str]) -> Vectors:
        vectors = np.empty((len(texts), self.dim), np.float32)
        table, weights = self._table
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            owners, rows = self._text_rows(chunk)
            # of a small table in 8 or 16 bits only what these texts are made of is spread out
            used, at = np.unique(rows, return_inverse=True)
            made_of = csr_array((weights[rows], (owners, at)), shape=(len(chunk), len(used)))
            vectors[start : start + CHUNK] = made_of @ table[used].astype(np.float32)
        lost = np.linalg.norm(vectors, axis=1) < 1e-12  # rows that cancel out
        vectors[lost, 0] = 1
        return unit_rows(vectors, texts, what=f"model {self._folder}", fix="train the encoder again")

    @property
    def _folder(self) -> Path:
        return Path(self.config.model).expanduser()

    def _check(self, files: Sequence[str]) -> None:
        if not self._folder.is_dir():
            raise ConfigError(f"model {self._folder}: no such folder; `xnorm train` with the trainer static writes one")
        for file in files:
            if not (self._folder / file).is_file():
                raise ConfigError(f"model {self._folder}: has no {file}; expected a folder of the trainer static")

    @cached_property
    def _card(self) -> StaticCard:
        self._check([CARD])
        path = self._folder / CARD
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            raise ConfigError(f"{path}: cannot be read as JSON; train the encoder again") from None
        if not isinstance(data, dict):
            raise ConfigError(f"{path}: expected a JSON object, found {type(data).__name__}; train the encoder again")
        card = validate(StaticCard, data, where=str(path))
        if not 1 <= card.ngrams[0] <= card.ngrams[1] <= 8:
            raise ConfigError(f"{path}: ngrams: expected two sizes from 1 to 8, found {list(card.ngrams)}")
        return card

    @cached_property
    def _table(self) -> tuple[npt.NDArray[Any], Vectors]:
        """The vectors, and the weight of each, in which the scale of 8 bits is contained."""
        tensors = self._tensors
        return tensors["table"], tensors["weights"]

    @cached_property
    def _tensors(self) -> dict[str, npt.NDArray[Any]]:
        library = require("safetensors.numpy", extra="static", what="encoder static")
        self._check([TABLE])
        path, card = self._folder / TABLE, self._card
        try:
            tensors: dict[str, npt.NDArray[Any]] = library.load_file(str(path))
        except Exception as e:  # the library's error is one of its own, and others
            raise ConfigError(f"{path}: cannot be read: {' '.join(str(e).split())[:200]}") from e
        expected = {"table": (card.rows, card.dim), "weights": (card.rows,)} | (
            {"pieces": (-1,)} if card.pieces else {}
        )
        for name, shape in expected.items():
            found = tensors.get(name)
            if found is None or len(found.shape) != len(shape) or (shape[0] >= 0 and found.shape != shape):
                seen = "nothing" if found is None else f"shape {found.shape}"
                raise ConfigError(f"{path}: {name}: expected shape {shape}, found {seen}; train the encoder again")
        kinds = {name: tensors[name].dtype.name for name in expected}
        wrong = kinds["table"] not in ("int8", "float16", "float32") or kinds["weights"] != "float32"
        if wrong or kinds.get("pieces", "int32") != "int32":
            raise ConfigError(f"{path}: holds numbers of other types than expected ({kinds}); train the encoder again")
        if card.pieces and not -1 <= tensors["pieces"].min(initial=0) <= tensors["pieces"].max(initial=0) < card.pieces:
            raise ConfigError(f"{path}: pieces: expected rows below {card.pieces}; train the encoder again")
        return tensors

    @cached_property
    def _text_rows(self) -> TextRows:
        pieces = None
        if self._card.pieces:
            self._check([TOKENIZER])
            pieces = Pieces((self._folder / TOKENIZER).read_bytes(), self._tensors["pieces"], str(self._folder))
        return TextRows(self._card, pieces)


class Pieces:
    """A tokenizer, and which row of the table each of its ids has.

    Args:
        content: of a tokenizer.json.
        rows: int32 of shape (ids,): the row of an id, -1 for an id without one.
        name: the model, for errors.

    Raises:
        MissingExtraError: tokenizers is not installed.
        ConfigError: the tokenizer cannot be made, or has ids that `rows` does not have.
    """

    def __init__(self, content: bytes, rows: npt.NDArray[np.int32], name: str) -> None:
        library = require("tokenizers", extra="static", what="encoder static")
        try:
            self._tokenizer = library.Tokenizer.from_buffer(content)
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()
        except Exception as e:  # the library raises bare Exception
            raise ConfigError(f"model {name}: {TOKENIZER} cannot be read: {' '.join(str(e).split())[:200]}") from e
        highest = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
        if highest >= len(rows):
            raise ConfigError(f"model {name}: {TOKENIZER} has an id {highest}, its table knows {len(rows)}")
        self.rows = rows

    def __call__(self, texts: Sequence[str]) -> tuple[Rows, Rows]:
        """Return the position of the text and the row of each piece that has one, both of shape (pieces,)."""
        found = [e.ids for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        sizes = np.fromiter(map(len, found), np.int64, len(found))
        ids = np.fromiter(chain.from_iterable(found), np.int64, int(sizes.sum()))
        owners, rows = np.repeat(np.arange(len(found)), sizes), self.rows[ids].astype(np.int64)
        return owners[rows >= 0], rows[rows >= 0]


class TextRows:
    """Which rows of the table a text is made of.

    Args:
        pieces: None if the card has none.
    """

    def __init__(self, card: StaticCard, pieces: Pieces | None) -> None:
        self.card, self._pieces = card, pieces

    def __call__(self, texts: Sequence[str]) -> tuple[Rows, Rows]:
        """Return the position of the text and the row, one entry an occurrence, both of shape (occurrences,).

        A text without pieces and n-grams has the last row.
        """
        if not texts:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        card = self.card
        lower = [encodable(text).lower() for text in texts]
        folded = [fold(text) for text in lower]
        spelt = [cognate(text) for text in folded] if card.spelling == "cognate" else folded
        owners, hashes = hash_ngrams(spelt, card.ngrams)
        rows = card.pieces + (hashes % np.uint64(card.buckets)).astype(np.int64)
        parts = [(owners, rows)]
        if self._pieces is not None:
            parts.append(self._pieces(lower))
        without = np.ones(len(texts), bool)
        for of_part, _ in parts:
            without[of_part] = False
        parts.append((np.flatnonzero(without), np.full(int(without.sum()), card.rows - 1)))
        return np.concatenate([owner for owner, _ in parts]), np.concatenate([row for _, row in parts])


def pack_table(
    table: Vectors, weights: Vectors, precision: Literal["int8", "float16", "float32"]
) -> tuple[npt.NDArray[Any], Vectors]:
    """Return a table in fewer bits and the weights that belong to it.

    In 8 bits each row is scaled so that its largest number is 127, and its weight takes up the scale; the rounding is
    at most half of a 127th of the largest number.

    Args:
        table: float32 of shape (rows, dim).
        weights: float32 of shape (rows,).
    """
    if precision != "int8":
        return table.astype(precision), weights
    top = np.maximum(np.abs(table).max(axis=1), np.float32(1e-30))
    packed = np.rint(table / top[:, None] * 127).astype(np.int8)
    return packed, np.asarray(weights * top / 127, np.float32)


def write_static(
    folder: Path,
    card: StaticCard,
    table: Vectors,
    weights: Vectors,
    *,
    tokenizer: bytes | None = None,
    pieces: npt.NDArray[np.int32] | None = None,
    precision: Literal["int8", "float16", "float32"] = "int8",
) -> None:
    """Write the files of a static encoder into a folder.

    Args:
        table: float32 of shape (card.rows, card.dim).
        weights: float32 of shape (card.rows,).
        tokenizer: content of tokenizer.json; None without pieces.
        pieces: the row of each id of the tokenizer; None without pieces.

    Raises:
        MissingExtraError: safetensors is not installed.
    """
    library = require("safetensors.numpy", extra="static", what="encoder static")
    packed, scaled = pack_table(table, weights, precision)
    tensors = {"table": np.ascontiguousarray(packed), "weights": np.ascontiguousarray(scaled)}
    if tokenizer is not None and pieces is not None:
        tensors["pieces"] = np.ascontiguousarray(pieces, np.int32)
        (folder / TOKENIZER).write_bytes(tokenizer)
    (folder / TABLE).write_bytes(library.save(tensors))  # its save_file leaves a file that others may not read
    text = json.dumps(card.model_dump(mode="json"), indent=2, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
