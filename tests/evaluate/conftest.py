"""Real digits, split as the quickstart splits them, and a cache folder that belongs to the test run."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from perrin.evaluate import FeatureClassifier, train_classifier


class Digits(NamedTuple):
    """1,297 training and 500 test images, float32 in [-1, 1], [N, 1, 8, 8]."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


@pytest.fixture(scope="session")
def digits() -> Digits:
    data = load_digits()
    states = torch.tensor(data.images / 8 - 1, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target)
    train, test = train_test_split(np.arange(1797), test_size=500, stratify=data.target, random_state=0)
    return Digits(states[train], labels[train], states[test], labels[test])


@pytest.fixture(scope="session")
def classifier(digits: Digits) -> FeatureClassifier:
    return train_classifier(digits.train, digits.train_labels, seed=0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERRIN_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
