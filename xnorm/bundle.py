"""The reranker in an index folder: its model folder is copied there with the index, or put there afterwards.

`INDEX/reranker` is a folder of `xnorm train` or `xnorm export` as it is, checked by a manifest of its own; that of the
index does not list its files, so it may be replaced.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xnorm.artifact import MANIFEST, kind_of, open_folder, sha256_file
from xnorm.config import ComponentConfig
from xnorm.errors import ArtifactError
from xnorm.reranking.base import RerankerConfig

__all__ = ["PLACE", "TYPES", "about_reranker", "model_checksum", "pack_reranker", "reranker_settings"]

PLACE = "reranker"
"""The folder's name in an index folder."""
TYPES = {"reranker": "cross_encoder", "reranker-onnx": "onnx"}
"""Kind of a model folder -> type of the reranker that reads it."""


def pack_reranker(config: ComponentConfig | None, index: Path) -> str | None:
    """Copy the model folder of a reranker, if it has one, into an index folder that is being written.

    Returns:
        The checksum of the copy's manifest, which tells it from a folder that is put there later.

    Raises:
        ArtifactError: the model folder is not there any more, or damaged.
    """
    source: Path | None = getattr(config, "path", None)
    kind = {name: kind for kind, name in TYPES.items()}.get(config.type if config else "")
    if source is None or kind is None:
        return None
    for name in (*open_folder(source, kind=kind, verify=False)["files"], MANIFEST):
        target = index / PLACE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target)  # what a link points to, so that nothing in the copy is outside of it
    try:
        open_folder(index / PLACE, kind=kind, verify=True)
    except ArtifactError:
        raise ArtifactError(
            f"{source}: cannot be copied into the index: it is damaged, or was written anew meanwhile"
        ) from None
    return sha256_file(index / PLACE / MANIFEST)


def reranker_settings(index: Path, manifest: Mapping[str, Any], *, verify: bool = False) -> dict[str, Any] | None:
    """Return the settings of an index's reranker: the one in its folder, else the one that its config names.

    A folder that was put there later is used as its kind says, with no saved settings but `top` and `margin`.

    Args:
        manifest: of the index.
        verify: check every byte of the folder, and not only that its files are there with the right sizes.

    Raises:
        ArtifactError: the folder is no reranker or damaged; or there is none, nor the path that the config names.
    """
    saved: dict[str, Any] | None = manifest["config"].get("reranker")
    inner = index / PLACE
    about = _open(inner, verify=verify)
    if about is None:
        if saved is not None and _is_missing(saved):
            raise ArtifactError(
                f"{index}: its reranker {saved['path']} is not there; copy that folder to {inner}, or pass another as "
                "overrides={'reranker': ...} (None: go without), or a config instead of the folder"
            )
        return saved
    own = saved or {}
    if not _is_saved(inner, manifest):
        own = {key: value for key, value in own.items() if key in RerankerConfig.model_fields}
        own["type"] = TYPES[about["kind"]]
    return {**own, "path": str(inner.absolute())}


def about_reranker(index: Path, manifest: Mapping[str, Any], *, verify: bool | None = None) -> dict[str, Any] | None:
    """Say which reranker an index has, without loading it: plain data for JSON.

    Args:
        manifest: of the index.
        verify: as in `xnorm.artifact.open_folder`.

    Raises:
        ArtifactError: the folder is no reranker or damaged.
    """
    saved: dict[str, Any] = manifest["config"].get("reranker") or {}
    inner = index / PLACE
    about = _open(inner, verify=verify)
    if about is None and not saved:
        return None
    if about is None:
        origin = saved.get("path") and f"{saved['path']}{', which is not there' if _is_missing(saved) else ''}"
        name = saved.get("model")
        return {"type": saved["type"], "kind": None, "name": name, "about": None, "from": origin, "bytes": 0}
    with_index = _is_saved(inner, manifest)
    source = about.get("source") or about  # an exported one says what it was made of
    return {
        "type": saved["type"] if with_index else TYPES[about["kind"]],
        "kind": about["kind"],
        "name": source.get("name"),
        "about": source.get("about"),
        "from": f"{saved['path']}, copied with the index" if with_index else f"{inner}, put there later",
        "bytes": sum(entry["bytes"] for entry in about["files"].values()),
    }


def model_checksum(config: ComponentConfig | None) -> str | None:
    """Return what tells apart two model folders that stood at the same path; None if the reranker has none."""
    path = getattr(config, "path", None)
    return sha256_file(path / MANIFEST) if isinstance(path, Path) and (path / MANIFEST).is_file() else None


def _open(inner: Path, *, verify: bool | None) -> dict[str, Any] | None:
    """Check the folder of a reranker and return its manifest; None if there is no such folder."""
    kind = kind_of(inner)
    if kind is None and not inner.exists() and not inner.is_symlink():
        return None
    if kind not in TYPES:
        found = f"a folder of kind {kind}" if kind else "no folder with a readable manifest"
        raise ArtifactError(
            f"{inner}: is {found}, expected what `xnorm train` writes, or `xnorm export` of that; copy it again, or "
            "remove it"
        )
    if inside := next((path for path in sorted(inner.iterdir()) if kind_of(path) in TYPES), None):
        raise ArtifactError(f"{inside}: was copied into another model folder; remove {inner} first, then copy again")
    return open_folder(inner, kind=kind, verify=verify)


def _is_saved(inner: Path, manifest: Mapping[str, Any]) -> bool:
    """Return whether the folder is the one that was copied with the index."""
    return bool(manifest.get("reranker") == sha256_file(inner / MANIFEST))


def _is_missing(saved: Mapping[str, Any]) -> bool:
    """Return whether settings name a model folder that is not there."""
    path = saved.get("path") if saved["type"] in TYPES.values() else None
    return path is not None and not os.path.exists(path)  # noqa: PTH110  (Path.exists raises where one may not look)
