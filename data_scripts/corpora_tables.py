"""More readers behind corpora.py: tables with texts beside them, GSC+ and XL-BEL."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os.path import commonpath
from typing import TYPE_CHECKING

from corpora_formats import Document, Entity, Part, Parts, cut, in_parts, part_of

from xnorm.errors import DataError

if TYPE_CHECKING:
    from corpora import Files

_COLUMNS = {
    "filename": ("filename",), "label": ("label",), "start": ("off0", "span_ini", "start_span"),
    "end": ("off1", "span_end", "end_span"), "text": ("span", "text"), "code": ("code",),
}  # fmt: skip


@dataclass
class _Texts:
    """The text files of a corpus, and which of them were used."""

    files: Files
    names: dict[str, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, match in self.files.find(r"/(text_files|txt)/([^/]+)\.txt$").items():
            self.names.setdefault(match[2], []).append(name)

    def read(self, identifier: str, table: str) -> str:
        """Return a document's text: of several files of the name, the one that stands nearest to the table."""
        candidates = self.names.get(identifier)
        if not candidates:
            raise DataError(f"no text_files/{identifier}.txt for this table", path=table)
        return self.files.read(max(candidates, key=lambda name: len(commonpath([name, table]))))


def codiesp(files: Files) -> Parts:
    """Read {train,dev,test}X.tsv: document, label, code, text, offsets; no header."""
    texts = _Texts(files)
    databases = {"DIAGNOSTICO": "ICD10CM", "PROCEDIMIENTO": "ICD10PCS"}

    def rows(table: str) -> Iterator[tuple[str, Entity]]:
        for number, line in files.lines(table):
            cells = line.split("\t")
            if not line.strip():
                continue
            if len(cells) != 5 or cells[1] not in databases or not re.fullmatch(r"\d+ \d+(;\d+ \d+)*", cells[4]):
                raise DataError(
                    f"not a row of the table: {line[:60]!r}", path=table, line=number,
                    fix="expected DOCUMENT, DIAGNOSTICO or PROCEDIMIENTO, CODE, TEXT, OFFSETS separated by tabs",
                )  # fmt: skip
            spans = tuple((int(s), int(e)) for s, e in (pair.split() for pair in cells[4].split(";")))
            ids = tuple((databases[cells[1]], code.upper()) for code in cut(cells[2], r"\s"))
            yield cells[0], Entity((cells[1],), spans, ids, cells[3])

    tables = files.find(r"/(train|dev|test)X\.tsv$")
    return in_parts((part_of(t), d) for t in tables for d in _gather(rows(t), texts, t))


def distemist(files: Files) -> Parts:
    """Read distemist_subtrack2_*_linking.tsv; the two tables of the training part are one part."""
    return _temist(files, list(files.find(r"/distemist_subtrack2_[^/]*linking\.tsv$")))


def symptemist(files: Files) -> Parts:
    """Read symptemist_tsv_*_subtask2*.tsv, of each part the fullest: +COMPOSITE, else complete, else the plain one."""
    found = files.find(r"/symptemist_tsv_(train|test)_subtask2(_complete)?(\+COMPOSITE)?\.tsv$")
    best: dict[str, str] = {}
    for name in sorted(found, key=lambda n: (bool(found[n][3]), bool(found[n][2]))):
        best[part_of(name)] = name
    return _temist(files, list(best.values()))


def _temist(files: Files, tables: list[str]) -> Parts:
    texts, parts = _Texts(files), {part_of(t): Part() for t in tables}
    grouped = ((part_of(t), d) for t in tables for d in _gather(_temist_rows(files, t, parts), texts, t))
    return in_parts(grouped, parts)


def _temist_rows(files: Files, table: str, parts: Parts) -> Iterator[tuple[str, Entity]]:
    lines = files.lines(table)
    header = next(lines)[1].split("\t")
    try:
        at = {key: header.index(next(n for n in names if n in header)) for key, names in _COLUMNS.items()}
    except StopIteration:
        wanted = ", ".join("/".join(names) for names in _COLUMNS.values())
        raise DataError(f"the columns are {', '.join(header)}; expected {wanted}", path=table, line=1) from None
    for number, line in lines:
        cells = line.split("\t")
        if not line.strip():
            continue
        if len(cells) != len(header) or not (cells[at["start"]].isdecimal() and cells[at["end"]].isdecimal()):
            raise DataError(f"not a row of the table: {line[:60]!r}", path=table, line=number)
        codes = [c for c in cut(cells[at["code"]], r"\+") if c.upper() not in ("NO_CODE", "NOMAP")]
        if not all(re.fullmatch(r"\d{6,18}", code) for code in codes):  # 1.66753E+16, left by a spreadsheet
            parts[part_of(table)].notes["codes that cannot be read"] += 1
            codes = []
        span = int(cells[at["start"]]), int(cells[at["end"]])
        ids = tuple(("SNOMED_CT", code) for code in codes)
        yield cells[at["filename"]], Entity((cells[at["label"]],), (span,), ids, cells[at["text"]])


def _gather(rows: Iterable[tuple[str, Entity]], texts: _Texts, table: str) -> Iterator[Document]:
    """Yield the documents of a table in the order of their first rows. Quotes doubled in the table are undone."""
    grouped: dict[str, list[Entity]] = {}
    for identifier, entity in rows:
        grouped.setdefault(identifier, []).append(entity)
    for identifier, entities in grouped.items():
        text = texts.read(identifier, table)
        for entity in entities:
            if entity.text[:1] == entity.text[-1:] == '"' and not entity.agrees(text):
                entity.text = entity.text[1:-1].replace('""', '"')
        yield Document(identifier, "es", [("text", text)], entities)


# The rest


def gscplus(files: Files) -> Parts:
    """Read GSCplus_{dev,test}_gold.tsv: blocks of an id, a text and rows of START, END, TEXT, HP id."""

    def documents(name: str) -> Iterator[Document]:
        block: list[str] = []
        for number, line in files.lines(name):
            if line.strip():
                block.append(line)
            elif block:
                yield _gscplus_document(block, name, number - len(block))
                block = []
        if block:
            yield _gscplus_document(block, name, number - len(block) + 1)

    names = files.find(r"/GSCplus_(dev|test)_gold\.tsv$")
    return in_parts((part_of(n), d) for n in names for d in documents(n))


def _gscplus_document(block: list[str], name: str, line: int) -> Document:
    if len(block) < 2 or "\t" in block[0]:
        raise DataError(f"not a document: {block[0][:60]!r}", path=name, line=line, fix="expected an id, then a text")
    entities = []
    for number, row in enumerate(block[2:], line + 2):
        match = re.fullmatch(r"(\d+)\t(\d+)\t([^\t]+)\t([^\t]*)", row)
        if match is None:
            raise DataError(f"not a row of START, END, TEXT, HP id: {row[:60]!r}", path=name, line=number)
        ids = tuple(("HP", code) for code in cut(match[4], "[|;,]") if code.startswith("HP:"))
        entities.append(Entity(("Phenotype",), ((int(match[1]), int(match[2])),), ids, match[3]))
    return Document(block[0].strip(), "en", [("abstract", block[1])], entities)


def xlbel(files: Files) -> Parts:
    """Read LANGUAGE_1k_test_query.txt (v0.0) and LANGUAGE_1k_test_query_with_context.txt (v1.0)."""

    def documents(name: str, lang: str, part: str) -> Iterator[Document]:
        for number, line in files.lines(name):
            if not line.strip():
                continue
            cells = line.split("||", 2)
            if len(cells) != (3 if part.startswith("v1.0") else 2):
                raise DataError(f"not a query: {line[:60]!r}", path=name, line=number, fix="expected CUIS||MENTION")
            ids = tuple(("UMLS", cui) for cui in cut(cells[0], r"\|"))
            text, start, end = cells[1], 0, len(cells[1])
            if len(cells) == 3:
                before, tag, rest = cells[2].partition("<tgt>")
                mention, closing, after = rest.partition("</tgt>")
                if not (tag and closing):
                    raise DataError(f"no <tgt>MENTION</tgt> in {cells[2][:60]!r}", path=name, line=number)
                text, start, end = before + mention + after, len(before), len(before + mention)
            identifier = f"xlbel_{part}_{number - 1}"
            yield Document(
                identifier, lang, [("sentence", text)], [Entity(("MENTION",), ((start, end),), ids, cells[1])]
            )

    found = files.find(r"/([a-z]{2})_1k_test_query(_with_context)?\.txt$")
    parts = {name: f"{'v1.0' if m[2] else 'v0.0'}_{m[1].lower()}" for name, m in found.items()}
    return in_parts((part, d) for n, part in parts.items() for d in documents(n, found[n][1].lower(), part))
