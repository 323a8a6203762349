"""Mappings between ids of terminologies, read into columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Mapping as Keys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from xnorm.config import merge, read_yaml, validate
from xnorm.errors import ConfigError, DataError
from xnorm.files import open_text, suffix
from xnorm.mappings.base import PREDICATES, MappingConfig, MappingReader, MappingReport, MappingRow, inverse
from xnorm.new_ids import NewIds
from xnorm.registry import find_component, list_components
from xnorm.tables import ranges

__all__ = ["MAPPED", "ROWS", "Mapping", "as_array", "mapping_config", "read_mapping"]

ROWS = pa.schema(
    {
        "source": pa.string(),
        "target": pa.string(),
        "predicate": pa.dictionary(pa.int32(), pa.string()),
        "confidence": pa.float64(),
        "line": pa.int64(),
    }
)
"""Columns of a mapping."""
MAPPED = ("mapped", "several", "unmapped")
"""What becomes of an id: it has one target; it has several; it has none, or several where `several` is `skip`."""

_Rows = npt.NDArray[np.int64]


class Mapping:
    """Pairs of ids, sorted by source; the targets of one source are in the order of trust.

    That is the order of `xnorm.mappings.base.PREDICATES`, then of falling confidence, then of the file. `len(mapping)`
    is the number of pairs. Make one with `read_mapping`.
    """

    def __init__(self, rows: pa.Table, config: MappingConfig, report: MappingReport) -> None:
        self.rows = rows.combine_chunks()
        """The pairs, with the columns of `ROWS`."""
        self.config, self.report = config, report
        runs = pc.run_end_encode(as_array(self.rows.column("source")), pa.int64())
        self.sources: pa.Array = runs.values
        """Distinct source ids, ascending."""
        ends = runs.run_ends.to_numpy(zero_copy_only=False)
        self._starts = np.append(0, ends[:-1]).astype(np.int64)[: len(ends)]
        self._counts = np.diff(np.append(0, ends)).astype(np.int64)
        if config.several != "all":
            self._counts = (
                np.minimum(self._counts, 1) if config.several == "first" else self._counts * (self._counts == 1)
            )

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def rows_of(self, ids: pa.Array | pa.ChunkedArray | Sequence[str | None]) -> tuple[_Rows, _Rows]:
        """Return which rows are of which ids, as `several` says.

        Args:
            ids: any ids, also several times; null has no row.

        Returns:
            Position of the id in `ids`, ascending, and row of the mapping, both of shape (pairs,).
        """
        if not isinstance(ids, pa.Array | pa.ChunkedArray):
            ids = pa.array(ids, pa.string())
        found = pc.fill_null(pc.index_in(ids.cast(pa.string()), value_set=self.sources, skip_nulls=True), -1)
        at = found.to_numpy(zero_copy_only=False) if isinstance(found, pa.Array) else found.to_numpy()
        counts = np.append(self._counts, 0)[at]
        return np.repeat(np.arange(len(at)), counts), ranges(np.append(self._starts, 0)[at], counts)

    def map_ids(self, ids: pa.Array | pa.ChunkedArray | Sequence[str | None]) -> pa.ListArray:
        """Return the targets of ids, in the order of trust, as `several` says.

        Returns:
            Lists of strings, of shape (ids,); null for an id without a target.
        """
        position, rows = self.rows_of(ids)
        counts = np.bincount(position, minlength=len(ids))
        offsets = np.append(0, np.cumsum(counts)).astype(np.int32)
        # a null offset makes a null list
        offsets_with_nulls = pa.array(offsets, mask=np.append(counts == 0, False))
        return pa.ListArray.from_arrays(offsets_with_nulls, as_array(self.rows.column("target")).take(pa.array(rows)))

    def look_up(self, ids: Sequence[str]) -> list[NewIds]:
        """Return the targets of ids for `xnorm.id_files`; the statuses are `MAPPED`, the reasons the predicates. Ids
        without a target are left out or stay, as `unmapped` says."""
        position, rows = self.rows_of(ids)
        targets = self.rows.column("target").take(pa.array(rows)).to_pylist()
        predicates = self.rows.column("predicate").take(pa.array(rows)).to_pylist()
        ends = np.searchsorted(position, np.arange(len(ids) + 1)).tolist()
        lost = None if self.config.unmapped == "keep" else ()
        known = pc.is_in(pa.array(ids, pa.string()), value_set=self.sources).to_pylist()
        found = []
        for start, end, has_targets in zip(ends, ends[1:], known, strict=False):
            if start == end:
                found.append(NewIds("unmapped", lost, reason="several targets" if has_targets else None))
            else:
                status = "mapped" if end == start + 1 else "several"
                reason = ", ".join(dict.fromkeys(predicates[start:end]))
                found.append(NewIds(status, tuple(targets[start:end]), reason=reason))
        return found


def mapping_config(path: Path, *, type: str | None = None, options: Keys[str, Any] | None = None) -> MappingConfig:
    """Return the config of a mapping that stands in a file, or that a YAML file describes, as a source's `map` does.

    Args:
        path: a mapping, or a file `.yaml` or `.yml`.
        type: of a mapping; default: by the file's name and its first line.
        options: keys of the config; they take the place of those of a YAML file.

    Raises:
        ConfigError: the type cannot be told, an option is not one of the type's, or the YAML file is not a mapping.
        DataError: there is no such file, or its first line cannot be read.
    """
    data = dict(options or {})
    for key in ("type", "path"):
        if key in data:
            raise ConfigError(f"--option {key}: " + ("use --type" if key == "type" else "is the MAPPING itself"))
    if suffix(path) in (".yaml", ".yml"):
        if type is not None:
            raise ConfigError(f"--type {type}: {path.name} has a `type` of its own; change it there")
        data, where = merge(read_yaml(path), data), str(path)
        if not isinstance(data.get("type"), str):
            raise ConfigError(f"{path}: has no `type`; {_types()}")
    elif not path.exists():
        raise DataError("no such file", path=path)
    else:
        data, where = {**data, "type": type or _type_of(path), "path": path}, f"mapping {path}"
    config: MappingConfig = validate(find_component("mappings", data["type"]).config_class, data, where=where)
    return config


def _type_of(path: Path) -> str:
    """Return the format of a mapping by its name and, where several share an ending, its first line."""
    ending = suffix(path)
    if ending in (".json", ".ndjson", ".jsonl"):
        return "concept_map"
    if ending == ".csv":
        return "table"
    if ending in (".tsv", ".txt"):
        with open_text(path) as file:
            first = file.readline(10_000)
        cells = {cell.strip() for cell in first.split("\t")}
        if first.startswith("#") or {"subject_id", "object_id"} <= cells:
            return "sssom"
        if {"referencedComponentId", "mapTarget"} <= cells:
            return "rf2_map"
        if ending == ".tsv":
            return "table"
    raise ConfigError(f"{path}: its name does not tell what type of mapping it is; set --type; {_types()}")


def _types() -> str:
    return f"known: {', '.join(list_components('mappings'))}"


def read_mapping(config: MappingConfig) -> Mapping:
    """Read a mapping; its `report` tells what became of the rows.

    Ids get their prefixes, rows are turned around if `inverse`, rows of other predicates and of less confidence are
    left out and counted, and of rows with the same two ids the one that is trusted most is kept.

    Raises:
        DataError: the file cannot be read, an id has no prefix, or no row is left.
    """
    reader: MappingReader = find_component("mappings", config.type)(config)
    if not config.path.exists():
        raise DataError("no such file", path=config.path, fix=config.hint or "look at the mapping's `path`")
    report = MappingReport(str(config.path))
    rows = _sorted(_Wanted(config, report).rows(reader.read(report)), report)
    if not rows.num_rows:
        found = ", ".join(f"{p}: {n}" for p, n in sorted(report.predicates.items())) or "none"
        raise DataError(
            f"holds no mapping to use; rows by predicate: {found}",
            path=config.path,
            fix=f"`predicates` asks for {', '.join(config.predicates)}",
        )
    mapping = Mapping(rows, config, report)
    report.rows, report.sources = len(mapping), len(mapping.sources)
    report.targets = len(pc.unique(mapping.rows.column("target")))
    report.several = int((np.diff(np.append(mapping._starts, len(mapping))) > 1).sum())
    return mapping


@dataclass(slots=True)
class _Wanted:
    """What is used of the rows of a file."""

    config: MappingConfig
    report: MappingReport

    def rows(self, rows: Iterable[MappingRow]) -> pa.Table:
        """Return the rows that are used, in columns."""
        config, report = self.config, self.report
        columns: list[list[object]] = [[], [], [], [], []]
        for row in rows:
            report.read += 1
            predicate = inverse(row.predicate) if config.inverse else row.predicate
            report.predicates[predicate] += 1
            source = self._curie(row.source, config.source_prefix, "source", row)
            target = self._curie(row.target, config.target_prefix, "target", row)
            if predicate not in config.predicates:
                report.skip(f"row of the predicate {predicate}", row.line)
            elif row.confidence is not None and row.confidence < config.min_confidence:
                report.skip("row of too little confidence", row.line)
            else:
                pair = (target, source) if config.inverse else (source, target)
                for column, value in zip(columns, (*pair, predicate, row.confidence, row.line), strict=True):
                    column.append(value)
        arrays = [
            pa.array(column, pa.string() if pa.types.is_dictionary(field.type) else field.type).cast(field.type)
            for column, field in zip(columns, ROWS, strict=True)
        ]
        return pa.table(arrays, ROWS)

    def _curie(self, identifier: str, prefix: str | None, side: str, row: MappingRow) -> str:
        known, colon, local = identifier.partition(":")
        if not colon:
            if prefix is None:
                raise DataError(
                    f"the {side} id '{identifier[:60]}' has no prefix",
                    path=self.config.path,
                    line=row.line,
                    fix=f"set `{side}_prefix`",
                )
            known, local = prefix, identifier
        return f"{self.config.rename_prefixes.get(known, known)}:{local}"


def _sorted(rows: pa.Table, report: MappingReport) -> pa.Table:
    """Return rows by source, in the order of trust, each pair once."""
    if not rows.num_rows:
        return rows
    trust = pc.index_in(rows.column("predicate").cast(pa.string()), value_set=pa.array(PREDICATES))
    confidence = pc.fill_null(rows.column("confidence"), -1.0)
    keys = rows.append_column("trust", trust).append_column("sure", confidence)
    keys = keys.append_column("order", pa.array(np.arange(rows.num_rows)))
    order = pc.sort_indices(
        keys,
        sort_keys=[("source", "ascending"), ("trust", "ascending"), ("sure", "descending"), ("order", "ascending")],
    )
    rows = rows.take(order).combine_chunks()
    ids = [as_array(rows.column(c)).dictionary_encode() for c in ("source", "target")]
    pair = ids[0].indices.to_numpy().astype(np.int64) * len(ids[1].dictionary) + ids[1].indices.to_numpy()
    _, first = np.unique(pair, return_index=True)
    if len(first) < rows.num_rows:
        twice = np.setdiff1d(np.arange(rows.num_rows), first)
        for line in rows.column("line").take(pa.array(twice)).to_pylist():
            report.skip("row with the same two ids as another one", line)
        rows = rows.take(pa.array(np.sort(first))).combine_chunks()
    return rows


def as_array(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
