"""OWL ontologies in RDF: `hp.owl` and others of the OBO Foundry, ORDO, EFO, NCIT; in RDF/XML, Turtle or JSON-LD.

How OWL is written in RDF: https://www.w3.org/TR/owl2-mapping-to-rdf/. Annotation properties of OBO ontologies:
https://owlcollab.github.io/oboformat/doc/obo-syntax.html (section 5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from xnorm.branches import below
from xnorm.curies import Namespaces
from xnorm.errors import DataError
from xnorm.rdf import rdf_files
from xnorm.rdf_subjects import Role, Roles, Subjects, read_subjects, refuse
from xnorm.terminology.base import SYNONYMS, Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["OwlConfig", "OwlParser"]

_PROPERTIES: dict[str, Role] = {
    "rdfs:label": "preferred",
    "skos:prefLabel": "preferred",
    "skos:altLabel": "exact",
    **SYNONYMS,
    "IAO:0000118": "exact",  # alternative label
    "http://www.ebi.ac.uk/efo/alternative_term": "exact",  # of ORDO, too
    "IAO:0000115": "definition",
    "skos:definition": "definition",
    "http://www.ebi.ac.uk/efo/definition": "definition",
    "oboInOwl:hasDbXref": "xrefs",
    "skos:exactMatch": "xrefs",
    "oboInOwl:hasOBONamespace": "types",
    "oboInOwl:hasAlternativeId": "alt_ids",
    "IAO:0100001": "replaced_by",  # term replaced by
    "owl:deprecated": "retired",
}
_STRUCTURE = {
    "skos:hiddenLabel": "hidden",
    "rdf:value": "text",
    "rdf:type": "kind",
    "rdfs:subClassOf": "above",
    "owl:equivalentClass": "same",
    "owl:onProperty": "relation",
    "owl:someValuesFrom": "some",
    "owl:versionIRI": "version",
    "owl:versionInfo": "version_info",
    "owl:imports": "imports",
}
_AXIOM = {
    "owl:annotatedSource": "of",
    "owl:annotatedProperty": "property",
    "owl:annotatedTarget": "synonym",
    "oboInOwl:hasSynonymType": "synonym_type",
}
_RELATIONS = {"part_of": "BFO:0000050"}

_OWL = "http://www.w3.org/2002/07/owl#"
_CLASSES = {f"{_OWL}Class", f"{_OWL}DeprecatedClass", "http://www.w3.org/2000/01/rdf-schema#Class"}
_THING = f"{_OWL}Thing"
_CONCEPT = "http://www.w3.org/2004/02/skos/core#Concept"


class OwlConfig(SourceConfig):
    """An OWL ontology in RDF/XML, Turtle, N-Triples or JSON-LD: a file, or a folder of files that belong together."""

    roots: list[str] | None = None
    """Keep only these classes and what lies below them; default: all."""
    retired_roots: list[str] = Field(default_factory=list)
    """Classes at and below these are retired, as in `["Orphanet:C041"]`; default: none."""
    parents: list[str] = Field(default_factory=lambda: ["is_a"])
    """What leads to a parent: `is_a` (rdfs:subClassOf), `part_of`, or another relation as a CURIE or IRI; the class is
    below a restriction to some of the parent, or has the parent as the property's value."""
    prefixes: list[str] | None = None
    """Keep only ids with these CURIE prefixes, as in `[DOID]`: files hold classes of imported ontologies, too; default:
    all."""
    namespaces: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by the beginning of an IRI, as in `{"http://example.org/pets/": PET}`, besides the OBO PURLs and
    the built-in ones; ids of no known namespace stay IRIs."""
    properties: dict[str, Role] = Field(default_factory=dict)
    """What further annotation properties say, by CURIE or IRI, as in `{"EFO:0000118": exact}`: a scope of names,
    `definition`, `types`, `xrefs`, `alt_ids`, `replaced_by`, `retired`, or `none` for nothing. They have the first
    word before the built-in ones."""
    skip_synonym_types: list[str] = Field(default_factory=list)
    """Leave out synonyms of these types, as in `[layperson, "OMO:0003000"]`; default: none."""


class OwlParser(Parser):
    """Reads the named classes.

    `rdfs:label` is the preferred name in its language, synonyms are names of their scope. Named superclasses are
    parents, and so is what restrictions of the relations in `parents` lead to; all other axioms are passed over.
    Deprecated classes and `hasAlternativeId` make retired ids. Imported ontologies are counted, never fetched.
    """

    config_class: ClassVar[type[SourceConfig]] = OwlConfig
    config: OwlConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the classes in the file's order.

        Raises:
            DataError: no class, a root that is not there, or as `xnorm.rdf.read_triples`.
            ConfigError: a relation, a property or a synonym type that the file does not have.
        """
        config = self.config
        self._report, self._ids = report, dict[str, str]()
        self._curies = Namespaces(config.namespaces)
        self._relations = {self._curies.curie(_RELATIONS.get(name, name)): name for name in config.parents}
        others = self._relations.keys() - {"is_a"}
        known: dict[str, str] = {**_PROPERTIES, **_STRUCTURE, **(_AXIOM if config.skip_synonym_types else {})}
        self._roles = Roles(config.properties, known | dict.fromkeys(others, "linked"), config.namespaces)
        wanted = [*_AXIOM.values(), *(("relation", "some") if others else ())]
        rdf_files(config.path, report.skip)  # counts what is left out
        said = read_subjects(config.path, self._roles, wanted)
        self._roles.check(config.path, "properties", config.properties)
        self._check_relations(said)
        left_out = self._synonyms_to_skip(said)
        classes = self._classes(said)
        parents = {iri: self._parents(iri, said) for iri in classes}
        kept = self._kept(parents)
        for iri in classes:
            concept = self._concept(iri, said, left_out)
            concept.parents = parents.pop(iri)
            yield from self._wanted(concept, kept)
            del said[iri]  # memory moves from here to what is made of it

    def paths(self) -> list[Path]:
        return rdf_files(self.config.path) if self.config.path.is_dir() else []

    def _classes(self, said: Subjects) -> list[str]:
        """Return the IRIs of the classes; say what the ontology itself says, and count what looks like a class."""
        classes, concepts = [], 0
        for iri, about in said.items():
            kinds = about.facts.get("kind", ())
            if not _CLASSES.isdisjoint(kinds):
                classes.append(iri)
            elif f"{_OWL}Ontology" in kinds:
                version = about.values("version") or about.values("version_info")
                self._report.version = self._report.version or next(iter(version), None)
                for imported in about.values("imports"):
                    self._report.skip("imported ontology, which is not fetched", imported)
            elif not kinds and about.texts:
                self._report.skip("named node that is not declared as a class", self._id(iri))
            concepts += _CONCEPT in kinds
        if not classes:
            fix = f"it has {concepts:,} of SKOS: read it with `type: skos`" if concepts else "is it an ontology in OWL?"
            raise DataError("holds no named class", path=self.config.path, fix=fix)
        return classes

    def _parents(self, iri: str, said: Subjects) -> list[str]:
        """Return the ids of the parents of a class."""
        about, found = said[iri], list[str]()
        for above in about.facts.get("above", ()):
            if not above.startswith("_:"):
                found += [self._id(above)] if "is_a" in self._relations and above != _THING else []
            elif (node := said.nodes.get(above)) and self._curies.curie(
                node.get("relation", [""])[0]
            ) in self._relations:
                found += [self._id(some) for some in node.get("some", ()) if not some.startswith("_:")]
        found += map(self._id, about.values("linked"))
        own = self._id(iri)
        if own in found:
            self._report.skip("class that is its own parent", own)
        return [parent for parent in dict.fromkeys(found) if parent != own]

    def _check_relations(self, said: Subjects) -> None:
        known = {"is_a"} | {self._roles.curie(iri) for iri, role in self._roles.items() if role and role[1] == "linked"}
        known |= {self._curies.curie(relation) for node in said.nodes.values() for relation in node.get("relation", ())}
        for relation, name in self._relations.items():
            if relation not in known:
                refuse(self.config.path, "parents", f"no class has the relation '{name}'", name, known)

    def _synonyms_to_skip(self, said: Subjects) -> dict[tuple[str, int, str], str]:
        """Return the type of each synonym that is to be left out, by IRI, rank of the property, and text."""
        wanted = {self._short(kind): kind for kind in self.config.skip_synonym_types}
        known, found = set[str](), dict[tuple[str, int, str], str]()
        for axiom in said.nodes.values():
            kinds = [self._short(kind) for kind in axiom.get("synonym_type", ())]
            known.update(kinds)
            for kind in (kind for kind in kinds if kind in wanted):
                role = self._roles[axiom.get("property", [""])[0]]
                for of, text in zip(axiom.get("of", ()), axiom.get("synonym", ()), strict=False):
                    if role is not None:
                        found[of, role[0], text] = kind
        for kind, name in wanted.items():
            if kind not in known:
                refuse(self.config.path, "skip_synonym_types", f"no synonym has the type '{name}'", name, known)
        return found

    def _kept(self, parents: dict[str, list[str]]) -> set[str] | None:
        """Return the ids at and below the roots, None for all; note those that are retired."""
        by_id = [(self._id(iri), above) for iri, above in parents.items()]
        ids = {identifier for identifier, _ in by_id}
        for option in ("roots", "retired_roots"):
            for root in getattr(self.config, option) or ():
                if self._id(root) not in ids:
                    fix = f"look at `{option}` in the config"
                    raise DataError(f"has no class '{root}'", path=self.config.path, fix=fix)
        self._retired = below(map(self._id, self.config.retired_roots), by_id)
        return None if self.config.roots is None else below(map(self._id, self.config.roots), by_id)

    def _concept(self, iri: str, said: Subjects, left_out: dict[tuple[str, int, str], str]) -> RawConcept:
        about, concept = said[iri], RawConcept(self._id(iri))
        for name in said.names(about, self.config.lang, lambda reason: self._report.skip(reason, concept.id)):
            if kind := left_out.get((iri, name.rank, name.text)):
                self._report.skip(f"synonym of type {kind}", concept.id)
            else:
                concept.names.append(RawName(name.text, name.lang or "", name.scope))
        concept.definition = said.definition(about, self.config.lang)
        concept.types = about.values("types")
        concept.xrefs = [self._curies.curie(xref) for xref in about.values("xrefs")]
        concept.alt_ids = [self._id(old) for old in about.values("alt_ids")]
        concept.replaced_by = [self._id(new) for new in about.values("replaced_by")]
        deprecated = f"{_OWL}DeprecatedClass" in about.facts["kind"] or about.holds("retired")
        concept.retired = deprecated or concept.id in self._retired
        for same in about.values("same"):
            self._report.skip("equivalent class, which is no xref", f"{concept.id} {self._id(same)}")
        return concept

    def _wanted(self, concept: RawConcept, kept: set[str] | None) -> Iterator[RawConcept]:
        """Yield a class, unless the config or the lack of a name leaves it out."""
        prefixes = self.config.prefixes
        if prefixes is not None and concept.id.partition(":")[0] not in {p.removesuffix(":") for p in prefixes}:
            self._report.skip("class with another prefix", concept.id)
        elif kept is not None and concept.id not in kept and not (concept.retired and kept & {*concept.replaced_by}):
            self._report.skip("class outside the roots", concept.id)
        elif concept.names or concept.retired:
            yield concept
        else:
            self._report.skip("class without a name", concept.id)

    def _id(self, iri: str) -> str:
        found = self._ids.get(iri)
        if found is None:
            self._ids[iri] = found = self.curie(self._curies.curie(" ".join(iri.split())))
        return found

    def _short(self, iri: str) -> str:
        """Return what a synonym type is called: `layperson` for `http://purl.obolibrary.org/obo/hp#layperson`."""
        return re.split("[#/]", self._curies.curie(iri))[-1]
