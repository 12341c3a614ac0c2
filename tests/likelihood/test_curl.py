"""The antisymmetric share of a score's Jacobian: nought for gradients, known for rotations, in [0, 1] always."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.denoise import Prediction, exact, wrap
from perrin.errors import PerrinError
from perrin.likelihood.curl import asymmetry
from perrin.process import levels

GENERATOR = torch.Generator().manual_seed(0)


def states(*shape):
    return torch.randn(5, *shape, generator=GENERATOR, dtype=torch.float64)


LEVEL = torch.tensor([-3.0, -1.0, 0.0, 2.0, 4.0], dtype=torch.float64)


class Linear:
    """D = A x, so that the Jacobian of the mean is A and that of the score (alpha A - 1)/sigma^2."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, x, level, condition=None):
        return Prediction((x.flatten(1) @ self.matrix.T).reshape(x.shape))


def exact_share(jacobian):
    return float((jacobian - jacobian.T).norm() / (2 * jacobian.norm()))


@pytest.mark.parametrize("field", ["score", "mean"])
@pytest.mark.parametrize("shape", [(4,), (3, 2, 2)])
def test_exact_denoisers_are_gradient_fields(shape, field):
    x = states(*shape)
    means = torch.randn(3, *shape, generator=GENERATOR, dtype=torch.float64)
    for denoiser in (exact.Gaussian(0.2, 0.7), exact.Mixture(means, 0.3)):
        assert float(asymmetry(denoiser, x, LEVEL, field=field).max()) < 1e-7


def test_a_rotation_is_all_curl_and_a_stretch_none():
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    x = states(2)
    torch.testing.assert_close(
        asymmetry(Linear(turn), x, LEVEL, field="mean"), torch.ones(5, dtype=torch.float64)
    )
    for matrix in (torch.eye(2), torch.tensor([[1.0, 3.0], [3.0, -2.0]])):
        assert float(asymmetry(Linear(matrix.double()), x, LEVEL, field="mean").max()) < 1e-12


@pytest.mark.parametrize("angle", [0.3, 1.0, 2.0])
def test_a_rotation_by_an_angle_has_the_sine_of_it(angle):
    """J = [[cos, -sin], [sin, cos]]: |J - J^T| / 2|J| = |sin|, for any probes since J^T J = 1."""
    c, s = math.cos(angle), math.sin(angle)
    found = asymmetry(
        Linear(torch.tensor([[c, -s], [s, c]], dtype=torch.float64)), states(2), LEVEL, field="mean", probes=1
    )
    torch.testing.assert_close(found, torch.full((5,), abs(s), dtype=torch.float64))


def test_a_general_jacobian_is_estimated_for_score_and_mean():
    matrix = torch.randn(12, 12, generator=GENERATOR, dtype=torch.float64)
    x = states(3, 2, 2)
    mean = asymmetry(Linear(matrix), x, LEVEL, field="mean", probes=150)
    score = asymmetry(Linear(matrix), x, LEVEL, probes=150)
    assert mean.tolist() == pytest.approx([exact_share(matrix)] * 5, rel=0.1)
    eye = torch.eye(12, dtype=torch.float64)
    right = [exact_share((levels.alpha(v) * matrix - eye) / levels.sigma(v) ** 2) for v in LEVEL]
    assert score.tolist() == pytest.approx(right, rel=0.1)
    assert right[0] < 0.75 * right[-1]  # the noisier, the more of the score is -x


def test_an_untrained_network_and_named_leaves():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).double()
    found = asymmetry(wrap(lambda x, time, condition: net(x), "v"), states(4), LEVEL, field="mean")
    assert bool(((found > 0.01) & (found <= 1)).all())

    def leafy(x, level, condition=None):
        """One leaf's mean is the other leaf, with opposite signs: a rotation across leaves."""
        return Prediction({"a": -x["b"], "b": x["a"]})

    state = {"a": states(3), "b": states(3)}
    torch.testing.assert_close(
        asymmetry(leafy, state, LEVEL, field="mean"), torch.ones(5, dtype=torch.float64)
    )


def test_a_zero_jacobian_has_no_curl_and_slips_are_refused():
    x = states(2)
    assert asymmetry(Linear(torch.zeros(2, 2).double()), x, LEVEL, field="mean").tolist() == [0.0] * 5
    denoiser = exact.Gaussian()
    for wrong in ({"probes": 0}, {"field": "noise"}):
        with pytest.raises(PerrinError):
            asymmetry(denoiser, x, LEVEL, **wrong)
    with pytest.raises(PerrinError, match="finite"):
        asymmetry(denoiser, x, torch.full((5,), math.inf))
