r"""Learned dequantisation: a law q(u | x) of the place in the bin that a model finds likely (Ho et al. 2019).

    u = sigmoid(m(x) + s(x) logit(w)) - 1/2,   w uniform in (0, 1)
    log q(u | x) = log of the logistic density of mean m and scale s at y = logit(u + 1/2), + log |dy/du|

m and log s come from a network of x. At its start, where both are zero, u is uniform: it begins as uniform
dequantisation and is fitted to maximise E[log p(x + step u) - log q(u | x)] with the continuous-time bound.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from perrin.contracts import Lattice
from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.likelihood.lattices import indices, placed
from perrin.likelihood.transitions import rate
from perrin.process import levels
from perrin.process.state import State
from perrin.sample.noise import bits, normals, seed_of, seed_tensor, uniforms

_WIDEST = 5.0  # |log s| at most: beyond, all mass lies at an end or at one point of the bin


class Dequantiser(nn.Module):
    """q(u | x) for tensor states; a `law` of `dequantisation.dequantised`.

    Args:
        net: `(x, time, condition) -> [B, 2 C, ...]`: m and log s along the first axis of a state [C, ...], zero at
            its start (`nets.UNet(shape, out_channels=2 C)`, `nets.MLP(shape, out_shape=(2 C, ...))`).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: State, w: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        """(u in (-1/2, 1/2) by the name of the leaf, log q(u | x) [B] nats); x [B, C, ...], w in (0, 1) likewise."""
        if not isinstance(x, Tensor):
            raise PerrinError("a learned dequantiser takes tensor states; give each leaf its own")
        weight = next(self.net.parameters())
        output = self.net(x.to(weight.dtype), torch.zeros(len(x), dtype=weight.dtype, device=x.device), None)
        m, log_s = output.to(torch.float64).chunk(2, dim=1)
        log_s = log_s.clamp(-_WIDEST, _WIDEST)
        e = torch.logit(w[""])
        y = m + log_s.exp() * e
        # log q = log of the logistic density of e, - log s, - log |du/dy|
        log_q = logsigmoid(e) + logsigmoid(-e) - log_s - logsigmoid(y) - logsigmoid(-y)
        return {"": torch.sigmoid(y) - 0.5}, log_q.flatten(1).sum(1)


def fit_dequantiser(
    dequantiser: Dequantiser,
    denoiser: Denoiser,
    data: Callable[[int], tuple[Tensor, Condition]],
    lattice: Lattice,
    *,
    steps: int = 1000,
    learning_rate: float = 1e-3,
    seed: int = 0,
    level_range: tuple[float, float] = (-10.0, 12.4),
) -> list[float]:
    """Fit a dequantiser to a model by Adam; the denoiser stays as it is.

    Args:
        data: step -> (states [B, ...] on the lattice, condition).
        lattice: `codec.lattice`.
        steps: gradient steps; learning_rate: at their start, falling linearly to zero.
        seed: names all draws; level_range: of the bound.

    Returns:
        The loss of every step: minus the bound's part that depends on u, nats per item, one level an item.

    Raises:
        PerrinError: states off the lattice, a loss that is not finite.
    """
    parameters = list(dequantiser.parameters())
    optimiser = torch.optim.Adam(parameters, learning_rate)
    losses = []
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        x, condition = data(step)
        indices(x, lattice)  # refuses other data
        loss = _loss(dequantiser, denoiser, x, condition, lattice, seed_of((seed, step)), level_range)
        if not bool(torch.isfinite(loss)):
            raise PerrinError(
                f"the loss of the dequantiser is {float(loss)} at step {step}; lower learning_rate"
            )
        # gradients of these parameters alone: the denoiser's are left untouched
        for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = slope
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


def _loss(
    dequantiser: Dequantiser,
    denoiser: Denoiser,
    x: Tensor,
    condition: Condition,
    lattice: Lattice,
    seed: int,
    level_range: tuple[float, float],
) -> Tensor:
    """E[log q - log p] of a batch with levels stratified over it, up to what does not depend on u."""
    count, size = len(x), x[0].numel()
    named = bits(seed_tensor([seed], x.device), 2 * count + 1)[0]
    w = uniforms(named[:count], size).reshape(x.shape)
    noise = normals(named[count : 2 * count], x.shape[1:], x.dtype)
    shift = uniforms(named[-1:], 1)[0]
    low, high = level_range
    index = torch.arange(count, device=x.device, dtype=torch.float64)
    level = low + (high - low) * ((index + shift) / count)
    u, log_q = dequantiser(x, {"": w})
    spread = (x.to(torch.float64) + placed(lattice, x)[1] * u[""]).to(x.dtype)
    diffusion = (high - low) * rate(denoiser, spread, level, noise, condition)
    prior = 0.5 * float(levels.alpha(low)) ** 2 * spread.to(torch.float64).square().flatten(1).sum(1)
    nats: Tensor = diffusion + prior + log_q
    return nats.mean()
