"""Divergences are the trace of the Jacobian, exactly or on average, and their probes belong to their items."""

from __future__ import annotations

import pytest
import torch

from perrin.errors import PerrinError
from perrin.likelihood.divergence import make_probes, value_and_divergence
from perrin.likelihood.items import keys_of

D = 5
CPU = torch.device("cpu")
MATRIX = torch.randn(D, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
X = torch.randn(3, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def field(x):
    """Not linear, and its Jacobian is not symmetric."""
    return torch.sin(x @ MATRIX.T) * x[:, :1] + x**3


def trace(x):
    return torch.stack([torch.func.jacfwd(lambda v: field(v[None])[0])(row).trace() for row in x])


def test_the_exact_divergence_is_the_trace_of_the_jacobian():
    value, found = value_and_divergence(field, X, None)
    torch.testing.assert_close(found[:, 0], trace(X))
    assert torch.equal(value, field(X))
    assert not value.requires_grad
    assert not found.requires_grad


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_every_probe_gives_its_quadratic_form(kind):
    probes = make_probes(kind, 4, [7, 8, 9], D, CPU)
    _, found = value_and_divergence(field, X, probes)
    for item in range(3):
        jacobian = torch.func.jacfwd(lambda v: field(v[None])[0])(X[item])
        right = torch.einsum("ki,ij,kj->k", probes[item], jacobian, probes[item])
        torch.testing.assert_close(found[item], right)


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_probes_have_zero_mean_and_unit_covariance(kind):
    probes = make_probes(kind, 40, range(250), D, CPU).reshape(-1, D)
    torch.testing.assert_close(probes.mean(0), torch.zeros(D, dtype=torch.float64), rtol=0, atol=0.05)
    torch.testing.assert_close(
        probes.T @ probes / len(probes), torch.eye(D, dtype=torch.float64), rtol=0, atol=0.06
    )
    if kind == "rademacher":
        assert bool((probes.abs() == 1).all())


def test_probes_belong_to_their_keys_and_more_of_them_begin_the_same():
    both = make_probes("rademacher", 3, [(4, 1), 9], 64, CPU)
    assert torch.equal(make_probes("rademacher", 5, [9], 64, CPU)[0, :3], both[1])
    assert len({tuple(p.tolist()) for p in both.reshape(6, 64)}) == 6


def test_without_seeds_an_item_names_itself():
    keys = keys_of(X, None)
    assert keys_of(X[1:2], None) == keys[1:2]
    assert len(set(keys)) == 3
    assert keys_of({"b": X[:, 2:], "a": X[:, :2]}, None) == keys
    assert keys_of(X, [1, (2, 3), 4]) == [1, (2, 3), 4]


def test_gradients_work_under_no_grad_and_a_field_without_them_is_refused():
    with torch.no_grad():
        _, found = value_and_divergence(field, X, None)
    torch.testing.assert_close(found[:, 0], trace(X))
    with pytest.raises(PerrinError, match="gradient"):
        value_and_divergence(torch.no_grad()(field), X, None)
