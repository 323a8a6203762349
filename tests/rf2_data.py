"""Releases of SNOMED CT in Release Format 2, of our own making: the files have the published form, and the metadata the
published ids; concepts, names and their ids are made up."""

from __future__ import annotations

import uuid
import zipfile
from collections import defaultdict
from pathlib import Path

CORE, MODULE_DE = 900000000000207008, 11000274103
US, GB, DE = 900000000000509007, 900000000000508004, 31000274107
FSN, SYNONYM, DEFINITION = 900000000000003001, 900000000000013009, 900000000000550004
PREFERRED, ACCEPTABLE = 900000000000548007, 900000000000549004
IS_A = 116680003
SAME_AS, REPLACED_BY, MAYBE = 900000000000527005, 900000000000526001, 900000000000523009
REASON = 900000000000489007
DUPLICATE, OUTDATED, AMBIGUOUS = 900000000000482003, 900000000000483008, 900000000000484002

MEMBER = "id effectiveTime active moduleId refsetId referencedComponentId"
TERM = "id effectiveTime active moduleId conceptId languageCode typeId term caseSignificanceId"
HEADERS = {
    "sct2_Concept_": "id effectiveTime active moduleId definitionStatusId",
    "sct2_Description_": TERM,
    "sct2_TextDefinition_": TERM,
    "sct2_Relationship_": "id effectiveTime active moduleId sourceId destinationId relationshipGroup typeId "
    "characteristicTypeId modifierId",
    "der2_cRefset_Language": f"{MEMBER} acceptabilityId",
    "der2_cRefset_Association": f"{MEMBER} targetComponentId",
    "der2_cRefset_AttributeValue": f"{MEMBER} valueId",
}
FOLDERS = {"sct2": "Terminology", "der2_cRefset_Language": "Refset/Language", "der2": "Refset/Content"}


def sctid(number: int, partition: str = "00") -> int:
    """Return an id: a number, what it is of, and a check digit by Verhoeff's tables as Wikipedia prints them."""
    d = "0123456789 1234067895 2340178956 3401289567 4012395678 5987604321 6598710432 7659821043 8765932104 9876543210"
    p = "0123456789 1576283094 5803796142 8916043527 9453126870 4286573901 2793806415 7046913258"
    times, permuted = d.split(), p.split()
    digits, check = f"{number}{partition}", 0
    for place, digit in enumerate(reversed(digits), 1):
        check = int(times[check][int(permuted[place % 8][int(digit)])])
    return int(digits + "0432156789"[check])


def concept(n: int) -> int:
    """Return the id of a made-up concept."""
    return sctid(90000 + n)


def curie(n: int) -> str:
    return f"SNOMEDCT:{concept(n)}"


class Release:
    """The rows of a release, to be written as files."""

    def __init__(
        self, edition: str = "INT", kind: str = "Snapshot", date: str = "20260101", module: int = CORE
    ) -> None:
        self.edition, self.kind, self.date, self.module = edition, kind, date, module
        self.rows: dict[tuple[str, str], list[list[object]]] = defaultdict(list)
        self.described = 0
        for content in (
            "sct2_Concept_",
            "sct2_Relationship_",
            "der2_cRefset_Association",
            "der2_cRefset_AttributeValue",
        ):
            self.rows[content, ""] = []

    def add(self, content: str, *cells: object, id: object, lang: str = "", active: int = 1, date: str = "20020131"):
        self.rows[content, lang].append([id, date, int(active), self.module, *cells])

    def concept(self, n: int, fsn: str | None = None, **more) -> None:
        """Add a concept and, if given, its fully specified name, preferred in both dialects."""
        self.add("sct2_Concept_", 900000000000074008, id=concept(n), **more)
        if fsn:
            self.name(n, fsn, kind=FSN, us=PREFERRED, gb=PREFERRED)

    def name(self, n: int, term: str, *, lang="en", kind=SYNONYM, us=None, gb=None, de=None, id=None, **more) -> int:
        """Add a description and its members of language reference sets; return its id."""
        self.described += 1
        known = id or sctid(800000 + self.described + 1000 * (self.edition != "INT"), "01")
        content = "sct2_TextDefinition_" if kind == DEFINITION else "sct2_Description_"
        cells = (concept(n), lang, kind, term, 900000000000448009)
        self.add(content, *cells, id=known, lang=f"-{lang}", **more)
        for refset, acceptability in ((US, us), (GB, gb), (DE, de)):
            if acceptability:
                self.member(refset, known, acceptability, lang=lang)
        return known

    def member(self, refset: int, component: int, value: int, *, lang="", id=None, content="Language", **more) -> None:
        known = id or uuid.uuid5(uuid.NAMESPACE_OID, f"{refset} {component} {value}")
        self.add(f"der2_cRefset_{content}", refset, component, value, id=known, lang=f"-{lang}" if lang else "", **more)

    def is_a(self, child: int, parent: int, *, kind: int = IS_A, **more) -> None:
        known = sctid(700000 + len(self.rows["sct2_Relationship_", ""]), "02")
        cells = (concept(child), concept(parent), 0, kind, 900000000000011006, 900000000000451002)
        self.add("sct2_Relationship_", *cells, **{"id": known, **more})

    def association(self, refset: int, old: int, new: int, **more) -> None:
        self.member(refset, concept(old), concept(new), content="Association", **more)

    def reason(self, old: int, value: int, **more) -> None:
        self.member(REASON, concept(old), value, content="AttributeValue", **more)

    def texts(self) -> dict[str, str]:
        """Return the files: path in the release -> text."""
        texts = {}
        for (content, lang), rows in self.rows.items():
            folder = FOLDERS.get(content) or FOLDERS[content[:4]]
            path = f"{self.kind}/{folder}/{content}{self.kind}{lang}_{self.edition}_{self.date}.txt"
            lines = [HEADERS[content].split(), *rows]
            texts[path] = "".join("\t".join(map(str, line)) + "\r\n" for line in lines)
        return texts

    def write(self, folder: Path) -> Path:
        """Write the files into a folder, beside what is there."""
        for path, text in self.texts().items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(text.encode())
        return folder

    def zip(self, path: Path) -> Path:
        """Write the files into a zip archive, in one folder as they are published."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in self.texts().items():
                archive.writestr(f"{path.stem}/{name}", text)
        return path


def pets(kind: str = "Snapshot") -> Release:
    """Return a release of a few invented concepts.

    1 thing > 2 pet disorder > 3 purring failure, 4 limp tail; 5 to 8 are inactive, 9 has no synonym that is preferred.
    """
    r = Release(kind=kind)
    r.concept(1, "Thing (thing)")
    r.concept(2, "Disorder of pet (disorder)")
    r.name(2, "Pet disorder", us=PREFERRED, gb=PREFERRED)
    r.concept(3, "Purring failure (disorder)")
    r.name(3, "Purring insufficiency", us=ACCEPTABLE, gb=ACCEPTABLE)
    r.name(3, "Defective purr, colorless", us=PREFERRED)
    r.name(3, "Defective purr, colourless", us=ACCEPTABLE, gb=PREFERRED)
    r.name(3, "Purr trouble (old)", us=ACCEPTABLE, active=0)
    r.name(3, "Purrlessness")
    r.name(3, "A purr that fails.", kind=DEFINITION, us=PREFERRED, gb=PREFERRED)
    r.concept(4, "Limp tail (tail) (finding)")
    r.concept(9, "Limp ear")
    r.name(9, "Ear that is limp", us=ACCEPTABLE)
    for n, fsn in (
        (5, "Purring failure 2 (disorder)"),
        (6, "Tail, limp (finding)"),
        (7, "Old one (finding)"),
        (8, None),
    ):
        r.concept(n, fsn, active=0, date="20100131")
    r.name(6, "Limp  tail of old", us=PREFERRED)
    r.is_a(2, 1)
    r.is_a(3, 2)
    r.is_a(4, 2)
    r.is_a(4, 1, active=0)
    r.is_a(4, 3, kind=363698007)
    r.is_a(9, 1)
    r.association(SAME_AS, 5, 3)
    r.reason(5, DUPLICATE)
    r.association(MAYBE, 6, 4)
    r.association(MAYBE, 6, 3)
    r.reason(6, AMBIGUOUS)
    r.reason(7, OUTDATED, active=0)
    r.association(REPLACED_BY, 7, 5)
    return r
