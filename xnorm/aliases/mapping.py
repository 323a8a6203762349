"""Names of concepts of another terminology that a mapping table says are ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa

from xnorm.aliases._foreign import ForeignConfig, names_for, open_foreign, table_paths
from xnorm.aliases.base import AliasConfig, AliasMaker, AliasReport, ReadSources
from xnorm.config import MappingSpec
from xnorm.errors import DataError
from xnorm.mapping import as_array, read_mapping
from xnorm.mappings.base import MappingConfig
from xnorm.merging import living_rows
from xnorm.tables import Terminology
from xnorm.tally import EXAMPLES

__all__ = ["MappingAliasConfig", "MappingMaker"]


class MappingAliasConfig(ForeignConfig):
    """A mapping, and the terminology that its source ids are of."""

    mapping: MappingSpec
    """Source ids are those of the other terminology, target ids ours; `inverse` turns it around."""


class MappingMaker(AliasMaker):
    """Gives a concept the names of the concepts that are mapped to it."""

    config_class: ClassVar[type[AliasConfig]] = MappingAliasConfig
    config: MappingAliasConfig

    def make(self, terminology: Terminology, read: ReadSources, report: AliasReport) -> Iterator[pa.Table]:
        """Yield the names of all concepts.

        Raises:
            DataError: the mapping or the other terminology cannot be read, or they do not meet.
        """
        assert isinstance(self.config.mapping, MappingConfig)
        mapping = read_mapping(self.config.mapping)
        foreign = open_foreign(self.config, read)
        concept, rows = mapping.rows_of(as_array(foreign.concepts.column("id")))
        owner = living_rows(terminology, mapping.rows.column("target").take(pa.array(rows)))
        report.leave("pair whose target is no concept of the terminology", int((owner < 0).sum()))
        concept, owner = concept[owner >= 0], owner[owner >= 0]
        if not len(owner):
            raise DataError(
                "leads from no concept of the sources to one of the terminology",
                path=self.config.mapping.path,
                fix="look at the CURIE prefixes of its ids, or set `inverse: true` in the mapping",
            )
        pairs = np.unique(np.stack([concept, owner], axis=1), axis=0)
        single = np.bincount(pairs[:, 0])[pairs[:, 0]] == 1
        if self.config.ambiguous == "none" and not single.all():
            several = np.unique(pairs[~single, 0])
            cases = foreign.take("concepts", "id", several[:EXAMPLES])
            report.leave("concept that is mapped to several of ours", len(several), cases)
            pairs = pairs[single]
        weight = np.full(len(pairs), self.config.weight, np.float32)
        yield names_for(foreign, self.config, pairs[:, 1], pairs[:, 0], weight)

    def paths(self) -> list[Path]:
        assert isinstance(self.config.mapping, MappingConfig)
        return [self.config.mapping.path, *table_paths(self.config)]
