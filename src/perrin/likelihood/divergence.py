r"""The divergence of a vector field, item by item.

    exact        div F = sum_i dF_i/dx_i, one reverse pass per entry
    stochastic   div F = E[v^T (dF/dx) v] over probes v of zero mean and unit covariance: signs (rademacher, of
                 least variance) or normals (gaussian)

Hutchinson 1990; Grathwohl et al. 2019 (arXiv:1810.01367): the probes are held along a whole trajectory, so
that what is integrated is smooth. A probe is named by its item's key, never by the place in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from perrin.errors import PerrinError
from perrin.sample.noise import Key, bits, normals, seed_of, seed_tensor

Divergence = Literal["exact", "rademacher", "gaussian"]


def make_probes(
    kind: Divergence, count: int, keys: Sequence[Key], entries: int, device: torch.device
) -> Tensor | None:
    """Probes float64 [B, count, entries]; None for the exact divergence.

    Raises:
        PerrinError: an unknown kind, or fewer than one probe.
    """
    if kind == "exact":
        return None
    if kind not in ("rademacher", "gaussian"):
        raise PerrinError(f"divergence {kind!r} is not known; known: exact, rademacher, gaussian")
    if count < 1:
        raise PerrinError(f"probes = {count}: a stochastic divergence takes at least 1, and 2 for its error")
    drawn = []
    for number in range(count):
        seeds = seed_tensor([seed_of(key, "", "divergence", number) for key in keys], device)
        if kind == "gaussian":
            drawn.append(normals(seeds, (entries,), torch.float64))
        else:
            drawn.append(torch.where(bits(seeds, entries) < 0, -1.0, 1.0).to(torch.float64))
    return torch.stack(drawn, 1)


def value_and_divergence(
    function: Callable[[Tensor], Tensor], x: Tensor, probes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """F(x) and its divergence, whatever the gradient mode outside.

    Args:
        function: [B, d] -> [B, d], each item a function of itself alone.
        x: [B, d].
        probes: [B, K, d], or None: exact.

    Returns:
        F [B, d], and the divergence [B, 1], or one estimate per probe [B, K]; both detached.

    Raises:
        PerrinError: F carries no gradient.
    """
    with torch.enable_grad():
        y = x.detach().clone().requires_grad_(True)
        value = function(y)
        if probes is None:
            columns = [_pull(value[:, i], y)[:, i] for i in range(x.shape[1])]
            return value.detach(), torch.stack(columns, 1).sum(1, keepdim=True)
        found = [(_pull(value * probe, y) * probe).sum(1) for probe in probes.unbind(1)]
    return value.detach(), torch.stack(found, 1)


def _pull(output: Tensor, y: Tensor) -> Tensor:
    """The gradient of each item's sum: items do not mix, so it is a row of the gradient of the whole sum."""
    gradient = None
    if output.requires_grad:
        (gradient,) = torch.autograd.grad(output.sum(), y, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise PerrinError(
            "the denoiser's mean carries no gradient of the state, which a divergence needs; "
            "it must not detach, nor compute under torch.no_grad"
        )
    return gradient
