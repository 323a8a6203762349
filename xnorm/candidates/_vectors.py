"""What is done to the vectors of names and mentions before they are compared: centring by language, and how near a name
is to everything (hubness)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from xnorm.candidates.base import Rows
from xnorm.encoders.base import Vectors
from xnorm.errors import DataError
from xnorm.files import read_json
from xnorm.tables import Terminology
from xnorm.text import main_lang

__all__ = ["Means", "hubness", "main_langs"]

SHRINK = 50
"""The mean of a language with so few names lies half-way to the mean of all."""
STAND_INS = 2048
"""Names that stand for mentions when hubness is measured."""
BLOCK = 4096
"""Names compared with all stand-ins at a time; bounds memory."""
NOTHING = 1e-6
"""A vector that is no longer than this after centring is nothing but rounding, and becomes zero."""


def main_langs(terminology: Terminology) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Return the main codes of the languages that names have, sorted, and the place of each name's among them."""
    tags = terminology.names.column("lang").combine_chunks()
    mains = [main_lang(tag) for tag in tags.dictionary.to_pylist()]
    langs = sorted(set(mains))
    place = np.array([langs.index(main) for main in mains], np.int32)
    return langs, place[tags.indices.to_numpy(zero_copy_only=False)]


@dataclass(frozen=True, slots=True)
class Means:
    """Mean vectors by language, which centring takes away.

    Unit vectors of one language share a part that says no more than the language, and it stands between a name and its
    translation. Source: Libovický et al. 2020, On the language neutrality of pre-trained multilingual representations.
    """

    encoder: str
    """Identity of the encoder."""
    by_lang: dict[str, Vectors]
    """Main code of a language -> its mean, shape (dim,)."""
    other: Vectors
    """For texts in a language that has none, and for those in an unknown one: the mean of the languages' means."""

    @classmethod
    def measure(cls, vectors: Vectors, terminology: Terminology, encoder: str, *, by_lang: bool) -> Means:
        """Return the means of names; that of a language with n of them is (n * own + 50 * that of all) / (n + 50).

        Args:
            vectors: shape (names, dim), of unit length.
            by_lang: false gives one mean for every text.
        """
        every = vectors.mean(axis=0, dtype=np.float64)
        if not by_lang:
            return cls(encoder, {}, every.astype(np.float32))
        langs, place = main_langs(terminology)
        means = {}
        for at, lang in enumerate(langs):
            own = vectors[place == at]
            total = own.sum(axis=0, dtype=np.float64) + SHRINK * every
            means[lang] = (total / (len(own) + SHRINK)).astype(np.float32)
        return cls(encoder, means, _middle(means))

    def with_others(self, more: Means) -> Means:
        """Return these means with those of languages that only the other ones have."""
        means = {**more.by_lang, **self.by_lang}
        return Means(self.encoder, means, _middle(means))

    def centre(self, vectors: Vectors, langs: Sequence[str | None]) -> Vectors:
        """Return vectors less the means of their languages, of unit length (L2) again.

        Args:
            vectors: shape (texts, dim).
            langs: shape (texts,), main codes.
        """
        out = np.empty_like(vectors)
        groups: dict[str | None, list[int]] = {}
        for row, lang in enumerate(langs):
            groups.setdefault(lang if lang in self.by_lang else None, []).append(row)
        for lang, rows in groups.items():
            centred = vectors[rows] - (self.other if lang is None else self.by_lang[lang])
            norms = np.linalg.norm(centred, axis=1, keepdims=True)
            out[rows] = np.where(norms > NOTHING, centred / np.maximum(norms, NOTHING), 0)
        return out

    def write(self, path: Path) -> None:
        """Write a JSON file."""
        data = {
            "encoder": self.encoder,
            "other": self.other.tolist(),
            "means": {lang: mean.tolist() for lang, mean in sorted(self.by_lang.items())},
        }
        path.write_text(json.dumps(data) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, encoder: str, dim: int) -> Means:
        """Read what `write` wrote for the same encoder.

        Raises:
            DataError: no such file, none of means, or for another encoder.
        """
        fix = "take the means.json of an index with the same encoder that was built with center: language"
        try:
            data = read_json(path)
            found = str(data["encoder"])
            means = {str(lang): np.array(mean, np.float32) for lang, mean in data["means"].items()}
            other = np.array(data["other"], np.float32)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise DataError("is no file of mean vectors", path=path, fix=fix) from None
        if found != encoder:
            raise DataError(f"is for the encoder '{found}', expected '{encoder}'", path=path, fix=fix)
        if any(mean.shape != (dim,) or not np.isfinite(mean).all() for mean in (*means.values(), other)):
            raise DataError(f"expected means of {dim} finite numbers", path=path, fix=fix)
        return cls(found, means, other)


def hubness(vectors: Vectors, terminology: Terminology, neighbours: int) -> Vectors:
    """Return, for each name, its mean similarity to the nearest stand-ins for mentions, less the mean over names.

    Stand-ins are 2,048 names of other concepts, drawn with a fixed seed: first those in other languages than the one
    that most names are in. A name that is near to everything is near to a wrong mention, too.

    Args:
        vectors: shape (names, dim), of unit length.
        neighbours: how many stand-ins the mean is of.

    Returns:
        Shape (names,), float32.

    Source: Conneau et al. 2018, Word translation without parallel data: the half of CSLS that is about names.
    """
    chosen = _stand_ins(terminology)
    stand_ins, concepts = vectors[chosen], terminology.name_concept
    k = min(neighbours, len(chosen))
    near = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), BLOCK):
        part = slice(start, start + BLOCK)
        similar = vectors[part] @ stand_ins.T
        similar[concepts[part, None] == concepts[chosen]] = -np.inf
        nearest = np.partition(similar, similar.shape[1] - k, axis=1)[:, similar.shape[1] - k :].astype(np.float64)
        others = np.isfinite(nearest)
        count = others.sum(axis=1)
        sums = np.where(others, nearest, 0).sum(axis=1)
        near[part] = np.divide(sums, count, out=np.full(len(sums), np.nan), where=count > 0)
    middle = 0.0 if np.isnan(near).all() else np.nanmean(near)
    return np.where(np.isnan(near), 0, near - middle).astype(np.float32)


def _stand_ins(terminology: Terminology) -> Rows:
    """Return the rows of the names that stand for mentions, ascending."""
    langs, place = main_langs(terminology)
    translated = place != np.bincount(place, minlength=len(langs)).argmax()
    order = np.random.default_rng(0).permutation(terminology.n_names)
    order = order[np.argsort(~translated[order], kind="stable")]
    return np.sort(order[:STAND_INS]).astype(np.int32)


def _middle(means: dict[str, Vectors]) -> Vectors:
    return np.asarray(np.mean([means[lang] for lang in sorted(means)], axis=0, dtype=np.float64), np.float32)
