from collections import Counter, defaultdict

import numpy as np
import pytest
from names_data import concept, read_names, records
from pydantic import ValidationError

from xnorm.alignment import AlignedNames, Extra, NamesConfig
from xnorm.errors import ConfigError, DataError
from xnorm.neighbours import first_texts, nearest_by_letters, nearest_concepts
from xnorm.sampling import BatchSampler, SamplingConfig
from xnorm.text import fold, fold_case


@pytest.fixture
def terminology(tmp_path):
    return read_names(tmp_path / "names.jsonl")


@pytest.fixture
def names(terminology):
    return AlignedNames.of(terminology)


def rows_of(names):
    columns = (names.concepts.tolist(), names.langs.tolist(), names.texts)
    return [(c, names.languages[lang], text) for c, lang, text in zip(*columns, strict=True)]


# names


def test_names_by_hand(tmp_path):
    made = [
        concept(1, "Cold", "Common cold", ("Erkältung", "de"), ("common COLD", "en"), ("Cold", "de")),
        concept(2, "Feeling  cold", "Chilliness"),
        concept(3, "Alone"),
    ]
    made[1]["synonyms"].append({"name": "Cool", "lang": "en", "scope": "related"})
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    assert rows_of(names) == [
        (0, "en", "Cold"),
        (0, "en", "Common cold"),
        (0, "de", "Erkältung"),
        (1, "en", "Feeling cold"),
        (1, "en", "Chilliness"),
        (2, "en", "Alone"),
    ]
    assert names.languages == ["en", "de"]
    assert names.weights.tolist() == [1] * 6
    assert names.counts() == {
        "names": 6, "concepts": 3, "with_two_names": 2, "groups": 3, "largest_group": 1,
        "names_by_lang": {"en": 5, "de": 1},
    }  # fmt: skip


def test_scopes_and_languages(terminology):
    every = AlignedNames.of(terminology, NamesConfig(scopes=["preferred", "exact", "broad"], languages=["en"]))
    exact = AlignedNames.of(terminology, NamesConfig(languages=["en"]))
    texts = terminology.names.to_pylist()
    broad = {(n["concept"], n["text"]) for n in texts if n["scope"] == "broad"}
    assert {(c, t) for c, _, t in rows_of(every)} - {(c, t) for c, _, t in rows_of(exact)} == broad
    assert broad
    assert every.languages == ["en"]


def test_regions_are_their_language(tmp_path):
    made = [concept(1, "Gripe", ("Influenza", "pt-BR")), concept(2, "Tosse", ("Tussis", "pt"))]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made), NamesConfig(languages=["pt", "en"]))
    assert sorted(names.languages) == ["en", "pt"]


def test_a_language_without_names(terminology):
    with pytest.raises(
        ConfigError,
        match=r"languages: the terminology has no preferred or exact names in 'sw'; it has some in de, en, fr, zh",
    ):
        AlignedNames.of(terminology, NamesConfig(languages=["en", "sw"]))


def test_a_language_whose_names_are_of_other_scopes(tmp_path):
    made = [concept(i, f"a{i}", f"b{i}") for i in range(5)]
    made[0]["synonyms"].append({"name": "nói", "lang": "vi", "scope": "related"})
    terminology = read_names(tmp_path / "x.jsonl", made)
    with pytest.raises(ConfigError, match=r"no preferred or exact names in 'vi'; it has some in en"):
        AlignedNames.of(terminology, NamesConfig(languages=["en", "vi"]))
    related = NamesConfig(languages=["en", "vi"], scopes=["preferred", "exact", "related"])
    assert AlignedNames.of(terminology, related).languages == ["en", "vi"]


def test_unknown_scopes():
    with pytest.raises(ValidationError, match="unknown scope 'close'; known: preferred"):
        NamesConfig(scopes=["close"])


def test_nothing_to_align(tmp_path):
    made = [concept(i, text) for i, text in enumerate(("One", "Two", "Three", "Four"))]
    made[0]["synonyms"] = [{"name": "ONE", "lang": "de", "scope": "exact"}]
    with pytest.raises(
        DataError, match=r"nothing to align: 0 of 4 concepts have two names that differ \(4 names .*add a"
    ):
        AlignedNames.of(read_names(tmp_path / "x.jsonl", made))


def test_texts_beside_the_names(terminology):
    ids = terminology.take("concepts", "id", [3, 5])
    extra = [
        Extra("a mention  of three", ids[0], "en", 0.5),
        Extra(terminology.take("concepts", "name", [5])[0].upper(), ids[1], "en", 0.5),
        Extra("of another", "Y:1", "en"),
        Extra(" ", ids[0], "en"),
    ]
    names = AlignedNames.of(terminology, extra=extra)
    plain = AlignedNames.of(terminology)
    new = set(rows_of(names)) - set(rows_of(plain))
    assert new == {(3, "en", "a mention of three")}
    assert len(names) == len(plain) + 1
    assert names.weights[names.texts.index("a mention of three")] == 0.5
    assert (np.diff(names.concepts) >= 0).all()


def test_languages_of_texts_beside_the_names(terminology):
    extra = [Extra("eine Erwähnung", "X:0001", "de"), Extra("of no language", "X:0001", "und")]
    names = AlignedNames.of(terminology, NamesConfig(languages=["en"]), extra)
    assert "eine Erwähnung" not in names.texts
    assert names.languages == ["en", "und"]


def test_weights_of_names(terminology):
    terminology.name_weights = np.linspace(0.1, 1, terminology.n_names).astype(np.float32)
    names = AlignedNames.of(terminology)
    by_text = defaultdict(list)
    for c, text, weight in zip(
        terminology.name_concept.tolist(), terminology.name_texts(), terminology.name_weights.tolist(), strict=True
    ):
        by_text[c, text].append(weight)
    for c, text, weight in zip(names.concepts.tolist(), names.texts, names.weights.tolist(), strict=True):
        assert weight == by_text[c, text][0]


# groups


def grouped(texts, concepts):
    """Return the partition of concepts by shared texts, by repeated joining."""
    groups = {c: {c} for c in concepts}
    changed = True
    while changed:
        changed = False
        for i, a in enumerate(concepts):
            for j, b in enumerate(concepts):
                if fold_case(texts[i]) == fold_case(texts[j]) and groups[a] is not groups[b]:
                    joined = groups[a] | groups[b]
                    for c in joined:
                        groups[c] = joined
                    changed = True
    return {frozenset(g) for g in groups.values()}


@pytest.mark.parametrize("seed", range(4))
def test_groups_are_those_of_shared_texts(tmp_path, seed):
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", records(40, seed=seed)))
    found = defaultdict(set)
    for c, g in zip(names.concepts.tolist(), names.groups.tolist(), strict=True):
        found[g].add(c)
    expected = grouped(names.texts, names.concepts.tolist())
    assert {frozenset(g) for g in found.values()} == expected
    assert any(len(g) > 1 for g in expected)


def test_groups_whatever_the_language(tmp_path):
    made = [concept(1, "Gift", "Present"), concept(2, "Poison", ("GIFT", "de")), concept(3, "Venom", "Toxin")]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    of = dict(zip(names.concepts.tolist(), names.groups.tolist(), strict=True))
    assert of[0] == of[1] != of[2]


def test_some_of_the_names(names):
    some = names.take(names.langs == 0)
    assert rows_of(some) == [row for row in rows_of(names) if row[1] == "en"]
    assert some.languages == names.languages


# batches


def pairs(sampler, steps=range(20)):
    for step in steps:
        batch = sampler.batch(step)
        yield from zip(batch.left.tolist(), batch.right.tolist(), strict=True)


def test_pairs_are_of_one_concept_and_differ(names):
    for left, right in pairs(BatchSampler(names, SamplingConfig(batch=16))):
        assert names.concepts[left] == names.concepts[right]
        assert fold_case(names.texts[left]) != fold_case(names.texts[right])


@pytest.mark.parametrize("neighbours", [0, 3])
def test_no_two_concepts_of_a_group(names, neighbours):
    near = nearest_by_letters(names, 10)
    sampler = BatchSampler(names, SamplingConfig(batch=24, neighbours=neighbours), neighbours=near)
    for step in range(30):
        groups = names.groups[sampler.batch(step).left]
        assert len(groups) == 24
        assert len(set(groups.tolist())) == 24


def test_the_same_seed_and_step_give_the_same_batch(names):
    first, second, other = (BatchSampler(names, SamplingConfig(batch=16), seed=seed) for seed in (1, 1, 2))
    for _ in range(3):
        first.batch(0)  # what was drawn before is nothing to it
    a, b, c, d = first.batch(7), second.batch(7), other.batch(7), first.batch(8)
    assert a.left.tolist() == b.left.tolist()
    assert a.right.tolist() == b.right.tolist()
    assert a.left.tolist() not in (c.left.tolist(), d.left.tolist())


def test_every_concept_and_text_is_drawn(names):
    sampler = BatchSampler(names, SamplingConfig(batch=16))
    drawn = {row for pair in pairs(sampler, range(400)) for row in pair}
    sizes = Counter(names.concepts.tolist())
    expected = {i for i, c in enumerate(names.concepts.tolist()) if sizes[c] > 1}
    assert drawn == expected
    assert sampler.concepts.tolist() == sorted(c for c, n in sizes.items() if n > 1)


def crossing(names, **settings):
    """Return the share of pairs across languages, among concepts that have both kinds."""
    cells = Counter(zip(names.concepts.tolist(), names.langs.tolist(), strict=True))
    langs = Counter(c for c, _ in cells)
    both = {c for (c, _), n in cells.items() if n > 1 and langs[c] > 1}
    kinds = [
        names.langs[left] != names.langs[right]
        for left, right in pairs(BatchSampler(names, SamplingConfig(batch=16, **settings)), range(200))
        if int(names.concepts[left]) in both
    ]
    assert len(kinds) > 200
    return np.mean(kinds)


def test_the_share_across_languages(names):
    assert crossing(names, cross_lingual=1) == 1
    assert crossing(names, cross_lingual=0) == 0
    assert crossing(names, cross_lingual=0.7) == pytest.approx(0.7, abs=0.08)


def through(names, share):
    sampler = BatchSampler(names, SamplingConfig(batch=16, through_main=share, cross_lingual=1))
    langs = Counter()
    for c, lang in set(zip(names.concepts.tolist(), names.langs.tolist(), strict=True)):
        langs[c] += 1 if lang else 0
    found = [
        0 in (names.langs[left], names.langs[right])
        for left, right in pairs(sampler, range(200))
        if langs[int(names.concepts[left])] > 1
    ]
    return np.mean(found)


def test_the_share_through_the_main_language(names):
    assert through(names, 1) == 1
    assert through(names, 0) == 0
    assert through(names, 0.8) == pytest.approx(0.8, abs=0.05)


def test_balance_of_languages(tmp_path):
    made = [concept(i, f"name {i}", (f"Name {i} auf Deutsch", "de")) for i in range(40)]
    for record in made[:8]:
        record["synonyms"].append({"name": f"{record['name']} en français", "lang": "fr", "scope": "exact"})
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))

    def french(balance):
        sampler = BatchSampler(names, SamplingConfig(batch=16, balance=balance, through_main=1))
        drawn = [pair for pair in pairs(sampler, range(200)) if names.concepts[pair[0]] in both]
        return np.mean([names.languages[names.langs[left]] == "fr" for left, _ in drawn])

    counts = Counter(names.concepts.tolist())
    both = {c for c, n in counts.items() if n == 3}
    assert french(1) == pytest.approx(0.5, abs=0.06)
    assert french(0) == pytest.approx(40 / 48, abs=0.06)


@pytest.mark.parametrize("share", [0, 0.3, 1])
def test_the_share_of_concepts_without_a_translation(tmp_path, share):
    made = [concept(i, f"a{i}", f"b{i}") for i in range(300)]
    made += [concept(i, f"a{i}", (f"ü{i}", "de")) for i in range(300, 600)]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    sampler = BatchSampler(names, SamplingConfig(batch=16, monolingual=share))
    ids = [int(names.texts[left][1:]) for left, _ in pairs(sampler, range(100))]
    assert np.mean([i < 300 for i in ids]) == pytest.approx(share, abs=0.04)


def test_sizes_of_concepts(tmp_path):
    made = [concept(i, *(f"n{i} {k}" for k in range(2 if i < 20 else 8))) for i in range(40)]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))

    def large(size):
        sampler = BatchSampler(names, SamplingConfig(batch=2, size=size, neighbours=0))
        return np.mean([int(names.texts[left].split()[0][1:]) >= 20 for left, _ in pairs(sampler, range(1500))])

    assert large(0) == pytest.approx(0.5, abs=0.05)
    assert large(1) == pytest.approx(0.8, abs=0.05)


def test_neighbours_stand_beside_their_concept(tmp_path):
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", [concept(i, f"a{i}", f"b{i}") for i in range(200)]))
    near = (np.arange(200)[:, None] // 4 * 4 + np.arange(4)).astype(np.int32)
    sampler = BatchSampler(names, SamplingConfig(batch=32, neighbours=3), neighbours=None)
    together = lambda: np.mean([len(set((names.concepts[sampler.batch(s).left] // 4).tolist())) for s in range(20)])  # noqa: E731
    assert together() > 20
    sampler.replace_neighbours(near)
    assert together() < 12


def test_a_batch_is_smaller_where_there_are_fewer_groups(names):
    batch = BatchSampler(names, SamplingConfig(batch=512)).batch(0)
    sizes = Counter(names.concepts.tolist())
    groups = {g for c, g in zip(names.concepts.tolist(), names.groups.tolist(), strict=True) if sizes[c] > 1}
    assert len(batch.left) == len(groups)


def test_concepts_that_all_share_a_name(tmp_path):
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", [concept(i, f"n{i}", "same") for i in range(3)]))
    with pytest.raises(DataError, match="all 3 concepts that have two names share one with each other"):
        BatchSampler(names, SamplingConfig())


# neighbours


def test_the_first_text_of_each_concept(tmp_path):
    made = [concept(1, ("Eins", "de"), "One"), concept(2, ("Zwei", "de"), ("Deux", "fr")), concept(3, "Three", "Drei")]
    made.append(concept(4, "Alone"))
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    assert [names.texts[i] for i in first_texts(names)] == ["One", "Zwei", "Three"]


def cosines(texts):
    """TF-IDF of n-grams of three and four letters inside words, by hand."""
    grams = []
    for text in texts:
        words = [f" {word} " for word in fold(text).split()]
        grams.append(Counter(w[i : i + n] for w in words for n in (3, 4) for i in range(len(w) - n + 1)))
    df = Counter(g for own in grams for g in own)
    idf = {g: 1 + np.log((1 + len(texts)) / (1 + n)) for g, n in df.items()}
    rows = [{g: (1 + np.log(n)) * idf[g] for g, n in own.items()} for own in grams]
    norms = [np.sqrt(sum(x * x for x in row.values())) for row in rows]
    return [
        [sum(a[g] * b.get(g, 0) for g in a) / (na * nb) for b, nb in zip(rows, norms, strict=True)]
        for a, na in zip(rows, norms, strict=True)
    ]


def test_neighbours_by_letters(tmp_path):
    made = [r for r in records(120) if all(ord(c) < 256 for s in r["synonyms"] for c in s["name"])]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    rows = first_texts(names)
    near = nearest_by_letters(names, 3)
    scores = np.array(cosines([names.texts[i] for i in rows.tolist()]))
    groups = names.groups[rows]
    place = {c: i for i, c in enumerate(names.concepts[rows].tolist())}
    assert len(rows) > 10
    for i in range(len(rows)):
        others = sorted((j for j in range(len(rows)) if groups[j] != groups[i]), key=lambda j: -scores[i][j])
        best = [round(scores[i][j], 4) for j in others[:3] if scores[i][j] > 0]
        own = [place[c] for c in near[names.concepts[rows[i]]].tolist() if c >= 0]
        assert [round(scores[i][j], 4) for j in own] == pytest.approx(best, abs=2e-4)
        assert i not in own


def test_neighbours_by_vectors(names):
    rows = first_texts(names)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((len(rows), 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = nearest_concepts(vectors, names, rows, 4)
    scores, groups = vectors @ vectors.T, names.groups[rows]
    for i in range(len(rows)):
        others = [j for j in np.argsort(-scores[i]).tolist() if groups[j] != groups[i]]
        assert near[names.concepts[rows[i]]].tolist() == names.concepts[rows[others[:4]]].tolist()


def test_neighbours_of_few_concepts(tmp_path):
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", [concept(1, "aaa", "b"), concept(2, "aaab", "c")]))
    assert nearest_by_letters(names, 3).tolist() == [[1, -1, -1], [0, -1, -1]]
    vectors = np.eye(2, dtype=np.float32)
    assert nearest_concepts(vectors, names, first_texts(names), 3).tolist() == [[1, -1, -1], [0, -1, -1]]
