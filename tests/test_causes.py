"""Why a mention was missed: each outcome and each cause by a minimal case."""

from __future__ import annotations

import pytest
from evaluation_data import (
    BREAST,
    CHILL,
    COLD,
    COPD,
    HEADACHE,
    HF,
    OVARY,
    THING,
    N,
    make_corpus,
    make_rankings,
    make_terminology,
    mention,
)

from xnorm.causes import CAUSES, OUTCOMES, looks_abbreviated
from xnorm.evaluation import IntervalConfig, cases, evaluate
from xnorm.labels import words_in


@pytest.fixture(scope="module")
def terminology(tmp_path_factory):
    return make_terminology(tmp_path_factory.mktemp("terminology"))


def judge(terminology, mentions, rows, **more):
    rankings = make_rankings(rows, **more)
    return evaluate(make_corpus(mentions), rankings, terminology, interval=IntervalConfig(resamples=1))


def told(terminology, text, gold, ranking, *, before=None, name="", found=None, others=(), **more):
    """Return outcome and cause of one mention."""
    steps = None if before is None else {"before": [before]}
    evaluation = judge(
        terminology, [mention(text, gold, **more)], [ranking], steps=steps, matched=[name],
        found=None if found is None else [found], others=list(others),
    )  # fmt: skip
    return evaluation.missed.outcomes[0], evaluation.missed.causes[0]


@pytest.mark.parametrize(
    ("outcome", "gold", "ranking", "more"),
    [
        ("right", [COLD], [COLD, HF], {}),
        ("right", [], [], {}),
        ("right", [COLD, CHILL], [CHILL], {}),
        ("right", ["X:1", COLD], [COLD], {}),
        ("right", ["X:1"], [N], {"others": ["X:1"]}),
        ("right", [], [], {"found": ""}),
        ("right", [BREAST, OVARY], [OVARY, BREAST], {"composite": True}),
        ("ranked below", [COLD], [HF, COLD], {}),
        ("ranked below", [COLD], [HF, COLD], {"before": [COLD]}),
        ("ranked below", ["X:1"], [COLD, N], {"others": ["X:1"]}),
        ("ranked below", [BREAST, OVARY], [OVARY, HF, BREAST], {"composite": True}),
        ("ranked below", [COLD], [HF, COLD], {"found": "exact"}),
        ("lost", [COLD], [HF], {"before": [HF, COLD]}),
        ("lost", [COLD], [], {"before": [COLD]}),  # a threshold took it
        ("not retrieved", [COLD], [HF], {}),
        ("not retrieved", [COLD], [HF], {"before": [CHILL]}),
        ("not retrieved", [COLD, "X:1"], [HF], {}),
        ("said NIL", [COLD], [], {}),
        ("said NIL", [COLD], [], {"before": [HF]}),
        ("missed NIL", [], [COLD], {}),
        ("outside terminology", ["X:1"], [COLD], {}),
        ("outside terminology", ["X:1", "X:2"], [], {}),
        ("outside terminology", ["X:1"], [N], {"others": ["X:2"]}),
        ("boundary", [COLD], [], {"found": "overlap"}),
        ("not found", [COLD], [], {"found": ""}),
        ("said NIL", [COLD], [], {"found": "exact"}),
        ("missed NIL", [], [COLD], {"found": "exact"}),
    ],
)
def test_outcomes(terminology, outcome, gold, ranking, more):
    assert told(terminology, "zzz", gold, ranking, **more)[0] == outcome


def test_a_composite_with_a_part_outside_the_terminology_could_not_be_right(terminology):
    assert told(terminology, "zzz", [COLD, "X:1"], [COLD], composite=True)[0] == "outside terminology"


@pytest.mark.parametrize(
    ("cause", "text", "gold", "ranking", "more"),
    [
        # of what was ranked below, the first candidate is looked at first
        ("homonym", "cold", [COLD], [CHILL, COLD], {}),
        ("homonym", "ＣＯＬＤ", [COLD], [CHILL, COLD], {}),  # case and Unicode form aside
        ("homonym", "Erkältung", [COLD], [CHILL, COLD], {"name": "Cold"}),  # by the name it was found by
        ("wrong type", "chilliness", [COLD], [CHILL, COLD], {"name": "Chilliness"}),
        ("wrong type", "COPD", [COPD], [HEADACHE, COPD], {}),
        ("abbreviation", "COPD", [COPD], [HF, COPD], {}),
        ("abbreviation", "COPD", [COPD], [THING, COPD], {}),  # no type is no wrong type
        ("abbreviation", "COPD", [THING], [HF, THING], {}),
        ("complex mention", "a b c", [COPD], [HF, COPD], {}),
        ("complex mention", "心不全病", [COPD], [HF, COPD], {"spans": ((0, 2), (3, 5)), "document": "d"}),
        ("complex mention", "breast/ovarian", [BREAST, OVARY], [HF, OVARY, BREAST], {"composite": True}),
        ("other", "a b", [COPD], [HF, COPD], {}),
        ("other", "", [COPD], [HF, COPD], {}),
        # of what was not, the mention is
        ("abbreviation", "COPD", [COPD], [HEADACHE], {}),
        ("complex mention", "a b c", [COPD], [HEADACHE], {}),
        ("homonym", "cold", [COLD], [CHILL], {}),
        ("wrong type", "a b", [COPD], [HEADACHE], {}),
        ("wrong type", "a b", [COPD], [HEADACHE], {"before": [COPD]}),
        ("other", "a b", [COPD], [HF], {}),
        ("other", "a b", [COPD], [], {}),
        ("abbreviation", "COPD", [COPD], [], {}),
        ("other", "a b", [COPD], [N], {"others": ["X:1"]}),
        # one of several gold concepts is enough
        ("other", "a b", [COPD, HEADACHE], [HF], {}),
        ("wrong type", "a b", [COPD, BREAST], [HEADACHE], {}),
    ],
)
def test_causes(terminology, cause, text, gold, ranking, more):
    assert told(terminology, text, gold, ranking, **more)[1] == cause


@pytest.mark.parametrize(("text", "name"), [("mixed", "Breast cancer"), ("breast cancer", "")])
def test_a_part_of_a_composite_is_no_homonym_of_it(terminology, text, name):
    gold = [BREAST, OVARY]
    assert told(terminology, text, gold, [BREAST, HF, OVARY], name=name, composite=True)[1] == "complex mention"


@pytest.mark.parametrize(
    ("gold", "ranking", "more"),
    [
        ([COLD], [COLD], {}),
        ([], [COLD], {}),
        (["X:1"], [COLD], {}),
        ([COLD], [], {"found": ""}),
        ([COLD], [], {"found": "overlap"}),
    ],
)
def test_outcomes_that_say_it_all_have_no_cause(terminology, gold, ranking, more):
    assert told(terminology, "COPD", gold, ranking, **more)[1] is None


@pytest.mark.parametrize(
    "text", "COPD mRNA T2DM HbA1c HF ALS β2M H.I.V. TNF-α COVID-19 5-HT ΧΑΠ ХОБЛ ＣＯＰＤ C3 SpO2 IV-line ÄRZTE".split()
)
def test_what_looks_like_an_abbreviation(text):
    assert looks_abbreviated(text)
    assert looks_abbreviated(f" {text} ")


@pytest.mark.parametrize(
    "text",
    ["Cold", "cold", "p53", "B", "1", "2", "", " ", ".", "..", "-", "A B", "COPD exacerbation", "HEADACHES",
     "Herz-Kreislauf", "心不全", "糖尿病2型", "Ñ", "A-", "_AB_", "Kopf-", "1.5", "Typ2diabetes"],
)  # fmt: skip
def test_what_does_not(text):
    assert not looks_abbreviated(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0), ("cold", 1), ("heart failure", 2), ("  heart \n failure ", 2), ("heart-failure", 1),
        ("糖", 1), ("貧血", 1), ("心不全", 2), ("急性心筋梗塞", 3), ("ปวดหัว", 3),
        ("2型糖尿病", 3), ("COPD 急性", 2), ("B型 肝炎", 3), ("βサラセミア", 4), ("심부전", 1), ("심부전 환자", 2),
        ("- / -", 3),
    ],
)  # fmt: skip
def test_words(text, words):
    assert words_in(text) == words


@pytest.mark.parametrize(
    ("text", "length"),
    [("", "1 word"), ("糖尿", "1 word"), ("糖尿病", "2 words"), ("急性心筋", "2 words"), ("急性心筋梗塞", "3-4 words"),
     ("a b c d", "3-4 words"), ("a b c d e", "5 or more words"), ("急性心筋梗塞後症候", "5 or more words")],
)  # fmt: skip
def test_lengths(terminology, text, length):
    assert judge(terminology, [mention(text, COLD)], [[COLD]]).labels["length"] == [length]


def test_counts_and_cases(terminology):
    wanted = [([COLD], [COLD]), ([COLD], [HF]), ([COLD], [HF]), ([COLD], []), ([], [COLD]), (["X:1"], [HF]), ([], [])]
    texts = ["a", "COPD", "a b", "COPD", "a", "a", "a"]
    mentions = [mention(text, gold) for text, (gold, _) in zip(texts, wanted, strict=True)]
    evaluation = judge(terminology, mentions, [ranking for _, ranking in wanted])
    counted = {o["outcome"]: (o["mentions"], o["share"]) for o in evaluation.results["errors"]["outcomes"]}
    share = round(1 / 7, 6)
    assert counted == {
        "right": (2, round(2 / 7, 6)), "not retrieved": (2, round(2 / 7, 6)), "said NIL": (1, share),
        "missed NIL": (1, share), "outside terminology": (1, share),
    }  # fmt: skip
    assert [o["means"] for o in evaluation.results["errors"]["outcomes"]] == [OUTCOMES[o] for o in counted]
    assert cases(evaluation.missed) == [
        ("not retrieved", "abbreviation", [1]),
        ("not retrieved", "other", [2]),
        ("said NIL", "abbreviation", [3]),
        ("missed NIL", None, [4]),
        ("outside terminology", None, [5]),
    ]
    assert {cause for _, cause, _ in cases(evaluation.missed)} - {None} <= set(CAUSES)
