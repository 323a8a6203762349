"""The one home of Unicode normalisation, detection of script and language, and n-gram analysis."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = [
    "LangFilter",
    "clean",
    "cognate",
    "encodable",
    "fold",
    "fold_case",
    "guess_lang",
    "hash_ngrams",
    "lang_code",
    "lang_of",
    "main_lang",
    "romanise_greek",
    "script_of",
    "trimmed",
    "unspaced_letters",
    "without_accents",
]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u2028\u2029\u2060\ufeff\ud800-\udfff]+")
_SPACE = re.compile(r"\s+")


def clean(text: str) -> str:
    """Return a string fit to be shown and stored: NFC, control characters and runs of white space as one space."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip()
    text = unicodedata.normalize("NFC", _CONTROL.sub(" ", text))
    return _SPACE.sub(" ", text).strip()


_ISO_639_1 = {
    # ISO 639-2/B, 639-2/T or 639-3 -> ISO 639-1; bibliographic codes are the ones that UMLS uses
    "ara": "ar", "baq": "eu", "eus": "eu", "bul": "bg", "cat": "ca", "chi": "zh", "zho": "zh", "cmn": "zh",
    "cze": "cs", "ces": "cs", "dan": "da", "dut": "nl", "nld": "nl", "ell": "el", "gre": "el", "eng": "en",
    "est": "et", "fin": "fi", "fre": "fr", "fra": "fr", "ger": "de", "deu": "de", "heb": "he", "hin": "hi",
    "hrv": "hr", "scr": "hr", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv",
    "lit": "lt", "nor": "no", "per": "fa", "fas": "fa", "pol": "pl", "por": "pt", "rum": "ro", "ron": "ro",
    "rus": "ru", "slo": "sk", "slk": "sk", "slv": "sl", "spa": "es", "srp": "sr", "scc": "sr", "swe": "sv",
    "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi",
}  # fmt: skip


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span of a text without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def lang_code(lang: str) -> str:
    """Return a language code in one form: lower case, hyphens, two letters where ISO 639-1 has them.

    `GER`, `deu` and `de` are `de`; `pt_BR` is `pt-br`; an empty code is `und` (undetermined).
    """
    code = lang.strip().lower().replace("_", "-")
    main, hyphen, rest = code.partition("-")
    return (_ISO_639_1.get(main, main) + hyphen + rest) or "und"


def main_lang(code: str | None) -> str:
    """Return the language of a code without its region: `pt-br` is `pt`; none is an empty string."""
    return (code or "").partition("-")[0]


class LangFilter:
    """Whether a language is wanted: `pt` takes `pt-br` too; None takes every one.

    Args:
        wanted: codes in any form that `lang_code` knows.
    """

    def __init__(self, wanted: Iterable[str] | None) -> None:
        self.wanted = None if wanted is None else {lang_code(w) for w in wanted}

    def __call__(self, lang: str) -> bool:
        return self.wanted is None or lang in self.wanted or main_lang(lang) in self.wanted


def encodable(text: str) -> str:
    """Return a string that has a UTF-8 form: half of a surrogate pair, as JSON may hold, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def fold_case(text: str) -> str:
    """Return a string that is equal for texts that differ only in case, Unicode form and white space (NFKC)."""
    return clean(unicodedata.normalize("NFKC", text).casefold())


# Letters that Unicode does not decompose into a base letter and a mark.
_LATIN = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ı": "i", "þ": "th", "ð": "d", "ħ": "h"}
# Greek as Latin and the languages of medicine borrowed it, not as it is pronounced today.
_GREEK = dict(
    zip("αβγδεζηθικλμνξοπρσςτυφχψω", "a b g d e z e th i c l m n x o p r s s t y ph ch ps o".split(), strict=True)
)
_GREEK_PAIRS = {"αι": "ae", "ει": "i", "οι": "oe", "ου": "u", "γγ": "ng", "γκ": "nc", "γχ": "nch", "γξ": "nx"}
_CYRILLIC = dict(
    zip(
        "абвгґдѓеєжзиіїйјкќлљмнњопрстћуўфхцџчшщъыьэюяђ",
        "a b v g g d g e e z z i i i i i k k l l m n n o p r s t c u u f h c g c s s _ i _ e iu ia g".split(),
        strict=True,
    )
)
_LETTERS = str.maketrans({**_LATIN, **_GREEK, **{c: t.replace("_", "") for c, t in _CYRILLIC.items()}})
_GREEK_LETTERS = str.maketrans(_GREEK)
_GREEK_LETTER = "[\u0370-\u03ff\u1f00-\u1fff]"
_GREEK_RUN = re.compile(f"{_GREEK_LETTER}+")
_GREEK_PAIR = re.compile("|".join(_GREEK_PAIRS))
_KANA = re.compile("[ぁ-ゖァ-ヺー]+")
# accents of Latin, Greek and Cyrillic; points of Hebrew and Arabic
_ACCENT = re.compile("[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670]")
_NOT_WORD = re.compile(r"[\W_]+")
# Scripts written without spaces between words (kana become Latin before).
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_RUN = re.compile(f"([{_UNSPACED}]+)")


def unspaced_letters(text: str) -> int:
    """Return how many letters of a text belong to a script that is written without spaces between words."""
    return 0 if text.isascii() else sum(map(len, _UNSPACED_RUN.findall(text))) + sum(map(len, _KANA.findall(text)))


# Ranges of letters by script. A text in one of them may hold Latin letters, never the other way round; but lone letters
# of Greek are symbols in any language, and lone Cyrillic ones slips of the keyboard.
_SCRIPTS = {
    "greek": "\u0370-\u03ff\u1f00-\u1fff",
    "cyrillic": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "kana": "\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fd-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "han": "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff",
    "hangul": "\u1100-\u11ff\u3131-\u318e\ua960-\ua97c\uac00-\ud7fb",
    "thai": "\u0e01-\u0e4e",
    "arabic": "\u0620-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufefc",
}
_BORROWED = ("greek", "cyrillic")
_LANG_OF_SCRIPT = {"greek": "el", "kana": "ja", "han": "zh", "hangul": "ko", "thai": "th"}
_OTHER_LANGS = {
    # further scripts that one language writes, or one by far the most
    "hy": "\u0531-\u058a", "he": "\u05d0-\u05f4", "hi": "\u0900-\u097f", "bn": "\u0980-\u09ff", "pa": "\u0a00-\u0a7f",
    "gu": "\u0a80-\u0aff", "or": "\u0b00-\u0b7f", "ta": "\u0b80-\u0bff", "te": "\u0c00-\u0c7f", "kn": "\u0c80-\u0cff",
    "ml": "\u0d00-\u0d7f", "si": "\u0d80-\u0dff", "lo": "\u0e81-\u0eff", "my": "\u1000-\u109f", "ka": "\u10a0-\u10ff",
    "am": "\u1200-\u137f", "km": "\u1780-\u17ff",
}  # fmt: skip
_LATIN_LETTER = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff\uff21-\uff3a\uff41-\uff5a]")
_IN_SCRIPT = {script: re.compile(f"[{letters}]") for script, letters in _SCRIPTS.items()}
_WORD_IN = {script: re.compile(f"[{_SCRIPTS[script]}][{_SCRIPTS[script]}\u0300-\u036f]{{3,}}") for script in _BORROWED}
_IN_OTHER = {lang: re.compile(f"[{letters}]") for lang, letters in _OTHER_LANGS.items()}
# letters with a horn, or with a mark of tone over another; of Vietnamese alone but for the dotted e, i, o, u of Yoruba
# and Igbo, which Vietnamese is told from by a circumflex, a breve or a crossed d
_VIETNAMESE = re.compile("[ơưƠƯạẠảẢ\u1ea4-\u1eb7\u1eba-\u1ec9\u1ece-\u1ee3\u1ee6-\u1ef9]")
_DOTTED, _ALSO_VIETNAMESE = re.compile("[ẹẸịỊọỌụỤ]"), re.compile("[âÂăĂđĐêÊôÔ]")
_UKRAINIAN, _BELARUSIAN = re.compile("[їЇєЄґҐ]"), re.compile("[ўЎ]")


def script_of(text: str) -> str:
    """Return what a text is written in: `latin`, `cyrillic`, `greek`, `han`, `kana` (with Han or without), `hangul`,
    `thai`, `arabic`, or `other`, which is any other script or no letter at all."""
    if text.isascii():
        return "latin" if _LATIN_LETTER.search(text) else "other"
    latin = bool(_LATIN_LETTER.search(text))
    counts = {script: len(letter.findall(text)) for script, letter in _IN_SCRIPT.items()}
    for script in _BORROWED:
        if latin and not _WORD_IN[script].search(text):
            counts[script] = 0
    if counts["kana"]:
        return "kana"
    script = max(counts, key=lambda s: counts[s])  # of equal ones the first
    if counts[script]:
        return script
    return "latin" if latin and not _other_lang(text) else "other"


def guess_lang(text: str) -> str | None:
    """Return the main code of the language that a text's script and letters alone tell; None where several languages
    are written so, as with plain Latin, Cyrillic and Arabic letters.

    Kana is Japanese, Han without kana Chinese, though a Japanese name may well be that; Vietnamese is told by letters
    that no other language has, Ukrainian and Belarusian likewise.
    """
    if text.isascii():
        return None
    text = unicodedata.normalize("NFC", text)
    script = script_of(text)
    if script == "greek":  # lone letters are symbols
        return "el" if _WORD_IN["greek"].search(text) else None
    if script == "cyrillic":
        return "uk" if _UKRAINIAN.search(text) else "be" if _BELARUSIAN.search(text) else None
    if script == "latin":
        dotted = _DOTTED.search(text) and _ALSO_VIETNAMESE.search(text)
        return "vi" if _VIETNAMESE.search(text) or dotted else None
    return _LANG_OF_SCRIPT.get(script) or (_other_lang(text) if script == "other" else None)


def lang_of(text: str, lang: str | None) -> str | None:
    """Return the main code of a text's language: of the one given, else what `guess_lang` says."""
    code = main_lang(lang_code(lang)) if lang else ""
    return code if code not in ("", "und") else guess_lang(text)


def _other_lang(text: str) -> str | None:
    counts = {lang: len(letter.findall(text)) for lang, letter in _IN_OTHER.items()}
    best = max(counts, key=lambda lang: counts[lang])
    return best if counts[best] else None


def fold(text: str) -> str:
    """Return lower-case words in Latin letters where that is possible, single-spaced.

    Case, accents and punctuation are dropped; Greek, Cyrillic and kana are transliterated; Han, Hangul, Thai, Arabic
    and other scripts stay. Runs of a script without spaces stand apart from their surroundings. A text without any
    letter or digit is returned as `fold_case` has it, so that nothing but an empty text becomes empty.
    """
    plain = text = fold_case(text)
    if not text.isascii():
        text = _KANA.sub(_romanise, text)
        text = _ACCENT.sub("", unicodedata.normalize("NFKD", romanise_greek(text))).translate(_LETTERS)
        text = unicodedata.normalize("NFC", text)  # Hangul back into syllables
        # marks are the vowels of Thai or Devanagari, so they are letters here
        text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # soft hyphens, joiners, direction marks
        letters = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in text)
        folded = " ".join(_UNSPACED_RUN.sub(r" \1 ", letters).split())
    else:
        folded = _NOT_WORD.sub(" ", text).strip()
    return folded or plain


def without_accents(text: str) -> str:
    """Return a text without accents and vowel points, in its own script: `ά` becomes `α`, `й` `и`."""
    return text if text.isascii() else unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", text)))


def romanise_greek(text: str) -> str:
    """Return a text with its Greek words in lower-case Latin letters, spelt as Latin took them over, and lone letters
    by their names: `β-thalassaemia` becomes `beta-thalassaemia`."""
    return _GREEK_RUN.sub(_romanise_greek_run, text) if not text.isascii() else text


def _romanise_greek_run(match: re.Match[str]) -> str:
    run = match[0]
    if len(run) == 1:
        name = unicodedata.name(unicodedata.normalize("NFD", run)[0], "").rpartition(" ")[2].lower()
        following, before = match.string[match.end() : match.end() + 1], match.string[: match.start()][-1:]
        return (" " if before.isalnum() else "") + name + (" " if following.isalnum() else "")
    plain = _ACCENT.sub("", unicodedata.normalize("NFD", run.casefold()))
    return _GREEK_PAIR.sub(lambda m: _GREEK_PAIRS[m[0]], plain).translate(_GREEK_LETTERS)


@lru_cache(maxsize=4096)
def _kana(letter: str) -> str:
    """Return the romanisation that Unicode's own name of a kana letter gives: KATAKANA LETTER SMALL TU -> tu."""
    return unicodedata.name(letter, "").rpartition(" ")[2].lower()


def _romanise(match: re.Match[str]) -> str:
    letters: list[str] = []
    for letter in match[0]:
        sound = _kana(letter)
        if letter == "ー":  # prolongs the vowel before it
            continue
        if letters and "SMALL" in unicodedata.name(letter, "") and sound[:1] == "y":  # キャ: ki + small ya = kya
            letters[-1] = letters[-1].rstrip("i")
        letters.append("" if letter in "っッ" else sound)
    return f" {''.join(letters)} "


_COGNATES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[ao]e", "e"),
        (r"ph", "f"),
        (r"sch", "sk"),
        (r"ch|qu|ck", "k"),
        (r"c(?=[eiy])", "s"),
    )
]
_COGNATE_LETTERS = str.maketrans({"c": "k", "q": "k", "x": "ks", "y": "i", "w": "v", "j": "i", "z": "s"})
_SILENT = re.compile(r"(?<=\w)h|h(?=\w)")
_DOUBLED = re.compile(r"([^\W\d_])\1+")


def cognate(folded: str) -> str:
    """Return a folded text in a spelling that European languages share for words of Greek and Latin origin.

    Cardiomyopathy, Kardiomyopathie, miocardiopatía and καρδιομυοπάθεια differ by their languages' spelling rules more
    than by their sounds: ph is f, th t, ch, ck, qu and hard c k, ae and oe e, y i, z s, and no letter is doubled.
    """
    return " ".join([_cognate_word(word) for word in folded.split(" ")])


@lru_cache(maxsize=1 << 16)
def _cognate_word(word: str) -> str:
    spelt = word
    for pattern, replacement in _COGNATES:
        spelt = pattern.sub(replacement, spelt)
    return _DOUBLED.sub(r"\1", _SILENT.sub("", spelt.translate(_COGNATE_LETTERS))) or word


_HASH = np.random.Generator(np.random.PCG64(20250101)).integers(1, 2**63, 64, np.uint64) | np.uint64(1)
"""Odd multipliers of the polynomial hash, one for each position; part of the index format."""


def hash_ngrams(texts: Sequence[str], sizes: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Return the character n-grams of folded texts as 64-bit hashes.

    Words are padded with a space on either side and n-grams stay inside a word, as scikit-learn's `char_wb`; a padded
    word that is shorter than the least n is one n-gram. In runs of a script without spaces n-grams are of 1 to 3
    characters, for there a word may be a single one.

    Args:
        texts: single-spaced, as `fold` and `cognate` return them; not empty.
        sizes: the least and the greatest n, from 1 to 8.

    Returns:
        The position of the text, ascending, and the hash, both of shape (n-grams,), one row an occurrence.
    """
    # each text is padded, and ended by a zero that no n-gram may hold
    joined = "".join(f" {text} \0" for text in texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    ends = codes == 0
    owner = np.cumsum(ends) - ends
    spaces, unspaced = codes == 32, _is_unspaced(codes)
    owners, hashes = [], []
    for n in range(1, max(sizes[1], 3) + 1):
        size = len(codes) - n + 1
        if size <= 0:
            break
        windows = [slice(i, size + i) for i in range(n)]
        # inside one text, and no space but at either end
        inside = ~np.logical_or.reduce([ends[w] for w in windows])
        if n > 2:
            inside &= ~np.logical_or.reduce([spaces[w] for w in windows[1:-1]])
        touches = np.logical_or.reduce([unspaced[w] for w in windows])
        wide = touches & (n <= 3)
        if n > sizes[1]:
            wanted = wide
        elif n < sizes[0]:  # and words that are too short for anything longer, whole
            wanted = wide | (spaces[windows[0]] & spaces[windows[-1]] & (n > 2))
        else:
            wanted = wide | ~touches
        if n == 1:
            wanted = wanted & ~spaces[windows[0]]
        at = np.flatnonzero(inside & wanted)
        value = np.full(len(at), n, np.uint64) * _HASH[8 * (n - 1)]
        for i in range(n):
            value += codes[at + i] * _HASH[8 * (n - 1) + i]
        owners.append(owner[at])
        hashes.append(value ^ (value >> np.uint64(31)))
    owner, value = np.concatenate(owners), np.concatenate(hashes)
    order = np.argsort(owner, kind="stable")
    return owner[order], value[order]


def _is_unspaced(codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Return which code points belong to a script that is written without spaces."""
    found = np.zeros(len(codes), bool)
    for start, end in zip(_UNSPACED[0::3], _UNSPACED[2::3], strict=True):
        found |= (codes >= ord(start)) & (codes <= ord(end))
    return found
