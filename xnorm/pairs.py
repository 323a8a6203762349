"""The texts that a cross-encoder reads: a mention in its context, and a concept with the names most like the mention.

Training and scoring both take them from here, so a model meets the texts that it was trained on.

layout: xnorm   ... of the left ventricle [START] heart failure [END], which ...
                Heart failure [NAME] Cardiac failure [NAME] Weak heart [TYPE] Disease or Syndrome [DEFINITION] ...
layout: xmen    the texts of xMEN (Borchert et al., 2024), for models that were trained with it

The words in brackets are special tokens, which `add_markers` adds to a tokenizer. A text of the data that looks like
one is taken apart, so nothing in a document or a terminology can pass for a marker.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from xnorm.candidates.base import Candidates
from xnorm.config import StrictModel
from xnorm.errors import DataError
from xnorm.registry import did_you_mean, require
from xnorm.semantic_types import TYPE_NAMES
from xnorm.tables import Terminology, ranges
from xnorm.text import clean, cognate, encodable, fold, hash_ngrams, main_lang, unspaced_letters
from xnorm.types import Mention

__all__ = ["PairWriter", "PairsConfig", "add_markers", "fit", "mention_texts", "pair_texts", "token_limit"]

Ints = npt.NDArray[np.int64]

MENTION_SHARE = 0.6
"""Of the tokens of a pair, how many the mention and its context may have at most."""
LONGEST_WORD = 24
"""A longer piece without white space is not kept whole: it is no word, or of a script without spaces."""
BITS = 22
"""N-grams are told apart by so many bits of their hashes."""

_MARKERS = {key: f"[{key.upper()}]" for key in ("start", "end", "name", "type", "definition", "nil")}
_XMEN = {"names": 0, "types": False, "nil": True, "max_length": 512}
_SPECIAL = r"\[(?:CLS|SEP|PAD|UNK|MASK)\]|</?(?:s|unk|pad|mask|cls|sep|bos|eos)>|<\|[^|<\s]*\|>"


class PairsConfig(StrictModel):
    """What the texts of a pair are made of."""

    layout: Literal["xnorm", "xmen"] = "xnorm"
    """`xmen` is the layout of xMEN: raw context, all names of a concept in the terminology's order, its own markers. It
    has other defaults: `types: false`, `nil: true`, `max_length: 512`; `names`, `definition` and `markers` have no
    place in it."""
    context: int = Field(default=128, ge=0)
    """Characters of context on either side of a mention."""
    names: int = Field(default=3, ge=0)
    """How many names of a concept follow its preferred one: a name that is the mention itself, then names in the
    mention's language, in English, in others; within each the most similar first. A mention without language
    has no use for languages."""
    types: bool = True
    """Whether the concept's types are shown; those of UMLS by their names."""
    definition: bool = False
    """Whether the concept's definition is shown."""
    nil: bool = False
    """Whether each mention has one more choice after its candidates: none of them."""
    max_length: int = Field(default=128, ge=16)
    """Tokens of a pair at most."""
    markers: dict[str, Annotated[str, Field(pattern=r"^\S{2,}$")]] = Field(default={})
    """Other special tokens than the usual ones, by what they mark: `start`, `end`, `name`, `type`, `definition`,
    `nil`."""

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, data: Any) -> Any:
        return {**_XMEN, **data} if isinstance(data, Mapping) and data.get("layout") == "xmen" else data

    @model_validator(mode="after")
    def _check(self) -> PairsConfig:
        if self.layout == "xmen" and (self.names or self.definition or self.markers):
            raise ValueError("the layout xmen has no `names`, `definition` or `markers` to choose")
        for key in self.markers:
            if key not in _MARKERS:
                raise ValueError(f"markers: unknown key '{key}'; {did_you_mean(key, _MARKERS)}")
        if len(set(self.tokens)) < len(self.tokens):
            raise ValueError("markers: expected tokens that differ from one another")
        return self

    @property
    def tokens(self) -> tuple[str, ...]:
        """All special tokens of the layout, whether the settings use them or not."""
        if self.layout == "xmen":
            return ("[START]", "[END]", "[TITLE]", "[NIL]", "[TYPE]")
        return tuple({**_MARKERS, **self.markers}.values())

    @property
    def truncation(self) -> Literal["only_second", "longest_first"]:
        """What a tokenizer is to be told when it cuts pairs to `max_length`, after `fit`."""
        return "longest_first" if self.layout == "xmen" else "only_second"


def add_markers(tokenizer: Any, config: PairsConfig) -> int:
    """Make the markers special tokens of a tokenizer of `transformers`, where they are not yet.

    Returns:
        How many rows the model's embeddings lack: if not 0, `model.resize_token_embeddings(len(tokenizer))` is due.
    """
    token = require("tokenizers", extra="torch", what="the cross-encoder").AddedToken
    before, known = len(tokenizer), tokenizer.added_tokens_encoder
    # white space before our markers belongs to them, or some tokenizers make a token of it; xMEN's are plain
    new = [token(t, lstrip=config.layout == "xnorm", normalized=False) for t in config.tokens if t not in known]
    tokenizer.add_tokens(new, special_tokens=True)
    return len(tokenizer) - before


def token_limit(tokenizer: Any, config: PairsConfig) -> int:
    """Return how many tokens a pair may have: what the settings say, but no more than the model takes."""
    return min(config.max_length, int(tokenizer.model_max_length))


def fit(texts: Sequence[str], tokenizer: Any, config: PairsConfig, budget: int | None = None) -> list[str]:
    """Cut mention texts to a number of tokens around the mention: context goes first, from its far ends, by whole words
    where there are any; a mention that is too long by itself keeps its beginning.

    Args:
        texts: as `mention_texts` returns them.
        tokenizer: of `transformers`, with the markers added.
        budget: tokens that a text may have, markers included, special tokens of the pair not. Default: three fifths of
            what a pair may have, half of it in the layout xmen.
    """
    if budget is None:
        # of two long texts `longest_first` leaves half for each, and would cut the end of a longer one: the mention
        share = MENTION_SHARE if config.truncation == "only_second" else 0.5
        budget = int(share * (token_limit(tokenizer, config) - tokenizer.num_special_tokens_to_add(pair=True)))
    start, end = config.tokens[:2]

    def lengths(some: list[str]) -> list[int]:
        found = tokenizer(some, add_special_tokens=False, truncation=False, verbose=False)["input_ids"] if some else []
        return [len(ids) for ids in found]

    def cut(text: str, size: int) -> str:
        left, mention, right = re.split(f" ?{re.escape(start)} | {re.escape(end)}", text)
        shown, around = _head(mention, size) or mention[: max(size, 1)], size - len(mention)
        return f"{_tail(left, around)} {start} {shown} {end}{_head(right, around)}".lstrip()

    out = list(texts)
    at = [i for i, n in enumerate(lengths(out)) if n > budget]
    # the greatest size that fits: first the letters of the mention, then the letters of context on either side
    low, high = np.zeros(len(at), np.int64), np.array([len(out[i]) for i in at], np.int64)
    while len(todo := np.flatnonzero(high - low > 1).tolist()):
        middle = (low + high) // 2
        found = lengths([cut(out[at[j]], int(middle[j])) for j in todo])
        for j, length in zip(todo, found, strict=True):
            (low if length <= budget else high)[j] = middle[j]
    for i, size in zip(at, low.tolist(), strict=True):
        out[i] = cut(out[i], size)
    return out


def _head(text: str, n: int, *, whole: bool = True, back: int = 0) -> str:
    """Return the first n characters, or less to end with a word; `whole`: whether the text itself does; `back`: 1 for
    one that is written backwards."""
    if n >= len(text) and whole:
        return text
    at = min(max(n, 0), len(text))
    word = re.split(r"\s", text[:at])[-1]
    if not text[at : at + 1].isspace() and len(word) < LONGEST_WORD and not unspaced_letters(word):
        at -= len(word)
    while at and unicodedata.category(text[at - back : at - back + 1] or "?")[0] == "M":
        at -= 1  # never between a letter and its accents
    return text[:at].rstrip()


def _tail(text: str, n: int, *, whole: bool = True) -> str:
    """Return the last n characters, or less to begin with a word."""
    return _head(text[::-1], n, whole=whole, back=1)[::-1]


def mention_texts(mentions: Sequence[Mention], config: PairsConfig) -> list[str]:
    """Return the text of each mention in its context, not yet cut to tokens."""
    plain, (start, end) = _plainer(config), config.tokens[:2]
    n, longest, out = config.context, 8 * config.max_length, []
    for m in mentions:
        if config.layout == "xmen":
            # xMEN loses the first character of the right context, a space as a rule; here it goes only if it is one
            right = m.right[1:] if m.right[:1].isspace() else m.right
            left, text, right = map(plain, (m.left[-n:] if n else "", m.text, right[:n]))
            out.append(f"{left} {start} {text} {end} {right}")
            continue
        left, text, right = map(plain, (m.left[-4 * n :] if n else "", m.text, m.right[: 4 * n]))
        # a context of just the length that is wanted was cut by its reader, and maybe inside a word
        left = _tail(left, n, whole=len(m.left) != n or m.left[:1].isspace())
        right = _head(right, n, whole=len(m.right) != n or m.right[-1:].isspace())
        space = " " if right and not clean(m.right[:1]) else ""
        out.append(f"{left} {start} {text[:longest]} {end}{space}{right}".lstrip())
    return out


def _plainer(config: PairsConfig) -> Callable[[str], str]:
    """Return what makes a text of the data plain: what a tokenizer would read as a special token is taken apart, so
    that `[SEP]` becomes `[ SEP]`."""
    special = re.compile("|".join([*map(re.escape, config.tokens), _SPECIAL]))
    form = encodable if config.layout == "xmen" else clean

    def plain(text: str) -> str:
        text = form(text)
        while special.search(text):  # `@@@` holds the marker `@@` once more when the first is apart
            text = special.sub(lambda m: f"{m[0][0]} {m[0][1:]}", text)
        return text

    return plain


def pair_texts(
    mentions: Sequence[Mention],
    candidates: Candidates,
    terminology: Terminology,
    config: PairsConfig,
    wanted: npt.NDArray[np.bool_] | None = None,
) -> tuple[list[str], list[list[str]]]:
    """Return the texts of mentions and of their candidates, as `PairWriter.write`."""
    return PairWriter(terminology, config).write(mentions, candidates, wanted)


class PairWriter:
    """Writes pairs for the concepts of one terminology, and remembers what it has read of a concept."""

    def __init__(self, terminology: Terminology, config: PairsConfig) -> None:
        self.terminology, self.config = terminology, config
        self._plain, self._marker = _plainer(config), {**_MARKERS, **config.markers}
        self._slots = np.full(len(terminology), -1, np.int64)
        self._heads: list[str] = []
        self._tails: list[str] = []
        self._names = _Names()

    def write(
        self, mentions: Sequence[Mention], candidates: Candidates, wanted: npt.NDArray[np.bool_] | None = None
    ) -> tuple[list[str], list[list[str]]]:
        """Return the texts of mentions and of their candidates.

        Args:
            candidates: shape (mentions, k).
            wanted: shape (mentions, k), which candidates to write; default: all.

        Returns:
            A text for each mention, and for each mention the texts of its wanted candidates in their order; where there
            are any and `nil` is set, the text that stands for none of them comes last.

        Raises:
            DataError: candidates of another terminology.
        """
        wanted = candidates.concepts >= 0 if wanted is None else wanted & (candidates.concepts >= 0)
        row, column = np.nonzero(wanted)
        if (last := int(candidates.concepts[row, column].max(initial=-1))) >= len(self.terminology):
            n = len(self.terminology)
            raise DataError(f"candidate {last} is of another terminology: this one has {n:,} concepts; link again")
        # names are chosen once for each folded text, language and concept
        queries: dict[tuple[str, str], int] = {}
        keys = [(self._folded(m.text), main_lang(m.lang)) if self.config.names else ("", "") for m in mentions]
        which = np.array([queries.setdefault(key, len(queries)) for key in keys], np.int64)
        width = np.int64(max(1, len(self.terminology)))
        code, inverse = np.unique(which[row] * width + candidates.concepts[row, column], return_inverse=True)
        self._learn(np.unique(code % width))
        slots = self._slots[code % width]
        bounds = np.searchsorted(code // width, np.arange(len(queries) + 1)).tolist()
        texts: list[str] = []
        for query, a, b in zip(queries, bounds, bounds[1:], strict=False):
            chosen = self._names.choose(query, slots[a:b], self.config.names) if self.config.names else [()] * (b - a)
            for slot, names in zip(slots[a:b].tolist(), chosen, strict=True):
                texts.append("".join([self._heads[slot], *names, self._tails[slot]]))
        flat = [texts[i] for i in inverse.tolist()]
        ends = np.cumsum(wanted.sum(axis=1)).tolist()
        nil = [self._marker["nil"]] if self.config.nil else []
        rights = [flat[a:b] + nil if b > a else [] for a, b in zip([0, *ends], ends, strict=False)]
        return mention_texts(mentions, self.config), rights

    def _learn(self, concepts: Ints) -> None:
        """Read what is the same for every mention: the texts before and after the chosen names, and the names."""
        new = concepts[self._slots[concepts] < 0]
        self._slots[new] = np.arange(len(self._heads), len(self._heads) + len(new))
        counts = np.diff(self.terminology.first_name)[new]
        rows = ranges(self.terminology.first_name[new], counts)
        names = zip(*(self.terminology.take("names", c, rows) for c in ("text", "lang")), strict=True)
        columns = [self.terminology.take("concepts", c, new) for c in ("name", "types", "definition")]
        others: list[dict[tuple[str, str], str]] = []
        for name, types, definition, count in zip(*columns, counts.tolist(), strict=True):
            own = list(islice(names, count))
            self._write(name, types or (), definition, [text for text, _ in own])
            if self.config.names:  # of names that are equal in a language the first; none that equals the preferred one
                forms: dict[tuple[str, str], str] = {}
                for text, lang in own:
                    forms.setdefault((self._folded(text), main_lang(lang)), text)
                same = {"", self._folded(name)}
                marker = self._marker["name"]
                others.append({k: f" {marker} {self._shown(text)}" for k, text in forms.items() if k[0] not in same})
        self._names.learn(others)

    def _write(self, name: str, types: Sequence[str], definition: str | None, names: list[str]) -> None:
        tail = ""
        if self.config.layout == "xmen":
            others = " [SEP] ".join([self._plain(n) for n in dict.fromkeys(names) if n != name])
            prefix = f"{self._plain(','.join(types))} [TYPE] " if self.config.types else ""
            self._heads.append(f"{prefix}{self._plain(name)} [TITLE] {others}")
        else:
            self._heads.append(self._shown(name))
            if self.config.types and types:
                tail += f" {self._marker['type']} {', '.join([self._plain(TYPE_NAMES.get(t, t)) for t in types])}"
            if self.config.definition and definition:
                tail += f" {self._marker['definition']} {self._shown(definition)}"
        self._tails.append(tail)

    def _folded(self, text: str) -> str:
        return fold(text[: 8 * self.config.max_length])

    def _shown(self, text: str) -> str:
        return _head(self._plain(text), 4 * self.config.max_length)


class _Names:
    """The names of concepts besides the preferred ones, and which of them are most like a mention."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._form_ids: dict[str, int] = {}
        self._lang_ids: dict[str, int] = {"en": 0}
        self._form, self._lang, self._grams = (np.empty(0, t) for t in (np.int64, np.int64, np.int32))
        # where the names of each concept and the n-grams of each name begin, and one more
        self._first = self._first_gram = np.zeros(1, np.int64)
        self._marked = np.zeros(1 << BITS, bool)

    def learn(self, concepts: list[dict[tuple[str, str], str]]) -> None:
        """Take in the names of the next concepts: folded text and language to the text that is shown."""
        self._first = np.append(self._first, self._first[-1] + np.cumsum([len(names) for names in concepts], dtype=int))
        self._texts += [text for names in concepts for text in names.values()]
        keys = [key for names in concepts for key in names]
        forms = [self._form_ids.setdefault(form, len(self._form_ids)) for form, _ in keys]
        langs = [self._lang_ids.setdefault(lang, len(self._lang_ids)) for _, lang in keys]
        self._form = np.append(self._form, np.array(forms, np.int64))
        self._lang = np.append(self._lang, np.array(langs, np.int64))
        for start in range(0, len(keys), 20_000):
            grams, sizes = _ngrams([form for form, _ in keys[start : start + 20_000]])
            self._grams = np.append(self._grams, grams)
            self._first_gram = np.append(self._first_gram, self._first_gram[-1] + np.cumsum(sizes))

    def choose(self, query: tuple[str, str], slots: Ints, most: int) -> list[list[str]]:
        """Return the names to be shown, best first, of each concept, for the folded text and language of a mention."""
        chosen: list[list[str]] = [[] for _ in range(len(slots))]
        first, last = self._first[slots], self._first[slots + 1]
        pair, names = np.repeat(np.arange(len(slots)), last - first), ranges(first, last - first)
        grams, _ = _ngrams([query[0]] if query[0] else [])
        self._marked[grams] = True
        begin = self._first_gram[first]
        shared = np.append(0, np.cumsum(self._marked[self._grams[ranges(begin, self._first_gram[last] - begin)]]))
        self._marked[grams] = False
        sizes = self._first_gram[names + 1] - self._first_gram[names]
        ends = np.cumsum(sizes)
        likeness = 2 * (shared[ends] - shared[ends - sizes]) / (sizes + len(grams))  # Dice
        lang, form = self._lang[names], self._form[names]
        far = np.where(lang == self._lang_ids.get(query[1], -1), 0, np.where(lang == 0, 1, 2)) if query[1] else 0 * lang
        far = np.where(form == self._form_ids.get(query[0], -1), far - 3, far)
        order = np.lexsort((-likeness, far, pair))
        seen: set[tuple[int, int]] = set()
        for at, name, key in zip(pair.tolist(), names[order].tolist(), form[order].tolist(), strict=True):
            if len(chosen[at]) < most and (at, key) not in seen:
                chosen[at].append(self._texts[name])
                seen.add((at, key))
        return chosen


def _ngrams(folded: list[str]) -> tuple[npt.NDArray[np.int32], Ints]:
    """Return the distinct hashed n-grams of each text, and how many each has; with cognates spelt alike."""
    if not folded:
        return np.empty(0, np.int32), np.empty(0, np.int64)
    owner, hashes = hash_ngrams([cognate(f) for f in folded], (3, 3))
    code = np.sort((owner << BITS) | (hashes >> np.uint64(64 - BITS)).astype(np.int64))
    code = code[np.diff(code, prepend=-1) > 0]
    return (code & ((1 << BITS) - 1)).astype(np.int32), np.bincount(code >> BITS, minlength=len(folded))
