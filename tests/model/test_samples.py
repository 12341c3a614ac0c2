"""Samples: a function of (seed, index) alone, in chunks that fit, of the classes asked for, saying how they were made."""

import pytest
import torch
from PIL import Image
from tests.model.making import image_model, point_model

from perrin.errors import PerrinError
from perrin.kinds.provenance import loads, read_provenance


@pytest.fixture(scope="module")
def model():
    return image_model()


def test_a_sample_does_not_depend_on_how_many_there_are_or_how_they_are_shared_out(model):
    whole = model.sample(7, seed=3).state
    for batch in (1, 2, 5):
        assert model.sample(7, seed=3, batch=batch).state == pytest.approx(whole, abs=1e-4)
    assert model.sample(2, seed=3, first=4).state == pytest.approx(whole[4:6], abs=1e-4)
    assert model.sample(3, seed=3).state == pytest.approx(whole[:3], abs=1e-4)
    assert not torch.allclose(model.sample(7, seed=4).state, whole, atol=0.1)


def test_one_at_a_time_is_bit_identical_whatever_the_number(model):
    whole = model.sample(4, seed=3, batch=1).state
    assert model.sample(1, seed=3, first=2, batch=1).state[0].equal(whole[2])


@pytest.mark.parametrize("solver", ["ddpm", "dpmpp_2m_sde"])
def test_so_do_solvers_that_draw_noise(model, solver):
    whole = model.sample(5, solver=solver).state
    assert model.sample(5, solver=solver, batch=2).state == pytest.approx(whole, abs=1e-4)


def refusing(model, monkeypatch, most, error):
    """Makes the denoiser run out of memory for more than `most` items; returns the sizes it was asked for."""
    sizes, forward = [], model.denoiser.forward

    def limited(x, level, condition=None):
        sizes.append(len(x))
        if len(x) > most:
            raise error
        return forward(x, level, condition)

    monkeypatch.setattr(model.denoiser, "forward", limited)
    return sizes


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    ),
    MemoryError(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["accelerator", "cpu", "python"])
def test_a_chunk_that_does_not_fit_is_halved_until_it_does(error, monkeypatch):
    model = image_model(guidance=1.0)
    expected = model.sample(20).state
    sizes = refusing(model, monkeypatch, 5, error)
    seen = []
    samples = model.sample(20, progress=lambda done, total: seen.append((done, total)))
    assert samples.state == pytest.approx(expected, abs=1e-4)
    assert list(dict.fromkeys(sizes)) == [20, 10, 5]
    assert seen[-1] == (80, 80)


def test_what_the_machine_really_says_without_memory_is_recognised():
    from perrin.sample.device import out_of_memory

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shape mismatch"))


def test_no_memory_for_a_single_one_and_other_errors_are_not_hidden(monkeypatch):
    model = image_model(guidance=1.0)
    refusing(model, monkeypatch, 0, MemoryError())
    with pytest.raises(PerrinError, match="not enough memory for a single sample"):
        model.sample(3)
    refusing(model, monkeypatch, 0, RuntimeError("a defect"))
    with pytest.raises(RuntimeError, match="a defect"):
        model.sample(3)


def test_classes_go_by_name_by_index_one_for_all_one_each_or_in_turn(model):
    assert model.sample(12).labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert model.sample(3, label="7").labels.tolist() == [7, 7, 7]
    assert model.sample(3, label=7).state.equal(model.sample(3, label="7").state)
    assert model.sample(3, label=["1", 2, "none"]).labels.tolist() == [1, 2, -1]
    assert model.sample(2, label=torch.tensor([4, -1])).labels.tolist() == [4, -1]
    assert model.sample(2, label=torch.tensor([4, 5]).numpy()).labels.tolist() == [4, 5]
    assert not torch.allclose(model.sample(1, label=1).state, model.sample(1, label=2).state, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label": "seven"}, "class 'seven' is not known"),
        ({"label": 10}, "class '10' is not known"),
        ({"label": ["1", "2"]}, "2 labels for 3 samples"),
        ({"lable": 1}, "condition 'lable' is not known to this model; it takes: label"),
        ({"solver": "dpmpp2m"}, "did you mean 'dpmpp_2m'"),
        ({"steps": 0}, "steps"),
        ({"batch": 0}, "batch = 0 must be a whole number of at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(model, options, says):
    with pytest.raises(PerrinError, match=says):
        model.sample(3, **options)


@pytest.mark.parametrize("n", [0, -1, 2.5, "3", True])
def test_a_number_of_samples_is_a_whole_number(model, n):
    with pytest.raises(PerrinError, match=r"n = .* must be a whole number"):
        model.sample(n)


def test_a_near_class_is_named():
    from tests.model.making import make_model

    from perrin.kinds.images import Images

    codec = Images.codec((1, 8, 8), ["cat", "dog"], 1.0)
    cats = make_model({"name": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1}, codec, "images")
    with pytest.raises(PerrinError, match="class 'cats' is not known; did you mean 'cat'"):
        cats.sample(1, label="cats")


def test_a_model_without_classes_takes_no_label_and_no_guidance():
    model = point_model()
    assert model.sample(3).labels is None
    with pytest.raises(PerrinError, match="trained without classes"):
        model.sample(3, label=1)
    with pytest.raises(PerrinError, match="needs something to guide towards"):
        model.sample(3, guidance=2.0)
    assert point_model(guidance=3.0).sample(3).state.equal(model.sample(3).state)


def test_guidance_moves_samples_and_weight_one_is_none(model):
    plain = model.sample(2, guidance=1.0)
    assert not torch.allclose(model.sample(2, guidance=3.0).state, plain.state, atol=1e-3)
    assert image_model(guidance=1.0).sample(2).state.equal(plain.state)


def test_a_plan_takes_the_place_of_solver_and_steps(model):
    plan = model.sampling.plan("heun", 6)
    assert model.sample(2, plan=plan).state.equal(model.sample(2, solver="heun", steps=6).state)
    with pytest.raises(PerrinError, match="give either a plan, or solver and steps"):
        model.sample(2, plan=plan, steps=3)


def test_evaluations_are_those_that_were_made(model, monkeypatch):
    sizes = refusing(model, monkeypatch, 99, MemoryError())
    samples = model.sample(3, solver="heun", steps=5, guidance=1.0)
    assert samples.evaluations == len(sizes) == 9  # the last step is of first order


def test_every_png_says_how_it_was_made(model, tmp_path):
    samples = model.sample(3, seed=9, label=["1", "2", "none"])
    files = samples.save(tmp_path / "out")
    assert [f.name for f in files] == ["00000_1.png", "00001_2.png", "00002.png", "grid.png"]
    made = read_provenance(files[1])
    assert (made["seed"], made["index"], made["label"], made["class"]) == (9, 1, 2, "2")
    assert made["model_hash"] == model.hash
    assert made["guidance"] == 2.0
    assert made["plan"]["rule"] == "dpmpp_2m"
    with Image.open(files[-1]) as grid:
        assert len(loads(grid.info["perrin"])["items"]) == 3


def test_a_trajectory_has_a_frame_for_every_evaluation_and_ends_at_the_samples(model):
    samples = model.sample(5, solver="heun", steps=4, trace=True, batch=2)
    assert len(samples.means) == samples.evaluations == 7
    assert all(mean.shape == (5, 1, 8, 8) for mean in samples.means)
    assert len(samples.trajectory()) == 7
    assert samples.means[-1] == pytest.approx(samples.state, abs=0.1)
    assert model.sample(5).trajectory() == []
