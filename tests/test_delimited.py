"""Delimited files in blocks, against splitting each line."""

from __future__ import annotations

import gzip

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xnorm.delimited
from xnorm.delimited import TAG, read_blocks
from xnorm.errors import DataError

KEEP = {"b": TAG, "a": pa.string()}


def read(path, *, columns=("a", "b", "c"), keep=KEEP, **options):
    bad: list[tuple[str, int]] = []
    tables = list(read_blocks(path, columns, keep, skip=lambda *what: bad.append(what), **options))
    return [row for table in tables for row in table.to_pylist()], bad


def by_hand(content: bytes, trailing: bool) -> tuple[list[dict], list[tuple[str, int]]]:
    rows, bad = [], []
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.removesuffix(b"\r").replace(b"\r", b" ")
        cells = line.split(b"|")
        if trailing:
            cells = cells[:-1]
        if not line:
            continue
        try:
            line.decode()
            a, b, _ = (cell.decode() for cell in cells)
        except UnicodeDecodeError:
            bad.append(("row that is not UTF-8", number))
        except ValueError:
            bad.append((f"row with {len(cells)} columns, expected 3", number))
        else:
            rows.append({"b": b, "a": a, "line": number})
    return rows, bad


cells = st.text("ab\r é\"'\\,\t熱", max_size=3).map(str.encode) | st.sampled_from([b"", b"\xff"])
lines = st.lists(cells, min_size=3, max_size=3) | st.lists(cells, min_size=1, max_size=5)


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@settings(max_examples=60, deadline=None)
@given(
    first=st.lists(st.sampled_from([b"x", b"yy"]), min_size=3, max_size=3),
    rest=st.lists(lines, max_size=8),
    end=st.sampled_from([b"\n", b"\r\n"]),
    trailing=st.booleans(),
    packed=st.booleans(),
)
def test_rows_and_lines_as_by_hand(tmp_path_factory, block, first, rest, end, trailing, packed):
    content = b"".join(b"|".join(row) + (b"|" if trailing else b"") + end for row in [first, *rest])
    path = tmp_path_factory.mktemp("delimited") / "file"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xnorm.delimited, "BLOCK", block)
        found, bad = read(path, trailing=trailing)
    rows, expected = by_hand(content, trailing)
    assert (found, sorted(bad, key=lambda b: b[1])) == (rows, expected)


def test_a_header_in_any_order(tmp_path):
    path = tmp_path / "file.txt"
    path.write_bytes(b"\xef\xbb\xbfc\ta\tb\r\n1\tone\tx\r\n2\ttwo\r\n3\tthree\tx\r\n")
    rows, bad = read(path, delimiter="\t", header=True)
    assert rows == [{"b": "x", "a": "one", "line": 2}, {"b": "x", "a": "three", "line": 4}]
    assert bad == [("row with 2 columns, expected 3", 3)]
    path.write_bytes(b"a\tb\n")
    with pytest.raises(DataError, match=r"file.txt:1: has no column 'c'; its columns are: a, b"):
        read(path, delimiter="\t", header=True)
    path.write_bytes(b"a\tb\tc\n")
    assert read(path, delimiter="\t", header=True) == ([], [])


def test_the_first_row_may_be_a_bad_one(tmp_path):
    path = tmp_path / "file"
    for first in (b"x|\n", b"\n", b"x|y|\n", b"1|2|3|4|\n"):
        path.write_bytes(first + b"one|x|1|\n" * 3)
        assert [row["a"] for row in read(path)[0]] == ["one"] * 3
        path.write_bytes(first.replace(b"|\n", b"\n") + b"one|x|1\n" * 3)
        assert [row["a"] for row in read(path)[0]] == ["one"] * 3


def test_empty_files_if_they_may_be(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"")
    assert read(path, empty_ok=True) == ([], [])


def test_bad_files(tmp_path):
    path = tmp_path / "file"
    for content, problem in (
        (b"", r"file: is empty"),
        ("x|y|z\n".encode("utf-16"), r"file: is UTF-16; convert it to UTF-8"),
        (gzip.compress(b"x|y|z\n" * 999)[:-9], r"file: is a damaged gzip file: .*; fetch it again"),
        (b"no delimiter\n" * 12, r"file:1: row with 1 columns, expected 3, and 12 rows like it"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=problem):
            read(path)
    with pytest.raises(DataError, match="no such file"):
        read(tmp_path / "nowhere")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_a_file_without_lines_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(xnorm.delimited, "BLOCK", 4)
    monkeypatch.setattr(xnorm.delimited, "LONGEST", 40)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    with pytest.raises(DataError, match="has a line of more than 100 MB; is it a text file"):
        read(path)
