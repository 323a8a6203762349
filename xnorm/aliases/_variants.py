"""What makers have in common that turn a name into other forms of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from xnorm.aliases.base import ALIASES, AliasConfig, AliasMaker, AliasReport, ReadSources
from xnorm.tables import Terminology
from xnorm.text import LangFilter, main_lang

__all__ = ["VariantConfig", "VariantMaker"]

BLOCK = 1 << 16
"""Names that are looked at at a time."""


class VariantConfig(AliasConfig):
    """Which names are varied."""

    scopes: list[Literal["preferred", "exact", "narrow", "broad", "related", "alias"]] = Field(
        default=["preferred", "exact", "alias"], min_length=1
    )
    """Scopes of the names that are varied."""
    ambiguous: Literal["none", "each"] = "each"
    """Which concepts get a name that is meant for several, because they share the name that it is made of: none of
    them, or each."""


class VariantMaker(AliasMaker):
    """Makes forms of names by the rules of their language; each weighs what its name weighs, times `weight`."""

    config_class: ClassVar[type[AliasConfig]] = VariantConfig
    config: VariantConfig
    languages: ClassVar[frozenset[str]]
    """Those that there are rules for."""

    @abstractmethod
    def variants(self, text: str, lang: str) -> Sequence[str]:
        """Return other forms of a name in one of `languages`; none where no rule fits."""

    def make(self, terminology: Terminology, read: ReadSources, report: AliasReport) -> Iterator[pa.Table]:
        names, wanted = terminology.names, LangFilter(self.config.langs)
        scope = names.column("scope").cast(pa.string())
        chosen = pc.is_in(scope, value_set=pa.array(self.config.scopes, pa.string())).to_numpy()
        for start in range(0, len(chosen), BLOCK):
            rows = start + np.flatnonzero(chosen[start : start + BLOCK])
            texts, langs, weights = (terminology.take("names", c, rows) for c in ("text", "lang", "weight"))
            made = [
                (at, form)
                for at, (text, lang) in enumerate(zip(texts, langs, strict=True))
                if main_lang(lang) in self.languages and wanted(lang)
                for form in self.variants(text, main_lang(lang))
            ]
            origin = np.array([at for at, _ in made], np.int64)
            yield pa.table(
                {
                    "concept": pa.array(terminology.name_concept[rows[origin]]),
                    "text": pa.array([form for _, form in made], pa.large_string()),
                    "lang": pa.array(_picked(langs, origin), pa.string()),
                    "source": pa.array([self.config.label] * len(made), pa.string()),
                    "weight": pa.array(np.array(weights, np.float32)[origin] * np.float32(self.config.weight)),
                },
                ALIASES,
            )


def _picked(values: Sequence[str], rows: npt.NDArray[np.int64]) -> list[str]:
    return [values[at] for at in rows.tolist()]
