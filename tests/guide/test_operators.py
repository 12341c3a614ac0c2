"""Operators: linear, with the adjoint that belongs to them, and what their names say."""

from __future__ import annotations

import math

import pytest
import torch

from perrin.errors import PerrinError
from perrin.guide.conjugate_gradients import solve
from perrin.guide.operators import (
    Blur,
    Compressed,
    Downsample,
    Grey,
    KSpace,
    Mask,
    Operator,
    Radon,
    cartesian,
    gaussian_blur,
    motion_blur,
)
from perrin.guide.operators.linear import inner

GENERATOR = torch.Generator().manual_seed(0)


def draw(*shape, kind=torch.float64):
    return torch.randn(*shape, generator=GENERATOR, dtype=kind)


COILS = draw(3, 8, 8, kind=torch.complex128)
OPERATORS = {
    "mask": Mask((2, 6, 7), draw(6, 7) > 0),
    "gap": Mask((1, 20), torch.arange(20) % 7 < 4),
    "blur": gaussian_blur((2, 12, 10), 1.0),
    "blur of a waveform": gaussian_blur((1, 30), 2.0),
    "blur of a volume": gaussian_blur((1, 6, 7, 8), 0.6),
    "motion": motion_blur((1, 12, 12), 5, 30.0),
    "downsample": Downsample((2, 8, 12), 4),
    "downsample a volume": Downsample((1, 4, 6, 8), 2),
    "grey": Grey((3, 4, 5)),
    "k-space": KSpace((1, 8, 10), cartesian(10, 2.0, 0.2)),
    "k-space of complex images": KSpace((2, 8, 8), draw(8, 8) > 0),
    "several coils": KSpace((1, 8, 8), cartesian(8, 2.0, 0.25), COILS),
    "several coils, complex": KSpace((2, 8, 8), draw(8, 8) > 0, COILS),
    "radon": Radon((2, 9, 11), torch.arange(0, 180, 20.0)),
    "limited view": Radon((1, 9, 9), torch.arange(0, 90, 15.0), rays=9),
    "compressed": Compressed((1, 5, 7), 12),
    "compressed, even": Compressed((3, 4, 4), 48),
}
named = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def measurements(operator: Operator, count: int) -> torch.Tensor:
    return draw(
        count, *operator.measured, kind=torch.complex128 if operator.complex_valued else torch.float64
    )


@named
def test_the_adjoint_is_the_adjoint(operator):
    x, y = draw(3, *operator.shape), measurements(operator, 3)
    torch.testing.assert_close(inner(operator(x), y), inner(x, operator.adjoint(y)), rtol=1e-10, atol=1e-10)
    assert operator.adjoint(y).shape == x.shape


@named
def test_it_is_linear_and_every_row_is_its_own(operator):
    x = draw(3, *operator.shape)
    torch.testing.assert_close(operator(2 * x[:1] - x[1:2]), 2 * operator(x)[:1] - operator(x)[1:2])
    torch.testing.assert_close(operator(x[1:2]), operator(x)[1:2])


@named
def test_single_precision_stays_single(operator):
    y = operator(draw(1, *operator.shape).float())
    assert y.dtype == (torch.complex64 if operator.complex_valued else torch.float32)
    assert operator.adjoint(y).dtype == torch.float32


@named
def test_what_does_not_fit_is_refused(operator):
    with pytest.raises(PerrinError, match="takes states of shape"):
        operator(torch.zeros(1, *operator.shape, 2))
    with pytest.raises(PerrinError, match="takes measurements of shape"):
        operator.adjoint(torch.zeros(1, *operator.measured, 2))
    with pytest.raises(PerrinError, match="complex ones: give real and imaginary part"):
        operator(torch.zeros(1, *operator.shape, dtype=torch.complex64))
    other = torch.float32 if operator.complex_valued else torch.complex64
    with pytest.raises(PerrinError, match=r"has (real|complex) measurements"):
        operator.adjoint(torch.zeros(1, *operator.measured, dtype=other))


def test_a_blur_keeps_a_constant_and_has_the_variance_that_was_asked_for():
    blur = gaussian_blur((1, 41, 41), 2.0)
    torch.testing.assert_close(blur(torch.full((1, 1, 41, 41), 0.7)), torch.full((1, 1, 41, 41), 0.7))
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    at = torch.arange(41) - 20
    row = blur(point)[0, 0].sum(0)
    assert float((row * at**2).sum()) == pytest.approx(4.0, rel=0.03)  # cut at three deviations


@pytest.mark.parametrize(("angle", "along"), [(0.0, (0, 1)), (90.0, (1, 0)), (45.0, (-1, 1))])
def test_motion_is_along_its_line(angle, along):
    point = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    point[..., 10, 10] = 1
    seen = motion_blur((1, 21, 21), 7, angle)(point)[0, 0]
    at = torch.nonzero(seen > 1e-3) - 10
    across = at[:, 0] * along[1] - at[:, 1] * along[0]
    assert int(across.abs().max()) <= 1
    assert float(seen.sum()) == pytest.approx(1.0)
    assert len(at) >= 7


def test_downsampling_is_that_of_image_libraries():
    x = draw(2, 3, 16, 24)
    right = torch.nn.functional.interpolate(x, scale_factor=0.25, mode="bicubic", antialias=True)
    torch.testing.assert_close(Downsample((3, 16, 24), 4)(x), right)


def test_full_k_space_is_an_orthonormal_transform():
    x, whole = draw(1, 1, 8, 10), KSpace((1, 8, 10), torch.ones(10))
    torch.testing.assert_close(whole.adjoint(whole(x)), x)
    assert float(whole(torch.ones(1, 1, 8, 10))[0, 0, 4, 5].real) == pytest.approx(
        math.sqrt(80)
    )  # zero frequency


def test_a_scan_measures_the_middle_and_its_share_of_columns():
    mask = cartesian(128, 4.0, 0.08, seed=3)
    assert int(mask.sum()) == 32
    assert bool(mask[59:69].all())
    assert not torch.equal(mask, cartesian(128, 4.0, 0.08, seed=4))
    with pytest.raises(PerrinError, match="are measured in all"):
        cartesian(128, 20.0, 0.2)


def test_projections_of_a_disc_are_chords():
    """A disc of radius r has 2 sqrt(r^2 - s^2) at a distance s from the middle, in every direction."""
    size, r = 65, 20.0
    i, j = torch.meshgrid(torch.arange(size) - 32.0, torch.arange(size) - 32.0, indexing="ij")
    disc = (r - torch.hypot(i, j)).clamp(-0.5, 0.5).double() + 0.5
    found = Radon((1, size, size), [0.0, 30.0, 77.0, 90.0], rays=size)(disc[None, None])[0, 0]
    s = torch.arange(size) - 32.0
    chord = 2 * (r**2 - s**2).clamp(min=0).sqrt()
    assert float((found - chord).abs()[:, s.abs() < 18].max()) < 0.7
    assert float(found[:, s.abs() > 22].abs().max()) == 0


def test_projections_at_right_angles_are_sums_of_rows_and_columns():
    x = draw(1, 1, 9, 9)
    found = Radon((1, 9, 9), [0.0, 90.0], rays=9)(x)[0, 0]
    torch.testing.assert_close(found[0], x[0, 0].sum(0))
    torch.testing.assert_close(found[1], x[0, 0].sum(1).flip(0), rtol=1e-9, atol=1e-9)


def test_mixtures_keep_lengths_on_average_and_all_of_them_keep_them_exactly():
    x = draw(500, 1, 6, 6)
    few, all_ = Compressed((1, 6, 6), 9), Compressed((1, 6, 6), 36)
    torch.testing.assert_close(inner(all_(x), all_(x)), inner(x, x))
    assert float((inner(few(x), few(x)) / inner(x, x)).mean()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: Mask((1, 4, 4), torch.ones(3, 4)), "the mask has shape"),
        (lambda: Mask((1, 4, 4), torch.zeros(4, 4)), "keeps nothing"),
        (lambda: Blur((1, 4, 4), torch.ones(3)), "a kernel with 1 axes"),
        (lambda: Blur((1, 4, 4), torch.ones(4, 4)), "odd sizes"),
        (lambda: Blur((1, 4, 4), torch.zeros(3, 3)), "positive sum"),
        (lambda: gaussian_blur((1, 9), 0.0), "must be above 0"),
        (lambda: motion_blur((1, 9), 3), "motion blur is of images"),
        (lambda: Downsample((1, 9, 8), 4), "divide the spatial sizes"),
        (lambda: Grey((4, 2, 2)), "3 weights"),
        (lambda: KSpace((3, 4, 4), torch.ones(4)), "k-space is of images"),
        (lambda: KSpace((1, 4, 4), torch.ones(5)), "images are 4 x 4"),
        (lambda: KSpace((1, 4, 4), torch.ones(4), torch.ones(2, 3, 4)), "coils have shape"),
        (lambda: Radon((1, 4), [0.0]), "projections are of images"),
        (lambda: Radon((1, 4, 4), []), "at least one angle"),
        (lambda: Compressed((1, 4, 4), 17), "must be 1 to 16"),
    ],
)
def test_bad_input_has_one_clear_line(make, line):
    with pytest.raises(PerrinError, match=line):
        make()


def test_conjugate_gradients_solve_many_systems_and_stop_where_there_is_nothing_to_do():
    a = draw(4, 6, 6)
    matrix = a @ a.transpose(1, 2) + torch.eye(6, dtype=torch.float64)
    b = draw(4, 6)
    b[2] = 0
    found = solve(lambda u: (matrix @ u[..., None])[..., 0], b, iterations=40, tolerance=1e-12)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, b), rtol=1e-8, atol=1e-8)
    assert float(found[2].abs().max()) == 0


def test_conjugate_gradients_of_a_matrix_that_is_not_positive_stay_finite():
    found = solve(lambda u: -u, draw(2, 5))
    assert float(found.abs().max()) == 0
