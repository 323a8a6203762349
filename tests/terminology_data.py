"""Two releases of a small terminology of our own making, as tables and as indexes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from xnorm.cli import app
from xnorm.linker import Linker, LinkerConfig
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology

OLD: list[dict[str, Any]] = [
    {"id": "K:1", "name": "Cold", "types": ["disease"], "parents": ["K:9"], "xrefs": ["M:1"],
     "synonyms": ["Common cold", {"name": "Schnupfen", "lang": "de", "scope": "label"}],
     "definition": "Swelling of the nose | and a cough", "alt_ids": ["K:10"]},
    {"id": "K:2", "name": "cold", "types": ["sensation"], "parents": ["K:9"],
     "synonyms": ["Feeling cold", {"name": "Kältegefühl", "lang": "de"}]},
    {"id": "K:3", "name": "Heart failure", "parents": ["K:9"], "synonyms": ["Failure, heart", "Cardiac insufficiency"]},
    {"id": "K:4", "name": "Left heart failure", "parents": ["K:3"]},
    {"id": "K:5", "name": "Beriberi", "parents": ["K:9", "K:77"]},
    {"id": "K:6", "name": "Sjögren's disease", "synonyms": [{"name": "Ξηρότητα", "lang": "el"}]},
    {"id": "K:7", "name": "Cough"},
    {"id": "K:9", "name": "Finding", "synonyms": [{"name": "Befund", "lang": "de", "scope": "label"}]},
    {"id": "K:80", "name": "Old fever", "retired": True, "replaced_by": ["K:7"]},
    {"id": "K:81", "name": "Older fever", "retired": True, "replaced_by": ["K:80"]},
    {"id": "K:82", "name": "Grippe", "retired": True},
]  # fmt: skip
"""The older release."""

NEW: list[dict[str, Any]] = [
    {"id": "K:1", "name": "Nasopharyngitis", "types": ["disease", "infection"], "parents": ["K:5"], "xrefs": ["M:2"],
     "synonyms": ["Cold", "Common cold", {"name": "Schnupfen", "lang": "de", "scope": "label"}],
     "definition": "Swelling of the nose", "alt_ids": ["K:10"]},
    {"id": "K:2", "name": "cold", "types": ["sensation"], "parents": ["K:9"],
     "synonyms": [{"name": "Kältegefühl", "lang": "de", "scope": "related"}, {"name": "Feeling cold", "lang": "fr"}]},
    {"id": "K:3", "name": "Heart failure", "parents": ["K:9"], "synonyms": ["Cardiac insufficiency", "Failure, heart"],
     "alt_ids": ["K:7"]},
    {"id": "K:4", "name": "Left heart failure", "retired": True, "replaced_by": ["K:3", "K:11"]},
    {"id": "K:5", "name": "Beriberi", "retired": True},
    {"id": "K:9", "name": "Finding", "synonyms": [{"name": "Befund", "lang": "de", "scope": "label"}]},
    {"id": "K:11", "name": "Systolic failure", "parents": ["K:3"]},
    {"id": "K:80", "name": "Old fever", "retired": True, "replaced_by": ["K:3"]},
    {"id": "K:82", "name": "Grippe"},
]  # fmt: skip
"""The newer one: K:6 is gone without a trace, K:82 has come back, K:81 is forgotten."""


def write(path: Path, concepts: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(c, ensure_ascii=False) + "\n" for c in concepts), encoding="utf-8")
    return path


def make(path: Path, concepts: list[dict[str, Any]]) -> Terminology:
    write(path, concepts)
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path), "name": path.stem}]))[0]


def make_index(folder: Path, concepts: list[dict[str, Any]]) -> Path:
    """Write an index of concepts with the smallest generator; its source lies beside it."""
    path = write(folder.with_suffix(".jsonl"), concepts)
    config = {
        "name": folder.name,
        "terminology": {"sources": [{"type": "jsonl", "path": str(path), "name": folder.name}]},
        "candidates": {"type": "exact"},
    }
    Linker.build(LinkerConfig.model_validate(config)).save(folder)
    return folder


def invoke(*arguments: Any) -> Any:
    """Run a command and return its result."""
    return CliRunner().invoke(app, [str(a) for a in arguments])


def works(*arguments: Any) -> str:
    """Return what a command that succeeds prints on standard output."""
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def error(*arguments: Any) -> str:
    """Return the one line of a command that fails as user errors do."""
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("error: ")
    return str(line)
