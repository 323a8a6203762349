"""XML files from outside: streamed record by record, without entities, every error with its place.

The standard library's expat does the reading. What makes XML dangerous sits in the document type declaration, so that
is where it is refused: any declaration of an entity (bombs such as "billion laughs", entities that name files or
addresses) and any default value of an attribute (which a short file can repeat without end). The line that names a DTD
is allowed; the DTD itself is never fetched. What another parser is to read goes through the same checks first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from xnorm.errors import DataError
from xnorm.files import open_text

__all__ = ["CheckedXml", "Part", "read_parts", "root_of", "text_of"]

_CHUNK = 1 << 20  # bytes at a time; expat before 2.6 reads a token that spans chunks anew with each of them
DEEPEST = 1000
"""Levels of what is given to other parsers: each takes time, and with too many they overflow their stack."""
LONGEST_ENTITY = 256
"""Characters of an entity's text: no more than 64 for one of the file."""
LONGEST_PROLOG = 1 << 24
"""Bytes before the root element in what `CheckedXml` reads."""
_PLAIN = frozenset('&<>"')


class Part(NamedTuple):
    """An element of a file, and the line that it begins in, counted from 1."""

    element: Element
    line: int


def read_parts(path: Path, *, roots: Collection[str], wanted: Collection[str]) -> Iterator[Part]:
    """Yield the root element without its content, then each of its children, one at a time.

    A child is yielded whole if its tag is wanted, and else without its content, so that it can be counted; memory is
    that of one child. Names are as in the file: a prefix is part of a tag, and `xml:lang` is called that.

    Args:
        path: XML, plain or gzip, in UTF-8 or the encoding that its first line names.
        roots: tags that the root may have.
        wanted: tags of children to read.

    Raises:
        DataError: not well-formed, cut off, another root, a declaration of an entity, an entity that is not declared,
            or as `xnorm.files.open_text`.
    """
    reader = _Reader(path, roots, wanted)
    with open_text(path) as file:
        while chunk := file.buffer.read(_CHUNK):  # bytes: XML says itself what it is encoded in
            yield from reader.feed(chunk)
        yield from reader.feed(b"", final=True)


def root_of(path: Path) -> Element:
    """Return the root element of a file without its content.

    Raises:
        DataError: as `read_parts`, for the file's beginning.
    """
    return next(read_parts(path, roots=(), wanted=())).element


def text_of(element: Element | None) -> str:
    """Return all text in an element, runs of white space as one space; empty for None."""
    if element is None:
        return ""
    return " ".join(("".join(element.itertext()) if len(element) else element.text or "").split())


class _Reader:
    """Builds the children of the root with expat's callbacks; those of the elements inside a child are C functions."""

    def __init__(self, path: Path, roots: Collection[str], wanted: Collection[str]) -> None:
        self._path, self._roots, self._wanted = path, roots, wanted
        self._done: list[Part] = []
        self._root: str | None = None
        self._depth = 0
        self._parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start_root
        parser.EntityDeclHandler = self._refuse_entity
        parser.ExternalEntityRefHandler = self._refuse_reference
        parser.AttlistDeclHandler = self._refuse_default
        parser.SkippedEntityHandler = self._refuse_unknown

    def feed(self, data: bytes, *, final: bool = False) -> list[Part]:
        """Read on, and return what has become complete."""
        try:
            self._parser.Parse(data, final)
        except expat.ExpatError as e:
            raise self._broken(e, final) from None
        except (LookupError, ValueError) as e:  # an encoding that Python does not know, or not byte by byte
            raise self._error(f"is in an encoding that cannot be read: {e}", fix="convert it to UTF-8") from None
        done, self._done = self._done, []
        return done

    def _start_root(self, tag: str, attributes: dict[str, str]) -> None:
        if self._roots and tag not in self._roots:
            expected = " or ".join(f"<{root}>" for root in self._roots)
            raise self._error(f"expected the root element {expected}, found <{tag}>", fix="is it a file of this type?")
        self._root = tag
        self._done.append(Part(Element(tag, attributes), self._parser.CurrentLineNumber))
        self._parser.StartElementHandler = self._start_child

    def _start_child(self, tag: str, attributes: dict[str, str]) -> None:
        parser = self._parser
        self._line = parser.CurrentLineNumber
        if tag not in self._wanted:
            self._done.append(Part(Element(tag, attributes), self._line))
            self._depth = 1
            parser.StartElementHandler, parser.EndElementHandler = self._deeper, self._shallower
            return
        self._builder = TreeBuilder()
        self._child = self._builder.start(tag, attributes)
        parser.StartElementHandler = self._builder.start
        parser.CharacterDataHandler = self._builder.data
        parser.EndElementHandler = self._end

    def _end(self, tag: str) -> None:
        if self._builder.end(tag) is self._child:
            self._done.append(Part(self._child, self._line))
            self._parser.CharacterDataHandler = None
            self._between()

    def _deeper(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1

    def _shallower(self, tag: str) -> None:
        self._depth -= 1
        if not self._depth:
            self._between()

    def _between(self) -> None:
        """Wait for the next child; the end of the root needs no handler."""
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._start_child, None

    def _refuse_entity(self, name: str, *_: Any) -> NoReturn:
        raise self._error(
            f"declares the entity '{name}'; declarations of entities are refused, for they can name other files or "
            "grow without end",
            fix="replace the entity by its text",
        )

    def _refuse_reference(self, *_: Any) -> NoReturn:
        raise self._error("refers to an external entity, which is refused")

    def _refuse_default(self, element: str, name: str, kind: str, default: str | None, required: int) -> None:
        if default is not None:
            raise self._error(
                f"declares a default for the attribute '{name}' of <{element}>; such declarations are refused",
                fix="take the declaration out",
            )

    def _refuse_unknown(self, name: str, is_parameter: bool) -> NoReturn:
        raise self._error(
            f"uses the entity '{name}', which it does not declare; its DTD is not read",
            fix="replace the entity by its text",
        )

    def _broken(self, error: expat.ExpatError, final: bool) -> DataError:
        if final and self._root is not None:
            problem, fix = f"ends before </{self._root}>", "the file was cut off, fetch it again"
        else:
            problem, fix = f"not well-formed XML: {expat.ErrorString(error.code)} (column {error.offset + 1})", None
        return DataError(problem, path=self._path, line=error.lineno, fix=fix)

    def _error(self, problem: str, *, fix: str | None = None) -> DataError:
        return DataError(problem, path=self._path, line=self._parser.CurrentLineNumber, fix=fix)


class CheckedXml(_Reader):
    """XML that another parser reads: a binary file which gives nothing that expat has not accepted before.

    Entities may be declared where they are short and plain, as ontologies do (`<!ENTITY obo "http://purl...">`); what
    else a document type declaration can hold is refused as in `read_parts`. The other parser sees a declaration with
    these entities and no more, whatever the file's own looks like.

    Args:
        path: the file, for errors.
        file: its bytes, in UTF-8.

    Raises:
        DataError: no root element, and as `read`.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        super().__init__(path, (), ())
        self._file, self._entities = file, dict[str, str]()
        self.tag, self.attributes = "", dict[str, str]()
        """Those of the root, as in the file."""
        self.line = 1
        """Line of the file in which what was read last ends."""
        self._parser.XmlDeclHandler = self._check_encoding
        self._parser.EntityDeclHandler = self._take_entity
        self._parser.EndElementHandler = self._shallower
        before = b""
        while self._root is None and (chunk := file.read(_CHUNK)):
            before += chunk
            self.feed(chunk)
            if self._root is None and len(before) > LONGEST_PROLOG:
                raise self._error(
                    f"has no element in its first {LONGEST_PROLOG >> 20} MB", fix="is it a file of this type?"
                )
        if self._root is None:
            self.feed(b"", final=True)
        self.line += before.count(b"\n", 0, self._begin)
        declared = "".join(f'<!ENTITY {name} "{value}">' for name, value in self._entities.items())
        self._left = memoryview(f"<!DOCTYPE {self.tag} [{declared}]>".encode() + before[self._begin :])

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes (negative: as many as are at hand); none at the end.

        Raises:
            DataError: not well-formed, cut off, not UTF-8, nested deeper than DEEPEST, with declarations that are
                refused, or with an entity that is not declared.
        """
        if not len(self._left):
            chunk = self._file.read(_CHUNK)
            self.feed(chunk, final=not chunk)
            self._left = memoryview(chunk)
        given = bytes(self._left if size < 0 else self._left[:size])
        self._left = self._left[len(given) :]
        self.line += given.count(b"\n")
        return given

    def _start_root(self, tag: str, attributes: dict[str, str]) -> None:
        self._root, self.tag, self.attributes = tag, tag, attributes
        self._begin = self._parser.CurrentByteIndex
        self._depth = 1
        self._parser.StartElementHandler = self._nested

    def _nested(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error(f"elements are nested more than {DEEPEST:,} deep")

    def _shallower(self, tag: str) -> None:
        self._depth -= 1

    def _check_encoding(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in ("utf-8", "utf8", "us-ascii"):
            raise self._error(f"is in the encoding {encoding}", fix="convert it to UTF-8")

    def _take_entity(self, name: str, is_parameter: bool, value: str | None, *_: Any) -> None:
        if value is None or is_parameter or len(value) > LONGEST_ENTITY or not _PLAIN.isdisjoint(value):
            raise self._error(
                f"declares the entity '{name}', which is refused: it is not a short plain text",
                fix="replace the entity by its text",
            )
        self._entities.setdefault(name, value)
