"""Training of a static encoder: vectors of pieces and n-grams, on the names of a terminology.

Two objectives: `align` pulls the names of a concept together and pushes those of others apart, `distil` pulls names
towards the vectors that a larger encoder gives them. Everything is numpy; only a transformer to start or to learn from
needs more.

Sources: Tulkens and van Dongen 2024, Model2Vec (static vectors distilled from a sentence transformer); Aarsen 2025,
Train 400x faster Static Embedding Models with Sentence Transformers (in-batch contrastive training of static vectors).
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from xnorm.alignment import AlignedNames
from xnorm.config import EncoderSpec, StrictModel
from xnorm.embedding import encode_unique
from xnorm.encoders.base import Encoder, Vectors
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig
from xnorm.encoders.static import Pieces, StaticCard, StaticConfig, StaticEncoder, TextRows, write_static
from xnorm.encoders.use import UseConfig
from xnorm.held_out import HeldOut
from xnorm.loading import files_checksum
from xnorm.progress import Progress, Say, no_progress
from xnorm.registry import find_component, require
from xnorm.sampling import Batch, BatchSampler
from xnorm.training._static_loop import Draws, DroppingSchedule, Objectives, StaticLoop, Teacher, TextTable
from xnorm.training._static_model import StaticModel
from xnorm.training._static_start import Start, principal, start_from
from xnorm.training.base import EncoderTrainer, Estimate, TrainerConfig

__all__ = ["AlignConfig", "DistilConfig", "StaticTrainer", "StaticTrainerConfig"]

TEACHER = "teacher.npy"
TRIED = 4
"""Steps of an estimate; the first one is not counted, and the fastest of the others is what a step takes."""
FEW = 10_000
"""Names that an estimate cuts."""


class AlignConfig(StrictModel):
    """The contrastive loss of the sampler's pairs."""

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How much it counts."""
    temperature: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Lower ones look at the hardest negatives alone."""


class DistilConfig(StrictModel):
    """The distance (1 - cosine) to another encoder's vectors of the same names, less their mean, on their principal
    axes."""

    teacher: EncoderSpec
    """Any encoder."""
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How much it counts."""
    names: int = Field(default=20_000, ge=2)
    """Names that the teacher encodes, drawn at random; a transformer needs a minute or more for each 20,000."""
    batch: int = Field(default=256, ge=1)
    """Names of a step."""


class StaticTrainerConfig(TrainerConfig):
    """Settings of the training."""

    type: str = "static"
    start: EncoderSpec | None = UseConfig()
    """Whose pieces and piece vectors it starts from: `use` (the embedded encoder), a `sentence_transformer`, or none,
    for n-grams alone."""
    frequent: int = Field(default=8000, ge=0)
    """Most frequent pieces of that vocabulary that are kept beside those that the names need."""
    dim: int = Field(default=256, ge=8, le=1024)
    """Dimensions."""
    ngrams: tuple[int, int] = (4, 4)
    """The least and the greatest number of characters of an n-gram, from 1 to 8."""
    buckets: int = Field(default=32_768, ge=1, le=1 << 24)
    """Rows that n-grams are hashed into."""
    spelling: Literal["cognate", "folded"] = "cognate"
    """What n-grams are cut from: a spelling that European languages share for words of Greek and Latin origin, or plain
    letters without accents."""
    align: AlignConfig | None = AlignConfig()
    """Learn from pairs of names."""
    distil: DistilConfig | None = None
    """Learn from another encoder."""
    steps: int | None = Field(default=None, ge=1)
    """Updates of the weights, at most; default: by `epochs`."""
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same, as passes over the concepts of several names; default: 8."""
    learning_rate: float = Field(default=0.5, gt=0, allow_inf_nan=False)
    """Highest learning rate, of Adagrad; warms up over a twentieth of the steps, then falls linearly."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of a text's pieces and n-grams that a step leaves out."""
    evaluations: int = Field(default=8, ge=1)
    """How often held-out concepts are measured, evenly spread over the steps; once more before them."""
    patience: int = Field(default=3, ge=1)
    """The training ends after so many measurements without a better one."""
    precision: Literal["int8", "float16", "float32"] = "int8"
    """Of the table that is written."""

    @model_validator(mode="after")
    def _check(self) -> StaticTrainerConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"steps {self.steps} and epochs {self.epochs:g}: expected one of the two")
        if self.align is None and self.distil is None:
            raise ValueError("align and distil: expected one of them at least, found none")
        if not 1 <= self.ngrams[0] <= self.ngrams[1] <= 8:
            raise ValueError(f"ngrams: expected two sizes from 1 to 8, found {list(self.ngrams)}")
        if self.start is not None and not isinstance(self.start, (UseConfig, SentenceTransformerConfig)):
            raise ValueError(f"start: expected use, sentence_transformer or none, found {self.start.type}")
        return self


class StaticTrainer(EncoderTrainer):
    """Trains a static encoder, and keeps the weights that find held-out concepts best."""

    config_class: ClassVar[type[TrainerConfig]] = StaticTrainerConfig
    config: StaticTrainerConfig

    def check(self) -> None:
        packages = ["safetensors"] + ["tokenizers"] * (self.config.start is not None)
        for package in packages:
            require(package, extra="static", what="trainer static")
        if isinstance(self.config.start, SentenceTransformerConfig):
            for package in ("torch", "sentence_transformers"):
                require(package, extra="torch", what="trainer static")

    def checksum(self) -> str | None:
        distil = self.config.distil
        named = [getattr(spec, "model", None) for spec in (self.config.start, distil and distil.teacher)]
        folders = [folder for name in named if name and (folder := Path(str(name)).expanduser()).is_dir()]
        ends = (".safetensors", ".json", ".txt", ".model", ".onnx")
        return " ".join(files_checksum(folder, ends) for folder in folders) or None

    def forget(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of the encoder that it starts from; without one, those of the embedded encoder."""
        return encode_unique(self._source, texts)

    def open(self, folder: Path) -> StaticEncoder:
        return StaticEncoder(StaticConfig(model=str(folder)))

    def estimate(self, names: AlignedNames, held_out: HeldOut, *, sampler: BatchSampler) -> Estimate:
        c, steps = self.config, self._steps(sampler)
        some, draws = _few(names, sampler)
        begin = time.perf_counter()
        card, start = self._start(some)
        preparing = time.perf_counter() - begin
        begin = time.perf_counter()
        loop = self._loop(card, start, some, held_out, sampler, draws, self._any_teacher(some), Path())
        # all names are cut twice: to see which pieces they need, and for the training
        preparing += (time.perf_counter() - begin) * 2 * len(names) / len(some)
        seconds = []
        for _ in range(TRIED):
            begin = time.perf_counter()
            loop.step()
            seconds.append(time.perf_counter() - begin)
        per_step = min(seconds[1:])
        preparing += self._teaching_seconds(names)
        drawn = held_out.drawn or held_out
        begin = time.perf_counter()
        loop.encode(drawn.queries + drawn.pool)
        measuring = (1 + min(c.evaluations, steps)) * (time.perf_counter() - begin)
        # beside what was needed up to here: a copy of the best weights when they are replaced, and what is written
        rows = 4 * len(loop.cut.rows) * len(names) // len(some)
        most = _resident() + 2 * loop.model.table.nbytes + rows
        return Estimate(steps, len(sampler.batch(0).left), preparing + steps * per_step + measuring, most)

    def train(
        self,
        names: AlignedNames,
        held_out: HeldOut,
        *,
        sampler: BatchSampler,
        work: Path,
        folder: Path,
        progress: Progress = no_progress,
        say: Say = lambda line: None,
    ) -> dict[str, Any]:
        c = self.config
        card, start = self._start(names)
        say(f"a table of {card.pieces:,} pieces and {card.buckets:,} buckets of n-grams, {card.dim} dimensions")
        teacher = self._teacher(names, work, progress)
        loop = self._loop(card, start, names, held_out, sampler, sampler, teacher, work, progress, say)
        stopped = loop.run()
        tokenizer, pieces = (None, None) if start is None else (start.tokenizer, start.pieces)
        table, weights = loop.model.table, np.exp(loop.model.gains)
        write_static(folder, card, table, weights, tokenizer=tokenizer, pieces=pieces, precision=c.precision)
        state = loop.state
        best = next(entry for entry in state.history if entry["step"] == state.best)
        return {
            "base": card.source,
            "encoder": {"type": "static", **card.model_dump(mode="json"), "precision": c.precision},
            "drawn": {"recall_before": state.history[0]["recall"], "recall": best["recall"], "by_step": state.history},
            "trained": {
                "steps": state.step,
                "best_step": state.best,
                "seconds": round(state.seconds, 1),
                "weights": loop.model.table.size + loop.model.gains.size,
                "device": "cpu",
                "bytes": sum(p.stat().st_size for p in folder.iterdir() if p.is_file()),
            },
            "stopped": stopped,
        }

    @cached_property
    def _source(self) -> Encoder:
        return _encoder(self.config.start or UseConfig())

    def _steps(self, sampler: BatchSampler) -> int:
        c = self.config
        return c.steps or max(1, round((c.epochs or 8.0) * len(sampler.concepts) / len(sampler.batch(0).left)))

    def _start(self, names: AlignedNames) -> tuple[StaticCard, Start | None]:
        """Return the encoder's settings, and the pieces it starts from."""
        c = self.config
        start = None if c.start is None else start_from(c.start, names.texts, c.frequent)
        pieces = 0 if start is None else len(start.vectors)
        source = "nothing" if c.start is None else self._source.identity
        return (
            StaticCard(
                dim=c.dim, ngrams=c.ngrams, buckets=c.buckets, spelling=c.spelling, pieces=pieces, source=source
            ),
            start,
        )

    def _loop(
        self,
        card: StaticCard,
        start: Start | None,
        names: AlignedNames,
        held_out: HeldOut,
        sampler: BatchSampler,
        draws: Draws,
        teacher: Teacher | None,
        work: Path,
        progress: Progress = no_progress,
        say: Say = lambda line: None,
    ) -> StaticLoop:
        c = self.config
        pieces = None if start is None else Pieces(start.tokenizer, start.pieces, "to start from")
        text_rows = TextRows(card, pieces)
        cut = TextTable(names.texts, text_rows, progress)
        align, distil = c.align, c.distil
        objectives = Objectives(
            0.0 if align is None else align.weight, 1.0 if align is None else align.temperature,
            0.0 if distil is None else distil.weight, 0 if distil is None else distil.batch,
        )  # fmt: skip
        schedule = DroppingSchedule(
            self._steps(sampler), c.learning_rate, c.evaluations, c.patience, c.seed, dropout=c.dropout
        )
        measure = (held_out.drawn or held_out).measure
        model = _untrained(card, start, cut, c.seed)
        return StaticLoop(
            model, text_rows, cut, names, draws, teacher, objectives, schedule, measure=measure, work=work,
            progress=progress, say=say,
        )  # fmt: skip

    def _teacher(self, names: AlignedNames, work: Path, progress: Progress) -> Teacher | None:
        """Return what the teacher says of some names; a killed run does not ask again."""
        c = self.config
        if c.distil is None:
            return None
        rng = np.random.default_rng([c.seed, 2])
        rows = np.sort(rng.permutation(len(names))[: c.distil.names])
        path = work / TEACHER
        if path.is_file():
            return Teacher(rows, np.load(path, allow_pickle=False))
        found = encode_unique(_encoder(c.distil.teacher), [names.texts[i] for i in rows.tolist()], progress=progress)
        vectors = principal(found, c.dim)
        work.mkdir(parents=True, exist_ok=True)
        part = work / f"part.{TEACHER}"
        np.save(part, vectors, allow_pickle=False)
        part.replace(path)
        return Teacher(rows, vectors)

    def _any_teacher(self, names: AlignedNames) -> Teacher | None:
        """Return vectors that cost nothing, in a teacher's place."""
        if self.config.distil is None:
            return None
        return Teacher(np.arange(len(names)), np.full((len(names), self.config.dim), 0.1, np.float32))

    def _teaching_seconds(self, names: AlignedNames) -> float:
        """Return how long the teacher will take, from a few names."""
        if self.config.distil is None:
            return 0.0
        teacher = _encoder(self.config.distil.teacher)
        some = names.texts[:: max(1, len(names) // 64)][:64]
        teacher.encode(some[:1])  # loads it
        begin = time.perf_counter()
        teacher.encode(some)
        return (time.perf_counter() - begin) / len(some) * min(len(names), self.config.distil.names)


def _encoder(spec: Any) -> Encoder:
    found: Encoder = find_component("encoders", spec.type)(spec)
    return found


def _few(names: AlignedNames, sampler: BatchSampler) -> tuple[AlignedNames, Draws]:
    """Return some of the names, those of the first batches among them, and what gives these batches again."""
    batches = [sampler.batch(step) for step in range(TRIED)]
    every = np.arange(0, len(names), max(1, len(names) // FEW))
    rows = np.unique(np.concatenate([every, *(side for b in batches for side in (b.left, b.right))]))

    class Few:
        def batch(self, step: int) -> Batch:
            return Batch(*(np.searchsorted(rows, side) for side in (batches[step].left, batches[step].right)))

    return names.take(rows), Few()


def _untrained(card: StaticCard, start: Start | None, cut: TextTable, seed: int) -> StaticModel:
    """Return the model before its first step: pieces as they are where it starts from, random directions for n-grams,
    so that texts are the more alike the more n-grams they share, and the weights of inverse document frequency."""
    table = np.random.default_rng([seed, 3]).standard_normal((card.rows, card.dim), np.float32)
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    if start is not None:
        table[: card.pieces] = principal(start.vectors, card.dim)
    weights = np.log((len(cut.counts) + 1) / (cut.names_with + 1)) + 1e-2
    weights /= np.average(weights, weights=cut.names_with + 1e-9)
    return StaticModel(table, weights.astype(np.float32))


def _resident() -> int:
    """Return the most bytes that the process took up to now; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
