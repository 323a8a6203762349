"""Training of a transformer encoder on names: tiny runs on an invented terminology."""

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

import numpy as np
import pytest
from alignment_data import letters, parts
from tiny_transformers import make_tokenizer, torch, transformers

from xnorm.config import validate
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.errors import ConfigError, DataError, MissingExtraError
from xnorm.losses import NotFiniteError
from xnorm.memory import Chunks
from xnorm.training import _alignment_loop as loop_module
from xnorm.training._alignment_loop import CollapseError, Loop
from xnorm.training._passes import Passes
from xnorm.training.bi_encoder import BiEncoderTrainer, BiEncoderTrainerConfig

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]

FAST = {"learning_rate": 3e-3, "steps": 60, "freeze_embeddings": False, "precision": "float32", "device": "cpu"}
SHORT = {**FAST, "steps": 12, "evaluations": 3}


@pytest.fixture(scope="module")
def task():
    return parts(letters())


@pytest.fixture(scope="module")
def small():
    return parts(letters(3), batch=8)


def trainer(model, **settings):
    return BiEncoderTrainer(validate(BiEncoderTrainerConfig, {"model": str(model), **settings}, where="trainer"))


def train(own, task, folder):
    """Train, and return what the manifest is to say, and what was said."""
    names, held, sampler = task
    said = []
    out = folder / "model"
    out.mkdir(parents=True, exist_ok=True)
    about = own.train(names, held, sampler=sampler, work=folder / "work", folder=out, say=said.append)
    return about, said


def weights(folder):
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def recall(encoder, task):
    return task[1].measure(encoder.encode).recall(1)


# --- what is learnt -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": {"type": "multi_similarity"}},
        {"precision": "bfloat16"},
        {"pooling": "cls", "steps": 80},
        {"lora": {"rank": 16, "dropout": 0.0}},
        {"mining": {"refresh": 20}},
    ],
    ids=str,
)
def test_held_out_concepts_are_found(tiny, task, tmp_path, settings):
    if settings.get("mining"):
        task = parts(letters(), neighbours=2, nearest=5)
    own = trainer(tiny, **{**FAST, **settings})
    before = task[1].measure(own.encode)
    about, said = train(own, task, tmp_path)
    after = task[1].measure(own.open(tmp_path / "model").encode)
    assert before.mrr < 0.1
    assert after.mrr > 0.35
    assert after.recall(1) > before.recall(1)
    assert about["stopped"] == "ran to its end"
    assert about["trained"]["steps"] == own.config.steps
    assert about["by_step"][0]["step"] == 0
    assert len(about["by_step"]) == 6
    assert sum("held-out concepts: recall@1" in line for line in said) == 6
    best = max(about["by_step"], key=lambda entry: entry["mrr"])
    assert about["trained"]["best_step"] == best["step"]
    if "precision" not in settings:
        assert best["mrr"] == pytest.approx(after.mrr, abs=1e-3)  # the task is as large as its drawn part
    assert task[1].measure(own.encode).mrr == before.mrr  # the base is what it was


def test_the_folder_says_how_to_read_it(tiny, small, tmp_path):
    own = trainer(tiny, **SHORT, pooling="max", max_length=9, prefix="name: ")
    about, _ = train(own, small, tmp_path)
    plain = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(tmp_path / "model"), prefix="name: "))
    texts = ["a c d", "а р и " * 20]
    vectors = own.open(tmp_path / "model").encode(texts)
    np.testing.assert_array_equal(plain.encode(texts), vectors)
    assert plain.model.max_seq_length == 9
    wanted = {"type": "sentence_transformer", "prefix": "name: ", "pooling": "max", "max_length": 9, "dim": 32}
    assert about["encoder"] == {**wanted, "dimensions": []}
    settings = {"pooling": "max", "max_length": 9, "prefix": "name: "}
    explicit = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(tmp_path / "model"), **settings))
    np.testing.assert_array_equal(explicit.encode(texts), vectors)
    assert not (tmp_path / "model" / "README.md").exists()
    json.dumps(about)


def test_word_vectors_are_frozen_unless_asked(tiny, small, tmp_path):
    def table(folder):
        model = transformers.AutoModel.from_pretrained(folder)
        return {name: p.detach().numpy() for name, p in model.named_parameters()}

    before = table(tiny)
    for frozen in (True, False):
        train(trainer(tiny, **{**SHORT, "freeze_embeddings": frozen}), small, tmp_path / str(frozen))
        after = table(tmp_path / str(frozen) / "model")
        changed = {name for name in before if (before[name] != after[name]).any()}
        assert any(name.startswith("embeddings.") for name in changed) != frozen
        assert any(name.startswith("encoder.layer.1.") for name in changed)


# --- cut models ---------------------------------------------------------------------------------------------------

SHAPE = {"vocab_size": len(make_tokenizer("bert")), "hidden_size": 32, "num_hidden_layers": 3,
         "num_attention_heads": 2, "intermediate_size": 64, "pad_token_id": 0}  # fmt: skip
SPECIAL = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
DISTIL = {"vocab_size": SHAPE["vocab_size"], "dim": 32, "n_layers": 3, "n_heads": 2, "hidden_dim": 64}
FAMILIES = {"Bert": SHAPE, "XLMRoberta": SHAPE, "DistilBert": DISTIL, "Electra": SHAPE,
            "ModernBert": {**SHAPE, **SPECIAL}, "MPNet": SHAPE, "DebertaV2": SHAPE}  # fmt: skip


def make_family(folder, family, shape):
    make_tokenizer("bert").save_pretrained(folder)
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**shape)
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
def test_layers(family, small, tmp_path):
    base = make_family(tmp_path / "base", family, FAMILIES[family])
    own = trainer(base, **{**SHORT, "steps": 2, "evaluations": 1}, layers=2)
    train(own, small, tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config.get("num_hidden_layers", config.get("n_layers")) == 2
    vectors = own.open(tmp_path / "model").encode(["a c d", "c"])  # weights that are lacking are refused
    assert vectors.shape == (2, 32)
    whole = trainer(base, **SHORT).encode(["a c d", "c"])
    np.testing.assert_array_equal(own.encode(["a c d", "c"]), whole)  # the base has all of its layers


def test_layers_by_their_numbers(tiny, small, tmp_path):
    train(trainer(tiny, **{**SHORT, "steps": 1, "evaluations": 1, "learning_rate": 1e-12}, layers=[1]), small, tmp_path)
    files = pytest.importorskip("safetensors.torch")
    weights, whole = (files.load_file(f"{folder}/model.safetensors") for folder in (tmp_path / "model", tiny))
    key = "encoder.layer.{}.output.dense.weight"
    np.testing.assert_allclose(weights[key.format(0)], whole[key.format(1)], atol=1e-6)
    assert key.format(1) not in weights


def test_layers_that_are_not_there(tiny, small, tmp_path):
    with pytest.raises(ConfigError, match=r"layers: model .* has 2 layers, found 3"):
        train(trainer(tiny, **SHORT, layers=3), small, tmp_path)
    base = make_family(tmp_path / "albert", "Albert", {**SHAPE, "embedding_size": 16})
    with pytest.raises(ConfigError, match=r"layers: cannot tell the layers of model .* \(AlbertModel\)"):
        train(trainer(base, **SHORT, layers=2), small, tmp_path)


def test_matryoshka(tiny, task, tmp_path):
    found = {}
    for name, dimensions in (("plain", []), ("cut", [3, 8])):
        own = trainer(tiny, **FAST, dimensions=dimensions)
        about, _ = train(own, task, tmp_path / name)
        assert about["encoder"]["dimensions"] == dimensions
        for dim in (3, 8, None):
            settings = {"model": str(tmp_path / name / "model"), "dimensions": dim}
            encoder = SentenceTransformerEncoder(SentenceTransformerConfig(**settings))
            assert encoder.encode(["a"]).shape == (1, dim or 32) == (1, encoder.dim)
            found[name, dim] = task[1].measure(encoder.encode).mrr
    assert found["cut", 3] > found["plain", 3] + 0.05
    assert found["cut", None] > 0.5
    with pytest.raises(ConfigError, match=r"dimensions: model .* has 32, found 33"):
        train(trainer(tiny, **FAST, dimensions=[33]), task, tmp_path / "no")


# --- runs that are stopped ----------------------------------------------------------------------------------------

LORA = {"lora": {"rank": 4, "dropout": 0.1}, "learning_rate": 1e-2}
REFRESH = {"mining": {"refresh": 4}}


def told(monkeypatch, rank):
    """Make the measurement after a step find everything at the rank that `rank` gives for that step."""
    real, calls = Loop._measured, []

    def measured(self):
        measure = self._measure
        calls.append(self.state.step)

        def as_told(encode):
            found = measure(encode)
            return replace(found, ranks=np.full_like(found.ranks, rank(self.state.step)))

        self._measure = as_told
        try:
            real(self)
        finally:
            self._measure = measure

    monkeypatch.setattr(Loop, "_measured", measured)
    return calls


def stop_at(monkeypatch, nth):
    """Stop at a step; there is a checkpoint after every other one."""
    real, calls = Loop.step, []

    def step(self):
        calls.append(1)
        if len(calls) == nth:
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(Loop, "step", step)


@pytest.mark.parametrize(("nth", "settings"), [(1, {}), (6, {}), (8, LORA), (7, REFRESH), (10, {"lora": None})])
def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tiny, tmp_path, monkeypatch, nth, settings):
    monkeypatch.setattr(loop_module, "SECONDS", 0.0)
    told(monkeypatch, lambda step: 100 - step)  # the last weights are the best ones
    settings = {**SHORT, **settings}

    def run(name):  # a sampler is changed by a run
        return train(trainer(tiny, **settings), parts(letters(3), batch=8, neighbours=2, nearest=4), tmp_path / name)

    torch.manual_seed(1)
    whole, said = run("whole")
    assert not any("going on" in line for line in said)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at(patch, nth)
        run("killed")
    torch.manual_seed(2)  # what the process did before does not matter
    again, said = run("killed")
    assert f"going on from step {nth - 1} of a run that was stopped" in said
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    for about in (whole, again):
        assert about["trained"].pop("seconds") > 0
    assert again == whole
    other, _ = train(trainer(tiny, **settings, seed=1), parts(letters(3), batch=8), tmp_path / "other")
    assert weights(tmp_path / "other") != weights(tmp_path / "whole")
    assert other["by_step"] != whole["by_step"]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from alignment_data import letters, parts
from xnorm.training import _alignment_loop as loop
from xnorm.training.bi_encoder import BiEncoderTrainer, BiEncoderTrainerConfig
write, calls = Path.write_text, []
def write_and_die(self, text, *others, **keys):
    calls.append(self)
    if len(calls) == 3:
        write(self, text[:10], *others, **keys)
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, text, *others, **keys)
Path.write_text = write_and_die
names, held, sampler = parts(letters(3), batch=8)
folder = Path({folder!r})
(folder / "model").mkdir(parents=True)
own = BiEncoderTrainer(BiEncoderTrainerConfig(**{settings!r}))
own.train(names, held, sampler=sampler, work=folder / "work", folder=folder / "model")
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_process_that_is_killed_while_it_writes_a_checkpoint(tiny, small, tmp_path):
    settings = {"model": str(tiny), **SHORT}
    tests = str(__import__("pathlib").Path(__file__).parent)
    code = KILLED.format(tests=tests, folder=str(tmp_path / "killed"), settings=settings)
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    _, said = train(trainer(tiny, **SHORT), small, tmp_path / "killed")
    assert "going on from step 4 of a run that was stopped" in said
    train(trainer(tiny, **SHORT), small, tmp_path / "whole")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


def test_a_run_that_had_ended_is_not_gone_on_with(tiny, small, tmp_path):
    own = trainer(tiny, **SHORT)
    about, _ = train(own, small, tmp_path)
    first = weights(tmp_path)
    again, said = train(own, small, tmp_path)
    assert weights(tmp_path) == first
    assert again == about
    assert len(said) == 1
    own.forget(tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("ranks", "made", "best"),
    [([9, 5, 6, 7, 8], 3, 4), ([9, 10, 11], 2, 0), ([9, 5, 6, 4, 5, 4], 5, 12), ([9, 5, 6, 4, 5, 3, 3], 6, 20)],
)
def test_patience_and_the_best_weights(tiny, small, tmp_path, monkeypatch, ranks, made, best):
    calls = told(monkeypatch, lambda step: ranks[step // 4])
    own = trainer(tiny, **{**SHORT, "steps": 24, "evaluations": 6}, patience=2)
    about, said = train(own, small, tmp_path)
    assert len(calls) == made + 1
    assert about["trained"]["best_step"] == best
    if best == 0:
        assert any("no measurement was better" in line for line in said)
        texts = ["a c d"]
        np.testing.assert_allclose(own.open(tmp_path / "model").encode(texts), own.encode(texts), atol=1e-6)
    else:
        monkeypatch.undo()
        shorter = trainer(tiny, **{**SHORT, "steps": 24, "evaluations": 24 // best}, patience=99)
        monkeypatch.setattr(Loop, "_train", until(best))
        train(shorter, small, tmp_path / "shorter")
        assert weights(tmp_path / "shorter") == weights(tmp_path)


def until(step):
    """Return a training that ends at a step and keeps its weights."""

    def run(self):
        while self.state.step < step:
            self.step()
        self.state.best = step
        self.state.history = [{"step": step, "recall": 0.0, "mrr": 0.0}]
        loop_module.save_trained(self.passes.model, self.work / f"best-{step}")
        return "stopped by the test"

    return run


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_what_files_lack_is_drawn_with_the_seed(small, tmp_path):
    base = make_family(tmp_path / "base", "Bert", SHAPE)
    files = pytest.importorskip("safetensors.torch")
    found = files.load_file(base / "model.safetensors")
    files.save_file({k: x for k, x in found.items() if "pooler" not in k}, base / "model.safetensors", {"format": "pt"})
    for name in "ab":
        own = trainer(base, **{**SHORT, "steps": 2})
        torch.manual_seed(ord(name))
        own.encode(["a"])  # opens the base, as measuring it before the training does
        train(own, small, tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_nothing_to_measure_by(tiny, small, tmp_path):
    names, held, sampler = small
    none = replace(held.drawn, queries=[], langs=[], wanted=held.wanted[:0])
    with pytest.raises(DataError, match=r"none of the 10 held-out concepts has a name to look up"):
        train(trainer(tiny, **SHORT), (names, replace(held, drawn=none), sampler), tmp_path)


def test_an_absurd_learning_rate_is_refused_in_one_line(tiny, small, tmp_path):
    own = trainer(tiny, **{**SHORT, "learning_rate": 1e4})
    with pytest.raises((CollapseError, NotFiniteError), match="learning_rate helps most often") as e:
        train(own, small, tmp_path)
    assert "\n" not in str(e.value)
    assert not list((tmp_path / "model").iterdir())


def alike_from(monkeypatch, measurement):
    """Make the vectors of a measurement, and of those after it, all alike."""
    real, calls = Passes.encode, []

    def encode(self, texts):
        calls.append(1)
        vectors = real(self, texts)
        return vectors if len(calls) < 2 * measurement - 1 else np.repeat(vectors[:1], len(vectors), axis=0)

    monkeypatch.setattr(Passes, "encode", encode)


def test_vectors_all_alike(tiny, small, tmp_path, monkeypatch):
    alike_from(monkeypatch, 2)
    with pytest.raises(CollapseError, match=r"all alike after step 4 .*cosine of 1\.00000 on average") as e:
        train(trainer(tiny, **SHORT), small, tmp_path)
    assert "\n" not in str(e.value)


def test_vectors_all_alike_after_better_ones(tiny, task, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        alike_from(patch, 5)
        about, said = train(trainer(tiny, **FAST), task, tmp_path)
    assert about["stopped"] == "the vectors became all alike"
    assert about["trained"]["best_step"] == 36
    assert any("keeping the weights of step 36" in line for line in said)
    assert recall(trainer(tiny, **FAST).open(tmp_path / "model"), task) == pytest.approx(about["by_step"][-1]["recall"])


def test_nothing_is_learnt(tiny, small, tmp_path, monkeypatch):
    real = Passes.backward

    def flat(self, texts, loss, *, seed):  # as if vectors were all alike in training
        return real(self, texts, lambda v: loss(v.detach()[:1].expand_as(v)) + 0 * v.sum(), seed=seed)

    monkeypatch.setattr(Passes, "backward", flat)
    monkeypatch.setattr(loop_module, "SETTLED", 4)
    message = rf"nothing is learnt: the loss is {math.log(15):.3f} on average up to step 8"
    with pytest.raises(CollapseError, match=message):
        train(trainer(tiny, **SHORT), small, tmp_path)


@pytest.mark.parametrize("nth", [3, 40])
def test_a_loss_that_is_not_finite(tiny, task, tmp_path, monkeypatch, nth):
    from xnorm.alignment_losses import AlignmentLoss

    real, calls = AlignmentLoss.of_vectors, []

    def of_vectors(self, vectors, targets):
        calls.append(1)
        return real(self, vectors, targets) * (math.nan if len(calls) == nth else 1)

    monkeypatch.setattr(AlignmentLoss, "of_vectors", of_vectors)
    own = trainer(tiny, **FAST)
    if nth < 20:
        with pytest.raises(NotFiniteError, match="the loss is nan"):
            train(own, task, tmp_path)
        return
    about, said = train(own, task, tmp_path)
    assert about["stopped"] == "numbers were not finite"
    assert any("keeping the weights of step" in line for line in said)
    assert recall(own.open(tmp_path / "model"), task) > 0.1


def test_a_gradient_that_is_not_finite(tiny, small, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(math.inf))
    with pytest.raises(NotFiniteError, match="the gradient of step 1 is not finite"):
        train(trainer(tiny, **SHORT), small, tmp_path)


# --- memory and time ----------------------------------------------------------------------------------------------


@pytest.fixture
def opened(tiny):
    """A model without dropout, and its passes."""

    def make(size, say=lambda line: None, dropout=0.0):
        model = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(tiny), device="cpu")).model
        for part in model.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = dropout
        return Passes(model, prefix="", half=False, chunks=Chunks(size, say, what="text"))

    return make


def gradients(passes, texts, seed=0):
    weights = torch.linspace(-1, 1, len(texts) * 32).view(len(texts), 32)
    value = passes.backward(texts, lambda vectors: (vectors * weights).sum() ** 2, seed=seed)
    return value, torch.cat([p.grad.flatten() for p in passes.model.parameters() if p.grad is not None])


def test_fewer_texts_at_a_time_give_the_same_gradients(opened):
    texts = ["a", "heart failure", "c d e", "а р и л ь", "heart", "a c", "f", "pain in the head", "e", "d", "m", "n o"]
    value, whole = gradients(opened(100), texts)
    for size in (11, 5, 2, 1):
        passes = opened(size)
        found = gradients(passes, texts)
        assert found[0] == pytest.approx(value, rel=1e-4)
        torch.testing.assert_close(found[1], whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))
        gradients(passes, texts)  # gradients of before are thrown away
        torch.testing.assert_close(gradients(passes, texts)[1], found[1])


def test_dropout_depends_on_the_seed_alone(opened):
    texts = ["a", "heart failure", "c d e", "а р и л ь", "heart", "a c"]
    found = []
    for size in (100, 5):  # one pass a text, with and without a cache
        for seed in (0, 0, 1):
            torch.manual_seed(len(found))
            before = torch.random.get_rng_state()
            found.append(gradients(opened(size, dropout=0.3), texts, seed)[0])
            torch.manual_seed(len(found) - 1)
            assert torch.equal(torch.random.get_rng_state(), before)
    assert found[0] == found[1] != found[2]
    assert found[3:] == pytest.approx(found[:3], rel=1e-4)


def test_out_of_memory_goes_on_with_fewer_texts(opened, tiny, small, tmp_path, monkeypatch):
    said, sizes = [], []
    passes = opened(12, said.append)

    def check(part, given):
        sizes.append((len(given[0]["input_ids"]), torch.is_grad_enabled()))
        if sum(n for n, on in sizes[-6:] if on) > 7:
            sizes.clear()
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    texts = ["a", "heart failure", "c d e", "а р и л ь", "heart", "a c", "f", "pain in the head", "e", "d", "m", "n o"]
    _, whole = gradients(opened(100), texts)
    passes.model[0].register_forward_pre_hook(check)
    monkeypatch.setattr("xnorm.training._passes.PASSES", {"cpu": 2})
    _, found = gradients(passes, texts)
    assert said[0] == "out of memory: going on with 6 texts at a time"
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))

    def always(self, features):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Passes, "_forward", always)
    with pytest.raises(ConfigError, match="out of memory with one text at a time; take a shorter max_length"):
        train(trainer(tiny, **SHORT), small, tmp_path)


def test_vectors_are_those_of_the_encoder(opened, tiny):
    texts = ["a", "heart failure", "c d e", "а р и л ь", "heart \ud800", "x " * 100]
    passes = opened(4)
    plain = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(tiny), device="cpu"))
    np.testing.assert_allclose(passes.encode(texts), plain.encode(texts), atol=1e-6)
    assert passes.encode(texts).dtype == np.float32
    with torch.no_grad():
        next(passes.model.parameters()).fill_(math.nan)
    with pytest.raises(NotFiniteError, match="6 of 6 vectors are not finite"):
        passes.encode(texts)


def test_an_estimate(tiny, small, monkeypatch):
    names, held, sampler = small
    own = trainer(tiny, **SHORT)
    before = recall(own, small)
    short = own.estimate(names, held, sampler=sampler)
    assert (short.steps, short.pairs, short.device) == (12, 8, "cpu")
    assert short.seconds > 0
    assert 10e6 < short.bytes < 64e9
    assert recall(own, small) == before
    ticks = iter(range(0, 10**6))
    monkeypatch.setattr("xnorm.training.bi_encoder.time.perf_counter", lambda: next(ticks))
    # a second a step, and one for a sample of all names, measured once before and three times on the way
    found = own.estimate(names, held, sampler=sampler).seconds
    texts = len(held.drawn.pool) + len(held.drawn.queries)
    seconds_a_step = 3  # two readings of the clock inside a step, one around it
    assert found == pytest.approx(12 * seconds_a_step + 4 * texts / len(names))


def test_epochs(tiny, small):
    names, held, sampler = small
    each = len(sampler.concepts) / len(sampler.batch(0).left)
    for settings, wanted in ({}, each), ({"epochs": 2.5}, 2.5 * each), ({"steps": 7}, 7), ({"epochs": 1e-9}, 1):
        own = trainer(tiny, device="cpu", **settings)
        assert own.estimate(names, held, sampler=sampler).steps == round(wanted)


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 5, "epochs": 1}, "steps 5 and epochs 1: expected one of the two"),
        ({"dimensions": [8, 8]}, r"dimensions: expected different numbers above 0, found \[8, 8\]"),
        ({"dimensions": [0]}, "dimensions: expected different"),
        ({"loss": {"type": "triplet"}}, "loss.type: "),
        ({"loss": {"temperature": 0}}, "loss.temperature: "),
        ({"loss": {"margin": -1}}, "loss.margin: "),
        ({"layers": 0}, "layers: "),
        ({"layers": []}, "layers: "),
        ({"layers": [1, 0]}, "layers: "),
        ({"layers": [-1, 0]}, "layers: "),
        ({"learning_rate": 0}, "learning_rate: "),
        ({"max_len": 9}, "unknown key 'max_len'; did you mean 'max_length'"),
        ({"precision": "float16"}, "precision: "),
    ],
)
def test_settings_that_are_refused(tiny, settings, message):
    with pytest.raises(ConfigError, match=message) as e:
        trainer(tiny, **settings)
    assert "\n" not in str(e.value)


def test_what_is_missing_is_said_early(tiny, tmp_path, monkeypatch):
    trainer(tiny).check()
    with pytest.raises(ConfigError, match="there is no folder"):
        trainer(tmp_path / "none").check()
    monkeypatch.setitem(sys.modules, "peft", None)
    trainer(tiny).check()
    with pytest.raises(MissingExtraError, match="peft"):
        trainer(tiny, lora={}).check()


def test_the_checksum_of_the_base(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "model")
    first = trainer(folder).checksum()
    assert first == trainer(folder, seed=3).checksum()
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert trainer(folder).checksum() != first
    assert trainer("org/name").checksum() is None
