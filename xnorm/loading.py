"""Loading a model of the Hugging Face kind: without its libraries' chatter, and with an eye on what they made up."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xnorm.artifact import VERIFY_UP_TO, sha256_file, sha256_text
from xnorm.registry import require

__all__ = ["files_checksum", "first_device", "position_limit", "quiet", "random_weights"]


def first_device(wanted: str, what: str) -> str:
    """Return a device: the wanted one, or for `auto` the first accelerator there is, else `cpu`.

    Raises:
        MissingExtraError: `auto` without torch; `what` is the component that asks.
    """
    if wanted != "auto":
        return wanted
    torch = require("torch", extra="torch", what=what)
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def files_checksum(folder: Path, endings: tuple[str, ...]) -> str:
    """Return what tells one state of a model's folder from another: of large files their size and time alone.

    Args:
        endings: of the files that count.
    """
    parts = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix in endings and p.is_file()):
        about = path.stat()
        small = about.st_size <= VERIFY_UP_TO
        what = sha256_file(path) if small else f"{about.st_size}/{about.st_mtime_ns}"
        parts.append(f"{path.relative_to(folder).as_posix()} {what}")
    return sha256_text("\n".join(parts))


def position_limit(transformer: Any) -> int | None:
    """Return how many tokens a model of `transformers` has positions for, None if it is not limited."""
    size = getattr(getattr(transformer, "config", None), "max_position_embeddings", None)
    if not isinstance(size, int) or size <= 0:
        return None
    body = getattr(transformer, "base_model", transformer)
    table = getattr(getattr(body, "embeddings", None), "position_embeddings", None)
    # models of the RoBERTa kind count positions from their padding index on
    padding = getattr(table, "padding_idx", None)
    return size if padding is None else size - padding - 1


class _Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Keep bars, reports and deprecation warnings of the libraries from the user's terminal while a model loads; give
    what they logged."""
    chatter: Any = require("transformers.utils.logging", extra="torch", what="a transformer")
    bar = chatter.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
    before = [(logger, logger.level, logger.propagate, logger.handlers) for logger in loggers]
    heard = _Heard()
    try:
        chatter.disable_progress_bar()
        for logger in loggers:
            logger.level, logger.propagate, logger.handlers = logging.WARNING, False, [heard]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield heard.messages
    finally:
        for logger, level, propagate, handlers in before:
            logger.level, logger.propagate, logger.handlers = level, propagate, handlers
        if bar:
            chatter.enable_progress_bar()


def random_weights(messages: Sequence[str]) -> list[str]:
    """Return the weights that a model's files lack, and that the library made up and only logs.

    `transformers` 4 lists them in one sentence, 5 in a table. The pooler of BERT is trained for another task, often
    left out, and not used here.
    """
    reports = [m for m in messages if "newly initialized" in m]
    # a table has other states too, as of weights that are stored and not used
    lines = [line for m in reports for line in m.splitlines() if "MISSING" in line or "newly initialized:" in line]
    names = re.findall(r"[\w.{},-]+\.(?:weight|bias)\b", " ".join(lines))
    return [name for name in names if "pooler" not in name]
