from collections import Counter, defaultdict

import numpy as np
import pytest
from names_data import concept, read_names, records

from xnorm.alignment import AlignedNames, Extra
from xnorm.errors import DataError
from xnorm.held_out import HeldOut, HeldOutConfig, Retrieval, Spread, compare_retrieval, spread
from xnorm.text import fold_case


@pytest.fixture
def names(tmp_path):
    return AlignedNames.of(read_names(tmp_path / "names.jsonl", records(200)))


def choose(names, *, seed=0, **settings):
    return HeldOut.choose(names, HeldOutConfig(**{"share": 0.2, **settings}), seed=seed)


def letters(texts):
    """Encode by counts of letters."""
    out = np.zeros((len(texts), 64), np.float32)
    for row, text in zip(out, texts, strict=True):
        for c in text.lower():
            row[ord(c) % 64] += 1
    return out / np.linalg.norm(out, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_no_text_of_a_held_out_group_is_trained_on(names, seed):
    left, held = choose(names, seed=seed)
    concepts = set(held.concepts.tolist())
    gone = {fold_case(t) for t, c in zip(names.texts, names.concepts.tolist(), strict=True) if c in concepts}
    assert len(concepts) > 5
    assert gone.isdisjoint(map(fold_case, left.texts))
    assert concepts.isdisjoint(left.concepts.tolist())
    groups = set(names.groups[np.isin(names.concepts, held.concepts)].tolist())
    assert groups.isdisjoint(left.groups.tolist())
    assert set(names.concepts.tolist()) == concepts | set(left.concepts.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_queries_and_their_pool(names, seed):
    _, held = choose(names, seed=seed)
    for task in (held, held.drawn):
        owned = defaultdict(set)
        for text, group in zip(task.pool, task.pool_groups.tolist(), strict=True):
            owned[group].add(fold_case(text))
        languages = defaultdict(set)
        for g, lang, text in zip(names.groups.tolist(), names.langs.tolist(), names.texts, strict=True):
            languages[g, fold_case(text)].add(names.languages[lang])
        of_group = defaultdict(set)
        for (group, _), langs in languages.items():
            of_group[group] |= langs
        for text, lang, group in zip(task.queries, task.langs, task.wanted.tolist(), strict=True):
            assert owned[group]
            assert fold_case(text) not in owned[group]
            assert lang in languages[group, fold_case(text)]
            if of_group[group] - {lang} and "en" in of_group[group] and lang != "en":
                assert all("en" in languages[group, own] for own in owned[group])
        assert set(task.langs) == {"en", "de", "fr", "zh"}
        assert max(Counter(zip(task.wanted.tolist(), task.langs, strict=True)).values()) == 1


def test_numbers_of_what_is_held_out(names):
    _, held = choose(names, share=0.5, most=24, queries=5, pool=30, drawn_queries=2, drawn_pool=10)
    groups = np.unique(names.groups[np.isin(names.concepts, held.concepts)])
    assert len(groups) == 24
    assert set(Counter(held.langs).values()) == {5}
    assert set(Counter(held.drawn.langs).values()) == {2}
    for task, others in ((held, 30), (held.drawn, 10)):
        assert len(set(task.pool_groups.tolist()) - set(groups.tolist())) <= others
        assert (~np.isin(task.pool_groups, groups)).sum() == others
        assert task.n_texts == len(task.pool) + len(task.queries)


def test_weights_are_not_chosen_by_the_names_that_tell_what_they_are_worth(names):
    _, held = choose(names)
    groups = set(names.groups[np.isin(names.concepts, held.concepts)].tolist())
    chosen, told = ({*task.wanted.tolist()} for task in (held.drawn, held))
    assert chosen
    assert chosen.isdisjoint(told)
    assert chosen | told <= groups
    assert len(told) > len(chosen)
    assert not chosen & {*held.pool_groups.tolist()}
    assert set(held.drawn.concepts.tolist()) < set(held.concepts.tolist())
    _, few = choose(names, most=2)
    assert few.drawn.wanted.tolist()
    assert {*few.drawn.wanted.tolist()} == {*few.wanted.tolist()}


def test_the_draw_depends_on_the_seed_alone(names):
    one, two, other = (choose(names, seed=seed)[1] for seed in (3, 3, 4))
    assert one.queries == two.queries
    assert one.pool == two.pool
    assert one.concepts.tolist() == two.concepts.tolist()
    assert one.concepts.tolist() != other.concepts.tolist()


def test_concepts_of_several_languages_come_first(tmp_path):
    made = [concept(i, f"a{i}", f"b{i}") for i in range(60)] + [
        concept(i, f"a{i}", (f"ä{i}", "de")) for i in range(60, 80)
    ]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    _, held = choose(names, share=0.25)
    assert held.concepts.tolist() == list(range(60, 80))
    _, held = choose(names, share=0.5)
    assert set(range(60, 80)) < set(held.concepts.tolist())
    assert len(held.concepts) == 40
    assert set(held.langs) == {"en", "de"}


def test_large_groups_stay_in_the_training(tmp_path):
    made = [concept(i, f"a{i}", "other") for i in range(10)] + [concept(i, f"a{i}", f"b{i}") for i in range(10, 20)]
    names = AlignedNames.of(read_names(tmp_path / "x.jsonl", made))
    _, held = choose(names, share=0.5)
    assert min(held.concepts) >= 10


def test_too_few_concepts(tmp_path):
    made = [concept(i, f"a{i}", f"b{i}") for i in range(3)] + [concept(9, "alone")]
    with pytest.raises(
        DataError, match="3 concepts have two names that differ; expected at least 4, of which some are held"
    ):
        choose(AlignedNames.of(read_names(tmp_path / "x.jsonl", made)))


def test_what_is_not_sure_is_no_measure(tmp_path):
    made = records(100, shared=False)
    terminology = read_names(tmp_path / "x.jsonl", made)
    extra = [Extra(f"mention {i}", r["id"], "en", 0.5) for i, r in enumerate(made)]
    names = AlignedNames.of(terminology, extra=extra)
    left, held = choose(names)
    assert not [t for t in (*held.queries, *held.pool) if t.startswith("mention")]
    kept = {int(t.split()[1]) for t in left.texts if t.startswith("mention")}
    assert kept == set(range(100)) - set(held.concepts.tolist())


def test_texts_that_a_mention_shares_with_a_held_out_concept(tmp_path):
    made = records(100, shared=False)
    terminology = read_names(tmp_path / "x.jsonl", made)
    _, held = choose(AlignedNames.of(terminology))
    gone, other = int(held.concepts[0]), next(i for i in range(100) if i not in held.concepts)
    extra = [Extra(made[gone]["name"].upper(), made[other]["id"], "en")]
    left = held.without(AlignedNames.of(terminology, extra=extra))
    assert other not in left.concepts
    assert made[gone]["name"].upper() not in left.texts


# ranks


def ranks_by_hand(held, encode):
    pool, queries = encode(held.pool), encode(held.queries)
    out = []
    for query, wanted in zip(queries, held.wanted.tolist(), strict=True):
        best = {}
        for vector, group in zip(pool, held.pool_groups.tolist(), strict=True):
            best[group] = max(best.get(group, -2), round(float(query @ vector), 6))
        out.append(1 + sum(score >= best[wanted] for group, score in best.items() if group != wanted))
    return out


@pytest.mark.parametrize("seed", range(3))
def test_ranks_are_those_of_a_slow_loop(names, seed):
    _, held = choose(names, seed=seed)
    found = held.measure(letters)
    by_hand = np.array(ranks_by_hand(held, letters))
    # a cosine may be rounded either way
    assert (found.ranks == by_hand).mean() > 0.97
    assert found.recall(1) == pytest.approx((by_hand == 1).mean(), abs=0.02)


def test_a_perfect_and_a_useless_encoder(names):
    _, held = choose(names)
    group_of = {fold_case(t): g for t, g in zip(names.texts, names.groups.tolist(), strict=True)}

    def perfect(texts):
        rng = np.random.default_rng(0)
        table = rng.standard_normal((int(names.groups.max()) + 1, 32)).astype(np.float32)
        table /= np.linalg.norm(table, axis=1, keepdims=True)
        return table[[group_of[fold_case(t)] for t in texts]]

    best = held.measure(perfect)
    assert best.recall(1) == best.recall(64) == best.mrr == 1
    alike = held.measure(lambda texts: np.full((len(texts), 4), 0.5, np.float32))
    assert alike.recall(1) == 0
    assert (alike.ranks == len(np.unique(held.pool_groups))).all()
    assert alike.spread == Spread(pytest.approx(1), 0)
    broken = held.measure(lambda texts: np.full((len(texts), 4), np.nan, np.float32))
    assert broken.recall(1) == 0


def test_mentions_may_be_encoded_otherwise(names):
    _, held = choose(names)
    shifted = held.measure(letters, lambda texts: letters([t[::-1] + "zzzz" for t in texts]))
    assert shifted.ranks.tolist() != held.measure(letters).ranks.tolist()


def retrieval(ranks, langs=None, units=None):
    ranks = np.array(ranks)
    return Retrieval(
        ranks, langs or ["en"] * len(ranks), np.arange(len(ranks)) if units is None else units, Spread(0, 1)
    )


def test_figures_by_hand():
    found = retrieval([1, 2, 4, 100], ["de", "de", "fr", "fr"])
    assert (found.recall(1), found.recall(2), found.recall(64)) == (0.25, 0.5, 0.75)
    assert found.mrr == pytest.approx((1 + 1 / 2 + 1 / 4 + 1 / 100) / 4)
    assert {lang: own.recall(1) for lang, own in found.by_lang().items()} == {"de": 0.5, "fr": 0}
    assert found.as_dict() == {
        "queries": 4, "recall@1": 0.25, "recall@64": 0.75, "mrr": 0.44,
        "spread": {"mean_cosine": 0, "effective_rank": 1},
    }  # fmt: skip


def test_comparison():
    rng = np.random.default_rng(0)
    langs = ["de"] * 100 + ["fr"] * 100
    before = retrieval(rng.integers(1, 4, 200), langs)
    after = retrieval(np.where(rng.random(200) < 0.8, 1, 2), langs)
    rows = compare_retrieval(before, after)
    assert [(r["lang"], r["metric"]) for r in rows] == [
        (lang, f"recall@{k}") for lang in (None, "de", "fr") for k in (1, 64)
    ]
    first = rows[0]
    assert first["before"] == before.recall(1)
    assert first["after"] == after.recall(1)
    assert first["difference"] == pytest.approx(after.recall(1) - before.recall(1))
    assert 0 < first["low"] < first["difference"] < first["high"]
    assert first["p_value"] < 0.001
    assert rows[1]["difference"] == 0
    assert rows[1]["p_value"] == 1


def test_queries_of_one_group_are_one_draw():
    before, after = retrieval([2] * 30, units=np.zeros(30, int)), retrieval([1] * 30, units=np.zeros(30, int))
    row = compare_retrieval(before, after)[0]
    assert row["difference"] == 1
    assert row["low"] is None
    assert row["p_value"] == 1


def test_without_anything_before():
    row = compare_retrieval(None, retrieval([1, 2, 1, 1]))[0]
    assert (row["before"], row["difference"], row["p_value"]) == (None, None, None)
    assert row["low"] <= row["after"] == 0.75 <= row["high"]


# spread


def test_spread_by_hand():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((50, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = spread(vectors)
    pairs = [float(vectors[i] @ vectors[j]) for i in range(50) for j in range(50) if i != j]
    assert found.mean_cosine == pytest.approx(np.mean(pairs), abs=1e-5)
    values = np.linalg.eigvalsh(np.cov(vectors.T, bias=True))
    assert found.effective_rank == pytest.approx(values.sum() ** 2 / (values**2).sum(), rel=1e-4)


def test_spread_of_few_directions():
    vectors = np.tile(np.eye(8, dtype=np.float32)[:2], (20, 1))
    assert spread(vectors).effective_rank == pytest.approx(1)
    assert np.isnan(spread(vectors[:1]).mean_cosine)
