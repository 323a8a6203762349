"""RDF from outside, in any syntax: triple by triple, every error with its place, and nothing is ever fetched.

pyoxigraph reads the file as a stream. It resolves no address: `owl:imports` is a triple like any other, and a JSON-LD
context that is not in the file is refused. Of RDF/XML it would expand every entity, take a file that was cut off
between two elements for a whole one, and name no lines; so what it gets there goes through `xnorm.markup.CheckedXml`.
What is nested without end would overflow its stack and end the process: that is refused before it is given on.
"""

from __future__ import annotations

import codecs
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from xnorm.errors import DataError
from xnorm.files import lies_below, open_text, suffix
from xnorm.markup import DEEPEST, CheckedXml
from xnorm.registry import require
from xnorm.text import clean

__all__ = ["VOCABULARIES", "Triple", "rdf_files", "read_triples"]

VOCABULARIES = {
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf",
    "http://www.w3.org/2002/07/owl#": "owl",
    "http://www.w3.org/2004/02/skos/core#": "skos",
    "http://www.w3.org/2008/05/skos-xl#": "skosxl",
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
}
"""Beginning of an IRI -> prefix, of the words that RDF is written in; `rdfs` and `oboInOwl` are in `xnorm.curies`."""

_SYNTAXES = {
    ".owl": "RDF_XML", ".rdf": "RDF_XML", ".rdfs": "RDF_XML", ".xml": "RDF_XML",
    ".ttl": "TURTLE", ".turtle": "TURTLE", ".n3": "TURTLE", ".trig": "TRIG",
    ".nt": "N_TRIPLES", ".ntriples": "N_TRIPLES", ".nq": "N_QUADS", ".nquads": "N_QUADS",
    ".jsonld": "JSON_LD", ".json": "JSON_LD",
}  # fmt: skip
"""Ending of a file -> what its syntax is called by pyoxigraph."""
_CATALOG = re.compile(r"catalog-v.*\.xml(\.gz)?", re.IGNORECASE)
"""What Protégé writes beside ontologies: where their imports lie."""
_HEAD = 1 << 16  # bytes by which a syntax is known
# `<rdf:RDF xmlns=`, but not `<urn:isbn:1>` as it begins a line of Turtle
_XML = re.compile(r"<(\?xml|!DOCTYPE|!--|[\w.-]+(:[\w.-]+)?\s+[\w.:-]+\s*=)")
_JSON = re.compile(r'\{\s*["}]|\[\s*[{\]]')
_ESCAPE = re.compile(rb'\\[\\"]')
_NOT_STRUCTURE = bytes(set(range(256)) - set(b'"{}[]'))
_FEW = 4096  # bytes, in which there are at most some 340 triple terms that are not in each other
_CONVERT = "convert it to RDF/XML or Turtle, as ROBOT does: robot convert -i FILE -o FILE.owl"
_FOREIGN = (
    (re.compile(r"(Prefix|Ontology|Import)\s*\("), "OWL in functional syntax", _CONVERT),
    (re.compile(r"(Prefix|Ontology):\s"), "OWL in Manchester syntax", _CONVERT),
    (re.compile(r"format-version:"), "OBO", "read it with `type: obo`"),
    (re.compile(r"<(!DOCTYPE\s+)?html\b", re.IGNORECASE), "a web page", "did a server send it instead of the file?"),
)


class Triple(NamedTuple):
    """A statement of a file."""

    subject: str
    """An IRI, or a blank node as `_:` and its label."""
    predicate: str
    value: str
    """An IRI, a blank node, or the text of a literal."""
    lang: str | None
    """Language of a literal, empty if it has none; None for IRIs and blank nodes."""


def rdf_files(path: Path, skip: Callable[[str, str], None] | None = None) -> list[Path]:
    """Return the files of a folder that have the ending of an RDF syntax, by name; of a file, itself.

    Args:
        path: a folder or a file; of a folder, links that lead out of it and Protégé's `catalog-v001.xml` are left out.
        skip: counts these links.

    Raises:
        DataError: a folder without any.
    """
    if not path.is_dir():
        return [path]
    named = sorted(
        p for p in path.iterdir() if suffix(p) in _SYNTAXES and not _CATALOG.fullmatch(p.name) and p.is_file()
    )
    found = [p for p in named if lies_below(p, path)]
    for file in named:
        if skip is not None and file not in found:
            skip("link that leads out of the folder", file.name)
    if not found:
        raise DataError("holds no RDF file", path=path, fix=f"expected names that end in {', '.join(_SYNTAXES)}")
    return found


def read_triples(path: Path) -> Iterator[Triple]:
    """Yield the triples of a file, or of all files of a folder, in their order, those of named graphs too.

    The syntax is known by the content, and by the ending of the name where that leaves a choice. IRIs are not checked,
    those without a base stay relative; triples about triples (RDF 1.2) are passed over.

    Raises:
        DataError: not RDF, not well-formed, cut off, with entities that are refused (`CheckedXml`), with a context that
            is not in the file, or as `xnorm.files.open_text`.
        MissingExtraError: pyoxigraph is not installed.
    """
    oxigraph: Any = require("pyoxigraph", extra="rdf", what="reading RDF")
    for number, file in enumerate(rdf_files(path)):
        yield from _read(file, oxigraph, f"_:{number}/")


def _read(path: Path, oxigraph: Any, blank: str) -> Iterator[Triple]:
    node, literal = oxigraph.NamedNode, oxigraph.Literal
    with open_text(path) as file:
        head = file.buffer.read(_HEAD).removeprefix(codecs.BOM_UTF8)
        syntax = _syntax(head, path)
        source: Any = _Joined(head, file.buffer)
        if syntax == "RDF_XML":
            source = CheckedXml(path, source)
            _check_root(source, path)
        else:
            source = (_CheckedJson if syntax == "JSON_LD" else _CheckedTerms)(path, source)
        try:
            for quad in oxigraph.parse(source, getattr(oxigraph.RdfFormat, syntax), lenient=True):
                source.moved = True
                subject, value = quad.subject, quad.object
                kind = type(value)
                if kind is not node and kind is not literal and kind is not oxigraph.BlankNode:
                    continue
                yield Triple(
                    subject.value if type(subject) is node else blank + subject.value,
                    quad.predicate.value,
                    blank + value.value if kind is oxigraph.BlankNode else value.value,
                    value.language or "" if kind is literal else None,
                )
        except SyntaxError as e:
            raise _broken(e, syntax, source, path) from None
        except MemoryError as e:  # what pyoxigraph says of a token that is longer than its buffer
            fix = "is a quote or a bracket left open?"
            raise DataError(f"not valid {_shown(syntax)}: {e}", path=path, fix=fix) from None


class _Joined:
    """A file of which the beginning has been read before."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        given = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(given) :]
        return given


class _Checked(ABC):
    """A file that gives nothing which is nested too deep for the parser that reads it."""

    def __init__(self, path: Path, file: _Joined) -> None:
        self._path, self._file = path, file
        self._line, self._depth, self._rest = 1, 0, b""
        self.moved = False
        """Whether the parser has given a statement since it read."""

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes, as a file does.

        Raises:
            DataError: nested too deep.
        """
        chunk = self._file.read(size)
        self._line += chunk.count(b"\n")
        self._check(self._rest + chunk)
        return chunk

    @abstractmethod
    def _check(self, data: bytes) -> None:
        """Go on with this data, of which `_rest` is to be seen again with the next."""

    def _too_deep(self, what: str, most: int) -> DataError:
        problem = f"{what} are nested more than {most:,} deep (in this line or a few before it)"
        return DataError(problem, path=self._path, line=self._line)


class _CheckedJson(_Checked):
    """JSON, where brackets outside strings are counted."""

    _inside = False  # a string

    def _check(self, data: bytes) -> None:
        plain = _ESCAPE.sub(b"", data)
        self._rest = b"\\" if plain.endswith(b"\\") else b""  # what it escapes comes next
        parts = plain.translate(None, _NOT_STRUCTURE).split(b'"')
        outside = np.frombuffer(b"".join(parts[self._inside :: 2]), np.uint8)
        self._inside ^= len(parts) % 2 == 0
        if len(outside):
            depths = np.cumsum(np.where((outside == ord("{")) | (outside == ord("[")), 1, -1)) + self._depth
            self._depth = int(depths[-1])
            if depths.max() > DEEPEST:
                raise self._too_deep("objects and lists", DEEPEST)


class _CheckedTerms(_Checked):
    """Turtle and its relatives, where each `<<(` is counted that the parser has got since it gave a statement.

    It asks for more only when it has given all that is complete, so that no term can be deeper. Those in strings and
    comments count, too; but where there are any, so little is given at a time that ordinary files stay far below.
    """

    _left, _last = b"", 0

    def read(self, size: int = -1) -> bytes:
        """Return as `_Checked.read` does."""
        self._left = self._left or self._file.read(size)
        few = _FEW if b"<<" in self._left or self._rest else len(self._left)
        chunk, self._left = self._left[:few], self._left[few:]
        self._line += chunk.count(b"\n")
        self._check(self._rest + chunk)
        return chunk

    def _check(self, data: bytes) -> None:
        found = data.count(b"<<(")
        self._depth = (self._last if self.moved else self._depth) + found
        self.moved, self._last = False, found
        self._rest = b"<<" if data.endswith(b"<<") else b"<" if data.endswith(b"<") else b""
        if self._depth > DEEPEST:
            raise self._too_deep("triple terms", DEEPEST)


def _syntax(head: bytes, path: Path) -> str:
    """Return the syntax of a file that begins so, as pyoxigraph calls it.

    Raises:
        DataError: something else than RDF, or a syntax of OWL that is none of RDF.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError("is UTF-16", path=path, fix="convert it to UTF-8 (iconv -f utf-16 -t utf-8)")
    for magic, what in (
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"),
        (b"7z\xbc\xaf", "7z"),
    ):
        if head.startswith(magic):
            raise DataError(f"is {what}, expected RDF", path=path, fix="unpack it; only gzip is read as it is")
    start = head[:4096].decode("utf-8", "replace").lstrip()
    if not start:
        raise DataError("holds nothing but white space", path=path)
    for pattern, what, fix in _FOREIGN:
        if pattern.match(start):
            raise DataError(f"is {what}, which is no RDF", path=path, fix=fix)
    if _XML.match(start):
        return "RDF_XML"
    by_name = _SYNTAXES.get(suffix(path), "RDF_XML")
    if by_name != "RDF_XML":
        return by_name
    return "JSON_LD" if _JSON.match(start) else "TRIG"  # which Turtle and N-Triples are a part of


def _check_root(source: CheckedXml, path: Path) -> None:
    """Refuse XML that is no RDF."""
    name = source.tag.rpartition(":")[2]
    if name == "Ontology" and not any(key.endswith(":about") for key in source.attributes):
        raise DataError("is OWL/XML, which is no RDF", path=path, fix=_CONVERT)
    rdf = next(iter(VOCABULARIES))
    if rdf not in source.attributes.values():
        raise DataError(f"expected RDF/XML (<rdf:RDF>), found <{source.tag}>", path=path, line=source.line)


def _broken(error: SyntaxError, syntax: str, source: Any, path: Path) -> DataError:
    problem = re.sub(r"^Parser error at line \d+ (between columns? \d+ and (column )?\d+|column \d+): ", "", error.msg)
    problem = clean(problem)
    problem = f"{problem[:197]}..." if len(problem) > 200 else problem
    line, fix = error.lineno, None
    if "LoadDocumentCallback" in problem or "remote context" in problem:
        problem, fix = "has a context that is not in the file, and nothing is fetched", "put the @context into the file"
    elif "UTF-8" in problem:
        problem, fix = "is not UTF-8", "convert it to UTF-8"
    elif "nexpected end" in problem:
        fix = "the file was cut off, fetch it again"
    elif isinstance(source, CheckedXml):
        line, problem = source.line, f"{problem} (in this line or a few before it)"
    return DataError(f"not valid {_shown(syntax)}: {problem}", path=path, line=line, fix=fix)


def _shown(syntax: str) -> str:
    """Return what people call a syntax."""
    return {"RDF_XML": "RDF/XML", "TURTLE": "Turtle", "TRIG": "Turtle or TriG", "JSON_LD": "JSON-LD"}.get(
        syntax, syntax.replace("_", "-").title()
    )
