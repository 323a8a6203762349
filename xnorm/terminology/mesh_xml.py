"""MeSH in NLM's XML: descriptors, supplementary concepts, and translations of them.

The format is NLM's: https://www.nlm.nih.gov/mesh/xml_data_elements.html, with one DTD for each kind of file.

desc2026.xml    DescriptorRecordSet of DescriptorRecord, which has tree numbers and concepts; a concept has terms
supp2026.xml    SupplementalRecordSet of SupplementalRecord, which is mapped to descriptors and has concepts
fredesc2019.xml a translation: LanguageCode of the root, `Calcimycine[Calcimycin]` as DescriptorName, and terms whose
                TermUI begins with the language (`fre0000123`) beside the English ones (`T000002`); INSERM's newer files
                have StringFR and StringUS in the place of String
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import ClassVar
from xml.etree.ElementTree import Element

from pydantic import Field

from xnorm.artifact import sha256_file, sha256_text
from xnorm.errors import ConfigError, DataError
from xnorm.files import suffix
from xnorm.markup import Part, read_parts, root_of, text_of
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport
from xnorm.text import lang_code

__all__ = ["MeshXmlConfig", "MeshXmlParser"]

_ROOTS = {"DescriptorRecordSet": "DescriptorRecord", "SupplementalRecordSet": "SupplementalRecord"}
"""Root element -> its records, in the order in which files are read."""
_RELATIONS = {"NRW": "narrow", "BRD": "broad", "REL": "related"}
"""What the second concept of a relation is to the first."""
_INVERSE = {"narrow": "broad", "broad": "narrow", "related": "related"}

_KNOWN = {
    "record": set(
        "DescriptorUI DescriptorName SupplementalRecordUI SupplementalRecordName DateCreated DateRevised Note "
        "DateEstablished ActiveMeSHYearList AllowableQualifiersList Annotation HistoryNote NLMClassificationNumber "
        "OnlineNote PublicMeSHNote PreviousIndexingList EntryCombinationList SeeRelatedList ConsiderAlso RunningHead "
        "PharmacologicalActionList TreeNumberList RecordOriginatorsList ConceptList HeadingMappedToList SourceList "
        "IndexingInformationList Frequency".split()
    ),
    "concept": set(
        "ConceptUI ConceptName ConceptUMLSUI CASN1Name RegistryNumber RegistryNumberList RelatedRegistryNumberList "
        "ScopeNote TranslatorsScopeNote TranslatorsEnglishScopeNote SemanticTypeList ConceptStatus ConceptRelationList "
        "TermList".split()
    ),
    "term": set("TermUI String DateCreated Abbreviation SortVersion EntryVersion ThesaurusIDlist TermNote".split()),
}
"""Elements of the DTDs; others are passed over and counted."""

_TRANSLATED = re.compile(r"String[A-Z]{2}")
_TERM_LANG = re.compile(r"[a-z]{3}(?=\d)")
_NUMBERS = (
    ("CAS", re.compile(r"\d{2,7}-\d\d-\d")),
    ("UNII", re.compile(r"[0-9A-Z]{10}")),
    ("EC", re.compile(r"EC (\d+(?:\.[\dn-]+)*)")),
    ("NCBITaxon", re.compile(r"txid(\d+)")),
)
"""CURIE prefix -> what its registry numbers look like."""


class MeshXmlConfig(SourceConfig):
    """A file of MeSH in XML, or a folder of such files."""

    prefix: str | None = "MESH"
    """CURIE prefix put before the ids."""
    lang: str = ""
    """Language of the names, put before the one that the file says; English terms of a translation stay English."""
    files: list[str] | None = None
    """Files to read, if `path` is a folder; default: all that end in `.xml` or `.gz`."""
    permuted: bool = False
    """Whether to keep permuted terms, such as `Failure, Heart`."""
    related_numbers: bool = True
    """Whether related registry numbers become xrefs, too: those of salts, isomers and mixtures."""
    tree_depth: int = Field(default=1, ge=1)
    """Levels of a tree number that become types: with 1, C14.280 gives `C`; with 2, `C` and `C14`."""


@dataclass(slots=True)
class _Edition:
    """What a file says of all its records."""

    lang: str

    @property
    def translated(self) -> bool:
        return self.lang != "en"


@dataclass(slots=True)
class _Trees:
    """The tree numbers of the descriptors that were read."""

    heading: dict[str, str] = field(default_factory=dict)
    """Tree number -> id."""
    types: dict[str, list[str]] = field(default_factory=dict)
    """Id -> types."""


class MeshXmlParser(Parser):
    """Reads descriptors and supplementary concepts.

    The name of the record is the preferred name. Terms of the preferred concept are exact names; those of narrower,
    broader and related concepts have that scope. The scope note is the definition (of a supplementary concept: the
    note), registry numbers are xrefs, the first levels of tree numbers are types and what stands above in the tree
    are parents. A supplementary concept has `SCR` and its class as type, the headings that it is mapped to as parents,
    and their types, where they were read before. Pharmacological actions and qualifiers are passed over.

    Descriptors are kept until the last one is read, for a parent may come later; supplementary concepts are not.
    """

    config_class: ClassVar[type[SourceConfig]] = MeshXmlConfig
    config: MeshXmlConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the descriptors, then the supplementary concepts.

        Raises:
            DataError: a folder without a file of MeSH, or as `xnorm.markup.read_parts`.
            ConfigError: `files` that cannot be.
        """
        trees = _Trees()
        held: list[tuple[RawConcept, list[str]]] = []
        for path in self._paths(report):
            year = re.search(r"(?:desc|supp)(\d{4})", path.name)
            report.version = report.version or (year and year[1])
            for concept, numbers in self._concepts(path, trees, report):
                if numbers is not None:
                    held.append((concept, numbers))
                    continue
                yield from self._placed(held, trees)
                held.clear()
                yield concept
        yield from self._placed(held, trees)

    def _paths(self, report: SourceReport) -> list[Path]:
        """Return the files to read, descriptors first."""
        folder, names = self.config.path, self.config.files
        if not folder.is_dir():
            if names is not None:
                raise ConfigError(f"{folder}: files: `path` is a file; name its folder, or leave `files` out")
            return [folder]
        for name in names or ():
            if Path(name).name != name:
                raise ConfigError(f"{folder}: files: expected names of files in this folder, found '{name}'")
        found = sorted(p for p in folder.iterdir() if p.name.lower().endswith((".xml", ".gz")) and p.is_file())
        paths = found if names is None else [folder / name for name in names]
        by_root: dict[str, list[Path]] = {root: [] for root in _ROOTS}
        for path in paths:
            if names is None and suffix(path) not in ("", ".xml"):
                continue
            root = root_of(path).tag
            if root in by_root:
                by_root[root].append(path)
            else:
                report.skip(f"file of <{root}>", path.name)
        chosen = [path for root in by_root.values() for path in root]
        if not chosen:
            raise DataError("holds no file of MeSH", path=folder, fix="expected desc2026.xml, supp2026.xml or the like")
        report.bytes = sum(p.stat().st_size for p in chosen)
        report.sha256 = sha256_text("".join(f"{sha256_file(p)}  {p.name}\n" for p in chosen))
        return chosen

    def _placed(self, held: list[tuple[RawConcept, list[str]]], trees: _Trees) -> Iterator[RawConcept]:
        """Yield descriptors with their parents in the tree."""
        for concept, numbers in held:
            above = (trees.heading.get(number.rpartition(".")[0]) for number in numbers)
            concept.parents = [p for p in dict.fromkeys(above) if p is not None and p != concept.id]
            yield concept

    def _concepts(
        self, path: Path, trees: _Trees, report: SourceReport
    ) -> Iterator[tuple[RawConcept, list[str] | None]]:
        """Yield the concepts of a file, descriptors with their tree numbers."""
        parts = read_parts(path, roots=list(_ROOTS), wanted=list(_ROOTS.values()))
        root = next(parts).element
        edition = _Edition(lang_code(self.config.lang or root.get("LanguageCode") or "en"))
        for part in parts:
            if part.element.tag != _ROOTS[root.tag]:
                report.skip(f"element <{part.element.tag}>, which xnorm does not read", part.line)
                continue
            concept = _Record(part, edition, self, report).concept()
            if concept is None:
                continue
            if root.tag == "DescriptorRecordSet":
                yield concept, self._plant(concept, part.element, trees)
            else:
                self._map(concept, part.element, trees)
                yield concept, None

    def _plant(self, concept: RawConcept, record: Element, trees: _Trees) -> list[str]:
        """Give a descriptor its types, put it into the trees, and return its tree numbers."""
        numbers = [n for n in map(text_of, record.iterfind("TreeNumberList/TreeNumber")) if n]
        levels = (level for number in numbers for level in _levels(number, self.config.tree_depth))
        concept.types = trees.types[concept.id] = list(dict.fromkeys(levels))
        trees.heading.update(dict.fromkeys(numbers, concept.id))
        return numbers

    def _map(self, concept: RawConcept, record: Element, trees: _Trees) -> None:
        """Give a supplementary concept its parents and types."""
        uis = map(text_of, record.iterfind("HeadingMappedToList/HeadingMappedTo/DescriptorReferredTo/DescriptorUI"))
        concept.parents = list(dict.fromkeys(self.curie(ui.lstrip("*")) for ui in uis if ui.lstrip("*")))
        types = [f"SCR{record.get('SCRClass', '1')}"]
        for parent in concept.parents:
            types.extend(trees.types.get(parent, ()))
        concept.types = list(dict.fromkeys(types))


class _Record:
    """A record while it is read."""

    def __init__(self, part: Part, edition: _Edition, parser: MeshXmlParser, report: SourceReport) -> None:
        self.element, self.line = part
        self.edition, self.parser, self.config, self.report = edition, parser, parser.config, report
        self.names: dict[tuple[str, str], RawName] = {}
        self.main: set[str] = set()
        """Languages that have a preferred name."""
        self.english: set[str] = set()
        """English names of the record and its concepts, as they stand in brackets."""

    def concept(self) -> RawConcept | None:
        kind = "Descriptor" if self.element.tag == "DescriptorRecord" else self.element.tag
        self.ui = text_of(self.element.find(f"{kind}UI"))
        if not self.ui:
            self.report.skip(f"record without a {kind}UI", self.line)
            return None
        self._count_unknown(self.element, "record")
        self._add(self.element.find(f"{kind}Name"), "preferred")
        concepts = self.element.findall("ConceptList/Concept")
        preferred = next((c for c in concepts if c.get("PreferredConceptYN") == "Y"), None)
        scopes = self._scopes(concepts, preferred)
        for concept, scope in zip(concepts, scopes, strict=True):
            self._count_unknown(concept, "concept")
            self._add_terms(concept, scope, main=concept is preferred)
        if not self.names:
            self.report.skip("record without a name", self.ui)
            return None
        return RawConcept(
            self.parser.curie(self.ui),
            list(self.names.values()),
            xrefs=[] if preferred is None else self._xrefs(preferred),
            definition=self._definition(preferred),
            line=self.line,
        )

    def _scopes(self, concepts: list[Element], preferred: Element | None) -> list[str]:
        """Return the scope of each concept's terms: how it is related to the preferred one."""
        to = text_of(preferred.find("ConceptUI")) if preferred is not None else ""
        scopes = {to: "exact"}
        for relation in (r for c in concepts for r in c.iterfind("ConceptRelationList/ConceptRelation")):
            scope = _RELATIONS.get(relation.get("RelationName", ""), "related")
            first, second = text_of(relation.find("Concept1UI")), text_of(relation.find("Concept2UI"))
            if first == to:
                scopes.setdefault(second, scope)
            elif second == to:
                scopes.setdefault(first, _INVERSE[scope])
        return [scopes.get(text_of(c.find("ConceptUI")), "related") for c in concepts]

    def _add_terms(self, concept: Element, scope: str, *, main: bool) -> None:
        for text, lang in self._strings(concept.find("ConceptName"), self.edition.lang):
            if lang == "en":
                self.english.add(text)
        for term in concept.iterfind("TermList/Term"):
            if term.get("IsPermutedTermYN") == "Y" and not self.config.permuted:
                self.report.skip("permuted term", self.ui)
                continue
            self._count_unknown(term, "term")
            self._add(term, "preferred" if main and term.get("ConceptPreferredTermYN") == "Y" else scope)

    def _add(self, holder: Element | None, scope: str) -> None:
        """Add the strings of a name or a term; a language has one preferred name, the first."""
        is_term = holder is not None and holder.tag == "Term"
        for text, lang in self._strings(holder, self._lang(holder)):
            if lang == "en" and not is_term:
                self.english.add(text)
            own = "exact" if scope == "preferred" and lang in self.main else scope
            if (text, lang) not in self.names:
                self.names[text, lang] = RawName(text, lang, own)
                if own == "preferred":
                    self.main.add(lang)

    def _lang(self, holder: Element | None) -> str:
        """Return the language of a name: the file's, or that of a translation's term by its TermUI."""
        ui = None if holder is None else holder.find("TermUI")
        if ui is None or not self.edition.translated:
            return self.edition.lang
        code = _TERM_LANG.match(text_of(ui))
        return lang_code(code[0]) if code else "en"

    def _strings(self, holder: Element | None, lang: str) -> Iterator[tuple[str, str]]:
        """Yield (text, language) of each string of a name or a term."""
        for child in () if holder is None else holder:
            text = text_of(child)
            if not text:
                continue
            if _TRANSLATED.fullmatch(child.tag):
                yield text, "en" if child.tag == "StringUS" else self.edition.lang
            elif child.tag == "String":
                own, english = _split(text) if self.edition.translated else (text, "")
                if not english or (holder is not None and holder.tag == "Term" and english not in self.english):
                    yield text, lang
                else:
                    yield own, self.edition.lang
                    yield english, "en"

    def _definition(self, preferred: Element | None) -> str | None:
        if preferred is not None:
            for tag in ("TranslatorsScopeNote", "ScopeNote"):
                if note := text_of(preferred.find(tag)):
                    return note
        return text_of(self.element.find("Note")) or None

    def _xrefs(self, concept: Element) -> list[str]:
        """Return the registry numbers of a concept; `0` says that there is none."""
        numbers = [*concept.iterfind("RegistryNumber"), *concept.iterfind("RegistryNumberList/RegistryNumber")]
        if self.config.related_numbers:
            numbers.extend(concept.iterfind("RelatedRegistryNumberList/RelatedRegistryNumber"))
        found: dict[str, None] = {}
        for number in filter(None, map(text_of, numbers)):
            xref = _xref(number.partition(" (")[0])
            if xref is not None:
                found[xref] = None
            elif number != "0":
                self.report.skip("registry number of an unknown kind", self.ui)
        return list(found)

    def _count_unknown(self, element: Element, level: str) -> None:
        for child in element:
            if child.tag not in _KNOWN[level] and not (level == "term" and _TRANSLATED.fullmatch(child.tag)):
                self.report.skip(f"element <{child.tag}>, which xnorm does not read", self.ui)


def _levels(number: str, depth: int) -> list[str]:
    """Return the first levels of a tree number: C, C14, C14.280 for C14.280 and three."""
    return [number[0], *islice(accumulate(number.split("."), "{}.{}".format), depth - 1)]


def _split(text: str) -> tuple[str, str]:
    """Return (`Calcimycine`, `Calcimycin`) for `Calcimycine[Calcimycin]`; the second is empty without brackets."""
    depth = 0
    for at in range(len(text) - 1, 0, -1) if text.endswith("]") else ():
        depth += {"]": 1, "[": -1}.get(text[at], 0)
        if not depth:
            return text[:at].strip(), text[at + 1 : -1].strip()
    return text, ""


def _xref(number: str) -> str | None:
    """Return a registry number as a CURIE, or None if it is of no kind that is known."""
    for prefix, pattern in _NUMBERS:
        if match := pattern.fullmatch(number):
            return f"{prefix}:{match[match.lastindex or 0]}"
    return None
