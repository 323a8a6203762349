"""Training of a transformer encoder on the names of a terminology (self-alignment): names of one concept are pulled
together, names of others pushed apart.

The model, its pooling and what is written are those of sentence-transformers; the losses are ours
(`xnorm.alignment_losses`), and so is the loop, since passes of texts of one length save most of the padding.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.alignment import AlignedNames
from xnorm.config import StrictModel
from xnorm.encoders.base import Vectors
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.errors import ConfigError, DataError
from xnorm.held_out import Encode, HeldOut
from xnorm.loading import files_checksum, quiet
from xnorm.lora import LoraConfig, add_lora, merge_lora
from xnorm.memory import Chunks, told_in_one_line
from xnorm.neighbours import first_texts, nearest_concepts
from xnorm.progress import Progress, Say, no_progress
from xnorm.registry import require
from xnorm.sampling import BatchSampler
from xnorm.training.base import EncoderTrainer, Estimate, TrainerConfig

__all__ = ["AlignmentLossConfig", "BiEncoderTrainer", "BiEncoderTrainerConfig", "MiningConfig"]

WHAT = "training"
FIX = "take a shorter max_length, a smaller sampling.batch or a smaller model"
TRIED = 4
"""Steps of an estimate; the first one, in which libraries set themselves up, is not counted, and of the others the
fastest is what a step takes, since whatever else the machine does comes and goes."""


class AlignmentLossConfig(StrictModel):
    """What is minimised; see `xnorm.alignment_losses`."""

    type: Literal["contrastive", "multi_similarity"] = "contrastive"
    temperature: float = Field(default=0.03, gt=0, allow_inf_nan=False)
    """Of `contrastive`: lower ones look at the hardest negatives alone."""
    alpha: float = Field(default=2, gt=0, allow_inf_nan=False)
    """Of `multi_similarity`: how much the farthest positives count more than others."""
    beta: float = Field(default=50, gt=0, allow_inf_nan=False)
    """Of `multi_similarity`: how much the nearest negatives count more than others."""
    base: float = Field(default=0.5, ge=-1, le=1)
    """Of `multi_similarity`: the cosine that positives should be above and negatives below."""
    margin: float | None = Field(default=0.2, ge=0, le=2)
    """Of `multi_similarity`: pairs that are right by more than this distance are left out (online mining of hard
    pairs); none: all count."""

    def settings(self) -> dict[str, float | None]:
        """Return those that this loss has."""
        own = {"temperature"} if self.type == "contrastive" else {"alpha", "beta", "base", "margin"}
        return self.model_dump(include=own)


class MiningConfig(StrictModel):
    """Hard negatives from the encoder as it is by then."""

    refresh: int = Field(default=0, ge=0)
    """Steps after which the nearest concepts are looked for anew; 0: never, so that those of the start stay."""


class BiEncoderTrainerConfig(TrainerConfig):
    """Settings of the training."""

    type: str = "bi_encoder"
    model: str
    """Transformer to start from: a name on the Hugging Face hub, or a folder (a relative one starts with `./`)."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    pooling: Literal["cls", "mean", "max"] | None = None
    """How token vectors become one; default: what the model's own files say, and `mean` where they say nothing."""
    prefix: str = ""
    """Put before each name, as `query: ` for the e5 family; the encoder that is trained needs the same."""
    max_length: int = Field(default=32, ge=3)
    """Tokens of a name that are read, the special ones included."""
    layers: int | list[int] | None = None
    """Keep so many of the transformer's first layers, or those with these numbers, from 0; half of them take half of
    the time. A gap in the upper half costs least: of twelve, `[0, 1, 2, 3, 4, 5, 9, 10, 11]`. Default: all."""
    freeze_embeddings: bool = True
    """Leave the word vectors as they are. In a small multilingual model they are most of the weights, and words that
    no name holds keep their place."""
    lora: LoraConfig | None = None
    """Train small matrices beside the linear layers (LoRA) in place of the weights, which needs less memory; wants a
    learning rate of about 1e-3. The model that is written is as any other. Needs `xnorm[lora]`."""
    loss: AlignmentLossConfig = AlignmentLossConfig()
    """What is minimised."""
    dimensions: list[int] = Field(default=[])
    """Cuts of the vectors that are to be of use, too (Matryoshka), as `[64, 128]`; the loss is the mean over them and
    the whole vectors. An encoder's `dimensions` then cuts."""
    mining: MiningConfig = MiningConfig()
    """Hard negatives."""
    steps: int | None = Field(default=None, ge=1)
    """Updates of the weights, at most; default: by `epochs`."""
    epochs: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The same, as passes over the concepts of several names; default: 1."""
    learning_rate: float = Field(default=1e-4, gt=0, allow_inf_nan=False)
    """Highest learning rate; warms up over a twentieth of the steps, then falls linearly."""
    evaluations: int = Field(default=5, ge=1)
    """How often held-out concepts are measured, evenly spread over the steps; once more before them."""
    patience: int = Field(default=3, ge=1)
    """The training ends after so many measurements without a better one."""
    texts_at_once: int = Field(default=1024, ge=1)
    """Texts whose activations are held at a time. Fewer than two for each concept of a batch need less memory and a
    third more time, for the same result. Halved whenever memory does not suffice."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the products in the forward pass; weights are kept in float32. `auto` is `bfloat16` where the processor
    (AVX512_BF16, AMX) or the GPU has instructions for it, which nearly doubles the speed."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the first accelerator there is."""

    @model_validator(mode="after")
    def _check(self) -> BiEncoderTrainerConfig:
        if self.steps is not None and self.epochs is not None:
            raise ValueError(f"steps {self.steps} and epochs {self.epochs:g}: expected one of the two")
        kept = [self.layers - 1] if isinstance(self.layers, int) else self.layers
        if kept is not None and (not kept or kept[0] < 0 or kept != sorted(set(kept))):
            raise ValueError(
                f"layers: expected how many, or the numbers of some, from 0 and ascending, found {self.layers}"
            )
        if any(d < 1 for d in self.dimensions) or len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError(f"dimensions: expected different numbers above 0, found {self.dimensions}")
        return self

    def encoder(self, model: str | Path, **settings: Any) -> SentenceTransformerConfig:
        """Return the settings of an encoder that prepares texts in the same way."""
        return SentenceTransformerConfig(model=str(model), prefix=self.prefix, device=self.device, **settings)


class BiEncoderTrainer(EncoderTrainer):
    """Aligns a transformer with a terminology, and keeps the weights that find held-out concepts best."""

    config_class: ClassVar[type[TrainerConfig]] = BiEncoderTrainerConfig
    encoder_type: ClassVar[str] = "sentence_transformer"
    config: BiEncoderTrainerConfig

    def check(self) -> None:
        for package in ("torch", "transformers", "sentence_transformers", "safetensors"):
            require(package, extra="torch", what=WHAT)
        if self.config.lora is not None:
            require("peft", extra="lora", what="LoRA")
        model = self.config.model
        if model.startswith((".", "/", "~")) and not Path(model).expanduser().is_dir():
            raise ConfigError(f"trainer.model: there is no folder {model}; expected one, or a name on the hub")

    def checksum(self) -> str | None:
        folder = Path(self.config.model).expanduser()
        return files_checksum(folder, (".safetensors", ".json", ".txt", ".model")) if folder.is_dir() else None

    def forget(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._base.encode(texts)

    def open(self, folder: Path) -> SentenceTransformerEncoder:
        return SentenceTransformerEncoder(self.config.encoder(folder))

    def estimate(self, names: AlignedNames, held_out: HeldOut, *, sampler: BatchSampler) -> Estimate:
        from xnorm.training._transformer import memory

        c, steps = self.config, self._steps(sampler)
        loop = self._loop(names, held_out, sampler, Path(), no_progress, lambda line: None)
        seconds = []
        with told_in_one_line(WHAT, FIX):
            for _ in range(TRIED):
                start = time.perf_counter()
                loop.step()
                seconds.append(time.perf_counter() - start)
            sample = names.texts[:: max(1, len(names) // 256)][:256]
            encoding = []
            for _ in range(2):
                start = time.perf_counter()
                loop.passes.encode(sample)
                encoding.append(time.perf_counter() - start)
        each = min(encoding) / len(sample)
        drawn = _drawn(held_out)
        texts = (1 + min(c.evaluations, steps)) * (len(drawn.pool) + len(drawn.queries))
        if c.mining.refresh:
            texts += (steps - 1) // c.mining.refresh * names.n_concepts
        whole = steps * min(seconds[1:]) + texts * each
        device = loop.passes.device.type
        return Estimate(steps, len(sampler.batch(0).left), whole, memory(loop.passes.model), device)

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
        loop = self._loop(names, held_out, sampler, work / "checkpoints", progress, say)
        model = loop.passes.model
        with told_in_one_line(WHAT, FIX):
            stopped = loop.run()
        if c.lora is not None:
            merge_lora(model)
        with quiet():
            model.save_pretrained(str(folder), safe_serialization=True, create_model_card=False)
        return self._about(loop, stopped)

    def _about(self, loop: Any, stopped: str) -> dict[str, Any]:
        """Return what the manifest is to say."""
        from xnorm.training._transformer import pooling

        state, model = loop.state, loop.passes.model
        return {
            "base": self._base.identity,
            "encoder": {
                "type": self.encoder_type,
                "prefix": self.config.prefix,
                "pooling": pooling(model),
                "max_length": model.max_seq_length,
                "dim": model.get_embedding_dimension(),
                "dimensions": sorted(self.config.dimensions),
            },
            "by_step": state.history,
            "trained": {
                "steps": state.step,
                "best_step": state.best,
                "seconds": round(state.seconds, 1),
                "weights": loop.n_weights,
                "precision": "bfloat16" if loop.passes.half else "float32",
                "device": loop.passes.device.type,
            },
            "stopped": stopped,
        }

    @cached_property
    def _base(self) -> SentenceTransformerEncoder:
        """What the training starts from, all of its layers."""
        c = self.config
        return SentenceTransformerEncoder(
            c.encoder(c.model, revision=c.revision, pooling=c.pooling, max_length=c.max_length)
        )

    def _steps(self, sampler: BatchSampler) -> int:
        c = self.config
        return c.steps or max(1, round((c.epochs or 1.0) * len(sampler.concepts) / len(sampler.batch(0).left)))

    def _loop(
        self, names: AlignedNames, held_out: HeldOut, sampler: BatchSampler, work: Path, progress: Progress, say: Say
    ) -> Any:
        """Return the training; loads the model."""
        from xnorm.alignment_losses import AlignmentLoss
        from xnorm.training._alignment_loop import Loop, MinedSchedule
        from xnorm.training._passes import Passes
        from xnorm.training._transformer import computes_in_half

        c = self.config
        model = self._model()
        passes = Passes(
            model, prefix=c.prefix, chunks=Chunks(c.texts_at_once, say, what="text", fix=FIX),
            half=c.precision == "bfloat16" or (c.precision == "auto" and computes_in_half(model.device)),
        )  # fmt: skip
        dim = int(model.get_embedding_dimension())
        if max(c.dimensions, default=0) > dim:
            raise ConfigError(f"dimensions: model {c.model} has {dim}, found {max(c.dimensions)}")
        loss = AlignmentLoss(
            model, multi_similarity=c.loss.type == "multi_similarity", dimensions=sorted({*c.dimensions, dim}),
            **c.loss.settings(),
        )  # fmt: skip
        schedule = MinedSchedule(
            self._steps(sampler), c.learning_rate, c.evaluations, c.patience, c.seed, refresh=c.mining.refresh
        )
        firsts = first_texts(names)

        def nearest(encode: Encode) -> npt.NDArray[np.int32]:
            vectors = encode([names.texts[i] for i in firsts.tolist()])
            return nearest_concepts(vectors, names, firsts, sampler.config.nearest)

        return Loop(
            passes, loss, names, sampler, schedule, measure=_drawn(held_out).measure, nearest=nearest, work=work,
            progress=progress, say=say,
        )  # fmt: skip

    def _model(self) -> Any:
        """Return the model to be trained, the same for the same seed."""
        from xnorm.training._transformer import cut_layers, freeze_embeddings, freeze_pooler

        c = self.config
        self.__dict__.pop("_base", None)  # whose weights may have been drawn with another seed
        # weights that the files lack are drawn as it is opened, and those of LoRA
        require("torch", extra="torch", what=WHAT).manual_seed(c.seed)
        model = self._base.model
        del self._base  # whoever measures the base opens it again, since the one here changes
        if c.layers is not None:
            cut_layers(model, c.layers, name=c.model)
        if c.lora is not None:
            add_lora(model, c.lora, tokens=[])
        elif c.freeze_embeddings:
            freeze_embeddings(model)
        freeze_pooler(model)
        return model


def _drawn(held_out: HeldOut) -> HeldOut:
    """Return what is measured during the training."""
    drawn = held_out.drawn or held_out
    if not drawn.queries:
        raise DataError(
            f"none of the {len(held_out.concepts):,} held-out concepts has a name to look up beside others",
            fix="take a larger held_out.share, or names of more languages",
        )
    return drawn
