"""Names with their words in another order: `Failure, Heart` and `Heart Failure`, `lung neoplasm` and
`neoplasm of lung`.

Rules are few and of single languages: a comma is turned around where English, German or Dutch put an adjective first,
and left out where French, Italian, Portuguese and Spanish put it last; `of` is turned around in English for disorders
of parts of the body.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar

from xnorm.aliases._variants import VariantConfig, VariantMaker
from xnorm.aliases.base import AliasConfig

__all__ = ["WordOrderConfig", "WordOrderMaker"]


class WordOrderConfig(VariantConfig):
    """Which orders are made."""

    inverted: bool = False
    """Whether English names of two words get the order of a printed index, too: `failure, heart`."""


_FIRST = frozenset(("de", "en", "nl"))
"""Languages in which what stands behind the comma goes before the noun."""
_LAST = frozenset(("es", "fr", "it", "pt"))
"""Languages in which it stays behind it."""
_BINDING = frozenset(
    "and or not nos nec with without due other others unspecified specified except excluding including of in by to for "
    "from as at on into during after before "
    "und oder nicht mit ohne durch bei in im nach vor von zu als sonstige andere "
    "en of niet met zonder door bij na voor van "
    "et ou non avec sans par à au dans de du des d'un d'une autre autres "
    "y o e no con sin por a en de del al otro otra otros otras "
    "ed senza per da di del della dei delle nel nella altro altra altri altre "
    "com sem em do da dos das no na outro outra outros outras".split()
)
"""Words that say that a comma stands between things of a list, or that what follows is no attribute."""
_ODD = re.compile(r"[^\w\s,'’.-]")
_NUMBERED = re.compile(
    r"(?i)(type|grade|stage|class|group|typ|grad|stadium|graad|tipo|grado|grau) (\d{1,2}|[ivx]{1,4})[a-z]?"
)
"""An attribute that may hold a number: `Diabetes mellitus, type 2`."""
_WORDS = 3
"""The most words of an attribute."""

_HEADS = frozenset(
    "abnormality abnormalities abscess absence adenoma agenesis anomaly anomalies aplasia atrophy biopsy cancer "
    "carcinoma calcification cirrhosis congestion cyst cysts defect deformity degeneration disease diseases disorder "
    "disorders dysfunction dysplasia edema oedema embolism enlargement failure fibrosis fracture fractures granuloma "
    "hemorrhage haemorrhage hernia hyperplasia hypertrophy hypoplasia infarction infection infections inflammation "
    "injury injuries ischemia ischaemia lesion lesions malformation malformations metastasis metastases necrosis "
    "neoplasm neoplasms obstruction pain perforation rupture sarcoma sclerosis stenosis swelling thrombosis "
    "transplantation tumor tumors tumour tumours ulcer ulcers".split()
)
"""What is of a part of the body."""
_SITES = frozenset(
    "abdomen adrenal ankle aorta appendix arm artery back bladder blood bone bowel brain breast bronchus cartilage "
    "cervix chest colon cornea diaphragm ear elbow esophagus oesophagus eye eyelid face finger foot gallbladder "
    "gland hair hand head heart hip intestine iris jaw joint kidney knee larynx leg lens lip liver lung lymph mandible "
    "maxilla mouth muscle nail nasopharynx neck nerve nipple nose orbit ovary palate pancreas parathyroid penis "
    "pericardium peritoneum pharynx pituitary placenta pleura prostate rectum retina rib scalp scrotum shoulder "
    "sinus skeleton skin skull spine spleen stomach tendon testis thigh throat thumb thymus thyroid toe tongue tonsil "
    "tooth trachea ureter urethra uterus vagina vein ventricle vulva wrist".split()
)
"""Parts of the body, as nouns that may stand before another."""
_OF = re.compile(r"(?i)((?:[\w-]+ )?([\w-]+)) of (?:the )?((?:[\w-]+ )?([\w-]+))")


class WordOrderMaker(VariantMaker):
    """Makes at most two other orders of a name; names with brackets, slashes and the like are left alone."""

    config_class: ClassVar[type[AliasConfig]] = WordOrderConfig
    config: WordOrderConfig
    languages = _FIRST | _LAST

    def variants(self, text: str, lang: str) -> Sequence[str]:
        if _ODD.search(text):
            return ()
        forms = [_without_comma(text, lang)]
        if lang == "en":
            forms += [_site_first(text), _site_last(text)]
            if self.config.inverted:
                forms.append(_inverted(text))
        return [form for form in forms if form is not None]


def _without_comma(text: str, lang: str) -> str | None:
    """Return a name whose attribute stands behind a comma, with the attribute in its place."""
    head, comma, attribute = text.partition(", ")
    words = attribute.split()
    if not comma or "," in head or "," in attribute or not head or not 0 < len(words) <= _WORDS:
        return None
    if any(word.lower() in _BINDING for word in (words[0], words[-1], head.split()[-1])):
        return None
    if {"and", "or", "und", "oder", "en", "et", "ou", "y", "o", "e"} & {word.lower() for word in words}:
        return None
    if {words[-1].lower(), head.split()[-1].lower()} <= _SITES:
        return None
    if re.search(r"\d", attribute) and not _NUMBERED.fullmatch(attribute):
        return None
    if lang in _LAST:
        return f"{head} {attribute}"
    return f"{attribute} {_lowered(head, lang) if attribute[0].islower() else head}"


def _site_first(text: str) -> str | None:
    """Return `lung neoplasm` of `neoplasm of lung`, `malignant lung neoplasm` of `malignant neoplasm of the lung`."""
    found = _OF.fullmatch(text)
    if found is None or found[2].lower() not in _HEADS or found[4].lower() not in _SITES:
        return None
    words = [*found[1].split(), *found[3].split()]
    if any(word.lower() in _BINDING for word in words):
        return None
    *adjective, head = found[1].split()
    head = _lowered(head, "en") if found[3][0].islower() else head
    return " ".join([*adjective, found[3], head])


def _site_last(text: str) -> str | None:
    """Return `neoplasm of lung` of `lung neoplasm`."""
    where, space, what = text.partition(" ")
    if not space or where.lower() not in _SITES or what.lower() not in _HEADS:
        return None
    return f"{what} of {_lowered(where, 'en')}"


def _inverted(text: str) -> str | None:
    """Return `failure, heart` of `heart failure`."""
    words = text.split(" ")
    if len(words) != 2 or not all(re.fullmatch(r"[^\W\d_]{3,}", word) for word in words):
        return None
    return None if {word.lower() for word in words} & _BINDING else f"{words[1]}, {_lowered(words[0], 'en')}"


def _lowered(text: str, lang: str) -> str:
    """Return a text that begins in lower case, unless its first word is a noun of German or no plain word."""
    first = text.split(" ")[0]
    return text if lang == "de" or not first[1:].islower() else text[0].lower() + text[1:]
