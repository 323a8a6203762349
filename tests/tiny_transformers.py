"""Tiny random transformers, made on disk, and the plain forward pass that encoders are compared with."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

tokenizers = pytest.importorskip("tokenizers", reason="needs the extra torch")
torch = pytest.importorskip("torch", reason="needs the extra torch")
transformers = pytest.importorskip("transformers", reason="needs the extra torch")
pytest.importorskip("sentence_transformers", reason="needs the extra torch")

TEXTS = [
    "heart failure",
    "Herzinsuffizienz",
    "mal de tête",
    "糖尿病",
    "β-thalassaemia",
    "фебрильная нейтропения",
    "a",
    "pain in the head and in the heart " * 6,
    "فشل القلب",
    "Type 2 diabetes mellitus, with ketoacidosis",
    "+",
]
TOKENS = 48
"""Positions of the tiny models."""


def make_tokenizer(kind):
    """Return a tokenizer of the texts' words and letters: the same in every process, which a trained one is not."""
    texts = [*TEXTS, "query: name: "]
    if kind == "bert":
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        normalizer = tokenizers.normalizers.BertNormalizer(lowercase=False)
        splitter = tokenizers.pre_tokenizers.BertPreTokenizer()
        words = sorted({w for t in texts for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(t))})
        letters = sorted(set("".join(words)))
        pieces = dict.fromkeys([*special, *letters, *("##" + letter for letter in letters), *words])
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
        tokenizer.normalizer = normalizer
        names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        splitter = tokenizers.pre_tokenizers.Metaspace()
        words = sorted({w for t in texts for w, _ in splitter.pre_tokenize_str(t)})
        letters = sorted(set("".join(words)))
        scores = dict.fromkeys(special, 0.0) | dict.fromkeys(words, -4.0) | dict.fromkeys(letters, -3.0)
        tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(list(scores.items()), unk_id=special.index("<unk>")))
        names = {"pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>"}
    tokenizer.pre_tokenizer = splitter
    tokenizer.add_special_tokens(special)
    first, last = names["cls"], names["sep"]
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"{first} $A {last}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (first, last)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=TOKENS, **{f"{key}_token": value for key, value in names.items()}
    )


def make_model(folder, kind):
    """Write a plain transformers folder with random weights."""
    tokenizer = make_tokenizer(kind)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind == "bert":
        config = transformers.BertConfig(max_position_embeddings=TOKENS, **shape)
    else:
        config = transformers.XLMRobertaConfig(max_position_embeddings=TOKENS + 2, **shape)
    torch.manual_seed(7)
    transformers.AutoModel.from_config(config).eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def by_hand(folder, texts, pooling, max_length=TOKENS):
    """One text at a time, so nothing is padded: token vectors, their pool, its unit vector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModel.from_pretrained(folder).float().eval()
    rows = []
    for text in texts:
        tokens = tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**tokens).last_hidden_state[0].numpy()
        rows.append({"cls": hidden[0], "mean": hidden.mean(axis=0), "max": hidden.max(axis=0)}[pooling])
    vectors = np.array(rows)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def cosines(a, b):
    return (a * b).sum(axis=1)


def assert_rows_are_independent(encoder):
    together = encoder.encode(TEXTS)
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_array_equal(encoder.encode(TEXTS), together)
    order = np.random.default_rng(3).permutation(len(TEXTS))
    np.testing.assert_allclose(encoder.encode([TEXTS[i] for i in order]), together[order], atol=1e-5)
