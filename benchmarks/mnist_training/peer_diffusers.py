"""Contender: diffusers' `UNet2DModel` with `DDPMScheduler`, trained as its unconditional example
trains it.

AdamW with that example's betas and decay, `EMAModel` with its warm-up, v-prediction on the
squared-cosine schedule of 1,000 steps, classes through `num_class_embeds` with one more entry for
"no class" (a tenth of the labels is dropped), and `DPMSolverMultistepScheduler` (DPM-Solver++ 2M,
as an ODE and as an SDE) to sample.
"""

from __future__ import annotations

from typing import Any

import contest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor
from torch.nn import functional

NO_CLASS = contest.CLASSES


def network(channels: tuple[int, ...], layers: int) -> UNet2DModel:
    """Convolutions at 28 x 28 and 14 x 14, attention at 7 x 7."""
    plain = len(channels) - 1
    return UNet2DModel(
        sample_size=28,
        in_channels=1,
        out_channels=1,
        layers_per_block=layers,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        norm_num_groups=8,
        attention_head_dim=16,
        num_class_embeds=contest.CLASSES + 1,
    )


class Diffusers:
    """See `contest.Contender`."""

    def __init__(
        self,
        channels: list[int] | None = None,
        layers: int = 1,
        batch_size: int = 16,
        prediction: str = "v_prediction",
        drop: float = 0.1,
        sampling_steps: int = 20,
        stochastic_steps: int = 30,
        bfloat16: bool = True,
    ) -> None:
        channels = channels or [24, 48, 112]
        self.settings: dict[str, Any] = {
            "network": f"UNet2DModel {channels}, {layers} layer(s) a block",
            "batch_size": batch_size,
            "prediction": prediction,
            "label_dropout": drop,
            "bfloat16": bfloat16,
        }
        self.batch_size, self.drop = batch_size, drop
        self.bfloat16 = bfloat16
        self.net = network(tuple(channels), layers).to(memory_format=torch.channels_last)
        schedule = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": prediction}
        self.noising = DDPMScheduler(**schedule)
        # Its documentation asks for this clip with the cosine schedule, whose last step holds no signal.
        clip = {"timestep_spacing": "trailing", "lambda_min_clipped": -5.1}
        ode = DPMSolverMultistepScheduler(**schedule, **clip)
        sde = DPMSolverMultistepScheduler(**schedule, **clip, algorithm_type="sde-dpmsolver++")
        self.solvers = {
            f"DPM-Solver++ 2M, {sampling_steps} steps": (ode, sampling_steps),
            f"SDE-DPM-Solver++ 2M, {stochastic_steps} steps": (sde, stochastic_steps),
        }
        self.samplers = tuple(self.solvers)
        weights = list(self.net.parameters())
        self.optimiser = torch.optim.AdamW(weights, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
        self.ema = EMAModel(weights, decay=0.9999, use_ema_warmup=True, power=0.75, foreach=True)

    def parameter_count(self) -> int:
        return sum(weight.numel() for weight in self.net.parameters())

    def step(self, images: Tensor, labels: Tensor, lr: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        labels = torch.where(torch.rand(len(labels)) < self.drop, NO_CLASS, labels)
        noise, times = torch.randn_like(images), torch.randint(0, 1000, (len(images),))
        noisy = self.noising.add_noise(images, noise, times)
        velocity = self.noising.config.prediction_type == "v_prediction"
        target = self.noising.get_velocity(images, noise, times) if velocity else noise
        functional.mse_loss(self.predict(noisy, times, labels), target).backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.ema.step(self.net.parameters())

    def predict(self, noisy: Tensor, times: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            return self.net(noisy.to(memory_format=torch.channels_last), times, labels).sample.float()

    @torch.no_grad()
    def sample(self, labels: Tensor, guidance: float, sampler: str) -> Tensor:
        self.ema.store(self.net.parameters())
        self.ema.copy_to(self.net.parameters())
        images = torch.randn(len(labels), 1, 28, 28)
        solver, steps = self.solvers[sampler]
        solver.set_timesteps(steps)
        for time in solver.timesteps:
            output = self.predict(images, time, labels)
            if guidance != 1:
                free = self.predict(images, time, torch.full_like(labels, NO_CLASS))
                output = free + guidance * (output - free)
            images = solver.step(output, time, images).prev_sample
        self.ema.restore(self.net.parameters())
        return images


if __name__ == "__main__":
    contest.race("diffusers", Diffusers, contest.arguments(__doc__))
