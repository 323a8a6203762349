"""Normalisation, folding and n-grams, by hand-made expectations and properties."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnorm.text import (
    clean,
    cognate,
    fold,
    fold_case,
    guess_lang,
    hash_ngrams,
    lang_code,
    lang_of,
    romanise_greek,
    script_of,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  heart\tfailure\n", "heart failure"),
        ("a\x00b\u200bc", "a b c"),
        ("Ame\u0301lie", "Amélie"),
        ("a\u00a0b", "a b"),
        ("\ud800", ""),
        ("plain", "plain"),
    ],
)
def test_clean(text, expected):
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Herz-Kreislauf (akut)", "herz kreislauf akut"),
        ("Ménière's disease", "meniere s disease"),
        ("STRASSE Straße", "strasse strasse"),
        ("καρδιομυοπάθεια", "cardiomyopathia"),
        ("Ψωρίαση", "psoriase"),
        ("β-thalassaemia", "beta thalassaemia"),
        ("TGFβ1", "tgf beta 1"),
        ("Кардиомиопатия", "kardiomiopatiia"),
        ("カルシウム", "karusiumu"),
        ("キャンプ", "kyanpu"),
        ("心不全リスク", "心不全 risuku"),
        ("부정맥", "부정맥"),
        ("ﬁbrosis", "fibrosis"),
        ("H₂O", "h2o"),
        ("+", "+"),
        ("Łódź", "lodz"),
    ],
)
def test_fold(text, expected):
    assert fold(text) == expected


def test_fold_keeps_the_vowels_of_thai_and_devanagari():
    assert fold("หัวใจ") == "หัวใจ"
    assert fold("हृदय") == "हृदय"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("cardiomyopathy", "kardiomiopati"),
        ("Kardiomyopathie", "kardiomiopatie"),
        ("miocardiopatía", "miokardiopatia"),
        ("diarrhoea", "diarea"),
        ("diarrhée", "diare"),
        ("Cephalalgia", "sefalalgia"),
        ("Zephalalgie", "sefalalgie"),
        ("quinine", "kinine"),
        ("schizophrenia", "skisofrenia"),
        ("h", "h"),
        ("type 22", "tipe 22"),
    ],
)
def test_cognates(word, expected):
    assert cognate(fold(word)) == expected


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_nothing_but_an_empty_text_becomes_empty(text):
    text = clean(text)
    for form in (fold_case, fold, lambda t: cognate(fold(t))):
        if fold_case(text):
            assert form(text) == " ".join(form(text).split())
            assert form(text), text
    if fold_case(text):
        owner, _ = hash_ngrams([cognate(fold(text))], (3, 4))
        assert len(owner) > 0


@given(st.lists(st.text("ab cé心不ก", min_size=1, max_size=12).map(fold).filter(bool), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_ngrams_equal_a_plain_loop(texts):
    owner, hashes = hash_ngrams(texts, (2, 4))
    assert (np.diff(owner) >= 0).all()
    for position, text in enumerate(texts):
        counted = Counter(hashes[owner == position].tolist())
        assert sorted(counted.values()) == sorted(Counter(loop(text)).values())
    every = Counter(g for text in texts for g in loop(text))
    assert len(set(hashes.tolist())) == len(every)


def loop(text):
    for word in text.split(" "):
        padded = f" {word} "
        for n in range(1, 5):
            for i in range(len(padded) - n + 1):
                gram = padded[i : i + n]
                wide = any("\u0e00" <= c <= "\u0eff" or "\u3400" <= c <= "\u9fff" for c in gram)
                if gram.strip() and ((not wide and n >= 2) or (wide and n <= 4 and (n <= 3 or not wide))):
                    yield gram


def test_the_hash_is_part_of_the_index_format():
    _, hashes = hash_ngrams(["ab"], (3, 4))
    assert hashes.tolist() == [18342480271904899888, 7665997339320908966, 423490036394588434]


@pytest.mark.parametrize(
    ("code", "expected"),
    [("GER", "de"), ("deu", "de"), ("de", "de"), ("pt_BR", "pt-br"), ("SPA", "es"), ("", "und"), (" Fr ", "fr")],
)
def test_lang_code(code, expected):
    assert lang_code(code) == expected


def test_greek_is_read_as_medicine_borrowed_it():
    assert romanise_greek("Σύνδρομο Άλφα") == "syndromo alpha"
    assert romanise_greek("heart") == "heart"
    assert unicodedata.normalize("NFC", romanise_greek("νεφρίτιδα")) == "nephritida"


@pytest.mark.parametrize(
    ("text", "script", "lang"),
    [
        # plain letters that many languages share tell nothing
        ("heart failure", "latin", None),
        ("Ménière", "latin", None),
        ("Größe", "latin", None),
        ("ñandú", "latin", None),
        ("İstanbul ağrısı", "latin", None),
        ("Ｔ２", "latin", None),
        ("кардиомиопатия", "cyrillic", None),
        ("бөйрек", "cyrillic", None),
        ("بطيني", "arabic", None),
        ("نارسایی قلبی", "arabic", None),
        # symbols and slips are no language
        ("β-thalassaemia", "latin", None),
        ("TGFβ1", "latin", None),
        ("TCRαβγ", "latin", None),
        ("β", "greek", None),
        ("αβ", "greek", None),
        ("Аnaemia", "latin", None),
        ("5 µg", "latin", None),
        # Greek
        ("καρδιά", "greek", "el"),
        ("ΚΑΡΔΙΑ", "greek", "el"),
        ("Σύνδρομο Guillain-Barré", "greek", "el"),
        ("λοίμωξη από HIV", "greek", "el"),
        (unicodedata.normalize("NFD", "άγχος"), "greek", "el"),
        # East Asia; Latin letters among them change nothing
        ("糖尿病", "han", "zh"),
        ("HIV感染", "han", "zh"),
        ("Alzheimer病", "han", "zh"),
        ("心不全", "han", "zh"),
        ("アルツハイマー病", "kana", "ja"),
        ("めまい", "kana", "ja"),
        ("ｱﾚﾙｷﾞｰ", "kana", "ja"),
        ("T細胞リンパ腫", "kana", "ja"),
        ("당뇨병", "hangul", "ko"),
        (unicodedata.normalize("NFD", "당뇨병"), "hangul", "ko"),
        ("B형 간염", "hangul", "ko"),
        ("ปวดหัว", "thai", "th"),
        # Vietnamese by its own letters
        ("Viêm họng", "latin", "vi"),
        ("đau đầu", "latin", "vi"),
        ("Bệnh", "latin", "vi"),
        ("SỐT XUẤT HUYẾT", "latin", "vi"),
        ("sưng", "latin", "vi"),
        ("đọc", "latin", "vi"),
        (unicodedata.normalize("NFD", "bệnh tiểu đường"), "latin", "vi"),
        ("Ho ra máu", "latin", None),
        ("đak", "latin", None),
        ("ọrọ ẹjẹ", "latin", None),
        ("êtes", "latin", None),
        ("inimă", "latin", None),
        # letters of one Cyrillic alphabet
        ("серцева недостатність їжа", "cyrillic", "uk"),
        ("хваробы ў", "cyrillic", "be"),
        # other scripts
        ("מחלת לב", "other", "he"),
        ("हृदय", "other", "hi"),
        ("গলা ব্যথা", "other", "bn"),
        ("გული", "other", "ka"),
        ("սիրտ", "other", "hy"),
        ("ជំងឺ", "other", "km"),
        ("ເຈັບ", "other", "lo"),
        ("நோய்", "other", "ta"),
        ("ᏣᎳᎩ", "other", None),
        ("", "other", None),
        ("+", "other", None),
        ("1234", "other", None),
        ("…", "other", None),
    ],
)
def test_script_and_language(text, script, lang):
    assert (script_of(text), guess_lang(text)) == (script, lang)


def test_the_language_given_goes_before_letters():
    assert lang_of("心不全", "ja") == "ja"
    assert lang_of("心不全", None) == "zh"
    assert lang_of("心不全", "und") == "zh"
    assert lang_of("心不全", "") == "zh"
    assert lang_of("Herz", "GER") == "de"
    assert lang_of("coração", "pt_BR") == "pt"
    assert lang_of("Herz", None) is None


@given(st.text(max_size=30))
def test_any_text_has_a_script(text):
    assert script_of(text) in {"latin", "cyrillic", "greek", "han", "kana", "hangul", "thai", "arabic", "other"}
    assert guess_lang(text) is None or len(guess_lang(text)) == 2
