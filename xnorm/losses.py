"""Losses of a cross-encoder that orders the candidates of a mention, and the module that trains with them.

For one mention with k candidates, let z be the logits of the cross-encoder, s the scores of the candidate generator
(the prior) and y the target: the gold candidates, which share 1 equally. The loss is

    L = -Σ_i y_i log softmax(z)_i + strength * R(z, s)

    none    R = 0
    l2      R = ||z - s + 1e-6||, a norm that is not squared: what xMEN adds, with strength 1
    mse     R = ||z - s||² / k, so that a strength means the same for any number of candidates
    kl      R = Σ_i p_i log(p_i / softmax(z)_i) with p = softmax(s / temperature): only differences of z are pulled

A candidate NIL is one more entry at the end: it stands in the softmax, but has no prior and no part in R, where kl
takes the softmax over the candidates alone. A batch counts as the mean over its mentions that have a target; with
weights w of mentions as Σ_j w_j L_j / n over these n mentions. The sum is not divided by that of the weights of the
batch, for then a mention would count the more the less its neighbours do, and in batches of one all alike; weights
whose mean over the training is 1 make Σ_j w_j L_j / Σ_j w_j of the whole.

The norm of l2 has a slope of 1 wherever z is, while the cross-entropy at z = s pulls with ||softmax(s) - y||, less
than 1 for priors that are close together. From that strength on (`critical_strength`), z = s is the optimum: nothing
is reranked. mse and kl have no such point.

Sources: listwise cross-entropy, Cao et al. 2007 (ListNet); l2, Borchert et al. 2025 (xMEN, JAMIA Open 8(1)); gradient
cache, Gao et al. 2021 (arXiv 2101.06983).
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from xnorm.errors import ConfigError, DataError, XnormWarning
from xnorm.memory import longest_first

__all__ = [
    "ListwiseLoss",
    "NotFiniteError",
    "Regularizer",
    "StrengthWarning",
    "critical_strength",
    "listwise_loss",
    "warn_of_strength",
    "xmen_loss",
]

Regularizer = Literal["none", "l2", "mse", "kl"]
EPSILON = 1e-6
"""Added to each difference by torch's PairwiseDistance, which xMEN uses. It keeps the slope at z = s finite."""


PASS = 32
"""Pairs of one pass on a processor: enough to fill its cores, few enough to be of nearly equal length."""


class StrengthWarning(XnormWarning):
    """A regulariser so strong that the optimum is not to rerank."""


class NotFiniteError(DataError, FloatingPointError):
    """The loss became NaN or infinite, or the weights did; the weights that gave it are not to be kept."""


def listwise_loss(
    logits: Tensor,
    gold: Tensor,
    prior: Tensor,
    valid: Tensor | None = None,
    *,
    regularizer: Regularizer = "none",
    strength: float = 1.0,
    temperature: float = 0.1,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the mean loss of the mentions that have a target, 0 where none has; formulas are at the module's head.

    Args:
        logits: shape (n, k), or (n, k + 1) with NIL in the last column.
        gold: shape of `logits`, bool or 0 and 1. NIL is taken as marked here, whatever the candidates are.
        prior: shape (n, k), scores of the generator.
        valid: shape of `logits`, false for padding; default: all are valid. What stands in padding does not matter.
        regularizer: which R.
        strength: its factor.
        temperature: of kl. Cosines of candidates lie within some tenths of each other: at 1 their softmax is nearly
            uniform, so that kl would pull to no order at all; at 0.1 a lead of 0.1 is a factor of e.
        weights: shape (n,), what the loss of each mention, R and all, is multiplied by; default: 1.

    Returns:
        Scalar, in float32 also for logits of 16 bits.

    Raises:
        ConfigError: shapes that do not fit, or another argument that makes no sense.
    """
    _check(regularizer, strength, temperature)
    z, y, s, valid, ranked = _alike(logits, gold, prior, valid)
    count = y.sum(dim=1, keepdim=True)
    losses = -(y / count.clamp(min=1) * _log_softmax(z, valid)).sum(dim=1)
    if regularizer != "none":
        losses = losses + strength * _regularization(regularizer, z, s, ranked, temperature)
    return _mean(losses, count[:, 0] > 0, weights)


def xmen_loss(
    logits: Tensor,
    gold: Tensor,
    prior: Tensor,
    valid: Tensor | None = None,
    *,
    strength: float = 1.0,
    smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the loss of xMEN 1.0.8, for comparison: l2, and y' = (1 - smoothing) y + smoothing / k.

    Several gold candidates count 1 each, so that their cross-entropies are summed; a mention without gold is pulled to
    its prior. NIL is one of the candidates, put in place of the last one by the caller, and its prior is its label.
    The mean is that of all mentions with a candidate (xMEN's own batches hold one mention). Arguments and errors are
    those of `listwise_loss`, every shape is (n, k); smoothing is label smoothing.
    """
    _check("l2", strength, 1.0, smoothing)
    if logits.shape != prior.shape:
        raise ConfigError(f"logits of shape {tuple(logits.shape)} and prior of {tuple(prior.shape)}; expected the same")
    z, y, s, valid, ranked = _alike(logits, gold, prior, valid)
    size = valid.sum(dim=1, keepdim=True)
    target = (1 - smoothing) * y + smoothing * valid.to(y.dtype) / size.clamp(min=1)
    losses = -(target * _log_softmax(z, valid)).sum(dim=1) + strength * _regularization("l2", z, s, ranked, 1.0)
    return _mean(losses, size[:, 0] > 0, weights)


def critical_strength(prior: Tensor, gold: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the strength of l2 from which z = s is the optimum: ||softmax(s) - y||, where 0 is a subgradient of L.

    Args:
        prior: shape (n, k).
        gold, valid: shape (n, k), or (n, k + 1) with NIL, which is left out.

    Returns:
        Shape (n,), at most the square root of 2; NaN for a mention without gold among its candidates.
    """
    k = prior.shape[-1]
    _, y, s, valid, _ = _alike(prior, gold[:, :k], prior, None if valid is None else valid[:, :k])
    count = y.sum(dim=1, keepdim=True)
    norm = torch.linalg.vector_norm(_log_softmax(s, valid).exp() * valid - y / count.clamp(min=1), dim=1)
    return norm.masked_fill(count[:, 0] == 0, math.nan)


def warn_of_strength(strength: float, prior: Tensor, gold: Tensor, valid: Tensor | None = None) -> bool:
    """Warn (StrengthWarning) and return True if this strength of l2 is critical for most of the mentions with gold."""
    critical = critical_strength(prior, gold, valid)
    critical = critical[~critical.isnan()]
    stuck = int((critical <= strength).sum())
    if 2 * stuck <= len(critical):
        return False
    message = (
        f"l2 with strength {strength:g}: for {stuck} of {len(critical)} mentions the optimum is not to rerank "
        f"(for half of them from {float(critical.median()):.3f} on); take a lower one, or mse or kl"
    )
    warnings.warn(message, StrengthWarning, stacklevel=2)
    return True


def _check(regularizer: str, strength: float, temperature: float, smoothing: float = 0.0) -> None:
    if regularizer not in get_args(Regularizer):
        raise ConfigError(f"regularizer {regularizer!r}; expected one of {', '.join(get_args(Regularizer))}")
    if not (0 <= strength < math.inf and 0 < temperature < math.inf and 0 <= smoothing < 1):
        found = f"strength {strength}, temperature {temperature}, smoothing {smoothing}"
        raise ConfigError(f"{found}; expected 0 or more, more than 0, and from 0 to below 1")


def _alike(logits: Tensor, gold: Tensor, prior: Tensor, valid: Tensor | None) -> tuple[Tensor, ...]:
    """Return z, y, s, valid and what has a prior, all of the shape of `logits`: at least float32, 0 in padding."""
    valid = torch.ones_like(logits, dtype=torch.bool) if valid is None else valid.bool()
    shapes = [tuple(x.shape) for x in (logits, gold, valid, prior)]
    if logits.ndim != 2 or len(set(shapes[:3])) > 1 or shapes[3] not in (shapes[0], (len(logits), shapes[0][1] - 1)):
        raise ConfigError(
            f"logits, gold, valid and prior have shapes {', '.join(map(str, shapes))}; expected (n, k) for all, or "
            "(n, k + 1) for all but the prior"
        )
    dtype = torch.promote_types(logits.dtype, torch.float32)
    ranked = valid.clone()
    ranked[:, prior.shape[1] :] = False
    s = torch.nn.functional.pad(prior.to(dtype), (0, logits.shape[1] - prior.shape[1]))
    # filled, not multiplied: 0 times the infinity of padding is NaN, in the gradient too
    z = logits.to(dtype).masked_fill(~valid, 0)
    return z, ((gold > 0) & valid).to(dtype), s.masked_fill(~ranked, 0), valid, ranked


def _log_softmax(x: Tensor, among: Tensor) -> Tensor:
    """Return log softmax over some of each row; finite, and without a gradient, for the others and in empty rows."""
    return x.masked_fill(~among, torch.finfo(x.dtype).min / 2).log_softmax(dim=1)


def _regularization(regularizer: str, z: Tensor, s: Tensor, ranked: Tensor, temperature: float) -> Tensor:
    """Return R, shape (n,)."""
    if regularizer == "l2":
        return torch.linalg.vector_norm((z - s + EPSILON) * ranked, dim=1)
    if regularizer == "mse":
        return ((z - s) * ranked).square().sum(dim=1) / ranked.sum(dim=1).clamp(min=1)
    goal = _log_softmax(s / temperature, ranked)
    return (goal.exp() * (goal - _log_softmax(z, ranked)) * ranked).sum(dim=1)


def _mean(losses: Tensor, counted: Tensor, weights: Tensor | None) -> Tensor:
    if weights is not None:
        if weights.shape != losses.shape:
            raise ConfigError(f"weights have shape {tuple(weights.shape)}; expected {tuple(losses.shape)}")
        losses = losses * weights.to(losses.dtype)
    return losses.masked_fill(~counted, 0).sum() / counted.sum().clamp(min=1)


class ListwiseLoss(torch.nn.Module):  # type: ignore[misc]
    """`listwise_loss` or `xmen_loss` for the CrossEncoderTrainer of sentence-transformers 6.

    Columns of the dataset, in this order whatever their names, besides `labels`:

        str             mention with its context
        list[str]       texts of its candidates, and that of NIL as the last one if NIL is a choice
        list[float]     scores of the generator: one for each candidate, none for NIL
        float           weight of the mention's loss; the column may be left out
        labels          list of 0 and 1: one for each text

    All pairs of a batch go through the model `mini_batch_size` at a time, longest first, on a processor in passes of
    PASS pairs, so that little padding is computed. If they are more than `mini_batch_size`, each pass is made twice
    with the same dropout: without a graph to get the logits, and in `backward` with one, so that only the activations
    of `mini_batch_size` pairs are ever held. Gradients are those of one large pass.
    16 bits by autocast must be set up in the model's `forward`, as the trainer does, to hold for both.

    Args:
        model: a `CrossEncoder` with one output. The trainer may put a wrapped one in its place.
        regularizer: as for `listwise_loss`, or `xmen` for `xmen_loss`: NIL then has a score too.
        strength, temperature, smoothing: as for these; each loss takes what it knows.
        mini_batch_size: pairs whose activations are held at a time; may be changed between batches.

    Raises:
        ConfigError: an argument that cannot be used, or a model of several outputs.
    """

    def __init__(
        self,
        model: Any,
        *,
        regularizer: Regularizer | Literal["xmen"] = "none",
        strength: float = 1.0,
        temperature: float = 0.1,
        smoothing: float = 0.0,
        mini_batch_size: int = 32,
    ) -> None:
        super().__init__()
        self.xmen = regularizer == "xmen"
        _check("l2" if self.xmen else regularizer, strength, temperature, smoothing)
        if mini_batch_size < 1 or model.num_labels != 1 or (smoothing and not self.xmen):
            found = f"mini_batch_size {mini_batch_size}, {model.num_labels} outputs of the model, smoothing {smoothing}"
            raise ConfigError(f"{found}; expected 1 or more, 1, and 0 unless the regularizer is xmen")
        self.model = model
        own = {"smoothing": smoothing} if self.xmen else {"regularizer": regularizer, "temperature": temperature}
        self.settings: dict[str, Any] = {"strength": strength, **own}
        self.mini_batch_size = mini_batch_size
        self.batches = 0  # of training, seen since the start of this process
        self._may_warn = regularizer in ("l2", "xmen") and strength > 0

    def get_config_dict(self) -> dict[str, Any]:
        """Return what the model card lists."""
        return {"xmen": self.xmen, **self.settings, "mini_batch_size": self.mini_batch_size}

    def forward(
        self, inputs: Sequence[Any], labels: Sequence[Any] | None, prompt: str | None = None, task: str | None = None
    ) -> Tensor:
        """Return the loss of a batch of n mentions.

        Args:
            inputs: the columns mentions, candidates, scores and, if there are any, weights, each a list of n.
            labels: n tensors or lists, each as long as the mention has texts.
            prompt, task: handed on to the model's `preprocess`.

        Raises:
            ConfigError: other columns than those.
            DataError: a mention whose lists do not fit together, a score that is not finite, or a weight not above 0.
            NotFiniteError: the loss or a logit is NaN or infinite.
        """
        self.batches += self.training and torch.is_grad_enabled()
        mentions, texts, *targets = _read(inputs, labels, one_each=self.xmen)
        pairs = [(mention, text) for mention, row in zip(mentions, texts, strict=True) for text in row]
        order = longest_first(pairs)
        size = min(self.mini_batch_size, PASS) if self.model.device.type == "cpu" else self.mini_batch_size
        parts = [order[i : i + size] for i in range(0, len(order), size)]
        passes = [self.model.preprocess([pairs[i] for i in part], prompt=prompt, task=task) for part in parts]
        if len(pairs) <= self.mini_batch_size or not torch.is_grad_enabled():
            return self._value(torch.cat([self._logits(features) for features in passes]), order, targets, mentions)
        seeds = torch.randint(2**62, (len(passes),)).tolist()
        with torch.no_grad():
            logits = torch.cat([self._logits(*drawn) for drawn in zip(passes, seeds, strict=True)])
        value = self._value(logits.requires_grad_(), order, targets, mentions)
        slopes = torch.autograd.grad(value, logits)[0].split([len(part) for part in parts])
        value = value.detach().requires_grad_()
        value.register_hook(lambda factor: self._again(passes, seeds, [slope * factor for slope in slopes]))
        return value

    def _logits(self, features: dict[str, Any], seed: int | None = None) -> Tensor:
        """Return shape (pairs,), at least float32; with a seed, dropout depends on nothing else."""
        model, device = self.model, self.model.device
        if isinstance(model, torch.nn.parallel.DistributedDataParallel) and not torch.is_grad_enabled():
            model = model.module  # else processes with more passes than others wait for them in vain
        # a new dictionary, since modules add to the one that they are given
        features = {name: x.to(device) if isinstance(x, Tensor) else x for name, x in features.items()}
        with contextlib.ExitStack() as stack:
            if seed is not None:
                devices = [] if device.type == "cpu" else [device]
                stack.enter_context(torch.random.fork_rng(devices, device_type=device.type))
                torch.manual_seed(seed)
            logits = model(features)["scores"].view(-1)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def _value(self, logits: Tensor, order: list[int], targets: list[Tensor], mentions: list[str]) -> Tensor:
        gold, prior, valid, *weights = (x.to(logits.device) for x in targets)
        matrix = logits.new_zeros(valid.shape).index_put(valid.nonzero()[order].unbind(dim=1), logits)
        if self._may_warn and self.training:
            self._may_warn = not warn_of_strength(self.settings["strength"], prior, gold, valid)
        value = (xmen_loss if self.xmen else listwise_loss)(
            matrix, gold, prior, valid, weights=weights[0] if weights else None, **self.settings
        )  # fmt: skip
        lost = int((~logits.isfinite()).sum())
        if lost or not math.isfinite(value.detach()):
            raise NotFiniteError(
                f"loss {float(value.detach()):g} in batch {self.batches} of this run, {lost} of {len(logits)} logits "
                f"are not finite (first mention {mentions[0][:80]!r})",
                fix="keep the last good checkpoint; a lower learning rate, or bf16 in place of fp16, helps most often",
            )
        return value

    def _again(self, passes: list[dict[str, Any]], seeds: list[int], slopes: list[Tensor]) -> None:
        """Make each pass with a graph and go back through it; parallel processes exchange gradients in the last."""
        apart = getattr(self.model, "no_sync", contextlib.nullcontext)
        for left, drawn in enumerate(zip(passes, seeds, slopes, strict=True), start=1 - len(passes)):
            with torch.enable_grad(), apart() if left else contextlib.nullcontext():
                (self._logits(*drawn[:2]) * drawn[2]).sum().backward()


def _read(inputs: Sequence[Any], labels: Sequence[Any] | None, *, one_each: bool) -> tuple[Any, ...]:
    """Return mentions, texts, and gold, prior, valid as `listwise_loss` takes them; then weights, if there are any."""
    if len(inputs) not in (3, 4) or labels is None or isinstance(labels, Tensor):
        raise ConfigError(
            f"the loss got {len(inputs)} columns and {'no' if labels is None else 'its'} labels; expected the columns "
            "mention, candidates, scores and labels, the last three with lists, and maybe weights after the scores"
        )
    mentions, texts, scores, *weights = inputs
    nil = [len(row) - len(known) for row, known in zip(texts, scores, strict=True)]
    for mention, row, extra, label in zip(mentions, texts, nil, labels, strict=True):
        if not row or len(label) != len(row) or extra not in ((0,) if one_each else (0, 1)):
            raise DataError(
                f"mention {mention[:80]!r} has {len(row)} texts, {len(row) - extra} scores and {len(label)} labels; "
                f"expected texts, a label for each, and a score for each{'' if one_each else ' but NIL'}"
            )
    k = max(map(len, scores))
    gold, valid = torch.zeros(2, len(texts), k + (1 in nil))
    prior = torch.zeros(len(texts), k)
    for i, (known, label) in enumerate(zip(scores, labels, strict=True)):
        columns = [*range(len(known)), *[k] * nil[i]]
        valid[i, columns] = 1
        gold[i, columns] = torch.as_tensor(label).to("cpu", torch.float32)
        prior[i, : len(known)] = torch.as_tensor(known, dtype=torch.float32, device="cpu")
        if not bool(prior[i].isfinite().all()):
            raise DataError(f"mention {mentions[i][:80]!r} has a candidate whose score is not a finite number")
    return mentions, texts, gold, prior, valid.bool(), *(_weights(column, mentions) for column in weights)


def _weights(column: Any, mentions: Sequence[str]) -> Tensor:
    """Return the weights of mentions, shape (n,).

    Raises:
        DataError: one is not a number above 0.
    """
    weights = torch.as_tensor(column, dtype=torch.float32, device="cpu")
    if weights.shape != (len(mentions),):
        raise DataError(f"{tuple(weights.shape)} weights of {len(mentions)} mentions; expected one each")
    if len(bad := (~((weights > 0) & weights.isfinite())).nonzero()):
        i = int(bad[0])
        raise DataError(f"mention {mentions[i][:80]!r} has the weight {float(weights[i]):g}; expected one above 0")
    return weights
