"""Rows of data files: JSON Lines, Parquet, folders that `datasets` saved, and datasets of the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xnorm.errors import ConfigError, DataError
from xnorm.files import read_json_lines, suffix
from xnorm.registry import did_you_mean, require

__all__ = ["is_rows_folder", "read_hub", "read_rows", "row_files"]

Rows = Iterator[tuple[int, dict[str, Any]]]
"""(number from 1, row); the number is the line in JSON Lines."""

_DICT, _STATE = "dataset_dict.json", "state.json"
_BATCH = 64


def is_rows_folder(path: Path) -> bool:
    """Return whether a folder is one that `datasets` saved, or holds Parquet files."""
    return any((path / name).is_file() for name in (_DICT, _STATE)) or any(path.glob("*.parquet"))


def read_rows(path: Path, *, split: str | None = None) -> Rows:
    """Yield the rows of a file or folder.

    Args:
        path: JSON Lines, Parquet, a folder of Parquet files named by split (`test.parquet`,
            `train-00000-of-00002.parquet`), or what `Dataset.save_to_disk` and `DatasetDict.save_to_disk` write.
        split: the split to read, where there are several.

    Raises:
        DataError: missing, damaged, or no such split.
    """
    if path.is_dir():
        return _numbered(row_files(path, split))
    if split is not None:
        raise ConfigError(f"{path}: is one file, and `split` is of a folder with several; drop it")
    if suffix(path) == ".parquet":
        return _numbered([path])
    return read_json_lines(path)


def read_hub(name: str, revision: str, *, subset: str | None = None, split: str | None = None) -> Rows:
    """Yield the rows of a dataset of the Hugging Face hub at one commit; it must be in data files, not a script.

    Raises:
        MissingExtraError: the package `datasets` is not installed.
        DataError: there is no such dataset, subset or split, it is a loading script, or the hub cannot be reached.
    """
    datasets = require("datasets", extra="torch", what=f"the hub dataset {name}")
    try:
        found = datasets.load_dataset(name, subset, revision=revision, split=split)
    except Exception as e:
        fix = "data_scripts/bigbio.py makes Parquet of a loading script" if "script" in str(e) else None
        raise DataError(f"dataset '{name}' cannot be loaded from the hub: {' '.join(str(e).split())}", fix=fix) from e
    if isinstance(found, dict):
        found = found[_choose(list(found), None, f"dataset '{name}'")]
    return ((number, dict(row)) for number, row in enumerate(found, 1))


def _choose(splits: list[str], wanted: str | None, where: str) -> str:
    if wanted is None and len(splits) == 1:
        return splits[0]
    if wanted is None:
        raise ConfigError(f"{where} has several splits; choose one with `split`: {', '.join(splits)}")
    if wanted not in splits:
        raise ConfigError(f"{where} has no split '{wanted}'; {did_you_mean(wanted, splits)}")
    return wanted


def row_files(path: Path, split: str | None) -> list[Path]:
    """Return the data files of a folder, or of one of its splits.

    Raises:
        ConfigError, DataError: as `read_rows`.
    """
    if (path / _DICT).is_file():
        splits = _strings(_json(path / _DICT), "splits", path / _DICT)
        return _saved_files(path, _choose(splits, split, str(path)))
    if (path / _STATE).is_file():
        if split is not None:
            raise ConfigError(f"{path}: is one dataset without splits; drop `split`")
        return _saved_files(path, ".")
    files: dict[str, list[Path]] = {}
    for file in sorted(path.glob("*.parquet")):
        files.setdefault(file.stem.partition("-0")[0], []).append(file)
    if not files:
        raise DataError("holds no Parquet files, and nothing that `datasets` saved", path=path)
    return files[_choose(list(files), split, str(path))]


def _saved_files(path: Path, split: str) -> list[Path]:
    """Return the Arrow files of a dataset that was saved, none outside of its folder."""
    folder = path / split
    state = _json(folder / _STATE)
    entries = state.get("_data_files")
    names = [str(e.get("filename")) for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    if not names or not all(map(_is_name, names)):
        raise DataError("does not list its data files by name", path=folder / _STATE)
    if state.get("_indices_data_files"):
        raise DataError("is a selection of rows", path=folder, fix="call flatten_indices() before save_to_disk()")
    return [folder / name for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (OSError, ValueError, RecursionError) as e:
        raise DataError(f"cannot be read: {e}", path=path) from None
    if not isinstance(data, dict):
        raise DataError("expected a JSON object", path=path)
    return data


def _is_name(text: str) -> bool:
    """Return whether a text names something in the folder itself."""
    return Path(text).name == text and text not in ("", ".", "..")


def _strings(data: dict[str, Any], key: str, path: Path) -> list[str]:
    values = data.get(key)
    if not isinstance(values, list) or not all(isinstance(v, str) and _is_name(v) for v in values):
        raise DataError(f"'{key}': expected a list of folder names", path=path)
    return list(values)


def _numbered(files: list[Path]) -> Rows:
    number = 0
    for path in files:
        for row in _file_rows(path):
            number += 1
            yield number, row


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH):
                    batch.validate(full=True)
                    yield from batch.to_pylist()
        else:
            with pa.OSFile(str(path)) as source:
                for batch in pa.ipc.open_stream(source):
                    batch.validate(full=True)  # offsets of a damaged file would lead anywhere
                    yield from batch.to_pylist()
    except FileNotFoundError:
        raise DataError("no such file", path=path) from None
    except (OSError, ValueError, pa.ArrowException) as e:
        raise DataError(f"cannot be read: {' '.join(str(e).split())[:200]}", path=path) from None
