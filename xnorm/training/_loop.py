"""The loop of a cross-encoder's training: what is ours in that of sentence-transformers and transformers.

Everything that a killed run needs to end as one that was not is in its last checkpoint: the library restores weights,
optimizer and order; patience and seconds are read from the log of measurements that it keeps.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xnorm.lora import load_trained, save_trained
from xnorm.memory import Chunks
from xnorm.progress import Progress, Say
from xnorm.registry import require

__all__ = ["accuracies", "last_checkpoint", "loop_class", "watcher"]

STATE = "trainer_state.json"
"""The file of a checkpoint that is written last."""
Log = Sequence[Mapping[str, Any]]


def loop_class(base: Any, chunks: Chunks, *, patience: int, lora: bool) -> Any:
    """Return the trainer's class, so changed that a step for which memory does not suffice is made again with fewer
    pairs at a time, that with LoRA a checkpoint holds what is trained, and that a run which was killed after its last
    checkpoint is at its end."""

    class Loop(base):  # type: ignore[misc]
        seconds = 0.0  # of updates, without the measurements between them

        def run(self, checkpoint: Path | None) -> None:
            """Train, going on from a checkpoint if there is one, and take the best weights."""
            if checkpoint is None:
                self.train()
                return
            states = require("transformers", extra="torch", what="training").TrainerState
            state = states.load_from_json(str(checkpoint / STATE))
            self.seconds = next((float(x["seconds"]) for x in reversed(state.log_history) if "seconds" in x), 0.0)
            if state.global_step < state.max_steps and not _is_out(state.log_history, patience):
                self.train(resume_from_checkpoint=str(checkpoint))
                return
            self.state = state
            self._load_from_checkpoint(str(self.best or checkpoint))

        @property
        def best(self) -> Path | None:
            """The checkpoint of the best measurement; None as long as nothing was measured."""
            step = self.state.best_global_step
            return Path(self.args.output_dir) / f"checkpoint-{step}" if step else None

        def training_step(self, *inputs: Any) -> Any:
            start = time.perf_counter()
            found = self._step(*inputs)
            self.seconds += time.perf_counter() - start
            return found

        def _step(self, model: Any, inputs: dict[str, Any], *others: Any) -> Any:
            step = super().training_step

            def attempt(size: int) -> Any:
                self.loss.mini_batch_size = size
                model.zero_grad()  # of an attempt that failed
                return step(model, dict(inputs), *others)

            return chunks.run(attempt, of=sum(map(len, inputs["candidates"])))

        def log(self, logs: dict[str, float], *others: Any) -> None:
            super().log({**logs, "seconds": round(self.seconds, 3)}, *others)

        def _load_best_model(self) -> None:  # the library's own goes on with other weights where it fails
            self._load_from_checkpoint(str(self.best))

        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            if lora:
                save_trained(self.model, Path(output_dir or self.args.output_dir))
            else:
                super()._save(output_dir, state_dict)

        def _load_from_checkpoint(self, checkpoint_path: str, *others: Any) -> None:
            if lora:
                load_trained(self.model, Path(checkpoint_path))
            else:
                super()._load_from_checkpoint(checkpoint_path, *others)

    return Loop


def watcher(base: Any, progress: Progress, say: Say, *, patience: int) -> Any:
    """Return a callback that tells how many updates are made and what is lost, and ends a training that gets no better.

    The library's own callback for the latter counts anew after a resume.
    """

    class Watcher(base):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            progress("training", state.global_step, state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
            if logs and "loss" in logs:
                say(f"epoch {state.epoch:.2f}, step {state.global_step} of {state.max_steps}: loss {logs['loss']:.4f}")

        def on_evaluate(self, args: Any, state: Any, control: Any, **others: Any) -> None:
            if _is_out(state.log_history, patience):
                control.should_training_stop = True

    return Watcher()


def last_checkpoint(folder: Path) -> Path | None:
    """Return the last checkpoint that was written to its end."""
    found = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def accuracies(log: Log) -> list[float]:
    """Return what the validation gave, measurement after measurement."""
    return [float(entry["eval_accuracy"]) for entry in log if "eval_accuracy" in entry]


def _is_out(log: Log, patience: int) -> bool:
    """Return whether the last measurements, as many as `patience`, were no better than one before them."""
    found = accuracies(log)
    return bool(found) and len(found) - 1 - found.index(max(found)) >= patience
