"""A fusion's weights fitted on a terminology's own names: those in one language as mentions of an index
of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.candidates._vectors import main_langs
from xnorm.candidates.base import Allowed, Rows
from xnorm.errors import DataError
from xnorm.filters import QueryFilters
from xnorm.fusion import Floats, FusionConfig, FusionModel, features, fit_shown, fit_weights
from xnorm.metrics import Measured, parse_metric
from xnorm.progress import Progress, no_progress
from xnorm.resampling import bootstrap, compare
from xnorm.restriction import Restrictions
from xnorm.tables import Terminology
from xnorm.text import LangFilter, fold_case, lang_code
from xnorm.types import Mention

if TYPE_CHECKING:
    from xnorm.candidates.ensemble import EnsembleGenerator

__all__ = ["fit_on_names"]

Mask = npt.NDArray[np.bool_]

BATCH = 256
"""Mentions at a time."""
ENOUGH = 50
"""Queries with the right concept among their candidates that a fit needs."""
HELD_OUT = 0.25
"""Share of the concepts that no weight is fitted on."""
CUTS = (1, 5, 64)
"""Recall is told at these ranks."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Queries in one language, and the names that stand for the index."""

    lang: str
    index: Mask
    """Shape (names,)."""
    rows: Rows
    """Name rows of the queries; no two are of one concept."""


@dataclass(slots=True)
class _Judged:
    """What members say of each query's candidates; padded to one width."""

    x: Floats
    """Shape (queries, m, features)."""
    valid: Mask
    gold: Mask
    before: Floats
    """What the ensemble would score without the fit."""
    concepts: Rows
    groups: list[tuple[str, ...]]
    used: Mask
    langs: list[str]
    owners: Rows
    """The concept that each query is a name of."""


def fit_on_names(
    ensemble: EnsembleGenerator, terminology: Terminology, config: FusionConfig, *, progress: Progress = no_progress
) -> FusionModel:
    """Return weights fitted on three quarters of the concepts, with what they are worth on the others.

    A query is a name; all names in its language are left out of what it is looked up in. Names in the language that
    most names are in come, one of a concept, from those that have several, and they alone (in whatever case) are left
    out. Homonyms in the language are right, too. With `only_concepts` the mentions are names of these concepts, fitted
    on and judged by; all concepts are looked up.

    Raises:
        DataError: too few names to fit on, `index_langs` has no names, or the file of `only_concepts` cannot be read.
        ConfigError: none of `only_concepts` is in the terminology.
    """
    settings = config.about()
    rng = np.random.default_rng(config.seed)
    held = rng.random(len(terminology)) < HELD_OUT
    parts = list(_parts(terminology, config, rng))
    judged = _judge(ensemble, terminology, parts, progress)
    fit = ~held[judged.owners]
    known = int((judged.gold[fit].any(axis=1)).sum())
    if known < ENOUGH:
        problem = f"the fusion has {known} names to be fitted on, expected {ENOUGH} or more"
        fix = "add translations or synonyms to the terminology, or give it a fusion.path that was fitted on another one"
        if config.only_concepts is not None:
            problem, fix = f"{problem}, of only_concepts alone", "name more concepts that have translations or synonyms"
        raise DataError(f"{problem}; {fix}")
    names = list(ensemble.members)
    groups = [judged.groups[row] for row in np.flatnonzero(fit)]
    shared, more = fit_weights(judged.x[fit], judged.gold[fit], judged.valid[fit], groups)
    model = FusionModel(
        members={name: member.kind for name, member in ensemble.members.items()},
        depth=ensemble.config.depth,
        weights=_by_member(shared, names),
        groups={key: _by_member(own, names) for key, own in more.items()},
        slope=1.0,
        offset=0.0,
    )
    z = _linear(model, judged)
    best = np.where(judged.valid, z, -np.inf).argmax(axis=1)
    rows = np.flatnonzero(fit & judged.valid.any(axis=1))
    slope, offset = fit_shown(z[rows, best[rows]], judged.gold[rows, best[rows]])
    about = {
        "concepts": len(terminology),
        "fingerprint": terminology.fingerprint,
        "queries": int(fit.sum()),
        "with_the_right_concept": known,
        "settings": settings,
        "held_out": _report(judged, z, ~fit),
    }
    return model.model_copy(update={"slope": slope, "offset": offset, "fitted": about})


def _by_member(weights: Floats, names: list[str]) -> dict[str, tuple[float, float, float]]:
    own = weights.reshape(len(names), 3).tolist()
    return {name: (a, b, c) for name, (a, b, c) in zip(names, own, strict=True)}


def _parts(terminology: Terminology, config: FusionConfig, rng: np.random.Generator) -> Iterator[_Part]:
    """Yield the queries, language by language, as many of each as there are to be had."""
    langs, place = main_langs(terminology)
    asked = _asked(terminology, config)
    counts = np.bincount(place, minlength=len(langs))
    main = int(counts.argmax())
    wanted = None if config.index_langs is None else LangFilter(config.index_langs)
    index = np.ones(len(place), bool)
    if wanted is not None:
        kept = np.array([wanted(lang) for lang in langs])
        index = kept[place]
        if not index.any():
            listed = ", ".join(map(lang_code, config.index_langs or ()))
            raise DataError(f"fusion: the terminology has no names in the languages of the index ({listed})")
        main = int(np.where(kept, counts, -1).argmax())
    parts = []
    for at, lang in enumerate(langs):
        own = place == at
        if at == main:
            parts.append(_synonyms(terminology, lang, index, own & asked, 2 * config.queries, rng))
        elif wanted is None or not wanted(lang):
            parts.append(_translations(terminology, lang, index & ~own, own & asked, rng))
    each = -(-config.queries // max(1, sum(len(part.rows) > 0 for part in parts)))
    for part in parts:
        if len(part.rows):
            rows = np.sort(rng.permutation(part.rows)[:each])
            left = part.index.copy()
            if part.lang == langs[main]:
                left[_alike(terminology, rows)] = False
            yield _Part(part.lang, left, rows)


def _asked(terminology: Terminology, config: FusionConfig) -> Mask:
    """Return which names may be mentions, shape (names,)."""
    if config.only_concepts is None:
        return np.ones(terminology.n_names, bool)
    known = Restrictions(terminology)
    return known.names(known.resolve(QueryFilters(value_set=config.only_concepts), "fusion.only_concepts"))


def _translations(terminology: Terminology, lang: str, index: Mask, own: Mask, rng: np.random.Generator) -> _Part:
    """One name in a language of each concept that has others in the index."""
    there = np.zeros(len(terminology), bool)
    there[terminology.name_concept[index]] = True
    return _Part(lang, index, _one_each(terminology, own & there[terminology.name_concept], rng))


def _synonyms(
    terminology: Terminology, lang: str, index: Mask, own: Mask, most: int, rng: np.random.Generator
) -> _Part:
    """One name of each concept that has others in the index once this one, and what is written alike, is left out; of
    some concepts if there are many."""
    several = np.bincount(terminology.name_concept[index], minlength=len(terminology)) > 1
    rows = _one_each(terminology, index & own & several[terminology.name_concept], rng)
    rows = np.sort(rng.permutation(rows)[:most])
    left = index.copy()
    left[_alike(terminology, rows)] = False
    there = np.zeros(len(terminology), bool)
    there[terminology.name_concept[left]] = True
    return _Part(lang, index, rows[there[terminology.name_concept[rows]]])


def _one_each(terminology: Terminology, names: Mask, rng: np.random.Generator) -> Rows:
    """Return one of the names of each concept, at random."""
    rows = rng.permutation(np.flatnonzero(names))
    _, first = np.unique(terminology.name_concept[rows], return_index=True)
    return rows[first].astype(np.int32)


def _alike(terminology: Terminology, rows: Rows) -> list[int]:
    """Return the rows of the names of the same concepts that are written as these are, case aside."""
    texts = dict(zip(rows.tolist(), terminology.take("names", "text", rows), strict=True))
    found = []
    for row, text in texts.items():
        concept = terminology.name_concept[row]
        same = range(int(terminology.first_name[concept]), int(terminology.first_name[concept + 1]))
        others = terminology.take("names", "text", np.array(same))
        found += [n for n, other in zip(same, others, strict=True) if fold_case(other) == fold_case(text)]
    return found


def _judge(ensemble: EnsembleGenerator, terminology: Terminology, parts: list[_Part], progress: Progress) -> _Judged:
    """Look all queries up and keep what members say of each candidate."""
    total, done = sum(len(part.rows) for part in parts), 0
    blocks: list[_Judged] = []
    for part in parts:
        restricted = ensemble.restrict(Allowed(terminology, part.index))
        restricted.fusion = None  # an earlier fit, which may be deeper
        right = _homonyms(terminology, part)
        for start in range(0, len(part.rows), BATCH):
            rows = part.rows[start : start + BATCH]
            blocks.append(_block(restricted, terminology, part.lang, rows, right[start : start + BATCH]))
            done += len(rows)
            progress("fitting the fusion", done, total)
    return _stack(blocks, len(ensemble.members) * 3)


def _homonyms(terminology: Terminology, part: _Part) -> list[set[int]]:
    """Return the concepts that have each query as a name in its language."""
    langs, place = main_langs(terminology)
    wanted = terminology.take("names", "text", part.rows)
    lower = pc.utf8_lower(terminology.names.column("text"))
    same = pc.is_in(lower, value_set=pc.utf8_lower(pa.array(wanted, pa.large_string())))
    own = np.flatnonzero(same.to_numpy(zero_copy_only=False) & (place == langs.index(part.lang)))
    texts: dict[str, set[int]] = {}
    concepts = terminology.name_concept[own].tolist()
    for text, concept in zip(terminology.take("names", "text", own), concepts, strict=True):
        texts.setdefault(fold_case(text), set()).add(concept)
    return [texts[fold_case(text)] for text in wanted]


def _block(
    ensemble: EnsembleGenerator, terminology: Terminology, lang: str, rows: Rows, right: list[set[int]]
) -> _Judged:
    mentions = [Mention(text, lang=lang) for text in terminology.take("names", "text", rows)]
    queries = ensemble.represent(mentions)
    found = ensemble.propose(queries, 1)
    concepts = ensemble.union(queries, found)
    said = ensemble.ask(queries, concepts, found)
    usual = "sum" if ensemble.config.method == "learned" else ensemble.config.method
    before, _ = ensemble.fuse(queries, concepts, said, usual)
    depth = ensemble.config.depth
    x = [features(own.scores, own.ranks, depth) * own.used[:, None, None] for own in said.values()]
    gold = np.array([[c in good for c in row] for row, good in zip(concepts.tolist(), right, strict=True)], bool)
    owners = terminology.name_concept[rows]
    langs = [lang] * len(rows)
    return _Judged(
        np.concatenate(x, axis=2), concepts >= 0, gold, before.astype(float), concepts, queries.groups, queries.used,
        langs, owners,
    )  # fmt: skip


def _stack(blocks: list[_Judged], n_features: int) -> _Judged:
    width = max((block.valid.shape[1] for block in blocks), default=1)

    def joined(name: str, fill: Any, empty: npt.NDArray[Any]) -> npt.NDArray[Any]:
        arrays = [getattr(block, name) for block in blocks]
        pads = [[(0, 0), (0, width - a.shape[1]), *[(0, 0)] * (a.ndim - 2)] for a in arrays]
        wide = [np.pad(a, pad, constant_values=fill) for a, pad in zip(arrays, pads, strict=True)]
        return np.concatenate([empty, *wide])

    none = np.empty((0, width), bool)
    return _Judged(
        joined("x", 0, np.empty((0, width, n_features))),
        joined("valid", False, none),
        joined("gold", False, none),
        joined("before", -np.inf, np.empty((0, width))),
        joined("concepts", -1, np.empty((0, width), np.int32)),
        [groups for block in blocks for groups in block.groups],
        np.concatenate([block.used for block in blocks]) if blocks else np.empty((0, n_features // 3), bool),
        [lang for block in blocks for lang in block.langs],
        np.concatenate([block.owners for block in blocks]) if blocks else np.empty(0, np.int32),
    )


def _linear(model: FusionModel, judged: _Judged) -> Floats:
    """Return z of every candidate, shape (queries, m)."""
    x = judged.x.reshape(*judged.x.shape[:2], len(model.members), -1)
    said = {name: x[:, :, at] for at, name in enumerate(model.members)}
    z: Floats = np.sum(list(model.parts(said, judged.groups, judged.used).values()), axis=0)
    return z


def _ranks(scores: Floats, judged: _Judged) -> npt.NDArray[np.int64]:
    """Return the rank of each query's first right candidate, from 1; 0 where there is none. Ties go by concept row."""
    shown = np.where(judged.valid, np.round(scores, 6), -np.inf)
    order = np.lexsort((judged.concepts, -shown), axis=1)
    hits = np.take_along_axis(judged.gold & judged.valid, order, axis=1)
    return np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0)


def _report(judged: _Judged, z: Floats, rows: Mask) -> dict[str, Any]:
    """Return recall before and after, of all held-out queries and by language, with 95% intervals over concepts."""
    langs = np.array(judged.langs)
    ranks = [_ranks(scores, judged) for scores in (judged.before, z)]
    out: dict[str, Any] = {}
    for lang in ["all", *sorted(set(judged.langs))]:
        at = np.flatnonzero(rows & ((langs == lang) | (lang == "all")))
        if not len(at):
            continue
        told: dict[str, Any] = {"queries": len(at)}
        for cut in CUTS:
            pair = [_recall(own[at], cut) for own in ranks]
            before, after = bootstrap(pair, judged.owners[at])
            paired = compare(pair[1], pair[0], judged.owners[at])
            told[f"recall@{cut}"] = {
                "before": [round(v, 4) for v in (before.value, before.low, before.high)],
                "after": [round(v, 4) for v in (after.value, after.low, after.high)],
                "difference": [round(getattr(paired.difference, v), 4) for v in ("value", "low", "high")],
                "p": round(paired.p_value, 4),
            }
        out[lang] = told
    return out


def _recall(ranks: npt.NDArray[np.int64], cut: int) -> Measured:
    hits = ((ranks > 0) & (ranks <= cut)).astype(float)
    return Measured(parse_metric(f"recall@{cut}"), np.stack([hits, np.ones_like(hits)], axis=1))
