"""Prompts, guidance, solvers, steps, strengths and seeds of one batch of a pretrained model: each sample as it is alone."""

import pytest
import torch
from tests.model.test_mixed_batches import RowByRow, alone
from tests.systems.latent.comparing import mask, picture

import perrin
from perrin.errors import PerrinError

LONG = "a very " * 60 + "red cube"  # takes two parts
MIXED = {
    "prompt": ["a cube", LONG, "a (red:1.4) cone", "a ball", "a cube"],
    "negative": [None, "dark", "", LONG, None],
    "guidance": [5.0, 1.0, None, 0.0, 7.5],
    "solver": ["ddim", None, "heun", "unipc_2", "dpmpp_2m_sde"],
    "steps": [3, 4, 6, 5, 3],
    "seed": [5, 6, 5, 7, 5],
    "first": 2,
}
FLOW = {**MIXED, "solver": ["ddim", None, "heun", "unipc_2", "ab_2"]}


@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize(
    ("name", "asked"),
    [("stable_diffusion", MIXED), ("stable_diffusion_xl", MIXED), ("stable_diffusion_3", FLOW)],
)
def test_a_sample_alone_is_the_same_in_a_mixed_batch(saved, name, asked, batch):
    model = perrin.load(saved(name)[1])
    many = model.sample(5, batch=batch, **asked)
    for i in range(5):
        one = alone(model, i, **asked)
        assert float((many.state[i] - one.state[0]).abs().max()) < 1e-4 * float(one.state.std())
        assert many.provenance[i] == one.provenance[0]


def test_it_is_bit_identical_where_the_network_is(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    model.module.net = RowByRow(model.module.net)
    asked = {**MIXED, "prompt": "a cube", "negative": [None, "dark", "", "wet", "dark"]}
    many = model.sample(5, **asked)
    texts = {name: value[1::2] for name, value in asked.items() if isinstance(value, list)}
    part = model.sample(
        2, prompt="a cube", first=2, **texts
    )  # texts are encoded together: the same length, other rows
    again = model.sample(5, batch=1, **asked)
    assert many.state.equal(again.state)
    assert many.state[1::2] == pytest.approx(part.state, abs=1e-5)


def test_strengths_are_each_sample_s_own(saved):
    model = perrin.load(saved("stable_diffusion")[1])
    asked = {"prompt": ["a", "b", "c", "d"], "strength": [0.3, None, 1.0, 0.75], "steps": [4, 6, 4, None]}
    asked |= {"image": [picture(seed=i) for i in range(4)], "solver": ["ddim", None, "ddpm", "heun"]}
    many = model.sample(4, **asked)
    for i in range(4):
        one = alone(model, i, **asked)
        assert float((many.state[i] - one.state[0]).abs().max()) < 1e-4 * float(one.state.std())
        assert many.provenance[i] == one.provenance[0]
    assert [made["strength"] for made in many.provenance] == [0.3, 0.6, 1.0, 0.75]


def test_holes_are_filled_from_noise_or_from_the_image_but_not_both_at_once(saved):
    model = perrin.load(saved("inpainting")[1])
    told = {"prompt": "a", "image": picture(), "mask": mask(), "steps": 3}
    both = model.sample(2, strength=[0.5, 0.8], **told)
    one = model.sample(1, strength=0.8, first=1, **told)
    assert float((both.state[1] - one.state[0]).abs().max()) < 1e-4 * float(one.state.std())
    with pytest.raises(PerrinError, match="draw them apart"):
        model.sample(2, strength=[0.5, 1.0], **told)


def test_classes_of_several_seeds(saved):
    model = perrin.load(saved("dit")[1])
    asked = {"guidance": [4.0, 1.0, 2.0], "steps": [2, 3, 4], "seed": [1, 2, 1], "first": 3}
    many = model.sample(3, **asked)
    assert [made["wanted"]["label"] for made in many.provenance] == [3, 3, 3]
    for i in range(3):
        one = alone(model, i, **asked)
        assert float((many.state[i] - one.state[0]).abs().max()) < 1e-4 * float(one.state.std())


def test_negative_prompts_may_be_left_out_for_some(saved):
    model = perrin.load(saved("stable_diffusion_xl")[1])
    many = model.sample(3, prompt="a", negative=[None, "", "dark"], steps=2, seed=[1, 1, 1])
    assert [made["wanted"].get("negative") for made in many.provenance] == [None, "", "dark"]
    assert (
        float((many.state[0] - many.state[1]).abs().max()) > 1e-3
    )  # of SDXL none is zeros, and not the empty text
    assert torch.isfinite(many.state).all()


def test_guidance_in_the_weights_is_each_sample_s_own(saved):
    model = perrin.load(saved("flux")[1])
    asked = {
        "prompt": ["a cube", "a ball", "a"],
        "guidance": [3.5, 1.0, None],
        "steps": [2, 4, 3],
        "seed": [1, 1, 4],
    }
    many = model.sample(3, **asked)
    for i in range(3):
        one = alone(model, i, **asked, first=0)
        assert float((many.state[i] - one.state[0]).abs().max()) < 1e-4 * float(one.state.std())
        assert many.provenance[i] == one.provenance[0]


def test_what_a_model_before_draws_is_each_sample_s_own(saved):
    model = perrin.load(saved("deepfloyd_larger")[1]).after(perrin.load(saved("deepfloyd")[1]))
    asked = {
        "prompt": ["a cube", "a ball", "a"],
        "guidance": [2.0, 1.0, None],
        "steps": [2, 3, 2],
        "seed": [1, 2, 1],
    }
    many = model.sample(3, before={"steps": 2}, **asked)
    for i in range(3):
        one = alone(model, i, before={"steps": 2}, **asked, first=0)
        pixels = [model.codec.images(state) for state in (many.state[i : i + 1], one.state)]
        assert float((pixels[0] - pixels[1]).abs().max()) < 1e-4
        assert many.provenance[i] == one.provenance[0]
