"""Commands about benchmarks: a run, and runs side by side."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from xnorm.cli_shared import AsJson, Overwrite, Quiet, one_line_errors
from xnorm.errors import ConfigError

__all__ = ["compare", "evaluate"]


@one_line_errors
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


@one_line_errors
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
