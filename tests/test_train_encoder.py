"""The run of `xnorm train` for encoders, with a trainer that learns a table of names by heart."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from names_data import read_names, records, write_names
from typer.testing import CliRunner

from xnorm.artifact import kind_of, open_folder, sha256_text, write_folder
from xnorm.cli import app
from xnorm.encoders.base import Encoder, EncoderConfig
from xnorm.errors import ArtifactError, ConfigError, DataError, MissingExtraError
from xnorm.linker import Linker
from xnorm.train import TrainConfig
from xnorm.train_encoder import (
    KIND,
    WEAK,
    EncoderTrainConfig,
    _mentions,
    estimate_training,
    in_words,
    read_training,
    run_encoder_training,
    trained_encoder,
)
from xnorm.training.base import EncoderTrainer, Estimate, TrainerConfig


class StemConfig(EncoderConfig):
    type: str = "test_train_encoder:StemEncoder"
    model: str
    prefix: str = ""
    device: str = "cpu"


class StemEncoder(Encoder):
    """Reads a name's first letters, as many as the model says: six are the stem that all names of a concept share."""

    config_class = StemConfig

    @property
    def identity(self):
        return f"stem/{self.letters}"

    @property
    def dim(self):
        return 32

    @property
    def letters(self):
        return json.loads((Path(self.config.model) / "stem.json").read_text())["letters"]

    def encode(self, texts):
        return stems(texts, self.letters)


def stems(texts, letters):
    def direction(stem):
        return np.random.default_rng(list(stem.encode())).standard_normal(32)

    out = np.array([direction(t[:letters].lower() or " ") for t in texts], np.float32)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


class StemTrainerConfig(TrainerConfig):
    type: str = "test_train_encoder:StemTrainer"
    model: str = "nothing"
    before: int = 3
    after: int = 6
    fail_at: str | None = None


class StemTrainer(EncoderTrainer):
    config_class = StemTrainerConfig
    config: StemTrainerConfig
    seen: list = []  # noqa: RUF012
    """What was trained on, for the tests."""

    def check(self):
        if self.config.fail_at == "check":
            raise MissingExtraError("stemming", extra="stem", what="training")

    def checksum(self):
        return self.config.model

    def encode(self, texts):
        return stems(texts, self.config.before)

    def open(self, folder):
        return StemEncoder(StemConfig(model=str(folder), prefix="name: "))

    def estimate(self, names, held_out, *, sampler):
        return Estimate(950, len(sampler.batch(0).left), 2040.0, 2_100_000_000)

    def train(self, names, held_out, *, sampler, work, folder, progress=None, say=None):
        type(self).seen.append((names, held_out, sampler, work, work.exists()))
        work.mkdir(parents=True, exist_ok=True)
        progress("training", 1, 1)
        if self.config.fail_at == "train":
            raise DataError("the vectors became all alike")
        (folder / "stem.json").write_text(json.dumps({"letters": self.config.after}))
        return {"stopped": "ran to its end", "trained": {"steps": 950, "seconds": 90.0}}

    def forget(self, work):
        (work / "forgotten").touch()


@pytest.fixture(autouse=True)
def nothing_seen():
    StemTrainer.seen.clear()


@pytest.fixture
def plain(tmp_path):
    path = write_names(tmp_path / "names.jsonl", records(200))
    return {
        "name": "stems",
        "about": "Invented names, under no licence at all.",
        "terminology": {"sources": [{"type": "jsonl", "path": str(path), "name": "X"}]},
        "sampling": {"batch": 16},
        "held_out": {"share": 0.2},
        "trainer": {"type": "test_train_encoder:StemTrainer"},
    }


def config(plain, **keys):
    trainer = {**plain["trainer"], **keys.pop("trainer", {})}
    return EncoderTrainConfig.model_validate({**plain, **keys, "trainer": trainer})


def write_config(plain, tmp_path, **keys):
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump({**plain, **keys}))
    return str(path)


def command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


# the run


def test_a_run(plain, tmp_path):
    said = []
    about = run_encoder_training(config(plain), tmp_path / "out", say=said.append)
    names, held_out, sampler, work, _ = StemTrainer.seen[0]
    manifest = open_folder(tmp_path / "out", kind=KIND)
    assert {key: manifest[key] for key in json.loads(json.dumps(about))} == json.loads(json.dumps(about))
    assert manifest["encoder"] == {"type": "test_train_encoder:StemEncoder", "prefix": "name: "}
    assert manifest["training"]["trained"]["steps"] == 950
    assert manifest["estimate"]["steps"] == 950
    assert manifest["names"] == names.counts()
    assert manifest["sources"] == {"X": sum(1 + len(r["synonyms"]) for r in records(200))}
    assert manifest["held_out"]["concepts"] == len(held_out.concepts)
    assert manifest["held_out"]["looked_up"] == len(set(held_out.wanted.tolist())) < len(held_out.concepts)
    assert not set(held_out.concepts.tolist()) & set(names.concepts.tolist())
    ids = (tmp_path / "out" / "held_out.txt").read_text(encoding="utf-8").split()
    assert ids == read_names(tmp_path / "again.jsonl", records(200)).take("concepts", "id", held_out.concepts)
    assert sha256_text("\n".join(ids)) == manifest["held_out"]["sha256"]
    assert sampler.names is names
    before, after = manifest["held_out"]["before"], manifest["held_out"]["after"]
    assert before["recall@1"] < 0.5 < after["recall@1"]
    row = manifest["held_out"]["compared"][0]
    assert (row["before"], row["after"]) == (before["recall@1"], after["recall@1"])
    assert row["low"] > 0
    assert re.fullmatch(r"aligning [\d,]+ names of \d+ concepts, .* in 4 languages; \d+ concepts are held out", said[0])
    assert said[1] == "about 34 min, 2.1 GB of memory at most; 950 updates of 16 pairs (cpu); longer on a busy machine"
    assert (work / "forgotten").exists()


def test_the_model_is_an_encoder_of_an_index(plain, tmp_path):
    run_encoder_training(config(plain), tmp_path / "out")
    encoder = {"type": "test_train_encoder:StemEncoder", "model": str(tmp_path / "out")}
    linker = Linker.build({
        "name": "x", "terminology": plain["terminology"], "candidates": {"type": "dense", "encoder": encoder},
    })  # fmt: skip
    stem = records(200)[17]["name"][:6]
    assert linker.link([f"{stem}ysis"], top_k=1)[0][0].name.startswith(stem)


def test_the_draw_is_that_of_the_seed(plain, tmp_path):
    ids = [
        run_encoder_training(config(plain, trainer={"seed": seed}), tmp_path / f"out{i}")["held_out"]["sha256"]
        for i, seed in enumerate((1, 1, 2))
    ]
    assert ids[0] == ids[1] != ids[2]
    first, second, _ = (sampler for _, _, sampler, _, _ in StemTrainer.seen)
    assert first.batch(5).left.tolist() == second.batch(5).left.tolist()


def test_the_card(plain, tmp_path):
    run_encoder_training(config(plain), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    about = open_folder(tmp_path / "out", kind=KIND)
    for text in (
        "# stems\n",
        "Invented names, under no licence at all.",
        "- Sources, with their names: X ",
        "ran to its end; 950 updates in 1.5 min; seed 0",
        "it helped.",
        about["terminology"][:16],
        "the best weights were chosen by others",
        "| all | recall@1 | ",
        "| zh | recall@64 | ",
        r"p \< 0.001",
    ):
        assert text in card
    use = yaml.safe_load(card.split("```yaml")[1].split("```")[0])
    encoder = {"type": "test_train_encoder:StemEncoder", "prefix": "name: ", "model": "./out"}
    encoder["languages"] = list(about["names"]["names_by_lang"])
    assert use == {"extends": "hpo", "candidates": {"members": {"trained": {"type": "dense", "encoder": encoder}}}}
    assert f"It was trained on names in {', '.join(encoder['languages'])} alone" in card
    settings = yaml.safe_load(card.split("```yaml")[2].split("```")[0])
    assert settings["trainer"] == about["config"]["trainer"]
    assert settings["sampling"] == about["config"]["sampling"]


def test_a_card_names_no_folders_of_its_maker(plain, tmp_path):
    run_encoder_training(config(plain, trainer={"model": str(tmp_path / "base")}), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "starts from: base\n" in card
    assert "model: base\n" in card
    assert str(tmp_path) not in card


def test_a_card_of_odd_texts(plain, tmp_path):
    about = "A `code` <script>alert(1)</script>\n```\n# Heading"
    run_encoder_training(config(plain, about=about), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "<script>" not in card.replace(r"\<script\>", "")
    assert "\n# Heading" not in card
    assert card.count("```yaml") == 2


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [(3, 6, "; it helped"), (6, 6, "no gain that can be told from chance"), (6, 3, "it did not help, but harmed")],
)
def test_whether_it_helped_is_said(plain, tmp_path, before, after, message):
    path = write_config(plain, tmp_path, trainer={**plain["trainer"], "before": before, "after": after})
    found = command("train", path, "--output", tmp_path / "out", "--quiet")
    assert found.exit_code == 0, found.output
    assert message in found.stdout.splitlines()[-2]
    assert message in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_what_little_data_says(plain, tmp_path):
    plain["held_out"] = {"most": 1, "share": 0.01}
    said: list[str] = []
    about = run_encoder_training(config(plain), tmp_path / "out", say=said.append)
    assert any("too few to say whether it helps" in line for line in said)
    assert "too few to say whether it helped" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert about["held_out"]["concepts"] == 1


# killed runs


def test_a_killed_run_goes_on_in_its_folder(plain, tmp_path):
    with pytest.raises(DataError, match="all alike"):
        run_encoder_training(config(plain, trainer={"fail_at": "train"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    said = []
    with pytest.raises(DataError):
        run_encoder_training(config(plain, trainer={"fail_at": "train"}), tmp_path / "out", say=said.append)
    (*_, first, was_there), (*_, second, is_there) = StemTrainer.seen
    assert first == second
    assert (was_there, is_there) == (False, True)
    assert not [line for line in said if "updates of" in line]  # what is half done has no estimate


@pytest.mark.parametrize("what", ["names", "seed", "sampling", "held_out", "base", "version"])
def test_other_runs_have_other_folders(plain, tmp_path, monkeypatch, what):
    run_encoder_training(config(plain), tmp_path / "out")
    keys = {
        "names": {"names": {"languages": ["en", "de"]}},
        "seed": {"trainer": {"seed": 5}},
        "sampling": {"sampling": {"batch": 17}},
        "held_out": {"held_out": {"share": 0.3}},
        "base": {"trainer": {"model": "other"}},
    }.get(what, {})
    if what == "version":
        monkeypatch.setattr("xnorm.train_encoder.version", lambda package: "9")
    run_encoder_training(config(plain, **keys), tmp_path / "out", overwrite=True)
    assert StemTrainer.seen[0][3] != StemTrainer.seen[1][3]


def test_other_names_have_another_folder(plain, tmp_path):
    run_encoder_training(config(plain), tmp_path / "out")
    write_names(tmp_path / "names.jsonl", records(200, seed=1))
    run_encoder_training(config(plain), tmp_path / "out", overwrite=True)
    assert StemTrainer.seen[0][3] != StemTrainer.seen[1][3]


# what else is read


def test_mentions_are_texts_too(plain, tmp_path):
    terminology = read_names(tmp_path / "again.jsonl", records(200))
    ids = terminology.take("concepts", "id", range(200))
    lines = [
        json.dumps({"id": f"m{i}", "mention": f"mention {i}", "gold": [x], "lang": "en"}) for i, x in enumerate(ids)
    ]
    lines.append(json.dumps({"id": "two", "mention": "of two", "gold": ids[:2], "lang": "en"}))
    (tmp_path / "mentions.jsonl").write_text("\n".join(lines) + "\n")
    corpus = {"parts": {"all": {"type": "jsonl", "path": str(tmp_path / "mentions.jsonl")}}}
    said = []
    about = run_encoder_training(config(plain, corpus=corpus), tmp_path / "out", say=said.append)
    names, held_out, *_ = StemTrainer.seen[0]
    assert said[0] == "left out 1 of 201 mentions, which have not one gold concept"
    assert said[1] == "200 texts of 200 mentions are no names of their concept, and are added"
    trained = {int(t.split()[1]) for t in names.texts if t.startswith("mention")}
    groups = names.groups[[names.texts.index(f"mention {i}") for i in trained]]
    assert trained
    assert trained.isdisjoint(held_out.concepts.tolist())
    assert set(groups.tolist()) <= set(names.groups.tolist())
    assert not [t for t in held_out.pool if t.startswith("mention")]
    assert about["corpus"]["mentions"] == 200
    assert "- Mentions: 200 of the parts all" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_mentions_that_no_person_annotated_are_not_measured_by(plain, tmp_path):
    terminology = read_names(tmp_path / "again.jsonl", records(200))
    concept = terminology.take("concepts", "id", [0])[0]
    line = {"id": "m", "mention": "a mention", "gold": [concept], "lang": "en"}
    (tmp_path / "mentions.jsonl").write_text(json.dumps(line) + "\n")
    parts = {
        "real": {"type": "jsonl", "path": str(tmp_path / "mentions.jsonl")},
        "made": {"type": "synthetic", "path": str(tmp_path / "names.jsonl"), "mentions": 5},
    }
    for weights, wanted in (({}, {1.0, WEAK}), ({"real": 2.0, "made": 0.25}, {2.0, 0.25})):
        extra, _ = _mentions(config(plain, corpus={"parts": parts, "weights": weights}), terminology, print)
        assert {e.weight for e in extra} == wanted
        assert extra[0].weight == max(wanted)
    assert WEAK < 1


def test_neighbours_of_an_index(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = {
        "name": "near", "terminology": plain["terminology"],
        "candidates": {"type": "ensemble", "members": {
            "tfidf": {"type": "tfidf"}, "dense": {"type": "dense", "encoder": {"type": "conftest:HashEncoder"}},
        }},
    }  # fmt: skip
    (tmp_path / "near.yaml").write_text(yaml.safe_dump(index))
    run_encoder_training(config(plain, index={"path": str(tmp_path / "near.yaml")}), tmp_path / "one")
    run_encoder_training(config(plain), tmp_path / "two")
    assert (tmp_path / "index" / "near").is_dir()
    one, two = (sampler._neighbours for _, _, sampler, _, _ in StemTrainer.seen)
    assert one.shape == two.shape
    assert (one != two).any()


def test_an_index_without_an_encoder(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    index = {"name": "near", "terminology": plain["terminology"], "candidates": {"type": "exact"}}
    (tmp_path / "near.yaml").write_text(yaml.safe_dump(index))
    with pytest.raises(ConfigError, match=r"index: .*near.yaml has no dense generator"):
        run_encoder_training(config(plain, index={"path": str(tmp_path / "near.yaml")}), tmp_path / "out")


def test_no_neighbours(plain, tmp_path):
    run_encoder_training(config(plain, sampling={"neighbours": 0}), tmp_path / "out")
    assert StemTrainer.seen[0][2]._neighbours is None


def test_the_terminology_of_a_linker(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    linker = {"name": "x", "terminology": plain.pop("terminology"), "candidates": {"type": "exact"}}
    (tmp_path / "linker.yaml").write_text(yaml.safe_dump(linker))
    path = write_config(plain, tmp_path, linker={"path": "linker.yaml"})
    read = read_training(path)
    assert isinstance(read, EncoderTrainConfig)
    about = run_encoder_training(read, tmp_path / "out")
    assert about["terminology"] == read_names(tmp_path / "again.jsonl", records(200)).fingerprint


# what is refused


def refused(plain, tmp_path, message, error=ConfigError, **keys):
    with pytest.raises(error, match=message):
        run_encoder_training(config(plain, **keys), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_align(plain, tmp_path):
    write_names(tmp_path / "names.jsonl", [{"id": f"X:{i}", "name": f"name {i}"} for i in range(9)])
    refused(plain, tmp_path, "nothing to align: 0 of 9 concepts have two names that differ", DataError)


def test_a_language_without_names(plain, tmp_path):
    refused(plain, tmp_path, "no preferred or exact names in 'vi'", names={"languages": ["en", "vi"]})


def test_missing_files(plain, tmp_path):
    (tmp_path / "names.jsonl").unlink()
    refused(plain, tmp_path, "stems needs 1 more file: terminology: .*names.jsonl", DataError)


def test_a_missing_package_is_said_first(plain, tmp_path):
    (tmp_path / "names.jsonl").unlink()
    refused(
        plain, tmp_path, r"needs the package 'stemming'.*xnorm\[stem\]", MissingExtraError, trainer={"fail_at": "check"}
    )


def test_what_stands_there_is_left_alone(plain, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ArtifactError, match="exists"):
            run_encoder_training(config(plain), tmp_path / "out", overwrite=overwrite)
    assert not StemTrainer.seen


def test_several_processes(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(plain, tmp_path, "WORLD_SIZE is 2: a training is one process")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"terminology": None}, "expected one of `terminology` and `linker`, found neither"),
        ({"trainer": None}, "trainer: expected a mapping with a 'type', found None"),
        (
            {"trainer": {"type": "bi_encodr"}},
            "train.yaml: trainer: unknown type 'bi_encodr' of training; did you mean 'bi_encoder'",
        ),
        ({"sampling": {"batch": 1}}, "sampling.batch: Input should be greater than or equal to 2"),
        ({"top_k": 5}, "unknown key 'top_k'"),
    ],
)
def test_configs_that_are_refused(plain, tmp_path, keys, message):
    found = command("train", write_config(plain, tmp_path, **keys), "--output", tmp_path / "out")
    assert found.exit_code == 2
    assert message in found.stderr
    assert len(found.stderr.splitlines()) == 1


def test_a_trainer_of_rerankers(plain, tmp_path):
    reranker = {"type": "cross_encoder", "model": "./none"}
    with pytest.raises(ConfigError, match="'cross_encoder' trains on mentions"):
        run_encoder_training(EncoderTrainConfig.model_validate({**plain, "trainer": reranker}), tmp_path / "out")
    with pytest.raises(ConfigError, match="unknown key"):
        read_training(write_config(plain, tmp_path, trainer=reranker))


# the command


def test_the_command(plain, tmp_path):
    path = write_config(plain, tmp_path)
    found = command("train", path, "sampling.batch=8", "--output", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert "950 updates of 8 pairs" in found.stderr
    lines = found.stdout.splitlines()
    assert re.match(r"training: ran to its end, [\d,]+ names of \d+ concepts, 950 updates in 1.5 min", lines[0])
    assert lines[1].split() == ["metric", "names", "before", "after", "difference"]
    assert {line.split()[0] for line in lines[2:-2]} == {"all", "en", "de", "fr", "zh"}
    assert command("train", path, "--output", tmp_path / "out").exit_code == 2
    assert command("train", path, "--output", tmp_path / "out", "--overwrite").exit_code == 0


def test_the_command_as_json(plain, tmp_path):
    found = command("train", write_config(plain, tmp_path), "--output", tmp_path / "out", "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["training"]["stopped"] == "ran to its end"


def test_the_estimate_alone(plain, tmp_path):
    path = write_config(plain, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = command("train", path, "--output", tmp_path / "out", "--estimate")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("about 34 min, 2.1 GB of memory at most; 950 updates of 16 pairs (cpu); longer on")
    found = command("train", path, "--output", tmp_path / "out", "--estimate", "--json", "--quiet")
    assert json.loads(found.stdout) == estimate_training(config(plain)).as_dict()
    assert sorted(tmp_path.rglob("*")) == before
    assert not StemTrainer.seen


def test_an_estimate_builds_no_index(plain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain["index"] = {"path": str(tmp_path / "none.yaml")}
    assert estimate_training(config(plain)).steps == 950
    assert not (tmp_path / "index").exists()


def test_no_estimate_of_a_reranker(plain, tmp_path):
    linker = {"name": "x", "terminology": plain["terminology"], "candidates": {"type": "exact"}}
    corpus = {"parts": {"all": {"type": "jsonl", "path": str(tmp_path / "none.jsonl")}}}
    reranker = {"name": "r", "linker": linker, "corpus": corpus, "trainer": {"type": "cross_encoder", "model": "./x"}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(reranker))
    assert isinstance(read_training(tmp_path / "r.yaml"), TrainConfig)
    found = command("train", tmp_path / "r.yaml", "--estimate")
    assert found.exit_code == 2
    assert "--estimate: there is one for encoders alone, and cross_encoder is a reranker" in found.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "about 5 s"), (89, "about 89 s"), (120, "about 2 min"), (5000, "about 83 min"), (9000, "about 2.5 h")],
)
def test_times_in_words(seconds, text):
    assert in_words(Estimate(1, 2, seconds, 10**9)).startswith(f"{text}, 1.0 GB")


def test_info(plain, tmp_path):
    run_encoder_training(config(plain), tmp_path / "out")
    assert kind_of(tmp_path / "out") == "encoder-model"
    found = command("info", tmp_path / "out")
    assert found.exit_code == 0, found.output
    assert found.stdout.startswith("encoder-model stems  (")
    assert "names: en " in found.stdout
    assert "it helped" in found.stdout
    about = json.loads(command("info", tmp_path / "out", "--json").stdout)
    assert about["name"] == "stems"
    assert command("info", tmp_path / "out", "--report", tmp_path / "x.md").exit_code == 2
    (tmp_path / "out" / "stem.json").write_text("{}")
    assert "has 2 bytes, expected" in command("info", tmp_path / "out").stderr


def test_export_of_an_encoder_that_is_no_transformer(plain, tmp_path):
    run_encoder_training(config(plain), tmp_path / "out")
    with pytest.raises(ConfigError, match="needs no export"):
        trained_encoder(tmp_path / "out")
    found = command("export", tmp_path / "out")
    assert found.exit_code == 2
    assert "is a test_train_encoder:StemEncoder encoder, which needs no export" in found.stderr


def test_export_of_a_transformer(tmp_path, monkeypatch):
    about = {"encoder": {"type": "sentence_transformer", "prefix": "query: "}}
    with write_folder(tmp_path / "m", kind=KIND, about=about) as folder:
        (folder / "model.safetensors").write_bytes(b"")
    made = []
    monkeypatch.setattr(
        "xnorm.export.export_encoder", lambda config, target, **keys: made.append((config, target, keys))
    )
    found = command("export", tmp_path / "m", "--no-int8")
    assert found.exit_code == 0, found.output
    [(settings, target, keys)] = made
    assert (settings.model, settings.prefix) == (str(tmp_path / "m"), "query: ")
    assert target == tmp_path / "m-onnx"
    assert keys == {"int8": False, "overwrite": False}
    (tmp_path / "m" / "model.safetensors").write_bytes(b"other")
    assert "has 5 bytes, expected 0" in command("export", tmp_path / "m").stderr
