"""Windows steered towards scenarios: in the user's units, under every transform, the same sample when made again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from perrin.denoise import exact
from perrin.errors import PerrinError
from perrin.kinds.series import Series
from perrin.kinds.series.events import parse_event
from perrin.kinds.series.opening import open_series
from perrin.kinds.series.scenarios import quantile_levels
from perrin.process import vp
from perrin.sample import make_plan, run

pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """Two positive columns, 300 days."""
    generator = np.random.default_rng(0)
    rows = 50 * np.exp(0.02 * np.cumsum(generator.normal(size=(2, 300)), 1))
    days = np.datetime64("2020-01-01") + np.arange(300)
    lines = ["date,oil,gas", *(f"{d},{a:.6f},{b:.6f}" for d, a, b in zip(days, *rows, strict=True))]
    path = tmp_path_factory.mktemp("prices") / "prices.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return open_series(path)


def fitted(prices, transform):
    return Series.codec.fit(prices, horizon=8, context=20, transform=transform)


def drawn(codec, n, steps=40, seed=0, first=0, denoiser=None, **wanted):
    """Windows by the exact model of independent standard states, and what was asked of them."""
    outline = codec.outline(n, seed, first, **wanted)
    plain = exact.Gaussian(0.0, 1.0) if denoiser is None else denoiser
    steered = plain if outline.steer is None else outline.steer(plain)
    state = run(
        make_plan("dpmpp_2m", vp(), steps=steps), steered, seeds=[(seed, first + i) for i in range(n)],
        shape=outline.shape, condition=outline.condition, masks=outline.masks, known=outline.known,
    )  # fmt: skip
    return codec.decode_given(state, outline.condition), outline


def future(windows, steps=8):
    return np.stack([w.values[:, -steps:] for w in windows])


def free(codec, n=20_000, **wanted):
    """Windows by plain chance, without a plan."""
    outline = codec.outline(n, 0, 0, **wanted)
    noise = torch.randn(n, *outline.shape, generator=torch.Generator().manual_seed(9))
    state = torch.where(outline.masks.observed, outline.known, noise)
    return future(codec.decode_given(state, outline.condition))


TRANSFORMS = ["identity", "log", ["log", "difference"], "asinh", "difference", {"oil": "box_cox"}]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_decoding_has_the_slope_of_differences(prices, transform):
    codec = fitted(prices, transform)
    outline = codec.outline(3, 0, 0, history=prices.parts[0].window)
    given, before = outline.condition["given"].numpy(), outline.condition["before"].numpy()
    state = torch.randn(3, *outline.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(
        lambda x: codec.scaling.decoded(torch.cat([state[..., :20], x], -1), given, before)[..., 20:],
        state[..., 20:].clone().requires_grad_(),
    )


@pytest.mark.parametrize("transform", [["log", "difference"], "log", "difference"], ids=str)
def test_a_price_is_steered_as_a_rejection_would(prices, transform):
    """`oil` on the last day, at its likelier and at its rare values, and `gas`, which the event says nothing of."""
    codec, history = fitted(prices, transform), prices.parts[0].window
    paths = free(codec, history=history)
    for share in (0.5, 0.97):
        bound = float(np.quantile(paths[:, 0, -1], share))
        text = f"oil[8] > {bound!r}"
        kept = paths[parse_event(text, ["oil", "gas"]).holds(paths)]
        windows, outline = drawn(codec, 500, history=history, scenario=text)
        own = future(windows)
        assert (own[:, 0, -1] > bound).mean() > 0.995
        assert outline.about[0]["scenario"] == f"oil[8] > {bound:.15g}"
        for column, step in ((0, 3), (0, 7), (1, 7)):
            assert ks_2samp(own[:, column, step], kept[:, column, step]).pvalue > 1e-3
        np.testing.assert_array_equal(windows[0].values[:, :20], history.values[:, -20:])  # to the bit


SCENARIOS = {
    "max(oil) > {high} and gas[-1] < {low}": ["log", "difference"],
    "mean(oil) > {high}": ["log", "difference"],
    "min(gas[2:7]) > {high}": "asinh",
    "sum(oil) < {sum}": "log",
    "change(oil[1:8]) > 3": ["log", "difference"],
    "oil[4] > {high} or oil[4] < {low}": "difference",
    "max < {high} and min > {low}": ["log", "difference"],
}


@pytest.mark.parametrize("text", SCENARIOS)
def test_every_statistic_is_steered_under_every_transform(prices, text):
    window = prices.parts[0].window
    codec = fitted(prices, SCENARIOS[text])
    level = window.values[0 if "oil" in text else 1, -1]
    text = text.format(high=level * 1.06, low=level * 0.94, sum=level * 7.4)
    text = text.replace("max <", "max(oil) <").replace("min >", "min(oil) >")
    windows, _ = drawn(codec, 60, 30, history=window, scenario=text)
    held = parse_event(text, codec.names).holds(future(windows))
    plain = parse_event(text, codec.names).holds(future(drawn(codec, 60, 30, history=window)[0]))
    assert held.mean() >= 0.95
    assert plain.mean() < 0.9
    assert np.isfinite(future(windows)).all()


def test_counts_far_from_what_they_were_are_reached(tmp_path):
    """Sums of hyperbolic sines: the state that reaches a number is no linear function of it."""
    generator = np.random.default_rng(1)
    counts = np.cumsum(generator.poisson(30, 200))
    days = np.datetime64("2020-01-01") + np.arange(200)
    path = tmp_path / "counts.csv"
    path.write_text(
        "date,cases\n" + "\n".join(f"{d},{c}" for d, c in zip(days, counts, strict=True)), "utf-8"
    )
    data = open_series(path)
    codec = Series.codec.fit(data, horizon=8, context=20, transform="cumulative")
    for text in (f"last > {counts[-1] + 300}", f"change < {150}", f"last > {counts[-1] + 700}"):
        windows, _ = drawn(codec, 100, 30, history=data.parts[0].window, scenario=text)
        own = future(windows)
        assert parse_event(text, ["cases"]).holds(own).mean() > 0.95
        assert own.max() < counts[-1] + 2_000


def test_gaps_backcasts_and_generated_windows_are_steered(prices):
    codec, window = fitted(prices, "log"), prices.parts[0].window
    history = window.rows(100, 128)
    history.values[:, 10:15] = np.nan
    bound = float(history.values[0, 9]) * 1.1
    filled, _ = drawn(codec, 40, 30, task="impute", history=history, scenario=f"min(oil[11:15]) > {bound}")
    assert (np.stack([w.values[0, 10:15].min() for w in filled]) > bound).mean() > 0.95
    told = ~np.isnan(history.values)
    np.testing.assert_array_equal(filled[3].values[told], history.values[told])
    back, _ = drawn(
        codec, 40, 30, task="backcast", history=window.rows(100, 120), scenario=f"oil[1] > {bound}"
    )
    assert (np.stack([w.values[0, 0] for w in back]) > bound).mean() > 0.95
    made, _ = drawn(codec, 40, 30, scenario="oil[28] > 70 and oil[1] < 50")
    assert all(w.values[0, 27] > 70 and w.values[0, 0] < 50 for w in made)


def test_the_weight_decides_how_much(prices):
    codec, history = fitted(prices, ["log", "difference"]), prices.parts[0].window
    text = f"oil[8] > {history.values[0, -1] * 1.05}"
    none, outline = drawn(codec, 60, 20, history=history, scenario=text, scenario_weight=0.0)
    plain, _ = drawn(codec, 60, 20, history=history)
    np.testing.assert_array_equal(future(none), future(plain))
    assert outline.about[0]["scenario_weight"] == 0.0
    tops = [future(drawn(codec, 60, 20, history=history, scenario=text, scenario_weight=w)[0])[:, 0, -1].mean()
            for w in (0.5, 1.0, 1.5)]  # fmt: skip
    assert tops == sorted(tops)


# ---- quantiles


def test_quantile_levels_are_even_and_each_paths_own():
    levels = quantile_levels(1_000, 5, 0)
    assert torch.equal(levels[700:703], quantile_levels(3, 5, 700))
    assert not torch.equal(levels, quantile_levels(1_000, 6, 0))
    for share in (0.1, 0.25, 0.9):
        for n in (50, 200, 1_000):
            assert abs(int((levels[:n] < share).sum()) - share * n) < 3


def test_paths_have_the_quantiles_that_they_are_to_have(prices):
    """And on either side of a target they are the model's own."""
    codec, history = fitted(prices, ["log", "difference"]), prices.parts[0].window
    paths = free(codec, history=history)
    low, high = (float(v) for v in np.quantile(paths[:, 0, -1], [0.3, 0.97]))
    text = f"q90(oil[8]) = {high!r} and q50(oil[8]) = {low!r}"
    windows, outline = drawn(codec, 600, history=history, targets=text)
    own = future(windows)
    assert abs((own[:, 0, -1] < low).mean() - 0.5) < 0.01
    assert abs((own[:, 0, -1] < high).mean() - 0.9) < 0.01
    edges = [-np.inf, low, high, np.inf]
    for k in range(3):
        inside = [(e[:, 0, -1] > edges[k]) & (e[:, 0, -1] < edges[k + 1]) for e in (own, paths)]
        for column, step in ((0, 7), (0, 3), (1, 5)):
            mine, model = own[inside[0]][:, column, step], paths[inside[1]][:, column, step]
            assert ks_2samp(mine, model).pvalue > 1e-3
    assert outline.about[5]["targets"].startswith("q50(oil[8]) = ")


def test_targets_and_a_scenario_go_together(prices):
    codec, history = fitted(prices, ["log", "difference"]), prices.parts[0].window
    level = float(history.values[0, -1])
    windows, _ = drawn(
        codec, 100, 30, history=history, scenario=f"max(gas) > {1.05 * history.values[1, -1]}",
        targets=f"q30(mean(oil)) = {level}",
    )  # fmt: skip
    own = future(windows)
    assert abs((own[:, 0].mean(1) < level).mean() - 0.3) < 0.04
    assert (own[:, 1].max(1) > 1.05 * history.values[1, -1]).mean() > 0.97


# ---- made again, and refusals


def test_the_same_sample_is_made_again_alone_and_in_chunks(prices):
    codec, history = fitted(prices, ["log", "difference"]), prices.parts[0].window
    wish = {"history": history, "scenario": f"max(oil) > {1.1 * history.values[0, -1]}"}
    wish["targets"] = f"q50(gas[8]) = {history.values[1, -1]}"
    windows, outline = drawn(codec, 5, 20, seed=3, **wish)
    again, _ = drawn(codec, 1, 20, seed=3, first=4, **json.loads(json.dumps(outline.about[4])))
    np.testing.assert_allclose(again[0].values, windows[4].values, rtol=1e-5)
    chunk = slice(2, 4)
    steered = outline.steer(exact.Gaussian(0.0, 1.0))
    state = run(
        make_plan("dpmpp_2m", vp(), steps=20), steered, seeds=[(3, 2), (3, 3)], shape=outline.shape,
        condition={name: value[chunk] for name, value in outline.condition.items()},
        masks=outline.masks.map(lambda m: m[chunk]), known=outline.known[chunk],
    )  # fmt: skip
    some = codec.decode_given(state, {name: value[chunk] for name, value in outline.condition.items()})
    np.testing.assert_allclose(some[1].values, windows[3].values, rtol=1e-5)


BAD = {
    "step": ({"scenario": "oil[9] > 3"}, r"oil\[9\]: step 9 is not drawn; there are 8 steps"),
    "horizon": ({"scenario": "oil[5] > 3", "horizon": 4}, "there are 4 steps"),
    "name": ({"scenario": "oill[5] > 3"}, "did you mean 'oil'"),
    "weight": ({"scenario": "oil[5] > 3", "scenario_weight": -1}, "scenario_weight = -1 must be"),
    "never": ({"scenario": "oil[5] > 3 and oil[5] < 2"}, "cannot come true"),
    "negative": ({"scenario": "oil[5] < -3"}, r"scenario 'oil\[5\] < -3' cannot come true"),
    "both": ({"scenario": "oil[5] > 60", "targets": "q50(oil[5]) = 50"}, "cannot come true"),
    "target": ({"targets": "q50(oil[9]) = 50"}, "step 9 is not drawn"),
    "targets": ({"targets": "q50(oil[1]) = 50 and q50(gas[1]) = 3"}, "do not settle how the two go together"),
}


@pytest.mark.parametrize("case", BAD)
def test_scenarios_that_cannot_be_are_refused(prices, case):
    wish, message = BAD[case]
    with pytest.raises(PerrinError, match=message):
        fitted(prices, "log").outline(2, 0, 0, history=prices.parts[0].window, **wish)


def test_a_bound_below_all_prices_asks_for_nothing(prices):
    codec, history = fitted(prices, "log"), prices.parts[0].window
    plain = future(drawn(codec, 5, 10, history=history)[0])
    np.testing.assert_allclose(
        future(drawn(codec, 5, 10, history=history, scenario="oil[5] > -3")[0]), plain, rtol=1e-6
    )
