"""`Model.restore`: in the user's units its samples are those of the closed-form posterior, each by itself."""

import numpy as np
import pytest
import torch
from tests.model.making import image_model, point_model, text_model
from tests.restoration.exact import COVARIANCE, GAIN, MEAN, OFFSET, D, exact_model, posterior

from perrin.errors import PerrinError
from perrin.guide.operators import KSpace, Mask
from perrin.registry import methods, tasks
from perrin.restoration.problem import Problem
from perrin.restoration.restored import Restored

MODEL = exact_model()
CASES = {
    "inpaint": {"mask": torch.arange(D) % 2 == 1},
    "gaps": {"spans": [(2, 4), (6, 7)]},
    "denoise": {},
    "deblur": {"std": 1.0},
    "upscale": {"factor": 2},
    "compressed": {"share": 0.5},
}


def measured(task, noise, count=1):
    """Values' measurements, and what the closed form says of the values."""
    operator = tasks[task]((1, D), **CASES[task])
    matrix = operator(torch.eye(D, dtype=torch.float64)[:, None]).flatten(1).T
    drawn = torch.randn(count, D, generator=torch.Generator().manual_seed(0)).double()
    values = OFFSET + GAIN * (MEAN + drawn @ torch.linalg.cholesky(COVARIANCE).T)[:, None]
    noises = torch.randn((count, *operator.measured), generator=torch.Generator().manual_seed(1))
    y = operator(values) + noise * noises.double()
    level = operator(torch.full((1, 1, D), OFFSET, dtype=torch.float64))
    kept = (matrix != 0).any(1)
    return y, matrix[kept], ((y - level) / GAIN).flatten(1)[:, kept]


@pytest.mark.parametrize("task", CASES)
def test_samples_have_the_posteriors_moments_in_the_users_units(task):
    noise = 1.0
    y, matrix, states = measured(task, noise)
    found = MODEL.restore(
        y[0],
        task,
        noise=noise,
        samples=800,
        solver="dpmpp_2m",
        steps=16,
        method="mmps",
        settings={"iterations": D},
        **CASES[task],
    )
    mean, covariance = posterior(matrix, states[0], noise / GAIN)
    expected = OFFSET + GAIN * mean
    assert (found.values(found.mean)[0, 0] - expected).abs().max() < 0.1 * GAIN
    assert (found.spread()[0, 0] - GAIN * covariance.diagonal().sqrt()).abs().max() < 0.08 * GAIN


def test_its_interval_covers_as_often_as_it_says():
    seen = torch.ones(1, 1, 400, dtype=torch.bool)
    problem = Problem(Mask((1, 400), seen[0, 0]), torch.zeros(1, 1, 400), 0.0, seen)
    for count, share in ((19, 0.9), (19, 0.5), (9, 0.6)):
        hits = []
        for seed in range(40):
            own = (
                torch.randn(1, count + 1, 1, 400, generator=torch.Generator().manual_seed(seed)).double() ** 3
            )
            low, high = Restored(own[:, 1:], problem, MODEL.codec, 1).interval(share)
            hits.append(((own[:, 0] >= low) & (own[:, 0] <= high)).double().mean())
        assert abs(float(torch.stack(hits).mean()) - share) < 0.01


def test_few_samples_of_a_gaussian_are_covered_by_students_t():
    hits, seen = [], torch.ones(1, 1, 400, dtype=torch.bool)
    problem = Problem(Mask((1, 400), seen[0, 0]), torch.zeros(1, 1, 400), 0.0, seen)
    for seed in range(60):
        own = torch.randn(1, 5, 1, 400, generator=torch.Generator().manual_seed(seed)).double()
        low, high = Restored(own[:, 1:], problem, MODEL.codec, 1).interval(0.9)
        hits.append(((own[:, 0] >= low) & (own[:, 0] <= high)).double().mean())
    assert abs(float(torch.stack(hits).mean()) - 0.9) < 0.01


def test_a_sample_is_a_function_of_seed_item_and_place():
    y, _, _ = measured("denoise", 1.0, count=3)
    whole = MODEL.restore(y, "denoise", noise=1.0, samples=4, steps=6)
    parts = MODEL.restore(y, "denoise", noise=1.0, samples=4, steps=6, batch=3)
    fewer = MODEL.restore(y[:2], "denoise", noise=1.0, samples=2, steps=6)
    assert torch.equal(whole.state, parts.state)
    assert torch.equal(whole.state[:2, :2], fewer.state)
    other = MODEL.restore(y, "denoise", noise=1.0, samples=4, steps=6, seed=1)
    assert not torch.equal(whole.state, other.state)


def test_its_residual_is_the_noise_of_what_is_measured_alone():
    y, _, _ = measured("inpaint", 1.0)
    found = MODEL.restore(y, "inpaint", noise=1.0, samples=64, method="mmps", **CASES["inpaint"])
    kept = ~CASES["inpaint"]["mask"]
    apart = (found.values(found.state[0])[:, 0] - y[0, 0])[:, kept].square().mean(1).sqrt()
    assert torch.allclose(found.residual[0] * GAIN, apart, rtol=1e-4)
    assert float(apart.mean()) < 1.5


def test_what_stands_in_a_hole_is_not_measured():
    y, _, _ = measured("inpaint", 1.0)
    hole = CASES["inpaint"]["mask"]
    found = MODEL.restore(
        torch.where(hole, 999.0, y), "inpaint", noise=1.0, samples=2, steps=4, **CASES["inpaint"]
    )
    clean = MODEL.restore(
        torch.where(hole, 0.0, y), "inpaint", noise=1.0, samples=2, steps=4, **CASES["inpaint"]
    )
    assert not bool(found.problem.measurement[..., hole].any())
    assert torch.equal(found.state, clean.state)


def test_white_noise_is_pooled_and_none_is_not():
    y, _, _ = measured("denoise", 1.0)
    assert MODEL.restore(y, "denoise", noise=1.0, samples=1, steps=4).provenance[0]["method"] == "pooled"
    known = MODEL.restore(y, "denoise", samples=2, steps=30)
    assert known.provenance[0]["method"] == "mmps"
    assert (known.values(known.state[0]) - y).abs().max() < 0.05


def test_evaluations_are_counted():
    y, _, _ = measured("denoise", 1.0, count=2)
    assert MODEL.restore(y, "denoise", noise=1.0, samples=3, steps=7).evaluations == 7


@pytest.mark.parametrize("method", methods)
def test_every_method_explains_a_denoising(method):
    y, _, states = measured("denoise", 0.5)
    found = MODEL.restore(y, "denoise", noise=0.5, samples=64, method=method)
    mean, _ = posterior(torch.eye(D, dtype=torch.float64), states[0], 0.1)
    assert (found.mean[0, 0] - mean).abs().max() < 0.15
    assert found.provenance[0]["method"] == method


def test_particles_are_drawn_together():
    y, matrix, states = measured("upscale", 1.0, count=2)
    found = MODEL.restore(y, "upscale", noise=1.0, samples=64, particles=True, steps=12, **CASES["upscale"])
    mean, _ = posterior(matrix, states[1], 1.0 / GAIN)
    assert (found.mean[1, 0] - mean).abs().max() < 0.3
    assert found.provenance[0]["method"] == "particles"
    with pytest.raises(PerrinError, match="ddpm"):
        MODEL.restore(y, "upscale", particles=True, solver="heun", **CASES["upscale"])


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("inpant", {}, "did you mean 'inpaint'"),
        ("inpaint", {}, "the task inpaint needs mask"),
        ("denoise", {"mask": torch.ones(D)}, "option of the task denoise 'mask'"),
        ("inpaint", {"mask": torch.ones(D - 1)}, "the mask has shape"),
        ("gaps", {"spans": [(3, 20)]}, "the gap 3:20"),
        ("upscale", {"factor": 3}, "divide the spatial sizes"),
        ("compressed", {"share": 0.0}, "share = 0.0"),
        ("ct", {}, "projections are of images"),
    ],
)
def test_tasks_that_do_not_fit_are_refused(task, options, said):
    with pytest.raises(PerrinError, match=said):
        MODEL.restore(np.zeros((1, D)), task, **options)


def test_measurements_that_do_not_fit_are_refused():
    image = image_model(guidance=1.0)
    with pytest.raises(PerrinError, match="holds NaN"):
        image.restore(np.full((8, 8), np.nan), "denoise")
    with pytest.raises(PerrinError, match=r"takes measurements of shape \(1, 8, 8\)"):
        image.restore(np.zeros((9, 9)), "denoise")
    with pytest.raises(PerrinError, match="given complex ones"):
        image.restore(np.zeros((8, 8), complex), "denoise")
    with pytest.raises(PerrinError, match="given real ones"):
        image.restore(np.zeros((8, 8)), "mri", acceleration=2.0, centre=0.2)
    with pytest.raises(PerrinError, match="0 or above"):
        image.restore(np.zeros((8, 8)), "denoise", noise=-1.0)
    with pytest.raises(PerrinError, match="option of the method pigdm 'iterations'"):
        image.restore(np.zeros((8, 8)), "denoise", method="pigdm", settings={"iterations": 3})
    with pytest.raises(PerrinError, match="measures states"):
        image.restore(np.zeros((8, 8)), Mask((1, 9, 9), torch.ones(9, 9)))


@pytest.mark.parametrize(("name", "value"), [("samples", 0), ("samples", 1.5), ("batch", True)])
def test_numbers_of_things_are_refused_by_name(name, value):
    image = image_model(guidance=1.0)
    with pytest.raises(PerrinError, match=f"{name} = {value!r} must be a whole number of at least 1"):
        image.restore(np.zeros((8, 8)), "denoise", **{name: value})
    with pytest.raises(PerrinError, match=f"{name} = {value!r} must be a whole number of at least 1"):
        image.edit(np.zeros((8, 8), np.uint8), strength=0.5, **{name: value})


def test_models_that_cannot_restore_say_so():
    with pytest.raises(PerrinError, match="not of text"):
        text_model().restore("abc", "denoise")
    with pytest.raises(PerrinError, match="takes no label"):
        point_model().restore(np.zeros(2), "denoise", label="a")
    with pytest.raises(PerrinError, match="a standard deviation needs at least 2"):
        _ = point_model().restore(np.zeros(2), "denoise", samples=1).std


def test_a_label_conditions_it():
    image, y = image_model(guidance=1.0), np.full((8, 8), 100.0)
    free = image.restore(y, "denoise", noise=40.0, samples=2)
    told = image.restore(y, "denoise", noise=40.0, samples=2, label="3")
    assert not torch.equal(free.state, told.state)
    assert told.provenance[0]["class"] == "3"
    assert "class" not in free.provenance[0]


def test_complex_measurements_are_restored():
    image, operator = image_model(guidance=1.0), KSpace((1, 8, 8), torch.arange(8) % 2 == 0)
    pixels = torch.full((1, 1, 8, 8), 200.0, dtype=torch.float64)
    found = image.restore(operator(pixels)[0], operator, noise=1.0, samples=2)
    assert found.state.shape == (1, 2, 1, 8, 8)
    assert float(found.problem.measurement.abs().max()) == pytest.approx((200 - 127.5) / 127.5 * 8, rel=1e-6)
