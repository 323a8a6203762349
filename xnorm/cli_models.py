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
    config: Annotated[
        str, typer.Argument(help="A YAML file: linker, corpus, trainer; for an encoder: terminology, trainer.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys: trainer.epochs=1.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: models/NAME of the config.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say how long an encoder would take, and how much memory; train nothing.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a reranker on annotated mentions, or an encoder on the names of a terminology, into a model folder."""
    from xnorm.console import Reporter, encoder_summary, training_summary
    from xnorm.train import TrainConfig, run_training
    from xnorm.train_encoder import estimate_training, in_words, read_training, run_encoder_training

    settings = read_training(config, overrides or ())
    target = output or Path("models") / settings.name
    if estimate and isinstance(settings, TrainConfig):
        raise ConfigError(f"--estimate: there is one for encoders alone, and {settings.trainer.type} is a reranker")

    def say(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    with Reporter(quiet=quiet or as_json) as reporter:
        if isinstance(settings, TrainConfig):
            about = run_training(settings, target, overwrite=overwrite, progress=reporter, say=say)
        elif estimate:
            cost = estimate_training(settings, progress=reporter, say=say)
        else:
            about = run_encoder_training(settings, target, overwrite=overwrite, progress=reporter, say=say)
    if estimate:
        typer.echo(json.dumps(cost.as_dict(), indent=1) if as_json else in_words(cost))
        return
    if as_json:
        typer.echo(json.dumps(about, indent=1, ensure_ascii=False))
        return
    for line in (training_summary if isinstance(settings, TrainConfig) else encoder_summary)(about):
        typer.echo(line)
    typer.echo(f"model: {target}", err=True)


@one_line_errors
def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG",
            help="A config whose dense generator has a sentence_transformer encoder, or a folder of `xnorm train`.",
        ),
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Replace keys.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: encoder, or MODEL-onnx.")
    ] = None,
    int8: Annotated[bool, typer.Option(help="Write the int8 graph, too.")] = True,
    overwrite: Overwrite = False,
) -> None:
    """Export to ONNX: the encoder of a config or one that `xnorm train` wrote, to be used as `encoder: {type: onnx,
    model: FOLDER}`, or a reranker that it wrote, as `reranker: {type: onnx, path: FOLDER}`."""
    from xnorm.artifact import kind_of
    from xnorm.export import export_encoder, find_encoder
    from xnorm.linker import LinkerConfig
    from xnorm.train_encoder import KIND, trained_encoder

    if not Path(source).is_dir():
        encoder = find_encoder(LinkerConfig.read(source, overrides or ()).candidates)
        export_encoder(encoder, output or Path("encoder"), int8=int8, overwrite=overwrite)
        return
    from xnorm.export_reranker import export_reranker

    if overrides:
        raise ConfigError(f"{overrides[0]}: a model folder has no keys to replace; they go with a config")
    target = output or Path(source).with_name(f"{Path(source).resolve().name}-onnx")
    if kind_of(Path(source)) == KIND:
        export_encoder(trained_encoder(Path(source)), target, int8=int8, overwrite=overwrite)
        typer.echo(f"encoder: {target}", err=True)
        return
    about = export_reranker(source, target, int8=int8, overwrite=overwrite)
    typer.echo(f"fp32: logits differ by up to {about['max_difference']:.1g} from those of torch", err=True)
    if int8:
        typer.echo(
            f"int8: logits differ by up to {about['int8_max_difference']:.2g} from those of fp32, "
            f"rank correlation {about['int8_rank_correlation']:.4f} (measure both with `xnorm evaluate`)",
            err=True,
        )
    typer.echo(f"reranker: {target}", err=True)
