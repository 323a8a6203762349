"""Whether what a translator gave can be the translation of a sentence, and of an entity in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pydantic import Field

from xnorm.config import StrictModel
from xnorm.plausibility import effective_length, foreign_script, in_another_language, unchanged
from xnorm.realignment import Placed, Unit
from xnorm.text import fold_case

__all__ = ["NOT_WHOLE", "OTHER_LANGUAGE", "UNTRANSLATED", "ChecksConfig", "Judge", "Knows"]

OTHER_LANGUAGE = "the sentence came back in another language"
UNTRANSLATED = "the sentence came back untranslated"
NOT_WHOLE = "the translator does not know all of its words"


Knows = Callable[[str], bool]
"""Whether a translator knows all words of a text."""


class ChecksConfig(StrictModel):
    """What an entity that came back must be like."""

    longest_ratio: float = Field(default=4.0, gt=1)
    """How many times longer than its source it may be, or its source than it, after ten characters are allowed for."""
    alone: bool = True
    """Translate each entity by itself, too: one whose place holds another entity's words and none of its own is
    dropped."""
    unknown_words: bool = False
    """Whether an entity is kept that a partial translator, such as a table, knows some words of, or none."""


class Judge:
    """Whether translations are ones."""

    def __init__(
        self, config: ChecksConfig, source: str, target: str, knows: Knows | None, alone: Mapping[str, str]
    ) -> None:
        self.config, self.source, self.target, self.knows, self.alone = config, source, target, knows, alone

    def check(self, unit: Unit, placed: Placed) -> Placed:
        """Take back the entities of a translation that cannot be right, and note a fault of the whole."""
        placed.fault = self.fault(unit.text, placed.text)
        for place in list(placed.spans):
            reason = placed.fault or self._wrong(unit.entities[place].text, placed.surface(place))
            if reason is not None:
                placed.drop(place, reason)
        if placed.fault is not None:
            placed.lost = dict.fromkeys(placed.lost, placed.fault)
        return placed

    def fault(self, source: str, translation: str) -> str | None:
        """Return what is wrong with the translation of a sentence."""
        if not translation.strip():
            return "the translation is empty"
        if self.knows is not None:
            return None
        if unchanged(source, translation, words=5, letters=25):
            return UNTRANSLATED
        if in_another_language(translation, self.target):
            return OTHER_LANGUAGE
        if self._lengths_differ(source, translation, slack=40):
            return "the sentence came back much longer or shorter"
        return None

    def _wrong(self, source: str, translation: str) -> str | None:
        if self.knows is not None and not self.config.unknown_words:
            if not self.knows(source):
                return NOT_WHOLE
            # markers of other entities in it, or words between its fragments, can keep a phrase from being found
            if fold_case(self.alone[source]) != fold_case(translation):
                return "its words were not translated together"
        if foreign_script(translation, self.target) and not foreign_script(source, self.source, latin=False):
            return "it came back in another script"
        if self.knows is None and unchanged(source, translation, words=3, letters=20):
            return "it came back untranslated"
        if self._lengths_differ(source, translation, slack=10):
            return "it came back much longer or shorter"
        return None

    def _lengths_differ(self, source: str, translation: str, *, slack: int) -> bool:
        short, long = sorted((effective_length(source), effective_length(translation)))
        return long > self.config.longest_ratio * short + slack
