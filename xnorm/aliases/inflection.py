"""Singular, plural and simple case endings of names, by a table of endings a language.

What is inflected is the head of a name: in English, German and Dutch the last word before the first preposition, in
French, Italian, Portuguese and Spanish all words before it, for adjectives agree. German adjectives before the head get
the endings of the oblique cases, too. A name with a word that no rule knows gets no other form: a form that is missing
costs less than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, NamedTuple

from xnorm.aliases._variants import VariantConfig, VariantMaker
from xnorm.aliases.base import AliasConfig

__all__ = ["InflectionConfig", "InflectionMaker"]


class InflectionConfig(VariantConfig):
    """Inflection; it has no parameters of its own."""


class Endings(NamedTuple):
    """How words of a language end; a word takes the first that fits, in the order of the fields."""

    fixed: str
    """Endings of words without another form, or with one that is not told by the ending."""
    singular: tuple[tuple[str, str], ...]
    """Endings of a plural, as regular expressions, and what they become in the singular."""
    plural: tuple[tuple[str, str], ...]
    """Endings of a singular, and what they become in the plural."""


def _rules(lines: str) -> tuple[tuple[str, str], ...]:
    """Return rules from lines of `ending > other ending`; nothing behind the sign is an empty ending."""
    pairs = (line.partition(">") for line in lines.strip().splitlines())
    return tuple((ending.strip(), other.strip()) for ending, _, other in pairs)


ENDINGS: dict[str, Endings] = {
    "en": Endings(
        # of words in -ity few can be counted: abnormalities and cavities, but no obesities
        r"(?<!rmal)(?<!form)(?<!regular)(?<!opac)(?<!cav)(?<!extrem)(?<!disabil)(?<!morbid)(?<!tuberos)(?<!personal)ity|"
        r"puberty|"
        r"ness|ing|ed|ous|ic|ive|[ai]ble|less|ful|ia|itis|uria|pn(o)?ea|iasis|abetes|measles|mumps|rickets|rabies|"
        r"herpes|series|species|caries|scabies|fa?eces|pancreas|biceps|ascites|atlas|lens|stomach|[aou]us",
        _rules(r"""
            ([a-z]{4}o|sta|[a-z]y)ses > \1sis
            ([^aeiou])ies > \1y
            aches > ache
            auses > ause
            uses > us
            (ss|x|ch|sh)es > \1
            ([^aeiousy])s > \1
            ([aeoy])s > \1
        """),
        _rules(r"""
            ([a-z])sis > \1ses
            (x|sh|ch|ss) > \1es
            ([^aeiou])y > \1ies
            ([^s]) > \1s
        """),
    ),
    "de": Endings(
        r"e[lr]|webe|[ui]s",
        _rules(r"""
            (ung|heit|keit|schaft|ion|tät|enz|anz|ur)en > \1
            (ie|os|as|es|ys)en > \1e
            itiden > itis
            (om|ödem)e > \1
        """),
        _rules(r"""
            (ung|heit|keit|schaft|ion|tät|enz|anz|ur) > \1en
            e > en
            (om|ödem) > \1e
        """),
    ),
    "es": Endings(
        r"[iuáéíóú]s|ps|caries|herpes|diabetes",
        _rules(r"""
            iones > ión
            ([a-z])ces > \1z
            ([ao]r|[aei]l|er|dad|tud)es > \1
            ([^i])ones > \1ón
            ([ao]|te|ble|[db]re|nde|me|ve|ñe)s > \1
        """),
        _rules(r"""
            ón > ones
            z > ces
            ([lrd]) > \1es
            ([aeoéá]) > \1s
        """),
    ),
    "fr": Endings(
        r"[uiaoè]s|[pu]s|[cp]ours|corps|eu|[^a-zéèêëàâîïôûùç]",
        _rules(r"""
            eaux > eau
            aux > al
            ([eé]|[tnrldc])s > \1
        """),
        _rules(r"""
            eau > eaux
            al > aux
            ([^sxz]) > \1s
        """),
    ),
    "it": Endings(
        r"[oaei]si|[àèìòùé]|serie|specie|carie|[^i][cg]o|[^aeio]",
        _rules(r"""
            ioni > ione
            iche > ica
            ici > ico
            ie > ia
            ze > za
            (al|ar|it|ent|ant|iv|il)i > \1e
            omi > oma
        """),
        _rules(r"""
            (e|o)ma > \1mi
            ([cg])a > \1he
            ico > ici
            io > i
            a > e
            [oe] > i
        """),
    ),
    "nl": Endings(
        r"itis|[aou]s",
        _rules(r"""
            ingen > ing
            heden > heid
            ties > tie
            omen > oom
            nissen > nis
            ziekte[ns] > ziekte
        """),
        _rules(r"""
            ing > ingen
            heid > heden
            tie > ties
            oom > omen
            nis > nissen
            ziekte > ziekten
        """),
    ),
    "pt": Endings(
        r"([^aé]i|u|[áêé])s|il",
        _rules(r"""
            ões > ão
            ([^e])ais > \1al
            éis > el
            ([rz])es > \1
            ns > m
            ([aeoã])s > \1
        """),
        _rules(r"""
            ão > ões
            al > ais
            el > éis
            ([rz]) > \1es
            m > ns
            ([aeoã]) > \1s
        """),
    ),
}
"""By language."""

AGREEING = frozenset(("es", "fr", "it", "pt"))
"""Languages whose adjectives stand behind the noun, and agree with it."""
CASES: dict[str, tuple[str, ...]] = {"e": ("en", "er"), "er": ("en", "em"), "es": ("en", "em")}
"""Ending of a German adjective in the nominative -> endings before the same form of a noun in other cases."""

PREPOSITIONS: dict[str, frozenset[str]] = {
    "en": frozenset("of in with without due to on by from at for after during as into and or".split()),
    "de": frozenset(
        "der des dem den die das von vom in im am an bei durch mit ohne und oder zu zum zur nach vor aus auf über "
        "unter hinter eines einer als".split()
    ),
    "es": frozenset("de del en por con sin a al y o e u".split()),
    "fr": frozenset("de du des d' en par avec sans à au aux et ou sur sous dans".split()),
    "it": frozenset("di del della dello dei delle degli da dal in nel nella per con senza a al e o".split()),
    "nl": frozenset("van de het een in met zonder door bij na voor op en of".split()),
    "pt": frozenset("de do da dos das em no na por com sem a ao e ou".split()),
}
"""Words that end what is inflected."""

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LEAST = 4
"""The least letters of a word that is inflected."""
_MOST = 3
"""The most words that agree."""


class InflectionMaker(VariantMaker):
    """Makes forms of names of plain words; names with digits, brackets or commas are left alone."""

    config_class: ClassVar[type[AliasConfig]] = InflectionConfig
    config: InflectionConfig
    languages = frozenset(ENDINGS)

    def variants(self, text: str, lang: str) -> Sequence[str]:
        words = text.split(" ")
        stops = (i for i, word in enumerate(words) if word.lower() in PREPOSITIONS[lang] or word[1:2] in ("'", "’"))
        end = next(stops, len(words))
        head, rest = words[:end], words[end:]
        if not head or not all(_WORD.fullmatch(word) for word in head):
            return ()
        if lang in AGREEING:
            forms = _agreeing(head, lang)
        elif lang == "de":
            forms = _german(head)
        else:
            other = _other(head[-1], lang)
            forms = [] if other is None else [[*head[:-1], other[1]]]
        return [" ".join([*form, *rest]) for form in forms]


def _agreeing(head: list[str], lang: str) -> list[list[str]]:
    """Return the form in which all words have the other number."""
    if len(head) > _MOST or not all(word.islower() for word in head[1:]):
        return []
    found = [_other(word, lang) for word in head]
    others = [other for other in found if other is not None]
    if len(others) < len(head) or len({number for number, _ in others}) > 1:
        return []
    return [[word for _, word in others]]


def _german(head: list[str]) -> list[list[str]]:
    """Return the other number of a noun, and the other cases of the adjectives before it."""
    *before, noun = head
    if not noun[:1].isupper():
        return []
    endings = {_adjective_ending(word) for word in before}
    if len(endings) > 1 or None in endings:
        return []
    forms = []
    ending = endings.pop() if endings else None
    other = _other(noun, "de")
    if other is not None and (ending is None or (ending == "e" and other[0] == "plural")):
        forms.append([*before, other[1]])
    if ending is not None:
        forms += [[*(word[: -len(ending)] + case for word in before), noun] for case in CASES[ending]]
    return forms


def _adjective_ending(word: str) -> str | None:
    return next((e for e in ("er", "es", "e") if word.endswith(e) and word[1:].islower() and len(word) > _LEAST), None)


@lru_cache(maxsize=1 << 16)
def _other(word: str, lang: str) -> tuple[str, str] | None:
    """Return the other number of a word, and which one it is; None where no rule knows it."""
    endings = ENDINGS[lang]
    lower = word.lower()
    if len(word) < _LEAST or not word[1:].islower() or re.search(f"(?:{endings.fixed})$", lower):
        return None
    for number in ("singular", "plural"):
        for ending, other in getattr(endings, number):
            found = re.search(f"(?:{ending})$", lower)
            if found:
                form = lower[: found.start()] + found.expand(other)
                return (number, word[0] + form[1:]) if len(form) >= _LEAST - 1 else None
    return None
