"""Files of ids written again: with those of a newer release, chains of replacements included, or by a mapping."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from terminology_data import NEW, OLD, error, invoke, make, make_index, works, write

import xnorm.id_files
import xnorm.replacements
from xnorm.id_files import rewrite_ids
from xnorm.new_ids import NewIds
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
    monkeypatch.setattr(xnorm.id_files, "BATCH", 1)
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


# --- by a mapping -----------------------------------------------------------------------------------------------------

PAIRS = "source,target,how\nK:1,B:1,exact\nK:1,B:2,exact\nK:2,B:2,exact\nK:4,B:4,close\nK:5,K:5,exact\n"


@pytest.fixture
def pairs(tmp_path):
    """A mapping in a folder of its own."""
    (tmp_path / "maps").mkdir()
    path = tmp_path / "maps" / "pairs.csv"
    path.write_text(PAIRS)
    return path


def test_link_results_are_mapped(pairs, tmp_path):
    candidates = [
        {"concept_id": i, "name": i.lower(), "score": s}
        for i, s in (("K:1", 1.0), ("K:2", 0.5), ("K:3", 0.4), ("K:5", 0.1))
    ]
    records = [{"id": "1", "mention": "Käse", "candidates": candidates}, {"id": "2", "candidates": []}]
    out = tmp_path / "out.jsonl"
    result = invoke("map", pairs, json_lines(tmp_path / "linked.jsonl", records), "--output", out)
    assert result.exit_code == 0
    one, two = read(out.read_text(encoding="utf-8"))
    assert [tuple(c.items()) for c in one["candidates"]] == [
        tuple(zip(("concept_id", "concept_id_before", "concept_id_reason", "name", "score"), values, strict=True))
        for values in (
            ("B:1", "K:1", "several: exact", "k:1", 1.0),
            ("B:2", "K:1", "several: exact", "k:1", 1.0),  # and not again for K:2; K:3 is left out
            ("K:5", "K:5", "mapped: exact", "k:5", 0.1),
        )
    ]
    assert (one["mention"], two) == ("Käse", records[1])
    assert result.stderr.splitlines() == [
        f"5 pairs of ids from {pairs}",
        "4 ids in 2 records",
        "  mapped: 2 (K:2 -> B:2; K:5)",
        "  several: 1 (K:1 -> B:1, B:2)",
        "  unmapped: 1, left out (K:3)",
        "left out 1 candidates that became the same concept as a better one",
        "1 records have no id",
    ]


def test_keys_of_json_lines_are_mapped(pairs, tmp_path):
    records = [{"gold": ["K:1", "K:3"]}, {"gold": "K:3", "name": "c"}, {"gold": None}, {"gold": "K:1"}]
    source = json_lines(tmp_path / "gold.jsonl", records)
    assert read(works("map", pairs, source, "--column", "gold", "-q")) == [
        {"gold": ["B:1", "B:2"], "gold_before": ["K:1", "K:3"], "gold_reason": ["several: exact", "unmapped"]},
        {"gold": None, "gold_before": "K:3", "gold_reason": "unmapped", "name": "c"},
        {"gold": None},
        {"gold": ["B:1", "B:2"], "gold_before": "K:1", "gold_reason": "several: exact"},
    ]
    kept = read(works("map", pairs, source, "--column", "gold", "--option", "unmapped=keep", "-q"))
    assert [r["gold"] for r in kept] == [["B:1", "B:2", "K:3"], "K:3", None, ["B:1", "B:2"]]


@pytest.mark.parametrize(("ending", "comma"), [("csv", ","), ("tsv", "\t")])
def test_tables_are_mapped(pairs, tmp_path, ending, comma):
    quoted = '"a, b"' if ending == "csv" else '"a, b'
    rows = (["concept_id", "name", "others"], ["K:2", quoted, "K:1|K:3|K:2"], ["K:3", "c", ""], ["", "d", ""])
    source, out = tmp_path / f"ids.{ending}", tmp_path / f"out.{ending}"
    source.write_text("".join(comma.join(row) + "\n" for row in rows))
    counts = json.loads(works("map", pairs, source, "-o", out, "--json"))
    assert [line.split(comma) for line in out.read_text().replace("a, b", "a; b").splitlines()] == [
        [*"concept_id concept_id_before concept_id_reason name others others_before others_reason".split()],
        ["B:2", "K:2", "mapped: exact", quoted.replace(",", ";"), "B:1|B:2", "K:1|K:3|K:2",
         "several: exact|unmapped|mapped: exact"],
        ["", "K:3", "unmapped", "c", "", "", ""],
        ["", "", "", "d", "", "", ""],
    ]  # fmt: skip
    mapping = counts.pop("mapping")
    assert counts == {
        "records": 3, "ids": {"mapped": 2, "several": 1, "unmapped": 2}, "left_out": 2, "without": 1, "joined": 0,
        "examples": {"mapped": ["K:2 -> B:2"], "several": ["K:1 -> B:1, B:2"], "unmapped": ["K:3"]},
    }  # fmt: skip
    assert (mapping["path"], mapping["rows"], mapping["several"]) == (str(pairs), 5, 1)


def test_settings_of_the_mapping(pairs, tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("code;n\nK:1;1\nK:4;2\n")
    command = ("map", pairs, source, "--delimiter", ";", "--column", "code")
    options = ("--option", "several=skip", "--option", "columns.predicate=how", "--option", "unmapped=keep")
    result = invoke(*command, *options)
    assert result.stdout.splitlines()[1:] == ["K:1;K:1;unmapped: several targets;1", "K:4;K:4;unmapped;2"]
    assert result.stderr.splitlines() == [
        f"4 pairs of ids from {pairs}; left out: 1 row of the predicate close",
        "2 ids in 2 records",
        "  unmapped: 2, kept as they were (K:1; K:4)",
        "no id has a target; the mapping is of ids such as K:1",
    ]
    about = tmp_path / "map.yaml"
    about.write_text(
        "type: table\npath: maps/pairs.csv\ncolumns: {predicate: how}\npredicates: [exact, close]\ninverse: true\n"
    )
    source.write_text("code\nB:4\nB:2\n")
    assert works("map", about, source, "--column", "code", "-q").splitlines()[1:] == [
        "K:4,B:4,mapped: close", "K:1|K:2,B:2,several: exact",
    ]  # fmt: skip
    assert works("map", about, source, "--column", "code", "--option", "inverse=false", "-q").splitlines()[1:] == [
        ",B:4,unmapped", ",B:2,unmapped",
    ]  # fmt: skip


def test_a_mapping_of_a_named_type(tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("concept_id\nA:1\n")
    (tmp_path / "map.txt").write_text("source\ttarget\nA:1\tB:1\n")
    assert "set --type; known: " in error("map", tmp_path / "map.txt", source)
    assert (
        works("map", tmp_path / "map.txt", source, "--type", "table", "-q").splitlines()[1] == "B:1,A:1,mapped: exact"
    )


def test_a_tab_in_a_target_ends_no_cell(tmp_path):
    (tmp_path / "map.csv").write_text('source,target\nA:1,"B:1\t2\n3"\n')
    (tmp_path / "t.tsv").write_text("concept_id\nA:1\n")
    assert works("map", tmp_path / "map.csv", tmp_path / "t.tsv", "-q").splitlines()[1:] == [
        "B:1 2 3\tA:1\tmapped: exact"
    ]


class Merged:
    """Says of every id that it is another, for a reason of two lines with a tab."""

    def look_up(self, ids):
        return [NewIds("replaced", ("K:1",), None, "merged\twith\r\nanother") for _ in ids]


@pytest.mark.parametrize(("ending", "comma"), [("tsv", "\t"), ("csv", ",")])
def test_a_tab_in_a_reason_ends_no_cell(tmp_path, ending, comma):
    (tmp_path / f"t.{ending}").write_text("concept_id\nK:2\n")
    rewrite_ids(tmp_path / f"t.{ending}", tmp_path / f"out.{ending}", Merged())
    assert (tmp_path / f"out.{ending}").read_text().splitlines()[1:] == [
        comma.join(["K:1", "K:2", "replaced: merged with another"])
    ]


@pytest.mark.parametrize(
    ("name", "content", "arguments", "message"),
    [
        ("t.csv", "ids\nK:1\n", [], "t.csv:1: has no column 'concept_id'; the columns are: ids; name it with --column"),
        ("t.txt", "K:1\n", [], "t.txt: no format goes with '.txt'; expected one of"),
        ("t.jsonl", '{"x": 1}\n', [], "t.jsonl:1: has neither 'candidates' nor 'concept_id'; the keys are: x"),
        ("t.jsonl", '{"candidates": [{"concept_id": 5}]}\n', [], "t.jsonl:1: 'concept_id': expected an id (a string)"),
        ("t.csv", "concept_id,concept_id_before\nB:1,K:1\n", [], "has a column 'concept_id_before' already"),
        ("t.csv", "concept_id\nK:1\n", ["--option", "several"], "override 'several': expected KEY=VALUE"),
        ("t.csv", "concept_id\nK:1\n", ["--option", "several=some"], "several: Input should be 'all', 'first'"),
        ("t.csv", "concept_id\nK:1\n", ["--option", "columns.source=a"], "pairs.csv:1: has no column 'a'; known: how"),
        ("t.csv", "concept_id\nK:1\n", ["--option", "predicates=[broad]"], "holds no mapping to use; rows by"),
        ("t.csv", "concept_id\nK:1\n", ["--type", "tabel"], "unknown type 'tabel' of mappings; did you mean 'table'?"),
        ("t.csv", "concept_id\nK:1\n", ["--type", "concept_map"], "pairs.csv:1: not valid JSON"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_mapped(pairs, tmp_path, name, content, arguments, message):
    (tmp_path / name).write_text(content)
    out = tmp_path / f"out{(tmp_path / name).suffix}"
    assert message in error("map", pairs, tmp_path / name, *arguments, "--output", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["maps", name]


def test_bad_arguments_of_map(pairs, tmp_path):
    source = tmp_path / "t.csv"
    source.write_text("concept_id\nK:1\n")
    assert "none.csv: no such file" in error("map", tmp_path / "none.csv", source)
    assert "none.csv: no such file" in error("map", pairs, tmp_path / "none.csv")
    assert "no such config file" in error("map", tmp_path / "none.yaml", source)
    assert "is the input itself" in error("map", pairs, source, "--output", source, "--overwrite")
    assert "is the input itself" in error("map", pairs, source, "--output", pairs, "--overwrite")
    assert pairs.read_text() == PAIRS
    assert "name an --output" in error("map", pairs, source, "--json")
    (tmp_path / "out.csv").write_text("mine")
    assert "exists already" in error("map", pairs, source, "--output", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_a_column_that_is_named_twice_is_mapped_once(pairs, tmp_path):
    source = json_lines(tmp_path / "t.jsonl", [{"gold": "K:2"}])
    counts = works("map", pairs, source, "--column", "gold", "--column", "gold", "-o", tmp_path / "o.jsonl", "--json")
    assert json.loads(counts)["ids"] == {"mapped": 1}
    assert read((tmp_path / "o.jsonl").read_text()) == [
        {"gold": "B:2", "gold_before": "K:2", "gold_reason": "mapped: exact"}
    ]
