"""The held-out loss: the objective on held-out items with fixed noise, so that two values differ by the weights alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from perrin.contracts import Dataset
from perrin.denoise.adapter import Adapter
from perrin.learn.denoising import Denoising, stratified
from perrin.learn.learned_weight import companion
from perrin.sample.noise import seed_of, seed_tensor

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
        self.state = batch.state.repeat(repeats, *[1] * (batch.state.dim() - 1))
        self.condition = {
            n: v.repeat(repeats, *[1] * (v.dim() - 1)) for n, v in (batch.condition or {}).items()
        } or None
        total = len(self.state)
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
        for rows in torch.arange(len(self.state)).split(128):
            condition = {n: v[rows].to(device) for n, v in (self.condition or {}).items()} or None
            losses = self.objective(
                replaced, self.state[rows].to(device), condition, self.seeds[rows], self.u[rows]
            )
            total += float(losses.value.sum())
        denoiser.train(was)
        return total / len(self.state)


class _Replaced(nn.Module):
    """The same denoiser with other weights."""

    def __init__(self, denoiser: Adapter, weights: dict[str, Tensor]) -> None:
        super().__init__()
        self.denoiser, self.weights = denoiser, weights

    def forward(self, *arguments: object) -> object:
        return torch.func.functional_call(self.denoiser, self.weights, arguments)
