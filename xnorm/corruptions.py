"""Names as hurried people write them: typing errors, abbreviations, dropped words and the like.

A kind of corruption has one or several ways, each a function of a name, its language and a source of chance. What does
not apply to a name (a Latin keyboard to Han, a plural to a language whose rules are not here) gives nothing. Digits are
never touched but by `numerals`, for type 1 is not type 2; nor are words in capitals, which stand for something, but by
`case`.
"""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from xnorm.text import clean, main_lang, unspaced_letters, without_accents

__all__ = ["KINDS", "Corruption", "corrupt"]

Way = Callable[[str, str, random.Random], str | None]


class Corruption(NamedTuple):
    """A corrupted name, and how it was made."""

    text: str
    how: str
    """The kind and the way: `typo-swap`, `dropped_word-stop`."""


def corrupt(text: str, kind: str, *, lang: str | None = None, seed: int = 0, draw: int = 0) -> Corruption | None:
    """Return a name with a corruption of a kind: the same one for the same arguments, on every machine.

    Args:
        text: the name, single-spaced (`xnorm.text.clean`).
        kind: a key of `KINDS`; its ways are tried in an order that is drawn, and the first that applies is taken.
        lang: of the name; some ways know some languages only.
        seed, draw: other numbers, other corruptions.

    Returns:
        None if no way of the kind applies. A text that is empty or the same as before is never returned.
    """
    chance = random.Random(f"{seed}/{draw}/{kind}/{lang or ''}/{text}")
    ways = list(KINDS[kind].items())
    for name, way in chance.sample(ways, len(ways)):
        found = clean(way(text, main_lang(lang), chance) or "")
        if found and found != text and any(c.isalnum() for c in found):
            return Corruption(found, f"{kind}-{name}")
    return None


# --- letters ------------------------------------------------------------------------------------------------------

_KEYBOARDS = {
    "qwerty": ("qwertyuiop", "asdfghjklñ", "zxcvbnm"),
    "qwertz": ("qwertzuiopü", "asdfghjklöä", "yxcvbnm"),
    "azerty": ("azertyuiop", "qsdfghjklm", "wxcvbn"),
    "cyrillic": ("йцукенгшщзхъ", "фывапролджэ", "ячсмитьбю"),
    "greek": ("ςερτυθιοπ", "ασδφγηξκλ", "ζχψωβνμ"),
}
_LATIN_KEYBOARDS = {"de": "qwertz", "cs": "qwertz", "sk": "qwertz", "hu": "qwertz", "hr": "qwertz", "fr": "azerty"}


def _beside(rows: tuple[str, ...]) -> dict[str, str]:
    """Return the keys beside each key: on its row, and the two each above and below it."""
    found = {}
    for r, row in enumerate(rows):
        for c, key in enumerate(row):
            places = [(r, c - 1), (r, c + 1), (r - 1, c), (r - 1, c + 1), (r + 1, c - 1), (r + 1, c)]
            found[key] = "".join(rows[y][x] for y, x in places if 0 <= y < len(rows) and 0 <= x < len(rows[y]))
    return found


_NEIGHBOURS = {name: _beside(rows) for name, rows in _KEYBOARDS.items()}


def _letters(text: str) -> list[str]:
    """Return the characters, each with the marks that stand on it."""
    found: list[str] = []
    for c in text:
        if found and unicodedata.category(c)[0] == "M":
            found[-1] += c
        else:
            found.append(c)
    return found


def _runs(letters: list[str]) -> Iterator[tuple[range, bool]]:
    """Yield the places of words long enough to be mistyped, and whether they are of a script without spaces.

    The first letter of a word of four or more may not be touched; without spaces three letters in a row are a word.
    """
    kinds = [0 if not x[0].isalpha() else 2 if unspaced_letters(x) else 1 for x in letters]
    start = 0
    for end in range(1, len(letters) + 1):
        if end < len(letters) and kinds[end] == kinds[start]:
            continue
        word = "".join(letters[start:end])
        digits = any(c.isdigit() for c in "".join(letters[max(start - 1, 0) : start] + letters[end : end + 1]))
        if kinds[start] == 2 and end - start > 2:
            yield range(start, end), True
        elif kinds[start] == 1 and end - start > 3 and not word.isupper() and not digits:
            yield range(start + 1, end), False
        start = end


def _mistyped(text: str, chance: random.Random, change: Callable[[list[str], int, bool], str | None]) -> str | None:
    """Return a text with a letter replaced by what a function of the letters, a place and the script gives."""
    letters = _letters(text)
    places = [(i, unspaced) for run, unspaced in _runs(letters) for i in run]
    for i, unspaced in chance.sample(places, len(places)):
        if (new := change(letters, i, unspaced)) is not None:
            return "".join([*letters[:i], new, *letters[i + 1 :]])
    return None


def _neighbour(text: str, lang: str, chance: random.Random) -> str | None:
    def change(letters: list[str], i: int, unspaced: bool) -> str | None:
        plain = letters[i].lower()
        tables = (_NEIGHBOURS[name] for name in (_LATIN_KEYBOARDS.get(lang, "qwerty"), "cyrillic", "greek"))
        near = next((table[plain] for table in tables if plain in table), "")
        if not near:
            return None
        new = chance.choice(near)
        return new if letters[i] == plain else new.upper()

    return _mistyped(text, chance, change)


def _drop(text: str, lang: str, chance: random.Random) -> str | None:
    return _mistyped(text, chance, lambda letters, i, unspaced: "")


def _double(text: str, lang: str, chance: random.Random) -> str | None:
    def change(letters: list[str], i: int, unspaced: bool) -> str | None:
        return 2 * letters[i] if letters[i].lower() != letters[i].upper() else None

    return _mistyped(text, chance, change)


def _swap(text: str, lang: str, chance: random.Random) -> str | None:
    letters = _letters(text)
    pairs = [(i, i + 1) for run, _ in _runs(letters) for i in run[:-1] if letters[i] != letters[i + 1]]
    if not pairs:
        return None
    i, j = chance.choice(pairs)
    letters[i], letters[j] = letters[j], letters[i]
    return "".join(letters)


_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue"})
_PLAIN = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "Æ": "Ae", "Œ": "Oe", "Ø": "O", "Ł": "L"})


def _without_accents(text: str, lang: str, chance: random.Random) -> str | None:
    # й is a letter of its own, and no и with an accent; so are those of kana, which keep their marks anyway
    return "".join(c if c in "йЙ" else without_accents(c) for c in unicodedata.normalize("NFC", text)).translate(_PLAIN)


def _umlauts(text: str, lang: str, chance: random.Random) -> str | None:
    return text.translate(_UMLAUTS) if lang == "de" else None


# --- words --------------------------------------------------------------------------------------------------------

_STOP = {
    "en": "a an and by due for from in of on or the to with",
    "de": "am an auf bei beim bis der des die das durch ein eine einer für im in mit nach oder und von vom zu zum zur",
    "es": "a al con de del e el en la las lo los o para por que un una y",
    "fr": "à a au aux avec d de des du en et la le les ou par pour sur un une",
    "it": "a al alla con da dal dalla dei del della delle di e ed il in la le lo per un una",
    "nl": "aan bij de door een en het in met of op tot van voor",
    "pl": "bez do i lub na o od po przez w we z ze",
    "pt": "a à ao aos as com da das de do dos e em na nas no nos o os ou para pela por um uma",
    "ru": "без в во для и из или к на о от по при с со у",
}
_STOP_WORDS = {lang: frozenset(words.split()) for lang, words in _STOP.items()}
_PARTICLES = {"zh": "的", "ja": "の"}
_BRACKETS = re.compile(r"[()\[\]{}<>]")


def _is_stop(word: str, lang: str) -> bool:
    return word.casefold() in _STOP_WORDS.get(lang, ())


def _is_plain(word: str, lang: str) -> bool:
    """Return whether a word carries meaning and is no number, acronym or letter that tells concepts apart."""
    return len(word) > 2 and word.isalpha() and not word.isupper() and not _is_stop(word, lang)


def _without(words: list[str], i: int) -> str:
    return " ".join(words[:i] + words[i + 1 :])


def _drop_stop(text: str, lang: str, chance: random.Random) -> str | None:
    words = text.split()
    stops = [i for i, word in enumerate(words) if _is_stop(word, lang)]
    if stops and len(stops) < len(words):
        return _without(words, chance.choice(stops))
    particle = _PARTICLES.get(lang, "")
    return text.replace(particle, "", 1) if particle and particle in text[1:-1] else None


def _drop_content(text: str, lang: str, chance: random.Random) -> str | None:
    words = text.split()
    plain = [i for i, word in enumerate(words) if _is_plain(word, lang)]
    return _without(words, chance.choice(plain)) if len(plain) > 2 else None


def _invert(text: str, lang: str, chance: random.Random) -> str | None:
    parts = text.split(", ")
    if _BRACKETS.search(text) or len(parts) > 2:
        return None
    if len(parts) == 2:
        return f"{parts[1]} {parts[0]}"
    words = text.split()
    return f"{words[-1]}, {' '.join(words[:-1])}" if len(words) > 1 and _is_plain(words[-1], lang) else None


def _swap_words(text: str, lang: str, chance: random.Random) -> str | None:
    words = text.split()
    plain = [_is_plain(word, lang) for word in words]
    pairs = [i for i in range(len(words) - 1) if plain[i] and plain[i + 1] and words[i] != words[i + 1]]
    if not pairs:
        return None
    i = chance.choice(pairs)
    return " ".join([*words[:i], words[i + 1], words[i], *words[i + 2 :]])


def _initials(text: str, lang: str, chance: random.Random) -> str | None:
    words = [w for w in re.split(r"[\s,/-]+", text) if w and not _is_stop(w, lang)]
    spelt = [w for w in words if not w.isdigit()]
    if not 2 <= len(spelt) <= 6 or not all(w.isalpha() and w[0].lower() != w[0].upper() for w in spelt):
        return None
    if any(len(w) > 1 and w.isupper() for w in spelt):  # has an abbreviation in it
        return None
    return "".join(w if w.isdigit() else w[0].upper() for w in words)


_VOWELS = "aeiouyαεηιουωаеёиоуыэюя"
_STEM = re.compile(f"[^{_VOWELS}]*[{_VOWELS}]+[^{_VOWELS}]+(?=[{_VOWELS}])")


def _truncate(text: str, lang: str, chance: random.Random) -> str | None:
    """Cut a word before its second vowel: `acute` is `ac.`, `chronic` `chron.`, `Syndrom` `Syndr.`"""
    words = text.split()
    found = []
    for i, word in enumerate(words):
        stem = _STEM.match(without_accents(word).lower()) if _is_plain(word, lang) and len(word) > 4 else None
        if stem and stem.end() + 2 <= len(word):
            found.append((i, f"{word[: stem.end()]}."))
    if not found:
        return None
    i, short = chance.choice(found)
    return " ".join([*words[:i], short, *words[i + 1 :]])


_PREFIXES = (
    "anti auto broncho cardio cerebro endo extra fibro gastro hepato hyper hypo inter intra macro micro multi myo "
    "neuro osteo poly post pseudo psycho retro sub supra trans ultra kardio prä zerebro cérébro"
).split()
# of words that only begin like that: posterior, substance, transient
_PREFIX = re.compile(rf"\b({'|'.join(_PREFIXES)})(?=[^\W\d_]{{4}})(?!erio|stan|ient|ition)", re.IGNORECASE)
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=[^\W\d_]{2})")


def _at_one(pattern: re.Pattern[str], text: str, chance: random.Random, new: Callable[[re.Match[str]], str]) -> str:
    """Return a text with one of a pattern's places written anew; the text itself if there is none."""
    places = [m for m in pattern.finditer(text) if new(m) != m[0]]
    if not places:
        return text
    m = chance.choice(places)
    return text[: m.start()] + new(m) + text[m.end() :]


def _hyphenate(text: str, lang: str, chance: random.Random) -> str | None:
    return _at_one(_PREFIX, text, chance, lambda m: f"{m[0]}-")


def _join_hyphen(text: str, lang: str, chance: random.Random) -> str | None:
    return _at_one(_HYPHEN, text, chance, lambda m: "")


def _space_hyphen(text: str, lang: str, chance: random.Random) -> str | None:
    return _at_one(_HYPHEN, text, chance, lambda m: " ")


# --- case, numbers ------------------------------------------------------------------------------------------------


def _titled(text: str, lang: str, chance: random.Random) -> str | None:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


_ROMAN = {roman: str(n) for n, roman in enumerate("I II III IV V VI VII VIII IX X XI XII".split(), 1)}
_ARABIC = {number: roman for roman, number in _ROMAN.items()}
_ALONE = r"(?<![\w.,:/+-]){}(?![\w:/%+-]|[.,]\w)"
_ROMAN_NUMBER = re.compile(_ALONE.format("(?:I{1,3}|IV|VI{0,3}|IX|XI{1,2})"))  # X alone is a chromosome as often
_ARABIC_NUMBER = re.compile(_ALONE.format("(?:[1-9]|1[0-2])"))


def _to_roman(text: str, lang: str, chance: random.Random) -> str | None:
    return _at_one(_ARABIC_NUMBER, text, chance, lambda m: _ARABIC[m[0]])


def _to_arabic(text: str, lang: str, chance: random.Random) -> str | None:
    return _at_one(_ROMAN_NUMBER, text, chance, lambda m: _ROMAN[m[0]])


_PLURALS: Mapping[str, tuple[bool, tuple[tuple[str, str], ...]]] = {
    # whether the last word is the head, else the first; endings and what becomes of them, the first that fits
    "en": (True, ((r"([^aeiou])y$", r"\1ies"), (r"sis$", "ses"), (r"(ch|sh|[sxz])$", r"\1es"), (r"([a-z])$", r"\1s"))),
    "es": (False, ((r"z$", "ces"), (r"ión$", "iones"), (r"([aeo])$", r"\1s"), (r"([lrnd])$", r"\1es"))),
    "fr": (False, ((r"eau$", "eaux"), (r"([a-rt-wyé])$", r"\1s"))),
    "it": (False, ((r"([^ci])o$", r"\1i"), (r"([^cg])a$", r"\1e"), (r"e$", "i"))),
    "pt": (False, ((r"ão$", "ões"), (r"m$", "ns"), (r"([aeo])$", r"\1s"), (r"([rz])$", r"\1es"))),
}


def _pluralise(text: str, lang: str, chance: random.Random) -> str | None:
    """Put a name of one head into the plural by the commonest rule of its language; what is one already may get two."""
    last, rules = _PLURALS.get(lang, (True, ()))
    words = text.split()
    at = len(words) - 1 if last else 0
    if "," in text or not words or not _is_plain(words[at], lang):
        return None
    if not words[at].islower() and not words[at].istitle():
        return None
    if words[at].endswith("s") and not re.search(r"(?:ss|us|is|ás|és)$", words[at]):
        return None  # a plural, or a word that looks like one
    for ending, new in rules:
        plural = re.sub(ending, new, words[at], count=1)
        if plural != words[at]:
            return " ".join([*words[:at], plural, *words[at + 1 :]])
    return None


KINDS: Mapping[str, Mapping[str, Way]] = MappingProxyType(
    {
        "typo": {"neighbour": _neighbour, "swap": _swap, "drop": _drop, "double": _double},
        "abbreviation": {"initials": _initials, "truncated": _truncate},
        "hyphen": {"added": _hyphenate, "joined": _join_hyphen, "spaced": _space_hyphen},
        "dropped_word": {"stop": _drop_stop, "content": _drop_content},
        "word_order": {"inverted": _invert, "swapped": _swap_words},
        "case": {
            "upper": lambda text, lang, chance: text.upper(),
            "lower": lambda text, lang, chance: text.lower(),
            "title": _titled,
            "sentence": lambda text, lang, chance: text[:1].upper() + text[1:],
        },
        "accents": {"dropped": _without_accents, "umlauts": _umlauts},
        "numerals": {"roman": _to_roman, "arabic": _to_arabic},
        "plural": {"regular": _pluralise},
    }
)
"""Kind -> its ways."""
