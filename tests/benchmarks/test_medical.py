"""The baseline of reconstruction is what it says: the minimiser; and the figures beside it mean what they say."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from perrin.guide.operators import Mask
from perrin.restoration.tasks import mri

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "medical"
SHAPE = (1, 16, 16)


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return {name: importlib.import_module(name) for name in ("total_variation", "measures")}


def steps():
    """A dark square with a bright one in it."""
    x = torch.full((2, *SHAPE), -0.8, dtype=torch.float64)
    x[:, :, 4:12, 5:11] = 0.5
    return x


def test_divergence_is_the_adjoint_of_the_gradient(scripts):
    tv, generator = scripts["total_variation"], torch.Generator().manual_seed(0)
    x = torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64)
    g = torch.randn(2, 2, *SHAPE, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((tv.gradient(x) * g).sum(), (x * tv.divergence(g)).sum())


def test_no_image_nearby_has_a_lower_objective(scripts):
    tv, generator = scripts["total_variation"], torch.Generator().manual_seed(1)
    operator = mri(SHAPE, acceleration=2.0, centre=0.25)
    y = operator(steps())
    y = y + 0.05 * operator(torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64))
    found = tv.reconstruct(operator, y, 0.02, rounds=400)
    best = tv.objective(operator, y, 0.02, found)
    for size in (0.003, 0.01, 0.03):
        for _ in range(20):
            other = found + size * torch.randn(found.shape, generator=generator, dtype=torch.float64)
            assert (tv.objective(operator, y, 0.02, other.clamp(-1, 1)) >= best - 1e-5).all()
    assert (tv.objective(operator, y, 0.02, steps()) >= best).all()
    assert (tv.objective(operator, y, 0.02, operator.adjoint(y)) > 1.2 * best).all()


def test_two_levels_shrink_towards_each_other_by_what_theory_says(scripts):
    """Of a square of n x n pixels under noiseless total variation its height falls by weight times perimeter / area."""
    tv = scripts["total_variation"]
    x = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    x[..., :8] = 1.0  # a half plane: perimeter 16, area 128 on either side
    whole = Mask((1, 16, 16), torch.ones(16, 16))
    found = tv.reconstruct(whole, x, 0.4, rounds=400)
    torch.testing.assert_close(
        found[..., :8].mean(), torch.tensor(1 - 0.4 * 16 / 128).double(), atol=1e-4, rtol=0
    )
    torch.testing.assert_close(
        found[..., 8:].mean(), torch.tensor(0.4 * 16 / 128).double(), atol=1e-4, rtol=0
    )


def test_decibels_are_of_a_range_of_two(scripts):
    found = scripts["measures"].pictures(steps() + 0.02, steps())["psnr"]
    assert found == pytest.approx([40.0, 40.0])
