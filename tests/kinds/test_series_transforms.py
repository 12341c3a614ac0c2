"""Transforms of series: exact inverses, exact Jacobians, refusals with the row."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.kinds.series.encoding import Scaling
from perrin.kinds.series.robust import location_scale, median
from perrin.kinds.series.transforms import Chain, Elementwise, fitted_chain

CHAINS = {
    "identity": [],
    "log": [["log", 1]],
    "box_cox": [["box_cox", 0.4]],
    "box_cox negative": [["box_cox", -0.5]],
    "asinh": [["asinh", 2.0]],
    "difference": [["difference", 1]],
    "returns": [["log", 1], ["difference", 1]],
    "counts": [["difference", 1], ["asinh", 3.0]],
    "all": [["log", 1], ["difference", 1], ["asinh", 0.1]],
}


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    return np.exp(0.3 * np.random.default_rng(seed).normal(size=shape)) + 1


@pytest.fixture(params=CHAINS)
def chain(request) -> Chain:
    return Chain.from_config(CHAINS[request.param])


def test_every_chain_is_written_and_read_again(chain):
    assert Chain.from_config(chain.config()) == chain


def test_the_future_comes_back_from_the_history(chain):
    extended = positive(4, 21)
    given = extended.copy()
    given[:, 13:] = np.nan
    back = chain.inverse(chain.forward(extended), given)
    np.testing.assert_allclose(back, extended[:, 1:], rtol=1e-11)
    np.testing.assert_array_equal(back[:, :12], extended[:, 1:13])  # what was given, to the bit


def test_the_past_comes_back_from_what_came_later(chain):
    extended = positive(4, 21)
    given = extended.copy()
    given[:, :9] = np.nan  # the row before the window too
    held = extended.copy()
    held[:, 0] = np.nan
    np.testing.assert_allclose(chain.inverse(chain.forward(held), given), extended[:, 1:], rtol=1e-11)


def test_a_forecast_begins_at_the_last_known_value_where_the_history_ends_in_a_gap():
    chain = Chain.from_config(CHAINS["returns"])
    extended = positive(1, 11)
    given = extended.copy()
    given[:, 5:] = np.nan
    steps = np.log(extended[:, 1:]) - np.log(extended[:, :-1])
    steps[:, 3] = np.nan  # given, so it is not looked at
    np.testing.assert_allclose(chain.inverse(steps, given), extended[:, 1:], rtol=1e-12)


def jacobian(
    chain: Chain, extended: np.ndarray, drawn: np.ndarray, given: np.ndarray, rows: np.ndarray
) -> float:
    """log |det d x / d y| of the drawn y, by central differences."""
    places = np.flatnonzero(drawn) + 1
    matrix = np.zeros((rows.sum(), len(places)))
    for k, place in enumerate(places):
        step = 1e-6 * extended[place]
        up, down = extended.copy(), extended.copy()
        up[place] += step
        down[place] -= step
        matrix[:, k] = ((chain.forward(up) - chain.forward(down)) / (2 * step))[rows]
    return float(np.linalg.slogdet(matrix)[1])


@pytest.mark.parametrize("task", ["forecast", "backcast"])
def test_the_jacobian_is_that_of_differences(chain, task):
    extended = positive(9, seed=3)
    drawn = np.zeros(8, bool)
    if task == "forecast":
        drawn[5:] = True
    else:
        drawn[:4] = True
        extended[0] = np.nan  # a backcast knows nothing before the window
    given = np.where(drawn, np.nan, extended[1:])
    scaling = Scaling((chain,), np.zeros(1), np.ones(1))
    shown = scaling.given(given[None, None], extended[None, :1])
    x = chain.forward(extended)
    rows = ~np.isnan(x) & ~shown.observed[0, 0]
    expected = jacobian(chain, extended, drawn, given, rows) - rows.sum() * np.log(shown.scale[0, 0])
    found = scaling.log_det(extended[None, None, 1:], given[None, None], extended[None, :1])
    assert found[0] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("names", ["log", "asinh", "box_cox", ["log", "difference"], "cumulative"])
def test_a_density_in_the_users_units_integrates_to_one(names):
    """Of one step ahead: a Gaussian of the state, as a density of the value, over a grid of values."""
    chain = fitted_chain(names, [positive(40)], "a")
    scaling = Scaling((chain,), np.array([0.1]), np.array([0.7]))
    history = positive(6, seed=5)
    grid = np.exp(np.linspace(-9, 9, 60_001))  # of either sign where the transform takes both
    grid = grid if chain.positive else np.concatenate([-grid[::-1], grid])
    values = np.concatenate([np.broadcast_to(history[1:], (len(grid), 5)), grid[:, None]], 1)[:, None]
    given = values.copy()
    given[..., -1] = np.nan
    before = np.full((len(grid), 1), history[0])
    state = scaling.scaled(values, before, ~np.isnan(given)).state[:, 0, -1].double()
    density = torch.distributions.Normal(0.2, 1.3).log_prob(state).numpy() + scaling.log_det(
        values, given, before
    )
    # box_cox reaches -1 / lambda alone: what the Gaussian has below is not there
    total = np.trapezoid(np.exp(density), grid)
    assert total == pytest.approx(1, abs=2e-3 if names != "box_cox" else 0.05)


def test_counts_with_corrections_become_increments_of_either_sign():
    counts = np.array([0, 10, 30, 25, 60.0])  # five cases were taken back
    chain = fitted_chain("cumulative", [counts], "cases")
    assert [type(one).__name__ for one in chain.outer] == ["Elementwise"]
    x = chain.forward(counts)
    np.testing.assert_allclose(np.sinh(x) * chain.outer[0].parameter, [10, 20, -5, 35])
    given = counts.copy()
    given[2:] = np.nan
    np.testing.assert_allclose(chain.inverse(x, given), counts[1:], rtol=1e-12)


def test_box_cox_finds_the_power_that_made_the_data():
    values = (
        0.5 * (3 + 0.5 * np.random.default_rng(0).normal(size=4_000)) + 1
    ) ** 2  # lambda 1/2 of a Gaussian
    assert fitted_chain("box_cox", [values], "a").inner[0].parameter == pytest.approx(0.5, abs=0.15)


def test_values_that_a_log_does_not_take_are_refused_with_their_row():
    scaling = Scaling((Chain((Elementwise("log"),)),), np.zeros(1), np.ones(1))
    times = np.array(["2020-04-17", "2020-04-20"], "datetime64[D]")
    with pytest.raises(
        PerrinError, match=r"wti: column 'Price' is -36.98 at 2020-04-20 \(row 2\); log takes positive"
    ):
        scaling.refuse(np.array([[18.3, -36.98]]), ["Price"], times, "wti")


def test_chains_that_make_no_sense_are_refused():
    for names, message in (
        (["difference", "log"], "log takes positive values, and differences have either sign"),
        (["difference", "cumulative"], "takes two differences"),
        ("logarithm", "transform of column 'a' 'logarithm' is not known; did you mean 'log'"),
    ):
        with pytest.raises(PerrinError, match=message):
            fitted_chain(names, [positive(9)], "a")


def test_the_scale_of_a_window_is_of_what_is_observed_alone():
    x = np.random.default_rng(0).normal(size=(3, 2, 50))
    observed = np.random.default_rng(1).random(x.shape) < 0.6
    observed[2, 1] = False
    found = location_scale(x, observed, np.array([5.0, 6.0]), np.array([2.0, 3.0]))
    wild = location_scale(np.where(observed, x, 1e9), observed, np.array([5.0, 6.0]), np.array([2.0, 3.0]))
    for one, other in zip(found, wild, strict=True):
        np.testing.assert_array_equal(one, other)
    assert found[0][2, 1] == 6
    assert found[1][2, 1] == 3
    np.testing.assert_allclose(found[0][0, 0], np.median(x[0, 0][observed[0, 0]]), rtol=1e-12)


def test_the_median_is_numpys():
    x = np.random.default_rng(0).normal(size=(40, 11))
    observed = np.random.default_rng(1).random(x.shape) < 0.5
    observed[:, 0] = True
    np.testing.assert_allclose(
        median(x, observed), np.nanmedian(np.where(observed, x, np.nan), -1), rtol=1e-12
    )


def test_a_window_that_does_not_move_has_a_scale_all_the_same():
    middle, scale = location_scale(
        np.full((1, 1, 96), 3.0), np.ones((1, 1, 96), bool), np.zeros(1), np.array([2.0])
    )
    assert middle[0, 0] == 3
    assert scale[0, 0] == pytest.approx(2 * (4 / 100) ** 0.5)


@pytest.mark.parametrize("name", [name for name, written in CHAINS.items() if ["difference", 1] in written])
def test_after_a_gap_steps_are_measured_from_the_first_value(name):
    """Steps say nothing of where a series stands after a gap: that value counts as given, whatever its transform."""
    chain, y = Chain.from_config(CHAINS[name]), positive(1, 9)
    y[:, 4] = np.nan

    def log_det(values: np.ndarray, given: int) -> np.ndarray:
        drawn = ~np.isnan(values[:, 1:]) & (np.arange(1, values.shape[1]) > given)
        return chain.log_det(values, drawn, drawn & ~np.isnan(chain.forward(values)))

    np.testing.assert_allclose(log_det(y, 1), log_det(y[:, :4], 1) + log_det(y[:, 5:], 0), rtol=1e-12)
