"""Saved folders: written whole or not at all, described by a manifest, checked when opened.

A folder is filled beside its place (`.NAME.new-…`), then renamed into it; an older folder is set aside
(`.NAME.old`) for the moment in between and put back should the process die there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xnorm.errors import ArtifactError

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST",
    "VERIFY_UP_TO",
    "check_writable",
    "claim_work",
    "is_running",
    "kind_of",
    "open_folder",
    "place_of",
    "sha256_file",
    "sha256_text",
    "write_folder",
]

FORMAT_VERSION = 1
"""Version of the layout of saved folders; a folder of another version is refused."""

MANIFEST = "manifest.json"
"""The file that describes a folder. A saved folder inside of it is left to its own."""
VERIFY_UP_TO = 1 << 28
"""Files above this many bytes are checked by size alone unless a full check is asked for."""


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(f)


def _sha256(f: Any) -> str:
    digest = hashlib.sha256()
    while block := f.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """Return the SHA-256 of a text's UTF-8 bytes in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def place_of(identifier: str) -> float:
    """Return where from 0 to below 1 an id falls, which depends on the id alone: shares of one set are drawn by it."""
    return int(sha256_text(identifier)[:12], 16) / 16**12


def kind_of(path: Path) -> str | None:
    """Return the kind of a saved folder, unchecked; None if there is no readable manifest."""
    _put_back(path)
    try:
        kind = json.loads((path / MANIFEST).read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return kind if isinstance(kind, str) else None


def check_writable(path: Path, *, kind: str, overwrite: bool) -> None:
    """Refuse early what `write_folder` would refuse after the work.

    Raises:
        ArtifactError: something stands at `path` that may not be replaced.
    """
    _put_back(path)
    if not path.exists():
        return
    if not overwrite:
        raise ArtifactError(f"{path}: exists already; pass --overwrite to replace it, or choose another --output")
    if not path.is_dir() or (any(path.iterdir()) and kind_of(path) != kind):
        raise ArtifactError(f"{path}: exists and is no {kind} written by xnorm; it is left alone")


@contextlib.contextmanager
def write_folder(path: Path, *, kind: str, overwrite: bool = False, about: dict[str, Any]) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends without an error it becomes `path`.

    Args:
        path: where the folder shall stand.
        kind: what it is ("index"); a folder of another kind is never replaced.
        about: further keys of the manifest; may be filled inside the block.

    Raises:
        ArtifactError: `path` exists and may not be replaced, or the disk refuses (full, read-only).
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow links)
    check_writable(path, kind=kind, overwrite=overwrite)
    new = path.parent / f".{path.name}.new-{os.getpid()}"
    try:
        _remove_stale(path)
        new.mkdir(parents=True)
        yield new
        _write_manifest(new, kind, about)
        _swap(new, path)
    except OSError as e:
        raise ArtifactError(f"{path}: cannot be written: {e.strerror or e}; nothing was changed") from e
    finally:
        shutil.rmtree(new, ignore_errors=True)


def open_folder(path: str | Path, *, kind: str, verify: bool | None = None) -> dict[str, Any]:
    """Check a saved folder and return its manifest.

    Args:
        kind: what the folder must be.
        verify: True checks every byte, False only that the files are there with the right sizes; None (default)
            checks every byte of files up to 256 MB and the size of larger ones.

    Raises:
        ArtifactError: missing, of another kind or format version, or damaged.
    """
    path = Path(path)
    _put_back(path)
    manifest = _read_manifest(path, kind)
    if manifest.get("kind") != kind:
        raise ArtifactError(
            f"{path}: is what `xnorm {_COMMANDS.get(str(manifest.get('kind')), '?')}` writes ({manifest.get('kind')}), "
            f"expected {kind}, which `xnorm {_COMMANDS.get(kind, kind)}` writes"
        )
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: has format version {manifest.get('format_version')}, this xnorm reads {FORMAT_VERSION}; "
            f"{_again(kind)}"
        )
    files: dict[str, dict[str, Any]] = manifest.get("files", {})
    with ThreadPoolExecutor(2) as pool:
        for problem in pool.map(lambda item: _problem(path, *item, verify=verify), files.items()):
            if problem:
                raise ArtifactError(f"{path}: {problem}; {_again(kind)}")
    return manifest


_COMMANDS = {
    "index": "index",
    "encoder": "export",
    "results": "evaluate",
    "translation": "translate",
    "reranker": "train",
    "encoder-model": "train",
    "reranker-onnx": "export",
}
"""Kind of folder -> the command that writes it."""


def _again(kind: str) -> str:
    return f"build it again with `xnorm {_COMMANDS.get(kind, kind)} --overwrite`"


def _problem(folder: Path, name: str, entry: dict[str, Any], *, verify: bool | None) -> str | None:
    file = folder / name
    if not _is_inside(file, folder):
        return f"its manifest names a file outside of it ({name})"
    if not file.is_file():
        return f"its file {name} is missing"
    size = file.stat().st_size
    if size != entry["bytes"]:
        return f"its file {name} has {size} bytes, expected {entry['bytes']}"
    full = size <= VERIFY_UP_TO if verify is None else verify
    if full and sha256_file(file) != entry["sha256"]:
        return f"its file {name} is damaged (its checksum differs)"
    return None


def _is_inside(file: Path, folder: Path) -> bool:
    return Path(os.path.normpath(file)).is_relative_to(os.path.normpath(folder))


def _read_manifest(path: Path, kind: str) -> dict[str, Any]:
    if not path.exists():
        raise ArtifactError(
            f"{path}: no such {kind}; `xnorm {_COMMANDS.get(kind, kind)} CONFIG --output {path}` writes one"
        )
    try:
        raw = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        about = raw.pop("sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise ArtifactError(f"{path}: is no {kind} written by xnorm (no readable {MANIFEST})") from None
    if raw.get("format_version") == FORMAT_VERSION and about != _digest(raw):
        raise ArtifactError(f"{path}: its {MANIFEST} is damaged (its checksum differs)")
    manifest: dict[str, Any] = raw
    return manifest


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _write_manifest(folder: Path, kind: str, about: dict[str, Any]) -> None:
    apart = {p.parent for p in folder.rglob(MANIFEST) if kind_of(p.parent) in _COMMANDS}
    files = {
        p.relative_to(folder).as_posix(): {"bytes": p.stat().st_size, "sha256": sha256_file(p)}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and apart.isdisjoint(p.parents)
    }
    manifest = json.loads(json.dumps({"kind": kind, "format_version": FORMAT_VERSION, **about, "files": files}))
    text = json.dumps({**manifest, "sha256": _digest(manifest)}, indent=2, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    for p in folder.rglob("*"):
        if p.is_file():
            with p.open("r+b") as f:
                os.fsync(f.fileno())


def _old(path: Path) -> Path:
    return path.parent / f".{path.name}.old"


def _swap(new: Path, path: Path) -> None:
    old = _old(path)
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        _put_back(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_stale(path: Path) -> None:
    """Remove what killed runs left beside `path`; the folder of a process that still runs is left alone."""
    if path.exists():
        shutil.rmtree(_old(path), ignore_errors=True)
    for stale in path.parent.glob(f".{path.name}.new-*"):
        pid = stale.name.rpartition("-")[2]
        if not (pid.isdigit() and is_running(int(pid))):
            shutil.rmtree(stale, ignore_errors=True)


def _is_being_written(path: Path) -> bool:
    """Return whether a process that still runs is about to put a folder in its place."""
    pids = (p.name.rpartition("-")[2] for p in path.parent.glob(f".{path.name}.new-*"))
    return any(pid.isdigit() and int(pid) != os.getpid() and is_running(int(pid)) for pid in pids)


def claim_work(folder: Path, key: str) -> None:
    """Make a work folder ours, from which a killed run goes on, and empty it unless it holds work of the same key.

    Raises:
        ArtifactError: another process is at work there, or it cannot be written.
    """
    state = folder / "state.json"
    try:
        left = json.loads(state.read_text(encoding="utf-8"))
        if left["pid"] != os.getpid() and is_running(left["pid"]):
            raise ArtifactError(
                f"{folder}: process {left['pid']} is at work here; wait for it, or delete the folder if that process "
                "is another program"
            )
        same = left["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    try:
        if not same:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps({"key": key, "pid": os.getpid()}), encoding="utf-8")
    except OSError as e:
        raise ArtifactError(f"{folder}: cannot be written: {e.strerror or e}") from e


def is_running(pid: int) -> bool:
    """Return whether a process of this machine has that number; where that cannot be told, whether it may."""
    if pid == os.getpid() or os.name != "posix":
        return pid != os.getpid()
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _put_back(path: Path) -> None:
    """Undo a swap that a kill cut in two: the old folder returns to its place."""
    old = _old(path)
    if old.is_dir() and not path.exists() and not _is_being_written(path):
        with contextlib.suppress(OSError):
            old.rename(path)
