"""JSON Lines: a concept a line, in xnorm's own form or in that of xMEN.

{"id": "HP:0001635", "name": "Heart failure", "synonyms": ["cardiac failure", {"name": "Herzinsuffizienz", "lang": "de",
 "scope": "label"}], "types": [], "xrefs": [], "definition": null, "parents": [], "alt_ids": [], "retired": false,
 "replaced_by": []}
{"concept_id": "C0018802", "canonical_name": "Heart failure", "aliases": [], "types": [], "definition": null}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from xnorm.files import read_json_lines
from xnorm.records import JsonObject
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport, scope_of

__all__ = ["JsonlConfig", "JsonlParser"]

_OWN_KEYS = {
    "id", "name", "synonyms", "types", "xrefs", "definition", "parents", "alt_ids", "retired", "replaced_by",
}  # fmt: skip
_XMEN_KEYS = {"concept_id", "canonical_name", "aliases", "types", "definition"}


class JsonlConfig(SourceConfig):
    """A JSON Lines file; it has no parameters of its own."""


class JsonlParser(Parser):
    """Reads JSON Lines; which form a record has is told by its key `id` or `concept_id`.

    `name` is the preferred name in the language of the source. A synonym is a string, or an object with `name` and,
    if wanted, `lang` and `scope`: one of xnorm's scopes, `label` (preferred), or `synonym`, `entry` or `inclusion`
    (exact, which is the default). Any key but `id` may be missing or null.
    """

    config_class: ClassVar[type[SourceConfig]] = JsonlConfig
    config: JsonlConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a line; keys that are not known are passed over and counted.

        Raises:
            DataError: a value of another kind than expected, an unknown scope, a record without an id, or as
                `xnorm.files.read_json_lines`.
        """
        for line, values in read_json_lines(self.config.path):
            record = _Record(values, self, line)
            concept = record.xmen() if "concept_id" in values else record.own()
            for key in sorted(values.keys() - (_XMEN_KEYS if "concept_id" in values else _OWN_KEYS)):
                report.skip(f"key '{key}', which xnorm does not read", line)
            if concept.names or concept.retired:
                yield concept
            else:
                report.skip("record without a name", line)


class _Record(JsonObject):
    """A line, and how it becomes a concept."""

    __slots__ = ("parser",)

    def __init__(self, values: dict[str, Any], parser: JsonlParser, line: int) -> None:
        super().__init__(values, path=parser.config.path, line=line)
        self.parser = parser

    def own(self) -> RawConcept:
        if "id" not in self.values:
            keys = ", ".join(self.values) or "none"
            raise self.error(f"has no key 'id' (or 'concept_id'); the keys are: {keys}")
        concept = self._concept("id", "name", "synonyms")
        concept.xrefs = self.strings("xrefs")
        concept.parents = self._ids("parents")
        concept.alt_ids = self._ids("alt_ids")
        concept.replaced_by = self._ids("replaced_by")
        concept.retired = self.boolean("retired")
        return concept

    def xmen(self) -> RawConcept:
        return self._concept("concept_id", "canonical_name", "aliases")

    def _concept(self, id_key: str, name_key: str, synonyms_key: str) -> RawConcept:
        identifier = (self.string(id_key) or "").strip()
        name = self.string(name_key)
        names = [] if name is None else [RawName(name, self.parser.config.lang, "preferred")]
        names.extend(self._synonym(s, f"{synonyms_key}[{n}]") for n, s in enumerate(self.items(synonyms_key)))
        return RawConcept(
            self.parser.curie(identifier) if identifier else "",
            names,
            types=self.strings("types"),
            definition=self.string("definition"),
            line=self.line,
        )

    def _synonym(self, value: Any, key: str) -> RawName:
        lang = self.parser.config.lang
        if isinstance(value, str):
            return RawName(value, lang)
        if not isinstance(value, dict) or "name" not in value:
            raise self.wrong(key, "a string or an object with a 'name'", value)
        name, lang_of_name, scope = value["name"], value.get("lang"), value.get("scope")
        for part, found, optional in (("name", name, False), ("lang", lang_of_name, True), ("scope", scope, True)):
            if not (isinstance(found, str) or (found is None and optional)):
                raise self.wrong(f"{key}.{part}", "a string", found)
        try:
            return RawName(name, lang_of_name or lang, scope_of(scope or "exact"))
        except ValueError as e:
            raise self.error(f"{key}.scope: {e}") from None

    def _ids(self, key: str) -> list[str]:
        return [self.parser.curie(value) for value in self.strings(key)]
