"""A tiny terminology of our own making, and an encoder that needs no model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from xnorm.encoders.base import Encoder, EncoderConfig
from xnorm.sources import TerminologyConfig, read_terminology

CONCEPTS = [
    ("T:001", "Heart failure", ["Cardiac insufficiency", ("Herzinsuffizienz", "de"), ("心不全", "ja")]),
    ("T:002", "Headache", ["Cephalalgia", "Pain in the head", ("mal de tête", "fr"), ("ปวดหัว", "th")]),
    ("T:003", "Cardiomyopathy", [("Kardiomyopathie", "de"), ("καρδιομυοπάθεια", "el"), ("кардиомиопатия", "ru")]),
    ("T:004", "Anaemia", ["Anemia", "Low haemoglobin", ("Anämie", "de"), ("貧血", "ja")]),
    ("T:005", "Cold", ["Common cold", ("鼻風邪", "ja")]),
    ("T:006", "Cold", ["Feeling cold", "Chilliness"]),
    ("T:007", "B", ["Blood group B"]),
    ("T:008", "Type 2 diabetes mellitus", ["T2DM", "Diabetes mellitus, type 2", ("糖", "zh")]),
    ("T:009", "Type 1 diabetes mellitus", ["T1DM", "Diabetes mellitus, type 1"]),
    ("T:010", "β-thalassaemia", ["beta thalassemia", "Beta-Thalassämie"]),
    ("T:011", "+", []),
    ("T:012", "Ventricular septal defect", ["VSD", "Hole in the heart wall", ("بطيني", "ar")]),
]


def write_terminology(path: Path) -> Path:
    with path.open("w", encoding="utf-8") as f:
        for identifier, name, others in CONCEPTS:
            synonyms = [
                {"name": o, "lang": "en", "scope": "exact"}
                if isinstance(o, str)
                else {"name": o[0], "lang": o[1], "scope": "exact"}
                for o in others
            ]
            f.write(json.dumps({"id": identifier, "name": name, "synonyms": synonyms}, ensure_ascii=False) + "\n")
    return path


class HashConfig(EncoderConfig):
    type: str = "conftest:HashEncoder"
    dim: int = 16
    revision: str = "1"


class HashEncoder(Encoder):
    """The sum of random directions of a text's letters: similar texts, similar vectors."""

    config_class = HashConfig
    config: HashConfig
    calls: list[int]

    def __init__(self, config):
        super().__init__(config)
        self.calls = []

    @property
    def identity(self):
        return f"hash/{self.config.revision}"

    @property
    def dim(self):
        return self.config.dim

    def encode(self, texts):
        self.calls.append(len(texts))
        out = np.empty((len(texts), self.dim), np.float32)
        for i, text in enumerate(texts):
            out[i] = sum(self._direction(c) for c in text.lower()) + 1e-3
        return out / np.linalg.norm(out, axis=1, keepdims=True)

    def _direction(self, letter):
        seed = int.from_bytes(hashlib.blake2b(letter.encode(), digest_size=4).digest(), "big")
        return np.random.default_rng(seed).standard_normal(self.dim)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """Keep the vector cache of a test away from the user's."""
    monkeypatch.setenv("XNORM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def source(tmp_path):
    return write_terminology(tmp_path / "tiny.jsonl")


@pytest.fixture
def terminology(source):
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(source)}]))[0]


@pytest.fixture
def config(source):
    """Plain data of a config with every generator in it."""
    return {
        "name": "tiny",
        "terminology": {"sources": [{"type": "jsonl", "path": str(source)}]},
        "candidates": {
            "type": "ensemble",
            "weights": {"dense": 1.0, "tfidf": 0.6, "exact": 0.5},
            "members": {
                "exact": {"type": "exact"},
                "tfidf": {"type": "tfidf"},
                "dense": {"type": "dense", "encoder": {"type": "conftest:HashEncoder"}},
            },
        },
    }


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    """The terminology that the tests of clean-up stages share."""
    from cleanup_data import CONCEPTS, make_terminology

    return make_terminology(tmp_path_factory.mktemp("kb") / "kb.jsonl", CONCEPTS)


@pytest.fixture(scope="session", params=["bert", "xlm-roberta"])
def any_model(request, tmp_path_factory):
    """A folder with a tiny random transformer, of either kind of tokenizer."""
    from tiny_transformers import make_model

    return make_model(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a tiny random transformer."""
    from tiny_transformers import make_model

    return make_model(tmp_path_factory.mktemp("models") / "tiny", "bert")


@pytest.fixture(scope="module")
def one_thread():
    """Torch on one thread: a busy machine makes tiny models wait for one another."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
