"""OBO files: HPO, MONDO, DOID, GO, UBERON and others."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import fastobo
from pydantic import Field

from xnorm.branches import below
from xnorm.errors import ConfigError, DataError
from xnorm.files import open_text
from xnorm.registry import did_you_mean
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["OboConfig", "OboParser"]


class OboConfig(SourceConfig):
    """An OBO file, of format 1.2 or 1.4."""

    roots: list[str] | None = None
    """Keep only these concepts and what lies below them by `is_a`; default: all."""
    prefixes: list[str] | None = None
    """Keep only ids with these CURIE prefixes, as in `[HP]`; default: all."""
    skip_synonym_types: list[str] = Field(default_factory=list)
    """Leave out synonyms of these types, as in `[layperson, plural_form]`; default: none."""


class OboParser(Parser):
    """Reads the terms of an OBO file.

    `name` is the preferred name, `synonym` a name of its scope, `is_a` a parent, `namespace` the type; `alt_id` and
    `is_obsolete` with `replaced_by` make retired ids. Typedefs and instances are passed over.
    """

    config_class: ClassVar[type[SourceConfig]] = OboConfig
    config: OboConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the terms in the file's order.

        Raises:
            DataError: not valid OBO, with the line; a root that is not in the file; or as `open_text`.
            ConfigError: a synonym type to skip that the file does not have.
        """
        self._synonym_types: set[str] = set()
        concepts = self._concepts(report)
        if self.config.roots is not None:
            concepts = self._below_roots(list(concepts), self.config.roots, report)
        prefixes = None if self.config.prefixes is None else {p.removesuffix(":") for p in self.config.prefixes}
        for concept in concepts:
            if prefixes is None or concept.id.partition(":")[0] in prefixes:
                yield concept
            else:
                report.skip("concept with another prefix", concept.id)
        for wanted in self.config.skip_synonym_types:
            if wanted not in self._synonym_types:
                problem = f"skip_synonym_types: no synonym has the type '{wanted}'"
                raise ConfigError(f"{self.config.path}: {problem}; {did_you_mean(wanted, self._synonym_types)}")

    def _concepts(self, report: SourceReport) -> Iterator[RawConcept]:
        with open_text(self.config.path) as file:
            # fastobo stumbles over lines that are a comment; an empty line in their place keeps the count
            text = re.sub(r"^[ \t]*!.*$", "", file.read(), flags=re.MULTILINE)
        # fastobo tells no lines of what it could read, but it keeps the order of the frames
        starts = _frame_lines(text)
        try:
            # bytes in memory: from a path fastobo warns, and from a slow handle it would hide errors of reading
            frames = fastobo.iter(io.BytesIO(text.encode()), ordered=True, threads=1)
            for clause in frames.header():
                if clause.raw_tag() == "data-version":
                    report.version = clause.raw_value()
            for line, frame in zip(starts, frames, strict=True):
                if isinstance(frame, fastobo.term.TermFrame):
                    yield self._concept(frame, line, report)
        except SyntaxError as e:
            raise self._not_obo(e) from None

    def _not_obo(self, error: SyntaxError) -> DataError:
        found = (error.text or "").strip(" \n␊")
        found = f"{found[:57]}..." if len(found) > 60 else found
        return DataError(
            f"not valid OBO: {error.msg}, found '{found}'",
            path=self.config.path,
            line=error.lineno,
            fix="mend the line; if it is the last, the file was cut off (fetch it again) or has no final line end",
        )

    def _concept(self, frame: Any, line: int, report: SourceReport) -> RawConcept:
        concept = RawConcept(self.curie(_plain(frame.id)), line=line)
        for clause in frame:
            match clause.raw_tag():
                case "name":
                    # first, wherever it stands: a retired concept is shown by its first name
                    concept.names.insert(0, RawName(clause.name, self.config.lang, "preferred"))
                case "synonym":
                    self._add_synonym(concept, clause.synonym, report)
                case "is_a":
                    concept.parents.append(self.curie(_plain(clause.term)))
                case "xref":
                    concept.xrefs.append(_plain(clause.xref.id))
                case "def":
                    concept.definition = clause.definition
                case "alt_id":
                    concept.alt_ids.append(self.curie(_plain(clause.alt_id)))
                case "namespace":
                    concept.types.append(_plain(clause.namespace))
                case "is_obsolete":
                    concept.retired = clause.obsolete
                case "replaced_by":
                    concept.replaced_by.append(self.curie(_plain(clause.term)))
        return concept

    def _add_synonym(self, concept: RawConcept, synonym: Any, report: SourceReport) -> None:
        if synonym.type is not None:
            kind = _plain(synonym.type)
            self._synonym_types.add(kind)
            if kind in self.config.skip_synonym_types:
                report.skip(f"synonym of type {kind}", concept.id)
                return
        concept.names.append(RawName(synonym.desc, self.config.lang, synonym.scope.lower()))

    def _below_roots(self, concepts: list[RawConcept], roots: list[str], report: SourceReport) -> Iterator[RawConcept]:
        """Yield the concepts at and below the roots, and the retired ones that one of these replaces."""
        ids = {concept.id for concept in concepts if not concept.retired}
        roots = [self.curie(root) for root in roots]
        for root in roots:
            if root not in ids:
                raise DataError(f"has no concept '{root}'", path=self.config.path, fix="look at `roots` in the config")
        kept = below(roots, ((concept.id, concept.parents) for concept in concepts))
        for concept in concepts:
            if concept.id in kept or (concept.retired and not kept.isdisjoint(concept.replaced_by)):
                yield concept
            else:
                report.skip("concept outside the roots", concept.id)


def _frame_lines(text: str) -> list[int]:
    """Return the line, from 1, at which each frame begins."""
    lines, at, line = [], 0, 1
    for match in re.finditer(r"^[ \t]*\[", text, re.MULTILINE):
        line += text.count("\n", at, match.start())
        at = match.start()
        lines.append(line)
    return lines


def _plain(identifier: Any) -> str:
    """Return an identifier without the escapes of the format."""
    text = str(identifier)
    return re.sub(r"\\(.)", r"\1", text) if "\\" in text else text
