"""The same training by two libraries: diffusers' example for unconditional images, and Perrin's trainer.

Both train one `UNet2DModel` from the same weights on the same folder of pictures to predict the noise of the 1,000-step
linear chain, uniformly over its steps, with AdamW, clipped gradients and an average of the weights. A step is all that
the loop does between two steps: reading the batch, the step itself, the average, the progress bar.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from pictures import Opened
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from perrin.contracts import Batch
from perrin.heap import kept_memory
from perrin.registry import nets
from perrin.training import recipe as recipes
from perrin.training.batches import Portion
from perrin.training.distributed import Group
from perrin.training.loop import Trainer
from perrin.training.setup import prepare

BATCH = 16  # the example's default
STEPS = 10_000  # the end that the learning rate falls to; no contender gets there
ADAMW = {"lr": 1e-4, "betas": (0.95, 0.999), "weight_decay": 1e-6}
CHAIN = {"name": "ddpm_linear"}


def network(channels: tuple[int, ...], size: int, colours: int = 3) -> UNet2DModel:
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


class Example:
    """examples/unconditional_image_generation/train_unconditional.py of diffusers, its defaults, with --use_ema.

    `half` is --mixed_precision bf16, `compiled` what `accelerate launch --dynamo_backend inductor` makes of it. A tracker
    is left out, which would only add to it. `written_out` takes the library's attention without PyTorch's fused kernel,
    which the example has no option for.
    """

    def __init__(
        self, net: UNet2DModel, folder: Path, half: bool, compiled: bool = False, written_out: bool = False
    ) -> None:
        for part in net.modules():
            if written_out and isinstance(part, Attention):
                part.set_processor(AttnProcessor())
        self.accelerator = Accelerator(
            mixed_precision="bf16" if half else "no",
            cpu=True,
            dynamo_backend="inductor" if compiled else None,
        )
        self.noising = DDPMScheduler(num_train_timesteps=1000, beta_schedule="linear")
        optimiser = torch.optim.AdamW(net.parameters(), **ADAMW)
        loader = DataLoader(Opened(folder), batch_size=BATCH, shuffle=True)
        rate = get_scheduler("cosine", optimiser, num_warmup_steps=500, num_training_steps=STEPS)
        self.ema = EMAModel(
            net.parameters(),
            decay=0.9999,
            use_ema_warmup=True,
            inv_gamma=1.0,
            power=0.75,
            model_cls=UNet2DModel,
            model_config=net.config,
        )
        prepared = self.accelerator.prepare(net, optimiser, loader, rate)
        self.net, self.optimiser, self.loader, self.rate = prepared
        self.net.train()
        self.batches = self._batches()
        self.bar = tqdm(total=STEPS, file=open(os.devnull, "w"))  # noqa: SIM115 (open as long as the bar)

    def _batches(self) -> Iterator[Tensor]:
        while True:
            yield from self.loader

    def loss(self, images: Tensor) -> Tensor:
        noise = torch.randn(images.shape)
        times = torch.randint(0, 1000, (len(images),)).long()
        found = self.net(self.noising.add_noise(images, noise, times), times).sample
        return functional.mse_loss(found.float(), noise.float())

    def step(self) -> None:
        images = next(self.batches)
        with self.accelerator.accumulate(self.net):
            loss = self.loss(images)
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimiser.step()
            self.rate.step()
            self.optimiser.zero_grad()
        if self.accelerator.sync_gradients:
            self.ema.step(self.net.parameters())
            self.bar.update(1)
        self.bar.set_postfix(
            loss=loss.detach().item(),
            lr=self.rate.get_last_lr()[0],
            step=self.bar.n,
            ema_decay=self.ema.cur_decay_value,
        )


class Unlabelled(nn.Module):
    """The network as Perrin calls it."""

    def __init__(self, shape: list[int], channels: list[int], classes: int | None = None) -> None:
        super().__init__()
        self.net = network(tuple(channels), shape[-1], shape[0])

    def forward(self, x: Tensor, time: Tensor, condition: Mapping[str, Tensor] | None = None) -> Tensor:
        found: Tensor = self.net(x, time).sample
        return found


nets.register("unet2d", f"{__name__}:Unlabelled")


class Perrin:
    """The same by Perrin's own trainer, as `perrin train` runs it: reading, log, memory, attention.

    `half` is `training.precision: bfloat16`, `compiled` is `training.compile: true`.
    """

    def __init__(self, net: UNet2DModel, folder: Path, half: bool, compiled: bool = False) -> None:
        training = {
            **ADAMW,
            "betas": list(ADAMW["betas"]),
            "steps": STEPS,
            "batch": BATCH,
            "clip": 1.0,
            "ema": [0.1],
            "precision": "bfloat16" if half else "float32",
            "compile": compiled,
            "validation": 0,
        }
        recipe = recipes.validate(
            {
                "format": 1,
                "name": "race",
                "kind": "images",
                "data": {"path": str(folder)},
                "codec": {"labels": False},
                "net": {"name": "unet2d", "channels": list(net.config.block_out_channels)},
                "parameterisation": {"name": "noise", "schedule": CHAIN},
                "objective": {
                    "law": {"name": "uniform_step", "schedule": CHAIN},
                    "weight": {"name": "simple"},
                },
                "training": training,
                "sampling": {"schedule": CHAIN},
            }
        )
        start = {f"net.{name}": value.clone() for name, value in net.state_dict().items()}
        self.bar = tqdm(total=STEPS, file=open(os.devnull, "w"))  # noqa: SIM115 (open as long as the bar)
        self.trainer = Trainer(
            replace(prepare(recipe), start=start), Path(tempfile.mkdtemp()), Group(), self._progress
        )
        self.inside = ExitStack()  # what `Trainer.run` holds around its steps
        self.inside.enter_context(kept_memory())

    def _progress(self, step: int, steps: int, note: str) -> None:
        self.bar.update(1)
        self.bar.set_postfix_str(note)

    def loss(self, images: Tensor) -> Tensor:
        seeds = torch.randint(-(2**63), 2**63 - 1, (len(images),))
        u = torch.rand(len(images), dtype=torch.float64)
        portion = Portion(Batch(images, None, None), seeds, u, list(range(len(images))))
        return self.trainer.losses(portion, slice(0, len(images))).mean()

    def step(self) -> None:
        self.trainer.turn()


CONTENDERS: dict[str, Any] = {
    "diffusers": Example,
    "diffusers, compiled": partial(Example, compiled=True),
    "diffusers, AttnProcessor": partial(Example, written_out=True),
    "perrin": Perrin,
    "perrin, compiled": partial(Perrin, compiled=True),
}
HALF_ONLY = ("diffusers, AttnProcessor",)  # in float32 the fused kernel is the fast one
