"""The estimate of noise against noise that was put in: smooth, textured, black and cut-off pictures, and real digits."""

import os
from pathlib import Path

import numpy as np
import pytest

from perrin.errors import PerrinError
from perrin.metrics.noise_level import estimate


def waves(*shape):
    """A smooth picture within 40 and 215."""
    grids = np.meshgrid(*[np.arange(size) for size in shape], indexing="ij")
    return 127.5 + 87 * np.prod(
        [np.sin(2 * np.pi * grid / 40 + 0.3 * k) for k, grid in enumerate(grids)], axis=0
    )


def noisy(clean, sigma, seed=0):
    return clean + sigma * np.random.default_rng(seed).standard_normal(clean.shape)


@pytest.mark.parametrize("sigma", [2.0, 10.0, 50.0])
@pytest.mark.parametrize(
    ("shape", "axes"), [((4000,), 1), ((96, 96), 2), ((4, 32, 40, 36), 3), ((3, 48, 48), 2)]
)
def test_noise_on_smooth_values_of_any_number_of_dimensions_is_found(shape, axes, sigma):
    clean = np.broadcast_to(waves(*shape[-axes:]), shape)
    assert estimate(noisy(clean, sigma), axes) == pytest.approx(sigma, rel=0.05)


def test_strong_texture_in_half_of_the_picture_does_not_count():
    clean = waves(96, 96)
    clean[:, 48:] = 255.0 * (np.random.default_rng(1).random((96, 48)) < 0.5)
    assert estimate(noisy(clean, 5.0)) == pytest.approx(5.0, rel=0.06)


@pytest.mark.parametrize("sigma", [5.0, 20.0])
def test_black_that_was_cut_off_at_zero_still_tells(sigma):
    """Three quarters black, stored in 8 bits: the lower half of the noise is lost there."""
    clean = np.zeros((96, 96))
    clean[:48, :48] = waves(48, 48)
    stored = np.clip(np.round(noisy(clean, sigma)), 0, 255).astype(np.uint8)
    assert estimate(stored) == pytest.approx(sigma, rel=0.06)
    assert estimate(255 - stored) == pytest.approx(sigma, rel=0.06)


def test_a_margin_without_noise_is_not_taken_for_a_clean_picture():
    padded = np.zeros((128, 96))
    padded[:64] = np.clip(np.round(noisy(waves(64, 96), 10.0)), 0, 255)
    assert estimate(padded) == pytest.approx(10.0, rel=0.06)


def test_units_come_out_as_they_go_in_and_nothing_is_random():
    values = noisy(waves(64, 64), 8.0)
    assert estimate(3 * values - 7) == pytest.approx(3 * estimate(values), rel=1e-9)
    assert estimate(values) == estimate(values)


def test_many_pictures_are_looked_at_in_places_drawn_once():
    stack = noisy(np.broadcast_to(waves(64, 64), (70, 64, 64)), 8.0)  # 260,470 patches
    assert estimate(stack) == estimate(stack) == pytest.approx(8.0, rel=0.03)


@pytest.mark.parametrize(
    ("values", "axes", "message"),
    [
        (np.full((32, 32), 3.0), 2, "all values are 3; give its standard deviation, as in --sigma 12"),
        (np.ones((7, 64)), 2, r"shape \(7, 64\) are too few .* 8 along each .* --sigma 12"),
        (np.ones(64), 2, r"shape \(64,\) are too few"),
        (np.ones((0, 32, 32)), 2, "too few"),
        (np.full((32, 32), np.nan), 2, "NaN or infinity"),
        (np.ones((32, 32), np.complex64), 2, "not from complex64"),
        (np.ones((32, 32)), 4, "axes = 4"),
        (np.where(np.arange(4096).reshape(64, 64) % 64 < 32, 0, 255), 2, "100% of their patches touch"),
    ],
)
def test_what_cannot_be_told_is_refused_with_what_to_give(values, axes, message):
    with pytest.raises(PerrinError, match=message):
        estimate(values, axes)


@pytest.mark.skipif("PERRIN_DATA" not in os.environ, reason="PERRIN_DATA names the sample data")
@pytest.mark.parametrize("sigma", [10, 50])
def test_real_digits(sigma):
    digits = np.load(Path(os.environ["PERRIN_DATA"]) / "mnist" / "mnist.npz")["test_images"][:16]
    raw = noisy(digits.astype(float), sigma)
    assert estimate(raw) == pytest.approx(sigma, rel=0.05)
    stored = np.clip(np.round(raw), 0, 255).astype(np.uint8)
    assert estimate(stored) == pytest.approx(sigma, rel=0.15)
    with pytest.raises(PerrinError, match="--sigma"):
        estimate(digits)
