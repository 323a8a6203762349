"""The metadata of ICD-10 as plain text: WHO's `icd102019syst_codes.txt`, BfArM's `icd10gm2026syst_kodes.txt` and
`icd10who2019syst_kodes.txt`, with the files of groups and chapters beside them.

Fields: https://icdcdn.who.int/icd10/metainfo.html; BfArM's have the same first 12 fields, and say in `*_liesmich.txt`
what follows. Fields stand between semicolons, without quotes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from xnorm.errors import DataError
from xnorm.files import open_text
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["Icd10CodesConfig", "Icd10CodesParser"]

_FIELDS = 12
_LEVELS = ("3", "4", "5")
_USAGES = {"*": "aster", "!": "optional"}
_FILLED = 25
"""Where ICD-10-GM says whether a code has content, counted from 0."""
_ROMAN = (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")


class Icd10CodesConfig(SourceConfig):
    """A file of codes."""

    lang: str = ""
    """Language of the titles; default: German where the file is called `kodes`, else English."""
    headings: bool = True
    """Whether groups and chapters are concepts, too, and parents of the codes; their files must stand beside."""


@dataclass(frozen=True, slots=True)
class _Range:
    """A group, or a category, as the categories from the first to the last one."""

    first: str
    last: str
    id: str


class Icd10CodesParser(Parser):
    """Reads codes with their full titles.

    Types are those of the ClaML files: category, block, chapter; `aster` and `optional` for codes that stand beside
    another one; and besides `terminal`, for what can be coded with. Chapters have Roman numbers, groups are called
    `A00-A09`. Codes of ICD-10-GM that hold nothing are left out and counted.
    """

    config_class: ClassVar[type[SourceConfig]] = Icd10CodesConfig
    config: Icd10CodesConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield chapters, groups and codes.

        Raises:
            DataError: a line has too few fields or another level than 3, 4 or 5, or a file of groups or chapters is
                missing, or as `xnorm.files.open_text`.
        """
        path = self.config.path
        lang = self.config.lang or ("de" if "kodes" in path.name else "en")
        rows = list(self._codes(report))
        known = {row[6] for _, row in rows}
        above: dict[str, str] = {}
        if self.config.headings:
            chapters = self._lines(self._beside("chapters", "kapitel"), 2)
            groups = list(self._lines(self._beside("groups", "gruppen"), 4))
            ranges = [_Range(first, last, f"{first}-{last}") for _, (first, last, *_) in groups]
            for line, (number, title) in chapters:
                yield self._concept(_roman(number), title, lang, ["chapter"], None, line)
            categories = [_Range(code, code, code) for code in known if len(code) == 3]
            above = _enclosing([*ranges, *categories])
            for line, (first, last, chapter, title) in groups:
                block = f"{first}-{last}"
                yield self._concept(block, title, lang, ["block"], above.get(block) or _roman(chapter), line)
        for line, row in rows:
            code = row[6]
            usage = _USAGES.get(row[5][-1:])
            types = ["category", *([usage] if usage else []), *(["terminal"] if row[1] == "T" else [])]
            top = _roman(row[3]) if self.config.headings else None
            parent = (above.get(code) or top) if len(code) == 3 else _shorter(code, known)
            yield self._concept(code, row[8], lang, types, parent, line)

    def _concept(self, code: str, title: str, lang: str, types: list[str], parent: str | None, line: int) -> RawConcept:
        parents = [] if parent is None else [self.curie(parent)]
        return RawConcept(self.curie(code), [RawName(title, lang, "preferred")], types, parents=parents, line=line)

    def _codes(self, report: SourceReport) -> Iterator[tuple[int, list[str]]]:
        fields = 0
        for line, row in self._lines(self.config.path, _FIELDS):
            fields = fields or len(row)
            if len(row) != fields:  # perhaps a semicolon in a title: then what follows stands in other fields
                report.skip("line with another number of fields than the first, kept", line)
            if row[0] not in _LEVELS:
                raise DataError(
                    f"level: expected 3, 4 or 5, found {row[0]!r:.40}",
                    path=self.config.path,
                    line=line,
                    fix="is it the file of codes (`*syst_codes.txt`, `*syst_kodes.txt`)?",
                )
            if len(row) > _FILLED and row[_FILLED] == "N":
                report.skip("code without content", row[6])
            elif not row[6] or not row[8]:
                report.skip("code without a title" if row[6] else "line without a code", line)
            else:
                yield line, row

    def _lines(self, path: Path, fields: int) -> Iterator[tuple[int, list[str]]]:
        """Yield (line from 1, fields); a title, which comes last, may hold semicolons where there are few fields."""
        with open_text(path) as file:
            for number, text in enumerate(file, 1):
                if not text.strip():
                    continue
                cells = text.rstrip("\n").split(";", -1 if fields == _FIELDS else fields - 1)
                if len(cells) < fields:
                    raise DataError(
                        f"has {len(cells)} fields, expected {fields} with a semicolon between them",
                        path=path,
                        line=number,
                    )
                yield number, [cell.strip() for cell in cells]

    def _beside(self, *words: str) -> Path:
        path = self.config.path
        for old, new in zip(("codes", "kodes"), words, strict=True):
            if old in path.name:
                return path.with_name(new.join(path.name.rsplit(old, 1)))
        raise DataError(
            "its name holds neither 'codes' nor 'kodes', so that the files of groups and chapters cannot be found",
            path=path,
            fix="call it as it was published, or set `headings: false`",
        )


def _enclosing(items: list[_Range]) -> dict[str, str]:
    """Return the narrowest group that holds each group or category, by its id."""
    found: dict[str, str] = {}
    stack: list[_Range] = []
    items = sorted(sorted(items, key=lambda item: (item.last, "-" in item.id), reverse=True), key=lambda i: i.first)
    for item in items:
        while stack and stack[-1].last < item.last:
            stack.pop()
        if stack and stack[-1].id != item.id:
            found[item.id] = stack[-1].id
        if "-" in item.id:
            stack.append(item)
    return found


def _shorter(code: str, known: set[str]) -> str | None:
    """Return the longest beginning of a code that is a code."""
    for end in range(len(code) - 1, 2, -1):
        if code[:end] in known:
            return code[:end]
    return None


def _roman(number: str) -> str:
    """Return a chapter's number as ClaML has it: 01 is I, 22 is XXII."""
    left, out = int(number) if number.isascii() and number.isdigit() and len(number) < 3 else 0, ""
    for value, letters in _ROMAN:
        while left >= value:
            out, left = out + letters, left - value
    return out or number
