"""The transformer encoder on tiny random models: values against the plain forward pass of `transformers`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from tiny_transformers import (
    TEXTS,
    TOKENS,
    assert_rows_are_independent,
    by_hand,
    cosines,
    torch,
    transformers,
)

from xnorm import ConfigError
from xnorm.config import validate
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.loading import random_weights

pytestmark = pytest.mark.torch


def make(model, **settings):
    return SentenceTransformerEncoder(SentenceTransformerConfig(model=str(model), **settings))


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_vectors_are_those_of_the_plain_forward_pass(any_model, pooling):
    found = make(any_model, pooling=pooling, batch_size=4).encode(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(found, by_hand(any_model, TEXTS, pooling), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)


def test_a_plain_transformers_folder_means_mean(any_model):
    encoder = make(any_model)
    np.testing.assert_allclose(encoder.encode(TEXTS), by_hand(any_model, TEXTS, "mean"), atol=1e-5)
    assert encoder.dim == 32
    assert encoder.encode([]).shape == (0, 32)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_modules_of_the_folder_say_how_to_pool(tiny, tmp_path, pooling):
    made = make(tiny, pooling=pooling)
    made.model.save(str(tmp_path / "saved"))
    np.testing.assert_allclose(make(tmp_path / "saved").encode(TEXTS), by_hand(tiny, TEXTS, pooling), atol=1e-5)
    other = "mean" if pooling == "cls" else "cls"
    overridden = make(tmp_path / "saved", pooling=other).encode(TEXTS)
    np.testing.assert_allclose(overridden, by_hand(tiny, TEXTS, other), atol=1e-5)


def test_prefixes_of_names_and_mentions(any_model):
    encoder = make(any_model, prefix="query: ", mention_prefix="name: ")
    names = by_hand(any_model, ["query: " + t for t in TEXTS], "mean")
    np.testing.assert_allclose(encoder.encode(TEXTS), names, atol=1e-5)
    mentions = by_hand(any_model, ["name: " + t for t in TEXTS], "mean")
    np.testing.assert_allclose(encoder.encode_mentions(TEXTS), mentions, atol=1e-5)
    np.testing.assert_allclose(make(any_model, prefix="query: ").encode_mentions(TEXTS), names, atol=1e-5)


def test_a_prompt_of_the_model_is_not_put_before_texts(tiny, tmp_path):
    made = make(tiny)
    made.model.prompts = {"query": "diabetes "}
    made.model.default_prompt_name = "query"
    made.model.save(str(tmp_path / "saved"))
    assert "diabetes" in (tmp_path / "saved" / "config_sentence_transformers.json").read_text()
    np.testing.assert_allclose(make(tmp_path / "saved").encode(TEXTS), by_hand(tiny, TEXTS, "mean"), atol=1e-5)


@pytest.mark.parametrize("max_length", [3, 8, TOKENS])
def test_max_length_counts_special_tokens(any_model, max_length):
    found = make(any_model, pooling="cls", max_length=max_length).encode(TEXTS)
    np.testing.assert_allclose(found, by_hand(any_model, TEXTS, "cls", max_length), atol=1e-5)


def test_max_length_above_the_positions_is_refused(any_model):
    with pytest.raises(ConfigError, match=f"reads up to {TOKENS} tokens, found max_length {TOKENS + 1}"):
        make(any_model, max_length=TOKENS + 1).encode(["a"])


def test_a_tokenizer_without_a_limit_is_cut_at_the_positions(any_model, tmp_path):
    folder = shutil.copytree(any_model, tmp_path / "model")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("model_max_length")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    text = ["heart " * 200]
    np.testing.assert_allclose(make(folder).encode(text), by_hand(any_model, text, "mean"), atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(any_model):
    assert_rows_are_independent(make(any_model, batch_size=4))


@pytest.mark.parametrize("dimensions", [1, 8, 32])
def test_vectors_that_are_cut(any_model, dimensions):
    whole, cut = make(any_model, device="cpu"), make(any_model, device="cpu", dimensions=dimensions)
    wanted = whole.encode(TEXTS)[:, :dimensions]
    wanted = wanted / np.linalg.norm(wanted, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode(TEXTS), wanted, atol=1e-6)
    assert cut.dim == dimensions == cut.encode([]).shape[1]
    assert cut.identity != whole.identity
    assert make(any_model, device="cpu", dimensions=None).identity == whole.identity


def test_more_dimensions_than_there_are_are_refused(any_model):
    with pytest.raises(ConfigError, match=r"model .* has 32 dimensions, found 33"):
        make(any_model, dimensions=33).encode(["a"])


def test_the_identity_is_that_of_the_model_and_not_of_what_is_said_of_it(any_model, tmp_path):
    """A trained folder has a manifest with times in it, held-out ids and a card; equal weights are equal encoders."""
    folder = shutil.copytree(any_model, tmp_path / "model")
    before = make(folder).identity
    for name in ("manifest.json", "held_out.txt", "README.md"):
        (folder / name).write_text(name)
    assert make(folder).identity == before
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    assert make(folder).identity != before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gives_float32_vectors_nearby(any_model, dtype):
    exact, half = make(any_model, device="cpu"), make(any_model, device="cpu", dtype=dtype)
    found = half.encode(TEXTS)
    assert found.dtype == np.float32
    assert cosines(found, exact.encode(TEXTS)).min() > 0.995
    assert not np.array_equal(found, exact.encode(TEXTS))
    assert half.identity != exact.identity


def test_weights_stored_in_half_precision_are_computed_in_float32(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "half")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.AutoModel.from_pretrained(tiny).half().save_pretrained(folder)
    np.testing.assert_allclose(make(folder).encode(TEXTS), by_hand(folder, TEXTS, "mean"), atol=1e-5)


def test_auto_on_a_processor_is_float32(tiny):
    auto, plain = make(tiny, device="cpu", dtype="auto"), make(tiny, device="cpu")
    assert auto.identity == plain.identity


def test_lone_surrogates_are_replaced(tiny):
    encoder = make(tiny)
    np.testing.assert_array_equal(encoder.encode(["heart \ud800"]), encoder.encode(["heart ?"]))


def test_identity_stays_when_the_folder_moves_and_changes_with_all_else(tiny, tmp_path):
    moved = shutil.copytree(tiny, tmp_path / "elsewhere")
    first = make(tiny).identity
    assert make(moved).identity == first
    assert str(tmp_path) not in first
    (moved / "README.md").write_text("words")
    (moved / ".hidden.json").write_text("{}")
    assert make(moved).identity == first
    settings = [{"pooling": "cls"}, {"max_length": 8}, {"prefix": "query: "}, {"mention_prefix": "query: "}]
    identities = {first} | {make(tiny, **s).identity for s in settings}
    assert len(identities) == 1 + len(settings)
    weights = bytearray((moved / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (moved / "model.safetensors").write_bytes(weights)
    assert make(moved).identity not in identities
    assert make(moved, batch_size=7, device="cpu").identity == make(moved).identity


def test_nan_is_an_error(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "broken")
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.weight"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"the vector of 'heart' is not finite \(dtype float32\)"):
        make(folder).encode(["heart"])


def without(name):
    return lambda folder: [path.unlink() for path in folder.glob(name)]


def without_tokenizer(folder):
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)


def pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_a_layer(folder):
    from safetensors.torch import load_file, save_file

    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if "layer.1.output" not in k}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def truncated(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def own_code(folder):
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": "torch.hub"}]))


def outside(folder):
    module = {"idx": 0, "name": "0", "path": "../..", "type": "sentence_transformers.models.Transformer"}
    (folder / "modules.json").write_text(json.dumps([module]))


def not_json(folder):
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("config.json"), "has no config.json"),
        (without_tokenizer, r"has no tokenizer \(tokenizer.json"),
        (without("*.safetensors"), "has no weights as .safetensors"),
        (pickled, "pickled ones can run code.* convert them by python -c"),
        (truncated, "cannot be loaded"),
        (without_a_layer, r"its files lack weights \(encoder.layer.1.output"),
        (not_json, "cannot be loaded"),
        (own_code, r"needs code of its own \(torch.hub\)"),
        (outside, "leads outside of the folder"),
    ],
)
def test_a_damaged_folder_is_one_line(tiny, tmp_path, damage, message):
    folder = shutil.copytree(tiny, tmp_path / "model")
    damage(folder)
    with pytest.raises(ConfigError, match=message) as caught:
        make(folder).encode(["heart"])
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["./missing", "/missing/model", "~/missing/model", "missing", "a/b/c"])
def test_a_missing_folder_is_told_from_a_name(name):
    with pytest.raises(ConfigError, match="no such folder, and not a Hugging Face name"):
        _ = make(name).identity


def test_a_folder_has_no_revision(tiny):
    with pytest.raises(ConfigError, match="has no revision"):
        make(tiny, revision="main").encode(["heart"])


@pytest.fixture
def hub(tiny, tmp_path, monkeypatch):
    """A local cache of the hub with one model, and no network."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    repository = tmp_path / "hub" / "models--org--tiny"
    for revision, commit in (("main", "1" * 40), ("v2", "2" * 40)):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        shutil.copytree(tiny, repository / "snapshots" / commit)
    return repository


def test_a_name_on_the_hub_is_pinned_to_its_commit(hub, tiny):
    main, other = make("org/tiny"), make("org/tiny", revision="v2")
    assert f"org/tiny@{'1' * 40}" in main.identity
    assert f"org/tiny@{'2' * 40}" in other.identity
    np.testing.assert_allclose(main.encode(TEXTS), by_hand(tiny, TEXTS, "mean"), atol=1e-5)


@pytest.mark.parametrize(("name", "revision"), [("org/other", None), ("org/tiny", "v3")])
def test_a_name_that_cannot_be_downloaded(hub, name, revision):
    for action in (lambda e: e.identity, lambda e: e.encode(["heart"])):
        with pytest.raises(ConfigError, match="not in the local cache and cannot be downloaded") as caught:
            action(make(name, revision=revision))
        assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there(tiny):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="cannot be loaded"):
        make(tiny, device="cuda").encode(["heart"])


@pytest.mark.parametrize(
    "settings",
    [{"device": "gpu"}, {"pooling": "last"}, {"max_length": 0}, {"batch_size": 0}, {"trust_remote_code": True}],
)
def test_settings_that_are_refused(settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        validate(SentenceTransformerConfig, {"model": "a/b", **settings}, where="test")


def test_weights_made_up_by_older_and_newer_releases():
    four = (
        "Some weights of BertModel were not initialized from the model checkpoint at x and are newly initialized: "
        "['encoder.layer.1.output.dense.bias', 'pooler.dense.weight']\nYou should probably TRAIN this model."
    )
    five = (
        "BertModel LOAD REPORT from: x\nKey | Status |\n--+--+-\ncls.predictions.bias | UNEXPECTED |\n"
        "encoder.layer.{0, 1}.output.dense.bias | MISSING |\npooler.dense.weight | MISSING |\n\n"
        "- MISSING:\tthose params were newly initialized because missing from the checkpoint."
    )
    assert random_weights([four]) == ["encoder.layer.1.output.dense.bias"]
    assert len(random_weights([five])) == 1
    assert random_weights(["other words", four.replace("encoder.layer.1.output", "pooler")]) == []


def test_a_folder_without_the_pooler_is_whole(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny, tmp_path / "model")
    weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if "pooler" not in k}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_allclose(make(folder).encode(TEXTS), by_hand(tiny, TEXTS, "mean"), atol=1e-5)


def test_the_libraries_say_nothing(tiny, capfd):
    make(tiny).encode(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_the_identity_of_a_folder_loads_no_torch(tiny):
    code = (
        "import sys; from xnorm.encoders.sentence_transformer import *;"
        "config = SentenceTransformerConfig(model=sys.argv[1]);"
        "SentenceTransformerEncoder(config).identity; print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tiny)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["False"]
