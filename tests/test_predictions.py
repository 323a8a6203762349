"""Predictions of other systems: what is read, what is refused, and mentions that a system has found itself."""

from __future__ import annotations

import io
import json

import pytest
from evaluation_data import corpus_config, ident, make_terminology, write_lines

from xnorm.config import validate
from xnorm.corpus import CorpusConfig, clean_up, read_corpus
from xnorm.errors import ConfigError, DataError
from xnorm.evaluation import IntervalConfig, concept_ids, evaluate
from xnorm.output import writer
from xnorm.predictions import PredictionsConfig, read_predictions
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Candidate, Mention

LINES = [{"id": "1", "mention": "cold", "gold": ["T:003"]}, {"id": 2, "mention": "HF", "gold": ["T:001"]},
         {"id": "3", "mention": "xyz", "gold": []}]  # fmt: skip


@pytest.fixture(scope="module")
def terminology(tmp_path_factory):
    return make_terminology(tmp_path_factory.mktemp("terminology"))


@pytest.fixture
def corpus(tmp_path):
    return read_corpus(corpus_config({"p": write_lines(tmp_path / "corpus.jsonl", LINES)}))


def config(**data):
    return validate(PredictionsConfig, data, where="predictions")


def read(path, corpus, terminology, *, top_k=4, notes=None, **options):
    rankings = read_predictions(
        config(path=str(path), **options), corpus, terminology, top_k=top_k, notes={} if notes is None else notes
    )
    return concept_ids(rankings.final.concepts, rankings.others, terminology), rankings


WANTED = [["T:003", "X:1"], ["T:001"], []]
FILES = {
    "ids.jsonl": '{"id": "2", "candidates": ["T:001"]}\n{"id": 1, "candidates": ["T:003", "X:1", "T:003"]}\n\n'
    '{"id": "3", "candidates": []}\n',
    "objects.jsonl": '{"id": "1", "candidates": [{"concept_id": "T:003", "name": "x"}, {"concept_id": "X:1"}]}\n'
    '{"id": "2", "candidates": [{"concept_id": "T:001"}]}\n{"id": "3", "candidates": [], "mention": "xyz"}\n',
    "bars.csv": "id,concept_id\n1,T:003|X:1\n2,T:001\n3,\n",
    "others.tsv": "concept_id\tid\tothers\tname\nT:003\t1\tX:1|T:003\t\nT:001 \t2\t\tHF\n\t3\t\t\n",
    "spaces.csv": "id,concept_id,others\n1, T:003 ,X:1 | \n 2 ,T:001,\n3,|,\n",
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_read(tmp_path, corpus, terminology, name):
    (tmp_path / name).write_text(FILES[name])
    ids, rankings = read(tmp_path / name, corpus, terminology)
    assert ids == WANTED
    assert rankings.others == ["X:1"]
    assert rankings.final.scores is None
    assert (rankings.matched, rankings.found, rankings.predicted) == ([""] * 3, None, None)
    assert rankings.final.concepts.shape == (3, 4)


def test_scores_go_with_their_candidates(tmp_path, corpus, terminology):
    first = [{"concept_id": c, "score": s} for c, s in (("T:003", 0.9), ("X:1", 1), ("T:003", 0.5), ("T:001", -2))]
    records = [{"id": i, "candidates": c} for i, c in (("1", first), ("2", []), ("3", []))]
    ids, rankings = read(write_lines(tmp_path / "p.jsonl", records), corpus, terminology)
    assert ids[0] == ["T:003", "X:1", "T:001"]
    assert rankings.final.scores[0].tolist() == pytest.approx([0.9, 1, -2, float("-inf")])
    records[1]["candidates"] = ["T:001"]  # one without a score, and no curve can be drawn
    assert read(write_lines(tmp_path / "p.jsonl", records), corpus, terminology)[1].final.scores is None


def test_longer_rankings_are_cut_after_repetitions_are_gone(tmp_path, corpus, terminology):
    records = [{"id": i, "candidates": ["T:001", "T:001", "T:002", "T:003"]} for i in "123"]
    ids, _ = read(write_lines(tmp_path / "p.jsonl", records), corpus, terminology, top_k=2)
    assert ids == [["T:001", "T:002"]] * 3


@pytest.mark.parametrize("format", ["jsonl", "csv", "tsv"])
def test_what_xnorm_link_writes_is_accepted(tmp_path, corpus, terminology, format):
    out = io.StringIO()
    write = writer(out, format, explain=False)
    for mention, rows in zip(corpus.mentions, ([2, 3], [0], []), strict=True):
        candidates = [Candidate(ident(r), "n, |", 0.5 - r / 10, "m", "en", "s") for r in rows]
        write(Mention(mention.text), str(mention.id), candidates)
    path = tmp_path / f"linked.{format}"
    path.write_text(out.getvalue(), encoding="utf-8", newline="")
    ids, rankings = read(path, corpus, terminology)
    assert ids == [["T:003", "T:004"], ["T:001"], []]
    assert (rankings.final.scores is not None) == (format == "jsonl")


def records(*ids):
    return [{"id": i, "candidates": ["T:001"]} for i in ids]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (records("1", "2", "3", "9", "8"), ["predictions for 2 mentions that the corpus does not have", "'9'", "'1'"]),
        (records("1"), ["no prediction for 2 of 3 mentions, for instance '2'", "predictions.missing=empty"]),
        (records("1", "2", "3", "2"), [":4: has a second prediction for the mention '2'"]),
        ([{"id": "1"}], [":1: 'candidates': Field required"]),
        ([{"candidates": []}], [":1: 'id': Field required"]),
        ([{"id": None, "candidates": []}], ["'id': Input should be a valid string (found None)"]),
        ([{"id": "1", "candidates": "T:001"}], ["'candidates': Input should be a valid list (found 'T:001')"]),
        ([{"id": "1", "candidates": [None]}], ["'candidates.0': Input should be a valid dictionary"]),
        ([{"id": "1", "candidates": [{"id": "T:001"}]}], ["'candidates.0.concept_id': Field required"]),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, corpus, terminology, content, words):
    with pytest.raises(DataError) as e:
        read(write_lines(tmp_path / "p.jsonl", content), corpus, terminology)
    for word in ["p.jsonl", *words]:
        assert word in str(e.value)


def test_tables_without_the_columns(tmp_path, corpus, terminology):
    (tmp_path / "p.csv").write_text("id,concept\n1,T:001\n")
    with pytest.raises(DataError, match=r"has no column 'concept_id'; did you mean 'concept'\?"):
        read(tmp_path / "p.csv", corpus, terminology)


def test_missing_predictions_may_be_empty_rankings(tmp_path, corpus, terminology):
    notes = {}
    ids, _ = read(write_lines(tmp_path / "p.jsonl", records("2")), corpus, terminology, missing="empty", notes=notes)
    assert ids == [[], ["T:001"], []]
    assert notes == {"mentions without a prediction, taken as an empty ranking": 2}


def test_predictions_for_dropped_mentions_are_counted(tmp_path, terminology):
    spec = corpus_config({"p": tmp_path / "corpus.jsonl"}, cleanup=["without_gold"])
    write_lines(tmp_path / "corpus.jsonl", LINES)
    corpus = clean_up(read_corpus(spec), spec.cleanup, terminology)
    notes = {}
    ids, _ = read(write_lines(tmp_path / "p.jsonl", records("1", "2", "3")), corpus, terminology, notes=notes)
    assert ids == [["T:001"], ["T:001"]]
    assert notes == {"predictions for mentions that the clean-up has dropped": 1}
    notes = {}
    path = write_lines(tmp_path / "p.jsonl", records("1", "3"))
    read(path, corpus, terminology, notes=notes, missing="empty")
    assert sorted(notes.values()) == [1, 1]


@pytest.mark.parametrize("data", [{}, {"path": "x", "mentions": {"type": "brat", "path": "y"}}, {"missing": "empty"}])
def test_either_path_or_mentions(data):
    with pytest.raises(ConfigError, match="predictions: expected either path or mentions"):
        config(**data)


# Mentions that a system has found itself.

GOLD = {  # document -> text, marks: (type, offsets, text, ids)
    "a": ("cold and heart failure", [("0 4", "cold", ["T:003"]), ("9 22", "heart failure", ["T:001"])]),
    "b": ("breast and ovarian cancer", [("0 6;19 25", "breast cancer", ["T:006"]),
                                        ("11 25", "ovarian cancer", ["T:007"])]),
    "c": ("nothing to see", []),
}  # fmt: skip
FOUND = {
    "a": ("cold and heart failure", [("0 4", "cold", ["T:004", "T:003"]), ("15 22", "failure", ["T:001"])]),
    "b": ("breast and ovarian cancer", [("0 6;19 25", "breast cancer", ["T:006"])]),
    "c": ("nothing to see", [("0 7", "nothing", ["T:002"]), ("8 10", "to", [])]),
}


def write_brat(folder, documents):
    folder.mkdir()
    for name, (text, marks) in documents.items():
        (folder / f"{name}.txt").write_text(text)
        lines = [f"T{n}\tX {offsets}\t{surface}" for n, (offsets, surface, _) in enumerate(marks, 1)]
        lines += [f"N{n}{k}\tReference T{n} {i}\tx" for n, mark in enumerate(marks, 1) for k, i in enumerate(mark[2])]
        (folder / f"{name}.ann").write_text("".join(line + "\n" for line in lines))
    return {"type": "brat", "path": str(folder)}


def found_in(folder, terminology, gold=GOLD, found=FOUND, cleanup=(), **options):
    spec = CorpusConfig(parts={"p": write_brat(folder / "gold", gold)}, cleanup=list(cleanup))
    corpus = clean_up(read_corpus(spec), spec.cleanup, terminology)
    theirs = config(mentions=write_brat(folder / "found", found))
    rankings = read_predictions(theirs, corpus, terminology, top_k=4, notes={})
    return corpus, rankings, evaluate(corpus, rankings, terminology, interval=IntervalConfig(resamples=5), **options)


def test_found_mentions_are_laid_over_the_gold_ones(tmp_path, terminology):
    corpus, rankings, evaluation = found_in(tmp_path, terminology)
    assert [m.text for m in corpus.mentions] == ["cold", "heart failure", "breast cancer", "ovarian cancer"]
    assert rankings.found == ["exact", "overlap", "exact", "overlap"]  # both cancers share their last word
    ids = concept_ids(rankings.final.concepts, rankings.others, terminology)
    assert ids == [["T:004", "T:003"], [], ["T:006"], []]
    assert evaluation.missed.outcomes == ["ranked below", "boundary", "right", "boundary"]
    assert len(rankings.predicted) == 5


def test_f1_of_found_mentions_by_hand(tmp_path, terminology):
    *_, evaluation = found_in(tmp_path, terminology)
    found = {r["metric"]: r["value"] for r in evaluation.results["metrics"]}
    # annotations: gold 4; predicted by their first concept 4, one of them in a document without gold
    part = 7 / 7, 7 / 13  # "failure" in "heart failure": all of the predicted, 7 of 13 gold characters
    expected = {"strict": (1 / 4, 1 / 4), "partial": ((1 + part[0]) / 4, (1 + part[1]) / 4), "loose": (2 / 4, 2 / 4)}
    for how, (precision, recall) in expected.items():
        assert found[f"precision[{how}]"] == pytest.approx(precision, abs=1e-6)
        assert found[f"recall[{how}]"] == pytest.approx(recall, abs=1e-6)
        assert found[f"f1[{how}]"] == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-6)
    assert evaluation.document_ids == ("p/a", "p/b", "p/c")
    assert found["accuracy"] == 1 / 4


def test_the_gold_itself_is_perfect(tmp_path, terminology):
    *_, evaluation = found_in(tmp_path, terminology, found=GOLD)
    values = {r["metric"]: r["value"] for r in evaluation.results["metrics"]}
    assert {v for name, v in values.items() if name != "mean_rank"} == {1.0}


def test_nothing_found(tmp_path, terminology):
    empty = {name: (text, []) for name, (text, _) in GOLD.items()}
    _, rankings, evaluation = found_in(tmp_path, terminology, found=empty)
    assert rankings.found == [""] * 4
    assert evaluation.missed.outcomes == ["not found"] * 4
    values = {r["metric"]: r["value"] for r in evaluation.results["metrics"]}
    assert (values["precision[strict]"], values["recall[strict]"], values["f1[strict]"]) == (None, 0, 0)


def test_touching_is_not_overlapping_and_order_of_spans_is_nothing(tmp_path, terminology):
    gold = {"a": ("cold and HF", [("0 4", "cold", ["T:003"]), ("5 8;9 11", "and HF", ["T:001"])])}
    found = {"a": ("cold and HF", [("4 5", " ", ["T:003"]), ("9 11;5 8", "HF and", ["T:001"])])}
    assert found_in(tmp_path, terminology, gold, found)[1].found == ["", "exact"]


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_id_is_no_candidate(tmp_path, corpus, terminology, empty):
    content = [{"id": i, "candidates": [empty]} for i in "123"]
    try:
        ids, _ = read(write_lines(tmp_path / "p.jsonl", content), corpus, terminology)
    except DataError:
        return
    assert ids == [[], [], []]


@pytest.mark.parametrize("line", ['{"id": "1", "candidates": ["\\ud800"]}', '{"id": "\\ud800", "candidates": []}'])
def test_ids_that_no_file_can_be_written_with(tmp_path, corpus, terminology, line):
    (tmp_path / "p.jsonl").write_text(line)
    with pytest.raises(DataError) as e:
        read(tmp_path / "p.jsonl", corpus, terminology, missing="empty")
    str(e.value).encode()


def test_two_predictions_for_one_place_are_joined(tmp_path, terminology):
    gold = {"a": GOLD["a"]}
    found = {"a": (GOLD["a"][0], [("0 4", "cold", ["T:004"]), ("0 4", "cold", ["T:003", "T:004"])])}
    _, rankings, _ = found_in(tmp_path, terminology, gold, found)
    assert concept_ids(rankings.final.concepts, [], terminology)[0] == ["T:004", "T:003"]


def test_documents_that_the_corpus_does_not_have(tmp_path, terminology):
    with pytest.raises(DataError, match=r"found: has the document 'z', which the corpus does not have"):
        found_in(tmp_path, terminology, found={**FOUND, "z": ("x", [])})


def test_documents_outside_of_a_sample_do_not_count(tmp_path, terminology):
    *_, evaluation = found_in(
        tmp_path, terminology, found=GOLD, cleanup=[{"type": "sample", "documents": 1}], metrics=["precision[strict]"]
    )
    assert evaluation.results["metrics"][0]["value"] == 1


def test_predictions_in_place_of_dropped_mentions_do_not_count(tmp_path, terminology):
    outside = {**GOLD, "c": ("nothing to see", [("0 7", "nothing", ["X:1"])])}
    *_, evaluation = found_in(
        tmp_path, terminology, outside, outside, cleanup=["outside_terminology"], metrics=["precision[strict]"]
    )
    assert evaluation.results["metrics"][0]["value"] == 1


def test_lists_of_mentions_have_no_documents_to_find_mentions_in(tmp_path, corpus, terminology):
    theirs = config(mentions=write_brat(tmp_path / "found", FOUND))
    with pytest.raises(ConfigError, match="the corpus is a list of mentions, not of documents; use path"):
        read_predictions(theirs, corpus, terminology, top_k=4, notes={})


def test_documents_of_one_name_in_two_parts(tmp_path, terminology):
    document = {"id": "d", "text": "cold", "mentions": [{"spans": [[0, 4]], "gold": ["T:003"]}]}
    paths = {part: write_lines(tmp_path / f"{part}.jsonl", [document]) for part in "pq"}
    theirs = config(mentions=write_brat(tmp_path / "found", FOUND))
    with pytest.raises(ConfigError, match="two parts have a document 'd'; judge them apart"):
        read_predictions(theirs, read_corpus(corpus_config(paths)), terminology, top_k=4, notes={})


@pytest.mark.parametrize("score", [float("nan"), float("inf"), True])
def test_scores_that_are_no_numbers(tmp_path, corpus, terminology, score):
    content = [{"id": i, "candidates": [{"concept_id": "T:001", "score": score}]} for i in "123"]
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(record) + "\n" for record in content))
    with pytest.raises(DataError, match="score"):
        read(tmp_path / "p.jsonl", corpus, terminology)


def test_predictions_with_ids_that_nothing_knows_are_refused(tmp_path, corpus, terminology):
    path = write_lines(tmp_path / "p.jsonl", [{"id": i, "candidates": ["003"]} for i in "123"])
    with pytest.raises(DataError, match=r"none of the 1 predicted ids is in the terminology: they are like '003'.*'T:"):
        read(path, corpus, terminology)


def test_documents_of_another_text_are_refused(tmp_path, terminology):
    gold = {"a": ("cold and HF", [("0 4", "cold", ["T:003"])])}
    found = {"a": ("cold and no HF", [("0 4", "cold", ["T:003"])])}
    with pytest.raises(DataError, match="the document 'a' has another text than in the corpus"):
        found_in(tmp_path, terminology, gold, found)


def test_documents_without_predictions_are_counted(tmp_path, terminology):
    spec = CorpusConfig(parts={"p": write_brat(tmp_path / "gold", GOLD)})
    first = next(iter(GOLD))
    theirs = config(mentions=write_brat(tmp_path / "found", {first: GOLD[first]}))
    notes = {}
    read_predictions(theirs, read_corpus(spec), terminology, top_k=4, notes=notes)
    assert notes == {"documents of the corpus that the predictions do not have": len(GOLD) - 1}


def test_replaced_ids_are_taken_forward_where_the_gold_is(tmp_path):
    lines = [{"id": "T:1", "name": "cold", "alt_ids": ["T:9"]}, {"id": "T:2", "name": "ache"}]
    terms = read_terminology(
        TerminologyConfig(sources=[{"type": "jsonl", "path": str(write_lines(tmp_path / "t.jsonl", lines))}])
    )[0]
    gold = write_lines(tmp_path / "m.jsonl", [{"id": "1", "mention": "cold", "gold": ["T:1"]}])
    corpus = read_corpus(CorpusConfig(parts={"p": {"type": "jsonl", "path": str(gold)}}))
    path = write_lines(tmp_path / "p.jsonl", [{"id": "1", "candidates": ["T:9", "T:2"]}])
    for forward, expected in ((True, ["T:1", "T:2"]), (False, ["T:9", "T:2"])):
        notes = {}
        found = read_predictions(config(path=str(path)), corpus, terms, top_k=2, notes=notes, forward=forward)
        assert concept_ids(found.final.concepts, found.others, terms) == [expected]
        assert bool(notes) == forward
