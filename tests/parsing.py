"""What the tests of parsers share: a file is written, read, or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xnorm.config import validate
from xnorm.errors import DataError
from xnorm.registry import find_component
from xnorm.terminology.base import RawConcept, SourceReport

Written = Callable[..., Path]
Parsed = Callable[..., tuple[list[RawConcept], SourceReport]]
Told = Callable[..., str]


def tools(kind: str, default: str, **defaults: Any) -> tuple[Written, Parsed, Told]:
    """Return three functions for the tests of one parser: `written`, `parse`, `message`.

    Args:
        kind: the parser's `type`.
        default: name of the file that is written if none is said.
        defaults: options of the parser, unless others are said.
    """

    def written(tmp_path: Path, content: object, name: str = default) -> Path:
        """Write bytes or text as they are, and all else as JSON."""
        path = tmp_path / name
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(content)
        return path

    def parse(path: Path, **options: Any) -> tuple[list[RawConcept], SourceReport]:
        report, parser = SourceReport("pets", str(path)), find_component("terminology", kind)
        config = validate(parser.config_class, {"type": kind, "path": path, **defaults, **options}, where="test")
        return list(parser(config).read(report)), report

    def message(path: Path, error: type[Exception] = DataError, **options: Any) -> str:
        """Return the error that a file is refused with, on one line."""
        with pytest.raises(error) as e:
            parse(path, **options)
        assert "\n" not in str(e.value)
        return str(e.value)

    return written, parse, message
