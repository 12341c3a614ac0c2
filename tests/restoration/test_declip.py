"""The task declip: limits in the user's units, against the exact posterior of a truncated Gaussian."""

import pytest
import torch
from tests.restoration.exact import GAIN, OFFSET, D, exact_model, posterior

from perrin.errors import PerrinError

LOW, HIGH, NOISE = 26.0, 34.0, 0.25
Y = torch.tensor([30.0, 33.0, 34.0, 34.0, 32.5, 29.0, 26.0, 27.0], dtype=torch.float64)
CUT = (Y <= LOW) | (Y >= HIGH)


def truncated():
    """Mean of the values: Gaussian given what is seen, then draws weighed by the tails of what is clipped."""
    matrix = torch.eye(D, dtype=torch.float64)[~CUT]
    mean, covariance = posterior(matrix, (Y[~CUT] - OFFSET) / GAIN, NOISE / GAIN)
    root = torch.linalg.cholesky(covariance + 1e-12 * torch.eye(D, dtype=torch.float64))
    drawn = torch.randn(200_000, D, generator=torch.Generator().manual_seed(0)).double()
    values = OFFSET + GAIN * (mean + drawn @ root.T)
    above = torch.special.log_ndtr((values - HIGH) / NOISE)[:, Y >= HIGH].sum(1)
    below = torch.special.log_ndtr((LOW - values) / NOISE)[:, Y <= LOW].sum(1)
    return torch.softmax(above + below, 0) @ values


@pytest.mark.parametrize(("method", "bias"), [(None, 0.8), ("mmps", 1.1)])
def test_the_mean_is_that_of_a_truncated_gaussian_but_for_its_bias(method, bias):
    right = truncated()
    made = exact_model().restore(
        Y[None], "declip", limit=HIGH, low=LOW, noise=NOISE, samples=256, method=method
    )
    found = made.values(made.mean)[0, 0]
    assert float((found - right).abs().max()) < bias
    assert float((right - Y)[CUT].abs().max()) > 2.2  # what clipping took is more than that
    assert made.provenance[0]["method"] == (method or "proximal")


def test_particles_take_the_bias_away():
    right = truncated()
    made = exact_model().restore(
        Y.expand(6, 1, D), "declip", limit=HIGH, low=LOW, noise=NOISE, samples=96, steps=100, particles=True
    )
    found = made.values(made.mean)[:, 0].mean(0)
    torch.testing.assert_close(found, right, rtol=0, atol=0.4)  # a Monte Carlo error of .1


def test_one_limit_is_for_both_sides_and_none_is_refused():
    model = exact_model()
    made = model.restore(Y.clamp(-28.0, 28.0)[None], "declip", limit=28.0, noise=NOISE, samples=2)
    assert (made.problem.operator.low, made.problem.operator.high) == pytest.approx((-11.6, -0.4))
    with pytest.raises(PerrinError, match="declip needs limit"):
        model.restore(Y[None], "declip", noise=NOISE)
    with pytest.raises(PerrinError, match="clipping at 1"):
        model.restore(Y[None], "declip", limit=-1.0, noise=NOISE)
