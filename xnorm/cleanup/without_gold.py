"""Mentions that nobody gave a concept to."""

from __future__ import annotations

from typing import ClassVar

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["WithoutGold", "WithoutGoldConfig"]


class WithoutGoldConfig(CleanupConfig):
    """What else is dropped."""

    type: str = "without_gold"
    no_text: bool = False
    """Whether mentions with an empty text are dropped, too."""


class WithoutGold(Cleanup):
    """Drops mentions without gold (NIL)."""

    config_class: ClassVar[type[CleanupConfig]] = WithoutGoldConfig
    config: WithoutGoldConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        def change(mention: Mention) -> Mention | None:
            if not mention.gold:
                report.drop("without gold", mention.text)
                return None
            if self.config.no_text and not mention.text.strip():
                report.drop("without text", mention.id)
                return None
            return mention

        return each(parts, change)
