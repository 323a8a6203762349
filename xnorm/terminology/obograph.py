"""OBO Graphs JSON: HPO, MONDO, UBERON, GO and others as `hp.json`, `mondo.json`.

The format: https://github.com/geneontology/obographs, its schema in `schema/obographs-schema.json`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import ClassVar, NoReturn

from pydantic import Field

from xnorm.curies import Namespaces
from xnorm.errors import ConfigError
from xnorm.files import read_json
from xnorm.records import JsonObject
from xnorm.registry import did_you_mean
from xnorm.terminology.base import SYNONYMS, Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["ObographConfig", "ObographParser"]

_RELATIONS = {"part_of": "BFO:0000050"}
_KINDS = ("CLASS", "INDIVIDUAL", "PROPERTY")


class ObographConfig(SourceConfig):
    """An OBO Graphs file in JSON."""

    parents: list[str] = Field(default_factory=lambda: ["is_a"])
    """Edges that lead to a parent: `is_a`, `part_of`, or another relation as a CURIE or IRI."""
    prefixes: list[str] | None = None
    """Keep only ids with these CURIE prefixes, as in `[MONDO]`: files hold classes of imported ontologies, too;
    default: all."""
    namespaces: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by the beginning of an IRI, as in `{"http://example.org/pets/": PET}`, besides the OBO PURLs and
    the built-in ones; ids of no known namespace stay IRIs."""
    skip_synonym_types: list[str] = Field(default_factory=list)
    """Leave out synonyms of these types, as in `[layperson, "OMO:0003000"]`; default: none."""


class ObographParser(Parser):
    """Reads the nodes of type CLASS of all graphs in a file; properties and individuals are passed over.

    `lbl` is the preferred name, a synonym a name of the scope that its `pred` has, `hasOBONamespace` the type;
    `deprecated` makes retired ids, with `IAO_0100001` as what replaced them, and so does `hasAlternativeId`. Logical
    axioms are passed over. A synonym or `rdfs:label` with a `lang`, which some tools write, is a name in that language.
    """

    config_class: ClassVar[type[SourceConfig]] = ObographConfig
    config: ObographConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the classes in the file's order.

        Raises:
            DataError: no graphs, a value of another kind than expected, or as `xnorm.files.read_json`.
            ConfigError: a relation or a synonym type that the file does not have.
        """
        self._curies = Namespaces(self.config.namespaces)
        self._synonym_types: set[str] = set()
        self._skipped_types = {self._short(kind) for kind in self.config.skip_synonym_types}
        document = JsonObject(read_json(self.config.path), path=self.config.path)
        if "graphs" not in document.values:
            raise document.error("has no key 'graphs'", fix="is it OBO Graphs JSON, as in hp.json or mondo.json?")
        graphs = list(document.objects("graphs"))
        parents = self._parents(graphs)
        for graph in graphs:
            report.version = report.version or _version(graph)
            yield from self._classes(graph, parents, report)
        for kind in self.config.skip_synonym_types:
            if self._short(kind) not in self._synonym_types:
                self._refuse("skip_synonym_types", f"no synonym has the type '{kind}'", kind, self._synonym_types)

    def _classes(self, graph: JsonObject, parents: dict[str, list[str]], report: SourceReport) -> Iterator[RawConcept]:
        prefixes = None if self.config.prefixes is None else {p.removesuffix(":") for p in self.config.prefixes}
        for node in graph.objects("nodes", forget=True):
            identifier = self._class_id(node, report)
            if identifier is None:
                continue
            if prefixes is not None and identifier.partition(":")[0] not in prefixes:
                report.skip("class with another prefix", identifier)
                continue
            concept = self._concept(node, identifier, report)
            concept.parents = list(dict.fromkeys(parents.get(identifier, ())))
            if concept.names or concept.retired:
                yield concept
            else:
                report.skip("class without a name", identifier)

    def _parents(self, graphs: list[JsonObject]) -> dict[str, list[str]]:
        """Return the ids of parents by id, out of the edges of all graphs, which are then forgotten."""
        wanted = {self._curies.curie(_RELATIONS.get(name, name)): name for name in self.config.parents}
        relations = {"is_a"}
        parents: dict[str, list[str]] = defaultdict(list)
        for graph in graphs:
            for edge in graph.objects("edges", forget=True):
                relation = " ".join(self._curies.curie(edge.required("pred")).split())
                relations.add(relation)
                if relation in wanted and (above := edge.required("obj").strip()):
                    parents[self._id(edge.required("sub"))].append(self._id(above))
        for relation, name in wanted.items():
            if relation not in relations:
                self._refuse("parents", f"no edge has the relation '{name}'", name, relations)
        return parents

    def _refuse(self, option: str, problem: str, wanted: str, known: set[str]) -> NoReturn:
        raise ConfigError(f"{self.config.path}: {option}: {problem}; {did_you_mean(wanted, known)}")

    def _class_id(self, node: JsonObject, report: SourceReport) -> str | None:
        """Return the id of a class, None for what is none."""
        iri, kind = node.required("id"), node.string("type")
        if kind is None:  # a class of another ontology that an edge leads to, and no more
            report.skip("node without a type", iri)
        elif kind not in _KINDS:
            report.skip("node of an unknown type", iri)
        elif kind == "CLASS" and not iri.strip():
            report.skip("class without an id", node.place)
        elif kind == "CLASS":
            return self._id(iri)
        return None

    def _concept(self, node: JsonObject, identifier: str, report: SourceReport) -> RawConcept:
        concept = RawConcept(identifier)
        label = node.string("lbl")
        if label is not None:
            concept.names.append(RawName(label, self.config.lang, "preferred"))
        meta = node.object("meta")
        if meta is None:
            return concept
        definition = meta.object("definition")
        concept.definition = None if definition is None else definition.string("val")
        concept.retired = meta.boolean("deprecated")
        concept.xrefs = [self._curies.curie(xref.required("val")) for xref in meta.objects("xrefs")]
        for synonym in meta.objects("synonyms"):
            self._add_synonym(concept, synonym, report)
        for value in meta.objects("basicPropertyValues"):
            self._add_value(concept, value)
        return concept

    def _add_synonym(self, concept: RawConcept, synonym: JsonObject, report: SourceReport) -> None:
        text, predicate = synonym.required("val"), synonym.required("pred")
        if iri := synonym.string("synonymType"):
            kind = self._short(iri)
            self._synonym_types.add(kind)
            if kind in self._skipped_types:
                report.skip(f"synonym of type {kind}", concept.id)
                return
        scope = SYNONYMS.get(f"oboInOwl:{self._curies.curie(predicate).removeprefix('oboInOwl:')}")
        if scope is None:
            report.skip(f"synonym with the predicate {predicate}", concept.id)
        else:
            concept.names.append(RawName(text, synonym.string("lang") or self.config.lang, scope))

    def _add_value(self, concept: RawConcept, value: JsonObject) -> None:
        """Take a property value, if it is one of those that say something of the concept."""
        predicate, text = self._curies.curie(value.required("pred")), (value.string("val") or "").strip()
        if not text:
            return
        if predicate == "oboInOwl:hasAlternativeId":
            concept.alt_ids.append(self._id(text))
        elif predicate == "oboInOwl:hasOBONamespace":
            concept.types.append(text)
        elif predicate == "IAO:0100001":
            concept.replaced_by.append(self._id(text))
        elif predicate == "rdfs:label":
            concept.names.append(RawName(text, value.string("lang") or self.config.lang, "preferred"))

    def _id(self, iri: str) -> str:
        return self.curie(self._curies.curie(" ".join(iri.split())))

    def _short(self, iri: str) -> str:
        """Return what a synonym type is called: `layperson` for `http://purl.obolibrary.org/obo/hp#layperson`."""
        return re.split("[#/]", self._curies.curie(iri))[-1]


def _version(graph: JsonObject) -> str | None:
    """Return the version of a graph, if it says one: the IRI of the release."""
    meta = graph.object("meta")
    return None if meta is None else meta.string("version")
