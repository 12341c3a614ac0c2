"""A `Model` whose parts lie in a folder of the layout of diffusers, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from os.path import abspath
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perrin.contracts import Outlines
from perrin.errors import PerrinError
from perrin.fitted import PLANS
from perrin.likelihood.probability_flow import Endpoint
from perrin.model import Model
from perrin.sample import Plan
from perrin.samples import Samples
from perrin.systems.latent.beginning import drawn
from perrin.systems.latent.cascade import after
from perrin.systems.latent.codec import LatentCodec
from perrin.systems.latent.control import with_control
from perrin.systems.latent.editing import edit
from perrin.systems.latent.flowing import along_flow
from perrin.systems.latent.lesser import lesser
from perrin.systems.latent.lora import with_lora
from perrin.systems.latent.noise_tables import BySize
from perrin.systems.latent.offloading import Visits
from perrin.systems.latent.placing import (
    Placed,
    chosen,
    components,
    convolves,
    in_channels_last,
    put_under,
)
from perrin.systems.latent.scales import settled
from perrin.systems.latent.seamless import seamless
from perrin.systems.latent.shortage import enough_to_draw
from perrin.systems.latent.sizing import of_size
from perrin.systems.latent.tiles import tiled


class Pretrained(Model):
    """A model whose parts lie in a folder of another library's layout.

    Attributes:
        parts: the networks beside the denoiser's: autoencoder, text encoders.
        visits: of weights that are on the device only while they are used. placed: why it computes as it does.
        by_size: what moves the levels that are sampled with the size of the picture; None: they stay.

    What changes it makes another model, which shares the weights that are the same; `changes` does it again.
    """

    parts: list[nn.Module]
    by_size: BySize | None = None
    visits: Visits | None = None
    placed: Placed = Placed()

    @property
    def device(self) -> torch.device:
        """Where its states are computed, also where weights only visit it."""
        return super().device if self.visits is None else self.visits.device

    @property
    def plans(self) -> Path | None:
        """The folder of the plans that were fitted to it, beside its own, which stays as it is."""
        if self.folder is None:
            return None
        place = Path(abspath(self.folder))
        return place.with_name(f"{place.name}.perrin") / PLANS

    @property
    def chosen(self) -> str:
        """How it computes and why, in a line."""
        return chosen(self)

    def to(self, device: str | torch.device) -> Pretrained:
        """Move all networks, those of the model before it too; weights that visit a device visit this one from then on."""
        if self.visits is not None:
            self.visits.end()
            self.visits.device = torch.device(device)
            return self
        for part in self.parts:
            part.to(device)
        before = getattr(self.codec, "before", None)
        if before is not None:
            before.model.to(device)
        super().to(device)
        return self

    def under(self, visits: Visits) -> Pretrained:
        """Keep the weights off the device, which they visit from now on."""
        self.visits = visits
        put_under(self, visits)
        return self

    def channels_last(self) -> Pretrained:
        """Keep the channels of convolutions last in memory, as a GPU's kernels for them read; other networks stay."""
        if self.visits is not None:
            self.visits.end()
        found = [part for part in components(self) if convolves(part)]
        for part in found:
            in_channels_last(part)
        if self.visits is not None:
            self.under(self.visits)  # whose memory is pinned
        self.placed = replace(self.placed, formats=bool(found))
        return self

    def compile(self, **options: Any) -> Pretrained:
        """Compile the networks of the denoiser with `torch.compile`, as `Model.compile`; a changed model is not compiled.

        Raises:
            PerrinError: weights that come block by block, which a compiled network does not know of.
        """
        if self.visits is not None and self.visits.way == "layers":
            raise PerrinError("a network whose weights come block by block cannot be compiled; offload parts")
        for net in self.denoiser.net.children():
            for part in net if isinstance(net, nn.ModuleList) else [net]:
                part.compile(**{"dynamic": False, **options})
        self.placed = replace(self.placed, compiled=True)
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
        """The model under a ControlNet, or one more: `sample` then takes `control`, a picture, and `control_scale`.

        Of several ControlNets each adds what it sees to the features: give lists with a picture, and a scale, for each.

        Raises:
            PerrinError: no folder of a ControlNetModel, one of another model, a model that is no U-Net of texts.
        """
        made = with_control(self, folder)
        return made if self.visits is None else made.under(self.visits)

    def after(self, base: Model) -> Pretrained:
        """The model of a cascade: what it enlarges is drawn first, from `base`, for the same prompt.

        `sample` then takes `before`, how the base is drawn from, such as `{"steps": 20, "guidance": 7}`. A base may come
        after another itself.

        Raises:
            PerrinError: a model that enlarges nothing, or has a base already; a base of no pictures, or whose size does not
                fit.
        """
        return after(self, base)

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

    def weaker(self, place: Model | str | Path) -> Model:
        """As `Model.weaker`: another folder of the same kind, whose texts are encoded as this one's.

        Raises:
            PerrinError: a model of other states, classes or texts, or a file.
        """
        return super().weaker(lesser(self, place))

    def _flow(
        self, carry: Callable[..., Endpoint], state: Tensor, label: Any, options: dict[str, Any]
    ) -> Endpoint:
        if isinstance(self.codec, LatentCodec):
            return along_flow(self, self.codec, carry, state, label, options)
        return super()._flow(carry, state, label, options)

    def sample(
        self,
        n: int = 1,
        *,
        strength: float | Sequence[float | None] | None = None,
        plan: Plan | Sequence[Plan | None] | None = None,
        **asked: Any,
    ) -> Samples:
        """As `Model.sample`, and with what `LatentCodec.outline` takes: prompt, negative, image, mask, control, ...

        Args:
            strength: of an `image`: the share of the plan that is run from the noised image on, one for all or a list; by
                default .6, of a model that fills holes 1, which is to begin at noise.
            plan: with an image and without a strength it is run as it is, from the image noised to its first level.
            guidance: of a network with guidance in its weights (FLUX dev) the scale that it is told.
            true_guidance: of such a network the weight of guidance by two evaluations, away from `negative`.
        """
        if asked.get("length") is not None:
            raise PerrinError("length is for models of tokens alone, which this model is not")
        told = settled(getattr(self.codec, "distilled", None), asked)
        if self.by_size is not None:
            _ = self.hash  # which provenance says: made once, and not for every size
        with enough_to_draw(self, told):
            return drawn(of_size(self, told), n, strength, plan, told)

    def edit(
        self,
        image: Any,
        *,
        mask: Any = None,
        label: Any = "none",
        strength: float | None = None,
        guidance: float | None = None,
        samples: int = 4,
        method: str | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
        steps: int | None = None,
        solver: str | None = None,
        batch: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        prompt: str | None = None,
        negative: str | None = None,
        true_guidance: float | None = None,
        height: int | None = None,
        width: int | None = None,
    ) -> Samples:
        """Draw over a part of a photo of any size, or over all of it by `strength`.

        Args:
            image: a file, uint8 pixels [H, W, 3] or [H, W], or a PIL image.
            mask: one of the same size, white (or bool, True) where it is drawn over; of `decoded`, which has the photo's
                size, nothing else changes, to the bit.
            label, prompt, negative, guidance, true_guidance, seed, steps, solver, batch, progress: as in `sample`.
            strength: the share of the plan that is run from the noised photo on; with a mask 1 by default, without .6.
            height, width: in pixels, of what is drawn: by default about the model's own, see `viewing`.
            method, settings: of models of pixels alone, which are edited as `Model.edit` does and take no prompt.

        Raises:
            PerrinError: a mask of another size, a strength that is none, a model that enlarges pictures.
        """
        own: dict[str, Any] = {
            "prompt": prompt, "negative": negative, "true_guidance": true_guidance, "height": height, "width": width,
        }  # fmt: skip
        shared: dict[str, Any] = {
            "mask": mask, "label": label, "strength": strength, "guidance": guidance, "samples": samples, "seed": seed,
            "steps": steps, "solver": solver, "batch": batch, "progress": progress,
        }  # fmt: skip
        if not isinstance(self.codec, Outlines):
            _refuse(own, "is not known to this model, of pixels and without texts")
            return super().edit(image, method=method, settings=settings, **shared)
        _refuse(
            {"method": method, "settings": settings}, "is of models of pixels; a latent model takes strength"
        )
        return edit(self, image, **shared, **own)

    def plan(
        self,
        solver: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        fitted: bool = True,
        *,
        height: int | None = None,
        width: int | None = None,
    ) -> Plan:
        """As `Model.plan`, of pictures of a size: some models (FLUX) sample other levels for larger pictures."""
        own = of_size(self, {"height": height, "width": width})
        return super(Pretrained, own).plan(solver, steps, guidance, fitted)

    def save(
        self, folder: str | Path, card: str | None = None, half: bool = False, *, overwrite: bool = False
    ) -> Path:
        """Write a folder in the layout of diffusers with what was merged into the model, which diffusers loads.

        Components that were not changed are copied as they are; one with a LoRA in it keeps its precision; a ControlNet
        becomes a component.

        Args:
            card: the README.md; by default one that says what was merged.
            half: refused: weights are saved in the precision that they have.
            overwrite: replace a model that is there.

        Raises:
            PerrinError: its own folder, one in which something is, changes that no configuration says (seamless, tiled),
                a model that was opened in a lower precision than its folder's.
        """
        from perrin.systems.latent.exporting.merged import write_merged  # which knows this class

        if half:
            raise PerrinError(
                "a pretrained folder keeps the precision that it has; half is for Perrin's own models"
            )
        return write_merged(self, Path(folder), card, overwrite)


def _refuse(given: Mapping[str, Any], why: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise PerrinError(f"{name} {why}")
