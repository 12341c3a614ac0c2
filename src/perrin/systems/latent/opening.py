"""A folder in the diffusers layout as a `Model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from perrin.denoise.wrapped import wrap
from perrin.design import Design
from perrin.errors import PerrinError
from perrin.model import Model
from perrin.registry import schedules
from perrin.restoration.strength import STRENGTH, starting
from perrin.sample import Plan
from perrin.samples import Samples
from perrin.systems.latent.clipped import Clipped
from perrin.systems.latent.control import with_control
from perrin.systems.latent.families import family, sampling
from perrin.systems.latent.layout import read
from perrin.systems.latent.lora import with_lora
from perrin.systems.latent.seamless import seamless
from perrin.systems.latent.tiles import tiled


class Pretrained(Model):
    """A model whose parts lie in a folder of another library's layout.

    Attributes:
        parts: the networks beside the denoiser's: autoencoder, text encoders.

    What changes it makes another model, which shares the weights that are the same; `changes` does it again.
    """

    parts: list[nn.Module]

    def to(self, device: str | torch.device) -> Pretrained:
        """Move all networks."""
        for part in self.parts:
            part.to(device)
        super().to(device)
        return self

    def with_lora(self, path: str | Path, scale: float = 1.0) -> Pretrained:
        """The model with a LoRA merged into its weights, W + scale (alpha / rank) B A; this one stays as it is.

        Args:
            path: a safetensors file of diffusers, peft or kohya's scripts, for the network, the text encoders or both.
            scale: how much it counts; several LoRAs are added one after another.

        Raises:
            PerrinError: one that does not fit: the first name that does not, and what the model has.
        """
        return with_lora(self, path, scale)

    def with_control(self, folder: str | Path) -> Pretrained:
        """The model under a ControlNet: `sample` then takes `control`, a picture, and `control_scale`.

        Raises:
            PerrinError: no folder of a ControlNetModel, one of another model, a model that is no U-Net of texts.
        """
        return with_control(self, folder)

    def seamless(self, across: bool = True, down: bool = True) -> Pretrained:
        """The model of pictures whose left and right borders (`across`), and upper and lower (`down`), fit each other.

        Raises:
            PerrinError: a network that knows positions.
        """
        return seamless(self, across, down)

    def tiled(self, pixels: int = 512) -> Pretrained:
        """The model whose autoencoder works on tiles of so many pixels, which bounds its memory.

        Raises:
            PerrinError: tiles that are no multiple of what the autoencoder halves.
        """
        return tiled(self, pixels)

    def sample(
        self, n: int = 1, *, strength: float | None = None, plan: Plan | None = None, **asked: Any
    ) -> Samples:
        """As `Model.sample`, and with what `LatentCodec.outline` takes: prompt, negative, image, mask, control, ...

        Args:
            strength: of an `image`: the share of the plan that is run from the noised image on; by default .6, of a model
                that fills holes 1, which is to begin at noise.
            plan: with an image and without a strength it is run as it is, from the image noised to its first level.
        """
        if strength is None and (plan is not None or asked.get("image") is None):
            return super().sample(n, plan=plan, **asked)
        if asked.get("image") is None:
            raise PerrinError("strength is how far samples may leave an image; give image")
        fills = getattr(self.codec, "inpaints", False)
        far = (1.0 if fills else STRENGTH) if strength is None else float(strength)
        told = {name: asked.pop(name, None) for name in ("solver", "steps")}
        if plan is not None and any(value is not None for value in told.values()):
            raise PerrinError(
                "a plan holds its own solver and steps; give either a plan, or solver and steps"
            )
        whole = plan or self.plan(told["solver"], told["steps"], asked.get("guidance"), fitted=False)
        if not (fills and far == 1):
            asked["begin"] = True
        return super().sample(n, plan=starting(whole, far), **asked)

    def save(self, folder: str | Path, card: str | None = None, half: bool = False) -> Path:
        """Refused: the weights have a folder already."""
        raise PerrinError(f"this model lies in {self.folder}, which stays as it is; copy that folder")


def load_pretrained(
    folder: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype | None = None
) -> Pretrained:
    """The model of a folder in the diffusers layout.

    Args:
        dtype: of the networks; by default float32 on the CPU and bfloat16 elsewhere.

    Raises:
        PerrinError: a pipeline or a component that is not known, missing files, pickles, code.
    """
    folder = Path(folder)
    layout = read(folder)
    kind = dtype or (torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16)
    parts = family(layout)(layout, kind)
    trained = parts.trained
    module = wrap(parts.net, trained.parameterisation, schedules.build(trained.schedule))
    if parts.clipped:
        module = Clipped(module.net, module.parameterisation)
    design = Design(
        {"name": type(parts.net).__name__},
        {"name": trained.parameterisation, "schedule": trained.schedule},
        {"kind": parts.codec.kind, "config": parts.codec.config()},
    )
    about: dict[str, Any] = {"name": folder.name, "pipeline": layout.pipeline, "dtype": str(kind)}
    model = Pretrained(design, module, parts.codec, sampling(parts), folder, about)
    model.parts = parts.modules
    model.to(device)
    return model
