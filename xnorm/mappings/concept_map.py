"""FHIR ConceptMap in JSON, R4 and R5, alone, in Bundles, or a resource a line (NDJSON).

https://hl7.org/fhir/R4/conceptmap.html, https://hl7.org/fhir/R5/conceptmap.html. What the equivalences of R4 are in R5:
https://hl7.org/fhir/extensions/ConceptMap-ConceptMap4Bto5_ConceptMapRelationship.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from xnorm.curies import Systems
from xnorm.fhir import identify, name_of, read_resources
from xnorm.mappings.base import MappingConfig, MappingReader, MappingReport, MappingRow, predicate_of
from xnorm.records import JsonObject

__all__ = ["ConceptMapConfig", "ConceptMapReader"]

_APART = ("unmatched", "disjoint", "not-related-to")


class ConceptMapConfig(MappingConfig):
    """Concept maps: a JSON file with a ConceptMap or a Bundle, or NDJSON (`.ndjson`, `.jsonl`)."""

    systems: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by code system URL, besides the built-in ones. A system that is in neither takes `source_prefix` or
    `target_prefix`, or else the last part of its URL."""


class ConceptMapReader(MappingReader):
    """Reads the elements of every group.

    Targets that are said not to match, and elements without a target, are left out and counted. Rules for unmapped
    codes (`unmapped`) are not followed; what a target depends on (`dependsOn`) and what goes with it (`product`) is
    counted, and the target is used.
    """

    config_class: ClassVar[type[MappingConfig]] = ConceptMapConfig
    config: ConceptMapConfig

    def read(self, report: MappingReport) -> Iterator[MappingRow]:
        """Yield a row a target.

        Raises:
            DataError: a value of another kind than expected, an unknown equivalence, a code without a system, two
                systems that would have one prefix, or as `xnorm.fhir.read_resources`.
        """
        self._report = report
        config = self.config
        prefixes = "`source_prefix` or `target_prefix`"
        self._sources = Systems(config.systems, config.source_prefix, prefixes)
        self._targets = Systems(config.systems, config.target_prefix, prefixes)
        versions: set[str | None] = set()
        for kind, resource in read_resources(config.path, report.skip):
            if kind != "ConceptMap":
                report.skip(f"resource of type {kind}", name_of(resource))
                continue
            versions.add(resource.string("version"))
            for group in resource.objects("group", forget=True):
                yield from self._group(group)
        report.version = versions.pop() if len(versions) == 1 else None

    def _group(self, group: JsonObject) -> Iterator[MappingRow]:
        source, target = group.string("source"), group.string("target")
        unmapped = group.object("unmapped")
        if unmapped is not None:
            self._report.skip(f"rule for unmapped codes ({unmapped.string('mode') or 'no mode'})", unmapped.place)
        for element in group.objects("element", forget=True):
            code = element.string("code")
            if not code:
                self._report.skip("element without a code", element.place)  # R5: a value set is mapped
            elif element.boolean("noMap"):
                self._report.skip("code that is said to have no target", code)
            elif not element.items("target"):
                self._report.skip("code without a target", code)
            else:
                identifier = identify(self._sources, code, source, element)
                for item in element.objects("target"):
                    yield from self._target(identifier, item, target)

    def _target(self, source: str, item: JsonObject, system: str | None) -> Iterator[MappingRow]:
        word = item.string("relationship") or item.string("equivalence")  # R5 or R4
        code = item.string("code")
        if word in _APART:
            self._report.skip("target that does not match", source)
            return
        if word is None or not code:
            self._report.skip("target without a code" if word else "target without a relationship", source)
            return
        for key in ("dependsOn", "product"):
            if item.items(key):
                self._report.skip(f"condition of a target, which is used all the same ({key})", source)
        try:
            predicate = predicate_of(word)
        except ValueError as e:
            raise item.error(str(e), here=True) from None
        yield MappingRow(source, identify(self._targets, code, system, item), predicate, None, item.line)
