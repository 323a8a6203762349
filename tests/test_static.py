"""Static encoders against a plain loop, and what their files owe a reader."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

from xnorm import ConfigError, MissingExtraError
from xnorm.encoders import static as module
from xnorm.encoders.static import StaticCard, StaticConfig, StaticEncoder, pack_table, write_static
from xnorm.text import cognate, fold, hash_ngrams

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra static")
save_file = pytest.importorskip("safetensors.numpy", reason="needs the extra static").save_file

DIM, BUCKETS = 24, 97
PIECES = ["▁heart", "▁failure", "▁", "心", "h", "e", "a", "r", "t", "▁mal"]
TEXTS = [
    "heart failure",
    "Heart Failure",
    "heart heart heart",
    "Herzinsuffizienz",
    "mal de tête",
    "心不全",
    "ដំបៅ",
    "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "β-thalassaemia",
    "+",
    "x" * 300,
]


def tokenizer():
    """Return a tokenizer.json whose unknown piece, id 0, has no row."""
    vocab = [("<unk>", 0.0), *((piece, -float(len(PIECES) - i)) for i, piece in enumerate(PIECES))]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocab, unk_id=0))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    return made


def make(folder, precision="float32", *, pieces=True, spelling="cognate", seed=0):
    """Write an encoder with random vectors; return it, its table and its weights."""
    n = len(PIECES) if pieces else 0
    card = StaticCard(dim=DIM, ngrams=(3, 4), buckets=BUCKETS, spelling=spelling, pieces=n)
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((card.rows, DIM)).astype(np.float32)
    weights = rng.uniform(0.1, 2, card.rows).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    more = {"tokenizer": tokenizer().to_str().encode(), "pieces": np.arange(-1, n, dtype=np.int32)} if pieces else {}
    write_static(folder, card, table, weights, precision=precision, **more)
    return StaticEncoder(StaticConfig(model=str(folder))), table, weights


def brute_force(texts, table, weights, *, pieces=True, spelling="cognate"):
    """The weighted mean of one text after the other, of float64."""
    made, first = tokenizer(), len(PIECES) if pieces else 0
    out = []
    for text in texts:
        folded = fold(text.lower())
        hashes = hash_ngrams([cognate(folded) if spelling == "cognate" else folded], (3, 4))[1].tolist()
        rows = [first + h % BUCKETS for h in hashes]
        if pieces:
            rows += [i - 1 for i in made.encode(text.lower(), add_special_tokens=False).ids if i > 0]
        total = sum((float(weights[r]) * table[r].astype(np.float64) for r in rows), np.zeros(DIM))
        out.append(total / np.linalg.norm(total))
    return np.array(out)


@pytest.mark.parametrize("pieces", [True, False])
@pytest.mark.parametrize("spelling", ["cognate", "folded"])
def test_a_text_is_the_weighted_mean_of_its_pieces_and_ngrams(tmp_path, pieces, spelling):
    encoder, table, weights = make(tmp_path, pieces=pieces, spelling=spelling)
    found = encoder.encode(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), encoder.dim) == (len(TEXTS), DIM)
    expected = brute_force(TEXTS, table, weights, pieces=pieces, spelling=spelling)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(encoder.encode_mentions(TEXTS), found)


def test_a_row_does_not_depend_on_its_neighbours(tmp_path, monkeypatch):
    encoder, _, _ = make(tmp_path)
    together = encoder.encode(TEXTS)
    np.testing.assert_array_equal(together, np.concatenate([encoder.encode([text]) for text in TEXTS]))
    monkeypatch.setattr(module, "CHUNK", 3)
    np.testing.assert_array_equal(together, encoder.encode(TEXTS))
    assert encoder.encode([]).shape == (0, DIM)


def test_scripts_without_pieces_are_told_apart_by_their_ngrams(tmp_path):
    encoder, _, _ = make(tmp_path)
    khmer = ["ដំបៅ", "ដំបៅក្រពះ", "ជំងឺ"]
    same, near, far = (float(encoder.encode(khmer[:1])[0] @ encoder.encode([text])[0]) for text in khmer)
    assert same == pytest.approx(1, abs=1e-5)
    assert far < near < 0.999


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\ud800", "\0", "\ufeff\n", "☃", "…"])
def test_nothing_to_read_is_a_unit_vector_too(tmp_path, text):
    encoder, _, _ = make(tmp_path)
    found = encoder.encode(["heart", text, "failure"])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found[[0, 2]], encoder.encode(["heart", "failure"]))


def test_texts_without_pieces_and_ngrams_have_the_last_row(tmp_path):
    encoder, table, _ = make(tmp_path, pieces=False)
    np.testing.assert_allclose(encoder.encode([""])[0], table[-1] / np.linalg.norm(table[-1]), atol=1e-6)


def test_rows_that_cancel_out_leave_a_unit_vector(tmp_path):
    card = StaticCard(dim=4, ngrams=(4, 4), buckets=1, spelling="folded", pieces=0)
    write_static(
        tmp_path, card, np.zeros((card.rows, 4), np.float32), np.ones(card.rows, np.float32), precision="float32"
    )
    np.testing.assert_array_equal(StaticEncoder(StaticConfig(model=str(tmp_path))).encode(["heart"]), [[1, 0, 0, 0]])


@pytest.mark.parametrize(("precision", "cosine"), [("int8", 0.9998), ("float16", 0.999999)])
def test_fewer_bits_give_nearly_the_same_vectors(tmp_path, precision, cosine):
    whole, _, _ = make(tmp_path / "whole")
    packed, _, _ = make(tmp_path / "packed", precision)
    one, other = whole.encode(TEXTS), packed.encode(TEXTS)
    assert (one * other).sum(axis=1).min() > cosine
    assert not np.array_equal(one, other)
    modes = {p.stat().st_mode for p in (tmp_path / "packed").iterdir()}
    assert len(modes) == 1  # who may read the card may read the table
    sizes = [(tmp_path / name / "static.safetensors").stat().st_size for name in ("whole", "packed")]
    assert sizes[1] < sizes[0] * (0.4 if precision == "int8" else 0.6)


def test_eight_bits_round_to_half_of_a_127th_of_the_largest_number():
    table = np.array([[127.0, -63.4, 0.49], [0, 0, 0], [1e-3, 2e-3, -2e-3]], np.float32)
    packed, weights = pack_table(table, np.array([1, 1, 10], np.float32), "int8")
    assert packed.tolist() == [[127, -63, 0], [0, 0, 0], [64, 127, -127]]
    np.testing.assert_allclose(weights[[0, 2]], [1, 10 * 2e-3 / 127], rtol=1e-6)
    assert np.isfinite(weights).all()


def test_identity_is_that_of_the_files_wherever_they_lie(tmp_path):
    encoder, _, _ = make(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "README.md").write_text("read me")
    assert StaticEncoder(StaticConfig(model=str(tmp_path / "two"))).identity == encoder.identity
    others = {make(tmp_path / "b", seed=1)[0].identity, make(tmp_path / "c", "int8")[0].identity}
    others |= {make(tmp_path / "d", pieces=False)[0].identity, make(tmp_path / "e", spelling="folded")[0].identity}
    file = tmp_path / "two" / "tokenizer.json"
    file.write_text(file.read_text() + " ")
    others.add(StaticEncoder(StaticConfig(model=str(tmp_path / "two"))).identity)
    assert len(others | {encoder.identity}) == 6


def change_card(folder, **keys):
    path = folder / "static.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def change_table(folder, **tensors):
    card = StaticCard(**json.loads((folder / "static.json").read_text()))
    own = {
        "table": np.ones((card.rows, DIM), np.float32),
        "weights": np.ones(card.rows, np.float32),
        "pieces": np.arange(-1, card.pieces, dtype=np.int32),
    } | tensors
    save_file({key: value for key, value in own.items() if value is not None}, str(folder / "static.safetensors"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: shutil.rmtree(f), "no such folder; `xnorm train`"),
        (lambda f: (f / "static.json").unlink(), "has no static.json"),
        (lambda f: (f / "static.safetensors").unlink(), "has no static.safetensors"),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json"),
        (lambda f: (f / "static.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "static.json").write_bytes(b"\xff"), "cannot be read as JSON"),
        (lambda f: (f / "static.json").write_text("[1]"), "expected a JSON object, found list"),
        (lambda f: change_card(f, dim=0), "dim: Input should be greater"),
        (lambda f: change_card(f, code="x"), "unknown key 'code'"),
        (lambda f: change_card(f, ngrams=[0, 4]), "expected two sizes from 1 to 8, found [0, 4]"),
        (lambda f: change_card(f, ngrams=[3, 9]), "expected two sizes from 1 to 8, found [3, 9]"),
        (lambda f: change_card(f, buckets=BUCKETS + 1), "table: expected shape (109, 24), found shape (108, 24)"),
        (lambda f: (f / "static.safetensors").write_bytes(b"no tensors"), "cannot be read"),
        (lambda f: change_table(f, weights=np.ones(3, np.float32)), "weights: expected shape (108,), found shape (3,)"),
        (lambda f: change_table(f, table=None), "table: expected shape (108, 24), found nothing"),
        (lambda f: change_table(f, weights=np.ones(108, np.float64)), "other types than expected"),
        (lambda f: change_table(f, pieces=np.array([-1, 10], np.int32)), "pieces: expected rows below 10"),
        (lambda f: change_table(f, pieces=np.array([-2, 9], np.int32)), "pieces: expected rows below 10"),
        (lambda f: change_table(f, pieces=np.array([-1, 9], np.int32)), "has an id 10, its table knows 2"),
        (lambda f: change_table(f, weights=np.full(108, np.nan, np.float32)), "is not finite"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json cannot be read"),
    ],
)  # fmt: skip
def test_damaged_folders_are_refused_on_one_line(tmp_path, damage, message):
    folder = tmp_path / "model"
    make(folder)
    damage(folder)
    with pytest.raises(ConfigError) as e:
        _ = StaticEncoder(StaticConfig(model=str(folder))).encode(["heart"])
    assert message in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("package", ["safetensors.numpy", "tokenizers"])
def test_missing_packages_are_named(tmp_path, monkeypatch, package):
    encoder, _, _ = make(tmp_path)
    for name in (package, package.partition(".")[0]):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'xnorm\[static\]'"):
        encoder.encode(["heart"])


def test_without_pieces_no_tokenizer_is_needed(tmp_path, monkeypatch):
    encoder, _, _ = make(tmp_path, pieces=False)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert encoder.encode(["heart"]).shape == (1, DIM)
