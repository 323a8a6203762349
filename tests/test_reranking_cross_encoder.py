"""The cross-encoder: against the plain transformer, one pair at a time, with the softmax by hand; and bad models."""

from __future__ import annotations

import json
import math
import re
import shutil
import warnings

import numpy as np
import pytest
from tiny_transformers import TOKENS, make_model, tokenizers, torch, transformers

from xnorm.artifact import write_folder
from xnorm.calibration import softmax
from xnorm.candidates.base import Candidates
from xnorm.errors import DataError, XnormError
from xnorm.memory import Chunks, MemoryWarning
from xnorm.pairs import PairsConfig, PairWriter, add_markers, fit, pair_texts
from xnorm.registry import find_component
from xnorm.reranking.cross_encoder import (
    KIND,
    CrossEncoderConfig,
    CrossEncoderReranker,
    open_model,
    pair_logits,
)
from xnorm.types import Mention

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]

LONG = "pain in the head and in the heart " * 20
MENTIONS = [
    Mention("heart failure", left="He died of ", right=", of a cold."),
    Mention("mal de tête", lang="fr", right=" depuis hier " * 20),
    Mention("cold"),
    Mention("糖", lang="zh", left="2型"),
    Mention("heart failure", left="No sign of "),
    Mention(LONG, left=LONG, right=LONG),
    Mention("nothing"),
    Mention("[START] cold [END] [SEP]"),
]
FOUND = [
    [0, 2, 11, 1],
    [1, 0, -1, -1],
    [4, 5, 6, 3],
    [7, 8, 9, 10],
    [0, 2, 11, 1],
    [1, 4, -1, -1],
    [-1] * 4,
    [5, 4, 0, -1],
]


def found_of(concepts):
    concepts = np.array(concepts, np.int32)
    scores = np.where(concepts >= 0, 0.9 - 0.1 * np.arange(concepts.shape[1]), -np.inf).astype(np.float32)
    return Candidates(concepts, scores, np.where(concepts >= 0, 0, -1).astype(np.int32))


def write_model(folder, *, pairs=None, labels=1, head=True, seed=5, boost=20.0):
    """Write a tiny BERT that reads pairs, with the markers of a layout if there is one."""
    make_model(folder, "bert")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        ends = [(t, tokenizer.convert_tokens_to_ids(t)) for t in ("[CLS]", "[SEP]")]
        tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
        )
        if pairs is not None:
            add_markers(tokenizer, pairs)
        tokenizer.save_pretrained(folder)
        if head:
            config = transformers.AutoConfig.from_pretrained(folder, num_labels=labels, vocab_size=len(tokenizer))
            torch.manual_seed(seed)
            model = transformers.AutoModelForSequenceClassification.from_config(config)
            model.classifier.weight.data *= boost  # so that the shares differ
            model.save_pretrained(folder)
    return folder


def write_reranker(folder, model, pairs, temperature=1.0, *, calibration=None, **about):
    calibration = calibration or {}
    keys = {"pairs": pairs.model_dump(mode="json"), "calibration": {"temperature": temperature, **calibration}, **about}
    with write_folder(folder, kind=KIND, about=keys) as new:
        shutil.copytree(model, new / "model")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "ce", pairs=PairsConfig())


def load(terminology, **settings):
    return CrossEncoderReranker.load(CrossEncoderConfig(**{"device": "cpu", **settings}), terminology)


def by_hand(folder, terminology, pairs, mentions, found, temperature=1.0, prior=0.0, offset=0.0):
    """Return shares and the share of NIL: pairs one at a time, so nothing is padded, through plain transformers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).float().eval()
    lefts, rights = pair_texts(mentions, found, terminology, pairs)
    shares, nils = [], []
    for i, (left, texts) in enumerate(zip(fit(lefts, tokenizer, pairs), rights, strict=True)):
        logits = []
        for right in texts:
            tokens = tokenizer(
                left, right, truncation=pairs.truncation, max_length=min(pairs.max_length, TOKENS), return_tensors="pt"
            )
            assert tokens["input_ids"].shape[1] <= TOKENS
            with torch.no_grad():
                logits.append(float(model(**tokens).logits[0, 0]))
        known = found.scores[i][found.concepts[i] >= 0].tolist()
        added = [prior * s for s in known] + [offset] * (len(logits) - len(known))
        logits = [(x + y) / temperature for x, y in zip(logits, added, strict=True)]
        power = [math.exp(x - max(logits)) for x in logits]
        own = [p / sum(power) for p in power]
        nils.append(own.pop() if pairs.nil and own else 0.0)
        shares.append(own)
    return shares, nils


def check(out, found, shares, nils, *, nil=True):
    """Compare a reranking with shares by hand, and return how many mentions were made NIL."""
    emptied = 0
    for i, (own, none) in enumerate(zip(shares, nils, strict=True)):
        order = sorted(range(len(own)), key=lambda j: -own[j])
        if own and nil and none > max(own):
            emptied += 1
            order = []
        n = len(order)
        assert out.concepts[i, :n].tolist() == [int(found.concepts[i, j]) for j in order]
        np.testing.assert_allclose(out.scores[i, :n], [own[j] for j in order], atol=2e-5)
        assert (out.concepts[i, n:] == -1).all()
        assert (out.names[i, n:] == -1).all()
        assert (out.scores[i, n:] == -np.inf).all()
    return emptied


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_scores_are_those_of_single_pairs(model, terminology, batch_size):
    found = found_of(FOUND)
    shares, nils = by_hand(model, terminology, PairsConfig(), MENTIONS, found)
    assert max(max(s) - min(s) for s in shares if s) > 0.2
    out = load(terminology, model=str(model), pairs=PairsConfig(), batch_size=batch_size).rerank(MENTIONS, found)
    assert check(out, found, shares, nils) == 0
    assert out.concepts.tolist() != FOUND
    np.testing.assert_array_equal(found.concepts, FOUND)


@pytest.mark.parametrize(
    "settings",
    [
        {"context": 0, "names": 0, "types": False},
        {"names": 9, "definition": True, "max_length": 24},
        {"layout": "xmen"},
        {"markers": {"start": "<m>", "end": "</m>", "name": "<n>"}},
    ],
)
def test_other_texts(settings, terminology, tmp_path):
    pairs = PairsConfig(**settings)
    folder = write_model(tmp_path / "ce", pairs=pairs)
    found = found_of(FOUND)
    out = load(terminology, model=str(folder), pairs=pairs).rerank(MENTIONS, found)
    check(out, found, *by_hand(folder, terminology, pairs, MENTIONS, found))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_folder_of_training_has_its_own_texts_and_temperature(temperature, model, terminology, tmp_path):
    pairs = PairsConfig(nil=True, context=20)
    folder = write_reranker(tmp_path / "trained", model, pairs, temperature)
    found = found_of(FOUND)
    shares, nils = by_hand(model, terminology, pairs, MENTIONS, found, temperature)
    out = load(terminology, path=folder).rerank(MENTIONS, found)
    assert 0 < check(out, found, shares, nils) < len(MENTIONS) - 1, nils


def test_the_generators_score_counts_as_the_folder_says(model, terminology, tmp_path):
    pairs = PairsConfig(nil=True, context=20)
    numbers = {"prior": 2.5, "nil": 0.4}
    folder = write_reranker(tmp_path / "trained", model, pairs, 0.7, calibration=numbers)
    found = found_of(FOUND)
    shares, nils = by_hand(model, terminology, pairs, MENTIONS, found, 0.7, 2.5, 0.4)
    check(load(terminology, path=folder).rerank(MENTIONS, found), found, shares, nils)
    without = load(terminology, path=folder, calibration={}).rerank(MENTIONS, found)
    check(without, found, *by_hand(model, terminology, pairs, MENTIONS, found))


def test_nil_empties_a_ranking_only_where_it_may(model, terminology, tmp_path):
    pairs = PairsConfig(nil=True, context=20)
    folder = write_reranker(tmp_path / "trained", model, pairs)
    found = found_of(FOUND)
    shares, nils = by_hand(model, terminology, pairs, MENTIONS, found)
    assert any(none > max(own) for own, none in zip(shares, nils, strict=True) if own)
    out = load(terminology, path=folder, nil=False).rerank(MENTIONS, found)
    without = [[p / sum(own) for p in own] for own in shares]
    check(out, found, without, [0.0] * len(nils))
    np.testing.assert_array_equal(out.sizes(), found.sizes())


def test_equal_results_for_permuted_mentions(model, terminology):
    reranker = load(terminology, model=str(model), pairs=PairsConfig(), batch_size=5)
    found = found_of(FOUND)
    together = reranker.rerank(MENTIONS, found)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(MENTIONS))
        out = reranker.rerank([MENTIONS[i] for i in order], found.take(order))
        np.testing.assert_array_equal(out.concepts, together.concepts[order])
        np.testing.assert_allclose(out.scores, together.scores[order], atol=2e-5)
    for i in range(len(MENTIONS)):
        alone = reranker.rerank(MENTIONS[i : i + 1], found.take(np.array([i])))
        np.testing.assert_array_equal(alone.concepts[0], together.concepts[i])
    again = reranker.rerank(MENTIONS, found)
    np.testing.assert_array_equal(again.scores, together.scores)


def test_top_and_margin(model, terminology):
    found = found_of(FOUND)
    pairs = PairsConfig()
    two = Candidates(found.concepts[:, :2], found.scores[:, :2], found.names[:, :2])
    shares, _ = by_hand(model, terminology, pairs, MENTIONS, two)
    for settings in ({"top": 2}, {"margin": 0.15}, {"top": 2, "margin": 0.5}):
        out = load(terminology, model=str(model), pairs=pairs, **settings).rerank(MENTIONS, found)
        for i, own in enumerate(shares):
            order = sorted(range(len(own)), key=lambda j: -own[j])
            wanted = [FOUND[i][j] for j in order] + [c for c in FOUND[i][2:] if c >= 0]
            assert out.concepts[i, : len(wanted)].tolist() == wanted
            np.testing.assert_allclose(out.scores[i, : len(own)], [own[j] for j in order], atol=2e-5)
            kept = out.scores[i, : len(wanted)]
            assert (np.diff(kept) <= 0).all()
    asleep = load(terminology, model="no/such", pairs=pairs, margin=0.01)
    assert asleep.rerank(MENTIONS, found) is found  # no model is opened for nothing
    lone = found_of([[3], [4]])
    out = load(terminology, model=str(model), top=1).rerank(MENTIONS[:2], lone)
    assert out.scores.tolist() == [[1.0], [1.0]]
    assert load(terminology, model="no/such").rerank([], Candidates.empty(0, 4)).concepts.shape == (0, 4)


@pytest.mark.parametrize("nil", [False, True])
def test_concepts_that_are_gone_are_left_behind(nil, model, terminology, tmp_path):
    pairs = PairsConfig(nil=nil, context=20)
    folder = write_reranker(tmp_path / "trained", model, pairs)
    whole = found_of([[3, 4, 5]] * len(MENTIONS))
    holes = found_of([[-2, 3, 4, -2, 5]] * len(MENTIONS))  # rows of concepts that the terminology does not have
    wanted, found = (load(terminology, path=folder).rerank(MENTIONS, own) for own in (whole, holes))
    for i, n in enumerate(wanted.sizes().tolist()):
        assert found.concepts[i, :n].tolist() == wanted.concepts[i, :n].tolist()
        np.testing.assert_allclose(found.scores[i, :n], wanted.scores[i, :n], rtol=1e-5)
        assert set(found.concepts[i, n:].tolist()) <= {-2, -1}


def test_candidates_of_another_terminology_are_refused(model, terminology):
    with pytest.raises(DataError, match="candidate 999 is of another terminology"):
        load(terminology, model=str(model)).rerank(MENTIONS[:1], found_of([[3, 999]]))


def test_softmax_by_hand():
    shares, nil = softmax(np.log([[1.0, 2.0, 5.0]]), np.array([-np.inf]))
    np.testing.assert_allclose(shares, [[1 / 8, 2 / 8, 5 / 8]])
    assert nil.tolist() == [0]
    shares, nil = softmax(np.array([[1e4, -np.inf, -np.inf], [-np.inf] * 3]), np.array([1e4, -np.inf]))
    assert shares.tolist() == [[0.5, 0, 0], [0, 0, 0]]
    assert nil.tolist() == [0.5, 0]
    assert softmax(np.zeros((0, 3)), np.zeros(0))[0].shape == (0, 3)


# --- models that cannot be used -----------------------------------------------------------------------------------


def refused(terminology, match, **settings):
    """Check that a reranker is refused in one line, on loading or on first use."""
    with pytest.raises(XnormError, match=match) as e:
        load(terminology, **settings).rerank(MENTIONS[:1], found_of(FOUND[:1]))
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 600


def test_wrong_markers(model, terminology, tmp_path):
    bare = write_model(tmp_path / "bare")
    refused(terminology, r"does not know 6 of the markers \[START\], \[END\]", model=str(bare))
    refused(terminology, r"does not know 1 of the markers <x>", model=str(model), pairs={"markers": {"start": "<x>"}})
    refused(terminology, r"does not know 1 of the markers .*\[TITLE\]", model=str(model), pairs={"layout": "xmen"})


def test_several_outputs_and_none(terminology, tmp_path):
    three = write_model(tmp_path / "three", pairs=PairsConfig(), labels=3)
    refused(terminology, "has 3 outputs, expected one", model=str(three))
    refused(
        terminology,
        r"outputs, expected one|lack weights \(classifier",
        model=str(write_model(tmp_path / "b", head=False)),
    )


def test_a_plain_transformer_with_one_output_lacks_weights(terminology, tmp_path):
    folder = write_model(tmp_path / "plain", pairs=PairsConfig(), head=False)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "x"}, "label2id": {"x": 0}}))
    refused(terminology, "lack weights|cannot be loaded", model=str(folder))


def test_a_missing_tokenizer(model, terminology, tmp_path):
    shutil.copytree(model, tmp_path / "mute")
    for file in (tmp_path / "mute").glob("*token*"):
        file.unlink()
    refused(terminology, "cannot be loaded|tokenizer", model=str(tmp_path / "mute"))


def test_what_is_no_model_folder(terminology, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("x")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{")
    for name in ("empty", "odd", "none", "text"):
        refused(terminology, rf"the cross-encoder .*{name}: cannot be loaded: ", model=str(tmp_path / name))
    for name, match in (
        ("empty", "is no reranker written by xnorm"),
        ("none", "no such reranker; `xnorm train CONFIG --output"),
        ("text", "is no reranker written by xnorm"),
    ):
        refused(terminology, match, path=tmp_path / name)


def test_damaged_folders(model, terminology, tmp_path):
    pairs = PairsConfig()
    for name in ("model/config.json", "model/model.safetensors", "manifest.json"):
        folder = write_reranker(tmp_path / name.replace("/", "-"), model, pairs)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(bytes(data))
        refused(terminology, f"{name.rpartition('/')[2]} .*damaged|no readable", path=folder)
    folder = write_reranker(tmp_path / "short", model, pairs)
    (folder / "model" / "tokenizer.json").unlink()
    refused(terminology, r"tokenizer.json is missing; build it again with `xnorm train", path=folder)
    (tmp_path / "cut").mkdir()
    shutil.copytree(model, tmp_path / "cut" / "m")
    weights = tmp_path / "cut" / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(terminology, "cannot be loaded", model=str(tmp_path / "cut" / "m"))


def test_folders_of_another_layout(model, terminology, tmp_path, monkeypatch):
    with write_folder(tmp_path / "index", kind="index", about={}):
        pass
    refused(
        terminology,
        r"is what `xnorm index` writes.*expected reranker, which `xnorm train` writes",
        path=tmp_path / "index",
    )
    with monkeypatch.context() as patch:
        patch.setattr("xnorm.artifact.FORMAT_VERSION", 99)
        write_reranker(tmp_path / "new", model, PairsConfig())
    refused(terminology, "has format version 99, this xnorm reads 1", path=tmp_path / "new")


@pytest.mark.parametrize(
    "about",
    [{}, {"calibration": {}}, {"pairs": {"newer": 1}, "calibration": {}}, {"pairs": {}, "calibration": {"prior": -1}}],
)
def test_folders_whose_manifest_says_other_things(about, model, terminology, tmp_path):
    with write_folder(tmp_path / "odd", kind=KIND, about=about) as folder:
        shutil.copytree(model, folder / "model")
    refused(terminology, "odd", path=tmp_path / "odd")


def test_it_is_found_and_its_config_survives_json():
    assert find_component("reranking", "cross_encoder") is CrossEncoderReranker
    config = CrossEncoderConfig(model="a/b", pairs={"layout": "xmen"}, margin=0.2)
    assert CrossEncoderConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("batch_size", [5, 64])
def test_fewer_pairs_at_a_time_when_memory_runs_out(batch_size, model, terminology):
    found = found_of(FOUND)
    shares, nils = by_hand(model, terminology, PairsConfig(), MENTIONS, found)
    reranker = load(terminology, model=str(model), pairs=PairsConfig(), batch_size=batch_size)
    sizes = []

    def check_size(part, given):
        sizes.append(len(given[0]["input_ids"]))
        if sizes[-1] > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    reranker.model[0].register_forward_pre_hook(check_size)
    with pytest.warns(MemoryWarning, match="out of memory: going on with .* pairs? at a time"):
        check(reranker.rerank(MENTIONS, found), found, shares, nils)
    sizes.clear()
    check(reranker.rerank(MENTIONS, found), found, shares, nils)  # a warning would be an error
    assert max(sizes) == reranker.chunks.size < 4


def read_pairs(folder, kind):
    """Make a tokenizer frame pairs as its family does."""
    first, last = ("[CLS]", "[SEP]") if kind == "bert" else ("<s>", "</s>")
    pair = "{0} $A {1} $B:1 {1}:1" if kind == "bert" else "{0} $A {1} {1} $B {1}"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=pair.format(first, last),
        special_tokens=[(token, tokenizer.convert_tokens_to_ids(token)) for token in (first, last)],
    )
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("kind", ["bert", "xlm-roberta"])
@pytest.mark.parametrize("layout", ["xnorm", "xmen"])
@pytest.mark.parametrize("said", [None, 512], ids=["no limit of the tokenizer", "a limit that is too high"])
def test_no_pair_is_longer_than_the_positions(kind, layout, said, terminology, tmp_path):
    pairs = PairsConfig(layout=layout, max_length=512, context=4000)
    make_model(tmp_path / "base", kind)
    read_pairs(tmp_path / "base", kind)
    path = tmp_path / "base" / "tokenizer_config.json"
    settings = {**json.loads(path.read_text()), "model_max_length": said or int(1e30)}
    path.write_text(json.dumps(settings))
    opened = open_model(str(tmp_path / "base"), pairs, device="cpu", fresh=True)
    assert opened.tokenizer.model_max_length == TOKENS
    mentions = [Mention("heart", left=LONG, right=LONG), Mention(LONG), Mention("heart", left=LONG)]
    lengths, texts = [], []

    def look(part, given):
        lengths.append(given[0]["input_ids"].shape[1])
        texts.extend(opened.tokenizer.batch_decode(given[0]["input_ids"]))

    opened[0].register_forward_pre_hook(look)
    found = found_of([[0, 1]] * 3)
    logits, _ = pair_logits(opened, PairWriter(terminology, pairs), mentions, found, found.concepts >= 0, Chunks(64))
    assert np.isfinite(logits).all()
    assert max(lengths) <= TOKENS
    around = [" ".join(text.replace("▁", " ").split()) for text in texts]
    assert all(text.count("[START]") == text.count("[END]") == 1 for text in around)
    assert sum("[START] heart [END]" in text for text in around) == 4 + 2 * (layout == "xmen")
    assert all(re.search(r"the.*\[START\]", text) for text in around if "[START] heart [END]" in text)
