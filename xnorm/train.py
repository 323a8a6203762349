"""Training from a config: corpus, candidates, trainer, model folder. What `xnorm train` does."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.artifact import check_writable, sha256_text, write_folder
from xnorm.candidates.base import Candidates
from xnorm.config import StrictModel, TrainerSpec, find_config, read_with_linker, validate
from xnorm.corpus import Corpus, CorpusConfig, check_gold, clean_up, missing_files, read_corpus, refuse_missing
from xnorm.errors import ConfigError, DataError
from xnorm.evaluation import gold_numbers
from xnorm.filters import checksums
from xnorm.linker import BATCH, Linker, LinkerConfig
from xnorm.linking import find_or_build, missing_sources
from xnorm.progress import Progress, Say, no_progress
from xnorm.ranking import judge
from xnorm.registry import find_component
from xnorm.reranking.cross_encoder import KIND
from xnorm.training.base import Examples, MentionTrainer
from xnorm.types import Mention

__all__ = ["KIND", "TrainConfig", "refuse_several_processes", "run_training"]


class TrainConfig(StrictModel):
    """A config file of `xnorm train`."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    """Name of the model; the default output is `models/<name>`."""
    about: str | None = None
    """What it is trained on, under which licence."""
    linker: LinkerConfig
    """Whose candidates are to be ordered: a config of `xnorm index` as `path`, or its keys."""
    corpus: CorpusConfig
    """Annotated mentions; parts that `validation` does not name are trained on."""
    validation: list[str] | float = 0.1
    """Parts that the model is chosen by; or the share of documents that are drawn for it, of those parts that people
    annotated and that have no weight below 1, if there are any."""
    top_k: int = Field(default=64, ge=2, le=10_000)
    """Candidates of a mention."""
    trainer: TrainerSpec
    """What is trained, and how."""

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
        """Read a YAML file.

        Raises:
            ConfigError: with the file, the key, what was found and what was expected.
        """
        path = find_config(path, folder="training")
        return validate(cls, read_with_linker(path, overrides), where=str(path))

    @model_validator(mode="after")
    def _check_validation(self) -> TrainConfig:
        if isinstance(self.validation, float) and not 0 < self.validation < 1:
            raise ValueError(f"validation: expected names of parts or a share between 0 and 1, found {self.validation}")
        for part in self.validation if isinstance(self.validation, list) else ():
            if part not in self.corpus.parts:
                raise ValueError(f"validation: there is no part '{part}'; the parts are {', '.join(self.corpus.parts)}")
        if isinstance(self.validation, list) and set(self.validation) >= set(self.corpus.parts):
            raise ValueError("validation: names all parts; at least one must be left to train on")
        return self


def run_training(
    config: TrainConfig,
    output: Path,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Train, write the model folder, return what its manifest says. A killed run goes on from its last checkpoint.

    Raises:
        XnormError: files are missing, there is nothing to learn from, or what reading and linking raise.
    """
    refuse_several_processes()
    trainer = find_component("training", config.trainer.type)(config.trainer)
    if not isinstance(trainer, MentionTrainer):
        raise ConfigError(f"trainer: '{config.trainer.type}' trains no reranker; see xnorm.train_encoder for encoders")
    trainer.check()
    check_writable(output, kind=KIND, overwrite=overwrite)
    refuse_missing(config.name, missing_files(config.corpus) + missing_sources(config.linker.terminology))
    raw = read_corpus(config.corpus)
    # another reranker has no part in what is trained on, and may be the one to be trained
    linker = find_or_build(config.linker.model_copy(update={"reranker": None}), progress=progress, say=say)
    corpus = clean_up(raw, config.corpus.cleanup, linker.terminology)
    check_gold(corpus.mentions, linker.terminology)
    parts = _split(corpus, config, say)
    shared = _shared_texts(corpus, *parts, say)
    training, validation = (
        _examples(linker, mentions, config.top_k, progress, what)
        for what, mentions in zip(("linking", "linking the validation"), parts, strict=True)
    )
    training = replace(training, weights=_weights(corpus, config, training.mentions))
    plain = config.model_dump(mode="json")
    known = [plain, linker.terminology.fingerprint, corpus.about["parts"], version("xnorm"), trainer.checksum()]
    known += [config.corpus.strong]
    known += checksums(config.linker.all_filters)
    work = output.parent / f".{output.name}.work-{sha256_text(json.dumps(known, sort_keys=True))[:12]}"
    about: dict[str, Any] = {
        "xnorm_version": version("xnorm"),
        "name": config.name,
        "about": config.about,
        "config": plain,
        "terminology": linker.terminology.fingerprint,
        "corpus": {key: corpus.about[key] for key in ("parts", "expected")},
        "weights": {part: config.corpus.weights.get(part, 1.0) for part in corpus.parts},
        "cleanup": [report.as_dict() for report in corpus.cleanup],
        "shared_texts": shared,
    }
    with write_folder(output, kind=KIND, overwrite=overwrite, about=about) as folder:
        about |= trainer.train(
            training, validation, linker.terminology, work=work, folder=folder, progress=progress, say=say
        )
    trainer.forget(work)
    return about


def refuse_several_processes() -> None:
    """Refuse what torchrun and the like start: each process would train all, and write the same folder."""
    for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if (found := os.environ.get(name, "1")) not in ("", "0", "1"):
            raise ConfigError(
                f"{name} is {found}: a training is one process on one device; start it without torchrun, mpirun or "
                "accelerate launch"
            )


def _split(corpus: Corpus, config: TrainConfig, say: Say = lambda line: None) -> tuple[list[Mention], list[Mention]]:
    """Return the mentions to train on and those to choose by, never of one document."""
    units = corpus.units
    if isinstance(config.validation, list):
        chosen = {unit for part, unit in zip(corpus.part_of, units, strict=True) if part in config.validation}
    else:
        strong = [part for part in config.corpus.strong if corpus.parts[part]] or list(corpus.parts)
        if left := [part for part in corpus.parts if part not in strong]:
            say(f"the validation is drawn of {', '.join(strong)} alone, not of the weak {', '.join(left)}")
        known = sorted({u for part, u in zip(corpus.part_of, units, strict=True) if part in strong})
        draw = random.Random(f"{config.trainer.model_dump().get('seed', 0)}")
        chosen = set(draw.sample(known, max(1, round(len(known) * config.validation))))
    rows = list(zip(corpus.mentions, units, corpus.part_of, strict=True))
    validation = [m for m, u, _ in rows if u in chosen]
    training = [(m, part) for m, u, part in rows if u not in chosen]
    # a translated document has the id of its source
    judged = {m.document for m in validation} - {None}
    weak = set(corpus.parts).difference(config.corpus.strong)
    kept = [m for m, part in training if part not in weak or m.document not in judged]
    if len(kept) < len(training):
        say(f"left out {len(training) - len(kept):,} mentions of weak parts, whose documents the validation has, too")
    return kept, validation


def _weights(corpus: Corpus, config: TrainConfig, mentions: Sequence[Mention]) -> npt.NDArray[np.float32] | None:
    """Return the weight of each mention, that of its part; None if no part has one."""
    if not config.corpus.weights:
        return None
    part = {m.id: part for m, part in zip(corpus.mentions, corpus.part_of, strict=True)}
    return np.array([config.corpus.weights.get(part[m.id], 1.0) for m in mentions], np.float32)


def _shared_texts(
    corpus: Corpus, training: list[Mention], validation: list[Mention], say: Say = lambda line: None
) -> int:
    """Return how many texts are on both sides; one that is in no document is the mention with its context."""
    digest = {m.id: corpus.digests.get(unit) for m, unit in zip(corpus.mentions, corpus.units, strict=True)}
    texts = [{digest[m.id] for m in own} - {None} for own in (training, validation)]
    alone = [{(m.left, m.text, m.right) for m in own if m.document is None} for own in (training, validation)]
    if in_documents := len(texts[0] & texts[1]):
        say(f"{in_documents:,} texts of the validation are trained on, too; its accuracy will be too high")
    if in_lists := len(alone[0] & alone[1]):
        say(f"{in_lists:,} mentions of the validation are trained on, too, with their context; its accuracy will be "
            "too high")  # fmt: skip
    return in_documents + in_lists


def _examples(linker: Linker, mentions: list[Mention], top_k: int, progress: Progress, what: str) -> Examples:
    """Return mentions with their candidates, as the generator ranks them."""
    if not mentions:
        raise DataError("no mention is left to train on, or to choose a model by")
    blocks = []
    for start in range(0, len(mentions), BATCH):
        blocks.append(linker.stages(mentions[start : start + BATCH], top_k)[linker.config.candidates.type])
        progress(what, min(start + BATCH, len(mentions)), len(mentions))
    found = Candidates.stack(blocks)
    gold, _ = gold_numbers(mentions, linker.terminology)
    return Examples(mentions, found, judge(found.concepts, gold, composite=[m.composite for m in mentions]))
