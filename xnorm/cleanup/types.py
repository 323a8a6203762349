"""Entity types of a corpus: which are kept, and which concept types they stand for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport, each
from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean
from xnorm.semantic_types import expand_types, spellings
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Types", "TypesConfig"]

_Words = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]


class TypesConfig(CleanupConfig):
    """What is done with which entity type."""

    type: str = "types"
    map: dict[str, _Words] = Field(default={})
    """Entity type, as the corpus has it -> the concept type or types that take its place."""
    keep: list[str] | None = None
    """Entity types, as the corpus has them, that are kept; default: all."""
    drop: list[str] = Field(default=[])
    """Entity types that are not kept, though `keep` may name them."""
    unmapped: Literal["keep", "drop", "error"] = "keep"
    """What to do with a kept entity type that has no entry in `map`: keep it as it is, take it off as if it stood in
    `drop`, or stop; of no account without a `map`."""
    umls: bool = False
    """Whether the words of `keep`, `drop` and the values of `map` are of UMLS: a semantic group (`DISO`) stands for its
    types, by id and by name, and for itself; a type for its id (`T047`) and its name. What is mapped to is ids."""

    @model_validator(mode="after")
    def _check(self) -> TypesConfig:
        if not self.map and self.keep is None and not self.drop:
            raise ValueError("nothing to do; set `map`, `keep` or `drop`")
        for entity_type, words in self.map.items():
            if not words:
                raise ValueError(f"map.{entity_type}: expected a concept type; put the entity type into `drop` instead")
        if self.umls:
            for key, words in (("keep", self.keep or []), ("drop", self.drop), *self.map.items()):
                try:
                    expand_types(words)
                except ConfigError as e:
                    raise ValueError(f"{key}: {e}") from e
        return self


class Types(Cleanup):
    """Takes unwanted types off and mentions that have no other, then writes concept types in place of entity types.

    A mention with several types stays if one of them stays. A mention without any type stays unless there is a `keep`.
    """

    config_class: ClassVar[type[CleanupConfig]] = TypesConfig
    config: TypesConfig

    def __init__(self, config: TypesConfig) -> None:
        super().__init__(config)
        self._keep = None if config.keep is None else self._names(config.keep)
        self._drop = self._names(config.drop)

    def _names(self, words: list[str]) -> frozenset[str]:
        return spellings(words) if self.config.umls else frozenset(words)

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        """Raise `ConfigError` for a type without an entry in `map`, if `unmapped` says so."""
        counts = Counter(t for mentions in parts.values() for m in mentions for t in m.types)
        for word in (*self.config.map, *(() if self.config.umls else (*(self.config.keep or ()), *self.config.drop))):
            if word not in counts:
                report.change("entity type in the settings that no mention has", word)
        mapped = {t: self._mapped(t, counts) for t in counts if self._stays(t)}

        def change(mention: Mention) -> Mention | None:
            stay = [t for t in mention.types if mapped.get(t)]
            if not stay and (mention.types or self.config.keep is not None):
                reason = f"type {', '.join(sorted(mention.types))}" if mention.types else "without a type"
                report.drop(reason, mention.text)
                return None
            for t in mention.types:
                if t not in stay:
                    report.change(f"type {t} taken off a mention with other types", mention.text)
            types = tuple(dict.fromkeys(new for t in stay for new in mapped[t]))
            if types == mention.types:
                return mention
            for t in stay:
                if mapped[t] != (t,):
                    report.change(f"type {t} mapped to {_short(mapped[t])}")
            return replace(mention, types=types)

        return each(parts, change)

    def _stays(self, entity_type: str) -> bool:
        return (self._keep is None or entity_type in self._keep) and entity_type not in self._drop

    def _mapped(self, entity_type: str, counts: Counter[str]) -> tuple[str, ...]:
        """Return the concept types of an entity type; none if it is to be taken off."""
        words = self.config.map.get(entity_type)
        if words is not None:
            return tuple(sorted(expand_types(words))) if self.config.umls else tuple(dict.fromkeys(words))
        if self.config.map and self.config.unmapped == "error":
            problem = f"`map` has no entry for the entity type '{entity_type}' of {counts[entity_type]} mentions"
            raise ConfigError(f"clean-up stage types: {problem}; {did_you_mean(entity_type, self.config.map)}")
        return () if self.config.map and self.config.unmapped == "drop" else (entity_type,)


def _short(types: tuple[str, ...]) -> str:
    return ", ".join(types[:3]) + (f" and {len(types) - 3} more" if len(types) > 3 else "")
