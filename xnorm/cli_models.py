"""Commands about models: training and export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from xnorm.cli_shared import AsJson, Overwrite, Quiet, one_line_errors
from xnorm.errors import ConfigError

__all__ = ["export", "train"]


@one_line_errors
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


@one_line_errors
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
