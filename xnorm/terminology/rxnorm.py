"""RxNorm: a release in its own RRF files."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from xnorm.columns import Facts, among, facts
from xnorm.delimited import TAG
from xnorm.rrf import Release
from xnorm.terminology.base import MERGED, ColumnParser, SourceConfig, SourceReport

__all__ = ["RxnormConfig", "RxnormParser"]

SYNONYMS = ("SY", "TMSY", "PSN", "ET")
"""Term types of RxNorm's own further names: synonym, tall man synonym, prescribable name, entry term. All others name a
kind of concept: IN ingredient, BN brand name, SCD clinical drug, ..."""


class RxnormConfig(SourceConfig):
    """A release (the folder with `rrf` in it, or `rrf` itself), and what to read of it."""

    prefix: str | None = "RXNORM"
    """CURIE prefix of RXCUIs."""
    types: list[str] | None = None
    """Keep only concepts of these term types (`IN`, `BN`, `SCD`) or semantic types (`T121`); default: all."""
    vocabularies: list[str] = Field(default=["RXNORM"], min_length=1)
    """Vocabularies whose names are kept, by abbreviation; those but RxNorm's own are exact names."""
    suppressed: list[Literal["N", "O", "E", "Y"]] = Field(default=["N"], min_length=1)
    """Keep names with these marks: N not suppressed, O obsolete, E by editors, Y by an editor of the source."""
    parents: list[str] = Field(default=["isa"])
    """Relations whose target is a parent: `isa`, `has_ingredient`, `tradename_of` (RELA of RXNREL.RRF)."""


class RxnormParser(ColumnParser):
    """Reads RXNCONSO.RRF, and RXNSTY, RXNREL and RXNCUI where they are there."""

    config_class: ClassVar[type[SourceConfig]] = RxnormConfig
    config: RxnormConfig

    @cached_property
    def release(self) -> Release:
        """The files."""
        return Release(self.config.path)

    def paths(self) -> list[Path]:
        return self.release.paths()

    def columns(self, report: SourceReport) -> Iterator[Facts]:
        """Yield names block by block, then what is said of their concepts.

        Raises:
            DataError: RXNCONSO.RRF is missing, damaged or of another kind.
        """
        columns = dict.fromkeys(("SAB", "TTY", "SUPPRESS", "LAT"), TAG) | {"RXCUI": pa.string(), "STR": pa.string()}
        there, read = [pa.array([], pa.string())], [pa.array([], pa.string())]
        for block in self.release.rows("RXNCONSO", columns, why="has the names", skip=report.skip):
            names = self._names(block, report)
            read.append(pc.unique(block.column("RXCUI")))
            distinct = pc.unique(names.column("RXCUI"))
            there.append(distinct)
            yield self._facts(names, distinct)
        known = pc.unique(pa.concat_arrays(there))
        report.read = len(pc.unique(pa.concat_arrays(read)))
        yield from self._semantic_types(report, known)
        yield from self._parents(report, known)
        yield from self._retired(report, known)

    def _names(self, block: pa.Table, report: SourceReport) -> pa.Table:
        without = pc.equal(block.column("RXCUI"), "")
        for line in block.column("line").filter(without).to_pylist():
            report.skip("row without an RXCUI", f"RXNCONSO.RRF:{line}")
        block = block.filter(pc.invert(without))
        current = among(block.column("SUPPRESS"), self.config.suppressed)
        report.skip("suppressed name", count=int((~current).sum()))
        own = among(block.column("SAB"), self.config.vocabularies)
        report.skip("name of another vocabulary", count=int((current & ~own).sum()))
        return block.filter(pa.array(current & own))

    def _facts(self, names: pa.Table, distinct: pa.Array) -> Facts:
        main = among(names.column("SAB"), ["RXNORM"]) & ~among(names.column("TTY"), SYNONYMS)
        ids = self._ids(names.column("RXCUI"))
        scope = pa.DictionaryArray.from_arrays(pa.array((~main).astype(np.int32)), pa.array(["preferred", "exact"]))
        kinds = names.filter(pa.array(main))
        return {
            "concepts": facts("concepts", id=self._ids(distinct)),
            "names": facts(
                "names",
                id=ids,
                text=names.column("STR"),
                lang=names.column("LAT"),
                scope=scope,
                source=names.column("SAB"),
            ),
            "types": facts("types", id=self._ids(kinds.column("RXCUI")), value=kinds.column("TTY")),
        }

    def _ids(self, numbers: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
        return pc.binary_join_element_wise(f"{self.config.prefix}:" if self.config.prefix else "", numbers, "")

    def _semantic_types(self, report: SourceReport, known: pa.Array) -> Iterator[Facts]:
        if self.release.find("RXNSTY") is None:
            return
        for table in self.release.rows("RXNSTY", {"RXCUI": pa.string(), "TUI": TAG}, why="", skip=report.skip):
            rows = table.filter(pc.is_in(table.column("RXCUI"), value_set=known))
            yield {"types": facts("types", id=self._ids(rows.column("RXCUI")), value=rows.column("TUI"))}

    def _parents(self, report: SourceReport, known: pa.Array) -> Iterator[Facts]:
        if self.release.find("RXNREL") is None or not self.config.parents:
            return
        columns = {"RXCUI1": pa.string(), "RXCUI2": pa.string(), "RELA": TAG, "SUPPRESS": TAG}
        for table in self.release.rows("RXNREL", columns, why="", skip=report.skip):
            # RELA is what the second concept is to the first: the second `isa` the first
            keep = among(table.column("RELA"), self.config.parents)
            rows = table.filter(pa.array(keep & among(table.column("SUPPRESS"), ["", *self.config.suppressed])))
            both = (pc.is_in(rows.column(c), value_set=known) for c in ("RXCUI1", "RXCUI2"))
            rows = rows.filter(pc.and_(*both))
            child, parent = self._ids(rows.column("RXCUI2")), self._ids(rows.column("RXCUI1"))
            yield {"parents": facts("parents", id=child, value=parent)}

    def _retired(self, report: SourceReport, known: pa.Array) -> Iterator[Facts]:
        """Yield RXCUIs that are gone: merged into one, split into several (cardinality), or without a successor."""
        if self.release.find("RXNCUI") is None:
            return
        tables = self.release.rows("RXNCUI", {"CUI1": pa.string(), "CUI2": pa.string()}, why="", skip=report.skip)
        into: dict[str, dict[str, None]] = {}
        alive = set(known.to_pylist())
        for table in tables:
            for old, new in zip(table.column("CUI1").to_pylist(), table.column("CUI2").to_pylist(), strict=True):
                if old and old not in alive:
                    into.setdefault(old, {}).update({new: None} if new and new != old else {})
        yield {
            "retired": facts(
                "retired",
                id=[self.curie(old) for old in into],
                replaced_by=[[self.curie(new) for new in news] for news in into.values()],
                reason=[MERGED if len(news) == 1 else "split" if news else "obsolete" for news in into.values()],
            )
        }
