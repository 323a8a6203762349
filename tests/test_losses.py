"""The losses of a reranker: values by hand and against torch's own parts, gradients, and chunks against one pass."""

from __future__ import annotations

import contextlib
import math
import warnings

import numpy as np
import pytest
from tiny_transformers import make_model, torch, transformers

from xnorm.errors import ConfigError, DataError
from xnorm.losses import (
    ListwiseLoss,
    NotFiniteError,
    StrengthWarning,
    critical_strength,
    listwise_loss,
    warn_of_strength,
    xmen_loss,
)

pytestmark = pytest.mark.torch

REGULARIZERS = ["none", "l2", "mse", "kl"]
LN2, LN5 = math.log(2), math.log(5)


def doubles(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def batch(n=6, k=5, *, nil=False, seed=0, dtype=torch.float64):
    """Logits, gold, prior and valid of ragged mentions; the first has two gold candidates, the second none."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, k + nil, generator=generator, dtype=torch.float64)
    prior = torch.rand(n, k, generator=generator, dtype=torch.float64).sort(dim=1, descending=True).values
    valid = torch.ones(n, k + nil, dtype=torch.bool)
    gold = torch.zeros(n, k + nil, dtype=torch.bool)
    for i in range(n):
        valid[i, 2 + i % (k - 1) : k] = False
        gold[i, i % 2] = True
    gold[0, :2] = True
    gold[1] = False
    if nil:
        gold[1, k] = True
    return logits.to(dtype), gold, prior.to(dtype), valid


# by hand: softmax((0, ln 2, ln 5)) = (1, 2, 5) / 8


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, math.log(8 / 5)),
        ({"regularizer": "none", "strength": 9.0}, math.log(8 / 5)),
        ({"regularizer": "l2"}, math.log(8 / 5) + math.hypot(0, LN2, LN5)),
        ({"regularizer": "l2", "strength": 0.5}, math.log(8 / 5) + 0.5 * math.hypot(0, LN2, LN5)),
        ({"regularizer": "l2", "strength": 0.0}, math.log(8 / 5)),
        ({"regularizer": "mse"}, math.log(8 / 5) + (LN2**2 + LN5**2) / 3),
        ({"regularizer": "mse", "strength": 2.0}, math.log(8 / 5) + 2 * (LN2**2 + LN5**2) / 3),
        ({"regularizer": "kl"}, math.log(8 / 5) + math.log(8 / 3) - (LN2 + LN5) / 3),
    ],
)
def test_values_by_hand(settings, expected):
    found = listwise_loss(doubles([0, LN2, LN5]), torch.tensor([[0, 0, 1]]), doubles([0, 0, 0]), **settings)
    assert float(found) == pytest.approx(expected, abs=3e-6)


def test_the_temperature_of_kl_sharpens_the_prior():
    # softmax((0, 0.1 ln 2, 0.1 ln 5) / 0.1) is the softmax of the logits, at which kl is 0
    z, gold = doubles([0, LN2, LN5]), torch.tensor([[1, 0, 0]])
    assert float(listwise_loss(z, gold, z / 10, regularizer="kl")) == pytest.approx(math.log(8), abs=1e-12)
    assert float(listwise_loss(z + 3, gold, z / 10, regularizer="kl")) == pytest.approx(math.log(8), abs=1e-12)
    p, q = np.array([1, 2, 5]) / 8, np.array([1, 4, 25]) / 30
    expected = math.log(8) + float((q * np.log(q / p)).sum())
    assert float(listwise_loss(z, gold, z, regularizer="kl", temperature=0.5)) == pytest.approx(expected, abs=1e-12)


def test_several_gold_candidates_share_the_target():
    z, prior = doubles([0, LN2, LN5]), doubles([0, 0, 0])
    expected = -(math.log(1 / 8) + math.log(5 / 8)) / 2
    assert float(listwise_loss(z, torch.tensor([[1, 0, 1]]), prior)) == pytest.approx(expected, abs=1e-12)
    assert float(xmen_loss(z, torch.tensor([[1, 0, 1]]), prior, strength=0)) == pytest.approx(2 * expected, abs=1e-12)


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_nil_is_in_the_softmax_and_not_in_the_regulariser(regularizer):
    z, prior = doubles([0, LN5, LN2]), doubles([0.9, 0.1])
    part = listwise_loss(z[:, :2], torch.tensor([[1, 0]]), prior, regularizer=regularizer) - math.log(6)
    for gold, p in ([1, 0, 0], 1 / 8), ([0, 1, 0], 5 / 8), ([0, 0, 1], 2 / 8):
        found = listwise_loss(z, torch.tensor([gold]), prior, regularizer=regularizer)
        assert float(found) == pytest.approx(-math.log(p) + float(part), abs=1e-12)


def test_a_mention_without_a_target_contributes_nothing():
    logits, gold, prior, valid = batch()
    logits.requires_grad_()
    loss = listwise_loss(logits, gold, prior, valid, regularizer="mse")
    loss.backward()
    kept = [0, 2, 3, 4, 5]
    alone = listwise_loss(logits[kept], gold[kept], prior[kept], valid[kept], regularizer="mse")
    assert float(loss.detach()) == pytest.approx(float(alone.detach()), abs=1e-12)
    assert not logits.grad[1].any()
    assert logits.grad[kept].any(dim=1).all()
    nothing = listwise_loss(logits, torch.zeros_like(gold), prior, valid, regularizer="l2")
    logits.grad = None
    nothing.backward()
    assert float(nothing.detach()) == 0
    assert not logits.grad.any()


# against torch's own parts


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_values_are_those_of_the_parts_of_torch(regularizer):
    logits, gold, prior, valid = batch(n=9)
    expected = []
    for z, y, s, mask in zip(logits, gold, prior, valid, strict=True):
        z, y, s = z[mask], y[mask].double(), s[mask]
        if not y.any():
            continue
        loss = torch.nn.CrossEntropyLoss()(z, y / y.sum())
        if regularizer == "l2":
            loss = loss + 0.3 * torch.nn.PairwiseDistance(p=2)(z[None], s[None])[0]
        elif regularizer == "mse":
            loss = loss + 0.3 * torch.nn.MSELoss()(z, s)
        elif regularizer == "kl":
            p = torch.softmax(s / 0.2, 0)
            loss = loss + 0.3 * torch.nn.KLDivLoss(reduction="sum")(torch.log_softmax(z, 0), p)
        expected.append(float(loss))
    found = listwise_loss(logits, gold, prior, valid, regularizer=regularizer, strength=0.3, temperature=0.2)
    assert len(expected) == 8
    assert float(found) == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_xmen_is_its_two_parts_of_torch_one_mention_at_a_time(smoothing):
    logits, gold, prior, valid = batch(n=9)
    expected = []
    for z, y, s, mask in zip(logits, gold, prior, valid, strict=True):
        z, y, s = z[mask], y[mask].double(), s[mask]
        y = (1 - smoothing) * y + smoothing / len(y)
        cross_entropy = torch.nn.CrossEntropyLoss()(z[None], y[None])
        expected.append(float(cross_entropy + 0.7 * torch.nn.PairwiseDistance(p=2)(z[None], s[None])[0]))
    found = xmen_loss(logits, gold, prior, valid, strength=0.7, smoothing=smoothing)
    assert float(found) == pytest.approx(np.mean(expected), abs=1e-12)


# gradients


@pytest.mark.parametrize("nil", [False, True])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_gradients_are_those_of_finite_differences(regularizer, nil):
    logits, gold, prior, valid = batch(nil=nil)
    logits.requires_grad_()

    def loss(z):
        return listwise_loss(z, gold, prior, valid, regularizer=regularizer, strength=0.8)

    assert torch.autograd.gradcheck(loss, (logits,))


def test_gradients_of_xmen_are_those_of_finite_differences():
    logits, gold, prior, valid = batch()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: xmen_loss(z, gold, prior, valid, smoothing=0.2), (logits,))


@pytest.mark.parametrize("junk", [0.0, -math.inf, math.inf, math.nan, 1e30])
@pytest.mark.parametrize("loss", [*REGULARIZERS, "xmen"])
def test_what_stands_in_padding_does_not_matter(loss, junk):
    logits, gold, prior, valid = batch(dtype=torch.float32)
    # a mention of nothing but padding, and one with one candidate
    valid[2] = False
    valid[3, 1:] = False
    gold[3, 0] = True

    def run(z, y, s, mask):
        z = z.clone().requires_grad_()
        settings = {} if loss == "xmen" else {"regularizer": loss}
        value = (xmen_loss if loss == "xmen" else listwise_loss)(z, y, s, mask, **settings)
        value.backward()
        return float(value.detach()), z.grad

    value, gradient = run(logits, gold, prior, valid)
    wide = torch.nn.functional.pad(valid, (0, 3))
    filled = [torch.nn.functional.pad(x, (0, 3)).masked_fill(~wide, junk) for x in (logits, prior)]
    found, slopes = run(filled[0], torch.nn.functional.pad(gold, (0, 3), value=True), filled[1], wide)
    assert math.isfinite(value)
    assert found == value
    torch.testing.assert_close(slopes[:, :-3], gradient, rtol=0, atol=0)
    assert not slopes[~wide].any()


def test_norms_of_zero_have_a_finite_slope():
    logits = torch.zeros(1, 3).requires_grad_()
    listwise_loss(logits, torch.tensor([[1, 0, 0]]), torch.full((1, 3), 1e-6), regularizer="l2").backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-2 / 3, 1 / 3, 1 / 3]]))


@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_the_order_of_candidates_and_mentions_does_not_matter(regularizer):
    logits, gold, prior, valid = batch()
    rows, columns = torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([4, 2, 0, 3, 1])
    leaf = logits.clone().requires_grad_()
    value = listwise_loss(leaf, gold, prior, valid, regularizer=regularizer)
    value.backward()
    moved = logits[rows][:, columns].requires_grad_()
    other = (x[rows][:, columns] for x in (gold, prior, valid))
    found = listwise_loss(moved, *other, regularizer=regularizer)
    found.backward()
    assert float(found.detach()) == pytest.approx(float(value.detach()), abs=1e-12)
    torch.testing.assert_close(moved.grad, leaf.grad[rows][:, columns])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_numbers_of_16_bits_are_computed_in_32(regularizer, dtype):
    logits, gold, prior, _ = batch(n=4, k=1024, dtype=dtype)
    leaf = (logits * 20).requires_grad_()
    found = listwise_loss(leaf, gold, prior, regularizer=regularizer)
    found.backward()
    expected = listwise_loss((logits * 20).double(), gold, prior.double(), regularizer=regularizer)
    assert found.dtype == torch.float32
    assert float(found.detach()) == pytest.approx(float(expected), rel=1e-5)
    assert leaf.grad.dtype == dtype
    assert leaf.grad.isfinite().all()


# the strength at which nothing is reranked


def falling(k, rank):
    """Priors that fall linearly from .95 to .50."""
    return torch.linspace(0.95, 0.5, k, dtype=torch.float64)[None], torch.nn.functional.one_hot(torch.tensor([rank]), k)


def optimum(k, rank, strength):
    """Minimise cross-entropy + strength * norm by proximal gradient steps; the norm shrinks z - s as a block."""
    s, y = falling(k, rank)
    z = s.clone()
    for _ in range(6000):
        step = z - (torch.softmax(z, 1) - y) - s
        norm = torch.linalg.vector_norm(step)
        z = s + step * max(0.0, 1 - strength / float(norm))
    return z, s


@pytest.mark.parametrize(("k", "rank", "expected"), [(8, 4, 0.94245), (16, 8, 0.97042), (64, 32, 0.99249)])
def test_critical_strengths_of_falling_priors(k, rank, expected):
    critical = float(critical_strength(*falling(k, rank)))
    assert critical == pytest.approx(expected, abs=5e-6)
    # from there on the prior itself is the optimum, and below it is not
    z, s = optimum(k, rank, critical * 1.001)
    assert torch.equal(z, s)
    z, s = optimum(k, rank, critical * 0.99)
    assert not torch.allclose(z, s, atol=1e-3)


@pytest.mark.parametrize(
    ("k", "rank", "strength", "expected"),
    [(8, 4, 0.5, 0.533), (8, 4, 0.9, 0.159), (16, 8, 0.5, 0.516), (16, 8, 0.95, 0.081), (64, 32, 0.9, 0.107)],
)
def test_the_optimum_of_l2_below_the_critical_strength(k, rank, strength, expected):
    z, s = optimum(k, rank, strength)
    assert round(float(torch.softmax(z, 1)[0, rank]), 3) == expected
    assert int(z.argmax()) == rank
    # it is the optimum of the loss of this module, too
    leaf = z.clone().requires_grad_()
    listwise_loss(leaf, falling(k, rank)[1], s, regularizer="l2", strength=strength).backward()
    assert float(leaf.grad.abs().max()) < 1e-5


def test_critical_strengths_of_a_ragged_batch():
    _, gold, prior, valid = batch(nil=True)
    found = critical_strength(prior.masked_fill(~valid[:, :-1], -math.inf), gold, valid)
    assert found[1].isnan()
    for i in (0, 2, 3, 4, 5):
        s, y = prior[i][valid[i, :-1]], gold[i, :-1][valid[i, :-1]].double()
        assert float(found[i]) == pytest.approx(float((torch.softmax(s, 0) - y / y.sum()).norm()), abs=1e-12)


def test_a_strength_that_is_critical_for_most_mentions_is_warned_of():
    (flat, y), (steep, first) = falling(8, 4), (doubles([9, *[0] * 7]), torch.eye(8)[:1])
    prior, gold = torch.cat([flat, flat, steep]), torch.cat([y, y, first])
    with pytest.warns(StrengthWarning, match=r"strength 0\.95: for 3 of 3 mentions.*from 0\.942 on"):
        assert warn_of_strength(0.95, prior, gold)
    assert not warn_of_strength(0.9, prior, gold)
    assert not warn_of_strength(9, prior, torch.zeros_like(gold))
    with pytest.warns(StrengthWarning, match="1 of 1"):
        warn_of_strength(0.9, steep, first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"regularizer": "l1"}, "'l1'; expected one of none, l2, mse, kl"),
        ({"strength": -1}, "strength -1"),
        ({"strength": math.nan}, "strength nan"),
        ({"temperature": 0}, "temperature 0"),
        ({"prior": torch.zeros(6, 3)}, r"\(6, 5\), \(6, 5\), \(6, 5\), \(6, 3\); expected \(n, k\)"),
        ({"gold": torch.zeros(6, 4)}, "expected"),
        ({"valid": torch.ones(5, 5)}, "expected"),
        ({"logits": torch.zeros(5)}, "expected"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(change, message):
    arguments = dict(zip(("logits", "gold", "prior", "valid"), batch(), strict=True)) | change
    with pytest.raises(ConfigError, match=message):
        listwise_loss(**arguments)


def test_xmen_refuses_an_extra_candidate_and_its_own_bad_arguments():
    logits, gold, prior, valid = batch(nil=True)
    with pytest.raises(ConfigError, match=r"\(6, 6\).*\(6, 5\)"):
        xmen_loss(logits, gold, prior, valid)
    with pytest.raises(ConfigError, match="smoothing 1"):
        xmen_loss(*batch(), smoothing=1)


# weights


def weighted_mean(loss, logits, gold, prior, valid, weights, **settings):
    """The loss of each mention alone, those without a target aside, times its weight, over their number."""
    found = []
    for i, w in enumerate(weights.tolist()):
        row = slice(i, i + 1)
        if gold[row].any() or loss is xmen_loss:
            found.append(w * float(loss(logits[row], gold[row], prior[row], valid[row], **settings)))
    return sum(found) / len(found)


@pytest.mark.parametrize("nil", [False, True])
@pytest.mark.parametrize("loss", [*REGULARIZERS, "xmen"])
def test_weights_against_losses_one_by_one(loss, nil):
    function, settings = (xmen_loss, {}) if loss == "xmen" else (listwise_loss, {"regularizer": loss})
    given = batch(nil=nil and loss != "xmen", seed=4)
    weights = torch.rand(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    found = float(function(*given, strength=0.4, weights=weights, **settings))
    assert found == pytest.approx(weighted_mean(function, *given, weights, strength=0.4, **settings), abs=1e-12)
    plain = float(function(*given, strength=0.4, **settings))
    assert abs(found - plain) > 1e-3
    ones = torch.ones(6, dtype=torch.float64)
    assert float(function(*given, strength=0.4, weights=ones, **settings)) == plain
    # half of all weights is half of the loss; 16 bits of weights do no harm
    assert float(function(*given, strength=0.4, weights=ones.half() / 2, **settings)) == pytest.approx(plain / 2)


def test_two_mentions_of_half_a_weight_are_one():
    logits, gold, prior, valid = (x[[0, 2]] for x in batch())
    one = listwise_loss(logits, gold, prior, valid, regularizer="mse")
    twice = [torch.cat([x[:1], x]) for x in (logits, gold, prior, valid)]
    # of mean 1, as the training has them: (1/2, 1/2, 1) of sum 2, and three mentions
    weights = torch.tensor([0.5, 0.5, 1.0]) * 3 / 2
    assert float(listwise_loss(*twice, regularizer="mse", weights=weights)) == pytest.approx(float(one), abs=1e-7)


def test_weights_of_another_number_are_refused():
    with pytest.raises(ConfigError, match=r"weights have shape \(5,\); expected \(6,\)"):
        listwise_loss(*batch(), weights=torch.ones(5))
    with pytest.raises(ConfigError, match=r"weights have shape \(6, 1\)"):
        xmen_loss(*batch(), weights=torch.ones(6, 1))


# the module that trains


MENTIONS = ["heart failure", "mal de tête", "糖尿病", "a", "pain in the head " * 3]
TEXTS = [
    ["Herzinsuffizienz", "heart", "фебрильная нейтропения", "+", "[NIL]"],
    ["a", "Type 2 diabetes mellitus, with ketoacidosis", "[NIL]"],
    ["heart " * 5, "[NIL]"],
    ["فشل القلب", "a", "head", "β-thalassaemia", "pain", "[NIL]"],
    ["diabetes", "heart failure", "[NIL]"],
]
SCORES = [[0.9, 0.8, 0.6, 0.5], [0.7, 0.65], [0.4], [0.99, 0.9, 0.9, 0.8, 0.2], [0.9, 0.1]]
LABELS = [[0, 1, 0, 0, 0], [1, 1, 0], [0, 1], [0, 0, 0, 1, 0, 0], [0, 0, 0]]
INPUTS = [MENTIONS, TEXTS, SCORES]


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory):
    folder = make_model(tmp_path_factory.mktemp("models") / "reranker", "bert")
    config = transformers.AutoConfig.from_pretrained(folder, num_labels=1)
    torch.manual_seed(3)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture
def make(cross_encoder):
    from sentence_transformers import CrossEncoder

    def make(*, dropout=0.0, **settings):
        model = CrossEncoder(str(cross_encoder), num_labels=1, device="cpu")
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout
        return ListwiseLoss(model.double(), **settings).train()

    return make


def gradients(loss, factor=1.0, weights=()):
    loss.model.zero_grad()
    value = loss([*INPUTS, *weights], [torch.tensor(row) for row in LABELS])
    (value * factor).backward()
    return float(value.detach()), {name: p.grad.clone() for name, p in loss.model.named_parameters()}


def test_the_value_is_that_of_pairs_scored_one_by_one(make):
    loss = make(regularizer="mse", strength=0.5, mini_batch_size=4)
    expected = []
    for mention, texts, scores, labels in zip(*INPUTS, LABELS, strict=True):
        logits = torch.cat([loss.model(loss.model.preprocess([(mention, text)]))["scores"][0] for text in texts])
        y = torch.tensor(labels).double()
        if y.any():
            distance = torch.nn.MSELoss()(logits[:-1], torch.tensor(scores).double())
            expected.append(float((torch.nn.CrossEntropyLoss()(logits, y / y.sum()) + 0.5 * distance).detach()))
    assert len(expected) == 4
    assert float(loss(INPUTS, LABELS).detach()) == pytest.approx(np.mean(expected), abs=1e-6)
    with torch.no_grad():
        assert float(loss(INPUTS, LABELS)) == pytest.approx(np.mean(expected), abs=1e-6)


@pytest.mark.parametrize("size", [1, 4, 18])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_gradients_of_chunks_are_those_of_one_pass(make, regularizer, size):
    settings = {"regularizer": regularizer, "strength": 0.3}
    value, expected = gradients(make(mini_batch_size=19, **settings))
    found, slopes = gradients(make(mini_batch_size=size, **settings))
    assert found == pytest.approx(value, abs=1e-9)
    assert any(slope.abs().max() > 1e-3 for slope in slopes.values())
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, expected[name], rtol=1e-9, atol=1e-9)
    # as under a scaler of gradients, or when batches are accumulated
    _, scaled = gradients(make(mini_batch_size=size, **settings), factor=0.25)
    for name, slope in scaled.items():
        torch.testing.assert_close(slope, expected[name] / 4, rtol=1e-9, atol=1e-9)


WEIGHTS = [0.3, 1.0, 2.0, 0.3, 0.7]


@pytest.mark.parametrize("regularizer", ["none", "kl"])
def test_weighted_gradients_are_those_of_mentions_one_by_one(make, regularizer):
    loss = make(regularizer=regularizer, strength=0.3, mini_batch_size=4)
    value, slopes = gradients(loss, weights=[WEIGHTS])
    expected, sums = 0.0, {name: torch.zeros_like(slope) for name, slope in slopes.items()}
    for i, weight in enumerate(WEIGHTS[:4]):  # the last mention has no target
        loss.model.zero_grad()
        own = loss([column[i : i + 1] for column in INPUTS], [torch.tensor(LABELS[i])])
        (own * weight / 4).backward()
        expected += float(own.detach()) * weight / 4
        for name, p in loss.model.named_parameters():
            sums[name] += p.grad
    assert value == pytest.approx(expected, abs=1e-7)  # weights are of 32 bits
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, sums[name], rtol=1e-6, atol=1e-7)
    # one pass, and a tensor in place of a list
    whole, others = gradients(
        make(regularizer=regularizer, strength=0.3, mini_batch_size=64), weights=[torch.tensor(WEIGHTS)]
    )
    assert whole == pytest.approx(value, abs=1e-9)
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, others[name], rtol=1e-9, atol=1e-9)
    # weights of 1 are none
    assert gradients(loss, weights=[[1.0] * 5])[0] == gradients(loss)[0]


def test_weights_of_the_loss_of_xmen(make):
    rows = [[MENTIONS[0], MENTIONS[2]], [TEXTS[0][:4], ["heart", "foot"]], [SCORES[0], [0.4, 0.2]]]
    labels = [LABELS[0][:4], [0, 1]]
    loss = make(regularizer="xmen", strength=0.2, mini_batch_size=3)
    one, other = (float(loss([column[i : i + 1] for column in rows], labels[i : i + 1]).detach()) for i in range(2))
    found = float(loss([*rows, [0.5, 2.0]], labels).detach())
    assert found == pytest.approx((0.5 * one + 2 * other) / 2, abs=1e-7)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1, 1, 0, 1, 1], r"mention '糖尿病' has the weight 0; expected one above 0"),
        ([1, -1, 1, 1, 1], r"mention 'mal de tête' has the weight -1"),
        ([1, 1, 1, math.nan, 1], r"mention 'a' has the weight nan"),
        ([math.inf, 1, 1, 1, 1], r"mention 'heart failure' has the weight inf"),
        ([1, 1], r"\(2,\) weights of 5 mentions; expected one each"),
    ],
)
def test_weights_that_make_no_sense(make, weights, message):
    with pytest.raises(DataError, match=message):
        make()([*INPUTS, weights], LABELS)


def test_dropout_is_the_same_in_both_passes(make):
    loss = make(dropout=0.2, regularizer="mse", mini_batch_size=5)

    def value(seed):
        torch.manual_seed(seed)
        with torch.no_grad():
            return float(loss(INPUTS, LABELS)), torch.get_rng_state()

    torch.manual_seed(5)
    first, slopes = gradients(loss)
    after = torch.get_rng_state()
    torch.manual_seed(5)
    assert gradients(loss)[0] == first
    assert torch.equal(after, torch.get_rng_state())
    torch.manual_seed(6)
    assert gradients(loss)[0] != first
    # the derivative of the loss with its dropout, along a random direction
    generator = torch.Generator().manual_seed(1)
    moves = {n: torch.randn(p.shape, generator=generator).double() for n, p in loss.model.named_parameters()}
    ends = []
    for step in (1e-5, -2e-5):
        with torch.no_grad():
            for name, parameter in loss.model.named_parameters():
                parameter += step * moves[name]
        torch.manual_seed(5)
        ends.append(float(loss(INPUTS, LABELS).detach()))
    expected = sum(float((slopes[name] * move).sum()) for name, move in moves.items())
    assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-4)


def test_longest_pairs_go_first_so_that_little_is_padded(make):
    loss = make(mini_batch_size=4)
    shapes = []
    loss.model.register_forward_pre_hook(lambda _, given: shapes.append(tuple(given[0]["input_ids"].shape)))
    with torch.no_grad():
        loss(INPUTS, LABELS)
    assert [rows for rows, _ in shapes] == [4, 4, 4, 4, 3]
    widths = [width for _, width in shapes]
    assert widths[0] == max(widths)
    assert widths[-1] < widths[0] / 2
    shapes.clear()
    loss(INPUTS, LABELS).backward()
    assert len(shapes) == 10
    assert shapes[5:] == shapes[:5]


def test_xmen_as_a_module(make):
    replaced = [[*row[:-2], "[NIL]"] for row in TEXTS]
    kept = [row[: len(scores) - 1] for row, scores in zip(LABELS, SCORES, strict=True)]
    labels = [[*row, int(not any(row))] for row in kept]
    scores = [[*row[:-1], label[-1]] for row, label in zip(SCORES, labels, strict=True)]
    loss = make(regularizer="xmen", strength=0.2, smoothing=0.1, mini_batch_size=3)
    expected = []
    for mention, texts, prior, label in zip(MENTIONS, replaced, scores, labels, strict=True):
        logits = loss.model(loss.model.preprocess([(mention, text) for text in texts]))["scores"].view(1, -1)
        expected.append(xmen_loss(logits, torch.tensor([label]), torch.tensor([prior]), strength=0.2, smoothing=0.1))
    found = loss([MENTIONS, replaced, scores], labels)
    assert float(found.detach()) == pytest.approx(float(sum(expected).detach()) / 5, abs=1e-6)
    with pytest.raises(DataError, match=r"'heart failure' has 5 texts, 4 scores and 5 labels; .* score for each$"):
        loss(INPUTS, LABELS)
    assert loss.get_config_dict() == {"xmen": True, "strength": 0.2, "smoothing": 0.1, "mini_batch_size": 3}


def test_mentions_with_and_without_nil_in_one_batch(make):
    loss = make(regularizer="kl", mini_batch_size=2)
    both = loss([MENTIONS[:2], [TEXTS[0], TEXTS[1][:2]], SCORES[:2]], [LABELS[0], LABELS[1][:2]])
    one = loss([MENTIONS[:1], TEXTS[:1], SCORES[:1]], LABELS[:1])
    other = loss([MENTIONS[1:2], [TEXTS[1][:2]], SCORES[1:2]], [LABELS[1][:2]])
    assert float(both.detach()) == pytest.approx(float((one + other).detach()) / 2, abs=1e-9)


def test_a_critical_strength_is_warned_of_once(make):
    loss = make(regularizer="l2", strength=1.5)
    with pytest.warns(StrengthWarning, match="for 3 of 3 mentions"):
        loss(INPUTS, LABELS)
    loss(INPUTS, LABELS)
    make(regularizer="mse", strength=9)(INPUTS, LABELS)


@pytest.mark.parametrize("size", [4, 64])
def test_a_loss_that_is_not_finite_stops(make, size):
    loss = make(mini_batch_size=size)
    loss(INPUTS, LABELS)
    with torch.no_grad():
        loss.model.model.classifier.weight[:] = math.nan
    with pytest.raises(NotFiniteError, match=r"loss nan in batch 2 of this run, 19 of 19 logits.*'heart failure'"):
        loss(INPUTS, LABELS)
    assert all(p.grad is None for p in loss.model.parameters())


@pytest.mark.parametrize(
    ("inputs", "labels", "error", "message"),
    [
        ([MENTIONS, TEXTS], LABELS, ConfigError, "2 columns"),
        (INPUTS, None, ConfigError, "no labels"),
        (INPUTS, torch.zeros(5), ConfigError, "columns mention, candidates, scores"),
        ([MENTIONS, TEXTS, [[], *SCORES[1:]]], LABELS, DataError, "has 5 texts, 0 scores and 5 labels"),
        ([MENTIONS, [[], *TEXTS[1:]], [[], *SCORES[1:]]], [[], *LABELS[1:]], DataError, "0 texts, 0 scores"),
        (INPUTS, [[1], *LABELS[1:]], DataError, "'heart failure' has 5 texts, 4 scores and 1 labels"),
        ([MENTIONS, TEXTS, [[0.9, 0.8, math.nan, 0.1], *SCORES[1:]]], LABELS, DataError, "'heart failure' .*finite"),
    ],
)
def test_bad_batches_are_refused(make, inputs, labels, error, message):
    with pytest.raises(error, match=message):
        make()(inputs, labels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regularizer": "l1"}, "l1"),
        ({"mini_batch_size": 0}, "mini_batch_size 0"),
        ({"smoothing": 0.1}, "smoothing 0.1"),
        ({"strength": -1}, "strength -1"),
    ],
)
def test_bad_settings_are_refused(make, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)


def test_processes_with_more_passes_than_others_do_not_wait_for_them(make, monkeypatch):
    """Only passes with a graph go through the wrapper of parallel training, and only the last of them is exchanged."""
    exchanged = []

    class Wrapper(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module, self.sync = module, True
            self.device, self.preprocess = module.device, module.preprocess

        @contextlib.contextmanager
        def no_sync(self):
            self.sync = False
            yield
            self.sync = True

        def forward(self, features):
            exchanged.append((torch.is_grad_enabled(), self.sync))
            return self.module(features)

    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", Wrapper)
    loss = make(mini_batch_size=7)
    loss.model = Wrapper(loss.model)
    loss(INPUTS, LABELS).backward()
    assert exchanged == [(True, False), (True, False), (True, True)]


def test_the_trainer_hands_over_the_scores_and_the_loss_falls(make, tmp_path):
    pytest.importorskip("accelerate", reason="needs the extra torch")
    datasets = pytest.importorskip("datasets", reason="needs the extra torch")
    from sentence_transformers import CrossEncoderTrainer, CrossEncoderTrainingArguments

    data = {"mention": MENTIONS, "candidates": TEXTS, "prior": SCORES, "labels": LABELS}
    loss = make(regularizer="mse", strength=0.1, mini_batch_size=6)
    loss.model.float()
    seen = []
    loss.register_forward_pre_hook(lambda _, given: seen.append(given))
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(tmp_path), max_steps=12, per_device_train_batch_size=5, learning_rate=3e-3, logging_steps=1,
        report_to="none", save_strategy="no", use_cpu=True, disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = CrossEncoderTrainer(loss.model, arguments, datasets.Dataset.from_dict(data), loss=loss)
        trainer.train()
    (mentions, texts, scores), labels = seen[0]
    assert sorted(mentions) == sorted(MENTIONS)
    for mention, row, prior, label in zip(mentions, texts, scores, labels, strict=True):
        i = MENTIONS.index(mention)
        assert (row, prior, label.tolist()) == (TEXTS[i], SCORES[i], LABELS[i])
    values = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(values) == loss.batches == 12
    assert values[-1] < values[0] / 2
