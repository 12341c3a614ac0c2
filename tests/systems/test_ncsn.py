"""Noise-conditional score networks as a composition: scales, law, loss, sampler, and what a recipe asks of its data."""

from __future__ import annotations

import math

import pytest
import torch
from tests.sample.measure import output_variance
from tests.training.tiny import points_recipe, trainer, write_points

from perrin.denoise import Prediction, exact
from perrin.errors import PerrinError
from perrin.learn.laws import uniform_scale
from perrin.model import Model
from perrin.process import levels
from perrin.registry import grids
from perrin.sample import run
from perrin.systems import ncsn
from perrin.training import recipe as recipes
from perrin.training.measured import STAND_IN, filled, measured
from perrin.training.setup import prepare

SCALES = ncsn.Scales(0.05, 8.0, 12)


def geometric(scales):
    """The scales themselves, as the papers write them, from the largest."""
    ratio = (scales.sigma_min / scales.sigma_max) ** (1 / (scales.count - 1))
    return torch.tensor([scales.sigma_max * ratio**i for i in range(scales.count)], dtype=torch.float64)


def test_the_law_gives_every_scale_and_nothing_else_each_as_often():
    u = (torch.arange(1200, dtype=torch.float64) + 0.5) / 1200
    found = levels.ratio(uniform_scale(*SCALES)(u))
    values, counts = found.unique(return_counts=True)
    torch.testing.assert_close(values, geometric(SCALES).flip(0), rtol=1e-12, atol=0)
    assert counts.tolist() == [100] * 12
    ends = uniform_scale(*SCALES)(torch.tensor([1e-12, 1 - 1e-12], dtype=torch.float64))
    torch.testing.assert_close(levels.ratio(ends), torch.tensor([0.05, 8.0], dtype=torch.float64))


def test_the_ladder_is_the_scales_and_the_grids_of_their_schedule():
    ladder = torch.tensor(ncsn.ladder(SCALES), dtype=torch.float64)
    torch.testing.assert_close(levels.ratio(ladder), geometric(SCALES), rtol=1e-12, atol=0)
    made = grids["logsnr"](ncsn.schedule_of(SCALES), SCALES.count)
    torch.testing.assert_close(made[:-1], ladder)
    assert float(made[-1]) == math.inf


def test_the_loss_is_score_matching_weighted_by_the_variance_of_each_scale():
    """sigma^2 |s(y) + noise/sigma|^2 with s the score where the clean state is unscaled, for a wrong denoiser."""
    clean = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    told = {}

    def wrong(x, level, condition=None):
        told.update(x=x, level=level)
        return Prediction(0.3 * x + 0.1)

    loss = ncsn.make_objective(SCALES)(wrong, clean, None, torch.arange(64))
    alpha, sigma = levels.alpha(told["level"])[:, None], levels.ratio(told["level"])[:, None]
    y = told["x"] / alpha
    noise = (y - clean) / sigma
    score = (0.3 * told["x"] + 0.1 - y) / sigma**2
    right = (sigma**2 * (score + noise / sigma) ** 2).mean(1)
    torch.testing.assert_close(loss.value, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("corrections", [1, 3, 6])
def test_the_variance_left_at_a_level_is_that_of_the_plan(corrections):
    """Two levels on a point mass, the first left as it came: what comes in is ratio^2, what goes out the formula."""
    ratio, size = 1.6, 0.37
    low, high = 0.0, 2 * math.log(ratio)
    from perrin.sample import make_plan

    plan = make_plan("annealed_langevin", grid=[low, high], corrections=corrections, step_size=size)
    first = ncsn.variance_left(1.0, corrections, size)
    entering = ratio * math.sqrt(first)
    found = output_variance(plan, 0.0) / float(levels.sigma(high) ** 2)
    assert found == pytest.approx(ncsn.variance_left(entering, corrections, size), rel=1e-10)


def test_the_best_step_size_leaves_the_variance_nearest_to_what_the_network_is_told():
    ratio = (8 / 0.05) ** (1 / 11)
    best = ncsn.best_step_size(SCALES, 5)
    for other in (0.5 * best, 0.9 * best, 1.1 * best):
        assert ncsn.variance_left(ratio, 5, best) < ncsn.variance_left(ratio, 5, other)
    assert ncsn.variance_left(ratio, 5, best) > 1


def test_sampling_finds_two_far_modes_and_leaves_no_noise():
    """An exact score: both modes are reached from the largest scale, and the last step removes the smallest noise."""
    points = torch.tensor([[-2.0, 0.0], [2.0, 1.0]], dtype=torch.float64)
    states = points.repeat(2, 1)
    plan = ncsn.make_sampler(ncsn.noise_scales(states, 0.05))
    x = run(plan, exact.Empirical(points), seeds=range(200), shape=(2,), dtype=torch.float64)
    distances = torch.cdist(x, points)
    assert float(distances.min(1).values.max()) < 1e-6
    assert 60 < int((distances[:, 0] < 1e-6).sum()) < 140


def asking(path, **objective):
    """A recipe whose scales are to be measured."""
    return {
        **points_recipe(path),
        "parameterisation": {"name": "noise"},
        "objective": {
            "law": {"name": "uniform_scale", "sigma_min": 0.05, "sigma_max": "data", "count": "data"},
            "weight": {"name": "simple"},
            **objective,
        },
        "sampling": {
            "solver": "annealed_langevin",
            "options": {"corrections": 2},
            "steps": "data",
            "grid": "logsnr",
            "schedule": {"name": "ve", "sigma_min": 0.05, "sigma_max": "data"},
        },
    }


def test_a_recipe_measures_what_it_asks_of_the_training_data(tmp_path):
    setup = prepare(recipes.validate(asking(write_points(tmp_path))))
    states = setup.codec.encode([setup.data.train[i] for i in range(len(setup.data.train))]).state
    right = ncsn.noise_scales(states, 0.05)
    assert setup.recipe.objective.law == {"name": "uniform_scale", **right._asdict()}
    assert setup.recipe.sampling["schedule"]["sigma_max"] == right.sigma_max
    plan = setup.sampling.plan()
    assert plan.grid[:-1] == pytest.approx(ncsn.ladder(right))
    assert plan.options == {"corrections": 2}
    assert setup.sampling.plan("ddim").options == {}  # options belong to their own solver
    again = recipes.validate(recipes.yaml.safe_load(recipes.dump(setup.recipe)))
    assert measured(again, setup.data.train, setup.codec) is again


def test_a_run_of_it_keeps_the_numbers_and_samples(tmp_path):
    import perrin

    run = perrin.train(asking(write_points(tmp_path)), out=tmp_path / "run")
    assert isinstance(run.recipe.objective.law["count"], int)
    model = Model.load(tmp_path / "run")
    assert model.sampling.options == {"corrections": 2}
    assert bool(torch.isfinite(model.sample(3).state).all())


def test_sliced_score_matching_trains_by_the_same_loop(tmp_path):
    made = trainer(asking(write_points(tmp_path), name="sliced", slices=2), tmp_path / "run")
    made.run()
    assert made.step == 12
    assert math.isfinite(made.watch.smooth)


def test_data_is_no_number_where_nothing_is_measured(tmp_path):
    wrong = asking(write_points(tmp_path))
    wrong["objective"]["law"]["sigma_min"] = "data"
    with pytest.raises(PerrinError, match="sigma_min") as caught:
        prepare(recipes.validate(wrong))
    assert "\n" not in str(caught.value)
    plain = recipes.validate(points_recipe("x"))
    assert filled(plain, STAND_IN) == plain
