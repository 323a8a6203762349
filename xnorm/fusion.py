"""Learned fusion: what each member of an ensemble says of a candidate, to one score.

The score of a candidate is linear in what the members say of it, each by three features:

    z = sum over members m, features f of (w[m, f] + d[script, m, f] + d[language, m, f]) * x[m, f]
    x = (score s, s * |s|, 1 / rank; 0 where the member did not propose it)

and is shown as (1 + u / (1 + |u|)) / 2 with u = slope * z + offset: from 0 to 1, the same for every mention, so that a
threshold means the same, and never so flat that candidates far down come to be equal. The weights are those by which
the right candidates of queries have the greatest likelihood (a conditional logit), and slope and offset those by which
the score of a first candidate is about the probability that it is right. What scripts and languages add is held near 0
by a ridge, so that one with few queries keeps the weights of all. The difference of a score to the member's best for
the mention is no feature: it is the score less a constant of the mention, which is nothing to the order of candidates.

Source: McFadden 1974, Conditional logit analysis of qualitative choice behavior.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator
from scipy.optimize import minimize

from xnorm.config import InputPath, StrictModel
from xnorm.errors import ConfigError, DataError
from xnorm.files import read_json
from xnorm.filters import ValueSet
from xnorm.text import script_of

__all__ = ["FEATURES", "FusionConfig", "FusionModel", "features", "fit_shown", "fit_weights", "groups_of"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FEATURES = 3
"""Features of a member."""
RIDGE = 1.0
"""Pull of the shared weights towards 0, in standard units of the features."""
GROUP_RIDGE = 10.0
"""The same for what a script or language adds."""
LEAST = 30
"""Queries of a script or language that are needed for weights of its own."""
STEEPEST = 5.0
"""Most units of u in a standard deviation of z, so that scores keep their digits."""

Finite = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Weights = dict[str, tuple[Finite, Finite, Finite]]


class FusionConfig(StrictModel):
    """Where the weights of `method: learned` come from: fitted when the index is built, or a file."""

    fit: bool = False
    """Fit on the terminology's own names when the index is built."""
    path: InputPath | None = None
    """A file that `xnorm fuse` wrote."""
    queries: int = Field(default=4000, ge=100, le=100_000)
    """`fit` only: names that are used as mentions."""
    index_langs: list[str] | None = Field(default=None, min_length=1)
    """`fit` only: names in these languages stand for the index, all others for mentions; default: the names in a
    language are mentions of an index with those in the other languages."""
    seed: int = Field(default=0, ge=0)
    """`fit` only: of the draw."""
    only_concepts: ValueSet | None = None
    """`fit` only: mentions are names of these concepts alone, such as those that no member's encoder was trained on:
    `path: models/NAME/held_out.txt`, or a list of ids."""

    def about(self) -> dict[str, Any]:
        """Return the settings that a fit depends on as plain data; of a file of concepts, its checksum.

        Raises:
            DataError: there is no such file.
        """
        plain = self.model_dump(mode="json", include={"queries", "index_langs", "seed"})
        if self.only_concepts is None:
            return plain
        if (path := self.only_concepts.path) is not None and not path.is_file():
            raise DataError("no such file", path=path, fix="`only_concepts` of a fusion is a file of concept ids")
        return {**plain, "only_concepts": self.only_concepts.about()}

    @model_validator(mode="after")
    def _check_source(self) -> FusionConfig:
        if self.fit == (self.path is not None):
            raise ValueError("fusion: expected either fit: true or a path")
        return self


class FusionModel(StrictModel):
    """Fitted weights; a small JSON file."""

    version: Literal[1] = 1
    members: dict[str, str] = Field(min_length=1)
    """Name of each member, and what it was."""
    depth: int = Field(ge=1)
    """Lower ranks count as not proposed."""
    weights: Weights
    """By member, of its features."""
    groups: dict[str, Weights]
    """What is added for a script (`script:han`) or a language (`lang:de`)."""
    slope: float = Field(gt=0, le=1e15, allow_inf_nan=False)
    """Units of u in one of z."""
    offset: Finite
    """What u is at z = 0."""
    fitted: dict[str, Any] = Field(default_factory=dict)
    """What it was fitted on, and what it was worth on names of held-out concepts."""

    @model_validator(mode="after")
    def _check_members(self) -> FusionModel:
        for where, weights in {"weights": self.weights, **self.groups}.items():
            if set(weights) != set(self.members):
                raise ValueError(f"{where}: expected the members {', '.join(self.members)}")
        return self

    @classmethod
    def read(cls, path: Path) -> FusionModel:
        """Read a file that `write` wrote.

        Raises:
            DataError: no such file, or none of weights.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as e:
            first = e.errors(include_url=False)[0]
            problem = ": ".join(filter(None, ["is no fitted fusion", ".".join(map(str, first["loc"])), first["msg"]]))
            raise DataError(problem, path=path, fix="`xnorm fuse INDEX --output FILE` writes one") from None

    def write(self, path: Path) -> None:
        """Write a JSON file, whole or not at all."""
        part = path.with_name(f".{path.name}.part")
        part.write_text(json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)

    def check(self, members: Mapping[str, str], where: str) -> str | None:
        """Refuse members that the weights are not of; return a warning where they are not quite the same.

        Args:
            members: name of each, and what it is: its type, and more after a slash.
            where: the file or folder, for the error.

        Raises:
            ConfigError: other names, or a member of another type.
        """
        types = [{name: what.partition("/")[0] for name, what in m.items()} for m in (self.members, members)]
        if types[0] != types[1]:
            was, now = (", ".join(f"{n} ({t})" for n, t in sorted(m.items())) for m in types)
            raise ConfigError(
                f"fusion: {where} was fitted for the members {was}, found {now}; fit it with `xnorm fuse`"
            )
        changed = [name for name, what in members.items() if what != self.members[name]]
        if not changed:
            return None
        return f"fusion: {where} was fitted when the member '{changed[0]}' was {self.members[changed[0]]}"

    def parts(self, said: Mapping[str, Floats], groups: Sequence[tuple[str, ...]], used: Mask) -> dict[str, Floats]:
        """Return what each member adds to z, by its name: shape (mentions, k).

        Args:
            said: by member, its `features`, shape (mentions, k, 3).
            groups: shape (mentions,), from `groups_of`.
            used: shape (mentions, members), in the order of `members`; a member that is not adds nothing, and the
                others speak for it, too: they are raised to the sum of all weights.
        """
        table = {key: np.array([weights[m] for m in self.members]) for key, weights in self.groups.items()}
        shared = np.array([self.weights[m] for m in self.members])
        weights = np.repeat(shared[None], len(groups), axis=0)
        for key, own in table.items():
            weights[[row for row, keys in enumerate(groups) if key in keys]] += own
        full = np.maximum(shared.sum(axis=1), 0)
        left = (full * used).sum(axis=1)
        raised = np.divide(full.sum(), left, out=np.ones_like(left), where=left > 0)
        weights = weights * (used * raised[:, None])[:, :, None]
        return {m: np.einsum("nkf,nf->nk", said[m], weights[:, at]) for at, m in enumerate(self.members)}

    def in_words(self) -> list[str]:
        """Return what the fit was worth on names of held-out concepts, in lines to be read."""
        lines = [f"fitted on {self.fitted.get('with_the_right_concept', 0):,} names; on names of other concepts:"]
        for lang, told in self.fitted.get("held_out", {}).items():
            lines.append(f"{lang}, {told['queries']:,} names")
            for metric, found in told.items():
                if isinstance(found, dict):
                    (before, *_), (after, *_), (by, low, high) = (found[k] for k in ("before", "after", "difference"))
                    change = f"{by:+.3f} [{low:+.3f}, {high:+.3f}], p {found['p']:.3f}"
                    lines.append(f"  {metric:<10} {before:.3f} -> {after:.3f}  {change}")
        return [*lines, *self._verdict()]

    def _verdict(self) -> list[str]:
        """Return whether the fit helped, on one line, if it was measured."""
        told: dict[str, Any] = next(iter(self.fitted.get("held_out", {}).values()), {})
        if not isinstance(found := told.get("recall@1"), dict):
            return []
        _, low, high = found["difference"]
        if told["queries"] < LEAST:
            return [f"{told['queries']:,} names are too few to say whether it helps"]
        if low > 0:
            return ["recall@1: it helped"]
        if high < 0:
            return ["recall@1: it harmed; method: sum is better"]
        return ["recall@1: no gain that can be told from chance"]

    def shown(self, z: Floats) -> Floats:
        """Return scores from 0 to 1, of any shape, rising with z."""
        return _shown(self.slope * z + self.offset)


def _shown(u: Floats) -> Floats:
    return np.asarray((1 + u / (1 + np.abs(u))) / 2)


def groups_of(text: str, lang: str | None) -> tuple[str, ...]:
    """Return the groups that a mention's weights are of: its script, and its language if that is known."""
    return (f"script:{script_of(text)}", *([] if lang is None else [f"lang:{lang}"]))


def features(scores: npt.NDArray[np.floating], ranks: npt.NDArray[np.integer], depth: int) -> Floats:
    """Return what a member says of candidates, shape (mentions, k, 3).

    Args:
        scores: shape (mentions, k), finite.
        ranks: shape (mentions, k), from 1; 0 where the member did not propose the candidate.
        depth: lower ranks count as not proposed.
    """
    s = np.asarray(scores, np.float64)
    reciprocal = np.where((ranks > 0) & (ranks <= depth), 1 / np.maximum(ranks, 1), 0.0)
    return np.stack([s, s * np.abs(s), reciprocal], axis=2)


def fit_weights(
    x: Floats, gold: Mask, valid: Mask, groups: Sequence[tuple[str, ...]]
) -> tuple[Floats, dict[str, Floats]]:
    """Return shared weights, shape (features,), and what each group with 30 queries or more adds.

    They minimise the negative log-likelihood of the gold candidates, which share the target, plus 1/2 * RIDGE * w² and
    1/2 * GROUP_RIDGE * d² in units of a feature's standard deviation: one minimum, which L-BFGS finds.

    Args:
        x: shape (queries, k, features).
        gold, valid: shape (queries, k), which candidates are right, and which are there at all. A query without a
            right candidate, or without a wrong one, says nothing.
        groups: shape (queries,), the groups of each.
    """
    telling: Mask = np.asarray((gold & valid).any(axis=1) & (valid & ~gold).any(axis=1))
    x, valid = x[telling], valid[telling]
    target = (gold[telling] & valid).astype(float)
    target /= np.maximum(target.sum(axis=1, keepdims=True), 1)
    groups = [keys for keys, one in zip(groups, telling.tolist(), strict=True) if one]
    counts = Counter(key for own in groups for key in own)
    keys = sorted(key for key, count in counts.items() if count >= LEAST)
    of = np.ones((len(groups), 1 + len(keys)))
    of[:, 1:] = [[key in own for key in keys] for own in groups] or np.empty((0, len(keys)))
    spread = x[valid].std(axis=0) if valid.any() else np.ones(x.shape[2])
    spread = np.where(spread > 1e-9, spread, 1.0)
    x = np.where(valid[:, :, None], x / spread, 0)
    shape = (1 + len(keys), x.shape[2])
    ridge = np.full((shape[0], 1), GROUP_RIDGE)
    ridge[0] = RIDGE

    def loss(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(shape)
        z = np.where(valid, np.einsum("nkf,nf->nk", x, of @ w), -np.inf)
        z -= z.max(axis=1, keepdims=True, initial=-1e300)
        power = np.exp(z)
        total = power.sum(axis=1, keepdims=True)
        value = (np.log(total[:, 0]) - (target * np.where(valid, z, 0)).sum(axis=1)).sum()
        slope = of.T @ np.einsum("nk,nkf->nf", power / total - target, x)
        return float(value + (ridge * w**2).sum() / 2), (slope + ridge * w).ravel()

    options = {"maxiter": 1000, "ftol": 1e-13, "gtol": 1e-6}
    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(shape)
    found = found / spread
    return found[0], dict(zip(keys, found[1:], strict=True))


def fit_shown(z: Floats, right: Mask) -> tuple[float, float]:
    """Return slope and offset by which the shown score of a first candidate is about the chance that it is right.

    Args:
        z, right: shape (queries,), of each query's first candidate.
    """
    spread = float(z.std()) if len(z) else 0.0
    spread = spread if spread > 1e-9 else 1.0
    middle = float(z.mean()) if len(z) else 0.0
    unit = (z - middle) / spread

    def loss(at: Floats) -> float:
        p = np.clip(_shown(at[0] * unit + at[1]), 1e-6, 1 - 1e-6)
        # a ridge decides where all are right, or all wrong
        return float(-np.where(right, np.log(p), np.log(1 - p)).sum() + 0.01 * (at**2).sum())

    bounds = [(0.1, STEEPEST), (-20.0, 20.0)]
    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="L-BFGS-B", bounds=bounds).x
    return float(slope / spread), float(offset - slope * middle / spread)
