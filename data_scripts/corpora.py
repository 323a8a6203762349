"""Convert corpora from their official files to BigBIO JSON Lines, which `xnorm` reads.

    python data_scripts/corpora.py mantra Mantra-GSC-brat.zip             # writes data/corpora/mantra_de.jsonl.gz, ...
    python data_scripts/corpora.py quaero QUAERO_FrenchMed --output data/quaero
    python data_scripts/corpora.py medmentions full st21pv                # folders of its repository
    python data_scripts/corpora.py xlbel de_1k_test_query.txt --output xlbel_de.jsonl.gz

A source is a folder, a zip or tar(.gz) archive or a file; several are taken together. Files are found by their official
names, nothing is extracted. Nothing is downloaded and no corpus is part of xnorm: mind the licence of each.

name          from                                                   licence                     parts
mantra        github.com/mi-erasmusmc/Mantra-Gold-Standard-Corpus    GPL-3.0 (XML: CC BY 4.0)    by language
quaero        quaerofrenchmed.limsi.fr                               GFDL 1.3                    train dev test
xlbel         github.com/cambridgeltl/sapbert, evaluation/xl_bel     MIT; sentences CC BY-SA     by version, language
ncbi-disease  www.ncbi.nlm.nih.gov/CBBresearch/Dogan/DISEASE         public domain               train dev test
bc5cdr        biocreative.bioinformatics.udel.edu (BioCreative V)    public domain               train dev test
medmentions   github.com/chanzuckerberg/MedMentions                  CC0                         full_train ... (6)
codiesp       temu.bsc.es/codiesp                                    CC BY 4.0                   train dev test
distemist     zenodo.org/records/7614764                             CC BY 4.0                   train test
symptemist    zenodo.org/records/10635215                            CC BY 4.0                   train test
bronco        www2.informatik.hu-berlin.de/~leser/bronco             data use agreement          set1 to set5
gscplus       github.com/ncbi-nlp/PhenoTagger, data/corpus.zip       none is given               dev test

What several ids of an entity mean (all of them are needed, or any is right), and what is particular
    mantra        UMLS; any of them: annotations of one place with different ids are alternatives. The document id names
                  language and sub-corpus: `de_EMEA_0001_d327.u53`. Both zips of the repository hold BRAT; the XML is
                  that of files.ifi.uzh.ch/cl/mantra/gsc/GSC-v1.1.zip, read after other public readers, not tried on the
                  official file
    quaero        UMLS; any of them: `C0013144 C2830004` of somnolence, though a few (flavour and fruit) are parts.
                  Document ids are `EMEA_318`, `MEDLINE_293791`. Words that are no CUI (C153057) are left out; a CUI in
                  a word with something else (CC0205653) is taken
    xlbel         UMLS; any of them: `C2051831|C0016842`
    ncbi-disease  MESH, OMIM; all of them: `|` stands between the concepts of a composite mention (breast or ovarian
                  cancer), `+` between those that make up one disease (renal hamartomas)
    bc5cdr        MESH; all of them: `|` of a composite mention. Relations are left out
    medmentions   UMLS; one. Several semantic types are a list. After the published description; not tried on the
                  official file
    codiesp       ICD10CM for DIAGNOSTICO, ICD10PCS for PROCEDIMIENTO (CIE-10-ES 2018); all of them: rows of one place
                  with different codes. Documents without a row in the table are left out
    distemist     SNOMED_CT; all of them: `+`; NO_CODE and NOMAP are an entity without id. After the published
                  description and BigBIO's reader; not tried on the official file
    symptemist    as distemist. Of several tables of a part the fullest is read; codes that a spreadsheet turned into
                  1.66753E+16 are left out. After the published description; not tried on the official file
    bronco        ICD10GM, OPS, ATC; one. A comma in a code is a dot, a final `+` no separator but the mark of a pair of
                  codes. After BigBIO's and xMEN's readers; not tried on the official file
    gscplus       HP; one. Ids keep their prefix, HP:0001250

Annotations of one place and one type are one entity with all their ids. A document that comes twice in a part is left
out, as in BigBIO. Offsets are characters of the text. The text of each entity is compared with the text at its offsets,
white space aside; --mismatch says what becomes of one that differs. Running it twice writes the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import re
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from corpora_formats import Document, Entity, Part, Parts, bc5cdr, bronco, mantra, medmentions, ncbi_disease, quaero
from corpora_tables import codiesp, distemist, gscplus, symptemist, xlbel

from xnorm.errors import DataError

OUTPUT = Path(__file__).resolve().parent.parent / "data" / "corpora"
SHOWN = 10
"""Mismatches of a part that are named; the others are only counted."""
LIMIT = 1 << 30
"""Most bytes that one file, or a tar archive in all, may unpack to."""
ENDINGS = (".txt", ".ann", ".tsv", ".xml", ".gz")
"""Files that any of the corpora needs."""


class Files:
    """The files of all sources by their path; in an archive, after the archive's own."""

    def __init__(self, sources: Sequence[Path]) -> None:
        self._open: dict[str, Callable[[], IO[bytes]]] = {}
        for source in sources:
            if not source.exists():
                raise DataError("no such file or folder", path=source)
            root = source.resolve().as_posix()
            try:
                self._add(source, root)
            except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError) as e:
                raise DataError(f"is a damaged archive: {e}", path=source, fix="fetch it again") from None

    def _add(self, source: Path, root: str) -> None:
        if source.is_dir():
            for path in sorted(p for p in source.rglob("*") if p.is_file()):
                self._put(f"{root}/{path.relative_to(source).as_posix()}", lambda p=path: p.open("rb"))
        elif zipfile.is_zipfile(source):
            archive = zipfile.ZipFile(source)  # open as long as this object lives
            for info in archive.infolist():
                _check_inside(info.filename, source)
                if not info.is_dir():
                    self._put(f"{root}/{info.filename}", lambda a=archive, i=info: a.open(i))
        elif tarfile.is_tarfile(source):
            with tarfile.open(source) as tar:
                self._add_tar(tar, source, root)
        else:
            self._put(root, lambda: source.open("rb"))

    def _add_tar(self, tar: tarfile.TarFile, source: Path, root: str) -> None:
        """Read all members at once: going back in a compressed archive would read it anew for each."""
        left = LIMIT
        for member in tar:
            _check_inside(member.name, source)
            if not member.isfile() or not member.name.lower().endswith(ENDINGS):
                continue
            left -= member.size
            if left < 0:
                raise DataError(
                    f"unpacks to more than {LIMIT} bytes", path=source, fix="extract it and name the folder"
                )
            content = tar.extractfile(member)
            data = content.read() if content is not None else b""
            self._put(f"{root}/{member.name}", lambda d=data: BytesIO(d))

    def _put(self, name: str, opener: Callable[[], IO[bytes]]) -> None:
        path = PurePosixPath(name)  # without the `./` that tar puts before names
        if "__MACOSX" in path.parts or path.name.startswith(".") or not name.lower().endswith(ENDINGS):
            return
        if self._open.setdefault(str(path), opener) is not opener:
            raise DataError("is given twice", path=name, fix="name each source once")

    def find(self, pattern: str) -> dict[str, re.Match[str]]:
        """Return the paths in which a pattern is found, in order, with the match; upper and lower case are one."""
        found = ((name, re.search(pattern, name, re.IGNORECASE)) for name in sorted(self._open))
        return {name: match for name, match in found if match is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def read(self, name: str) -> str:
        """Return the text of a file, line ends as they are; gzip is unpacked."""
        try:
            with self._open[name]() as file:
                data = file.read(LIMIT + 1)
            if data[:2] == b"\x1f\x8b":
                data = gzip.GzipFile(fileobj=BytesIO(data)).read(LIMIT + 1)
        except (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError) as e:
            raise DataError(f"cannot be unpacked: {e}", path=name, fix="fetch it again") from None
        if len(data) > LIMIT:
            raise DataError(f"unpacks to more than {LIMIT} bytes", path=name)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as e:
            line = data.count(b"\n", 0, e.start) + 1
            raise DataError("is not UTF-8", path=name, line=line, fix="convert it to UTF-8") from None

    def lines(self, name: str) -> Iterator[tuple[int, str]]:
        """Yield (number from 1, line) of a text file, without line ends."""
        for number, line in enumerate(self.read(name).split("\n"), 1):
            yield number, line.removesuffix("\r")


def _check_inside(name: str, source: Path) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise DataError(f"holds '{name}', a path that leads out of it, which is refused", path=source)


@dataclass
class Counts:
    """What a part holds."""

    mentions: int = 0
    ids: set[tuple[str, str]] = field(default_factory=set)
    without_id: int = 0
    discontinuous: int = 0
    merged: int = 0
    mismatches: list[str] = field(default_factory=list)
    """One line each."""


def fitting_text(document: Document) -> Document:
    r"""Return the document with the line ends that its offsets were counted with: `\r\n` as two characters, or as one.

    Where both fit alike, one.
    """
    if "\r\n" not in document.text:
        return document
    passages = [(kind, text.replace("\r\n", "\n")) for kind, text in document.passages]
    converted = Document(document.id, document.lang, passages, document.entities)
    return max((converted, document), key=lambda form: sum(e.agrees(form.text) for e in document.entities))


def checked(document: Document, policy: str, counts: Counts) -> Iterator[Entity]:
    """Yield the entities whose text stands at their offsets, and with the policy `keep` the others, too.

    Empty parts of a discontinuous entity are dropped.
    """
    text = document.text
    for number, entity in enumerate(document.entities, 1):
        inside = all(0 <= start <= end <= len(text) for start, end in entity.spans)
        if not (inside and entity.agrees(text)):
            found = repr(entity.surface(text)) if inside else f"no span of the {len(text)} characters"
            offsets = " ".join(f"{start}-{end}" for start, end in entity.spans)
            problem = f"document '{document.id}', entity {number}: {entity.text!r}, but at {offsets} stands {found}"
            if policy == "error" or (policy == "keep" and not inside):
                raise DataError(problem, fix="--mismatch skip leaves it out")
            counts.mismatches.append(problem)
            if policy == "skip":
                continue
        entity.spans = tuple(span for span in entity.spans if span[0] < span[1]) or entity.spans[:1]
        yield entity


def merged(entities: Iterator[Entity], counts: Counts) -> list[Entity]:
    """Return the entities with those of one place and one type made one, in order."""
    kept: dict[tuple[Any, ...], Entity] = {}
    for entity in entities:
        first = kept.setdefault((entity.spans, entity.types), entity)
        counts.merged += first is not entity
        first.ids = tuple(dict.fromkeys(first.ids + entity.ids))
    return list(kept.values())


def as_record(document: Document, policy: str, counts: Counts) -> dict[str, Any]:
    """Return a line of the output and count what is in it."""
    document = fitting_text(document)
    text, passages, start = document.text, [], 0
    for number, (kind, passage) in enumerate(document.passages):
        offsets = [[start, start + len(passage)]]
        passages.append({"id": f"{document.id}_p{number}", "type": kind, "text": [passage], "offsets": offsets})
        start += len(passage) + 1
    entities = merged(checked(document, policy, counts), counts)
    counts.mentions += len(entities)
    for entity in entities:
        counts.ids.update(entity.ids)
        counts.without_id += not entity.ids
        counts.discontinuous += len(entity.spans) > 1
    return {
        "id": document.id,
        "document_id": document.id,
        "language": document.lang,
        "passages": passages,
        "entities": [as_entity(e, text, f"{document.id}_e{number}") for number, e in enumerate(entities)],
        "events": [],
        "coreferences": [],
        "relations": [],
    }


def as_entity(entity: Entity, text: str, identifier: str) -> dict[str, Any]:
    """Return an entity of a line; where the stated text is not the text at the offsets, it is kept as it is."""
    parts = [text[start:end] for start, end in entity.spans]
    return {
        "id": identifier,
        "type": entity.types[0] if len(entity.types) == 1 else list(entity.types),
        "text": parts if entity.agrees(text) else [entity.text],
        "offsets": [list(span) for span in entity.spans],
        "normalized": [{"db_name": name, "db_id": code} for name, code in entity.ids],
    }


def write(records: list[dict[str, Any]], output: Path) -> None:
    """Write JSON Lines beside the place and move it there; no time or file name in the gzip, so bytes are equal."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(output.name + ".part")
    data = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)
    with unfinished.open("wb") as raw:
        if output.suffix == ".gz":
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
                file.write(data)
        else:
            raw.write(data)
    unfinished.replace(output)


def report(name: str, part: Part, counts: Counts, output: Path) -> None:
    """Print what was written, and on standard error which entities do not fit."""
    notes = [f"{count} {reason}" for reason, count in sorted(part.notes.items())]
    notes += [f"{counts.merged} merged into another"] if counts.merged else []
    print(
        f"{name}: {len(part.documents)} documents, {counts.mentions} mentions, {len(counts.ids)} ids, "
        f"{counts.without_id} without id, {counts.discontinuous} discontinuous, {len(counts.mismatches)} mismatches"
        + (f" ({', '.join(notes)})" if notes else "")
        + f" -> {output}"
    )
    for problem in counts.mismatches[:SHOWN]:
        print(f"mismatch: {problem}", file=sys.stderr)
    if len(counts.mismatches) > SHOWN:
        print(f"mismatch: and {len(counts.mismatches) - SHOWN} more", file=sys.stderr)


def convert(name: str, sources: Sequence[Path], output: Path, policy: str) -> None:
    """Read a corpus, write its parts, print a line for each. Nothing is written when a part cannot be used."""
    parts = CORPORA[name](Files(sources))
    if not any(part.documents for part in parts.values()):
        listed = ", ".join(map(str, sources))
        raise DataError(
            f"{listed}: no files of the corpus {name}",
            fix="name them as the publisher does; --help says where they are",
        )
    is_file = output.name.endswith((".jsonl", ".jsonl.gz"))
    if is_file and len(parts) > 1:
        raise DataError(
            f"--output is one file, but there are the parts {', '.join(sorted(parts))}", fix="name a folder"
        )
    done = []
    for part_name, part in sorted(parts.items()):
        path = output if is_file else output / f"{name.replace('-', '_')}_{part_name}.jsonl.gz"
        counts = Counts()
        done.append((part_name, part, counts, path, [as_record(d, policy, counts) for d in part.documents]))
    for part_name, part, counts, path, records in done:
        write(records, path)
        report(part_name, part, counts, path)


CORPORA: dict[str, Callable[[Files], Parts]] = {
    "mantra": mantra, "quaero": quaero, "xlbel": xlbel, "ncbi-disease": ncbi_disease, "bc5cdr": bc5cdr,
    "medmentions": medmentions, "codiesp": codiesp, "distemist": distemist, "symptemist": symptemist,
    "bronco": bronco, "gscplus": gscplus,
}  # fmt: skip
"""Name -> what reads it."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status: 0, or 2 when the sources cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s NAME SOURCE ... [options]",
    )
    parser.add_argument("name", metavar="NAME", choices=CORPORA, help=", ".join(CORPORA))
    parser.add_argument("sources", metavar="SOURCE", nargs="+", type=Path, help="folder, archive or file")
    parser.add_argument(
        "--output",
        type=Path,
        default=OUTPUT,
        help="folder, or a file (.jsonl.gz, .jsonl) for one part; default: data/corpora",
    )
    parser.add_argument(
        "--mismatch", choices=("keep", "skip", "error"), default="keep",
        help="what to do with an entity whose text is not the text at its offsets; default: keep",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        convert(options.name, options.sources, options.output, options.mismatch)
    except (DataError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
