"""Several generators, one ranking."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.candidates._fitting import fit_on_names
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
from xnorm.errors import ArtifactError, XnormWarning
from xnorm.fusion import Floats, FusionConfig, FusionModel, features, groups_of
from xnorm.progress import Progress, no_progress
from xnorm.registry import did_you_mean, find_component
from xnorm.tables import Terminology
from xnorm.text import lang_of
from xnorm.types import Mention

__all__ = ["EnsembleConfig", "EnsembleGenerator", "Queries", "Said"]

FUSION = "fusion.json"


class EnsembleConfig(GeneratorConfig):
    """Settings of the ensemble."""

    at_query: ClassVar[frozenset[str]] = frozenset(
        {"method", "weights", "depth", "rrf_constant", "fusion", "unknown_languages"}
    )

    type: str = "ensemble"
    members: dict[str, CandidatesSpec]
    """Generators by a name of your choice."""
    method: Literal["sum", "rrf", "max", "learned"] = "sum"
    """How members are fused: `sum`, weighted sum of scores, divided by the sum of the weights; `rrf`, weighted
    reciprocal ranks; `max`, the highest weighted score among the members that proposed the concept (xMEN's way);
    `learned`, as `fusion` says."""
    fusion: FusionConfig | None = None
    """`learned` only: where its weights come from."""
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Weight of a member, by its name; above 0, default 1."""
    depth: int = Field(default=100, ge=1)
    """Concepts taken from each member before fusion; at least the number asked for."""
    rrf_constant: float = Field(default=60.0, ge=0)
    """`rrf` only: the constant c of weight / (c + rank). Source: Cormack et al. 2009, who use 60."""
    unknown_languages: Literal["drop", "keep"] = "drop"
    """What becomes of a member whose encoder does not know a mention's language: `drop`, it counts for nothing, if
    another member's encoder knows it; `keep`, it counts as ever. The language is the mention's own, else what its
    letters tell."""

    @model_validator(mode="after")
    def _check_members(self) -> EnsembleConfig:
        if not self.members:
            raise ValueError("members: expected at least one")
        if self.method == "learned" and self.fusion is None:
            raise ValueError("method: learned needs fusion: {fit: true} or fusion: {path: FILE}")
        for name in self.weights:
            if name not in self.members:
                raise ValueError(f"weights: unknown member '{name}'; {did_you_mean(name, self.members)}")
        for name in self.members:
            if name == "ensemble":
                raise ValueError("members: 'ensemble' is what the whole is called; choose another name")
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"members: '{name}' is also a folder name: letters, digits, - and _ only")
        return self


@dataclass(slots=True)
class Queries:
    """Mentions as an ensemble compares them."""

    members: dict[str, Any]
    """What each member makes of them."""
    used: npt.NDArray[np.bool_]
    """Shape (mentions, members): which count for a mention."""
    groups: list[tuple[str, ...]]
    """Shape (mentions,): script and language, for learned weights."""


@dataclass(slots=True)
class Said:
    """What one member says of given concepts; all of shape (mentions, m)."""

    scores: Floats
    """0 for padding."""
    names: Rows
    ranks: Rows
    """From 1; 0 where it did not propose the concept."""
    used: npt.NDArray[np.bool_]
    """Shape (mentions,): whether it counts."""


class EnsembleGenerator(CandidateGenerator):
    """Takes the union of its members' best concepts, and has every member score all of them, so that a concept that
    one member ranks low is not taken for one that it scores zero."""

    config_class: ClassVar[type[GeneratorConfig]] = EnsembleConfig
    config: EnsembleConfig

    def __init__(
        self, config: EnsembleConfig, members: dict[str, CandidateGenerator], fusion: FusionModel | None = None
    ) -> None:
        self.config = config
        self.members = members
        self.fusion = fusion
        """Weights of `method: learned`."""

    @classmethod
    def build(
        cls, config: GeneratorConfig, terminology: Terminology, *, progress: Progress = no_progress
    ) -> EnsembleGenerator:
        assert isinstance(config, EnsembleConfig)
        settings = config.fusion
        read = None if settings is None or settings.path is None else FusionModel.read(settings.path)
        members = {
            name: find_component("candidates", member.type).build(member, terminology, progress=progress)
            for name, member in config.members.items()
        }
        made = cls(config, members)
        if read is not None and settings is not None:
            made._take(read, str(settings.path))
        elif settings is not None:
            made.fusion = fit_on_names(made, terminology, settings, progress=progress)
        return made

    def save(self, folder: Path) -> None:
        for name, member in self.members.items():
            (folder / name).mkdir()
            member.save(folder / name)
        if self.fusion is not None:
            self.fusion.write(folder / FUSION)

    @classmethod
    def load(cls, config: GeneratorConfig, terminology: Terminology, folder: Path) -> EnsembleGenerator:
        assert isinstance(config, EnsembleConfig)
        members = {
            name: find_component("candidates", member.type).load(member, terminology, folder / name)
            for name, member in config.members.items()
        }
        made = cls(config, members)
        if config.fusion is not None:
            # the file itself if it is still there, for it may have been fitted anew; else what was kept of it
            path = config.fusion.path
            path = folder / FUSION if path is None or not path.exists() else path
            if not path.exists() and config.fusion.fit:
                raise ArtifactError(
                    f"{folder}: was built without a fusion; build it again with `xnorm index --overwrite`"
                )
            made._take(FusionModel.read(path), str(path))
            made._warn_of_other_settings(config.fusion, folder)
        return made

    def _take(self, fusion: FusionModel, where: str) -> None:
        problem = fusion.check({name: member.kind for name, member in self.members.items()}, where)
        if problem is not None:
            warnings.warn(problem, XnormWarning, stacklevel=2)
        self.fusion = fusion

    def _warn_of_other_settings(self, settings: FusionConfig, folder: Path) -> None:
        """Say if the weights in an index were fitted with other settings than the config has now."""
        only = settings.only_concepts
        if not settings.fit or self.fusion is None or (only and only.path is not None and not only.path.is_file()):
            return  # a file, or an index that is used elsewhere
        if self.fusion.fitted.get("settings") not in (None, settings.about()):
            problem = f"fusion: {folder} was fitted with other settings; `xnorm index --overwrite` fits it again"
            warnings.warn(problem, XnormWarning, stacklevel=3)

    def knows(self, lang: str) -> bool | None:
        found = [member.knows(lang) for member in self.members.values()]
        return True if True in found else False if False in found else None

    def represent(self, mentions: Sequence[Mention]) -> Queries:
        members = {name: member.represent(mentions) for name, member in self.members.items()}
        langs = [lang_of(m.text, m.lang) for m in mentions]
        used = {lang: self._used(lang) for lang in set(langs)}
        groups = [groups_of(m.text, lang) for m, lang in zip(mentions, langs, strict=True)]
        return Queries(members, np.array([used[lang] for lang in langs], bool).reshape(len(langs), -1), groups)

    def _used(self, lang: str | None) -> list[bool]:
        """Return which members count for mentions in a language."""
        every = [True] * len(self.members)
        if lang is None or self.config.unknown_languages == "keep":
            return every
        known = [member.knows(lang) for member in self.members.values()]
        return [k is not False for k in known] if True in known else every

    def nearest(self, queries: Queries, k: int) -> Candidates:
        return self._fuse(queries, self.propose(queries, k), k)

    def restrict(self, allowed: Allowed) -> EnsembleGenerator:
        part = copy(self)
        part._allowed, part.members = allowed, {name: m.restrict(allowed) for name, m in self.members.items()}
        return part

    def stages(self, queries: Queries, k: int) -> dict[str, Candidates]:
        """Return each member's candidates, and the fused ones."""
        found = self.propose(queries, k)
        return {**{name: f.first(k) for name, f in found.items()}, self.config.type: self._fuse(queries, found, k)}

    def propose(self, queries: Queries, k: int) -> dict[str, Candidates]:
        """Return the candidates of each member, whether it counts or not."""
        # learned weights are of ranks up to their own depth, which are to be told however few concepts are asked for
        learned = self.fusion.depth if self.config.method == "learned" and self.fusion is not None else 1
        depth = max(k, self.config.depth, learned)
        return {name: member.nearest(queries.members[name], depth) for name, member in self.members.items()}

    def _fuse(self, queries: Queries, found: dict[str, Candidates], k: int) -> Candidates:
        concepts = self.union(queries, found)
        said = self.ask(queries, concepts, found)
        scores, names = self.fuse(queries, concepts, said)
        out, columns = top_k(concepts, scores, names, k)
        rows = np.arange(len(concepts))[:, None]
        for name, own in said.items():
            out.members[name] = MemberScores(
                np.where(columns >= 0, own.scores[rows, columns], np.nan).astype(np.float32),
                np.where(columns >= 0, own.ranks[rows, columns], 0).astype(np.int32),
            )
        return out

    def rate(self, queries: Queries, concepts: Rows) -> tuple[Scores, Rows]:
        concepts = concepts if self._allowed is None else self._allowed.only(concepts)
        said = self.ask(queries, concepts, self.propose(queries, concepts.shape[1]))
        scores, names = self.fuse(queries, concepts, said)
        scores = np.where((concepts >= 0) & np.isneginf(scores), 0, scores)  # `max`, and no member proposed it
        return np.round(scores, DECIMALS).astype(np.float32), names

    def union(self, queries: Queries, found: Mapping[str, Candidates]) -> Rows:
        """Return the concepts that members which count propose, shape (mentions, m), ascending, padded with -1."""
        kept = zip(found.values(), queries.used.T, strict=True)
        return _union([np.where(used[:, None], f.concepts, np.int32(-1)) for f, used in kept])

    def ask(self, queries: Queries, concepts: Rows, found: Mapping[str, Candidates]) -> dict[str, Said]:
        """Return what each member says of given concepts, proposed by it or not.

        Args:
            concepts: shape (mentions, m), concept rows; -1 for padding.
            found: from `propose`.
        """
        said = {}
        for at, (name, member) in enumerate(self.members.items()):
            used = queries.used[:, at]
            scores, names, ranks = _known(concepts, found[name])
            missing = np.where(ranks == 0, concepts, -1)
            if (missing >= 0).any():
                more, more_names = member.rate(queries.members[name], missing)
                scores, names = np.where(ranks == 0, more, scores), np.where(ranks == 0, more_names, names)
            ranks = np.where(used[:, None], ranks, 0).astype(np.int32)
            said[name] = Said(np.where(concepts >= 0, scores, 0).astype(np.float64), names, ranks, used)
        return said

    def fuse(
        self, queries: Queries, concepts: Rows, said: Mapping[str, Said], method: str | None = None
    ) -> tuple[Scores, Rows]:
        """Return the fused scores of given concepts, and the names of the member that gave most.

        Args:
            concepts: shape (mentions, m), concept rows; -1 for padding.
            said: from `ask`.
            method: default: that of the config.
        """
        method = method or self.config.method
        parts = self._parts(queries, said, method)
        most = np.full(concepts.shape, -np.inf)
        winners = np.full(concepts.shape, -1, np.int32)
        fused = np.full(concepts.shape, -np.inf if method == "max" else 0.0)
        for name, part in parts.items():
            fused = np.maximum(fused, part) if method == "max" else fused + part
            better = (part > most) & (said[name].names >= 0) & said[name].used[:, None]
            most, winners = np.where(better, part, most), np.where(better, said[name].names, winners)
        if method == "learned" and self.fusion is not None:
            fused = self.fusion.shown(fused)
        return np.where(concepts >= 0, fused, -np.inf).astype(np.float32), winners

    def _parts(self, queries: Queries, said: Mapping[str, Said], method: str) -> dict[str, Floats]:
        """Return what each member adds to the fused score, shape (mentions, m)."""
        if method == "learned" and self.fusion is not None:
            depth, order = self.fusion.depth, list(self.fusion.members)
            x = {name: features(own.scores, own.ranks, depth) for name, own in said.items()}
            used = queries.used[:, [list(said).index(name) for name in order]]
            return self.fusion.parts(x, queries.groups, used)
        weights = {name: self.config.weights.get(name, 1.0) for name in said}
        if method == "sum":
            # as a Python sum adds them, so that the same members make the same sum whatever is dropped elsewhere
            total = sum(weights[name] * own.used for name, own in said.items())
            return {name: own.scores * (weights[name] * own.used / total)[:, None] for name, own in said.items()}
        if method == "rrf":
            constant = self.config.rrf_constant
            return {n: np.where(own.ranks > 0, weights[n] / (constant + own.ranks), 0.0) for n, own in said.items()}
        return {n: np.where(own.ranks > 0, weights[n] * own.scores, -np.inf) for n, own in said.items()}


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
