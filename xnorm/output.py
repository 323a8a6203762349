"""Rankings to files: JSON Lines, or a table with one row a mention."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from xnorm.artifact import is_running
from xnorm.errors import ArtifactError, ConfigError
from xnorm.files import suffix
from xnorm.registry import did_you_mean
from xnorm.text import encodable
from xnorm.types import Candidate, Mention

__all__ = ["FORMATS", "Output", "Writer", "as_record", "format_of", "open_output", "writer"]

FORMATS = ("jsonl", "csv", "tsv", "text")
COLUMNS = ("id", "mention", "concept_id", "name", "score", "matched_name", "lang", "source")

Writer = Callable[[Mention, str, Sequence[Candidate]], None]
"""Called with a mention, its id and its candidates, best first."""


def format_of(path: Path | None, wanted: str | None) -> str:
    """Return the format that the user names, or that the file's ending says; else JSON Lines, but lines for people on
    a terminal.

    Raises:
        ConfigError: an unknown format.
    """
    if wanted is not None:
        if wanted not in FORMATS:
            raise ConfigError(f"--format: unknown '{wanted}'; {did_you_mean(wanted, FORMATS)}")
        return wanted
    if path is None:
        return "text" if sys.stdout.isatty() else "jsonl"
    ending = {"ndjson": "jsonl", "json": "jsonl", "txt": "text"}.get(suffix(path)[1:], suffix(path)[1:])
    if ending and ending not in FORMATS:
        raise ConfigError(
            f"--output {path}: no format goes with '.{ending}'; {did_you_mean(ending, FORMATS)}; or --format"
        )
    return ending or "jsonl"


@dataclass(slots=True)
class Output:
    """An open output, and how far an earlier run of the same job got with it."""

    file: TextIO
    done: dict[str, int] = field(default_factory=dict)
    """What the earlier run had counted when it last called `keep`; empty for a fresh start."""
    state: Path | None = None
    job: str | None = None

    def keep(self, done: dict[str, int]) -> None:
        """Remember that everything written so far belongs to these counts, for a run that resumes."""
        self.file.flush()
        if self.state is not None:
            size = os.fstat(self.file.fileno()).st_size
            text = json.dumps({"job": self.job, "pid": os.getpid(), "bytes": size, "done": done})
            new = self.state.with_name(self.state.name + "-new")
            new.write_text(text, encoding="utf-8")
            new.replace(self.state)


@contextlib.contextmanager
def open_output(path: Path | None, *, overwrite: bool, job: str | None = None) -> Iterator[Output]:
    """Open standard output (None), or a file that takes its place only when everything has been written.

    Args:
        job: what is being done, so that the same job can go on where a killed run stopped; None: always from the start.

    Raises:
        ArtifactError: the file exists and may not be replaced, or cannot be written.
    """
    if path is None:
        with _standard_output() as file:
            yield Output(file)
        return
    if path.is_dir() or (path.exists() and not overwrite):
        raise ArtifactError(f"{path}: exists already; pass --overwrite to replace it, or choose another --output")
    part = path.parent / f".{path.name}.part-{job[:12] if job else os.getpid()}"
    state = part.with_name(part.name + ".json") if job else None
    # before the `try`, whose end removes the part: it may be that of a run at work
    size, done = _left_by_killed_run(part, state, job, path)
    finished = False
    try:
        with part.open("r+" if size else "w", encoding="utf-8", newline="") as file:
            file.seek(size)
            file.truncate()
            output = Output(file, done, state, job)
            output.keep(done)
            yield output
        finished = True
        part.replace(path)
    except OSError as e:
        hint = f"; create {path.parent} first" if not path.parent.exists() else ""
        raise ArtifactError(f"{path}: cannot be written: {e.strerror or e}; nothing was changed{hint}") from e
    except KeyboardInterrupt:  # as a kill: the next run goes on from here
        finished = job is None
        raise
    except BaseException:
        finished = True
        raise
    finally:
        if finished:
            for rest in (part, state):
                if rest is not None:
                    rest.unlink(missing_ok=True)


@contextlib.contextmanager
def _standard_output() -> Iterator[TextIO]:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as e:
        raise ArtifactError(f"standard output: cannot be written: {e.strerror or e}") from e


def _left_by_killed_run(part: Path, state: Path | None, job: str | None, path: Path) -> tuple[int, dict[str, int]]:
    """Return how many bytes of a part are whole, and what they count; zero and nothing if there is none.

    Raises:
        ArtifactError: the run that writes it is still at work.
    """
    if state is None:
        return 0, {}
    try:
        left = json.loads(state.read_text(encoding="utf-8"))
        if left["pid"] != os.getpid() and is_running(left["pid"]):
            raise ArtifactError(f"{path}: process {left['pid']} is writing it just now; wait for it, or end it")
        if left["job"] == job and part.stat().st_size >= left["bytes"]:
            return int(left["bytes"]), {str(k): int(v) for k, v in left["done"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    return 0, {}


def writer(file: TextIO, format: str, *, explain: bool = False, header: bool = True) -> Writer:
    """Return a function that writes one mention with its candidates.

    Args:
        format: one of `FORMATS`. A table has one row a mention: its best candidate, and the ids of the others.
        header: write a table's first row.
        explain: also write what each member of an ensemble said of a candidate (not in a table).
    """
    if format == "jsonl":
        return lambda mention, identifier, candidates: _write_json(file, mention, identifier, candidates, explain)
    if format == "text":
        return lambda mention, _, candidates: _write_text(file, mention, candidates, explain)
    if explain:
        raise ConfigError(f"--explain: a {format} table has no room for it; use --format jsonl or text")
    table = csv.writer(file, delimiter="," if format == "csv" else "\t", lineterminator="\n")
    if header:
        table.writerow((*COLUMNS, "others"))

    def write(mention: Mention, identifier: str, candidates: Sequence[Candidate]) -> None:
        best = [str(getattr(candidates[0], column)) for column in COLUMNS[2:]] if candidates else [""] * 6
        others = "|".join(c.concept_id for c in candidates[1:])
        cells = [identifier, mention.text, *best, others]
        # a cell of a TSV file holds neither tabs nor line ends
        table.writerow(cells if format == "csv" else [" ".join(c.split()) for c in cells])

    return write


def _write_json(
    file: TextIO, mention: Mention, identifier: str, candidates: Sequence[Candidate], explain: bool
) -> None:
    record = {
        "id": identifier,
        "mention": mention.text,
        "candidates": [as_record(c, explain=explain) for c in candidates],
    }
    file.write(encodable(json.dumps(record, ensure_ascii=False, allow_nan=False)) + "\n")


def _write_text(file: TextIO, mention: Mention, candidates: Sequence[Candidate], explain: bool) -> None:
    file.write(f"{mention.text}\n" if candidates else f"{mention.text}\n  NIL\n")
    width = max((len(c.concept_id) for c in candidates), default=0)
    for c in candidates:
        matched = "" if c.matched_name == c.name else f"  [{c.matched_name}]"
        file.write(f"  {c.score:6.3f}  {c.concept_id:<{width}}  {c.name}{matched}\n")
        if explain and c.members:
            said = (f"{name} {m.score:.3f}" + (f" (rank {m.rank})" if m.rank else "") for name, m in c.members.items())
            file.write(f"          {', '.join(said)}\n")


def as_record(candidate: Candidate, *, explain: bool = False) -> dict[str, Any]:
    """Return a candidate as the keys of the JSON output."""
    record: dict[str, Any] = {
        "concept_id": candidate.concept_id,
        "name": candidate.name,
        "score": candidate.score,
        "matched_name": candidate.matched_name,
        "lang": candidate.lang,
        "source": candidate.source,
    }
    if explain and candidate.members:
        record["members"] = {n: {"score": m.score, "rank": m.rank} for n, m in candidate.members.items()}
    return record
