"""Which reader reads a file."""

import io
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from xnorm.corpora.base import Reader, ReadReport
from xnorm.errors import ConfigError, DataError
from xnorm.reading import reader_for
from xnorm.registry import list_components

BIGBIO = json.dumps({"passages": [], "entities": []})


@pytest.mark.parametrize(
    ("name", "content", "reader"),
    [
        ("m.txt", "mal de tête", "TextReader"),
        ("M.TXT.GZ", "plain after all", "TextReader"),
        ("m.txt", "\n\n123|t|Title\n", "PubtatorReader"),
        ("m.txt", "a|t|Title\n", "TextReader"),
        ("m.txt", "\n \n", "TextReader"),
        ("m.pubtator", "x-1|t|Title", "PubtatorReader"),
        ("m.csv", "a,b", "TableReader"),
        ("m.tsv", "a", "TableReader"),
        ("m.jsonl", '{"mention": "a"}', "JsonlReader"),
        ("m.ndjson", '{"text": "a", "mentions": []}', "JsonlReader"),
        ("m.jsonl", "\n" + BIGBIO, "BigbioReader"),
        ("m.jsonl", "[1]", "JsonlReader"),
        ("m.jsonl", "{broken", "JsonlReader"),
        ("m.ann", "", "BratReader"),
    ],
)
def test_reader_by_ending_and_first_line(tmp_path, name, content, reader):
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    assert type(reader_for(path)).__name__ == reader
    assert reader_for(path).config.path == path


def test_folders_are_brat(tmp_path):
    assert type(reader_for(tmp_path)).__name__ == "BratReader"


@pytest.mark.parametrize("format", ["text", "table", "jsonl", "bigbio", "pubtator", "brat"])
def test_the_named_format_wins(tmp_path, format):
    assert f"xnorm.corpora.{format}" == type(reader_for(tmp_path / "any.txt", format=format)).__module__
    assert format in list_components("corpora")


@pytest.mark.parametrize(("format", "content"), [("csv", '"a,b"\n'), ("tsv", "a,b\n"), ("txt", "a,b\n")])
def test_endings_serve_as_formats_of_standard_input(monkeypatch, format, content):
    head = "" if format == "txt" else "mention\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO((head + content).encode())))
    assert [m.text for m in reader_for(Path("-"), format=format).mentions(ReadReport())] == ["a,b"]


def test_choosing_a_reader_leaves_standard_input_alone(monkeypatch):
    stdin = io.BytesIO(b'{"mention": "a"}\n')
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=stdin))
    assert type(reader_for(Path("-"))).__name__ == "TextReader"
    reader = reader_for(Path("-"), format="jsonl")
    assert stdin.tell() == 0
    assert [m.text for m in reader.mentions(ReadReport())] == ["a"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_read_once(tmp_path):
    pipe = tmp_path / "m.txt"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("123|t|a\nb\n",), daemon=True)
    writer.start()
    assert [m.text for m in reader_for(pipe).mentions(ReadReport())] == ["123|t|a", "b"]
    writer.join()


def test_brat_from_standard_input_is_refused():
    with pytest.raises(
        DataError, match=r"^-: BRAT is texts and annotations in two files; name a folder or an \.ann file$"
    ):
        next(reader_for(Path("-"), format="brat").documents(ReadReport()))


def test_options_reach_the_config(tmp_path):
    path = tmp_path / "m.tsv"
    path.write_text("x;y\n1;2\n")
    reader = reader_for(path, options={"column": "y", "delimiter": ";", "lang": "GER"})
    assert [(m.text, m.lang) for m in reader.mentions(ReadReport())] == [("2", "de")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colum": "x"}, "reader table: unknown key 'colum'; did you mean 'column'?"),
        ({"path": "y"}, "reader table: 'path' is not an option"),
        ({"column": 3}, "reader table: column: Input should be a valid string (found 3)"),
    ],
)
def test_unknown_options_are_refused(tmp_path, options, message):
    (tmp_path / "m.csv").write_text("x\n")
    with pytest.raises(ConfigError) as caught:
        reader_for(tmp_path / "m.csv", options=options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("m.jsnl", "no format goes with the ending '.jsnl'; did you mean '.jsonl'? known endings: "),
        ("m.xlsx", "no format goes with the ending '.xlsx'; known endings: "),
        ("mentions", "the file name has no ending; known endings: "),
    ],
)
def test_unknown_endings_are_refused(tmp_path, name, start):
    path = tmp_path / name
    path.write_text("x")
    with pytest.raises(ConfigError) as caught:
        reader_for(path)
    assert str(caught.value) == (
        f"{path}: {start}.ann, .csv, .jsonl, .ndjson, .parquet, .pubtator, .tsv, .txt; or name the format: "
        "bigbio, brat, jsonl, names, pubtator, synthetic, table, text"
    )


def test_unknown_formats_are_refused():
    with pytest.raises(ConfigError, match=r"^unknown type 'pubtater' of corpora; did you mean 'pubtator'\?$"):
        reader_for(Path("-"), format="pubtater")


class OwnReader(Reader):
    """A user's own."""

    def documents(self, report):
        return iter(())


def test_own_readers_by_module_and_class(tmp_path):
    assert type(reader_for(tmp_path, format=f"{__name__}:OwnReader")).__name__ == "OwnReader"
