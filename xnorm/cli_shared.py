"""What all commands share: options of one meaning, and errors as one line."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from xnorm.errors import XnormError, XnormWarning

__all__ = ["AsJson", "Overwrite", "Quiet", "one_line_errors"]

F = TypeVar("F", bound=Callable[..., None])

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]


def one_line_errors(command: F) -> F:
    """Print an error that the user can mend as one line, and exit with status 2; print warnings of ours as one line."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = functools.partial(_one_line_warning, warnings.showwarning)
                command(*args, **kwargs)
        except XnormError as e:
            typer.echo(f"error: {' '.join(str(e).split())}", err=True)
            raise typer.Exit(2) from None
        except BrokenPipeError:  # the reader of our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            typer.echo("stopped; nothing half-written is left, and the same command goes on from here", err=True)
            raise typer.Exit(130) from None

    return wrapped  # type: ignore[return-value]


def _one_line_warning(others: Callable[..., None], message: Warning | str, category: type, *where: Any) -> None:
    if issubclass(category, XnormWarning):
        typer.echo(f"warning: {' '.join(str(message).split())}", err=True)
    else:
        others(message, category, *where)
