"""How far a run is: its steps, its budgets, and the learning rate that follows from both."""

from __future__ import annotations

import time

import torch

from perrin.training.distributed import Group
from perrin.training.recipe import Training


class Pace:
    """The clock of a run.

    Args:
        options: steps, budgets, warm-up and decay; group: whose processes must keep the same time.
        before: CPU-seconds that preparing cost; a budget of CPU-seconds counts them, the learning rate does not.

    Attributes:
        step: steps taken; spent: CPU-seconds of this process, or their mean; elapsed: seconds on the clock.
    """

    def __init__(self, options: Training, group: Group, before: float = 0.0) -> None:
        self.options, self.group, self.before = options, group, before
        self.step, self.spent, self.elapsed = 0, before, 0.0
        self.start()

    def start(self) -> None:
        """Let the clocks go on from what is spent."""
        self._cpu, self._wall = time.process_time() - self.spent, time.monotonic() - self.elapsed

    def read(self) -> None:
        """Look at the clocks."""
        self.spent = self._shared(time.process_time() - self._cpu, self.options.cpu_seconds)
        self.elapsed = self._shared(time.monotonic() - self._wall, self.options.seconds)

    def _shared(self, seconds: float, budget: float | None) -> float:
        """The mean over processes where a budget makes it matter: all must take the same rates and stop together."""
        if budget is None:
            return seconds
        return float(self.group.mean(torch.tensor(seconds, device=self.group.device)))

    def finished(self) -> bool:
        """Whether the steps or a budget are used up."""
        return self.step >= self.options.steps or max(self._shares()) >= 1

    def done(self) -> float:
        """The share of training that is over, by its steps or by what preparing has left of its budgets."""
        return max(self.step / self.options.steps, *self._shares())

    def _shares(self) -> list[float]:
        """How much of each budget is used up; 0 of one that is not set."""
        cpu, wall = self.options.cpu_seconds, self.options.seconds
        of_cpu = 0.0 if cpu is None else (self.spent - self.before) / (cpu - self.before)
        return [of_cpu, 0.0 if wall is None else self.elapsed / wall]

    def due(self, every: int | None, parts: int) -> bool:
        """Whether what happens `every` so many steps, or so many times in a run, happens after this one."""
        return self.step % (every or max(1, self.options.steps // parts)) == 0

    def rate(self) -> float:
        """Learning rate of the next step: linear warm-up, then linear decay over the last part of training."""
        o, done = self.options, self.done()
        rise = (done + 1 / o.steps) / o.warmup if o.warmup else 1.0
        fall = (1 - done) / o.decay if o.decay else 1.0
        return o.lr * max(0.0, min(1.0, rise, fall))
