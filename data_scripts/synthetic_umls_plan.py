"""How many names each concept of the synthetic UMLS release has in which language."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from synthetic_umls_names import ENGLISH, LANGUAGES, SHARES, Numbers
from synthetic_umls_sources import THEMES

__all__ = ["InputError", "Plan"]


class InputError(Exception):
    """Arguments that cannot be used; the message is one line."""


@dataclass
class Plan:
    """Which concepts there are, and how many names each has in which language."""

    cui: Numbers
    """Number of each concept, ascending."""
    theme: Numbers
    concept: npt.NDArray[np.int32]
    """Of each group of names (a concept in a language); groups are sorted by concept and language."""
    language: npt.NDArray[np.int8]
    count: npt.NDArray[np.int32]

    @classmethod
    def draw(cls, rng: np.random.Generator, rows: int, concepts: int, reserved: int) -> Plan:
        """Draw a plan of exactly so many names of the first concepts; the last `reserved` get numbers alone."""
        cui = np.sort(rng.choice(9_999_999, concepts, replace=False)) + 1
        n = concepts - reserved
        theme = rng.choice(len(THEMES), n, p=[t.share for t in THEMES])
        translated = rng.random(n) < np.array([t.translated for t in THEMES])[theme]
        groups: list[tuple[Numbers, int, Numbers]] = []
        english = np.ones(n, bool)
        for at, share in enumerate(SHARES):
            if at == ENGLISH:
                continue
            wanted = share * rows
            likely = np.where(translated, min(0.95, wanted / (1.5 * max(1, translated.sum()))), 0.0)
            if LANGUAGES[at] == "SPA":
                likely[~translated] = min(0.6, max(0.0, wanted - 2 * likely.sum()) / (1.5 * n))
            has = np.flatnonzero(rng.random(n) < likely)
            groups.append((has, at, rng.geometric(1 / max(1.0, wanted / max(1, len(has))), len(has))))
            if LANGUAGES[at] == "SPA":
                english[has[rng.random(len(has)) < 0.01]] = False  # a few concepts have no English name
        has = np.flatnonzero(english)
        mean = np.where(translated[has], 3.0, 1.0)
        mean *= max(0.05, (SHARES[ENGLISH] * rows - len(has)) / mean.sum())
        groups.append((has, ENGLISH, 1 + rng.poisson(mean * rng.gamma(0.6, 1 / 0.6, len(has)))))
        concept = np.concatenate([has for has, _, _ in groups])
        language = np.concatenate([np.full(len(has), at) for has, at, _ in groups])
        count = np.concatenate([many for _, _, many in groups])
        order = np.argsort(concept * len(LANGUAGES) + language)
        count = _adjusted(rng, count[order], rows)
        return cls(cui, theme, concept[order].astype(np.int32), language[order].astype(np.int8), count)


def _adjusted(rng: np.random.Generator, count: Numbers, total: int) -> npt.NDArray[np.int32]:
    """Return counts of at least 1 that add up to a total, changed here and there by 1."""
    if total < len(count):
        raise InputError(f"--rows {total} is too few: these concepts take {len(count)}")
    count = count.copy()
    while (rest := total - int(count.sum())) != 0:
        may = np.flatnonzero(count > 1) if rest < 0 else np.arange(len(count))
        count[rng.choice(may, min(abs(rest), len(may)), replace=False)] += np.sign(rest)
    return count.astype(np.int32)
