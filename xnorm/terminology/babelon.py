"""Translations of an ontology: Babelon tables, and the synonym tables (ROBOT templates) that go with them.

Babelon    one translated value a row: subject_id, predicate_id, translation_value and, as a rule, source_value,
           translation_language, translation_status
synonyms   subject_id, translation_value; the second row is a template as `ID`, `AL oboInOwl:hasExactSynonym@fr SPLIT=|`

Columns stand in any order; columns that are not named here are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from xnorm.errors import DataError
from xnorm.files import read_table
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport, predicate_scope
from xnorm.text import clean

__all__ = ["BabelonConfig", "BabelonParser"]

_UNTRANSLATED = "NOT_TRANSLATED"
_STATUSES = {"OFFICIAL", "UNDER_REVIEW", "CANDIDATE", _UNTRANSLATED}
_DEFINITION = "IAO:0000115"

_TEMPLATE = re.compile(r"AL?\s+(?P<predicate>[^\s@]+)(?:@(?P<lang>[\w-]+))?(?:\s+SPLIT=(?P<split>\S+))?")
_ENTITY = re.compile(r"&?(quot|apos);|&(amp|lt|gt);|(?<!\w)(amp|lt|gt);")
"""An XML entity, or what is left of one that lost its ampersand; a quote's remains also stand right after a word."""
_CHARACTERS = {"quot": '"', "apos": "'", "amp": "&", "lt": "<", "gt": ">"}


class BabelonConfig(SourceConfig):
    """A table of translated names."""

    overlay: bool = True
    """Only lay names over concepts of earlier sources; a table of translations is not meant to stand alone."""
    lang: str = ""
    """Language of the translations, put before the one that a synonym table's template row names; a Babelon table
    says its own in each row. Default: the table's."""
    statuses: list[Literal["OFFICIAL", "UNDER_REVIEW", "CANDIDATE"]] | None = None
    """Keep only translations of these statuses, and none without a status; default: all but NOT_TRANSLATED."""


@dataclass(slots=True)
class _Template:
    """What a synonym table says of all its rows."""

    predicate: str = "oboInOwl:hasExactSynonym"
    lang: str = ""
    split: str = "|"


class BabelonParser(Parser):
    """Reads translated labels and synonyms: `rdfs:label` is the preferred name in its language.

    Definitions, empty values and rows that say NOT_TRANSLATED are left out and counted. Cells of a synonym table may
    hold several names with `|` between them.
    """

    config_class: ClassVar[type[SourceConfig]] = BabelonConfig
    config: BabelonConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a row, with the names of that row.

        Raises:
            DataError: a row without a language, or as `xnorm.files.read_table`.
        """
        template = _Template()
        for line, row in read_table(self.config.path, columns=("subject_id", "translation_value")):
            if row["subject_id"].strip() == "ID":
                template = _template(row["translation_value"])
                report.skip("template row", line)
                continue
            reason = self._reason_to_skip(row)
            if reason is not None:
                report.skip(reason, line)
                continue
            scope = predicate_scope(row.get("predicate_id", template.predicate))
            if scope is None:
                report.skip(f"value of the predicate {row.get('predicate_id', template.predicate).strip()}", line)
                continue
            lang = self._lang(row, template, line)
            names = [RawName(text, lang, scope) for text in self._texts(row, template)]
            yield RawConcept(self.curie(row["subject_id"].strip()), names, line=line)

    def _reason_to_skip(self, row: dict[str, str]) -> str | None:
        value, status = row["translation_value"], _status(row)
        if row.get("predicate_id", "").strip() == _DEFINITION:
            return "definition"
        if status == _UNTRANSLATED:
            return "not translated"
        if not value.strip():
            return "empty translation"
        if self.config.statuses is not None and status not in self.config.statuses:
            return f"translation of status {status}" if status else "translation without a status"
        return None

    def _lang(self, row: dict[str, str], template: _Template, line: int) -> str:
        lang = row.get("translation_language", "").strip() or self.config.lang or template.lang
        if not lang:
            raise DataError("says no language", path=self.config.path, line=line, fix="set `lang` of this source")
        return lang

    def _texts(self, row: dict[str, str], template: _Template) -> list[str]:
        """Return the names in a cell; a Babelon table has one, a synonym table one or more."""
        value = row["translation_value"]
        parts = [value] if "predicate_id" in row else value.split(template.split)
        texts = [_restore(part) for part in parts]
        return [text for text in texts if text]


def _template(cell: str) -> _Template:
    match = _TEMPLATE.match(cell.strip())
    if match is None:
        return _Template()
    return _Template(match["predicate"], match["lang"] or "", match["split"] or "|")


def _status(row: dict[str, str]) -> str:
    """Return the status in upper case, empty if there is none; some synonym tables have it among the comments."""
    for column in ("translation_status", "Status", "status"):
        if row.get(column, "").strip():
            return row[column].strip().upper()
    comment = row.get("comment", "").strip().upper()
    return comment if comment in _STATUSES else ""


def _restore(text: str) -> str:
    """Undo what spreadsheets and converters did to a name: entities, and quotes around the whole."""
    if ";" in text:
        text = _ENTITY.sub(lambda m: _CHARACTERS[m[1] or m[2] or m[3]], text)
    text = clean(text)
    if len(text) > 1 and text[0] == text[-1] == '"':
        inner = text[1:-1].replace('""', "\0")
        if '"' not in inner:
            text = inner.replace("\0", '"').strip()
    return text
