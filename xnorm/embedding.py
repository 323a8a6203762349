"""Encode each distinct string once: de-duplicate, look up in a cache on disk, batch, keep what was paid for.

The cache is a folder for each encoder identity with shards of (BLAKE2b-128 of the text, vector). A shard is written
beside its place and renamed, so a killed run leaves only whole ones, and the next run goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xnorm.encoders.base import Encoder, Vectors
from xnorm.progress import Progress, no_progress

__all__ = ["VectorCache", "cache_folder", "encode_unique"]

BLOCK = 4096
"""Texts encoded, and written to the cache, at a time."""

Keys = npt.NDArray[np.uint64]


def cache_folder() -> Path:
    """Return where vectors are kept: `$XNORM_CACHE`, else `$XDG_CACHE_HOME/xnorm`, else `~/.cache/xnorm`."""
    if own := os.environ.get("XNORM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xnorm"


def encode_unique(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    cache: VectorCache | None = None,
    progress: Progress = no_progress,
) -> Vectors:
    """Return the vectors of texts, float32 of shape (texts, dim), each distinct text encoded at most once.

    Texts are encoded shortest first, so that a batch holds texts of like length.

    Args:
        cache: where vectors are looked up and kept; None encodes all.
        progress: told after each block of 4,096 texts.
    """
    position: dict[str, int] = {}
    inverse = np.fromiter((position.setdefault(t, len(position)) for t in texts), np.int64, len(texts))
    unique = list(position)
    vectors = np.empty((len(unique), encoder.dim), np.float32)
    missing = np.arange(len(unique)) if cache is None else cache.fill(unique, vectors)
    missing = missing[np.argsort([len(unique[i]) for i in missing], kind="stable")]
    done = len(unique) - len(missing)
    progress("encoding names", done, len(unique))
    for start in range(0, len(missing), BLOCK):
        block = missing[start : start + BLOCK]
        chosen = [unique[i] for i in block]
        vectors[block] = encoder.encode(chosen)
        if cache is not None:
            cache.add(chosen, vectors[block])
        progress("encoding names", done + start + len(block), len(unique))
    return vectors if len(unique) == len(texts) else vectors[inverse]


class VectorCache:
    """Vectors of one encoder on disk.

    A damaged or foreign shard is ignored, and a disk that cannot be written to only means that nothing is kept.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        identity = f"{encoder.identity}/{encoder.dim}"
        self.folder = folder / "vectors" / hashlib.blake2b(identity.encode(), digest_size=12).hexdigest()
        self.identity = identity
        self.dim = encoder.dim

    @property
    def _dtype(self) -> np.dtype[np.void]:
        return np.dtype([("key", np.uint64, (2,)), ("vector", np.float32, (self.dim,))])

    def _shards(self) -> Iterator[tuple[Keys, Vectors]]:
        """Yield (keys, vectors) of each shard, one open at a time: there may be more than a process may open."""
        for path in sorted(self.folder.glob("*.npy")):
            with contextlib.suppress(OSError, ValueError):
                shard = np.load(path, mmap_mode="r", allow_pickle=False)
                if shard.dtype == self._dtype and shard.ndim == 1:
                    yield shard["key"], shard["vector"]

    def fill(self, texts: Sequence[str], out: Vectors) -> npt.NDArray[np.int64]:
        """Write the vectors that are known into `out` (texts, dim); return the positions of the others."""
        known = np.zeros(len(texts), bool)
        if texts:
            wanted = _keys(texts)
            order = np.argsort(wanted[:, 0])
            ordered = wanted[order]
            for keys, vectors in self._shards():
                at = np.minimum(np.searchsorted(ordered[:, 0], keys[:, 0]), len(texts) - 1)
                hit = (ordered[at] == keys).all(axis=1)
                rows = order[at[hit]]
                out[rows] = vectors[hit]
                known[rows] = True
        return np.flatnonzero(~known)

    def add(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep vectors, in one new shard."""
        shard = np.empty(len(texts), self._dtype)
        shard["key"], shard["vector"] = _keys(texts), vectors
        name = secrets.token_hex(8)
        part = self.folder / f".{name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "encoder.txt").write_text(self.identity + "\n", encoding="utf-8")
            with part.open("wb") as f:
                np.save(f, shard, allow_pickle=False)
            part.rename(self.folder / f"{name}.npy")
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()


def _keys(texts: Sequence[str]) -> Keys:
    joined = b"".join(hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=16).digest() for t in texts)
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)
