"""SSSOM/TSV, the Simple Standard for Sharing Ontological Mappings: a block of YAML behind `#`, and a table below it.

Format: https://mapping-commons.github.io/sssom/spec-formats-tsv/. The block may stand in a file of its own beside the
table, with the ending `.yml`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import Field

from xnorm.curies import Namespaces
from xnorm.errors import DataError
from xnorm.files import open_text, read_table
from xnorm.mappings.base import MappingConfig, MappingReader, MappingReport, MappingRow, Predicate, predicate_of

__all__ = ["SssomConfig", "SssomReader"]

_NO_TERM = "NoTermFound"
_PROBE = "0000000"
"""A local id, to see what becomes of a prefix."""


class SssomConfig(MappingConfig):
    """A mapping set."""

    predicate_ids: dict[str, Predicate] = Field(default_factory=dict)
    """What further predicates mean, by their id in the file, as in `{oboInOwl:hasDbXref: exact}`."""
    namespaces: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by the beginning of the IRI that the `curie_map` gives, besides the known ones."""


class SssomReader(MappingReader):
    """Reads subjects as sources and objects as targets.

    Negated rows, rows that say that there is no term, rows of predicates that are not known, and rows without ids
    (literal mappings) are left out and counted. A prefix takes the form that xnorm knows for its IRI in the
    `curie_map`: `mesh` of `http://id.nlm.nih.gov/mesh/` is `MESH`.
    """

    config_class: ClassVar[type[MappingConfig]] = SssomConfig
    config: SssomConfig

    def read(self, report: MappingReport) -> Iterator[MappingRow]:
        """Yield a row a mapping.

        Raises:
            DataError: the block is not YAML, a column is missing, a confidence is no number from 0 to 1, or as
                `xnorm.files.read_table`.
        """
        path, comments = self.config.path, list[str]()
        prefixes: dict[str, str] | None = None
        wanted = ("subject_id", "predicate_id", "object_id")
        for line, row in read_table(path, delimiter="\t", columns=wanted, quotes=True, comments=comments):
            if prefixes is None:
                prefixes = self._about(comments, report)
            subject, target = row["subject_id"].strip(), row["object_id"].strip()
            modifier, predicate_id = row.get("predicate_modifier", "").strip(), row["predicate_id"].strip()
            if not subject or not target:
                report.skip("row without an id", line)
            elif _NO_TERM in (subject.partition(":")[2], target.partition(":")[2]):
                report.skip("row that says that there is no term", line)
            elif modifier:
                report.skip("negated row" if modifier.lower() == "not" else f"row with the modifier {modifier}", line)
            elif (predicate := self._predicate(predicate_id)) is None:
                report.skip(f"row with the predicate {predicate_id or 'none'}", line)
            else:
                confidence = self.confidence(row.get("confidence", ""), line)
                yield MappingRow(_renamed(subject, prefixes), _renamed(target, prefixes), predicate, confidence, line)

    def _predicate(self, identifier: str) -> Predicate | None:
        if identifier in self.config.predicate_ids:
            return self.config.predicate_ids[identifier]
        try:
            return predicate_of(identifier)
        except ValueError:
            return None

    def _about(self, comments: list[str], report: MappingReport) -> dict[str, str]:
        """Return what prefixes of the file are called here, from the block of the file or the file beside it."""
        # spreadsheets leave tabs behind the last value of a line
        path, text = self.config.path, "\n".join(line.rstrip() for line in comments)
        if not comments:
            beside = _beside(path)
            if beside is None:
                return {}
            path = beside
            with open_text(path, empty_ok=True) as file:
                text = file.read()
        about = _parse(text, path)
        version = about.get("mapping_set_version")
        report.version = version if isinstance(version, str) else None
        curie_map = about.get("curie_map") or {}
        if not isinstance(curie_map, Mapping) or not all(isinstance(iri, str) for iri in curie_map.values()):
            raise DataError("curie_map: expected an IRI by prefix", path=path)
        namespaces = Namespaces(self.config.namespaces)
        renamed: dict[str, str] = {}
        for prefix, iri in curie_map.items():
            known, _, local = namespaces.curie(iri + _PROBE).rpartition(":")
            if local == _PROBE and known != prefix:
                renamed[str(prefix)] = known
        return renamed


def _beside(path: Path) -> Path | None:
    """Return the file that may hold the block of a table: `a.sssom.yml` beside `a.sssom.tsv`."""
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    return next((p for ending in (".yml", ".yaml") if (p := path.with_name(stem + ending)).is_file()), None)


def _parse(text: str, path: Path) -> dict[Any, Any]:
    try:
        # every value a string: a version is no number, and no date can be wrong
        about = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        problem = getattr(e, "problem", None) or ("nested too deep" if isinstance(e, RecursionError) else e)
        line = None if mark is None else mark.line + 1
        raise DataError(f"the block before the table is not valid YAML: {problem}", path=path, line=line) from None
    if about in (None, ""):
        return {}
    if not isinstance(about, dict):
        raise DataError("the block before the table is not YAML of keys and values", path=path)
    return about


def _renamed(identifier: str, prefixes: Mapping[str, str]) -> str:
    prefix, colon, local = identifier.partition(":")
    return f"{prefixes[prefix]}:{local}" if colon and prefix in prefixes else identifier
