"""Several sources into one terminology: read, lay over, filter, merge, report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from xnorm.aliases.base import AliasConfig, AliasMaker, AliasReport
from xnorm.artifact import sha256_file
from xnorm.columns import Facts
from xnorm.config import AliasSpec, SourceSpec, StrictModel
from xnorm.enriching import add_aliases
from xnorm.errors import ConfigError, DataError
from xnorm.homonyms import qualify_homonyms
from xnorm.joining import Joiner
from xnorm.mapped_sources import map_facts
from xnorm.mapping import read_mapping
from xnorm.mappings.base import MappingConfig
from xnorm.merging import MergeConfig, MergeReport, merge_equivalent
from xnorm.registry import find_component
from xnorm.tables import Terminology
from xnorm.tally import as_plain
from xnorm.terminology.base import ColumnParser, Filters, SourceConfig, SourceReport
from xnorm.types import SCOPES

__all__ = ["Filters", "Report", "TerminologyConfig", "read_terminology"]


class TerminologyConfig(StrictModel):
    """The sources of a terminology, in order of precedence, and what to keep of them."""

    sources: list[SourceSpec]
    """Earlier sources win: their preferred names, definitions and name order come first."""
    filters: Filters = Filters()
    """Filters over all sources."""
    merge: MergeConfig | None = None
    """Make one of concepts of different sources that are the same; default: ids alone say what is one concept."""
    aliases: list[AliasSpec] = Field(default_factory=list)
    """Further names of the concepts, that no source gives them: makers of `xnorm.aliases`, one after the other. They
    work on the merged concepts."""
    homonyms: Literal["keep", "qualify"] = "keep"
    """Whether concepts that are called the same get a name with a qualifier: `Cold (disease)`, `Cold (sensation)`."""

    @property
    def every_source(self) -> list[SourceConfig]:
        """The sources, and those that aliases are from."""
        foreign = (source for maker in self.aliases for source in getattr(maker, "sources", ()))
        return [source for source in (*self.sources, *foreign) if isinstance(source, SourceConfig)]


@dataclass(slots=True)
class Report:
    """What became of the sources."""

    sources: list[SourceReport] = field(default_factory=list)
    concepts: int = 0
    names: int = 0
    retired: int = 0
    merged_concepts: int = 0
    """Concepts that more than one source defines."""
    duplicate_names: int = 0
    """Names that a concept already had in that language."""
    without_names: int = 0
    """Concepts left out because the filters left them no name."""
    named_differently: int = 0
    """Preferred names of an id that an earlier source names otherwise: two sources may mean two things by one id."""
    named_differently_examples: list[str] = field(default_factory=list)
    """The first of them: the id and both names."""
    merge: MergeReport | None = None
    """What `merge` made one, and what it did not."""
    files: dict[str, dict[str, int | str]] = field(default_factory=dict)
    """Size and checksum by path of the mappings by which it did, and of the files that aliases are from."""
    aliases: list[AliasReport] = field(default_factory=list)
    """What each maker of aliases added, and left out."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return as_plain(self)


def read_terminology(config: TerminologyConfig) -> tuple[Terminology, Report]:
    """Read all sources and join them.

    Names keep the order of their sources; one name of a concept in one language is kept once, where it came first.

    Raises:
        ConfigError: no source, or a filter that names an unknown scope or source.
        DataError: a source cannot be read, one id comes with two preferred names in one source, or nothing is left.
    """
    _check(config)
    report = Report()
    joiner = Joiner(config.filters)
    for source in config.sources:
        assert isinstance(source, SourceConfig)
        counts = _count_for(source)
        report.sources.append(counts)
        parser: ColumnParser = find_component("terminology", source.type)(_pushed_down(source, config.filters))
        # what a parser does itself it was asked for: the source's own types, or in their place those of all sources
        types = [source.types, config.filters.types]
        joiner.start(source, counts, types=[t for t in types if t != parser.config.types or not parser.filters_types])
        for batch in _mapped(parser.columns(counts), source, counts):
            joiner.add(batch)
        joiner.finish()
        counts.files |= _about_files(parser.paths())
    _check_sources(config, [*joiner.words.sources.values])
    terminology, outcome = joiner.build()
    for key, value in asdict(outcome).items():
        setattr(report, key, value)
    if not len(terminology):
        paths = ", ".join(counts.path for counts in report.sources)
        raise DataError(f"no concept with a name is left of {paths}", fix="look at the filters and the languages")
    if config.merge is not None:
        labels = [counts.source for counts in report.sources]
        terminology, report.merge = merge_equivalent(terminology, config.merge, labels)
        report.files |= _about_files(m.path for m in config.merge.mappings if isinstance(m, MappingConfig))
    if config.aliases:
        terminology = _with_aliases(terminology, config, report)
    if config.homonyms == "qualify":
        terminology = qualify_homonyms(terminology)
    report.concepts, report.names = len(terminology), terminology.n_names
    report.retired = terminology.retired.num_rows
    return terminology, report


def _with_aliases(terminology: Terminology, config: TerminologyConfig, report: Report) -> Terminology:
    """Return the terminology with aliases; the files that they are from are noted."""

    def read(sources: Sequence[SourceConfig], filters: Filters) -> Terminology:
        found, about = read_terminology(TerminologyConfig(sources=[*sources], filters=filters))
        report.files |= about.files
        for source in about.sources:
            report.files |= source.files
            if source.bytes is not None and source.sha256 is not None:
                report.files[source.path] = {"bytes": source.bytes, "sha256": source.sha256}
        return found

    makers: list[AliasMaker] = []
    for spec in config.aliases:
        assert isinstance(spec, AliasConfig)
        makers.append(find_component("aliases", spec.type)(spec))
    terminology, report.aliases = add_aliases(terminology, makers, read, config.filters.langs)
    report.files |= _about_files(path for maker in makers for path in maker.paths())
    return terminology


def _mapped(batches: Iterator[Facts], source: SourceConfig, counts: SourceReport) -> Iterator[Facts]:
    """Return the batches of a source with the ids that its mapping has for them."""
    if source.map is None:
        return batches
    assert isinstance(source.map, MappingConfig)
    mapping = read_mapping(source.map)
    counts.mapping = mapping.report.as_dict()
    counts.files |= _about_files([source.map.path])
    return map_facts(batches, mapping, counts)


def _about_files(paths: Iterable[Path]) -> dict[str, dict[str, int | str]]:
    """Return what files can be known by again."""
    return {str(path): {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in paths}


def _pushed_down(source: SourceConfig, filters: Filters) -> SourceConfig:
    """Return a source that asks for no more than the filters over all sources let pass, for parsers that can look."""
    keys = ("langs",) if source.overlay else ("langs", "types")
    wanted = {key: getattr(filters, key) for key in keys if getattr(source, key) is None}
    return source.model_copy(update={key: value for key, value in wanted.items() if value is not None})


def _count_for(source: SourceConfig) -> SourceReport:
    """Return the report of a source, with what its files can be known by again.

    Raises:
        DataError: there is no such file.
    """
    if not source.path.exists():
        raise DataError("no such file", path=source.path, fix=source.hint or "look at the source's `path`")
    about = SourceReport(source=source.label, path=str(source.path))
    if source.path.is_file():
        about.bytes, about.sha256 = source.path.stat().st_size, sha256_file(source.path)
    return about


def _check(config: TerminologyConfig) -> None:
    if not config.sources:
        raise ConfigError("terminology.sources: expected at least one source, found none")
    for scope in config.filters.scopes or ():
        if scope not in SCOPES:
            raise ConfigError(f"terminology.filters.scopes: unknown '{scope}'; known: {', '.join(SCOPES)}")
    # what vocabularies a source has, only reading it tells
    if not any("vocabularies" in type(source).model_fields for source in config.sources):
        _check_sources(config, [])


def _check_sources(config: TerminologyConfig, found: Sequence[str]) -> None:
    """Refuse a filter that names a source which there is not.

    Args:
        found: what names are from, beside the sources of the config.
    """
    known = [*(s.label for s in config.sources if isinstance(s, SourceConfig)), *found]
    for name in config.filters.sources or ():
        if name not in known:
            listed = ", ".join(dict.fromkeys(known[:12]))
            raise ConfigError(f"terminology.filters.sources: unknown '{name}'; known: {listed}")
