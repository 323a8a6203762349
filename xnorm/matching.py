"""Precision, recall and F1 of annotations: predicted mentions with concepts against gold ones.

An annotation is a place and a concept. The place is the set of characters (`strict`, `partial`) or the document
(`loose`); with the option `type`, also the entity type.

- A predicted mention gives one annotation for each of its first k concepts (k is 1 unless the metric says `@k`).
- A gold mention is one annotation that any of its concepts fulfils; a composite is one for each of its concepts.
- Identical annotations count once, on either side. A prediction is right if it fulfils a gold annotation, a gold
  annotation found if a prediction fulfils it. With `bag` all count, and pair off one to one to the greatest total.
- `partial`: a prediction's credit is the largest share of its characters that lies in a gold mention of its concept,
  a gold annotation's the largest share that is covered by one prediction (the overlap measure max-max of neleval).
  With `bag` the pairs are chosen by the greatest total of 2 shared / (length + length), and credited the same way.
- Mentions without concept are NIL and give no annotation, so a concept proposed for one is a false positive. With
  `nil`, they alone are compared, as if NIL were their concept.

To score the finding of mentions alone, give every record the same concept.

Sources: Hachey, Nothman and Radford 2014, Cheap and easy entity evaluation (neleval), for annotations as sets and
overlap; van Rijsbergen 1979, Information retrieval, chapter 7, for F1.

xMEN's numbers, with `xmen`: only the outer bounds of a mention count; each of several gold concepts is an annotation of
its own; 0 / 0 is 0; ids that begin with NIL are one concept, and count. In `partial` nothing is counted once, ends are
taken as inclusive (touching mentions share a character), and some overlaps of nested mentions are missed. With
`by_document`, a gold mention with several concepts keeps one: the first that is predicted anywhere in its document,
else anywhere, else its first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xnorm.errors import ConfigError, DataError
from xnorm.metrics import Floats, Ints, Measured, Metric, parse_metric
from xnorm.overlap import Spans, merge_spans, pair_off, shared_characters, sweep

__all__ = ["LinkedSpan", "Matched", "match_spans"]


@dataclass(frozen=True, slots=True)
class LinkedSpan:
    """A mention in a document with its gold concepts, or with those predicted, best first.

    Raises:
        DataError: a span is empty or reversed, or there is none.
    """

    document: str
    spans: Spans
    """Half-open character offsets; several for a discontinuous mention."""
    ids: tuple[str, ...] = ()
    """Concept ids; none is NIL."""
    type: str | None = None
    """Entity type; None is a type of its own."""
    composite: bool = False
    """Whether all ids hold together; otherwise they are alternatives (gold) or a ranking (predicted)."""

    def __post_init__(self) -> None:
        if not self.spans or any(start < 0 or end <= start for start, end in self.spans):
            raise DataError(
                f"document '{self.document}': a mention has the spans {list(self.spans)}",
                fix="expected one or more half-open [start, end) with 0 <= start < end",
            )


@dataclass(frozen=True)
class Matched:
    """What `match_spans` gives: metrics whose rows are documents."""

    documents: tuple[str, ...]
    """The rows, sorted."""
    results: tuple[Measured, ...]
    """In the order of the metrics asked for."""


def match_spans(
    gold: Sequence[LinkedSpan],
    predicted: Sequence[LinkedSpan],
    metrics: Sequence[Metric | str],
    *,
    documents: Sequence[str] | None = None,
) -> Matched:
    """Compare predicted annotations with gold ones.

    Args:
        gold: gold mentions, in any order.
        predicted: predicted mentions, in any order; duplicates within a ranking are ignored after the first.
        metrics: precision, recall or f1 with a matching, such as `f1[strict,type]` or `recall[strict,xmen]@64`.
        documents: all documents of the corpus; by default those that either side names. Give it where two runs are to
            be compared, for their rows must agree.

    Raises:
        ConfigError: a metric is none of these.
        DataError: a mention stands in a document that is not among `documents`.
    """
    chosen = [parse_metric(m) if isinstance(m, str) else m for m in metrics]
    if ranking := [str(m) for m in chosen if not m.is_matching]:
        raise ConfigError(f"metric '{ranking[0]}' judges rankings, not annotations; give it to measure")
    named = {r.document for side in (gold, predicted) for r in side}
    if documents is not None and (strange := sorted(named - set(documents))):
        raise DataError(f"mentions in {len(strange)} documents outside the corpus, for instance '{strange[0]}'")
    rows = tuple(sorted(named if documents is None else set(documents)))
    matchers = {
        options: _Matcher(gold, predicted, rows, options) for options in dict.fromkeys(m.options for m in chosen)
    }
    return Matched(rows, tuple(_measured(m, matchers[m.options]) for m in chosen))


def _measured(metric: Metric, matcher: _Matcher) -> Measured:
    counts = matcher.counts(metric.k or 1)
    columns = {"precision": slice(0, 2), "recall": slice(2, 4), "f1": slice(0, 4)}[metric.name]
    return Measured(metric, counts[:, columns], 0.0 if "xmen" in metric.options else float("nan"))


_NIL = "NIL"


class _Columns:
    """The records of both sides, gold first, as numbers; concepts flat, record i's at offsets[i]:offsets[i + 1]."""

    def __init__(self, records: Sequence[LinkedSpan], documents: Sequence[str]) -> None:
        document = {name: i for i, name in enumerate(documents)}
        places: dict[Spans, int] = {}
        types: dict[str | None, int] = {}
        self.names: dict[str, int] = {}
        self.spans = [merge_spans(r.spans) for r in records]
        self.document = np.array([document[r.document] for r in records], np.int64)
        self.place = np.array([places.setdefault(s, len(places)) for s in self.spans], np.int64)
        self.hull = np.array([(s[0][0], s[-1][1]) for s in self.spans], np.int64).reshape(-1, 2)
        self.type = np.array([types.setdefault(r.type, len(types)) for r in records], np.int64)
        self.composite = np.array([r.composite for r in records], np.bool_)
        names = self.names
        self.concepts = np.array([names.setdefault(i, len(names)) for r in records for i in r.ids], np.int64)
        self.offsets = np.concatenate([[0], np.cumsum([len(r.ids) for r in records])]).astype(np.int64)


@dataclass(frozen=True)
class _Units:
    """Gold annotations: the record of each, and flat pairs of annotation and concept that fulfils it."""

    record: Ints
    of_pair: Ints
    concept: Ints


@dataclass(frozen=True)
class _Pairs:
    """Predicted and gold annotations that agree in all but the characters, with what each side earns by it."""

    predicted: Ints
    unit: Ints
    rank: Ints
    credit: Floats
    """Shape (pairs, 3): to the prediction, to the gold annotation, and the weight for pairing off."""


class _Matcher:
    """Both sides under one set of options; `counts` for any k."""

    def __init__(
        self,
        gold: Sequence[LinkedSpan],
        predicted: Sequence[LinkedSpan],
        documents: Sequence[str],
        options: Sequence[str],
    ) -> None:
        self.strict, self.partial, self.loose = ("strict" in options, "partial" in options, "loose" in options)
        self.bag, self.xmen, self.by_document = ("bag" in options, "xmen" in options, "by_document" in options)
        if "nil" in options:
            gold, predicted = ([replace(r, ids=(_NIL,)) for r in side if not r.ids] for side in (gold, predicted))
        self.n_gold, self.n_documents = len(gold), len(documents)
        self.columns = columns = _Columns([*gold, *predicted], documents)
        self.once = not self.bag and not (self.xmen and self.partial)
        extent = np.unique(columns.hull, axis=0, return_inverse=True)[1].reshape(-1) if self.xmen else columns.place
        scope = _cross(columns.document, columns.type) if "type" in options else columns.document
        self.site = scope if self.loose else _cross(scope, extent)
        self.join = self.site if self.strict else scope
        # xMEN: every NIL is the same concept when compared, though not when by_document chooses
        nil_code = columns.names.setdefault(_NIL, len(columns.names))
        self.alike = np.arange(len(columns.names))
        if self.xmen:
            self.alike[[i for name, i in columns.names.items() if name.startswith(_NIL)]] = nil_code
        self.nil_code = nil_code
        self._predict()
        self._cache: tuple[_Units, _Pairs] | None = None

    def _predict(self) -> None:
        """Make the predicted annotations: record (one of those that agree), concept, best rank."""
        c = self.columns
        record = np.repeat(np.arange(len(c.document)), np.diff(c.offsets))
        rank = np.arange(len(record)) - c.offsets[:-1][record] + 1
        if not self.xmen:
            rank[c.composite[record]] = 1
        mine = record >= self.n_gold
        record, rank, concept = record[mine], rank[mine], self.alike[c.concepts[mine]]
        owner = self.site[record] if self.once else record
        deepest, n_concepts = int(rank.max(initial=0)) + 1, len(self.alike)
        # one number to sort by: annotations that agree come together, the best ranked first
        key, rank = np.divmod(np.sort((owner * n_concepts + concept) * deepest + rank), deepest)
        if self.once or not self.xmen:
            first = np.concatenate([[True], key[1:] != key[:-1]])[: len(key)]
            key, rank = key[first], rank[first]
        owner, self.concept = np.divmod(key, n_concepts)
        self.rank = rank
        if self.once:
            representative = np.zeros(int(self.site.max(initial=-1)) + 1, np.int64)
            representative[self.site] = np.arange(len(self.site))
            owner = representative[owner]
        self.record = owner

    def _units(self, k: int) -> _Units:
        """Make the gold annotations."""
        c = self.columns
        flat, bounds = c.concepts.tolist(), c.offsets.tolist()
        pick = self._picker(k) if self.by_document else None
        seen: set[tuple[int, frozenset[int]]] = set()
        records: list[int] = []
        fulfilled: list[frozenset[int]] = []
        for i in range(self.n_gold):
            ids = flat[bounds[i] : bounds[i + 1]]
            if pick is not None:
                ids = [pick(i, ids)]
            apart = self.xmen or c.composite[i]
            if self.xmen:
                ids = self.alike[ids].tolist()
            # a composite's repeated concept is one concept; xMEN's partial counts even that twice
            each = [frozenset((x,)) for x in (ids if self.xmen else dict.fromkeys(ids))] if apart else [frozenset(ids)]
            for any_of in each:
                key = (int(self.site[i]), any_of)
                if any_of and not (self.once and key in seen):
                    seen.add(key)
                    records.append(i)
                    fulfilled.append(any_of)
        sizes = [len(any_of) for any_of in fulfilled]
        concepts = np.array([x for any_of in fulfilled for x in sorted(any_of)], np.int64)
        return _Units(np.array(records, np.int64), np.repeat(np.arange(len(sizes)), sizes), concepts)

    def _picker(self, k: int) -> Callable[[int, list[int]], int]:
        """Return xMEN's choice among several gold concepts, given the predictions down to rank k."""
        c = self.columns
        record = np.repeat(np.arange(len(c.document)), np.diff(c.offsets))
        mine = (record >= self.n_gold) & (np.arange(len(record)) - c.offsets[:-1][record] < k)
        anywhere = set(c.concepts[mine].tolist())
        nearby = set(zip(c.document[record[mine]].tolist(), c.concepts[mine].tolist(), strict=True))

        def pick(i: int, ids: list[int]) -> int:
            if not ids:
                return self.nil_code
            here = int(c.document[i])
            near = (x for x in ids if (here, x) in nearby)
            return next(near, next((x for x in ids if x in anywhere), ids[0])) if len(ids) > 1 else ids[0]

        return pick

    def _pair(self, units: _Units) -> _Pairs:
        """Find the pairs of predicted and gold annotations, sorted by what they agree in."""
        n_concepts = len(self.alike)
        wanted = self.join[units.record[units.of_pair]] * n_concepts + units.concept
        order = np.argsort(wanted, kind="stable")
        have = self.join[self.record] * n_concepts + self.concept
        left, right = (np.searchsorted(wanted[order], have, side) for side in ("left", "right"))
        count = right - left
        predicted = np.repeat(np.arange(len(have)), count)
        nth = np.arange(len(predicted)) - np.repeat(np.cumsum(count) - count, count)
        unit = units.of_pair[order[left[predicted] + nth]]
        by_key = np.argsort(have[predicted], kind="stable")
        predicted, unit = predicted[by_key], unit[by_key]
        credit = np.ones((len(predicted), 3))
        if self.partial:
            credit = self._overlaps(self.record[predicted], units.record[unit])
        keep = np.ones(len(predicted), np.bool_) if self.xmen else credit[:, 2] > 0
        return _Pairs(predicted[keep], unit[keep], self.rank[predicted[keep]], credit[keep])

    def _overlaps(self, predicted: Ints, gold: Ints) -> Floats:
        """Return the shared characters over the prediction's, over the gold's, and over the mean of the two."""
        c = self.columns
        if self.xmen:
            (start, end), (other_start, other_end) = c.hull[predicted].T, c.hull[gold].T
            shared = np.minimum(end, other_end) - np.maximum(start, other_start) + 1
            lengths = end - start + 1, other_end - other_start + 1
        else:
            shared = shared_characters([c.spans[i] for i in predicted], [c.spans[i] for i in gold])
            size = np.array([sum(end - start for start, end in s) for s in c.spans], np.int64)
            lengths = size[predicted], size[gold]
        return np.stack([shared / lengths[0], shared / lengths[1], 2 * shared / (lengths[0] + lengths[1])], axis=1)

    def counts(self, k: int) -> Floats:
        """Return, for each document, credit and number of predicted annotations, then of gold ones: (documents, 4)."""
        if self._cache is None or self.by_document:
            units = self._units(k)
            self._cache = units, self._pair(units)
        units, pairs = self._cache
        at = pairs.rank <= k
        predicted, unit, credit = pairs.predicted[at], pairs.unit[at], pairs.credit[at]
        if self.xmen and self.partial:
            hull, group = (
                self.columns.hull,
                self.join[self.record[predicted]] * len(self.alike) + self.concept[predicted],
            )
            chosen = sweep(predicted, unit, group, hull[self.record[predicted]], hull[units.record[unit]])
        else:
            chosen = pair_off(predicted, unit, credit[:, 2]) if self.bag else np.ones(len(unit), np.bool_)
        document = self.columns.document
        proposed = np.bincount(document[self.record[self.rank <= k]], minlength=self.n_documents)
        expected = np.bincount(document[units.record], minlength=self.n_documents)
        earned = self._sum_best(predicted[chosen], credit[chosen, 0], document[self.record])
        found = self._sum_best(unit[chosen], credit[chosen, 1], document[units.record])
        return np.stack([earned, proposed, found, expected], axis=1).astype(np.float64)

    def _sum_best(self, annotation: Ints, credit: Floats, document: Ints) -> Floats:
        """Return each document's sum of the best credit of its annotations."""
        distinct, number = np.unique(annotation, return_inverse=True)
        best = np.zeros(len(distinct))
        np.maximum.at(best, number, credit)
        return np.asarray(np.bincount(document[distinct], best, self.n_documents), np.float64)


def _cross(a: Ints, b: Ints) -> Ints:
    """Return one number for each distinct pair of numbers, from 0."""
    numbers: Ints = np.unique(a * (int(b.max(initial=0)) + 1) + b, return_inverse=True)[1]
    return numbers
