"""Config files: inheritance, overrides, interpolation, and errors that say where."""

from __future__ import annotations

import pytest

from xnorm.benchmark import BenchmarkConfig
from xnorm.config import find_config, merge, read_yaml
from xnorm.errors import ConfigError
from xnorm.linker import LinkerConfig
from xnorm.train_encoder import read_training

GOOD = """
name: mine
terminology:
  sources:
    - type: jsonl
      path: data/mine.jsonl
candidates: tfidf
"""


def write(folder, text, name="mine.yaml"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path):
    config = LinkerConfig.read(write(tmp_path, GOOD))
    assert config.terminology.sources[0].path == tmp_path / "data" / "mine.jsonl"
    assert config.candidates.type == "tfidf"


def test_extends_merges_mappings_and_keeps_the_parents_paths(tmp_path):
    write(tmp_path / "base", GOOD)
    child = "extends: base/mine.yaml\nname: child\ncandidates:\n  type: tfidf\n  ngrams: [2, 3]\n"
    config = LinkerConfig.read(write(tmp_path, child, "child.yaml"))
    assert config.name == "child"
    assert config.terminology.sources[0].path == tmp_path / "base" / "data" / "mine.jsonl"
    assert config.candidates.ngrams == (2, 3)


def test_extends_of_several_lays_each_over_those_before_it(tmp_path):
    write(tmp_path, "name: a\ncandidates: {type: tfidf, ngrams: [2, 3]}\n", "a.yaml")
    write(tmp_path, "name: b\ncandidates: {type: tfidf, spelling: folded}\n", "b.yaml")
    path = write(tmp_path, "extends: [a.yaml, b.yaml]\ncandidates: {ngrams: [4, 4]}\n", "c.yaml")
    assert read_yaml(path) == {
        "name": "b", "candidates": {"type": "tfidf", "ngrams": [4, 4], "spelling": "folded"}
    }  # fmt: skip


def test_extends_in_a_circle(tmp_path):
    write(tmp_path, "extends: b.yaml\n", "a.yaml")
    path = write(tmp_path, "extends: a.yaml\n", "b.yaml")
    with pytest.raises(ConfigError, match=r"extends itself \(b.yaml -> a.yaml -> b.yaml\)"):
        read_yaml(path)


def test_overrides_step_into_mappings_and_lists(tmp_path):
    path = write(tmp_path, GOOD)
    data = read_yaml(path, ["terminology.sources.0.lang=de", "candidates={type: exact}", "decision.threshold=0.5"])
    assert data["terminology"]["sources"][0]["lang"] == "de"
    assert data["candidates"] == {"type": "exact"}
    assert data["decision"] == {"threshold": 0.5}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("candidates", "expected KEY=VALUE"),
        ("terminology.sources.7.lang=de", "expected a position from 0 to 0, found '7'"),
        ("name.x=1", "'name' is a plain value"),
        ("name=[", "the value is not valid YAML"),
    ],
)
def test_bad_overrides(tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        read_yaml(write(tmp_path, GOOD), [override])


def test_environment_and_packages(tmp_path, monkeypatch):
    monkeypatch.setenv("UMLS_HOME", "/data/umls")
    path = write(tmp_path, "a: ${env:UMLS_HOME}/META\nb: ['${package:xnorm}/types.py']\n")
    data = read_yaml(path)
    assert data["a"] == "/data/umls/META"
    assert data["b"][0].endswith("xnorm/types.py")
    monkeypatch.delenv("UMLS_HOME")
    with pytest.raises(ConfigError, match="environment variable UMLS_HOME is not set; export"):
        read_yaml(path)
    with pytest.raises(ConfigError, match="package 'no_such_package' is not installed; pip install no_such_package"):
        read_yaml(write(tmp_path, "a: ${package:no_such_package}\n"))
    with pytest.raises(ConfigError, match="unknown reference"):
        read_yaml(write(tmp_path, "a: ${shell:ls}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping of keys to values, found NoneType"),
        ("- a\n", "found list"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_files_that_are_no_config(tmp_path, text, message):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=message) as e:
        read_yaml(path)
    assert str(path) in str(e.value)
    assert "\n" not in str(e.value)


def test_missing_and_undecodable_files(tmp_path):
    with pytest.raises(ConfigError, match="no such config file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: Käse".encode("latin-1"))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_yaml(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: mine", "nmae: mine", r"unknown key 'nmae'; did you mean 'name'\?"),
        ("name: mine", "name: ../mine", "name: String should match pattern"),
        ("candidates: tfidf", "candidates: tfidff", r"unknown type 'tfidff' of candidates; did you mean 'tfidf'\?"),
        ("candidates: tfidf", "candidates: {type: tfidf, ngram: [2, 3]}", "unknown key 'ngram'; did you mean 'ngrams'"),
        ("candidates: tfidf", "candidates: {ngrams: [2, 3]}", "expected a mapping with a 'type'"),
        ("type: jsonl", "type: jsonlines", r"unknown type 'jsonlines' of terminology; did you mean 'jsonl'\?"),
        ("      path: data/mine.jsonl", "      lang: en", "path: Field required"),
        ("candidates: tfidf", "candidates: {type: tfidf, threads: none}", r"threads: .*valid integer.*found 'none'"),
    ],
)  # fmt: skip
def test_errors_name_the_file_the_key_and_the_remedy(tmp_path, old, new, message):
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=message) as e:
        LinkerConfig.read(path)
    assert str(e.value).startswith(str(path))
    assert "\n" not in str(e.value)


def test_configs_that_come_with_xnorm_are_found_by_name():
    assert find_config("hpo").name == "hpo.yaml"
    with pytest.raises(ConfigError, match=r"no config of that name; did you mean 'hpo'\?"):
        find_config("hpoo")


def test_every_shipped_config_is_valid(monkeypatch):
    monkeypatch.setenv("UMLS_HOME", "2099AA")
    folder = find_config("hpo").parent
    parts = {"aligned.yaml", "aligned-static.yaml"}  # of others, by `extends`
    for path in sorted(p for p in folder.glob("*.yaml") if p.name not in parts):
        assert LinkerConfig.read(path).name
        assert path.read_text(encoding="utf-8").startswith("#"), f"{path.name} does not say what it is"


def test_every_shipped_benchmark_is_valid_and_says_what_it_needs():
    folder = find_config("icd10-who", folder="benchmarks").parent
    for path in sorted(folder.glob("*.yaml")):
        config = BenchmarkConfig.read(path)
        assert config.name == path.stem
        assert config.about
        comment = "".join(line for line in path.read_text(encoding="utf-8").splitlines(True) if line[0] == "#")
        for word in ("Files:", "Licence:", "Protocol:"):
            assert word in comment, f"{path.name} does not say '{word}'"


def test_a_component_of_another_type_replaces_the_whole():
    below = {"candidates": {"type": "ensemble", "members": {"a": {"type": "tfidf", "ngrams": [3, 3]}}}, "name": "x"}
    assert merge(below, {"candidates": {"type": "tfidf"}})["candidates"] == {"type": "tfidf"}
    assert merge(below, {"candidates": {"depth": 9}})["candidates"] == {**below["candidates"], "depth": 9}
    deeper = merge(below, {"candidates": {"members": {"a": {"type": "exact"}}}})
    assert deeper["candidates"] == {"type": "ensemble", "members": {"a": {"type": "exact"}}}


def test_every_shipped_training_is_valid():
    folder = find_config("ncbi-disease", folder="training").parent
    for path in sorted(folder.glob("*.yaml")):
        assert read_training(path).name == path.stem


def test_a_config_extends_one_that_comes_with_xnorm(tmp_path):
    path = tmp_path / "mine.yaml"
    for parent in ("hpo", "hpo.yaml"):
        path.write_text(f"extends: {parent}\nname: mine\n", encoding="utf-8")
        assert LinkerConfig.read(path).candidates.type == "ensemble"
    (tmp_path / "hpo.yaml").write_text("extends: tfidf\nname: theirs\n", encoding="utf-8")
    assert LinkerConfig.read(path).candidates.type == "tfidf"
    path.write_text("extends: hpoo\nname: mine\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"hpoo: no such config file"):
        LinkerConfig.read(path)
