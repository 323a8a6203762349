"""The corpus of an evaluation: parts read, checked against what is expected, cleaned up, everything counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from xnorm.artifact import place_of, sha256_file, sha256_text
from xnorm.cleanup.base import Cleanup, Parts, StageReport
from xnorm.config import CleanupSpec, ComponentConfig, CorpusSpec, StrictModel
from xnorm.corpora.base import Reader, ReaderConfig, ReadReport
from xnorm.errors import DataError, XnormError
from xnorm.registry import did_you_mean, find_component
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = [
    "Corpus",
    "CorpusConfig",
    "ExpectedConfig",
    "PartCounts",
    "check_gold",
    "clean_up",
    "missing_files",
    "read_corpus",
    "refuse_missing",
]


class PartCounts(StrictModel):
    """What a part holds when it is read, before any clean-up; what is left out is not checked."""

    documents: int | None = Field(default=None, ge=0)
    """Documents, those without mentions included."""
    mentions: int | None = Field(default=None, ge=0)
    """Mentions."""
    links: int | None = Field(default=None, ge=0)
    """Pairs of a mention and one of its gold ids; what others count who keep an annotation an id."""
    gold_ids: int | None = Field(default=None, ge=0)
    """Distinct gold ids."""


class ExpectedConfig(StrictModel):
    """What the corpus is known to hold, so that nobody measures on another version of it without noticing."""

    policy: Literal["error", "note"] = "error"
    """What to do when the counts differ: refuse, or say so in the report."""
    parts: dict[str, PartCounts] = Field(default_factory=dict)
    """By part, judged or for training; with the policy `note`, those of parts that are not read are passed over."""
    total: PartCounts | None = None
    """Of all parts together, judged and for training."""


class CorpusConfig(StrictModel):
    """Where the mentions with gold come from, and what is done to them before they are judged."""

    parts: dict[str, CorpusSpec]
    """Name of a part (`test`, `medline`) -> its reader; all are judged, together and apart."""
    training: dict[str, CorpusSpec] = Field(default_factory=dict)
    """Parts that a system may have learnt from: they are not judged, and only tell seen concepts and mentions from
    unseen ones."""
    shares: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Name of a part -> the share of its documents that is kept, so that one file makes parts that have no document in
    common: `[0, 0.8]` for one and `[0.8, 1]` for another. Which document falls where depends on its id alone."""
    weights: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Name of a part -> how much each of its mentions counts in a training; default: 1. Judging knows no weights."""
    cleanup: list[CleanupSpec] = Field(default_factory=list)
    """Stages, in their order; see `xnorm/cleanup`."""
    expected: ExpectedConfig | None = None
    """Counts that are asserted on reading."""

    @model_validator(mode="after")
    def _check_parts(self) -> CorpusConfig:
        if not self.parts:
            raise ValueError("parts: expected at least one")
        for part, (low, high) in self.shares.items():
            if part not in {*self.parts, *self.training}:
                hint = did_you_mean(part, {*self.parts, *self.training})
                raise ValueError(f"shares: no part '{part}' is read; {hint}")
            if not 0 <= low < high <= 1:
                raise ValueError(f"shares.{part}: expected two numbers that rise, from 0 to 1, found {low}, {high}")
        for part in self.weights:
            if part not in self.parts:
                raise ValueError(f"weights: there is no part '{part}'; {did_you_mean(part, self.parts)}")
        strict = self.expected is not None and self.expected.policy == "error"
        for part in self.expected.parts if strict and self.expected is not None else ():
            if part not in {*self.parts, *self.training}:
                hint = did_you_mean(part, {*self.parts, *self.training})
                raise ValueError(f"expected.parts: no part '{part}' is read; {hint}")
        for part in (*self.parts, *self.training):
            if not re.fullmatch(r"\w[\w.-]*", part):
                raise ValueError(f"'{part}' is no name of a part: letters, digits, dots, hyphens, underscores")
        if both := sorted(set(self.parts) & set(self.training)):
            raise ValueError(f"'{both[0]}' is both a part to judge and one for training; give them different names")
        return self

    @property
    def strong(self) -> list[str]:
        """The parts that people annotated and that count in full: a model is chosen by no other, if there are any."""
        return [p for p, spec in self.parts.items() if self.weights.get(p, 1) >= 1 and not _reader_config(spec).weak]


@dataclass
class Corpus:
    """Mentions to be judged, and everything the protocol must say of them."""

    parts: dict[str, list[Mention]]
    """Judged mentions by part; ids are unique over all parts."""
    training: dict[str, list[Mention]]
    documents: dict[str, list[str]]
    """Ids of the judged documents of each part, those without mentions included; none for a list of mentions. One that
    has lost all its mentions in the clean-up is not judged."""
    dropped: dict[str, list[Mention]]
    """Mentions that the clean-up has dropped, by part."""
    about: dict[str, Any]
    """Parts with counts and checksums, what the readers left out or noted, and how the counts compare with `expected`;
    plain data."""
    cleanup: list[StageReport]
    """One a stage, in their order; empty before `clean_up`."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the text of each judged document that has one, by part and id (`test/report7`)."""

    @property
    def known_ids(self) -> frozenset[str]:
        """Ids of all mentions that were read, those dropped by the clean-up included."""
        parts = (*self.parts.values(), *self.dropped.values())
        return frozenset(m.id for mentions in parts for m in mentions if m.id is not None)

    @property
    def mentions(self) -> list[Mention]:
        """All judged mentions, part after part."""
        return [m for mentions in self.parts.values() for m in mentions]

    @property
    def part_of(self) -> list[str]:
        """The part of each of `mentions`."""
        return [part for part, mentions in self.parts.items() for _ in mentions]

    @property
    def units(self) -> list[str]:
        """What each of `mentions` is drawn with: its part and document, or itself where it stands in none."""
        return [f"{part}/{_unit(m)}" for part, mentions in self.parts.items() for m in mentions]


def missing_files(config: CorpusConfig, but: Collection[Path] = ()) -> list[str]:
    """Return a line for each file that a corpus needs and that is not there: where it should be, where it is from."""
    lines = []
    for part, spec in {**config.parts, **config.training}.items():
        reader = _reader_config(spec)
        if getattr(reader, "hub", None) is not None:
            continue
        for path in [reader.path] if not reader.path.exists() else _files_of(reader):
            if path not in but and not path.exists():
                lines.append(f"part '{part}': {path}" + (f" ({reader.hint})" if reader.hint else ""))
    return lines


def refuse_missing(name: str, lines: Sequence[str]) -> None:
    """Say at once which files are missing, and where they are to be had.

    Args:
        name: of what needs them.
        lines: one a file, as `missing_files` returns them.

    Raises:
        DataError: there are any.
    """
    if lines:
        raise DataError(f"{name} needs {len(lines)} more file{'s' * (len(lines) > 1)}: {'; '.join(lines)}")


def _files_of(config: ReaderConfig) -> list[Path]:
    """Return the files that a reader reads; none where it says on reading what is wrong."""
    try:
        files: list[Path] = find_component("corpora", config.type)(config).files()
    except XnormError:
        return []
    return files


def read_corpus(config: CorpusConfig) -> Corpus:
    """Read all parts, and check their counts.

    Raises:
        ConfigError, DataError: a part cannot be read or holds no mention, a mention has no id or one that is used
            twice, or the counts are not the expected ones.
    """
    report, other = ReadReport(), ReadReport()
    read = {part: _read_part(part, spec, report, config.shares.get(part)) for part, spec in config.parts.items()}
    read |= {part: _read_part(part, spec, other, config.shares.get(part)) for part, spec in config.training.items()}
    about = {part: counts for part, (_, counts, _) in read.items()}
    digests = {f"{part}/{i}": digest for part in config.parts for i, digest in read[part][2].items() if digest}
    union = {i for mentions, _, _ in read.values() for m in mentions for i in m.gold}
    differences = _differences(config, about, len(union))
    if differences and config.expected is not None and config.expected.policy == "error":
        raise DataError(
            f"the corpus is not the expected one: {'; '.join(differences)}",
            fix="get the version that the config describes, or set corpus.expected.policy=note to measure on this one",
        )
    parts, training = ({part: read[part][0] for part in specs} for specs in (config.parts, config.training))
    parts = _with_unique_ids(parts)
    return Corpus(
        parts,
        training,
        {part: list(read[part][2]) for part in config.parts},
        {part: [] for part in parts},
        {
            "parts": {part: about[part] for part in config.parts},
            "training": {part: about[part] for part in config.training},
            "skipped": dict(report.skipped),
            "noted": dict(report.noted),
            "examples": {reason: places for reason, places in report.examples.items() if places},
            "expected": None if config.expected is None else {"met": not differences, "differences": differences},
        },
        [],
        digests,
    )


def clean_up(corpus: Corpus, stages: Sequence[ComponentConfig], terminology: Terminology) -> Corpus:
    """Put a corpus through its clean-up stages.

    Raises:
        ConfigError, DataError: a stage cannot be applied, or leaves no mention.
    """
    parts: Parts = corpus.parts
    training: Parts = corpus.training
    reports = []
    for spec in stages:
        stage: Cleanup = find_component("cleanup", spec.type)(spec)
        report = StageReport(spec.type)
        before, parts = parts, stage.apply(parts, terminology, report)
        report.mentions = sum(map(len, parts.values()))
        reports.append(report)
        if not report.mentions:
            check_gold((m for mentions in before.values() for m in mentions), terminology)
            why = ", ".join(f"{n:,} {reason}" for reason, n in report.dropped.items())
            raise DataError(f"no mention is left after the clean-up stage '{spec.type}' ({why or 'none before'})")
        if training and stage.mends_gold:
            training = stage.apply(training, terminology, StageReport(spec.type))
    left = {m.id for mentions in parts.values() for m in mentions}
    dropped = {part: [m for m in mentions if m.id not in left] for part, mentions in corpus.parts.items()}
    documents = {}
    for part, own in corpus.documents.items():
        emptied = {m.document for m in dropped[part]} - {m.document for m in parts[part]}
        documents[part] = [document for document in own if document not in emptied]
    return replace(
        corpus, parts=dict(parts), training=dict(training), documents=documents, dropped=dropped, cleanup=reports
    )


def check_gold(mentions: Iterable[Mention], terminology: Terminology) -> None:
    """Refuse a corpus none of whose gold ids is in the terminology: any number would be meaningless.

    Raises:
        DataError: with some of the ids of either.
    """
    ids = Counter(i for m in mentions for i in m.gold)
    if ids and (terminology.rows(list(ids)) < 0).all():
        theirs = ", ".join(f"'{i}'" for i, _ in ids.most_common(3))
        ours = ", ".join(f"'{i}'" for i in terminology.concepts.column("id").slice(0, 3).to_pylist())
        raise DataError(
            f"none of the {len(ids):,} gold ids is in the terminology: gold has {theirs}, the terminology has {ours}",
            fix="set the prefix of one of them (prefix, db_prefix), or map the ids (cleanup: xrefs, retired)",
        )


def _reader_config(spec: ComponentConfig) -> ReaderConfig:
    assert isinstance(spec, ReaderConfig)
    return spec


def _read_part(
    part: str, spec: ComponentConfig, total: ReadReport, share: tuple[float, float] | None = None
) -> tuple[list[Mention], dict[str, Any], dict[str, str]]:
    """Return the mentions of a part, its counts and checksum, and its documents' ids with the SHA-256 of the texts."""
    config = _reader_config(spec)
    reader: Reader = find_component("corpora", config.type)(config)
    report = ReadReport()
    mentions: list[Mention] = []
    documents: dict[str, str] = {}
    for document in reader.documents(report):
        mentions += document.mentions
        lone = bool(document.mentions) and not document.mentions[0].spans  # a row of a list, not a document
        if document.id in documents and not lone:
            raise DataError(f"part '{part}': the document id '{document.id}' is used twice", path=config.path)
        own = [m.document for m in document.mentions] if lone else [document.id]
        documents.update((i, "" if lone else sha256_text(document.text)) for i in own if i is not None)
    if share is not None:
        kept = {i for i in {*documents, *(_unit(m) for m in mentions)} if share[0] <= place_of(i) < share[1]}
        mentions = [m for m in mentions if _unit(m) in kept]
        documents = {i: digest for i, digest in documents.items() if i in kept}
    if not mentions:
        raise DataError(f"the part '{part}' holds no mention", path=config.path, fix="is it the right file or split?")
    _note_odd_gold(mentions, report)
    for reasons, of_all in ((report.skipped, total.skipped), (report.noted, total.noted)):
        of_all.update(reasons)
    for reason, places in report.examples.items():
        total.show(reason, places)
    gold = {i for m in mentions for i in m.gold}
    hub = getattr(config, "hub", None)
    about = {
        "format": config.type,
        "documents": len(documents),
        "mentions": len(mentions),
        "links": sum(len(m.gold) for m in mentions),
        "gold_ids": len(gold),
        "several_gold": config.several_gold,
        **({} if share is None else {"share": list(share)}),
        "file": hub or config.path.name,
        "sha256": None if hub else _checksum(reader.files()),
        "revision": getattr(config, "revision", None),
    }
    return mentions, about, documents


def _unit(mention: Mention) -> str:
    return str(mention.id if mention.document is None else mention.document)


def _note_odd_gold(mentions: Iterable[Mention], report: ReadReport) -> None:
    for mention in mentions:
        if bare := [i for i in mention.gold if ":" not in i]:
            report.note("gold id without a prefix", f"mention '{mention.id}': {bare[0]}")
        if not mention.text.strip():
            report.note("mention without a text", f"mention '{mention.id}'")


def _checksum(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file, or of the names and checksums of several."""
    if len(files) == 1:
        return sha256_file(files[0])
    return sha256_text("\n".join(f"{file.name} {sha256_file(file)}" for file in files))


def _differences(config: CorpusConfig, about: Mapping[str, Mapping[str, Any]], gold_ids: int) -> list[str]:
    """Return how the counts differ from the expected ones, in words."""
    if config.expected is None:
        return []
    total = {key: sum(counts[key] for counts in about.values()) for key in ("documents", "mentions", "links")}
    total["gold_ids"] = gold_ids
    wanted = [
        (f"part '{part}'", counts, about[part]) for part, counts in config.expected.parts.items() if part in about
    ]
    if config.expected.total is not None:
        wanted.append(("all parts", config.expected.total, total))
    return [
        f"{where}: expected {want:,} {key.replace('_', ' ')}, found {found[key]:,}"
        for where, counts, found in wanted
        for key, want in counts
        if want is not None and want != found[key]
    ]


def _with_unique_ids(parts: dict[str, list[Mention]]) -> dict[str, list[Mention]]:
    """Give every mention an id that is unique over all parts: where two parts use one id, the part comes before."""
    for part, mentions in parts.items():
        twice = [i for i, n in Counter(m.id for m in mentions).items() if n > 1 or i is None]
        if twice:
            raise DataError(f"part '{part}': the id '{twice[0]}' is used twice; give each mention its own")
    counts = Counter(m.id for mentions in parts.values() for m in mentions)
    if not counts or max(counts.values()) < 2:
        return parts
    return {part: [replace(m, id=f"{part}/{m.id}") for m in mentions] for part, mentions in parts.items()}
