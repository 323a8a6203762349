"""The terminology that a corpus is made of: a file of its own, or the `terminology` of a config."""

from __future__ import annotations

from pathlib import Path

from xnorm.config import read_yaml, validate
from xnorm.errors import ConfigError
from xnorm.sources import TerminologyConfig

__all__ = ["source_files", "terminology_at"]


def terminology_at(path: Path) -> TerminologyConfig:
    """Return the terminology of a config (`.yaml`), or that of a file in JSON Lines.

    Raises:
        ConfigError: the config cannot be read, or has no terminology.
    """
    if path.suffix not in (".yaml", ".yml"):
        return validate(TerminologyConfig, {"sources": [{"type": "jsonl", "path": str(path)}]}, where=str(path))
    data = read_yaml(path).get("terminology")
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: has no 'terminology'")
    return validate(TerminologyConfig, data, where=str(path))


def source_files(config: TerminologyConfig) -> list[Path]:
    """Return the files of a terminology's sources, and of those that its aliases are from, sorted."""
    paths = (getattr(source, "path", None) for source in config.every_source)
    return sorted({path for path in paths if isinstance(path, Path)})
