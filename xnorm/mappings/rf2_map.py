"""Maps of SNOMED CT in its release format 2: simple and extended map reference sets.

`der2_sRefset_SimpleMapSnapshot_*.txt`, `der2_iissscRefset_ComplexMapSnapshot_*.txt` and
`der2_iisssccRefset_ExtendedMapSnapshot_*.txt`. Columns and correlations: the release file specification,
https://docs.snomed.org/snomed-ct-specifications/snomed-ct-release-file-specification.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from xnorm.errors import DataError
from xnorm.files import read_table
from xnorm.mappings.base import MappingConfig, MappingReader, MappingReport, MappingRow, Predicate

__all__ = ["Rf2MapConfig", "Rf2MapReader"]

_TARGETS = {
    "446608001": "ICDO",  # ICD-O simple map
    "447562003": "ICD10",  # ICD-10 complex map, in the extended map's file
    "6011000124106": "ICD10CM",  # ICD-10-CM complex map of the US edition
    "900000000000497000": "CTV3",
    "900000000000498005": "SNMI",  # SNOMED RT identifier
}
"""Reference set -> CURIE prefix of its targets."""
_CORRELATIONS: dict[str, Predicate] = {
    "447557004": "exact",
    "447558009": "broad",  # narrow to broad
    "447559001": "narrow",  # broad to narrow
    "447560006": "related",  # partial overlap
}
_NOT_MAPPABLE = "447556008"
_ALWAYS = ("", "TRUE", "OTHERWISE TRUE")
_COLUMNS = ("id", "effectiveTime", "active", "refsetId", "referencedComponentId", "mapTarget")


class Rf2MapConfig(MappingConfig):
    """A map reference set of a SNOMED CT snapshot."""

    source_prefix: str | None = "SNOMEDCT"
    """CURIE prefix of the concepts."""
    refsets: list[str] | None = None
    """Ids of the reference sets to read; default: all of the file."""
    unspecified: Predicate | None = None
    """What a target is whose correlation is not said: default `exact` in a simple map, and `broad` in the others, for
    they map to classifications, whose classes are no narrower than the concept."""
    conditional: bool = False
    """Whether targets are read that hold under a condition (`IFA ...`: of age, sex, or another finding) alone."""
    groups: bool = False
    """Whether targets are read that are only needed beside the first one (map group 2 and above)."""


class Rf2MapReader(MappingReader):
    """Reads the active rows of a snapshot.

    Targets under a condition, targets of later map groups, and rows without a target are left out and counted.
    """

    config_class: ClassVar[type[MappingConfig]] = Rf2MapConfig
    config: Rf2MapConfig

    def read(self, report: MappingReport) -> Iterator[MappingRow]:
        """Yield a row a member of a reference set.

        Raises:
            DataError: a column is missing, a member comes in two versions, as in a full release, the prefix of a
                reference set's targets is not known, or as `xnorm.files.read_table`.
        """
        config, seen = self.config, set[str]()
        versions: set[str] = set()
        for line, row in read_table(config.path, delimiter="\t", columns=_COLUMNS):
            if row["id"] in seen:
                raise DataError(
                    f"member {row['id']!r:.60} for the second time",
                    path=config.path,
                    line=line,
                    fix="take the file of the Snapshot, not of the Full release",
                )
            seen.add(row["id"])
            versions.add(row["effectiveTime"])
            if config.refsets is not None and row["refsetId"] not in config.refsets:
                report.skip(f"row of the reference set {row['refsetId']}", line)
            elif reason := self._reason_to_skip(row):
                report.skip(reason, line)
            elif predicate := self._predicate(row, report, line):
                source, target = row["referencedComponentId"].strip(), row["mapTarget"].strip()
                yield MappingRow(source, self._target(target, row["refsetId"], line), predicate, None, line)
        report.version = max(versions, default=None)

    def _reason_to_skip(self, row: dict[str, str]) -> str | None:
        if row["active"] != "1":
            return "inactive row"
        if not row["mapTarget"].strip():
            return "row without a target"
        if not self.config.groups and row.get("mapGroup", "1") not in ("0", "1", ""):
            return "target that goes with another one (map group 2 and above)"
        if not self.config.conditional and row.get("mapRule", "").strip().upper() not in _ALWAYS:
            return "target under a condition (map rule)"
        return None

    def _predicate(self, row: dict[str, str], report: MappingReport, line: int) -> Predicate | None:
        correlation = row.get("correlationId")
        if correlation == _NOT_MAPPABLE:
            report.skip("row that is said not to be mappable", line)
            return None
        default: Predicate = "exact" if correlation is None else "broad"
        return _CORRELATIONS.get(correlation or "", self.config.unspecified or default)

    def _target(self, target: str, refset: str, line: int) -> str:
        prefix = self.config.target_prefix or _TARGETS.get(refset)
        if prefix is None:
            raise DataError(
                f"no prefix is known for the targets of the reference set {refset!r:.40}",
                path=self.config.path,
                line=line,
                fix="set `target_prefix`, and `refsets` to those whose targets have it",
            )
        return f"{prefix}:{target}"
