"""A random sample of mentions or documents, the same one every time."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from xnorm.cleanup.base import Cleanup, CleanupConfig, Parts, StageReport
from xnorm.errors import ConfigError
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = ["Sample", "SampleConfig"]

_Key = tuple[Any, ...]


def _sound_size(size: int | float) -> int | float:
    if (size < 1) if isinstance(size, int) else not 0 < size < 1:
        raise ValueError(f"expected a whole number from 1, or a fraction between 0 and 1, found {size}")
    return size


_Size = Annotated[int | float, AfterValidator(_sound_size)]


def _words(value: Any) -> Any:
    return [] if value in (None, "none") else [value] if isinstance(value, str) else value


class SampleConfig(CleanupConfig):
    """What is drawn."""

    type: str = "sample"
    mentions: _Size | None = None
    """How many mentions of each stratum: a number, or a fraction below 1."""
    documents: _Size | None = None
    """How many documents of each stratum, with all their mentions."""
    per: Annotated[list[Literal["part", "lang", "type"]], BeforeValidator(_words)] = Field(default=["part"])
    """What makes a stratum: the part of the corpus, the language, the entity type or several of them; `none`: the whole
    corpus is one. Several types of a mention together are one, and so are several languages of a document."""
    seed: int = 0
    """Another seed, another sample."""

    @model_validator(mode="after")
    def _check(self) -> SampleConfig:
        if (self.mentions is None) == (self.documents is None):
            raise ValueError("set one of `mentions` and `documents`")
        if self.documents is not None and "type" in self.per:
            raise ValueError("per: documents have no type; expected part, lang or none")
        return self


class Sample(Cleanup):
    """Draws from each stratum; what is drawn stays in the corpus' order.

    A sample depends on the seed and on the parts, documents and ids of its stratum's mentions, not on their order, and
    a greater sample holds every smaller one. At least one is drawn of each stratum.
    """

    config_class: ClassVar[type[CleanupConfig]] = SampleConfig
    config: SampleConfig

    def apply(self, parts: Parts, terminology: Terminology, report: StageReport) -> dict[str, list[Mention]]:
        """Raise `ConfigError` if documents are to be drawn and mentions have none."""
        keys = {part: self._keys(part, mentions) for part, mentions in parts.items()}
        traits: dict[_Key, list[set[str]]] = defaultdict(lambda: [set() for _ in self.config.per])
        for part, mentions in parts.items():
            for key, mention in zip(keys[part], mentions, strict=True):
                for values, trait in zip(traits[key], self.config.per, strict=True):
                    values.add(_trait(trait, part, mention))
        strata: dict[str, list[_Key]] = defaultdict(list)
        for key, found in traits.items():
            strata["/".join("+".join(sorted(values)) for values in found)].append(key)
        chosen = {key for name in sorted(strata) for key in self._draw(name, strata[name], report)}
        left = {
            part: [m for key, m in zip(keys[part], mentions, strict=True) if key in chosen]
            for part, mentions in parts.items()
        }
        for _ in range(sum(map(len, parts.values())) - sum(map(len, left.values()))):
            report.drop("not in the sample")
        return left

    def _keys(self, part: str, mentions: list[Mention]) -> list[_Key]:
        """Return what is drawn for each mention: its document, or itself, told from others by more than its id only if
        ids are missing or not unique."""
        if self.config.documents is not None:
            if any(m.document is None for m in mentions):
                problem = f"mentions of part '{part}' stand in no document"
                raise ConfigError(f"clean-up stage sample: {problem}; set `mentions` in place of `documents`")
            return [(part, m.document) for m in mentions]
        seen: Counter[_Key] = Counter()
        keys = []
        for m in mentions:
            key = (part, m.document or "", m.id or "", m.spans, m.text)
            keys.append((*key, seen[key]))
            seen[key] += 1
        return keys

    def _draw(self, name: str, keys: list[_Key], report: StageReport) -> list[_Key]:
        what = "mentions" if self.config.documents is None else "documents"
        size = self.config.mentions if self.config.documents is None else self.config.documents
        assert size is not None
        if isinstance(size, float):
            size = max(1, int(size * len(keys) + 0.5))
        elif len(keys) < size:
            report.change(f"stratum of fewer than {size} {what}, kept whole", f"{name or 'all'} ({len(keys)})")
        keys = sorted(keys)
        random.Random(f"{self.config.seed}/{name}").shuffle(keys)
        return keys[:size]


def _trait(name: str, part: str, mention: Mention) -> str:
    if name == "part":
        return part
    return (mention.lang or "und") if name == "lang" else "+".join(sorted(mention.types)) or "none"
