"""What a mention is like, for breakdowns: its type, language, length; whether its name is known, shared or seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from xnorm.corpus import Corpus
from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean
from xnorm.tables import Terminology
from xnorm.text import fold_case, unspaced_letters
from xnorm.types import Mention

__all__ = ["BREAKDOWNS", "NameIndex", "check_breakdowns", "labels_of", "words_in"]

BREAKDOWNS = {
    "part": "part of the corpus",
    "lang": "language of the mention",
    "type": "entity type; a mention with several counts in each",
    "length": "words in the mention; two letters of a script without spaces are a word",
    "exact": "whether a gold concept has the mention itself as a name, case aside",
    "ambiguous": "whether several concepts have the mention as a name, case aside",
    "seen_concept": "whether a gold concept has a mention in the training parts",
    "seen_mention": "whether the training parts have the mention, case aside",
}
"""Name -> what it tells apart."""


class NameIndex:
    """Which concepts have a text as a name, case aside (`xnorm.text.fold_case`), for the texts of some mentions."""

    def __init__(self, mentions: Iterable[Mention], terminology: Terminology) -> None:
        wanted = {fold_case(m.text) for m in mentions}
        self._concepts: dict[str, set[int]] = {}
        concept = terminology.name_concept.tolist()
        for row, text in enumerate(terminology.name_texts()):
            folded = fold_case(text)
            if folded in wanted:
                self._concepts.setdefault(folded, set()).add(concept[row])

    def concepts(self, text: str) -> set[int]:
        """Return the rows of the concepts that have the text as a name."""
        return self._concepts.get(fold_case(text), set())


def labels_of(
    corpus: Corpus, gold: Sequence[Sequence[int]], names: NameIndex, by: Sequence[str]
) -> dict[str, list[Any]]:
    """Return the labels of the judged mentions for each breakdown; one for which no mention has a label (types, in a
    corpus without) is left out.

    Args:
        gold: of each mention, the rows of its gold concepts.
        by: keys of `BREAKDOWNS`.

    Raises:
        ConfigError: an unknown breakdown.
    """
    check_breakdowns(by)
    mentions = corpus.mentions
    training = [m for part in corpus.training.values() for m in part]
    seen_gold, seen_text = {i for m in training for i in m.gold}, {fold_case(m.text) for m in training}
    found = [names.concepts(m.text) for m in mentions]
    columns: dict[str, list[Any]] = {
        "part": corpus.part_of,
        "lang": [m.lang or () for m in mentions],
        "type": [m.types for m in mentions],
        "length": [_length(m.text) for m in mentions],
        "exact": ["yes" if set(rows) & having else "no" for rows, having in zip(gold, found, strict=True)],
        "ambiguous": ["yes" if len(having) > 1 else "no" for having in found],
    }
    if training:
        columns["seen_concept"] = ["yes" if seen_gold & set(m.gold) else "no" for m in mentions]
        columns["seen_mention"] = ["yes" if fold_case(m.text) in seen_text else "no" for m in mentions]
    return {name: columns[name] for name in by if any(label != () for label in columns.get(name, ()))}


def check_breakdowns(by: Iterable[str]) -> None:
    """Refuse breakdowns that there are not.

    Raises:
        ConfigError: with the nearest one.
    """
    for name in by:
        if name not in BREAKDOWNS:
            raise ConfigError(f"breakdowns: unknown '{name}'; {did_you_mean(name, BREAKDOWNS)}")


def words_in(text: str) -> int:
    """Return the number of words; two letters of a script that is written without spaces count as one."""
    letters = unspaced_letters(text)
    spaced = sum(1 for word in text.split() if len(word) > unspaced_letters(word))
    return spaced + (letters + 1) // 2


def _length(text: str) -> str:
    n = words_in(text)
    return "1 word" if n <= 1 else "2 words" if n == 2 else "3-4 words" if n < 5 else "5 or more words"
