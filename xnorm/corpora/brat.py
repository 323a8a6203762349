"""BRAT standoff: a folder of `.txt` texts with `.ann` annotations beside them.

    T1	Disorder 0 5;10 15	heart failure
    N1	Reference T1 UMLS:C0018801	Heart failure
    #1	AnnotatorNotes T1	C0018801

Offsets count characters of the text file from 0. Relations, events, attributes and equivalences are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from xnorm.corpora.base import Annotation, ReaderConfig, ReadReport, SpanReader, SpanReaderConfig
from xnorm.errors import DataError
from xnorm.files import open_text
from xnorm.types import Document

__all__ = ["BratConfig", "BratReader"]

_MARK = re.compile(r"(T\S+)\t(\S+) (\d{1,12} \d{1,12}(?:;\d{1,12} \d{1,12})*)\t(.*)")
_NORMALIZATION = re.compile(r"N\S+\tReference (\S+) (\S+)(?:\t.*)?")
_NOTE = re.compile(r"#\S*\tAnnotatorNotes (\S+)\t(.*)")
_PASSED_OVER = ("#", "R", "E", "A", "M", "*")
_SEPARATOR = re.compile(r"[\s,;|+]+")
_SHAPES = {
    "T": "T1<tab>TYPE START END<tab>TEXT (parts of a discontinuous mention: START END;START END)",
    "N": "N1<tab>Reference T1 DATABASE:ID<tab>NAME",
}


class BratConfig(SpanReaderConfig):
    """Where gold ids stand, and how they are written."""

    gold_from_notes: bool = False
    """Take the words of annotators' notes that hold a digit as gold ids, too, as the QUAERO corpus has them."""
    prefix: str | None = None
    """CURIE prefix put before gold ids that have none: with `UMLS`, `C0018801` becomes `UMLS:C0018801`."""


@dataclass(slots=True)
class _Marks:
    """What an annotation file says."""

    annotations: dict[str, Annotation] = field(default_factory=dict)
    gold: list[tuple[str, str, int]] = field(default_factory=list)
    """(mention, concept, line) in the file's order."""


class BratReader(SpanReader):
    """Reads a folder (not the folders in it) by file name, or one `.ann` file.

    A mention's id is the document's, a slash and the one in the file: `report7/T1`.
    """

    config_class: ClassVar[type[ReaderConfig]] = BratConfig
    extensions: ClassVar[tuple[str, ...]] = (".ann",)
    config: BratConfig

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield the documents by file name, their mentions in the order of the annotation file.

        A text without annotation file is left out and counted.

        Raises:
            DataError: there are no annotation files, one has no text beside it or holds a broken line, a span lies
                outside the text, or as `xnorm.files.open_text`.
        """
        for path in self._annotation_files(report):
            identifier = _stem(path, ".ann")
            marks = self._read_marks(path, identifier, report)
            for mention, concept, line in marks.gold:
                annotation = marks.annotations.get(mention)
                if annotation is None:
                    raise DataError(
                        f"'{mention}' is given a concept, but there is no such mention", path=path, line=line
                    )
                gold = tuple(dict.fromkeys((*annotation.gold, concept)))
                marks.annotations[mention] = replace(annotation, gold=gold)
            annotations = list(marks.annotations.values())
            text = _fitting_text(_read_text(path, identifier), annotations)
            yield self.make_document(identifier, text, annotations, report, path=path)

    def files(self) -> list[Path]:
        """Return the annotation files and the texts beside them."""
        annotations = self._annotation_files(ReadReport())
        texts = [p.with_name(_stem(p, ".ann") + ending) for p in annotations for ending in (".txt", ".txt.gz")]
        return sorted([*annotations, *(p for p in texts if p.is_file())])

    def _annotation_files(self, report: ReadReport) -> list[Path]:
        root = self.config.path
        if str(root) == "-":
            raise DataError(
                "BRAT is texts and annotations in two files", path=root, fix="name a folder or an .ann file"
            )
        if not root.is_dir():
            return [root]
        names = sorted(p.name for p in root.iterdir() if p.is_file() and not p.name.startswith("."))
        annotated: dict[str, Path] = {}
        for name in names:
            if _is(name, ".ann") and annotated.setdefault(_stem(Path(name), ".ann"), root / name).name != name:
                report.skip("annotation file is there twice, plain and gzip", name)
        if not annotated:
            raise DataError("holds no .ann files", path=root, fix="name the folder that holds the .txt and .ann files")
        for name in names:
            if _is(name, ".txt") and _stem(Path(name), ".txt") not in annotated:
                report.skip("text has no .ann file", name)
        return [annotated[stem] for stem in sorted(annotated)]

    def _read_marks(self, path: Path, identifier: str, report: ReadReport) -> _Marks:
        marks = _Marks()
        with open_text(path, empty_ok=True) as file:  # an empty file: read, and nothing found
            for number, line in enumerate(file, 1):
                line = line.removesuffix("\n")
                if not line.strip():
                    continue
                if line[0] == "T":
                    self._mark(line, identifier, path, number, marks)
                elif line[0] == "N":
                    self._normalization(line, path, number, marks)
                elif line[0] == "#" and self.config.gold_from_notes:
                    self._note(line, identifier, number, marks, report)
                elif not line.startswith(_PASSED_OVER):
                    known = ", ".join((*_SHAPES, *_PASSED_OVER))
                    problem = f"not a BRAT line: {line[:60]!r}"
                    raise DataError(problem, path=path, line=number, fix=f"lines start with one of {known}")
        return marks

    def _mark(self, line: str, identifier: str, path: Path, number: int, marks: _Marks) -> None:
        match = _MARK.fullmatch(line)
        if match is None:
            raise _broken(line, path, number)
        mention, kind, offsets, text = match.groups()
        if mention in marks.annotations:
            raise DataError(f"the id '{mention}' is used twice", path=path, line=number, fix="give each its own")
        marks.annotations[mention] = Annotation(
            id=f"{identifier}/{mention}",
            spans=tuple((int(start), int(end)) for start, end in map(str.split, offsets.split(";"))),
            line=number,
            text=text,
            types=(kind,),
        )

    def _normalization(self, line: str, path: Path, number: int, marks: _Marks) -> None:
        match = _NORMALIZATION.fullmatch(line)
        if match is None:
            raise _broken(line, path, number)
        if match[1][0] == "T":  # events can be normalised, too
            marks.gold.append((match[1], self._curie(match[2]), number))

    def _note(self, line: str, identifier: str, number: int, marks: _Marks, report: ReadReport) -> None:
        match = _NOTE.fullmatch(line)
        if match is None or match[1][0] != "T":
            return
        concepts = [word for word in _SEPARATOR.split(match[2]) if any(c.isdigit() for c in word)]
        if not concepts:
            report.note("annotator's note holds no concept id", f"document '{identifier}', line {number}")
        marks.gold += [(match[1], self._curie(concept), number) for concept in concepts]

    def _curie(self, identifier: str) -> str:
        prefix = self.config.prefix
        return identifier if prefix is None or ":" in identifier else f"{prefix}:{identifier}"


def _broken(line: str, path: Path, number: int) -> DataError:
    return DataError(f"broken line {line[:60]!r}", path=path, line=number, fix=f"expected {_SHAPES[line[0]]}")


def _is(name: str, ending: str) -> bool:
    return name.endswith((ending, ending + ".gz"))


def _stem(path: Path, ending: str) -> str:
    return path.name.removesuffix(".gz").removesuffix(ending)


def _read_text(annotations: Path, identifier: str) -> str:
    """Return the text beside an annotation file, its line ends as they are."""
    for name in (f"{identifier}.txt", f"{identifier}.txt.gz"):
        path = annotations.with_name(name)
        if path.is_file():
            with open_text(path, newline="", empty_ok=True) as file:
                return file.read()
    raise DataError(f"has no text file '{identifier}.txt' beside it", path=annotations, fix="put it there")


def _fitting_text(text: str, annotations: list[Annotation]) -> str:
    r"""Return the text with the line ends that its offsets were counted with.

    BRAT counts the two characters of a line end `\r\n` as two, but files are often converted after annotation. The
    form that more stated texts agree with is taken, and the file's own when both are alike.
    """
    if "\r\n" not in text:
        return text
    converted = text.replace("\r\n", "\n")
    return max((text, converted), key=lambda form: sum(a.agrees(form) for a in annotations))
