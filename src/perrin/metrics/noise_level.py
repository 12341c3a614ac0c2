r"""How strong white Gaussian noise is, from nothing but the noisy picture, volume or signal.

Two estimates, of which the one with more patches to look at is taken.

flat     the smallest eigenvalues of the covariance of patches are the noise's variance: they are averaged over the most
         of them whose mean is not above their median (Chen, Zhu and Heng 2015, "An efficient statistical method for image
         noise level estimation"). Only patches no rougher than noise alone makes them enter, in turns with the estimate,
         as in Liu, Tanaka and Okutomi 2013, "Single-image noise level estimation for blind denoising"; rough are second
         differences, since gradients would leave those of a slope whose noise happens to lie against it.
cut      pictures whose noise was cut off at black or white: a flat patch at distance m from the limit has, with a = m / s,

             share of entries at the limit = Phi(-a),    mean distance of all from it = s (a Phi(a) + phi(a))

         and the median over patches of the s that solves both (a censored Gaussian: Tobin 1958).

Donoho's median of the finest wavelet coefficients was measured beside them: textures double it at small noise.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from perrin.errors import PerrinError

_SIDE = {1: 16, 2: 4, 3: 3}  # of patches: 16 to 27 entries, few enough for the patches of one small picture
_MOST = 200_000  # patches looked at
_LEAST = 0.03  # share of all patches below which an estimate speaks for too little of the picture


def estimate(values: np.ndarray, axes: int = 2) -> float:
    """The standard deviation of white Gaussian noise, in the units of the values.

    Measured with known noise, mean and deviation over pictures of estimate / truth; "8 bits" are rounded and cut off at
    0 and 255 (a speech signal around 128):

    | sigma of 255         | 2           | 5           | 10          | 25          | 50          | 100         |
    | ---                  | ---         | ---         | ---         | ---         | ---         | ---         |
    | MNIST, one           | 0.96 +- .06 | 0.95 +- .06 | 0.93 +- .06 | 0.96 +- .06 | 1.01 +- .08 | 0.97 +- .06 |
    | brain MRI, 128 x 128 | 1.09 +- .11 | 1.04 +- .04 | 1.03 +- .03 | 1.00 +- .01 | 0.99 +- .01 | 0.99 +- .01 |
    | CIFAR-10, one        | 1.30 +- .65 | 1.12 +- .22 | 1.06 +- .10 | 1.01 +- .04 | 1.00 +- .03 | 0.99 +- .02 |
    | CIFAR-10, 32 at once | 1.46 +- .32 | 1.21 +- .06 | 1.11 +- .03 | 1.02 +- .00 | 1.00 +- .01 | 0.99 +- .00 |
    | speech, one word     | 1.13 +- .29 | 1.01 +- .08 | 1.01 +- .05 | 0.99 +- .03 | 0.98 +- .02 | 0.98 +- .02 |
    | 8 bits: MNIST, one   | 1.25 +- .20 | 1.16 +- .15 | 1.11 +- .09 | 1.08 +- .09 | 1.04 +- .06 | 0.95 +- .05 |
    | brain MRI            | 1.21 +- .19 | 1.10 +- .07 | 1.05 +- .05 | 1.00 +- .02 | 1.02 +- .04 | 0.97 +- .02 |
    | CIFAR-10, one        | 1.34 +- .62 | 1.14 +- .26 | 1.07 +- .11 | 1.00 +- .08 | 1.01 +- .14 | 1.02 +- .05 |
    | speech, one word     | 1.16 +- .31 | 1.04 +- .08 | 1.01 +- .06 | 0.99 +- .02 | 0.95 +- .02 | 1.16 +- .04 |

    Without any noise it finds the weakest texture of the picture instead, 1 to 5 of 255. Noise of a magnitude (Rician)
    is no Gaussian where the picture is black.

    Args:
        values: [..., T], [..., H, W] or [..., D, H, W]; all leading axes (channels, items) share one noise.
        axes: how many of the last axes are space or time, 1 to 3.

    Raises:
        PerrinError: where nothing can be told: values that are constant, too few, saturated nearly everywhere, complex or
            not finite.
    """
    patches = _patches(np.asarray(values), axes)
    low, high = patches == patches.min(), patches == patches.max()
    free = patches[~(low | high).any(1)]
    cut = np.concatenate([_cut(patches, low, high), _cut(-patches, high, low)])
    least = max(4 * patches.shape[1], _LEAST * len(patches))
    if max(len(free), len(cut)) < least:
        raise PerrinError(
            f"the noise cannot be told from these values: {1 - len(free) / len(patches):.0%} of their patches touch the "
            f"smallest or largest value, where noise is cut off; give its standard deviation instead, as in --sigma 12"
        )
    return _of_flat(free, axes) if len(free) >= len(cut) else float(np.median(cut))


def _patches(values: np.ndarray, axes: int) -> np.ndarray:
    """[N, side**axes] float64, all of them or so many at random places."""
    if axes not in _SIDE:
        raise PerrinError(f"axes = {axes} of space or time must be 1, 2 or 3")
    if values.dtype.kind not in "biuf":
        raise PerrinError(
            f"noise is estimated from real numbers, not from {values.dtype}; give it, as in --sigma 12"
        )
    side = _SIDE[axes]
    if values.ndim < axes or min(values.shape, default=0) < 1 or min(values.shape[-axes:]) < 2 * side:
        raise PerrinError(
            f"values of shape {values.shape} are too few to estimate noise from: {2 * side} along each of the last "
            f"{axes} axes are needed; give its standard deviation instead, as in --sigma 12"
        )
    if not np.isfinite(values).all():
        raise PerrinError("noise cannot be estimated: the values hold NaN or infinity")
    if values.min() == values.max():
        raise PerrinError(
            f"noise cannot be estimated: all values are {values.flat[0]:g}; give its standard deviation, as in --sigma 12"
        )
    windows = sliding_window_view(values, (side,) * axes, axis=tuple(range(-axes, 0)))
    places = windows.shape[: values.ndim]
    count = int(np.prod(places))
    drawn = np.arange(count) if count <= _MOST else np.random.default_rng(0).integers(count, size=_MOST)
    return windows[np.unravel_index(drawn, places)].reshape(len(drawn), -1).astype(np.float64)


def _of_flat(patches: np.ndarray, axes: int) -> float:
    """The deviation from patches that are no rougher than noise."""
    from scipy.stats import gamma  # takes half a second to import

    bends = _bends(axes)
    energy = np.square(patches @ bends.T).sum(1)
    form = (
        bends.T @ bends
    )  # energy of noise: a quadratic form, taken as the Gamma of the same mean and variance
    mean, spread = np.trace(form), 2 * np.square(form).sum()
    limit = gamma.ppf(0.975, mean**2 / spread, scale=spread / mean)
    variance = _of_eigenvalues(patches)
    for _ in range(4):
        flat = energy < limit * variance
        if flat.sum() < 3 * patches.shape[1]:
            break
        variance = _of_eigenvalues(patches[flat])
    return float(np.sqrt(variance))


def _bends(axes: int) -> np.ndarray:
    """[differences, entries]: every second difference within a patch."""
    side = _SIDE[axes]
    unit = np.eye(side**axes).reshape(side**axes, *(side,) * axes)
    return np.concatenate([np.diff(unit, n=2, axis=k).reshape(side**axes, -1).T for k in range(1, axes + 1)])


def _of_eigenvalues(patches: np.ndarray) -> float:
    """The mean of the most smallest eigenvalues that is not above their median."""
    found = np.maximum(np.linalg.eigvalsh(np.cov(patches, rowvar=False)), 0.0)
    means = np.cumsum(found) / np.arange(1, len(found) + 1)
    return next(float(means[i]) for i in reversed(range(len(found))) if means[i] <= np.median(found[: i + 1]))


def _cut(patches: np.ndarray, at_limit: np.ndarray, at_other: np.ndarray) -> np.ndarray:
    """The deviation by every patch partly at the lower limit; none where many lie there altogether."""
    from scipy.special import ndtr, ndtri

    share = at_limit.mean(1)
    partly = (share >= 0.25) & (share <= 0.75) & ~at_other.any(1)
    if 4 * (share == 1).sum() > partly.sum():  # noise would not leave whole patches constant
        return np.empty(0)
    above = patches - patches.min()
    step = above[above > 0].min()  # of rounding; what was rounded to the limit lay less than half of it above
    distance = np.maximum(above[partly] - step / 2, 0).mean(1)
    a = -ndtri(share[partly])
    found: np.ndarray = distance / (a * ndtr(a) + np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi))
    return found
