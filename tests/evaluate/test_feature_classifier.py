"""The classifier is good enough to judge with, the same every time, and fits any shape of state."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from perrin.errors import PerrinError
from perrin.evaluate import FeatureClassifier, feature_extractor, train_classifier


def test_reads_real_unseen_digits(digits, classifier) -> None:  # type: ignore[no-untyped-def]
    right = classifier.predict(digits.test) == digits.test_labels
    assert right.float().mean() >= 0.985
    assert classifier.features(digits.test).shape == (500, 64)


def test_features_of_an_item_do_not_depend_on_the_others(digits, classifier) -> None:  # type: ignore[no-untyped-def]
    together, alone = classifier.features(digits.test), classifier.features(digits.test[7:8])
    torch.testing.assert_close(together[7:8], alone, rtol=1e-5, atol=1e-5)


def blobs(shape: tuple[int, ...], seed: int, count: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes, each noise around a mean of its own, the means at distances of 4 and more."""
    means = torch.linspace(-3, 3, 3).view(-1, *(1 for _ in shape)).expand(3, *shape)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (count,), generator=generator)
    return means[labels] + torch.randn(count, *shape, generator=generator), labels


@pytest.mark.parametrize("shape", [(2,), (16, 3), (1, 5, 9), (2, 3, 4, 5)])
def test_learns_any_shape_of_state(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perrin.evaluate.feature_classifier.presentations", lambda count: 6_400)
    net = train_classifier(*blobs(shape, seed=1), seed=0)
    states, labels = blobs(shape, seed=2)
    nearest_mean = (states.flatten(1).mean(1) / 3).round().clamp(-1, 1).long() + 1  # the best possible rule
    assert (net.predict(states) == labels).float().mean() >= (nearest_mean == labels).float().mean() - 0.02


@pytest.mark.parametrize("shape", [(3, 4, 4), (1, 28, 28), (3, 64, 48), (3, 256, 256)])
def test_images_of_any_size_make_a_network_of_bounded_size(shape: tuple[int, ...]) -> None:
    net = FeatureClassifier(shape, 10).eval()
    assert net.features(torch.zeros(2, *shape)).shape == (2, 64)
    assert sum(p.numel() for p in net.parameters()) < 600_000


def test_training_is_deterministic_and_leaves_the_global_generator_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("perrin.evaluate.feature_classifier.presentations", lambda count: 1_280)
    data = blobs((1, 8, 8), seed=3)
    before = torch.random.get_rng_state()
    first, second, other = (train_classifier(*data, seed=seed) for seed in (5, 5, 6))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.features(data[0]), second.features(data[0]))
    assert not torch.equal(first.features(data[0]), other.features(data[0]))


def test_numbers_that_never_vary_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perrin.evaluate.feature_classifier.presentations", lambda count: 1_280)
    states, labels = blobs((4,), seed=4)
    states[:, 2] = 1.5
    assert bool(torch.isfinite(train_classifier(states, labels).features(states)).all())


def test_labels_must_match() -> None:
    with pytest.raises(PerrinError, match="4 states need as many labels"):
        train_classifier(torch.zeros(4, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(PerrinError, match="from 0 up"):
        train_classifier(torch.zeros(2, 2), torch.tensor([0, -1]))


def test_without_labels_the_features_are_principal_components_and_say_so() -> None:
    # A plane in five dimensions: distances in it are kept by the first components, and nothing else is left.
    generator = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(5, 2, generator=generator)).Q
    flat = torch.randn(200, 2, generator=generator) * torch.tensor([3.0, 1.0])
    extractor = feature_extractor(flat @ plane.T, None)
    features = extractor.features(flat @ plane.T)
    torch.testing.assert_close(torch.pdist(features), torch.pdist(flat), rtol=1e-4, atol=1e-5)
    assert extractor.predict(flat @ plane.T) is None
    assert "principal components" in extractor.description


@pytest.mark.slow
def test_reads_mnist_within_its_budget() -> None:
    path = Path(os.environ.get("PERRIN_DATA", "../shared/data")) / "mnist" / "mnist.npz"
    if not path.is_file():
        pytest.skip(f"no MNIST at {path}; set PERRIN_DATA")
    with np.load(path) as file:
        train, test = (
            torch.tensor(file[f"{x}_images"])[:, None].float() / 127.5 - 1 for x in ("train", "test")
        )
        train_labels, test_labels = (torch.tensor(file[f"{x}_labels"]).long() for x in ("train", "test"))
    start = time.process_time()
    net = train_classifier(train, train_labels, seed=0)
    assert time.process_time() - start < 150
    assert (net.predict(test) == test_labels).float().mean() >= 0.99
