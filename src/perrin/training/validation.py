"""The held-out loss: the objective on held-out items with fixed noise, so that two values differ by the weights alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perrin.contracts import Dataset
from perrin.denoise.adapter import Adapter
from perrin.learn.denoising import Denoising, Losses, stratified
from perrin.learn.learned_weight import companion
from perrin.sample.noise import seed_of, seed_tensor
from perrin.training.batches import mapped

if TYPE_CHECKING:
    from perrin.training.setup import Setup

MOST = 512
"""Evaluations of the network in a pass; small sets are repeated with other noise, large ones cut."""


class Validation:
    """A fixed batch of held-out items with fixed levels and noise."""

    def __init__(self, dataset: Dataset, setup: Setup, seed: int) -> None:
        count = min(len(dataset), MOST)
        rows = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))[:count].tolist()
        batch = (setup.reader or setup.codec).encode([dataset[i] for i in rows])
        repeats = max(1, MOST // count)
        self.batch = mapped(batch, lambda v: v.repeat(repeats, *[1] * (v.dim() - 1)))
        total = repeats * count
        self.seeds = seed_tensor([seed_of((seed, i), "", "validation") for i in range(total)])
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        self.u = stratified(0.5, order, total)
        objective = setup.objective
        if isinstance(objective, Denoising):
            learned = companion(objective)  # every condition as it was given, and a weight that stands still
            objective = replace(objective, drop=0.0, weight=learned.base if learned else objective.weight)
        self.objective = objective

    @torch.no_grad()
    def of(self, denoiser: Adapter, weights: dict[str, Tensor]) -> float:
        """The mean loss of the denoiser's network with these weights; its own are untouched."""
        device = next(iter(weights.values())).device
        was = denoiser.training
        denoiser.eval()
        replaced = _Replaced(denoiser, {f"net.{n}": v for n, v in weights.items()})
        total = 0.0
        for rows in torch.arange(len(self.u)).split(128):
            total += float(self._losses(replaced, rows, device).value.sum())
        denoiser.train(was)
        return total / len(self.u)

    def _losses(self, denoiser: _Replaced, rows: Tensor, device: torch.device) -> Losses:
        state, condition, masks = mapped(self.batch, lambda v: v[rows].to(device))
        given = (denoiser, state, condition, self.seeds[rows], self.u[rows])
        if masks is not None and isinstance(self.objective, Denoising):
            return self.objective(*given, masks)
        return self.objective(*given)


class _Replaced(nn.Module):
    """The same denoiser with other weights."""

    def __init__(self, denoiser: Adapter, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.denoiser, self.weights = denoiser, weights

    def forward(self, *arguments: object) -> object:
        return torch.func.functional_call(self.denoiser, self.weights, arguments)
