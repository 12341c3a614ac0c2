"""The plan that restoration runs best by, as `benchmarks/restoration` measures it.

Its rule draws noise: random steps forget what guidance got wrong at high noise, which deterministic ones carry to the end.
It is of second order, since the rows of a first-order one make samples too narrow, and intervals with them. It starts at
ten standard deviations of the data: above, a network's Jacobian times sigma^2 is mostly error, and steps are lost.
"""

from __future__ import annotations

from perrin.process import edm
from perrin.sample import Plan, make_plan

START, END = 10.0, 0.015
"""Of the noise, in standard deviations of the data."""


def descent(deviation: float, steps: int = 40, rule: str = "dpmpp_2m_sde") -> Plan:
    """A plan for restoring data of this standard deviation (a model's `sigma_data`)."""
    schedule = edm(sigma_min=END * deviation, sigma_max=START * deviation)
    return make_plan(rule, schedule, steps=steps, grid="karras")
