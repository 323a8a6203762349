"""What makers have in common that take names from other terminologies."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from xnorm.aliases.base import ALIASES, AliasConfig, ReadSources
from xnorm.config import InputPath, SourceSpec
from xnorm.errors import ConfigError
from xnorm.tables import Terminology, ranges
from xnorm.terminology.base import Filters, SourceConfig
from xnorm.types import SCOPES

__all__ = ["ForeignConfig", "names_for", "open_foreign", "table_paths"]

_Rows = npt.NDArray[np.int64]


class ForeignConfig(AliasConfig):
    """Where other terminologies are, and which of their names are taken."""

    weight: float = Field(default=0.97, gt=0, le=1)
    """What generators multiply the score of an added name by, above 0 and at most 1."""
    sources: list[SourceSpec] = Field(default_factory=list)
    """The other terminologies, as the `sources` of a terminology."""
    path: InputPath | None = None
    """In their place: the folder of an index, or of the tables of a terminology."""
    scopes: list[Literal["preferred", "exact", "narrow", "broad", "related", "alias"]] = Field(
        default=["preferred", "exact"], min_length=1
    )
    """Scopes of the names that are taken."""

    @model_validator(mode="after")
    def _check(self) -> ForeignConfig:
        if bool(self.sources) == (self.path is not None):
            raise ValueError("expected either `sources` or `path`, which say where names are taken from")
        return self


def open_foreign(config: ForeignConfig, read: ReadSources) -> Terminology:
    """Return the terminology that names are taken from.

    Raises:
        ArtifactError, ConfigError, DataError: it cannot be read, or there is none.
    """
    if config.path is None:
        sources = [source for source in config.sources if isinstance(source, SourceConfig)]
        return read(sources, Filters(langs=config.langs, scopes=list(config.scopes)))
    return Terminology.open(_folder(config.path))


def _folder(path: Path) -> Path:
    for folder in (path / "terminology", path):
        if (folder / "concepts.arrow").is_file():
            return folder
    raise ConfigError(f"aliases.path: {path}: expected the folder of an index, or of the tables of a terminology")


def table_paths(config: ForeignConfig) -> list[Path]:
    """Return the tables that `path` stands for."""
    if config.path is None:
        return []
    return [_folder(config.path) / f"{table}.arrow" for table in ("concepts", "names", "retired")]


def names_for(
    foreign: Terminology, config: ForeignConfig, owner: _Rows, concept: _Rows, weight: npt.NDArray[np.float32]
) -> pa.Table:
    """Return names of other concepts as names of ours: first what a concept is called, then exact names, and so on.

    Args:
        owner: shape (pairs,), rows of our concepts.
        concept: shape (pairs,), rows of the concepts in `foreign` whose names they get.
        weight: shape (pairs,), what the weight of each name is multiplied by.
    """
    counts = np.diff(foreign.first_name)[concept]
    rows = ranges(foreign.first_name[concept], counts)
    names = foreign.names.take(pa.array(rows))
    own = np.repeat(weight, counts) * names.column("weight").to_numpy()
    columns = {
        "concept": pa.array(np.repeat(owner, counts), pa.int32()),
        "text": names.column("text"),
        **{tag: names.column(tag).cast(pa.string()) for tag in ("lang", "source")},
        "weight": pa.array(own, pa.float32()),
    }
    trust = pc.index_in(names.column("scope").cast(pa.string()), value_set=pa.array(SCOPES, pa.string())).to_numpy()
    order = np.lexsort((trust, np.repeat(owner, counts)))
    order = order[np.isin(trust[order], [SCOPES.index(scope) for scope in config.scopes])]
    return pa.table(columns, ALIASES).take(pa.array(order))
