"""Training of the cross-encoder: listwise, with candidates of the generator as hard negatives.

The loop is the `CrossEncoderTrainer` of sentence-transformers (precision, checkpoints, logging), in one process and on
one device; the loss is ours (`xnorm.losses`), the texts are those of scoring (`xnorm.pairs`).
"""

from __future__ import annotations

import random
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from xnorm.candidates.base import Candidates
from xnorm.config import StrictModel
from xnorm.errors import ConfigError, DataError
from xnorm.loading import files_checksum, quiet
from xnorm.lora import LoraConfig, add_lora, merge_lora
from xnorm.memory import Chunks, told_in_one_line
from xnorm.pairs import PairsConfig, PairWriter, fit
from xnorm.progress import Progress, Say, no_progress
from xnorm.registry import require
from xnorm.reranking.cross_encoder import MODEL, open_model
from xnorm.tables import Terminology
from xnorm.training._loop import accuracies, last_checkpoint, loop_class, watcher
from xnorm.training._validation import VALIDATION, Validation
from xnorm.training.base import Examples, MentionTrainer, TrainerConfig

__all__ = ["CrossEncoderTrainer", "CrossEncoderTrainerConfig", "LossConfig", "sample_candidates"]


class LossConfig(StrictModel):
    """Cross-entropy over a mention's candidates, plus a pull towards the generator's scores; see `xnorm.losses`."""

    regularizer: Literal["none", "l2", "mse", "kl", "xmen"] = "none"
    """`l2` is xMEN's norm, `mse` does not depend on the number of candidates, `kl` pulls towards the generator's
    distribution; `xmen` is xMEN's whole loss, for comparison."""
    strength: float = Field(default=0.1, ge=0)
    """Weight of the regulariser."""
    temperature: float = Field(default=0.1, gt=0)
    """Of the generator's distribution, with `kl`."""


class CrossEncoderTrainerConfig(TrainerConfig):
    """Settings of the training."""

    type: str = "cross_encoder"
    model: str
    """Transformer to start from: a name on the Hugging Face hub, or a folder (a relative one starts with `./`)."""
    revision: str | None = None
    """Branch, tag or commit on the hub."""
    pairs: PairsConfig = PairsConfig()
    """What the model reads."""
    loss: LossConfig = LossConfig()
    """What is minimised."""
    candidates: int = Field(default=16, ge=2)
    """Candidates of a mention in training, gold included: half of the others are the generator's best, half are drawn
    from the rest."""
    epochs: float = Field(default=3.0, gt=0)
    """Passes over the training mentions, at most."""
    batch_size: int = Field(default=8, ge=1)
    """Mentions between two updates."""
    pairs_at_once: int = Field(default=128, ge=1)
    """Pairs whose activations are held at a time. Fewer than `batch_size` times `candidates` need less memory and a
    third more time, for the same result. Halved whenever memory does not suffice."""
    learning_rate: float = Field(default=5e-5, gt=0, allow_inf_nan=False)
    """Highest learning rate; warms up over a tenth of the steps, then falls linearly. LoRA wants a higher one, about
    5e-4."""
    freeze_embeddings: bool = False
    """Leave the word vectors as they are, those of the markers too, which saves a third of the time of a small
    multilingual model."""
    lora: LoraConfig | None = None
    """Train small matrices beside the linear layers (LoRA) in place of the weights, which needs less memory; the head,
    and the word vectors of the markers unless `freeze_embeddings`, are trained as ever. The model that is written is as
    any other. Default: all weights are trained. Needs `xnorm[lora]`."""
    evaluations: int = Field(default=1, ge=1)
    """How often an epoch the validation is measured."""
    patience: int = Field(default=3, ge=1)
    """The training ends after so many measurements without a better one."""
    validation_mentions: int = Field(default=500, ge=1)
    """Mentions that are drawn of the validation parts for these measurements; the last one is of all."""
    validation_candidates: int = Field(default=16, ge=2)
    """Candidates of each that are looked at; the manifest says how good fewer of them are (`by_top`)."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the products in the forward pass; weights are kept in float32. `bfloat16` nearly doubles the speed on
    processors that have instructions for it (AVX512_BF16, AMX), and on GPUs; `float16` is for older GPUs."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the first accelerator there is."""


class CrossEncoderTrainer(MentionTrainer):
    """Trains a cross-encoder, keeps the best weights by accuracy on the validation, and calibrates it."""

    config_class: ClassVar[type[TrainerConfig]] = CrossEncoderTrainerConfig
    config: CrossEncoderTrainerConfig

    def train(
        self,
        training: Examples,
        validation: Examples,
        terminology: Terminology,
        *,
        work: Path,
        folder: Path,
        progress: Progress = no_progress,
        say: Say = lambda line: None,
    ) -> dict[str, Any]:
        c = self.config
        useful = self._useful(training)
        say(f"training on {len(useful.mentions):,} of {len(training.mentions):,} mentions (gold among the candidates)")
        require("transformers", extra="torch", what="training").set_seed(c.seed)  # new weights are drawn on opening
        model = open_model(c.model, c.pairs, revision=c.revision, device=c.device, fresh=True)
        if c.lora is not None:
            markers = [] if c.freeze_embeddings else model.tokenizer.convert_tokens_to_ids(list(c.pairs.tokens))
            add_lora(model, c.lora, tokens=markers)
        elif c.freeze_embeddings:
            model[0].model.get_input_embeddings().weight.requires_grad_(False)
        writer, chunks = PairWriter(terminology, c.pairs), Chunks(c.pairs_at_once, say)
        rng = np.random.default_rng(c.seed)
        drawn = np.sort(rng.permutation(len(validation.mentions))[: c.validation_mentions])
        measured = Validation(writer, validation.take(drawn), c.validation_candidates, chunks)
        dataset = self._dataset(useful, model, writer)
        stopped, history, seconds = self._fit(model, dataset, measured, work, progress, say)
        if c.lora is not None:
            merge_lora(model)
        whole = Validation(writer, validation, c.validation_candidates, chunks)
        found = whole.measure(model)
        whole.write(folder / VALIDATION, found)
        with quiet():
            model.save_pretrained(str(folder / MODEL), safe_serialization=True)
        return {
            "pairs": c.pairs.model_dump(mode="json"),
            "calibration": found.calibration.model_dump(mode="json"),
            "top": c.validation_candidates,
            "validation": {
                "mentions": len(validation.mentions),
                "candidates": c.validation_candidates,
                "accuracy_before": round(whole.before, 6),
                "accuracy_without_prior": round(float(found.alone.mean()), 6),
                "accuracy": round(found.accuracy, 6),
                "by_top": found.by_top,
                "drawn": {"mentions": len(drawn), "accuracy_before": round(measured.before, 6), "by_step": history},
            },
            "trained": {
                "mentions": len(useful.mentions),
                "left_out": len(training.mentions) - len(useful.mentions),
                "seconds": round(seconds, 1),
            },
            "stopped": stopped,
        }

    def check(self) -> None:
        for package in ("sentence_transformers", "datasets", "accelerate"):
            require(package, extra="torch", what="training")
        if self.config.lora is not None:
            require("peft", extra="lora", what="LoRA")
        model = self.config.model
        if model.startswith((".", "/", "~")) and not Path(model).is_dir():
            raise ConfigError(f"trainer.model: there is no folder {model}; expected one, or a name on the hub")

    def checksum(self) -> str | None:
        folder = Path(self.config.model)
        return files_checksum(folder, (".safetensors", ".json", ".txt")) if folder.is_dir() else None

    def forget(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)

    def _useful(self, training: Examples) -> Examples:
        """Return the mentions that a target can be made of."""
        hits, sizes, n = training.judged.hits, training.candidates.sizes(), len(training.mentions)
        gold, nil = np.asarray(hits.any(axis=1)), self.config.pairs.nil
        several = sizes + nil > 1  # choices
        if not (gold & several).any():
            raise DataError(
                f"none of the {n:,} training mentions has its gold among {'its' if nil else 'two or more'} candidates "
                f"(recall {gold.mean():.3f})",
                fix="look at the generator, at the gold's prefix, or take more candidates (top_k)",
            )
        found = several if nil else gold & (hits.sum(axis=1) < sizes)
        classes = len(np.unique(training.candidates.concepts[found][hits[found]])) + bool((nil & ~gold[found]).any())
        if classes < 2:
            what = "one and the same concept" if classes else "every candidate"
            raise DataError(
                f"one class only: the gold of the {n:,} training mentions is {what}, so there is nothing to choose",
                fix="take a corpus of several concepts, or more candidates (top_k)",
            )
        return training.take(np.flatnonzero(found))

    def _dataset(self, examples: Examples, model: Any, writer: PairWriter) -> Any:
        """Return the columns that the loss reads."""
        datasets = require("datasets", extra="torch", what="training")
        c = self.config
        columns = sample_candidates(examples, c.candidates, seed=c.seed)
        wanted, at = columns >= 0, (np.arange(len(columns))[:, None], columns)
        found = examples.candidates
        picked = Candidates(np.where(wanted, found.concepts[at], -1), found.scores[at], found.names[at])
        hits = examples.judged.hits[at]
        lefts, rights = writer.write(examples.mentions, picked)
        lefts = fit(lefts, model.tokenizer, c.pairs)
        priors = [own[some].astype(float).tolist() for own, some in zip(picked.scores, wanted, strict=True)]
        labels = [own[some].astype(float).tolist() for own, some in zip(hits, wanted, strict=True)]
        if c.pairs.nil:
            labels = [[*own, float(not any(own))] for own in labels]
            if c.loss.regularizer == "xmen":  # whose prior of NIL is its label
                priors = [[*own, label[-1]] for own, label in zip(priors, labels, strict=True)]
        table = {"mention": lefts, "candidates": rights, "prior": priors, "labels": labels}
        if (weights := examples.weights) is not None and len(np.unique(weights)) > 1:
            # of mean 1, so that the losses of all batches are together the weighted mean
            table["weight"] = (weights / weights.mean(dtype=np.float64)).tolist()
        return datasets.Dataset.from_dict(table)

    def _fit(
        self, model: Any, dataset: Any, measured: Validation, work: Path, progress: Progress, say: Say
    ) -> tuple[str, list[float], float]:
        """Run the trainer; return why it ended, the accuracies on the way, and the seconds that its updates took."""
        library = require("sentence_transformers.cross_encoder", extra="torch", what="training")
        callbacks = require("transformers", extra="torch", what="training")
        from xnorm.losses import ListwiseLoss, NotFiniteError, StrengthWarning

        c = self.config
        checkpoints = (work / "checkpoints").absolute()
        with quiet():
            arguments = self._arguments(library.CrossEncoderTrainingArguments, checkpoints, len(dataset), model)
        loss = ListwiseLoss(model, **c.loss.model_dump(), mini_batch_size=c.pairs_at_once)
        loop = loop_class(library.CrossEncoderTrainer, measured.chunks, patience=c.patience, lora=c.lora is not None)
        trainer = loop(
            model=model, args=arguments, train_dataset=dataset, loss=loss, evaluator=measured.evaluator(say),
            callbacks=[watcher(callbacks.TrainerCallback, progress, say, patience=c.patience)],
        )  # fmt: skip
        for callback in list(trainer.callback_handler.callbacks):
            if type(callback).__name__ in ("PrinterCallback", "ModelCardCallback"):
                trainer.remove_callback(type(callback))
        last = last_checkpoint(checkpoints)
        if last is not None:
            say(f"going on from {last.name} of a run that was stopped")
        try:
            with quiet(), told_in_one_line("training"):
                warnings.simplefilter("always", StrengthWarning)
                trainer.run(last)
            ended = trainer.state.global_step >= trainer.state.max_steps
            stopped = "ran to its end" if ended else "no better any more"
        except NotFiniteError as e:
            if trainer.best is None:
                raise
            say(f"{e}; keeping {trainer.best.name}")
            trainer._load_best_model()
            stopped = "the loss or the weights were not finite"
        return stopped, [round(x, 6) for x in accuracies(trainer.state.log_history)], trainer.seconds

    def _arguments(self, base: Any, folder: Path, mentions: int, model: Any) -> Any:
        """Return the library's settings of a training."""
        c = self.config
        steps = max(1, int(mentions / c.batch_size / c.evaluations))
        total = max(1, int(mentions / c.batch_size * c.epochs))
        arguments = base(
            output_dir=str(folder), num_train_epochs=c.epochs, per_device_train_batch_size=c.batch_size,
            learning_rate=c.learning_rate, warmup_steps=max(1, total // 10), weight_decay=0.01, seed=c.seed,
            eval_strategy="steps", eval_steps=steps, save_strategy="steps", save_steps=steps, save_total_limit=2,
            load_best_model_at_end=True, metric_for_best_model="eval_accuracy", greater_is_better=True,
            logging_strategy="steps", logging_steps=steps, logging_nan_inf_filter=False, report_to="none",
            disable_tqdm=True, dataloader_pin_memory=False, use_cpu=str(model.device) == "cpu",
            bf16=c.precision == "bfloat16", fp16=c.precision == "float16",
        )  # fmt: skip
        if arguments.n_gpu > 1:  # else the model is wrapped in DataParallel, with texts that nothing can divide
            arguments._n_gpu = 1
        return arguments


def sample_candidates(examples: Examples, size: int, *, seed: int) -> npt.NDArray[np.int64]:
    """Return which candidates of each mention are trained on: columns, shape (mentions, size), -1 for padding.

    Of gold at most half, then the best others, then as many drawn from the rest; in the generator's order.
    """
    out = np.full((len(examples.mentions), size), -1, np.int64)
    for i, (hits, n) in enumerate(zip(examples.judged.hits, examples.candidates.sizes().tolist(), strict=True)):
        gold = np.flatnonzero(hits[:n])[: max(1, size // 2)].tolist()
        others = np.flatnonzero(~hits[:n]).tolist()
        room = size - len(gold)
        best, rest = others[: (room + 1) // 2], others[(room + 1) // 2 :]
        drawn = random.Random(f"{seed}/{examples.mentions[i].id}/{i}").sample(rest, min(room - len(best), len(rest)))
        chosen = sorted([*gold, *best, *drawn])
        out[i, : len(chosen)] = chosen
    return out
