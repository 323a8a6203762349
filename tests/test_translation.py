"""A translated corpus keeps its entities with exact places and their own labels, or says why not."""

from __future__ import annotations

import gzip
import json
import random
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from translation_data import HOW, FakeTranslator, other, permuted
from typer.testing import CliRunner

from xnorm.artifact import open_folder
from xnorm.cli import app
from xnorm.config import find_config, validate
from xnorm.convert import read_documents, to_row
from xnorm.corpus import CorpusConfig, read_corpus
from xnorm.errors import ConfigError
from xnorm.plausibility import effective_length, foreign_script, in_another_language
from xnorm.projection import ProjectionConfig, finish, prepare, project
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.train import TrainConfig, _split
from xnorm.translation import TranslationConfig, run_translation
from xnorm.translation_audit import Lexicon, TranslationAudit
from xnorm.types import Document, Mention

FAKE = "translation_data:FakeTranslator"


def document(text, *spans, identifier="d"):
    """Return a document; a span is the text of an entity, or several that are its fragments."""
    mentions = []
    for number, span in enumerate(spans):
        places = [(text.index(p), text.index(p) + len(p)) for p in ([span] if isinstance(span, str) else span)]
        surface = " ".join(text[a:b] for a, b in places)
        mentions.append(
            Mention(surface, f"{identifier}/{number}", "en", ("T",), tuple(places), gold=(f"C:{number}",), document="d")
        )
    return Document(identifier, text, tuple(mentions), "en")


def carried(source, how, *, target="xx", **options):
    """Return the translated document and the audit; `how` is a function, or a name of one."""
    config, audit = ProjectionConfig(**options), TranslationAudit()
    work = prepare(source, config, audit)
    translate = HOW[how] if isinstance(how, str) else how
    project([work], lambda texts: [translate(t) for t in texts], config, source="en", target=target)
    found = finish(work, target, audit)
    assert_exact(source, found, audit)
    return found, audit


def assert_exact(source, found, audit):
    """Every kept entity stands where it says, with the id and gold of its source; every other one is counted."""
    gold = {m.id: m.gold for m in source.mentions}
    assert len({m.id for m in found.mentions}) == len(found.mentions)
    for mention in found.mentions:
        assert mention.text == " ".join(found.text[a:b] for a, b in mention.spans)
        assert mention.text.strip() == mention.text != ""
        assert mention.gold == gold[mention.id]
        start, end = mention.spans[0][0], max(b for _, b in mention.spans)
        assert found.text[:start].endswith(mention.left)
        assert found.text[end:].startswith(mention.right)
    assert audit.kept.total() == len(found.mentions)
    assert audit.kept.total() + audit.dropped.total() == len(source.mentions)


def in_other(text):
    return " ".join(map(other, text.split()))


def texts(found):
    return {m.gold[0]: m.text for m in found.mentions}


ADVERSARIAL = [
    document("severe heart failure of the left ventricle", "heart failure", "heart", "severe heart failure"),
    document("left heart failure syndrome today", "left heart failure", "heart failure syndrome"),
    document("anaemia fever cough", "anaemia", "fever", "cough"),
    document("He had chronic. Pain was seen. Fever too.", "chronic. Pain", "Fever"),
    document("breast and ovarian cancer were seen", ("breast", "cancer"), "ovarian cancer"),
    document("see [1] and [2] of heart [3] failure <m1> now", "[1]", "heart [3] failure", "<m1>"),
    document("x anaemia anaemia y", "anaemia"),
    document("line one heart\nfailure here\n\n  and fever", "heart\nfailure", "fever"),
]


@pytest.mark.parametrize("source", ADVERSARIAL, ids=range(len(ADVERSARIAL)))
@pytest.mark.parametrize("style", [["brackets"], ["tags"], ["braces"]])
def test_entities_of_every_shape_come_through_a_good_translator(source, style):
    found, audit = carried(source, "good", markers=style, find_by_text=False)
    wanted = {m.gold[0]: " ".join(HOW["good"](m.text).split()) for m in source.mentions}
    assert texts(found) == wanted
    assert audit.kept == {"by their markers": len(wanted)}


@pytest.mark.parametrize("source", ADVERSARIAL, ids=range(len(ADVERSARIAL)))
@pytest.mark.parametrize("how", sorted({*HOW} - {"good"}))
def test_no_translator_shifts_a_label(source, how):
    found, audit = carried(source, how, target={"han": "zh", "hebrew": "he", "greek": "el"}.get(how, "xx"))
    if how in ("spacing", "shouting", "hebrew"):
        assert len(found.mentions) == len(source.mentions), audit.dropped
    for mention in found.mentions:
        original = next(m for m in source.mentions if m.id == mention.id)
        if how in ("shouting", "spacing", "losing") and "[3]" not in source.text:
            assert sorted(mention.text.lower().split()) == sorted(HOW["good"](original.text).lower().split())


def test_a_dropped_entity_does_not_lend_its_label():
    # the fault of other tools: after an entity that crosses a sentence, all later ones get the label before theirs
    source = document("He had chronic. Pain was seen. Fever and cough too.", "chronic. Pain", "Fever", "cough")
    lost_first = lambda text: HOW["good"](text).replace("[/1]", "", 1)  # noqa: E731
    found, audit = carried(source, lost_first, markers=["brackets"], find_by_text=False)
    assert texts(found) == {"C:2": other("cough")}  # the first of each of the two sentences is lost
    assert audit.dropped == {"one of its markers is lost": 2}
    assert audit.joined == 1


def test_the_audit_names_the_entity_that_was_dropped():
    source = document("A cough came. Then anaemia and fever came.", "cough", "anaemia", "fever")
    no_fever = lambda text: HOW["good"](text).replace("[2]", "")  # noqa: E731
    _, audit = carried(source, no_fever, markers=["brackets"], find_by_text=False)
    assert audit.examples["one of its markers is lost"] == ["document 'd', mention 'd/2': fever"]
    plain = audit.as_dict()
    assert (plain["entities"], plain["share_dropped"]) == (3, 0.3333)
    assert plain["types"] == {"T": {"kept": 2, "dropped": 1, "share_dropped": 0.3333}}


def test_other_styles_are_tried_and_then_the_text():
    source = document("heart failure and fever", "heart failure", "fever")

    def no_brackets(text):
        return HOW["good"](text.replace("[", "").replace("]", "").replace("/", "") if "[" in text else text)

    found, audit = carried(source, no_brackets)
    assert audit.kept == {"by their markers": 2}
    found, audit = carried(source, "losing")
    assert texts(found) == {"C:0": in_other("heart failure"), "C:1": other("fever")}
    assert audit.kept == {"found by their text": 2}
    assert carried(source, "losing", find_by_text=False)[1].dropped == {"both markers are lost": 2}


def test_what_cannot_be_told_apart_is_not_found_by_its_text():
    twice = document("fever, and fever", "fever")
    assert carried(twice, "losing")[1].kept == {}
    assert carried(document("feverfew for a fever", "fever"), "losing")[1].kept == {"found by their text": 1}
    same = Document("d", "fever or pyrexia", tuple(
        Mention(t, f"m{n}", "en", (), (s,), gold=(f"C:{n}",)) for n, (t, s) in
        enumerate([("fever", (0, 5)), ("pyrexia", (9, 16))])), "en")  # fmt: skip

    def one_word(text):
        return text.replace("fever", "fiebre").replace("pyrexia", "fiebre")

    assert carried(same, one_word, markers=[])[1].kept == {}


def test_swapped_markers_are_caught_by_the_translations_of_the_entities_alone():
    source = document("They had anaemia and severe headache", "anaemia", "severe headache")

    def swapping(text):
        return HOW["good"](text).replace("[1]", "[x]").replace("[2]", "[1]").replace("[x]", "[2]").replace(
            "[/1]", "[y]").replace("[/2]", "[/1]").replace("[y]", "[/2]")  # fmt: skip

    found, audit = carried(source, swapping, markers=["brackets"])
    assert not found.mentions
    assert audit.dropped == {"another entity's words came back in its place": 2}


def test_implausible_entities_are_dropped():
    source = document("The patient had anaemia and also fever", "anaemia", "fever")
    long = lambda t: HOW["good"](t).replace(other("fever"), "bla " * 20) if "[" in t else HOW["good"](t)  # noqa: E731
    assert texts(carried(source, long, markers=["brackets"], find_by_text=False)[0]) == {"C:0": other("anaemia")}
    greek = lambda t: HOW["good"](t).replace(other("fever"), "πυρετός")  # noqa: E731
    assert carried(source, greek, target="es")[1].dropped == {"it came back in another script": 1}


def test_sentences_in_another_language_are_left_out_with_their_entities():
    source = document("Anaemia was seen in the left of all. Then there was fever again today.", "Anaemia", "fever")
    english = lambda t: t if "naemia" in t else HOW["good"](t)  # noqa: E731
    found, audit = carried(source, english, target="es")
    assert texts(found) == {"C:1": other("fever")}
    assert audit.dropped == {"the sentence came back untranslated": 1}
    assert "naemia" not in found.text
    found, audit = carried(source, "empty")
    assert found.text.strip() == ""
    assert audit.dropped == {"the translation is empty": 2}


def test_entities_without_a_place_are_counted():
    text = "heart failure and fever"
    mentions = [
        Mention("heart failure", "0", gold=("C:0",)),
        Mention("fever", "1", spans=((0, 5),), gold=("C:1",)),
        Mention("", "2", spans=((4, 4),), gold=("C:2",)),
        Mention("fever", "3", spans=((18, 23),), gold=("C:3",)),
    ]
    source = Document("d", text, tuple(mentions), "en")
    found, audit = carried(source, "good")
    assert texts(found) == {"C:3": other("fever")}
    assert set(audit.dropped) == {
        "it has no place in the source", "its text is not what stands at its offsets in the source",
        "it is empty in the source",
    }  # fmt: skip
    far = document("heart " + "x " * 60 + "failure", ("heart", "failure"))
    assert carried(far, "good", longest_sentence=60)[1].dropped == {"it reaches over more than 60 characters": 1}
    row = Document("1", "a fever now", (Mention("fever", "1", left="a ", right=" now", gold=("C:1",)),), "en")
    assert carried(row, "good")[0].mentions[0].spans == ((3, 9),)


def test_a_text_inside_another_entity_is_not_found():
    # "renal" stands once in both, but in the translation it is a word of the other entity
    source = document("The renal and kidney failure", "renal", "kidney failure")
    words = {
        source.text: "Lo nefrítico y la insuficiencia renal", "renal": "renal", "kidney failure": "insuficiencia renal",
    }  # fmt: skip

    def translate(text):
        return words.get(text, words[source.text])

    found, audit = carried(source, translate)
    assert not found.mentions
    assert audit.dropped == {"its text was found in another entity": 2}
    # with its markers, the other one is sure
    found, audit = carried(
        source, lambda t: "Lo nefrítico y la [2]insuficiencia renal[/2]" if "[2]" in t else translate(t)
    )
    assert texts(found) == {"C:1": "insuficiencia renal"}
    assert audit.dropped == {"both markers are lost": 1}
    nested = document("The kidney failure", "kidney failure", "kidney")
    words |= {nested.text: "La insuficiencia renal", "kidney": "renal"}
    found, _ = carried(nested, lambda t: words.get(t, words[nested.text]))
    assert texts(found) == {"C:0": "insuficiencia renal", "C:1": "renal"}


def test_a_sentence_that_lost_all_entities_is_the_one_without_markers():
    source = document("We saw fever today", "fever")

    def dressing(text):
        words = {source.text: "We saw fiebre today", "fever": "pirexia"}
        return words.get(text, text.translate(str.maketrans("[]<>{}", "()()()")).replace("fever", "calentura"))

    found, audit = carried(source, dressing)
    assert found.text == "We saw fiebre today"
    assert audit.dropped == {"both markers are lost": 1}


def test_no_translation_and_no_markers():
    found, audit = carried(document("We saw fever today", "fever"), "empty", markers=[])
    assert found.text == ""
    assert audit.dropped == {"the translation is empty": 1}


WORDS = ["".join(chr(97 + (n * k) % 26) for k in (1, 3, 7)) + chr(97 + n % 26) + chr(97 + n // 26) for n in range(60)]
SHAPES = st.lists(
    st.tuples(st.integers(0, 55), st.integers(1, 6), st.none() | st.tuples(st.integers(1, 4), st.integers(1, 3))),
    max_size=10,
)


def random_document(shapes, ends):
    """Return a document of sixty distinct words with entities over ranges of them, some of two fragments."""
    starts, out, at = [], [], 0
    for n, word in enumerate(WORDS):
        word = word.capitalize() if n - 1 in ends else word
        starts.append((at, at + len(word)))
        out.append(word + (". " if n in ends else " "))
        at += len(out[-1])
    mentions = []
    for number, (first, size, more) in enumerate(shapes):
        ranges = [(first, min(first + size, 60))]
        if more is not None and ranges[0][1] + more[0] < 60:
            ranges.append((ranges[0][1] + more[0], min(ranges[0][1] + more[0] + more[1], 60)))
        places = tuple((starts[a][0], starts[b - 1][1]) for a, b in ranges)
        surface = " ".join("".join(out)[a:b] for a, b in places)
        mentions.append(Mention(surface, f"m{number}", "en", (), places, gold=(f"C:{number}",), document="d"))
    return Document("d", "".join(out), tuple(mentions), "en")


def words_of(text):
    return sorted(text.lower().replace(".", "").split())


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.sets(st.integers(0, 58), max_size=8), st.integers(0, 10**6))
def test_a_permuting_translator_gives_every_entity_its_own_words(shapes, ends, seed):
    source = random_document(shapes, ends)
    draw = random.Random(seed)
    found, audit = carried(source, lambda text: permuted(text, draw), find_by_text=False)
    for mention in found.mentions:
        original = source.mentions[int(mention.id[1:])]
        assert words_of(mention.text) == sorted(other(w.lower().strip(".")) for w in original.text.split())
    # only the pieces of entities that cross others can come apart
    crossing = {
        i for i, a in enumerate(source.mentions) for j, b in enumerate(source.mentions)
        for x in a.spans for y in b.spans if x[0] < y[0] < x[1] < y[1] or y[0] < x[0] < y[1] < x[1]
    }  # fmt: skip
    assert audit.dropped.total() <= len(crossing)


@settings(max_examples=150, deadline=None)
@given(SHAPES, st.sets(st.integers(0, 58), max_size=8), st.integers(0, 10**6))
def test_lost_and_doubled_markers_never_change_what_an_entity_is(shapes, ends, seed):
    source = random_document(shapes, ends)
    draw = random.Random(seed)

    def careless(text):
        parts = HOW["good"](text).replace("]", "]\0").replace("[", "\0[").split("\0")
        kept = [p * draw.choice((0, 1, 1, 1, 1, 1, 2)) if p.startswith("[") else p for p in parts]
        return "".join(kept)

    found, _ = carried(source, careless, markers=["brackets"], find_by_text=bool(seed % 2))
    for mention in found.mentions:
        original = source.mentions[int(mention.id[1:])]
        assert words_of(mention.text) == sorted(other(w.lower().strip(".")) for w in original.text.split())


def test_scripts_and_little_words():
    assert foreign_script("心力衰竭", "es")
    assert not foreign_script("BRCA1 心", "zh")
    assert not foreign_script("BRCA1", "zh")
    assert foreign_script("BRCA1", "zh", latin=False)
    assert not foreign_script("12,5 %", "ru")
    assert not in_another_language("APC 基因与 CTNNB1", "zh")
    assert not foreign_script("text", "xx")
    assert in_another_language("The patient was in the room of the clinic", "es")
    assert not in_another_language("El paciente estaba en la habitación de la clínica", "es")
    assert in_another_language("El paciente estaba en la habitación con los otros", "zh")
    assert not in_another_language("Herzinsuffizienz", "es")
    assert effective_length("心a") == 4


def write_corpus(path, documents):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for each in documents:
            file.write(json.dumps(to_row(each)) + "\n")
    return path


@pytest.fixture
def corpus(tmp_path):
    documents = [
        document(f"The heart failure of {WORDS[n]} worsened quickly. Later fever came up.", "heart failure", "fever",
                 identifier=f"d{n}")
        for n in range(5)
    ]  # fmt: skip
    return write_corpus(tmp_path / "train.jsonl.gz", documents)


def settings_of(corpus, **options):
    plain = {
        "name": "tiny", "source": "en", "target": "es", "parts": {"train": {"type": "bigbio", "path": str(corpus)}},
        "translator": {"type": FAKE}, **options,
    }  # fmt: skip
    return validate(TranslationConfig, plain, where="test")


def test_a_run_writes_a_corpus_that_reads_as_bigbio(corpus, tmp_path):
    about = run_translation(settings_of(corpus), tmp_path / "out")
    found = read_documents(tmp_path / "out" / "train.jsonl.gz", mismatch="error")
    source = read_documents(corpus)
    assert [d.id for d in found] == [d.id for d in source]
    assert [(m.id, m.gold, m.types) for d in found for m in d.mentions] == [
        (m.id, m.gold, m.types) for d in source for m in d.mentions
    ]
    assert {d.lang for d in found} == {"es"}
    assert found[0].mentions[0].text == in_other("heart failure")
    manifest = open_folder(tmp_path / "out", kind="translation")
    assert manifest["parts"]["train"]["mentions"] == 10
    assert manifest["audit"]["kept"] == {"by their markers": 10} == about["audit"]["kept"]
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert audit["total"]["types"] == {"T": {"kept": 10, "dropped": 0, "share_dropped": 0.0}}
    assert len(audit["parts"]["train"]["samples"]) == 10
    assert not list(tmp_path.glob(".out*"))
    both = read_corpus(CorpusConfig(parts={
        "train": {"type": "bigbio", "path": str(corpus)},
        "train-es": {"type": "bigbio", "path": str(tmp_path / "out" / "train.jsonl.gz")},
    }))  # fmt: skip
    assert [m.id for m in both.mentions][::10] == ["train/d0/0", "train-es/d0/0"]
    before = (tmp_path / "out" / "train.jsonl.gz").read_bytes()
    run_translation(settings_of(corpus), tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "train.jsonl.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"translator": {"type": FAKE, "how": "identity"}}, "in another language than 'es'"),
        ({"translator": {"type": FAKE, "how": "greek"}}, "in another language than 'es'"),
        ({"translator": {"type": FAKE, "how": "empty"}}, "10 of 10 entities are lost"),
        (
            {"translator": {"type": FAKE, "how": "losing"}, "max_dropped": 0.1,
             "projection": {"find_by_text": False}},
            "10 of 10 entities are lost (100%): 10 since both markers are lost",
        ),
    ],
)  # fmt: skip
def test_a_translator_that_does_harm_is_refused_and_nothing_written(corpus, tmp_path, options, message):
    with pytest.raises(ConfigError) as caught:
        run_translation(settings_of(corpus, **options), tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda texts: None, "gave NoneType, expected a list of texts"),
        (lambda texts: "".join(texts), "gave str, expected a list of texts"),
        (lambda texts: [*texts, "more"], "gave 3 translations of 2 texts"),
        (lambda texts: [None for _ in texts], "gave NoneType for a translation"),
    ],
)
def test_a_translator_that_gives_no_texts(corpus, tmp_path, monkeypatch, answer, message):
    monkeypatch.setattr(FakeTranslator, "translate", lambda self, texts, source, target: answer(texts))
    with pytest.raises(ConfigError) as caught:
        run_translation(settings_of(corpus), tmp_path / "out")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob(".out*"))


def test_a_translation_is_weak_and_not_trained_on_where_its_source_is_judged(corpus, tmp_path):
    run_translation(settings_of(corpus), tmp_path / "out")
    moved = tmp_path / "elsewhere" / "train.jsonl.gz"
    moved.parent.mkdir()
    shutil.copy(tmp_path / "out" / "train.jsonl.gz", moved)

    def config(path, **keys):
        parts = {name: {"type": "bigbio", "path": str(p)} for name, p in (("train", corpus), ("train-es", path))}
        linker = {"name": "x", "terminology": {"sources": [{"type": "jsonl", "path": "x.jsonl"}]},
                  "candidates": {"type": "tfidf"}}  # fmt: skip
        plain = {"name": "x", "linker": linker, "corpus": {"parts": parts, **keys}, "validation": 0.4,
                 "trainer": {"type": "cross_encoder", "model": "./x"}}  # fmt: skip
        return validate(TrainConfig, plain, where="test")

    assert config(moved).corpus.strong == ["train", "train-es"]  # nothing says what it is
    for weak in (config(tmp_path / "out" / "train.jsonl.gz"), config(moved, weights={"train-es": 0.5})):
        assert weak.corpus.strong == ["train"]
        said = []
        training, validation = _split(read_corpus(weak.corpus), weak, said.append)
        assert {m.id.split("/")[0] for m in validation} == {"train"}
        assert {m.id.split("/")[0] for m in training} == {"train", "train-es"}
        assert len({m.document for m in validation}) == 2
        assert not {m.document for m in validation} & {m.document for m in training}
        assert said == [
            "the validation is drawn of train alone, not of the weak train-es",
            "left out 4 mentions of weak parts, whose documents the validation has, too",
        ]


def test_a_killed_run_goes_on_where_it_was(corpus, tmp_path):
    FakeTranslator.asked = 0
    fails = {"type": FAKE, "fail_after": 6}
    with pytest.raises(KeyboardInterrupt):
        run_translation(settings_of(corpus, translator=fails), tmp_path / "out")
    kept = tmp_path / ".out.work" / "translations.jsonl"
    assert len(kept.read_text().splitlines()) == 6
    with kept.open("a") as file:
        file.write('["cut off')
    FakeTranslator.asked, said = 0, []
    run_translation(settings_of(corpus), tmp_path / "out", say=said.append)
    asked = FakeTranslator.asked
    assert said == ["going on with 6 sentences that a run which was stopped had translated"]
    FakeTranslator.asked = 0
    run_translation(settings_of(corpus), tmp_path / "other")
    assert FakeTranslator.asked == asked + 6
    assert (tmp_path / "out" / "train.jsonl.gz").read_bytes() == (tmp_path / "other" / "train.jsonl.gz").read_bytes()


def test_documents_of_another_language_are_left_out(tmp_path):
    german = document("Die Anämie", "Anämie", identifier="de")
    english = document("The anaemia of today", "anaemia", identifier="en")
    path = write_corpus(tmp_path / "mixed.jsonl.gz", [Document(german.id, german.text, german.mentions, "de"), english])
    said = []
    about = run_translation(settings_of(path), tmp_path / "out", say=said.append)
    assert said == ["part train: 1 left out: documents of another language than 'en'"]
    assert about["parts"]["train"]["documents"] == 1


def test_every_shipped_translation_is_valid():
    folder = find_config("ncbi-es", folder="translation").parent
    for path in sorted(folder.glob("*.yaml")):
        assert TranslationConfig.read(path).name == path.stem


def test_configs_are_checked(corpus):
    for options, message in (
        ({"target": "en-GB"}, "the language of the source"),
        ({"projection": {"markers": ["bracket"]}}, "did you mean 'brackets'?"),
        ({"projection": {"markers": [], "find_by_text": False}}, "at least one style"),
        ({"drop_contradicted": True}, "needs a lexicon"),
        ({"parts": {}}, "parts"),
        ({"translator": {"type": "tabel"}}, "did you mean 'table'?"),
    ):
        with pytest.raises(ConfigError) as caught:
            settings_of(corpus, **options)
        assert message in str(caught.value)


def test_a_lexicon_judges_by_concept_and_cross_reference(tmp_path):
    path = tmp_path / "names.jsonl"
    rows = [
        {"id": "C:0", "name": "heart failure", "synonyms": [{"name": "Fallo cardíaco", "lang": "es", "scope": "exact"}],
         "xrefs": ["X:0"]},
        {"id": "C:1", "name": "fever", "synonyms": [{"name": "fiebre", "lang": "es", "scope": "exact"}]},
        {"id": "C:2", "name": "cough"},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    terminology = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    lexicon = Lexicon(terminology, "es")
    assert lexicon.judge("fallo cardiaco", ["X:0"]) == "is a name of its concept"
    assert lexicon.judge("fiebre", ["C:9", "C:0"]) == "is a name of another concept"
    assert lexicon.judge("tos", ["C:0"]) == "is no known name"
    assert lexicon.judge("tos", ["C:2"]) == "its concept has no name in the target language"
    source = document("heart failure with fever", "heart failure", "fever")
    config, audit = ProjectionConfig(), TranslationAudit()
    work = prepare(source, config, audit)
    words = {"heart failure": "fiebre", "fever": "fiebre", "with": "con"}

    def translate(text):
        for word, translation in words.items():
            text = text.replace(word, translation)
        return text

    project([work], lambda texts: list(map(translate, texts)), config, source="en", target="es")
    found = finish(work, "es", audit, lexicon=lexicon, drop_contradicted=True)
    assert texts(found) == {"C:1": "fiebre"}
    assert audit.dropped == {"its translation is a name of another concept": 1}
    assert_exact(source, found, audit)


def test_a_partial_translator_keeps_what_it_knows_as_a_whole():
    words = {"heart failure": "insuficiencia cardíaca", "heart": "corazón", "failure": "fracaso", "fever": "fiebre"}

    def translate(text):
        for word, translation in words.items():
            text = text.replace(word, translation)
        return text

    def carried_by_table(source, **options):
        config, audit = ProjectionConfig(**options), TranslationAudit()
        work = prepare(source, config, audit)
        knows = lambda text: all(w in "heart failure fever" for w in text.split())  # noqa: E731
        project([work], lambda t: list(map(translate, t)), config, source="en", target="es", knows=knows)
        found = finish(work, "es", audit)
        assert_exact(source, found, audit)
        return found, audit

    source = document("a left heart failure with fever and heart here", "left heart failure", "heart failure", "fever")
    found, audit = carried_by_table(source)
    assert texts(found) == {"C:1": "insuficiencia cardíaca", "C:2": "fiebre"}
    assert audit.dropped == {"the translator does not know all of its words": 1}
    nested = document("the heart failure of two", "heart failure", "heart")
    assert texts(carried_by_table(nested, find_by_text=False)[0]) == {"C:1": "corazón"}
    assert texts(carried_by_table(nested, checks={"unknown_words": True})[0])["C:0"] == "corazón fracaso"


def test_the_command_end_to_end(corpus, tmp_path):
    table = tmp_path / "table.tsv"
    table.write_text("source\ttranslation\nheart failure\tinsuficiencia cardíaca\nfever\tfiebre\n")
    config = tmp_path / "config.yaml"
    config.write_text(
        "name: tiny\nsource: en\ntarget: es\nparts: {train: {type: bigbio, path: train.jsonl.gz}}\n"
        "translator: {type: table, path: table.tsv}\n"
    )
    run = lambda *a: CliRunner().invoke(app, ["translate", str(config), *a])  # noqa: E731
    result = run("-o", str(tmp_path / "out"), "--limit", "2", "--quiet")
    assert result.exit_code == 0, result.output
    assert "kept 4 (100.0%): 4 by their markers" in result.output
    assert "2 documents" in result.output
    (first, _) = read_documents(tmp_path / "out" / "train.jsonl.gz", mismatch="error")
    assert first.text == f"The insuficiencia cardíaca of {WORDS[0]} worsened quickly. Later fiebre came up."
    result = run("-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "exists already" in result.output
    result = run("-o", str(tmp_path / "out"), "--overwrite", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["audit"]["kept"] == {"by their markers": 10}
    table.write_text("source\ttranslation\nfever\tfiebre\n")
    result = run("-o", str(tmp_path / "new"), "max_dropped=0.4")
    assert result.exit_code == 2
    assert "5 since the translator does not know all of its words" in result.output.replace("\n", " ")
    assert not (tmp_path / "new").exists()
