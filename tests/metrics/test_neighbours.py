"""Nearest neighbours: brute force, exact zeros for copies, large offsets."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from perrin.errors import PerrinError
from perrin.metrics import nearest_distances, neighbours


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunk", [64, 16_000_000])
def test_agree_with_brute_force(dtype: type, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    points, reference = (rng.standard_normal((n, 3, 4)).astype(dtype) for n in (41, 57))
    table = cdist(points.reshape(41, 12).astype(float), reference.reshape(57, 12).astype(float))
    distances, indices = nearest_distances(points, reference, k=3)
    assert np.array_equal(indices.numpy(), table.argsort(1)[:, :3])
    np.testing.assert_allclose(distances.numpy(), np.sort(table, 1)[:, :3], rtol=1e-12)


def test_a_copy_is_at_exactly_zero_even_far_from_the_origin() -> None:
    reference = torch.rand(500, 64, generator=torch.Generator().manual_seed(1)) + 1000
    distances, indices = nearest_distances(reference[100:200].clone(), reference)
    assert torch.equal(indices[:, 0], torch.arange(100, 200))
    assert bool((distances == 0).all())


def test_a_near_copy_is_told_from_a_copy() -> None:
    # The expanded square loses this difference in float32: 1e-4 beside points of norm 1,000.
    reference = torch.randn(50, 16, generator=torch.Generator().manual_seed(2)) * 250
    near = reference.clone()
    near[:, 0] += 2**-10
    exact = (near.double() - reference.double()).norm(dim=1)
    np.testing.assert_allclose(nearest_distances(near, reference)[0][:, 0], exact, rtol=1e-12)


def test_equal_distances_take_the_lower_index() -> None:
    reference = torch.tensor([[1.0], [-1.0], [1.0], [5.0]])
    assert nearest_distances(torch.zeros(1, 1), reference, k=3)[1].tolist() == [[0, 1, 2]]


def test_too_small_a_reference_is_refused() -> None:
    with pytest.raises(PerrinError, match="k = 4 nearest neighbours asked of a reference set of 3"):
        nearest_distances(torch.zeros(2, 1), torch.zeros(3, 1), k=4)


def test_neighbours_closer_together_than_rounding_are_still_in_order() -> None:
    # Each point has copies moved by 3, 1 and 2 times 2^-10; the matrix product cannot tell the four apart.
    points = (torch.randn(50, 16, generator=torch.Generator().manual_seed(3)) * 250 * 1024).round() / 1024
    moved = [points + torch.eye(16)[0] * shift / 1024 for shift in (3, 1, 2)]
    distances, indices = nearest_distances(points, torch.cat([*moved, points]), k=1)
    assert torch.equal(indices[:, 0], torch.arange(150, 200))
    assert bool((distances == 0).all())
    distances, _ = nearest_distances(points, torch.cat(moved), k=3)
    assert torch.equal(distances * 1024, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).expand(50, 3))
