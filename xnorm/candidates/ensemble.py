"""Several generators, one ranking."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from xnorm.candidates.base import (
    DECIMALS,
    Allowed,
    CandidateGenerator,
    Candidates,
    GeneratorConfig,
    MemberScores,
    Rows,
    Scores,
    top_k,
)
from xnorm.config import CandidatesSpec
from xnorm.progress import Progress, no_progress
from xnorm.registry import did_you_mean, find_component
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["EnsembleConfig", "EnsembleGenerator"]


class EnsembleConfig(GeneratorConfig):
    """Settings of the ensemble."""

    at_query: ClassVar[frozenset[str]] = frozenset({"method", "weights", "depth", "rrf_constant"})

    type: str = "ensemble"
    members: dict[str, CandidatesSpec]
    """Generators by a name of your choice."""
    method: Literal["sum", "rrf", "max"] = "sum"
    """How members are fused: `sum`, weighted sum of scores, divided by the sum of the weights; `rrf`, weighted
    reciprocal ranks; `max`, the highest weighted score among the members that proposed the concept (xMEN's way)."""
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Weight of a member, by its name; above 0, default 1."""
    depth: int = Field(default=100, ge=1)
    """Concepts taken from each member before fusion; at least the number asked for."""
    rrf_constant: float = Field(default=60.0, ge=0)
    """`rrf` only: the constant c of weight / (c + rank). Source: Cormack et al. 2009, who use 60."""

    @model_validator(mode="after")
    def _check_members(self) -> EnsembleConfig:
        if not self.members:
            raise ValueError("members: expected at least one")
        for name in self.weights:
            if name not in self.members:
                raise ValueError(f"weights: unknown member '{name}'; {did_you_mean(name, self.members)}")
        for name in self.members:
            if name == "ensemble":
                raise ValueError("members: 'ensemble' is what the whole is called; choose another name")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"members: '{name}' is also a folder name: letters, digits, - and _ only")
        return self


class EnsembleGenerator(CandidateGenerator):
    """Takes the union of its members' best concepts, and has every member score all of them, so that a concept that
    one member ranks low is not taken for one that it scores zero."""

    config_class: ClassVar[type[GeneratorConfig]] = EnsembleConfig
    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, members: dict[str, CandidateGenerator]) -> None:
        self.config = config
        self.members = members

    @classmethod
    def build(
        cls, config: GeneratorConfig, terminology: Terminology, *, progress: Progress = no_progress
    ) -> EnsembleGenerator:
        assert isinstance(config, EnsembleConfig)
        members = {
            name: find_component("candidates", member.type).build(member, terminology, progress=progress)
            for name, member in config.members.items()
        }
        return cls(config, members)

    def save(self, folder: Path) -> None:
        for name, member in self.members.items():
            (folder / name).mkdir()
            member.save(folder / name)

    @classmethod
    def load(cls, config: GeneratorConfig, terminology: Terminology, folder: Path) -> EnsembleGenerator:
        assert isinstance(config, EnsembleConfig)
        members = {
            name: find_component("candidates", member.type).load(member, terminology, folder / name)
            for name, member in config.members.items()
        }
        return cls(config, members)

    def represent(self, mentions: Sequence[Mention]) -> dict[str, Any]:
        """Return what each member makes of the mentions."""
        return {name: member.represent(mentions) for name, member in self.members.items()}

    def nearest(self, queries: dict[str, Any], k: int) -> Candidates:
        return self._fuse(queries, self._propose(queries, k), k)

    def restrict(self, allowed: Allowed) -> EnsembleGenerator:
        part = copy(self)
        part._allowed, part.members = allowed, {name: m.restrict(allowed) for name, m in self.members.items()}
        return part

    def stages(self, queries: dict[str, Any], k: int) -> dict[str, Candidates]:
        """Return each member's candidates, and the fused ones."""
        found = self._propose(queries, k)
        return {**{name: f.first(k) for name, f in found.items()}, self.config.type: self._fuse(queries, found, k)}

    def _propose(self, queries: dict[str, Any], k: int) -> dict[str, Candidates]:
        depth = max(k, self.config.depth)
        return {name: member.nearest(queries[name], depth) for name, member in self.members.items()}

    def _fuse(self, queries: dict[str, Any], found: dict[str, Candidates], k: int) -> Candidates:
        union = _union([f.concepts for f in found.values()])
        scores, names, members = self._scores(queries, union, found)
        out, columns = top_k(union, scores, names, k)
        rows = np.arange(len(union))[:, None]
        for name, member in members.items():
            out.members[name] = MemberScores(
                np.where(columns >= 0, member.scores[rows, columns], np.nan).astype(np.float32),
                np.where(columns >= 0, member.ranks[rows, columns], 0).astype(np.int32),
            )
        return out

    def rate(self, queries: dict[str, Any], concepts: Rows) -> tuple[Scores, Rows]:
        concepts = concepts if self._allowed is None else self._allowed.only(concepts)
        found = self._propose(queries, concepts.shape[1])
        scores, names, _ = self._scores(queries, concepts, found)
        scores = np.where((concepts >= 0) & np.isneginf(scores), 0, scores)  # `max`, and no member proposed it
        return np.round(scores, DECIMALS).astype(np.float32), names

    def _scores(
        self, queries: dict[str, Any], concepts: Rows, found: dict[str, Candidates]
    ) -> tuple[Scores, Rows, dict[str, MemberScores]]:
        """Return the fused scores of given concepts, the names of the member that gave most, and each member's part."""
        fused = np.full(concepts.shape, -np.inf if self.config.method == "max" else 0.0)
        most = np.full(concepts.shape, -np.inf)
        winners = np.full(concepts.shape, -1, np.int32)
        members = {}
        for name, member in self.members.items():
            scores, names, ranks = _known(concepts, found[name])
            missing = np.where(ranks == 0, concepts, -1)
            if (missing >= 0).any():
                more, more_names = member.rate(queries[name], missing)
                scores, names = np.where(ranks == 0, more, scores), np.where(ranks == 0, more_names, names)
            members[name] = MemberScores(np.where(concepts >= 0, scores, np.nan).astype(np.float32), ranks)
            part = self._part(name, np.where(concepts >= 0, scores, 0.0), ranks)
            fused = np.maximum(fused, part) if self.config.method == "max" else fused + part
            better = (part > most) & (names >= 0)
            most, winners = np.where(better, part, most), np.where(better, names, winners)
        return np.where(concepts >= 0, fused, -np.inf).astype(np.float32), winners, members

    def _part(self, name: str, scores: Scores, ranks: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        """Return what a member adds to the fused score."""
        weight = self.config.weights.get(name, 1.0)
        if self.config.method == "sum":
            total = sum(self.config.weights.get(member, 1.0) for member in self.members)
            return np.asarray(scores.astype(np.float64) * (weight / total))
        if self.config.method == "rrf":
            return np.where(ranks > 0, weight / (self.config.rrf_constant + ranks), 0.0)
        return np.where(ranks > 0, weight * scores.astype(np.float64), -np.inf)


def _union(parts: Sequence[Rows]) -> Rows:
    """Return the distinct concepts of each mention, shape (mentions, m), ascending, padded with -1."""
    every = np.sort(np.concatenate(parts, axis=1), axis=1)
    repeated = np.zeros(every.shape, bool)
    repeated[:, 1:] = every[:, 1:] == every[:, :-1]
    every = np.where(repeated, -1, every)
    # padding to the right, then cut to the widest
    order = np.argsort(every < 0, axis=1, kind="stable")
    width = max(1, int((every >= 0).sum(axis=1).max(initial=0)))  # a column of padding where nobody proposes anything
    return np.take_along_axis(every, order, axis=1)[:, :width]


def _known(concepts: Rows, found: Candidates) -> tuple[Scores, Rows, Rows]:
    """Look given concepts up in a member's candidates: scores, names and ranks (0: not proposed), (mentions, m)."""
    n, width = found.concepts.shape
    order = np.argsort(found.concepts, axis=1, kind="stable")
    # one sorted array of keys for the whole batch: mention * span + concept
    span = np.int64(max(int(found.concepts.max(initial=0)), int(concepts.max(initial=0))) + 2)
    base = np.arange(n, dtype=np.int64)[:, None] * span
    keys = (np.take_along_axis(found.concepts, order, axis=1) + 1 + base).ravel()
    at = np.minimum(np.searchsorted(keys, (concepts + 1 + base).ravel()), len(keys) - 1).reshape(concepts.shape)
    hit = (keys[at] == concepts + 1 + base) & (concepts >= 0)
    column = order.ravel()[at]
    rows = np.minimum(at // max(width, 1), n - 1)
    scores = np.where(hit, found.scores[rows, column], 0).astype(np.float32)
    names = np.where(hit, found.names[rows, column], -1).astype(np.int32)
    return scores, names, np.where(hit, column + 1, 0).astype(np.int32)
