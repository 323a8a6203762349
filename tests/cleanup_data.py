"""A small terminology and short ways to run clean-up stages, for their tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from xnorm.cleanup.base import Parts, StageReport
from xnorm.config import validate
from xnorm.errors import ConfigError
from xnorm.registry import find_component
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.types import Mention

CONCEPTS: list[dict[str, Any]] = [
    {"id": "K:1", "name": "Cold", "synonyms": ["Common cold"], "types": ["T047"], "xrefs": ["M:1", "M:2"]},
    {"id": "K:2", "name": "cold", "types": ["T033"], "xrefs": ["M:2", "M:2"], "alt_ids": ["K:20"]},
    {"id": "K:3", "name": "Heart", "synonyms": [{"name": "Herz", "lang": "de"}], "types": ["T023"], "xrefs": ["K:1"]},
    {"id": "K:4", "name": "Fever", "types": ["Sign or Symptom", "fever"], "xrefs": ["M:4"]},
    {"id": "K:5", "name": "untyped"},
    {"id": "K:90", "name": "obsolete one", "retired": True, "replaced_by": ["K:91"]},
    {"id": "K:91", "name": "obsolete two", "retired": True, "replaced_by": ["K:90", "K:3"]},
    {"id": "K:92", "name": "obsolete three", "retired": True, "replaced_by": ["K:1", "K:4"]},
    {"id": "K:93", "name": "obsolete four", "retired": True},
]


def make_terminology(path: Path, concepts: list[dict[str, Any]]) -> Terminology:
    path.write_text("".join(json.dumps(c) + "\n" for c in concepts))
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]


def stage(type_name: str, /, **options: Any) -> Any:
    """Return a stage, its config checked as that of a YAML file is."""
    cleanup = find_component("cleanup", type_name)
    return cleanup(validate(cleanup.config_class, {"type": type_name, **options}, where="test"))


def run(
    kb: Terminology, mentions: list[Mention], type_name: str, /, **options: Any
) -> tuple[list[Mention], StageReport]:
    """Return what a stage leaves of one part."""
    parts, report = run_parts(kb, {"test": mentions}, type_name, **options)
    assert list(parts) == ["test"]
    return parts["test"], report


def run_parts(kb: Terminology, parts: Parts, type_name: str, /, **options: Any) -> tuple[Parts, StageReport]:
    report = StageReport(type_name)
    left = stage(type_name, **options).apply(parts, kb, report)
    assert sum(map(len, parts.values())) - sum(report.dropped.values()) == sum(map(len, left.values()))
    return left, report


def refused(type_name: str, /, **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        stage(type_name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def gold(*ids: str, **others: Any) -> Mention:
    return Mention("text", gold=ids, **others)


def typed(*types: str) -> Mention:
    return Mention("text", types=types)
