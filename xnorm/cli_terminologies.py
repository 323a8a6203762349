"""Commands about terminologies and the indexes made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from xnorm.cli_shared import AsJson, Overwrite, Quiet, one_line_errors
from xnorm.errors import ConfigError

__all__ = ["diff", "forward", "index", "info", "search"]

TERMINOLOGY = "An index folder, or a config, whose sources are read if it has no index."


@one_line_errors
def index(
    config: Annotated[str, typer.Argument(help="A YAML file, or the name of a config that comes with xnorm (hpo).")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys: candidates.depth=256.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: index/NAME of the config.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Build an index from a config."""
    from xnorm.artifact import check_writable
    from xnorm.console import Reporter, summary
    from xnorm.linker import KIND, Linker, LinkerConfig

    settings = LinkerConfig.read(config, overrides or ())
    target = output or Path("index") / settings.name
    check_writable(target, kind=KIND, overwrite=overwrite)
    with Reporter(quiet=quiet or as_json) as reporter:
        linker = Linker.build(settings, progress=reporter)
        linker.save(target, overwrite=overwrite)
    about = _about(target)
    if as_json:
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
    elif not quiet:
        summary(about, err=True)


@one_line_errors
def info(
    index: Annotated[Path, typer.Argument(help="An index folder, or the folder of a trained or exported reranker.")],
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Look at the whole terminology, and write a Markdown report (.md) here."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every byte of every file.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Say what is in an index, from what it was made, and how large it is; or how good a reranker is."""
    from xnorm.artifact import kind_of, open_folder
    from xnorm.bundle import TYPES
    from xnorm.console import reranker_summary, summary

    kind = kind_of(index)
    if kind in TYPES:
        if report is not None:
            raise ConfigError(f"--report: is about a terminology, and {index} is a reranker")
        about = open_folder(index, kind=kind, verify=verify or None)
        lines = reranker_summary(about)
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
        return
    if report is not None and report.suffix != ".md":
        raise ConfigError(f"--report {report}: is written as Markdown; choose a name that ends in .md")
    about = _about(index, verify=verify or None)
    if report is not None:
        about["terminology"] = _report(index, about, report, overwrite=overwrite)
    if as_json:
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
    else:
        summary(about)
        if report is not None:
            typer.echo(f"report: {report}", err=True)


def _report(index: Path, about: dict[str, Any], path: Path, *, overwrite: bool) -> dict[str, Any]:
    from xnorm.linking import open_terminology
    from xnorm.looking import look
    from xnorm.output import open_output
    from xnorm.terminology_report import terminology_markdown

    with open_output(path, overwrite=overwrite) as out:
        found = look(open_terminology(index))
        out.file.write(terminology_markdown(about, found))
    return found


@one_line_errors
def search(
    index: Annotated[str, typer.Argument(help=TERMINOLOGY)],
    text: Annotated[str, typer.Argument(help="An id, a code, a name or a part of one.")],
    prefix: Annotated[bool, typer.Option("--prefix", help="Only ids and names that begin with the text.")] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Only ids and names that are the text.")] = False,
    lang: Annotated[
        list[str] | None, typer.Option("--lang", help="Language of names to search; several: en,de.")
    ] = None,
    type: Annotated[list[str] | None, typer.Option("--type", help="Only concepts of this type.")] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only names from this source.")] = None,
    branch: Annotated[list[str] | None, typer.Option("--branch", help="Only this concept and those below it.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="The most concepts to show.")] = 20,
    full: Annotated[bool, typer.Option("--full", help="Show all of each concept, as of a single one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Look concepts up by id or name: what is in the terminology, without linking."""
    from xnorm.console_terminologies import show_concepts, show_hits
    from xnorm.filters import from_options
    from xnorm.linking import open_terminology
    from xnorm.output import open_output
    from xnorm.search import as_data
    from xnorm.search import search as look_up

    if prefix and exact:
        raise ConfigError("--prefix and --exact were both given; use one")
    filters = from_options(None, types=type, langs=lang, sources=source, branches=branch)
    terminology = open_terminology(index)
    how = "prefix" if prefix else "exact" if exact else "any"
    found = as_data(terminology, text, look_up(terminology, text, how=how, filters=filters, limit=limit))
    with open_output(None, overwrite=False) as out:
        if as_json:
            out.file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        else:
            (show_concepts if full or found["total"] == 1 else show_hits)(found, out.file)


@one_line_errors
def diff(
    old: Annotated[str, typer.Argument(help=f"The older release: {TERMINOLOGY[0].lower()}{TERMINOLOGY[1:]}")],
    new: Annotated[str, typer.Argument(help="The newer release.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write every change here: .tsv, .csv or .md.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two releases of a terminology."""
    from xnorm.console_terminologies import diff_summary
    from xnorm.diff import check_output, write_diff, write_json
    from xnorm.diff import diff as compare
    from xnorm.linking import open_terminology
    from xnorm.output import open_output

    if output is not None:
        check_output(output)
    found = compare(open_terminology(old), open_terminology(new))
    if output is not None:
        write_diff(found, output, overwrite=overwrite)
    with open_output(None, overwrite=False) as out:
        write_json(found, out.file) if as_json else diff_summary(found.summary(), out.file)
    if output is not None:
        typer.echo(f"changes: {output}", err=True)


@one_line_errors
def forward(
    index: Annotated[str, typer.Argument(help=f"The newest release: {TERMINOLOGY[0].lower()}{TERMINOLOGY[1:]}")],
    file: Annotated[Path, typer.Argument(help="JSON Lines, CSV or TSV with concept ids, by its ending.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write, with the same ending; default: standard output."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", help="Column or key of the ids (mentions.gold); default: as `xnorm link` writes them."
        ),
    ] = None,
    through: Annotated[
        list[str] | None,
        typer.Option("--through", help="An earlier release whose retired ids count, too; the latest first."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option("--delimiter", help="Character between the cells of a table.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Bring the ids of a file up to date: retired ids become what took their place, with the reason."""
    from xnorm.console import Reporter
    from xnorm.console_terminologies import forward_summary
    from xnorm.forward import forward_file
    from xnorm.linking import open_terminology
    from xnorm.replacements import Replacements

    if output is None and as_json:
        raise ConfigError("--json prints the counts on standard output, where the file would go; name an --output")
    if output is not None and file.exists() and output.exists() and file.samefile(output):
        raise ConfigError(f"--output {output}: is the input itself; choose another file")
    releases = [open_terminology(release) for release in through or ()]
    replacements = Replacements(open_terminology(index), releases=releases)
    with Reporter(quiet=quiet or as_json) as reporter:
        counts = forward_file(
            file,
            output,
            replacements,
            columns=column or (),
            delimiter="\t" if delimiter == "\\t" else delimiter,
            overwrite=overwrite,
            progress=reporter,
        )
    if as_json:
        typer.echo(json.dumps(counts.as_dict(), indent=2, ensure_ascii=False))
    elif not quiet:
        for line in forward_summary(counts):
            typer.echo(line, err=True)


def _about(path: Path, *, verify: bool | None = None) -> dict[str, Any]:
    from xnorm.linking import describe

    return describe(path, verify=verify)
