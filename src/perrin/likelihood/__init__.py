"""The likelihood of data under a denoiser, by the probability-flow ODE and by variational bounds."""

from perrin.likelihood.bounds import Terms, bound, terms
from perrin.likelihood.curl import asymmetry
from perrin.likelihood.density import log_prob
from perrin.likelihood.dequantisation import dequantised
from perrin.likelihood.probability_flow import Endpoint, decode, encode
from perrin.likelihood.result import LogProb, join
from perrin.likelihood.variational_dequantisation import Dequantiser, fit_dequantiser

__all__ = [
    "Dequantiser",
    "Endpoint",
    "LogProb",
    "Terms",
    "asymmetry",
    "bound",
    "decode",
    "dequantised",
    "encode",
    "fit_dequantiser",
    "join",
    "log_prob",
    "terms",
]
