"""Columns: cleaning, numbers for words, tables of facts."""

from __future__ import annotations

import re
import sys
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorm.columns import PLAIN, Vocabulary, clean_column, codes, facts, one_dictionary
from xnorm.text import clean

ODD = "ab eé\u0301\u0065ﬁ\t\n\r\x0b\x1c\x85\xa0\u1680\u2003\u200b\u2028\u202f\u205f\u2060\u3000\ufeff각ᄀ"


@given(st.lists(st.none() | st.text() | st.text(ODD), max_size=6))
def test_a_column_is_cleaned_as_its_strings_are(texts):
    column = pa.chunked_array([pa.array(texts[:2], pa.large_string()), pa.array(texts[2:], pa.large_string())])
    assert clean_column(column).to_pylist() == [None if t is None else clean(t) for t in texts]


def test_plain_characters_are_left_alone():
    pattern = re.compile("[" + re.sub(r"\\x\{(\w+)\}", lambda found: chr(int(found[1], 16)), PLAIN) + "]")
    plain = {c for c in map(chr, range(sys.maxunicode + 1)) if pattern.match(c)}
    assert len(plain) > 30_000
    assert all(unicodedata.is_normalized("NFC", c) and clean(f"a{c}b") == f"a{c}b" for c in plain)
    # what a normal form joins with the character before it
    joins = {
        parts[-1]
        for c in map(chr, range(sys.maxunicode + 1))
        if len(parts := unicodedata.normalize("NFD", c)) > 1 and unicodedata.normalize("NFC", parts) == c
    }
    assert not plain & joins


def test_facts_fill_what_is_not_given():
    table = facts("names", id=["X:1", "X:2"], text=["a", "b"], lang="en", scope=["preferred", "exact"])
    assert table.to_pylist() == [
        {"id": i, "text": t, "lang": "en", "scope": s, "source": None, "rank": None, "line": None, "record": None}
        for i, t, s in (("X:1", "a", "preferred"), ("X:2", "b", "exact"))
    ]
    assert facts("types", id=pa.array([], pa.string()), value="T047").num_rows == 0
    with pytest.raises(KeyError, match="names has no column language"):
        facts("names", id=["X:1"], language="en")


def test_a_vocabulary_numbers_words_of_several_columns():
    words = Vocabulary()
    first = pa.chunked_array(
        [pa.array(["GER", None, "deu"]).dictionary_encode(), pa.array(["ENG"]).dictionary_encode()]
    )
    assert words.codes(first, str.lower).tolist() == [0, -1, 1, 2]
    assert words.codes(pa.chunked_array([pa.array(["ENG", "ger"]).dictionary_encode()]), str.lower).tolist() == [2, 0]
    assert words.column(np.array([2, 0], np.int32)).to_pylist() == ["eng", "ger"]


@given(
    st.lists(st.lists(st.none() | st.sampled_from("abcdef"), max_size=5), max_size=4), st.sets(st.sampled_from("abcde"))
)
def test_codes_are_places_among_ids(chunks, ids):
    column = pa.chunked_array(
        [pa.array(chunk, pa.string()).dictionary_encode() for chunk in chunks], pa.dictionary(pa.int32(), pa.string())
    )
    order = sorted(ids)
    values = [value for chunk in chunks for value in chunk]
    assert codes(column, pa.array(order, pa.string())).tolist() == [order.index(v) if v in ids else -1 for v in values]
    words, numbers = one_dictionary([c.drop_null() for c in column.chunks])
    assert words.take(pa.array(numbers)).to_pylist() == [v for v in values if v is not None]
    assert len(words) == len(set(words.to_pylist()))
