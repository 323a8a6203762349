"""How long work tells how far it is: a callback, so that the library never prints."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Progress", "Say", "no_progress"]

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, how much there is)."""

Say = Callable[[str], None]
"""Called with a line that the user should read."""


def no_progress(what: str, done: int, total: int) -> None:
    """Report nothing."""
