"""Mentions that stand twice in a corpus: the same characters of the same document."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport
from xnorm.errors import DataError
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["MergeDuplicates", "MergeDuplicatesConfig"]


class MergeDuplicatesConfig(CleanupConfig):
    """What becomes of their gold."""

    type: str = "merge_duplicates"
    gold: Literal["alternatives", "composite", "same"] = "alternatives"
    """What the gold ids of the mentions are together: alternatives, any one of which is right, the parts of a
    composite, or ids that must be the same, else it is an error."""


class MergeDuplicates(Cleanup):
    """Makes one mention of those with the same spans and text in a document; the first lends it all but types and gold.

    Not merged are mentions without spans or a document, and those whose gold cannot be said in one way: a composite
    beside other alternatives, or alternatives that are to become part of a composite.
    """

    config_class: ClassVar[type[CleanupConfig]] = MergeDuplicatesConfig
    config: MergeDuplicatesConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        """Raise `DataError` where gold ids differ and must not."""
        return {part: self._merge(mentions, report) for part, mentions in parts.items()}

    def _merge(self, mentions: list[Mention], report: StageReport) -> list[Mention]:
        groups: dict[object, list[int]] = {}
        for at, mention in enumerate(mentions):
            alone = mention.document is None or not mention.spans
            key = at if alone else (mention.document, tuple(sorted(mention.spans)), mention.text)
            groups.setdefault(key, []).append(at)
        left: list[Mention | None] = list(mentions)
        for places in groups.values():
            if len(places) > 1 and (one := self._one([mentions[at] for at in places], report)) is not None:
                for at in places:
                    left[at] = None
                left[places[0]] = one
        return [m for m in left if m is not None]

    def _one(self, group: list[Mention], report: StageReport) -> Mention | None:
        """Return what several mentions become; None if they are left as they are."""
        first = group[0]
        where = f"document '{first.document}', {first.text!r}"
        gold = tuple(dict.fromkeys(i for m in group for i in m.gold))
        sets = {(frozenset(m.gold), m.composite) for m in group}
        said = {(ids, composite) for ids, composite in sets if ids}
        composite = any(c for _, c in said)
        if len(sets) > 1 and self.config.gold == "same":
            raise self._differ(group)
        if len(said) > 1:
            composite = self.config.gold == "composite"
            if any(c != composite and len(ids) > 1 for ids, c in said):
                report.change("same spans, but alternatives beside a composite: not merged", where)
                return None
        if len(sets) > 1:
            report.change(f"gold united as {self.config.gold}", f"{where}: {', '.join(gold)}")
        for _ in group[1:]:
            report.drop("merged into the mention with the same spans", where)
        types = tuple(dict.fromkeys(t for m in group for t in m.types))
        return replace(first, types=types, gold=gold, composite=composite and len(gold) > 1)

    def _differ(self, group: list[Mention]) -> DataError:
        said = "; ".join(f"'{m.id}': {', '.join(m.gold) or 'none'}" for m in group)
        return DataError(
            f"clean-up stage merge_duplicates: document '{group[0].document}': mentions with the same spans have "
            f"different gold ({said})",
            fix="set `gold` to alternatives or composite",
        )
