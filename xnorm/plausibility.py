"""Whether a text can be in a language: by its script, and by the little words that no sentence goes without."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from xnorm.text import fold_case, main_lang, unspaced_letters

__all__ = ["effective_length", "foreign_script", "in_another_language", "unchanged"]

MOST_LETTERS = 2000
"""Characters of a text that are looked at."""

MOST_FOREIGN = 0.75
"""Share of letters of other scripts that a sentence may have: names of genes and drugs stay as they are."""
_DENSE = {"CJK", "HIRAGANA", "KATAKANA", "HANGUL"}

_SCRIPTS = {
    "zh": "CJK", "yue": "CJK", "ja": "CJK HIRAGANA KATAKANA KATAKANA-HIRAGANA", "ko": "HANGUL CJK",
    "ru": "CYRILLIC", "uk": "CYRILLIC", "be": "CYRILLIC", "bg": "CYRILLIC", "mk": "CYRILLIC", "kk": "CYRILLIC",
    "sr": "CYRILLIC LATIN", "el": "GREEK", "ar": "ARABIC", "fa": "ARABIC", "ur": "ARABIC", "ps": "ARABIC",
    "he": "HEBREW", "yi": "HEBREW", "th": "THAI", "lo": "LAO", "km": "KHMER", "my": "MYANMAR",
    "hi": "DEVANAGARI", "mr": "DEVANAGARI", "ne": "DEVANAGARI", "bn": "BENGALI", "ta": "TAMIL", "te": "TELUGU",
    "gu": "GUJARATI", "kn": "KANNADA", "ml": "MALAYALAM", "pa": "GURMUKHI", "si": "SINHALA", "ka": "GEORGIAN",
    "hy": "ARMENIAN", "am": "ETHIOPIC", "bo": "TIBETAN",
}  # fmt: skip
_LATIN = (
    "af ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms mt nl no nb nn pl pt ro sk sl sq sv sw tl tr vi"
).split()
_SCRIPTS |= dict.fromkeys(_LATIN, "LATIN")
"""Language -> first words of the Unicode names of its letters; a language that is not here is not judged."""

_LITTLE_WORDS = {
    "en": "the of and to in is was with that for by were are not this from which as at be have has or",
    "de": "der die das und von mit ist den im zu des dem bei wurde nicht ein eine auf für sich werden wird auch nach",
    "es": "el la los las del que y en por una con se fue para es al su como más este sus entre también",
    "fr": "le les des et du une dans est que pour qui par sur au avec ont été sont aux cette ou être",
    "it": "il di che gli della per del con è una nel dei sono alla da delle nella stato anche più questo",
    "pt": "o os do da dos das que e em um uma com não no na por foi para ao mais como são pela pelo",
    "nl": "de het een van en in is dat met op te voor zijn werd bij niet door aan ook naar worden wordt",
    "sv": "och att det som en på är av för med den till inte har var ett om hos vid från",
    "pl": "w i na z się do jest nie że o od po przez oraz dla był u jako są",
    "vi": "và của là có được các trong cho với một không những đã người này",
}
"""Language -> words that are frequent in any text of it; rarely the same ones in another."""
_LITTLE = {lang: frozenset(words.split()) for lang, words in _LITTLE_WORDS.items()}
SURE = 3
"""Distinct little words that a text must have of another language, and twice as many as of the right one."""


@lru_cache(maxsize=1 << 14)
def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0] if letter.isalpha() else ""


def _scripts(text: str) -> Counter[str]:
    """Return how many letters of each script the first part of a text has, a syllable or an ideograph as three."""
    found = Counter(map(_script, text[:MOST_LETTERS]))
    del found[""]
    for script in _DENSE & found.keys():
        found[script] *= 3
    return found


def foreign_script(text: str, lang: str, *, latin: bool = True) -> bool:
    """Return whether more than half of a text's letters are of no script of a language.

    Args:
        latin: whether Latin letters pass in any language, as in names of genes and abbreviations.
    """
    return _foreign_share(text, lang, ("LATIN",) if latin else ()) > 0.5


def _foreign_share(text: str, lang: str, others: Sequence[str] = ()) -> float:
    """Return the share of a text's letters that are of no script of a language; 0 of an unknown language."""
    known = _SCRIPTS.get(main_lang(lang))
    found = _scripts(text)
    if known is None or not found:
        return 0.0
    return sum(n for script, n in found.items() if script not in (*known.split(), *others)) / found.total()


def in_another_language(text: str, lang: str) -> bool:
    """Return whether a sentence is plainly of another language: by script, or by the little words where it has enough
    of another language's. A short or doubtful one is not."""
    if _foreign_share(text, lang) > MOST_FOREIGN:
        return True
    wanted = _LITTLE.get(main_lang(lang))
    if wanted is None:
        return False
    words = frozenset(fold_case(text[: 4 * MOST_LETTERS]).split())
    most = max(len(words & little) for other, little in _LITTLE.items() if other != main_lang(lang))
    return most >= SURE and most > 2 * len(words & wanted)


def unchanged(source: str, translation: str, *, words: int, letters: int) -> bool:
    """Return whether a translation is the source, case aside, and the source long enough for that to be no chance.

    Args:
        words: how many are long enough.
        letters: characters that are long enough; both are needed.
    """
    return len(source.split()) >= words and len(source) >= letters and fold_case(source) == fold_case(translation)


def effective_length(text: str) -> int:
    """Return the length of a text, a character of a script without spaces counted as three Latin letters."""
    return len(text) + 2 * unspaced_letters(text)
