"""The export to ONNX, and the encoder that runs it: values against torch, and against the plain forward pass."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from tiny_transformers import TEXTS, assert_rows_are_independent, by_hand, cosines

from xnorm import ArtifactError, ConfigError, XnormError, artifact, graphs
from xnorm.encoders.onnx import OnnxConfig, OnnxEncoder
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.export import export_encoder

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")

pytestmark = pytest.mark.torch


@pytest.fixture(scope="session")
def exported(any_model, tmp_path_factory):
    """The CLS encoder of a model, and the folder it was exported to."""
    settings = {"pooling": "cls", "prefix": "query: ", "mention_prefix": "name: ", "max_length": 16}
    encoder = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(any_model), **settings))
    folder = tmp_path_factory.mktemp("exported") / any_model.name
    export_encoder(encoder, folder)
    return encoder, folder


def make_onnx(folder, **settings):
    return OnnxEncoder(OnnxConfig(model=str(folder), **settings))


def test_vectors_that_are_cut(tiny, tmp_path):
    encoder = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(tiny), dimensions=8, device="cpu"))
    export_encoder(encoder, tmp_path / "cut")
    found = make_onnx(tmp_path / "cut")
    assert found.dim == 8
    np.testing.assert_allclose(found.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_row_does_not_depend_on_its_neighbours(exported, precision):
    assert_rows_are_independent(make_onnx(exported[1], precision=precision, batch_size=4))


def test_lone_surrogates_are_replaced(exported):
    encoder = make_onnx(exported[1])
    np.testing.assert_array_equal(encoder.encode(["heart \ud800"]), encoder.encode(["heart ?"]))


def test_onnx_vectors_are_those_of_torch(exported, any_model):
    encoder, folder = exported
    found = make_onnx(folder)
    assert found.dim == 32
    assert found.encode([]).shape == (0, 32)
    np.testing.assert_allclose(found.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    np.testing.assert_allclose(found.encode_mentions(TEXTS), encoder.encode_mentions(TEXTS), atol=1e-5)
    by_hand_too = by_hand(any_model, ["query: " + t for t in TEXTS], "cls", 16)
    np.testing.assert_allclose(found.encode(TEXTS), by_hand_too, atol=1e-5)


def test_int8_is_near(exported):
    encoder, folder = exported
    found = make_onnx(folder, precision="int8").encode(TEXTS)
    assert cosines(found, encoder.encode(TEXTS)).min() > 0.99
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (folder / "model.int8.onnx").stat().st_size < (folder / "model.onnx").stat().st_size


def test_int8_weights_are_int8(exported):
    graph = onnx.load(str(exported[1] / "model.int8.onnx")).graph
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) == 12  # 6 in each of the 2 layers
    assert not any(len(i.dims) == 2 and i.data_type == 1 and min(i.dims) > 1 for i in graph.initializer)
    weights = [onnx.numpy_helper.to_array(i) for i in graph.initializer if i.data_type == onnx.TensorProto.INT8]
    assert max(np.abs(w.astype(int)).max() for w in weights) <= 127


def test_onnx_identity_tells_model_and_precision(exported):
    encoder, folder = exported
    fp32, int8 = (make_onnx(folder, precision=p).identity for p in ("fp32", "int8"))
    assert fp32 != int8
    assert encoder.identity in fp32
    assert make_onnx(folder, threads=1, batch_size=3).identity == fp32


def test_export_takes_a_config_of_half_precision(tiny, tmp_path):
    config = SentenceTransformerConfig(model=str(tiny), dtype="float16")
    export_encoder(config, tmp_path / "out", int8=False)
    np.testing.assert_allclose(make_onnx(tmp_path / "out").encode(TEXTS), by_hand(tiny, TEXTS, "mean"), atol=1e-5)
    with pytest.raises(ConfigError, match=r"has no model.int8.onnx; use precision: fp32"):
        make_onnx(tmp_path / "out", precision="int8").encode(["heart"])
    with pytest.raises(ArtifactError, match="exists already"):
        export_encoder(config, tmp_path / "out")


@pytest.mark.parametrize(("limit", "message"), [("MAX_DIFFERENCE", "other vectors than torch"), ("MIN_COSINE", "int8")])
def test_an_export_that_differs_leaves_nothing(tiny, tmp_path, monkeypatch, limit, message):
    monkeypatch.setattr(f"xnorm.export.{limit}", -1.0 if limit == "MAX_DIFFERENCE" else 2.0)
    with pytest.raises(XnormError, match=message):
        export_encoder(SentenceTransformerConfig(model=str(tiny)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_onnx_folders_that_are_refused(exported, tmp_path):
    with pytest.raises(ConfigError, match="no such folder"):
        make_onnx(tmp_path / "missing").encode(["heart"])
    with pytest.raises(ArtifactError, match="is no encoder"):
        make_onnx(tmp_path).encode(["heart"])
    folder = shutil.copytree(exported[1], tmp_path / "damaged")
    (folder / "encoder.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"encoder\.json"):
        make_onnx(folder).encode(["heart"])


def test_weights_outside_of_the_folder_are_not_read(exported, tmp_path):
    """A graph from elsewhere may name any file as the place of its weights."""
    folder = shutil.copytree(exported[1], tmp_path / "folder")
    model = onnx.load(str(folder / "model.onnx"))
    tensor = max(model.graph.initializer, key=lambda i: len(i.raw_data))
    (tmp_path / "secret.bin").write_bytes(tensor.raw_data)
    onnx.external_data_helper.set_external_data(tensor, "../secret.bin", length=len(tensor.raw_data))
    tensor.ClearField("raw_data")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in ("sha256", "files"):
        manifest.pop(entry)
    (folder / "manifest.json").unlink()
    artifact._write_manifest(folder, "encoder", manifest)
    with pytest.raises(ConfigError, match=r"cannot be loaded.*secret\.bin") as caught:
        make_onnx(folder).encode(["heart"])
    assert "outside" in str(caught.value) or "escapes" in str(caught.value)


def test_batches_hold_every_text_once_shortest_first():
    lengths = list(np.random.default_rng(0).integers(1, 700, 500))
    batches = list(graphs.batches(lengths, 16))
    flat = np.concatenate(batches)
    assert sorted(flat) == list(range(500))
    assert [lengths[i] for i in flat] == sorted(lengths)
    for rows in batches:
        assert len(rows) == 1 or (len(rows) <= 16 and len(rows) * lengths[rows[-1]] <= graphs.BATCH_TOKENS)


def test_onnx_needs_neither_torch_nor_transformers(exported):
    code = (
        "import sys; from xnorm.encoders.onnx import *; e = OnnxEncoder(OnnxConfig(model=sys.argv[1]));"
        "e.encode(['heart']); print('torch' in sys.modules, 'transformers' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(exported[1])]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False", "False"]
