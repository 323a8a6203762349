"""SNOMED CT in Release Format 2: a release, as a folder or a zip archive, and national extensions over it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import AfterValidator, BeforeValidator, Field
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from xnorm.branches import rows_below
from xnorm.columns import Facts, clean_column, facts
from xnorm.config import InputPath, StrictModel
from xnorm.errors import DataError
from xnorm.registry import did_you_mean
from xnorm.rf2 import Ids, ReleaseFile, Skip, find_files, read_rows, rows_of, wrong_check_digit
from xnorm.rf2_history import ASSOCIATIONS, INACTIVATION, Retired, read_history
from xnorm.rf2_names import DEFINITION, FSN, NEVER, SYNONYM, Descriptions, rank_names
from xnorm.terminology.base import ColumnParser, SourceConfig, SourceReport
from xnorm.text import lang_code

__all__ = ["Extension", "SnomedConfig", "SnomedParser"]

Flags = npt.NDArray[np.bool_]

_IS_A = 116680003
_EXAMPLES = 3
"""Ids told of what is counted."""


def _sctid(value: Any) -> int:
    """Return the number in `22298006`, `SNOMEDCT:22298006` or `22298006 |Myocardial infarction|`."""
    match = re.fullmatch(r"(?:\w+:)?(\d{1,18})\s*(?:\|.*)?", str(value).strip())
    if match is None or isinstance(value, bool | float):
        raise ValueError(f"expected an id of SNOMED CT, as in 22298006, found {str(value)[:40]!r}")
    return int(match[1])


def _day(value: Any) -> Any:
    """Return 20260101 for itself, as a number or text, and for what YAML makes of 2026-01-01."""
    text = value.isoformat() if isinstance(value, datetime.date) else str(value)
    if value is not None and re.fullmatch(r"\d{8}", text := text.replace("-", "")) is None:
        raise ValueError(f"expected a day as in 20260101, found {text[:40]!r}")
    return None if value is None else int(text)


def _association(value: str) -> str:
    """Return an association in its own spelling: `same_as` is `SAME AS`."""
    word = re.sub(r"[\W_]+", " ", value).strip().upper()
    if word not in ASSOCIATIONS:
        raise ValueError(f"unknown association '{value}'; {did_you_mean(word, ASSOCIATIONS)}")
    return word


SctId = Annotated[int, BeforeValidator(_sctid)]
Refsets = Annotated[list[SctId], BeforeValidator(lambda v: v if isinstance(v, list) else [v])]


class Extension(StrictModel):
    """A release that is laid over another."""

    path: InputPath
    """The unpacked folder, or its zip archive."""


class SnomedConfig(SourceConfig):
    """A release of SNOMED CT in Release Format 2, as it is published or unpacked."""

    path: InputPath
    """The unpacked folder, or its zip archive; several editions may lie in one folder."""
    prefix: str | None = "SNOMEDCT"
    """CURIE prefix put before the ids."""
    lang: str = "en"
    """Language whose preferred name is shown, and whose definitions come first."""
    extensions: list[Extension] = Field(default_factory=list)
    """Releases that are laid over `path`, as in `[{path: SnomedCT_Germany}]`: the newest row of an id counts, and so an
    extension may make international concepts inactive."""
    release: Literal["snapshot", "full"] = "snapshot"
    """Files to read: the Snapshot of an edition, or its Full files where it has none; or the Full files alone."""
    date: Annotated[int | None, BeforeValidator(_day)] = None
    """The state of that day, as in 20250101, from the Full files; default: the newest."""
    refsets: dict[str, Refsets] = Field(default_factory=dict)
    """Language reference sets by language, first ones before: `{en: 900000000000508004}` for British names alone.
    Default: all there are, the large ones of a language first; of these national ones, then US English."""
    unlisted: bool = False
    """Whether to keep synonyms that stand in none of these reference sets."""
    strip_tags: bool = True
    """Whether fully specified names go without their tag: `Heart failure` for `Heart failure (disorder)`."""
    semantic_tags: bool = True
    """Whether the tag of the fully specified name becomes the type: `disorder`; English ones before others."""
    roots: list[SctId] | None = None
    """Keep only these concepts and what lies below them by is-a; default: all."""
    modules: list[SctId] | None = None
    """Keep only concepts and descriptions of these modules; default: all."""
    associations: list[Annotated[str, AfterValidator(_association)]] = Field(
        default_factory=lambda: ["SAME AS", "REPLACED BY"]
    )
    """Historical associations that lead from an inactive concept to what replaces it, first ones before."""


@dataclass(slots=True)
class _Concepts:
    """The concepts of a release, sorted by id; all arrays are of one length."""

    ids: Ids
    active: Flags
    wanted: Flags
    """Whether the module is wanted."""
    curies: pa.Array

    def column(self, rows: Ids) -> pa.DictionaryArray:
        """Return the ids in these rows."""
        return pa.DictionaryArray.from_arrays(pa.array(rows, pa.int32()), self.curies)


class SnomedParser(ColumnParser):
    """Reads the newest state of concepts, descriptions, is-a relationships and reference sets, all as arrays.

    A synonym that a language reference set calls preferred is the preferred name of its language; where there is none,
    the fully specified name is. Inactive concepts are retired, with why and what replaces them.
    """

    config_class: ClassVar[type[SourceConfig]] = SnomedConfig
    config: SnomedConfig

    def paths(self) -> list[Path]:
        """Return the files of the release and its extensions that are read, or the archives in which they are."""
        files = (one.file for one in self._choose())
        paths = dict.fromkeys(file if isinstance(file, Path) else file.archive for file in files)
        return [path for path in paths if path != self.config.path]

    def columns(self, report: SourceReport) -> Iterator[Facts]:
        """Yield all of the release, in the order of ids.

        Raises:
            DataError: not a release, or an extension alone; a root, a language or a language reference set that it does
                not have; or as `find_files` and `read_rows`.
        """
        self._report, self._files = report, self._choose(report.skip)
        self._check_files()
        rows = self._rows("Description", "TextDefinition")
        concepts = self._concepts(rows)
        found = self._descriptions(rows, concepts)
        del rows
        children, parents = self._is_a(concepts)
        retired = self._retired(concepts)
        kept = concepts.active & concepts.wanted
        self._count("concept of another module", concepts.ids[~concepts.wanted])
        if self.config.roots is not None:
            below = self._below(
                self.config.roots, concepts, np.append(children, retired.owners), np.append(parents, retired.targets)
            )
            self._count("concept outside the roots", concepts.ids[concepts.wanted & ~below])
            kept, retired = kept & below, retired.where(below[retired.rows])
        tagged, tags = found.split_tags(strip=self.config.strip_tags)
        typed = kept[tagged] & pc.is_valid(tags).to_numpy(zero_copy_only=False) & self.config.semantic_tags
        inside = kept[children]
        yield {
            **self._terms(found, concepts, kept, retired),
            "types": facts("types", id=concepts.column(tagged[typed]), value=tags.filter(pa.array(typed))),
            "parents": facts("parents", id=concepts.column(children[inside]), value=concepts.column(parents[inside])),
        }

    def _choose(self, skip: Skip | None = None) -> list[ReleaseFile]:
        config = self.config
        kind: Literal["Full", "Snapshot"] = "Full" if config.release == "full" or config.date else "Snapshot"
        paths = [config.path, *(extension.path for extension in config.extensions)]
        return [one for path in paths for one in find_files(path, kind, fallback=kind == "Snapshot", skip=skip)]

    def _check_files(self) -> None:
        """Refuse a release without concepts or descriptions; count what else it lacks, and say its version."""
        found = {one.content: one for one in self._files}
        for content in ("Description",) if self.config.overlay else ("Concept", "Description", "Relationship"):
            if content not in found and (content != "Relationship" or self.config.roots is not None):
                names = ", ".join(one.file.name for one in found.values())
                raise DataError(
                    f"has no file of kind {content}, such as sct2_{content}_Snapshot_INT_20260101.txt; found {names}",
                    path=self.config.path, fix="give a whole release, and an extension under `extensions`",
                )  # fmt: skip
        for content in (
            ("Language",) if self.config.overlay else ("Language", "Relationship", "Association", "AttributeValue")
        ):
            self._report.skip("kind of file that the release lacks", content, count=content not in found)
        editions = {one.edition: one.date for one in self._files if one.content == "Description"}
        mixed = {one.edition for one in self._files if one.kind == "Snapshot"}
        for one in self._files:
            other_date = one.date != editions.get(one.edition, one.date)
            self._report.skip("file of another date than the edition's", one.file.name, count=other_date)
            in_place = one.kind == "Full" and one.edition in mixed
            self._report.skip("Full file, for want of a Snapshot", one.file.name, count=in_place)
        several = len(editions) > 1
        self._report.version = ", ".join(f"{e} {d}" if several else d for e, d in editions.items()) or None

    def _rows(self, *contents: str, **only: int) -> pa.Table:
        return read_rows(self._files, *contents, skip=self._report.skip, only=only, until=self.config.date)

    def _count(self, reason: str, ids: Ids) -> None:
        for identifier in ids[:_EXAMPLES].tolist():
            self._report.skip(reason, str(identifier))
        self._report.skip(reason, count=max(0, len(ids) - _EXAMPLES))

    def _concepts(self, descriptions: pa.Table) -> _Concepts:
        """Return the concepts of the release; where it is laid over another, those that it describes, too."""
        table = self._rows("Concept")
        ids, active, module = (table.column(c).to_numpy() for c in ("id", "active", "moduleId"))
        if self.config.date is not None and not len(ids) and not self.config.overlay:
            problem = f"has no concept as early as {self.config.date}: it begins later"
            raise DataError(problem, path=self.config.path, fix="give a later `date`")
        modules = self.config.modules
        wanted = np.ones(len(ids), bool) if modules is None else np.isin(module, modules)
        if self.config.overlay:
            described = descriptions.filter(pc.equal(descriptions.column("active"), 1)).column("conceptId")
            more = np.setdiff1d(described.to_numpy(), ids)
            ids = np.concatenate([ids, more])
            order = np.argsort(ids)
            ids, active = ids[order], np.append(active, np.ones(len(more), np.int64))[order]
            wanted = np.append(wanted, np.ones(len(more), bool))[order]
        self._report.read = len(ids)
        self._count("concept id with a wrong check digit, kept", ids[wrong_check_digit(ids)])
        curies = pa.array(ids).cast(pa.string())
        if self.config.prefix is not None:
            curies = pc.binary_join_element_wise(self.config.prefix, curies, ":")
        return _Concepts(ids, active == 1, wanted, curies)

    def _descriptions(self, rows: pa.Table, concepts: _Concepts) -> Descriptions:
        """Return the descriptions, and count those that are of no use.

        Raises:
            DataError: most are of concepts that the release does not have.
        """
        ids, active, of, module = (rows.column(c).to_numpy() for c in ("id", "active", "conceptId", "moduleId"))
        self._count("description id with a wrong check digit, kept", ids[wrong_check_digit(ids)])
        place = rows_of(of, concepts.ids)
        usable = active == 1
        missing = np.flatnonzero(usable & (place < 0))
        if 2 * len(missing) > usable.sum():
            raise DataError(
                f"is an extension: {len(missing):,} of {usable.sum():,} descriptions are of concepts that it does not "
                f"hold, such as {of[missing[0]]}",
                path=self.config.path,
                fix="give the international edition as `path` and this one under `extensions`, or set `overlay: true`",
            )
        self._count("description of a concept that is missing", ids[missing])
        usable &= place >= 0
        if self.config.modules is not None:
            other = usable & ~np.isin(module, self.config.modules)
            self._count("description of another module", ids[other])
            usable &= ~other
        found = Descriptions.of(rows, place, usable, lang_code(self.config.lang))
        self._count("description of another type", ids[usable & ~np.isin(found.kind, (FSN, SYNONYM, DEFINITION))])
        return found

    def _terms(self, found: Descriptions, concepts: _Concepts, kept: Flags, retired: Retired) -> Facts:
        """Return the tables in which texts stand: concepts, names, retired.

        Raises:
            DataError: a language or a language reference set that the release does not have.
        """
        try:
            ranking = rank_names(found, self._rows("Language"), self.config.refsets, self._report.skip)
        except ValueError as e:
            raise DataError(str(e), path=self.config.path, fix="look at `refsets` in the config") from None
        synonyms = found.of_kind(SYNONYM)
        if not self.config.unlisted:
            left = synonyms[~ranking.listed[synonyms]]
            self._count("synonym in no language reference set", found.ids[left[kept[found.concept[left]]]])
            synonyms = synonyms[ranking.listed[synonyms]]
        places = np.concatenate([found.of_kind(FSN), synonyms])
        places = places[np.lexsort((places, ranking.rank[places], found.lang[places], found.concept[places]))]
        concept, lang = found.concept[places], found.lang[places]
        begins = np.diff(concept, prepend=-1) != 0
        preferred = (begins | (np.diff(lang, prepend=-1) != 0)) & (ranking.rank[places] < NEVER)
        live = kept[concept]
        shown = _first_places(places[begins], found.concept, len(kept))[retired.rows]
        definitions = found.first_of_concept(found.of_kind(DEFINITION), found.lang, ranking.rank)
        defined = definitions[kept[found.concept[definitions]]]
        ends = np.append(0, np.cumsum(retired.counts))
        return {
            "concepts": facts("concepts", id=concepts.column(np.flatnonzero(kept))),
            "definitions": facts("definitions", id=concepts.column(found.concept[defined]), value=found.texts(defined)),
            "names": facts(
                "names",
                id=concepts.column(concept[live]),
                text=found.texts(places[live]),
                lang=_tagged(lang[live], found.langs),
                scope=_tagged(np.where(preferred[live], 0, 1), ["preferred", "exact"]),
            ),
            "retired": facts(
                "retired",
                id=concepts.column(retired.rows),
                replaced_by=pa.ListArray.from_arrays(
                    pa.array(ends, pa.int32()), concepts.curies.take(pa.array(retired.targets))
                ),
                name=clean_column(pa.chunked_array([found.texts(shown)])),
                reason=pa.array(retired.reasons, pa.string()),
            ),
        }

    def _is_a(self, concepts: _Concepts) -> tuple[Ids, Ids]:
        """Return the rows of children and their parents, both active."""
        nothing = np.empty(0, np.int64)
        if self.config.overlay and self.config.roots is None:
            return nothing, nothing  # a hierarchy is never laid over another
        table = self._rows("Relationship", typeId=_IS_A)
        table = table.filter(pc.equal(table.column("active"), 1))
        ids, *ends = (table.column(c).to_numpy() for c in ("id", "sourceId", "destinationId"))
        children, parents = (rows_of(end, concepts.ids) for end in ends)
        missing = (children < 0) | (parents < 0)
        active = np.append(concepts.active, False)
        gone = ~missing & ~(active[children] & active[parents])
        itself = ~missing & ~gone & (children == parents)
        self._count("is-a of a concept that is missing", ids[missing])
        self._count("is-a of an inactive concept", ids[gone])
        self._count("is-a from a concept to itself", ids[itself])
        n, good = len(concepts.ids), ~(missing | gone | itself)
        children, parents = np.divmod(np.unique(children[good] * n + parents[good]), max(n, 1))
        graph = csr_array((np.ones(len(children), np.int8), (children, parents)), shape=(n, n))
        _, label = connected_components(graph, connection="strong")
        self._count("concept that is-a leads back to, kept", concepts.ids[np.bincount(label)[label] > 1])
        return children, parents

    def _below(self, roots: list[int], concepts: _Concepts, children: Ids, parents: Ids) -> Flags:
        """Return which concepts are among the roots or below them; a retired one is below what replaces it.

        Raises:
            DataError: a root is not there, or inactive.
        """
        n, rows = len(concepts.ids), rows_of(np.array(roots, np.int64), concepts.ids)
        for root, row in zip(roots, rows.tolist(), strict=True):
            if row < 0 or not concepts.active[row]:
                problem = f"has no {'' if row < 0 else 'active '}concept '{self.curie(str(root))}'"
                raise DataError(problem, path=self.config.path, fix="look at `roots` in the config")
        return rows_below(rows, csr_array((np.ones(len(parents), np.int8), (parents, children)), shape=(n, n)))

    def _retired(self, concepts: _Concepts) -> Retired:
        """Return the inactive concepts of wanted modules."""
        retired, missing = read_history(
            concepts.ids,
            ~concepts.active & concepts.wanted,
            self._rows("Association"),
            self._rows("AttributeValue", refsetId=INACTIVATION),
            self.config.associations,
        )
        self._count("concept replaced by one that is missing", missing)
        return retired


def _first_places(places: Ids, concept: Ids, n: int) -> Ids:
    """Return the place of the description of each of n concepts, -1 for none."""
    found = np.full(n, -1)
    found[concept[places]] = places
    return found


def _tagged(numbers: Ids, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(words, pa.string()))
