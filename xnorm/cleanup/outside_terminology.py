"""Mentions whose gold is not in the terminology, so that no linker can be right about them."""

from __future__ import annotations

from typing import ClassVar, Literal

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each, gold_rows, with_gold
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["OutsideTerminology", "OutsideTerminologyConfig"]


class OutsideTerminologyConfig(CleanupConfig):
    """What is done with such mentions."""

    type: str = "outside_terminology"
    policy: Literal["drop", "keep"] = "drop"
    """Drop the mentions, or keep and only count them."""
    trim: bool = False
    """Whether alternatives that are not in the terminology are taken off a mention that has others that are."""


class OutsideTerminology(Cleanup):
    """Finds mentions with gold of which no alternative, or not every part of a composite, is in the terminology.

    Mentions without gold are left alone.
    """

    config_class: ClassVar[type[CleanupConfig]] = OutsideTerminologyConfig
    config: OutsideTerminologyConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        live = gold_rows(parts, terminology)

        def change(mention: Mention) -> Mention | None:
            outside = [i for i in mention.gold if i not in live]
            if not outside:
                return mention
            if len(outside) == len(mention.gold) or mention.composite:
                reason = f"gold outside the terminology ({_prefixes(outside)})"
                drops = self.config.policy == "drop"
                (report.drop if drops else report.change)(reason, ", ".join(outside))
                return None if drops else mention
            if not self.config.trim:
                return mention
            for i in outside:
                report.change(f"alternative outside the terminology taken off ({_prefixes([i])})", i)
            return with_gold(mention, [i for i in mention.gold if i in live])

        return each(parts, change)


def _prefixes(ids: list[str]) -> str:
    return ", ".join(sorted({i.partition(":")[0] if ":" in i else "no prefix" for i in ids}))
