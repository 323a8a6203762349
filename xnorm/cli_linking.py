"""Commands that link mentions, and fit what linking depends on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from xnorm.cli_shared import AsJson, Overwrite, Quiet, one_line_errors
from xnorm.errors import ConfigError

__all__ = ["fuse", "link"]


@one_line_errors
def link(
    index: Annotated[str, typer.Argument(help="An index folder, or a config: its index is built first, once.")],
    input: Annotated[
        Path | None,
        typer.Argument(help="File of mentions (.txt .csv .tsv .jsonl, BigBIO, BRAT, PubTator); - is standard input."),
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", "-t", help="A mention; may be given again.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: standard output.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="The most candidates for a mention.")] = 10,
    lang: Annotated[str | None, typer.Option("--lang", help="Language of the mentions, where they name none.")] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="jsonl, csv, tsv or text; default: by --output's ending, else jsonl (text on a terminal).",
        ),
    ] = None,
    input_format: Annotated[
        str | None, typer.Option("--input-format", help="text, table, csv, tsv, jsonl, bigbio, brat, pubtator.")
    ] = None,
    column: Annotated[str | None, typer.Option("--column", help="Column of the mentions in a CSV or TSV file.")] = None,
    id_column: Annotated[str | None, typer.Option("--id-column", help="Column of their ids.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="An option of the input's format, such as delimiter=';'."),
    ] = None,
    only_types: Annotated[
        list[str] | None, typer.Option("--only-types", metavar="TYPE,...", help="Propose only concepts of these types.")
    ] = None,
    only_langs: Annotated[
        list[str] | None,
        typer.Option("--only-langs", metavar="LANG,...", help="Match only names in these languages."),
    ] = None,
    only_sources: Annotated[
        list[str] | None,
        typer.Option("--only-sources", metavar="NAME,...", help="Match only names of these sources."),
    ] = None,
    only_branches: Annotated[
        list[str] | None,
        typer.Option("--only-branches", metavar="ID,...", help="Propose only these concepts and what is below them."),
    ] = None,
    only_value_set: Annotated[
        Path | None,
        typer.Option("--only-value-set", metavar="FILE", help="Propose only concepts whose ids stand in this file."),
    ] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Drop candidates with a lower score.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each generator gave (jsonl, text).")] = False,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import the modules of `module:Class` components that an index names.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Link mentions to concepts, best candidate first."""
    from xnorm.config import parse_options
    from xnorm.console import Reporter, counts_in_words
    from xnorm.filters import from_options
    from xnorm.linker import check_top_k
    from xnorm.linking import job_key, link_file, mentions_of, open_linker
    from xnorm.output import format_of

    if text and input is not None:
        raise ConfigError(f"INPUT {input} and --text were both given; use one")
    if input is None and not text and sys.stdin.isatty():
        raise ConfigError("no mentions: name a file, pipe some in, or use --text")
    if input is not None and output is not None and input.exists() and output.exists() and input.samefile(output):
        raise ConfigError(f"--output {output}: is the input itself; choose another file")
    check_top_k(top_k)
    written = format_of(output, format)
    options = parse_options(option or ())
    options |= {k: v for k, v in (("column", column), ("id_column", id_column), ("lang", lang)) if v is not None}
    filters = from_options(
        only_value_set, types=only_types, langs=only_langs, sources=only_sources, branches=only_branches
    )
    with Reporter(quiet=quiet) as reporter:
        linker = open_linker(index, threshold=threshold, trust=trust, progress=reporter)
        mentions, report = mentions_of(input, texts=text, format=input_format, options=options)
        counts = link_file(
            linker,
            mentions,
            output,
            format=written,
            top_k=top_k,
            filters=filters,
            explain=explain,
            overwrite=overwrite,
            job=job_key(
                linker,
                input,
                filters=filters,
                output=output,
                format=written,
                top_k=top_k,
                explain=explain,
                reader=input_format,
                options=options,
            ),
            progress=reporter,
        )
    for line in counts_in_words(counts, report):
        if not quiet:
            typer.echo(line, err=True)


@one_line_errors
def fuse(
    index: Annotated[str, typer.Argument(help="An index folder, or a config, whose generator is an ensemble.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("fusion.json"),
    index_langs: Annotated[
        list[str] | None,
        typer.Option(
            "--index-langs",
            metavar="LANG,...",
            help="Names in these languages stand for the index, others for mentions; default: each language in turn.",
        ),
    ] = None,
    only_concepts: Annotated[
        Path | None,
        typer.Option(
            "--only-concepts",
            metavar="FILE",
            help="Take mentions from the names of these concepts alone: ids, one a line, such as held_out.txt of a "
            "trained encoder.",
        ),
    ] = None,
    queries: Annotated[int, typer.Option("--queries", help="Names that are used as mentions.")] = 4000,
    seed: Annotated[int, typer.Option("--seed", help="Of the draw.")] = 0,
    trust: Annotated[
        bool, typer.Option("--trust", help="Import the modules of `module:Class` components that an index names.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Fit how an ensemble weighs its members on the index's own names, without annotated data, into a file for
    `method: learned` with `fusion: {path: FILE}`."""
    from xnorm.config import validate
    from xnorm.console import Reporter
    from xnorm.fusion import FusionConfig
    from xnorm.linking import fit_fusion, open_linker

    langs = [lang for option in index_langs or () for lang in option.split(",") if lang.strip()] or None
    plain = {"fit": True, "queries": queries, "index_langs": langs, "seed": seed, "only_concepts": only_concepts}
    settings = validate(FusionConfig, plain, where="options")
    with Reporter(quiet=quiet or as_json) as reporter:
        linker = open_linker(index, trust=trust, progress=reporter)
        fusion = fit_fusion(linker, settings, output, overwrite=overwrite, progress=reporter)
    if as_json:
        typer.echo(json.dumps(fusion.model_dump(mode="json"), indent=1, ensure_ascii=False))
        return
    for line in fusion.in_words():
        typer.echo(line)
    typer.echo(f"fusion: {output}", err=True)
