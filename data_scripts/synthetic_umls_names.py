"""Invented names for the synthetic UMLS release: morphemes, words and whole names in 25 languages.

No word comes from a vocabulary: syllables are drawn from the letters of a language. A concept's name is a head word of
its own, written from the concept's number, and common words before it; synonyms share words with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["ENGLISH", "LANGUAGES", "MOST_WORDS", "SHARES", "Lexicon", "join"]

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LATIN = "bcdfghjklmnprstvz"
_HAN = "".join(chr(c) for c in range(0x4E00, 0x4E00 + 4000, 3))
_KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン"
_HANGUL = "".join(chr(c) for c in range(0xAC00, 0xAC00 + 11000, 19))
# code: (share of the rows, consonants, vowels); a script without vowels is written without spaces if they are None.
# The shares are about those of the real Metathesaurus.
_INVENTORY: dict[str, tuple[float, str, str | None]] = {
    "CHI": (0.0050, _HAN, None),
    "CZE": (0.0129, _LATIN + "řšžčďť", "aeiouyáéíěů"),
    "DAN": (0.0005, _LATIN, "aeiouyæøå"),
    "DUT": (0.0185, _LATIN + "w", "aeiouë"),
    "ENG": (0.7045, _LATIN + "wx", "aeiouy"),
    "EST": (0.0020, _LATIN, "aeiouõäöü"),
    "FIN": (0.0020, "hjklmnprstv", "aeiouyäö"),
    "FRE": (0.0292, _LATIN + "qxç", "aeiouéèêô"),
    "GER": (0.0170, _LATIN + "wß", "aeiouäöü"),
    "GRE": (0.0018, "βγδζθκλμνξπρστφχψ", "αεηιουωάέίό"),
    "HEB": (0.0002, "אבגדהוזחטיכלמנסעפצקרשת", ""),
    "HUN": (0.0067, _LATIN, "aeiouáéíóöőúüű"),
    "ITA": (0.0166, _LATIN, "aeiouàèìò"),
    "JPN": (0.0205, _KATAKANA + _HAN[::4], None),
    "KOR": (0.0066, _HANGUL, None),
    "LAV": (0.0008, _LATIN + "čģķļņšž", "aeiouāēīū"),
    "NOR": (0.0040, _LATIN, "aeiouyæøå"),
    "POL": (0.0040, _LATIN + "włśżźć", "aeiouyąęó"),
    "POR": (0.0283, _LATIN + "ç", "aeiouãõáéê"),
    "RUS": (0.0190, "бвгджзклмнпрстфхцчшщ", "аеиоуыэюя"),
    "SCR": (0.0010, _LATIN + "čćđšž", "aeiou"),
    "SPA": (0.0999, _LATIN + "ñ", "aeiouáéíóú"),
    "SWE": (0.0022, _LATIN, "aeiouyåäö"),
    "TUR": (0.0035, _LATIN + "çğş", "aeıioöuü"),
    "UKR": (0.0017, "бвгґджзклмнпрстфхцчшщ", "аеєиіїоуюя"),
}
LANGUAGES = tuple(_INVENTORY)
"""Codes of the languages as UMLS writes them, in their alphabetical order."""
ENGLISH = LANGUAGES.index("ENG")
SHARES = np.array([share for share, _, _ in _INVENTORY.values()]) / sum(s for s, _, _ in _INVENTORY.values())
"""Share of each language in the rows of MRCONSO."""
MOST_WORDS = 9
"""Most common words before a head word."""

_RADICES = (20, 160, 160, 40)
_TAGS = "disorder procedure substance organism gene structure measurement object".split()
_QUALIFIERS = (
    'NOS;type 1;type 2;grade III;<1>;10 MG;50 mg/mL;0.5 %;5\'-end;"dry" form;in situ & nearby;stage IIa;[obs];(1-3);'
    "2.5 mg / 5 mL;+/-;β;#4;left/right;unspecified;not elsewhere classified;initial encounter;Oral Tablet"
).split(";")


def join(*columns: Any) -> pa.Array:
    """Return the columns joined row by row; a null is an empty string."""
    return pc.binary_join_element_wise(*columns, "", null_handling="replace")


def _pick(pool: pa.Array, numbers: Numbers) -> pa.Array:
    """Return the elements of a pool with some numbers; null for negative ones."""
    return pool.take(pa.array(np.maximum(numbers, 0), mask=numbers < 0))


def _hash(numbers: Numbers) -> npt.NDArray[np.uint64]:
    """Return numbers spread over 64 bits (the finaliser of SplitMix64)."""
    x = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


@dataclass
class Wording:
    """What the names of some terms are made of; one element a name, `words` of shape (names, MOST_WORDS)."""

    head: Numbers
    """Number of the head word."""
    words: Numbers
    n_words: Numbers
    qualifier: Numbers
    """-1 for none."""
    phrase: Numbers
    """Number of a long phrase after the name; -1 for none."""
    tag: Numbers
    """Number of a semantic tag, as in `(disorder)`; -1 for none."""
    style: Numbers
    """Letters: 0 as in a sentence, 1 lower case, 2 title, 3 upper case."""
    form: Numbers
    """0 plain, 1 another case, 2 another order of words, 3 plural."""

    def take(self, rows: npt.NDArray[Any]) -> Wording:
        """Return the wording of some names."""
        return Wording(**{name: column[rows] for name, column in vars(self).items()})

    def term_key(self) -> npt.NDArray[np.uint64]:
        """Return a number that is equal for names with the same words, whatever their case, order and plural."""
        used = np.arange(MOST_WORDS) < self.n_words[:, None]
        key = _hash(self.head << 20) + np.where(used, _hash(self.words), np.uint64(0)).sum(axis=1, dtype=np.uint64)
        return np.asarray(key * np.uint64(31) + _hash(self.qualifier * 10007 + self.phrase * 101 + self.tag))


class Lexicon:
    """The words of one language."""

    def __init__(self, language: str, seed: int) -> None:
        """Invent the words.

        Args:
            language: its code, of `LANGUAGES`.
            seed: the same seed invents the same words.
        """
        rng = np.random.default_rng([seed, LANGUAGES.index(language)])
        _, self._consonants, vowels = _INVENTORY[language]
        self.space = "" if vowels is None else " "
        self._vowels = vowels or self._consonants
        self._english = language == "ENG"
        # morphemes of one place are equally long, so that different numbers are different words
        patterns = ("C", "C", "C", "C") if vowels is None else ("CV", "CVC", "CVC", "VC")
        self._morphemes = [pa.array(self._distinct(rng, [p], n)) for p, n in zip(patterns, _RADICES, strict=True)]
        patterns = ["C", "CC"] if vowels is None else ["CVC", "CVCV", "CVCVC", "CVCCVCV", "VCVCVC", "CVCVCVCVC"]
        words = self._distinct(rng, patterns, 6000 if self._english else 1200)
        self.n_words = len(words)
        self._words = pa.array([word + self.space for word in words])
        size = 60 if vowels is None else 90
        texts = sorted(
            (
                self.space.join(words[int(w)] for w in rng.integers(0, len(words), int(n)))
                for n in np.exp(rng.uniform(np.log(4), np.log(size), 400))
            ),
            key=len,
        )
        self._phrases = pa.array([self.space + text for text in texts])
        self.n_phrases = len(texts)
        qualifiers = _QUALIFIERS if self._english else ["1", "2", "II", "10 mg", "(1)"]
        self._qualifiers = pa.array([self.space + qualifier for qualifier in qualifiers])
        self.n_qualifiers = len(qualifiers)
        self._tags = pa.array([f" ({tag})" for tag in _TAGS])

    def _distinct(self, rng: np.random.Generator, patterns: list[str], n: int) -> list[str]:
        letters = {"C": self._consonants, "V": self._vowels}
        found: dict[str, None] = {}
        while len(found) < n:
            pattern = patterns[int(rng.integers(len(patterns)))]
            found["".join(letters[p][int(rng.integers(len(letters[p])))] for p in pattern)] = None
        return list(found)

    @staticmethod
    def n_heads() -> int:
        """Return how many head words there are."""
        return int(np.prod(_RADICES))

    def names(self, wording: Wording) -> pa.Array:
        """Write names out."""
        rest, parts = wording.head, []
        for morphemes in self._morphemes[:0:-1]:
            parts.append(morphemes.take(pa.array(rest % len(morphemes))))
            rest = rest // len(morphemes)
        plural = pa.array(["s" if self._english else self._vowels[0]])
        head = join(
            self._morphemes[0].take(pa.array(rest)), *parts[::-1], _pick(plural, np.where(wording.form == 3, 0, -1))
        )
        most = int(wording.n_words.max(initial=0))
        words = [
            _pick(self._words, np.where(wording.n_words > k, wording.words[:, k] % self.n_words, -1))
            for k in range(most)
        ]
        before = join(*words) if words else None
        name = join(*words, head)
        turned = (wording.form == 2) & (wording.n_words > 0)
        if before is not None and turned.any():
            mask = pa.array(turned)
            comma = pa.scalar(", " if self.space else "、")
            name = pc.replace_with_mask(
                name, mask, join(head.filter(mask), comma, pc.utf8_rtrim_whitespace(before.filter(mask)))
            )
        after = (
            (self._qualifiers, wording.qualifier),
            (self._phrases, wording.phrase),
            (self._tags, wording.tag),
        )
        return self._letters(join(name, *(_pick(pool, numbers) for pool, numbers in after)), wording)

    @staticmethod
    def _letters(names: pa.Array, wording: Wording) -> pa.Array:
        style = np.where(wording.form == 1, np.where(wording.style == 1, 0, wording.style + 1) % 4, wording.style)
        for number, change in ((0, pc.utf8_capitalize), (2, pc.utf8_title), (3, pc.utf8_upper)):
            mask = style == number
            if mask.any():
                names = pc.replace_with_mask(names, pa.array(mask), change(names.filter(pa.array(mask))))
        return names

    def definitions(self, rng: np.random.Generator, n: int) -> pa.Array:
        """Return n texts of a sentence or two, about 200 letters in a script with spaces."""
        count = rng.integers(1, 6, n)
        picks = rng.integers(0, self.n_phrases, (n, 5))
        parts = [_pick(self._phrases, np.where(count > k, picks[:, k] // 2, -1)) for k in range(5)]
        return join(pc.utf8_capitalize(pc.utf8_ltrim_whitespace(join(*parts))), pa.scalar("."))
