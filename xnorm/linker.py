"""The linker: a terminology, a generator of candidates and a decision; built, saved, loaded, asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import Field

from xnorm.artifact import open_folder, write_folder
from xnorm.bundle import pack_reranker, reranker_settings
from xnorm.candidates.base import CandidateGenerator, Candidates
from xnorm.config import CandidatesSpec, RerankerSpec, StrictModel, find_config, read_yaml, validate
from xnorm.errors import ArtifactError, ConfigError
from xnorm.filters import QueryFilters
from xnorm.lookup import Ask, Lookup, resolve_all
from xnorm.progress import Progress, no_progress
from xnorm.registry import find_component
from xnorm.reranking.base import Reranker
from xnorm.restriction import Restriction, Restrictions
from xnorm.sources import Report, TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.text import clean
from xnorm.types import Candidate, Mention, Ranking
from xnorm.views import Maker, views

__all__ = ["KIND", "DecisionConfig", "LinkCounts", "Linker", "LinkerConfig", "check_top_k"]

KIND = "index"
BATCH = 1024
"""Mentions linked at a time."""


class DecisionConfig(StrictModel):
    """When a candidate is good enough."""

    threshold: float | None = Field(default=None, allow_inf_nan=False)
    """Candidates with a lower score are dropped; a mention left without any is NIL. Default: keep all."""


class LinkerConfig(StrictModel):
    """A config file of `xnorm index` and `xnorm link`."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    """Name of the index; the default output is `index/<name>`."""
    terminology: TerminologyConfig
    """Where the concepts come from."""
    candidates: CandidatesSpec
    """Who proposes concepts."""
    filters: QueryFilters | None = None
    """What may be proposed; default: everything."""
    filters_by_type: dict[str, QueryFilters] = Field(default_factory=dict)
    """By a mention's type, what may be proposed for it, besides `filters`. A mention with several of these types may be
    what one of them allows; one with none of them is left to `filters`."""
    reranker: RerankerSpec | None = None
    """Who orders them anew; default: nobody."""
    decision: DecisionConfig = DecisionConfig()
    """When a candidate is good enough."""
    max_chars: int = Field(default=1000, ge=1)
    """Longer mentions are cut to this many characters, and counted."""

    @property
    def all_filters(self) -> list[QueryFilters]:
        """What may be proposed, for any mention and by type."""
        return [*([] if self.filters is None else [self.filters]), *self.filters_by_type.values()]

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> LinkerConfig:
        """Read a YAML file.

        A name without a folder that is no file, such as `hpo`, is one of the configs that come with xnorm.

        Raises:
            ConfigError: with the file, the key, what was found and what was expected.
        """
        path = find_config(path)
        return validate(cls, read_yaml(path, overrides), where=str(path))


@dataclass(slots=True)
class LinkCounts:
    """What happened to the mentions that were linked."""

    mentions: int = 0
    empty: int = 0
    """Nothing left but white space and control characters: an empty ranking."""
    cut: int = 0
    """Longer than `max_chars`: only the beginning was used."""
    nil: int = 0
    """Mentions without any candidate, the empty ones included."""


class Linker:
    """Links mentions to the concepts of one terminology."""

    def __init__(
        self,
        config: LinkerConfig,
        terminology: Terminology,
        generator: CandidateGenerator,
        report: Report | Mapping[str, Any],
    ) -> None:
        self.config = config
        self.terminology = terminology
        self.generator = generator
        self._lookup = Lookup(generator, terminology, config.filters, config.filters_by_type)
        self.report = report.as_dict() if isinstance(report, Report) else dict(report)
        self.reranker: Reranker | None = None
        if config.reranker is not None:
            self.reranker = find_component("reranking", config.reranker.type).load(config.reranker, terminology)

    @classmethod
    def build(
        cls, config: LinkerConfig | Mapping[str, Any] | str | Path, *, progress: Progress = no_progress
    ) -> Linker:
        """Read the terminology and index its names.

        Args:
            config: a config, its plain data, or a YAML file.

        Raises:
            ConfigError, DataError, MissingExtraError: see `xnorm.errors`.
        """
        if isinstance(config, str | Path):
            config = LinkerConfig.read(config)
        elif not isinstance(config, LinkerConfig):
            config = validate(LinkerConfig, config, where="config")
        progress("reading the terminology", 0, 1)
        terminology, report = read_terminology(config.terminology)
        progress("reading the terminology", 1, 1)
        resolve_all(Restrictions(terminology), config.filters, config.filters_by_type)  # before long work is in vain
        component = find_component("candidates", config.candidates.type)
        return cls(config, terminology, component.build(config.candidates, terminology, progress=progress), report)

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the index folder, whole or not at all, with a copy of the reranker's model folder if it has one.

        Raises:
            ArtifactError: something stands there that may not be replaced, or the disk refuses; or that model folder is
                not there any more.
        """
        about: dict[str, Any] = {
            "xnorm_version": version("xnorm"),
            "name": self.config.name,
            "config": self.config.model_dump(mode="json"),
            "fingerprint": self.terminology.fingerprint,
            "concepts": len(self.terminology),
            "names": self.terminology.n_names,
        }
        with write_folder(Path(path), kind=KIND, overwrite=overwrite, about=about) as folder:
            for part in ("terminology", "candidates"):
                (folder / part).mkdir()
            self.terminology.save(folder / "terminology")
            self.generator.save(folder / "candidates")
            report = json.dumps(self.report, indent=2, ensure_ascii=False) + "\n"
            (folder / "terminology" / "report.json").write_text(report, encoding="utf-8")
            settings = yaml.safe_dump(about["config"], allow_unicode=True, sort_keys=False)
            (folder / "config.yaml").write_text(settings, encoding="utf-8")
            about["reranker"] = pack_reranker(self.config.reranker, folder)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        verify: bool | None = None,
        overrides: Mapping[str, Any] | None = None,
        trust: bool = False,
    ) -> Linker:
        """Open a folder that `save` or `xnorm index` wrote, with the reranker that lies in it unless told otherwise.

        Args:
            verify: True checks every byte against the manifest, False only sizes; None (default) checks every byte of
                files up to 256 MB.
            overrides: keys of the config to replace, such as `{"decision": {"threshold": 0.5}}`; `{"reranker": None}`
                opens it without its reranker.
            trust: import the modules of components `module:Class` that the index names; else they are refused unless
                this process has imported them already.

        Raises:
            ArtifactError: missing, damaged, of another format version, or made with another encoder.
        """
        path = Path(path)
        manifest = open_folder(path, kind=KIND, verify=verify)
        if not trust:
            _refuse_foreign_code(manifest["config"], path)
        given = dict(overrides or {})
        if "reranker" not in given:
            given["reranker"] = reranker_settings(path, manifest, verify=bool(verify))
        config = validate(LinkerConfig, {**manifest["config"], **given}, where=f"{path}/manifest.json")
        terminology = Terminology.open(path / "terminology")
        if (len(terminology), terminology.n_names) != (manifest["concepts"], manifest["names"]):
            raise ArtifactError(f"{path}: its terminology does not fit its manifest; build it again")
        component = find_component("candidates", config.candidates.type)
        generator = component.load(config.candidates, terminology, path / "candidates")
        report = json.loads((path / "terminology" / "report.json").read_text(encoding="utf-8"))
        return cls(config, terminology, generator, report)

    def link(
        self,
        mentions: Sequence[str | Mention],
        *,
        top_k: int = 64,
        lang: str | None = None,
        filters: QueryFilters | Mapping[str, Any] | None = None,
        counts: LinkCounts | None = None,
    ) -> list[Ranking]:
        """Return one ranking for each mention, in their order.

        Args:
            mentions: strings, or `Mention` objects.
            top_k: the most candidates a ranking has; more than the terminology has concepts is all of them.
            lang: language of mentions that name none.
            filters: what may be proposed, besides what the config says of it: `{"types": ["T047"], "langs": ["de"]}`.
            counts: added to, if given.

        Raises:
            ConfigError: `top_k` is below 1, or the filters name what the terminology has not.
            DataError: the filters' value set cannot be read.
        """
        return list(self.stream(mentions, top_k=top_k, lang=lang, filters=filters, counts=counts))

    def stream(
        self,
        mentions: Iterable[str | Mention],
        *,
        top_k: int = 64,
        lang: str | None = None,
        filters: QueryFilters | Mapping[str, Any] | None = None,
        counts: LinkCounts | None = None,
    ) -> Iterator[Ranking]:
        """Yield rankings one by one while reading mentions in batches of 1,024; otherwise as `link`."""
        for batch, candidates in self.batches(mentions, top_k=top_k, lang=lang, filters=filters, counts=counts):
            sizes = candidates.sizes().tolist()
            for row, (mention, size) in enumerate(zip(batch, sizes, strict=True)):
                yield Ranking(mention, size, Maker(self.terminology, candidates, row))

    def batches(
        self,
        mentions: Iterable[str | Mention],
        *,
        top_k: int = 64,
        lang: str | None = None,
        filters: QueryFilters | Mapping[str, Any] | None = None,
        counts: LinkCounts | None = None,
    ) -> Iterator[tuple[list[Mention], Candidates]]:
        """Yield mentions with their candidates as arrays, 1,024 at a time; otherwise as `link`."""
        check_top_k(top_k)
        if isinstance(mentions, str):
            raise ConfigError("mentions: expected a list of strings or Mention objects, found one string")
        more = self._lookup.resolve(filters)
        source = (_as_mention(m, lang) for m in mentions)
        while batch := list(islice(source, BATCH)):
            yield batch, _last(self._look_up(batch, top_k, counts, _nearest, more))

    def candidates(
        self,
        mentions: Sequence[Mention],
        k: int,
        *,
        filters: QueryFilters | Mapping[str, Any] | None = None,
        counts: LinkCounts | None = None,
    ) -> Candidates:
        """Return the candidates of mentions as arrays of shape (mentions, k).

        Generators see a mention's text and language; mentions that are equal in both, and for which the same filters
        hold, are looked up once. A reranker sees its context and types, too.

        Raises:
            ConfigError, DataError: as `link`.
        """
        return _last(self._look_up(mentions, k, counts, _nearest, self._lookup.resolve(filters)))

    def stages(
        self,
        mentions: Sequence[Mention],
        k: int,
        *,
        filters: QueryFilters | Mapping[str, Any] | None = None,
        counts: LinkCounts | None = None,
    ) -> dict[str, Candidates]:
        """Return the candidates after each step, the last of which is what `candidates` returns.

        The steps are an ensemble's members by their names, the generator by its type, and `reranker` and `threshold` if
        there are such.
        """
        return self._look_up(mentions, k, counts, _stages, self._lookup.resolve(filters))

    def _look_up(
        self,
        mentions: Sequence[Mention],
        k: int,
        counts: LinkCounts | None,
        ask: Ask,
        more: frozenset[Restriction],
    ) -> dict[str, Candidates]:
        check_top_k(k)
        k = min(k, len(self.terminology))
        texts = [clean(m.text) for m in mentions]
        short = [t[: self.config.max_chars] for t in texts]
        # what a reranker looks at does not depend on how many candidates are wanted of it
        depth = k if self.reranker is None else min(max(k, self.reranker.top), len(self.terminology))
        steps = self._lookup(mentions, short, depth, ask, more)
        last = _last(steps)
        if self.reranker is not None:
            shown = [replace(m, text=t) for m, t in zip(mentions, short, strict=True)]
            steps["reranker"] = self.reranker.rerank(shown, last)
            steps = {name: step.first(k) for name, step in steps.items()}
            last = steps["reranker"]
        if self.config.decision.threshold is not None:
            last = steps["threshold"] = _above(last, self.config.decision.threshold)
        if counts is not None:
            counts.mentions += len(mentions)
            counts.empty += short.count("")
            counts.cut += sum(len(t) > self.config.max_chars for t in texts)
            counts.nil += int((last.sizes() == 0).sum())
        return steps

    def views(self, candidates: Candidates, rows: slice = slice(None)) -> list[list[Candidate]]:
        """Return the candidates of some mentions (default: all) as objects."""
        return views(self.terminology, candidates, rows)


def _refuse_foreign_code(settings: Any, path: Path) -> None:
    """Refuse an index that would have us import a module which nobody here has named."""
    parts = list(settings.values()) if isinstance(settings, dict) else settings if isinstance(settings, list) else []
    for part in parts:
        _refuse_foreign_code(part, path)
    kind = settings.get("type") if isinstance(settings, dict) else None
    if isinstance(kind, str) and ":" in kind and kind.partition(":")[0] not in sys.modules:
        raise ArtifactError(f"{path}: asks for the code of '{kind}' to be run; pass --trust if you trust its maker")


def check_top_k(k: int) -> None:
    """Refuse a number of candidates that makes no sense.

    Raises:
        ConfigError: it is no whole number, or below 1.
    """
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise ConfigError(f"top_k: expected 1 or more, found {k}")


def _as_mention(mention: str | Mention, lang: str | None) -> Mention:
    if isinstance(mention, str):
        return Mention(mention, lang=lang)
    if not isinstance(mention, Mention):
        raise ConfigError(f"mentions: expected strings or Mention objects, found {type(mention).__name__}")
    return mention if mention.lang or lang is None else replace(mention, lang=lang)


def _above(found: Candidates, threshold: float) -> Candidates:
    """Drop candidates below a score. They are ordered by score, so what stays is on the left."""
    out = found.take(np.arange(len(found)))
    low = out.scores < threshold
    out.concepts[low], out.names[low], out.scores[low] = -1, -1, -np.inf
    return out


def _nearest(generator: CandidateGenerator, queries: Any, k: int) -> dict[str, Candidates]:
    return {"": generator.nearest(queries, k)}


def _stages(generator: CandidateGenerator, queries: Any, k: int) -> dict[str, Candidates]:
    return generator.stages(queries, k)


def _last(steps: dict[str, Candidates]) -> Candidates:
    return steps[next(reversed(steps))]
