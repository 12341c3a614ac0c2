r"""States of which some entries are given: what a likelihood is of, and what a denoiser is shown of the others.

    free       alpha clean + sigma noise    valid and not observed: the likelihood is of these
    observed   clean, at every level        the likelihood is conditional on these
    neither    alpha clean                  filling, which the item does not have

as in training (`learn.denoising`) and in sampling (`sample.keeping`). log p(free | observed) has a prior, a divergence, a
diffusion and a reconstruction of its free entries alone.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.process import gaussian
from perrin.process.levels import alpha, expand
from perrin.process.state import Masks, State, leaves, like, map_leaves, spread
from perrin.sample.keeping import check_masks

Free: TypeAlias = dict[str, Tensor | None]
"""Leaf -> bool that broadcasts against it: its free entries; None: all."""


def checked(masks: Masks | None, x: State) -> Masks:
    """`valid` and `observed` on the device of the states `x`; which entries are learned is of no matter here.

    Raises:
        PerrinError: masks of other leaves or shapes.
    """
    masks = Masks() if masks is None else Masks(masks.valid, masks.observed)
    parts = leaves(x)
    for mask in (masks.valid, masks.observed):
        for name in {} if mask is None else leaves(mask):
            if name not in parts:
                raise PerrinError(f"a mask is of leaf {name!r}; the state has {', '.join(parts)}")
    for name, value in parts.items():
        check_masks(name, tuple(value.shape), masks.of(name))
    device = next(iter(parts.values())).device
    return masks.map(lambda mask: mask.to(device, torch.bool))


def free(x: State, masks: Masks) -> Free:
    """Which entries of every leaf of `x` are valid and not observed."""
    found: Free = {}
    for name, value in leaves(x).items():
        mask = masks.of(name).learned
        found[name] = None if mask is None else spread(mask, value)
    return found


def counts(x: State, masks: Masks) -> Tensor:
    """How many entries of every item are free, [B] float64."""
    return total(map_leaves(torch.ones_like, x), free(x, masks))


def total(nats: State, of: Free) -> Tensor:
    """The sum over leaves and free entries of something said of every entry, [B] float64."""
    sums = []
    for name, value in leaves(nats).items():
        mask, wide = of[name], value.to(torch.float64)
        sums.append((wide if mask is None else torch.where(mask, wide, 0.0)).flatten(1).sum(1))
    return torch.stack(sums).sum(0)


def noised(clean: State, level: Tensor, noise: State, masks: Masks) -> State:
    """States at `level` [B] as a denoiser is shown them."""
    return filled(map_leaves(lambda c, z: gaussian.marginal(c, level, z), clean, noise), clean, level, masks)


def filled(noisy: State, clean: State, level: Tensor | None, masks: Masks) -> State:
    """`noisy` with what is not free as a denoiser is shown it at `level` [B]; without a level as it is in `clean`."""
    of, parts, found = free(clean, masks), leaves(noisy), {}
    for name, value in leaves(clean).items():
        here, mask, observed = parts[name], of[name], masks.of(name).observed
        rest = value.to(here.dtype)
        if level is not None:
            rest = expand(alpha(level), rest) * rest
        if observed is not None:
            assert isinstance(observed, Tensor)  # of one leaf
            rest = torch.where(spread(observed, rest), value.to(here.dtype), rest)
        found[name] = here if mask is None else torch.where(mask, here, rest)
    return like(found, clean)
