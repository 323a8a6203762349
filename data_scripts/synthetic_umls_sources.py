"""The vocabularies of the synthetic UMLS release: which there are, what they hold, how they write their codes.

Names of vocabularies and term types are those of the real Metathesaurus; shares, precedence and codes are made up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from synthetic_umls_names import LANGUAGES, Numbers, join

__all__ = ["HIERARCHIES", "THEMES", "Theme", "Vocabularies"]


@dataclass(frozen=True)
class Theme:
    """What some concepts are about."""

    share: float
    """Of the concepts."""
    translated: float
    """Share of its concepts with names in many languages."""
    types: dict[str, float]
    """Semantic type -> weight."""
    vocabularies: dict[str, float]
    """English vocabulary -> share of the names; what is missing to 1 goes to small vocabularies."""


def _weights(text: str) -> dict[str, float]:
    words = text.split()
    return {name: float(weight) for name, weight in zip(words[::2], words[1::2], strict=True)}


THEMES = (
    Theme(0.22, 0.12,
        _weights("T047 35 T033 25 T037 10 T191 8 T046 6 T184 4 T048 4 T019 3 T049 2 T020 1 T190 1 T050 1"),
        _weights("SNOMEDCT_US .27 MEDCIN .20 MTH .09 ICD10CM .07 NCI .06 MDR .05 CHV .05 OMIM .04 MSH .04 ICD9CM .02 "
                 "HPO .02 ICD10AM .01")),
    Theme(0.10, 0.05, _weights("T061 55 T060 20 T058 12 T059 10 T063 3"),
        _weights("SNOMEDCT_US .26 ICD10PCS .25 MEDCIN .15 MTH .07 CPT .05 NCI .04 HCPCS .03 LNC .03 CHV .02 MSH .02")),
    Theme(0.22, 0.03,
        _weights("T109 34 T121 25 T200 25 T123 5 T129 3 T197 2 T195 2 T122 2 T130 1 T131 1"),
        _weights("RXNORM .28 MSH .25 NDDF .08 NCI .07 MTHSPL .06 SNOMEDCT_US .06 MMSL .05 VANDF .04 GS .03 "
                 "DRUGBANK .02 ATC .01")),
    Theme(0.20, 0.01,
        _weights("T007 25 T002 25 T204 20 T004 10 T005 7 T012 4 T013 4 T014 2 T015 2 T194 1"),
        _weights("NCBI .70 SNOMEDCT_US .12 MSH .06 NCI .02 LNC .02")),
    Theme(0.10, 0.005, _weights("T028 45 T116 40 T126 10 T086 5"),
        _weights("HGNC .25 NCI .17 MSH .16 OMIM .12 MTH .10 GO .05 FMA .02")),
    Theme(0.05, 0.10, _weights("T023 60 T029 20 T025 10 T024 5 T026 5"),
        _weights("FMA .45 SNOMEDCT_US .25 UWDA .10 NCI .05 MSH .05 GO .03")),
    Theme(0.06, 0.05, _weights("T201 60 T034 20 T059 20"),
        _weights("LNC .75 SNOMEDCT_US .08 NCI .05 MEDCIN .04")),
    Theme(0.05, 0.08, _weights("T074 30 T170 20 T081 10 T080 10 T078 10 T082 8 T168 5 T073 5 T079 2"),
        _weights("SNOMEDCT_US .20 NCI .20 MSH .10 UMD .10 LNC .10 MTH .05 CHV .03")),
)  # fmt: skip
"""Disorders, procedures, chemicals, organisms, genes, anatomy, measurements, the rest."""

_SMALL = (
    "AIR ALT AOD AOT BI CCC CCPSS CCS CCSR_ICD10CM CCSR_ICD10PCS CDCREC CDT COSTAR CPM CSP CST CVX DDB DSM-5 DXP HCDT "
    "HCPT HL7V2.5 HL7V3.0 ICD10 ICD10AE ICD10AMAE ICF ICF-CY ICNP ICPC ICPC2EENG ICPC2ICD10ENG ICPC2P JABL LCH LCH_NW "
    "MCM MED-RT MEDLINEPLUS MMX MTHCMSFRF MTHHH MTHICD9 MTHICPC2EAE MTHICPC2ICD10AE MTHMST MVX NANDA-I NCI_BRIDG_5_3 "
    "NCI_BioC NCI_CDC NCI_CDISC NCI_CDISC-GLOSS NCI_CPTAC NCI_CRCH NCI_CTCAE NCI_CTCAE_3 NCI_CTCAE_5 NCI_CTEP-SDC "
    "NCI_CTRP NCI_CareLex NCI_DCP NCI_DICOM NCI_DTP NCI_EDQM-HC NCI_FDA NCI_GAIA NCI_GDC NCI_GENC NCI_ICDC NCI_ICH "
    "NCI_INC NCI_JAX NCI_KEGG NCI_NCI-GLOSS NCI_NCI-HGNC NCI_NCI-HL7 NCI_NCPDP NCI_NICHD NCI_PCDC NCI_PI-RADS NCI_PID "
    "NCI_RENI NCI_UCUM NCI_ZFin NDFRT NEU NIC NOC NUCCHCPT OMS ORPHANET PCDS PDQ PNDS PPAC PSY QMR RAM RCD RCDAE RCDSA "
    "RCDSY SNM SNMI SNOMEDCT_VET SOP SPN ULT USP USPMG WHO"
).split()
"""English vocabularies with few names, in all themes."""
_TRANSLATIONS = {
    "CHI": "MDRCHI .7 LNC-ZH-CN .3", "CZE": "MSHCZE .45 MDRCZE .55", "DAN": "ICPCDAN 1",
    "DUT": "MDRDUT .4 MSHDUT .2 ICD10DUT .1 ICPC2EDUT .02 LNC-NL-NL .28", "EST": "LNC-ET-EE .9 MDREST .1",
    "FIN": "MSHFIN .6 MDRFIN .35 ICPCFIN .05", "FRE": "MDRFRE .3 MSHFRE .35 LNC-FR-FR .2 LNC-FR-CA .13 WHOFRE .02",
    "GER": "MSHGER .4 MDRGER .45 LNC-DE-DE .05 DMDICD10 .05 ICPCGER .02 WHOGER .03", "GRE": "MDRGRE .6 LNC-EL-GR .4",
    "HEB": "ICPCHEB 1", "HUN": "MDRHUN .97 ICPCHUN .03", "ITA": "MDRITA .4 MSHITA .25 LNC-IT-IT .34 MTHMSTITA .01",
    "JPN": "MDRJPN .55 MSHJPN .45", "KOR": "MDRKOR .5 LNC-KO-KR .2 KCD5 .2 TKMT .1", "LAV": "MSHLAV .4 MDRLAV .6",
    "NOR": "MSHNOR .95 ICPCNOR .05", "POL": "MSHPOL .5 MDRPOL .5",
    "POR": "MDRPOR .35 MSHPOR .3 MDRBPO .15 LNC-PT-BR .2",
    "RUS": "MDRRUS .4 MSHRUS .3 LNC-RU-RU .3", "SCR": "MSHSCR .7 ICPCSCR .3", "SWE": "MSHSWE .5 MDRSWE .45 ICPCSWE .05",
    "SPA": "SCTSPA .72 MDRSPA .08 MSHSPA .06 LNC-ES-ES .1 LNC-ES-AR .02 WHOSPA .02", "TUR": "LNC-TR-TR 1",
    "UKR": "LNC-UK-UA 1",
}  # fmt: skip
"""Language -> vocabularies of its own and their shares."""

# vocabulary or family -> "first name of a concept: weights / further names: weights"; term types that begin with OA,
# OC, OF, OL or OP are obsolete, those in lower case here are suppressible
_TERM_TYPES = {
    "SNOMEDCT_US": "PT 90 OAP 10 / FN 42 SY 40 OAF 7 OAS 6 PTGB 3 is 8",
    "MEDCIN": "PT 80 FN 20 / SY 60 XM 10 fn 30",
    "RXNORM": "SCD 25 IN 15 SBD 20 PIN 5 BN 10 OCD 25 / SY 40 TMSY 20 psn 25 SCDC 15",
    "MSH": "MH 20 NM 80 / ET 55 PM 25 PEP 8 N1 7 DEV 5",
    "NCI": "PT 97 OP 3 / SY 75 FBD 5 AB 12 dn 8",
    "NCBI": "SCN 100 / SY 55 EQ 15 USN 30",
    "LNC": "LN 55 LPN 35 OLC 10 / OSN 40 LC 45 lo 15",
    "ICD10CM": "PT 60 HT 40 / ET 45 ab 55",
    "ICD10PCS": "PT 65 PX 30 HT 5 / XM 40 ab 60",
    "ICD9CM": "PT 70 HT 30 / ab 100",
    "MDR": "PT 30 LLT 65 HT 2 OL 3 / LLT 80 ol 20",
    "MTH": "PN 85 SY 15 / NM 30 SY 60 DT 10",
    "OMIM": "PT 60 ET 40 / SY 60 ET 20 ACR 20",
    "GO": "PT 95 OP 5 / SY 50 ET 35 IS 15",
    "HPO": "PT 98 OP 2 / SY 90 ET 10",
    "HGNC": "PT 100 / SYN 50 NA 20 ACR 30",
    "FMA": "PT 100 / SY 85 OP 15",
    "CHV": "PT 85 SY 15 / SY 100",
    "SCTSPA": "PT 90 OAP 10 / FN 45 SY 42 OAF 8 OAS 5",
    "SRC": "VPT 50 RPT 50 / SSN 100",
}
_USUAL_TERM_TYPES = "PT 92 HT 8 / SY 60 ET 15 ab 25"
_FAMILIES = {"MSH": "MSH", "MDR": "MDR", "LNC": "LNC", "ICPC": "ICPC", "WHO": "WHO", "SCTSPA": "SNOMEDCT_US"}
"""Beginning of a name -> its family."""

_CODES = {
    "SNOMEDCT_US": "sct", "SCTSPA": "sct", "SNOMEDCT_VET": "sct", "MSH": "msh", "RXNORM": "rx", "NCI": "nci",
    "LNC": "lnc", "MDR": "mdr", "ICD10CM": "icd", "ICD10PCS": "icd", "ICD9CM": "icd", "ICD10AM": "icd", "HPO": "HP",
    "GO": "GO", "HGNC": "HGNC", "NCBI": "number", "MTH": "none", "CHV": "number", "MEDCIN": "number", "OMIM": "number",
}  # fmt: skip
"""Vocabulary or family -> how it writes codes; the others as `own`."""
_LEVELS = {"SNOMEDCT_US": 9, "SCTSPA": 9, "MEDCIN": 3, "MDR": 3, "CPT": 4, "NDDF": 3, "MMSL": 1, "ICPC": 0, "UMD": 1}
"""Restriction level, 0 where none is given."""
_PRECEDENCE = "MTH RXNORM MSH SNOMEDCT_US NCI HPO GO FMA NCBI HGNC LNC ICD10CM MEDCIN".split()
HIERARCHIES = {
    "SNOMEDCT_US": ("isa", "SCUI"),
    "MSH": ("", "SDUI"),
    "NCI": ("isa", "SCUI"),
    "NCBI": ("", "AUI"),
    "GO": ("isa", "SDUI"),
}
"""Vocabulary with a hierarchy -> (RELA of its rows in MRREL, type of its identifiers)."""


def _family(name: str) -> str:
    return next((family for start, family in _FAMILIES.items() if name.startswith(start)), name)


@dataclass
class Vocabularies:
    """All vocabularies; one of them with a term type is a `kind` of row."""

    names: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    kinds: list[tuple[int, str, bool]] = field(default_factory=list)
    """(vocabulary, term type, whether it is suppressible)"""

    def __post_init__(self) -> None:
        english = dict.fromkeys(name for theme in THEMES for name in theme.vocabularies)
        for name in (*english, *_SMALL, "SRC"):
            self.names.append(name)
            self.languages.append("ENG")
        for language, shares in sorted(_TRANSLATIONS.items()):
            for name in _weights(shares):
                self.names.append(name)
                self.languages.append(language)
        self._types_cdf = []
        for at, name in enumerate(self.names):
            types = _TERM_TYPES.get(name) or _TERM_TYPES.get(_family(name)) or _USUAL_TERM_TYPES
            for part in types.split("/"):
                weights = _weights(part)
                first = len(self.kinds)
                self.kinds += [(at, tty.upper(), tty.islower()) for tty in weights]
                self._types_cdf.append((first, _cumulative(list(weights.values()))))
        # a vocabulary may give a term type to first and further names: one kind, one rank
        places: dict[tuple[int, str], int] = {}
        self._canonical = np.array([places.setdefault(kind[:2], i) for i, kind in enumerate(self.kinds)])

    @cached_property
    def _choices(self) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """For each theme (English) and each other language: vocabularies and their cumulative shares."""
        number = {name: i for i, name in enumerate(self.names)}
        small = np.array([number[name] for name in _SMALL])
        zipf = 1 / np.arange(2, len(small) + 2)
        out = []
        for theme in THEMES:
            own = np.array([number[name] for name in theme.vocabularies])
            shares = np.array(list(theme.vocabularies.values()))
            rest = (1 - shares.sum()) * zipf / zipf.sum()
            out.append((np.concatenate([own, small]), _cumulative([*shares, *rest])))
        for language in LANGUAGES:
            weights = _weights(_TRANSLATIONS.get(language, "SRC 1"))
            out.append((np.array([number[name] for name in weights]), _cumulative(list(weights.values()))))
        return out

    def choose(self, rng: np.random.Generator, theme: Numbers, language: Numbers, english: int) -> Numbers:
        """Return a vocabulary for each row."""
        table = np.where(language == english, theme, len(THEMES) + language)
        return _draw(rng, table, [cdf for _, cdf in self._choices], [numbers for numbers, _ in self._choices])

    def choose_kinds(self, rng: np.random.Generator, vocabulary: Numbers, further: npt.NDArray[np.bool_]) -> Numbers:
        """Return a kind for each row, given its vocabulary and whether that names the concept a further time."""
        cdfs = [cdf for _, cdf in self._types_cdf]
        numbers = [np.arange(first, first + len(cdf)) for first, cdf in self._types_cdf]
        return np.asarray(self._canonical[_draw(rng, vocabulary * 2 + further, cdfs, numbers)])

    @cached_property
    def kind_vocabulary(self) -> Numbers:
        """The vocabulary of each kind."""
        return np.array([at for at, _, _ in self.kinds])

    @cached_property
    def kind_suppressed(self) -> npt.NDArray[np.int64]:
        """For each kind 0, 1 for suppressible or 2 for obsolete."""
        return np.array([2 if tty[:2] in ("OA", "OP", "OF", "OC", "OL") else int(low) for _, tty, low in self.kinds])

    @cached_property
    def rank(self) -> Numbers:
        """The precedence of each kind, greater is earlier, as MRRANK has it."""
        early = {name: i for i, name in enumerate(_PRECEDENCE)}

        def key(i: int) -> tuple[Any, ...]:
            at, _, suppressible = self.kinds[i]
            return suppressible, early.get(_family(self.names[at]), len(early)), i

        order = sorted(set(self._canonical.tolist()), key=key)
        ranks = np.zeros(len(self.kinds), np.int64)
        ranks[order] = np.arange(len(order))[::-1]
        return np.asarray(ranks[self._canonical])

    def rank_rows(self) -> list[str]:
        """Return the rows of MRRANK, first come first."""
        rows = {int(self.rank[i]): self.kinds[i] for i in np.unique(self._canonical)}
        return [
            f"{rank:04}|{self.names[rows[rank][0]]}|{rows[rank][1]}|{'Y' if rows[rank][2] else 'N'}|"
            for rank in sorted(rows, reverse=True)
        ]

    def family(self, vocabulary: int) -> str:
        """Return the source family of a vocabulary: MSH is that of MSHGER."""
        return _family(self.names[vocabulary])

    def level(self, vocabulary: int) -> int:
        """Return the restriction level of a vocabulary."""
        return _LEVELS.get(_family(self.names[vocabulary]), _LEVELS.get(self.names[vocabulary], 0))

    def codes(self, vocabulary: Numbers, concept: Numbers, atom: Numbers) -> tuple[pa.Array, pa.Array]:
        """Return what stands before and after `SAB|TTY`: `SAUI|SCUI|SDUI|` and the code of each row.

        A vocabulary has one code for a concept; those of a family (MSH, MSHGER, ...) have the same.
        """
        families = [_family(name) for name in self.names]
        number = {family: i for i, family in enumerate(dict.fromkeys(families))}
        family = np.array([number[f] for f in families])[vocabulary]
        own = (concept * 7919 + family * 104729) % 9_999_991
        style = [_CODES.get(name) or _CODES.get(f, "own") for name, f in zip(self.names, families, strict=True)]
        styles = list(dict.fromkeys(style))
        at = np.array([styles.index(s) for s in style])[vocabulary]
        order = np.argsort(at, kind="stable")
        bounds = np.searchsorted(at[order], np.arange(len(styles) + 1))
        parts = [
            _written(s, own[rows], atom[rows])
            for s, start, end in zip(styles, bounds[:-1], bounds[1:], strict=True)
            if len(rows := order[start:end])
        ]
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        places = pa.array(back)
        return tuple(pa.concat_arrays(column).take(places) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def _cumulative(weights: list[float]) -> npt.NDArray[np.float64]:
    total = np.cumsum(weights)
    return np.asarray(total / total[-1])


def _draw(
    rng: np.random.Generator, table: Numbers, cdfs: list[npt.NDArray[np.float64]], values: list[Numbers]
) -> Numbers:
    """Draw a value for each row from one of several distributions, by its number."""
    flat = np.concatenate([cdf + i for i, cdf in enumerate(cdfs)])
    at = np.searchsorted(flat, table + rng.random(len(table)) * (1 - 1e-9), side="right")
    return np.asarray(np.concatenate(values)[np.minimum(at, len(flat) - 1)])


def _written(style: str, own: Numbers, atom: Numbers) -> tuple[pa.Array, pa.Array]:
    """Return (`SAUI|SCUI|SDUI|`, CODE) of rows with one style of codes."""
    text = pa.array(own).cast(pa.string())
    bar, bars, three = pa.scalar("|"), pa.scalar("||"), pa.array(["|||"] * len(own))
    if style == "none":
        return three, pa.array(["NOCODE"] * len(own))
    if style == "sct":
        check = pa.array(own % 10).cast(pa.string())
        code = join(text, pa.scalar("00"), check)
        return join(pa.array(atom).cast(pa.string()), pa.scalar("01"), check, bar, code, bars), code
    if style == "msh":
        code = join(pa.scalar("D"), pc.utf8_lpad(text, 6, "0"))
        return join(pa.scalar("|M"), pc.utf8_lpad(text, 7, "0"), bar, code, bar), code
    if style == "rx":
        return join(pa.array(atom).cast(pa.string()), bar, text, bars), text
    if style == "mdr":
        code = join(pa.scalar("1"), pc.utf8_lpad(text, 7, "0"))
        return join(bars, code, bar), code
    if style == "icd":
        letter = pa.array([chr(65 + i) for i in range(26)]).take(pa.array(own % 26))
        two = pc.utf8_lpad(pa.array(own // 26 % 100).cast(pa.string()), 2, "0")
        code = join(letter, two, pa.scalar("."), pa.array(own // 2600).cast(pa.string()))
        return join(bars, code, bar), code
    if style in ("HP", "GO", "HGNC"):
        code = join(pa.scalar(f"{style}:"), text if style == "HGNC" else pc.utf8_lpad(text, 7, "0"))
        return join(bars, code, bar), code
    if style == "lnc":
        code = join(text, pa.scalar("-"), pa.array(own % 10).cast(pa.string()))
    elif style == "number":
        return three, text
    else:
        code = join(pa.scalar("C" if style == "nci" else "X"), text)
    return join(bar, code, bars), code
