"""Sentences with a slot, which synthetic mentions are put into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xnorm.config import InputPath, StrictModel, read_yaml
from xnorm.errors import ConfigError
from xnorm.text import lang_code

__all__ = ["TemplatesConfig", "read_templates"]

SLOT = "{mention}"
SHIPPED = Path(__file__).parents[1] / "templates" / "mentions.yaml"


class TemplatesConfig(StrictModel):
    """Sentences of one's own."""

    path: InputPath
    """A YAML file: language -> list of sentences, each with `{mention}` once. Its languages take the place of those
    that come with xnorm; the others stay."""


def read_templates(path: Path | None = None) -> dict[str, list[tuple[str, str]]]:
    """Return by language the sentences that come with xnorm, as the texts before and after the slot.

    Args:
        path: a file of one's own, whose languages take the place of these.

    Raises:
        ConfigError: a file that is no mapping of languages to lists of sentences with one slot each.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for file in [SHIPPED] if path is None else [SHIPPED, path]:
        for lang, sentences in read_yaml(file).items():
            if not isinstance(sentences, list) or not sentences:
                raise ConfigError(f"{file}: {lang}: expected a list of sentences, found {str(sentences)[:40]!r}")
            for sentence in sentences:
                if not isinstance(sentence, str) or sentence.count(SLOT) != 1:
                    raise ConfigError(f"{file}: {lang}: expected a sentence with {SLOT} once, found {sentence!r}")
            code = _code(lang)
            found[code] = [(left, right) for left, _, right in (s.partition(SLOT) for s in sentences)]
    return found


def _code(lang: Any) -> str:
    """Return the code of a language; YAML takes that of Norwegian for false."""
    return "no" if lang is False else lang_code(str(lang))
