"""Translators of our own making: ones that do what good models do, and what bad ones do."""

from __future__ import annotations

import random
import re

from xnorm.translators.base import Translator, TranslatorConfig

_PLAIN = re.compile(r"(\[/?\d+\]|</?m\d+>|\{/?\d+\})")
_WORD = re.compile(r"[^\W\d_]+")


def other(word):
    """Return a word of the invented language that the good translators write."""
    return "".join(chr((ord(c) - 97 + 7) % 26 + 97) if c.isascii() and c.isalpha() else c for c in word.lower()) + "o"


def words_only(text, change):
    """Return a text with its words changed, and its markers as they are."""
    return "".join(p if _PLAIN.fullmatch(p) else _WORD.sub(lambda m: change(m[0]), p) for p in _PLAIN.split(text))


def tree(text):
    """Return a marked text as a list of words and (opening, list, closing)."""
    stack = [[]]
    for part in _PLAIN.split(text):
        twin = part.replace("/", "") if "/" in part else f"{part[:1]}/{part[1:]}"
        if not _PLAIN.fullmatch(part) or twin not in text:
            stack[-1] += part.split()
        elif "/" not in part:
            stack.append([part])
        else:
            inner = stack.pop()
            stack[-1].append((inner[0], inner[1:], part))
    (top,) = stack
    return top


def permuted(text, draw):
    """Return a text whose words are translated and shuffled, what is in markers among itself."""

    def written(nodes):
        nodes = list(nodes)
        draw.shuffle(nodes)
        return " ".join(
            (other(n) if _WORD.search(n) else n) if isinstance(n, str) else n[0] + written(n[1]) + n[2] for n in nodes
        )

    return written(tree(text))


class FakeConfig(TranslatorConfig):
    type: str = "translation_data:FakeTranslator"
    how: str = "good"
    fail_after: int | None = None


HOW = {
    "good": lambda text: words_only(text, other),
    "permuting": lambda text: permuted(text, random.Random(text)),
    "losing": lambda text: _PLAIN.sub("", words_only(text, other)),
    "identity": lambda text: text,
    "shouting": lambda text: words_only(text, other).upper(),
    "spacing": lambda text: _PLAIN.sub(r" \1 ", words_only(text, other)),
    "eating": lambda text: re.sub(r"\s*(\[/?\d+\]|</?m\d+>|\{/?\d+\})\s*", r"\1", words_only(text, other)),
    "han": lambda text: words_only(text, lambda w: "心力衰竭"[: 1 + len(w) % 4]).replace(" ", "").replace("1", "１"),
    "hebrew": lambda text: words_only(text, lambda w: "אבגד"[: 1 + len(w) % 4]),
    "empty": lambda text: "",
    "greek": lambda text: words_only(text, lambda w: "λόγος"),
    "babbling": lambda text: words_only(text, other) + " bla" * 400,
}


class FakeTranslator(Translator):
    config_class = FakeConfig
    config: FakeConfig
    asked: int = 0

    @property
    def identity(self):
        return f"fake/{self.config.how}"

    @property
    def batch(self):
        return 4

    def translate(self, texts, source, target):
        assert all(texts)
        FakeTranslator.asked += len(texts)
        if self.config.fail_after is not None and FakeTranslator.asked > self.config.fail_after:
            raise KeyboardInterrupt
        return [HOW[self.config.how](text) for text in texts]
