"""Contender: Perrin's own parts in the race's loop, as anyone would use them in theirs.

The U-Net on 2 x 2 patches with EDM's preconditioning, the denoising objective with stratified levels, AdamW, a
power-function average of the weights, and DPM-Solver++ 2M on a Karras grid, as an SDE
and as an ODE, to sample.
"""

from __future__ import annotations

from typing import Any

import contest
import torch
from torch import Tensor

from perrin.denoise import wrap
from perrin.guide import ClassifierFree
from perrin.learn import objective
from perrin.learn.laws import lognormal
from perrin.learn.weighting import edm as edm_weight
from perrin.nets.conv_unet import UNet
from perrin.process import edm
from perrin.sample import make_plan, run
from perrin.training.ema import PowerEMA

SIGMA_DATA = 0.616  # of MNIST in [-1, 1]


class Perrin:
    """See `contest.Contender`."""

    def __init__(
        self,
        channels: int = 48,
        multipliers: list[int] | None = None,
        blocks: list[int] | None = None,
        patch: int = 2,
        batch_size: int = 64,
        drop: float = 0.1,
        mean: float = -0.8,
        std: float = 1.2,
        ema: float = 0.05,
        sampling_steps: int = 20,
        stochastic_steps: int = 30,
        bfloat16: bool = True,
    ) -> None:
        net = UNet(
            (1, 28, 28),
            classes=contest.CLASSES,
            channels=channels,
            multipliers=tuple(multipliers or (1, 3)),
            blocks=tuple(blocks or (1, 3)),
            patch=patch,
        )
        self.settings: dict[str, Any] = {
            "network": f"UNet {channels} x {multipliers or [1, 3]}, blocks {blocks or [1, 3]}, patch {patch}",
            "batch_size": batch_size,
            "levels": f"log(sigma/alpha) ~ N({mean}, {std}^2), stratified",
            "label_dropout": drop,
            "ema": ema,
            "bfloat16": bfloat16,
        }
        self.batch_size, self.drop, self.bfloat16, self.ema_std = batch_size, drop, bfloat16, ema
        self.denoiser = wrap(net, "edm", sigma_data=SIGMA_DATA)
        self.law, self.weight = lognormal(mean, std), edm_weight(SIGMA_DATA)
        self.optimiser = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=0.0)
        self.ema = PowerEMA(net.state_dict(), [ema])
        counts = {"dpmpp_2m_sde": stochastic_steps, "dpmpp_2m": sampling_steps}
        self.plans = {
            f"{rule}, {steps} steps": make_plan(rule, edm(0.01, 40.0), steps=steps, grid="karras")
            for rule, steps in counts.items()
        }
        self.samplers = tuple(self.plans)
        self.steps = 0

    def parameter_count(self) -> int:
        return sum(weight.numel() for weight in self.denoiser.parameters())

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        self.optimiser.param_groups[0]["lr"] = lr
        self.denoiser.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            batch = (images, {"label": labels})
            losses = objective(self.denoiser, batch, law=self.law, weight=self.weight, drop=self.drop)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1
        self.ema.update(self.denoiser.net.state_dict(), self.steps)

    def sample(self, labels: Tensor, guidance: float, sampler: str) -> Tensor:
        own = {name: value.clone() for name, value in self.denoiser.net.state_dict().items()}
        self.denoiser.net.load_state_dict(self.ema.averages[self.ema_std])
        self.denoiser.eval()
        guided = ClassifierFree(self.denoiser, guidance)
        first = int(torch.randint(2**31, ()))
        seeds = [(first, index) for index in range(len(labels))]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            drawn = run(
                self.plans[sampler], guided, seeds=seeds, shape=(1, 28, 28), condition={"label": labels}
            )
        self.denoiser.net.load_state_dict(own)
        return drawn


if __name__ == "__main__":
    contest.race("perrin", Perrin, contest.arguments(__doc__))
