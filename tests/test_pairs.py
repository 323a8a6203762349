"""The texts that a cross-encoder reads, value by value."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from xnorm.candidates.base import Candidates
from xnorm.config import validate
from xnorm.errors import ConfigError
from xnorm.pairs import PairsConfig, PairWriter, add_markers, fit, mention_texts, pair_texts, token_limit
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.text import cognate, fold
from xnorm.types import Mention

RECORDS = [
    ("P:0", "Heart failure", ["T047"], "The heart pumps too\nlittle blood.", [
        ("Cardiac failure", "en"), ("HEART FAILURE", "en"), ("Weak heart", "en"), ("Herzinsuffizienz", "de"),
        ("Herzschwäche", "de"), ("Insuficiencia cardíaca", "es"), ("心不全", "ja"), ("Herz-Insuffizienz", "de"),
    ]),
    ("P:1", "Cold", [], None, []),
    ("P:2", "Pain", ["T184", "mine [SEP]"], None, [
        ("Ache", "en"), ("Ach", "en"), ("ache", "de"), ("</s> [NAME] hurt", "en"), ("Ouch", "en-gb"),
    ]),
    ("P:3", "糖尿病", [], None, [("糖", "zh"), ("消渴", "zh"), ("Diabetes", "en"), ("糖尿病２型", "ja")]),
    ("P:4", "السكري", [], None, [("داء السكري", "ar"), ("Diabetes", "en"), ("Diabetes", "fr")]),
]  # fmt: skip


@pytest.fixture(scope="module")
def kb(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "kb.jsonl"
    with path.open("w", encoding="utf-8") as f:
        for identifier, name, types, definition, names in RECORDS:
            others = [{"name": n, "lang": lang, "scope": "exact"} for n, lang in names]
            line = {"id": identifier, "name": name, "types": types, "definition": definition, "synonyms": others}
            f.write(json.dumps(line, ensure_ascii=False) + "\n")
    return read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]


def found_of(concepts):
    concepts = np.array(concepts, np.int32)
    return Candidates(concepts, np.where(concepts >= 0, 1, -np.inf).astype(np.float32), np.minimum(concepts, 0))


def text_of(mention, **settings):
    return mention_texts([mention], PairsConfig(**settings))[0]


def concept_of(kb, concept, text, lang=None, **settings):
    return pair_texts([Mention(text, lang=lang)], found_of([[concept]]), kb, PairsConfig(**settings))[1][0][0]


# --- mentions in context ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "wanted"),
    [
        ("He has ", ", it seems.", "He has [START] flu [END], it seems."),
        ("", "", "[START] flu [END]"),
        ("", " came", "[START] flu [END] came"),
        ("His (", ") came", "His ( [START] flu [END]) came"),
        ("a \n b\t", "\n\nc  d ", "a b [START] flu [END] c d"),
        ("x\u200b", "\u200by", "x [START] flu [END] y"),
    ],
)
def test_mention_in_a_context_shorter_than_asked(left, right, wanted):
    assert text_of(Mention("flu", left=left, right=right)) == wanted


def test_context_is_cut_to_whole_words():
    mention = Mention("flu", left="one two three four ", right=" five six, seven")
    cuts = {
        0: "[START] flu [END]",
        3: "[START] flu [END]",
        4: "four [START] flu [END] five",
        5: "four [START] flu [END] five",
        9: "four [START] flu [END] five six,",
        10: "three four [START] flu [END] five six,",
        13: "three four [START] flu [END] five six,",
        14: "two three four [START] flu [END] five six,",
        15: "two three four [START] flu [END] five six, seven",
        99: "one two three four [START] flu [END] five six, seven",
    }
    # the reader's space before and after the mention is none of the characters of the context
    for context, wanted in cuts.items():
        assert text_of(mention, context=context) == wanted, context


def test_a_context_that_its_reader_cut_begins_with_a_whole_word():
    left, right = "cular disease and ", " with ketoacid"
    assert text_of(Mention("x", left=left, right=right), context=len(left)).startswith("disease and [START]")
    assert text_of(Mention("x", left=left, right=right), context=len(right)).endswith("[END] with")
    assert text_of(Mention("x", left=left, right=right)) == "cular disease and [START] x [END] with ketoacid"
    assert text_of(Mention("x", left=" two three ", right=" four "), context=11).startswith("two three [START]")


def test_scripts_without_spaces_are_cut_between_letters():
    mention = Mention("心不全", left="患者は昨年から重い", right="と診断された。")
    assert text_of(mention) == "患者は昨年から重い [START] 心不全 [END]と診断された。"
    assert text_of(mention, context=3) == "ら重い [START] 心不全 [END]と診断"
    # never between a letter and its vowel
    thai = Mention("ปวด", left="ที่นี่มี", right="หัวที่นี่")
    assert text_of(thai, context=3) == "มี [START] ปวด [END]หัว"
    # 32 letters without white space are no word to be kept whole
    assert text_of(Mention("x", left="acgt" * 8), context=30) == "gt" + "acgt" * 7 + " [START] x [END]"
    assert text_of(Mention("x", right="e\u0301" * 40, left="e\u0301" * 40), context=30) == (
        "\u00e9" * 30 + " [START] x [END]" + "\u00e9" * 30
    )
    assert text_of(Mention("x", left="q\u0301" * 40, right="q\u0301" * 40), context=33) == (
        "q\u0301" * 16 + " [START] x [END]" + "q\u0301" * 16
    )


def test_right_to_left_text_stays_in_logical_order():
    mention = Mention("فشل القلب", left="يعاني المريض من ", right=" منذ سنة")
    assert text_of(mention) == "يعاني المريض من [START] فشل القلب [END] منذ سنة"
    assert text_of(mention, context=6) == "من [START] فشل القلب [END] منذ"


def test_surrogates_and_control_characters():
    assert text_of(Mention("a\ud800b", left="\udc00x ", right=" y\x00")) == "x [START] a b [END] y"
    assert text_of(Mention("\ud800")) == "[START]  [END]"
    assert text_of(Mention("\ud800", right="\udc00"), layout="xmen") == " [START] ? [END] ?"
    for layout in ("xnorm", "xmen"):
        text_of(Mention("𝛽\ud83d", left="\ud83d\ude00", right="😀"), layout=layout).encode("utf-8")


def test_a_discontinuous_mention_stands_joined_between_its_outer_contexts():
    mention = Mention("breast cancer", spans=((4, 10), (23, 29)), left="Her ", right=" was found")
    assert text_of(mention) == "Her [START] breast cancer [END] was found"


def test_what_looks_like_a_marker_is_taken_apart(kb):
    mention = Mention("a [END] b", left="[START] </s> [x] ", right="<mask> [SEP]<|end|>")
    assert text_of(mention) == "[ START] < /s> [x] [START] a [ END] b [END]< mask> [ SEP]< |end|>"
    assert text_of(Mention("<|</s>|>")) == "[START] <|< /s>|> [END]"
    assert text_of(Mention("<m> [START]"), markers={"start": "<m>", "end": "</m>"}) == "<m> < m> [START] </m>"
    assert concept_of(kb, 2, "hurt", names=1) == "Pain [NAME] < /s> [ NAME] hurt [TYPE] Sign or Symptom, mine [ SEP]"


def test_a_very_long_mention():
    mention = Mention("word " * 10_000, left="of ", right=" x")
    text = text_of(mention, max_length=16)
    assert text == "of [START] " + "word " * 25 + "wor [END] x"


# --- concepts -----------------------------------------------------------------------------------------------------


def test_names_by_language_and_likeness(kb):
    plain = {"types": False}
    assert concept_of(kb, 0, "Insuffizienz des Herzens", "de", **plain) == (
        "Heart failure [NAME] Herz-Insuffizienz [NAME] Herzinsuffizienz [NAME] Herzschwäche"
    )
    # in the mention's language, in English, in others
    assert concept_of(kb, 0, "insuficiencia", "es", **plain) == (
        "Heart failure [NAME] Insuficiencia cardíaca [NAME] Cardiac failure [NAME] Weak heart"
    )
    # without a language likeness is all; names without any come in the terminology's order
    assert concept_of(kb, 0, "insuficiencia cardiaca failure", **plain, names=2) == (
        "Heart failure [NAME] Insuficiencia cardíaca [NAME] Cardiac failure"
    )
    assert concept_of(kb, 0, "zzz", **plain) == (
        "Heart failure [NAME] Cardiac failure [NAME] Weak heart [NAME] Herzinsuffizienz"
    )
    # a name that is the mention itself comes first, whatever its language
    assert concept_of(kb, 0, "herz insuffizienz", "es", **plain) == (
        "Heart failure [NAME] Herz-Insuffizienz [NAME] Insuficiencia cardíaca [NAME] Cardiac failure"
    )
    assert concept_of(kb, 0, "心不全", "de", **plain, names=1) == "Heart failure [NAME] 心不全"


def test_names_are_shown_once(kb):
    # nothing equal to the preferred name, nothing twice, though languages differ
    every = concept_of(kb, 0, "HEART failure", names=99, types=False).split(" [NAME] ")
    assert sorted(every) == sorted({n for n, _ in RECORDS[0][4]} - {"HEART FAILURE"} | {"Heart failure"})
    assert concept_of(kb, 2, "ache", "de", types=False, names=2) == "Pain [NAME] ache [NAME] Ach"
    assert concept_of(kb, 2, "ache", "en", types=False, names=2) == "Pain [NAME] Ache [NAME] Ach"
    assert concept_of(kb, 2, "ouch!", "en-us", types=False, names=1) == "Pain [NAME] Ouch"
    assert concept_of(kb, 4, "diabetes", "ar", names=9) == "السكري [NAME] Diabetes [NAME] داء السكري"


def test_scripts(kb):
    assert concept_of(kb, 3, "糖尿", "zh") == "糖尿病 [NAME] 糖 [NAME] 消渴 [NAME] Diabetes"
    assert concept_of(kb, 3, "糖尿病2型", "en", names=2) == "糖尿病 [NAME] 糖尿病２型 [NAME] Diabetes"
    assert concept_of(kb, 4, "داء", "ar", names=1) == "السكري [NAME] داء السكري"


def test_types_and_definition(kb):
    assert concept_of(kb, 1, "cold") == "Cold"
    assert concept_of(kb, 1, "", definition=True) == "Cold"
    assert concept_of(kb, 0, "x", names=0) == "Heart failure [TYPE] Disease or Syndrome"
    assert concept_of(kb, 0, "x", names=0, definition=True, types=False) == (
        "Heart failure [DEFINITION] The heart pumps too little blood."
    )
    assert concept_of(kb, 0, "weak", names=1, definition=True) == (
        "Heart failure [NAME] Weak heart [TYPE] Disease or Syndrome [DEFINITION] The heart pumps too little blood."
    )


def test_long_names_and_definitions_are_cut_by_words(tmp_path):
    path = tmp_path / "kb.jsonl"
    record = {"id": "L:1", "name": "alpha " * 40, "definition": "beta " * 99, "synonyms": [{"name": "gamma " * 40}]}
    path.write_text(json.dumps(record) + "\n")
    kb = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": str(path)}]))[0]
    text = concept_of(kb, 0, "x", max_length=16, definition=True)
    assert text == " ".join(["alpha"] * 10 + ["[NAME]"] + ["gamma"] * 10 + ["[DEFINITION]"] + ["beta"] * 13)


def test_own_markers(kb):
    markers = {"start": "<e>", "end": "</e>", "name": "<n>", "type": "<t>", "definition": "<d>", "nil": "<none>"}
    left, right = pair_texts(
        [Mention("weak", left="so ")], found_of([[0]]), kb, PairsConfig(markers=markers, names=1, nil=True)
    )
    assert left == ["so <e> weak </e>"]
    assert right == [["Heart failure <n> Weak heart <t> Disease or Syndrome", "<none>"]]


def test_pairs_are_aligned_with_the_wanted_candidates(kb):
    mentions = [Mention("ache"), Mention("cold"), Mention("x"), Mention("ache")]
    found = found_of([[2, 1, 0], [1, -1, -1], [-1, -1, -1], [0, 1, 2]])
    settings = {"names": 0, "types": False}
    assert pair_texts(mentions, found, kb, PairsConfig(**settings)) == (
        ["[START] ache [END]", "[START] cold [END]", "[START] x [END]", "[START] ache [END]"],
        [["Pain", "Cold", "Heart failure"], ["Cold"], [], ["Heart failure", "Cold", "Pain"]],
    )
    wanted = np.array([[True, True, False], [True, True, True], [True, False, False], [False, False, False]])
    config = PairsConfig(nil=True, **settings)
    assert pair_texts(mentions, found, kb, config, wanted)[1] == [["Pain", "Cold", "[NIL]"], ["Cold", "[NIL]"], [], []]
    assert pair_texts([], Candidates.empty(0, 3), kb, config) == ([], [])
    assert pair_texts(mentions[:1], Candidates.empty(1, 0), kb, config) == (["[START] ache [END]"], [[]])
    assert pair_texts(mentions[:1], Candidates.empty(1, 2), kb, PairsConfig())[1] == [[]]


def names_by_brute_force(kb, concept, mention, most):
    """The chosen names in plain Python, n-grams as strings."""

    def grams(text):
        words = [f" {w} " for w in cognate(fold(text)).split(" ")]
        return {w[i : i + 3] for w in words for i in range(len(w) - 2)} or set(words)

    view, mine, out = kb[concept], grams(mention.text), []

    def key(name):
        theirs = grams(name.text)
        dice = 2 * len(mine & theirs) / (len(mine) + len(theirs))
        group = 0 if name.lang == mention.lang else 1 if name.lang == "en" else 2
        return fold(name.text) != fold(mention.text), group if mention.lang else 0, -dice

    for name in sorted(view.names, key=key):
        if fold(name.text) not in {fold(view.name), *map(fold, out)}:
            out.append(name.text)
    return out[:most]


def test_chosen_names_against_brute_force(terminology):
    spaced = [c for c in range(len(terminology)) if c not in (4, 10)]  # n-grams of kana and Han are of 1 to 3 letters
    texts = [n for n in terminology.name_texts() if fold(n).isascii()]
    mentions = [Mention(t, lang=lang) for t in [*texts, "xyz", "hole heart"] for lang in (None, "de", "en", "fr")]
    found = found_of([spaced] * len(mentions))
    _, rights = pair_texts(mentions, found, terminology, PairsConfig(types=False, names=4))
    for mention, texts in zip(mentions, rights, strict=True):
        for concept, text in zip(spaced, texts, strict=True):
            names = names_by_brute_force(terminology, concept, mention, 4)
            if not any(ord(c) > 0x3000 or "\u0e00" <= c < "\u0f00" for c in "".join(names)):
                assert text == " [NAME] ".join([terminology[concept].name, *names]), mention


def test_a_writer_remembers_and_says_the_same(terminology):
    rng = np.random.default_rng(1)
    texts = terminology.name_texts()
    mentions = [Mention(texts[i], lang="de", left="a ", right=" b") for i in rng.integers(0, len(texts), 90)]
    found = found_of([rng.permutation(12)[:5] for _ in mentions])
    for settings in ({}, {"layout": "xmen"}, {"names": 1, "definition": True, "nil": True}):
        config = PairsConfig(**settings)
        together = pair_texts(mentions, found, terminology, config)
        writer = PairWriter(terminology, config)
        lefts, rights = [], []
        for at in range(0, 90, 7):
            rows = np.arange(at, min(at + 7, 90))
            left, right = writer.write(mentions[at : at + 7], found.take(rows))
            lefts, rights = lefts + left, rights + right
        assert (lefts, rights) == together
        assert writer.write(mentions, found) == together


def test_texts_are_the_same_in_every_process(source):
    code = """
import sys, numpy as np
from xnorm.candidates.base import Candidates
from xnorm.pairs import *
from xnorm.sources import TerminologyConfig, read_terminology
from xnorm.types import Mention
kb = read_terminology(TerminologyConfig(sources=[{"type": "jsonl", "path": sys.argv[1]}]))[0]
all = np.tile(np.arange(12, dtype=np.int32), (2, 1))
mentions = [Mention("Anaemie"), Mention("head", lang="fr")]
for layout in ("xnorm", "xmen"):
    print(pair_texts(mentions, Candidates(all, all * 1.0, all), kb, PairsConfig(layout=layout)))
print([m for m in sys.modules if m in ("torch", "transformers", "tokenizers")])
"""
    said = [
        subprocess.run(
            [sys.executable, "-c", code, str(source)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ".", "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].endswith("\n[]\n")
    assert "Headache [NAME] mal de tête [NAME] Pain in the head [NAME] Cephalalgia" in said[0]


# --- xMEN's layout ------------------------------------------------------------------------------------------------


def test_xmen_by_hand(kb):
    mention = Mention("heart  failure", left="x" * 10 + "She had\nacute ", right=" and (sic) more")
    config = PairsConfig(layout="xmen", context=14)
    assert (config.types, config.nil, config.max_length, config.truncation) == (False, True, 512, "longest_first")
    left, right = pair_texts([mention], found_of([[0, 1, 2]]), kb, config)
    # the last 14 characters as they are; on the right the space that xMEN loses
    assert left == ["She had\nacute  [START] heart  failure [END] and (sic) more"]
    assert right == [
        [
            "Heart failure [TITLE] Cardiac failure [SEP] HEART FAILURE [SEP] Weak heart [SEP] Herzinsuffizienz [SEP] "
            "Herzschwäche [SEP] Insuficiencia cardíaca [SEP] 心不全 [SEP] Herz-Insuffizienz",
            "Cold [TITLE] ",
            "Pain [TITLE] Ache [SEP] Ach [SEP] ache [SEP] < /s> [NAME] hurt [SEP] Ouch",
            "[NIL]",
        ]
    ]
    typed = PairsConfig(layout="xmen", types=True, nil=False)
    assert pair_texts([mention], found_of([[1, 0]]), kb, typed)[1][0][0] == " [TYPE] Cold [TITLE] "
    assert pair_texts([mention], found_of([[2, 0]]), kb, typed)[1][0][0].startswith("T184,mine [ SEP] [TYPE] Pain [TI")
    # a letter or a comma after the mention is kept, which xMEN would lose
    assert text_of(Mention("flu", left="", right=", it"), layout="xmen") == " [START] flu [END] , it"
    assert text_of(Mention("flu", left="a", right=" b"), layout="xmen", context=0) == " [START] flu [END] "
    long = Mention("flu", left="l" * 200, right="r" * 200)
    assert text_of(long, layout="xmen") == "l" * 128 + " [START] flu [END] " + "r" * 128


# --- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layout": "xman"}, "'xnorm' or 'xmen'"),
        ({"context": -1}, "context"),
        ({"names": -1}, "names"),
        ({"max_length": 8}, "max_length"),
        ({"name": 3}, r"unknown key 'name'; did you mean 'names'\?"),
        ({"layout": "xmen", "definition": True}, "no `names`, `definition` or `markers`"),
        ({"layout": "xmen", "names": 3}, "no `names`"),
        ({"layout": "xmen", "markers": {"start": "<m>"}}, "no `names`"),
        ({"markers": {"begin": "<m>"}}, "markers: unknown key 'begin'; known: definition, end"),
        ({"markers": {"start": "[END]"}}, "differ from one another"),
        ({"markers": {"start": "< m>"}}, "markers.start"),
        ({"markers": {"start": "|"}}, "markers.start"),
    ],
)
def test_settings_that_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        validate(PairsConfig, settings, where="test")


@pytest.mark.parametrize("settings", [{}, {"layout": "xmen"}, {"layout": "xmen", "nil": False}, {"names": 0}])
def test_settings_survive_json(settings):
    config = PairsConfig(**settings)
    assert PairsConfig.model_validate_json(config.model_dump_json()) == config


# --- tokens -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["bert", "xlmr", "roberta"])
def tokenizer(request):
    """A tiny word-piece, sentence-piece or byte-level tokenizer, fresh for each test."""
    tiny = pytest.importorskip("tiny_transformers", reason="needs the extra torch", exc_type=ImportError)
    if request.param != "roberta":
        return tiny.make_tokenizer(request.param)
    inner = tiny.tokenizers.Tokenizer(tiny.tokenizers.models.BPE())
    inner.pre_tokenizer = tiny.tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tiny.tokenizers.decoders.ByteLevel()
    trainer = tiny.tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=tiny.tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator(tiny.TEXTS, trainer)
    return tiny.transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, model_max_length=48, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
        unk_token="<unk>", cls_token="<s>", sep_token="</s>",
    )  # fmt: skip


def tokens_of(tokenizer, text):
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def test_markers_are_single_special_tokens(tokenizer, tmp_path):
    before = len(tokenizer)
    config = PairsConfig()
    assert tokens_of(tokenizer, "heart [START] failure").count("[START]") == 0
    assert add_markers(tokenizer, config) == 6
    assert len(tokenizer) == before + 6
    assert add_markers(tokenizer, config) == 0
    assert len(tokenizer) == before + 6
    text = "heart [START] heart [END] and [NAME] heart [TYPE] heart [DEFINITION] heart [NIL]"
    for some in (tokenizer, type(tokenizer).from_pretrained(tokenizer.save_pretrained(tmp_path) and tmp_path)):
        tokens = tokens_of(some, text)
        assert [t for t in tokens if t in config.tokens] == [
            "[START]", "[END]", "[NAME]", "[TYPE]", "[DEFINITION]", "[NIL]"
        ]  # fmt: skip
        # no token is nothing but white space, on either side of a marker
        assert not {"▁", "Ġ"} & set(tokens)
        ids = some(text, add_special_tokens=False)["input_ids"]
        assert "[START]" not in some.decode(ids, skip_special_tokens=True)
        # what the data holds is never a marker
        plain = tokens_of(some, mention_texts([Mention("x", left="[NIL] [START] ")], config)[0])
        assert plain.count("[START]") == 1
        assert "[NIL]" not in plain
    assert add_markers(tokenizer, PairsConfig(layout="xmen")) == 1  # [TITLE]


def test_markers_of_xmen(tokenizer):
    assert add_markers(tokenizer, PairsConfig(layout="xmen")) == 5
    tokens = tokens_of(tokenizer, "heart [TITLE] heart [SEP] heart")
    assert tokens.count("[TITLE]") == 1
    # literal text for tokenizers with another separator, as in xMEN
    assert tokens.count("[SEP]") == (tokenizer.sep_token == "[SEP]")


def test_fit_cuts_around_the_mention(tokenizer):
    config = PairsConfig(context=400)
    add_markers(tokenizer, config)
    mentions = [
        Mention("heart failure", left="pain in the head and in the " * 12, right=" and in the head" * 12),
        Mention("heart failure", left="pain in the head and in the " * 12),
        Mention("heart failure", right=" and in the head" * 12),
        Mention("a"),
        Mention("heart failure " * 60, left="in the ", right=" and in"),
        Mention("糖尿病" * 60, left="糖" * 40, right="尿" * 40),
        Mention("糖尿病", left="糖" * 90, right="尿" * 90),
        Mention("فشل القلب", left="فشل القلب " * 30, right=" فشل القلب" * 30),
        Mention("", left="heart " * 60, right="heart " * 60),
    ]
    texts = mention_texts(mentions, config)
    for budget in (8, 12, 20, 40, 2000):
        cut = fit(texts, tokenizer, config, budget)
        assert [fit([t], tokenizer, config, budget)[0] for t in texts] == cut
        for mention, text, short in zip(mentions, texts, cut, strict=True):
            tokens = tokens_of(tokenizer, short)
            assert len(tokens) <= budget or len(tokens_of(tokenizer, "[START] 糖 [END]")) > budget
            assert tokens.count("[START]") == tokens.count("[END]") == 1
            if len(tokens_of(tokenizer, text)) <= budget:
                assert short == text
                continue
            left, _, rest = short.partition("[START] ")
            inner, _, right = rest.partition(" [END]")
            whole = texts[mentions.index(mention)]
            assert left.strip() == "" or whole.partition(" [START]")[0].endswith(left.strip())
            assert whole.partition("[END]")[2].startswith(right)
            mine = mention.text.strip()
            assert inner == mine or (mine.startswith(inner) and inner and not left and not right)
            if " " in mention.left:
                assert set(left.split()) <= set(mention.left.split())
                assert set(right.split()) <= set(mention.right.split())
    # both sides get alike where both are long, and one side all where the other is short
    left, _, right = fit(texts[:1], tokenizer, config, 40)[0].partition(" [START] heart failure [END]")
    assert abs(len(left) - len(right)) < 12
    assert len(fit(texts[1:2], tokenizer, config, 40)[0].partition(" [START]")[0]) > 1.5 * len(left)
    assert fit([], tokenizer, config, 9) == []


def test_fit_takes_as_much_as_there_is_room_for(tokenizer):
    config = PairsConfig(context=400)
    add_markers(tokenizer, config)
    mention = Mention("a", left="a " * 100)
    text = mention_texts([mention], config)[0]
    one = len(tokens_of(tokenizer, "a a a")) - len(tokens_of(tokenizer, "a a"))
    for budget in (6, 7, 15):
        cut = fit([text], tokenizer, config, budget)[0]
        assert budget - one < len(tokens_of(tokenizer, cut)) <= budget
        assert cut.endswith("a [START] a [END]")


def test_fit_leaves_room_for_the_concept(tokenizer):
    config = PairsConfig()
    add_markers(tokenizer, config)
    assert token_limit(tokenizer, config) == 48
    assert token_limit(tokenizer, PairsConfig(max_length=32)) == 32
    text = mention_texts([Mention("heart failure", left="in the heart " * 9, right=" and in the head" * 9)], config)
    short = fit(text, tokenizer, config)
    budget = int(0.6 * (48 - tokenizer.num_special_tokens_to_add(pair=True)))
    assert fit(text, tokenizer, config, budget) == short
    pair = tokenizer(
        short, ["heart failure " * 50], truncation=config.truncation, max_length=token_limit(tokenizer, config)
    )
    tokens = tokenizer.convert_ids_to_tokens(pair["input_ids"][0])
    assert len(tokens) == 48
    assert {"[START]", "[END]"} <= set(tokens)
    assert len(tokens_of(tokenizer, short[0])) <= budget
