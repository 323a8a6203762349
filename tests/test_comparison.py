"""Runs side by side: against enumeration, scipy and hand-made numbers; what is matched, and what is refused."""

from __future__ import annotations

import itertools
import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.stats

from xnorm.artifact import write_folder
from xnorm.comparison import compare_runs
from xnorm.errors import ArtifactError, ConfigError
from xnorm.resampling import holm

PROTOCOL = {
    "terminology": {"name": "hpo", "fingerprint": "f" * 64},
    "corpus": {"parts": {"test": {"format": "bigbio", "mentions": 4, "sha256": "a" * 64, "revision": None}}},
    "cleanup": [{"stage": "duplicates", "dropped": {"twice": 3}}],
    "top_k": 64,
    "threshold": None,
    "training": None,
    "interval": {"resamples": 200, "level": 0.9, "seed": 0},
}


def columns(metrics):
    """Columns of metrics: values (NaN: of no weight), or an array of numerators and denominators."""
    found = {}
    for name, rows in metrics.items():
        rows = np.asarray(rows, float)
        if rows.ndim == 1:
            rows = np.stack([np.nan_to_num(rows), ~np.isnan(rows)], axis=1)
        found |= {f"metric:{name}:{i}": column for i, column in enumerate(rows.T)}
    return found


def write(path, metrics, *, ids=None, units=None, gold=None, labels=None, documents=None, order=None, **protocol):
    """Write a results folder; `documents` is (ids, metrics), `order` a permutation of the mentions."""
    n = len(next(iter(metrics.values())))
    ids = [f"m{i}" for i in range(n)] if ids is None else ids
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "unit": pa.array([f"test/{i}" for i in ids] if units is None else units, pa.string()),
            "gold": pa.array(["C1"] * n if gold is None else gold, pa.string()),
            **{f"by:{name}": column for name, column in (labels or {}).items()},
            **columns(metrics),
        }
    )
    version = protocol.pop("version", "0.1.0")
    about = {"benchmark": "tiny", "system": path.name, "protocol": PROTOCOL | protocol, "metrics": []}
    with write_folder(path, kind="results", about={"xnorm_version": version}) as folder:
        (folder / "metrics.json").write_text(json.dumps(about))
        pq.write_table(table if order is None else table.take(pa.array(order)), folder / "rows-mentions.parquet")
        if documents is not None:
            names, measured = documents
            pq.write_table(pa.table({"id": names, **columns(measured)}), folder / "rows-documents.parquet")
    return path


def right(rng, n, rate=0.6):
    return (rng.random(n) < rate).astype(float)


def sampled(rng, documents=30):
    """Two runs' right and wrong answers, and the document of each mention."""
    units = np.repeat(np.arange(documents), rng.integers(1, 6, documents))
    a = right(rng, len(units))
    return a, np.where(rng.random(len(a)) < 0.3, 1, a), [f"test/{u:02}" for u in units]


def enumerated(a, b, units):
    """The p-value of mean(b) - mean(a) by swapping documents in every possible way."""
    labels, units = sorted(set(units)), np.array(units)
    observed, count = abs(b.mean() - a.mean()), 0
    for swaps in itertools.product((False, True), repeat=len(labels)):
        swap = np.isin(units, [x for x, s in zip(labels, swaps, strict=True) if s])
        count += abs(np.where(swap, a, b).mean() - np.where(swap, b, a).mean()) >= observed - 1e-9
    return count / 2 ** len(labels)


# values


def test_values_differences_and_tests_by_hand(tmp_path):
    base, run = [1, 0, 0, 1, 0, 0], [1, 1, 1, 0, 1, 1]
    units = ["d1", "d1", "d2", "d2", "d3", "d4"]
    found = compare_runs(
        [write(tmp_path / "a", {"accuracy": base}, units=units), write(tmp_path / "b", {"accuracy": run}, units=units)]
    )
    [row] = found.results
    assert (found.baseline, found.runs, found.mentions) == ("a", ("b",), 6)
    assert (row.metric, row.run, row.by, row.part, row.higher_is_better) == ("accuracy", "b", None, None, True)
    assert (row.baseline, row.value, row.difference) == pytest.approx((2 / 6, 5 / 6, 3 / 6))
    # d2 has one gained and one lost
    assert (row.rows, row.units, row.differing) == (6, 4, 3)
    assert (row.run_only, row.baseline_only) == (4, 1)
    assert row.p_mcnemar == pytest.approx(scipy.stats.binomtest(4, 5).pvalue)
    assert row.exact
    assert row.p_value == pytest.approx(enumerated(np.array(base), np.array(run), units)) == 0.25
    assert row.p_holm is None
    assert row.low <= row.difference <= row.high


def test_p_value_of_single_mentions_agrees_with_scipy(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 11) / 4, rng.integers(0, 5, 11) / 4
    found = compare_runs([write(tmp_path / "a", {"mrr": a}), write(tmp_path / "b", {"mrr": b})])
    theirs = scipy.stats.permutation_test(
        (b, a), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples", vectorized=True, n_resamples=np.inf
    )
    assert found.results[0].p_value == pytest.approx(theirs.pvalue)
    assert found.results[0].differing == (a != b).sum()
    assert found.results[0].p_mcnemar is found.results[0].run_only is None


def test_intervals_are_percentiles_of_resampled_documents(tmp_path):
    rng = np.random.default_rng(1)
    a, b, units = sampled(rng)
    folders = [write(tmp_path / n, {"accuracy": v}, units=units) for n, v in (("a", a), ("b", b))]
    [row] = compare_runs(folders, seed=5, resamples=300).results
    documents = sorted(set(units))
    sums = np.array([[v[np.array(units) == d].sum() for v in (a, b, np.ones(len(a)))] for d in documents])
    drawn = sums[np.random.default_rng(5).integers(0, len(documents), (300, len(documents)))].sum(axis=1)
    expected = np.quantile((drawn[:, 1] - drawn[:, 0]) / drawn[:, 2], [0.05, 0.95])
    assert (row.low, row.high) == pytest.approx(tuple(expected))
    theirs = scipy.stats.bootstrap(
        tuple(sums.T), lambda x, y, n, axis: (y.sum(axis) - x.sum(axis)) / n.sum(axis), paired=True, vectorized=True,
        n_resamples=20_000, confidence_level=0.9, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert (row.low, row.high) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_level_and_resamples_are_those_of_the_baseline(tmp_path):
    a, b, units = sampled(np.random.default_rng(2))
    one = write(tmp_path / "a", {"accuracy": a}, units=units)
    two = write(tmp_path / "b", {"accuracy": b}, units=units, interval={"resamples": 7, "level": 0.5})
    found = compare_runs([one, two])
    assert (found.resamples, found.level) == (200, 0.9)
    assert found.results == compare_runs([one, two], resamples=200).results
    assert compare_runs([two, one]).resamples == 7
    three = write(tmp_path / "c", {"accuracy": a}, units=units, interval=None)
    assert (compare_runs([three, one]).resamples, compare_runs([three, one]).level) == (1000, 0.95)


def test_metrics_that_are_means_of_other_things(tmp_path):
    nan = math.nan
    base = {"mean_rank": [1, 4, nan, 2], "recall@5": [1, 1, 0, 1], "nil_f1": [nan, nan, nan, 1.0]}
    run = {"mean_rank": [1, 1, 3, nan], "recall@5": [1, 1, 1, 0], "nil_f1": [nan, nan, nan, 0.0]}
    runs = [write(tmp_path / "a", base), write(tmp_path / "b", run)]
    assert "mean_rank" not in {r.metric for r in compare_runs(runs).results}  # over other mentions in each run
    rank, recall, nil = compare_runs(runs, metrics=list(base)).results
    assert (rank.baseline, rank.value) == pytest.approx((7 / 3, 5 / 3))
    assert not rank.higher_is_better
    assert rank.differing == 3
    assert rank.p_mcnemar is nil.p_mcnemar is None
    assert (recall.run_only, recall.baseline_only, recall.p_mcnemar) == (1, 1, 1.0)
    assert (nil.value, nil.difference) == (0, -1)


def test_f1_of_annotations_by_document(tmp_path):
    base = np.array([[1, 2, 1, 3], [2, 2, 2, 2], [0, 1, 0, 2], [0, 0, 0, 1]], float)
    run = np.array([[2, 2, 2, 3], [2, 3, 2, 2], [2, 2, 2, 2], [0, 0, 0, 1]], float)
    names = [f"d{i}" for i in range(4)]
    folders = [
        write(tmp_path / n, {"accuracy": [1] * 4}, units=names, documents=(names, {"f1[strict]": p}))
        for n, p in (("a", base), ("b", run))
    ]

    def f1(parts):
        p, n, r, g = parts.sum(axis=0)
        return 2 * (p / n) * (r / g) / (p / n + r / g) if p else 0.0

    row = compare_runs(folders, metrics=["f1[strict]"]).results[0]
    swaps = [np.array(s)[:, None] for s in itertools.product((False, True), repeat=4)]
    observed = f1(run) - f1(base)
    sizes = [abs(f1(np.where(s, base, run)) - f1(np.where(s, run, base))) for s in swaps]
    assert (row.baseline, row.value, row.difference) == pytest.approx((f1(base), f1(run), observed))
    assert row.p_value == pytest.approx(np.mean([x >= abs(observed) - 1e-9 for x in sizes]))
    assert (row.rows, row.units, row.differing, row.p_mcnemar) == (4, 4, 3, None)
    assert [r.metric for r in compare_runs(folders).results] == ["accuracy", "f1[strict]"]


def test_xmen_counts_undefined_as_zero(tmp_path):
    documents = [(["d0"], {"recall[strict,xmen]": [[x, 1 if x else 0]]}) for x in (0, 1)]
    folders = [
        write(tmp_path / n, {"accuracy": [1]}, units=["d0"], documents=d)
        for n, d in zip("ab", documents, strict=True)
    ]  # fmt: skip
    assert compare_runs(folders, metrics=["recall[xmen,strict]"]).results[0].difference == 1


def test_runs_that_are_alike(tmp_path):
    a, _, units = sampled(np.random.default_rng(3))
    folders = [write(tmp_path / n, {"accuracy": a}, units=units) for n in "ab"]
    [row] = compare_runs(folders).results
    assert (row.difference, row.low, row.high, row.differing) == (0, 0, 0, 0)
    assert (row.p_value, row.p_mcnemar) == (1, 1)


def test_a_metric_that_is_undefined_is_null_and_spoils_nothing(tmp_path):
    rows = {"accuracy": [1, 0, 1], "nil_recall": [math.nan] * 3, "nil_precision": [math.nan] * 3}
    said = rows | {"accuracy": [1, 1, 1], "nil_precision": [0.0, math.nan, math.nan]}
    folders = [write(tmp_path / n, r) for n, r in (("a", rows), ("b", said), ("c", rows))]
    found = compare_runs(folders)
    text = json.dumps(found.as_dict(), allow_nan=False)
    metrics = {(r["metric"], r["run"]): r for r in json.loads(text)["metrics"]}
    undefined = metrics["nil_recall", "b"]
    assert all(undefined[k] is None for k in ("baseline", "value", "difference", "low", "high", "p_value", "p_holm"))
    assert metrics["nil_precision", "b"]["value"] == 0
    assert metrics["nil_precision", "b"]["difference"] is None
    assert metrics["accuracy", "b"]["difference"] == 0.333333
    assert "| nil_recall | n/a | n/a | n/a | n/a | n/a |" in found.as_markdown()


# several runs, and breakdowns


def test_holm_by_hand():
    nan = math.nan
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, nan, 0.02, 0.7]) == pytest.approx([1.0, nan, 0.06, 1.0], nan_ok=True)
    assert holm([0.2, 0.2]) == [0.4, 0.4]
    assert holm([]) == []


def test_p_values_of_several_runs_are_adjusted_metric_by_metric(tmp_path):
    rng = np.random.default_rng(4)
    runs = [{"accuracy": right(rng, 12, rate), "mrr": rng.random(12)} for rate in (0.2, 0.5, 0.7, 0.9)]
    found = compare_runs([write(tmp_path / f"r{i}", r) for i, r in enumerate(runs)])
    assert found.runs == ("r1", "r2", "r3")
    assert [(r.metric, r.run) for r in found.results] == list(itertools.product(("accuracy", "mrr"), found.runs))
    for metric in ("accuracy", "mrr"):
        rows = sorted((r for r in found.results if r.metric == metric), key=lambda r: r.p_value)
        smallest, middle, largest = (r.p_value for r in rows)
        by_hand = [min(1, 3 * smallest), min(1, 2 * middle), largest]
        assert [r.p_holm for r in rows] == pytest.approx(list(np.maximum.accumulate(by_hand)))
    alone = compare_runs([tmp_path / "r0", tmp_path / "r2"]).results
    assert [(r.difference, r.low, r.high, r.p_value) for r in alone] == [
        (r.difference, r.low, r.high, r.p_value) for r in found.results if r.run == "r2"
    ]


def test_parts_of_a_breakdown_are_compared_by_themselves(tmp_path):
    rng = np.random.default_rng(5)
    a, b, units = sampled(rng)
    lang = [["de"] if i % 3 else ["fr"] for i in range(len(a))]
    types = [["drug", "disease"] if i % 4 == 0 else ["drug"] if i % 4 == 1 else [] for i in range(len(a))]
    labels = {"lang": lang, "type": types, "part": ["test" if i % 2 else "dev" for i in range(len(a))]}
    folders = [write(tmp_path / n, {"accuracy": v}, units=units, labels=labels) for n, v in (("a", a), ("b", b))]
    found = compare_runs(folders, by=("type", "lang", "part"))
    parts = {(r.by, r.part): r for r in found.results}
    assert list(parts) == [
        (None, None), ("type", "disease"), ("type", "drug"), ("lang", "de"), ("lang", "fr"), ("part", "dev"),
        ("part", "test"),
    ]  # fmt: skip
    inside = {
        ("type", "drug"): [bool(t) for t in types],
        ("lang", "fr"): [x == ["fr"] for x in lang],
        ("part", "dev"): [i % 2 == 0 for i in range(len(a))],
    }
    for i, (key, mask) in enumerate(inside.items()):
        at = np.flatnonzero(mask)
        alone = [
            write(tmp_path / f"{n}{i}", {"accuracy": v[at]}, units=[units[j] for j in at], ids=[f"m{j}" for j in at])
            for n, v in (("a", a), ("b", b))
        ]
        [row] = compare_runs(alone).results
        for name in ("rows", "units", "differing", "difference", "low", "high", "p_value", "p_mcnemar"):
            assert getattr(parts[key], name) == pytest.approx(getattr(row, name))
    german, french = parts["lang", "de"], parts["lang", "fr"]
    assert [german.p_holm, french.p_holm] == pytest.approx(holm([german.p_value, french.p_value]))
    assert parts[None, None].p_holm is None
    data = found.as_dict()
    assert len(data["metrics"]) == 1
    assert [(r["by"], r["part"]) for r in data["breakdowns"]] == list(parts)[1:]


def test_breakdowns_are_of_mentions_alone(tmp_path):
    documents = (["d0"], {"f1[strict]": [[1, 1, 1, 1]]})
    for n in "ab":
        write(tmp_path / n, {"accuracy": [1]}, units=["d0"], labels={"lang": [["de"]]}, documents=documents)
    found = compare_runs([tmp_path / "a", tmp_path / "b"], by=["lang", "lang"])
    assert [(r.metric, r.by) for r in found.results] == [("accuracy", None), ("f1[strict]", None), ("accuracy", "lang")]
    assert math.isnan(found.results[0].low)


# matching of rows


def test_the_order_of_rows_is_nothing(tmp_path):
    rng = np.random.default_rng(6)
    a, b, units = sampled(rng)
    gold, labels = [f"C{i}" for i in range(len(a))], {"lang": [["de", "en"][: i % 3] for i in range(len(a))]}
    documents = sorted(set(units))
    counts = rng.integers(1, 4, (len(documents), 2)) / [3, 1]
    found = []
    for i in range(3):
        order = rng.permutation(len(a)) if i else None
        at = rng.permutation(len(documents)) if i else np.arange(len(documents))
        one = write(tmp_path / f"{i}" / "a", {"accuracy": a, "mrr": a / 3}, units=units, gold=gold, labels=labels,
                    order=order, documents=(documents, {"recall[strict]": counts}))  # fmt: skip
        two = write(tmp_path / f"{i}" / "b", {"accuracy": b, "mrr": b / 7}, units=units, gold=gold, labels=labels,
                    documents=([documents[j] for j in at], {"recall[strict]": counts[at] / [2, 1]}))  # fmt: skip
        found.append(compare_runs([one, two], by=("lang",)))
    assert found[0] == found[1] == found[2]
    assert len({json.dumps(f.as_dict()) for f in found}) == len({f.as_markdown() for f in found}) == 1


def test_same_input_same_bytes_and_another_seed_another_draw(tmp_path):
    a, b, units = sampled(np.random.default_rng(7), 60)
    folders = [write(tmp_path / n, {"accuracy": v}, units=units) for n, v in (("a", a), ("b", b))]
    one, two, other = (compare_runs(folders, seed=s, permutations=500) for s in (0, 0, 1))
    assert json.dumps(one.as_dict()) == json.dumps(two.as_dict())
    assert one.as_markdown() == two.as_markdown()
    assert not one.results[0].exact
    assert (one.results[0].low, one.results[0].p_value) != (other.results[0].low, other.results[0].p_value)


def test_mentions_that_all_have_are_compared_if_asked_for(tmp_path):
    documents = (["d1", "d2", "d3"], {"f1[strict]": [[1, 1, 1, 1]] * 3})
    one = write(tmp_path / "a", {"accuracy": [1, 0, 1, 0]}, ids=list("pqrs"), units=["d1", "d1", "d2", "d3"],
                documents=documents)  # fmt: skip
    two = write(tmp_path / "b", {"accuracy": [1, 1, 1]}, ids=list("tsq"), units=["d3", "d3", "d1"],
                documents=documents)  # fmt: skip
    with pytest.raises(ConfigError) as error:
        compare_runs([one, two])
    assert str(error.value) == (
        "mentions: 2 only in 'a' (p, r), 1 only in 'b' (t); pass --common to compare the mentions that all have"
    )
    found = compare_runs([one, two], common=True)
    accuracy, f1 = found.results
    assert (accuracy.rows, accuracy.baseline, accuracy.value) == (2, 0, 1)
    assert found.mentions == 2
    # every document lost a mention in one of the runs, so that no document's gold is the same
    assert found.dropped == {"a": {"mentions": 2, "documents": 3}, "b": {"mentions": 1, "documents": 3}}
    assert f1.rows == 0
    assert math.isnan(f1.difference)
    text = found.as_markdown()
    assert "- left out of 'a': 2 mentions\n- left out of 'a': 3 documents\n- left out of 'b': 1 mentions" in text


def test_common_keeps_documents_that_lost_nothing(tmp_path):
    def run(name, ids, f1):
        units = ["d" + i[0] for i in ids]
        return write(tmp_path / name, {"accuracy": [1] * len(ids)}, ids=ids, units=units,
                     documents=(sorted(set(units)), {"f1[strict]": f1}))  # fmt: skip

    one = run("a", ["1a", "1b", "2a", "3a"], [[1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 0, 1]])
    two = run("b", ["1a", "2a", "3a"], [[0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]])
    found = compare_runs([one, two], common=True)
    assert [(r.metric, r.rows, r.baseline) for r in found.results] == [("accuracy", 3, 1.0), ("f1[strict]", 2, 0.5)]
    assert found.dropped["a"] == {"mentions": 1, "documents": 1}


def test_documents_are_matched_as_mentions_are(tmp_path):
    for name, ids in (("a", ["d1", "d2"]), ("b", ["d1"])):
        write(
            tmp_path / name, {"accuracy": [1]}, units=["d1"], documents=(ids, {"f1[strict]": [[1, 1, 1, 1]] * len(ids)})
        )
    folders = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ConfigError, match=re.escape("documents: 1 only in 'a' (d2), 0 only in 'b'; pass --common")):
        compare_runs(folders)
    assert compare_runs(folders, metrics=["accuracy"]).mentions == 1
    assert compare_runs(folders, common=True).dropped["a"] == {"mentions": 0, "documents": 1}


# what else differs


def test_what_else_differs_is_said(tmp_path):
    part = PROTOCOL["corpus"]["parts"]["test"]
    one = write(tmp_path / "a", {"accuracy": [1, 0]}, labels={"lang": [["de"], ["de"]]})
    two = write(
        tmp_path / "b", {"accuracy": [1, 0]}, labels={"lang": [["de"], ["fr"]]}, units=["x", "x"], version="0.2.0",
        terminology={"name": "hpo", "fingerprint": "e" * 64}, top_k=10, threshold=0.5, training={"part": "train"},
        corpus={"parts": {"test": part | {"sha256": "b" * 64}, "dev": part | {"sha256": None, "revision": "v1"}}},
        cleanup=[{"stage": "duplicates", "dropped": {"twice": 4}}],
    )  # fmt: skip
    assert compare_runs([one, two], by=["lang"]).differences == (
        "the version of xnorm is 0.1.0 in 'a' and 0.2.0 in 'b'",
        "the terminology is ffffffffffffffff in 'a' and eeeeeeeeeeeeeeee in 'b'",
        "the checksum of corpus part 'test' is aaaaaaaaaaaaaaaa in 'a' and bbbbbbbbbbbbbbbb in 'b'",
        "the clean-up is duplicates (dropped 3) in 'a' and duplicates (dropped 4) in 'b'",
        "top_k is 64 in 'a' and 10 in 'b'",
        "threshold is none in 'a' and 0.5 in 'b'",
        "training is none in 'a' and {\"part\": \"train\"} in 'b'",
        "the checksum of corpus part 'dev' is none in 'a' and v1 in 'b'",
        "column 'unit' of 2 mentions differs; that of 'a' is used, not of 'b'",
        "column 'by:lang' of 1 mentions differs; that of 'a' is used, not of 'b'",
    )
    assert compare_runs([one, write(tmp_path / "c", {"accuracy": [0, 0]})]).differences == ()


def test_long_settings_are_cut_to_where_they_differ(tmp_path):
    stages = [{"stage": f"stage{i}", "mentions": 100} for i in range(9)]
    one = write(tmp_path / "a", {"accuracy": [1]}, cleanup=stages)
    two = write(tmp_path / "b", {"accuracy": [1]}, cleanup=[*stages[:7], {"stage": "another"}, stages[8]])
    [sentence] = compare_runs([one, two]).differences
    assert len(sentence) < 300
    assert "stage7" in sentence
    assert "another" in sentence


def test_a_protocol_that_says_nothing_is_no_obstacle(tmp_path):
    for name in "ab":
        with write_folder(tmp_path / name, kind="results", about={}) as folder:
            (folder / "metrics.json").write_text("{}")
            pq.write_table(
                pa.table({"id": ["x"], "unit": ["x"], "gold": ["C"], **columns({"accuracy": [1]})}),
                folder / "rows-mentions.parquet",
            )
    found = compare_runs([tmp_path / "a", tmp_path / "b"])
    assert (found.differences, found.resamples, found.level) == ((), 1000, 0.95)


# names and tables


def test_names_are_as_short_as_they_can_be(tmp_path):
    paths = [tmp_path / p for p in ("x/one/run", "y/one/run", "two/run", "other")]
    for path in paths:
        write(path, {"accuracy": [1]})
    found = compare_runs(paths)
    assert (found.baseline, *found.runs) == ("x/one/run", "y/one/run", "two/run", "other")


def test_relative_paths_and_links_keep_their_names(tmp_path, monkeypatch):
    write(tmp_path / "a", {"accuracy": [1]})
    write(tmp_path / "real", {"accuracy": [1]})
    (tmp_path / "best").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path / "a")
    found = compare_runs([tmp_path.__class__("."), tmp_path.__class__("../best")])
    assert (found.baseline, found.runs) == ("a", ("best",))


def test_markdown(tmp_path):
    units, lang = ["d1", "d1", "d2", "d3"], [["de"], ["a|b"], ["de"], ["de"]]
    one = write(tmp_path / "base", {"accuracy": [1, 0, 0, 0]}, units=units, labels={"lang": lang})
    two = write(tmp_path / "my_run|x", {"accuracy": [1, 1, 1, 1]}, units=units, labels={"lang": lang}, top_k=1)
    found = compare_runs([one, two], by=["lang"])
    row, part = found.results[0], found.results[2]
    lines = found.as_markdown().split("\n")
    assert lines == [
        r"| metric | base | my_run\|x | difference [low, high] | p |",
        "| --- | --- | --- | --- | --- |",
        f"| accuracy | 0.250 | 1.000 | +0.750 [{row.low:+.3f}, {row.high:+.3f}] | 0.2500 |",
        "",
        r"| lang | metric | base | my_run\|x | difference [low, high] | p | p (Holm) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        r"| a\|b | accuracy | 0.000 | 1.000 | +1.000 | 1.0000 | 1.0000 |",
        f"| de | accuracy | 0.333 | 1.000 | +0.667 [{part.low:+.3f}, {part.high:+.3f}] | 0.5000 | 1.0000 |",
        "",
        "4 mentions; 90 % bootstrap intervals over documents, 200 resamples; p of the paired randomisation test, "
        "10,000 permutations.",
        "",
        r"- top_k is 64 in 'base' and 1 in 'my_run\|x'",
        "",
    ]


def test_markdown_has_a_table_a_run(tmp_path):
    rng = np.random.default_rng(8)
    rates = {"a": 0.1, "b": 0.2, "c": 1}
    found = compare_runs([write(tmp_path / n, {"accuracy": right(rng, 40, r)}) for n, r in rates.items()])
    text = found.as_markdown()
    assert text.count("| metric | a | ") == 2
    assert "| metric | a | c | difference [low, high] | p | p (Holm) |" in text
    assert " | < 0.0001 | 0.0002 |" in text


def test_dict_has_plain_rounded_values(tmp_path):
    folders = [write(tmp_path / n, {"mrr": v}) for n, v in (("a", [1 / 3, 1, 1]), ("b", [1 / 7, 1, 1]))]
    data = compare_runs(folders).as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert list(data) == [
        "baseline", "runs", "mentions", "dropped", "differences", "level", "resamples", "permutations", "seed",
        "metrics", "breakdowns",
    ]  # fmt: skip
    [row] = data["metrics"]
    assert (row["baseline"], row["value"], row["difference"]) == (0.777778, 0.714286, -0.063492)


# what is refused


def refused(match, folders, kind=ConfigError, **options):
    with pytest.raises(kind, match=match) as error:
        compare_runs(folders, **options)
    assert "\n" not in str(error.value)


def test_runs_that_cannot_be_compared(tmp_path):
    one = write(tmp_path / "a", {"accuracy": [1, 0]}, ids=["x", "y"])
    refused("give two or more", [one])
    refused("give two or more", [])
    refused("is given twice", [one, tmp_path / "b" / ".." / "a"])
    (tmp_path / "link").symlink_to(one)
    refused("is given twice", [one, tmp_path / "link"])
    gold = write(tmp_path / "gold", {"accuracy": [1, 0]}, ids=["y", "x"], gold=["C1|C2", "C1+C3"])
    refused(
        re.escape("gold of 2 mentions differs, first of 'x': 'C1' in 'a', 'C1+C3' in 'gold'"), [one, gold], common=True
    )
    strange = write(tmp_path / "strange", {"accuracy": [1]}, ids=["z"])
    refused("no mention in common", [one, strange])
    refused("no mention in common", [one, strange], common=True)
    refused("no metric in common", [one, write(tmp_path / "c", {"mrr": [1, 0]}, ids=["x", "y"])])
    many = write(tmp_path / "many", {"accuracy": [1] * 7}, ids=["x", "y", "1", "2", "3", "4", "5"])
    refused(re.escape("0 only in 'a', 5 only in 'many' (1, 2, 3)"), [one, many])
    refused("several rows with the same id", [one, write(tmp_path / "d", {"accuracy": [1, 1]}, ids=["x", "x"])],
            ArtifactError)  # fmt: skip


def test_three_runs_share_what_all_have(tmp_path):
    folders = [write(tmp_path / ids, {"accuracy": [1, 1]}, ids=list(ids)) for ids in ("xy", "yz", "yx")]
    refused("1 only in 'xy'", folders)
    found = compare_runs(folders, common=True)
    assert found.mentions == 1
    assert [d["mentions"] for d in found.dropped.values()] == [1, 1, 1]


def test_unknown_names_and_settings(tmp_path):
    labels = {"lang": [["de"]]}
    one = write(tmp_path / "a", {"accuracy": [1], "recall@5": [1]}, labels=labels)
    two = write(tmp_path / "b", {"accuracy": [1], "recall@5": [1], "mrr": [1]}, labels=labels)
    refused("did you mean 'accuracy'", [one, two], metrics=["acuracy"])
    refused(re.escape("'recall@64' is not in all runs; did you mean 'recall@5'"), [one, two], metrics=["recall@64"])
    refused("'mrr' is not in all runs", [one, two], metrics=["mrr"])
    refused("no breakdown 'lnag'; did you mean 'lang'", [one, two], by=["lnag"])
    refused("draws", [one, two], permutations=0)
    refused("draws", [one, two], resamples=0)
    found = compare_runs([one, two], metrics=["recall@5", "accuracy", "recall@5"])
    assert [r.metric for r in found.results] == ["recall@5", "accuracy"]


def test_folders_that_are_no_results(tmp_path):
    one = write(tmp_path / "a", {"accuracy": [1]})
    refused("no such results", [one, tmp_path / "none"], ArtifactError)
    with write_folder(tmp_path / "index", kind="index", about={}):
        pass
    refused("is what `xnorm index` writes", [one, tmp_path / "index"], ArtifactError)
    with write_folder(tmp_path / "empty", kind="results", about={}) as folder:
        (folder / "metrics.json").write_text("{}")
    refused("holds no rows of mentions", [one, tmp_path / "empty"], ArtifactError)
    with write_folder(tmp_path / "bad", kind="results", about={}) as folder:
        (folder / "metrics.json").write_text("{")
    refused("cannot be read", [one, tmp_path / "bad"], ArtifactError)
    two = write(tmp_path / "b", {"accuracy": [1]})
    rows = (two / "rows-mentions.parquet").read_bytes()
    (two / "rows-mentions.parquet").write_bytes(rows[:-9] + b"x" + rows[-8:])
    refused("damaged", [one, two], ArtifactError)
