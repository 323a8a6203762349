"""Link results and tables with their ids mapped to another terminology."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

from xnorm.errors import ConfigError
from xnorm.files import read_json_lines, read_table, suffix
from xnorm.mapping import Mapping
from xnorm.output import open_output
from xnorm.records import JsonObject
from xnorm.text import encodable

__all__ = ["MappedReport", "map_file"]

SEPARATOR = "|"
"""What stands between several ids in a cell."""
_ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
_ROWS = 10_000

T = TypeVar("T")


@dataclass(slots=True)
class MappedReport:
    """What became of the ids of a file."""

    rows: int = 0
    ids: int = 0
    """Ids that were read, each time they stand there."""
    mapped: int = 0
    """Ids that have a target."""
    several: int = 0
    """Ids that have several targets."""
    unmapped: int = 0
    """Ids without a target; left out, or kept if the mapping says so."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)


def map_file(
    path: Path,
    mapping: Mapping,
    output: Path | None,
    *,
    column: str = "concept_id",
    format: str | None = None,
    overwrite: bool = False,
) -> MappedReport:
    """Write a file anew with its ids mapped; all else stays as it is.

    Rankings in JSON Lines, as `xnorm link` writes them, have the ids of their candidates mapped: a candidate with
    several targets becomes several, one that comes a second time is left out, and `mapped_from` is the id before. In
    other JSON Lines and in tables the ids stand under one key or in one column, several as a list or with `|` between
    them; so do the targets.

    Args:
        path: `.jsonl`, `.csv` or `.tsv`, also gzip.
        output: a file that takes its place when all is written; None for standard output.
        column: key or column with the ids.
        format: `jsonl`, `csv` or `tsv`, where the ending does not tell.

    Raises:
        ConfigError: no format goes with the ending.
        DataError: the file cannot be read, or has no such column.
        ArtifactError: the output is in the way or cannot be written.
    """
    kind = format or _ENDINGS.get(suffix(path))
    if kind not in ("jsonl", "csv", "tsv"):
        raise ConfigError(f"{path}: no format goes with this ending; name it: jsonl, csv or tsv")
    job = _Job(mapping, column)
    with open_output(output, overwrite=overwrite) as out:
        if kind == "jsonl":
            job.lines(path, out.file)
        else:
            job.table(path, out.file, "," if kind == "csv" else "\t")
    return job.report


class _Job:
    """A file on its way, block by block."""

    def __init__(self, mapping: Mapping, column: str) -> None:
        self.mapping, self.column = mapping, column
        self.report = MappedReport()

    def table(self, path: Path, file: TextIO, delimiter: str) -> None:
        rows = read_table(path, delimiter=delimiter, columns=(self.column,))
        writer = csv.writer(file, lineterminator="\n")

        def write(cells: Iterable[str]) -> None:
            # cells of a TSV file hold no tabs, and its quotes are ordinary characters
            writer.writerow(cells) if delimiter == "," else file.write("\t".join(cells) + "\n")

        for number, block in enumerate(_blocks(row for _, row in rows)):
            if number == 0:
                write(block[0])
            ids = [[part.strip() for part in row[self.column].split(SEPARATOR) if part.strip()] for row in block]
            for row, new in zip(block, self._targets(ids), strict=True):
                joined = SEPARATOR.join(dict.fromkeys(target for targets in new for target in targets))
                write({**row, self.column: joined}.values())

    def lines(self, path: Path, file: TextIO) -> None:
        records = (JsonObject(values, path=path, line=line) for line, values in read_json_lines(path))
        for block in _blocks(records):
            new = self._targets([self._ids(record) for record in block])
            for record, targets in zip(block, new, strict=True):
                self._put(record.values, targets)
                file.write(encodable(json.dumps(record.values, ensure_ascii=False)) + "\n")

    def _ids(self, record: JsonObject) -> list[str]:
        """Return the ids that stand in a record."""
        if "candidates" in record.values:
            return [candidate.required("concept_id") for candidate in record.objects("candidates")]
        if self.column not in record.values:
            raise record.error(f"has neither 'candidates' nor '{self.column}'", fix="name the key that holds the ids")
        if isinstance(record.values[self.column], list):
            return record.strings(self.column)
        one = record.string(self.column)
        return [] if one is None else [one]

    def _put(self, record: dict[str, Any], new: list[list[str]]) -> None:
        """Put the targets of its ids into a record."""
        if "candidates" in record:
            found: dict[str, dict[str, Any]] = {}
            for candidate, targets in zip(record["candidates"], new, strict=True):
                old = candidate["concept_id"]
                for target in targets:
                    found.setdefault(target, {**candidate, "concept_id": target, "mapped_from": old})
            record["candidates"] = list(found.values())
            return
        targets = list(dict.fromkeys(target for group in new for target in group))
        one = not isinstance(record[self.column], list) and len(targets) < 2
        record[self.column] = (targets[0] if targets else None) if one else targets

    def _targets(self, rows: list[list[str]]) -> list[list[list[str]]]:
        """Return the targets of the ids of each row."""
        flat = [identifier for row in rows for identifier in row]
        found = self.mapping.map_ids(flat).to_pylist()
        report, keep = self.report, self.mapping.config.unmapped == "keep"
        report.rows += len(rows)
        report.ids += len(flat)
        report.unmapped += sum(targets is None for targets in found)
        report.several += sum(len(targets or ()) > 1 for targets in found)
        report.mapped = report.ids - report.unmapped
        known = iter(
            targets if targets is not None else [old] if keep else [] for old, targets in zip(flat, found, strict=True)
        )
        return [[next(known) for _ in row] for row in rows]


def _blocks(items: Iterable[T]) -> Iterator[list[T]]:
    items = iter(items)
    while block := list(islice(items, _ROWS)):
        yield block
