"""LOINC's own tables: `Loinc.csv` or `LoincTableCore.csv`, with `MapTo.csv` beside it, and its linguistic variants.

What the columns mean: https://loinc.org/kb/users-guide/loinc-database-structure/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from xnorm.config import InputPath
from xnorm.files import read_table
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["LoincConfig", "LoincParser"]

_VARIANT = re.compile(r"([a-z]{2,3})([A-Z]{2})\d+LinguisticVariant\.csv(?:\.gz)?")
"""`deDE15LinguisticVariant.csv`: language, country, number of the variant."""
_CLASS_TYPES = {"1": "laboratory", "2": "clinical", "3": "attachment", "4": "survey"}
_PARTS = ("COMPONENT", "PROPERTY", "TIME_ASPCT", "SYSTEM", "SCALE_TYP", "METHOD_TYP")
_NAMES = (
    "LONG_COMMON_NAME", "LinguisticVariantDisplayName", "DisplayName", "SHORTNAME", "CONSUMER_NAME", "RELATEDNAMES2",
)  # fmt: skip


class LoincConfig(SourceConfig):
    """A table of LOINC terms, or of their translation (`*LinguisticVariant.csv`, which is laid over by default)."""

    prefix: str | None = "LOINC"
    """CURIE prefix of the codes."""
    lang: str = ""
    """Language of the names; default: that of a linguistic variant's file name, and else English."""
    map_to: InputPath | None = None
    """Table of what replaced deprecated terms; default: `MapTo.csv` beside the file, if there is one."""
    discouraged: Literal["keep", "retire"] = "keep"
    """What becomes of terms of the status DISCOURAGED."""
    related_names: bool = False
    """Whether the words of `RELATEDNAMES2` become related names: dozens a term, abbreviations of its parts."""
    formal_names: bool = False
    """Whether the name made of the six parts (`Glucose:MCnc:Pt:Ser/Plas:Qn:`) is a name; it is one in any case where a
    linguistic variant has no other."""
    consumer_scope: Literal["exact", "broad", "related"] = "broad"
    """Scope of consumer names, which several terms may share."""

    @model_validator(mode="before")
    @classmethod
    def _lay_variants_over(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and _VARIANT.fullmatch(
            str(data.get("path", "")).replace("\\", "/").split("/")[-1]
        ):
            return {"overlay": True, **data}
        return data


class LoincParser(Parser):
    """Reads LOINC terms.

    `LONG_COMMON_NAME` is the preferred name, `DisplayName` and `SHORTNAME` are exact names. A linguistic variant often
    has no long name: its display name, or else the name made of its parts, is preferred instead.
    """

    config_class: ClassVar[type[SourceConfig]] = LoincConfig
    config: LoincConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a row.

        Raises:
            DataError: there is no column `LOINC_NUM`, or as `xnorm.files.read_table`.
        """
        path = self.config.path
        variant = _VARIANT.fullmatch(path.name)
        lang = self.config.lang or (f"{variant[1]}-{variant[2]}" if variant else "en")
        columns = ("LOINC_NUM", "COMPONENT") if variant else ("LOINC_NUM", "LONG_COMMON_NAME", "STATUS")
        replaced_by = {} if variant else self._replacements(report)
        for line, row in read_table(path, delimiter=",", columns=columns):
            code = row["LOINC_NUM"].strip()
            if not code:
                report.skip("row without a code", line)
                continue
            names = self._names(row, lang, variant is not None)
            retired = self._is_retired(row)
            if not names and not retired:
                report.skip("row without a name", line)
                continue
            version = row.get("VersionLastChanged", "").strip()
            report.version = max(report.version or "", version, key=_release) or None
            yield RawConcept(
                self.curie(code),
                names,
                types=_types(row),
                definition=row.get("DefinitionDescription", "").strip() or None,
                line=line,
                retired=retired,
                replaced_by=replaced_by.get(code, []) if retired else [],
            )

    def _is_retired(self, row: dict[str, str]) -> bool:
        status = row.get("STATUS", "").strip().upper()
        return status == "DEPRECATED" or (status == "DISCOURAGED" and self.config.discouraged == "retire")

    def _names(self, row: dict[str, str], lang: str, variant: bool) -> list[RawName]:
        cells = {column: row.get(column, "").strip() for column in (*_PARTS, *_NAMES)}
        exact = [cells[c] for c in ("LONG_COMMON_NAME", "LinguisticVariantDisplayName", "DisplayName") if cells[c]]
        formal = ":".join(cells[part] for part in _PARTS)
        if cells["COMPONENT"] and (self.config.formal_names or (variant and not exact)):
            exact.append(formal)
        exact += [cells["SHORTNAME"]] if cells["SHORTNAME"] else []
        names = [RawName(text, lang, "exact" if n else "preferred") for n, text in enumerate(exact)]
        if cells["CONSUMER_NAME"]:
            names.append(RawName(cells["CONSUMER_NAME"], lang, self.config.consumer_scope))
        if self.config.related_names:
            words = (word.strip() for word in cells["RELATEDNAMES2"].split(";"))
            names.extend(RawName(word, lang, "related") for word in words if word)
        return names

    def _replacements(self, report: SourceReport) -> dict[str, list[str]]:
        """Return what replaced each code."""
        path = self.config.map_to or self.config.path.with_name("MapTo.csv")
        if self.config.map_to is None and not path.exists():
            report.skip("table of replacements that is not there", path.name)
            return {}
        found: dict[str, list[str]] = {}
        for _, row in read_table(path, delimiter=",", columns=("LOINC", "MAP_TO")):
            found.setdefault(row["LOINC"].strip(), []).append(self.curie(row["MAP_TO"].strip()))
        return found


def _types(row: dict[str, str]) -> list[str]:
    kind = row.get("CLASSTYPE", "").strip()
    return [t for t in (row.get("CLASS", "").strip(), _CLASS_TYPES.get(kind, "")) if t]


def _release(version: str) -> tuple[int, ...]:
    """Return what releases are compared by: 2.9 is older than 2.10."""
    return tuple(int(part) if part.isascii() and part.isdigit() else 0 for part in version.split("."))
