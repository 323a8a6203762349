"""Ids mapped forward: what became of each, chains through releases, and files written again."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from terminology_data import NEW, OLD, error, invoke, make, make_index, works, write

import xnorm.forward
import xnorm.replacements
from xnorm.replacements import Replacements


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return make(tmp_path_factory.mktemp("old") / "old.jsonl", OLD)


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return make(tmp_path_factory.mktemp("new") / "new.jsonl", NEW)


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes")
    return make_index(folder / "old", OLD), make_index(folder / "new", NEW)


def followed(replacements, *ids):
    table = replacements.follow(ids).as_table()
    assert table.column_names == ["id", "status", "replaced_by", "reason"]
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert [row[0] for row in rows] == list(ids)
    return [row[1:] for row in rows]


# --- what became of ids -----------------------------------------------------------------------------------------------


def test_every_status(new):
    assert followed(Replacements(new), "K:1", "K:7", "K:4", "K:5", "K:81", "X:1", "K:80") == [
        ("same", [], None),
        ("replaced", ["K:3"], "merged"),
        ("split", ["K:3", "K:11"], "obsolete"),
        ("retired", [], "obsolete"),
        ("unknown", [], None),
        ("unknown", [], None),
        ("replaced", ["K:3"], "obsolete"),
    ]


def test_earlier_releases_know_what_is_forgotten(new, old):
    through = Replacements(new, releases=[old])
    # K:81 was replaced by K:80 in the old release, which the new one replaces by K:3
    assert followed(through, "K:81", "K:80", "K:82", "K:10") == [
        ("replaced", ["K:3"], "obsolete"),
        ("replaced", ["K:3"], "obsolete"),  # as the newest says, not by K:7 as the old one did
        ("same", [], None),
        ("replaced", ["K:1"], "merged"),
    ]


def test_further_replacements_and_their_reasons(new):
    further = [
        ("A:1", "A:2", "broader"),
        ("A:2", "K:7", "DUPLICATE"),
        ("A:3", "K:9", "x"),
        ("A:3", "A:1", "y"),
        ("K:5", "K:9", "z"),
    ]
    known = Replacements(new, further=further)
    assert followed(known, "A:1", "A:3", "K:5") == [
        ("replaced", ["K:3"], "broader, DUPLICATE, merged"),
        ("split", ["K:9", "K:3"], "x, y, broader, DUPLICATE, merged"),  # the nearest first
        ("replaced", ["K:9"], "z"),
    ]
    assert known.follow(["A:3", "A:4"]).successors() == {
        "A:3": {"K:9": ("x",), "K:3": ("y", "broader", "DUPLICATE", "merged")},
        "A:4": {},
    }
    alone = Replacements(new, own=False, further=further)
    assert followed(alone, "A:1", "K:7") == [("retired", [], None), ("unknown", [], None)]


def test_circles_lead_nowhere(new):
    circle = [
        ("A:1", "A:2", "a"),
        ("A:2", "A:1", "b"),
        ("A:3", "A:3", "c"),
        ("A:4", "A:5", "d"),
        ("A:5", "A:4", "e"),
        ("A:5", "K:1", "f"),
    ]
    assert followed(Replacements(new, further=circle), "A:1", "A:3", "A:4") == [
        ("retired", [], None),
        ("retired", [], None),
        ("replaced", ["K:1"], "d, f"),
    ]


def test_long_chains_are_given_up(new, monkeypatch):
    chain = [(f"A:{n}", f"A:{n + 1}", "r") for n in range(5)] + [("A:5", "K:1", "r")]
    assert followed(Replacements(new, further=chain), "A:0")[0][1] == ["K:1"]
    monkeypatch.setattr(xnorm.replacements, "MOST_STEPS", 5)
    assert followed(Replacements(new, further=chain), "A:0", "A:1") == [
        ("retired", [], None),
        ("replaced", ["K:1"], "r"),
    ]


def test_as_one_by_one(old, new):
    ids = [c["id"] for c in [*OLD, *NEW]] + ["K:10", "K:7"]
    for terminology in (old, new):
        wanted = [list(terminology.resolve(i)) for i in dict.fromkeys(ids)]
        table = Replacements(terminology).follow(list(dict.fromkeys(ids))).as_table().to_pylist()
        assert [row["replaced_by"] or [row["id"]] * (row["status"] == "same") for row in table] == wanted


def test_nothing_to_follow(new, tmp_path):
    plain = make(tmp_path / "t.jsonl", [{"id": "A:1", "name": "a"}])
    assert followed(Replacements(plain), "A:1", "A:2") == [("same", [], None), ("unknown", [], None)]
    assert Replacements(new).follow([]).as_table().num_rows == 0
    assert followed(Replacements(new, own=False), "K:7") == [("unknown", [], None)]


# --- files ------------------------------------------------------------------------------------------------------------

CANDIDATES = [
    {"concept_id": "K:4", "name": "Left heart failure", "score": 0.9},
    {"concept_id": "K:3", "name": "Heart failure", "score": 0.8},
    {"concept_id": "K:7", "name": "Cough", "score": 0.7},
    {"concept_id": "K:5", "name": "Beriberi", "score": 0.6},
    {"concept_id": "X:1", "name": "?", "score": 0.5},
]
LINKED = [{"id": "1", "mention": "Herz", "candidates": CANDIDATES}, {"id": "2", "mention": "ä", "candidates": []}]


def json_lines(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


def read(text):
    return [json.loads(line) for line in text.splitlines()]


def test_link_results(indexes, tmp_path):
    source = json_lines(tmp_path / "linked.jsonl", LINKED)
    result = invoke("forward", indexes[1], source, "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 0
    one, two = read((tmp_path / "out.jsonl").read_text(encoding="utf-8"))
    assert list(one) == ["id", "mention", "candidates"]
    assert list(one["candidates"][0]) == ["concept_id", "concept_id_before", "concept_id_reason", "name", "score"]
    assert [tuple(c.values()) for c in one["candidates"]] == [
        # K:4 was split, and its first successor stands before the K:3 that was there, and before that of K:7
        ("K:3", "K:4", "split: obsolete", "Heart failure", 0.9),
        ("K:11", "K:4", "split: obsolete", "Systolic failure", 0.9),
        ("K:5", "K:5", "retired: obsolete", "Beriberi", 0.6),
        ("X:1", "X:1", "unknown", "?", 0.5),
    ]
    assert two == LINKED[1]
    assert result.stderr.splitlines() == [
        "5 ids in 2 records",
        "  same: 1",
        "  replaced: 1 (K:7 -> K:3)",
        "  split: 1 (K:4 -> K:3, K:11)",
        "  retired: 1, kept as they were (K:5)",
        "  unknown: 1, kept as they were (X:1)",
        "left out 2 candidates that became the same concept as a better one",
        "1 records have no id",
    ]


def test_what_link_writes_is_read(indexes, tmp_path):
    """The whole way: linked with the old index, brought to the new one, as JSON Lines and as a table."""
    for ending in ("jsonl", "csv", "tsv"):
        linked, out = tmp_path / f"linked.{ending}", tmp_path / f"new.{ending}"
        works("link", indexes[0], "--text", "cough", "--text", "befund", "--text", "zzz", "--output", linked)
        counts = json.loads(works("forward", indexes[1], linked, "--output", out, "--json"))
        assert counts["ids"] == {"replaced": 1, "same": 1}, ending
        assert (counts["records"], counts["without"], counts["joined"]) == (3, 1, 0)
        assert counts["examples"] == {"replaced": ["K:7 -> K:3"]}
        if ending == "jsonl":
            ids = [[c["concept_id"] for c in record["candidates"]] for record in read(out.read_text())]
            assert ids == [["K:3"], ["K:9"], []]
            continue
        rows = list(csv.DictReader(io.StringIO(out.read_text()), delimiter="," if ending == "csv" else "\t"))
        keys = ("mention", "concept_id", "concept_id_before", "concept_id_reason", "name", "others", "others_reason")
        assert [tuple(row[k] for k in keys) for row in rows] == [
            ("cough", "K:3", "K:7", "replaced: merged", "Heart failure", "", ""),
            ("befund", "K:9", "K:9", "same", "Finding", "", ""),
            ("zzz", "", "", "", "", "", ""),
        ]


def test_any_table(indexes, tmp_path):
    source = tmp_path / "t.csv"
    source.write_text('code;note;more\nK:4|K:1;"a ""b"" ; c";K:7\n;x;\nK:81;y;K:3|K:7\n', encoding="utf-8")
    out = works("forward", indexes[1], source, "--delimiter", ";", "--column", "code", "--column", "more", "-q")
    assert out.splitlines() == [
        "code;code_before;code_reason;note;more;more_before;more_reason",
        'K:3|K:11|K:1;K:4|K:1;split: obsolete|same;"a ""b"" ; c";K:3;K:7;replaced: merged',
        ";;;x;;;",
        "K:81;K:81;unknown;y;K:3;K:3|K:7;same|replaced: merged",
    ]
    through = works(
        "forward", indexes[1], source, "--delimiter", ";", "--column", "code", "--through", indexes[0], "-q"
    )
    assert through.splitlines()[3] == "K:3;K:81;replaced: obsolete;y;K:3|K:7"


def test_a_tsv_keeps_its_quotes(indexes, tmp_path):
    source = tmp_path / "t.tsv"
    source.write_text('concept_id\tnote\nK:7\tso "called"\n')
    assert works("forward", indexes[1], source, "-q").splitlines()[1] == 'K:3\tK:7\treplaced: merged\tso "called"'


def test_keys_of_json_lines(indexes, tmp_path):
    records = [
        {"gold": ["K:4", "K:1", "K:3"], "a.b": "K:7", "id": 1},
        {"gold": [], "mentions": [{"gold": ["K:7"]}, {"gold": None}, {}], "a": {"b": "K:5"}},
        {"gold": None, "concept_id": "K:4", "name": "Left"},
    ]
    source = json_lines(tmp_path / "t.jsonl", records)
    columns = [x for c in ("gold", "a.b", "mentions.gold", "concept_id") for x in ("--column", c)]
    assert read(works("forward", indexes[1], source, *columns, "-q")) == [
        {
            "gold": ["K:3", "K:11", "K:1"],
            "gold_before": ["K:4", "K:1", "K:3"],
            "gold_reason": ["split: obsolete", "same", "same"],
            "a.b": "K:3",
            "a.b_before": "K:7",
            "a.b_reason": "replaced: merged",
            "id": 1,
        },
        {
            "gold": [],
            "gold_before": [],
            "gold_reason": [],
            "mentions": [
                {"gold": ["K:3"], "gold_before": ["K:7"], "gold_reason": ["replaced: merged"]},
                {"gold": None},
                {},
            ],
            "a": {"b": "K:5", "b_before": "K:5", "b_reason": "retired: obsolete"},
        },
        {
            "gold": None,
            "concept_id": ["K:3", "K:11"],
            "concept_id_before": "K:4",
            "concept_id_reason": "split: obsolete",
            "name": ["Heart failure", "Systolic failure"],
        },
    ]


def test_candidates_that_were_twice_stay_so(indexes, tmp_path):
    twice = {"candidates": [{"concept_id": "K:1"}, {"concept_id": "K:1"}, {"concept_id": "K:7"}, {"concept_id": "K:3"}]}
    out = read(works("forward", indexes[1], json_lines(tmp_path / "t.jsonl", [twice]), "-q"))
    assert [c["concept_id"] for c in out[0]["candidates"]] == ["K:1", "K:1", "K:3"]


def test_block_by_block(indexes, tmp_path, monkeypatch):
    source = json_lines(tmp_path / "linked.jsonl", LINKED * 3)
    whole = works("forward", indexes[1], source, "-q")
    monkeypatch.setattr(xnorm.forward, "BATCH", 1)
    assert works("forward", indexes[1], source, "-q") == whole


def test_gzip(indexes, tmp_path):
    source = tmp_path / "t.csv.gz"
    source.write_bytes(gzip.compress(b"concept_id\nK:7\n"))
    assert works("forward", indexes[1], source, "-q").splitlines()[1] == "K:3,K:7,replaced: merged"


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("t.csv", "id,x\nK:1,2\n", [], "t.csv:1: has no column 'concept_id'; the columns are: id, x; name it"),
        ("t.csv", "id,x\nK:1,2\n", ["--column", "ids"], "t.csv:1: has no column 'ids'; did you mean 'id'?"),
        ("t.csv", "concept_id,x\nK:1\n", [], "t.csv:2: has 1 cells, the header has 2"),
        ("t.csv", "concept_id\n", [], "t.csv: holds no record"),
        ("t.csv", "", [], "t.csv: is empty"),
        ("t.csv", "concept_id,concept_id_reason\nK:1,same\n", [], "has a column 'concept_id_reason' already"),
        ("t.jsonl", '{"id": 1}\n', [], "t.jsonl:1: has neither 'candidates' nor 'concept_id'; the keys are: id"),
        ("t.jsonl", '{"id": "K:1"}\n{"id": 2}\n', ["--column", "id"], "t.jsonl:2: 'id': expected an id (a string)"),
        ("t.jsonl", '{"candidates": ["K:1"]}\n', [], "t.jsonl:1: 'candidates': expected an object or a list"),
        ("t.jsonl", '{"id": "K:1"}\n', ["--column", "gold"], "t.jsonl: no record has 'gold'"),
        ("t.jsonl", '{"id": "K:1"\n', [], "t.jsonl:1: not valid JSON"),
        ("t.jsonl", '{"id": "K:1", "id_before": ""}\n', ["--column", "id"], "t.jsonl:1: has a key 'id_before' already"),
        ("t.txt", "K:1\n", [], "t.txt: no format goes with '.txt'; expected one of .jsonl, .ndjson, .csv, .tsv"),
        ("t.csv", "concept_id\nK:1\n", ["--delimiter", "||"], "--delimiter: expected one character"),
        ("t.jsonl", '{"concept_id": "K:1"}\n', ["--delimiter", ";"], "--delimiter: expected one character"),
    ],
)  # fmt: skip
def test_bad_files(indexes, tmp_path, name, content, arguments, message):
    (tmp_path / name).write_text(content)
    out = tmp_path / f"out{(tmp_path / name).suffix}"
    assert message in error("forward", indexes[1], tmp_path / name, *arguments, "--output", out)
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing is left of the output


def test_bad_arguments(indexes, tmp_path):
    source = write(tmp_path / "t.jsonl", [{"concept_id": "K:1"}])
    assert "no such file" in error("forward", indexes[1], tmp_path / "nope.csv", "--output", tmp_path / "o.csv")
    assert "no such index" in error("forward", tmp_path / "nope", source)
    assert "its name must end in .jsonl" in error("forward", indexes[1], source, "--output", tmp_path / "o.csv")
    assert "its name must end in .jsonl" in error("forward", indexes[1], source, "--output", tmp_path / "o.jsonl.gz")
    assert "is the input itself" in error("forward", indexes[1], source, "--output", source, "--overwrite")
    assert "name an --output" in error("forward", indexes[1], source, "--json")
    (tmp_path / "o.jsonl").write_text("mine")
    assert "exists already" in error("forward", indexes[1], source, "--output", tmp_path / "o.jsonl")
    assert (tmp_path / "o.jsonl").read_text() == "mine"


def test_half_a_character_is_no_id(indexes, tmp_path):
    source = tmp_path / "t.jsonl"
    source.write_text('{"concept_id": "K:\\ud83d"}\n')
    (out,) = read(works("forward", indexes[1], source, "-q"))
    assert (out["concept_id"], out["concept_id_reason"]) == ("K:?", "unknown")
