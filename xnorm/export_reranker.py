"""Export a trained cross-encoder to ONNX, for machines without torch: `type: onnx` of `reranker`.

The graph takes `input_ids`, `attention_mask` and, where the model has them, `token_type_ids` (pairs, tokens), and
returns `logits` (pairs,). The int8 graph is made as that of an encoder (`xnorm.export`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xnorm.artifact import check_writable, open_folder, write_folder
from xnorm.calibration import Calibration, Floats
from xnorm.config import validate
from xnorm.errors import ConfigError, XnormError
from xnorm.export import MAX_DIFFERENCE, PROTOBUF_LIMIT, WHAT, quiet_exporter, write_int8
from xnorm.pairs import PairsConfig, fit, token_limit
from xnorm.registry import require
from xnorm.reranking.base import USUAL_TOP
from xnorm.reranking.cross_encoder import KIND as TRAINED
from xnorm.reranking.cross_encoder import MODEL, open_model
from xnorm.reranking.onnx import INPUTS, KIND, MODEL_FILES, TOKENIZER, OnnxPairModel, RerankerCard

__all__ = ["export_reranker"]

CHECKED_MENTIONS = [
    ("", "Herzinsuffizienz", ""),
    ("He was admitted with ", "heart failure", ", which had been known for years."),
    ("Patient se plaignant de ", "mal de tête", " depuis trois jours " * 8),
    ("患者は", "糖尿病", "と診断された。"),
    ("abnormality of the " * 30, "GERD", ""),
]
CHECKED_CONCEPTS = ["Heart failure", "Headache", "инфаркт миокарда", "Diabetes mellitus, type 2 " * 4, "reflux " * 300]
"""Mentions in their context, and concepts, short and long, whose pairs the graphs are compared with torch on."""


def export_reranker(
    model: str | Path, folder: str | Path, *, int8: bool = True, overwrite: bool = False
) -> dict[str, Any]:
    """Write a folder that `type: onnx` reads: graphs, tokenizer, and what to feed them.

    Args:
        model: folder that `xnorm train` wrote.
        folder: where to write; it appears whole or not at all.
        int8: write the quantised graph too.
        overwrite: replace an exported reranker that stands there.

    Returns:
        What its manifest says. `max_difference` is the largest between logits of the fp32 graph and of torch;
        `int8_max_difference` and `int8_rank_correlation` compare the int8 graph with the fp32 one.

    Raises:
        ArtifactError: `model` is none, or `folder` exists and may not be replaced, or cannot be written.
        ConfigError: the model cannot be loaded, or has no fast tokenizer.
        MissingExtraError: a package of the extras `torch` or `onnx` is not installed.
        XnormError: the exported logits differ from those of torch.
    """
    model, folder = Path(model), Path(folder)
    trained = open_folder(model, kind=TRAINED)
    require("torch", extra="torch", what=WHAT)
    for package in ("onnx", "onnxscript", "onnxruntime", "tokenizers"):
        require(package, extra="onnx", what=WHAT)
    check_writable(folder, kind=KIND, overwrite=overwrite)
    pairs = PairsConfig.model_validate(trained["pairs"])
    exact = open_model(str(model / MODEL), pairs, device="cpu", dtype="float32")
    calibration = validate(Calibration, trained["calibration"], where=f"{model}/manifest.json")
    card = _card(exact, model, pairs, calibration, int(trained.get("top", USUAL_TOP)))
    about = {
        "source": {
            key: trained.get(key) for key in ("name", "about", "xnorm_version", "validation", "trained", "stopped")
        },
        **card.model_dump(mode="json"),
    }
    with write_folder(folder, kind=KIND, overwrite=overwrite, about=about) as new:
        exact.tokenizer.backend_tokenizer.save(str(new / TOKENIZER))
        _write_graph(exact, card, new / MODEL_FILES["fp32"])
        about |= _check_fp32(exact, card, new, model)
        if int8:
            write_int8(new / MODEL_FILES["fp32"], new / MODEL_FILES["int8"])
            about |= _check_int8(exact, card, new)
    return about


def _card(model: Any, source: Path, pairs: PairsConfig, calibration: Calibration, top: int) -> RerankerCard:
    tokenizer = model.tokenizer
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        raise ConfigError(f"reranker {source}: cannot be exported, since it has no fast tokenizer with a padding token")
    given = tokenizer("a", "b")  # what torch is fed
    return RerankerCard(
        pairs=pairs,
        calibration=calibration,
        top=top,
        max_length=token_limit(tokenizer, pairs),
        pad_id=tokenizer.pad_token_id,
        inputs=[name for name in INPUTS if name in given],
    )


def _write_graph(model: Any, card: RerankerCard, path: Path) -> None:
    """Trace the transformer with free numbers of pairs and tokens."""
    torch = require("torch", extra="torch", what=WHAT)

    def forward(self: Any, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        return self.inner(input_ids=input_ids, attention_mask=attention_mask, **types).logits[:, 0]

    single = type("Single", (torch.nn.Module,), {"forward": forward})()
    single.inner = model[0].model
    size = sum(p.numel() * p.element_size() for p in single.parameters())
    free = torch.export.Dim.DYNAMIC
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, card.pad_id]])
    example = {"input_ids": ids, "attention_mask": (ids != card.pad_id).long(), "token_type_ids": torch.zeros_like(ids)}
    with quiet_exporter():
        torch.onnx.export(
            single.eval(),
            (),
            str(path),
            kwargs={name: example[name] for name in card.inputs},
            input_names=card.inputs,
            output_names=["logits"],
            dynamic_shapes={name: {0: free, 1: free} for name in card.inputs},
            dynamo=True,
            external_data=size > PROTOBUF_LIMIT,
            verbose=False,
        )


def _pairs(model: Any, card: RerankerCard) -> list[tuple[str, str]]:
    """Return pairs of texts as the model reads them."""
    start, end = card.pairs.tokens[:2]
    texts = [f"{left} {start} {text} {end} {right}" for left, text, right in CHECKED_MENTIONS]
    return [(text, concept) for text in fit(texts, model.tokenizer, card.pairs) for concept in CHECKED_CONCEPTS]


def _check_fp32(model: Any, card: RerankerCard, folder: Path, source: Path) -> dict[str, float]:
    torch = require("torch", extra="torch", what=WHAT)
    pairs = _pairs(model, card)
    wanted = model.predict([list(p) for p in pairs], activation_fn=torch.nn.Identity(), show_progress_bar=False)
    found = OnnxPairModel(folder, card, MODEL_FILES["fp32"], batch_size=3).predict(pairs)
    difference = float(np.abs(found - wanted.reshape(-1)).max())
    if not difference <= MAX_DIFFERENCE:
        raise XnormError(
            f"reranker {source}: its ONNX graph gives other scores than torch (they differ by up to {difference:.2g}, "
            f"expected at most {MAX_DIFFERENCE:g}); use type: cross_encoder instead"
        )
    return {"max_difference": difference}


def _check_int8(model: Any, card: RerankerCard, folder: Path) -> dict[str, float]:
    pairs = _pairs(model, card)
    exact, rough = (OnnxPairModel(folder, card, MODEL_FILES[p], batch_size=3).predict(pairs) for p in ("fp32", "int8"))
    return {
        "int8_max_difference": float(np.abs(exact - rough).max()),
        "int8_rank_correlation": round(_rank_correlation(exact, rough), 6),
    }


def _rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's coefficient of numbers that are hardly ever equal."""
    x, y = (np.argsort(np.argsort(own)) - (len(own) - 1) / 2 for own in (a, b))
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
