"""The exported cross-encoder: against the one in torch, of a family with types of tokens and of one without."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from conftest import write_terminology
from test_reranking_cross_encoder import found_of
from tiny_transformers import TOKENS, make_model, tokenizers, torch, transformers
from typer.testing import CliRunner

from xnorm import graphs
from xnorm.artifact import open_folder, write_folder
from xnorm.candidates.base import Candidates
from xnorm.cli import app
from xnorm.errors import ArtifactError, ConfigError, XnormError
from xnorm.export_reranker import export_reranker
from xnorm.pairs import PairsConfig, add_markers, fit, token_limit
from xnorm.registry import find_component
from xnorm.reranking.cross_encoder import CrossEncoderConfig, CrossEncoderReranker
from xnorm.reranking.onnx import KIND, OnnxReranker, OnnxRerankerConfig
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Mention

pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

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
    Mention(LONG, left=LONG, right=LONG),
    Mention("nothing"),
    Mention("[START] cold [END] [SEP] </s>"),
]
FOUND = [[0, 2, 11, 1], [1, 0, -1, -1], [4, 5, 6, 3], [7, 8, 9, 10], [1, 4, -1, -1], [-1] * 4, [5, 4, 0, -1]]
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
FRAMES = {
    "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", ("[CLS]", "[SEP]"), INPUTS),
    "xlm-roberta": ("<s> $A </s>", "<s> $A </s> </s> $B </s>", ("<s>", "</s>"), INPUTS[:2]),
}
CALIBRATION = {"temperature": 1.7, "prior": 0.2, "nil": 0.15}


def write_reranker(folder, kind, pairs):
    """Write a folder as `xnorm train` does, of a tiny transformer that reads pairs as its family does."""
    single, pair, special, inputs = FRAMES[kind]
    with (
        warnings.catch_warnings(),
        write_folder(
            folder, kind="reranker", about={"pairs": pairs.model_dump(mode="json"), "calibration": CALIBRATION}
        ) as new,
    ):
        warnings.simplefilter("ignore")
        plain = make_model(new / "model", kind)
        tokenizer = transformers.AutoTokenizer.from_pretrained(plain, model_input_names=inputs)
        tokenizer.backend_tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=[(t, tokenizer.convert_tokens_to_ids(t)) for t in special]
        )
        add_markers(tokenizer, pairs)
        tokenizer.save_pretrained(plain)
        config = transformers.AutoConfig.from_pretrained(plain, num_labels=1, vocab_size=len(tokenizer))
        torch.manual_seed(5)
        model = transformers.AutoModelForSequenceClassification.from_config(config)
        getattr(model.classifier, "out_proj", model.classifier).weight.data *= 8  # so that the shares differ
        model.save_pretrained(plain)
    return folder


@pytest.fixture(scope="module")
def concepts(tmp_path_factory):
    path = write_terminology(tmp_path_factory.mktemp("terminology") / "tiny.jsonl")
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]


@pytest.fixture(scope="module", params=["bert", "xlm-roberta"])
def both(request, tmp_path_factory):
    """A trained folder and what it was exported to."""
    folder = tmp_path_factory.mktemp("models")
    trained = write_reranker(folder / request.param, request.param, PairsConfig(nil=True, context=40))
    run = CliRunner().invoke(app, ["export", str(trained), "--int8"])
    assert run.exit_code == 0, run.output
    assert all(part in run.output for part in ("fp32: logits differ by up to", "rank correlation"))
    return trained, folder / f"{request.param}-onnx"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_reranker(write_reranker(folder / "bert", "bert", PairsConfig()), folder / "exported", int8=False)
    return folder / "exported"


def make_onnx(folder, terminology, **settings):
    return OnnxReranker.load(OnnxRerankerConfig(path=folder, **settings), terminology)


def make_torch(folder, terminology, **settings):
    return CrossEncoderReranker.load(CrossEncoderConfig(path=folder, device="cpu", **settings), terminology)


@pytest.mark.parametrize("nil", [True, False])
def test_ranks_and_probabilities_are_those_of_torch(both, concepts, nil):
    trained, folder = both
    found = found_of(FOUND)
    wanted = found.concepts >= 0
    exact = make_torch(trained, concepts, nil=nil)
    same = make_onnx(folder, concepts, nil=nil, batch_size=3)
    expected, scores = exact.score(MENTIONS, found, wanted), same.score(MENTIONS, found, wanted)
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    assert np.ptp(np.nan_to_num(expected[0])) > 0.01
    ranked = same.rerank(MENTIONS, found)
    np.testing.assert_array_equal(ranked.concepts, exact.rerank(MENTIONS, found).concepts)
    if not nil:
        assert not np.isnan(scores).any()
        assert ranked.sizes().tolist() == found.sizes().tolist()
        np.testing.assert_allclose(scores.sum(axis=1), wanted.any(axis=1), atol=1e-5)


def test_nil_is_that_of_torch(both, concepts):
    """Of a model that says it for some mentions and not for others."""
    trained, folder = both
    everything = found_of(np.arange(12)[:, None].repeat(2, axis=1))
    mentions = [MENTIONS[i % len(MENTIONS)] for i in range(12)]
    exact, same = (
        r.score(mentions, everything, everything.concepts >= 0)
        for r in (make_torch(trained, concepts), make_onnx(folder, concepts))
    )
    np.testing.assert_array_equal(np.isnan(exact), np.isnan(same))
    assert 0 < np.isnan(same[:, 0]).sum() < 12


def test_threads_may_share_a_reranker(both, concepts):
    _, folder = both
    everything = found_of(np.arange(12)[:, None].repeat(2, axis=1))
    mentions = [replace(MENTIONS[i % len(MENTIONS)], left="signs of failure " * (i % 5)) for i in range(12)]
    wanted = everything.concepts >= 0
    reranker = make_onnx(folder, concepts)
    expected = make_onnx(folder, concepts).score(mentions, everything, wanted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: reranker.score(mentions, everything, wanted), range(40)))
    for own in found:
        np.testing.assert_allclose(own, expected, rtol=1e-4)


def test_what_the_folder_says(both):
    trained, folder = both
    about = open_folder(folder, kind=KIND)
    assert about["inputs"] == (INPUTS if trained.name == "bert" else INPUTS[:2])
    assert about["calibration"] == CALIBRATION
    assert about["max_length"] == TOKENS
    assert about["pairs"] == open_folder(trained, kind="reranker")["pairs"]
    assert 0 <= about["max_difference"] < 1e-4
    assert about["int8_max_difference"] > 0
    assert about["int8_rank_correlation"] > 0.9
    assert set(about["files"]) == {"model.onnx", "model_int8.onnx", "tokenizer.json"}


def test_int8_is_near(both, concepts):
    found = found_of(FOUND)
    exact, rough = (make_onnx(both[1], concepts, precision=p, nil=False) for p in ("fp32", "int8"))
    wanted = found.concepts >= 0
    a, b = exact.score(MENTIONS, found, wanted), rough.score(MENTIONS, found, wanted)
    assert 0 < np.abs(a - b).max() < 0.05
    assert (both[1] / "model_int8.onnx").stat().st_size < (both[1] / "model.onnx").stat().st_size


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_pair_does_not_depend_on_its_neighbours(both, concepts, precision):
    reranker = make_onnx(both[1], concepts, precision=precision)
    found = found_of(FOUND)
    together = reranker.score(MENTIONS, found, found.concepts >= 0)
    for row, mention in enumerate(MENTIONS):
        own = found.take(np.array([row]))
        np.testing.assert_allclose(reranker.score([mention], own, own.concepts >= 0)[0], together[row], atol=1e-5)
    assert reranker.rerank([], Candidates.empty(0, 3)).concepts.shape == (0, 3)


@pytest.mark.parametrize("layout", ["xnorm", "xmen"])
def test_texts_are_cut_as_transformers_cuts_them(both, concepts, layout):
    trained, folder = both
    model = make_onnx(folder, concepts).model
    config = PairsConfig(nil=True, context=40) if layout == "xnorm" else PairsConfig(layout="xmen")
    theirs = transformers.AutoTokenizer.from_pretrained(trained / "model")
    add_markers(theirs, config)
    texts = [f"{LONG}[START] {LONG}[END] {LONG}", "a [START] b [END] c"]
    assert token_limit(model.tokenizer, config) == token_limit(theirs, config) == TOKENS
    assert model.tokenizer.num_special_tokens_to_add(pair=True) == theirs.num_special_tokens_to_add(pair=True)
    cut = fit(texts, model.tokenizer, config)
    if layout == "xnorm":
        assert cut == fit(texts, theirs, config)
    pairs = [(text, concept) for text in cut for concept in (LONG, "cold [NAME] flu", "x")]
    model.tokenizer._truncation = config.truncation
    ids, types = model.tokenizer.encode_pairs(pairs)
    wanted = theirs([a for a, _ in pairs], [b for _, b in pairs], truncation=config.truncation, max_length=TOKENS)
    if layout == "xnorm":
        assert ids == wanted["input_ids"]
        assert types == wanted.get("token_type_ids", types)
    assert max(map(len, ids)) == TOKENS


def test_batches_hold_every_pair_once_shortest_first():
    lengths = np.random.default_rng(0).integers(1, 700, 300)
    batches = list(graphs.batches(lengths, 16))
    assert sorted(np.concatenate(batches).tolist()) == list(range(300))
    assert (np.diff(lengths[np.concatenate(batches)]) >= 0).all()
    for rows in batches:
        assert len(rows) == 1 or (len(rows) <= 16 and len(rows) * lengths[rows[-1]] <= graphs.BATCH_TOKENS)


def test_it_needs_neither_torch_nor_transformers(exported, tmp_path):
    path = write_terminology(tmp_path / "tiny.jsonl")
    code = (
        "import sys, numpy as np; from xnorm.config import validate; from xnorm.types import Mention;"
        "from xnorm.candidates.base import Candidates; from xnorm.reranking.onnx import *;"
        "from xnorm.sources import TerminologyConfig, read_terminology;"
        "t = read_terminology(TerminologyConfig(sources=[{'type': 'jsonl', 'path': sys.argv[2]}]))[0];"
        "c = Candidates(np.array([[0, 1]], np.int32), np.array([[.9, .8]], np.float32), np.array([[0, 3]], np.int32));"
        "r = OnnxReranker.load(OnnxRerankerConfig(path=sys.argv[1], threads=1), t).rerank([Mention('cold')], c);"
        "print(*r.concepts.shape, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(exported), str(path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["1", "2", "False", "False"]
    assert find_component("reranking", "onnx") is OnnxReranker


def test_folders_that_are_refused(exported, concepts, tmp_path):
    with pytest.raises(ConfigError, match=r"missing: no such folder; `xnorm export"):
        make_onnx(tmp_path / "missing", concepts)
    with pytest.raises(ConfigError, match=r"has no model_int8.onnx; use precision: fp32"):
        make_onnx(exported, concepts, precision="int8")
    with pytest.raises(ArtifactError, match="is no reranker-onnx"):
        make_onnx(tmp_path, concepts)
    with pytest.raises(ArtifactError, match=r"\(reranker\), expected reranker-onnx"):
        make_onnx(exported.parent / "bert", concepts)
    with pytest.raises(ArtifactError, match=r"\(reranker-onnx\), expected reranker"):
        export_reranker(exported, tmp_path / "out")
    folder = shutil.copytree(exported, tmp_path / "damaged")
    with (folder / "model.onnx").open("r+b") as f:
        f.seek(200)
        f.write(b"damage")
    with pytest.raises(ArtifactError, match=r"model\.onnx is damaged") as caught:
        make_onnx(folder, concepts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibration": {"temperature": 0}}, "temperature"),
        ({"calibration": None}, "calibration"),
        ({"inputs": ["pixels"]}, "inputs"),
        ({"pairs": PairsConfig(layout="xmen").model_dump(mode="json")}, r"does not know the markers \[TITLE\]"),
        ({"inputs": ["input_ids", "attention_mask"]}, "takes other inputs"),
    ],
)
def test_manifests_that_are_refused(exported, concepts, tmp_path, change, message):
    about = open_folder(exported, kind=KIND)
    with write_folder(tmp_path / "new", kind=KIND, about={**about, **change}) as new:
        for file in ("model.onnx", "tokenizer.json"):
            shutil.copy(exported / file, new)
    found = found_of([[0, 1]])
    with pytest.raises(XnormError, match=message) as caught:
        make_onnx(tmp_path / "new", concepts).rerank(MENTIONS[:1], found)
    assert "\n" not in str(caught.value)


def test_an_export_that_differs_leaves_nothing(exported, tmp_path, monkeypatch):
    monkeypatch.setattr("xnorm.export_reranker.MAX_DIFFERENCE", -1.0)
    monkeypatch.setattr("xnorm.export_reranker._write_graph", lambda *a: shutil.copy(exported / "model.onnx", a[-1]))
    with pytest.raises(XnormError, match="other scores than torch"):
        export_reranker(exported.parent / "bert", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_commands_that_are_refused(exported, tmp_path):
    trained = str(exported.parent / "bert")
    again = CliRunner().invoke(app, ["export", trained, "--output", str(exported)])
    assert (again.exit_code, again.output.count("\n")) == (2, 1)
    assert "exists already" in again.output
    for arguments, message in (
        ([trained, "candidates.depth=3"], "no keys to replace"),
        ([str(tmp_path)], "is no reranker"),
        ([str(tmp_path / "missing.yaml")], "missing.yaml"),
    ):
        failed = CliRunner().invoke(app, ["export", *arguments, "--output", str(tmp_path / "other")])
        assert (failed.exit_code, failed.output.count("\n")) == (2, 1)
        assert message in failed.output
