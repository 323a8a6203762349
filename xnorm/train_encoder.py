"""Training an encoder on the names of a terminology, from a config. What `xnorm train` does for such trainers.

Some concepts are held out, the cost is estimated on a few steps, the rest is aligned (`xnorm.sampling`), and the model
folder says what it is worth on the held-out concepts: before and after, with intervals and tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.alignment import AlignedNames, Extra, NamesConfig
from xnorm.artifact import check_writable, open_folder, sha256_text, write_folder
from xnorm.candidates.base import CandidateGenerator
from xnorm.config import ComponentConfig, StrictModel, TrainerSpec, find_config, read_with_linker, validate
from xnorm.corpus import CorpusConfig, check_gold, clean_up, missing_files, read_corpus, refuse_missing
from xnorm.embedding import VectorCache, cache_folder, encode_unique
from xnorm.encoder_card import FEW, model_card
from xnorm.encoders.base import HELD_OUT_IDS, Encoder
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig
from xnorm.errors import ConfigError
from xnorm.held_out import HeldOut, HeldOutConfig, Retrieval, compare_retrieval
from xnorm.linker import LinkerConfig
from xnorm.linking import missing_sources, open_linker, terminology_of
from xnorm.neighbours import first_texts, nearest_by_letters, nearest_concepts
from xnorm.progress import Progress, Say, no_progress
from xnorm.registry import find_component
from xnorm.sampling import BatchSampler, SamplingConfig
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.train import TrainConfig, refuse_several_processes
from xnorm.training.base import EncoderTrainer, Estimate

__all__ = [
    "KIND",
    "EncoderTrainConfig",
    "IndexConfig",
    "estimate_training",
    "in_words",
    "read_training",
    "run_encoder_training",
    "trained_encoder",
]

KIND = "encoder-model"
WEAK = 0.999
"""Weight of a mention that no person annotated, at most: what weighs less than 1 is learnt from, not measured by."""


class IndexConfig(StrictModel):
    """An index, or the config of one."""

    path: str


class EncoderTrainConfig(StrictModel):
    """A config file of `xnorm train` whose trainer makes an encoder."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    """Name of the model; the default output is `models/<name>`."""
    about: str | None = None
    """What it is trained on, under which licences; stands in the model card."""
    terminology: TerminologyConfig | None = None
    """Whose names are aligned."""
    linker: LinkerConfig | None = None
    """In its place: a config of `xnorm index` as `path`, whose terminology is taken."""
    names: NamesConfig = NamesConfig()
    """Which names."""
    corpus: CorpusConfig | None = None
    """Annotated mentions that are texts of their gold concepts, too; all parts are trained on, with a weight where the
    corpus gives one (`weights`)."""
    index: IndexConfig | None = None
    """An index, or its config, whose dense generator's encoder says which concepts are hard to tell apart at the start;
    default: the letters of their names."""
    sampling: SamplingConfig = SamplingConfig()
    """How pairs are drawn."""
    held_out: HeldOutConfig = HeldOutConfig()
    """What the training is measured by."""
    trainer: TrainerSpec
    """What is trained, and how."""

    @model_validator(mode="after")
    def _check_terminology(self) -> EncoderTrainConfig:
        if (self.terminology is None) == (self.linker is None):
            found = "neither" if self.terminology is None else "both"
            raise ValueError(f"expected one of `terminology` and `linker`, found {found}")
        return self

    @property
    def sources(self) -> TerminologyConfig:
        """Where the names come from."""
        found = self.terminology or (self.linker.terminology if self.linker else None)
        assert found is not None
        return found


def read_training(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig | EncoderTrainConfig:
    """Read a config of `xnorm train`; which kind it is depends on its trainer.

    Raises:
        ConfigError: with the file, the key, what was found and what was expected.
    """
    path = find_config(path, folder="training")
    data = read_with_linker(path, overrides)
    trainer = data.get("trainer")
    named = trainer.get("type") if isinstance(trainer, dict) else trainer
    if not isinstance(named, str):
        raise ConfigError(f"{path}: trainer: expected a mapping with a 'type', found {trainer!r}")
    try:
        kind = find_component("training", named)
    except ConfigError as e:
        raise ConfigError(f"{path}: trainer: {e}") from None
    if issubclass(kind, EncoderTrainer):
        return validate(EncoderTrainConfig, data, where=str(path))
    return validate(TrainConfig, data, where=str(path))


@dataclass
class _Plan:
    """Everything that a training needs, before it begins."""

    trainer: EncoderTrainer
    terminology: Terminology
    names: AlignedNames
    held_out: HeldOut
    sampler: BatchSampler
    held_out_ids: list[str]
    about: dict[str, Any]


def estimate_training(
    config: EncoderTrainConfig, *, progress: Progress = no_progress, say: Say = lambda line: None
) -> Estimate:
    """Return what a training would cost, from a few of its steps; writes nothing.

    Raises:
        XnormError: as `run_encoder_training`.
    """
    plan = _plan(config, _trainer(config), progress, say, near=False)
    return plan.trainer.estimate(plan.names, plan.held_out, sampler=plan.sampler)


def run_encoder_training(
    config: EncoderTrainConfig,
    output: Path,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Train, write the model folder, return what its manifest says. A killed run goes on from its last checkpoint.

    The folder is read by `encoder: {type: ..., model: FOLDER}`, as its README.md says.

    Raises:
        XnormError: files are missing, there is nothing to align or to measure by, or the training failed.
    """
    trainer = _trainer(config)
    check_writable(output, kind=KIND, overwrite=overwrite)
    plan = _plan(config, trainer, progress, say)
    about = plan.about
    plain = config.model_dump(mode="json")
    known = [plain, plan.terminology.fingerprint, about["corpus"], version("xnorm"), trainer.checksum()]
    work = output.parent / f".{output.name}.work-{sha256_text(json.dumps(known, sort_keys=True))[:12]}"
    if (n := len(plan.held_out.queries)) < FEW:
        say(f"only {n} names of held-out concepts to measure by: too few to say whether it helps")
    if not work.exists():
        estimate = trainer.estimate(plan.names, plan.held_out, sampler=plan.sampler)
        say(in_words(estimate))
        about["estimate"] = estimate.as_dict()
    before = _measured(plan.held_out, trainer.encode, "before", progress)
    with write_folder(output, kind=KIND, overwrite=overwrite, about=about) as folder:
        about["training"] = trainer.train(
            plan.names, plan.held_out, sampler=plan.sampler, work=work, folder=folder, progress=progress, say=say
        )
        encoder = trainer.open(folder)
        after = _measured(plan.held_out, encoder.encode, "after", progress)
        about["encoder"] = _settings(encoder.config)
        about["held_out"] |= {
            "before": before.as_dict(),
            "after": after.as_dict(),
            "compared": compare_retrieval(before, after),
        }
        (folder / "README.md").write_text(model_card(about, output), encoding="utf-8")
        (folder / HELD_OUT_IDS).write_text("\n".join([*plan.held_out_ids, ""]), encoding="utf-8")
    trainer.forget(work)
    return about


def trained_encoder(folder: Path) -> SentenceTransformerConfig:
    """Return the settings of the transformer that a training wrote.

    Raises:
        ArtifactError: the folder cannot be used.
        ConfigError: the encoder is no transformer.
    """
    found = dict(open_folder(folder, kind=KIND)["encoder"])
    if found["type"] != "sentence_transformer":
        raise ConfigError(f"{folder}: is a {found['type']} encoder, which needs no export; it runs without torch")
    return validate(SentenceTransformerConfig, {**found, "model": str(folder)}, where=str(folder))


def in_words(estimate: Estimate) -> str:
    """Return what a training will cost, on one line."""
    minutes = estimate.seconds / 60
    time = f"{estimate.seconds:.0f} s" if minutes < 1.5 else f"{minutes:.0f} min" if minutes < 90 else (
        f"{minutes / 60:.1f} h"
    )  # fmt: skip
    return (
        f"about {time}, {estimate.bytes / 1e9:.1f} GB of memory at most; {estimate.steps:,} updates of "
        f"{estimate.pairs:,} pairs ({estimate.device}); longer on a busy machine"
    )


def _trainer(config: EncoderTrainConfig) -> EncoderTrainer:
    refuse_several_processes()
    trainer = find_component("training", config.trainer.type)(config.trainer)
    if not isinstance(trainer, EncoderTrainer):
        raise ConfigError(f"trainer: '{config.trainer.type}' trains on mentions, and this config has none to train on")
    trainer.check()
    return trainer


def _plan(
    config: EncoderTrainConfig, trainer: EncoderTrainer, progress: Progress, say: Say, *, near: bool = True
) -> _Plan:
    """Read everything, hold out some of it, and find what is hard to tell apart, which costs no more in a step."""
    terminology = _terminology(config)
    extra, corpus = _mentions(config, terminology, say)
    seed = int(config.trainer.model_dump().get("seed", 0))
    plain = AlignedNames.of(terminology, config.names)
    names, held_out = HeldOut.choose(plain, config.held_out, seed=seed)
    if extra:
        more = AlignedNames.of(terminology, config.names, extra)
        names = held_out.without(more)
        say(f"{len(more) - len(plain):,} texts of {len(extra):,} mentions are no names of their concept, and are added")
    counts = names.counts()
    say(
        f"aligning {counts['names']:,} names of {counts['concepts']:,} concepts, {counts['with_two_names']:,} of which "
        f"have two or more, in {len(names.languages):,} languages; {len(held_out.concepts):,} concepts are held out"
    )
    neighbours = _neighbours(config, names, progress) if near and config.sampling.neighbours else None
    ids = terminology.take("concepts", "id", held_out.concepts)
    about: dict[str, Any] = {
        "xnorm_version": version("xnorm"),
        "name": config.name,
        "about": config.about,
        "config": config.model_dump(mode="json"),
        "terminology": terminology.fingerprint,
        "sources": terminology.count_by("names", "source"),
        "names": counts,
        "corpus": corpus,
        "held_out": {
            "concepts": len(ids),
            "looked_up": len(np.unique(held_out.wanted)),
            "sha256": sha256_text("\n".join(ids)),
            "queries": len(held_out.queries),
            "pool": len(held_out.pool),
        },
    }
    sampler = BatchSampler(names, config.sampling, neighbours=neighbours, seed=seed)
    return _Plan(trainer, terminology, names, held_out, sampler, ids, about)


def _terminology(config: EncoderTrainConfig) -> Terminology:
    """Read the terminology, or open the one of the linker's index where that is up to date."""
    missing = missing_files(config.corpus) if config.corpus is not None else []
    refuse_missing(config.name, missing + missing_sources(config.sources))
    return read_terminology(config.sources)[0] if config.linker is None else terminology_of(config.linker)


def _mentions(
    config: EncoderTrainConfig, terminology: Terminology, say: Say
) -> tuple[list[Extra], dict[str, Any] | None]:
    """Return the mentions of the corpus as further texts, and what was read."""
    if config.corpus is None:
        return [], None
    corpus = clean_up(read_corpus(config.corpus), config.corpus.cleanup, terminology)
    mentions = corpus.mentions
    check_gold(mentions, terminology)
    weights = {part: config.corpus.weights.get(part, 1.0) for part in corpus.parts}
    weights |= {part: min(weights[part], WEAK) for part in set(weights).difference(config.corpus.strong)}
    extra = [
        Extra(m.text, m.gold[0], m.lang or "und", weights[part])
        for m, part in zip(mentions, corpus.part_of, strict=True)
        if len(m.gold) == 1
    ]
    if len(extra) < len(mentions):
        say(f"left out {len(mentions) - len(extra):,} of {len(mentions):,} mentions, which have not one gold concept")
    about = {key: corpus.about[key] for key in ("parts", "expected")}
    return extra, about | {"mentions": len(extra), "cleanup": [report.as_dict() for report in corpus.cleanup]}


def _neighbours(config: EncoderTrainConfig, names: AlignedNames, progress: Progress) -> npt.NDArray[np.int32]:
    """Return which concepts are hard to tell from each at the start."""
    if config.index is None:
        return nearest_by_letters(names, config.sampling.nearest, progress=progress)
    encoder = _encoder_of(open_linker(_place(config.index.path), progress=progress).generator, config.index.path)
    rows = first_texts(names)
    texts = [names.texts[i] for i in rows.tolist()]
    vectors = encode_unique(encoder, texts, cache=VectorCache(cache_folder(), encoder), progress=progress)
    return nearest_concepts(vectors, names, rows, config.sampling.nearest)


def _place(path: str) -> str:
    """Return an index folder, a config, or the name of one that comes with xnorm: a path in a config is made absolute,
    so that a name of one has a folder before it."""
    return path if Path(path).suffix or Path(path).exists() else Path(path).name


def _encoder_of(generator: CandidateGenerator, where: str) -> Encoder:
    """Return the encoder of a generator, or of the first member of an ensemble that has one."""
    todo = [generator]
    while todo:
        part = todo.pop(0)
        if isinstance(encoder := getattr(part, "encoder", None), Encoder):
            return encoder
        todo.extend(getattr(part, "members", {}).values())
    raise ConfigError(f"index: {where} has no dense generator, whose encoder could say what is hard to tell apart")


def _measured(held_out: HeldOut, encode: Callable[..., Any], when: str, progress: Progress) -> Retrieval:
    """Measure an encoder, shortest texts first."""

    def blocks(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        order, vectors, done = sorted(range(len(texts)), key=lambda i: len(texts[i])), [], 0
        while done < len(order):
            vectors.append(encode([texts[i] for i in order[done : done + 1024]]))
            done = min(done + 1024, len(order))
            progress(f"measuring {when}", done, len(order))
        return np.concatenate(vectors)[np.argsort(order)]

    return held_out.measure(blocks)


def _settings(config: ComponentConfig) -> dict[str, Any]:
    """Return the settings that a config needs for an encoder, its folder and device aside."""
    own = config.model_dump(mode="json", exclude_defaults=True)
    return {"type": config.type, **{key: value for key, value in own.items() if key not in ("type", "model", "device")}}
