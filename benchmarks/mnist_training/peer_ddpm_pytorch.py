"""Contender: denoising-diffusion-pytorch, its `classifier_free_guidance` module (the one with
classes).

Its U-Net (linear attention at every resolution), its `GaussianDiffusion` on the cosine schedule of
1,000 steps, `ema-pytorch` (its companion), its own class dropout and its own DDIM sampler
(deterministic, as few steps need).
"""

from __future__ import annotations

from typing import Any

import contest
import torch
from denoising_diffusion_pytorch import classifier_free_guidance as library
from ema_pytorch import EMA
from torch import Tensor


class Unet(library.Unet):
    """The library's network; without guidance its sampler expects two outputs where it gives one (2.3.4)."""

    def forward_with_cond_scale(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        output = super().forward_with_cond_scale(*args, **kwargs)
        return output if isinstance(output, tuple) else (output, output)


class DdpmPytorch:
    """See `contest.Contender`."""

    def __init__(
        self,
        dim: int = 24,
        multipliers: list[int] | None = None,
        batch_size: int = 16,
        objective: str = "pred_v",
        drop: float = 0.1,
        sampling_steps: int = 25,
        bfloat16: bool = True,
    ) -> None:
        multipliers = multipliers or [1, 2, 4]
        self.settings: dict[str, Any] = {
            "network": f"Unet dim {dim} x {multipliers}",
            "batch_size": batch_size,
            "prediction": objective,
            "label_dropout": drop,
            "bfloat16": bfloat16,
        }
        self.batch_size, self.bfloat16 = batch_size, bfloat16
        self.samplers = (f"DDIM, {sampling_steps} steps",)
        net = Unet(dim, contest.CLASSES, cond_drop_prob=drop, dim_mults=tuple(multipliers), channels=1)
        net = net.to(memory_format=torch.channels_last)
        self.diffusion = library.GaussianDiffusion(
            net,
            image_size=28,
            timesteps=1000,
            sampling_timesteps=sampling_steps,
            objective=objective,
            ddim_sampling_eta=0.0,
        )
        self.optimiser = torch.optim.AdamW(net.parameters(), betas=(0.9, 0.99), weight_decay=1e-6)
        # Its warm-up (power 3/4), not the trainer's fixed 0.995: better over a few thousand steps.
        self.ema = EMA(self.diffusion, beta=0.9999, power=0.75, update_after_step=0, update_every=1)

    def parameter_count(self) -> int:
        return sum(weight.numel() for weight in self.diffusion.parameters())

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        # The library takes [0, 1] and maps it to [-1, 1] itself.
        images = ((images + 1) / 2).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            loss = self.diffusion(images, classes=labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.diffusion.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.update()

    @torch.no_grad()
    def sample(self, labels: Tensor, guidance: float, sampler: str) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            images: Tensor = self.ema.ema_model.sample(labels, cond_scale=guidance, rescaled_phi=0.7)
        return images.float() * 2 - 1


if __name__ == "__main__":
    library.tqdm = lambda items, **_: items  # its progress bar has no switch
    contest.race("denoising-diffusion-pytorch", DdpmPytorch, contest.arguments(__doc__))
