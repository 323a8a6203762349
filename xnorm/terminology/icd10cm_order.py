"""The order files of CMS: `icd10cm_order_2026.txt` and, of procedures, `icd10pcs_order_2026.txt`.

Lines of fixed width, as `icd10OrderFiles.pdf` beside them says: order number (columns 1 to 5), code without its dot
(7 to 13), 1 for a code that can be billed and 0 for a header (15), short title (17 to 76), long title (from 78).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from xnorm.errors import DataError
from xnorm.files import open_text
from xnorm.terminology.base import Parser, RawConcept, RawName, SourceConfig, SourceReport

__all__ = ["Icd10cmOrderConfig", "Icd10cmOrderParser"]

_LINE = re.compile(r"(\d{5}) ([A-Z0-9]{3,7}) *([01]) (.{60})(?: (.*))?")
_FLAG = 14


class Icd10cmOrderConfig(SourceConfig):
    """An order file."""

    system: Literal["ICD10CM", "ICD10PCS"] = "ICD10CM"
    """Which codes the file has; those of ICD-10-CM get a dot behind the third character."""
    short_titles: bool = True
    """Whether abbreviated titles are exact names besides the long ones."""


class Icd10cmOrderParser(Parser):
    """Reads codes with their long titles; types are `billable` and `header`, parents the headers above a code.

    The files have no chapters and blocks.
    """

    config_class: ClassVar[type[SourceConfig]] = Icd10cmOrderConfig
    config: Icd10cmOrderConfig

    def read(self, report: SourceReport) -> Iterator[RawConcept]:
        """Yield a concept a line.

        Raises:
            DataError: a line is of another form, or as `xnorm.files.open_text`.
        """
        above: list[str] = []
        with open_text(self.config.path) as file:
            for line, text in enumerate(file, 1):
                if not text.strip():
                    continue
                code, billable, short, long = self._fields(text.rstrip("\n"), line)
                while above and not code.startswith(above[-1]):
                    above.pop()
                parents = [self._identify(above[-1])] if above else []
                above.append(code)
                names = [RawName(long or short, self.config.lang, "preferred")]
                if self.config.short_titles and long and short != long:
                    names.append(RawName(short, self.config.lang))
                types = ["billable" if billable else "header"]
                yield RawConcept(self._identify(code), names, types, parents=parents, line=line)

    def _fields(self, text: str, line: int) -> tuple[str, bool, str, str]:
        match = _LINE.fullmatch(text.ljust(_FLAG + 62))
        if match is None or match.start(3) != _FLAG:
            raise DataError(
                f"expected an order number, a code, 0 or 1, and titles in their columns, found {text!r:.60}",
                path=self.config.path,
                line=line,
                fix="is it an order file (icd10cm_order_*.txt), as CMS has it?",
            )
        return match[2], match[3] == "1", match[4].strip(), (match[5] or "").strip()

    def _identify(self, code: str) -> str:
        if self.config.system == "ICD10CM" and len(code) > 3:
            code = f"{code[:3]}.{code[3:]}"
        prefix = self.config.prefix if self.config.prefix is not None else self.config.system
        return f"{prefix}:{code}"
