"""Power-function averages of the weights: their closed form, their width, lengths rebuilt, and the choice among them."""

import numpy as np
import pytest
import torch
from tests.training.tiny import log_of, points_recipe, write_points

import perrin
from perrin.errors import PerrinError
from perrin.training.averaging import choose, rebuild, snapshot
from perrin.training.ema import PowerEMA, gamma_of, reconstruction

STDS = (0.05, 0.1, 0.2)


def averaged(theta, steps, stds=STDS):
    """The averages after `steps` of weights theta(step)."""
    ema = PowerEMA({"w": torch.zeros(2, dtype=torch.float64)}, stds)
    for step in range(1, steps + 1):
        ema.update({"w": torch.tensor([theta(step), -theta(step)], dtype=torch.float64)}, step)
    return {std: average["w"] for std, average in ema.averages.items()}


@pytest.mark.parametrize("steps", [1, 2, 10, 500])
def test_linearly_moving_weights_have_the_closed_form_average(steps):
    # summing (tau/t)^p - ((tau-1)/t)^p, the share of step tau, times tau by parts
    for std, average in averaged(lambda step: step, steps).items():
        p = gamma_of(std) + 1
        expected = steps - sum((tau / steps) ** p for tau in range(steps))
        assert average.tolist() == pytest.approx([expected, -expected], rel=1e-12)


def test_after_one_step_the_average_is_the_weights():
    assert all(average.tolist() == [7.0, -7.0] for average in averaged(lambda step: 7.0, 1).values())


def test_constant_weights_stay_exactly_themselves():
    for average in averaged(lambda step: 0.3, 100).values():
        assert average.tolist() == pytest.approx([0.3, -0.3], rel=1e-14)


def test_a_profile_is_as_wide_as_it_says():
    steps = 2000
    first, second = averaged(lambda s: s / steps, steps), averaged(lambda s: (s / steps) ** 2, steps)
    for std in STDS:
        assert float(second[std][0] - first[std][0] ** 2) ** 0.5 == pytest.approx(std, rel=1e-2)


@pytest.mark.parametrize("std", [0.0, 0.289, -1.0])
def test_a_width_that_no_profile_has_is_refused(std):
    with pytest.raises(PerrinError, match=r"between 0 and 0\.289"):
        gamma_of(std)


def test_a_length_between_is_rebuilt_from_snapshots(tmp_path):
    steps = 400

    def theta(step):
        return float(np.sin(step / 60) + step / 100)

    ema = PowerEMA({"w": torch.zeros(2, dtype=torch.float64)}, (0.05, 0.1))
    for step in range(1, steps + 1):
        ema.update({"w": torch.full((2,), theta(step), dtype=torch.float64)}, step)
        if step % 50 == 0:
            snapshot(tmp_path, ema, step)
    wanted = averaged(theta, steps, (0.07,))[0.07][0]
    spread = abs(wanted - theta(steps))
    assert abs(rebuild(tmp_path, 0.07)["w"][0] - wanted) < 0.02 * spread
    assert rebuild(tmp_path, 0.1)["w"][0] == pytest.approx(
        float(ema.averages[0.1]["w"][0]), rel=2e-3
    )  # halves
    earlier = averaged(theta, 200, (0.07,))[0.07][0]
    assert abs(rebuild(tmp_path, 0.07, 200)["w"][0] - earlier) < 0.02 * abs(earlier - theta(200)) + 2e-3


def test_the_shares_of_a_stored_profile_are_one_and_zeros():
    shares = reconstruction([(0.05, 100), (0.1, 100), (0.05, 200), (0.1, 200)], 0.1, 200)
    assert shares == pytest.approx([0, 0, 0, 1], abs=1e-6)


def test_weights_that_did_not_move_are_rebuilt_exactly():
    shares = reconstruction([(std, step) for step in (50, 100, 150, 200) for std in (0.05, 0.1)], 0.07, 200)
    assert sum(shares) == pytest.approx(1, abs=1e-9)


def test_a_run_without_snapshots_cannot_be_rebuilt(tmp_path):
    with pytest.raises(PerrinError, match="holds no snapshots"):
        rebuild(tmp_path, 0.1)


class Distance:
    """A held-out loss that is the distance of the weights from a target."""

    def __init__(self, target):
        self.target = target

    def of(self, denoiser, weights):
        return abs(float(weights["w"][0]) - self.target)


@pytest.mark.parametrize("best", [0.05, 0.0707, 0.1])
def test_the_average_that_validates_best_is_chosen_kept_or_rebuilt(best, tmp_path):
    ema = PowerEMA({"w": torch.zeros(2)}, (0.05, 0.1))
    for step in range(1, 201):
        ema.update({"w": torch.full((2,), step / 100)}, step)
        if step % 50 == 0:
            snapshot(tmp_path, ema, step)
    target = float(averaged(lambda step: step / 100, 200, (best,))[best][0])
    weights, facts = choose(tmp_path, ema, 200, None, Distance(target))
    assert facts["std"] == best
    assert float(weights["w"][0]) == pytest.approx(target, abs=4e-3)
    assert facts["validation"] == min(facts["all"].values())


def test_a_run_ends_with_the_average_of_least_held_out_loss(tmp_path):
    run = perrin.train(points_recipe(write_points(tmp_path), ema=[0.05, 0.2]), out=tmp_path / "run")
    chosen = log_of(run.folder)[-1]["chosen"]
    assert set(chosen["all"]) == {"0.05", "0.2", "0.1"}  # the two kept and the one rebuilt between them
    assert chosen["validation"] == min(chosen["all"].values())
    assert run.model.about["ema"] == chosen["std"]
