"""LoRA: a transformer whose weights stay as they are, and small matrices beside its linear layers that are trained.

A layer W x becomes W x + alpha / rank * B A x, with A and B of `rank` rows and columns. In the end the products are
added to W, so a merged model is one as any other.

Source: Hu et al. 2021, LoRA (arXiv 2106.09685); the package `peft` does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from xnorm.config import StrictModel
from xnorm.errors import ArtifactError
from xnorm.loading import quiet
from xnorm.registry import require

__all__ = ["LoraConfig", "add_lora", "load_trained", "merge_lora", "save_trained"]

TRAINED = "trained.safetensors"
"""File of a checkpoint: what is trained, and nothing of what is not."""


class LoraConfig(StrictModel):
    """Settings of LoRA."""

    rank: int = Field(default=16, ge=1)
    """Rows and columns of the small matrices."""
    alpha: float = Field(default=32, gt=0, allow_inf_nan=False)
    """Their product counts `alpha / rank` times."""
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of a layer's inputs that the small matrices do not see, in training."""


def add_lora(model: Any, config: LoraConfig, *, tokens: list[int]) -> None:
    """Put small matrices beside the linear layers of a `CrossEncoder`, and leave only what is new to be trained.

    These are the small matrices, the parts that were drawn when the transformer was opened as a classifier (the head
    and the pooler before it), which are trained whole, and the word vectors of `tokens`.

    Args:
        model: its transformer is replaced.
        tokens: rows of the word vectors. A step with any copies the whole table, which costs a fifth of the time of a
            small multilingual model on a processor.

    Raises:
        MissingExtraError: without the extra `lora`.
    """
    peft = require("peft", extra="lora", what="LoRA")
    torch = require("torch", extra="torch", what="LoRA")
    whole = model[0].model
    names = {module: name for name, module in whole.named_modules()}
    head = _head(whole)
    inside = {module for top in head for module in top.modules()}
    linear = [name for module, name in names.items() if isinstance(module, torch.nn.Linear) and module not in inside]
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=linear,
        modules_to_save=[names[module] for module in head],
        trainable_token_indices={names[whole.get_input_embeddings()]: tokens} if tokens else None,
    )  # fmt: skip
    with quiet():
        model[0].model = peft.get_peft_model(whole, settings)


def _head(whole: Any) -> list[Any]:
    """Return the modules that belong to the classifier: those beside the transformer, and its pooler."""
    body = whole.base_model
    beside = [m for m in whole.children() if m is not body] if body is not whole else []
    pooler = getattr(body, "pooler", None)
    return [m for m in (*beside, pooler) if m is not None and any(True for _ in m.parameters())]


def merge_lora(model: Any) -> None:
    """Add the small matrices to the weights: the transformer is again as it was before `add_lora`, but trained."""
    with quiet():
        model[0].model = model[0].model.merge_and_unload()


def save_trained(model: Any, folder: Path) -> None:
    """Write the weights that are trained into a checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    require("safetensors.torch", extra="torch", what="LoRA").save_file(own, folder / TRAINED)


def load_trained(model: Any, folder: Path) -> None:
    """Put the weights of a checkpoint into a model.

    Raises:
        ArtifactError: they are of another model.
    """
    torch = require("torch", extra="torch", what="LoRA")
    found = require("safetensors.torch", extra="torch", what="LoRA").load_file(folder / TRAINED)
    own = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if {name: p.shape for name, p in own.items()} != {name: p.shape for name, p in found.items()}:
        raise ArtifactError(f"{folder / TRAINED}: holds other weights than those that are trained")
    with torch.no_grad():
        for name, p in own.items():
            p.copy_(found[name])
