"""A file of mentions in, a file of rankings out: what `xnorm link` does."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from xnorm.artifact import VERIFY_UP_TO, kind_of, open_folder, sha256_file, sha256_text
from xnorm.bundle import about_reranker, model_checksum
from xnorm.candidates._fitting import fit_on_names
from xnorm.candidates.ensemble import EnsembleGenerator
from xnorm.config import find_config
from xnorm.corpora.base import ReadReport
from xnorm.errors import ArtifactError, ConfigError, DataError
from xnorm.filters import QueryFilters, checksums
from xnorm.fusion import FusionConfig, FusionModel
from xnorm.linker import KIND, LinkCounts, Linker, LinkerConfig
from xnorm.looking import coverage, retired_by_reason
from xnorm.output import open_output, writer
from xnorm.progress import Progress, Say, no_progress
from xnorm.reading import reader_for
from xnorm.registry import find_component
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.tables import Terminology
from xnorm.types import Mention

__all__ = [
    "describe",
    "find_or_build",
    "fit_fusion",
    "job_key",
    "link_file",
    "mentions_of",
    "missing_sources",
    "open_linker",
    "open_terminology",
    "terminology_of",
]


def open_linker(
    index: str | Path, *, threshold: float | None = None, trust: bool = False, progress: Progress = no_progress
) -> Linker:
    """Open an index folder; given a config, open its index under `index/NAME`, after building it if it is not there.

    Raises:
        ArtifactError: the folder cannot be used, or was built from other settings than the config has now.
        ConfigError, DataError: the config or its sources cannot be used.
    """
    overrides = {} if threshold is None else {"decision": {"threshold": threshold}}
    if Path(index).is_dir():
        return Linker.load(index, overrides=overrides, trust=trust)
    config = _config_of(index)
    folder = Path("index") / config.name
    if not folder.exists():
        linker = Linker.build(config, progress=progress)
        if not folder.exists():  # another process may have been faster
            linker.save(folder)
    if not _is_of(open_folder(folder, kind=KIND, verify=False)["config"], config):
        raise ArtifactError(
            f"{folder}: was built from other settings than {index} has now; "
            f"`xnorm index {index} --overwrite` builds it again, or link with the folder itself"
        )
    linker = _load(folder, config, overrides)
    if (path := _changed_source(linker.report)) is not None:
        raise ArtifactError(
            f"{folder}: {path} has changed since; `xnorm index {index} --overwrite` builds it again, or link with "
            "the folder itself"
        )
    return linker


def _config_of(source: str | Path) -> LinkerConfig:
    """Return the config that a file or a name stands for.

    Raises:
        ArtifactError: it looks like a folder, and there is none.
    """
    if Path(source).suffix not in (".yaml", ".yml") and Path(source).parent != Path():
        raise ArtifactError(f"{source}: no such index; `xnorm index CONFIG --output {source}` writes one")
    return LinkerConfig.read(find_config(source))


def find_or_build(config: LinkerConfig, *, progress: Progress = no_progress, say: Say = lambda line: None) -> Linker:
    """Open the index of a config, `index/NAME`, or build it. An index of that name that was built from other settings
    or sources is left alone: then it is `index/NAME-XXXXXXXX`, by the settings' checksum, which is renewed as needed.

    Args:
        say: called with a line that the user should read.
    """
    plain = Path("index") / config.name
    settings = json.dumps(_of_the_index(config.model_dump(mode="json")), sort_keys=True)
    own = plain.with_name(f"{config.name}-{sha256_text(settings)[:8]}")
    folder = plain if not plain.exists() or _is_current(plain, config) else own
    if folder == own:
        say(f"{plain} was built from other settings or sources; using {own}")
    if not (folder.exists() and _is_current(folder, config)):
        _build(config, folder, progress, overwrite=folder == own)
    return _load(folder, config)


def _build(config: LinkerConfig, folder: Path, progress: Progress, *, overwrite: bool) -> None:
    """Build an index and save it, unless another process has done so meanwhile."""
    linker = Linker.build(config, progress=progress)
    if _is_current(folder, config):
        return
    try:
        linker.save(folder, overwrite=overwrite)
    except ArtifactError:
        if not _is_current(folder, config):
            raise


def _load(folder: Path, config: LinkerConfig, overrides: Mapping[str, Any] | None = None) -> Linker:
    """Open an index with what the config says now of all that does not make the index."""
    plain = config.model_dump(mode="json")
    later = {key: plain[key] for key in (*_LATER, "candidates")}
    return Linker.load(folder, overrides={**later, **(overrides or {})}, trust=True)  # the user's config names the code


_LATER = ("filters", "filters_by_type", "reranker", "decision", "max_chars")
"""Keys of a config that an index does not depend on."""


def _of_the_index(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a config's plain data that its index depends on."""
    kept = {key: value for key, value in settings.items() if key not in _LATER}
    return {**kept, "candidates": _of_the_generator(settings["candidates"])}


def _of_the_generator(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a generator's settings without those that only its queries depend on."""
    at_query = find_component("candidates", settings["type"]).config_class.at_query
    kept = {key: value for key, value in settings.items() if key not in at_query}
    if (encoder := kept.get("encoder")) is not None:
        later = find_component("encoders", encoder["type"]).config_class.at_query
        kept["encoder"] = {key: value for key, value in encoder.items() if key not in later}
    members = settings.get("members")
    return kept if members is None else {**kept, "members": {k: _of_the_generator(m) for k, m in members.items()}}


def _is_of(built: Mapping[str, Any], config: LinkerConfig) -> bool:
    """Return whether an index was built from a config, as far as it depends on it."""
    return _of_the_index(built) == _of_the_index(config.model_dump(mode="json"))


def missing_sources(config: TerminologyConfig, but: Collection[Path] = ()) -> list[str]:
    """Return a line for each file of a terminology that is not there: where it should be, where it is from."""
    return [
        f"terminology: {source.path}" + (f" ({source.hint})" if source.hint else "")
        for source in config.every_source
        if source.path not in but and not source.path.exists()
    ]


def _is_current(folder: Path, config: LinkerConfig) -> bool:
    try:
        if not _is_of(open_folder(folder, kind=KIND, verify=False)["config"], config):
            return False
        report = json.loads((folder / "terminology" / "report.json").read_text(encoding="utf-8"))
    except (ArtifactError, OSError, ValueError):
        return False
    return _changed_source(report) is None


def _changed_source(report: Mapping[str, Any]) -> Path | None:
    """Return the first file that an index was built from and that is another one now."""
    files = dict(report.get("files", {}))
    for source in report["sources"]:
        files |= {source["path"]: source, **source.get("files", {})}
    for name, about in files.items():
        path = Path(name)
        if path.is_file() and about["sha256"] and not _is_the_same(path, about["bytes"], about["sha256"]):
            return path
    return None


def _is_the_same(path: Path, size: int, checksum: str) -> bool:
    return path.stat().st_size == size and (size > VERIFY_UP_TO or sha256_file(path) == checksum)


def mentions_of(
    path: Path | None,
    *,
    texts: Sequence[str] | None = None,
    format: str | None = None,
    options: Mapping[str, object] | None = None,
) -> tuple[Iterator[Mention], ReadReport]:
    """Return the mentions of a file (None: standard input, or the given texts), streaming, and what is counted of it.

    Raises:
        ConfigError, DataError: see `xnorm.reading.reader_for`; a bad record is raised when it is reached.
    """
    report = ReadReport()
    if texts:
        lang = str(options["lang"]) if options and "lang" in options else None
        return iter([Mention(text, id=str(n), lang=lang) for n, text in enumerate(texts, 1)]), report
    reader = reader_for(path or Path("-"), format=format, options=options or {})
    return reader.mentions(report), report


def job_key(
    linker: Linker, path: Path | None, *, filters: QueryFilters | None = None, **settings: object
) -> str | None:
    """Return what tells one linking of a file from another, for resuming; None if the input cannot be read again.

    Args:
        path: the input; only regular files can be read again from where a killed run stopped.
        filters: those besides the config's.
        settings: everything else that the output depends on.
    """
    if path is None or not path.is_file():
        return None
    about = path.stat()
    parts: list[Any] = [linker.terminology.fingerprint, linker.config.model_dump(mode="json"), str(path.resolve())]
    parts += [None if filters is None else filters.model_dump(mode="json")]
    parts += [checksums([filters, *linker.config.all_filters]), model_checksum(linker.config.reranker)]
    fusion: FusionModel | None = getattr(linker.generator, "fusion", None)  # a file that may be fitted anew
    parts += [] if fusion is None else [fusion.model_dump(mode="json")]
    text = json.dumps([*parts, about.st_size, about.st_mtime_ns, settings], sort_keys=True, default=str)
    return sha256_text(text)


def link_file(
    linker: Linker,
    mentions: Iterable[Mention],
    output: Path | None,
    *,
    format: str = "jsonl",
    top_k: int = 10,
    filters: QueryFilters | None = None,
    explain: bool = False,
    overwrite: bool = False,
    job: str | None = None,
    progress: Progress = no_progress,
) -> LinkCounts:
    """Link mentions and write their rankings, streaming.

    Args:
        output: the file; None is standard output.
        format: see `xnorm.output.FORMATS`.
        filters: what may be proposed, besides what the linker's config says of it.
        job: from `job_key`; a killed run of the same job is taken up where it stopped.

    Raises:
        ArtifactError: the output exists, or cannot be written; then nothing is left of it.
        ConfigError, DataError: from the mentions.
    """
    with open_output(output, overwrite=overwrite, job=job) as out:
        counts = LinkCounts(**out.done)
        write = writer(out.file, format, explain=explain, header=not counts.mentions)
        rest = islice(mentions, counts.mentions, None)
        for batch, candidates in linker.batches(rest, top_k=top_k, filters=filters, counts=counts):
            first = counts.mentions - len(batch) + 1
            for number, (mention, ranked) in enumerate(zip(batch, linker.views(candidates), strict=True), first):
                write(mention, mention.id or str(number), ranked)
            out.keep(asdict(counts))
            progress("linking", counts.mentions, -1)
        if not counts.mentions:
            raise DataError("no mentions were found in the input")
    return counts


def fit_fusion(
    linker: Linker, settings: FusionConfig, output: Path, *, overwrite: bool = False, progress: Progress = no_progress
) -> FusionModel:
    """Fit the fusion of an index's ensemble on the index's own names, and write it to a file.

    Raises:
        ConfigError: the index has no ensemble of several members.
        ArtifactError: the file exists, or cannot be written.
        DataError: too few names to fit on.
    """
    generator = linker.generator
    if not isinstance(generator, EnsembleGenerator) or len(generator.members) < 2:
        found = linker.config.candidates.type
        raise ConfigError(f"candidates: there is nothing to fuse; expected an ensemble of two or more, found '{found}'")
    if output.exists() and not overwrite:
        raise ArtifactError(f"{output}: exists already; pass --overwrite to replace it, or choose another --output")
    if not output.parent.is_dir():
        raise ArtifactError(f"{output}: there is no folder {output.parent}; make it first, or choose another --output")
    fusion = fit_on_names(generator, linker.terminology, settings, progress=progress)
    try:
        fusion.write(output)
    except OSError as e:
        raise ArtifactError(f"{output}: cannot be written: {e.strerror or e}") from e
    return fusion


def describe(path: str | Path, *, verify: bool | None = None) -> dict[str, Any]:
    """Say what is in an index folder, without loading its generators: plain data for JSON.

    Args:
        verify: as in `Linker.load`.

    Raises:
        ArtifactError: as `Linker.load`.
    """
    path = Path(path)
    manifest = open_folder(path, kind=KIND, verify=verify)
    terminology = Terminology.open(path / "terminology")
    files: dict[str, dict[str, int]] = manifest["files"]
    reranker = about_reranker(path, manifest, verify=verify)
    return {
        "index": str(path),
        **{key: manifest[key] for key in ("name", "format_version", "xnorm_version", "fingerprint")},
        "concepts": len(terminology),
        "names": terminology.n_names,
        "retired": terminology.retired.num_rows,
        "retired_by_reason": {row["reason"]: row["ids"] for row in retired_by_reason(terminology)},
        "concepts_by_source": terminology.count_by("concepts", "source"),
        "concepts_by_lang": {row["lang"]: row["concepts"] for row in coverage(terminology)},
        "names_by_lang": terminology.count_by("names", "lang"),
        "names_by_scope": terminology.count_by("names", "scope"),
        "names_by_source": terminology.count_by("names", "source"),
        "concepts_by_type": terminology.count_by("concepts", "types"),
        "bytes": sum(entry["bytes"] for entry in files.values()) + (reranker["bytes"] if reranker else 0),
        "reranker": reranker,
        "report": json.loads((path / "terminology" / "report.json").read_text(encoding="utf-8")),
        "config": manifest["config"],
    }


def open_terminology(source: str | Path) -> Terminology:
    """Open the terminology of an index folder, or a folder of its tables. Given a config, open that of its index if
    there is one that is up to date, else read its sources, which writes nothing.

    Raises:
        ArtifactError: the folder cannot be used, or there is none.
        ConfigError, DataError: the config or its sources cannot be used.
    """
    folder = Path(source)
    if folder.is_dir():
        if kind_of(folder) is None and (folder / "concepts.arrow").is_file():
            return Terminology.open(folder)
        open_folder(folder, kind=KIND)
        return Terminology.open(folder / "terminology")
    return terminology_of(_config_of(source))


def terminology_of(config: LinkerConfig) -> Terminology:
    """Open the terminology of a config's index, `index/NAME`, if that is up to date; else read its sources.

    Raises:
        DataError: its sources cannot be used.
    """
    folder = Path("index") / config.name
    if folder.exists() and _is_current(folder, config):
        return open_terminology(folder)
    return read_terminology(config.terminology)[0]
