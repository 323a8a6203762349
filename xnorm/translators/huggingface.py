"""Translation models of the Hugging Face kind: Marian (OPUS-MT), M2M100, NLLB, mBART, T5, in a folder or on the hub.

Loaded through `transformers`; weights from safetensors only, and no code that comes with a model is run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from xnorm.errors import ConfigError
from xnorm.loading import files_checksum, first_device, quiet, random_weights
from xnorm.registry import require
from xnorm.text import encodable, main_lang
from xnorm.translators.base import Translator, TranslatorConfig

__all__ = ["HuggingfaceConfig", "HuggingfaceTranslator"]

_FILES = (".json", ".safetensors", ".spm", ".model", ".txt")
_FLORES = {
    "ar": "arb_Arab", "bg": "bul_Cyrl", "ca": "cat_Latn", "cs": "ces_Latn", "da": "dan_Latn", "de": "deu_Latn",
    "el": "ell_Grek", "en": "eng_Latn", "es": "spa_Latn", "et": "est_Latn", "eu": "eus_Latn", "fa": "pes_Arab",
    "fi": "fin_Latn", "fr": "fra_Latn", "he": "heb_Hebr", "hi": "hin_Deva", "hr": "hrv_Latn", "hu": "hun_Latn",
    "id": "ind_Latn", "it": "ita_Latn", "ja": "jpn_Jpan", "ko": "kor_Hang", "lt": "lit_Latn", "lv": "lvs_Latn",
    "nl": "nld_Latn", "no": "nob_Latn", "pl": "pol_Latn", "pt": "por_Latn", "ro": "ron_Latn", "ru": "rus_Cyrl",
    "sk": "slk_Latn", "sl": "slv_Latn", "sr": "srp_Cyrl", "sv": "swe_Latn", "th": "tha_Thai", "tr": "tur_Latn",
    "uk": "ukr_Cyrl", "vi": "vie_Latn", "zh": "zho_Hans",
}  # fmt: skip
"""Language -> its code in FLORES-200, as NLLB writes it."""


class HuggingfaceConfig(TranslatorConfig):
    """Which model translates, and how."""

    type: str = "huggingface"
    model: str
    """Hugging Face name (`Helsinki-NLP/opus-mt-en-es`) or folder; a relative folder starts with `./`."""
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    """With a name on the hub, needed: the commit, 40 hexadecimal digits, so that a run can be repeated."""
    codes: dict[str, str] = Field(default_factory=dict)
    """Language code -> what the model calls it, where that is not found by itself: `{zh: zho_Hant}`,
    `{pt: ">>pt_br<<"}`."""
    prefix: str = ""
    """Put before each text, as T5 wants it: `translate English to Spanish: `."""
    beams: int = Field(default=4, ge=1, le=64)
    """Beams of the search; 1 is greedy."""
    max_length: int = Field(default=512, ge=8)
    """Tokens of a text, and of a translation; a longer text is not translated, and counted."""
    batch_size: int = Field(default=16, ge=1)
    """Texts at a time."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")
    """`cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the first accelerator there is."""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Number format of the weights; `auto` is bfloat16 on a GPU, float32 elsewhere."""

    @model_validator(mode="after")
    def _check_revision(self) -> HuggingfaceConfig:
        if not self.is_folder and self.revision is None:
            raise ValueError(
                f"model: there is no folder '{self.model}'; a name on the hub needs its revision, a commit"
            )
        if self.is_folder and self.revision is not None:
            raise ValueError(f"revision: '{self.model}' is a folder, which has none")
        return self

    @property
    def is_folder(self) -> bool:
        """Whether the model is a folder."""
        return Path(self.model).expanduser().is_dir()


class HuggingfaceTranslator(Translator):
    """Beam search without sampling, so that the same text always has the same translation."""

    config_class: ClassVar[type[TranslatorConfig]] = HuggingfaceConfig
    config: HuggingfaceConfig

    def __init__(self, config: TranslatorConfig) -> None:
        super().__init__(config)
        self._counts: Counter[str] = Counter()

    @cached_property
    def identity(self) -> str:
        c = self.config
        source = files_checksum(self._folder, _FILES) if c.is_folder else f"{c.model}@{c.revision}"
        view = [c.codes, c.prefix, c.beams, c.max_length, self._dtype]
        return f"huggingface/{source}/{json.dumps(view, sort_keys=True)}"

    def about(self) -> dict[str, Any]:
        """Return how many texts were translated, were too long, and have a translation that was cut off."""
        return {"counts": dict(self._counts)}

    def translate(self, texts: Sequence[str], source: str, target: str) -> list[str]:
        """Return the translations; an empty one of a text that is too long.

        Raises:
            ConfigError: the model cannot be loaded, is no translation model, or does not know a language.
            MissingExtraError: without the extra `torch`.
        """
        prefix, options = self._languages(source, target)
        size = self.config.batch_size
        found = [""] * len(texts)
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            batch = [encodable(prefix + texts[n]) for n in chosen]
            for n, text in zip(chosen, self._generate(batch, options), strict=True):
                found[n] = text
        return found

    def _generate(self, texts: Sequence[str], options: dict[str, Any]) -> list[str]:
        torch = require("torch", extra="torch", what=self._what)
        limit = self.config.max_length
        lengths = [len(ids) for ids in self.tokenizer(list(texts))["input_ids"]]
        fitting = [n for n, length in enumerate(lengths) if length <= limit]
        self._counts["texts that are too long"] += len(texts) - len(fitting)
        self._counts["texts translated"] += len(fitting)
        found = [""] * len(texts)
        if not fitting:
            return found
        tokens = self.tokenizer([texts[n] for n in fitting], return_tensors="pt", padding=True)
        known = {k: v.to(self.model.device) for k, v in tokens.items() if k in ("input_ids", "attention_mask")}
        with torch.inference_mode(), quiet():
            out = self.model.generate(
                **known, num_beams=self.config.beams, do_sample=False, max_length=None, max_new_tokens=limit, **options
            )
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._counts["translations cut off"] += sum(not set(row[1:]) & set(ends) for row in out.tolist())
        texts_out: list[str] = self.tokenizer.batch_decode(out, skip_special_tokens=True)
        for n, text in zip(fitting, texts_out, strict=True):
            found[n] = encodable(text.strip())
        return found

    def _languages(self, source: str, target: str) -> tuple[str, dict[str, Any]]:
        """Tell the tokenizer the languages; return what goes before a text, and options of the search."""
        tokenizer, codes = self.tokenizer, self.config.codes
        if hasattr(tokenizer, "src_lang"):  # M2M100, NLLB, mBART
            tokenizer.src_lang = self._code(source)[0]
            return self.config.prefix, {"forced_bos_token_id": self._code(target)[1]}
        known = [t for t in getattr(tokenizer, "supported_language_codes", ()) or () if t.startswith(">>")]
        if target in codes:
            return f"{codes[target]} {self.config.prefix}", {}
        if not known:  # a model for one pair of languages
            return self.config.prefix, {}
        wanted = main_lang(target)
        three = _FLORES.get(wanted, "")[:3]
        for token in known:
            if token.strip("><").partition("_")[0] in (wanted, three):
                return f"{token} {self.config.prefix}", {}
        raise self._no_language(target, [t.strip("><") for t in known])

    def _code(self, lang: str) -> tuple[str, int]:
        """Return what the model calls a language, and the number of that token.

        Raises:
            ConfigError: it does not know the language.
        """
        tokenizer, main = self.tokenizer, main_lang(lang)
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        wanted = self.config.codes.get(lang) or self.config.codes.get(main)
        forms = [wanted] if wanted else [lang, main, _FLORES.get(main, lang)]
        for form in forms:
            if form and (number := vocabulary.get(f"__{form}__", vocabulary.get(form) if "_" in form else None)):
                return form, number
        mbart = sorted(
            t for t in vocabulary if t.startswith(f"{main}_") and len(t) == len(main) + 3 and t[-1].isupper()
        )
        if mbart and not wanted:
            return mbart[0], vocabulary[mbart[0]]
        raise self._no_language(lang, [t for t in vocabulary if t.startswith("__") or "_Latn" in t or "_XX" in t])

    def _no_language(self, lang: str, known: Sequence[str]) -> ConfigError:
        listed = ", ".join(sorted(known)[:8])
        return ConfigError(f"{self._what}: does not know the language '{lang}'; set `codes` (it knows {listed}, ...)")

    @property
    def _what(self) -> str:
        return f"translator huggingface ({self.config.model})"

    @property
    def _folder(self) -> Path:
        return Path(self.config.model).expanduser()

    @cached_property
    def _device(self) -> str:
        return first_device(self.config.device, self._what)

    @cached_property
    def _dtype(self) -> str:
        if self.config.dtype != "auto":
            return self.config.dtype
        return "bfloat16" if self._device.startswith("cuda") else "float32"

    @cached_property
    def tokenizer(self) -> Any:
        """The loaded tokenizer."""
        return self._loaded("AutoTokenizer")

    @cached_property
    def model(self) -> Any:
        """The loaded model, on its device."""
        torch = require("torch", extra="torch", what=self._what)
        options = {"use_safetensors": True, "dtype": getattr(torch, self._dtype)}
        return self._loaded("AutoModelForSeq2SeqLM", **options).to(self._device).eval()

    def _loaded(self, kind: str, **options: Any) -> Any:
        library: Any = require("transformers", extra="torch", what=self._what)
        source = str(self._folder) if self.config.is_folder else self.config.model
        try:
            with quiet() as heard:
                found = getattr(library, kind).from_pretrained(
                    source, revision=self.config.revision or "main", trust_remote_code=False, **options
                )
        except Exception as e:  # several libraries are at work
            reason = " ".join(str(e).split())[:300] or type(e).__name__
            if "entencepiece" in reason:
                reason = "its tokenizer needs a package that is not installed: pip install sentencepiece"
            raise ConfigError(f"{self._what}: cannot be loaded: {reason}") from e
        if made_up := random_weights(heard):
            raise ConfigError(f"{self._what}: its files lack weights ({', '.join(made_up[:3])}, ...)")
        return found
