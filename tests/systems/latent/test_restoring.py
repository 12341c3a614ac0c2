"""Restoration by pretrained folders, whose states an autoencoder decodes: in Python, of files, and made again."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import perrin
from perrin.cli.entry import main
from perrin.errors import PerrinError
from perrin.reproduction import reproduce
from perrin.restoration.decoded import Decoded
from perrin.restoration.tasks import build

STEPS = 8


@pytest.fixture(scope="module")
def model(saved):
    return perrin.load(saved("stable_diffusion")[1])


@pytest.fixture(scope="module")
def truth(model):
    """[3, 16, 16], pixels 0..255 of a picture that the autoencoder can make."""
    return model.sample(1, prompt="a fox", seed=3, steps=STEPS).decoded[0].transpose(2, 0, 1).astype(float)


@pytest.fixture(scope="module")
def picture(truth, tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "fox.png"
    Image.fromarray(truth.transpose(1, 2, 0).astype(np.uint8)).save(path)
    return path


def hole():
    found = torch.zeros(16, 16, dtype=torch.bool)
    found[4:9, 5:12] = True
    return found


TASKS = {
    "denoise": {},
    "inpaint": {"mask": hole()},
    "upscale": {"factor": 2},
    "deblur": {"std": 1.0},
    "colour": {},
}


@pytest.mark.parametrize("task", TASKS)
def test_samples_explain_what_was_measured_as_unconditional_draws_do_not(model, truth, task):
    operator = build(task, truth.shape, TASKS[task])
    y = operator(torch.from_numpy(truth)[None])
    found = model.restore(y, task, noise=8.0, samples=2, steps=16, **TASKS[task])
    drawn = model.sample(2, prompt="a fox", seed=11, steps=STEPS)
    other = torch.from_numpy(np.stack(drawn.decoded)).movedim(-1, 1).double()
    apart = (y - operator(other))[:, found.problem.seen[0]].square().mean().sqrt() / 127.5
    assert found.state.shape == (1, 2, 3, 16, 16)
    assert found.drawn.shape == (1, 2, 4, 8, 8)
    assert float(found.residual.max()) < 0.5 * float(apart)
    torch.testing.assert_close(found.state[0], model.codec.values(found.drawn[0]).detach())
    assert found.decoded[0][0].shape == (16, 16, 3)


def test_the_derivative_of_the_autoencoder_is_that_of_differences(model):
    seen = model.codec.seen(None, 1.0)
    operator = Decoded(build("colour", seen.codec.shape, {}), seen.decode, seen.outline.shape)
    at, u = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    tangent, _ = operator.around(at, operator(at), torch.ones(()), 0.1)
    h = 1e-2
    along = (operator(at + h * u) - operator(at - h * u)) / (2 * h)
    assert float((tangent(u) - along).norm() / along.norm()) < 1e-2
    y = torch.randn(along.shape, generator=torch.Generator().manual_seed(1))
    assert float((tangent(u) * y).sum()) == pytest.approx(float((u * tangent.adjoint(y)).sum()), rel=1e-3)


def test_sample_k_of_item_i_is_the_same_alone(model, truth):
    y = np.stack([truth, 255 - truth])
    both = model.restore(y, "denoise", noise=8.0, samples=2, steps=4)
    one = model.restore(y[:1], "denoise", noise=8.0, samples=1, steps=4)
    torch.testing.assert_close(one.state[0, 0], both.state[0, 0], rtol=1e-3, atol=1e-3)


def test_a_prompt_moves_what_is_not_measured(model, truth):
    asked = {"noise": 8.0, "samples": 1, "steps": 4, "mask": hole()}
    plain = model.restore(truth, "inpaint", **asked)
    told = model.restore(truth, "inpaint", prompt="a fox", negative="a hat", guidance=3.0, **asked)
    assert not torch.equal(plain.state, told.state)
    wanted = {"prompt": "a fox", "negative": "a hat", "height": 16, "width": 16}
    assert told.provenance[0]["wanted"] == wanted
    assert told.provenance[0]["guidance"] == 3.0
    assert model.restore(truth, "inpaint", prompt="a fox", **asked).provenance[0]["guidance"] == 7.5
    assert plain.provenance[0]["guidance"] == 1.0


def test_without_a_prompt_a_network_is_told_what_its_unguided_branch_is(saved):
    told = perrin.load(saved("stable_diffusion_xl")[1]).codec.seen(None, 7.5).outline.condition
    assert not any(name.startswith("negative/") for name in told)
    assert float(told["prompt"].abs().max()) == 0


@pytest.mark.parametrize("name", ["dit", "deepfloyd", "stable_diffusion_3"])
def test_other_folders_restore_too(saved, name):
    model = perrin.load(saved(name)[1])
    size = model.codec.size
    y = 127 + 60 * np.sin(np.arange(3 * size[0] * size[1]) / 40).reshape(3, *size)
    found = model.restore(y, "denoise", noise=20.0, samples=1, steps=STEPS)
    assert found.state.shape == (1, 1, 3, *size)
    assert bool(torch.isfinite(found.state).all())


def test_a_picture_of_another_size_is_restored_at_that_size(model):
    y = np.full((3, 8, 12), 120.0)
    assert model.restore(y, "upscale", factor=2, noise=4.0, samples=1, steps=2).state.shape[2:] == (3, 16, 24)
    assert model.restore(y, "denoise", noise=4.0, samples=1, steps=2).state.shape[2:] == (3, 8, 12)


def test_by_the_command_line_and_again(saved, picture, tmp_path):
    folder, out, mask = saved("stable_diffusion")[1], tmp_path / "out", tmp_path / "hole.png"
    Image.fromarray(hole().numpy().astype(np.uint8) * 255).save(mask)
    said = ["restore", folder, picture, "--task", "inpaint", "--mask", mask, "--sigma", "4", "--prompt", "a fox",
            "--negative", "a hat", "--guidance", "2", "-n", "2", "--steps", "4", "--out", out]  # fmt: skip
    assert main([str(one) for one in said]) == 0
    for name in ("mean.png", "std.npy", "low.png", "samples/001.png", "overview.png", "samples.npz"):
        assert (out / name).is_file(), name
    made = json.loads((out / "restore.json").read_text())
    assert made["wanted"] == {"prompt": "a fox", "negative": "a hat", "height": 16, "width": 16}
    assert (made["guidance"], made["sigma"], made["task"]) == (2.0, 4.0, "inpaint")
    again = reproduce(out / "samples.npz")
    assert again.identical
    assert again.largest_difference == 0


def test_what_does_not_fit_is_one_line(saved, model, truth, picture, tmp_path):
    for said, message in (
        ({"label": "cat"}, "knows texts, no classes"),
        ({"guidance": 3.0}, "say that by prompt or label"),
        ({"negative": "a hat"}, "say that by prompt or label"),
        ({"prompt": " "}, "the prompt is empty"),
        ({"method": "pooled"}, "take mmps"),
        ({"height": 18, "width": 16}, "not a multiple of 4; the nearest is"),
    ):
        with pytest.raises(PerrinError, match=message) as caught:
            model.restore(truth, "denoise", **{"noise": 8.0, "steps": 2, "samples": 1, **said})
        assert "\n" not in str(caught.value)
    with pytest.raises(PerrinError, match="fills holes, so that it says nothing"):
        perrin.load(saved("inpainting")[1]).restore(truth, "denoise", noise=8.0)
    with pytest.raises(PerrinError, match="without offload"):
        perrin.load(saved("stable_diffusion")[1], offload="parts").restore(truth, "denoise", noise=8.0)
    odd = tmp_path / "odd.png"
    Image.open(picture).resize((18, 16)).save(odd)
    with pytest.raises(PerrinError, match="width = 18 is not a multiple of 4; the nearest is 16"):
        perrin.restore(model, odd, "denoise", sigma=8.0)
    with pytest.warns(UserWarning, match="cropped to the middle"):
        found = perrin.restore(model, odd, "denoise", sigma=8.0, height=16, width=16, samples=1, steps=2)
    assert found.samples.shape == (1, 1, 3, 16, 16)
