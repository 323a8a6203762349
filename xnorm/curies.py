"""CURIEs of the ids that files write as a code of a `system` (FHIR) or as an IRI (OBO Graphs)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["Namespaces", "Systems"]

_SYSTEMS = {
    "http://snomed.info/sct": "SNOMEDCT",
    "http://loinc.org": "LOINC",
    "http://hl7.org/fhir/sid/icd-10": "ICD10",
    "http://hl7.org/fhir/sid/icd-10-cm": "ICD10CM",
    "http://hl7.org/fhir/sid/icd-9-cm": "ICD9CM",
    "http://id.who.int/icd/release/11/mms": "ICD11",
    "http://fhir.de/CodeSystem/bfarm/icd-10-gm": "ICD10GM",
    "http://fhir.de/CodeSystem/bfarm/ops": "OPS",
    "http://fhir.de/CodeSystem/bfarm/atc": "ATC",
    "http://www.whocc.no/atc": "ATC",
    "http://www.nlm.nih.gov/research/umls/rxnorm": "RXNORM",
    "http://www.nlm.nih.gov/research/umls": "UMLS",
    "http://unitsofmeasure.org": "UCUM",
    "urn:ietf:bcp:47": "BCP47",
    "http://human-phenotype-ontology.org": "HP",
    "http://purl.obolibrary.org/obo/hp.owl": "HP",
    "http://purl.obolibrary.org/obo/mondo.owl": "MONDO",
    "http://id.nlm.nih.gov/mesh": "MESH",
    "https://www.nlm.nih.gov/mesh": "MESH",
    "http://www.orpha.net": "Orphanet",
    "http://www.omim.org": "OMIM",
    "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl": "NCIT",
}
"""`system` URL -> prefix: https://terminology.hl7.org/external_terminologies.html, and the German ones of fhir.de."""

_NAMESPACES = {
    "http://www.orpha.net/ORDO/Orphanet_": "Orphanet",
    "http://www.ebi.ac.uk/efo/EFO_": "EFO",
    "http://identifiers.org/hgnc/": "HGNC",
    "http://identifiers.org/mesh/": "MESH",
    "http://identifiers.org/snomedct/": "SNOMEDCT",
    "http://id.nlm.nih.gov/mesh/": "MESH",
    "http://linkedlifedata.com/resource/umls/id/": "UMLS",
    "http://snomed.info/id/": "SNOMEDCT",
    "https://omim.org/entry/": "OMIM",
    "https://omim.org/phenotypicSeries/": "OMIMPS",
    "http://www.geneontology.org/formats/oboInOwl#": "oboInOwl",
    "http://www.w3.org/2000/01/rdf-schema#": "rdfs",
}
"""Beginning of an IRI -> prefix."""

# `HP_0000118`, `APOLLO_SV_00000032`; the second form is for local ids that are no numbers: `NCBITaxon_phylum`
_OBO = re.compile(r"https?://purl\.obolibrary\.org/obo/(?:([A-Za-z]\w*)_(\d+)|([A-Za-z][A-Za-z0-9]*)_([^#/\s]+))")
_CURIE = re.compile(r"[A-Za-z][\w.-]*:\S+")


class Systems:
    """The prefixes of the code systems in a file.

    Args:
        given: prefix by `system` URL, which the user says.
        default: prefix of a system that is neither given nor known; None for the last part of its URL.
        option: what the user calls the default, for errors.
    """

    def __init__(self, given: Mapping[str, str], default: str | None = None, option: str = "`prefix`") -> None:
        self._given = {_plain(system): prefix for system, prefix in given.items()}
        self._default = default
        self._option = option
        self._seen: dict[str, str] = {}
        self._by_prefix: dict[str, tuple[str, bool]] = {}
        """Prefix -> URL of its first system, and whether the prefix is sure: given or known."""

    def curie(self, code: str, system: str | None) -> str:
        """Return the CURIE of a code; a code that is one, as in `HP:0000118`, stays as it is.

        Raises:
            ValueError: there is no system, or nothing tells its prefix from that of another one.
        """
        if _CURIE.fullmatch(code):
            return code
        if system is None:
            if self._default is None:
                raise ValueError(f"the code '{code}' has no system; set {self._option}")
            return f"{self._default}:{code}"
        prefix = self._seen.get(system)
        return f"{self._prefix(system) if prefix is None else prefix}:{code}"

    def _prefix(self, system: str) -> str:
        url = _plain(system)
        prefix = self._given.get(url) or _SYSTEMS.get(url)
        sure = prefix is not None
        prefix = prefix or self._default or re.split("[/:#]", url)[-1].removesuffix(".owl")
        other, other_sure = self._by_prefix.setdefault(prefix, (url, sure))
        if not prefix or (other != url and not (sure and other_sure)):
            unknown = other if sure else url
            taken = f", and '{prefix}' is the prefix of '{url if sure else other}'" if prefix else ""
            raise ValueError(
                f"no prefix is known for the system '{unknown}'{taken}; set `systems: {{{unknown}: PREFIX}}`"
            )
        self._seen[system] = prefix
        return prefix


def _plain(system: str) -> str:
    """Return a system's URL without a version and a slash at its end."""
    return " ".join(system.partition("|")[0].split()).rstrip("/#")


class Namespaces:
    """IRIs to CURIEs.

    Args:
        given: prefix by the beginning of the IRI, which the user says; the longest one that fits counts.
    """

    def __init__(self, given: Mapping[str, str]) -> None:
        self._given = [(start, given[start]) for start in sorted(given, key=len, reverse=True)]

    def curie(self, iri: str) -> str:
        """Return the CURIE of an IRI; one of an unknown namespace, and what is no IRI, stays as it is."""
        if not iri.startswith("http"):
            return iri
        found = _cut(iri, self._given)
        if found is None and (match := _OBO.fullmatch(iri)):
            return f"{match[1] or match[3]}:{match[2] or match[4]}"
        return found or _cut(iri, _NAMESPACES.items()) or iri


def _cut(iri: str, prefixes: Iterable[tuple[str, str]]) -> str | None:
    """Return an IRI with a prefix for its beginning, if one of these fits."""
    for start, prefix in prefixes:
        if len(iri) > len(start) and iri.startswith(start):
            return f"{prefix}:{iri[len(start) :]}"
    return None
