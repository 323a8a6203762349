"""Mentions whose gold concepts are of certain types."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each, gold_rows
from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean
from xnorm.semantic_types import expand_types, spellings
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["ConceptTypes", "ConceptTypesConfig"]


class ConceptTypesConfig(CleanupConfig):
    """Which concepts' mentions are kept."""

    type: str = "concept_types"
    types: list[str] = Field(min_length=1)
    """Types of the terminology's concepts."""
    umls: bool = False
    """Whether `types` are of UMLS: a semantic group (`DISO`) stands for its types by id and by name, a type for its id
    (`T047`) and its name."""
    outside: Literal["keep", "drop"] = "keep"
    """What to do with mentions none of whose gold is in the terminology, and with those that have none."""

    @model_validator(mode="after")
    def _check(self) -> ConceptTypesConfig:
        if self.umls:
            try:
                expand_types(self.types)
            except ConfigError as e:
                raise ValueError(f"types: {e}") from e
        return self


class ConceptTypes(Cleanup):
    """Keeps a mention if one of its alternatives has one of the types; of a composite, every part must.

    Gold ids that are not in the terminology speak neither for nor against a mention that has others.
    """

    config_class: ClassVar[type[CleanupConfig]] = ConceptTypesConfig
    config: ConceptTypesConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        """Raise `ConfigError` for types that no concept of the terminology has."""
        wanted = self._wanted(terminology)
        rows = gold_rows(parts, terminology)
        types = dict(zip(rows, terminology.take("concepts", "types", list(rows.values())), strict=True))
        fits = {i: not wanted.isdisjoint(found or ()) for i, found in types.items()}

        def change(mention: Mention) -> Mention | None:
            known = [i for i in mention.gold if i in fits]
            if not known:
                reason = "gold outside the terminology" if mention.gold else "without gold"
                note = report.drop if self.config.outside == "drop" else report.change
                note(reason, ", ".join(mention.gold) or mention.text)
                return None if self.config.outside == "drop" else mention
            enough = all if mention.composite else any
            if enough(fits[i] for i in known):
                return mention
            found = sorted({t for i in known if not fits[i] for t in types[i] or ()})
            report.drop(f"concept type {', '.join(found)}" if found else "concept without a type", ", ".join(known))
            return None

        return each(parts, change)

    def _wanted(self, terminology: Terminology) -> frozenset[str]:
        known = terminology.count_by("concepts", "types")
        if not known:
            raise ConfigError("clean-up stage concept_types: the concepts of this terminology have no types")
        if self.config.umls:
            wanted = spellings(self.config.types)
            if wanted.isdisjoint(known):
                problem = f"no concept of the terminology is of {', '.join(self.config.types)}"
                raise ConfigError(f"clean-up stage concept_types: {problem}; its types are {_some(list(known))}")
            return wanted
        for word in self.config.types:
            if word not in known:
                hint = did_you_mean(word, known)
                raise ConfigError(f"clean-up stage concept_types: no concept has the type '{word}'; {hint}")
        return frozenset(self.config.types)


def _some(types: list[str]) -> str:
    return ", ".join(types[:10]) + (", ..." if len(types) > 10 else "")
