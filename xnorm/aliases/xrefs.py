"""Names of concepts of other terminologies that xrefs lead to, over several steps: HPO to MONDO to DOID to MeSH."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from xnorm.aliases._foreign import ForeignConfig, names_for, open_foreign, table_paths
from xnorm.aliases.base import AliasConfig, AliasMaker, AliasReport, ReadSources
from xnorm.errors import DataError
from xnorm.mapping import as_array
from xnorm.merging import living_rows
from xnorm.tables import Terminology, ranges
from xnorm.tally import EXAMPLES
from xnorm.terminology.base import SourceConfig
from xnorm.uniting import decoded_tags, ranks

__all__ = ["XrefsConfig", "XrefsMaker"]

OWNERS = 8
"""The most of our concepts that one concept gives its names to, with `ambiguous: each`."""

_Rows = npt.NDArray[np.int64]


class XrefsConfig(ForeignConfig):
    """Other terminologies, and how far xrefs are followed through them."""

    hops: int = Field(default=1, ge=1, le=8)
    """The most steps from our concept to another one, and from there on. The weight holds for each step."""
    direct: bool = True
    """Whether an xref that is the id of a concept of another source is a step, in either direction."""
    prefixes: list[str] = Field(default_factory=list)
    """CURIE prefixes of xrefs by which a step leads to a concept that has the same one, as in `[UMLS]`."""

    @model_validator(mode="after")
    def _check_steps(self) -> XrefsConfig:
        if not (self.direct or self.prefixes):
            raise ValueError("nothing is a step; set `direct` or `prefixes`")
        return self


class XrefsMaker(AliasMaker):
    """Follows xrefs from our concepts to others, never through one of ours, nor between two concepts of one source.

    Of a source a concept gets the names of those concepts alone that are nearest. A concept that several of ours reach
    in equally few steps is ambiguous, and so is what lies behind it. An xref that several concepts of one source share
    (ours count as one) is no step.
    """

    config_class: ClassVar[type[AliasConfig]] = XrefsConfig
    config: XrefsConfig

    def make(self, terminology: Terminology, read: ReadSources, report: AliasReport) -> Iterator[pa.Table]:
        """Yield the names that are reached in one step, in two, and so on; of a step in the order of the sources.

        Raises:
            DataError: the other terminologies cannot be read, or no xref leads to them.
        """
        foreign = open_foreign(self.config, read)
        graph = _Graph(terminology, foreign, self.config, report)
        if not graph.from_ours:
            raise DataError(
                f"aliases: {report.maker}: no xref links a concept with one of these sources",
                fix="look at the CURIE prefixes of both sides, and name those of shared xrefs in `prefixes`",
            )
        labels = [source.label for source in self.config.sources if isinstance(source, SourceConfig)]
        rank = np.array(ranks(graph.labels, labels), np.int64)[graph.source[graph.n :]]
        for hop, (owner, concept) in enumerate(graph.reached(), 1):
            order = np.lexsort((concept, rank[concept], owner))
            owner, concept = owner[order], concept[order]
            weight = np.full(len(owner), self.config.weight**hop, np.float32)
            yield names_for(foreign, self.config, owner, concept, weight)

    def paths(self) -> list[Path]:
        return table_paths(self.config)


class _Graph:
    """Steps between concepts; ours are the numbers below `n`, the others follow."""

    def __init__(self, ours: Terminology, foreign: Terminology, config: XrefsConfig, report: AliasReport) -> None:
        self.config, self.report, self.foreign = config, report, foreign
        self.n, size = len(ours), len(ours) + len(foreign)
        tags, self.labels = decoded_tags(foreign.concepts.column("source"))
        # ours are one source, the last
        self.source = np.concatenate([np.full(self.n, len(self.labels)), tags])
        owner, xrefs = [], []
        for terminology, first in ((ours, 0), (foreign, self.n)):
            lists = as_array(terminology.concepts.column("xrefs"))
            owner.append(pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64) + first)
            xrefs.append(pc.list_flatten(lists))
        holder, words = np.concatenate(owner), pa.concat_arrays(xrefs)
        pairs = [np.empty((0, 2), np.int64)]
        if config.direct:
            ids = as_array(ours.concepts.column("id"))
            for to, first in ((ours, 0), (foreign, self.n)):
                pairs.append(_found(holder, living_rows(to, words), first))
            pairs.append(_found(np.arange(self.n), living_rows(foreign, ids), self.n))
        if config.prefixes:
            pairs.append(self._shared(holder, words))
        both = np.concatenate(pairs)
        both = both[self.source[both[:, 0]] != self.source[both[:, 1]]]
        begin, self.to = _distinct(*np.concatenate([both, both[:, ::-1]]).T)
        self.from_ours = int((begin < self.n).sum())
        self.begin = np.searchsorted(begin, np.arange(size + 1))

    def _shared(self, holder: _Rows, words: pa.Array) -> _Rows:
        """Return pairs of concepts that share an xref which no other concept of their sources has."""
        wanted = np.zeros(len(words), bool)
        for prefix in self.config.prefixes:
            wanted |= pc.starts_with(words, f"{prefix}:").to_numpy(zero_copy_only=False)
        encoded = words.filter(pa.array(wanted)).dictionary_encode()
        key, holder = _distinct(encoded.indices.to_numpy().astype(np.int64), holder[wanted])
        group = key * (len(self.labels) + 1) + self.source[holder]
        _, at, size = np.unique(group, return_inverse=True, return_counts=True)
        several = size[at] > 1
        shared = np.unique(key[several])
        cases = encoded.dictionary.take(pa.array(shared[:EXAMPLES])).to_pylist()
        self.report.leave("xref that several concepts of one source share", len(shared), cases)
        key, holder = key[~several], holder[~several]
        # one concept a source has each key now, so that pairs are few
        after = np.searchsorted(key, key, "right") - np.arange(len(key)) - 1
        right = ranges(np.arange(len(key)) + 1, after)
        return np.stack([np.repeat(holder, after), holder[right]], axis=1)

    def reached(self) -> Iterator[tuple[_Rows, _Rows]]:
        """Yield, step by step, rows of our concepts and of the others that are theirs."""
        most = OWNERS if self.config.ambiguous == "each" else 1
        width = len(self.labels) + 1
        owner, at = np.arange(self.n), np.arange(self.n)
        done = np.zeros(len(self.foreign), bool)
        near = np.empty(0, np.int64)
        for _ in range(self.config.hops):
            counts = self.begin[at + 1] - self.begin[at]
            to = self.to[ranges(self.begin[at], counts)] - self.n
            own = np.repeat(owner, counts)
            new = to >= 0
            new[new] = ~done[to[new]]
            # -1 stands for several owners
            to, own = _distinct(to[new], own[new] + 1)
            own = own - 1
            farther = np.isin(own * width + self.source[to + self.n], near) & (own >= 0)
            self._leave("concept of a source of which a nearer one was reached", to[farther])
            to, own = to[~farther], own[~farther]
            concepts, group, size = np.unique(to, return_inverse=True, return_counts=True)
            spoilt = (size > most) | (np.bincount(group[own < 0], minlength=len(concepts)) > 0)
            bad = concepts[spoilt]
            self._leave("concept that several of ours lead to", bad)
            to, own = to[~spoilt[group]], own[~spoilt[group]]
            done[concepts] = True
            near = np.union1d(near, own * width + self.source[to + self.n])
            yield own, to
            owner = np.concatenate([own, np.full(len(bad), -1)])
            at = np.concatenate([to, bad]) + self.n

    def _leave(self, reason: str, concepts: _Rows) -> None:
        self.report.leave(reason, len(concepts), self.foreign.take("concepts", "id", concepts[:EXAMPLES]))


def _distinct(left: _Rows, right: _Rows) -> tuple[_Rows, _Rows]:
    """Return distinct pairs of numbers from 0, sorted."""
    width = int(right.max(initial=0)) + 1
    left, right = np.divmod(np.unique(left * width + right), width)
    return left, right


def _found(holder: _Rows, rows: _Rows, first: int) -> _Rows:
    """Return pairs of those that were found."""
    return np.stack([holder, rows + first], axis=1)[rows >= 0]
