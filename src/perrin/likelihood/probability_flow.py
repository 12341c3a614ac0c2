r"""The probability-flow ODE in unit coordinates, and the latent codes that it gives (Song et al. 2021).

    dx/dlevel = (alpha/2) (D(x, level) - alpha x)

From x = alpha y at the clean end to the noise end, where data are about N(0, I), and back. Only levels appear: a
model has the same codes under every schedule. Of states of which some entries are given the others alone flow (`given`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.likelihood.divergence import value_and_divergence
from perrin.likelihood.given import checked
from perrin.likelihood.integration import TOLERANCE, Integrated, Stepping, integrate
from perrin.likelihood.items import check_items
from perrin.likelihood.layout import Layout
from perrin.process import levels
from perrin.process.schedule import CLIP
from perrin.process.state import Masks, State, map_leaves


@dataclass
class Flow:
    """The probability flow of a batch as `integrate` takes it: its slopes, level by level.

    Attributes:
        denoiser: any `(x, level, condition) -> Prediction`.
        layout: of the free entries of the states; condition: tensors with the batch as leading axis.
        diverges: whether the divergence is integrated beside the state, in column d or one column a probe.
        probes: [B, K, d], or None: exact.
    """

    denoiser: Denoiser
    layout: Layout
    condition: Condition
    diverges: bool = False
    probes: Tensor | None = None

    def __call__(self, y: Tensor, level: Tensor, items: Tensor) -> Tensor:
        x, alpha = y[:, : self.layout.entries], levels.alpha(level)[:, None]
        condition = self.condition
        if condition is not None:
            condition = {name: value[items.to(value.device)] for name, value in condition.items()}

        def mean(vectors: Tensor) -> Tensor:
            state = self.layout.restore(vectors, level, items)
            return self.layout.flatten(self.denoiser(state, level, condition).mean, items)

        if not self.diverges:
            return 0.5 * alpha * (mean(x) - alpha * x)
        probes = None if self.probes is None else self.probes[items]
        value, divergence = value_and_divergence(mean, x, probes)
        # the trace of the identity by the same probes as the mean's: near the clean end the two cancel
        counts = self.layout.counts[items, None]
        identity = counts if probes is None else probes.square().sum(2)
        return 0.5 * alpha * torch.cat([value - alpha * x, divergence - alpha * identity], 1)


def ends(level_range: tuple[float, float]) -> tuple[float, float]:
    """(noise end, clean end).

    Raises:
        PerrinError: levels that are not finite or do not rise.
    """
    low, high = (float(level) for level in level_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise PerrinError(f"level_range = ({low}, {high}) must be two finite levels, the noisy one first")
    return low, high


@dataclass(frozen=True)
class Endpoint:
    """Where the flow has carried states.

    Attributes:
        state: in the form of the states that were given and their precision, single at least; NaN where an item
            did not arrive.
        converged: bool [B], as in `integration.Integrated`.
        error: [B], the sum of the steps' estimated errors: root mean squares in units of 1 + |entry|.
        evaluations: calls of the denoiser.
    """

    state: State
    converged: Tensor
    error: Tensor
    evaluations: int


@torch.no_grad()
def encode(
    denoiser: Denoiser,
    x: State,
    *,
    condition: Condition = None,
    masks: Masks | None = None,
    level_range: tuple[float, float] = CLIP,
    steps: int | None = None,
    tolerance: float = TOLERANCE,
    max_evaluations: int = 5000,
) -> Endpoint:
    """Clean states to their latent codes at the noise end, where data are about N(0, I); `decode` inverts it.

    Args:
        denoiser: any `(x, level, condition) -> Prediction`.
        x: clean states [B, ...] or named leaves, floating point.
        condition: tensors with the batch as leading axis.
        masks: of entries that items have, and that are given; what is not free stays as it is.
        level_range: finite levels (noise end, clean end).
        steps: equal steps in level; None: adaptive, each item with its own.
        tolerance: of one step's error, relative to 1 + |entry|, root mean square over an item's entries.
        max_evaluations: of adaptive steps.

    Raises:
        PerrinError: states that are not finite or do not fit, levels that do not rise.

    Example:
        >>> from perrin.denoise import exact
        >>> code = encode(exact.Gaussian(0.0, 0.5), torch.full((1, 2), 0.5))
        >>> [round(float(z), 3) for z in code.state[0]]  # one standard deviation stays one
        [1.0, 1.0]
    """
    check_items(x, condition)
    low, high = ends(level_range)
    layout = Layout(x, checked(masks, x))
    start = float(levels.alpha(high)) * layout.flatten(x)
    end = _carried(Flow(denoiser, layout, condition), start, high, low, steps, tolerance, max_evaluations)
    return _endpoint(end, end.value, layout)


@torch.no_grad()
def decode(
    denoiser: Denoiser,
    z: State,
    *,
    condition: Condition = None,
    masks: Masks | None = None,
    level_range: tuple[float, float] = CLIP,
    steps: int | None = None,
    tolerance: float = TOLERANCE,
    max_evaluations: int = 5000,
) -> Endpoint:
    """Latent codes at the noise end to clean states x / alpha at the clean end; arguments as in `encode`."""
    check_items(z, condition)
    low, high = ends(level_range)
    layout = Layout(z, checked(masks, z))
    start = layout.flatten(z)
    end = _carried(Flow(denoiser, layout, condition), start, low, high, steps, tolerance, max_evaluations)
    return _endpoint(end, end.value / float(levels.alpha(high)), layout)


def _carried(
    flow: Flow,
    start: Tensor,
    here: float,
    there: float,
    steps: int | None,
    tolerance: float,
    max_evaluations: int,
) -> Integrated:
    stepping = Stepping(steps, tolerance, max_evaluations)
    return integrate(flow, start, here, there, flow.layout.entries, stepping, flow.layout.counts)


def _endpoint(end: Integrated, vectors: Tensor, layout: Layout) -> Endpoint:
    state = map_leaves(
        lambda leaf, like: leaf.to(torch.promote_types(like.dtype, torch.float32)),
        layout.restore(vectors),
        layout.clean,
    )
    return Endpoint(state, end.converged, end.error, end.evaluations)
