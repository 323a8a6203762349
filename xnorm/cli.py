"""The command line: config in, one library call, table or file out.

The commands stand by subject in `cli_terminologies`, `cli_linking`, `cli_models`,
`cli_translation` and `cli_benchmarks`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from xnorm import __version__
from xnorm.cli_benchmarks import compare, evaluate
from xnorm.cli_linking import fuse, link
from xnorm.cli_models import export, train
from xnorm.cli_terminologies import diff, forward, index, info, map_, search
from xnorm.cli_translation import translate

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


# in the order of the help
commands = (index, link, info, search, diff, forward, map_, evaluate, train, fuse, translate, compare, export)
for command in commands:
    app.command(command.__name__.rstrip("_"))(command)  # map_, for the name of a builtin is taken


def main() -> None:
    """Run the command line."""
    app()
