"""Texts through a SentenceTransformer in training: in passes of texts of nearly one length, so that little padding is
computed, and with a gradient cache where memory does not suffice for all of them at once.

Source: gradient cache, Gao et al. 2021 (arXiv 2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xnorm.encoders.base import Vectors
from xnorm.losses import NotFiniteError
from xnorm.memory import Chunks, longest_first
from xnorm.text import encodable

__all__ = ["LOWER_RATE", "Passes"]

PASSES = {"cpu": 4}
"""Passes that a batch is cut into, by kind of device. An accelerator gains less from shorter ones than it loses by
starting more of them."""
OTHERWISE = 2
ENCODED = 128
"""Texts of a pass where no gradients are wanted."""
LOWER_RATE = "a lower learning_rate helps most often"


class Passes:
    """Vectors of texts, in training and between.

    Args:
        model: a `SentenceTransformer`.
        prefix: put before each text.
        half: whether products are computed in bfloat16.
        chunks: of how many texts activations are held at a time.
    """

    def __init__(self, model: Any, *, prefix: str, half: bool, chunks: Chunks) -> None:
        self.model, self.prefix, self.half, self.chunks = model, prefix, half, chunks
        self.device = torch.device(model.device)

    def backward(self, texts: Sequence[str], loss: Callable[[Tensor], Tensor], *, seed: int) -> float:
        """Add the gradients of a loss to those of the weights, and return its value.

        Args:
            loss: of vectors in the order of the texts, shape (texts, dim).
            seed: of dropout, which depends on nothing else.

        Raises:
            NotFiniteError: the value is not finite; there are no gradients then.
        """

        def attempt(size: int) -> float:
            self.model.zero_grad()  # of an attempt that failed
            return self._backward(texts, loss, size, seed)

        return self.chunks.run(attempt, of=len(texts))

    def _backward(self, texts: Sequence[str], loss: Callable[[Tensor], Tensor], size: int, seed: int) -> float:
        self.model.train()
        order = self._order(texts)
        n = -(-len(order) // PASSES.get(self.device.type, OTHERWISE))
        parts = _parts(order, min(n, size))
        inputs = [self._read([texts[i] for i in part]) for part in parts]
        back = torch.tensor(np.argsort(order), device=self.device)
        cached = len(texts) > size
        with torch.set_grad_enabled(not cached):
            vectors = torch.cat([self._seeded(features, seed + i) for i, features in enumerate(inputs)])
        if cached:
            vectors.requires_grad_()
        value = loss(vectors[back])
        found = float(value.detach())
        if not np.isfinite(found):
            raise NotFiniteError(f"the loss is {found:g}", fix=LOWER_RATE)
        value.backward()
        if cached and vectors.grad is not None:
            slopes = vectors.grad.split([len(part) for part in parts])
            for i, (features, slope) in enumerate(zip(inputs, slopes, strict=True)):
                (self._seeded(features, seed + i) * slope).sum().backward()
        return found

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of texts, float32 of shape (texts, dim), unit length.

        Raises:
            NotFiniteError: a vector is not finite.
        """
        self.model.eval()
        order = self._order(texts)

        def attempt(size: int) -> list[Tensor]:
            parts = _parts(order, min(size, ENCODED))
            return [self._forward(self._read([texts[i] for i in part])).cpu() for part in parts]

        with torch.no_grad():
            found = torch.cat(self.chunks.run(attempt, of=min(len(texts), ENCODED)))
        bad = int((~found.isfinite().all(dim=1)).sum())
        if bad:
            raise NotFiniteError(f"{bad:,} of {len(found):,} vectors are not finite", fix=LOWER_RATE)
        vectors = torch.nn.functional.normalize(found.float(), dim=1)[np.argsort(order)]
        return np.asarray(vectors.numpy(), np.float32)

    @staticmethod
    def _order(texts: Sequence[str]) -> list[int]:
        return longest_first([(text, "") for text in texts])

    def _read(self, texts: Sequence[str]) -> dict[str, Any]:
        features = self.model.preprocess([encodable(self.prefix + text) for text in texts])
        return {name: x.to(self.device) if isinstance(x, Tensor) else x for name, x in features.items()}

    def _forward(self, features: dict[str, Any]) -> Tensor:
        """Return vectors as they come; tokens in 16 bits if so wanted, but what is pooled and after that in 32."""
        first, *others = self.model
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
            found = first(dict(features))  # a new dictionary, since modules add to the one that they are given
        tokens = found.get("token_embeddings")
        if tokens is not None:
            found["token_embeddings"] = tokens.float()
        for module in others:
            found = module(found)
        return found["sentence_embedding"].float()

    def _seeded(self, features: dict[str, Any], seed: int) -> Tensor:
        """Return the same, with dropout that depends on the seed alone."""
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            return self._forward(features)


def _parts(order: list[int], size: int) -> list[list[int]]:
    return [order[i : i + size] for i in range(0, len(order), size)]
