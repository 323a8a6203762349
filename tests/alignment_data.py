"""An invented terminology in two scripts that a tiny transformer can learn: a name is three letters, and its
translation the same letters of the other alphabet."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np

from xnorm.alignment import AlignedNames
from xnorm.held_out import HeldOut, HeldOutConfig
from xnorm.sampling import BatchSampler, SamplingConfig

LATIN, CYRILLIC = "acdefilmno", "арильнфевб"


def letters(step=1):
    """Return names of one concept for each three of ten letters; `step` takes every so many."""
    chosen = list(combinations(range(len(LATIN)), 3))[::step]
    texts = [" ".join(alphabet[i] for i in word) for word in chosen for alphabet in (LATIN, CYRILLIC)]
    concepts = np.repeat(np.arange(len(chosen), dtype=np.int32), 2)
    langs = np.tile(np.array([0, 1], np.int16), len(chosen))
    return AlignedNames(texts, concepts, concepts.copy(), langs, ["en", "ru"], np.ones(len(texts), np.float32))


def parts(names, *, batch=24, seed=0, **sampling):
    """Return names to train on, held-out ones, and a sampler."""
    config = HeldOutConfig(share=0.25, drawn_queries=200)
    left, held = HeldOut.choose(names, config, seed=seed)
    held = replace(held, drawn=held)  # there are few names, and all that are measured choose the weights, too
    settings = SamplingConfig(batch=batch, **{"neighbours": 0, **sampling})
    return left, held, BatchSampler(left, settings, seed=seed)
