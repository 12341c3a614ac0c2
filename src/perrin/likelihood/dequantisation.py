r"""Integer data under a continuous density: a bound of its probability by spreading each value over its bin.

    log P(v) = log of the integral of p over the bin of v
             >= E_q(u | v) [ log p(x + step u) - log q(u | v) ] + sum over entries of log step

with u in (-1/2, 1/2)^d, uniform (log q = 0; Uria et al. 2013, Theis et al. 2016) or learned (Ho et al. 2019,
`variational_dequantisation`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from perrin.contracts import Lattice
from perrin.errors import PerrinError
from perrin.likelihood.items import keys_of
from perrin.likelihood.lattices import Lattices, by_leaf, indices, placed
from perrin.likelihood.result import LogProb
from perrin.process.state import State, leaves, like
from perrin.sample.noise import Key, seed_of, seed_tensor, uniforms

Law: TypeAlias = Callable[[State, dict[str, Tensor]], tuple[dict[str, Tensor], Tensor]]
"""(states, name -> w uniform in (0, 1) [B, ...]) -> (name -> u in (-1/2, 1/2), log q(u | states) [B] nats)."""


class Density(Protocol):
    """A log-density of states: `functools.partial(log_prob, denoiser)`, say, or of `bound`."""

    def __call__(self, x: State, /, *, seeds: Sequence[Key]) -> LogProb: ...


def uniform(x: State, w: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """u uniform over the bin, whose density is one."""
    first = next(iter(w.values()))
    return {name: part - 0.5 for name, part in w.items()}, first.new_zeros(len(first))


@torch.no_grad()
def dequantised(
    density: Density,
    x: State,
    lattice: Lattices,
    *,
    draws: int = 4,
    seeds: Sequence[Key] | None = None,
    law: Law = uniform,
) -> LogProb:
    """A lower bound of log P of integer data, nats per item, from a log-density of continuous states.

    Args:
        density: called `(states, seeds=keys)`; every draw of an item has a key of its own.
        x: states on the lattice, [B, ...] or named leaves; leaves without a lattice stay as they are.
        lattice: `codec.lattice`, or name -> lattice.
        draws: of u, an item; at least 2.
        seeds: a key an item; None: an item's own numbers.
        law: of u: `uniform`, or a fitted `variational_dequantisation.Dequantiser`.

    Returns:
        The mean over the draws, its parts those of the density (their means), `dequantisation` (-log q) and
        `volume of a bin` (sum of log step). The standard error is that of independent draws, each with the density's
        own noise, and never below what the density reports of the latter.

    Raises:
        PerrinError: continuous data (no lattice), states off the lattice, fewer than two draws.
    """
    held = {name: found for name, found in by_leaf(lattice, x).items() if found is not None}
    if not held:
        raise PerrinError(
            "these data are continuous (they have no lattice): dequantisation is for whole numbers; their "
            "log-density is `log_prob` itself"
        )
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 2:
        raise PerrinError(f"draws = {draws!r} must be a whole number of at least 2: one draw has no error")
    parts = leaves(x)
    for name, found in held.items():
        indices(parts[name], found)  # refuses other data
    keys = keys_of(x, seeds)
    results = [
        _draw(density, x, held, [(seed_of(key, "", "bin"), i) for key in keys], law) for i in range(draws)
    ]
    return _combined(results, sum(_log_volume(parts[name], found) for name, found in held.items()))


def _draw(
    density: Density, x: State, held: dict[str, Lattice], keys: list[tuple[int, int]], law: Law
) -> LogProb:
    parts = dict(leaves(x))
    w = {}
    for name in held:
        shape = parts[name].shape
        own = seed_tensor([seed_of(key, name, "bin") for key in keys], parts[name].device)
        w[name] = uniforms(own, math.prod(shape[1:])).reshape(shape)
    u, log_q = law(x, w)
    for name, lattice in held.items():
        step = placed(lattice, parts[name])[1]
        parts[name] = (parts[name].to(torch.float64) + step * u[name]).to(parts[name].dtype)
    return density(like(parts, x), seeds=keys).plus("dequantisation", -log_q.to(torch.float64))


def _log_volume(x: Tensor, lattice: Lattice) -> float:
    """Sum over an item's entries of log step."""
    step = placed(lattice, x)[1]
    return float(torch.log(step).expand(x.shape[1:]).sum())


def _combined(results: list[LogProb], log_volume: float) -> LogProb:
    count = len(results)
    values = torch.stack([r.value for r in results])
    own = torch.stack([r.stderr for r in results]).nan_to_num(0.0).square().mean(0)
    mean = LogProb(
        values.mean(0),
        torch.sqrt(torch.maximum(values.var(0), own) / count),
        torch.stack([r.converged for r in results]).all(0),
        {name: torch.stack([r.parts[name] for r in results]).mean(0) for name in results[0].parts},
        sum(r.evaluations for r in results),
        None if results[0].mismatch is None else torch.stack([_mismatch(r) for r in results]).mean(0),
    )
    return mean.plus("volume of a bin", log_volume)


def _mismatch(result: LogProb) -> Tensor:
    return torch.zeros_like(result.value) if result.mismatch is None else result.mismatch
