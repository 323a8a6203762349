"""FHIR terminology resources in JSON: CodeSystem, ValueSet, Bundles of these, and NDJSON files of them.

Releases R4 and R5: https://hl7.org/fhir/R4/codesystem.html, https://hl7.org/fhir/R4/valueset.html (or `R5`).
Properties of concepts: https://hl7.org/fhir/R4/codesystem-concept-properties.html. Uses of names:
https://hl7.org/fhir/R4/valueset-designation-use.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pydantic import Field

from xnorm.curies import Systems
from xnorm.errors import DataError
from xnorm.fhir import identify, name_of, read_resources
from xnorm.records import JsonObject
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["FhirConfig", "FhirParser"]

_USES = {
    "display": "preferred",
    "preferredForLanguage": "preferred",
    "900000000000548007": "preferred",  # SNOMED CT: preferred
    "900000000000013009": "exact",  # SNOMED CT: synonym
    "900000000000003001": "fsn",  # SNOMED CT: fully specified name; preferred in a language that has no other such name
    "900000000000550004": "definition",  # SNOMED CT
    "definition": "definition",
}
"""Code of a designation's use -> what the designation is."""

Role = Literal[
    "parents", "children", "replaced_by", "alt_ids", "xrefs", "types", "inactive", "deprecated", "status", "abstract",
]  # fmt: skip
_ROLES: dict[str, Role] = {
    "parent": "parents", "subsumedby": "parents", "child": "children",
    "replacedby": "replaced_by", "isreplacedby": "replaced_by", "supersededby": "replaced_by",
    "successor": "replaced_by", "mapto": "replaced_by",
    "synonymcode": "alt_ids", "inactive": "inactive", "retirementdate": "inactive", "deprecated": "deprecated",
    "deprecationdate": "deprecated", "status": "status", "notselectable": "abstract", "abstract": "abstract",
}  # fmt: skip
"""Code of a property in lower case, letters alone -> what it says of its concept; `MAP_TO` is LOINC's."""
_PROPERTY_URI = "http://hl7.org/fhir/concept-properties#"
_RETIRED = {"retired", "inactive", "withdrawn", "obsolete", "rejected", "entered-in-error"}
_OF_IDS = ("parents", "children", "replaced_by", "alt_ids")
_VALUES = ("valueCode", "valueString", "valueDateTime")
_NUMBERS = ("valueInteger", "valueDecimal")
_HEADING = "heading without a code"
_EXPAND = "expand it on a terminology server ($expand) and read the answer"


class FhirConfig(SourceConfig):
    """FHIR resources: a JSON file with a CodeSystem, a ValueSet or a Bundle, or NDJSON (`.ndjson`, `.jsonl`)."""

    systems: dict[str, str] = Field(default_factory=dict)
    """CURIE prefix by `system` URL, besides the built-in ones. A system that is in neither takes `prefix`, or else the
    last part of its URL."""
    uses: dict[str, Literal["preferred", "exact", "narrow", "broad", "related"]] = Field(default_factory=dict)
    """Scope by code of a designation's `use`, besides the built-in ones; other designations are exact names."""
    skip_uses: list[str] = Field(default_factory=list)
    """Leave out designations with a `use` of these codes, as in `[SHORTNAME]`; default: none."""
    properties: dict[str, Role] = Field(default_factory=dict)
    """What further properties of concepts are, by their code, as in `{CLASS: types, UMLS_CUI: xrefs}`."""
    abstract: bool = True
    """Whether codes are read that only group others (`abstract`, `notSelectable`)."""
    deprecated: Literal["retire", "keep"] = "retire"
    """What becomes of a code that is deprecated, but not inactive: FHIR discourages its use without forbidding it."""


@dataclass(slots=True)
class _List:
    """What the codes of one list have in common."""

    lang: str
    system: str | None = None
    roles: dict[str, Role | None] = field(default_factory=dict)
    """By code of a property; filled as codes come."""
    parents: dict[str, list[str]] = field(default_factory=dict)
    """Id -> ids of the codes that say it is their child."""


_Code = tuple[JsonObject, _List, str, str | None]
"""A code, what it has in common with others, its id, and the id of the code that it is nested in."""


class FhirParser(Parser):
    """Reads the codes of FHIR resources.

    `display` is the preferred name, in the language of the resource or else of the source; a designation is a name of
    the scope that its use has. Codes that others are nested in, and `parent` and `child` properties, are parents.
    Inactive and deprecated codes are retired. Of a value set the expansion is read, and without one the codes that it
    lists; what it only describes is counted, and an error if there is nothing else.
    """

    config_class: ClassVar[type[SourceConfig]] = FhirConfig
    config: FhirConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the codes in the file's order.

        Raises:
            DataError: a value of another kind than expected, a code without a system, two systems that would have one
                prefix, nothing that can be read, or as `xnorm.fhir.read_resources`.
        """
        found = False
        for code in self._codes(report):
            concept = self._concept(*code)
            if concept is None:
                continue
            if concept.names or concept.retired:
                found = True
                yield concept
            else:
                report.skip("code without a name", concept.id)
        if report.skipped["code without a name"]:
            self._unread.append(("no code has a display or a designation", _EXPAND))
        self._refuse_nothing(found)

    def ids(self, report: SourceReport) -> Iterator[str]:
        """Yield the ids of the codes, inactive ones and those without a name, too; otherwise as `read`."""
        found = False
        for _, _, identifier, _ in self._codes(report):
            found = True
            yield identifier
        self._refuse_nothing(found)
        del report.skipped[_HEADING]  # nobody misses its id

    def _refuse_nothing(self, found: bool) -> None:
        if self._unread and not found:
            problem, fix = self._unread[0]
            raise DataError(f"holds no code to read: {problem}", path=self.config.path, fix=fix)

    def _codes(self, report: SourceReport) -> Iterator[_Code]:
        """Yield the codes of all code systems and value sets."""
        self._report = report
        self._systems = Systems(self.config.systems, self.config.prefix)
        self._uses: dict[str, str] = {**_USES, **self.config.uses}
        self._roles: dict[str, Role] = {**_ROLES, **{_letters(k): r for k, r in self.config.properties.items()}}
        self._unread: list[tuple[str, str | None]] = []  # what cannot be read, and the remedy
        self._expanded: dict[str, tuple[int, int]] = {}  # value set -> codes that there are, codes that were read
        versions: set[str | None] = set()
        for kind, resource in read_resources(self.config.path, report.skip):
            if kind not in ("CodeSystem", "ValueSet"):
                self._leave(f"resource of type {kind}", resource, None)
                continue
            versions.add(resource.string("version"))
            yield from self._code_system(resource) if kind == "CodeSystem" else self._value_set(resource)
        report.version = versions.pop() if len(versions) == 1 else None
        for name, (total, read) in self._expanded.items():
            if read < total:
                report.skip("value set whose expansion is cut off", f"{name} ({read} of {total} codes)")

    def _leave(self, what: str, resource: JsonObject, fix: str | None) -> None:
        """Note something that cannot be read."""
        what = " ".join(what.split())
        name = name_of(resource)
        self._report.skip(what, name)
        self._unread.append((f"{what} ({name})" if name else what, fix))

    def _code_system(self, resource: JsonObject) -> Iterator[_Code]:
        supplement = resource.string("content") == "supplement"
        system = resource.string("supplements") if supplement else resource.string("url")
        if not resource.items("concept"):
            content = resource.string("content") or "not said"
            self._leave(f"code system without codes (content: {content})", resource, None)
            return
        if resource.string("content") in ("fragment", "example"):
            self._report.skip("code system that is not complete", system)
        about = self._list(resource, system, resource)
        if "children" in about.roles.values():
            for item, identifier, _ in self._walk(resource, "concept", about):
                for child in self._facts(item, about, counted=False).get("children", ()):
                    about.parents.setdefault(child, []).append(identifier)
        for item, identifier, parent in self._walk(resource, "concept", about, forget=True):
            yield item, about, identifier, parent

    def _value_set(self, resource: JsonObject) -> Iterator[_Code]:
        expansion = resource.object("expansion")
        if expansion is None or not expansion.items("contains"):
            yield from self._compose(resource)
            return
        about = self._list(resource, None, expansion)
        for parameter in expansion.objects("parameter"):
            if parameter.string("name") == "displayLanguage":
                lang = parameter.string("valueCode") or parameter.string("valueString") or ""
                about.lang = re.split("[,;]", lang)[0].strip() or about.lang
        name = resource.string("url") or resource.string("id") or resource.place
        total = expansion.take("total", int, "a number") or 0
        read = self._expanded.get(name, (0, 0))[1]
        for item, identifier, parent in self._walk(expansion, "contains", about, forget=True):
            read += 1
            if identifier:
                yield item, about, identifier, parent
            else:
                self._report.skip(_HEADING, item.place)
        self._expanded[name] = (total, read)

    def _compose(self, resource: JsonObject) -> Iterator[_Code]:
        """Yield the codes that a value set lists one by one."""
        compose = resource.object("compose")
        if compose is None:
            self._leave("value set without codes", resource, _EXPAND)
            return
        excluded: set[str] = set()
        for part in compose.objects("exclude"):
            about = self._list(resource, part.string("system"), part)
            excluded.update(identifier for _, identifier, _ in self._walk(part, "concept", about))
            if not part.items("concept"):
                self._report.skip("exclusion from a value set by a rule", resource.string("url"))
        for part in compose.objects("include"):
            rules = [key for key in ("filter", "valueSet") if part.items(key)]
            if rules or not part.items("concept"):
                rule = " and ".join(rules) or "a whole code system"
                self._leave(f"value set that includes codes by {rule}", resource, _EXPAND)
                continue
            about = self._list(resource, part.string("system"), part)
            for item, identifier, _ in self._walk(part, "concept", about):
                if identifier not in excluded:
                    yield item, about, identifier, None

    def _list(self, resource: JsonObject, system: str | None, declares: JsonObject) -> _List:
        """Return what the codes of a list have in common; `declares` says what its properties mean."""
        about = _List(resource.string("language") or self.config.lang, system)
        for declared in declares.objects("property"):
            code, uri = declared.required("code"), declared.string("uri") or ""
            word = uri.removeprefix(_PROPERTY_URI) if uri.startswith(_PROPERTY_URI) else code
            about.roles[code] = self._roles.get(_letters(code)) or self._roles.get(_letters(word))
        return about

    def _walk(
        self, holder: JsonObject, key: str, about: _List, *, forget: bool = False
    ) -> Iterator[tuple[JsonObject, str, str | None]]:
        """Yield (code, its id, id of the code that it is nested in), in the file's order, to any depth."""
        stack: list[tuple[Iterator[JsonObject], str | None]] = [(holder.objects(key, forget=forget), None)]
        while stack:
            item = next(stack[-1][0], None)
            if item is None:
                stack.pop()
                continue
            parent = stack[-1][1]
            code = item.string("code") if key == "contains" else item.required("code")
            identifier = identify(self._systems, code, item.string("system") or about.system, item)
            yield item, identifier, parent
            stack.append((item.objects(key), identifier or parent))

    def _concept(self, item: JsonObject, about: _List, identifier: str, parent: str | None) -> RawConcept | None:
        """Return the concept of a code, None if codes of its kind are left out."""
        said = self._facts(item, about)
        if not self.config.abstract and (item.boolean("abstract") or any(map(_holds, said.get("abstract", ())))):
            self._report.skip("code that only groups others", identifier)
            return None
        names, definition = self._names(item, about)
        if said.get("children") and not about.parents:
            self._report.skip("child named by a property that no code system declares", identifier)
        parents = [] if parent is None else [parent]
        return RawConcept(
            identifier,
            names,
            types=said.get("types", []),
            xrefs=said.get("xrefs", []),
            parents=list(dict.fromkeys(parents + said.get("parents", []) + about.parents.get(identifier, []))),
            definition=definition,
            line=item.line,
            alt_ids=said.get("alt_ids", []),
            retired=item.boolean("inactive") or self._is_retired(said),
            replaced_by=said.get("replaced_by", []),
        )

    def _is_retired(self, said: dict[Role, list[Any]]) -> bool:
        statuses = {str(status).strip().lower() for status in said.get("status", ())}
        if any(map(_holds, said.get("inactive", ()))) or statuses & _RETIRED:
            return True
        deprecated = "deprecated" in statuses or any(map(_holds, said.get("deprecated", ())))
        return deprecated and self.config.deprecated == "retire"

    def _facts(self, item: JsonObject, about: _List, *, counted: bool = True) -> dict[Role, list[Any]]:
        """Return what the properties of a code say."""
        said: dict[Role, list[Any]] = {}
        for prop in item.objects("property"):
            code = prop.required("code")
            if code not in about.roles:
                about.roles[code] = self._roles.get(_letters(code))
            role = about.roles[code]
            if role is not None:
                values = [v for v in self._value(prop, role, item.string("system") or about.system) if v != ""]
                said.setdefault(role, []).extend(values)
                if counted and not values:
                    self._report.skip("property without a value that xnorm reads", prop.place)
        return said

    def _value(self, prop: JsonObject, role: Role, system: str | None) -> list[Any]:
        """Return the value of a property, in a list; an id if the role wants one."""
        coding = prop.object("valueCoding")
        if coding is not None:
            code = coding.required("code").strip()
            plain = role in ("types", "status")
            return [code if plain else identify(self._systems, code, coding.string("system") or system, prop)]
        text = next((text for key in _VALUES if (text := (prop.string(key) or "").strip())), None)
        if text is None and role == "types":
            number = next((n for key in _NUMBERS if (n := prop.take(key, (int, float), "a number")) is not None), None)
            text = None if number is None else str(number)
        if text is not None:
            return [identify(self._systems, text, system, prop) if role in _OF_IDS else text]
        if role in ("inactive", "deprecated", "abstract"):
            return [prop.boolean("valueBoolean")]
        return []

    def _names(self, item: JsonObject, about: _List) -> tuple[list[RawName], str | None]:
        """Return the names of a code, and the definition if it has one among them."""
        display, definition = item.string("display"), item.string("definition") or None
        names = [] if display is None else [RawName(display, about.lang, "preferred")]
        for designation in item.objects("designation"):
            text, lang = designation.required("value"), designation.string("language") or about.lang
            uses = [use for use in (designation.object("use"), *designation.objects("additionalUse")) if use]
            codes = [use.string("code") or "" for use in uses]
            kinds = [self._uses.get(code, "exact") for code in codes]
            if skipped := next((code for code in codes if code in self.config.skip_uses), None):
                self._report.skip(f"designation with the use {skipped}", item.where("designation"))
            elif "definition" in kinds:
                if lang == about.lang and definition is None:
                    definition = text
                else:
                    self._report.skip("further definition", item.where("designation"))
            else:  # `preferred` among several uses wins
                kinds = ["preferred"] if "preferred" in kinds else kinds or ["exact"]
                names.append(RawName(text, lang, kinds[0]))
        _settle(names)
        return names, definition


def _letters(code: str) -> str:
    """Return what property codes are compared by: `REPLACED_BY`, `replaced-by` and `replacedBy` are one."""
    return re.sub(r"[\W_]", "", code).lower()


def _holds(value: Any) -> bool:
    """Return whether a property says yes; a date of deprecation does."""
    return value is True or (isinstance(value, str) and value.strip().lower() not in ("", "false", "0"))


def _settle(names: list[RawName]) -> None:
    """Make fully specified names preferred where the language has no preferred name, and exact elsewhere."""
    preferred = {name.lang for name in names if name.scope == "preferred"}
    for name in names:
        if name.scope == "fsn":
            name.scope = "exact" if name.lang in preferred else "preferred"
            preferred.add(name.lang)
