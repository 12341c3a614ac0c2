"""The network whose features the measures compare: small, trained on the user's own real training data.

Features of a network trained on other pictures say little about digits, scans or series, and its weights
would have to be downloaded. So the evaluation trains its own classifier: convolutions for images
`(C, H, W)`, a perceptron for everything else. Its penultimate layer gives the features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perrin.errors import PerrinError

FEATURES = 64
SETTINGS = {"batch": 64, "peak_rate": 3e-3, "weight_decay": 0.02, "label_smoothing": 0.05}


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether states of `shape` get convolutions: `(C, H, W)` with sides of at least 4."""
    return len(shape) == 3 and min(shape[1:]) >= 4


def _convolutions(shape: tuple[int, ...]) -> nn.Sequential:
    """Two convolutions per size, halving down to about 4 x 4; sides above 32 are first brought near it."""
    channels, *sides = shape
    width = 24 if max(sides) <= 16 else 16  # small pictures can afford more
    stride = max(1, math.ceil(max(sides) / 32))
    layers: list[nn.Module] = []
    for index in range(max(1, round(math.log2(max(sides) / stride / 3)))):
        wide = min(width * 2**index, 96)
        for _ in range(2):
            kernel, step = (2 * stride + 1, stride) if not layers else (3, 1)
            layers += [nn.Conv2d(channels, wide, kernel, step, kernel // 2, bias=False), nn.BatchNorm2d(wide)]
            layers += [nn.ReLU()]
            channels = wide
        layers += [nn.MaxPool2d(2, ceil_mode=True)]
    body = nn.Sequential(*layers)
    with torch.no_grad():
        size = body.eval()(torch.zeros(1, *shape)).numel()
    return nn.Sequential(body, nn.Flatten(), nn.Linear(size, FEATURES), nn.ReLU())


def _perceptron(shape: tuple[int, ...], width: int = 256) -> nn.Sequential:
    size = math.prod(shape)
    hidden = [nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, FEATURES), nn.ReLU())


class FeatureClassifier(nn.Module):
    """A classifier of states `[N, *shape]`; `train_classifier` makes a trained one.

    Args:
        shape: of one state. classes: how many labels there are.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(() if is_image(shape) else shape))
        self.body = _convolutions(shape) if is_image(shape) else _perceptron(shape)
        self.head = nn.Linear(FEATURES, classes)
        network = "small convolutional network" if is_image(shape) else "small perceptron"
        self.description = (
            f"penultimate layer ({FEATURES} numbers) of a {network} trained on the real training data"
        )

    @torch.no_grad()
    def standardise(self, states: Tensor) -> None:
        """Mean and scale of the inputs: the scale of every number for vectors, one scale for images."""
        self.mean.copy_(states.mean(0))
        variance = (states - self.mean).square().mean(0)
        floor = 1e-4 * variance.mean() + 1e-12  # a number that never varies must not be divided by zero
        self.std.copy_((variance if self.std.ndim else variance.mean()).maximum(floor).sqrt())

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, F] and logits [N, classes]."""
        features = self.body((states - self.mean) / self.std)
        return features, self.head(features)

    @torch.inference_mode()
    def _in_chunks(self, states: Tensor, size: int = 256) -> tuple[Tensor, Tensor]:
        parts = [self(part.float()) for part in states.split(size)]
        return torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts])

    def features(self, states: Tensor) -> Tensor:
        """[N, *shape] -> [N, F] float32."""
        return self._in_chunks(states)[0]

    def predict(self, states: Tensor) -> Tensor:
        """[N, *shape] -> class [N] int64."""
        return self._in_chunks(states)[1].argmax(1)


def _shifted(states: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by up to one pixel; pictures of 16 pixels or less lose too much by it."""
    height, width = states.shape[-2:]
    dy, dx = torch.randint(0, 3, (2,), generator=generator).tolist()
    return F.pad(states, (1, 1, 1, 1), mode="replicate")[..., dy : dy + height, dx : dx + width]


def presentations(count: int) -> int:
    """How many training items are shown, for `count` different ones: 1.5 epochs, within [40,000, 100,000]."""
    return min(max(3 * count // 2, 40_000), 100_000)


Moved: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""A batch of states -> the same, altered anew at every showing."""


def train_classifier(
    states: Tensor, labels: Tensor, *, seed: int = 0, shown: int | None = None, moved: Moved | None = None
) -> FeatureClassifier:
    """A trained `FeatureClassifier`; the same for the same data, seed and number of threads.

    Args:
        states: [N, *shape] real training states, finite.
        labels: [N] int64 in 0 .. classes - 1.
        shown: training items in all; `presentations(N)` by default.
        moved: how items are altered; pictures of more than 16 pixels are shifted by up to one by default.
    Raises:
        PerrinError: no items, counts that differ, or a label below zero.
    """
    if len(states) == 0 or labels.shape != (len(states),) or int(labels.min()) < 0:
        raise PerrinError(f"{len(states)} states need as many labels from 0 up, not {tuple(labels.shape)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = FeatureClassifier(tuple(states.shape[1:]), int(labels.max()) + 1)
    net.standardise(states)
    with torch.enable_grad():
        generator = torch.Generator().manual_seed(seed)
        _fit(net, states, labels.long(), generator, shown or presentations(len(states)), moved)
    return net.eval().requires_grad_(False)


def _fit(
    net: FeatureClassifier,
    states: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    shown: int,
    moved: Moved | None,
) -> None:
    batch, rate = int(SETTINGS["batch"]), SETTINGS["peak_rate"]
    steps = max(10, shown // batch)  # fewer make no cycle of rates
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=SETTINGS["weight_decay"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.2)
    if moved is None and is_image(tuple(states.shape[1:])) and max(states.shape[-2:]) > 16:
        moved = _shifted
    order = torch.empty(0, dtype=torch.long)
    net.train()
    for _ in range(steps):
        while len(order) < batch:
            order = torch.cat([order, torch.randperm(len(states), generator=generator)])
        rows, order = order[:batch], order[batch:]
        items = states[rows] if moved is None else moved(states[rows], generator)
        loss = F.cross_entropy(net(items)[1], labels[rows], label_smoothing=SETTINGS["label_smoothing"])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
