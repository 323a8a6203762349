"""Training of the cross-encoder: what is drawn, what is fitted, and tiny runs through `run_training`."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import yaml
from conftest import CONCEPTS, write_terminology
from tiny_transformers import make_model, make_tokenizer, torch, transformers
from typer.testing import CliRunner

pytest.importorskip("datasets", reason="needs the extra torch")
pytest.importorskip("accelerate", reason="needs the extra torch")

from test_reranking_cross_encoder import write_model

from xnorm.artifact import open_folder
from xnorm.calibration import fit_calibration
from xnorm.candidates.base import Candidates
from xnorm.candidates.tfidf import TfidfGenerator
from xnorm.cli import app
from xnorm.config import validate
from xnorm.errors import ArtifactError, ConfigError, DataError, MissingExtraError, XnormError
from xnorm.linker import Linker
from xnorm.loading import files_checksum
from xnorm.losses import NotFiniteError, StrengthWarning
from xnorm.ranking import judge
from xnorm.train import KIND, TrainConfig, _shared_texts, _split, run_training
from xnorm.training import _loop, _validation
from xnorm.training import cross_encoder as module
from xnorm.training._validation import Validation
from xnorm.training.base import Examples
from xnorm.training.cross_encoder import CrossEncoderTrainer, sample_candidates
from xnorm.types import Mention

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning"),
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of the new output, which the seed of a training does not reach
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A plain transformer, without markers and without an output."""
    return write_model(tmp_path_factory.mktemp("base") / "bert", head=False)


def examples_of(sizes, gold, *, ids=None):
    """Mentions with so many candidates 0, 1, ..., and the gold columns of each."""
    k = max(sizes)
    concepts = np.array([[j if j < n else -1 for j in range(k)] for n in sizes], np.int32)
    scores = np.where(concepts >= 0, 1 - 0.01 * concepts, -np.inf).astype(np.float32)
    mentions = [Mention(f"m{i}", id=ids[i] if ids else f"id{i}") for i in range(len(sizes))]
    return Examples(mentions, Candidates(concepts, scores, concepts.copy()), judge(concepts, gold))


# --- what is drawn and fitted -------------------------------------------------------------------------------------


def test_candidates_by_hand():
    drawn = sample_candidates(examples_of([6, 3, 1, 6, 6], [[5], [1], [0], [], [0, 1, 2, 3]]), 4, seed=0)
    # gold 5; of three others the two best, and one of the rest
    assert drawn[0, :2].tolist() == [0, 1]
    assert drawn[0, 2] in (2, 3, 4)
    assert drawn[0, 3] == 5
    assert drawn[1].tolist() == [0, 1, 2, -1]
    assert drawn[2].tolist() == [0, -1, -1, -1]
    assert drawn[3, :2].tolist() == [0, 1]
    # of four gold ones half, and they are no negatives either
    assert drawn[4].tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize("size", [2, 3, 8, 16, 64, 100])
def test_candidates_are_gold_hard_and_drawn_in_order(size):
    rng = np.random.default_rng(size)
    sizes = [*rng.integers(1, 65, 60).tolist(), 64]
    gold = [rng.permutation(n)[: rng.integers(0, 4)].tolist() for n in sizes]
    examples = examples_of(sizes, gold)
    drawn = sample_candidates(examples, size, seed=1)
    assert drawn.shape == (len(sizes), size)
    for row, n, own in zip(drawn.tolist(), sizes, gold, strict=True):
        chosen = [c for c in row if c >= 0]
        assert row == chosen + [-1] * (size - len(chosen))
        assert chosen == sorted(set(chosen))
        assert max(chosen) < n
        kept = sorted(own)[: max(1, size // 2)]
        assert set(chosen) & set(own) == set(kept)
        others = [j for j in range(n) if j not in own]
        assert len(chosen) == min(size, len(kept) + len(others))
        hard = math.ceil((size - len(kept)) / 2)
        assert set(others[:hard]) <= set(chosen)


def test_draws_depend_on_the_seed_and_on_nothing_else():
    examples = examples_of([64] * 20, [[40]] * 20)
    first = sample_candidates(examples, 8, seed=0)
    np.testing.assert_array_equal(sample_candidates(examples, 8, seed=0), first)
    assert (sample_candidates(examples, 8, seed=1) != first).any(axis=1).sum() > 15
    assert len({tuple(row) for row in first.tolist()}) > 10
    assert (first[:, :4] == [0, 1, 2, 3]).all()
    # drawn of all the rest, not of its beginning
    assert first.max() > 55
    assert sample_candidates(examples_of([2], [[]]), 8, seed=0).tolist() == [[0, 1] + [-1] * 6]


# --- the config and the split -------------------------------------------------------------------------------------

NAMES = [(i, n if isinstance(n, str) else n[0]) for i, name, others in CONCEPTS for n in (name, *others)]


def write_corpus(path, n=24, *, gold=None, documents=True, start=0):
    """Mentions that are a name of their gold concept, four a document."""
    with path.open("w", encoding="utf-8") as f:
        for i in range(start, start + n):
            identifier, name = NAMES[i % len(NAMES)]
            line = {"id": f"m{i}", "mention": name, "left": "Signs of ", "right": f" on day {i}."}
            line |= {"gold": [identifier] if gold is None else gold}
            if documents:
                line["document"] = f"d{i // 4}"
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
    return path


@pytest.fixture
def plain(tmp_path, monkeypatch, base):
    """Plain data of a training that takes a second."""
    monkeypatch.chdir(tmp_path)
    path = str(write_terminology(tmp_path / "tiny.jsonl"))
    return {
        "name": "small",
        "linker": {
            "name": "tiny",
            "terminology": {"sources": [{"type": "jsonl", "path": path}]},
            "candidates": {"type": "tfidf"},
        },
        "corpus": {"parts": {"all": {"type": "jsonl", "path": str(write_corpus(tmp_path / "all.jsonl"))}}},
        "validation": 0.3,
        "top_k": 8,
        "trainer": {
            "type": "cross_encoder", "model": str(base), "pairs": {"names": 1, "max_length": 40, "context": 20},
            "candidates": 4, "validation_candidates": 4, "epochs": 2, "evaluations": 2, "batch_size": 4,
            "learning_rate": 1e-3, "patience": 9, "device": "cpu",
        },
    }  # fmt: skip


def merged(plain, **keys):
    return {**plain, **keys, "trainer": {**plain["trainer"], **keys.get("trainer", {})}}


def train(plain, output, **keys):
    said = []
    config = validate(TrainConfig, merged(plain, **keys), where="test")
    return run_training(config, output, say=said.append), said


def weights(folder):
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def corpus_of(plain, **keys):
    from xnorm.corpus import read_corpus

    config = validate(TrainConfig, merged(plain, **keys), where="test")
    return read_corpus(config.corpus), config


@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.8])
def test_a_share_never_splits_a_document(plain, share):
    for seed in range(5):
        corpus, config = corpus_of(plain, validation=share, trainer={"seed": seed})
        training, validation = _split(corpus, config)
        assert not {m.document for m in training} & {m.document for m in validation}
        assert len({m.document for m in validation}) == max(1, round(6 * share))
        assert sorted(m.id for m in training + validation) == sorted(m.id for m in corpus.mentions)
        again = _split(corpus, config)
        assert again == (training, validation)
    draws = {tuple(m.id for m in _split(*corpus_of(plain, trainer={"seed": s}))[1]) for s in range(8)}
    assert len(draws) > 2


def test_parts_for_validation(plain, tmp_path):
    parts = {
        p: {"type": "jsonl", "path": str(write_corpus(tmp_path / f"{p}.jsonl", 8, start=s))}
        for p, s in (("dev", 0), ("train", 8), ("more", 16))
    }
    corpus, config = corpus_of(plain, corpus={"parts": parts}, validation=["dev"])
    training, validation = _split(corpus, config)
    assert validation == corpus.parts["dev"]
    assert training == [*corpus.parts["train"], *corpus.parts["more"]]


def weak_corpus(tmp_path, weights=None, **made):
    """24 mentions of people in 6 documents, and 12 synthetic ones."""
    source = str(tmp_path / "tiny.jsonl")
    made = {"type": "synthetic", "path": source, "mentions": 12, "filters": {"langs": ["en"]}, **made}
    parts = {"all": {"type": "jsonl", "path": str(tmp_path / "all.jsonl")}, "made": made}
    return {"parts": parts, "weights": weights or {}}


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_share_is_drawn_of_what_people_annotated(plain, tmp_path, share):
    said = []
    corpus, config = corpus_of(plain, corpus=weak_corpus(tmp_path), validation=share)
    training, validation = _split(corpus, config, said.append)
    assert {m.document for m in validation} <= {f"d{i}" for i in range(6)}
    assert len({m.document for m in validation}) == round(6 * share)
    assert {m.id for m in training} > {m.id for m in corpus.parts["made"]}
    assert said == ["the validation is drawn of all alone, not of the weak made"]
    # a lower weight is enough; with nothing else there is no choice, and a part that is named is taken
    lists = {
        p: {"type": "jsonl", "path": str(write_corpus(tmp_path / f"{p}.jsonl", 12, start=s))}
        for p, s in (("a", 0), ("b", 12))
    }
    corpus, config = corpus_of(plain, corpus={"parts": lists, "weights": {"a": 0.5}})
    assert {m.document for m in _split(corpus, config)[1]} <= {"d3", "d4", "d5"}
    corpus, config = corpus_of(plain, corpus={"parts": lists, "weights": {"a": 0.5, "b": 0.5}}, validation=0.99)
    assert {m.document for m in _split(corpus, config)[1]} == {f"d{i}" for i in range(6)}
    corpus, config = corpus_of(plain, corpus=weak_corpus(tmp_path), validation=["made"])
    assert _split(corpus, config)[1] == corpus.parts["made"]


def test_weights_of_parts_reach_the_loss(plain, tmp_path, monkeypatch):
    seen, columns = [], []
    dataset = CrossEncoderTrainer._dataset

    def spy(self, examples, *others):
        seen.append(examples)
        columns.append(dataset(self, examples, *others))
        return columns[-1]

    monkeypatch.setattr(CrossEncoderTrainer, "_dataset", spy)
    about, _ = train(plain, tmp_path / "out", corpus=weak_corpus(tmp_path, {"made": 0.25}))
    (examples,), (table,) = seen, columns
    made = np.array(["@" in m.id for m in examples.mentions])
    assert 0 < made.sum() < len(made)
    assert examples.weights.dtype == np.float32
    np.testing.assert_array_equal(examples.weights, np.where(made, np.float32(0.25), np.float32(1)))
    weights = np.array(table["weight"])
    assert weights.mean() == pytest.approx(1)
    assert weights[made][0] / weights[~made][0] == pytest.approx(0.25)
    assert about["weights"] == {"all": 1.0, "made": 0.25}
    assert open_folder(tmp_path / "out", kind=KIND)["weights"] == about["weights"]
    some = examples.take(np.array([3, 0]))
    assert some.weights.tolist() == [examples.weights[3], examples.weights[0]]


def test_weights_that_are_all_alike_are_none(plain, tmp_path):
    train(plain, tmp_path / "plain")
    torch.manual_seed(0)
    train(plain, tmp_path / "weighted", corpus={**plain["corpus"], "weights": {"all": 0.3}})
    assert weights(tmp_path / "plain") == weights(tmp_path / "weighted")


def test_a_text_on_both_sides_is_said(plain, tmp_path):
    file = tmp_path / "notes.jsonl"
    mention = {"spans": [[0, 4]], "gold": ["T:003"]}
    rows = [{"id": f"d{i}", "text": f"cold {i % 5}", "mentions": [{"id": f"m{i}", **mention}]} for i in range(10)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    parts = {"a": {"type": "jsonl", "path": str(file)}, "b": {"type": "jsonl", "path": str(file)}}
    said = []
    corpus, config = corpus_of(plain, corpus={"parts": parts}, validation=["b"])
    assert _shared_texts(corpus, *_split(corpus, config), said.append) == 5
    assert said == ["5 texts of the validation are trained on, too; its accuracy will be too high"]


def test_a_mention_on_both_sides_is_said(plain, tmp_path):
    lists = {
        "a": write_corpus(tmp_path / "a.jsonl", 8, documents=False),
        "b": write_corpus(tmp_path / "b.jsonl", 9, documents=False, start=5),
        "c": write_corpus(tmp_path / "c.jsonl", 8),  # in documents, though their texts are not known
    }
    parts = {name: {"type": "jsonl", "path": str(path)} for name, path in lists.items()}
    about, said = train(
        plain, tmp_path / "out", corpus={"parts": parts}, validation=["b"], trainer={"epochs": 1, "evaluations": 1}
    )
    line = "3 mentions of the validation are trained on, too, with their context; its accuracy will be too high"
    assert [x for x in said if "trained on, too" in x] == [line]
    assert open_folder(tmp_path / "out", kind=KIND)["shared_texts"] == about["shared_texts"] == 3
    corpus, config = corpus_of(plain)
    assert _shared_texts(corpus, *_split(corpus, config)) == 0


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"validation": ["dev"]}, "there is no part 'dev'; the parts are all"),
        ({"validation": ["all"]}, "names all parts"),
        ({"validation": 1.0}, "share between 0 and 1, found 1.0"),
        ({"validation": 0}, "share between 0 and 1"),
        ({"validation": -0.1}, "share between 0 and 1"),
        ({"top_k": 1}, "top_k"),
        ({"trainer": {"epoch": 1}}, "unknown key 'epoch'; did you mean 'epochs'"),
        ({"trainer": {"candidates": 1}}, "candidates"),
        ({"trainer": {"loss": {"regularizer": "l1"}}}, "regularizer"),
        ({"trainer": {"type": "cross_encodr"}}, r"'cross_encodr' of training; did you mean 'cross_enc"),
        ({"trainer": {"seed": -1}}, "seed"),
        ({"trainer": {"learning_rate": 0}}, "trainer.learning_rate: .*greater than 0"),
        ({"trainer": {"learning_rate": -1e-3}}, "trainer.learning_rate: .*greater than 0"),
        ({"trainer": {"learning_rate": float("inf")}}, "trainer.learning_rate: .*finite"),
        ({"trainer": {"lora": {"rank": 0}}}, "trainer.lora.rank: .*greater than or equal to 1"),
        ({"trainer": {"lora": {"dropout": 1}}}, "trainer.lora.dropout: .*less than 1"),
        ({"trainer": {"lora": {"r": 8}}}, "unknown key 'r'"),
    ],
)
def test_settings_that_are_refused(plain, keys, message):
    with pytest.raises(ConfigError, match=message) as e:
        validate(TrainConfig, merged(plain, **keys), where="test")
    assert "\n" not in str(e.value)


# --- what cannot be learnt from -----------------------------------------------------------------------------------


def refused(plain, output, match, error=XnormError, **keys):
    with pytest.raises(error, match=match) as e:
        train(plain, output, **keys)
    assert "\n" not in str(e.value)
    assert not output.exists()


def part(path):
    return {"parts": {"all": {"type": "jsonl", "path": str(path)}}}


def test_gold_that_no_candidate_is(plain, tmp_path):
    # the mention is a name of one concept, its gold another that shares no letter
    lines = [{"id": str(i), "mention": "Cold", "gold": ["T:011"], "document": f"d{i}"} for i in range(8)]
    (tmp_path / "far.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    far = part(tmp_path / "far.jsonl")
    refused(plain, tmp_path / "out", r"none of the 6 training mentions.*recall 0\.000", DataError, corpus=far, top_k=2)


def test_gold_that_no_candidate_is_with_nil(plain, tmp_path):
    lines = [{"id": str(i), "mention": "Cold", "gold": ["T:011"], "document": f"d{i}"} for i in range(8)]
    (tmp_path / "far.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    keys = {"corpus": part(tmp_path / "far.jsonl"), "top_k": 2, "trainer": {"pairs": {"nil": True, "max_length": 40}}}
    refused(plain, tmp_path / "out", "recall 0", DataError, **keys)


@pytest.mark.parametrize("nil", [False, True])
def test_gold_of_one_concept(plain, tmp_path, nil):
    lines = [json.dumps({"id": str(i), "mention": "Cold", "gold": ["T:005"], "document": f"d{i}"}) for i in range(8)]
    (tmp_path / "one.jsonl").write_text("\n".join(lines) + "\n")
    keys = {"corpus": part(tmp_path / "one.jsonl"), "trainer": {"pairs": {"nil": nil, "max_length": 40}}}
    message = "one class only: the gold of the 6 training mentions is one and the same concept"
    refused(plain, tmp_path / "out", message, DataError, **keys)


def test_candidates_that_are_all_gold(plain, tmp_path):
    every = [i for i, _, _ in CONCEPTS]
    other = part(write_corpus(tmp_path / "all-gold.jsonl", gold=every))
    message = "one class only: the gold of the 16 training mentions is every candidate, .*more candidates"
    refused(plain, tmp_path / "out", message, DataError, corpus=other)


def test_a_terminology_of_one_concept(plain, tmp_path):
    first = (tmp_path / "tiny.jsonl").read_text(encoding="utf-8").splitlines()[0]
    (tmp_path / "one.jsonl").write_text(first + "\n", encoding="utf-8")
    linker = {**plain["linker"], "terminology": {"sources": [{"type": "jsonl", "path": str(tmp_path / "one.jsonl")}]}}
    lines = [json.dumps({"id": str(i), "mention": "Heart failure", "gold": ["T:001"]}) for i in range(8)]
    (tmp_path / "few.jsonl").write_text("\n".join(lines) + "\n")
    corpus = part(tmp_path / "few.jsonl")
    message = r"has its gold among two or more candidates \(recall 1\.000\)"
    refused(plain, tmp_path / "out", message, DataError, linker=linker, corpus=corpus)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "ModernBert"])
def test_a_base_without_a_tokenizer(plain, tmp_path, kind):
    make_model(tmp_path / "base", kind) if kind != "ModernBert" else write_base(tmp_path / "base", kind)
    for path in (tmp_path / "base").glob("*token*"):
        path.unlink()
    model = str(tmp_path / "base")
    refused(plain, tmp_path / "out", "base: has no tokenizer; save it beside", ConfigError, trainer={"model": model})


def write_base(folder, kind, **shape):
    """Write a tiny transformer of any kind beside a tokenizer that does not fit it."""
    make_tokenizer("bert").save_pretrained(folder)
    shape = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, **shape}
    ends = {"intermediate_size": 64, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2}
    config = getattr(transformers, f"{kind}Config")(**shape, **ends, sep_token_id=3)
    transformers.AutoModel.from_config(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("T5", {"d_kv": 16, "num_layers": 1, "num_heads": 2, "d_ff": 64}, r"is an encoder with a decoder \(t5\)"),
        ("Bart", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}, r"an encoder with a decoder \(bart\)"),
        ("ViT", {"image_size": 16, "patch_size": 8}, "has no classifier of texts of the kind ViT; take an encoder"),
    ],
)
def test_a_base_of_another_kind(plain, tmp_path, kind, shape, message):
    write_base(tmp_path / "base", kind, **shape)
    refused(plain, tmp_path / "out", message, ConfigError, trainer={"model": str(tmp_path / "base")})


def test_gold_of_another_terminology(plain, tmp_path):
    other = part(write_corpus(tmp_path / "x.jsonl", gold=["X:1"]))
    refused(plain, tmp_path / "out", "none of the 1 gold ids is in the terminology", DataError, corpus=other)


def test_one_mention_only(plain, tmp_path):
    one = part(write_corpus(tmp_path / "one.jsonl", 1))
    refused(plain, tmp_path / "out", "no mention is left to train on, or to choose a model by", DataError, corpus=one)


def test_files_that_are_missing(plain, tmp_path):
    corpus = part(tmp_path / "none.jsonl")
    refused(plain, tmp_path / "out", "small needs 1 more file: part 'all': .*none.jsonl", DataError, corpus=corpus)
    refused(plain, tmp_path / "out", "cannot be loaded", trainer={"model": str(tmp_path)})


def test_an_existing_output_is_refused_before_any_work(plain, tmp_path, monkeypatch):
    monkeypatch.setattr("xnorm.train.read_corpus", lambda *_: pytest.fail("work was done"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(ArtifactError, match="exists already; pass --overwrite"):
        train(plain, tmp_path / "out")
    config = validate(TrainConfig, plain, where="test")
    with pytest.raises(ArtifactError, match="exists and is no reranker"):
        run_training(config, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "mine").read_text() == "x"


# --- runs ---------------------------------------------------------------------------------------------------------


def steps_of(about):
    return about["validation"]["drawn"]["by_step"]


@pytest.fixture
def stop(monkeypatch):
    """Make the nth measurement of the validation raise KeyboardInterrupt; each is better than the one before."""

    real = Validation.measure

    def arm(nth):
        calls = []

        def measure(self, model):
            calls.append(1)
            if len(calls) == nth:
                raise KeyboardInterrupt
            return replace(real(self, model), accuracy=len(calls) / 1000)

        monkeypatch.setattr(Validation, "measure", measure)

    return arm


def test_a_model_ranks_in_a_new_process_as_here(plain, tmp_path):
    about, said = train(plain, tmp_path / "out")
    manifest = open_folder(tmp_path / "out", kind=KIND, verify=True)
    assert manifest["validation"] == about["validation"]
    assert manifest["calibration"] == about["calibration"]
    assert about["trained"]["mentions"] + about["trained"]["left_out"] + about["validation"]["mentions"] == 24
    assert len(steps_of(about)) >= 4
    assert any("training on" in line for line in said)
    assert [p.name for p in tmp_path.glob(".*")] == []
    config = {**plain["linker"], "reranker": {"type": "cross_encoder", "path": str(tmp_path / "out"), "device": "cpu"}}
    linker = Linker.build(config)
    linker.save(tmp_path / "saved")
    mentions = ["Herzinsuffizienz", "cold", "Pain in the head wall", "", "Diabetes mellitus"]
    here = [[(c.concept_id, c.score) for c in r] for r in linker.link(mentions, top_k=8)]
    code = (
        "import json, sys, warnings; warnings.simplefilter('ignore'); import torch; torch.set_num_threads(1)\n"
        "from xnorm import Linker\n"
        f"found = Linker.load({str(tmp_path / 'saved')!r}).link({mentions!r}, top_k=8)\n"
        "print(json.dumps([[(c.concept_id, c.score) for c in r] for r in found]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    there = json.loads(out)
    assert [[c for c, _ in r] for r in there] == [[c for c, _ in r] for r in here]
    for a, b in zip(there, here, strict=True):
        np.testing.assert_allclose([s for _, s in a], [s for _, s in b], atol=2e-6)
    assert len(here[4]) > 1


def test_same_seed_same_weights(plain, tmp_path):
    for name in "ab":
        torch.manual_seed(ord(name))  # what the process did before must not matter
        train(plain, tmp_path / name, trainer={"epochs": 1})
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


LORA = {"lora": {"rank": 4, "alpha": 8, "dropout": 0.1}, "learning_rate": 5e-3}


@pytest.mark.parametrize(("nth", "lora"), [(2, {}), (3, {}), (3, LORA)])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(plain, tmp_path, stop, nth, lora):
    settings = {**plain, "trainer": {**plain["trainer"], "pairs_at_once": 7, **lora}}
    stop(0)
    torch.manual_seed(1)
    about, _ = train(settings, tmp_path / "a")
    torch.manual_seed(1)
    train(settings, tmp_path / "b")
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    torch.manual_seed(1)
    train(settings, tmp_path / "c", trainer={"seed": 1, "pairs_at_once": 7})
    assert weights(tmp_path / "a") != weights(tmp_path / "c")
    stop(nth)
    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "killed")
    assert not (tmp_path / "killed").exists()
    assert list(tmp_path.glob(".killed*/checkpoints/checkpoint-*"))
    torch.manual_seed(2)
    np.random.seed(2)
    again, said = train(settings, tmp_path / "killed")
    assert any("going on from checkpoint-" in line for line in said)
    assert weights(tmp_path / "killed") == weights(tmp_path / "a")
    assert again["calibration"] == about["calibration"]
    assert not list(tmp_path.glob(".killed*"))


def test_a_weight_changes_what_is_learnt_and_a_killed_run_goes_on_with_it(plain, tmp_path, stop):
    stop(0)
    for name, weight in (("light", 0.1), ("heavy", 1.0)):
        torch.manual_seed(1)
        train(plain, tmp_path / name, corpus=weak_corpus(tmp_path, {"made": weight}))
    assert weights(tmp_path / "light") != weights(tmp_path / "heavy")
    stop(3)
    torch.manual_seed(1)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "killed", corpus=weak_corpus(tmp_path, {"made": 0.1}))
    _, said = train(plain, tmp_path / "killed", corpus=weak_corpus(tmp_path, {"made": 0.1}))
    assert any("going on from checkpoint-" in line for line in said)
    assert weights(tmp_path / "killed") == weights(tmp_path / "light")


@pytest.mark.parametrize("lora", [{}, LORA])
def test_the_weights_are_those_of_the_best_measurement(plain, tmp_path, monkeypatch, lora):
    real, seen = Validation.measure, []

    def measure(self, model):
        weight = model[0].model.get_input_embeddings().weight
        seen.append((model.predict([["heart [START] failure [END]", "Herz [NAME] a"]]).item(), float(weight.sum())))
        return replace(real(self, model), accuracy=1 / len(seen))  # the first one is the best

    monkeypatch.setattr(Validation, "measure", measure)
    about, _ = train(plain, tmp_path / "out", trainer={"patience": 2, "epochs": 5, **lora})
    assert about["stopped"] == "no better any more"
    assert len(seen) == 4
    assert seen[3] == pytest.approx(seen[0], abs=1e-6)
    assert abs(seen[1][0] - seen[0][0]) > 1e-4


@pytest.fixture
def falling(monkeypatch):
    """Make each measurement of the validation worse than the one before, and the nth raise KeyboardInterrupt."""
    real = Validation.measure

    def arm(nth=0, *, first=0):
        calls = [None] * first

        def measure(self, model):
            calls.append(None)
            if len(calls) == nth:
                raise KeyboardInterrupt
            return replace(real(self, model), accuracy=1 / len(calls))

        monkeypatch.setattr(Validation, "measure", measure)

    return arm


@pytest.mark.parametrize("lora", [{}, LORA])
@pytest.mark.parametrize("nth", [3, 4, 5])  # 4: before the last checkpoint, 5: after it, in the final measurement
def test_a_killed_run_ends_as_soon_as_one_that_was_not(plain, tmp_path, falling, nth, lora):
    settings = merged(plain, trainer={"epochs": 8, "patience": 3, **lora})
    falling()
    whole, _ = train(settings, tmp_path / "whole")
    assert whole["stopped"] == "no better any more"
    assert steps_of(whole) == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4], abs=1e-6)
    falling(nth)
    with pytest.raises(KeyboardInterrupt):
        train(settings, tmp_path / "killed")
    falling(first=nth - 1)
    again, said = train(settings, tmp_path / "killed")
    assert any("going on from checkpoint-" in line for line in said)
    assert again["stopped"] == whole["stopped"]
    assert steps_of(again) == steps_of(whole)
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


KILLED = """
import os, signal
from pathlib import Path
import torch
from transformers import TrainerState
from xnorm.train import TrainConfig, run_training

torch.set_num_threads(1)
save, calls = TrainerState.save_to_json, []

def save_and_die(self, path):
    save(self, path)
    calls.append(path)
    if len(calls) == 2:
        text = Path(path).read_text()
        Path(path).write_text(text[: len(text) // PART])
        os.kill(os.getpid(), signal.SIGKILL)

TrainerState.save_to_json = save_and_die
run_training(TrainConfig.read("small.yaml"), Path("killed"))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize(("part", "number"), [(1, 2), (2, 1)])  # of the state that is being written
def test_a_process_that_is_killed_at_a_checkpoint(plain, tmp_path, part, number):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(plain))
    code = KILLED.replace("PART", str(part))
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed").exists()
    again, said = train(plain, tmp_path / "killed")
    gone_on = [line.split()[3] for line in said if "going on" in line]
    whole, _ = train(plain, tmp_path / "whole")
    assert gone_on == [f"checkpoint-{number}"]
    assert (tmp_path / "killed/model/model.safetensors").read_bytes() == (
        tmp_path / "whole/model/model.safetensors"
    ).read_bytes()
    assert [again[key] for key in ("validation", "calibration", "stopped")] == [
        whole[key] for key in ("validation", "calibration", "stopped")
    ]
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_the_seconds_are_those_of_all_processes(plain, tmp_path, stop, monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr(_loop.time, "perf_counter", lambda: float(next(ticks)))
    stop(0)
    whole, _ = train(plain, tmp_path / "whole")
    assert whole["trained"]["seconds"] == len(steps_of(whole)) == 6  # one for each update
    stop(3)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "out")
    again, _ = train(plain, tmp_path / "out")
    assert again["trained"]["seconds"] == whole["trained"]["seconds"]


def test_the_history_survives_a_kill(plain, tmp_path, stop):
    whole, _ = train(plain, tmp_path / "a")
    stop(2)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "b")
    assert len(steps_of(train(plain, tmp_path / "b")[0])) == len(steps_of(whole))


@pytest.mark.parametrize("left", [None, 0, 300])
def test_a_checkpoint_that_was_cut_off_is_passed_over(plain, tmp_path, stop, left):
    stop(3)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "out")
    first, last = sorted(tmp_path.glob(".out*/checkpoints/checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    state = last / "trainer_state.json"  # written last
    if left is None:
        state.unlink()
    else:
        state.write_text(state.read_text()[:left])
    stop(0)
    _, said = train(plain, tmp_path / "out")
    assert [line for line in said if "going on" in line] == [f"going on from {first.name} of a run that was stopped"]
    train(plain, tmp_path / "whole")
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert not list(tmp_path.glob(".out*"))


def test_a_killed_run_on_other_data_is_not_gone_on_with(plain, tmp_path, stop):
    stop(2)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "out")
    write_corpus(tmp_path / "all.jsonl", start=8)
    _, said = train(plain, tmp_path / "out")
    assert not any("going on" in line for line in said)


def test_a_killed_run_with_another_value_set_is_not_gone_on_with(plain, tmp_path, stop):
    ids = [json.loads(line)["id"] for line in (tmp_path / "tiny.jsonl").read_text(encoding="utf-8").splitlines()]
    listed = tmp_path / "ids.txt"
    plain["linker"]["filters"] = {"value_set": {"path": str(listed)}}
    for rows, again in ((ids, False), (ids, True), (ids[::-1], False)):
        listed.write_text("\n".join(rows), encoding="utf-8")
        stop(1 if again else 2)
        said = []
        with pytest.raises(KeyboardInterrupt):
            run_training(validate(TrainConfig, plain, where="test"), tmp_path / "out", say=said.append)
        assert any("going on" in line for line in said) is again


@pytest.mark.parametrize("what", ["weights", "size and time", "xnorm"])
def test_a_killed_run_of_another_base_or_xnorm_is_not_gone_on_with(plain, tmp_path, base, stop, monkeypatch, what):
    if what == "size and time":
        monkeypatch.setattr("xnorm.loading.VERIFY_UP_TO", 0)
    shutil.copytree(base, tmp_path / "base")
    settings = merged(plain, trainer={"model": str(tmp_path / "base"), "epochs": 1})
    stop(2)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "out")
        stop(1)
    assert len(list(tmp_path.glob(".out*"))) == 1
    if what == "xnorm":
        monkeypatch.setattr("xnorm.train.version", lambda _: "0.0.0")
    else:
        file = tmp_path / "base" / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    stop(0)
    _, said = train(settings, tmp_path / "out")
    assert not any("going on" in line for line in said)


def test_the_checksum_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    for name in ("inner/model.safetensors", "config.json", "README.md"):
        (tmp_path / name).write_text(name)
    endings = (".safetensors", ".json")
    first = files_checksum(tmp_path, endings)
    os.utime(tmp_path / "config.json", ns=(1, 1))
    (tmp_path / "README.md").write_text("another")
    assert files_checksum(tmp_path, endings) == first
    monkeypatch.setattr("xnorm.loading.VERIFY_UP_TO", 20)  # the weights are above it
    os.utime(tmp_path / "inner/model.safetensors", ns=(1, 1))
    one = files_checksum(tmp_path, endings)
    os.utime(tmp_path / "inner/model.safetensors", ns=(2, 2))
    assert len({first, one, files_checksum(tmp_path, endings)}) == 3
    (tmp_path / "config.json").write_text("CONFIG.JSON")
    assert files_checksum(tmp_path, endings) != one


@pytest.fixture
def spoil(monkeypatch):
    """Make weights NaN before the nth measurement: all that are trained, or one that no text needs."""
    real = Validation.measure

    def arm(nth, *, unseen):
        calls = []

        def measure(self, model):
            calls.append(None)
            if len(calls) == nth:
                with torch.no_grad():
                    for p in [p for p in model.parameters() if p.requires_grad]:
                        p[0 if unseen else ...] = math.nan
                        if unseen:
                            break
            return real(self, model)

        monkeypatch.setattr(Validation, "measure", measure)

    return arm


@pytest.mark.parametrize(
    ("nth", "lora", "unseen"),
    [(3, {}, False), (3, {}, True), (3, LORA, False), (6, {}, False)],  # 6: after the last update
)
def test_weights_that_are_not_finite_are_never_kept(plain, tmp_path, spoil, nth, lora, unseen):
    spoil(nth, unseen=unseen)
    about, said = train(plain, tmp_path / "out", trainer=lora)
    assert about["stopped"] == "the loss or the weights were not finite"
    assert sum("weights are not finite" in line and "keeping checkpoint-" in line for line in said) == 1
    assert len(steps_of(about)) == nth - 1
    assert about["validation"]["accuracy"] == max(steps_of(about))
    assert all(x.isfinite().all() for x in bodies(tmp_path / "out").values())


@pytest.mark.parametrize("nth", [1, 2])  # after the only update, and in the final measurement
def test_weights_that_are_not_finite_and_no_better_ones(plain, tmp_path, spoil, nth):
    spoil(nth, unseen=False)
    keys = {"epochs": 1, "evaluations": 1, "batch_size": 100}
    refused(plain, tmp_path / "out", "weights are not finite; a lower learning rate", NotFiniteError, trainer=keys)
    assert not list(tmp_path.glob("*out*/model"))


def test_logits_that_are_not_finite_are_no_measurement(plain, tmp_path, monkeypatch):
    real = module.open_model

    def open_model(*args, **keys):
        model = real(*args, **keys)
        predict = model.predict
        monkeypatch.setattr(model, "predict", lambda *a, **k: predict(*a, **k) * np.inf)
        return model

    monkeypatch.setattr(module, "open_model", open_model)
    refused(plain, tmp_path / "out", "gives scores that are no numbers .* lower learning rate", NotFiniteError)


def test_several_gpus_in_one_process(plain, tmp_path, monkeypatch, caplog):
    known = transformers.TrainingArguments.__dict__["_setup_devices"]

    def devices(self):
        found = known.func(self)
        self._n_gpu = 2
        return found

    changed = cached_property(devices)
    changed.__set_name__(transformers.TrainingArguments, "_setup_devices")
    monkeypatch.setattr(transformers.TrainingArguments, "_setup_devices", changed)
    about, _ = train(plain, tmp_path / "out", trainer={"epochs": 1})
    assert about["stopped"] == "ran to its end"
    assert not caplog.records  # that it is done in another way would be untrue


@pytest.mark.parametrize("name", ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE"])
def test_several_processes_are_refused(plain, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "2")
    refused(plain, tmp_path / "out", f"{name} is 2: a training is one process on one device; .*torchrun", ConfigError)
    assert not (tmp_path / "index").exists()
    monkeypatch.setenv(name, "1")
    train(plain, tmp_path / "out", trainer={"epochs": 1})


@pytest.mark.parametrize("lora", [{}, LORA])
def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(plain, tmp_path, monkeypatch, lora):
    from xnorm import losses

    plain = merged(plain, trainer=lora)
    real, calls = losses.listwise_loss, []

    def loss(*args, **keys):
        calls.append(1)
        return real(*args, **keys) * (math.nan if len(calls) >= bad else 1)

    monkeypatch.setattr(losses, "listwise_loss", loss)
    bad = 5
    about, said = train(plain, tmp_path / "out")
    assert about["stopped"] == "the loss or the weights were not finite"
    assert any("keeping checkpoint-" in line for line in said)
    accuracy = about["validation"]["accuracy"]
    assert accuracy == max(steps_of(about))
    state = torch.cat([p.flatten() for p in module.open_model(
        str(tmp_path / "out" / "model"), validate(TrainConfig, plain, where="t").trainer.pairs, device="cpu"
    ).parameters()])  # fmt: skip
    assert state.isfinite().all()
    calls.clear()
    bad = 1
    with pytest.raises(NotFiniteError, match="loss nan in batch 1"):
        train(plain, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_strength_that_forbids_reranking_is_said(plain, tmp_path):
    import warnings

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, said = train(plain, tmp_path / "out", trainer={"loss": {"regularizer": "l2", "strength": 9}, "epochs": 1})
    heard = [str(w.message) for w in caught if issubclass(w.category, StrengthWarning)]
    assert any("not to rerank" in line for line in [*said, *heard])


@pytest.mark.parametrize("regularizer", ["mse", "kl", "xmen"])
def test_nil_is_learnt_with_every_loss(plain, tmp_path, regularizer):
    lines = [json.loads(x) for x in (tmp_path / "all.jsonl").read_text().splitlines()]
    for line in lines[::3]:
        line["gold"] = []
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    pairs = {"max_length": 40, "nil": True, "layout": "xmen" if regularizer == "xmen" else "xnorm"}
    keys = {"pairs": pairs, "loss": {"regularizer": regularizer}, "epochs": 1}
    about, _ = train(plain, tmp_path / "out", trainer=keys)
    assert about["pairs"]["nil"]
    assert about["trained"]["mentions"] > 8


@pytest.mark.parametrize("nil", [False, True])
def test_the_accuracy_is_that_of_the_reranker(plain, tmp_path, nil):
    for name, start in (("all", 0), ("dev", 24)):
        lines = [json.loads(x) for x in write_corpus(tmp_path / f"{name}.jsonl", start=start).read_text().splitlines()]
        for line in lines[::3] if nil else ():
            line["gold"] = []
        for line in lines[1::6]:
            line["gold"] = [CONCEPTS[int(line["id"][1:]) % 12][0]]  # of another concept
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    parts = {"dev": {"type": "jsonl", "path": str(tmp_path / "dev.jsonl")}, "train": plain["corpus"]["parts"]["all"]}
    keys = {"pairs": {"max_length": 40, "nil": nil}, "epochs": 1, "evaluations": 1, "validation_candidates": 8}
    about, _ = train(plain, tmp_path / "out", corpus={"parts": parts}, validation=["dev"], trainer=keys)
    config = {**plain["linker"], "reranker": {"type": "cross_encoder", "path": str(tmp_path / "out"), "device": "cpu"}}
    mentions = [Mention(x["mention"], left=x["left"], right=x["right"]) for x in lines]
    found = [r[0].concept_id if len(r) else None for r in Linker.build(config).link(mentions, top_k=8)]
    right = [f in x["gold"] if x["gold"] else f is None for f, x in zip(found, lines, strict=True)]
    assert about["validation"]["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)
    assert 0.2 < np.mean(right) < 0.95
    assert (None in found) == nil


def trainer_of(plain, **keys):
    return CrossEncoderTrainer(validate(TrainConfig, merged(plain, trainer=keys), where="test").trainer)


def test_one_candidate_and_nil_are_two_choices(plain):
    examples = examples_of([1, 1, 3, 3, 3, 0], [[0], [], [1], [2], [0, 1, 2], []])
    for nil, useful in ((False, ["id2", "id3"]), (True, ["id0", "id1", "id2", "id3", "id4"])):
        found = trainer_of(plain, pairs={"nil": nil, "max_length": 40})._useful(examples)
        assert [m.id for m in found.mentions] == useful
    alone = examples_of([1] * 4, [[0], [], [0], []])
    assert len(trainer_of(plain, pairs={"nil": True, "max_length": 40})._useful(alone).mentions) == 4
    with pytest.raises(DataError, match="gold among two or more candidates"):
        trainer_of(plain, pairs={"max_length": 40})._useful(alone)


def test_nil_is_calibrated_where_no_candidate_is_gold(monkeypatch):
    rng, n, k = np.random.default_rng(0), 300, 8
    missed = rng.random(n) < 0.25
    gold = np.where(missed, 99, rng.integers(0, k, n))
    examples = examples_of([k] * n, [[int(g)] for g in gold])
    hits = examples.judged.hits
    assert (examples.judged.n_gold == 1).all()
    logits = rng.normal(0, 1, (n, k)) + 4 * hits
    nil = np.where(missed, 4.0, 0.0) + rng.normal(0, 1, n)
    monkeypatch.setattr(_validation, "pair_logits", lambda *_: (logits, nil))
    found = Validation(None, examples, k, None).measure(torch.nn.Linear(1, 1))
    scores = examples.candidates.scores
    assert found.calibration == fit_calibration(logits, nil, scores, hits, missed)
    assert abs(found.calibration.nil) < 2
    z, none = found.calibration.apply(logits, nil, scores)
    says_nil = none > z.max(axis=1)
    assert says_nil[missed].mean() > 0.7
    assert says_nil[~missed].mean() < 0.1
    assert not found.right[missed].any()  # what is right is as ever: their gold is no candidate


class ShuffledGenerator(TfidfGenerator):
    """Proposes all concepts, in an order that says nothing."""

    def nearest(self, queries, k):
        found = super().nearest(queries, k)
        concepts = (5 * np.arange(k) + 7 * np.arange(len(found))[:, None] + 1).astype(np.int32) % 12
        scores = np.tile(np.linspace(0.9, 0.8, k, dtype=np.float32), (len(found), 1))
        return Candidates(concepts, scores, self.terminology.first_name[concepts].astype(np.int32))


def test_it_learns_what_can_be_learnt(plain, tmp_path):
    few = [{"id": f"m{i}", "mention": CONCEPTS[i % 4][1], "gold": [CONCEPTS[i % 4][0]]} for i in range(80)]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(x) + "\n" for x in few))
    linker = {**plain["linker"], "candidates": {"type": "test_training:ShuffledGenerator"}}
    keys = {"epochs": 8, "evaluations": 1, "patience": 8, "batch_size": 8, "learning_rate": 2e-3, "candidates": 12,
            "validation_candidates": 12, "pairs": {"names": 1, "max_length": 40, "context": 0}}  # fmt: skip
    torch.manual_seed(0)
    about, _ = train(plain, tmp_path / "out", linker=linker, top_k=12, validation=0.2, trainer=keys)
    assert about["trained"]["left_out"] == 0
    assert about["validation"]["accuracy"] >= about["validation"]["accuracy_before"] + 0.3


# --- LoRA and memory ----------------------------------------------------------------------------------------------


def bodies(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.parametrize("frozen", [False, True])
def test_lora_trains_what_is_new_and_merges_the_rest(plain, tmp_path, stop, frozen):
    stop(0)
    about, _ = train(plain, tmp_path / "none", trainer={"learning_rate": 1e-30})
    keys = {**LORA, "epochs": 4, "freeze_embeddings": frozen}
    about, _ = train(plain, tmp_path / "out", trainer=keys)
    assert about["config"]["trainer"]["lora"]["rank"] == 4
    before, after = bodies(tmp_path / "none"), bodies(tmp_path / "out")
    assert list(before) == list(after)
    changed = {name: not torch.allclose(before[name], after[name], atol=1e-7) for name in before}
    table = "bert.embeddings.word_embeddings.weight"
    matrices = {name for name in before if name.endswith("weight") and before[name].ndim == 2}
    head = {name for name in before if name.startswith(("classifier.", "bert.pooler."))}
    linear = {name for name in matrices if "embeddings" not in name}
    expected = linear | head | (set() if frozen else {table})
    assert {name for name in before if changed[name]} == expected
    rows = (before[table] - after[table]).abs().amax(dim=1) > 1e-7
    markers = [x in rows.nonzero().flatten().tolist() for x in range(len(rows) - 6, len(rows))]
    assert rows.sum() == sum(markers) <= 6
    assert frozen or sum(markers) >= 2


def test_a_model_of_lora_is_as_any_other(plain, tmp_path):
    train(plain, tmp_path / "out", trainer=LORA)
    assert sorted(p.name for p in (tmp_path / "out" / "model").iterdir() if "adapter" in p.name) == []
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    export = CliRunner().invoke(app, ["export", str(tmp_path / "out"), "--output", str(tmp_path / "graph")])
    assert export.exit_code == 0, export.output
    rankings = []
    for kind, folder in (("cross_encoder", "out"), ("onnx", "graph")):
        linker = Linker.build({**plain["linker"], "reranker": {"type": kind, "path": str(tmp_path / folder)}})
        rankings.append([[(c.concept_id, c.score) for c in r] for r in linker.link(["cold", "Herzinsuffizienz"])])
    for one, other in zip(*rankings, strict=True):
        assert [c for c, _ in one] == [c for c, _ in other]
        np.testing.assert_allclose([s for _, s in one], [s for _, s in other], atol=1e-4)


def test_lora_learns_what_can_be_learnt(plain, tmp_path):
    few = [{"id": f"m{i}", "mention": CONCEPTS[i % 4][1], "gold": [CONCEPTS[i % 4][0]]} for i in range(80)]
    (tmp_path / "all.jsonl").write_text("".join(json.dumps(x) + "\n" for x in few))
    linker = {**plain["linker"], "candidates": {"type": "test_training:ShuffledGenerator"}}
    keys = {"epochs": 8, "evaluations": 1, "patience": 8, "batch_size": 8, "learning_rate": 2e-2, "candidates": 12,
            "validation_candidates": 12, "pairs": {"names": 1, "max_length": 40, "context": 0},
            "lora": {"rank": 8}}  # fmt: skip
    about, _ = train(plain, tmp_path / "out", linker=linker, top_k=12, validation=0.2, trainer=keys)
    assert about["validation"]["accuracy"] >= about["validation"]["accuracy_before"] + 0.3


def test_lora_without_its_package(plain, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    refused(plain, tmp_path / "out", r"needs the package 'peft'.*xnorm\[lora\]", MissingExtraError, trainer=LORA)


@pytest.fixture
def small_memory(monkeypatch):
    """Make every transformer that is opened fail for more pairs than fit, with gradients or without."""

    real = module.open_model

    def arm(fits, *, fails=lambda: True, error=None):
        sizes = []

        def open_model(*args, **keys):
            model = real(*args, **keys)
            for part in model.modules():
                if isinstance(part, torch.nn.Dropout):
                    part.p = 0.0
            model[0].register_forward_pre_hook(check)
            return model

        def check(part, given):
            sizes.append(len(given[0]["input_ids"]))
            if sizes[-1] > fits and fails():
                raise error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

        monkeypatch.setattr(module, "open_model", open_model)
        return sizes

    return arm


def halvings(said):
    return [line for line in said if "out of memory" in line]


@pytest.mark.parametrize("lora", [{}, {"lora": {"dropout": 0}}])
def test_a_step_out_of_memory_is_made_again_with_fewer_pairs(plain, tmp_path, small_memory, stop, lora):
    stop(0)  # so that the last weights are kept
    sizes = small_memory(3)
    about, said = train(plain, tmp_path / "a", trainer={"pairs_at_once": 100, **lora})
    assert about["stopped"] == "ran to its end"
    tried = [n for n in sizes if n > 3]
    assert len(tried) >= 2
    assert halvings(said) == [f"out of memory: going on with {n // 2} pairs at a time" for n in tried]
    sizes = small_memory(99)
    _, said = train(plain, tmp_path / "b", trainer={"pairs_at_once": tried[-1] // 2, **lora})
    assert not halvings(said)
    assert max(sizes) <= 3
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_gradients_of_a_failed_step_are_thrown_away(plain, tmp_path, small_memory, stop):
    stop(0)
    calls = []

    def second_pass_back():
        calls.append(torch.is_grad_enabled())
        return sum(calls) == 2 and calls[-1]

    small_memory(99)
    train(plain, tmp_path / "a", trainer={"pairs_at_once": 2})
    small_memory(0, fails=second_pass_back)
    _, said = train(plain, tmp_path / "b", trainer={"pairs_at_once": 4})
    assert halvings(said) == ["out of memory: going on with 2 pairs at a time"]
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_a_validation_out_of_memory_goes_on_with_fewer_pairs(plain, tmp_path, small_memory):
    whole, _ = train(plain, tmp_path / "a", trainer={"epochs": 1})
    sizes = small_memory(4, fails=lambda: not torch.is_grad_enabled())
    about, said = train(plain, tmp_path / "b", trainer={"epochs": 1, "pairs_at_once": 17})
    assert len(halvings(said)) >= 1
    assert max(sizes[-2:]) <= 4
    assert about["validation"]["mentions"] == whole["validation"]["mentions"]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("MPS backend out of memory (9 GB)")])
def test_one_pair_that_is_too_much(plain, tmp_path, small_memory, error):
    small_memory(0, error=error)
    refused(plain, tmp_path / "out", "out of memory with one pair at a time; take a shorter", ConfigError)


def test_memory_that_fewer_pairs_do_not_save(plain, tmp_path, monkeypatch):
    def step(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    refused(plain, tmp_path / "out", "training: out of memory .*a smaller model", ConfigError)


def test_other_errors_of_a_step_are_not_hidden(plain, tmp_path, small_memory):
    small_memory(4, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(plain, tmp_path / "out")


def test_warnings_of_ours_are_one_line(plain, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(plain))
    keys = ["trainer.epochs=1", "trainer.loss={regularizer: l2, strength: 9}"]
    result = CliRunner().invoke(app, ["train", "small.yaml", *keys])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "not to rerank" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: l2 with strength 9")


def test_the_command(plain, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(plain))

    def run(*arguments):
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    result = run("small.yaml", "trainer.epochs=1")
    assert result.exit_code == 0, result.output
    ended, good = result.stdout.splitlines()[:2]
    assert ended.startswith("training: ran to its end, ")
    assert good.startswith("accuracy on ")
    assert "loss" in result.stderr
    about = json.loads((tmp_path / "models" / "small" / "manifest.json").read_text())
    said = CliRunner().invoke(app, ["info", "models/small"])
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("reranker small  (")
    assert f"base model: {about['config']['trainer']['model']}" in said.stdout
    assert good in said.stdout
    plainly = CliRunner().invoke(app, ["info", "models/small", "--json", "--verify"])
    assert json.loads(plainly.stdout)["validation"] == about["validation"]
    assert "model: models/small" in result.stderr
    assert (tmp_path / "models" / "small" / "manifest.json").is_file()
    again = run("small.yaml")
    assert again.exit_code == 2
    assert again.stderr.splitlines() == [
        "error: models/small: exists already; pass --overwrite to replace it, or choose another --output"
    ]
    result = run("small.yaml", "trainer.epochs=1", "--overwrite", "--json", "--quiet")
    assert json.loads(result.stdout)["config"]["trainer"]["epochs"] == 1
    assert result.stderr == ""
    assert run("none.yaml").exit_code == 2
