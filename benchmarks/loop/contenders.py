"""The same training work by two libraries: diffusers' example loop for unconditional images, and Perrin's step.

Both train one `UNet2DModel` from the same weights to predict the noise of the 1,000-step linear chain, uniformly over
its steps, with AdamW, clipped gradients and an average of the weights.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional

from perrin.denoise import wrap
from perrin.learn import objective
from perrin.learn.laws import uniform_step
from perrin.learn.weighting import simple
from perrin.process import discrete
from perrin.training.ema import PowerEMA

ADAMW = {"lr": 1e-4, "betas": (0.95, 0.999), "weight_decay": 1e-6, "eps": 1e-8}


def network(channels: tuple[int, ...], size: int, colours: int = 1) -> UNet2DModel:
    """Attention at the lowest resolution, one layer a block; always the same weights."""
    torch.manual_seed(0)
    plain = len(channels) - 1
    return UNet2DModel(
        sample_size=size,
        in_channels=colours,
        out_channels=colours,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        norm_num_groups=8,
        attention_head_dim=16,
    )


def _autocast(bfloat16: bool) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext()


class Example:
    """examples/unconditional_image_generation/train_unconditional.py of diffusers, its defaults, with --use_ema."""

    def __init__(self, net: UNet2DModel, bfloat16: bool) -> None:
        self.net, self.bfloat16 = net, bfloat16
        self.noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        self.optimiser = torch.optim.AdamW(net.parameters(), **ADAMW)
        self.rate = get_scheduler("cosine", self.optimiser, num_warmup_steps=500, num_training_steps=10_000)
        self.ema = EMAModel(
            net.parameters(),
            decay=0.9999,
            use_ema_warmup=True,
            inv_gamma=1.0,
            power=0.75,
            model_cls=UNet2DModel,
            model_config=net.config,
        )

    def loss(self, images: Tensor) -> Tensor:
        noise = torch.randn(images.shape)
        times = torch.randint(0, 1000, (len(images),)).long()
        noisy = self.noising.add_noise(images, noise, times)
        with _autocast(self.bfloat16):
            found = self.net(noisy, times).sample
        return functional.mse_loss(found.float(), noise.float())

    def step(self, images: Tensor) -> float:
        loss = self.loss(images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.rate.step()
        self.optimiser.zero_grad()
        self.ema.step(self.net.parameters())
        return loss.detach().item()


class _Unlabelled(nn.Module):
    def __init__(self, net: UNet2DModel) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, time: Tensor, condition: Any = None) -> Tensor:
        found: Tensor = self.net(x, time).sample
        return found


class Perrin:
    """The same by Perrin's denoiser, objective and average, with the optimiser as its trainer makes it."""

    def __init__(self, net: UNet2DModel, bfloat16: bool) -> None:
        self.bfloat16, self.steps = bfloat16, 0
        chain = discrete(DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear").alphas_cumprod)
        self.denoiser = wrap(_Unlabelled(net), "noise", chain)
        self.law, self.weight = uniform_step("ddpm_linear"), simple()
        self.optimiser = torch.optim.AdamW(self.denoiser.parameters(), fused=True, **ADAMW)
        self.ema = PowerEMA(self.denoiser.state_dict(), [0.1])

    def loss(self, images: Tensor) -> Tensor:
        with _autocast(self.bfloat16):
            return objective(self.denoiser, images, law=self.law, weight=self.weight).mean()

    def step(self, images: Tensor) -> float:
        loss = self.loss(images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1
        self.ema.update(self.denoiser.state_dict(), self.steps)
        return float(loss.detach())


CONTENDERS: dict[str, Any] = {"perrin": Perrin, "diffusers": Example}
