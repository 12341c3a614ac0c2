"""The SDEs of score-based models: one denoiser serves the three, and their views agree with the known laws."""

from __future__ import annotations

import math

import pytest
import torch
from tests.model.making import image_model, point_model

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.systems import score_sde

MEAN, STD = 0.7, 0.4
Y = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
SDES = {"vp": score_sde.vp, "sub_vp": score_sde.sub_vp, "ve": score_sde.ve}


def moments(schedule, t):
    """Mean and variance of y_t for N(MEAN, STD^2) data."""
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    return alpha * MEAN, alpha**2 * STD**2 + sigma**2


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_the_score_is_that_of_the_process_in_its_own_coordinates(name, t):
    schedule = SDES[name]()
    mean, variance = moments(schedule, t)
    found = score_sde.score(exact.Gaussian(MEAN, STD), schedule, Y, t)
    torch.testing.assert_close(found, (mean - Y) / variance, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SDES)
@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_flow_and_reverse_sde_move_the_moments_as_the_forward_sde_does(name, t):
    """For Gaussians all drifts are linear: dm/dt = drift at m, dv/dt = 2 v slope (+ g^2 forward, - g^2 reverse)."""
    schedule, denoiser = SDES[name](), exact.Gaussian(MEAN, STD)
    mean, variance = moments(schedule, t)
    h = 1e-5
    (m0, v0), (m1, v1) = moments(schedule, t - h), moments(schedule, t + h)
    dm, dv = (m1 - m0) / (2 * h), (v1 - v0) / (2 * h)
    at = torch.tensor([[mean], [mean + 1]], dtype=torch.float64)
    forward, g = score_sde.forward_sde(schedule, at, t)
    backward, same = score_sde.reverse_sde(denoiser, schedule, at, t)
    flow = score_sde.flow_drift(denoiser, schedule, at, t)
    assert same == g > 0
    for drift, noise in ((forward, g**2), (flow, 0.0), (backward, -(g**2))):
        assert float(drift[0]) == pytest.approx(dm, rel=1e-6, abs=1e-6)
        assert 2 * variance * float(drift[1] - drift[0]) + noise == pytest.approx(dv, rel=1e-6, abs=1e-6)


def test_the_score_at_an_infinite_level_is_refused():
    with pytest.raises(PerrinError, match="t = 0"):
        score_sde.score(exact.Gaussian(), score_sde.vp(), Y, 0.0)


def test_interpolation_keeps_its_ends_to_the_bit_and_the_length_of_codes():
    generator = torch.Generator().manual_seed(0)
    start, stop = (torch.randn(3, 2, 50, generator=generator) for _ in range(2))
    path = score_sde.interpolate(start, stop, 7)
    assert path.shape == (7, 3, 2, 50)
    assert torch.equal(path[0], start)
    assert torch.equal(path[-1], stop)
    unit = [v / v.flatten(1).norm(dim=1)[:, None, None] for v in (start, stop)]
    circle = score_sde.interpolate(*unit, 7).flatten(2)
    torch.testing.assert_close(circle.norm(dim=2), torch.ones(7, 3))
    angles = torch.acos((circle[1:] * circle[:-1]).sum(2))
    torch.testing.assert_close(angles, angles[:1].expand(6, 3), rtol=1e-4, atol=1e-4)  # even along it


def test_interpolation_of_an_item_does_not_depend_on_the_others_and_parallel_codes_go_straight():
    generator = torch.Generator().manual_seed(1)
    start, stop = (torch.randn(4, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    stop[2] = 2 * start[2]
    path = score_sde.interpolate(start, stop, 5)
    torch.testing.assert_close(path[:, 1:2], score_sde.interpolate(start[1:2], stop[1:2], 5))
    torch.testing.assert_close(path[:, 2], torch.linspace(1, 2, 5, dtype=torch.float64)[:, None] * start[2])
    with pytest.raises(PerrinError, match="steps = 1"):
        score_sde.interpolate(start, stop, 1)
    with pytest.raises(PerrinError, match="one shape"):
        score_sde.interpolate(start, stop[:1], 3)


def test_the_objectives_are_the_plain_and_the_maximum_likelihood_one():
    level = torch.linspace(-9, 9, 7, dtype=torch.float64)
    plain = score_sde.make_objective("sub_vp")
    torch.testing.assert_close(plain.weight(level), torch.exp(level))
    likely = score_sde.make_objective("ve", maximum_likelihood=True)
    low, high = score_sde.ve().level_range
    torch.testing.assert_close(likely.weight(level), torch.exp(level) / 2 * (high - low))
    assert float(likely.law(torch.tensor([1e-12], dtype=torch.float64))) == pytest.approx(high)


@pytest.mark.parametrize("make", [image_model, point_model])
def test_data_come_back_from_their_latent_codes(make):
    model = make()
    with torch.no_grad():
        for parameter in model.denoiser.parameters():  # as smooth as a trained one
            parameter.mul_(0.5)
    data = model.sample(3, guidance=1.0 if model.codec.classes else None).decoded
    code = model.encode(data)
    back = model.decode(code.state)
    assert bool(code.converged.all())
    assert bool(back.converged.all())
    torch.testing.assert_close(back.state, model.states(data), rtol=1e-3, atol=1e-3)
    if model.codec.classes:
        other = model.encode(data, label=[1, 2, 3])
        assert float((other.state - code.state).abs().max()) > 1e-4
        again = model.decode(other.state, label=[1, 2, 3])
        torch.testing.assert_close(again.state, model.states(data), rtol=1e-3, atol=1e-3)


def test_codes_of_gaussian_data_are_standard_normal():
    """The flow of N(m, s^2) is linear: one standard deviation stays one."""
    y = MEAN + STD * torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    code = score_sde.encode(exact.Gaussian(MEAN, STD), y).state
    torch.testing.assert_close(code.flatten(), torch.tensor([-1.0, 0.0, 2.0]).double(), rtol=0, atol=1e-2)
    back = score_sde.decode(exact.Gaussian(MEAN, STD), code).state
    torch.testing.assert_close(back, y, rtol=1e-4, atol=1e-4)


def test_states_of_another_shape_and_labels_of_a_model_without_are_refused():
    model = point_model()
    with pytest.raises(PerrinError, match="shape"):
        model.encode(torch.zeros(2, 3))
    with pytest.raises(PerrinError, match="without classes"):
        model.encode(torch.zeros(2, 2), label=1)
    assert math.isfinite(float(model.decode(torch.zeros(1, 2), steps=4).state.sum()))
