"""BfArM's alphabets as plain text (EDV-Fassung): diagnoses and procedures in the words of daily work, with their codes.

icd10gm2026alpha_edvtxt_*.txt            kind|number|printed|code|star code|additional code|second code|text
icd10who2019alpha_edvtxt_teil1_*.txt     kind|number|printed|code|star code|second code|text
ops2026alpha_edvtxt_*.txt                kind|number|code|second code|text
icd10gm2026_alphaidse_edvtxt.txt         valid|Alpha-ID|code|star code|additional code|second code|ORPHAcode|text

The first field is 0 for a line that only refers to others, and for an Alpha-ID that is no longer valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from xnorm.errors import DataError
from xnorm.files import open_text
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["Icd10AlphabetConfig", "Icd10AlphabetParser"]

_LEAST = 5
_CODE = re.compile(r"([A-Z]\d\d(?:\.[\dX]*)?|\d-[\dA-Za-z]{3}(?:\.[\dA-Za-z]*)?)[-+*!†#]*")
"""A code of ICD-10 or OPS, with the marks behind it."""


class Icd10AlphabetConfig(SourceConfig):
    """An alphabet of ICD-10-GM, ICD-10-WHO, OPS or Alpha-ID."""

    lang: str = "de"
    """Language of the texts."""
    overlay: bool = True
    """Only lay names over the codes of earlier sources; an alphabet has no titles."""
    codes: Literal["first", "all"] = "first"
    """Which code of several has the text among its names: the first, which is the disease; or the others too (of the
    manifestation, of what is added), for which the text is a related name."""


class Icd10AlphabetParser(Parser):
    """Reads a text a line, an exact name of its code; lines without a code are left out and counted."""

    config_class: ClassVar[type[SourceConfig]] = Icd10AlphabetConfig
    config: Icd10AlphabetConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a line and code, with the line's text.

        Raises:
            DataError: a line has fewer than five fields, or as `xnorm.files.open_text`.
        """
        with open_text(self.config.path) as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                cells = [cell.strip() for cell in text.rstrip("\n").split("|")]
                if len(cells) < _LEAST:
                    raise DataError(
                        f"has {len(cells)} fields, expected at least {_LEAST} with '|' between them",
                        path=self.config.path,
                        line=line,
                        fix="is it an alphabet in the EDV-Fassung (`*alpha_edvtxt*.txt`)?",
                    )
                yield from self._names(cells, line, report)

    def _names(self, cells: list[str], line: int, report: SourceReport) -> Iterator[RawConcept]:
        # what is no code is a mark for printing or an ORPHAcode
        found = [match[1].rstrip(".") for cell in cells[2:-1] if (match := _CODE.fullmatch(cell))]
        codes = list(dict.fromkeys(found))
        if cells[0] == "0" or not codes or not cells[-1]:
            reason = "line without a text" if codes and not cells[-1] else "line without a code"
            report.skip("line that is not valid or refers to others" if cells[0] == "0" else reason, line)
            return
        if len(codes) > 1 and self.config.codes == "first":
            report.skip("further code of a text", line)
            del codes[1:]
        for n, code in enumerate(codes):
            name = RawName(cells[-1], self.config.lang, "related" if n else "exact")
            yield RawConcept(self.curie(code), [name], line=line)
