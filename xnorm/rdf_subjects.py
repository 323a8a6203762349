"""What an RDF file says of its subjects, as far as a terminology has a place for it: names, definitions, links."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, NoReturn

from xnorm.curies import Namespaces
from xnorm.errors import ConfigError
from xnorm.rdf import VOCABULARIES, read_triples
from xnorm.registry import did_you_mean
from xnorm.text import lang_code, main_lang
from xnorm.types import SCOPES

__all__ = ["Facts", "Role", "Roles", "Subject", "Subjects", "read_subjects", "refuse"]

Role = Literal[
    "preferred", "exact", "narrow", "broad", "related", "definition", "types", "xrefs", "alt_ids", "replaced_by",
    "retired", "none",
]  # fmt: skip
"""What a property says of a concept; `none` is nothing."""

_LABEL = "http://www.w3.org/2008/05/skos-xl#Label"

Facts = dict[str, list[str]]
"""Role -> values: IRIs, texts, blank nodes."""


class Roles(dict[str, tuple[int, str] | None]):
    """What a property says, by its IRI: (rank, role), or None if nothing; the smaller rank has the first word.

    Args:
        given: roles by CURIE or IRI, which the user says; they come before the known ones.
        known: roles by CURIE or IRI.
        namespaces: CURIE prefix by the beginning of an IRI, besides the built-in ones.
    """

    def __init__(self, given: Mapping[str, str], known: Mapping[str, str], namespaces: Mapping[str, str]) -> None:
        self._curies = Namespaces({**VOCABULARIES, **namespaces})
        own = {self.curie(name): role for name, role in given.items()}
        merged = {**own, **{self.curie(name): role for name, role in known.items() if self.curie(name) not in own}}
        self._known = {name: (rank, role) for rank, (name, role) in enumerate(merged.items()) if role != "none"}

    def __missing__(self, iri: str) -> tuple[int, str] | None:
        self[iri] = found = self._known.get(self.curie(iri))
        return found

    def curie(self, iri: str) -> str:
        """Return the CURIE of an IRI; one that is none stays as it is."""
        return self._curies.curie(" ".join(iri.split()))

    def check(self, path: Path, option: str, names: Iterable[str]) -> None:
        """Refuse properties that no triple had, when all have been read.

        Args:
            option: of the config, which names them.

        Raises:
            ConfigError: there is one.
        """
        met = {self.curie(iri) for iri in self}
        for name in names:
            if self.curie(name) not in met:
                refuse(path, option, f"no triple has the property '{name}'", self.curie(name), met)


class Text(NamedTuple):
    """A name or a definition; or, without a language, the node that has its texts."""

    rank: int
    scope: str
    text: str
    lang: str | None


@dataclass(slots=True)
class Subject:
    """What is said of one IRI."""

    texts: list[Text] = field(default_factory=list)
    """Names and definitions."""
    facts: Facts = field(default_factory=dict)
    """All else."""

    def values(self, role: str) -> list[str]:
        """Return the values of a role that are IRIs or texts, each once."""
        stripped = (value.strip() for value in self.facts.get(role, ()))
        return [value for value in dict.fromkeys(stripped) if value and not value.startswith("_:")]

    def holds(self, role: str) -> bool:
        """Whether a flag is set; what has another value than `false` and the like says when or why."""
        return any(value.strip().lower() not in ("false", "0", "") for value in self.facts.get(role, ()))


class Subjects(dict[str, Subject]):
    """What a file says, by IRI of the subject, in the order in which they come."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, Facts] = defaultdict(dict)
        """The same of blank nodes, of the roles that were wanted."""
        self._texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
        """Node -> its texts with their languages."""

    def add(self, subject: str, rank: int, role: str, value: str, lang: str | None) -> None:
        """Take what a triple says of an IRI."""
        about = self.get(subject)
        if about is None:
            about = self[subject] = Subject()
        if role in SCOPES or role in ("definition", "hidden"):
            about.texts.append(Text(rank, role, value, lang))
        else:
            about.facts.setdefault(role, []).append(value)

    def add_text(self, node: str, text: str, lang: str | None) -> None:
        """Take the text of a node that is a name or a definition."""
        if lang is not None:
            self._texts[node].append((text, lang))

    def names(self, about: Subject, lang: str, skip: Callable[[str], None]) -> Iterator[Text]:
        """Yield names: preferred ones first, in the order of their ranks, then the others as they came.

        Args:
            lang: of names that have none of their own.
            skip: is told why a name is left out.
        """
        found = [text for text in about.texts if text.scope != "definition"]
        found.sort(key=lambda text: (text.scope != "preferred", text.rank if text.scope == "preferred" else 0))
        for text in self._spelt(found):
            if text.scope == "hidden":
                skip("hidden name")
            elif text.lang is None:
                skip("name that is no text")
            else:
                yield text._replace(lang=text.lang or lang)

    def definition(self, about: Subject, lang: str) -> str | None:
        """Return the definition: that of the first property which has one, in this language or none, else its first."""
        spelt = self._spelt(text for text in about.texts if text.scope == "definition")
        wanted = main_lang(lang_code(lang))
        found = [
            (text.rank, main_lang(lang_code(text.lang or lang)) != wanted, place, text.text)
            for place, text in enumerate(spelt)
            if text.lang is not None and text.text.strip()
        ]
        return min(found)[-1] if found else None

    def _spelt(self, texts: Iterable[Text]) -> Iterator[Text]:
        for text in texts:
            if text.lang is not None:
                yield text
            elif spelt := self._texts.get(text.text):
                yield from (text._replace(text=words, lang=lang) for words, lang in spelt)
            else:
                yield text


def read_subjects(path: Path, roles: Roles, wanted: Collection[str] = ()) -> Subjects:
    """Return what the files at a path say.

    Besides the roles of names and definitions, `text` is the text of a node that stands for a name or a definition
    (`skosxl:literalForm`, `rdf:value`); a name that a blank node has is one, too. Others are kept as facts.

    Args:
        wanted: roles that are kept of blank nodes.

    Raises:
        DataError: as `xnorm.rdf.read_triples`.
    """
    found = Subjects()
    iris: dict[str, str] = {}  # one string for each IRI, wherever it comes
    for subject, predicate, value, lang in read_triples(path):
        about = roles[predicate]
        if about is None:
            continue
        rank, role = about
        if role == "kind" and value == _LABEL:  # a million of them tell nothing
            continue
        if lang is None:
            value = iris.setdefault(value, value)
        if role == "text" or (role in SCOPES and subject.startswith("_:")):
            found.add_text(subject, value, lang)
        elif not subject.startswith("_:"):
            found.add(iris.setdefault(subject, subject), rank, role, value, lang)
        elif role in wanted:
            found.nodes[subject].setdefault(role, []).append(value)
    return found


def refuse(path: Path, option: str, problem: str, wrong: str, known: Collection[str]) -> NoReturn:
    """Raise the error for an option that does not fit the file."""
    raise ConfigError(f"{path}: {option}: {problem}; {did_you_mean(wrong, known)}")
