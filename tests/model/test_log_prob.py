"""`Model.log_prob` speaks the user's units: densities integrate to one, probabilities of whole numbers sum to one."""

import math

import numpy as np
import pytest
import torch
from tests.model.making import image_model, make_model, point_model
from torch import nn

from perrin.denoise import exact, wrap
from perrin.errors import PerrinError
from perrin.kinds.arrays import Arrays
from perrin.model import Model

MEAN, STD = 12.0, 3.0


class ExactNet(nn.Module):
    """An exact denoiser as a network: clean output, told -level/8."""

    def __init__(self, denoiser):
        super().__init__()
        self.denoiser, self.scale = denoiser, nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x, time, condition=None):
        return self.denoiser(x, -8 * time.double()).mean


def exact_model(denoiser, codec):
    """A model whose network is right, around a codec."""
    model = make_model({"name": "mlp", "width": 8, "blocks": 1}, codec, "arrays", guidance=1.0)
    return Model(model.design, wrap(ExactNet(denoiser), "clean"), codec, model.sampling)


def line_codec(std=STD):
    """One continuous feature of mean 12 and standard deviation 3."""
    return Arrays.codec((1,), None, 1.0, [MEAN], [std])


def test_a_density_of_any_network_integrates_to_one_in_the_users_units():
    model = make_model({"name": "mlp", "width": 16, "blocks": 1}, line_codec(), "arrays", guidance=1.0)
    values = np.linspace(MEAN - 40 * STD, MEAN + 40 * STD, 4001)
    found = model.log_prob(values[:, None], batch=4001, tolerance=1e-4)
    assert bool(found.converged.all())
    density = found.value.exp().numpy()
    assert np.trapezoid(density, values) == pytest.approx(1, abs=2e-3)
    assert (values * density).sum() != pytest.approx(
        MEAN * density.sum(), rel=1e-3
    )  # it is no trivial density


@pytest.mark.parametrize(("method", "options"), [("ode", {}), ("bound", {"samples": 1024})])
def test_the_density_of_gaussian_data_is_that_of_the_users_values(method, options):
    model = exact_model(exact.Gaussian(0.0, 1.0), line_codec())
    values = np.array([[10.0], [12.0], [19.0]])
    truth = -0.5 * ((values[:, 0] - MEAN) / STD) ** 2 - math.log(STD * math.sqrt(2 * math.pi))
    found = model.log_prob(values, method=method, **options)
    error = (found.value - torch.from_numpy(truth)).abs()
    assert float((error - 3 * found.stderr).max()) < 1e-3
    assert float(found.parts["codec"][0]) == pytest.approx(-math.log(STD))


def test_the_probabilities_of_whole_numbers_sum_to_one_by_the_bound(tmp_path):
    rolled = np.random.default_rng(0).choice(4, p=[0.4, 0.3, 0.2, 0.1], size=4000)
    np.save(tmp_path / "rolled.npy", rolled[:, None])
    data = Arrays.open(str(tmp_path / "rolled.npy"))
    codec = Arrays.codec.fit(data)
    states = (torch.arange(4.0).double()[:, None] - codec.mean[0]) / codec.std[0]
    weights = torch.from_numpy(np.bincount(rolled) / len(rolled))
    model = exact_model(exact.Mixture(states, 0.0, weights), codec)
    found = model.log_prob(np.arange(4)[:, None], method="bound", samples=4096)
    assert "codec" not in found.parts  # a bin has one mass in any units
    assert found.value.exp().numpy() == pytest.approx(weights.numpy(), abs=0.02)


def test_an_item_is_worth_the_same_in_any_batch():
    model = point_model()
    values = np.random.default_rng(0).normal(size=(5, 2))
    together = model.log_prob(values, divergence="rademacher", probes=3)
    alone = model.log_prob(values, divergence="rademacher", probes=3, batch=2)
    assert together.value == pytest.approx(alone.value, abs=1e-4)
    assert together.stderr == pytest.approx(alone.stderr, abs=1e-4)


def test_labels_condition_and_none_does_not():
    model = image_model()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8), dtype=np.uint8)
    values = {
        name: model.log_prob(pixels, method="bound", samples=16, label=label).value
        for name, label in (("none", "none"), ("own", "own"), ("three", "3"), ("each", ["3", "4"]))
    }
    assert torch.equal(values["none"], values["own"])  # plain values have no labels
    assert not torch.equal(values["none"], values["three"])
    assert values["each"][0] == values["three"][0]
    assert values["each"][1] != values["three"][1]


def test_progress_counts_items():
    done = []
    point_model().log_prob(np.zeros((5, 2)), method="bound", samples=2, batch=2, progress=done.append)
    assert done == [2, 2, 1]


REFUSED = {
    "another size": (image_model, np.zeros((1, 9, 9), np.uint8), {}, r"shape \(9, 9\).*have \(8, 8\)"),
    "no data": (point_model, np.zeros((0, 2)), {}, "no data"),
    "dequantisation of continuous data": (
        point_model,
        np.zeros((1, 2)),
        {"dequantise": "uniform"},
        "for integer data",
    ),
    "an unknown method": (point_model, np.zeros((1, 2)), {"method": "exact"}, "known: ode, bound"),
    "a label without classes": (point_model, np.zeros((1, 2)), {"label": "3"}, "takes no label"),
    "too few labels": (image_model, np.zeros((2, 8, 8), np.uint8), {"label": ["3"]}, "1 labels for 2 items"),
    "not a number": (point_model, np.full((1, 2), np.nan), {}, "NaN"),
    "a path": (point_model, "points.csv", {}, "perrin likelihood"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_the_model_is_refused(case):
    make, data, options, message = REFUSED[case]
    with pytest.raises(PerrinError, match=message):
        make().log_prob(data, **options)


def test_whole_numbers_that_the_training_data_did_not_have_are_refused(tmp_path):
    np.save(tmp_path / "rolled.npy", np.arange(1, 7)[:, None])
    codec = Arrays.codec.fit(Arrays.open(str(tmp_path / "rolled.npy")))
    model = exact_model(exact.Gaussian(0.0, 1.0), codec)
    for strange in ([[7]], [[2.5]]):
        with pytest.raises(PerrinError, match="whole numbers"):
            model.log_prob(np.array(strange), method="bound", samples=2)
