"""OBO files."""

from __future__ import annotations

import gzip

import pytest
from parsing import tools

from xnorm.errors import ConfigError
from xnorm.terminology.base import RawConcept, RawName

HEADER = """format-version: 1.2
data-version: pets/2026-02-16
synonymtypedef: layperson "layperson term"
default-namespace: pets

"""
ANIMAL = """[Term]
id: PET:1
name: animal

"""
CAT = r"""[Term]
id: PET:2
name: cat \"house\" ! a comment
namespace: mammals
alt_id: PET:9
def: "Says \"meow\", \\ sleeps." [PMID:1 "a paper", https://example.org/x]
comment: not read
synonym: "Felis catus" EXACT [WIKI:1]
! a line that is a comment
synonym: "kitty" EXACT layperson []
synonym: "tabby" NARROW [] {source="x"}
synonym: "pet" BROAD []
synonym: "meower, the" RELATED []
xref: UMLS:C0007450 "Felis"
xref: ICD-10:Z1.0
is_a: PET:1 {source="x"} ! animal
relationship: part_of PET:5 ! household

"""
OLD = """[Term]
id: PET:3
name: obsolete dog
is_obsolete: true
replaced_by: PET:1
consider: PET:2

"""
KITTEN = """[Term]
id: PET:4
name: kitten
is_a: PET:2
is_a: BABY:1

"""
FOREIGN = """[Term]
id: BABY:1
name: baby

[Typedef]
id: part_of
name: part of
is_a: PET:1

[Term]
id: PET:5
name: household
"""
PETS = HEADER + ANIMAL + CAT + OLD + KITTEN + FOREIGN


written, parse, message = tools("obo", "pets.obo")


def test_every_field(tmp_path):
    concepts, report = parse(written(tmp_path, PETS))
    assert [(c.id, c.line) for c in concepts] == [
        ("PET:1", 6), ("PET:2", 10), ("PET:3", 28), ("PET:4", 35), ("BABY:1", 41), ("PET:5", 50),
    ]  # fmt: skip
    assert concepts[1] == RawConcept(
        id="PET:2",
        names=[
            RawName('cat "house" ', "en", "preferred"),
            RawName("Felis catus", "en", "exact"),
            RawName("kitty", "en", "exact"),
            RawName("tabby", "en", "narrow"),
            RawName("pet", "en", "broad"),
            RawName("meower, the", "en", "related"),
        ],
        types=["mammals"],
        xrefs=["UMLS:C0007450", "ICD-10:Z1.0"],
        parents=["PET:1"],
        definition='Says "meow", \\ sleeps.',
        line=10,
        alt_ids=["PET:9"],
    )
    assert concepts[0] == RawConcept("PET:1", [RawName("animal", "en", "preferred")], line=6)
    assert report.version == "pets/2026-02-16"
    assert not report.skipped


def test_obsolete_term_is_retired(tmp_path):
    old = parse(written(tmp_path, PETS))[0][2]
    assert (old.retired, old.replaced_by, old.names[0].text) == (True, ["PET:1"], "obsolete dog")


def test_language_and_prefix_of_the_source(tmp_path):
    text = HEADER + "[Term]\nid: 7\nname: chat\nis_a: 8\nalt_id: 9\n"
    concept = parse(written(tmp_path, text), lang="fr", prefix="PET")[0][0]
    assert (concept.id, concept.parents, concept.alt_ids) == ("PET:7", ["PET:8"], ["PET:9"])
    assert concept.names == [RawName("chat", "fr", "preferred")]


def test_gzip_byte_order_mark_and_line_ends(tmp_path):
    path = tmp_path / "pets.obo.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + PETS.replace("\n", "\r\n").encode()))
    assert parse(path)[0] == parse(written(tmp_path, PETS))[0]


def test_comment_before_the_header(tmp_path):
    assert parse(written(tmp_path, "! made by hand\n" + PETS))[0][0].line == 7


def test_roots_keep_what_is_below_and_what_it_replaces(tmp_path):
    path = written(tmp_path, PETS)
    concepts, report = parse(path, roots=["PET:2"])
    assert [c.id for c in concepts] == ["PET:2", "PET:4"]
    assert report.skipped == {"concept outside the roots": 4}
    assert [c.id for c in parse(path, roots=["PET:1"])[0]] == ["PET:1", "PET:2", "PET:3", "PET:4"]
    assert [c.id for c in parse(path, roots=["BABY:1", "PET:5"])[0]] == ["PET:4", "BABY:1", "PET:5"]


def test_roots_in_a_circle_end(tmp_path):
    circle = HEADER + "[Term]\nid: A:1\nname: a\nis_a: A:2\n\n[Term]\nid: A:2\nname: b\nis_a: A:1\n"
    assert [c.id for c in parse(written(tmp_path, circle), roots=["A:2"])[0]] == ["A:1", "A:2"]


def test_unknown_root(tmp_path):
    path = written(tmp_path, PETS)
    assert message(path, roots=["PET:99"]) == f"{path}: has no concept 'PET:99'; look at `roots` in the config"
    assert "has no concept 'PET:3'" in message(path, roots=["PET:3"])


def test_prefixes(tmp_path):
    concepts, report = parse(written(tmp_path, PETS), prefixes=["BABY:"])
    assert [c.id for c in concepts] == ["BABY:1"]
    assert report.skipped == {"concept with another prefix": 5}
    assert report.examples == {"concept with another prefix": ["PET:1", "PET:2", "PET:3"]}


def test_synonym_types_to_skip(tmp_path):
    concepts, report = parse(written(tmp_path, PETS), skip_synonym_types=["layperson"])
    assert "kitty" not in [n.text for n in concepts[1].names]
    assert report.skipped == {"synonym of type layperson": 1}
    assert report.examples == {"synonym of type layperson": ["PET:2"]}


def test_unknown_synonym_type(tmp_path):
    path = written(tmp_path, PETS)
    with pytest.raises(ConfigError) as e:
        parse(path, skip_synonym_types=["lay person"])
    assert str(e.value) == (
        f"{path}: skip_synonym_types: no synonym has the type 'lay person'; did you mean 'layperson'?"
    )


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('synonym: "Felis', "expected QuotedString, found 'synonym: \"Felis'"),
        ('synonym: "Felis" EXA', "found 'synonym: \"Felis\" EXA'"),
        ("is_a: PET:", "found 'is_a: PET:'"),
        ("nam", "found 'nam'"),
        ("is_obsolete: maybe\n", "expected Boolean, found 'is_obsolete: maybe'"),
        ("def: " + "x" * 90 + "\n", f"found 'def: {'x' * 52}...'"),
    ],
)
def test_cut_or_broken_line(tmp_path, line, found):
    path = written(tmp_path, HEADER + "[Term]\nid: PET:2\nname: cat\n" + line)
    text = message(path)
    assert text.startswith(f"{path}:9: not valid OBO: ")
    assert found in text
    assert text.endswith(
        "; mend the line; if it is the last, the file was cut off (fetch it again) or has no final line end"
    )


def test_cut_anywhere_in_a_line_is_noticed(tmp_path):
    start = len(HEADER + ANIMAL) + len("[Term]\n")
    for end in range(start + 1, len(HEADER + ANIMAL + CAT)):
        cut = PETS[:end]
        if cut.endswith("\n") or "\n!" in cut[cut.rindex("\n") :]:
            continue
        line = cut.count("\n") + 1
        assert f":{line}: not valid OBO: " in message(written(tmp_path, cut)), cut[-30:]


def test_term_without_an_id(tmp_path):
    path = written(tmp_path, HEADER + "[Term]\nname: cat\n")
    assert message(path).startswith(f"{path}:7: not valid OBO: ")


def test_undecodable_byte(tmp_path):
    path = written(tmp_path, PETS.encode().replace(b"tabby", b"t\xe4bby"))
    assert message(path) == f"{path}:20: is not UTF-8 (byte 0xe4); convert it to UTF-8"


def test_bad_files(tmp_path):
    missing = tmp_path / "none.obo"
    assert message(missing) == f"{missing}: no such file"
    path = written(tmp_path, b"")
    assert message(path) == f"{path}: is empty"
    assert message(tmp_path) == f"{tmp_path}: is a folder, expected a file"
    path = written(tmp_path, PETS.encode("utf-16"))
    assert message(path) == f"{path}: is UTF-16; convert it to UTF-8 (iconv -f utf-16 -t utf-8)"
    path = written(tmp_path, gzip.compress(PETS.encode())[:-20])
    text = message(path)
    assert text.startswith(f"{path}: is a damaged gzip file: ")
    assert text.endswith("; fetch it again")
    path = written(tmp_path, "<html>\n<body>not found</body>\n")
    assert message(path).startswith(f"{path}:1: not valid OBO: expected HeaderClause, found '<html>'")
