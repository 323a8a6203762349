"""The contract of a translator: texts in one language in, texts in another out, as many and in the same order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from xnorm.config import ComponentConfig

__all__ = ["Translator", "TranslatorConfig"]


class TranslatorConfig(ComponentConfig):
    """What every translator has."""

    seam: ClassVar[str] = "translators"


class Translator(ABC):
    """Translates sentences. What it needs is loaded when first needed, not when the object is made.

    Texts may hold markers such as `[1]` and `[/1]`, which should come back around the words that they stood around; a
    translator that loses, doubles or bends them costs entities, and never moves their labels.
    """

    config_class: ClassVar[type[TranslatorConfig]] = TranslatorConfig
    partial: ClassVar[bool] = False
    """Whether it leaves words as they are that it does not know; otherwise a long text that comes back as it was, or in
    another language, counts as not translated."""

    def __init__(self, config: TranslatorConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def identity(self) -> str:
        """Name, revision and every setting that the translations depend on: equal identities, equal translations."""

    @abstractmethod
    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations, one a text; an empty one says that a text could not be translated.

        A translation does not depend on its neighbours. The variant batches.

        Args:
            texts: sentences, none of them empty.
            source: language code as of `xnorm.text.lang_code`.
            target: the same.

        Raises:
            ConfigError: the translator cannot be used, or gives what is no translation.
            DataError: a file that it reads is missing or broken.
            MissingExtraError: a package that it needs is not installed.
        """

    def knows(self, text: str, source: str, target: str) -> bool:
        """Return whether every word of a text is translated; a partial translator says no of what it leaves."""
        return True

    @property
    def batch(self) -> int:
        """Texts to hand in at a time: what a run that is killed has to do again, at most."""
        return 128

    def about(self) -> dict[str, Any]:
        """Return counts of what was done so far, as plain data for the manifest."""
        return {}
