"""How samples are steered, all settled: what guidance does besides its weight, and the denoiser that does it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from perrin.contracts import Codec, Negates
from perrin.denoise.prediction import unconditional
from perrin.denoise.product import ProductDenoiser
from perrin.denoise.tokens import TokenDenoiser
from perrin.design import Denoising, Sampling
from perrin.errors import PerrinError
from perrin.guide import (
    Autoguidance,
    ClassifierFree,
    ClassifierGuidance,
    Energy,
    FeatureReuse,
    Projection,
    Remembered,
    SelfConditioned,
    Tempered,
)
from perrin.guide.contrast import Rescale, check_interval
from perrin.guide.energy import EnergyFunction, name_of
from perrin.guide.projected import as_projection

if TYPE_CHECKING:
    from perrin.model import Model


@dataclass(frozen=True)
class Steering:
    """What guidance does besides its weight.

    Attributes:
        interval: levels within which to guide, None for all; rescale, projected: what changes the guided mean.
        weaker: what to guide away from in the place of the unconditional prediction.
        energy: of clean states, which are drawn with exp(-energy) times their density, about.
    """

    interval: tuple[float, float] | None = None
    rescale: float = 0.0
    projected: Projection | None = None
    weaker: Model | None = None
    energy: EnergyFunction | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """JSON-able, what is not the default alone: for fitted plans, and for provenance."""
        weak = self.weaker
        found = {
            "interval": None if self.interval is None else list(self.interval),
            "rescale": self.rescale or None,
            "projected": None if self.projected is None else asdict(self.projected),
            "weaker": None if weak is None else weak.hash,
            "energy": None if self.energy is None else name_of(self.energy),
        }
        return {name: value for name, value in found.items() if value is not None}


def settled(
    own: Sampling,
    interval: tuple[float, float] | None = None,
    rescale: float | None = None,
    projected: Projection | Mapping[str, Any] | bool | None = None,
    weaker: Model | None = None,
    energy: EnergyFunction | None = None,
) -> Steering:
    """The steering that was asked for; what is None is the model's own.

    Raises:
        PerrinError: an interval that is none, a rescale or a projection out of range.
    """
    low, high = interval or own.interval or (-math.inf, math.inf)
    check_interval((low, high))
    wide = (low, high) == (-math.inf, math.inf)
    amount = own.rescale if rescale is None else Rescale(float(rescale)).amount
    chosen = own.projection if projected is None else as_projection(projected)
    return Steering(None if wide else (float(low), float(high)), amount, chosen, weaker, energy)


def guided(
    model: Model,
    weight: float | Tensor,
    way: Steering,
    classifier: Model | None = None,
    reuse: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> nn.Module:
    """A model's denoiser under guidance that is settled; see `Model.guided`.

    Raises:
        PerrinError: what the model's states cannot be steered by.
    """
    denoiser = model.denoiser
    if isinstance(denoiser, TokenDenoiser | ProductDenoiser):
        what = "tokens" if isinstance(denoiser, TokenDenoiser) else "several leaves"
        _refuse(what, {"classifier": classifier, "reuse": reuse != 1, "energy": way.energy})
        if isinstance(denoiser, TokenDenoiser):
            _refuse(what, {"rescale": way.rescale, "projected": way.projected})
    if classifier is not None:
        _refuse_beside_classifier(way)
        made: nn.Module = ClassifierGuidance(
            _prepared(denoiser, reuse), classifier.classifier, weight, way.interval
        )
    else:
        made = _contrasted(denoiser, model.codec, weight, way, reuse)
    if way.energy is not None:
        made = Energy(made, way.energy, deviation=model.codec.sigma_data)
    return made if temperature == top_p == 1.0 else Tempered(made, temperature=temperature, top_p=top_p)


def _contrasted(
    denoiser: Denoising, codec: Codec, weight: float | Tensor, way: Steering, reuse: int
) -> nn.Module:
    """Under classifier-free guidance, or autoguidance."""
    made = _prepared(denoiser, reuse)
    if not isinstance(weight, Tensor) and weight == 1.0:
        return made
    if way.weaker is None:
        null = codec.null if isinstance(codec, Negates) else unconditional
        return ClassifierFree(
            made, weight, interval=way.interval, rescale=way.rescale, projection=way.projected, null=null
        )
    weak = _prepared(way.weaker.denoiser, 1)
    return Autoguidance(
        made, weak, weight, interval=way.interval, rescale=way.rescale, projection=way.projected
    )


def _prepared(denoiser: Denoising, reuse: int) -> nn.Module:
    """With the memory that its network is made for."""
    if isinstance(denoiser, TokenDenoiser):
        return Remembered(denoiser) if denoiser.timeless else denoiser
    if isinstance(denoiser, ProductDenoiser):
        return SelfConditioned(denoiser) if getattr(denoiser.net, "takes_previous", False) else denoiser
    return denoiser if reuse == 1 else FeatureReuse(denoiser, reuse)


def _refuse(what: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value:
            raise PerrinError(f"{name} is for continuous states of one leaf; this is a model of {what}")


def _refuse_beside_classifier(way: Steering) -> None:
    for name, value in (("rescale", way.rescale), ("projected", way.projected), ("weaker", way.weaker)):
        if value:
            raise PerrinError(
                f"{name} changes guidance by two predictions; a classifier's guidance is by its gradient: give one of both"
            )


def again(item: Mapping[str, Any], weaker: Model | None = None) -> dict[str, Any]:
    """What `Model.sample` was told, from a sample's provenance.

    Raises:
        PerrinError: an energy, which is a function in Python that no file holds.
    """
    if "energy" in item:
        raise PerrinError(
            f"it was drawn with the energy {item['energy']!r}, a function that no file holds; draw it again in Python with "
            "model.sample(energy=...)"
        )
    return {
        "interval": tuple(item.get("interval") or (-math.inf, math.inf)),
        "rescale": item.get("rescale", 0.0),
        "projected": item.get("projected", False),
        "weaker": weaker,
    }
