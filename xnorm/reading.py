"""Which reader reads a file: by the format that the user names, by the file's ending, by its first line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xnorm.config import validate
from xnorm.corpora.base import Reader
from xnorm.errors import ConfigError, DataError
from xnorm.files import open_text, suffix
from xnorm.registry import did_you_mean, find_component, list_components

__all__ = ["reader_for"]

_SHORT_NAMES: dict[str, tuple[str, dict[str, object]]] = {
    "csv": ("table", {"delimiter": ","}),
    "tsv": ("table", {"delimiter": "\t"}),
    "txt": ("text", {}),
}
"""Endings that people name as formats, for standard input above all."""


def reader_for(path: Path, *, format: str | None = None, options: Mapping[str, object] | None = None) -> Reader:
    """Return the reader of a file, with its options checked.

    Args:
        path: a file, a folder or `-` for standard input, which is one mention a line unless `format` says otherwise.
        format: a variant of `xnorm/corpora` (or `csv`, `tsv`, `txt`, or `module:Class` of your own); default: by the
            file's ending and, where two formats share it, by the first line.
        options: parameters of the reader's config.

    Raises:
        ConfigError: an unknown format or ending, or an option that the reader does not know.
        DataError: there is no such file, or its first line cannot be read.
    """
    name, implied = _SHORT_NAMES.get(format, (format, {})) if format else (_format_of(path), {})
    reader: type[Reader] = find_component("corpora", name)
    options = options or {}
    for key in ("type", "path"):
        if key in options:
            raise ConfigError(f"reader {name}: '{key}' is not an option")
    data = {**implied, **options, "type": name, "path": path}
    return reader(validate(reader.config_class, data, where=f"reader {name}"))


def _format_of(path: Path) -> str:
    if str(path) == "-":
        return "text"
    if not path.exists():
        raise DataError("no such file or folder", path=path)
    readers: dict[str, type[Reader]] = {name: find_component("corpora", name) for name in list_components("corpora")}
    if path.is_dir():
        return next((name for name, reader in readers.items() if reader.recognizes_folder(path)), "brat")
    ending = suffix(path)
    guests = [name for name, reader in readers.items() if ending in reader.shared_extensions]
    if guests and path.is_file():  # a pipe could not be read a second time
        first_line = _first_line(path)
        for name in guests:
            if readers[name].recognizes(first_line):
                return name
    for name, reader in readers.items():
        if ending in reader.extensions:
            return name
    raise _unknown_ending(path, readers)


def _first_line(path: Path) -> str:
    with open_text(path) as file:
        return next((line.strip() for line in file if line.strip()), "")


def _unknown_ending(path: Path, readers: Mapping[str, type[Reader]]) -> ConfigError:
    known = sorted({ending for reader in readers.values() for ending in reader.extensions})
    ending = suffix(path)
    seen = f"no format goes with the ending '{ending}'" if ending else "the file name has no ending"
    hint = did_you_mean(ending, known)
    near = f"{hint} " if hint.endswith("?") else ""
    formats = ", ".join(readers)
    return ConfigError(f"{path}: {seen}; {near}known endings: {', '.join(known)}; or name the format: {formats}")
