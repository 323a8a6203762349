"""Markers are written with numbers that nobody else uses, and read back in whatever dress they come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorm.markers import MOST_PIECES, STYLES, mark, nesting_pieces, unmark
from xnorm.sentences import cut_sentences

BRACKETS = STYLES["brackets"]
TEXT = "The heart failure worsened."
FAILURE = (4, 17)


def read(translation, text=TEXT, pieces=(FAILURE,), style=BRACKETS):
    found = unmark(translation, mark(text, pieces, style))
    return found.text, {text[a:b]: found.text[c:d] for (a, b), (c, d) in found.spans.items()}, set(found.lost.values())


@pytest.mark.parametrize("style", STYLES)
def test_a_marked_text_reads_back_as_it_was(style):
    text = "A (heart) failure, [1] <m1> {1} .5 mg 'of' x\u00a0 ( y )."
    parts = ["A", "(heart) failure", "heart", ".5 mg", "of", "x", "y", text]
    pieces = [(text.index(part), text.index(part) + len(part)) for part in parts]
    marked = mark(text, pieces, STYLES[style])
    found = unmark(marked.text, marked)
    assert found.text == text
    assert found.spans == {piece: piece for piece in pieces}


def test_markers_nest_and_carry_numbers():
    marked = mark("left heart failure", [(5, 18), (5, 10), (0, 18)], BRACKETS)
    assert marked.text == "[1]left [2][3]heart[/3] failure[/2][/1]"
    assert mark("a b", [(0, 1), (0, 1)], STYLES["tags"]).text == "<m1>a</m1> b"


def test_numbers_that_the_text_has_are_not_used():
    text = "See [1], [ 3 ] and [/2] of heart failure."
    marked = mark(text, [(27, 40)], BRACKETS)
    assert marked.text == "See [1], [ 3 ] and [/2] of [4]heart failure[/4]."
    found = unmark("Ver [1], [3] y [/2] de [4]insuficiencia[/4].", marked)
    assert found.text == "Ver [1], [3] y [/2] de insuficiencia."
    assert found.spans == {(27, 40): (23, 36)}


@pytest.mark.parametrize(
    ("translation", "text", "span"),
    [
        ("La [1]insuficiencia[/1] empeora.", "La insuficiencia empeora.", "insuficiencia"),
        ("La [1] insuficiencia [/1] empeora.", "La insuficiencia empeora.", "insuficiencia"),
        ("La [ 1 ]insuficiencia[ / 1 ].", "La insuficiencia.", "insuficiencia"),
        ("La [1] insuficiencia [/1] .", "La insuficiencia.", "insuficiencia"),
        ("La [1] insuficiencia [/1].", "La insuficiencia.", "insuficiencia"),
        ("( [1] insuficiencia [/1] )", "( insuficiencia)", "insuficiencia"),
        ("([1] insuficiencia[/1])", "(insuficiencia)", "insuficiencia"),
        ("La[1]insuficiencia[/1]empeora.", "La insuficiencia empeora.", "insuficiencia"),
        ("[1]Herz[/1]erkrankung.", "Herzerkrankung.", "Herz"),
        ("【１】心力衰竭【/１】恶化。", "心力衰竭恶化。", "心力衰竭"),
        ("تفاقم [1]قصور القلب[/1].", "تفاقم قصور القلب.", "قصور القلب"),
        ("تفاقم [1]قصور القلب[1/].", "تفاقم قصور القلب.", "قصور القلب"),
        ("[1]INSUFICIENCIA[/1]", "INSUFICIENCIA", "INSUFICIENCIA"),
    ],
)
def test_markers_in_other_dress_are_read(translation, text, span):
    assert read(translation) == (text, {"heart failure": span}, set())


def test_tags_are_read_in_any_case_and_escaped():
    for translation in (
        "El <M1>fallo</M1>",
        "El &lt;m1&gt;fallo&lt;/m1&gt;",
        "El ＜m1＞ fallo ＜/m1＞",
        "El <м1>fallo</м1>",
    ):
        text, found, lost = read(translation, style=STYLES["tags"])
        assert (text.strip(), found, lost) == ("El fallo", {"heart failure": "fallo"}, set())


@pytest.mark.parametrize(
    ("translation", "reason"),
    [
        ("La insuficiencia", "both markers are lost"),
        ("La [1]insuficiencia", "one of its markers is lost"),
        ("La insuficiencia[/1]", "one of its markers is lost"),
        ("La [1]insuf[/1] y [1]insuf[/1]", "a marker came back more than once"),
        ("La [1][1]insuf[/1]", "a marker came back more than once"),
        ("La [/1]insuf[1]", "its markers came back in reverse"),
        ("La [1] [/1] insuf", "nothing is left between its markers"),
        ("La [2]insuf[/2]", "both markers are lost"),
        ("", "both markers are lost"),
    ],
)
def test_what_is_bent_is_lost_with_a_reason(translation, reason):
    text, spans, lost = read(translation)
    assert spans == {}
    assert lost == {reason}
    assert "[1]" not in text
    assert "[/1]" not in text


def test_pieces_that_came_back_in_another_nest_are_lost():
    text, pieces = "red cell and white cell", [(0, 8), (13, 23)]
    assert read("[2]a[/2] y [1]b[/1]", text, pieces)[1] == {"red cell": "b", "white cell": "a"}
    for translation in ("[1]a [2]b[/1] c[/2]", "[1]a [2]b[/2] c[/1]", "[1][2]a[/1][/2]"):
        assert read(translation, text, pieces)[1:] == ({}, {"markers came back entangled"})
    nested = [(0, 8), (4, 8)]
    assert read("[1]a [2]b[/2][/1]", text, nested)[1] == {"red cell": "a b", "cell": "b"}
    assert read("[1]a[/1] [2]b[/2]", text, nested)[1] == {}
    assert read("a [2]b[/2][/1]", text, nested)[1] == {"cell": "b"}  # what was around it is lost, it is not
    third = [*pieces, (9, 12)]
    assert read("[1]a [3]b[/1] c[/3] [2]d[/2]", text, third)[1] == {"and": "d"}


def test_crossing_spans_are_cut_where_the_other_one_ends():
    assert nesting_pieces([(0, 10), (5, 15)]) == [[(0, 10)], [(5, 10), (10, 15)]]
    assert nesting_pieces([(5, 15), (0, 10)]) == [[(5, 10), (10, 15)], [(0, 10)]]
    assert nesting_pieces([(0, 4), (0, 4), (4, 6)]) == [[(0, 4)], [(0, 4)], [(4, 6)]]
    ladder = [(i, 100 + 10 * i) for i in range(8)]
    assert nesting_pieces(ladder)[-1] == [(7, 100), (100, 170)]
    combs = [(0, 100), *((10 * i, 10 * i + 5) for i in range(1, 9)), (1, 22), (21, 32), (31, 42), (2, 200)]
    assert all(len(p) <= MOST_PIECES for p in nesting_pieces(combs))


spans = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda s: (s[0], s[0] + s[1])), max_size=12)


@settings(max_examples=200, deadline=None)
@given(spans)
def test_pieces_cover_their_span_and_never_cross(spans):
    found = nesting_pieces(spans)
    pieces = sorted({piece for own in found for piece in own})
    for (start, end), own in zip(spans, found, strict=True):
        if own:
            assert own[0][0] == start
            assert own[-1][1] == end
            assert all(a[1] == b[0] for a, b in pairwise(own))
    assert not any(a[0] < b[0] < a[1] < b[1] for a in pieces for b in pieces)
    text = "".join(chr(97 + i % 26) for i in range(60))
    marked = mark(text, pieces, BRACKETS)
    assert unmark(marked.text, marked).spans == {piece: piece for piece in pieces}


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab [/12]{}<m>", max_size=60))
def test_any_translation_is_read_without_an_error(translation):
    marked = mark(TEXT, [FAILURE, (4, 9), (18, 26)], BRACKETS)
    found = unmark(translation, marked)
    assert set(found.spans) | set(found.lost) == {FAILURE, (4, 9), (18, 26)}
    for start, end in found.spans.values():
        assert found.text[start:end] == found.text[start:end].strip() != ""


def sentences(text, *args, **options):
    return [text[a:b] for a, b in cut_sentences(text, *args, **options)]


@pytest.mark.parametrize("style", STYLES)
def test_much_white_space_takes_no_time(style):
    marked = mark("fever", [(0, 5)], STYLES[style])
    opening, space = STYLES[style].opening[0], " " * 300_000  # for hours, where each space can be read in two ways
    for text in (f"{opening}{space}x", f"{opening}1{space}x", f"{opening}/{space}m{space}x"):
        assert unmark(text, marked).text == text


def test_sentences_end_at_stops_and_lines():
    text = "He had pain (e.g. in Dr. A. Smith's leg). Did p < 0.05 hold?  \nYes! 3 of 4. et al. did"
    assert sentences(text) == [
        "He had pain (e.g. in Dr. A. Smith's leg).", "Did p < 0.05 hold?", "Yes!", "3 of 4. et al. did",
    ]  # fmt: skip
    assert sentences("心不全。貧血！はい") == ["心不全。", "貧血！", "はい"]
    assert sentences("  \n ") == []
    assert sentences("") == []


def test_no_sentence_ends_inside_a_span():
    text = "One heart. Two livers. Three eyes."
    assert sentences(text, [(4, 14)]) == ["One heart. Two livers.", "Three eyes."]
    assert sentences(text, [(4, 10)]) == ["One heart.", "Two livers.", "Three eyes."]
    assert sentences(text, [(4, 14), (15, 28)]) == [text]


def test_long_sentences_are_cut_at_white_space_outside_spans():
    text = "abcd " * 20
    assert all(len(s) <= 22 for s in sentences(text, longest=22))
    assert "".join(sentences(text, longest=22)).replace(" ", "") == "abcd" * 20
    assert any("abcd abcd abcd abcd abcd abcd" in s for s in sentences(text, [(10, 39)], longest=22))
    assert sentences("x" * 100, longest=50) == ["x" * 100]
