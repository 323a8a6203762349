"""Losses on pairs of names against sums written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tiny_transformers import torch

from xnorm.alignment_losses import (
    AlignmentLoss,
    Targets,
    contrastive_loss,
    cut,
    multi_similarity_loss,
    uniform_loss,
)
from xnorm.errors import ConfigError

pytestmark = pytest.mark.torch

SHARED = ([0, 1, 2, 3, 4], [0, 1, 1, 3, 4])
"""Concepts of five pairs and their groups: 1 and 2 share a name."""
TWICE = ([0, 1, 0, 3, 4], [0, 1, 0, 3, 4])
"""Two pairs of one concept."""


def batch(concepts, groups, *, dim=6, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((2 * len(concepts), dim))
    vectors[len(concepts) :] += vectors[: len(concepts)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    weights = np.ones(2 * len(concepts)) if weights is None else weights
    columns = [torch.tensor([*x, *x]) for x in (concepts, groups)]
    return torch.tensor(vectors), Targets(*columns, torch.tensor(weights))


def contrastive_by_hand(vectors, targets, temperature):
    v, g, w = (x.numpy() for x in (vectors, targets.groups, targets.weights))
    b, total, weight = len(v) // 2, 0.0, 0.0
    for i in range(2 * b):
        p = (i + b) % (2 * b)
        below = math.exp(v[i] @ v[p] / temperature)
        below += sum(math.exp(v[i] @ v[k] / temperature) for k in range(2 * b) if g[k] != g[i])
        total += w[i] * w[p] * -math.log(math.exp(v[i] @ v[p] / temperature) / below)
        weight += w[i] * w[p]
    return total / weight


def multi_similarity_by_hand(vectors, targets, alpha, beta, base, margin):
    v, c, g, w = (x.numpy() for x in (vectors, targets.concepts, targets.groups, targets.weights))
    n, total, weight = len(v), 0.0, 0.0
    for i in range(n):
        positives = [k for k in range(n) if k != i and c[k] == c[i]]
        negatives = [k for k in range(n) if g[k] != g[i]]
        own = w[i] * np.mean([w[k] for k in positives])
        if margin is not None:
            distance = {k: np.linalg.norm(v[i] - v[k]) for k in (*positives, *negatives)}
            triplets = [(p, k) for p in positives for k in negatives if distance[p] + margin > distance[k]]
            positives, negatives = ({t[side] for t in triplets} for side in (0, 1))
        near = sum(math.exp(-alpha * (v[i] @ v[k] - base)) for k in positives)
        far = sum(math.exp(beta * (v[i] @ v[k] - base)) for k in negatives)
        total += own * (math.log(1 + near) / alpha + math.log(1 + far) / beta)
        weight += own
    return total / weight


@pytest.mark.parametrize("numbers", [SHARED, TWICE, (range(8), range(8))])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("temperature", [0.03, 0.5])
def test_contrastive(numbers, weighted, temperature):
    weights = np.random.default_rng(1).random(2 * len(numbers[0])) if weighted else None
    vectors, targets = batch(*numbers, weights=weights)
    found = contrastive_loss(vectors, targets, temperature=temperature)
    assert float(found) == pytest.approx(contrastive_by_hand(vectors, targets, temperature), rel=1e-9)


@pytest.mark.parametrize("numbers", [SHARED, TWICE, (range(8), range(8))])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("alpha", "beta", "base"), [(2, 50, 0.5), (1, 10, 0.2)])
@pytest.mark.parametrize("margin", [None, 0.0, 0.2, 2.0])
def test_multi_similarity(numbers, weighted, alpha, beta, base, margin):
    weights = np.random.default_rng(1).random(2 * len(numbers[0])) if weighted else None
    vectors, targets = batch(*numbers, weights=weights)
    settings = {"alpha": alpha, "beta": beta, "base": base, "margin": margin}
    found = multi_similarity_loss(vectors, targets, **settings)
    assert float(found) == pytest.approx(multi_similarity_by_hand(vectors, targets, **settings), rel=1e-6)


def test_mining_leaves_out_what_is_easy():
    # two pairs, each alike and at a right angle to the other one
    vectors = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1]], dtype=torch.float64, requires_grad=True)
    targets = Targets(torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1]), torch.ones(4, dtype=torch.float64))
    found = multi_similarity_loss(vectors, targets, margin=0.2)
    found.backward()
    assert float(found.detach()) == 0
    assert vectors.grad.abs().max() == 0
    assert float(multi_similarity_loss(vectors.detach(), targets, margin=None)) > 0.1
    assert float(multi_similarity_loss(vectors.detach(), targets, margin=1.5)) > 0.1


def test_texts_of_one_group_are_never_pushed_apart():
    for loss in (contrastive_loss, multi_similarity_loss):
        vectors, targets = batch(*SHARED)
        one, two = 1, 2  # rows of concepts that share a name
        row = vectors[one].clone().requires_grad_()
        weights = torch.zeros(10, dtype=torch.float64)
        weights[[two, two + 5]] = 1  # the loss of the other one's texts alone
        whole = torch.cat([vectors[:one], row[None], vectors[one + 1 :]])
        loss(whole, Targets(targets.concepts, targets.groups, weights)).backward()
        assert row.grad.abs().max() == 0
        apart = Targets(targets.concepts, targets.concepts, weights)
        whole = torch.cat([vectors[:one], row[None], vectors[one + 1 :]])
        loss(whole, apart, **({"margin": None} if loss is multi_similarity_loss else {"temperature": 1.0})).backward()
        assert row.grad.abs().max() > 0


@pytest.mark.parametrize("loss", [contrastive_loss, multi_similarity_loss])
def test_weights(loss):
    vectors, targets = batch(range(4), range(4))
    whole = float(loss(vectors, targets))
    half = Targets(targets.concepts, targets.groups, targets.weights / 2)
    assert float(loss(vectors, half)) == pytest.approx(whole)  # a mean
    none = Targets(targets.concepts, targets.groups, targets.weights * 0)
    row = vectors.clone().requires_grad_()
    found = loss(row, none)
    found.backward()
    assert float(found.detach()) == 0
    assert row.grad.abs().max() == 0
    # a text of no weight takes its pair with it
    one = targets.weights.clone()
    one[5] = 0
    other = one.clone()
    other[1] = 0
    found = [float(loss(vectors, Targets(targets.concepts, targets.groups, w))) for w in (one, other)]
    assert found[0] == pytest.approx(found[1])
    assert found[0] != pytest.approx(whole)


@pytest.mark.parametrize("loss", [contrastive_loss, multi_similarity_loss])
def test_gradients_are_those_of_differences(loss):
    vectors, targets = batch(*SHARED, dim=3)
    settings = {"temperature": 0.5} if loss is contrastive_loss else {"margin": None}
    assert torch.autograd.gradcheck(lambda v: loss(v, targets, **settings), vectors.requires_grad_())


@pytest.mark.parametrize("loss", [contrastive_loss, multi_similarity_loss])
def test_a_step_against_the_gradient_brings_names_of_a_concept_together(loss):
    vectors, targets = batch(range(6), range(6), dim=4)
    settings = {} if loss is contrastive_loss else {"margin": None}
    before = float(loss(vectors, targets, **settings))
    for _ in range(200):
        vectors = vectors.detach().requires_grad_()
        loss(vectors, targets, **settings).backward()
        vectors = cut(vectors.detach() - 0.05 * vectors.grad, 4)
    assert float(loss(vectors, targets, **settings)) < before / 2
    similar = vectors @ vectors.T
    similar.fill_diagonal_(-1)
    assert similar.argmax(dim=1).tolist() == [*range(6, 12), *range(6)]


def test_extreme_temperatures_and_large_batches_stay_finite():
    vectors, targets = batch(range(200), range(200), dim=3)
    for dtype in (torch.float32, torch.float64):
        v = vectors.to(dtype).requires_grad_()
        t = Targets(targets.concepts, targets.groups, targets.weights.to(dtype))
        for found in (
            contrastive_loss(v, t, temperature=1e-3),
            multi_similarity_loss(v, t, beta=1000),
            multi_similarity_loss(v.detach() * 0 + v[:1], t),
        ):
            v.grad = None
            found.backward()
            assert math.isfinite(found.detach())
            assert bool(v.grad.isfinite().all())


def test_a_batch_that_is_one_group():
    vectors, _ = batch([0, 1], [0, 0])
    targets = Targets(*(torch.tensor(x) for x in ([0, 1, 0, 1], [0, 0, 0, 0])), torch.ones(4, dtype=torch.float64))
    assert float(contrastive_loss(vectors, targets)) == pytest.approx(0)
    assert float(multi_similarity_loss(vectors, targets)) == 0  # no triplet
    assert uniform_loss(targets) == 0


def test_the_loss_of_vectors_all_alike():
    vectors, targets = batch(range(8), range(8))
    alike = vectors[:1].expand(16, -1)
    assert uniform_loss(targets) == pytest.approx(math.log(15))
    assert float(contrastive_loss(alike, targets)) == pytest.approx(math.log(15))
    _, targets = batch(*SHARED)
    assert uniform_loss(targets) == pytest.approx(float(contrastive_loss(vectors[:1].expand(10, -1), targets)))
    assert uniform_loss(targets) < math.log(9)


def test_cuts_are_of_unit_length_and_the_loss_is_their_mean():
    vectors, targets = batch(*SHARED, dim=8)
    vectors = vectors.float()
    targets = Targets(targets.concepts, targets.groups, targets.weights.float())
    np.testing.assert_allclose(np.linalg.norm(cut(vectors, 3).numpy(), axis=1), 1, atol=1e-6)
    alone = [float(contrastive_loss(cut(vectors, d), targets)) for d in (2, 4, 8)]
    found = AlignmentLoss(None, dimensions=[2, 4, 8]).of_vectors(vectors * 3, targets)
    assert float(found) == pytest.approx(np.mean(alone), rel=1e-5)
    assert float(AlignmentLoss(None).of_vectors(vectors * 3, targets)) == pytest.approx(alone[-1], rel=1e-5)


class Table(torch.nn.Module):
    """A model of one vector for each number."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors = torch.nn.Parameter(vectors)

    def forward(self, features):
        return {"sentence_embedding": self.vectors[features["input_ids"]]}


@pytest.mark.parametrize("settings", [{"temperature": 0.1}, {"multi_similarity": True, "margin": None}])
def test_the_module_reads_two_columns_and_labels(settings):
    vectors, targets = batch(*TWICE)
    vectors = vectors.float()
    model = Table(vectors)
    loss = AlignmentLoss(model, **settings)
    columns = [{"input_ids": torch.arange(5)}, {"input_ids": torch.arange(5, 10)}]
    found = loss(columns, torch.tensor(TWICE[0]))
    same = Targets(targets.concepts, targets.groups, targets.weights.float())
    assert float(found.detach()) == pytest.approx(float(loss.of_vectors(vectors, same)))
    found.backward()
    assert model.vectors.grad.abs().max() > 0
    apart = Targets(torch.arange(5).repeat(2), torch.arange(5).repeat(2), torch.ones(10))
    assert float(loss(columns).detach()) == pytest.approx(float(loss.of_vectors(vectors, apart)))
    assert loss.get_config_dict().items() >= {k: v for k, v in settings.items() if k != "multi_similarity"}.items()
    with pytest.raises(ConfigError, match="got 1 columns of texts; expected two"):
        loss(columns[:1])


@pytest.mark.filterwarnings("ignore")  # of the library's own
@pytest.mark.parametrize("settings", [{}, {"multi_similarity": True}, {"dimensions": [4, 32]}])
def test_the_trainer_of_sentence_transformers_takes_it(tiny, tmp_path, settings):
    library = pytest.importorskip("sentence_transformers")
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("accelerate")
    model = library.SentenceTransformer(str(tiny), device="cpu")
    before = [p.detach().clone() for p in model.parameters()]
    pairs = {"one": ["heart failure", "a", "c d", "e"], "other": ["heart", "b", "c", "e f"], "label": [0, 1, 2, 0]}
    arguments = library.SentenceTransformerTrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=4, use_cpu=True, report_to="none",
        save_strategy="no", disable_tqdm=True, logging_strategy="no",
    )  # fmt: skip
    library.SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict(pairs),
        loss=AlignmentLoss(model, **settings),
    ).train()
    assert any(bool((p != old).any()) for p, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize(
    "settings", [{"temperature": 0.0}, {"temperature": math.inf}, {"alpha": -1}, {"beta": math.nan}]
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ConfigError, match="expected a finite number above 0"):
        AlignmentLoss(None, **settings)
    with pytest.raises(ConfigError, match="expected each to be 1 or more"):
        AlignmentLoss(None, dimensions=[0])
