"""Documents to BigBIO rows, Parquet and `datasets`, and back, without loss."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorm.convert import from_dataset, read_documents, to_dataset, to_row, write_parquet
from xnorm.corpora.base import ReadReport
from xnorm.errors import ConfigError, DataError
from xnorm.types import Document, Mention

TEXT = "Herz- und Nierenschwäche 心不全\n🫀"
KEYS = ("text", "types", "spans", "gold", "lang", "composite", "document")


def document(*mentions, lang="de"):
    return Document("d", TEXT, tuple(mentions), lang)


def marked(identifier, *spans, **more):
    return Mention(" ".join(TEXT[a:b] for a, b in spans), identifier, "de", spans=spans, document="d", **more)


NESTED = document(
    marked("disc", (0, 5), (16, 24), types=("Disease", "X"), gold=("T:1", "T:2", "UMLS:C1")),
    marked("outer", (0, 24), gold=("T:1",)),
    marked("inner", (10, 24), types=("Disease",)),
    marked("same", (10, 24), gold=("plain",)),
    marked("han", (25, 28), gold=("HP:0001635",)),
    marked("heart", (29, 30)),
)


def facts(mention, *keys):
    return {key: getattr(mention, key) for key in keys or KEYS}


def test_a_row_by_hand():
    row = to_row(document(marked("m", (0, 5), (16, 24), types=("A", "B"), gold=("T:1", "C1"))))
    assert row == {
        "id": "d",
        "document_id": "d",
        "language": "de",
        "passages": [{"id": "d_text", "type": "text", "text": [TEXT], "offsets": [[0, len(TEXT)]]}],
        "entities": [
            {
                "id": "m",
                "type": "A|B",
                "text": ["Herz-", "schwäche"],
                "offsets": [[0, 5], [16, 24]],
                "normalized": [{"db_name": "T", "db_id": "1"}, {"db_name": "", "db_id": "C1"}],
            }
        ],
    }


def through_rows(documents, tmp_path):
    return from_dataset([to_row(d) for d in documents])


def through_parquet(documents, tmp_path):
    write_parquet(documents, tmp_path / "x.parquet")
    return read_documents(tmp_path / "x.parquet")


def through_datasets(documents, tmp_path):
    pytest.importorskip("datasets")
    return from_dataset(to_dataset(documents))


WAYS = [through_rows, through_parquet, pytest.param(through_datasets, marks=pytest.mark.filterwarnings("ignore"))]


@pytest.mark.parametrize("way", WAYS)
def test_round_trip(tmp_path, way):
    (back,) = way([NESTED], tmp_path)
    assert (back.id, back.text, back.lang) == ("d", TEXT, "de")
    assert [m.id for m in back.mentions] == ["disc", "outer", "inner", "same", "han", "heart"]
    for before, after in zip(NESTED.mentions, back.mentions, strict=True):
        assert facts(after, "text", "spans", "gold", "lang", "document") == facts(
            before, "text", "spans", "gold", "lang", "document"
        )
    assert back.mentions[2].types == ("Disease",)
    assert back.mentions[0].types == ("Disease", "X")


def test_round_trip_of_no_type():
    (back,) = from_dataset([to_row(document(marked("m", (0, 4))))])
    assert back.mentions[0].types == ()


@pytest.mark.parametrize(
    "gold",
    [
        "T:1",
        "C1",
        "HP:0001635",
        "ICD10:I50.9",
        "a b:c d",
        "SNOMED:CT:1",
    ],
)
def test_round_trip_of_gold_ids(gold):
    (back,) = from_dataset([to_row(document(marked("m", (0, 4), gold=(gold,))))])
    assert back.mentions[0].gold == (gold,)


def test_what_comes_back_reads_again_to_the_same(tmp_path):
    once = from_dataset([to_row(NESTED)])
    assert from_dataset([to_row(d) for d in once]) == once
    assert through_parquet(once, tmp_path) == once


def test_composites_by_an_option():
    (back,) = from_dataset([to_row(NESTED)], several_gold="composite")
    assert [m.composite for m in back.mentions] == [True, False, False, False, False, False]


def test_a_mention_without_spans_or_id():
    with pytest.raises(ConfigError, match=r"document 'd': the mention 'cold' has no spans, as BigBIO needs them"):
        to_row(document(Mention("cold", "m")))
    row = to_row(document(marked(None, (0, 4)), marked(None, (0, 5))))
    assert [e["id"] for e in row["entities"]] == ["d/1", "d/2"]


def test_documents_without_mentions_and_no_documents(tmp_path):
    empty = Document("e", "", (), None)
    assert from_dataset([to_row(empty)]) == [empty]
    assert through_parquet([empty], tmp_path) == [empty]
    assert through_parquet([], tmp_path) == []
    assert from_dataset([]) == []


def test_options_and_report_of_the_reader():
    row = to_row(document(marked("m", (0, 4), gold=("HPO:1", "X:2"))))
    row["entities"][0]["text"] = ["Hertz"]
    report = ReadReport()
    (back,) = from_dataset([row], report=report, db_prefix={"HPO": "HP"}, databases=["HPO"], mismatch="skip")
    assert back.mentions == ()
    assert sum(report.skipped.values()) == 1
    (back,) = from_dataset([row], db_prefix={"HPO": "HP"}, databases=["HPO"])
    assert (back.mentions[0].gold, back.mentions[0].text) == (("HP:1",), "Hertz")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mismtch": "skip"}, ConfigError, r"from_dataset: unknown key 'mismtch'; did you mean 'mismatch'\?"),
        ({"several_gold": "both"}, ConfigError, "several_gold"),
        ({}, DataError, "'entities'"),
    ],
)
def test_wrong_options_and_rows(options, error, message):
    with pytest.raises(error, match=message):
        from_dataset([{"id": "1", "passages": []}], **options)


def test_an_id_that_is_used_twice_over_documents():
    rows = [to_row(Document(i, TEXT, (marked("m", (0, 4)),))) for i in "ab"]
    with pytest.raises(DataError, match="the id 'm' is used twice"):
        from_dataset(rows)


@st.composite
def documents(draw):
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
    mentions = []
    for n in range(draw(st.integers(0, 4))):
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), min_size=2, max_size=4)))
        spans = tuple(zip(cuts[::2], cuts[1::2], strict=False))
        gold = tuple(draw(st.lists(st.from_regex(r"[A-Z]{1,3}:[\w.]{1,4}", fullmatch=True), max_size=3, unique=True)))
        mentions.append(
            Mention(" ".join(text[a:b] for a, b in spans), f"m{n}", None, ("X",), spans, gold=gold, document="d")
        )
    return Document("d", text, tuple(mentions), None)


@settings(max_examples=60, deadline=None)
@given(documents())
def test_round_trip_of_any_document(doc):
    (back,) = from_dataset([to_row(doc)])
    assert back.text == doc.text
    for before, after in zip(doc.mentions, back.mentions, strict=True):
        assert facts(after) | {"text": after.text.split()} == facts(before) | {"text": before.text.split()}
