"""What noise does to a state: levels, schedules, the Gaussian process in unit coordinates, and processes of tokens."""

from perrin.process.categorical import Categorical, masked, uniform
from perrin.process.schedule import Schedule
from perrin.process.schedulebook.chains import ddpm_cosine, ddpm_linear
from perrin.process.schedulebook.exploding import edm, ve
from perrin.process.schedulebook.linear_beta import sub_vp, vp
from perrin.process.schedulebook.log_linear import log_linear
from perrin.process.schedulebook.rectified import flow
from perrin.process.schedulebook.squared_cosine import cosine
from perrin.process.schedulebook.table import discrete
from perrin.process.state import Shape, State

__all__ = [
    "Categorical",
    "Schedule",
    "Shape",
    "State",
    "cosine",
    "ddpm_cosine",
    "ddpm_linear",
    "discrete",
    "edm",
    "flow",
    "log_linear",
    "masked",
    "sub_vp",
    "uniform",
    "ve",
    "vp",
]
