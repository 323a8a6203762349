"""Writing of JSON Lines, for the scripts that make terminologies."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write(records: Iterable[Mapping[str, Any]], output: Path) -> None:
    """Write gzip JSON Lines beside the place and move it there; no time or file name in it, so bytes are equal."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unfinished = output.with_name(output.name + ".part")
    with unfinished.open("wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as file:
        for record in records:
            file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    unfinished.replace(output)
