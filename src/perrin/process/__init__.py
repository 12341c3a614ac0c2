"""What noise does to a state: schedules, the Gaussian process, those of tokens and on manifolds, and products of them."""

from perrin.process.categorical import Categorical, masked, uniform
from perrin.process.product import Clock, Product
from perrin.process.rotations import Rotations
from perrin.process.schedule import Schedule
from perrin.process.schedulebook.chains import ddpm_cosine, ddpm_linear
from perrin.process.schedulebook.exploding import edm, ve
from perrin.process.schedulebook.linear_beta import sub_vp, vp
from perrin.process.schedulebook.log_linear import log_linear
from perrin.process.schedulebook.rectified import flow
from perrin.process.schedulebook.squared_cosine import cosine
from perrin.process.schedulebook.table import discrete
from perrin.process.state import Masks, Shape, State
from perrin.process.subspace import centred
from perrin.process.torus import Torus

__all__ = [
    "Categorical",
    "Clock",
    "Masks",
    "Product",
    "Rotations",
    "Schedule",
    "Shape",
    "State",
    "Torus",
    "centred",
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
