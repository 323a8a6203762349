"""Results folders of `xnorm evaluate` side by side: the same mentions, two or more runs, paired tests.

Rows are matched by id. The first run is the baseline, and a difference is another run's value minus the baseline's.
Documents are what is resampled and swapped, as in `xnorm.resampling`.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xnorm.artifact import open_folder
from xnorm.errors import ArtifactError, ConfigError
from xnorm.markdown import one_line
from xnorm.metrics import Floats, Ints, Measured, Metric, parse_metric
from xnorm.registry import did_you_mean
from xnorm.resampling import bootstrap, compare, holm, mcnemar

__all__ = ["RunComparison", "RunDifference", "compare_runs"]

_FILES = {"mention": "rows-mentions.parquet", "document": "rows-documents.parquet"}
_RIGHT_OR_WRONG = ("accuracy", "recall", "ceiling", "nil_recall")
"""Ranking metrics that are 0 or 1 for a mention, and defined for the same mentions whatever the run."""
_Part = tuple[str | None, str | None, Ints]  # breakdown, part, rows


@dataclass(frozen=True, slots=True)
class RunDifference:
    """One metric of one run against the baseline, on all rows or on one part of a breakdown."""

    metric: str
    run: str
    by: str | None
    """The breakdown; None, as `part`, for all rows."""
    part: str | None
    rows: int
    """Mentions, or documents where annotations are compared (`f1[...]`)."""
    units: int
    """Documents, which are what is resampled; and those of them in which the sums of the two runs differ."""
    differing: int
    baseline: float
    value: float
    difference: float
    """`value` minus `baseline` with its bootstrap interval; NaN where either is undefined."""
    low: float
    high: float
    p_value: float
    """Of the paired randomisation test (`xnorm.resampling.compare`), two-sided."""
    p_holm: float | None
    """Adjusted for all comparisons of the metric: every run, in a breakdown on every part. None if there is but one."""
    exact: bool
    """Whether all swaps were enumerated."""
    run_only: int | None
    """Mentions that the run alone gets right. None, as the next two, unless the metric is of right and wrong."""
    baseline_only: int | None
    p_mcnemar: float | None
    higher_is_better: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as plain data for JSON: NaN is null, and floats have 6 decimals."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        floats = {k: None if math.isnan(x) else round(x, 6) + 0.0 for k, x in data.items() if isinstance(x, float)}
        return {**data, **floats}


@dataclass(frozen=True, slots=True)
class RunComparison:
    """What `compare_runs` gives."""

    baseline: str
    runs: tuple[str, ...]
    """The others. Names are those of the folders, with as many parents as tell them apart."""
    mentions: int
    dropped: dict[str, dict[str, int]]
    """Run -> how many of its `mentions` were left out, for not all runs have them; and `documents`, if compared."""
    differences: tuple[str, ...]
    """What else differs between the runs, a sentence each: terminology, corpus, clean-up, settings, version."""
    results: tuple[RunDifference, ...]
    """All rows first, then by breakdown and part; in either, by metric and run."""
    level: float
    resamples: int
    permutations: int
    seed: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; the results are `metrics` (all rows) and `breakdowns`."""
        data = {f.name: getattr(self, f.name) for f in fields(self)}
        rows = [r.as_dict() for r in data.pop("results")]
        split = {"metrics": [r for r in rows if not r["by"]], "breakdowns": [r for r in rows if r["by"]]}
        return {**data, "runs": list(self.runs), "differences": list(self.differences), **split}

    def as_markdown(self) -> str:
        """Return a table a run for a paper, another for each breakdown, and what a reader must know of them."""
        lines: list[str] = []
        for by, run in dict.fromkeys((r.by, r.run) for r in self.results):
            head = [*([] if by is None else [one_line(by)]), "metric", one_line(self.baseline, 300), one_line(run, 300)]
            table = [[*head, "difference [low, high]", "p", "p (Holm)"], ["---"] * (len(head) + 3)]
            rows = [r for r in self.results if (r.by, r.run) == (by, run)]
            for r in rows:
                interval = "" if math.isnan(r.low) else f" [{r.low:+.3f}, {r.high:+.3f}]"
                cells = [r.metric, _shown(r.baseline), _shown(r.value), _shown(r.difference, "+") + interval]
                cells += [_shown(r.p_value, "p"), _shown(r.p_holm, "p")]
                table.append([*([] if r.part is None else [one_line(r.part, 300)]), *cells])
            width = -1 if all(r.p_holm is None for r in rows) else None
            lines += [*(f"| {' | '.join(row[:width])} |" for row in table), ""]
        lines.append(
            f"{self.mentions:,} mentions; {100 * self.level:g} % bootstrap intervals over documents, "
            f"{self.resamples:,} resamples; p of the paired randomisation test, {self.permutations:,} permutations."
        )
        notes = [f"left out of '{run}': {n:,} {k}" for run, left in self.dropped.items() for k, n in left.items() if n]
        notes = [f"- {one_line(note, 1000)}" for note in (*notes, *self.differences)]
        return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def compare_runs(
    folders: Sequence[Path],
    *,
    metrics: Sequence[str] | None = None,
    by: Sequence[str] = (),
    common: bool = False,
    permutations: int = 10_000,
    resamples: int | None = None,
    seed: int = 0,
) -> RunComparison:
    """Compare runs with the first of them, metric by metric, on the same mentions.

    Args:
        folders: results folders of `xnorm evaluate`, two or more.
        metrics: which (`accuracy`, `f1[strict]`); default all that every run has.
        by: breakdowns of mentions (`lang`); parts are those of the baseline.
        common: leave out mentions (and in `f1[...]` their documents) that not all runs have; otherwise an error.
        permutations: swaps of the randomisation test, where there are too many to enumerate.
        resamples: of the bootstrap; default, as for its level, that of the baseline.
        seed: of the random numbers.

    Sources: those of `xnorm.resampling`, and Holm 1979, A simple sequentially rejective multiple test procedure.

    Raises:
        ConfigError: no two different runs, runs that cannot be compared, unknown metrics or breakdowns, bad settings.
        ArtifactError: no results folder, or a damaged one.
    """
    runs, by = _open(folders), tuple(dict.fromkeys(by))
    names = [run.name for run in runs]
    chosen = _choose_metrics(runs, metrics)
    read = {"mention": [_read(run, "mention", chosen["mention"], by) for run in runs]}
    tables = {"mention": _match(runs, read["mention"], "mention", common)}
    shared = tables["mention"][0]["id"]
    _check_gold(runs, tables["mention"])
    if chosen["document"]:
        # the gold of a document that lost a mention is not the same in all runs
        gone = pa.concat_tables([t.filter(_not_in(t["id"], shared)).select(["unit"]) for t in read["mention"]])["unit"]
        read["document"] = documents = [_read(run, "document", chosen["document"]) for run in runs]
        tables["document"] = _match(runs, [t.filter(_not_in(t["id"], gone)) for t in documents], "document", common)
    interval = _get(runs[0].about, "protocol", "interval") or {}
    resamples = interval.get("resamples", 1000) if resamples is None else resamples
    how = {"resamples": resamples, "level": interval.get("level", 0.95), "permutations": permutations, "seed": seed}
    results: list[RunDifference] = []
    for where, (first, *_) in tables.items():
        measured = [[_measured(m, table) for m in chosen[where]] for table in tables[where]]
        units = pc.rank(first["unit" if where == "mention" else "id"], tiebreaker="dense").to_numpy()
        parts: list[_Part] = [(None, None, np.arange(len(first)))]
        parts += [(b, *part) for b in by if where == "mention" for part in _members(first[f"by:{b}"])]
        for part in parts:
            results += _compare(names, measured, units, part, how)
    return RunComparison(
        baseline=names[0],
        runs=tuple(names[1:]),
        mentions=len(shared),
        dropped={n: {f"{k}s": len(read[k][i]) - len(t[0]) for k, t in tables.items()} for i, n in enumerate(names)},
        differences=tuple(_notes(runs, tables["mention"])),
        results=tuple(sorted(_adjusted(results), key=lambda r: (None, *by).index(r.by))),
        **how,
    )


def _adjusted(results: Sequence[RunDifference]) -> list[RunDifference]:
    families: dict[Any, list[float]] = {}
    for r in results:
        families.setdefault((r.metric, r.by), []).append(r.p_value)
    p = {family: iter(holm(values)) for family, values in families.items() if len(values) > 1}
    return [replace(r, p_holm=next(p.get((r.metric, r.by), iter([None])))) for r in results]


class _Paired(Measured):
    """Rows of the baseline and of a run side by side; the statistic is the run's value minus the baseline's."""

    def statistic(self, sums: Floats) -> Floats:
        half = sums.shape[-1] // 2
        return super().statistic(sums[..., half:]) - super().statistic(sums[..., :half])


def _compare(
    names: Sequence[str], measured: Sequence[Sequence[Measured]], units: Ints, part: _Part, how: Any
) -> Iterator[RunDifference]:
    """Compare every run's metrics with the first run's on some of the rows; intervals are of one draw of resamples."""
    by, name, rows = part
    taken, units = [[m.take(rows) for m in of_run] for of_run in measured], units[rows]
    pairs = [(n, a, b) for a, *others in zip(*taken, strict=True) for n, b in zip(names[1:], others, strict=True)]
    paired = [_Paired(a.metric, np.concatenate([a.parts, b.parts], axis=1), a.undefined) for _, a, b in pairs]
    draw = {key: how[key] for key in ("resamples", "level", "seed")}
    for (run, a, b), delta in zip(pairs, bootstrap(paired, units, **draw), strict=True):
        test = compare(b, a, units, **{**how, "resamples": 1})
        counts: list[Any] = [None, None, None]
        if b.metric.name in _RIGHT_OR_WRONG and not b.metric.is_matching:
            counts = list(astuple(mcnemar(b, a)))
        values: list[Any] = [delta.value, delta.low, delta.high, test.p_value, None, test.exact, *counts]
        values = [len(rows), delta.units, test.differing, a.value, b.value, *values, b.metric.higher_is_better]
        yield RunDifference(str(b.metric), run, by, name, *values)


@dataclass(frozen=True)
class _Run:
    path: Path
    name: str
    about: dict[str, Any]
    columns: dict[str, list[str]]
    """Level -> names of the columns of its file, none if there is no such file."""

    def metrics(self, level: str) -> list[str]:
        names = dict.fromkeys(c.split(":")[1] for c in self.columns[level] if c.startswith("metric:"))
        return [name for name in names if set(_columns(name)) <= set(self.columns[level])]


def _columns(metric: str) -> list[str]:
    return [f"metric:{metric}:{i}" for i in range(4 if metric.startswith("f1[") else 2)]


def _measured(metric: Metric, table: pa.Table) -> Measured:
    parts = np.stack([table[c].to_numpy() for c in _columns(str(metric))], axis=1)
    return Measured(metric, parts, 0.0 if "xmen" in metric.options else math.nan)


def _open(folders: Sequence[Path]) -> list[_Run]:
    if len(folders) < 2:
        raise ConfigError(f"results folders given: {len(folders)}; give two or more, the baseline first")
    paths = [Path(os.path.abspath(folder)) for folder in folders]  # noqa: PTH100  (a link keeps its name)
    real = [path.resolve() for path in paths]
    if again := [folder for i, folder in enumerate(folders) if real[i] in real[:i]]:
        raise ConfigError(f"{again[0]}: is given twice; give the folders of different runs")
    ends = [[p.parts[-n:] for n in range(1, len(p.parts) + 1)] for p in paths]
    names = [next(e for n, e in enumerate(own) if sum([e] == o[n : n + 1] for o in ends) == 1) for own in ends]
    return [_open_run(path, Path(*name).as_posix()) for path, name in zip(paths, names, strict=True)]


def _open_run(path: Path, name: str) -> _Run:
    manifest = open_folder(path, kind="results", verify=True)
    try:
        about = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        columns = {k: pq.read_schema(path / f).names if (path / f).is_file() else [] for k, f in _FILES.items()}
    except (OSError, ValueError, RecursionError, pa.ArrowException) as e:
        raise ArtifactError(f"{path}: cannot be read: {' '.join(str(e).split())}") from None
    if not isinstance(about, dict) or not {"id", "unit", "gold"} <= set(columns["mention"]):
        raise ArtifactError(f"{path}: holds no rows of mentions; evaluate again with this xnorm")
    return _Run(path, name, {**about, "xnorm_version": manifest.get("xnorm_version")}, columns)


def _choose_metrics(runs: Sequence[_Run], wanted: Sequence[str] | None) -> dict[str, list[Metric]]:
    """Return the metrics of either level, as asked for or in the order of the baseline's columns."""
    shared = {k: [m for m in runs[0].metrics(k) if all(m in r.metrics(k) for r in runs)] for k in _FILES}
    known = [m for names in shared.values() for m in names]
    if not known:
        raise ConfigError("the runs have no metric in common; evaluate them by the same metrics")
    # the mean rank is over the mentions whose gold was found, which are others in each run
    asked = (
        [m for m in known if m != "mean_rank"] or known
        if wanted is None
        else list(dict.fromkeys(str(parse_metric(m)) for m in wanted))
    )
    if strange := [name for name in asked if name not in known]:
        raise ConfigError(f"metric '{strange[0]}' is not in all runs; {did_you_mean(strange[0], known)}")
    return {k: [parse_metric(m) for m in asked if m in names] for k, names in shared.items()}


def _read(run: _Run, level: str, metrics: Sequence[Metric], by: Sequence[str] = ()) -> pa.Table:
    """Return the columns that are needed, sorted by id."""
    have, file = run.columns[level], run.path / _FILES[level]
    if strange := [name for name in by if f"by:{name}" not in have]:
        labels = [c.removeprefix("by:") for c in have if c.startswith("by:")]
        raise ConfigError(f"'{run.name}' has no breakdown '{strange[0]}'; {did_you_mean(strange[0], labels)}")
    keys = ["id", "unit", "gold", *(f"by:{name}" for name in by)] if level == "mention" else ["id"]
    with pq.ParquetFile(file) as f:
        table = f.read([*keys, *(c for m in metrics for c in _columns(str(m)))])
    if pc.count_distinct(table["id"]).as_py() != len(table):
        raise ArtifactError(f"{file}: has several rows with the same id, expected one a {level}")
    return table.take(pc.sort_indices(table["id"]))


def _not_in(ids: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(pc.is_in(ids, value_set=others))


def _match(runs: Sequence[_Run], tables: Sequence[pa.Table], what: str, common: bool) -> list[pa.Table]:
    """Return the rows that all runs have, in the same order."""
    ids = [table["id"] for table in tables]
    shared = functools.reduce(lambda a, b: a.filter(pc.is_in(a, value_set=b)), ids)
    if what == "mention" and not len(shared):
        raise ConfigError("the runs have no mention in common; give runs on the same corpus")
    for run, other in zip(runs[1:], ids[1:], strict=True):
        pairs = (runs[0], ids[0], other), (run, other, ids[0])
        only = [(r.name, a.filter(_not_in(a, b)).to_pylist()) for r, a, b in pairs]
        if not common and any(rows for _, rows in only):
            sides = (f"{len(rows):,} only in '{r}'" + f" ({', '.join(rows[:3])})" * bool(rows) for r, rows in only)
            raise ConfigError(f"{what}s: {', '.join(sides)}; pass --common to compare the {what}s that all have")
    return [table.filter(pc.is_in(table["id"], value_set=shared)) for table in tables]


def _check_gold(runs: Sequence[_Run], tables: Sequence[pa.Table]) -> None:
    for run, table in zip(runs[1:], tables[1:], strict=True):
        if differ := _unlike(tables[0]["gold"], table["gold"]):
            a, b, mention = (t[differ[0]] for t in (tables[0]["gold"], table["gold"], table["id"]))
            first = f"first of '{mention}': '{a}' in '{runs[0].name}', '{b}' in '{run.name}'"
            raise ConfigError(f"gold of {len(differ):,} mentions differs, {first}; evaluate on the same corpus")


def _unlike(a: pa.ChunkedArray, b: pa.ChunkedArray) -> list[int]:
    """Return the rows in which two columns differ."""
    pairs = () if a.equals(b) else zip(a.to_pylist(), b.to_pylist(), strict=True)
    return [i for i, (x, y) in enumerate(pairs) if x != y]


def _members(column: pa.ChunkedArray) -> Iterator[tuple[str, Ints]]:
    """Yield the rows of each label, sorted by label; a row may have several labels, or none."""
    labels, rows = column.combine_chunks(), np.arange(len(column))
    if pa.types.is_list(labels.type):
        labels, rows = labels.flatten(), pc.list_parent_indices(labels).to_numpy()
    known = labels.is_valid().to_numpy(zero_copy_only=False)
    names, codes = np.unique(labels.to_numpy(zero_copy_only=False)[known].astype(str), return_inverse=True)
    for i, name in enumerate(names.tolist()):
        yield name, np.unique(rows[known][codes == i])


def _notes(runs: Sequence[_Run], tables: Sequence[pa.Table]) -> Iterator[str]:
    """Yield a sentence for everything but the system that is not the same in a run and the baseline."""
    base, first = _protocol(runs[0]), tables[0]
    for run, table in zip(runs[1:], tables[1:], strict=True):
        names, own = (runs[0].name, run.name), _protocol(run)
        for what in dict.fromkeys([*base, *own]):
            if base.get(what) != own.get(what):
                a, b = _words(base.get(what), own.get(what))
                yield f"{what} is {a} in '{names[0]}' and {b} in '{names[1]}'"
        for column in first.column_names:
            if column.startswith(("unit", "by:")) and (n := len(_unlike(first[column], table[column]))):
                yield f"column '{column}' of {n:,} mentions differs; that of '{names[0]}' is used, not of '{names[1]}'"


def _protocol(run: _Run) -> dict[str, Any]:
    """Return what must be the same for two numbers to be comparable, by what it is called."""
    protocol, corpus = (_get(run.about, *keys) or {} for keys in (("protocol",), ("protocol", "corpus", "parts")))
    digest = _get(protocol, "terminology", "fingerprint")
    sums = {part: _get(about, "sha256") or _get(about, "revision") for part, about in corpus.items()}
    return {
        "the version of xnorm": run.about["xnorm_version"],
        "the benchmark": run.about.get("benchmark"),
        "the terminology": digest and digest[:16],
        **{f"the checksum of corpus part '{part}'": total and total[:16] for part, total in sums.items()},
        "the clean-up": ", ".join(
            f"{_get(stage, 'stage')} (dropped {sum((_get(stage, 'dropped') or {}).values()):,})"
            for stage in protocol.get("cleanup") or ()
        )
        or "none",
        **{key: protocol.get(key) for key in ("mentions", "top_k", "threshold", "filters", "training")},
    }


def _get(data: Any, *keys: str) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _words(*values: Any) -> list[str]:
    """Return two values in few words, from where they begin to differ if they are long."""
    texts = ["none" if x is None else x if isinstance(x, str) else json.dumps(x) for x in values]
    same = len(os.path.commonprefix(texts))  # noqa: RUF071  (they are no paths)
    start = max(0, same - 40) if max(map(len, texts)) > 100 else 0
    return ["..." * bool(start) + t[start : start + 100] + "..." * (len(t) > start + 100) for t in texts]


def _shown(value: float | None, form: str = "") -> str:
    if value is None or math.isnan(value):
        return "n/a"
    return f"{value:{form}.3f}" if form != "p" else f"{value:.4f}" if value >= 0.0001 else "< 0.0001"
