"""The contract of a corpus reader: a file in, documents or bare mentions and a report out.

A format that lists mentions derives from `Reader`; one that marks spans in texts derives from `SpanReader`, which
checks the offsets, cuts the context and counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from xnorm.config import ComponentConfig, InputPath
from xnorm.errors import DataError
from xnorm.tally import Tally
from xnorm.text import lang_code
from xnorm.types import Document, Mention

__all__ = [
    "Annotation",
    "ReadReport",
    "Reader",
    "ReaderConfig",
    "SpanReader",
    "SpanReaderConfig",
    "claim",
    "lone_document",
]


class ReaderConfig(ComponentConfig):
    """What every reader has."""

    seam: ClassVar[str] = "corpora"
    path: InputPath
    """The file or folder to read; gzip (`.gz`) is unpacked on the way; `-` is standard input."""
    lang: Annotated[str, AfterValidator(lang_code)] | None = None
    """Language of mentions that carry none of their own."""
    several_gold: Literal["alternatives", "composite"] = "alternatives"
    """What several gold ids of one mention are: alternatives, any one of which is right, or the parts of a composite,
    all of which are required. A format that says so itself (`composite` in JSON Lines) has the last word."""
    hint: str | None = None
    """Where the file comes from and under which licence; said when it is missing."""

    @property
    def weak(self) -> bool:
        """Whether no person annotated these mentions: a model is not chosen by them as long as there are others."""
        return False


class SpanReaderConfig(ReaderConfig):
    """What every reader of texts with marked spans has."""

    context: int = Field(default=128, ge=0)
    """Context kept on either side of a mention, in characters; default 128."""
    mismatch: Literal["keep", "skip", "error"] = "keep"
    """What to do with a mention whose stated text is not the text at its offsets (white space aside): keep it with
    its stated text, leave it out, or stop. It is counted either way."""


@dataclass(slots=True)
class ReadReport(Tally):
    """What was read, what was left out and what looked wrong, with the first places of each reason."""

    documents: int = 0
    """Documents with a text of their own; a list of bare mentions has none."""
    mentions: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that were left out, by reason."""
    noted: Counter[str] = field(default_factory=Counter)
    """Records that were kept although something about them is wrong, by reason."""
    examples: dict[str, list[str]] = field(default_factory=dict)
    """The first three places of each reason."""

    def skip(self, reason: str, where: str | None = None) -> None:
        """Count a record that was left out."""
        self.count(self.skipped, reason, where)

    def note(self, reason: str, where: str | None = None) -> None:
        """Count a record that was kept although something about it is wrong."""
        self.count(self.noted, reason, where)


class Reader(ABC):
    """Reads one corpus or list of mentions, streaming."""

    config_class: ClassVar[type[ReaderConfig]] = ReaderConfig
    extensions: ClassVar[tuple[str, ...]] = ()
    """File endings (after `.gz` is taken off) that this reader is chosen for when the user names none."""
    shared_extensions: ClassVar[tuple[str, ...]] = ()
    """File endings of another reader that this one is chosen for where `recognizes` says so."""

    def __init__(self, config: ReaderConfig) -> None:
        self.config = config

    @classmethod
    def recognizes(cls, first_line: str) -> bool:
        """Return whether a file with this first line (blank ones aside) is of this format."""
        return False

    @classmethod
    def recognizes_folder(cls, path: Path) -> bool:
        """Return whether a folder is of this format; BRAT is what none claims."""
        return False

    def files(self) -> list[Path]:
        """Return the files that are read, sorted: what a checksum of the corpus is over."""
        path = self.config.path
        return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]

    @abstractmethod
    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield documents in the file's order. Formats without documents yield one for each mention.

        Raises:
            DataError: the file is missing, empty, undecodable or holds a record that cannot be understood.
        """

    def mentions(self, report: ReadReport) -> Iterator[Mention]:
        """Yield the mentions of all documents in order, each with an id that is unique in the file."""
        for document in self.documents(report):
            yield from document.mentions

    def is_composite(self, gold: Sequence[str], stated: bool | None = None) -> bool:
        """Return whether all of a mention's gold ids are required, as the file states or else the config."""
        return len(gold) > 1 and (self.config.several_gold == "composite" if stated is None else stated)


@dataclass(frozen=True, slots=True)
class Annotation:
    """A mention as a file states it, not yet checked against the text."""

    id: str
    spans: tuple[tuple[int, int], ...]
    """Half-open character (code point) offsets."""
    line: int
    """Where it stands in the file, counted from 1."""
    text: str | None = None
    """The mention's text if the file states it, the parts of a discontinuous mention joined by one space."""
    types: tuple[str, ...] = ()
    gold: tuple[str, ...] = ()
    lang: str | None = None
    composite: bool | None = None
    """As in `Mention`; None: as the reader is told."""

    def surface(self, text: str) -> str:
        """Return what stands at the spans, the parts joined by one space."""
        return " ".join(text[start:end] for start, end in self.spans if start < end)

    def agrees(self, text: str) -> bool:
        """Return whether the stated text stands at the spans, white space aside."""
        return self.text is None or self.text.split() == self.surface(text).split()


class SpanReader(Reader):
    """Reads texts in which mentions are marked by offsets."""

    config_class: ClassVar[type[ReaderConfig]] = SpanReaderConfig
    config: SpanReaderConfig

    def make_document(
        self,
        identifier: str,
        text: str,
        annotations: Sequence[Annotation],
        report: ReadReport,
        *,
        path: Path,
        lang: str | None = None,
    ) -> Document:
        """Return a document whose mentions are checked against its text and have their context; count them.

        Empty parts of a discontinuous mention are dropped; a mention that is empty altogether is kept, and noted, so
        that every mention of the corpus gets a ranking.

        Args:
            path: the file that the annotations' lines refer to.
            lang: language of the document; default is the configured one.

        Raises:
            DataError: a span lies outside the text, or `mismatch` is `error` and a stated text is not at its offsets.
        """
        lang = lang_code(lang) if lang else self.config.lang
        mentions = []
        for annotation in annotations:
            where = f"document '{identifier}', mention '{annotation.id}'"
            _check_spans(annotation, text, where, path)
            if all(start == end for start, end in annotation.spans):
                report.note("mention has an empty span", where)
            if annotation.agrees(text) or self._keeps(annotation, text, where, path, report):
                mentions.append(self._cut(annotation, text, lang, identifier))
        report.documents += 1
        report.mentions += len(mentions)
        return Document(id=identifier, text=text, mentions=tuple(mentions), lang=lang)

    def _keeps(self, annotation: Annotation, text: str, where: str, path: Path, report: ReadReport) -> bool:
        policy = self.config.mismatch
        if policy == "error":
            raise DataError(
                f"{where}: the text is {annotation.text!r}, at its offsets stands {annotation.surface(text)!r}",
                path=path,
                line=annotation.line,
                fix="mend the offsets, or set mismatch to keep or skip",
            )
        count = report.note if policy == "keep" else report.skip
        count("mention text differs from the text at its offsets", where)
        return policy == "keep"

    def _cut(self, annotation: Annotation, text: str, lang: str | None, document: str) -> Mention:
        start = min(start for start, _ in annotation.spans)
        end = max(end for _, end in annotation.spans)
        return Mention(
            text=annotation.surface(text) if annotation.text is None else annotation.text,
            id=annotation.id,
            lang=lang_code(annotation.lang) if annotation.lang else lang,
            types=annotation.types,
            spans=tuple(span for span in annotation.spans if span[0] < span[1]) or annotation.spans,
            left=text[max(0, start - self.config.context) : start],
            right=text[end : end + self.config.context],
            gold=annotation.gold,
            composite=self.is_composite(annotation.gold, annotation.composite),
            document=document,
        )


def _check_spans(annotation: Annotation, text: str, where: str, path: Path) -> None:
    for start, end in annotation.spans:
        if not 0 <= start <= end <= len(text):
            problem = "ends before it starts" if start > end else f"lies outside the text of {len(text)} characters"
            raise DataError(
                f"{where}: the span {start}-{end} {problem}",
                path=path,
                line=annotation.line,
                fix="offsets count characters (not bytes) from 0, and the end is the first one after the mention",
            )


def lone_document(mention: Mention) -> Document:
    """Return the document of a bare mention: its text between its contexts."""
    text = mention.left + mention.text + mention.right
    return Document(id=mention.id or "", text=text, mentions=(mention,), lang=mention.lang)


def claim(identifier: str, taken: set[str], *, path: Path, line: int) -> str:
    """Return a mention's id and remember it as taken.

    Raises:
        DataError: it is taken already.
    """
    if identifier in taken:
        raise DataError(f"the id '{identifier}' is used twice", path=path, line=line, fix="give each mention its own")
    taken.add(identifier)
    return identifier
