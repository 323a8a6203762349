"""What to do when an accelerator's memory does not suffice: the same again, with fewer pairs at a time."""

from __future__ import annotations

import contextlib
import gc
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from xnorm.errors import ConfigError, XnormWarning
from xnorm.progress import Say

__all__ = ["Chunks", "MemoryWarning", "longest_first", "told_in_one_line"]

T = TypeVar("T")

FIX = "take a shorter pairs.max_length, fewer candidates or a smaller model"
SIGNS = ("out of memory", "can't allocate memory", "not enough memory")
"""What the errors of torch say: CUDA, MPS and others the first, a processor the others."""


def longest_first(pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Return positions of pairs, longest first: what needs most memory is tried first, and neighbours are alike in
    length, so that little padding is computed."""
    # bytes stand for tokens better than characters do where scripts are mixed
    return sorted(range(len(pairs)), key=lambda i: -sum(len(text.encode("utf-8", "ignore")) for text in pairs[i]))


class MemoryWarning(XnormWarning):
    """Memory did not suffice; the work goes on with less at a time."""


class Chunks:
    """How many pairs go through a model at a time: half as many from each time on that memory runs out.

    Args:
        size: pairs at a time, at most.
        say: called with a line for each halving; default: a MemoryWarning.
        what: one of what goes through the model.
        fix: what the user can do if one is too much.
    """

    def __init__(self, size: int, say: Say | None = None, *, what: str = "pair", fix: str = FIX) -> None:
        self.size, self._say, self._what, self._fix = size, say, what, fix

    def run(self, work: Callable[[int], T], of: int) -> T:
        """Return what `work` gives.

        Args:
            work: called with a number of pairs; again, with half of it, if its memory does not suffice.
            of: how many pairs there are; a number above that is not worth a try.

        Raises:
            ConfigError: one pair is too much.
        """
        while True:
            try:
                return work(self.size)
            except RuntimeError as e:
                if not _is_out_of_memory(e):
                    raise
            # not in the handler: the error holds on to what was computed
            self._halve(of)

    def _halve(self, of: int) -> None:
        self.size = min(self.size, of) // 2
        if not self.size:
            raise ConfigError(f"out of memory with one {self._what} at a time; {self._fix}")
        _empty_caches()
        line = f"out of memory: going on with {self.size} {self._what}{'s' * (self.size > 1)} at a time"
        if self._say is None:
            warnings.warn(line, MemoryWarning, stacklevel=4)
        else:
            self._say(line)


@contextlib.contextmanager
def told_in_one_line(what: str, fix: str = FIX) -> Iterator[None]:
    """Make a ConfigError of running out of memory where fewer pairs at a time do not help, or were not tried."""
    try:
        yield
    except RuntimeError as e:
        if not _is_out_of_memory(e):
            raise
        raise ConfigError(f"{what}: out of memory ({' '.join(str(e).split())[:120]}); {fix}") from None


def _is_out_of_memory(error: RuntimeError) -> bool:
    # torch.OutOfMemoryError is a RuntimeError, and says so
    return any(sign in str(error).lower() for sign in SIGNS) or type(error).__name__ == "OutOfMemoryError"


def _empty_caches() -> None:
    """Give back what the library keeps of freed memory; without torch nothing is kept."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
