"""Gold ids of another terminology, mapped through the cross-references of this one."""

from __future__ import annotations

from typing import ClassVar

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each, gold_rows, with_gold
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Xrefs", "XrefsConfig"]


class XrefsConfig(CleanupConfig):
    """Which gold ids are mapped."""

    type: str = "xrefs"
    prefixes: list[str] | None = Field(default=None, min_length=1)
    """CURIE prefixes of the gold ids that are mapped, as `UMLS`; default: all."""
    keep_live: bool = True
    """Whether gold ids that are in the terminology stay as they are."""


class Xrefs(Cleanup):
    """Replaces a gold id by all concepts that have it among their cross-references, as alternatives in order of id.

    A composite is mapped only if each of its parts is mapped to exactly one concept, else it is left alone. An id that
    no concept has is kept.
    """

    config_class: ClassVar[type[CleanupConfig]] = XrefsConfig
    mends_gold: ClassVar[bool] = True
    config: XrefsConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        gold = dict.fromkeys(i for mentions in parts.values() for m in mentions for i in m.gold)
        live = gold_rows(parts, terminology)
        wanted = [i for i in gold if self._is_wanted(i) and not (self.config.keep_live and i in live)]
        for prefix in self.config.prefixes or ():
            if not any(_prefix(i) == prefix for i in gold):
                report.change("prefix in the settings that no gold id has", prefix)
        found = _concepts_of(wanted, terminology)
        # what is in the terminology stands for itself if no other concept has it
        found = {i: found.get(i, [i] if i in live else []) for i in wanted}

        def change(mention: Mention) -> Mention:
            if mention.composite and any(len(found.get(i, [i])) != 1 for i in mention.gold):
                report.change(
                    "composite with a part that has no or several concepts, left alone", _joined(mention.gold)
                )
                return mention
            for i in mention.gold:
                if i in found and found[i] != [i]:
                    reason = ("no concept has the id", "mapped to one concept")[bool(found[i])]
                    reason = "mapped to several concepts" if len(found[i]) > 1 else reason
                    report.change(f"{reason} ({_prefix(i) or 'no prefix'})", f"{i} -> {_joined(found[i]) or 'none'}")
            return with_gold(mention, [new for i in mention.gold for new in found.get(i) or (i,)])

        return each(parts, change)

    def _is_wanted(self, identifier: str) -> bool:
        return self.config.prefixes is None or _prefix(identifier) in self.config.prefixes


def _concepts_of(xrefs: list[str], terminology: Terminology) -> dict[str, list[str]]:
    """Return the ids of the concepts that have a cross-reference, ascending, by cross-reference."""
    column = terminology.concepts.column("xrefs").combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of pyarrow before 12, and of a table without rows
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    hit = pc.is_in(values := pc.list_flatten(column), value_set=pa.array(xrefs, pa.string()))
    rows, values = pc.list_parent_indices(column).filter(hit), values.filter(hit)
    found: dict[str, dict[str, None]] = {}
    ids = terminology.take("concepts", "id", rows.to_numpy(zero_copy_only=False))
    for xref, concept in zip(values.to_pylist(), ids, strict=True):  # rows are in order of id
        found.setdefault(xref, {})[concept] = None
    return {xref: list(concepts) for xref, concepts in found.items()}


def _prefix(identifier: str) -> str:
    return identifier.partition(":")[0] if ":" in identifier else ""


def _joined(ids: list[str] | tuple[str, ...]) -> str:
    return ", ".join(ids)
