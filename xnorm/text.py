"""The one home of Unicode normalisation, script detection and n-gram analysis."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["clean", "lang_code"]

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


def lang_code(lang: str) -> str:
    """Return a language code in one form: lower case, hyphens, two letters where ISO 639-1 has them.

    `GER`, `deu` and `de` are `de`; `pt_BR` is `pt-br`; an empty code is `und` (undetermined).
    """
    code = lang.strip().lower().replace("_", "-")
    main, hyphen, rest = code.partition("-")
    return (_ISO_639_1.get(main, main) + hyphen + rest) or "und"
