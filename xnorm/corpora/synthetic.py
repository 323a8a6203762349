"""Mentions made of a terminology's own names, for terminologies and languages that nobody has annotated.

A name, as it is or corrupted (`xnorm.corruptions`), is put into a sentence, and the concept is its gold. No such
mention proves anything about real texts: they are there to learn from, with a weight, and not to judge by.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from xnorm.artifact import place_of, sha256_text
from xnorm.config import CorpusSpec, InputPath, StrictModel
from xnorm.corpora._templates import TemplatesConfig, read_templates
from xnorm.corpora._terminology import source_files, terminology_at
from xnorm.corpora.base import Reader, ReaderConfig, ReadReport
from xnorm.corruptions import KINDS, corrupt
from xnorm.errors import DataError
from xnorm.filters import QueryFilters, ValueSet
from xnorm.registry import did_you_mean, find_component
from xnorm.restriction import Restrictions
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.text import clean, fold, main_lang
from xnorm.types import Document, Mention

__all__ = ["ExcludeConfig", "SyntheticConfig", "SyntheticReader", "how_made"]

SEVERAL = -1
"""Stands for several concepts that have one name."""
IN_VAIN = 16
"""Rounds over all concepts of a language that may give nothing new; then it has no more to give."""


def _known_rates(rates: dict[str, float]) -> dict[str, float]:
    for kind, rate in rates.items():
        if kind not in KINDS:
            raise ValueError(f"unknown kind '{kind}'; {did_you_mean(kind, KINDS)}")
        if not 0 <= rate <= 1:
            raise ValueError(f"{kind}: expected a share from 0 to 1, found {rate}")
    if sum(rates.values()) > 1 + 1e-9:
        raise ValueError(f"the shares sum to {sum(rates.values()):g}; expected at most 1, the rest being plain names")
    return rates


class ExcludeConfig(StrictModel):
    """Concepts that no mention is made of, because something is to be judged on them."""

    gold: dict[str, CorpusSpec] = Field(default_factory=dict)
    """Corpora, named as one likes: the gold concepts of all their mentions are left out."""
    value_set: ValueSet | None = None
    """Ids, or `path: FILE` with ids."""
    share: tuple[float, float] | None = None
    """A share of the concepts, `[0.8, 1]` for a fifth; which concept falls where depends on its id alone."""

    @model_validator(mode="after")
    def _check(self) -> ExcludeConfig:
        if self.share is not None and not 0 <= self.share[0] < self.share[1] <= 1:
            raise ValueError(f"share: expected two numbers that rise, from 0 to 1, found {list(self.share)}")
        return self


class SyntheticConfig(ReaderConfig):
    """Which names become mentions, and what is done to them."""

    path: InputPath = Path("-")
    """A terminology in JSON Lines, or a config (`.yaml`) whose `terminology` is taken; needed without `terminology`."""
    terminology: TerminologyConfig | None = None
    """Instead of `path`: sources and filters, as in the config of an index."""
    mentions: int = Field(default=10_000, ge=1)
    """How many are made, as many in each language as in the others, and of no concept a second one in a language before
    each has one."""
    scopes: tuple[Literal["preferred", "exact", "narrow", "broad", "related"], ...] = ("preferred", "exact")
    """Scopes of the names that are taken. Names of a weight below 1 are not: they may be wrong."""
    filters: QueryFilters = QueryFilters()
    """Which names and concepts: `langs`, `types`, `sources`, `branches`, `value_set`."""
    longest: int = Field(default=100, ge=1)
    """Characters of a name at most."""
    exclude: ExcludeConfig = ExcludeConfig()
    """Concepts that no mention is made of."""
    templates: TemplatesConfig | None = None
    """Sentences of one's own; default: those that come with xnorm."""
    sentences: float = Field(default=0.9, ge=0, le=1)
    """Share of the mentions that stand in a sentence; the others are bare."""
    corruptions: Annotated[dict[str, float], AfterValidator(_known_rates)] = Field(
        default={
            "typo": 0.15, "abbreviation": 0.1, "hyphen": 0.02, "dropped_word": 0.08, "word_order": 0.08, "case": 0.1,
            "accents": 0.05, "numerals": 0.04, "plural": 0.08,
        }
    )  # fmt: skip
    """Share of the mentions that a kind of corruption is tried on, at most one on each; where it does not apply, the
    name stays as it is."""
    seed: int = 0
    """Another seed, other mentions."""

    @property
    def weak(self) -> bool:
        return True

    @model_validator(mode="before")
    @classmethod
    def _place(cls, data: Any) -> Any:
        """Let a terminology stand for the file of its first source."""
        if not isinstance(data, Mapping) or "terminology" not in data or "path" in data:
            return data
        given = data["terminology"]
        sources = given.sources if isinstance(given, TerminologyConfig) else dict(given or {}).get("sources") or [{}]
        first = sources[0] if sources else {}
        path = first.get("path") if isinstance(first, Mapping) else getattr(first, "path", None)
        return data if path is None else {**data, "path": path}

    @model_validator(mode="after")
    def _check_place(self) -> SyntheticConfig:
        own = [] if self.terminology is None else source_files(self.terminology)
        if "path" not in self.model_fields_set:
            raise ValueError("expected `path` or `terminology`")
        if own and self.path not in own:
            raise ValueError("expected either `path` or `terminology`, found both")
        return self


class _Made(NamedTuple):
    concept: int
    lang: str
    text: str
    how: str
    left: str
    right: str


class SyntheticReader(Reader):
    """Makes mentions of a terminology's names.

    A document is a concept, so that what is made of one is drawn together; it holds a sentence a line, and a mention's
    context is its own sentence alone. A mention's id says how it was made (`how_made`): `HP:0001635@de/typo-swap/2`.
    The same settings and terminology give the same mentions.
    """

    config_class: ClassVar[type[ReaderConfig]] = SyntheticConfig
    config: SyntheticConfig

    def documents(self, report: ReadReport) -> Iterator[Document]:
        """Yield a document a concept, by id.

        A name that several concepts have is left out, and a corrupted one that another concept has, whatever its case
        and accents (`xnorm.text.fold`); both are counted.

        Raises:
            ConfigError, DataError: the terminology, a corpus to be excluded or the templates cannot be read, or no name
                is left.
        """
        templates = read_templates(self.config.templates.path if self.config.templates else None)
        terminology, _ = read_terminology(self._terminology())
        names = self._names(terminology, report)
        owners = _owners(terminology)
        ids = terminology.concepts.column("id").to_pylist()
        found: dict[int, list[_Made]] = defaultdict(list)
        makers = [self._made(lang, names[lang], ids, owners, templates, report) for lang in sorted(names)]
        for made in _in_turn(makers, self.config.mentions):
            found[made.concept].append(made)
        types = terminology.concepts.column("types").to_pylist()
        if (n := sum(map(len, found.values()))) < self.config.mentions:
            report.note(f"made {n:,} mentions of {self.config.mentions:,}: the names give no more")
        for concept in sorted(found):
            document = _document(ids[concept], tuple(types[concept] or ()), found[concept])
            report.documents += 1
            report.mentions += len(document.mentions)
            yield document

    def files(self) -> list[Path]:
        """Return the files of the terminology's sources, of the templates and of the corpora to be excluded."""
        files = source_files(self._terminology())
        if self.config.templates is not None:
            files.append(self.config.templates.path)
        value_set = self.config.exclude.value_set
        if value_set is not None and value_set.path is not None:
            files.append(value_set.path)
        for spec in self.config.exclude.gold.values():
            if getattr(spec, "hub", None) is None:
                files += find_component("corpora", spec.type)(spec).files()
        return sorted(set(files))

    def _terminology(self) -> TerminologyConfig:
        return terminology_at(self.config.path) if self.config.terminology is None else self.config.terminology

    def _names(self, terminology: Terminology, report: ReadReport) -> dict[str, dict[int, list[tuple[str, str]]]]:
        """Return by main language and concept row the names that may be used, each with its language.

        Raises:
            DataError: there is none.
        """
        config = self.config
        restrictions = Restrictions(terminology)
        allowed = restrictions.names(restrictions.resolve(config.filters, "filters"))
        weights = terminology.name_weights
        if weights is not None:
            allowed &= weights >= 1
        excluded = self._excluded(terminology)
        columns = (terminology.names.column(c).to_pylist() for c in ("concept", "text", "lang", "scope"))
        out: dict[str, dict[int, list[tuple[str, str]]]] = defaultdict(lambda: defaultdict(list))
        for kept, concept, text, lang, scope in zip(allowed.tolist(), *columns, strict=True):
            if not kept or scope not in config.scopes:
                continue
            text = clean(text)
            if concept in excluded:
                report.skip("name of an excluded concept")
            elif len(text) > config.longest:
                report.skip(f"name of more than {config.longest} characters")
            elif not any(c.isalpha() for c in text):
                report.skip("name without a letter")
            else:
                out[main_lang(lang)][concept].append((text, lang))
        if not out:
            raise DataError("no name is left to make mentions of", path=config.path,
                            fix="look at `filters`, `scopes` and `exclude`")  # fmt: skip
        return out

    def _excluded(self, terminology: Terminology) -> set[int]:
        """Return the rows of the concepts that are kept for judging; retired ids stand for what replaced them."""
        exclude = self.config.exclude
        ids = set() if exclude.value_set is None else set(exclude.value_set.read())
        for spec in exclude.gold.values():
            reader: Reader = find_component("corpora", spec.type)(spec)
            ids |= {i for mention in reader.mentions(ReadReport()) for i in mention.gold}
        live = [new for i in ids for new in terminology.resolve(i)]
        if ids and not live:
            raise DataError(
                f"none of the {len(ids):,} ids to be excluded is in the terminology, such as '{min(ids)}'",
                path=self.config.path, fix="set the prefix of one of them (prefix, db_prefix)",
            )  # fmt: skip
        rows = set(terminology.rows(live).tolist())
        if exclude.share is not None:
            low, high = exclude.share
            all_ids = terminology.concepts.column("id").to_pylist()
            rows |= {row for row, i in enumerate(all_ids) if low <= place_of(i) < high}
        return rows

    def _made(
        self, lang: str, names: Mapping[int, Sequence[tuple[str, str]]], ids: Sequence[str],
        owners: Mapping[str, int], templates: Mapping[str, Sequence[tuple[str, str]]], report: ReadReport,
    ) -> Iterator[_Made]:  # fmt: skip
        """Yield mentions in one language, a concept after the other and round after round, while there are new ones."""
        seed = self.config.seed
        order = sorted(names, key=lambda c: sha256_text(f"{seed}/{lang}/{ids[c]}"))
        shuffled = {c: random.Random(f"{seed}/{lang}/{ids[c]}").sample(names[c], len(names[c])) for c in order}
        seen: set[_Made] = set()
        draw = in_vain = 0
        while in_vain < IN_VAIN:
            before = len(seen)
            for concept in order:
                text, own_lang = shuffled[concept][draw % len(names[concept])]
                key = f"{seed}/{draw}/{ids[concept]}/{own_lang}/{text}"
                form = self._form(text, own_lang, key, draw, concept, owners, report)
                if form is None:
                    continue
                # a name meets all sentences in turn, from one that depends on the concept
                nth = int(place_of(ids[concept]) * 1e6) + draw // len(names[concept])
                left, right = self._sentence(own_lang, key, nth, templates, report)
                made = _Made(concept, own_lang, *form, left, right)
                if made not in seen:
                    seen.add(made)
                    yield made
            in_vain = 0 if len(seen) > before else in_vain + 1
            draw += 1

    def _form(
        self, text: str, lang: str, key: str, draw: int, concept: int, owners: Mapping[str, int], report: ReadReport
    ) -> tuple[str, str] | None:
        """Return a name as it is to be mentioned, and how it was made; None if it would stand for another concept."""
        if owners[fold(text)] != concept:
            report.skip("name of several concepts", text)
            return None
        kinds, rates = [*self.config.corruptions, "plain"], [*self.config.corruptions.values()]
        (kind,) = random.Random(f"{key}/kind").choices(kinds, [*rates, max(0.0, 1 - sum(rates))])
        corrupted = None if kind == "plain" else corrupt(text, kind, lang=lang, seed=self.config.seed, draw=draw)
        if corrupted is None:
            return text, "plain"
        if owners.get(fold(corrupted.text), concept) != concept:
            report.skip("corrupted name that another concept has", f"{text} -> {corrupted.text}")
            return None
        return corrupted.text, corrupted.how

    def _sentence(
        self, lang: str, key: str, nth: int, templates: Mapping[str, Sequence[tuple[str, str]]], report: ReadReport
    ) -> tuple[str, str]:
        """Return what stands before and after a mention: nothing, or the nth sentence."""
        if random.Random(f"{key}/sentence").random() >= self.config.sentences:
            return "", ""
        own = templates.get(lang) or templates.get(main_lang(lang))
        if not own:
            report.note(f"mention without a sentence: there is none in '{lang}'")
            return "", ""
        return own[nth % len(own)]


def how_made(mention: Mention) -> str | None:
    """Return how a synthetic mention was made: `plain`, or a kind and way of `xnorm.corruptions`; None for another."""
    parts = (mention.id or "").rpartition("@")[2].split("/")
    known = len(parts) == 3 and (parts[1] == "plain" or parts[1].partition("-")[0] in KINDS)
    return parts[1] if known else None


def _owners(terminology: Terminology) -> dict[str, int]:
    """Return the concept row of each name, folded; `SEVERAL` for one that several concepts have."""
    owners: dict[str, int] = {}
    for text, concept in zip(terminology.name_texts(), terminology.name_concept.tolist(), strict=True):
        folded = fold(text)
        owners[folded] = concept if owners.get(folded, concept) == concept else SEVERAL
    return owners


def _in_turn(makers: Sequence[Iterator[_Made]], n: int) -> Iterator[_Made]:
    """Yield n mentions, one of each maker in turn; those that have no more are passed over."""
    left = list(makers)
    for maker in cycle(makers):
        if n == 0 or not left:
            return
        if maker in left:
            made = next(maker, None)
            if made is None:
                left.remove(maker)
            else:
                n -= 1
                yield made


def _document(identifier: str, types: tuple[str, ...], made: Sequence[_Made]) -> Document:
    """Return a concept's document: a sentence a line, a mention in each."""
    text, mentions, numbers = "", [], Counter[str]()
    for one in made:
        numbers[one.lang] += 1
        start = len(text) + len(one.left)
        mentions.append(
            Mention(
                one.text, f"{identifier}@{one.lang}/{one.how}/{numbers[one.lang]}", one.lang, types=types,
                spans=((start, start + len(one.text)),), left=one.left, right=one.right, gold=(identifier,),
                document=identifier,
            )
        )  # fmt: skip
        text += f"{one.left}{one.text}{one.right}\n"
    langs = {one.lang for one in made}
    return Document(identifier, text, tuple(mentions), langs.pop() if len(langs) == 1 else None)
