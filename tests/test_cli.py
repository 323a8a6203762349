"""The command line as a user meets it: exit status, one-line errors, files in and out."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from xnorm.cli import app

KEYS = ["concept_id", "name", "score", "matched_name", "lang", "source"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def invoke(*arguments, input=None):
        return runner.invoke(app, [str(a) for a in arguments], input=input)

    return invoke


@pytest.fixture
def config_file(config, tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def index(run, config_file, tmp_path):
    assert run("index", config_file, "--quiet").exit_code == 0
    return tmp_path / "index" / "tiny"


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def fails(result, *words):
    """Check that a command failed as a user error does: status 2, one line on standard error, no traceback."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0], lines[0]
    return True


def test_index_then_link(run, config_file, index):
    assert (index / "manifest.json").is_file()
    result = run("link", index, "--text", "Herzinsuffizienz", "--text", "mal de tête", "--top-k", 3)
    assert result.exit_code == 0
    first, second = records(result.stdout)
    assert list(first) == ["id", "mention", "candidates"]
    assert (first["id"], first["mention"]) == ("1", "Herzinsuffizienz")
    assert [list(c) for c in first["candidates"]] == [KEYS] * 3
    assert first["candidates"][0]["concept_id"] == "T:001"
    assert second["candidates"][0] == {
        "concept_id": "T:002",
        "name": "Headache",
        "score": 1.0,
        "matched_name": "mal de tête",
        "lang": "fr",
        "source": "tiny",
    }


def test_link_given_a_config_builds_the_index_once(run, config_file, tmp_path):
    assert (
        records(run("link", config_file, "--text", "cold", "-k", 1).stdout)[0]["candidates"][0]["concept_id"] == "T:005"
    )
    manifest = tmp_path / "index" / "tiny" / "manifest.json"
    before = manifest.stat().st_mtime_ns
    assert run("link", config_file, "--text", "cold").exit_code == 0
    assert manifest.stat().st_mtime_ns == before
    changed = yaml.safe_load(config_file.read_text()) | {"max_chars": 3}  # no index depends on it
    config_file.write_text(yaml.safe_dump(changed))
    (line,) = records(run("link", config_file, "--text", "colitis", "--text", "col").stdout)[:1]
    assert line["candidates"] == records(run("link", config_file, "--text", "col").stdout)[0]["candidates"]
    assert manifest.stat().st_mtime_ns == before
    changed["candidates"]["members"]["tfidf"]["ngrams"] = [3, 3]
    config_file.write_text(yaml.safe_dump(changed))
    assert fails(run("link", config_file, "--text", "cold"), "other settings", "--overwrite")


def test_explain_and_threshold(run, index):
    out = run("link", index, "--text", "headache", "--explain", "--threshold", 0.9).stdout
    (candidate,) = records(out)[0]["candidates"]
    assert candidate["members"]["exact"] == {"score": 0.99, "rank": 1}


@pytest.mark.parametrize(
    ("name", "content", "arguments"),
    [
        ("m.txt", "headache\n\ncold\n", []),
        ("m.csv", "code,diagnosis\n1,headache\n2,\n3,cold\n", ["--column", "diagnosis"]),
        ("m.tsv", "id\tmention\n1\theadache\n2\t\n3\tcold\n", []),
        ("m.jsonl", '{"mention": "headache"}\n{"mention": ""}\n{"mention": "cold"}\n', []),
    ],
)
def test_inputs_by_extension(run, index, tmp_path, name, content, arguments):
    (tmp_path / name).write_text(content, encoding="utf-8")
    result = run("link", index, name, *arguments)
    assert result.exit_code == 0, result.stderr
    assert [r["mention"] for r in records(result.stdout)] == ["headache", "", "cold"]
    assert [bool(r["candidates"]) for r in records(result.stdout)] == [True, False, True]
    assert "1 of 3 mentions were empty and got an empty ranking" in result.stderr


def test_bigbio_brat_and_pubtator(run, index, tmp_path):
    document = {
        "id": "1", "document_id": "d1",
        "passages": [{"id": "p", "type": "text", "text": ["bad headache"], "offsets": [[0, 12]]}],
        "entities": [{"id": "e1", "type": "symptom", "text": ["headache"], "offsets": [[4, 12]], "normalized": []}],
        "events": [], "coreferences": [], "relations": [],
    }  # fmt: skip
    (tmp_path / "corpus.jsonl").write_text(json.dumps(document) + "\n")
    (tmp_path / "brat").mkdir()
    (tmp_path / "brat" / "a.txt").write_text("bad headache")
    (tmp_path / "brat" / "a.ann").write_text("T1\tSymptom 4 12\theadache\n")
    (tmp_path / "a.pubtator").write_text("7|t|bad headache\n7|a|\n7\t4\t12\theadache\tSymptom\t-\n")
    for path in ("corpus.jsonl", "brat", "a.pubtator"):
        result = run("link", index, path, "-k", 1)
        assert result.exit_code == 0, result.stderr
        assert [r["candidates"][0]["concept_id"] for r in records(result.stdout)] == ["T:002"]


def test_standard_input(run, index):
    result = run("link", index, input="headache\ncold\n")
    assert [r["mention"] for r in records(result.stdout)] == ["headache", "cold"]
    result = run("link", index, "-", "--input-format", "jsonl", input='{"mention": "cold"}\n')
    assert records(result.stdout)[0]["candidates"][0]["concept_id"] == "T:005"


def test_a_table_has_one_row_a_mention(run, index, tmp_path):
    (tmp_path / "m.txt").write_text("headache\n\ncold\n")
    assert run("link", index, "m.txt", "--output", "out.csv", "-k", 2).exit_code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"))))
    assert [r["concept_id"] for r in rows] == ["T:002", "", "T:005"]
    assert list(rows[0]) == ["id", "mention", *KEYS, "others"]
    assert rows[2]["others"] == "T:006"
    tsv = run("link", index, "m.txt", "--format", "tsv", "-k", 1).stdout
    assert tsv.splitlines()[1].split("\t")[:3] == ["1", "headache", "T:002"]
    text = run("link", index, "--text", "mal de tete", "--format", "text", "-k", 1).stdout
    assert text.splitlines()[1].split() [1:] == ["T:002", "Headache", "[mal", "de", "tête]"]  # fmt: skip


def test_output_is_whole_or_not_there(run, index, tmp_path):
    (tmp_path / "m.csv").write_text("mention,x\nheadache,1\nragged\n")
    assert fails(run("link", index, "m.csv", "--output", "out.jsonl"), "m.csv:3", "cells")
    assert not (tmp_path / "out.jsonl").exists()
    (tmp_path / "out.jsonl").write_text("mine")
    assert fails(run("link", index, "--text", "cold", "--output", "out.jsonl"), "exists already", "--overwrite")
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    assert run("link", index, "--text", "cold", "--output", "out.jsonl", "--overwrite").exit_code == 0
    assert records((tmp_path / "out.jsonl").read_text())[0]["mention"] == "cold"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] == []


def test_user_errors(run, index, tmp_path, config_file):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes("Kopfschmerz\nÜbelkeit\n".encode("latin-1"))
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.docx").write_text("x")
    assert fails(run("link", tmp_path / "nothing", "--text", "x"), "no such index", "xnorm index")
    assert fails(run("link", "hpoo", "--text", "x"), "did you mean 'hpo'?")
    assert fails(run("link", index, "none.txt"), "none.txt", "no such file")
    assert fails(run("link", index, "empty.txt"), "empty.txt", "is empty")
    assert fails(run("link", index, "latin.txt"), "latin.txt:2", "not UTF-8", "convert it")
    assert fails(run("link", index, "two.csv"), "two.csv", "--column")
    assert fails(run("link", index, "two.csv", "--column", "c"), "has no column 'c'")
    assert fails(run("link", index, "x.docx"), "x.docx", ".docx")
    assert fails(run("link", index, "--text", "x", "--top-k", 0), "top_k: expected 1 or more, found 0")
    assert fails(run("link", index, "--text", "x", "--format", "xlsx"), "unknown 'xlsx'")
    assert fails(run("link", index, "m.txt", "--text", "x"), "both given")
    assert fails(run("index", config_file), "exists already", "--overwrite")
    assert fails(
        run("index", config_file, "candidate.depth=3", "--overwrite"), "unknown key 'candidate'", "did you mean"
    )
    assert fails(run("index", "none.yaml"), "none.yaml")
    assert fails(run("info", tmp_path), "is no index")
    (tmp_path / "semi.csv").write_text("nr;diagnosis\n1;headache\n")
    assert fails(run("link", index, "semi.csv"), "semi.csv:1", "looks like several columns", "delimiter=")
    (tmp_path / "m.txt").write_text("cold\n")
    assert fails(run("link", index, "m.txt", "-o", "m.txt", "--overwrite"), "is the input itself")
    assert (tmp_path / "m.txt").read_text() == "cold\n"
    assert fails(run("link", index, "m.txt", "-o", "out.xlsx"), "no format goes with '.xlsx'")
    assert fails(run("link", index, "m.txt", "-o", "none/out.csv"), "create none first")
    assert fails(run("link", index, "m.txt", "--format", "csv", "--explain"), "no room")
    assert fails(run("link", index, "m.txt", "--threshold", "nan"), "threshold")
    assert fails(run("link", "tiny", "--text", "x"), "did you mean index/tiny?")
    assert fails(run("export", config_file), "no encoder of type sentence_transformer")


def test_a_changed_source_is_noticed(run, config_file, tmp_path):
    assert run("link", config_file, "--text", "cold").exit_code == 0
    source = tmp_path / "tiny.jsonl"
    source.write_text(source.read_text().replace("Headache", "Headachy"))
    assert fails(run("link", config_file, "--text", "cold"), "tiny.jsonl has changed since", "--overwrite")


def test_reader_options(run, index, tmp_path):
    (tmp_path / "semi.csv").write_text("nr;diagnosis;sprache\n1;headache;en\n")
    options = ["--option", "delimiter=';'", "--option", "lang_column=sprache", "--column", "diagnosis"]
    result = run("link", index, "semi.csv", *options, "-k", 1)
    assert records(result.stdout)[0]["candidates"][0]["concept_id"] == "T:002"
    assert fails(run("link", index, "semi.csv", "--option", "delimeter=;"), "did you mean 'delimiter'?")


def test_names_of_types_are_no_markup(run, config, config_file, tmp_path):
    source = tmp_path / "tiny.jsonl"
    source.write_text('{"id": "T:1", "name": "Cold", "types": ["[/b]", "[red]x"]}\n')
    result = run("index", config_file)
    assert result.exit_code == 0, result.output
    assert "[/b] 1, [red]x 1" in result.stderr


LIMITED = """
import resource, sys
sys.path.insert(0, {tests!r})
import conftest
conftest.HashConfig.model_fields["dim"].default = 4096
conftest.HashConfig.model_rebuild(force=True)
from xnorm.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sys.argv = ["xnorm", "index", {config!r}, "--quiet", "--overwrite"]
main()
"""


def test_a_disk_that_is_full_is_one_line_and_the_old_index_stays(run, index, config_file, tmp_path):
    code = LIMITED.format(tests=str(Path(__file__).parent), config=str(config_file))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "nothing was changed" in done.stderr
    assert run("link", index, "--text", "cold").exit_code == 0
    assert [p.name for p in (tmp_path / "index").iterdir()] == ["tiny"]


def test_an_index_does_not_choose_what_code_runs(index, tmp_path):
    link = [sys.executable, "-m", "xnorm", "link", str(index), "--text", "cold"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    refused = subprocess.run(link, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "asks for the code of 'conftest:HashEncoder'" in refused.stderr
    trusted = subprocess.run([*link, "--trust"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert trusted.returncode == 0, trusted.stderr


def test_top_k_beyond_the_terminology(run, index):
    assert len(records(run("link", index, "--text", "cold", "-k", 99999).stdout)[0]["candidates"]) == 12


def test_index_options(run, config_file, tmp_path):
    result = run("index", config_file, "max_chars=50", "--output", "other", "--json")
    about = json.loads(result.stdout)
    assert (about["concepts"], about["config"]["max_chars"]) == (12, 50)
    assert run("index", config_file, "--output", "other", "--overwrite", "--quiet").stderr == ""


def test_a_missing_source_leaves_nothing(run, config_file, tmp_path):
    (tmp_path / "tiny.jsonl").unlink()
    assert fails(run("index", config_file), "tiny.jsonl", "no such file")
    assert not (tmp_path / "index" / "tiny").exists()


def test_info(run, index):
    about = json.loads(run("info", index, "--json").stdout)
    assert about["concepts"] == 12
    assert about["names_by_lang"]["ja"] == 3
    text = run("info", index, "--verify").stdout
    for word in ("12", "ensemble(exact, tfidf, dense(conftest:HashEncoder))", "tiny"):
        assert word in text
    assert run("--version").stdout.startswith("xnorm ")


def test_every_command_and_option_has_help(run):
    for command in ([], ["index"], ["link"], ["info"], ["export"]):
        result = run(*command, "--help")
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) > 5


STOP = """
import os, sys
sys.path.insert(0, {tests!r})
import conftest, xnorm.linker, xnorm.output
xnorm.linker.BATCH = 4
keep, batches = xnorm.output.Output.keep, []
def stop(self, done):
    batches.append(done.get("mentions", 0))
    if len(batches) == {stop}:
        self.file.write("half a li")
        self.file.flush()
        os._exit(9)  # as a kill
    keep(self, done)
xnorm.output.Output.keep = stop
from xnorm.cli import main
sys.argv = ["xnorm", "link", {index!r}, "m.txt", "--output", {output!r}, "--quiet", "-k", "2"]
try:
    main()
finally:
    print(batches)
"""


@pytest.mark.parametrize("output", ["out.jsonl", "out.csv"])
def test_a_killed_link_run_is_taken_up_where_it_stopped(run, index, tmp_path, output):
    (tmp_path / "m.txt").write_text("headache\n\ncold\nanaemia\nb\n" * 4)
    whole = run("link", index, "m.txt", "-k", 2, "--output", f"whole.{output.rpartition('.')[2]}")
    assert whole.exit_code == 0

    def link(stop):
        code = STOP.format(tests=str(Path(__file__).parent), index=str(index), output=output, stop=stop)
        return subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)

    assert link(4).returncode == 9
    assert not (tmp_path / output).exists()
    done = link(0)
    assert done.stdout.strip() == "[8, 12, 16, 20]", done.stderr
    assert (tmp_path / output).read_text() == (tmp_path / f"whole.{output.rpartition('.')[2]}").read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_run_at_work_is_left_alone(run, index, tmp_path):
    (tmp_path / "m.txt").write_text("headache\ncold\n")
    code = STOP.format(tests=str(Path(__file__).parent), index=str(index), output="out.jsonl", stop=2)
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True)
    (state,) = tmp_path.glob(".out.jsonl.part-*.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), "pid": os.getppid()}))
    assert fails(run("link", index, "m.txt", "-o", "out.jsonl", "-k", 2), "is writing it just now")
    assert state.exists()
    assert state.with_suffix("").exists()


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
import conftest
import xnorm.embedding
from xnorm.cli import main
encode, blocks = conftest.HashEncoder.encode, []
def slow(self, texts):
    blocks.append(len(texts))
    print(len(texts), flush=True)
    if len(blocks) == {stop}:
        time.sleep(60)
    return encode(self, texts)
conftest.HashEncoder.encode = slow
xnorm.embedding.BLOCK = 8
sys.argv = ["xnorm", "index", {config!r}, "--quiet", "--overwrite"]
main()
"""


def test_a_killed_index_run_leaves_the_old_index_and_the_next_one_resumes(run, index, config_file, tmp_path):
    def command(stop):
        return [sys.executable, "-c", SLOW.format(tests=str(Path(__file__).parent), config=str(config_file), stop=stop)]

    environment = {**os.environ, "XNORM_CACHE": str(tmp_path / "cache")}
    killed = subprocess.Popen(command(2), cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    assert [killed.stdout.readline(), killed.stdout.readline()] == [b"8\n", b"8\n"]
    killed.kill()
    killed.communicate()
    assert records(run("link", index, "--text", "cold", "-k", 1).stdout)[0]["candidates"][0]["concept_id"] == "T:005"
    done = subprocess.run(command(0), cwd=tmp_path, env=environment, capture_output=True, check=True)
    names = json.loads((index / "manifest.json").read_text())["names"]
    assert sum(map(int, done.stdout.split())) == names - 8 - DUPLICATES
    assert [p.name for p in (tmp_path / "index").iterdir()] == ["tiny"]


DUPLICATES = 1
"""Names of the tiny terminology that two concepts share; each distinct text is encoded once."""
