"""LoRA: what is trained in the families of transformers, and that the merged model is the one that was trained."""

from __future__ import annotations

import shutil

import pytest
from tiny_transformers import make_tokenizer, torch, transformers

pytest.importorskip("peft", reason="needs the extra lora")

from xnorm.errors import ArtifactError
from xnorm.lora import TRAINED, LoraConfig, add_lora, load_trained, merge_lora, save_trained
from xnorm.pairs import PairsConfig
from xnorm.reranking.cross_encoder import open_model

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]

PAIRS = PairsConfig(max_length=40)
TEXTS = [["heart [START] failure [END]", "Herz [NAME] a"], ["a", "[NAME] pain in the head"]]
SHAPE = {
    "vocab_size": len(make_tokenizer("bert")),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "pad_token_id": 0,
}
DISTIL = {"vocab_size": SHAPE["vocab_size"], "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}
MODERN = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
DEBERTA = {"type_vocab_size": 2, "relative_attention": True, "position_buckets": 8, "pos_att_type": "p2c|c2p"}
FAMILIES = {
    "Bert": (SHAPE, {"bert.pooler", "classifier"}, 12),
    "Roberta": (SHAPE, {"classifier"}, 12),
    "XLMRoberta": (SHAPE, {"classifier"}, 12),
    "DebertaV2": ({**SHAPE, **DEBERTA}, {"pooler", "classifier"}, 16),
    "DistilBert": (DISTIL, {"pre_classifier", "classifier"}, 12),
    "Electra": ({**SHAPE, "embedding_size": 16}, {"classifier"}, 13),
    "ModernBert": ({**SHAPE, **MODERN}, {"head", "classifier"}, 8),
}
"""Settings, what is trained whole, and how many linear layers get small matrices."""


@pytest.fixture(params=FAMILIES)
def opened(request, tmp_path):
    """A tiny model of each family, what its head is, and its linear layers."""
    shape, head, linear = FAMILIES[request.param]
    make_tokenizer("bert").save_pretrained(tmp_path / "base")
    torch.manual_seed(0)
    config = getattr(transformers, f"{request.param}Config")(**shape)
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path / "base")
    return open_model(str(tmp_path / "base"), PAIRS, device="cpu", fresh=True), head, linear


def markers(model):
    return model.tokenizer.convert_tokens_to_ids(list(PAIRS.tokens))


def trained(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def shift(model):
    """Make the weights others, as a training does."""
    torch.manual_seed(1)
    with torch.no_grad():
        for p in trained(model).values():
            p += 0.1 * torch.randn_like(p)


def test_what_is_trained_and_what_is_written(opened, tmp_path):
    model, head, linear = opened
    before = {name: x.clone() for name, x in model.state_dict().items()}
    logits = model.predict(TEXTS)
    add_lora(model, LoraConfig(rank=4, dropout=0.5), tokens=markers(model))
    assert model.predict(TEXTS) == pytest.approx(logits, abs=1e-6)  # as long as nothing is trained
    parts = [name.removeprefix("0.model.base_model.model.") for name in trained(model)]
    assert sum("lora_A" in name for name in parts) == sum("lora_B" in name for name in parts) == linear
    assert {name.partition(".modules_to_save")[0] for name in parts if "modules_to_save" in name} == head
    assert sum("trainable_tokens" in name for name in parts) == 1
    shift(model)
    logits = model.predict(TEXTS)
    merge_lora(model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert model.predict(TEXTS) == pytest.approx(logits, abs=1e-6)
    table = model[0].model.get_input_embeddings().weight
    name = next(name for name in before if before[name].shape == table.shape)
    assert (before[name] != table).any(dim=1).nonzero().flatten().tolist() == sorted(markers(model))
    model.save_pretrained(str(tmp_path / "out"))
    again = open_model(str(tmp_path / "out"), PAIRS, device="cpu", dtype="float32")
    assert again.predict(TEXTS) == pytest.approx(logits, abs=1e-6)


def test_a_checkpoint_is_what_is_trained(opened, tmp_path):
    model, _, _ = opened
    add_lora(model, LoraConfig(rank=4), tokens=[])
    assert not any("trainable_tokens" in name for name in trained(model))
    shift(model)
    logits = model.predict(TEXTS)
    save_trained(model, tmp_path / "checkpoint")
    size = (tmp_path / "checkpoint" / TRAINED).stat().st_size
    assert size < 4 * sum(p.numel() for p in trained(model).values()) + 20_000
    shift(model)
    assert abs(model.predict(TEXTS) - logits).max() > 1e-4
    load_trained(model, tmp_path / "checkpoint")
    assert model.predict(TEXTS).tolist() == logits.tolist()
    other = open_model(str(tmp_path / "base"), PAIRS, device="cpu", fresh=True)
    add_lora(other, LoraConfig(rank=5), tokens=[])
    with pytest.raises(ArtifactError, match="holds other weights than those that are trained"):
        load_trained(other, tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint")
