"""Texts with marked spans: BigBIO, BRAT, PubTator."""

import copy
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorm.corpora.base import ReadReport
from xnorm.errors import DataError
from xnorm.reading import reader_for
from xnorm.types import Document, Mention

OUTSIDE = "offsets count characters (not bytes) from 0, and the end is the first one after the mention"


def read(path: Path, **options: object) -> tuple[list[Document], ReadReport]:
    reader, report = reader_for(path, options=options), ReadReport()
    documents = list(reader.documents(report))
    assert report.documents == len(documents)
    mentions = [m for d in documents for m in d.mentions]
    assert report.mentions == len(mentions) == len({m.id for m in mentions})
    assert list(reader.mentions(ReadReport())) == mentions
    return documents, report


def refused(path: Path, **options: object) -> str:
    """Return the one line of the error that reading raises."""
    with pytest.raises(DataError) as caught:
        list(reader_for(path, options=options).documents(ReadReport()))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def as_jsonl(path: Path, *records: object) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
    return path


# --- BigBIO ---------------------------------------------------------------------------------------------------------

BIGBIO = {
    "id": "0",
    "document_id": "d7",
    "language": "deu",
    "passages": [
        {"id": "p2", "type": "abstract", "text": ["Herz- und Niereninsuffizienz", "Ende"],
         "offsets": [[15, 43], [46, 50]]},
        {"id": "p1", "type": "title", "text": ["🫀-Probleme"], "offsets": [[0, 10]]},
    ],
    "entities": [
        {"id": "e1", "type": "Disease", "text": ["Herz-", "insuffizienz"], "offsets": [[15, 20], [31, 43]],
         "normalized": [{"db_name": "MESH", "db_id": "D006333"}, {"db_name": "MESH", "db_id": "MESH:D006333"},
                        {"db_name": "HPO", "db_id": "HP:0001635"}, {"db_name": "ICD", "db_id": "I50"},
                        {"db_name": "ICD", "db_id": None}, {"db_name": "HPO", "db_id": "HPO:0000001"}]},
        {"id": "e2", "type": "Organ", "text": ["🫀"], "offsets": [[0, 1]], "normalized": None},
    ],
    "events": [], "relations": [],
}  # fmt: skip


def bigbio(**changes: object) -> dict:
    return {**copy.deepcopy(BIGBIO), **changes}


def entity(**changes: object) -> dict:
    return {**copy.deepcopy(BIGBIO["entities"][1]), **changes}


def test_bigbio_fields(tmp_path):
    path = as_jsonl(tmp_path / "c.jsonl", BIGBIO)
    documents, report = read(path, context=7, db_prefix={"ICD": "ICD10", "HPO": "HP"})
    text = "🫀-Probleme    \nHerz- und Niereninsuffizienz  \nEnde"
    assert documents == [Document("d7", text, (
        Mention("Herz- insuffizienz", "e1", "de", ("Disease",), ((15, 20), (31, 43)), "me    \n", "  \nEnde",
                ("MESH:D006333", "HP:0001635", "ICD10:I50", "HP:0000001"), document="d7"),
        Mention("🫀", "e2", "de", ("Organ",), ((0, 1),), "", "-Proble", document="d7"),
    ), "de")]  # fmt: skip
    assert (report.skipped, report.noted) == ({}, {})


def test_bigbio_gold_prefix_defaults_to_db_name(tmp_path):
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(BIGBIO).encode()))
    gold = read(path)[0][0].mentions[0].gold
    assert gold == ("MESH:D006333", "HP:0001635", "ICD:I50", "HPO:0000001")


def test_bigbio_without_language_or_ids(tmp_path):
    record = bigbio(entities=[entity(id=None, text=[], type=["A", "B"], normalized=[])])
    del record["language"], record["document_id"], record["id"]
    (document,), _ = read(as_jsonl(tmp_path / "c.jsonl", record), lang="de", context=0)
    assert document.id == "1"
    assert document.mentions == (Mention("🫀", "1/1", "de", ("A", "B"), ((0, 1),), document="1"),)


def test_bigbio_empty_parts_are_dropped_and_empty_mentions_kept(tmp_path):
    parts = entity(id="e3", text=["Herz-", "", "Ende"], offsets=[[15, 20], [46, 46], [46, 50]])
    nothing = entity(id="e4", text=[""], offsets=[[11, 11]])
    (document,), report = read(as_jsonl(tmp_path / "c.jsonl", bigbio(entities=[parts, nothing])), context=2)
    assert [(m.text, m.spans, m.left, m.right) for m in document.mentions] == [
        ("Herz- Ende", ((15, 20), (46, 50)), " \n", ""),
        ("", ((11, 11),), "e ", "  "),
    ]
    assert report.noted == {"mention has an empty span": 1}
    assert report.examples == {"mention has an empty span": ["document 'd7', mention 'e4'"]}


def test_bigbio_mismatch_policies(tmp_path):
    wrong = [entity(id=f"e{n}", text=["Probleme"], offsets=[[1, 9]]) for n in range(4)]
    layout = entity(id="ok", text=["Niereninsuffizienz\nEnde"], offsets=[[25, 50]])
    path = as_jsonl(tmp_path / "c.jsonl", bigbio(entities=[*wrong, layout]))
    reason = "mention text differs from the text at its offsets"
    places = {reason: [f"document 'd7', mention 'e{n}'" for n in range(3)]}

    (kept,), report = read(path)
    assert [m.text for m in kept.mentions] == ["Probleme"] * 4 + ["Niereninsuffizienz\nEnde"]
    assert (report.noted, report.skipped, report.examples) == ({reason: 4}, {}, places)
    (skipped,), report = read(path, mismatch="skip")
    assert [m.id for m in skipped.mentions] == ["ok"]
    assert (report.noted, report.skipped, report.examples) == ({}, {reason: 4}, places)
    assert refused(path, mismatch="error") == (
        f"{path}:1: document 'd7', mention 'e0': the text is 'Probleme', at its offsets stands '-Problem'; mend the "
        "offsets, or set mismatch to keep or skip"
    )


def test_bigbio_passage_of_another_length_is_noted(tmp_path):
    record = bigbio(passages=[{"text": ["🫀"], "offsets": [[0, 2]]}, {"text": ["b"], "offsets": [[2, 3]]}], entities=[])
    (document,), report = read(as_jsonl(tmp_path / "c.jsonl", record))
    assert document.text == "🫀\nb"
    assert report.examples == {"passage is longer or shorter than its offsets": ["document 'd7', line 1"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entities": [entity(offsets=[[45, 51]])]},
         f"document 'd7', mention 'e2': the span 45-51 lies outside the text of 50 characters; {OUTSIDE}"),
        ({"entities": [entity(offsets=[[9, 5]])]},
         f"document 'd7', mention 'e2': the span 9-5 ends before it starts; {OUTSIDE}"),
        ({"entities": [entity(), entity()]}, "the id 'e2' is used twice; give each mention its own"),
        ({"entities": [entity(offsets=[[1]])]},
         "'entities.0.offsets.0': List should have at least 2 items after validation, not 1 (found [1])"),
        ({"entities": [entity(offsets=[["0", 1]])]},
         "'entities.0.offsets.0.0': Input should be a valid integer (found '0')"),
        ({"passages": [{"text": ["abc"], "offsets": [[0, 3]]}, {"text": ["d"], "offsets": [[2, 3]]}]},
         "document 'd7': the passage at 2 starts inside the one before it, which ends at 3; mend the passages' "
         "offsets"),
        ({"passages": [{"text": ["a"], "offsets": [[10**12, 10**12 + 1]]}]},
         "document 'd7': at the passage at 1000000000000, more than 1000000 characters are covered by no passage; mend "
         "the passages' offsets"),
        ({"passages": [{"text": ["a", "b"], "offsets": [[0, 1]]}]},
         "document 'd7': a passage has 2 texts and 1 offsets; mend the passages' offsets"),
        ({"passages": "none"}, "'passages': Input should be a valid list (found 'none')"),
    ],
)  # fmt: skip
def test_bad_bigbio_is_refused(tmp_path, changes, message):
    path = as_jsonl(tmp_path / "c.jsonl", bigbio(document_id="d6", entities=[]), bigbio(**changes))
    assert refused(path) == f"{path}:2: {message}"


# --- BRAT -----------------------------------------------------------------------------------------------------------

ANN = """T1\tDisorder 2 7;18 30\tHerz- insuffizienz
T2\tSign 32 34\t頭痛
R1\tCauses Arg1:T1 Arg2:T2
E1\tEvent:T2
A1\tNegated T2
*\tEquiv T1 T2

N2\tReference T2 HP:0002315\theadache
N1\tReference T1 MESH:D006333\tHeart failure
N3\tReference T1 MESH:D006333
N4\tReference E1 MESH:D000001
#1\tAnnotatorNotes T1\tC0018801, C1565489
#2\tAnnotatorNotes T2\tunsure
#3\tAnnotatorNotes R1\tC0000001
"""
BRAT_TEXT = "🫀 Herz- oder Nie.-insuffizienz\n\n頭痛\n"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "brat"
    (root / "sub").mkdir(parents=True)
    write_pair(root, "b", BRAT_TEXT, ANN)
    write_pair(root, "a", "leer", "")
    write_pair(root / "sub", "c", "not read", "broken")
    return root


def write_pair(root: Path, name: str, text: str, ann: str) -> Path:
    (root / f"{name}.txt").write_bytes(text.encode())
    (root / f"{name}.ann").write_bytes(ann.encode())
    return root / f"{name}.ann"


def mentions_of_b(*, notes: bool) -> tuple[Mention, ...]:
    more = ("UMLS:C0018801", "UMLS:C1565489") if notes else ()
    return (
        Mention("Herz- insuffizienz", "b/T1", "de", ("Disorder",), ((2, 7), (18, 30)), "🫀 ", "\n\n頭",
                ("MESH:D006333", *more), document="b"),
        Mention("頭痛", "b/T2", "de", ("Sign",), ((32, 34),), "z\n\n", "\n", ("HP:0002315",), document="b"),
    )  # fmt: skip


def test_brat_folder(folder):
    documents, report = read(folder, context=3, lang="de")
    assert documents == [
        Document("a", "leer", (), "de"),
        Document("b", BRAT_TEXT, mentions_of_b(notes=False), "de"),
    ]
    assert (report.skipped, report.noted) == ({}, {})


def test_brat_gold_from_notes(folder):
    documents, report = read(folder / "b.ann", context=3, lang="de", gold_from_notes=True, prefix="UMLS")
    assert [d.mentions for d in documents] == [mentions_of_b(notes=True)]
    assert report.examples == {"annotator's note holds no concept id": ["document 'b', line 13"]}


def test_brat_gzip_and_stray_files(folder):
    (folder / "b.ann.gz").write_bytes(gzip.compress(ANN.encode()))
    (folder / "z.txt.gz").write_bytes(gzip.compress(b"ab"))
    (folder / "z.ann.gz").write_bytes(gzip.compress(b"T1\tX 0 2\tab"))
    (folder / "only.txt").write_text("x")
    (folder / "._b.ann").write_bytes(b"\x00\xff")
    documents, report = read(folder)
    assert [d.id for d in documents] == ["a", "b", "z"]
    assert report.examples == {
        "annotation file is there twice, plain and gzip": ["b.ann.gz"],
        "text has no .ann file": ["only.txt"],
    }


@pytest.mark.parametrize(("start", "converted"), [(4, False), (3, True)])
def test_brat_windows_line_ends(tmp_path, start, converted):
    ann = write_pair(tmp_path, "w", "ab\r\nTos\r\n", f"T1\tX {start} {start + 3}\tTos\r\n")
    (document,), report = read(ann)
    assert document.text == ("ab\nTos\n" if converted else "ab\r\nTos\r\n")
    assert (document.mentions[0].spans, report.noted) == (((start, start + 3),), {})


T_LINE = "T1<tab>TYPE START END<tab>TEXT (parts of a discontinuous mention: START END;START END)"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("T9 X 0 2\tab", f"broken line 'T9 X 0 2\\tab'; expected {T_LINE}"),
        ("T9\tX 0\tab", f"broken line 'T9\\tX 0\\tab'; expected {T_LINE}"),
        ("N1\tReference T1\tab",
         "broken line 'N1\\tReference T1\\tab'; expected N1<tab>Reference T1 DATABASE:ID<tab>NAME"),
        ("N1\tReference T8 HP:1\tab", "'T8' is given a concept, but there is no such mention"),
        ("T1\tX 0 2\tab", "the id 'T1' is used twice; give each its own"),
        ("T2\tX 1 5\tbcd",
         f"document 'x', mention 'x/T2': the span 1-5 lies outside the text of 4 characters; {OUTSIDE}"),
        ("what", "not a BRAT line: 'what'; lines start with one of T, N, #, R, E, A, M, *"),
    ],
)  # fmt: skip
def test_bad_brat_is_refused(tmp_path, line, message):
    path = write_pair(tmp_path, "x", "ab c", f"T1\tX 0 2\tab\n\n{line}\n")
    assert refused(path) == f"{path}:3: {message}"


def test_brat_mismatch_names_its_line(tmp_path):
    path = write_pair(tmp_path, "x", "🫀ab", "T1\tX 0 2\tab\n")
    assert refused(path, mismatch="error") == (
        f"{path}:1: document 'x', mention 'x/T1': the text is 'ab', at its offsets stands '🫀a'; mend the offsets, "
        "or set mismatch to keep or skip"
    )


def test_brat_missing_files_are_refused(tmp_path):
    path = tmp_path / "x.ann"
    path.write_text("T1\tX 0 2\tab\n")
    assert refused(path) == f"{path}: has no text file 'x.txt' beside it; put it there"
    (tmp_path / "none").mkdir()
    none = tmp_path / "none"
    assert refused(none) == f"{none}: holds no .ann files; name the folder that holds the .txt and .ann files"


parts = st.lists(st.tuples(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=4),
                           st.booleans()), min_size=1, max_size=12)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(parts)
def test_spans_survive_brat_and_bigbio(tmp_path_factory, words):
    """Any text: what is written as BRAT and as BigBIO comes back with the same spans, texts and contexts."""
    root = tmp_path_factory.mktemp("spans")
    text, spans = "", []
    for word, marked in words:
        if marked:
            spans.append((len(text), len(text) + len(word)))
        text += word + " "
    lines = [f"T{n}\tX {start} {end}\t{text[start:end]}\n" for n, (start, end) in enumerate(spans)]
    brat = write_pair(root, "d", text, "".join(lines))
    entities = [
        {"id": f"d/T{n}", "type": "X", "text": [text[s:e]], "offsets": [[s, e]]} for n, (s, e) in enumerate(spans)
    ]
    passages = [{"text": [text], "offsets": [[0, len(text)]]}]
    bigbio = as_jsonl(root / "d.jsonl", {"id": "d", "passages": passages, "entities": entities})
    (from_brat,), report = read(brat)
    (from_bigbio,), _ = read(bigbio)
    assert from_brat == from_bigbio
    assert (from_brat.text, report.noted) == (text, {})
    for mention, (start, end) in zip(from_brat.mentions, spans, strict=True):
        assert mention.spans == ((start, end),)
        assert mention.left + mention.text + mention.right == text[max(0, start - 128) : end + 128]


# --- PubTator -------------------------------------------------------------------------------------------------------

PUBTATOR = """
12|t|Insuffisance 🫀 chez l'enfant
12|a|Un cas | deux cas.
12\t0\t14\tInsuffisance 🫀\tDisease\tMESH:D006333
12\t29\t35\tUn cas\tChemical\tD003924|D003928
12\t38\t46\tdeux cas\t\t-1
12\t38\t42\tdeux\tDisease\tD1+D2\tdeux|cas
12\tCID\tD003924\tD006333
12\tAssociation\tD003924\t6331\tNovel

PMC13|t|Sans résumé
PMC13\t0\t4\tSans\tSpecies
PMC13\t5\t11\trésumé\tMutation\ttmVar:p|SUB|R|273|H
12|t|Encore
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["c.pubtator", "c.txt", "c.PubTator.txt"])
def test_pubtator_fields(tmp_path, name, end):
    path = tmp_path / name
    path.write_bytes(PUBTATOR.replace("\n", end).encode())
    documents, report = read(path, prefix="MESH", lang="fr", context=4)
    assert documents == [
        Document("12", "Insuffisance 🫀 chez l'enfant\nUn cas | deux cas.", (
            Mention("Insuffisance 🫀", "12/1", "fr", ("Disease",), ((0, 14),), "", " che", ("MESH:D006333",),
                    document="12"),
            Mention("Un cas", "12/2", "fr", ("Chemical",), ((29, 35),), "ant\n", " | d",
                    ("MESH:D003924", "MESH:D003928"), document="12"),
            Mention("deux cas", "12/3", "fr", (), ((38, 46),), "s | ", ".", document="12"),
            Mention("deux", "12/4", "fr", ("Disease",), ((38, 42),), "s | ", " cas", ("MESH:D1", "MESH:D2"),
                    document="12"),
        ), "fr"),
        Document("PMC13", "Sans résumé", (
            Mention("Sans", "PMC13/1", "fr", ("Species",), ((0, 4),), "", " rés", document="PMC13"),
            Mention("résumé", "PMC13/2", "fr", ("Mutation",), ((5, 11),), "ans ", "", ("tmVar:p|SUB|R|273|H",),
                    document="PMC13"),
        ), "fr"),
    ]  # fmt: skip
    assert report.examples == {"document is given twice": ["document '12', line 14"]}


HINT = "expected ID|t|TITLE, ID|a|ABSTRACT or ID, START, END, TEXT, TYPE, CONCEPT separated by tabs"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t0\tx\tab\tD\tM1", f"not a PubTator line: '1\\t0\\tx\\tab\\tD\\tM1'; {HINT}"),
        ("1\t0\t2\tab", f"not a PubTator line: '1\\t0\\t2\\tab'; {HINT}"),
        ("prose", f"not a PubTator line: 'prose'; {HINT}"),
        ("2\t0\t2\tab\tD\tM1", f"the annotation of document '2' does not follow its title and abstract; {HINT}"),
        (
            "1\t2\t9\tcd\tD\tM1",
            f"document '1', mention '1/1': the span 2-9 lies outside the text of 4 characters; {OUTSIDE}",
        ),
        ("\n2|a|no title", "document '2' has no title line (2|t|...)"),
    ],
)
def test_bad_pubtator_is_refused(tmp_path, line, message):
    path = tmp_path / "c.pubtator"
    path.write_text(f"1|t|abcd\n{line}\n")
    assert refused(path) == f"{path}:{2 + line.count(chr(10))}: {message}"


def test_pubtator_mismatch_is_counted(tmp_path):
    path = tmp_path / "c.pubtator"
    path.write_text("1|t|abcd\n1\t0\t2\tbc\tD\tM1\n")
    assert read(path, mismatch="skip")[1].skipped == {"mention text differs from the text at its offsets": 1}
