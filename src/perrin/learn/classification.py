r"""The objective of a classifier that is told the noise: cross-entropy at noisy states.

    loss_i = -log p(label_i given alpha clean_i + sigma noise_i, level_i),    level_i from a law

What classifier guidance needs (Song et al. 2021, section 5 and appendix I; Dhariwal and Nichol 2021, section 4):
its gradient in the noisy state is asked for at every level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from perrin.denoise.prediction import Condition
from perrin.errors import PerrinError
from perrin.guide.classifier import NoisyClassifier
from perrin.learn.denoising import Denoising, Losses
from perrin.learn.laws import Law
from perrin.learn.weighting import uniform
from perrin.process.state import State


@dataclass(frozen=True)
class Classification:
    """The objective of a noise-conditioned classifier; called as `Denoising` is.

    Attributes:
        law: u [B] -> level [B].
    """

    law: Law

    def __call__(
        self,
        classifier: NoisyClassifier,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
    ) -> Losses:
        """Losses of a batch, in nats; `error` is 1 where the most likely class is wrong. Items of label -1 count 0.

        Raises:
            PerrinError: a batch without labels.
        """
        if condition is None or "label" not in condition:
            raise PerrinError("a classifier learns from labels; these data have none")
        x, level, _ = Denoising(self.law, uniform()).noised(clean, None, seeds, u)
        logits, label = classifier(x, level), condition["label"]
        wide = torch.promote_types(logits.dtype, torch.float32)  # half precision is too coarse for a loss
        value = cross_entropy(logits.to(wide), label, ignore_index=-1, reduction="none")
        wrong = (logits.argmax(1) != label) & (label >= 0)
        return Losses(value, level, wrong.to(wide))


@torch.no_grad()
def accuracy_at(
    classifier: NoisyClassifier, clean: State, label: Tensor, level: float, seed: int = 0
) -> float:
    """The share of labelled items whose class a classifier finds at one level of noise.

    Args:
        clean: states [B, ...]; label: int64 [B], -1 for none; seed: of the noise.
    """
    seeds = torch.arange(len(label)) + (seed << 32)
    losses = Classification(lambda u: torch.full_like(u, level))(classifier, clean, {"label": label}, seeds)
    return 1 - float(losses.error.sum()) / max(1, int((label >= 0).sum()))
