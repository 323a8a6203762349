"""Speed and memory of reading a UMLS release, beside plain Python and the pattern in which xMEN reads it.

    python data_scripts/synthetic_umls.py umls           # or a real release
    python data_scripts/speed_umls.py umls [--parts read,open,subset,python,xmen] [--sample 1000000] [--tables FOLDER]

Each row of the Markdown table that is printed is a process of its own, so that its peak memory (ru_maxrss) is its own.
The files are read once before, so that all find them in the page cache. Parts:
  read     xnorm: the whole release read, filtered (names that are not suppressed) and written as Arrow tables
  open     those tables opened, and concepts looked up by id; needs `read`, in this run or an earlier one
  subset   xnorm: languages, vocabularies and semantic groups chosen
  python   one pass of plain Python over MRCONSO with the same filters (split, compare, names by concept in a dict), and
           over MRSTY before it where a semantic group is chosen; no definitions, no hierarchy, nothing written
  xmen     xMEN's reading: one pass over MRCONSO for each vocabulary and language, each row made a dict, then MRSTY and
           MRDEF the same way. Run on the first rows alone (--sample) and extrapolated in proportion to the bytes;
           what it does after the reading (types compared, names made distinct, JSON written) is left out
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

# Nothing of xnorm here: a process begins with the peak of the one that started it.

SUBSETS: dict[str, dict[str, Any]] = {
    "German, disorders": {"langs": ["de"], "types": ["DISO"]},
    "German MSH and MDR, disorders": {"langs": ["de"], "vocabularies": ["MSHGER", "MDRGER"], "types": ["DISO"]},
    "English, 18 vocabularies": {
        "langs": ["en"],
        "vocabularies": "CPT FMA GO HGNC HPO ICD10 ICD10CM ICD9CM MDR MSH MTH NCBI NCI NDDF NDFRT OMIM RXNORM "
        "SNOMEDCT_US".split(),
    },
}
"""Name -> keys of an `umls` source; the vocabularies of the last are those that xMEN's MedMentions example lists."""
LATS = {"de": "GER", "en": "ENG"}
WHOLE = "whole release"
CONSO = "CUI LAT TS LUI STT SUI ISPREF AUI SAUI SCUI SDUI SAB TTY CODE STR SRL SUPPRESS CVF".split()
STY = "CUI TUI STN STY ATUI CVF".split()
DEF = "CUI AUI ATUI SATUI SAB DEF SUPPRESS CVF".split()
PREFERRED = {"NCI_BRIDG", "NCI_NCI-GLOSS", "NCI", "GO", "MSH", "NCI_FDA"}


def find(folder: Path, name: str) -> Path:
    """Return a file of the release, compressed or not, in the folder or its META."""
    places = [at / f"{name}.RRF{end}" for at in (folder / "META", folder) for end in ("", ".gz")]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise SystemExit(f"error: no {name}.RRF in {folder} or its META")
    return found


def opened(path: Path) -> TextIO:
    """Open a file of the release."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return path.open(encoding="utf-8", newline="\n")


def with_type(folder: Path, words: list[str]) -> set[str]:
    """Return the concepts with one of some semantic types or groups."""
    from xnorm.semantic_types import expand_types

    types = expand_types(words)
    with opened(find(folder, "MRSTY")) as lines:
        return {fields[0] for line in lines if (fields := line.split("|", 2))[1] in types}


# what the processes run: each returns what to say about its result


def config(folder: Path, subset: str) -> Any:
    """Return the config of a terminology."""
    from xnorm.config import validate
    from xnorm.sources import TerminologyConfig

    source = {"type": "umls", "path": str(folder), **SUBSETS.get(subset, {})}
    return validate(TerminologyConfig, {"sources": [source]}, where="speed_umls.py")


def read(options: argparse.Namespace) -> dict[str, Any]:
    """Read the release with xnorm; write its tables if it is the whole one."""
    from xnorm.sources import read_terminology

    begin = time.perf_counter()
    terminology, _ = read_terminology(config(options.folder, options.subset))
    note = f"read {time.perf_counter() - begin:.1f} s"
    if options.subset == WHOLE:
        options.tables.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        terminology.save(options.tables)
        note += f", written {time.perf_counter() - begin:.1f} s"
    return {"concepts": len(terminology), "names": terminology.n_names, "note": note}


def open_tables(options: argparse.Namespace) -> dict[str, Any]:
    """Open the tables and look concepts up; the time is without that of the imports."""
    from xnorm.tables import Terminology

    begin = time.perf_counter()
    terminology = Terminology.open(options.tables)
    opened, resident = time.perf_counter() - begin, peak_mib()
    ids = [terminology.concepts.column("id")[len(terminology) * i // 10].as_py() for i in range(10)]
    found = [terminology[identifier] for identifier in ids]
    assert [concept.id for concept in found] == ids
    seconds = time.perf_counter() - begin
    touched = f"{peak_mib():,.0f} MiB with the pages of the files that the look-ups touch"
    note = f"opened in {opened:.3f} s, 10 look-ups {seconds - opened:.3f} s; without imports; {touched}"
    return {
        "concepts": len(terminology),
        "names": terminology.n_names,
        "seconds": seconds,
        "mib": resident,
        "note": note,
    }


def plain_python(options: argparse.Namespace) -> dict[str, Any]:
    """Pass once over MRCONSO."""
    subset = SUBSETS.get(options.subset, {})
    lats = {LATS[lang] for lang in subset.get("langs", ())}
    sabs = set(subset.get("vocabularies", ()))
    wanted = with_type(options.folder, subset["types"]) if "types" in subset else None
    names: dict[str, list[str]] = {}
    with opened(find(options.folder, "MRCONSO")) as lines:
        for line in lines:
            fields = line.split("|")
            if fields[16] != "N" or (lats and fields[1] not in lats) or (sabs and fields[11] not in sabs):
                continue
            if wanted is None or fields[0] in wanted:
                names.setdefault(fields[0], []).append(fields[14])
    return {"concepts": len(names), "names": sum(map(len, names.values())), "note": "duplicates not removed"}


class Sample:
    """The first rows of a file; knows how large a share of its bytes they are."""

    def __init__(self, path: Path, columns: list[str], rows: int) -> None:
        self.path, self.columns, self.rows = path, [*columns, ""], rows
        with opened(path) as lines:
            size = sum(len(line.encode()) for line in itertools.islice(lines, rows))
            # what follows is counted in a compressed file alone, whose size says nothing
            whole = size + sum(len(line.encode()) for line in lines) if path.suffix == ".gz" else path.stat().st_size
        self.share = size / whole


def rows_of(path: Path) -> int:
    """Return how many rows a file has."""
    with opened(path) as lines:
        return sum(1 for _ in lines)


def xmen(options: argparse.Namespace) -> dict[str, Any]:
    """Read the beginning of the release as xMEN would, and say how long the whole would take."""
    subset = SUBSETS.get(options.subset, {})
    conso = Sample(find(options.folder, "MRCONSO"), CONSO, options.sample)
    sty, definitions = (
        Sample(path, columns, max(1, round(rows_of(path) * conso.share)))
        for path, columns in ((find(options.folder, "MRSTY"), STY), (find(options.folder, "MRDEF"), DEF))
    )
    sabs: list[str | None] = [*subset.get("vocabularies", ())] or [None]
    lats: list[str | None] = [LATS[lang] for lang in subset.get("langs", ())] or [None]
    concepts: dict[str, dict[str, Any]] = {}

    def names() -> None:
        for sab, lat in itertools.product(sabs, lats):
            add_names(concepts, conso, sab, lat)

    seconds = cpu = 0.0
    for part, work in (
        (conso, names),
        (sty, lambda: add_types(concepts, sty)),
        (definitions, lambda: add_definitions(concepts, definitions)),
    ):
        begin, begin_cpu = time.perf_counter(), time.process_time()
        work()
        seconds += (time.perf_counter() - begin) / part.share
        cpu += (time.process_time() - begin_cpu) / part.share
    passes = len(sabs) * len(lats)
    note = (
        f"{passes} {'pass' if passes == 1 else 'passes'} over MRCONSO; extrapolated from {conso.share:.1%} of its bytes"
    )
    return {"seconds": seconds, "cpu": cpu, "extrapolated": True, "note": note}


def add_names(concepts: dict[str, dict[str, Any]], sample: Sample, sab: str | None, lat: str | None) -> None:
    """Pass over MRCONSO for the names of one vocabulary and language that are not suppressed."""
    with opened(sample.path) as lines:
        for line in itertools.islice(lines, sample.rows):
            values = line.strip().split("|")
            assert len(values) == len(sample.columns)
            row = dict(zip(sample.columns, values))  # noqa: B905
            if (lat is not None and row["LAT"] != lat) or row["SUPPRESS"] != "N":
                continue
            if sab is not None and row["SAB"] != sab:
                continue
            cui = row["CUI"]
            if cui not in concepts:
                concepts[cui] = {"concept_id": cui, "aliases": [], "types": []}
            concept = concepts[cui]
            preferred = row["ISPREF"] == "Y" and row["TS"] == "P" and row["STT"] == "PF"
            if preferred and "canonical_name" not in concept:
                concept["canonical_name"] = row["STR"]
            else:
                concept["aliases"].append(row["STR"])


def add_types(concepts: dict[str, dict[str, Any]], sample: Sample) -> None:
    """Pass over MRSTY."""
    with opened(sample.path) as lines:
        for line in itertools.islice(lines, sample.rows):
            values = line.strip().split("|")
            assert len(values) == len(sample.columns)
            row = dict(zip(sample.columns, values))  # noqa: B905
            concept = concepts.get(row["CUI"])
            if concept is not None:
                concept["types"].append(row["TUI"])


def add_definitions(concepts: dict[str, dict[str, Any]], sample: Sample) -> None:
    """Pass over MRDEF."""
    with opened(sample.path) as lines:
        for line in itertools.islice(lines, sample.rows):
            values = line.strip().split("|")
            assert len(values) == len(sample.columns)
            row = dict(zip(sample.columns, values))  # noqa: B905
            concept = concepts.get(row["CUI"])
            if concept is None or row["SUPPRESS"] != "N":
                continue
            good = row["SAB"] in PREFERRED
            if "definition" not in concept or (good and not concept["good_definition"]):
                concept["definition"], concept["good_definition"] = row["DEF"], good


TASKS: dict[str, tuple[str, Callable[[argparse.Namespace], dict[str, Any]], list[str]]] = {
    "read": ("xnorm, read and write", read, [WHOLE]),
    "open": ("xnorm, open", open_tables, [WHOLE]),
    "subset": ("xnorm, read", read, list(SUBSETS)),
    "python": ("plain Python, one pass", plain_python, [WHOLE, *SUBSETS]),
    "xmen": ("xMEN's pattern", xmen, [WHOLE, *SUBSETS]),
}


def peak_mib() -> float:
    """Return the most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(options: argparse.Namespace) -> None:
    """Run one task and print what came of it as JSON."""
    begin = time.perf_counter()
    result = TASKS[options.task][1](options)
    result.setdefault("seconds", time.perf_counter() - begin)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result.setdefault("cpu", usage.ru_utime + usage.ru_stime)
    result.setdefault("mib", peak_mib())
    print(json.dumps(result))


def measure(options: argparse.Namespace, task: str, subset: str) -> dict[str, Any]:
    """Run one task in a process of its own."""
    command = [sys.executable, __file__, str(options.folder), "--task", task, "--subset", subset]
    command += ["--tables", str(options.tables), "--sample", str(options.sample)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return {"note": f"failed: {last[:200]}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def shown(result: dict[str, Any], task: str, subset: str) -> str:
    """Return a row of the table."""
    about = " | ".join(f"{result[key]:,}" if key in result else "" for key in ("concepts", "names"))
    if "seconds" not in result:
        return f"| {TASKS[task][0]} | {subset} | | | | {about} | {result['note']} |"
    about_size = "" if result.get("extrapolated") else f"{result['mib']:,.0f}"  # of a sample says nothing of the whole
    numbers = " | ".join(
        f"{'~' if result.get('extrapolated') else ''}{value:,.{2 if value < 10 else 0}f}"
        for value in (result["seconds"], result["cpu"])
    )
    return f"| {TASKS[task][0]} | {subset} | {numbers} | {about_size} | {about} | {result['note']} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", default=",".join(TASKS))
    parser.add_argument("--sample", type=int, default=1_000_000, help="rows of MRCONSO for xMEN's pattern")
    parser.add_argument("--tables", type=Path, help="where `read` writes; default: FOLDER/tables")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--subset", default=WHOLE, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.tables = options.tables or options.folder / "tables"
    if options.task:
        run(options)
        return
    parts = options.parts.split(",")
    if unknown := set(parts) - set(TASKS):
        parser.error(f"--parts: unknown {', '.join(sorted(unknown))}; known: {', '.join(TASKS)}")
    for path in find(options.folder, "MRCONSO").parent.iterdir():
        with path.open("rb") as f:
            while f.read(1 << 20):
                pass
    size = find(options.folder, "MRCONSO").stat().st_size
    print(f"MRCONSO {size / 1e9:.2f} GB, {len(os.sched_getaffinity(0))} processors, Python {sys.version.split()[0]}\n")
    print(
        "| what | of what | seconds | CPU seconds | peak MiB | concepts | names | |\n|---|---|--:|--:|--:|--:|--:|---|"
    )
    results: dict[tuple[str, str], dict[str, Any]] = {}
    for part in parts:
        for subset in TASKS[part][2]:
            result = measure(options, part, subset)
            print(shown(result, part, subset), flush=True)
            if "seconds" in result:
                results["read" if part == "subset" else part, subset] = result
    print()
    for (part, subset), peer in results.items():
        if part in ("python", "xmen") and (ours := results.get(("read", subset))):
            ratio, cpu = (peer[key] / ours[key] for key in ("seconds", "cpu"))
            print(f"- {TASKS[part][0]} / xnorm, {subset}: {ratio:.1f} of the time, {cpu:.1f} of the CPU time")


if __name__ == "__main__":
    main()
