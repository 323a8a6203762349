"""SSSLM, the Simple Standard for Sharing Literal Mappings: names in a table, as Biosynonyms and Gilda use it.

Columns: https://github.com/cthoyt/ssslm#data-model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from xnorm.files import read_table
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport, predicate_scope

__all__ = ["SsslmConfig", "SsslmParser"]


class SsslmConfig(SourceConfig):
    """A table of literal mappings."""

    overlay: bool = True
    """Only lay names over concepts of earlier sources; where it stands alone, `name` is the preferred name."""
    rename_prefixes: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix in the terminology by prefix in the file: `{mesh: MESH}`."""
    skip_synonym_types: list[str] = Field(default_factory=list)
    """Leave out synonyms of these types, as in `["OMO:0003003"]` (layperson's)."""
    taxa: list[str] | None = None
    """Leave out names of other taxa, as in `["NCBITaxon:9606"]`; names without a taxon stay. Default: all."""


class SsslmParser(Parser):
    """Reads a name a row. Rows of an unknown predicate, and rows without a text or an id, are left out and counted."""

    config_class: ClassVar[type[SourceConfig]] = SsslmConfig
    config: SsslmConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a row, with the name of that row.

        Raises:
            DataError: there is no column `text` or `curie`, or as `xnorm.files.read_table`.
        """
        config = self.config
        for line, row in read_table(config.path, columns=("text", "curie"), quotes=True):
            cells = {column: cell.strip() for column, cell in row.items()}
            predicate = cells.get("predicate", "")
            scope = predicate_scope(predicate) if predicate else "related"  # which the standard says
            if reason := self._reason_to_skip(cells, scope, predicate):
                report.skip(reason, line)
                continue
            assert scope is not None
            identifier = self._identify(cells["curie"])
            lang = cells.get("language") or config.lang
            names = [RawName(cells["text"], lang, scope)]
            if not config.overlay and cells.get("name"):
                names.insert(0, RawName(cells["name"], config.lang, "preferred"))
            yield RawConcept(identifier, names, line=line)

    def _reason_to_skip(self, cells: dict[str, str], scope: str | None, predicate: str) -> str | None:
        if not cells["curie"] or not cells["text"]:
            return "row without a name" if cells["curie"] else "row without an id"
        if scope is None:
            return f"row with the predicate {predicate}"
        if cells.get("type") in self.config.skip_synonym_types:
            return f"synonym of the type {cells['type']}"
        taxon = cells.get("taxon")
        if taxon and self.config.taxa is not None and taxon not in self.config.taxa:
            return f"name of the taxon {taxon}"
        return None

    def _identify(self, curie: str) -> str:
        prefix, colon, local = curie.partition(":")
        return f"{self.config.rename_prefixes.get(prefix, prefix)}:{local}" if colon else self.curie(curie)
