"""Samplers as data: rules, grids, plans, and the one loop that runs them."""

from perrin.registry import grids, kernels, rules
from perrin.sample.making import make_plan
from perrin.sample.plan import Plan
from perrin.sample.running import Cancelled, Tick, Trace, run
from perrin.sample.ticking import advance, start_slots

__all__ = [
    "Cancelled",
    "Plan",
    "Tick",
    "Trace",
    "advance",
    "grids",
    "kernels",
    "make_plan",
    "rules",
    "run",
    "start_slots",
]
