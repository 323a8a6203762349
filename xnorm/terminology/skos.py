"""SKOS and SKOS-XL vocabularies in RDF: AGROVOC, EuroVoc, GEMET, NALT and others, in any syntax.

The vocabulary: https://www.w3.org/TR/skos-reference/, with SKOS-XL in its appendix B.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from xnorm.branches import below
from xnorm.curies import Namespaces
from xnorm.errors import DataError
from xnorm.rdf import rdf_files
from xnorm.rdf_subjects import Role, Roles, Subjects, read_subjects, refuse
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["SkosConfig", "SkosParser"]

_PROPERTIES = {
    "skos:prefLabel": "preferred",
    "skosxl:prefLabel": "preferred",
    "skos:altLabel": "exact",
    "skosxl:altLabel": "exact",
    "skos:hiddenLabel": "hidden",
    "skosxl:hiddenLabel": "hidden",
    "skosxl:literalForm": "text",
    "rdf:value": "text",
    "skos:definition": "definition",
    "skos:scopeNote": "definition",
    "skos:exactMatch": "xrefs",
    "skos:broader": "parents",
    "skos:narrower": "children",
    "dcterms:isReplacedBy": "replaced_by",
    "dcterms:replaces": "replaces",
    "owl:deprecated": "retired",
    "rdf:type": "kind",
    "skos:inScheme": "scheme",
    "skos:topConceptOf": "scheme",
    "skos:hasTopConcept": "top",
    "owl:versionInfo": "version",
}
_SKOS = "http://www.w3.org/2004/02/skos/core#"
_CONCEPT = f"{_SKOS}Concept"
_COLLECTIONS = {f"{_SKOS}Collection", f"{_SKOS}OrderedCollection"}
_OWL = "http://www.w3.org/2002/07/owl#"
_GENERAL = (_SKOS, _OWL, "http://www.w3.org/2000/01/rdf-schema#")
"""Beginnings of types that tell nothing of a concept."""


class SkosConfig(SourceConfig):
    """A SKOS vocabulary in any syntax of RDF: a file, or a folder of files that belong together."""

    schemes: list[str] | None = None
    """Keep only concepts of these schemes (`skos:inScheme`, top concepts), as CURIEs or IRIs; default: all."""
    roots: list[str] | None = None
    """Keep only these concepts and what lies below them; default: all."""
    ids: str | None = None
    """Property that has the ids, as in `skos:notation` or `dcterms:identifier`, which `prefix` is put before; default:
    the concepts' IRIs."""
    namespaces: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by the beginning of an IRI, as in `{"http://aims.fao.org/aos/agrovoc/": AGROVOC}`, besides the
    built-in ones; ids of no known namespace stay IRIs."""
    properties: dict[str, Literal[Role, "parents", "children", "replaces"]] = Field(default_factory=dict)
    """What properties say, by CURIE or IRI, as in `{"skos:closeMatch": xrefs, "skos:hiddenLabel": exact}`: a scope of
    names, `definition`, `types`, `xrefs`, `parents`, `children`, `alt_ids`, `replaced_by`, `replaces`, `retired`, or
    `none` for nothing. They have the first word before the built-in ones."""


class SkosParser(Parser):
    """Reads what has the type `skos:Concept`.

    `prefLabel` is the preferred name in its language, `altLabel` an exact name, both of SKOS and SKOS-XL. `broader`,
    and `narrower` the other way round, make parents; `exactMatch` is an xref, further types of a concept are its types.
    Concepts that are deprecated or replaced are retired. Collections are counted, other resources passed over.
    """

    config_class: ClassVar[type[SourceConfig]] = SkosConfig
    config: SkosConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the concepts in the file's order.

        Raises:
            DataError: no concept, a root that is not there, or as `xnorm.rdf.read_triples`.
            ConfigError: a property or a scheme that the file does not have.
        """
        config = self.config
        self._report, self._curies = report, Namespaces(config.namespaces)
        self._ids: dict[str, str] = {}
        known = _PROPERTIES if config.ids is None else {**_PROPERTIES, config.ids: "id"}
        self._roles = Roles(config.properties, known, config.namespaces)
        rdf_files(config.path, report.skip)  # counts what is left out
        said = read_subjects(config.path, self._roles)
        self._roles.check(config.path, "properties", config.properties)
        self._roles.check(config.path, "ids", [] if config.ids is None else [config.ids])
        concepts = self._concepts(said)
        members = self._members(concepts, said)
        if config.ids is not None:
            concepts = self._identify(concepts, said, config.ids)
        parents, successors = self._links(concepts, said)
        kept = self._below_roots(concepts, parents)
        for iri in concepts:
            concept = self._concept(iri, said, successors)
            concept.parents = parents.pop(iri)
            del said[iri]  # memory moves from here to what is made of it
            if members is not None and iri not in members:
                report.skip("concept of another scheme", concept.id)
            elif (
                kept is not None and concept.id not in kept and not (concept.retired and kept & {*concept.replaced_by})
            ):
                report.skip("concept outside the roots", concept.id)
            elif concept.names or concept.retired:
                yield concept
            else:
                report.skip("concept without a name", concept.id)

    def paths(self) -> list[Path]:
        return rdf_files(self.config.path) if self.config.path.is_dir() else []

    def _concepts(self, said: Subjects) -> list[str]:
        """Return the IRIs of the concepts; count what looks like one."""
        concepts, classes = [], 0
        for iri, about in said.items():
            kinds = about.facts.get("kind", ())
            if _CONCEPT in kinds:
                concepts.append(iri)
            elif not _COLLECTIONS.isdisjoint(kinds):
                self._report.skip("collection", self._id(iri))
            elif f"{_SKOS}ConceptScheme" in kinds:
                self._report.version = self._report.version or next(iter(about.values("version")), None)
            elif not kinds and about.texts:
                self._report.skip("named node that is not declared as a concept", self._id(iri))
            classes += f"{_OWL}Class" in kinds
        if not concepts:
            fix = (
                f"it has {classes:,} classes of OWL: read it with `type: owl`"
                if classes
                else "is it a SKOS vocabulary?"
            )
            raise DataError("holds no skos:Concept with an IRI", path=self.config.path, fix=fix)
        return concepts

    def _members(self, concepts: list[str], said: Subjects) -> set[str] | None:
        """Return the IRIs of the concepts in the schemes that are wanted, None for all."""
        if self.config.schemes is None:
            return None
        found: dict[str, set[str]] = defaultdict(set)
        for iri in concepts:
            for scheme in said[iri].values("scheme"):
                found[self._curies.curie(scheme)].add(iri)
        for scheme, about in said.items():
            found[self._curies.curie(scheme)].update(about.values("top"))
        known = {scheme for scheme, members in found.items() if members}
        for scheme in self.config.schemes:
            if self._curies.curie(scheme) not in known:
                refuse(self.config.path, "schemes", f"no concept is in the scheme '{scheme}'", scheme, known)
        return set[str]().union(*(found[self._curies.curie(scheme)] for scheme in self.config.schemes))

    def _identify(self, concepts: list[str], said: Subjects, source: str) -> list[str]:
        """Take the ids from a property, and return the concepts that have one."""
        found = []
        for iri in concepts:
            values = said[iri].values("id")
            if not values:
                self._report.skip(f"concept without {source}", self._id(iri))
                continue
            self._ids[iri] = self.curie(" ".join(values[0].split()))
            if len(values) > 1:
                self._report.skip(f"further {source} of a concept", " ".join([self._ids[iri], *values[1:]]))
            found.append(iri)
        return found

    def _links(self, concepts: list[str], said: Subjects) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Return ids of parents, and of successors, by IRI of a concept; both can be said of either end."""
        parents = {iri: [self._id(above) for above in said[iri].values("parents")] for iri in concepts}
        successors = {iri: [self._id(new) for new in said[iri].values("replaced_by")] for iri in concepts}
        for iri in concepts:
            for ends, role in ((parents, "children"), (successors, "replaces")):
                for other in said[iri].values(role):
                    if other in ends:
                        ends[other].append(self._id(iri))
                    elif role == "replaces":
                        said[iri].facts.setdefault("alt_ids", []).append(other)
        for iri, found in parents.items():
            own = self._id(iri)
            if own in found:
                self._report.skip("concept that is broader than itself", own)
            parents[iri] = [parent for parent in dict.fromkeys(found) if parent != own]
        return parents, successors

    def _below_roots(self, concepts: list[str], parents: dict[str, list[str]]) -> set[str] | None:
        """Return the ids at and below the roots, None for all."""
        if self.config.roots is None:
            return None
        by_id = [(self._id(iri), parents[iri]) for iri in concepts]
        ids = {identifier for identifier, _ in by_id}
        for root in self.config.roots:
            if self._id(root) not in ids:
                raise DataError(f"has no concept '{root}'", path=self.config.path, fix="look at `roots` in the config")
        return below(map(self._id, self.config.roots), by_id)

    def _concept(self, iri: str, said: Subjects, successors: dict[str, list[str]]) -> RawConcept:
        about, concept = said[iri], RawConcept(self._id(iri))
        names = said.names(about, self.config.lang, lambda reason: self._report.skip(reason, concept.id))
        concept.names = [RawName(name.text, name.lang or "", name.scope) for name in names]
        concept.definition = said.definition(about, self.config.lang)
        kinds = [kind for kind in about.values("kind") if not kind.startswith(_GENERAL)]
        concept.types = [self._curies.curie(kind) for kind in dict.fromkeys(kinds + about.values("types"))]
        concept.xrefs = [self._curies.curie(xref) for xref in about.values("xrefs")]
        concept.alt_ids = [self._id(old) for old in about.values("alt_ids")]
        concept.replaced_by = list(dict.fromkeys(successors[iri]))
        concept.retired = about.holds("retired") or bool(concept.replaced_by)
        return concept

    def _id(self, iri: str) -> str:
        found = self._ids.get(iri)
        if found is None:
            self._ids[iri] = found = self.curie(self._curies.curie(" ".join(iri.split())))
        return found
