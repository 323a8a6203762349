"""Tables of concepts and of names."""

from __future__ import annotations

import gzip

import pytest
from parsing import tools

from xnorm.config import validate
from xnorm.errors import ConfigError
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.terminology.base import RawConcept, RawName
from xnorm.terminology.table import TableConfig

CONCEPTS = """\
code,term,other,language,status,group,text,broader,same,unused
2,cat,"kitty | tabby, the||",,,mammal|pet,Says meow.,1,UMLS:C0007450|WIKI:cat,x
4,Katze,,de,synonym,,,1|PET:2,,
"""
COLUMNS = {
    "id": "code", "name": "term", "synonyms": "other", "lang": "language", "scope": "status", "types": "group",
    "definition": "text", "parents": "broader", "xrefs": "same",
}  # fmt: skip
NAMES = """\
id\tname\tlang\tscope
PET:2\tcat\ten\t
PET:4\tkitten\ten\t
PET:2\tkitty\ten\t
PET:2\tminou\tfr\texact
PET:2\tchat\tfr\tlabel
PET:2\ttabby\tEN\tnarrow
"""


written, parse, message = tools("table", "pets.csv")


def test_every_column(tmp_path):
    concepts, report = parse(written(tmp_path, CONCEPTS), columns=COLUMNS, prefix="PET")
    assert concepts == [
        RawConcept(
            id="PET:2",
            names=[
                RawName("cat", "en", "preferred"),
                RawName("kitty", "en", "exact"),
                RawName("tabby, the", "en", "exact"),
            ],
            types=["mammal", "pet"],
            xrefs=["UMLS:C0007450", "WIKI:cat"],
            parents=["PET:1"],
            definition="Says meow.",
            line=2,
        ),
        RawConcept("PET:4", [RawName("Katze", "de", "exact")], parents=["PET:1", "PET:2"], line=3),
    ]
    assert not report.skipped


def test_default_columns_language_and_gzip(tmp_path):
    path = written(tmp_path, gzip.compress("id,name\r\nPET:2,chat\r\n".encode("utf-8-sig")), "pets.csv.gz")
    assert parse(path, lang="fr")[0] == [RawConcept("PET:2", [RawName("chat", "fr", "preferred")], line=2)]


def test_delimiter_and_separator(tmp_path):
    path = written(tmp_path, "id|name|more\nPET:2|cat|kitty, mouser\n", "pets.txt")
    concepts, _ = parse(path, delimiter="|", separator=",", columns={"synonyms": "more"})
    assert [n.text for n in concepts[0].names] == ["cat", "kitty", "mouser"]


def test_rows_that_are_names(tmp_path):
    concepts, _ = parse(written(tmp_path, NAMES, "pets.tsv"), rows="name", columns={"lang": "lang"})
    assert [(c.id, c.line, c.names) for c in concepts] == [
        ("PET:2", 2, [RawName("cat", "en", "preferred")]),
        ("PET:4", 3, [RawName("kitten", "en", "preferred")]),
        ("PET:2", 4, [RawName("kitty", "en", "exact")]),
        ("PET:2", 5, [RawName("minou", "fr", "preferred")]),
        ("PET:2", 6, [RawName("chat", "fr", "exact")]),
        ("PET:2", 7, [RawName("tabby", "en", "exact")]),
    ]


def test_scope_column_goes_before_the_order(tmp_path):
    path = written(tmp_path, NAMES, "pets.tsv")
    source = {"type": "table", "path": path, "rows": "name", "columns": {"lang": "lang", "scope": "scope"}}
    terminology, report = read_terminology(TerminologyConfig(sources=[source]))
    assert [(n.text, n.lang, n.scope) for n in terminology["PET:2"].names] == [
        ("cat", "en", "preferred"),
        ("kitty", "en", "exact"),
        ("minou", "fr", "exact"),
        ("chat", "fr", "preferred"),
        ("tabby", "en", "narrow"),
    ]
    assert (report.concepts, report.sources[0].read) == (2, 6)


def test_rows_without_id_or_name_are_counted(tmp_path):
    concepts, report = parse(written(tmp_path, "id,name\n,cat\nPET:2, \n\nPET:3,dog\n ,\n"))
    assert [c.id for c in concepts] == ["PET:3"]
    assert report.skipped == {"row without an id": 1, "row without a name": 1}
    assert report.examples == {"row without an id": ["line 2"], "row without a name": ["line 3"]}


def test_duplicate_id_with_another_name(tmp_path):
    path = written(tmp_path, "id,name\nPET:2,cat\nPET:3,dog\nPET:2,cat\nPET:2,kitty\n")
    assert message(path) == (
        f"{path}:5: duplicate id 'PET:2': named 'kitty' here and 'cat' before (line 2); mend the file, "
        "or set `rows: name` if a row is a name, or `duplicates: merge` to keep the second as a further name"
    )
    for options in ({"rows": "name"}, {"duplicates": "merge"}):
        source = {"type": "table", "path": path, **options}
        terminology, _ = read_terminology(TerminologyConfig(sources=[source]))
        assert [(n.text, n.scope) for n in terminology["PET:2"].names] == [("cat", "preferred"), ("kitty", "exact")]


def test_unknown_scope(tmp_path):
    path = written(tmp_path, "id,name,scope\nPET:2,cat,preferred\nPET:3,dog,narow\n")
    assert message(path, columns={"scope": "scope"}) == f"{path}:3: unknown scope 'narow'; did you mean 'narrow'?"


def test_bad_tables(tmp_path):
    path = written(tmp_path, CONCEPTS)
    assert message(path) == (
        f"{path}:1: has no column 'id'; "
        "known: broader, code, group, language, other, same, status, term, text, unused"
    )  # fmt: skip
    columns = {"id": "code", "name": "terms"}
    assert message(path, columns=columns) == f"{path}:1: has no column 'terms'; did you mean 'term'?"
    path = written(tmp_path, CONCEPTS, "pets.tsv")
    assert message(path) == f"{path}:1: has no column 'id'; the delimiter is taken to be '\\t'; set `delimiter`"
    path = written(tmp_path, "id,name\nPET:2\n")
    assert message(path) == f"{path}:2: has 1 cells, the header has 2; a cell that holds ',' must be quoted"
    path = written(tmp_path, b"id,name\nPET:2,caf\xe9\n")
    assert message(path) == f"{path}:2: is not UTF-8 (byte 0xe9); convert it to UTF-8"
    path = written(tmp_path, 'id,name\nPET:2,"cat\n')
    assert message(path).startswith(f"{path}:2: not a valid table: ")


def test_bad_files(tmp_path):
    missing = tmp_path / "none.csv"
    assert message(missing) == f"{missing}: no such file"
    path = written(tmp_path, "")
    assert message(path) == f"{path}: is empty"
    path = written(tmp_path, CONCEPTS.encode("utf-16"))
    assert message(path) == f"{path}: is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"
    path = written(tmp_path, gzip.compress(CONCEPTS.encode())[:-12], "pets.csv.gz")
    text = message(path, columns=COLUMNS)
    assert text.startswith(f"{path}: is a damaged gzip file: ")
    assert text.endswith("; fetch it again")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"columns": {"names": "term"}}, "columns: unknown key 'names'; did you mean 'name'?"),
        ({"rows": "names"}, "rows: Input should be 'concept' or 'name' (found 'names')"),
        ({"delimiter": "::"}, "delimiter: String should have at most 1 character (found '::')"),
        ({"separator": ""}, "separator: String should have at least 1 character (found '')"),
    ],
)
def test_bad_options(options, problem):
    with pytest.raises(ConfigError) as e:
        validate(TableConfig, {"type": "table", "path": "pets.csv", **options}, where="pets.yaml")
    assert str(e.value) == f"pets.yaml: {problem}"
