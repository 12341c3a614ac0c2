"""The integrator reaches its order, keeps its tolerance item by item, and says where it did not arrive."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from perrin.errors import PerrinError
from perrin.likelihood.integration import Stepping, integrate
from perrin.likelihood.runge_kutta import STAGES, A, C, E


def turning(y, level, items):
    """A pendulum of each item's own pace (its place, plus one); the third column integrates the first."""
    pace = 1.0 + items.to(torch.float64)
    return torch.stack([pace * y[:, 1], -pace * y[:, 0], y[:, 0]], 1)


def start(count=3):
    return torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).expand(count, 3)


def solution(count, span):
    pace = 1.0 + torch.arange(count, dtype=torch.float64)
    return torch.stack([torch.cos(pace * span), -torch.sin(pace * span), torch.sin(pace * span) / pace], 1)


def go(field=turning, y=None, first=0.0, last=3.0, **options):
    return integrate(field, start() if y is None else y, first, last, 2, Stepping(**options))


def test_the_tableau_is_consistent():
    for row, c in zip(A, C, strict=True):
        assert sum(row) == pytest.approx(c, abs=1e-12)
    weights = [*A[-1], 0.0]
    for power in range(5):  # quadrature of the fifth order; the error's weights vanish to the fourth
        moments = [0.0**power, *(c**power for c in C)]
        assert sum(w * m for w, m in zip(weights, moments, strict=True)) == pytest.approx(1 / (power + 1))
        if power < 4:
            assert sum(e * m for e, m in zip(E, moments, strict=True)) == pytest.approx(0, abs=1e-12)


def test_fixed_steps_are_of_the_fifth_order():
    errors = [float((go(steps=n).value - solution(3, 3.0)).abs().max()) for n in (16, 32, 64)]
    slopes = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(slopes) > 4.8


@pytest.mark.parametrize("last", [3.0, -3.0])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_adaptive_steps_keep_their_tolerance_up_and_down(tolerance, last):
    found = go(last=last, tolerance=tolerance)
    assert bool(found.converged.all())
    error = (found.value - solution(3, last)).abs().max(1).values
    assert float(error.max()) < 100 * tolerance
    assert bool((found.error > 0).all())
    assert float(found.error.max()) < 1e3 * tolerance


def test_fixed_and_adaptive_steps_agree():
    torch.testing.assert_close(go(steps=200).value, go(tolerance=1e-10).value, rtol=0, atol=1e-8)


def test_every_item_has_steps_of_its_own():
    """The slow item of a batch takes no more steps than alone, and ends on the same bits."""
    rows = []

    def counted(y, level, items):
        rows.append(items.tolist())
        return turning(y, level, items)

    together = go(counted, tolerance=1e-8)
    slow, fast = (sum(item in row for row in rows) for item in (0, 2))
    assert slow < fast
    assert together.evaluations == len(rows)
    alone = go(y=start(1), tolerance=1e-8)
    assert alone.evaluations == slow
    assert torch.equal(alone.value[0], together.value[0])


def test_no_slope_is_computed_twice():
    levels = []

    def watched(y, level, items):
        levels.append(float(level[0]))
        return turning(y, level, items)

    found = go(watched, y=start(1), steps=10)
    assert found.evaluations == len(levels) == 1 + 10 * STAGES


def test_an_error_in_an_integral_alone_is_seen():
    """The state stands still; the integral of cos(9 level) does not."""

    def field(y, level, items):
        return torch.stack([0 * level, 0 * level, torch.cos(9 * level)], 1)

    found = go(field, tolerance=1e-9)
    torch.testing.assert_close(
        found.value[:, 2], torch.full((3,), math.sin(27.0) / 9, dtype=torch.float64), rtol=0, atol=1e-7
    )
    assert not go(field, steps=3).converged.any()


def test_a_wall_of_nan_is_given_up_quickly():
    def field(y, level, items):
        return torch.where(level[:, None] > 1, torch.nan, turning(y, level, items))

    found = go(field)
    assert not found.converged.any()
    assert bool(found.value.isnan().all())
    assert found.evaluations < 300
    assert go(lambda y, level, items: y * torch.nan).evaluations == 1
    fixed = go(field, steps=9)
    assert not fixed.converged.any()
    assert bool(fixed.value.isnan().all())


def test_the_limit_of_evaluations_holds():
    found = go(tolerance=1e-8, max_evaluations=100)
    assert found.evaluations <= 100
    assert found.converged.tolist() == [bool(v.isfinite().all()) for v in found.value]
    assert not found.converged[2]


@pytest.mark.parametrize("options", [{"steps": 0}, {"tolerance": 0.0}, {"tolerance": math.nan}])
def test_senseless_stepping_is_refused(options):
    with pytest.raises(PerrinError, match=next(iter(options))):
        Stepping(**options)
