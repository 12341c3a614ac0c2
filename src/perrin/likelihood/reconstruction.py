r"""The last factor of a bound: the data given the state at the clean end, log p(x | z), z = alpha x + sigma noise.

gaussian     p(x | z) = N(z / alpha, (sigma / alpha)^2): a density of continuous data. Its expectation is
             -1/2 log(2 pi e (sigma/alpha)^2) for every entry, whatever the data
lattice      P(v | z) = q(z | v) / sum over the lattice's values u of q(z | u)     (Kingma et al. 2021, eq. 12)
discretised  a Gaussian about the denoiser's mean, gathered into the lattice's bins (Ho et al. 2020, eq. 13). Its
             variance is sigma^2, the chain's last beta, or the denoiser's own where it gives one: a posterior
             of the clean state, that is what a reverse transition to the clean end has
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from perrin.contracts import Lattice
from perrin.denoise.prediction import Condition, Denoiser, Prediction
from perrin.errors import PerrinError
from perrin.likelihood.gaussians import discretised_log_prob
from perrin.likelihood.given import free, noised, total
from perrin.likelihood.lattices import Lattices, by_leaf, indices, placed
from perrin.process import levels
from perrin.process.state import Masks, State, leaves
from perrin.sample.keeping import NOTHING

Reconstruction = Literal["gaussian", "lattice", "discretised"]

_REACH = 9.0  # standard deviations of noise beyond which a value's share is below 1e-17
_SMALLEST = 1e-9  # a standard deviation of zero, in steps: the bin then has all of the mass, or none


class LastFactor:
    """log p(x | z) of all leaves at the clean end's level.

    Args:
        x: states [B, ...] or named leaves; level: of z, finite.
        lattice: of integer data, or name -> lattice; None: continuous.
        reconstruction: the form of the leaves with a lattice, "lattice" by default; the others are "gaussian".
        masks: of the entries; those that are not free add nothing.

    Attributes:
        constant: the gaussian leaves' expectation, nats [B].
        drawn: whether other leaves need draws; evaluates: whether those call the denoiser.

    Raises:
        PerrinError: a form for integer data where no leaf has a lattice, an unknown one, states off
            their lattice.
    """

    def __init__(
        self,
        x: State,
        level: float,
        lattice: Lattices,
        reconstruction: Reconstruction | None,
        masks: Masks = NOTHING,
    ) -> None:
        held = {name: found for name, found in by_leaf(lattice, x).items() if found is not None}
        if reconstruction not in (None, "gaussian", "lattice", "discretised"):
            raise PerrinError(
                f"reconstruction {reconstruction!r} is not known; known: gaussian, lattice, discretised"
            )
        if reconstruction in ("lattice", "discretised") and not held:
            raise PerrinError(
                f"reconstruction {reconstruction!r} is for integer data, and these are continuous: they have no "
                "lattice; 'gaussian' is right for them"
            )
        of = free(x, masks)
        for name, lattice_of_leaf in held.items():  # refuses other data before any evaluation
            indices(_placed(leaves(x)[name], of[name], lattice_of_leaf), lattice_of_leaf)
        self.level = level
        self.lattices = {} if reconstruction == "gaussian" else held
        self.drawn = bool(self.lattices)
        self.evaluates = self.drawn and reconstruction == "discretised"
        each = {n: 0.0 if n in self.lattices else gaussian_log_prob(level, 1) for n in leaves(x)}
        self.constant = total(
            {n: torch.full_like(v, each[n], dtype=torch.float64) for n, v in leaves(x).items()}, of
        )

    def __call__(
        self,
        denoiser: Denoiser,
        clean: State,
        noise: State,
        condition: Condition = None,
        masks: Masks = NOTHING,
    ) -> Tensor:
        """log P of the leaves with a lattice at one draw of z, nats [B] float64."""
        first = next(iter(leaves(clean).values()))
        level = torch.full((len(first),), self.level, dtype=torch.float64, device=first.device)
        z, of = noised(clean, level, noise, masks), free(clean, masks)
        prediction = denoiser(z, level, condition) if self.evaluates else None
        found = torch.zeros_like(level)
        for name, lattice in self.lattices.items():
            x = _placed(leaves(clean)[name], of[name], lattice)
            if prediction is None:
                nats = lattice_log_prob(x, leaves(z)[name], self.level, lattice)
            else:
                nats = discretised_by(prediction, x, self.level, name, lattice)
            found = found + total({name: nats}, of)
        return found


def gaussian_log_prob(level: float, size: int) -> float:
    """E log N(x; z / alpha, (sigma/alpha)^2) over `size` entries, nats: the same for all data."""
    return -0.5 * size * (math.log(2 * math.pi) + 1 - level)


def lattice_log_prob(x: Tensor, z: Tensor, level: float, lattice: Lattice) -> Tensor:
    """log of the share of x among the lattice's values, given z [B, ...]; nats per entry, float64.

    Only values within nine standard deviations of z / alpha are summed: the others weigh less than rounding.
    """
    low, step, count = placed(lattice, x)
    k = indices(x, lattice)
    place = (z.to(torch.float64) / float(levels.alpha(level)) - low) / step  # of z, in steps
    std = float(levels.ratio(level)) / step
    middle = torch.minimum(place.round().clamp(min=0), count - 1)
    reach = min(math.ceil(_REACH * float(std.max())) + 1, int(count.max()))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=x.device)
    others = middle[..., None] + offsets
    outside = (others < 0) | (others > (count - 1)[..., None])
    scores = (-0.5 * ((place[..., None] - others) / std[..., None]) ** 2).masked_fill(outside, -torch.inf)
    return -0.5 * ((place - k) / std) ** 2 - torch.logsumexp(scores, -1)


def discretised_by(prediction: Prediction, leaf: Tensor, level: float, name: str, lattice: Lattice) -> Tensor:
    """log P of the leaf `name` under the discretised Gaussian of a prediction at `level`; nats per entry."""
    mean = leaves(prediction.mean)[name]
    if prediction.variance is None:
        std = torch.full_like(leaf, float(levels.sigma(level)), dtype=torch.float64)
    else:
        std = leaves(prediction.variance)[name].to(torch.float64).clamp(min=0).sqrt()
    step = placed(lattice, leaf)[1]
    return discretised_log_prob(leaf, mean, torch.maximum(std, _SMALLEST * step), lattice)


def _placed(leaf: Tensor, mask: Tensor | None, lattice: Lattice) -> Tensor:
    """The leaf with the lowest value wherever it is not free: filling need not lie on the lattice."""
    return leaf if mask is None else torch.where(mask, leaf, placed(lattice, leaf)[0].to(leaf.dtype))
