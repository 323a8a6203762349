"""Clean-up stages that mend gold: retired ids, cross-references, duplicates; value by value."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Any

import pytest
from cleanup_data import gold, refused, run, run_parts

from xnorm.errors import ConfigError, DataError
from xnorm.types import Mention

# --- retired ----------------------------------------------------------------------------------------------------------


def test_retired_by_the_terminology(kb):
    mentions = [
        gold("K:1"),
        gold("K:20"),
        gold("K:90"),
        gold("K:92", "K:4"),
        gold("K:93", "K:20"),
        gold("K:20", "K:3", composite=True),
        gold("K:20", "K:2", composite=True),
        gold("K:20", "K:92", composite=True),
        gold("X:1"),
    ]
    left, report = run(kb, mentions, "retired")
    assert left == [
        gold("K:1"),
        gold("K:2"),  # merged into it
        gold("K:3"),  # by way of K:91, which names K:90 too
        gold("K:1", "K:4"),
        gold("K:93", "K:2"),
        gold("K:2", "K:3", composite=True),
        gold("K:2"),
        gold("K:20", "K:92", composite=True),
        gold("X:1"),
    ]
    assert report.changed == {
        "gold replaced (merged)": 4,
        "gold replaced (obsolete)": 2,
        "gold without a successor in the terminology, kept": 2,
        "composite with several successors of a part, left alone": 1,
    }
    assert report.examples["gold replaced (merged)"] == ["K:20 -> K:2 (merged)"]
    assert report.examples["gold replaced (obsolete)"] == ["K:90 -> K:3 (obsolete)", "K:92 -> K:1, K:4 (obsolete)"]
    assert report.examples["gold without a successor in the terminology, kept"] == ["K:93", "X:1"]
    assert not report.dropped


MRCUI = """\
C1|2004AB|SY|||K:3|Y|
C2|1997|RB|||C3|Y|
C2|1999|SY|||C1|Y|
C3|2010AA|RO|isa||K:4|Y|
C4|2010AA|DEL|||||
C5|2010AA|SY|||C6|Y|
C6|2010AA|SY|||C5|Y|
K:1|2010AA|SY|||K:2|Y|
"""


def test_retired_by_umls(kb, tmp_path):
    path = tmp_path / "MRCUI.RRF.gz"
    path.write_bytes(gzip.compress(MRCUI.encode()))
    mentions = [gold(f"U:C{n}") for n in range(1, 8)] + [gold("K:1")]
    left, report = run(kb, mentions, "retired", path=str(path), prefix="U")
    # C4 is deleted, C5 and C6 are a circle, C7 is unknown, K:1 is in the terminology
    assert [m.gold[0] for m in left] == ["K:3", "K:3", "U:C3", "U:C4", "U:C5", "U:C6", "U:C7", "K:1"]
    assert report.changed == {"gold replaced (SY)": 2, "gold without a successor in the terminology, kept": 5}
    assert report.examples["gold replaced (SY)"] == ["U:C1 -> K:3 (SY)", "U:C2 -> K:3 (SY)"]
    left, report = run(kb, mentions[1:3], "retired", path=str(path), prefix="U", relations=["RO", "SY", "RB"])
    assert [m.gold for m in left] == [("K:4", "K:3"), ("K:4",)]
    assert report.examples["gold replaced (RB, RO, SY)"] == ["U:C2 -> K:4, K:3 (RB, RO, SY)"]
    left, _ = run(kb, mentions[:1], "retired", path=str(path))
    assert left == mentions[:1]


def test_retired_by_a_table(kb, tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("from,to,relation\nK:90,K:4,same\nO:1,K:1,same\nO:1,K:2,wider\nO:2,,\nO:3,O:1,\n")
    mentions = [gold("O:1"), gold("O:2"), gold("O:3"), gold("K:90")]
    left, report = run(kb, mentions, "retired", path=path)
    assert [m.gold for m in left] == [("K:1", "K:2"), ("O:2",), ("K:1", "K:2"), ("K:4", "K:3")]
    assert report.examples == {
        "gold replaced (same, wider)": ["O:1 -> K:1, K:2 (same, wider)"],
        "gold without a successor in the terminology, kept": ["O:2"],
        "gold replaced (listed, same, wider)": ["O:3 -> K:1, K:2 (listed, same, wider)"],
        "gold replaced (same, obsolete)": ["K:90 -> K:4, K:3 (same, obsolete)"],
    }
    left, _ = run(kb, mentions, "retired", path=path, relations=["same"], terminology=False)
    assert [m.gold for m in left] == [("K:1",), ("O:2",), ("O:3",), ("K:4",)]
    with pytest.raises(ConfigError, match=r"old.csv: no row has the relation 'some'; did you mean 'same'\?"):
        run(kb, mentions, "retired", path=path, relations=["some"])
    path.write_text("from,to\n1,K:1\n")
    assert run(kb, [gold("O:1")], "retired", path=path, prefix="O")[0] == [gold("K:1")]
    with pytest.raises(DataError, match="has no column 'relation'"):
        run(kb, mentions, "retired", path=path, relations=["same"])
    path.write_text("from,to\n,K:1\n")
    with pytest.raises(DataError, match=r"old.csv:2: empty `from`"):
        run(kb, mentions, "retired", path=path)


def test_retired_refuses(kb, tmp_path):
    assert "nothing to do" in refused("retired", terminology=False)
    assert "`relations` is of a file; set `path`" in refused("retired", relations=["SY"])
    assert "`prefix` is of a file; set `path`" in refused("retired", prefix="UMLS")
    path = tmp_path / "MRCUI.RRF"
    assert "relations: 'SYN' is none of MRCUI.RRF; did you mean 'SY'?" in refused(
        "retired", path=path, relations=["SYN"]
    )
    with pytest.raises(DataError, match="no such file"):
        run(kb, [], "retired", path=path)
    path.write_text("C1|2004AB|SY|||C2|Y|\nC1,C2\n")
    with pytest.raises(DataError, match=r"MRCUI.RRF:2: expected CUI1\|VER\|REL\|.*found 'C1,C2'"):
        run(kb, [], "retired", path=path)


# --- xrefs ------------------------------------------------------------------------------------------------------------


def test_xrefs(kb):
    mentions = [
        gold("M:1"),
        gold("M:2"),
        gold("M:9", "M:4"),
        gold("K:1"),
        gold("M:1", "M:4", composite=True),
        gold("M:1", "K:2", composite=True),
        gold("M:1", "M:2", composite=True),
        gold("M:1", "M:9", composite=True),
        gold("M:1", "K:1", composite=True),
        gold("N:1"),
    ]
    left, report = run(kb, mentions, "xrefs")
    assert left == [
        gold("K:1"),
        gold("K:1", "K:2"),
        gold("M:9", "K:4"),
        gold("K:1"),
        gold("K:1", "K:4", composite=True),
        gold("K:1", "K:2", composite=True),
        mentions[6],
        mentions[7],
        gold("K:1"),
        gold("N:1"),
    ]
    assert report.changed == {
        "mapped to one concept (M)": 6,
        "mapped to several concepts (M)": 1,
        "no concept has the id (M)": 1,
        "composite with a part that has no or several concepts, left alone": 2,
        "no concept has the id (N)": 1,
    }
    assert report.examples["mapped to several concepts (M)"] == ["M:2 -> K:1, K:2"]
    assert report.examples["no concept has the id (N)"] == ["N:1 -> none"]


def test_xrefs_settings(kb):
    mentions = [gold("M:1"), gold("N:1"), gold("K:1"), gold("K:2")]
    left, report = run(kb, mentions, "xrefs", prefixes=["N", "O"])
    assert left == mentions
    assert report.changed == {"prefix in the settings that no gold id has": 1, "no concept has the id (N)": 1}
    assert report.examples["prefix in the settings that no gold id has"] == ["O"]
    # K:1 is a cross-reference of K:3
    left, report = run(kb, mentions, "xrefs", prefixes=["K"], keep_live=False)
    assert left == [gold("M:1"), gold("N:1"), gold("K:3"), gold("K:2")]
    assert report.changed == {"mapped to one concept (K)": 1}
    assert "prefixes" in refused("xrefs", prefixes=[])


def test_xrefs_where_there_are_none(terminology):
    assert run(terminology, [gold("M:1")], "xrefs")[0] == [gold("M:1")]


# --- merge_duplicates -------------------------------------------------------------------------------------------------


def at(identifier: str, *ids: str, **others: Any) -> Mention:
    settings = {"spans": ((0, 4),), "document": "d", **others}
    return Mention("text", id=identifier, gold=ids, **settings)


def test_merge_duplicates(kb):
    mentions = [
        at("1", "A", types=("x",)),
        at("2", "Z", spans=((9, 12),)),
        at("3", "B", types=("y", "x"), lang="de"),
        at("4", "C", document="e"),
        at("5", "A", document=None),
        at("6", "A", document=None),
        at("7", "A", spans=()),
        at("8", "A", spans=()),
        replace(at("9", "A"), text="other"),
        at("10", "A", types=("z",)),
    ]
    left, report = run(kb, mentions, "merge_duplicates")
    assert left == [at("1", "A", "B", types=("x", "y", "z")), mentions[1], *mentions[3:9]]
    assert report.dropped == {"merged into the mention with the same spans": 2}
    assert report.changed == {"gold united as alternatives": 1}
    assert report.examples["gold united as alternatives"] == ["document 'd', 'text': A, B"]
    left, _ = run(kb, mentions, "merge_duplicates", gold="composite")
    assert left[0] == at("1", "A", "B", types=("x", "y", "z"), composite=True)
    with pytest.raises(DataError, match=r"document 'd': .* different gold \('1': A; '3': B; '10': A\); set `gold`"):
        run(kb, mentions, "merge_duplicates", gold="same")
    # parts are apart, and one object may stand in a list twice
    parts, _ = run_parts(kb, {"a": mentions[:1] * 3, "b": mentions[2:3]}, "merge_duplicates", gold="same")
    assert parts == {"a": mentions[:1], "b": mentions[2:3]}


@pytest.mark.parametrize(
    ("mode", "golds", "expected"),
    [
        # (ids, composite) of the mentions; of the one that they become, or None if they stay apart
        ("same", [("AB", False), ("BA", False)], ("AB", False)),
        ("same", [("AB", True), ("BA", True)], ("AB", True)),
        ("same", [("AB", True), ("AB", False)], "error"),
        ("same", [("", False), ("A", False)], "error"),
        ("same", [("", False), ("", False)], ("", False)),
        ("alternatives", [("", False), ("AB", True)], ("AB", True)),
        ("alternatives", [("AB", True), ("AB", True)], ("AB", True)),
        ("alternatives", [("AB", True), ("AB", False)], None),
        ("alternatives", [("AB", True), ("C", False)], None),
        ("alternatives", [("AB", False), ("CA", False)], ("ABC", False)),
        ("composite", [("AB", False), ("BA", False)], ("AB", False)),
        ("composite", [("AB", False), ("C", False)], None),
        ("composite", [("AB", True), ("C", False), ("BD", True)], ("ABCD", True)),
        ("composite", [("", False), ("A", False)], ("A", False)),
    ],
)
def test_merged_gold(kb, mode, golds, expected):
    mentions = [at(str(n), *ids, composite=composite) for n, (ids, composite) in enumerate(golds)]
    if expected == "error":
        with pytest.raises(DataError):
            run(kb, mentions, "merge_duplicates", gold=mode)
        return
    left, report = run(kb, mentions, "merge_duplicates", gold=mode)
    if expected is None:
        assert left == mentions
        assert report.changed == {"same spans, but alternatives beside a composite: not merged": 1}
    else:
        assert left == [at("0", *expected[0], composite=expected[1])]
