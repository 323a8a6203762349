"""An annotated corpus into another language with its entities: config in, a folder of BigBIO files out.

What `xnorm translate` does.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from random import Random
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from xnorm.artifact import check_writable, sha256_file, sha256_text, write_folder
from xnorm.config import CorpusSpec, StrictModel, TranslatorSpec, find_config, read_yaml, validate
from xnorm.convert import to_row
from xnorm.corpora.base import Reader, ReaderConfig, ReadReport
from xnorm.corpora.bigbio import TRANSLATION, BigbioConfig, BigbioReader
from xnorm.corpus import CorpusConfig, missing_files, refuse_missing
from xnorm.errors import ConfigError, DataError
from xnorm.progress import Progress, Say, no_progress
from xnorm.projection import ProjectionConfig, Work, finish, prepare, project
from xnorm.registry import find_component
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.text import encodable, lang_code, main_lang
from xnorm.translation_audit import Lexicon, TranslationAudit
from xnorm.translation_cache import TranslationCache
from xnorm.translation_checks import OTHER_LANGUAGE, UNTRANSLATED
from xnorm.translators.base import Translator
from xnorm.types import Document

__all__ = ["KIND", "TranslationConfig", "run_translation"]

KIND = TRANSLATION
AUDIT = "audit.json"
BLOCK = 64
"""Documents that are translated together."""
ENOUGH = 50
"""Sentences after which a translator that returns another language is stopped, and need not go on to the end."""

Lang = Annotated[str, AfterValidator(lang_code)]


class TranslationConfig(StrictModel):
    """A config file of `xnorm translate`."""

    name: str = Field(pattern=r"^[\w][\w.-]*$")
    """Name of the translation; the default output is `translations/<name>`."""
    about: str | None = None
    """What is translated by what, under which licences."""
    parts: dict[str, CorpusSpec] = Field(min_length=1)
    """Name of a part (`train`) -> its reader, as in a `corpus`; each becomes `<part>.jsonl.gz`."""
    translator: TranslatorSpec
    """What translates; see `xnorm/translators`."""
    source: Lang
    """Language of the corpus; documents that say they are of another one are left out, and counted."""
    target: Lang
    """Language to translate into."""
    projection: ProjectionConfig = ProjectionConfig()
    """How entities are carried over."""
    lexicon: TerminologyConfig | None = None
    """A terminology by whose names in the target language entities are looked up, for the audit: gold ids are its
    concepts' ids or cross-references."""
    drop_contradicted: bool = False
    """Whether an entity is dropped whose translation the lexicon has as a name of other concepts, and not of its own,
    of which it has names."""
    max_dropped: float = Field(default=0.5, ge=0, le=1)
    """Largest share of entities that may be lost; a translation that loses more is an error, and not written."""
    samples: int = Field(default=20, ge=0, le=10_000)
    """Kept entities of each part that the audit shows with both sentences."""
    seed: int = 0
    """Of the draw of the samples."""

    @classmethod
    def read(cls, path: str | Path, overrides: Sequence[str] = ()) -> TranslationConfig:
        """Read a YAML file.

        Raises:
            ConfigError: with the file, the key, what was found and what was expected.
        """
        path = find_config(path, folder="translation")
        return validate(cls, read_yaml(path, overrides), where=str(path))

    @model_validator(mode="after")
    def _check(self) -> TranslationConfig:
        if main_lang(self.source) == main_lang(self.target):
            raise ValueError(f"target: is '{self.target}', the language of the source ('{self.source}')")
        for part in self.parts:
            if not re.fullmatch(r"\w[\w.-]*", part):
                raise ValueError(f"'{part}' is no name of a part: letters, digits, dots, hyphens, underscores")
        if self.drop_contradicted and self.lexicon is None:
            raise ValueError("drop_contradicted: needs a lexicon")
        return self


def run_translation(
    config: TranslationConfig,
    output: Path,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Translate, write the folder, return what its manifest and audit say. A killed run goes on where it was.

    Args:
        limit: documents of each part, for a try.

    Raises:
        ConfigError: the translator cannot be used, returns another language, or costs too many entities.
        XnormError: files are missing, or what reading raises; nothing is written then.
    """
    check_writable(output, kind=KIND, overwrite=overwrite)
    refuse_missing(config.name, missing_files(CorpusConfig(parts=config.parts)))
    translator: Translator = find_component("translators", config.translator.type)(config.translator)
    lexicon = None
    if config.lexicon is not None:
        lexicon = Lexicon(read_terminology(config.lexicon)[0], config.target)
    work = output.parent / f".{output.name}.work"
    about: dict[str, Any] = {
        "xnorm_version": version("xnorm"),
        "name": config.name,
        "about": config.about,
        "config": config.model_dump(mode="json"),
        "source": config.source,
        "target": config.target,
        "limit": limit,
    }
    with TranslationCache(translator, config.source, config.target, work) as cache:
        if cache.found:
            say(f"going on with {cache.found:,} sentences that a run which was stopped had translated")
        run = _Run(config, translator, cache, lexicon, progress, say)
        with write_folder(output, kind=KIND, overwrite=overwrite, about=about) as folder:
            parts = {part: run.part(part, folder, limit) for part in config.parts}
            total = TranslationAudit.total(run.audits)
            _refuse_too_many_dropped(total, config.max_dropped)
            audit = {
                "total": total.as_dict(),
                "parts": {p: a.as_dict() for p, a in zip(parts, run.audits, strict=True)},
            }
            text = json.dumps(audit, indent=1, ensure_ascii=False)
            (folder / AUDIT).write_text(encodable(text) + "\n", encoding="utf-8")
            about["translator"] = {"identity": translator.identity, **translator.about()}
            about["parts"] = parts
            about["audit"] = {key: audit["total"][key] for key in ("entities", "kept", "dropped", "share_dropped")}
        cache.forget()
    return {**about, "audit": audit["total"]}


class _Run:
    """One translation at work."""

    def __init__(
        self,
        config: TranslationConfig,
        translator: Translator,
        cache: TranslationCache,
        lexicon: Lexicon | None,
        progress: Progress,
        say: Say,
    ) -> None:
        self.config, self.translator, self.cache, self.lexicon = config, translator, cache, lexicon
        self.progress, self.say = progress, say
        self.audits: list[TranslationAudit] = []
        self._judged, self._foreign = 0, 0
        self._example = ""

    def part(self, part: str, folder: Path, limit: int | None) -> dict[str, Any]:
        """Translate a part into a file of the folder; return what the manifest says of it."""
        spec = self.config.parts[part]
        assert isinstance(spec, ReaderConfig)
        reader: Reader = find_component("corpora", spec.type)(spec)
        report, audit = ReadReport(), TranslationAudit()
        self.audits.append(audit)
        documents = list(islice(self._documents(reader, report), limit))
        for reason, number in report.skipped.items():
            self.say(f"part {part}: {number:,} left out: {reason}")
        if not documents:
            raise DataError(f"the part '{part}' holds no document in '{self.config.source}'", path=spec.path)
        path = folder / f"{part}.jsonl.gz"
        draw = Random(f"{self.config.seed} {part}")
        written: list[Document] = []
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
            for start in range(0, len(documents), BLOCK):
                self.progress(f"translating {part}", start, len(documents))
                for document in self._block(documents[start : start + BLOCK], audit, draw):
                    file.write((encodable(json.dumps(to_row(document), ensure_ascii=False)) + "\n").encode())
                    written.append(document)
        self.progress(f"translating {part}", len(documents), len(documents))
        self._refuse_foreign(1)
        _check_written(path, documents, written)
        return {
            "file": path.name,
            "from": getattr(spec, "hub", None) or spec.path.name,
            "sha256": _checksum(reader.files())
            if getattr(spec, "hub", None) is None
            else spec.model_dump()["revision"],
            "documents": len(written),
            "mentions": sum(len(document.mentions) for document in written),
            "mentions_of_source": sum(len(document.mentions) for document in documents),
            "several_gold": spec.several_gold,
            "skipped": dict(report.skipped),
            "noted": dict(report.noted),
        }

    def _documents(self, reader: Reader, report: ReadReport) -> Iterator[Document]:
        wanted = main_lang(self.config.source)
        for document in reader.documents(report):
            if document.lang is not None and main_lang(document.lang) != wanted:
                report.skip(f"documents of another language than '{wanted}'", f"document '{document.id}'")
            else:
                yield document

    def _block(self, documents: Sequence[Document], audit: TranslationAudit, draw: Random) -> Iterator[Document]:
        config = self.config
        source, target = config.source, config.target
        works = [prepare(document, config.projection, audit) for document in documents]
        knows = (lambda text: self.translator.knows(text, source, target)) if self.translator.partial else None
        project(works, self.cache, config.projection, source=source, target=target, knows=knows)
        for work in works:
            self._judge(work)
        self._refuse_foreign(ENOUGH)
        for work in works:
            yield finish(
                work, target, audit, lexicon=self.lexicon, drop_contradicted=config.drop_contradicted, draw=draw,
                samples=config.samples,
            )  # fmt: skip

    def _judge(self, work: Work) -> None:
        """Count the sentences that came back in another language, or as they were."""
        for unit, placed in zip(work.units, work.placed, strict=True):
            if len(unit.text) >= 25:
                self._judged += 1
                if placed.fault in (OTHER_LANGUAGE, UNTRANSLATED):
                    self._foreign += 1
                    self._example = self._example or f"{unit.text[:60]!r} became {placed.text[:60]!r}"

    def _refuse_foreign(self, enough: int) -> None:
        if self._judged >= enough and self._foreign * 2 > self._judged:
            raise ConfigError(
                f"the translator returned {self._foreign:,} of {self._judged:,} sentences in another language than "
                f"'{self.config.target}', or as they were ({self._example}); look at its languages"
            )


def _refuse_too_many_dropped(audit: TranslationAudit, most: float) -> None:
    if audit.share_dropped > most:
        reasons = "; ".join(f"{n:,} since {reason}" for reason, n in audit.dropped.most_common(3))
        raise ConfigError(
            f"{audit.dropped.total():,} of {audit.entities:,} entities are lost ({audit.share_dropped:.0%}): {reasons}"
            f"; nothing was written; take another translator, or allow it with max_dropped (now {most:g})"
        )


def _check_written(path: Path, sources: Sequence[Document], written: Sequence[Document]) -> None:
    """Read the file again, and compare it with what it was made of: every mention with its text at its offsets, and
    with the id and the gold ids of the source.

    Raises:
        DataError: they differ; ids that are used twice are a reason.
    """
    gold = [{m.id: set(m.gold) for m in document.mentions} for document in sources]
    config = BigbioConfig(type="bigbio", path=path, mismatch="error")
    again = BigbioReader(config).documents(ReadReport())
    for theirs, document, found in zip(gold, written, again, strict=True):
        same = [(m.text, m.spans) for m in document.mentions] == [(m.text, m.spans) for m in found.mentions]
        for mine, read in zip(document.mentions, found.mentions, strict=True):
            as_source = mine.id is None or (read.id == mine.id and set(mine.gold) == theirs[mine.id])
            if not same or not as_source or set(read.gold) != set(mine.gold):
                raise DataError(
                    f"document '{document.id}': the mention '{mine.id}' cannot be written as BigBIO with its gold ids "
                    f"({', '.join(mine.gold)})", fix="look at the ids of the corpus",
                )  # fmt: skip


def _checksum(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file, or of the names and checksums of several."""
    if len(files) == 1:
        return sha256_file(files[0])
    return sha256_text("\n".join(f"{file.name} {sha256_file(file)}" for file in files))
