r"""Log-likelihood by the probability flow: the change of variables along it (Song et al. 2021, section 4.3).

    dlog p(x)/dlevel = -(alpha/2) (div D - alpha d)
    log p(y)         = log N(x(noise end); 0, I) - integral of the divergence over rising level + d log alpha

with x = alpha y at the clean end, where the last term, the volume, turns a density of x into one of y. The
noise end needs none: N(0, I) is in unit coordinates already. Only levels appear, so a model has the same value
under every schedule. What has this density is data with the clean end's noise, sigma/alpha = .002. Of states of which some
entries are given it is that of the others under these, log p(free | observed), with d the number of the free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from perrin.denoise.prediction import Condition, Denoiser
from perrin.errors import PerrinError
from perrin.likelihood.divergence import Divergence, make_probes
from perrin.likelihood.gaussians import prior_divergence
from perrin.likelihood.given import checked
from perrin.likelihood.integration import TOLERANCE, Integrated, Stepping, integrate
from perrin.likelihood.items import check_items, keys_of
from perrin.likelihood.layout import Layout
from perrin.likelihood.probability_flow import Flow, ends
from perrin.likelihood.result import LogProb
from perrin.process import levels
from perrin.process.schedule import CLIP
from perrin.process.state import Masks, State
from perrin.sample.noise import Key


@torch.no_grad()
def log_prob(
    denoiser: Denoiser,
    x: State,
    *,
    method: Literal["ode", "bound"] = "ode",
    divergence: Divergence = "exact",
    probes: int = 8,
    seeds: Sequence[Key] | None = None,
    condition: Condition = None,
    masks: Masks | None = None,
    level_range: tuple[float, float] = CLIP,
    steps: int | None = None,
    tolerance: float = TOLERANCE,
    max_evaluations: int = 5000,
    **options: Any,
) -> LogProb:
    """Log-likelihood of clean states, in nats per item.

    Args:
        denoiser: any `(x, level, condition) -> Prediction`, differentiable.
        x: clean states [B, ...] or named leaves, floating point.
        method: 'ode'; or 'bound', which is `bound` with its `options` and these seeds, condition, masks and level_range.
        divergence: 'exact' (one reverse pass per free entry and evaluation); 'rademacher' or 'gaussian' (one
            per probe), whose spread over the probes gives the standard error, NaN with one probe.
        probes: how many per item.
        seeds: one key an item, naming its probes; None: an item's own numbers name them.
        condition, masks, level_range, steps, max_evaluations: as in `encode`.
        tolerance: of one step's error, as in `encode`, and of the log-density's in nats per dimension.

    Returns:
        The values and their parts: `prior` (log N at the noise end), `divergence` (its integral, with the sign
        that adds), `volume` (d log alpha). With adaptive steps an item that does not reach the noise end is NaN and
        not converged; with fixed steps one whose steps' errors exceed the tolerance keeps its value and is not.

    Raises:
        PerrinError: states that are not finite or do not fit, levels that do not rise, no probes, a denoiser
            that cannot be differentiated.

    Example:
        >>> from perrin.denoise import exact
        >>> found = log_prob(exact.Gaussian(0.0, 0.5), torch.zeros(1, 2))
        >>> round(float(found.value), 3)  # -log(2 pi 0.5^2)
        -0.452
    """
    if method == "bound":
        from perrin.likelihood.bounds import bound

        return bound(
            denoiser, x, seeds=seeds, condition=condition, masks=masks, level_range=level_range, **options
        )
    if method != "ode":
        raise PerrinError(f"method {method!r} is not known; known: ode, bound")
    if options:
        raise PerrinError(f"method 'ode' has no option {sorted(options)[0]!r}; is it one of 'bound'?")
    check_items(x, condition)
    keys = keys_of(x, seeds)
    low, high = ends(level_range)
    layout = Layout(x, checked(masks, x))
    clean, d = layout.flatten(x), layout.entries
    drawn = make_probes(divergence, probes, keys, layout.whole, clean.device)
    flow = Flow(denoiser, layout, condition, True, None if drawn is None else layout.some(drawn))
    integrals = clean.new_zeros(len(clean), 1 if flow.probes is None else probes)
    start = torch.cat([float(levels.alpha(high)) * clean, integrals], 1)
    stepping = Stepping(steps, tolerance, max_evaluations)
    end = integrate(flow, start, high, low, d, stepping, layout.counts)
    return _assemble(end, flow, low, high)


def _assemble(end: Integrated, flow: Flow, low: float, high: float) -> LogProb:
    d, counts = flow.layout.entries, flow.layout.counts
    noisy, integrals = end.value[:, :d], end.value[:, d:]
    volume = counts * float(levels.log_alpha(high))
    parts = {
        "prior": -0.5 * (noisy.square().sum(1) + counts * math.log(2 * math.pi)),
        "divergence": integrals.mean(1),
        "volume": volume.masked_fill(noisy.isnan().any(1), torch.nan),
    }
    value = torch.stack(list(parts.values())).sum(0)
    mismatch = prior_divergence(flow.layout.clean, low, flow.layout.masks)
    return LogProb(value, _stderr(integrals, flow), end.converged, parts, end.evaluations, mismatch)


def _stderr(integrals: Tensor, flow: Flow) -> Tensor:
    """Of the mean over the probes."""
    count = integrals.shape[1]
    if flow.probes is None:
        return torch.zeros_like(integrals[:, 0])
    if count == 1:
        return torch.full_like(integrals[:, 0], torch.nan)
    return integrals.std(1) / math.sqrt(count)
