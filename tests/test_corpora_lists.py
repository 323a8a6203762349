"""Lists of mentions: plain text, tables, JSON Lines of xnorm's own."""

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from xnorm.corpora.base import Reader, ReadReport
from xnorm.errors import ConfigError, DataError
from xnorm.reading import reader_for
from xnorm.types import Document, Mention


def read(path: Path, format: str | None = None, **options: object) -> tuple[list[Mention], ReadReport]:
    """Read all mentions, and see that the two ways of reading agree."""
    reader, report, again = reader_for(path, format=format, options=options), ReadReport(), ReadReport()
    mentions = list(reader.mentions(report))
    assert [m for d in reader.documents(again) for m in d.mentions] == mentions
    assert again == report
    assert report.mentions == len(mentions)
    assert len({m.id for m in mentions}) == len(mentions)
    return mentions, report


def write(path: Path, *lines: str, end: str = "\n") -> Path:
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def refused(path: Path, format: str | None = None, **options: object) -> str:
    """Return the one line of the error that reading raises."""
    with pytest.raises(DataError) as caught:
        list(reader_for(path, format=format, options=options).mentions(ReadReport()))
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "頭痛"])
def test_text_is_a_mention_a_line(tmp_path, end, last):
    path = tmp_path / "m.txt"
    path.write_bytes(("\ufeff" + end.join(["mal de tête", "", " 𝒳-linked 🫀 ", last])).encode())
    mentions, report = read(path, lang="FRA")
    expected = ["mal de tête", "", " 𝒳-linked 🫀 "] + ([last] if last else [])
    assert mentions == [Mention(text, str(n), "fr") for n, text in enumerate(expected, 1)]
    assert (report.documents, report.skipped, report.noted) == (0, {}, {})


def test_text_breaks_lines_at_line_ends_only(tmp_path):
    path = write(tmp_path / "m.txt", "a\u2028b\x0bc\x85d", "e")
    assert [m.text for m in read(path)[0]] == ["a\u2028b\x0bc\x85d", "e"]


def test_text_gzip_and_documents(tmp_path):
    path = tmp_path / "m.txt.gz"
    path.write_bytes(gzip.compress("心不全\nасма\n".encode()))
    mention = Mention("心不全", "1")
    assert next(reader_for(path).documents(ReadReport())) == Document("1", "心不全", (mention,))
    assert read(path)[0] == [mention, Mention("асма", "2")]


def test_text_streams(tmp_path):
    path = write(tmp_path / "m.txt", *["x"] * 5000)
    report = ReadReport()
    mentions = reader_for(path).mentions(report)
    next(mentions)
    assert report.mentions == 1
    mentions.close()


def test_text_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO("größe\n\nb".encode())))
    mentions = reader_for(Path("-")).mentions(ReadReport())
    assert [(m.id, m.text) for m in mentions] == [("1", "größe"), ("2", ""), ("3", "b")]


def test_unreadable_files_are_refused(tmp_path):
    bad = tmp_path / "latin1.txt"
    bad.write_bytes(b"ok\nM\xe4dchen\n")
    assert refused(bad) == f"{bad}:2: is not UTF-8 (byte 0xe4); convert it to UTF-8"
    empty = tmp_path / "empty.txt"
    empty.touch()
    assert refused(empty) == f"{empty}: is empty"
    gone = tmp_path / "gone.txt"
    assert refused(gone) == f"{gone}: no such file or folder"
    assert refused(gone, "text") == f"{gone}: no such file"
    broken = tmp_path / "broken.txt.gz"
    broken.write_bytes(gzip.compress(b"a\n" * 1000)[:-9])
    assert refused(broken).startswith(f"{broken}: is a damaged gzip file")


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_table_reads_every_column(tmp_path, end):
    path = write(
        tmp_path / "m.csv",
        "nr,wort,sprache,gold ids,art,vor,nach",
        'a1,"Herz, schwach",GER,HP:0001635|MESH:D006333,Disease| Sign |,"Er hat ", seit 1990',
        "a2,🫀心不全,,,,,",
        end=end,
    )
    columns = {"id_column": "nr", "column": "wort", "lang_column": "sprache", "gold_column": "gold ids"}
    mentions, _ = read(path, **columns, type_column="art", left_column="vor", right_column="nach", lang="ja")
    assert mentions == [
        Mention("Herz, schwach", "a1", "de", ("Disease", "Sign"), (), "Er hat ", " seit 1990",
                ("HP:0001635", "MESH:D006333")),
        Mention("🫀心不全", "a2", "ja"),
    ]  # fmt: skip
    document = next(reader_for(path, options={**columns, "left_column": "vor"}).documents(ReadReport()))
    assert (document.id, document.text, document.lang) == ("a1", "Er hat Herz, schwach", "de")


@pytest.mark.parametrize("column", ["mention", "text", "name", "term"])
def test_table_columns_with_known_names_need_no_options(tmp_path, column):
    path = write(
        tmp_path / "m.tsv", f"id\tlang\t{column}\tgold\ttype\tleft\tright\tother", 'x\tes\t"tos\tHP:1\tT\tl\tr\t?'
    )
    assert read(path)[0] == [Mention('"tos', "x", "es", ("T",), (), "l", "r", ("HP:1",))]


def test_table_of_one_column_and_row_numbers(tmp_path):
    path = write(tmp_path / "m.csv", "diagnosis", "b", "", "a")
    assert read(path)[0] == [Mention("b", "1"), Mention("a", "2")]
    assert read(write(tmp_path / "n.tsv", "name\tx", "\t1"))[0] == [Mention("", "1")]


@pytest.mark.parametrize("delimiter", [";", "\\t", "\t"])
def test_table_delimiter(tmp_path, delimiter):
    path = write(
        tmp_path / "m.csv", *(line.replace(";", delimiter.replace("\\t", "\t")) for line in ("id;text", "1;a,b"))
    )
    assert read(path, delimiter=delimiter)[0] == [Mention("a,b", "1")]
    with pytest.raises(ConfigError, match=r"reader table: delimiter: expected one character, such as .* found '::'"):
        reader_for(path, options={"delimiter": "::"})


@pytest.mark.parametrize(
    ("lines", "options", "message"),
    [
        (["id,label,note"], {"column": "labl"}, ":1: has no column 'labl'; did you mean 'label'?"),
        (["id,label,note", "1,a,b"], {}, ":1: none of the columns may hold the mention text; the columns are: "
         "id, label, note; name it with --column NAME"),
        (["name,text", "1,a"], {}, ":1: several columns (text, name) may hold the mention text; the columns are: "
         "name, text; name it with --column NAME"),
        (["id,text", "1,a,b"], {}, ":2: has 3 cells, the header has 2; a cell that holds ',' must be quoted"),
        (["id,text", "1"], {}, ":2: has 1 cells, the header has 2; a cell that holds ',' must be quoted"),
        (["id,text", "7,a", "", "7,b"], {}, ":4: the id '7' is used twice; give each mention its own"),
        (["id,text", "1,a", " ,b"], {}, ":3: the row has an empty id; give each mention its own"),
        (["id,id", "1,2"], {}, ":1: has two columns 'id'"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(tmp_path, lines, options, message):
    path = write(tmp_path / "m.csv", *lines)
    assert refused(path, **options) == f"{path}{message}"


# --- JSON Lines -----------------------------------------------------------------------------------------------------

TEXT = "Der Patient 🫀 hat Herz- und Niereninsuffizienz, 頭痛."


def as_json(*records: object) -> list[str]:
    return [json.dumps(r, ensure_ascii=False) for r in records]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_jsonl_reads_mentions_and_documents(tmp_path, end):
    path = write(
        tmp_path / "m.jsonl",
        *as_json(
            {"id": "a", "mention": "mal de tête", "lang": "fra", "types": ["Sign"], "left": "un ", "right": " fort",
             "gold": ["HP:0002315"], "extra": {"kept": False}},
            {"id": 7, "text": "アスピリン", "gold": "MESH:D001241", "types": None},
            {"mention": ""},
            {"id": "d1", "text": TEXT, "lang": "de", "mentions": [
                {"id": "m1", "spans": [[18, 23], [34, 46]], "types": "Disease", "gold": ["HP:1", "HP:2"]},
                {"spans": [[48, 50]], "lang": "ja", "text": "頭痛"}]},
            {"text": "Sin menciones", "mentions": []},
        ),
        end=end,
    )  # fmt: skip
    mentions, report = read(path, lang="en", context=6)
    assert mentions == [
        Mention("mal de tête", "a", "fr", ("Sign",), (), "un ", " fort", ("HP:0002315",)),
        Mention("アスピリン", "7", "en", gold=("MESH:D001241",)),
        Mention("", "3", "en"),
        Mention("Herz- insuffizienz", "m1", "de", ("Disease",), ((18, 23), (34, 46)), "🫀 hat ", ", 頭痛.",
                ("HP:1", "HP:2"), document="d1"),
        Mention("頭痛", "d1/2", "ja", (), ((48, 50),), "ienz, ", ".", document="d1"),
    ]  # fmt: skip
    assert report.documents == 2


def test_jsonl_documents_and_lone_mentions_are_documents(tmp_path):
    path = write(
        tmp_path / "m.ndjson",
        *as_json(
            {"mention": "tos", "left": "La ", "right": " seca"},
            {"text": "Tos.", "lang": "spa", "mentions": [{"spans": [[0, 3]]}]},
        ),
    )
    lone, document = reader_for(path).documents(ReadReport())
    assert lone == Document("1", "La tos seca", (Mention("tos", "1", left="La ", right=" seca"),))
    tos = Mention("Tos", "2/1", "es", spans=((0, 3),), right=".", document="2")
    assert document == Document("2", "Tos.", (tos,), "es")


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": 1, "name": "x"}, "has neither 'mention' nor 'text'; the keys are: id, name; put the mention text under "
         "'mention'"),
        ({"mention": "x", "text": "x y"},
         "has both 'mention' and 'text'; keep one; context goes into 'left' and 'right'"),
        ({"id": "1", "passages": []}, "has 'passages' instead of a text; read the file with the format bigbio"),
        ({"mention": 5}, "'mention': Input should be a valid string (found 5)"),
        ({"mention": "\ud83d"}, "'mention': holds half a character (a lone surrogate), which no file can be "
         "written with (found '\\ud83d')"),
        ({"mention": "x", "gold": ["HP:1", 2]}, "'gold.1': Input should be a valid string (found 2)"),
        ({"mentions": []}, "'text': Field required"),
        ({"text": "ab", "mentions": [{"spans": []}]}, "'mentions.0.spans': List should have at least 1 item after "
         "validation, not 0 (found [])"),
        ({"text": "ab", "mentions": [{"spans": [[0, 1.5]]}]}, "'mentions.0.spans.0.1': Input should be a valid integer "
         "(found 1.5)"),
        ({"id": "d", "text": "a🫀", "mentions": [{"spans": [[1, 3]]}]}, "document 'd', mention 'd/1': the span 1-3 "
         "lies outside the text of 2 characters; offsets count characters (not bytes) from 0, and the end is the first "
         "one after the mention"),
        ({"id": "d", "text": "ab", "mentions": [{"spans": [[-1, 1]]}]}, "document 'd', mention 'd/1': the span -1-1 "
         "lies outside the text of 2 characters; offsets count characters (not bytes) from 0, and the end is the first "
         "one after the mention"),
        ({"id": "first", "mention": "b"}, "the id 'first' is used twice; give each mention its own"),
        ([1], "expected a JSON object, found list"),
    ],
)  # fmt: skip
def test_bad_jsonl_is_refused(tmp_path, record, message):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"id": "first", "mention": "a"}) + "\n\n" + json.dumps(record) + "\n")
    assert refused(path) == f"{path}:3: {message}"


def test_jsonl_that_is_not_json_is_refused(tmp_path):
    path = write(tmp_path / "m.jsonl", '{"mention": "a"}', '{"mention": ')
    assert refused(path).startswith(f"{path}:2: not valid JSON")


def test_jsonl_output_of_link_can_be_read_again(tmp_path):
    path = write(tmp_path / "m.jsonl", *as_json({"id": "4", "mention": "x", "candidates": [{"concept_id": "HP:1"}]}))
    assert read(path)[0] == [Mention("x", "4")]


def test_list_readers_are_readers():
    assert all(issubclass(type(reader_for(Path("-"), format=f)), Reader) for f in ("text", "table", "jsonl"))
