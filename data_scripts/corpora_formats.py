"""The readers behind corpora.py: official corpus files in, documents by part out.

A reader takes the files of all sources and finds those of its corpus by their official names. The docstring of
corpora.py says what the corpora are and what is made of them.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from xnorm.errors import DataError

if TYPE_CHECKING:
    from corpora import Files

Ids = tuple[tuple[str, str], ...]
"""(database, identifier) of each concept."""


@dataclass
class Entity:
    """A mention as the corpus states it."""

    types: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    ids: Ids
    text: str

    def surface(self, text: str) -> str:
        """Return what stands at the spans, the parts joined by one space."""
        return " ".join(text[start:end] for start, end in self.spans)

    def agrees(self, text: str) -> bool:
        """Return whether the stated text stands at the spans, white space aside."""
        return self.text.split() == self.surface(text).split()


@dataclass
class Document:
    """A text with its mentions; passages follow one another with one character between them."""

    id: str
    lang: str
    passages: list[tuple[str, str]]
    """(type, text)"""
    entities: list[Entity]

    @property
    def text(self) -> str:
        """The whole text, a line feed between passages."""
        return "\n".join(text for _, text in self.passages)


@dataclass
class Part:
    """The documents of a part, and how many records were left out, merged or unreadable, by reason."""

    documents: list[Document] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)


Parts = dict[str, Part]


def part_of(name: str) -> str:
    """Return train, dev or test by the file's own name, which has one of them."""
    found = re.findall("train|trng|dev|test", PurePosixPath(name).name.lower())
    return found[-1].replace("trng", "train")


def cut(cell: str, separators: str) -> list[str]:
    return [word for word in (part.strip() for part in re.split(separators, cell)) if word not in ("", "-", "-1")]


def in_parts(documents: Iterable[tuple[str, Document]], parts: Parts | None = None) -> Parts:
    """Collect (part, document); a document whose id came before in the part is left out and counted."""
    parts = {} if parts is None else parts
    taken: set[tuple[str, str]] = set()
    for name, document in documents:
        part = parts.setdefault(name, Part())
        if (name, document.id) in taken:
            part.notes["documents given twice"] += 1
        else:
            taken.add((name, document.id))
            part.documents.append(document)
    return parts


# PubTator


_TEXT = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)


def _pubtator(files: Files, name: str, ids: Callable[[str], Ids]) -> Iterator[Document]:
    """Yield the documents of a PubTator file; `ids` reads the cell of concepts. Relation lines are passed over."""
    document = None
    for number, line in files.lines(name):
        cells = line.split("\t")
        if match := _TEXT.fullmatch(line):
            identifier, kind, text = match.groups()
            if kind == "t":
                if document is not None:
                    yield document
                document = Document(identifier, "en", [("title", text)], [])
                continue
            if document is not None and document.id == identifier:
                document.passages.append(("abstract", text))
                continue
        elif not line.strip():
            continue
        elif document is not None and cells[0] == document.id:
            if len(cells) > 4 and cells[1].isdecimal() and cells[2].isdecimal():
                types = tuple(cut(cells[4], ","))
                span = int(cells[1]), int(cells[2])
                document.entities.append(Entity(types, (span,), ids(cells[5]) if len(cells) > 5 else (), cells[3]))
                continue
            if len(cells) == 4:  # a relation
                continue
        raise DataError(
            f"not a PubTator line of the document: {line[:60]!r}", path=name, line=number,
            fix="expected ID|t|TITLE, ID|a|ABSTRACT or ID, START, END, TEXT, TYPE, CONCEPT separated by tabs",
        )  # fmt: skip
    if document is not None:
        yield document


def _mesh_or_omim(cell: str) -> Ids:
    return tuple(
        ("OMIM", word[5:]) if word.upper().startswith("OMIM:") else ("MESH", word.removeprefix("MESH:"))
        for word in cut(cell, r"[|+]")
    )


def _umls(cell: str) -> Ids:
    return tuple(("UMLS", word.removeprefix("UMLS:")) for word in cut(cell, r"\|"))


def ncbi_disease(files: Files) -> Parts:
    """Read NCBI{train,develop,test}set_corpus.txt."""
    names = files.find(r"/NCBI(train|develop|test)set_corpus\w*\.txt$")
    return in_parts((part_of(n), d) for n in names for d in _pubtator(files, n, _mesh_or_omim))


def bc5cdr(files: Files) -> Parts:
    """Read CDR_{Training,Development,Test}Set.PubTator.txt; {train,dev,test}_corpus.txt is taken, too."""
    names = files.find(r"/(CDR_(Training|Development|Test)Set\.PubTator|(train|dev|test)_corpus)\.txt(\.gz)?$")
    return in_parts((part_of(n), d) for n in names for d in _pubtator(files, n, _mesh_or_omim))


def medmentions(files: Files) -> Parts:
    """Read corpus_pubtator.txt(.gz) of the folders full and st21pv, split by corpus_pubtator_pmids_*.txt."""
    splits: dict[str, str] = {}
    for name in files.find(r"corpus_pubtator_pmids_(trng|dev|test)\.txt$"):
        splits |= {line.strip(): part_of(name) for _, line in files.lines(name) if line.strip()}
    names = files.find(r".*/(full|st21pv)/.*corpus_pubtator\.txt(\.gz)?$")
    missing = {"train", "dev", "test"} - set(splits.values())
    if names and missing:
        words = ", ".join("trng" if part == "train" else part for part in sorted(missing))
        raise DataError(
            f"no corpus_pubtator_pmids_PART.txt for {words}", path=next(iter(names)),
            fix="name the files of full/data, too: the subset st21pv has none of its own",
        )  # fmt: skip

    def documents() -> Iterator[tuple[str, Document]]:
        for name, match in names.items():
            for document in _pubtator(files, name, _umls):
                if document.id not in splits:
                    raise DataError(f"the document '{document.id}' is in no part's list of ids", path=name)
                yield f"{match[1].lower()}_{splits[document.id]}", document

    return in_parts(documents())


# BRAT


_MARK = re.compile(r"(T\S+)\t(\S+) (\d{1,12} \d{1,12}(?:;\d{1,12} \d{1,12})*)\t(.*)")
_NOTE = re.compile(r"#\S*\tAnnotatorNotes (T\S+)\t(.*)")
_NORMALIZATION = re.compile(r"N\S*\t\S+ (T\S+) ([^\t]*)(?:\t.*)?")


@dataclass
class _Mark:
    type: str
    spans: tuple[tuple[int, int], ...]
    text: str
    notes: list[str] = field(default_factory=list)
    """What notes or normalisations say of it."""


def _brat(files: Files, name: str, extra: re.Pattern[str]) -> list[_Mark]:
    """Return the marks of an annotation file, with what the lines of the pattern (mark, text) say of them."""
    marks: dict[str, _Mark] = {}
    said: list[tuple[int, str, str]] = []
    for number, line in files.lines(name):
        if line.startswith("T"):
            match = _MARK.fullmatch(line)
            if match is None or match[1] in marks:
                raise DataError(f"not a BRAT mention, or its id is used twice: {line[:60]!r}", path=name, line=number)
            spans = tuple((int(s), int(e)) for s, e in (pair.split() for pair in match[3].split(";")))
            marks[match[1]] = _Mark(match[2], spans, match[4])
        elif match := extra.fullmatch(line):
            said.append((number, match[1], match[2]))
    for number, mark, text in said:
        if mark not in marks:
            raise DataError(f"'{mark}' is given a concept, but there is no such mention", path=name, line=number)
        marks[mark].notes.append(text)
    return list(marks.values())


def _beside(files: Files, name: str) -> str:
    """Return the text of an annotation file: the same name in .txt, beside it or in a folder textFiles."""
    path = PurePosixPath(name).with_suffix(".txt")
    names = [str(path)] if str(path) in files else list(files.find(rf"/textFiles/{re.escape(path.name)}$"))
    if len(names) != 1:
        raise DataError(f"has {'several text files' if names else 'no text file'} '{path.name}' beside it", path=name)
    return files.read(names[0])


LANGUAGES = {"English": "en", "French": "fr", "German": "de", "Spanish": "es", "Dutch": "nl"}
_GROUPS = re.compile(r"[A-Z]{4}(\|[A-Z]{4})*")


def mantra(files: Files) -> Parts:
    """Read the folders LANGUAGE/SOURCE_ec22-cui-best_man in BRAT, or SOURCE_GSC_LANGUAGE_man.xml."""
    parts: Parts = {}
    brat = files.find(rf"/({'|'.join(LANGUAGES)})/([^/]+?)(_ec22[^/]*)?/([^/]+)\.ann$")
    in_parts(((d.lang, d) for name, match in brat.items() for d in _mantra_brat(files, name, match, parts)), parts)
    xml = files.find(r"/(EMEA|Medline|Patents?)_GSC_([a-z]{2})_man\.xml$")
    if brat and xml:
        raise DataError("BRAT and XML of the same corpus", path=next(iter(xml)), fix="name one of them")
    return in_parts(((d.lang, d) for name, match in xml.items() for d in _mantra_xml(files, name, match)), parts)


def _mantra_brat(files: Files, name: str, match: re.Match[str], parts: Parts) -> Iterator[Document]:
    lang = LANGUAGES[match[1].capitalize()]
    entities = []
    for mark in _brat(files, name, _NOTE):
        # "C0036140", "Salts", "Chemical Viewed Structurally" ,"CHEM"
        quoted = re.findall(r'"([^"]*)"', mark.notes[0]) if mark.notes else []
        if not (quoted and _GROUPS.fullmatch(quoted[-1])):
            parts.setdefault(lang, Part()).notes["mentions without semantic group"] += 1
            quoted = ["UNKNOWN"]
        entities.append(Entity(tuple(quoted[-1].split("|")), mark.spans, (("UMLS", mark.type),), mark.text))
    identifier = f"{lang}_{match[2]}_{match[4]}"
    yield Document(identifier, lang, [("text", _beside(files, name))], entities)


def _mantra_xml(files: Files, name: str, match: re.Match[str]) -> Iterator[Document]:
    text = files.read(name)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("has a document type definition, which is refused: entities could be made to grow", path=name)
    try:
        for unit in ET.fromstring(text).iter("unit"):
            entities = []
            for e in unit.iter("e"):
                start = int(e.attrib["offset"])
                types = tuple(cut(e.get("grp", "").upper(), r"\|")) or ("UNKNOWN",)
                ids = tuple(("UMLS", cui) for cui in cut(e.get("cui", ""), r"[|,;\s]"))
                entities.append(Entity(types, ((start, start + int(e.attrib["len"])),), ids, e.text))
            identifier = f"{match[2].lower()}_{match[1]}_{unit.attrib['id']}"
            yield Document(identifier, match[2].lower(), [("text", unit.findtext("text") or "")], entities)
    except (ET.ParseError, KeyError, ValueError) as e:
        raise DataError(f"not the XML of the Mantra corpus: {type(e).__name__} {e}", path=name) from None


def quaero(files: Files) -> Parts:
    """Read the folders {train,dev,test}/{EMEA,MEDLINE}."""
    parts: Parts = {}

    def documents() -> Iterator[tuple[str, Document]]:
        for name, match in files.find(r"/(train|dev|test)/(EMEA|MEDLINE)/([^/]+)\.ann$").items():
            part, entities = match[1].lower(), []
            for mark in _brat(files, name, _NOTE):
                stated = " ".join(mark.notes)
                ids = tuple(("UMLS", cui) for cui in re.findall(r"C\d{7}(?!\d)", stated))
                if stated.strip() and not ids:
                    parts.setdefault(part, Part()).notes["ids that are not CUIs"] += 1
                entities.append(Entity((mark.type,), mark.spans, ids, mark.text))
            identifier = f"{match[2].upper()}_{match[3]}"
            yield part, Document(identifier, "fr", [("text", _beside(files, name))], entities)

    return in_parts(documents(), parts)


def bronco(files: Files) -> Parts:
    """Read randomSentSet1.ann to randomSentSet5.ann; each is a part."""
    parts: Parts = {}

    def documents() -> Iterator[tuple[str, Document]]:
        for name, match in files.find(r"/(randomSentSet(\d+))\.ann$").items():
            entities = []
            for mark in _brat(files, name, _NORMALIZATION):
                ids = tuple(found for note in mark.notes if (found := _bronco_id(note)))
                if mark.notes and not ids:
                    parts.setdefault(f"set{match[2]}", Part()).notes["normalisations that are no id"] += 1
                entities.append(Entity((mark.type,), mark.spans, ids, mark.text))
            yield f"set{match[2]}", Document(match[1], "de", [("text", _beside(files, name))], entities)

    return in_parts(documents(), parts)


def _bronco_id(stated: str) -> tuple[str, str] | None:
    """Return ("ICD10GM", "C22.0") for `ICD10GM:C22,0+`: a year is cut off, the mark of a pair of codes, too."""
    database, _, code = stated.partition(":")
    code = re.sub(r"\s", "", code).replace(",", ".").rstrip("+*!†")
    return (re.sub(r"\d{4}$", "", database.strip()), code) if any(c.isdigit() for c in code) else None


# Tables
