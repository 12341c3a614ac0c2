r"""Ancestral sampling of tokens (Austin et al. 2021): from p(x_cleaner | x), position by position.

    masked   a mask becomes known with probability (a' - a) / (1 - a), and is then drawn from the prediction
    uniform  sum over clean tokens of prediction times posterior

Given the predictions the step is exact for every position by itself; that positions move together without hearing of
each other is its error, which goes away with many steps.
"""

from __future__ import annotations

from torch import Tensor

from perrin.sample.kernel import Jump, kernel


@kernel("ancestral", exact=True)
def ancestral(step: Jump) -> Tensor:
    """From the posterior of every position."""
    if step.process.masks:
        # Every position has a share of masks from which on it is known, drawn once: the same for every grid, so that
        # one seed leads to like samples whatever the steps are.
        until = step.lost(step.first) * step.uniform(0, lasting=True)
        return step.reveal(step.waiting & (until > step.lost(step.cleaner)), step.uniform(1, lasting=True))
    return step.changed(*step.process.changes(step.x, step.told, step.noisy, step.cleaner))
