"""Corpora of an evaluation: parts, counts and checksums, what is refused, and the flow of the clean-up."""

from __future__ import annotations

import hashlib

import pytest
from evaluation_data import corpus_config, make_terminology, read_parts, write_lines

from xnorm.cleanup.base import Cleanup, CleanupConfig
from xnorm.config import validate
from xnorm.corpus import CorpusConfig, check_gold, clean_up, missing_files, read_corpus
from xnorm.errors import ConfigError, DataError

LINES = [
    {"id": "1", "mention": "cold", "gold": ["T:003"], "types": ["Disease"]},
    {"id": "2", "mention": "Kopfschmerz", "gold": ["T:002"], "lang": "de", "types": ["Symptom"]},
    {"id": "3", "mention": "xyz", "gold": []},
]
DOCUMENTS = [
    {"id": "d1", "text": "cold and HF", "mentions": [{"id": "a", "spans": [[0, 4]], "gold": ["T:003"]},
                                                     {"id": "b", "spans": [[9, 11]], "gold": ["T:001", "T:005"]}]},
    {"id": "d2", "text": "nothing here", "mentions": []},
]  # fmt: skip


@pytest.fixture
def lines(tmp_path):
    return write_lines(tmp_path / "lines.jsonl", LINES)


@pytest.fixture
def documents(tmp_path):
    return write_lines(tmp_path / "documents.jsonl", DOCUMENTS)


@pytest.fixture
def terminology(tmp_path):
    return make_terminology(tmp_path)


def ids(mentions):
    return [m.id for m in mentions]


def test_parts_are_judged_in_their_order_with_their_documents(lines, documents):
    corpus = read_parts({"notes": documents, "list": lines})
    assert ids(corpus.mentions) == ["a", "b", "1", "2", "3"]
    assert corpus.part_of == ["notes", "notes", "list", "list", "list"]
    assert corpus.units == ["notes/d1", "notes/d1", "list/1", "list/2", "list/3"]
    assert corpus.documents == {"notes": ["d1", "d2"], "list": []}
    assert corpus.known_ids == {"a", "b", "1", "2", "3"}
    about = corpus.about["parts"]
    counted = {part: tuple(own[k] for k in ("documents", "mentions", "gold_ids")) for part, own in about.items()}
    assert counted == {"notes": (2, 2, 3), "list": (0, 3, 2)}
    assert (about["list"]["file"], about["list"]["format"]) == ("lines.jsonl", "jsonl")
    assert corpus.about["expected"] is None
    assert corpus.cleanup == []


def test_training_is_read_but_not_judged(lines, documents):
    training = {"train": {"type": "jsonl", "path": str(documents)}}
    corpus = read_parts({"test": lines}, training=training)
    assert ids(corpus.mentions) == ["1", "2", "3"]
    assert ids(corpus.training["train"]) == ["a", "b"]
    assert list(corpus.about["training"]) == ["train"]
    assert corpus.known_ids == {"1", "2", "3"}
    assert list(corpus.documents) == ["test"]


def test_training_may_use_the_ids_of_the_judged_parts(lines):
    corpus = read_parts({"test": lines}, training={"train": {"type": "jsonl", "path": str(lines)}})
    assert ids(corpus.mentions) == ["1", "2", "3"]


def test_ids_get_their_part_only_where_parts_share_one(tmp_path, lines):
    other = write_lines(tmp_path / "other.jsonl", [{"id": "x", "mention": "a"}, {"id": "3", "mention": "b"}])
    corpus = read_parts({"p": lines, "q": other})
    assert ids(corpus.mentions) == ["p/1", "p/2", "p/3", "q/x", "q/3"]
    assert corpus.known_ids == {"p/1", "p/2", "p/3", "q/x", "q/3"}
    apart = write_lines(tmp_path / "apart.jsonl", [{"id": "x", "mention": "a"}])
    assert ids(read_parts({"p": lines, "q": apart}).mentions) == ["1", "2", "3", "x"]


def test_documents_of_two_parts_with_one_name_are_two(tmp_path, documents):
    other = write_lines(
        tmp_path / "o.jsonl", [{"id": "d1", "text": "HF", "mentions": [{"id": "c", "spans": [[0, 2]]}]}]
    )
    assert read_parts({"p": documents, "q": other}).units == ["p/d1", "p/d1", "q/d1"]


@pytest.mark.parametrize(
    ("parts", "training", "message"),
    [
        ({}, {}, "parts: expected at least one"),
        ({"a": "x.jsonl", "a/b": "y.jsonl"}, {}, "'a/b' is no name of a part"),  # else a/b/x could be of either
        ({"a": "x.jsonl"}, {"": {"type": "jsonl", "path": "y"}}, "'' is no name of a part"),
        ({"a": "x.jsonl"}, {"a": {"type": "jsonl", "path": "y"}}, "'a' is both a part to judge and one for training"),
    ],
)
def test_parts_that_make_no_sense(parts, training, message):
    data = {"parts": {p: {"type": "jsonl", "path": f} for p, f in parts.items()}, "training": training}
    with pytest.raises(ConfigError, match=message):
        validate(CorpusConfig, data, where="c")


EXACT = {"documents": 2, "mentions": 2, "gold_ids": 3}


@pytest.mark.parametrize(
    ("expected", "complaints"),
    [
        ({"parts": {"notes": EXACT, "list": {"documents": 0, "mentions": 3, "gold_ids": 2}}}, []),
        ({"parts": {"notes": {"mentions": 2}}}, []),
        # T:003 is in both parts, so the ids are 4, not 5
        ({"total": {"documents": 2, "mentions": 5, "gold_ids": 4}}, []),
        ({"parts": {"notes": {**EXACT, "documents": 1}}}, ["part 'notes': expected 1 documents, found 2"]),
        ({"parts": {"list": {"gold_ids": 0}}}, ["part 'list': expected 0 gold ids, found 2"]),
        (
            {"parts": {"list": {"mentions": 4000}}, "total": {"gold_ids": 5}},
            ["part 'list': expected 4,000 mentions, found 3", "all parts: expected 5 gold ids, found 4"],
        ),
    ],
)
def test_expected_counts(lines, documents, expected, complaints):
    parts = {"notes": documents, "list": lines}
    about = read_parts(parts, expected={**expected, "policy": "note"}).about["expected"]
    assert about == {"met": not complaints, "differences": complaints}
    if not complaints:
        assert read_parts(parts, expected=expected).about["expected"]["met"]
        return
    with pytest.raises(DataError) as e:
        read_parts(parts, expected=expected)
    for complaint in [*complaints, "corpus.expected.policy=note"]:
        assert complaint in str(e.value)


def test_shares_of_one_file_have_no_document_in_common_and_miss_none(tmp_path):
    docs = [
        {"id": f"d{i}", "text": "cold", "mentions": [{"id": f"m{i}", "spans": [[0, 4]], "gold": ["T:003"]}]}
        for i in range(200)
    ]
    file = write_lines(tmp_path / "documents.jsonl", docs)
    shares = {"a": (0, 0.6), "b": (0.6, 0.8), "c": (0.8, 1)}
    corpus = read_parts(dict.fromkeys(shares, file), shares=shares)
    found = [m.document for m in corpus.mentions]
    assert sorted(found) == sorted(d["id"] for d in docs)
    assert {part: sorted(own) for part, own in corpus.documents.items()} == {
        part: sorted(m.document for m in own) for part, own in corpus.parts.items()
    }
    assert [len(own) for own in corpus.parts.values()] == pytest.approx([120, 40, 40], abs=15)
    assert corpus.about["parts"]["b"]["share"] == [0.6, 0.8]
    # where a document falls depends on its id alone
    fewer = write_lines(tmp_path / "fewer.jsonl", docs[::-2])
    again = read_parts({"b": fewer}, shares={"b": [0.6, 0.8]})
    kept = {d["id"] for d in docs[::-2]}
    assert {m.document for m in again.mentions} == {m.document for m in corpus.parts["b"]} & kept


def test_shares_of_a_list_are_of_its_mentions(tmp_path):
    file = write_lines(tmp_path / "list.jsonl", [{"id": str(i), "mention": "x"} for i in range(100)])
    corpus = read_parts(
        {"a": file}, training={"b": {"type": "jsonl", "path": str(file)}}, shares={"a": [0, 0.3], "b": [0.3, 1]}
    )
    kept, rest = (set(ids(own)) for own in (corpus.parts["a"], corpus.training["b"]))
    assert 15 < len(kept) < 45
    assert not kept & rest
    assert len(kept | rest) == 100


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"b": [0, 1]}, "no part 'b' is read"),
        ({"a": [0.5, 0.5]}, "two numbers that rise"),
        ({"a": [-0.1, 1]}, "from 0 to 1"),
        ({"a": [0, 1.1]}, "from 0 to 1"),
        ({"a": [0.2]}, "shares"),
    ],
)
def test_shares_that_make_no_sense(lines, shares, message):
    with pytest.raises(ConfigError, match=message):
        validate(CorpusConfig, {"parts": {"a": {"type": "jsonl", "path": str(lines)}}, "shares": shares}, where="x")


def test_a_share_without_a_mention_is_refused(lines):
    with pytest.raises(DataError, match="holds no mention"):
        read_parts({"a": lines}, shares={"a": [0, 1e-9]})


def test_expected_counts_of_training_parts(lines, documents):
    training = {"train": {"type": "jsonl", "path": str(documents)}}
    expected = {"parts": {"train": {"mentions": 3}}, "total": {"mentions": 5}}
    with pytest.raises(DataError, match="part 'train': expected 3 mentions, found 2") as e:
        read_parts({"test": lines}, training=training, expected=expected)
    assert "all parts" not in str(e.value)


def test_expected_counts_of_parts_that_are_not_read(lines):
    expected = {"policy": "note", "parts": {"tset": {"mentions": 1}, "test": {"mentions": 3}}}
    about = read_parts({"test": lines}, expected=expected).about
    assert about["expected"] == {"met": True, "differences": []}
    with pytest.raises(ValueError, match=r"no part 'tset' is read; did you mean 'test'\?"):
        read_parts({"test": lines}, expected={**expected, "policy": "error"})


def test_checksum_of_a_file(lines):
    about = read_parts({"test": lines}).about["parts"]["test"]
    assert about["sha256"] == hashlib.sha256(lines.read_bytes()).hexdigest()


def test_checksum_of_a_folder_tells_content_and_names(tmp_path):
    def checksum(files, folder):
        for name, content in files.items():
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(content)
        spec = {"type": "brat", "path": str(tmp_path / folder)}
        return read_corpus(CorpusConfig(parts={"p": spec})).about["parts"]["p"]["sha256"]

    files = {"d.txt": "cold", "d.ann": "T1\tX 0 4\tcold\n"}
    first = checksum(files, "one")
    assert len(first) == 64
    assert checksum(files, "two") == first
    assert checksum({**files, "d.txt": "cold "}, "three") != first
    assert checksum({f"e{name[1:]}": content for name, content in files.items()}, "four") != first


def test_a_part_without_mentions_is_refused(tmp_path, lines):
    empty = write_lines(tmp_path / "none.jsonl", [{"id": "d", "text": "abc", "mentions": []}])
    with pytest.raises(DataError, match=r"none\.jsonl: the part 'b' holds no mention; is it the right file"):
        read_parts({"a": lines, "b": empty})


def test_odd_gold_and_empty_texts_are_noted(tmp_path):
    records = [{"id": f"m{i}", "mention": "a", "gold": [f"C{i}"]} for i in range(5)]
    records += [{"id": "ok", "mention": "b", "gold": ["T:001"]}, {"id": "blank", "mention": " \t"}]
    about = read_parts({"p": write_lines(tmp_path / "m.jsonl", records)}).about
    assert about["noted"] == {"gold id without a prefix": 5, "mention without a text": 1}
    assert [place.split(": ")[1] for place in about["examples"]["gold id without a prefix"]] == ["C0", "C1", "C2"]


def test_the_odd_gold_id_is_the_one_that_is_shown(tmp_path):
    records = [{"id": "m", "mention": "a", "gold": ["T:001", "C7"]}]
    examples = read_parts({"p": write_lines(tmp_path / "m.jsonl", records)}).about["examples"]
    assert examples == {"gold id without a prefix": ["mention 'm': C7"]}


def test_checksum_of_an_annotation_file_tells_its_text(tmp_path):
    (tmp_path / "d.ann").write_text("T1\tX 0 4\tcold\n")
    checksums = set()
    for text in ("cold", "cold and wet"):
        (tmp_path / "d.txt").write_text(text)
        config = CorpusConfig(parts={"p": {"type": "brat", "path": str(tmp_path / "d.ann")}})
        checksums.add(read_corpus(config).about["parts"]["p"]["sha256"])
    assert len(checksums) == 2


def test_two_documents_of_one_id_are_not_one(tmp_path):
    marks = [
        {"id": i, "text": "cold HF", "mentions": [{"id": m, "spans": [[0, 4]]}]} for i, m in (("d", "a"), ("d", "b"))
    ]
    path = write_lines(tmp_path / "m.jsonl", marks)
    with pytest.raises(DataError, match="'d'"):
        read_parts({"p": path})


def test_what_readers_count_is_summed_over_parts(tmp_path):
    def part(name, n):
        wrong = [{"id": f"{name}{i}", "spans": [[0, 4]], "text": "HF"} for i in range(n)]
        right = [{"id": f"{name}ok", "spans": [[0, 4]]}]
        document = {"id": name, "text": "cold", "mentions": wrong + right}
        return {"type": "jsonl", "path": str(write_lines(tmp_path / f"{name}.jsonl", [document])), "mismatch": "skip"}

    corpus = read_corpus(CorpusConfig(parts={"p": part("p", 2), "q": part("q", 2)}))
    (reason,) = corpus.about["skipped"]
    assert corpus.about["skipped"][reason] == 4
    assert len(corpus.about["examples"][reason]) == 3
    assert ids(corpus.mentions) == ["pok", "qok"]


def test_gold_all_outside_the_terminology_shows_ids_of_either_side(tmp_path, terminology):
    records = [{"id": str(i), "mention": "a", "gold": ["UMLS:C1"] if i else ["UMLS:C2"]} for i in range(3)]
    corpus = read_parts({"p": write_lines(tmp_path / "m.jsonl", records)})
    with pytest.raises(DataError) as e:
        check_gold(corpus.mentions, terminology)
    for words in ("none of the 2 gold ids", "gold has 'UMLS:C1', 'UMLS:C2'", "the terminology has 'T:001', 'T:002'"):
        assert words in str(e.value)


def test_some_gold_inside_or_no_gold_at_all_is_fine(tmp_path, terminology):
    for gold in ([["X:1", "T:001"], ["X:2"]], [[], []]):
        records = [{"id": str(i), "mention": "a", "gold": g} for i, g in enumerate(gold)]
        check_gold(read_parts({"p": write_lines(tmp_path / "m.jsonl", records)}).mentions, terminology)


def test_all_missing_files_are_named_with_their_hints(tmp_path, lines):
    spec = {"type": "brat", "path": str(tmp_path / "corpus"), "hint": "ask the authors"}
    training = {"train": {"type": "jsonl", "path": str(tmp_path / "train.jsonl")}}
    hub = {"type": "bigbio", "hub": "bigbio/x", "revision": "0" * 40}
    config = CorpusConfig(parts={"a": {"type": "jsonl", "path": str(lines)}, "b": spec, "h": hub}, training=training)
    assert missing_files(config) == [
        f"part 'b': {tmp_path / 'corpus'} (ask the authors)",
        f"part 'train': {tmp_path / 'train.jsonl'}",
    ]


def cleaned(parts, stages, terminology, **more):
    config = corpus_config(parts, cleanup=stages, **more)
    return clean_up(read_corpus(config), config.cleanup, terminology)


def test_clean_up_counts_mentions_after_each_stage(tmp_path, lines, terminology):
    outside = {"id": "4", "mention": "rash", "gold": ["X:1"], "types": ["Disease"]}
    file = write_lines(tmp_path / "m.jsonl", [*LINES, outside])
    corpus = cleaned({"p": file}, ["without_gold", "outside_terminology", {"type": "types", "drop": ["Symptom"]}],
                     terminology)  # fmt: skip
    assert [(r.stage, r.mentions, sum(r.dropped.values())) for r in corpus.cleanup] == [
        ("without_gold", 3, 1), ("outside_terminology", 2, 1), ("types", 1, 1)
    ]  # fmt: skip
    assert ids(corpus.mentions) == ["1"]
    assert corpus.known_ids == {"1", "2", "3", "4"}  # those that were dropped included
    assert corpus.about["parts"]["p"]["mentions"] == 4


def test_clean_up_does_not_touch_the_corpus_it_is_given(lines, terminology):
    config = corpus_config({"p": lines}, cleanup=["without_gold"])
    raw = read_corpus(config)
    clean_up(raw, config.cleanup, terminology)
    assert ids(raw.mentions) == ["1", "2", "3"]
    assert raw.cleanup == []


def test_clean_up_mends_the_gold_of_training_and_drops_nothing_of_it(lines, terminology):
    training = {"train": {"type": "jsonl", "path": str(lines)}}
    stages = ["without_gold", {"type": "sample", "mentions": 1}, {"type": "types", "keep": ["Disease"]}]
    corpus = cleaned({"p": lines}, stages[:2], terminology, training=training)
    assert len(corpus.mentions) == 1
    assert ids(corpus.training["train"]) == ["1", "2", "3"]
    assert corpus.cleanup[0].dropped == {"without gold": 1}  # the judged part alone


def test_what_the_clean_up_drops_is_kept_apart(documents, lines, terminology):
    alone = {"type": "outside_terminology"}
    corpus = cleaned({"notes": documents, "list": lines}, [alone, {"type": "types", "keep": ["Disease"]}], terminology)
    assert {part: ids(own) for part, own in corpus.parts.items()} == {"notes": [], "list": ["1"]}
    assert {part: ids(own) for part, own in corpus.dropped.items()} == {"notes": ["a", "b"], "list": ["2", "3"]}
    assert corpus.documents == {"notes": ["d2"], "list": []}  # d2 never had a mention, d1 has lost them
    assert corpus.known_ids == {"a", "b", "1", "2", "3"}


def test_a_stage_that_leaves_nothing_is_refused(lines, terminology):
    stages = [{"type": "types", "keep": ["Gene"]}, {"type": "without_gold"}]
    with pytest.raises(DataError, match=r"no mention is left after the clean-up stage 'types' \(.*1 type Disease"):
        cleaned({"p": lines}, stages, terminology)


class ReverseConfig(CleanupConfig):
    """None."""


class Reverse(Cleanup):
    """A stage of a user's own."""

    config_class = ReverseConfig

    def apply(self, parts, terminology, report):
        return {part: mentions[::-1] for part, mentions in parts.items()}


def test_a_stage_of_ones_own(lines, terminology):
    corpus = cleaned({"p": lines}, [f"{__name__}:Reverse"], terminology)
    assert ids(corpus.mentions) == ["3", "2", "1"]


# How readers take several gold ids of one mention.

TABLE = "id,mention,gold\n1,a,T:1|T:2\n2,b,T:1\n"
PUBTATOR = "7|t|cold HF\n7|a|\n7\t0\t4\tcold\tDisease\tT:1|T:2\n7\t5\t7\tHF\tDisease\tT:1\n\n"
ANN = "T1\tX 0 4\tcold\nT2\tX 5 7\tHF\nN1\tReference T1 T:1\tx\nN2\tReference T1 T:2\tx\nN3\tReference T2 T:1\tx\n"
BIGBIO = {
    "id": "d", "document_id": "d",
    "passages": [{"id": "p", "type": "t", "text": ["cold HF"], "offsets": [[0, 7]]}],
    "entities": [
        {"id": "1", "type": "X", "text": ["cold"], "offsets": [[0, 4]],
         "normalized": [{"db_name": "T", "db_id": "1"}, {"db_name": "T", "db_id": "2"}]},
        {"id": "2", "type": "X", "text": ["HF"], "offsets": [[5, 7]], "normalized": [{"db_name": "T", "db_id": "1"}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("reader", ["table", "pubtator", "brat", "bigbio", "jsonl"])
@pytest.mark.parametrize("several", [None, "alternatives", "composite"])
def test_several_gold_through_every_reader(tmp_path, reader, several):
    path = tmp_path / f"c.{ {'table': 'csv', 'brat': 'ann', 'bigbio': 'jsonl'}.get(reader, reader) }"
    if reader in ("bigbio", "jsonl"):
        plain = [{"id": "1", "mention": "a", "gold": ["T:1", "T:2"]}, {"id": "2", "mention": "b", "gold": ["T:1"]}]
        write_lines(path, [BIGBIO] if reader == "bigbio" else plain)
    else:
        path.write_text({"table": TABLE, "pubtator": PUBTATOR, "brat": ANN}[reader])
    path.with_suffix(".txt").write_text("cold HF")
    spec = {"type": reader, "path": str(path)} | ({"several_gold": several} if several else {})
    corpus = read_corpus(CorpusConfig(parts={"p": spec}))
    first, second = corpus.mentions
    assert (first.gold, second.gold) == (("T:1", "T:2"), ("T:1",))
    assert first.composite is (several == "composite")
    assert second.composite is False  # one id is no composite
    assert corpus.about["parts"]["p"]["several_gold"] == (several or "alternatives")


@pytest.mark.parametrize("several", ["alternatives", "composite"])
@pytest.mark.parametrize("stated", [True, False])
def test_the_file_has_the_last_word_on_composites(tmp_path, several, stated):
    gold = {"gold": ["T:1", "T:2"], "composite": stated}
    records = [{"id": "1", "mention": "a", **gold}, {"id": "3", "mention": "a", "gold": ["T:1"], "composite": True},
               {"id": "d", "text": "cold", "mentions": [{"id": "2", "spans": [[0, 4]], **gold}]}]  # fmt: skip
    path = write_lines(tmp_path / "m.jsonl", records)
    spec = {"type": "jsonl", "path": str(path), "several_gold": several}
    composite = {m.id: m.composite for m in read_corpus(CorpusConfig(parts={"p": spec})).mentions}
    assert composite == {"1": stated, "2": stated, "3": False}


def test_rows_of_one_document_whose_id_is_that_of_a_row(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("mention,gold,document\ncold,T:003,2\nfever,T:001,2\n")
    corpus = read_corpus(CorpusConfig(parts={"p": {"type": "table", "path": str(path)}}))
    assert corpus.units == ["p/2", "p/2"]
    assert corpus.documents == {"p": ["2"]}
