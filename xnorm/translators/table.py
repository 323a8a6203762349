"""A table of translations: sentences that it holds are translated whole, of others the phrases and words that it holds.

The table is a file, or a terminology whose concepts have names in both languages: a translator without a model and
without a licence of its own, for the entities above all.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from xnorm.artifact import sha256_file, sha256_text
from xnorm.config import InputPath
from xnorm.errors import ConfigError, DataError
from xnorm.files import read_json_lines, read_table, suffix
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.text import LangFilter, clean, fold_case, main_lang
from xnorm.translators.base import Translator, TranslatorConfig

__all__ = ["TableConfig", "TableTranslator"]

MOST_WORDS = 24
"""Words of a phrase; longer ones are found as whole sentences alone."""
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_CAPITALISED = {"de", "lb"}
"""Languages whose nouns begin with a capital."""


class TableConfig(TranslatorConfig):
    """Where the translations are."""

    type: str = "table"
    path: InputPath | None = None
    """A table (`.tsv`, `.csv`) or JSON Lines file of texts and their translations, gzip or plain."""
    source_column: str = "source"
    """With `path`: column or key of the text."""
    target_column: str = "translation"
    """With `path`: column or key of its translation."""
    terminology: TerminologyConfig | None = None
    """Sources whose concepts have names in both languages; what `path` says goes before it."""
    scopes: tuple[Literal["preferred", "exact", "narrow", "broad", "related"], ...] = ("preferred", "exact")
    """With `terminology`: the names of these scopes are translated."""
    min_letters: int = Field(default=3, ge=1)
    """Phrases with fewer letters are not replaced, as `MS` and `of` may be anything."""
    abbreviations: bool = False
    """Whether a text that is one word without small letters counts as known although the table does not hold it: most
    abbreviations are the same in many languages."""

    @model_validator(mode="after")
    def _check_source(self) -> TableConfig:
        if self.path is None and self.terminology is None:
            raise ValueError("expected path, terminology, or both")
        return self


@dataclass(frozen=True)
class _Phrases:
    """The translations between two languages, each with whether its first letter follows the text that it replaces."""

    texts: dict[str, tuple[str, bool]]
    """By `fold_case` of the text; an abbreviation by itself, for `ALL` and `CAN` are words, too."""
    longest: dict[str, int]
    """First word -> words of the longest phrase that begins with it."""
    report: dict[str, int]

    def find(self, text: str) -> tuple[str, bool] | None:
        """Return the translation of a text, if there is one."""
        found = self.texts.get(text) if _is_abbreviation(text) else None
        return found or self.texts.get(fold_case(text))


class TableTranslator(Translator):
    """Replaces the longest phrases that the table holds, from left to right; what it does not hold stays."""

    config_class: ClassVar[type[TranslatorConfig]] = TableConfig
    config: TableConfig
    partial: ClassVar[bool] = True

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__(config)
        self._phrases: dict[tuple[str, str], _Phrases] = {}
        self._counts: Counter[str] = Counter()

    @cached_property
    def identity(self) -> str:
        c = self.config
        file = sha256_file(c.path) if c.path is not None and c.path.is_file() else None
        names = None if self._terminology is None else self._terminology.fingerprint
        view = [file, names, c.source_column, c.target_column, c.scopes, c.min_letters]
        return f"table/{sha256_text(json.dumps(view))[:32]}"

    @property
    def batch(self) -> int:
        return 4096

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the texts with what the table holds replaced."""
        phrases = self._between(source, target)
        return [self._translated(text, phrases, self._counts) for text in texts]

    def knows(self, text: str, source: str, target: str) -> bool:
        phrases = self._between(source, target)
        if phrases.find(text) is not None or (self.config.abbreviations and _is_abbreviation(text)):
            return True
        return not any(found is None and _has_letters(piece) for _, piece, found in _placed(text, phrases))

    def about(self) -> dict[str, Any]:
        """Return how many phrases the table holds, how many were replaced, and how many words stayed."""
        tables = {f"{a}-{b}": phrases.report for (a, b), phrases in self._phrases.items()}
        return {"tables": tables, "counts": dict(self._counts)}

    def _translated(self, text: str, phrases: _Phrases, counts: Counter[str]) -> str:
        if (whole := phrases.find(text)) is not None:
            counts["whole texts translated"] += 1
            return _like(text, *whole, first=True)
        out, at, first = [], 0, True
        for place, piece, found in _placed(text, phrases):
            out += [text[at:place], piece if found is None else _like(piece, *found, first=first)]
            at = place + len(piece)
            if found is not None:
                counts["phrases translated"] += 1
            elif _has_letters(piece):
                counts["words that stayed"] += 1
            first = first and not _has_letters(piece)
        return "".join((*out, text[at:]))

    def _between(self, source: str, target: str) -> _Phrases:
        key = (source, target)
        if key not in self._phrases:
            self._phrases[key] = self._read(source, target)
        return self._phrases[key]

    def _read(self, source: str, target: str) -> _Phrases:
        texts: dict[str, tuple[str, bool]] = {}
        report: Counter[str] = Counter()
        lowers = main_lang(target) not in _CAPITALISED
        for text, translation in self._pairs(source, target):
            text, translation = clean(text), clean(translation)
            if sum(c.isalnum() for c in text) < self.config.min_letters or not translation:
                report["too short, or without a translation"] += 1
                continue
            if not text.isupper() and translation.isupper() and max(map(len, translation.split())) > 5:
                translation = translation.lower()  # a label in capitals
            key = text if _is_abbreviation(text) else fold_case(text)
            if key not in texts:
                # `Herzinsuffizienz` is no label that was given a capital, `Insuficiencia cardíaca` is
                follows = lowers and translation[1:2] == translation[1:2].lower() and text[1:2] == text[1:2].lower()
                texts[key] = (translation, follows)
            else:
                same = fold_case(texts[key][0]) == fold_case(translation)
                report["given again" if same else "given again with another translation, which was not taken"] += 1
        if not texts:
            where = self.config.path or "the terminology"
            raise ConfigError(f"{where}: holds no translation from '{source}' to '{target}'; look at its languages")
        longest: dict[str, int] = {}
        for key in texts:
            words = _WORD.findall(fold_case(key))
            if words and len(words) <= MOST_WORDS:
                longest[words[0]] = max(len(words), longest.get(words[0], 0))
        return _Phrases(texts, longest, {"phrases": len(texts), **report})

    def _pairs(self, source: str, target: str) -> Iterator[tuple[str, str]]:
        if self.config.path is not None:
            yield from self._file_pairs(self.config.path)
        if self._terminology is not None:
            yield from _name_pairs(self._terminology, source, target, self.config.scopes)

    def _file_pairs(self, path: InputPath) -> Iterator[tuple[str, str]]:
        columns = (self.config.source_column, self.config.target_column)
        if suffix(path) in (".jsonl", ".ndjson"):
            for line, record in read_json_lines(path):
                values = [record.get(column) for column in columns]
                if not all(isinstance(value, str) for value in values):
                    raise DataError(f"expected strings '{columns[0]}' and '{columns[1]}'", path=path, line=line)
                yield str(values[0]), str(values[1])
            return
        for _, row in read_table(path, columns=columns):
            yield row[columns[0]], row[columns[1]]

    @cached_property
    def _terminology(self) -> Terminology | None:
        return None if self.config.terminology is None else read_terminology(self.config.terminology)[0]


def _name_pairs(terminology: Terminology, source: str, target: str, scopes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names in one language with the first name of their concept in the other; preferred names come first, so
    that what is the preferred name of one concept is not translated as the synonym of another."""
    # an abbreviation stands for another one alone
    is_source, is_target = LangFilter([source]), LangFilter([target])
    langs: list[str] = terminology.names.column("lang").to_pylist()
    kinds: list[str] = terminology.names.column("scope").to_pylist()
    concepts, texts = terminology.name_concept.tolist(), terminology.name_texts()
    first: dict[tuple[int, bool], int] = {}
    for row, (concept, lang) in enumerate(zip(concepts, langs, strict=True)):
        if is_target(lang):
            before = first.setdefault((concept, _is_abbreviation(texts[row])), row)
            if kinds[row] == "preferred" != kinds[before]:
                first[concept, _is_abbreviation(texts[row])] = row
    for preferred in (True, False):
        for row, (concept, lang) in enumerate(zip(concepts, langs, strict=True)):
            in_turn = (kinds[row] == "preferred") is preferred and kinds[row] in scopes
            if in_turn and is_source(lang) and (best := first.get((concept, _is_abbreviation(texts[row])))) is not None:
                yield texts[row], texts[best]


def _placed(text: str, phrases: _Phrases) -> Iterator[tuple[int, str, tuple[str, bool] | None]]:
    """Yield each phrase of the table, and each word of no phrase, with its place and translation."""
    words = [match.span() for match in _WORD.finditer(text)]
    at = 0
    while at < len(words):
        start, end = words[at]
        most = phrases.longest.get(fold_case(text[start:end]), 0)
        for size in range(min(most, len(words) - at), 0, -1):
            phrase = text[start : words[at + size - 1][1]]
            if (found := phrases.find(phrase)) is not None:
                yield start, phrase, found
                at += size
                break
        else:
            yield start, text[start:end], None
            at += 1


def _is_abbreviation(text: str) -> bool:
    """Return whether a text is one word of several characters without a small letter, in a script that has such."""
    return len(text) > 1 and " " not in text and text == text.upper() != text.lower()


def _has_letters(text: str) -> bool:
    return any(c.isalpha() for c in text)


def _like(text: str, translation: str, follows: bool, *, first: bool) -> str:
    """Return a translation with the first letter that its place asks for, if it is to follow the text's.

    Args:
        first: whether the text begins a sentence; elsewhere a word that is also in the text keeps its capital, as a
            person's name does.
    """
    if not follows:
        return translation
    if first and text[0].isupper():
        return translation[0].upper() + translation[1:]
    word = _WORD.match(translation)
    if word is None or word[0] in _WORD.findall(text):
        return translation
    return translation[0].lower() + translation[1:]
