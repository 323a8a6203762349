"""Texts from outside in Markdown: on one line, and without meaning to it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xnorm.plots import shown

__all__ = ["escaped", "one_line", "table"]

_SPECIAL = re.compile(
    r"[\\`*\[\]<>|~$]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_])|@(?!(?:\d+|k)\b)|:(?=//)|(?<=www)\.", re.IGNORECASE
)
"""What means something to Markdown, to tables and formulas in it, or makes a link; not the inside of recall_a@64."""


def one_line(text: str, most: int = 120) -> str:
    """Return a text from outside on one line, to be shown by Markdown as it is: in a line, a list or a table."""
    return escaped(shown(text, most))


def escaped(text: str) -> str:
    """Return a text whose characters mean nothing to Markdown."""
    text = re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", text))
    return re.sub(r"^[#+=-]", r"\\\g<0>", text)


def table(head: Sequence[str], rows: Sequence[Sequence[str | int | float]]) -> list[str]:
    """Return the lines of a table; columns whose cells are all numbers are aligned to the right."""
    numbers = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    rule = ["---:" if right else "---" for right in numbers]
    cells = [[one_line(c, 300) if isinstance(c, str) else f"{c:,}" for c in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [[one_line(h) for h in head], rule, *cells]]
