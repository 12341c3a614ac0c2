"""The same training work by two libraries: diffusers' example loop for unconditional images, and Perrin's step.

Both train one `UNet2DModel` from the same weights to predict the noise of the 1,000-step linear chain, uniformly over
its steps, with AdamW, clipped gradients and an average of the weights.
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.nn import functional

from perrin.denoise import wrap
from perrin.learn import objective
from perrin.learn.laws import uniform_step
from perrin.learn.weighting import simple
from perrin.nets.foreign_attention import QuickAttention
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
    """examples/unconditional_image_generation/train_unconditional.py of diffusers, its defaults, with --use_ema.

    `compiled` is what `accelerate launch --dynamo_backend inductor` makes of it. `written_out` takes the library's
    attention without PyTorch's fused kernel, which the example has no option for.
    """

    def __init__(
        self, net: UNet2DModel, bfloat16: bool, compiled: bool = False, written_out: bool = False
    ) -> None:
        self.net, self.bfloat16 = net, bfloat16
        self.called = torch.compile(net) if compiled else net
        for part in net.modules():
            if written_out and isinstance(part, Attention):
                part.set_processor(AttnProcessor())
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
            found = self.called(noisy, times).sample
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
    """The same by Perrin's denoiser, objective and average, with the optimiser as its trainer makes it.

    `compiled` is what `training.compile: true` makes of it. `quick` puts the forward pass inside `QuickAttention`, one
    line of a user's own loop.
    """

    def __init__(self, net: UNet2DModel, bfloat16: bool, compiled: bool = False, quick: bool = False) -> None:
        self.bfloat16, self.quick, self.steps = bfloat16, quick, 0
        chain = discrete(DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear").alphas_cumprod)
        self.denoiser = wrap(_Unlabelled(net), "noise", chain)
        self.called = torch.compile(self.denoiser) if compiled else self.denoiser
        self.law, self.weight = uniform_step("ddpm_linear"), simple()
        self.optimiser = torch.optim.AdamW(self.denoiser.parameters(), fused=True, **ADAMW)
        self.ema = PowerEMA(self.denoiser.state_dict(), [0.1])

    def loss(self, images: Tensor) -> Tensor:
        with _autocast(self.bfloat16), QuickAttention() if self.quick else contextlib.nullcontext():
            return objective(self.called, images, law=self.law, weight=self.weight).mean()

    def step(self, images: Tensor) -> float:
        loss = self.loss(images)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        self.steps += 1
        self.ema.update(self.denoiser.state_dict(), self.steps)
        return float(loss.detach())


CONTENDERS: dict[str, Any] = {
    "diffusers": Example,
    "diffusers, compiled": partial(Example, compiled=True),
    "diffusers, AttnProcessor": partial(Example, written_out=True),
    "perrin": Perrin,
    "perrin, compiled": partial(Perrin, compiled=True),
    "perrin, QuickAttention": partial(Perrin, quick=True),
}
HALF_ONLY = (
    "diffusers, AttnProcessor",
    "perrin, QuickAttention",
)  # in float32 the fused kernel is the fast one
