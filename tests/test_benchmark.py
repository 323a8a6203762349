"""Whole benchmark runs on a made-up corpus: the results folder, again, after a kill, without files, by the command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import yaml
from evaluation_data import write_concepts, write_lines
from typer.testing import CliRunner

from xnorm import stages
from xnorm.artifact import open_folder
from xnorm.benchmark import BenchmarkConfig, run_benchmark
from xnorm.cli import app
from xnorm.errors import ArtifactError, ConfigError, DataError
from xnorm.linker import Linker

FILES = {"config.yaml", "manifest.json", "metrics.json", "predictions.jsonl", "report.html", "report.md",
         "rows-mentions.parquet"}  # fmt: skip
MENTIONS = [
    {"id": "1", "mention": "cold", "gold": ["T:003"], "lang": "en"},
    {"id": "7", "mention": " ", "gold": ["T:008"]},
    {"id": "2", "mention": "Cephalalgia", "gold": ["T:002"], "lang": "de", "types": ["Symptom"]},
    {"id": "3", "mention": "cardiac insufficiency", "gold": ["T:001", "T:005"]},
    {"id": "4", "mention": "<b>xyz</b> 心不全 | \\", "gold": ["T:001"], "left": "<script>", "right": "\u2028"},
    {"id": "5", "mention": "breast and ovarian cancer", "gold": ["T:006", "T:007"], "composite": True},
    {"id": "6", "mention": "nothing", "gold": []},
]
LINKER = {
    "name": "tiny",
    "terminology": {"sources": [{"type": "jsonl", "path": "concepts.jsonl", "hint": "ask the maker"}]},
    "candidates": {"type": "ensemble", "weights": {"exact": 1, "tfidf": 1},
                   "members": {"exact": {"type": "exact"}, "tfidf": {"type": "tfidf"}}},
}  # fmt: skip


def config():
    return {
        "name": "bench",
        "about": "Made up.",
        "linker": {"path": "linker.yaml"},
        "corpus": {
            "parts": {"test": {"type": "jsonl", "path": "mentions.jsonl", "hint": "see the paper"}},
            "expected": {"total": {"mentions": 7}},
        },
        "top_k": 5,
        "interval": {"resamples": 20},
    }


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A working directory with a benchmark in it."""
    monkeypatch.chdir(tmp_path)
    write_concepts(tmp_path / "concepts.jsonl")
    write_lines(tmp_path / "mentions.jsonl", MENTIONS)
    write_yaml(tmp_path / "linker.yaml", LINKER)
    write_yaml(tmp_path / "bench.yaml", config())
    return tmp_path


def write_yaml(path, data):
    path.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    return path


def run(home, *overrides, output=None, **options):
    settings = BenchmarkConfig.read(home / "bench.yaml", overrides)
    return run_benchmark(settings, home / "results" / (output or "bench"), **options)


def in_file(home, output="bench"):
    return (home / "results" / output / "metrics.json").read_text(encoding="utf-8")


def value(metrics, name):
    return next(m["value"] for m in metrics["metrics"] if m["metric"] == name)


def test_a_whole_run(home):
    metrics = run(home, command="xnorm evaluate bench.yaml")
    folder = home / "results" / "bench"
    assert {p.name for p in folder.iterdir()} == FILES
    assert sorted(p.name for p in (home / "results").iterdir()) == ["bench"]  # no work is left beside it
    assert json.loads(in_file(home)) == metrics
    # right: cold (a tie, by id), Cephalalgia, cardiac insufficiency; an empty mention has an empty ranking
    assert value(metrics, "recall@5") >= 3 / 6
    judged = metrics["protocol"]["judged"]
    counts = {k: judged[k] for k in ("mentions", "documents", "gold_ids", "several", "composite", "nil", "outside")}
    assert counts == {"mentions": 7, "documents": 7, "gold_ids": 7, "several": 1, "composite": 1, "nil": 1,
                      "outside": 0}  # fmt: skip
    assert judged["notes"] == {"mentions without a text, with an empty ranking": 1}
    assert [s["stage"] for s in metrics["stages"]] == ["exact", "tfidf", "ensemble"]
    manifest = open_folder(folder, kind="results", verify=True)
    assert (manifest["name"], manifest["command"]) == ("bench", "xnorm evaluate bench.yaml")
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").split("\n")[:-1]]
    assert [line["id"] for line in lines] == [m["id"] for m in MENTIONS]
    assert [line["mention"] for line in lines] == [m["mention"] for m in MENTIONS]
    assert lines[0]["candidates"][0]["concept_id"] == "T:003"
    assert (lines[0]["ranks"]["ensemble"], lines[0]["outcome"], lines[0]["matched_name"]) == (1, "right", "Cold")
    assert (lines[1]["candidates"], lines[1]["outcome"], lines[1]["matched_name"]) == ([], "said NIL", None)
    right = sum(line["outcome"] == "right" for line in lines)
    assert value(metrics, "accuracy") == round(right / 7, 6)
    rows = pq.read_table(folder / "rows-mentions.parquet").to_pydict()
    assert rows["id"] == [m["id"] for m in MENTIONS]
    assert rows["gold"][3:6] == ["T:001|T:005", "T:001", "T:006+T:007"]
    assert sum(rows["metric:accuracy:0"]) / sum(rows["metric:accuracy:1"]) == pytest.approx(right / 7)
    assert "<script>" not in (folder / "report.html").read_text(encoding="utf-8").partition("<body")[2]
    again = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert BenchmarkConfig.model_validate(again) == BenchmarkConfig.read(home / "bench.yaml")


def test_a_second_run_says_the_same_to_the_byte(home):
    run(home)
    first = in_file(home)
    run(home, overwrite=True)
    assert in_file(home) == first
    shutil.rmtree(home / "index")
    run(home, output="other")
    assert in_file(home, "other") == first


def test_another_process_says_the_same_to_the_byte(home):
    """Neither the order of sets nor the place of the files is in the numbers."""
    run(home)
    elsewhere = home / "elsewhere"
    elsewhere.mkdir()
    for name in ("concepts.jsonl", "mentions.jsonl", "linker.yaml", "bench.yaml"):
        shutil.copy(home / name, elsewhere / name)
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    command = [sys.executable, "-m", "xnorm", "evaluate", "bench.yaml", "--quiet", "--json"]
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, check=True)
    assert (elsewhere / "results/bench/metrics.json").read_text(encoding="utf-8") == in_file(home)
    assert done.stdout.decode() == in_file(home)
    first, second = (open_folder(place / "results/bench", kind="results") for place in (home, elsewhere))
    assert first["config_sha256"] == second["config_sha256"]


def killed_after(monkeypatch, blocks):
    """Make linking stop as by ^C after some blocks; return how many mentions were linked in each."""
    linked, whole = [], Linker.stages

    def stages_of(self, mentions, k, **options):
        if len(linked) == blocks:
            raise KeyboardInterrupt
        linked.append(len(mentions))
        return whole(self, mentions, k, **options)

    monkeypatch.setattr(Linker, "stages", stages_of)
    return linked


def test_a_killed_run_goes_on_where_it_stopped(home, monkeypatch):
    run(home, output="whole")
    monkeypatch.setattr(stages, "BLOCK", 2)
    with monkeypatch.context() as patch:
        linked = killed_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(home)
    assert linked == [2]
    assert not (home / "results" / "bench").exists()
    linked = killed_after(monkeypatch, None)
    run(home)
    assert linked == [2, 2, 1]  # of 2, 2, 2, 1
    assert in_file(home) == in_file(home, "whole")
    assert sorted(p.name for p in (home / "results").iterdir()) == ["bench", "whole"]


@pytest.mark.parametrize("change", ["top_k=4", "linker.max_chars=9", "mentions", "concepts", "damaged", "block"])
def test_a_killed_run_of_other_settings_starts_anew(home, monkeypatch, change):
    monkeypatch.setattr(stages, "BLOCK", 2)
    with monkeypatch.context() as patch:
        killed_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(home)
    if change == "mentions":
        write_lines(home / "mentions.jsonl", MENTIONS[::-1])
    elif change == "concepts":
        with (home / "concepts.jsonl").open("a") as file:
            file.write('{"id": "T:009", "name": "New"}\n')
    elif change == "damaged":
        (home / "results" / ".bench.work" / "state.json").write_text("{")
    elif change == "block":
        (home / "results" / ".bench.work" / "0.npz").write_bytes(b"PK")
    linked = killed_after(monkeypatch, None)
    run(home, *[change] * ("=" in change))
    assert sum(linked) == 7


def test_two_runs_for_one_folder_do_not_mix(home):
    work = home / "results" / ".bench.work"
    work.mkdir(parents=True)
    (work / "state.json").write_text(json.dumps({"key": "x", "pid": os.getppid()}))
    with pytest.raises(ArtifactError, match=rf"process {os.getppid()} is at work here"):
        run(home)
    assert (work / "state.json").exists()


def test_a_block_without_any_candidate(home, monkeypatch):
    write_lines(home / "mentions.jsonl", [*MENTIONS[:-1], {"id": "6", "mention": " ", "gold": []}])
    monkeypatch.setattr(stages, "BLOCK", 2)
    run(home)


def test_settings_of_the_score_do_not_start_linking_anew(home, monkeypatch):
    monkeypatch.setattr(stages, "BLOCK", 2)
    with monkeypatch.context() as patch:
        killed_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run(home)
    linked = killed_after(monkeypatch, None)
    run(home, "metrics=[mrr]", "interval.seed=3")
    assert linked == [2, 1]


@pytest.mark.parametrize("override", ["metrics=[acuracy]", "metrics=[recall@6]", "breakdowns=[langs]"])
def test_wrong_metrics_are_refused_before_the_work(home, override):
    with pytest.raises(ConfigError):
        run(home, override)
    assert not (home / "index").exists()


def test_a_cut_off_within_top_k_on_a_small_terminology(home):
    assert value(run(home, "top_k=64", "metrics=[recall@64]"), "recall@64") > 0


def test_results_are_not_replaced_unasked(home):
    run(home)
    with pytest.raises(ArtifactError, match="exists already; pass --overwrite"):
        run(home)
    (home / "results" / "mine").mkdir()
    (home / "results" / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="is no results written by xnorm"):
        run(home, output="mine", overwrite=True)
    assert (home / "results" / "mine" / "notes.txt").read_text() == "mine"


def test_all_missing_files_are_named_at_once(home):
    for name in ("mentions.jsonl", "concepts.jsonl"):
        (home / name).unlink()
    with pytest.raises(DataError) as e:
        run(home, "predictions.path=gone.jsonl", 'corpus.training={"t": {"type": "brat", "path": "nowhere"}}')
    text = str(e.value)
    assert "bench needs 4 more files" in text
    for words in (f"part 'test': {home / 'mentions.jsonl'} (see the paper)", "part 't': nowhere",
                  f"terminology: {home / 'concepts.jsonl'} (ask the maker)", "predictions: gone.jsonl"):  # fmt: skip
        assert words in text
    assert not (home / "index").exists()
    assert not (home / "results").exists()


def test_missing_found_mentions_are_named_too(home):
    (home / "mentions.jsonl").unlink()
    with pytest.raises(DataError, match=r"needs 2 more files.*gone \(ask them\)"):
        run(home, "predictions.mentions={type: brat, path: gone, hint: ask them}")


def test_the_corpus_is_checked_before_anything_is_built(home):
    with pytest.raises(DataError, match="expected 8 mentions, found 7"):
        run(home, "corpus.expected.total.mentions=8")
    assert not (home / "index").exists()
    metrics = run(home, "corpus.expected.total.mentions=8", "corpus.expected.policy=note")
    assert metrics["protocol"]["corpus"]["expected"]["met"] is False


SMALLER = "linker.candidates.members.tfidf.ngrams=[3, 3]"


def test_indexes_are_used_again_and_those_of_others_left_alone(home):
    lines = []
    run(home, say=lines.append)
    assert lines == []
    manifest = home / "index" / "tiny" / "manifest.json"
    first = manifest.stat().st_mtime_ns, manifest.read_bytes()
    run(home, output="again")
    run(home, SMALLER, output="other", say=lines.append)
    names = sorted(p.name for p in (home / "index").iterdir())
    assert (names[0], len(names)) == ("tiny", 2)
    assert names[1].startswith("tiny-")
    assert "index/tiny was built from other settings or sources; using index/tiny-" in lines[0]
    run(home, SMALLER, output="other again")
    assert sorted(p.name for p in (home / "index").iterdir()) == names
    with (home / "concepts.jsonl").open("a") as file:
        file.write('{"id": "T:009", "name": "New"}\n')  # now both are of other sources
    for output in ("one", "two"):
        metrics = run(home, SMALLER, output=output)
        assert metrics["protocol"]["terminology"]["concepts"] == 9
    assert sorted(p.name for p in (home / "index").iterdir()) == names
    assert (manifest.stat().st_mtime_ns, manifest.read_bytes()) == first


def prepared(home, script):
    (home / "make.py").write_text(script)
    data = config() | {"prepare": [{"path": "make.py", "arguments": ["made"], "makes": [{"path": "mentions.jsonl"}]}]}
    write_yaml(home / "bench.yaml", data)
    (home / "mentions.jsonl").rename(home / "source.jsonl")


MAKE = "import pathlib, shutil, sys; shutil.copy('source.jsonl', 'mentions.jsonl'); pathlib.Path(sys.argv[1]).touch()"


def test_a_script_makes_what_is_missing_once(home):
    prepared(home, MAKE)
    lines = []
    run(home, say=lines.append)
    assert (home / "made").exists()
    assert len(lines) == 1
    assert "mentions.jsonl is missing: running make.py" in lines[0]
    (home / "made").unlink()
    run(home, overwrite=True, say=lines.append)
    assert not (home / "made").exists()
    assert len(lines) == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("raise SystemExit(3)", r"make\.py failed, so there is no .*mentions\.jsonl: exit status 3$"),
        ("pass", r"bench needs 1 more file: part 'test': .*mentions\.jsonl \(see the paper\)"),
        (None, r"mentions\.jsonl: is missing, and so is the script that makes it: .*make\.py"),
    ],
)
def test_scripts_that_fail(home, script, message):
    prepared(home, script or "")
    if script is None:
        (home / "make.py").unlink()
    with pytest.raises(DataError, match=message):
        run(home)


def test_predictions_of_another_system_build_no_index(home):
    records = [{"id": str(n), "candidates": [{"concept_id": "T:003", "score": 1 / n}]} for n in range(1, 8)]
    write_lines(home / "theirs.jsonl", records)
    metrics = run(home, "predictions.path=theirs.jsonl")
    assert not (home / "index").exists()
    assert value(metrics, "accuracy") == round(1 / 7, 6)
    assert value(metrics, "recall@5") == round(1 / 6, 6)
    assert metrics["system"] == "predictions of theirs.jsonl"
    assert [s["stage"] for s in metrics["stages"]] == ["predictions"]
    assert {p.name for p in (home / "results" / "bench").iterdir()} == FILES


def test_the_linker_is_a_file_with_keys_beside_it(home):
    data = config() | {"linker": {"path": "linker.yaml", "name": "mine", "candidates": {"depth": 9}}}
    write_yaml(home / "bench.yaml", data)
    read = BenchmarkConfig.read(home / "bench.yaml").linker
    assert (read.name, read.candidates.depth, set(read.candidates.members)) == ("mine", 9, {"exact", "tfidf"})
    assert read.terminology.sources[0].path == home / "concepts.jsonl"
    read = BenchmarkConfig.read(home / "bench.yaml", ["linker.candidates.depth=7", "top_k=3"])
    assert (read.linker.candidates.depth, read.linker.name, read.top_k) == (7, "mine", 3)
    write_yaml(home / "bench.yaml", config() | {"linker": LINKER})
    assert BenchmarkConfig.read(home / "bench.yaml").linker.name == "tiny"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"linker": {"path": "gone.yaml"}}, r"gone\.yaml: no such config file"),
        ({"metrcs": []}, r"bench\.yaml: unknown key 'metrcs'; did you mean 'metrics'\?"),
        ({"top_k": 0}, "top_k"),
        ({"linker": {"path": "linker.yaml", "candidates": {"dept": 9}}}, r"linker.*'dept'; did you mean 'depth'\?"),
        ({"corpus": {"parts": {"t": {"type": "jsnl", "path": "x"}}}}, r"corpus.parts.t.*did you mean 'jsonl'\?"),
        ({"corpus": {"parts": {}}}, "expected at least one"),
    ],
)
def test_configs_that_are_refused(home, change, message):
    write_yaml(home / "bench.yaml", config() | change)
    with pytest.raises(ConfigError, match=message):
        BenchmarkConfig.read(home / "bench.yaml")


def test_the_command(home):
    def invoke(*arguments):
        return CliRunner().invoke(app, ["evaluate", *arguments])

    done = invoke("bench.yaml", "linker.candidates.depth=7", "--json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, json.loads(in_file(home)))
    assert yaml.safe_load((home / "results/bench/config.yaml").read_text())["linker"]["candidates"]["depth"] == 7
    again = invoke("bench.yaml")
    assert (again.exit_code, again.stderr.count("\n")) == (2, 1)
    assert again.stderr.startswith("error: results/bench: exists already")
    shown = invoke("bench.yaml", "--output", "results/b", "--quiet")
    assert shown.exit_code == 0
    assert "accuracy" in shown.stdout
    write_lines(home / "p q.jsonl", [{"id": m["id"], "candidates": m["gold"]} for m in MENTIONS])
    perfect = invoke("bench.yaml", "--predictions", "p q.jsonl", "--json", "-o", "c")
    assert value(json.loads(perfect.stdout), "accuracy") == 1
    assert invoke("nothing").stderr.startswith("error: nothing: no such file or folder, and no config of that name")
