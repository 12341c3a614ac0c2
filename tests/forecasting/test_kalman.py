"""With the exact denoiser forecasts, imputations and their likelihoods are those of the Kalman filter, in any units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from perrin.denoise import exact, wrap
from perrin.kinds.series import Series, SeriesWindow
from perrin.kinds.series.frequency import Frequency
from perrin.kinds.series.parts import Part, SeriesData
from perrin.likelihood import decode, log_prob
from perrin.model import Model
from perrin.process.state import Masks
from perrin.sample import make_plan, run

pytest.importorskip("pandas")
pytest.importorskip("statsmodels")
from benchmarks.forecasting.state_space import cycle_and_factor
from tests.model.making import make_model
from tests.model.test_log_prob import ExactNet

C, HISTORY, HORIZON = 2, 24, 8
ROWS = HISTORY + HORIZON
FREE = C * HORIZON
FINE = {"level_range": (-18.0, 16.0), "tolerance": 1e-7}
TRUE = cycle_and_factor()


def window(seed=0):
    """Values [C, T] of which some of the history are missing (NaN)."""
    values = TRUE.simulated(ROWS, seed)
    values[0, [3, 11, 23]] = np.nan
    values[1, 8:14] = np.nan
    return values


def masks_of(values):
    """The history's known values are observed; the missing ones are not there."""
    valid = torch.from_numpy(~np.isnan(values))[None]
    observed = valid.clone()
    observed[:, :, HISTORY:] = False
    return Masks(valid=valid, observed=observed)


def repeated(count, values, masks):
    """(denoiser, states, condition and masks) of `count` windows with one history."""
    denoiser = exact.Correlated(torch.zeros(C, ROWS), torch.from_numpy(TRUE.covariance(ROWS)))
    state = torch.from_numpy(np.nan_to_num(values)).expand(count, -1, -1).clone()
    masks = masks.map(lambda mask: mask.expand(count, -1, -1))
    return denoiser, state, {"observed": masks.observed, "valid": masks.valid}, masks


def ahead(values):
    """The filter's forecasts of the horizon's rows: means [C, H], covariances [H, C, C]."""
    known = values.copy()
    known[:, HISTORY:] = np.nan
    found = TRUE.filtered(known)
    return found.mean[:, HISTORY:], found.covariance[HISTORY:]


def basis():
    """No noise, and one unit of noise in every free entry: [1 + FREE, C, T]."""
    noise = torch.zeros(1 + FREE, C, ROWS, dtype=torch.float64)
    noise[1:, :, HISTORY:] = torch.eye(FREE, dtype=torch.float64).reshape(FREE, C, HORIZON)
    return noise


def flow(denoiser, start, condition, masks):
    return decode(denoiser, start, condition=condition, masks=masks, **FINE).state


def sampler(denoiser, start, condition, masks):
    plan = make_plan("dpmpp_2m", grid=[*torch.linspace(-18, 18, 500).tolist(), float("inf")])
    keys = range(len(start))
    return run(plan, denoiser, seeds=keys, start=start, condition=condition, masks=masks)


@pytest.mark.parametrize("draw", [flow, sampler])
def test_a_forecasts_mean_and_covariance_are_the_kalman_filters(draw):
    """Samples are linear in their noise, so that a basis of it says both exactly."""
    values = window()
    denoiser, state, condition, masks = repeated(1 + FREE, values, masks_of(values))
    start = torch.where(masks.observed, state, basis())
    drawn = draw(denoiser, start, condition, masks)[:, :, HISTORY:]
    mean, covariance = ahead(values)
    np.testing.assert_allclose(drawn[0].numpy(), mean, rtol=0, atol=1e-3)
    root = (drawn[1:] - drawn[0]).reshape(FREE, FREE)
    joint = (root.T @ root).reshape(C, HORIZON, C, HORIZON).numpy()
    for step in range(HORIZON):
        np.testing.assert_allclose(joint[:, step, :, step], covariance[step], rtol=0, atol=1e-3)


def test_the_samples_of_a_plan_have_the_joint_law_of_a_path():
    """Between rows too: the density that mean and covariance of the samples give a path is the filter's."""
    values = window()
    denoiser, state, condition, masks = repeated(1 + FREE, values, masks_of(values))
    start = torch.where(masks.observed, state, basis())
    drawn = sampler(denoiser, start, condition, masks)[:, :, HISTORY:].flatten(1)
    root = drawn[1:] - drawn[0]
    law = torch.distributions.MultivariateNormal(drawn[0], root.T @ root)
    path = torch.from_numpy(values[:, HISTORY:]).flatten()
    assert float(law.log_prob(path)) == pytest.approx(
        TRUE.filtered(values).log_prob[HISTORY:].sum(), abs=1e-3
    )


def test_the_log_likelihood_of_a_path_is_the_kalman_filters():
    for seed in range(2):
        values = window(seed)
        denoiser, state, condition, masks = repeated(1, values, masks_of(values))
        found = log_prob(denoiser, state, condition=condition, masks=masks, **FINE)
        truth = TRUE.filtered(values).log_prob[HISTORY:].sum()
        assert float(found.value) == pytest.approx(truth, abs=1e-3)


# ---- in the user's units, through a codec


class GivenNet(ExactNet):
    """An exact denoiser of what is not given as a network."""

    def forward(self, x, time, condition=None):
        return self.denoiser(x, -8 * time.double(), condition).mean


def exact_model(denoiser, codec):
    """A model whose network is right, around a codec."""
    net = {"name": "axial", "width": 8, "heads": 2, "blocks": 1, "patch": 8, **codec.tells}
    model = make_model(net, codec, "series", guidance=1.0, steps=20)
    return Model(model.design, wrap(GivenNet(denoiser), "clean"), codec, model.sampling)


def data_of(values, step=36 * 10**8):
    frequency = Frequency("microseconds", step)
    first = np.datetime64("2020-03-01", "us")
    times = np.concatenate([[first], frequency.after(first, values.shape[1] - 1)])
    names = tuple("ab"[: len(values)])
    made = SeriesWindow(
        names, times, values, np.full(len(names), np.nan), known=np.empty((0, values.shape[1]))
    )
    return SeriesData([Part(made)], frequency, {"kind": "series"})


def in_units(x, transform):
    """The user's values [C, 1 + T], a row before the window first, whose transformed values are x [C, T]."""
    if "difference" in transform:
        x = np.cumsum(np.concatenate([np.full((len(x), 1), 2.0), 0.1 * x], 1), 1)
    else:
        x = np.concatenate([np.zeros((len(x), 1)), x], 1)
    return np.exp(x) if "log" in transform else x


def log_slopes(y, transform):
    """Sum of log |dx / dy| over the horizon, where x has the law of the state-space model."""
    slope = -np.log(y[:, 1 + HISTORY :]) if "log" in transform else np.zeros((C, HORIZON))
    return (slope - np.log(0.1) * ("difference" in transform)).sum()


@pytest.mark.parametrize(
    "transform", [["identity"], ["log"], ["difference"], ["log", "difference"]], ids="-".join
)
def test_the_log_likelihood_in_the_users_units_is_the_kalman_filters(transform):
    values = TRUE.simulated(ROWS, 5)
    y = in_units(values, transform)
    codec = Series.codec.fit(
        data_of(in_units(TRUE.simulated(400, 1), transform)),
        horizon=HORIZON,
        context=HISTORY,
        transform=transform,
    )
    whole = data_of(y).parts[0].window.rows(1, 1 + ROWS)
    given = np.arange(ROWS) < HISTORY + np.zeros((C, 1))
    scaled = codec.scaling.scaled(y[None, :, 1:], y[None, :, 0], given[None])
    assert bool((scaled.observed[0] == given).all())
    factor = 0.1 if "difference" in transform else 1.0  # of x in the codec's transformed values
    location, scale = np.repeat(scaled.location[0], ROWS), np.repeat(scaled.scale[0], ROWS)
    covariance = factor**2 * TRUE.covariance(ROWS) / np.outer(scale, scale)
    denoiser = exact.Correlated(
        torch.from_numpy((-location / scale).reshape(C, ROWS)), torch.from_numpy(covariance)
    )
    model = exact_model(denoiser, codec)
    truth = TRUE.filtered(values).log_prob[HISTORY:].sum() + log_slopes(y, transform)
    found = model.log_prob([whole, replace(whole, given=given)], divergence="exact", **FINE)
    assert bool(found.converged.all())
    np.testing.assert_allclose(found.value.numpy(), truth, rtol=0, atol=1e-3)
    bound = model.log_prob([whole], method="bound", samples=1500)
    assert abs(float(bound.value) - truth) < 4 * float(bound.stderr) + 0.02


TRANSFORMS = ["identity", "log", "box_cox", "asinh", "difference", "cumulative", ["log", "difference"]]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_a_density_integrates_to_one_in_the_users_units(transform):
    """One step ahead, over all values that it may have."""
    generator = np.random.default_rng(0)
    values = np.cumsum(1 + np.abs(generator.normal(size=(1, 300))), 1) + 20
    values = values if transform == "cumulative" else 20 + 3 * np.sin(values)
    codec = Series.codec.fit(data_of(values), horizon=1, context=8, transform=transform)
    model = exact_model(exact.Gaussian(0.1, 0.8), codec)
    whole = codec.cut(data_of(values))[17]["value"]
    outline = codec.outline(601, 0, 0, history=whole.rows(0, 8))
    state = outline.known.clone()
    state[:, 0, -1] = torch.linspace(-5, 5, 601)
    windows = codec.decode_given(state, outline.condition)
    y = np.array([w.values[0, -1] for w in windows])
    found = model.log_prob(windows, tolerance=1e-6)
    assert bool(found.converged.all())
    assert np.trapezoid(found.value.exp().numpy(), y) == pytest.approx(1, abs=1e-3)
    assert found.parts["codec"].std() > 0 or transform in ("identity", "difference")


def test_what_a_model_imputes_leaves_the_observed_values_to_the_bit():
    values = TRUE.simulated(300, 3)
    codec = Series.codec.fit(data_of(values), horizon=HORIZON, context=HISTORY)
    denoiser = exact.Correlated(torch.zeros(C, ROWS), torch.from_numpy(TRUE.covariance(ROWS)))
    model = exact_model(denoiser, codec)
    history = data_of(window()).parts[0].window
    known = ~np.isnan(history.values)
    for drawn in model.sample(3, task="impute", history=history).decoded:
        assert np.array_equal(drawn.values[known], history.values[known])
        assert np.array_equal(drawn.given, known)
        assert np.isfinite(drawn.values).all()
        again = model.log_prob([drawn])  # of the gaps given the rest
        assert bool(torch.isfinite(again.value).all())
        assert again.evaluations > 0
