"""Transformers of the Hugging Face kind: sentence-transformers and plain transformers models, on a hub or in a folder.

Loaded through `sentence-transformers` (Reimers and Gurevych 2019); weights from safetensors only, and no code that
comes with a model is run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from xnorm.artifact import sha256_file
from xnorm.encoders.base import BESIDE_THE_MODEL, Encoder, EncoderConfig, Vectors, unit_rows
from xnorm.errors import ConfigError
from xnorm.loading import first_device, position_limit, quiet, random_weights
from xnorm.registry import require
from xnorm.text import encodable

__all__ = ["SentenceTransformerConfig", "SentenceTransformerEncoder"]

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model")
READ_BY_MODEL = {".json", ".txt", ".model", ".safetensors"}
"""Suffixes of the files that a model is made of; all others (README, training state) do not change its vectors, nor do
`BESIDE_THE_MODEL`."""


class SentenceTransformerConfig(EncoderConfig):
    """Settings of a transformer encoder."""

    type: str = "sentence_transformer"
    model: str
    """Hugging Face name (`ORG/NAME`) or folder; a relative folder starts with `./`."""
    revision: str | None = None
    """Branch, tag or commit on the hub; default: what the local cache holds as `main`, else the newest."""
    pooling: Literal["cls", "mean", "max"] | None = None
    """How token vectors become one; default: what the model's own files say, and `mean` where they say nothing."""
    max_length: int | None = Field(default=None, ge=3)
    """Tokens of a text that are read, the special ones included; default: the model's own limit."""
    prefix: str = ""
    """Put before each name, as `query: ` for the e5 family."""
    mention_prefix: str | None = None
    """Put before each mention; default: the same as `prefix`."""
    dimensions: int | None = Field(default=None, ge=1)
    """Keep so many of a vector's first numbers, for models trained to be cut (Matryoshka); default: all."""
    batch_size: int = Field(default=128, ge=1)
    """Texts a forward pass."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the first accelerator there is."""
    dtype: Literal["float32", "float16", "bfloat16", "auto"] = "float32"
    """Number format of the weights; `auto`: half precision on an accelerator, float32 on a processor. An index made
    with `auto` on a GPU does not open on a machine without one, since its vectors differ."""


class SentenceTransformerEncoder(Encoder):
    """Any transformer. Vectors come in float32 whatever `dtype` the weights have."""

    config_class: ClassVar[type[EncoderConfig]] = SentenceTransformerConfig
    config: SentenceTransformerConfig

    @property
    def identity(self) -> str:
        """The model's commit on the hub or the hash of its files, so that a folder may move; loads no weights."""
        c = self.config
        view = [c.pooling, c.max_length, c.prefix, self.mention_prefix, self._dtype]
        view += [] if c.dimensions is None else [c.dimensions]
        return f"sentence_transformer/{self._source}/{json.dumps(view, ensure_ascii=False)}"

    @property
    def dim(self) -> int:
        return _dim(self.model)

    @cached_property
    def model(self) -> Any:
        """The loaded `SentenceTransformer`, set up as the config says."""
        torch = require("torch", extra="torch", what=self._what)
        require("transformers", extra="torch", what=self._what)
        library = require("sentence_transformers", extra="torch", what=self._what)
        folder = self._folder if self._folder else self._download()
        _check_folder(folder, self.config.model)
        try:
            with quiet() as heard:
                model = library.SentenceTransformer(
                    str(folder),
                    device=self._device,
                    local_files_only=True,
                    trust_remote_code=False,
                    model_kwargs={"use_safetensors": True},
                ).float()
        except Exception as e:  # four libraries are at work, and tokenizers raises bare Exception
            raise ConfigError(f"model {self.config.model}: cannot be loaded: {_first_line(e)}") from e
        if made_up := random_weights(heard):
            raise ConfigError(f"model {self.config.model}: its files lack weights ({', '.join(made_up[:3])}, ...)")
        for parameter in model.parameters() if self._dtype != "float32" else ():
            # buffers stay in float32: rotary frequencies would lose positions
            parameter.data = parameter.data.to(getattr(torch, self._dtype))
        # only the prefixes of the config are put before a text
        model.default_prompt_name = None
        self._set_pooling(model)
        self._set_max_length(model)
        self._set_dimensions(model)
        return model.eval()

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, self.config.prefix)

    def encode_mentions(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, self.mention_prefix)

    def _encode(self, texts: Sequence[str], prefix: str) -> Vectors:
        if not texts:
            return np.empty((0, self.dim), np.float32)
        prefixed = [encodable(prefix + text) for text in texts]
        vectors: Vectors = np.array(
            self.model.encode(
                prefixed, batch_size=self.config.batch_size, show_progress_bar=False, convert_to_numpy=True
            ),
            np.float32,
        )
        what, fix = f"model {self.config.model}", "use dtype: float32, or check the model's weights"
        return unit_rows(vectors, texts, what=what, fix=fix, detail=f" (dtype {self._dtype})")

    @property
    def _what(self) -> str:
        return f"encoder sentence_transformer ({self.config.model})"

    @property
    def mention_prefix(self) -> str:
        """What is put before a mention."""
        c = self.config
        return c.prefix if c.mention_prefix is None else c.mention_prefix

    @cached_property
    def _device(self) -> str:
        return first_device(self.config.device, self._what)

    @cached_property
    def _dtype(self) -> str:
        if self.config.dtype != "auto":
            return self.config.dtype
        if self._device.startswith("cuda"):
            torch = require("torch", extra="torch", what=self._what)
            return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return "float32" if self._device == "cpu" else "float16"

    @cached_property
    def _folder(self) -> Path | None:
        """The model's folder, None for a name on the hub."""
        name = self.config.model
        folder = Path(name).expanduser()
        if folder.is_dir():
            if self.config.revision is not None:
                raise ConfigError(f"model {name}: is a folder, which has no revision; remove `revision`")
            return folder
        if name.startswith(("/", "~", ".")) or name.count("/") != 1:
            raise ConfigError(f"model {name}: no such folder, and not a Hugging Face name (ORG/NAME)")
        return None

    @cached_property
    def _source(self) -> str:
        if self._folder is None:
            return f"{self.config.model}@{self._commit}"
        return f"sha256:{_fingerprint(self._folder)[:32]}"

    @cached_property
    def _commit(self) -> str:
        """The commit that the revision stands for, from the local cache if it is there."""
        hub = require("huggingface_hub", extra="torch", what=self._what)
        name, revision = self.config.model, self.config.revision
        try:
            path = hub.try_to_load_from_cache(name, "config.json", revision=revision)
            path = path if isinstance(path, str) else hub.hf_hub_download(name, "config.json", revision=revision)
        except Exception as e:  # network, login and cache errors share no base class
            raise self._not_available(e) from e
        return Path(path).parent.name

    def _download(self) -> Path:
        hub = require("huggingface_hub", extra="torch", what=self._what)
        try:
            return Path(
                hub.snapshot_download(
                    self.config.model,
                    revision=self._commit,
                    allow_patterns=[f"*{suffix}" for suffix in sorted(READ_BY_MODEL)],
                    ignore_patterns=["onnx/*", "openvino/*", "*checkpoint-*"],
                )
            )
        except ConfigError:
            raise
        except Exception as e:  # as above
            raise self._not_available(e) from e

    def _not_available(self, error: Exception) -> ConfigError:
        revision = f" at revision {self.config.revision}" if self.config.revision else ""
        return ConfigError(
            f"model {self.config.model}{revision}: not in the local cache and cannot be downloaded "
            f"({_first_line(error)}); check the name and the network, or give a folder"
        )

    def _set_pooling(self, model: Any) -> None:
        if self.config.pooling is None:
            return
        for i, module in enumerate(model):
            if type(module).__name__ == "Pooling":
                dim = getattr(module, "embedding_dimension", None) or module.word_embedding_dimension
                model[i] = type(module)(dim, pooling_mode=self.config.pooling)
                return
        raise ConfigError(f"model {self.config.model}: does not pool token vectors; remove `pooling`")

    def _set_max_length(self, model: Any) -> None:
        transformer = getattr(model[0], "auto_model", None)
        wanted, limit = self.config.max_length, None if transformer is None else position_limit(transformer)
        if wanted is not None and limit is not None and wanted > limit:
            raise ConfigError(f"model {self.config.model}: reads up to {limit} tokens, found max_length {wanted}")
        length = wanted or model.max_seq_length
        if length is not None and limit is not None:
            length = min(length, limit)
        if length is not None and length != model.max_seq_length:
            model.max_seq_length = length

    def _set_dimensions(self, model: Any) -> None:
        wanted = self.config.dimensions
        if wanted is None:
            return
        if wanted > _dim(model):
            raise ConfigError(f"model {self.config.model}: has {_dim(model)} dimensions, found {wanted}")
        model.truncate_dim = wanted


def _dim(model: Any) -> int:
    # renamed in sentence-transformers 5.5
    new = getattr(model, "get_embedding_dimension", None)
    return int(new() if new else model.get_sentence_embedding_dimension())


def _modules(folder: Path, name: str) -> list[dict[str, str]]:
    """Return the entries of modules.json, none for a plain transformers folder."""
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        modules = [{"path": str(m["path"]), "type": str(m["type"])} for m in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise ConfigError(f"model {name}: its modules.json cannot be read") from None
    for module in modules:
        # the library imports whatever stands here, from the folder in older releases
        if not module["type"].startswith("sentence_transformers."):
            raise ConfigError(f"model {name}: needs code of its own ({module['type']}), which xnorm does not run")
        if Path(module["path"]).is_absolute() or ".." in Path(module["path"]).parts:
            raise ConfigError(f"model {name}: its modules.json leads outside of the folder ({module['path']})")
    return modules


def _check_folder(folder: Path, name: str) -> None:
    """Say what a folder lacks; the libraries answer with pages, or with an empty tokenizer."""
    modules = _modules(folder, name)
    first = folder / modules[0]["path"] if modules else folder
    if modules and not modules[0]["type"].endswith("Transformer"):
        return
    if not (first / "config.json").is_file():
        raise ConfigError(f"model {name}: the folder {first} has no config.json")
    if not any((place / file).is_file() for place in (first, folder) for file in TOKENIZER_FILES):
        raise ConfigError(f"model {name}: the folder {first} has no tokenizer ({', '.join(TOKENIZER_FILES)})")
    if not any(first.glob("*.safetensors")):
        convert = f"from sentence_transformers import SentenceTransformer as S; S('{name}').save('FOLDER')"
        raise ConfigError(
            f"model {name}: the folder {first} has no weights as .safetensors, and pickled ones can run code; if you "
            f'trust their source, convert them by python -c "{convert}" and set model: ./FOLDER'
        )


def _fingerprint(folder: Path) -> str:
    """Return a hash of the files that the vectors depend on, by their names inside the folder and their content."""
    places = {folder} | {folder / m["path"] for m in _modules(folder, str(folder))}
    files = {p for place in places if place.is_dir() for p in place.iterdir()} - {folder / n for n in BESIDE_THE_MODEL}
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.is_file() and path.suffix in READ_BY_MODEL and not path.name.startswith("."):
            digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    return text[:300] or type(error).__name__
