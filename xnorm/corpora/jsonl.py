"""JSON Lines of xnorm's own: a mention or a document a line.

{"id": "1", "mention": "mal de tête", "lang": "fr", "left": "", "right": "", "types": [], "gold": []}
{"id": "d1", "text": "…", "lang": "fr", "mentions": [{"id": "m1", "spans": [[0, 11]], "types": [], "gold": []}]}
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Field

from xnorm.corpora.base import (
    Annotation,
    ReaderConfig,
    ReadReport,
    SpanReader,
    SpanReaderConfig,
    claim,
    lone_document,
)
from xnorm.errors import DataError
from xnorm.files import read_json_lines
from xnorm.records import JsonId, JsonRecord, JsonStrings, JsonText, parse_record
from xnorm.text import lang_code
from xnorm.types import Document, Mention

__all__ = ["JsonlConfig", "JsonlReader"]

Span = Annotated[list[int], Field(min_length=2, max_length=2)]


class _MentionLine(JsonRecord):
    id: JsonId | None = None
    mention: JsonText | None = None
    text: JsonText | None = None
    lang: JsonText | None = None
    types: JsonStrings = Field(default_factory=list)
    left: JsonText = ""
    right: JsonText = ""
    gold: JsonStrings = Field(default_factory=list)
    composite: bool | None = None
    document: JsonId | None = None


class _Marked(JsonRecord):
    id: JsonId | None = None
    spans: Annotated[list[Span], Field(min_length=1)]
    text: JsonText | None = None
    lang: JsonText | None = None
    types: JsonStrings = Field(default_factory=list)
    gold: JsonStrings = Field(default_factory=list)
    composite: bool | None = None


class _DocumentLine(JsonRecord):
    id: JsonId | None = None
    text: JsonText
    lang: JsonText | None = None
    mentions: list[_Marked]


class JsonlConfig(SpanReaderConfig):
    """Nothing beyond what all readers of marked texts have."""


class JsonlReader(SpanReader):
    """Reads lines that hold a mention (`mention` or `text`) or a document (`text` and `mentions`), in any mixture.

    A mention without an id takes the line number; in a document, the document's id, a slash and its place from 1.
    """

    config_class: ClassVar[type[ReaderConfig]] = JsonlConfig
    extensions: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    config: JsonlConfig

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a line; a mention line is a document of its own.

        Raises:
            DataError: a line is neither a mention nor a document, an id is used twice, a span lies outside its text,
                or as `xnorm.files.read_json_lines`.
        """
        taken: set[str] = set()
        for line, record in read_json_lines(self.config.path):
            if "mentions" in record:
                yield self._document(record, line, taken, report)
            else:
                mention = self._mention(record, line, taken)
                report.mentions += 1
                yield lone_document(mention)

    def _mention(self, record: dict[str, Any], line: int, taken: set[str]) -> Mention:
        parsed = parse_record(_MentionLine, record, path=self.config.path, line=line)
        text = parsed.text if parsed.mention is None else parsed.mention
        if text is None or (parsed.mention is not None and parsed.text is not None):
            raise self._not_ours(record, line)
        return Mention(
            text,
            claim(str(line) if parsed.id is None else parsed.id, taken, path=self.config.path, line=line),
            lang_code(parsed.lang) if parsed.lang else self.config.lang,
            types=tuple(parsed.types),
            left=parsed.left,
            right=parsed.right,
            gold=tuple(parsed.gold),
            composite=self.is_composite(parsed.gold, parsed.composite),
            document=parsed.document,
        )

    def _document(self, record: dict[str, Any], line: int, taken: set[str], report: ReadReport) -> Document:
        path = self.config.path
        parsed = parse_record(_DocumentLine, record, path=path, line=line)
        identifier = str(line) if parsed.id is None else parsed.id
        annotations = [
            Annotation(
                id=claim(f"{identifier}/{n}" if m.id is None else m.id, taken, path=path, line=line),
                spans=tuple((start, end) for start, end in m.spans),
                line=line,
                text=m.text,
                types=tuple(m.types),
                gold=tuple(m.gold),
                lang=m.lang,
                composite=m.composite,
            )
            for n, m in enumerate(parsed.mentions, 1)
        ]
        return self.make_document(identifier, parsed.text, annotations, report, path=path, lang=parsed.lang)

    def _not_ours(self, record: dict[str, Any], line: int) -> DataError:
        if "mention" in record and "text" in record:
            problem, fix = "has both 'mention' and 'text'", "keep one; context goes into 'left' and 'right'"
        elif "passages" in record:
            problem, fix = "has 'passages' instead of a text", "read the file with the format bigbio"
        else:
            problem = f"has neither 'mention' nor 'text'; the keys are: {', '.join(map(str, record)) or 'none'}"
            fix = "put the mention text under 'mention'"
        return DataError(problem, path=self.config.path, line=line, fix=fix)
