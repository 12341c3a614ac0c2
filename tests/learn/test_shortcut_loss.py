"""The loss of shortcuts: it rests at the exact average along the flow, of Gaussian data in closed form."""

import math
from itertools import pairwise

import pytest
import torch

from perrin.denoise import Prediction, exact
from perrin.denoise.until import UNTIL
from perrin.errors import PerrinError
from perrin.learn.consistency_loss import follow
from perrin.learn.shortcut_loss import Shortcut, in_halves
from perrin.learn.weighting import uniform
from perrin.process import levels
from perrin.process.levels import expand

MEAN, STD = 0.7, 0.6
GRID = (-6.0, -2.0, 0.0, 2.0)


def float64(*values):
    return torch.tensor(values, dtype=torch.float64)


class Average:
    """The average of the mean along the flow of N(mean, std^2), in closed form; times `scale` of the mean's variation."""

    def __init__(self, std=STD, scale=1.0):
        self.std, self.scale = std, scale

    def flow(self, x, s, r):
        """Along the flow (x - alpha mean) / spread is constant."""
        spread = [torch.sqrt(levels.alpha(v) ** 2 * self.std**2 + levels.sigma(v) ** 2) for v in (s, r)]
        z = (x - expand(levels.alpha(s), x) * MEAN) / expand(spread[0], x)
        return expand(levels.alpha(r), x) * MEAN + expand(spread[1], x) * z

    def __call__(self, x, level, condition=None):
        r = condition[UNTIL][:, 0]
        kept = levels.sigma(r) / levels.sigma(level)
        found = self.flow(x, level, r) - expand(kept, x) * x
        found = found / expand(levels.alpha(r) - kept * levels.alpha(level), x)
        return Prediction(MEAN + self.scale * (found - MEAN))


def losses(student, std=STD, grid=GRID, count=512, **options):
    """Losses of items of Gaussian data in two dimensions, float64, one in each stratum of u."""
    made = Shortcut(exact.Gaussian(MEAN, std), grid, uniform(), "squared", **options)
    clean = MEAN + std * torch.randn(
        count, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return made(student, clean, None, torch.arange(count), u), made.steps(u)


def test_the_exact_average_has_no_loss_but_that_of_the_teacher_s_midpoint_rule():
    found, steps = losses(Average())
    assert float(found.value[~steps.taught].max()) < 1e-24
    assert float(found.value[steps.taught].max()) > 1e-6


def test_on_a_point_mass_the_exact_answer_has_no_loss_at_any_length():
    assert float(losses(Average(std=0.0), std=0.0)[0].value.max()) < 1e-20


def test_any_other_answer_has_a_loss_at_every_length():
    for scale in (0.8, 1.2):
        found, steps = losses(Average(scale=scale))
        for taught in (True, False):
            assert float(found.value[steps.taught == taught].mean()) > 1e-4


def slope(value, **options):
    """Of the loss by the scale of an answer that is stretched, on a grid so fine that the midpoint rule errs by little."""
    scale = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    fine = tuple(torch.linspace(-6, 6, 32).tolist())
    losses(Average(scale=scale), grid=fine, **options)[0].mean().backward()
    return float(scale.grad)


def test_the_exact_answer_is_where_the_gradient_vanishes():
    assert abs(slope(1.0)) < 0.02 * abs(slope(1.3))
    assert slope(0.7) < 0 < slope(1.3)


def test_a_teacher_of_few_items_does_not_hold_the_student():
    """Two stretched halves make a whole that is stretched more: below some share of taught items training runs away."""
    assert slope(0.7, first=0.1) > 0 > slope(1.3, first=0.1)


def test_what_the_teacher_teaches_is_of_second_order():
    """Its error falls with the square of a step in k = alpha / sigma; on Gaussian data even faster, so here are two."""
    teacher = exact.Mixture(float64(-1.0, 0.8)[:, None], 0.4)
    x = 0.6 * torch.randn(64, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def taught(x, k, length):
        made = Shortcut(teacher, (2 * math.log(k), 2 * math.log(k + length)), uniform())
        return made.target(Average(), x, made.steps(torch.full((len(x),), 0.1, dtype=torch.float64)), None)

    def dense(length, parts=200):
        """In x / sigma the slope is the mean."""
        y, k = x / float(levels.sigma(0.0)), 1.0
        for _ in range(parts):
            there = y * float(levels.sigma(2 * math.log(k)))
            y, k = y + length / parts * taught(there, k, length / parts), k + length / parts
        return (y - x / float(levels.sigma(0.0))) / length

    errors = [float((taught(x, 1.0, h) - dense(h)).square().mean().sqrt()) for h in (0.4, 0.2, 0.1)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.2)


def test_a_step_in_halves_goes_where_its_halves_go():
    """Whatever the network says, and the last step to the clean end."""
    made = Shortcut(exact.Gaussian(MEAN, STD), GRID, uniform(), first=0.01)
    steps = made.steps((torch.arange(64, dtype=torch.float64) + 1.5) / 66)
    x = torch.randn(64, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def ask(x, s, r, condition):
        return torch.sin(3 * x + expand(s, x)) + expand(torch.tanh(r), x)

    middle = follow(x, ask(x, steps.s, steps.m, None), steps.s, steps.m)
    end = follow(middle, ask(middle, steps.m, steps.r, None), steps.m, steps.r)
    whole = follow(x, in_halves(ask, x, steps, None), steps.s, steps.r)
    assert bool((~steps.r.isfinite()).any())
    assert torch.allclose(whole[~steps.taught], end[~steps.taught], rtol=1e-12)


def test_nothing_is_learned_from_the_target():
    scale = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    made = Shortcut(exact.Gaussian(MEAN, STD), GRID, uniform())
    steps = made.steps(float64(0.1, 0.5, 0.9))
    x = torch.ones(3, 2, dtype=torch.float64)
    assert not made.target(Average(scale=scale), x, steps, None).requires_grad


def test_a_target_is_its_item_s_own():
    made = Shortcut(exact.Gaussian(MEAN, STD), GRID, uniform())
    steps = made.steps((torch.arange(16, dtype=torch.float64) + 0.5) / 16)
    x = torch.randn(16, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    whole = made.target(Average(), x, steps, None)
    for i in range(16):
        row = torch.tensor([i])
        assert torch.equal(made.target(Average(), x[row], steps.of(row), None), whole[row])


def counted(made):
    """How often each (start, end) is met by u that are evenly spread."""
    steps = made.steps((torch.arange(12_000, dtype=torch.float64) + 0.5) / 12_000)
    pairs, counts = torch.stack([steps.s, steps.r], 1).unique(dim=0, return_counts=True)
    return {tuple(pair): n / 12_000 for pair, n in zip(pairs.tolist(), counts.tolist(), strict=True)}


def test_lengths_have_their_shares_and_steps_of_one_length_are_equally_likely():
    end = math.inf
    found = counted(Shortcut(exact.Gaussian(MEAN, STD), GRID, uniform(), first=0.4))
    assert found == pytest.approx(
        {
            (-6, -2): 0.1,
            (-2, 0): 0.1,
            (0, 2): 0.1,
            (2, end): 0.1,
            (-6, 0): 0.15,
            (0, end): 0.15,
            (-6, end): 0.3,
        }
    )


@pytest.mark.parametrize("grid", [(), (-6.0,), (-6.0, -2.0, 0.0), (-1.0, -2.0)])
def test_a_grid_that_cannot_be_halved_to_one_step_is_refused(grid):
    with pytest.raises(PerrinError, match=r"a grid of 2, 4, 8, .. rising levels; this one is \["):
        Shortcut(exact.Gaussian(MEAN, STD), grid, uniform())
