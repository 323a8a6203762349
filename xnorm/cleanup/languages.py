"""Mentions in certain languages."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each
from xnorm.tables import Terminology
from xnorm.text import lang_code, main_lang
from xnorm.types import Mention

__all__ = ["Languages", "LanguagesConfig"]


class LanguagesConfig(CleanupConfig):
    """Which languages are kept."""

    type: str = "languages"
    langs: list[Annotated[str, AfterValidator(lang_code)]] = Field(min_length=1)
    """Languages of mentions; `pt` keeps `pt-br` too."""


class Languages(Cleanup):
    """Keeps the mentions of some languages; one without a language is in none of them."""

    config_class: ClassVar[type[CleanupConfig]] = LanguagesConfig
    config: LanguagesConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        wanted, met = set(self.config.langs), set[str]()

        def change(mention: Mention) -> Mention | None:
            lang = lang_code(mention.lang or "")
            hits = wanted & {lang, main_lang(lang)}
            met.update(hits)
            if not hits:
                report.drop(f"language {lang}" if mention.lang else "without a language", mention.text)
                return None
            return mention

        left = each(parts, change)
        for lang in dict.fromkeys(self.config.langs):
            if lang not in met:
                report.change("language in the settings that no mention has", lang)
        return left
