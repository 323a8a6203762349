"""What every cross-encoder's scores go through: logits that are no numbers are refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_reranking_cross_encoder import write_model
from tiny_transformers import make_tokenizer, torch

from xnorm.candidates.base import Candidates
from xnorm.errors import ConfigError
from xnorm.linker import Linker
from xnorm.pairs import PairsConfig, PairWriter, add_markers
from xnorm.scoring import NoNumbersError, logits_of
from xnorm.types import Mention

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_thread")]


@pytest.mark.parametrize("nil", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers(terminology, bad, nil):
    config = PairsConfig(max_length=40, nil=nil)
    tokenizer = make_tokenizer("bert")
    add_markers(tokenizer, config)
    tokenizer.name_or_path = "models/mine"
    mentions = [Mention("cold"), Mention("Headache")]
    concepts = np.array([[4, 5, -1], [1, -1, -1]], np.int32)
    scores = np.where(concepts >= 0, 0.5, -np.inf).astype(np.float32)
    names = np.where(concepts >= 0, terminology.first_name[concepts], -1).astype(np.int32)
    found = Candidates(concepts, scores, names)

    def ask(wanted, *values):
        writer = PairWriter(terminology, config)
        return logits_of(lambda pairs: np.resize(values, len(pairs)), tokenizer, writer, mentions, found, wanted)

    logits, none = ask(concepts >= 0, 0.5)
    np.testing.assert_array_equal(np.isfinite(logits), concepts >= 0)
    assert np.isfinite(none).all() == nil
    match = r"^the reranker models/mine: gives scores that are no numbers \(1 of \d pairs\)"
    with pytest.raises(NoNumbersError, match=match) as e:
        ask(concepts >= 0, *[0.5] * (2 + nil), bad, *[0.5] * 5)
    assert "\n" not in str(e.value)
    logits, _ = ask(concepts < -1, bad)  # nothing is wanted
    assert not np.isfinite(logits).any()


def test_damaged_weights_are_no_nil(config, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = write_model(tmp_path / "damaged", pairs=PairsConfig(max_length=40))
    weights = {name: torch.full_like(x, torch.nan) for name, x in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    reranker = {"type": "cross_encoder", "model": str(folder), "device": "cpu", "pairs": {"max_length": 40}}
    linker = Linker.build({**config, "candidates": {"type": "tfidf"}, "reranker": reranker})
    with pytest.raises(ConfigError, match=r"the reranker .*damaged: gives scores that are no numbers"):
        linker.link(["cold"])
