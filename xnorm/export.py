"""Export a transformer encoder to ONNX, for machines without torch: `type: onnx`.

The graph takes `input_ids` and `attention_mask` (texts, tokens) and returns `vectors` (texts, dim), pooled and of unit
length. The int8 graph quantises each row of the activations by itself. The usual dynamic quantisation takes one scale
for a whole batch, so that a vector depends on the texts beside it: by a cosine of 0.993 on multilingual-e5-small.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xnorm.artifact import check_writable, write_folder
from xnorm.config import ComponentConfig
from xnorm.encoders.onnx import CARD, MODEL_FILES, TOKENIZER, EncoderCard, OnnxModel
from xnorm.encoders.sentence_transformer import SentenceTransformerConfig, SentenceTransformerEncoder
from xnorm.errors import ConfigError, XnormError
from xnorm.registry import require

__all__ = ["export_encoder", "find_encoder"]

WHAT = "the export to ONNX"
MAX_DIFFERENCE = 1e-4
"""Largest difference allowed between a number of the fp32 graph and of torch."""
MIN_COSINE = 0.97
"""Smallest cosine allowed between vectors of the int8 and the fp32 graph."""
PROTOBUF_LIMIT = 1_800_000_000
"""Bytes of weights above which they go into a file of their own, as a protobuf message holds 2 GB at most."""
WEIGHT_STEPS = 64
"""Largest weight in int8. 7 bits and not 8, as kernels of processors without VNNI add pairs of products in 16 bits."""
CHECKED = [
    "Herzinsuffizienz",
    "  mal de tête ",
    "Gastro-oesophageal reflux disease (GERD), with oesophagitis",
    "糖尿病",
    "инфаркт миокарда",
    "ΔF508",
    "abnormality of the " * 8,
    "فشل القلب",
]
"""Texts, short and long, cased and not, on which the graphs are compared with torch."""


def export_encoder(
    encoder: SentenceTransformerConfig | SentenceTransformerEncoder,
    folder: str | Path,
    *,
    int8: bool = True,
    overwrite: bool = False,
) -> None:
    """Write a folder that `type: onnx` reads: graphs, tokenizer, how texts are prepared, and the source's identity.

    Args:
        encoder: what to export; its vectors are those of dtype float32 whatever its own is.
        folder: where to write; it appears whole or not at all.
        int8: write the quantised graph too.
        overwrite: replace an exported encoder that stands there.

    Raises:
        ArtifactError: `folder` exists and may not be replaced, or cannot be written.
        ConfigError: the model cannot be loaded, or has no fast tokenizer.
        MissingExtraError: a package of the extras `torch` or `onnx` is not installed.
        XnormError: the exported vectors differ from those of torch.
    """
    config = encoder if isinstance(encoder, SentenceTransformerConfig) else encoder.config
    require("torch", extra="torch", what=WHAT)
    for package in ("onnx", "onnxscript", "onnxruntime", "tokenizers"):
        require(package, extra="onnx", what=WHAT)
    check_writable(Path(folder), kind="encoder", overwrite=overwrite)
    exact = SentenceTransformerEncoder(config.model_copy(update={"dtype": "float32", "device": "cpu"}))
    card = _card(exact)
    about: dict[str, Any] = {"encoder": card.source}
    with write_folder(Path(folder), kind="encoder", overwrite=overwrite, about=about) as new:
        exact.model.tokenizer.backend_tokenizer.save(str(new / TOKENIZER))
        (new / CARD).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _write_graph(exact.model, card, new / MODEL_FILES["fp32"])
        about["max_difference"] = _check_fp32(exact, card, new)
        if int8:
            write_int8(new / MODEL_FILES["fp32"], new / MODEL_FILES["int8"])
            about["int8_min_cosine"] = _check_int8(card, new)


def find_encoder(config: ComponentConfig) -> SentenceTransformerConfig:
    """Return the transformer encoder of a generator, or of the first member of an ensemble that has one.

    Raises:
        ConfigError: there is none.
    """
    todo: list[ComponentConfig] = [config]
    while todo:
        part = todo.pop(0)
        if isinstance(part, SentenceTransformerConfig):
            return part
        todo.extend(getattr(part, "members", {}).values())
        todo.extend([part.encoder] if hasattr(part, "encoder") else [])
    raise ConfigError("the config has no encoder of type sentence_transformer, which is what can be exported")


def _card(encoder: SentenceTransformerEncoder) -> EncoderCard:
    tokenizer = encoder.model.tokenizer
    if not getattr(tokenizer, "is_fast", False) or tokenizer.pad_token_id is None:
        raise ConfigError(
            f"model {encoder.config.model}: cannot be exported, since it has no fast tokenizer with a padding token"
        )
    return EncoderCard(
        source=encoder.identity,
        dim=encoder.dim,
        max_length=encoder.model.max_seq_length or 512,
        pad_id=tokenizer.pad_token_id,
        lower=bool(getattr(encoder.model[0], "do_lower_case", False)),
        prefix=encoder.config.prefix,
        mention_prefix=encoder.mention_prefix,
    )


def _write_graph(model: Any, card: EncoderCard, path: Path) -> None:
    """Trace a SentenceTransformer, all of its modules, with free numbers of texts and tokens."""
    torch = require("torch", extra="torch", what=WHAT)

    def forward(self: Any, input_ids: Any, attention_mask: Any) -> Any:
        vectors = self.inner({"input_ids": input_ids, "attention_mask": attention_mask})["sentence_embedding"]
        # a model may be set to give fewer dimensions than it has
        return torch.nn.functional.normalize(vectors[:, : card.dim], dim=1)

    pooled = type("Pooled", (torch.nn.Module,), {"forward": forward})()
    pooled.inner = model
    size = sum(p.numel() * p.element_size() for p in model.parameters())
    free = torch.export.Dim.DYNAMIC
    inputs = ("input_ids", "attention_mask")
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, card.pad_id]])
    with quiet_exporter():
        torch.onnx.export(
            pooled.eval(),
            (),
            str(path),
            kwargs={"input_ids": ids, "attention_mask": (ids != card.pad_id).long()},
            input_names=inputs,
            output_names=["vectors"],
            dynamic_shapes={name: {0: free, 1: free} for name in inputs},
            dynamo=True,
            external_data=size > PROTOBUF_LIMIT,
            verbose=False,
        )


def _check_fp32(encoder: SentenceTransformerEncoder, card: EncoderCard, folder: Path) -> float:
    found = OnnxModel(folder, card, MODEL_FILES["fp32"]).encode([card.prefix + text for text in CHECKED], 3)
    difference = float(np.abs(found - encoder.encode(CHECKED)).max())
    if not difference <= MAX_DIFFERENCE:
        raise XnormError(
            f"model {encoder.config.model}: its ONNX graph gives other vectors than torch (they differ by up to "
            f"{difference:.2g}, expected at most {MAX_DIFFERENCE:g}); use type: sentence_transformer instead"
        )
    return difference


def _check_int8(card: EncoderCard, folder: Path) -> float:
    exact, rough = (
        OnnxModel(folder, card, MODEL_FILES[precision]).encode([card.prefix + text for text in CHECKED], 3)
        for precision in ("fp32", "int8")
    )
    cosine = float((exact * rough).sum(axis=1).min())
    if not cosine >= MIN_COSINE:
        raise XnormError(
            f"{card.source}: its vectors in int8 have a cosine of {cosine:.3f} to those in fp32, expected {MIN_COSINE} "
            "or more; export it with int8=False"
        )
    return cosine


def write_int8(source: Path, target: Path) -> None:
    """Quantise products with constant matrices, and embedding tables, in a graph of fp32."""
    onnx = require("onnx", extra="onnx", what=WHAT)
    model = onnx.load(str(source))
    quantised = _Int8(onnx, model.graph)
    quantised.rewrite()
    onnx.save(model, str(target))


class _Int8:
    """Rewrites one graph in place.

    `y = x @ w` becomes `y = (x' @ w') * sx * sw`: `w'` in int8 with a scale for each column, `x'` in uint8 around 128
    with a scale for each row, which holds one token. An embedding table gets a scale for each of its rows.
    """

    def __init__(self, onnx: Any, graph: Any) -> None:
        self.onnx = onnx
        self.graph = graph
        self.weights = {
            i.name: i for i in graph.initializer if len(i.dims) == 2 and i.data_type == onnx.TensorProto.FLOAT
        }
        self.nodes: list[Any] = []
        self.made: set[str] = set()

    def rewrite(self) -> None:
        nodes = list(self.graph.node)
        for node in nodes:
            if node.op_type == "MatMul" and node.input[1] in self.weights:
                self._matmul(node.input[0], node.input[1], node.output[0])
            elif node.op_type == "Gather" and node.input[0] in self.weights:
                self._gather(node.input[0], node.input[1], node.output[0])
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input} | {o.name for o in self.graph.output}
        kept = [i for i in self.graph.initializer if i.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        # shapes and types inside the graph are inferred again
        del self.graph.value_info[:]

    def _matmul(self, x: str, w: str, y: str) -> None:
        if f"{x}/q" not in self.made:
            self._quantise_rows(x)
        self._quantise_weight(w, axis=0, steps=WEIGHT_STEPS)
        self._node("MatMulInteger", [f"{x}/q", f"{w}/q", self._constant("int8/128", np.uint8(128))], f"{y}/int")
        self._node("Cast", [f"{y}/int"], f"{y}/float", to=self.onnx.TensorProto.FLOAT)
        self._node("Mul", [f"{y}/float", f"{x}/scale"], f"{y}/rows")
        self._node("Mul", [f"{y}/rows", f"{w}/scale"], y)

    def _gather(self, table: str, rows: str, y: str) -> None:
        self._quantise_weight(table, axis=1, steps=127)
        self._node("Gather", [f"{table}/q", rows], f"{y}/int")
        self._node("Gather", [f"{table}/scale", rows], f"{y}/scale")
        self._node("Cast", [f"{y}/int"], f"{y}/float", to=self.onnx.TensorProto.FLOAT)
        self._node("Mul", [f"{y}/float", f"{y}/scale"], y)

    def _quantise_rows(self, x: str) -> None:
        """x' = floor(x * 127 / max|x| + 128.5), the maximum over the last axis; sx = max|x| / 127."""
        self.made.add(f"{x}/q")
        self._node("Abs", [x], f"{x}/abs")
        self._node("ReduceMax", [f"{x}/abs", self._constant("int8/last", np.array([-1]))], f"{x}/most", keepdims=1)
        self._node("Max", [f"{x}/most", self._constant("int8/tiny", np.float32(1e-12))], f"{x}/max")
        self._node("Mul", [f"{x}/max", self._constant("int8/step", np.float32(1 / 127))], f"{x}/scale")
        self._node("Div", [self._constant("int8/steps", np.float32(127)), f"{x}/max"], f"{x}/inverse")
        self._node("Mul", [x, f"{x}/inverse"], f"{x}/stretched")
        # a cast cuts off decimals, which rounds after half a step is added; the operator Round is slow
        self._node("Add", [f"{x}/stretched", self._constant("int8/128.5", np.float32(128.5))], f"{x}/shifted")
        self._node("Cast", [f"{x}/shifted"], f"{x}/q", to=self.onnx.TensorProto.UINT8)

    def _quantise_weight(self, name: str, *, axis: int, steps: int) -> None:
        if f"{name}/q" in self.made:
            return
        weight = self.onnx.numpy_helper.to_array(self.weights[name])
        scale = np.maximum(np.abs(weight).max(axis=axis, keepdims=True), 1e-12) / steps
        self._constant(f"{name}/q", np.round(weight / scale).astype(np.int8))
        # a scale for each column broadcasts along the last axis, one for each row is gathered like the row
        self._constant(f"{name}/scale", (scale[0] if axis == 0 else scale).astype(np.float32))

    def _constant(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        if name not in self.made:
            self.made.add(name)
            self.graph.initializer.append(self.onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _node(self, operator: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **attributes))


@contextlib.contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep the exporter's warnings, about packages that are not needed and its own parts, from the user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
