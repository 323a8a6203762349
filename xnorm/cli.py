"""The command line: config in, one library call, table or file out.

The commands stand by subject in `cli_terminologies`, `cli_linking`, `cli_models` and `cli_benchmarks`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from xnorm import __version__
from xnorm.cli_benchmarks import compare, evaluate
from xnorm.cli_linking import link
from xnorm.cli_models import export, train
from xnorm.cli_terminologies import diff, forward, index, info, search

app = typer.Typer(
    help="Link mentions of diseases, symptoms or drugs, in any language, to the concepts of a terminology.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"xnorm {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


for command in (index, link, info, search, diff, forward, evaluate, train, compare, export):  # in the order of the help
    app.command()(command)


def main() -> None:
    """Run the command line."""
    app()
