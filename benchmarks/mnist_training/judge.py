"""The judge: one classifier of real MNIST digits, the same for every contender.

    FD = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1^(1/2) S_2 S_1^(1/2))^(1/2))

(Dowson & Landau 1982; Heusel et al., arXiv:1706.08500) on the classifier's last hidden layer,
samples against the 10,000 test images. The trace of the root is the sum of the roots of
eigenvalues, so a singular covariance does no harm. The ceiling is what as many real training images
score. Run as a script, it judges one finished run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

FEATURES = 128
EPOCHS = 4
BATCH = 128
CEILING_DRAWS = 5


class Classifier(nn.Module):
    """Two convolutions, one hidden layer whose 128 units are the features."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 24, 5, stride=2, padding=2)
        self.second = nn.Conv2d(24, 48, 5, stride=2, padding=2)
        self.hidden = nn.Linear(48 * 7 * 7, FEATURES)
        self.last = nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """Float32 [B, 1, 28, 28] in [-1, 1] -> [B, 128]."""
        image_maps = functional.silu(self.second(functional.silu(self.first(images))))
        return functional.silu(self.hidden(image_maps.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.features(images))
        return logits


def as_input(pixels: np.ndarray) -> Tensor:
    """Uint8 [N, 28, 28] -> float32 [N, 1, 28, 28] in [-1, 1]."""
    return torch.from_numpy(pixels).float().unsqueeze(1) / 127.5 - 1


def fit(pixels: np.ndarray, labels: np.ndarray) -> Classifier:
    """Train on real digits, shifted by up to two pixels, always from the same seed."""
    torch.manual_seed(0)
    net, images, targets = Classifier(), as_input(pixels), torch.from_numpy(labels).long()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            shift = tuple(torch.randint(-2, 3, (2,)).tolist())
            loss = functional.cross_entropy(net(images[chosen].roll(shift, (2, 3))), targets[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.eval()


@torch.no_grad()
def read(net: Classifier, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features float64 [N, 128] and predicted classes [N]."""
    parts = np.array_split(pixels, max(1, len(pixels) // 500))
    features = torch.cat([net.features(as_input(part)) for part in parts])
    return features.double().numpy(), net.last(features).argmax(1).numpy()


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    """Frechet distance of two sets of features [N, D], from eigenvalues alone."""
    covariance_1, covariance_2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance_2 @ root).clip(0)).sum()
    gap = first.mean(0) - second.mean(0)
    return float(gap @ gap + np.trace(covariance_1) + np.trace(covariance_2) - 2 * cross)


class Judge:
    """Loads the data, trains the classifier or reads it from `folder`, and compares."""

    def __init__(self, data_path: Path, folder: Path) -> None:
        with np.load(data_path) as data:
            self.train, self.train_labels = data["train_images"], data["train_labels"]
            test, test_labels = data["test_images"], data["test_labels"]
        content = hashlib.sha256(self.train.tobytes() + self.train_labels.tobytes()).hexdigest()[:12]
        kept = folder / f"judge_{content}.npz"
        self.net = self._load(kept) if kept.exists() else self._fit(kept)
        self.reference, predicted = read(self.net, test)
        self.test_accuracy = float((predicted == test_labels).mean())

    def _load(self, path: Path) -> Classifier:
        net = Classifier()
        with np.load(path) as weights:
            net.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
        return net.eval()

    def _fit(self, path: Path) -> Classifier:
        net = fit(self.train, self.train_labels)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{name: weight.numpy() for name, weight in net.state_dict().items()})
        return net

    def figures(self, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Frechet distance to the test images and the share read as the class asked for."""
        features, predicted = read(self.net, images)
        accuracy = float((predicted == labels).mean())
        return {"frechet_distance": frechet(features, self.reference), "class_accuracy": accuracy}

    def ceiling(self, count: int) -> dict[str, float]:
        """What `count` real training images score, class-balanced like the samples (mean of five draws)."""
        generator = np.random.default_rng(0)
        draws = []
        for _ in range(CEILING_DRAWS):
            members = [generator.permutation(np.flatnonzero(self.train_labels == k)) for k in range(10)]
            chosen = np.concatenate([member[: count // 10] for member in members])
            draws.append(self.figures(self.train[chosen], self.train_labels[chosen]))
        return {name: float(np.mean([draw[name] for draw in draws])) for name in draws[0]}

    def run(self, folder: Path) -> dict[str, Any]:
        """A finished run's record with figures for every checkpoint, sampler and guidance weight."""
        record: dict[str, Any] = json.loads((folder / "run.json").read_text())
        for checkpoint in record["checkpoints"]:
            checkpoint["figures"] = {}
            for drawn, name in checkpoint["samples"].items():
                with np.load(folder / name) as samples:
                    checkpoint["figures"][drawn] = self.figures(samples["images"], samples["labels"])
        return record


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the trained classifier")
    parser.add_argument("run", type=Path, help="a finished run's folder")
    given = parser.parse_args()
    judge = Judge(given.data, given.cache)
    print(json.dumps(judge.run(given.run)["checkpoints"], indent=1))
    print(json.dumps({"test_accuracy": judge.test_accuracy, "ceiling": judge.ceiling(2000)}))
