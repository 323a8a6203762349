"""A SentenceTransformer made ready for training: cut, frozen, in which precision, and how much memory it takes."""

from __future__ import annotations

import sys
from typing import Any

import torch

from xnorm.errors import ConfigError

__all__ = ["computes_in_half", "cut_layers", "freeze_embeddings", "freeze_pooler", "memory", "pooling"]


def cut_layers(model: Any, wanted: int | list[int], *, name: str) -> None:
    """Keep the first layers of a model's transformer, or those with the given numbers.

    Raises:
        ConfigError: it has fewer, or none that can be told.
    """
    transformer = model[0].model
    config = transformer.config
    there = getattr(config, "num_hidden_layers", None)
    found = [
        (parent, key, child)
        for parent in transformer.modules()
        for key, child in parent.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == there
    ]
    if len(found) != 1:
        raise ConfigError(f"layers: cannot tell the layers of model {name} ({type(transformer).__name__}); remove it")
    parent, key, layers = found[0]
    kept = list(range(wanted)) if isinstance(wanted, int) else wanted
    if kept[-1] >= len(layers):
        raise ConfigError(f"layers: model {name} has {there} layers, found {wanted}")
    setattr(parent, key, torch.nn.ModuleList([layers[i] for i in kept]))
    config.num_hidden_layers = len(kept)
    kinds = getattr(config, "layer_types", None)  # of models whose layers differ
    if kinds is not None:
        config.layer_types = [kinds[i] for i in kept]


def freeze_embeddings(model: Any) -> None:
    """Leave word vectors, and what is added to them before the first layer, as they are."""
    transformer = model[0].model
    whole = getattr(transformer, "embeddings", None)
    for p in (whole if whole is not None else transformer.get_input_embeddings()).parameters():
        p.requires_grad_(False)


def freeze_pooler(model: Any) -> None:
    """Leave out of the training what a transformer has for classifiers, and what no vector of a text depends on."""
    for name, p in model[0].named_parameters():
        if "pooler" in name.split("."):
            p.requires_grad_(False)


def pooling(model: Any) -> str | None:
    """Return how a model's token vectors become one; None if it does not pool them."""
    modes = [getattr(module, "pooling_mode", None) for module in model if type(module).__name__ == "Pooling"]
    return str(modes[0]) if modes else None


def computes_in_half(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    signs = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, sign, bool)() for sign in signs)


def memory(model: Any) -> int:
    """Return the most bytes that were taken up to now: of the accelerator if the model is on one, else of the process;
    at least what the model's weights, their gradients and the optimizer's moments take."""
    at_least: int = sum(p.numel() * p.element_size() * (4 if p.requires_grad else 1) for p in model.parameters())
    kind = model.device.type
    if kind == "cuda":
        return max(at_least, int(torch.cuda.max_memory_allocated(model.device)))
    if kind == "mps":
        return max(at_least, int(torch.mps.driver_allocated_memory()))
    try:
        import resource
    except ImportError:  # not on Windows
        return at_least
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return max(at_least, most * (1 if sys.platform == "darwin" else 1024))
