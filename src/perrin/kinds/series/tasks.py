"""What is given of a window and what is to be drawn: forecast, backcast, impute, generate; chosen by an item's seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from perrin.errors import PerrinError
from perrin.registry import unknown

TASKS = ("forecast", "impute", "backcast", "generate")


def checked(tasks: Mapping[str, float]) -> dict[str, float]:
    """Shares of the tasks that add up to one.

    Raises:
        PerrinError: a task that is not known, negative shares, or none at all.
    """
    for name in tasks:
        if name not in TASKS:
            raise unknown("task", name, TASKS)
    total = sum(tasks.values())
    if total <= 0 or min(tasks.values()) < 0:
        raise PerrinError(f"tasks {dict(tasks)} must be shares that are not negative, and not all zero")
    return {name: share / total for name, share in tasks.items() if share > 0}


def draw_task(
    tasks: Mapping[str, float], columns: int, length: int, horizon: int, seed: int | None
) -> tuple[str, np.ndarray]:
    """(task, given bool [C, T]) of an item; without a seed the first task of `TASKS` that has a share."""
    names = [name for name in TASKS if name in tasks]
    if seed is None:
        return names[0], given_of(names[0], columns, length, horizon, np.random.Generator(np.random.PCG64(0)))
    generator = np.random.Generator(np.random.PCG64(seed % 2**64))  # seeds are int64, of either sign
    edges = np.cumsum([tasks[name] for name in names])
    name = names[min(int(np.searchsorted(edges, generator.random(), "right")), len(names) - 1)]
    return name, given_of(name, columns, length, horizon, generator)


def given_of(
    task: str, columns: int, length: int, horizon: int, generator: np.random.Generator
) -> np.ndarray:
    """Which entries [C, T] of a window are given: all but the last or first `horizon`, some, or none."""
    given = np.ones((columns, length), bool)
    if task == "forecast":
        given[:, length - horizon :] = False
    elif task == "backcast":
        given[:, :horizon] = False
    elif task == "generate":
        given[:] = False
    else:
        given = ~_gaps(columns, length, horizon, generator)
    return given


def _gaps(columns: int, length: int, horizon: int, generator: np.random.Generator) -> np.ndarray:
    """Gaps as they happen: stretches or single values, of all columns at once or of each on its own."""
    rows = 1 if generator.random() < 0.5 else columns
    if generator.random() < 0.5:
        share = generator.uniform(0.1, 0.9)
        gaps = generator.random((rows, length)) < share
    else:
        gaps = np.zeros((rows, length), bool)
        for row in gaps:
            size = int(generator.integers(1, min(horizon, length - 1) + 1))
            start = int(generator.integers(0, length - size + 1))
            row[start : start + size] = True
    found: np.ndarray = np.broadcast_to(gaps, (columns, length)).copy()
    return found
