r"""Classifier guidance: the classes of an unconditional model, from a classifier of noisy states.

By Bayes' rule the score of p(x | y) is that of p(x) plus grad log p(y | x), at every level. In terms of the
posterior mean (Song et al. 2021, section 5; the weight w is of Dhariwal and Nichol 2021):

    mean' = mean + w (sigma^2 / alpha) grad_x log p(y | x, level),    noise' = noise - w sigma grad_x ...

w = 1 is the conditional model itself when denoiser and classifier are exact; more favours what the classifier is
sure of, 0 leaves the denoiser alone. Written on the clean mean it is the same for every parameterisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.denoise.wrapped import Scaled
from perrin.errors import PerrinError
from perrin.guide.contrast import WEIGHT
from perrin.guide.wrapper import Guide, check_continuous
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import State, map_leaves

NoisyClassifier: TypeAlias = Callable[[State, Tensor], Tensor]
"""(x [B, ...] in unit coordinates, level [B]) -> logits [B, classes], each item's from that item alone."""


class Classifier(Scaled):
    """A network of logits that is told the level: `net(scale x, time, None) -> [B, classes]`."""

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Logits [B, classes] at `x` [B, ...] in unit coordinates, `level` [B]."""
        return self.output(x, level)


class ClassifierGuidance(Guide):
    """Push the prediction of an unconditional denoiser towards a class.

    Args:
        denoiser: never sees the label; whatever else the condition holds is passed on to it.
        classifier: logits of noisy states, for instance a `Classifier`.
        weight: w, one number or [B]; the condition's entry "guidance" [B] goes before it.
        interval: (low, high) levels within which to guide; everywhere by default.

    The class of each item is the condition's `label` [B]. Items of label -1, without a label, of weight 0 or
    outside the interval keep their prediction to the bit, and the classifier is not evaluated for them.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        classifier: NoisyClassifier,
        weight: float | Tensor = 1.0,
        interval: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(denoiser)
        if interval is not None and not interval[0] < interval[1]:
            raise PerrinError(f"interval = {interval} must be (low, high) levels with low < high")
        self.classifier, self.weight, self.interval = classifier, weight, interval

    def forward(self, x: State, level: Tensor, condition: Condition = None) -> Prediction:
        """The guided prediction at x [B, ...], level [B]."""
        check_continuous(x, "guidance by a classifier's gradient")
        given = dict(condition or {})
        label = given.pop("label", None)
        weight = torch.as_tensor(given.pop(WEIGHT, self.weight), dtype=torch.float64, device=level.device)
        found = self.denoiser(x, level, given or None)
        if label is None:
            return found
        weight = torch.where(self._inside(level) & (label.to(level.device) >= 0), weight, 0.0)
        rows = torch.nonzero(weight).flatten()
        if not len(rows):
            return found
        pull = self._pull(map_leaves(lambda v: v[rows], x), level[rows], label[rows])
        strength = weight[rows] * levels.sigma(level[rows]) ** 2 / levels.alpha(level[rows])
        mean = map_leaves(lambda m, g: _add(m, rows, strength, g), found.mean, pull)
        if found.noise is None:
            return Prediction(mean, None, found.variance)
        strength = -weight[rows] * levels.sigma(level[rows])
        noise = map_leaves(lambda e, g: _add(e, rows, strength, g), found.noise, pull)
        return Prediction(mean, noise, found.variance)

    def _inside(self, level: Tensor) -> Tensor:
        low, high = self.interval or (-torch.inf, torch.inf)
        return (level >= low) & (level <= high)

    def _pull(self, x: State, level: Tensor, label: Tensor) -> State:
        """grad_x log p(label | x, level), item by item."""

        def log_likelihood(state: State) -> Tensor:
            logits = self.classifier(state, level)
            chosen = torch.log_softmax(logits, 1).gather(1, label.to(logits.device)[:, None])
            return chosen.sum()  # an item's logits are its own, so the gradient of the sum is each item's

        # unlike autograd.grad it works where gradients are off (`run`) and under jvp (likelihoods)
        pull: State = torch.func.grad(log_likelihood)(x)
        return pull

    def check(self, levels: Tensor) -> None:
        """Refuse what the denoiser refuses, and guidance at zero SNR, where sigma^2 / alpha is infinite."""
        super().check(levels)
        if bool((torch.isneginf(levels) & self._inside(levels)).any()):
            raise PerrinError(
                "classifier guidance says nothing about the clean state at zero SNR (level -inf); start at a finite "
                "level (grid 'logsnr' or 'karras'), or guide on an interval of finite levels"
            )


def _add(part: Tensor, rows: Tensor, strength: Tensor, pull: Tensor) -> Tensor:
    """`part` with strength [R] times the pull [R, ...] added to some of its rows."""
    return part.index_add(0, rows, expand(strength, pull) * pull.to(part.dtype))
