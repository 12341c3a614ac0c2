r"""Sliced score matching (Song, Garg, Shi and Ermon 2019), in its variance-reduced form, at noisy levels.

The score of the noisy state is matched from noisy states alone: by parts, for v with E[v v^T] = I,

    E |s - grad log p|^2 = E[ |s|^2 + 2 v^T (ds/dx) v ] + constant               (their equation 8)

With s = (alpha D - x)/sigma^2 and the constant that belongs to it, the same in terms of the clean state is

    E |D - clean|^2 = E[ |D - x/alpha|^2 + 2 (sigma^2/alpha) v^T (dD/dx) v - d sigma^2/alpha^2 ]

which is Stein's unbiased estimate of the risk with a random probe (Stein 1981; Ramani, Blu and Unser 2008). So the
loss has the expectation of the denoising loss of the same weight, and its gradient that loss's gradient; its value
for an item may be negative. It costs a second backward pass, and its variance grows with 1/SNR: take a weight that
falls with the SNR, such as `simple`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.learn.denoising import Denoising, Losses, distance
from perrin.learn.learned_weight import weighted
from perrin.process import levels
from perrin.process.levels import expand
from perrin.process.state import Masks, State, leaves, like
from perrin.sample.noise import bits


@dataclass(frozen=True)
class Sliced(Denoising):
    """Sliced score matching: the denoising loss in expectation, from noisy states alone.

    Attributes:
        law, weight, drop: as in `Denoising`; metric: 'squared', the only one it estimates; no auxiliary.
        slices: probes v for each item, of random signs.
    """

    slices: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metric != "squared" or self.slices < 1:
            raise PerrinError(
                f"sliced score matching needs metric 'squared' (not {self.metric!r}) and slices >= 1 (not {self.slices})"
            )
        if self.auxiliary is not None:
            raise PerrinError("sliced score matching learns from noisy states alone and takes no auxiliary")

    def __call__(
        self,
        denoiser: Denoiser,
        clean: State,
        condition: Condition,
        seeds: Tensor,
        u: Tensor | None = None,
        masks: Masks | None = None,
    ) -> Losses:
        """Losses of a batch; arguments as `Denoising`. `error` is the clean state's, which is not trained on."""
        if masks is not None or self.process is not None:
            raise PerrinError("sliced score matching is for Gaussian states without masks")
        noisy, level, condition = self.noised(clean, condition, seeds, u)
        train = torch.is_grad_enabled()
        with torch.enable_grad():
            x = {name: value.detach().requires_grad_() for name, value in leaves(noisy).items()}
            mean = leaves(denoiser(like(x, noisy), level, condition).mean)
            trace = self._traces(mean, x, seeds, train)
        parts = leaves(clean)
        ratio = levels.ratio(level)
        # sigma^2/alpha = ratio^2 alpha; all per entry
        risk = torch.stack(
            [
                (mean[n] - v / expand(levels.alpha(level), v)).pow(2).flatten(1).mean(1)
                + (2 * ratio**2 * levels.alpha(level)).to(v.dtype) * trace[n]
                - (ratio**2).to(v.dtype)
                for n, v in x.items()
            ]
        ).sum(0)
        error = torch.stack([distance(mean[n], parts[n], self.metric) for n in parts]).sum(0).detach()
        return Losses(weighted(self._weight(""), level, risk), level, error)

    def _traces(
        self, mean: dict[str, Tensor], x: dict[str, Tensor], seeds: Tensor, train: bool
    ) -> dict[str, Tensor]:
        """v^T (dD/dx) v per entry of each leaf, [B], the mean over the slices."""
        found = {name: torch.zeros(len(seeds), dtype=v.dtype, device=v.device) for name, v in x.items()}
        for index in range(self.slices):
            v = {n: _signs(seeds, 1 + index * len(x) + i, m) for i, (n, m) in enumerate(mean.items())}
            total = torch.stack([(v[n] * m).sum() for n, m in mean.items()]).sum()
            last = index == self.slices - 1
            pulled = torch.autograd.grad(
                total,
                list(x.values()),
                create_graph=train,
                retain_graph=train or not last,
                allow_unused=True,
                materialize_grads=True,
            )
            for name, gradient in zip(x, pulled, strict=True):
                found[name] = found[name] + (v[name] * gradient).flatten(1).mean(1) / self.slices
        return found


def _signs(seeds: Tensor, stream: int, shape_of: Tensor) -> Tensor:
    """Random signs in the form of a leaf [B, ...], a function of each item's seed and the stream alone."""
    named = bits(~seeds, stream + 1)[:, stream]  # the plain seeds name levels and noise
    count = shape_of[0].numel()
    signs = 1 - 2 * (bits(named, count) & 1)
    return signs.reshape(shape_of.shape).to(shape_of)
