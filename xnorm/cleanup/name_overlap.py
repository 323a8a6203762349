"""Mentions that are names of concepts, where the terminology gives the answer away or cannot hold one."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Literal

import numpy as np
from pydantic import model_validator

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each, gold_rows
from xnorm.tables import Terminology, ranges
from xnorm.text import fold_case
from xnorm.types import Mention

__all__ = ["NameOverlap", "NameOverlapConfig"]

_BATCH = 1 << 16


class NameOverlapConfig(CleanupConfig):
    """Which mentions are dropped."""

    type: str = "name_overlap"
    equal_to_gold: Literal["drop", "keep"] = "drop"
    """Mentions that equal, case aside, a name that their gold concept has in the terminology: finding them is
    looking them up."""
    shared_names: Literal["drop", "keep"] = "drop"
    """Mentions of a gold concept whose preferred name is, case aside, that of another concept too: nothing can tell the
    two apart by name."""

    @model_validator(mode="after")
    def _check(self) -> NameOverlapConfig:
        if self.equal_to_gold == self.shared_names == "keep":
            raise ValueError("nothing to do; set `equal_to_gold` or `shared_names` to drop")
        return self


class NameOverlap(Cleanup):
    """Drops such mentions where any of their gold concepts is like that; gold outside the terminology has no names."""

    config_class: ClassVar[type[CleanupConfig]] = NameOverlapConfig
    config: NameOverlapConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        rows = gold_rows(parts, terminology)
        distinct = np.unique(np.fromiter(rows.values(), np.int64))
        own = _own_names(distinct, terminology) if self.config.equal_to_gold == "drop" else set()
        shared = _with_shared_names(distinct, terminology) if self.config.shared_names == "drop" else set()

        def change(mention: Mention) -> Mention | None:
            found = [rows[i] for i in mention.gold if i in rows]
            text = fold_case(mention.text)
            if any((row, text) in own for row in found):
                report.drop("equal to a name of its concept", mention.text)
                return None
            if any(row in shared for row in found):
                report.drop("preferred name shared by several concepts", f"{mention.text} ({', '.join(mention.gold)})")
                return None
            return mention

        return each(parts, change)


def _own_names(rows: np.ndarray, terminology: Terminology) -> set[tuple[int, str]]:
    """Return (concept row, folded name) of every name of some concepts."""
    starts = terminology.first_name[rows]
    counts = terminology.first_name[rows + 1] - starts
    owners = np.repeat(rows, counts)
    texts = terminology.take("names", "text", ranges(starts, counts))
    return {(row, fold_case(text)) for row, text in zip(owners.tolist(), texts, strict=True)}


def _with_shared_names(rows: np.ndarray, terminology: Terminology) -> set[int]:
    """Return those of some concepts whose preferred name several concepts of the terminology have."""
    names = dict(zip(rows.tolist(), map(fold_case, terminology.take("concepts", "name", rows)), strict=True))
    wanted, counts = set(names.values()), Counter[str]()
    for batch in terminology.concepts.select(["name"]).to_batches(max_chunksize=_BATCH):
        counts.update(n for n in map(fold_case, batch.column(0).to_pylist()) if n in wanted)
    return {row for row, name in names.items() if counts[name] > 1}
