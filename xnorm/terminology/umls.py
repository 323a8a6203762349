"""UMLS: a release of the Metathesaurus in RRF, in one pass over its names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator, model_validator

from xnorm.atoms import CUIS, Atoms, Choice, cui_ids, cui_numbers
from xnorm.columns import Codes, Facts, Vocabulary, among, clean_column, facts
from xnorm.delimited import TAG
from xnorm.errors import ConfigError, DataError
from xnorm.registry import did_you_mean
from xnorm.rrf import Release
from xnorm.semantic_types import TYPE_NAMES, expand_types, with_types
from xnorm.terminology.base import MERGED, ColumnParser, SourceConfig, SourceReport
from xnorm.text import LangFilter

__all__ = ["UmlsConfig", "UmlsParser"]

_PREFIXES = {"SNOMEDCT_US": "SNOMEDCT", "SCTSPA": "SNOMEDCT", "MSH": "MESH", "LNC": "LOINC", "HPO": "HP", "NCI": "NCIT"}
"""CURIE prefix of a vocabulary's own codes, where it is not the vocabulary's abbreviation."""
_REASONS = {"SY": MERGED, "DEL": "deleted", "RB": "broader", "RN": "narrower", "RO": "related", "SUBX": "removed"}
"""REL of MRCUI -> why a concept is gone."""


class UmlsConfig(SourceConfig):
    """A release, and what to read of it."""

    prefix: str | None = "UMLS"
    """CURIE prefix of CUIs; where `ids` is a vocabulary, default: that of its codes."""
    types: list[str] | None = None
    """Keep only concepts of these semantic types or groups: `T047`, `Disease or Syndrome`, `DISO`; default: all."""
    subtypes: bool = False
    """Whether concepts of the types below those in `types` are kept, too."""
    vocabularies: list[str] | None = None
    """Keep only names from these vocabularies, by abbreviation: `SNOMEDCT_US`; default: all."""
    families: list[str] | None = None
    """Keep only names from vocabularies of these families: `MSH` is MSH, MSHGER, MSHFRE and so on (MRSAB.RRF)."""
    term_types: list[str] | None = None
    """Keep only names of these term types: `PT`, `SY`; default: all."""
    suppressed: list[Literal["N", "O", "E", "Y"]] = Field(default=["N"], min_length=1)
    """Keep names with these marks: N not suppressed, O obsolete, E by editors, Y by the release's settings."""
    ids: str = "CUI"
    """What identifies a concept: `CUI`, or the codes of a vocabulary: `SNOMEDCT_US`, `MSH`, `ICD10`."""
    code_column: Literal["CODE", "SCUI", "SDUI"] = "CODE"
    """Column that has the codes of `ids`."""
    extend: bool = False
    """Where `ids` is a vocabulary: whether its concepts get all names of their CUIs, not just its own."""
    xrefs: tuple[str, ...] = ()
    """Vocabularies whose codes become xrefs of their concept."""
    definitions: bool | list[str] = True
    """Whether to read definitions (MRDEF.RRF), or of which vocabularies, best first."""
    hierarchy: tuple[str, ...] = ()
    """Vocabularies whose hierarchy makes parents (MRREL.RRF, which is large)."""
    replaced_by: tuple[Literal["SY", "RB", "RN", "RO"], ...] = ("SY",)
    """What resolves a CUI that is gone (MRCUI.RRF): synonymous, broader, narrower, related concepts."""

    @field_validator("types")
    @classmethod
    def _ids_of_types(cls, words: list[str] | None) -> list[str] | None:
        try:
            return None if words is None else sorted(expand_types(words))
        except ConfigError as e:
            raise ValueError(str(e)) from None

    @model_validator(mode="after")
    def _check_ids(self) -> UmlsConfig:
        if self.ids == "CUI" and (self.extend or self.code_column != "CODE"):
            raise ValueError("`extend` and `code_column` are for codes as ids; set `ids` to a vocabulary")
        return self

    @property
    def id_prefix(self) -> str:
        """The CURIE prefix of ids, colon included; empty for none."""
        given = self.prefix if self.ids == "CUI" or "prefix" in self.model_fields_set else prefix_of(self.ids)
        return f"{given}:" if given else ""


def prefix_of(vocabulary: str) -> str:
    """Return the CURIE prefix of a vocabulary's codes."""
    return _PREFIXES.get(vocabulary, vocabulary.replace("_", ""))


class UmlsParser(ColumnParser):
    """Reads MRCONSO.RRF once, and beside it what else is wanted."""

    config_class: ClassVar[type[SourceConfig]] = UmlsConfig
    filters_types = True
    config: UmlsConfig

    @cached_property
    def release(self) -> Release:
        """The files."""
        return Release(self.config.path)

    def __init__(self, config: SourceConfig) -> None:
        super().__init__(config)
        self._tree: set[tuple[str, str]] = set()
        """Semantic types and their tree numbers: `A1.2` is below `A1`, that below `A`."""

    def paths(self) -> list[Path]:
        return self.release.paths()

    def columns(self, report: SourceReport) -> Iterator[Facts]:
        """Yield names block by block, then what is said of their concepts.

        Raises:
            DataError: a file that is needed is missing, damaged or of another kind, or no name is left.
            ConfigError: a vocabulary or family that the release does not have.
        """
        report.version = self.release.version()
        types = self._types(report)
        wanted = self._of_wanted_type(types)
        atoms = Atoms(self._choice(report), lambda reason, n: report.skip(reason, count=n), wanted)
        for block in self._whole_concepts(report):
            yield atoms.facts(block)
        report.read = int(atoms.read.sum())
        if not report.read:
            raise DataError("MRCONSO.RRF holds no concept", path=self.config.path, fix="is it whole?")
        if not atoms.there.any():
            raise DataError(
                f"no name is left of {report.read:,} concepts", path=self.config.path,
                fix="look at `ids`, `vocabularies`, `term_types`, `types`, `langs` and `suppressed`",
            )  # fmt: skip
        cui, tui = types
        ids, at = atoms.ids_of(cui[atoms.there[cui]])
        yield {"types": facts("types", id=ids, value=tui.filter(pa.array(atoms.there[cui])).take(pa.array(at)))}
        yield from self._definitions(report, atoms)
        yield from self._parents(report, atoms)
        yield from self._retired(report, atoms)

    def _choice(self, report: SourceReport) -> Choice:
        config = self.config
        return Choice(
            langs=LangFilter(config.langs),
            vocabularies=self._vocabularies(report),
            term_types=config.term_types,
            suppressed=config.suppressed,
            ranks=self._ranks(report),
            cui_prefix="UMLS:" if config.ids != "CUI" else config.id_prefix,
            xrefs={name: f"{prefix_of(name)}:" for name in config.xrefs},
            ids=None if config.ids == "CUI" else config.ids,
            code_column=config.code_column,
            code_prefix=config.id_prefix,
            extend=config.extend,
        )

    def _vocabularies(self, report: SourceReport) -> set[str] | None:
        """Return the vocabularies whose names are wanted, checked where the release lists its vocabularies."""
        config = self.config
        wanted = None if config.vocabularies is None and config.families is None else set(config.vocabularies or ())
        if config.families is None and self.release.find("MRSAB") is None:
            return wanted
        families: dict[str, set[str]] = {}
        keep = {"RSAB": pa.string(), "SF": pa.string()}
        for table in self.release.rows("MRSAB", keep, why="tells the families of vocabularies", skip=report.skip):
            for name, family in zip(table.column("RSAB").to_pylist(), table.column("SF").to_pylist(), strict=True):
                families.setdefault(family, set()).add(name)
        known = set().union(*families.values())
        for key, words, there in (
            ("vocabularies", config.vocabularies, known),
            ("families", config.families, families.keys()),
            ("ids", [] if config.ids == "CUI" else [config.ids], known),
            ("xrefs", config.xrefs, known),
            ("hierarchy", config.hierarchy, known),
            ("definitions", config.definitions if isinstance(config.definitions, list) else [], known),
        ):
            for word in words or ():
                if word not in there:
                    raise ConfigError(f"{key}: the release has no '{word}'; {did_you_mean(word, there)}")
        return None if wanted is None else wanted.union(*(families[family] for family in config.families or ()))

    def _ranks(self, report: SourceReport) -> dict[tuple[str, str], int]:
        if self.release.find("MRRANK") is None:
            return {}
        columns = {"RANK": pa.string(), "SAB": pa.string(), "TTY": pa.string(), "SUPPRESS": TAG}
        ranks: dict[tuple[str, str], int] = {}
        for table in self.release.rows("MRRANK", columns, why="ranks term types", skip=report.skip):
            for row in table.select(["RANK", "SAB", "TTY"]).to_pylist():
                rank = int(row["RANK"]) if row["RANK"].isdecimal() else 0
                ranks[row["SAB"], row["TTY"]] = max(rank, ranks.get((row["SAB"], row["TTY"]), 0))
        return ranks

    def _whole_concepts(self, report: SourceReport) -> Iterator[pa.Table]:
        """Yield MRCONSO in blocks that end with the last name of a concept.

        Raises:
            DataError: it is not sorted by CUI, as releases are.
        """
        keep = dict.fromkeys(("CUI", "LAT", "TS", "STT", "ISPREF", "SAB", "TTY", "SUPPRESS"), TAG) | {
            "STR": pa.string()
        }
        if self.config.xrefs:
            keep["CODE"] = pa.string()
        if self.config.ids != "CUI":
            keep[self.config.code_column] = pa.string()
        rest: pa.Table | None = None
        for table in self.release.rows("MRCONSO", keep, why="has the names", skip=report.skip):
            bad = cui_numbers(table.column("CUI")) < 0
            for line in table.column("line").filter(pa.array(bad)).to_pylist():
                report.skip("row without a CUI", f"MRCONSO.RRF:{line}")
            table = table.filter(pa.array(~bad))
            block = table if rest is None else pa.concat_tables([rest, table])
            cui = cui_numbers(block.column("CUI"))
            if not len(cui):
                continue
            if (falls := np.flatnonzero(np.diff(cui) < 0)).size:
                raise DataError(
                    "is not sorted by CUI, as releases are", path=self.release.find("MRCONSO"),
                    line=block.column("line")[int(falls[0]) + 1].as_py(), fix="sort it: LC_ALL=C sort -t'|' -k1,1 -s",
                )  # fmt: skip
            # the rows of the last concept may go on in the next block
            end = int(np.flatnonzero(cui != cui[-1])[-1]) + 1 if (cui != cui[-1]).any() else 0
            rest = block.slice(end)
            if end:
                yield block.slice(0, end)
        if rest is not None:
            yield rest

    def _types(self, report: SourceReport) -> tuple[Codes, pa.DictionaryArray]:
        """Return the CUIs and types of MRSTY.RRF; none if it is not there and not needed."""
        words, cuis, types = Vocabulary(), [np.empty(0, np.int32)], [np.empty(0, np.int32)]
        if self.release.find("MRSTY") is None and self.config.types is None:
            report.skip("all semantic types, for there is no MRSTY.RRF")
        else:
            columns = {"CUI": pa.string(), "TUI": TAG, "STN": TAG}
            why = "has the semantic types that `types` asks for"
            for table in self.release.rows("MRSTY", columns, why=why, skip=report.skip):
                cuis.append(cui_numbers(table.column("CUI")))
                types.append(words.codes(table.column("TUI")))
                pairs = table.select(["TUI", "STN"]).group_by(["TUI", "STN"]).aggregate([]).to_pylist()
                self._tree.update((pair["TUI"], pair["STN"]) for pair in pairs)
        return np.concatenate(cuis), words.column(np.concatenate(types))

    def _of_wanted_type(self, types: tuple[Codes, pa.DictionaryArray]) -> npt.NDArray[np.bool_] | None:
        """Return by CUI number whether it has a type that is asked for; None if all types are."""
        if self.config.types is None:
            return None
        kept = with_types(self.config.types)
        if self.config.subtypes:
            if unknown := sorted(t for t in kept if t in TYPE_NAMES and t not in {tui for tui, _ in self._tree}):
                raise ConfigError(
                    f"subtypes: no concept of the release has the type {unknown[0]}, so what is below it is not known; "
                    "name the types themselves"
                )
            above = {tree for tui, tree in self._tree if tui in kept}
            kept |= {tui for tui, tree in self._tree if any(_is_below(tree, other) for other in above)}
        cui, tui = types
        wanted = np.zeros(CUIS + 1, bool)
        wanted[cui[among(pa.chunked_array([tui]), kept)]] = True
        wanted[-1] = False
        return wanted

    def _definitions(self, report: SourceReport, atoms: Atoms) -> Iterator[Facts]:
        """Yield definitions, those of the vocabularies that come first in `definitions` first."""
        wanted = self.config.definitions
        if wanted is False or (wanted is True and self.release.find("MRDEF") is None):
            return
        columns = {"CUI": pa.string(), "SAB": TAG, "DEF": pa.string(), "SUPPRESS": TAG}
        tables = []
        for table in self.release.rows("MRDEF", columns, why="has the definitions", skip=report.skip):
            there = atoms.there[cui_numbers(table.column("CUI"))]
            tables.append(table.filter(pa.array(there & among(table.column("SUPPRESS"), self.config.suppressed))))
        found = pa.concat_tables(tables)
        for vocabulary in wanted if isinstance(wanted, list) else [None]:
            rows = found if vocabulary is None else found.filter(pa.array(among(found.column("SAB"), [vocabulary])))
            ids, at = atoms.ids_of(cui_numbers(rows.column("CUI")))
            texts = clean_column(rows.column("DEF")).take(pa.array(at))
            yield {"definitions": facts("definitions", id=ids, value=texts)}

    def _parents(self, report: SourceReport, atoms: Atoms) -> Iterator[Facts]:
        if not self.config.hierarchy:
            return
        columns = {"CUI1": TAG, "REL": TAG, "CUI2": TAG, "SAB": TAG, "SUPPRESS": TAG}
        for table in self.release.rows("MRREL", columns, why="has the hierarchy", skip=report.skip):
            # REL is what the second concept is to the first
            keep = among(table.column("REL"), ["PAR"]) & among(table.column("SAB"), self.config.hierarchy)
            rows = table.filter(pa.array(keep & among(table.column("SUPPRESS"), self.config.suppressed)))
            child, parent = cui_numbers(rows.column("CUI1")), cui_numbers(rows.column("CUI2"))
            inside = atoms.there[child] & atoms.there[parent] & (child != parent)
            children, of = atoms.ids_of(child[inside])
            parents, again = atoms.ids_of(parent[inside][of])
            children = children.take(pa.array(again))
            others = pc.not_equal(children, parents)  # two CUIs may have one code
            yield {"parents": facts("parents", id=children.filter(others), value=parents.filter(others))}

    def _retired(self, report: SourceReport, atoms: Atoms) -> Iterator[Facts]:
        """Yield what became of CUIs that are gone."""
        if self.config.ids != "CUI" or self.release.find("MRCUI") is None:
            return
        columns = {"CUI1": pa.string(), "REL": TAG, "CUI2": pa.string()}
        tables = self.release.rows("MRCUI", columns, why="has the CUIs that are gone", skip=report.skip)
        table = pa.concat_tables(tables)
        words = Vocabulary()
        old, new = cui_numbers(table.column("CUI1")), cui_numbers(table.column("CUI2"))
        relation = words.codes(table.column("REL"))
        keep = np.flatnonzero((old >= 0) & ~atoms.read[old])
        # by CUI; of one CUI what resolves it first, and synonymy before all
        resolves = np.isin(relation, [words.number(word) for word in self.config.replaced_by]) & (new >= 0)
        synonymous = resolves & (relation == words.number("SY"))
        order = keep[np.lexsort((~resolves[keep], ~synonymous[keep], old[keep]))]
        cuis, first = np.unique(old[order], return_index=True)
        into = order[resolves[order]]
        # a pair may be there for several versions
        into = into[np.sort(np.unique(old[into].astype(np.int64) * CUIS + new[into], return_index=True)[1])]
        offsets = np.searchsorted(old[into], np.append(cuis, CUIS))
        reasons = [_REASONS.get(word, word) for word in words.values]
        prefix = self.config.id_prefix
        yield {
            "retired": facts(
                "retired",
                id=cui_ids(cuis, prefix),
                replaced_by=pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), cui_ids(new[into], prefix)),
                reason=pa.array(reasons, pa.string()).take(pa.array(relation[order][first])),
            )
        }


def _is_below(tree: str, other: str) -> bool:
    """Return whether one tree number is below another: after a dot, or after the letter alone."""
    return tree.startswith(other) and tree != other and (len(other) == 1 or tree[len(other)] == ".")
