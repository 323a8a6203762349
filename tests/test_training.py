"""Training of the cross-encoder: what is drawn, what is fitted, and tiny runs through `run_training`."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from conftest import CONCEPTS, write_terminology
from tiny_transformers import torch
from typer.testing import CliRunner

pytest.importorskip("datasets", reason="needs the extra torch")
pytest.importorskip("accelerate", reason="needs the extra torch")

from test_reranking_cross_encoder import write_model

from xnorm.artifact import open_folder
from xnorm.candidates.base import Candidates
from xnorm.candidates.tfidf import TfidfGenerator
from xnorm.cli import app
from xnorm.config import validate
from xnorm.errors import ArtifactError, ConfigError, DataError, XnormError
from xnorm.linker import Linker
from xnorm.losses import NotFiniteError, StrengthWarning
from xnorm.ranking import judge
from xnorm.train import KIND, TrainConfig, _split, run_training
from xnorm.training import cross_encoder as module
from xnorm.training.base import Examples
from xnorm.training.cross_encoder import sample_candidates
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

    def arm(nth):
        real, calls = module._Validation.measure, []

        def measure(self, model):
            calls.append(1)
            if len(calls) == nth:
                raise KeyboardInterrupt
            return replace(real(self, model), accuracy=len(calls) / 1000)

        monkeypatch.setattr(module._Validation, "measure", measure)

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


@pytest.mark.parametrize("nth", [2, 3])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(plain, tmp_path, stop, nth):
    settings = {**plain, "trainer": {**plain["trainer"], "pairs_at_once": 7}}
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


def test_the_history_survives_a_kill(plain, tmp_path, stop):
    whole, _ = train(plain, tmp_path / "a")
    stop(2)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "b")
    assert len(steps_of(train(plain, tmp_path / "b")[0])) == len(steps_of(whole))


def test_a_checkpoint_that_was_cut_off_is_passed_over(plain, tmp_path, stop):
    stop(3)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "out")
    last = max(tmp_path.glob(".out*/checkpoints/checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]))
    (last / "trainer_state.json").unlink()  # a kill while it was being written
    train(plain, tmp_path / "out")


def test_a_killed_run_on_other_data_is_not_gone_on_with(plain, tmp_path, stop):
    stop(2)
    with pytest.raises(KeyboardInterrupt):
        train(plain, tmp_path / "out")
    write_corpus(tmp_path / "all.jsonl", start=8)
    _, said = train(plain, tmp_path / "out")
    assert not any("going on" in line for line in said)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(plain, tmp_path, monkeypatch):
    from xnorm import losses

    real, calls = losses.listwise_loss, []

    def loss(*args, **keys):
        calls.append(1)
        return real(*args, **keys) * (math.nan if len(calls) >= bad else 1)

    monkeypatch.setattr(losses, "listwise_loss", loss)
    bad = 5
    about, said = train(plain, tmp_path / "out")
    assert about["stopped"] == "the loss was not finite"
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


@pytest.mark.parametrize(
    "nil",
    [
        False,
    ],
)
def test_the_accuracy_is_that_of_the_reranker(plain, tmp_path, nil):
    lines = [json.loads(x) for x in write_corpus(tmp_path / "dev.jsonl", start=24).read_text().splitlines()]
    for line in lines[::2]:
        line["gold"] = line["gold"] if not nil else []
    (tmp_path / "dev.jsonl").write_text("".join(json.dumps(x) + "\n" for x in lines))
    parts = {"dev": {"type": "jsonl", "path": str(tmp_path / "dev.jsonl")}, "train": plain["corpus"]["parts"]["all"]}
    keys = {"pairs": {"max_length": 40, "nil": nil}, "epochs": 1, "evaluations": 1, "validation_candidates": 8}
    about, _ = train(plain, tmp_path / "out", corpus={"parts": parts}, validation=["dev"], trainer=keys)
    config = {**plain["linker"], "reranker": {"type": "cross_encoder", "path": str(tmp_path / "out"), "device": "cpu"}}
    mentions = [Mention(x["mention"], left=x["left"], right=x["right"]) for x in lines]
    found = [r[0].concept_id if len(r) else None for r in Linker.build(config).link(mentions, top_k=8)]
    right = [f in x["gold"] if x["gold"] else f is None for f, x in zip(found, lines, strict=True)]
    assert about["validation"]["accuracy"] == pytest.approx(np.mean(right), abs=1e-6)


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


def test_the_command(plain, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(plain))

    def run(*arguments):
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    result = run("small.yaml", "trainer.epochs=1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("accuracy on ")
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
