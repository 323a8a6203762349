"""Component types: the file name is the registry.

`type: tfidf` under `candidates` is the one component class of `xnorm/candidates/tfidf.py`, imported when asked for.
`type: my_package.module:MyGenerator` is a user's own class.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
from collections.abc import Iterable
from pathlib import Path
from types import GenericAlias, ModuleType
from typing import Any

from xnorm.errors import ConfigError, MissingExtraError

__all__ = ["did_you_mean", "find_component", "list_components", "require"]

SEAMS = {
    "terminology": "ColumnParser",
    "mappings": "MappingReader",
    "aliases": "AliasMaker",
    "corpora": "Reader",
    "cleanup": "Cleanup",
    "encoders": "Encoder",
    "candidates": "CandidateGenerator",
    "reranking": "Reranker",
    "training": "Trainer",
    "translators": "Translator",
}
"""Folder of the package -> name of the base class in its base.py."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return a hint that ends an error message: the nearest known word, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"


def list_components(seam: str) -> list[str]:
    """Return the names of the variants that a seam ships, without importing them."""
    folder = Path(__file__).parent / seam
    return sorted(p.stem for p in folder.glob("*.py") if p.stem != "base" and not p.stem.startswith("_"))


def find_component(seam: str, type_name: str) -> type[Any]:
    """Return the class behind a `type` of a config.

    Raises:
        ConfigError: there is no such variant, or a user's own class cannot be imported or is of the wrong kind.
    """
    base = getattr(importlib.import_module(f"xnorm.{seam}.base"), SEAMS[seam])
    if ":" in type_name:
        return _own_class(seam, type_name, base)
    if type_name not in list_components(seam):
        raise ConfigError(f"unknown type '{type_name}' of {seam}; {did_you_mean(type_name, list_components(seam))}")
    module = importlib.import_module(f"xnorm.{seam}.{type_name}")
    found: type[Any] = next(
        c
        for c in vars(module).values()
        if _is_subclass(c, base) and c.__module__ == module.__name__ and not inspect.isabstract(c)
    )
    return found


def _own_class(seam: str, type_name: str, base: type) -> type[Any]:
    module_name, _, class_name = type_name.partition(":")
    try:
        found: type[Any] = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, TypeError, ValueError) as e:
        raise ConfigError(f"type '{type_name}' of {seam} cannot be imported: {e}") from e
    if not _is_subclass(found, base):
        raise ConfigError(f"type '{type_name}' of {seam} is not a subclass of xnorm.{seam}.base.{base.__name__}")
    return found


def _is_subclass(value: Any, base: type) -> bool:
    # in Python 3.10 list[str] passes for a class, and issubclass refuses it
    return inspect.isclass(value) and not isinstance(value, GenericAlias) and issubclass(value, base)


def require(package: str, *, extra: str, what: str) -> ModuleType:
    """Import an optional package.

    Raises:
        MissingExtraError: it is not installed; the message ends in the pip line.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as e:
        if e.name is not None and e.name.partition(".")[0] != package.partition(".")[0]:
            raise
        raise MissingExtraError(package, extra=extra, what=what) from None
