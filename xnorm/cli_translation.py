"""The command that translates annotated corpora."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from xnorm.cli_shared import AsJson, Overwrite, Quiet, one_line_errors

__all__ = ["translate"]


@one_line_errors
def translate(
    config: Annotated[str, typer.Argument(help="A YAML file: parts of a corpus, translator, source and target.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys: translator.beams=1.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: translations/NAME of the config.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Documents of each part, for a try.")] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Translate an annotated corpus with its entities kept, into BigBIO files and an audit."""
    from xnorm.console import Reporter
    from xnorm.translation import TranslationConfig, run_translation
    from xnorm.translation_audit import audit_summary

    settings = TranslationConfig.read(config, overrides or ())
    target = output or Path("translations") / settings.name
    with Reporter(quiet=quiet or as_json) as reporter:
        about = run_translation(
            settings,
            target,
            limit=limit,
            overwrite=overwrite,
            progress=reporter,
            say=lambda line: None if quiet else typer.echo(line, err=True),
        )
    if as_json:
        typer.echo(json.dumps(about, indent=1, ensure_ascii=False))
        return
    for line in audit_summary(about["audit"]):
        typer.echo(line)
    typer.echo(f"translation: {target} (audit.json has examples and samples)", err=True)
