"""ClaML: ICD-10 of WHO, ICD-10-GM and OPS of BfArM, ICD-O and other classifications.

The format is that of EN 14463 (ClaML 2.0) and ISO 13120 (ClaML 3.0), as in the ClaML.dtd that comes with these files:

Class          code, kind (chapter, block, category), usage (dagger, aster, optional); SuperClass, Rubrics
Rubric         kind (preferred, preferredLong, inclusion, exclusion, definition, ...) with a Label in each language
ModifierClass  one of the characters that a Modifier adds to codes: `.0` with coma
ModifiedBy     in a Class: which Modifier its codes are divided by; ValidModifierClass: by which of its characters
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal
from xml.etree.ElementTree import Element

from pydantic import Field

from xnorm.errors import DataError
from xnorm.markup import Part, read_parts
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["ClamlConfig", "ClamlParser"]

_WANTED = ("Meta", "Title", "ModifierClass", "Class")
_PASSED_OVER = {"Identifier", "Authors", "Variants", "ClassKinds", "UsageKinds", "RubricKinds", "Modifier"}
"""Other children of the root."""
_IN_A_CLASS = {"Meta", "SuperClass", "SubClass", "ModifiedBy", "ExcludeModifier", "Rubric", "History"}

Scope = Literal["preferred", "exact", "narrow", "broad", "related"]
_RUBRICS: dict[str, Scope] = {"inclusion": "exact", "synonym": "exact"}
_LANG = "xml:lang"
_INLINE = {"Term", "Reference"}
"""Elements of a label that are part of a line; all others stand apart."""
_EMPTY_BRACKETS = re.compile(r"\(\s*\)|\[\s*\]")
_ICD_CATEGORY = re.compile(r"[A-Z]\d\d")
_DEPTH = 50
"""How deep elements of a label, and classes, may be nested."""
_DIVIDED = 10_000
"""How many codes modifiers may make of one class; two digits, as in ICD-10, make some hundred."""


class ClamlConfig(SourceConfig):
    """A ClaML file."""

    lang: str = ""
    """Language of labels without `xml:lang`; default: the one that the file names, else English."""
    rubrics: dict[str, Scope] = Field(default=_RUBRICS)
    """Kinds of rubrics that are names besides `preferred` and `preferredLong`, and their scopes."""
    modifiers: bool = True
    """Whether to build the codes that modifiers make: E10 and `.0` make E10.0."""
    full_names: bool = False
    """Whether a category below another category is named with it: `Incision: Skin: Of the leg`, as OPS needs it."""
    meta: list[str] = Field(default_factory=list)
    """Names of Meta elements of classes whose values become types: `Para301` gives `Para301=P`."""


@dataclass(slots=True)
class _Names:
    """The names of a class or of a character, by language."""

    short: dict[str, str] = field(default_factory=dict)
    long: dict[str, str] = field(default_factory=dict)
    others: list[RawName] = field(default_factory=list)
    definition: str | None = None

    def main(self, lang: str) -> str:
        return self.long.get(lang) or self.short[lang]

    @property
    def langs(self) -> list[str]:
        return list(dict.fromkeys([*self.long, *self.short]))


@dataclass(slots=True)
class _Character:
    """A ModifierClass: what it adds to a code and a name."""

    code: str
    names: _Names
    usage: str | None
    not_after: set[tuple[str, str]]
    """(modifier, code) of characters that it does not follow."""


@dataclass(slots=True)
class _ModifiedBy:
    """A division of a class's codes."""

    modifier: str
    fifth: bool
    """Whether it adds the fifth character and not the fourth."""
    valid: set[str] | None
    """Codes of the characters that apply; None: all of them."""


@dataclass(slots=True)
class _Class:
    """A Class element."""

    code: str
    kind: str
    line: int
    types: list[str]
    parents: list[str]
    children: dict[str, None]
    modified_by: list[_ModifiedBy]
    excluded: set[str]
    names: _Names


class ClamlParser(Parser):
    """Reads classes of all kinds, and builds the codes that modifiers make of them.

    `preferredLong` is the preferred name where there is one, and `preferred` a related name then; it leaves out what
    the names of the classes above say. Inclusions are exact names. The kind of a class and its usage (dagger, aster)
    are types. Other rubrics are counted and left out.

    A modifier holds for its class and all below it that do not exclude it. It divides those that have no classes
    below them: a code is made for each of its characters, unless the file has a class of that code. Inclusions of a
    character are related names of these codes, for they do not say of what.

    Classes are kept until the last one is read, for names, modifiers and parents may come later.
    """

    config_class: ClassVar[type[SourceConfig]] = ClamlConfig
    config: ClamlConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield the classes in the file's order, each followed by what modifiers make of it.

        Raises:
            DataError: elements nested too deep, or as `xnorm.markup.read_parts`.
        """
        self._report = report
        self._lang = self.config.lang or "en"
        self._classes: dict[str, _Class] = {}
        self._characters: dict[str, list[_Character]] = {}
        order = list(self._elements())
        self._join()
        self._built: set[str] = set()
        for one in order:
            names = _full(one.names, self._above(one)) if self.config.full_names else one.names
            concepts = [self._concept(one.code, names, one.types, one.parents, one.line)]
            if self.config.modifiers and not any(child in self._classes for child in one.children):
                concepts.extend(self._divided(one, names))
            for concept in concepts:
                if concept.names:
                    yield concept
                else:
                    report.skip("class without a name", concept.id)

    def _elements(self) -> Iterator[_Class]:
        """Yield the classes, and take in what else the file says."""
        parts = read_parts(self.config.path, roots=["ClaML"], wanted=_WANTED)
        next(parts)
        for part in parts:
            element = part.element
            match element.tag:
                case "Meta" if element.get("name") == "lang":
                    self._lang = self.config.lang or element.get("value") or self._lang
                case "Title":
                    self._report.version = element.get("version") or element.get("date")
                case "ModifierClass":
                    self._add_character(part)
                case "Class" if element.get("code", "").strip():
                    one = self._class(part)
                    self._classes.setdefault(one.code, one)
                    yield one
                case "Class":
                    self._report.skip("class without a code", part.line)
                case tag if tag not in _PASSED_OVER and tag != "Meta":
                    self._report.skip(f"element <{tag}>, which xnorm does not read", part.line)

    def _class(self, part: Part) -> _Class:
        element, code = part.element, part.element.get("code", "").strip()
        for child in element:
            if child.tag not in _IN_A_CLASS:
                self._report.skip(f"element <{child.tag}>, which xnorm does not read", code)
        types = [element.get("kind", ""), element.get("usage", "")]
        for name in self.config.meta:
            values = (m.get("value", "") for m in element.iterfind("Meta") if m.get("name") == name)
            types.extend(f"{name}={value}" for value in values)
        return _Class(
            code,
            element.get("kind", ""),
            part.line,
            [t for t in types if t],
            _codes(element, "SuperClass"),
            dict.fromkeys(_codes(element, "SubClass")),
            [_modified_by(m) for m in element.iterfind("ModifiedBy") if m.get("code")],
            set(_codes(element, "ExcludeModifier")),
            self._names(element, part.line, code),
        )

    def _add_character(self, part: Part) -> None:
        element = part.element
        modifier, code = element.get("modifier"), element.get("code")
        if not modifier or not code:
            self._report.skip("modifier class without a modifier or a code", part.line)
            return
        rules = (m.get("value", "") for m in element.iterfind("Meta") if m.get("name") == "excludeOnPrecedingModifier")
        not_after = {(first, second) for first, _, second in (rule.partition(" ") for rule in rules)}
        names = self._names(element, part.line, f"{modifier} {code}")
        character = _Character(code, names, element.get("usage"), not_after)
        self._characters.setdefault(modifier, []).append(character)

    def _names(self, element: Element, line: int, where: str) -> _Names:
        names = _Names()
        for rubric in element.iterfind("Rubric"):
            kind = rubric.get("kind", "")
            if kind not in ("preferred", "preferredLong", "definition") and kind not in self.config.rubrics:
                self._report.skip(f"rubric of kind {kind}", where)
                continue
            for label in rubric.iterfind("Label"):
                lang = label.get(_LANG) or self._lang
                text = self._text(label, line, references=kind == "definition")
                if kind == "definition" and names.definition and text:
                    self._report.skip("further definition", where)
                elif kind == "definition":
                    names.definition = text or None
                elif text:
                    self._put(names, kind, text, lang)
        return names

    def _put(self, names: _Names, kind: str, text: str, lang: str) -> None:
        if kind in self.config.rubrics:
            names.others.append(RawName(text, lang, self.config.rubrics[kind]))
        elif (names.long if kind == "preferredLong" else names.short).setdefault(lang, text) != text:
            names.others.append(RawName(text, lang, "exact"))

    def _text(self, label: Element, line: int, *, references: bool = False) -> str:
        """Return a label in one line; as a name it goes without the codes that it refers to."""
        try:
            text = "".join(_pieces(label, references, 0))
        except RecursionError:
            raise DataError(f"elements nested more than {_DEPTH} deep", path=self.config.path, line=line) from None
        return " ".join(_EMPTY_BRACKETS.sub(" ", text).split())

    def _join(self) -> None:
        """Make sure that a class and the class above it know of each other."""
        for code, one in self._classes.items():
            for parent in one.parents:
                if parent in self._classes:
                    self._classes[parent].children[code] = None
        for code, one in self._classes.items():
            for child in (self._classes[c] for c in one.children if c in self._classes):
                if not child.parents:
                    child.parents.append(code)

    def _above(self, one: _Class) -> list[_Class]:
        """Return the classes above, the nearest first; of several superclasses the first."""
        found: list[_Class] = []
        seen = {one.code}
        while one.parents and one.parents[0] in self._classes and one.parents[0] not in seen:
            one = self._classes[one.parents[0]]
            seen.add(one.code)
            found.append(one)
            if len(found) > _DEPTH:
                raise DataError(f"classes nested more than {_DEPTH} deep", path=self.config.path, line=one.line)
        return found

    def _divisions(self, one: _Class) -> list[_ModifiedBy]:
        """Return the modifiers of a class, its own and those of the classes above, in the order of the characters."""
        excluded: set[str] = set()
        found: dict[str, _ModifiedBy] = {}
        for current in (one, *self._above(one)):
            excluded |= current.excluded
            for division in current.modified_by:
                if division.modifier not in excluded:
                    found.setdefault(division.modifier, division)
        return sorted(found.values(), key=lambda division: division.fifth)

    def _divided(self, one: _Class, names: _Names) -> Iterator[RawConcept]:
        """Yield the codes that modifiers make of a class: character by character."""
        stems: list[tuple[str, _Names, set[tuple[str, str]]]] = [(one.code, names, set())]
        for division in self._divisions(one):
            characters = self._applicable(division, one.code)
            if len(stems) * len(characters) > _DIVIDED:
                problem = f"modifiers make more than {_DIVIDED} codes of the class {one.code}"
                raise DataError(problem, path=self.config.path, line=one.line)
            grown = []
            for stem, stem_names, before in stems:
                for character in characters:
                    code = _joined(stem, character.code, fifth=division.fifth)
                    if character.not_after & before or code in self._classes:
                        continue
                    if code in self._built or code.count(".") > 1:
                        self._report.skip("code that modifiers make twice, or with two points", code)
                        continue
                    self._built.add(code)
                    own = _below(stem_names, character.names)
                    types = list(dict.fromkeys([*one.types, *([character.usage] if character.usage else [])]))
                    grown.append((code, own, before | {(division.modifier, character.code)}))
                    yield self._concept(code, own, types, [stem], one.line)
            stems = grown or stems

    def _applicable(self, division: _ModifiedBy, where: str) -> list[_Character]:
        characters = self._characters.get(division.modifier, [])
        if not characters:
            self._report.skip(f"modifier {division.modifier}, which the file does not define", where)
        if division.valid is None:
            return characters
        for code in sorted(division.valid - {c.code for c in characters}):
            self._report.skip("valid modifier class that the file does not define", f"{where}{code}")
        return [c for c in characters if c.code in division.valid]

    def _concept(self, code: str, names: _Names, types: list[str], parents: list[str], line: int) -> RawConcept:
        made = [RawName(names.main(lang), lang, "preferred") for lang in names.langs]
        both = (lang for lang in names.long if lang in names.short and names.short[lang] != names.long[lang])
        made.extend(RawName(names.short[lang], lang, "related") for lang in both)
        above = [self.curie(parent) for parent in parents]
        return RawConcept(
            self.curie(code), [*made, *names.others], list(types), parents=above, definition=names.definition, line=line
        )


def _codes(element: Element, tag: str) -> list[str]:
    return [code for code in (child.get("code", "").strip() for child in element.iterfind(tag)) if code]


def _modified_by(element: Element) -> _ModifiedBy:
    code, position = element.get("code", ""), element.get("position", "")
    valid = _codes(element, "ValidModifierClass")
    return _ModifiedBy(
        code,
        fifth=position == "5" or (not position and code.endswith("_5")),
        valid=set(valid) if valid or element.get("all") == "false" else None,
    )


def _pieces(element: Element, references: bool, depth: int) -> Iterator[str]:
    """Yield the texts of a label, with or without its references.

    Raises:
        RecursionError: elements nested too deep.
    """
    if depth > _DEPTH:
        raise RecursionError
    yield element.text or ""
    for n, child in enumerate(element, 1):
        apart = "" if child.tag in _INLINE else " "
        wanted = references or child.tag != "Reference"
        inner = "".join(_pieces(child, references, depth + 1)) if wanted else ""
        if child.tag == "Fragment" and n < len(element):  # `Salmonella:` and `arthritis` are one name in two fragments
            inner = inner.rstrip().removesuffix(":")
        yield apart + inner + apart + (child.tail or "")


def _joined(stem: str, character: str, *, fifth: bool) -> str:
    """Return a code with one more character: E10 and `.0` make E10.0, I70.2 and `1` make I70.21.

    In ICD-10 a point stands before the fourth character, and X in its place where there is only a fifth: W00 and `0`
    make W00.0, or W00.X0.
    """
    if character.startswith(".") or "." in stem or not _ICD_CATEGORY.fullmatch(stem):
        return stem + character
    return f"{stem}.X{character}" if fifth else f"{stem}.{character}"


def _below(above: _Names, own: _Names) -> _Names:
    """Return the names of what a character makes of a class, in the languages that both have."""
    langs = [lang for lang in above.langs if lang in own.langs]
    return _Names(
        short={lang: f"{above.main(lang)}: {own.main(lang)}" for lang in langs},
        others=[RawName(name.text, name.lang, "related") for name in own.others],
        definition=own.definition,
    )


def _full(names: _Names, above: list[_Class]) -> _Names:
    """Return names that say those of the categories above, too."""
    long = dict(names.long)
    for lang, text in names.short.items():
        parts = [one.names.short[lang] for one in above if one.kind == "category" and lang in one.names.short]
        long.setdefault(lang, ": ".join([*reversed(parts), text]))
    return _Names(names.short, long, names.others, names.definition)
