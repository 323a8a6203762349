"""Folders that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest

from xnorm.artifact import open_folder, write_folder
from xnorm.errors import ArtifactError


def write(path, text="new", **kwargs):
    with write_folder(path, kind="index", about={"note": text}, **kwargs) as folder:
        (folder / "data.txt").write_text(text)


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.startswith(".")]


def test_write_and_open(tmp_path):
    write(tmp_path / "a")
    manifest = open_folder(tmp_path / "a", kind="index")
    assert manifest["note"] == "new"
    assert manifest["files"]["data.txt"]["bytes"] == 3
    assert leftovers(tmp_path) == []


def test_overwrite_must_be_asked_for(tmp_path):
    write(tmp_path / "a", "old")
    with pytest.raises(ArtifactError, match="exists already; pass --overwrite"):
        write(tmp_path / "a")
    assert open_folder(tmp_path / "a", kind="index")["note"] == "old"
    write(tmp_path / "a", overwrite=True)
    assert open_folder(tmp_path / "a", kind="index")["note"] == "new"
    assert leftovers(tmp_path) == []


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="left alone"):
        write(tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("x")
    with pytest.raises(ArtifactError, match="left alone"):
        write(tmp_path / "file", overwrite=True)


def test_an_error_inside_leaves_the_old_folder(tmp_path):
    write(tmp_path / "a", "old")
    with (
        pytest.raises(RuntimeError, match="half way"),
        write_folder(tmp_path / "a", kind="index", overwrite=True, about={}) as folder,
    ):
        (folder / "data.txt").write_text("half")
        raise RuntimeError("half way")
    assert open_folder(tmp_path / "a", kind="index")["note"] == "old"
    assert leftovers(tmp_path) == []


def test_a_full_disk_is_one_line_and_leaves_the_old_folder(tmp_path):
    write(tmp_path / "a", "old")
    with (
        pytest.raises(ArtifactError, match="No space left on device; nothing was changed"),
        write_folder(tmp_path / "a", kind="index", overwrite=True, about={}),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert open_folder(tmp_path / "a", kind="index")["note"] == "old"


KILLED = """
import sys, time
from pathlib import Path
from xnorm.artifact import write_folder
with write_folder(Path(sys.argv[1]), kind="index", overwrite=True, about={}) as folder:
    (folder / "data.txt").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_kill_leaves_the_old_folder_and_the_next_run_clears_up(tmp_path):
    write(tmp_path / "a", "old")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "a")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.communicate()
    assert open_folder(tmp_path / "a", kind="index")["note"] == "old"
    assert len(leftovers(tmp_path)) == 1
    write(tmp_path / "a", "newer", overwrite=True)
    assert open_folder(tmp_path / "a", kind="index")["note"] == "newer"
    assert leftovers(tmp_path) == []


def test_a_kill_between_the_two_renames_is_undone(tmp_path):
    write(tmp_path / "a", "old")
    (tmp_path / "a").rename(tmp_path / ".a.old")
    assert open_folder(tmp_path / "a", kind="index")["note"] == "old"


def test_two_runs_do_not_remove_each_others_work(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "a")], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    write(tmp_path / "a")
    assert len(leftovers(tmp_path)) == 1
    process.kill()
    process.communicate()


def test_a_manifest_cannot_point_outside(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "secret").write_text("x")
    path = tmp_path / "a" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    manifest["files"]["../secret"] = {"bytes": 1, "sha256": "0"}
    from xnorm.artifact import _digest

    path.write_text(json.dumps({**manifest, "sha256": _digest(manifest)}))
    with pytest.raises(ArtifactError, match="outside"):
        open_folder(tmp_path / "a", kind="index")


def test_large_files_are_checked_by_size_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("xnorm.artifact.VERIFY_UP_TO", 2)
    write(tmp_path / "a")
    (tmp_path / "a" / "data.txt").write_text("nex")
    open_folder(tmp_path / "a", kind="index")
    with pytest.raises(ArtifactError, match="damaged"):
        open_folder(tmp_path / "a", kind="index", verify=True)
    with pytest.raises(
        ArtifactError, match=r"is what `xnorm index` writes .index., expected encoder, which `xnorm export` writes"
    ):
        open_folder(tmp_path / "a", kind="encoder")
