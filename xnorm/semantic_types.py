"""The semantic types and groups of UMLS: what DISO, T047 and `Disease or Syndrome` stand for.

The 127 types of the UMLS Semantic Network and their 15 groups, and six types of chemicals that the network had before,
which older releases of UMLS use. The network is published by the U.S. National Library of Medicine
(`SemGroups.txt`, files v04 and v03, of https://www.nlm.nih.gov/research/umls/knowledge_sources/semantic_network);
groups after McCray, Burgun and Bodenreider, Medinfo 2001.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from xnorm.errors import ConfigError
from xnorm.registry import did_you_mean

__all__ = ["GROUPS", "TYPE_NAMES", "WITHDRAWN", "expand_types", "spellings", "with_types"]

_NETWORK = {
    "ACTI": """
        T051 Event; T052 Activity; T053 Behavior; T054 Social Behavior; T055 Individual Behavior;
        T056 Daily or Recreational Activity; T057 Occupational Activity; T064 Governmental or Regulatory Activity;
        T066 Machine Activity
    """,
    "ANAT": """
        T017 Anatomical Structure; T018 Embryonic Structure; T021 Fully Formed Anatomical Structure; T022 Body System;
        T023 Body Part, Organ, or Organ Component; T024 Tissue; T025 Cell; T026 Cell Component;
        T029 Body Location or Region; T030 Body Space or Junction; T031 Body Substance
    """,
    "CHEM": """
        T103 Chemical; T104 Chemical Viewed Structurally; T109 Organic Chemical; T110 Steroid; T111 Eicosanoid;
        T114 Nucleic Acid, Nucleoside, or Nucleotide; T115 Organophosphorus Compound;
        T116 Amino Acid, Peptide, or Protein; T118 Carbohydrate; T119 Lipid; T120 Chemical Viewed Functionally;
        T121 Pharmacologic Substance; T122 Biomedical or Dental Material; T123 Biologically Active Substance;
        T124 Neuroreactive Substance or Biogenic Amine; T125 Hormone; T126 Enzyme; T127 Vitamin;
        T129 Immunologic Factor; T130 Indicator, Reagent, or Diagnostic Aid; T131 Hazardous or Poisonous Substance;
        T192 Receptor; T195 Antibiotic; T196 Element, Ion, or Isotope; T197 Inorganic Chemical; T200 Clinical Drug
    """,
    "CONC": """
        T077 Conceptual Entity; T078 Idea or Concept; T079 Temporal Concept; T080 Qualitative Concept;
        T081 Quantitative Concept; T082 Spatial Concept; T089 Regulation or Law; T102 Group Attribute;
        T169 Functional Concept; T170 Intellectual Product; T171 Language; T185 Classification
    """,
    "DEVI": "T074 Medical Device; T075 Research Device; T203 Drug Delivery Device",
    "DISO": """
        T019 Congenital Abnormality; T020 Acquired Abnormality; T033 Finding; T037 Injury or Poisoning;
        T046 Pathologic Function; T047 Disease or Syndrome; T048 Mental or Behavioral Dysfunction;
        T049 Cell or Molecular Dysfunction; T050 Experimental Model of Disease; T184 Sign or Symptom;
        T190 Anatomical Abnormality; T191 Neoplastic Process
    """,
    "GENE": """
        T028 Gene or Genome; T085 Molecular Sequence; T086 Nucleotide Sequence; T087 Amino Acid Sequence;
        T088 Carbohydrate Sequence
    """,
    "GEOG": "T083 Geographic Area",
    "LIVB": """
        T001 Organism; T002 Plant; T004 Fungus; T005 Virus; T007 Bacterium; T008 Animal; T010 Vertebrate;
        T011 Amphibian; T012 Bird; T013 Fish; T014 Reptile; T015 Mammal; T016 Human; T096 Group;
        T097 Professional or Occupational Group; T098 Population Group; T099 Family Group; T100 Age Group;
        T101 Patient or Disabled Group; T194 Archaeon; T204 Eukaryote
    """,
    "OBJC": "T071 Entity; T072 Physical Object; T073 Manufactured Object; T167 Substance; T168 Food",
    "OCCU": "T090 Occupation or Discipline; T091 Biomedical Occupation or Discipline",
    "ORGA": """
        T092 Organization; T093 Health Care Related Organization; T094 Professional Society;
        T095 Self-help or Relief Organization
    """,
    "PHEN": """
        T034 Laboratory or Test Result; T038 Biologic Function; T067 Phenomenon or Process;
        T068 Human-caused Phenomenon or Process; T069 Environmental Effect of Humans;
        T070 Natural Phenomenon or Process
    """,
    "PHYS": """
        T032 Organism Attribute; T039 Physiologic Function; T040 Organism Function; T041 Mental Process;
        T042 Organ or Tissue Function; T043 Cell Function; T044 Molecular Function; T045 Genetic Function;
        T201 Clinical Attribute
    """,
    "PROC": """
        T058 Health Care Activity; T059 Laboratory Procedure; T060 Diagnostic Procedure;
        T061 Therapeutic or Preventive Procedure; T062 Research Activity; T063 Molecular Biology Research Technique;
        T065 Educational Activity
    """,
}

WITHDRAWN = frozenset({"T110", "T111", "T115", "T118", "T119", "T124"})
"""Types of older releases, all of them chemicals; since then their concepts have had broader types of chemicals."""

_PAIRS = {group: [t.strip().split(" ", 1) for t in types.split(";")] for group, types in _NETWORK.items()}
GROUPS: Mapping[str, tuple[str, ...]] = {group: tuple(tui for tui, _ in pairs) for group, pairs in _PAIRS.items()}
"""Abbreviation of a semantic group -> ids of its types."""
TYPE_NAMES: Mapping[str, str] = {tui: name for pairs in _PAIRS.values() for tui, name in pairs}
"""Id of a semantic type -> its name."""
_IDS = {name: tui for tui, name in TYPE_NAMES.items()}


def expand_types(words: Iterable[str]) -> frozenset[str]:
    """Return the ids of the semantic types that words stand for.

    Args:
        words: abbreviations of groups (`DISO`), ids (`T047`) or names (`Disease or Syndrome`) of types.

    Raises:
        ConfigError: a word is none of them.
    """
    found: set[str] = set()
    for word in words:
        if word in GROUPS:
            found.update(GROUPS[word])
        elif word in TYPE_NAMES or word in _IDS:
            found.add(_IDS.get(word, word))
        else:
            near = difflib.get_close_matches(word, [*GROUPS, *_IDS, *TYPE_NAMES], n=1, cutoff=0.6)
            hint = did_you_mean(word, near or GROUPS)
            raise ConfigError(f"'{word}' is no semantic group or type of UMLS; {hint}")
    return frozenset(found)


def with_types(words: Iterable[str]) -> frozenset[str]:
    """Return words, and the ids of the semantic types that they stand for if they do."""
    given = frozenset(words)
    return given | expand_types(word for word in given if word in GROUPS or word in TYPE_NAMES or word in _IDS)


def spellings(words: Iterable[str]) -> frozenset[str]:
    """Return whatever a type may be called that falls under one of the words: the groups among the words themselves,
    and the types they stand for by id and by name.

    Raises:
        ConfigError: as `expand_types`.
    """
    words = list(words)
    ids = expand_types(words)
    return ids | {TYPE_NAMES[tui] for tui in ids} | {word for word in words if word in GROUPS}
