"""Commands about terminologies and the indexes made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xnorm.cli_shared import AsJson, Overwrite, Quiet, one_line_errors
from xnorm.errors import ConfigError

if TYPE_CHECKING:
    from xnorm.id_files import IdCounts
    from xnorm.new_ids import IdLookup
    from xnorm.progress import Progress

__all__ = ["diff", "forward", "index", "info", "map_", "search"]

TERMINOLOGY = "An index folder, or a config, whose sources are read if it has no index."
IdFile = Annotated[Path, typer.Argument(help="JSON Lines, CSV or TSV with concept ids, by its ending.")]
Rewritten = Annotated[
    Path | None, typer.Option("--output", "-o", help="File to write, with the same ending; default: standard output.")
]
IdColumns = Annotated[
    list[str] | None,
    typer.Option("--column", help="Column or key of the ids (mentions.gold); default: as `xnorm link` writes them."),
]
Delimiter = Annotated[str | None, typer.Option("--delimiter", help="Character between the cells of a table.")]


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
    index: Annotated[
        Path, typer.Argument(help="An index folder, or a folder that `xnorm train` or `xnorm export` wrote.")
    ],
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Look at the whole terminology, and write a Markdown report (.md) here."),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every byte of every file.")] = False,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Say what is in an index, from what it was made, and how large it is; or how good a trained model is."""
    from xnorm.artifact import kind_of, open_folder
    from xnorm.bundle import TYPES
    from xnorm.console import encoder_model_summary, reranker_summary, summary
    from xnorm.train_encoder import KIND

    kind = kind_of(index)
    if kind in TYPES or kind == KIND:
        if report is not None:
            raise ConfigError(f"--report: is about a terminology, and {index} is a trained model")
        about = open_folder(index, kind=kind or KIND, verify=verify or None)
        lines = (encoder_model_summary if kind == KIND else reranker_summary)(about)
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
    file: IdFile,
    output: Rewritten = None,
    column: IdColumns = None,
    through: Annotated[
        list[str] | None,
        typer.Option("--through", help="An earlier release whose retired ids count, too; the latest first."),
    ] = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Bring the ids of a file up to date: retired ids become what took their place, with the reason."""
    from xnorm.console import Reporter
    from xnorm.console_terminologies import ids_summary
    from xnorm.linking import open_terminology
    from xnorm.replacements import STATUSES, Replacements

    _check_rewritten([file], output, as_json=as_json)
    releases = [open_terminology(release) for release in through or ()]
    replacements = Replacements(open_terminology(index), releases=releases)
    with Reporter(quiet=quiet or as_json) as reporter:
        counts = _rewrite(file, output, replacements, column, delimiter, overwrite, reporter)
    _say(counts.as_dict(), ids_summary(counts, STATUSES), quiet=quiet, as_json=as_json)


@one_line_errors
def map_(
    mapping: Annotated[
        Path,
        typer.Argument(help="A mapping file, or a YAML file with its `type` and settings, as a source's `map`."),
    ],
    file: IdFile,
    output: Rewritten = None,
    column: IdColumns = None,
    type: Annotated[
        str | None,
        typer.Option(
            "--type", help="Type of the mapping file: table, sssom, concept_map, rf2_map; default: as it looks."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="A setting of the mapping, such as columns.source=code."),
    ] = None,
    delimiter: Delimiter = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Translate the ids of a file to those of another terminology, by a mapping."""
    from xnorm.config import parse_options
    from xnorm.console import Reporter
    from xnorm.console_terminologies import ids_summary, mapping_summary
    from xnorm.mapping import MAPPED, mapping_config, read_mapping

    _check_rewritten([file, mapping], output, as_json=as_json)
    config = mapping_config(mapping, type=type, options=parse_options(option or ()))
    with Reporter(quiet=quiet or as_json) as reporter:
        known = read_mapping(config)
        counts = _rewrite(file, output, known, column, delimiter, overwrite, reporter)
    lines = [mapping_summary(known.report), *ids_summary(counts, MAPPED)]
    if counts.ids["unmapped"] and not counts.ids["mapped"] + counts.ids["several"]:
        lines.append(f"no id has a target; the mapping is of ids such as {known.sources[0]}")
    _say({**counts.as_dict(), "mapping": known.report.as_dict()}, lines, quiet=quiet, as_json=as_json)


def _check_rewritten(inputs: list[Path], output: Path | None, *, as_json: bool) -> None:
    if output is None and as_json:
        raise ConfigError("--json prints the counts on standard output, where the file would go; name an --output")
    if output is not None and output.exists() and any(i.exists() and i.samefile(output) for i in inputs):
        raise ConfigError(f"--output {output}: is the input itself; choose another file")


def _rewrite(
    file: Path,
    output: Path | None,
    lookup: IdLookup,
    columns: list[str] | None,
    delimiter: str | None,
    overwrite: bool,
    progress: Progress,
) -> IdCounts:
    from xnorm.id_files import rewrite_ids

    delimiter = "\t" if delimiter == "\\t" else delimiter
    return rewrite_ids(
        file, output, lookup, columns=columns or (), delimiter=delimiter, overwrite=overwrite, progress=progress
    )


def _say(data: dict[str, Any], lines: list[str], *, quiet: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif not quiet:
        for line in lines:
            typer.echo(line, err=True)


def _about(path: Path, *, verify: bool | None = None) -> dict[str, Any]:
    from xnorm.linking import describe

    return describe(path, verify=verify)
