r"""How far a learned score is from a gradient field: the antisymmetric share of its Jacobian.

The score of a density is a gradient, so its Jacobian J is symmetric; a network's need not be, and what is not is a
rotation that no density has. The figure is

    |J - J^T|_F / (2 |J|_F)   in [0, 1]:   0 for a gradient field, 1 for a pure rotation

With random signs v, E |J v - J^T v|^2 = |J - J^T|^2 and E |J v|^2 = E |J^T v|^2 = |J|^2, so each probe costs one
product from the right (jvp) and one from the left (vjp), and the Jacobian is never formed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.process.state import State, batch_size, leaves, like, map_leaves
from perrin.sample.noise import normals, seed_of, seed_tensor

Field = Literal["score", "mean"]


def asymmetry(
    denoiser: Denoiser,
    x: State,
    level: Tensor,
    condition: Condition = None,
    *,
    field: Field = "score",
    probes: int = 16,
    seed: int = 0,
) -> Tensor:
    """The antisymmetric share of the Jacobian at each noisy state, [B] float64 in [0, 1].

    Args:
        denoiser: safe under `torch.func.jvp`; x: noisy states [B, ...] or named leaves, unit coordinates.
        level: [B], finite; condition: as the denoiser takes it.
        field: 'score', whose Jacobian at noisy levels is mostly -1/sigma^2, or 'mean', the posterior mean alone.
        probes: random directions; the error of the figure's square falls as one over their number.
        seed: of the probes, which are a function of (seed, place in the batch).

    Returns:
        0 where the Jacobian is zero.

    Raises:
        PerrinError: no probes, an unknown field, or levels that are not finite.
    """
    if probes < 1 or field not in ("score", "mean"):
        raise PerrinError(f"probes = {probes} must be >= 1, and field {field!r} one of: score, mean")
    if not bool(torch.isfinite(level).all()):
        raise PerrinError("the asymmetry of a score is measured at finite levels")

    def function(y: State) -> State:
        found = denoiser(y, level, condition)
        return found.mean if field == "mean" else found.score(y, level)

    pull = torch.func.vjp(function, x)[1]
    count = batch_size(x)
    apart = torch.zeros(count, dtype=torch.float64)
    whole = torch.zeros(count, dtype=torch.float64)
    for index in range(probes):
        v = _signs(x, seed, index)
        right = torch.func.jvp(function, (x,), (v,))[1]
        (left,) = pull(v)
        apart += _squares(map_leaves(torch.sub, right, left))
        whole += 0.5 * (_squares(right) + _squares(left))
    return torch.sqrt(apart / (4 * whole).clamp(min=torch.finfo(torch.float64).tiny))


def _signs(x: State, seed: int, probe: int) -> State:
    """Random signs in the form of x."""
    found = {}
    for name, value in leaves(x).items():
        named = [seed_of((seed, item), name, "probe", probe) for item in range(len(value))]
        draws = normals(seed_tensor(named), value.shape[1:], torch.float64)
        found[name] = torch.where(draws < 0, -1.0, 1.0).to(value)
    return like(found, x)


def _squares(state: State) -> Tensor:
    """Squared norm of each item over all leaves, [B] float64 on the CPU."""
    parts = [v.detach().double().pow(2).flatten(1).sum(1).cpu() for v in leaves(state).values()]
    return torch.stack(parts).sum(0)
