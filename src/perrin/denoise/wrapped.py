"""A denoiser from anyone's network: the adapter between unit coordinates and what the network was made for.

Network time and network scale live here and nowhere else. Coefficients are float64 and are cast once, to the
dtype of the state; the network may run in any precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from perrin.denoise import parameterisation as _parameterisation
from perrin.denoise.adapter import Adapter, Function
from perrin.denoise.ahead import AtLevel, later
from perrin.denoise.parameterisation import Parameterisation
from perrin.denoise.prediction import Condition, Prediction
from perrin.denoise.tokens import TokenDenoiser
from perrin.denoise.until import UNTIL, next_stop
from perrin.errors import PerrinError
from perrin.process.categorical import Categorical
from perrin.process.levels import expand
from perrin.process.schedule import Schedule
from perrin.process.state import State, single


class Scaled(Adapter):
    """A network as `(x, level, condition) -> its raw output`: what denoisers and classifiers have in common."""

    def __init__(self, net: nn.Module, parameterisation: Parameterisation) -> None:
        super().__init__(net)
        self.parameterisation = parameterisation

    @property
    def takes_until(self) -> bool:
        """Whether the network is told where a step ends; see `denoise.until`."""
        return bool(getattr(self.net, "takes_until", False))

    def output(self, x: Tensor, level: Tensor, condition: Condition = None) -> Tensor:
        """`net(scale x, time, condition)` at `x` [B, ...] in unit coordinates, `level` [B], in the dtype of x."""
        level, kind = level.to(torch.float64), self._precision(x)
        if self.takes_until:
            condition = {**(condition or {}), UNTIL: self._time(x, next_stop(level, condition), kind)}
        scale = expand(self.parameterisation.scale(level), x)
        return self._output(x, scale, self._time(x, level, kind), kind, condition)

    def _output(
        self, x: Tensor, scale: Tensor | None, time: Tensor, kind: torch.dtype, condition: Condition
    ) -> Tensor:
        """`output` of a network of dtype `kind`, by a scale [B, 1, ...], None for one, and a time [B]."""
        scaled = x if scale is None else scale * x
        found: Tensor = self.net(scaled if scaled.dtype == kind else scaled.to(kind), time, condition)
        return found if found.dtype == x.dtype else found.to(x.dtype)

    def _time(self, x: Tensor, level: Tensor, kind: torch.dtype) -> Tensor:
        """What the network is told of levels float64 [B]."""
        # a time rounded to half precision would merge neighbouring levels
        return self.parameterisation.time(level).to(x.device, torch.promote_types(kind, torch.float32))

    def _precision(self, x: Tensor) -> torch.dtype:
        """The network's own, where it has weights; the state's and the coefficients' stay as they are."""
        weight = next((p for p in self.net.parameters() if p.is_floating_point()), None)
        return x.dtype if weight is None else weight.dtype


class Wrapped(Scaled):
    """`net(scale x, time, condition)` as a denoiser; see `wrap`."""

    def forward(self, x: Tensor, level: Tensor, condition: Condition = None) -> Prediction:
        """The prediction at `x` [B, ...] in unit coordinates, `level` [B]."""
        skip, out = self.parameterisation.coefficients(level.to(torch.float64))
        output, variance = self.output(x, level, condition), None
        if self.parameterisation.variance is not None:
            output, second = _halves(output, x)
            variance = self.parameterisation.variance(second, level.to(x.device, torch.float64))
        return Prediction(expand(skip, x) * x + expand(out, x) * output, variance=variance)

    def ahead(self, levels: Tensor, x: State, condition: Condition = None) -> Sequence[AtLevel]:
        """The predictions at each of `levels` [T, B]; see `denoise.ahead`."""
        x = single(x, "a wrapped network")
        every = levels.to(torch.float64)
        if self.parameterisation.variance is not None or self.takes_until:
            return [later(self, level, condition) for level in every]
        p, flat = self.parameterisation, every.flatten()
        scale, count = p.scale(flat), len(every)
        skips, outs = (_each(expand(part, x), count) for part in p.coefficients(flat))
        bare = bool((scale == 1).all())  # of a process that keeps the variance: one product less
        scales = [None] * count if bare else _each(expand(scale, x), count)
        kind = self._precision(x)
        times = _each(self._time(x, flat, kind), count)
        return [
            partial(self._at, scale, time, skip, out, kind, condition)
            for scale, time, skip, out in zip(scales, times, skips, outs, strict=True)
        ]

    def _at(
        self,
        scale: Tensor | None,
        time: Tensor,
        skip: Tensor,
        out: Tensor,
        kind: torch.dtype,
        condition: Condition,
        x: State,
    ) -> Prediction:
        assert isinstance(x, Tensor)
        return Prediction((skip * x).add_(out * self._output(x, scale, time, kind, condition)))

    def check(self, levels: Tensor) -> None:
        """Refuse levels at which this parameterisation is undefined (a noise network at zero SNR)."""
        self.parameterisation.check(levels)


@overload
def wrap(net: nn.Module, parameterisation: Literal["logits"], *, process: Categorical) -> TokenDenoiser: ...


@overload
def wrap(
    net: nn.Module,
    parameterisation: str | Parameterisation = "edm",
    schedule: Schedule | None = None,
    *,
    process: None = None,
    **options: Any,
) -> Wrapped: ...


def wrap(
    net: nn.Module,
    parameterisation: str | Parameterisation = "edm",
    schedule: Schedule | None = None,
    *,
    process: Categorical | None = None,
    **options: Any,
) -> Wrapped | TokenDenoiser:
    """A denoiser made of a network.

    Args:
        net: called as `net(x, time, condition)`: x [B, ...] in the schedule's own coordinates, time [B].
        parameterisation: what it outputs: clean, noise, v, flow_velocity, score, or edm (preconditioned); of tokens
            logits [B, ..., K], with their process.
        schedule: whose coordinates and time the network expects; None: unit coordinates and -level/8.
        options: of the parameterisation, such as `sigma_data`; `variance=learned_range(...)` for a network with
            twice the channels, whose second half says the posterior variance.
        process: of tokens, `masked(K)` or `uniform(K)`; see `TokenDenoiser` for what its network is given.

    Returns:
        A module `(x, level, condition) -> Prediction` in unit coordinates.

    Example:
        >>> net = lambda x, time, condition: torch.zeros_like(x)
        >>> denoiser = wrap(net, "v")
        >>> denoiser(torch.ones(2, 3), torch.zeros(2)).mean.shape
        torch.Size([2, 3])
    """
    if (parameterisation == "logits") != (process is not None):
        raise PerrinError("tokens need both: wrap(net, 'logits', process=masked(K)) or uniform(K)")
    if process is not None:
        return TokenDenoiser(net, process)
    if isinstance(parameterisation, str):
        parameterisation = _parameterisation.make(parameterisation, schedule, options)
    return Wrapped(Function.of(net), parameterisation)


def _each(values: Tensor, count: int) -> Sequence[Tensor]:
    """Numbers [T B, ...] of T levels, [B, ...] of each."""
    return values.reshape(count, -1, *values.shape[1:]).unbind()


def _halves(output: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    if output.shape != (len(x), 2 * x.shape[1], *x.shape[2:]):
        raise PerrinError(
            f"a network with learned variance must output {(2 * x.shape[1], *x.shape[2:])} for a state of "
            f"{tuple(x.shape[1:])}, twice its leading axis; it outputs {tuple(output.shape[1:])}"
        )
    first, second = output.chunk(2, dim=1)
    return first, second
