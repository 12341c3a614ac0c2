"""The classical restorers that waveforms are compared with, and how windows are joined again."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "speech_restoration"
AT = np.arange(3_000)
TONES = np.sin(0.21 * AT) + 0.6 * np.sin(0.057 * AT + 1)


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return {name: importlib.import_module(name) for name in ("classical", "damage")}


def error(found, truth, unknown):
    return float(np.abs(found - truth)[unknown].max())


def test_autoregression_fills_two_tones_and_straight_lines_do_not(scripts):
    unknown = (AT >= 1_400) & (AT < 1_440)
    damaged = np.where(unknown, 0.0, TONES)
    classical = scripts["classical"]
    assert error(classical.autoregression(damaged, unknown), TONES, unknown) < 0.05
    assert error(classical.linear(damaged, unknown), TONES, unknown) > 1
    assert np.array_equal(classical.autoregression(damaged, unknown)[~unknown], TONES[~unknown])


def test_what_was_clipped_comes_back_beyond_its_limit(scripts):
    word = scripts["damage"].clipped("tones", TONES)
    assert word.unknown.mean() == pytest.approx(0.15, abs=0.01)
    found = scripts["classical"].autoregression(word.damaged, word.unknown, -word.limit, word.limit)
    assert (np.abs(found[word.unknown]) >= word.limit - 1e-9).all()
    assert (np.sign(found) == np.sign(word.truth))[word.unknown].all()
    assert error(found, word.truth, word.unknown) < 0.3 * error(word.damaged, word.truth, word.unknown)


def test_a_gaussian_process_knows_the_error_that_it_makes(scripts):
    at = np.arange(40)
    covariance = np.exp(-np.abs(at[:, None] - at) / 10.0)
    unknown = (at >= 15) & (at < 22)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(40), covariance, size=400)
    made = [scripts["classical"].gaussian(np.where(unknown, 0.0, x), unknown, covariance) for x in draws]
    z = np.array([(x - mean)[unknown] / std[unknown] for x, (mean, std) in zip(draws, made, strict=True)])
    assert z.std() == pytest.approx(1, abs=0.05)
    assert abs(z.mean()) < 0.05


def test_gaps_stand_in_the_middle_of_windows_that_hold_no_other(scripts):
    damage = scripts["damage"]
    wave = np.random.default_rng(1).standard_normal(5_000)
    word = damage.with_gaps("noise", wave, 80, seed=0)
    assert word.unknown.sum() == 3 * 80
    assert len(word.starts) == 3
    for start in word.starts:
        inside = word.unknown[start : start + damage.WINDOW]
        assert np.flatnonzero(inside).tolist() == list(range(472, 552))


def test_windows_are_joined_where_their_middle_is_nearest(scripts):
    damage = scripts["damage"]
    word = damage.clipped("tones", TONES)
    parts = np.stack([word.truth[start : start + damage.WINDOW] for start in word.starts])
    assert np.array_equal(word.joined(parts), np.where(word.unknown, word.truth, word.damaged))
    numbered = word.joined(np.ones_like(parts) * np.arange(len(parts))[:, None])
    assert set(numbered[word.unknown].astype(int)) == set(range(len(parts)))
    assert (np.diff(numbered[word.unknown]) >= 0).all()
