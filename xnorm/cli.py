"""The command line: config in, one library call, table or file out."""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from xnorm import __version__
from xnorm.errors import ConfigError, XnormError, XnormWarning

F = TypeVar("F", bound=Callable[..., None])

app = typer.Typer(
    help="Link mentions of diseases, symptoms or drugs, in any language, to the concepts of a terminology.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]


def _one_line_errors(command: F) -> F:
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


@app.command()
@_one_line_errors
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


@app.command()
@_one_line_errors
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
    with Reporter(quiet=quiet) as reporter:
        linker = open_linker(index, threshold=threshold, trust=trust, progress=reporter)
        mentions, report = mentions_of(input, texts=text, format=input_format, options=options)
        counts = link_file(
            linker,
            mentions,
            output,
            format=written,
            top_k=top_k,
            explain=explain,
            overwrite=overwrite,
            job=job_key(
                linker,
                input,
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


@app.command()
@_one_line_errors
def info(
    index: Annotated[Path, typer.Argument(help="An index folder, or the folder of a trained or exported reranker.")],
    verify: Annotated[bool, typer.Option("--verify", help="Check every byte of every file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is in an index, from what it was made, and how large it is; or how good a reranker is."""
    from xnorm.artifact import kind_of, open_folder
    from xnorm.bundle import TYPES
    from xnorm.console import reranker_summary, summary

    kind = kind_of(index)
    if kind in TYPES:
        about = open_folder(index, kind=kind, verify=verify or None)
        lines = reranker_summary(about)
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False) if as_json else "\n".join(lines))
        return
    about = _about(index, verify=verify or None)
    if as_json:
        typer.echo(json.dumps(about, indent=2, ensure_ascii=False))
    else:
        summary(about)


@app.command()
@_one_line_errors
def evaluate(
    config: Annotated[
        str, typer.Argument(help="A benchmark's YAML file, or the name of one that comes with xnorm (icd10-who).")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys: linker.candidates.depth=256.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: results/NAME of the benchmark.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", help="Judge these rankings of another system: mention id and ranked concept ids."
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run a benchmark: index, link, score and report, into a results folder."""
    from xnorm.benchmark import BenchmarkConfig, run_benchmark
    from xnorm.console import Reporter, results_summary

    given = [*(overrides or ())] + ([f"predictions.path={json.dumps(str(predictions))}"] if predictions else [])
    settings = BenchmarkConfig.read(config, given)
    target = output or Path("results") / settings.name
    with Reporter(quiet=quiet or as_json) as reporter:
        metrics = run_benchmark(
            settings,
            target,
            overwrite=overwrite,
            command=shlex.join(["xnorm", *sys.argv[1:]]),
            progress=reporter,
            say=lambda line: None if quiet else typer.echo(line, err=True),
        )
    if as_json:
        typer.echo(json.dumps(metrics, indent=1, ensure_ascii=False))
    else:
        results_summary(metrics)
        typer.echo(f"report: {target / 'report.html'}", err=True)


@app.command()
@_one_line_errors
def train(
    config: Annotated[str, typer.Argument(help="A YAML file: linker, corpus, trainer.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys: trainer.epochs=1.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: models/NAME of the config.")
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a reranker on annotated mentions, into a model folder."""
    from xnorm.console import Reporter, training_summary
    from xnorm.train import TrainConfig, run_training

    settings = TrainConfig.read(config, overrides or ())
    target = output or Path("models") / settings.name
    with Reporter(quiet=quiet or as_json) as reporter:
        about = run_training(
            settings,
            target,
            overwrite=overwrite,
            progress=reporter,
            say=lambda line: None if quiet else typer.echo(line, err=True),
        )
    if as_json:
        typer.echo(json.dumps(about, indent=1, ensure_ascii=False))
    else:
        for line in training_summary(about):
            typer.echo(line)
        typer.echo(f"model: {target}", err=True)


@app.command()
@_one_line_errors
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Results folders; the first is the baseline.")
    ],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", "-m", help="A metric; default: all they share but mean_rank.")
    ] = None,
    by: Annotated[list[str] | None, typer.Option("--by", help="Also by lang, type, part, ...")] = None,
    common: Annotated[bool, typer.Option("--common", help="Compare the mentions that all runs have.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Also write a Markdown table here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Set runs of one benchmark side by side: differences, intervals, p-values."""
    from xnorm.comparison import compare_runs
    from xnorm.console import comparison_summary

    if output is not None and output.suffix != ".md":
        raise ConfigError(f"--output {output}: is written as Markdown; choose a name that ends in .md")
    if output is not None and (output.exists() or not output.parent.is_dir()):
        problem = "exists already; choose another file" if output.exists() else f"there is no folder {output.parent}"
        raise ConfigError(f"--output {output}: {problem}")
    found = compare_runs(runs, metrics=metric, by=by or (), common=common)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
    else:
        comparison_summary(found.as_dict())
    if output is not None:
        output.write_text(found.as_markdown(), encoding="utf-8")


@app.command()
@_one_line_errors
def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A config whose dense generator has a sentence_transformer encoder, or a model folder of a reranker.",
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: encoder, or MODEL-onnx.")
    ] = None,
    int8: Annotated[bool, typer.Option(help="Write the int8 graph, too.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Export to ONNX: the encoder of a config, to be used as `encoder: {type: onnx, model: FOLDER}`, or a reranker that
    `xnorm train` wrote, as `reranker: {type: onnx, path: FOLDER}`."""
    from xnorm.export import export_encoder, find_encoder
    from xnorm.linker import LinkerConfig

    if not Path(source).is_dir():
        encoder = find_encoder(LinkerConfig.read(source, overrides or ()).candidates)
        export_encoder(encoder, output or Path("encoder"), int8=int8, overwrite=overwrite)
        return
    from xnorm.export_reranker import export_reranker

    if overrides:
        raise ConfigError(f"{overrides[0]}: a model folder has no keys to replace; they go with a config")
    target = output or Path(source).with_name(f"{Path(source).resolve().name}-onnx")
    about = export_reranker(source, target, int8=int8, overwrite=overwrite)
    typer.echo(f"fp32: logits differ by up to {about['max_difference']:.1g} from those of torch", err=True)
    if int8:
        typer.echo(
            f"int8: logits differ by up to {about['int8_max_difference']:.2g} from those of fp32, "
            f"rank correlation {about['int8_rank_correlation']:.4f} (measure both with `xnorm evaluate`)",
            err=True,
        )
    typer.echo(f"reranker: {target}", err=True)


def _about(path: Path, *, verify: bool | None = None) -> dict[str, Any]:
    from xnorm.linking import describe

    return describe(path, verify=verify)


def main() -> None:
    """Run the command line."""
    app()
